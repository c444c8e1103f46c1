/* backends/shared/ova_vm.h - export and import of whole VMs, for backends that have none of their own. What is made on the way is noted in the journal
 * as "file" PATH. */
#ifndef VMC_SHARED_OVA_VM_H
#define VMC_SHARED_OVA_VM_H

#include "base/deadline.h"
#include "base/journal.h"
#include "drivers/qemu_img/qemu_img.h"
#include <vmctl/backend.h>

/* --- out --- */

typedef struct vmc_ova_disk {
    const char *member; /* its name in the OVA */
    const char *vmdk;   /* the stream-optimized image, which is removed when it is packed */
    uint64_t capacity;  /* bytes that the guest sees */
    size_t item;        /* its place in the spec's disks */
} vmc_ova_disk;

/* Whether the OVA's folder can be written to: NOT_FOUND, PERMISSION_DENIED, INVALID_ARGUMENT. */
int vmc_ova_check_target(const char *target, vmctl_error **err);
/* INVALID_STATE: it runs, or is saved. */
int vmc_ova_check_state(const char *vm, bool runs, bool saved, vmctl_error **err);
/* A disk image (format NULL: told from it) as the VMDK that OVAs hold. The caller has noted `vmdk`. */
int vmc_ova_compress(const char *source, const char *format, const char *vmdk, const qemu_img_label *label,
                     uint64_t *capacity, const vmc_deadline *deadline, vmctl_error **err);
/* Packs descriptor, disks and manifest; the file is whole when it appears at `target`. ALREADY_EXISTS. */
int vmc_ova_pack(const vmctl_spec *spec, const vmc_ova_disk *list, size_t count, const char *vm, const char *target,
                 vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err);

/* --- in --- */

typedef struct vmc_ova_import_request {
    const char *backend, *path;
    const char *name; /* NULL: the descriptor's */
    vmc_journal *journal;
    int (*check_name)(void *user, const char *name, const vmc_deadline *deadline, vmctl_error **err);
    /* What the backend cannot have becomes what it can. NULL: nothing is changed. */
    int (*adapt)(vmctl_spec *spec, void *user, vmctl_error **err);
    int (*create)(void *user, const vmctl_spec *spec, const vmctl_create_options *options, vmctl_error **err);
    void *user;
} vmc_ova_import_request;

int vmc_ova_import(const vmc_ova_import_request *want, const vmc_deadline *deadline, vmctl_error **err);

#endif
