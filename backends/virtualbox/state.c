/* The states of a VM: VirtualBox has twenty-three, the common model nine. */
#include "processes.h"

#include <stdlib.h>
#include <string.h>

/* As VBoxManage spells them (machineStateToName); SDK reference, MachineState. */
static const struct {
    const char *native;
    vmctl_state state;
    const char *reason;
} states[] = {
    {"poweroff", VMCTL_STATE_STOPPED, NULL},
    {"saved", VMCTL_STATE_SAVED, NULL},
    {"teleported", VMCTL_STATE_STOPPED, "it moved to another host"},
    {"aborted", VMCTL_STATE_STOPPED, "aborted: its process ended without shutting down"},
    {"aborted-saved", VMCTL_STATE_SAVED, "aborted while it was restored; the saved memory is still there"},
    {"running", VMCTL_STATE_RUNNING, NULL},
    {"paused", VMCTL_STATE_PAUSED, NULL},
    {"gurumeditation", VMCTL_STATE_CRASHED, "guru meditation: the guest cannot go on"},
    {"teleporting", VMCTL_STATE_MIGRATING, NULL},
    {"teleportingpausedvm", VMCTL_STATE_MIGRATING, NULL},
    {"teleportingin", VMCTL_STATE_MIGRATING, "waiting for a VM to arrive"},
    {"livesnapshotting", VMCTL_STATE_RUNNING, "a snapshot is taken"},
    {"onlinesnapshotting", VMCTL_STATE_RUNNING, "a snapshot is taken"},
    {"deletingsnapshotlive", VMCTL_STATE_RUNNING, "a snapshot is merged"},
    {"deletingsnapshotlivepaused", VMCTL_STATE_PAUSED, "a snapshot is merged"},
    {"starting", VMCTL_STATE_STARTING, NULL},
    {"restoring", VMCTL_STATE_STARTING, "its memory is read back"},
    {"stopping", VMCTL_STATE_STOPPING, NULL},
    {"saving", VMCTL_STATE_STOPPING, "its memory goes to disk"},
    {"snapshotting", VMCTL_STATE_STOPPED, "a snapshot is taken"},
    {"deletingsnapshot", VMCTL_STATE_STOPPED, "a snapshot is merged"},
    {"restoringsnapshot", VMCTL_STATE_STOPPED, "a snapshot is restored"},
    {"settingup", VMCTL_STATE_STARTING, NULL},
};

vmctl_state virtualbox_state(const char *native, const char **reason) {
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (vmc_str_eq(states[i].native, native)) {
            if (reason)
                *reason = states[i].reason;
            return states[i].state;
        }
    }
    if (reason)
        *reason = NULL;
    return VMCTL_STATE_UNKNOWN;
}

bool virtualbox_is_up(vmctl_state state) {
    return state != VMCTL_STATE_STOPPED && state != VMCTL_STATE_SAVED && state != VMCTL_STATE_UNKNOWN;
}

const char *virtualbox_constant_reason(const char *reason) {
    for (size_t i = 0; reason && i < sizeof states / sizeof states[0]; i++)
        if (vmc_str_eq(states[i].reason, reason))
            return states[i].reason;
    return NULL;
}

vmctl_state virtualbox_state_at_rest(const vboxmanage_machine *machine, const char **reason) {
    if (machine->state_file)
        return virtualbox_state(machine->aborted ? "aborted-saved" : "saved", reason);
    return virtualbox_state(machine->aborted ? "aborted" : "poweroff", reason);
}

enum { PASSES_MS = 8000, PASSES_SLICE_MS = 50 };

/* What VBoxSVC answers in the moment in which another session of the VM ends. A question can be asked again; a change cannot, for two that
 * are tried again and again beside each other leave VBoxSVC with a VM that it can do nothing with any more. */
static bool passes(const vmctl_error *why) {
    static const char *const moments[] = {"extended info not available",
                                          "was unlocked unexpectedly while attempting to share",
                                          "The session is not locked", "Failed to assign the machine to the session"};
    for (size_t i = 0; why && i < sizeof moments / sizeof moments[0]; i++)
        if (strstr(vmctl_error_message(why), moments[i]))
            return true;
    return false;
}

