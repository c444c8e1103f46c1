/* backends/kubevirt/snapshot.h - what taking, reverting and cloning share: the objects of snapshot.kubevirt.io. */
#ifndef VMC_KUBEVIRT_SNAPSHOT_H
#define VMC_KUBEVIRT_SNAPSHOT_H

#include "ops.h"

/* The version of the group that the cluster serves; UNSUPPORTED names the gate. */
int kubevirt_snapshot_version(kubevirt_conn *conn, const vmc_deadline *deadline, const char **version,
                              vmctl_error **err);
/* ".../virtualmachinesnapshots/NAME"; name NULL: the collection. free */
char *kubevirt_snapshot_path(const char *version, const char *namespace_name, const char *plural, const char *name);
/* An object of the group, with the VM at `path` ("spec.source", "spec.target"). cJSON_Delete */
cJSON *kubevirt_snapshot_new(const char *version, const char *kind, const char *name, const kubevirt_vm *vm,
                             const char *path);
/* The VM's snapshot of that name. NOT_FOUND with the nearest. *out: cJSON_Delete */
int kubevirt_snapshot_find(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const char *version,
                           const vmc_deadline *deadline, cJSON **out, vmctl_error **err);
/* What the snapshot holds: the VirtualMachine of then. *out: cJSON_Delete */
int kubevirt_snapshot_then(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *snapshot, const char *version,
                           const vmc_deadline *deadline, cJSON **out, vmctl_error **err);

/* Whether a list of names in JSON has this one. */
bool kubevirt_names_have(const cJSON *names, const char *name);
/* Why this volume of the VM cannot be in a snapshot, as the cluster says; NULL: it can, or nobody knows. Of the object. */
const char *kubevirt_no_snapshot(const cJSON *vm, const char *volume);

/* restore.c: takes back what a restore made that did not come to its end: the object, its claims and data volumes that no VM uses.
 * *made (may be NULL): the target has the restored definition. 0 too when it is gone. */
int kubevirt_restore_cancel(kubevirt_conn *conn, const char *namespace_name, const char *version, const char *name,
                            const vmc_deadline *deadline, bool *made, vmctl_error **err);
/* Disks of the VM that a revert took off, as data volume templates; NULL: none. cJSON_Delete */
cJSON *kubevirt_left_disks(const cJSON *vm);

#endif
