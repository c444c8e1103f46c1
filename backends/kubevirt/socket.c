/* Streams of a running VM through the API server: WebSockets of its instance's subresources. Source: virt-api's portforward, console and vnc;
 * they refuse before the upgrade, with a Status. */
#include "socket.h"

#include <stdlib.h>
#include <string.h>

enum { AGAIN_MS = 500, MOST_AGAIN = 10 };

static const char protocol[] = "plain.kubevirt.io";

/* The instance is not there, or not so far: what the VM itself says decides. */
static bool is_about_state(const kube_status *status) {
    return status->http == 400 || status->http == 404 || status->http == 409 || status->http == 500;
}

int kubevirt_stream_check(const kubevirt_vm *vm, vmctl_state state, vmctl_error **err) {
    if (state != VMCTL_STATE_STOPPED && state != VMCTL_STATE_SAVED && state != VMCTL_STATE_CRASHED &&
        state != VMCTL_STATE_STOPPING)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm->name, vmctl_state_name(state));
    vmc_error_next(err, "vmctl start %s", vm->name);
    return VMCTL_E_INVALID_STATE;
}

/* 1: ask again; 0: the refusal stands; negative. */
static int settle(kubevirt_conn *conn, kubevirt_vm *vm, bool *waited, int *again, const vmc_deadline *deadline,
                  vmctl_error **err) {
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = kubevirt_vm_state(conn, vm, deadline, &state, NULL, err);
    if (code < 0)
        return code;
    switch (state) {
    case VMCTL_STATE_STARTING:
        *waited = true;
        code = kubevirt_wait_running(conn, vm, false, NULL, deadline, err);
        return code < 0 ? code : 1;
    case VMCTL_STATE_RUNNING:
    case VMCTL_STATE_MIGRATING:
        /* Just after its start virt-handler may not know it yet. */
        if (!*waited || ++*again > MOST_AGAIN)
            return 0;
        code = vmc_deadline_poll(deadline, -1, 0, AGAIN_MS, "waiting for the VM", err);
        return code < 0 ? code : 1;
    default:
        return kubevirt_stream_check(vm, state, err);
    }
}

int kubevirt_socket_open(kubevirt_conn *conn, kubevirt_vm *vm, const char *sub, const char *const *query,
                         const vmc_deadline *deadline, websocket **out, vmctl_error **err) {
    VMC_AUTO_FREE char *path =
        kube_path(KUBEVIRT_SUBRESOURCES, "v1", vm->namespace_name, "virtualmachineinstances", vm->name, sub);
    bool waited = false;
    int again = 0;
    for (;;) {
        KUBE_AUTO_STATUS status = {0};
        vmctl_error *why = NULL;
        const kube_request request = {.path = path, .query = query, .status = &status};
        int code = kube_open_websocket(conn->client, &request, protocol, deadline, out, &why);
        if (code == 0)
            return 0;
        vmctl_error *other = NULL;
        int next = is_about_state(&status) ? settle(conn, vm, &waited, &again, deadline, &other) : 0;
        if (next == 0) {
            vmc_error_move(err, &why);
            return code;
        }
        vmctl_error_free(why);
        if (next < 0) {
            vmc_error_move(err, &other);
            return next;
        }
    }
}
