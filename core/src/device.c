#include "internal.h"
#include "spec_internal.h"
#include <string.h>

static const char *const kind_names[] = {
    [VMCTL_DEVICE_OTHER] = "other",     [VMCTL_DEVICE_DISK] = "disk",       [VMCTL_DEVICE_CDROM] = "cdrom",
    [VMCTL_DEVICE_NIC] = "nic",         [VMCTL_DEVICE_GPU] = "gpu",         [VMCTL_DEVICE_USB] = "usb",
    [VMCTL_DEVICE_SHARE] = "share",     [VMCTL_DEVICE_DISPLAY] = "display", [VMCTL_DEVICE_SERIAL] = "serial",
    [VMCTL_DEVICE_TPM] = "tpm",         [VMCTL_DEVICE_RNG] = "rng",         [VMCTL_DEVICE_WATCHDOG] = "watchdog",
    [VMCTL_DEVICE_CHANNEL] = "channel",
};

const char *vmctl_device_kind_name(vmctl_device_kind kind) {
    return (unsigned)kind < sizeof kind_names / sizeof kind_names[0] ? kind_names[kind] : kind_names[0];
}

static bool is_device_list(const char *list) {
    static const char *const lists[] = {"disks", "networks", "shares", "usb", "gpus"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (vmc_str_eq(lists[i], list))
            return true;
    return false;
}

static int check_item(vmc_op *op, const char *list, const vmctl_node *item) {
    if (!is_device_list(list))
        return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT,
                         "\"%s\" is no list of devices: disks, networks, shares, usb, gpus", list ? list : "");
    if (vmctl_node_kind(item) != VMCTL_KIND_MAP)
        return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, "no item of the list %s was given", list);
    int rc = vmc_check_text(vmctl_node_string(item, "name", NULL), "the device's name", &op->why);
    if (rc == 0)
        rc = vmc_node_check_rules(list, item, &op->why);
    return rc < 0 ? rc : vmc_node_check_brought(item, op->connection->entry->descriptor, &op->call, &op->why);
}

/* What a change of devices makes is noted in a journal, and removed again when it fails. */
static int open_journal(vmc_op *op, vmc_journal **journal) {
    VMC_AUTO_FREE char *operation = vmc_printf("change of the devices of %s", op->name);
    return vmc_journal_open(op->connection->uri, operation, journal, &op->why);
}

int vmctl_device_attach(vmctl_vm *vm, const char *list, const vmctl_node *item, const vmctl_attach_options *options,
                        vmctl_effect *effect, vmctl_error **err) {
    vmctl_attach_options o = VMCTL_ATTACH_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_device_attach, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    vmctl_effect ignored = VMCTL_EFFECT_NOW;
    vmc_journal *journal = NULL;
    if (rc == 0)
        rc = check_item(&op, list, item);
    if (rc == 0)
        rc = open_journal(&op, &journal);
    if (rc == 0) {
        rc = op.ops->device_attach(op.conn, op.handle, list, item, &o, journal, effect ? effect : &ignored, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    const char *name = vmctl_node_string(item, "name", NULL);
    return vmc_op_end(&op, rc, "attach %s to %s", name ? name : "a device", op.name);
}

int vmctl_device_detach(vmctl_vm *vm, const char *name, const vmctl_attach_options *options, vmctl_effect *effect,
                        vmctl_error **err) {
    vmctl_attach_options o = VMCTL_ATTACH_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_device_detach, o.call, VMC_ACT_MS, true, err);
    o.call = &op.call;
    vmctl_effect ignored = VMCTL_EFFECT_NOW;
    if (rc == 0)
        rc = vmc_check_text(name, "the device's name", &op.why);
    if (rc == 0)
        rc = op.ops->device_detach(op.conn, op.handle, name, &o, effect ? effect : &ignored, &op.why);
    return vmc_op_end(&op, rc, "detach %s from %s", name ? name : "a device", op.name);
}

int vmctl_cdrom_change(vmctl_vm *vm, const char *name, const char *image, const vmctl_cdrom_options *options,
                       vmctl_effect *effect, vmctl_error **err) {
    vmctl_cdrom_options o = VMCTL_CDROM_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    /* Without a limit of its own: the medium may have to be copied to the hypervisor's host. */
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_cdrom_change, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    vmctl_effect ignored = VMCTL_EFFECT_NOW;
    vmc_journal *journal = NULL;
    if (rc == 0 && image)
        rc = vmc_check_text(image, "the image", &op.why);
    if (rc == 0 && vmc_source_is_web(image)) {
        rc = vmc_error(&op.why, VMCTL_E_UNSUPPORTED, "%s is not on this machine; a drive takes a file", image);
        vmc_error_next(&op.why, "fetch it first (vmctl image pull)");
    }
    if (rc == 0)
        rc = open_journal(&op, &journal);
    if (rc == 0) {
        rc = op.ops->cdrom_change(op.conn, op.handle, name, image, &o, journal, effect ? effect : &ignored, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "%s the cdrom%s%s of %s", image ? "change" : "eject", name ? " " : "", name ? name : "",
                      op.name);
}

int vmctl_gpu_list(vmctl_connection *connection, const vmctl_call *call, vmctl_gpu_fn each, void *user,
                   vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_gpu_list, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->gpu_list(op.conn, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "list GPUs");
}

int vmctl_gpu_prepare(vmctl_connection *connection, const char *address, const vmctl_gpu_prepare_options *options,
                      vmctl_error **err) {
    vmctl_gpu_prepare_options o = VMCTL_GPU_PREPARE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_gpu_prepare, o.call, VMC_ACT_MS, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = vmc_check_text(address, "the device's address", &op.why);
    if (rc == 0)
        rc = op.ops->gpu_prepare(op.conn, address, &o, &op.why);
    return vmc_op_end(&op, rc, "%s %s", o.undo ? "give back" : "prepare", address ? address : "the GPU");
}
