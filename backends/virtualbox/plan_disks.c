/* The disks and drives of a plan: where each goes, what is made for it. */
#include "plan_parts.h"

#include "drivers/qemu_img/qemu_img.h"
#include "drivers/vboxmanage/host.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PORTS_SATA = 30, PORTS_SCSI = 16, PORTS_VIRTIO = 16, PORTS_NVME = 16, PORTS_USB = 8 };

/* --- buses ----------------------------------------------------------------------------------------------------- */

static const virtualbox_bus_kind bus_kinds[] = {
    {"sata", "SATA", "sata", "IntelAhci", PORTS_SATA, true},
    {"ide", "IDE", "ide", "PIIX4", 4, false},
    {"scsi", "SCSI", "scsi", "LSILogic", PORTS_SCSI, false},
    {"virtio", "VirtIO", "virtio-scsi", "VirtIO", PORTS_VIRTIO, true},
    {"nvme", "NVMe", "pcie", "NVMe", PORTS_NVME, true},
    {"usb", "USB", "usb", "USB", PORTS_USB, false},
};
_Static_assert(sizeof bus_kinds / sizeof bus_kinds[0] == VIRTUALBOX_BUSES, "plan_parts.h counts them");

const virtualbox_bus_kind *virtualbox_bus_kind_of(const char *bus) {
    for (size_t i = 0; i < VIRTUALBOX_BUSES; i++)
        if (strcmp(bus_kinds[i].bus, bus) == 0)
            return &bus_kinds[i];
    return NULL;
}

/* --- disks ----------------------------------------------------------------------------------------------------- */

/* The place on a bus: "SATA-0-0". */
static int take_place(virtualbox_planning *p, const vmctl_node *disk, const char *bus, const char **controller,
                      unsigned *port, unsigned *device, vmctl_error **err) {
    if (p->spot) {
        *controller = p->spot->controller;
        *port = p->spot->port;
        *device = p->spot->device;
        return 0;
    }
    for (size_t i = 0; i < VIRTUALBOX_BUSES; i++) {
        if (strcmp(bus_kinds[i].bus, bus) != 0)
            continue;
        if (p->used[i] >= bus_kinds[i].places)
            return vmc_refuse(err, VMCTL_E_UNSUPPORTED, disk,
                              "VirtualBox takes %u disks and drives on one %s controller", bus_kinds[i].places, bus);
        unsigned place = p->used[i]++;
        bool ide = strcmp(bus, "ide") == 0;
        *controller = bus_kinds[i].name;
        *port = ide ? place / 2 : place;
        *device = ide ? place % 2 : 0;
        return 0;
    }
    return vmc_refuse(err, VMCTL_E_UNSUPPORTED, disk, "VirtualBox has no bus %s", bus);
}

static vmc_strv *add_attach(virtualbox_planning *p, const char *controller, unsigned port, unsigned device,
                            const char *type, const char *medium) {
    p->attaches = vmc_realloc(p->attaches, p->attach_count + 1, sizeof *p->attaches);
    vmc_strv *argv = &p->attaches[p->attach_count++];
    *argv = (vmc_strv){0};
    virtualbox_add(argv, "storageattach", p->plan->id);
    virtualbox_add(argv, "--storagectl", controller);
    vmc_strv_add(argv, "--port");
    vmc_strv_printf(argv, "%u", port);
    vmc_strv_add(argv, "--device");
    vmc_strv_printf(argv, "%u", device);
    virtualbox_add(argv, "--type", type);
    virtualbox_add(argv, "--medium", medium);
    return argv;
}

/* VirtualBox tells what a medium is from its name's ending. */
static bool is_optical_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && (strcasecmp(dot, ".iso") == 0 || strcasecmp(dot, ".cdr") == 0 || strcasecmp(dot, ".viso") == 0);
}

