/* hotplug.c - devices, CPUs and memory of a VM that runs. The guest has no OS: what needs no consent of it (USB, SCSI, media) comes and
 * goes at once, what needs it (PCI) never goes, and both are looked at. */
#include "contract.h"

#include <sys/stat.h>

static void is_gone(vmctl_vm *vm, const char *name) {
    seen facts;
    look(vm, &facts);
    assert_null(device_or_null(&facts, name));
    assert_int_equal(facts.restart_required, 0);
}

static bool exists(const char *path) {
    struct stat info;
    return *path && stat(path, &info) == 0;
}

static void disks_come_while_it_runs_on(const char *name, const char *machine) {
    vmctl_vm *vm = make_started(name, "machine: %s", machine);
    int line = wait_line(vm, 1).line;
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    MUST(attach(vm, "disks", "{name: virtio, size: 4MiB}", true, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    is_there(vm, "virtio");
    MUST(attach(vm, "disks", "{name: scsi, size: 4MiB, bus: scsi, format: raw}", true, &effect));
    is_there(vm, "scsi");
    MUST(attach(vm, "disks", "{name: usb, size: 4MiB, bus: usb}", true, &effect));
    is_there(vm, "usb");
    char copy[512];
    snprintf(copy, sizeof copy, "{name: copy, image: %s, bus: scsi, size: 8MiB}", guest_image);
    MUST(attach(vm, "disks", copy, true, &effect));
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "virtio")->bus, "virtio");
    assert_string_equal(device(&facts, "scsi")->bus, "scsi");
    assert_string_equal(device(&facts, "scsi")->type, "raw");
    assert_int_equal(device(&facts, "copy")->capacity, 8 * 1024 * 1024);
    assert_true(device(&facts, "copy")->own);
    printed after = wait_line(vm, line + 3);
    assert_int_equal(after.boots, 1);
    /* The next start has them all, in the places that they have now. */
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    is_there(vm, "virtio");
    is_there(vm, "copy");
    vmctl_vm_free(vm);
}

static void disks_on_pc(void **state) {
    (void)state;
    disks_come_while_it_runs_on("hp-a", "pc");
}

static void disks_on_q35(void **state) {
    (void)state;
    disks_come_while_it_runs_on("hp-b", "q35");
}

static void a_bus_that_cannot_be_plugged_waits(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-c", "%s", "machine: q35");
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    char *before = native_of(vm), *world_before = world();
    FAILS(VMCTL_E_INVALID_STATE, attach(vm, "disks", "{name: late, size: 4MiB, bus: sata}", true, &effect));
    assert_non_null(strstr(failure, "sata"));
    char *after = native_of(vm), *world_after = world();
    assert_string_equal(before, after);
    assert_string_equal(world_before, world_after);
    MUST(attach(vm, "disks", "{name: late, size: 4MiB, bus: sata}", false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_true(device(&facts, "late")->pending);
    assert_int_equal(facts.restart_required, 1);
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    is_there(vm, "late");
    vmctl_string_free(before);
    vmctl_string_free(after);
    free(world_before);
    free(world_after);
    vmctl_vm_free(vm);
}

static void what_is_taken_is_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-d", "%s", "networks: [{name: lan, type: user}]");
    char *before = native_of(vm), *world_before = world();
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "disks", "{name: root, size: 4MiB}", false, NULL));
    FAILS(VMCTL_E_ALREADY_EXISTS, attach(vm, "disks", "{name: lan, size: 4MiB, bus: usb}", false, NULL));
    assert_non_null(strstr(failure, "nic"));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "disks", "{name: nothing}", false, NULL));
    FAILS(VMCTL_E_NOT_FOUND, attach(vm, "disks", "{name: gone, image: /nowhere.img}", false, NULL));
    char *after = native_of(vm), *world_after = world();
    assert_string_equal(before, after);
    assert_string_equal(world_before, world_after);
    vmctl_string_free(before);
    vmctl_string_free(after);
    free(world_before);
    free(world_after);
    vmctl_vm_free(vm);
}

