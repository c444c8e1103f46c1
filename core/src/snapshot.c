#include "internal.h"

/* Where only the disks can be taken, that is what to do. */
static int need_memory(vmc_op *op) {
    int rc = vmc_op_need(op, VMCTL_SLOT_snapshot_create, "snapshot.memory");
    return rc < 0 ? vmc_error_next(&op->why, "leave --memory out: a snapshot of the disks can be taken") : rc;
}

int vmctl_snapshot_create(vmctl_vm *vm, const char *name, const vmctl_snapshot_create_options *options,
                          vmctl_error **err) {
    vmctl_snapshot_create_options o = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_snapshot_create, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = vmc_check_text(name, "the snapshot's name", &op.why);
    if (rc == 0 && o.memory == VMCTL_MEMORY_WITH)
        rc = need_memory(&op);
    if (rc == 0 && o.quiesce)
        rc = vmc_op_need(&op, VMCTL_SLOT_snapshot_create, "snapshot.quiesce");
    vmc_journal *journal = NULL;
    if (rc == 0) {
        VMC_AUTO_FREE char *operation = vmc_printf("taking of snapshot \"%s\" of %s", name, op.name);
        rc = vmc_journal_open(op.connection->uri, operation, &journal, &op.why);
    }
    if (rc == 0) {
        rc = op.ops->snapshot_create(op.conn, op.handle, name, &o, journal, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "take snapshot \"%s\" of %s", name ? name : "", op.name);
}

int vmctl_snapshot_list(vmctl_vm *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_snapshot_list, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0)
        rc = op.ops->snapshot_list(op.conn, op.handle, &op.call, each, user, &op.why);
    return vmc_op_end(&op, rc, "list the snapshots of %s", op.name);
}

int vmctl_snapshot_rename(vmctl_vm *vm, const char *name, const char *new_name, const vmctl_call *call,
                          vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_snapshot_rename, call, VMC_ACT_MS, true, err);
    if (rc == 0)
        rc = vmc_check_text(name, "the snapshot's name", &op.why);
    if (rc == 0)
        rc = vmc_check_text(new_name, "the new name", &op.why);
    if (rc == 0)
        rc = op.ops->snapshot_rename(op.conn, op.handle, name, new_name, &op.call, &op.why);
    return vmc_op_end(&op, rc, "rename snapshot \"%s\" of %s", name ? name : "", op.name);
}

static int take_state(const vmctl_vm_info *info, void *user) {
    *(vmctl_state *)user = info->state;
    return 0;
}

static int check_stopped(vmc_op *op) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    options.call = &op->call;
    options.facts = VMCTL_FACT_STATE;
    int rc = op->ops->get(op->conn, op->handle, &options, take_state, &state, &op->why);
    if (rc < 0 || state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_CRASHED)
        return rc;
    vmc_error(&op->why, VMCTL_E_INVALID_STATE, "%s is %s, and nothing shall be ended for it", op->name,
              vmctl_state_name(state));
    return vmc_error_next(&op->why, "vmctl stop %s first, or leave --only-stopped out", op->name);
}

int vmctl_snapshot_revert(vmctl_vm *vm, const char *name, const vmctl_snapshot_revert_options *options,
                          vmctl_error **err) {
    vmctl_snapshot_revert_options o = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_snapshot_revert, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = vmc_check_text(name, "the snapshot's name", &op.why);
    if (rc == 0 && o.only_stopped)
        rc = check_stopped(&op);
    vmc_journal *journal = NULL;
    if (rc == 0) {
        VMC_AUTO_FREE char *operation = vmc_printf("reverting to snapshot \"%s\" of %s", name, op.name);
        rc = vmc_journal_open(op.connection->uri, operation, &journal, &op.why);
    }
    if (rc == 0) {
        rc = op.ops->snapshot_revert(op.conn, op.handle, name, &o, journal, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "revert %s to snapshot \"%s\"", op.name, name ? name : "");
}

int vmctl_snapshot_delete(vmctl_vm *vm, const char *name, const vmctl_snapshot_delete_options *options,
                          vmctl_error **err) {
    vmctl_snapshot_delete_options o = VMCTL_SNAPSHOT_DELETE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_snapshot_delete, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = vmc_check_text(name, "the snapshot's name", &op.why);
    if (rc == 0)
        rc = op.ops->snapshot_delete(op.conn, op.handle, name, &o, &op.why);
    return vmc_op_end(&op, rc, "delete snapshot \"%s\" of %s", name ? name : "", op.name);
}