/* In the VM's folder. For a VM that is there: a name that nothing has yet, such as a disk of that name that was detached. */
static char *new_path(const virtualbox_planning *p, const char *name, const char *format) {
    char *path = vmc_printf("%s/%s.%s", p->plan->folder, name, format);
    for (unsigned n = 2; p->spot && vboxmanage_file_exists(p->conn->manage, path, p->deadline); n++) {
        free(path);
        path = vmc_printf("%s/%s-%u.%s", p->plan->folder, name, n, format);
    }
    return path;
}

int virtualbox_plan_medium(virtualbox_planning *p, const char *device, const char *image, const vmctl_node *node,
                           char **out, vmctl_error **err) {
    qemu_img_kind kind = {.name = "iso"};
    const char *host = p->conn->manage->host ? p->conn->manage->host->name : NULL;
    if (host && vboxmanage_file_readable(p->conn->manage, image, p->deadline, NULL) < 0) {
        vmc_refuse(err, VMCTL_E_NOT_FOUND, node, "%s is no file of %s, or cannot be read there", image, host);
        return vmc_error_next(err, "copy it there (scp), and give its path there");
    }
    if (!host && access(image, R_OK) < 0)
        return vmc_refuse(err, VMCTL_E_NOT_FOUND, node, "%s cannot be read: %s", image, strerror(errno));
    int code = host ? 0 : qemu_img_probe(image, &kind, err);
    if (code < 0)
        return code;
    if (strcmp(kind.name, "iso") != 0 && strcmp(kind.name, "raw") != 0)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, node, "%s is %s, and no medium of an optical drive", image,
                          kind.description);
    if (is_optical_name(image)) {
        *out = vmc_strdup(image);
        return 0;
    }
    virtualbox_file *link = virtualbox_plan_file(p->plan, VIRTUALBOX_FILE_LINK, device, new_path(p, device, "iso"));
    link->source = vmc_strdup(image);
    *out = vmc_strdup(link->path);
    return 0;
}

static int plan_drive(virtualbox_planning *p, const vmctl_node *disk, const char *name, vmctl_error **err) {
    const char *image = vmctl_node_string(disk, "cdrom", "");
    const char *bus = vmctl_node_string(disk, "bus", "sata");
    const char *controller = NULL;
    unsigned port = 0;
    unsigned device = 0;
    if (strcmp(bus, "sata") != 0 && strcmp(bus, "ide") != 0 && strcmp(bus, "scsi") != 0)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, disk, "VirtualBox has optical drives on sata, ide and scsi only");
    int code = take_place(p, disk, bus, &controller, &port, &device, err);
    VMC_AUTO_FREE char *medium = *image ? NULL : vmc_strdup("emptydrive");
    if (code == 0 && *image)
        code = virtualbox_plan_medium(p, name, image, vmctl_node_get(disk, "cdrom"), &medium, err);
    if (code < 0)
        return code;
    add_attach(p, controller, port, device, "dvddrive", medium);
    VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
    virtualbox_marker_device(p->plan->marker, place, name, NULL);
    return 0;
}

/* A disk that is there: a path, or a file of the folder of VMs. */
static int find_volume(const virtualbox_planning *p, const vmctl_node *disk, char **out, vmctl_error **err) {
    const char *volume = vmctl_node_string(disk, "volume", "");
    const vmctl_node *at = vmctl_node_get(disk, "volume");
    if (*volume == '/') {
        *out = vmc_strdup(volume);
    } else {
        const char *slash = strchr(volume, '/');
        if (!slash || strncmp(volume, "default/", 8) != 0)
            return vmc_refuse(err, VMCTL_E_NOT_FOUND, at,
                              "%s names no disk: VirtualBox has one pool, default, which is %s", volume, p->machines);
        *out = vmc_printf("%s/%s", p->machines, slash + 1);
    }
    if (vboxmanage_file_readable(p->conn->manage, *out, p->deadline, NULL) < 0)
        return vmc_refuse(err, VMCTL_E_NOT_FOUND, at, "there is no disk %s", *out);
    return 0;
}

