/* backends/libvirt/hotplug.c - one device more, one less, another medium: changes of one step (change.h). */
#include "ops.h"

#include "change.h"
#include <string.h>

/* The kinds of devices that the spec has lists for. */
static const struct {
    vmctl_device_kind kind;
    const char *list;
} kinds[] = {
    {VMCTL_DEVICE_DISK, "disks"},   {VMCTL_DEVICE_CDROM, "disks"}, {VMCTL_DEVICE_NIC, "networks"},
    {VMCTL_DEVICE_SHARE, "shares"}, {VMCTL_DEVICE_USB, "usb"},
};

static const char *list_of(vmctl_device_kind kind) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].kind == kind)
            return kinds[i].list;
    return NULL;
}

static const vmctl_device *find_named(const libvirt_domain_facts *facts, const char *name) {
    for (size_t i = 0; facts && i < facts->info.device_count; i++)
        if (vmc_str_eq(facts->info.devices[i].name, name))
            return &facts->info.devices[i];
    return NULL;
}

/* --- attach ------------------------------------------------------------------------------------------------ */

static int check_name(const libvirt_changing *ch, const char *name, vmctl_error **err) {
    const vmctl_device *defined = find_named(ch->config, name);
    const vmctl_device *device = defined ? defined : find_named(ch->now, name);
    if (!device)
        return 0;
    const char *kind = vmctl_device_kind_name(device->kind);
    if (defined) {
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a %s of the name %s already", ch->vm->name, kind, name);
        return vmc_error_next(err, "choose another name, or detach that one first (vmctl detach %s %s)", ch->vm->name,
                              name);
    }
    vmc_error(err, VMCTL_E_BUSY, "the guest of %s has not let the %s %s go yet", ch->vm->name, kind, name);
    return vmc_error_next(err, "choose another name, or restart it first (vmctl restart %s)", ch->vm->name);
}

int libvirt_device_attach(void *conn, void *vm, const char *list, const vmctl_node *item,
                          const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                          vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    const char *name = vmctl_node_string(item, "name", "");
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", list, name);
    vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_ADD, path, item);
    libvirt_changing ch;
    int code = libvirt_changing_open(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    ch.store.exclusive = true;
    if (code == 0)
        code = check_name(&ch, name, err);
    if (code == 0)
        code = libvirt_changing_run(&ch, diff, false, journal, err);
    if (code == 0)
        *effect = ch.steps[0].effect;
    libvirt_changing_close(&ch);
    vmctl_diff_free(diff);
    return code;
}

/* --- detach ------------------------------------------------------------------------------------------------ */

/* The device of this name; those that run and are defined no more count too, for a guest that did not let one go may be asked again. */
static int find_device(const libvirt_changing *ch, const char *name, const vmctl_device **out, vmctl_error **err) {
    VMC_AUTO_STRV names = {0};
    VMC_AUTO_STRV matches = {0};
    const libvirt_domain_facts *const both[] = {ch->config, ch->now};
    *out = NULL;
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; both[f] && i < both[f]->info.device_count; i++) {
            const vmctl_device *device = &both[f]->info.devices[i];
            if (device->name && !vmc_strv_has(&names, device->name))
                vmc_strv_add(&names, device->name);
            if (!vmc_str_eq(device->name, name))
                continue;
            const char *kind = vmctl_device_kind_name(device->kind);
            if (!vmc_strv_has(&matches, kind))
                vmc_strv_add(&matches, kind);
            if (!*out)
                *out = device;
        }
    }
    if (matches.count == 1)
        return 0;
    if (matches.count > 1) {
        VMC_AUTO_FREE char *all = vmc_strv_join(&matches, " and a ");
        vmc_error(err, VMCTL_E_AMBIGUOUS, "%s has a %s of the name %s", ch->vm->name, all, name);
        return vmc_error_next(err, "say which in its vm.yaml (vmctl edit %s)", ch->vm->name);
    }
    const char *near = vmc_nearest(name, (const char *const *)names.items);
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no device %s%s%s%s", ch->vm->name, name, near ? "; did you mean " : "",
              near ? near : "", near ? "?" : "");
    return vmc_error_next(err, "vmctl device list %s shows them", ch->vm->name);
}

static int check_kind(const libvirt_changing *ch, const vmctl_device *device, vmctl_error **err) {
    bool seed = device->kind == VMCTL_DEVICE_DISK && vmc_str_eq(device->name, "cloud-init");
    if (list_of(device->kind) && !seed)
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is %s%s, which is not detached by itself", device->name,
              seed ? "the disk that cloud-init reads" : "a device of the kind ",
              seed ? "" : vmctl_device_kind_name(device->kind));
    return vmc_error_next(err, "what its vm.yaml says of it can be changed (vmctl edit %s)", ch->vm->name);
}

