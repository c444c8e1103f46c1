/* What stands in the way of a change, known before anything is done. */
#include "change.h"

#include "backends/shared/drive.h"

#include "facts.h"
#include <stdlib.h>
#include <string.h>

int virtualbox_change_check(const virtualbox_scene *scene, vmctl_error **err) {
    if (scene->state == VMCTL_STATE_MIGRATING || scene->state == VMCTL_STATE_STARTING ||
        scene->state == VMCTL_STATE_STOPPING) {
        vmc_error(err, VMCTL_E_BUSY, "%s is %s", scene->vm->name, vmctl_state_name(scene->state));
        vmc_error_retryable(err);
        return vmc_error_next(err, "try again when it is done");
    }
    return virtualbox_check_idle(scene, err);
}

char *virtualbox_change_later(const char *name) {
    return vmc_printf("leave --live out and restart it afterwards (vmctl restart %s)", name);
}

/* --- devices by their names ------------------------------------------------------------------------------------------- */

const vboxmanage_attachment *virtualbox_attachment_named(const virtualbox_scene *scene, const char *name) {
    for (size_t i = 0; i < scene->machine->attachment_count; i++) {
        VMC_AUTO_FREE char *place = virtualbox_place(&scene->machine->attachments[i]);
        if (vmc_str_eq(virtualbox_marker_name(scene->marker, place, place), name))
            return &scene->machine->attachments[i];
    }
    return NULL;
}

const vboxmanage_nic *virtualbox_nic_named(const virtualbox_scene *scene, const char *name) {
    for (size_t i = 0; i < scene->machine->nic_count; i++) {
        VMC_AUTO_FREE char *place = virtualbox_nic_place(scene->machine->nics[i].slot);
        VMC_AUTO_FREE char *fallback = vmc_printf("net%u", scene->machine->nics[i].slot);
        if (vmc_str_eq(virtualbox_marker_name(scene->marker, place, fallback), name))
            return &scene->machine->nics[i];
    }
    return NULL;
}

const vboxmanage_share *virtualbox_share_named(const virtualbox_scene *scene, const char *name) {
    for (size_t i = 0; i < scene->machine->share_count; i++)
        if (vmc_str_eq(scene->machine->shares[i].name, name))
            return &scene->machine->shares[i];
    return NULL;
}

int virtualbox_drive_find(const virtualbox_scene *scene, const char *name, const vboxmanage_attachment **out,
                          vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    VMC_AUTO_FREE const vboxmanage_attachment **drives =
        vmc_alloc((scene->machine->attachment_count + 1) * sizeof(void *));
    size_t at = 0;
    *out = NULL;
    for (size_t i = 0; i < scene->machine->attachment_count; i++) {
        const vboxmanage_attachment *drive = &scene->machine->attachments[i];
        VMC_AUTO_FREE char *place = virtualbox_place(drive);
        if (!vmc_str_eq(drive->kind, "DVD") || vmc_str_eq(virtualbox_marker_type(scene->marker, place), "seed"))
            continue;
        drives[names.count] = drive;
        vmc_strv_add(&names, virtualbox_marker_name(scene->marker, place, place));
    }
    int code = vmc_drive_pick(scene->vm->name, &names, name, &at, err);
    if (code == 0)
        *out = drives[at];
    return code;
}

/* --- obstacles --------------------------------------------------------------------------------------------------------- */

/* Source: measured on 7.2 (AttachDevice and DetachDevice of a running VM). */
char *virtualbox_disk_obstacle(const vboxmanage_machine *machine, const char *bus,
                               const vboxmanage_attachment *attachment) {
    bool sata = vmc_str_eq(bus, "sata");
    if (!sata && !vmc_str_eq(bus, "usb"))
        return vmc_printf("bus %s takes and gives no disks and drives while the VM runs",
                          bus ? bus : "of another kind");
    if (attachment)
        return attachment->hotpluggable || !sata
                   ? NULL
                   : vmc_strdup("VirtualBox lets go only what came to bus sata while the VM ran");
    for (size_t c = 0; c < machine->controller_count; c++) {
        const vboxmanage_controller *controller = &machine->controllers[c];
        if (!vmc_str_eq(virtualbox_bus(machine, controller->name), bus))
            continue;
        unsigned used = 0;
        for (size_t i = 0; i < machine->attachment_count; i++)
            used += vmc_str_eq(machine->attachments[i].controller, controller->name);
        return used < controller->ports ? NULL : vmc_printf("all %u ports of bus %s are taken", controller->ports, bus);
    }
    return vmc_printf("the VM was started without a controller of bus %s", bus);
}

char *virtualbox_cpus_obstacle(const vboxmanage_machine *machine, uint64_t wanted) {
    if (!machine->cpus_max)
        return vmc_strdup("it was not given CPUs to grow to (cpus.max)");
    if (wanted > machine->cpus_max)
        return vmc_printf("it can have %u CPUs at most", machine->cpus_max);
    return NULL;
}

/* VirtualBox's manual, "Memory Ballooning": Guest Additions give up memory, and a VM never has more than it began with. */
char *virtualbox_memory_obstacle(const virtualbox_scene *scene, uint64_t wanted_mib) {
    if (wanted_mib > scene->machine->memory_mib)
        return vmc_printf("it began with %llu MiB, and VirtualBox adds no memory to a running VM",
                          (unsigned long long)scene->machine->memory_mib);
    if (scene->additions == 0)
        return vmc_strdup("VirtualBox takes memory from a guest by the balloon of Guest Additions, and none run in it");
    return NULL;
}

int virtualbox_grow_check(const virtualbox_scene *scene, const char *name, const vboxmanage_medium *medium,
                          vmctl_error **err) {
    const char *vm = scene->vm->name;
    if (scene->machine->state_file) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is saved, and its memory knows disk %s as it is: it cannot be grown",
                  vm, name);
        return vmc_error_next(err, "stop its guest first: vmctl start %s, then vmctl stop %s", vm, vm);
    }
    if (*medium->parent) {
        vmc_error(err, VMCTL_E_INVALID_STATE,
                  "disk %s stands on another one, of a snapshot or a clone's original: it "
                  "cannot be grown",
                  name);
        return vmc_error_next(err, "delete the snapshots of %s first, or clone it in full", vm);
    }
    if (!vmc_str_eq(medium->format, "VDI") && !vmc_str_eq(medium->format, "VHD")) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is %s, and VirtualBox grows vdi and vhd disks only", name,
                  medium->format ? medium->format : "of an unknown format");
        return vmc_error_next(err, "vmctl image convert makes a vdi disk of it");
    }
    return 0;
}
