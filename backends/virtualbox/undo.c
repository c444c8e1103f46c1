/* What a dead process noted before it made it, taken back. */
#include "forward.h"
#include "migrate.h"
#include "plan.h"
#include "snapshot.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { UNDO_MS = 120000, FORGET_MS = 20000, FORGET_SLICE_MS = 100 };

/* The ids of the disks that VirtualBox knows in this folder, children before their parents, as far as one pass can tell. */
static int media_in(virtualbox_conn *conn, const char *folder, const vmc_deadline *deadline, vmc_strv *ids,
                    vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    VBOXMANAGE_AUTO_PROPERTIES media = {0};
    int code =
        virtualbox_say(conn, NULL, "asking VirtualBox for its disks", deadline, &text, err, "list", "hdds", NULL);
    if (code < 0)
        return code;
    vboxmanage_parse_records(text, &media);
    const char *id = NULL;
    for (size_t i = media.count; i-- > 0;) { /* from behind, the location stands before the id */
        const char *key = media.items[i].key;
        if (strcmp(key, "Location") == 0) {
            size_t length = strlen(folder);
            const char *path = media.items[i].value;
            id = strncmp(path, folder, length) == 0 && path[length] == '/' ? path : NULL;
        } else if (strcmp(key, "UUID") == 0 && id) {
            vmc_strv_add(ids, media.items[i].value);
            id = NULL;
        }
    }
    return 0;
}

/* A clone that was interrupted has left its disks registered with the original's, of which they are children: nothing of that could be deleted any
 * more. While VirtualBox still takes the clone back they are locked. */
static int forget_media(virtualbox_conn *conn, const char *folder, const vmc_deadline *deadline, vmctl_error **err) {
    vmc_deadline patient = vmc_deadline_within(deadline, FORGET_MS);
    for (;;) {
        VMC_AUTO_STRV ids = {0};
        int code = media_in(conn, folder, deadline, &ids, err);
        if (code < 0 || ids.count == 0)
            return code;
        size_t closed = 0;
        vmctl_error *why = NULL;
        for (size_t i = 0; i < ids.count; i++) {
            vmctl_error_free(why);
            why = NULL;
            code = virtualbox_say(conn, NULL, "forgetting a disk", deadline, NULL, &why, "closemedium", "disk",
                                  ids.items[i], NULL);
            closed += code == 0;
        }
        bool late = closed == 0 && vmc_deadline_poll(&patient, -1, 0, FORGET_SLICE_MS, "forgetting disks", NULL) < 0;
        vmc_error_move(late ? err : NULL, &why);
        if (late)
            return code;
    }
}

/* vm UUID FOLDER: the VM, and the folder that was not there before it. */
static int undo_vm(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    if (!vboxmanage_is_uuid(detail, true) || detail[36] != ' ' || detail[37] != '/')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"vm %s\" cannot be read", detail);
    virtualbox_vm vm = {.name = (char *)vmc_path_basename(detail + 37)};
    memcpy(vm.id, detail, 36);
    vmctl_error *why = NULL;
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_power_off(conn, &vm, deadline, &why);
    if (code >= 0) {
        (void)virtualbox_load(conn, &vm, deadline, &machine, NULL);
        code = virtualbox_unregister(conn, &vm, machine, true, deadline, &why);
    }
    vboxmanage_machine_free(machine);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        why = NULL;
        code = 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code == 0)
        code = forget_media(conn, detail + 37, deadline, err);
    return code < 0 ? code : vboxmanage_tree_remove(conn->manage, detail + 37, deadline, err);
}

static void detach_disk(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine,
                        const char *path, const vmc_deadline *deadline) {
    for (size_t i = 0; i < machine->attachment_count; i++) {
        const vboxmanage_attachment *at = &machine->attachments[i];
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, at->medium);
        VMC_AUTO_FREE char *port = vmc_printf("--port=%u", at->port);
        VMC_AUTO_FREE char *device = vmc_printf("--device=%u", at->device);
        if (medium && strcmp(medium->location, path) == 0)
            virtualbox_say(conn, vm, "detaching the disk", deadline, NULL, NULL, "storageattach", vm->id,
                           "--storagectl", at->controller, port, device, "--medium", "none", NULL);
    }
}

/* disk UUID PATH: a file that was made for a device of this VM, and may be attached. */
static int undo_disk(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    if (!vboxmanage_is_uuid(detail, true) || detail[36] != ' ' || detail[37] != '/')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"disk %s\" cannot be read", detail);
    const char *path = detail + 37;
    virtualbox_vm vm = {.name = "the VM"};
    vboxmanage_machine *machine = NULL;
    memcpy(vm.id, detail, 36);
    vboxmanage_file file = {0};
    vmctl_error *why = NULL;
    int code = vboxmanage_file_look(conn->manage, path, false, deadline, &file, &why);
    vmc_error_move(code < 0 && code != VMCTL_E_NOT_FOUND ? err : NULL, &why);
    if (code < 0)
        return code == VMCTL_E_NOT_FOUND ? 0 : code; /* it was not even begun */
    if (virtualbox_load(conn, &vm, deadline, &machine, NULL) == 0)
        detach_disk(conn, &vm, machine, path, deadline);
    vboxmanage_machine_free(machine);
    machine = NULL;
    bool attached = false;
    if (virtualbox_load(conn, &vm, deadline, &machine, NULL) == 0)
        for (size_t i = 0; i < machine->attachment_count; i++) {
            const vboxmanage_medium *medium = vboxmanage_medium_of(machine, machine->attachments[i].medium);
            attached = attached || (medium && strcmp(medium->location, path) == 0);
        }
    vboxmanage_machine_free(machine);
    if (attached)
        return vmc_error(err, VMCTL_E_BUSY, "%s cannot be detached while the VM runs", path);
    if (!file.link) /* VirtualBox may know it by now; where it does not, this fails */
        virtualbox_say(conn, NULL, "forgetting the disk", deadline, NULL, NULL, "closemedium", "disk", path, NULL);
    code = vboxmanage_file_remove(conn->manage, path, deadline, err);
    return code < 0 ? code : 0;
}

static int undo_file(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    (void)conn;
    (void)deadline;
    if (unlink(detail) == 0 || errno == ENOENT || errno == ENOTDIR)
        return 0;
    return vmc_error_errno(err, errno, "cannot remove %s", detail);
}

static const struct {
    const char *kind;
    int (*undo)(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
} kinds[] = {
    {"vm", undo_vm},
    {"file", undo_file},
    {"snapshot", virtualbox_snapshot_undo},
    {"snapshot-id", virtualbox_snapshot_undo_id},
    {"disk", undo_disk},
    {"natpf", virtualbox_forward_undo},
    {"departure", virtualbox_departure_undo},
    {"departed", virtualbox_departed_undo},
    {"arrival", virtualbox_arrival_undo},
};

int virtualbox_undo(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, UNDO_MS);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(kinds[i].kind, kind) == 0)
            return kinds[i].undo(conn, detail, &deadline, err);
    return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s %s\" cannot be read", kind, detail);
}
