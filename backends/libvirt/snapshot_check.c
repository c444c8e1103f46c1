/* backends/libvirt/snapshot_check.c - what can be done with snapshots, decided before anything is touched.
 *
 * Sources: libvirt's qemu_snapshot.c of 9.0 (tried on Debian 12) and its release notes: external snapshots are deleted from 9.0 and reverted from 9.9
 * on, internal ones of a running UEFI VM are taken from 10.10 on where the variable store is qcow2.
 */
#include "domain_model.h"
#include "drivers/qemu_img/qemu_img.h"
#include "snapshot.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIBVIRT_9_0 = 9000000, LIBVIRT_9_9 = 9009000, LIBVIRT_10_10 = 10010000 };

static char *version_text(unsigned long version) {
    return vmc_printf("libvirt %lu.%lu", version / 1000000, version / 1000 % 1000);
}

/* --- jobs and names ------------------------------------------------------------------------------------------ */

static const char *job_text(int operation) {
    switch (operation) {
    case VIR_DOMAIN_JOB_OPERATION_START:
        return "it is being started";
    case VIR_DOMAIN_JOB_OPERATION_SAVE:
        return "its memory is being saved";
    case VIR_DOMAIN_JOB_OPERATION_RESTORE:
        return "its memory is being restored";
    case VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN:
        return "it is being migrated to this host";
    case VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
        return "it is being migrated to another host";
    case VIR_DOMAIN_JOB_OPERATION_SNAPSHOT:
        return "a snapshot is being taken";
    case VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT:
        return "it is being reverted to a snapshot";
    case VIR_DOMAIN_JOB_OPERATION_DUMP:
        return "its memory is being dumped";
    case VIR_DOMAIN_JOB_OPERATION_BACKUP:
        return "a backup is being made";
    default:
        return "another operation is under way";
    }
}

int libvirt_snapshot_check_idle(const libvirt_snapshot_scene *scene, vmctl_error **err) {
    const char *vm = scene->vm->name;
    if (scene->job < 0)
        return 0;
    vmc_error(err, VMCTL_E_BUSY, "%s is busy: %s", vm, job_text(scene->job));
    vmc_error_retryable(err);
    if (scene->job == VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)
        return vmc_error_next(err, "wait for its end, or end it: vmctl migrate --abort %s", vm);
    return vmc_error_next(err, "wait for its end and try again");
}

int libvirt_snapshot_check_name(const libvirt_snapshot_scene *scene, const char *name, vmctl_error **err) {
    if (strchr(name, '/') || *name == '.') {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                  "\"%s\" cannot be a snapshot's name: libvirt keeps it in a file of that name", name);
        return vmc_error_next(err, "choose one without / that does not begin with a dot");
    }
    const libvirt_snapshot *there = libvirt_snapshots_named(&scene->snapshots, name);
    if (!there || strcmp(there->name, name) != 0) /* an id that was renamed is free to be seen again */
        return 0;
    vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a snapshot %s already", scene->vm->name, name);
    return vmc_error_next(err, "choose another name, or delete that one: vmctl snapshot delete %s %s", scene->vm->name,
                          name);
}

/* --- taking ---------------------------------------------------------------------------------------------------- */

bool libvirt_snapshot_writable(const xmlNode *disk) {
    const char *device = libvirt_xml_attr(disk, "device");
    return (!device || strcmp(device, "disk") == 0 || strcmp(device, "lun") == 0) &&
           !libvirt_xml_child(disk, "readonly");
}

