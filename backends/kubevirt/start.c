/* Starting a VM: one request that asks for it, and one watch that also tells what it was. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

/* --- waiting ----------------------------------------------------------------------------------------------------------- */

static bool runs(const cJSON *vm, bool paused) {
    vmctl_state state = kubevirt_state(vm, NULL, NULL);
    if (paused)
        return state == VMCTL_STATE_PAUSED;
    return state == VMCTL_STATE_RUNNING || state == VMCTL_STATE_MIGRATING;
}

static int is_running(const cJSON *object, void *user, vmctl_error **err) {
    const bool *paused = user;
    (void)err;
    return object && runs(object, *paused);
}

int kubevirt_wait_running(kubevirt_conn *conn, const kubevirt_vm *vm, bool paused, const cJSON *before,
                          const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *stale = before ? kubevirt_fault(before, NULL) : NULL;
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to %s", vm->name, paused ? "be paused" : "run");
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = vm->name,
                                      .resource_version = vmc_json_string(before, "metadata.resourceVersion", NULL),
                                      .doing = doing,
                                      .settled = is_running,
                                      .user = &paused,
                                      .fail_fast = true,
                                      .stale = stale};
    return kubevirt_wait(conn, vm, &waiting, deadline, err);
}

/* --- autostart --------------------------------------------------------------------------------------------------------- */

/* What start is to set: a VM with `autostart: true` begins with a run strategy of its own. NULL: nothing. */
static const char *planned_strategy(const cJSON *vm) {
    const char *planned = vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), KUBEVIRT_STRATEGY);
    return planned && strcmp(planned, kubevirt_strategy(vm)) != 0 ? planned : NULL;
}

static bool is_idle(const cJSON *vm) {
    const char *strategy = kubevirt_strategy(vm);
    return strcmp(strategy, "Manual") == 0 || strcmp(strategy, "Halted") == 0;
}

static int set_strategy(kubevirt_conn *conn, const kubevirt_vm *vm, const char *strategy, const vmc_deadline *deadline,
                        cJSON **out, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_vm_path(vm);
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    cJSON_AddStringToObject(vmc_json_map(patch, "spec"), "runStrategy", strategy);
    return kube_patch(conn->client, path, patch, NULL, deadline, out, err);
}

/* --- after start was accepted ------------------------------------------------------------------------------------------ */

typedef struct sight {
    kubevirt_vm *vm;
    bool paused;
    const vmc_deadline *deadline;
    bool seen;  /* something was told */
    bool plan;  /* the first that was told has a run strategy to be set */
    bool early; /* the first that was told runs */
} sight;

/* What is told first was there when the watch began, after start was accepted: of run strategies start takes Halted, Manual and
 * RerunOnFailure alone, and only Halted becomes Always. */
static void tell_strategy(const sight *s, const cJSON *vm) {
    const char *strategy = kubevirt_strategy(vm);
    if (strcmp(strategy, "Halted") == 0 || strcmp(strategy, "Always") == 0)
        vmc_note(s->deadline, VMCTL_NOTE_INFO, "%s had run strategy Halted, which KubeVirt's start turns into Always",
                 s->vm->name);
}

static int look_on(const cJSON *object, void *user, vmctl_error **err) {
    sight *s = user;
    (void)err;
    if (!object)
        return 0;
    bool first = !s->seen;
    s->seen = true;
    if (first) {
        kubevirt_vm_met(s->vm, object);
        s->plan = !s->paused && planned_strategy(object);
        if (!s->paused && !s->plan)
            tell_strategy(s, object);
    }
    bool running = runs(object, s->paused);
    s->early = first && running;
    return s->plan || running;
}

/* Of an object that was read after start was accepted. What it says of a VM that runs may be about the instance of before, whose end
 * virt-controller has yet to write down: an instance that is alive is the new one, as start is refused with one there. */
static int wait_from(kubevirt_conn *conn, const kubevirt_vm *vm, bool paused, const cJSON *now,
                     const vmc_deadline *deadline, vmctl_error **err) {
    if (runs(now, paused)) {
        VMC_AUTO_JSON *vmi = NULL;
        int code = kubevirt_vmi_get(conn, vm, deadline, &vmi, err);
        if (code < 0 || strcmp(vmc_json_string(vmi, "status.phase", ""), "Running") == 0)
            return code;
    }
    return kubevirt_wait_running(conn, vm, paused, now, deadline, err);
}

