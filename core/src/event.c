#include "internal.h"
#include <stdlib.h>

static const char *const kind_names[] = {
    [VMCTL_EVENT_STATE] = "state",         [VMCTL_EVENT_DEFINED] = "defined", [VMCTL_EVENT_DELETED] = "deleted",
    [VMCTL_EVENT_AGENT] = "agent",         [VMCTL_EVENT_DEVICE] = "device",   [VMCTL_EVENT_JOB] = "job",
    [VMCTL_EVENT_CONNECTED] = "connected", [VMCTL_EVENT_OTHER] = "other",     [VMCTL_EVENT_TICK] = "tick",
};

const char *vmctl_event_kind_name(vmctl_event_kind kind) {
    return (unsigned)kind < sizeof kind_names / sizeof kind_names[0] ? kind_names[kind] : kind_names[VMCTL_EVENT_OTHER];
}

typedef struct listener {
    vmctl_event_fn each;
    void *user;
    const char *vm;
    char *id; /* of the VM, once an event told it: it may be renamed */
} listener;

/* Backends may tell more than was asked for. What is about no VM goes to everybody. */
static int pass_on(const vmctl_event *event, void *user) {
    listener *l = user;
    bool about_a_vm = event->name || event->id;
    bool named = vmc_str_eq(event->name, l->vm);
    if (l->vm && about_a_vm && !named && !vmc_str_eq(event->id, l->vm) && !(l->id && vmc_str_eq(event->id, l->id)))
        return 0;
    if (l->vm && named && event->id && !vmc_str_eq(event->id, l->id)) {
        free(l->id);
        l->id = vmc_strdup(event->id);
    }
    return l->each(event, l->user);
}

/* Two VMs of one name cannot be told apart in what is heard. One that is not there may still come. */
static int check_not_ambiguous(vmc_op *op, const char *vm) {
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_identity identity = {.size = sizeof identity};
    vmctl_error *why = NULL;
    void *handle = NULL;
    options.call = &op->call;
    if (!op->ops->lookup)
        return 0;
    int rc = op->ops->lookup(op->conn, vm, &options, &handle, &identity, &why);
    if (rc == 0)
        op->ops->release(op->conn, handle);
    vmc_identity_free(&identity);
    vmc_error_move(rc == VMCTL_E_AMBIGUOUS ? &op->why : NULL, &why);
    return rc == VMCTL_E_AMBIGUOUS ? rc : 0;
}

int vmctl_events(vmctl_connection *connection, const vmctl_event_options *options, vmctl_event_fn each, void *user,
                 vmctl_error **err) {
    vmctl_event_options o = VMCTL_EVENT_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_events, o.call, o.recorded ? VMC_ASK_MS : VMC_NO_LIMIT, false,
                      err);
    o.call = &op.call;
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0 && o.vm)
        rc = check_not_ambiguous(&op, o.vm);
    if (rc == 0) {
        listener l = {each, user, o.vm, NULL};
        rc = op.ops->events(op.conn, &o, pass_on, &l, &op.why);
        free(l.id);
        if (rc == VMCTL_E_TIMEOUT && !o.recorded)
            rc = 0;
    }
    return vmc_op_end(&op, rc, "listen to events");
}
