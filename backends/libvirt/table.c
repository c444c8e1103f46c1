/* The table of operations; descriptor.c says the same as data, and a test holds them against each other. */
#include "ops.h"

static const vmctl_backend_ops libvirt_ops = {
    .size = sizeof libvirt_ops,
    .abi = VMCTL_BACKEND_ABI,

    .open = libvirt_open,
    .close = libvirt_close,
    .undo = libvirt_undo,

    .list = libvirt_list,
    .lookup = libvirt_lookup,
    .release = libvirt_release,
    .get = libvirt_get,
    .spec = libvirt_spec,
    .native = libvirt_native,
    .render = libvirt_render,

    .create = libvirt_create,
    .remove = libvirt_remove,
    .change = libvirt_change,

    .start = libvirt_start,
    .stop = libvirt_stop,
    .restart = libvirt_restart,
    .reboot = libvirt_reboot,
    .reset = libvirt_reset,
    .pause = libvirt_pause,
    .resume = libvirt_resume,
    .save = libvirt_save,
    .rename = libvirt_rename,
    .clone = libvirt_clone,

    .snapshot_create = libvirt_snapshot_create,
    .snapshot_list = libvirt_snapshot_list,
    .snapshot_rename = libvirt_snapshot_rename,
    .snapshot_revert = libvirt_snapshot_revert,
    .snapshot_delete = libvirt_snapshot_delete,

    .migrate = libvirt_migrate,
    .migrate_abort = libvirt_migrate_abort,

    .device_attach = libvirt_device_attach,
    .device_detach = libvirt_device_detach,
    .cdrom_change = libvirt_cdrom_change,

    .events = libvirt_events,
    .console_open = libvirt_console_open,
    .serial_log = libvirt_serial_log,
    .display_list = libvirt_display_list,
    .screenshot = libvirt_screenshot,
    .send_keys = libvirt_send_keys,

    .guest_exec = libvirt_guest_exec,
    .guest_copy_in = libvirt_guest_copy_in,
    .guest_copy_out = libvirt_guest_copy_out,
    .guest_freeze = libvirt_guest_freeze,
    .guest_thaw = libvirt_guest_thaw,
    .guest_set_password = libvirt_guest_set_password,
    .guest_forward = libvirt_guest_forward,

    .host_info = libvirt_host_info,
    .host_list = libvirt_host_list,
    .pool_list = libvirt_pool_list,
    .network_list = libvirt_network_list,
    .metrics_list = libvirt_metrics_list,
    .image_list = libvirt_image_list,
    .image_upload = libvirt_image_upload,
    .image_download = libvirt_image_download,
    .image_delete = libvirt_image_delete,
    .export_ova = libvirt_export_ova,
    .dump = libvirt_dump,
    .import_ova = libvirt_import_ova,

    .probe = libvirt_probe,
};

VMCTL_BACKEND_MODULE(libvirt, libvirt_ops)
