/* Deleting a VM: what its data volume templates made goes with it, unless it shall stay. */
#include "snapshot.h"

#include "backends/shared/removal.h"

#include <stdlib.h>
#include <string.h>

enum { MADE_MS = 30000, MOST_RACES = 10 };

/* --- disks ------------------------------------------------------------------------------------------------------------- */

static char *data_volume_path(const kubevirt_vm *vm, const char *name) {
    return kube_path(KUBEVIRT_CDI, "v1beta1", vm->namespace_name, "datavolumes", name, NULL);
}

static bool is_managed(const cJSON *object) {
    return vmc_json_key_string(vmc_json_at(object, "metadata.annotations"), KUBEVIRT_CREATED) != NULL;
}

static int ignore_missing(int code, vmctl_error **why, vmctl_error **err) {
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_UNSUPPORTED) { /* gone; or there is no CDI */
        vmctl_error_free(*why);
        *why = NULL;
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, why);
    return code;
}

static int is_made(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    (void)err;
    return object != NULL;
}

/* virt-controller makes what a template says some moments after the VM was made; then it would have the owner, and go with the VM. */
static int wait_made(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                     vmctl_error **err) {
    bool there = false;
    int code = kubevirt_claim_exists(conn, vm->namespace_name, name, deadline, &there, err);
    if (code < 0 || there)
        return code;
    VMC_AUTO_FREE char *all = data_volume_path(vm, NULL);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for disk %s to be made", name);
    vmc_deadline within = vmc_deadline_within(deadline, MADE_MS);
    const kubevirt_waiting waiting = {.name = name, .doing = doing, .settled = is_made, .awaited = true};
    vmctl_error *why = NULL;
    code = kubevirt_wait_in(conn, vm, all, &waiting, &within, &why);
    if (code == VMCTL_E_TIMEOUT && vmc_deadline_left(deadline) != 0) { /* nobody makes it: there is nothing to keep */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* What the VM's templates made, and what of it a revert took off. cJSON_Delete */
static cJSON *own_disks(const cJSON *object) {
    cJSON *all = cJSON_CreateArray();
    VMC_AUTO_JSON *left = kubevirt_left_disks(object);
    const cJSON *template;
    cJSON_ArrayForEach(template, vmc_json_at(object, "spec.dataVolumeTemplates")) {
        cJSON_AddItemToArray(all, cJSON_Duplicate(template, true));
    }
    cJSON_ArrayForEach(template, left) {
        cJSON_AddItemToArray(all, cJSON_Duplicate(template, true));
    }
    return all;
}

/* Templates of the VM and who uses what they made besides it: others[i] NULL for nobody. */
typedef struct shared_disks {
    const kubevirt_vm *vm;
    const cJSON *templates;
    char **others;
    int count;
} shared_disks;

static void shared_free(shared_disks *s) {
    for (int i = 0; i < s->count; i++)
        free(s->others[i]);
    free(s->others);
}
#define AUTO_SHARED vmc_cleanup(shared_free) shared_disks

static int note_users(cJSON **item, void *user) {
    shared_disks *s = user;
    const cJSON *volume;
    const char *name = vmc_json_string(*item, "metadata.name", "");
    if (strcmp(name, s->vm->name) == 0)
        return 0;
    cJSON_ArrayForEach(volume, vmc_json_at(*item, "spec.template.spec.volumes")) {
        const char *claim =
            vmc_json_string(volume, "persistentVolumeClaim.claimName", vmc_json_string(volume, "dataVolume.name", ""));
        for (int i = 0; i < s->count; i++) {
            const cJSON *template = cJSON_GetArrayItem(s->templates, i);
            if (!s->others[i] && strcmp(vmc_json_string(template, "metadata.name", ""), claim) == 0)
                s->others[i] = vmc_strdup(name);
        }
    }
    return 0;
}

/* Asks for the VMs of the namespace only where the VM brought disks with it. */
static int find_shared(kubevirt_conn *conn, shared_disks *s, const vmc_deadline *deadline, vmctl_error **err) {
    s->count = cJSON_GetArraySize(s->templates);
    s->others = vmc_alloc(((size_t)s->count + 1) * sizeof *s->others);
    if (!s->count)
        return 0;
    VMC_AUTO_FREE char *collection = kubevirt_collection("virtualmachines", s->vm->namespace_name);
    return kube_list(conn->client, collection, NULL, deadline, note_users, s, err);
}

/* Whether anything of what the VM brought with it stays. */
static bool keeps_some(const shared_disks *s, bool all) {
    bool some = all && s->count > 0;
    for (int i = 0; i < s->count; i++)
        some = some || s->others[i];
    return some;
}

/* all: every disk that the VM brought with it stays, else those that others use. Before the VM goes, and (gone) after. */
static int keep_templates(kubevirt_conn *conn, const shared_disks *s, bool all, bool gone, const vmc_deadline *deadline,
                          vmctl_error **err) {
    int code = 0;
    for (int i = 0; code == 0 && i < s->count; i++) {
        const char *name = vmc_json_string(cJSON_GetArrayItem(s->templates, i), "metadata.name", "");
        if (!all && !s->others[i])
            continue;
        if (!gone)
            code = wait_made(conn, s->vm, name, deadline, err);
        else if (s->others[i])
            vmc_note(deadline, VMCTL_NOTE_WARNING, "disk %s/%s stays: %s uses it too", s->vm->namespace_name, name,
                     s->others[i]);
        else
            vmc_note(deadline, VMCTL_NOTE_INFO, "the disk %s/%s stays", s->vm->namespace_name, name);
    }
    return code;
}

/* --- a second owner ---------------------------------------------------------------------------------------------------- */

/* Kubernetes deletes what none of its owners is left of. A disk that stays has its namespace for an owner while the VM goes, and everything else
 * goes with the VM as it would have. To let go of the disk beforehand will not do: virt-controller would take it for the VM again. Source:
 * Kubernetes, "Owners and Dependents", "Garbage Collection". */
typedef enum holding { HOLD, LET_GO, LET_GO_OF_BOTH } holding;

/* Whether the references change. */
static bool change_owners(cJSON *owners, const kubevirt_vm *vm, const char *namespace_uid, holding how) {
    bool of_vm = false;
    bool held = false;
    bool changed = false;
    for (cJSON *owner = owners->child, *next; owner; owner = next) {
        const char *uid = vmc_json_string(owner, "uid", "");
        bool is_vm = strcmp(uid, vm->uid) == 0;
        bool is_namespace = strcmp(uid, namespace_uid) == 0;
        next = owner->next;
        of_vm = of_vm || is_vm;
        held = held || is_namespace;
        if (how == HOLD || !(is_namespace || (is_vm && how == LET_GO_OF_BOTH)))
            continue;
        cJSON_Delete(cJSON_DetachItemViaPointer(owners, owner));
        changed = true;
    }
    if (how != HOLD || !of_vm || held)
        return changed;
    cJSON *owner = cJSON_CreateObject();
    cJSON_AddStringToObject(owner, "apiVersion", "v1");
    cJSON_AddStringToObject(owner, "kind", "Namespace");
    cJSON_AddStringToObject(owner, "name", vm->namespace_name);
    cJSON_AddStringToObject(owner, "uid", namespace_uid);
    cJSON_AddItemToArray(owners, owner);
    return true;
}

static int hold_object(kubevirt_conn *conn, const kubevirt_vm *vm, const char *path, const char *namespace_uid,
                       holding how, const vmc_deadline *deadline, vmctl_error **err) {
    int code = VMCTL_E_CONFLICT;
    for (int tries = 0; code == VMCTL_E_CONFLICT && tries < MOST_RACES; tries++) { /* its controllers write, too */
        VMC_AUTO_JSON *object = NULL;
        VMC_AUTO_JSON *patch = cJSON_CreateObject();
        vmctl_error *why = NULL;
        code = kube_get(conn->client, path, deadline, &object, &why);
        const cJSON *has = vmc_json_at(object, "metadata.ownerReferences");
        cJSON *owners = has ? cJSON_Duplicate(has, true) : cJSON_CreateArray();
        cJSON *metadata = vmc_json_map(patch, "metadata");
        cJSON_AddItemToObject(metadata, "ownerReferences", owners);
        cJSON_AddStringToObject(metadata, "resourceVersion", vmc_json_string(object, "metadata.resourceVersion", ""));
        if (code == 0 && change_owners(owners, vm, namespace_uid, how))
            code = kube_patch(conn->client, path, patch, NULL, deadline, NULL, &why);
        if (code == VMCTL_E_CONFLICT && tries < MOST_RACES - 1)
            vmctl_error_free(why);
        else
            code = ignore_missing(code, &why, err);
    }
    return code;
}

/* Of every disk that stays. The data volume, and the claim: CDI may have let the volume go, and then that is the VM's. */
static int hold(kubevirt_conn *conn, const shared_disks *s, bool all, const char *namespace_uid, holding how,
                const vmc_deadline *deadline, vmctl_error **err) {
    int code = 0;
    for (int i = 0; code == 0 && namespace_uid && i < s->count; i++) {
        const char *name = vmc_json_string(cJSON_GetArrayItem(s->templates, i), "metadata.name", "");
        VMC_AUTO_FREE char *volume = data_volume_path(s->vm, name);
        VMC_AUTO_FREE char *claim = kube_path("", "v1", s->vm->namespace_name, "persistentvolumeclaims", name, NULL);
        if (!all && !s->others[i])
            continue;
        code = hold_object(conn, s->vm, volume, namespace_uid, how, deadline, err);
        if (code == 0)
            code = hold_object(conn, s->vm, claim, namespace_uid, how, deadline, err);
    }
    return code;
}

/* *uid (free) NULL: this user may not look at namespaces. */
static int find_namespace(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, char **uid,
                          vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", NULL, "namespaces", vm->namespace_name, NULL);
    VMC_AUTO_JSON *object = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, &object, &why);
    if (code == VMCTL_E_PERMISSION_DENIED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code == 0)
        *uid = vmc_strdup(vmc_json_string(object, "metadata.uid", ""));
    return code;
}

/* --- what Kubernetes lets go of, too ----------------------------------------------------------------------------------- */

typedef struct own_snapshots {
    const kubevirt_vm *vm;
    vmc_strv names;
} own_snapshots;

static int note_snapshot(cJSON **item, void *user) {
    own_snapshots *own = user;
    const kubevirt_vm *vm = own->vm;
    const char *source = vmc_json_string(*item, "spec.source.name", "");
    if (strcmp(source, vm->name) == 0 && strcmp(vmc_json_string(*item, "status.sourceUID", vm->uid), vm->uid) == 0)
        vmc_strv_add(&own->names, vmc_json_string(*item, "metadata.name", ""));
    return 0;
}

/* vmctl's go with the VM, also where everything that the VM owned was let go of. */
static int remove_snapshots(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline,
                            vmctl_error **err) {
    static const char *const managed[] = {"labelSelector", KUBEVIRT_LABEL_MANAGED "=vmctl", NULL};
    const char *version = NULL;
    own_snapshots own = {.vm = vm};
    vmctl_error *why = NULL;
    int code = kubevirt_snapshot_version(conn, deadline, &version, &why);
    VMC_AUTO_FREE char *all =
        code == 0 ? kubevirt_snapshot_path(version, vm->namespace_name, "virtualmachinesnapshots", NULL) : NULL;
    if (code == 0)
        code =
            kube_list(conn->client, all, &(kube_list_options){.query = managed}, deadline, note_snapshot, &own, &why);
    for (size_t i = 0; code >= 0 && i < own.names.count; i++) {
        VMC_AUTO_FREE char *path =
            kubevirt_snapshot_path(version, vm->namespace_name, "virtualmachinesnapshots", own.names.items[i]);
        code = ignore_missing(kube_delete(conn->client, path, NULL, deadline, NULL, &why), &why, &why);
    }
    vmc_strv_free(&own.names);
    return ignore_missing(code < 0 ? code : 0, &why, err);
}

/* The garbage collector would do it some time later; then a VM of that name could not be made anew at once. */
static int remove_templates(kubevirt_conn *conn, const shared_disks *s, const vmctl_delete_options *options,
                            const vmc_deadline *deadline, vmctl_error **err) {
    const kubevirt_vm *vm = s->vm;
    for (int i = 0; i < s->count; i++) {
        const char *name = vmc_json_string(cJSON_GetArrayItem(s->templates, i), "metadata.name", "");
        if (s->others[i])
            continue;
        VMC_AUTO_FREE char *path = data_volume_path(vm, name);
        VMC_AUTO_FREE char *shown = vmc_printf("%s/%s", vm->namespace_name, name);
        vmctl_error *why = NULL;
        int code = kube_delete(conn->client, path, NULL, deadline, NULL, &why);
        if (code == VMCTL_E_PERMISSION_DENIED) /* it is the collector's then */
            code = VMCTL_E_NOT_FOUND;
        code = ignore_missing(code, &why, err);
        if (code < 0)
            return code;
        if (options->removed)
            options->removed("disk", shown, options->user);
    }
    return 0;
}

/* --disks: claims that others made, too, unless another VM uses them. */
static int remove_claim(kubevirt_conn *conn, const kubevirt_vm *vm, const char *claim,
                        const vmctl_delete_options *options, const vmc_deadline *deadline, vmctl_error **err) {
    kubevirt_claim_user user = {.except = vm->name, .claim = claim};
    VMC_AUTO_FREE char *shown = vmc_printf("%s/%s", vm->namespace_name, claim);
    int code = kubevirt_find_claim_user(conn, vm->namespace_name, &user, deadline, err);
    VMC_AUTO_FREE char *other = user.name;
    if (code < 0)
        return code;
    if (other) {
        vmc_note(deadline, VMCTL_NOTE_WARNING, "disk %s stays: %s uses it too", shown, other);
        return 0;
    }
    /* A claim of a data volume goes with that. */
    VMC_AUTO_FREE char *data_volume = data_volume_path(vm, claim);
    VMC_AUTO_FREE char *pvc = kube_path("", "v1", vm->namespace_name, "persistentvolumeclaims", claim, NULL);
    const char *const paths[] = {data_volume, pvc};
    for (size_t i = 0; code == 0 && i < 2; i++) {
        vmctl_error *why = NULL;
        code = ignore_missing(kube_delete(conn->client, paths[i], NULL, deadline, NULL, &why), &why, err);
    }
    if (code == 0 && options->removed)
        options->removed("disk", shown, options->user);
    return code;
}

static int remove_claims(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *object,
                         const vmctl_delete_options *options, const vmc_deadline *deadline, vmctl_error **err) {
    const cJSON *volume;
    int code = 0;
    cJSON_ArrayForEach(volume, vmc_json_at(object, "spec.template.spec.volumes")) {
        const char *claim = vmc_json_string(volume, "persistentVolumeClaim.claimName", NULL);
        if (!claim && !kubevirt_template_of(object, volume))
            claim = vmc_json_string(volume, "dataVolume.name", NULL);
        if (claim && code == 0)
            code = remove_claim(conn, vm, claim, options, deadline, err);
    }
    return code;
}

/* Those that vmctl made carry the VM's uid as their owner; here by name, as the collector comes later. */
static int remove_secrets(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *object, const vmc_deadline *deadline,
                          vmctl_error **err) {
    static const char *const paths[] = {"cloudInitNoCloud.secretRef.name", "cloudInitConfigDrive.secretRef.name",
                                        "sysprep.secret.name"};
    const cJSON *volume;
    cJSON_ArrayForEach(volume, vmc_json_at(object, "spec.template.spec.volumes")) {
        for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
            const char *name = vmc_json_string(volume, paths[i], NULL);
            VMC_AUTO_FREE char *own = vmc_printf("%s-%s", vm->name, i < 2 ? "cloudinit" : "sysprep");
            if (!name || strcmp(name, own) != 0)
                continue;
            VMC_AUTO_FREE char *path = kube_path("", "v1", vm->namespace_name, "secrets", name, NULL);
            vmctl_error *why = NULL;
            int code = kube_delete(conn->client, path, NULL, deadline, NULL, &why);
            if (code == VMCTL_E_PERMISSION_DENIED)
                code = VMCTL_E_NOT_FOUND;
            code = ignore_missing(code, &why, err);
            if (code < 0)
                return code;
        }
    }
    return 0;
}

