/* backends/libvirt/pool.c - storage pools: finding, making and starting them; pool_list. */
#include "pool.h"

#include "base/file.h"
#include "base/log.h"
#include "ops.h"
#include "rpc.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { POOL_MS = 60000 };

void libvirt_pool_free(libvirt_pool *pool) {
    if (!pool)
        return;
    if (pool->virt)
        virStoragePoolFree(pool->virt);
    free(pool->wanted_as);
    free(pool->name);
    free(pool->type);
    free(pool->path);
    free(pool);
}

/* --- on the worker ---------------------------------------------------------------------------------------- */

/* pool -> out (XML), found (active) */
static int work_describe(libvirt_rpc *rpc) {
    int active = virStoragePoolIsActive(rpc->pool);
    if (active < 0)
        return -1;
    rpc->out = virStoragePoolGetXMLDesc(rpc->pool, 0);
    rpc->found = active == 1;
    return rpc->out ? 0 : -1;
}

/* name -> pool, found */
static int work_lookup(libvirt_rpc *rpc) {
    rpc->pool = virStoragePoolLookupByName(rpc->virt, rpc->name);
    rpc->found = rpc->pool != NULL;
    return rpc->pool ? 0 : libvirt_rpc_absent(rpc, VIR_ERR_NO_STORAGE_POOL);
}

/* name (a path) -> list (names of all pools), pool and found (the one at that path) */
static int work_survey(libvirt_rpc *rpc) {
    virStoragePoolPtr *pools = NULL;
    int count = virConnectListAllStoragePools(rpc->virt, &pools, 0);
    for (int i = 0; i < count; i++) {
        vmc_strv_add(&rpc->list, virStoragePoolGetName(pools[i]));
        char *xml = rpc->pool ? NULL : virStoragePoolGetXMLDesc(pools[i], 0);
        VMC_AUTO_FREE char *path = xml ? libvirt_xpath_text(xml, "/pool[@type='dir']/target/path") : NULL;
        free(xml);
        if (path && rpc->name && strcmp(path, rpc->name) == 0)
            rpc->pool = pools[i];
        else
            virStoragePoolFree(pools[i]);
    }
    free(pools);
    rpc->found = rpc->pool != NULL;
    return count < 0 ? -1 : 0;
}

/* Somebody else may have started it meanwhile. */
static int start_pool(libvirt_rpc *rpc) {
    if (virStoragePoolCreate(rpc->pool, 0) == 0)
        return 0;
    rpc->failure = virSaveLastError();
    return virStoragePoolIsActive(rpc->pool) == 1 ? 0 : -1;
}

/* pool, or name and text (XML) for a new one -> pool */
static int work_ready(libvirt_rpc *rpc) {
    bool made = false;
    if (!rpc->pool) {
        rpc->pool = virStoragePoolDefineXML(rpc->virt, rpc->text, 0);
        made = rpc->pool != NULL;
        if (!made) {
            rpc->failure = virSaveLastError();
            rpc->pool = virStoragePoolLookupByName(rpc->virt, rpc->name);
        }
    }
    if (!rpc->pool)
        return -1;
    virFreeError(rpc->failure);
    rpc->failure = NULL;
    if (made && virStoragePoolBuild(rpc->pool, 0) < 0)
        virResetLastError(); /* the start says what is wrong with the folder */
    if (start_pool(rpc) < 0) {
        if (made)
            virStoragePoolUndefine(rpc->pool);
        return -1;
    }
    if (made && virStoragePoolSetAutostart(rpc->pool, 1) < 0)
        virResetLastError();
    return 0;
}

static int work_refresh(libvirt_rpc *rpc) {
    return virStoragePoolRefresh(rpc->pool, 0);
}

/* --- finding ---------------------------------------------------------------------------------------------- */

static uint64_t number_at(const char *xml, const char *xpath) {
    VMC_AUTO_FREE char *text = libvirt_xpath_text(xml, xpath);
    return text ? strtoull(text, NULL, 10) : 0;
}

/* The usual place, as virt-install and virt-manager have it; NULL: not known (the session of another machine). */
static char *default_path(const libvirt_conn *conn) {
    if (!conn->session)
        return vmc_strdup("/var/lib/libvirt/images");
    if (!conn->local)
        return NULL;
    const char *data = getenv("XDG_DATA_HOME");
    if (data && *data == '/')
        return vmc_printf("%s/libvirt/images", data);
    VMC_AUTO_FREE char *home = vmc_path_absolute(NULL, "~/.local/share/libvirt/images");
    return vmc_strdup(home);
}

