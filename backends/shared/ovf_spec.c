/* backends/shared/ovf_spec.c - an OVF descriptor as a vm.yaml and back. */
#include "ovf_spec.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void json_free(cJSON **json) {
    cJSON_Delete(*json);
}
#define AUTO_JSON vmc_cleanup(json_free) cJSON

/* --- the guest: CIM_OperatingSystem.OSType, or the makers' own words ------------------------------------------------ */

enum { CIM_OTHER_64 = 102, CIM_LINUX_64 = 101, CIM_WINDOWS_SERVER_2008_R2 = 103 };

static bool has_word(const char *text, const char *const *words) {
    for (; text && *words; words++)
        if (strcasestr(text, *words))
            return true;
    return false;
}

static const char *guest_of(const ovf *from) {
    static const char *const windows[] = {"windows", "win9", "winNet", "winXP", "winVista",
                                          "win7",    "win8", "win10",  "win11", NULL};
    static const char *const linux_words[] = {"linux", "debian", "ubuntu", "fedora", "redhat", "rhel", "centos", "suse",
                                              "sles",  "oracle", "alma",   "rocky",  "gentoo", "arch", "photon", NULL};
    unsigned id = from->os_id;
    if (has_word(from->os_text, linux_words))
        return "linux";
    if (has_word(from->os_text, windows))
        return "windows";
    if (id == 36 || (id >= 79 && id <= 101 && id != 81) || (id >= 106 && id <= 109))
        return "linux";
    if ((id >= 15 && id <= 18) || id == 58 || id == 63 || (id >= 67 && id <= 77) || id == 103 || id == 105 ||
        (id >= 111 && id <= 115))
        return "windows";
    return "other";
}

/* --- reading --------------------------------------------------------------------------------------------------------- */

typedef struct to_spec {
    const ovf *from;
    const char *const *paths;
    const vmc_deadline *deadline;
    const char *guest, *name;
    cJSON *disks, *networks;
    bool ide;
    unsigned count;
    bool *taken; /* per disk of the descriptor */
} to_spec;

static char *fit_name(const char *text, const vmc_deadline *deadline) {
    VMC_AUTO_STR name = {0};
    bool changed = false;
    for (const unsigned char *c = (const unsigned char *)(text ? text : ""); *c && name.length < 60; c++) {
        bool fine = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                    (name.length && strchr("-_.", *c));
        if (fine)
            vmc_str_add_char(&name, (char)*c);
        else if (name.length && name.text[name.length - 1] != '-')
            vmc_str_add_char(&name, '-');
        changed = changed || !fine;
    }
    while (name.length && name.text[name.length - 1] == '-')
        name.text[--name.length] = '\0';
    if (!name.length)
        vmc_str_add(&name, "imported");
    if (changed)
        vmc_note(deadline, VMCTL_NOTE_INFO, "its name \"%.80s\" becomes %s", text, name.text);
    return vmc_str_take(&name);
}

static const ovf_item *item_of(const ovf *from, const char *instance) {
    for (size_t i = 0; instance && i < from->item_count; i++)
        if (vmc_str_eq(from->items[i].instance, instance))
            return &from->items[i];
    return NULL;
}

static const char *bus_of(to_spec *t, const ovf_item *item, const char *name) {
    const ovf_item *controller = item_of(t->from, item->parent);
    unsigned type = controller ? controller->type : 0;
    const char *kind = controller && controller->subtype ? controller->subtype : "";
    bool windows = strcmp(t->guest, "windows") == 0;
    if (type == OVF_IDE && !t->from->efi) {
        t->ide = true;
        return "ide";
    }
    if (type == OVF_SCSI && !windows)
        return "scsi";
    bool plain = type == OVF_SATA && !strcasestr(kind, "nvme");
    if (controller && !plain)
        vmc_note(t->deadline, VMCTL_NOTE_INFO, "disk %s was on %s%s%s; here it is a SATA disk", name,
                 type == OVF_IDE    ? "IDE"
                 : type == OVF_SCSI ? "SCSI "
                                    : "",
                 type == OVF_IDE ? "" : kind, type == OVF_SCSI ? ", whose driver for QEMU Windows does not have" : "");
    return "sata";
}