static int wait_started(kubevirt_conn *conn, kubevirt_vm *vm, bool paused, const vmc_deadline *deadline,
                        vmctl_error **err) {
    sight s = {.vm = vm, .paused = paused, .deadline = deadline};
    VMC_AUTO_JSON *now = NULL;
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to %s", vm->name, paused ? "be paused" : "run");
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = vm->name,
                                      .doing = doing,
                                      .settled = look_on,
                                      .user = &s,
                                      .at_once = true,
                                      .last = &now,
                                      .fail_fast = true};
    int code = kubevirt_wait(conn, vm, &waiting, deadline, err);
    if (code < 0)
        return code;
    if (s.plan) {
        VMC_AUTO_FREE char *planned = vmc_strdup(planned_strategy(now));
        cJSON_Delete(now);
        now = NULL;
        code = set_strategy(conn, vm, planned, deadline, &now, err);
        if (code < 0)
            return vmc_error_prefix(err, "it was started, but it does not start again by itself");
    }
    return s.plan || s.early ? wait_from(conn, vm, paused, now, deadline, err) : 0;
}

/* --- start was refused ------------------------------------------------------------------------------------------------- */

/* It is on its way down, also where virt-controller has not said so yet: nothing that is Halted stays running. */
static bool is_leaving(const cJSON *vm, vmctl_state state) {
    return state == VMCTL_STATE_STOPPING ||
           (state != VMCTL_STATE_STOPPED && strcmp(kubevirt_strategy(vm), "Halted") == 0);
}

/* 1: it has stopped meanwhile, and is to be asked once more. `why`: the refusal; taken. */
static int refused(kubevirt_conn *conn, kubevirt_vm *vm, bool paused, vmctl_error **why, const vmc_deadline *deadline,
                   vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    int refusal = vmctl_error_code(*why);
    int code = kubevirt_vm_get(conn, vm, deadline, &now, err);
    vmctl_state state = code < 0 ? VMCTL_STATE_UNKNOWN : kubevirt_state(now, NULL, NULL);
    bool wanted = state == VMCTL_STATE_STARTING || (now && strcmp(kubevirt_strategy(now), "Always") == 0);
    if (now)
        kubevirt_vm_met(vm, now);
    if (code < 0) {
        /* *err says why */
    } else if (is_leaving(now, state)) {
        code = kubevirt_wait_stopped(conn, vm, now, deadline, err);
        code = code < 0 ? code : 1;
    } else if (state == VMCTL_STATE_PAUSED && !paused) {
        code = kubevirt_in_state(vm, state, err);
    } else if (runs(now, false) || runs(now, paused)) {
        kubevirt_tell_already(vm, state, deadline);
    } else if (wanted) {
        code = kubevirt_wait_running(conn, vm, paused, now, deadline, err);
    } else {
        code = refusal;
        vmc_error_move(err, why);
    }
    vmctl_error_free(*why);
    return code;
}

/* Asked to start, or nobody would have been refused more than once. */
static bool is_told_to_start(const cJSON *vm, const cJSON *vmi, const void *user) {
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    (void)user;
    if (vmi && strcmp(phase, "Failed") != 0 && strcmp(phase, "Succeeded") != 0)
        return !vmc_json_at(vmi, "metadata.deletionTimestamp");
    return kubevirt_is_requested(vm, "Start") || strcmp(kubevirt_strategy(vm), "Always") == 0;
}

/* --- start ------------------------------------------------------------------------------------------------------------- */

/* Whether what lookup saw a moment ago says that a run strategy has to be set: that starts it, in one request. */
static int start_by_strategy(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *seen = kubevirt_vm_take_seen(conn, vm);
    const char *planned = seen && is_idle(seen) ? planned_strategy(seen) : NULL;
    if (!planned || kubevirt_state(seen, NULL, NULL) != VMCTL_STATE_STOPPED)
        return 0;
    int code = set_strategy(conn, vm, planned, deadline, NULL, err);
    if (code == 0)
        code = kubevirt_wait_running(conn, vm, false, seen, deadline, err);
    return code < 0 ? code : 1;
}

int kubevirt_start_vm(kubevirt_conn *conn, kubevirt_vm *vm, bool paused, const vmc_deadline *deadline,
                      vmctl_error **err) {
    int code = paused ? 0 : start_by_strategy(conn, vm, deadline, err);
    if (code != 0)
        return code < 0 ? code : 0;
    VMC_AUTO_JSON *body = cJSON_CreateObject();
    if (paused)
        cJSON_AddBoolToObject(body, "paused", true);
    while (true) {
        KUBE_AUTO_STATUS status = {0};
        vmctl_error *why = NULL;
        const kubevirt_action action = {
            .plural = "virtualmachines", .sub = "start", .body = body, .status = &status, .shows = is_told_to_start};
        code = kubevirt_act(conn, vm, &action, deadline, &why);
        if (code == 0)
            return wait_started(conn, vm, paused, deadline, err);
        if (status.http == 404 && code == VMCTL_E_NOT_FOUND) {
            vmctl_error_free(why);
            return kubevirt_no_such_vm(conn, vm, deadline, err);
        }
        if (status.http != 409) {
            vmc_error_move(err, &why);
            return code;
        }
        code = refused(conn, vm, paused, &why, deadline, err);
        if (code != 1)
            return code;
    }
}

int kubevirt_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ACT_MS);
    return kubevirt_start_vm(conn, vm, options->paused, &deadline, err);
}
