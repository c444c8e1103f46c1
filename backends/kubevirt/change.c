/* Changing a VM: the spec that it will have, the object that comes of it, and one patch. */
#include "change.h"

#include "gpus.h"
#include "upload.h"
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 };

void kubevirt_place_free(kubevirt_place *place) {
    free(place->list);
    free(place->name);
    free(place->key);
}

kubevirt_place kubevirt_place_of(const vmctl_change *change) {
    kubevirt_place place;
    vmc_change_place(change, &place.list, &place.name, &place.key);
    return place;
}

/* --- the spec that it will have ---------------------------------------------------------------------------------------- */

static void set_in(cJSON *map, const char *key, cJSON *value) {
    size_t length = strcspn(key, ".");
    VMC_AUTO_FREE char *first = vmc_strndup(key, length);
    if (!key[length]) {
        vmc_json_put(map, first, value);
        return;
    }
    cJSON *below = cJSON_GetObjectItemCaseSensitive(map, first);
    if (!cJSON_IsObject(below)) {
        vmc_json_put(map, first, NULL);
        below = cJSON_AddObjectToObject(map, first);
    }
    set_in(below, key + length + 1, value);
}

static void lay_over(cJSON *spec, const vmctl_change *change) {
    KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
    cJSON *value = change->want ? vmc_json_of_node(change->want) : NULL;
    if (!where.name) {
        if (strcmp(where.list, "labels") == 0 && where.key)
            vmc_json_put(vmc_json_map(spec, "labels"), where.key, value);
        else
            set_in(spec, change->path, value);
        return;
    }
    cJSON *list = vmc_json_list(spec, where.list);
    cJSON *item = vmc_json_item(list, where.name);
    if (change->action == VMCTL_CHANGE_REMOVE)
        cJSON_Delete(item ? cJSON_DetachItemViaPointer(list, item) : NULL);
    else if (!where.key)
        cJSON_AddItemToArray(list, value);
    else if (item)
        set_in(item, where.key, value);
    else
        cJSON_Delete(value);
}

static int plan_spec(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    VMC_AUTO_JSON *json = kubevirt_read_vm(ch->now, true);
    for (size_t i = 0; i < vmctl_diff_count(diff); i++)
        lay_over(json, vmctl_diff_at(diff, i));
    return vmc_json_to_spec(json, &ch->spec, err);
}

/* --- the object that comes of it --------------------------------------------------------------------------------------- */

static void drop_keys(cJSON *map, const char *const *keys) {
    for (; map && *keys; keys++)
        cJSON_DeleteItemFromObjectCaseSensitive(map, *keys);
}

static void rebuild_machine(kubevirt_build *b) {
    drop_keys(vmc_json_map(b->domain, "firmware"), (const char *const[]){"bootloader", NULL});
    drop_keys((cJSON *)vmc_json_key(b->domain, "features"), (const char *const[]){"smm", "hyperv", "apic", NULL});
    drop_keys(b->domain, (const char *const[]){"launchSecurity", "clock", NULL});
    drop_keys(b->devices, (const char *const[]){"tpm", NULL});
    drop_keys(b->domain, vmctl_node_get(b->root, "machine") ? (const char *const[]){"machine", NULL}
                                                            : (const char *const[]){NULL});
    drop_keys(b->pod, vmctl_node_get(b->root, "arch") ? (const char *const[]){"architecture", NULL}
                                                      : (const char *const[]){NULL});
    kubevirt_build_machine(b);
}

static void set_description(kubevirt_build *b) {
    const char *text = vmctl_node_string(b->root, "description", NULL);
    vmc_json_put(vmc_json_map(b->vm, "metadata.annotations"), KUBEVIRT_DESCRIPTION,
                 text && *text ? cJSON_CreateString(text) : NULL);
}

static void set_autostart(kubevirt_build *b) {
    bool on = vmctl_node_boolean(b->root, "autostart", false);
    const char *strategy = kubevirt_strategy(b->vm);
    bool idle = strcmp(strategy, "Manual") == 0 || strcmp(strategy, "Halted") == 0;
    vmc_json_put(vmc_json_map(b->vm, "metadata.annotations"), KUBEVIRT_STRATEGY,
                 on ? cJSON_CreateString("RerunOnFailure") : NULL);
    if (!on && !idle)
        vmc_json_put(vmc_json_map(b->vm, "spec"), "runStrategy", cJSON_CreateString("Manual"));
    else if (on && idle && vmc_json_boolean(b->vm, "status.created", false))
        vmc_json_put(vmc_json_map(b->vm, "spec"), "runStrategy", cJSON_CreateString("RerunOnFailure"));
}

static void set_lifetime(kubevirt_build *b) {
    cJSON *annotations = vmc_json_map(b->vm, "metadata.annotations");
    int64_t created = kubevirt_time_of(vmc_json_key_string(annotations, KUBEVIRT_CREATED));
    kubevirt_put_time(annotations, KUBEVIRT_EXPIRES, 0);
    int64_t lifetime = vmctl_node_integer(b->root, "lifetime", 0);
    if (created && lifetime)
        kubevirt_put_time(annotations, KUBEVIRT_EXPIRES, created + (lifetime + 999) / 1000);
}

