/* drivers/ova/ovf_read.c - reading a descriptor. */
#include "ovf.h"
#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/tree.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_ITEMS = 1000 };

void ovf_free(ovf *descriptor) {
    for (size_t i = 0; i < descriptor->item_count; i++) {
        ovf_item *item = &descriptor->items[i];
        free(item->subtype);
        free(item->name);
        free(item->instance);
        free(item->parent);
        free(item->resource);
        free(item->connection);
    }
    for (size_t i = 0; i < descriptor->disk_count; i++) {
        free(descriptor->disks[i].id);
        free(descriptor->disks[i].file);
    }
    free(descriptor->items);
    free(descriptor->disks);
    free(descriptor->name);
    free(descriptor->description);
    free(descriptor->os_text);
    vmc_strv_free(&descriptor->left_out);
    *descriptor = (ovf){0};
}

/* --- the tree: names are compared without their prefix, which each maker chooses ------------------------------- */

static bool is(const xmlNode *node, const char *name) {
    return node->type == XML_ELEMENT_NODE && strcmp((const char *)node->name, name) == 0;
}

static const xmlNode *child(const xmlNode *parent, const char *name) {
    for (const xmlNode *node = parent ? parent->children : NULL; node; node = node->next)
        if (is(node, name))
            return node;
    return NULL;
}

static const xmlNode *next(const xmlNode *node, const char *name) {
    for (node = node->next; node; node = node->next)
        if (is(node, name))
            return node;
    return NULL;
}

/* NOLINTBEGIN(bugprone-macro-parentheses): a declared name cannot be in parentheses */
#define EACH(node, parent, name) for (const xmlNode *node = child(parent, name); node; node = next(node, name))
/* NOLINTEND(bugprone-macro-parentheses) */

static const char *attribute(const xmlNode *node, const char *name) {
    for (const xmlAttr *a = node ? node->properties : NULL; a; a = a->next)
        if (strcmp((const char *)a->name, name) == 0)
            return a->children && a->children->content ? (const char *)a->children->content : "";
    return NULL;
}

static char *text_of(const xmlNode *node) {
    if (!node)
        return NULL;
    xmlChar *content = xmlNodeGetContent(node);
    const char *begin = content ? (const char *)content : "";
    begin += strspn(begin, " \t\r\n");
    size_t length = strlen(begin);
    while (length && isspace((unsigned char)begin[length - 1]))
        length--;
    char *text = vmc_strndup(begin, length);
    xmlFree(content);
    return text;
}

static bool number(const char *text, uint64_t *out) {
    if (!text || !isdigit((unsigned char)*text))
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    *out = value;
    return errno == 0 && end[strspn(end, " \t\r\n")] == '\0';
}

/* "byte * 2^30", "MegaBytes", "byte": the factor; 0: not known. */
static uint64_t unit(const char *text) {
    static const struct {
        const char *word;
        unsigned shift;
    } words[] = {{"byte", 0}, {"bytes", 0},      {"kilobytes", 10}, {"kb", 10},       {"megabytes", 20},
                 {"mb", 20},  {"gigabytes", 30}, {"gb", 30},        {"terabytes", 40}};
    if (!text || !*text)
        return 1;
    const char *power = strstr(text, "2^");
    uint64_t shift = 0;
    if (power && strncasecmp(text, "byte", 4) == 0)
        return number(power + 2, &shift) && shift < 63 ? (uint64_t)1 << shift : 0;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasecmp(text, words[i].word) == 0)
            return (uint64_t)1 << words[i].shift;
    return 0;
}

static int bad(vmctl_error **err, const char *what, const char *value) {
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the OVF descriptor has %s \"%.80s\"", what, value ? value : "");
}

static int amount(const char *value, const char *units, const char *what, uint64_t *out, vmctl_error **err) {
    uint64_t factor = unit(units);
    if (!number(value, out))
        return bad(err, what, value);
    if (factor == 0 || *out > (uint64_t)INT64_MAX / factor)
        return bad(err, "the unit", units);
    *out *= factor;
    return 0;
}

