/* The suite's frame: contract [--list] [GROUP]. VMCTL_CONTRACT_CONNECT is the endpoint (qemu:///system by default),
 * VMCTL_CONTRACT_GUEST the boot sector's image. */
#include "contract.h"
#include "profiles.h"

#include <dirent.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

const contract_profile *profile;
vmctl_connection *conn;
const char *guest_image;
vmctl_error *err;
char failure[4096];

static const contract_group *const groups[] = {
#define GROUP(name) &group_##name,
#include "groups.def"
#undef GROUP
};
#define GROUPS (sizeof groups / sizeof groups[0])

static const contract_group *chosen; /* by its name; NULL: all */

void must(int rc, const char *call, const char *file, int line) {
    if (rc == 0)
        return;
    print_error("%s\n  -> %s\n", call, err ? vmctl_error_text(err) : "(failed without an error object)");
    vmctl_error_free(err);
    err = NULL;
    _fail(file, line);
}

void fails(int code, int rc, const char *call, const char *file, int line) {
    const char *trouble = NULL;
    if (rc == 0)
        trouble = "succeeded";
    else if (!err)
        trouble = "failed without an error object";
    else if (vmctl_error_code(err) != rc)
        trouble = "returned another code than its error object has";
    else if (rc != code)
        trouble = "failed with another code";
    else if (!*vmctl_error_message(err))
        trouble = "failed without a message";
    snprintf(failure, sizeof failure, "%s", err ? vmctl_error_text(err) : "");
    vmctl_error_free(err);
    err = NULL;
    if (trouble) {
        print_error("%s\n  must fail with %s, but %s (%s): %s\n", call, vmctl_code_name(code), trouble,
                    vmctl_code_name(rc), failure);
        _fail(file, line);
    }
}

/* --- specs and VMs ------------------------------------------------------------------------------------------ */

static vmctl_spec *spec_of_list(const char *name, const char *format, va_list list) VMCTL_PRINTF(2, 0);
static vmctl_spec *spec_of_list(const char *name, const char *format, va_list list) {
    char body[8192], text[12288];
    vsnprintf(body, sizeof body, format, list);
    bool boots = strstr(body, "disks:") || strstr(body, "boot:");
    int length = snprintf(
        text, sizeof text, "name: %s\n%s\n%s%s%s", name, body, strstr(body, "memory:") ? "" : "memory: 32MiB\n",
        strstr(body, "networks:") ? "" : "networks: []\n", strstr(body, "display:") ? "" : "display: none\n");
    if (!strstr(body, "serial:"))
        length += snprintf(text + length, sizeof text - (size_t)length, "serial: {log: serial.log}\n");
    if (!boots)
        length +=
            snprintf(text + length, sizeof text - (size_t)length, "disks: [{name: root, image: %s}]\n", guest_image);
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "contract.yaml";
    options.base_dir = "/";
    vmctl_spec **specs = NULL;
    size_t count = 0;
    MUST(vmctl_spec_load(text, strlen(text), &options, &specs, &count, &err));
    assert_int_equal(count, 1);
    vmctl_spec *spec = vmctl_spec_copy(specs[0]);
    vmctl_spec_list_free(specs);
    assert_non_null(spec);
    complete(spec);
    return spec;
}

void complete(vmctl_spec *spec) {
    for (size_t i = 0; profile->settings && profile->settings[i][0]; i++)
        MUST(vmctl_spec_set(spec, profile->settings[i][0], profile->settings[i][1], &err));
}

vmctl_spec *spec_of(const char *name, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vmctl_spec *spec = spec_of_list(name, format, list);
    va_end(list);
    return spec;
}

static vmctl_vm *make_of(vmctl_spec *spec, bool start_it) {
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.start = start_it;
    vmctl_vm *vm = NULL;
    int rc = vmctl_create(conn, spec, &options, &vm, &err);
    vmctl_spec_free(spec);
    MUST(rc);
    assert_non_null(vm);
    return vm;
}

vmctl_vm *make(const char *name, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vmctl_spec *spec = spec_of_list(name, format, list);
    va_end(list);
    return make_of(spec, false);
}