static int add_disk(to_spec *t, const ovf_item *item, vmctl_error **err) {
    size_t index = (size_t)(item->disk - t->from->disks);
    if (t->taken[index])
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "the descriptor gives the disk %s to two devices", item->disk->id);
    t->taken[index] = true;
    VMC_AUTO_FREE char *name = t->count ? vmc_printf("disk%u", t->count) : vmc_strdup("root");
    t->count++;
    cJSON *disk = cJSON_CreateObject();
    cJSON_AddItemToArray(t->disks, disk);
    cJSON_AddStringToObject(disk, "name", name);
    if (item->disk->file) {
        if (!t->paths[index])
            return vmc_error(err, VMCTL_E_INTERNAL, "%s was not unpacked", item->disk->file);
        cJSON_AddStringToObject(disk, "image", t->paths[index]);
    }
    VMC_AUTO_FREE char *size = item->disk->bytes ? vmc_format_size((long long)item->disk->bytes) : NULL;
    if (size && !item->disk->file)
        cJSON_AddStringToObject(disk, "size", size);
    cJSON_AddStringToObject(disk, "bus", bus_of(t, item, name));
    return 0;
}

static void add_drive(to_spec *t, const ovf_item *item, unsigned number) {
    VMC_AUTO_FREE char *name = vmc_printf("cdrom%u", number);
    cJSON *drive = cJSON_CreateObject();
    cJSON_AddItemToArray(t->disks, drive);
    cJSON_AddStringToObject(drive, "name", name);
    cJSON_AddStringToObject(drive, "cdrom", "");
    if (item->resource && strstr(item->resource, "/file/"))
        vmc_note(t->deadline, VMCTL_NOTE_WARNING, "the medium in %s is left out; the drive is empty", name);
}

static const struct {
    const char *ovf, *spec;
} models[] = {
    {"E1000", "e1000"}, {"E1000e", "e1000e"}, {"VmxNet3", "vmxnet3"}, {"PCNet32", "pcnet"}, {"virtio", "virtio"}};

static void add_nic(to_spec *t, const ovf_item *item, unsigned number) {
    VMC_AUTO_FREE char *name = vmc_printf("net%u", number);
    cJSON *nic = cJSON_CreateObject();
    cJSON_AddItemToArray(t->networks, nic);
    cJSON_AddStringToObject(nic, "name", name);
    cJSON_AddStringToObject(nic, "type", "nat");
    bool known = false;
    for (size_t i = 0; !known && i < sizeof models / sizeof models[0]; i++)
        if (item->subtype && strcasecmp(item->subtype, models[i].ovf) == 0) {
            cJSON_AddStringToObject(nic, "model", models[i].spec);
            known = true;
        }
    if (!known && item->subtype)
        vmc_note(t->deadline, VMCTL_NOTE_INFO, "NIC %s was a %s, which is not known here; it is of the usual kind",
                 name, item->subtype);
    if (item->connection && strcasecmp(item->connection, "NAT") != 0)
        vmc_note(t->deadline, VMCTL_NOTE_WARNING,
                 "NIC %s was on the network \"%.80s\"; here it is on nat (another: vmctl set %s nic.%s.type=bridge "
                 "nic.%s.source=BRIDGE)",
                 name, item->connection, t->name, name, name);
}

/* By controller, then by place on it: the first disk is the one that boots. */
static int by_place(const void *a_, const void *b_) {
    const ovf_item *a = *(const ovf_item *const *)a_, *b = *(const ovf_item *const *)b_;
    if (vmc_str_eq(a->parent, b->parent) && a->place != b->place)
        return a->place < b->place ? -1 : 1;
    return a < b ? -1 : a > b;
}

static void tell_left_out(const to_spec *t) {
    static const struct {
        unsigned type;
        const char *words;
    } kinds[] = {
        {OVF_FLOPPY, "a floppy drive"}, {OVF_SOUND, "a sound card"}, {21, "a serial port"}, {22, "a parallel port"}};
    VMC_AUTO_STRV all = {0};
    for (size_t i = 0; i < t->from->left_out.count; i++)
        vmc_strv_add(&all, t->from->left_out.items[i]);
    for (size_t i = 0; i < t->from->item_count; i++)
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            if (t->from->items[i].type == kinds[k].type && !vmc_strv_has(&all, kinds[k].words))
                vmc_strv_add(&all, kinds[k].words);
    for (size_t i = 0; i < t->from->disk_count; i++)
        if (!t->taken[i])
            vmc_strv_printf(&all, "disk %s, which no device has", t->from->disks[i].id);
    if (!all.count)
        return;
    VMC_AUTO_FREE char *text = vmc_strv_join(&all, "; ");
    vmc_note(t->deadline, VMCTL_NOTE_WARNING, "left out of the OVA: %s", text);
}

