/* VirtualBox's settings files, by libxml2. */
#include "settings.h"

#include "base/error.h"
#include "base/file.h"
#include "files.h"
#include "host.h"
#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xmlreader.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    XML_FLAGS = XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_NOBLANKS | XML_PARSE_COMPACT,
    UUID_LENGTH = 36
};

/* --- the tree ----------------------------------------------------------------------------------------------------- */

static bool is(const xmlNode *node, const char *name) {
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

/* The element at a path of names below `node`; NULL when there is none. */
static const xmlNode *at(const xmlNode *node, const char *path) {
    while (node && *path) {
        size_t length = strcspn(path, "/");
        const xmlNode *child = node->children;
        while (child && !(child->type == XML_ELEMENT_NODE && strlen((const char *)child->name) == length &&
                          strncmp((const char *)child->name, path, length) == 0))
            child = child->next;
        node = child;
        path += length + (path[length] == '/');
    }
    return node;
}

/* The first element of that name from `node` on, among its siblings. */
static const xmlNode *from(const xmlNode *node, const char *element) {
    while (node && !is(node, element))
        node = node->next;
    return node;
}

#define FIRST(parent, element) from((parent) ? (parent)->children : NULL, element)
/* NOLINTBEGIN(bugprone-macro-parentheses): a declared name cannot be in parentheses */
#define EACH(child, parent, element)                                                                                   \
    for (const xmlNode *child = FIRST(parent, element); child; (child) = from((child)->next, element))
/* NOLINTEND(bugprone-macro-parentheses) */

/* Entities are decoded by the parser; an attribute is one text node. */
static const char *attribute(const xmlNode *node, const char *name) {
    for (const xmlAttr *a = node ? node->properties : NULL; a; a = a->next)
        if (strcmp((const char *)a->name, name) == 0)
            return a->children && a->children->content ? (const char *)a->children->content : "";
    return NULL;
}

static char *text_of(const xmlNode *node, const char *name) {
    return vmc_strdup(attribute(node, name));
}

static bool truth(const xmlNode *node, const char *name, bool fallback) {
    const char *value = attribute(node, name);
    return value ? strcmp(value, "true") == 0 || strcmp(value, "1") == 0 : fallback;
}

static unsigned number(const xmlNode *node, const char *name, unsigned fallback) {
    const char *value = attribute(node, name);
    return value ? (unsigned)strtoul(value, NULL, 10) : fallback;
}

static char *lower(const char *text) {
    char *copy = vmc_strdup(text);
    for (char *c = copy; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

/* "{8-4-4-4-12}"; anything else gives "". */
static void read_uuid(const char *text, char out[37]) {
    out[0] = 0;
    if (text && *text == '{' && strlen(text) == UUID_LENGTH + 2) {
        memcpy(out, text + 1, UUID_LENGTH);
        out[UUID_LENGTH] = 0;
    }
}

/* "1.20-linux": the first number must be 1, the second in the range. */
static bool known_version(const xmlNode *root, unsigned oldest, unsigned newest) {
    const char *version = attribute(root, "version");
    if (!version || !vmc_starts_with(version, "1."))
        return false;
    unsigned long minor = strtoul(version + 2, NULL, 10);
    return minor >= oldest && minor <= newest;
}

static int parse(const char *path, const char *text, size_t length, unsigned oldest, unsigned newest, xmlDoc **out,
                 vmctl_error **err) {
    int code = 0;
    /* Not xmlReadFile, which opens a file several times to find out whether it is compressed. */
    xmlDoc *doc = xmlReadMemory(text, (int)length, path, NULL, XML_FLAGS);
    const xmlNode *root = doc ? xmlDocGetRootElement(doc) : NULL;
    if (!root || !is(root, "VirtualBox"))
        code = vmc_error(err, VMCTL_E_INTERNAL, "%s is no settings file of VirtualBox, or is damaged", path);
    else if (!known_version(root, oldest, newest))
        code = vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is in a version of the settings that vmctl does not know: %s",
                         path, attribute(root, "version") ? attribute(root, "version") : "none");
    if (code < 0) {
        xmlFreeDoc(doc);
        return code;
    }
    *out = doc;
    return 0;
}

/* --- VirtualBox.xml ------------------------------------------------------------------------------------------------ */

char *vboxmanage_home(const vboxmanage *manage) {
    const char *home = manage ? manage->home : NULL;
    if (manage && manage->host)
        return vmc_strdup(manage->host->home);
    if (!home || !*home)
        home = getenv("VBOX_USER_HOME");
    if (home && *home)
        return vmc_strdup(home);
    char *old = vmc_path_absolute(NULL, "~/.VirtualBox");
    if (old && access(old, F_OK) == 0)
        return old;
    free(old);
    const char *config = getenv("XDG_CONFIG_HOME");
    return config && *config == '/' ? vmc_printf("%s/VirtualBox", config)
                                    : vmc_path_absolute(NULL, "~/.config/VirtualBox");
}

static void read_media(vboxmanage_machine *m, const xmlNode *parent, const char *element, const char *parent_id);

int vboxmanage_registry_read(const vboxmanage *manage, const vmc_deadline *deadline, vboxmanage_registry *out,
                             vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vboxmanage_home(manage);
    VMC_AUTO_FREE char *path = vmc_printf("%s/VirtualBox.xml", folder);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    xmlDoc *doc = NULL;
    int code = vboxmanage_settings_text(manage, path, deadline, &text, &length, err);
    if (code == 0)
        code = parse(path, text, length, 12, 14, &doc, err);
    if (code < 0)
        return code;
    const xmlNode *global = at(xmlDocGetRootElement(doc), "Global");
    EACH(entry, at(global, "MachineRegistry"), "MachineEntry") {
        const char *settings = attribute(entry, "src");
        char id[37];
        read_uuid(attribute(entry, "uuid"), id);
        if (!*id || !settings)
            continue;
        if ((out->count & (out->count + 1)) == 0)
            out->entries = vmc_realloc(out->entries, 2 * (out->count + 1), sizeof *out->entries);
        vboxmanage_entry *to = &out->entries[out->count++];
        memcpy(to->id, id, sizeof id);
        to->settings = vmc_path_absolute(folder, settings);
    }
    out->shared = vmc_alloc(sizeof *out->shared);
    out->shared->folder = vmc_strdup(folder);
    read_media(out->shared, at(global, "MediaRegistry/HardDisks"), "HardDisk", "");
    read_media(out->shared, at(global, "MediaRegistry/DVDImages"), "Image", "");
    const xmlNode *properties = at(global, "SystemProperties");
    const char *machines = attribute(properties, "defaultMachineFolder");
    const char *autostart = attribute(properties, "autostartDatabasePath");
    out->machine_folder = machines && *machines ? vmc_strdup(machines) : NULL;
    out->autostart_folder = autostart && *autostart ? vmc_strdup(autostart) : NULL;
    xmlFreeDoc(doc);
    return 0;
}

void vboxmanage_registry_free(vboxmanage_registry *registry) {
    for (size_t i = 0; i < registry->count; i++)
        free(registry->entries[i].settings);
    free(registry->entries);
    vboxmanage_machine_free(registry->shared);
    free(registry->machine_folder);
    free(registry->autostart_folder);
    *registry = (vboxmanage_registry){0};
}

/* --- .vbox ---------------------------------------------------------------------------------------------------------- */

/* One more element, zeroed, of a list that belongs to the machine. */
static void *append(void *list, size_t *count, size_t size) {
    void **items = list;
    *items = vmc_realloc(*items, *count + 1, size);
    void *item = (char *)*items + *count * size;
    memset(item, 0, size);
    ++*count;
    return item;
}

static void read_media(vboxmanage_machine *m, const xmlNode *parent, const char *element, const char *parent_id) {
    EACH(node, parent, element) {
        vboxmanage_medium *medium = append(&m->media, &m->medium_count, sizeof *m->media);
        const char *location = attribute(node, "location");
        read_uuid(attribute(node, "uuid"), medium->id);
        snprintf(medium->parent, sizeof medium->parent, "%s", parent_id);
        medium->location = vmc_path_absolute(m->folder, location ? location : "");
        medium->format = text_of(node, "format");
        medium->type = text_of(node, "type");
        char id[37];
        memcpy(id, medium->id, sizeof id); /* the list moves when it grows */
        read_media(m, node, element, id);
    }
}

static void read_attachments(vboxmanage_attachment **list, size_t *count, const xmlNode *controller) {
    EACH(node, controller, "AttachedDevice") {
        vboxmanage_attachment *to = append(list, count, sizeof **list);
        to->controller = text_of(controller, "name");
        to->kind = text_of(node, "type");
        to->port = number(node, "port", 0);
        to->device = number(node, "device", 0);
        to->discard = truth(node, "discard", false);
        to->nonrotational = truth(node, "nonrotational", false);
        to->hotpluggable = truth(node, "hotpluggable", false);
        to->passthrough = truth(node, "passthrough", false);
        read_uuid(attribute(at(node, "Image"), "uuid"), to->medium);
    }
}

static void read_storage(vboxmanage_machine *m, const xmlNode *controllers) {
    EACH(node, controllers, "StorageController") {
        vboxmanage_controller *to = append(&m->controllers, &m->controller_count, sizeof *m->controllers);
        to->name = text_of(node, "name");
        to->type = text_of(node, "type");
        to->ports = number(node, "PortCount", 1);
        to->host_cache = truth(node, "useHostIOCache", false);
        read_attachments(&m->attachments, &m->attachment_count, node);
    }
}

static void read_mac(const char *text, char out[18]) {
    size_t length = 0;
    for (size_t i = 0; text && text[i] && i < 12 && length < 17; i++) {
        if (i && i % 2 == 0)
            out[length++] = ':';
        out[length++] = (char)tolower((unsigned char)text[i]);
    }
    out[length] = 0;
}

/* The element that says where it leads, and the attribute that names the network. */
static const struct {
    const char *element, *mode, *attribute;
} modes[] = {
    {"NAT", "nat", NULL},
    {"BridgedInterface", "bridged", "name"},
    {"InternalNetwork", "internal", "name"},
    {"HostOnlyInterface", "hostonly", "name"},
    {"HostOnlyNetwork", "hostonlynet", "name"},
    {"NATNetwork", "natnetwork", "name"},
    {"GenericInterface", "generic", "driver"},
};

static void read_forwards(vboxmanage_nic *nic, const xmlNode *nat) {
    EACH(node, nat, "Forwarding") {
        vboxmanage_forward *to = append(&nic->forwards, &nic->forward_count, sizeof *nic->forwards);
        to->name = text_of(node, "name");
        to->udp = number(node, "proto", 1) == 0; /* NATProtocol: 0 UDP, 1 TCP */
        to->host_ip = text_of(node, "hostip");
        to->guest_ip = text_of(node, "guestip");
        to->host_port = number(node, "hostport", 0);
        to->guest_port = number(node, "guestport", 0);
    }
}

static void read_nics(vboxmanage_machine *m, const xmlNode *network) {
    EACH(node, network, "Adapter") {
        if (!truth(node, "enabled", false))
            continue;
        vboxmanage_nic *nic = append(&m->nics, &m->nic_count, sizeof *m->nics);
        nic->slot = number(node, "slot", 0);
        nic->cable = truth(node, "cable", true);
        nic->type = vmc_strdup(attribute(node, "type") ? attribute(node, "type") : "Am79C973");
        read_mac(attribute(node, "MACAddress"), nic->mac);
        for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
            const xmlNode *mode = at(node, modes[i].element);
            if (!mode || nic->mode)
                continue;
            nic->mode = vmc_strdup(modes[i].mode);
            nic->source = modes[i].attribute ? text_of(mode, modes[i].attribute) : NULL;
            if (i == 0)
                read_forwards(nic, mode);
        }
        if (!nic->mode)
            nic->mode = vmc_strdup("null");
    }
}

static void read_display(vboxmanage_machine *m, const xmlNode *hardware) {
    const xmlNode *display = at(hardware, "Display");
    const xmlNode *remote = at(hardware, "RemoteDisplay");
    m->graphics = lower(attribute(display, "controller") ? attribute(display, "controller") : "VBoxVGA");
    m->monitors = number(display, "monitorCount", 1);
    m->accelerate_3d = truth(display, "accelerate3D", false);
    m->vrde = truth(remote, "enabled", false);
    m->vrde_pack = text_of(remote, "VRDEExtPack");
    EACH(property, at(remote, "VRDEProperties"), "Property") {
        const char *name = attribute(property, "name");
        if (vmc_str_eq(name, "TCP/Ports") && !m->vrde_ports)
            m->vrde_ports = text_of(property, "value");
        if (vmc_str_eq(name, "TCP/Address") && !m->vrde_address)
            m->vrde_address = text_of(property, "value");
    }
}

static void read_boot(vboxmanage_machine *m, const xmlNode *boot) {
    EACH(order, boot, "Order") {
        unsigned position = number(order, "position", 0);
        if (position >= 1 && position <= 4 && !m->boot[position - 1])
            m->boot[position - 1] = text_of(order, "device");
    }
}

static void read_cpus(vboxmanage_machine *m, const xmlNode *cpu) {
    m->cpus = number(cpu, "count", 1);
    if (!truth(cpu, "hotplug", false))
        return;
    m->cpus_max = m->cpus;
    m->cpus = 0;
    EACH(plugged, at(cpu, "CpuTree"), "Cpu") {
        unsigned id = number(plugged, "id", 0);
        m->cpu_ids |= id < 64 ? UINT64_C(1) << id : 0;
        m->cpus++;
    }
}

/* From 1.15; before, a VM has a controller or none, of which the settings say less. */
static void read_usb(vboxmanage_machine *m, const xmlNode *usb) {
    m->usb = at(usb, "Controllers/Controller") != NULL;
    EACH(node, at(usb, "DeviceFilters"), "DeviceFilter") {
        vboxmanage_usb_filter *to = append(&m->usb_filters, &m->usb_filter_count, sizeof *m->usb_filters);
        for (size_t k = 0; k < VBOXMANAGE_USB_KEYS; k++) {
            const char *value = attribute(node, vboxmanage_usb_keys[k].attribute);
            if (value && *value)
                to->values[k] = vmc_strdup(!vboxmanage_usb_keys[k].truth                          ? value
                                           : truth(node, vboxmanage_usb_keys[k].attribute, false) ? "yes"
                                                                                                  : "no");
        }
    }
}

static void read_hardware(vboxmanage_machine *m, const xmlNode *machine) {
    const xmlNode *hardware = at(machine, "Hardware");
    const xmlNode *platform = at(machine, "Platform"); /* from 1.20 */
    const xmlNode *firmware = at(hardware, "Firmware");
    const char *chipset = attribute(at(platform, "Chipset"), "type");
    if (!chipset)
        chipset = attribute(at(hardware, "Chipset"), "type");
    read_cpus(m, at(platform, "CPU") ? at(platform, "CPU") : at(hardware, "CPU"));
    m->memory_mib = number(at(hardware, "Memory"), "RAMSize", 128);
    m->chipset = lower(chipset ? chipset : "PIIX3");
    m->firmware = lower(attribute(firmware, "type") ? attribute(firmware, "type") : "BIOS");
    const char *tpm = attribute(at(hardware, "TrustedPlatformModule"), "type");
    m->tpm = tpm && strcmp(tpm, "None") != 0 ? vmc_strdup(tpm) : NULL;
    const char *nvram = attribute(at(firmware, "NVRAM"), "path");
    if (!nvram)
        nvram = attribute(at(hardware, "BIOS/NVRAM"), "path"); /* before 1.20 */
    VMC_AUTO_FREE char *usual = vmc_printf("%s.nvram", m->name);
    m->nvram = vmc_path_absolute(m->folder, nvram && *nvram ? nvram : usual);
    m->autostart =
        truth(at(machine, "Hardware/Autostart"), "enabled", truth(at(machine, "Autostart"), "enabled", false));
    read_display(m, hardware);
    read_boot(m, at(hardware, "Boot"));
    read_nics(m, at(hardware, "Network"));
    const xmlNode *port = NULL;
    EACH(uart, at(hardware, "UART"), "Port") {
        if (!port && truth(uart, "enabled", false))
            port = uart;
    }
    m->serial_mode = text_of(port, "hostMode");
    m->serial_path = text_of(port, "path");
    m->serial_server = truth(port, "server", false);
    const xmlNode *storage = at(hardware, "StorageControllers"); /* from 1.19 */
    read_storage(m, storage ? storage : at(machine, "StorageControllers"));
    EACH(folder, at(hardware, "SharedFolders"), "SharedFolder") {
        vboxmanage_share *share = append(&m->shares, &m->share_count, sizeof *m->shares);
        share->name = text_of(folder, "name");
        share->path = text_of(folder, "hostPath");
        share->writable = truth(folder, "writable", false);
    }
    read_usb(m, at(hardware, "USB"));
}

static char *content_of(const xmlNode *node) {
    xmlChar *words = node ? xmlNodeGetContent(node) : NULL;
    char *copy = vmc_strdup((const char *)words);
    xmlFree(words);
    return copy;
}

static int64_t time_of(const char *text) {
    struct tm parts = {0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts) : NULL;
    return end && !*end ? (int64_t)timegm(&parts) : 0;
}

static void read_snapshots(vboxmanage_machine *m, const xmlNode *parent, const char *parent_id) {
    EACH(node, parent, "Snapshot") {
        vboxmanage_snapshot *to = append(&m->snapshots, &m->snapshot_count, sizeof *m->snapshots);
        const char *name = attribute(node, "name");
        const char *state_file = attribute(node, "stateFile");
        char id[37];
        read_uuid(attribute(node, "uuid"), id);
        memcpy(to->id, id, sizeof id);
        snprintf(to->parent, sizeof to->parent, "%s", parent_id);
        to->name = vmc_strdup(name ? name : "");
        to->description = content_of(at(node, "Description"));
        to->state_file = state_file && *state_file ? vmc_path_absolute(m->folder, state_file) : NULL;
        to->created = time_of(attribute(node, "timeStamp"));
        const xmlNode *storage = at(node, "Hardware/StorageControllers"); /* from 1.19 */
        EACH(controller, storage ? storage : at(node, "StorageControllers"), "StorageController")
        read_attachments(&to->attachments, &to->attachment_count, controller);
        read_snapshots(m, at(node, "Snapshots"), id); /* the list moves when it grows */
    }
}

static void read_machine(vboxmanage_machine *m, const xmlNode *machine) {
    read_uuid(attribute(machine, "uuid"), m->id);
    read_uuid(attribute(machine, "currentSnapshot"), m->snapshot);
    m->name = vmc_strdup(attribute(machine, "name") ? attribute(machine, "name") : "");
    m->os_type = text_of(machine, "OSType");
    m->last_change = text_of(machine, "lastStateChange");
    m->aborted = truth(machine, "aborted", false);
    const char *state_file = attribute(machine, "stateFile");
    m->state_file = state_file && *state_file ? vmc_path_absolute(m->folder, state_file) : NULL;
    m->description = content_of(at(machine, "Description"));
    m->teleporter = truth(at(machine, "Teleporter"), "enabled", false);
    m->modified = truth(machine, "currentStateModified", true);
    EACH(item, at(machine, "ExtraData"), "ExtraDataItem") {
        const char *key = attribute(item, "name");
        const char *value = attribute(item, "value");
        if (key && value) {
            vmc_strv_add(&m->extra_keys, key);
            vmc_strv_add(&m->extra_values, value);
        }
    }
    read_media(m, at(machine, "MediaRegistry/HardDisks"), "HardDisk", "");
    read_media(m, at(machine, "MediaRegistry/DVDImages"), "Image", "");
    read_hardware(m, machine);
    read_snapshots(m, machine, "");
}

int vboxmanage_machine_parse(const vboxmanage *manage, const char *path, const char *text, size_t length,
                             vboxmanage_machine **out, vmctl_error **err) {
    xmlDoc *doc = NULL;
    int code = parse(path, text, length, 15, 20, &doc, err);
    if (code < 0)
        return code;
    const xmlNode *machine = at(xmlDocGetRootElement(doc), "Machine");
    if (!machine || at(xmlDocGetRootElement(doc), "MachineEncrypted")) {
        xmlFreeDoc(doc);
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "%s describes no VM, or an encrypted one", path);
    }
    vboxmanage_machine *m = vmc_alloc(sizeof *m);
    m->settings = vmc_strdup(path);
    m->folder = vmc_path_dirname(path);
    m->manage = manage;
    read_machine(m, machine);
    xmlFreeDoc(doc);
    *out = m;
    return 0;
}

