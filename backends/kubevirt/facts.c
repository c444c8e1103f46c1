/* The facts of the common model, from a VirtualMachine and its instance. */
#include "ops.h"

#include "guest_info.h"
#include "quantity.h"
#include <string.h>
#include <time.h>
#include <vmctl/device.h>

enum { MOST_ADDRESSES = 32, MOST_LABELS = 64, MOST_GPUS = 32, MOST_DEVICES = 128 };

typedef struct gathering {
    const cJSON *vm, *vmi;
    vmctl_address addresses[MOST_ADDRESSES];
    size_t address_count;
    vmctl_gpu_ref gpus[MOST_GPUS];
    size_t gpu_count;
    vmctl_device devices[MOST_DEVICES];
    size_t device_count;
    vmctl_label labels[MOST_LABELS];
    size_t label_count;
    cJSON *other_labels; /* of the annotation */
    vmc_strv texts;      /* owned while the facts are told */
} gathering;

static const char *own(gathering *g, char *text) {
    vmc_strv_take(&g->texts, text);
    return text;
}

/* --- addresses --------------------------------------------------------------------------------------------------------- */

/* The card is on the cluster's own network, whose addresses lead nowhere outside of it. */
static bool is_on_pod_network(const cJSON *vmi, const char *name) {
    return vmc_json_key(vmc_json_item(vmc_json_at(vmi, "spec.networks"), name), "pod") != NULL;
}

/* infoSource: "domain, guest-agent", "domain", "multus-status". */
static void add_addresses(gathering *g) {
    const cJSON *interface;
    const cJSON *ip;
    cJSON_ArrayForEach(interface, vmc_json_at(g->vmi, "status.interfaces")) {
        const char *name = vmc_json_string(interface, "name", NULL);
        bool agent = strstr(vmc_json_string(interface, "infoSource", ""), "guest-agent") != NULL;
        cJSON_ArrayForEach(ip, vmc_json_key(interface, "ipAddresses")) {
            if (!cJSON_IsString(ip) || !*ip->valuestring || g->address_count == MOST_ADDRESSES)
                continue;
            g->addresses[g->address_count++] = (vmctl_address){.size = sizeof(vmctl_address),
                                                               .ip = ip->valuestring,
                                                               .mac = vmc_json_string(interface, "mac", NULL),
                                                               .source = agent ? "agent" : "lease",
                                                               .device = name,
                                                               .inside = is_on_pod_network(g->vmi, name)};
        }
    }
}

/* --- devices ----------------------------------------------------------------------------------------------------------- */

static vmctl_device *next_device(gathering *g, vmctl_device_kind kind, const char *name) {
    static vmctl_device beyond; /* more than any VM has */
    vmctl_device *device = g->device_count < MOST_DEVICES ? &g->devices[g->device_count++] : &beyond;
    *device = (vmctl_device){.size = sizeof *device, .kind = kind, .name = name, .link_up = true};
    return device;
}

static const cJSON *volume_status(const gathering *g, const char *name) {
    return vmc_json_item(vmc_json_at(g->vmi, "status.volumeStatus"), name);
}

static bool is_in_list(const cJSON *list, const char *name) {
    return vmc_json_item(list, name) != NULL;
}

static const char *source_of(gathering *g, const cJSON *volume) {
    const char *container = vmc_json_string(volume, "containerDisk.image", NULL);
    const char *claim = vmc_json_string(volume, "persistentVolumeClaim.claimName", NULL);
    if (!claim)
        claim = vmc_json_string(volume, "dataVolume.name", NULL);
    if (container)
        return own(g, vmc_printf("docker://%s", container));
    if (claim)
        return claim;
    const char *kind = volume && volume->child && volume->child->next ? volume->child->next->string : NULL;
    return kind && strcmp(kind, "name") != 0 ? kind : volume && volume->child ? volume->child->string : NULL;
}

static void add_disk(gathering *g, const cJSON *disk, bool pending, bool leaving) {
    const char *name = vmc_json_key_string(disk, "name");
    const cJSON *drive = vmc_json_key(disk, "cdrom");
    const cJSON *volume = name ? kubevirt_volume_of(g->vm, name) : NULL;
    if (!name)
        return;
    vmctl_device *to = next_device(g, drive ? VMCTL_DEVICE_CDROM : VMCTL_DEVICE_DISK, name);
    const cJSON *status = volume_status(g, name);
    const cJSON *template = kubevirt_template_of(g->vm, volume);
    to->bus = vmc_json_string(drive ? drive : vmc_json_key(disk, "disk"), "bus", NULL);
    to->target = vmc_json_string(status, "target", NULL);
    if (to->target && !*to->target)
        to->target = NULL;
    to->source = source_of(g, volume);
    to->readonly = drive != NULL || vmc_json_boolean(disk, "disk.readonly", false);
    to->own = template != NULL;
    to->pending = pending;
    to->leaving = leaving;
    to->capacity_bytes = kubevirt_quantity_of(vmc_json_at(status, "persistentVolumeClaimInfo.capacity.storage"));
    if (!to->capacity_bytes)
        to->capacity_bytes = kubevirt_quantity_of(vmc_json_at(template, "spec.storage.resources.requests.storage"));
}