/* NULL: qcow2 files or devices of this VM can hold an internal snapshot; else why not. *remedy: free. */
static char *internal_obstacle(const xmlNode *domain, const char *vm, char **remedy) {
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        const char *format = libvirt_xml_attr_at(disk, "driver", "type");
        const char *path = libvirt_disk_path(disk);
        if (!libvirt_snapshot_writable(disk) || !libvirt_xml_child(disk, "source"))
            continue;
        VMC_AUTO_FREE char *name = libvirt_name_read(domain, disk);
        if (libvirt_xml_attr_is(disk, "snapshot", "no")) {
            *remedy = vmc_strdup("take snapshot='no' off that disk's definition, or make the disk read-only");
            return vmc_printf("disk %s is to be left out of snapshots, and one that can be reverted takes all disks",
                              name);
        }
        if (!path) {
            const char *type = libvirt_xml_attr(disk, "type");
            *remedy = vmc_strdup("move the disk into a qcow2 file, or let the storage take the snapshot");
            return vmc_printf("disk %s is on %s storage; a snapshot that can be reverted needs a qcow2 file", name,
                              type ? type : "other");
        }
        if (!vmc_str_eq(format, "qcow2")) {
            *remedy =
                vmc_printf("stop %s, then: vmctl image convert %s NEW.qcow2 and vmctl set %s disk.%s.volume=NEW.qcow2",
                           vm, path, vm, name);
            return vmc_printf("disk %s is %s; a snapshot that can be reverted needs qcow2", name,
                              format ? format : "of a format that libvirt does not say");
        }
    }
    return NULL;
}

static bool has_uefi(const xmlNode *domain) {
    const xmlNode *os = libvirt_xml_child(domain, "os");
    return libvirt_xml_attr_is(os, "firmware", "efi") ||
           libvirt_xml_attr_is(libvirt_xml_child(os, "loader"), "type", "pflash");
}

/* libvirt plugs such CPUs again after QEMU has begun, and QEMU loads the snapshot as it begins: it ends with "Unknown savevm section or
 * instance 'cpu_common'" (measured with libvirt 9.0 and QEMU 7.2). */
bool libvirt_cpus_came(const xmlNode *domain) {
    LIBVIRT_XML_EACH(vcpu, libvirt_xml_child(domain, "vcpus"), "vcpu") {
        if (libvirt_xml_attr_is(vcpu, "enabled", "yes") && libvirt_xml_attr_is(vcpu, "hotpluggable", "yes"))
            return true;
    }
    return false;
}

/* Besides its disks: what keeps QEMU from writing down the state of a running VM. */
static char *memory_obstacle(const libvirt_snapshot_scene *scene, const xmlNode *domain, char **remedy) {
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    const char *vm = scene->vm->name;
    if (has_uefi(domain) && !(scene->libvirt_version >= LIBVIRT_10_10 &&
                              libvirt_xml_attr_is(libvirt_xml_find(domain, "os/nvram"), "format", "qcow2"))) {
        VMC_AUTO_FREE char *version = version_text(scene->libvirt_version);
        *remedy = vmc_printf("stop %s first: its disks can be taken then", vm);
        if (scene->libvirt_version >= LIBVIRT_10_10)
            return vmc_printf(
                "%s runs on UEFI firmware with a raw variable store; a snapshot of the running VM needs a qcow2 one",
                vm);
        return vmc_printf(
            "%s runs on UEFI firmware, of which %s takes no snapshot while it runs (10.10 and newer do, with a "
            "qcow2 variable store)",
            vm, version);
    }
    if (libvirt_cpus_came(domain)) {
        *remedy = vmc_printf("vmctl restart %s: from its next start on it has them from the beginning", vm);
        return vmc_strdup("CPUs came while it ran, and a snapshot with them could not be gone back to");
    }
    const xmlNode *hostdev = libvirt_xml_child(devices, "hostdev");
    if (hostdev) {
        VMC_AUTO_FREE char *name = libvirt_name_read(domain, hostdev);
        *remedy = vmc_printf("detach it, or stop %s first", vm);
        return vmc_printf("the host's device %s is passed through, and its state cannot be written down",
                          name ? name : "");
    }
    LIBVIRT_XML_EACH(share, devices, "filesystem") {
        VMC_AUTO_FREE char *name = libvirt_name_read(domain, share);
        if (!libvirt_xml_attr_is(libvirt_xml_child(share, "driver"), "type", "virtiofs"))
            continue;
        *remedy = vmc_printf("detach it, or stop %s first", vm);
        return vmc_printf("the virtiofs share %s has state on the host that cannot be written down", name ? name : "");
    }
    return NULL;
}

