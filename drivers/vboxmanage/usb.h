/* drivers/vboxmanage/usb.h - USB devices of the machine on which VirtualBox runs, and filters, by which a VM gets those that are plugged in while it
 * runs or when it starts. Source: the user manual, "VBoxManage list" (usbhost), "usbfilter", "controlvm" (usbattach); SDK reference, IHost::USBDevices,
 * IUSBDeviceFilter. */
#ifndef VMC_VBOXMANAGE_USB_H
#define VMC_VBOXMANAGE_USB_H

#include "parse.h"
#include "vboxmanage.h"

typedef struct vboxmanage_usb_device {
    char id[37];
    unsigned vendor, product;
    unsigned port;        /* of its hub; 0: not told */
    unsigned bus, number; /* as lsusb -s counts; 0: its address does not tell */
    char *serial;         /* NULL */
    char *address;        /* "sysfs:/sys/devices/...//device:/dev/vboxusb/001/004"; "" */
    char *
        state; /* of the host's: "Busy" (a driver of the host has it, which lets go), "Available", "Held", "Captured" (a VM has it),
                             "Unavailable", "Not supported"; "" */
} vboxmanage_usb_device;

typedef struct vboxmanage_usb_devices {
    vboxmanage_usb_device *items;
    size_t count;
} vboxmanage_usb_devices;

void vboxmanage_usb_devices_free(vboxmanage_usb_devices *devices);
#define VBOXMANAGE_AUTO_USB_DEVICES vmc_cleanup(vboxmanage_usb_devices_free) vboxmanage_usb_devices

/* list usbhost. As vboxmanage_usb_service where the host lets VirtualBox have none. */
int vboxmanage_usb_list(const vboxmanage *manage, const vmc_deadline *deadline, vboxmanage_usb_devices *out,
                        vmctl_error **err);
/* What list usbhost prints. */
void vboxmanage_parse_usb_devices(const char *text, vboxmanage_usb_devices *out);
/* What a VM that runs has: of showvminfo --machinereadable. */
void vboxmanage_usb_attached(const vboxmanage_properties *info, vboxmanage_usb_devices *out);

/* What VirtualBox says on stderr of its own service for USB devices: a warning, and the call that needed it exits with 0 and has done nothing.
 * 0: nothing. UNSUPPORTED (it is not there), PERMISSION_DENIED (this user may not). Source: HostImpl.cpp's messages, measured on 7.2. */
int vboxmanage_usb_service(const char *error_text, vmctl_error **err);

/* What a filter says, each empty (NULL) where anything matches. */
typedef enum vboxmanage_usb_key {
    VBOXMANAGE_USB_NAME,
    VBOXMANAGE_USB_ACTIVE, /* "yes", "no" */
    VBOXMANAGE_USB_VENDOR, /* four hexadecimal digits, or an expression */
    VBOXMANAGE_USB_PRODUCT,
    VBOXMANAGE_USB_REVISION,
    VBOXMANAGE_USB_MANUFACTURER,
    VBOXMANAGE_USB_TITLE,
    VBOXMANAGE_USB_SERIAL,
    VBOXMANAGE_USB_PORT,
    VBOXMANAGE_USB_REMOTE, /* "yes", "no" */
    VBOXMANAGE_USB_MASK,
    VBOXMANAGE_USB_KEYS
} vboxmanage_usb_key;

typedef struct vboxmanage_usb_filter {
    char *values[VBOXMANAGE_USB_KEYS];
} vboxmanage_usb_filter;

/* Its words: of the settings file, of --machinereadable (NULL: not told there), and the option of usbfilter, the same from 6.1 to 7.2. */
typedef struct vboxmanage_usb_words {
    const char *attribute, *property, *option;
    bool truth;
} vboxmanage_usb_words;
extern const vboxmanage_usb_words vboxmanage_usb_keys[VBOXMANAGE_USB_KEYS];

/* Frees what it says. */
void vboxmanage_usb_filter_clear(vboxmanage_usb_filter *filter);
void vboxmanage_usb_filters_free(vboxmanage_usb_filter *filters, size_t count);
/* Whether it lets in just the devices of one vendor and product: which. */
bool vboxmanage_usb_filter_ids(const vboxmanage_usb_filter *filter, unsigned *vendor, unsigned *product);
/* usbfilter add POSITION --target VM and all that it says. */
void vboxmanage_usb_filter_add(vmc_strv *argv, size_t position, const char *vm, const vboxmanage_usb_filter *filter);

#endif