int vboxmanage_machine_read(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                            vboxmanage_machine **out, vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    int code = vboxmanage_settings_text(manage, path, deadline, &text, &length, err);
    return code < 0 ? code : vboxmanage_machine_parse(manage, path, text, length, out, err);
}

static void nics_free(vboxmanage_machine *m) {
    for (size_t i = 0; i < m->nic_count; i++) {
        vboxmanage_nic *nic = &m->nics[i];
        for (size_t f = 0; f < nic->forward_count; f++) {
            free(nic->forwards[f].name);
            free(nic->forwards[f].host_ip);
            free(nic->forwards[f].guest_ip);
        }
        free(nic->forwards);
        free(nic->type);
        free(nic->mode);
        free(nic->source);
    }
    free(m->nics);
}

static void attachments_free(vboxmanage_attachment *list, size_t count) {
    for (size_t i = 0; i < count; i++) {
        free(list[i].controller);
        free(list[i].kind);
    }
    free(list);
}

static void snapshots_free(vboxmanage_machine *m) {
    for (size_t i = 0; i < m->snapshot_count; i++) {
        free(m->snapshots[i].name);
        free(m->snapshots[i].description);
        free(m->snapshots[i].state_file);
        attachments_free(m->snapshots[i].attachments, m->snapshots[i].attachment_count);
    }
    free(m->snapshots);
}

