/* cli/ssh_way.h - how this machine reaches a VM's sshd: at a port that is forwarded to it, or at its address; and the options that the person's own
 * OpenSSH programs get for it. Host keys are kept per VM. */
#ifndef VMCTL_CLI_SSH_WAY_H
#define VMCTL_CLI_SSH_WAY_H

#include "cli.h"
#include "util.h"

typedef struct cli_way {
    char *host;  /* NULL: there is no way */
    char *port;  /* NULL: 22 */
    char *user;  /* NULL: ssh's choice */
    char *known; /* the file of this VM's host keys; NULL: ssh's own */
    char *alias;
    struct cli_forward *forward; /* that makes the port, as long as this lives; NULL */
} cli_way;

/* Asks the VM's spec, and its addresses where no forward is for ssh; addresses of a cluster's own network get a forward for the while. 0 also
 * where there is no way. vm must outlive *out. */
int cli_way_find(cli *c, vmctl_vm *vm, cli_way *out, vmctl_error **err);
void cli_way_free(cli_way *w);
/* There is none: reported; the exit status. */
int cli_way_missing(cli *c, const vmctl_vm *vm);
/* Adds options for ssh or (scp: its spelling of the port) scp, with the verb's --identity; the user is not among them. */
void cli_way_options(const cli *c, const cli_way *w, bool scp, cli_strings *argv);
/* Becomes ssh or scp, or runs it while the way's forward is there. Frees vm; the exit status. */
int cli_way_run(cli *c, cli_way *w, vmctl_vm *vm, const char *const *argv);
/* --user, else the way's. */
const char *cli_way_user(const cli *c, const cli_way *w);

#define CLI_WAY_OPTIONS                                                                                                \
    { "identity", 'i', CLI_TEXT, "FILE", "the private key, for ssh", NULL, CLI_HINT_FILE }
#define CLI_WAY_USER                                                                                                   \
    { "user", 0, CLI_TEXT, "NAME", "the user in the guest, for ssh (the spec's cloudInit.user)" }

#endif
