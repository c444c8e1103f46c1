/* The serial log: KubeVirt keeps it as the log of a container of the VM's pod, for as long as the pod is there.
 * Source: KubeVirt's user guide, "Guest console log" (logSerialConsole, container guest-console-log). */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

typedef struct tail {
    const vmctl_log_options *options;
    vmctl_bytes_fn each;
    void *user;
    vmc_str last; /* without follow: what may be in the tail */
} tail;

static int take(const void *bytes, size_t length, void *user) {
    tail *t = user;
    if (t->options->follow || t->options->tail_bytes < 0)
        return t->each(bytes, length, t->user);
    vmc_str_add_n(&t->last, bytes, length);
    return 0;
}

static void give_tail(tail *t) {
    size_t most = t->options->tail_bytes < 0 ? 0 : (size_t)t->options->tail_bytes;
    size_t skip = t->last.length > most ? t->last.length - most : 0;
    if (t->last.length > skip)
        t->each(t->last.text + skip, t->last.length - skip, t->user);
}

typedef struct newest {
    cJSON *pod;
} newest;

/* After a migration there are two; the younger one has the guest. */
static int take_newest(cJSON **item, void *user) {
    newest *n = user;
    const char *then = vmc_json_string(n->pod, "metadata.creationTimestamp", "");
    if (strcmp(vmc_json_string(*item, "metadata.creationTimestamp", ""), then) < 0)
        return 0;
    cJSON_Delete(n->pod);
    n->pod = *item;
    *item = NULL;
    return 0;
}

static int find_pod(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, cJSON **out,
                    vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", vm->namespace_name, "pods", NULL, NULL);
    VMC_AUTO_FREE char *selector = vmc_printf("vm.kubevirt.io/name=%s", vm->name);
    const char *const query[] = {"labelSelector", selector, NULL};
    const kube_list_options options = {.query = query};
    newest n = {NULL};
    int code = kube_list(conn->client, path, &options, deadline, take_newest, &n, err);
    *out = n.pod;
    return code < 0 ? code : 0;
}

int kubevirt_serial_log(void *opaque, void *handle, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                        vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, options->follow ? -1 : KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *object = NULL;
    VMC_AUTO_JSON *pod = NULL;
    int code = kubevirt_vm_get(conn, vm, &deadline, &object, err);
    const cJSON *devices = vmc_json_at(object, "spec.template.spec.domain.devices");
    if (code == 0 && cJSON_IsFalse(vmc_json_key(devices, "logSerialConsole"))) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "%s keeps no serial log", vm->name);
        return vmc_error_next(err, "give its spec serial: {log: NAME.log}");
    }
    if (code == 0)
        code = find_pod(conn, vm, &deadline, &pod, err);
    if (code < 0 || !pod) /* what it printed went with its pod */
        return code;
    VMC_AUTO_FREE char *path =
        kube_path("", "v1", vm->namespace_name, "pods", vmc_json_string(pod, "metadata.name", ""), "log");
    const char *const query[] = {"container", "guest-console-log", options->follow ? "follow" : NULL, "true", NULL};
    const kube_request request = {.path = path, .query = query};
    tail t = {.options = options, .each = each, .user = user};
    vmctl_error *why = NULL;
    code = kube_stream(conn->client, &request, &deadline, take, &t, &why);
    if (code == VMCTL_E_TIMEOUT && options->follow)
        code = 0;
    if (code ==
        VMCTL_E_INVALID_ARGUMENT) { /* the container has not begun, or there is none: no log by the cluster's setting */
        code = 0;
    }
    if (code == 0)
        give_tail(&t);
    vmc_error_move(code < 0 ? err : NULL, &why);
    vmc_str_free(&t.last);
    return code;
}
