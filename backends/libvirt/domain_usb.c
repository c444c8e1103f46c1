/* backends/libvirt/domain_usb.c - USB devices of the host (formatdomain.html, "USB / PCI / SCSI devices"). */
#include "domain_model.h"
#include <stdio.h>
#include <string.h>

static int write_source(libvirt_build *build, xmlNode *usb, const cJSON *item, vmctl_error **err) {
    const char *name = vmc_json_string(item, "name", ""), *device = vmc_json_string(item, "device", NULL);
    const char *address = vmc_json_string(item, "address", NULL);
    unsigned bus = 0, number = 0;
    VMC_AUTO_FREE char *path = vmc_printf("usb.%s", name);
    if (device ? strlen(device) != strlen("0000:0000") : !address || sscanf(address, "%u:%u", &bus, &number) != 2)
        return libvirt_refuse_key(build, path, VMCTL_E_INVALID_SPEC, err,
                                  "a USB device needs device: VENDOR:PRODUCT or address: BUS:DEVICE");
    libvirt_xml_drop_children(usb, "source");
    xmlNode *source = libvirt_xml_add(usb, "source", NULL);
    if (device) {
        VMC_AUTO_FREE char *vendor = vmc_printf("0x%.4s", device);
        VMC_AUTO_FREE char *product = vmc_printf("0x%.4s", device + 5);
        libvirt_xml_add(source, "vendor", "id", vendor, NULL);
        libvirt_xml_add(source, "product", "id", product, NULL);
    } else {
        xmlNode *place = libvirt_xml_add(source, "address", NULL);
        libvirt_xml_set_number(place, "bus", bus);
        libvirt_xml_set_number(place, "device", number);
    }
    return 0;
}

int libvirt_usb_add(libvirt_build *build, const cJSON *item, vmctl_error **err) {
    xmlNode *usb =
        libvirt_xml_add(build->devices, "hostdev", "mode", "subsystem", "type", "usb", "managed", "yes", NULL);
    int code = write_source(build, usb, item, err);
    if (code < 0) {
        libvirt_xml_drop(usb);
        return code;
    }
    libvirt_name_write(build, usb, vmc_json_string(item, "name", ""));
    return 0;
}

int libvirt_usb_change(libvirt_build *build, xmlNode *usb, const cJSON *item, vmctl_error **err) {
    return write_source(build, usb, item, err);
}

cJSON *libvirt_usb_read(const xmlNode *domain, const xmlNode *hostdev) {
    if (!libvirt_xml_attr_is(hostdev, "type", "usb"))
        return NULL;
    const xmlNode *source = libvirt_xml_child(hostdev, "source");
    const char *vendor = libvirt_xml_attr_at(source, "vendor", "id");
    const char *product = libvirt_xml_attr_at(source, "product", "id");
    const char *bus = libvirt_xml_attr_at(source, "address", "bus");
    const char *number = libvirt_xml_attr_at(source, "address", "device");
    VMC_AUTO_FREE char *name = libvirt_name_read(domain, hostdev);
    if (!name || (!(vendor && product) && !(bus && number)))
        return NULL;
    cJSON *item = cJSON_CreateObject();
    cJSON_AddStringToObject(item, "name", name);
    bool by_id = vendor && product;
    VMC_AUTO_FREE char *text = by_id ? vmc_printf("%s:%s", vendor + 2 * vmc_starts_with(vendor, "0x"),
                                                  product + 2 * vmc_starts_with(product, "0x"))
                                     : vmc_printf("%s:%s", bus, number);
    cJSON_AddStringToObject(item, by_id ? "device" : "address", text);
    return item;
}