vmctl_vm *make_started(const char *name, const char *format, ...) {
    va_list list;
    va_start(list, format);
    vmctl_spec *spec = spec_of_list(name, format, list);
    va_end(list);
    return make_of(spec, true);
}

void start(vmctl_vm *vm) {
    MUST(vmctl_vm_start(vm, NULL, &err));
}

void force_off(vmctl_vm *vm) {
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_stop(vm, &options, &err));
}

/* --- facts ---------------------------------------------------------------------------------------------------- */

#define COPY(to, from) snprintf((to), sizeof(to), "%s", (from) ? (from) : "")

static int take_facts(const vmctl_vm_info *info, void *user) {
    seen *out = user;
    out->present = info->present;
    COPY(out->name, info->name);
    COPY(out->id, info->id);
    COPY(out->backend, info->backend);
    COPY(out->owner, info->owner);
    COPY(out->run, info->run);
    COPY(out->description, info->description);
    COPY(out->firmware, info->firmware);
    COPY(out->machine, info->machine);
    COPY(out->accel, info->accel);
    out->state = info->state;
    out->cpus = info->cpus;
    out->memory_mib = info->memory_mib;
    out->managed = info->managed;
    out->autostart = info->autostart;
    out->restart_required = info->restart_required;
    out->created = info->created;
    out->expires = info->expires;
    for (size_t i = 0; i < info->label_count && i < 8; i++) {
        COPY(out->label_key[i], info->labels[i].key);
        COPY(out->label_value[i], info->labels[i].value);
        out->labels++;
    }
    for (size_t i = 0; i < info->device_count && i < 32; i++) {
        const vmctl_device *from = &info->devices[i];
        seen_device *to = &out->devices[out->device_count++];
        to->kind = from->kind;
        COPY(to->name, from->name);
        COPY(to->target, from->target);
        COPY(to->bus, from->bus);
        COPY(to->source, from->source);
        COPY(to->type, from->type);
        COPY(to->mac, from->mac);
        to->capacity = from->capacity_bytes;
        to->readonly = from->readonly;
        to->link_up = from->link_up;
        to->own = from->own;
        to->pending = from->pending;
        to->leaving = from->leaving;
    }
    return 0;
}

void look(vmctl_vm *vm, seen *out) {
    memset(out, 0, sizeof *out);
    MUST(vmctl_vm_get(vm, NULL, take_facts, out, &err));
    assert_string_not_equal(out->name, "");
}

const seen_device *device(const seen *facts, const char *name) {
    for (size_t i = 0; i < facts->device_count; i++)
        if (strcmp(facts->devices[i].name, name) == 0)
            return &facts->devices[i];
    print_error("no device \"%s\" among %zu:", name, facts->device_count);
    for (size_t i = 0; i < facts->device_count; i++)
        print_error(" %s", facts->devices[i].name);
    print_error("\n");
    fail();
    return NULL;
}

vmctl_state state_of(vmctl_vm *vm) {
    static seen facts;
    look(vm, &facts);
    return facts.state;
}

static int count_one(const vmctl_vm_info *info, void *user) {
    (void)info;
    ++*(int *)user;
    return 0;
}

int listed(const char *name) {
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.name = name;
    int count = 0;
    MUST(vmctl_list(conn, &options, count_one, &count, &err));
    return count;
}

bool native_has_text(vmctl_vm *vm, const char *text) {
    char *native = NULL;
    MUST(vmctl_vm_native(vm, NULL, &native, &err));
    bool found = strstr(native, text) != NULL;
    if (!found)
        print_message("  (no %s in:\n%s)\n", text, native);
    vmctl_string_free(native);
    return found;
}

bool native_shows(vmctl_vm *vm, const char *what) {
    for (const contract_mark *mark = profile->marks; mark->what; mark++)
        if (strcmp(mark->what, what) == 0)
            return !mark->text || native_has_text(vm, mark->text); /* NULL: it is what the document does not say */
    print_error("the profile of %s has no mark for \"%s\"\n", profile->backend, what);
    fail();
    return false;
}