static void add_nic(gathering *g, const cJSON *interface, bool pending, bool leaving) {
    const char *name = vmc_json_key_string(interface, "name");
    if (!name || vmc_str_eq(vmc_json_string(interface, "state", NULL), "absent"))
        return;
    vmctl_device *to = next_device(g, VMCTL_DEVICE_NIC, name);
    const cJSON *network = vmc_json_item(vmc_json_at(g->vm, "spec.template.spec.networks"), name);
    const cJSON *status = vmc_json_item(vmc_json_at(g->vmi, "status.interfaces"), name);
    const char *multus = vmc_json_string(network, "multus.networkName", NULL);
    to->bus = vmc_json_string(interface, "model", "virtio");
    to->type = multus ? "multus" : vmc_json_key(interface, "bridge") ? "bridge" : "pod";
    to->source = multus;
    to->mac = vmc_json_string(interface, "macAddress", vmc_json_string(status, "mac", NULL));
    to->target = vmc_json_string(status, "interfaceName", NULL);
    to->link_up = !vmc_str_eq(vmc_json_string(interface, "state", NULL), "down");
    to->pending = pending;
    to->leaving = leaving;
}

/* The devices of the VM, with what is there until or from the next start. */
static void add_list(gathering *g, const char *key, void (*add)(gathering *, const cJSON *, bool, bool)) {
    const cJSON *planned = vmc_json_key(vmc_json_at(g->vm, "spec.template.spec.domain.devices"), key);
    const cJSON *now = g->vmi ? vmc_json_key(vmc_json_at(g->vmi, "spec.domain.devices"), key) : NULL;
    const cJSON *device;
    cJSON_ArrayForEach(device, planned) {
        const char *name = vmc_json_key_string(device, "name");
        add(g, device, g->vmi && name && !is_in_list(now, name), false);
    }
    cJSON_ArrayForEach(device, now) {
        const char *name = vmc_json_key_string(device, "name");
        if (name && !is_in_list(planned, name))
            add(g, device, false, true);
    }
}

/* What was plugged and is to go, while its guest holds it: the instance's list has it no more, its status has (v1.VolumeStatus, phase Detaching). */
static void add_held(gathering *g) {
    const cJSON *status;
    cJSON_ArrayForEach(status, vmc_json_at(g->vmi, "status.volumeStatus")) {
        const char *name = vmc_json_key_string(status, "name");
        if (!name || !vmc_json_key(status, "hotplugVolume") || is_in_list(vmc_json_at(g->vmi, "spec.volumes"), name) ||
            kubevirt_volume_of(g->vm, name))
            continue;
        vmctl_device *to = next_device(g, VMCTL_DEVICE_DISK, name);
        to->target = vmc_json_string(status, "target", NULL);
        to->source = vmc_json_string(status, "persistentVolumeClaimInfo.claimName", NULL);
        to->capacity_bytes = kubevirt_quantity_of(vmc_json_at(status, "persistentVolumeClaimInfo.capacity.storage"));
        to->leaving = true;
    }
}

static void add_parts(gathering *g) {
    const cJSON *devices = vmc_json_at(g->vm, "spec.template.spec.domain.devices");
    if (!cJSON_IsFalse(vmc_json_key(devices, "autoattachGraphicsDevice")))
        next_device(g, VMCTL_DEVICE_DISPLAY, "display")->type = "vnc";
    if (!cJSON_IsFalse(vmc_json_key(devices, "autoattachSerialConsole")))
        next_device(g, VMCTL_DEVICE_SERIAL, "serial");
    if (vmc_json_key(devices, "tpm"))
        next_device(g, VMCTL_DEVICE_TPM, "tpm");
    if (vmc_json_key(devices, "rng"))
        next_device(g, VMCTL_DEVICE_RNG, "rng");
    if (vmc_json_key(devices, "watchdog"))
        next_device(g, VMCTL_DEVICE_WATCHDOG, vmc_json_string(devices, "watchdog.name", "watchdog"));
}

