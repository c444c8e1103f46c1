/* Snapshots: looked at, taken, renamed. */
#include "snapshot.h"

#include "facts.h"
#include "guest.h"
#include "migrate.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SHORT_MS = 60000, CLOCK_SLACK_S = 2, TURN_SLICE_MS = 20 };

/* --- the scene ------------------------------------------------------------------------------------------------- */

int virtualbox_look(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, virtualbox_scene *out,
                    vmctl_error **err) {
    *out = (virtualbox_scene){.conn = conn, .vm = vm, .deadline = deadline};
    VBOXMANAGE_AUTO_PROPERTIES info = {0};
    int code = virtualbox_ask_info(conn, vm, deadline, &info, err);
    if (code == 0) {
        const char *word = vboxmanage_property_get(&info, "VMState");
        const char *balloon = vboxmanage_property_get(&info, "GuestMemoryBalloon");
        out->native = vmc_strdup(word ? word : "");
        out->state = virtualbox_state(word, NULL);
        out->additions = virtualbox_additions(&info);
        out->balloon_mib = balloon ? strtoull(balloon, NULL, 10) : 0;
        vboxmanage_usb_attached(&info, &out->usb);
    }
    if (code == 0)
        code = virtualbox_load(conn, vm, deadline, &out->machine, err);
    if (code == 0)
        out->marker = virtualbox_marker_read(out->machine);
    return code;
}

void virtualbox_scene_free(virtualbox_scene *scene) {
    vboxmanage_machine_free(scene->machine);
    free(scene->native);
    vboxmanage_usb_devices_free(&scene->usb);
    cJSON_Delete(scene->marker);
    *scene = (virtualbox_scene){0};
}

/* --- the tree --------------------------------------------------------------------------------------------------- */

static int not_found(const vboxmanage_machine *machine, const char *name, vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    for (size_t i = 0; i < machine->snapshot_count; i++)
        vmc_strv_add(&names, machine->snapshots[i].name);
    const char *near = names.count ? vmc_nearest(name, (const char *const *)names.items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no snapshot %s", machine->name, name);
    return near ? vmc_error_next(err, "did you mean %s?", near)
                : vmc_error_next(err, "vmctl snapshot list %s shows those that are there", machine->name);
}

const vboxmanage_snapshot *virtualbox_snapshot_find(const vboxmanage_machine *machine, const char *name,
                                                    vmctl_error **err) {
    const vboxmanage_snapshot *found = NULL;
    VMC_AUTO_STRV ids = {0};
    for (size_t i = 0; i < machine->snapshot_count; i++) {
        if (strcmp(machine->snapshots[i].name, name) != 0)
            continue;
        found = &machine->snapshots[i];
        vmc_strv_add(&ids, found->id);
    }
    if (!found && vboxmanage_is_uuid(name, false))
        found = vboxmanage_snapshot_of(machine, name);
    if (ids.count > 1) {
        VMC_AUTO_FREE char *list = vmc_strv_join(&ids, ", ");
        vmc_error(err, VMCTL_E_AMBIGUOUS, "%zu snapshots of %s are named %s: %s", ids.count, machine->name, name, list);
        vmc_error_next(err, "name one by its id");
        return NULL;
    }
    if (!found)
        not_found(machine, name, err);
    return found;
}

vmctl_state virtualbox_snapshot_state(const vboxmanage_machine *machine, const vboxmanage_snapshot *snapshot) {
    if (!snapshot->state_file)
        return VMCTL_STATE_STOPPED;
    VMC_AUTO_FREE char *key = vmc_printf("%s%s", VIRTUALBOX_SNAPSHOT_STATE, snapshot->id);
    const char *noted = vboxmanage_extra(machine, key);
    return vmc_str_eq(noted, "paused")  ? VMCTL_STATE_PAUSED
           : vmc_str_eq(noted, "saved") ? VMCTL_STATE_SAVED
                                        : VMCTL_STATE_RUNNING;
}

bool virtualbox_snapshot_descends(const vboxmanage_machine *machine, const vboxmanage_snapshot *from,
                                  const vboxmanage_snapshot *ancestor) {
    /* Parents stand before their children, so this ends. */
    while (*from->parent) {
        const vboxmanage_snapshot *parent = vboxmanage_snapshot_of(machine, from->parent);
        if (!parent || parent >= from)
            return false;
        if (parent == ancestor)
            return true;
        from = parent;
    }
    return false;
}

static uint64_t file_bytes(const vboxmanage *manage, const char *path) {
    vboxmanage_file file;
    return path && vboxmanage_file_look(manage, path, true, NULL, &file, NULL) == 0 ? file.allocated_bytes : 0;
}

/* Its memory, and the differencing images that began with the one before it and were kept as they are by it. */
static uint64_t bytes_of(const vboxmanage_machine *machine, const vboxmanage_snapshot *snapshot) {
    uint64_t bytes = file_bytes(machine->manage, snapshot->state_file);
    for (size_t i = 0; i < snapshot->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, snapshot->attachments[i].medium);
        if (medium && *medium->parent)
            bytes += file_bytes(machine->manage, medium->location);
    }
    return bytes;
}

