/* What stands in the way of deleting a VM. */
#include "removal.h"

int vmc_removal_check(const char *vm, const char *state, bool force, vmctl_error **err) {
    if (!state || force)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm, state);
    return vmc_error_next(err, "stop it first (vmctl stop %s), or delete it with --force, which powers it off", vm);
}
