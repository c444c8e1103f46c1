/* Deleting a VM. VirtualBox's own --delete takes every disk that is attached, whoever made it, and leaves a base whose linked clones
 * hang on it half deleted: so what stays is detached first, and what others stand on is refused. */
#include "facts.h"
#include "media.h"
#include "plan.h"
#include "snapshot.h"

#include "backends/shared/removal.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REMOVE_MS = 300000 };

typedef struct removal {
    virtualbox_conn *conn;
    virtualbox_vm *vm;
    const vmctl_delete_options *options;
    const vmc_deadline *deadline;
    vboxmanage_machine *machine;
    cJSON *marker;
    virtualbox_world world;
    vmc_strv going;   /* disks that VirtualBox will delete */
    vmc_strv staying; /* disks that are attached and stay */
} removal;

static void tell(const removal *r, const char *what, const char *name) {
    if (r->options->removed)
        r->options->removed(what, name, r->options->user);
}

/* --- disks -------------------------------------------------------------------------------------------------------- */

static int detach(const removal *r, const vboxmanage_attachment *from, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmc_strv_add(&argv, "storageattach");
    vmc_strv_add(&argv, r->vm->id);
    vmc_strv_add(&argv, "--storagectl");
    vmc_strv_add(&argv, from->controller);
    vmc_strv_printf(&argv, "--port=%u", from->port);
    vmc_strv_printf(&argv, "--device=%u", from->device);
    vmc_strv_add(&argv, "--medium");
    vmc_strv_add(&argv, "none");
    return virtualbox_run(r->conn, r->vm->id, &argv, "detaching a disk that stays", NULL, r->vm->name, r->deadline,
                          NULL, err);
}

static int refuse_kept(const removal *r, const char *path, vmctl_error **err) {
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s stays, and %s has snapshots whose disks stand on it", path, r->vm->name);
    return vmc_error_next(err, "delete the snapshots of %s first", r->vm->name);
}

static int refuse_clone(const removal *r, const vboxmanage_machine *clone, vmctl_error **err) {
    vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "%s is a linked clone of %s and would lose its disk", clone->name,
              r->vm->name);
    return vmc_error_next(err, "delete %s first", clone->name);
}

static int decide(removal *r, const vboxmanage_attachment *from, bool *stays, vmctl_error **err) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(r->machine, from->medium);
    const vboxmanage_medium *base = vboxmanage_base_of(r->machine, medium);
    *stays = true; /* what is not known is left alone */
    if (!base)
        return 0;
    bool linked = virtualbox_medium_linked(r->marker, r->machine, medium);
    bool own = virtualbox_medium_own(r->marker, r->machine, medium);
    /* What a linked clone has beyond its original is worth nothing without the VM. */
    *stays = !linked &&
             (r->options->disks == VMCTL_DELETE_KEEP_DISKS || (!own && r->options->disks != VMCTL_DELETE_ALL_DISKS));
    /* A linked clone's clones stand on its own images, not on the base that it shares with its original. */
    bool itself = false;
    const char *lowest = linked ? virtualbox_lowest_inside(r->machine, medium)->id : base->id;
    const vboxmanage_machine *user = virtualbox_world_user(&r->world, r->vm->id, lowest, &itself);
    if (user && !itself)
        return refuse_clone(r, user, err);
    if (user && !*stays) {
        vmc_note(r->deadline, VMCTL_NOTE_WARNING, "disk %s stays: %s uses it too", base->location, user->name);
        *stays = true;
    }
    if (*stays)
        vmc_strv_add(&r->staying, base->location);
    if (*stays && medium != base)
        return refuse_kept(r, base->location, err);
    if (!*stays)
        vmc_strv_add(&r->going, linked ? medium->location : base->location);
    return 0;
}

/* All decisions before the first change. */
static int prepare_disks(removal *r, vmctl_error **err) {
    const vboxmanage_machine *m = r->machine;
    VMC_AUTO_FREE bool *stays = vmc_alloc((m->attachment_count + 1) * sizeof *stays);
    int code = 0;
    for (size_t i = 0; code == 0 && i < m->attachment_count; i++)
        if (vmc_str_eq(m->attachments[i].kind, "HardDisk"))
            code = decide(r, &m->attachments[i], &stays[i], err);
    for (size_t i = 0; code == 0 && i < m->attachment_count; i++)
        if (stays[i])
            code = detach(r, &m->attachments[i], err);
    return code;
}

/* --- the rest of what was made for it ------------------------------------------------------------------------------ */

