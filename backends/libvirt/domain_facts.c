/* backends/libvirt/domain_facts.c - the facts that are only in the document. */
#include "domain_model.h"
#include <stdlib.h>
#include <string.h>

/* All strings of one struct, freed together. */
typedef struct arena {
    vmc_strv strings;
    vmctl_device *devices;
    vmctl_gpu_ref *gpus;
    vmctl_label *labels;
} arena;

static const char *store(arena *a, char *text) {
    if (text)
        vmc_strv_take(&a->strings, text);
    return text;
}

static const char *copy(arena *a, const char *text) {
    return store(a, vmc_strdup(text));
}

static const char *content(arena *a, const xmlNode *node) {
    char *text = libvirt_xml_content(node);
    if (text && !*text)
        vmc_free_ptr(&text);
    return store(a, text);
}

static arena *arena_of(libvirt_domain_facts *facts) {
    if (!facts->arena)
        facts->arena = vmc_alloc(sizeof(arena));
    return facts->arena;
}

/* --- the marker ------------------------------------------------------------------------------------------------ */

static bool read_marker(const xmlNode *domain, libvirt_domain_facts *facts) {
    const xmlNode *marker = libvirt_marker_find(domain);
    vmctl_vm_info *info = &facts->info;
    arena *a = arena_of(facts);
    if (!marker)
        return false;
    info->managed = libvirt_xml_attr(marker, "version") != NULL;
    info->owner = copy(a, libvirt_xml_attr(marker, "owner"));
    info->run = copy(a, libvirt_xml_attr(marker, "run"));
    info->created = libvirt_time_parse(libvirt_xml_attr(marker, "created"));
    info->expires = libvirt_time_parse(libvirt_xml_attr(marker, "expires"));
    free(a->labels);
    a->labels = vmc_alloc((libvirt_xml_count(marker, "label") + 1) * sizeof *a->labels);
    info->label_count = 0;
    LIBVIRT_XML_EACH(label, marker, "label") {
        const char *key = copy(a, libvirt_xml_attr(label, "key"));
        if (key)
            a->labels[info->label_count++] = (vmctl_label){key, store(a, libvirt_xml_content(label))};
    }
    info->labels = a->labels;
    LIBVIRT_XML_EACH(file, marker, "file") {
        const char *path = libvirt_xml_attr(file, "path");
        if (path && !vmc_strv_has(&facts->own_files, path))
            vmc_strv_add(&facts->own_files, path);
        if (path && libvirt_xml_attr_is(file, "disk", "no") && !vmc_strv_has(&facts->no_disks, path))
            vmc_strv_add(&facts->no_disks, path);
    }
    return true;
}

bool libvirt_marker_read(const char *xml, libvirt_domain_facts *facts) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!xml || libvirt_xml_parse(xml, "the metadata", NULL, VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return false;
    return read_marker(xmlDocGetRootElement(doc), facts);
}

/* --- devices --------------------------------------------------------------------------------------------------- */

static vmctl_device *next_device(libvirt_domain_facts *facts, vmctl_device_kind kind, const char *name) {
    arena *a = arena_of(facts);
    vmctl_device *device = &a->devices[facts->info.device_count++];
    *device = (vmctl_device){.size = sizeof *device, .kind = kind, .name = name};
    return device;
}

static void read_disk(const xmlNode *domain, const xmlNode *disk, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    bool cdrom = libvirt_xml_attr_is(disk, "device", "cdrom");
    const char *name = libvirt_is_seed(disk) ? copy(a, "cloud-init") : store(a, libvirt_name_read(domain, disk));
    vmctl_device *device = next_device(facts, cdrom ? VMCTL_DEVICE_CDROM : VMCTL_DEVICE_DISK, name);
    const xmlNode *source = libvirt_xml_child(disk, "source");
    device->target = copy(a, libvirt_xml_attr_at(disk, "target", "dev"));
    device->bus = copy(a, libvirt_xml_attr_at(disk, "target", "bus"));
    device->type = copy(a, libvirt_xml_attr_at(disk, "driver", "type"));
    device->readonly = libvirt_xml_child(disk, "readonly") != NULL;
    const char *path = libvirt_disk_path(disk);
    if (path)
        device->source = copy(a, path);
    else if (libvirt_xml_attr(source, "pool") && libvirt_xml_attr(source, "volume"))
        device->source =
            store(a, vmc_printf("%s/%s", libvirt_xml_attr(source, "pool"), libvirt_xml_attr(source, "volume")));
    else
        device->source = copy(a, libvirt_xml_attr(source, "name"));
    const xmlNode *file = libvirt_marker_file_of(domain, libvirt_xml_attr_at(disk, "alias", "name"));
    device->own = path && file && libvirt_xml_attr_is(file, "path", path);
}

