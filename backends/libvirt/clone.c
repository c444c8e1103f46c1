/* backends/libvirt/clone.c - a second VM from one that exists.
 *
 * Full: flat copies of the disks. Linked: overlays on the original's files, which nobody writes to from then on: the original too goes on in
 * overlays of its own ("steps aside"). Its step comes first, so that whoever is interrupted leaves an original that is whole, in an overlay
 * without data; the next linked clone finds that and stands on the same file.
 */
#include "clone.h"

#include "base/file.h"
#include "base/random.h"
#include "domain_clone.h"
#include "domain_model.h"
#include "drivers/qemu_img/qemu_img.h"
#include "drivers/seed_iso/seed_iso.h"
#include "nvram.h"
#include "ops.h"
#include "plan.h"
#include "rpc.h"
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CLONE_MS = -1, UNDO_MS = 60000, KERNEL_FILES = 2 };

/* One disk that the clone gets one of its own for. */
typedef struct clone_disk {
    char *target, *name, *source, *format;
    libvirt_file file;  /* the clone's */
    libvirt_file aside; /* linked: the original's overlay; NONE where it has one already */
    char *base;         /* linked: what both stand on */
    char *base_format;
    bool base_own;
} clone_disk;

typedef struct cloning {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const char *name;
    const vmctl_clone_options *options;
    const vmctl_marker *marker;
    const vmc_deadline *deadline;
    libvirt_snapshot_scene scene;
    const libvirt_snapshot *snapshot;
    char uuid[VIR_UUID_STRING_BUFLEN];
    xmlDoc *doc;         /* the original's definition, or what it was in the snapshot; becomes the clone's */
    libvirt_store store; /* for the clone's files */
    libvirt_store own;   /* for the original's */
    clone_disk *disks;
    size_t count;
    libvirt_file seed, boot[KERNEL_FILES];
    char *seed_source;
    char *serial_log;
    char *nvram_from, *nvram_to;
    libvirt_clone_mac *macs;
    size_t mac_count;
    bool stepped_aside;
} cloning;

static void cloning_free(cloning *c) {
    for (size_t i = 0; i < c->count; i++) {
        clone_disk *disk = &c->disks[i];
        free(disk->target);
        free(disk->name);
        free(disk->source);
        free(disk->format);
        free(disk->base);
        free(disk->base_format);
        libvirt_file_free(&disk->file);
        libvirt_file_free(&disk->aside);
    }
    free(c->disks);
    libvirt_file_free(&c->seed);
    for (size_t i = 0; i < KERNEL_FILES; i++)
        libvirt_file_free(&c->boot[i]);
    free(c->seed_source);
    free(c->serial_log);
    free(c->nvram_from);
    free(c->nvram_to);
    free(c->macs);
    xmlFreeDoc(c->doc);
    libvirt_store_close(&c->store);
    libvirt_store_close(&c->own);
    libvirt_snapshot_scene_free(&c->scene);
}

/* --- the original ------------------------------------------------------------------------------------------ */

/* The definition that the snapshot was taken with, as a document of its own. */
static int snapshot_definition(cloning *c, vmctl_error **err) {
    LIBVIRT_AUTO_XML *document = NULL;
    int code = libvirt_snapshot_document(c->conn, c->vm, c->snapshot->id, c->deadline, &document, err);
    if (code < 0)
        return code;
    const xmlNode *root = xmlDocGetRootElement(document);
    xmlNode *domain = libvirt_xml_child(root, "inactiveDomain");
    if (!domain)
        domain = libvirt_xml_child(root, "domain");
    if (!domain) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "snapshot %s does not tell what %s was when it was taken",
                  c->snapshot->name, c->vm->name);
        return vmc_error_next(err, "revert to it, and clone the present state");
    }
    c->doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlDocSetRootElement(c->doc, xmlDocCopyNode(domain, c->doc, 1));
    xmlNodeSetName(xmlDocGetRootElement(c->doc), (const xmlChar *)"domain");
    return 0;
}

