/* backends/libvirt/ova.c - whole VMs into OVA files and out of them: disks by qemu-img, the descriptor by backends/shared. */
#include "ops.h"

#include "backends/shared/ova_vm.h"
#include "base/file.h"
#include "domain_model.h"
#include "drivers/qemu_img/qemu_img.h"
#include "ova.h"
#include "plan.h"
#include "rpc.h"
#include "storage.h"
#include "xpath.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- out ------------------------------------------------------------------------------------------------------ */

typedef struct export_disk {
    char *name, *path, *format; /* as the domain has it */
    char *source;               /* the local file to convert: path, or what was downloaded of it */
    char *vmdk;                 /* unfinished */
    char *member;               /* its name in the OVA */
    uint64_t capacity;
    size_t item; /* its place in the spec's disks */
} export_disk;

typedef struct exporting {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const vmc_deadline *deadline;
    vmc_journal *journal;
    libvirt_snapshot_scene scene;
    vmctl_spec *spec;
    export_disk *disks;
    size_t count;
    char *target; /* absolute */
} exporting;

static void exporting_free(exporting *x) {
    for (size_t i = 0; i < x->count; i++) {
        export_disk *disk = &x->disks[i];
        free(disk->name);
        free(disk->path);
        free(disk->format);
        free(disk->source);
        free(disk->vmdk);
        free(disk->member);
    }
    free(x->disks);
    free(x->target);
    vmctl_spec_free(x->spec);
    libvirt_snapshot_scene_free(&x->scene);
}

int libvirt_export_check(const libvirt_snapshot_scene *scene, vmctl_error **err) {
    int code = libvirt_snapshot_check_idle(scene, err);
    if (code == 0)
        code = vmc_ova_check_state(scene->vm->name, scene->active, scene->saved, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_XML *doc = NULL;
    code = libvirt_xml_parse(scene->definition ? scene->definition : scene->xml, "the domain's XML", "domain",
                             VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    size_t disks = 0;
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        VMC_AUTO_FREE char *name = libvirt_name_read(domain, disk);
        const char *device = libvirt_xml_attr(disk, "device");
        if (libvirt_is_seed(disk) || (device && strcmp(device, "disk") != 0))
            continue;
        disks++;
        if (libvirt_xml_child(disk, "encryption") || libvirt_xml_child(libvirt_xml_child(disk, "source"), "encryption"))
            return vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is encrypted, and its OVA would not be", name);
        if (libvirt_disk_path(disk) || libvirt_xml_attr_is(disk, "type", "volume"))
            continue;
        const char *type = libvirt_xml_attr(disk, "type");
        vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is on %s storage, which is no file or volume of the host", name,
                  type ? type : "other");
        return vmc_error_next(err, "copy it into a file first: qemu-img convert");
    }
    return disks ? 0 : vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no disk", scene->vm->name);
}

static bool is_near(const libvirt_conn *conn, const char *path) {
    return conn->local && !conn->test_driver && path && *path == '/' && access(path, R_OK) == 0;
}

/* Where the spec's disk is on the host. */
static int locate(exporting *x, const xmlNode *disk, export_disk *out, vmctl_error **err) {
    const char *path = libvirt_disk_path(disk), *format = libvirt_xml_attr_at(disk, "driver", "type");
    const xmlNode *source = libvirt_xml_child(disk, "source");
    out->format = vmc_strdup(format ? format : "raw");
    if (path) {
        out->path = vmc_strdup(path);
        return 0;
    }
    VMC_AUTO_FREE char *xml = NULL;
    VMC_AUTO_FREE char *volume =
        vmc_printf("%s/%s", libvirt_xml_attr(source, "pool"), libvirt_xml_attr(source, "volume"));
    int code = libvirt_volume_find(x->conn, volume, x->deadline, NULL, &xml, err);
    out->path = xml ? libvirt_xpath_text(xml, "/volume/target/path") : NULL;
    if (code == 0 && !out->path)
        code = vmc_error(err, VMCTL_E_NOT_FOUND, "disk %s is the volume %s, which is gone", out->name, volume);
    return code;
}

static int find_disks(exporting *x, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_xml_parse(x->scene.definition ? x->scene.definition : x->scene.xml, "the domain's XML", "domain",
                                 VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    libvirt_build build;
    libvirt_build_read(&build, doc, NULL);
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(x->spec), "disks");
    x->disks = vmc_alloc((vmctl_node_count(disks) + 1) * sizeof *x->disks);
    for (size_t i = 0; code == 0 && i < vmctl_node_count(disks); i++) {
        const vmctl_node *node = vmctl_node_at(disks, i);
        const char *name = vmctl_node_string(node, "name", "");
        xmlNode *disk = vmctl_node_get(node, "cdrom") ? NULL : libvirt_name_find(&build, "disk", name);
        if (!disk)
            continue;
        export_disk *out = &x->disks[x->count++];
        *out = (export_disk){.name = vmc_strdup(name), .item = i};
        out->member = vmc_printf("%s-disk%zu.vmdk", x->vm->name, x->count);
        code = locate(x, disk, out, err);
    }
    return code;
}