static void read_nic(const xmlNode *domain, const xmlNode *nic, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    vmctl_device *device = next_device(facts, VMCTL_DEVICE_NIC, store(a, libvirt_name_read(domain, nic)));
    const xmlNode *source = libvirt_xml_child(nic, "source");
    static const char *const where[] = {"network", "bridge", "dev", "path"};
    device->target = copy(a, libvirt_xml_attr_at(nic, "target", "dev"));
    device->bus = copy(a, libvirt_xml_attr_at(nic, "model", "type"));
    device->type = copy(a, libvirt_xml_attr(nic, "type"));
    device->mac = copy(a, libvirt_xml_attr_at(nic, "mac", "address"));
    device->link_up = !vmc_str_eq(libvirt_xml_attr_at(nic, "link", "state"), "down");
    for (size_t i = 0; i < sizeof where / sizeof where[0] && !device->source; i++)
        device->source = copy(a, libvirt_xml_attr(source, where[i]));
}

static void read_graphics(const xmlNode *graphics, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    const char *type = libvirt_xml_attr(graphics, "type"), *listen = libvirt_xml_attr(graphics, "listen");
    const char *port = libvirt_xml_attr(graphics, "port"), *socket = libvirt_xml_attr_at(graphics, "listen", "socket");
    vmctl_device *device = next_device(facts, VMCTL_DEVICE_DISPLAY, copy(a, type));
    device->type = device->name;
    bool has_port = port && *port != '-' && strcmp(port, "0") != 0;
    if (socket)
        device->source = copy(a, socket);
    else if (listen && has_port)
        device->source = store(a, vmc_printf("%s:%s", listen, port));
    else
        device->source = copy(a, listen);
}

/* Devices with a number of their kind and little else: "serial0". */
static void read_other(const xmlNode *node, vmctl_device_kind kind, const char *source, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    size_t index = 0;
    for (const xmlNode *before = node->prev; before; before = before->prev)
        index += libvirt_xml_is(before, (const char *)node->name);
    vmctl_device *device = next_device(facts, kind, store(a, vmc_printf("%s%zu", (const char *)node->name, index)));
    device->source = copy(a, source);
    device->type =
        copy(a, libvirt_xml_attr(node, "model") ? libvirt_xml_attr(node, "model") : libvirt_xml_attr(node, "type"));
}

static void read_channel(const xmlNode *channel, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    vmctl_device *device =
        next_device(facts, VMCTL_DEVICE_CHANNEL, copy(a, libvirt_xml_attr_at(channel, "target", "name")));
    device->type = copy(a, libvirt_xml_attr(channel, "type"));
    device->target = device->name;
}

static void read_share(const xmlNode *domain, const xmlNode *share, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    vmctl_device *device = next_device(facts, VMCTL_DEVICE_SHARE, store(a, libvirt_name_read(domain, share)));
    const char *type = libvirt_xml_attr_at(share, "driver", "type");
    device->source = copy(a, libvirt_xml_attr_at(share, "source", "dir"));
    device->type = copy(a, vmc_str_eq(type, "virtiofs") ? "virtiofs" : "9p");
    device->target = device->name;
    device->readonly = libvirt_xml_child(share, "readonly") != NULL;
}

/* The document does not tell what a PCI device is; one that the spec calls a GPU has an alias that says so. */
static void read_hostdev(const xmlNode *domain, const xmlNode *hostdev, libvirt_domain_facts *facts) {
    arena *a = arena_of(facts);
    const char *type = libvirt_xml_attr(hostdev, "type"), *name = store(a, libvirt_name_read(domain, hostdev));
    bool usb = vmc_str_eq(type, "usb");
    vmctl_device *device = next_device(facts, usb ? VMCTL_DEVICE_USB : VMCTL_DEVICE_OTHER, name);
    device->type = copy(a, type);
    if (usb) {
        const xmlNode *source = libvirt_xml_child(hostdev, "source");
        const char *vendor = libvirt_xml_attr_at(source, "vendor", "id");
        const char *product = libvirt_xml_attr_at(source, "product", "id");
        const char *bus = libvirt_xml_attr_at(source, "address", "bus");
        const char *number = libvirt_xml_attr_at(source, "address", "device");
        device->source = store(a, vendor && product ? vmc_printf("%s:%s", vendor + 2 * vmc_starts_with(vendor, "0x"),
                                                                 product + 2 * vmc_starts_with(product, "0x"))
                                  : bus && number   ? vmc_printf("%s:%s", bus, number)
                                                    : NULL);
    }
    const char *alias = libvirt_xml_attr_at(hostdev, "alias", "name");
    if (vmc_str_eq(type, "pci") && alias && vmc_starts_with(alias, "ua-gpu")) {
        device->kind = VMCTL_DEVICE_GPU;
        a->gpus[facts->info.gpu_count++] = (vmctl_gpu_ref){.size = sizeof(vmctl_gpu_ref), .name = name};
    }
}