static int read_original(cloning *c, vmctl_error **err) {
    int code = libvirt_snapshot_look(c->conn, c->vm, c->deadline, &c->scene, err);
    if (code == 0 && c->options->snapshot) {
        c->snapshot = libvirt_snapshots_find(&c->scene.snapshots, c->vm->name, c->options->snapshot, err);
        code = c->snapshot ? 0 : VMCTL_E_NOT_FOUND;
    }
    if (code == 0)
        code = libvirt_clone_check(&c->scene, c->options->linked, c->snapshot, err);
    if (code == 0 && c->snapshot)
        code = libvirt_snapshot_check_files(&c->scene, c->snapshot, err);
    if (code < 0)
        return code;
    if (c->snapshot)
        return snapshot_definition(c, err);
    return libvirt_xml_parse(c->scene.definition, "the domain's XML", "domain", VMCTL_E_INTERNAL, &c->doc, NULL, err);
}

/* --- planning ---------------------------------------------------------------------------------------------- */

static int source_of(cloning *c, const xmlNode *disk, char **path, vmctl_error **err) {
    *path = vmc_strdup(libvirt_disk_path(disk));
    if (*path)
        return 0;
    const xmlNode *source = libvirt_xml_child(disk, "source");
    VMC_AUTO_FREE char *volume =
        vmc_printf("%s/%s", libvirt_xml_attr(source, "pool"), libvirt_xml_attr(source, "volume"));
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(c->conn);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_volume_find(c->conn, volume, c->deadline, &rpc->volume, &xml, err);
    if (code == 0 && !xml)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "there is no volume %s", volume);
    if (code == 0) {
        char *found = virStorageVolGetPath(rpc->volume);
        *path = vmc_strdup(found);
        free(found);
    }
    return code < 0 || *path ? code : vmc_error(err, VMCTL_E_NOT_FOUND, "volume %s has no path", volume);
}

/* The file of an overlay that the original stepped aside into and has written nothing to since: what it stands on serves the next clone too. */
static int reuse_base(cloning *c, clone_disk *disk, vmctl_error **err) {
    const xmlNode *marker = libvirt_marker_find(xmlDocGetRootElement(c->doc));
    QEMU_IMG_AUTO_INFO info = {0};
    bool is_empty = false;
    if (!marker || !c->conn->local || access(disk->source, R_OK) < 0 || strcmp(disk->format, "qcow2") != 0)
        return 0;
    int code = qemu_img_inspect(disk->source, disk->format, c->deadline, &info, err);
    if (code < 0 || !info.backing_path || !info.backing_format)
        return code;
    bool is_base = false, is_own = false;
    for (const xmlNode *note = libvirt_xml_child(marker, NULL); note; note = libvirt_xml_next(note, NULL)) {
        if (!libvirt_xml_attr_is(note, "path", info.backing_path))
            continue;
        is_own |= libvirt_xml_attr_is(note, "base", "yes");
        is_base |= libvirt_xml_is(note, "base") || libvirt_xml_attr_is(note, "base", "yes");
    }
    if (is_base)
        code = qemu_img_is_untouched(disk->source, disk->format, c->deadline, &is_empty, err);
    if (code == 0 && is_empty) {
        disk->base = vmc_strdup(info.backing_path);
        disk->base_format = vmc_strdup(info.backing_format);
        disk->base_own = is_own;
    }
    return code;
}

