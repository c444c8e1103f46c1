/* base/listen.h - TCP ports of this machine. */
#ifndef VMC_BASE_LISTEN_H
#define VMC_BASE_LISTEN_H

#include <vmctl/error.h>

/* Listens at a numeric address, of IPv6 not for IPv4 too. *port 0 becomes a free one. The descriptor, which does not block; INVALID_ARGUMENT: no
 * address, BUSY: the port is taken. */
VMCTL_API int vmc_listen(const char *address, int *port, vmctl_error **err);

#endif
