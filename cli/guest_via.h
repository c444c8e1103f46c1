/* cli/guest_via.h - the two ways into a guest: its agent, and ssh where there is none or --via asks for it. */
#ifndef VMCTL_CLI_GUEST_VIA_H
#define VMCTL_CLI_GUEST_VIA_H

#include "ssh_way.h"

#define CLI_GUEST_VIA                                                                                                  \
    { "via", 0, CLI_CHOICE, "WAY", "through the guest's agent or ssh (the agent where there is one)", "agent ssh" }

/* Whether ssh has the next word. err: what the agent's way ended with; NULL: it was not tried. */
bool cli_guest_ssh(const cli *c, const vmctl_error *err);
/* The way by ssh; told on stderr when the agent failed, whose error is then freed. 0 with way->host NULL: there is none, and *err says so
 * still; else the exit status of what was reported. */
int cli_guest_way(cli *c, vmctl_vm *vm, cli_way *way, vmctl_error **err);

#endif