/* What is neither a list nor a label: the whole key is made anew of the changed spec. */
static int change_key(kubevirt_build *b, const vmctl_change *change, const char *top) {
    static const char *const machine[] = {"guest", "machine", "arch", "firmware", "confidential"};
    for (size_t i = 0; i < sizeof machine / sizeof machine[0]; i++) {
        if (strcmp(machine[i], top) == 0) {
            rebuild_machine(b);
            return 0;
        }
    }
    if (strcmp(top, "cpus") == 0) {
        int code = kubevirt_check_cpus(vmctl_node_get(b->root, "cpus"), b->err);
        if (code == 0)
            kubevirt_build_cpus(b->domain, vmctl_node_get(b->root, "cpus"), b->guest);
        return code;
    }
    if (strcmp(top, "memory") == 0)
        kubevirt_build_memory(b->domain, vmctl_node_get(b->root, "memory"));
    else if (strcmp(top, "description") == 0)
        set_description(b);
    else if (strcmp(top, "autostart") == 0)
        set_autostart(b);
    else if (strcmp(top, "lifetime") == 0)
        set_lifetime(b);
    else if (strcmp(top, "boot") == 0 || strcmp(top, "display") == 0 || strcmp(top, "serial") == 0 ||
             strcmp(top, "rng") == 0 || strcmp(top, "watchdog") == 0 || strcmp(top, "placement") == 0 ||
             strcmp(top, "kubevirt") == 0)
        return kubevirt_rebuild_parts(b, top);
    else if (strcmp(top, "guestAgent") != 0 && strcmp(top, "accel") != 0)
        return vmc_refuse(b->err, VMCTL_E_UNSUPPORTED, change->want, "%s of a VM that exists is not changed", top);
    return 0;
}

static int plan_object(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    vmc_deadline own = *ch->deadline;
    const kubevirt_making making = {.namespace_name = ch->vm->namespace_name,
                                    .storage_class = ch->conn->storage_class,
                                    .permitted = kubevirt_permitted_of(ch->installation),
                                    .file_bytes = kubevirt_making_bytes,
                                    .user = &own};
    ch->out.secrets = cJSON_CreateArray();
    ch->then = cJSON_Duplicate(ch->now, true);
    kubevirt_build b = {.root = vmctl_spec_root(ch->spec),
                        .making = &making,
                        .out = &ch->out,
                        .name = ch->vm->name,
                        .vm = ch->then,
                        .guest = vmctl_node_string(vmctl_spec_root(ch->spec), "guest", "linux"),
                        .err = err};
    b.pod = vmc_json_map(ch->then, "spec.template.spec");
    b.domain = vmc_json_map(b.pod, "domain");
    b.devices = vmc_json_map(b.domain, "devices");
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
        if (where.name)
            code = kubevirt_change_item(ch, &b, change, &where);
        else if (strcmp(where.list, "labels") == 0 && where.key)
            kubevirt_put_label(ch->then, where.key, vmctl_node_string(change->want, NULL, NULL));
        else
            code = change_key(&b, change, where.list);
    }
    if (code == 0 && kubevirt_has_host_devices(ch->then) && ch->installation)
        code = kubevirt_gpus_check(ch->then, kubevirt_permitted_of(ch->installation), err);
    if (code == 0 && kubevirt_has_host_devices(ch->then))
        code = kubevirt_claims_check(ch->conn, ch->then, ch->installation, ch->deadline, err);
    if (code == 0)
        kubevirt_keep(ch->then, b.root);
    for (size_t i = 0; code == 0 && i < ch->out.notes.count; i++)
        vmc_note(ch->deadline, VMCTL_NOTE_INFO, "%s", ch->out.notes.items[i]);
    return code;
}

/* --- making it --------------------------------------------------------------------------------------------------------- */

/* The version in the patch makes it fail where somebody else was faster. */
static int send_patch(kubevirt_changing *ch, bool dry_run, vmctl_error **err) {
    VMC_AUTO_JSON *patch = kubevirt_merge_patch(ch->now, ch->before_plug ? ch->before_plug : ch->then);
    if (!patch)
        return 0;
    cJSON_AddStringToObject(vmc_json_map(patch, "metadata"), "resourceVersion",
                            vmc_json_string(ch->now, "metadata.resourceVersion", ""));
    VMC_AUTO_FREE char *path = kubevirt_vm_path(ch->vm);
    const kube_write_options options = {.dry_run = dry_run};
    int code = kube_patch(ch->conn->client, path, patch, &options, ch->deadline, dry_run ? NULL : &ch->after, err);
    ch->raced = code == VMCTL_E_CONFLICT;
    return code;
}

