/* guest.h - what the files of the group guest have of each other: one VM whose guest has an agent, booted once for all of the tests; each leaves it as
 * it was. Where programs can be run in it (the feature guest.exec), it is a real Debian; else the endpoint's own image of one. */
#ifndef CONTRACT_GUEST_H
#define CONTRACT_GUEST_H

#include "contract.h"

#include <pthread.h>

extern const contract_group guest_copying, guest_inside, guest_net;

extern vmctl_vm *guest_vm;

typedef struct heard {
    char out[4096], err[4096];
    size_t out_length, err_length; /* all that came, more than is kept */
    int64_t first_ms;
    unsigned zeros; /* bytes that are 'x' */
} heard;
int take_out(const void *bytes, size_t length, void *user); /* user: heard */
vmctl_exec_options listen_to(heard *to);
/* Runs a shell's line there; its status. */
int sh(heard *to, const char *line);
/* A thread that waits a moment and triggers this vmctl_cancel. */
void *cancel_soon(void *token);

/* Plays the guest's sshd where nothing runs in guests: greets who comes to this port, until it is told to stop. The port. */
int begin_greeting(void);
void end_greeting(void);

#endif
