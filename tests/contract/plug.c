/* plug.c - what comes to a VM that runs and goes again, where the hypervisors differ: by the buses of the profile. What cannot be done now waits
 * for the next start, is shown as waiting, and is there then. */
#include "contract.h"

static void restart(vmctl_vm *vm) {
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
}

/* What apply would find nothing to change in. */
static void rests(vmctl_vm *vm) {
    vmctl_spec *spec = NULL;
    effects told = {0};
    MUST(vmctl_vm_spec(vm, NULL, &spec, &err));
    vmctl_apply_options options = VMCTL_APPLY_OPTIONS_INIT;
    options.changed = take_change;
    options.user = &told;
    bool created = true;
    MUST(vmctl_apply(conn, spec, &options, &created, &err));
    assert_false(created);
    assert_int_equal(told.count, 0);
    vmctl_spec_free(spec);
}

static void a_disk_comes_and_goes_while_it_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-a", "%s", "");
    int line = wait_line(vm, 1).line;
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    char item[768], source[512];
    snprintf(item, sizeof item, "{name: data, size: 4MiB, bus: %s}", profile->hot_bus);
    MUST(attach(vm, "disks", item, true, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    is_there(vm, "data");
    rests(vm);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "data")->bus, profile->hot_bus);
    assert_int_equal(device(&facts, "data")->capacity, 4 * 1024 * 1024);
    assert_true(device(&facts, "data")->own);
    snprintf(source, sizeof source, "%s", device(&facts, "data")->source);
    effect = VMCTL_EFFECT_AT_RESTART;
    MUST(detach(vm, "data", true, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    look(vm, &facts);
    assert_null(device_or_null(&facts, "data"));
    assert_true(data_is_there(source)); /* its data stays */
    snprintf(item, sizeof item, "{name: data, volume: %s, bus: %s}", source, profile->hot_bus);
    MUST(attach(vm, "disks", item, true, &effect));
    is_there(vm, "data");
    assert_int_equal(wait_line(vm, line + 2).boots, 1);
    restart(vm); /* and the next start has it */
    is_there(vm, "data");
    vmctl_vm_free(vm);
}

static void what_cannot_come_now_waits(void **state) {
    (void)state;
    vmctl_vm *vm = make_started(
        "pl-b", "machine: q35\ndisks: [{name: root, image: %s}, {name: old, size: 4MiB, bus: sata}]", guest_image);
    char item[128], *before = native_of(vm), *world_before = world();
    snprintf(item, sizeof item, "{name: late, size: 4MiB, bus: %s}", profile->cold_bus);
    FAILS(VMCTL_E_INVALID_STATE, attach(vm, "disks", item, true, NULL));
    assert_non_null(strstr(failure, profile->cold_bus));
    FAILS(VMCTL_E_INVALID_STATE, detach(vm, "old", true, NULL));
    char *after = native_of(vm), *world_after = world();
    assert_string_equal(before, after);
    assert_string_equal(world_before, world_after);
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    MUST(attach(vm, "disks", item, false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "disks", item, false, NULL));
    MUST(detach(vm, "old", false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    FAILS(VMCTL_E_BUSY, attach(vm, "disks", "{name: old, size: 4MiB}", false, NULL));
    seen facts;
    look(vm, &facts);
    assert_true(device(&facts, "late")->pending);
    assert_true(device(&facts, "late")->capacity == 0 || device(&facts, "late")->capacity == 4 * 1024 * 1024);
    assert_true(device(&facts, "old")->leaving);
    assert_int_equal(facts.restart_required, 1);
    rests(vm);
    restart(vm);
    is_there(vm, "late");
    look(vm, &facts);
    assert_null(device_or_null(&facts, "old"));
    assert_string_equal(device(&facts, "late")->bus, profile->cold_bus);
    rests(vm);
    vmctl_string_free(before);
    vmctl_string_free(after);
    free(world_before);
    free(world_after);
    vmctl_vm_free(vm);
}

static void a_nic_comes_now_or_then(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-c", "%s", profile->only_q35 ? "" : "machine: pc");
    const char *item = "{name: lan, type: nat, model: e1000, mac: \"52:54:00:12:34:57\"}";
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    if (!profile->plugs_nics) {
        FAILS(VMCTL_E_INVALID_STATE, attach(vm, "networks", item, true, NULL));
        assert_non_null(strstr(failure, "NIC"));
    }
    MUST(attach(vm, "networks", item, false, &effect));
    assert_int_equal(effect, profile->plugs_nics ? VMCTL_EFFECT_NOW : VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "lan")->pending, !profile->plugs_nics);
    restart(vm);
    is_there(vm, "lan");
    look(vm, &facts);
    assert_string_equal(device(&facts, "lan")->mac, "52:54:00:12:34:57");
    assert_string_equal(device(&facts, "lan")->bus, "e1000");
    force_off(vm);
    MUST(detach(vm, "lan", true, &effect)); /* of a stopped VM everything is in force at once */
    look(vm, &facts);
    assert_null(device_or_null(&facts, "lan"));
    vmctl_vm_free(vm);
}

static void a_nic_comes_and_goes_while_it_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("pl-l", "%s", "");
    int line = wait_line(vm, 1).line;
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    MUST(attach(vm, "networks", profile->hot_nic, true, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    is_there(vm, "hot");
    rests(vm);
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "hot")->mac, "52:54:00:12:34:58");
    assert_int_equal(facts.restart_required, 0);
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "networks", profile->hot_nic, true, NULL));
    effects told = {0};
    MUST(change(vm, "nic.hot.link", "down", true, false, &told));
    assert_int_equal(told.now, 1);
    look(vm, &facts);
    assert_false(device(&facts, "hot")->link_up);
    if (profile->cluster) { /* elsewhere the guest has to let it go, and this one has no OS */
        MUST(detach(vm, "hot", true, &effect));
        assert_int_equal(effect, VMCTL_EFFECT_NOW);
        look(vm, &facts);
        assert_null(device_or_null(&facts, "hot"));
        assert_int_equal(facts.restart_required, 0);
        rests(vm);
        MUST(attach(vm, "networks", profile->hot_nic, true, &effect));
    }
    restart(vm);
    is_there(vm, "hot");
    assert_true(wait_line(vm, 1).line > 0 && line > 0);
    vmctl_vm_free(vm);
}

