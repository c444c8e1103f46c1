/* drivers/ova/ovf.h - an OVF descriptor as plain data: what DSP0243 (1.x) has for one virtual machine, read and written by libxml2.
 *
 * It knows no VM model: items stand as the CIM resource types of the standard. Sources: DSP0243 1.1, CIM_ResourceAllocationSettingData, and what VMware
 * (vmw:) and VirtualBox (vbox:) add. A descriptor from outside is read without network, entities or a document type.
 */
#ifndef VMC_OVF_H
#define VMC_OVF_H

#include "base/error.h"
#include "base/str.h"
#include <stdint.h>

/* CIM_ResourceAllocationSettingData.ResourceType */
enum {
    OVF_OTHER = 1,
    OVF_CPU = 3,
    OVF_MEMORY = 4,
    OVF_IDE = 5,
    OVF_SCSI = 6,
    OVF_NIC = 10,
    OVF_FLOPPY = 14,
    OVF_CDROM = 15,
    OVF_DVD = 16,
    OVF_DISK = 17,
    OVF_SATA = 20,
    OVF_USB = 23,
    OVF_VIDEO = 24,
    OVF_STORAGE = 31, /* "Storage Extent"; VirtualBox: a disk too */
    OVF_SOUND = 35
};

typedef struct ovf_disk {
    char *id;
    char *file; /* the href; NULL: a blank disk */
    uint64_t bytes;
} ovf_disk;

typedef struct ovf_item {
    unsigned type;
    char *subtype;        /* NULL; "AHCI", "lsilogic", "E1000" */
    char *name;           /* ElementName; NULL */
    char *instance;       /* InstanceID */
    char *parent;         /* InstanceID of the controller; NULL */
    char *resource;       /* HostResource as it stands: "ovf:/disk/vmdisk1"; NULL */
    char *connection;     /* of a NIC: a network's name; NULL */
    unsigned place;       /* AddressOnParent */
    uint64_t amount;      /* VirtualQuantity; of memory in bytes */
    const ovf_disk *disk; /* what resource leads to; NULL */
} ovf_item;

typedef struct ovf {
    char *name, *description; /* NULL */
    char *os_text;            /* the makers' word: "debian12_64Guest", "Debian_64"; NULL */
    unsigned os_id;           /* CIM_OperatingSystem.OSType; 0 */
    bool efi, secure_boot;
    ovf_item *items;
    size_t item_count;
    ovf_disk *disks;
    size_t disk_count;
    vmc_strv left_out; /* what is there and has no place here, in words */
} ovf;

/* INVALID_ARGUMENT: no OVF, or damaged. UNSUPPORTED: several VMs, disks in pieces or compressed as a whole, disks that stand on others. */
int ovf_read(const char *text, size_t length, ovf *out, vmctl_error **err);
void ovf_free(ovf *descriptor);

/* For writing. `disks` have a size in the file besides. */
typedef struct ovf_file {
    const char *name; /* "web-1-disk1.vmdk" */
    uint64_t bytes;
    uint64_t capacity;
} ovf_file;
/* The descriptor of one VM, its disks streamOptimized VMDKs: items refer to files by `amount`-less resource "ovf:/disk/vmdiskN", N from 1. free. */
char *ovf_write(const ovf *from, const ovf_file *files, size_t file_count);

#endif
