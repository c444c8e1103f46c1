/* Reverting: a VirtualMachineRestore gives the VM the definition of then on new claims, made of the snapshot's volumes.
 *
 * KubeVirt takes the change of a VM that is restored only while its run strategy is Halted, and deletes every data volume of the VM's
 * templates that is not in the definition of then. So the VM is Halted for the time, and the templates of disks that came later are taken
 * out of it first: those disks stay, are noted in an annotation, and go with the VM. Source: KubeVirt's user guide, snapshot_restore_api.md. */
#include "snapshot.h"

#include "quantity.h"
#include <stdlib.h>
#include <string.h>

#define RESTORES "virtualmachinerestores"
#define LAST_RESTORE                                                                                                   \
    "restore.kubevirt.io/lastRestoreUID" /* of the VM: "NAME-UID" of the restore that made its definition */
#define HALTED "Halted"
enum { REVERT_MS = 600000, TRIES = 20, PAUSE_MS = 100 };

typedef struct reverting {
    kubevirt_conn *conn;
    kubevirt_vm *vm;
    const vmctl_snapshot_revert_options *options;
    const vmc_deadline *deadline;
    const char *version;
    cJSON *snapshot;
    cJSON *then;    /* its VirtualMachine */
    cJSON *now;     /* the VM before */
    char *strategy; /* what it goes back to; Halted: as it is */
    char *name;     /* of the restore */
    cJSON *done;    /* the restore at its end */
    bool ran;       /* the VM, before */
    char *trouble;  /* what KubeVirt said last stands in the way */
} reverting;

static void reverting_free(reverting *r) {
    cJSON_Delete(r->snapshot);
    cJSON_Delete(r->then);
    cJSON_Delete(r->now);
    cJSON_Delete(r->done);
    free(r->strategy);
    free(r->name);
    free(r->trouble);
}
#define AUTO_REVERTING vmc_cleanup(reverting_free) reverting

/* --- disks that came later --------------------------------------------------------------------------------------------- */

cJSON *kubevirt_left_disks(const cJSON *vm) {
    const char *text = vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), KUBEVIRT_LEFT);
    cJSON *left = text ? cJSON_Parse(text) : NULL;
    if (cJSON_IsArray(left))
        return left;
    cJSON_Delete(left);
    return NULL;
}

static const char *name_of(const cJSON *template) {
    return vmc_json_string(template, "metadata.name", "");
}

/* The volume of the VM that a template fills; NULL. */
static const cJSON *volume_of_template(const cJSON *vm, const cJSON *template) {
    const cJSON *volume;
    cJSON_ArrayForEach(volume, vmc_json_at(vm, "spec.template.spec.volumes")) {
        if (vmc_str_eq(vmc_json_string(volume, "dataVolume.name", NULL), name_of(template)))
            return volume;
    }
    return NULL;
}

static bool is_later(const reverting *r, const cJSON *template) {
    const cJSON *volume = volume_of_template(r->now, template);
    return !volume || !kubevirt_volume_of(r->then, vmc_json_string(volume, "name", ""));
}

/* Disks whose room was another then. */
static void tell_sizes(const reverting *r) {
    const cJSON *template;
    cJSON_ArrayForEach(template, vmc_json_at(r->then, "spec.dataVolumeTemplates")) {
        const cJSON *volume = volume_of_template(r->then, template);
        const char *disk = vmc_json_string(volume, "name", "");
        const cJSON *today = kubevirt_template_of(r->now, kubevirt_volume_of(r->now, disk));
        uint64_t was = kubevirt_quantity_of(vmc_json_at(template, "spec.storage.resources.requests.storage"));
        uint64_t is = kubevirt_quantity_of(vmc_json_at(today, "spec.storage.resources.requests.storage"));
        VMC_AUTO_FREE char *size = vmc_format_size((long long)was);
        if (today && was && was != is)
            vmc_note(r->deadline, VMCTL_NOTE_INFO, "disk %s has %s again", disk, size);
    }
}

/* --- before ------------------------------------------------------------------------------------------------------------ */

