/* The life of a domain: each verb asks for the state and acts in one go, so that what already is costs no error. */
#include "job.h"
#include "listener.h"
#include "nvram.h"
#include "rpc.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    START_MS = 300000,
    SHORT_MS = 60000,
    SAVE_MS = 1800000,
    GRACE_MS = 60000,       /* vmctl_stop_options */
    AFTER_GRACE_MS = 60000, /* for powering off */
    WITHOUT_GRACE_MS = 300000,
    ASK_AGAIN_MS = 15000, /* a guest that still boots does not hear the first request */
    LOOK_MS = 500         /* where there are no events */
};

typedef struct life_args life_args;

/* A verb: what it does to a domain in each state. */
typedef struct life_verb {
    const char *doing;
    int (*act)(life_args *args); /* 0, -1: libvirt's error, 1: it already is so */
    unsigned possible;           /* STATE(...) of the states in which it is, or already is so; 0: in all */
} life_verb;

#define STATE(name) (1u << VIR_DOMAIN_##name)

struct life_args {
    const life_verb *verb;
    virDomainPtr domain;
    unsigned flags;
    int state, reason;
    bool refused, saved; /* refused: not possible in this state */
    char *name;          /* rename: the new one */
    virDomainPtr renamed;
};

static void life_drop(void *opaque) {
    life_args *args = opaque;
    if (args->renamed)
        virDomainFree(args->renamed);
    free(args->name);
    free(args);
}

static bool is_off(const life_args *args) {
    return args->state == VIR_DOMAIN_SHUTOFF;
}

static int refuse(life_args *args) {
    args->refused = true;
    if (is_off(args))
        args->saved = virDomainHasManagedSaveImage(args->domain, 0) == 1;
    return 1;
}

static int act_start(life_args *args) {
    switch (args->state) {
    case VIR_DOMAIN_SHUTOFF:
        return virDomainCreateWithFlags(args->domain, args->flags);
    case VIR_DOMAIN_PAUSED:
        return args->flags & VIR_DOMAIN_START_PAUSED ? 1 : refuse(args);
    default:
        return 1;
    }
}

static int act_destroy(life_args *args) {
    if (is_off(args))
        return 1;
    return virDomainDestroyFlags(args->domain, VIR_DOMAIN_DESTROY_DEFAULT);
}

/* Without flags libvirt asks the guest's agent where one is connected, and presses the power button otherwise. */
static int act_shutdown(life_args *args) {
    switch (args->state) {
    case VIR_DOMAIN_SHUTOFF:
        return 1;
    case VIR_DOMAIN_SHUTDOWN:
        return 0;
    default:
        return virDomainShutdownFlags(args->domain, args->flags);
    }
}

static int act_reset(life_args *args) {
    return virDomainReset(args->domain, 0);
}

/* Without flags by the guest's agent where one is connected, else by the power button and a reset instead of the end. */
static int act_reboot(life_args *args) {
    return virDomainReboot(args->domain, 0);
}

static int act_pause(life_args *args) {
    return args->state == VIR_DOMAIN_PAUSED ? 1 : virDomainSuspend(args->domain);
}

static int act_resume(life_args *args) {
    switch (args->state) {
    case VIR_DOMAIN_PAUSED:
        return virDomainResume(args->domain);
    case VIR_DOMAIN_PMSUSPENDED:
        return virDomainPMWakeup(args->domain, 0);
    default:
        return 1;
    }
}

static int act_save(life_args *args) {
    if (!is_off(args))
        return virDomainManagedSave(args->domain, 0);
    refuse(args);
    args->refused = !args->saved;
    return 1;
}

static int act_rename(life_args *args) {
    char uuid[VIR_UUID_STRING_BUFLEN];
    if (virDomainGetUUIDString(args->domain, uuid) < 0 || virDomainRename(args->domain, args->name, 0) < 0)
        return -1;
    args->renamed = virDomainLookupByUUIDString(virDomainGetConnect(args->domain), uuid);
    return args->renamed ? 0 : -1;
}

static int act_look(life_args *args) {
    (void)args;
    return 0;
}

/* A transient domain has no definition to start from again. 1: it is one. */
static int act_is_transient(life_args *args) {
    int persistent = virDomainIsPersistent(args->domain);
    return persistent < 0 ? -1 : persistent == 0;
}

static const life_verb verb_start = {"starting the domain", act_start,
                                     STATE(SHUTOFF) | STATE(RUNNING) | STATE(BLOCKED) | STATE(PAUSED)};
