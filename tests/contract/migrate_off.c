/* migrate_off.c - migrations that are given up: by who began them, by the clock, by another one. */
#include "migrate.h"

/* When the target's VM is made and is about to listen. */
static int stop_before_sending(const vmctl_progress *progress, void *user) {
    (void)user;
    return progress->stage && strstr(progress->stage, "waiting for the target") != NULL;
}

/* Given up in the middle of its steps, by the person and by the clock: the VM goes on here, and nothing of it is there. */
static void given_up_it_stays(void **state) {
    (void)state;
    begin_migrating();
    char log[256], disk[256];
    vmctl_vm *vm = make_shared("moved-n", disk, sizeof disk);
    log_path(vm, log, sizeof log);
    int line = wait_line(vm, 2).line;
    vmctl_call call = VMCTL_CALL_INIT;
    vmctl_migrate_options options = options_of(&call);
    if (profile->differencing) {
        call.progress = stop_before_sending;
        FAILS(VMCTL_E_CANCELLED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
        call.progress = NULL;
        target_has_no_trace();
        assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
        line = wait_line(vm, line + 2).line;
    }
    options.unsafe = !profile->differencing;
    const int64_t whole_ms = 4000;
    for (int part = 1; part <= 6; part++) { /* of the time that it takes, were it not for the clock */
        call.timeout_ms = whole_ms * part / 16;
        int rc = vmctl_vm_migrate(vm, target, NULL, &options, &err);
        if (rc == 0) { /* this machine is quick */
            vmctl_vm_free(vm);
            it_counts_on_there("moved-n", log, line);
            clean_shared("moved-n", disk, log);
            return;
        }
        FAILS(VMCTL_E_TIMEOUT, rc);
        target_has_no_trace();
        assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
        printed now = wait_line(vm, line + 2);
        assert_int_equal(now.boots, 1);
        line = now.line;
    }
    force_off(vm);
    MUST(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    assert_int_equal(unlink(disk), 0);
    unlink(log); /* of a VM that vmctl made it goes with the VM */
}

/* Given up at the very moment in which it stands still for the switch-over: it is past the point of no return, and is let through. What QEMU
 * and libvirt make of an abort then is a matter of luck, so there are two. */
static void given_up_at_the_switch_it_gets_there(void **state) {
    (void)state;
    begin_migrating();
    if (profile->differencing)
        return; /* no state of VirtualBox' tells the moment */
    static const char *const vms[] = {"moved-p", "moved-q"};
    for (size_t i = 0; i < 2; i++) {
        char log[256], disk[256];
        vmctl_vm *vm = make_shared(vms[i], disk, sizeof disk);
        log_path(vm, log, sizeof log);
        int line = wait_line(vm, 1).line;
        listening ears = {.vm = vms[i], .word = "for migration", .then = vmctl_cancel_new()};
        vmctl_call call = VMCTL_CALL_INIT;
        call.cancel = ears.then;
        vmctl_migrate_options options = options_of(&call);
        options.unsafe = true;
        begin_listening(&ears);
        int rc = vmctl_vm_migrate(vm, target, NULL, &options, &err);
        bool switched = end_listening(&ears);
        vmctl_cancel_free(ears.then);
        MUST(rc);
        assert_true(switched);
        vmctl_vm_free(vm);
        it_counts_on_there(vms[i], log, line);
        clean_shared(vms[i], disk, log);
    }
}

/* A disk of 128 MiB that cannot be packed, at few MiB a second: there is time. QEMU copies and counts in steps of 16 MiB, and the memory, which
 * counts too, comes last and at once: half of it all must be well before that. */
static vmctl_vm *make_slow(const char *name) {
    static char noise[128 << 20];
    FILE *boot = fopen(guest_image, "re");
    assert_non_null(boot);
    unsigned seed = 4711;
    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)((seed = seed * 1103515245u + 12345u) >> 16);
    assert_int_equal(fread(noise, 1, 512, boot), 512);
    fclose(boot);
    return make_started(name, "disks: [{name: root, image: %s}]", scratch_file("slow.raw", noise, sizeof noise));
}

static int stop_at_half(const vmctl_progress *progress, void *user) {
    *(int64_t *)user = progress->total ? (int64_t)(progress->done * 100 / progress->total) : 0;
    return *(int64_t *)user >= 50;
}

static void cancelled_at_half_it_stays(void **state) {
    (void)state;
    begin_migrating();
    vmctl_vm *vm = make_slow("moved-f");
    int line = wait_line(vm, 2).line;
    int64_t percent = 0;
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = stop_at_half;
    call.user = &percent;
    vmctl_migrate_options options = options_of(&call);
    options.storage = true;
    options.bandwidth_bytes = 6 << 20; /* 8 s from there to the end of the disk */
    FAILS(VMCTL_E_CANCELLED, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_in_range(percent, 50, 99);
    target_has_no_trace();
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, line + 10).boots, 1);
    vmctl_vm_free(vm);
}