/* Halted, and without the templates of disks that came later: one patch. CONFLICT: the VM was written meanwhile. */
static int prepare_once(reverting *r, vmctl_error **err) {
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    VMC_AUTO_JSON *left = kubevirt_left_disks(r->now);
    VMC_AUTO_JSON *kept = cJSON_CreateArray();
    VMC_AUTO_STRV names = {0};
    const cJSON *template;
    if (!left)
        left = cJSON_CreateArray();
    cJSON_ArrayForEach(template, vmc_json_at(r->now, "spec.dataVolumeTemplates")) {
        bool later = is_later(r, template);
        cJSON_AddItemToArray(later ? left : kept, cJSON_Duplicate(template, true));
        if (later)
            vmc_strv_add(&names, name_of(template));
    }
    if (strcmp(r->strategy, HALTED) != 0)
        cJSON_AddStringToObject(vmc_json_map(patch, "spec"), "runStrategy", HALTED);
    if (names.count) {
        VMC_AUTO_FREE char *text = cJSON_PrintUnformatted(left);
        cJSON_AddItemToObject(vmc_json_map(patch, "spec"), "dataVolumeTemplates", cJSON_Duplicate(kept, true));
        vmc_json_put(vmc_json_map(patch, "metadata.annotations"), KUBEVIRT_LEFT, cJSON_CreateString(text));
    }
    if (!patch->child)
        return 0;
    if (names.count) /* the list is replaced as a whole */
        cJSON_AddStringToObject(vmc_json_map(patch, "metadata"), "resourceVersion",
                                vmc_json_string(r->now, "metadata.resourceVersion", ""));
    VMC_AUTO_FREE char *path = kubevirt_vm_path(r->vm);
    int code = kube_patch(r->conn->client, path, patch, NULL, r->deadline, NULL, err);
    for (size_t i = 0; code == 0 && i < names.count; i++)
        vmc_note(r->deadline, VMCTL_NOTE_WARNING,
                 "the disk %s came after the snapshot: it is taken off, stays, and goes with %s", names.items[i],
                 r->vm->name);
    return code;
}

/* KubeVirt writes a VM's status for a while after it was stopped or changed. */
static int prepare(reverting *r, vmctl_error **err) {
    for (int i = 1;; i++) {
        vmctl_error *why = NULL;
        int code = prepare_once(r, &why);
        if (code != VMCTL_E_CONFLICT || i == TRIES) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
        cJSON_Delete(r->now);
        r->now = NULL;
        code = vmc_deadline_poll(r->deadline, -1, 0, PAUSE_MS, "waiting for KubeVirt to be done with the VM", err);
        if (code == 0)
            code = kubevirt_vm_get(r->conn, r->vm, r->deadline, &r->now, err);
        if (code < 0)
            return code;
    }
}

static int look(reverting *r, const char *name, vmctl_state *state, vmctl_error **err) {
    int code = kubevirt_snapshot_version(r->conn, r->deadline, &r->version, err);
    if (code == 0)
        code = kubevirt_snapshot_find(r->conn, r->vm, name, r->version, r->deadline, &r->snapshot, err);
    if (code == 0 && !vmc_json_boolean(r->snapshot, "status.readyToUse", false)) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "the snapshot %s is not ready to use (%s)", name,
                  vmc_json_string(r->snapshot, "status.phase", "it has no state yet"));
        return vmc_error_next(err, "vmctl snapshot list %s shows which are", r->vm->name);
    }
    if (code == 0)
        code = kubevirt_snapshot_then(r->conn, r->vm, r->snapshot, r->version, r->deadline, &r->then, err);
    return code == 0 ? kubevirt_vm_state(r->conn, r->vm, r->deadline, state, &r->now, err) : code;
}

static int stop(reverting *r, vmctl_error **err) {
    vmc_note(r->deadline, VMCTL_NOTE_INFO, "%s is stopped for it", r->vm->name);
    int code = kubevirt_power_off(r->conn, r->vm, r->deadline, err);
    if (code < 0)
        return code;
    cJSON_Delete(r->now);
    r->now = NULL;
    return kubevirt_vm_get(r->conn, r->vm, r->deadline, &r->now, err);
}

/* --- the restore ------------------------------------------------------------------------------------------------------- */

/* KubeVirt tries again for ever, whatever is in the way: what that is stands in its conditions. */
static void note_trouble(reverting *r, const cJSON *object) {
    static const char *const usual[] = {"Initializing VirtualMachineRestore", "Waiting for target to be ready",
                                        "Creating new PVCs", "Updating target spec", "VM restore is deleting"};
    const cJSON *waits = kubevirt_condition(object, "Progressing", "False");
    const char *words = vmc_json_string(waits, "reason", NULL);
    for (size_t i = 0; words && i < sizeof usual / sizeof usual[0]; i++)
        if (strcmp(words, usual[i]) == 0)
            words = NULL;
    if (words && !vmc_str_eq(words, r->trouble))
        vmc_note(r->deadline, VMCTL_NOTE_WARNING, "KubeVirt cannot restore %s yet, and tries again: %s", r->vm->name,
                 words);
    free(r->trouble);
    r->trouble = vmc_strdup(words);
}

