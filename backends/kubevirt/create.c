/* Making a VM: everything that can be checked is, then the VM itself, which does not run, and then what it owns. */
#include "ops.h"

#include "gpus.h"
#include "upload.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- planning ---------------------------------------------------------------------------------------------------------- */

static int permitted(kubevirt_conn *conn, const vmc_deadline *deadline, const cJSON **out, vmctl_error **err) {
    const cJSON *installation = NULL;
    int code = kubevirt_installation(conn, deadline, &installation, err);
    *out = kubevirt_permitted_of(installation);
    return code;
}

typedef struct counting {
    const char *resource;
    uint64_t have;
} counting;

static int count_resource(cJSON **item, void *user) {
    counting *c = user;
    c->have += kubevirt_allocatable(*item, c->resource);
    return 0;
}

/* A resource that is permitted and that no node has: the VM would never be scheduled. Who may not look at nodes is not held up. */
static int check_allocatable(kubevirt_conn *conn, const cJSON *vm, const vmc_deadline *deadline, vmctl_error **err) {
    static const char *const lists[] = {"gpus", "hostDevices"};
    VMC_AUTO_FREE char *path = kube_path("", "v1", NULL, "nodes", NULL, NULL);
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        const cJSON *device;
        cJSON_ArrayForEach(device, vmc_json_key(vmc_json_at(vm, "spec.template.spec.domain.devices"), lists[l])) {
            counting c = {.resource = vmc_json_key_string(device, "deviceName")};
            if (!c.resource)
                continue;
            vmctl_error *why = NULL;
            int code = kube_list(conn->client, path, NULL, deadline, count_resource, &c, &why);
            if (code == VMCTL_E_PERMISSION_DENIED) {
                vmctl_error_free(why);
                return 0;
            }
            vmc_error_move(code < 0 ? err : NULL, &why);
            if (code < 0)
                return code;
            if (c.have)
                continue;
            vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "%s is permitted, and no node has one (%s)", c.resource,
                      vmc_json_string(device, "name", ""));
            return vmc_error_next(err, "vmctl gpu list shows what nodes have; a device plugin must announce it");
        }
    }
    return 0;
}

static int plan(kubevirt_conn *conn, const vmctl_spec *spec, const vmctl_marker *marker, const vmc_deadline *deadline,
                kubevirt_manifest *out, vmctl_error **err) {
    vmc_deadline own = *deadline;
    kubevirt_making making = {.namespace_name = conn->namespace_name,
                              .storage_class = conn->storage_class,
                              .marker = marker,
                              .file_bytes = kubevirt_making_bytes,
                              .user = &own};
    bool native = vmctl_spec_native(spec, NULL) != NULL;
    int code = 0;
    if (!native && kubevirt_needs_permitted(spec))
        code = permitted(conn, deadline, &making.permitted, err);
    if (code == 0)
        code = native ? kubevirt_manifest_of_native(spec, &making, out, err)
                      : kubevirt_manifest_of_spec(spec, &making, out, err);
    if (code == 0 && !native)
        code = kubevirt_references_check(conn, spec, deadline, err);
    if (code < 0 || !kubevirt_has_host_devices(out->vm))
        return code;
    const cJSON *installation = NULL;
    code = kubevirt_installation(conn, deadline, &installation, err);
    if (code == 0 && installation)
        code = kubevirt_gpus_check(out->vm, kubevirt_permitted_of(installation), err);
    if (code == 0)
        code = kubevirt_claims_check(conn, out->vm, installation, deadline, err);
    return code == 0 && marker ? check_allocatable(conn, out->vm, deadline, err) : code;
}

int kubevirt_render(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    KUBEVIRT_AUTO_MANIFEST manifest = {0};
    int code = plan(conn, spec, NULL, &deadline, &manifest, err);
    if (code < 0)
        return code;
    if (!cJSON_GetArraySize(manifest.secrets)) {
        *out = cJSON_Print(manifest.vm);
        return *out ? 0 : vmc_error_no_memory(err);
    }
    /* Several objects are a List, which kubectl takes as well. */
    VMC_AUTO_JSON *list = cJSON_CreateObject();
    cJSON_AddStringToObject(list, "apiVersion", "v1");
    cJSON_AddStringToObject(list, "kind", "List");
    cJSON *items = cJSON_AddArrayToObject(list, "items");
    cJSON_AddItemToArray(items, cJSON_Duplicate(manifest.vm, true));
    const cJSON *secret;
    cJSON_ArrayForEach(secret, manifest.secrets) {
        cJSON_AddItemToArray(items, cJSON_Duplicate(secret, true));
    }
    *out = cJSON_Print(list);
    return *out ? 0 : vmc_error_no_memory(err);
}

