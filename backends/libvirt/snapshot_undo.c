/* backends/libvirt/snapshot_undo.c - what an interrupted snapshot verb left is taken back. */
#include "job.h"
#include "rpc.h"
#include "snapshot.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* libvirt stamps a snapshot when the request arrives, so that one of the same name at another time is another one. */
enum { BEFORE_S = 2, AFTER_S = 60 };

/* domain and name -> out (its document); found */
static int work_find(libvirt_rpc *rpc) {
    virDomainSnapshotPtr snapshot = virDomainSnapshotLookupByName(rpc->domain, rpc->name, 0);
    if (!snapshot)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN_SNAPSHOT);
    rpc->found = true;
    rpc->out = virDomainSnapshotGetXMLDesc(snapshot, 0);
    virDomainSnapshotFree(snapshot);
    return rpc->out ? 0 : -1;
}

/* domain and name. While it is still being taken the deletion waits for that end, which is asked for first. */
static int work_delete(libvirt_rpc *rpc) {
    libvirt_job job;
    if (virDomainIsActive(rpc->domain) == 1 && libvirt_job_read(rpc->domain, &job) == 0 &&
        libvirt_job_is(&job, VIR_DOMAIN_JOB_OPERATION_SNAPSHOT))
        virDomainAbortJob(rpc->domain);
    virDomainSnapshotPtr snapshot = virDomainSnapshotLookupByName(rpc->domain, rpc->name, 0);
    if (!snapshot)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN_SNAPSHOT);
    int code = virDomainSnapshotDelete(snapshot, 0);
    if (code < 0 && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN_SNAPSHOT)
        code = 0;
    if (code < 0)
        rpc->failure = virSaveLastError();
    virDomainSnapshotFree(snapshot);
    return code;
}

/* name (UUID) -> domain; found */
static int work_domain(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    rpc->found = rpc->domain != NULL;
    return rpc->domain ? 0 : libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN);
}

/* domain */
static int work_thaw(libvirt_rpc *rpc) {
    return virDomainIsActive(rpc->domain) == 0 || virDomainFSThaw(rpc->domain, NULL, 0, 0) >= 0 ? 0 : -1;
}

/* domain */
static int work_drop_save(libvirt_rpc *rpc) {
    if (virDomainIsActive(rpc->domain) != 1 || virDomainHasManagedSaveImage(rpc->domain, 0) != 1)
        return 0;
    return virDomainManagedSaveRemove(rpc->domain, 0);
}

/* The domain of this UUID; *rpc NULL: it is gone. */
static int domain_of(libvirt_conn *conn, const char *uuid, const vmc_deadline *deadline, libvirt_rpc **rpc,
                     vmctl_error **err) {
    *rpc = libvirt_rpc_new(conn);
    (*rpc)->name = vmc_strdup(uuid);
    int code = libvirt_rpc_run(conn, deadline, "looking the domain up", work_domain, *rpc, err);
    if (code < 0 || !(*rpc)->found)
        libvirt_rpc_free(rpc);
    return code;
}

static int with_domain(libvirt_conn *conn, const char *uuid, const char *doing, int (*work)(libvirt_rpc *rpc),
                       const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = NULL;
    int code = domain_of(conn, uuid, deadline, &rpc, err);
    return rpc ? libvirt_rpc_run(conn, deadline, doing, work, rpc, err) : code;
}

int libvirt_thaw_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    return with_domain(conn, detail, "thawing the guest's file systems", work_thaw, deadline, err);
}

int libvirt_stale_save_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    return with_domain(conn, detail, "removing the saved memory", work_drop_save, deadline, err);
}

int libvirt_snapshot_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    long long noted = 0;
    int at = 0;
    if (sscanf(detail, "%36s %lld %n", uuid, &noted, &at) != 2 || at == 0)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"snapshot %s\" cannot be read", detail);
    LIBVIRT_AUTO_RPC *rpc = NULL;
    int code = domain_of(conn, uuid, deadline, &rpc, err);
    if (!rpc)
        return code;
    free(rpc->name);
    rpc->name = vmc_strdup(detail + at);
    code = libvirt_rpc_run(conn, deadline, "looking for the snapshot", work_find, rpc, err);
    if (code < 0 || !rpc->found)
        return code;
    VMC_AUTO_STRV documents = {0};
    vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots found = {0};
    vmc_strv_add(&documents, rpc->out);
    code = libvirt_snapshots_parse(&documents, NULL, &found, err);
    if (code < 0)
        return code;
    if (found.items[0].created < noted - BEFORE_S || found.items[0].created > noted + AFTER_S)
        return 0;
    do { /* libvirt gives up waiting for the end of another job after 30 s */
        code = libvirt_rpc_run(conn, deadline, "removing the snapshot", work_delete, rpc, err);
    } while (code == VMCTL_E_BUSY && vmc_deadline_left(deadline) != 0);
    return code;
}