static int is_restored(const cJSON *object, void *user, vmctl_error **err) {
    reverting *r = user;
    if (!object)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the restore was deleted meanwhile");
    const cJSON *failed = kubevirt_condition(object, "Failure", "True");
    if (failed)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "the restore failed: %s",
                         vmc_json_string(failed, "message", vmc_json_string(failed, "reason", "no reason is given")));
    if (!vmc_json_boolean(object, "status.complete", false)) {
        note_trouble(r, object);
        return 0;
    }
    r->done = cJSON_Duplicate(object, true);
    return 1;
}

/* "VirtualMachineRestore "r1" in progress": somebody else's, or one that failed and was left. */
static int explain(const reverting *r, int code, vmctl_error **err) {
    const char *words = err && *err ? vmctl_error_message(*err) : "";
    if (code == VMCTL_E_INVALID_ARGUMENT && strstr(words, "in progress")) {
        vmc_error(err, VMCTL_E_BUSY, "another restore of %s is under way: %s", r->vm->name, words);
        return vmc_error_next(err, "wait for it; kubectl delete virtualmachinerestore calls one off that is stuck");
    }
    if (code == VMCTL_E_INVALID_ARGUMENT && r->options->in_place && strstr(words, "volumeRestorePolicy")) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "this cluster's KubeVirt restores to new claims only");
        return vmc_error_next(err, "leave --in-place out");
    }
    return code;
}

static int restore(reverting *r, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_snapshot_path(r->version, r->vm->namespace_name, RESTORES, NULL);
    VMC_AUTO_JSON *object = kubevirt_snapshot_new(r->version, "VirtualMachineRestore", r->name, r->vm, "spec.target");
    cJSON *spec = vmc_json_map(object, "spec");
    cJSON_AddStringToObject(spec, "virtualMachineSnapshotName", vmc_json_string(r->snapshot, "metadata.name", ""));
    /* What starts in between is stopped as what ran was, or left alone. */
    if (r->options->only_stopped || r->ran)
        cJSON_AddStringToObject(spec, "targetReadinessPolicy",
                                r->options->only_stopped ? "FailImmediate" : "StopTarget");
    if (r->options->in_place)
        cJSON_AddStringToObject(spec, "volumeRestorePolicy", "InPlace");
    VMC_AUTO_JSON *made = NULL;
    int code = kube_create(r->conn->client, path, object, NULL, r->deadline, &made, err);
    if (code < 0)
        return explain(r, code, err);
    const kubevirt_waiting waiting = {.name = r->name,
                                      .resource_version = vmc_json_string(made, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for the restore",
                                      .settled = is_restored,
                                      .user = r};
    code = kubevirt_wait_in(r->conn, r->vm, path, &waiting, r->deadline, err);
    if (code == VMCTL_E_TIMEOUT && r->trouble)
        vmc_error_append(err, "; KubeVirt says: %s", r->trouble);
    return code;
}

/* --- after ------------------------------------------------------------------------------------------------------------- */

static int set_strategy(const reverting *r, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_vm_path(r->vm);
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    cJSON_AddStringToObject(vmc_json_map(patch, "spec"), "runStrategy", r->strategy);
    for (int i = 1;; i++) {
        vmctl_error *why = NULL;
        int code = kube_patch(r->conn->client, path, patch, NULL, r->deadline, NULL, &why);
        if (code != VMCTL_E_CONFLICT || i == TRIES) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
        code = vmc_deadline_poll(r->deadline, -1, 0, PAUSE_MS, "waiting for KubeVirt to be done with the VM", err);
        if (code < 0)
            return code;
    }
}

/* A claim of the person's has another name now, and is the VM's: it would go with it, as those never do. */
static int free_claims(const reverting *r, vmctl_error **err) {
    const cJSON *made;
    cJSON_ArrayForEach(made, vmc_json_at(r->done, "status.restores")) {
        const char *claim = vmc_json_string(made, "persistentVolumeClaim", "");
        const char *disk = vmc_json_string(made, "volumeName", "");
        const cJSON *volume = kubevirt_volume_of(r->then, disk);
        const char *was =
            vmc_json_string(volume, "persistentVolumeClaim.claimName", vmc_json_string(volume, "dataVolume.name", ""));
        if (kubevirt_template_of(r->then, volume))
            continue;
        VMC_AUTO_FREE char *path = kube_path("", "v1", r->vm->namespace_name, "persistentvolumeclaims", claim, NULL);
        VMC_AUTO_JSON *patch = cJSON_CreateObject();
        cJSON_AddNullToObject(vmc_json_map(patch, "metadata"), "ownerReferences");
        int code = kube_patch(r->conn->client, path, patch, NULL, r->deadline, NULL, err);
        if (code < 0)
            return vmc_error_prefix(err, "disk %s", disk);
        if (strcmp(claim, was) != 0)
            vmc_note(r->deadline, VMCTL_NOTE_WARNING, "disk %s is on the claim %s now; %s stays as it is", disk, claim,
                     was);
    }
    return 0;
}

/* Done, it is no use to anybody any more. */
static void forget(const reverting *r) {
    VMC_AUTO_FREE char *own = kubevirt_snapshot_path(r->version, r->vm->namespace_name, RESTORES, r->name);
    vmctl_error *ignored = NULL;
    kube_delete(r->conn->client, own, &(kube_write_options){.unique = true}, r->deadline, NULL, &ignored);
    vmctl_error_free(ignored);
}

int kubevirt_snapshot_revert(void *opaque, void *handle, const char *name, const vmctl_snapshot_revert_options *options,
                             vmc_journal *journal, vmctl_error **err) {
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, REVERT_MS);
    AUTO_REVERTING r = {.conn = opaque, .vm = vm, .options = options, .deadline = &deadline};
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = look(&r, name, &state, err);
    if (code < 0)
        return code;
    kubevirt_snapshot_warn(r.now, r.snapshot, "stays as it is now, being in no snapshot", &deadline);
    r.ran = state != VMCTL_STATE_STOPPED && state != VMCTL_STATE_CRASHED;
    if (r.ran)
        code = stop(&r, err);
    if (code < 0)
        return code;
    r.strategy = vmc_strdup(kubevirt_strategy(r.now));
    r.name = vmc_printf("vmctl-%.8s-%llx", vm->uid, (unsigned long long)vmc_now_ms());
    VMC_AUTO_FREE char *detail =
        vmc_printf("%s/%s %s %s %s", vm->namespace_name, vm->name, vm->uid, r.strategy, r.name);
    code = vmc_journal_add(journal, "revert", detail, NULL, err);
    if (code == 0)
        code = prepare(&r, err);
    if (code == 0)
        code = restore(&r, err);
    if (code == 0 && strcmp(r.strategy, HALTED) != 0)
        code = set_strategy(&r, err);
    if (code == 0)
        code = free_claims(&r, err);
    if (code < 0)
        return code;
    tell_sizes(&r);
    forget(&r);
    if (!options->start)
        return 0;
    vmctl_call rest = vmc_deadline_call(&deadline);
    vmctl_start_options start = VMCTL_START_OPTIONS_INIT;
    start.call = &rest;
    return kubevirt_start(r.conn, vm, &start, err);
}

