/* hotplug_size.c - CPUs and memory of a VM that runs, and changes of one that is saved or of which a part cannot be. */
#include "hotplug.h"

static void cpus_come_up_to_the_maximum(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-e", "%s", "cpus: {count: 1, max: 3}");
    effects told = {0};
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 1);
    MUST(change(vm, "cpus.count", "2", true, false, &told));
    assert_int_equal(told.now, 1);
    look(vm, &facts);
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.restart_required, 0);
    vmctl_vm *fixed = make_started("pl-f", "%s", "cpus: 1"); /* which has room for some all the same, here and there */
    FAILS(VMCTL_E_INVALID_STATE, change(fixed, "cpus.count", "9", true, false, &told));
    look(fixed, &facts);
    assert_int_equal(facts.cpus, 1);
    restart(vm);
    look(vm, &facts);
    assert_int_equal(facts.cpus, 2);
    vmctl_vm_free(vm);
    vmctl_vm_free(fixed);
}

/* Going, a CPU needs a guest that gives it back, and this one has no OS. */
static void a_cpu_that_is_used_stays(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-g", "%s", "cpus: {count: 1, max: 2}");
    wait_line(vm, 1);
    effects told = {0};
    MUST(change(vm, "cpus.count", "2", true, false, &told));
    char *before = native_of(vm);
    int rc = change(vm, "cpus.count", "1", true, false, &told);
    assert_true(rc == VMCTL_E_BUSY || rc == VMCTL_E_INVALID_STATE);
    FAILS(rc, rc);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 2);
    char *after = native_of(vm);
    assert_string_equal(before, after);
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_vm_free(vm);
}

static void memory_comes_up_to_the_maximum(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-m", "%s", "memory: {size: 1GiB, max: 2GiB}");
    effects told = {0};
    seen facts;
    MUST(change(vm, "memory.size", "1536MiB", true, false, &told));
    assert_int_equal(told.now, 1);
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 1536);
    assert_int_equal(facts.restart_required, 0);
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "{size: 4GiB, max: 4GiB}", true, false, &told));
    restart(vm);
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 1536);
    vmctl_vm_free(vm);
}

static void a_guest_without_a_balloon_driver_gives_no_memory(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-n", "%s", "memory: 128MiB");
    char *before = native_of(vm);
    effects told = {0};
    int rc = change(vm, "memory", "64MiB", true, false, &told);
    assert_true(rc == VMCTL_E_TIMEOUT ||
                rc == VMCTL_E_INVALID_STATE); /* the latter where the hypervisor knows it before */
    FAILS(rc, rc);
    assert_non_null(strstr(failure, "balloon"));
    assert_int_equal(told.count, 0);
    char *after = native_of(vm);
    assert_string_equal(before, after);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 128);
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_vm_free(vm);
}

static void a_saved_vm_keeps_what_its_memory_knows(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-i", "%s", "");
    printed before = wait_line(vm, 2);
    MUST(vmctl_vm_save(vm, NULL, &err));
    effects told = {0};
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "disk.root.size", "8MiB", false, false, &told));
    assert_non_null(strstr(failure, "saved"));
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "64MiB", true, false, &told));
    MUST(change(vm, "memory", "64MiB", false, false, &told));
    assert_int_equal(told.at_restart, 1);
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    MUST(attach(vm, "disks", "{name: data, size: 4MiB}", false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.state, VMCTL_STATE_SAVED);
    assert_int_equal(facts.memory_mib, 32);
    assert_true(device(&facts, "data")->pending);
    start(vm);
    printed after = wait_line(vm, before.line + 1);
    assert_int_equal(after.boots, 1);
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 32);
    assert_int_equal(facts.restart_required, 1);
    restart(vm);
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 64);
    is_there(vm, "data");
    vmctl_vm_free(vm);
}

/* The second of two changes cannot be made: the first is taken back. */
static void a_change_that_fails_half_way_is_taken_back(void **state) {
    (void)state;
    vmctl_vm *vm = make("pl-j", "%s", "networks: [{name: lan, type: nat}]");
    char *before = native_of(vm), *world_before = world();
    vmctl_spec *have = NULL, *want = NULL;
    MUST(vmctl_vm_spec(vm, NULL, &have, &err));
    want = vmctl_spec_copy(have);
    MUST(vmctl_spec_set(want, profile->bad_change[0], profile->bad_change[1], &err));
    MUST(vmctl_spec_set(want, "disks[1]", "{name: data, size: 4MiB}", &err));
    MUST(vmctl_spec_set(want, "labels.a", "b", &err));
    vmctl_diff *diff = NULL;
    MUST(vmctl_spec_diff(have, want, NULL, &diff, &err));
    int rc = vmctl_vm_change(vm, diff, NULL, &err);
    assert_true(rc < 0);
    FAILS(rc, rc);
    char *after = native_of(vm), *world_after = world();
    if (!strstr(before, "<VirtualBox")) /* whose settings note when they were written, and what is registered */
        assert_string_equal(before, after);
    assert_string_equal(world_before, world_after);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 1);
    assert_int_equal(facts.labels, 0);
    assert_null(device_or_null(&facts, "data"));
    rests(vm);
    start(vm);
    wait_line(vm, 1);
    vmctl_diff_free(diff);
    vmctl_spec_free(have);
    vmctl_spec_free(want);
    vmctl_string_free(before);
    vmctl_string_free(after);
    free(world_before);
    free(world_after);
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("cpu.hotplug cpu.max", "change", cpus_come_up_to_the_maximum),
    TEST("cpu.hotplug", "change", a_cpu_that_is_used_stays),
    TEST("memory.hotplug", "change", memory_comes_up_to_the_maximum),
    TEST("change.apply memory.shrink", "change", a_guest_without_a_balloon_driver_gives_no_memory),
    TEST("change.apply", "change device_attach save", a_saved_vm_keeps_what_its_memory_knows),
    TEST("change.apply", "change", a_change_that_fails_half_way_is_taken_back),
};
const contract_group hotplug_size = {.tests = tests, .count = sizeof tests / sizeof tests[0]};
