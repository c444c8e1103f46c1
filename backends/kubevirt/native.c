/* A manifest of KubeVirt's own for a VM that is there: server-side apply as field manager vmctl. The server's account of who set which field
 * (managedFields) tells what an earlier manifest said and this one does not, and what somebody else has set otherwise.
 * Source: Kubernetes, "Server-Side Apply". */
#include "change.h"

#include "fields.h"
#include "gpus.h"
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 };

#define TEMPLATE "spec.template.spec."

/* --- who has set what -------------------------------------------------------------------------------------------------- */

/* What a create set is vmctl's, but not by apply: it becomes so, or a field that leaves the manifest would stay for ever. It is what kubectl
 * does before its first server-side apply (client-go, util/csaupgrade). */
int kubevirt_own_fields(kubevirt_conn *conn, cJSON **object, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", vmc_json_string(*object, "metadata.namespace", ""),
                                         "virtualmachines", vmc_json_string(*object, "metadata.name", ""), NULL);
    int code = 0;
    for (int i = 0; i < TRIES; i++) {
        const cJSON *ours = kubevirt_managed_by_us(*object, "Update");
        if (!ours || kubevirt_managed_by_us(*object, "Apply"))
            return 0;
        VMC_AUTO_JSON *entries = cJSON_Duplicate(vmc_json_at(*object, "metadata.managedFields"), true);
        cJSON *entry;
        cJSON_ArrayForEach(entry, entries) {
            if (cJSON_Compare(entry, ours, true))
                vmc_json_put(entry, "operation", cJSON_CreateString("Apply"));
        }
        VMC_AUTO_JSON *patch = cJSON_CreateObject();
        cJSON *metadata = vmc_json_map(patch, "metadata");
        vmc_json_text(metadata, "resourceVersion", vmc_json_string(*object, "metadata.resourceVersion", ""));
        cJSON_AddItemToObject(metadata, "managedFields", entries);
        entries = NULL;
        cJSON *after = NULL;
        vmctl_error *why = NULL;
        code = kube_patch(conn->client, path, patch, NULL, deadline, &after, &why);
        if (code == VMCTL_E_CONFLICT && i < TRIES - 1) { /* KubeVirt's controller was faster */
            vmctl_error_free(why);
            why = NULL;
            code = kube_get(conn->client, path, deadline, &after, &why);
        }
        vmc_error_move(code < 0 ? err : NULL, &why);
        if (code < 0)
            return code;
        cJSON_Delete(*object);
        *object = after;
    }
    return code;
}

/* vmctl's own labels and annotations are no part of the manifest, and stay. */
static void keep_marker(cJSON *body, const cJSON *live) {
    static const char *const maps[] = {"metadata.labels", "metadata.annotations"};
    for (size_t i = 0; i < sizeof maps / sizeof maps[0]; i++) {
        const cJSON *value;
        cJSON_ArrayForEach(value, vmc_json_at(live, maps[i])) {
            if (!vmc_starts_with(value->string, "vmctl.dev/"))
                continue;
            cJSON *map = vmc_json_map(body, maps[i]);
            if (!vmc_json_key(map, value->string))
                cJSON_AddItemToObject(map, value->string, cJSON_Duplicate(value, true));
        }
    }
}

/* The manager in `conflict with "kubectl-edit" using kubevirt.io/v1` (FX/140). free; NULL: it is no such cause. */
static char *manager_of(const kube_cause *cause) {
    const char *begin =
        vmc_str_eq(cause->reason, "FieldManagerConflict") && cause->message ? strchr(cause->message, '"') : NULL;
    return begin ? vmc_strndup(begin + 1, strcspn(begin + 1, "\"")) : NULL;
}

/* The fields that others have set otherwise: their names for a person, "": there are none but vmctl's own. *any: there are some at all. */
static char *others_fields(const kube_status *status, bool *any) {
    VMC_AUTO_STR text = {0};
    *any = false;
    for (size_t i = 0; i < status->cause_count; i++) {
        VMC_AUTO_FREE char *manager = manager_of(&status->causes[i]);
        const char *field = status->causes[i].field ? status->causes[i].field : "";
        *any = *any || manager;
        if (manager && strcmp(manager, "vmctl") != 0)
            vmc_str_printf(&text, "%s%s (set by %s)", text.length ? ", " : "", field + (*field == '.'), manager);
    }
    return vmc_str_take(&text);
}

/* --- applying ---------------------------------------------------------------------------------------------------------- */

typedef struct applying {
    kubevirt_changing ch;
    const vmctl_apply_options *options;
    const cJSON *manifest;
    cJSON *body;
    bool force;
    bool raced; /* somebody else wrote in between */
} applying;

