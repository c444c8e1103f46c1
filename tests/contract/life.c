/* life.c - a VM's life: what the guest prints is the witness. */
#include "contract.h"

static void create_makes_a_stopped_vm(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-a", "%s", "cpus: 2\nmemory: 48MiB");
    seen facts;
    look(vm, &facts);
    assert_string_equal(facts.name, "life-a");
    assert_string_equal(facts.backend, profile->backend);
    assert_string_not_equal(facts.id, "");
    assert_string_equal(facts.id, vmctl_vm_id(vm));
    assert_int_equal(facts.state, VMCTL_STATE_STOPPED);
    assert_int_equal(facts.cpus, 2);
    assert_int_equal(facts.memory_mib, 48);
    assert_int_equal(listed("life-a"), 1);
    vmctl_vm_free(vm);
}

static void create_can_start(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-b", "%s", "");
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, 2).boots, 1);
    vmctl_vm_free(vm);
}

static void start_boots_the_guest(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-c", "%s", "");
    start(vm);
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, 3).boots, 1);
    vmctl_vm_free(vm);
}

static void start_of_a_running_vm_is_a_note(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-d", "%s", "");
    wait_line(vm, 1);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_start_options options = VMCTL_START_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_vm_start(vm, &options, &err));
    assert_int_not_equal(heard.count, 0);
    assert_int_equal(wait_line(vm, 2).boots, 1);
    vmctl_vm_free(vm);
}

static void start_can_begin_paused(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-e", "%s", "");
    vmctl_start_options options = VMCTL_START_OPTIONS_INIT;
    options.paused = true;
    if (!profile->starts_paused) {
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_vm_start(vm, &options, &err));
        assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
        vmctl_vm_free(vm);
        return;
    }
    MUST(vmctl_vm_start(vm, &options, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_PAUSED);
    sleep_ms(1500);
    assert_int_equal(printed_by(vm).boots, 0);
    MUST(vmctl_vm_resume(vm, NULL, &err));
    assert_int_equal(wait_line(vm, 1).boots, 1);
    vmctl_vm_free(vm);
}

static void stop_by_force(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-f", "%s", "");
    wait_line(vm, 1);
    force_off(vm);
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    if (!profile->log_goes) {
        int last = printed_by(vm).line;
        sleep_ms(500);
        assert_int_equal(printed_by(vm).line, last);
    }
    vmctl_vm_free(vm);
}

/* The guest listens to nothing, so it is powered off after the grace, not before, and that is said. */
static void stop_powers_off_after_the_grace(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-g", "%s", "");
    wait_line(vm, 1);
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.call = &call;
    options.grace_ms = 1500;
    int64_t began = now_ms();
    MUST(vmctl_vm_stop(vm, &options, &err));
    int64_t took = now_ms() - began;
    assert_int_equal(state_of(vm), VMCTL_STATE_STOPPED);
    assert_true(took >= 1400);
    if (!profile->stop_stays) /* there the cluster ends it, and does not say by which of the two */
        assert_int_not_equal(heard.count, 0);
    vmctl_vm_free(vm);
}

static void stop_without_power_off_times_out(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-h", "%s", "");
    int line = wait_line(vm, 1).line;
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 1500;
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.call = &call;
    options.grace_ms = -1;
    FAILS(VMCTL_E_TIMEOUT, vmctl_vm_stop(vm, &options, &err));
    assert_int_equal(state_of(vm), profile->stop_stays ? VMCTL_STATE_STOPPING : VMCTL_STATE_RUNNING);
    wait_line(vm, line + 2);
    vmctl_vm_free(vm);
}

static void stop_of_a_stopped_vm_is_a_note(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-i", "%s", "");
    notes heard = {0};
    vmctl_call call = call_noting(&heard);
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_vm_stop(vm, &options, &err));
    assert_int_not_equal(heard.count, 0);
    vmctl_vm_free(vm);
}

static void restart_is_a_new_boot(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-j", "%s", "");
    wait_line(vm, 3);
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_restart(vm, &options, &err));
    wait_boots(vm, profile->log_goes ? 1 : 2);
    assert_int_equal(wait_line(vm, 1).boots, profile->log_goes ? 1 : 2);
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void reset_begins_again(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-k", "%s", "");
    wait_line(vm, 2);
    MUST(vmctl_vm_reset(vm, NULL, &err));
    assert_int_equal(wait_boots(vm, 2).boots, 2);
    assert_int_equal(wait_line(vm, 1).first, 1);
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_vm_free(vm);
}

static void reset_of_a_stopped_vm_is_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-l", "%s", "");
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_reset(vm, NULL, &err));
    vmctl_vm_free(vm);
}

