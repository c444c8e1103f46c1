/* change.c - changing a VM: a diff of two specs, now or at the next start; apply. */
#include "contract.h"

static void memory_and_cpus_of_a_stopped_vm(void **state) {
    (void)state;
    vmctl_vm *vm = make("ch-a", "%s", "");
    effects seen_effects = {0};
    MUST(change(vm, "memory", "64MiB", false, false, &seen_effects));
    MUST(change(vm, "cpus", "2", false, false, &seen_effects));
    assert_true(seen_effects.count >= 2);
    assert_int_equal(seen_effects.at_restart, 0);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 64);
    assert_int_equal(facts.cpus, 2);
    start(vm);
    wait_line(vm, 1);
    vmctl_vm_free(vm);
}

static void memory_of_a_running_vm_waits_for_a_restart(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ch-b", "%s", "");
    wait_line(vm, 1);
    effects seen_effects = {0};
    MUST(change(vm, "memory", "64MiB", false, false, &seen_effects));
    assert_int_equal(seen_effects.at_restart, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 32);
    assert_int_not_equal(facts.restart_required, 0); /* it is, or that is not known */
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 64);
    assert_int_not_equal(facts.restart_required, 1);
    vmctl_vm_free(vm);
}

static void live_refuses_what_needs_a_restart(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ch-c", "%s", "");
    effects seen_effects = {0};
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "64MiB", true, false, &seen_effects));
    force_off(vm);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 32);
    vmctl_vm_free(vm);
}

static void a_link_goes_down_and_up_at_once(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ch-d", "%s", "networks: [{name: lan, type: nat}]");
    effects seen_effects = {0};
    MUST(change(vm, "nic.lan.link", "down", true, false, &seen_effects));
    assert_int_equal(seen_effects.now, 1);
    seen facts;
    look(vm, &facts);
    assert_false(device(&facts, "lan")->link_up);
    MUST(change(vm, "nic.lan.link", "up", true, false, &seen_effects));
    look(vm, &facts);
    assert_true(device(&facts, "lan")->link_up);
    vmctl_vm_free(vm);
}

static void a_disk_grows_stopped_and_running(void **state) {
    (void)state;
    vmctl_vm *vm = make("ch-e", "%s", "");
    effects seen_effects = {0};
    MUST(change(vm, "disk.root.size", "8MiB", false, false, &seen_effects));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 8 * 1024 * 1024);
    start(vm);
    wait_line(vm, 1);
    if (!profile->grows_running) {
        FAILS(VMCTL_E_INVALID_STATE, change(vm, "disk.root.size", "16MiB", true, false, &seen_effects));
        assert_non_null(strstr(failure, "disks.root.size"));
        MUST(change(vm, "disk.root.size", "16MiB", false, false, &seen_effects));
        look(vm, &facts);
        assert_int_equal(device(&facts, "root")->capacity, 8 * 1024 * 1024);
        assert_int_equal(facts.restart_required, 1);
        vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
        options.force = true;
        MUST(vmctl_vm_restart(vm, &options, &err));
    } else {
        MUST(change(vm, "disk.root.size", "16MiB", true, false, &seen_effects));
    }
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 16 * 1024 * 1024);
    assert_int_equal(facts.restart_required, 0);
    vmctl_vm_free(vm);
}

static void a_disk_never_shrinks(void **state) {
    (void)state;
    vmctl_vm *vm = make("ch-f", "disks: [{name: root, image: %s, size: 8MiB}]", guest_image);
    effects seen_effects = {0};
    FAILS(VMCTL_E_DATA_LOSS_PREVENTED, change(vm, "disk.root.size", "4MiB", false, false, &seen_effects));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "root")->capacity, 8 * 1024 * 1024);
    vmctl_vm_free(vm);
}

static void labels_autostart_and_description(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("ch-g", "%s", "labels: {a: old}");
    effects seen_effects = {0};
    MUST(change(vm, "labels.a", "new", false, false, &seen_effects));
    MUST(change(vm, "labels.b", "more", false, false, &seen_effects));
    MUST(change(vm, "autostart", "true", false, false, &seen_effects));
    MUST(change(vm, "description", "changed words", false, false, &seen_effects));
    assert_int_equal(seen_effects.at_restart, 0);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.labels, 2);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(facts.label_value[i], strcmp(facts.label_key[i], "a") == 0 ? "new" : "more");
    assert_int_equal(facts.autostart, 1);
    assert_string_equal(facts.description, "changed words");
    vmctl_vm_free(vm);
}

static void a_dry_run_changes_nothing(void **state) {
    (void)state;
    vmctl_vm *vm = make("ch-h", "%s", "");
    char *before = native_of(vm);
    effects seen_effects = {0};
    MUST(change(vm, "memory", "64MiB", false, true, &seen_effects));
    assert_int_equal(seen_effects.count, 1);
    char *after = native_of(vm);
    assert_string_equal(before, after);
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_vm_free(vm);
}