static int remove_file(const removal *r, const char *what, const char *path, vmctl_error **err) {
    int code = vboxmanage_file_remove(r->conn->manage, path, r->deadline, err);
    if (code == 0)
        tell(r, what, path);
    if (code >= 0)
        return 0;
    vmc_error_prefix(err, "the VM is kept");
    return vmc_error_next(err, "remove the cause and delete %s again", r->vm->name);
}

static bool is_disk(const char *name) {
    return vmc_ends_with(name, ".vdi") || vmc_ends_with(name, ".vmdk") || vmc_ends_with(name, ".vhd");
}

/* Own disks that are attached no more, since the VM went back to a snapshot: VirtualBox leaves them. */
static int remove_detached(removal *r, vmctl_error **err) {
    const cJSON *file;
    int code = 0;
    if (r->options->disks == VMCTL_DELETE_KEEP_DISKS)
        return 0;
    cJSON_ArrayForEach(file, vmc_json_key(r->marker, "files")) {
        if (code < 0 || !cJSON_IsString(file) || !is_disk(file->valuestring))
            continue;
        VMC_AUTO_FREE char *path = vmc_path_absolute(r->machine->folder, file->valuestring);
        bool used = vmc_strv_has(&r->staying, path);
        for (size_t i = 0; !used && i < r->world.count; i++)
            for (size_t m = 0; !used && m < r->world.machines[i]->medium_count; m++)
                used = strcasecmp(r->world.machines[i]->id, r->vm->id) != 0 &&
                       strcmp(r->world.machines[i]->media[m].location, path) == 0;
        if (!used)
            code = remove_file(r, "disk", path, err);
    }
    return code;
}

/* Seeds, links to media, logs: nobody's data. */
static int remove_files(removal *r, vmctl_error **err) {
    int code = 0;
    const cJSON *file;
    cJSON_ArrayForEach(file, vmc_json_key(r->marker, "files")) {
        if (code < 0 || !cJSON_IsString(file))
            continue;
        VMC_AUTO_FREE char *path = vmc_path_absolute(r->machine->folder, file->valuestring);
        if (!is_disk(path))
            code = remove_file(r, "file", path, err);
    }
    VMC_AUTO_FREE char *log = virtualbox_serial_log_path(r->machine);
    if (code == 0 && r->machine->serial_path && virtualbox_marker_is_made(r->marker))
        code = remove_file(r, "log", r->machine->serial_path, err);
    if (code == 0 && log && virtualbox_marker_is_made(r->marker)) {
        VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(log);
        VMC_AUTO_FREE char *socket = virtualbox_serial_console_path(log);
        code = remove_file(r, "log", log, err);
        if (code == 0)
            code = remove_file(r, "log", earlier, err);
        if (code == 0)
            code = remove_file(r, "file", socket, err);
    }
    return code;
}

static int power_off(const removal *r, vmctl_error **err) {
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = virtualbox_ask_state(r->conn, r->vm, r->deadline, &state, NULL, err);
    if (code < 0 || state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_SAVED)
        return code;
    code = vmc_removal_check(r->vm->name, vmctl_state_name(state), r->options->force, err);
    if (code < 0)
        return code;
    code = virtualbox_power_off(r->conn, r->vm, r->deadline, err);
    return code < 0 ? code : 0;
}

/* The media of its drives stay in VBoxSVC's list; those that others have cannot be closed, and need not be. */
void virtualbox_let_go_of_media(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine,
                                const vmc_deadline *deadline) {
    for (size_t i = 0; i < machine->attachment_count; i++)
        if (vmc_str_eq(machine->attachments[i].kind, "DVD") && *machine->attachments[i].medium)
            virtualbox_say(conn, vm, "letting go of a medium", deadline, NULL, NULL, "closemedium", "dvd",
                           machine->attachments[i].medium, NULL);
}

int virtualbox_unregister(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine, bool disks,
                          const vmc_deadline *deadline, vmctl_error **err) {
    int code = virtualbox_say(conn, vm, "removing the VM", deadline, NULL, err, "unregistervm", vm->id,
                              disks ? "--delete" : NULL, NULL);
    if (code == 0 && machine)
        virtualbox_let_go_of_media(conn, vm, machine, deadline);
    return code;
}

/* VirtualBox leaves what it does not know of: settings files that it copied before it wrote a newer version of them. With those the folder
 * goes; one that holds a disk, or anything else, stays. */