static void add_gpus(gathering *g) {
    static const char *const lists[] = {"gpus", "hostDevices"};
    const cJSON *devices = vmc_json_at(g->vm, "spec.template.spec.domain.devices");
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        const cJSON *gpu;
        cJSON_ArrayForEach(gpu, vmc_json_key(devices, lists[l])) {
            const char *model = vmc_json_string(gpu, "deviceName", vmc_json_string(gpu, "requestName", NULL));
            if (l == 0 && g->gpu_count < MOST_GPUS)
                g->gpus[g->gpu_count++] = (vmctl_gpu_ref){
                    .size = sizeof(vmctl_gpu_ref), .name = vmc_json_string(gpu, "name", NULL), .model = model};
        }
    }
}

static void add_gpu_devices(gathering *g) {
    for (size_t i = 0; i < g->gpu_count; i++)
        next_device(g, VMCTL_DEVICE_GPU, g->gpus[i].name)->source = g->gpus[i].model;
}

/* --- the marker -------------------------------------------------------------------------------------------------------- */

static void add_labels(gathering *g) {
    const char *text = vmc_json_key_string(vmc_json_at(g->vm, "metadata.annotations"), KUBEVIRT_LABELS);
    g->other_labels = text ? cJSON_Parse(text) : NULL;
    const cJSON *sets[] = {vmc_json_at(g->vm, "metadata.labels"), g->other_labels};
    for (size_t s = 0; s < 2; s++) {
        const cJSON *label;
        cJSON_ArrayForEach(label, sets[s]) {
            if (cJSON_IsString(label) && (s == 1 || kubevirt_is_own_label(label->string)) &&
                g->label_count < MOST_LABELS)
                g->labels[g->label_count++] = (vmctl_label){label->string, label->valuestring};
        }
    }
}

/* --- filters and delivery ---------------------------------------------------------------------------------------------- */

/* -l takes any label of the object: kubectl's users select by those of others, too. */
static bool has_label(const gathering *g, const vmctl_label *wanted) {
    for (size_t i = 0; i < g->label_count; i++)
        if (strcmp(g->labels[i].key, wanted->key) == 0)
            return vmc_str_eq(g->labels[i].value, wanted->value);
    return vmc_str_eq(vmc_json_key_string(vmc_json_at(g->vm, "metadata.labels"), wanted->key), wanted->value);
}

static bool is_wanted(const gathering *g, const vmctl_list_options *options, vmctl_state state) {
    if (!options)
        return true;
    const char *owner = vmc_json_key_string(vmc_json_at(g->vm, "metadata.annotations"), KUBEVIRT_OWNER);
    if (options->name && !vmc_str_eq(options->name, vmc_json_string(g->vm, "metadata.name", NULL)))
        return false;
    if (options->states && !(options->states & (1u << state)))
        return false;
    if (options->owner && !vmc_str_eq(options->owner, owner))
        return false;
    for (size_t i = 0; i < options->label_count; i++)
        if (!has_label(g, &options->labels[i]))
            return false;
    return true;
}

static int64_t uptime_of(const cJSON *vmi) {
    const cJSON *step;
    cJSON_ArrayForEach(step, vmc_json_at(vmi, "status.phaseTransitionTimestamps")) {
        int64_t since = kubevirt_time_of(vmc_json_string(step, "phaseTransitionTimestamp", NULL));
        if (strcmp(vmc_json_string(step, "phase", ""), "Running") == 0 && since)
            return time(NULL) > since ? time(NULL) - since : 0;
    }
    return -1;
}

static const char *arch_of(const cJSON *pod) {
    const char *arch = vmc_json_string(pod, "architecture", NULL);
    return vmc_str_eq(arch, "amd64") ? "x86_64" : vmc_str_eq(arch, "arm64") ? "aarch64" : arch;
}

static void fill_config(vmctl_vm_info *info, const cJSON *vm, const cJSON *vmi) {
    const cJSON *pod = vmc_json_at(vm, "spec.template.spec");
    const char *strategy = kubevirt_strategy(vm);
    bool planned = vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), KUBEVIRT_STRATEGY) != NULL;
    info->arch = arch_of(pod);
    info->machine = vmc_json_string(pod, "domain.machine.type", NULL);
    info->firmware = vmc_json_at(pod, "domain.firmware.bootloader.efi") ? "uefi" : "bios";
    info->autostart = planned || strcmp(strategy, "Always") == 0 || strcmp(strategy, "RerunOnFailure") == 0;
    info->agent_connected = vmi ? kubevirt_condition(vmi, "AgentConnected", "True") != NULL : -1;
    info->uptime_seconds = vmi ? uptime_of(vmi) : -1;
    info->restart_required = kubevirt_condition(vm, "RestartRequired", "True") != NULL;
}