static void a_disk_of_another_vm_is_refused_with_its_name(void **state) {
    (void)state;
    vmctl_vm *owner =
        make("hp-owner", "disks: [{name: root, image: %s, format: raw}, {name: data, size: 4MiB, format: raw}]",
             guest_image);
    vmctl_vm *vm = make_started("hp-e", "%s", "");
    seen facts;
    look(owner, &facts);
    char item[768];
    snprintf(item, sizeof item, "{name: mine, volume: %s, bus: usb}", device(&facts, "data")->source);
    FAILS(VMCTL_E_CONFLICT, attach(vm, "disks", item, false, NULL));
    assert_non_null(strstr(failure, "hp-owner"));
    start(owner);
    FAILS(VMCTL_E_BUSY, attach(vm, "disks", item, false, NULL));
    assert_non_null(strstr(failure, "hp-owner"));
    MUST(detach(owner, "data", false, NULL));
    force_off(owner); /* its guest lets nothing go */
    snprintf(item, sizeof item, "{name: mine, volume: %s, bus: usb}", device(&facts, "data")->source);
    MUST(attach(vm, "disks", item, true, NULL));
    is_there(vm, "mine");
    MUST(detach(vm, "mine", true, NULL)); /* it is the first one's still, and goes with that */
    vmctl_vm_free(owner);
    vmctl_vm_free(vm);
}

static void nics_come_while_it_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-f", "%s", "machine: pc");
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    MUST(attach(vm, "networks", "{name: lan, type: nat, mac: \"52:54:00:12:34:57\"}", true, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    MUST(attach(vm, "networks", "{name: out, type: user, model: e1000}", true, &effect));
    is_there(vm, "lan");
    is_there(vm, "out");
    seen facts;
    look(vm, &facts);
    assert_string_equal(device(&facts, "lan")->mac, "52:54:00:12:34:57");
    assert_string_equal(device(&facts, "lan")->source, "default");
    assert_string_equal(device(&facts, "out")->bus, "e1000");
    FAILS(VMCTL_E_NOT_FOUND, attach(vm, "networks", "{name: no, type: network, source: nowhere}", false, NULL));
    FAILS(VMCTL_E_INVALID_STATE, attach(vm, "networks", "{name: fw, type: user, forward: [\"20322:22\"]}", true, NULL));
    vmctl_vm_free(vm);
}

static void what_needs_no_guest_goes_at_once(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-g", "%s", "");
    MUST(attach(vm, "disks", "{name: stick, size: 4MiB, bus: usb}", true, NULL));
    MUST(attach(vm, "disks", "{name: data, size: 4MiB, bus: scsi}", true, NULL));
    seen facts;
    look(vm, &facts);
    char source[512];
    snprintf(source, sizeof source, "%s", device(&facts, "data")->source);
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.live = true;
    options.call = &call;
    MUST(vmctl_device_detach(vm, "data", &options, &effect, &err));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    is_gone(vm, "data");
    assert_true(exists(source)); /* its data stays, and it is told where */
    assert_non_null(strstr(heard.last, source));
    MUST(detach(vm, "stick", true, &effect));
    is_gone(vm, "stick");
    /* It comes back with all that is on it. */
    char item[768];
    snprintf(item, sizeof item, "{name: data, volume: %s, bus: scsi}", source);
    MUST(attach(vm, "disks", item, true, &effect));
    is_there(vm, "data");
    vmctl_vm_free(vm); /* both files go with the VM, which the frame looks at */
}

/* PCI: the guest would have to eject the card. */
static void a_guest_that_never_lets_go(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-h", "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]", guest_image);
    wait_line(vm, 1);
    char *before = native_of(vm);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 2000;
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.call = &call;
    FAILS(VMCTL_E_TIMEOUT, vmctl_device_detach(vm, "data", &options, NULL, &err));
    assert_non_null(strstr(failure, "data"));
    assert_non_null(strstr(failure, "guest"));
    char *after = native_of(vm);
    assert_string_equal(before, after);
    is_there(vm, "data");
    /* Without a limit of the caller's the guest gets its time; then it is a matter of the next start. */
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    MUST(detach(vm, "data", false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_true(device(&facts, "data")->leaving);
    assert_int_equal(facts.restart_required, 1);
    FAILS(VMCTL_E_BUSY, attach(vm, "disks", "{name: data, size: 4MiB}", false, NULL));
    vmctl_stop_options stop = VMCTL_STOP_OPTIONS_INIT;
    stop.force = true;
    MUST(vmctl_vm_restart(vm, &stop, &err));
    is_gone(vm, "data");
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_vm_free(vm);
}

static void detach_finds_what_is_meant(void **state) {
    (void)state;
    vmctl_vm *vm = make("hp-i", "%s", "display: vnc\nnetworks: [{name: lan, type: user}]");
    FAILS(VMCTL_E_NOT_FOUND, detach(vm, "lam", false, NULL));
    assert_non_null(strstr(failure, "lan"));
    FAILS(VMCTL_E_UNSUPPORTED, detach(vm, "vnc", false, NULL));
    MUST(detach(vm, "lan", true, NULL)); /* of a stopped VM everything is in force at once */
    seen facts;
    look(vm, &facts);
    assert_null(device_or_null(&facts, "lan"));
    vmctl_vm_free(vm);
}

static void media_change_in_a_running_drive(void **state) {
    (void)state;
    const char *first = disc("first.iso"), *second = disc("second.iso");
    vmctl_vm *vm = make_started("hp-j", "disks: [{name: root, image: %s}, {name: cd, cdrom: %s}]", guest_image, first);
    vmctl_cdrom_options options = VMCTL_CDROM_OPTIONS_INIT;
    options.live = true;
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    MUST(vmctl_cdrom_change(vm, NULL, second, &options, &effect, &err));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    seen facts;
    look(vm, &facts);
    /* The file itself, or a copy of it in the pool where QEMU cannot enter the folder. */
    assert_true(strcmp(device(&facts, "cd")->source, second) == 0 || strstr(device(&facts, "cd")->source, "hp-j-cd"));
    is_there(vm, "cd");
    MUST(vmctl_cdrom_change(vm, "cd", NULL, &options, &effect, &err));
    look(vm, &facts);
    assert_string_equal(device(&facts, "cd")->source, "");
    is_there(vm, "cd");
    MUST(vmctl_cdrom_change(vm, "cd", NULL, &options, &effect, &err)); /* as it is already */
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, "ce", NULL, &options, &effect, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, NULL, "/nowhere.iso", &options, &effect, &err));
    static const char qcow2[512] = "QFI\xfb\0\0\0\3";
    FAILS(VMCTL_E_INVALID_SPEC,
          vmctl_cdrom_change(vm, NULL, scratch_file("no-disc.img", qcow2, sizeof qcow2), &options, &effect, &err));
    vmctl_vm_free(vm);
}

