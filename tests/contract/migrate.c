/* migrate.c - moving to another host, which is an endpoint of its own; migrate_off.c is about what is given up, migrate_nodes.c about endpoints that
 * are many hosts. */
#include "migrate.h"

static void with_its_disks_the_count_goes_on(void **state) {
    (void)state;
    begin_migrating();
    char log[256];
    vmctl_vm *vm = make_started("moved-a", "%s", "autostart: true\nlabels: {team: infra}");
    log_path(vm, log, sizeof log);
    int line = wait_line(vm, 3).line;
    vmctl_migrate_options options = options_of(NULL);
    options.storage = true;
    MUST(vmctl_vm_migrate(vm, target, NULL, &options, &err));
    vmctl_vm_free(vm);
    assert_int_equal(listed("moved-a"), 0);
    it_counts_on_there("moved-a", log, line + 3);
    /* The definition outlives it there, with marker, labels and autostart. */
    vmctl_vm *there = found_on(target, "moved-a");
    static seen facts;
    look(there, &facts);
    assert_true(facts.managed);
    assert_int_equal(facts.autostart, 1);
    assert_string_equal(facts.label_value[0], "infra");
    assert_true(device(&facts, "root")->own);
    force_off(there);
    assert_int_equal(state_of(there), VMCTL_STATE_STOPPED);
    vmctl_vm_free(there);
    delete_on_target("moved-a");
    remove_copies("moved-a", log);
}

static void on_shared_storage_the_count_goes_on(void **state) {
    (void)state;
    begin_migrating();
    char log[256], disk[256];
    vmctl_vm *vm = make_shared("moved-b", disk, sizeof disk);
    log_path(vm, log, sizeof log);
    int line = wait_line(vm, 3).line;
    vmctl_migrate_options options = options_of(NULL);
    heard list = {0};
    options.mode = VMCTL_MIGRATE_LIVE;
    if (!profile->differencing) { /* that both have the disk is for the person to say */
        options.obstacle = take_obstacle;
        options.user = &list;
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        assert_true(in_the_way(&list, "disk"));
        target_has_no_trace();
        options.obstacle = NULL;
        options.unsafe = true;
        options.auto_converge = true;
    }
    MUST(vmctl_vm_migrate(vm, target, NULL, &options, &err));
    vmctl_vm_free(vm);
    assert_int_equal(listed("moved-b"), 0);
    it_counts_on_there("moved-b", log, line + 3);
    clean_shared("moved-b", disk, log);
}

/* What came can be stopped and started there, keeps what vmctl knows of it, and its own disk goes with it. */
static void what_came_lives_on(void **state) {
    (void)state;
    begin_migrating();
    char log[256];
    vmctl_vm *vm = make_started(
        "moved-o", "disks: [{name: root, image: %s, shared: true}]\nlabels: {team: infra}\ncloudInit: {hostname: o}",
        guest_image);
    log_path(vm, log, sizeof log);
    char id[64];
    snprintf(id, sizeof id, "%s", vmctl_vm_id(vm));
    wait_line(vm, 1);
    vmctl_migrate_options options = options_of(NULL);
    options.unsafe = !profile->differencing;
    int rc = vmctl_vm_migrate(vm, target, NULL, &options, &err);
    if (!profile->differencing) { /* its own disk is in a pool that the other host has not */
        vmctl_error_free(err);
        err = NULL;
        assert_int_not_equal(rc, 0);
        vmctl_vm_free(vm);
        return;
    }
    MUST(rc);
    vmctl_vm_free(vm);
    vmctl_vm *there = found_on(target, "moved-o");
    assert_string_equal(vmctl_vm_id(there), id);
    static seen facts;
    look(there, &facts);
    assert_true(facts.managed);
    assert_string_equal(facts.label_value[0], "infra");
    assert_true(device(&facts, "root")->own);
    char disk[512];
    snprintf(disk, sizeof disk, "%s", device(&facts, "root")->source);
    force_off(there);
    MUST(vmctl_vm_start(there, NULL, &err)); /* VirtualBox would let it wait for another teleport */
    assert_int_equal(state_of(there), VMCTL_STATE_RUNNING);
    wait_line(there, 1);
    vmctl_vm_free(there);
    delete_on_target("moved-o");
    assert_int_equal(access(disk, F_OK), -1);
    assert_int_equal(unlink(log), 0);
}