static void remove_folder(const vboxmanage *manage, const char *folder, const vmc_deadline *deadline) {
    if (manage && manage->host) {
        vboxmanage_files_script(manage,
                                "cd -- \"$1\" 2>/dev/null || exit 0\n"
                                "rm -f -- ./*.vbox ./*.vbox-prev ./*.vbox-tmp; cd / && rmdir -- \"$1\" 2>/dev/null; :",
                                (const char *const[]){folder, NULL}, "removing a folder of the host", deadline, NULL,
                                NULL);
        return;
    }
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s", folder, entry->d_name);
        if (vmc_ends_with(path, ".vbox") || vmc_ends_with(path, ".vbox-prev") || vmc_ends_with(path, ".vbox-tmp"))
            unlink(path);
    }
    if (dir)
        closedir(dir);
    rmdir(folder);
}

void virtualbox_remove_left(const vboxmanage_machine *machine, const cJSON *marker, const vmc_deadline *deadline) {
    const vboxmanage *manage = machine->manage;
    VMC_AUTO_FREE char *logs = vmc_printf("%s/Logs", machine->folder);
    const cJSON *file;
    cJSON_ArrayForEach(file, vmc_json_key(marker, "files")) {
        VMC_AUTO_FREE char *path = cJSON_IsString(file) ? vmc_path_absolute(machine->folder, file->valuestring) : NULL;
        if (path && !is_disk(path))
            vboxmanage_file_remove(manage, path, deadline, NULL);
    }
    if (machine->nvram)
        vboxmanage_file_remove(manage, machine->nvram, deadline, NULL);
    vboxmanage_tree_remove(manage, logs, deadline, NULL);
    remove_folder(manage, machine->folder, deadline);
}

/* VirtualBox fails over a disk that its snapshots leave as it is: attached in each of them, it is to be deleted twice. */
static int drop_snapshots(const removal *r, vmctl_error **err) {
    const vboxmanage_machine *m = r->machine;
    bool twice = false;
    for (size_t i = 0; i < m->attachment_count; i++)
        twice = twice || virtualbox_snapshot_leaves(m, &m->attachments[i]);
    int code = 0;
    for (size_t i = m->snapshot_count; code == 0 && twice && i-- > 0;) /* children before their parents */
        code = virtualbox_say(r->conn, r->vm, "deleting a snapshot", r->deadline, NULL, err, "snapshot", r->vm->id,
                              "delete", m->snapshots[i].id, NULL);
    return code;
}

static int remove_all(removal *r, vmctl_error **err) {
    int code = prepare_disks(r, err);
    if (code == 0)
        code = drop_snapshots(r, err);
    if (code == 0)
        code = remove_files(r, err);
    if (code == 0)
        code = virtualbox_unregister(r->conn, r->vm, r->machine, true, r->deadline, err);
    for (size_t i = 0; code == 0 && i < r->going.count; i++)
        tell(r, "disk", r->going.items[i]);
    if (code == 0)
        code = remove_detached(r, err);
    for (size_t i = 0; code == 0 && i < r->going.count;
         i++) { /* one that came from another VirtualBox has its disks there */
        VMC_AUTO_FREE char *folder = vmc_path_dirname(r->going.items[i]);
        if (!vmc_str_eq(folder, r->machine->folder) && virtualbox_marker_owns(r->marker, r->machine, r->going.items[i]))
            vboxmanage_folder_drop(r->conn->manage, folder, r->deadline);
    }
    if (code == 0)
        remove_folder(r->conn->manage, r->machine->folder, r->deadline);
    return code;
}

int virtualbox_remove(void *conn, void *vm, const vmctl_delete_options *options, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, REMOVE_MS);
    removal r = {.conn = conn, .vm = vm, .options = options, .deadline = &deadline};
    int code = power_off(&r, err);
    if (code == 0)
        code = virtualbox_load(r.conn, r.vm, &deadline, &r.machine, err);
    if (code < 0 || !r.machine)
        return code;
    r.marker = virtualbox_marker_read(r.machine);
    code = virtualbox_world_read(r.conn, &deadline, &r.world, err);
    if (code == 0)
        code = remove_all(&r, err);
    if (code == 0)
        virtualbox_tell(r.conn, VMCTL_EVENT_DELETED, r.vm, VMCTL_STATE_UNKNOWN, NULL);
    cJSON_Delete(r.marker);
    vmc_strv_free(&r.going);
    vmc_strv_free(&r.staying);
    virtualbox_world_free(&r.world);
    vboxmanage_machine_free(r.machine);
    return code;
}