/* --- the VM ------------------------------------------------------------------------------------------------------------ */

static int check_stopped(const kubevirt_vm *vm, vmctl_state state, vmctl_error **err) {
    bool off = state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_CRASHED;
    return vmc_removal_check(vm->name, off ? NULL : vmctl_state_name(state), false, err);
}

static int is_gone(const cJSON *object, void *user, vmctl_error **err) {
    const char *uid = user;
    (void)err;
    return !object || strcmp(vmc_json_string(object, "metadata.uid", uid), uid) != 0;
}

static char *finalizers_of(const cJSON *object) {
    VMC_AUTO_STRV names = {0};
    const cJSON *name;
    cJSON_ArrayForEach(name, vmc_json_at(object, "metadata.finalizers")) {
        if (cJSON_IsString(name))
            vmc_strv_add(&names, name->valuestring);
    }
    return names.count ? vmc_strv_join(&names, ", ") : NULL;
}

/* The object stays until its finalizers are through; it is gone when the watch says so. */
static int wait_gone(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *leaving, const vmc_deadline *deadline,
                     vmctl_error **err) {
    const char *version = vmc_json_string(leaving, "metadata.resourceVersion", NULL);
    bool held = vmc_str_eq(vmc_json_string(leaving, "kind", NULL), "VirtualMachine") &&
                cJSON_GetArraySize(vmc_json_at(leaving, "metadata.finalizers")) > 0;
    if (!held || !version)
        return 0;
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to be gone", vm->name);
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = vm->name,
                                      .resource_version = version,
                                      .doing = doing,
                                      .settled = is_gone,
                                      .user = vm->uid};
    int code = kubevirt_wait(conn, vm, &waiting, deadline, err);
    if (code != VMCTL_E_TIMEOUT)
        return code;
    VMC_AUTO_FREE char *finalizers = finalizers_of(leaving);
    vmc_error_append(err, "; it is being deleted and held by %s", finalizers ? finalizers : "its finalizers");
    return vmc_error_next(err, "the node of its pod may be away: vmctl events %s", vm->name);
}

