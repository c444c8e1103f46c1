/* Changing a VM: the spec that it will have, the object that comes of it, and one patch. */
#include "change.h"

#include "gates.h"
#include "gpus.h"
#include "quantity.h"
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 };

/* "disks.data.size" -> list "disks", name "data", key "size"; each NULL where there is none. */
typedef struct place {
    char *top, *name, *key;
} place;

static void place_free(place *p) {
    free(p->top);
    free(p->name);
    free(p->key);
}
#define AUTO_PLACE vmc_cleanup(place_free) place

static bool is_list(const char *top) {
    static const char *const lists[] = {"disks", "networks", "gpus", "usb"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcmp(lists[i], top) == 0)
            return true;
    return false;
}

/* Names of devices have no dots in Kubernetes. */
static place place_of(const char *path) {
    place p = {0};
    size_t length = strcspn(path, ".");
    p.top = vmc_strndup(path, length);
    const char *rest = path + length + (path[length] == '.');
    if (is_list(p.top)) {
        length = strcspn(rest, ".");
        p.name = vmc_strndup(rest, length);
        rest += length + (rest[length] == '.');
    }
    if (*rest)
        p.key = vmc_strdup(rest);
    return p;
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
    AUTO_PLACE where = place_of(change->path);
    cJSON *value = change->want ? vmc_json_of_node(change->want) : NULL;
    if (!where.name) {
        /* A label's key may have dots in it. */
        if (strcmp(where.top, "labels") == 0 && where.key)
            vmc_json_put(vmc_json_map(spec, "labels"), where.key, value);
        else
            set_in(spec, change->path, value);
        return;
    }
    cJSON *list = vmc_json_list(spec, where.top);
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

static int drop_device(kubevirt_build *b, const place *where) {
    static const struct {
        const char *list, *of_devices, *of_pod;
    } kinds[] = {{"disks", "disks", "volumes"},
                 {"networks", "interfaces", "networks"},
                 {"gpus", "gpus", "resourceClaims"},
                 {"usb", "hostDevices", NULL}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].list, where->top) != 0)
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
static void mark_hotplugged(kubevirt_build *b, const char *disk) {
    static const char *const kinds[] = {"dataVolume", "persistentVolumeClaim"};
    cJSON *volume = (cJSON *)kubevirt_volume_of(b->vm, disk);
    for (size_t i = 0; i < 2; i++) {
        cJSON *source = (cJSON *)vmc_json_key(volume, kinds[i]);
        if (source)
            vmc_json_put(source, "hotpluggable", cJSON_CreateTrue());
    }
}

