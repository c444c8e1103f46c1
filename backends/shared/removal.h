/* backends/shared/removal.h - what stands in the way of deleting a VM, in one set of words. */
#ifndef VMC_SHARED_REMOVAL_H
#define VMC_SHARED_REMOVAL_H

#include "base/error.h"

/* state: what it is while it runs ("paused"); NULL: it does not. INVALID_STATE: it runs, and goes with force only. */
int vmc_removal_check(const char *vm, const char *state, bool force, vmctl_error **err);

#endif