static void pause_stops_the_count(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-m", "%s", "");
    wait_line(vm, 2);
    MUST(vmctl_vm_pause(vm, NULL, &err));
    assert_int_equal(state_after(vm, VMCTL_STATE_PAUSED), VMCTL_STATE_PAUSED);
    int line = wait_quiet(vm).line;
    sleep_ms(1000);
    assert_int_equal(printed_by(vm).line, line);
    vmctl_vm_free(vm);
}

static void resume_goes_on_where_it_was(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-n", "%s", "");
    wait_line(vm, 2);
    MUST(vmctl_vm_pause(vm, NULL, &err));
    int line = wait_quiet(vm).line;
    MUST(vmctl_vm_resume(vm, NULL, &err));
    assert_int_equal(state_after(vm, VMCTL_STATE_RUNNING), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, line + 2).boots, 1);
    vmctl_vm_free(vm);
}

static void pause_of_a_stopped_vm_is_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-o", "%s", "");
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_pause(vm, NULL, &err));
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_resume(vm, NULL, &err));
    vmctl_vm_free(vm);
}

static void save_keeps_the_memory(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-p", "%s", "");
    wait_line(vm, 5);
    MUST(vmctl_vm_save(vm, NULL, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_SAVED);
    int line = printed_by(vm).line;
    start(vm);
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    printed after = wait_line(vm, line + 2);
    assert_int_equal(after.boots, 1);
    vmctl_vm_free(vm);
}

static void start_can_discard_a_saved_memory(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-q", "%s", "");
    wait_line(vm, 5);
    MUST(vmctl_vm_save(vm, NULL, &err));
    vmctl_start_options options = VMCTL_START_OPTIONS_INIT;
    options.discard = true;
    MUST(vmctl_vm_start(vm, &options, &err));
    wait_boots(vm, 2);
    assert_int_equal(wait_line(vm, 1).boots, 2);
    vmctl_vm_free(vm);
}

static void a_saved_vm_can_be_deleted(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-q2", "%s", "");
    wait_line(vm, 1);
    MUST(vmctl_vm_save(vm, NULL, &err));
    MUST(vmctl_vm_delete(vm, NULL, &err));
    assert_int_equal(listed("life-q2"), 0);
    vmctl_vm_free(vm);
}

static void rename_keeps_id_and_disks(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-r", "%s", "");
    char id[128];
    snprintf(id, sizeof id, "%s", vmctl_vm_id(vm));
    MUST(vmctl_vm_rename(vm, "life-r-new", NULL, &err));
    assert_string_equal(vmctl_vm_name(vm), "life-r-new");
    assert_int_equal(listed("life-r"), 0);
    assert_int_equal(listed("life-r-new"), 1);
    vmctl_vm *again = NULL;
    MUST(vmctl_vm_lookup(conn, "life-r-new", NULL, &again, &err));
    assert_string_equal(vmctl_vm_id(again), id);
    vmctl_vm_free(again);
    start(vm);
    assert_int_equal(wait_line(vm, 1).boots, 1);
    vmctl_vm_free(vm);
}

static void rename_to_a_taken_name_is_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-s", "%s", ""), *other = make("life-t", "%s", "");
    FAILS(VMCTL_E_ALREADY_EXISTS, vmctl_vm_rename(vm, "life-t", NULL, &err));
    assert_int_equal(listed("life-s"), 1);
    assert_string_equal(vmctl_vm_name(vm), "life-s");
    vmctl_vm_free(vm);
    vmctl_vm_free(other);
}

static void delete_of_a_running_vm_needs_force(void **state) {
    (void)state;
    vmctl_vm *vm = make_started("life-u", "%s", "");
    wait_line(vm, 1);
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_delete(vm, NULL, &err));
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_delete(vm, &options, &err));
    assert_int_equal(listed("life-u"), 0);
    vmctl_vm_free(vm);
}

static void take_removed(const char *what, const char *name, void *user) {
    notes *to = user;
    if (strcmp(what, "disk") == 0) {
        to->count++;
        snprintf(to->last, sizeof to->last, "%s", name);
    }
}

