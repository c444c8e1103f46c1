/* backends/libvirt/volume.c - volumes that exist: finding and removing. */
#include "storage.h"

#include "base/file.h"
#include "rpc.h"
#include "xpath.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- finding ---------------------------------------------------------------------------------------------- */

static int describe(libvirt_rpc *rpc) {
    rpc->found = rpc->volume != NULL;
    if (!rpc->volume)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    rpc->out = virStorageVolGetXMLDesc(rpc->volume, 0);
    if (rpc->out)
        return 0;
    int code = libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    if (code < 0)
        return code;
    virStorageVolFree(rpc->volume); /* its file went without the pool being told */
    rpc->volume = NULL;
    return 0;
}

/* name (a path) -> volume, out, found */
static int work_by_path(libvirt_rpc *rpc) {
    rpc->volume = virStorageVolLookupByPath(rpc->virt, rpc->name);
    return describe(rpc);
}

/* text (a pool) and name -> volume, out, found */
static int work_by_name(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByName(rpc->virt, rpc->text);
    if (!rpc->pool)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
    rpc->volume = virStorageVolLookupByName(rpc->pool, rpc->name);
    return describe(rpc);
}

int libvirt_volume_find(libvirt_conn *conn, const char *name, const vmc_deadline *deadline, virStorageVolPtr *volume,
                        char **xml, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    const char *slash = strchr(name, '/');
    int code = 0;
    if (slash && slash != name) {
        rpc->text = vmc_strndup(name, (size_t)(slash - name));
        rpc->name = vmc_strdup(slash + 1);
    } else {
        rpc->name = vmc_strdup(name);
    }
    if (!slash) {
        libvirt_pool *pool = NULL;
        code = libvirt_pool_find(conn, NULL, deadline, &pool, err);
        if (code < 0)
            return code;
        rpc->text = vmc_strdup(pool->name);
        libvirt_pool_free(pool);
    }
    code = libvirt_rpc_run(conn, deadline, "looking for the volume", rpc->text ? work_by_name : work_by_path, rpc, err);
    if (code < 0)
        return code;
    *xml = rpc->out;
    rpc->out = NULL;
    if (volume) {
        *volume = rpc->volume;
        rpc->volume = NULL;
    }
    return 0;
}

/* --- removing --------------------------------------------------------------------------------------------- */

/* name (a path) -> found: it was there and is removed */
static int work_remove(libvirt_rpc *rpc) {
    rpc->volume = virStorageVolLookupByPath(rpc->virt, rpc->name);
    rpc->found = rpc->volume != NULL;
    if (!rpc->volume)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_VOL);
    return virStorageVolDelete(rpc->volume, 0);
}

/* The same after the pool of its folder (text) has looked again. */
static int work_refresh_remove(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByTargetPath(rpc->virt, rpc->text);
    if (!rpc->pool)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
    if (virStoragePoolRefresh(rpc->pool, 0) < 0)
        return -1;
    return work_remove(rpc);
}

int libvirt_remove_path(libvirt_conn *conn, const char *path, const vmc_deadline *deadline, bool *gone,
                        vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(path);
    int code = libvirt_rpc_run(conn, deadline, "removing the volume", work_remove, rpc, err);
    *gone = code == 0 && rpc->found;
    if (code < 0 || *gone)
        return code;
    if (conn->local && !conn->test_driver) {
        struct stat st;
        if (lstat(path, &st) < 0 && errno == ENOENT)
            return 0;
        if (unlink(path) == 0) {
            *gone = true;
            return 0;
        }
        if (errno != EACCES && errno != EPERM)
            return vmc_error_errno(err, errno, "cannot remove %s", path);
    }
    rpc->text = vmc_path_dirname(path);
    code = libvirt_rpc_run(conn, deadline, "removing the volume", work_refresh_remove, rpc, err);
    *gone = code == 0 && rpc->found;
    return code;
}

int libvirt_remove_log(libvirt_conn *conn, const char *path, const vmc_deadline *deadline, bool *gone,
                       vmctl_error **err) {
    bool found = false;
    int code = libvirt_remove_path(conn, path, deadline, &found, err);
    if (gone)
        *gone = found;
    for (int i = 0; code == 0 && found; i++) {
        VMC_AUTO_FREE char *older = vmc_printf("%s.%d", path, i);
        code = libvirt_remove_path(conn, older, deadline, &found, err);
    }
    return code;
}
