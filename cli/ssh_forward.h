/* cli/ssh_forward.h - ports of the guest through its sshd (ssh -L): also what listens at the guest's own loopback alone, and where only the port of sshd
 * is forwarded or let through. */
#ifndef VMCTL_CLI_SSH_FORWARD_H
#define VMCTL_CLI_SSH_FORWARD_H

#include "ssh_way.h"

/* Until ^C or --timeout, which end it with 0; the exit status. local 0 becomes a free port. ready: called for each once it is listened on. */
int cli_ssh_forward(cli *c, vmctl_vm *vm, const cli_way *way, vmctl_forward *forwards, size_t count,
                    void (*ready)(const vmctl_forward *forward, const char *way, void *user), void *user);

#endif
