/* The life of a VM. A verb is tried at once; only when VirtualBox refuses is it asked for the state, to say what is the matter. */
#include "facts.h"
#include "guest.h"
#include "migrate.h"
#include "pending.h"

#include <stdlib.h>
#include <string.h>

enum {
    START_MS = 300000,
    SHORT_MS = 60000,
    SAVE_MS = 1800000,
    GRACE_MS = 60000, /* vmctl_stop_options */
    AFTER_GRACE_MS = 60000,
    WITHOUT_GRACE_MS = 300000,
    ASK_AGAIN_MS = 15000, /* a guest that still boots does not hear the first request */
    LISTEN_MS = 500,
    OUTCOME_SLICE_MS = 20
};

static void words(vmc_strv *argv, const char *a, const char *b, const char *c, const char *d) {
    const char *const all[] = {a, b, c, d};
    for (size_t i = 0; i < 4 && all[i]; i++)
        vmc_strv_add(argv, all[i]);
}

static int in_state(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err) {
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm->name, vmctl_state_name(state));
    if (state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_SAVED)
        return vmc_error_next(err, "vmctl start %s", vm->name);
    if (state == VMCTL_STATE_PAUSED)
        return vmc_error_next(err, "vmctl resume %s", vm->name);
    return vmc_error_next(err, "vmctl stop --force %s", vm->name);
}

int virtualbox_life_check(const virtualbox_vm *vm, vmctl_slot slot, vmctl_state state, vmctl_error **err) {
    bool off = state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_SAVED;
    bool up = state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED;
    bool can = true;
    switch (slot) {
    case VMCTL_SLOT_start:
        can = off || state == VMCTL_STATE_RUNNING; /* it runs already, which is no refusal */
        break;
    case VMCTL_SLOT_pause:
    case VMCTL_SLOT_save:
    case VMCTL_SLOT_resume:
    case VMCTL_SLOT_reset:
        can = up;
        break;
    case VMCTL_SLOT_stop:
    case VMCTL_SLOT_restart:
        can = state != VMCTL_STATE_PAUSED;
        break;
    case VMCTL_SLOT_rename:
        if (state == VMCTL_STATE_STOPPED)
            return 0;
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm->name, vmctl_state_name(state));
        return vmc_error_next(err, "stop %s first", vm->name);
    default:
        break;
    }
    return can ? 0 : in_state(vm, state, err);
}

static void told(const virtualbox_vm *vm, vmctl_state state, const vmc_deadline *deadline) {
    vmc_note(deadline, VMCTL_NOTE_INFO, "%s is already %s", vm->name, vmctl_state_name(state));
}

/* --- verbs of a running VM -------------------------------------------------------------------------------------- */

/* controlvm VERB. 1: it was so already, which a note told. */
static int control(virtualbox_conn *conn, const virtualbox_vm *vm, const char *verb, const char *doing,
                   const char *progress, vmctl_state after, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmctl_error *why = NULL;
    words(&argv, "controlvm", vm->id, verb, NULL);
    int code = virtualbox_run(conn, vm->id, &argv, doing, progress, vm->name, deadline, NULL, &why);
    if (code != VMCTL_E_INVALID_STATE) {
        vmc_error_move(code < 0 ? err : NULL, &why);
        return code;
    }
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    if (virtualbox_ask_state(conn, vm, deadline, &state, NULL, NULL) == 0 && state != VMCTL_STATE_UNKNOWN) {
        bool already = state == after && after != VMCTL_STATE_UNKNOWN;
        if (already)
            told(vm, state, deadline);
        else
            in_state(vm, state, err);
        vmctl_error_free(why);
        return already ? 1 : VMCTL_E_INVALID_STATE;
    }
    vmc_error_move(err, &why);
    return code;
}

static int simple(virtualbox_conn *conn, const virtualbox_vm *vm, const char *verb, const char *doing,
                  const char *progress, vmctl_state after, const vmctl_call *call, int64_t default_ms,
                  vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, default_ms);
    int code = control(conn, vm, verb, doing, progress, after, &deadline, err);
    if (code == 0)
        virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, after, NULL);
    return code < 0 ? code : 0;
}

/* Guest Additions do it, and only they. */
int virtualbox_reboot(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, SHORT_MS);
    int code = virtualbox_guest_ready(conn, vm, &deadline, err);
    if (code == 0)
        code = control(conn, vm, "reboot", "asking the guest to reboot", NULL, VMCTL_STATE_UNKNOWN, &deadline, err);
    return code < 0 ? code : 0;
}

