/* backends/libvirt/migrate_job.c - the migration as libvirt's job: started on a thread of its own, watched, and given up when asked to.
 *
 * libvirt notifies of neither progress nor the end of an aborted job, so both are asked for; the end of the migration itself
 * is the return of its call. */
#include "migrate.h"

#include "rpc.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    LOOK_MS = 500,       /* progress */
    LOOK_CLOSE_MS = 100, /* until post-copy can begin */
    ASK_MS = 10000,      /* one question to the daemon */
    ABORT_AGAIN_MS = 500,
    ABORT_WAIT_MS = 60000, /* for the end after an abort: libvirt's keep-alive needs up to 30 s */
    STALLED_MS = 60000,    /* nothing moved for so long */
    ABORT_LOOK_MS = 50
};

/* --- connections of its own ------------------------------------------------------------------------------------- */

static int release_domain(void *domain) {
    return virDomainFree(domain);
}

static void hang_up(libvirt_conn **conn, virDomainPtr *domain) {
    if (*domain)
        libvirt_conn_release(*conn, release_domain, *domain);
    libvirt_conn_free(*conn);
    *conn = NULL;
    *domain = NULL;
}

static int work_lookup(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    return rpc->domain ? 0 : -1;
}

/* libvirt before 10.3 can lose a call that is made while another thread waits for a long one on the same connection: it is sent when that one
 * ends. So the migration has one connection, the questions meanwhile have another, and the caller's stays free. */