/* Only files can be left behind for overlays that libvirt names itself. */
static char *overlay_obstacle(const libvirt_snapshot_scene *scene, const xmlNode *domain) {
    if (scene->libvirt_version < LIBVIRT_9_9) {
        VMC_AUTO_FREE char *version = version_text(scene->libvirt_version);
        return vmc_printf("%s cannot revert a snapshot that leaves the disks for overlay files (9.9 and newer can)",
                          version);
    }
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        VMC_AUTO_FREE char *name = libvirt_name_read(domain, disk);
        if (libvirt_snapshot_writable(disk) && libvirt_xml_child(disk, "source") &&
            !libvirt_xml_attr_is(disk, "type", "file"))
            return vmc_printf("disk %s is no file, so no overlay can be begun beside it", name);
    }
    return NULL;
}

static int refuse(vmctl_error **err, int code, const char *reason, const char *remedy) {
    vmc_error(err, code, "%s", reason);
    return remedy ? vmc_error_next(err, "%s", remedy) : code;
}

static int check_quiesce(const libvirt_snapshot_scene *scene, const xmlNode *domain, vmctl_error **err) {
    const char *vm = scene->vm->name;
    if (!scene->active || scene->vir_state == VIR_DOMAIN_PAUSED || scene->vir_state == VIR_DOMAIN_PMSUSPENDED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run, so that no guest agent can freeze its file systems",
                  vm);
        return scene->active ? vmc_error_next(err, "vmctl resume %s, or leave --quiesce out", vm)
                             : vmc_error_next(err, "leave --quiesce out: a stopped VM writes nothing");
    }
    LIBVIRT_XML_EACH(channel, libvirt_xml_child(domain, "devices"), "channel") {
        const xmlNode *target = libvirt_xml_child(channel, "target");
        if (!libvirt_xml_attr_is(target, "name", "org.qemu.guest_agent.0"))
            continue;
        if (libvirt_xml_attr_is(target, "state", "connected"))
            return 0;
        vmc_error(err, VMCTL_E_INVALID_STATE,
                  "the guest agent of %s does not answer, so that its file systems cannot be frozen", vm);
        return vmc_error_next(
            err, "start qemu-guest-agent in the guest (vmctl wait %s --for agent), or leave --quiesce out", vm);
    }
    vmc_error(err, VMCTL_E_UNSUPPORTED,
              "%s has no channel for a guest agent, so that its file systems cannot be frozen", vm);
    return vmc_error_next(
        err, "vmctl set %s guestAgent=true, restart it with qemu-guest-agent in the guest, or leave --quiesce out", vm);
}

int libvirt_snapshot_check_create(const libvirt_snapshot_scene *scene, vmctl_snapshot_memory memory, bool quiesce,
                                  libvirt_snapshot_kind *kind, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    const char *vm = scene->vm->name;
    int code = libvirt_xml_parse(scene->xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    if (quiesce)
        code = check_quiesce(scene, domain, err);
    if (code < 0)
        return code;
    if (memory == VMCTL_MEMORY_WITH && !scene->active) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run, so that there is no memory to take", vm);
        return vmc_error_next(err, "leave --memory out, or start it first: vmctl start %s", vm);
    }
    bool any = scene->conn->test_driver; /* it has no disks, and takes anything */
    VMC_AUTO_FREE char *remedy = NULL;
    VMC_AUTO_FREE char *reason = any ? NULL : internal_obstacle(domain, vm, &remedy);
    if (!reason && scene->active && !any)
        reason = memory_obstacle(scene, domain, &remedy);
    *kind = scene->active ? LIBVIRT_SNAPSHOT_MEMORY : LIBVIRT_SNAPSHOT_DISKS;
    if (!reason && !(scene->active && memory == VMCTL_MEMORY_WITHOUT))
        return 0;
    if (memory == VMCTL_MEMORY_WITH)
        return refuse(err, VMCTL_E_UNSUPPORTED, reason, remedy);
    VMC_AUTO_FREE char *overlays = overlay_obstacle(scene, domain);
    *kind = LIBVIRT_SNAPSHOT_OVERLAYS;
    if (!overlays)
        return 0;
    if (reason)
        return refuse(err, VMCTL_E_UNSUPPORTED, reason, remedy);
    VMC_AUTO_FREE char *why = vmc_printf("the disks of a running VM alone: %s", overlays);
    VMC_AUTO_FREE char *next = vmc_printf("take it with memory (--memory), or stop %s first", vm);
    return refuse(err, VMCTL_E_UNSUPPORTED, why, next);
}

