/* Going back to a snapshot, and deleting some. */
#include "snapshot.h"

#include "facts.h"
#include <stdlib.h>
#include <string.h>

/* --- revert ------------------------------------------------------------------------------------------------------ */

static bool is_attached(const vboxmanage_machine *machine, const char *path) {
    for (size_t i = 0; i < machine->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, machine->attachments[i].medium);
        const vboxmanage_medium *base = vboxmanage_base_of(machine, medium);
        if (base && strcmp(base->location, path) == 0)
            return true;
    }
    return false;
}

/* Disks that came later are attached no more, and disks that grew are as small as they were. */
static void tell_differences(const virtualbox_scene *scene, const vboxmanage_machine *after) {
    const vboxmanage_machine *before = scene->machine;
    for (size_t i = 0; i < before->attachment_count; i++) {
        const vboxmanage_attachment *from = &before->attachments[i];
        const vboxmanage_medium *medium = vboxmanage_medium_of(before, from->medium);
        const vboxmanage_medium *base = vboxmanage_base_of(before, medium);
        if (!base || !vmc_str_eq(from->kind, "HardDisk"))
            continue;
        VMC_AUTO_FREE char *place = virtualbox_place(from);
        if (!is_attached(after, base->location))
            vmc_note(scene->deadline, VMCTL_NOTE_WARNING,
                     "disk %s (%s) came after the snapshot: it is attached no more, and stays",
                     virtualbox_marker_name(scene->marker, place, place), base->location);
    }
}

static uint64_t bytes_at(const vboxmanage_machine *machine, const vboxmanage_attachment *list, size_t count,
                         const vboxmanage_attachment *place) {
    for (size_t i = 0; i < count; i++) {
        if (!vmc_str_eq(list[i].controller, place->controller) || list[i].port != place->port ||
            list[i].device != place->device)
            continue;
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, list[i].medium);
        return medium ? virtualbox_image_bytes(machine->manage, medium->location) : 0;
    }
    return 0;
}

/* Before the images of the present state go. */
static void tell_sizes(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot) {
    const vboxmanage_machine *m = scene->machine;
    for (size_t i = 0; i < snapshot->attachment_count; i++) {
        const vboxmanage_attachment *then = &snapshot->attachments[i];
        uint64_t was = bytes_at(m, snapshot->attachments, snapshot->attachment_count, then);
        uint64_t now = bytes_at(m, m->attachments, m->attachment_count, then);
        if (!was || !now || was == now || !vmc_str_eq(then->kind, "HardDisk"))
            continue;
        VMC_AUTO_FREE char *place = virtualbox_place(then);
        VMC_AUTO_FREE char *from = vmc_format_size((long long)now);
        VMC_AUTO_FREE char *to = vmc_format_size((long long)was);
        vmc_note(scene->deadline, VMCTL_NOTE_WARNING, "disk %s goes from %s back to %s",
                 virtualbox_marker_name(scene->marker, place, place), from, to);
    }
}

static bool has_process(vmctl_state state) {
    return state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED || state == VMCTL_STATE_CRASHED;
}

static int restore(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmc_strv_add(&argv, "snapshot");
    vmc_strv_add(&argv, scene->vm->id);
    vmc_strv_add(&argv, "restore");
    vmc_strv_add(&argv, snapshot->id);
    int code = virtualbox_run(scene->conn, scene->vm->id, &argv, "restoring the snapshot", "restoring the snapshot",
                              scene->vm->name, scene->deadline, NULL, err);
    vboxmanage_machine *after = NULL;
    if (code == 0 && virtualbox_load(scene->conn, scene->vm, scene->deadline, &after, NULL) == 0)
        tell_differences(scene, after);
    vboxmanage_machine_free(after);
    return code;
}

/* VirtualBox restores what has no process only, and leaves a snapshot with memory saved: then it is started, unless it was paused or
 * saved when it was taken. */
