/* migrate.c - moving to the host of VMCTL_CONTRACT_TARGET (tests/integration/host2, tests/virtualbox/host2). What the guest printed on both hosts, one after the
 * other, is the witness: a count without a gap and without a repeat. */
#include "contract.h"

#include <pthread.h>

static vmctl_connection *target;
static char *target_before;

/* --- the other host ------------------------------------------------------------------------------------------- */

typedef struct names {
    char text[4096];
} names;

static int add_vm(const vmctl_vm_info *info, void *user) {
    names *to = user;
    snprintf(to->text + strlen(to->text), sizeof to->text - strlen(to->text), "VM %s\n", info->name);
    return 0;
}

static int add_image(const vmctl_image *image, void *user) {
    names *to = user;
    if (!strstr(image->name, ".log"))
        snprintf(to->text + strlen(to->text), sizeof to->text - strlen(to->text), "image %s\n", image->name);
    return 0;
}

/* What the target has: VMs and volumes. free. */
static char *target_world(void) {
    names all = {""};
    MUST(vmctl_list(target, NULL, add_vm, &all, &err));
    if (can("image.list"))
        MUST(vmctl_image_list(target, NULL, NULL, add_image, &all, &err));
    if (getenv("HOST2_MACHINES")) { /* where each VM has a folder */
        FILE *find = popen("find \"$HOST2_MACHINES\" | sort", "re");
        size_t length = strlen(all.text);
        assert_non_null(find);
        length += fread(all.text + length, 1, sizeof all.text - length - 1, find);
        all.text[length] = 0;
        assert_int_equal(pclose(find), 0);
    }
    return strdup(all.text);
}

/* A test begins: the target is connected, and has the pool that every host in use has. */
static void begin(void) {
    const char *uri = getenv("VMCTL_CONTRACT_TARGET");
    if (!uri)
        skip();
    if (!target) {
        vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
        options.uri = uri;
        MUST(vmctl_connect(&options, &target, &err));
        vmctl_spec *spec = spec_of("migrate-warm-up", "%s", "");
        vmctl_vm *vm = NULL;
        MUST(vmctl_create(target, spec, NULL, &vm, &err));
        vmctl_spec_free(spec);
        MUST(vmctl_vm_delete(vm, NULL, &err));
        vmctl_vm_free(vm);
    }
    free(target_before);
    target_before = target_world();
}

static void target_has_no_trace(void) {
    char *after = target_world();
    assert_string_equal(after, target_before);
    free(after);
}

static vmctl_vm *found_on(vmctl_connection *there, const char *name) {
    vmctl_vm *vm = NULL;
    MUST(vmctl_vm_lookup(there, name, NULL, &vm, &err));
    return vm;
}

static void delete_on_target(const char *name) {
    vmctl_vm *vm = found_on(target, name);
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.force = true;
    int rc = vmctl_vm_delete(vm, &options, &err);
    vmctl_vm_free(vm);
    MUST(rc);
    target_has_no_trace();
}

/* --- what was printed ----------------------------------------------------------------------------------------- */

typedef struct bytes {
    char text[1 << 20];
    size_t length;
} bytes;

static int take_bytes(const void *data, size_t length, void *user) {
    bytes *to = user;
    if (to->length + length >= sizeof to->text)
        return 1;
    memcpy(to->text + to->length, data, length);
    to->length += length;
    return 0;
}

/* The path of a serial log, which stays behind when its VM leaves. */
static void log_path(vmctl_vm *vm, char *path, size_t size) {
    char *native = NULL;
    if (profile->differencing) {
        static seen facts;
        look(vm, &facts);
        snprintf(path, size, "%.*s", (int)size - 1, device(&facts, "serial")->source);
        return;
    }
    MUST(vmctl_vm_native(vm, NULL, &native, &err));
    const char *at = strstr(native, "<log file='");
    assert_non_null(at);
    snprintf(path, size, "%.*s", (int)strcspn(at + 11, "'"), at + 11);
    vmctl_string_free(native);
}

static void read_file(const char *path, bytes *to) {
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    to->length += fread(to->text + to->length, 1, sizeof to->text - to->length - 1, file);
    fclose(file);
}

