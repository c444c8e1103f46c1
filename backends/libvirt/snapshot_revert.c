/* backends/libvirt/snapshot_revert.c - making a VM what it was.
 *
 * libvirt ends QEMU and starts it anew from the snapshot (or leaves it stopped), with the definition of then. It keeps a saved memory of now, which would
 * be restored over other disks at the next start: that is removed here.
 */
#include "domain_model.h"
#include "ops.h"
#include "rpc.h"
#include "snapshot.h"
#include <stdlib.h>
#include <string.h>

enum { REPAIR_MS = 60000, THAW_MS = 60000 };

typedef struct reverting {
    libvirt_snapshot_scene scene;
    libvirt_snapshot *snapshot;
    const vmctl_snapshot_revert_options *options;
    bool runs; /* afterwards */
    vmc_journal *journal;
} reverting;

static libvirt_rpc *rpc_of(const reverting *r) {
    libvirt_rpc *rpc = libvirt_rpc_new(r->scene.conn);
    virDomainRef(r->scene.vm->domain);
    rpc->domain = r->scene.vm->domain;
    return rpc;
}

/* snapshot and flags. Newer libvirt asks for a word more before it ends a running QEMU; the person has said it. */
static int work_revert(libvirt_rpc *rpc) {
    int code = virDomainRevertToSnapshot(rpc->snapshot, rpc->flags);
    if (code < 0 && virGetLastErrorCode() == VIR_ERR_SNAPSHOT_REVERT_RISKY)
        code = virDomainRevertToSnapshot(rpc->snapshot, rpc->flags | VIR_DOMAIN_SNAPSHOT_REVERT_FORCE);
    return code;
}

/* domain */
static int work_drop_save(libvirt_rpc *rpc) {
    return virDomainHasManagedSaveImage(rpc->domain, 0) == 1 ? virDomainManagedSaveRemove(rpc->domain, 0) : 0;
}

/* domain */
static int work_thaw(libvirt_rpc *rpc) {
    return virDomainFSThaw(rpc->domain, NULL, 0, 0) < 0 ? -1 : 0;
}

/* domain and text (the definition before) -> number (1: active); found: the definition had changed and is what it was again */
static int work_repair(libvirt_rpc *rpc) {
    int active = virDomainIsActive(rpc->domain);
    VMC_AUTO_FREE char *now = virDomainGetXMLDesc(rpc->domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
    if (active < 0 || !now)
        return -1;
    rpc->number = (unsigned long long)active;
    if (!rpc->text || strcmp(now, rpc->text) == 0)
        return 0;
    virDomainPtr domain = virDomainDefineXML(rpc->virt, rpc->text);
    if (!domain)
        return -1;
    virDomainFree(domain);
    rpc->found = true;
    return 0;
}

/* --- before ------------------------------------------------------------------------------------------------------ */

static bool knows_disk(const libvirt_snapshot *snapshot, const char *path) {
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (vmc_str_eq(snapshot->disks[i].source, path))
            return true;
    return false;
}

/* Disks that came later are not in the snapshot's definition: the VM loses sight of them, not more. */
static void tell_later_disks(const reverting *r) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!r->snapshot->has_domain ||
        libvirt_xml_parse(r->scene.xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        const char *path = libvirt_disk_path(disk);
        if (!path || !libvirt_snapshot_writable(disk) || knows_disk(r->snapshot, path))
            continue;
        VMC_AUTO_FREE char *name = libvirt_name_read(domain, disk);
        vmc_note(r->scene.deadline, VMCTL_NOTE_WARNING,
                 "disk %s came after the snapshot: it is taken off %s, and its file stays (%s)", name,
                 r->scene.vm->name, path);
    }
}

/* name (of a network) -> found; number (1: it was started) */
static int work_network(libvirt_rpc *rpc) {
    if (rpc->network)
        virNetworkFree(rpc->network);
    rpc->number = 0;
    rpc->network = virNetworkLookupByName(rpc->virt, rpc->name);
    if (!rpc->network)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_NETWORK);
    rpc->found = true;
    if (virNetworkIsActive(rpc->network) == 1)
        return 0;
    rpc->number = 1;
    return virNetworkCreate(rpc->network) == 0 || virNetworkIsActive(rpc->network) == 1 ? 0 : -1;
}