/* VirtualBox resets a paused VM as well; what runs afterwards is told by the poller. */
int virtualbox_reset(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, SHORT_MS);
    VMC_AUTO_STRV argv = {0};
    vmctl_error *why = NULL;
    const virtualbox_vm *which = vm;
    words(&argv, "controlvm", which->id, "reset", NULL);
    int code = virtualbox_run(conn, which->id, &argv, "resetting the VM", NULL, which->name, &deadline, NULL, &why);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    if (code == VMCTL_E_INVALID_STATE && virtualbox_ask_state(conn, which, &deadline, &state, NULL, NULL) == 0) {
        vmctl_error_free(why);
        why = NULL;
        return in_state(which, state, err);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int virtualbox_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return simple(conn, vm, "pause", "pausing the VM", NULL, VMCTL_STATE_PAUSED, call, SHORT_MS, err);
}

int virtualbox_resume(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return simple(conn, vm, "resume", "resuming the VM", NULL, VMCTL_STATE_RUNNING, call, SHORT_MS, err);
}

/* What became of a VM, once its process has let go of it. native: as VBoxManage spells it (free). */
static int outcome(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_state *state,
                   char **native, vmctl_error **err) {
    static const char doing[] = "waiting for the VM's process to end";
    for (bool ended = false; !ended;) {
        VBOXMANAGE_AUTO_PROPERTIES info = {0};
        int code = virtualbox_ask_info(conn, vm, deadline, &info, err);
        if (code < 0)
            return code;
        const char *word = vboxmanage_property_get(&info, "VMState");
        free(*native);
        *native = vmc_strdup(word ? word : "");
        *state = virtualbox_state(word, NULL);
        ended = !vboxmanage_property_get(&info, "SessionName") ||
                (virtualbox_is_up(*state) && *state != VMCTL_STATE_STOPPING);
        code = ended ? 0 : vmc_deadline_poll(deadline, -1, 0, OUTCOME_SLICE_MS, doing, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int aborted(virtualbox_conn *conn, const virtualbox_vm *vm, vmctl_error **why, vmctl_error **err) {
    const char *reason = NULL;
    vmctl_state state = virtualbox_state("aborted", &reason);
    virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, state, reason);
    VMC_AUTO_FREE char *words = vmc_strdup(*why ? vmctl_error_message(*why) : reason);
    vmctl_error_free(*why);
    *why = NULL;
    vmc_error(err, VMCTL_E_INTERNAL,
              "VirtualBox' process of %s died as it ended after saving, and VirtualBox threw the memory away",
              vm->name);
    vmc_error_hypervisor(err, NULL, words);
    return vmc_error_next(err, "vmctl start %s boots it; VBox.log in its Logs folder tells more", vm->name);
}

/* savestate succeeds when the memory is in its file. The process has still to end in good order: when it dies of that, VirtualBox calls the VM aborted
 * and throws the file away (7.2 does so with a NAT NIC, the third time that a memory was restored). */
int virtualbox_save(void *opaque, void *handle, const vmctl_call *call, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, SAVE_MS);
    vmctl_error *why = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    VMC_AUTO_FREE char *native = NULL;
    int code = control(conn, vm, "savestate", "saving the VM's memory", "saving the memory", VMCTL_STATE_SAVED,
                       &deadline, &why);
    if (code == 1)
        return 0;
    if (code == 0)
        code = outcome(conn, vm, &deadline, &state, &native, &why);
    else if (code != VMCTL_E_INVALID_STATE && code != VMCTL_E_CANCELLED && code != VMCTL_E_TIMEOUT)
        virtualbox_ask_state(conn, vm, &deadline, &state, &native, NULL);
    if (vmc_str_eq(native, "aborted"))
        return aborted(conn, vm, &why, err);
    if (code == 0 && state != VMCTL_STATE_SAVED) {
        vmc_error(&why, VMCTL_E_INTERNAL, "VirtualBox saved %s, which is %s all the same", vm->name, native);
        code = vmc_error_next(&why, "vmctl get %s shows what it is now", vm->name);
    }
    if (code == 0)
        virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, VMCTL_STATE_SAVED, NULL);
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* --- start ------------------------------------------------------------------------------------------------------ */

static int discard_memory(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                          vmctl_error **err) {
    return virtualbox_say(conn, vm, "throwing the saved memory away", deadline, NULL, err, "discardstate", vm->id,
                          NULL);
}

/* It came by teleporting, and would wait for another one to come. */
static int close_teleporter(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                            vmctl_error **err) {
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = virtualbox_ask_state(conn, vm, deadline, &state, NULL, err);
    if (code < 0 || state != VMCTL_STATE_STOPPED) /* the file says nothing of what runs */
        return code;
    code = virtualbox_say(conn, vm, "switching the teleporter off", deadline, NULL, err, "modifyvm", vm->id,
                          "--teleporter", "off", "--teleporter-port", "0", "--teleporter-address", "",
                          "--teleporter-password", "", NULL);
    if (code == 0)
        code = virtualbox_say(conn, vm, "switching the teleporter off", deadline, NULL, err, "setextradata", vm->id,
                              VIRTUALBOX_ARRIVED, NULL);
    return code;
}

/* 1: it runs already, which a note told. */
static int launch(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmctl_error *why = NULL;
    words(&argv, "startvm", vm->id, "--type", "headless");
    int code = virtualbox_try(conn, vm->id, &argv, "starting the VM", NULL, vm->name, deadline, NULL, &why);
    if (code == VMCTL_E_BUSY) { /* somebody has its lock: it runs, or is about to stop */
        vmctl_state state = VMCTL_STATE_UNKNOWN;
        vmctl_error_free(why);
        why = NULL;
        code = virtualbox_ask_state(conn, vm, deadline, &state, NULL, &why);
        if (code == 0 && state == VMCTL_STATE_RUNNING) {
            told(vm, state, deadline);
            return 1;
        }
        if (code == 0 &&
            (state == VMCTL_STATE_PAUSED || state == VMCTL_STATE_CRASHED || state == VMCTL_STATE_MIGRATING))
            return in_state(vm, state, err);
        if (code == 0)
            code = virtualbox_run(conn, vm->id, &argv, "starting the VM", NULL, vm->name, deadline, NULL, &why);
    }
    if (code == 0)
        virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, VMCTL_STATE_RUNNING, NULL);
    if (code == VMCTL_E_INTERNAL)
        vmc_error_next(&why, "VBox.log in the Logs folder of the VM tells why");
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* What waits for this start is made first, and the settings are read again. */
static int settle(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                  vboxmanage_machine **machine, vmctl_error **err) {
    int code = virtualbox_pending_make(conn, (virtualbox_vm *)vm, *machine, deadline, err);
    if (code == 0) {
        vboxmanage_machine_free(*machine);
        *machine = NULL;
        code = virtualbox_load(conn, vm, deadline, machine, err);
    }
    return code;
}

static int start(virtualbox_conn *conn, const virtualbox_vm *vm, bool discard, const vmc_deadline *deadline,
                 vmctl_error **err) {
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(conn, vm, deadline, &machine, err);
    bool discarded = code == 0 && discard && machine->state_file;
    if (discarded)
        code = discard_memory(conn, vm, deadline, err);
    if (code == 0 && machine->teleporter && vboxmanage_extra(machine, VIRTUALBOX_ARRIVED))
        code = close_teleporter(conn, vm, deadline, err);
    if (code == 0 && (discarded || !machine->state_file) && virtualbox_pending_any(machine))
        code = settle(conn, vm, deadline, &machine, err);
    int64_t kept = 0;
    if (code == 0)
        code = virtualbox_serial_heal(conn, vm, machine, deadline, err);
    if (code == 0)
        code = virtualbox_serial_keep(machine, &kept, deadline, err);
    if (code == 0) {
        code = launch(conn, vm, deadline, err);
        if (code != 0)
            virtualbox_serial_unkeep(machine, kept);
    }
    vboxmanage_machine_free(machine);
    return code < 0 ? code : 0;
}

int virtualbox_start_up(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                        vmctl_error **err) {
    return start(conn, vm, false, deadline, err);
}

int virtualbox_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, START_MS);
    if (options->paused) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "VBoxManage cannot start a VM paused");
        return vmc_error_next(err, "vmctl start %s, then vmctl pause %s", ((virtualbox_vm *)vm)->name,
                              ((virtualbox_vm *)vm)->name);
    }
    return start(conn, vm, options->discard, &deadline, err);
}

