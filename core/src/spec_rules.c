/* What a key alone cannot tell: required keys, and what keys say about each other. */
#include "spec_internal.h"
#include "spec_value.h"

#include <ctype.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUESS_LIMIT = 100 }; /* names that a misspelt one is compared with */

struct check {
    const vmctl_spec *spec;
    const vmctl_node *root;
    bool incomplete;
    vmc_faults *faults;
};

static bool given(const vmctl_node *node, const char *path) {
    return vmctl_node_get(node, path) != NULL;
}

static const vmctl_node *list_of(const struct check *c, const char *key) {
    return vmc_node_child(c->root, key);
}

/* --- required ----------------------------------------------------------------------------------------------- */

/* Whether something below this key was told already: what is missing then is only a consequence. */
static bool is_told(const struct check *c, const char *path) {
    size_t length = strlen(path);
    for (size_t i = 0; i < c->faults->count; i++) {
        const vmc_fault *fault = &c->faults->items[i];
        if (fault->line >= c->spec->line && fault->path && strncmp(fault->path, path, length) == 0 &&
            strchr(".[", fault->path[length]))
            return true;
    }
    return false;
}

static void require(struct check *c, const char *path, const char *message) {
    VMC_AUTO_FREE char *top = vmc_strndup(path, strcspn(path, "."));
    if (c->incomplete || given(c->root, path) || is_told(c, top))
        return;
    /* `memory: {max: 4GiB}` lacks its size in that line; what is wholly absent lacks in the document's first one */
    VMC_AUTO_FREE char *parent = vmc_strdup(path);
    char *dot = strrchr(parent, '.');
    if (dot)
        *dot = '\0';
    const vmctl_node *near = dot ? vmctl_node_get(c->root, parent) : NULL;
    vmc_faults_add(c->faults, near ? near->line : c->spec->line, near ? near->column : c->root->column, path, "%s",
                   message);
}

static void check_required(struct check *c) {
    require(c, "name", "a VM needs a name");
    if (!given(c->root, "kubevirt.instancetype")) /* which says it */
        require(c, "memory.size", "a VM needs memory, such as memory: 2GiB");
    if (!given(c->root, "boot"))
        require(c, "disks", "a VM needs disks, or boot: to say what it boots from instead");
    if (given(c->root, "backend") && given(c->root, "context"))
        vmc_faults_add_node(c->faults, vmc_node_child(c->root, "context"),
                            "a context names its backend: leave either backend or context out");
}

/* --- numbers ------------------------------------------------------------------------------------------------ */

static void check_cpus(struct check *c) {
    const vmctl_node *cpus = vmc_node_child(c->root, "cpus");
    int64_t count = vmctl_node_integer(cpus, "count", 0), max = vmctl_node_integer(cpus, "max", 0);
    if (count && max && max < count)
        vmc_faults_add_node(c->faults, vmctl_node_get(cpus, "max"), "%lld is less than the count of %lld",
                            (long long)max, (long long)count);
    static const char *const parts[] = {"sockets", "cores", "threads"};
    int64_t product = 1;
    const vmctl_node *first = NULL;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const vmctl_node *part = vmctl_node_get(cpus, parts[i]);
        product *= vmctl_node_integer(part, NULL, 1);
        if (part && !first)
            first = part;
    }
    if (first && (count || max) && product != count && product != max)
        vmc_faults_add_node(c->faults, first, "sockets, cores and threads make %lld CPUs, but %s is %lld",
                            (long long)product, count ? "count" : "max", (long long)(count ? count : max));
}

static void check_memory(struct check *c) {
    const vmctl_node *max = vmctl_node_get(c->root, "memory.max");
    int64_t size = vmctl_node_integer(c->root, "memory.size", 0);
    if (!max || !size || max->value.integer >= size)
        return;
    VMC_AUTO_FREE char *most = vmc_format_size(max->value.integer), *least = vmc_format_size(size);
    vmc_faults_add_node(c->faults, max, "%s is less than the size of %s", most, least);
}

/* --- lists -------------------------------------------------------------------------------------------------- */

