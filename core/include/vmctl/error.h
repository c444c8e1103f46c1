/* vmctl/error.h - the error object and the closed set of codes.
 *
 * Every fallible call of libvmctl returns 0 or one of the negative codes below and, when the caller passed
 * a `vmctl_error **` that is not NULL, stores there a new error object that the caller owns
 * (vmctl_error_free). On success the pointer is left as it was. Error objects are immutable once returned
 * and may be read by several threads. No secret (password, token, key) is ever part of one.
 */
#ifndef VMCTL_ERROR_H
#define VMCTL_ERROR_H

#include <stdbool.h>
#include <stddef.h>

#include <vmctl/export.h>

VMCTL_BEGIN_DECLS

/* The codes are the same in the library, in JSON ("not-found") and, grouped, in the exit status of vmctl. */
typedef enum vmctl_code {
    VMCTL_OK = 0,
    VMCTL_E_INVALID_ARGUMENT = -1,     /* an argument or option is not usable; nothing was sent */
    VMCTL_E_INVALID_SPEC = -2,         /* a vm.yaml document has faults; see vmctl_error_fault_* */
    VMCTL_E_NOT_FOUND = -3,            /* no such VM, snapshot, device, image, pool, context */
    VMCTL_E_ALREADY_EXISTS = -4,       /* the name or the file is taken */
    VMCTL_E_AMBIGUOUS = -5,            /* the name fits several; the message lists them */
    VMCTL_E_INVALID_STATE = -6,        /* not possible in the state the VM is in */
    VMCTL_E_BUSY = -7,                 /* another operation holds the VM or device; try again later */
    VMCTL_E_CONFLICT = -8,             /* the object was changed by someone else meanwhile */
    VMCTL_E_UNSUPPORTED = -9,          /* this backend, host or VM cannot do it */
    VMCTL_E_UNAUTHENTICATED = -10,     /* no or wrong credentials */
    VMCTL_E_PERMISSION_DENIED = -11,   /* known, but not allowed */
    VMCTL_E_RESOURCE_EXHAUSTED = -12,  /* disk, memory, quota or another limit */
    VMCTL_E_TIMEOUT = -13,             /* the deadline passed; the message says what was waited for */
    VMCTL_E_CANCELLED = -14,           /* the caller's cancel token was triggered */
    VMCTL_E_UNAVAILABLE = -15,         /* the endpoint cannot be reached or went away */
    VMCTL_E_DATA_LOSS_PREVENTED = -16, /* refused because data would be lost */
    VMCTL_E_INTERNAL = -17             /* a bug in vmctl or an answer it cannot understand */
} vmctl_code;

typedef struct vmctl_error vmctl_error;

/* One fault of a document. The strings belong to the error. */
typedef struct vmctl_fault {
    size_t size;
    const char *file;    /* as the caller named it; NULL when the document did not come from a file */
    unsigned line;       /* from 1; 0 when unknown */
    unsigned column;     /* from 1; 0 when unknown */
    const char *path;    /* "disks[0].size"; NULL for faults of syntax */
    const char *message; /* what is wrong and what to write instead */
} vmctl_fault;

/* The code's name as in JSON, "not-found"; "ok" for 0; "internal" for a number that is no code. */
VMCTL_API const char *vmctl_code_name(int code);

/* The exit status of the command for a code (CLI contract, "Errors and exit status"): 2 to 11, 70, 130. */
VMCTL_API int vmctl_code_exit_status(int code);

VMCTL_API int vmctl_error_code(const vmctl_error *err);

/* What is wrong, one sentence without a final full stop: "disk vda is raw; a memory snapshot needs qcow2". Never NULL. */
VMCTL_API const char *vmctl_error_message(const vmctl_error *err);

/* What was being done: "cannot start web-1"; NULL when unknown. */
VMCTL_API const char *vmctl_error_action(const vmctl_error *err);

/* The VM's name as the caller gave it, NULL when the error is about no VM. */
VMCTL_API const char *vmctl_error_vm(const vmctl_error *err);

/* The backend's name ("libvirt") and the endpoint ("qemu:///system"; never with a password); NULL before one was chosen. */
VMCTL_API const char *vmctl_error_backend(const vmctl_error *err);
VMCTL_API const char *vmctl_error_endpoint(const vmctl_error *err);

/* The hypervisor's own code ("VIR_ERR_OPERATION_INVALID") and words, NULL where it said nothing. */
VMCTL_API const char *vmctl_error_hypervisor_code(const vmctl_error *err);
VMCTL_API const char *vmctl_error_hypervisor_message(const vmctl_error *err);

/* Whether the same call can succeed later without anyone changing anything. */
VMCTL_API bool vmctl_error_retryable(const vmctl_error *err);

/* The next step to try: "stop web-1 first"; NULL when there is none. */
VMCTL_API const char *vmctl_error_next(const vmctl_error *err);

/* All faults of a document, in the order of their lines (INVALID_SPEC only). index < count. */
VMCTL_API size_t vmctl_error_fault_count(const vmctl_error *err);
VMCTL_API const vmctl_fault *vmctl_error_fault(const vmctl_error *err, size_t index);

/* The whole error as a person reads it, without "vmctl: " before it and without a final newline:
 *   cannot take snapshot "base" of web-1 (libvirt, qemu:///system): unsupported: disk vda is raw; ...
 *     hypervisor said: ... (VIR_ERR_OPERATION_UNSUPPORTED)
 *     try: ...
 * The string belongs to the error. */
VMCTL_API const char *vmctl_error_text(const vmctl_error *err);

/* NULL is allowed. */
VMCTL_API void vmctl_error_free(vmctl_error *err);

VMCTL_END_DECLS

#endif