char *libvirt_snapshot_left_out(const char *domain_xml) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (libvirt_xml_parse(domain_xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return NULL;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    bool uefi = has_uefi(domain);
    bool tpm = libvirt_xml_find(domain, "devices/tpm/backend") &&
               libvirt_xml_attr_is(libvirt_xml_find(domain, "devices/tpm/backend"), "type", "emulator");
    if (!uefi && !tpm)
        return NULL;
    return vmc_strdup(uefi && tpm ? "its UEFI variables and its TPM" : uefi ? "its UEFI variables" : "its TPM");
}

/* What a person does where libvirt merges nothing: QEMU merges each overlay into what it stands on, then the snapshot is only a word. */
static char *merge_by_hand(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot) {
    VMC_AUTO_STRV steps = {0};
    if (!scene->active)
        vmc_strv_printf(&steps, "vmctl start %s", scene->vm->name);
    for (size_t i = 0; i < snapshot->disk_count; i++)
        if (snapshot->disks[i].overlay)
            vmc_strv_printf(&steps, "virsh blockcommit %s %s --active --pivot --delete", scene->vm->name,
                            snapshot->disks[i].target);
    vmc_strv_printf(&steps, "virsh snapshot-delete %s %s --metadata", scene->vm->name, snapshot->id);
    return vmc_strv_join(&steps, "; ");
}

/* --- going back -------------------------------------------------------------------------------------------------- */

/* Whether the file is what another overlay stands on: of the present disks, or of a snapshot of this VM. */
static bool is_under(const libvirt_snapshot_scene *scene, const xmlNode *domain, const char *path, const char **overlay,
                     const libvirt_snapshot **snapshot) {
    for (size_t i = 0; i < scene->snapshots.count; i++) {
        const libvirt_snapshot *other = &scene->snapshots.items[i];
        for (size_t d = 0; d < other->disk_count; d++) {
            if (other->disks[d].part != LIBVIRT_PART_EXTERNAL || !vmc_str_eq(other->disks[d].source, path))
                continue;
            *overlay = other->disks[d].overlay;
            *snapshot = other;
            return true;
        }
    }
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        for (const xmlNode *below = libvirt_xml_child(disk, "backingStore"); below;
             below = libvirt_xml_child(below, "backingStore")) {
            const xmlNode *source = libvirt_xml_child(below, "source");
            if (!libvirt_xml_attr_is(source, "file", path) && !libvirt_xml_attr_is(source, "dev", path))
                continue;
            *overlay = libvirt_disk_path(disk);
            return true;
        }
    }
    return false;
}