static int add_devices(to_spec *t, vmctl_error **err) {
    const ovf *from = t->from;
    VMC_AUTO_FREE const ovf_item **disks = vmc_alloc((from->item_count + 1) * sizeof(void *));
    size_t count = 0;
    unsigned drives = 0, nics = 0;
    int code = 0;
    for (size_t i = 0; i < from->item_count; i++)
        if (from->items[i].disk && (from->items[i].type == OVF_DISK || from->items[i].type == OVF_STORAGE))
            disks[count++] = &from->items[i];
    qsort(disks, count, sizeof(void *), by_place);
    for (size_t i = 0; code == 0 && i < count; i++)
        code = add_disk(t, disks[i], err);
    for (size_t i = 0; code == 0 && i < from->item_count; i++) {
        const ovf_item *item = &from->items[i];
        if (item->type == OVF_CDROM || item->type == OVF_DVD)
            add_drive(t, item, drives++);
        else if (item->type == OVF_NIC)
            add_nic(t, item, nics++);
    }
    return code;
}

static int load(const cJSON *json, vmctl_spec **out, vmctl_error **err) {
    VMC_AUTO_FREE char *text = cJSON_Print(json);
    if (!text)
        return vmc_error_no_memory(err);
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "(the OVA)";
    options.base_dir = "/";
    vmctl_spec **specs = NULL;
    size_t count = 0;
    int code = vmctl_spec_load(text, strlen(text), &options, &specs, &count, err);
    if (code < 0)
        return code;
    *out = vmctl_spec_copy(specs[0]);
    vmctl_spec_list_free(specs);
    return *out ? 0 : vmc_error_no_memory(err);
}

static int add_size(const ovf *from, cJSON *root, vmctl_error **err) {
    uint64_t memory = 0, cpus = 0;
    for (size_t i = 0; i < from->item_count; i++) {
        memory += from->items[i].type == OVF_MEMORY ? from->items[i].amount : 0;
        cpus += from->items[i].type == OVF_CPU ? from->items[i].amount : 0;
    }
    if (memory < 1 << 20)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the OVF descriptor does not say how much memory the VM has");
    VMC_AUTO_FREE char *text = vmc_printf("%lluMiB", (unsigned long long)(memory >> 20));
    cJSON_AddStringToObject(root, "memory", text);
    cJSON_AddNumberToObject(root, "cpus", cpus ? (double)cpus : 1);
    return 0;
}

