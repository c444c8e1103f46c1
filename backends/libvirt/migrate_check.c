/* backends/libvirt/migrate_check.c - what a VM itself has against being moved, whatever the target.
 * Source: libvirt's migration.html; the devices' elements are formatdomain.html's. */
#include "migrate.h"

#include "domain_model.h"
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

enum { VIRTIOFS_SINCE = 10000000 /* libvirt 10.0 moves VMs with virtiofs, where QEMU 8.2 or newer does */ };

void libvirt_obstacles_free(libvirt_obstacles *list) {
    for (size_t i = 0; i < list->count; i++) {
        free(list->items[i].reason);
        free(list->items[i].remedy);
    }
    free(list->items);
    *list = (libvirt_obstacles){0};
}

void libvirt_obstacle_add(libvirt_obstacles *list, bool fatal, int code, const char *what, const char *remedy,
                          const char *format, ...) {
    va_list args;
    va_start(args, format);
    list->items = vmc_realloc(list->items, list->count + 1, sizeof *list->items);
    list->items[list->count++] = (libvirt_obstacle){fatal, code, what, vmc_vprintf(format, args), vmc_strdup(remedy)};
    va_end(args);
}

bool libvirt_on_shared_storage(const char *path) {
    /* linux/magic.h and statfs(2); FUSE stands for GlusterFS, CephFS and others, which cannot be told from each other. */
    static const unsigned shared[] = {0x6969 /* NFS */,
                                      0x65735546 /* FUSE */,
                                      0x01161970 /* GFS2 */,
                                      0x7461636f /* OCFS2 */,
                                      0x5346414f /* AFS */,
                                      0xff534d42 /* CIFS */,
                                      0xfe534d42 /* SMB2 */,
                                      0x517b /* SMB */,
                                      0x00c36400 /* Ceph */,
                                      0x47504653 /* GPFS */,
                                      0x0bd00bd0 /* Lustre */};
    struct statfs fs;
    if (statfs(path, &fs) < 0)
        return false;
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        if ((unsigned)fs.f_type == shared[i])
            return true;
    return false;
}

static void check_state(const char *name, const libvirt_migrate_vm *vm, libvirt_obstacles *out) {
    if (vm->saved) {
        VMC_AUTO_FREE char *remedy =
            vmc_printf("vmctl start %s and move it running, or vmctl start --discard %s, then stop it", name, name);
        libvirt_obstacle_add(out, true, VMCTL_E_INVALID_STATE, "saved", remedy,
                             "%s is saved, and its saved memory cannot be taken along", name);
    }
    if (vm->snapshots > 0) {
        VMC_AUTO_FREE char *remedy = vmc_printf(
            "delete them (vmctl snapshot list %s, vmctl snapshot delete %s NAME), or export what they hold first", name,
            name);
        libvirt_obstacle_add(out, true, VMCTL_E_UNSUPPORTED, "snapshots", remedy,
                             "%s has %d snapshot%s; libvirt moves no VM with snapshots", name, vm->snapshots,
                             vm->snapshots == 1 ? "" : "s");
    }
    if (vm->checkpoints > 0)
        libvirt_obstacle_add(out, true, VMCTL_E_UNSUPPORTED, "checkpoints",
                             "delete the backup program's checkpoints (virsh checkpoint-delete)",
                             "%s has %d backup checkpoint%s; libvirt moves no VM with them", name, vm->checkpoints,
                             vm->checkpoints == 1 ? "" : "s");
}

static void check_hostdev(const xmlNode *device, const libvirt_migrate_how *how, libvirt_obstacles *out) {
    VMC_AUTO_FREE char *name = libvirt_name_read(device->parent->parent, device);
    const char *label = name ? name : "a device of the host";
    const char *type = libvirt_xml_attr(device, "type");
    if (vmc_str_eq(type, "scsi") ||
        libvirt_xml_child(device, "teaming")) /* the one is storage, the other is unplugged by itself */
        return;
    VMC_AUTO_FREE char *remedy = name ? vmc_printf("vmctl device detach VM %s, or move it stopped (--offline)", name)
                                      : vmc_strdup("detach it, or move the VM stopped (--offline)");
    if (how->live)
        libvirt_obstacle_add(out, true, VMCTL_E_UNSUPPORTED, "host-device", remedy,
                             "%s is a device of this host (%s) and stays here", label, type ? type : "hostdev");
    else
        libvirt_obstacle_add(out, false, VMCTL_E_UNSUPPORTED, "host-device",
                             "see that the target has the device at the same address, or detach it",
                             "%s is a device of this host (%s); the definition names the target's of the same address",
                             label, type ? type : "hostdev");
}