int libvirt_snapshot_check_revert(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                  vmctl_error **err) {
    const char *vm = scene->vm->name;
    if (snapshot->external) {
        if (scene->libvirt_version >= LIBVIRT_9_9)
            return 0;
        VMC_AUTO_FREE char *version = version_text(scene->libvirt_version);
        const char *file = NULL;
        for (size_t i = 0; !file && i < snapshot->disk_count; i++)
            file = snapshot->disks[i].part == LIBVIRT_PART_EXTERNAL ? snapshot->disks[i].source : NULL;
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is an external snapshot, which %s cannot revert (9.9 and newer can)",
                  snapshot->name, version);
        if (!file)
            return VMCTL_E_UNSUPPORTED;
        return vmc_error_next(
            err, "a new VM with disks: [{backing: %s}] begins with what was in it, and %s stays as it is", file, vm);
    }
    if (snapshot->memory && snapshot->cpus_came)
        return vmc_error(err, VMCTL_E_UNSUPPORTED,
                         "CPUs had come while %s ran when %s was taken, and QEMU cannot go back to that", vm,
                         snapshot->name);
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_xml_parse(scene->xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    for (size_t i = 0; code == 0 && i < snapshot->disk_count; i++) {
        const libvirt_snapshot_disk *disk = &snapshot->disks[i];
        const char *overlay = NULL;
        const libvirt_snapshot *other = NULL;
        if (disk->part != LIBVIRT_PART_INTERNAL || !disk->source ||
            !is_under(scene, xmlDocGetRootElement(doc), disk->source, &overlay, &other))
            continue;
        vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED,
                  "going back to %s would write to %s, on which %s stands, and what that holds would be lost",
                  snapshot->name, disk->source, overlay ? overlay : "an overlay");
        const libvirt_snapshot *parent = other ? libvirt_snapshots_parent(&scene->snapshots, other) : NULL;
        VMC_AUTO_FREE char *steps = parent && parent->internal ? merge_by_hand(scene, other) : NULL;
        if (steps)
            code = vmc_error_next(err, "%s", steps);
        else if (other)
            code = vmc_error_next(
                err, "delete the external snapshot first, which merges the two: vmctl snapshot delete %s %s", vm,
                other->name);
        else
            code = vmc_error_next(err,
                                  "merge the overlay into it first: virsh blockcommit %s %s --active --pivot --delete",
                                  vm, disk->target);
    }
    return code;
}

static int file_gone(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot, vmctl_error **err) {
    return vmc_error_next(err, "bring that file back, or delete the snapshot: vmctl snapshot delete %s %s",
                          scene->vm->name, snapshot->name);
}

/* As QEMU resolves it: beside the image, unless it is absolute. NULL: it is no file's name. free. */
static char *backing_path(const char *image, const char *backing) {
    if (*backing == '/')
        return vmc_strdup(backing);
    if (strchr(backing, ':'))
        return NULL;
    return vmc_printf("%.*s%s", (int)(strrchr(image, '/') + 1 - image), image, backing);
}

static int check_table(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                       const libvirt_snapshot_disk *disk, const qemu_img_table *table, libvirt_snapshot_disk *noted,
                       vmctl_error **err) {
    const qemu_img_snapshot *there = qemu_img_table_find(table, snapshot->id);
    if (!there) {
        vmc_error(err, VMCTL_E_CONFLICT,
                  "%s, disk %s, does not have the snapshot %s in it: the file is not the one that it was taken of",
                  disk->source, disk->name, snapshot->id);
        return file_gone(scene, snapshot, err);
    }
    for (size_t i = 0; i < table->count; i++) {
        if (&table->items[i] == there || strcmp(table->items[i].id, snapshot->id) != 0)
            continue;
        vmc_error(err, VMCTL_E_CONFLICT,
                  "the name %s is also the number that QEMU gave to the snapshot %s, which it would take instead",
                  snapshot->id, table->items[i].name);
        return vmc_error_next(err, "delete %s first: vmctl snapshot delete %s %s", table->items[i].name,
                              scene->vm->name, table->items[i].name);
    }
    VMC_AUTO_FREE char *backing = table->backing ? backing_path(disk->source, table->backing) : NULL;
    if (backing && access(backing, F_OK) < 0 && errno == ENOENT) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "disk %s stands on %s, which is gone", disk->name, backing);
        return vmc_error_next(err, "bring that file back");
    }
    if (noted && there->virtual_bytes) {
        noted->bytes_then = there->virtual_bytes;
        noted->bytes_now = table->virtual_bytes;
    }
    return 0;
}

