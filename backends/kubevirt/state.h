/* backends/kubevirt/state.h - what a VirtualMachine's status means. Pure.
 * Source: KubeVirt, VirtualMachine's printableStatus and conditions (staging/src/kubevirt.io/api/core/v1/types.go). */
#ifndef VMC_KUBEVIRT_STATE_H
#define VMC_KUBEVIRT_STATE_H

#include "backends/shared/json.h"
#include <vmctl/vm.h>

/* The condition of that type with that status ("True"; NULL: any); NULL. */
const cJSON *kubevirt_condition(const cJSON *object, const char *type, const char *status);

/* vmi: the VirtualMachineInstance; NULL: there is none, or it was not asked for. *reason (free; may be NULL): what the state does not tell,
 * NULL for nothing. */
vmctl_state kubevirt_state(const cJSON *vm, const cJSON *vmi, char **reason);
/* Whether only the VMI tells if the guest crashed: the VM is "Stopped" and an instance is left of it. */
bool kubevirt_needs_instance(const cJSON *vm);

/* Why the VM will not come to run by itself: "ErrorPvcNotFound: PVC default/nope does not exist"; NULL: nothing speaks against it. free.
 * vmi may be NULL. */
char *kubevirt_fault(const cJSON *vm, const cJSON *vmi);
/* Whether the fault is one that the VM's own data volumes end: the claim of one of them is not there yet. */
bool kubevirt_fault_may_pass(const cJSON *vm, const char *fault);
/* What to do about a fault of kubevirt_fault; constant. */
const char *kubevirt_fault_remedy(const char *fault);
/* Whether it is a fault that the VM shows (a spec that is refused), rather than one of the cluster's resources: the code of the error. */
int kubevirt_fault_code(const char *fault);

/* "Always", "Manual", ...; of a VM with the deprecated spec.running what that means. */
const char *kubevirt_strategy(const cJSON *vm);
/* Whether a request waits that it shall ("Start", "Stop"; status.stateChangeRequests). */
bool kubevirt_is_requested(const cJSON *vm, const char *action);

#endif
