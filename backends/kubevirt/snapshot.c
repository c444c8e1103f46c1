/* Snapshots: VirtualMachineSnapshot. They hold the disks that their storage can snapshot, and no memory. */
#include "snapshot.h"

#include <stdlib.h>
#include <string.h>

#define GROUP        "snapshot.kubevirt.io"
#define NAME_KEY     "vmctl.dev/name" /* annotation: what the VM's owner calls it, where the object has another name */
#define NO_SNAPSHOTS "the gate Snapshot of the KubeVirt object turns it on"
enum { NAME_LIMIT = 63, SNAPSHOT_MS = 600000 };

static const char *const versions[] = {"v1", "v1beta1", "v1alpha1", NULL};

int kubevirt_snapshot_version(kubevirt_conn *conn, const vmc_deadline *deadline, const char **version,
                              vmctl_error **err) {
    return kubevirt_version_of(conn, GROUP, versions, NO_SNAPSHOTS, deadline, version, err);
}

char *kubevirt_snapshot_path(const char *version, const char *namespace_name, const char *plural, const char *name) {
    return kube_path(GROUP, version, namespace_name, plural, name, NULL);
}

cJSON *kubevirt_snapshot_new(const char *version, const char *kind, const char *name, const kubevirt_vm *vm,
                             const char *path) {
    cJSON *object = cJSON_CreateObject();
    VMC_AUTO_FREE char *api = vmc_printf("%s/%s", GROUP, version);
    cJSON_AddStringToObject(object, "apiVersion", api);
    cJSON_AddStringToObject(object, "kind", kind);
    cJSON_AddStringToObject(vmc_json_map(object, "metadata"), "name", name);
    cJSON_AddStringToObject(vmc_json_map(object, "metadata"), "namespace", vm->namespace_name);
    cJSON *to = vmc_json_map(object, path);
    cJSON_AddStringToObject(to, "apiGroup", KUBEVIRT_GROUP);
    cJSON_AddStringToObject(to, "kind", "VirtualMachine");
    cJSON_AddStringToObject(to, "name", vm->name);
    return object;
}

static const char *shown_name(const cJSON *snapshot) {
    const char *name = vmc_json_key_string(vmc_json_at(snapshot, "metadata.annotations"), NAME_KEY);
    return name ? name : vmc_json_string(snapshot, "metadata.name", "");
}

/* --- telling ----------------------------------------------------------------------------------------------------------- */

static bool has_indication(const cJSON *snapshot, const char *word) {
    const cJSON *item;
    cJSON_ArrayForEach(item, vmc_json_at(snapshot, "status.indications")) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, word) == 0)
            return true;
    }
    return false;
}

static int tell_snapshot(const cJSON *object, vmctl_snapshot_fn each, void *user) {
    VMC_AUTO_STRV excluded = {0};
    const cJSON *volume;
    cJSON_ArrayForEach(volume, vmc_json_at(object, "status.snapshotVolumes.excludedVolumes")) {
        if (cJSON_IsString(volume))
            vmc_strv_add(&excluded, volume->valuestring);
    }
    bool online = has_indication(object, "Online");
    const vmctl_snapshot snapshot = {
        .size = sizeof snapshot,
        .name = shown_name(object),
        .id = vmc_json_string(object, "metadata.uid", NULL),
        .description = vmc_json_key_string(vmc_json_at(object, "metadata.annotations"), KUBEVIRT_DESCRIPTION),
        .created = kubevirt_time_of(vmc_json_string(object, "status.creationTime",
                                                    vmc_json_string(object, "metadata.creationTimestamp", NULL))),
        .state =
            online ? has_indication(object, "Paused") ? VMCTL_STATE_PAUSED : VMCTL_STATE_RUNNING : VMCTL_STATE_STOPPED,
        .quiesced = online ? has_indication(object, "GuestAgent") && !has_indication(object, "QuiesceTimeout") : 1,
        .external = true,
        .excluded = excluded.count ? (const char *const *)excluded.items : NULL,
    };
    return each ? each(&snapshot, user) != 0 : 0;
}

/* --- finding ----------------------------------------------------------------------------------------------------------- */

typedef struct gathering {
    const kubevirt_vm *vm;
    cJSON *all; /* a list */
} gathering;