static const life_verb verb_destroy = {"powering the domain off", act_destroy};
static const life_verb verb_shutdown = {"asking the guest to shut down", act_shutdown,
                                        STATE(SHUTOFF) | STATE(SHUTDOWN) | STATE(RUNNING) | STATE(BLOCKED)};
static const life_verb verb_reboot = {"asking the guest to reboot", act_reboot, STATE(RUNNING) | STATE(BLOCKED)};
static const life_verb verb_reset = {"resetting the domain", act_reset, ~STATE(SHUTOFF)};
static const life_verb verb_pause = {"pausing the domain", act_pause, ~STATE(SHUTOFF)};
static const life_verb verb_resume = {"resuming the domain", act_resume,
                                      STATE(RUNNING) | STATE(BLOCKED) | STATE(PAUSED) | STATE(PMSUSPENDED)};
static const life_verb verb_save = {"saving the domain's memory", act_save};
static const life_verb verb_rename = {"renaming the domain", act_rename, STATE(SHUTOFF)};
static const life_verb verb_is_transient = {"asking whether the domain is kept", act_is_transient};
static const life_verb verb_look = {"asking for the domain's state", act_look};

static bool is_possible(const life_verb *verb, int state) {
    return !verb->possible || (verb->possible & (1u << state));
}

static int life_work(void *opaque) {
    life_args *args = opaque;
    if (virDomainGetState(args->domain, &args->state, &args->reason, 0) < 0)
        return -1;
    if (!is_possible(args->verb, args->state))
        return refuse(args);
    return args->verb->act(args);
}

/* What an outcome was, for the caller: args is freed. */
typedef struct outcome {
    int state, reason; /* before */
    bool already;
    virDomainPtr renamed;
} outcome;

static int refused(const life_args *args, const libvirt_vm *vm, vmctl_error **err) {
    vmctl_state state = libvirt_state(args->state, args->reason, args->saved, NULL);
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm->name, vmctl_state_name(state));
    if (args->verb == &verb_rename)
        return vmc_error_next(err, "stop %s first", vm->name);
    if (is_off(args))
        return vmc_error_next(err, "vmctl start %s", vm->name);
    if (state == VMCTL_STATE_PAUSED)
        return vmc_error_next(err, "vmctl resume %s", vm->name);
    return vmc_error_next(err, "vmctl stop --force %s", vm->name);
}

