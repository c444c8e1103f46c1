/* Actions of KubeVirt's own API (subresources.kubevirt.io), also where their answers get lost: the VM and its instance tell whether they were
 * done. Sources: virt-api's handlers (facts, 1.3); stateChangeRequests, volumeRequests and memoryDumpRequest of the API reference. */
#include "ops.h"

#include <string.h>

enum { BEGINS_MS = 5000 };

typedef struct look {
    const kubevirt_action *action;
} look;

static int begins(const cJSON *vmi, void *user, vmctl_error **err) {
    const look *l = user;
    (void)err;
    return l->action->shows(NULL, vmi, l->action->user);
}

/* What cannot be asked for twice may still be on its way: its begin is waited for. */
static bool is_begun(kubevirt_conn *conn, kubevirt_vm *vm, const kubevirt_action *action,
                     const vmc_deadline *deadline) {
    look l = {action};
    vmc_deadline within = vmc_deadline_within(deadline, BEGINS_MS);
    const kubevirt_waiting waiting = {.plural = "virtualmachineinstances",
                                      .name = vm->name,
                                      .doing = "looking whether it was done",
                                      .settled = begins,
                                      .user = &l};
    vmctl_error *unused = NULL;
    int code = kubevirt_wait(conn, vm, &waiting, &within, &unused);
    vmctl_error_free(unused);
    return code == 0;
}

static bool is_done(kubevirt_conn *conn, kubevirt_vm *vm, const kubevirt_action *action, const vmc_deadline *deadline) {
    VMC_AUTO_JSON *now = NULL;
    VMC_AUTO_JSON *vmi = NULL;
    vmctl_error *unused = NULL;
    if (!action->shows)
        return false;
    if (action->once)
        return is_begun(conn, vm, action, deadline);
    int code = kubevirt_vm_get(conn, vm, deadline, &now, &unused);
    if (code == 0)
        code = kubevirt_vmi_get(conn, vm, deadline, &vmi, &unused);
    vmctl_error_free(unused);
    return code == 0 && action->shows(now, vmi, action->user);
}

static int send(kubevirt_conn *conn, kubevirt_vm *vm, const kubevirt_action *action, kube_loss *loss,
                const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path =
        kube_path(KUBEVIRT_SUBRESOURCES, "v1", vm->namespace_name, action->plural, vm->name, action->sub);
    VMC_AUTO_JSON *empty = cJSON_CreateObject();
    cJSON_Delete(kubevirt_vm_take_seen(conn, vm)); /* it will be another */
    const kube_request request = {.method = "PUT",
                                  .path = path,
                                  .body = action->body ? action->body : empty,
                                  .status = action->status,
                                  .loss = loss};
    return kube_call(conn->client, &request, deadline, NULL, err);
}

static int unknown(const kubevirt_vm *vm, const kubevirt_action *action, vmctl_error **err) {
    vmc_error_append(err, "; whether it was done is not known");
    if (action->look)
        return vmc_error_next(err, "%s", action->look);
    return vmc_error_next(err, "vmctl get %s shows how it is now; ask again if it was not done", vm->name);
}

int kubevirt_act(kubevirt_conn *conn, kubevirt_vm *vm, const kubevirt_action *action, const vmc_deadline *deadline,
                 vmctl_error **err) {
    kube_loss loss = KUBE_LOSS_NONE;
    vmctl_error *why = NULL;
    int code = send(conn, vm, action, &loss, deadline, &why);
    if ((loss == KUBE_LOSS_CUT || loss == KUBE_LOSS_TOLD) && is_done(conn, vm, action, deadline)) {
        code = 0;
    } else if (loss == KUBE_LOSS_CUT && !action->once) {
        vmctl_error_free(why);
        why = NULL;
        code = send(conn, vm, action, &loss, deadline, &why);
        bool refused = code < 0 && loss == KUBE_LOSS_NONE; /* by the first one, it may be */
        if ((refused || loss == KUBE_LOSS_CUT) && is_done(conn, vm, action, deadline))
            code = 0;
    }
    if (code < 0 && loss != KUBE_LOSS_NONE)
        unknown(vm, action, &why);
    if (code == 0 && action->status)
        kube_status_clear(action->status);
    if (code < 0)
        vmc_error_move(err, &why);
    else
        vmctl_error_free(why);
    return code;
}
