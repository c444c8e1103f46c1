/* Clones: VirtualMachineClone copies disks and definition; the new VM gets new MAC addresses and a marker of its own. */
#include "change.h"
#include "snapshot.h"

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

static int check_free(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                      vmctl_error **err) {
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

/* A disk on a claim that no snapshot holds would be the original's own in the clone. excluded: of the snapshot; NULL: of today. */
static int check_disks(const cJSON *now, const cJSON *excluded, vmctl_error **err) {
    const cJSON *volume;
    cJSON_ArrayForEach(volume, vmc_json_at(now, "spec.template.spec.volumes")) {
        const char *name = vmc_json_string(volume, "name", "");
        const char *why = kubevirt_no_snapshot(now, name);
        bool out = excluded ? kubevirt_names_have(excluded, name) : why != NULL;
        if (!out || !kubevirt_claim_of(volume))
            continue;
        vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s cannot be cloned: %s", name,
                  why ? why : "it is not in the snapshot");
        return vmc_error_next(err, "%s; or image: pvc:CLAIM in a vm.yaml makes a VM with a copy of it",
                              KUBEVIRT_SNAPSHOT_REMEDY);
    }
    return 0;
}

static int check(kubevirt_conn *conn, kubevirt_vm *vm, const char *name, const vmctl_clone_options *options,
                 const vmc_deadline *deadline, cJSON **now, vmctl_error **err) {
    if (options->linked) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "volumes of a cluster have no overlays that a linked clone could stand on");
        return vmc_error_next(err, "leave --linked out; many storage classes clone without copying");
    }
    if (!kubevirt_is_vm_name(name)) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                  "\"%.80s\" is no name for Kubernetes: lower case letters, digits, '-' and '.', at most 63", name);
        return vmc_error_next(err, "choose another name");
    }
    int code = check_free(conn, vm, name, deadline, err);
    if (code == 0)
        code = kubevirt_vm_get(conn, vm, deadline, now, err);
    return code == 0 && !options->snapshot ? check_disks(*now, NULL, err) : code;
}

/* The snapshot that is cloned; *object: its name (free). */
static int check_snapshot(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const cJSON *now,
                          const vmc_deadline *deadline, char **object, vmctl_error **err) {
    const char *version = NULL;
    VMC_AUTO_JSON *snapshot = NULL;
    int code = kubevirt_snapshot_version(conn, deadline, &version, err);
    if (code == 0)
        code = kubevirt_snapshot_find(conn, vm, name, version, deadline, &snapshot, err);
    if (code == 0 && !vmc_json_boolean(snapshot, "status.readyToUse", false))
        code = vmc_error(err, VMCTL_E_INVALID_STATE, "the snapshot %s is not ready to use", name);
    const cJSON *excluded = vmc_json_at(snapshot, "status.snapshotVolumes.excludedVolumes");
    if (code == 0 && excluded)
        code = check_disks(now, excluded, err);
    if (code == 0)
        *object = vmc_strdup(vmc_json_string(snapshot, "metadata.name", ""));
    return code;
}

