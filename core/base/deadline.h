/* base/deadline.h - one deadline and one cancel token for everything that a call does. */
#ifndef VMC_BASE_DEADLINE_H
#define VMC_BASE_DEADLINE_H

#include <stdbool.h>
#include <stdint.h>
#include <vmctl/call.h>
#include <vmctl/error.h>

typedef struct vmc_deadline {
    int64_t at_ms;          /* CLOCK_MONOTONIC milliseconds; -1: none */
    vmctl_cancel *cancel;   /* NULL: cannot be cancelled */
    const vmctl_call *call; /* for progress and notes; NULL: silent */
} vmc_deadline;

VMCTL_API int64_t vmc_now_ms(void); /* CLOCK_MONOTONIC */

/* call may be NULL. timeout_ms 0 becomes default_ms (-1: none). */
VMCTL_API vmc_deadline vmc_deadline_start(const vmctl_call *call, int64_t default_ms);
/* The earlier of this and so many milliseconds from now: for one step of a longer call. */
VMCTL_API vmc_deadline vmc_deadline_within(const vmc_deadline *deadline, int64_t ms);
/* A vmctl_call for a nested public or backend call: what remains, the same token and ears. */
VMCTL_API vmctl_call vmc_deadline_call(const vmc_deadline *deadline);

/* Milliseconds left, at least 0; -1 when there is no deadline. As poll(2) takes it (capped at INT_MAX). */
VMCTL_API int vmc_deadline_left(const vmc_deadline *deadline);
/* 0, VMCTL_E_TIMEOUT ("timed out <doing>") or VMCTL_E_CANCELLED ("cancelled <doing>"): doing is "waiting for an address". */
VMCTL_API int vmc_deadline_check(const vmc_deadline *deadline, const char *doing, vmctl_error **err);
/* Waits until fd has one of the poll(2) events, or the deadline or cancel comes. fd -1: only sleeps. `slice_ms` >= 0 bounds this
 * one wait: 0 is returned when it passes. 1: fd is ready. Negative: as vmc_deadline_check. */
VMCTL_API int vmc_deadline_poll(const vmc_deadline *deadline, int fd, short events, int slice_ms, const char *doing,
                                vmctl_error **err);

/* To the caller's ears; VMCTL_E_CANCELLED when progress asks to stop, else 0. */
VMCTL_API int vmc_progress(const vmc_deadline *deadline, const char *vm, const char *stage, const char *device,
                           vmctl_unit unit, uint64_t done, uint64_t total, vmctl_error **err);
VMCTL_API void vmc_note(const vmc_deadline *deadline, vmctl_note_level level, const char *format, ...)
    VMCTL_PRINTF(3, 4);

#endif