static void storage_free(vboxmanage_machine *m) {
    for (size_t i = 0; i < m->controller_count; i++) {
        free(m->controllers[i].name);
        free(m->controllers[i].type);
    }
    attachments_free(m->attachments, m->attachment_count);
    for (size_t i = 0; i < m->medium_count; i++) {
        free(m->media[i].location);
        free(m->media[i].format);
        free(m->media[i].type);
    }
    free(m->controllers);
    free(m->media);
}

void vboxmanage_machine_free(vboxmanage_machine *m) {
    if (!m)
        return;
    char *const texts[] = {m->settings,     m->nvram,       m->name,       m->os_type,  m->description, m->folder,
                           m->state_file,   m->last_change, m->chipset,    m->firmware, m->tpm,         m->graphics,
                           m->boot[0],      m->boot[1],     m->boot[2],    m->boot[3],  m->vrde_pack,   m->vrde_ports,
                           m->vrde_address, m->serial_mode, m->serial_path};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(texts[i]);
    nics_free(m);
    storage_free(m);
    snapshots_free(m);
    for (size_t i = 0; i < m->share_count; i++) {
        free(m->shares[i].name);
        free(m->shares[i].path);
    }
    free(m->shares);
    vboxmanage_usb_filters_free(m->usb_filters, m->usb_filter_count);
    vmc_strv_free(&m->extra_keys);
    vmc_strv_free(&m->extra_values);
    free(m);
}