/* Nothing of a disk's data goes with the device, and a person should know where it is. */
static void tell_data(const libvirt_changing *ch, const vmctl_device *device) {
    if (device->kind != VMCTL_DEVICE_DISK || !device->source)
        return;
    if (device->own)
        vmc_note(ch->deadline, VMCTL_NOTE_INFO,
                 "the data of %s stays in %s, which still belongs to %s and is deleted with it (vmctl delete "
                 "--keep-disks keeps it)",
                 device->name, device->source, ch->vm->name);
    else
        vmc_note(ch->deadline, VMCTL_NOTE_INFO, "the data of %s stays in %s", device->name, device->source);
}

/* It left the definition before, and the guest had not let it go. */
static int ask_again(libvirt_changing *ch, const vmctl_device *device, vmctl_error **err) {
    libvirt_step step = {
        .kind = LIBVIRT_STEP_REMOVE, .list = (char *)list_of(device->kind), .name = (char *)device->name};
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", step.list, device->name);
    const vmctl_change change = {.size = sizeof change, .action = VMCTL_CHANGE_REMOVE, .path = path};
    step.change = &change;
    libvirt_step_settle(ch, &step, NULL);
    bool now = step.effect == VMCTL_EFFECT_NOW;
    int code = now ? libvirt_step_do(ch, &step, err) : 0;
    if (code == 0 && step.effect == VMCTL_EFFECT_AT_RESTART && ch->live)
        code = vmc_error(err, VMCTL_E_INVALID_STATE, "%s leaves %s at its next start only (%s)", device->name,
                         ch->vm->name, step.why ? step.why : "");
    int effect = step.effect;
    vmc_free_ptr(&step.why);
    vmc_free_ptr(&step.undo_xml);
    return code < 0 ? code : effect;
}

int libvirt_device_detach(void *conn, void *vm, const char *name, const vmctl_attach_options *options,
                          vmctl_effect *effect, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    libvirt_changing ch;
    const vmctl_device *device = NULL;
    vmctl_spec *spec = NULL;
    vmctl_diff *diff = NULL;
    int code = libvirt_changing_open(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    if (code == 0)
        code = find_device(&ch, name, &device, err);
    if (code == 0 && device)
        code = check_kind(&ch, device, err);
    if (code == 0 && device && !find_named(ch.config, name)) {
        code = ask_again(&ch, device, err);
        if (code >= 0)
            *effect = (vmctl_effect)code;
    } else if (code == 0 && device) {
        const char *list = list_of(device->kind);
        VMC_AUTO_FREE char *path = vmc_printf("%s.%s", list, name);
        VMC_AUTO_FREE char *item = vmc_printf("%s[0].name", list);
        VMC_AUTO_FREE char *first = vmc_printf("%s[0]", list);
        spec = vmctl_spec_new();
        code = vmctl_spec_set(spec, item, name, err);
        if (code == 0) {
            diff = vmc_diff_of(VMCTL_CHANGE_REMOVE, path, vmctl_node_get(vmctl_spec_root(spec), first));
            code = libvirt_changing_run(&ch, diff, false, NULL, err);
        }
        if (code == 0)
            *effect = ch.steps[0].effect;
    }
    if (code >= 0 && device)
        tell_data(&ch, device);
    libvirt_changing_close(&ch);
    vmctl_diff_free(diff);
    vmctl_spec_free(spec);
    return code < 0 ? code : 0;
}

/* --- media ------------------------------------------------------------------------------------------------- */

int libvirt_cdrom_change(void *conn, void *vm, const char *name, const char *image, const vmctl_cdrom_options *options,
                         vmc_journal *journal, vmctl_effect *effect, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    libvirt_changing ch;
    const vmctl_device *drive = NULL;
    vmctl_spec *spec = NULL;
    vmctl_diff *diff = NULL;
    int code = libvirt_changing_open(&ch, conn, vm, &deadline, err);
    ch.live = options->live;
    ch.force = options->force;
    if (code == 0)
        code = libvirt_drive_find(ch.vm->name, ch.config, name, &drive, err);
    if (code == 0 && drive && !image && !drive->source) {
        vmc_note(&deadline, VMCTL_NOTE_INFO, "drive %s of %s is empty already", drive->name, ch.vm->name);
        *effect = VMCTL_EFFECT_NOW;
    } else if (code == 0 && drive) {
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s.cdrom", drive->name);
        spec = vmctl_spec_new();
        code = vmctl_spec_set(spec, path, image ? image : "", err);
        if (code == 0) {
            diff = vmc_diff_of(VMCTL_CHANGE_SET, path, vmctl_node_get(vmctl_spec_root(spec), "disks[0].cdrom"));
            code = libvirt_changing_run(&ch, diff, false, journal, err);
        }
        if (code == 0)
            *effect = ch.steps[0].effect;
    }
    libvirt_changing_close(&ch);
    vmctl_diff_free(diff);
    vmctl_spec_free(spec);
    return code;
}