/* --- undo -------------------------------------------------------------------------------------------------------------- */

static int drop(kubevirt_conn *conn, const char *path, const vmc_deadline *deadline, vmctl_error **err) {
    vmctl_error *why = NULL;
    int code = kube_delete(conn->client, path, NULL, deadline, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNSUPPORTED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static bool is_used(const cJSON *vm, const char *claim) {
    const cJSON *volume;
    cJSON_ArrayForEach(volume, vmc_json_at(vm, "spec.template.spec.volumes")) {
        if (vmc_str_eq(vmc_json_string(volume, "persistentVolumeClaim.claimName", NULL), claim) ||
            vmc_str_eq(vmc_json_string(volume, "dataVolume.name", NULL), claim))
            return true;
    }
    return false;
}

/* Claims and data volumes of the restore that the VM does not have. Those that it overwrote are the VM's. */
static int drop_claims(kubevirt_conn *conn, const char *namespace_name, const cJSON *object, const cJSON *vm,
                       const vmc_deadline *deadline, vmctl_error **err) {
    const cJSON *made;
    cJSON_ArrayForEach(made, vmc_json_at(object, "status.restores")) {
        const char *claim = vmc_json_string(made, "persistentVolumeClaim", "");
        if (!*claim || is_used(vm, claim))
            continue;
        VMC_AUTO_FREE char *volume = kube_path(KUBEVIRT_CDI, "v1beta1", namespace_name, "datavolumes", claim, NULL);
        VMC_AUTO_FREE char *pvc = kube_path("", "v1", namespace_name, "persistentvolumeclaims", claim, NULL);
        int code = drop(conn, volume, deadline, err);
        if (code == 0)
            code = drop(conn, pvc, deadline, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int find_target(kubevirt_conn *conn, const char *namespace_name, const cJSON *restore,
                       const vmc_deadline *deadline, cJSON **vm, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", namespace_name, "virtualmachines",
                                         vmc_json_string(restore, "spec.target.name", ""), NULL);
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, vm, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int kubevirt_restore_cancel(kubevirt_conn *conn, const char *namespace_name, const char *version, const char *name,
                            const vmc_deadline *deadline, bool *made, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_snapshot_path(version, namespace_name, RESTORES, name);
    VMC_AUTO_FREE char *all = kubevirt_snapshot_path(version, namespace_name, RESTORES, NULL);
    VMC_AUTO_JSON *object = NULL;
    VMC_AUTO_JSON *vm = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, &object, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    const kubevirt_waiting waiting = {.name = name,
                                      .resource_version = vmc_json_string(object, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for the restore to be called off",
                                      .settled = kubevirt_is_gone};
    const kubevirt_vm named = {.namespace_name = (char *)namespace_name, .name = (char *)name};
    if (code == 0)
        code = drop(conn, path, deadline, &why);
    if (code == 0)
        code = kubevirt_wait_in(conn, &named, all, &waiting, deadline, &why);
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code == 0)
        code = find_target(conn, namespace_name, object, deadline, &vm, err);
    VMC_AUTO_FREE char *mark = vmc_printf("%s-%s", name, vmc_json_string(object, "metadata.uid", ""));
    bool restored = vmc_str_eq(vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), LAST_RESTORE), mark);
    if (made)
        *made = restored;
    return code == 0 ? drop_claims(conn, namespace_name, object, vm, deadline, err) : code;
}

/* The run strategy as it was, and the templates that were taken out for the restore, if that did not come to anything. */
static int put_back(kubevirt_conn *conn, kubevirt_vm *vm, const char *strategy, bool restored,
                    const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    vmctl_error *why = NULL;
    int code = kubevirt_vm_get(conn, vm, deadline, &now, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    if (code < 0) {
        vmc_error_move(err, &why);
        return code;
    }
    VMC_AUTO_JSON *left = kubevirt_left_disks(now);
    VMC_AUTO_JSON *templates = cJSON_Duplicate(vmc_json_at(now, "spec.dataVolumeTemplates"), true);
    if (!templates)
        templates = cJSON_CreateArray();
    int before = cJSON_GetArraySize(templates);
    for (int i = cJSON_GetArraySize(left) - 1; !restored && i >= 0; i--)
        if (volume_of_template(now, cJSON_GetArrayItem(left, i)))
            cJSON_AddItemToArray(templates, cJSON_DetachItemFromArray(left, i));
    if (strcmp(strategy, HALTED) != 0 && strcmp(kubevirt_strategy(now), HALTED) == 0)
        cJSON_AddStringToObject(vmc_json_map(patch, "spec"), "runStrategy", strategy);
    if (cJSON_GetArraySize(templates) > before) {
        VMC_AUTO_FREE char *text = cJSON_GetArraySize(left) ? cJSON_PrintUnformatted(left) : NULL;
        cJSON_AddItemToObject(vmc_json_map(patch, "spec"), "dataVolumeTemplates", cJSON_Duplicate(templates, true));
        cJSON *annotations = vmc_json_map(patch, "metadata.annotations");
        cJSON_AddItemToObject(annotations, KUBEVIRT_LEFT, text ? cJSON_CreateString(text) : cJSON_CreateNull());
    }
    if (!patch->child)
        return 0;
    VMC_AUTO_FREE char *path = kubevirt_vm_path(vm);
    return kube_patch(conn->client, path, patch, NULL, deadline, NULL, err);
}

/* revert NAMESPACE/NAME UID STRATEGY RESTORE */
int kubevirt_revert_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *copy = vmc_strdup(detail);
    char *rest = copy;
    char *namespace_name = strsep(&rest, "/"), *name = strsep(&rest, " "), *uid = strsep(&rest, " ");
    const char *strategy = strsep(&rest, " "), *version = NULL;
    if (!name || !uid || !strategy || !rest)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"revert %s\" cannot be read", detail);
    bool restored = false;
    kubevirt_vm vm = {.namespace_name = namespace_name, .name = name, .uid = uid};
    int code = kubevirt_snapshot_version(conn, deadline, &version, err);
    if (code == 0)
        code = kubevirt_restore_cancel(conn, namespace_name, version, rest, deadline, &restored, err);
    if (code < 0)
        return code;
    pthread_mutex_init(&vm.lock, NULL);
    code = put_back(conn, &vm, strategy, restored, deadline, err);
    pthread_mutex_destroy(&vm.lock);
    return code;
}
