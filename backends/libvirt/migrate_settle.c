/* backends/libvirt/migrate_settle.c - what became of a migration whose vmctl died or whose daemon failed, found out from both hosts and
 * brought to an end: the VM is on one of them, and nothing of it on the other one. */
#include "migrate.h"

#include "ops.h"
#include "rpc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STOP_MS = 40000, STOP_AGAIN_MS = 500, LOOK_MS = 100, OPEN_MS = 10000 };

/* The domain on one of the two hosts. */
typedef struct side {
    virConnectPtr virt;
    char *uuid;
    virDomainPtr domain; /* NULL: it is not there */
    bool active, persistent, autostart;
    int state, reason;
    libvirt_job job;
} side;

static void side_drop(void *opaque) {
    side *s = opaque;
    if (s->domain)
        virDomainFree(s->domain);
    free(s->uuid);
    free(s);
}

static int side_work(void *opaque) {
    side *s = opaque;
    int autostart = 0;
    s->domain = virDomainLookupByUUIDString(s->virt, s->uuid);
    if (!s->domain) {
        if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN)
            return -1;
        virResetLastError();
        return 0;
    }
    s->active = virDomainIsActive(s->domain) == 1;
    s->persistent = virDomainIsPersistent(s->domain) == 1;
    if (virDomainGetState(s->domain, &s->state, &s->reason, 0) < 0) {
        if (virGetLastErrorCode() != VIR_ERR_NO_DOMAIN)
            return -1;
        virResetLastError(); /* it went this very moment */
        virDomainFree(s->domain);
        s->domain = NULL;
        s->active = s->persistent = false;
        return 0;
    }
    /* The state was asked later, and is what counts: what its daemon is just removing is not at work. */
    s->active &= s->state != VIR_DOMAIN_SHUTOFF;
    if (!s->active && !s->persistent) {
        virDomainFree(s->domain);
        s->domain = NULL;
        return 0;
    }
    if (s->persistent && virDomainGetAutostart(s->domain, &autostart) == 0)
        s->autostart = autostart == 1;
    if (s->active)
        libvirt_job_read(s->domain, &s->job);
    virResetLastError();
    return 0;
}

