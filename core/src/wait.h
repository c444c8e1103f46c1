/* src/wait.h - reaching a guest over TCP, for the stages of vmctl_vm_wait. */
#ifndef VMC_SRC_WAIT_H
#define VMC_SRC_WAIT_H

#include "base/deadline.h"
#include "base/str.h"
#include <vmctl/spec.h>
#include <vmctl/vm.h>

/* Where a port of the guest can be dialled from here. */
typedef struct vmc_dial {
    char *host; /* an address */
    int port;
    bool forwarded; /* a forwarded local port: whoever forwards accepts before the guest does */
    bool far;       /* and asks a server first: what the guest's port says comes later */
} vmc_dial;

typedef struct vmc_dials {
    vmc_dial *items;
    size_t count;
} vmc_dials;

void vmc_dials_add(vmc_dials *dials, const char *host, int port, bool forwarded);
void vmc_dials_free(vmc_dials *dials);
/* The forwards of a VM's networks that lead to this TCP port of the guest. */
void vmc_dials_add_forwards(vmc_dials *dials, const vmctl_spec *spec, int guest_port);

/* Neither loopback nor link-local. */
bool vmc_address_is_usable(const char *ip);

/* One try of at most slice_ms to reach a server there. greeting (NULL: none) is what the server must say first. guest_is_up: the guest's network
 * is known to be up, so that a connection which stays open is one. 1: it answers, 0: not (yet), negative: deadline, cancel. */
int vmc_dial_try(const vmc_dial *dial, const char *greeting, bool guest_is_up, int slice_ms,
                 const vmc_deadline *deadline, vmctl_error **err);

#endif
