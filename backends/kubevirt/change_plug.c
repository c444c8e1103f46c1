/* Disks that come and go under the older gate HotplugVolumes: by requests of their own (addvolume, removevolume), as a change of the object would
 * wait for a restart. Sources: KubeVirt's user guide, "Hotplug Volumes"; recordings 82 to 87. */
#include "change.h"

#include "gates.h"
#include <string.h>

enum { PLUG_MS = 120000, MOST_RACES = 5 };

bool kubevirt_plugs_by_request(const cJSON *installation) {
    return kubevirt_gate(installation, "DeclarativeHotplugVolumes") == 0 &&
           kubevirt_gate(installation, "HotplugVolumes") == 1;
}

/* The place of a disk that comes or goes that way; list NULL: it is another change. */
static kubevirt_place plugged(const kubevirt_changing *ch, const vmctl_change *change) {
    kubevirt_place where = kubevirt_place_of(change);
    bool item = where.name && !where.key && strcmp(where.list, "disks") == 0 && change->action != VMCTL_CHANGE_SET;
    VMC_AUTO_FREE char *why = item && ch->vmi ? kubevirt_change_obstacle(ch, change) : NULL;
    if (item && ch->vmi && !why && kubevirt_plugs_by_request(ch->installation))
        return where;
    kubevirt_place_free(&where);
    return (kubevirt_place){0};
}

static const cJSON *disk_of(const cJSON *vm, const char *name) {
    return vmc_json_item(vmc_json_at(vm, "spec.template.spec.domain.devices.disks"), name);
}

static void drop_named(cJSON *list, const char *name) {
    cJSON *item = vmc_json_item(list, name);
    cJSON_Delete(item ? cJSON_DetachItemViaPointer(list, item) : NULL);
}

/* Where it was. */
static void put_back(cJSON *list, const cJSON *of, const char *name) {
    const cJSON *item;
    int at = 0;
    cJSON_ArrayForEach(item, of) {
        if (vmc_str_eq(vmc_json_key_string(item, "name"), name)) {
            cJSON_InsertItemInArray(list, at, cJSON_Duplicate(item, true));
            return;
        }
        at++;
    }
}

void kubevirt_change_plug_split(kubevirt_changing *ch, const vmctl_diff *diff) {
    cJSON *before = NULL;
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = plugged(ch, change);
        if (!where.list)
            continue;
        if (!before)
            before = cJSON_Duplicate(ch->then, true);
        cJSON *pod = vmc_json_map(before, "spec.template.spec");
        cJSON *disks = vmc_json_list(vmc_json_map(pod, "domain.devices"), "disks");
        cJSON *volumes = vmc_json_list(pod, "volumes");
        const cJSON *was = vmc_json_at(ch->now, "spec.template.spec");
        if (change->action == VMCTL_CHANGE_REMOVE) {
            put_back(disks, vmc_json_at(was, "domain.devices.disks"), where.name);
            put_back(volumes, vmc_json_key(was, "volumes"), where.name);
            continue;
        }
        const cJSON *template = kubevirt_template_of(before, kubevirt_volume_of(before, where.name));
        cJSON *templates = cJSON_GetObjectItemCaseSensitive(vmc_json_map(before, "spec"), "dataVolumeTemplates");
        if (template)
            cJSON_Delete(cJSON_DetachItemViaPointer(templates, (cJSON *)template));
        if (templates && !templates->child)
            vmc_json_put(vmc_json_map(before, "spec"), "dataVolumeTemplates", NULL);
        drop_named(disks, where.name);
        drop_named(volumes, where.name);
    }
    ch->before_plug = before;
}

int kubevirt_change_plug_make(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && ch->before_plug && i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = plugged(ch, change);
        const cJSON *volume = where.list ? kubevirt_volume_of(ch->then, where.name) : NULL;
        if (where.list && change->action == VMCTL_CHANGE_ADD && kubevirt_template_of(ch->then, volume))
            code = kubevirt_change_disks_make(ch, kubevirt_claim_of(volume), err);
    }
    return code;
}

