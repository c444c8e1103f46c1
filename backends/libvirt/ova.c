/* backends/libvirt/ova.c - whole VMs into OVA files and out of them: disks by qemu-img, the descriptor by backends/shared. */
#include "ops.h"

#include "backends/shared/ovf_spec.h"
#include "base/file.h"
#include "domain_model.h"
#include "drivers/ova/ova.h"
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
    uint64_t bytes, capacity;
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
    if (code < 0)
        return code;
    if (scene->active) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is not stopped, and its disks change while they are read",
                  scene->vm->name);
        return vmc_error_next(err, "stop it first: vmctl stop %s", scene->vm->name);
    }
    if (scene->saved) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is saved: its disks belong to the memory, which an OVA does not hold",
                  scene->vm->name);
        return vmc_error_next(err, "start and stop it first: vmctl start %s && vmctl stop %s", scene->vm->name,
                              scene->vm->name);
    }
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
    disk->source = libvirt_unfinished_name(folder, vmc_path_basename(disk->path));
    code = vmc_journal_add(x->journal, "file", disk->source, NULL, err);
    return code < 0 ? code
                    : libvirt_download(x->conn, held->volume, disk->source, x->vm->name, stage, x->deadline, err);
}

static int convert(exporting *x, export_disk *disk, vmctl_error **err) {
    static const char *const options[] = {"subformat=streamOptimized", NULL};
    VMC_AUTO_FREE char *folder = vmc_path_dirname(x->target);
    VMC_AUTO_FREE char *stage = vmc_printf("compressing disk %s", disk->name);
    qemu_img_label label = {x->vm->name, stage, disk->name};
    QEMU_IMG_AUTO_INFO info = {0};
    int code = bring_near(x, disk, err);
    if (code == 0)
        code = qemu_img_inspect(disk->source, disk->format, x->deadline, &info, err);
    disk->vmdk = libvirt_unfinished_name(folder, disk->member);
    if (code == 0)
        code = vmc_journal_add(x->journal, "file", disk->vmdk, NULL, err);
    qemu_img_convert_args args = {.source = disk->source,
                                  .source_format = disk->format,
                                  .target = disk->vmdk,
                                  .target_format = "vmdk",
                                  .target_options = options,
                                  .follow_backing = true,
                                  .label = &label};
    if (code == 0)
        code = qemu_img_convert(&args, x->deadline, err);
    struct stat st = {0};
    if (code == 0 && stat(disk->vmdk, &st) < 0)
        code = vmc_error_errno(err, errno, "cannot read %s", disk->vmdk);
    if (code < 0)
        return code;
    disk->bytes = (uint64_t)st.st_size;
    disk->capacity = info.virtual_bytes;
    if (strcmp(disk->source, disk->path) != 0) /* it was downloaded */
        (void)unlink(disk->source);
    return 0;
}

static int pack(exporting *x, const char *unfinished, vmctl_error **err) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(x->spec), "disks");
    VMC_AUTO_FREE size_t *numbers = vmc_alloc((vmctl_node_count(disks) + 1) * sizeof *numbers);
    VMC_AUTO_FREE ovf_file *files = vmc_alloc((x->count + 1) * sizeof *files);
    VMC_AUTO_FREE ova_part *parts = vmc_alloc((x->count + 1) * sizeof *parts);
    for (size_t i = 0; i < x->count; i++) {
        numbers[x->disks[i].item] = i + 1;
        files[i] = (ovf_file){x->disks[i].member, x->disks[i].bytes, x->disks[i].capacity};
        parts[i + 1] = (ova_part){.name = x->disks[i].member, .path = x->disks[i].vmdk};
    }
    vmc_cleanup(ovf_free) ovf descriptor = {0};
    int code = vmc_ovf_of_spec(x->spec, numbers, x->deadline, &descriptor, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *text = ovf_write(&descriptor, files, x->count);
    VMC_AUTO_FREE char *name = vmc_printf("%s.ovf", x->vm->name);
    parts[0] = (ova_part){.name = name, .bytes = text, .length = strlen(text)};
    code = vmc_journal_add(x->journal, "file", unfinished, NULL, err);
    if (code == 0)
        code = ova_write(unfinished, parts, x->count + 1, x->vm->name, x->deadline, err);
    if (code == 0 && libvirt_move_to_place(unfinished, x->target) < 0)
        code = vmc_error_errno(err, errno, "cannot make %s", x->target);
    for (size_t i = 0; code == 0 && i < x->count; i++)
        (void)unlink(x->disks[i].vmdk);
    return code;
}