/* A file that this process cannot read comes through the daemon first. */
static int bring_near(exporting *x, export_disk *disk, vmctl_error **err) {
    if (is_near(x->conn, disk->path)) {
        disk->source = vmc_strdup(disk->path);
        return 0;
    }
    LIBVIRT_AUTO_RPC *held = libvirt_rpc_new(x->conn);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(x->conn, disk->path, x->deadline, &held->volume, &xml, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *backing = xml ? libvirt_xpath_text(xml, "/volume/backingStore/path") : NULL;
    if (!xml || (backing && *backing)) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s (%s) %s, so that it cannot be read from here", disk->name,
                  disk->path, xml ? "stands on another file" : "is in no storage pool");
        return vmc_error_next(err, "run vmctl export on the hypervisor's own host");
    }
    VMC_AUTO_FREE char *folder = vmc_path_dirname(x->target);
    VMC_AUTO_FREE char *stage = vmc_printf("downloading disk %s", disk->name);
    disk->source = vmc_unfinished_name(folder, vmc_path_basename(disk->path));
    code = vmc_journal_add(x->journal, "file", disk->source, NULL, err);
    return code < 0 ? code
                    : libvirt_download(x->conn, held->volume, disk->source, x->vm->name, stage, x->deadline, err);
}

static int convert(exporting *x, export_disk *disk, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(x->target);
    VMC_AUTO_FREE char *stage = vmc_printf("compressing disk %s", disk->name);
    qemu_img_label label = {x->vm->name, stage, disk->name};
    int code = bring_near(x, disk, err);
    disk->vmdk = vmc_unfinished_name(folder, disk->member);
    if (code == 0)
        code = vmc_journal_add(x->journal, "file", disk->vmdk, NULL, err);
    if (code == 0)
        code = vmc_ova_compress(disk->source, disk->format, disk->vmdk, &label, &disk->capacity, x->deadline, err);
    if (code == 0 && strcmp(disk->source, disk->path) != 0) /* it was downloaded */
        (void)unlink(disk->source);
    return code;
}

static int pack(exporting *x, vmctl_error **err) {
    VMC_AUTO_FREE vmc_ova_disk *list = vmc_alloc((x->count + 1) * sizeof *list);
    for (size_t i = 0; i < x->count; i++)
        list[i] = (vmc_ova_disk){x->disks[i].member, x->disks[i].vmdk, x->disks[i].capacity, x->disks[i].item};
    return vmc_ova_pack(x->spec, list, x->count, x->vm->name, x->target, x->journal, x->deadline, err);
}

int libvirt_export_ova(void *conn, void *vm, const char *path, const vmctl_call *call, vmc_journal *journal,
                       vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmc_cleanup(exporting_free) exporting x = {.conn = conn, .vm = vm, .deadline = &deadline, .journal = journal};
    x.target = vmc_path_absolute(NULL, path);
    int code = vmc_ova_check_target(x.target, err);
    if (code == 0)
        code = libvirt_snapshot_look(conn, vm, &deadline, &x.scene, err);
    if (code == 0)
        code = libvirt_export_check(&x.scene, err);
    vmctl_call inner = vmc_deadline_call(&deadline);
    if (code == 0)
        code = libvirt_spec(conn, vm, &inner, &x.spec, err);
    if (code == 0)
        code = find_disks(&x, err);
    for (size_t i = 0; code == 0 && i < x.count; i++)
        code = convert(&x, &x.disks[i], err);
    return code < 0 ? code : pack(&x, err);
}

/* --- in --------------------------------------------------------------------------------------------------------- */

typedef struct importing {
    libvirt_conn *conn;
    const vmctl_marker *marker;
    vmc_journal *journal;
    void **vm;
    vmctl_identity *identity;
} importing;

static int check_name(void *user, const char *name, const vmc_deadline *deadline, vmctl_error **err) {
    const importing *im = user;
    return libvirt_check_free(im->conn, name, NULL, deadline, err);
}

static int create(void *user, const vmctl_spec *spec, const vmctl_create_options *options, vmctl_error **err) {
    const importing *im = user;
    return libvirt_create(im->conn, spec, options, im->marker, im->journal, im->vm, im->identity, err);
}

int libvirt_import_ova(void *conn, const char *path, const char *name, const vmctl_call *call,
                       const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                       vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    importing im = {conn, marker, journal, vm, identity};
    const vmc_ova_import_request want = {.backend = "libvirt",
                                         .path = path,
                                         .name = name,
                                         .journal = journal,
                                         .check_name = check_name,
                                         .create = create,
                                         .user = &im};
    return vmc_ova_import(&want, &deadline, err);
}