struct named {
    const char *name;
    const vmctl_node *item;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static void free_named(void *named) {
    free(named);
}

static void check_name(struct check *c, void **names, const char *name, const vmctl_node *item, const vmctl_node *at,
                       const char *what) {
    struct named *named = vmc_alloc(sizeof *named);
    *named = (struct named){name, item};
    struct named **found = tsearch(named, names, by_name);
    if (*found == named)
        return;
    if ((*found)->item->line)
        vmc_faults_add_node(c->faults, at, "the %s \"%s\" is taken by the one in line %u", what, name,
                            (*found)->item->line);
    else
        vmc_faults_add_node(c->faults, at, "the %s \"%s\" is given twice", what, name);
    free(named);
}

/* Disks and NICs share their names: boot.order and detach mean one of both. */
static void check_names(struct check *c) {
    static const char *const lists[] = {"disks", "networks", "gpus", "shares", "usb"};
    void *names = NULL;
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        const vmctl_node *list = list_of(c, lists[l]);
        if (l > 1) {
            tdestroy(names, free_named);
            names = NULL;
        }
        for (size_t i = 0; i < vmctl_node_count(list); i++) {
            const vmctl_node *item = vmctl_node_at(list, i);
            if (vmc_item_name(item))
                check_name(c, &names, vmc_item_name(item), item, vmc_node_child(item, "name"), "name");
        }
    }
    tdestroy(names, free_named);
}

static void check_disk(struct check *c, const vmctl_node *disk) {
    static const char *const sources[] = {"image", "backing", "volume", "cdrom"};
    const vmctl_node *source = NULL;
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        const vmctl_node *node = vmc_node_child(disk, sources[i]);
        if (node && source)
            vmc_faults_add_node(c->faults, node,
                                "a disk has one of image, backing, volume and cdrom; this one has %s already",
                                source->key);
        else if (node)
            source = node;
    }
    const vmctl_node *size = vmc_node_child(disk, "size");
    VMC_AUTO_FREE char *path = vmc_node_index_path(disk);
    if (!source && !size && !c->incomplete && !is_told(c, path))
        vmc_faults_add_node(c->faults, disk,
                            "a disk needs image, backing, volume or cdrom, or a size to be a blank one");
    if (!source || strcmp(source->key, "cdrom") != 0)
        return;
    static const char *const not_of_drives[] = {"size", "shared", "discard"};
    for (size_t i = 0; i < sizeof not_of_drives / sizeof *not_of_drives; i++) {
        const vmctl_node *node = vmc_node_child(disk, not_of_drives[i]);
        if (node)
            vmc_faults_add_node(c->faults, node, "an optical drive has no %s", node->key);
    }
    if (vmc_str_eq(vmctl_node_string(disk, "bus", NULL), "virtio") ||
        vmc_str_eq(vmctl_node_string(disk, "bus", NULL), "nvme"))
        vmc_faults_add_node(c->faults, vmc_node_child(disk, "bus"), "an optical drive is on sata, scsi, ide or usb");
}

static bool is_one_of(const char *word, const char *const *words) {
    for (; *words; words++) {
        if (vmc_str_eq(word, *words))
            return true;
    }
    return false;
}

static void check_ports(struct check *c, const vmctl_node *forward, void **ports) {
    for (size_t i = 0; i < vmctl_node_count(forward); i++) {
        const vmctl_node *node = vmctl_node_at(forward, i);
        vmc_port port;
        if (!vmc_port_parse(node->value.string, &port))
            continue;
        VMC_AUTO_FREE char *local = vmc_printf("%s:%.*s:%u", port.udp ? "udp" : "tcp", (int)port.address_length,
                                               port.address ? port.address : "", port.local);
        struct named **found = tfind(&(struct named){local, NULL}, ports, by_name);
        if (found) {
            vmc_faults_add_node(c->faults, node, "the local port %u is forwarded twice", port.local);
        } else {
            struct named *named = vmc_alloc(sizeof *named);
            *named = (struct named){vmc_strdup(local), node};
            tsearch(named, ports, by_name);
        }
    }
}

static void free_port(void *named) {
    free((char *)((struct named *)named)->name);
    free(named);
}

