/* base/error.h - building the error object (vmctl/error.h). Private: vmc_ names are for the rooms of this project.
 *
 * The idiom at every call site:   if (x() < 0) return vmc_error(err, VMCTL_E_..., "...", ...);
 * Every builder accepts err == NULL and then only returns the code.
 */
#ifndef VMC_BASE_ERROR_H
#define VMC_BASE_ERROR_H

#include <stdbool.h>
#include <stdint.h>
#include <vmctl/error.h>

/* Replaces *err (an earlier error is freed) and returns code. The message has no final full stop. */
VMCTL_API int vmc_error(vmctl_error **err, int code, const char *format, ...) VMCTL_PRINTF(3, 4);
/* What an errno stands for: ENOENT not-found, ENOSPC resource-exhausted, EACCES permission-denied ...; internal otherwise. */
VMCTL_API int vmc_errno_code(int errno_value);
/* vmc_error with strerror(errno_value) after ": ", and that code. */
VMCTL_API int vmc_error_errno(vmctl_error **err, int errno_value, const char *format, ...) VMCTL_PRINTF(3, 4);
VMCTL_API int vmc_error_no_memory(vmctl_error **err);

/* Additions to an error that was just made; nothing is kept when err or *err is NULL. They return the error's code; with err NULL that of the
 * last one that this thread made so, so that `return vmc_error_next(...)` never turns a failure into success. */
VMCTL_API int vmc_error_next(vmctl_error **err, const char *format, ...) VMCTL_PRINTF(2, 3);
VMCTL_API int vmc_error_hypervisor(vmctl_error **err, const char *code, const char *message);
VMCTL_API int vmc_error_retryable(vmctl_error **err);
/* The same error under another code: faults of a spec that a backend cannot honour are UNSUPPORTED, not INVALID_SPEC. */
VMCTL_API int vmc_error_recode(vmctl_error **err, int code);
/* Puts "format: " before the message. */
VMCTL_API int vmc_error_prefix(vmctl_error **err, const char *format, ...) VMCTL_PRINTF(2, 3);
/* Appends to the message: what could not be undone, for example. */
VMCTL_API int vmc_error_append(vmctl_error **err, const char *format, ...) VMCTL_PRINTF(2, 3);
/* Set by the dispatcher; where already set they stay. NULL leaves a part as it is. */
VMCTL_API void vmc_error_where(vmctl_error **err, const char *action, const char *vm, const char *backend,
                               const char *endpoint);
/* Adds a fault; makes *err an INVALID_SPEC error when it is NULL. path and file may be NULL. */
VMCTL_API int vmc_error_fault(vmctl_error **err, const char *file, unsigned line, unsigned column, const char *path,
                              const char *format, ...) VMCTL_PRINTF(6, 7);

/* Whether a call that ended with this code may have done its work all the same: it was given up, or the way to its answer broke. Any
 * other failure is the hypervisor's refusal. */
VMCTL_API bool vmc_outcome_unknown(int code);

/* A deep copy, and moving an error: *to = *from, *from = NULL (with to NULL it is freed). */
VMCTL_API vmctl_error *vmc_error_copy(const vmctl_error *err);
VMCTL_API void vmc_error_move(vmctl_error **to, vmctl_error **from);

#endif