static int keep_own(cJSON **item, void *user) {
    gathering *g = user;
    const char *source = vmc_json_string(*item, "spec.source.name", "");
    const char *uid = vmc_json_string(*item, "status.sourceUID", g->vm->uid);
    if (strcmp(source, g->vm->name) != 0 || strcmp(uid, g->vm->uid) != 0 ||
        strcmp(vmc_json_string(*item, "spec.source.kind", "VirtualMachine"), "VirtualMachine") != 0)
        return 0;
    cJSON_AddItemToArray(g->all, *item);
    *item = NULL;
    return 0;
}

static int by_time(const void *a, const void *b) {
    const char *left = vmc_json_string(*(cJSON *const *)a, "metadata.creationTimestamp", "");
    const char *right = vmc_json_string(*(cJSON *const *)b, "metadata.creationTimestamp", "");
    return strcmp(left, right);
}

/* Oldest first. *out: cJSON_Delete. */
static int all_of(kubevirt_conn *conn, const kubevirt_vm *vm, const char *version, const vmc_deadline *deadline,
                  cJSON **out, vmctl_error **err) {
    gathering g = {.vm = vm, .all = cJSON_CreateArray()};
    VMC_AUTO_FREE char *path = kubevirt_snapshot_path(version, vm->namespace_name, "virtualmachinesnapshots", NULL);
    int code = kube_list(conn->client, path, NULL, deadline, keep_own, &g, err);
    int count = cJSON_GetArraySize(g.all);
    VMC_AUTO_FREE cJSON **sorted = vmc_alloc(((size_t)count + 1) * sizeof(void *));
    for (int i = 0; i < count; i++)
        sorted[i] = cJSON_DetachItemFromArray(g.all, 0);
    qsort(sorted, (size_t)count, sizeof(void *), by_time);
    for (int i = 0; i < count; i++)
        cJSON_AddItemToArray(g.all, sorted[i]);
    if (code < 0) {
        cJSON_Delete(g.all);
        return code;
    }
    *out = g.all;
    return 0;
}

int kubevirt_snapshot_find(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const char *version,
                           const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    VMC_AUTO_JSON *all = NULL;
    int code = all_of(conn, vm, version, deadline, &all, err);
    if (code < 0)
        return code;
    VMC_AUTO_STRV names = {0};
    cJSON *snapshot;
    cJSON_ArrayForEach(snapshot, all) {
        vmc_strv_add(&names, shown_name(snapshot));
        if (strcmp(shown_name(snapshot), name) == 0) {
            *out = cJSON_DetachItemViaPointer(all, snapshot);
            return 0;
        }
    }
    const char *near = names.count ? vmc_nearest(name, (const char *const *)names.items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no snapshot %s", vm->name, name);
    return near ? vmc_error_next(err, "did you mean %s?", near)
                : vmc_error_next(err, "vmctl snapshot list %s shows them", vm->name);
}

int kubevirt_snapshot_list(void *opaque, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                           vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    const char *version = NULL;
    VMC_AUTO_JSON *all = NULL;
    int code = kubevirt_snapshot_version(conn, &deadline, &version, err);
    if (code == 0)
        code = all_of(conn, vm, version, &deadline, &all, err);
    const cJSON *snapshot;
    cJSON_ArrayForEach(snapshot, all) {
        if (tell_snapshot(snapshot, each, user))
            break;
    }
    return code;
}

int kubevirt_snapshot_then(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *snapshot, const char *version,
                           const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    VMC_AUTO_FREE char *path =
        kubevirt_snapshot_path(version, vm->namespace_name, "virtualmachinesnapshotcontents",
                               vmc_json_string(snapshot, "status.virtualMachineSnapshotContentName", "none"));
    VMC_AUTO_JSON *content = NULL;
    int code = kube_get(conn->client, path, deadline, &content, err);
    if (code == VMCTL_E_NOT_FOUND)
        return vmc_error(err, code, "what the snapshot %s held is gone from the cluster", shown_name(snapshot));
    if (code == 0)
        *out = cJSON_Duplicate(vmc_json_at(content, "spec.source.virtualMachine"), true);
    return code == 0 && !*out ? vmc_error(err, VMCTL_E_INTERNAL, "the snapshot holds no VM") : code;
}

/* --- counting ---------------------------------------------------------------------------------------------------------- */

static int count_one(cJSON **item, void *user) {
    const char *uid = vmc_json_string(*item, "status.sourceUID", NULL);
    if (uid)
        vmc_json_put(user, uid, cJSON_CreateNumber((double)vmc_json_integer(user, uid, 0) + 1));
    return 0;
}

int kubevirt_snapshots_count(kubevirt_conn *conn, const char *namespace_name, const vmc_deadline *deadline,
                             cJSON **counts, vmctl_error **err) {
    const char *version = NULL;
    vmctl_error *why = NULL;
    VMC_AUTO_JSON *found = cJSON_CreateObject();
    int code = kubevirt_snapshot_version(conn, deadline, &version, &why);
    if (code == 0) {
        VMC_AUTO_FREE char *path = kubevirt_snapshot_path(version, namespace_name, "virtualmachinesnapshots", NULL);
        code = kube_list(conn->client, path, NULL, deadline, count_one, found, &why);
    }
    if (code == VMCTL_E_UNSUPPORTED || code == VMCTL_E_PERMISSION_DENIED) { /* a fact that is not given */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code == 0)
        *counts = cJSON_Duplicate(found, true);
    return code;
}

int kubevirt_snapshots_of(const cJSON *counts, const cJSON *vm) {
    return counts ? (int)vmc_json_integer(counts, vmc_json_string(vm, "metadata.uid", ""), 0) : -1;
}

/* --- create ------------------------------------------------------------------------------------------------------------ */

bool kubevirt_names_have(const cJSON *names, const char *name) {
    const cJSON *item;
    cJSON_ArrayForEach(item, names) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, name) == 0)
            return true;
    }
    return false;
}