static void a_new_drive_comes_where_the_bus_can(void **state) {
    (void)state;
    const char *first = disc("third.iso");
    vmctl_vm *vm = make_started("hp-k", "%s", "machine: q35");
    vmctl_cdrom_options cd = VMCTL_CDROM_OPTIONS_INIT;
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, NULL, first, &cd, NULL, &err));
    char item[512];
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    snprintf(item, sizeof item, "{name: one, cdrom: %s, bus: usb}", first);
    MUST(attach(vm, "disks", item, true, &effect));
    is_there(vm, "one");
    snprintf(item, sizeof item, "{name: two, cdrom: %s, bus: scsi}", first);
    MUST(attach(vm, "disks", item, true, &effect));
    is_there(vm, "two");
    FAILS(VMCTL_E_AMBIGUOUS, vmctl_cdrom_change(vm, NULL, NULL, &cd, NULL, &err));
    MUST(detach(vm, "one", true, &effect));
    is_gone(vm, "one");
    snprintf(item, sizeof item, "{name: three, cdrom: %s}", first); /* sata */
    MUST(attach(vm, "disks", item, false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_true(device(&facts, "three")->pending);
    vmctl_vm_free(vm);
}

static void cpus_come_while_it_runs(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-l", "%s", "cpus: {count: 1, max: 4}");
    effects told = {0};
    MUST(change(vm, "cpus.count", "3", true, false, &told));
    assert_int_equal(told.now, 1);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.cpus, 3);
    assert_int_equal(facts.restart_required, 0);
    /* Going, they need a guest that gives them back, and this one has no OS; from QEMU's emulation no CPU goes at all. */
    char *before = native_of(vm);
    bool emulated = strstr(before, "<domain type='qemu'") != NULL;
    FAILS(emulated ? VMCTL_E_INVALID_STATE : VMCTL_E_BUSY, change(vm, "cpus.count", "2", true, false, &told));
    assert_non_null(strstr(failure, emulated ? "TCG" : "the request stands"));
    char *after = native_of(vm);
    assert_string_equal(before, after);
    look(vm, &facts);
    assert_int_equal(facts.cpus, 3);
    /* Beyond its room it is a matter of the next start. */
    memset(&told, 0, sizeof told);
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "cpus", "{count: 6, max: 8}", true, false, &told));
    assert_non_null(strstr(failure, "cpus.max"));
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    look(vm, &facts);
    assert_int_equal(facts.cpus, 3);
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_vm_free(vm);
}

