#include "internal.h"

/* What a target that may have died is given for taking back what was made there; the rest is the next change's. A busy one needs several times the
 * moments that it takes: what is left would run there beside the source's. */
enum { TARGET_UNDO_MS = 30 * 1000 };

/* Undoes what an operation noted at its second endpoint. */
static void undo_at(vmc_op *op, vmctl_connection *target, vmc_journal *journal) {
    if (!op->ops->undo)
        return;
    vmctl_call call = op->call;
    call.timeout_ms = TARGET_UNDO_MS;
    call.cancel = NULL;
    call.progress = NULL;
    vmc_undo undo = {target, &call};
    if (vmc_journal_undo(journal, vmc_undo_entry, &undo, &op->why) > 0)
        vmc_error_append(&op->why, " (on the target; the next change there tries again)");
}

static int recover_at(vmc_op *op, vmctl_connection *target) {
    if (!op->ops->undo)
        return 0;
    vmc_undo undo = {target, &op->call};
    return vmc_journal_recover(target->uri, &op->call, vmc_undo_entry, &undo, &op->why);
}

static int move_to(vmc_op *op, vmctl_connection *target, const vmctl_migrate_options *options) {
    vmc_journal *here = NULL, *there = NULL;
    int rc = options->dry_run ? 0 : recover_at(op, target);
    if (rc == 0)
        rc = vmc_journal_open(op->connection->uri, "migrate", &here, &op->why);
    if (rc == 0)
        rc = vmc_journal_open(target->uri, "migrate", &there, &op->why);
    if (rc == 0) {
        rc = op->ops->migrate(op->conn, op->handle, target->conn, NULL, options, here, there, &op->why);
        if (rc < 0) {
            vmc_op_undo(op, here);
            undo_at(op, target, there);
        }
    }
    vmc_journal_close(there);
    vmc_journal_close(here);
    return rc;
}

int vmctl_vm_migrate(vmctl_vm *vm, vmctl_connection *target, const char *host, const vmctl_migrate_options *options,
                     vmctl_error **err) {
    vmctl_migrate_options o = VMCTL_MIGRATE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_migrate, o.call, VMC_NO_LIMIT, !o.dry_run, err);
    o.call = &op.call;
    if (rc == 0 && !target == !host)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT,
                       target ? "a connection and a host are given; one of them is the target" : "no target was given");
    if (rc == 0 && target && target->entry != op.connection->entry)
        rc = vmc_error(&op.why, VMCTL_E_UNSUPPORTED, "%s is another kind of hypervisor (%s)", target->uri,
                       target->entry->descriptor->name);
    const struct {
        bool wanted;
        const char *feature;
    } needs[] = {
        {o.mode == VMCTL_MIGRATE_LIVE, "migrate.live"},
        {o.mode == VMCTL_MIGRATE_OFFLINE, "migrate.offline"},
        {o.storage, "migrate.storage"},
        {o.tunnelled, "migrate.tunnelled"},
        {o.postcopy, "migrate.postcopy"},
    };
    for (size_t i = 0; rc == 0 && i < sizeof needs / sizeof needs[0]; i++)
        if (needs[i].wanted)
            rc = vmc_op_need(&op, VMCTL_SLOT_migrate, needs[i].feature);
    if (rc == 0 && target)
        rc = move_to(&op, target, &o);
    else if (rc == 0)
        rc = op.ops->migrate(op.conn, op.handle, NULL, host, &o, NULL, NULL, &op.why);
    return vmc_op_end(&op, rc, "migrate %s to %s", op.name,
                      target          ? target->uri
                      : host && *host ? host
                      : host          ? "another host"
                                      : "nowhere");
}

int vmctl_vm_migrate_abort(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_migrate_abort, call, VMC_ACT_MS, false, err);
    if (rc == 0)
        rc = op.ops->migrate_abort(op.conn, op.handle, &op.call, &op.why);
    return vmc_op_end(&op, rc, "stop the migration of %s", op.name);
}
