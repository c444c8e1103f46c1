/* The guest's file systems, by its agent. Source: virt-api's freeze and unfreeze; AgentConnected and fsFreezeStatus of the instance. */
#include "guest.h"

#include "ops.h"
#include <string.h>

int kubevirt_agent_check(const kubevirt_vm *vm, const cJSON *vmi, vmctl_error **err) {
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    if (strcmp(phase, "Running") != 0) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run", vm->name);
        vmc_error_next(err, "vmctl start %s", vm->name);
        return VMCTL_E_INVALID_STATE;
    }
    if (kubevirt_condition(vmi, "Paused", "True")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is paused", vm->name);
        vmc_error_next(err, "vmctl resume %s", vm->name);
        return VMCTL_E_INVALID_STATE;
    }
    if (kubevirt_condition(vmi, "AgentConnected", "True"))
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "the guest agent of %s is not connected", vm->name);
    vmc_error_next(err, "install qemu-guest-agent in the guest, then vmctl wait %s --for agent", vm->name);
    vmc_error_retryable(err);
    return VMCTL_E_INVALID_STATE;
}

/* The instance, once its agent answers. */
static int ready(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, bool *frozen,
                 vmctl_error **err) {
    VMC_AUTO_JSON *vmi = NULL;
    int code = kubevirt_vmi_get(conn, vm, deadline, &vmi, err);
    if (code == 0)
        code = kubevirt_agent_check(vm, vmi, err);
    *frozen = vmc_str_eq(vmc_json_string(vmi, "status.fsFreezeStatus", NULL), "frozen");
    return code;
}

int kubevirt_guest_freeze(void *opaque, void *handle, int *count, const vmctl_call *call, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    bool frozen = false;
    (void)count; /* KubeVirt does not say */
    int code = ready(conn, vm, &deadline, &frozen, err);
    if (code < 0)
        return code;
    if (frozen) {
        vmc_note(&deadline, VMCTL_NOTE_INFO, "the file systems of %s are frozen already", vm->name);
        return 0;
    }
    VMC_AUTO_JSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "unfreezeTimeout", "0s"); /* until they are thawed (FX/73) */
    /* Frozen twice is as frozen once: virt-launcher looks first. */
    const kubevirt_action action = {.plural = "virtualmachineinstances", .sub = "freeze", .body = body};
    return kubevirt_act(conn, vm, &action, &deadline, err);
}

int kubevirt_guest_thaw(void *opaque, void *handle, int *count, const vmctl_call *call, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    bool frozen = false;
    (void)count;
    int code = ready(conn, vm, &deadline, &frozen, err);
    if (code < 0)
        return code;
    /* Also where the instance says nothing of it: its status follows late, and thawing twice does no harm. */
    const kubevirt_action action = {.plural = "virtualmachineinstances", .sub = "unfreeze"};
    return kubevirt_act(conn, vm, &action, &deadline, err);
}