/* Of the VM's own status, which lags: a claim that is not there yet will be. */
static const char *final_reason(const cJSON *status) {
    const char *why = vmc_json_string(status, "reason", "");
    bool final = vmc_starts_with(why, "No VolumeSnapshotClass") || vmc_starts_with(why, "Snapshot is not supported");
    return !vmc_json_boolean(status, "enabled", false) && final ? why : NULL;
}

const char *kubevirt_no_snapshot(const cJSON *vm, const char *volume) {
    const cJSON *status = vmc_json_item(vmc_json_at(vm, "status.volumeSnapshotStatuses"), volume);
    return status ? final_reason(status) : NULL;
}

int kubevirt_snapshot_check(const kubevirt_vm *vm, const cJSON *object, bool memory, bool quiesce, vmctl_error **err) {
    if (memory) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "a snapshot of KubeVirt holds disks and no memory");
        return vmc_error_next(err, "leave --memory out");
    }
    bool running = vmc_json_boolean(object, "status.created", false);
    if (quiesce && running && !kubevirt_condition(object, "AgentConnected", "True")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "no agent answers in %s that could freeze its file systems", vm->name);
        return vmc_error_next(err, "install qemu-guest-agent in the guest, or leave --quiesce out");
    }
    return 0;
}

static int is_taken(const cJSON *object, void *user, vmctl_error **err) {
    cJSON **last = user;
    const char *phase = vmc_json_string(object, "status.phase", "");
    if (!object)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the snapshot was deleted meanwhile");
    if (strcmp(phase, "Failed") == 0) {
        const cJSON *why = kubevirt_condition(object, "Failure", "True");
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "the snapshot failed: %s",
                         vmc_json_string(object, "status.error.message",
                                         vmc_json_string(why, "reason", "KubeVirt gives no reason")));
    }
    if (!vmc_json_boolean(object, "status.readyToUse", false))
        return 0;
    cJSON_Delete(*last);
    *last = cJSON_Duplicate(object, true);
    return 1;
}

/* What stands in the definition and is made anew from it. */
static bool is_seed(const char *volume) {
    return strcmp(volume, "cloudinit") == 0 || strcmp(volume, "sysprep") == 0;
}

void kubevirt_snapshot_warn(const cJSON *vm, const cJSON *snapshot, const char *what, const vmc_deadline *deadline) {
    const cJSON *volume;
    cJSON_ArrayForEach(volume, vmc_json_at(snapshot, "status.snapshotVolumes.excludedVolumes")) {
        if (!cJSON_IsString(volume) || is_seed(volume->valuestring))
            continue;
        const char *why = kubevirt_no_snapshot(vm, volume->valuestring);
        vmc_note(deadline, VMCTL_NOTE_WARNING, "disk %s %s: %s", volume->valuestring, what,
                 why ? why : "its storage has no snapshots");
    }
}

