/* backends/kubevirt/guest_info.h - what the guest's agent says of the system inside. */
#ifndef VMC_KUBEVIRT_GUEST_INFO_H
#define VMC_KUBEVIRT_GUEST_INFO_H

#include "ops.h"

/* virt-api's answer, its lists complete; NULL: no agent answers, or this user may not ask. cJSON_Delete. One request, and one more for each
 * list that is long. */
cJSON *kubevirt_guest_info(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *vmi, const vmc_deadline *deadline);

typedef struct kubevirt_guest {
    vmctl_guest guest; /* its strings are the answer's, but for timezone */
    char *timezone;
    vmctl_guest_filesystem *filesystems;
    vmctl_guest_user *users;
} kubevirt_guest;

void kubevirt_guest_info_read(const cJSON *info, kubevirt_guest *out);
void kubevirt_guest_free(kubevirt_guest *guest); /* {0} is an empty one */

#endif
