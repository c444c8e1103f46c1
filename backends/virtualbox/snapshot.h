/* backends/virtualbox/snapshot.h - snapshots of a VM: read from its settings file, and what can be done with each, known beforehand.
 *
 * VirtualBox's snapshots have differencing images on top of the disks; one of a VM that runs has its memory too, always. Their names need not be
 * unique; vmctl keeps them so. Source: VirtualBox's manual, "Snapshots"; SDK reference, IMachine::takeSnapshot, restoreSnapshot, deleteSnapshot.
 */
#ifndef VMC_VIRTUALBOX_SNAPSHOT_H
#define VMC_VIRTUALBOX_SNAPSHOT_H

#include "marker.h"
#include "media.h"
#include "ops.h"

/* VirtualBox does not say whether a VM with its memory in a snapshot was paused: this key of the extra data, followed by the snapshot's id, does
 * ("paused", "saved"). */
#define VIRTUALBOX_SNAPSHOT_STATE "vmctl.snapshot."

/* What a verb looks at before it touches anything. */
typedef struct virtualbox_scene {
    virtualbox_conn *conn;
    virtualbox_vm *vm;
    const vmc_deadline *deadline;
    vboxmanage_machine *machine;
    vmctl_state state;
    char *native;               /* VirtualBox's word for the state */
    unsigned additions;         /* as virtualbox_additions tells */
    uint64_t balloon_mib;       /* what the balloon has taken from the guest */
    vboxmanage_usb_devices usb; /* that it has now */
    cJSON *marker;
} virtualbox_scene;

/* One call of VBoxManage. */
int virtualbox_look(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, virtualbox_scene *out,
                    vmctl_error **err);
void virtualbox_scene_free(virtualbox_scene *scene);
#define VIRTUALBOX_AUTO_SCENE vmc_cleanup(virtualbox_scene_free) virtualbox_scene

/* By name or id. NULL, and NOT_FOUND with the nearest name, or AMBIGUOUS with the ids. */
const vboxmanage_snapshot *virtualbox_snapshot_find(const vboxmanage_machine *machine, const char *name,
                                                    vmctl_error **err);
/* Of the VM when it was taken. */
vmctl_state virtualbox_snapshot_state(const vboxmanage_machine *machine, const vboxmanage_snapshot *snapshot);
bool virtualbox_snapshot_descends(const vboxmanage_machine *machine, const vboxmanage_snapshot *from,
                                  const vboxmanage_snapshot *ancestor);

/* --- what can be done (snapshot_check.c): these only look, and say why not and what to do about it ------------------ */

/* BUSY while VirtualBox works on the VM. */
int virtualbox_check_idle(const virtualbox_scene *scene, vmctl_error **err);
/* UNSUPPORTED, INVALID_STATE, DATA_LOSS_PREVENTED (a disk that the snapshot of a running VM would leave out). */
int virtualbox_snapshot_check_create(const virtualbox_scene *scene, vmctl_snapshot_memory memory, vmctl_error **err);
int virtualbox_snapshot_check_name(const virtualbox_scene *scene, const char *name, vmctl_error **err);
/* Its files are there: NOT_FOUND. Its memory does not meet disks that went on: DATA_LOSS_PREVENTED. */
int virtualbox_snapshot_check_revert(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot,
                                     vmctl_error **err);
/* UNSUPPORTED: more than one snapshot or state stands on it, and VirtualBox merges into one only. DATA_LOSS_PREVENTED: a linked clone does. */
int virtualbox_snapshot_check_delete(const virtualbox_scene *scene, const virtualbox_world *world,
                                     const vboxmanage_snapshot *snapshot, bool children, vmctl_error **err);
/* ova.c: the VM is not at rest. */
int virtualbox_export_check(const virtualbox_scene *scene, vmctl_error **err);
/* Whether snapshots leave this disk as it is: shareable, written through, read only. */
bool virtualbox_snapshot_leaves(const vboxmanage_machine *machine, const vboxmanage_attachment *attachment);

/* Undoes "snapshot-id UUID SNAPSHOT", once VirtualBox has told which one it took. */
int virtualbox_snapshot_undo_id(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                                vmctl_error **err);
/* Undoes "snapshot UUID SECONDS NAME": that of the VM which was taken since then. */
int virtualbox_snapshot_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                             vmctl_error **err);

#endif
