/* USB devices of the host, and the filters of a VM. */
#include "usb.h"

#include "base/error.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the service of the host ------------------------------------------------------------------------------------ */

static const struct {
    const char *words; /* of VirtualBox */
    int code;
    const char *reason, *next;
} services[] = {
    {"'vboxusers' group", VMCTL_E_PERMISSION_DENIED, "VirtualBox may not use the host's USB devices for this user",
     "put the user into the group vboxusers (usermod -a -G vboxusers USER), log in again, and let VBoxSVC end"},
    {"'usbfs' folder", VMCTL_E_PERMISSION_DENIED, "VirtualBox may not use the host's USB devices for this user",
     "let the user read and write /dev/vboxusb (group vboxusers) or /dev/bus/usb"},
    {"not yet been ported to this host", VMCTL_E_UNSUPPORTED, "VirtualBox uses no USB devices of such a host", NULL},
    {"Host USB Proxy", VMCTL_E_UNSUPPORTED, "VirtualBox's service for USB devices does not run on its host",
     "load VirtualBox's kernel driver, whose udev rules make /dev/vboxusb (modprobe vboxdrv; package virtualbox-dkms), "
     "put the user into the group vboxusers, and let VBoxSVC end"},
};

/* Lines of "VBoxManage: warning: " or "VBoxManage: error: ". */
static char *own_words(const char *text) {
    VMC_AUTO_STR words = {0};
    for (const char *line = text; *line;) {
        size_t length = strcspn(line, "\n");
        const char *colon = vmc_starts_with(line, "VBoxManage: ") ? strstr(line, ": ") : NULL;
        const char *rest = colon ? strstr(colon + 2, ": ") : NULL;
        if (rest && rest < line + length && !vmc_starts_with(rest + 2, "Context: "))
            vmc_str_add_n(&words, rest + 2, length - (size_t)(rest + 2 - line) + (line[length] == '\n'));
        line += length + (line[length] == '\n');
    }
    return vmc_str_take(&words);
}

int vboxmanage_usb_service(const char *error_text, vmctl_error **err) {
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        if (!strstr(error_text, services[i].words))
            continue;
        VMC_AUTO_FREE char *said = own_words(error_text);
        int code = vmc_error(err, services[i].code, "%s", services[i].reason);
        vmc_error_hypervisor(err, NULL, said && *said ? said : error_text);
        if (services[i].next)
            vmc_error_next(err, "%s", services[i].next);
        return code;
    }
    return 0;
}

/* --- devices ------------------------------------------------------------------------------------------------------ */

void vboxmanage_usb_devices_free(vboxmanage_usb_devices *devices) {
    for (size_t i = 0; i < devices->count; i++) {
        free(devices->items[i].serial);
        free(devices->items[i].address);
        free(devices->items[i].state);
    }
    free(devices->items);
    *devices = (vboxmanage_usb_devices){0};
}

static vboxmanage_usb_device *append(vboxmanage_usb_devices *to, const char *id) {
    to->items = vmc_realloc(to->items, to->count + 1, sizeof *to->items);
    vboxmanage_usb_device *device = &to->items[to->count++];
    *device = (vboxmanage_usb_device){.address = vmc_strdup(""), .state = vmc_strdup("")};
    snprintf(device->id, sizeof device->id, "%s", id);
    return device;
}

/* Linux: ".../device:/dev/vboxusb/001/004", "/dev/bus/usb/001/004". */
static void read_place(vboxmanage_usb_device *device) {
    const char *end = device->address + strlen(device->address);
    unsigned bus = 0;
    unsigned number = 0;
    if (end - device->address > 8 && sscanf(end - 8, "/%3u/%3u", &bus, &number) == 2) {
        device->bus = bus;
        device->number = number;
    }
}

static void take(vboxmanage_usb_device *device, const char *key, const char *value) {
    if (strcmp(key, "VendorId") == 0)
        device->vendor = (unsigned)strtoul(value, NULL, 16);
    else if (strcmp(key, "ProductId") == 0)
        device->product = (unsigned)strtoul(value, NULL, 16);
    else if (strcmp(key, "Port") == 0)
        device->port = (unsigned)strtoul(value, NULL, 10);
    char **text = strcmp(key, "SerialNumber") == 0    ? &device->serial
                  : strcmp(key, "Address") == 0       ? &device->address
                  : strcmp(key, "Current State") == 0 ? &device->state
                                                      : NULL;
    if (!text)
        return;
    free(*text);
    *text = vmc_strdup(value);
    if (text == &device->address)
        read_place(device);
}

void vboxmanage_parse_usb_devices(const char *text, vboxmanage_usb_devices *out) {
    VBOXMANAGE_AUTO_PROPERTIES lines = {0};
    vboxmanage_usb_device *device = NULL;
    vboxmanage_parse_records(text, &lines);
    for (size_t i = 0; i < lines.count; i++) {
        const char *key = lines.items[i].key;
        if (!*key)
            device = NULL;
        else if (strcmp(key, "UUID") == 0)
            device = vboxmanage_is_uuid(lines.items[i].value, false) ? append(out, lines.items[i].value) : NULL;
        else if (device)
            take(device, key, lines.items[i].value);
    }
}

