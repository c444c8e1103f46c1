/* A spec as what VBoxManage is told. */
#include "plan.h"

#include "drivers/qemu_img/qemu_img.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PORTS_SATA = 30, PORTS_SCSI = 16, PORTS_VIRTIO = 16, PORTS_NVME = 16, PORTS_USB = 8, MOST_NICS = 8 };

/* --- buses ----------------------------------------------------------------------------------------------------- */

/* What --add and --controller are called, the name that vmctl gives the controller, and how many it takes. IDE has two devices a port. */
typedef struct bus_kind {
    const char *bus, *name, *add, *controller;
    unsigned places;
    bool ports; /* --portcount is needed: only so many are scanned by the firmware */
} bus_kind;

static const bus_kind bus_kinds[] = {
    {"sata", "SATA", "sata", "IntelAhci", PORTS_SATA, true},
    {"ide", "IDE", "ide", "PIIX4", 4, false},
    {"scsi", "SCSI", "scsi", "LSILogic", PORTS_SCSI, false},
    {"virtio", "VirtIO", "virtio-scsi", "VirtIO", PORTS_VIRTIO, true},
    {"nvme", "NVMe", "pcie", "NVMe", PORTS_NVME, true},
    {"usb", "USB", "usb", "USB", PORTS_USB, false},
};
enum { BUSES = sizeof bus_kinds / sizeof bus_kinds[0] };

typedef struct planning {
    virtualbox_conn *conn;
    const vmctl_spec *spec;
    const vmctl_node *root;
    const vmc_deadline *deadline;
    const vboxmanage_registry *registry;
    virtualbox_plan *plan;
    vmc_strv modify;    /* modifyvm */
    vmc_strv *attaches; /* storageattach, one per disk */
    size_t attach_count;
    unsigned used[BUSES];
    char *machines; /* the folder of VMs */
} planning;

static vmc_strv *add_command(virtualbox_plan *plan) {
    plan->commands = vmc_realloc(plan->commands, plan->command_count + 1, sizeof *plan->commands);
    plan->commands[plan->command_count] = (vmc_strv){0};
    return &plan->commands[plan->command_count++];
}

static void say(vmc_strv *to, const char *a, const char *b) {
    vmc_strv_add(to, a);
    if (b)
        vmc_strv_add(to, b);
}

static virtualbox_file *add_file(virtualbox_plan *plan, virtualbox_file_kind kind, const char *device, char *path) {
    plan->files = vmc_realloc(plan->files, plan->file_count + 1, sizeof *plan->files);
    virtualbox_file *file = &plan->files[plan->file_count++];
    *file = (virtualbox_file){.kind = kind, .device = vmc_strdup(device), .path = path};
    virtualbox_marker_file(plan->marker, vmc_path_basename(path));
    return file;
}

/* --- disks ----------------------------------------------------------------------------------------------------- */

