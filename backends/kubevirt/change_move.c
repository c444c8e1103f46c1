/* A disk goes to another storage class while the VM runs: KubeVirt copies it by a live migration from the old volume to a new one. Source: KubeVirt's
 * user guide, "Update volume strategy and volume migration". */
#include "change.h"

#include "gates.h"
#include "quantity.h"
#include <stdlib.h>
#include <string.h>

bool kubevirt_is_move(const vmctl_change *change) {
    KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
    return change->action == VMCTL_CHANGE_SET && where.name && strcmp(where.list, "disks") == 0 &&
           vmc_str_eq(where.key, "pool");
}

/* --- what stands in the way -------------------------------------------------------------------------------------------- */

static const char *disk_fault(const cJSON *disk, const cJSON *volume) {
    if (vmc_json_key(disk, "cdrom"))
        return "media of optical drives are not copied";
    if (vmc_json_boolean(disk, "shareable", false))
        return "a disk that others may write to cannot be copied as a whole";
    if (vmc_json_boolean(volume, "dataVolume.hotpluggable", false))
        return "it came while the VM ran; after a restart of the VM without it, and a new attach, it is where you say";
    return NULL;
}

int kubevirt_move_check(const kubevirt_changing *ch, const vmctl_change *change, vmctl_error **err) {
    KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
    const cJSON *volume = kubevirt_volume_of(ch->now, where.name);
    const cJSON *disk = vmc_json_item(vmc_json_at(ch->now, "spec.template.spec.domain.devices.disks"), where.name);
    const char *fault = disk_fault(disk, volume);
    if (!vmctl_node_string(change->want, NULL, NULL))
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, change->want,
                          "disk %s moves to a storage class, and none is named", where.name);
    if (!kubevirt_template_of(ch->now, volume))
        fault = "it is a claim that was there before the VM";
    if (fault)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, change->want, "disk %s stays in its storage class: %s", where.name,
                          fault);
    if (kubevirt_gate(ch->installation, "VolumeMigration") == 0 || !kubevirt_migrates_by_itself(ch->installation)) {
        vmc_refuse(err, VMCTL_E_UNSUPPORTED, change->want,
                   "this cluster's KubeVirt moves no disks: it is older than 1.5, or does not migrate VMs by itself");
        return vmc_error_next(err, "an administrator adds LiveMigrate to the KubeVirt object's "
                                   "workloadUpdateStrategy.workloadUpdateMethods");
    }
    if (!ch->vmi) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "a disk moves while its VM runs, and %s does not", ch->vm->name);
        return vmc_error_next(err, "vmctl start %s", ch->vm->name);
    }
    const cJSON *not = kubevirt_condition(ch->vmi, "StorageLiveMigratable", "False");
    if (not )
        return vmc_error(err, VMCTL_E_INVALID_STATE, "KubeVirt cannot move the disks of %s now: %s", ch->vm->name,
                         vmc_json_string(not, "message", vmc_json_string(not, "reason", "")));
    if (!kubevirt_condition(ch->now, "RestartRequired", "True"))
        return 0;
    vmc_error(err, VMCTL_E_INVALID_STATE,
              "other changes of %s wait for a restart, and KubeVirt moves no disk before it", ch->vm->name);
    return vmc_error_next(err, "vmctl restart %s", ch->vm->name);
}

/* --- before ------------------------------------------------------------------------------------------------------------ */

/* At least as large as what is copied from, which may have grown. */
static void set_size(const kubevirt_changing *ch, const char *disk, cJSON *template) {
    const cJSON *status = vmc_json_item(vmc_json_at(ch->vmi, "status.volumeStatus"), disk);
    const char *has = vmc_json_string(status, "persistentVolumeClaimInfo.capacity.storage", NULL);
    cJSON *requests = vmc_json_map(template, "spec.storage.resources.requests");
    if (has && kubevirt_quantity_of(vmc_json_at(status, "persistentVolumeClaimInfo.capacity.storage")) >
                   kubevirt_quantity_of(vmc_json_key(requests, "storage")))
        vmc_json_put(requests, "storage", cJSON_CreateString(has));
}