/* --- making ------------------------------------------------------------------------------------------------------------ */

/* A VM that failed to be made goes with all that it owns; a Secret of that name that is somebody else's is not touched. */
static int make_secrets(kubevirt_conn *conn, const kubevirt_manifest *manifest, const cJSON *vm,
                        const vmc_deadline *deadline, vmctl_error **err) {
    cJSON *secret;
    cJSON_ArrayForEach(secret, manifest->secrets) {
        VMC_AUTO_FREE char *path =
            kube_path("", "v1", vmc_json_string(secret, "metadata.namespace", ""), "secrets", NULL, NULL);
        kubevirt_add_owner(secret, vmc_json_string(vm, "metadata.name", ""), vmc_json_string(vm, "metadata.uid", ""));
        int code = kube_create(conn->client, path, secret, NULL, deadline, NULL, err);
        if (code < 0)
            return vmc_error_prefix(err, "its Secret %s", vmc_json_string(secret, "metadata.name", ""));
    }
    return 0;
}

/* The data volumes are the VM's already: what fails goes with it. */
static int send_files(kubevirt_conn *conn, const kubevirt_manifest *manifest, const vmc_deadline *deadline,
                      vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < manifest->upload_count; i++) {
        const kubevirt_volume volume = {.namespace_name = vmc_json_string(manifest->vm, "metadata.namespace", ""),
                                        .name = manifest->uploads[i].claim,
                                        .vm = vmc_json_string(manifest->vm, "metadata.name", "")};
        code = kubevirt_upload_file(conn, &volume, manifest->uploads[i].path, deadline, err);
        if (code < 0)
            vmc_error_prefix(err, "disk %s", manifest->uploads[i].disk);
    }
    return code;
}

static void tell_notes(const kubevirt_manifest *manifest, const vmc_deadline *deadline) {
    for (size_t i = 0; i < manifest->notes.count; i++)
        vmc_note(deadline, VMCTL_NOTE_INFO, "%s", manifest->notes.items[i]);
}

static int explain_refusal(const char *name, int code, vmctl_error **err) {
    if (code == VMCTL_E_ALREADY_EXISTS) {
        vmc_error(err, code, "there is a VM of the name %s already", name);
        return vmc_error_next(err, "choose another name, or vmctl apply to change that VM");
    }
    return code;
}

/* Names a VM so that only one that this very call made is taken away again: by what stands in its marker. */
static char *undo_detail(const cJSON *vm) {
    const cJSON *annotations = vmc_json_at(vm, "metadata.annotations");
    const char *owner = vmc_json_key_string(annotations, KUBEVIRT_OWNER);
    const char *created = vmc_json_key_string(annotations, KUBEVIRT_CREATED);
    return vmc_printf("%s/%s %s %s", vmc_json_string(vm, "metadata.namespace", ""),
                      vmc_json_string(vm, "metadata.name", ""), created ? created : "-", owner ? owner : "");
}

static int make(kubevirt_conn *conn, const kubevirt_manifest *manifest, vmc_journal *journal,
                const vmc_deadline *deadline, cJSON **made, vmctl_error **err) {
    const char *name = vmc_json_string(manifest->vm, "metadata.name", "");
    VMC_AUTO_FREE char *path =
        kubevirt_collection("virtualmachines", vmc_json_string(manifest->vm, "metadata.namespace", ""));
    VMC_AUTO_FREE char *detail = undo_detail(manifest->vm);
    size_t mark = 0;
    int code = vmc_journal_add(journal, "vm", detail, &mark, err);
    if (code < 0)
        return code;
    KUBE_AUTO_STATUS status = {0};
    const kube_write_options options = {.status = &status};
    code = kube_create(conn->client, path, manifest->vm, &options, deadline, made, err);
    if (code < 0 && status.http && !vmc_outcome_unknown(code)) {
        vmc_journal_drop(journal, mark, NULL); /* refused: whatever has this name is not ours */
        return explain_refusal(name, code, err);
    }
    if (code == 0)
        code = make_secrets(conn, manifest, *made, deadline, err);
    return code == 0 ? send_files(conn, manifest, deadline, err) : code;
}

