/* Key presses. Source: virDomainSendKey; QEMU's send-key, whose queue holds keys for the time and lets them go by itself. */
#include "ops.h"
#include "rpc.h"
#include <string.h>

enum { KEYS_MS = 30000 };

int libvirt_keys_check(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    int state = 0;
    int code = libvirt_vm_state(conn, vm, deadline, &state, NULL, err);
    if (code < 0 || state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED || state == VIR_DOMAIN_PMSUSPENDED)
        return code;
    /* QEMU drops keys that are pressed while the CPUs stand still, without a word. */
    bool paused = state == VIR_DOMAIN_PAUSED;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s %s, so a key would be lost", vm->name,
              paused ? "is paused" : "does not run");
    return vmc_error_next(err, "vmctl %s %s", paused ? "resume" : "start", vm->name);
}

/* domain, bytes and length (codes, as unsigned), number (milliseconds) */
static int work_press(libvirt_rpc *rpc) {
    unsigned codes[VIR_DOMAIN_SEND_KEY_MAX_KEYS];
    memcpy(codes, rpc->bytes, rpc->length);
    return virDomainSendKey(rpc->domain, VIR_KEYCODE_SET_LINUX, (unsigned)rpc->number, codes,
                            (int)(rpc->length / sizeof *codes), 0);
}

int libvirt_send_keys(void *opaque, void *handle, const unsigned *codes, size_t count,
                      const vmctl_keys_options *options, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    const libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, KEYS_MS);
    int code = libvirt_keys_check(conn, vm, &deadline, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(vm->domain);
    rpc->domain = vm->domain;
    rpc->number = options->hold_ms;
    rpc->length = count * sizeof *codes;
    rpc->bytes = vmc_alloc(rpc->length);
    memcpy(rpc->bytes, codes, rpc->length);
    return libvirt_rpc_run(conn, &deadline, "pressing the keys", work_press, rpc, err);
}