static int plan_copy(virtualbox_planning *p, const vmctl_node *disk, const char *name, virtualbox_file *file,
                     vmctl_error **err) {
    const char *image = vmctl_node_string(disk, "image", NULL);
    const vmctl_node *at = vmctl_node_get(disk, "image");
    qemu_img_kind kind;
    int code = qemu_img_expect(image, NULL, &kind, err);
    if (code < 0)
        return code;
    QEMU_IMG_AUTO_INFO info = {0};
    code = qemu_img_inspect(image, kind.format, p->deadline, &info, err);
    if (code < 0)
        return code;
    if (info.backing || info.data_file)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, at, "the image stands on %s; vmctl image convert makes it whole",
                          info.backing ? info.backing : info.data_file);
    uint64_t wanted = (uint64_t)vmctl_node_integer(disk, "size", 0);
    if (wanted && wanted < info.virtual_bytes)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(disk, "size"),
                          "disk %s would be smaller than its image, which has %llu bytes", name,
                          (unsigned long long)info.virtual_bytes);
    file->source = vmc_strdup(image);
    file->bytes = wanted > info.virtual_bytes ? wanted : 0;
    return 0;
}

int virtualbox_plan_disk(virtualbox_planning *p, const vmctl_node *disk, vmctl_error **err) {
    const char *name = vmctl_node_string(disk, "name", "disk");
    if (vmctl_node_get(disk, "cdrom"))
        return plan_drive(p, disk, name, err);
    const char *bus = vmctl_node_string(disk, "bus", "sata");
    const char *format = vmctl_node_string(disk, "format", "vdi");
    const char *controller = NULL;
    unsigned port = 0;
    unsigned device = 0;
    const char *pool = vmctl_node_string(disk, "pool", NULL);
    if (pool && strcmp(pool, "default") != 0)
        return vmc_refuse(err, VMCTL_E_NOT_FOUND, vmctl_node_get(disk, "pool"),
                          "there is no pool %s: a disk lies in its VM's folder, which is the pool default", pool);
    int code = take_place(p, disk, bus, &controller, &port, &device, err);
    VMC_AUTO_FREE char *medium = NULL;
    bool shared = vmctl_node_boolean(disk, "shared", false);
    if (code == 0 && vmctl_node_get(disk, "volume")) {
        code = find_volume(p, disk, &medium, err);
    } else if (code == 0) {
        bool copy = vmctl_node_get(disk, "image") != NULL;
        virtualbox_file *file = virtualbox_plan_file(p->plan, copy ? VIRTUALBOX_FILE_COPY : VIRTUALBOX_FILE_BLANK, name,
                                                     new_path(p, name, format));
        file->format = vmc_strdup(format);
        file->fixed = shared;
        file->bytes = (uint64_t)vmctl_node_integer(disk, "size", 0);
        medium = vmc_strdup(file->path);
        if (copy)
            code = plan_copy(p, disk, name, file, err);
        else if (file->bytes % 512)
            code = vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(disk, "size"),
                              "a disk's size is a multiple of 512 bytes");
    }
    if (code < 0)
        return code;
    vmc_strv *argv = add_attach(p, controller, port, device, "hdd", medium);
    if (shared)
        virtualbox_add(argv, "--mtype", "shareable");
    if (vmc_str_eq(vmctl_node_string(disk, "discard", NULL), "unmap")) {
        if (strcmp(format, "vdi") != 0)
            return vmc_refuse(err, VMCTL_E_UNSUPPORTED, vmctl_node_get(disk, "discard"),
                              "VirtualBox frees space of vdi disks only");
        virtualbox_add(argv, "--discard", "on");
        virtualbox_add(argv, "--nonrotational", "on");
    }
    VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
    virtualbox_marker_device(p->plan->marker, place, name, NULL);
    return 0;
}