/* The place on a bus: "SATA-0-0". */
static int take_place(planning *p, const vmctl_node *disk, const char *bus, const char **controller, unsigned *port,
                      unsigned *device, vmctl_error **err) {
    for (size_t i = 0; i < BUSES; i++) {
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

static vmc_strv *add_attach(planning *p, const char *controller, unsigned port, unsigned device, const char *type,
                            const char *medium) {
    p->attaches = vmc_realloc(p->attaches, p->attach_count + 1, sizeof *p->attaches);
    vmc_strv *argv = &p->attaches[p->attach_count++];
    *argv = (vmc_strv){0};
    say(argv, "storageattach", p->plan->id);
    say(argv, "--storagectl", controller);
    vmc_strv_add(argv, "--port");
    vmc_strv_printf(argv, "%u", port);
    vmc_strv_add(argv, "--device");
    vmc_strv_printf(argv, "%u", device);
    say(argv, "--type", type);
    say(argv, "--medium", medium);
    return argv;
}

/* VirtualBox tells what a medium is from its name's ending. */
static bool is_optical_name(const char *path) {
    const char *dot = strrchr(path, '.');
    return dot && (strcasecmp(dot, ".iso") == 0 || strcasecmp(dot, ".cdr") == 0 || strcasecmp(dot, ".viso") == 0);
}

static int plan_drive(planning *p, const vmctl_node *disk, const char *name, vmctl_error **err) {
    const char *image = vmctl_node_string(disk, "cdrom", "");
    const char *bus = vmctl_node_string(disk, "bus", "sata");
    const char *controller = NULL;
    unsigned port = 0;
    unsigned device = 0;
    if (strcmp(bus, "sata") != 0 && strcmp(bus, "ide") != 0 && strcmp(bus, "scsi") != 0)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, disk, "VirtualBox has optical drives on sata, ide and scsi only");
    int code = take_place(p, disk, bus, &controller, &port, &device, err);
    if (code < 0)
        return code;
    const char *medium = *image ? image : "emptydrive";
    if (*image && access(image, R_OK) < 0)
        return vmc_refuse(err, VMCTL_E_NOT_FOUND, vmctl_node_get(disk, "cdrom"), "%s cannot be read: %s", image,
                          strerror(errno));
    if (*image && !is_optical_name(image)) {
        virtualbox_file *link =
            add_file(p->plan, VIRTUALBOX_FILE_LINK, name, vmc_printf("%s/%s.iso", p->plan->folder, name));
        link->source = vmc_strdup(image);
        medium = link->path;
    }
    add_attach(p, controller, port, device, "dvddrive", medium);
    VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
    virtualbox_marker_device(p->plan->marker, place, name, NULL);
    return 0;
}

/* A disk that is there: a path, or a file of the folder of VMs. */
static int find_volume(const planning *p, const vmctl_node *disk, char **out, vmctl_error **err) {
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
    if (access(*out, R_OK) < 0)
        return vmc_refuse(err, VMCTL_E_NOT_FOUND, at, "there is no disk %s", *out);
    return 0;
}

static int plan_copy(planning *p, const vmctl_node *disk, const char *name, virtualbox_file *file, vmctl_error **err) {
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

static int plan_disk(planning *p, const vmctl_node *disk, vmctl_error **err) {
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
        virtualbox_file *file = add_file(p->plan, copy ? VIRTUALBOX_FILE_COPY : VIRTUALBOX_FILE_BLANK, name,
                                         vmc_printf("%s/%s.%s", p->plan->folder, name, format));
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
        say(argv, "--mtype", "shareable");
    if (vmc_str_eq(vmctl_node_string(disk, "discard", NULL), "unmap")) {
        if (strcmp(format, "vdi") != 0)
            return vmc_refuse(err, VMCTL_E_UNSUPPORTED, vmctl_node_get(disk, "discard"),
                              "VirtualBox frees space of vdi disks only");
        say(argv, "--discard", "on");
        say(argv, "--nonrotational", "on");
    }
    VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
    virtualbox_marker_device(p->plan->marker, place, name, NULL);
    return 0;
}

static bool named_first(const planning *p, const vmctl_node *disk, size_t *rank) {
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
static int plan_disks(planning *p, vmctl_error **err) {
    const vmctl_node *disks = vmctl_node_get(p->root, "disks");
    size_t order = vmctl_node_count(vmctl_node_get(p->root, "boot.order"));
    int code = 0;
    for (size_t rank = 0; code == 0 && rank <= order; rank++) {
        for (size_t i = 0; code == 0 && i < vmctl_node_count(disks); i++) {
            const vmctl_node *disk = vmctl_node_at(disks, i);
            size_t its = order;
            named_first(p, disk, &its);
            if (its == rank)
                code = plan_disk(p, disk, err);
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
            virtualbox_file *file =
                add_file(p->plan, VIRTUALBOX_FILE_SEED, "seed", vmc_printf("%s/vmctl-seed.iso", p->plan->folder));
            add_attach(p, controller, port, device, "dvddrive", file->path);
            VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
            virtualbox_marker_device(p->plan->marker, place, "vmctl-seed", "seed");
        }
    }
    return code;
}

static void say_controllers(planning *p) {
    for (size_t i = 0; i < BUSES; i++) {
        if (!p->used[i])
            continue;
        vmc_strv *argv = add_command(p->plan);
        say(argv, "storagectl", p->plan->id);
        say(argv, "--name", bus_kinds[i].name);
        say(argv, "--add", bus_kinds[i].add);
        say(argv, "--controller", bus_kinds[i].controller);
        if (bus_kinds[i].ports) {
            vmc_strv_add(argv, "--portcount");
            vmc_strv_printf(argv, "%u", p->used[i]);
        }
    }
    for (size_t i = 0; i < p->attach_count; i++) {
        *add_command(p->plan) = p->attaches[i];
        p->attaches[i] = (vmc_strv){0};
    }
}

/* --- networks -------------------------------------------------------------------------------------------------- */

static const struct {
    const char *type, *mode, *option; /* option names the network */
    const char *fallback;             /* where no source is given; NULL: it must be */
} nic_types[] = {
    {"nat", "nat", NULL, ""},
    {"user", "nat", NULL, ""},
    {"bridge", "bridged", "--bridgeadapter", NULL},
    {"internal", "intnet", "--intnet", "intnet"},
    {"hostonly", "hostonly", "--hostonlyadapter", NULL},
    {"natnetwork", "natnetwork", "--nat-network", NULL},
    {"network", "natnetwork", "--nat-network", NULL},
};

static const struct { const char *model, *type; } nic_models[] = {{"virtio", "virtio"}, {"e1000", "82540EM"}};

/* [tcp:|udp:][ADDRESS:]LOCAL:GUEST -> NAME,PROTO,ADDRESS,LOCAL,,GUEST */
static char *forward_rule(const char *text) {
    bool udp = vmc_starts_with(text, "udp:");
    const char *rest = udp || vmc_starts_with(text, "tcp:") ? text + 4 : text;
    const char *guest = strrchr(rest, ':');
    const char *local = guest;
    while (local > rest && local[-1] != ':')
        local--;
    size_t address = local > rest ? (size_t)(local - rest - 1) : 0;
    const char *from = rest;
    if (address >= 2 && *from == '[') { /* an IPv6 address */
        from++;
        address -= 2;
    }
    VMC_AUTO_FREE char *port = vmc_strndup(local, (size_t)(guest - local));
    VMC_AUTO_FREE char *where = vmc_strndup(from, address);
    return vmc_printf("%s%s,%s,%s,%s,,%s", udp ? "udp" : "tcp", port, udp ? "udp" : "tcp", where, port, guest + 1);
}

static void say_numbered(vmc_strv *argv, const char *option, unsigned slot, const char *value) {
    vmc_strv_printf(argv, "%s%u", option, slot + 1);
    vmc_strv_add(argv, value);
}

int virtualbox_plan_nic(const vmctl_node *nic, unsigned slot, vmc_strv *argv, cJSON *marker, vmctl_error **err) {
    const char *type = vmctl_node_string(nic, "type", "nat");
    const char *source = vmctl_node_string(nic, "source", NULL);
    size_t i = 0;
    while (i < sizeof nic_types / sizeof nic_types[0] && strcmp(nic_types[i].type, type) != 0)
        i++;
    if (i == sizeof nic_types / sizeof nic_types[0])
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, nic, "VirtualBox has no network of type %s", type);
    if (!source)
        source = nic_types[i].fallback;
    if (!source)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, nic, "a NIC of type %s needs a source", type);
    say_numbered(argv, "--nic", slot, nic_types[i].mode);
    if (nic_types[i].option)
        say_numbered(argv, nic_types[i].option, slot, source);
    const char *model = vmctl_node_string(nic, "model", "virtio");
    for (size_t m = 0; m < sizeof nic_models / sizeof nic_models[0]; m++)
        if (strcmp(nic_models[m].model, model) == 0)
            model = nic_models[m].type;
    say_numbered(argv, "--nictype", slot, model);
    say_numbered(argv, "--cableconnected", slot,
                 vmc_str_eq(vmctl_node_string(nic, "link", "up"), "down") ? "off" : "on");
    const char *mac = vmctl_node_string(nic, "mac", NULL);
    if (mac) {
        VMC_AUTO_STR plain = {0};
        for (const char *c = mac; *c; c++)
            if (*c != ':' && *c != '-')
                vmc_str_add_char(&plain, *c);
        say_numbered(argv, "--macaddress", slot, plain.text);
    }
    const vmctl_node *forwards = vmctl_node_get(nic, "forward");
    if (vmctl_node_count(forwards) && strcmp(nic_types[i].mode, "nat") != 0)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, forwards,
                          "VirtualBox forwards ports of nat and user networks only");
    for (size_t f = 0; f < vmctl_node_count(forwards); f++) {
        VMC_AUTO_FREE char *rule = forward_rule(vmctl_node_string(vmctl_node_at(forwards, f), NULL, ""));
        say_numbered(argv, "--natpf", slot, rule);
    }
    VMC_AUTO_FREE char *place = vmc_printf("nic-%u", slot);
    virtualbox_marker_device(marker, place, vmctl_node_string(nic, "name", "net"), type);
    return 0;
}

