/* backends/libvirt/snapshot.c - what snapshots a domain has, and in which state it is. */
#include "snapshot.h"

#include "domain_model.h"
#include "job.h"
#include "ops.h"
#include <stdlib.h>
#include <string.h>

enum { LIST_MS = 60000 };

/* --- one document ----------------------------------------------------------------------------------------- */

static vmctl_state state_of(const char *text) {
    static const struct {
        const char *text;
        vmctl_state state;
    } states[] = {
        {"running", VMCTL_STATE_RUNNING},       {"blocked", VMCTL_STATE_RUNNING},   {"paused", VMCTL_STATE_PAUSED},
        {"disk-snapshot", VMCTL_STATE_RUNNING}, {"shutoff", VMCTL_STATE_STOPPED},   {"pmsuspended", VMCTL_STATE_PAUSED},
        {"crashed", VMCTL_STATE_CRASHED},       {"shutdown", VMCTL_STATE_STOPPING},
    };
    for (size_t i = 0; text && i < sizeof states / sizeof states[0]; i++)
        if (strcmp(states[i].text, text) == 0)
            return states[i].state;
    return VMCTL_STATE_UNKNOWN;
}

static const xmlNode *disk_of_target(const xmlNode *domain, const char *target) {
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        if (vmc_str_eq(libvirt_xml_attr_at(disk, "target", "dev"), target) ||
            vmc_str_eq(libvirt_disk_path(disk), target))
            return disk;
    }
    return NULL;
}

static void read_disk(libvirt_snapshot *snapshot, const xmlNode *domain, const xmlNode *node) {
    const char *how = libvirt_xml_attr(node, "snapshot");
    const char *target = libvirt_xml_attr(node, "name");
    const xmlNode *was = disk_of_target(domain, target);
    snapshot->disks = vmc_realloc(snapshot->disks, snapshot->disk_count + 1, sizeof *snapshot->disks);
    libvirt_snapshot_disk *disk = &snapshot->disks[snapshot->disk_count++];
    *disk = (libvirt_snapshot_disk){.target = vmc_strdup(target ? target : "")};
    disk->part = vmc_str_eq(how, "internal")   ? LIBVIRT_PART_INTERNAL
                 : vmc_str_eq(how, "external") ? LIBVIRT_PART_EXTERNAL
                                               : LIBVIRT_PART_NONE;
    if (was) {
        disk->name = libvirt_name_read(domain, was);
        disk->source = vmc_strdup(libvirt_disk_path(was));
        disk->format = vmc_strdup(libvirt_xml_attr_at(was, "driver", "type"));
        disk->writable = libvirt_snapshot_writable(was);
    }
    if (!disk->name)
        disk->name = vmc_strdup(disk->target);
    if (disk->part == LIBVIRT_PART_EXTERNAL)
        disk->overlay = vmc_strdup(libvirt_disk_path(node));
    snapshot->internal |= disk->part == LIBVIRT_PART_INTERNAL;
    snapshot->external |= disk->part == LIBVIRT_PART_EXTERNAL;
}

static int parse(const char *xml, libvirt_snapshot *out, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_xml_parse(xml, "the snapshot's XML", "domainsnapshot", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    const xmlNode *root = xmlDocGetRootElement(doc);
    const xmlNode *domain = libvirt_xml_child(root, "domain");
    const xmlNode *memory = libvirt_xml_child(root, "memory");
    VMC_AUTO_FREE char *state = libvirt_xml_content(libvirt_xml_child(root, "state"));
    VMC_AUTO_FREE char *created = libvirt_xml_content(libvirt_xml_child(root, "creationTime"));
    const char *name = NULL;
    bool quiesced = false;
    out->document = vmc_strdup(xml);
    out->id = libvirt_xml_content(libvirt_xml_child(root, "name"));
    if (!out->id)
        return vmc_error(err, VMCTL_E_INTERNAL, "libvirt told a snapshot without a name");
    out->description = libvirt_xml_content(libvirt_xml_child(root, "description"));
    out->parent = libvirt_xml_content(libvirt_xml_find(root, "parent/name"));
    out->created = created ? strtoll(created, NULL, 10) : 0;
    out->state = state_of(state);
    out->memory =
        libvirt_xml_attr_is(memory, "snapshot", "internal") || libvirt_xml_attr_is(memory, "snapshot", "external");
    out->memory_file = vmc_strdup(libvirt_xml_attr(memory, "file"));
    out->external = out->memory_file != NULL;
    out->has_domain = domain != NULL;
    out->cpus_came = libvirt_cpus_came(domain);
    out->quiesced = -1;
    if (libvirt_snapshot_note_read(root, &name, &quiesced)) {
        out->name = vmc_strdup(name);
        out->quiesced = quiesced ? 1 : -1;
    }
    if (!out->name)
        out->name = vmc_strdup(out->id);
    LIBVIRT_XML_EACH(nic, libvirt_xml_child(domain, "devices"), "interface") {
        const char *network = libvirt_xml_attr_at(nic, "source", "network");
        if (network && libvirt_xml_attr_is(nic, "type", "network") && !vmc_strv_has(&out->networks, network))
            vmc_strv_add(&out->networks, network);
    }
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(root, "disks"), "disk")
    read_disk(out, domain, disk);
    return 0;
}

