/* The facts of the common model, from the settings of a VM and what the marker keeps. */
#include "facts.h"
#include "guest.h"
#include "usb.h"

#include "media.h"
#include "pending.h"
#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- words ----------------------------------------------------------------------------------------------------- */

static const struct {
    const char *type, *bus;
} buses[] = {
    {"AHCI", "sata"},     {"PIIX4", "ide"},        {"PIIX3", "ide"}, {"ICH6", "ide"},          {"LsiLogic", "scsi"},
    {"BusLogic", "scsi"}, {"LsiLogicSas", "scsi"}, {"NVMe", "nvme"}, {"VirtioSCSI", "virtio"}, {"USB", "usb"},
};

const char *virtualbox_bus(const vboxmanage_machine *machine, const char *controller) {
    for (size_t i = 0; i < machine->controller_count; i++) {
        if (!vmc_str_eq(machine->controllers[i].name, controller))
            continue;
        for (size_t b = 0; b < sizeof buses / sizeof buses[0]; b++)
            if (vmc_str_eq(machine->controllers[i].type, buses[b].type))
                return buses[b].bus;
    }
    return NULL;
}

char *virtualbox_place(const vboxmanage_attachment *attachment) {
    return vmc_printf("%s-%u-%u", attachment->controller, attachment->port, attachment->device);
}

char *virtualbox_nic_place(unsigned slot) {
    return vmc_printf("nic-%u", slot);
}

char *virtualbox_format(const char *format) {
    char *lower = vmc_strdup(format ? format : "");
    for (char *c = lower; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return lower;
}

const char *virtualbox_nic_type(const vboxmanage_nic *nic, const cJSON *marker) {
    static const char *const words[][2] = {
        {"nat", "nat"},           {"bridged", "bridge"},       {"internal", "internal"},
        {"hostonly", "hostonly"}, {"hostonlynet", "hostonly"}, {"natnetwork", "natnetwork"}};
    VMC_AUTO_FREE char *place = virtualbox_nic_place(nic->slot);
    const char *given = virtualbox_marker_type(marker, place);
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!vmc_str_eq(nic->mode, words[i][0]))
            continue;
        /* Two words of vm.yaml for one mode: the person's own stays. */
        bool twin = (i == 0 && vmc_str_eq(given, "user")) || (i == 5 && vmc_str_eq(given, "network"));
        return twin ? given : words[i][1];
    }
    return NULL;
}

const char *virtualbox_nic_model(const char *type) {
    if (vmc_str_eq(type, "82540EM"))
        return "e1000";
    return type;
}

/* --- images ---------------------------------------------------------------------------------------------------- */

static uint64_t little(const unsigned char *bytes) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static uint64_t big(const unsigned char *bytes) {
    uint64_t value = 0;
    for (int i = 0; i < 8; i++)
        value = value << 8 | bytes[i];
    return value;
}

/* VDI: signature at 0x40, cbDisk at 0x170 (VDICore.h). VMDK: "KDMV", capacity in sectors at 12. VHD: the footer, current size at 48. */
uint64_t virtualbox_image_bytes(const vboxmanage *manage, const char *path) {
    static const unsigned char vdi[] = {0x7f, 0x10, 0xda, 0xbe};
    unsigned char head[0x178];
    unsigned char foot[512];
    size_t got = 0;
    if (vboxmanage_file_part(manage, path, 0, head, sizeof head, &got, NULL, NULL) < 0 || got != sizeof head)
        return 0;
    if (memcmp(head + 0x40, vdi, sizeof vdi) == 0)
        return little(head + 0x170);
    if (memcmp(head, "KDMV", 4) == 0)
        return little(head + 12) * 512;
    if (vboxmanage_file_part(manage, path, -512, foot, sizeof foot, &got, NULL, NULL) == 0 && got == sizeof foot &&
        memcmp(foot, "conectix", 8) == 0)
        return big(foot + 48);
    return 0;
}

/* --- devices --------------------------------------------------------------------------------------------------- */

