/* The life of a VM: KubeVirt's own subresources, and a watch that waits. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

enum {
    GRACE_MS = 60000, /* vmctl_stop_options */
    AFTER_GRACE_MS = 240000,
    FOREVER_SECONDS = 365 * 24 * 3600 /* never powered off: nothing is longer than the call's own deadline */
};

int kubevirt_in_state(const kubevirt_vm *vm, vmctl_state state, vmctl_error **err) {
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm->name, vmctl_state_name(state));
    if (state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_CRASHED)
        return vmc_error_next(err, "vmctl start %s", vm->name);
    if (state == VMCTL_STATE_PAUSED)
        return vmc_error_next(err, "vmctl resume %s", vm->name);
    return vmc_error_next(err, "vmctl stop --force %s", vm->name);
}

int kubevirt_life_check(const kubevirt_vm *vm, vmctl_slot slot, vmctl_state state, vmctl_error **err) {
    bool up = state != VMCTL_STATE_STOPPED && state != VMCTL_STATE_CRASHED && state != VMCTL_STATE_STARTING;
    bool starts_or_stops = slot == VMCTL_SLOT_start || slot == VMCTL_SLOT_stop || slot == VMCTL_SLOT_restart;
    bool can = slot == VMCTL_SLOT_reboot ? up && state != VMCTL_STATE_PAUSED
               : starts_or_stops         ? state != VMCTL_STATE_PAUSED
                                         : up;
    return can ? 0 : kubevirt_in_state(vm, state, err);
}

void kubevirt_tell_already(const kubevirt_vm *vm, vmctl_state state, const vmc_deadline *deadline) {
    vmc_note(deadline, VMCTL_NOTE_INFO, "%s is already %s", vm->name, vmctl_state_name(state));
}

/* --- waiting ----------------------------------------------------------------------------------------------------------- */

static int is_stopped(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    (void)err;
    return object && strcmp(vmc_json_string(object, "status.printableStatus", ""), "Stopped") == 0;
}

int kubevirt_wait_stopped(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *before, const vmc_deadline *deadline,
                          vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to stop", vm->name);
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = vm->name,
                                      .resource_version = vmc_json_string(before, "metadata.resourceVersion", NULL),
                                      .doing = doing,
                                      .settled = is_stopped};
    return kubevirt_wait(conn, vm, &waiting, deadline, err);
}

/* --- verbs of a running VM --------------------------------------------------------------------------------------------- */

static bool is_paused(const cJSON *vm, const cJSON *vmi, const void *user) {
    (void)vm;
    (void)user;
    return kubevirt_condition(vmi, "Paused", "True") != NULL;
}

static bool is_not_paused(const cJSON *vm, const cJSON *vmi, const void *user) {
    return vmi && !is_paused(vm, vmi, user);
}

/* One PUT to the instance, which is done when it is answered. after UNKNOWN: no state of which it could be in already. */
static int act_on_instance(kubevirt_conn *conn, kubevirt_vm *vm, const char *sub, vmctl_state after,
                           const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    KUBE_AUTO_STATUS status = {0};
    vmctl_error *why = NULL;
    VMC_AUTO_FREE char *look = vmc_printf("vmctl console %s shows whether it begins anew", vm->name);
    const kubevirt_action action = {.plural = "virtualmachineinstances",
                                    .sub = sub,
                                    .status = &status,
                                    .shows = after == VMCTL_STATE_PAUSED    ? is_paused
                                             : after == VMCTL_STATE_RUNNING ? is_not_paused
                                                                            : NULL,
                                    .once = after == VMCTL_STATE_UNKNOWN,
                                    .look = after == VMCTL_STATE_UNKNOWN ? look : NULL};
    int code = kubevirt_act(conn, vm, &action, &deadline, &why);
    bool is_state = code == VMCTL_E_INVALID_STATE || code == VMCTL_E_NOT_FOUND || code == VMCTL_E_CONFLICT;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    if (!is_state || kubevirt_vm_state(conn, vm, &deadline, &state, NULL, NULL) < 0) {
        vmc_error_move(code < 0 ? err : NULL, &why);
        return code;
    }
    VMC_AUTO_JSON *vmi = NULL;
    bool runs = state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_PAUSED;
    if (runs && kubevirt_vmi_get(conn, vm, &deadline, &vmi, NULL) == 0) /* which the VM's own status comes after */
        state = is_paused(NULL, vmi, NULL) ? VMCTL_STATE_PAUSED : VMCTL_STATE_RUNNING;
    if (state == after && after != VMCTL_STATE_UNKNOWN) {
        kubevirt_tell_already(vm, state, &deadline);
        code = 0;
    } else if (state != VMCTL_STATE_RUNNING) {
        code = kubevirt_in_state(vm, state, err);
    } else {
        vmc_error_move(err, &why); /* in the server's own words: a snapshot is being taken ... */
        code = vmc_error_recode(err, VMCTL_E_INVALID_STATE);
    }
    vmctl_error_free(why);
    return code;
}

