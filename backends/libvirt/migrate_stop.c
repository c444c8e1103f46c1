/* backends/libvirt/migrate_stop.c - giving an outgoing migration up without losing the VM.
 *
 * Source: what libvirt 9.0 with QEMU 7.2 does when virDomainAbortJob comes while the guest stands still for the switch-over (seen by sending it then):
 *   - QEMU cancels, but the VM runs on with its disks still handed over: it dies of the first write, or of the next migration;
 *   - QEMU cancels and the VM runs on, and libvirt waits for ever for it to stand still again, so that nothing else can be done to the VM;
 *   - QEMU stays in "cancelling", the guest stands still for ever and cannot be resumed.
 * So the job is not aborted at that moment: it ends by itself, well or badly. The moment can begin between the look and the
 * abort, and others abort too (virsh domjobabort): each of the three has its cure. */
#include "migrate.h"

#include "rpc.h"
#include <libvirt/libvirt-qemu.h>
#include <stdlib.h>

enum { SWITCH_MS = 15000 }; /* that long a switch-over may take before it is aborted all the same */

static const char go_on[] = "{\"execute\":\"migrate-continue\",\"arguments\":{\"state\":\"cancelling\"}}";

/* --- one step ------------------------------------------------------------------------------------------------------ */

typedef struct step_args {
    virDomainPtr domain;
    libvirt_stopping s;
    int64_t now_ms;
} step_args;

static void step_drop(void *opaque) {
    step_args *args = opaque;
    virDomainFree(args->domain);
    free(args);
}

static bool switching(int state, int reason) {
    return state == VIR_DOMAIN_PAUSED &&
           (reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_POSTCOPY);
}

/* QEMU has cancelled and tells no numbers any more, the guest runs again, and still libvirt has the job under way. */
static bool is_forgotten(virDomainPtr domain, int state, int reason) {
    libvirt_job job;
    if (state != VIR_DOMAIN_RUNNING || reason != VIR_DOMAIN_RUNNING_UNPAUSED)
        return false;
    if (libvirt_job_read(domain, &job) < 0) {
        virResetLastError();
        return false;
    }
    return libvirt_job_is(&job, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT) && job.type == VIR_DOMAIN_JOB_UNBOUNDED &&
           job.memory_total == 0;
}

static int step_work(void *opaque) {
    step_args *args = opaque;
    libvirt_stopping *s = &args->s;
    int state = 0, reason = 0;
    if (virDomainGetState(args->domain, &state, &reason, 0) < 0)
        return -1;
    if (s->asked && state == VIR_DOMAIN_PAUSED && !s->suspended) {
        char *answer = NULL; /* QEMU takes it in that state only */
        virDomainQemuMonitorCommand(args->domain, go_on, &answer, 0);
        free(answer);
        virResetLastError();
        return 0;
    }
    if (s->asked && !s->suspended && is_forgotten(args->domain, state, reason)) {
        s->suspended = virDomainSuspend(args->domain) == 0; /* what libvirt waits for; it resumes the VM then */
        return s->suspended ? 0 : -1;
    }
    if (!switching(state, reason)) {
        s->switching_ms = 0;
    } else if (s->switching_ms == 0 || args->now_ms - s->switching_ms < SWITCH_MS) {
        s->switching_ms = s->switching_ms ? s->switching_ms : args->now_ms;
        return 0;
    }
    if (virDomainAbortJob(args->domain) < 0)
        return -1;
    s->asked = true;
    return 0;
}

int libvirt_migrate_stop(libvirt_conn *conn, virDomainPtr domain, libvirt_stopping *stopping,
                         const vmc_deadline *deadline, vmctl_error **err) {
    step_args *args = vmc_alloc(sizeof *args);
    virDomainRef(domain);
    args->domain = domain;
    args->s = *stopping;
    args->now_ms = vmc_now_ms();
    int code = libvirt_call(conn, deadline, "stopping the migration", step_work, args, step_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    *stopping = args->s;
    step_drop(args);
    return code;
}

/* --- afterwards ---------------------------------------------------------------------------------------------------- */

/* Suspending and resuming is what makes QEMU take its disks back (its `cont`); where libvirt resumed the VM itself, it has done so. */
static int work_take_back(libvirt_rpc *rpc) {
    int state = 0, reason = 0;
    if (virDomainGetState(rpc->domain, &state, &reason, 0) < 0)
        return -1;
    if (state == VIR_DOMAIN_RUNNING && reason == VIR_DOMAIN_RUNNING_UNPAUSED) {
        if (virDomainSuspend(rpc->domain) < 0)
            return -1;
    } else if (state != VIR_DOMAIN_PAUSED ||
               (reason != VIR_DOMAIN_PAUSED_MIGRATION && reason != VIR_DOMAIN_PAUSED_USER)) {
        return 0; /* "user" is what an earlier try of this left, whose resuming failed */
    }
    return virDomainResume(rpc->domain);
}

int libvirt_migrate_take_back(libvirt_conn *conn, virDomainPtr domain, const vmc_deadline *deadline,
                              vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(domain);
    rpc->domain = domain;
    return libvirt_rpc_run(conn, deadline, "resuming the VM", work_take_back, rpc, err);
}