int vboxmanage_usb_list(const vboxmanage *manage, const vmc_deadline *deadline, vboxmanage_usb_devices *out,
                        vmctl_error **err) {
    const char *const argv[] = {"list", "usbhost", NULL};
    VMC_AUTO_FREE char *warnings = NULL;
    const vboxmanage_call call = {.argv = argv, .doing = "asking for the host's USB devices", .warnings = &warnings};
    VMC_AUTO_FREE char *text = NULL;
    int code = vboxmanage_run(manage, &call, deadline, &text, err);
    if (code == 0)
        code = vboxmanage_usb_service(warnings, err);
    if (code == 0)
        vboxmanage_parse_usb_devices(text, out);
    return code;
}

void vboxmanage_usb_attached(const vboxmanage_properties *info, vboxmanage_usb_devices *out) {
    static const char prefix[] = "USBAttached";
    for (unsigned n = 1;; n++) {
        VMC_AUTO_FREE char *key = vmc_printf("%sUUID%u", prefix, n);
        const char *id = vboxmanage_property_get(info, key);
        if (!id || !vboxmanage_is_uuid(id, false))
            return;
        static const char *const keys[] = {"VendorId", "ProductId", "SerialNumber", "Address"};
        vboxmanage_usb_device *device = append(out, id);
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            VMC_AUTO_FREE char *name = vmc_printf("%s%s%u", prefix, keys[k], n);
            const char *value = vboxmanage_property_get(info, name);
            if (value)
                take(device, keys[k], value);
        }
    }
}

/* --- filters -------------------------------------------------------------------------------------------------------- */

const vboxmanage_usb_words vboxmanage_usb_keys[VBOXMANAGE_USB_KEYS] = {
    [VBOXMANAGE_USB_NAME] = {"name", "Name", "--name", false},
    [VBOXMANAGE_USB_ACTIVE] = {"active", "Active", "--active", true},
    [VBOXMANAGE_USB_VENDOR] = {"vendorId", "VendorId", "--vendorid", false},
    [VBOXMANAGE_USB_PRODUCT] = {"productId", "ProductId", "--productid", false},
    [VBOXMANAGE_USB_REVISION] = {"revision", "Revision", "--revision", false},
    [VBOXMANAGE_USB_MANUFACTURER] = {"manufacturer", "Manufacturer", "--manufacturer", false},
    [VBOXMANAGE_USB_TITLE] = {"product", "Product", "--product", false},
    [VBOXMANAGE_USB_SERIAL] = {"serialNumber", "SerialNumber", "--serialnumber", false},
    [VBOXMANAGE_USB_PORT] = {"port", NULL, "--port", false},
    [VBOXMANAGE_USB_REMOTE] = {"remote", "Remote", "--remote", true},
    [VBOXMANAGE_USB_MASK] = {"maskedInterfaces", NULL, "--maskedinterfaces", false},
};

void vboxmanage_usb_filter_clear(vboxmanage_usb_filter *filter) {
    for (size_t k = 0; k < VBOXMANAGE_USB_KEYS; k++)
        free(filter->values[k]);
    *filter = (vboxmanage_usb_filter){{NULL}};
}

void vboxmanage_usb_filters_free(vboxmanage_usb_filter *filters, size_t count) {
    for (size_t i = 0; i < count; i++)
        vboxmanage_usb_filter_clear(&filters[i]);
    free(filters);
}

static bool read_id(const char *text, unsigned *out) {
    if (!text || strlen(text) != 4)
        return false;
    for (const char *c = text; *c; c++)
        if (!isxdigit((unsigned char)*c))
            return false;
    *out = (unsigned)strtoul(text, NULL, 16);
    return true;
}

bool vboxmanage_usb_filter_ids(const vboxmanage_usb_filter *filter, unsigned *vendor, unsigned *product) {
    return read_id(filter->values[VBOXMANAGE_USB_VENDOR], vendor) &&
           read_id(filter->values[VBOXMANAGE_USB_PRODUCT], product);
}

void vboxmanage_usb_filter_add(vmc_strv *argv, size_t position, const char *vm, const vboxmanage_usb_filter *filter) {
    vmc_strv_add(argv, "usbfilter");
    vmc_strv_add(argv, "add");
    vmc_strv_printf(argv, "%zu", position);
    vmc_strv_add(argv, "--target");
    vmc_strv_add(argv, vm);
    for (size_t k = 0; k < VBOXMANAGE_USB_KEYS; k++) {
        if (!filter->values[k])
            continue;
        vmc_strv_add(argv, vboxmanage_usb_keys[k].option);
        vmc_strv_add(argv, filter->values[k]);
    }
}