static void check_nic(struct check *c, const vmctl_node *nic, void **macs, void **ports) {
    static const char *const need_source[] = {"bridge", "network", "portgroup", "multus", NULL};
    static const char *const forward_ports[] = {"nat", "user", NULL};
    static const char *const without_vlan[] = {"nat", "user", "pod", "natnetwork", NULL};
    const char *type = vmctl_node_string(nic, "type", NULL);
    if (is_one_of(type, need_source) && !*vmctl_node_string(nic, "source", "") && !c->incomplete)
        vmc_faults_add_node(c->faults, vmc_node_child(nic, "type"), "type %s needs a source: which one", type);
    if (!type && given(nic, "source") && !c->incomplete)
        vmc_faults_add_node(c->faults, vmc_node_child(nic, "source"),
                            "a source needs a type: bridge, network, portgroup or multus");
    const vmctl_node *forward = vmc_node_child(nic, "forward");
    if (vmctl_node_count(forward) && type && !is_one_of(type, forward_ports))
        vmc_faults_add_node(c->faults, forward, "ports are forwarded by type nat and user only, not by %s", type);
    const vmctl_node *vlan = vmc_node_child(nic, "vlan");
    if (vlan && type && is_one_of(type, without_vlan))
        vmc_faults_add_node(c->faults, vlan, "type %s has no VLANs", type);
    const vmctl_node *mac = vmc_node_child(nic, "mac");
    if (mac)
        check_name(c, macs, mac->value.string, nic, mac, "address");
    check_ports(c, forward, ports);
}

static void check_nics(struct check *c) {
    void *macs = NULL, *ports = NULL;
    const vmctl_node *networks = list_of(c, "networks");
    for (size_t i = 0; i < vmctl_node_count(networks); i++)
        check_nic(c, vmctl_node_at(networks, i), &macs, &ports);
    tdestroy(macs, free_named);
    tdestroy(ports, free_port);
}

/* Digits of the kind that the pattern's 'x' stands for; every other character as it is. */
static bool fits(const char *text, const char *pattern) {
    for (; *pattern; pattern++, text++) {
        if (*pattern == 'x' ? !isxdigit((unsigned char)*text) : *text != *pattern)
            return false;
    }
    return !*text;
}

static void check_gpu(struct check *c, const vmctl_node *gpu) {
    static const char *const selectors[] = {"pci", "device", "resource", "any"};
    const vmctl_node *selector = NULL;
    for (size_t i = 0; i < sizeof selectors / sizeof *selectors; i++) {
        const vmctl_node *node = vmc_node_child(gpu, selectors[i]);
        if (node && selector)
            vmc_faults_add_node(c->faults, node,
                                "a GPU has one of pci, device, resource and any; this one has %s already",
                                selector->key);
        else if (node)
            selector = node;
    }
    if (!selector && !given(gpu, "profile") && !c->incomplete)
        vmc_faults_add_node(c->faults, gpu, "a GPU needs pci, device, resource, profile or any");
    const vmctl_node *pci = vmc_node_child(gpu, "pci"), *device = vmc_node_child(gpu, "device");
    if (pci && !fits(pci->value.string, "xxxx:xx:xx.x"))
        vmc_faults_add_node(c->faults, pci, "\"%.60s\" is not a PCI address such as 0000:65:00.0", pci->value.string);
    if (device && !fits(device->value.string, "xxxx:xxxx"))
        vmc_faults_add_node(c->faults, device, "\"%.60s\" is not VENDOR:DEVICE such as 10de:20b0",
                            device->value.string);
}

static void check_share(struct check *c, const vmctl_node *share) {
    if (!given(share, "path") && !c->incomplete)
        vmc_faults_add_node(c->faults, share, "a share needs a path: the folder");
}

/* BUS:DEVICE in decimal, as lsusb -s takes it; a bus has at most 127 devices (USB 2.0, 9.1.2). */
static bool is_usb_address(const char *text) {
    unsigned bus = 0, device = 0;
    int length = 0;
    return isdigit((unsigned char)*text) && sscanf(text, "%3u:%3u%n", &bus, &device, &length) == 2 && !text[length] &&
           isdigit((unsigned char)strchr(text, ':')[1]) && bus > 0 && device > 0 && device <= 127;
}

static void check_usb(struct check *c, const vmctl_node *usb) {
    const vmctl_node *device = vmc_node_child(usb, "device"), *address = vmc_node_child(usb, "address");
    if (device && address)
        vmc_faults_add_node(c->faults, address, "a USB device is named by device or by address, not by both");
    if (!device && !address && !c->incomplete)
        vmc_faults_add_node(c->faults, usb, "a USB device needs device or address, as lsusb shows them");
    if (device && !fits(device->value.string, "xxxx:xxxx"))
        vmc_faults_add_node(c->faults, device, "\"%.60s\" is not VENDOR:PRODUCT such as 0781:5583",
                            device->value.string);
    if (address && !is_usb_address(address->value.string))
        vmc_faults_add_node(c->faults, address, "\"%.60s\" is not BUS:DEVICE such as 1:4", address->value.string);
}

