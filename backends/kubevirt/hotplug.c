/* Devices that come and go: one change of the VM, and a watch until its instance has them. */
#include "change.h"

#include "backends/shared/drive.h"
#include <string.h>

typedef struct attached {
    const char *name;
    bool adding;
} attached;

static bool is_here(const cJSON *vmi, const char *name) {
    const cJSON *volume = vmc_json_item(vmc_json_at(vmi, "status.volumeStatus"), name);
    const char *phase = vmc_json_string(volume, "phase", NULL);
    /* A volume of the boot has no phase, but a target. */
    return volume && (!phase || strcmp(phase, "Ready") == 0);
}

static int is_settled(const cJSON *vmi, void *user, vmctl_error **err) {
    const attached *a = user;
    if (!vmi)
        return 1; /* it stopped meanwhile: the next start has it as it is now */
    const cJSON *volume = vmc_json_item(vmc_json_at(vmi, "status.volumeStatus"), a->name);
    if (!a->adding)
        return volume == NULL;
    const char *reason = vmc_json_string(volume, "reason", "");
    if (strstr(reason, "Failed"))
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "the disk %s did not come: %s", a->name,
                         vmc_json_string(volume, "message", reason));
    return is_here(vmi, a->name);
}

static void take_effect(const vmctl_change *change, vmctl_effect effect, void *user) {
    (void)change;
    *(vmctl_effect *)user = effect;
}

static int run(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_diff *diff, const char *disk, bool adding, bool live,
               const vmctl_call *call, vmctl_effect *effect, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ACT_MS);
    vmctl_effect own = VMCTL_EFFECT_NOW;
    vmctl_change_options options = VMCTL_CHANGE_OPTIONS_INIT;
    options.live = live;
    options.changed = take_effect;
    options.user = &own;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = kubevirt_changing_run(conn, vm, diff, &options, &deadline, err);
    if (code < 0)
        return code;
    if (effect)
        *effect = own;
    if (!disk || own != VMCTL_EFFECT_NOW)
        return 0;
    code = kubevirt_vm_state(conn, vm, &deadline, &state, NULL, err);
    if (code < 0 || (state != VMCTL_STATE_RUNNING && state != VMCTL_STATE_PAUSED))
        return code;
    attached a = {.name = disk, .adding = adding};
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for disk %s to %s", disk, adding ? "come" : "go");
    const kubevirt_waiting waiting = {
        .plural = "virtualmachineinstances", .name = vm->name, .doing = doing, .settled = is_settled, .user = &a};
    return kubevirt_wait(conn, vm, &waiting, &deadline, err);
}

int kubevirt_device_attach(void *conn, void *handle, const char *list, const vmctl_node *item,
                           const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                           vmctl_error **err) {
    (void)journal; /* one patch: nothing is half made */
    kubevirt_vm *vm = handle;
    const char *name = vmctl_node_string(item, "name", "");
    VMC_AUTO_JSON *now = NULL;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    int code = kubevirt_vm_get(conn, vm, &deadline, &now, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *spec = kubevirt_read_vm(now, true);
    static const char *const lists[] = {"disks", "networks", "gpus", "usb"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (vmc_json_item(vmc_json_key(spec, lists[i]), name))
            return vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a device %s already", vm->name, name);
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", list, name);
    vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_ADD, path, item);
    bool disk = strcmp(list, "disks") == 0;
    code = run(conn, vm, diff, disk ? name : NULL, true, options->live, options->call, effect, err);
    vmctl_diff_free(diff);
    return code;
}

static int no_such_device(const kubevirt_vm *vm, const char *name, vmctl_error **err) {
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no device %s", vm->name, name);
    return vmc_error_next(err, "vmctl device list %s shows them", vm->name);
}

int kubevirt_device_detach(void *conn, void *handle, const char *name, const vmctl_attach_options *options,
                           vmctl_effect *effect, vmctl_error **err) {
    kubevirt_vm *vm = handle;
    vmctl_spec *spec = NULL;
    int code = kubevirt_spec(conn, vm, options->call, &spec, err);
    if (code < 0)
        return code;
    static const char *const lists[] = {"disks", "networks", "gpus", "usb"};
    const vmctl_node *item = NULL;
    VMC_AUTO_FREE char *path = NULL;
    for (size_t i = 0; !item && i < sizeof lists / sizeof lists[0]; i++) {
        VMC_AUTO_FREE char *tried = vmc_printf("%s.%s", lists[i], name);
        item = vmctl_node_get(vmctl_spec_root(spec), tried);
        if (item)
            path = vmc_strdup(tried);
    }
    if (item) {
        vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_REMOVE, path, item);
        bool disk = vmc_starts_with(path, "disks.");
        code = run(conn, vm, diff, disk ? name : NULL, false, options->live, options->call, effect, err);
        vmctl_diff_free(diff);
    } else {
        code = no_such_device(vm, name, err);
    }
    vmctl_spec_free(spec);
    return code;
}

/* The only drive, or the one of that name. */
static int find_drive(const kubevirt_vm *vm, const vmctl_spec *spec, const char *name, char **out, vmctl_error **err) {
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
    (void)journal;
    kubevirt_vm *vm = handle;
    vmctl_spec *spec = NULL;
    VMC_AUTO_FREE char *drive = NULL;
    int code = kubevirt_spec(conn, vm, options->call, &spec, err);
    if (code == 0)
        code = find_drive(vm, spec, name, &drive, err);
    VMC_AUTO_FREE char *path = drive ? vmc_printf("disks.%s.cdrom", drive) : NULL;
    if (code == 0)
        code = vmctl_spec_set(spec, path, image ? image : "", err);
    if (code == 0) {
        vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_SET, path, vmctl_node_get(vmctl_spec_root(spec), path));
        code = run(conn, vm, diff, NULL, true, options->live, options->call, effect, err);
        vmctl_diff_free(diff);
    }
    vmctl_spec_free(spec);
    return code;
}
