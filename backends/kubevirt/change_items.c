/* Devices in the object that a VM becomes: they come, go, or are made anew of the changed spec. */
#include "change.h"

#include "quantity.h"
#include <string.h>

static void drop_item(cJSON *list, const char *name) {
    cJSON *item = vmc_json_item(list, name);
    cJSON_Delete(item ? cJSON_DetachItemViaPointer(list, item) : NULL);
}

/* The last item of the list takes the place of the one of that name. */
static void move_last_to(cJSON *list, const char *name) {
    int index = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (vmc_str_eq(vmc_json_key_string(item, "name"), name))
            break;
        index++;
    }
    int count = cJSON_GetArraySize(list);
    if (index < count - 1)
        cJSON_ReplaceItemInArray(list, index, cJSON_DetachItemFromArray(list, count - 1));
}

/* KubeVirt takes a card from a running VM when it is asked to by this state; what is not in the list any more waits for the next start. */
static bool take_away(const kubevirt_changing *ch, kubevirt_build *b, const char *name) {
    cJSON *interface = vmc_json_item(vmc_json_key(b->devices, "interfaces"), name);
    VMC_AUTO_FREE char *why = kubevirt_nic_obstacle(interface, vmc_json_item(vmc_json_key(b->pod, "networks"), name));
    bool runs_with_it = vmc_json_item(vmc_json_at(ch->vmi, "spec.domain.devices.interfaces"), name) != NULL;
    if (!runs_with_it || why)
        return false;
    vmc_json_put(interface, "state", cJSON_CreateString("absent"));
    return true;
}

static int drop_device(const kubevirt_changing *ch, kubevirt_build *b, const kubevirt_place *where) {
    static const struct {
        const char *list, *of_devices, *of_pod;
    } kinds[] = {{"disks", "disks", "volumes"},
                 {"networks", "interfaces", "networks"},
                 {"gpus", "gpus", "resourceClaims"},
                 {"usb", "hostDevices", NULL}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].list, where->list) != 0 || (i == 1 && take_away(ch, b, where->name)))
            continue;
        const cJSON *volume = i == 0 ? kubevirt_volume_of(b->vm, where->name) : NULL;
        const cJSON *template = kubevirt_template_of(b->vm, volume);
        if (template) {
            cJSON *templates = vmc_json_list(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates");
            cJSON_Delete(cJSON_DetachItemViaPointer(templates, (cJSON *)template));
        }
        drop_item(vmc_json_list(b->devices, kinds[i].of_devices), where->name);
        if (kinds[i].of_pod && (i < 2 || vmc_json_key(b->pod, kinds[i].of_pod)))
            drop_item(vmc_json_list(b->pod, kinds[i].of_pod), where->name);
        if (i == 1 && cJSON_GetArraySize(vmc_json_key(b->devices, "interfaces")) == 0) /* else KubeVirt gives it one */
            vmc_json_put(b->devices, "autoattachPodInterface", cJSON_CreateFalse());
        if (i == 2) /* it may be a device that is no display */
            drop_item((cJSON *)vmc_json_key(b->devices, "hostDevices"), where->name);
    }
    return 0;
}

static int build_item(kubevirt_build *b, const char *list, const vmctl_node *item) {
    if (strcmp(list, "disks") == 0)
        return kubevirt_build_disk(b, item);
    if (strcmp(list, "networks") == 0)
        return kubevirt_build_nic(b, item);
    return strcmp(list, "gpus") == 0 ? kubevirt_build_gpu(b, item) : kubevirt_build_usb(b, item);
}

/* A volume that comes while the VM runs is marked so; KubeVirt takes no other. */
static void brought(kubevirt_changing *ch, kubevirt_build *b, const char *name) {
    static const char *const kinds[] = {"dataVolume", "persistentVolumeClaim"};
    cJSON *volume = (cJSON *)kubevirt_volume_of(b->vm, name);
    const cJSON *disk = vmc_json_item(vmc_json_key(b->devices, "disks"), name);
    VMC_AUTO_FREE char *why = volume ? kubevirt_disk_obstacle(ch->installation, disk, volume) : NULL;
    if (kubevirt_template_of(b->vm, volume))
        vmc_strv_add(&ch->fresh, kubevirt_claim_of(volume));
    for (size_t i = 0; ch->vmi && !why && i < 2; i++) {
        cJSON *source = (cJSON *)vmc_json_key(volume, kinds[i]);
        if (source)
            vmc_json_put(source, "hotpluggable", cJSON_CreateTrue());
    }
}