static bool named_first(const virtualbox_planning *p, const vmctl_node *disk, size_t *rank) {
    const vmctl_node *order = vmctl_node_get(p->root, "boot.order");
    for (size_t i = 0; i < vmctl_node_count(order); i++) {
        if (vmc_str_eq(vmctl_node_string(vmctl_node_at(order, i), NULL, NULL), vmctl_node_string(disk, "name", NULL))) {
            *rank = i;
            return true;
        }
    }
    return false;
}

/* VirtualBox boots from kinds of devices in order, and of one kind from the first place: so the disks of boot.order take those. */
int virtualbox_plan_disks(virtualbox_planning *p, vmctl_error **err) {
    const vmctl_node *disks = vmctl_node_get(p->root, "disks");
    size_t order = vmctl_node_count(vmctl_node_get(p->root, "boot.order"));
    int code = 0;
    for (size_t rank = 0; code == 0 && rank <= order; rank++) {
        for (size_t i = 0; code == 0 && i < vmctl_node_count(disks); i++) {
            const vmctl_node *disk = vmctl_node_at(disks, i);
            size_t its = order;
            named_first(p, disk, &its);
            if (its == rank)
                code = virtualbox_plan_disk(p, disk, err);
        }
    }
    if (code == 0 && vmctl_node_get(p->root, "cloudInit")) {
        code = vmc_seed_texts(p->spec, p->plan->id, &p->plan->seed, err);
        const char *controller = NULL;
        unsigned port = 0;
        unsigned device = 0;
        if (code == 0)
            code = take_place(p, NULL, "sata", &controller, &port, &device, err);
        if (code == 0) {
            virtualbox_file *file = virtualbox_plan_file(p->plan, VIRTUALBOX_FILE_SEED, "seed",
                                                         vmc_printf("%s/vmctl-seed.iso", p->plan->folder));
            add_attach(p, controller, port, device, "dvddrive", file->path);
            VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
            virtualbox_marker_device(p->plan->marker, place, "vmctl-seed", "seed");
        }
    }
    return code;
}

void virtualbox_plan_controllers(virtualbox_planning *p) {
    for (size_t i = 0; i < VIRTUALBOX_BUSES; i++) {
        if (!p->used[i])
            continue;
        vmc_strv *argv = virtualbox_plan_command(p->plan);
        virtualbox_add(argv, "storagectl", p->plan->id);
        virtualbox_add(argv, "--name", bus_kinds[i].name);
        virtualbox_add(argv, "--add", bus_kinds[i].add);
        virtualbox_add(argv, "--controller", bus_kinds[i].controller);
        if (bus_kinds[i].ports) {
            vmc_strv_add(argv, "--portcount");
            bool spare = strcmp(bus_kinds[i].bus, "sata") == 0 && p->used[i] < bus_kinds[i].places;
            vmc_strv_printf(argv, "%u", p->used[i] + (spare ? 1 : 0)); /* for a disk that comes while it runs */
        }
    }
    for (size_t i = 0; i < p->attach_count; i++) {
        *virtualbox_plan_command(p->plan) = p->attaches[i];
        p->attaches[i] = (vmc_strv){0};
    }
}

/* A copy grows once it belongs to the VM: VirtualBox would keep a lone one in its registry. */
void virtualbox_plan_growth(virtualbox_plan *plan) {
    for (size_t i = 0; i < plan->file_count; i++) {
        const virtualbox_file *file = &plan->files[i];
        if (file->kind != VIRTUALBOX_FILE_COPY || !file->bytes)
            continue;
        vmc_strv *argv = virtualbox_plan_command(plan);
        virtualbox_add(argv, "modifymedium", "disk");
        virtualbox_add(argv, file->path, "--resizebyte");
        vmc_strv_printf(argv, "%llu", (unsigned long long)file->bytes);
        /* VBoxSVC keeps the size that it knew until it is asked, and merges no snapshot into a disk that it takes for smaller. */
        argv = virtualbox_plan_command(plan);
        virtualbox_add(argv, "showmediuminfo", "disk");
        vmc_strv_add(argv, file->path);
    }
}