/* A NAT network must be there; VirtualBox itself would notice at the start. */
static int check_nat_network(planning *p, const vmctl_node *nic, vmctl_error **err) {
    const char *type = vmctl_node_string(nic, "type", "nat");
    const char *source = vmctl_node_string(nic, "source", NULL);
    if ((strcmp(type, "network") != 0 && strcmp(type, "natnetwork") != 0) || !source)
        return 0;
    VMC_AUTO_FREE char *text = NULL;
    int code =
        virtualbox_say(p->conn, NULL, "asking for the NAT networks", p->deadline, &text, err, "list", "natnets", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES nets = {0};
    vboxmanage_parse_records(text, &nets);
    for (size_t i = 0; i < nets.count; i++)
        if (strcmp(nets.items[i].key, "Name") == 0 && strcmp(nets.items[i].value, source) == 0)
            return 0;
    vmc_refuse(err, VMCTL_E_NOT_FOUND, nic, "there is no NAT network %s", source);
    return vmc_error_next(err, "VBoxManage natnetwork add --netname %s --network 10.0.5.0/24 --enable", source);
}

static int plan_networks(planning *p, vmctl_error **err) {
    const vmctl_node *networks = vmctl_node_get(p->root, "networks");
    if (vmctl_node_count(networks) > MOST_NICS)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, networks, "VirtualBox takes %d NICs", MOST_NICS);
    int code = 0;
    if (vmctl_node_count(networks) == 0)
        say(&p->modify, "--nic1", "none"); /* most kinds of guests are given one */
    for (size_t i = 0; code == 0 && i < vmctl_node_count(networks); i++) {
        code = check_nat_network(p, vmctl_node_at(networks, i), err);
        if (code == 0)
            code = virtualbox_plan_nic(vmctl_node_at(networks, i), (unsigned)i, &p->modify, p->plan->marker, err);
    }
    return code;
}