/* What `start` does for the networks of now; without them QEMU would be ended and not come back. */
static int ready_networks(const reverting *r, vmctl_error **err) {
    const vmc_deadline *deadline = r->scene.deadline;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(r->scene.conn);
    int code = 0;
    for (size_t i = 0; code == 0 && r->runs && i < r->snapshot->networks.count; i++) {
        const char *name = r->snapshot->networks.items[i];
        VMC_AUTO_FREE char *doing = vmc_printf("starting the network %s", name);
        free(rpc->name);
        rpc->name = vmc_strdup(name);
        code = libvirt_rpc_run(r->scene.conn, deadline, doing, work_network, rpc, err);
        if (code == 0 && !rpc->found) {
            vmc_error(err, VMCTL_E_NOT_FOUND, "snapshot %s has a NIC on the network %s, which is gone",
                      r->snapshot->name, name);
            code = vmc_error_next(err, "define a network of that name (virsh net-define)");
        } else if (code == 0 && rpc->number) {
            vmc_note(deadline, VMCTL_NOTE_INFO, "started the network %s", name);
        }
    }
    return code;
}

static int keep_marker(const reverting *r, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    const libvirt_snapshot_scene *scene = &r->scene;
    if (!r->snapshot->has_domain || !scene->definition || !strstr(scene->definition, LIBVIRT_VMCTL_NS))
        return 0;
    int code = libvirt_xml_parse(r->snapshot->document, "the snapshot's XML", "domainsnapshot", VMCTL_E_INTERNAL, &doc,
                                 NULL, err);
    if (code < 0 || !libvirt_snapshot_marker_keep(doc, scene->definition))
        return code;
    xmlFreeDoc(doc);
    doc = NULL; /* that one has no secrets: what is stored needs them */
    code = libvirt_snapshot_document(scene->conn, scene->vm, r->snapshot->id, scene->deadline, &doc, err);
    if (code < 0)
        return code;
    libvirt_snapshot_marker_keep(doc, scene->definition);
    return libvirt_snapshot_redefine(scene->conn, scene->vm, doc, scene->deadline, err);
}

/* A disk that has grown since is as small as it was. */
static void tell_sizes(const reverting *r) {
    for (size_t i = 0; i < r->snapshot->disk_count; i++) {
        const libvirt_snapshot_disk *disk = &r->snapshot->disks[i];
        if (disk->bytes_then == disk->bytes_now)
            continue;
        VMC_AUTO_FREE char *then = vmc_format_size((long long)disk->bytes_then);
        VMC_AUTO_FREE char *now = vmc_format_size((long long)disk->bytes_now);
        vmc_note(r->scene.deadline, VMCTL_NOTE_INFO, "disk %s has %s again, as it had then (%s before)", disk->name,
                 then, now);
    }
}

/* --- doing it ---------------------------------------------------------------------------------------------------- */

static int drop_save(const reverting *r, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = rpc_of(r);
    return libvirt_rpc_run(r->scene.conn, deadline, "removing the saved memory", work_drop_save, rpc, err);
}

/* A failed revert may have ended QEMU and exchanged the definition: the one comes back, the other is said. */
static int failed(const reverting *r, bool save_dropped, int code, vmctl_error **err) {
    const libvirt_snapshot_scene *scene = &r->scene;
    if (vmc_outcome_unknown(code))
        return vmc_error_append(err, "; %s may still be reverted", scene->vm->name);
    vmc_deadline patient = {.at_ms = vmc_now_ms() + REPAIR_MS};
    vmctl_error *why = NULL;
    LIBVIRT_AUTO_RPC *rpc = rpc_of(r);
    rpc->text = vmc_strdup(scene->definition);
    if (libvirt_rpc_run(scene->conn, &patient, "taking the definition back", work_repair, rpc, &why) < 0)
        vmc_error_append(err, "; its definition may be that of the snapshot (%s)", vmctl_error_message(why));
    else if (scene->active && rpc->number == 0)
        vmc_error_append(err, "; %s was %s and is stopped now, with the definition that it had", scene->vm->name,
                         vmctl_state_name(libvirt_state(scene->vir_state, scene->vir_reason, false, NULL)));
    if (save_dropped)
        vmc_error_append(err, "; its saved memory is gone");
    vmctl_error_free(why);
    return code;
}