static int plan_linked(cloning *c, clone_disk *disk, bool own, vmctl_error **err) {
    int code = reuse_base(c, disk, err);
    if (code == 0 && !disk->base) {
        disk->base = vmc_strdup(disk->source);
        disk->base_format = vmc_strdup(disk->format);
        disk->base_own = own;
        VMC_AUTO_FREE char *since = libvirt_time_text(c->marker->created);
        VMC_AUTO_FREE char *device = vmc_printf("%s-since-%s", disk->name, since);
        for (char *at = device; *at; at++)
            if (*at == ':')
                *at = '.'; /* QEMU reads "a:b" as a protocol */
        code = libvirt_plan_clone(&c->own, LIBVIRT_FILE_OVERLAY, disk->base, disk->base_format, NULL, device,
                                  &disk->aside, err);
    }
    if (code < 0)
        return code;
    return libvirt_plan_clone(&c->store, LIBVIRT_FILE_OVERLAY, disk->base, disk->base_format, NULL, disk->name,
                              &disk->file, err);
}

static int plan_disk(cloning *c, const xmlNode *domain, const xmlNode *node, vmctl_error **err) {
    c->disks = vmc_realloc(c->disks, c->count + 1, sizeof *c->disks);
    clone_disk *disk = &c->disks[c->count++];
    *disk = (clone_disk){0};
    const char *format = libvirt_xml_attr_at(node, "driver", "type");
    const xmlNode *file = libvirt_marker_file_of(domain, libvirt_xml_attr_at(node, "alias", "name"));
    disk->target = vmc_strdup(libvirt_xml_attr_at(node, "target", "dev"));
    disk->name = libvirt_name_read(domain, node);
    disk->format = vmc_strdup(format ? format : "raw");
    int code = source_of(c, node, &disk->source, err);
    if (code < 0)
        return code;
    if (c->options->linked)
        return plan_linked(c, disk, file && libvirt_xml_attr_is(file, "path", disk->source), err);
    bool inside = c->snapshot && c->snapshot->internal;
    return libvirt_plan_clone(&c->store, LIBVIRT_FILE_FLAT, disk->source, disk->format, inside ? c->snapshot->id : NULL,
                              disk->name, &disk->file, err);
}

/* Kernel and initrd that vmctl put into the pool go with the original; the clone has its own. */
static int plan_boot(cloning *c, const xmlNode *domain, vmctl_error **err) {
    static const char *const names[KERNEL_FILES] = {"kernel", "initrd"};
    int code = 0;
    for (size_t i = 0; code == 0 && i < KERNEL_FILES; i++) {
        VMC_AUTO_FREE char *path = libvirt_xml_content(libvirt_xml_child(libvirt_xml_child(domain, "os"), names[i]));
        bool own = false;
        LIBVIRT_XML_EACH(file, path ? libvirt_marker_find(domain) : NULL, "file") {
            own |= libvirt_xml_attr_is(file, "path", path);
        }
        if (own)
            code = libvirt_plan_clone(&c->store, LIBVIRT_FILE_FLAT, path, "raw", NULL, names[i], &c->boot[i], err);
    }
    return code;
}

static int plan_parts(cloning *c, vmctl_error **err) {
    const xmlNode *domain = xmlDocGetRootElement(c->doc);
    int code = 0;
    c->macs = libvirt_clone_macs(c->doc, &c->mac_count);
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        if (code == 0 && libvirt_clone_copies(disk))
            code = plan_disk(c, domain, disk, err);
        if (libvirt_is_seed(disk) && libvirt_marker_file_of(domain, LIBVIRT_SEED_ALIAS))
            c->seed_source = vmc_strdup(libvirt_disk_path(disk));
    }
    if (code == 0)
        code = plan_boot(c, domain, err);
    if (code == 0 && libvirt_serial_log_path(domain)) {
        VMC_AUTO_FREE char *log = vmc_printf("%s.log", c->name);
        code = libvirt_plan_path(&c->store, NULL, log, &c->serial_log, err);
    }
    if (code == 0)
        code = libvirt_nvram_of_clone(c->conn, domain, c->vm->name, c->name, &c->nvram_from, &c->nvram_to, c->deadline,
                                      err);
    if (code == 0)
        code = libvirt_plan_fits(&c->store, err);
    return code < 0 ? code : libvirt_plan_fits(&c->own, err);
}

