/* What stands in the way of a snapshot, of going back to one, and of deleting one. */
#include "snapshot.h"

#include "facts.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int virtualbox_check_idle(const virtualbox_scene *scene, vmctl_error **err) {
    const char *reason = NULL;
    virtualbox_state(scene->native, &reason);
    bool works = scene->state == VMCTL_STATE_STARTING || scene->state == VMCTL_STATE_STOPPING ||
                 scene->state == VMCTL_STATE_MIGRATING || vmc_str_eq(reason, "a snapshot is taken") ||
                 vmc_str_eq(reason, "a snapshot is merged") || vmc_str_eq(reason, "a snapshot is restored");
    if (!works)
        return 0;
    vmc_error(err, VMCTL_E_BUSY, "%s is %s%s%s", scene->vm->name, vmctl_state_name(scene->state), reason ? ": " : "",
              reason ? reason : "");
    vmc_error_retryable(err);
    return vmc_error_next(err, "wait until that is done: vmctl get %s", scene->vm->name);
}

bool virtualbox_snapshot_leaves(const vboxmanage_machine *machine, const vboxmanage_attachment *attachment) {
    const vboxmanage_medium *base = vboxmanage_base_of(machine, vboxmanage_medium_of(machine, attachment->medium));
    return vmc_str_eq(attachment->kind, "HardDisk") && base &&
           (vmc_str_eq(base->type, "Shareable") || vmc_str_eq(base->type, "Writethrough") ||
            vmc_str_eq(base->type, "Readonly"));
}

static const char *type_of(const vboxmanage_machine *machine, const vboxmanage_attachment *attachment) {
    const vboxmanage_medium *base = vboxmanage_base_of(machine, vboxmanage_medium_of(machine, attachment->medium));
    return base && vmc_str_eq(base->type, "Shareable") ? "shared with other VMs" : "written through";
}

/* The first disk that a snapshot would leave out and that is written to; NULL: there is none. */
static const vboxmanage_attachment *left_out(const vboxmanage_machine *machine, const vboxmanage_attachment *list,
                                             size_t count) {
    for (size_t i = 0; i < count; i++) {
        const vboxmanage_medium *base = vboxmanage_base_of(machine, vboxmanage_medium_of(machine, list[i].medium));
        if (base && virtualbox_snapshot_leaves(machine, &list[i]) && !vmc_str_eq(base->type, "Readonly"))
            return &list[i];
    }
    return NULL;
}

int virtualbox_snapshot_check_name(const virtualbox_scene *scene, const char *name, vmctl_error **err) {
    for (size_t i = 0; i < scene->machine->snapshot_count; i++) {
        if (strcmp(scene->machine->snapshots[i].name, name) != 0)
            continue;
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a snapshot %s already", scene->vm->name, name);
        return vmc_error_next(err, "choose another name, or delete that one: vmctl snapshot delete %s %s",
                              scene->vm->name, name);
    }
    return 0;
}

int virtualbox_snapshot_check_create(const virtualbox_scene *scene, vmctl_snapshot_memory memory, vmctl_error **err) {
    const vboxmanage_machine *m = scene->machine;
    int code = virtualbox_check_idle(scene, err);
    if (code < 0)
        return code;
    bool active = scene->state == VMCTL_STATE_RUNNING || scene->state == VMCTL_STATE_PAUSED;
    if (scene->state == VMCTL_STATE_CRASHED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is crashed", scene->vm->name);
        return vmc_error_next(err, "vmctl stop --force %s", scene->vm->name);
    }
    if (memory == VMCTL_MEMORY_WITH && scene->state == VMCTL_STATE_STOPPED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is stopped and has no memory to take", scene->vm->name);
        return vmc_error_next(err, "vmctl start %s, or leave --memory out", scene->vm->name);
    }
    if (memory == VMCTL_MEMORY_WITHOUT && scene->state != VMCTL_STATE_STOPPED) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "VirtualBox takes the memory of a VM that is %s with its disks",
                  vmctl_state_name(scene->state));
        return vmc_error_next(err, "leave --no-memory out, or stop %s first", scene->vm->name);
    }
    const vboxmanage_attachment *out = left_out(m, m->attachments, m->attachment_count);
    if (out && (active || scene->state == VMCTL_STATE_SAVED)) {
        VMC_AUTO_FREE char *place = virtualbox_place(out);
        vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED,
                  "disk %s is %s, so that no snapshot has it: its memory would come back to a disk that went on",
                  virtualbox_marker_name(scene->marker, place, place), type_of(m, out));
        return vmc_error_next(err, "stop %s first: a snapshot without memory leaves that disk out", scene->vm->name);
    }
    return 0;
}

