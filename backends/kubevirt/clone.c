/* Clones: VirtualMachineClone copies disks and definition; the new VM gets new MAC addresses and a marker of its own. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

#define GROUP "clone.kubevirt.io"
enum { CLONE_MS = 1800000 };

static const char *const versions[] = {"v1", "v1beta1", "v1alpha1", NULL};

static int is_done(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    const char *phase = vmc_json_string(object, "status.phase", "");
    if (!object) /* KubeVirt collects those that are done */
        return 1;
    if (strcmp(phase, "Failed") == 0) {
        const cJSON *why = kubevirt_condition(object, "Ready", "False");
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "the clone failed: %s",
                         vmc_json_string(why, "message", vmc_json_string(why, "reason", "no reason is given")));
    }
    return strcmp(phase, "Succeeded") == 0;
}

static int check(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const vmctl_clone_options *options,
                 const vmc_deadline *deadline, vmctl_error **err) {
    if (options->linked) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "volumes of a cluster have no overlays that a linked clone could stand on");
        return vmc_error_next(err, "leave --linked out; many storage classes clone without copying");
    }
    if (!kubevirt_is_vm_name(name))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                         "\"%.80s\" is no name for Kubernetes: lower case letters, digits, '-' and '.'", name);
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", vm->namespace_name, "virtualmachines", name, NULL);
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    if (code < 0) {
        vmc_error_move(err, &why);
        return code;
    }
    vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there is a VM of the name %s already", name);
    return vmc_error_next(err, "choose another name");
}

static cJSON *new_clone(const kubevirt_vm *vm, const char *version, const char *object_name, const char *name,
                        const char *snapshot) {
    cJSON *object = cJSON_CreateObject();
    VMC_AUTO_FREE char *api = vmc_printf("%s/%s", GROUP, version);
    cJSON_AddStringToObject(object, "apiVersion", api);
    cJSON_AddStringToObject(object, "kind", "VirtualMachineClone");
    cJSON_AddStringToObject(vmc_json_map(object, "metadata"), "name", object_name);
    cJSON *source = vmc_json_map(object, "spec.source");
    cJSON_AddStringToObject(source, "apiGroup", snapshot ? "snapshot.kubevirt.io" : KUBEVIRT_GROUP);
    cJSON_AddStringToObject(source, "kind", snapshot ? "VirtualMachineSnapshot" : "VirtualMachine");
    cJSON_AddStringToObject(source, "name", snapshot ? snapshot : vm->name);
    cJSON *target = vmc_json_map(object, "spec.target");
    cJSON_AddStringToObject(target, "apiGroup", KUBEVIRT_GROUP);
    cJSON_AddStringToObject(target, "kind", "VirtualMachine");
    cJSON_AddStringToObject(target, "name", name);
    return object;
}

/* The copy has the original's annotations, and is somebody's by itself from now on. */
static int mark(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const vmctl_marker *marker,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    kubevirt_put_marker(patch, marker);
    cJSON *annotations = vmc_json_map(patch, "metadata.annotations");
    static const char *const own[] = {KUBEVIRT_RUN, KUBEVIRT_EXPIRES};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (!vmc_json_key(annotations, own[i]))
            cJSON_AddNullToObject(annotations, own[i]);
    if (!marker->run)
        cJSON_AddNullToObject(vmc_json_map(patch, "metadata.labels"), KUBEVIRT_LABEL_RUN);
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", vm->namespace_name, "virtualmachines", name, NULL);
    return kube_patch(conn->client, path, patch, NULL, deadline, out, err);
}

int kubevirt_clone(void *opaque, void *handle, const char *name, const vmctl_clone_options *options,
                   const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                   vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    const kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, CLONE_MS);
    const char *version = NULL;
    VMC_AUTO_FREE char *snapshot = NULL;
    int code = check(conn, vm, name, options, &deadline, err);
    if (code == 0)
        code = kubevirt_version_of(conn, GROUP, versions, "it comes with the gate Snapshot", &deadline, &version, err);
    if (code == 0 && options->snapshot)
        code = kubevirt_snapshot_object(conn, vm, options->snapshot, &deadline, &snapshot, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *object_name = vmc_printf("vmctl-%.8s-%llx", vm->uid, (unsigned long long)vmc_now_ms());
    VMC_AUTO_FREE char *path = kube_path(GROUP, version, vm->namespace_name, "virtualmachineclones", NULL, NULL);
    VMC_AUTO_FREE char *own = kube_path(GROUP, version, vm->namespace_name, "virtualmachineclones", object_name, NULL);
    VMC_AUTO_JSON *object = new_clone(vm, version, object_name, name, snapshot);
    VMC_AUTO_FREE char *detail = vmc_printf("%s/%s %s", vm->namespace_name, name, own);
    code = vmc_journal_add(journal, "clone", detail, NULL, err);
    VMC_AUTO_JSON *began = NULL;
    if (code == 0)
        code = kube_create(conn->client, path, object, NULL, &deadline, &began, err);
    if (code < 0)
        return code;
    const kubevirt_waiting waiting = {.name = object_name,
                                      .resource_version = vmc_json_string(began, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for the clone",
                                      .settled = is_done};
    cJSON *made = NULL;
    code = kubevirt_wait_in(conn, vm, path, &waiting, &deadline, err);
    if (code == 0)
        code = mark(conn, vm, name, marker, &deadline, &made, err);
    if (code < 0)
        return code;
    vmctl_error *ignored = NULL; /* KubeVirt collects it some time */
    kube_delete(conn->client, own, NULL, &deadline, NULL, &ignored);
    vmctl_error_free(ignored);
    kubevirt_vm *clone = kubevirt_vm_new(conn, made);
    kubevirt_vm_identity(clone, identity);
    *out = clone;
    return 0;
}

/* clone NAMESPACE/NAME PATH: a VM of that name goes only where it is this clone's work. */
int kubevirt_clone_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    size_t namespace_length = strcspn(detail, "/");
    const char *name = detail + namespace_length + (detail[namespace_length] == '/');
    const char *space = strchr(name, ' ');
    if (!namespace_length || !space || space[1] != '/')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"clone %s\" cannot be read", detail);
    VMC_AUTO_FREE char *namespace_name = vmc_strndup(detail, namespace_length);
    VMC_AUTO_FREE char *target = vmc_strndup(name, (size_t)(space - name));
    VMC_AUTO_JSON *clone = NULL;
    VMC_AUTO_JSON *vm = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, space + 1, deadline, &clone, &why);
    if (code == 0)
        code = kube_delete(conn->client, space + 1, NULL, deadline, NULL, &why);
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", namespace_name, "virtualmachines", target, NULL);
    if (code == 0)
        code = kube_get(conn->client, path, deadline, &vm, &why);
    const char *origin =
        vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), "restore.kubevirt.io/lastRestoreUID");
    const char *uid = vmc_json_string(clone, "metadata.uid", NULL);
    if (code == 0 && origin && uid && strstr(origin, uid)) {
        const kube_write_options options = {.uid = vmc_json_string(vm, "metadata.uid", NULL)};
        code = kube_delete(conn->client, path, &options, deadline, NULL, &why);
    }
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}