const char *vboxmanage_extra(const vboxmanage_machine *machine, const char *key) {
    for (size_t i = 0; i < machine->extra_keys.count; i++)
        if (strcmp(machine->extra_keys.items[i], key) == 0)
            return machine->extra_values.items[i];
    return NULL;
}

const vboxmanage_medium *vboxmanage_medium_of(const vboxmanage_machine *machine, const char *id) {
    for (size_t i = 0; *id && i < machine->medium_count; i++)
        if (strcasecmp(machine->media[i].id, id) == 0)
            return &machine->media[i];
    return NULL;
}

const vboxmanage_snapshot *vboxmanage_snapshot_of(const vboxmanage_machine *machine, const char *id) {
    for (size_t i = 0; i < machine->snapshot_count; i++)
        if (strcasecmp(machine->snapshots[i].id, id) == 0)
            return &machine->snapshots[i];
    return NULL;
}

bool vboxmanage_adopt_medium(vboxmanage_machine *machine, const vboxmanage_machine *from, const char *id) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(from, id);
    if (!medium)
        return false;
    if (*medium->parent && !vboxmanage_medium_of(machine, medium->parent))
        vboxmanage_adopt_medium(machine, from, medium->parent);
    vboxmanage_medium *to = append(&machine->media, &machine->medium_count, sizeof *machine->media);
    memcpy(to->id, medium->id, sizeof to->id);
    memcpy(to->parent, medium->parent, sizeof to->parent);
    to->location = vmc_strdup(medium->location);
    to->format = vmc_strdup(medium->format);
    to->type = vmc_strdup(medium->type);
    return true;
}