static void memory_comes_in_modules(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-m", "%s", "memory: {size: 128MiB, max: 1GiB}");
    effects told = {0};
    MUST(change(vm, "memory.size", "256MiB", true, false, &told));
    assert_int_equal(told.now, 1);
    MUST(change(vm, "memory.size", "512MiB", true, false, &told));
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 512);
    assert_int_equal(facts.restart_required, 0);
    /* Linux takes no part of a section of 128 MiB. */
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory.size", "600MiB", true, false, &told));
    assert_non_null(strstr(failure, "128MiB"));
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "{size: 2GiB, max: 2GiB}", true, false, &told));
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 512);
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 512);
    MUST(change(vm, "memory.size", "1GiB", true, false, &told)); /* its slots are free again */
    vmctl_vm_free(vm);
}

static void a_guest_without_a_balloon_driver_gives_no_memory(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-n", "%s", "memory: 128MiB");
    char *before = native_of(vm);
    effects told = {0};
    FAILS(VMCTL_E_TIMEOUT, change(vm, "memory", "64MiB", true, false, &told));
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
    vmctl_vm *vm = make_started("hp-o", "disks: [{name: root, image: %s}]\ncpus: {count: 1, max: 2}", guest_image);
    printed before = wait_line(vm, 2);
    MUST(vmctl_vm_save(vm, NULL, &err));
    effects told = {0};
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "disk.root.size", "8MiB", false, false, &told));
    assert_non_null(strstr(failure, "saved"));
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "64MiB", true, false, &told));
    MUST(change(vm, "memory", "64MiB", false, false, &told));
    MUST(change(vm, "cpus.count", "2", false, false, &told));
    assert_int_equal(told.now, 0);
    assert_int_equal(told.at_restart, 2);
    vmctl_effect effect = VMCTL_EFFECT_NOW;
    MUST(attach(vm, "disks", "{name: data, size: 4MiB}", false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_int_equal(facts.state, VMCTL_STATE_SAVED);
    assert_int_equal(facts.memory_mib, 32);
    assert_int_equal(facts.cpus, 1);
    assert_true(device(&facts, "data")->pending);
    assert_int_equal(facts.restart_required, 1);
    start(vm);
    printed after = wait_line(vm, before.line + 1);
    assert_int_equal(after.boots, 1);
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 32);
    assert_int_equal(facts.restart_required, 1);
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    look(vm, &facts);
    assert_int_equal(facts.memory_mib, 64);
    assert_int_equal(facts.cpus, 2);
    is_there(vm, "data");
    vmctl_vm_free(vm);
}

static void slots_run_out(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-p", "%s", "machine: pc");
    int rc = 0, count = 0;
    for (; rc == 0 && count < 40; count++) {
        char item[64];
        snprintf(item, sizeof item, "{name: d%d, size: 1MiB}", count);
        rc = attach(vm, "disks", item, true, NULL);
    }
    FAILS(VMCTL_E_RESOURCE_EXHAUSTED, rc);
    assert_non_null(strstr(failure, "scsi"));
    assert_true(count > 10);
    char last[16];
    snprintf(last, sizeof last, "d%d", count - 1);
    is_gone(vm, last);
    MUST(attach(vm, "disks", "{name: more, size: 1MiB, bus: usb}", true, NULL)); /* which the error named */
    vmctl_vm_free(vm);
}