static int run(libvirt_conn *conn, const libvirt_vm *vm, const life_verb *verb, unsigned flags, const char *name,
               const vmc_deadline *deadline, outcome *out, vmctl_error **err) {
    life_args *args = vmc_alloc(sizeof *args);
    args->verb = verb;
    args->domain = vm->domain;
    args->flags = flags;
    args->name = vmc_strdup(name);
    int code = libvirt_call(conn, deadline, verb->doing, life_work, args, life_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (code > 0 && args->refused)
        code = refused(args, vm, err);
    if (out) {
        *out = (outcome){args->state, args->reason, code > 0, args->renamed};
        args->renamed = NULL;
    }
    life_drop(args);
    return code < 0 ? code : 0;
}

static const life_verb *verb_of(vmctl_slot slot) {
    switch (slot) {
    case VMCTL_SLOT_start:
        return &verb_start;
    case VMCTL_SLOT_stop:
    case VMCTL_SLOT_restart:
        return &verb_shutdown;
    case VMCTL_SLOT_reboot:
        return &verb_reboot;
    case VMCTL_SLOT_reset:
        return &verb_reset;
    case VMCTL_SLOT_pause:
        return &verb_pause;
    case VMCTL_SLOT_resume:
        return &verb_resume;
    case VMCTL_SLOT_save:
        return &verb_save;
    case VMCTL_SLOT_rename:
        return &verb_rename;
    default:
        return &verb_look;
    }
}

int libvirt_life_check(const libvirt_vm *vm, vmctl_slot slot, int vir_state, int vir_reason, bool saved,
                       vmctl_error **err) {
    life_args args = {.verb = verb_of(slot), .state = vir_state, .reason = vir_reason, .saved = saved};
    bool nothing_to_start = slot == VMCTL_SLOT_start && vir_state == VIR_DOMAIN_PAUSED;
    bool nothing_to_save = slot == VMCTL_SLOT_save && vir_state == VIR_DOMAIN_SHUTOFF && !saved;
    if (is_possible(args.verb, vir_state) && !nothing_to_start && !nothing_to_save)
        return 0;
    return refused(&args, vm, err);
}

int libvirt_vm_state(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, int *vir_state,
                     int *vir_reason, vmctl_error **err) {
    outcome out = {0};
    int code = run(conn, vm, &verb_look, 0, NULL, deadline, &out, err);
    if (vir_state)
        *vir_state = out.state;
    if (vir_reason)
        *vir_reason = out.reason;
    return code;
}

/* --- starting -------------------------------------------------------------------------------------------------- */

typedef struct network_args {
    virConnectPtr virt;
    char *name;
} network_args;

static void network_drop(void *opaque) {
    network_args *args = opaque;
    free(args->name);
    free(args);
}

static int network_work(void *opaque) {
    network_args *args = opaque;
    virNetworkPtr network = virNetworkLookupByName(args->virt, args->name);
    if (!network)
        return -1;
    int code = virNetworkIsActive(network) == 1 ? 0 : virNetworkCreate(network);
    if (code < 0 && virNetworkIsActive(network) == 1) /* somebody else did it at the same time */
        code = 0;
    virNetworkFree(network);
    return code;
}

/* libvirt's words are "network 'default' is not active". 1: it was started, try again. */
static int start_network(libvirt_conn *conn, const vmctl_error *why, const vmc_deadline *deadline, vmctl_error **err) {
    const char *text = vmctl_error_hypervisor_message(why);
    const char *begin = text ? strstr(text, "network '") : NULL;
    const char *end = begin ? strstr(begin, "' is not active") : NULL;
    if (!end)
        return 0;
    begin += strlen("network '");
    network_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->name = vmc_strndup(begin, (size_t)(end - begin));
    VMC_AUTO_FREE char *name = vmc_strdup(args->name);
    VMC_AUTO_FREE char *doing = vmc_printf("starting the network %s", name);
    int code = libvirt_call(conn, deadline, doing, network_work, args, network_drop, err);
    if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        network_drop(args);
    if (code < 0)
        return code;
    vmc_note(deadline, VMCTL_NOTE_INFO, "started the network %s", name);
    return 1;
}

static int start(libvirt_conn *conn, libvirt_vm *vm, unsigned flags, const vmc_deadline *deadline, vmctl_error **err) {
    outcome out = {0};
    vmctl_error *why = NULL;
    int code = run(conn, vm, &verb_start, flags, NULL, deadline, &out, &why);
    if (code < 0 && code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED) {
        int again = start_network(conn, why, deadline, err);
        if (again) {
            vmctl_error_free(why);
            why = NULL;
            code = again < 0 ? again : run(conn, vm, &verb_start, flags, NULL, deadline, &out, err);
        }
    }
    vmc_error_move(why ? err : NULL, &why);
    if (!code && out.already)
        vmc_note(deadline, VMCTL_NOTE_INFO, "%s is already %s", vm->name,
                 vmctl_state_name(libvirt_state(out.state, out.reason, false, NULL)));
    return code;
}

int libvirt_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, START_MS);
    unsigned flags =
        (options->paused ? VIR_DOMAIN_START_PAUSED : 0u) | (options->discard ? VIR_DOMAIN_START_FORCE_BOOT : 0u);
    return start(conn, vm, flags, &deadline, err);
}

/* --- stopping --------------------------------------------------------------------------------------------------- */

static int power_off(libvirt_conn *conn, libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    outcome out = {0};
    int code = run(conn, vm, &verb_destroy, 0, NULL, deadline, &out, err);
    if (!code && out.already)
        vmc_note(deadline, VMCTL_NOTE_INFO, "%s is already stopped", vm->name);
    return code;
}

/* 1: the domain is off. 0: something else happened. */
static int heard_the_end(libvirt_listener *listener, const libvirt_vm *vm, bool *lost) {
    int off = 0;
    for (libvirt_event *event; (event = libvirt_listener_next(listener)); libvirt_event_free(event)) {
        if (event->kind == VMCTL_EVENT_TICK)
            *lost = true;
        else if (event->kind == VMCTL_EVENT_STATE && !strcmp(event->uuid, vm->uuid))
            off = event->state == VMCTL_STATE_STOPPED || event->state == VMCTL_STATE_CRASHED ||
                  event->state == VMCTL_STATE_SAVED;
    }
    return off;
}

