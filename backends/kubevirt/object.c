/* Objects of the API server: a VM, its instance, and what the cluster says of them. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

enum { SEEN_MS = 1000, WARNINGS = 3 };

/* --- the handle -------------------------------------------------------------------------------------------------------- */

kubevirt_vm *kubevirt_vm_new(const kubevirt_conn *conn, cJSON *object) {
    kubevirt_vm *vm = vmc_alloc(sizeof *vm);
    vm->namespace_name = vmc_strdup(vmc_json_string(object, "metadata.namespace", ""));
    vm->name = vmc_strdup(vmc_json_string(object, "metadata.name", ""));
    vm->uid = vmc_strdup(vmc_json_string(object, "metadata.uid", ""));
    pthread_mutex_init(&vm->lock, NULL);
    vm->seen = object;
    vm->seen_ms = vmc_now_ms();
    vm->seen_writes = kube_client_writes(conn->client);
    return vm;
}

void kubevirt_vm_free(kubevirt_vm *vm) {
    if (!vm)
        return;
    cJSON_Delete(vm->seen);
    pthread_mutex_destroy(&vm->lock);
    free(vm->namespace_name);
    free(vm->name);
    free(vm->uid);
    free(vm);
}

cJSON *kubevirt_add_owner(cJSON *object, const char *name, const char *uid) {
    cJSON *owner = cJSON_CreateObject();
    cJSON_AddStringToObject(owner, "apiVersion", KUBEVIRT_API);
    cJSON_AddStringToObject(owner, "kind", "VirtualMachine");
    cJSON_AddStringToObject(owner, "name", name);
    cJSON_AddStringToObject(owner, "uid", uid);
    cJSON_AddItemToArray(vmc_json_list(vmc_json_map(object, "metadata"), "ownerReferences"), owner);
    return owner;
}

void kubevirt_vm_identity(const kubevirt_vm *vm, vmctl_identity *identity) {
    identity->name = vmc_strdup(vm->name);
    identity->id = *vm->uid ? vmc_strdup(vm->uid) : NULL;
    identity->namespace_name = vmc_strdup(vm->namespace_name);
}

void kubevirt_vm_met(kubevirt_vm *vm, const cJSON *object) {
    if (*vm->uid)
        return;
    free(vm->uid);
    vm->uid = vmc_strdup(vmc_json_string(object, "metadata.uid", ""));
}

cJSON *kubevirt_vm_take_seen(const kubevirt_conn *conn, kubevirt_vm *vm) {
    pthread_mutex_lock(&vm->lock);
    cJSON *seen = vm->seen;
    vm->seen = NULL;
    bool fresh = vmc_now_ms() - vm->seen_ms <= SEEN_MS && vm->seen_writes == kube_client_writes(conn->client);
    pthread_mutex_unlock(&vm->lock);
    if (seen && fresh)
        return seen;
    cJSON_Delete(seen);
    return NULL;
}

/* --- paths ------------------------------------------------------------------------------------------------------------- */

char *kubevirt_collection(const char *plural, const char *namespace_name) {
    return kube_path(KUBEVIRT_GROUP, "v1", namespace_name, plural, NULL, NULL);
}

char *kubevirt_vm_path(const kubevirt_vm *vm) {
    return kube_path(KUBEVIRT_GROUP, "v1", vm->namespace_name, "virtualmachines", vm->name, NULL);
}

char *kubevirt_vmi_path(const kubevirt_vm *vm) {
    return kube_path(KUBEVIRT_GROUP, "v1", vm->namespace_name, "virtualmachineinstances", vm->name, NULL);
}

/* --- reading ----------------------------------------------------------------------------------------------------------- */

int kubevirt_vm_get(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, cJSON **out,
                    vmctl_error **err) {
    *out = kubevirt_vm_take_seen(conn, vm);
    if (*out)
        return 0;
    VMC_AUTO_FREE char *path = kubevirt_vm_path(vm);
    int code = kube_get(conn->client, path, deadline, out, err);
    if (code == VMCTL_E_NOT_FOUND) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM %s any more", vm->name);
        return vmc_error_next(err, "vmctl list shows the VMs that are there");
    }
    if (code == 0 && *vm->uid && strcmp(vmc_json_string(*out, "metadata.uid", ""), vm->uid) != 0) {
        cJSON_Delete(*out);
        *out = NULL;
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the VM %s is gone, and another of its name is there", vm->name);
    }
    return code;
}

