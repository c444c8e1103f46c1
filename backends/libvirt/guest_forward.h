/* backends/libvirt/guest_forward.h - port forwards of QEMU's user networking, for as long as they are wanted. */
#ifndef VMC_LIBVIRT_GUEST_FORWARD_H
#define VMC_LIBVIRT_GUEST_FORWARD_H

#include "base/journal.h"
#include "ops.h"
#include <libxml/tree.h>

/* Only looks at the domain's XML as it runs: the alias of the NIC that QEMU can forward from, or why there is none and what to do. */
int libvirt_guest_forward_check(const libvirt_conn *conn, const xmlNode *domain, const char *name, const char **alias,
                                vmctl_error **err);
/* The journal's "hostfwd UUID NETDEV RULE". */
int libvirt_guest_forward_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);

#endif