static int dial(const libvirt_migrate_job *job, const vmc_deadline *deadline, libvirt_conn **conn, virDomainPtr *domain,
                vmctl_error **err) {
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    if (*conn)
        return 0;
    virDomainGetUUIDString(job->domain, uuid);
    int code = libvirt_conn_sibling(job->source, false, deadline, conn, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(*conn);
    rpc->name = vmc_strdup(uuid);
    code = libvirt_rpc_run(*conn, deadline, "looking for the VM that moves", work_lookup, rpc, err);
    if (code < 0) {
        hang_up(conn, domain);
        return code;
    }
    *domain = rpc->domain;
    rpc->domain = NULL;
    return 0;
}

/* --- the call ------------------------------------------------------------------------------------------------- */

typedef struct move_args {
    virDomainPtr domain;
    virConnectPtr target; /* NULL: peer to peer */
    char *uri;
    virTypedParameterPtr params;
    int count;
    unsigned flags;
} move_args;

static void move_drop(void *opaque) {
    move_args *args = opaque;
    virTypedParamsFree(args->params, args->count);
    virDomainFree(args->domain);
    free(args->uri);
    free(args);
}

static int move_work(void *opaque) {
    move_args *args = opaque;
    if (!args->target)
        return virDomainMigrateToURI3(args->domain, args->uri, args->params, (unsigned)args->count, args->flags);
    virDomainPtr there =
        virDomainMigrate3(args->domain, args->target, args->params, (unsigned)args->count, args->flags);
    if (!there)
        return -1;
    virDomainFree(there);
    return 0;
}

static int add_text(move_args *args, int *room, const char *name, const char *value) {
    return value ? virTypedParamsAddString(&args->params, &args->count, room, name, value) : 0;
}

static move_args *args_of(const libvirt_migrate_job *job, virDomainPtr domain, vmctl_error **err) {
    move_args *args = vmc_alloc(sizeof *args);
    int room = 0;
    virDomainRef(domain);
    args->domain = domain;
    args->target = job->target ? job->target->virt : NULL;
    args->uri = vmc_strdup(job->uri);
    args->flags = job->flags;
    int code = add_text(args, &room, VIR_MIGRATE_PARAM_URI, job->migrate_uri);
    code |= add_text(args, &room, VIR_MIGRATE_PARAM_DISKS_URI, job->disks_uri);
    code |= add_text(args, &room, VIR_MIGRATE_PARAM_DEST_XML, job->dest_xml);
    code |= add_text(args, &room, VIR_MIGRATE_PARAM_PERSIST_XML, job->persist_xml);
    for (size_t i = 0; i < job->disks.count; i++)
        code |= add_text(args, &room, VIR_MIGRATE_PARAM_MIGRATE_DISKS, job->disks.items[i]);
    if (job->bandwidth_mib)
        code |= virTypedParamsAddULLong(&args->params, &args->count, &room, VIR_MIGRATE_PARAM_BANDWIDTH,
                                        job->bandwidth_mib);
    if (code == 0)
        return args;
    libvirt_error(err, NULL, "the migration's parameters cannot be made");
    move_drop(args);
    return NULL;
}

/* The thread that waits for the call, so that the caller's can watch it. */
typedef struct mover {
    libvirt_conn *conn;
    virDomainPtr domain; /* of conn */
    move_args *args;
    vmctl_cancel *given_up; /* triggered: the call is abandoned */
    int done;               /* eventfd */
    int code;
    vmctl_error *why;
} mover;

static void *mover_main(void *opaque) {
    mover *m = opaque;
    vmc_deadline deadline = {.at_ms = -1, .cancel = m->given_up};
    m->code = libvirt_call(m->conn, &deadline, "migrating the domain", move_work, m->args, move_drop, &m->why);
    if (m->code != VMCTL_E_TIMEOUT && m->code != VMCTL_E_CANCELLED)
        move_drop(m->args);
    eventfd_write(m->done, 1);
    return NULL;
}

/* --- its state -------------------------------------------------------------------------------------------------- */

typedef struct stats_args {
    virDomainPtr domain;
    libvirt_job job;
} stats_args;

static void stats_drop(void *opaque) {
    stats_args *args = opaque;
    virDomainFree(args->domain);
    free(args);
}

static int stats_work(void *opaque) {
    stats_args *args = opaque;
    return libvirt_job_read(args->domain, &args->job);
}

static int stats_get(libvirt_conn *conn, virDomainPtr domain, const vmc_deadline *deadline, libvirt_job *out,
                     vmctl_error **err) {
    stats_args *args = vmc_alloc(sizeof *args);
    virDomainRef(domain);
    args->domain = domain;
    int code = libvirt_call(conn, deadline, "asking how far the migration is", stats_work, args, stats_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    *out = args->job;
    stats_drop(args);
    return code;
}

static int work_postcopy(libvirt_rpc *rpc) {
    return virDomainMigrateStartPostCopy(rpc->domain, 0);
}

typedef struct watch {
    const libvirt_migrate_job *job;
    const vmc_deadline *deadline;
    int done;
    /* Its own, so that a question that is not answered costs neither the call nor the next question; NULL: not open. */
    libvirt_conn *conn;
    virDomainPtr domain; /* of conn */
    bool switched;       /* to post-copy */
    unsigned long long last_processed, last_remaining;
    int64_t moved_ms; /* when something last moved */
} watch;

/* --- asking meanwhile ---------------------------------------------------------------------------------------------- */

/* Whatever became of the caller's deadline; NULL: whatever became of the caller. */
static vmc_deadline soon(const vmc_deadline *caller) {
    return (vmc_deadline){.at_ms = vmc_now_ms() + ASK_MS, .cancel = caller ? caller->cancel : NULL};
}

/* A connection that did not answer is not asked again. */
static int answered(watch *w, int code) {
    if (vmc_outcome_unknown(code))
        hang_up(&w->conn, &w->domain);
    return code;
}

static int ask_how_far(watch *w, const vmc_deadline *deadline, libvirt_job *out) {
    int code = dial(w->job, deadline, &w->conn, &w->domain, NULL);
    return code < 0 ? code : answered(w, stats_get(w->conn, w->domain, deadline, out, NULL));
}

static int ask_for_postcopy(watch *w, const vmc_deadline *deadline) {
    if (dial(w->job, deadline, &w->conn, &w->domain, NULL) < 0)
        return VMCTL_E_UNAVAILABLE;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(w->conn);
    virDomainRef(w->domain);
    rpc->domain = w->domain;
    return answered(w, libvirt_rpc_run(w->conn, deadline, "switching to post-copy", work_postcopy, rpc, NULL));
}

static int ask_to_stop(watch *w, libvirt_stopping *stopping, const vmc_deadline *deadline) {
    int code = dial(w->job, deadline, &w->conn, &w->domain, NULL);
    return code < 0 ? code : answered(w, libvirt_migrate_stop(w->conn, w->domain, stopping, deadline, NULL));
}

/* --- watching ------------------------------------------------------------------------------------------------------ */

static int tell(const watch *w, const libvirt_job *s, vmctl_error **err) {
    const vmctl_call *call = w->deadline->call;
    if (!call || !call->progress)
        return 0;
    unsigned long long rate = s->memory_bps + s->disk_bps;
    bool disks = w->job->disks.count > 0;
    /* The disks come first, and libvirt counts the memory only from when it begins. */
    unsigned long long later = disks && s->memory_total == 0 ? w->job->memory_bytes : 0;
    vmctl_progress progress = {
        .size = sizeof progress,
        .vm = w->job->name,
        .stage = w->switched ? "fetching the rest of the memory"
                 : disks     ? "moving disks and memory"
                             : "moving memory",
        .unit = VMCTL_UNIT_BYTES,
        .done = s->total > s->remaining ? s->total - s->remaining : 0,
        .total = s->total ? s->total + later : 0,
        .bytes_per_second = rate,
        .remaining_ms = rate ? (int64_t)((s->remaining + later) * 1000 / rate) : 0,
        .downtime_ms = (int64_t)s->downtime,
    };
    if (call->progress(&progress, call->user) != 0)
        return vmc_error(err, VMCTL_E_CANCELLED, "cancelled moving %s", w->job->name);
    return 0;
}

/* s NULL: it cannot be asked. */
static bool stands_still(watch *w, const libvirt_job *s) {
    int64_t now = vmc_now_ms();
    if (w->moved_ms == 0 || (s && (s->processed != w->last_processed || s->remaining != w->last_remaining)))
        w->moved_ms = now;
    if (s) {
        w->last_processed = s->processed;
        w->last_remaining = s->remaining;
    }
    return now - w->moved_ms >= STALLED_MS;
}

/* Where it is. Negative: it shall be given up. A question that fails is no reason: the call itself tells the end. */
static int look(watch *w, vmctl_error **err) {
    libvirt_job s = {0};
    vmc_deadline patient = soon(w->deadline);
    if (ask_how_far(w, &patient, &s) < 0 || !libvirt_job_is(&s, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT))
        return 0;
    if (w->job->postcopy && !w->switched && s.iteration > 1)
        w->switched = ask_for_postcopy(w, &patient) == 0;
    if (stands_still(w, &s)) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "nothing arrived at the target for %d s", STALLED_MS / 1000);
        vmc_error_retryable(err);
        return vmc_error_next(err, "see that the target's QEMU can be reached from the source, then try again");
    }
    return tell(w, &s, err);
}

