/* backends/libvirt/volume.c - volumes that exist: finding, removing, and who uses them. */
#include "storage.h"

#include "base/file.h"
#include "rpc.h"
#include "xpath.h"
#include <cJSON.h>
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

/* --- users ------------------------------------------------------------------------------------------------ */

/* -> list: name, UUID and document of each domain */
static int work_domains(libvirt_rpc *rpc) {
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(rpc->virt, &domains, 0);
    for (int i = 0; i < count; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        char *xml = virDomainGetXMLDesc(domains[i], 0);
        if (xml && virDomainGetUUIDString(domains[i], uuid) == 0) {
            vmc_strv_add(&rpc->list, virDomainGetName(domains[i]));
            vmc_strv_add(&rpc->list, uuid);
            vmc_strv_add(&rpc->list, xml);
        }
        free(xml);
        virDomainFree(domains[i]);
    }
    free(domains);
    return count < 0 ? -1 : 0;
}

/* A stopped domain's document does not tell what its overlays stand on; the marker of vmctl's own does ("disks/root/backing"). */
static void marked_backings(const char *xml, vmc_strv *files) {
    VMC_AUTO_STRV texts = {0};
    libvirt_xpath_texts(xml,
                        "/domain/metadata//*[namespace-uri()='urn:vmctl:1'][local-name()='key']"
                        "[starts-with(@path, 'disks/')][contains(@path, '/backing')]",
                        &texts);
    for (size_t i = 0; i < texts.count; i++) {
        cJSON *value = cJSON_Parse(texts.items[i]);
        if (cJSON_IsString(value))
            vmc_strv_add(files, value->valuestring);
        cJSON_Delete(value);
    }
}

static bool names_path(const char *xml, const char *path) {
    const char *base = vmc_path_basename(path);
    if (!strstr(xml, base)) /* spares parsing: a name with characters that XML or JSON escapes is looked at below */
        for (const char *c = base; !strchr("&<>'\"\\", *c) && (unsigned char)*c < 0x80; c++)
            if (!c[1])
                return false;
    VMC_AUTO_STRV files = {0};
    VMC_AUTO_STRV volumes = {0};
    libvirt_xpath_texts(
        xml, "//disk//source/@file | //disk//source/@dev | //os/kernel | //os/initrd | //devices/*/log/@file", &files);
    libvirt_xpath_texts(xml, "//disk[@type='volume']/source/@volume", &volumes);
    marked_backings(xml, &files);
    return vmc_strv_has(&files, path) || vmc_strv_has(&volumes, base);
}

int libvirt_documents(libvirt_conn *conn, const vmc_deadline *deadline, vmc_strv *documents, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    int code = libvirt_rpc_run(conn, deadline, "asking which VMs use the disk", work_domains, rpc, err);
    if (code < 0)
        return code;
    *documents = rpc->list;
    rpc->list = (vmc_strv){0};
    return 0;
}

void libvirt_documents_users(const vmc_strv *documents, const char *path, const char *except_uuid, vmc_strv *names) {
    for (size_t i = 0; i + 2 < documents->count; i += 3)
        if (!vmc_str_eq(documents->items[i + 1], except_uuid) && names_path(documents->items[i + 2], path))
            vmc_strv_add(names, documents->items[i]);
}

int libvirt_path_users(libvirt_conn *conn, const char *path, const char *except_uuid, const vmc_deadline *deadline,
                       vmc_strv *names, bool *running, vmctl_error **err) {
    VMC_AUTO_STRV documents = {0};
    int code = libvirt_documents(conn, deadline, &documents, err);
    if (code < 0)
        return code;
    libvirt_documents_users(&documents, path, except_uuid, names);
    for (size_t i = 0; running && i + 2 < documents.count; i += 3) {
        VMC_AUTO_FREE char *id = NULL; /* only a running domain's document has one */
        if (vmc_strv_has(names, documents.items[i]))
            id = libvirt_xpath_text(documents.items[i + 2], "/domain/@id");
        *running |= id && *id;
    }
    return 0;
}
