/* Changing a VM: by a diff, or by the spec that it shall fit (apply). */
#include "internal.h"
#include "spec_internal.h"
#include <stdlib.h>
#include <string.h>

/* Images are fetched for create only: what a change brings in has to be a file. */
static void refuse_web(vmctl_error **faults, const vmctl_node *want) {
    for (size_t i = 0; i < vmctl_node_count(want); i++)
        refuse_web(faults, vmctl_node_at(want, i));
    bool source = want->schema && want->schema->type == VMC_TYPE_SOURCE;
    if (!source || !vmc_source_is_web(vmctl_node_string(want, NULL, NULL)))
        return;
    const char *file = NULL;
    unsigned line = 0, column = 0;
    vmctl_node_location(want, &file, &line, &column);
    VMC_AUTO_FREE char *path = vmctl_node_path(want);
    vmc_error_fault(faults, file, line, column, path,
                    "an image by URL is fetched when a VM is created; for a change name a file (vmctl image pull)");
}

int vmc_node_check_brought(const vmctl_node *node, const vmctl_backend_descriptor *descriptor, const vmctl_call *call,
                           vmctl_error **err) {
    int rc = vmc_node_check_backend(node, descriptor, call, err);
    if (rc < 0 || descriptor->image_sources & VMCTL_SOURCE_URL)
        return rc;
    vmctl_error *faults = NULL;
    refuse_web(&faults, node);
    if (!faults)
        return 0;
    vmc_error_move(err, &faults);
    return vmc_error_recode(err, VMCTL_E_UNSUPPORTED);
}

/* The wanted side of each change against the backend's claims: all refusals in one error. */
static int check_claims(vmc_op *op, const vmctl_diff *diff) {
    vmctl_error *all = NULL;
    int first = 0;
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        if (change->action == VMCTL_CHANGE_REMOVE || !change->want)
            continue;
        vmctl_error *why = NULL;
        const vmctl_backend_descriptor *descriptor = op->connection->entry->descriptor;
        int rc = vmc_node_check_brought(change->want, descriptor, &op->call, &why);
        if (rc < 0 && !all) {
            vmc_error_move(&all, &why);
            first = rc;
        }
        for (size_t f = 0; f < vmctl_error_fault_count(why); f++) {
            const vmctl_fault *fault = vmctl_error_fault(why, f);
            vmc_error_fault(&all, fault->file, fault->line, fault->column, fault->path, "%s", fault->message);
        }
        vmctl_error_free(why);
    }
    vmc_error_move(&op->why, &all);
    return first;
}

static int change(vmc_op *op, void *handle, const char *name, const vmctl_diff *diff, vmctl_change_options *o) {
    int rc = check_claims(op, diff);
    if (rc < 0 || vmctl_diff_count(diff) == 0)
        return rc;
    VMC_AUTO_FREE char *operation = vmc_printf("change of %s", name);
    vmc_journal *journal = NULL;
    rc = vmc_journal_open(op->connection->uri, operation, &journal, &op->why);
    if (rc < 0)
        return rc;
    rc = op->ops->change(op->conn, handle, diff, o, journal, &op->why);
    if (rc < 0)
        vmc_op_undo(op, journal);
    vmc_journal_close(journal);
    return rc;
}

int vmctl_vm_change(vmctl_vm *vm, const vmctl_diff *diff, const vmctl_change_options *options, vmctl_error **err) {
    vmctl_change_options o = VMCTL_CHANGE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_change, o.call, VMC_NO_LIMIT, !o.dry_run, err);
    o.call = &op.call;
    if (rc == 0 && !diff)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no changes were given");
    if (rc == 0)
        rc = change(&op, op.handle, op.name, diff, &o);
    return vmc_op_end(&op, rc, "change %s", op.name);
}

