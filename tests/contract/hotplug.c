/* hotplug.c - what comes to a VM that runs and goes again: disks, NICs, media, devices of the host (hotplug_size.c has CPUs and memory). The guest
 * has no OS: what needs no consent of it comes and goes at once, what needs it never goes, and both are looked at. What cannot be done now waits
 * for the next start, is shown as waiting, and is there then. Where hypervisors differ, the profile says how. */
#include "hotplug.h"

#include <sys/stat.h>

void restart(vmctl_vm *vm) {
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
}

/* What apply would find nothing to change in. */
void rests(vmctl_vm *vm) {
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

static void is_gone(vmctl_vm *vm, const char *name) {
    seen facts;
    look(vm, &facts);
    assert_null(device_or_null(&facts, name));
    assert_int_equal(facts.restart_required, 0);
}

/* --- disks ---------------------------------------------------------------------------------------------------------- */

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
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.live = true;
    options.call = &call;
    MUST(vmctl_device_detach(vm, "data", &options, &effect, &err));
    assert_int_equal(effect, VMCTL_EFFECT_NOW);
    is_gone(vm, "data");
    assert_true(data_is_there(source)); /* its data stays, and it is told where */
    assert_non_null(strstr(heard.last, source));
    snprintf(item, sizeof item, "{name: data, volume: %s, bus: %s}", source, profile->hot_bus);
    MUST(attach(vm, "disks", item, true, &effect));
    is_there(vm, "data");
    assert_int_equal(wait_line(vm, line + 2).boots, 1);
    restart(vm); /* and the next start has it */
    is_there(vm, "data");
    vmctl_vm_free(vm);
}

