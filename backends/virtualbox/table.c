/* The table of operations; descriptor.c says the same as data, and a test holds them against each other. */
#include "ops.h"

static const vmctl_backend_ops virtualbox_ops = {
    .size = sizeof virtualbox_ops,
    .abi = VMCTL_BACKEND_ABI,

    .open = virtualbox_open,
    .close = virtualbox_close,
    .undo = virtualbox_undo,

    .list = virtualbox_list,
    .lookup = virtualbox_lookup,
    .release = virtualbox_release,
    .get = virtualbox_get,
    .spec = virtualbox_spec,
    .native = virtualbox_native,
    .render = virtualbox_render,

    .create = virtualbox_create,
    .remove = virtualbox_remove,
    .change = virtualbox_change,
    .device_attach = virtualbox_device_attach,
    .device_detach = virtualbox_device_detach,
    .cdrom_change = virtualbox_cdrom_change,

    .start = virtualbox_start,
    .stop = virtualbox_stop,
    .restart = virtualbox_restart,
    .reboot = virtualbox_reboot,
    .reset = virtualbox_reset,
    .pause = virtualbox_pause,
    .resume = virtualbox_resume,
    .save = virtualbox_save,
    .rename = virtualbox_rename,
    .clone = virtualbox_clone,

    .snapshot_create = virtualbox_snapshot_create,
    .snapshot_list = virtualbox_snapshot_list,
    .snapshot_rename = virtualbox_snapshot_rename,
    .snapshot_revert = virtualbox_snapshot_revert,
    .snapshot_delete = virtualbox_snapshot_delete,

    .migrate = virtualbox_migrate,
    .migrate_abort = virtualbox_migrate_abort,
    .export_ova = virtualbox_export_ova,
    .dump = virtualbox_dump,
    .import_ova = virtualbox_import_ova,

    .events = virtualbox_events,
    .console_open = virtualbox_console_open,
    .serial_log = virtualbox_serial_log,
    .display_list = virtualbox_display_list,
    .screenshot = virtualbox_screenshot,
    .send_keys = virtualbox_send_keys,
    .guest_exec = virtualbox_guest_exec,
    .guest_copy_in = virtualbox_guest_copy_in,
    .guest_copy_out = virtualbox_guest_copy_out,
    .guest_set_password = virtualbox_guest_set_password,
    .guest_forward = virtualbox_guest_forward,

    .host_info = virtualbox_host_info,
    .host_list = virtualbox_host_list,
    .pool_list = virtualbox_pool_list,
    .network_list = virtualbox_network_list,
    .probe = virtualbox_probe,
    .metrics_list = virtualbox_metrics_list,
};

VMCTL_BACKEND_MODULE(virtualbox, virtualbox_ops)
