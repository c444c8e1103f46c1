/* The dispatcher: what is refused before the backend is called, options of other sizes, handles, caps. */
#include "fake_backend.h"

/* --- slots ------------------------------------------------------------------------------------------------ */

static void a_missing_slot_says_why(void **state) {
    (void)state;
    vmctl_vm *vm = the_vm();
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_vm_reset(vm, NULL, &err), VMCTL_E_UNSUPPORTED);
    assert_string_equal(vmctl_error_text(err),
                        "cannot reset web (fake, fake:///here): unsupported: this hypervisor has no reset button\n"
                        "  try: vmctl caps fake shows what it can do");
    assert_string_equal(vmctl_error_vm(err), "web");
    vmctl_error_free(err);
    err = NULL;
    assert_int_equal(vmctl_vm_save(vm, NULL, &err), VMCTL_E_UNSUPPORTED); /* not claimed at all */
    assert_true(strlen(vmctl_error_message(err)) > 0);
    vmctl_error_free(err);
    vmctl_vm_free(vm);
}

static void a_silent_failure_still_has_an_error(void **state) {
    (void)state;
    vmctl_vm *vm = the_vm();
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_vm_pause(vm, NULL, &err), VMCTL_E_INTERNAL);
    assert_string_equal(vmctl_error_action(err), "cannot pause web");
    vmctl_error_free(err);
    vmctl_vm_free(vm);
}