static void usb_devices_that_are_not_there(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-q", "%s", "");
    char *before = native_of(vm);
    FAILS(VMCTL_E_NOT_FOUND, attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", false, NULL));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "usb", "{name: stick, address: here}", false, NULL));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "usb", "{name: stick}", false, NULL));
    char *after = native_of(vm);
    assert_string_equal(before, after);
    /* Of a stopped VM it is defined, shown, and goes again. */
    force_off(vm);
    MUST(attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", true, NULL));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "stick")->kind, VMCTL_DEVICE_USB);
    assert_string_equal(device(&facts, "stick")->source, "ffff:fffe");
    MUST(detach(vm, "stick", true, NULL));
    look(vm, &facts);
    assert_null(device_or_null(&facts, "stick"));
    vmctl_string_free(before);
    vmctl_string_free(after);
    vmctl_vm_free(vm);
}

static void shares_come_where_memory_is_shared(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-r", "%s", "shares: [{name: one, path: /tmp, type: virtiofs}]");
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    /* libvirt 9.0's daemon dies of a virtiofs share that is plugged, so it must not be asked to: it would not answer what follows. */
    int rc = attach(vm, "shares", "{name: two, path: /usr, type: virtiofs}", true, &effect);
    if (rc == VMCTL_E_INVALID_STATE) {
        FAILS(VMCTL_E_INVALID_STATE, rc);
        assert_non_null(strstr(failure, "libvirt 10.0"));
        FAILS(VMCTL_E_INVALID_STATE, detach(vm, "one", true, NULL));
        assert_non_null(strstr(failure, "libvirt 10.0"));
    } else {
        MUST(rc);
    }
    MUST(rc == 0 ? 0 : attach(vm, "shares", "{name: two, path: /usr, type: virtiofs}", false, &effect));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "two")->pending, rc != 0);
    FAILS(VMCTL_E_INVALID_STATE, attach(vm, "shares", "{name: three, path: /usr, type: 9p}", true, &effect));
    vmctl_vm *other = make_started("hp-s", "%s", "");
    FAILS(VMCTL_E_INVALID_STATE, attach(other, "shares", "{name: src, path: /usr, type: virtiofs}", true, &effect));
    MUST(attach(other, "shares", "{name: src, path: /usr, type: virtiofs}", false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    look(other, &facts);
    assert_true(device(&facts, "src")->pending);
    vmctl_vm_free(vm);
    vmctl_vm_free(other);
}

static const contract_test tests[] = {
    TEST("device.disk.hotplug", "device_attach", disks_on_pc),
    TEST("device.disk.hotplug", "device_attach", disks_on_q35),
    TEST("device.disk.hotplug", "device_attach", a_bus_that_cannot_be_plugged_waits),
    TEST("device.disk.hotplug", "device_attach", what_is_taken_is_refused),
    TEST("device.disk.hotplug", "device_attach device_detach", a_disk_of_another_vm_is_refused_with_its_name),
    TEST("device.nic.hotplug", "device_attach", nics_come_while_it_runs),
    TEST("device.detach", "device_attach device_detach", what_needs_no_guest_goes_at_once),
    TEST("device.detach", "device_detach", a_guest_that_never_lets_go),
    TEST("device.detach", "device_detach", detach_finds_what_is_meant),
    TEST("device.cdrom.change", "cdrom_change", media_change_in_a_running_drive),
    TEST("device.cdrom.change", "cdrom_change device_attach", a_new_drive_comes_where_the_bus_can),
    TEST("cpu.hotplug", "change", cpus_come_while_it_runs),
    TEST("memory.hotplug", "change", memory_comes_in_modules),
    TEST("change.live", "change", a_guest_without_a_balloon_driver_gives_no_memory),
    TEST("change.memory", "change save", a_saved_vm_keeps_what_its_memory_knows),
    TEST("device.disk.hotplug", "device_attach", slots_run_out),
    TEST("look.get", "device_attach device_detach", usb_devices_that_are_not_there),
    TEST("share.virtiofs", "device_attach", shares_come_where_memory_is_shared),
};
const contract_group group_hotplug = {"hotplug", tests, sizeof tests / sizeof tests[0]};
