/* backends/virtualbox/migrate_reach.h - how the source of a teleport reaches the target's port.
 *
 * On one machine: directly. Between this machine and another: through the ssh connection that is there (ssh(1), -L and -R), which no firewall
 * hinders and nobody reads. */
#ifndef VMC_VIRTUALBOX_MIGRATE_REACH_H
#define VMC_VIRTUALBOX_MIGRATE_REACH_H

#include "ops.h"

/* Whether both are on this machine, or on the same other one. */
bool virtualbox_same_machine(const vboxmanage *a, const vboxmanage *b);

typedef struct virtualbox_tunnel {
    const vboxmanage *through; /* whose connection it is; NULL: none is needed */
    unsigned port;             /* of the source's loopback; 0: the target's own port */
    bool back;                 /* the source is the other machine */
    char *forward;
} virtualbox_tunnel;

/* From the source to `port` of the target's loopback. */
int virtualbox_tunnel_open(const virtualbox_conn *source, const virtualbox_conn *target, unsigned port,
                           virtualbox_tunnel *out, const vmc_deadline *deadline, vmctl_error **err);
void virtualbox_tunnel_close(virtualbox_tunnel *tunnel, const vmc_deadline *deadline);

/* A port of the target's machine at which nobody listens now. */
int virtualbox_random_port(const virtualbox_conn *target, const vmc_deadline *deadline, unsigned *port,
                           vmctl_error **err);
/* Whether somebody listens on the port of that machine; 1, 0, -1: it cannot be seen. */
int virtualbox_is_heard(const virtualbox_conn *target, unsigned port, const vmc_deadline *deadline);

#endif
