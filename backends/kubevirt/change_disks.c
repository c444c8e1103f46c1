/* The volumes of disks that a change brings, moves or grows. Sources: KubeVirt's user guide, "Hotplug Volumes" and "Volume migration"; CDI's
 * datavolumes.md; Kubernetes' "Expanding Persistent Volumes Claims". */
#include "change.h"

#include "base/random.h"
#include "quantity.h"
#include "upload.h"
#include <stdlib.h>
#include <string.h>

enum { MOST_NAMES = 99, GROW_MS = 60000 };

/* --- names of new volumes ---------------------------------------------------------------------------------------------- */

static bool is_made(const kubevirt_changing *ch, const char *claim) {
    for (size_t i = 0; i < ch->sent->claims.count; i++)
        if (strcmp(ch->sent->claims.items[i], claim) == 0)
            return true;
    return false;
}

static void rename_claim(kubevirt_changing *ch, const char *from, const char *to) {
    cJSON *template = NULL;
    cJSON *volume = NULL;
    cJSON_ArrayForEach(template, vmc_json_at(ch->then, "spec.dataVolumeTemplates")) {
        cJSON *metadata = vmc_json_map(template, "metadata");
        if (vmc_str_eq(vmc_json_key_string(metadata, "name"), from))
            vmc_json_put(metadata, "name", cJSON_CreateString(to));
    }
    cJSON_ArrayForEach(volume, vmc_json_at(ch->then, "spec.template.spec.volumes")) {
        cJSON *source = (cJSON *)vmc_json_key(volume, "dataVolume");
        if (vmc_str_eq(vmc_json_key_string(source, "name"), from))
            vmc_json_put(source, "name", cJSON_CreateString(to));
    }
    for (size_t i = 0; i < ch->out.upload_count; i++) {
        if (strcmp(ch->out.uploads[i].claim, from) != 0)
            continue;
        free(ch->out.uploads[i].claim);
        ch->out.uploads[i].claim = vmc_strdup(to);
    }
}

/* What a disk of that name left behind, or somebody else's volume, must not become the new one's content. */
static int name_volume(kubevirt_changing *ch, const char *base, vmctl_error **err) {
    VMC_AUTO_FREE char *name = vmc_strdup(base);
    for (int number = 2; number <= MOST_NAMES; number++) {
        bool there = false;
        int code = is_made(ch, name)
                       ? 0
                       : kubevirt_claim_exists(ch->conn, ch->vm->namespace_name, name, ch->deadline, &there, err);
        if (code < 0)
            return code;
        if (!there) {
            rename_claim(ch, base, name);
            return 0;
        }
        free(name);
        name = vmc_printf("%s-%d", base, number);
    }
    vmc_error(err, VMCTL_E_ALREADY_EXISTS, "there are %d volumes of names like %s already", MOST_NAMES, base);
    return vmc_error_next(err, "choose another name for the disk, or vmctl image delete those that nobody needs");
}

/* --- whose the claims are ---------------------------------------------------------------------------------------------- */

static int check_claim(kubevirt_changing *ch, const vmctl_node *item, vmctl_error **err) {
    const char *claim = vmctl_node_string(item, "volume", NULL);
    kubevirt_claim_user user = {.except = ch->vm->name, .claim = claim};
    if (!claim)
        return 0;
    int code = kubevirt_find_claim_user(ch->conn, ch->vm->namespace_name, &user, ch->deadline, err);
    VMC_AUTO_FREE char *other = user.name;
    if (code < 0 || !other || (user.shared && vmctl_node_boolean(item, "shared", false)))
        return code;
    vmc_error(err, user.running ? VMCTL_E_BUSY : VMCTL_E_CONFLICT, "%s is a disk of %s%s", claim, other,
              user.running ? ", which runs" : "");
    return vmc_error_next(err, "detach it there first, or give both disks shared: true");
}

int kubevirt_change_disks_check(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
        if (strcmp(where.list, "disks") != 0 || change->action == VMCTL_CHANGE_REMOVE)
            continue;
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s", where.name);
        const vmctl_node *item = vmctl_node_get(vmctl_spec_root(ch->spec), path);
        bool refers = !where.key || strcmp(where.key, "cdrom") == 0 || strcmp(where.key, "pool") == 0;
        if (refers)
            code = kubevirt_references_check_disk(ch->conn, ch->vm->namespace_name, item, ch->deadline, err);
        if (code == 0 && !where.key)
            code = check_claim(ch, item, err);
    }
    for (size_t i = 0; code == 0 && i < ch->fresh.count; i++)
        code = name_volume(ch, ch->fresh.items[i], err);
    return code;
}