static void read_devices(const xmlNode *domain, libvirt_domain_facts *facts) {
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    arena *a = arena_of(facts);
    size_t most = libvirt_xml_count(devices, NULL) + 1;
    a->devices = vmc_alloc(most * sizeof *a->devices);
    a->gpus = vmc_alloc(most * sizeof *a->gpus);
    LIBVIRT_XML_EACH(node, devices, NULL) {
        const char *kind = (const char *)node->name;
        if (strcmp(kind, "disk") == 0)
            read_disk(domain, node, facts);
        else if (strcmp(kind, "interface") == 0)
            read_nic(domain, node, facts);
        else if (strcmp(kind, "filesystem") == 0)
            read_share(domain, node, facts);
        else if (strcmp(kind, "graphics") == 0)
            read_graphics(node, facts);
        else if (strcmp(kind, "serial") == 0)
            read_other(node, VMCTL_DEVICE_SERIAL, libvirt_xml_attr_at(node, "source", "path"), facts);
        else if (strcmp(kind, "tpm") == 0)
            read_other(node, VMCTL_DEVICE_TPM, NULL, facts);
        else if (strcmp(kind, "rng") == 0)
            read_other(node, VMCTL_DEVICE_RNG, NULL, facts);
        else if (strcmp(kind, "watchdog") == 0)
            read_other(node, VMCTL_DEVICE_WATCHDOG, NULL, facts);
        else if (strcmp(kind, "channel") == 0)
            read_channel(node, facts);
        else if (strcmp(kind, "hostdev") == 0)
            read_hostdev(domain, node, facts);
    }
    facts->info.devices = a->devices;
    facts->info.gpus = a->gpus;
}

/* --- all of it ------------------------------------------------------------------------------------------------- */

int libvirt_domain_facts_read(const char *domain_xml, libvirt_domain_facts **out, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    *out = NULL;
    int code = libvirt_xml_parse(domain_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    libvirt_domain_facts *facts = vmc_alloc(sizeof *facts);
    arena *a = arena_of(facts);
    vmctl_vm_info *info = &facts->info;
    const xmlNode *domain = xmlDocGetRootElement(doc);
    VMC_AUTO_JSON *spec = cJSON_CreateObject();
    libvirt_cpus_read(domain, spec);
    libvirt_memory_read(domain, spec);
    libvirt_firmware_read(domain, spec);

    info->size = sizeof *info;
    info->present = VMCTL_FACT_RESOURCES | VMCTL_FACT_MARKER | VMCTL_FACT_DEVICES | VMCTL_FACT_GPUS | VMCTL_FACT_CONFIG;
    info->backend = "libvirt";
    info->name = content(a, libvirt_xml_child(domain, "name"));
    info->id = content(a, libvirt_xml_child(domain, "uuid"));
    info->cpus = (unsigned)vmc_json_integer(vmc_json_key(spec, "cpus"), "count", 0);
    /* What the guest has: less than the whole where its balloon is blown up. */
    unsigned long long bytes = (unsigned long long)vmc_json_integer(vmc_json_key(spec, "memory"), "size", 0);
    libvirt_xml_bytes(libvirt_xml_child(domain, "currentMemory"), 1024, &bytes);
    info->memory_mib = bytes >> 20;
    info->arch = copy(a, libvirt_xml_attr_at(domain, "os/type", "arch"));
    info->machine = copy(a, libvirt_xml_attr_at(domain, "os/type", "machine"));
    info->firmware = copy(a, vmc_json_string(vmc_json_key(spec, "firmware"), "type", NULL));
    const char *type = libvirt_xml_attr(domain, "type");
    info->accel = vmc_str_eq(type, "kvm") ? "kvm" : vmc_str_eq(type, "qemu") ? "tcg" : NULL;
    info->description = content(a, libvirt_xml_child(domain, "description"));
    info->autostart = info->agent_connected = info->restart_required = -1;
    info->uptime_seconds = -1;
    read_marker(domain, facts);
    read_devices(domain, facts);
    facts->nvram = libvirt_xml_content(libvirt_xml_find(domain, "os/nvram"));
    facts->serial_log = vmc_strdup(libvirt_serial_log_path(domain));
    *out = facts;
    return 0;
}

void libvirt_domain_facts_free(libvirt_domain_facts *facts) {
    if (!facts)
        return;
    arena *a = facts->arena;
    if (a) {
        vmc_strv_free(&a->strings);
        free(a->devices);
        free(a->gpus);
        free(a->labels);
        free(a);
    }
    free(facts->nvram);
    free(facts->serial_log);
    vmc_strv_free(&facts->own_files);
    vmc_strv_free(&facts->no_disks);
    free(facts);
}
