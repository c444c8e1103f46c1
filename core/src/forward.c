/* Ports of the guest at this machine, for as long as they are wanted. The ways, first that works: the guest's address, where this machine
 * reaches it; a forward that the VM has already; a forward that the backend adds for the while. */
#include "forward_pump.h"
#include "internal.h"
#include "wait.h"
#include <stdlib.h>

enum { TRY_MS = 1500, TICK_MS = 2000 };

typedef struct forwarding {
    vmc_op *op;
    const vmctl_forward_options *options;
    vmc_deadline deadline;
    vmctl_spec *spec;
    vmc_strv addresses;
    vmctl_state state;
    char *reason;
    vmc_pump *pump;
    vmc_journal *journal;
    int rc;
} forwarding;

/* --- what is known of the VM ------------------------------------------------------------------------------------- */

static bool is_behind_user_network(const vmctl_spec *spec, const char *device) {
    const vmctl_node *networks = spec ? vmctl_node_get(vmctl_spec_root(spec), "networks") : NULL;
    for (size_t i = 0; device && i < vmctl_node_count(networks); i++) {
        const vmctl_node *nic = vmctl_node_at(networks, i);
        if (vmc_str_eq(vmctl_node_string(nic, "name", NULL), device))
            return vmc_str_eq(vmctl_node_string(nic, "type", NULL), "user") || vmctl_node_get(nic, "forward");
    }
    return false;
}

static int keep_facts(const vmctl_vm_info *info, void *user) {
    forwarding *f = user;
    f->state = info->state;
    free(f->reason);
    f->reason = vmc_strdup(info->state_reason);
    for (size_t i = 0; i < info->address_count; i++)
        if (vmc_address_is_usable(info->addresses[i].ip) && !info->addresses[i].inside &&
            !is_behind_user_network(f->spec, info->addresses[i].device))
            vmc_strv_add(&f->addresses, info->addresses[i].ip);
    return 0;
}

static int look(forwarding *f, unsigned facts) {
    vmctl_call call = vmc_deadline_call(&f->deadline);
    vmctl_get_options get = VMCTL_GET_OPTIONS_INIT;
    get.call = &call;
    get.facts = facts;
    return f->op->ops->get(f->op->conn, f->op->handle, &get, keep_facts, f, &f->op->why);
}

/* INVALID_STATE once it does not run any more. */
static int check_runs(forwarding *f, bool before) {
    if (f->state != VMCTL_STATE_STOPPED && f->state != VMCTL_STATE_SAVED && f->state != VMCTL_STATE_CRASHED)
        return 0;
    vmc_error(&f->op->why, VMCTL_E_INVALID_STATE, "%s %s%s%s%s%s", f->op->name, before ? "is " : "is by now ",
              vmctl_state_name(f->state), f->reason ? " (" : "", f->reason ? f->reason : "", f->reason ? ")" : "");
    vmc_error_next(&f->op->why, "vmctl start %s", f->op->name);
    return VMCTL_E_INVALID_STATE;
}

/* --- the ways ------------------------------------------------------------------------------------------------------- */

static int carry(forwarding *f, const vmctl_forward *wanted, const char *host, int port, const char *how) {
    vmctl_forward made = *wanted;
    made.address = wanted->address ? wanted->address : "127.0.0.1";
    int rc = vmc_pump_add(f->pump, made.address, &made.local, host, port, &f->op->why);
    if (rc == 0 && f->options->ready) {
        VMC_AUTO_FREE char *way = vmc_printf("%s %s port %d", how, host, port);
        f->options->ready(&made, way, f->options->user);
    }
    return rc;
}

/* The first address that this machine reaches: where the port answers, or (the service may come later) where any does. */
static int find_direct(forwarding *f, int port, const char **found) {
    for (size_t i = 0; i < f->addresses.count; i++) {
        vmc_dial to = {f->addresses.items[i], port, false}, ssh = {f->addresses.items[i], 22, false};
        int rc = vmc_dial_try(&to, NULL, true, TRY_MS, &f->deadline, &f->op->why);
        if (rc == 0)
            rc = vmc_dial_try(&ssh, NULL, true, TRY_MS, &f->deadline, &f->op->why);
        if (rc < 0)
            return rc;
        if (rc == 1) {
            *found = f->addresses.items[i];
            return 0;
        }
    }
    return 0;
}

static int by_backend(forwarding *f, const vmctl_forward *wanted) {
    vmctl_forward made = *wanted;
    made.address = wanted->address ? wanted->address : "127.0.0.1";
    int rc = vmc_op_need(f->op, VMCTL_SLOT_guest_forward, NULL);
    VMC_AUTO_FREE char *way = NULL;
    vmctl_call call = vmc_deadline_call(&f->deadline);
    if (rc == 0)
        rc = f->op->ops->guest_forward(f->op->conn, f->op->handle, &made, f->journal, &call, &way, &f->op->why);
    if (rc == 0 && f->options->ready)
        f->options->ready(&made, way ? way : "the hypervisor", f->options->user);
    if (rc == VMCTL_E_UNSUPPORTED)
        vmc_error_prefix(&f->op->why, "port %d of the guest cannot be reached from this machine", wanted->guest);
    return rc;
}

