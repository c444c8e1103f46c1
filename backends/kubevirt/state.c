/* What a VirtualMachine's status means. */
#include "state.h"

#include <string.h>

const cJSON *kubevirt_condition(const cJSON *object, const char *type, const char *status) {
    const cJSON *condition;
    cJSON_ArrayForEach(condition, vmc_json_at(object, "status.conditions")) {
        if (vmc_str_eq(vmc_json_key_string(condition, "type"), type) &&
            (!status || vmc_str_eq(vmc_json_key_string(condition, "status"), status)))
            return condition;
    }
    return NULL;
}

const char *kubevirt_strategy(const cJSON *vm) {
    const char *strategy = vmc_json_string(vm, "spec.runStrategy", NULL);
    return strategy ? strategy : vmc_json_boolean(vm, "spec.running", false) ? "Always" : "Halted";
}

static const char *printable(const cJSON *vm) {
    return vmc_json_string(vm, "status.printableStatus", "");
}

bool kubevirt_needs_instance(const cJSON *vm) {
    return strcmp(printable(vm), "Stopped") == 0 && vmc_json_boolean(vm, "status.created", false);
}

bool kubevirt_is_requested(const cJSON *vm, const char *action) {
    const cJSON *request;
    cJSON_ArrayForEach(request, vmc_json_at(vm, "status.stateChangeRequests")) {
        if (vmc_str_eq(vmc_json_key_string(request, "action"), action))
            return true;
    }
    return false;
}

/* Whether anybody asked for it to run. */
static bool is_wanted(const cJSON *vm) {
    const char *strategy = kubevirt_strategy(vm);
    if (vmc_json_boolean(vm, "status.created", false))
        return true;
    if (strcmp(strategy, "Halted") == 0)
        return false;
    if (strcmp(strategy, "Manual") != 0 && strcmp(strategy, "WaitAsReceiver") != 0)
        return true;
    return kubevirt_is_requested(vm, "Start");
}

static bool is_migrating(const cJSON *vmi) {
    const cJSON *state = vmc_json_at(vmi, "status.migrationState");
    return vmc_json_string(state, "startTimestamp", NULL) && !vmc_json_string(state, "endTimestamp", NULL) &&
           !vmc_json_boolean(state, "completed", false) && !vmc_json_boolean(state, "failed", false) &&
           vmc_str_eq(vmc_json_string(vmi, "status.phase", NULL), "Running");
}

static const struct {
    const char *word;
    vmctl_state state;
} words[] = {
    {"Stopped", VMCTL_STATE_STOPPED},
    {"Running", VMCTL_STATE_RUNNING},
    {"Paused", VMCTL_STATE_PAUSED},
    {"Stopping", VMCTL_STATE_STOPPING},
    {"Terminating", VMCTL_STATE_STOPPING},
    {"Migrating", VMCTL_STATE_MIGRATING},
    {"CrashLoopBackOff", VMCTL_STATE_CRASHED},
    {"WaitingForReceiver", VMCTL_STATE_STOPPED},
    {"Starting", VMCTL_STATE_STARTING},
    {"Provisioning", VMCTL_STATE_STARTING},
    {"WaitingForVolumeBinding", VMCTL_STATE_STARTING},
    {"ErrorUnschedulable", VMCTL_STATE_STARTING},
    {"ErrImagePull", VMCTL_STATE_STARTING},
    {"ImagePullBackOff", VMCTL_STATE_STARTING},
    {"ErrorPvcNotFound", VMCTL_STATE_STARTING},
    {"DataVolumeError", VMCTL_STATE_STARTING},
    {"Unknown", VMCTL_STATE_UNKNOWN},
};

static vmctl_state state_of(const cJSON *vm, const cJSON *vmi) {
    const char *word = printable(vm);
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    if (!*word) /* virt-controller has not seen it yet */
        return vmc_json_string(vm, "metadata.deletionTimestamp", NULL) ? VMCTL_STATE_STOPPING : VMCTL_STATE_STOPPED;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i].word, word) == 0)
            state = words[i].state;
    if (state == VMCTL_STATE_STARTING && !is_wanted(vm))
        return VMCTL_STATE_STOPPED; /* its disks are being made */
    if (state == VMCTL_STATE_STOPPED && strcmp(phase, "Failed") == 0)
        return VMCTL_STATE_CRASHED;
    if (state == VMCTL_STATE_RUNNING && strcmp(phase, "Unknown") == 0)
        return VMCTL_STATE_UNKNOWN;
    if (state == VMCTL_STATE_RUNNING && is_migrating(vmi))
        return VMCTL_STATE_MIGRATING;
    return state;
}

static const char *phase_reason(const cJSON *vmi) {
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    if (strcmp(phase, "Succeeded") == 0)
        return "shut down by the guest";
    if (strcmp(phase, "Failed") == 0)
        return vmc_json_string(vmi, "status.reason", "the guest's virtual machine failed");
    return strcmp(phase, "Unknown") == 0 ? "the node does not answer" : NULL;
}