/* --- what the guest prints ------------------------------------------------------------------------------------ */

typedef struct text {
    char *bytes;
    size_t length;
} text;

static int append(const void *bytes, size_t length, void *user) {
    text *to = user;
    char *grown = realloc(to->bytes, to->length + length + 1);
    if (!grown)
        return 1;
    to->bytes = grown;
    memcpy(to->bytes + to->length, bytes, length);
    to->length += length;
    to->bytes[to->length] = 0;
    return 0;
}

printed printed_by(vmctl_vm *vm) {
    text log = {NULL, 0};
    MUST(vmctl_serial_log(vm, NULL, append, &log, &err));
    printed result = {0, 0};
    for (char *at = log.bytes; at && (at = strstr(at, "vmctl guest: ")); at++) {
        int line = 0, end = 0;
        if (strncmp(at, "vmctl guest: it boots", 21) == 0) {
            result.boots++;
            result.line = 0;
        } else if (sscanf(at, "vmctl guest: line %d%n", &line, &end) == 1 && at[end] == '\r') {
            result.line = line;
        }
    }
    free(log.bytes);
    return result;
}

printed wait_line(vmctl_vm *vm, int line) {
    int64_t until = now_ms() + 20000;
    printed last = printed_by(vm);
    while (last.line < line && now_ms() < until) {
        sleep_ms(50);
        last = printed_by(vm);
    }
    if (last.line < line) {
        print_error("the guest printed line %d of %d in 20 s (%d boots)\n", last.line, line, last.boots);
        fail();
    }
    return last;
}

/* --- changes ------------------------------------------------------------------------------------------------- */

void take_change(const vmctl_change *change, vmctl_effect effect, void *user) {
    effects *to = user;
    to->count++;
    if (effect == VMCTL_EFFECT_NOW)
        to->now++;
    else
        to->at_restart++;
    strncat(to->paths, change->path, sizeof to->paths - strlen(to->paths) - 2);
    strcat(to->paths, " ");
}

int change(vmctl_vm *vm, const char *key, const char *value, bool live, bool dry_run, effects *seen_effects) {
    vmctl_spec *have = NULL;
    MUST(vmctl_vm_spec(vm, NULL, &have, &err));
    vmctl_spec *want = vmctl_spec_copy(have);
    MUST(vmctl_spec_set(want, key, value, &err));
    vmctl_diff *diff = NULL;
    int rc = vmctl_spec_diff(have, want, NULL, &diff, &err);
    if (rc == 0) {
        vmctl_change_options options = VMCTL_CHANGE_OPTIONS_INIT;
        options.live = live;
        options.dry_run = dry_run;
        options.changed = take_change;
        options.user = seen_effects;
        rc = vmctl_vm_change(vm, diff, &options, &err);
    }
    vmctl_diff_free(diff);
    vmctl_spec_free(have);
    vmctl_spec_free(want);
    return rc;
}

char *native_of(vmctl_vm *vm) {
    char *native = NULL;
    MUST(vmctl_vm_native(vm, NULL, &native, &err));
    return native;
}

/* --- small helpers -------------------------------------------------------------------------------------------- */

int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void sleep_ms(int ms) {
    struct timespec wait = {ms / 1000, ms % 1000 * 1000000L};
    nanosleep(&wait, NULL);
}

void take_note(vmctl_note_level level, const char *note, void *user) {
    (void)level;
    notes *to = user;
    to->count++;
    COPY(to->last, note);
}

