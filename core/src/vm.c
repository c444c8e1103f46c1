/* Finding VMs, their facts, and their life. */
#include "internal.h"
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {
    [VMCTL_STATE_UNKNOWN] = "unknown", [VMCTL_STATE_STOPPED] = "stopped",     [VMCTL_STATE_STARTING] = "starting",
    [VMCTL_STATE_RUNNING] = "running", [VMCTL_STATE_PAUSED] = "paused",       [VMCTL_STATE_STOPPING] = "stopping",
    [VMCTL_STATE_SAVED] = "saved",     [VMCTL_STATE_MIGRATING] = "migrating", [VMCTL_STATE_CRASHED] = "crashed",
};
enum { STATES = sizeof state_names / sizeof state_names[0] };

const char *vmctl_state_name(vmctl_state state) {
    return (unsigned)state < STATES ? state_names[state] : state_names[VMCTL_STATE_UNKNOWN];
}

int vmctl_state_from_name(const char *name, vmctl_state *out) {
    for (size_t i = 0; name && out && i < STATES; i++)
        if (strcmp(name, state_names[i]) == 0) {
            *out = (vmctl_state)i;
            return 0;
        }
    return VMCTL_E_INVALID_ARGUMENT;
}

/* --- finding and facts ------------------------------------------------------------------------------------ */

/* Between the backend and the caller: adds what only the dispatcher knows, leaves out what was not asked for. */
typedef struct listing {
    vmctl_vm_info_fn each;
    void *user;
    const char *backend;
    const char *context;
    const vmctl_list_options *filter; /* NULL: all */
} listing;

static bool label_matches(const vmctl_vm_info *info, const vmctl_label *wanted) {
    for (size_t i = 0; i < info->label_count; i++)
        if (vmc_str_eq(info->labels[i].key, wanted->key) && vmc_str_eq(info->labels[i].value, wanted->value))
            return true;
    return false;
}

static bool is_wanted(const vmctl_vm_info *info, const vmctl_list_options *filter) {
    if (filter->name && !vmc_str_eq(info->name, filter->name))
        return false;
    if (filter->owner && !vmc_str_eq(info->owner, filter->owner))
        return false;
    if (filter->states && !(filter->states & (1u << info->state)))
        return false;
    for (size_t i = 0; i < filter->label_count; i++)
        if (!label_matches(info, &filter->labels[i]))
            return false;
    return true;
}

static int pass_on(const vmctl_vm_info *given, void *user) {
    const listing *l = user;
    if (l->filter && !is_wanted(given, l->filter))
        return 0;
    vmctl_vm_info info = *given;
    info.backend = l->backend;
    info.context = l->context;
    return l->each(&info, l->user);
}

int vmctl_list(vmctl_connection *connection, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user,
               vmctl_error **err) {
    vmctl_list_options o = VMCTL_LIST_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_list, o.call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0) {
        o.call = &op.call;
        if (!o.facts)
            o.facts = VMCTL_FACTS_LIST;
        if (o.owner || o.label_count)
            o.facts |= VMCTL_FACT_MARKER;
        if (o.states)
            o.facts |= VMCTL_FACT_STATE;
        listing l = {each, user, vmctl_connection_backend(connection), connection->context, &o};
        rc = op.ops->list(op.conn, &o, pass_on, &l, &op.why);
    }
    return vmc_op_end(&op, rc, "list VMs");
}

int vmctl_vm_lookup(vmctl_connection *connection, const char *name_or_id, const vmctl_lookup_options *options,
                    vmctl_vm **out, vmctl_error **err) {
    vmctl_lookup_options o = VMCTL_LOOKUP_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin(&op, connection, NULL, VMCTL_SLOT_lookup, o.call, VMC_ASK_MS, false, err);
    if (rc == 0 && !out)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no place for the VM was given");
    if (rc == 0)
        rc = vmc_check_text(name_or_id, "the VM's name", &op.why);
    if (rc == 0 && out) {
        o.call = &op.call;
        void *handle = NULL;
        vmctl_identity identity = {.size = sizeof identity};
        rc = op.ops->lookup(op.conn, name_or_id, &o, &handle, &identity, &op.why);
        if (rc == 0)
            *out = vmc_vm_new(connection, handle, &identity);
        else
            vmc_identity_free(&identity);
    }
    if (rc < 0 && op.why)
        vmc_error_where(&op.why, NULL, name_or_id, NULL, NULL);
    return vmc_op_end(&op, rc, "find %s", name_or_id && *name_or_id ? name_or_id : "the VM");
}

