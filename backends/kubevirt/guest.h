/* backends/kubevirt/guest.h - what has to be so before the guest's agent or its display can be asked. */
#ifndef VMC_KUBEVIRT_GUEST_H
#define VMC_KUBEVIRT_GUEST_H

#include "ops.h"

/* vmi NULL: there is no instance. INVALID_STATE: it does not run, is paused, or its agent is not connected (which may pass). */
int kubevirt_agent_check(const kubevirt_vm *vm, const cJSON *vmi, vmctl_error **err);

/* The same for a picture: UNSUPPORTED without a display. */
int kubevirt_screenshot_check(const kubevirt_vm *vm, const cJSON *vmi, vmctl_error **err);

/* *has: it has a graphics device. INVALID_STATE: it does not run. */
int kubevirt_display_check(const kubevirt_vm *vm, const cJSON *vmi, bool *has, vmctl_error **err);

#endif