static int check_live(const kubevirt_changing *ch, const vmctl_diff *diff, bool live, vmctl_error **err) {
    for (size_t i = 0; live && i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        VMC_AUTO_FREE char *why = kubevirt_change_obstacle(ch, change);
        if (!why)
            continue;
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s cannot be changed now: %s", change->path, why);
        return vmc_error_next(err, KUBEVIRT_LIVE_REMEDY, ch->vm->name);
    }
    return 0;
}

/* The VM has them at once; its instance and pod have those that they began with (virt-controller copies few of a template's labels later on). */
static void tell_labels(const kubevirt_changing *ch, const vmctl_diff *diff) {
    bool changes = false;
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(vmctl_diff_at(diff, i));
        changes |= strcmp(where.list, "labels") == 0;
    }
    if (changes && ch->vmi)
        vmc_note(ch->deadline, VMCTL_NOTE_INFO,
                 "Services and policies of the cluster, which select running VMs by label, see the new labels after "
                 "its next start");
}

static void tell(const kubevirt_changing *ch, const vmctl_diff *diff, const vmctl_change_options *options) {
    tell_labels(ch, diff);
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        VMC_AUTO_FREE char *why = kubevirt_change_obstacle(ch, change);
        if (why)
            vmc_note(ch->deadline, VMCTL_NOTE_INFO, "%s is in force after a restart: %s", change->path, why);
        if (options->changed)
            options->changed(change, why ? VMCTL_EFFECT_AT_RESTART : VMCTL_EFFECT_NOW, options->user);
    }
}

static void changing_free(kubevirt_changing *ch) {
    cJSON_Delete(ch->now);
    cJSON_Delete(ch->vmi);
    cJSON_Delete(ch->then);
    cJSON_Delete(ch->before_plug);
    cJSON_Delete(ch->after);
    kubevirt_manifest_free(&ch->out);
    vmc_strv_free(&ch->fresh);
    vmctl_spec_free(ch->spec);
    free(ch->restart);
}

static int look(kubevirt_changing *ch, vmctl_error **err) {
    int code = kubevirt_vm_get(ch->conn, ch->vm, ch->deadline, &ch->now, err);
    if (code == 0 && vmc_json_boolean(ch->now, "status.created", false) &&
        kubevirt_state(ch->now, NULL, NULL) != VMCTL_STATE_STOPPED)
        code = kubevirt_vmi_get(ch->conn, ch->vm, ch->deadline, &ch->vmi, err);
    return code == 0 ? kubevirt_installation(ch->conn, ch->deadline, &ch->installation, err) : code;
}

/* Everything that can be refused is refused here. */
static int plan(kubevirt_changing *ch, const vmctl_diff *diff, bool live, vmctl_error **err) {
    int code = plan_spec(ch, diff, err);
    if (code == 0)
        code = plan_object(ch, diff, err);
    if (code == 0)
        code = check_live(ch, diff, live, err);
    if (code == 0)
        code = kubevirt_change_disks_check(ch, diff, err);
    if (code == 0)
        kubevirt_change_plug_split(ch, diff);
    return code == 0 ? kubevirt_change_disks_grow(ch, diff, true, err) : code;
}

static int run_once(kubevirt_changing *ch, const vmctl_diff *diff, const vmctl_change_options *options,
                    vmctl_error **err) {
    int code = look(ch, err);
    if (code == 0)
        code = plan(ch, diff, options->live, err);
    if (code == 0 && !options->dry_run)
        code = kubevirt_change_disks_send(ch, err);
    if (code == 0 && !options->dry_run)
        code = kubevirt_change_plug_make(ch, diff, err);
    if (code == 0)
        code = send_patch(ch, options->dry_run, err);
    if (code == 0)
        code = kubevirt_change_plug(ch, diff, options->dry_run, err);
    if (code == 0)
        kubevirt_change_disks_taken(ch);
    if (code == 0 && !options->dry_run)
        code = kubevirt_change_disks_grow(ch, diff, false, err);
    if (code == 0 && !options->dry_run)
        code = kubevirt_change_settle(ch, diff, err);
    if (code == 0)
        tell(ch, diff, options);
    return code;
}

/* A conflict is another one's change in between: everything is decided anew on what is there then. */
int kubevirt_changing_run(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_diff *diff,
                          const vmctl_change_options *options, vmc_journal *journal, const vmc_deadline *deadline,
                          vmctl_error **err) {
    kubevirt_sent sent = {0};
    int code = 0;
    for (int i = 0; i < TRIES; i++) {
        kubevirt_changing ch = {.conn = conn, .vm = vm, .deadline = deadline, .journal = journal, .sent = &sent};
        vmctl_error *why = NULL;
        code = run_once(&ch, diff, options, &why);
        bool raced = ch.raced;
        changing_free(&ch);
        if (!raced || i == TRIES - 1) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            break;
        }
        vmctl_error_free(why);
    }
    vmc_strv_free(&sent.claims);
    free(sent.entries);
    return code;
}

int kubevirt_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                    vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1); /* files may have to be sent */
    return kubevirt_changing_run(conn, vm, diff, options, journal, &deadline, err);
}
