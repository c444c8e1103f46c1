/* backends/libvirt/listener.h - libvirt's events as a queue: its callbacks come in the event loop's thread, vmctl's in the
 * caller's. */
#ifndef VMC_LIBVIRT_LISTENER_H
#define VMC_LIBVIRT_LISTENER_H

#include "ops.h"

typedef struct libvirt_listener libvirt_listener;

/* One event; kind VMCTL_EVENT_TICK stands for "the connection was lost" here. */
typedef struct libvirt_event {
    struct libvirt_event *next;
    vmctl_event_kind kind;
    int64_t time_ms;
    char *name;
    char uuid[VIR_UUID_STRING_BUFLEN];
    vmctl_state state;
    char *detail;
    char *alias;               /* DEVICE: libvirt's name of the device; NULL */
    bool removed, refused;     /* DEVICE: the guest let it go; it said that it will not */
    unsigned long long number; /* OTHER with a balloon's: KiB that the guest has now; 0 */
} libvirt_event;

typedef enum libvirt_listen {
    LIBVIRT_LISTEN_ALL = 0,
    LIBVIRT_LISTEN_LIFECYCLE = 1, /* state changes alone, in fewer round trips */
    LIBVIRT_LISTEN_GUEST = 2      /* these, and what the guest does with its devices and its memory */
} libvirt_listen;

/* Listens on a connection of its own to the same endpoint, to all domains; the loss of the connection is an event too. */
int libvirt_listener_open(const libvirt_conn *conn, libvirt_listen what, const vmc_deadline *deadline,
                          libvirt_listener **out, vmctl_error **err);
/* The listener's connection: for questions whose answers must not be older than the events. */
libvirt_conn *libvirt_listener_conn(libvirt_listener *listener);
/* Polls readable when an event waits. */
int libvirt_listener_fd(const libvirt_listener *listener);
/* NULL: none waits. libvirt_event_free. */
libvirt_event *libvirt_listener_next(libvirt_listener *listener);
void libvirt_listener_close(libvirt_listener *listener);
void libvirt_event_free(libvirt_event *event);

#endif