typedef struct gathering {
    const vboxmanage_machine *machine;
    const cJSON *marker;
    const virtualbox_told *told; /* NULL */
    vmctl_device devices[64];
    size_t count;
    vmc_strv texts; /* owned by the facts while they are told */
} gathering;

static const char *own(gathering *g, char *text) {
    vmc_strv_take(&g->texts, text);
    return text;
}

static vmctl_device *next_device(gathering *g, vmctl_device_kind kind) {
    static vmctl_device beyond; /* more than any VM of VirtualBox has */
    vmctl_device *device = g->count < sizeof g->devices / sizeof g->devices[0] ? &g->devices[g->count++] : &beyond;
    *device = (vmctl_device){.size = sizeof *device, .kind = kind, .link_up = true};
    return device;
}

static void add_disk(gathering *g, const vboxmanage_attachment *from) {
    const vboxmanage_machine *m = g->machine;
    bool drive = vmc_str_eq(from->kind, "DVD");
    vmctl_device *device = next_device(g, drive ? VMCTL_DEVICE_CDROM : VMCTL_DEVICE_DISK);
    const char *place = own(g, virtualbox_place(from));
    device->target = place;
    device->name = virtualbox_marker_name(g->marker, place, place);
    device->bus = virtualbox_bus(m, from->controller);
    const vboxmanage_medium *medium = vboxmanage_medium_of(m, from->medium);
    if (!medium)
        return;
    vboxmanage_file file;
    device->source = medium->location;
    device->type = drive ? NULL : own(g, virtualbox_format(medium->format));
    device->readonly = drive || vmc_str_eq(medium->type, "Readonly");
    device->own = virtualbox_medium_own(g->marker, m, medium);
    if (vboxmanage_file_look(m->manage, medium->location, true, NULL, &file, NULL) == 0)
        device->allocated_bytes = file.allocated_bytes;
    device->capacity_bytes = drive ? 0 : virtualbox_image_bytes(m->manage, medium->location);
}

static void add_nic(gathering *g, const vboxmanage_nic *nic) {
    vmctl_device *device = next_device(g, VMCTL_DEVICE_NIC);
    const char *place = own(g, virtualbox_nic_place(nic->slot));
    device->target = place;
    device->name = virtualbox_marker_name(g->marker, place, own(g, vmc_printf("net%u", nic->slot)));
    device->bus = virtualbox_nic_model(nic->type);
    device->type = virtualbox_nic_type(nic, g->marker);
    if (!device->type)
        device->type = nic->mode;
    device->source = nic->source;
    device->mac = nic->mac;
    device->link_up = nic->cable;
}

static void gather(gathering *g) {
    const vboxmanage_machine *m = g->machine;
    for (size_t i = 0; i < m->attachment_count; i++)
        if (vmc_str_eq(m->attachments[i].kind, "HardDisk") || vmc_str_eq(m->attachments[i].kind, "DVD"))
            add_disk(g, &m->attachments[i]);
    for (size_t i = 0; i < m->nic_count; i++)
        add_nic(g, &m->nics[i]);
    for (size_t i = 0; i < m->share_count; i++) {
        vmctl_device *device = next_device(g, VMCTL_DEVICE_SHARE);
        device->name = m->shares[i].name;
        device->source = m->shares[i].path;
        device->readonly = !m->shares[i].writable;
    }
    for (size_t i = 0; i < m->usb_filter_count; i++) {
        vmctl_device *device = next_device(g, VMCTL_DEVICE_USB);
        device->name = own(g, virtualbox_usb_name(m, i));
        device->type = "filter";
        char *ids = virtualbox_usb_ids(&m->usb_filters[i]);
        device->source = ids ? own(g, ids) : NULL;
    }
    for (size_t i = 0; g->told && i < g->told->usb.count; i++) {
        char *stray = virtualbox_usb_stray_name(m, &g->told->usb.items[i]);
        if (!stray)
            continue;
        vmctl_device *device = next_device(g, VMCTL_DEVICE_USB);
        device->name = own(g, stray);
        device->type = "attached";
        device->source = own(g, virtualbox_usb_device_ids(&g->told->usb.items[i]));
    }
    if (m->vrde) {
        vmctl_device *device = next_device(g, VMCTL_DEVICE_DISPLAY);
        device->name = "display";
        device->type = vmc_str_eq(m->vrde_pack, "VNC") ? "vnc" : "rdp";
        device->source = m->vrde_address;
    }
    if (m->serial_mode) {
        vmctl_device *device = next_device(g, VMCTL_DEVICE_SERIAL);
        device->name = "serial";
        device->source = m->serial_path;
    }
    if (m->tpm) {
        vmctl_device *device = next_device(g, VMCTL_DEVICE_TPM);
        device->name = "tpm";
        device->type = m->tpm;
    }
}