/* --- the requests ------------------------------------------------------------------------------------------------------ */

typedef struct request {
    const char *name;
    bool coming;
} request;

/* A volume has one name, and its request stands in the status until it is taken up. */
static bool is_asked(const cJSON *vm, const cJSON *vmi, const void *user) {
    const request *r = user;
    const char *kind = r->coming ? "addVolumeOptions.name" : "removeVolumeOptions.name";
    const cJSON *waiting;
    (void)vmi;
    cJSON_ArrayForEach(waiting, vmc_json_at(vm, "status.volumeRequests")) {
        if (vmc_str_eq(vmc_json_string(waiting, kind, NULL), r->name))
            return true;
    }
    return (kubevirt_volume_of(vm, r->name) != NULL) == r->coming;
}

/* of: the object that has the disk. */
static int ask(kubevirt_changing *ch, const cJSON *of, const char *name, bool coming, bool dry_run, vmctl_error **err) {
    VMC_AUTO_JSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "name", name);
    if (coming) {
        cJSON *disk = cJSON_Duplicate(disk_of(of, name), true);
        cJSON *source = cJSON_Duplicate(kubevirt_volume_of(of, name), true);
        cJSON_DeleteItemFromObjectCaseSensitive(disk, "name");
        cJSON_DeleteItemFromObjectCaseSensitive(source, "name");
        cJSON_AddItemToObject(body, "disk", disk);
        cJSON_AddItemToObject(body, "volumeSource", source);
    }
    if (dry_run)
        cJSON_AddItemToArray(vmc_json_list(body, "dryRun"), cJSON_CreateString("All"));
    const request asked = {name, coming};
    const kubevirt_action action = {.plural = "virtualmachines",
                                    .sub = coming ? "addvolume" : "removevolume",
                                    .body = body,
                                    .shows = dry_run ? NULL : is_asked,
                                    .user = &asked};
    int code = kubevirt_act(ch->conn, ch->vm, &action, ch->deadline, err);
    return code < 0 ? vmc_error_prefix(err, "disk %s", name) : 0;
}

typedef struct arrival {
    const kubevirt_changing *ch;
    const vmctl_diff *diff;
} arrival;

static int is_taken_up(const cJSON *vm, void *user, vmctl_error **err) {
    const arrival *a = user;
    if (!vm)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the VM was deleted meanwhile");
    for (size_t i = 0; i < vmctl_diff_count(a->diff); i++) {
        const vmctl_change *change = vmctl_diff_at(a->diff, i);
        KUBEVIRT_AUTO_PLACE where = plugged(a->ch, change);
        if (where.list && (kubevirt_volume_of(vm, where.name) != NULL) != (change->action == VMCTL_CHANGE_ADD))
            return 0;
    }
    return 1;
}

static int wait_taken_up(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    arrival a = {ch, diff};
    cJSON *last = NULL;
    vmc_deadline within = vmc_deadline_within(ch->deadline, PLUG_MS);
    const kubevirt_waiting waiting = {.plural = "virtualmachines",
                                      .name = ch->vm->name,
                                      .doing = "waiting for KubeVirt to take the request up",
                                      .settled = is_taken_up,
                                      .user = &a,
                                      .last = &last};
    int code = kubevirt_wait(ch->conn, ch->vm, &waiting, &within, err);
    if (code == 0) {
        cJSON_Delete(ch->after);
        ch->after = last;
    } else {
        cJSON_Delete(last);
    }
    return code;
}