static void media_change_while_it_runs(void **state) {
    (void)state;
    const char *first = disc("plug-1.iso"), *second = disc("plug-2.iso"), *odd = disc("plug-3.img");
    vmctl_vm *vm = make_started("pl-d", "disks: [{name: root, image: %s}, {name: cd, cdrom: %s}]", guest_image,
                                profile->media_stay ? "\"\"" : first);
    vmctl_cdrom_options options = VMCTL_CDROM_OPTIONS_INIT;
    options.live = true;
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    if (profile->media_stay) {
        vmctl_vm *with =
            make_started("pl-k", "disks: [{name: root, image: %s}, {name: cd, cdrom: %s}]", guest_image, first);
        FAILS(VMCTL_E_INVALID_STATE, vmctl_cdrom_change(with, "cd", NULL, &options, &effect, &err));
        assert_non_null(strstr(failure, "medium"));
        MUST(vmctl_cdrom_change(with, "cd", NULL, NULL, &effect, &err));
        assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
        restart(with);
        seen after;
        look(with, &after);
        assert_string_equal(device(&after, "cd")->source, "");
        vmctl_vm_free(with);
    }
    MUST(vmctl_cdrom_change(vm, NULL, second, &options, &effect, &err));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    is_there(vm, "cd");
    seen facts;
    look(vm, &facts);
    assert_true(strcmp(device(&facts, "cd")->source, second) == 0 || strstr(device(&facts, "cd")->source, "pl-d-cd"));
    MUST(vmctl_cdrom_change(vm, "cd", odd, &options, &effect, &err)); /* whatever its name ends in */
    MUST(vmctl_cdrom_change(vm, "cd", NULL, &options, &effect, &err));
    look(vm, &facts);
    assert_string_equal(device(&facts, "cd")->source, "");
    MUST(vmctl_cdrom_change(vm, "cd", NULL, &options, &effect, &err)); /* as it is already */
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, "ce", NULL, &options, &effect, &err));
    assert_non_null(strstr(failure, "cd"));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, NULL, "/nowhere.iso", &options, &effect, &err));
    static const char qcow2[512] = "QFI\xfb\0\0\0\3";
    FAILS(VMCTL_E_INVALID_SPEC,
          vmctl_cdrom_change(vm, NULL, scratch_file("plug-no-disc.img", qcow2, sizeof qcow2), &options, &effect, &err));
    is_there(vm, "cd");
    vmctl_vm_free(vm);
}

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