int vmctl_vm_get(vmctl_vm *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user, vmctl_error **err) {
    vmctl_get_options o = VMCTL_GET_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_get, o.call, VMC_ASK_MS, false, err);
    if (rc == 0 && !each)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no callback was given");
    if (rc == 0) {
        o.call = &op.call;
        if (!o.facts)
            o.facts = VMCTL_FACTS_ALL;
        listing l = {each, user, vmctl_connection_backend(op.connection), op.connection->context, NULL};
        rc = op.ops->get(op.conn, op.handle, &o, pass_on, &l, &op.why);
    }
    return vmc_op_end(&op, rc, "look at %s", op.name);
}

int vmctl_vm_spec(vmctl_vm *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_spec, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !out)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no place for the spec was given");
    if (rc == 0)
        rc = op.ops->spec(op.conn, op.handle, &op.call, out, &op.why);
    return vmc_op_end(&op, rc, "read the spec of %s", op.name);
}

int vmctl_vm_native(vmctl_vm *vm, const vmctl_call *call, char **out, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_native, call, VMC_ASK_MS, false, err);
    if (rc == 0 && !out)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "no place for the document was given");
    if (rc == 0)
        rc = op.ops->native(op.conn, op.handle, &op.call, out, &op.why);
    return vmc_op_end(&op, rc, "read the native document of %s", op.name);
}

/* --- removing --------------------------------------------------------------------------------------------- */

int vmctl_vm_delete(vmctl_vm *vm, const vmctl_delete_options *options, vmctl_error **err) {
    vmctl_delete_options o = VMCTL_DELETE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_remove, o.call, VMC_ACT_MS, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = op.ops->remove(op.conn, op.handle, &o, &op.why);
    return vmc_op_end(&op, rc, "delete %s", op.name);
}

/* --- life ------------------------------------------------------------------------------------------------- */

static int take_id(const vmctl_vm_info *info, void *user) {
    vmctl_vm *vm = user;
    vm->identity.id = vmc_strdup(info->id);
    return 0;
}

/* Of a VM that lookup did not look at. One that was gone again meanwhile has none. */
static void learn_id(vmc_op *op) {
    const vmctl_get_options none = {.size = sizeof none, .call = &op->call};
    if (!op->vm->identity.id && op->ops->get)
        (void)op->ops->get(op->conn, op->handle, &none, take_id, op->vm, NULL);
}

int vmctl_vm_start(vmctl_vm *vm, const vmctl_start_options *options, vmctl_error **err) {
    vmctl_start_options o = VMCTL_START_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_start, o.call, VMC_ACT_MS, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = op.ops->start(op.conn, op.handle, &o, &op.why);
    if (rc == 0)
        learn_id(&op);
    return vmc_op_end(&op, rc, "start %s", op.name);
}

enum { GRACE_MS = 60 * 1000 };

/* Options with the grace filled in, and how long the whole may take when the caller did not say. */
static int stop_options(const vmctl_stop_options *given, vmctl_stop_options *o, int64_t *default_ms,
                        vmctl_error **err) {
    int rc = vmc_options_copy(o, given, err);
    if (rc < 0)
        return rc;
    if (o->grace_ms < -1)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the grace cannot be negative (-1: never powered off)");
    if (o->grace_ms == 0)
        o->grace_ms = GRACE_MS;
    *default_ms = VMC_ACT_MS + (o->grace_ms > 0 && !o->force ? o->grace_ms : 0);
    return 0;
}

int vmctl_vm_stop(vmctl_vm *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmctl_stop_options o = VMCTL_STOP_OPTIONS_INIT;
    int64_t default_ms = 0;
    int rc = stop_options(options, &o, &default_ms, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_stop, o.call, default_ms, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = op.ops->stop(op.conn, op.handle, &o, &op.why);
    return vmc_op_end(&op, rc, "stop %s", op.name);
}

int vmctl_vm_restart(vmctl_vm *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmctl_stop_options o = VMCTL_STOP_OPTIONS_INIT;
    int64_t default_ms = 0;
    int rc = stop_options(options, &o, &default_ms, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_restart, o.call, default_ms + VMC_ACT_MS, true, err);
    o.call = &op.call;
    if (rc == 0 && o.no_wait)
        rc = vmc_error(&op.why, VMCTL_E_INVALID_ARGUMENT, "a restart has to wait for the guest to stop");
    if (rc == 0)
        rc = op.ops->restart(op.conn, op.handle, &o, &op.why);
    return vmc_op_end(&op, rc, "restart %s", op.name);
}

/* The operations that take nothing but the call. */
typedef int (*plain_fn)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);