const vboxmanage_medium *vboxmanage_base_of(const vboxmanage_machine *machine, const vboxmanage_medium *medium) {
    /* A parent always stands before its children, so this ends. */
    while (medium && *medium->parent) {
        const vboxmanage_medium *parent = vboxmanage_medium_of(machine, medium->parent);
        if (!parent || parent >= medium)
            break;
        medium = parent;
    }
    return medium;
}

char *vboxmanage_machine_name(const char *path, const char *text, size_t length) {
    char *name = NULL;
    xmlTextReader *reader = xmlReaderForMemory(text, (int)length, path, NULL, XML_FLAGS);
    while (reader && !name && xmlTextReaderRead(reader) == 1) {
        if (xmlTextReaderNodeType(reader) != XML_READER_TYPE_ELEMENT ||
            strcmp((const char *)xmlTextReaderConstLocalName(reader), "Machine") != 0)
            continue;
        xmlChar *value = xmlTextReaderGetAttribute(reader, (const xmlChar *)"name");
        name = vmc_strdup(value ? (const char *)value : "");
        xmlFree(value);
    }
    xmlFreeTextReader(reader);
    return name;
}

/* The texts of the registry's VMs, some at a time. */
static int each_text(const vboxmanage *manage, const vboxmanage_registry *registry, const vmc_deadline *deadline,
                     void (*each)(size_t index, const char *text, size_t length, void *user), void *user,
                     vmctl_error **err) {
    enum { BATCH = 256 };
    int code = 0;
    for (size_t first = 0; code == 0 && first < registry->count; first += BATCH) {
        const char *paths[BATCH];
        char *texts[BATCH] = {NULL};
        size_t lengths[BATCH] = {0};
        size_t count = registry->count - first < BATCH ? registry->count - first : BATCH;
        for (size_t i = 0; i < count; i++)
            paths[i] = registry->entries[first + i].settings;
        code = vboxmanage_settings_texts(manage, paths, count, deadline, texts, lengths, err);
        for (size_t i = 0; i < count; i++) {
            if (code == 0)
                each(first + i, texts[i], lengths[i], user);
            free(texts[i]);
        }
        if (code == 0 && deadline)
            code = vmc_deadline_check(deadline, "reading the VMs' settings", err);
    }
    return code;
}

