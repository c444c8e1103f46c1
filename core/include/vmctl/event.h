/* vmctl/event.h - what happens to VMs, as the hypervisor tells it. */
#ifndef VMCTL_EVENT_H
#define VMCTL_EVENT_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

typedef enum vmctl_event_kind {
    VMCTL_EVENT_STATE = 0,   /* `state` is the new one; `detail` the cause */
    VMCTL_EVENT_DEFINED = 1, /* made or its configuration changed */
    VMCTL_EVENT_DELETED = 2,
    VMCTL_EVENT_AGENT = 3,     /* the guest agent came or went: `detail` is "connected" or "disconnected" */
    VMCTL_EVENT_DEVICE = 4,    /* a device came or went: `detail` names it */
    VMCTL_EVENT_JOB = 5,       /* progress or end of a job */
    VMCTL_EVENT_CONNECTED = 6, /* listening: sent once at the start, and again after the endpoint was lost and found */
    VMCTL_EVENT_OTHER = 7,
    VMCTL_EVENT_TICK = 8 /* nothing happened for tick_ms */
} vmctl_event_kind;

VMCTL_API const char *vmctl_event_kind_name(vmctl_event_kind kind); /* "state", "defined", ... */

/* Valid during the callback. */
typedef struct vmctl_event {
    size_t size;
    vmctl_event_kind kind;
    int64_t time_ms;  /* milliseconds since 1970 UTC, when it arrived; 0: not known */
    const char *name; /* NULL: about no VM. CONNECTED: of options.vm, when it is there */
    const char *id;
    vmctl_state state;
    const char *detail;
} vmctl_event;

/* Non-zero ends the listening; the call then returns 0. */
typedef int (*vmctl_event_fn)(const vmctl_event *event, void *user);

typedef struct vmctl_event_options {
    size_t size;
    const vmctl_call *call; /* default deadline: none; the end of the deadline is no error here */
    const char *vm;         /* only this one (name or id), also after it was renamed; NULL: all */
    unsigned tick_ms;       /* also call back (kind TICK) when nothing happened for so long; 0: never */
    bool recorded;          /* not what happens, but what the hypervisor remembers, and then return */
} vmctl_event_options;

#define VMCTL_EVENT_OPTIONS_INIT                                                                                       \
    { sizeof(vmctl_event_options), NULL, NULL, 0, false }

/* Listens until the callback, the cancel token or the deadline ends it. Nothing between CONNECTED and the end is lost: after the
 * endpoint was lost and found, what changed meanwhile is told as events (some may then come twice). The callback runs in the
 * caller's thread and may use the connection. A hypervisor that keeps no record remembers the state of each VM and how it came to it. */
VMCTL_API int vmctl_events(vmctl_connection *connection, const vmctl_event_options *options, vmctl_event_fn each,
                           void *user, vmctl_error **err);

VMCTL_END_DECLS

#endif