vmctl_state kubevirt_state(const cJSON *vm, const cJSON *vmi, char **reason) {
    vmctl_state state = state_of(vm, vmi);
    if (!reason)
        return state;
    *reason = NULL;
    const char *word = printable(vm);
    if (state == VMCTL_STATE_STARTING || (state == VMCTL_STATE_STOPPED && !vmi))
        *reason = kubevirt_fault(vm, vmi);
    if (!*reason && (state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_CRASHED || state == VMCTL_STATE_UNKNOWN))
        *reason = vmc_strdup(phase_reason(vmi));
    const cJSON *paused = kubevirt_condition(vmi ? vmi : vm, "Paused", "True");
    if (!*reason && state == VMCTL_STATE_PAUSED && paused)
        *reason = vmc_strdup(vmc_json_string(paused, "reason", NULL));
    /* What the nine states do not tell apart. */
    static const char *const telling[] = {"Provisioning", "WaitingForVolumeBinding", "WaitingForReceiver",
                                          "Terminating", "CrashLoopBackOff"};
    for (size_t i = 0; !*reason && i < sizeof telling / sizeof telling[0]; i++)
        if (strcmp(word, telling[i]) == 0)
            *reason = vmc_strdup(word);
    return state;
}

/* --- faults ---------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *word, *remedy;
    int code;
} faults[] = {
    {"ErrorUnschedulable",
     "vmctl host list shows the nodes; ask for less, or loosen placement:", VMCTL_E_RESOURCE_EXHAUSTED},
    {"ErrImagePull", "check the image's name, and that the cluster may pull it", VMCTL_E_NOT_FOUND},
    {"ImagePullBackOff", "check the image's name, and that the cluster may pull it", VMCTL_E_NOT_FOUND},
    {"ErrorPvcNotFound", "make that PersistentVolumeClaim, or name another volume:", VMCTL_E_NOT_FOUND},
    {"DataVolumeError", "look at the data volume: kubectl describe datavolume", VMCTL_E_UNAVAILABLE},
    {"CrashLoopBackOff", "vmctl logs and vmctl events tell what the guest did", VMCTL_E_INVALID_STATE},
};

/* A condition's words; NULL where it has none. */
static char *words_of(const char *what, const cJSON *condition) {
    const char *message = vmc_json_string(condition, "message", NULL);
    const char *reason = vmc_json_string(condition, "reason", NULL);
    if (!message || !*message)
        message = reason;
    return message ? vmc_printf("%s: %s", what, message) : NULL;
}

/* The condition that explains a printable status. */
static const cJSON *explanation(const cJSON *vm, const cJSON *vmi) {
    static const char *const types[] = {"Synchronized", "PodScheduled", "DataVolumesReady", "Ready"};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        const cJSON *condition = kubevirt_condition(vmi, types[i], "False");
        if (!condition)
            condition = kubevirt_condition(vm, types[i], "False");
        if (!condition && i == 2)
            condition = kubevirt_condition(vm, types[i], "Unknown");
        if (condition && *vmc_json_string(condition, "message", ""))
            return condition;
    }
    return NULL;
}

char *kubevirt_fault(const cJSON *vm, const cJSON *vmi) {
    const char *word = printable(vm);
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        if (strcmp(faults[i].word, word) != 0)
            continue;
        char *text = words_of(word, explanation(vm, vmi));
        return text ? text : vmc_strdup(word);
    }
    const cJSON *failure = kubevirt_condition(vm, "Failure", "True");
    if (failure)
        return words_of(vmc_json_string(failure, "reason", "Failure"), failure);
    /* A pod that cannot even be described: the VM would stay "Starting" for ever. */
    bool starting = strcmp(word, "Starting") == 0 || strcmp(word, "Provisioning") == 0;
    const cJSON *synchronized = kubevirt_condition(vmi ? vmi : vm, "Synchronized", "False");
    if (starting && synchronized && is_wanted(vm))
        return words_of(vmc_json_string(synchronized, "reason", "Synchronized"), synchronized);
    return NULL;
}

bool kubevirt_fault_may_pass(const cJSON *vm, const char *fault) {
    const cJSON *template;
    if (!vmc_starts_with(fault, "ErrorPvcNotFound"))
        return false;
    cJSON_ArrayForEach(template, vmc_json_at(vm, "spec.dataVolumeTemplates")) {
        VMC_AUTO_FREE char *named = vmc_printf("/%s ", vmc_json_string(template, "metadata.name", "?"));
        if (strstr(fault, named))
            return true;
    }
    return false;
}

static bool is_of(const char *fault, const char *word) {
    return vmc_starts_with(fault, word);
}

const char *kubevirt_fault_remedy(const char *fault) {
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (is_of(fault, faults[i].word))
            return faults[i].remedy;
    if (strstr(fault, "permittedHostDevices"))
        return "vmctl gpu list shows what the cluster permits";
    if (strstr(fault, "exceeded quota"))
        return "stop other VMs of the namespace, or ask for a larger quota";
    return "vmctl events shows what the cluster says about it";
}

int kubevirt_fault_code(const char *fault) {
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
        if (is_of(fault, faults[i].word))
            return faults[i].code;
    if (strstr(fault, "exceeded quota"))
        return VMCTL_E_RESOURCE_EXHAUSTED;
    return strstr(fault, "not found") || strstr(fault, "not permitted") ? VMCTL_E_NOT_FOUND : VMCTL_E_INVALID_STATE;
}
