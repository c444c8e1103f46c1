#include "internal.h"

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
    if (rc == 0 && o.mode == VMCTL_MIGRATE_LIVE)
        rc = vmc_op_need(&op, VMCTL_SLOT_migrate, "migrate.live");
    if (rc == 0 && o.mode == VMCTL_MIGRATE_OFFLINE)
        rc = vmc_op_need(&op, VMCTL_SLOT_migrate, "migrate.offline");
    if (rc == 0 && o.storage)
        rc = vmc_op_need(&op, VMCTL_SLOT_migrate, "migrate.storage");
    if (rc == 0)
        rc = op.ops->migrate(op.conn, op.handle, target ? target->conn : NULL, host, &o, &op.why);
    return vmc_op_end(&op, rc, "migrate %s to %s", op.name, target ? target->uri : host ? host : "nowhere");
}

int vmctl_vm_migrate_abort(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_migrate_abort, call, VMC_ACT_MS, false, err);
    if (rc == 0)
        rc = op.ops->migrate_abort(op.conn, op.handle, &op.call, &op.why);
    return vmc_op_end(&op, rc, "stop the migration of %s", op.name);
}
