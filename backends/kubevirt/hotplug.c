/* Devices that come and go: each is one change of the VM. */
#include "change.h"

#include "backends/shared/drive.h"
#include <string.h>

enum { CLEAR_MS = 30000 };

static void take_effect(const vmctl_change *change, vmctl_effect effect, void *user) {
    (void)change;
    *(vmctl_effect *)user = effect;
}

static int run(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_diff *diff, bool live, const vmctl_call *call,
               vmc_journal *journal, vmctl_effect *effect, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmctl_effect own = VMCTL_EFFECT_NOW;
    vmctl_change_options options = VMCTL_CHANGE_OPTIONS_INIT;
    options.live = live;
    options.changed = take_effect;
    options.user = &own;
    int code = kubevirt_changing_run(conn, vm, diff, &options, journal, &deadline, err);
    if (code == 0 && effect)
        *effect = own;
    return code;
}

static const struct {
    const char *list, *kind, *of_devices;
} lists[] = {{"disks", "disk", "disks"},
             {"networks", "nic", "interfaces"},
             {"gpus", "gpu", "gpus"},
             {"usb", "usb", "hostDevices"}};

static int is_cleared(const cJSON *vmi, void *user, vmctl_error **err) {
    (void)err;
    return !vmi || !vmc_json_item(vmc_json_at(vmi, "spec.domain.devices.interfaces"), user);
}

/* A card that was taken away leaves the instance's list some moments after it has left the guest. */
static int wait_cleared(kubevirt_conn *conn, kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                        vmctl_error **err) {
    vmc_deadline within = vmc_deadline_within(deadline, CLEAR_MS);
    const kubevirt_waiting waiting = {.plural = "virtualmachineinstances",
                                      .name = vm->name,
                                      .doing = "waiting for the old NIC to go",
                                      .settled = is_cleared,
                                      .user = (char *)name};
    int code = kubevirt_wait(conn, vm, &waiting, &within, err);
    return code == VMCTL_E_TIMEOUT && vmc_deadline_left(deadline) != 0 ? vmc_error_recode(err, VMCTL_E_BUSY) : code;
}

/* Devices have one name each, of whatever kind they are; one that is leaving has its name until it has gone. */
static int check_name(kubevirt_conn *conn, kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                      vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    VMC_AUTO_JSON *vmi = NULL;
    int code = kubevirt_vm_get(conn, vm, deadline, &now, err);
    if (code == 0 && vmc_json_boolean(now, "status.created", false))
        code = kubevirt_vmi_get(conn, vm, deadline, &vmi, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *spec = kubevirt_read_vm(now, true);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        if (vmc_json_item(vmc_json_key(spec, lists[i].list), name)) {
            vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a %s of the name %s already", vm->name, lists[i].kind, name);
            return vmc_error_next(err, "choose another name, or detach that one first (vmctl detach %s %s)", vm->name,
                                  name);
        }
        const cJSON *devices = vmc_json_at(vmi, "spec.domain.devices");
        const cJSON *there = vmc_json_item(vmc_json_key(devices, lists[i].of_devices), name);
        if (vmc_str_eq(vmc_json_string(there, "state", NULL), "absent"))
            return wait_cleared(conn, vm, name, deadline, err);
        if (strcmp(lists[i].list, "disks") == 0 && !there)
            there = vmc_json_item(vmc_json_at(vmi, "status.volumeStatus"), name);
        if (there) {
            vmc_error(err, VMCTL_E_BUSY, "%s has not let the %s %s go yet", vm->name, lists[i].kind, name);
            return vmc_error_next(err, "choose another name, or restart it first (vmctl restart %s)", vm->name);
        }
    }
    return 0;
}

int kubevirt_device_attach(void *conn, void *handle, const char *list, const vmctl_node *item,
                           const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                           vmctl_error **err) {
    kubevirt_vm *vm = handle;
    const char *name = vmctl_node_string(item, "name", "");
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    int code = check_name(conn, vm, name, &deadline, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", list, name);
    vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_ADD, path, item);
    code = run(conn, vm, diff, options->live, options->call, journal, effect, err);
    vmctl_diff_free(diff);
    return code;
}

static int no_such_device(const kubevirt_vm *vm, const vmctl_spec *spec, const char *name, vmctl_error **err) {
    VMC_AUTO_STR names = {0};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const vmctl_node *list = vmctl_node_get(vmctl_spec_root(spec), lists[i].list);
        for (size_t n = 0; n < vmctl_node_count(list); n++)
            vmc_str_printf(&names, "%s%s", names.length ? ", " : "",
                           vmctl_node_string(vmctl_node_at(list, n), "name", ""));
    }
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no device %s that can be detached; it has %s", vm->name, name,
              names.length ? names.text : "none");
    return vmc_error_next(err, "vmctl device list %s shows them", vm->name);
}