static void tunnelled_the_count_goes_on(void **state) {
    (void)state;
    begin_migrating();
    char log[256], disk[256];
    vmctl_vm *vm = make_shared("moved-c", disk, sizeof disk);
    log_path(vm, log, sizeof log);
    int line = wait_line(vm, 2).line;
    vmctl_migrate_options options = options_of(NULL);
    options.tunnelled = true;
    options.storage = true;
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_non_null(strstr(failure, "tunnelled"));
    options.storage = false;
    options.unsafe = true;
    MUST(vmctl_vm_migrate(vm, target, NULL, &options, &err));
    vmctl_vm_free(vm);
    it_counts_on_there("moved-c", log, line + 2);
    delete_on_target("moved-c");
    assert_int_equal(unlink(disk) + unlink(log), 0);
}

/* The guest writes to its memory faster than it is sent, so that without the switch it would never get there. */
static void by_postcopy_the_count_goes_on(void **state) {
    (void)state;
    begin_migrating();
    char log[256], disk[256];
    const char *idle = guest_image;
    guest_image = getenv("VMCTL_CONTRACT_BUSY");
    assert_non_null(guest_image);
    vmctl_vm *vm = make_shared("moved-d", disk, sizeof disk);
    guest_image = idle;
    log_path(vm, log, sizeof log);
    int line = wait_line(vm, 2).line;
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 150000; /* a stuck one is an error with its words, and no program that is killed */
    vmctl_migrate_options options = options_of(&call);
    options.postcopy = true;
    options.unsafe = true;
    options.bandwidth_bytes = 8 << 20;
    listening ears = {.vm = "moved-d", .word = "post-copy"};
    begin_listening(&ears);
    int rc = vmctl_vm_migrate(vm, target, NULL, &options, &err);
    bool switched = end_listening(&ears);
    MUST(rc);
    assert_true(switched);
    vmctl_vm_free(vm);
    it_counts_on_there("moved-d", log, line + 2);
    delete_on_target("moved-d");
    assert_int_equal(unlink(disk) + unlink(log), 0);
}

static void a_stopped_one_moves_with_its_disks(void **state) {
    (void)state;
    begin_migrating();
    vmctl_vm *vm = make("moved-e", "%s", "cpus: 2\nautostart: true\ncloudInit: {hostname: moved-e}");
    char id[64];
    snprintf(id, sizeof id, "%s", vmctl_vm_id(vm));
    vmctl_migrate_options options = options_of(NULL);
    options.mode = VMCTL_MIGRATE_LIVE;
    options.storage = can("migrate.storage");
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    options.mode = VMCTL_MIGRATE_OFFLINE;
    MUST(vmctl_vm_migrate(vm, target, NULL, &options, &err));
    vmctl_vm_free(vm);
    assert_int_equal(listed("moved-e"), 0);
    vmctl_vm *there = found_on(target, "moved-e");
    assert_string_equal(vmctl_vm_id(there), id);
    static seen facts;
    look(there, &facts);
    assert_int_equal(facts.state, VMCTL_STATE_STOPPED);
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.autostart, 1);
    MUST(vmctl_vm_start(there, NULL, &err));
    assert_int_equal(wait_line(there, 2).boots, 1);
    vmctl_vm_free(there);
    delete_on_target("moved-e");
    if (profile->differencing) /* the disks have moved, and are no copies */
        return;
    remove_copies("moved-e", "");
    MUST(vmctl_image_delete(conn, "default/moved-e-cidata.iso", NULL, &err));
}

/* --- what is looked at first ------------------------------------------------------------------------------------------ */

