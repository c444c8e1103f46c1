/* cli/forward.h - a port of the guest at this machine, while another program uses it. */
#ifndef VMCTL_CLI_FORWARD_H
#define VMCTL_CLI_FORWARD_H

#include "cli.h"

typedef struct cli_forward cli_forward;

/* Forwards a free port of 127.0.0.1 (*port) to the guest's, in a thread, until it is closed or the VM ends. vm must outlive it. */
int cli_forward_open(cli *c, vmctl_vm *vm, int guest, cli_forward **out, int *port, vmctl_error **err);
/* NULL is allowed. */
void cli_forward_close(cli_forward *forward);

#endif