static int send(applying *a, bool dry_run, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_vm_path(a->ch.vm);
    KUBE_AUTO_STATUS status = {0};
    const kube_write_options options = {.dry_run = dry_run, .force = a->force, .status = &status};
    cJSON_Delete(a->ch.then);
    a->ch.then = NULL;
    vmctl_error *why = NULL;
    int code = kube_apply(a->ch.conn->client, path, a->body, &options, a->ch.deadline, &a->ch.then, &why);
    if (code != VMCTL_E_CONFLICT) {
        vmc_error_move(code < 0 ? err : NULL, &why);
        return code;
    }
    bool any = false;
    VMC_AUTO_FREE char *others = others_fields(&status, &any);
    if (*others) {
        vmctl_error_free(why);
        vmc_error(err, VMCTL_E_CONFLICT, "the manifest sets fields of %s otherwise than others have set them: %s",
                  a->ch.vm->name, others);
        vmc_error_hypervisor(err, status.reason, status.message);
        return vmc_error_next(err, "give them the values that they have now or leave them out of the manifest; "
                                   "--force-conflicts takes them over");
    }
    if (any && !a->force) { /* only vmctl's own: set, attach and others write fields too, and the manifest is newer */
        vmctl_error_free(why);
        a->force = true;
        return send(a, dry_run, err);
    }
    a->raced = !any;
    vmc_error_move(err, &why);
    return code;
}

/* A "." is the map or item itself, beside what is in it; a create notes it where an apply does not. */
static void drop_dots(cJSON *fields) {
    cJSON *child;
    if (cJSON_GetArraySize(fields) > 1)
        cJSON_DeleteItemFromObjectCaseSensitive(fields, ".");
    cJSON_ArrayForEach(child, fields) {
        drop_dots(child);
    }
}

/* Whether a field comes to be vmctl's, or ceases to be. */
static bool changes_owner(const applying *a) {
    VMC_AUTO_JSON *before = cJSON_Duplicate(vmc_json_key(kubevirt_managed_by_us(a->ch.now, "Apply"), "fieldsV1"), true);
    VMC_AUTO_JSON *after = cJSON_Duplicate(vmc_json_key(kubevirt_managed_by_us(a->ch.then, "Apply"), "fieldsV1"), true);
    drop_dots(before);
    drop_dots(after);
    return !cJSON_Compare(before, after, true);
}

/* --- what a running VM has of it ---------------------------------------------------------------------------------------- */

static bool is_below(const char *path, const char *top) {
    size_t length = strlen(top);
    return strncmp(path, top, length) == 0 && (!path[length] || path[length] == '.');
}

/* The same change in vm.yaml's words, as kubevirt_change_obstacle takes it. free; NULL: vm.yaml has none. */
static char *spec_path(const vmctl_change *change) {
    static const struct {
        const char *field, *key;
    } fields[] = {{TEMPLATE "domain.cpu.sockets", "cpus.sockets"},
                  {TEMPLATE "domain.memory.guest", "memory.size"},
                  {TEMPLATE "nodeSelector", "placement"},
                  {TEMPLATE "affinity", "placement"},
                  {TEMPLATE "tolerations", "placement"},
                  {"metadata", "labels"},
                  {"spec.runStrategy", "autostart"},
                  {"spec.running", "autostart"},
                  {"spec.dataVolumeTemplates", "labels"}};
    static const struct {
        const char *list, *key;
    } lists[] = {{TEMPLATE "domain.devices.disks.", "disks"},
                 {TEMPLATE "volumes.", "disks"},
                 {TEMPLATE "domain.devices.interfaces.", "networks"},
                 {TEMPLATE "networks.", "networks"}};
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
        if (is_below(change->path, fields[i].field))
            return vmc_strdup(fields[i].key);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const char *name = vmc_starts_with(change->path, lists[i].list) ? change->path + strlen(lists[i].list) : NULL;
        const char *key = name ? strchr(name, '.') : NULL;
        if (name && !key && change->action != VMCTL_CHANGE_SET)
            return vmc_printf("%s.%s", lists[i].key, name);
        if (key && strcmp(key, ".state") == 0)
            return vmc_printf("%s.%.*s.link", lists[i].key, (int)(key - name), name);
    }
    return NULL;
}

/* Why a running VM has it at its next start only; NULL: it has it now. free */
static char *obstacle(const applying *a, const vmctl_change *change) {
    VMC_AUTO_FREE char *path = spec_path(change);
    if (!a->ch.vmi)
        return NULL;
    if (!path)
        return vmc_strdup("KubeVirt reads it when the VM starts");
    vmctl_change same = *change;
    same.path = path;
    return kubevirt_change_obstacle(&a->ch, &same);
}