/* --- files and disks ------------------------------------------------------------------------------------------- */

static const xmlNode *file_of(const xmlNode *envelope, const char *id) {
    EACH(file, child(envelope, "References"), "File") {
        if (vmc_str_eq(attribute(file, "id"), id))
            return file;
    }
    return NULL;
}

static int read_file(const xmlNode *envelope, const char *reference, ovf_disk *disk, vmctl_error **err) {
    const xmlNode *file = file_of(envelope, reference);
    const char *href = attribute(file, "href"), *compression = attribute(file, "compression");
    if (!file || !href || !*href)
        return bad(err, "a disk in a file that it does not list:", reference);
    if (strstr(href, "://") || strchr(href, '/') || strchr(href, '\\') || strcmp(href, "..") == 0)
        return bad(err, "a disk outside the OVA:", href);
    if (compression && *compression && strcasecmp(compression, "identity") != 0) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is compressed as a whole (%.40s)", href, compression);
        return vmc_error_next(err, "unpack the OVA, %s the disk and make a VM of it (vmctl create --image)",
                              strcasecmp(compression, "gzip") == 0 ? "gunzip" : "decompress");
    }
    if (attribute(file, "chunkSize"))
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is cut into pieces, which is not read", href);
    disk->file = vmc_strdup(href);
    return 0;
}

static int read_disks(const xmlNode *envelope, ovf *out, vmctl_error **err) {
    EACH(node, child(envelope, "DiskSection"), "Disk") {
        const char *id = attribute(node, "diskId"), *file = attribute(node, "fileRef");
        if (!id || !*id)
            return bad(err, "a disk without an id", NULL);
        if (attribute(node, "parentRef"))
            return vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %.80s holds only what differs from another one", id);
        for (size_t i = 0; i < out->disk_count; i++)
            if (strcmp(out->disks[i].id, id) == 0)
                return bad(err, "two disks of the id", id);
        if (out->disk_count >= MOST_ITEMS)
            return bad(err, "too many disks", NULL);
        out->disks = vmc_realloc(out->disks, out->disk_count + 1, sizeof *out->disks);
        ovf_disk *disk = &out->disks[out->disk_count++];
        *disk = (ovf_disk){.id = vmc_strdup(id)};
        int code = file ? read_file(envelope, file, disk, err) : 0;
        if (code == 0)
            code = amount(attribute(node, "capacity"), attribute(node, "capacityAllocationUnits"), "the capacity",
                          &disk->bytes, err);
        if (code < 0)
            return code;
    }
    return 0;
}

/* --- the machine ----------------------------------------------------------------------------------------------- */

static const char *default_configuration(const xmlNode *envelope) {
    const char *first = NULL;
    EACH(one, child(envelope, "DeploymentOptionSection"), "Configuration") {
        const char *id = attribute(one, "id"), *is_default = attribute(one, "default");
        if (is_default && (strcmp(is_default, "true") == 0 || strcmp(is_default, "1") == 0))
            return id;
        first = first ? first : id;
    }
    return first;
}

/* "ovf:/disk/ID" (VirtualBox before 4: "/disk/ID"), "ovf:/file/ID" of an optical drive. */
static int find_disk(const xmlNode *envelope, ovf *out, ovf_item *item, vmctl_error **err) {
    const char *id = item->resource ? strstr(item->resource, "/disk/") : NULL;
    if (!id && item->resource && strstr(item->resource, "/file/") &&
        (item->type == OVF_DISK || item->type == OVF_STORAGE))
        return bad(err, "a disk that is only a file, without a size:", item->resource);
    (void)envelope;
    if (!id)
        return 0;
    for (size_t i = 0; i < out->disk_count; i++)
        if (strcmp(out->disks[i].id, id + strlen("/disk/")) == 0)
            item->disk = &out->disks[i];
    return item->disk ? 0 : bad(err, "no disk for", item->resource);
}