/* The user's data and network are the original's; who it is is new. */
static int plan_seed(cloning *c, vmctl_error **err) {
    libvirt_seed seed = {0};
    if (!c->seed_source)
        return 0;
    if (!c->conn->local || access(c->seed_source, R_OK) < 0) {
        vmc_error(err, VMCTL_E_UNSUPPORTED,
                  "its cloud-init seed %s cannot be read from here, and the clone would take itself for the original",
                  c->seed_source);
        return vmc_error_next(err, "do this on the hypervisor's host, as root");
    }
    int code = seed_iso_read(c->seed_source, "user-data", &seed.user_data, err);
    if (code == 0)
        code = seed_iso_read(c->seed_source, "network-config", &seed.network_config, err);
    if (code == 0) {
        const char **pairs = vmc_alloc((2 * c->mac_count + 1) * sizeof *pairs);
        for (size_t i = 0; i < c->mac_count; i++) {
            pairs[2 * i] = c->macs[i].before;
            pairs[2 * i + 1] = c->macs[i].after;
        }
        VMC_AUTO_FREE char *told = NULL;
        libvirt_seed_for_clone(&seed, c->uuid, c->name, pairs, c->mac_count, &told);
        free(pairs);
        if (told)
            vmc_note(c->deadline, VMCTL_NOTE_WARNING, "%s", told);
        if (!seed.user_data)
            seed.user_data = vmc_strdup("");
        code = libvirt_plan_seed(&c->store, &seed, &c->seed, err);
    }
    libvirt_seed_free(&seed);
    return code;
}

/* --- making ------------------------------------------------------------------------------------------------ */

static int write_document(cloning *c, char **xml, vmctl_error **err) {
    libvirt_clone_disk *disks = vmc_alloc((c->count + 1) * sizeof *disks);
    for (size_t i = 0; i < c->count; i++)
        disks[i] = (libvirt_clone_disk){.target = c->disks[i].target,
                                        .path = c->disks[i].file.path,
                                        .format = c->disks[i].file.format,
                                        .base = c->disks[i].base,
                                        .base_own = c->disks[i].base_own};
    VMC_AUTO_STRV told = {0};
    libvirt_clone_plan plan = {
        .name = c->name,
        .uuid = c->uuid,
        .macs = c->macs,
        .mac_count = c->mac_count,
        .disks = disks,
        .disk_count = c->count,
        .seed = c->seed.path,
        .kernel = c->boot[0].path,
        .initrd = c->boot[1].path,
        .serial_log = c->serial_log,
        .nvram = c->nvram_to,
        .marker = c->marker,
    };
    int code = libvirt_clone_xml(c->doc, &plan, &told, err);
    free(disks);
    for (size_t i = 0; code == 0 && i < told.count; i++)
        vmc_note(c->deadline, VMCTL_NOTE_WARNING, "%s", told.items[i]);
    if (code == 0)
        *xml = libvirt_xml_text(c->doc);
    return code;
}

static const char changing_original[] = "changing the original's definition";

static int step_aside(cloning *c, vmc_journal *journal, vmctl_error **err) {
    libvirt_clone_disk *disks = vmc_alloc((c->count + 1) * sizeof *disks);
    size_t count = 0;
    int code = libvirt_make_pools(&c->own, err);
    for (size_t i = 0; code == 0 && i < c->count; i++) {
        const clone_disk *disk = &c->disks[i];
        if (disk->aside.kind == LIBVIRT_FILE_NONE)
            continue;
        code = libvirt_make_file(&c->own, &c->disks[i].aside, journal, err);
        disks[count++] = (libvirt_clone_disk){.target = disk->target,
                                              .path = disk->aside.path,
                                              .format = "qcow2",
                                              .base = disk->base,
                                              .base_own = disk->base_own};
    }
    LIBVIRT_AUTO_XML *doc = NULL;
    if (code == 0 && count > 0)
        code = libvirt_xml_parse(c->scene.definition, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code == 0 && count > 0) {
        libvirt_clone_step_aside(doc, disks, count);
        VMC_AUTO_FREE char *xml = libvirt_xml_text(doc);
        c->stepped_aside = true; /* also when it is abandoned: the way back is the same */
        code = libvirt_redefine(c->conn, xml, changing_original, c->deadline, NULL, err);
    }
    free(disks);
    libvirt_store_sync(&c->own);
    return code;
}