static void null_arguments_are_refused(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_list(NULL, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_list(connection, NULL, NULL, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_start(NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_lookup(connection, NULL, NULL, &vm, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_lookup(connection, "", NULL, &vm, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_lookup(connection, "a", NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_create(connection, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_apply(connection, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_vm_wait(NULL, "running", NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_connect(NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(vmctl_host_info(NULL, NULL, NULL, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    vmctl_vm_free(NULL);
    vmctl_connection_free(NULL);
    vmctl_error_free(err);
}

/* --- options ---------------------------------------------------------------------------------------------- */

static int count_each(const vmctl_vm_info *info, void *user) {
    assert_string_equal(info->backend, "fake");
    ++*(int *)user;
    return 0;
}

static void shorter_options_leave_defaults(void **state) {
    (void)state;
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.size = offsetof(vmctl_list_options, namespace_name); /* as an older program has it */
    options.facts = VMCTL_FACT_GPUS;
    options.states = ~0u & (1u << VMCTL_STATE_CRASHED); /* beyond the size: not looked at */
    int seen = 0;
    assert_int_equal(vmctl_list(connection, &options, count_each, &seen, NULL), 0);
    assert_int_equal(seen, 2);
    assert_int_equal(fake.facts, VMCTL_FACT_GPUS);
}

static void longer_options_are_accepted_while_unused(void **state) {
    (void)state;
    struct {
        vmctl_list_options options;
        int more;
    } newer = {.options = VMCTL_LIST_OPTIONS_INIT, .more = 0};
    newer.options.size = sizeof newer;
    int seen = 0;
    assert_int_equal(vmctl_list(connection, &newer.options, count_each, &seen, NULL), 0);
    newer.more = 1;
    assert_int_equal(vmctl_list(connection, &newer.options, count_each, &seen, NULL), VMCTL_E_INVALID_ARGUMENT);
    newer.options.size = 0;
    assert_int_equal(vmctl_list(connection, &newer.options, count_each, &seen, NULL), VMCTL_E_INVALID_ARGUMENT);
}

static void null_options_are_defaults(void **state) {
    (void)state;
    int seen = 0;
    assert_int_equal(vmctl_list(connection, NULL, count_each, &seen, NULL), 0);
    assert_int_equal(fake.facts, VMCTL_FACTS_LIST);
    assert_true(fake.timeout_ms > 0); /* the operation's own default, never 0 */
}

static void filters_hold_whatever_the_backend_does(void **state) {
    (void)state;
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.owner = "me@here";
    int seen = 0;
    assert_int_equal(vmctl_list(connection, &options, count_each, &seen, NULL), 0);
    assert_int_equal(seen, 1);
    assert_true(fake.facts & VMCTL_FACT_MARKER);
    options.states = 1u << VMCTL_STATE_STOPPED;
    seen = 0;
    assert_int_equal(vmctl_list(connection, &options, count_each, &seen, NULL), 0);
    assert_int_equal(seen, 0);
}

static void a_cancelled_call_does_not_begin(void **state) {
    (void)state;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    vmctl_cancel_trigger(call.cancel);
    vmctl_start_options options = VMCTL_START_OPTIONS_INIT;
    options.call = &call;
    vmctl_vm *vm = the_vm();
    assert_int_equal(vmctl_vm_start(vm, &options, NULL), VMCTL_E_CANCELLED);
    assert_int_equal(fake.started, 0);
    vmctl_vm_free(vm);
    vmctl_cancel_free(call.cancel);
}

/* --- handles ---------------------------------------------------------------------------------------------- */

static void a_vm_keeps_its_connection(void **state) {
    (void)state;
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.backend = "fake";
    vmctl_connection *own = NULL;
    assert_int_equal(vmctl_connect(&options, &own, NULL), 0);
    assert_string_equal(vmctl_connection_uri(own), "fake:///found");
    assert_string_equal(vmctl_connection_reason(own), "default: the socket answers");
    fake.exists = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_vm_lookup(own, "web", NULL, &vm, NULL), 0);
    vmctl_connection_free(own);
    assert_int_equal(fake.closed, 0);
    assert_ptr_equal(vmctl_vm_connection(vm), own);
    vmctl_vm_free(vm);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(fake.released, 1);
    fake.closed = 0;
}

static void a_lazy_handle_learns_its_id_by_the_start(void **state) {
    (void)state;
    fake.exists = true;
    fake.facts = 1;
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    options.lazy = true;
    vmctl_vm *vm = NULL;
    assert_int_equal(vmctl_vm_lookup(connection, "web", &options, &vm, NULL), 0);
    assert_null(vmctl_vm_id(vm));
    fake.start_code = VMCTL_E_NOT_FOUND;
    assert_int_equal(vmctl_vm_start(vm, NULL, NULL), VMCTL_E_NOT_FOUND);
    assert_null(vmctl_vm_id(vm));
    fake.start_code = 0;
    assert_int_equal(vmctl_vm_start(vm, NULL, NULL), 0);
    assert_string_equal(vmctl_vm_id(vm), "1");
    assert_int_equal(fake.facts, 0);
    vmctl_vm_free(vm);
}

/* --- caps ------------------------------------------------------------------------------------------------- */

typedef struct answer {
    const char *feature;
    vmctl_level level;
    char reason[128];
    int count;
} answer;

static int keep(const vmctl_cap *cap, void *user) {
    answer *a = user;
    a->count++;
    if (strcmp(cap->feature, a->feature) != 0)
        return 0;
    a->level = cap->vmctl;
    snprintf(a->reason, sizeof a->reason, "%s", cap->vmctl_reason ? cap->vmctl_reason : "");
    assert_true((cap->proof != VMCTL_PROOF_NONE) == (cap->vmctl > VMCTL_LEVEL_NO));
    return 0;
}

static answer ask(const char *feature) {
    answer a = {.feature = feature};
    assert_int_equal(vmctl_caps(NULL, keep, &a, NULL), 0);
    return a;
}

static void caps_come_from_the_descriptor(void **state) {
    (void)state;
    assert_int_equal(ask("lifecycle.create").level, VMCTL_LEVEL_YES);
    answer reset = ask("lifecycle.reset");
    assert_int_equal(reset.level, VMCTL_LEVEL_NO);
    assert_string_equal(reset.reason, "this hypervisor has no reset button");
    assert_int_equal(ask("storage.bus.scsi").level, VMCTL_LEVEL_YES);
    answer nvme = ask("storage.bus.nvme");
    assert_int_equal(nvme.level, VMCTL_LEVEL_NO);
    assert_string_equal(nvme.reason, "it emulates no others");
    assert_int_equal(ask("gpu.passthrough").level, VMCTL_LEVEL_NO);
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.feature = "lifecycle.start";
    answer one = {.feature = options.feature};
    assert_int_equal(vmctl_caps(&options, keep, &one, NULL), 0);
    assert_int_equal(one.count, 5); /* the four platforms that the library knows of, and this one */
    options.backend = "fake";
    one.count = 0;
    assert_int_equal(vmctl_caps(&options, keep, &one, NULL), 0);
    assert_int_equal(one.count, 1);
    options.feature = "lifecycle.strat";
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_caps(&options, keep, &one, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), "lifecycle.start"));
    vmctl_error_free(err);
}

static const vmctl_backend_ops *old_entry(void) {
    static vmctl_backend_ops other;
    other = ops;
    other.abi = VMCTL_BACKEND_ABI + 1;
    return &other;
}

static const vmctl_backend_ops *short_entry(void) {
    static vmctl_backend_ops other;
    other = ops;
    other.size = offsetof(vmctl_backend_ops, create); /* of a time before create, change, start */
    return &other;
}

static void a_table_of_another_abi_is_refused(void **state) {
    (void)state;
    static const vmc_registry_entry other[] = {{&descriptor, old_entry}, {NULL, NULL}};
    vmc_backends_replace(other);
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = "fake:///x";
    vmctl_connection *own = NULL;
    vmctl_error *err = NULL;
    assert_int_equal(vmctl_connect(&options, &own, &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_message(err), "ABI"));
    vmctl_error_free(err);
    err = NULL;
    static const vmc_registry_entry absent[] = {{&descriptor, NULL}, {NULL, NULL}};
    vmc_backends_replace(absent);
    assert_int_equal(vmctl_connect(&options, &own, &err), VMCTL_E_UNAVAILABLE);
    assert_string_equal(vmctl_error_next(err), "install vmctl-fake");
    vmctl_error_free(err);
    static const vmc_registry_entry shorter[] = {{&descriptor, short_entry}, {NULL, NULL}};
    vmc_backends_replace(shorter);
    assert_int_equal(vmctl_connect(&options, &own, NULL), 0);
    vmctl_spec *spec = spec_of(simple);
    assert_int_equal(vmctl_create(own, spec, NULL, NULL, NULL), VMCTL_E_UNSUPPORTED);
    vmctl_spec_free(spec);
    vmctl_connection_free(own);
    fake.closed = 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_missing_slot_says_why),
        TEST(a_silent_failure_still_has_an_error),
        TEST(null_arguments_are_refused),
        TEST(shorter_options_leave_defaults),
        TEST(longer_options_are_accepted_while_unused),
        TEST(null_options_are_defaults),
        TEST(filters_hold_whatever_the_backend_does),
        TEST(a_cancelled_call_does_not_begin),
        TEST(a_vm_keeps_its_connection),
        TEST(a_lazy_handle_learns_its_id_by_the_start),
        TEST(caps_come_from_the_descriptor),
        TEST(a_table_of_another_abi_is_refused),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