static const struct {
    const char *list;
    void (*check)(struct check *c, const vmctl_node *item);
} item_rules[] = {{"disks", check_disk}, {"gpus", check_gpu}, {"shares", check_share}, {"usb", check_usb}};

static void check_items(struct check *c) {
    for (size_t l = 0; l < sizeof item_rules / sizeof *item_rules; l++) {
        const vmctl_node *list = list_of(c, item_rules[l].list);
        for (size_t i = 0; i < vmctl_node_count(list); i++)
            item_rules[l].check(c, vmctl_node_at(list, i));
    }
}

/* --- the rest ------------------------------------------------------------------------------------------------ */

static bool is_device(const struct check *c, const char *name) {
    static const char *const lists[] = {"disks", "networks"};
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        const vmctl_node *list = list_of(c, lists[l]);
        for (size_t i = 0; i < vmctl_node_count(list); i++) {
            if (vmc_str_eq(vmc_item_name(vmctl_node_at(list, i)), name))
                return true;
        }
    }
    return !list_of(c, "networks") && strcmp(name, "net0") == 0; /* the one NIC that every VM gets */
}

static const char *nearest_device(const struct check *c, const char *name) {
    VMC_AUTO_FREE const char **names = NULL;
    size_t count = 0;
    static const char *const lists[] = {"disks", "networks"};
    if (vmctl_node_count(list_of(c, lists[0])) + vmctl_node_count(list_of(c, lists[1])) > GUESS_LIMIT)
        return NULL;
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++) {
        const vmctl_node *list = list_of(c, lists[l]);
        names = vmc_realloc(names, count + vmctl_node_count(list) + 1, sizeof *names);
        for (size_t i = 0; i < vmctl_node_count(list); i++) {
            const char *item = vmc_item_name(vmctl_node_at(list, i));
            if (item)
                names[count++] = item;
        }
    }
    names[count] = NULL;
    return vmc_nearest(name, names);
}

static void check_boot(struct check *c) {
    const vmctl_node *boot = vmc_node_child(c->root, "boot"), *order = vmc_node_child(boot, "order");
    bool all_lists = list_of(c, "disks") && list_of(c, "networks");
    void *names = NULL;
    for (size_t i = 0; i < vmctl_node_count(order) && !c->faults->more; i++) {
        const vmctl_node *node = vmctl_node_at(order, i);
        const char *name = node->value.string;
        check_name(c, &names, name, node, node, "device");
        if (is_device(c, name) || (c->incomplete && !all_lists))
            continue;
        const char *near = nearest_device(c, name);
        if (near)
            vmc_faults_add_node(c->faults, node, "no disk or network card is named \"%s\"; did you mean \"%s\"?", name,
                                near);
        else
            vmc_faults_add_node(c->faults, node, "no disk or network card is named \"%s\"", name);
    }
    tdestroy(names, free_named);
    static const char *const of_kernel[] = {"initrd", "cmdline"};
    for (size_t i = 0; i < sizeof of_kernel / sizeof *of_kernel; i++) {
        const vmctl_node *node = vmc_node_child(boot, of_kernel[i]);
        if (node && !given(boot, "kernel") && !c->incomplete)
            vmc_faults_add_node(c->faults, node, "%s needs a kernel beside it", node->key);
    }
}

static void check_firmware(struct check *c) {
    const vmctl_node *secure = vmctl_node_get(c->root, "firmware.secureBoot");
    const char *type = vmctl_node_string(c->root, "firmware.type", c->incomplete ? "uefi" : "bios");
    if (vmctl_node_boolean(secure, NULL, false) && strcmp(type, "uefi") != 0)
        vmc_faults_add_node(c->faults, secure, "secure boot needs type: uefi");
}

static void check_file_or_inline(struct check *c, const char *path) {
    const vmctl_node *node = vmctl_node_get(c->root, path);
    bool file = given(node, "file"), text = given(node, "inline");
    if (node && file && text)
        vmc_faults_add_node(c->faults, vmc_node_child(node, "inline"), "file and inline exclude each other");
    else if (node && !file && !text && !c->incomplete)
        vmc_faults_add_node(c->faults, node, "%s needs file or inline", node->key);
}

