/* The states of a VM: VirtualBox has twenty-three, the common model nine. */
#include "ops.h"

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

int virtualbox_ask_state(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                         vmctl_state *state, char **native, vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(conn, vm, "asking for the VM's state", deadline, &text, err, "showvminfo", vm->id,
                              "--machinereadable", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES properties = {0};
    vboxmanage_parse_properties(text, &properties);
    const char *word = vboxmanage_property_get(&properties, "VMState");
    *state = virtualbox_state(word, NULL);
    if (native)
        *native = vmc_strdup(word ? word : "");
    return 0;
}

int virtualbox_running(virtualbox_conn *conn, const vmc_deadline *deadline, vboxmanage_properties *out,
                       vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    int code =
        virtualbox_say(conn, NULL, "asking which VMs run", deadline, &text, err, "list", "--long", "runningvms", NULL);
    if (code == 0)
        vboxmanage_parse_states(text, out);
    return code;
}