int vmc_ovf_to_spec(const ovf *from, const char *const *paths, const char *name, const vmc_deadline *deadline,
                    vmctl_spec **out, vmctl_error **err) {
    VMC_AUTO_FREE char *own = name ? NULL : fit_name(from->name, deadline);
    VMC_AUTO_FREE bool *taken = vmc_alloc((from->disk_count + 1) * sizeof *taken);
    AUTO_JSON *root = cJSON_CreateObject();
    to_spec t = {.from = from,
                 .paths = paths,
                 .deadline = deadline,
                 .guest = guest_of(from),
                 .name = name ? name : own,
                 .taken = taken};
    cJSON_AddStringToObject(root, "name", name ? name : own);
    cJSON_AddStringToObject(root, "guest", t.guest);
    if (from->description && *from->description)
        cJSON_AddStringToObject(root, "description", from->description);
    if (from->efi && from->secure_boot) {
        cJSON *firmware = cJSON_AddObjectToObject(root, "firmware");
        cJSON_AddStringToObject(firmware, "type", "uefi");
        cJSON_AddTrueToObject(firmware, "secureBoot");
    } else {
        cJSON_AddStringToObject(root, "firmware", from->efi ? "uefi" : "bios");
    }
    t.disks = cJSON_AddArrayToObject(root, "disks");
    t.networks = cJSON_AddArrayToObject(root, "networks");
    int code = add_size(from, root, err);
    if (code == 0)
        code = add_devices(&t, err);
    if (code < 0)
        return code;
    if (t.ide)
        cJSON_AddStringToObject(root, "machine", "pc");
    if (cJSON_GetArraySize(t.disks) == 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the OVF descriptor has no disk");
    tell_left_out(&t);
    return load(root, out, err);
}

/* --- writing --------------------------------------------------------------------------------------------------------- */

typedef struct of_spec {
    ovf *out;
    const vmc_deadline *deadline;
    bool windows;
    unsigned instance;
    char *controller[3]; /* InstanceID of the IDE, SCSI and SATA controller; NULL: not yet */
    unsigned places[3];
} of_spec;

static ovf_item *add(of_spec *o, unsigned type, const char *name) {
    o->out->items = vmc_realloc(o->out->items, o->out->item_count + 1, sizeof *o->out->items);
    ovf_item *item = &o->out->items[o->out->item_count++];
    *item = (ovf_item){.type = type, .name = vmc_strdup(name), .instance = vmc_printf("%u", ++o->instance)};
    return item;
}

static size_t controller(of_spec *o, const char *bus) {
    static const struct {
        unsigned type;
        const char *name, *subtype;
    } kinds[] = {{OVF_IDE, "IDE controller 0", "PIIX4"},
                 {OVF_SCSI, "SCSI controller 0", "lsilogic"},
                 {OVF_SATA, "SATA controller 0", "vmware.sata.ahci"}};
    size_t which = vmc_str_eq(bus, "ide") ? 0 : vmc_str_eq(bus, "scsi") ? 1 : 2;
    if (!o->controller[which]) {
        ovf_item *item = add(o, kinds[which].type, kinds[which].name);
        item->subtype = vmc_strdup(kinds[which].subtype);
        o->controller[which] = vmc_strdup(item->instance);
    }
    return which;
}

static void add_spec_disk(of_spec *o, const vmctl_node *node, size_t number) {
    const char *name = vmctl_node_string(node, "name", "disk"), *bus = vmctl_node_string(node, "bus", "virtio");
    bool drive = vmctl_node_get(node, "cdrom") != NULL;
    if (!number && !drive)
        return;
    /* LSI Logic is what every reader of OVAs has, and every Linux a driver for; Windows has none since, but for SATA. */
    bool common = strcmp(bus, "ide") == 0 || strcmp(bus, "scsi") == 0 || strcmp(bus, "sata") == 0;
    const char *instead = o->windows ? "sata" : "scsi";
    if (!drive && !common)
        vmc_note(o->deadline, VMCTL_NOTE_INFO, "disk %s is on %s, which not every hypervisor has; the OVA says %s",
                 name, bus, o->windows ? "SATA" : "SCSI");
    size_t which = controller(o, drive ? "ide" : common ? bus : instead);
    unsigned place = o->places[which]++;
    if (which == 1 && place >= 7) /* SCSI: 7 is the controller itself */
        place++;
    ovf_item *item = add(o, drive ? OVF_CDROM : OVF_DISK, name);
    item->parent = vmc_strdup(o->controller[which]);
    item->place = place;
    if (!drive)
        item->resource = vmc_printf("ovf:/disk/vmdisk%zu", number);
    else if (*vmctl_node_string(node, "cdrom", ""))
        vmc_note(o->deadline, VMCTL_NOTE_INFO, "the medium in drive %s is not in the OVA", name);
}

static void add_spec_nic(of_spec *o, const vmctl_node *node, unsigned number) {
    const char *name = vmctl_node_string(node, "name", "net"), *type = vmctl_node_string(node, "type", "nat");
    const char *model = vmctl_node_string(node, "model", "virtio"), *subtype = NULL;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++)
        if (strcmp(model, models[i].spec) == 0 && strcmp(model, "virtio") != 0)
            subtype = models[i].ovf;
    if (!subtype)
        vmc_note(o->deadline, VMCTL_NOTE_INFO,
                 "NIC %s is of the kind %s, which not every hypervisor has; the OVA says E1000", name, model);
    ovf_item *item = add(o, OVF_NIC, name);
    item->subtype = vmc_strdup(subtype ? subtype : "E1000");
    item->place = 7 + number; /* as VMware counts them */
    const char *source = vmctl_node_string(node, "source", "default");
    bool named = strcmp(type, "network") == 0 && strcmp(source, "default") != 0;
    item->connection = vmc_strdup(strcmp(type, "bridge") == 0 ? "Bridged" : named ? source : "NAT");
    if (vmctl_node_count(vmctl_node_get(node, "forward")))
        vmc_note(o->deadline, VMCTL_NOTE_INFO, "the port forwards of NIC %s are not in the OVA", name);
}

