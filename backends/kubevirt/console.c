/* The serial console: a WebSocket on one side, one end of a socket pair on the other, bytes moved in a thread of the driver's. */
#include "socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FLUSH_MS = 2000, LOOK_MS = 5000 };

typedef struct console {
    kubevirt_conn *conn; /* alive as long as the stream: vmctl_stream keeps the connection */
    char *name, *path;   /* of the instance */
    websocket_bridge *bridge;
} console;

static void console_free(console *c) {
    free(c->name);
    free(c->path);
    free(c);
}

/* The instance that the console was of has ended: then so has its console, which the server only drops. */
static bool has_ended(const console *c) {
    vmctl_call plain = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&plain, LOOK_MS);
    VMC_AUTO_JSON *now = NULL;
    int code = kube_get(c->conn->client, c->path, &deadline, &now, NULL);
    const char *phase = vmc_json_string(now, "status.phase", "");
    return code == VMCTL_E_NOT_FOUND ||
           (code == 0 && (strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0 ||
                          vmc_json_at(now, "metadata.deletionTimestamp")));
}

/* vmctl_stream_close. */
static int finish(void *state, vmctl_error **err) {
    console *c = state;
    VMC_AUTO_FREE char *what = vmc_printf("the console of %s", c->name);
    vmctl_error *why = NULL;
    int code = websocket_bridge_end(c->bridge, FLUSH_MS, what, false, &why);
    if (code < 0 && has_ended(c)) {
        vmctl_error_free(why);
        why = NULL;
        code = 0;
    }
    if (code < 0) {
        vmc_error_append(&why,
                         "; KubeVirt also ends it when somebody else opens it, and when the VM restarts or migrates");
        vmc_error_next(&why, "vmctl console %s", c->name);
        vmc_error_move(err, &why);
    }
    console_free(c);
    return code;
}

/* KubeVirt gives one serial port, which it calls serial0. */
static int check_device(const kubevirt_vm *vm, const char *device, vmctl_error **err) {
    if (!device || strcmp(device, "serial0") == 0)
        return 0;
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no serial port %s: KubeVirt gives a VM one, serial0", vm->name, device);
    return VMCTL_E_NOT_FOUND;
}

int kubevirt_console_open(void *opaque, void *handle, const vmctl_console_options *options, vmctl_stream **out,
                          vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    int code = check_device(vm, options->device, err);
    if (code < 0)
        return code;
    websocket *ws = NULL;
    code = kubevirt_socket_open(conn, vm, "console", NULL, &deadline, &ws, err);
    if (code < 0)
        return code;
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0) {
        int failure = errno;
        websocket_free(ws);
        return vmc_error_errno(err, failure, "cannot make a socket pair");
    }
    console *c = vmc_alloc(sizeof *c);
    c->conn = conn;
    c->name = vmc_strdup(vm->name);
    c->path = kubevirt_vmi_path(vm);
    code = websocket_bridge_start(ws, pair[0], &c->bridge, err);
    if (code < 0) {
        console_free(c);
        close(pair[1]);
        return code;
    }
    *out = vmctl_stream_new(pair[1], finish, c);
    return 0;
}