static void check_labels(struct check *c) {
    const vmctl_node *labels = vmc_node_child(c->root, "labels");
    for (size_t i = 0; i < vmctl_node_count(labels); i++) {
        const vmctl_node *label = vmctl_node_at(labels, i);
        if (!*label->key)
            vmc_faults_add_node(c->faults, label, "a label needs a key");
        else if (strpbrk(label->key, "=,\r\n\t "))
            vmc_faults_add_node(c->faults, label, "a label's key has no space, \"=\" or \",\" in it");
    }
}

/* Bytes that a copy takes, roughly. */
static size_t weight(const vmctl_node *node) {
    size_t bytes = sizeof *node + 32;
    if (node->kind == VMCTL_KIND_STRING)
        bytes += strlen(node->value.string);
    for (size_t i = 0; i < vmctl_node_count(node); i++)
        bytes += weight(vmctl_node_at(node, i));
    return bytes;
}

static void check_count(struct check *c) {
    const vmctl_node *count = vmc_node_child(c->root, "count");
    int64_t copies = vmctl_node_integer(count, NULL, 1);
    if (copies <= 1)
        return;
    if (!given(c->root, "name"))
        vmc_faults_add_node(c->faults, count, "a count needs a name to make names of");
    if ((uint64_t)copies * weight(c->root) > 3 * (uint64_t)VMC_SPEC_INPUT_LIMIT)
        vmc_faults_add_node(c->faults, count, "%lld copies of a description of this size are too many",
                            (long long)copies);
    const vmctl_node *networks = list_of(c, "networks");
    for (size_t i = 0; i < vmctl_node_count(networks); i++) {
        const vmctl_node *mac = vmc_node_child(vmctl_node_at(networks, i), "mac");
        if (mac)
            vmc_faults_add_node(c->faults, mac, "%lld VMs cannot have the same address: leave mac out, or count",
                                (long long)copies);
    }
}

static void check_misc(struct check *c) {
    const vmctl_node *log = vmctl_node_get(c->root, "serial.log");
    const char *name = vmctl_node_string(log, NULL, "x");
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        vmc_faults_add_node(c->faults, log, "a file's name in the VM's own folder is meant, without \"/\"");
    const vmctl_node *unattend = vmc_node_child(c->root, "unattend");
    if (unattend && !c->incomplete && strcmp(vmctl_node_string(c->root, "guest", "linux"), "windows") != 0)
        vmc_faults_add_node(c->faults, unattend, "unattend is for guest: windows");
}

void vmc_spec_rules(const vmctl_spec *spec, bool incomplete, vmc_faults *faults) {
    struct check c = {spec, spec->root, incomplete, faults};
    if (spec->native)
        return;
    check_required(&c);
    check_cpus(&c);
    check_memory(&c);
    check_names(&c);
    check_items(&c);
    check_nics(&c);
    check_boot(&c);
    check_firmware(&c);
    check_file_or_inline(&c, "cloudInit.userData");
    check_file_or_inline(&c, "cloudInit.networkData");
    check_labels(&c);
    check_count(&c);
    check_misc(&c);
}

int vmc_node_check_rules(const char *list, const vmctl_node *item, vmctl_error **err) {
    vmc_faults faults = {0};
    const vmctl_spec none = {0};
    struct check c = {&none, item, false, &faults};
    vmctl_node_location(item, &faults.file, NULL, NULL);
    for (size_t l = 0; l < sizeof item_rules / sizeof *item_rules; l++) {
        if (strcmp(list, item_rules[l].list) == 0)
            item_rules[l].check(&c, item);
    }
    if (strcmp(list, "networks") == 0) {
        void *macs = NULL, *ports = NULL;
        check_nic(&c, item, &macs, &ports);
        tdestroy(macs, free_named);
        tdestroy(ports, free_port);
    }
    return vmc_faults_end(&faults, err);
}

int vmctl_spec_validate(const vmctl_spec *spec, vmctl_error **err) {
    vmc_faults faults = {.file = spec->file};
    vmc_spec_rules(spec, false, &faults);
    return vmc_faults_end(&faults, err);
}
