/* The frame around every public call. */
#include "internal.h"
#include <stdlib.h>
#include <string.h>

int vmc_options_copy(void *full, const void *given, vmctl_error **err) {
    if (!given)
        return 0;
    size_t known, size;
    memcpy(&known, full, sizeof known);
    memcpy(&size, given, sizeof size);
    if (size < sizeof size || size > 64 * known)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                         "the size at the start of an options struct is wrong: begin with its _INIT");
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)given)[i])
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "an option is used that libvmctl %s does not know yet",
                             VMCTL_VERSION);
    memcpy(full, given, size < known ? size : known);
    memcpy(full, &known, sizeof known);
    return 0;
}

int vmc_check_text(const char *text, const char *what, vmctl_error **err) {
    if (!text || !*text)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is missing", what);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s has a control character in it", what);
    return 0;
}

int vmc_op_need(vmc_op *op, vmctl_slot slot, const char *feature) {
    const vmctl_backend_descriptor *descriptor = op->connection->entry->descriptor;
    const vmctl_slot_claim *claim = vmc_slot_claim(descriptor, slot, feature);
    bool there = vmc_slot_present(op->ops, slot);
    if (there && !(feature && claim && claim->level == VMCTL_LEVEL_NO))
        return 0;
    if (!there && (!claim || !claim->reason))
        claim = vmc_slot_claim(descriptor, slot, NULL);
    vmc_error(&op->why, VMCTL_E_UNSUPPORTED, "%s",
              claim && claim->reason ? claim->reason : "this backend has nothing for it");
    vmc_error_next(&op->why, "vmctl caps %s shows what it can do", descriptor->name);
    return VMCTL_E_UNSUPPORTED;
}

int vmc_undo_entry(void *user, const char *kind, const char *detail, vmctl_error **err) {
    const vmc_undo *undo = user;
    return undo->connection->ops->undo(undo->connection->conn, kind, detail, undo->call, err);
}

int vmc_op_recover(vmc_op *op) {
    if (!op->ops->undo)
        return 0;
    vmc_undo undo = {op->connection, &op->call};
    return vmc_journal_recover(op->connection->uri, &op->call, vmc_undo_entry, &undo, &op->why);
}

void vmc_op_undo(vmc_op *op, vmc_journal *journal) {
    if (!op->ops->undo)
        return;
    /* The call itself may be cancelled or out of time: what it made is removed all the same. */
    vmctl_call call = op->call;
    call.timeout_ms = VMC_UNDO_MS;
    call.cancel = NULL;
    call.progress = NULL;
    vmc_undo undo = {op->connection, &call};
    if (vmc_journal_undo(journal, vmc_undo_entry, &undo, &op->why) > 0)
        vmc_error_next(&op->why, "the next change on this endpoint tries to remove it again");
}

int vmc_op_begin(vmc_op *op, vmctl_connection *connection, vmctl_vm *vm, vmctl_slot slot, const vmctl_call *call,
                 int64_t default_ms, bool recover, vmctl_error **err) {
    *op = (vmc_op){.connection = vm ? vm->connection : connection, .vm = vm, .call = VMCTL_CALL_INIT, .err = err};
    op->name = vm && vm->identity.name ? vm->identity.name : "the VM";
    if (!op->connection)
        return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, "no connection was given");
    op->ops = op->connection->ops;
    op->conn = op->connection->conn;
    op->handle = vm ? vm->handle : NULL;
    int rc = vmc_op_need(op, slot, NULL);
    if (rc == 0)
        rc = vmc_options_copy(&op->call, call, &op->why);
    if (rc == 0 && op->call.timeout_ms == 0)
        op->call.timeout_ms = default_ms;
    if (rc == 0 && vmctl_cancel_triggered(op->call.cancel))
        rc = vmc_error(&op->why, VMCTL_E_CANCELLED, "cancelled before it began");
    if (rc == 0 && recover)
        rc = vmc_op_recover(op);
    return rc;
}

int vmc_op_begin_vm(vmc_op *op, vmctl_vm *vm, vmctl_slot slot, const vmctl_call *call, int64_t default_ms, bool recover,
                    vmctl_error **err) {
    if (vm)
        return vmc_op_begin(op, NULL, vm, slot, call, default_ms, recover, err);
    *op = (vmc_op){.name = "the VM", .err = err};
    return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, "no VM was given");
}

int vmc_op_end(vmc_op *op, int rc, const char *format, ...) {
    if (rc >= 0) {
        vmctl_error_free(op->why); /* of something that was tried and is no failure of the whole */
        return 0;
    }
    if (!op->err) {
        vmctl_error_free(op->why);
        return rc;
    }
    const char *backend = op->connection ? op->connection->entry->descriptor->name : NULL;
    if (!op->why)
        vmc_error(&op->why, rc, "%s gave no reason", backend ? backend : "the library");
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *what = vmc_vprintf(format, args);
    va_end(args);
    VMC_AUTO_FREE char *action = vmc_printf("cannot %s", what);
    vmc_error_where(&op->why, action, op->vm ? op->vm->identity.name : NULL, backend,
                    op->connection ? op->connection->uri : NULL);
    vmc_error_move(op->err, &op->why);
    return rc;
}

/* --- VM handles ------------------------------------------------------------------------------------------- */

void vmc_identity_free(vmctl_identity *identity) {
    free(identity->name);
    free(identity->id);
    free(identity->namespace_name);
    free(identity->folder);
    *identity = (vmctl_identity){.size = sizeof *identity};
}

vmctl_vm *vmc_vm_new(vmctl_connection *connection, void *handle, vmctl_identity *identity) {
    vmctl_vm *vm = vmc_alloc(sizeof *vm);
    vm->connection = vmc_connection_ref(connection);
    vm->handle = handle;
    vm->identity = *identity;
    *identity = (vmctl_identity){.size = sizeof *identity};
    return vm;
}

void vmctl_vm_free(vmctl_vm *vm) {
    if (!vm)
        return;
    if (vm->connection->ops->release)
        vm->connection->ops->release(vm->connection->conn, vm->handle);
    vmc_identity_free(&vm->identity);
    vmctl_connection_free(vm->connection);
    free(vm);
}

const char *vmctl_vm_name(const vmctl_vm *vm) {
    return vm ? vm->identity.name : NULL;
}

const char *vmctl_vm_id(const vmctl_vm *vm) {
    return vm ? vm->identity.id : NULL;
}

vmctl_connection *vmctl_vm_connection(const vmctl_vm *vm) {
    return vm ? vm->connection : NULL;
}
