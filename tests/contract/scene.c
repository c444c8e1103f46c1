/* scene.c - what every test makes and looks at: specs and VMs, their facts, what the guest prints, changes. */
#include "contract.h"
#include "frame.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

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

const seen_device *device_or_null(const seen *facts, const char *name) {
    for (size_t i = 0; i < facts->device_count; i++)
        if (strcmp(facts->devices[i].name, name) == 0)
            return &facts->devices[i];
    return NULL;
}

const seen_device *device(const seen *facts, const char *name) {
    const seen_device *found = device_or_null(facts, name);
    if (found)
        return found;
    print_error("no device \"%s\" among %zu:", name, facts->device_count);
    for (size_t i = 0; i < facts->device_count; i++)
        print_error(" %s", facts->devices[i].name);
    print_error("\n");
    fail();
    return NULL;
}

void is_there(vmctl_vm *vm, const char *name) {
    seen facts;
    look(vm, &facts);
    assert_false(device(&facts, name)->pending);
    assert_false(device(&facts, name)->leaving);
    assert_int_equal(facts.restart_required, 0);
}

int attach_call(vmctl_vm *vm, const char *list, const char *item, bool live, vmctl_effect *effect,
                const vmctl_call *call) {
    vmctl_spec *spec = vmctl_spec_new();
    char path[64];
    snprintf(path, sizeof path, "%s[0]", list);
    MUST(vmctl_spec_set(spec, path, item, &err));
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.live = live;
    options.call = call;
    int rc = vmctl_device_attach(vm, list, vmctl_node_get(vmctl_spec_root(spec), path), &options, effect, &err);
    vmctl_spec_free(spec);
    return rc;
}

int attach(vmctl_vm *vm, const char *list, const char *item, bool live, vmctl_effect *effect) {
    return attach_call(vm, list, item, live, effect, NULL);
}

int detach(vmctl_vm *vm, const char *name, bool live, vmctl_effect *effect) {
    vmctl_attach_options options = VMCTL_ATTACH_OPTIONS_INIT;
    options.live = live;
    return vmctl_device_detach(vm, name, &options, effect, &err);
}

const char *disc(const char *name) {
    static char bytes[64 * 1024];
    memcpy(bytes + 16 * 2048, "\1CD001\1", 8); /* ECMA-119, 8.4: the primary volume descriptor */
    return scratch_file(name, bytes, sizeof bytes);
}

vmctl_state state_of(vmctl_vm *vm) {
    static seen facts;
    look(vm, &facts);
    return facts.state;
}

vmctl_state state_after(vmctl_vm *vm, vmctl_state wanted) {
    int64_t until = now_ms() + (profile->state_lags ? PATIENCE_MS : 0);
    vmctl_state state = state_of(vm);
    while (state != wanted && now_ms() < until) {
        sleep_ms(50);
        state = state_of(vm);
    }
    return state;
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

int append(const void *bytes, size_t length, void *user) {
    growing *to = user;
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
    growing log = {NULL, 0};
    MUST(vmctl_serial_log(vm, NULL, append, &log, &err));
    printed result = {0, 0, 0};
    for (char *at = log.bytes; at && (at = strstr(at, "vmctl guest: ")); at++) {
        int line = 0, end = 0;
        if (strncmp(at, "vmctl guest: it boots", 21) == 0) {
            result.boots++;
            result.first = result.line = 0;
        } else if (sscanf(at, "vmctl guest: line %d%n", &line, &end) == 1 && at[end] == '\r') {
            result.line = line;
            result.first = result.first ? result.first : line;
        }
    }
    free(log.bytes);
    return result;
}

printed wait_line(vmctl_vm *vm, int line) {
    int64_t until = now_ms() + PATIENCE_MS;
    printed last = printed_by(vm);
    while (last.line < line && now_ms() < until) {
        sleep_ms(50);
        last = printed_by(vm);
    }
    if (last.line < line) {
        print_error("the guest printed line %d of %d (%d boots)\n", last.line, line, last.boots);
        fail();
    }
    return last;
}

printed wait_quiet(vmctl_vm *vm) {
    int64_t until = now_ms() + PATIENCE_MS;
    printed before, last = printed_by(vm);
    do {
        before = last;
        sleep_ms(200);
        last = printed_by(vm);
    } while ((before.line != last.line || before.boots != last.boots) && now_ms() < until);
    return last;
}

printed wait_boots(vmctl_vm *vm, int boots) {
    int64_t until = now_ms() + PATIENCE_MS;
    printed last = printed_by(vm);
    while (last.boots < boots && now_ms() < until) {
        sleep_ms(50);
        last = printed_by(vm);
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

/* Of a cluster's object: what is wanted; its status and versions are written by others, some moments later. */
static void keep_what_is_wanted(char *native) {
    char *spec = strstr(native, "\n\t\"spec\":");
    assert_non_null(spec);
    char *end = strstr(spec, "\n\t\"status\":");
    if (!end)
        end = spec + strlen(spec);
    while (strchr(",}\n", end[-1]))
        end--;
    *end = '\0';
    memmove(native, spec, strlen(spec) + 1);
}

char *native_of(vmctl_vm *vm) {
    char *native = NULL;
    MUST(vmctl_vm_native(vm, NULL, &native, &err));
    if (profile->cluster)
        keep_what_is_wanted(native);
    return native;
}

/* Where disks are no files, one that is a VM's is in use under its name: so another of that name cannot be made. */
bool data_is_there(const char *source) {
    struct stat info;
    if (!profile->cluster)
        return stat(source, &info) == 0;
    vmctl_image_upload_options options = VMCTL_IMAGE_UPLOAD_OPTIONS_INIT;
    options.name = source;
    int rc = vmctl_image_upload(conn, guest_image, &options, &err);
    FAILS(VMCTL_E_ALREADY_EXISTS, rc);
    return true;
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

static void take_note(vmctl_note_level level, const char *note, void *user) {
    (void)level;
    notes *to = user;
    to->count++;
    COPY(to->last, note);
}

vmctl_call call_noting(notes *heard) {
    vmctl_call call = VMCTL_CALL_INIT;
    call.note = take_note;
    call.user = heard;
    return call;
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