static int look(libvirt_conn *conn, const char *uuid, const vmc_deadline *deadline, side **out, vmctl_error **err) {
    side *s = vmc_alloc(sizeof *s);
    s->virt = conn->virt;
    s->uuid = vmc_strdup(uuid);
    int code = libvirt_call(conn, deadline, "looking where the VM is", side_work, s, side_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (code < 0) {
        side_drop(s);
        return code;
    }
    if (*out)
        side_drop(*out);
    *out = s;
    return 0;
}

static bool has_job(const side *s, int operation) {
    return s->domain && libvirt_job_is(&s->job, operation);
}

static bool runs(const side *s) {
    return s->active && (s->state == VIR_DOMAIN_RUNNING || s->state == VIR_DOMAIN_BLOCKED);
}

/* --- acts ------------------------------------------------------------------------------------------------------ */

static int work_destroy(libvirt_rpc *rpc) {
    return virDomainDestroy(rpc->domain);
}

static int work_autostart(libvirt_rpc *rpc) {
    return virDomainSetAutostart(rpc->domain, 1);
}

static int act(libvirt_conn *conn, const side *s, const char *doing, int (*work)(libvirt_rpc *rpc),
               const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(s->domain);
    rpc->domain = s->domain;
    return libvirt_rpc_run(conn, deadline, doing, work, rpc, err);
}

/* Ends the outgoing job that nobody waits for any more, and waits until there is none. One in post-copy cannot be ended. */
static int stop_job(libvirt_conn *source, side **s, const vmc_deadline *deadline, vmctl_error **err) {
    vmc_deadline step = vmc_deadline_within(deadline, STOP_MS);
    libvirt_stopping stopping = {0};
    int64_t again_ms = 0;
    int code = 0;
    while (code == 0 && has_job(*s, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)) {
        if (vmc_now_ms() >= again_ms) {
            libvirt_migrate_stop(source, (*s)->domain, &stopping, &step, NULL);
            again_ms = vmc_now_ms() + STOP_AGAIN_MS;
        }
        code = vmc_deadline_poll(&step, -1, 0, LOOK_MS, "waiting for the migration to stop", err);
        if (code >= 0)
            code = look(source, (*s)->uuid, &step, s, err);
    }
    return code;
}

/* Still being received, or, where the other side gave up, about to be removed by its daemon. */
static bool is_arriving(const side *t) {
    if (!t->domain)
        return false;
    if (has_job(t, VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN))
        return true;
    return t->active && (t->state == VIR_DOMAIN_SHUTDOWN ||
                         (t->state == VIR_DOMAIN_PAUSED &&
                          (t->reason == VIR_DOMAIN_PAUSED_MIGRATION || t->reason == VIR_DOMAIN_PAUSED_STARTING_UP ||
                           t->reason == VIR_DOMAIN_PAUSED_SHUTTING_DOWN)));
}

static int wait_arrived(libvirt_conn *target, side **t, const vmc_deadline *deadline, vmctl_error **err) {
    vmc_deadline step = vmc_deadline_within(deadline, STOP_MS);
    int code = 0;
    while (code == 0 && is_arriving(*t)) {
        code = vmc_deadline_poll(&step, -1, 0, LOOK_MS, "waiting for the migration to end on the target", err);
        if (code >= 0)
            code = look(target, (*t)->uuid, &step, t, err);
    }
    return code;
}

/* It is on the target: what the source has of it goes. */
static int finish_source(libvirt_conn *source, const side *s, libvirt_conn *target, const side *t, bool autostart,
                         const vmc_deadline *deadline, vmctl_error **err) {
    if (s->domain && runs(s)) {
        vmc_error(err, VMCTL_E_CONFLICT, "the VM %s is at work on %s and on %s; nothing was done to either", s->uuid,
                  source->uri, target->uri);
        return vmc_error_next(err, "find out which of the two is the right one and stop the other one");
    }
    int code = 0;
    if (autostart && t->persistent && !t->autostart)
        code = act(target, t, "setting the autostart", work_autostart, deadline, err);
    if (code == 0 && s->active)
        code = act(source, s, "ending what the source has left of it", work_destroy, deadline, err);
    if (code == 0 && s->persistent)
        code = act(source, s, "removing the definition at the source", libvirt_migrate_work_undefine, deadline, err);
    return code;
}

/* What a note says of the VM before it was moved. */
typedef struct before {
    char uuid[VIR_UUID_STRING_BUFLEN];
    bool ran, autostart;
    const char *uri; /* the other one's */
} before;

static int decide(libvirt_conn *source, const side *s, libvirt_conn *target, const side *t, const before *was,
                  const vmc_deadline *deadline, vmctl_error **err) {
    if (t->domain && t->active)
        return finish_source(source, s, target, t, was->autostart, deadline, err);
    if (t->domain && s->domain && s->active)
        return act(target, t, "removing the definition at the target", libvirt_migrate_work_undefine, deadline, err);
    if (t->domain)
        return finish_source(source, s, target, t, was->autostart, deadline, err);
    return was->ran && s->domain && s->active ? libvirt_migrate_take_back(source, s->domain, deadline, err) : 0;
}

/* --- the note -------------------------------------------------------------------------------------------------- */

char *libvirt_migrate_note(const char *uuid, const libvirt_migrate_vm *vm, const char *other_uri) {
    bool ran = vm->active && (vm->state == VIR_DOMAIN_RUNNING || vm->state == VIR_DOMAIN_BLOCKED);
    return vmc_printf("%s %s%s %s", uuid,
                      ran          ? "running"
                      : vm->active ? "paused"
                                   : "stopped",
                      vm->autostart ? "+autostart" : "", other_uri);
}

/* false: it cannot be read. */
static bool read_note(const char *detail, before *was) {
    char how[32];
    int end = 0;
    if (sscanf(detail, "%36s %31s %n", was->uuid, how, &end) != 2 || end == 0)
        return false;
    was->ran = vmc_starts_with(how, "running");
    was->autostart = strstr(how, "+autostart") != NULL;
    was->uri = detail + end;
    return *was->uri != '\0';
}

static int settle_both(libvirt_conn *source, side **s, libvirt_conn *target, side **t, const before *was,
                       const vmc_deadline *deadline, vmctl_error **err) {
    int code = *s ? stop_job(source, s, deadline, err) : 0;
    if (code == 0 && *t)
        code = wait_arrived(target, t, deadline, err);
    return code < 0 || !*s || !*t ? code : decide(source, *s, target, *t, was, deadline, err);
}

/* Whether it is settled already by what this side shows. */
static bool settled_here(const side *mine, bool arriving) {
    return !mine->domain || (!arriving && runs(mine));
}

int libvirt_migrate_settle(libvirt_conn *conn, bool arriving, const char *detail, const vmc_deadline *deadline,
                           vmctl_error **err) {
    before was = {0};
    if (!read_note(detail, &was))
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s\" cannot be read", detail);
    side *mine = NULL;
    int code = look(conn, was.uuid, deadline, &mine, err);
    if (code == 0 && mine && !arriving)
        code = stop_job(conn, &mine, deadline, err);
    if (code == 0 && mine && was.ran && !arriving && runs(mine))
        code = libvirt_migrate_take_back(conn, mine->domain, deadline, err);
    if (code < 0 || !mine || settled_here(mine, arriving)) {
        if (mine)
            side_drop(mine);
        return code;
    }
    side *theirs = NULL;
    libvirt_conn *other = NULL;
    vmc_deadline step = vmc_deadline_within(deadline, OPEN_MS);
    code = libvirt_conn_open(was.uri, NULL, false, &step, &other, err);
    if (code == 0)
        code = look(other, was.uuid, deadline, &theirs, err);
    if (code < 0)
        vmc_error_prefix(err, "whether the VM %s is on %s cannot be told", was.uuid, was.uri);
    else if (arriving)
        code = settle_both(other, &theirs, conn, &mine, &was, deadline, err);
    else
        code = settle_both(conn, &mine, other, &theirs, &was, deadline, err);
    if (theirs)
        side_drop(theirs);
    if (other)
        libvirt_conn_free(other);
    side_drop(mine);
    return code;
}
