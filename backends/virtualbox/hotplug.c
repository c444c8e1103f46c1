/* One device more, one less, another medium: changes of one step (change.h). */
#include "change.h"

#include "facts.h"
#include "usb.h"
#include <stdlib.h>
#include <string.h>

/* --- attach ---------------------------------------------------------------------------------------------------------- */

static bool has_usb(const virtualbox_scene *scene, const char *name) {
    bool found = virtualbox_usb_named(scene->machine, name) < scene->machine->usb_filter_count;
    for (size_t i = 0; !found && i < scene->usb.count; i++) {
        VMC_AUTO_FREE char *stray = virtualbox_usb_stray_name(scene->machine, &scene->usb.items[i]);
        found = vmc_str_eq(stray, name);
    }
    return found;
}

static bool has_named(const virtualbox_scene *scene, const char *name, const char **kind) {
    const vboxmanage_attachment *at = virtualbox_attachment_named(scene, name);
    *kind = at                                    ? (vmc_str_eq(at->kind, "DVD") ? "cdrom" : "disk")
            : virtualbox_nic_named(scene, name)   ? "nic"
            : virtualbox_share_named(scene, name) ? "share"
            : has_usb(scene, name)                ? "USB device"
                                                  : NULL;
    return *kind != NULL;
}

static const char *const lists[] = {"disks", "networks", "shares", "usb"};

/* How an entry that waits has it: "add", "remove"; NULL: it waits for nothing. */
static const char *waiting(const virtualbox_scene *scene, const char *name) {
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("%s.%s", lists[i], name);
        const cJSON *entry = virtualbox_pending_find(scene->marker, path);
        if (entry)
            return vmc_json_string(entry, "action", NULL);
    }
    return NULL;
}

static int check_name(const virtualbox_scene *scene, const char *name, vmctl_error **err) {
    const char *kind = NULL;
    bool there = has_named(scene, name, &kind);
    const char *waits = waiting(scene, name);
    if (there && vmc_str_eq(waits, "remove")) {
        vmc_error(err, VMCTL_E_BUSY, "the %s %s leaves %s at its next start only", kind, name, scene->vm->name);
        return vmc_error_next(err, "choose another name, or restart it first (vmctl restart %s)", scene->vm->name);
    }
    if (!there && !vmc_str_eq(waits, "add"))
        return 0;
    vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a %s of the name %s already", scene->vm->name,
              kind ? kind : "device", name);
    return vmc_error_next(err, "choose another name, or detach that one first (vmctl detach %s %s)", scene->vm->name,
                          name);
}

int virtualbox_device_attach(void *conn, void *vm, const char *list, const vmctl_node *item,
                             const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                             vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    const char *name = vmctl_node_string(item, "name", "");
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", list, name);
    vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_ADD, path, item);
    virtualbox_changing ch;
    int code = virtualbox_changing_ready(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    if (code == 0)
        code = check_name(&ch.scene, name, err);
    if (code == 0)
        code = virtualbox_changing_run(&ch, diff, false, journal, err);
    if (code == 0)
        *effect = ch.steps[0].effect;
    virtualbox_changing_close(&ch);
    vmctl_diff_free(diff);
    return code;
}

/* --- detach ----------------------------------------------------------------------------------------------------------- */

static void collect_names(const virtualbox_scene *scene, vmc_strv *names) {
    for (size_t i = 0; i < scene->machine->attachment_count; i++) {
        VMC_AUTO_FREE char *place = virtualbox_place(&scene->machine->attachments[i]);
        vmc_strv_add(names, virtualbox_marker_name(scene->marker, place, place));
    }
    for (size_t i = 0; i < scene->machine->nic_count; i++) {
        VMC_AUTO_FREE char *place = virtualbox_nic_place(scene->machine->nics[i].slot);
        VMC_AUTO_FREE char *fallback = vmc_printf("net%u", scene->machine->nics[i].slot);
        vmc_strv_add(names, virtualbox_marker_name(scene->marker, place, fallback));
    }
    for (size_t i = 0; i < scene->machine->share_count; i++)
        vmc_strv_add(names, scene->machine->shares[i].name);
    for (size_t i = 0; i < scene->machine->usb_filter_count; i++)
        vmc_strv_take(names, virtualbox_usb_name(scene->machine, i));
}

