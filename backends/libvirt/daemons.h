/* backends/libvirt/daemons.h - the system daemons of a machine where no service manager runs (a container): found, started on
 * demand, told apart from someone else's. Source: libvirtd(8), virtlogd(8). */
#ifndef VMC_LIBVIRT_DAEMONS_H
#define VMC_LIBVIRT_DAEMONS_H

#include "base/deadline.h"
#include "base/error.h"

/* Whether something listens on the system's socket (libvirtd's or virtqemud's). *denied (may be NULL): something may, but this
 * user is not let in. */
bool libvirt_daemons_answer(bool *denied);

/* Whether a service manager looks after daemons here. */
bool libvirt_daemons_managed(void);

/* Starts virtlogd and libvirtd, which end by themselves when idle, and waits until they answer. Once, however many processes ask at the
 * same time. A /dev/kvm that QEMU's user cannot use is out of their sight. Needs root. UNAVAILABLE names the missing packages. */
int libvirt_daemons_start(const vmc_deadline *deadline, vmctl_error **err);

/* Whether the libvirtd that runs was started by libvirt_daemons_start. */
bool libvirt_daemons_ours(void);

#endif
