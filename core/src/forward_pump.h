/* src/forward_pump.h - TCP connections to local ports, carried on to an address each; one thread, any number of connections. */
#ifndef VMC_SRC_FORWARD_PUMP_H
#define VMC_SRC_FORWARD_PUMP_H

#include <stddef.h>
#include <vmctl/error.h>

typedef struct vmc_pump vmc_pump;

/* An empty one; vmc_pump_free. */
vmc_pump *vmc_pump_new(void);
/* Listens at address (numeric) and *port (0: a free one, which is told). Carries on to host (numeric) and its port. BUSY when the port is
 * taken, PERMISSION_DENIED for one below 1024. Before vmc_pump_start. */
int vmc_pump_add(vmc_pump *pump, const char *address, int *port, const char *host, int host_port, vmctl_error **err);
int vmc_pump_start(vmc_pump *pump, vmctl_error **err);
/* Ends the thread and every connection. NULL is allowed. */
void vmc_pump_free(vmc_pump *pump);

#endif