/* --- stop ------------------------------------------------------------------------------------------------------- */

static bool is_off(vmctl_state state) {
    return state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_SAVED;
}

int virtualbox_power_off(virtualbox_conn *conn, virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmctl_error *why = NULL;
    words(&argv, "controlvm", vm->id, "poweroff", NULL);
    int code = virtualbox_run(conn, vm->id, &argv, "powering the VM off", NULL, vm->name, deadline, NULL, &why);
    if (code == 0)
        virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, VMCTL_STATE_STOPPED, NULL);
    if (code < 0 && code != VMCTL_E_INVALID_STATE && code != VMCTL_E_CANCELLED && code != VMCTL_E_TIMEOUT) {
        /* Its process died of it: that is off, too. */
        vmctl_state state = VMCTL_STATE_UNKNOWN;
        if (virtualbox_ask_state(conn, vm, deadline, &state, NULL, NULL) == 0 && state == VMCTL_STATE_STOPPED) {
            vmctl_error_free(why);
            why = NULL;
            virtualbox_tell(conn, VMCTL_EVENT_STATE, vm, state, NULL);
            code = 0;
        }
    }
    if (code == VMCTL_E_INVALID_STATE) { /* it does not run (any more), or is on its way */
        /* One that waits for a VM which is teleported to it cannot be powered off: its process is ended. */
        bool waits = why && strstr(vmctl_error_message(why), "TeleportingIn");
        vmctl_error_free(why);
        return waits ? virtualbox_say(conn, vm, "ending the VM's process", deadline, NULL, err, "startvm", vm->id,
                                      "--type", "emergencystop", NULL)
                     : 1;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static int ask_guest(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    return virtualbox_say(conn, vm, "pressing the VM's power button", deadline, NULL, err, "controlvm", vm->id,
                          "acpipowerbutton", NULL);
}

/* 1: it is off, 0: the guest's time is up. */
static int wait_off(virtualbox_conn *conn, const virtualbox_vm *vm, virtualbox_listener *listener,
                    const vmc_deadline *deadline, const vmc_deadline *grace, vmctl_error **err) {
    static const char doing[] = "waiting for the guest to shut down";
    int64_t asked = vmc_now_ms();
    int code = vmc_progress(deadline, vm->name, doing, NULL, VMCTL_UNIT_NONE, 0, 0, err);
    while (code == 0) {
        virtualbox_event *event = NULL;
        vmctl_error *why = NULL;
        code = virtualbox_listener_next(conn, listener, grace, LISTEN_MS, &event, &why);
        bool off =
            code == 1 && event->kind == VMCTL_EVENT_STATE && strcmp(event->id, vm->id) == 0 && is_off(event->state);
        virtualbox_event_free(event);
        if (off)
            return 1;
        if (code == VMCTL_E_TIMEOUT) {
            vmctl_error_free(why);
            return 0;
        }
        vmc_error_move(code < 0 ? err : NULL, &why);
        code = code < 0 ? code : 0;
        if (code == 0 && vmc_now_ms() - asked >= ASK_AGAIN_MS) {
            asked = vmc_now_ms();
            ask_guest(conn, vm, deadline, NULL); /* it may have stopped this moment */
        }
    }
    return code;
}

static int stop_gently(virtualbox_conn *conn, virtualbox_vm *vm, const vmctl_stop_options *options, int64_t grace_ms,
                       const vmc_deadline *deadline, vmctl_error **err) {
    virtualbox_listener *listener = NULL;
    int code = options->no_wait ? 0 : virtualbox_listener_open(conn, deadline, &listener, err);
    if (code == 0)
        code = ask_guest(conn, vm, deadline, err);
    vmc_deadline grace = grace_ms < 0 ? *deadline : vmc_deadline_within(deadline, grace_ms);
    if (code == 0 && listener)
        code = wait_off(conn, vm, listener, deadline, &grace, err);
    bool up = code == 0 && listener;
    virtualbox_listener_close(conn, listener);
    if (code != 0 || !up)
        return code < 0 ? code : 0;
    code = vmc_deadline_check(deadline, "waiting for the guest to shut down", err);
    if (code < 0)
        return vmc_error_next(err, "vmctl stop --force %s powers it off", vm->name);
    code = virtualbox_power_off(conn, vm, deadline, err);
    if (code == 0) {
        VMC_AUTO_FREE char *time = vmc_format_duration(grace_ms);
        vmc_note(deadline, VMCTL_NOTE_WARNING, "%s did not shut down within %s and was powered off", vm->name, time);
    }
    return code < 0 ? code : 0;
}

static int stop(virtualbox_conn *conn, virtualbox_vm *vm, const vmctl_stop_options *options,
                const vmc_deadline *deadline, vmctl_error **err) {
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = virtualbox_ask_state(conn, vm, deadline, &state, NULL, err);
    if (code < 0)
        return code;
    if (is_off(state)) {
        told(vm, state, deadline);
        return 0;
    }
    if (options->force || state == VMCTL_STATE_CRASHED) {
        code = virtualbox_power_off(conn, vm, deadline, err);
        return code < 0 ? code : 0;
    }
    code = virtualbox_life_check(vm, VMCTL_SLOT_stop, state, err);
    if (code < 0)
        return code;
    return stop_gently(conn, vm, options, options->grace_ms ? options->grace_ms : GRACE_MS, deadline, err);
}

static vmc_deadline stop_deadline(const vmctl_stop_options *options) {
    int64_t grace = options->grace_ms ? options->grace_ms : GRACE_MS;
    return vmc_deadline_start(options->call, grace < 0 ? WITHOUT_GRACE_MS : grace + AFTER_GRACE_MS);
}

int virtualbox_stop(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmc_deadline deadline = stop_deadline(options);
    return stop(conn, vm, options, &deadline, err);
}

int virtualbox_restart(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmc_deadline deadline = stop_deadline(options);
    int code = stop(conn, vm, options, &deadline, err);
    if (code < 0)
        return code;
    code = start(conn, vm, false, &deadline, err);
    return code < 0 ? vmc_error_prefix(err, "it was stopped and could not be started again") : 0;
}

/* --- rename ----------------------------------------------------------------------------------------------------- */

static int check_name(virtualbox_conn *conn, const virtualbox_vm *vm, const char *name, const vmc_deadline *deadline,
                      vmctl_error **err) {
    vboxmanage_registry registry = {0};
    VMC_AUTO_STRV names = {0};
    int code = virtualbox_registry(conn, deadline, &registry, err);
    if (code == 0)
        code = vboxmanage_names_read(conn->manage, &registry, deadline, &names, err);
    for (size_t i = 0; code == 0 && i < registry.count; i++) {
        if (strcasecmp(registry.entries[i].id, vm->id) == 0 || strcmp(names.items[i], name) != 0)
            continue;
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there is a VM of the name %s already", name);
        code = vmc_error_next(err, "choose another name");
    }
    vboxmanage_registry_free(&registry);
    return code;
}

/* VirtualBox moves the folder of a VM that is named like it, and what lies in it; only the serial port's file it does not follow. */
static int follow_serial(virtualbox_conn *conn, const virtualbox_vm *vm, const char *old_folder,
                         const vmc_deadline *deadline, vmctl_error **err) {
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(conn, vm, deadline, &machine, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *log = virtualbox_serial_log_path(machine);
    const char *file = log ? log : machine->serial_path;
    VMC_AUTO_FREE char *inside = file ? vmc_path_dirname(file) : NULL;
    if (!vmc_str_eq(machine->folder, old_folder) && vmc_str_eq(inside, old_folder)) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s", machine->folder, vmc_path_basename(file));
        code = virtualbox_say(conn, vm, "moving the serial port's file", deadline, NULL, err, "modifyvm", vm->id,
                              "--uartmode1", log ? "file" : "server", path, NULL);
    }
    vboxmanage_machine_free(machine);
    return code;
}

int virtualbox_rename(void *opaque, void *handle, const char *new_name, const vmctl_call *call, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, SHORT_MS);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_ask_state(conn, vm, &deadline, &state, NULL, err);
    if (code == 0)
        code = virtualbox_life_check(vm, VMCTL_SLOT_rename, state, err);
    if (code == 0)
        code = check_name(conn, vm, new_name, &deadline, err);
    if (code == 0)
        code = virtualbox_load(conn, vm, &deadline, &machine, err);
    VMC_AUTO_FREE char *folder = machine ? vmc_strdup(machine->folder) : NULL;
    vboxmanage_machine_free(machine);
    VMC_AUTO_FREE char *option = vmc_printf("--name=%s", new_name);
    if (code == 0)
        code = virtualbox_say(conn, vm, "renaming the VM", &deadline, NULL, err, "modifyvm", vm->id, option, NULL);
    if (code < 0)
        return code;
    free(vm->name);
    vm->name = vmc_strdup(new_name);
    return follow_serial(conn, vm, folder, &deadline, err);
}
