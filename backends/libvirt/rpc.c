/* backends/libvirt/rpc.c - arguments and results of calls that run on the connection's worker. */
#include "rpc.h"

#include <stdlib.h>

libvirt_rpc *libvirt_rpc_new(const libvirt_conn *conn) {
    libvirt_rpc *rpc = vmc_alloc(sizeof *rpc);
    rpc->virt = conn->virt;
    rpc->references = 1;
    return rpc;
}

static void unref(libvirt_rpc *rpc) {
    if (__atomic_sub_fetch(&rpc->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (rpc->stream)
        virStreamFree(rpc->stream);
    if (rpc->volume)
        virStorageVolFree(rpc->volume);
    if (rpc->pool)
        virStoragePoolFree(rpc->pool);
    if (rpc->snapshot)
        virDomainSnapshotFree(rpc->snapshot);
    if (rpc->domain)
        virDomainFree(rpc->domain);
    if (rpc->network)
        virNetworkFree(rpc->network);
    free(rpc->name);
    free(rpc->text);
    free(rpc->out);
    free(rpc->bytes);
    vmc_strv_free(&rpc->list);
    virFreeError(rpc->failure);
    free(rpc);
}

void libvirt_rpc_free(libvirt_rpc **rpc) {
    if (*rpc)
        unref(*rpc);
    *rpc = NULL;
}

static int run(void *args) {
    libvirt_rpc *rpc = args;
    return rpc->work(rpc);
}

int libvirt_rpc_stream_finish(libvirt_rpc *rpc) {
    bool open = rpc->streaming;
    rpc->streaming = false;
    return open ? virStreamFinish(rpc->stream) : 0;
}

int libvirt_rpc_stream_abort(libvirt_rpc *rpc) {
    bool open = rpc->streaming;
    rpc->streaming = false;
    return open ? virStreamAbort(rpc->stream) : 0;
}

static void drop(void *args) {
    libvirt_rpc *rpc = args;
    /* On the thread of a call that was given up, nobody else can end the stream: libvirt's client keeps it in its list, and loses both
     * when the connection closes (virNetClientDispose, 9.0). */
    if (!pthread_equal(pthread_self(), rpc->caller))
        libvirt_rpc_stream_abort(rpc);
    __atomic_store_n(&rpc->dropped, true, __ATOMIC_RELEASE);
    unref(rpc);
}

int libvirt_rpc_run(libvirt_conn *conn, const vmc_deadline *deadline, const char *doing, int (*work)(libvirt_rpc *rpc),
                    libvirt_rpc *rpc, vmctl_error **err) {
    rpc->work = work;
    rpc->caller = pthread_self();
    rpc->found = false;
    __atomic_store_n(&rpc->dropped, false, __ATOMIC_RELEASE);
    __atomic_add_fetch(&rpc->references, 1, __ATOMIC_ACQ_REL);
    int code = libvirt_call(conn, deadline, doing, run, rpc, drop, err);
    /* With these two codes an abandoned call may have its reference still to drop. */
    bool abandoned = code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED;
    if (abandoned || __atomic_load_n(&rpc->dropped, __ATOMIC_ACQUIRE))
        return code;
    if (code < 0 && rpc->failure)
        code = libvirt_error(err, rpc->failure, "%s failed", doing);
    virFreeError(rpc->failure);
    rpc->failure = NULL;
    unref(rpc);
    return code;
}

int libvirt_rpc_absent(libvirt_rpc *rpc, int absent) {
    rpc->found = false;
    if (virGetLastErrorCode() != absent)
        return -1;
    virResetLastError();
    return 0;
}