static void look_at_folder(const libvirt_conn *conn, libvirt_pool *pool) {
    pool->folder = vmc_str_eq(pool->type, "dir") || vmc_str_eq(pool->type, "fs") || vmc_str_eq(pool->type, "netfs");
    pool->direct =
        pool->folder && conn->local && !conn->test_driver && pool->path && eaccess(pool->path, R_OK | W_OK | X_OK) == 0;
    struct statvfs space;
    if (pool->direct && statvfs(pool->path, &space) == 0)
        pool->free_bytes = (uint64_t)space.f_bavail * space.f_frsize;
}

static int describe(libvirt_conn *conn, libvirt_pool *pool, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virStoragePoolRef(pool->virt);
    rpc->pool = pool->virt;
    int code = libvirt_rpc_run(conn, deadline, "reading the storage pool", work_describe, rpc, err);
    if (code < 0)
        return code;
    free(pool->name);
    free(pool->type);
    free(pool->path);
    pool->name = libvirt_xpath_text(rpc->out, "/pool/name");
    pool->type = libvirt_xpath_text(rpc->out, "/pool/@type");
    pool->path = libvirt_xpath_text(rpc->out, "/pool/target/path");
    pool->active = rpc->found;
    pool->free_bytes = rpc->found ? number_at(rpc->out, "/pool/available") : 0;
    look_at_folder(conn, pool);
    return 0;
}

/* No pool `default`: one at its usual place, or what will be made there. */
static int find_default(libvirt_conn *conn, libvirt_pool *pool, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = default_path(conn);
    if (!path) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "there is no storage pool \"" LIBVIRT_DEFAULT_POOL "\"");
        return vmc_error_next(err, "make one on that machine with virsh pool-define-as default dir --target FOLDER, "
                                   "or name an existing one in disks[].pool");
    }
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(path);
    int code = libvirt_rpc_run(conn, deadline, "looking for the default storage pool", work_survey, rpc, err);
    if (code < 0)
        return code;
    if (rpc->found) {
        pool->virt = rpc->pool;
        rpc->pool = NULL;
        return describe(conn, pool, deadline, err);
    }
    pool->type = vmc_strdup("dir");
    pool->path = vmc_strdup(path);
    look_at_folder(conn, pool);
    return 0;
}

static int not_found(libvirt_conn *conn, const char *name, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    int code = libvirt_rpc_run(conn, deadline, "listing the storage pools", work_survey, rpc, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *names = vmc_strv_join(&rpc->list, ", ");
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no storage pool \"%s\"", name);
    if (rpc->list.count > 0)
        return vmc_error_next(err, "name one of these: %s", names);
    return vmc_error_next(err, "leave the pool out, and the default one is made");
}

int libvirt_pool_find(libvirt_conn *conn, const char *name, const vmc_deadline *deadline, libvirt_pool **out,
                      vmctl_error **err) {
    bool is_default = !name || strcmp(name, LIBVIRT_DEFAULT_POOL) == 0;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(is_default ? LIBVIRT_DEFAULT_POOL : name);
    int code = libvirt_rpc_run(conn, deadline, "looking for the storage pool", work_lookup, rpc, err);
    if (code < 0)
        return code;
    if (!rpc->found && !is_default)
        return not_found(conn, name, deadline, err);
    libvirt_pool *pool = vmc_alloc(sizeof *pool);
    pool->name = vmc_strdup(rpc->name);
    if (rpc->found) {
        pool->virt = rpc->pool;
        rpc->pool = NULL;
        code = describe(conn, pool, deadline, err);
    } else {
        code = find_default(conn, pool, deadline, err);
    }
    if (code < 0)
        libvirt_pool_free(pool);
    else
        *out = pool;
    return code;
}

