/* backends/shared/drive.h - which optical drive of a VM is meant, in one set of words. */
#ifndef VMC_SHARED_DRIVE_H
#define VMC_SHARED_DRIVE_H

#include "base/error.h"
#include "base/str.h"

/* The place among `drives` (the names of all that the VM has) of the one of that name; name NULL: of the only one. NOT_FOUND, AMBIGUOUS. */
int vmc_drive_pick(const char *vm, const vmc_strv *drives, const char *name, size_t *at, vmctl_error **err);

#endif