/* --- files ------------------------------------------------------------------------------------------------------------- */

/* What virt-controller would make of the template (recording 303). */
static cJSON *new_volume(const kubevirt_changing *ch, const cJSON *template, const char *mark) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "apiVersion", "cdi.kubevirt.io/v1beta1");
    cJSON_AddStringToObject(object, "kind", "DataVolume");
    cJSON *metadata = cJSON_Duplicate(vmc_json_key(template, "metadata"), true);
    cJSON_AddItemToObject(object, "metadata", metadata);
    cJSON_AddStringToObject(vmc_json_map(metadata, "labels"), "kubevirt.io/created-by", ch->vm->uid);
    cJSON *annotations = vmc_json_map(metadata, "annotations");
    cJSON_AddStringToObject(annotations, "cdi.kubevirt.io/allowClaimAdoption", "true");
    cJSON_AddStringToObject(annotations, KUBEVIRT_MARK, mark);
    cJSON *owner = kubevirt_add_owner(object, ch->vm->name, ch->vm->uid);
    cJSON_AddBoolToObject(owner, "controller", true);
    cJSON_AddBoolToObject(owner, "blockOwnerDeletion", true);
    cJSON_AddItemToObject(object, "spec", cJSON_Duplicate(vmc_json_key(template, "spec"), true));
    return object;
}

const cJSON *kubevirt_template_named(const cJSON *vm, const char *name) {
    const cJSON *template;
    cJSON_ArrayForEach(template, vmc_json_at(vm, "spec.dataVolumeTemplates")) {
        if (vmc_str_eq(vmc_json_string(template, "metadata.name", NULL), name))
            return template;
    }
    return NULL;
}

static int make_volume(kubevirt_changing *ch, const char *claim, size_t *entry, vmctl_error **err) {
    char mark[VMC_UUID_BYTES];
    vmc_uuid_new(mark);
    VMC_AUTO_FREE char *detail = vmc_printf("%s/%s %s", ch->vm->namespace_name, claim, mark);
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_CDI, "v1beta1", ch->vm->namespace_name, "datavolumes", NULL, NULL);
    VMC_AUTO_JSON *object = new_volume(ch, kubevirt_template_named(ch->then, claim), mark);
    int code = vmc_journal_add(ch->journal, "datavolume", detail, entry, err);
    return code == 0 ? kube_create(ch->conn->client, path, object, NULL, ch->deadline, NULL, err) : code;
}

static void note_made(kubevirt_sent *sent, const char *claim, size_t entry) {
    sent->entries = vmc_realloc(sent->entries, sent->claims.count + 1, sizeof *sent->entries);
    sent->entries[sent->claims.count] = entry;
    vmc_strv_add(&sent->claims, claim);
}

int kubevirt_change_disks_make(kubevirt_changing *ch, const char *claim, vmctl_error **err) {
    size_t entry = 0;
    if (is_made(ch, claim))
        return 0;
    int code = make_volume(ch, claim, &entry, err);
    if (code == 0)
        note_made(ch->sent, claim, entry);
    return code;
}

static int send_one(kubevirt_changing *ch, const kubevirt_upload *upload, vmctl_error **err) {
    size_t entry = 0;
    int code = make_volume(ch, upload->claim, &entry, err);
    if (code < 0)
        return code;
    const kubevirt_volume volume = {
        .namespace_name = ch->vm->namespace_name, .name = upload->claim, .vm = ch->vm->name};
    code = kubevirt_upload_file(ch->conn, &volume, upload->path, ch->deadline, err);
    if (code < 0)
        return vmc_error_prefix(err, "disk %s", upload->disk);
    note_made(ch->sent, upload->claim, entry);
    return 0;
}

int kubevirt_change_disks_send(kubevirt_changing *ch, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < ch->out.upload_count; i++)
        if (!is_made(ch, ch->out.uploads[i].claim))
            code = send_one(ch, &ch->out.uploads[i], err);
    return code;
}

void kubevirt_change_disks_taken(kubevirt_changing *ch) {
    for (size_t i = 0; i < ch->sent->claims.count; i++)
        vmc_journal_drop(ch->journal, ch->sent->entries[i], NULL);
}

/* --- growing ----------------------------------------------------------------------------------------------------------- */

