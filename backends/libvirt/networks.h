/* backends/libvirt/networks.h - the host's networks that a VM's NICs need. */
#ifndef VMC_LIBVIRT_NETWORKS_H
#define VMC_LIBVIRT_NETWORKS_H

#include "rpc.h"
#include <vmctl/spec.h>

/* Each of the spec's networks: NOT_FOUND names the key. With `make` an inactive or missing network `default` is started (defined as
 * libvirt ships it); it is everybody's and stays. Another network that is not active is INVALID_STATE. */
int libvirt_networks_ready(libvirt_conn *conn, const vmctl_node *networks, bool make, const vmc_deadline *deadline,
                           vmctl_error **err);
int libvirt_network_ready(libvirt_conn *conn, const vmctl_node *item, bool make, const vmc_deadline *deadline,
                          vmctl_error **err);

/* On the worker: name -> network, found, number (1: active). */
int libvirt_network_look(libvirt_rpc *rpc);

#endif
