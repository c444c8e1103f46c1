/* Finding and looking at VMs: the settings files say what they are, one call says which of them run. */
#include "facts.h"
#include "guest.h"
#include "pending.h"

#include <stdlib.h>
#include <string.h>

enum { LOOK_MS = 60000 };

/* --- the handle ------------------------------------------------------------------------------------------------ */

virtualbox_vm *virtualbox_vm_new(const char *id, const char *name) {
    virtualbox_vm *vm = vmc_alloc(sizeof *vm);
    memcpy(vm->id, id, sizeof vm->id);
    vm->name = vmc_strdup(name);
    return vm;
}

void virtualbox_vm_identity(const virtualbox_vm *vm, vmctl_identity *identity) {
    identity->name = vmc_strdup(vm->name);
    identity->id = vmc_strdup(vm->id);
}

void virtualbox_release(void *conn, void *opaque) {
    (void)conn;
    virtualbox_vm *vm = opaque;
    if (!vm)
        return;
    free(vm->name);
    free(vm);
}

/* --- lookup ---------------------------------------------------------------------------------------------------- */

static int ambiguous(const char *name, const vmc_strv *ids, vmctl_error **err) {
    VMC_AUTO_FREE char *list = vmc_strv_join(ids, ", ");
    vmc_error(err, VMCTL_E_AMBIGUOUS, "%zu VMs are named %s: %s", ids->count, name, list);
    return vmc_error_next(err, "name one by its id");
}

static int not_found(const char *name, const vmc_strv *names, vmctl_error **err) {
    const char *near = names->count ? vmc_nearest(name, (const char *const *)names->items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM named %s", name);
    return near ? vmc_error_next(err, "did you mean %s?", near)
                : vmc_error_next(err, "vmctl list shows the VMs that are there");
}

int virtualbox_lookup(void *opaque, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                      vmctl_identity *identity, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, LOOK_MS);
    vboxmanage_registry registry = {0};
    int code = virtualbox_registry(conn, &deadline, &registry, err);
    if (code < 0)
        return code;
    bool by_id = vboxmanage_is_uuid(name_or_id, false);
    VMC_AUTO_STRV ids = {0};
    VMC_AUTO_STRV names = {0};
    vboxmanage_registry wanted = registry;
    for (size_t i = 0; by_id && i < registry.count; i++) { /* of this one alone, or of none */
        wanted.entries = &registry.entries[i];
        wanted.count = strcasecmp(registry.entries[i].id, name_or_id) == 0;
        if (wanted.count)
            break;
    }
    code = vboxmanage_names_read(conn->manage, &wanted, &deadline, &names, err);
    for (size_t i = 0; i < wanted.count && i < names.count; i++)
        if (by_id || strcmp(names.items[i], name_or_id) == 0)
            vmc_strv_add(&ids, wanted.entries[i].id);
    if (code < 0)
        ids.count = 0;
    else if (!ids.items)
        code = not_found(name_or_id, &names, err);
    else if (ids.count > 1)
        code = ambiguous(name_or_id, &ids, err);
    if (code == 0 && ids.items && names.items) {
        virtualbox_vm *made = virtualbox_vm_new(ids.items[0], by_id ? names.items[0] : name_or_id);
        virtualbox_vm_identity(made, identity);
        *vm = made;
    }
    vboxmanage_registry_free(&registry);
    return code;
}

/* --- one VM ---------------------------------------------------------------------------------------------------- */

/* One call, and one more only of a VM in which Guest Additions run, for what they tell. */
static int ask_now(virtualbox_conn *conn, const virtualbox_vm *vm, bool properties, const vmc_deadline *deadline,
                   char **native, virtualbox_told *told, vmctl_error **err) {
    VBOXMANAGE_AUTO_PROPERTIES info = {0};
    int code = virtualbox_ask_info(conn, vm, deadline, &info, err);
    if (code < 0)
        return code;
    const char *word = vboxmanage_property_get(&info, "VMState");
    *native = vmc_strdup(word ? word : "");
    if (virtualbox_state(*native, NULL) != VMCTL_STATE_RUNNING)
        return 0;
    told->additions = virtualbox_additions(&info) > 0;
    vboxmanage_usb_attached(&info, &told->usb);
    if (!properties || !told->additions)
        return 0;
    code = virtualbox_say(conn, vm, "asking for what the guest tells", deadline, &told->properties, err,
                          "guestproperty", "enumerate", vm->id, NULL);
    if (code == 0)
        virtualbox_guest_addresses(told->properties, &told->addresses);
    return code;
}

int virtualbox_get(void *opaque, void *handle, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                   vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, LOOK_MS);
    unsigned facts = options->facts ? options->facts : VMCTL_FACTS_ALL;
    VMC_AUTO_FREE char *native = NULL;
    vboxmanage_machine *machine = NULL;
    virtualbox_told told = {.additions = -1};
    int code = virtualbox_load(conn, vm, &deadline, &machine, err);
    if (code == 0)
        code = ask_now(conn, vm, facts & (VMCTL_FACT_ADDRESSES | VMCTL_FACT_GUEST), &deadline, &native, &told, err);
    if (code == 0) {
        const char *reason = NULL;
        vmctl_state state = virtualbox_state(native, &reason);
        virtualbox_facts_deliver(machine, state, reason, &told, facts, NULL, each, user);
    }
    vmc_strv_free(&told.addresses);
    vboxmanage_usb_devices_free(&told.usb);
    free(told.properties);
    vboxmanage_machine_free(machine);
    return code;
}

int virtualbox_spec(void *opaque, void *handle, const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, LOOK_MS);
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(opaque, handle, &deadline, &machine, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *marker = virtualbox_marker_read(machine);
    VMC_AUTO_JSON *json = virtualbox_machine_json(machine, marker, true);
    virtualbox_pending_lay(marker, machine, true, json);
    code = vmc_json_to_spec(json, out, err);
    vboxmanage_machine_free(machine);
    return code;
}

/* The settings file as it is. */
int virtualbox_native(void *opaque, void *handle, const vmctl_call *call, char **out, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, LOOK_MS);
    vboxmanage_registry registry = {0};
    int code = virtualbox_registry(conn, &deadline, &registry, err);
    const char *settings = NULL;
    for (size_t i = 0; code == 0 && i < registry.count; i++)
        if (strcasecmp(registry.entries[i].id, vm->id) == 0)
            settings = registry.entries[i].settings;
    if (code == 0 && !settings)
        code = vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM %s any more", vm->name);
    if (code == 0)
        code = vboxmanage_settings_text(conn->manage, settings, &deadline, out, NULL, err);
    vboxmanage_registry_free(&registry);
    return code;
}