static int apply_yaml(const char *text, bool prune, bool *created, effects *seen_effects) {
    vmctl_spec_load_options load = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    load.incomplete = true;
    load.file_name = "apply.yaml";
    load.base_dir = "/";
    vmctl_spec **specs = NULL;
    size_t count = 0;
    MUST(vmctl_spec_load(text, strlen(text), &load, &specs, &count, &err));
    complete(specs[0]);
    vmctl_apply_options options = VMCTL_APPLY_OPTIONS_INIT;
    options.prune = prune;
    options.changed = take_change;
    options.user = seen_effects;
    int rc = vmctl_apply(conn, specs[0], &options, created, &err);
    vmctl_spec_list_free(specs);
    return rc;
}

static void apply_creates_then_changes_then_rests(void **state) {
    (void)state;
    char text[1024];
    snprintf(text, sizeof text,
             "name: ap-a\nmemory: 32MiB\nnetworks: []\ndisks: [{name: root, image: %s}]\nserial: {log: serial.log}\n",
             guest_image);
    bool created = false;
    effects seen_effects = {0};
    MUST(apply_yaml(text, false, &created, &seen_effects));
    assert_true(created);
    vmctl_vm *vm = NULL;
    MUST(vmctl_vm_lookup(conn, "ap-a", NULL, &vm, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    char *first = native_of(vm);

    memset(&seen_effects, 0, sizeof seen_effects);
    MUST(apply_yaml(text, false, &created, &seen_effects));
    assert_false(created);
    assert_int_equal(seen_effects.count, 0);
    char *second = native_of(vm);
    assert_string_equal(first, second);

    MUST(apply_yaml("name: ap-a\ncpus: 2\n", false, &created, &seen_effects)); /* absent keys are not managed */
    assert_int_equal(seen_effects.count, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.memory_mib, 32);
    start(vm);
    wait_line(vm, 1);
    vmctl_string_free(first);
    vmctl_string_free(second);
    vmctl_vm_free(vm);
}

static void apply_adds_and_prunes_devices(void **state) {
    (void)state;
    vmctl_vm *vm = make("ap-b", "%s", "");
    bool created = false;
    effects seen_effects = {0};
    char with[512], without[512];
    snprintf(with, sizeof with, "name: ap-b\ndisks: [{name: root, image: %s}, {name: data, size: 4MiB}]\n",
             guest_image);
    snprintf(without, sizeof without, "name: ap-b\ndisks: [{name: root, image: %s}]\n", guest_image);
    MUST(apply_yaml(with, false, &created, &seen_effects));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "data")->capacity, 4 * 1024 * 1024);
    FAILS(VMCTL_E_CONFLICT, apply_yaml(without, false, &created, &seen_effects));
    assert_non_null(strstr(failure, "data"));
    MUST(apply_yaml(without, true, &created, &seen_effects));
    look(vm, &facts);
    for (size_t i = 0; i < facts.device_count; i++)
        assert_string_not_equal(facts.devices[i].name, "data");
    start(vm);
    wait_line(vm, 1);
    vmctl_vm_free(vm);
    /* What a person's data may be on is not deleted with the device: it is theirs to delete. */
    vmctl_error_free(err);
    err = NULL;
}

static void apply_refuses_another_image(void **state) {
    (void)state;
    vmctl_vm *vm = make("ap-c", "%s", "");
    const char *other = scratch_file("other.img", "", 0);
    const char *const copy[] = {"cp", guest_image, other, NULL};
    assert_int_equal(run_program(copy), 0);
    char text[512];
    snprintf(text, sizeof text, "name: ap-c\ndisks: [{name: root, image: %s}]\n", other);
    bool created = false;
    effects seen_effects = {0};
    FAILS(VMCTL_E_DATA_LOSS_PREVENTED, apply_yaml(text, false, &created, &seen_effects));
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("memory.size cpu.count", "change spec", memory_and_cpus_of_a_stopped_vm),
    TEST("change.memory", "change restart", memory_of_a_running_vm_waits_for_a_restart),
    TEST("change.live", "change", live_refuses_what_needs_a_restart),
    TEST("network.link", "change", a_link_goes_down_and_up_at_once),
    TEST("storage.grow", "change", a_disk_grows_stopped_and_running),
    TEST("storage.grow", "change", a_disk_never_shrinks),
    TEST("change.labels", "change", labels_autostart_and_description),
    TEST("change.dryrun", "change", a_dry_run_changes_nothing),
    TEST("change.apply", "create change", apply_creates_then_changes_then_rests),
    TEST("change.apply", "change", apply_adds_and_prunes_devices),
    TEST("change.apply", "change", apply_refuses_another_image),
};
const contract_group group_change = {"change", tests, sizeof tests / sizeof tests[0]};
