/* caps.c - what a probe says is possible here: the words of the refusal, and nothing is changed by asking. */
#include "contract.h"

typedef struct answers {
    int count, yes, no, unknown;
    vmctl_level level; /* of `feature` */
    const char *feature;
    char reason[512], remedy[512];
} answers;

static int take(const vmctl_cap *cap, void *user) {
    answers *a = user;
    a->count++;
    if (!cap->probed)
        return 0;
    a->yes += cap->here == VMCTL_LEVEL_YES || cap->here == VMCTL_LEVEL_LIMITED;
    a->no += cap->here == VMCTL_LEVEL_NO;
    a->unknown += cap->here == VMCTL_LEVEL_UNKNOWN;
    if (cap->here != VMCTL_LEVEL_YES) {
        assert_non_null(cap->here_reason);
        assert_string_not_equal(cap->here_reason, "");
    }
    if (!a->feature || strcmp(a->feature, cap->feature) != 0)
        return 0;
    a->level = cap->here;
    snprintf(a->reason, sizeof a->reason, "%s", cap->here_reason ? cap->here_reason : "");
    snprintf(a->remedy, sizeof a->remedy, "%s", cap->here_remedy ? cap->here_remedy : "");
    return 0;
}

static answers ask(vmctl_vm *vm, const char *feature) {
    answers a = {.feature = feature};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.connection = conn;
    options.vm = vm;
    options.feature = feature;
    MUST(vmctl_caps(&options, take, &a, &err));
    return a;
}

/* FNV-1a of a whole file. */
static uint64_t checksum(const char *path) {
    uint64_t sum = 0xcbf29ce484222325u;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    for (int byte; (byte = fgetc(file)) != EOF;)
        sum = (sum ^ (uint64_t)byte) * 0x100000001b3u;
    fclose(file);
    return sum;
}

/* The operation was refused: with the reason and the remedy that the probe gave. */
static void same_words_at(const answers *a, vmctl_level level) {
    assert_int_equal(a->level, level);
    if (!strstr(failure, a->reason) || !*a->remedy || !strstr(failure, a->remedy)) {
        print_error("the probe: %s (%s)\nthe refusal: %s\n", a->reason, a->remedy, failure);
        fail();
    }
}

static void same_words(const answers *a) {
    same_words_at(a, VMCTL_LEVEL_NO);
}

static void a_snapshot_of_a_raw_disk(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cap-a", "disks: [{name: root, image: %s, format: raw}]", guest_image);
    wait_line(vm, 1);
    seen facts;
    look(vm, &facts);
    uint64_t before = checksum(device(&facts, "root")->source);
    answers memory = ask(vm, "snapshot.memory");
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.memory = VMCTL_MEMORY_WITH;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "one", &options, &err));
    same_words(&memory);
    assert_non_null(strstr(memory.reason, "root"));
    assert_true(checksum(device(&facts, "root")->source) == before);
    vmctl_vm_free(vm);
    /* The same VM on qcow2 can. */
    vm = make_started("cap-b", "disks: [{name: root, image: %s, format: qcow2}]", guest_image);
    assert_int_equal(ask(vm, "snapshot.memory").level, VMCTL_LEVEL_YES);
    MUST(vmctl_snapshot_create(vm, "one", &options, &err));
    MUST(vmctl_snapshot_delete(vm, "one", NULL, &err));
    vmctl_vm_free(vm);
}

static void life_in_every_state(void **state) {
    (void)state;
    vmctl_vm *vm = make("cap-c", "%s", "");
    answers pause = ask(vm, "lifecycle.pause"), reset = ask(vm, "lifecycle.reset");
    assert_int_equal(ask(vm, "lifecycle.start").level, VMCTL_LEVEL_YES);
    if (can("lifecycle.rename"))
        assert_int_equal(ask(vm, "lifecycle.rename").level, VMCTL_LEVEL_YES);
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_pause(vm, NULL, &err));
    same_words(&pause);
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_reset(vm, NULL, &err));
    same_words(&reset);
    start(vm);
    answers rename = ask(vm, "lifecycle.rename");
    assert_int_equal(ask(vm, "lifecycle.pause").level, VMCTL_LEVEL_YES);
    if (can("lifecycle.rename")) {
        FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_rename(vm, "cap-d", NULL, &err));
        same_words(&rename);
    }
    MUST(vmctl_vm_pause(vm, NULL, &err));
    assert_int_equal(state_after(vm, VMCTL_STATE_PAUSED), VMCTL_STATE_PAUSED);
    answers again = ask(vm, "lifecycle.start");
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_start(vm, NULL, &err));
    same_words(&again);
    assert_int_equal(ask(vm, "lifecycle.resume").level, VMCTL_LEVEL_YES);
    vmctl_vm_free(vm);
}

