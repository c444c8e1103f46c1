/* vmctl/call.h - what the caller lends to one call: a deadline, a cancel token, and ears for progress and notes.
 *
 * A call of libvmctl is synchronous: it returns when it is done, failed, timed out or cancelled. Whoever
 * wants several at once brings threads. All callbacks run in the thread that made the call, before it returns.
 */
#ifndef VMCTL_CALL_H
#define VMCTL_CALL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmctl/error.h>
#include <vmctl/export.h>

VMCTL_BEGIN_DECLS

/* A cancel token. Triggering is for ever; one token may serve several calls in several threads. */
typedef struct vmctl_cancel vmctl_cancel;

/* NULL when memory or file descriptors are exhausted. Free it only after the last call that uses it returned. */
VMCTL_API vmctl_cancel *vmctl_cancel_new(void);
VMCTL_API void vmctl_cancel_free(vmctl_cancel *cancel);

/* Makes every call that holds the token end with VMCTL_E_CANCELLED as soon as it can. Async-signal-safe
 * (a write to an eventfd): may be called from a signal handler. */
VMCTL_API void vmctl_cancel_trigger(vmctl_cancel *cancel);
VMCTL_API bool vmctl_cancel_triggered(const vmctl_cancel *cancel);

/* A descriptor that polls readable once the token is triggered; owned by the token, never read from it. */
VMCTL_API int vmctl_cancel_fd(const vmctl_cancel *cancel);

typedef enum vmctl_unit {
    VMCTL_UNIT_NONE = 0, /* no measure: a stage begins or goes on */
    VMCTL_UNIT_BYTES = 1,
    VMCTL_UNIT_PERCENT = 2,
    VMCTL_UNIT_ITEMS = 3
} vmctl_unit;

/* One report of progress; valid during the callback only. */
typedef struct vmctl_progress {
    size_t size;
    const char *vm;     /* the VM's name; NULL when the work is for no single VM */
    const char *stage;  /* what is going on now, for a person: "copying disk root", "waiting for an address" */
    const char *device; /* the disk or NIC it is about; NULL for none */
    vmctl_unit unit;
    uint64_t done;
    uint64_t total;            /* 0 when unknown */
    uint64_t bytes_per_second; /* this and what follows where the hypervisor tells it, else 0: a migration */
    int64_t remaining_ms;
    int64_t downtime_ms; /* how long the guest stands still at its end, as far as is known */
} vmctl_progress;

typedef enum vmctl_note_level {
    VMCTL_NOTE_INFO = 0,   /* worth one line: "web-1 is already running" */
    VMCTL_NOTE_WARNING = 1 /* something was left out or will surprise */
} vmctl_note_level;

typedef struct vmctl_call {
    size_t size;
    int64_t timeout_ms;   /* the whole call's deadline; 0: the operation's own default, -1: none */
    vmctl_cancel *cancel; /* NULL: cannot be cancelled */
    /* Returning non-zero cancels, like the token. NULL: silent. */
    int (*progress)(const vmctl_progress *progress, void *user);
    void (*note)(vmctl_note_level level, const char *text, void *user);
    void *user; /* handed to both callbacks */
} vmctl_call;

#define VMCTL_CALL_INIT                                                                                                \
    { sizeof(vmctl_call), 0, NULL, NULL, NULL, NULL }

/* A duration as people write it ("90s", "5m", "2h", "1d", "250ms") in milliseconds, and a size ("512MiB", "20GiB", "1TB")
 * in bytes, for programs that take them from their users. A bare number is VMCTL_E_INVALID_ARGUMENT: its unit would be a guess. */
VMCTL_API int vmctl_parse_duration(const char *text, int64_t *ms, vmctl_error **err);
VMCTL_API int vmctl_parse_size(const char *text, int64_t *bytes, vmctl_error **err);

/* The closest of candidates (NULL-terminated) by edit distance, NULL when none is close: for "did you mean". */
VMCTL_API const char *vmctl_nearest(const char *word, const char *const *candidates);

VMCTL_END_DECLS

#endif
