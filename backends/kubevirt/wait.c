/* Waiting by watching one object, which ends at once when a fault stands in the way. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

enum {
    PATIENCE_MS = 10000, /* for a fault of before that virt-controller takes back, or one that passes by itself */
    FIRST_MS = 3000      /* for the first word of what is there, which the API server sends at once */
};

typedef struct watch {
    bool seen; /* it was there once */
    const kubevirt_vm *vm;
    const kubevirt_waiting *waiting;
    const vmc_deadline *deadline;
    char *stage;        /* what was told last */
    char *fault;        /* that is there now; NULL */
    bool patient;       /* it may pass */
    bool stale;         /* the one of before is still there, so far */
    char *before;       /* that one, when it came with the first event; NULL */
    bool began;         /* patience began with this very event */
    bool there;         /* the object was told, and not that it went */
    int outcome;        /* 1: settled; negative: the code of `why` */
    vmc_deadline limit; /* of the watch that is read now */
    vmctl_error *why;
} watch;

static void tell_stage(watch *w, const cJSON *object) {
    const char *status = vmc_json_string(object, "status.printableStatus", NULL);
    if (!status)
        status = vmc_json_string(object, "status.phase", NULL);
    const char *progress = vmc_json_string(object, "status.progress", NULL);
    VMC_AUTO_FREE char *stage =
        status ? vmc_printf("%s (%s%s%s)", w->waiting->doing, status, progress ? " " : "", progress ? progress : "")
               : vmc_strdup(w->waiting->doing);
    if (vmc_str_eq(stage, w->stage))
        return;
    free(w->stage);
    w->stage = vmc_strdup(stage);
    int code = vmc_progress(w->deadline, w->vm->name, stage, NULL, VMCTL_UNIT_NONE, 0, 0, &w->why);
    if (code < 0)
        w->outcome = code;
}

static int fail(watch *w) {
    vmc_error(&w->why, kubevirt_fault_code(w->fault), "%s", w->fault);
    return w->outcome = vmc_error_next(&w->why, "%s", kubevirt_fault_remedy(w->fault));
}

/* 1: the watch has to begin anew, with less time. */
static int look_for_fault(watch *w, const cJSON *object) {
    free(w->fault);
    w->fault = kubevirt_fault(object, NULL);
    w->stale = w->stale && vmc_str_eq(w->fault, w->before ? w->before : w->waiting->stale);
    if (!w->fault)
        return 0;
    if (!w->stale && !kubevirt_fault_may_pass(object, w->fault))
        return fail(w);
    w->began = !w->patient;
    w->patient = true;
    return w->began;
}

static int on_event(kube_event event, cJSON **object, void *user) {
    watch *w = user;
    const kubevirt_waiting *waiting = w->waiting;
    /* All that is there has been told: it went while the watch was interrupted, before anything was heard of it. */
    bool missed = event == KUBE_SYNCED && !w->there && (w->seen || !waiting->awaited);
    if (event == KUBE_SYNCED && !missed)
        return 0;
    bool gone = missed || event == KUBE_DELETED;
    bool first = !gone && !w->seen;
    w->there = !gone;
    w->seen |= !gone;
    if (first && !w->patient)
        w->limit = *w->deadline; /* there is something to wait for: this same watch goes on */
    int code = waiting->settled(gone ? NULL : *object, waiting->user, &w->why);
    if (code > 0 && waiting->last && !gone) {
        *waiting->last = *object;
        *object = NULL;
    }
    if (code != 0)
        return w->outcome = code;
    if (gone) {
        vmc_error(&w->why, VMCTL_E_NOT_FOUND, "%s was deleted meanwhile", waiting->name);
        return w->outcome = VMCTL_E_NOT_FOUND;
    }
    tell_stage(w, *object);
    if (w->outcome < 0)
        return w->outcome;
    if (first && waiting->at_once && waiting->fail_fast) {
        /* Nobody can tell whether it is older than what was asked for just now. */
        w->before = kubevirt_fault(*object, NULL);
        w->stale = w->before != NULL;
    }
    return waiting->fail_fast ? look_for_fault(w, *object) : 0;
}

/* Nothing was heard of what is there, so it seemed: a list tells whether it went before the watch began. */
static bool has_to_look(watch *w, kube_watch_options *options) {
    if (w->seen || options->list_first || options->resource_version)
        return false;
    options->list_first = true;
    return true;
}

/* Watches until the outcome is there, or the time is up. */
static int run(kubevirt_conn *conn, const char *collection, kube_watch_options *options, watch *w, vmctl_error **err) {
    while (true) {
        vmctl_error *why = NULL;
        w->began = false;
        bool limited = w->patient || (!w->seen && w->waiting->at_once);
        w->limit = limited ? vmc_deadline_within(w->deadline, w->patient ? PATIENCE_MS : FIRST_MS) : *w->deadline;
        int code = kube_watch(conn->client, collection, options, &w->limit, on_event, w, &why);
        if (w->began && !w->outcome)
            continue;
        bool impatient = code == VMCTL_E_TIMEOUT && limited && vmc_deadline_left(w->deadline) != 0;
        if (!impatient) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
        if (has_to_look(w, options))
            continue;
        if (w->fault)
            return fail(w);
        w->patient = false;
    }
}

int kubevirt_wait_in(kubevirt_conn *conn, const kubevirt_vm *vm, const char *collection,
                     const kubevirt_waiting *waiting, const vmc_deadline *deadline, vmctl_error **err) {
    watch w = {.vm = vm, .waiting = waiting, .deadline = deadline, .stale = waiting->stale, .patient = waiting->stale};
    VMC_AUTO_FREE char *selector = vmc_printf("metadata.name=%s", waiting->name);
    const char *const query[] = {"fieldSelector", selector, NULL};
    kube_watch_options options = {.query = query,
                                  .resource_version = waiting->resource_version,
                                  .list_first = !waiting->resource_version && !waiting->at_once,
                                  .brief = true};
    vmctl_error *why = NULL;
    int code = run(conn, collection, &options, &w, &why);
    if (w.outcome < 0) {
        vmctl_error_free(why);
        vmc_error_move(err, &w.why);
        code = w.outcome;
        if (w.fault)
            kubevirt_add_warnings(conn, vm, deadline, NULL, err);
    } else if (code < 0) {
        vmc_error_move(err, &why);
        if (code == VMCTL_E_TIMEOUT && w.stage)
            vmc_error_append(err, "; it stands at: %s", w.stage);
    } else {
        code = 0;
    }
    vmctl_error_free(w.why);
    free(w.stage);
    free(w.fault);
    free(w.before);
    return code;
}

int kubevirt_is_gone(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    (void)err;
    return object == NULL;
}

int kubevirt_wait(kubevirt_conn *conn, const kubevirt_vm *vm, const kubevirt_waiting *waiting,
                  const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *collection = kubevirt_collection(waiting->plural, vm->namespace_name);
    return kubevirt_wait_in(conn, vm, collection, waiting, deadline, err);
}
