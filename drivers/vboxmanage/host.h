/* drivers/vboxmanage/host.h - VBoxManage on another host, by the person's own ssh client (drivers/openssh).
 *
 * All calls of a connection, and of those that follow within half a minute, go through one master connection (ssh_config(5), ControlMaster).
 * What runs there is ended when its caller ends, is killed or cannot be reached any more: its stdin is watched. Needs a POSIX shell there. */
#ifndef VMC_VBOXMANAGE_HOST_H
#define VMC_VBOXMANAGE_HOST_H

#include "vboxmanage.h"

struct vboxmanage_host {
    openssh_target target;
    char *name, *user, *identity; /* what target points to */
    char *control;                /* "ControlPath=..." */
    const char *options[8];
    char *home; /* the folder of VirtualBox.xml there */
};

/* Which host, as a URI says it. */
typedef struct vboxmanage_where {
    const char *host, *user, *identity; /* user, identity (a key's file) NULL: ssh's own choice */
    int port;                           /* 0: ssh's own choice */
    bool no_verify;                     /* the host's key is not checked */
} vboxmanage_where;

/* Goes there and finds the program. UNAVAILABLE, UNAUTHENTICATED, PERMISSION_DENIED (its key changed or is not known), or as vboxmanage_open. */
int vboxmanage_open_there(const vboxmanage_where *where, const char *home, const char *ipc,
                          const vmc_deadline *deadline, vboxmanage **out, vmctl_error **err);
void vboxmanage_host_free(vboxmanage_host *host);

/* Runs a program there, with these variables ("KEY=VALUE"; others are left out). io->input is its stdin; without one it has none. */
int vboxmanage_host_run(const vboxmanage_host *host, const vmc_strv *argv, const vmc_strv *environment,
                        process_options *io, const vmc_deadline *deadline, process_result *result, vmctl_error **err);
/* Runs a script of the shell; words are $1 and on, NULL-terminated. Without an input of io's it ends when its caller does. result->status is its
 * exit code. io may be NULL. */
int vboxmanage_host_script(const vboxmanage_host *host, const char *script, const char *const *words,
                           process_options *io, const vmc_deadline *deadline, process_result *result,
                           vmctl_error **err);
/* Begins or ends a forward of the connection: "LISTEN:TO" as ssh(1) has it at -L, or at -R (back). */
int vboxmanage_host_forward(const vboxmanage_host *host, bool begin, bool back, const char *forward,
                            const vmc_deadline *deadline, vmctl_error **err);
/* One end of a connection to a socket of that host: a path, or a TCP port of its loopback ("5000"). *fd is the caller's. */
int vboxmanage_host_dial(const vboxmanage_host *host, const char *socket, const vmc_deadline *deadline, int *fd,
                         vmctl_error **err);

#endif