/* What it has now, else what it will have. With an instance type only the instance knows. */
static void fill_resources(vmctl_vm_info *info, const cJSON *vm, const cJSON *vmi) {
    const cJSON *domain = vmc_json_at(vm, "spec.template.spec.domain");
    const cJSON *now = vmc_json_at(vmi, "status.currentCPUTopology");
    info->cpus = kubevirt_read_cpus(now ? now : vmc_json_at(vmi, "spec.domain.cpu"));
    if (!info->cpus)
        info->cpus = kubevirt_read_cpus(vmc_json_key(domain, "cpu"));
    if (!info->cpus && !vmc_json_at(vm, "spec.instancetype"))
        info->cpus = 1; /* KubeVirt's own default */
    uint64_t bytes = kubevirt_quantity_of(vmc_json_at(vmi, "status.memory.guestCurrent"));
    if (!bytes)
        bytes = kubevirt_quantity_of(vmc_json_at(domain, "memory.guest"));
    if (!bytes)
        bytes = kubevirt_quantity_of(vmc_json_at(domain, "resources.requests.memory"));
    info->memory_mib = bytes >> 20;
    if (info->cpus || info->memory_mib)
        info->present |= VMCTL_FACT_RESOURCES;
}

int kubevirt_facts_deliver(const cJSON *vm, const cJSON *vmi, const cJSON *guest, const char *policy, int snapshots,
                           unsigned facts, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user) {
    gathering g = {.vm = vm, .vmi = vmi};
    VMC_AUTO_FREE char *reason = NULL;
    const cJSON *annotations = vmc_json_at(vm, "metadata.annotations");
    vmctl_state state = kubevirt_state(vm, vmi, &reason);
    int stop = 0;
    add_labels(&g);
    if (is_wanted(&g, options, state)) {
        vmctl_vm_info info = {
            .size = sizeof info,
            .present = VMCTL_FACT_STATE | VMCTL_FACT_MARKER | VMCTL_FACT_CONFIG | VMCTL_FACT_GPUS,
            .name = vmc_json_string(vm, "metadata.name", NULL),
            .id = vmc_json_string(vm, "metadata.uid", NULL),
            .backend = "kubevirt",
            .namespace_name = vmc_json_string(vm, "metadata.namespace", NULL),
            .state = state,
            .state_reason = reason,
            .host = vmc_json_string(vmi, "status.nodeName", NULL),
            .managed = vmc_json_key_string(annotations, KUBEVIRT_CREATED) != NULL,
            .owner = vmc_json_key_string(annotations, KUBEVIRT_OWNER),
            .run = vmc_json_key_string(annotations, KUBEVIRT_RUN),
            .created = kubevirt_time_of(vmc_json_key_string(annotations, KUBEVIRT_CREATED)),
            .expires = kubevirt_time_of(vmc_json_key_string(annotations, KUBEVIRT_EXPIRES)),
            .description = vmc_json_key_string(annotations, KUBEVIRT_DESCRIPTION),
            .labels = g.labels,
            .label_count = g.label_count,
        };
        /* Of VMs that others made, Kubernetes knows when. */
        if (!info.created)
            info.created = kubevirt_time_of(vmc_json_string(vm, "metadata.creationTimestamp", NULL));
        fill_resources(&info, vm, vmi);
        fill_config(&info, vm, vmi);
        add_gpus(&g);
        info.gpus = g.gpus;
        info.gpu_count = g.gpu_count;
        if (facts & VMCTL_FACT_ADDRESSES) {
            add_addresses(&g);
            info.present |= VMCTL_FACT_ADDRESSES;
            info.addresses = g.addresses;
            info.address_count = g.address_count;
        }
        if (facts & VMCTL_FACT_DEVICES) {
            add_list(&g, "disks", add_disk);
            add_held(&g);
            add_list(&g, "interfaces", add_nic);
            add_gpu_devices(&g);
            add_parts(&g);
            info.present |= VMCTL_FACT_DEVICES;
            info.devices = g.devices;
            info.device_count = g.device_count;
        }
        if (snapshots >= 0) {
            info.present |= VMCTL_FACT_SNAPSHOTS;
            info.snapshot_count = (unsigned)snapshots;
        }
        vmc_cleanup(kubevirt_guest_free) kubevirt_guest inside = {0};
        if (guest) {
            kubevirt_guest_info_read(guest, &inside);
            info.guest = &inside.guest;
            info.present |= VMCTL_FACT_GUEST;
        }
        if (policy) {
            info.migration_policy = policy;
            info.present |= VMCTL_FACT_POLICY;
        }
        stop = each(&info, user) != 0;
    }
    cJSON_Delete(g.other_labels);
    vmc_strv_free(&g.texts);
    return stop;
}
