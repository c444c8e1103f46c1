/* backends/libvirt/disk_users.c - which VMs use a file: as a disk, as what a disk stands on, or to boot from.
 *
 * The documents of all domains are asked for at once. What a stopped domain's overlays stand on is not in its document: vmctl's marker may tell, and
 * the overlays' own headers do.
 */
#include "base/file.h"
#include "drivers/qemu_img/qemu_img.h"
#include "rpc.h"
#include "storage.h"
#include "xpath.h"
#include <cJSON.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHAIN_LONGEST = 200 }; /* libvirt's own limit of a backing chain */

/* -> list: name, UUID and document of each domain. One that vanished meanwhile has none; any other failure is one. */
static int work_domains(libvirt_rpc *rpc) {
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(rpc->virt, &domains, 0);
    int code = count < 0 ? -1 : 0;
    for (int i = 0; i < count; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        char *xml = code == 0 ? virDomainGetXMLDesc(domains[i], 0) : NULL;
        if (xml && virDomainGetUUIDString(domains[i], uuid) == 0) {
            vmc_strv_add(&rpc->list, virDomainGetName(domains[i]));
            vmc_strv_add(&rpc->list, uuid);
            vmc_strv_add(&rpc->list, xml);
        } else if (code == 0 && virGetLastErrorCode() != VIR_ERR_NO_DOMAIN) {
            rpc->failure = virSaveLastError();
            code = -1;
        }
        free(xml);
        virDomainFree(domains[i]);
    }
    free(domains);
    return code;
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

/* --- what a document names --------------------------------------------------------------------------------- */

/* The marker of vmctl's own: a kept key of the spec ("disks/root/backing"), and what linked clones stand on. */
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
    libvirt_xpath_texts(xml,
                        "/domain/metadata//*[namespace-uri()='urn:vmctl:1'][local-name()='file'][@base='yes']/@path | "
                        "/domain/metadata//*[namespace-uri()='urn:vmctl:1'][local-name()='base']/@path",
                        files);
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

/* --- what its overlays stand on ------------------------------------------------------------------------------ */

/* The daemon's answer, for a file that this process cannot read. NULL: none. */
static char *backing_by_daemon(libvirt_conn *conn, const char *path, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *xml = NULL;
    if (libvirt_volume_find(conn, path, deadline, NULL, &xml, NULL) < 0 || !xml)
        return NULL;
    return libvirt_xpath_text(xml, "/volume/backingStore/path");
}

static bool stands_on(libvirt_conn *conn, const char *disk, const char *path, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *at = vmc_strdup(disk);
    for (int depth = 0; at && depth < CHAIN_LONGEST; depth++) {
        char *below = NULL;
        bool is_readable = conn->local && !conn->test_driver && qemu_img_backing(at, &below);
        if (!is_readable)
            below = conn->test_driver ? NULL : backing_by_daemon(conn, at, deadline);
        free(at);
        at = below;
        /* "json:{...}" and the like name the file somewhere. */
        if (at && (strcmp(at, path) == 0 || (*at != '/' && strstr(at, path))))
            return true;
    }
    return false;
}

static bool overlays_stand_on(libvirt_conn *conn, const char *xml, const char *path, const vmc_deadline *deadline) {
    VMC_AUTO_STRV disks = {0};
    if (!strstr(xml, "'qcow2'")) /* only these have a header that is believed */
        return false;
    libvirt_xpath_texts(xml, "/domain/devices/disk[driver/@type='qcow2']/source/@file", &disks);
    libvirt_xpath_texts(xml, "/domain/devices/disk[driver/@type='qcow2']/source/@dev", &disks);
    for (size_t i = 0; i < disks.count; i++)
        if (stands_on(conn, disks.items[i], path, deadline))
            return true;
    return false;
}

/* --- users ------------------------------------------------------------------------------------------------- */

void libvirt_documents_users(libvirt_conn *conn, const vmc_strv *documents, const char *path, const char *except_uuid,
                             const vmc_deadline *deadline, vmc_strv *names) {
    for (size_t i = 0; i + 2 < documents->count; i += 3) {
        const char *xml = documents->items[i + 2];
        if (!vmc_str_eq(documents->items[i + 1], except_uuid) &&
            (names_path(xml, path) || overlays_stand_on(conn, xml, path, deadline)))
            vmc_strv_add(names, documents->items[i]);
    }
}

int libvirt_path_users(libvirt_conn *conn, const char *path, const char *except_uuid, const vmc_deadline *deadline,
                       vmc_strv *names, bool *running, vmctl_error **err) {
    VMC_AUTO_STRV documents = {0};
    int code = libvirt_documents(conn, deadline, &documents, err);
    if (code < 0)
        return code;
    libvirt_documents_users(conn, &documents, path, except_uuid, deadline, names);
    for (size_t i = 0; running && i + 2 < documents.count; i += 3) {
        VMC_AUTO_FREE char *id = NULL; /* only a running domain's document has one */
        if (vmc_strv_has(names, documents.items[i]))
            id = libvirt_xpath_text(documents.items[i + 2], "/domain/@id");
        *running |= id && *id;
    }
    return 0;
}