static void tell_what_stays(const kubevirt_vm *vm, const char *claim, const vmctl_call *call) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    if (claim)
        vmc_note(&deadline, VMCTL_NOTE_INFO, "the data of the disk stays: %s/%s", vm->namespace_name, claim);
}

/* The display and what belongs to the machine are settings: set changes them. */
static const char *setting_of(const char *name) {
    static const char *const settings[][2] = {
        {"display", "display.type"}, {"vnc", "display.type"}, {"serial", "serial"},
        {"tpm", "firmware.tpm"},     {"rng", "rng"},          {"watchdog", "watchdog"}};
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (strcmp(settings[i][0], name) == 0)
            return settings[i][1];
    return NULL;
}

int kubevirt_device_detach(void *opaque, void *handle, const char *name, const vmctl_attach_options *options,
                           vmctl_effect *effect, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *now = NULL;
    vmctl_spec *spec = NULL;
    int code = kubevirt_vm_get(conn, vm, &deadline, &now, err);
    VMC_AUTO_JSON *json = code == 0 ? kubevirt_read_vm(now, true) : NULL;
    if (code == 0)
        code = vmc_json_to_spec(json, &spec, err);
    if (code < 0)
        return code;
    const vmctl_node *item = NULL;
    VMC_AUTO_FREE char *path = NULL;
    for (size_t i = 0; !item && i < sizeof lists / sizeof lists[0]; i++) {
        VMC_AUTO_FREE char *tried = vmc_printf("%s.%s", lists[i].list, name);
        item = vmctl_node_get(vmctl_spec_root(spec), tried);
        if (item)
            path = vmc_strdup(tried);
    }
    const char *setting = item ? NULL : setting_of(name);
    if (item) {
        vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_REMOVE, path, item);
        code = run(conn, vm, diff, options->live, options->call, NULL, effect, err);
        vmctl_diff_free(diff);
        if (code == 0 && vmc_starts_with(path, "disks."))
            tell_what_stays(vm, kubevirt_claim_of(kubevirt_volume_of(now, name)), options->call);
    } else if (setting) {
        code = vmc_error(err, VMCTL_E_UNSUPPORTED, "%s of %s is a setting and no device of its own", name, vm->name);
        vmc_error_next(err, "vmctl set %s %s=...", vm->name, setting);
    } else {
        code = no_such_device(vm, spec, name, err);
    }
    vmctl_spec_free(spec);
    return code;
}

int kubevirt_drive_find(const kubevirt_vm *vm, const vmctl_spec *spec, const char *name, char **out,
                        vmctl_error **err) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(spec), "disks");
    VMC_AUTO_STRV names = {0};
    size_t at = 0;
    for (size_t i = 0; i < vmctl_node_count(disks); i++) {
        const vmctl_node *disk = vmctl_node_at(disks, i);
        if (vmctl_node_get(disk, "cdrom"))
            vmc_strv_add(&names, vmctl_node_string(disk, "name", ""));
    }
    int code = vmc_drive_pick(vm->name, &names, name, &at, err);
    if (code == 0 && names.items)
        *out = vmc_strdup(names.items[at]);
    return code;
}

int kubevirt_cdrom_change(void *conn, void *handle, const char *name, const char *image,
                          const vmctl_cdrom_options *options, vmc_journal *journal, vmctl_effect *effect,
                          vmctl_error **err) {
    kubevirt_vm *vm = handle;
    vmctl_spec *spec = NULL;
    VMC_AUTO_FREE char *drive = NULL;
    int code = kubevirt_spec(conn, vm, options->call, &spec, err);
    if (code == 0)
        code = kubevirt_drive_find(vm, spec, name, &drive, err);
    VMC_AUTO_FREE char *path = drive ? vmc_printf("disks.%s.cdrom", drive) : NULL;
    if (code == 0)
        code = vmctl_spec_set(spec, path, image ? image : "", err);
    if (code == 0) {
        vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_SET, path, vmctl_node_get(vmctl_spec_root(spec), path));
        code = run(conn, vm, diff, options->live, options->call, journal, effect, err);
        vmctl_diff_free(diff);
    }
    vmctl_spec_free(spec);
    return code;
}