/* One on each bus that takes them, and one that is filled. */
static void disks_come_while_it_runs_on(const char *name, const char *machine) {
    vmctl_vm *vm = make_started(name, "machine: %s", machine);
    int line = wait_line(vm, 1).line;
    seen facts;
    for (const char *const *bus = profile->hot_buses; *bus; bus++) {
        bool raw = strcmp(*bus, "scsi") == 0 && can("storage.raw");
        char item[128];
        snprintf(item, sizeof item, "{name: %s, size: 4MiB, bus: %s%s}", *bus, *bus, raw ? ", format: raw" : "");
        vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
        MUST(attach(vm, "disks", item, true, &effect));
        assert_int_equal(effect, VMCTL_EFFECT_NOW);
        is_there(vm, *bus);
        look(vm, &facts);
        assert_string_equal(device(&facts, *bus)->bus, *bus);
        if (raw)
            assert_string_equal(device(&facts, *bus)->type, "raw");
    }
    char copy[512];
    snprintf(copy, sizeof copy, "{name: copy, image: %s, bus: %s, size: 8MiB}", guest_image, profile->hot_bus);
    MUST(attach(vm, "disks", copy, true, NULL));
    look(vm, &facts);
    assert_int_equal(device(&facts, "copy")->capacity, 8 * 1024 * 1024);
    assert_true(device(&facts, "copy")->own);
    assert_int_equal(wait_line(vm, line + 3).boots, 1);
    restart(vm); /* the next start has them all, in the places that they have now */
    for (const char *const *bus = profile->hot_buses; *bus; bus++)
        is_there(vm, *bus);
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

static void a_disk_of_another_vm_is_refused_with_its_name(void **state) {
    (void)state;
    vmctl_vm *owner = make("hp-owner", "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]", guest_image);
    vmctl_vm *vm = make_started("hp-e", "%s", "");
    seen facts;
    look(owner, &facts);
    char item[768];
    snprintf(item, sizeof item, "{name: mine, volume: %s, bus: %s}", device(&facts, "data")->source, profile->hot_bus);
    FAILS(VMCTL_E_CONFLICT, attach(vm, "disks", item, false, NULL));
    assert_non_null(strstr(failure, "hp-owner"));
    start(owner);
    FAILS(VMCTL_E_BUSY, attach(vm, "disks", item, false, NULL));
    assert_non_null(strstr(failure, "hp-owner"));
    force_off(owner);
    MUST(detach(owner, "data", false, NULL));
    snprintf(item, sizeof item, "{name: mine, volume: %s, bus: %s}", device(&facts, "data")->source, profile->hot_bus);
    MUST(attach(vm, "disks", item, true, NULL));
    is_there(vm, "mine");
    MUST(detach(vm, "mine", true, NULL)); /* it is the first one's still, and goes with that */
    vmctl_vm_free(owner);
    vmctl_vm_free(vm);
}

/* A disk that the guest would have to let go, and a VM whose guest does not: on PCI, where it would have to eject a card; in the cluster of the tests,
 * as the stand-in for its node reads in an annotation. */
static vmctl_vm *make_holding(const char *name) {
    if (!profile->cluster)
        return make_started(name, "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]", guest_image);
    vmctl_vm *vm = make_started(name,
                                "disks: [{name: root, image: %s}]\nkubevirt: {patch: [{op: add, path: "
                                "/spec/template/metadata/annotations, value: {\"vmctl.test/keeps-disks\": \"\"}}]}",
                                guest_image);
    MUST(attach(vm, "disks", "{name: data, size: 4MiB}", true, NULL));
    return vm;
}

static void a_guest_that_never_lets_go(void **state) {
    (void)state;
    vmctl_vm *vm = make_holding("hp-h");
    wait_line(vm, 1);
    char *before = native_of(vm);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 2000;
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.call = &call;
    FAILS(VMCTL_E_TIMEOUT, vmctl_device_detach(vm, "data", &options, NULL, &err));
    assert_non_null(strstr(failure, "data"));
    assert_non_null(strstr(failure, "guest"));
    seen facts;
    if (!profile->cluster) { /* where nothing has changed, until the guest had all the time that it gets */
        char *after = native_of(vm);
        assert_string_equal(before, after);
        vmctl_string_free(after);
        is_there(vm, "data");
        vmctl_effect effect = VMCTL_EFFECT_NOW;
        MUST(detach(vm, "data", false, &effect));
        assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
        look(vm, &facts);
        assert_int_equal(facts.restart_required, 1);
    }
    look(vm, &facts);
    assert_true(device(&facts, "data")->leaving);
    FAILS(VMCTL_E_BUSY, attach(vm, "disks", "{name: data, size: 4MiB}", false, NULL));
    restart(vm);
    is_gone(vm, "data");
    vmctl_string_free(before);
    vmctl_vm_free(vm);
}

static void detach_finds_what_is_meant(void **state) {
    (void)state;
    vmctl_vm *vm = make("hp-i", "%s", "display: vnc\nnetworks: [{name: lan, type: nat}]");
    FAILS(VMCTL_E_NOT_FOUND, detach(vm, "lam", false, NULL));
    assert_non_null(strstr(failure, "lan"));
    FAILS(VMCTL_E_UNSUPPORTED, detach(vm, "vnc", false, NULL));
    MUST(detach(vm, "lan", true, NULL)); /* of a stopped VM everything is in force at once */
    seen facts;
    look(vm, &facts);
    assert_null(device_or_null(&facts, "lan"));
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

/* --- NICs ----------------------------------------------------------------------------------------------------------- */

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

/* --- media ---------------------------------------------------------------------------------------------------------- */

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

static void a_new_drive_comes_where_the_bus_can(void **state) {
    (void)state;
    const char *first = disc("third.iso");
    vmctl_vm *vm = make_started("hp-k", "%s", "machine: q35");
    vmctl_cdrom_options cd = VMCTL_CDROM_OPTIONS_INIT;
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, NULL, first, &cd, NULL, &err));
    char item[512];
    vmctl_effect effect = VMCTL_EFFECT_AT_RESTART;
    int come = 0;
    for (const char *const *bus = profile->hot_drives; *bus; bus++, come++) {
        snprintf(item, sizeof item, "{name: %s, cdrom: %s, bus: %s}", *bus, first, *bus);
        MUST(attach(vm, "disks", item, true, &effect));
        is_there(vm, *bus);
    }
    if (come) {
        FAILS(VMCTL_E_AMBIGUOUS, vmctl_cdrom_change(vm, NULL, NULL, &cd, NULL, &err));
        MUST(detach(vm, profile->hot_drives[0], true, &effect));
        is_gone(vm, profile->hot_drives[0]);
    }
    snprintf(item, sizeof item, "{name: three, cdrom: %s}", first); /* sata, or ide */
    FAILS(VMCTL_E_INVALID_STATE, attach(vm, "disks", item, true, &effect));
    MUST(attach(vm, "disks", item, false, &effect));
    assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
    seen facts;
    look(vm, &facts);
    assert_true(device(&facts, "three")->pending);
    restart(vm);
    is_there(vm, "three");
    vmctl_vm_free(vm);
}

