/* backends/libvirt/rpc.h - arguments and results of calls that run on the connection's worker (libvirt_call), counted so that
 * neither side frees what the other still uses. */
#ifndef VMC_LIBVIRT_RPC_H
#define VMC_LIBVIRT_RPC_H

#include "conn.h"
#include <pthread.h>

/* All pointers but virt are owned, and go with the last reference. Each work function says which it takes and gives. After a call that
 * timed out or was cancelled the worker may still write here: the caller only frees then. */
typedef struct libvirt_rpc {
    virConnectPtr virt;
    virStoragePoolPtr pool;
    virStorageVolPtr volume;
    virDomainPtr domain;
    virDomainSnapshotPtr snapshot;
    virNetworkPtr network;
    virStreamPtr stream;
    bool streaming; /* it is open: set by the work that opens it */
    char *name;
    char *text;
    char *out;
    char *bytes;
    size_t length;
    unsigned long long number;
    unsigned flags;
    bool found; /* a lookup's answer where "there is none" is no error */
    vmc_strv list;
    virErrorPtr failure; /* set before calls that clean up and would overwrite libvirt's last error */
    /* rpc.c */
    int (*work)(struct libvirt_rpc *rpc);
    pthread_t caller;
    int references;
    bool dropped;
} libvirt_rpc;

libvirt_rpc *libvirt_rpc_new(const libvirt_conn *conn);
void libvirt_rpc_free(libvirt_rpc **rpc);
#define LIBVIRT_AUTO_RPC vmc_cleanup(libvirt_rpc_free) libvirt_rpc

/* libvirt_call with such arguments; they stay the caller's in every case. */
int libvirt_rpc_run(libvirt_conn *conn, const vmc_deadline *deadline, const char *doing, int (*work)(libvirt_rpc *rpc),
                    libvirt_rpc *rpc, vmctl_error **err);

/* In a work function, after a lookup gave nothing: 0 with rpc->found false when libvirt says `absent` (VIR_ERR_NO_...), else -1. */
int libvirt_rpc_absent(libvirt_rpc *rpc, int absent);

/* Work functions that end the stream: what was sent has arrived, or is of no more use. Without an open stream they do nothing. A call that
 * is given up ends its stream itself. */
int libvirt_rpc_stream_finish(libvirt_rpc *rpc);
int libvirt_rpc_stream_abort(libvirt_rpc *rpc);

#endif