/* Of a disk that is there, only how the guest sees it is made anew; what is on it is not touched. */
static int rebuild_disk(kubevirt_build *b, const place *where, const vmctl_node *item, bool medium) {
    cJSON *disks = vmc_json_list(b->devices, "disks");
    cJSON *volumes = vmc_json_list(b->pod, "volumes");
    cJSON *templates = cJSON_GetObjectItemCaseSensitive(vmc_json_map(b->vm, "spec"), "dataVolumeTemplates");
    int volume_count = cJSON_GetArraySize(volumes);
    int template_count = cJSON_GetArraySize(templates);
    if (medium)
        drop_item(volumes, where->name);
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

static void resize_template(kubevirt_build *b, const place *where, int64_t bytes) {
    const cJSON *template = kubevirt_template_of(b->vm, kubevirt_volume_of(b->vm, where->name));
    VMC_AUTO_FREE char *size = kubevirt_quantity_format((uint64_t)bytes);
    if (template && bytes > 0)
        vmc_json_put(vmc_json_map((cJSON *)template, "spec.storage.resources.requests"), "storage",
                     cJSON_CreateString(size));
}

static int rebuild_nic(kubevirt_build *b, const place *where, const vmctl_node *item) {
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

static int change_item(kubevirt_changing *ch, kubevirt_build *b, const vmctl_change *change, const place *where) {
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", where->top, where->name);
    const vmctl_node *item = vmctl_node_get(b->root, path);
    if (change->action == VMCTL_CHANGE_REMOVE)
        return drop_device(b, where);
    if (!item)
        return vmc_error(b->err, VMCTL_E_INTERNAL, "the changed spec has no %s", path);
    if (change->action == VMCTL_CHANGE_ADD) {
        int code = build_item(b, where->top, item);
        if (code == 0 && ch->vmi && strcmp(where->top, "disks") == 0)
            mark_hotplugged(b, where->name);
        if (code == 0 && strcmp(where->top, "networks") == 0) {
            cJSON *devices = b->devices;
            cJSON_DeleteItemFromObjectCaseSensitive(devices, "autoattachPodInterface");
        }
        return code;
    }
    const char *key = where->key ? where->key : "";
    if (strcmp(where->top, "networks") == 0)
        return rebuild_nic(b, where, item);
    if (strcmp(where->top, "disks") == 0 && strcmp(key, "size") == 0) {
        resize_template(b, where, vmctl_node_integer(item, "size", 0));
        return 0;
    }
    if (strcmp(where->top, "disks") == 0)
        return rebuild_disk(b, where, item, strcmp(key, "cdrom") == 0);
    drop_device(b, where);
    return build_item(b, where->top, item);
}

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
    const kubevirt_making making = {.namespace_name = ch->vm->namespace_name,
                                    .storage_class = ch->conn->storage_class,
                                    .permitted = kubevirt_permitted_of(ch->installation)};
    KUBEVIRT_AUTO_MANIFEST out = {.secrets = cJSON_CreateArray()};
    ch->then = cJSON_Duplicate(ch->now, true);
    kubevirt_build b = {.root = vmctl_spec_root(ch->spec),
                        .making = &making,
                        .out = &out,
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
        AUTO_PLACE where = place_of(change->path);
        if (where.name)
            code = change_item(ch, &b, change, &where);
        else if (strcmp(where.top, "labels") == 0 && where.key)
            kubevirt_put_label(ch->then, where.key, vmctl_node_string(change->want, NULL, NULL));
        else
            code = change_key(&b, change, where.top);
    }
    if (code == 0 && kubevirt_has_host_devices(ch->then) && ch->installation)
        code = kubevirt_gpus_check(ch->then, kubevirt_permitted_of(ch->installation), err);
    if (code == 0 && kubevirt_has_host_devices(ch->then))
        code = kubevirt_claims_check(ch->conn, ch->then, ch->installation, ch->deadline, err);
    if (code == 0)
        kubevirt_keep(ch->then, b.root);
    for (size_t i = 0; code == 0 && i < out.notes.count; i++)
        vmc_note(ch->deadline, VMCTL_NOTE_INFO, "%s", out.notes.items[i]);
    return code;
}

/* --- what a running VM has at once ------------------------------------------------------------------------------------- */

char *kubevirt_device_obstacle(const cJSON *installation, const char *list, const cJSON *device, bool adding) {
    const char *verb = adding ? "takes" : "gives";
    if (strcmp(list, "gpus") == 0 || strcmp(list, "usb") == 0)
        return vmc_printf("KubeVirt %s no device of a node while the VM runs", verb);
    if (strcmp(list, "networks") == 0)
        return vmc_json_at(device, "pod") ? vmc_printf("the card on the pod's network comes and goes with the pod")
                                          : NULL;
    if (kubevirt_gate(installation, "DeclarativeHotplugVolumes") == 0 &&
        kubevirt_gate(installation, "HotplugVolumes") == 0)
        return vmc_strdup("the cluster's KubeVirt has its gates DeclarativeHotplugVolumes and HotplugVolumes off");
    return NULL;
}

/* KubeVirt gives a guest more CPUs and memory by migrating it. */
static char *growth_obstacle(const kubevirt_changing *ch) {
    const cJSON *not = kubevirt_condition(ch->vmi, "LiveMigratable", "False");
    const cJSON *method;
    if (not )
        return vmc_printf("KubeVirt gives it by migrating the VM, which cannot be: %s",
                          vmc_json_string(not, "message", vmc_json_string(not, "reason", "")));
    cJSON_ArrayForEach(method, vmc_json_at(ch->installation, "spec.workloadUpdateStrategy.workloadUpdateMethods")) {
        if (cJSON_IsString(method) && strcmp(method->valuestring, "LiveMigrate") == 0)
            return NULL;
    }
    return ch->installation ? vmc_printf("KubeVirt gives it by migrating the VM, and this cluster does not do so by "
                                         "itself: vmctl migrate %s does",
                                         ch->vm->name)
                            : NULL;
}

static char *cpus_obstacle(const kubevirt_changing *ch) {
    const cJSON *now = vmc_json_at(ch->vmi, "spec.domain.cpu");
    const cJSON *then = vmc_json_at(ch->then, "spec.template.spec.domain.cpu");
    int64_t has = vmc_json_integer(now, "sockets", 1);
    int64_t max = vmc_json_integer(now, "maxSockets", has);
    int64_t wants = vmc_json_integer(then, "sockets", 1);
    if (vmc_json_integer(now, "cores", 1) != vmc_json_integer(then, "cores", 1) ||
        vmc_json_integer(now, "threads", 1) != vmc_json_integer(then, "threads", 1))
        return vmc_strdup("KubeVirt adds whole sockets only");
    if (wants < has)
        return vmc_strdup("KubeVirt takes no CPUs from a running VM");
    if (wants > max)
        return vmc_printf("the VM started with room for %lld sockets", (long long)max);
    return growth_obstacle(ch);
}

static char *memory_obstacle(const kubevirt_changing *ch) {
    const cJSON *now = vmc_json_at(ch->vmi, "spec.domain.memory");
    uint64_t has = kubevirt_quantity_of(vmc_json_key(now, "guest"));
    uint64_t max = kubevirt_quantity_of(vmc_json_key(now, "maxGuest"));
    uint64_t wants = kubevirt_quantity_of(vmc_json_at(ch->then, "spec.template.spec.domain.memory.guest"));
    VMC_AUTO_FREE char *room = vmc_format_size((long long)(max ? max : has));
    if (wants < has)
        return vmc_strdup("KubeVirt takes no memory from a running VM");
    if (wants > (max ? max : has))
        return vmc_printf("the VM started with room for %s", room);
    return growth_obstacle(ch);
}

char *kubevirt_change_obstacle(const kubevirt_changing *ch, const vmctl_change *change) {
    static const char *const at_once[] = {"labels",     "description", "lifetime", "autostart",
                                          "guestAgent", "accel",       "placement"};
    AUTO_PLACE where = place_of(change->path);
    if (!ch->vmi)
        return NULL;
    for (size_t i = 0; i < sizeof at_once / sizeof at_once[0]; i++)
        if (strcmp(at_once[i], where.top) == 0)
            return NULL;
    if (kubevirt_condition(ch->now, "RestartRequired", "True"))
        return vmc_strdup("other changes wait for a restart, and KubeVirt keeps their order");
    if (strcmp(change->path, "cpus.count") == 0 || strcmp(change->path, "cpus.sockets") == 0)
        return cpus_obstacle(ch);
    if (strcmp(change->path, "memory.size") == 0)
        return memory_obstacle(ch);
    if (where.name && change->action != VMCTL_CHANGE_SET) {
        bool adding = change->action == VMCTL_CHANGE_ADD;
        const cJSON *of = adding ? ch->then : ch->now;
        const cJSON *network = vmc_json_item(vmc_json_at(of, "spec.template.spec.networks"), where.name);
        const cJSON *volume = kubevirt_volume_of(of, where.name);
        bool hot = vmc_json_boolean(volume, "dataVolume.hotpluggable", false) ||
                   vmc_json_boolean(volume, "persistentVolumeClaim.hotpluggable", false);
        if (strcmp(where.top, "disks") == 0 && !hot)
            return vmc_strdup(adding ? "only disks on claims of the cluster come while the VM runs"
                                     : "the VM started with it, and such a disk stays until it stops");
        return kubevirt_device_obstacle(ch->installation, where.top, network ? network : volume, adding);
    }
    if (where.key && (strcmp(where.key, "link") == 0 || strcmp(where.key, "size") == 0))
        return NULL;
    return vmc_strdup("KubeVirt reads it when the VM starts");
}

/* --- making it --------------------------------------------------------------------------------------------------------- */

/* A claim grows where its storage class allows it. */
static int grow_claims(kubevirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmctl_error **err) {
    for (size_t i = 0; i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        AUTO_PLACE where = place_of(change->path);
        if (!where.name || strcmp(where.top, "disks") != 0 || !vmc_str_eq(where.key, "size") || !change->want)
            continue;
        const cJSON *volume = kubevirt_volume_of(ch->now, where.name);
        const char *claim = vmc_json_string(volume, "persistentVolumeClaim.claimName",
                                            vmc_json_string(volume, "dataVolume.name", NULL));
        if (!claim)
            return vmc_refuse(err, VMCTL_E_UNSUPPORTED, change->want, "disk %s is no claim, and cannot grow",
                              where.name);
        VMC_AUTO_FREE char *path = kube_path("", "v1", ch->vm->namespace_name, "persistentvolumeclaims", claim, NULL);
        VMC_AUTO_FREE char *size = kubevirt_quantity_format((uint64_t)vmctl_node_integer(change->want, NULL, 0));
        VMC_AUTO_JSON *patch = cJSON_CreateObject();
        cJSON_AddStringToObject(vmc_json_map(patch, "spec.resources.requests"), "storage", size);
        const kube_write_options options = {.dry_run = dry_run};
        int code = kube_patch(ch->conn->client, path, patch, &options, ch->deadline, NULL, err);
        if (code < 0)
            return vmc_error_prefix(err, "disk %s", where.name);
    }
    return 0;
}

/* The version in the patch makes it fail where somebody else was faster. */
static int send_patch(const kubevirt_changing *ch, bool dry_run, vmctl_error **err) {
    VMC_AUTO_JSON *patch = kubevirt_merge_patch(ch->now, ch->then);
    if (!patch)
        return 0;
    cJSON_AddStringToObject(vmc_json_map(patch, "metadata"), "resourceVersion",
                            vmc_json_string(ch->now, "metadata.resourceVersion", ""));
    VMC_AUTO_FREE char *path = kubevirt_vm_path(ch->vm);
    const kube_write_options options = {.dry_run = dry_run};
    return kube_patch(ch->conn->client, path, patch, &options, ch->deadline, NULL, err);
}

static int check_live(const kubevirt_changing *ch, const vmctl_diff *diff, bool live, vmctl_error **err) {
    for (size_t i = 0; live && i < vmctl_diff_count(diff); i++) {
        const vmctl_change *change = vmctl_diff_at(diff, i);
        VMC_AUTO_FREE char *why = kubevirt_change_obstacle(ch, change);
        if (!why)
            continue;
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s cannot be changed now: %s", change->path, why);
        return vmc_error_next(err, "leave --live out, and restart %s when it suits", ch->vm->name);
    }
    return 0;
}

static void tell(const kubevirt_changing *ch, const vmctl_diff *diff, const vmctl_change_options *options) {
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
    vmctl_spec_free(ch->spec);
}

static int run_once(kubevirt_changing *ch, const vmctl_diff *diff, const vmctl_change_options *options,
                    vmctl_error **err) {
    int code = kubevirt_vm_get(ch->conn, ch->vm, ch->deadline, &ch->now, err);
    if (code == 0 && vmc_json_boolean(ch->now, "status.created", false) &&
        kubevirt_state(ch->now, NULL, NULL) != VMCTL_STATE_STOPPED)
        code = kubevirt_vmi_get(ch->conn, ch->vm, ch->deadline, &ch->vmi, err);
    if (code == 0)
        code = kubevirt_installation(ch->conn, ch->deadline, &ch->installation, err);
    if (code == 0)
        code = plan_spec(ch, diff, err);
    if (code == 0)
        code = plan_object(ch, diff, err);
    if (code == 0)
        code = check_live(ch, diff, options->live, err);
    if (code == 0)
        code = grow_claims(ch, diff, true, err); /* whether they can, before anything is touched */
    if (code == 0)
        code = send_patch(ch, options->dry_run, err);
    if (code == 0 && !options->dry_run)
        code = grow_claims(ch, diff, false, err);
    if (code == 0)
        tell(ch, diff, options);
    return code;
}

/* A conflict is another one's change in between: everything is decided anew on what is there then. */
int kubevirt_changing_run(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_diff *diff,
                          const vmctl_change_options *options, const vmc_deadline *deadline, vmctl_error **err) {
    int code = 0;
    for (int i = 0; i < TRIES; i++) {
        kubevirt_changing ch = {.conn = conn, .vm = vm, .deadline = deadline};
        vmctl_error *why = NULL;
        code = run_once(&ch, diff, options, &why);
        changing_free(&ch);
        if (code != VMCTL_E_CONFLICT || i == TRIES - 1) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
    }
    return code;
}

int kubevirt_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                    vmc_journal *journal, vmctl_error **err) {
    (void)journal; /* one patch: nothing is half made */
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ACT_MS);
    return kubevirt_changing_run(conn, vm, diff, options, &deadline, err);
}