static void snapshot_clear(libvirt_snapshot *snapshot) {
    for (size_t i = 0; i < snapshot->disk_count; i++) {
        free(snapshot->disks[i].target);
        free(snapshot->disks[i].name);
        free(snapshot->disks[i].source);
        free(snapshot->disks[i].format);
        free(snapshot->disks[i].overlay);
    }
    free(snapshot->disks);
    if (snapshot->handle)
        virDomainSnapshotFree(snapshot->handle);
    free(snapshot->document);
    free(snapshot->id);
    free(snapshot->name);
    free(snapshot->parent);
    free(snapshot->description);
    free(snapshot->memory_file);
    vmc_strv_free(&snapshot->networks);
}

void libvirt_snapshots_free(libvirt_snapshots *snapshots) {
    for (size_t i = 0; i < snapshots->count; i++)
        snapshot_clear(&snapshots->items[i]);
    free(snapshots->items);
    *snapshots = (libvirt_snapshots){0};
}

/* --- all of them --------------------------------------------------------------------------------------------- */

static const libvirt_snapshot *by_id(const libvirt_snapshots *snapshots, const char *id) {
    for (size_t i = 0; id && i < snapshots->count; i++)
        if (strcmp(snapshots->items[i].id, id) == 0)
            return &snapshots->items[i];
    return NULL;
}

int libvirt_snapshots_parse(const vmc_strv *documents, const char *current, libvirt_snapshots *out, vmctl_error **err) {
    out->items = vmc_alloc((documents->count + 1) * sizeof *out->items);
    for (size_t i = 0; i < documents->count; i++) {
        int code = parse(documents->items[i], &out->items[out->count++], err);
        if (code < 0) {
            libvirt_snapshots_free(out);
            return code;
        }
    }
    for (size_t i = 0; i < out->count; i++) {
        libvirt_snapshot *snapshot = &out->items[i];
        snapshot->current = vmc_str_eq(snapshot->id, current);
        const libvirt_snapshot *other = by_id(out, snapshot->name);
        /* Somebody gave another one this name since (with virsh): names stay distinct. */
        if (other && other != snapshot && strcmp(other->name, other->id) == 0) {
            free(snapshot->name);
            snapshot->name = vmc_strdup(snapshot->id);
        }
    }
    return 0;
}

const libvirt_snapshot *libvirt_snapshots_named(const libvirt_snapshots *snapshots, const char *name) {
    for (size_t i = 0; i < snapshots->count; i++)
        if (strcmp(snapshots->items[i].name, name) == 0)
            return &snapshots->items[i];
    return by_id(snapshots, name);
}