/* The last line of a count that begins at 1 and has neither gap nor repeat: one boot, one guest. */
static int count_of(bytes *all) {
    static const char mark[] = "vmctl guest: line ";
    all->text[all->length] = 0;
    int expected = 1, boots = 0;
    for (const char *at = all->text; (at = strstr(at, "vmctl guest: it boots")); at++)
        boots++;
    assert_int_equal(boots, 1);
    for (const char *at = all->text; (at = strstr(at, mark)); at++) {
        int line = 0, end = 0;
        if (sscanf(at + sizeof mark - 1, "%d%n", &line, &end) != 1 || at[sizeof mark - 1 + (size_t)end] != '\r')
            break; /* being printed */
        assert_int_equal(line, expected);
        expected++;
    }
    return expected - 1;
}

/* The VM has left; the guest counts on there. */
static void it_counts_on_there(const char *name, const char *left_log, int beyond) {
    static bytes all;
    vmctl_vm *there = found_on(target, name);
    assert_int_equal(state_of(there), VMCTL_STATE_RUNNING);
    int last = 0;
    for (int i = 0; i < 200 && last <= beyond; i++) {
        sleep_ms(50);
        all.length = 0;
        read_file(left_log, &all);
        MUST(vmctl_serial_log(there, NULL, take_bytes, &all, &err));
        last = count_of(&all);
    }
    assert_true(last > beyond);
    vmctl_vm_free(there);
}

/* What stays at the source by intention: the copies of the disks, and what had been logged there. */
static void remove_copies(const char *name, const char *log) {
    char image[128];
    snprintf(image, sizeof image, "default/%s-root.raw", name);
    MUST(vmctl_image_delete(conn, image, NULL, &err));
    if (*log)
        assert_int_equal(unlink(log), 0);
}

/* --- running -------------------------------------------------------------------------------------------------- */

typedef struct heard {
    int fatal, others;
    char what[16][32]; /* of the fatal ones */
    char text[4096];
} heard;

static int take_obstacle(const vmctl_obstacle *obstacle, void *user) {
    heard *to = user;
    assert_non_null(obstacle->reason);
    if (obstacle->fatal) {
        assert_non_null(obstacle->remedy);
        snprintf(to->what[to->fatal % 16], sizeof to->what[0], "%s", obstacle->what);
        to->fatal++;
    } else {
        to->others++;
    }
    snprintf(to->text + strlen(to->text), sizeof to->text - strlen(to->text), "%s: %s\n", obstacle->what,
             obstacle->reason);
    return 0;
}

static bool in_the_way(const heard *list, const char *what) {
    for (int i = 0; i < list->fatal; i++)
        if (strcmp(list->what[i], what) == 0)
            return true;
    print_error("no obstacle \"%s\" in:\n%s", what, list->text);
    return false;
}

static vmctl_migrate_options options_of(const vmctl_call *call) {
    vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
    options.call = call;
    return options;
}