int kubevirt_reboot(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return act_on_instance(conn, vm, "softreboot", VMCTL_STATE_UNKNOWN, call, err);
}

int kubevirt_reset(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return act_on_instance(conn, vm, "reset", VMCTL_STATE_UNKNOWN, call, err);
}

int kubevirt_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return act_on_instance(conn, vm, "pause", VMCTL_STATE_PAUSED, call, err);
}

int kubevirt_resume(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    return act_on_instance(conn, vm, "unpause", VMCTL_STATE_RUNNING, call, err);
}

/* --- stop -------------------------------------------------------------------------------------------------------------- */

static int64_t grace_of(const vmctl_stop_options *options) {
    int64_t ms = options->grace_ms ? options->grace_ms : GRACE_MS;
    if (options->force)
        return 0;
    return ms < 0 ? FOREVER_SECONDS : (ms + 999) / 1000;
}

/* Asked to stop with that grace, or with less. KubeVirt gives the instance the grace that it was asked for with. */
static bool is_told_to_stop(const cJSON *vm, const cJSON *vmi, const void *user) {
    const int64_t *seconds = user;
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    bool asked = strcmp(kubevirt_strategy(vm), "Halted") == 0 || vmc_json_at(vmi, "metadata.deletionTimestamp") ||
                 kubevirt_is_requested(vm, "Stop");
    if (!vmi || strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0)
        return strcmp(kubevirt_strategy(vm), "Always") != 0;
    return asked && vmc_json_integer(vmi, "spec.terminationGracePeriodSeconds", INT64_MAX) <= *seconds;
}

