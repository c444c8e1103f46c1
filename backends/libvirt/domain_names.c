/* backends/libvirt/domain_names.c - the names that devices go by: user aliases, and what stands in for one.
 *
 * An alias takes letters, digits, '_' and '-' only (formatdomain.html, "alias"), and sockets are named after it.
 */
#include "domain_model.h"
#include <string.h>

#define ALIAS_PREFIX "ua-"
enum { ALIAS_LONGEST = 40 };

static unsigned sum(const char *text) {
    unsigned hash = 2166136261u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

char *libvirt_alias(const char *name) {
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    VMC_AUTO_STR alias = {0};
    bool exact = strlen(name) <= ALIAS_LONGEST;
    vmc_str_add(&alias, ALIAS_PREFIX);
    for (size_t i = 0; name[i] && i < ALIAS_LONGEST; i++) {
        bool fits = strchr(allowed, name[i]) != NULL;
        vmc_str_add_char(&alias, fits ? name[i] : '_');
        exact = exact && fits;
    }
    if (!exact)
        vmc_str_printf(&alias, "-%08x", sum(name));
    return vmc_str_take(&alias);
}

static const char *alias_of(const xmlNode *device) {
    const char *alias = libvirt_xml_attr_at(device, "alias", "name");
    return alias && vmc_starts_with(alias, ALIAS_PREFIX) && alias[strlen(ALIAS_PREFIX)] ? alias : NULL;
}

static xmlNode *device_note(const xmlNode *domain, const char *alias) {
    LIBVIRT_XML_EACH(note, libvirt_marker_find(domain), "device") {
        if (libvirt_xml_attr_is(note, "alias", alias))
            return note;
    }
    return NULL;
}

void libvirt_name_write(libvirt_build *build, xmlNode *device, const char *name) {
    VMC_AUTO_FREE char *alias = libvirt_alias(name);
    libvirt_xml_set(libvirt_xml_ensure(device, "alias"), "name", alias);
    if (strcmp(alias + strlen(ALIAS_PREFIX), name) == 0 || device_note(build->domain, alias))
        return;
    xmlNode *note = libvirt_xml_add_ns(libvirt_marker_ensure(build), "vmctl", LIBVIRT_VMCTL_NS, "device");
    libvirt_xml_set(note, "alias", alias);
    libvirt_xml_set(note, "name", name);
}

/* Which of its kind with the same stand-in it is: twins of one MAC are told apart by their place. */
static size_t twins_before(const xmlNode *device, const char *path, const char *attr, const char *value) {
    size_t count = 0;
    for (const xmlNode *before = device->prev; before; before = before->prev) {
        if (libvirt_xml_is(before, (const char *)device->name) && !alias_of(before) &&
            vmc_str_eq(libvirt_xml_attr_at(before, path, attr), value))
            count++;
    }
    return count;
}

static char *stand_in(const xmlNode *device, const char *path, const char *attr) {
    const char *value = libvirt_xml_attr_at(device, path, attr);
    if (!value || !*value)
        return NULL;
    size_t before = twins_before(device, path, attr, value);
    return before ? vmc_printf("%s#%zu", value, before + 1) : vmc_strdup(value);
}

char *libvirt_name_read(const xmlNode *domain, const xmlNode *device) {
    if (libvirt_xml_is(device, "filesystem"))
        return stand_in(device, "target", "dir"); /* the tag is the name that the guest uses */
    const char *alias = alias_of(device);
    if (alias) {
        const char *name = libvirt_xml_attr(device_note(domain, alias), "name");
        return vmc_strdup(name ? name : alias + strlen(ALIAS_PREFIX));
    }
    if (libvirt_xml_is(device, "disk"))
        return stand_in(device, "target", "dev");
    if (libvirt_xml_is(device, "interface"))
        return stand_in(device, "mac", "address");
    if (libvirt_xml_is(device, "hostdev") && libvirt_xml_attr_is(device, "type", "usb")) {
        const xmlNode *source = libvirt_xml_child(device, "source");
        const char *vendor = libvirt_xml_attr_at(source, "vendor", "id");
        const char *product = libvirt_xml_attr_at(source, "product", "id");
        const char *usb_bus = libvirt_xml_attr_at(source, "address", "bus");
        const char *number = libvirt_xml_attr_at(source, "address", "device");
        if (vendor && product)
            return vmc_printf("usb-%s-%s", vendor + 2 * vmc_starts_with(vendor, "0x"),
                              product + 2 * vmc_starts_with(product, "0x"));
        return usb_bus && number ? vmc_printf("usb-%s-%s", usb_bus, number) : NULL;
    }
    if (libvirt_xml_is(device, "hostdev")) {
        const xmlNode *address = libvirt_xml_find(device, "source/address");
        const char *domain_number = libvirt_xml_attr(address, "domain"), *bus = libvirt_xml_attr(address, "bus");
        const char *slot = libvirt_xml_attr(address, "slot"), *function = libvirt_xml_attr(address, "function");
        if (domain_number && bus && slot && function)
            return vmc_printf("%s:%s:%s.%s", domain_number + 2 * vmc_starts_with(domain_number, "0x"),
                              bus + 2 * vmc_starts_with(bus, "0x"), slot + 2 * vmc_starts_with(slot, "0x"),
                              function + 2 * vmc_starts_with(function, "0x"));
    }
    return NULL;
}

xmlNode *libvirt_name_find(const libvirt_build *build, const char *element, const char *name) {
    LIBVIRT_XML_EACH(device, build->devices, element) {
        VMC_AUTO_FREE char *has = libvirt_name_read(build->domain, device);
        if (!libvirt_is_seed(device) && vmc_str_eq(has, name))
            return device;
    }
    return NULL;
}

bool libvirt_is_seed(const xmlNode *device) {
    return vmc_str_eq(libvirt_xml_attr_at(device, "alias", "name"), LIBVIRT_SEED_ALIAS);
}

void libvirt_device_drop(libvirt_build *build, xmlNode *device) {
    const char *alias = alias_of(device);
    if (alias)
        libvirt_xml_drop(device_note(build->domain, alias));
    libvirt_xml_drop(device);
}