/* 0: the call returned. Negative: the caller wants it to end, or it is stalled. */
static int watch_it(watch *w, vmctl_error **err) {
    for (;;) {
        int code = vmc_deadline_poll(w->deadline, w->done, POLLIN,
                                     w->job->postcopy && !w->switched ? LOOK_CLOSE_MS : LOOK_MS, "moving the VM", err);
        if (code > 0)
            return 0;
        if (code == 0)
            code = look(w, err);
        if (code < 0)
            return code;
    }
}

/* Asks until the call returns: early in a migration there is no job yet to be aborted, late in it there is none any more, and one that is just
 * switching over is let through. Post-copy cannot be stopped: as long as its memory arrives, its end is waited for. false: it did not
 * return. */
static bool give_up(watch *w) {
    int64_t until = vmc_now_ms() + ABORT_WAIT_MS;
    libvirt_stopping stopping = {0};
    vmc_note(w->deadline, VMCTL_NOTE_INFO, "stopping the migration of %s; it goes on where it was", w->job->name);
    for (bool still = false; vmc_now_ms() < until || (w->switched && !still);) {
        vmc_deadline patient = soon(NULL);
        libvirt_job s = {0};
        if (w->switched)
            still = stands_still(w, ask_how_far(w, &patient, &s) == 0 ? &s : NULL);
        ask_to_stop(w, &stopping, &patient);
        struct pollfd fd = {.fd = w->done, .events = POLLIN};
        if (poll(&fd, 1, ABORT_AGAIN_MS) > 0)
            return true;
    }
    return false;
}

/* The call's own failure, in words for a person. */
static int failed(const libvirt_migrate_job *job, int code, vmctl_error **err) {
    const char *number = vmctl_error_hypervisor_code(*err);
    const char *words = vmctl_error_hypervisor_message(*err);
    if (vmc_str_eq(number, "VIR_ERR_OPERATION_ABORTED") || (words && strstr(words, "expected state: cancel"))) {
        vmctl_error *better = NULL;
        vmc_error(&better, VMCTL_E_CANCELLED, "the migration was stopped by another command");
        vmc_error_hypervisor(&better, number, words);
        vmc_error_move(err, &better);
        return VMCTL_E_CANCELLED;
    }
    if (vmc_str_eq(number, "VIR_ERR_MIGRATE_UNSAFE"))
        return vmc_error_next(err, "copy the disks too (--storage); where both hosts do have them, --unsafe says so");
    if (words && strstr(words, "closed the monitor")) {
        vmc_error_recode(err, VMCTL_E_UNAVAILABLE);
        vmc_error_retryable(err);
        vmc_error_prefix(err, "QEMU ended on one of the two hosts");
        return vmc_error_next(err, "see what its log says (/var/log/libvirt/qemu/%s.log on the target), then try again",
                              job->name);
    }
    if (words && strstr(words, "ostcopy is not supported")) {
        vmc_error_recode(err, VMCTL_E_UNSUPPORTED);
        return vmc_error_next(err, "let QEMU use userfaultfd on the target (sysctl vm.unprivileged_userfaultfd=1), or "
                                   "leave --postcopy out");
    }
    if (code == VMCTL_E_UNAVAILABLE)
        return vmc_error_next(err, "see that the target answers (vmctl list --connect '%s'), then try again", job->uri);
    if (code == VMCTL_E_BUSY)
        return vmc_error_next(err,
                              "another operation holds %s: wait for its end, or stop a migration with vmctl "
                              "migrate --abort %s",
                              job->name, job->name);
    return code;
}

