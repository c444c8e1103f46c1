/* backends/libvirt/storage_clone.c - planning a second disk from one that the host has already. */
#include "storage.h"

#include "base/file.h"
#include "drivers/qemu_img/qemu_img.h"
#include "rpc.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>

/* text (folder) -> out (the pool's name), found */
static int work_pool_at(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByTargetPath(rpc->virt, rpc->text);
    if (!rpc->pool)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
    rpc->found = true;
    rpc->out = vmc_strdup(virStoragePoolGetName(rpc->pool));
    return 0;
}

static int pool_of(libvirt_store *store, const char *path, char **name, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(store->conn);
    rpc->text = vmc_path_dirname(path);
    int code = libvirt_rpc_run(store->conn, store->deadline, "looking for the disk's pool", work_pool_at, rpc, err);
    if (code == 0) {
        *name = rpc->out;
        rpc->out = NULL;
    }
    return code;
}

/* Where this process cannot read the disk, the daemon tells how large it is. */
static int size_by_daemon(libvirt_store *store, const char *source, libvirt_file *out, vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(store->conn, source, store->deadline, NULL, &xml, err);
    if (code < 0)
        return code;
    if (!xml) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s (%s) is in no storage pool, and this process cannot read it",
                  out->device, source);
        return vmc_error_next(err, "make its folder a pool (virsh pool-create-as NAME dir --target FOLDER), or do this "
                                   "on the host as root");
    }
    VMC_AUTO_FREE char *bytes = libvirt_xpath_text(xml, "/volume/capacity");
    VMC_AUTO_FREE char *allocated = libvirt_xpath_text(xml, "/volume/allocation");
    out->source_bytes = bytes ? strtoull(bytes, NULL, 10) : 0;
    if (out->kind == LIBVIRT_FILE_FLAT)
        out->pool->wanted_bytes += allocated ? strtoull(allocated, NULL, 10) : 0;
    return 0;
}

static int size_of(libvirt_store *store, const char *source, const char *format, libvirt_file *out, vmctl_error **err) {
    QEMU_IMG_AUTO_INFO info = {0};
    if (!out->pool->direct)
        return size_by_daemon(store, source, out, err);
    int code = qemu_img_inspect(source, format, store->deadline, &info, err);
    if (code < 0)
        return code;
    if (info.encrypted)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s (%s) is encrypted", out->device, source);
    if (out->snapshot && !vmc_strv_has(&info.snapshots, out->snapshot))
        return vmc_error(err, VMCTL_E_NOT_FOUND, "disk %s (%s) has no snapshot %s in it", out->device, source,
                         out->snapshot);
    out->source_bytes = info.virtual_bytes;
    if (out->kind == LIBVIRT_FILE_FLAT) /* what it stands on may add to that, up to its whole size */
        out->pool->wanted_bytes += info.backing ? info.virtual_bytes / 2 : info.allocated_bytes;
    return 0;
}

int libvirt_plan_clone(libvirt_store *store, libvirt_file_kind kind, const char *source, const char *format,
                       const char *snapshot, const char *device, libvirt_file *out, vmctl_error **err) {
    bool is_overlay = kind == LIBVIRT_FILE_OVERLAY;
    *out = (libvirt_file){.kind = kind};
    out->device = vmc_strdup(device);
    out->source = vmc_strdup(source);
    out->source_format = vmc_strdup(format);
    out->snapshot = vmc_strdup(snapshot);
    out->format = vmc_strdup(is_overlay ? "qcow2" : format);
    VMC_AUTO_FREE char *pool = NULL;
    int code = pool_of(store, source, &pool, err);
    VMC_AUTO_FREE char *name = vmc_printf("%s-%s.%s", store->vm, device, out->format);
    if (code == 0)
        code = libvirt_place_file(store, NULL, pool, name, out, err);
    if (code == 0 && out->block && is_overlay)
        code = vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is a volume of pool %s, where no overlay can be", device,
                         out->pool->name);
    if (code == 0 && snapshot && !out->pool->direct) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "libvirt's daemon copies no single snapshot out of a qcow2 disk");
        vmc_error_next(err, "do this on the host itself, as root");
        code = VMCTL_E_UNSUPPORTED;
    }
    if (code == 0)
        code = size_of(store, source, format, out, err);
    if (code < 0)
        libvirt_file_free(out);
    return code;
}