/* --- devices that wait ------------------------------------------------------------------------------------------ */

static void add_pending(gathering *g, const char *list, const cJSON *item) {
    bool disk = strcmp(list, "disks") == 0;
    bool nic = strcmp(list, "networks") == 0;
    bool usb = strcmp(list, "usb") == 0;
    const char *medium = vmc_json_string(item, "cdrom", NULL);
    const char *volume = vmc_json_string(item, "volume", NULL);
    vmctl_device *device = next_device(g, disk && medium ? VMCTL_DEVICE_CDROM
                                          : disk         ? VMCTL_DEVICE_DISK
                                          : nic          ? VMCTL_DEVICE_NIC
                                          : usb          ? VMCTL_DEVICE_USB
                                                         : VMCTL_DEVICE_SHARE);
    device->name = vmc_json_string(item, "name", NULL);
    device->pending = true;
    device->type = nic ? vmc_json_string(item, "type", "nat") : NULL;
    device->bus = disk ? vmc_json_string(item, "bus", "sata") : nic ? vmc_json_string(item, "model", "virtio") : NULL;
    device->mac = nic ? vmc_json_string(item, "mac", NULL) : NULL;
    device->source = medium   ? medium
                     : volume ? volume
                     : nic    ? vmc_json_string(item, "source", NULL)
                     : usb    ? vmc_json_string(item, "device", vmc_json_string(item, "address", NULL))
                              : vmc_json_string(item, "path", NULL);
    if (!volume)
        return;
    const char *dot = strrchr(volume, '.');
    device->type = dot ? dot + 1 : NULL;
    device->capacity_bytes = virtualbox_image_bytes(g->machine->manage, volume);
    device->own = virtualbox_marker_owns(g->marker, g->machine, volume);
}

static void gather_pending(gathering *g) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, vmc_json_key(g->marker, "pending")) {
        const char *action = vmc_json_string(entry, "action", "");
        const char *path = vmc_json_string(entry, "path", "");
        const char *dot = strchr(path, '.');
        if (!dot || strcmp(action, "set") == 0)
            continue;
        VMC_AUTO_FREE char *list = vmc_strndup(path, (size_t)(dot - path));
        if (strcmp(action, "add") == 0)
            add_pending(g, list, vmc_json_key(entry, "value"));
        for (size_t i = 0; strcmp(action, "remove") == 0 && i < g->count; i++)
            if (vmc_str_eq(g->devices[i].name, dot + 1))
                g->devices[i].leaving = true;
    }
}

/* --- filters and delivery -------------------------------------------------------------------------------------- */

static bool has_label(const cJSON *marker, const vmctl_label *label) {
    return vmc_str_eq(vmc_json_key_string(vmc_json_key(marker, "labels"), label->key), label->value);
}

static bool is_wanted(const vmctl_list_options *options, const vboxmanage_machine *m, const cJSON *marker,
                      vmctl_state state) {
    if (!options)
        return true;
    if (options->name && !vmc_str_eq(options->name, m->name))
        return false;
    if (options->states && !(options->states & (1u << state)))
        return false;
    if (options->owner && !vmc_str_eq(options->owner, vmc_json_string(marker, "owner", NULL)))
        return false;
    for (size_t i = 0; i < options->label_count; i++)
        if (!has_label(marker, &options->labels[i]))
            return false;
    return true;
}

