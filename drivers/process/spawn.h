/* drivers/process/spawn.h - the fork and exec of process.c. */
#ifndef VMC_PROCESS_SPAWN_H
#define VMC_PROCESS_SPAWN_H

#include "drivers/process/process.h"

typedef struct process_child {
    pid_t pid;
    int pidfd;  /* -1 where the kernel has none */
    int output; /* read ends, non-blocking; error is -1 with `merge` */
    int error;
    int held; /* with hold_input: the other end of its stdin; -1 */
} process_child;

/* Starts it; every descriptor of *child is the caller's to close, the pid its to wait for. */
int process_spawn(const process_options *options, process_child *child, vmctl_error **err);

#endif
