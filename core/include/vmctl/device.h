/* vmctl/device.h - the devices of a VM: what there is, adding and taking away, media; GPUs of a host. */
#ifndef VMCTL_DEVICE_H
#define VMCTL_DEVICE_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

typedef enum vmctl_device_kind {
    VMCTL_DEVICE_OTHER = 0,
    VMCTL_DEVICE_DISK = 1,
    VMCTL_DEVICE_CDROM = 2,
    VMCTL_DEVICE_NIC = 3,
    VMCTL_DEVICE_GPU = 4,
    VMCTL_DEVICE_USB = 5,
    VMCTL_DEVICE_SHARE = 6,
    VMCTL_DEVICE_DISPLAY = 7,
    VMCTL_DEVICE_SERIAL = 8,
    VMCTL_DEVICE_TPM = 9,
    VMCTL_DEVICE_RNG = 10,
    VMCTL_DEVICE_WATCHDOG = 11,
    VMCTL_DEVICE_CHANNEL = 12
} vmctl_device_kind;

VMCTL_API const char *vmctl_device_kind_name(vmctl_device_kind kind); /* "disk", "nic", ... */

/* One device as it is now. Made by the library, valid as long as the vmctl_vm_info it is part of. */
struct vmctl_device {
    size_t size;
    vmctl_device_kind kind;
    const char *name;   /* the spec's name for it; from the target or the MAC where vmctl did not make the VM */
    const char *target; /* "vda", "net0": what the hypervisor calls it; NULL */
    const char *bus;    /* disks: "virtio", ...; NICs: the model */
    const char *source; /* disks: path or pool/volume; NICs: network or bridge; shares: path; displays: address:port */
    const char *type;   /* NICs: "nat", "user", ...; displays: "vnc"; disks: the format */
    const char *mac;
    uint64_t capacity_bytes;  /* disks: what the guest sees; 0 not known */
    uint64_t allocated_bytes; /* disks: what it takes on the host; 0 not known */
    bool readonly;
    bool link_up; /* NICs */
    bool own;     /* disks: made by vmctl for this VM, removed with it */
    bool pending; /* there after the next start only */
    bool leaving; /* there until the next start only: the definition has it no more */
};

typedef struct vmctl_attach_options {
    size_t size;
    const vmctl_call *call;
    bool
        live; /* must be in force now, else nothing is changed: VMCTL_E_INVALID_STATE, detach VMCTL_E_TIMEOUT. Otherwise: now where
               * possible, and for the next start */
} vmctl_attach_options;

#define VMCTL_ATTACH_OPTIONS_INIT                                                                                      \
    { sizeof(vmctl_attach_options), NULL, false }

/* `item` is an item of the spec's disks:, networks:, shares:, usb: or gpus: list (of any spec) with a name, `list` that list's key. *effect
 * may be NULL. Whole or not at all: what a failed attach made is removed again. A name that the VM has: VMCTL_E_ALREADY_EXISTS; a
 * disk that another VM uses and that is not shared or read-only: VMCTL_E_BUSY (it runs) or VMCTL_E_CONFLICT; no free slot:
 * VMCTL_E_RESOURCE_EXHAUSTED. */
VMCTL_API int vmctl_device_attach(vmctl_vm *vm, const char *list, const vmctl_node *item,
                                  const vmctl_attach_options *options, vmctl_effect *effect, vmctl_error **err);
/* By the device's name. Waits for the guest to let it go; where it does not, the device stays until the next start (effect
 * AT_RESTART, with a warning), or, with `live` or at the call's deadline, all stays as it was: VMCTL_E_TIMEOUT. Nothing of its data is removed: a
 * note says where a disk is. A disk that vmctl made for the VM stays the VM's, and goes with it when the VM is deleted. No such device:
 * VMCTL_E_NOT_FOUND; several of the name: VMCTL_E_AMBIGUOUS. */
VMCTL_API int vmctl_device_detach(vmctl_vm *vm, const char *name, const vmctl_attach_options *options,
                                  vmctl_effect *effect, vmctl_error **err);

typedef struct vmctl_cdrom_options {
    size_t size;
    const vmctl_call *call;
    bool live;  /* as for attaching */
    bool force; /* also where the guest keeps the tray locked */
} vmctl_cdrom_options;

#define VMCTL_CDROM_OPTIONS_INIT                                                                                       \
    { sizeof(vmctl_cdrom_options), NULL, false, false }

/* Puts a medium into an optical drive, in the place of the one that is there; image NULL ejects. A relative path is from the working folder.
 * `name` of the drive; NULL when there is only one. *effect may be NULL. A guest that keeps the tray locked: VMCTL_E_BUSY. */
VMCTL_API int vmctl_cdrom_change(vmctl_vm *vm, const char *name, const char *image, const vmctl_cdrom_options *options,
                                 vmctl_effect *effect, vmctl_error **err);

/* A GPU of a host or cluster. Valid during the callback. */
typedef struct vmctl_gpu {
    size_t size;
    const char *host;
    const char *address; /* "0000:65:00.0"; NULL where the platform names resources */
    const char *ids;     /* "10de:20b0" */
    const char *model;
    const char *driver;          /* bound now; NULL */
    const char *resource;        /* "nvidia.com/GA100"; NULL */
    const char *const *profiles; /* vGPU or MIG profiles on offer, NULL-terminated; NULL */
    int iommu_group;             /* -1 none or not known */
    unsigned free_count;         /* how many can be had now */
    unsigned total_count;
    const char *used_by;  /* the VM that has it; NULL */
    const char *obstacle; /* why it cannot be attached now; NULL: it can */
    const char *remedy;
} vmctl_gpu;

typedef int (*vmctl_gpu_fn)(const vmctl_gpu *gpu, void *user);
VMCTL_API int vmctl_gpu_list(vmctl_connection *connection, const vmctl_call *call, vmctl_gpu_fn each, void *user,
                             vmctl_error **err);

typedef struct vmctl_gpu_prepare_options {
    size_t size;
    const vmctl_call *call;
    bool undo;
    bool dry_run;
} vmctl_gpu_prepare_options;

#define VMCTL_GPU_PREPARE_OPTIONS_INIT                                                                                 \
    { sizeof(vmctl_gpu_prepare_options), NULL, false, false }

/* Makes a device of the host ready for passthrough (or gives it back to its driver). */
VMCTL_API int vmctl_gpu_prepare(vmctl_connection *connection, const char *address,
                                const vmctl_gpu_prepare_options *options, vmctl_error **err);

VMCTL_END_DECLS

#endif
