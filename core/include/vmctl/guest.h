/* vmctl/guest.h - inside the guest, through its agent (QEMU guest agent, Guest Additions, VMware Tools). */
#ifndef VMCTL_GUEST_H
#define VMCTL_GUEST_H

#include <vmctl/display.h>

VMCTL_BEGIN_DECLS

typedef struct vmctl_exec_options {
    size_t size;
    const vmctl_call *call;
    const char *const *environment; /* "KEY=VALUE", NULL-terminated; NULL */
    const void *input;              /* for its standard input; NULL */
    size_t input_length;
    vmctl_bytes_fn output; /* its standard output; NULL: thrown away */
    vmctl_bytes_fn error;  /* its standard error */
    void *user;
} vmctl_exec_options;

#define VMCTL_EXEC_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_exec_options), NULL, NULL, NULL, 0, NULL, NULL, NULL }

/* argv is NULL-terminated; argv[0] is a path or found in the guest's PATH. *status: its exit code, 128 + signal. */
VMCTL_API int vmctl_guest_exec(vmctl_vm *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                               vmctl_error **err);
VMCTL_API int vmctl_guest_copy_in(vmctl_vm *vm, const char *local, const char *guest, const vmctl_call *call,
                                  vmctl_error **err);
VMCTL_API int vmctl_guest_copy_out(vmctl_vm *vm, const char *guest, const char *local, const vmctl_call *call,
                                   vmctl_error **err);
VMCTL_API int vmctl_guest_freeze(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);
VMCTL_API int vmctl_guest_thaw(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);
/* The password is in no log, argument vector or error. */
VMCTL_API int vmctl_guest_set_password(vmctl_vm *vm, const char *user, const char *password, const vmctl_call *call,
                                       vmctl_error **err);

VMCTL_END_DECLS

#endif