static int open_one(forwarding *f, const vmctl_forward *wanted) {
    const char *address = NULL;
    int rc = find_direct(f, wanted->guest, &address);
    if (rc < 0)
        return rc;
    if (address)
        return carry(f, wanted, address, wanted->guest, "directly to");
    vmc_dials dials = {0};
    vmc_dials_add_forwards(&dials, f->spec, wanted->guest);
    rc = dials.count ? carry(f, wanted, dials.items[0].host, dials.items[0].port, "through the VM's forward at")
                     : by_backend(f, wanted);
    vmc_dials_free(&dials);
    return rc;
}

/* --- until it ends ----------------------------------------------------------------------------------------------------- */

static int on_event(const vmctl_event *event, void *user) {
    forwarding *f = user;
    const vmctl_identity *identity = &f->op->vm->identity;
    if (event->id && identity->id && !vmc_str_eq(event->id, identity->id))
        return 0;
    if (event->kind == VMCTL_EVENT_DELETED)
        f->rc = vmc_error(&f->op->why, VMCTL_E_INVALID_STATE, "the VM was deleted");
    if (event->kind != VMCTL_EVENT_STATE)
        return f->rc != 0;
    f->rc = look(f, VMCTL_FACT_STATE);
    if (f->rc == 0)
        f->rc = check_runs(f, false);
    return f->rc != 0;
}

/* Cancel and the deadline are the ends that were wanted: 0. */
static int until_the_end(forwarding *f) {
    while (f->rc == 0) {
        vmctl_call call = vmc_deadline_call(&f->deadline);
        vmctl_event_options listen = VMCTL_EVENT_OPTIONS_INIT;
        listen.call = &call;
        listen.vm = f->op->vm->identity.id ? f->op->vm->identity.id : f->op->vm->identity.name;
        int rc = f->op->ops->events ? f->op->ops->events(f->op->conn, &listen, on_event, f, &f->op->why)
                                    : VMCTL_E_UNSUPPORTED;
        if (f->rc == 0 && (rc == 0 || rc == VMCTL_E_UNSUPPORTED)) {
            rc = vmc_deadline_poll(&f->deadline, -1, 0, TICK_MS, "forwarding", &f->op->why);
            f->rc = rc < 0 ? rc : look(f, VMCTL_FACT_STATE);
            if (f->rc == 0)
                f->rc = check_runs(f, false);
        } else if (f->rc == 0) {
            f->rc = rc;
        }
    }
    return f->rc == VMCTL_E_CANCELLED || f->rc == VMCTL_E_TIMEOUT ? 0 : f->rc;
}

static int check_forwards(vmc_op *op, const vmctl_forward *forwards, size_t count) {
    if (!forwards || !count)
        return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, "no port was given");
    for (size_t i = 0; i < count; i++)
        if (forwards[i].guest < 1 || forwards[i].guest > 65535 || forwards[i].local < 0 || forwards[i].local > 65535)
            return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, "%d:%d are no ports", forwards[i].local,
                             forwards[i].guest);
    return 0;
}

static int prepare(forwarding *f) {
    vmctl_call call = vmc_deadline_call(&f->deadline);
    int rc = f->op->ops->spec ? f->op->ops->spec(f->op->conn, f->op->handle, &call, &f->spec, &f->op->why) : 0;
    if (rc == 0)
        rc = look(f, VMCTL_FACT_STATE | VMCTL_FACT_ADDRESSES | VMCTL_FACT_DEVICES);
    if (rc == 0)
        rc = check_runs(f, true);
    VMC_AUTO_FREE char *operation = vmc_printf("port forwards of %s", f->op->name);
    return rc == 0 ? vmc_journal_open(f->op->connection->uri, operation, &f->journal, &f->op->why) : rc;
}

int vmctl_guest_forward(vmctl_vm *vm, const vmctl_forward *forwards, size_t count, const vmctl_forward_options *options,
                        vmctl_error **err) {
    vmctl_forward_options o = VMCTL_FORWARD_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_get, o.call, VMC_NO_LIMIT, true, err);
    forwarding f = {
        .op = &op, .options = &o, .deadline = vmc_deadline_start(&op.call, VMC_NO_LIMIT), .pump = vmc_pump_new()};
    if (rc == 0)
        rc = check_forwards(&op, forwards, count);
    if (rc == 0)
        rc = prepare(&f);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = open_one(&f, &forwards[i]);
    if (rc == 0)
        rc = vmc_pump_start(f.pump, &op.why);
    if (rc == 0)
        rc = until_the_end(&f);
    vmc_pump_free(f.pump);
    if (f.journal) { /* what the backend added goes with the end, whichever it was */
        vmctl_error *why = op.why;
        op.why = NULL;
        vmc_op_undo(&op, f.journal);
        if (rc < 0) {
            vmctl_error_free(op.why);
            op.why = why;
        } else {
            vmctl_error_free(why);
            rc = op.why ? vmctl_error_code(op.why) : 0;
        }
    }
    vmc_journal_close(f.journal);
    vmc_strv_free(&f.addresses);
    free(f.reason);
    vmctl_spec_free(f.spec);
    return vmc_op_end(&op, rc, "forward ports of %s", op.name);
}