static int is_grown(const cJSON *claim, void *user, vmctl_error **err) {
    const uint64_t *wanted = user;
    (void)err;
    return !claim || kubevirt_quantity_of(vmc_json_at(claim, "status.capacity.storage")) >= *wanted ||
           kubevirt_condition(claim, "FileSystemResizePending", "True"); /* by the node, when a VM next uses it */
}

typedef struct growing {
    const char *disk;
    uint64_t wanted;
} growing;

static int is_seen(const cJSON *vmi, void *user, vmctl_error **err) {
    const growing *g = user;
    const cJSON *status = vmc_json_item(vmc_json_at(vmi, "status.volumeStatus"), g->disk);
    const cJSON *has = vmc_json_at(status, "persistentVolumeClaimInfo.capacity.storage");
    (void)err;
    return !has || kubevirt_quantity_of(has) >= g->wanted;
}

/* A claim that has grown is seen by the VM's instance some moments later, and then by the guest. */
static int wait_seen(kubevirt_changing *ch, growing *g, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s to see that disk %s has grown", ch->vm->name, g->disk);
    const kubevirt_waiting waiting = {
        .plural = "virtualmachineinstances", .name = ch->vm->name, .doing = doing, .settled = is_seen, .user = g};
    return ch->vmi ? kubevirt_wait(ch->conn, ch->vm, &waiting, deadline, err) : 0;
}

/* The driver of the storage works on it by itself; who has no right to look goes on without. */
static int wait_grown(kubevirt_changing *ch, const char *disk, const char *claim, uint64_t wanted, vmctl_error **err) {
    VMC_AUTO_FREE char *collection = kube_path("", "v1", ch->vm->namespace_name, "persistentvolumeclaims", NULL, NULL);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for disk %s to grow", disk);
    vmc_deadline within = vmc_deadline_within(ch->deadline, GROW_MS);
    VMC_AUTO_JSON *last = NULL;
    growing g = {disk, wanted};
    const kubevirt_waiting waiting = {
        .name = claim, .doing = doing, .settled = is_grown, .user = &wanted, .last = &last};
    vmctl_error *why = NULL;
    int code = kubevirt_wait_in(ch->conn, ch->vm, collection, &waiting, &within, &why);
    if (code == 0 && kubevirt_quantity_of(vmc_json_at(last, "status.capacity.storage")) >= wanted)
        code = wait_seen(ch, &g, &within, &why);
    bool late = code == VMCTL_E_TIMEOUT && vmc_deadline_left(ch->deadline) != 0;
    if (late)
        vmc_note(ch->deadline, VMCTL_NOTE_WARNING, "disk %s is not larger yet: its storage is still working on it",
                 disk);
    if (late || code == VMCTL_E_PERMISSION_DENIED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int kubevirt_grow_check(const kubevirt_vm *vm, const char *disk, const char *claim, vmctl_error **err) {
    if (claim)
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "disk %s is no claim of the cluster, and cannot grow", disk);
    return vmc_error_next(err, "vmctl attach %s disk name=NAME size=SIZE gives it one that can", vm->name);
}

static int grow_one(kubevirt_changing *ch, const kubevirt_place *where, const vmctl_change *change, bool dry_run,
                    vmctl_error **err) {
    const char *claim = kubevirt_claim_of(kubevirt_volume_of(ch->now, where->name));
    uint64_t wanted = (uint64_t)vmctl_node_integer(change->want, NULL, 0);
    int code = kubevirt_grow_check(ch->vm, where->name, claim, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *path = kube_path("", "v1", ch->vm->namespace_name, "persistentvolumeclaims", claim, NULL);
    VMC_AUTO_FREE char *size = kubevirt_quantity_format(wanted);
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    cJSON_AddStringToObject(vmc_json_map(patch, "spec.resources.requests"), "storage", size);
    const kube_write_options options = {.dry_run = dry_run};
    VMC_AUTO_JSON *now = NULL;
    code = kube_patch(ch->conn->client, path, patch, &options, ch->deadline, &now, err);
    if (code < 0)
        return vmc_error_prefix(err, "disk %s", where->name);
    return dry_run || is_grown(now, &wanted, NULL) ? 0 : wait_grown(ch, where->name, claim, wanted, err);
}

/* A claim grows where its storage class allows it. */
int kubevirt_change_disks_grow(kubevirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
        if (where.name && strcmp(where.list, "disks") == 0 && vmc_str_eq(where.key, "size") && change->want)
            code = grow_one(ch, &where, change, dry_run, err);
    }
    return code;
}
