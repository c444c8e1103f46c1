/* Deleting a VM. VirtualBox's own --delete takes every disk that is attached, whoever made it, and leaves a base whose linked clones
 * hang on it half deleted: so what stays is detached first, and what others stand on is refused. */
#include "facts.h"
#include "plan.h"

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
    vmc_strv going; /* disks that VirtualBox will delete */
} removal;

static void tell(const removal *r, const char *what, const char *name) {
    if (r->options->removed)
        r->options->removed(what, name, r->options->user);
}

/* --- who else uses a disk ---------------------------------------------------------------------------------------- */

typedef enum use { USE_NONE, USE_ATTACHED, USE_STANDS_ON } use;

/* Whether another VM has this very image, or an image that stands on it. */
static use use_of(const vboxmanage_machine *other, const char *path) {
    use found = USE_NONE;
    for (size_t i = 0; i < other->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(other, other->attachments[i].medium);
        if (medium && strcmp(medium->location, path) == 0)
            return USE_ATTACHED;
        while (medium && *medium->parent) {
            const vboxmanage_medium *parent = vboxmanage_medium_of(other, medium->parent);
            if (!parent || parent >= medium)
                break;
            medium = parent;
            if (strcmp(medium->location, path) == 0)
                found = USE_STANDS_ON;
        }
    }
    return found;
}

/* *name: of the one that uses it (free). */
static int user_of(const removal *r, const char *path, use *how, char **name, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    int code = virtualbox_registry(r->conn, r->deadline, &registry, err);
    *how = USE_NONE;
    for (size_t i = 0; code == 0 && *how == USE_NONE && i < registry.count; i++) {
        vboxmanage_machine *other = NULL;
        if (strcasecmp(registry.entries[i].id, r->vm->id) == 0 ||
            vboxmanage_machine_read(registry.entries[i].settings, &other, NULL) < 0)
            continue;
        *how = use_of(other, path);
        if (*how != USE_NONE)
            *name = vmc_strdup(other->name);
        vboxmanage_machine_free(other);
    }
    vboxmanage_registry_free(&registry);
    return code;
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

static int decide(removal *r, const vboxmanage_attachment *from, bool *stays, vmctl_error **err) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(r->machine, from->medium);
    const vboxmanage_medium *base = vboxmanage_base_of(r->machine, medium);
    *stays = true; /* what is not known is left alone */
    if (!base)
        return 0;
    bool own = virtualbox_marker_owns(r->marker, r->machine, base->location);
    *stays = r->options->disks == VMCTL_DELETE_KEEP_DISKS || (!own && r->options->disks != VMCTL_DELETE_ALL_DISKS);
    use how = USE_NONE;
    VMC_AUTO_FREE char *other = NULL;
    int code = *stays ? 0 : user_of(r, base->location, &how, &other, err);
    if (code == 0 && how == USE_STANDS_ON) {
        vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "%s is a linked clone of %s and would lose its disk", other,
                  r->vm->name);
        return vmc_error_next(err, "delete %s first", other);
    }
    if (code == 0 && how == USE_ATTACHED) {
        vmc_note(r->deadline, VMCTL_NOTE_WARNING, "disk %s stays: %s uses it too", base->location, other);
        *stays = true;
    }
    if (code == 0 && *stays && medium != base)
        return refuse_kept(r, base->location, err);
    if (code == 0 && !*stays)
        vmc_strv_add(&r->going, base->location);
    return code;
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
    if (unlink(path) == 0) {
        tell(r, what, path);
        return 0;
    }
    if (errno == ENOENT || errno == ENOTDIR)
        return 0;
    vmc_error_errno(err, errno, "cannot remove %s, and the VM is kept", path);
    return vmc_error_next(err, "remove the cause and delete %s again", r->vm->name);
}

static bool is_disk(const char *name) {
    return vmc_ends_with(name, ".vdi") || vmc_ends_with(name, ".vmdk") || vmc_ends_with(name, ".vhd");
}

/* Seeds, links to media, logs: nobody's data. Disks that were detached meanwhile go too, unless disks stay. */
static int remove_files(removal *r, vmctl_error **err) {
    int code = 0;
    const cJSON *file;
    cJSON_ArrayForEach(file, virtualbox_json_get(r->marker, "files")) {
        if (code < 0 || !cJSON_IsString(file))
            continue;
        VMC_AUTO_FREE char *path = vmc_path_absolute(r->machine->folder, file->valuestring);
        if (!is_disk(path))
            code = remove_file(r, "file", path, err);
    }
    if (code == 0 && r->machine->serial_path && virtualbox_marker_is_made(r->marker)) {
        VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(r->machine->serial_path);
        code = remove_file(r, "log", r->machine->serial_path, err);
        if (code == 0)
            code = remove_file(r, "log", earlier, err);
    }
    return code;
}

static int power_off(const removal *r, vmctl_error **err) {
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = virtualbox_ask_state(r->conn, r->vm, r->deadline, &state, NULL, err);
    if (code < 0 || state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_SAVED)
        return code;
    if (!r->options->force) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is running", r->vm->name);
        return vmc_error_next(err, "stop it first (vmctl stop %s), or delete it with --force, which powers it off",
                              r->vm->name);
    }
    code = virtualbox_power_off(r->conn, r->vm, r->deadline, err);
    return code < 0 ? code : 0;
}

/* VirtualBox leaves what it does not know of: settings files that it copied before it wrote a newer version of them. With those the folder
 * goes; one that holds a disk, or anything else, stays. */
static void remove_folder(const char *folder) {
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

static int remove_all(removal *r, vmctl_error **err) {
    int code = prepare_disks(r, err);
    if (code == 0)
        code = remove_files(r, err);
    if (code == 0)
        code = virtualbox_say(r->conn, r->vm, "removing the VM", r->deadline, NULL, err, "unregistervm", r->vm->id,
                              "--delete", NULL);
    for (size_t i = 0; code == 0 && i < r->going.count; i++)
        tell(r, "disk", r->going.items[i]);
    if (code == 0)
        remove_folder(r->machine->folder);
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
    code = remove_all(&r, err);
    if (code == 0)
        virtualbox_tell(r.conn, VMCTL_EVENT_DELETED, r.vm, VMCTL_STATE_UNKNOWN, NULL);
    cJSON_Delete(r.marker);
    vmc_strv_free(&r.going);
    vboxmanage_machine_free(r.machine);
    return code;
}