static int check_file(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot, const char *path,
                      vmctl_error **err) {
    int code = vboxmanage_file_readable(scene->conn->manage, path, scene->deadline, err);
    if (code == 0)
        return 0;
    vmc_error_prefix(err, "snapshot %s needs %s", snapshot->name, path);
    return vmc_error_next(err, "put the file back where it was");
}

int virtualbox_snapshot_check_revert(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot,
                                     vmctl_error **err) {
    const vboxmanage_machine *m = scene->machine;
    int code = virtualbox_check_idle(scene, err);
    if (code == 0 && snapshot->state_file)
        code = check_file(scene, snapshot, snapshot->state_file, err);
    for (size_t i = 0; code == 0 && i < snapshot->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(m, snapshot->attachments[i].medium);
        while (code == 0 && medium && vmc_str_eq(snapshot->attachments[i].kind, "HardDisk")) {
            code = check_file(scene, snapshot, medium->location, err);
            medium = *medium->parent ? vboxmanage_medium_of(m, medium->parent) : NULL;
        }
    }
    const vboxmanage_attachment *out =
        snapshot->state_file ? left_out(m, snapshot->attachments, snapshot->attachment_count) : NULL;
    if (code == 0 && out) {
        VMC_AUTO_FREE char *place = virtualbox_place(out);
        vmc_error(
            err, VMCTL_E_DATA_LOSS_PREVENTED,
            "disk %s is %s, so that snapshot %s has not got it: its memory would come back to a disk that went on",
            virtualbox_marker_name(scene->marker, place, place), type_of(m, out), snapshot->name);
        code =
            vmc_error_next(err, "VBoxManage snapshot %s restore %s does it all the same", scene->vm->id, snapshot->id);
    }
    return code;
}

/* --- deleting ------------------------------------------------------------------------------------------------------ */

static size_t children_of(const vboxmanage_machine *machine, const char *id) {
    size_t count = 0;
    for (size_t i = 0; i < machine->snapshot_count; i++)
        count += strcmp(machine->snapshots[i].parent, id) == 0;
    return count;
}

static int check_clones(const virtualbox_scene *scene, const virtualbox_world *world,
                        const vboxmanage_snapshot *snapshot, vmctl_error **err) {
    for (size_t i = 0; i < snapshot->attachment_count; i++) {
        bool itself = false;
        const char *medium = snapshot->attachments[i].medium;
        if (!*medium || !vmc_str_eq(snapshot->attachments[i].kind, "HardDisk") ||
            virtualbox_snapshot_leaves(scene->machine, &snapshot->attachments[i]))
            continue;
        const vboxmanage_machine *user = virtualbox_world_user(world, scene->vm->id, medium, &itself);
        if (!user)
            continue;
        vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "%s is a linked clone that stands on snapshot %s of %s", user->name,
                  snapshot->name, scene->vm->name);
        return vmc_error_next(err, "delete %s first", user->name);
    }
    return 0;
}

int virtualbox_snapshot_check_delete(const virtualbox_scene *scene, const virtualbox_world *world,
                                     const vboxmanage_snapshot *snapshot, bool children, vmctl_error **err) {
    const vboxmanage_machine *m = scene->machine;
    int code = virtualbox_check_idle(scene, err);
    for (size_t i = 0; code == 0 && i < m->snapshot_count; i++)
        if (&m->snapshots[i] == snapshot || (children && virtualbox_snapshot_descends(m, &m->snapshots[i], snapshot)))
            code = check_clones(scene, world, &m->snapshots[i], err);
    size_t stand = children_of(m, snapshot->id);
    bool present = strcasecmp(m->snapshot, snapshot->id) == 0;
    if (code < 0 || children || stand + present < 2)
        return code;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%zu snapshots%s stand on %s, and VirtualBox merges it into one only", stand,
              present ? " and the present state" : "", snapshot->name);
    return vmc_error_next(err, "delete those first, or all of them: vmctl snapshot delete %s %s --children",
                          scene->vm->name, snapshot->name);
}
