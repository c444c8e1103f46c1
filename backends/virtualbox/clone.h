/* backends/virtualbox/clone.h - what stands in the way of a clone, known beforehand. */
#ifndef VMC_VIRTUALBOX_CLONE_H
#define VMC_VIRTUALBOX_CLONE_H

#include "snapshot.h"

/* snapshot NULL: of the present state. INVALID_STATE, BUSY, NOT_FOUND (files of the snapshot). Only looks. */
int virtualbox_clone_check(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot, vmctl_error **err);

#endif
