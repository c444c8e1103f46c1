/* backends/libvirt/clone_check.c - what stands in the way of a clone. */
#include "clone.h"

#include "domain_model.h"
#include <string.h>

bool libvirt_clone_copies(const xmlNode *disk) {
    return libvirt_snapshot_writable(disk) && libvirt_xml_child(disk, "source") &&
           !libvirt_xml_child(disk, "shareable") && !libvirt_is_seed(disk);
}

static int check_state(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot, vmctl_error **err) {
    const char *name = scene->vm->name;
    int code = libvirt_snapshot_check_idle(scene, err);
    if (code < 0)
        return code;
    if (!scene->definition) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is transient: there is no definition to copy", name);
        return vmc_error_next(err, "make it permanent first: virsh dumpxml %s > vm.xml; virsh define vm.xml", name);
    }
    if (scene->active) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s runs, and its disks change while they would be copied%s", name,
                  snapshot ? "; QEMU also keeps others from reading a snapshot in a disk that it has open" : "");
        return vmc_error_next(err, "vmctl stop %s", name);
    }
    if (scene->saved && !snapshot) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is saved: its disks are in the middle of what its memory was doing",
                  name);
        return vmc_error_next(err, "vmctl start %s and vmctl stop %s first", name, name);
    }
    return 0;
}

static int check_linked(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot, vmctl_error **err) {
    const char *name = scene->vm->name;
    if (snapshot) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "an overlay stands on a whole file, not on a snapshot inside of one");
        return vmc_error_next(err, "leave --linked out, or revert %s to %s and clone it then", name, snapshot->name);
    }
    if (scene->snapshots.count == 0)
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has %s %s: a revert would change the disks that the clone stands on", name,
              scene->snapshots.count == 1 ? "the snapshot" : "snapshots such as", scene->snapshots.items[0].name);
    return vmc_error_next(err, "leave --linked out, or delete its snapshots first: vmctl snapshot list %s", name);
}

static int check_disk(const xmlNode *domain, const xmlNode *disk, bool linked, vmctl_error **err) {
    const char *path = libvirt_disk_path(disk);
    const char *type = libvirt_xml_attr(disk, "type");
    VMC_AUTO_FREE char *name = libvirt_name_read(domain, disk);
    if (!path && !vmc_str_eq(type, "volume")) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is on %s storage, which vmctl does not copy", name,
                  type ? type : "other");
        return vmc_error_next(err, "detach it first, or let the storage copy it");
    }
    if (!linked || vmc_str_eq(type, "file"))
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is no file, and an overlay takes one to stand on", name);
    return vmc_error_next(err, "leave --linked out");
}

int libvirt_clone_check(const libvirt_snapshot_scene *scene, bool linked, const libvirt_snapshot *snapshot,
                        vmctl_error **err) {
    int code = check_state(scene, snapshot, err);
    if (code == 0 && linked)
        code = check_linked(scene, snapshot, err);
    LIBVIRT_AUTO_XML *doc = NULL;
    if (code == 0)
        code = libvirt_xml_parse(scene->definition, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    LIBVIRT_XML_EACH(disk, libvirt_xml_child(domain, "devices"), "disk") {
        if (code == 0 && libvirt_clone_copies(disk))
            code = check_disk(domain, disk, linked, err);
    }
    return code;
}