static int check_folder(const char *target, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(target);
    struct stat st;
    if (stat(folder, &st) < 0)
        return vmc_error_errno(err, errno, "cannot write into %s", folder);
    if (!S_ISDIR(st.st_mode))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no folder", folder);
    return eaccess(folder, W_OK | X_OK) < 0 ? vmc_error_errno(err, errno, "cannot write into %s", folder) : 0;
}

int libvirt_export_ova(void *conn, void *vm, const char *path, const vmctl_call *call, vmc_journal *journal,
                       vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmc_cleanup(exporting_free) exporting x = {.conn = conn, .vm = vm, .deadline = &deadline, .journal = journal};
    x.target = vmc_path_absolute(NULL, path);
    int code = check_folder(x.target, err);
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
    VMC_AUTO_FREE char *folder = vmc_path_dirname(x.target);
    VMC_AUTO_FREE char *unfinished = libvirt_unfinished_name(folder, vmc_path_basename(x.target));
    return code < 0 ? code : pack(&x, unfinished, err);
}

/* --- in --------------------------------------------------------------------------------------------------------- */

typedef struct importing {
    const vmc_deadline *deadline;
    vmc_journal *journal;
    ova package;
    ovf descriptor;
    char **paths; /* as many as descriptor.disks; NULL: a blank disk */
    vmctl_spec *spec, *ready;
} importing;

static void importing_free(importing *im) {
    for (size_t i = 0; im->paths && i < im->descriptor.disk_count; i++)
        free(im->paths[i]);
    free(im->paths);
    vmctl_spec_free(im->spec);
    vmctl_spec_free(im->ready);
    ovf_free(&im->descriptor);
    ova_free(&im->package);
}

/* Every disk of the descriptor must be in the OVA before anything is unpacked. */
static int place_disks(importing *im, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_xdg_cache("import");
    int code = vmc_mkdirs(folder, 0700, err);
    im->paths = vmc_alloc((im->descriptor.disk_count + 1) * sizeof *im->paths);
    for (size_t i = 0; code == 0 && i < im->descriptor.disk_count; i++) {
        const char *file = im->descriptor.disks[i].file;
        if (!file)
            continue;
        if (!ova_find(&im->package, file)) {
            vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                      "%s is incomplete: the descriptor has the disk %s, which is not in it", im->package.path, file);
            return vmc_error_next(err, "fetch the file again");
        }
        for (size_t k = 0; k < i; k++)
            if (vmc_str_eq(im->descriptor.disks[k].file, file))
                return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s gives the file %s to two disks", im->package.path,
                                 file);
        im->paths[i] = libvirt_unfinished_name(folder, file);
    }
    return code;
}

static int unpack(importing *im, const char *vm, vmctl_error **err) {
    VMC_AUTO_FREE ova_target *targets = vmc_alloc((im->descriptor.disk_count + 1) * sizeof *targets);
    size_t count = 0;
    int code = 0;
    for (size_t i = 0; code == 0 && i < im->descriptor.disk_count; i++) {
        if (!im->paths[i])
            continue;
        targets[count++] = (ova_target){im->descriptor.disks[i].file, im->paths[i]};
        code = vmc_journal_add(im->journal, "file", im->paths[i], NULL, err);
    }
    return code < 0 ? code : ova_extract(&im->package, targets, count, vm, im->deadline, err);
}

