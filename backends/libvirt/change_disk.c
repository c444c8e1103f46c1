/* backends/libvirt/change_disk.c - growing a disk. */
#include "change.h"

#include "drivers/qemu_img/qemu_img.h"
#include "rpc.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* domain and name (its target) -> number (capacity) */
static int work_capacity(libvirt_rpc *rpc) {
    virDomainBlockInfo info;
    if (virDomainGetBlockInfo(rpc->domain, rpc->name, &info, 0) < 0)
        return -1;
    rpc->number = info.capacity;
    return 0;
}

/* domain, name (its target) and number (bytes) */
static int work_block_resize(libvirt_rpc *rpc) {
    return virDomainBlockResize(rpc->domain, rpc->name, rpc->number, VIR_DOMAIN_BLOCK_RESIZE_BYTES);
}

/* volume and number (bytes) */
static int work_volume_resize(libvirt_rpc *rpc) {
    return virStorageVolResize(rpc->volume, rpc->number, 0);
}

static int grow_file(libvirt_changing *ch, libvirt_rpc *rpc, const vmctl_device *disk, vmctl_error **err) {
    libvirt_conn *conn = ch->conn;
    if (conn->local && !conn->test_driver && access(disk->source, R_OK | W_OK) == 0)
        return qemu_img_resize(disk->source, disk->type ? disk->type : "raw", rpc->number, false, ch->deadline, err);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(conn, disk->source, ch->deadline, &rpc->volume, &xml, err);
    if (code < 0)
        return code;
    if (!xml)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "%s belongs to no pool, so that it cannot be grown from here",
                         disk->source);
    return libvirt_rpc_run(conn, ch->deadline, "growing the volume", work_volume_resize, rpc, err);
}

int libvirt_grow_disk(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *running = ch->active ? libvirt_step_device(ch->now, "disks", step->name) : NULL;
    const vmctl_device *disk = running ? running : libvirt_step_device(ch->config, "disks", step->name);
    uint64_t bytes = (uint64_t)vmctl_node_integer(step->change->want, NULL, 0);
    if (!disk || disk->kind != VMCTL_DEVICE_DISK || !disk->source || !disk->target)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "there is no disk %s to grow", step->name);
    if (bytes == 0)
        return 0;
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->name = vmc_strdup(disk->target);
    int code = libvirt_rpc_run(ch->conn, ch->deadline, "asking for the disk's size", work_capacity, rpc, err);
    if (code < 0 || rpc->number == bytes)
        return code;
    if (rpc->number > bytes) {
        VMC_AUTO_FREE char *has = vmc_format_size((long long)rpc->number);
        VMC_AUTO_FREE char *wants = vmc_format_size((long long)bytes);
        return vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "disk %s is %s, and making it %s would cut data off",
                         step->name, has, wants);
    }
    rpc->number = bytes;
    code = running ? libvirt_rpc_run(ch->conn, ch->deadline, "growing the disk", work_block_resize, rpc, err)
                   : grow_file(ch, rpc, disk, err);
    return code < 0 ? vmc_error_prefix(err, "disk %s", step->name) : 0;
}
