/* Which optical drive of a VM is meant. */
#include "drive.h"

#include <string.h>

int vmc_drive_pick(const char *vm, const vmc_strv *drives, const char *name, size_t *at, vmctl_error **err) {
    if (drives->count == 0) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no optical drive", vm);
        return vmc_error_next(err, "vmctl attach %s cdrom cdrom=FILE.iso gives it one", vm);
    }
    VMC_AUTO_FREE char *all = vmc_strv_join(drives, ", ");
    if (!name && drives->count > 1) {
        vmc_error(err, VMCTL_E_AMBIGUOUS, "%s has several optical drives: %s", vm, all);
        return vmc_error_next(err, "say which with --device");
    }
    for (*at = 0; *at < drives->count; (*at)++)
        if (!name || strcmp(drives->items[*at], name) == 0)
            return 0;
    const char *near = vmc_nearest(name, (const char *const *)drives->items);
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no optical drive %s%s%s%s", vm, name, near ? "; did you mean " : "",
              near ? near : "", near ? "?" : "");
    return vmc_error_next(err, "it has: %s", all);
}