/* Of a volume that has another one in its place. */
static void drop_template(kubevirt_build *b, const char *disk) {
    cJSON *templates = cJSON_GetObjectItemCaseSensitive(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates");
    const cJSON *template = kubevirt_template_of(b->vm, kubevirt_volume_of(b->vm, disk));
    if (template)
        cJSON_Delete(cJSON_DetachItemViaPointer(templates, (cJSON *)template));
    if (templates && !templates->child)
        vmc_json_put(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates", NULL);
}

/* Of a disk that is there, only how the guest sees it is made anew; what is on it is not touched. */
static int rebuild_disk(kubevirt_build *b, const kubevirt_place *where, const vmctl_node *item, bool medium) {
    cJSON *disks = vmc_json_list(b->devices, "disks");
    cJSON *volumes = vmc_json_list(b->pod, "volumes");
    cJSON *templates = cJSON_GetObjectItemCaseSensitive(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates");
    int volume_count = cJSON_GetArraySize(volumes);
    int template_count = cJSON_GetArraySize(templates);
    if (medium) {
        drop_template(b, where->name);
        drop_item(volumes, where->name);
    }
    int code = kubevirt_build_disk(b, item);
    if (code < 0)
        return code;
    move_last_to(disks, where->name);
    templates = cJSON_GetObjectItemCaseSensitive(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates");
    for (; !medium && cJSON_GetArraySize(volumes) > volume_count;)
        cJSON_DeleteItemFromArray(volumes, volume_count);
    for (; !medium && cJSON_GetArraySize(templates) > template_count;)
        cJSON_DeleteItemFromArray(templates, template_count);
    if (templates && !templates->child)
        vmc_json_put(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates", NULL);
    return 0;
}

static void resize_template(kubevirt_build *b, const kubevirt_place *where, int64_t bytes) {
    const cJSON *template = kubevirt_template_of(b->vm, kubevirt_volume_of(b->vm, where->name));
    VMC_AUTO_FREE char *size = kubevirt_quantity_format((uint64_t)bytes);
    if (template && bytes > 0)
        vmc_json_put(vmc_json_map((cJSON *)template, "spec.storage.resources.requests"), "storage",
                     cJSON_CreateString(size));
}

static int rebuild_nic(kubevirt_build *b, const kubevirt_place *where, const vmctl_node *item) {
    cJSON *interfaces = vmc_json_list(b->devices, "interfaces");
    cJSON *networks = vmc_json_list(b->pod, "networks");
    /* The one that is replaced must not count as a second one on the pod's network. */
    cJSON *old = vmc_json_item(networks, where->name);
    cJSON *old_pod = old ? cJSON_DetachItemFromObjectCaseSensitive(old, "pod") : NULL;
    cJSON_Delete(old_pod);
    int code = kubevirt_build_nic(b, item);
    if (code < 0)
        return code;
    move_last_to(interfaces, where->name);
    move_last_to(networks, where->name);
    return 0;
}

/* What of a disk that is there can be said anew. */
static bool is_of_target(const char *key) {
    static const char *const keys[] = {"bus", "cache", "io", "serial", "readonly", "shared", "cdrom"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (strcmp(keys[i], key) == 0)
            return true;
    return false;
}

static int set_disk(kubevirt_changing *ch, kubevirt_build *b, const vmctl_change *change, const kubevirt_place *where,
                    const vmctl_node *item) {
    const char *key = where->key ? where->key : "";
    if (strcmp(key, "size") == 0) {
        resize_template(b, where, vmctl_node_integer(item, "size", 0));
        return 0;
    }
    if (kubevirt_is_move(change)) {
        int refused = kubevirt_move_check(ch, change, b->err);
        if (refused == 0)
            kubevirt_move_disk(ch, b, where, item);
        return refused;
    }
    if (!is_of_target(key))
        return vmc_refuse(b->err, VMCTL_E_UNSUPPORTED, change->want, "%s of a disk that is there is not changed", key);
    bool medium = strcmp(key, "cdrom") == 0;
    int code = rebuild_disk(b, where, item, medium);
    if (code == 0 && medium)
        brought(ch, b, where->name);
    return code;
}

int kubevirt_change_item(kubevirt_changing *ch, kubevirt_build *b, const vmctl_change *change,
                         const kubevirt_place *where) {
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", where->list, where->name);
    const vmctl_node *item = vmctl_node_get(b->root, path);
    if (change->action == VMCTL_CHANGE_REMOVE)
        return drop_device(ch, b, where);
    if (!item)
        return vmc_error(b->err, VMCTL_E_INTERNAL, "the changed spec has no %s", path);
    if (change->action == VMCTL_CHANGE_ADD) {
        if (strcmp(where->list, "networks") == 0)
            drop_device(&(kubevirt_changing){0}, b, where); /* one that has gone, and is still noted as absent */
        int code = build_item(b, where->list, item);
        if (code == 0 && strcmp(where->list, "disks") == 0)
            brought(ch, b, where->name);
        return code;
    }
    if (strcmp(where->list, "networks") == 0)
        return rebuild_nic(b, where, item);
    if (strcmp(where->list, "disks") == 0)
        return set_disk(ch, b, change, where, item);
    drop_device(ch, b, where);
    return build_item(b, where->list, item);
}