/* Waits until the domain is off or the guest's time is up. listener NULL: looks now and then. 1: off; 0: time is up. */
static int wait_off(libvirt_conn *conn, libvirt_vm *vm, libvirt_listener *listener, const vmc_deadline *deadline,
                    const vmc_deadline *grace, vmctl_error **err) {
    static const char doing[] = "waiting for the guest to shut down";
    int64_t asked = vmc_now_ms();
    bool lost = false;
    int code = vmc_progress(deadline, vm->name, doing, NULL, VMCTL_UNIT_NONE, 0, 0, err);
    while (!code) {
        vmctl_error *why = NULL;
        bool listening = listener && !lost;
        code = vmc_deadline_poll(grace, listening ? libvirt_listener_fd(listener) : -1, POLLIN,
                                 listening ? ASK_AGAIN_MS : LOOK_MS, doing, &why);
        bool is_up = code == VMCTL_E_TIMEOUT;
        vmc_error_move(code < 0 && !is_up ? err : NULL, &why);
        if (code < 0 && !is_up)
            return code;
        if (code > 0 && listening && heard_the_end(listener, vm, &lost))
            return 1;
        code = 0;
        if (is_up && vmc_deadline_left(deadline) == 0)
            return 0;
        int state = 0;
        if (is_up || !listening) {
            int answer = libvirt_vm_state(conn, vm, deadline, &state, NULL, err);
            if (answer < 0)
                return answer;
            if (state == VIR_DOMAIN_SHUTOFF)
                return 1;
        }
        if (is_up)
            return 0;
        if (vmc_now_ms() - asked >= ASK_AGAIN_MS) {
            outcome out = {0};
            asked = vmc_now_ms();
            code = run(conn, vm, &verb_shutdown, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN, NULL, deadline, &out, err);
            if (!code && out.already)
                return 1;
        }
    }
    return code;
}

static int ask_and_wait(libvirt_conn *conn, libvirt_vm *vm, int64_t grace_ms, bool no_wait, libvirt_listener *listener,
                        const vmc_deadline *deadline, vmctl_error **err) {
    vmc_deadline grace = grace_ms < 0 ? *deadline : vmc_deadline_within(deadline, grace_ms);
    outcome out = {0};
    int code = run(conn, vm, &verb_shutdown, VIR_DOMAIN_SHUTDOWN_DEFAULT, NULL, deadline, &out, err);
    if (code < 0)
        return code;
    if (out.already) {
        vmc_note(deadline, VMCTL_NOTE_INFO, "%s is already stopped", vm->name);
        return 0;
    }
    if (no_wait)
        return 0;
    code = wait_off(conn, vm, listener, deadline, &grace, err);
    if (code != 0)
        return code < 0 ? code : 0;
    code = vmc_deadline_check(deadline, "waiting for the guest to shut down", err);
    if (code < 0) {
        vmc_error_next(err, "vmctl stop --force %s powers it off", vm->name);
        return code;
    }
    code = run(conn, vm, &verb_destroy, 0, NULL, deadline, &out, err);
    if (!code && !out.already) {
        VMC_AUTO_FREE char *time = vmc_format_duration(grace_ms);
        vmc_note(deadline, VMCTL_NOTE_WARNING, "%s did not shut down within %s and was powered off", vm->name, time);
    }
    return code;
}

static int stop(libvirt_conn *conn, libvirt_vm *vm, const vmctl_stop_options *options, const vmc_deadline *deadline,
                vmctl_error **err) {
    if (options->force)
        return power_off(conn, vm, deadline, err);
    if (options->no_wait)
        return ask_and_wait(conn, vm, 0, true, NULL, deadline, err);
    /* A stopped one needs no listening. */
    int state = 0;
    int code = libvirt_vm_state(conn, vm, deadline, &state, NULL, err);
    if (code < 0)
        return code;
    libvirt_listener *listener = NULL;
    if (state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || state == VIR_DOMAIN_SHUTDOWN) {
        code = libvirt_listener_open(conn, LIBVIRT_LISTEN_LIFECYCLE, deadline, &listener, NULL);
        if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
            return vmc_deadline_check(deadline, "listening to the hypervisor", err);
    }
    code = ask_and_wait(conn, vm, options->grace_ms ? options->grace_ms : GRACE_MS, false, listener, deadline, err);
    libvirt_listener_close(listener);
    return code;
}

static vmc_deadline stop_deadline(const vmctl_stop_options *options) {
    int64_t grace = options->grace_ms ? options->grace_ms : GRACE_MS;
    return vmc_deadline_start(options->call, grace < 0 ? WITHOUT_GRACE_MS : grace + AFTER_GRACE_MS);
}

int libvirt_stop(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmc_deadline deadline = stop_deadline(options);
    return stop(conn, vm, options, &deadline, err);
}

