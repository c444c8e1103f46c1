/* agent.c - what a guest's agent is asked through a platform that gives it no commands. The guest is one of the endpoint's own images that has an agent;
 * guest.c asks a real Debian where commands can be given. */
#include "contract.h"

static vmctl_vm *with_agent(const char *name) {
    vmctl_vm *vm = make_started(
        name, "memory: 1GiB\nguestAgent: true\nnetworks: [{name: lan, type: nat}]\ndisks: [{name: root, image: %s}]",
        profile->agent_image);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 120000;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_vm_wait(vm, "agent", &options, &err));
    return vm;
}

static void freeze_and_thaw(void **state) {
    (void)state;
    vmctl_vm *vm = with_agent("ag-a"), *without = make_started("ag-b", "%s", ""), *off = make("ag-c", "%s", "");
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    int count = -1;
    MUST(vmctl_guest_freeze(vm, &count, &call, &err));
    assert_int_equal(heard.count, 0);
    for (int i = 0; i < 400 && heard.count == 0; i++) { /* once its own status tells of it */
        MUST(vmctl_guest_freeze(vm, &count, &call, &err));
        sleep_ms(50);
    }
    assert_non_null(strstr(heard.last, "frozen already"));
    MUST(vmctl_guest_thaw(vm, &count, &call, &err));
    MUST(vmctl_guest_thaw(vm, &count, &call, &err)); /* does no harm */
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_freeze(without, &count, NULL, &err));
    assert_non_null(strstr(failure, "agent"));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_freeze(off, &count, NULL, &err));
    assert_non_null(strstr(failure, "vmctl start ag-c"));
    MUST(vmctl_vm_pause(vm, NULL, &err));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_freeze(vm, &count, NULL, &err));
    assert_non_null(strstr(failure, "vmctl resume ag-a"));
    vmctl_vm_free(vm);
    vmctl_vm_free(without);
    vmctl_vm_free(off);
}

static int take_addresses(const vmctl_vm_info *info, void *user) {
    char *text = user;
    for (size_t i = 0; i < info->address_count; i++)
        snprintf(text + strlen(text), 256 - strlen(text), "%s %s\n", info->addresses[i].ip, info->addresses[i].source);
    return 0;
}

static void addresses_by_the_agent(void **state) {
    (void)state;
    vmctl_vm *vm = with_agent("ag-d");
    char text[256] = "";
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    options.facts = VMCTL_FACT_ADDRESSES;
    MUST(vmctl_vm_get(vm, &options, take_addresses, text, &err));
    assert_non_null(strstr(text, " agent\n"));
    vmctl_vm_free(vm);
}

/* Where it can be asked, guest.c does. */
static void commands_are_given(void **state) {
    (void)state;
    fail_msg("this endpoint gives commands to guests: it belongs into guest.c");
}

static const contract_test tests[] = {
    TEST("guest.freeze guest.thaw", "guest_freeze guest_thaw", freeze_and_thaw),
    TEST("guest.addresses", "get", addresses_by_the_agent),
    TEST("guest.exec", "guest_exec", commands_are_given),
    TEST("guest.copy", "guest_copy_in", commands_are_given),
    TEST("guest.copy.out", "guest_copy_out", commands_are_given),
    TEST("guest.password", "guest_set_password", commands_are_given),
};
const contract_group group_agent = {"agent", tests, sizeof tests / sizeof tests[0]};