static void with_its_disks_the_count_goes_on(void **state) {
    (void)state;
    begin();
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

/* A VM on storage that both hosts have; which libvirt cannot see here, so it is said. VirtualBox wants it shared and whole. */
static vmctl_vm *make_shared(const char *name, char *disk, size_t size) {
    bool whole = profile->differencing;
    snprintf(disk, size, "%s/%s.%s", getenv("SHARED"), name, whole ? "vdi" : "raw");
    const char *copy[] = {"cp", guest_image, disk, NULL};
    const char *convert[] = {"qemu-img", "convert", "-O", "vdi", "-o", "static=on", guest_image, disk, NULL};
    assert_int_equal(run_program(whole ? convert : copy), 0);
    return make_started(name, "disks: [{name: root, volume: %s%s}]", disk, whole ? ", shared: true" : "");
}

/* On the target's host: what came is gone, and what both had is still there. */
static void clean_shared(const char *name, const char *disk, const char *log) {
    delete_on_target(name);
    assert_int_equal(access(disk, F_OK), 0); /* a volume: is never deleted with its VM */
    assert_int_equal(unlink(disk) + unlink(log), 0);
}

static void on_shared_storage_the_count_goes_on(void **state) {
    (void)state;
    begin();
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

/* When the target's VM is made and is about to listen. */
static int stop_before_sending(const vmctl_progress *progress, void *user) {
    (void)user;
    return progress->stage && strstr(progress->stage, "waiting for the target") != NULL;
}

/* Given up in the middle of its steps, by the person and by the clock: the VM goes on here, and nothing of it is there. */
static void given_up_it_stays(void **state) {
    (void)state;
    begin();
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

/* What came can be stopped and started there, keeps what vmctl knows of it, and its own disk goes with it. */
static void what_came_lives_on(void **state) {
    (void)state;
    begin();
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
    begin();
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

/* Who hears what the hypervisor tells of a VM meanwhile. */
typedef struct listening {
    const char *vm, *word;               /* what is listened for in an event's detail */
    vmctl_cancel *begun, *enough, *then; /* then: triggered when it is heard; NULL */
    bool heard_it;
    pthread_t thread;
} listening;

static int hear(const vmctl_event *event, void *user) {
    listening *l = user;
    if (event->kind == VMCTL_EVENT_CONNECTED)
        vmctl_cancel_trigger(l->begun);
    if (event->detail && strstr(event->detail, l->word)) {
        l->heard_it = true;
        if (l->then)
            vmctl_cancel_trigger(l->then);
    }
    return 0;
}

static void *listen_main(void *user) {
    listening *l = user;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = l->enough;
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    options.call = &call;
    options.vm = l->vm;
    vmctl_error *ignored = NULL;
    vmctl_events(conn, &options, hear, l, &ignored);
    vmctl_error_free(ignored);
    vmctl_cancel_trigger(l->begun);
    return NULL;
}

static void begin_listening(listening *l) {
    l->begun = vmctl_cancel_new();
    l->enough = vmctl_cancel_new();
    assert_int_equal(pthread_create(&l->thread, NULL, listen_main, l), 0);
    for (int i = 0; i < 400 && !vmctl_cancel_triggered(l->begun); i++)
        sleep_ms(50);
}

static bool end_listening(listening *l) {
    vmctl_cancel_trigger(l->enough);
    pthread_join(l->thread, NULL);
    vmctl_cancel_free(l->begun);
    vmctl_cancel_free(l->enough);
    return l->heard_it;
}

/* Given up at the very moment in which it stands still for the switch-over: it is past the point of no return, and is let through. What QEMU
 * and libvirt make of an abort then is a matter of luck, so there are two. */
static void given_up_at_the_switch_it_gets_there(void **state) {
    (void)state;
    begin();
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

/* The guest writes to its memory faster than it is sent, so that without the switch it would never get there. */
static void by_postcopy_the_count_goes_on(void **state) {
    (void)state;
    begin();
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
    begin();
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
    begin();
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
    begin();
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
    begin();
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

/* virsh makes what is no part of the common model: a network that only this host has. */
static void the_preflight_names_what_is_in_the_way(void **state) {
    (void)state;
    begin();
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
    begin();
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
    begin();
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
    TEST("migrate.live", "migrate", on_shared_storage_the_count_goes_on),
    TEST("migrate.tunnelled", "migrate", tunnelled_the_count_goes_on),
    TEST("migrate.postcopy", "migrate", by_postcopy_the_count_goes_on),
    TEST("migrate.offline", "migrate", a_stopped_one_moves_with_its_disks),
    TEST("migrate.storage", "migrate", cancelled_at_half_it_stays),
    TEST("migrate.storage", "migrate", at_the_deadline_it_stays),
    TEST("migrate.live", "migrate", given_up_it_stays),
    TEST("migrate.live", "migrate", given_up_at_the_switch_it_gets_there),
    TEST("migrate.live", "migrate", what_came_lives_on),
    TEST("migrate.abort", "migrate migrate_abort", another_caller_can_stop_it),
    TEST("migrate.preflight", "migrate", the_preflight_names_what_is_in_the_way),
    TEST("migrate.preflight", "migrate", a_name_that_is_taken_is_refused),
    TEST("migrate.preflight", "migrate", the_same_host_and_a_cluster_are_refused),
};

const contract_group group_migrate = {"migrate", tests, sizeof tests / sizeof tests[0]};
