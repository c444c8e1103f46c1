/* drivers/openssh/openssh.h - ssh, copy and port forwards through the person's own client (ssh, scp; package openssh-client): their
 * keys, agent and ~/.ssh/config apply. Source: ssh(1), ssh_config(5), scp(1).
 */
#ifndef VMC_OPENSSH_H
#define VMC_OPENSSH_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include "drivers/process/process.h"

typedef struct openssh_target {
    const char *host;     /* name or address; IPv6 without brackets */
    int port;             /* 0: the client's default */
    const char *user;     /* NULL: the client's default */
    const char *identity; /* private key's file, tried alone; NULL: the client's choice */
    const char
        *known_hosts; /* a file of this VM's own: new keys are kept there, a changed one is refused; NULL: the person's
                                      own file and policy */
    bool interactive; /* may ask on the terminal; else BatchMode */
    int connect_timeout_s;      /* 0: 10 */
    const char *const *options; /* more "-o" values, NULL-terminated; NULL */
} openssh_target;

/* The remote command words as the one string that a POSIX shell splits into exactly these words again. free. */
char *openssh_quote(const char *const *words);

/* INVALID_ARGUMENT for a host or user that the client would take for an option (beginning with '-') or that has control characters or
 * white space; checked by all functions below. */
int openssh_check(const openssh_target *target, vmctl_error **err);

/* The argument vector of `ssh`: for execvp by the command itself, or for process_run. command NULL: a login shell. */
int openssh_argv(const openssh_target *target, const char *const *command, bool terminal, vmc_strv *argv,
                 vmctl_error **err);
/* Of `scp`: guest and local are paths (folders with recursive); to_guest says the direction. */
int openssh_copy_argv(const openssh_target *target, bool to_guest, const char *local, const char *guest, bool recursive,
                      vmc_strv *argv, vmctl_error **err);
/* Of `ssh -N`: forwards are "[ADDRESS:]LOCAL:HOST:PORT" as -L takes them, NULL-terminated; ends when one cannot listen. */
int openssh_forward_argv(const openssh_target *target, const char *const *forwards, vmc_strv *argv, vmctl_error **err);

/* Runs words there, without a terminal. `io` lends its input, callbacks, limit and grace (its argv is not looked at); may be NULL.
 * result->status is the remote exit code. When ssh itself failed (255): UNAVAILABLE, UNAUTHENTICATED or, for a changed
 * host key, PERMISSION_DENIED, with ssh's own words. */
int openssh_run(const openssh_target *target, const char *const *words, const process_options *io,
                const vmc_deadline *deadline, process_result *result, vmctl_error **err);
/* Copies; failures as above, NOT_FOUND where scp says so. */
int openssh_copy(const openssh_target *target, bool to_guest, const char *local, const char *guest, bool recursive,
                 const vmc_deadline *deadline, vmctl_error **err);

/* Whether an SSH server greets there within the deadline's slice: connects and reads "SSH-". 1 yes, 0 not (yet), negative:
 * deadline or cancel. slice_ms bounds this one try. */
int openssh_greets(const char *host, int port, int slice_ms, const vmc_deadline *deadline, vmctl_error **err);

#endif
