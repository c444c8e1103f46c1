/* backends/virtualbox/forward.h - a port of the guest at this machine, for the while: a rule of VirtualBox's NAT. */
#ifndef VMC_VIRTUALBOX_FORWARD_H
#define VMC_VIRTUALBOX_FORWARD_H

#include "ops.h"

/* Only looks; *slot: of the NIC (from 0). INVALID_STATE (it does not run), UNSUPPORTED (no NIC of type nat). */
int virtualbox_forward_check(const virtualbox_vm *vm, const vboxmanage_machine *machine, vmctl_state state,
                             unsigned *slot, vmctl_error **err);
/* The journal's entry "natpf": UUID SLOT RULE. */
int virtualbox_forward_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);

/* Closes the forward through ssh that belongs to this entry; detail NULL: all of the connection. */
void virtualbox_tunnels_end(virtualbox_conn *conn, const char *detail);

#endif
