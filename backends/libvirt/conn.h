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
    bool local;                                /* the daemon sees this machine's files: no host in the URI */
    bool session;                              /* qemu:///session: the person's own daemon */
    bool test_driver;                          /* test:///: no files, no QEMU */
    struct libvirt_worker *worker;             /* conn.c */
    struct libvirt_capabilities *capabilities; /* capabilities.c: asked once, when first needed; NULL before */
};

/* The backend's VM handle. The name is kept so that no call is needed for messages. */
typedef struct libvirt_vm {
    virDomainPtr domain;
    char *name;
    char uuid[VIR_UUID_STRING_BUFLEN];
} libvirt_vm;

/* Runs `work(args)` on the worker and returns its result (what `work` returned). `work` makes libvirt calls only and
 * keeps its results in args; a failing one returns negative, and libvirt's last error is turned into *err ("doing" is
 * "starting the domain"). On deadline or cancel: VMCTL_E_TIMEOUT or VMCTL_E_CANCELLED, and args is freed with `drop`
 * once libvirt returns. Otherwise args stays the caller's. So args is malloc'ed and points into no caller's frame. */
int libvirt_call(libvirt_conn *conn, const vmc_deadline *deadline, const char *doing, int (*work)(void *args),
                 void *args, void (*drop)(void *args), vmctl_error **err);

/* Turns a virError (NULL: the calling thread's last one) into *err: the closed code, libvirt's words and the name of
 * its code ("VIR_ERR_NO_DOMAIN"). Returns the code. */
int libvirt_error(vmctl_error **err, const virError *error, const char *format, ...) VMCTL_PRINTF(3, 4);

#endif
