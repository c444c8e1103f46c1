/* Ports of the guest at this machine, through the API server. Source: virt-api's portforward; FX/157, 158. */
#include "socket.h"

#include <stdlib.h>
#include <string.h>

/* The API server takes any connection, and then drops it. */
int kubevirt_forward_check(const kubevirt_vm *vm, vmctl_state state, const cJSON *vmi, vmctl_error **err) {
    int code = kubevirt_stream_check(vm, state, err);
    if (code < 0 || !vmi || cJSON_GetArraySize(vmc_json_at(vmi, "spec.domain.devices.interfaces")) > 0)
        return code;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no NIC, and its ports are reached by its network only", vm->name);
    return vmc_error_next(err, "vmctl attach %s nic name=net type=pod, in force after a restart", vm->name);
}

static int check(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *vmi = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = kubevirt_vm_state(conn, vm, deadline, &state, NULL, err);
    if (code == 0)
        code = kubevirt_vmi_get(conn, vm, deadline, &vmi, err);
    return code == 0 ? kubevirt_forward_check(vm, state, vmi, err) : code;
}

int kubevirt_guest_forward(void *opaque, void *handle, vmctl_forward *forward, vmc_journal *journal,
                           const vmctl_call *call, char **way, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    int code = check(conn, vm, &deadline, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *sub = vmc_printf("portforward/%d/tcp", forward->guest);
    code = kubevirt_tunnel_open(conn, vm, sub, NULL, forward->address, &forward->local, err);
    if (code < 0)
        return code;
    /* It ends with this process; the journal is how core takes it back before. */
    VMC_AUTO_FREE char *detail = vmc_printf("%d %s", forward->local, forward->address);
    code = vmc_journal_add(journal, "port", detail, NULL, err);
    if (code < 0) {
        kubevirt_tunnel_close(conn, forward->address, forward->local);
        return code;
    }
    *way = vmc_printf("through the API server to port %d", forward->guest);
    return 0;
}

int kubevirt_forward_undo(kubevirt_conn *conn, const char *detail) {
    const char *space = strchr(detail, ' ');
    if (space)
        kubevirt_tunnel_close(conn, space + 1, (int)strtol(detail, NULL, 10));
    return 0;
}