static void add_marker(vmctl_vm_info *info, const vboxmanage_machine *m, const cJSON *marker, vmctl_label *labels,
                       size_t most) {
    info->managed = virtualbox_marker_is_made(marker);
    info->owner = vmc_json_string(marker, "owner", NULL);
    info->run = vmc_json_string(marker, "run", NULL);
    info->created = virtualbox_marker_time(marker, "created");
    info->expires = virtualbox_marker_time(marker, "expires");
    const cJSON *waits = virtualbox_pending_find(marker, "description");
    const char *description = waits ? vmc_json_string(waits, "value", "") : m->description;
    info->description = description && *description ? description : NULL;
    const cJSON *label;
    cJSON_ArrayForEach(label, vmc_json_key(marker, "labels")) {
        if (cJSON_IsString(label) && info->label_count < most)
            labels[info->label_count++] = (vmctl_label){label->string, label->valuestring};
    }
    info->labels = labels;
}

/* Fills `to` (room for all); the NIC's name is known where the guest told its MAC. */
static size_t add_addresses(gathering *g, const virtualbox_told *told, vmctl_address *to, size_t room) {
    size_t count = 0;
    for (size_t i = 0; told && i + 1 < told->addresses.count && count < room; i += 2) {
        const char *mac = told->addresses.items[i + 1];
        vmctl_address *address = &to[count++];
        *address = (vmctl_address){.size = sizeof *address, .ip = told->addresses.items[i], .source = "tools"};
        address->mac = *mac ? mac : NULL;
        for (size_t n = 0; *mac && n < g->machine->nic_count; n++) {
            if (strcmp(g->machine->nics[n].mac, mac) != 0)
                continue;
            const char *place = own(g, virtualbox_nic_place(g->machine->nics[n].slot));
            address->device = virtualbox_marker_name(g->marker, place, place);
        }
    }
    return count;
}

int virtualbox_facts_deliver(const vboxmanage_machine *m, vmctl_state state, const char *reason,
                             const virtualbox_told *told, unsigned facts, const vmctl_list_options *options,
                             vmctl_vm_info_fn each, void *user) {
    VMC_AUTO_JSON *marker = virtualbox_marker_read(m);
    if (!is_wanted(options, m, marker, state))
        return 0;
    vmctl_label labels[64];
    gathering g = {.machine = m, .marker = marker, .told = told};
    vmctl_vm_info info = {
        .size = sizeof info,
        .present = VMCTL_FACT_STATE | VMCTL_FACT_RESOURCES | VMCTL_FACT_SNAPSHOTS | VMCTL_FACT_MARKER |
                   VMCTL_FACT_CONFIG | VMCTL_FACT_GPUS | (facts & VMCTL_FACT_DEVICES),
        .name = m->name,
        .id = m->id,
        .backend = "virtualbox",
        .state = state,
        .state_reason = reason,
        .cpus = m->cpus,
        .memory_mib = m->memory_mib,
        .snapshot_count = (unsigned)m->snapshot_count,
        .machine = m->chipset,
        .firmware = vmc_starts_with(m->firmware, "efi") ? "uefi" : "bios",
        .autostart = m->autostart,
        .agent_connected = told ? told->additions : -1,
        .uptime_seconds = -1,
        .restart_required = virtualbox_pending_count(marker) > 0,
    };
    add_marker(&info, m, marker, labels, sizeof labels / sizeof labels[0]);
    if (facts & VMCTL_FACT_DEVICES) {
        gather(&g);
        gather_pending(&g);
        info.devices = g.devices;
        info.device_count = g.count;
    }
    vmctl_address addresses[64];
    if (told && facts & VMCTL_FACT_ADDRESSES) {
        info.present |= VMCTL_FACT_ADDRESSES;
        info.addresses = addresses;
        info.address_count = add_addresses(&g, told, addresses, sizeof addresses / sizeof addresses[0]);
    }
    virtualbox_guest inside = {0};
    if (told && told->properties && facts & VMCTL_FACT_GUEST &&
        virtualbox_guest_read(told->properties, &g.texts, &inside)) {
        info.present |= VMCTL_FACT_GUEST;
        info.guest = &inside.guest;
    }
    int stop = each(&info, user);
    free(inside.users);
    vmc_strv_free(&g.texts);
    return stop != 0;
}