static char *child_text(const xmlNode *node, const char *name) {
    return text_of(child(node, name));
}

static int read_item(const xmlNode *envelope, const xmlNode *node, ovf *out, vmctl_error **err) {
    VMC_AUTO_FREE char *type = child_text(node, "ResourceType");
    VMC_AUTO_FREE char *quantity = child_text(node, "VirtualQuantity");
    VMC_AUTO_FREE char *units = child_text(node, "AllocationUnits");
    VMC_AUTO_FREE char *place = child_text(node, "AddressOnParent");
    uint64_t kind = 0, at = 0;
    if (!number(type, &kind) || kind > UINT16_MAX)
        return bad(err, "an item of the type", type);
    if (out->item_count >= MOST_ITEMS)
        return bad(err, "too many items", NULL);
    out->items = vmc_realloc(out->items, out->item_count + 1, sizeof *out->items);
    ovf_item *item = &out->items[out->item_count++];
    *item = (ovf_item){
        .type = (unsigned)kind,
        .subtype = child_text(node, "ResourceSubType"),
        .name = child_text(node, "ElementName"),
        .instance = child_text(node, "InstanceID"),
        .parent = child_text(node, "Parent"),
        .resource = child_text(node, "HostResource"),
        .connection = child_text(node, "Connection"),
    };
    if (!item->name) /* OVF 0.9, which VirtualBox wrote for long */
        item->name = child_text(node, "Caption");
    if (!item->instance)
        item->instance = child_text(node, "InstanceId");
    if (number(place, &at) && at < UINT16_MAX)
        item->place = (unsigned)at;
    if (item->type == OVF_MEMORY)
        return amount(quantity, units, "the amount of memory", &item->amount, err);
    if (item->type == OVF_CPU && !number(quantity, &item->amount))
        return bad(err, "the number of CPUs", quantity);
    return find_disk(envelope, out, item, err);
}

static int read_hardware(const xmlNode *envelope, const xmlNode *section, ovf *out, vmctl_error **err) {
    static const char *const names[] = {"Item", "StorageItem", "EthernetPortItem"};
    const char *configuration = default_configuration(envelope);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        EACH(item, section, names[i]) {
            const char *only = attribute(item, "configuration");
            if (attribute(item, "bound") || (only && !vmc_str_eq(only, configuration)))
                continue;
            int code = read_item(envelope, item, out, err);
            if (code < 0)
                return code;
        }
    for (const xmlNode *node = section->children; node; node = node->next) {
        const char *key = is(node, "Config") ? attribute(node, "key") : NULL, *value = attribute(node, "value");
        if (vmc_str_eq(key, "firmware"))
            out->efi = vmc_str_eq(value, "efi");
        else if (vmc_str_eq(key, "bootOptions.efiSecureBootEnabled"))
            out->secure_boot = vmc_str_eq(value, "true");
    }
    return 0;
}

/* VirtualBox's own settings of the machine: the firmware is nowhere else. */
static void read_vbox(const xmlNode *machine, ovf *out) {
    const xmlNode *hardware = child(machine, "Hardware");
    const xmlNode *firmware = child(hardware, "Firmware");
    const char *type = attribute(firmware ? firmware : child(child(hardware, "BIOS"), "Firmware"), "type");
    if (type && strncasecmp(type, "EFI", 3) == 0)
        out->efi = true;
}

static void read_system(const xmlNode *section, ovf *out) {
    uint64_t id = 0;
    const char *vmware = attribute(section, "osType");
    for (const xmlAttr *a = section->properties; a; a = a->next) /* ovf:id, not another's */
        if (strcmp((const char *)a->name, "id") == 0 && number(attribute(section, "id"), &id) && id < UINT16_MAX)
            out->os_id = (unsigned)id;
    out->os_text = vmware ? vmc_strdup(vmware) : child_text(section, "OSType");
    if (!out->os_text)
        out->os_text = child_text(section, "Description");
}