static void tell_not_said(const of_spec *o, const vmctl_node *root) {
    static const struct {
        const char *key, *words;
    } keys[] = {{"gpus", "GPUs"},
                {"shares", "shared folders"},
                {"boot.kernel", "the kernel that it boots from outside its disks"},
                {"cloudInit", "cloud-init's seed"},
                {"firmware.tpm", "the TPM"},
                {"watchdog", "the watchdog"}};
    VMC_AUTO_STRV left = {0};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const vmctl_node *node = vmctl_node_get(root, keys[i].key);
        bool list = vmctl_node_kind(node) == VMCTL_KIND_LIST || vmctl_node_kind(node) == VMCTL_KIND_MAP;
        bool off = (vmctl_node_kind(node) == VMCTL_KIND_BOOLEAN && !vmctl_node_boolean(node, NULL, false)) ||
                   strcmp(vmctl_node_string(node, NULL, ""), "none") == 0;
        if (node && !off && (!list || vmctl_node_count(node)))
            vmc_strv_add(&left, keys[i].words);
    }
    if (!left.count)
        return;
    VMC_AUTO_FREE char *text = vmc_strv_join(&left, ", ");
    vmc_note(o->deadline, VMCTL_NOTE_WARNING, "not in the OVA: %s", text);
}

int vmc_ovf_of_spec(const vmctl_spec *spec, const size_t *numbers, const vmc_deadline *deadline, ovf *out,
                    vmctl_error **err) {
    const vmctl_node *root = vmctl_spec_root(spec);
    const vmctl_node *disks = vmctl_node_get(root, "disks"), *networks = vmctl_node_get(root, "networks");
    const char *guest = vmctl_node_string(root, "guest", "linux");
    int64_t memory = vmctl_node_integer(root, "memory.size", vmctl_node_integer(root, "memory", 0));
    const char *firmware = vmctl_node_string(root, "firmware.type", vmctl_node_string(root, "firmware", "bios"));
    bool windows = strcmp(guest, "windows") == 0, linux_guest = strcmp(guest, "linux") == 0;
    *out = (ovf){.name = vmc_strdup(vmctl_spec_name(spec)),
                 .description = vmc_strdup(vmctl_node_string(root, "description", NULL)),
                 .os_id = linux_guest ? CIM_LINUX_64
                          : windows   ? CIM_WINDOWS_SERVER_2008_R2
                                      : CIM_OTHER_64,
                 .os_text = vmc_strdup(linux_guest ? "otherLinux64Guest"
                                       : windows   ? "windows9_64Guest"
                                                   : "otherGuest64"),
                 .efi = strcmp(firmware, "uefi") == 0,
                 .secure_boot = vmctl_node_boolean(root, "firmware.secureBoot", false)};
    const char *arch = vmctl_node_string(root, "arch", "x86_64");
    if (strcmp(arch, "x86_64") != 0 && strcmp(arch, "i686") != 0)
        return vmc_error(err, VMCTL_E_UNSUPPORTED,
                         "an OVF descriptor says nothing of the architecture, and readers take it for x86: %s is not",
                         arch);
    if (memory <= 0)
        return vmc_error(err, VMCTL_E_INTERNAL, "the memory of %s is not known", out->name);
    of_spec o = {.out = out, .deadline = deadline, .windows = windows};
    add(&o, OVF_CPU, "CPUs")->amount =
        (uint64_t)vmctl_node_integer(root, "cpus.count", vmctl_node_integer(root, "cpus", 1));
    add(&o, OVF_MEMORY, "Memory")->amount = (uint64_t)memory;
    for (size_t i = 0; i < vmctl_node_count(disks); i++)
        add_spec_disk(&o, vmctl_node_at(disks, i), numbers[i]);
    for (size_t i = 0; i < vmctl_node_count(networks); i++)
        add_spec_nic(&o, vmctl_node_at(networks, i), (unsigned)i);
    tell_not_said(&o, root);
    for (size_t i = 0; i < 3; i++)
        free(o.controller[i]);
    return 0;
}
