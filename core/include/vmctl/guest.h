/* vmctl/guest.h - inside the guest, through its agent (QEMU guest agent, Guest Additions, VMware Tools). */
#ifndef VMCTL_GUEST_H
#define VMCTL_GUEST_H

#include <vmctl/display.h>

VMCTL_BEGIN_DECLS

typedef struct vmctl_exec_options {
    size_t size;
    const vmctl_call
        *call; /* default deadline: none. At its end, or when cancelled, the process in the guest is ended */
    const char *const
        *environment;  /* "KEY=VALUE", NULL-terminated: all that it gets besides a PATH; NULL: the agent's own */
    const void *input; /* for its standard input; NULL */
    size_t input_length;
    vmctl_bytes_fn output; /* its standard output, as it comes; NULL: thrown away. Non-zero ends the process */
    vmctl_bytes_fn error;  /* its standard error */
    void *user;
    int input_fd; /* read for its standard input until its end, as it comes; -1: none */
} vmctl_exec_options;

#define VMCTL_EXEC_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_exec_options), NULL, NULL, NULL, 0, NULL, NULL, NULL, -1 }

/* argv is NULL-terminated; argv[0] is a path or found in the guest's PATH. *status: its exit code, 128 + signal, 127 when
 * the guest has no such program. TIMEOUT also when the agent does not answer; when the process could not be ended, the error says that it
 * may go on, with its number. */
VMCTL_API int vmctl_guest_exec(vmctl_vm *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                               vmctl_error **err);
/* One file, with its mode and time; local "-": standard input or output. A target that is a folder gets the file's own name in it. The target
 * appears whole or not at all: one that was there stays as it was when the copy fails. */
VMCTL_API int vmctl_guest_copy_in(vmctl_vm *vm, const char *local, const char *guest, const vmctl_call *call,
                                  vmctl_error **err);
VMCTL_API int vmctl_guest_copy_out(vmctl_vm *vm, const char *guest, const char *local, const vmctl_call *call,
                                   vmctl_error **err);
/* *count (may be NULL): how many file systems, -1 where the hypervisor does not say. Frozen ones already: 0, with a note, and a count of -1. */
VMCTL_API int vmctl_guest_freeze(vmctl_vm *vm, int *count, const vmctl_call *call, vmctl_error **err);
VMCTL_API int vmctl_guest_thaw(vmctl_vm *vm, int *count, const vmctl_call *call, vmctl_error **err);
/* The password is in no log, argument vector or error. */
VMCTL_API int vmctl_guest_set_password(vmctl_vm *vm, const char *user, const char *password, const vmctl_call *call,
                                       vmctl_error **err);

/* A TCP port of the guest at this machine. */
typedef struct vmctl_forward {
    size_t size;
    const char *address; /* to listen at; NULL: 127.0.0.1 */
    int local;           /* 0: a free one */
    int guest;
} vmctl_forward;

#define VMCTL_FORWARD_INIT                                                                                             \
    { sizeof(vmctl_forward), NULL, 0, 0 }

typedef struct vmctl_forward_options {
    size_t size;
    const vmctl_call *call; /* default deadline: none. Its end and cancel are how a forward ends: no errors */
    /* Called once for each that listens: the port that it got, and which way it goes ("directly to 192.168.122.7 port 22"); NULL */
    void (*ready)(const vmctl_forward *forward, const char *way, void *user);
    void *user;
} vmctl_forward_options;

#define VMCTL_FORWARD_OPTIONS_INIT                                                                                     \
    { sizeof(vmctl_forward_options), NULL, NULL, NULL }

/* Forwards until the call is cancelled or its deadline comes (0), or the VM ends (INVALID_STATE). Any number of connections at once. BUSY when a
 * local port is taken. What the hypervisor was told is taken back at the end, and after a kill by the next changing call. */
VMCTL_API int vmctl_guest_forward(vmctl_vm *vm, const vmctl_forward *forwards, size_t count,
                                  const vmctl_forward_options *options, vmctl_error **err);

VMCTL_END_DECLS

#endif
