/* A VM as VBoxManage describes it, in the form of its settings file: the slow path, for settings of a version that is not known. */
#include "settings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CONTROLLERS = 32, MOST_NICS = 36, MOST_SHARES = 64 };

/* Keys of --machinereadable have their number at the end or in the middle: "nic1", "storagecontrollername0". */
static const char *numbered(const vboxmanage_properties *p, const char *key, unsigned n) {
    char name[64];
    snprintf(name, sizeof name, "%s%u", key, n);
    return vboxmanage_property_get(p, name);
}

static const char *placed(const vboxmanage_properties *p, const char *controller, const char *what, unsigned port,
                          unsigned device) {
    VMC_AUTO_FREE char *name = vmc_printf("%s-%s%u-%u", controller, what, port, device);
    return vboxmanage_property_get(p, name);
}

static bool is_on(const char *value) {
    return vmc_str_eq(value, "on");
}

static char *lower(const char *text) {
    char *copy = vmc_strdup(text);
    for (char *c = copy; c && *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return copy;
}

static unsigned number(const char *text) {
    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static void *more(void *list, size_t count, size_t size) {
    void *items = vmc_realloc(list, count + 1, size);
    memset((char *)items + count * size, 0, size);
    return items;
}

/* --- disks ----------------------------------------------------------------------------------------------------------- */

static void read_medium(vboxmanage_machine *m, const char *path, const char *id) {
    if (vboxmanage_medium_of(m, id))
        return;
    const char *dot = strrchr(path, '.');
    m->media = more(m->media, m->medium_count, sizeof *m->media);
    vboxmanage_medium *medium = &m->media[m->medium_count++];
    snprintf(medium->id, sizeof medium->id, "%s", id);
    medium->location = vmc_strdup(path);
    medium->format = vmc_strdup(dot ? dot + 1 : "");
    for (char *c = medium->format; *c; c++)
        *c = (char)toupper((unsigned char)*c);
}

static void read_place(vboxmanage_machine *m, const vboxmanage_properties *p, const char *controller, unsigned port,
                       unsigned device) {
    const char *value = placed(p, controller, "", port, device);
    const char *id = placed(p, controller, "ImageUUID-", port, device);
    if (!value || strcmp(value, "none") == 0)
        return;
    m->attachments = more(m->attachments, m->attachment_count, sizeof *m->attachments);
    vboxmanage_attachment *at = &m->attachments[m->attachment_count++];
    at->controller = vmc_strdup(controller);
    at->kind = vmc_strdup(placed(p, controller, "IsEjected-", port, device) ? "DVD" : "HardDisk");
    at->port = port;
    at->device = device;
    at->hotpluggable = is_on(placed(p, controller, "hot-pluggable-", port, device));
    at->nonrotational = is_on(placed(p, controller, "nonrotational-", port, device));
    at->discard = is_on(placed(p, controller, "discard-", port, device));
    if (!id || !vboxmanage_is_uuid(id, false))
        return;
    snprintf(at->medium, sizeof at->medium, "%s", id);
    read_medium(m, value, id);
}

static void read_storage(vboxmanage_machine *m, const vboxmanage_properties *p) {
    /* VBoxManage's names, and those of the settings file where they differ. */
    static const char *const types[][2] = {{"IntelAhci", "AHCI"}, {"VirtioSCSI", "VirtioSCSI"}};
    for (unsigned c = 0; c < MOST_CONTROLLERS; c++) {
        const char *name = numbered(p, "storagecontrollername", c);
        const char *type = numbered(p, "storagecontrollertype", c);
        if (!name)
            return;
        for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
            if (vmc_str_eq(type, types[i][0]))
                type = types[i][1];
        m->controllers = more(m->controllers, m->controller_count, sizeof *m->controllers);
        vboxmanage_controller *to = &m->controllers[m->controller_count++];
        to->name = vmc_strdup(name);
        to->type = vmc_strdup(type ? type : "");
        to->ports = number(numbered(p, "storagecontrollerportcount", c));
        for (unsigned port = 0; port < to->ports && port < 256; port++)
            for (unsigned device = 0; device < 2; device++)
                read_place(m, p, name, port, device);
    }
}

/* --- networks ---------------------------------------------------------------------------------------------------------- */

static void read_mac(const char *text, char out[18]) {
    size_t length = 0;
    for (size_t i = 0; text && text[i] && i < 12; i++) {
        if (i && i % 2 == 0)
            out[length++] = ':';
        out[length++] = (char)tolower((unsigned char)text[i]);
    }
    out[length] = 0;
}

/* "ssh,tcp,127.0.0.1,2222,,22": six fields; an empty one is none. */
static void read_forward(vboxmanage_nic *nic, const char *text) {
    char *fields[6] = {NULL};
    size_t count = 0;
    for (const char *at = text; count < 6; count++) {
        size_t length = strcspn(at, ",");
        fields[count] = length ? vmc_strndup(at, length) : NULL;
        at += length + (at[length] == ',');
    }
    nic->forwards = more(nic->forwards, nic->forward_count, sizeof *nic->forwards);
    nic->forwards[nic->forward_count++] = (vboxmanage_forward){.name = fields[0] ? fields[0] : vmc_strdup(""),
                                                               .udp = vmc_str_eq(fields[1], "udp"),
                                                               .host_ip = fields[2],
                                                               .host_port = number(fields[3]),
                                                               .guest_ip = fields[4],
                                                               .guest_port = number(fields[5])};
    free(fields[1]);
    free(fields[3]);
    free(fields[5]);
}

static void read_nics(vboxmanage_machine *m, const vboxmanage_properties *p) {
    static const char *const sources[][2] = {{"bridged", "bridgeadapter"},
                                             {"intnet", "intnet"},
                                             {"hostonly", "hostonlyadapter"},
                                             {"natnetwork", "nat-network"}};
    for (unsigned n = 1; n <= MOST_NICS; n++) {
        const char *mode = numbered(p, "nic", n);
        const char *type = numbered(p, "nictype", n);
        if (!mode || strcmp(mode, "none") == 0)
            continue;
        m->nics = more(m->nics, m->nic_count, sizeof *m->nics);
        vboxmanage_nic *nic = &m->nics[m->nic_count++];
        nic->slot = n - 1;
        nic->cable = is_on(numbered(p, "cableconnected", n));
        nic->type = vmc_strdup(type ? type : "");
        nic->mode = vmc_strdup(strcmp(mode, "intnet") == 0 ? "internal" : mode);
        read_mac(numbered(p, "macaddress", n), nic->mac);
        for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++) {
            const char *source = strcmp(sources[i][0], mode) == 0 ? numbered(p, sources[i][1], n) : NULL;
            if (source && *source)
                nic->source = vmc_strdup(source);
        }
    }
    /* A NIC's forwards follow its own line, and are numbered anew for each. */
    vboxmanage_nic *last = NULL;
    for (size_t i = 0; i < p->count; i++) {
        unsigned n = 0;
        char rest = 0;
        if (sscanf(p->items[i].key, "nic%u%c", &n, &rest) == 1) {
            last = NULL;
            for (size_t k = 0; k < m->nic_count; k++)
                if (m->nics[k].slot + 1 == n)
                    last = &m->nics[k];
        } else if (last && vmc_starts_with(p->items[i].key, "Forwarding(")) {
            read_forward(last, p->items[i].value);
        }
    }
}

/* --- the rest ------------------------------------------------------------------------------------------------------------- */

void vboxmanage_read_serial(vboxmanage_machine *m, const vboxmanage_properties *p) {
    static const struct {
        const char *word, *mode;
        bool server;
    } modes[] = {{"file", "RawFile", false},
                 {"server", "HostPipe", true},
                 {"client", "HostPipe", false},
                 {"tcpserver", "TCP", true},
                 {"tcpclient", "TCP", false}};
    const char *value = vboxmanage_property_get(p, "uartmode1");
    size_t length = value ? strcspn(value, ",") : 0;
    for (size_t i = 0; value && value[length] && i < sizeof modes / sizeof modes[0]; i++) {
        if (strlen(modes[i].word) != length || strncmp(modes[i].word, value, length) != 0)
            continue;
        free(m->serial_mode);
        free(m->serial_path);
        m->serial_mode = vmc_strdup(modes[i].mode);
        m->serial_path = vmc_strdup(value + length + 1);
        m->serial_server = modes[i].server;
    }
}

static void read_shares(vboxmanage_machine *m, const vboxmanage_properties *p) {
    for (unsigned n = 1; n <= MOST_SHARES; n++) {
        const char *name = numbered(p, "SharedFolderNameMachineMapping", n);
        const char *path = numbered(p, "SharedFolderPathMachineMapping", n);
        if (!name || !path)
            return;
        m->shares = more(m->shares, m->share_count, sizeof *m->shares);
        m->shares[m->share_count++] =
            (vboxmanage_share){.name = vmc_strdup(name), .path = vmc_strdup(path), .writable = true};
    }
}

static void read_usb(vboxmanage_machine *m, const vboxmanage_properties *p) {
    static const char *const controllers[] = {"usb", "ehci", "xhci"};
    for (size_t i = 0; i < sizeof controllers / sizeof controllers[0]; i++)
        m->usb = m->usb || is_on(vboxmanage_property_get(p, controllers[i]));
    for (unsigned n = 1; numbered(p, "USBFilterActive", n); n++) {
        m->usb_filters = more(m->usb_filters, m->usb_filter_count, sizeof *m->usb_filters);
        vboxmanage_usb_filter *to = &m->usb_filters[m->usb_filter_count++];
        for (size_t k = 0; k < VBOXMANAGE_USB_KEYS; k++) {
            VMC_AUTO_FREE char *key =
                vmc_printf("USBFilter%s", vboxmanage_usb_keys[k].property ? vboxmanage_usb_keys[k].property : "");
            const char *value = vboxmanage_usb_keys[k].property ? numbered(p, key, n) : NULL;
            bool on = is_on(value) || vmc_str_eq(value, "1") || vmc_str_eq(value, "yes");
            if (value && *value)
                to->values[k] = vmc_strdup(!vboxmanage_usb_keys[k].truth ? value : on ? "yes" : "no");
        }
    }
}

static void read_boot(vboxmanage_machine *m, const vboxmanage_properties *p) {
    static const char *const kinds[][2] = {
        {"disk", "HardDisk"}, {"dvd", "DVD"}, {"net", "Network"}, {"floppy", "Floppy"}};
    for (unsigned n = 0; n < 4; n++) {
        const char *word = numbered(p, "boot", n + 1);
        const char *kind = "None";
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
            if (vmc_str_eq(word, kinds[i][0]))
                kind = kinds[i][1];
        m->boot[n] = vmc_strdup(kind);
    }
}

vboxmanage_machine *vboxmanage_machine_described(const char *text) {
    VBOXMANAGE_AUTO_PROPERTIES p = {0};
    vboxmanage_parse_properties(text, &p);
    const char *name = vboxmanage_property_get(&p, "name");
    const char *id = vboxmanage_property_get(&p, "UUID");
    const char *settings = vboxmanage_property_get(&p, "CfgFile");
    if (!name || !id || !settings || !vboxmanage_is_uuid(id, false))
        return NULL;
    vboxmanage_machine *m = vmc_alloc(sizeof *m);
    const char *state = vboxmanage_property_get(&p, "VMState");
    const char *address = vboxmanage_property_get(&p, "vrdeaddress");
    const char *ports = vboxmanage_property_get(&p, "vrdeports");
    const char *slash = strrchr(settings, '/');
    snprintf(m->id, sizeof m->id, "%s", id);
    m->name = vmc_strdup(name);
    m->folder = slash ? vmc_strndup(settings, (size_t)(slash - settings)) : vmc_strdup("/");
    m->os_type = vmc_strdup(vboxmanage_property_get(&p, "ostype"));
    m->description = vmc_strdup(vboxmanage_property_get(&p, "description"));
    m->memory_mib = number(vboxmanage_property_get(&p, "memory"));
    m->cpus = number(vboxmanage_property_get(&p, "cpus"));
    m->monitors = number(vboxmanage_property_get(&p, "monitorcount"));
    m->chipset = lower(vboxmanage_property_get(&p, "chipset"));
    m->firmware = lower(vboxmanage_property_get(&p, "firmware"));
    m->graphics = lower(vboxmanage_property_get(&p, "graphicscontroller"));
    m->accelerate_3d = is_on(vboxmanage_property_get(&p, "accelerate3d"));
    m->autostart = is_on(vboxmanage_property_get(&p, "autostart-enabled"));
    m->vrde = is_on(vboxmanage_property_get(&p, "vrde"));
    m->vrde_address = address && *address ? vmc_strdup(address) : NULL;
    m->vrde_ports = vmc_strdup(ports);
    m->aborted = vmc_str_eq(state, "aborted") || vmc_str_eq(state, "aborted-saved");
    if (vmc_str_eq(state, "saved") || vmc_str_eq(state, "aborted-saved"))
        m->state_file = vmc_strdup(settings); /* where it is, is not told; that it is, is */
    read_boot(m, &p);
    read_storage(m, &p);
    read_nics(m, &p);
    vboxmanage_read_serial(m, &p);
    read_shares(m, &p);
    read_usb(m, &p);
    return m;
}

/* --- all VMs --------------------------------------------------------------------------------------------------------------- */

void vboxmanage_registry_described(const char *text, vboxmanage_registry *out) {
    VBOXMANAGE_AUTO_PROPERTIES found = {0};
    vboxmanage_parse_settings_files(text, &found);
    for (size_t i = 0; i < found.count; i++) {
        out->entries = more(out->entries, out->count, sizeof *out->entries);
        vboxmanage_entry *to = &out->entries[out->count++];
        snprintf(to->id, sizeof to->id, "%s", found.items[i].key);
        to->settings = vmc_strdup(found.items[i].value);
    }
    out->shared = vmc_alloc(sizeof *out->shared);
}