/* orphan: all that it owns is let go of by Kubernetes itself, while the VM is being deleted: where disks stay and cannot have another owner. Source:
 * Kubernetes, "Garbage Collection". */
static int delete_vm(kubevirt_conn *conn, const kubevirt_vm *vm, bool orphan, const vmc_deadline *deadline,
                     vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_vm_path(vm);
    VMC_AUTO_JSON *leaving = NULL;
    const kube_write_options options = {.uid = vm->uid, .propagation = orphan ? "Orphan" : NULL};
    int code = kube_delete(conn->client, path, &options, deadline, &leaving, err);
    if (code == VMCTL_E_CONFLICT)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the VM %s is gone, and another of its name is there", vm->name);
    return code < 0 ? code : wait_gone(conn, vm, leaving, deadline, err);
}

/* The VM, with what of its disks stays held. */
static int remove_vm(kubevirt_conn *conn, const shared_disks *s, bool keep, const char *namespace_uid, bool orphan,
                     const vmc_deadline *deadline, vmctl_error **err) {
    int code = hold(conn, s, keep, namespace_uid, HOLD, deadline, err);
    if (code == 0)
        code = delete_vm(conn, s->vm, orphan, deadline, err);
    if (code == 0)
        return hold(conn, s, keep, namespace_uid, LET_GO_OF_BOTH, deadline, err);
    if (vmc_outcome_unknown(code)) /* it is going, and they must stay */
        return code;
    vmc_deadline own = vmc_deadline_start(NULL, KUBEVIRT_ASK_MS);
    vmctl_error *why = NULL;
    if (hold(conn, s, keep, namespace_uid, LET_GO, &own, &why) < 0)
        vmc_error_append(err, "; its disks have the namespace as a second owner now: %s", vmctl_error_message(why));
    vmctl_error_free(why);
    return code;
}