/* The list that the device is in. */
static int find_list(const virtualbox_scene *scene, const char *name, const char **list, vmctl_error **err) {
    static const char *const fixed[] = {"display", "vnc", "rdp", "serial", "tpm"};
    const vboxmanage_attachment *at = virtualbox_attachment_named(scene, name);
    const bool found[] = {at != NULL, virtualbox_nic_named(scene, name) != NULL,
                          virtualbox_share_named(scene, name) != NULL, has_usb(scene, name)};
    size_t count = 0;
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("%s.%s", lists[i], name);
        if (!found[i] && !virtualbox_pending_find(scene->marker, path))
            continue;
        *list = lists[i];
        count++;
    }
    VMC_AUTO_FREE char *place = at ? virtualbox_place(at) : NULL;
    bool seed = place && vmc_str_eq(virtualbox_marker_type(scene->marker, place), "seed");
    for (size_t i = 0; count == 0 && i < sizeof fixed / sizeof fixed[0]; i++)
        seed = seed || strcmp(fixed[i], name) == 0;
    if (seed) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is %s, which is not detached by itself", name,
                  at ? "the drive that cloud-init reads" : "a part of the VM");
        return vmc_error_next(err, "what its vm.yaml says of it can be changed (vmctl edit %s)", scene->vm->name);
    }
    if (count == 1)
        return 0;
    if (count > 1) {
        vmc_error(err, VMCTL_E_AMBIGUOUS, "%s has several devices of the name %s", scene->vm->name, name);
        return vmc_error_next(err, "say which in its vm.yaml (vmctl edit %s)", scene->vm->name);
    }
    VMC_AUTO_STRV names = {0};
    collect_names(scene, &names);
    const char *near = names.count ? vmc_nearest(name, (const char *const *)names.items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no device %s%s%s%s", scene->vm->name, name, near ? "; did you mean " : "",
              near ? near : "", near ? "?" : "");
    return vmc_error_next(err, "vmctl device list %s shows them", scene->vm->name);
}

/* Nothing of a disk's data goes with the device, and a person should know where it is. */
static void tell_data(const virtualbox_scene *scene, const char *name) {
    const vboxmanage_attachment *at = virtualbox_attachment_named(scene, name);
    const vboxmanage_medium *medium = at ? vboxmanage_medium_of(scene->machine, at->medium) : NULL;
    if (!medium || !vmc_str_eq(at->kind, "HardDisk"))
        return;
    if (virtualbox_medium_own(scene->marker, scene->machine, medium))
        vmc_note(scene->deadline, VMCTL_NOTE_INFO,
                 "the data of %s stays in %s, which still belongs to %s and is deleted with it (vmctl delete "
                 "--keep-disks keeps it)",
                 name, medium->location, scene->vm->name);
    else
        vmc_note(scene->deadline, VMCTL_NOTE_INFO, "the data of %s stays in %s", name, medium->location);
}

int virtualbox_device_detach(void *conn, void *vm, const char *name, const vmctl_attach_options *options,
                             vmctl_effect *effect, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    virtualbox_changing ch;
    const char *list = NULL;
    vmctl_spec *spec = NULL;
    vmctl_diff *diff = NULL;
    int code = virtualbox_changing_ready(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    if (code == 0)
        code = find_list(&ch.scene, name, &list, err);
    if (code == 0 && list) {
        VMC_AUTO_FREE char *path = vmc_printf("%s.%s", list, name);
        VMC_AUTO_FREE char *key = vmc_printf("%s[0].name", list);
        VMC_AUTO_FREE char *item = vmc_printf("%s[0]", list);
        spec = vmctl_spec_new();
        code = vmctl_spec_set(spec, key, name, err);
        if (code == 0) {
            diff = vmc_diff_of(VMCTL_CHANGE_REMOVE, path, vmctl_node_get(vmctl_spec_root(spec), item));
            code = virtualbox_changing_run(&ch, diff, false, NULL, err);
        }
        if (code == 0) {
            *effect = ch.steps[0].effect;
            tell_data(&ch.scene, name);
        }
    }
    virtualbox_changing_close(&ch);
    vmctl_diff_free(diff);
    vmctl_spec_free(spec);
    return code;
}

/* --- media ------------------------------------------------------------------------------------------------------------- */

int virtualbox_cdrom_change(void *conn, void *vm, const char *name, const char *image,
                            const vmctl_cdrom_options *options, vmc_journal *journal, vmctl_effect *effect,
                            vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    virtualbox_changing ch;
    const vboxmanage_attachment *drive = NULL;
    vmctl_spec *spec = NULL;
    vmctl_diff *diff = NULL;
    int code = virtualbox_changing_ready(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    ch.force = options->force;
    if (code == 0)
        code = virtualbox_drive_find(&ch.scene, name, &drive, err);
    VMC_AUTO_FREE char *place = drive ? virtualbox_place(drive) : NULL;
    VMC_AUTO_FREE char *its = drive ? vmc_strdup(virtualbox_marker_name(ch.scene.marker, place, place)) : NULL;
    if (code == 0 && drive && !image && !*drive->medium) {
        vmc_note(&deadline, VMCTL_NOTE_INFO, "drive %s of %s is empty already", its, ch.scene.vm->name);
        *effect = VMCTL_EFFECT_NOW;
    } else if (code == 0 && drive) {
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s.cdrom", its);
        spec = vmctl_spec_new();
        code = vmctl_spec_set(spec, path, image ? image : "", err);
        if (code == 0) {
            diff = vmc_diff_of(VMCTL_CHANGE_SET, path, vmctl_node_get(vmctl_spec_root(spec), "disks[0].cdrom"));
            code = virtualbox_changing_run(&ch, diff, false, journal, err);
        }
        if (code == 0)
            *effect = ch.steps[0].effect;
    }
    virtualbox_changing_close(&ch);
    vmctl_diff_free(diff);
    vmctl_spec_free(spec);
    return code;
}