/* --- of the host ---------------------------------------------------------------------------------------------------- */

static void usb_devices_that_are_not_there(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("hp-q", "%s", "");
    if (profile->usb_filters) {
        vmctl_effect effect = VMCTL_EFFECT_NOW;
        MUST(attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", false, &effect));
        assert_int_equal(effect, VMCTL_EFFECT_AT_RESTART);
        MUST(detach(vm, "stick", false, &effect));
    }
    char *before = native_of(vm);
    if (!profile->usb_filters)
        FAILS(VMCTL_E_NOT_FOUND, attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", false, NULL));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "usb", "{name: stick, address: here}", false, NULL));
    FAILS(VMCTL_E_INVALID_SPEC, attach(vm, "usb", "{name: stick}", false, NULL));
    char *after = native_of(vm);
    assert_string_equal(before, after);
    vmctl_string_free(before);
    vmctl_string_free(after);
    /* Of a stopped VM it is defined, shown, and goes again; but a cluster says what its VMs may ever have. */
    force_off(vm);
    if (profile->cluster) {
        FAILS(VMCTL_E_NOT_FOUND, attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", true, NULL));
        vmctl_vm_free(vm);
        return;
    }
    MUST(attach(vm, "usb", "{name: stick, device: \"ffff:fffe\"}", true, NULL));
    seen facts;
    look(vm, &facts);
    assert_int_equal(device(&facts, "stick")->kind, VMCTL_DEVICE_USB);
    assert_string_equal(device(&facts, "stick")->source, "ffff:fffe");
    MUST(detach(vm, "stick", true, NULL));
    look(vm, &facts);
    assert_null(device_or_null(&facts, "stick"));
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
    TEST("device.disk.hotplug device.detach", "device_attach device_detach", a_disk_comes_and_goes_while_it_runs),
    TEST("device.disk.hotplug machine.pc device.virtio.hotplug", "device_attach", disks_on_pc),
    TEST("device.disk.hotplug", "device_attach", disks_on_q35),
    TEST("device.detach", "device_attach device_detach", what_cannot_come_now_waits),
    TEST("device.disk.hotplug", "device_attach", what_is_taken_is_refused),
    TEST("device.disk.hotplug", "device_attach device_detach", a_disk_of_another_vm_is_refused_with_its_name),
    TEST("device.detach device.virtio.hotplug", "device_detach", a_guest_that_never_lets_go),
    TEST("device.detach", "device_detach", detach_finds_what_is_meant),
    TEST("device.disk.hotplug machine.pc device.virtio.hotplug", "device_attach", slots_run_out),
    TEST("network.nat", "device_attach device_detach", a_nic_comes_now_or_then),
    TEST("device.nic.hotplug", "device_attach device_detach change", a_nic_comes_and_goes_while_it_runs),
    TEST("device.nic.hotplug network.user", "device_attach", nics_come_while_it_runs),
    TEST("device.cdrom.change", "cdrom_change", media_change_while_it_runs),
    TEST("device.cdrom.change", "cdrom_change device_attach", a_new_drive_comes_where_the_bus_can),
    TEST("look.get", "device_attach device_detach usb", usb_devices_that_are_not_there),
    TEST("share.virtiofs", "device_attach", shares_come_where_memory_is_shared),
};
const contract_group group_hotplug = {
    .name = "hotplug", .tests = tests, .count = sizeof tests / sizeof tests[0], .more = &hotplug_size};