static int read_machine(const xmlNode *envelope, const xmlNode *machine, ovf *out, vmctl_error **err) {
    static const struct {
        const char *section, *words;
    } others[] = {{"EulaSection", "a licence that its maker wants read"},
                  {"ProductSection", "properties that its maker's software asks for (OVF environment)"},
                  {"StartupSection", "an order in which VMs start"},
                  {"InstallSection", "an installation at the first start"}};
    out->name = child_text(machine, "Name");
    if (!out->name || !*out->name) {
        free(out->name);
        out->name = vmc_strdup(attribute(machine, "id"));
    }
    out->description = child_text(child(machine, "AnnotationSection"), "Annotation");
    const xmlNode *system = child(machine, "OperatingSystemSection");
    if (system)
        read_system(system, out);
    const xmlNode *hardware = child(machine, "VirtualHardwareSection");
    if (!hardware)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the OVF descriptor has a machine without hardware");
    if (child(machine, "Machine"))
        read_vbox(child(machine, "Machine"), out);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const xmlNode *section = child(machine, others[i].section);
        bool properties = strcmp(others[i].section, "ProductSection") != 0 || child(section, "Property");
        if (section && properties)
            vmc_strv_add(&out->left_out, others[i].words);
    }
    if (child(child(envelope, "DeploymentOptionSection"), "Configuration"))
        vmc_strv_printf(&out->left_out, "other configurations than \"%s\"", default_configuration(envelope));
    return read_hardware(envelope, hardware, out, err);
}

static int read_envelope(const xmlNode *envelope, ovf *out, vmctl_error **err) {
    if (!envelope || !is(envelope, "Envelope"))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the descriptor is no OVF: its element is <%s>, not <Envelope>",
                         envelope ? (const char *)envelope->name : "");
    const xmlNode *machine = child(envelope, "VirtualSystem"), *several = child(envelope, "VirtualSystemCollection");
    if (several || (machine && next(machine, "VirtualSystem"))) {
        size_t count = 0;
        EACH(one, several, "VirtualSystem") count++;
        vmc_error(err, VMCTL_E_UNSUPPORTED, "the OVA holds %zu VMs; import makes one", count ? count : (size_t)2);
        return vmc_error_next(err,
                              "unpack it (tar -xf) and make each VM of its disks: vmctl create NAME --image DISK.vmdk");
    }
    if (!machine)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the OVF descriptor has no virtual machine");
    int code = read_disks(envelope, out, err);
    return code < 0 ? code : read_machine(envelope, machine, out, err);
}

int ovf_read(const char *text, size_t length, ovf *out, vmctl_error **err) {
    *out = (ovf){0};
    if (length > INT_MAX)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the OVF descriptor is too large");
    xmlParserCtxt *parser = xmlNewParserCtxt();
    if (!parser)
        return vmc_error_no_memory(err);
    /* NOENT is not given, so entities are never replaced; a document type is refused, so that there are none. */
    xmlDoc *doc = xmlCtxtReadMemory(parser, text, (int)length, NULL, NULL,
                                    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    int code = VMCTL_E_INVALID_ARGUMENT;
    if (!doc || !parser->wellFormed) {
        const xmlError *last = xmlCtxtGetLastError(parser);
        VMC_AUTO_FREE char *words = vmc_strdup(last && last->message ? last->message : "not well-formed");
        words[strcspn(words, "\n")] = '\0';
        vmc_error(err, code, "the OVF descriptor is damaged, line %d: %s", last ? last->line : 0, words);
    } else if (doc->intSubset || doc->extSubset) {
        vmc_error(err, code, "the OVF descriptor has a document type declaration, which OVF has no use for");
    } else {
        code = read_envelope(xmlDocGetRootElement(doc), out, err);
    }
    xmlFreeDoc(doc);
    xmlFreeParserCtxt(parser);
    if (code < 0)
        ovf_free(out);
    return code;
}