void kubevirt_move_disk(kubevirt_changing *ch, kubevirt_build *build, const kubevirt_place *where,
                        const vmctl_node *item) {
    cJSON *template = (cJSON *)kubevirt_template_of(build->vm, kubevirt_volume_of(build->vm, where->name));
    cJSON *spec = vmc_json_map(template, "spec");
    VMC_AUTO_FREE char *claim = vmc_printf("%s-%s", build->name, where->name);
    vmc_json_put(spec, "source", NULL);
    vmc_json_put(spec, "sourceRef", NULL);
    vmc_json_map(spec, "source.blank");
    vmc_json_put(vmc_json_map(spec, "storage"), "storageClassName",
                 cJSON_CreateString(vmctl_node_string(item, "pool", "")));
    set_size(ch, where->name, template);
    vmc_json_put(vmc_json_map(build->vm, "spec"), "updateVolumesStrategy", cJSON_CreateString("Migration"));
    cJSON *volume = (cJSON *)kubevirt_volume_of(build->vm, where->name);
    vmc_json_put(vmc_json_map(template, "metadata"), "name", cJSON_CreateString(claim));
    vmc_json_put(vmc_json_map(volume, "dataVolume"), "name", cJSON_CreateString(claim));
    vmc_strv_add(&ch->fresh, claim);
}

/* --- after ------------------------------------------------------------------------------------------------------------- */

static int remove_volume(const kubevirt_changing *ch, const char *claim, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_CDI, "v1beta1", ch->vm->namespace_name, "datavolumes", claim, NULL);
    vmctl_error *why = NULL;
    vmc_deadline within = {.at_ms = vmc_now_ms() + KUBEVIRT_ASK_MS};
    int code = kube_delete(ch->conn->client, path, NULL, &within, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static const char *claim_of_disk(const cJSON *vm, const char *disk) {
    return kubevirt_claim_of(kubevirt_volume_of(vm, disk));
}

/* Volumes of the old, or of the new place. */
static void remove_volumes(const kubevirt_changing *ch, const vmctl_diff *diff, const cJSON *of) {
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        if (!kubevirt_is_move(change))
            continue;
        KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
        const char *claim = claim_of_disk(of, where.name);
        vmctl_error *why = NULL;
        if (remove_volume(ch, claim, &why) < 0)
            vmc_note(ch->deadline, VMCTL_NOTE_WARNING, "the volume %s/%s could not be removed: %s",
                     ch->vm->namespace_name, claim, vmctl_error_message(why));
        vmctl_error_free(why);
    }
}

/* The old volumes in their places again is how KubeVirt is told to give the copy up. */
static int take_back(const kubevirt_changing *ch, vmctl_error **err) {
    VMC_AUTO_JSON *patch = kubevirt_merge_patch(ch->then, ch->now);
    VMC_AUTO_FREE char *path = kubevirt_vm_path(ch->vm);
    vmc_deadline within = {.at_ms = vmc_now_ms() + KUBEVIRT_ASK_MS};
    /* While the copy is under way, the strategy says what a change of volumes means. */
    cJSON_DeleteItemFromObjectCaseSensitive(vmc_json_map(patch, "spec"), "updateVolumesStrategy");
    return kube_patch(ch->conn->client, path, patch, NULL, &within, NULL, err);
}

int kubevirt_change_moved(kubevirt_changing *ch, const vmctl_diff *diff, int code, vmctl_error **err) {
    vmctl_error *why = NULL;
    if (code < 0) {
        if (take_back(ch, &why) < 0)
            vmc_error_append(err, "; it could not be given up: %s", vmctl_error_message(why));
        else
            remove_volumes(ch, diff, ch->then);
        vmctl_error_free(why);
        return code;
    }
    /* A later change of volumes is to be what it is without a word of the strategy. */
    VMC_AUTO_JSON *patch = cJSON_CreateObject();
    cJSON_AddNullToObject(vmc_json_map(patch, "spec"), "updateVolumesStrategy");
    VMC_AUTO_FREE char *path = kubevirt_vm_path(ch->vm);
    code = kube_patch(ch->conn->client, path, patch, NULL, ch->deadline, NULL, err);
    if (code == 0)
        remove_volumes(ch, diff, ch->now);
    return code;
}