static int do_plain(vmctl_vm *vm, vmctl_slot slot, int64_t default_ms, const vmctl_call *call, const char *verb,
                    vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, slot, call, default_ms, true, err);
    if (rc == 0) {
        const plain_fn run = slot == VMCTL_SLOT_reset    ? op.ops->reset
                             : slot == VMCTL_SLOT_reboot ? op.ops->reboot
                             : slot == VMCTL_SLOT_pause  ? op.ops->pause
                             : slot == VMCTL_SLOT_resume ? op.ops->resume
                                                         : op.ops->save;
        rc = run(op.conn, op.handle, &op.call, &op.why);
    }
    return vmc_op_end(&op, rc, "%s %s", verb, op.name);
}

int vmctl_vm_reboot(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    return do_plain(vm, VMCTL_SLOT_reboot, VMC_ACT_MS, call, "reboot the guest of", err);
}

int vmctl_vm_reset(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    return do_plain(vm, VMCTL_SLOT_reset, VMC_ACT_MS, call, "reset", err);
}

int vmctl_vm_pause(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    return do_plain(vm, VMCTL_SLOT_pause, VMC_ACT_MS, call, "pause", err);
}

int vmctl_vm_resume(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    return do_plain(vm, VMCTL_SLOT_resume, VMC_ACT_MS, call, "resume", err);
}

int vmctl_vm_save(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err) {
    return do_plain(vm, VMCTL_SLOT_save, VMC_NO_LIMIT, call, "save", err);
}

/* The rule of vm.yaml's `name`. */
static int check_name(const char *name, vmctl_error **err) {
    int rc = vmc_check_text(name, "the new name", err);
    if (rc == 0 && (strchr(name, '/') || strchr(" \t", name[0]) || strchr(" \t", name[strlen(name) - 1])))
        rc = vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                       "\"%s\" is no name for a VM: no '/' in it and no white space at its ends", name);
    return rc;
}

int vmctl_vm_rename(vmctl_vm *vm, const char *new_name, const vmctl_call *call, vmctl_error **err) {
    vmc_op op;
    int rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_rename, call, VMC_ACT_MS, true, err);
    if (rc == 0)
        rc = check_name(new_name, &op.why);
    if (rc == 0)
        rc = op.ops->rename(op.conn, op.handle, new_name, &op.call, &op.why);
    if (rc < 0)
        return vmc_op_end(&op, rc, "rename %s to %s", op.name, new_name ? new_name : "nothing");
    char *old = vm->identity.name;
    vm->identity.name = vmc_strdup(new_name);
    free(old);
    return vmc_op_end(&op, rc, "rename");
}

int vmctl_vm_clone(vmctl_vm *vm, const char *name, const vmctl_clone_options *options, vmctl_vm **out,
                   vmctl_error **err) {
    vmctl_clone_options o = VMCTL_CLONE_OPTIONS_INIT;
    int rc = vmc_options_copy(&o, options, err);
    if (rc < 0)
        return rc;
    vmc_op op;
    rc = vmc_op_begin_vm(&op, vm, VMCTL_SLOT_clone, o.call, VMC_NO_LIMIT, true, err);
    o.call = &op.call;
    if (rc == 0)
        rc = check_name(name, &op.why);
    if (rc == 0 && o.linked)
        rc = vmc_op_need(&op, VMCTL_SLOT_clone, "lifecycle.clone.linked");
    vmc_marker marker = {0};
    if (rc == 0)
        rc = vmc_marker_make(NULL, NULL, 0, &marker, &op.why);
    vmc_journal *journal = NULL;
    if (rc == 0) {
        VMC_AUTO_FREE char *operation = vmc_printf("clone of %s to %s", op.name, name);
        rc = vmc_journal_open(op.connection->uri, operation, &journal, &op.why);
    }
    if (rc == 0) {
        void *handle = NULL;
        vmctl_identity identity = {.size = sizeof identity};
        rc = op.ops->clone(op.conn, op.handle, name, &o, &marker.marker, journal, &handle, &identity, &op.why);
        if (rc == 0) {
            vmctl_vm *made = vmc_vm_new(op.connection, handle, &identity);
            if (out)
                *out = made;
            else
                vmctl_vm_free(made);
        } else {
            vmc_identity_free(&identity);
            vmc_op_undo(&op, journal);
        }
    }
    vmc_journal_close(journal);
    vmc_marker_free(&marker);
    return vmc_op_end(&op, rc, "clone %s to %s", op.name, name ? name : "nothing");
}