static int finish(watch *w, mover *m, int asked, vmctl_error **asked_why, vmctl_error **err) {
    if (m->code >= 0) {
        if (asked < 0)
            vmc_note(w->deadline, VMCTL_NOTE_WARNING, "it was too late to stop: %s has been moved", w->job->name);
        return 0;
    }
    if (asked < 0) {
        vmc_error_hypervisor(asked_why, vmctl_error_hypervisor_code(m->why), vmctl_error_hypervisor_message(m->why));
        vmc_error_move(err, asked_why);
        return asked;
    }
    vmc_error_move(err, &m->why);
    return failed(w->job, m->code, err);
}

/* The program's signals are for the program's threads. */
static int thread_start(pthread_t *thread, mover *m) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(thread, NULL, mover_main, m);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return failure;
}

int libvirt_migrate_job_run(const libvirt_migrate_job *job, const vmc_deadline *deadline, vmctl_error **err) {
    mover m = {.done = -1};
    vmctl_error *why = NULL;
    int dialled = dial(job, deadline, &m.conn, &m.domain, err);
    if (dialled < 0)
        return dialled;
    m.given_up = vmctl_cancel_new();
    m.args = args_of(job, m.domain, err);
    m.done = eventfd(0, EFD_CLOEXEC);
    pthread_t thread;
    int failure = !m.args ? 0 : m.done < 0 || !m.given_up ? EMFILE : thread_start(&thread, &m);
    int code = 0;
    if (!m.args || failure) {
        if (m.args)
            move_drop(m.args);
        code = failure ? vmc_error_errno(err, failure, "cannot start a thread for the migration") : VMCTL_E_INTERNAL;
    } else {
        watch w = {.job = job, .deadline = deadline, .done = m.done};
        int asked = watch_it(&w, &why);
        bool lost = asked < 0 && !give_up(&w);
        if (lost)
            vmctl_cancel_trigger(m.given_up);
        pthread_join(thread, NULL);
        hang_up(&w.conn, &w.domain);
        code = finish(&w, &m, asked, &why, err);
        if (lost && code < 0)
            vmc_error_append(err, w.switched
                                      ? "; post-copy cannot be stopped: it runs on the target, where nothing of the "
                                        "rest of its memory arrives"
                                      : "; the hypervisor did not confirm that it has stopped");
    }
    vmctl_error_free(why);
    vmctl_error_free(m.why);
    vmctl_cancel_free(m.given_up);
    hang_up(&m.conn, &m.domain);
    if (m.done >= 0)
        close(m.done);
    return code;
}

int libvirt_migrate_check_abort(const char *name, bool migrating, vmctl_error **err) {
    if (migrating)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is not being migrated", name);
    return vmc_error_next(err, "vmctl get %s shows where it is", name);
}

int libvirt_migrate_job_abort(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                              vmctl_error **err) {
    libvirt_job stats = {0};
    vmctl_error *off = NULL;
    int code = stats_get(conn, vm->domain, deadline, &stats, &off);
    if (code < 0 && code != VMCTL_E_INVALID_STATE) { /* which says that it does not run */
        vmc_error_move(err, &off);
        return code;
    }
    vmctl_error_free(off);
    code = libvirt_migrate_check_abort(
        vm->name, code == 0 && libvirt_job_is(&stats, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT), err);
    if (code < 0)
        return code;
    vmctl_error *why = NULL, *refused = NULL;
    libvirt_stopping stopping = {0};
    int64_t again_ms = 0;
    while (code == 0 && !refused && libvirt_job_is(&stats, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)) {
        vmc_deadline patient = soon(NULL);
        if (vmc_now_ms() >= again_ms) {
            libvirt_migrate_stop(conn, vm->domain, &stopping, &patient, &refused);
            again_ms = vmc_now_ms() + ABORT_AGAIN_MS;
        }
        code = vmc_deadline_poll(deadline, -1, 0, ABORT_LOOK_MS, "waiting for the migration to stop", &why);
        if (code >= 0)
            code = stats_get(conn, vm->domain, deadline, &stats, &why);
    }
    if (code == 0 && refused && libvirt_job_is(&stats, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)) {
        code = vmctl_error_code(refused);
        vmc_error_move(&why, &refused);
    }
    vmctl_error_free(refused);
    if (code == 0 && stopping.suspended)
        code = libvirt_migrate_take_back(conn, vm->domain, deadline, &why);
    if (code == VMCTL_E_NOT_FOUND) /* it was faster */
        vmc_error_next(&why, "%s has been moved by then: look for it on the target", vm->name);
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}