int virtualbox_ask_info(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                        vboxmanage_properties *out, vmctl_error **err) {
    static const char doing[] = "asking for the VM's state";
    VMC_AUTO_STRV argv = {0};
    VMC_AUTO_FREE char *text = NULL;
    vmctl_error *why = NULL;
    vmc_strv_add(&argv, "showvminfo");
    vmc_strv_add(&argv, vm->id);
    vmc_strv_add(&argv, "--machinereadable");
    int64_t until = vmc_now_ms() + PASSES_MS;
    int code = virtualbox_try(conn, vm->id, &argv, doing, NULL, vm->name, deadline, &text, &why);
    while (code < 0 && passes(why) && vmc_now_ms() < until) {
        vmctl_error_free(why);
        why = NULL;
        code = vmc_deadline_poll(deadline, -1, 0, PASSES_SLICE_MS, doing, err);
        if (code < 0)
            return code;
        code = virtualbox_try(conn, vm->id, &argv, doing, NULL, vm->name, deadline, &text, &why);
    }
    /* Only the process that VBoxSVC has launched for it may come near a VM that is starting. */
    if (code == VMCTL_E_BUSY && strstr(vmctl_error_message(why), "has tried to lock the machine")) {
        vmctl_error_free(why);
        vboxmanage_parse_properties("VMState=\"starting\"\n", out);
        return 0;
    }
    if (code == VMCTL_E_BUSY) {
        vmctl_error_free(why);
        why = NULL;
        code = virtualbox_run(conn, vm->id, &argv, doing, NULL, vm->name, deadline, &text, &why);
    }
    if (code == 0)
        vboxmanage_parse_properties(text, out);
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int virtualbox_ask_state(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                         vmctl_state *state, char **native, vmctl_error **err) {
    VBOXMANAGE_AUTO_PROPERTIES properties = {0};
    int code = virtualbox_ask_info(conn, vm, deadline, &properties, err);
    if (code < 0)
        return code;
    const char *word = vboxmanage_property_get(&properties, "VMState");
    *state = virtualbox_state(word, NULL);
    if (native)
        *native = vmc_strdup(word ? word : "");
    return 0;
}

static void add_state(vboxmanage_properties *to, const char *id, const char *native) {
    to->items = vmc_realloc(to->items, to->count + 1, sizeof *to->items);
    to->items[to->count++] = (vboxmanage_property){vmc_strdup(id), vmc_strdup(native)};
}

/* `list runningvms` leaves out what is starting, saving, stopping or crashed, and what has stopped whose process is about to end: until that has ended
 * its settings file may be the old one. */
static int ask_about_others(virtualbox_conn *conn, const vboxmanage_registry *registry,
                            const virtualbox_processes *processes, const vmc_deadline *deadline,
                            vboxmanage_properties *out, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && processes->count && i < registry->count; i++) {
        const char *id = registry->entries[i].id;
        if (!virtualbox_process_of(processes, id) || vboxmanage_property_get(out, id))
            continue;
        virtualbox_vm vm = {.name = NULL};
        VBOXMANAGE_AUTO_PROPERTIES info = {0};
        memcpy(vm.id, id, sizeof vm.id);
        /* One that cannot be asked has gone meanwhile, or is another VirtualBox' of the same id: its file tells. */
        const char *native = virtualbox_ask_info(conn, &vm, deadline, &info, NULL) == 0
                                 ? vboxmanage_property_get(&info, "VMState")
                                 : NULL;
        if (native)
            add_state(out, id, native);
        code = vmc_deadline_check(deadline, "asking which VMs run", err);
    }
    return code;
}

int virtualbox_states(virtualbox_conn *conn, const vboxmanage_registry *registry, const virtualbox_processes *processes,
                      const vmc_deadline *deadline, vboxmanage_properties *out, vmctl_error **err) {
    VIRTUALBOX_AUTO_PROCESSES own = {0};
    VMC_AUTO_FREE char *text = NULL;
    int code = processes ? 0 : virtualbox_processes_read(conn, false, deadline, &own, err);
    if (code == 0)
        code = virtualbox_say(conn, NULL, "asking which VMs run", deadline, &text, err, "list", "--long", "runningvms",
                              NULL);
    if (code < 0)
        return code;
    vboxmanage_parse_states(text, out);
    return ask_about_others(conn, registry, processes ? processes : &own, deadline, out, err);
}
