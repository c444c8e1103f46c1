/* backends/shared/ovf_spec.h - an OVF descriptor as a vm.yaml and back. It knows no hypervisor: every backend that has no import of its own makes
 * VMs of OVAs with it. What one side has and the other cannot say is told by notes. */
#ifndef VMC_SHARED_OVF_SPEC_H
#define VMC_SHARED_OVF_SPEC_H

#include "base/deadline.h"
#include "drivers/ova/ovf.h"
#include <vmctl/spec.h>

/* paths[i] is the file that from->disks[i] has become (NULL for a blank disk). name NULL: the descriptor's, made fit for a VM's name. INVALID_ARGUMENT,
 * INVALID_SPEC. *out: vmctl_spec_free. */
int vmc_ovf_to_spec(const ovf *from, const char *const *paths, const char *name, const vmc_deadline *deadline,
                    vmctl_spec **out, vmctl_error **err);

/* numbers[i] says which file (from 1) the spec's disk i is in; 0: it has none (an optical drive). out: ovf_free, also after a failure. */
int vmc_ovf_of_spec(const vmctl_spec *spec, const size_t *numbers, const vmc_deadline *deadline, ovf *out,
                    vmctl_error **err);

#endif
