/* What a running VM has at once, and what waits for its next start. Sources: KubeVirt's user guide, "VM Rollout Strategies", "CPU Hotplug",
 * "Memory Hotplug", "Hotplug Volumes", "Hotplug Network Interfaces", "Link State Management", "Volume migration". */
#include "change.h"

#include "gates.h"
#include "quantity.h"
#include <stdlib.h>
#include <string.h>

enum { VIRTIO_SINCE = 106 };

/* --- devices ----------------------------------------------------------------------------------------------------------- */

static char *gates_obstacle(const cJSON *installation) {
    if (kubevirt_gate(installation, "DeclarativeHotplugVolumes") == 0 &&
        kubevirt_gate(installation, "HotplugVolumes") == 0)
        return vmc_strdup("the cluster's KubeVirt has its gates DeclarativeHotplugVolumes and HotplugVolumes off");
    return NULL;
}

char *kubevirt_disk_obstacle(const cJSON *installation, const cJSON *disk, const cJSON *volume) {
    const cJSON *drive = vmc_json_key(disk, "cdrom");
    const char *bus = vmc_json_string(drive ? drive : vmc_json_key(disk, "disk"), "bus", drive ? "sata" : "virtio");
    if (!vmc_json_key(volume, "dataVolume") && !vmc_json_key(volume, "persistentVolumeClaim"))
        return vmc_strdup("only disks on claims of the cluster come while the VM runs");
    if (drive && strcmp(bus, "sata") != 0)
        return vmc_printf("KubeVirt changes media of drives on sata only, and this one is on %s", bus);
    if (!drive && strcmp(bus, "virtio") != 0 && strcmp(bus, "scsi") != 0)
        return vmc_printf("disks come and go on virtio and scsi while the VM runs, and this one is on %s", bus);
    unsigned version = kubevirt_version_number(vmc_json_string(installation, "status.observedKubeVirtVersion", NULL));
    if (!drive && strcmp(bus, "virtio") == 0 && version && version < VIRTIO_SINCE)
        return vmc_strdup("before KubeVirt 1.6 disks come and go on scsi only while the VM runs");
    return gates_obstacle(installation);
}

char *kubevirt_nic_obstacle(const cJSON *interface, const cJSON *network) {
    const char *model = vmc_json_string(interface, "model", "virtio");
    if (!vmc_json_at(network, "multus"))
        return vmc_strdup("the NIC on the pod's network comes and goes with the pod");
    if (!vmc_json_key(interface, "bridge") || vmc_json_boolean(network, "multus.default", false))
        return vmc_strdup("only NICs that are bridged to a multus network come and go while the VM runs");
    if (strcmp(model, "virtio") != 0)
        return vmc_printf("only NICs of the model virtio come and go while the VM runs, and this one is %s", model);
    return NULL;
}

static char *node_device_obstacle(const char *list, bool adding) {
    if (strcmp(list, "gpus") != 0 && strcmp(list, "usb") != 0)
        return NULL;
    return vmc_printf("KubeVirt %s no device of a node while the VM runs", adding ? "takes" : "gives");
}

char *kubevirt_device_obstacle(const cJSON *installation, const char *list, const cJSON *device, bool adding) {
    if (strcmp(list, "disks") == 0)
        return gates_obstacle(installation);
    if (strcmp(list, "networks") == 0)
        return vmc_json_at(device, "pod") ? kubevirt_nic_obstacle(NULL, device) : NULL;
    return node_device_obstacle(list, adding);
}

static bool is_hotpluggable(const cJSON *volume) {
    return vmc_json_boolean(volume, "dataVolume.hotpluggable", false) ||
           vmc_json_boolean(volume, "persistentVolumeClaim.hotpluggable", false);
}

static char *disk_obstacle(const kubevirt_changing *ch, const char *name, bool adding) {
    const cJSON *of = adding ? ch->then : ch->now;
    const cJSON *volume = kubevirt_volume_of(of, name);
    const cJSON *disk = vmc_json_item(vmc_json_at(of, "spec.template.spec.domain.devices.disks"), name);
    if (adding && vmc_json_key(disk, "cdrom"))
        return vmc_strdup("KubeVirt takes no new optical drive while the VM runs, only media into those that it has");
    if (!adding && (!is_hotpluggable(volume) || vmc_json_key(disk, "cdrom")))
        return vmc_strdup("the VM started with it, and such a disk stays until it stops");
    return kubevirt_disk_obstacle(ch->installation, disk, volume);
}

