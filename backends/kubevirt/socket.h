/* backends/kubevirt/socket.h - streams of a running VM through the API server, and local ports that lead to them. */
#ifndef VMC_KUBEVIRT_SOCKET_H
#define VMC_KUBEVIRT_SOCKET_H

#include "drivers/websocket/websocket.h"
#include "ops.h"

/* Opens the stream of a subresource of the VM's instance: "console", "vnc", "portforward/22/tcp". A VM that is starting is waited for;
 * INVALID_STATE: it does not run. *out: websocket_free. */
int kubevirt_socket_open(kubevirt_conn *conn, kubevirt_vm *vm, const char *sub, const char *const *query,
                         const vmc_deadline *deadline, websocket **out, vmctl_error **err);

/* INVALID_STATE: it does not run, and nobody asked for it to. Only looks. */
int kubevirt_stream_check(const kubevirt_vm *vm, vmctl_state state, vmctl_error **err);
/* The same for a port of the guest, which a VM without a NIC has none of; vmi NULL: there is none. */
int kubevirt_forward_check(const kubevirt_vm *vm, vmctl_state state, const cJSON *vmi, vmctl_error **err);

/* A local TCP port; each connection to it gets a stream of its own. It serves, in threads, until it is closed or the connection is. Where the
 * stream is refused, so is the connection. */
typedef struct kubevirt_tunnel kubevirt_tunnel;

/* Listens at address (numeric) and *port (0: a free one, which is told). BUSY when the port is taken, PERMISSION_DENIED for one that needs
 * root. Owned by the connection. query as in kubevirt_socket_open, constant. */
int kubevirt_tunnel_open(kubevirt_conn *conn, const kubevirt_vm *vm, const char *sub, const char *const *query,
                         const char *address, int *port, vmctl_error **err);
/* Ends the one at that address and port, and its connections; there may be none. */
void kubevirt_tunnel_close(kubevirt_conn *conn, const char *address, int port);
/* The port of one that leads to this subresource of the VM already; 0: none. */
int kubevirt_tunnel_find(kubevirt_conn *conn, const kubevirt_vm *vm, const char *sub);
/* Before the connection is freed. */
void kubevirt_tunnels_close(kubevirt_conn *conn);

#endif