/* --- the machine ----------------------------------------------------------------------------------------------- */

static int plan_display(planning *p, vmctl_error **err) {
    const char *type = vmctl_node_string(p->root, "display.type", NULL);
    const char *video = vmctl_node_string(p->root, "display.video", NULL);
    bool none = vmc_str_eq(type, "none");
    say(&p->modify, "--graphicscontroller", none ? "none" : video ? video : "vmsvga");
    if (!none)
        say(&p->modify, "--vram", "16"); /* MiB */
    if (vmctl_node_boolean(p->root, "display.gl", false))
        say(&p->modify, "--accelerate3d", "on");
    if (!vmc_str_eq(type, "vnc"))
        return 0;
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(p->conn, NULL, "asking for the extension packs", p->deadline, &text, err, "list",
                              "extpacks", NULL);
    if (code < 0)
        return code;
    if (!strstr(text, "VBoxVNC"))
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, vmctl_node_get(p->root, "display"),
                          "this VirtualBox has no VNC extension pack");
    say(&p->modify, "--vrde", "on");
    say(&p->modify, "--vrdeextpack", "VNC");
    say(&p->modify, "--vrdeport", "5900-5999");
    say(&p->modify, "--vrdeaddress", vmctl_node_string(p->root, "display.listen", "127.0.0.1"));
    return 0;
}