/* What the VM shall make anew if the volume is not there, as of every disk that vmctl makes. KubeVirt takes such a template only beside its volume. */
static int put_templates(kubevirt_changing *ch, vmctl_error **err) {
    int code = 0;
    for (int races = 0; races < MOST_RACES; races++) {
        const cJSON *template;
        VMC_AUTO_JSON *patch = cJSON_CreateObject();
        VMC_AUTO_JSON *list = cJSON_Duplicate(vmc_json_at(ch->after, "spec.dataVolumeTemplates"), true);
        if (!list)
            list = cJSON_CreateArray();
        int count = cJSON_GetArraySize(list);
        cJSON_ArrayForEach(template, vmc_json_at(ch->then, "spec.dataVolumeTemplates")) {
            const char *name = vmc_json_string(template, "metadata.name", "");
            if (!kubevirt_template_named(ch->after, name))
                cJSON_AddItemToArray(list, cJSON_Duplicate(template, true));
        }
        if (cJSON_GetArraySize(list) == count)
            return 0;
        cJSON_AddItemToObject(vmc_json_map(patch, "spec"), "dataVolumeTemplates", cJSON_Duplicate(list, true));
        cJSON_AddStringToObject(vmc_json_map(patch, "metadata"), "resourceVersion",
                                vmc_json_string(ch->after, "metadata.resourceVersion", ""));
        VMC_AUTO_FREE char *path = kubevirt_vm_path(ch->vm);
        vmctl_error *why = NULL;
        cJSON *after = NULL;
        code = kube_patch(ch->conn->client, path, patch, NULL, ch->deadline, &after, &why);
        if (code == VMCTL_E_CONFLICT) { /* the controller writes, too */
            vmctl_error_free(why);
            why = NULL;
            code = kube_get(ch->conn->client, path, ch->deadline, &after, &why);
            if (code == 0) {
                cJSON_Delete(ch->after);
                ch->after = after;
                code = VMCTL_E_CONFLICT;
                continue;
            }
        }
        vmc_error_move(code < 0 ? err : NULL, &why);
        if (code == 0) {
            cJSON_Delete(ch->after);
            ch->after = after;
        }
        return code;
    }
    return vmc_error(err, code, "%s is being changed by others all the time", ch->vm->name);
}

/* What was asked for is asked back, and what was changed before it is as it was. */
static void take_back(kubevirt_changing *ch, const vmctl_diff *diff, size_t asked, vmctl_error **err) {
    vmctl_error *why = NULL;
    vmc_deadline own = vmc_deadline_start(NULL, KUBEVIRT_ASK_MS);
    const vmc_deadline *deadline = ch->deadline;
    int code = 0;
    ch->deadline = &own;
    for (size_t i = 0; code == 0 && i < asked; i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = plugged(ch, change);
        bool coming = change->action == VMCTL_CHANGE_REMOVE;
        if (where.list)
            code = ask(ch, coming ? ch->now : ch->then, where.name, coming, false, &why);
    }
    VMC_AUTO_JSON *patch = kubevirt_merge_patch(ch->before_plug, ch->now);
    VMC_AUTO_FREE char *path = kubevirt_vm_path(ch->vm);
    if (code == 0 && patch)
        code = kube_patch(ch->conn->client, path, patch, NULL, ch->deadline, NULL, &why);
    if (code < 0)
        vmc_error_append(err, "; it could not be taken back: %s", vmctl_error_message(why));
    vmctl_error_free(why);
    ch->deadline = deadline;
}

int kubevirt_change_plug(kubevirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmctl_error **err) {
    size_t asked = 0;
    int code = 0;
    if (!ch->before_plug)
        return 0;
    for (; code == 0 && asked < vmctl_diff_count(diff); asked += code == 0) {
        const vmctl_change *change = vmctl_diff_at(diff, asked);
        KUBEVIRT_AUTO_PLACE where = plugged(ch, change);
        bool coming = change->action == VMCTL_CHANGE_ADD;
        if (where.list)
            code = ask(ch, coming ? ch->then : ch->now, where.name, coming, dry_run, err);
    }
    if (dry_run)
        return code;
    if (code == 0)
        code = wait_taken_up(ch, diff, err);
    if (code == 0)
        code = put_templates(ch, err);
    if (code < 0)
        take_back(ch, diff, asked, err);
    return code;
}