/* The unpacked files are gone when the VM is made: its spec names its own disks, and no image that nobody can create from. */
static void forget_origins(const importing *im) {
    const vmctl_node *disks = vmctl_node_get(vmctl_spec_root(im->ready), "disks");
    for (size_t i = 0; i < vmctl_node_count(disks); i++) {
        const char *image = vmctl_node_string(vmctl_node_at(disks, i), "image", NULL);
        VMC_AUTO_FREE char *key = vmc_printf("disks[%zu].image", i);
        for (size_t k = 0; image && k < im->descriptor.disk_count; k++)
            if (vmc_str_eq(im->paths[k], image))
                vmc_spec_set_origin(im->ready, key, "");
    }
}

/* The descriptor may say less than the disk has: then the disk is right. More is made room for. */
static int check_disks(const importing *im, vmctl_error **err) {
    for (size_t i = 0; i < im->descriptor.disk_count; i++) {
        QEMU_IMG_AUTO_INFO info = {0};
        qemu_img_kind kind = {0};
        if (!im->paths[i])
            continue;
        int code = qemu_img_expect(im->paths[i], NULL, &kind, err);
        if (code == 0)
            code = qemu_img_inspect(im->paths[i], kind.format, im->deadline, &info, err);
        const char *other = info.backing ? info.backing : info.data_file;
        if (code == 0 && other)
            code =
                vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "it does not stand alone: its header refers to %.200s", other);
        if (code < 0)
            return vmc_error_prefix(err, "the disk %s of the OVA", im->descriptor.disks[i].file);
        if (info.virtual_bytes != im->descriptor.disks[i].bytes)
            vmc_note(im->deadline, VMCTL_NOTE_INFO, "the descriptor says that %s has %llu bytes; it has %llu",
                     im->descriptor.disks[i].file, (unsigned long long)im->descriptor.disks[i].bytes,
                     (unsigned long long)info.virtual_bytes);
    }
    return 0;
}

int libvirt_import_ova(void *conn, const char *path, const char *name, const vmctl_call *call,
                       const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                       vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    vmc_cleanup(importing_free) importing im = {.deadline = &deadline, .journal = journal};
    int code = ova_open(path, &deadline, &im.package, err);
    if (code == 0)
        code = ovf_read(im.package.descriptor, im.package.descriptor_length, &im.descriptor, err);
    if (code == 0)
        code = place_disks(&im, err);
    if (code == 0)
        code = vmc_ovf_to_spec(&im.descriptor, (const char *const *)im.paths, name, &deadline, &im.spec, err);
    if (code < 0)
        return code;
    const char *named = vmctl_spec_name(im.spec);
    if (!im.package.has_manifest)
        vmc_note(&deadline, VMCTL_NOTE_WARNING, "%s has no manifest: whether its disks are whole cannot be checked",
                 path);
    code = libvirt_check_free(conn, named, NULL, &deadline,
                              err); /* before gigabytes are unpacked for a name that is taken */
    if (code == VMCTL_E_ALREADY_EXISTS)
        vmc_error_next(err, "give it another name: vmctl import %s --name NAME", path);
    if (code == 0)
        code = unpack(&im, named, err);
    if (code == 0)
        code = check_disks(&im, err);
    vmctl_call inner = vmc_deadline_call(&deadline);
    if (code == 0)
        code = vmc_spec_ready("libvirt", im.spec, &inner, &im.ready, err);
    if (code < 0)
        return code;
    forget_origins(&im);
    vmctl_create_options options = VMCTL_CREATE_OPTIONS_INIT;
    options.call = &inner;
    code = libvirt_create(conn, im.ready, &options, marker, journal, vm, identity, err);
    for (size_t i = 0; code == 0 && i < im.descriptor.disk_count; i++)
        if (im.paths[i])
            (void)unlink(im.paths[i]);
    return code;
}
