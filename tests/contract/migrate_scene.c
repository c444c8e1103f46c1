/* migrate_scene.c - the other host, and what guests print on both, one after the other: the witness is a count without a gap and without a repeat. */
#include "migrate.h"

vmctl_connection *target;
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
void begin_migrating(void) {
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

void target_has_no_trace(void) {
    char *after = target_world();
    assert_string_equal(after, target_before);
    free(after);
}

vmctl_vm *found_on(vmctl_connection *there, const char *name) {
    vmctl_vm *vm = NULL;
    MUST(vmctl_vm_lookup(there, name, NULL, &vm, &err));
    return vm;
}

void delete_on_target(const char *name) {
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
void log_path(vmctl_vm *vm, char *path, size_t size) {
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
void it_counts_on_there(const char *name, const char *left_log, int beyond) {
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
void remove_copies(const char *name, const char *log) {
    char image[128];
    snprintf(image, sizeof image, "default/%s-root.raw", name);
    MUST(vmctl_image_delete(conn, image, NULL, &err));
    if (*log)
        assert_int_equal(unlink(log), 0);
}

int take_obstacle(const vmctl_obstacle *obstacle, void *user) {
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

bool in_the_way(const heard *list, const char *what) {
    for (int i = 0; i < list->fatal; i++)
        if (strcmp(list->what[i], what) == 0)
            return true;
    print_error("no obstacle \"%s\" in:\n%s", what, list->text);
    return false;
}

vmctl_migrate_options options_of(const vmctl_call *call) {
    vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
    options.call = call;
    return options;
}

/* A VM on storage that both hosts have; which libvirt cannot see here, so it is said. VirtualBox wants it shared and whole. */
vmctl_vm *make_shared(const char *name, char *disk, size_t size) {
    bool whole = profile->differencing;
    snprintf(disk, size, "%s/%s.%s", getenv("SHARED"), name, whole ? "vdi" : "raw");
    const char *copy[] = {"cp", guest_image, disk, NULL};
    const char *convert[] = {"qemu-img", "convert", "-O", "vdi", "-o", "static=on", guest_image, disk, NULL};
    assert_int_equal(run_program(whole ? convert : copy), 0);
    return make_started(name, "disks: [{name: root, volume: %s%s}]", disk, whole ? ", shared: true" : "");
}

/* On the target's host: what came is gone, and what both had is still there. */
void clean_shared(const char *name, const char *disk, const char *log) {
    delete_on_target(name);
    assert_int_equal(access(disk, F_OK), 0); /* a volume: is never deleted with its VM */
    assert_int_equal(unlink(disk) + unlink(log), 0);
}

/* --- events --------------------------------------------------------------------------------------------------------- */

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

void begin_listening(listening *l) {
    l->begun = vmctl_cancel_new();
    l->enough = vmctl_cancel_new();
    assert_int_equal(pthread_create(&l->thread, NULL, listen_main, l), 0);
    for (int i = 0; i < 400 && !vmctl_cancel_triggered(l->begun); i++)
        sleep_ms(50);
}

bool end_listening(listening *l) {
    vmctl_cancel_trigger(l->enough);
    pthread_join(l->thread, NULL);
    vmctl_cancel_free(l->begun);
    vmctl_cancel_free(l->enough);
    return l->heard_it;
}