const libvirt_snapshot *libvirt_snapshots_find(const libvirt_snapshots *snapshots, const char *vm, const char *name,
                                               vmctl_error **err) {
    const libvirt_snapshot *found = libvirt_snapshots_named(snapshots, name);
    if (found)
        return found;
    VMC_AUTO_STRV names = {0};
    for (size_t i = 0; i < snapshots->count; i++)
        vmc_strv_add(&names, snapshots->items[i].name);
    const char *near = names.count ? vmc_nearest(name, (const char *const *)names.items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no snapshot %s", vm, name);
    if (near)
        vmc_error_next(err, "did you mean %s?", near);
    else if (names.count)
        vmc_error_next(err, "vmctl snapshot list %s shows those that are there", vm);
    else
        vmc_error_next(err, "it has none; vmctl snapshot create %s %s takes one", vm, name);
    return NULL;
}

const libvirt_snapshot *libvirt_snapshots_parent(const libvirt_snapshots *snapshots, const libvirt_snapshot *snapshot) {
    return by_id(snapshots, snapshot->parent);
}

bool libvirt_snapshots_descends(const libvirt_snapshots *snapshots, const libvirt_snapshot *from,
                                const libvirt_snapshot *ancestor) {
    for (size_t steps = 0; from && steps <= snapshots->count; steps++) {
        from = by_id(snapshots, from->parent);
        if (from == ancestor)
            return true;
    }
    return false;
}

void libvirt_snapshots_files(const libvirt_snapshots *snapshots, const vmc_strv *own, vmc_strv *files) {
    for (size_t i = 0; i < snapshots->count; i++) { /* parents first: an overlay comes after what it stands on */
        const libvirt_snapshot *snapshot = &snapshots->items[i];
        bool ours = false;
        for (size_t d = 0; d < snapshot->disk_count; d++) {
            const libvirt_snapshot_disk *disk = &snapshot->disks[d];
            if (!disk->overlay || !disk->source ||
                !(vmc_strv_has(own, disk->source) || vmc_strv_has(files, disk->source)))
                continue;
            ours = true;
            if (!vmc_strv_has(own, disk->overlay) && !vmc_strv_has(files, disk->overlay))
                vmc_strv_add(files, disk->overlay);
        }
        if (ours && snapshot->memory_file)
            vmc_strv_add(files, snapshot->memory_file);
    }
}

/* --- asking ---------------------------------------------------------------------------------------------------- */

typedef struct look_args {
    virConnectPtr virt;
    virDomainPtr domain;
    bool snapshots_only;
    unsigned wanted;
    bool active, saved;
    int state, reason, job;
    char *xml, *definition;
    unsigned long version;
    vmc_strv documents;
    virDomainSnapshotPtr *handles; /* as many */
    char *current;
} look_args;

static void look_drop(void *opaque) {
    look_args *args = opaque;
    for (size_t i = 0; args->handles && i < args->documents.count; i++)
        if (args->handles[i])
            virDomainSnapshotFree(args->handles[i]);
    free(args->handles);
    virDomainFree(args->domain);
    free(args->xml);
    free(args->definition);
    free(args->current);
    vmc_strv_free(&args->documents);
    free(args);
}

static int ask_snapshots(look_args *args) {
    virDomainSnapshotPtr *list = NULL;
    int count = virDomainListAllSnapshots(args->domain, &list, VIR_DOMAIN_SNAPSHOT_LIST_TOPOLOGICAL);
    bool failed = count < 0;
    args->handles = count > 0 ? vmc_alloc((size_t)count * sizeof(virDomainSnapshotPtr)) : NULL;
    for (int i = 0; i < count; i++) {
        char *xml = failed ? NULL : virDomainSnapshotGetXMLDesc(list[i], 0);
        if (xml) {
            args->handles[args->documents.count] = list[i];
            vmc_strv_take(&args->documents, xml);
            continue;
        }
        if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN_SNAPSHOT) /* deleted since the list was made */
            failed = true;
        virDomainSnapshotFree(list[i]);
    }
    free(list);
    if (failed)
        return -1;
    if (count == 0 || !args->snapshots_only) /* who asks for more than the list does not ask which is the current one */
        return 0;
    virDomainSnapshotPtr current = virDomainSnapshotCurrent(args->domain, 0);
    if (!current) /* none is */
        return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_SNAPSHOT ? 0 : -1;
    args->current = vmc_strdup(virDomainSnapshotGetName(current));
    virDomainSnapshotFree(current);
    return 0;
}

static int ask_job(virDomainPtr domain) {
    libvirt_job job;
    if (libvirt_job_read(domain, &job) < 0)
        return -1; /* a driver without jobs */
    return job.type == VIR_DOMAIN_JOB_BOUNDED || job.type == VIR_DOMAIN_JOB_UNBOUNDED ? job.operation : -1;
}

/* What libvirt can do matters where snapshots are external. */
static bool any_external(const vmc_strv *documents) {
    for (size_t i = 0; i < documents->count; i++)
        if (strstr(documents->items[i], "='external'"))
            return true;
    return false;
}