int kubevirt_vmi_get(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, cJSON **out,
                     vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_vmi_path(vm);
    vmctl_error *why = NULL;
    *out = NULL;
    int code = kube_get(conn->client, path, deadline, out, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int kubevirt_vm_state(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_state *state,
                      cJSON **object, vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    VMC_AUTO_JSON *vmi = NULL;
    int code = kubevirt_vm_get(conn, vm, deadline, &now, err);
    if (code == 0 && kubevirt_needs_instance(now))
        code = kubevirt_vmi_get(conn, vm, deadline, &vmi, err);
    if (code < 0)
        return code;
    *state = kubevirt_state(now, vmi, NULL);
    if (object) {
        *object = now;
        now = NULL;
    }
    return 0;
}

/* --- the cluster ------------------------------------------------------------------------------------------------------- */

static int take_first(cJSON **item, void *user) {
    cJSON **to = user;
    if (!*to) {
        *to = *item;
        *item = NULL;
    }
    return 1;
}

int kubevirt_installation(kubevirt_conn *conn, const vmc_deadline *deadline, const cJSON **out, vmctl_error **err) {
    pthread_mutex_lock(&conn->lock);
    *out = conn->installation;
    pthread_mutex_unlock(&conn->lock);
    if (*out)
        return 0;
    VMC_AUTO_FREE char *path = kubevirt_collection("kubevirts", NULL);
    vmctl_error *why = NULL;
    cJSON *found = NULL;
    int code = kube_list(conn->client, path, NULL, deadline, take_first, &found, &why);
    if (code == VMCTL_E_PERMISSION_DENIED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code < 0 || !found)
        return code;
    pthread_mutex_lock(&conn->lock);
    if (conn->installation) /* another thread was faster */
        cJSON_Delete(found);
    else
        conn->installation = found;
    *out = conn->installation;
    pthread_mutex_unlock(&conn->lock);
    return 0;
}

const cJSON *kubevirt_permitted_of(const cJSON *installation) {
    return vmc_json_at(installation, "spec.configuration.permittedHostDevices");
}

int kubevirt_version_of(kubevirt_conn *conn, const char *group, const char *const *wanted, const char *missing,
                        const vmc_deadline *deadline, const char **out, vmctl_error **err) {
    const kube_discovery *discovery = NULL;
    int code = kube_discover(conn->client, true, deadline, &discovery, err);
    if (code < 0)
        return code;
    *out = kube_discovery_version(discovery, group, wanted);
    if (*out)
        return 0;
    if (kube_discovery_stale(discovery, group))
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "whoever serves %s does not answer", group);
    vmc_error(err, VMCTL_E_UNSUPPORTED, "this cluster has no API %s", group);
    return vmc_error_next(err, "%s", missing);
}

/* --- warnings ---------------------------------------------------------------------------------------------------------- */

typedef struct gathering {
    const kubevirt_vm *vm;
    char *texts[WARNINGS];
    size_t count; /* of all that were seen */
} gathering;

/* The pods of a VM are "virt-launcher-NAME-xxxxx", its data volumes "NAME-DISK". */
static bool is_about(const kubevirt_vm *vm, const cJSON *event) {
    const char *name = vmc_json_string(event, "involvedObject.name", "");
    VMC_AUTO_FREE char *pod = vmc_printf("virt-launcher-%s-", vm->name);
    VMC_AUTO_FREE char *disk = vmc_printf("%s-", vm->name);
    bool volume = strcmp(vmc_json_string(event, "involvedObject.kind", ""), "DataVolume") == 0 ||
                  strcmp(vmc_json_string(event, "involvedObject.kind", ""), "PersistentVolumeClaim") == 0;
    return strcmp(name, vm->name) == 0 || vmc_starts_with(name, pod) || (volume && vmc_starts_with(name, disk));
}

static int gather_warning(cJSON **item, void *user) {
    gathering *g = user;
    const char *message = vmc_json_string(*item, "message", NULL);
    if (!message || strcmp(vmc_json_string(*item, "type", ""), "Warning") != 0 || !is_about(g->vm, *item))
        return 0;
    char **place = &g->texts[g->count++ % WARNINGS];
    free(*place);
    *place = vmc_printf("%s %s: %s", vmc_json_string(*item, "involvedObject.kind", "object"),
                        vmc_json_string(*item, "reason", "warning"), message);
    return 0;
}

void kubevirt_add_warnings(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, const char *said,
                           vmctl_error **err) {
    gathering g = {.vm = vm};
    VMC_AUTO_FREE char *path = kube_path("", "v1", vm->namespace_name, "events", NULL, NULL);
    vmc_deadline within = vmc_deadline_within(deadline, 5000);
    vmctl_error *ignored = NULL; /* of an explanation that cannot be had */
    kube_list(conn->client, path, NULL, &within, gather_warning, &g, &ignored);
    vmctl_error_free(ignored);
    VMC_AUTO_STR text = {0};
    if (said)
        vmc_str_add(&text, said);
    for (size_t i = 0; i < WARNINGS; i++) {
        const char *warning = g.texts[(g.count + i) % WARNINGS];
        if (warning)
            vmc_str_printf(&text, "%s%s", text.length ? "; " : "", warning);
    }
    if (text.length)
        vmc_error_hypervisor(err, NULL, text.text);
    for (size_t i = 0; i < WARNINGS; i++)
        free(g.texts[i]);
}