/* uncut: what has to follow must not be left out, so that only the deadline ends it. */
static int revert(const reverting *r, bool uncut, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = rpc_of(r);
    virDomainSnapshotRef(r->snapshot->handle);
    rpc->snapshot = r->snapshot->handle;
    rpc->flags = r->options->start ? VIR_DOMAIN_SNAPSHOT_REVERT_RUNNING : 0u;
    VMC_AUTO_FREE char *stage = vmc_printf("reverting to snapshot %s", r->snapshot->name);
    int code = vmc_progress(r->scene.deadline, r->scene.vm->name, stage, NULL, VMCTL_UNIT_NONE, 0, 0, err);
    vmc_deadline deadline = *r->scene.deadline;
    if (uncut)
        deadline.cancel = NULL;
    return code < 0 ? code : libvirt_rpc_run(r->scene.conn, &deadline, stage, work_revert, rpc, err);
}

/* A memory that was taken frozen is still frozen when it comes back. */
static int thaw(const reverting *r, vmctl_error **err) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + THAW_MS, .call = r->scene.deadline->call};
    LIBVIRT_AUTO_RPC *rpc = rpc_of(r);
    int code = libvirt_rpc_run(r->scene.conn, &patient, "thawing the guest's file systems", work_thaw, rpc, err);
    if (code == 0)
        return 0;
    vmc_error_prefix(err, "%s is reverted, but its file systems are still frozen, as they were then",
                     r->scene.vm->name);
    return vmc_error_next(err, "vmctl thaw %s", r->scene.vm->name);
}

static int go_back(const reverting *r, vmctl_error **err) {
    const libvirt_snapshot_scene *scene = &r->scene;
    bool frozen = r->snapshot->quiesced == 1 && r->snapshot->memory && r->runs;
    bool save_first = scene->saved && !r->runs;
    size_t save_mark = 0, frozen_mark = 0;
    int code = 0;
    if (scene->saved)
        vmc_note(scene->deadline, VMCTL_NOTE_INFO, "the saved memory of %s is dropped: it belongs to the disks of now",
                 scene->vm->name);
    if (save_first)
        code = drop_save(r, scene->deadline, err);
    else if (scene->saved)
        code = vmc_journal_add(r->journal, "stale-save", scene->vm->uuid, &save_mark, err);
    if (code == 0 && frozen)
        code = vmc_journal_add(r->journal, "freeze", scene->vm->uuid, &frozen_mark, err);
    if (code < 0)
        return code;
    code = revert(r, frozen || (scene->saved && r->runs), err);
    if (code < 0)
        return failed(r, save_first, code, err);
    if (scene->saved && r->runs) {
        vmc_deadline patient = {.at_ms = vmc_now_ms() + REPAIR_MS};
        code = drop_save(r, &patient, err);
        if (code < 0)
            return vmc_error_prefix(err, "%s is reverted, but its saved memory of before is still there",
                                    scene->vm->name);
    }
    if (frozen)
        code = thaw(r, err);
    if (code == 0)
        tell_sizes(r);
    return code;
}

int libvirt_snapshot_revert(void *conn, void *vm, const char *name, const vmctl_snapshot_revert_options *options,
                            vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    reverting r = {.options = options, .journal = journal};
    int code = libvirt_snapshot_ask(conn, vm, LIBVIRT_LOOK_XML | LIBVIRT_LOOK_DEFINITION, &deadline, &r.scene, err);
    if (code == 0) {
        const libvirt_snapshot *found = libvirt_snapshots_find(&r.scene.snapshots, r.scene.vm->name, name, err);
        r.snapshot = found ? &r.scene.snapshots.items[found - r.scene.snapshots.items] : NULL;
        code = r.snapshot ? libvirt_snapshot_check_idle(&r.scene, err) : VMCTL_E_NOT_FOUND;
    }
    if (code == 0)
        code = libvirt_snapshot_check_revert(&r.scene, r.snapshot, err);
    if (code == 0)
        code = libvirt_snapshot_note_files(&r.scene, r.snapshot, err);
    if (code == 0) {
        r.runs = r.snapshot->memory || options->start;
        code = ready_networks(&r, err);
    }
    if (code == 0) {
        tell_later_disks(&r);
        code = keep_marker(&r, err);
    }
    if (code == 0)
        code = go_back(&r, err);
    libvirt_snapshot_scene_free(&r.scene);
    return code;
}