/* What is not in it would be missed only when it is needed. */
static void warn(const cJSON *vm, const cJSON *snapshot, const vmc_deadline *deadline) {
    kubevirt_snapshot_warn(vm, snapshot, "is not in the snapshot", deadline);
    bool none = cJSON_GetArraySize(vmc_json_at(snapshot, "status.snapshotVolumes.excludedVolumes")) > 0 &&
                cJSON_GetArraySize(vmc_json_at(snapshot, "status.snapshotVolumes.includedVolumes")) == 0;
    if (none)
        vmc_note(deadline, VMCTL_NOTE_WARNING, "the snapshot holds no disk at all, only how the VM is defined");
    if (has_indication(snapshot, "QuiesceTimeout"))
        vmc_note(deadline, VMCTL_NOTE_WARNING, "the guest did not freeze its file systems in time");
}

/* The name is the VM's owner's; where another VM has an object of that name, this one's gets the VM's name before it. */
static int post(kubevirt_conn *conn, const kubevirt_vm *vm, const char *version, const char *name, cJSON *object,
                const vmc_deadline *deadline, cJSON **made, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_snapshot_path(version, vm->namespace_name, "virtualmachinesnapshots", NULL);
    vmctl_error *why = NULL;
    int code = kubevirt_is_label_name(name) ? kube_create(conn->client, path, object, NULL, deadline, made, &why)
                                            : VMCTL_E_ALREADY_EXISTS;
    if (code == VMCTL_E_ALREADY_EXISTS) {
        vmctl_error_free(why);
        why = NULL;
        VMC_AUTO_FREE char *label = kubevirt_label_value(name);
        VMC_AUTO_FREE char *own = vmc_printf("%.*s-%s", (int)(NAME_LIMIT - 9), vm->name, label);
        for (char *c = own; *c; c++)
            *c = *c >= 'A' && *c <= 'Z' ? (char)(*c | 0x20) : *c == '_' || *c == '.' ? '-' : *c;
        cJSON *metadata = vmc_json_map(object, "metadata");
        vmc_json_put(metadata, "name", cJSON_CreateString(own));
        vmc_json_put(vmc_json_map(metadata, "annotations"), NAME_KEY, cJSON_CreateString(name));
        code = kube_create(conn->client, path, object, NULL, deadline, made, &why);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

/* It goes with the VM: nobody could find it any more, and its volumes would stay. */
static void put_owner(cJSON *object, const kubevirt_vm *vm) {
    kubevirt_add_owner(object, vm->name, vm->uid);
    vmc_json_put(vmc_json_map(object, "metadata.labels"), KUBEVIRT_LABEL_MANAGED, cJSON_CreateString("vmctl"));
}

static int check_free(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const char *version,
                      const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_JSON *there = NULL;
    vmctl_error *why = NULL;
    int code = kubevirt_snapshot_find(conn, vm, name, version, deadline, &there, &why);
    if (code == 0) {
        vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s has a snapshot %s already", vm->name, name);
        return vmc_error_next(err, "choose another name, or vmctl snapshot delete %s %s", vm->name, name);
    }
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(err, &why);
    return code;
}

static int is_unlocked(const cJSON *object, void *user, vmctl_error **err) {
    (void)err;
    return !object || !vmc_str_eq(vmc_json_string(object, "status.snapshotInProgress", NULL), user);
}

/* KubeVirt lets go of the VM some moments after the snapshot is there; until then it takes no change of its disks and no start. */
static int wait_unlocked(kubevirt_conn *conn, kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                         vmctl_error **err) {
    VMC_AUTO_JSON *now = NULL;
    int code = kubevirt_vm_get(conn, vm, deadline, &now, err);
    if (code < 0 || is_unlocked(now, (void *)name, err))
        return code;
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = vm->name,
                                      .resource_version = vmc_json_string(now, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for KubeVirt to let go of the VM",
                                      .settled = is_unlocked,
                                      .user = (void *)name};
    return kubevirt_wait(conn, vm, &waiting, deadline, err);
}

int kubevirt_snapshot_create(void *opaque, void *handle, const char *name, const vmctl_snapshot_create_options *options,
                             vmc_journal *journal, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, SNAPSHOT_MS);
    VMC_AUTO_JSON *now = NULL;
    const char *version = NULL;
    int code = kubevirt_vm_get(conn, vm, &deadline, &now, err);
    if (code == 0)
        code = kubevirt_snapshot_check(vm, now, options->memory == VMCTL_MEMORY_WITH, options->quiesce, err);
    if (code == 0)
        code = kubevirt_snapshot_version(conn, &deadline, &version, err);
    if (code == 0)
        code = check_free(conn, vm, name, version, &deadline, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *object = kubevirt_snapshot_new(version, "VirtualMachineSnapshot", name, vm, "spec.source");
    put_owner(object, vm);
    if (options->description)
        vmc_json_put(vmc_json_map(object, "metadata.annotations"), KUBEVIRT_DESCRIPTION,
                     cJSON_CreateString(options->description));
    VMC_AUTO_FREE char *detail = vmc_printf("%s/%s %s %s", vm->namespace_name, vm->name, vm->uid, name);
    size_t noted = 0;
    code = vmc_journal_add(journal, "snapshot", detail, &noted, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *made = NULL;
    code = post(conn, vm, version, name, object, &deadline, &made, err);
    if (code < 0 && !vmc_outcome_unknown(code)) /* refused: a snapshot of that name would be somebody else's */
        vmc_journal_drop(journal, noted, NULL);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *taken = NULL;
    VMC_AUTO_FREE char *path = kubevirt_snapshot_path(version, vm->namespace_name, "virtualmachinesnapshots", NULL);
    const kubevirt_waiting waiting = {.name = vmc_json_string(made, "metadata.name", ""),
                                      .resource_version = vmc_json_string(made, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for the snapshot",
                                      .settled = is_taken,
                                      .user = &taken};
    code = kubevirt_wait_in(conn, vm, path, &waiting, &deadline, err);
    if (code == 0)
        code = wait_unlocked(conn, vm, waiting.name, &deadline, err);
    if (code < 0)
        return code;
    warn(now, taken, &deadline);
    tell_snapshot(taken, options->made, options->user);
    return 0;
}

/* --- delete ------------------------------------------------------------------------------------------------------------ */

static int delete_and_wait(kubevirt_conn *conn, const kubevirt_vm *vm, const char *version, const char *plural,
                           const cJSON *snapshot, const vmc_deadline *deadline, vmctl_error **err) {
    const char *name = vmc_json_string(snapshot, "metadata.name", "");
    const kube_write_options same = {.uid = vmc_json_string(snapshot, "metadata.uid", NULL)};
    VMC_AUTO_FREE char *path = kubevirt_snapshot_path(version, vm->namespace_name, plural, name);
    VMC_AUTO_FREE char *all = kubevirt_snapshot_path(version, vm->namespace_name, plural, NULL);
    VMC_AUTO_JSON *leaving = NULL;
    int code = kube_delete(conn->client, path, &same, deadline, &leaving, err);
    if (code < 0 || cJSON_GetArraySize(vmc_json_at(leaving, "metadata.finalizers")) == 0)
        return code;
    const kubevirt_waiting waiting = {.name = name,
                                      .resource_version = vmc_json_string(leaving, "metadata.resourceVersion", NULL),
                                      .doing = "waiting for the snapshot to be gone",
                                      .settled = kubevirt_is_gone};
    return kubevirt_wait_in(conn, vm, all, &waiting, deadline, err);
}

int kubevirt_snapshot_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *copy = vmc_strdup(detail);
    char *rest = copy;
    kubevirt_vm vm = {.namespace_name = strsep(&rest, "/")};
    vm.name = strsep(&rest, " ");
    vm.uid = strsep(&rest, " ");
    if (!vm.name || !vm.uid || !rest)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"snapshot %s\" cannot be read", detail);
    vmctl_error *why = NULL;
    int code = kubevirt_snapshot_remove(conn, &vm, rest, deadline, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int kubevirt_snapshot_remove(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                             vmctl_error **err) {
    const char *version = NULL;
    VMC_AUTO_JSON *snapshot = NULL;
    int code = kubevirt_snapshot_version(conn, deadline, &version, err);
    if (code == 0)
        code = kubevirt_snapshot_find(conn, vm, name, version, deadline, &snapshot, err);
    if (code == 0)
        code = delete_and_wait(conn, vm, version, "virtualmachinesnapshots", snapshot, deadline, err);
    return code;
}

/* Each stands on its own: there are no children to take along. */
int kubevirt_snapshot_delete(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                             vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ACT_MS);
    return kubevirt_snapshot_remove(conn, vm, name, &deadline, err);
}