static void what_is_taken_is_refused(void **state) {
    (void)state;
    vmctl_vm *owner = make("pl-owner", "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]", guest_image);
    vmctl_vm *vm = make_started("pl-h", "%s", "networks: [{name: lan, type: nat}]");
    seen facts;
    look(owner, &facts);
    char item[768], *before = native_of(vm), *world_before = world();
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "disks", "{name: root, size: 4MiB}", false, NULL));
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "disks", "{name: lan, size: 4MiB}", false, NULL));
    assert_non_null(strstr(failure, "nic"));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "disks", "{name: nothing}", false, NULL));
    FAILS(VMCTL_E_NOT_FOUND, attach(vm, "disks", "{name: gone, image: /nowhere.img}", false, NULL));
    snprintf(item, sizeof item, "{name: mine, volume: %s, bus: %s}", device(&facts, "data")->source, profile->hot_bus);
    FAILS(VMCTL_E_CONFLICT, attach(vm, "disks", item, false, NULL));
    assert_non_null(strstr(failure, "pl-owner"));
    FAILS(VMCTL_E_NOT_FOUND, detach(vm, "lam", false, NULL));
    assert_non_null(strstr(failure, "lan"));
    char *after = native_of(vm), *world_after = world();
    assert_string_equal(before, after);
    assert_string_equal(world_before, world_after);
    start(owner);
    FAILS(VMCTL_E_BUSY, attach(vm, "disks", item, false, NULL));
    assert_non_null(strstr(failure, "pl-owner"));
    vmctl_string_free(before);
    vmctl_string_free(after);
    free(world_before);
    free(world_after);
    vmctl_vm_free(owner);
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
    TEST("device.disk.hotplug device.detach", "device_attach device_detach", a_disk_comes_and_goes_while_it_runs),
    TEST("device.detach", "device_attach device_detach", what_cannot_come_now_waits),
    TEST("network.nat", "device_attach device_detach", a_nic_comes_now_or_then),
    TEST("device.nic.hotplug", "device_attach device_detach change", a_nic_comes_and_goes_while_it_runs),
    TEST("device.cdrom.change", "cdrom_change", media_change_while_it_runs),
    TEST("cpu.hotplug cpu.max", "change", cpus_come_up_to_the_maximum),
    TEST("cpu.hotplug", "change", a_cpu_that_is_used_stays),
    TEST("memory.hotplug", "change", memory_comes_up_to_the_maximum),
    TEST("device.disk.hotplug", "device_attach", what_is_taken_is_refused),
    TEST("change.apply", "change device_attach save", a_saved_vm_keeps_what_its_memory_knows),
    TEST("change.apply", "change", a_change_that_fails_half_way_is_taken_back),
};
const contract_group group_plug = {"plug", tests, sizeof tests / sizeof tests[0]};