int virtualbox_snapshot_revert(void *conn, void *vm, const char *name, const vmctl_snapshot_revert_options *options,
                               vmc_journal *journal, vmctl_error **err) {
    (void)journal; /* nothing is made: who is interrupted finds the VM stopped, or reverted */
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    VIRTUALBOX_AUTO_SCENE scene = {0};
    int code = virtualbox_look(conn, vm, &deadline, &scene, err);
    if (code < 0)
        return code;
    const vboxmanage_snapshot *snapshot = virtualbox_snapshot_find(scene.machine, name, err);
    if (!snapshot)
        return err && *err ? vmctl_error_code(*err) : VMCTL_E_NOT_FOUND;
    code = virtualbox_snapshot_check_revert(&scene, snapshot, err);
    if (code < 0)
        return code;
    tell_sizes(&scene, snapshot);
    vmctl_state then = virtualbox_snapshot_state(scene.machine, snapshot);
    if (has_process(scene.state)) {
        code = virtualbox_power_off(conn, vm, &deadline, err);
        code = code < 0 ? code : 0;
    }
    if (code == 0)
        code = restore(&scene, snapshot, err);
    if (code < 0)
        return has_process(scene.state) ? vmc_error_prefix(err, "it was powered off, and is not reverted") : code;
    if (options->start || then == VMCTL_STATE_RUNNING) {
        code = virtualbox_start_up(conn, vm, &deadline, err);
        return code < 0 ? vmc_error_prefix(err, "it is reverted, and does not start") : 0;
    }
    virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, snapshot->state_file ? VMCTL_STATE_SAVED : VMCTL_STATE_STOPPED, NULL);
    if (then == VMCTL_STATE_PAUSED)
        vmc_note(&deadline, VMCTL_NOTE_INFO,
                 "%s was paused then; VirtualBox starts no VM paused, so it is saved: vmctl start %s goes on with it",
                 scene.vm->name, scene.vm->name);
    return 0;
}

/* --- delete ------------------------------------------------------------------------------------------------------ */

typedef struct deletion {
    const virtualbox_scene *scene;
    uint64_t done, total;
} deletion;

static int forget_state(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot, vmctl_error **err) {
    VMC_AUTO_FREE char *key = vmc_printf("%s%s", VIRTUALBOX_SNAPSHOT_STATE, snapshot->id);
    if (!vboxmanage_extra(scene->machine, key))
        return 0;
    return virtualbox_say(scene->conn, scene->vm, "forgetting the snapshot's state", scene->deadline, NULL, err,
                          "setextradata", scene->vm->id, key, NULL);
}

static int delete_one(deletion *d, const vboxmanage_snapshot *snapshot, vmctl_error **err) {
    const virtualbox_scene *scene = d->scene;
    VMC_AUTO_STRV argv = {0};
    VMC_AUTO_FREE char *stage = vmc_printf("merging snapshot %s", snapshot->name);
    vmc_strv_add(&argv, "snapshot");
    vmc_strv_add(&argv, scene->vm->id);
    vmc_strv_add(&argv, "delete");
    vmc_strv_add(&argv, snapshot->id);
    int code = virtualbox_run(scene->conn, scene->vm->id, &argv, "deleting the snapshot", stage, scene->vm->name,
                              scene->deadline, NULL, err);
    if (code == 0)
        code = forget_state(scene, snapshot, err);
    if (code == 0)
        code = vmc_progress(scene->deadline, scene->vm->name, "deleting snapshots", NULL, VMCTL_UNIT_ITEMS, ++d->done,
                            d->total, err);
    if (code < 0 && d->total > 1)
        vmc_error_append(err, "; %llu of %llu are deleted", (unsigned long long)d->done, (unsigned long long)d->total);
    return code;
}

int virtualbox_snapshot_delete(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                               vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    VIRTUALBOX_AUTO_SCENE scene = {0};
    VIRTUALBOX_AUTO_WORLD world = {0};
    int code = virtualbox_look(conn, vm, &deadline, &scene, err);
    if (code < 0)
        return code;
    const vboxmanage_machine *m = scene.machine;
    const vboxmanage_snapshot *snapshot = virtualbox_snapshot_find(m, name, err);
    if (!snapshot)
        return err && *err ? vmctl_error_code(*err) : VMCTL_E_NOT_FOUND;
    code = virtualbox_world_read(conn, &deadline, &world, err);
    if (code == 0)
        code = virtualbox_snapshot_check_delete(&scene, &world, snapshot, options->children, err);
    deletion d = {.scene = &scene, .total = 1};
    for (size_t i = 0; i < m->snapshot_count; i++)
        d.total += options->children && virtualbox_snapshot_descends(m, &m->snapshots[i], snapshot);
    /* Children stand behind their parents: from the end on, each is a leaf when its turn comes. */
    for (size_t i = m->snapshot_count; code == 0 && i-- > 0;)
        if (&m->snapshots[i] == snapshot ||
            (options->children && virtualbox_snapshot_descends(m, &m->snapshots[i], snapshot)))
            code = delete_one(&d, &m->snapshots[i], err);
    return code;
}