/* One line of modifyvm takes what a person wrote last: virtualbox.modifyvm wins over what vm.yaml's own keys became. */
static void plan_own_section(planning *p) {
    const vmctl_node *options = vmctl_node_get(p->root, "virtualbox.modifyvm");
    for (size_t i = 0; i < vmctl_node_count(options); i++) {
        const vmctl_node *option = vmctl_node_at(options, i);
        vmc_strv_printf(&p->modify, "--%s", vmctl_node_key(option));
        if (vmctl_node_kind(option) == VMCTL_KIND_BOOLEAN)
            vmc_strv_add(&p->modify, vmctl_node_boolean(option, NULL, false) ? "on" : "off");
        else if (vmctl_node_kind(option) == VMCTL_KIND_INTEGER)
            vmc_strv_printf(&p->modify, "%lld", (long long)vmctl_node_integer(option, NULL, 0));
        else
            vmc_strv_add(&p->modify, vmctl_node_string(option, NULL, ""));
    }
    const vmctl_node *extra = vmctl_node_get(p->root, "virtualbox.extraData");
    for (size_t i = 0; i < vmctl_node_count(extra); i++) {
        const vmctl_node *item = vmctl_node_at(extra, i);
        vmc_strv *argv = add_command(p->plan);
        say(argv, "setextradata", p->plan->id);
        say(argv, vmctl_node_key(item), vmctl_node_string(item, NULL, ""));
    }
}

static void plan_boot(planning *p) {
    const vmctl_node *order = vmctl_node_get(p->root, "boot.order");
    const vmctl_node *disks = vmctl_node_get(p->root, "disks");
    const char *kinds[4] = {"disk", "dvd", "none", "none"};
    size_t count = 0;
    for (size_t i = 0; i < vmctl_node_count(order) && count < 3; i++) {
        const char *kind = "net";
        for (size_t d = 0; d < vmctl_node_count(disks); d++) {
            const vmctl_node *disk = vmctl_node_at(disks, d);
            if (vmc_str_eq(vmctl_node_string(disk, "name", NULL),
                           vmctl_node_string(vmctl_node_at(order, i), NULL, NULL)))
                kind = vmctl_node_get(disk, "cdrom") ? "dvd" : "disk";
        }
        bool known = false;
        for (size_t k = 0; k < count; k++)
            known = known || kinds[k] == kind || strcmp(kinds[k], kind) == 0;
        if (!known)
            kinds[count++] = kind;
    }
    for (size_t k = count; count && k < 4; k++)
        kinds[k] = "none";
    for (unsigned k = 0; k < 4; k++)
        say_numbered(&p->modify, "--boot", k, kinds[k]);
}

static int plan_machine(planning *p, vmctl_error **err) {
    const vmctl_node *root = p->root;
    int64_t memory = vmctl_node_integer(root, "memory.size", 0);
    if (memory % (1 << 20))
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(root, "memory.size"),
                          "VirtualBox gives memory in whole MiB");
    vmc_strv_add(&p->modify, "--memory");
    vmc_strv_printf(&p->modify, "%lld", (long long)(memory >> 20));
    vmc_strv_add(&p->modify, "--cpus");
    vmc_strv_printf(&p->modify, "%lld", (long long)vmctl_node_integer(root, "cpus.count", 1));
    say(&p->modify, "--ioapic", "on");
    say(&p->modify, "--rtcuseutc", vmc_str_eq(vmctl_node_string(root, "guest", "linux"), "windows") ? "off" : "on");
    say(&p->modify, "--chipset", vmc_str_eq(vmctl_node_string(root, "machine", "pc"), "q35") ? "ich9" : "piix3");
    bool uefi = vmc_str_eq(vmctl_node_string(root, "firmware.type", "bios"), "uefi");
    say(&p->modify, "--firmware", uefi ? "efi" : "bios");
    say(&p->modify, "--bioslogofadein", "off"); /* a second and more of every boot */
    say(&p->modify, "--bioslogofadeout", "off");
    say(&p->modify, "--bioslogodisplaytime", "0");
    if (vmctl_node_boolean(root, "firmware.tpm", false))
        say(&p->modify, "--tpm-type", "2.0");
    const char *description = vmctl_node_string(root, "description", NULL);
    if (description)
        say(&p->modify, "--description", description);
    say(&p->modify, "--audio", "none");
    plan_boot(p);
    say(&p->modify, "--uart1", "0x3F8");
    vmc_strv_add(&p->modify, "4");
    const char *log = vmctl_node_string(root, "serial.log", NULL);
    vmc_strv_add(&p->modify, "--uartmode1");
    if (log) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s", p->plan->folder, vmc_path_basename(log));
        say(&p->modify, "file", path);
    } else {
        VMC_AUTO_FREE char *path = vmc_printf("%s/serial.sock", p->plan->folder);
        say(&p->modify, "server", path);
    }
    if (p->used[5])
        say(&p->modify, "--usbxhci", "on");
    if (vmctl_node_boolean(root, "autostart", false)) {
        if (!p->registry->autostart_folder) {
            vmc_refuse(err, VMCTL_E_UNSUPPORTED, vmctl_node_get(root, "autostart"),
                       "VirtualBox has no autostart database here");
            return vmc_error_next(err, "VBoxManage setproperty autostartdbpath FOLDER, and its service for autostart");
        }
        say(&p->modify, "--autostart-enabled", "on");
    }
    return plan_display(p, err);
}