/* The original goes back to its own files; the overlays are without data, as it did not run. */
static void step_back(cloning *c, vmctl_error **err) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + UNDO_MS};
    vmctl_error *why = NULL;
    if (!c->stepped_aside)
        return;
    int code = libvirt_conn_renew(c->conn, &patient, &why);
    if (code == 0)
        code = libvirt_redefine(c->conn, c->scene.definition, changing_original, &patient, NULL, &why);
    if (code < 0)
        vmc_error_append(err, "; %s goes on in overlays of its own, as after a linked clone (%s)", c->vm->name,
                         vmctl_error_message(why));
    vmctl_error_free(why);
}

static int make_nvram(cloning *c, vmc_journal *journal, vmctl_error **err) {
    if (!c->nvram_from)
        return 0;
    int code = vmc_journal_add(journal, "file", c->nvram_to, NULL, err);
    qemu_img_label label = {c->name, "copying the UEFI variables", NULL};
    return code < 0 ? code : qemu_img_copy(c->nvram_from, c->nvram_to, 0600, &label, c->deadline, err);
}

static int make_files(cloning *c, vmc_journal *journal, vmctl_error **err) {
    int code = libvirt_make_pools(&c->store, err);
    for (size_t i = 0; code == 0 && i < c->count; i++)
        code = libvirt_make_file(&c->store, &c->disks[i].file, journal, err);
    libvirt_file *others[] = {&c->boot[0], &c->boot[1], &c->seed};
    for (size_t i = 0; code == 0 && i < sizeof others / sizeof others[0]; i++)
        code = libvirt_make_file(&c->store, others[i], journal, err);
    if (code == 0)
        code = make_nvram(c, journal, err);
    if (code == 0 && c->serial_log)
        code = vmc_journal_add(journal, "log", c->serial_log, NULL, err);
    return code;
}

static int make(cloning *c, vmc_journal *journal, void **out, vmctl_error **err) {
    VMC_AUTO_FREE char *xml = NULL;
    int code = c->options->linked ? step_aside(c, journal, err) : 0;
    if (code == 0)
        code = make_files(c, journal, err);
    /* Only now, as a volume may have come to be elsewhere than the pool's folder said. */
    if (code == 0)
        code = write_document(c, &xml, err);
    if (code == 0)
        code = libvirt_define_new(c->conn, xml, c->name, c->uuid, 0, false, c->deadline, journal, out, err);
    libvirt_store_sync(&c->store);
    return code;
}

int libvirt_clone(void *conn, void *vm, const char *name, const vmctl_clone_options *options,
                  const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                  vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, CLONE_MS);
    cloning c = {.conn = conn, .vm = vm, .name = name, .options = options, .marker = marker, .deadline = &deadline};
    libvirt_store_open(&c.store, conn, &deadline, name, NULL);
    libvirt_store_open(&c.own, conn, &deadline, c.vm->name, NULL);
    c.own.keep_used = true;
    vmc_uuid_new(c.uuid);
    int code = libvirt_check_free(conn, name, NULL, &deadline, err);
    if (code == 0)
        code = read_original(&c, err);
    if (code == 0)
        code = plan_parts(&c, err);
    if (code == 0)
        code = plan_seed(&c, err);
    if (code == 0) {
        code = make(&c, journal, out, err);
        if (code < 0)
            step_back(&c, err);
    }
    if (code == 0)
        libvirt_vm_identity(*out, identity);
    cloning_free(&c);
    return code;
}