/* noted: the snapshot's disks, NULL: nothing is noted. */
static int check_files(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                       libvirt_snapshot_disk *noted, vmctl_error **err) {
    int code = 0;
    if (!scene->conn->local || scene->conn->test_driver)
        return 0;
    for (size_t i = 0; code == 0 && i < snapshot->disk_count; i++) {
        const libvirt_snapshot_disk *disk = &snapshot->disks[i];
        QEMU_IMG_AUTO_TABLE table = {0};
        if (!disk->source || *disk->source != '/')
            continue;
        if (access(disk->source, F_OK) < 0 && errno == ENOENT) {
            vmc_error(err, VMCTL_E_NOT_FOUND, "disk %s of snapshot %s is gone: there is no %s", disk->name,
                      snapshot->name, disk->source);
            return file_gone(scene, snapshot, err);
        }
        if (disk->part != LIBVIRT_PART_INTERNAL ||
            access(disk->source, R_OK) < 0) /* QEMU's files may be QEMU's alone */
            continue;
        code = qemu_img_snapshots(disk->source, &table, err);
        if (code < 0) {
            vmc_error_recode(err, VMCTL_E_CONFLICT);
            return file_gone(scene, snapshot, err);
        }
        code = check_table(scene, snapshot, disk, &table, noted ? &noted[i] : NULL, err);
    }
    return code;
}

int libvirt_snapshot_check_files(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                 vmctl_error **err) {
    return check_files(scene, snapshot, NULL, err);
}

int libvirt_snapshot_note_files(const libvirt_snapshot_scene *scene, libvirt_snapshot *snapshot, vmctl_error **err) {
    return check_files(scene, snapshot, snapshot->disks, err);
}

/* --- deleting ---------------------------------------------------------------------------------------------------- */

/* libvirt deletes an internal snapshot only in the files that the VM is on now. */
static int check_delete_internal(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                 vmctl_error **err) {
    for (size_t i = 0; i < scene->snapshots.count; i++) {
        const libvirt_snapshot *other = &scene->snapshots.items[i];
        for (size_t d = 0; d < other->disk_count; d++) {
            const libvirt_snapshot_disk *over = &other->disks[d];
            for (size_t k = 0; over->overlay && k < snapshot->disk_count; k++) {
                if (snapshot->disks[k].part != LIBVIRT_PART_INTERNAL ||
                    !vmc_str_eq(snapshot->disks[k].source, over->source))
                    continue;
                vmc_error(err, VMCTL_E_UNSUPPORTED, "snapshot %s is in %s, on which %s stands now", snapshot->name,
                          over->source, over->overlay);
                VMC_AUTO_FREE char *steps = merge_by_hand(scene, other);
                return vmc_error_next(err, "%s", steps);
            }
        }
    }
    return 0;
}

int libvirt_snapshot_check_delete(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                  const bool *gone, vmctl_error **err) {
    if (!snapshot->external)
        return check_delete_internal(scene, snapshot, err);
    if (scene->libvirt_version < LIBVIRT_9_0) {
        VMC_AUTO_FREE char *version = version_text(scene->libvirt_version);
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is an external snapshot, which %s cannot delete (9.0 and newer can)",
                  snapshot->name, version);
        return vmc_error_next(err,
                              "virsh blockcommit merges its overlays, virsh snapshot-delete --metadata forgets it");
    }
    /* Its overlays are merged into what they stand on and removed, with the internal snapshots in them. */
    for (size_t i = 0; i < scene->snapshots.count; i++) {
        const libvirt_snapshot *other = &scene->snapshots.items[i];
        for (size_t d = 0; !gone[i] && other->internal && d < other->disk_count; d++) {
            for (size_t k = 0; k < snapshot->disk_count; k++) {
                if (!snapshot->disks[k].overlay || !vmc_str_eq(snapshot->disks[k].overlay, other->disks[d].source))
                    continue;
                vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "snapshot %s is kept in %s, which goes when %s is deleted",
                          other->name, snapshot->disks[k].overlay, snapshot->name);
                return vmc_error_next(err, "delete %s first, or both: vmctl snapshot delete %s %s --children",
                                      other->name, scene->vm->name, snapshot->name);
            }
        }
    }
    const libvirt_snapshot *parent = libvirt_snapshots_parent(&scene->snapshots, snapshot);
    if (parent && parent->internal) {
        vmc_error(err, VMCTL_E_UNSUPPORTED,
                  "%s is an external snapshot on top of the internal one %s, which libvirt does not merge",
                  snapshot->name, parent->name);
        VMC_AUTO_FREE char *steps = merge_by_hand(scene, snapshot);
        return vmc_error_next(err, "%s", steps);
    }
    return 0;
}