/* virsh makes what is no part of the common model: a network that only this host has. */
static void the_preflight_names_what_is_in_the_way(void **state) {
    (void)state;
    begin_migrating();
    if (profile->differencing) {
        heard list = {0};
        vmctl_migrate_options options = options_of(NULL);
        options.dry_run = true;
        options.obstacle = take_obstacle;
        options.user = &list;
        vmctl_vm *vm =
            make("moved-i", "disks: [{name: root, image: %s, format: %s}]", guest_image, profile->formats[0]);
        MUST(vmctl_snapshot_create(vm, "one", NULL, &err));
        options.mode = VMCTL_MIGRATE_LIVE;
        FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        assert_true(in_the_way(&list, "stopped"));
        assert_true(in_the_way(&list, "snapshots"));
        assert_true(in_the_way(&list, "disk"));
        assert_non_null(strstr(failure, "--offline"));
        memset(&list, 0, sizeof list);
        options.mode = VMCTL_MIGRATE_AUTO;
        FAILS(VMCTL_E_DATA_LOSS_PREVENTED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        assert_true(in_the_way(&list, "snapshots"));
        memset(&list, 0, sizeof list);
        start(vm);
        MUST(vmctl_snapshot_delete(vm, "one", NULL, &err));
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        assert_int_equal(list.fatal, 1);
        assert_true(in_the_way(&list, "disk"));
        assert_non_null(strstr(failure, "shared: true"));
        options.dry_run = false;
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
        target_has_no_trace();
        vmctl_vm_free(vm);
        return;
    }
    static const char xml[] = "<network><name>here-only</name><bridge name='virbr9'/></network>";
    const char *path = scratch_file("network.xml", xml, sizeof xml - 1);
    const char *define[] = {"virsh", "net-create", path, NULL};
    const char *destroy[] = {"virsh", "net-destroy", "here-only", NULL};
    const char *medium = scratch_file("medium.iso", "no medium", 9);
    assert_int_equal(run_program(define), 0);
    vmctl_vm *vm = make("moved-i",
                        "disks: [{name: root, image: %s}, {name: installer, cdrom: %s}]\n"
                        "networks: [{name: lan, type: network, source: here-only}]\nmachine: q35",
                        guest_image, medium);
    heard list = {0};
    vmctl_migrate_options options = options_of(NULL);
    options.dry_run = true;
    options.obstacle = take_obstacle;
    options.user = &list;
    FAILS(VMCTL_E_NOT_FOUND, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_true(in_the_way(&list, "network"));
    assert_true(in_the_way(&list, "disk"));
    /* With the disks nothing but the network is in the way: the medium was copied into the pool, and goes along. */
    memset(&list, 0, sizeof list);
    options.storage = true;
    FAILS(VMCTL_E_NOT_FOUND, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_true(in_the_way(&list, "network"));
    assert_int_equal(list.fatal, 1);
    vmctl_vm_free(vm);
    assert_int_equal(run_program(destroy), 0);
    target_has_no_trace();
}

static void a_name_that_is_taken_is_refused(void **state) {
    (void)state;
    begin_migrating();
    vmctl_spec *spec = spec_of("moved-j", "%s", "");
    vmctl_vm *other = NULL;
    MUST(vmctl_create(target, spec, NULL, &other, &err));
    vmctl_spec_free(spec);
    vmctl_vm *vm = profile->differencing
                       ? make_started("moved-j", "disks: [{name: root, image: %s, shared: true}]", guest_image)
                       : make("moved-j", "%s", "");
    vmctl_migrate_options options = options_of(NULL);
    options.storage = can("migrate.storage");
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_non_null(strstr(failure, "moved-j"));
    vmctl_vm_free(vm);
    vmctl_vm_free(other);
    delete_on_target("moved-j");
}

static void the_same_host_and_a_cluster_are_refused(void **state) {
    (void)state;
    begin_migrating();
    vmctl_vm *vm = make("moved-k", "%s", "");
    vmctl_migrate_options options = options_of(NULL);
    options.storage = can("migrate.storage");
    heard list = {0};
    options.obstacle = take_obstacle;
    options.user = &list;
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_vm_migrate(vm, conn, NULL, &options, &err));
    assert_true(in_the_way(&list, "same-host"));
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_vm_migrate(vm, NULL, "host7", &options, &err));
    assert_non_null(strstr(failure, "host7"));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_vm_migrate(vm, NULL, NULL, &options, &err));
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("migrate.storage", "migrate", with_its_disks_the_count_goes_on),
    TEST("migrate.live migrate.elsewhere", "migrate", on_shared_storage_the_count_goes_on),
    TEST("migrate.live migrate.elsewhere", "migrate", what_came_lives_on),
    TEST("migrate.tunnelled", "migrate", tunnelled_the_count_goes_on),
    TEST("migrate.postcopy", "migrate", by_postcopy_the_count_goes_on),
    TEST("migrate.offline", "migrate", a_stopped_one_moves_with_its_disks),
    TEST("migrate.preflight migrate.elsewhere", "migrate", the_preflight_names_what_is_in_the_way),
    TEST("migrate.preflight migrate.elsewhere", "migrate", a_name_that_is_taken_is_refused),
    TEST("migrate.preflight migrate.elsewhere", "migrate", the_same_host_and_a_cluster_are_refused),
};
const contract_group group_migrate = {
    .name = "migrate", .tests = tests, .count = sizeof tests / sizeof tests[0], .more = &migrate_off};