static int tell(const vboxmanage_machine *machine, const cJSON *marker, const vboxmanage_snapshot *from,
                vmctl_snapshot_fn each, void *user) {
    const vboxmanage_snapshot *parent = *from->parent ? vboxmanage_snapshot_of(machine, from->parent) : NULL;
    VMC_AUTO_STRV excluded = {0};
    for (size_t i = 0; i < from->attachment_count; i++) {
        if (!virtualbox_snapshot_leaves(machine, &from->attachments[i]))
            continue;
        VMC_AUTO_FREE char *place = virtualbox_place(&from->attachments[i]);
        vmc_strv_add(&excluded, virtualbox_marker_name(marker, place, place));
    }
    const vmctl_snapshot told = {
        .size = sizeof told,
        .name = from->name,
        .id = from->id,
        .parent = parent ? parent->name : NULL,
        .description = from->description && *from->description ? from->description : NULL,
        .created = from->created,
        .state = virtualbox_snapshot_state(machine, from),
        .memory = from->state_file != NULL,
        .current = strcasecmp(machine->snapshot, from->id) == 0,
        .quiesced = 0,
        .external = true,
        .bytes = bytes_of(machine, from),
        .excluded = excluded.count ? (const char *const *)excluded.items : NULL,
    };
    return each(&told, user);
}

int virtualbox_snapshot_list(void *conn, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                             vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, SHORT_MS);
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(conn, vm, &deadline, &machine, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *marker = virtualbox_marker_read(machine);
    for (size_t i = 0; i < machine->snapshot_count; i++)
        if (tell(machine, marker, &machine->snapshots[i], each, user) != 0)
            break;
    vboxmanage_machine_free(machine);
    return 0;
}

/* --- taking ------------------------------------------------------------------------------------------------------ */

static void tell_left_out(const virtualbox_scene *scene) {
    const vboxmanage_machine *m = scene->machine;
    for (size_t i = 0; i < m->attachment_count; i++) {
        if (!virtualbox_snapshot_leaves(m, &m->attachments[i]))
            continue;
        VMC_AUTO_FREE char *place = virtualbox_place(&m->attachments[i]);
        vmc_note(scene->deadline, VMCTL_NOTE_WARNING, "the snapshot leaves out disk %s, which is %s",
                 virtualbox_marker_name(scene->marker, place, place), "not one of this VM alone or not to be written");
    }
}

static int note_state(const virtualbox_scene *scene, const vboxmanage_snapshot *taken, vmctl_error **err) {
    if (scene->state != VMCTL_STATE_PAUSED && scene->state != VMCTL_STATE_SAVED)
        return 0;
    VMC_AUTO_FREE char *key = vmc_printf("%s%s", VIRTUALBOX_SNAPSHOT_STATE, taken->id);
    return virtualbox_say(scene->conn, scene->vm, "noting the VM's state", scene->deadline, NULL, err, "setextradata",
                          scene->vm->id, key, vmctl_state_name(scene->state), NULL);
}