static int apply_to(vmc_op *op, void *handle, const vmctl_spec *spec, const vmctl_apply_options *o,
                    const vmc_deadline *deadline) {
    const char *name = vmctl_spec_name(spec), *backend = NULL;
    vmctl_call call = vmc_deadline_call(deadline);
    int rc = 0;
    if (vmctl_spec_native(spec, &backend)) {
        rc = vmc_spec_check_backend(spec, op->connection->entry->descriptor, false, &op->call, &op->why);
        if (rc == 0 && vmc_op_need(op, VMCTL_SLOT_change_native, NULL) < 0)
            return vmc_error_next(&op->why, "change it through vm.yaml: vmctl get %s -o spec", name);
        vmctl_apply_options options = *o;
        options.call = &call;
        return rc < 0 ? rc : op->ops->change_native(op->conn, handle, spec, &options, &op->why);
    }
    rc = vmc_op_need(op, VMCTL_SLOT_spec, NULL);
    if (rc == 0)
        rc = vmc_op_need(op, VMCTL_SLOT_change, NULL);
    /* The claims are held against what differs only: what the VM has already, and an image that is gone since, are no
     * reason to refuse. */
    if (rc == 0)
        vmc_spec_tell_sections(spec, op->connection->entry->descriptor, &op->call);
    vmctl_spec *have = NULL;
    vmctl_diff *diff = NULL;
    call = vmc_deadline_call(deadline);
    if (rc == 0)
        rc = op->ops->spec(op->conn, handle, &call, &have, &op->why);
    if (rc == 0) {
        vmctl_diff_options rules = VMCTL_DIFF_OPTIONS_INIT;
        rules.prune = o->prune;
        rc = vmctl_spec_diff(have, spec, &rules, &diff, &op->why);
    }
    if (rc == 0) {
        call = vmc_deadline_call(deadline);
        vmctl_change_options changes = VMCTL_CHANGE_OPTIONS_INIT;
        changes.call = &call;
        changes.live = o->live;
        changes.dry_run = o->dry_run;
        changes.changed = o->changed;
        changes.user = o->user;
        rc = change(op, handle, name, diff, &changes);
    }
    vmctl_diff_free(diff);
    vmctl_spec_free(have);
    return rc;
}

static int apply(vmc_op *op, const vmctl_spec *spec, const vmctl_apply_options *o, bool *created) {
    vmc_deadline deadline = vmc_deadline_start(&op->call, VMC_NO_LIMIT);
    const char *name = spec ? vmctl_spec_name(spec) : NULL;
    if (!name)
        return vmc_error(&op->why, VMCTL_E_INVALID_ARGUMENT, spec ? "the spec has no name" : "no spec was given");
    vmctl_call call = vmc_deadline_call(&deadline);
    vmctl_lookup_options lookup = VMCTL_LOOKUP_OPTIONS_INIT;
    lookup.call = &call;
    lookup.namespace_name = vmctl_spec_namespace(spec);
    lookup.folder = vmctl_node_string(vmctl_spec_root(spec), "placement.folder", NULL);
    vmctl_identity identity = {.size = sizeof identity};
    void *handle = NULL;
    int rc = op->ops->lookup(op->conn, name, &lookup, &handle, &identity, &op->why);
    vmc_identity_free(&identity);
    if (rc == 0) {
        rc = apply_to(op, handle, spec, o, &deadline);
        if (op->ops->release)
            op->ops->release(op->conn, handle);
        return rc;
    }
    if (rc != VMCTL_E_NOT_FOUND)
        return rc;
    vmctl_error_free(op->why);
    op->why = NULL;
    rc = vmc_op_need(op, VMCTL_SLOT_create, NULL);
    if (rc < 0)
        return rc;
    vmctl_create_options create = VMCTL_CREATE_OPTIONS_INIT;
    create.dry_run = o->dry_run;
    vmctl_vm *made = NULL;
    rc = vmc_create(op, spec, &create, &made);
    vmctl_vm_free(made);
    *created = rc == 0;
    return rc;
}

int vmctl_apply(vmctl_connection *connection, const vmctl_spec *spec, const vmctl_apply_options *options, bool *created,
                vmctl_error **err) {
    vmctl_apply_options o = VMCTL_APPLY_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    bool made = false;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_lookup, o.call, VMC_NO_LIMIT, !o.dry_run, err);
    if (rc == 0)
        rc = apply(&op, spec, &o, &made);
    if (rc == 0 && created)
        *created = made;
    const char *name = spec ? vmctl_spec_name(spec) : NULL;
    if (rc < 0)
        vmc_error_where(&op.why, NULL, name, NULL, NULL);
    return vmc_op_end(&op, rc, "apply the spec%s%s", name ? " of " : "", name ? name : "");
}