typedef struct reading {
    const vboxmanage *manage;
    const vboxmanage_registry *registry;
    vmc_strv *names;
    vboxmanage_machine **machines;
} reading;

static void take_name(size_t index, const char *text, size_t length, void *user) {
    const reading *r = user;
    char *name = text ? vboxmanage_machine_name(r->registry->entries[index].settings, text, length) : NULL;
    vmc_strv_take(r->names, name ? name : vmc_strdup(VBOXMANAGE_INACCESSIBLE));
}

static void take_machine(size_t index, const char *text, size_t length, void *user) {
    const reading *r = user;
    if (text)
        vboxmanage_machine_parse(r->manage, r->registry->entries[index].settings, text, length, &r->machines[index],
                                 NULL);
}

int vboxmanage_names_read(const vboxmanage *manage, const vboxmanage_registry *registry, const vmc_deadline *deadline,
                          vmc_strv *names, vmctl_error **err) {
    reading r = {.manage = manage, .registry = registry, .names = names};
    return each_text(manage, registry, deadline, take_name, &r, err);
}

int vboxmanage_machines_read(const vboxmanage *manage, const vboxmanage_registry *registry,
                             const vmc_deadline *deadline, vboxmanage_machine **outs, vmctl_error **err) {
    reading r = {.manage = manage, .registry = registry, .machines = outs};
    return each_text(manage, registry, deadline, take_machine, &r, err);
}