static int ask_definition(look_args *args) {
    int persistent = args->active ? virDomainIsPersistent(args->domain) : 1; /* a transient one is gone when it ends */
    if (persistent != 1)
        return persistent;
    args->definition = virDomainGetXMLDesc(args->domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    return args->definition ? 0 : -1;
}

static int look_work(void *opaque) {
    look_args *args = opaque;
    if (args->snapshots_only)
        return ask_snapshots(args);
    if (virDomainGetState(args->domain, &args->state, &args->reason, 0) < 0)
        return -1;
    args->active = args->state != VIR_DOMAIN_SHUTOFF && args->state != VIR_DOMAIN_CRASHED;
    args->saved = !args->active && virDomainHasManagedSaveImage(args->domain, 0) == 1;
    args->job = args->active ? ask_job(args->domain) : -1;
    if ((args->wanted & LIBVIRT_LOOK_DEFINITION) && ask_definition(args) < 0)
        return -1;
    if (args->wanted & LIBVIRT_LOOK_XML) {
        bool known = args->definition && !args->active;
        args->xml = known ? vmc_strdup(args->definition) : virDomainGetXMLDesc(args->domain, 0);
        if (!args->xml)
            return -1;
    }
    if (ask_snapshots(args) < 0)
        return -1;
    bool depends = (args->wanted & LIBVIRT_LOOK_VERSION) || any_external(&args->documents);
    return depends ? virConnectGetLibVersion(args->virt, &args->version) : 0;
}

static int look(libvirt_conn *conn, const libvirt_vm *vm, bool snapshots_only, unsigned wanted,
                const vmc_deadline *deadline, libvirt_snapshot_scene *out, vmctl_error **err) {
    *out = (libvirt_snapshot_scene){.conn = conn, .vm = vm, .deadline = deadline, .job = -1};
    look_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->domain = vm->domain;
    virDomainRef(vm->domain);
    args->job = -1;
    args->snapshots_only = snapshots_only;
    args->wanted = wanted;
    int code = libvirt_call(conn, deadline, "reading the snapshots", look_work, args, look_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code)
        code = libvirt_snapshots_parse(&args->documents, args->current, &out->snapshots, err);
    for (size_t i = 0; code == 0 && i < out->snapshots.count; i++) {
        out->snapshots.items[i].handle = args->handles[i];
        args->handles[i] = NULL;
    }
    if (!code) {
        out->active = args->active;
        out->saved = args->saved;
        out->vir_state = args->state;
        out->vir_reason = args->reason;
        out->job = args->job;
        out->libvirt_version = args->version;
        out->xml = args->xml;
        out->definition = args->definition;
        args->xml = args->definition = NULL;
    }
    look_drop(args);
    return code;
}

int libvirt_snapshot_ask(libvirt_conn *conn, const libvirt_vm *vm, unsigned wanted, const vmc_deadline *deadline,
                         libvirt_snapshot_scene *out, vmctl_error **err) {
    return look(conn, vm, false, wanted, deadline, out, err);
}

int libvirt_snapshot_look(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                          libvirt_snapshot_scene *out, vmctl_error **err) {
    return libvirt_snapshot_ask(conn, vm, LIBVIRT_LOOK_XML | LIBVIRT_LOOK_DEFINITION | LIBVIRT_LOOK_VERSION, deadline,
                                out, err);
}

void libvirt_snapshot_scene_free(libvirt_snapshot_scene *scene) {
    free(scene->xml);
    free(scene->definition);
    libvirt_snapshots_free(&scene->snapshots);
}

int libvirt_snapshots_read(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                           libvirt_snapshots *out, vmctl_error **err) {
    libvirt_snapshot_scene scene;
    int code = look(conn, vm, true, 0, deadline, &scene, err);
    *out = scene.snapshots;
    return code;
}

/* --- telling ----------------------------------------------------------------------------------------------------- */

int libvirt_snapshot_tell(const libvirt_snapshots *snapshots, const libvirt_snapshot *from, vmctl_snapshot_fn each,
                          void *user) {
    const libvirt_snapshot *parent = by_id(snapshots, from->parent);
    VMC_AUTO_STRV excluded = {0};
    for (size_t i = 0; i < from->disk_count; i++)
        if (from->disks[i].part == LIBVIRT_PART_NONE && from->disks[i].writable)
            vmc_strv_add(&excluded, from->disks[i].name);
    vmctl_snapshot told = {
        .size = sizeof told,
        .name = from->name,
        .id = strcmp(from->id, from->name) != 0 ? from->id : NULL,
        .parent = parent ? parent->name : NULL,
        .description = from->description && *from->description ? from->description : NULL,
        .created = from->created,
        .state = from->state,
        .memory = from->memory,
        .current = from->current,
        .quiesced = from->quiesced,
        .external = from->external,
        .excluded = excluded.count ? (const char *const *)excluded.items : NULL,
    };
    return each(&told, user);
}

int libvirt_snapshot_list(void *conn, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                          vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, LIST_MS);
    vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots snapshots = {0};
    int code = libvirt_snapshots_read(conn, vm, &deadline, &snapshots, err);
    for (size_t i = 0; code == 0 && i < snapshots.count; i++)
        if (libvirt_snapshot_tell(&snapshots, &snapshots.items[i], each, user))
            break;
    return code;
}
