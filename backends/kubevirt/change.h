/* backends/kubevirt/change.h - one change of a VM: what it makes of the object, and which of it a running VM has at once. */
#ifndef VMC_KUBEVIRT_CHANGE_H
#define VMC_KUBEVIRT_CHANGE_H

#include "ops.h"

typedef struct kubevirt_changing {
    kubevirt_conn *conn;
    kubevirt_vm *vm;
    const vmc_deadline *deadline;
    cJSON *now;       /* the object */
    cJSON *vmi;       /* its instance; NULL: it does not run */
    cJSON *then;      /* what the object becomes */
    vmctl_spec *spec; /* what the VM becomes in vm.yaml's words */
    const cJSON *installation;
} kubevirt_changing;

/* Why a running VM does not have this change before its next start; NULL: it has it at once. free. Only looks. */
char *kubevirt_change_obstacle(const kubevirt_changing *ch, const vmctl_change *change);
/* The same for a kind of device. list: "disks". adding: it comes, else it goes. */
char *kubevirt_device_obstacle(const cJSON *installation, const char *list, const cJSON *device, bool adding);
/* Makes all of the diff, or nothing. each (may be NULL): told every change with its effect, once it is made. */
int kubevirt_changing_run(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_diff *diff,
                          const vmctl_change_options *options, const vmc_deadline *deadline, vmctl_error **err);

/* patch.c: a JSON merge patch (RFC 7396) that turns one object into the other; NULL: they are the same. */
cJSON *kubevirt_merge_patch(const cJSON *from, const cJSON *to);

#endif