/* Without it all is well but for fields that a later manifest leaves out. */
static void own_fields(kubevirt_conn *conn, cJSON **made, const vmc_deadline *deadline) {
    vmctl_error *why = NULL;
    if (kubevirt_own_fields(conn, made, deadline, &why) < 0)
        vmc_note(deadline, VMCTL_NOTE_WARNING, "a later apply cannot remove what its manifest leaves out: %s",
                 vmctl_error_message(why));
    vmctl_error_free(why);
}

/* The server's verdict, and its webhooks' and quotas', with nothing kept: dryRun=All. */
static int ask_only(kubevirt_conn *conn, const kubevirt_manifest *manifest, const vmc_deadline *deadline,
                    vmctl_error **err) {
    const char *namespace_name = vmc_json_string(manifest->vm, "metadata.namespace", "");
    const kube_write_options dry = {.dry_run = true};
    VMC_AUTO_FREE char *vms = kubevirt_collection("virtualmachines", namespace_name);
    VMC_AUTO_FREE char *secrets = kube_path("", "v1", namespace_name, "secrets", NULL, NULL);
    int code = kube_create(conn->client, vms, manifest->vm, &dry, deadline, NULL, err);
    if (code < 0)
        return explain_refusal(vmc_json_string(manifest->vm, "metadata.name", ""), code, err);
    const cJSON *secret;
    cJSON_ArrayForEach(secret, manifest->secrets) {
        code = kube_create(conn->client, secrets, secret, &dry, deadline, NULL, err);
        if (code < 0)
            return vmc_error_prefix(err, "its Secret %s", vmc_json_string(secret, "metadata.name", ""));
    }
    tell_notes(manifest, deadline);
    return 0;
}

int kubevirt_create(void *opaque, const vmctl_spec *spec, const vmctl_create_options *options,
                    const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                    vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    KUBEVIRT_AUTO_MANIFEST manifest = {0};
    int code = plan(conn, spec, marker, &deadline, &manifest, err);
    if (code < 0)
        return code;
    if (options->dry_run)
        return ask_only(conn, &manifest, &deadline, err);
    cJSON *made = NULL;
    code = make(conn, &manifest, journal, &deadline, &made, err);
    if (code < 0) {
        cJSON_Delete(made);
        return code;
    }
    tell_notes(&manifest, &deadline);
    if (vmctl_spec_native(spec, NULL))
        own_fields(conn, &made, &deadline);
    kubevirt_vm *handle = kubevirt_vm_new(conn, made);
    kubevirt_vm_identity(handle, identity);
    *vm = handle;
    return 0;
}

/* --- undo -------------------------------------------------------------------------------------------------------------- */

/* vm NAMESPACE/NAME CREATED OWNER */
int kubevirt_undo(void *opaque, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    if (strcmp(kind, "file") == 0)
        return unlink(detail) == 0 || errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : vmc_error_errno(err, errno, "cannot remove %s", detail);
    if (strcmp(kind, "export") == 0)
        return kubevirt_export_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "port") == 0)
        return kubevirt_forward_undo(conn, detail);
    if (strcmp(kind, "datavolume") == 0)
        return kubevirt_image_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "dump") == 0)
        return kubevirt_dump_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "snapshot") == 0)
        return kubevirt_snapshot_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "revert") == 0)
        return kubevirt_revert_undo(conn, detail, &deadline, err);
    if (strcmp(kind, "clone") == 0)
        return kubevirt_clone_undo(conn, detail, &deadline, err);
    size_t namespace_length = strcspn(detail, "/");
    const char *name = detail + namespace_length + (detail[namespace_length] == '/');
    size_t name_length = strcspn(name, " ");
    if (strcmp(kind, "vm") != 0 || !namespace_length || !name_length || !name[name_length])
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"%s %s\" cannot be read", kind, detail);
    VMC_AUTO_FREE char *namespace_name = vmc_strndup(detail, namespace_length);
    VMC_AUTO_FREE char *vm_name = vmc_strndup(name, name_length);
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", namespace_name, "virtualmachines", vm_name, NULL);
    VMC_AUTO_JSON *object = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, &deadline, &object, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    VMC_AUTO_FREE char *there = object ? undo_detail(object) : NULL;
    if (code == 0 && vmc_str_eq(there, detail)) {
        vmctl_delete_options gone = VMCTL_DELETE_OPTIONS_INIT;
        vmctl_call rest = vmc_deadline_call(&deadline);
        gone.call = &rest;
        gone.force = true;
        kubevirt_vm *vm = kubevirt_vm_new(conn, object);
        object = NULL;
        code = kubevirt_remove(conn, vm, &gone, &why);
        kubevirt_vm_free(vm);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}