int libvirt_restart(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmc_deadline deadline = stop_deadline(options);
    const libvirt_vm *which = vm;
    outcome out = {0};
    int code = run(conn, vm, &verb_is_transient, 0, NULL, &deadline, &out, err);
    if (code == 0 && out.already) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is transient: stopped, it would be gone", which->name);
        return vmc_error_next(err, "make it permanent first: virsh dumpxml %s > vm.xml; virsh define vm.xml",
                              which->name);
    }
    if (code == 0)
        code = stop(conn, vm, options, &deadline, err);
    if (code < 0)
        return code;
    code = start(conn, vm, 0, &deadline, err);
    return code < 0 ? vmc_error_prefix(err, "it was stopped and could not be started again") : 0;
}

/* --- the rest ---------------------------------------------------------------------------------------------------- */

static int simple(libvirt_conn *conn, libvirt_vm *vm, const life_verb *verb, const vmctl_call *call, int64_t default_ms,
                  const char *already, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, default_ms);
    outcome out = {0};
    int code = run(conn, vm, verb, 0, NULL, &deadline, &out, err);
    if (!code && out.already)
        vmc_note(&deadline, VMCTL_NOTE_INFO, "%s is already %s", vm->name, already);
    return code;
}

int libvirt_reboot(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return simple(conn, vm, &verb_reboot, call, SHORT_MS, "", err);
}

int libvirt_reset(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return simple(conn, vm, &verb_reset, call, SHORT_MS, "", err);
}

int libvirt_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return simple(conn, vm, &verb_pause, call, SHORT_MS, "paused", err);
}

int libvirt_resume(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return simple(conn, vm, &verb_resume, call, SHORT_MS, "running", err);
}

/* name (UUID) -> number: 1 it runs on, 2 it is saved all the same. The daemon has the request already, or gets it within a moment. */
static int work_stop_saving(libvirt_rpc *rpc) {
    enum { ROUNDS = 100, PAUSE_MS = 100, QUIET_ROUNDS = 10 };
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    if (!rpc->domain)
        return -1;
    for (int round = 0, quiet = 0; round < ROUNDS && quiet < QUIET_ROUNDS; round++, usleep(PAUSE_MS * 1000)) {
        libvirt_job job;
        if (virDomainIsActive(rpc->domain) == 0) {
            rpc->number = virDomainHasManagedSaveImage(rpc->domain, 0) == 1 ? 2 : 0;
            return 0;
        }
        if (libvirt_job_read(rpc->domain, &job) < 0)
            return -1;
        bool saving = libvirt_job_is(&job, VIR_DOMAIN_JOB_OPERATION_SAVE);
        if (saving)
            virDomainAbortJob(rpc->domain);
        quiet = saving ? 0 : quiet + 1;
    }
    rpc->number = 1;
    return 0;
}

/* The call was given up, and the daemon goes on with it. */
static void stop_saving(libvirt_conn *conn, const libvirt_vm *vm, vmctl_error **err) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + SHORT_MS};
    vmctl_error *why = NULL;
    int code = libvirt_conn_renew(conn, &patient, &why);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(vm->uuid);
    if (code == 0)
        code = libvirt_rpc_run(conn, &patient, "stopping the saving", work_stop_saving, rpc, &why);
    if (code < 0)
        vmc_error_append(err, "; whether it was stopped is not known (%s)", vmctl_error_message(why));
    else if (rpc->number == 1)
        vmc_error_append(err, "; the saving was stopped, and %s runs on", vm->name);
    else if (rpc->number == 2)
        vmc_error_append(err, "; it was too late to stop: %s is saved", vm->name);
    vmctl_error_free(why);
}

int libvirt_save(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    int code = simple(conn, vm, &verb_save, call, SAVE_MS, "saved", err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        stop_saving(conn, vm, err);
    return code;
}

static int domain_free(void *domain) {
    return virDomainFree(domain);
}

int libvirt_rename(void *conn, void *handle, const char *new_name, const vmctl_call *call, vmctl_error **err) {
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, SHORT_MS);
    outcome out = {0};
    vmc_cleanup(libvirt_nvram_free) libvirt_nvram nvram = {0};
    int code = libvirt_nvram_prepare(conn, vm, new_name, &deadline, &nvram, err);
    if (!code)
        code = run(conn, vm, &verb_rename, 0, new_name, &deadline, &out, err);
    if (code == VMCTL_E_ALREADY_EXISTS)
        return vmc_error_next(err, "choose another name");
    if (code < 0)
        return code;
    libvirt_nvram_follow(&nvram, new_name, &deadline);
    libvirt_conn_release(conn, domain_free, vm->domain);
    vm->domain = out.renamed;
    free(vm->name);
    vm->name = vmc_strdup(new_name);
    vmc_note(&deadline, VMCTL_NOTE_INFO, "its disks and other files keep the names that they have");
    return 0;
}
