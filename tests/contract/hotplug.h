/* hotplug.h - what the files of the group hotplug have of each other. */
#ifndef CONTRACT_HOTPLUG_H
#define CONTRACT_HOTPLUG_H

#include "contract.h"

extern const contract_group hotplug_size;

/* By force: the guest has no OS. */
void restart(vmctl_vm *vm);
/* What apply would find nothing to change in. */
void rests(vmctl_vm *vm);

#endif
