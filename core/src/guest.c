#include "internal.h"

int vmctl_guest_exec(vmctl_vm *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                     vmctl_error **err) {
    vmctl_exec_options o = VMCTL_EXEC_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_guest_exec, o.call, VMC_NO_LIMIT, false, err);
    o.call = &op.call;
    int ignored = 0;
    if (rc == 0)
        rc = vmc_check_text(argv ? argv[0] : NULL, "the program's name", &op.why);
    if (rc == 0)
        rc = op.ops->guest_exec(op.conn, op.handle, argv, &o, status ? status : &ignored, &op.why);
    return vmc_op_end(&op, rc, "run %s in %s", argv && argv[0] ? argv[0] : "a program", op.name);
}

static int open_journal(vmc_op *op, vmc_journal **journal) {
    VMC_AUTO_FREE char *operation = vmc_printf("copying of a file with %s", op->name);
    return vmc_journal_open(op->connection->uri, operation, journal, &op->why);
}

int vmctl_guest_copy_in(vmctl_vm *vm, const char *local, const char *guest, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_guest_copy_in, call, VMC_NO_LIMIT, true, err);
    if (rc == 0)
        rc = vmc_check_text(local, "the file's name", &op.why);
    if (rc == 0)
        rc = vmc_check_text(guest, "the name in the guest", &op.why);
    vmc_journal *journal = NULL;
    if (rc == 0)
        rc = open_journal(&op, &journal);
    if (rc == 0) {
        rc = op.ops->guest_copy_in(op.conn, op.handle, local, guest, journal, &op.call, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "copy %s to %s", local ? local : "a file", op.name);
}

int vmctl_guest_copy_out(vmctl_vm *vm, const char *guest, const char *local, const vmctl_call *call,
                         vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_guest_copy_out, call, VMC_NO_LIMIT, true, err);
    if (rc == 0)
        rc = vmc_check_text(guest, "the name in the guest", &op.why);
    if (rc == 0)
        rc = vmc_check_text(local, "the file's name", &op.why);
    vmc_journal *journal = NULL;
    if (rc == 0)
        rc = open_journal(&op, &journal);
    if (rc == 0) {
        rc = op.ops->guest_copy_out(op.conn, op.handle, guest, local, journal, &op.call, &op.why);
        if (rc < 0)
            vmc_op_undo(&op, journal);
    }
    vmc_journal_close(journal);
    return vmc_op_end(&op, rc, "copy %s from %s", guest ? guest : "a file", op.name);
}

int vmctl_guest_freeze(vmctl_vm *vm, int *count, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_guest_freeze, call, VMC_ASK_MS, false, err);
    int ignored = -1;
    if (count)
        *count = -1;
    if (rc == 0)
        rc = op.ops->guest_freeze(op.conn, op.handle, count ? count : &ignored, &op.call, &op.why);
    return vmc_op_end(&op, rc, "freeze the file systems of %s", op.name);
}

int vmctl_guest_thaw(vmctl_vm *vm, int *count, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_guest_thaw, call, VMC_ASK_MS, false, err);
    int ignored = -1;
    if (count)
        *count = -1;
    if (rc == 0)
        rc = op.ops->guest_thaw(op.conn, op.handle, count ? count : &ignored, &op.call, &op.why);
    return vmc_op_end(&op, rc, "thaw the file systems of %s", op.name);
}

int vmctl_guest_set_password(vmctl_vm *vm, const char *user, const char *password, const vmctl_call *call,
                             vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_guest_set_password, call, VMC_ASK_MS, false, err);
    if (rc == 0)
        rc = vmc_check_text(user, "the user's name", &op.why);
    if (rc == 0 && !password)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no password was given");
    if (rc == 0)
        rc = op.ops->guest_set_password(op.conn, op.handle, user, password, &op.call, &op.why);
    return vmc_op_end(&op, rc, "set the password of %s in %s", user ? user : "a user", op.name);
}