static void at_the_deadline_it_stays(void **state) {
    (void)state;
    begin_migrating();
    vmctl_vm *vm = make_slow("moved-g");
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 2500;
    vmctl_migrate_options options = options_of(&call);
    options.storage = true;
    options.bandwidth_bytes = 1 << 20;
    int64_t began = now_ms();
    FAILS(VMCTL_E_TIMEOUT, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_in_range(now_ms() - began, 2400, PATIENCE_MS);
    target_has_no_trace();
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    wait_line(vm, printed_by(vm).line + 2);
    vmctl_vm_free(vm);
}

typedef struct other_caller {
    vmctl_vm *vm;
    vmctl_cancel *begun;
    int rc;
    char text[2048];
} other_caller;

static int tell_begun(const vmctl_progress *progress, void *user) {
    if (progress->total > 0)
        vmctl_cancel_trigger(((other_caller *)user)->begun);
    return 0;
}

static void *migrate_slowly(void *user) {
    other_caller *other = user;
    vmctl_error *why = NULL;
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = tell_begun;
    call.user = other;
    vmctl_migrate_options options = options_of(&call);
    options.storage = true;
    options.bandwidth_bytes = 1 << 20;
    other->rc = vmctl_vm_migrate(other->vm, target, NULL, &options, &why);
    snprintf(other->text, sizeof other->text, "%s", why ? vmctl_error_text(why) : "");
    vmctl_error_free(why);
    vmctl_cancel_trigger(other->begun);
    return NULL;
}

/* While one caller migrates, a second one is told so, and a third one stops it. */
static void another_caller_can_stop_it(void **state) {
    (void)state;
    begin_migrating();
    vmctl_vm *vm = make_slow("moved-h");
    int line = wait_line(vm, 2).line;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_vm_migrate_abort(vm, NULL, &err));
    if (!can("migrate.storage")) { /* there nothing takes its time: integration.virtualbox_moves holds one up */
        vmctl_vm_free(vm);
        return;
    }
    other_caller other = {.vm = found_on(conn, "moved-h"), .begun = vmctl_cancel_new()};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, migrate_slowly, &other), 0);
    for (int i = 0; i < 400 && !vmctl_cancel_triggered(other.begun); i++)
        sleep_ms(50);
    vmctl_migrate_options options = options_of(NULL);
    options.storage = true;
    int64_t began = now_ms();
    FAILS(VMCTL_E_BUSY, vmctl_vm_migrate(vm, target, NULL, &options, &err));
    assert_in_range(now_ms() - began, 0, 25000); /* not after libvirt's own 30 s */
    MUST(vmctl_vm_migrate_abort(vm, NULL, &err));
    pthread_join(thread, NULL);
    assert_int_equal(other.rc, VMCTL_E_CANCELLED);
    assert_non_null(strstr(other.text, "another command"));
    target_has_no_trace();
    assert_int_equal(state_of(vm), VMCTL_STATE_RUNNING);
    assert_int_equal(wait_line(vm, line + 5).boots, 1);
    vmctl_vm_free(other.vm);
    vmctl_cancel_free(other.begun);
    vmctl_vm_free(vm);
}

static const contract_test tests[] = {
    TEST("migrate.live migrate.elsewhere", "migrate", given_up_it_stays),
    TEST("migrate.live migrate.elsewhere", "migrate", given_up_at_the_switch_it_gets_there),
    TEST("migrate.storage", "migrate", cancelled_at_half_it_stays),
    TEST("migrate.storage", "migrate", at_the_deadline_it_stays),
    TEST("migrate.abort migrate.elsewhere", "migrate migrate_abort", another_caller_can_stop_it),
};
const contract_group migrate_off = {.tests = tests, .count = sizeof tests / sizeof tests[0], .more = &migrate_nodes};