/* A medium comes into a drive that is empty, or whose medium came in the same way. */
static char *medium_obstacle(const kubevirt_changing *ch, const char *name) {
    const cJSON *was = kubevirt_volume_of(ch->now, name);
    const cJSON *will = kubevirt_volume_of(ch->then, name);
    const cJSON *disk = vmc_json_item(vmc_json_at(ch->vmi, "spec.domain.devices.disks"), name);
    if (!was && !will)
        return NULL;
    if (!disk)
        return vmc_strdup("the drive itself is there after a restart only");
    if (kubevirt_plugs_by_request(ch->installation))
        return vmc_strdup(
            "media change in a running VM by the gate DeclarativeHotplugVolumes, and the cluster's KubeVirt "
            "has it off");
    if (was && !is_hotpluggable(was))
        return vmc_strdup("the VM started with the medium, and such a medium stays until it stops");
    return kubevirt_disk_obstacle(ch->installation, disk, will ? will : was);
}

static char *growth_obstacle(const kubevirt_changing *ch);

/* A card comes and goes with a migration, as CPUs and memory do. */
static char *nic_obstacle(const kubevirt_changing *ch, const char *name, bool adding) {
    const cJSON *of = vmc_json_at(adding ? ch->then : ch->now, "spec.template.spec");
    char *why = kubevirt_nic_obstacle(vmc_json_item(vmc_json_at(of, "domain.devices.interfaces"), name),
                                      vmc_json_item(vmc_json_key(of, "networks"), name));
    return why ? why : growth_obstacle(ch);
}

/* --- CPUs and memory --------------------------------------------------------------------------------------------------- */

/* Whether KubeVirt migrates a VM for what a migration brings; where that cannot be read, it is taken to. */
bool kubevirt_migrates_by_itself(const cJSON *installation) {
    const cJSON *method;
    cJSON_ArrayForEach(method, vmc_json_at(installation, "spec.workloadUpdateStrategy.workloadUpdateMethods")) {
        if (cJSON_IsString(method) && strcmp(method->valuestring, "LiveMigrate") == 0)
            return true;
    }
    return !installation;
}

/* KubeVirt gives a guest more CPUs and memory, and NICs, by migrating it. */
static char *growth_obstacle(const kubevirt_changing *ch) {
    const cJSON *not = kubevirt_condition(ch->vmi, "LiveMigratable", "False");
    if (not )
        return vmc_printf("KubeVirt gives it by migrating the VM, which cannot be: %s",
                          vmc_json_string(not, "message", vmc_json_string(not, "reason", "")));
    if (kubevirt_migrates_by_itself(ch->installation))
        return NULL;
    return vmc_printf("KubeVirt gives it by migrating the VM, and this cluster does not do so by itself: vmctl migrate "
                      "%s --to host: does",
                      ch->vm->name);
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

/* --- one change -------------------------------------------------------------------------------------------------------- */

static bool is_at_once(const char *list) {
    static const char *const at_once[] = {"labels",     "description", "lifetime", "autostart",
                                          "guestAgent", "accel",       "placement"};
    for (size_t i = 0; i < sizeof at_once / sizeof at_once[0]; i++)
        if (strcmp(at_once[i], list) == 0)
            return true;
    return false;
}

static char *key_obstacle(const kubevirt_changing *ch, const kubevirt_place *where) {
    const char *key = where->key ? where->key : "";
    if (strcmp(where->list, "disks") == 0 && strcmp(key, "cdrom") == 0)
        return medium_obstacle(ch, where->name);
    if ((strcmp(where->list, "networks") == 0 && strcmp(key, "link") == 0) ||
        (strcmp(where->list, "disks") == 0 && (strcmp(key, "size") == 0 || strcmp(key, "pool") == 0)))
        return NULL;
    return vmc_strdup("KubeVirt reads it when the VM starts");
}

char *kubevirt_change_obstacle(const kubevirt_changing *ch, const vmctl_change *change) {
    KUBEVIRT_AUTO_PLACE where = kubevirt_place_of(change);
    bool adding = change->action == VMCTL_CHANGE_ADD;
    if (!ch->vmi || is_at_once(where.list))
        return NULL;
    if (ch->restart)
        return vmc_strdup(ch->restart);
    if (kubevirt_condition(ch->now, "RestartRequired", "True"))
        return vmc_strdup("other changes wait for a restart, and KubeVirt keeps their order");
    if (strcmp(change->path, "cpus.count") == 0 || strcmp(change->path, "cpus.sockets") == 0)
        return cpus_obstacle(ch);
    if (strcmp(change->path, "memory.size") == 0)
        return memory_obstacle(ch);
    if (!where.name || change->action == VMCTL_CHANGE_SET)
        return key_obstacle(ch, &where);
    if (strcmp(where.list, "disks") == 0)
        return disk_obstacle(ch, where.name, adding);
    if (strcmp(where.list, "networks") == 0)
        return nic_obstacle(ch, where.name, adding);
    return node_device_obstacle(where.list, adding);
}