int libvirt_pool_ready(libvirt_conn *conn, libvirt_pool *pool, const vmc_deadline *deadline, vmctl_error **err) {
    if (pool->active)
        return 0;
    vmc_deadline step = vmc_deadline_within(deadline, POOL_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(pool->name);
    if (pool->virt) {
        virStoragePoolRef(pool->virt);
        rpc->pool = pool->virt;
    } else {
        VMC_AUTO_STR xml = {0};
        vmc_str_add(&xml, "<pool type='dir'><name>");
        libvirt_xml_escape(&xml, pool->name);
        vmc_str_add(&xml, "</name><target><path>");
        libvirt_xml_escape(&xml, pool->path);
        vmc_str_add(&xml, "</path></target></pool>");
        rpc->text = vmc_str_take(&xml);
    }
    int code = libvirt_rpc_run(conn, &step, "starting the storage pool", work_ready, rpc, err);
    if (code < 0)
        return vmc_error_prefix(err, "storage pool \"%s\" (%s)", pool->name, pool->path ? pool->path : pool->type);
    if (!pool->virt) {
        virStoragePoolRef(rpc->pool);
        pool->virt = rpc->pool;
    }
    return describe(conn, pool, &step, err);
}

void libvirt_pool_refresh(libvirt_conn *conn, libvirt_pool *pool, const vmc_deadline *deadline) {
    if (!pool->virt)
        return;
    vmc_deadline step = vmc_deadline_within(deadline, POOL_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virStoragePoolRef(pool->virt);
    rpc->pool = pool->virt;
    vmctl_error *err = NULL;
    if (libvirt_rpc_run(conn, &step, "refreshing the storage pool", work_refresh, rpc, &err) < 0)
        vmc_log("libvirt", "refreshing pool %s: %s", pool->name, vmctl_error_text(err));
    vmctl_error_free(err);
    pool->touched = false;
}

/* --- pool_list -------------------------------------------------------------------------------------------- */

/* -> list: three texts a pool: XML, "1" when active, "1", "0" or "-1" for autostart */
static int work_list(libvirt_rpc *rpc) {
    virStoragePoolPtr *pools = NULL;
    int count = virConnectListAllStoragePools(rpc->virt, &pools, 0);
    for (int i = 0; i < count; i++) {
        int autostart = -1;
        char *xml = virStoragePoolGetXMLDesc(pools[i], 0);
        int active = virStoragePoolIsActive(pools[i]);
        if (virStoragePoolGetAutostart(pools[i], &autostart) < 0)
            autostart = -1;
        virStoragePoolFree(pools[i]);
        if (!xml) /* undefined meanwhile */
            continue;
        vmc_strv_take(&rpc->list, xml);
        vmc_strv_add(&rpc->list, active == 1 ? "1" : "0");
        vmc_strv_printf(&rpc->list, "%d", autostart);
    }
    free(pools);
    return count < 0 ? -1 : 0;
}

int libvirt_pool_list(void *conn_, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err) {
    libvirt_conn *conn = conn_;
    vmc_deadline deadline = vmc_deadline_start(call, POOL_MS);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    int code = libvirt_rpc_run(conn, &deadline, "listing the storage pools", work_list, rpc, err);
    bool named = false; /* without a pool `default`, the one at its usual place is it */
    for (size_t i = 0; code == 0 && i + 2 < rpc->list.count; i += 3) {
        VMC_AUTO_FREE char *name = libvirt_xpath_text(rpc->list.items[i], "/pool/name");
        named = named || vmc_str_eq(name, LIBVIRT_DEFAULT_POOL);
    }
    VMC_AUTO_FREE char *usual = named ? NULL : default_path(conn);
    for (size_t i = 0; code == 0 && i + 2 < rpc->list.count; i += 3) {
        const char *xml = rpc->list.items[i];
        VMC_AUTO_FREE char *name = libvirt_xpath_text(xml, "/pool/name");
        VMC_AUTO_FREE char *type = libvirt_xpath_text(xml, "/pool/@type");
        VMC_AUTO_FREE char *path = libvirt_xpath_text(xml, "/pool/target/path");
        vmctl_pool pool = {
            .size = sizeof pool,
            .name = name,
            .type = type,
            .path = path,
            .active = rpc->list.items[i + 1][0] == '1',
            .autostart = atoi(rpc->list.items[i + 2]),
            .is_default = vmc_str_eq(name, LIBVIRT_DEFAULT_POOL) || (path && usual && strcmp(path, usual) == 0),
        };
        if (pool.active) {
            pool.capacity_bytes = number_at(xml, "/pool/capacity");
            pool.available_bytes = number_at(xml, "/pool/available");
        }
        if (each(&pool, user) != 0)
            break;
    }
    return code;
}
