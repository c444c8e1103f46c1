/* backends/libvirt/daemons.h - the system daemons of a machine where no service manager runs (a container): found, started on
 * demand, told apart from someone else's. Source: libvirtd(8), virtlogd(8). */
#ifndef VMC_LIBVIRT_DAEMONS_H
#define VMC_LIBVIRT_DAEMONS_H

#include "base/deadline.h"
#include "base/error.h"

typedef enum libvirt_silence {
    LIBVIRT_NOBODY = 0,      /* nobody listens */
    LIBVIRT_NOT_LET_IN = 1,  /* there is a socket, which this user may not use */
    LIBVIRT_OUT_OF_SIGHT = 2 /* this user may not even look into the folder of the sockets */
} libvirt_silence;

/* Whether something listens on the system's socket (libvirtd's or virtqemud's). *why (may be NULL): why not. */
bool libvirt_daemons_answer(libvirt_silence *why);

/* Whether a service manager looks after daemons here. */
bool libvirt_daemons_managed(void);

/* Starts virtlogd and libvirtd, which end by themselves when idle, and waits until they answer. Once, however many processes ask at the
 * same time. A /dev/kvm that QEMU's user cannot use is out of their sight. Needs root. UNAVAILABLE names the missing packages. */
int libvirt_daemons_start(const vmc_deadline *deadline, vmctl_error **err);

/* Whether the libvirtd that runs was started by libvirt_daemons_start. */
bool libvirt_daemons_ours(void);

#endif
