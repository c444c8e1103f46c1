/* backends/libvirt/ova.h - whole VMs as OVA. */
#ifndef VMC_LIBVIRT_OVA_H
#define VMC_LIBVIRT_OVA_H

#include "snapshot.h"

/* Whether the VM can be exported as it is now; only looks. INVALID_STATE, UNSUPPORTED, BUSY, with the remedy. */
int libvirt_export_check(const libvirt_snapshot_scene *scene, vmctl_error **err);

#endif