/* What is in a guest's memory is in no copy of its disks. */
static void tell_running(const kubevirt_vm *vm, const cJSON *now, const vmc_deadline *deadline) {
    if (!vmc_json_boolean(now, "status.created", false))
        return;
    bool agent = kubevirt_condition(now, "AgentConnected", "True") != NULL;
    vmc_note(deadline, VMCTL_NOTE_WARNING, "%s runs: its disks are copied %s", vm->name,
             agent ? "with the file systems frozen for a moment, by its agent" : "as a power cut would leave them");
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

/* --- the copy's own ---------------------------------------------------------------------------------------------------- */

static const char *const secret_paths[] = {
    "cloudInitNoCloud.secretRef.name", "cloudInitNoCloud.networkDataSecretRef.name",
    "cloudInitConfigDrive.secretRef.name", "cloudInitConfigDrive.networkDataSecretRef.name", "sysprep.secret.name"};

static int copy_secret(kubevirt_conn *conn, const cJSON *clone, const char *from, const char *to,
                       const vmc_deadline *deadline, vmctl_error **err) {
    const char *namespace_name = vmc_json_string(clone, "metadata.namespace", "");
    VMC_AUTO_FREE char *path = kube_path("", "v1", namespace_name, "secrets", from, NULL);
    VMC_AUTO_FREE char *all = kube_path("", "v1", namespace_name, "secrets", NULL, NULL);
    VMC_AUTO_JSON *secret = NULL;
    int code = kube_get(conn->client, path, deadline, &secret, err);
    if (code < 0)
        return vmc_error_prefix(err, "its Secret %s", from);
    VMC_AUTO_JSON *copy = cJSON_CreateObject();
    cJSON_AddStringToObject(copy, "apiVersion", "v1");
    cJSON_AddStringToObject(copy, "kind", "Secret");
    cJSON_AddStringToObject(vmc_json_map(copy, "metadata"), "name", to);
    cJSON_AddStringToObject(vmc_json_map(copy, "metadata"), "namespace", namespace_name);
    vmc_json_put(vmc_json_map(copy, "metadata.labels"), KUBEVIRT_LABEL_MANAGED, cJSON_CreateString("vmctl"));
    kubevirt_add_owner(copy, vmc_json_string(clone, "metadata.name", ""), vmc_json_string(clone, "metadata.uid", ""));
    if (vmc_json_key(secret, "data"))
        cJSON_AddItemToObject(copy, "data", cJSON_Duplicate(vmc_json_key(secret, "data"), true));
    code = kube_create(conn->client, all, copy, NULL, deadline, NULL, err);
    return code < 0 ? vmc_error_prefix(err, "its Secret %s", to) : 0;
}

/* A Secret that vmctl made for the original goes with that: the clone gets its own. then: the clone, which is changed. */
static int own_secrets(kubevirt_conn *conn, const kubevirt_vm *vm, cJSON *then, const vmc_deadline *deadline,
                       vmctl_error **err) {
    static const char *const kinds[] = {"cloudinit", "sysprep"};
    const char *name = vmc_json_string(then, "metadata.name", "");
    const cJSON *volume;
    for (size_t k = 0; k < 2; k++) {
        VMC_AUTO_FREE char *from = vmc_printf("%s-%s", vm->name, kinds[k]);
        VMC_AUTO_FREE char *to = vmc_printf("%s-%s", name, kinds[k]);
        bool copied = false;
        cJSON_ArrayForEach(volume, vmc_json_at(then, "spec.template.spec.volumes")) {
            for (size_t i = 0; i < sizeof secret_paths / sizeof secret_paths[0]; i++) {
                cJSON *reference = (cJSON *)vmc_json_at(volume, secret_paths[i]);
                if (!cJSON_IsString(reference) || strcmp(reference->valuestring, from) != 0)
                    continue;
                int code = copied ? 0 : copy_secret(conn, then, from, to, deadline, err);
                if (code < 0)
                    return code;
                copied = true;
                cJSON_SetValuestring(reference, to);
            }
        }
    }
    return 0;
}

/* The copy has the original's annotations and labels, and is somebody's by itself from now on. */
static int mark(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const cJSON *original,
                const vmctl_marker *marker, const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    static const char *const own[] = {KUBEVIRT_RUN, KUBEVIRT_EXPIRES, KUBEVIRT_LEFT};
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", vm->namespace_name, "virtualmachines", name, NULL);
    VMC_AUTO_JSON *now = NULL;
    int code = kube_get(conn->client, path, deadline, &now, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *then = cJSON_Duplicate(now, true);
    cJSON *annotations = vmc_json_map(then, "metadata.annotations");
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        vmc_json_put(annotations, own[i], NULL);
    vmc_json_put(vmc_json_map(then, "metadata.labels"), KUBEVIRT_LABEL_RUN, NULL);
    kubevirt_put_marker(then, marker);
    /* Services select by it: the clone is not meant by the original's. */
    cJSON *labels = vmc_json_map(then, "spec.template.metadata.labels");
    if (vmc_str_eq(vmc_json_key_string(labels, "kubevirt.io/vm"), vm->name))
        vmc_json_put(labels, "kubevirt.io/vm", cJSON_CreateString(name));
    /* KubeVirt makes it Halted, whose start would become Always. */
    if (strcmp(kubevirt_strategy(original), "Manual") == 0)
        vmc_json_put(vmc_json_map(then, "spec"), "runStrategy", cJSON_CreateString("Manual"));
    code = own_secrets(conn, vm, then, deadline, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *patch = kubevirt_merge_patch(now, then);
    return kube_patch(conn->client, path, patch, NULL, deadline, out, err);
}

/* --- cloning ----------------------------------------------------------------------------------------------------------- */

int kubevirt_clone(void *opaque, void *handle, const char *name, const vmctl_clone_options *options,
                   const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                   vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, CLONE_MS);
    const char *version = NULL;
    VMC_AUTO_FREE char *snapshot = NULL;
    VMC_AUTO_JSON *now = NULL;
    int code = check(conn, vm, name, options, &deadline, &now, err);
    if (code == 0)
        code = kubevirt_version_of(conn, GROUP, versions, "it comes with the gate Snapshot", &deadline, &version, err);
    if (code == 0 && options->snapshot)
        code = check_snapshot(conn, vm, options->snapshot, now, &deadline, &snapshot, err);
    if (code < 0)
        return code;
    if (!snapshot)
        tell_running(vm, now, &deadline);
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
        code = mark(conn, vm, name, now, marker, &deadline, &made, err);
    if (code < 0)
        return code;
    vmctl_error *ignored = NULL; /* KubeVirt collects it some time */
    kube_delete(conn->client, own, &(kube_write_options){.unique = true}, &deadline, NULL, &ignored);
    vmctl_error_free(ignored);
    kubevirt_vm *clone = kubevirt_vm_new(conn, made);
    kubevirt_vm_identity(clone, identity);
    *out = clone;
    return 0;
}

/* --- undo -------------------------------------------------------------------------------------------------------------- */

/* The VM, where it is this clone's work: the restore that KubeVirt made for it is named by the clone's uid. */
static int drop_vm(kubevirt_conn *conn, const char *namespace_name, const char *name, const char *uid,
                   const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", namespace_name, "virtualmachines", name, NULL);
    VMC_AUTO_JSON *vm = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, &vm, &why);
    const char *origin =
        vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), "restore.kubevirt.io/lastRestoreUID");
    if (code == 0 && origin && strstr(origin, uid)) {
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

/* clone NAMESPACE/NAME PATH */
int kubevirt_clone_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    size_t namespace_length = strcspn(detail, "/");
    const char *name = detail + namespace_length + (detail[namespace_length] == '/');
    const char *space = strchr(name, ' '), *version = NULL;
    if (!namespace_length || !space || space[1] != '/')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"clone %s\" cannot be read", detail);
    VMC_AUTO_FREE char *namespace_name = vmc_strndup(detail, namespace_length);
    VMC_AUTO_FREE char *target = vmc_strndup(name, (size_t)(space - name));
    VMC_AUTO_JSON *clone = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, space + 1, deadline, &clone, &why);
    if (code == 0)
        code = kube_delete(conn->client, space + 1, &(kube_write_options){.unique = true}, deadline, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    const char *uid = vmc_json_string(clone, "metadata.uid", NULL);
    if (code < 0 || !uid)
        return code;
    VMC_AUTO_FREE char *restore = vmc_printf("tmp-restore-%s", uid);
    code = kubevirt_snapshot_version(conn, deadline, &version, err);
    if (code == 0)
        code = kubevirt_restore_cancel(conn, namespace_name, version, restore, deadline, NULL, err);
    return code == 0 ? drop_vm(conn, namespace_name, target, uid, deadline, err) : code;
}