static void check_share(const xmlNode *share, const libvirt_migrate_vm *vm, const libvirt_migrate_how *how,
                        libvirt_obstacles *out) {
    const char *folder = libvirt_xml_attr_at(share, "source", "dir");
    bool virtiofs = vmc_str_eq(libvirt_xml_attr_at(share, "driver", "type"), "virtiofs");
    if (how->live && virtiofs && vm->libvirt_version < VIRTIOFS_SINCE)
        libvirt_obstacle_add(
            out, true, VMCTL_E_UNSUPPORTED, "share", "move it stopped (--offline), or detach the share",
            "the share %s is virtiofs, which this libvirt cannot move running (10.0 can)", folder ? folder : "");
    else if (how->live && !virtiofs)
        libvirt_obstacle_add(out, false, VMCTL_E_UNSUPPORTED, "share", "unmount it in the guest first",
                             "the share %s is 9p: QEMU refuses to move while the guest has it mounted",
                             folder ? folder : "");
    if (folder)
        libvirt_obstacle_add(out, false, VMCTL_E_NOT_FOUND, "share", "see that the target has that folder",
                             "the folder %s is shared from the host; what is in it is not moved", folder);
}

static void check_offline_state(const xmlNode *domain, libvirt_obstacles *out) {
    const xmlNode *nvram = libvirt_xml_find(domain, "os/nvram");
    bool efi = nvram || libvirt_xml_attr_is(libvirt_xml_child(domain, "os"), "firmware", "efi");
    if (efi)
        libvirt_obstacle_add(
            out, false, VMCTL_E_DATA_LOSS_PREVENTED, "nvram",
            "move it running, or copy the file to the same path of the target before it starts",
            "its UEFI variables are not moved while it is stopped: the target begins with fresh ones, or "
            "with those that an earlier stay there left, and the file stays here");
    if (libvirt_xml_attr_is(libvirt_xml_find(domain, "devices/tpm/backend"), "type", "emulator"))
        libvirt_obstacle_add(out, false, VMCTL_E_DATA_LOSS_PREVENTED, "tpm", "move it running",
                             "what its TPM holds is not moved while it is stopped, and stays here");
}

static void check_how(const libvirt_migrate_how *how, libvirt_obstacles *out) {
    if (how->tunnelled && how->storage && how->live)
        libvirt_obstacle_add(out, true, VMCTL_E_UNSUPPORTED, "tunnelled",
                             "leave --tunnelled out, or move it stopped (--offline)",
                             "QEMU copies disks over a connection of its own, which cannot be tunnelled");
    if (how->tunnelled && how->postcopy)
        libvirt_obstacle_add(out, true, VMCTL_E_UNSUPPORTED, "tunnelled", "leave one of the two out",
                             "post-copy cannot be tunnelled");
}

void libvirt_migrate_check_vm(const char *name, const libvirt_migrate_vm *vm, const libvirt_migrate_how *how,
                              libvirt_obstacles *out) {
    const xmlNode *domain = xmlDocGetRootElement(vm->doc);
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    check_how(how, out);
    check_state(name, vm, out);
    LIBVIRT_XML_EACH(device, devices, "hostdev") {
        check_hostdev(device, how, out);
    }
    LIBVIRT_XML_EACH(nic, devices, "interface") {
        if (libvirt_xml_attr_is(nic, "type", "hostdev"))
            check_hostdev(nic, how, out);
    }
    LIBVIRT_XML_EACH(share, devices, "filesystem") {
        check_share(share, vm, how, out);
    }
    if (how->live && libvirt_xml_child(devices, "shmem"))
        libvirt_obstacle_add(out, true, VMCTL_E_UNSUPPORTED, "shared-memory", "move it stopped (--offline)",
                             "memory that it shares with other VMs (shmem) cannot be moved");
    if (!how->live)
        check_offline_state(domain, out);
}
