/* backends/libvirt/domain_spec.c - any domain as a spec: what vm.yaml can say of it. What it cannot say stays out, and is
 * then never touched by apply. */
#include "domain_model.h"
#include <string.h>

static void read_list(const xmlNode *domain, const char *element, cJSON *list,
                      cJSON *(*read)(const xmlNode *domain, const xmlNode *device)) {
    LIBVIRT_XML_EACH(device, libvirt_xml_child(domain, "devices"), element) {
        cJSON *item = read(domain, device);
        if (item && !vmc_json_item(list, vmc_json_string(item, "name", "")))
            cJSON_AddItemToArray(list, item);
        else
            cJSON_Delete(item);
    }
}

static void read_identity(const xmlNode *domain, cJSON *spec) {
    VMC_AUTO_FREE char *name = libvirt_xml_content(libvirt_xml_child(domain, "name"));
    VMC_AUTO_FREE char *description = libvirt_xml_content(libvirt_xml_child(domain, "description"));
    cJSON_AddStringToObject(spec, "name", name ? name : "");
    cJSON_AddStringToObject(spec, "backend", "libvirt");
    const xmlNode *marker = libvirt_marker_find(domain);
    if (libvirt_xml_child(marker, "label")) {
        cJSON *labels = cJSON_AddObjectToObject(spec, "labels");
        LIBVIRT_XML_EACH(label, marker, "label") {
            VMC_AUTO_FREE char *value = libvirt_xml_content(label);
            const char *key = libvirt_xml_attr(label, "key");
            if (key)
                cJSON_AddStringToObject(labels, key, value);
        }
    }
    if (description && *description)
        cJSON_AddStringToObject(spec, "description", description);
}

static void read_platform(const xmlNode *domain, cJSON *spec) {
    const char *machine = libvirt_xml_attr_at(domain, "os/type", "machine");
    const char *os = libvirt_xml_attr_at(domain, "metadata/libosinfo/os", "id");
    const char *type = libvirt_xml_attr(domain, "type");
    if ((os && strstr(os, "microsoft.com/win")) || libvirt_xml_find(domain, "features/hyperv"))
        cJSON_AddStringToObject(spec, "guest", "windows");
    if (machine)
        cJSON_AddStringToObject(spec, "machine", machine);
    if (vmc_str_eq(type, "kvm") || vmc_str_eq(type, "qemu"))
        cJSON_AddStringToObject(spec, "accel", strcmp(type, "kvm") == 0 ? "kvm" : "tcg");
}

static void read_own_section(const xmlNode *domain, cJSON *spec) {
    cJSON *args = libvirt_qemu_args_read(domain);
    if (cJSON_GetArraySize(args) > 0)
        cJSON_AddItemToObject(cJSON_AddObjectToObject(spec, "libvirt"), "qemuArgs", args);
    else
        cJSON_Delete(args);
}

static void read_lifetime(const xmlNode *domain, cJSON *spec) {
    const xmlNode *marker = libvirt_marker_find(domain);
    int64_t created = libvirt_time_parse(libvirt_xml_attr(marker, "created"));
    int64_t expires = libvirt_time_parse(libvirt_xml_attr(marker, "expires"));
    if (created && expires > created)
        cJSON_AddNumberToObject(spec, "lifetime", (double)(expires - created) * 1000);
}

cJSON *libvirt_domain_json(const xmlNode *domain, bool with_kept) {
    cJSON *spec = cJSON_CreateObject();
    read_identity(domain, spec);
    const char *arch = libvirt_xml_attr_at(domain, "os/type", "arch");
    if (arch)
        cJSON_AddStringToObject(spec, "arch", arch);
    libvirt_cpus_read(domain, spec);
    libvirt_memory_read(domain, spec);
    read_platform(domain, spec);
    libvirt_firmware_read(domain, spec);
    libvirt_boot_read(domain, spec);
    read_list(domain, "disk", cJSON_AddArrayToObject(spec, "disks"), libvirt_disk_read);
    read_list(domain, "interface", cJSON_AddArrayToObject(spec, "networks"), libvirt_nic_read);
    cJSON *shares = cJSON_AddArrayToObject(spec, "shares");
    read_list(domain, "filesystem", shares, libvirt_share_read);
    if (cJSON_GetArraySize(shares) == 0)
        vmc_json_put(spec, "shares", NULL); /* unlike disks and networks, none is what a spec without them means */
    cJSON *usb = cJSON_AddArrayToObject(spec, "usb");
    read_list(domain, "hostdev", usb, libvirt_usb_read);
    if (cJSON_GetArraySize(usb) == 0)
        vmc_json_put(spec, "usb", NULL);
    libvirt_parts_read(domain, spec);
    read_lifetime(domain, spec);
    read_own_section(domain, spec);
    if (with_kept)
        libvirt_keys_read(domain, spec);
    return spec;
}

int libvirt_domain_spec(const char *domain_xml, vmctl_spec **out, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    *out = NULL;
    int code = libvirt_xml_parse(domain_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *spec = libvirt_domain_json(xmlDocGetRootElement(doc), true);
    return libvirt_json_to_spec(spec, out, err);
}
