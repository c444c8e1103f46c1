/* Ports of the guest at this machine, through the API server. Source: virt-api's portforward; FX/157, 158. */
#include "socket.h"

#include <stdlib.h>
#include <string.h>

int kubevirt_guest_forward(void *opaque, void *handle, vmctl_forward *forward, vmc_journal *journal,
                           const vmctl_call *call, char **way, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    (void)call; /* nothing is asked until somebody dials */
    VMC_AUTO_FREE char *sub = vmc_printf("portforward/%d/tcp", forward->guest);
    int code = kubevirt_tunnel_open(conn, vm, sub, NULL, forward->address, &forward->local, err);
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