/* A copy grows once it belongs to the VM: VirtualBox would keep a lone one in its registry. */
static void plan_growth(virtualbox_plan *plan) {
    for (size_t i = 0; i < plan->file_count; i++) {
        const virtualbox_file *file = &plan->files[i];
        if (file->kind != VIRTUALBOX_FILE_COPY || !file->bytes)
            continue;
        vmc_strv *argv = add_command(plan);
        say(argv, "modifymedium", "disk");
        say(argv, file->path, "--resizebyte");
        vmc_strv_printf(argv, "%llu", (unsigned long long)file->bytes);
    }
}

static void plan_secure_boot(planning *p) {
    static const char *const steps[] = {"inituefivarstore", "enrollmssignatures", "enrollorclpk", "secureboot"};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        vmc_strv *argv = add_command(p->plan);
        say(argv, "modifynvram", p->plan->id);
        say(argv, steps[i], i == 3 ? "--enable" : NULL);
    }
}

static void plan_shares(planning *p) {
    const vmctl_node *shares = vmctl_node_get(p->root, "shares");
    for (size_t i = 0; i < vmctl_node_count(shares); i++) {
        const vmctl_node *share = vmctl_node_at(shares, i);
        vmc_strv *argv = add_command(p->plan);
        say(argv, "sharedfolder", "add");
        vmc_strv_add(argv, p->plan->id);
        say(argv, "--name", vmctl_node_string(share, "name", "share"));
        say(argv, "--hostpath", vmctl_node_string(share, "path", ""));
        if (vmctl_node_boolean(share, "readonly", false))
            vmc_strv_add(argv, "--readonly");
    }
}

/* --- the name, the folder -------------------------------------------------------------------------------------- */

static void new_uuid(char out[37]) {
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) != (ssize_t)sizeof b)
        abort();
    b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
    b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
    snprintf(out, 37, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3],
             b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
}

int virtualbox_machine_folder(virtualbox_conn *conn, const vboxmanage_registry *registry, const vmc_deadline *deadline,
                              char **out, vmctl_error **err) {
    if (registry->machine_folder) {
        *out = vmc_strdup(registry->machine_folder);
        return 0;
    }
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(conn, NULL, "asking for the folder of VMs", deadline, &text, err, "list",
                              "systemproperties", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES properties = {0};
    vboxmanage_parse_records(text, &properties);
    const char *folder = vboxmanage_property_get(&properties, "Default machine folder");
    if (!folder) {
        vmc_error(err, VMCTL_E_INTERNAL, "VBoxManage does not tell where VMs are made");
        return VMCTL_E_INTERNAL;
    }
    *out = vmc_strdup(folder);
    return 0;
}

/* As VirtualBox does it for the folder's name (sanitiseMachineFilename). */
static char *folder_of(const char *machines, const char *name) {
    char *folder = vmc_printf("%s/%s", machines, name);
    for (char *c = folder + strlen(machines) + 1; *c; c++)
        if (strchr("\\/:*?<>|\"", *c) || (unsigned char)*c < 0x20)
            *c = '_';
    return folder;
}

static int check_name(const planning *p, vmctl_error **err) {
    for (size_t i = 0; i < p->registry->count; i++) {
        VMC_AUTO_FREE char *name = NULL;
        if (vboxmanage_machine_name(p->registry->entries[i].settings, &name, NULL) == 0 &&
            strcmp(name, p->plan->name) == 0) {
            vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there is a VM of the name %s already", name);
            return vmc_error_next(err, "choose another name, or vmctl apply to change that VM");
        }
    }
    struct stat st;
    if (lstat(p->plan->folder, &st) == 0) {
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "the folder %s is in the way", p->plan->folder);
        return vmc_error_next(err, "look what is in it and move it away, or choose another name");
    }
    return 0;
}

