/* backends/libvirt/images.c - images that the endpoint's pools keep. */
#include "ops.h"

#include "base/file.h"
#include "rpc.h"
#include "storage.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>

enum { IMAGES_MS = 120000 };

/* --- list ------------------------------------------------------------------------------------------------- */

/* -> list: the pool's name and the document of each volume. One call a volume: libvirt has none for many. */
static void add_volumes(libvirt_rpc *rpc, virStoragePoolPtr pool) {
    virStorageVolPtr *volumes = NULL;
    if (virStoragePoolRefresh(pool, 0) < 0)
        virResetLastError(); /* it is busy: then what it knew last */
    int count = virStoragePoolListAllVolumes(pool, &volumes, 0);
    for (int i = 0; i < count; i++) {
        char *xml = virStorageVolGetXMLDesc(volumes[i], 0);
        virStorageVolFree(volumes[i]);
        if (!xml) /* removed meanwhile */
            continue;
        vmc_strv_add(&rpc->list, virStoragePoolGetName(pool));
        vmc_strv_take(&rpc->list, xml);
    }
    free(volumes);
}

/* name (a pool; NULL: all active ones) -> list, found: the pool is there */
static int work_list(libvirt_rpc *rpc) {
    if (rpc->name) {
        rpc->pool = virStoragePoolLookupByName(rpc->virt, rpc->name);
        rpc->found = rpc->pool != NULL;
        if (!rpc->pool)
            return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
        add_volumes(rpc, rpc->pool);
        return 0;
    }
    rpc->found = true;
    virStoragePoolPtr *pools = NULL;
    int count = virConnectListAllStoragePools(rpc->virt, &pools, VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE);
    for (int i = 0; i < count; i++) {
        add_volumes(rpc, pools[i]);
        virStoragePoolFree(pools[i]);
    }
    free(pools);
    return count < 0 ? -1 : 0;
}

static uint64_t number_at(const char *xml, const char *xpath) {
    VMC_AUTO_FREE char *text = libvirt_xpath_text(xml, xpath);
    return text ? strtoull(text, NULL, 10) : 0;
}

static int tell_volume(const char *pool, const char *xml, vmctl_image_fn each, void *user) {
    VMC_AUTO_FREE char *name = libvirt_xpath_text(xml, "/volume/name");
    VMC_AUTO_FREE char *path = libvirt_xpath_text(xml, "/volume/target/path");
    VMC_AUTO_FREE char *format = libvirt_xpath_text(xml, "/volume/target/format/@type");
    VMC_AUTO_FREE char *backing = libvirt_xpath_text(xml, "/volume/backingStore/path");
    VMC_AUTO_FREE char *type = libvirt_xpath_text(xml, "/volume/@type");
    bool unfinished = name && *name == '.'; /* storage_make.c */
    if (unfinished || vmc_str_eq(type, "dir") || vmc_str_eq(format, "dir"))
        return 0;
    vmctl_image image = {
        .size = sizeof image,
        .name = name,
        .path = path,
        .format = format ? format : "raw",
        .virtual_bytes = number_at(xml, "/volume/capacity"),
        .allocated_bytes = number_at(xml, "/volume/allocation"),
        .backing = backing,
        .modified = (int64_t)number_at(xml, "/volume/target/timestamps/mtime"),
        .pool = pool,
    };
    return each(&image, user);
}

int libvirt_image_list(void *conn, const char *pool, const vmctl_call *call, vmctl_image_fn each, void *user,
                       vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, IMAGES_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(pool);
    int code = libvirt_rpc_run(conn, &deadline, "listing the volumes", work_list, rpc, err);
    if (code < 0)
        return code;
    if (!rpc->found) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "there is no storage pool \"%s\"", pool);
        return vmc_error_next(err, "vmctl pool list shows those there are");
    }
    for (size_t i = 0; i + 1 < rpc->list.count; i += 2)
        if (tell_volume(rpc->list.items[i], rpc->list.items[i + 1], each, user) != 0)
            break;
    return 0;
}

/* --- upload ----------------------------------------------------------------------------------------------- */

int libvirt_image_upload(void *conn, const char *path, const vmctl_image_upload_options *options, vmc_journal *journal,
                         vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    const char *name = options->name ? options->name : vmc_path_basename(path);
    if (!*name || *name == '.' || strchr(name, '/'))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" cannot be a volume's name", name);
    libvirt_store store;
    libvirt_file file = {0};
    libvirt_store_open(&store, conn, &deadline, NULL, NULL);
    int code = libvirt_plan_upload(&store, path, name, options->pool, &file, err);
    if (code == 0)
        code = libvirt_make_pools(&store, err);
    if (code == 0)
        code = libvirt_make_file(&store, &file, journal, err);
    libvirt_store_sync(&store);
    libvirt_file_free(&file);
    libvirt_store_close(&store);
    return code;
}

/* --- delete ----------------------------------------------------------------------------------------------- */

/* volume -> list (of its pool), as work_list */
static int work_neighbours(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByVolume(rpc->volume);
    if (!rpc->pool)
        return -1;
    add_volumes(rpc, rpc->pool);
    return 0;
}

static int work_delete(libvirt_rpc *rpc) {
    return virStorageVolDelete(rpc->volume, 0);
}

static int check_unused(libvirt_conn *conn, libvirt_rpc *rpc, const char *path, const vmc_deadline *deadline,
                        vmctl_error **err) {
    VMC_AUTO_STRV users = {0};
    int code = libvirt_path_users(conn, path, NULL, deadline, &users, NULL, err);
    if (code == 0 && users.count > 0) {
        VMC_AUTO_FREE char *names = vmc_strv_join(&users, ", ");
        vmc_error(err, VMCTL_E_BUSY, "%s is used by %s", path, names);
        return vmc_error_next(err, "delete that VM first, or take the disk out of it");
    }
    if (code == 0)
        code = libvirt_rpc_run(conn, deadline, "listing the volumes", work_neighbours, rpc, err);
    for (size_t i = 0; code == 0 && i + 1 < rpc->list.count; i += 2) {
        VMC_AUTO_FREE char *backing = libvirt_xpath_text(rpc->list.items[i + 1], "/volume/backingStore/path");
        if (!vmc_str_eq(backing, path))
            continue;
        VMC_AUTO_FREE char *overlay = libvirt_xpath_text(rpc->list.items[i + 1], "/volume/name");
        vmc_error(err, VMCTL_E_BUSY, "%s is the backing file of %s/%s", path, rpc->list.items[i], overlay);
        return vmc_error_next(err, "delete the overlay first");
    }
    return code;
}

int libvirt_image_delete(void *conn, const char *name, const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, IMAGES_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(conn, name, &deadline, &rpc->volume, &xml, err);
    if (code == 0 && !xml) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "there is no image %s", name);
        return vmc_error_next(err, "vmctl image list shows those there are");
    }
    VMC_AUTO_FREE char *path = xml ? libvirt_xpath_text(xml, "/volume/target/path") : NULL;
    if (code == 0)
        code = check_unused(conn, rpc, path ? path : name, &deadline, err);
    if (code == 0)
        code = libvirt_rpc_run(conn, &deadline, "deleting the volume", work_delete, rpc, err);
    return code;
}