static int take(const virtualbox_scene *scene, const char *name, const vmctl_snapshot_create_options *options,
                char **id, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    VMC_AUTO_FREE char *printed = NULL;
    vmc_strv_add(&argv, "snapshot");
    vmc_strv_add(&argv, scene->vm->id);
    vmc_strv_add(&argv, "take");
    vmc_strv_add(&argv, name);
    if (options->description && *options->description)
        vmc_strv_printf(&argv, "--description=%s", options->description);
    if (scene->state == VMCTL_STATE_RUNNING)
        vmc_strv_add(&argv, "--live");
    int code = virtualbox_run(scene->conn, scene->vm->id, &argv, "taking the snapshot", "taking the snapshot",
                              scene->vm->name, scene->deadline, &printed, err);
    if (code == 0)
        *id = vboxmanage_parse_labelled(printed, "Snapshot taken. UUID:");
    return code;
}

/* Snapshots of one VM are taken one after the other, whoever takes them: of several VBoxManage that take at once, VBoxSVC (7.2) now and then keeps
 * a VM that it can do nothing with any more ("The object functionality is limited"). The lock is on the VM's folder; *waited: somebody had it. */
static int wait_turn(const virtualbox_scene *scene, int *folder, bool *waited, vmctl_error **err) {
    if (scene->conn->manage->host || !scene->machine->folder)
        return 0;
    *folder = open(scene->machine->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (*folder >= 0 && flock(*folder, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        *waited = true;
        int code =
            vmc_deadline_poll(scene->deadline, -1, 0, TURN_SLICE_MS, "waiting for another snapshot of the VM", err);
        if (code < 0)
            return code;
    }
    return 0;
}

int virtualbox_snapshot_create(void *conn, void *vm, const char *name, const vmctl_snapshot_create_options *options,
                               vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    VIRTUALBOX_AUTO_SCENE scene = {0};
    VMC_AUTO_CLOSE int folder = -1;
    bool waited = false;
    int code = virtualbox_look(conn, vm, &deadline, &scene, err);
    if (code == 0)
        code = wait_turn(&scene, &folder, &waited, err);
    if (code == 0 && waited) {
        virtualbox_scene_free(&scene);
        code = virtualbox_look(conn, vm, &deadline, &scene, err);
    }
    if (code == 0)
        code = virtualbox_snapshot_check_name(&scene, name, err);
    if (code == 0)
        code = virtualbox_snapshot_check_create(&scene, options->memory, err);
    if (code != 0)
        return code;
    tell_left_out(&scene);
    VMC_AUTO_FREE char *detail = vmc_printf("%s %lld %s", scene.vm->id, (long long)time(NULL), name);
    VMC_AUTO_FREE char *id = NULL;
    size_t noted = 0;
    code = vmc_journal_add(journal, "snapshot", detail, &noted, err);
    if (code == 0) {
        code = take(&scene, name, options, &id, err);
        if (code < 0 && !vmc_outcome_unknown(code)) /* refused: what came of that name meanwhile is somebody else's */
            vmc_journal_drop(journal, noted, NULL);
    }
    if (code == 0 && id) { /* from here on it is known which one is ours */
        VMC_AUTO_FREE char *ours = vmc_printf("%s %s", scene.vm->id, id);
        code = vmc_journal_add(journal, "snapshot-id", ours, NULL, err);
        if (code == 0)
            code = vmc_journal_drop(journal, noted, err);
    }
    vboxmanage_machine *after = NULL;
    if (code == 0)
        code = virtualbox_load(conn, vm, &deadline, &after, err);
    const vboxmanage_snapshot *taken = code == 0 && id ? vboxmanage_snapshot_of(after, id) : NULL;
    if (code == 0 && !taken)
        code = vmc_error(err, VMCTL_E_INTERNAL, "VirtualBox took the snapshot and does not show it");
    if (code == 0)
        code = note_state(&scene, taken, err);
    if (code == 0 && options->made) {
        vboxmanage_machine_free(after); /* with the note */
        after = NULL;
        code = virtualbox_load(conn, vm, &deadline, &after, err);
        taken = code == 0 ? vboxmanage_snapshot_of(after, id) : NULL;
        if (taken)
            tell(after, scene.marker, taken, options->made, options->user);
    }
    vboxmanage_machine_free(after);
    return code;
}

int virtualbox_snapshot_rename(void *conn, void *vm, const char *name, const char *new_name, const vmctl_call *call,
                               vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, SHORT_MS);
    virtualbox_scene scene = {.conn = conn, .vm = vm, .deadline = &deadline};
    int code = virtualbox_load(conn, vm, &deadline, &scene.machine, err);
    const vboxmanage_snapshot *snapshot = code == 0 ? virtualbox_snapshot_find(scene.machine, name, err) : NULL;
    if (code == 0 && !snapshot)
        code = err && *err ? vmctl_error_code(*err) : VMCTL_E_NOT_FOUND;
    if (code == 0 && snapshot && strcmp(snapshot->name, new_name) != 0) {
        code = virtualbox_snapshot_check_name(&scene, new_name, err);
        VMC_AUTO_FREE char *option = vmc_printf("--name=%s", new_name);
        if (code == 0)
            code = virtualbox_say(conn, vm, "renaming the snapshot", &deadline, NULL, err, "snapshot", scene.vm->id,
                                  "edit", snapshot->id, option, NULL);
    }
    virtualbox_scene_free(&scene);
    return code;
}

/* --- undo ---------------------------------------------------------------------------------------------------------- */

/* Deletes the snapshot with that id, or (NULL) those of that name which were taken since then. VBoxManage ends at once when it is killed, and
 * VirtualBox goes on: its work is waited for, then taken back. */
static int take_back(virtualbox_conn *conn, virtualbox_vm *vm, const char *id, const char *name, long long since,
                     const vmc_deadline *deadline, vmctl_error **err) {
    vmctl_error *why = NULL;
    vboxmanage_machine *machine = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = virtualbox_wait_idle(conn, vm, deadline, &state, NULL, &why);
    if (code == 0)
        code = virtualbox_load(conn, vm, deadline, &machine, &why);
    for (size_t i = 0; code == 0 && i < machine->snapshot_count; i++) {
        const vboxmanage_snapshot *snapshot = &machine->snapshots[i];
        bool ours = id ? strcasecmp(snapshot->id, id) == 0
                       : strcmp(snapshot->name, name) == 0 && snapshot->created + CLOCK_SLACK_S >= since;
        if (ours)
            code = virtualbox_say(conn, vm, "deleting the snapshot", deadline, NULL, &why, "snapshot", vm->id, "delete",
                                  snapshot->id, NULL);
    }
    vboxmanage_machine_free(machine);
    if (code == VMCTL_E_NOT_FOUND) { /* the VM is gone, and its snapshots with it */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int virtualbox_snapshot_undo_id(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                                vmctl_error **err) {
    if (!vboxmanage_is_uuid(detail, true) || detail[36] != ' ' || !vboxmanage_is_uuid(detail + 37, false))
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"snapshot-id %s\" cannot be read", detail);
    virtualbox_vm vm = {.name = (char *)detail + 37};
    memcpy(vm.id, detail, 36);
    return take_back(conn, &vm, detail + 37, NULL, 0, deadline, err);
}

int virtualbox_snapshot_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                             vmctl_error **err) {
    char *name = NULL;
    long long since = vboxmanage_is_uuid(detail, true) && detail[36] == ' ' ? strtoll(detail + 37, &name, 10) : -1;
    if (since < 0 || !name || *name != ' ')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"snapshot %s\" cannot be read", detail);
    name++;
    virtualbox_vm vm = {.name = name};
    memcpy(vm.id, detail, 36);
    return take_back(conn, &vm, NULL, name, since, deadline, err);
}
