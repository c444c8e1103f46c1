/* The table of operations; descriptor.c says the same as data, and a test holds them against each other. */
#include "ops.h"

static const vmctl_backend_ops kubevirt_ops = {
    .size = sizeof kubevirt_ops,
    .abi = VMCTL_BACKEND_ABI,

    .open = kubevirt_open,
    .close = kubevirt_close,
    .undo = kubevirt_undo,

    .list = kubevirt_list,
    .lookup = kubevirt_lookup,
    .release = kubevirt_release,
    .get = kubevirt_get,
    .spec = kubevirt_spec,
    .native = kubevirt_native,
    .render = kubevirt_render,

    .create = kubevirt_create,
    .remove = kubevirt_remove,
    .change = kubevirt_change,
    .change_native = kubevirt_change_native,

    .start = kubevirt_start,
    .stop = kubevirt_stop,
    .restart = kubevirt_restart,
    .reboot = kubevirt_reboot,
    .reset = kubevirt_reset,
    .pause = kubevirt_pause,
    .resume = kubevirt_resume,

    .clone = kubevirt_clone,

    .snapshot_create = kubevirt_snapshot_create,
    .snapshot_list = kubevirt_snapshot_list,
    .snapshot_revert = kubevirt_snapshot_revert,
    .snapshot_delete = kubevirt_snapshot_delete,

    .device_attach = kubevirt_device_attach,
    .device_detach = kubevirt_device_detach,
    .cdrom_change = kubevirt_cdrom_change,
    .gpu_list = kubevirt_gpu_list,

    .migrate = kubevirt_migrate,
    .migrate_abort = kubevirt_migrate_abort,

    .events = kubevirt_events,
    .serial_log = kubevirt_serial_log,
    .console_open = kubevirt_console_open,
    .display_list = kubevirt_display_list,
    .screenshot = kubevirt_screenshot,

    .guest_freeze = kubevirt_guest_freeze,
    .guest_thaw = kubevirt_guest_thaw,
    .guest_forward = kubevirt_guest_forward,
    .dump = kubevirt_dump,

    .probe = kubevirt_probe,

    .host_info = kubevirt_host_info,
    .host_list = kubevirt_host_list,
    .pool_list = kubevirt_pool_list,
    .network_list = kubevirt_network_list,

    .image_list = kubevirt_image_list,
    .image_upload = kubevirt_image_upload,
    .image_download = kubevirt_image_download,
    .image_delete = kubevirt_image_delete,
};

VMCTL_BACKEND_MODULE(kubevirt, kubevirt_ops)