int kubevirt_remove(void *opaque, void *handle, const vmctl_delete_options *options, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ACT_MS);
    VMC_AUTO_JSON *object = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    int code = kubevirt_vm_state(conn, vm, &deadline, &state, &object, err);
    if (code == 0 && !options->force)
        code = check_stopped(vm, state, err);
    if (code == 0 && options->force && state != VMCTL_STATE_STOPPED && state != VMCTL_STATE_CRASHED)
        code = kubevirt_power_off(conn, vm, &deadline, err);
    bool own = is_managed(object) || options->disks == VMCTL_DELETE_ALL_DISKS;
    bool keep = options->disks == VMCTL_DELETE_KEEP_DISKS || !own;
    VMC_AUTO_JSON *disks = own_disks(object);
    AUTO_SHARED shared = {.vm = vm, .templates = disks};
    if (code == 0)
        code = find_shared(conn, &shared, &deadline, err);
    bool keeps = keeps_some(&shared, keep);
    VMC_AUTO_FREE char *namespace_uid = NULL;
    if (code == 0 && keeps)
        code = find_namespace(conn, vm, &deadline, &namespace_uid, err);
    if (code == 0)
        code = keep_templates(conn, &shared, keep, false, &deadline, err);
    bool orphan = keeps && !namespace_uid;
    if (code == 0)
        code = remove_vm(conn, &shared, keep, namespace_uid, orphan, &deadline, err);
    if (code == 0)
        code = keep_templates(conn, &shared, keep, true, &deadline, err);
    if (code == 0 && orphan)
        code = remove_snapshots(conn, vm, &deadline, err);
    if (code == 0 && !keep)
        code = remove_templates(conn, &shared, options, &deadline, err);
    if (code == 0 && options->disks == VMCTL_DELETE_ALL_DISKS)
        code = remove_claims(conn, vm, object, options, &deadline, err);
    if (code == 0 && is_managed(object))
        code = remove_secrets(conn, vm, object, &deadline, err);
    return code;
}