static void moving_and_looking_at_a_stopped_vm(void **state) {
    (void)state;
    vmctl_vm *vm = make("cap-g", "%s", "");
    answers live = ask(vm, "migrate.live"), screen = ask(vm, "display.screenshot"), keys = ask(vm, "display.keys");
    const char *const key[] = {"enter"};
    assert_int_equal(live.level, VMCTL_LEVEL_NO);
    if (profile->own_target) {
        vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
        vmctl_connect_options again = VMCTL_CONNECT_OPTIONS_INIT;
        again.uri = vmctl_connection_uri(conn);
        vmctl_connection *target = NULL;
        MUST(vmctl_connect(&again, &target, &err));
        options.mode = VMCTL_MIGRATE_LIVE;
        options.dry_run = true;
        FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        same_words(&live);
        vmctl_connection_free(target);
    }
    if (can("display.keys")) {
        FAILS(VMCTL_E_INVALID_STATE, vmctl_send_keys(vm, key, 1, NULL, &err));
        same_words(&keys);
    }
    assert_int_equal(screen.level, VMCTL_LEVEL_NO);
    if (can("migrate.offline"))
        assert_int_equal(ask(vm, "migrate.offline").level, VMCTL_LEVEL_YES);
    vmctl_vm_free(vm);
}

static void more_cpus_and_memory_than_there_is_room_for(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cap-h", "%s", "cpus: 1");
    effects ignored = {0};
    answers cpus = ask(vm, "cpu.hotplug"), memory = ask(vm, "memory.hotplug");
    assert_int_equal(cpus.level, VMCTL_LEVEL_NO);
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "cpus", "2", true, false, &ignored));
    same_words(&cpus);
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "160MiB", true, false, &ignored));
    same_words(&memory);
    assert_int_equal(ask(vm, "memory.balloon").level, VMCTL_LEVEL_YES);
    vmctl_vm_free(vm);
    vm =
        make_started("cap-i", "disks: [{name: root, image: %s, format: qcow2}]\ncpus: {count: 1, max: 2}", guest_image);
    assert_int_equal(ask(vm, "cpu.hotplug").level, VMCTL_LEVEL_YES);
    assert_int_equal(ask(vm, "snapshot.memory").level, VMCTL_LEVEL_YES);
    MUST(change(vm, "cpus.count", "2", true, false, &ignored));
    /* A snapshot with a plugged CPU could be taken, and never be gone back to. */
    answers memory_of_it = ask(vm, "snapshot.memory");
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    options.memory = VMCTL_MEMORY_WITH;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_snapshot_create(vm, "one", &options, &err));
    same_words(&memory_of_it);
    vmctl_vm_free(vm);
}

static void devices_that_come_and_go(void **state) {
    (void)state;
    vmctl_vm *vm = make("cap-j", "disks: [{name: root, image: %s}, {name: fixed, size: 4MiB, bus: sata}]\nmachine: q35",
                        guest_image);
    assert_int_equal(ask(vm, "device.disk.hotplug").level, VMCTL_LEVEL_LIMITED); /* which needs no plugging */
    assert_int_equal(ask(vm, "storage.grow").level, VMCTL_LEVEL_YES);
    start(vm);
    wait_line(vm, 1);
    assert_int_equal(ask(vm, "device.disk.hotplug").level, VMCTL_LEVEL_YES);
    if (profile->plugs_nics)
        assert_int_equal(ask(vm, "device.nic.hotplug").level, VMCTL_LEVEL_YES);
    /* Where settings of a VM that runs are fixed, growing and changing wait. */
    vmctl_level anytime = profile->grows_running ? VMCTL_LEVEL_YES : VMCTL_LEVEL_LIMITED;
    assert_int_equal(ask(vm, "storage.grow").level, anytime);
    assert_int_equal(ask(vm, "change.apply").level, anytime);
    answers fixed = ask(vm, "device.detach"), drive = ask(vm, "device.cdrom.change"), share = ask(vm, "share.virtiofs");
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.live = true;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_device_detach(vm, "fixed", &options, NULL, &err));
    same_words_at(&fixed, VMCTL_LEVEL_LIMITED);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(vm, NULL, NULL, NULL, NULL, &err));
    same_words(&drive);
    /* Its memory is not shared; and libvirt 9.0 is not asked to plug one at all. */
    vmctl_spec *spec = vmctl_spec_new();
    if (can("share.virtiofs")) {
        MUST(vmctl_spec_set(spec, "shares[0]", "{name: src, path: /usr, type: virtiofs}", &err));
        FAILS(VMCTL_E_INVALID_STATE,
              vmctl_device_attach(vm, "shares", vmctl_node_get(vmctl_spec_root(spec), "shares[0]"), &options, NULL,
                                  &err));
        same_words_at(&share, VMCTL_LEVEL_LIMITED);
    }
    vmctl_spec_free(spec);
    MUST(vmctl_vm_save(vm, NULL, &err));
    answers grow = ask(vm, "storage.grow"), apply = ask(vm, "change.apply");
    effects ignored = {0};
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "disk.root.size", "8MiB", false, false, &ignored));
    same_words(&grow);
    FAILS(VMCTL_E_INVALID_STATE, change(vm, "memory", "64MiB", true, false, &ignored));
    same_words_at(&apply, VMCTL_LEVEL_LIMITED);
    vmctl_vm_free(vm);
}

