/* backends/libvirt/clone.h - whether a VM can be cloned, known beforehand. */
#ifndef VMC_LIBVIRT_CLONE_H
#define VMC_LIBVIRT_CLONE_H

#include "snapshot.h"

/* Only looks, and says why not and what to do about it. linked: in overlays on its present disks; snapshot: from that one, NULL: from its present
 * state. INVALID_STATE, BUSY, UNSUPPORTED. */
int libvirt_clone_check(const libvirt_snapshot_scene *scene, bool linked, const libvirt_snapshot *snapshot,
                        vmctl_error **err);

/* The disks that the clone gets one of its own for: with data, and not shared by several VMs. */
bool libvirt_clone_copies(const xmlNode *disk);

#endif