/* 1: it does not run, which is no failure. */
static int ask_to_stop(kubevirt_conn *conn, kubevirt_vm *vm, int64_t seconds, const vmc_deadline *deadline,
                       vmctl_error **err) {
    VMC_AUTO_JSON *body = cJSON_CreateObject();
    cJSON_AddNumberToObject(body, "gracePeriod", (double)seconds);
    KUBE_AUTO_STATUS status = {0};
    vmctl_error *why = NULL;
    const kubevirt_action action = {.plural = "virtualmachines",
                                    .sub = "stop",
                                    .body = body,
                                    .status = &status,
                                    .shows = is_told_to_stop,
                                    .user = &seconds};
    int code = kubevirt_act(conn, vm, &action, deadline, &why);
    if (code < 0 && status.http == 409 && status.message) {
        bool idle = strstr(status.message, "not running") != NULL;
        bool under_way = strstr(status.message, "shorter graceperiod") != NULL;
        if (idle || under_way) {
            vmctl_error_free(why);
            return idle ? 1 : 0;
        }
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* What is left of a guest that crashed: its instance, which KubeVirt keeps for whoever wants to know. */
static int clear_crashed(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_vmi_path(vm);
    vmctl_error *why = NULL;
    int code = kube_delete(conn->client, path, NULL, deadline, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static int stop(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_stop_options *options, const vmc_deadline *deadline,
                vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = kubevirt_vm_state(conn, vm, deadline, &state, &now, err);
    if (code < 0)
        return code;
    const char *strategy = kubevirt_strategy(now);
    bool rewritten = strcmp(strategy, "Always") == 0 || strcmp(strategy, "Once") == 0;
    if (state == VMCTL_STATE_STOPPED && !rewritten) {
        kubevirt_tell_already(vm, state, deadline);
        return 0;
    }
    if (state == VMCTL_STATE_CRASHED && !rewritten)
        return clear_crashed(conn, vm, deadline, err);
    if (state == VMCTL_STATE_PAUSED && !options->force)
        return kubevirt_in_state(vm, state, err);
    code = ask_to_stop(conn, vm, grace_of(options), deadline, err);
    if (code == 1) {
        kubevirt_tell_already(vm, VMCTL_STATE_STOPPED, deadline);
        return 0;
    }
    if (code == 0 && rewritten)
        vmc_note(deadline, VMCTL_NOTE_INFO, "%s had run strategy %s, which KubeVirt's stop turns into Halted", vm->name,
                 strategy);
    if (code < 0 || options->no_wait)
        return code;
    /* Of one that says "Stopped" already the instance is yet to go. */
    code = kubevirt_wait_stopped(conn, vm, state == VMCTL_STATE_STOPPED ? NULL : now, deadline, err);
    if (code == VMCTL_E_TIMEOUT)
        vmc_error_next(err, "vmctl stop --force %s powers it off", vm->name);
    return code;
}

static vmc_deadline stop_deadline(const vmctl_stop_options *options) {
    int64_t grace = options->grace_ms > 0 ? options->grace_ms : GRACE_MS;
    return vmc_deadline_start(options->call, grace + AFTER_GRACE_MS);
}

int kubevirt_stop(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err) {
    vmc_deadline deadline = stop_deadline(options);
    return stop(conn, vm, options, &deadline, err);
}

int kubevirt_power_off(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    int code = ask_to_stop(conn, vm, 0, deadline, err);
    return code < 0 ? code : code == 1 ? 0 : kubevirt_wait_stopped(conn, vm, NULL, deadline, err);
}

/* --- restart ----------------------------------------------------------------------------------------------------------- */

static int is_another(const cJSON *object, void *user, vmctl_error **err) {
    const char *before = user;
    (void)err;
    return object && strcmp(vmc_json_string(object, "metadata.uid", ""), before) != 0 &&
           strcmp(vmc_json_string(object, "status.phase", ""), "Running") == 0;
}

/* The VM may say "Running" all the time: only another instance is a new one. DELETED of the old one is no end. */
static int is_another_or_gone(const cJSON *object, void *user, vmctl_error **err) {
    if (object)
        return is_another(object, user, err);
    return 1;
}

/* A second one, after the first, would be one more. */
static bool is_begun_anew(const cJSON *vm, const cJSON *vmi, const void *user) {
    (void)vm;
    return !vmi || strcmp(vmc_json_string(vmi, "metadata.uid", ""), user) != 0 ||
           vmc_json_at(vmi, "metadata.deletionTimestamp");
}

static int wait_restarted(kubevirt_conn *conn, kubevirt_vm *vm, const cJSON *before, const vmc_deadline *deadline,
                          vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to begin anew", vm->name);
    const kubevirt_waiting waiting = {.plural = "virtualmachineinstances",
                                      .name = vm->name,
                                      .resource_version = vmc_json_string(before, "metadata.resourceVersion", NULL),
                                      .doing = doing,
                                      .settled = is_another_or_gone,
                                      .user = (void *)vmc_json_string(before, "metadata.uid", "")};
    int code = kubevirt_wait(conn, vm, &waiting, deadline, err);
    /* The old one is gone: from here on the VM tells, its faults too. */
    return code < 0 ? code : kubevirt_wait_running(conn, vm, false, NULL, deadline, err);
}

int kubevirt_restart(void *opaque, void *handle, const vmctl_stop_options *options, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = stop_deadline(options);
    VMC_AUTO_JSON *vmi = NULL;
    int code = kubevirt_vmi_get(conn, vm, &deadline, &vmi, err);
    if (code < 0)
        return code;
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    if (!vmi || strcmp(phase, "Failed") == 0 || strcmp(phase, "Succeeded") == 0)
        return kubevirt_start_vm(conn, vm, false, &deadline, err);
    if (kubevirt_condition(vmi, "Paused", "True") && !options->force)
        return kubevirt_in_state(vm, VMCTL_STATE_PAUSED, err);
    if (!options->force && options->grace_ms && options->grace_ms != GRACE_MS) {
        /* KubeVirt's restart takes no grace but none at all. */
        code = stop(conn, vm, options, &deadline, err);
        if (code < 0)
            return code;
        code = kubevirt_start_vm(conn, vm, false, &deadline, err);
        return code < 0 ? vmc_error_prefix(err, "it was stopped and could not be started again") : 0;
    }
    VMC_AUTO_JSON *body = cJSON_CreateObject();
    if (options->force)
        cJSON_AddNumberToObject(body, "gracePeriodSeconds", 0);
    VMC_AUTO_FREE char *look = vmc_printf("vmctl get %s shows since when it runs; ask again if it did not", vm->name);
    const kubevirt_action action = {.plural = "virtualmachines",
                                    .sub = "restart",
                                    .body = body,
                                    .shows = is_begun_anew,
                                    .user = vmc_json_string(vmi, "metadata.uid", ""),
                                    .once = true,
                                    .look = look};
    code = kubevirt_act(conn, vm, &action, &deadline, err);
    return code < 0 ? code : wait_restarted(conn, vm, vmi, &deadline, err);
}