static bool is_device(const char *path) {
    static const char *const lists[] = {TEMPLATE "domain.devices", TEMPLATE "volumes", TEMPLATE "networks"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (is_below(path, lists[i]))
            return true;
    return false;
}

static int check_removals(const applying *a, const kubevirt_fields *fields, vmctl_error **err) {
    VMC_AUTO_STR gone = {0};
    for (size_t i = 0; i < fields->count; i++)
        if (fields->items[i].action == VMCTL_CHANGE_REMOVE && is_device(fields->items[i].path))
            vmc_str_printf(&gone, "%s%s", gone.length ? ", " : "", fields->items[i].path);
    if (!gone.length || a->options->prune)
        return 0;
    vmc_error(err, VMCTL_E_CONFLICT, "%s has devices that the manifest does not have: %s", a->ch.vm->name, gone.text);
    return vmc_error_next(err, "put them into the manifest, or let --prune remove them");
}

static int check_live(const applying *a, const kubevirt_fields *fields, vmctl_error **err) {
    for (size_t i = 0; a->options->live && i < fields->count; i++) {
        VMC_AUTO_FREE char *why = obstacle(a, &fields->items[i]);
        if (!why)
            continue;
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s cannot be changed now: %s", fields->items[i].path, why);
        return vmc_error_next(err, "leave --live out, and restart %s when it suits", a->ch.vm->name);
    }
    return 0;
}

static void tell(const applying *a, const kubevirt_fields *fields) {
    for (size_t i = 0; i < fields->count; i++) {
        const vmctl_change *change = &fields->items[i];
        VMC_AUTO_FREE char *why = obstacle(a, change);
        if (why)
            vmc_note(a->ch.deadline, VMCTL_NOTE_INFO, "%s is in force after a restart: %s", change->path, why);
        if (a->options->changed)
            a->options->changed(change, why ? VMCTL_EFFECT_AT_RESTART : VMCTL_EFFECT_NOW, a->options->user);
    }
}

/* --- the whole --------------------------------------------------------------------------------------------------------- */

/* What the checks of a change need to know besides the object. */
static int look_around(applying *a, vmctl_error **err) {
    int code = 0;
    if (vmc_json_boolean(a->ch.now, "status.created", false) &&
        kubevirt_state(a->ch.now, NULL, NULL) != VMCTL_STATE_STOPPED)
        code = kubevirt_vmi_get(a->ch.conn, a->ch.vm, a->ch.deadline, &a->ch.vmi, err);
    bool devices = kubevirt_has_host_devices(a->ch.then);
    if (code == 0 && (a->ch.vmi || devices))
        code = kubevirt_installation(a->ch.conn, a->ch.deadline, &a->ch.installation, err);
    if (code == 0 && devices && a->ch.installation)
        code = kubevirt_gpus_check(a->ch.then, kubevirt_permitted_of(a->ch.installation), err);
    if (code == 0 && devices)
        code = kubevirt_claims_check(a->ch.conn, a->ch.then, a->ch.installation, a->ch.deadline, err);
    return code;
}

static int run_once(applying *a, vmctl_error **err) {
    KUBEVIRT_AUTO_FIELDS fields = {0};
    int code = kubevirt_vm_get(a->ch.conn, a->ch.vm, a->ch.deadline, &a->ch.now, err);
    if (code < 0)
        return code;
    a->body = cJSON_Duplicate(a->manifest, true);
    keep_marker(a->body, a->ch.now);
    /* What was compared is what is changed. */
    vmc_json_put(vmc_json_map(a->body, "metadata"), "resourceVersion",
                 cJSON_CreateString(vmc_json_string(a->ch.now, "metadata.resourceVersion", "")));
    code = send(a, true, err);
    if (code == 0)
        kubevirt_fields_compare(a->ch.now, a->ch.then, &fields);
    if (code == 0 && fields.count)
        code = look_around(a, err);
    if (code == 0)
        code = check_removals(a, &fields, err);
    if (code == 0)
        code = check_live(a, &fields, err);
    if (code == 0 && !a->options->dry_run && (fields.count || changes_owner(a)))
        code = send(a, false, err);
    if (code == 0)
        tell(a, &fields);
    return code;
}

static void applying_free(applying *a) {
    cJSON_Delete(a->ch.now);
    cJSON_Delete(a->ch.vmi);
    cJSON_Delete(a->ch.then);
    cJSON_Delete(a->body);
}

int kubevirt_change_native(void *opaque, void *handle, const vmctl_spec *spec, const vmctl_apply_options *options,
                           vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ACT_MS);
    const kubevirt_making making = {.namespace_name = vm->namespace_name};
    KUBEVIRT_AUTO_MANIFEST manifest = {0};
    int code = kubevirt_manifest_of_native(spec, &making, &manifest, err);
    for (int i = 0; code == 0 && i < TRIES; i++) {
        applying a = {.ch = {.conn = conn, .vm = vm, .deadline = &deadline},
                      .options = options,
                      .manifest = manifest.vm,
                      .force = options->take_over};
        vmctl_error *why = NULL;
        code = run_once(&a, &why);
        applying_free(&a);
        if (code < 0 && a.raced && i < TRIES - 1) {
            vmctl_error_free(why);
            code = 0;
            continue;
        }
        vmc_error_move(code < 0 ? err : NULL, &why);
        return code;
    }
    return code;
}