static int plan_all(planning *p, const vmctl_marker *marker, vmctl_error **err) {
    virtualbox_plan *plan = p->plan;
    plan->name = vmc_strdup(vmctl_spec_name(p->spec));
    new_uuid(plan->id);
    int code = virtualbox_machine_folder(p->conn, p->registry, p->deadline, &p->machines, err);
    if (code < 0)
        return code;
    plan->folder = folder_of(p->machines, plan->name);
    code = check_name(p, err);
    if (code < 0)
        return code;
    plan->marker = virtualbox_marker_new(marker);
    cJSON *labels = virtualbox_json_of_node(vmctl_node_get(p->root, "labels"));
    if (labels)
        virtualbox_json_put(plan->marker, "labels", labels);
    say(&p->modify, "modifyvm", plan->id);
    code = plan_disks(p, err);
    if (code == 0)
        code = plan_networks(p, err);
    if (code == 0)
        code = plan_machine(p, err);
    if (code < 0)
        return code;
    size_t modify_at = plan->command_count;
    add_command(plan);
    plan_own_section(p);
    plan->commands[modify_at] = p->modify;
    p->modify = (vmc_strv){0};
    if (vmctl_node_boolean(p->root, "firmware.secureBoot", false))
        plan_secure_boot(p);
    say_controllers(p);
    plan_growth(plan);
    plan_shares(p);
    return 0;
}

int virtualbox_plan_make(virtualbox_conn *conn, const vmctl_spec *spec, const vmctl_marker *marker,
                         const vmc_deadline *deadline, virtualbox_plan *out, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    planning p = {.conn = conn, .spec = spec, .root = vmctl_spec_root(spec), .deadline = deadline, .plan = out};
    int code = virtualbox_registry(conn, deadline, &registry, err);
    p.registry = &registry;
    if (code == 0)
        code = plan_all(&p, marker, err);
    vmc_strv_free(&p.modify);
    for (size_t i = 0; i < p.attach_count; i++)
        vmc_strv_free(&p.attaches[i]);
    free(p.attaches);
    free(p.machines);
    vboxmanage_registry_free(&registry);
    return code;
}

void virtualbox_plan_free(virtualbox_plan *plan) {
    free(plan->name);
    free(plan->folder);
    for (size_t i = 0; i < plan->command_count; i++)
        vmc_strv_free(&plan->commands[i]);
    free(plan->commands);
    for (size_t i = 0; i < plan->file_count; i++) {
        free(plan->files[i].device);
        free(plan->files[i].path);
        free(plan->files[i].source);
        free(plan->files[i].format);
    }
    free(plan->files);
    cJSON_Delete(plan->marker);
    vmc_seed_free(&plan->seed);
    *plan = (virtualbox_plan){0};
}

void virtualbox_plan_begin(const virtualbox_plan *plan, const vmctl_spec *spec, vmc_strv *create, vmc_strv *mark) {
    const char *guest = vmctl_node_string(vmctl_spec_root(spec), "guest", "linux");
    const char *kind = strcmp(guest, "windows") == 0 ? "WindowsNT_64"
                       : strcmp(guest, "other") == 0 ? "Other_64"
                                                     : "Linux_64";
    say(create, "createvm", "--register");
    vmc_strv_printf(create, "--name=%s", plan->name); /* in one word: a name may begin with a dash */
    say(create, "--uuid", plan->id);
    say(create, "--ostype", kind);
    VMC_AUTO_FREE char *text = cJSON_PrintUnformatted(plan->marker);
    say(mark, "setextradata", plan->id);
    say(mark, VIRTUALBOX_MARKER, text);
}