static void delete_leaves_nothing(void **state) {
    (void)state;
    char *before = world();
    vmctl_vm *vm = make_started("life-v", "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]\n%s", guest_image,
                                profile->agent);
    wait_line(vm, 1);
    force_off(vm);
    notes removed = {0};
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.removed = take_removed;
    options.user = &removed;
    MUST(vmctl_vm_delete(vm, &options, &err));
    vmctl_vm_free(vm);
    assert_int_equal(removed.count, 2);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void delete_can_keep_the_disks(void **state) {
    (void)state;
    vmctl_vm *vm = make("life-w", "%s", "");
    seen facts;
    look(vm, &facts);
    char path[512];
    snprintf(path, sizeof path, "%s", device(&facts, "root")->source);
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.disks = VMCTL_DELETE_KEEP_DISKS;
    MUST(vmctl_vm_delete(vm, &options, &err));
    vmctl_vm_free(vm);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    int64_t until = now_ms() + (profile->state_lags ? PATIENCE_MS : 0); /* it may be on its way still */
    char *now = world();
    while (!strstr(now, name) && now_ms() < until) {
        free(now);
        sleep_ms(50);
        now = world();
    }
    assert_non_null(strstr(now, name));
    free(now);
    drop_disk(path);
}

/* One VM has it as its disk, another stands on it: neither may lose its data with the VM that the disk was made for. */
static void delete_leaves_disks_that_others_use(void **state) {
    (void)state;
    char *before = world();
    vmctl_vm *owner = make("life-y", "disks: [{name: root, image: %s}, {name: data, size: 4MiB}]", guest_image);
    seen facts;
    look(owner, &facts);
    char root[512], data[512];
    snprintf(root, sizeof root, "%s", device(&facts, "root")->source);
    snprintf(data, sizeof data, "%s", device(&facts, "data")->source);
    const char *source = can("storage.backing") ? "backing" : "volume";
    vmctl_vm *other = make("life-z", "disks: [{name: top, %s: %s}, {name: shared, volume: %s}]", source, root, data);
    MUST(vmctl_vm_delete(owner, NULL, &err));
    vmctl_vm_free(owner);
    assert_int_equal(listed("life-y"), 0);
    start(other);
    wait_line(other, 1);
    force_off(other);
    MUST(vmctl_vm_delete(other, NULL, &err));
    vmctl_vm_free(other);
    drop_disk(root);
    drop_disk(data);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static void a_failing_start_undoes_the_create(void **state) {
    (void)state;
    if (!profile->bad_start)
        skip();
    char *before = world();
    vmctl_spec *spec = spec_of("life-x", "%s", profile->bad_start);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.start = true;
    vmctl_vm *vm = NULL;
    int rc = vmctl_create(conn, spec, &options, &vm, &err);
    assert_int_not_equal(rc, 0);
    assert_null(vm);
    assert_non_null(vmctl_error_hypervisor_message(err));
    vmctl_error_free(err);
    err = NULL;
    vmctl_spec_free(spec);
    assert_int_equal(listed("life-x"), 0);
    char *after = world_after(before);
    assert_string_equal(before, after);
    free(before);
    free(after);
}

static const contract_test tests[] = {
    TEST("lifecycle.create cpu.count memory.size", "open create get list lookup release", create_makes_a_stopped_vm),
    TEST("lifecycle.create", "create start", create_can_start),
    TEST("lifecycle.create", "create undo", a_failing_start_undoes_the_create),
    TEST("lifecycle.start firmware.bios", "start serial_log", start_boots_the_guest),
    TEST("lifecycle.start", "start", start_of_a_running_vm_is_a_note),
    TEST("lifecycle.start", "start resume", start_can_begin_paused),
    TEST("lifecycle.stop", "stop", stop_by_force),
    TEST("lifecycle.stop", "stop", stop_powers_off_after_the_grace),
    TEST("lifecycle.stop", "stop", stop_without_power_off_times_out),
    TEST("lifecycle.stop", "stop", stop_of_a_stopped_vm_is_a_note),
    TEST("lifecycle.restart", "restart", restart_is_a_new_boot),
    TEST("lifecycle.reset", "reset", reset_begins_again),
    TEST("lifecycle.reset", "reset", reset_of_a_stopped_vm_is_refused),
    TEST("lifecycle.pause", "pause", pause_stops_the_count),
    TEST("lifecycle.resume", "resume", resume_goes_on_where_it_was),
    TEST("lifecycle.pause", "pause resume", pause_of_a_stopped_vm_is_refused),
    TEST("lifecycle.save", "save start", save_keeps_the_memory),
    TEST("lifecycle.save", "save start", start_can_discard_a_saved_memory),
    TEST("lifecycle.save", "save remove", a_saved_vm_can_be_deleted),
    TEST("lifecycle.rename", "rename lookup", rename_keeps_id_and_disks),
    TEST("lifecycle.rename", "rename", rename_to_a_taken_name_is_refused),
    TEST("lifecycle.delete", "remove", delete_of_a_running_vm_needs_force),
    TEST("lifecycle.delete", "remove", delete_leaves_nothing),
    TEST("lifecycle.delete", "remove", delete_can_keep_the_disks),
    TEST("lifecycle.delete", "remove", delete_leaves_disks_that_others_use),
};
const contract_group group_life = {"life", tests, sizeof tests / sizeof tests[0]};
