/* backends/libvirt/conn.h - one connection to a libvirt daemon, and how its calls get a deadline.
 *
 * libvirt's RPC has neither a deadline nor a cancel. Every call runs on a worker thread of the connection; at the
 * deadline (or on cancel) it is abandoned: the connection is retired (every later call fails with UNAVAILABLE), the
 * worker keeps what it needs alive until libvirt returns, and the error says that the operation may still complete.
 */
#ifndef VMC_LIBVIRT_CONN_H
#define VMC_LIBVIRT_CONN_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <vmctl/backend.h>

typedef struct libvirt_conn libvirt_conn;

struct libvirt_conn {
    virConnectPtr virt;
    char *uri;                                 /* canonical */
    char *host;                                /* this machine's name, or the URI's host; NULL: not known */
    bool local;                                /* the daemon sees this machine's files: no host in the URI */
    bool session;                              /* qemu:///session: the person's own daemon */
    bool test_driver;                          /* test:///: no files, no QEMU */
    struct libvirt_worker *worker;             /* conn.c */
    struct libvirt_capabilities *capabilities; /* capabilities.c: asked once, when first needed; NULL before */
    char *user, *password;                     /* what the daemon asked for when it was opened; NULL: nothing */
    int references;                            /* conn.c: abandoned calls keep it alive */
};

/* The backend's VM handle. The name is kept so that no call is needed for messages. */
typedef struct libvirt_vm {
    virDomainPtr domain;
    char *name;
    char uuid[VIR_UUID_STRING_BUFLEN];
} libvirt_vm;

/* Runs `work(args)` on the worker and returns its result (what `work` returned). `work` makes libvirt calls only and
 * keeps its results in args; a failing one returns negative, and libvirt's last error is turned into *err ("doing" is
 * "starting the domain"; what changes nothing begins with "looking", "reading", "listing" or "asking", and no error says that it may still complete). On deadline or cancel: VMCTL_E_TIMEOUT or VMCTL_E_CANCELLED, and args is freed with `drop`
 * once libvirt returns (drop NULL: free). With every other result args stays the caller's. So args is malloc'ed and points into no caller's frame; it may
 * point to the connection and to domains of VM handles, which outlive an abandoned call. A call that is being cancelled gets
 * one more second to return by itself, so that the connection stays usable for undoing. */
int libvirt_call(libvirt_conn *conn, const vmc_deadline *deadline, const char *doing, int (*work)(void *args),
                 void *args, void (*drop)(void *args), vmctl_error **err);

/* Opens uri (not NULL) and nothing else: no choice of an endpoint, no daemon is started. `endpoint` may be NULL; its password is asked for
 * in the calling thread when the daemon wants one. events: with the event loop and keep-alive, for callbacks and streams. */
int libvirt_conn_open(const char *uri, const vmctl_endpoint *endpoint, bool events, const vmc_deadline *deadline,
                      libvirt_conn **out, vmctl_error **err);
/* One more connection to the same endpoint, with the same credentials. */
int libvirt_conn_sibling(const libvirt_conn *conn, bool events, const vmc_deadline *deadline, libvirt_conn **out,
                         vmctl_error **err);
/* Connects again after an abandoned call or a lost daemon (otherwise nothing happens): for undoing. Handles of domains, pools and volumes made
 * before belong to the old connection and stay useless. Not while another thread uses the connection. */
int libvirt_conn_renew(libvirt_conn *conn, const vmc_deadline *deadline, vmctl_error **err);
/* Waits at most 5 s for the daemon's answer. */
void libvirt_conn_free(libvirt_conn *conn);
/* Frees what a call brought, which for a long list takes as long as writing it, on an idle call thread while the caller goes on. The
 * connection's end waits for it. */
void libvirt_drop_beside(libvirt_conn *conn, void (*drop)(void *args), void *args);
/* Frees `object` now, or, where an abandoned call may still use it, once that call has returned. */
void libvirt_conn_release(libvirt_conn *conn, int (*release)(void *object), void *object);

/* loop.c: makes sure that the process has an event loop; before the first connection with events is opened. */
int libvirt_loop_start(vmctl_error **err);

/* Turns a virError (NULL: the calling thread's last one) into *err: the closed code, libvirt's words and the name of
 * its code ("VIR_ERR_NO_DOMAIN"). Returns the code. */
int libvirt_error(vmctl_error **err, const virError *error, const char *format, ...) VMCTL_PRINTF(3, 4);

#endif
