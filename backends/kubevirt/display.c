/* The VNC display: a local port for any viewer, and pictures. Source: virt-api's vnc and vnc/screenshot; spec.domain.devices of the instance. */
#include "drivers/picture/picture.h"
#include "guest.h"
#include "socket.h"

#include <stdlib.h>
#include <string.h>

enum { PICTURE_MS = 60000, MOST_PICTURE = 64 << 20 };

int kubevirt_display_check(const kubevirt_vm *vm, const cJSON *vmi, bool *has, vmctl_error **err) {
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    *has = vmc_json_boolean(vmi, "spec.domain.devices.autoattachGraphicsDevice", true);
    if (strcmp(phase, "Running") == 0)
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run, so it shows no screen", vm->name);
    vmc_error_next(err, "vmctl start %s", vm->name);
    return VMCTL_E_INVALID_STATE;
}

/* --- VNC ------------------------------------------------------------------------------------------------------------------ */

int kubevirt_display_list(void *opaque, void *handle, const vmctl_call *call, vmctl_display_fn each, void *user,
                          vmctl_error **err) {
    static const char host[] = "127.0.0.1";
    /* Whoever watches already goes on watching. */
    static const char *const query[] = {"preserveSession", "true", NULL};
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *vmi = NULL;
    bool has = false;
    int code = kubevirt_vmi_get(conn, vm, &deadline, &vmi, err);
    if (code == 0)
        code = kubevirt_display_check(vm, vmi, &has, err);
    if (code < 0 || !has)
        return code;
    int port = kubevirt_tunnel_find(conn, vm, "vnc");
    if (!port)
        code = kubevirt_tunnel_open(conn, vm, "vnc", query, host, &port, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *uri = vmc_printf("vnc://%s:%d", host, port);
    const vmctl_display display = {
        .size = sizeof display, .type = "vnc", .address = host, .port = port, .uri = uri, .served = true};
    each(&display, user);
    return 0;
}

/* --- pictures --------------------------------------------------------------------------------------------------------------- */

int kubevirt_screenshot_check(const kubevirt_vm *vm, const cJSON *vmi, vmctl_error **err) {
    bool has = false;
    int code = kubevirt_display_check(vm, vmi, &has, err);
    if (code < 0 || has)
        return code;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no display", vm->name);
    return vmc_error_next(err, "autoattachGraphicsDevice is false there; vmctl console %s shows its serial port",
                          vm->name);
}

static int explain(kubevirt_conn *conn, kubevirt_vm *vm, int code, const vmc_deadline *deadline, vmctl_error **why) {
    if (code == VMCTL_E_PERMISSION_DENIED) { /* RBAC: view and edit have it not (FX/379) */
        vmc_error_next(why,
                       "the cluster role kubevirt.io:admin has virtualmachineinstances/vnc; edit and view have not");
        return code;
    }
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    VMC_AUTO_JSON *vmi = NULL;
    vmctl_error *other = NULL;
    int look = kubevirt_vmi_get(conn, vm, deadline, &vmi, NULL);
    if (look == 0)
        look = kubevirt_screenshot_check(vm, vmi, &other);
    if (!other)
        return code;
    vmc_error_move(why, &other);
    return look;
}

int kubevirt_screenshot(void *opaque, void *handle, const vmctl_screenshot_options *options, vmctl_bytes_fn each,
                        void *user, vmctl_error **err) {
    static const char *const query[] = {"moveCursor", "false",
                                        NULL}; /* else it wakes a screen saver by touching the mouse */
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, PICTURE_MS);
    if (options->screen > 0)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no screen %u: KubeVirt gives a VM one, 0", vm->name,
                         options->screen);
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_SUBRESOURCES, "v1", vm->namespace_name, "virtualmachineinstances",
                                         vm->name, "vnc/screenshot");
    const kube_request request = {.path = path, .query = query, .accept = "*/*", .limit = MOST_PICTURE};
    VMC_AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    vmctl_error *why = NULL;
    int code = kube_raw(conn->client, &request, &deadline, &bytes, &length, NULL, &why);
    if (code < 0) {
        code = explain(conn, vm, code, &deadline, &why);
        vmc_error_move(err, &why);
        return code;
    }
    if (!picture_is_png(bytes, length))
        return vmc_error(err, VMCTL_E_INTERNAL, "what KubeVirt sent is no PNG (%zu bytes)", length);
    each(bytes, length, user);
    return 0;
}