/* A VM that started with two disks, a drive and a NIC: what of them stays until it stops, the probe says in the words of the refusal. */
static void what_stays_until_a_restart(void **state) {
    (void)state;
    const char *first = disc("caps.iso");
    vmctl_vm *vm = make_started("cap-k",
                                "disks: [{name: fixed, image: %s, bus: %s}, {name: cd, cdrom: %s}]\nmachine: q35\n"
                                "networks: [{name: lan, type: nat}]",
                                guest_image, profile->cold_bus, first);
    answers leave = ask(vm, "device.detach"), drive = ask(vm, "device.cdrom.change");
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    vmctl_cdrom_options cd = VMCTL_CDROM_OPTIONS_INIT;
    options.live = cd.live = true;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_device_detach(vm, "fixed", &options, NULL, &err));
    if (profile->differencing) /* the probe speaks of all buses, the refusal of the disk's */
        assert_int_equal(leave.level, VMCTL_LEVEL_LIMITED);
    else
        same_words_at(&leave, VMCTL_LEVEL_LIMITED);
    if (profile->media_stay) {
        FAILS(VMCTL_E_INVALID_STATE, vmctl_cdrom_change(vm, NULL, NULL, &cd, NULL, &err));
        same_words_at(&drive, VMCTL_LEVEL_LIMITED);
    } else {
        assert_int_equal(drive.level, VMCTL_LEVEL_YES);
        MUST(vmctl_cdrom_change(vm, NULL, NULL, &cd, NULL, &err));
    }
    vmctl_vm_free(vm);
    vmctl_vm *bare = make("cap-l", "%s", "");
    answers none = ask(bare, "device.cdrom.change"), grow = ask(bare, "storage.grow");
    FAILS(VMCTL_E_NOT_FOUND, vmctl_cdrom_change(bare, NULL, NULL, NULL, NULL, &err));
    same_words(&none);
    effects ignored = {0};
    assert_int_equal(grow.level, VMCTL_LEVEL_YES);
    MUST(change(bare, "disk.root.size", "8MiB", false, false, &ignored));
    vmctl_vm_free(bare);
}

static void asking_changes_nothing(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("cap-e", "%s", profile->agent);
    char *before = world(), *xml = NULL, *after_xml = NULL;
    MUST(vmctl_vm_native(vm, NULL, &xml, &err));
    answers host = ask(NULL, NULL), all = ask(vm, NULL);
    assert_true(host.yes > 10);
    assert_true(all.yes > 10 && all.no > 0);
    assert_int_equal(host.count, all.count);
    char *after = world();
    MUST(vmctl_vm_native(vm, NULL, &after_xml, &err));
    assert_string_equal(before, after);
    assert_string_equal(xml, after_xml);
    free(before);
    free(after);
    vmctl_string_free(xml);
    vmctl_string_free(after_xml);
    vmctl_vm_free(vm);
}

static void what_is_possible_can_be_required(void **state) {
    (void)state;
    const char *const met[] = {"lifecycle.start", "look.list", NULL}, *const unmet[] = {"lifecycle.pause", NULL};
    vmctl_vm *vm = make("cap-f", "%s", "");
    answers missing = {0};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    const char *backend = NULL;
    options.vm = vm;
    MUST(vmctl_caps_require(&options, met, &backend, take, &missing, &err));
    assert_string_equal(backend, vmctl_connection_backend(conn));
    assert_int_equal(missing.count, 0);
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_caps_require(&options, unmet, NULL, take, &missing, &err));
    assert_int_equal(missing.no, 1);
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("snapshot.memory storage.raw", "probe snapshot_create", a_snapshot_of_a_raw_disk),
    TEST("lifecycle.pause", "probe pause resume", life_in_every_state),
    TEST("migrate.live", "probe migrate", moving_and_looking_at_a_stopped_vm),
    TEST("cpu.hotplug storage.raw", "probe change", more_cpus_and_memory_than_there_is_room_for),
    TEST("device.detach", "probe device_attach device_detach cdrom_change change save", devices_that_come_and_go),
    TEST("device.detach device.cdrom.change", "probe device_detach cdrom_change", what_stays_until_a_restart),
    TEST("look.get", "probe", asking_changes_nothing),
    TEST("look.get", "probe", what_is_possible_can_be_required),
};
const contract_group group_caps = {"caps", tests, sizeof tests / sizeof tests[0]};