const char *scratch_file(const char *name, const void *bytes, size_t length) {
    static char paths[32][256];
    static int next;
    char *path = paths[next++ % 32];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : "/tmp", name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

int run_program(const char *const *argv) {
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    pid_t child;
    int status = -1;
    int rc = posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* --- what is left behind -------------------------------------------------------------------------------------- */

typedef struct lines {
    char **items;
    size_t count;
} lines;

static void add_line(lines *to, const char *kind, const char *name) {
    char **grown = realloc(to->items, (to->count + 1) * sizeof *grown);
    char *item = malloc(strlen(kind) + strlen(name) + 2);
    assert_non_null(grown);
    assert_non_null(item);
    to->items = grown;
    sprintf(item, "%s %s", kind, name);
    to->items[to->count++] = item;
}

static int add_vm(const vmctl_vm_info *info, void *user) {
    add_line(user, "VM", info->name);
    return 0;
}

static int add_image(const vmctl_image *image, void *user) {
    add_line(user, "image", image->path ? image->path : image->name);
    return 0;
}

static void add_files(lines *to, const char *folder, int depth) {
    DIR *dir = opendir(folder);
    if (!dir || depth > 8)
        return;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[1024];
        struct stat info;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (lstat(path, &info) < 0)
            continue;
        if (S_ISDIR(info.st_mode))
            add_files(to, path, depth + 1);
        else if (S_ISREG(info.st_mode) || S_ISLNK(info.st_mode))
            add_line(to, "file", path);
    }
    closedir(dir);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

char *world(void) {
    lines all = {NULL, 0};
    MUST(vmctl_list(conn, NULL, add_vm, &all, &err));
    if (vmctl_image_list(conn, NULL, NULL, add_image, &all, &err) == VMCTL_E_UNSUPPORTED) {
        vmctl_error_free(err); /* an endpoint that keeps no images */
        err = NULL;
    }
    assert_null(err);
    for (const char *const *folder = profile->folders; *folder; folder++) {
        char path[512]; /* $WORLD is where the machine of the tests keeps its own */
        bool inside = strncmp(*folder, "$WORLD", 6) == 0 && getenv("WORLD");
        snprintf(path, sizeof path, "%s%s", inside ? getenv("WORLD") : "", *folder + (inside ? 6 : 0));
        add_files(&all, path, 0);
    }
    char journal[512];
    snprintf(journal, sizeof journal, "%s/.local/state/vmctl", getenv("HOME") ? getenv("HOME") : "/root");
    add_files(&all, journal, 0);
    if (all.count)
        qsort(all.items, all.count, sizeof *all.items, by_text);
    text result = {NULL, 0};
    append("", 0, &result);
    for (size_t i = 0; i < all.count; i++) {
        append(all.items[i], strlen(all.items[i]), &result);
        append("\n", 1, &result);
        free(all.items[i]);
    }
    free(all.items);
    return result.bytes;
}

/* Prints the lines of one text that the other does not have. */
static int print_missing(const char *what, const char *from, const char *in) {
    int count = 0;
    for (const char *at = from; *at;) {
        size_t length = strcspn(at, "\n") + 1;
        char *item = strndup(at, length);
        if (!strstr(in, item)) {
            print_error("%s: %s", what, item);
            count++;
        }
        free(item);
        at += length;
    }
    return count;
}

typedef struct names {
    char names[64][128];
    size_t count;
} names;

static int take_name(const vmctl_vm_info *info, void *user) {
    names *to = user;
    if (to->count < 64)
        COPY(to->names[to->count++], info->name);
    return 0;
}

static int clean_up(const char *before) {
    static names all;
    all.count = 0;
    MUST(vmctl_list(conn, NULL, take_name, &all, &err));
    for (size_t i = 0; i < all.count; i++) {
        char line[160];
        snprintf(line, sizeof line, "VM %s\n", all.names[i]);
        if (strstr(before, line))
            continue;
        vmctl_vm *vm = NULL;
        vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
        options.force = true;
        MUST(vmctl_vm_lookup(conn, all.names[i], NULL, &vm, &err));
        int rc = vmctl_vm_delete(vm, &options, &err);
        vmctl_vm_free(vm);
        MUST(rc);
    }
    char *after = world();
    int differences = print_missing("left behind", after, before) + print_missing("lost", before, after);
    free(after);
    return differences ? -1 : 0;
}

/* For tests/proofs: on what the tests that follow are shown. Versions without their patch level, which changes with every update. */
static int tell_versions(const vmctl_host *host, void *user) {
    (void)user;
    const char *kind = getenv("VMCTL_CONTRACT_KIND"), *api = host->api_version, *version = host->hypervisor_version;
    printf("PROOF: %s\t%s\t%s %.*s, %s %.*s\n", profile->backend, kind ? kind : "real", profile->backend,
           (int)(api ? strcspn(api, ".") + 1 + strcspn(api + strcspn(api, ".") + 1, ".") : 0), api ? api : "",
           host->hypervisor ? host->hypervisor : "",
           (int)(version ? strcspn(version, ".") + 1 + strcspn(version + strcspn(version, ".") + 1, ".") : 0),
           version ? version : "");
    fflush(stdout);
    return 0;
}

static void connect_endpoint(void) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    options.uri = getenv("VMCTL_CONTRACT_CONNECT");
    if (!options.uri)
        options.uri = "qemu:///system";
    if (vmctl_connect(&options, &conn, &err) < 0) {
        fprintf(stderr, "contract: %s\n", vmctl_error_text(err));
        exit(1);
    }
    for (size_t i = 0; i < PROFILES; i++)
        if (strcmp(profiles[i].backend, vmctl_connection_backend(conn)) == 0)
            profile = &profiles[i];
    if (!profile) {
        fprintf(stderr, "contract: no profile for %s\n", vmctl_connection_backend(conn));
        exit(1);
    }
}

/* The first VM brings what stays: the default pool, the default network. */
static int warm_up(void **state) {
    (void)state;
    MUST(vmctl_host_info(conn, NULL, tell_versions, NULL, &err));
    vmctl_vm *vm = make("contract-warm-up", "%s", "networks: [{name: out, type: nat}]");
    start(vm);
    vmctl_delete_options gone = VMCTL_DELETE_OPTIONS_INIT;
    gone.force = true;
    MUST(vmctl_vm_delete(vm, &gone, &err));
    vmctl_vm_free(vm);
    if (chosen && chosen->begin)
        chosen->begin();
    return 0;
}

/* --- what a backend has not ------------------------------------------------------------------------------------- */

typedef struct claim {
    vmctl_level level;
    char reason[512];
} claim;

static int take_claim(const vmctl_cap *cap, void *user) {
    claim *to = user;
    to->level = cap->vmctl;
    COPY(to->reason, cap->vmctl_reason);
    return 0;
}

/* UNKNOWN where it is no feature of vmctl but a name of this suite's. */
static claim claim_of(const char *feature) {
    claim result = {VMCTL_LEVEL_UNKNOWN, ""};
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    options.backend = profile->backend;
    options.feature = feature;
    vmctl_error *ignored = NULL;
    if (vmctl_caps(&options, take_claim, &result, &ignored) < 0)
        result.level = VMCTL_LEVEL_UNKNOWN;
    vmctl_error_free(ignored);
    return result;
}

bool can(const char *feature) {
    for (const contract_mark *refused = profile->refused; refused && refused->what; refused++)
        if (strcmp(refused->what, feature) == 0)
            return false;
    return claim_of(feature).level != VMCTL_LEVEL_NO;
}

void drop_disk(const char *path) {
    if (can("image.delete"))
        MUST(vmctl_image_delete(conn, strrchr(path, '/') ? strrchr(path, '/') + 1 : path, NULL, &err));
    else
        assert_int_equal(unlink(path), 0);
}

static int no_image(const vmctl_image *image, void *user) {
    (void)image;
    (void)user;
    return 0;
}

static int no_metrics(const vmctl_metrics *metrics, void *user) {
    (void)metrics;
    (void)user;
    return 0;
}

static int no_snapshot(const vmctl_snapshot *snapshot, void *user) {
    (void)snapshot;
    (void)user;
    return 0;
}

/* Slots that a backend may leave empty: the feature that says so, and a call that must be refused then. */
static const struct {
    const char *slot, *feature;
} slots[] = {
    {"change", "change.apply"},           {"console_open", "console.serial"}, {"image_list", "image.list"},
    {"image_upload", "image.upload"},     {"image_delete", "image.delete"},   {"snapshot_create", "snapshot.disk"},
    {"snapshot_list", "snapshot.list"},   {"metrics_list", "look.metrics"},   {"screenshot", "display.screenshot"},
    {"send_keys", "display.keys"},        {"clone", "lifecycle.clone"},       {"migrate", "migrate.live"},
    {"image_download", "image.download"},
};

static int call_slot(const char *slot, vmctl_vm *vm) {
    static const char *const keys[] = {"a"};
    vmctl_stream *stream = NULL;
    vmctl_diff *diff = NULL;
    if (strcmp(slot, "console_open") == 0)
        return vmctl_console_open(vm, NULL, &stream, &err);
    if (strcmp(slot, "image_list") == 0)
        return vmctl_image_list(conn, NULL, NULL, no_image, NULL, &err);
    if (strcmp(slot, "image_upload") == 0)
        return vmctl_image_upload(conn, guest_image, NULL, &err);
    if (strcmp(slot, "image_delete") == 0)
        return vmctl_image_delete(conn, "any.img", NULL, &err);
    if (strcmp(slot, "image_download") == 0)
        return vmctl_image_download(conn, "any.img", "/nowhere/any.img", NULL, &err);
    if (strcmp(slot, "snapshot_create") == 0)
        return vmctl_snapshot_create(vm, "one", NULL, &err);
    if (strcmp(slot, "snapshot_list") == 0)
        return vmctl_snapshot_list(vm, NULL, no_snapshot, NULL, &err);
    if (strcmp(slot, "metrics_list") == 0)
        return vmctl_metrics_list(conn, NULL, no_metrics, NULL, &err);
    if (strcmp(slot, "screenshot") == 0)
        return vmctl_screenshot(vm, "/nowhere/shot.png", NULL, &err);
    if (strcmp(slot, "send_keys") == 0)
        return vmctl_send_keys(vm, keys, 1, NULL, &err);
    if (strcmp(slot, "clone") == 0)
        return vmctl_vm_clone(vm, "other", NULL, NULL, &err);
    if (strcmp(slot, "change") == 0) {
        vmctl_spec *have = NULL;
        MUST(vmctl_vm_spec(vm, NULL, &have, &err));
        vmctl_spec *want = vmctl_spec_copy(have);
        MUST(vmctl_spec_set(want, "cpus", "2", &err));
        MUST(vmctl_spec_diff(have, want, NULL, &diff, &err));
        int rc = vmctl_vm_change(vm, diff, NULL, &err);
        vmctl_diff_free(diff);
        vmctl_spec_free(have);
        vmctl_spec_free(want);
        return rc;
    }
    print_error("the suite does not know how to call %s\n", slot);
    fail();
    return 0;
}

/* The first word of `words` that this backend has not; NULL: it has all. */
static const char *lacking(const char *words, bool of_slots, char *out, size_t size) {
    for (const char *at = words; *at; at += strspn(at, " ")) {
        size_t length = strcspn(at, " ");
        snprintf(out, size, "%.*s", (int)length, at);
        at += length;
        if (!of_slots && !can(out))
            return out;
        for (size_t i = 0; of_slots && i < sizeof slots / sizeof slots[0]; i++)
            if (strcmp(slots[i].slot, out) == 0 && !can(slots[i].feature))
                return out;
    }
    return NULL;
}

static const contract_test *test_of(void **state);

/* Runs in the place of a test of what caps says no to: the refusal is complete, in the words of caps, and nothing is changed. */
static void is_refused(void **state) {
    const contract_test *test = test_of(state);
    char word[128];
    claim said = {VMCTL_LEVEL_UNKNOWN, ""};
    if (lacking(test->slots, true, word, sizeof word)) {
        vmctl_vm *vm = make("refused", "%s", "");
        for (size_t i = 0; i < sizeof slots / sizeof slots[0]; i++)
            if (strcmp(slots[i].slot, word) == 0)
                said = claim_of(slots[i].feature);
        FAILS(VMCTL_E_UNSUPPORTED, call_slot(word, vm));
        vmctl_vm_free(vm);
    } else {
        const char *yaml = NULL;
        lacking(test->feature, false, word, sizeof word);
        said = claim_of(word);
        for (const contract_mark *refused = profile->refused; refused && refused->what; refused++)
            if (strcmp(refused->what, word) == 0)
                yaml = refused->text;
        if (!yaml) {
            print_error("the profile of %s has no YAML that shows how %s is refused\n", profile->backend, word);
            fail();
        }
        vmctl_spec *spec = spec_of("refused", "%s", yaml);
        FAILS(VMCTL_E_UNSUPPORTED, vmctl_create(conn, spec, NULL, NULL, &err));
        vmctl_spec_free(spec);
        assert_int_equal(listed("refused"), 0);
    }
    if (said.level == VMCTL_LEVEL_NO) {
        assert_string_not_equal(said.reason, "");
        if (!strstr(failure, said.reason)) {
            print_error("caps says: %s\nthe refusal: %s\n", said.reason, failure);
            fail();
        }
    }
}

static int cool_down(void **state) {
    (void)state;
    if (chosen && chosen->end)
        chosen->end();
    vmctl_connection_free(conn);
    return 0;
}

/* The world before a test, and which one it is. */
typedef struct running {
    char *before;
    const contract_test *test;
} running;

static const contract_test *test_of(void **state) {
    return ((running *)*state)->test;
}

static int before_test(void **state) {
    running *now = calloc(1, sizeof *now);
    now->test = *state;
    now->before = world();
    *state = now;
    return 0;
}

/* The endpoint as it was, but for VMs, which are deleted. */
static int after_test(void **state) {
    running *now = *state;
    int rc = clean_up(now->before);
    free(now->before);
    free(now);
    return rc;
}

/* Decides for every test, once it is known which backend this is. */
static void choose(struct CMUnitTest *tests, const contract_test *const *sources, size_t count) {
    static char titles[256][160];
    for (size_t i = 0; i < count; i++) {
        char word[128];
        if (!lacking(sources[i]->slots, true, word, sizeof word) &&
            !lacking(sources[i]->feature, false, word, sizeof word)) {
            for (const char *const *untried = profile->untried; untried && *untried; untried++)
                if (strcmp(*untried, sources[i]->feature) == 0) {
                    snprintf(titles[i], sizeof titles[0], "untried:%s %s", *untried, sources[i]->name);
                    tests[i].name = titles[i];
                }
            continue;
        }
        /* No proof of the feature: tests/proofs takes those from the titles of tests that passed. */
        snprintf(titles[i], sizeof titles[0], "refused:%s %s", word, sources[i]->name);
        tests[i].name = titles[i];
        tests[i].test_func = is_refused;
    }
}

int main(int argc, char **argv) {
    bool list = argc > 1 && strcmp(argv[1], "--list") == 0;
    const char *group = list ? argv[2] : argv[1];
    static struct CMUnitTest tests[256];
    static const contract_test *sources[256];
    size_t count = 0;
    for (size_t g = 0; g < GROUPS; g++) {
        if (group && strcmp(group, groups[g]->name) != 0)
            continue;
        chosen = group ? groups[g] : NULL;
        for (size_t i = 0; i < groups[g]->count; i++) {
            const contract_test *test = &groups[g]->tests[i];
            static char titles[256][128];
            snprintf(titles[count], sizeof titles[0], "%s %s", test->feature, test->name);
            if (list)
                printf("%s\t%s\t%s\t%s\n", groups[g]->name, test->feature, test->slots, test->name);
            tests[count] = (struct CMUnitTest){titles[count], test->run, before_test, after_test, (void *)test};
            sources[count] = test;
            count++;
        }
    }
    if (list)
        return 0;
    guest_image = getenv("VMCTL_CONTRACT_GUEST");
    if (!guest_image || access(guest_image, R_OK) != 0 || count == 0) {
        fprintf(stderr, "contract: %s\n",
                count ? "VMCTL_CONTRACT_GUEST does not name the guest's image" : "no such group");
        return 1;
    }
    connect_endpoint();
    choose(tests, sources, count);
    if (getenv("VMCTL_CONTRACT_ONLY"))
        cmocka_set_test_filter(getenv("VMCTL_CONTRACT_ONLY"));
    return _cmocka_run_group_tests(group ? group : "contract", tests, count, warm_up, cool_down);
}
