/* Any VirtualMachine in vm.yaml's words. What vm.yaml cannot say stays out, and is then never touched by apply. */
#include "manifest.h"

#include "quantity.h"
#include <stdlib.h>
#include <string.h>

/* --- volumes --------------------------------------------------------------------------------------------------------- */

const cJSON *kubevirt_volume_of(const cJSON *vm, const char *disk) {
    return vmc_json_item(vmc_json_at(vm, "spec.template.spec.volumes"), disk);
}

const cJSON *kubevirt_template_of(const cJSON *vm, const cJSON *volume) {
    const char *name = vmc_json_string(volume, "dataVolume.name", NULL);
    const cJSON *template;
    cJSON_ArrayForEach(template, vmc_json_at(vm, "spec.dataVolumeTemplates")) {
        if (name && vmc_str_eq(vmc_json_string(template, "metadata.name", NULL), name))
            return template;
    }
    return NULL;
}

static void put_size(cJSON *map, const char *key, uint64_t bytes) {
    VMC_AUTO_FREE char *text = vmc_format_size((long long)bytes);
    if (bytes)
        cJSON_AddStringToObject(map, key, text);
}

static char *reference(const cJSON *vm, const char *prefix, const cJSON *to) {
    const char *namespace_name = vmc_json_string(to, "namespace", "");
    const char *own = vmc_json_string(vm, "metadata.namespace", "");
    bool elsewhere = *namespace_name && strcmp(namespace_name, own) != 0;
    return vmc_printf("%s%s%s%s", prefix, elsewhere ? namespace_name : "", elsewhere ? "/" : "",
                      vmc_json_string(to, "name", ""));
}

/* What the data volume is made from; NULL: nothing (blank, upload), or nothing that vm.yaml can name. free */
static char *origin_of(const cJSON *vm, const cJSON *spec) {
    static const char *const urls[] = {"source.http.url", "source.s3.url", "source.gcs.url", "source.registry.url"};
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        if (vmc_json_string(spec, urls[i], NULL))
            return vmc_strdup(vmc_json_string(spec, urls[i], NULL));
    if (vmc_json_at(spec, "source.pvc"))
        return reference(vm, "pvc:", vmc_json_at(spec, "source.pvc"));
    if (vmc_json_at(spec, "source.snapshot"))
        return reference(vm, "snapshot:", vmc_json_at(spec, "source.snapshot"));
    if (vmc_str_eq(vmc_json_string(spec, "sourceRef.kind", NULL), "DataSource"))
        return reference(vm, "library:", vmc_json_at(spec, "sourceRef"));
    return NULL;
}

static uint64_t requested(const cJSON *spec) {
    uint64_t bytes = kubevirt_quantity_of(vmc_json_at(spec, "storage.resources.requests.storage"));
    return bytes ? bytes : kubevirt_quantity_of(vmc_json_at(spec, "pvc.resources.requests.storage"));
}

static const char *storage_class(const cJSON *spec) {
    const char *name = vmc_json_string(spec, "storage.storageClassName", NULL);
    return name ? name : vmc_json_string(spec, "pvc.storageClassName", NULL);
}

/* false: a volume that is no disk of vm.yaml's. */
static bool put_volume(cJSON *to, const cJSON *vm, const cJSON *volume, bool drive) {
    const char *key = drive ? "cdrom" : "image";
    const cJSON *template = kubevirt_template_of(vm, volume);
    const char *container = vmc_json_string(volume, "containerDisk.image", NULL);
    const char *claim = vmc_json_string(volume, "persistentVolumeClaim.claimName", NULL);
    if (container) {
        VMC_AUTO_FREE char *text = vmc_printf("docker://%s", container);
        cJSON_AddStringToObject(to, key, text);
        return true;
    }
    if (template) {
        const cJSON *spec = vmc_json_key(template, "spec");
        VMC_AUTO_FREE char *origin = origin_of(vm, spec);
        vmc_json_text(to, key, drive && !origin ? "" : origin);
        if (!drive) {
            put_size(to, "size", requested(spec));
            vmc_json_text(to, "pool", storage_class(spec));
        }
        return true;
    }
    if (!claim) /* of a data volume that somebody else made, the PVC has its name */
        claim = vmc_json_string(volume, "dataVolume.name", NULL);
    if (claim) {
        VMC_AUTO_FREE char *text = vmc_printf("%s%s", drive ? "pvc:" : "", claim);
        cJSON_AddStringToObject(to, drive ? "cdrom" : "volume", text);
        return true;
    }
    return false;
}

cJSON *kubevirt_read_disk(const cJSON *vm, const cJSON *disk) {
    const char *name = vmc_json_key_string(disk, "name");
    const cJSON *drive = vmc_json_key(disk, "cdrom");
    const cJSON *target = drive ? drive : vmc_json_key(disk, "disk");
    const cJSON *volume = name ? kubevirt_volume_of(vm, name) : NULL;
    if (!name || (!volume && !drive) || vmc_json_key(disk, "lun"))
        return NULL;
    cJSON *to = cJSON_CreateObject();
    cJSON_AddStringToObject(to, "name", name);
    if (!volume) {
        cJSON_AddStringToObject(to, "cdrom", "");
    } else if (!put_volume(to, vm, volume, drive != NULL)) {
        cJSON_Delete(to);
        return NULL;
    }
    vmc_json_text(to, "bus", vmc_json_string(target, "bus", NULL));
    vmc_json_text(to, "cache", vmc_json_string(disk, "cache", NULL));
    vmc_json_text(to, "io", vmc_json_string(disk, "io", NULL));
    vmc_json_text(to, "serial", vmc_json_string(disk, "serial", NULL));
    if (!drive && vmc_json_boolean(target, "readonly", false))
        cJSON_AddBoolToObject(to, "readonly", true);
    if (vmc_json_boolean(disk, "shareable", false))
        cJSON_AddBoolToObject(to, "shared", true);
    return to;
}

/* --- networks -------------------------------------------------------------------------------------------------------- */

cJSON *kubevirt_read_nic(const cJSON *vm, const cJSON *interface) {
    const char *name = vmc_json_key_string(interface, "name");
    const cJSON *network = name ? vmc_json_item(vmc_json_at(vm, "spec.template.spec.networks"), name) : NULL;
    bool bridge = vmc_json_key(interface, "bridge") != NULL;
    if (!network || vmc_str_eq(vmc_json_string(interface, "state", NULL), "absent"))
        return NULL;
    cJSON *to = cJSON_CreateObject();
    cJSON_AddStringToObject(to, "name", name);
    const char *multus = vmc_json_string(network, "multus.networkName", NULL);
    cJSON_AddStringToObject(to, "type", multus ? "multus" : bridge ? "bridge" : "pod");
    vmc_json_text(to, "source", multus ? multus : bridge ? "pod" : NULL);
    vmc_json_text(to, "model", vmc_json_string(interface, "model", NULL));
    vmc_json_text(to, "mac", vmc_json_string(interface, "macAddress", NULL));
    if (vmc_str_eq(vmc_json_string(interface, "state", NULL), "down"))
        cJSON_AddStringToObject(to, "link", "down");
    return to;
}

/* --- the rest -------------------------------------------------------------------------------------------------------- */

static void put_gpus(cJSON *spec, const cJSON *devices) {
    const cJSON *gpu;
    cJSON_ArrayForEach(gpu, vmc_json_key(devices, "gpus")) {
        cJSON *to = cJSON_CreateObject();
        const char *resource = vmc_json_key_string(gpu, "deviceName");
        vmc_json_text(to, "name", vmc_json_key_string(gpu, "name"));
        vmc_json_text(to, "resource", resource);
        if (!resource)
            vmc_json_text(vmc_json_map(to, "any"), "request", vmc_json_key_string(gpu, "requestName"));
        cJSON_AddItemToArray(vmc_json_list(spec, "gpus"), to);
    }
}

static void put_cpus(cJSON *spec, const cJSON *cpu) {
    unsigned count = kubevirt_read_cpus(cpu);
    int64_t cores = vmc_json_integer(cpu, "cores", 1), threads = vmc_json_integer(cpu, "threads", 1);
    const char *model = vmc_json_string(cpu, "model", NULL);
    if (!count && !model)
        return;
    cJSON *to = vmc_json_map(spec, "cpus");
    if (count)
        cJSON_AddNumberToObject(to, "count", count);
    if (cores > 1 || threads > 1) {
        cJSON_AddNumberToObject(to, "sockets", (double)vmc_json_integer(cpu, "sockets", 1));
        cJSON_AddNumberToObject(to, "cores", (double)cores);
        cJSON_AddNumberToObject(to, "threads", (double)threads);
    }
    if (model)
        cJSON_AddStringToObject(to, "model", strcmp(model, "host-passthrough") == 0 ? "host" : model);
    int64_t sockets = vmc_json_integer(cpu, "maxSockets", 0);
    if (count && sockets > 0)
        cJSON_AddNumberToObject(to, "max", (double)(sockets * cores * threads));
}

static void put_memory(cJSON *spec, const cJSON *domain) {
    uint64_t guest = kubevirt_quantity_of(vmc_json_at(domain, "memory.guest"));
    if (!guest)
        guest = kubevirt_quantity_of(vmc_json_at(domain, "resources.requests.memory"));
    if (!guest)
        return;
    cJSON *to = vmc_json_map(spec, "memory");
    put_size(to, "size", guest);
    put_size(to, "max", kubevirt_quantity_of(vmc_json_at(domain, "memory.maxGuest")));
    if (vmc_json_at(domain, "memory.hugepages"))
        cJSON_AddBoolToObject(to, "hugepages", true);
}

static void put_machine(cJSON *spec, const cJSON *pod) {
    static const char *const arches[][2] = {{"amd64", "x86_64"}, {"arm64", "aarch64"}, {"s390x", "s390x"}};
    const cJSON *domain = vmc_json_key(pod, "domain");
    const char *arch = vmc_json_string(pod, "architecture", NULL);
    for (size_t i = 0; arch && i < sizeof arches / sizeof arches[0]; i++)
        if (strcmp(arch, arches[i][0]) == 0)
            cJSON_AddStringToObject(spec, "arch", arches[i][1]);
    if (vmc_json_at(domain, "features.hyperv"))
        cJSON_AddStringToObject(spec, "guest", "windows");
    vmc_json_text(spec, "machine", vmc_json_string(domain, "machine.type", NULL));
    const cJSON *efi = vmc_json_at(domain, "firmware.bootloader.efi");
    const cJSON *tpm = vmc_json_at(domain, "devices.tpm");
    if (efi) {
        cJSON_AddStringToObject(vmc_json_map(spec, "firmware"), "type", "uefi");
        if (vmc_json_boolean(efi, "secureBoot", true))
            cJSON_AddBoolToObject(vmc_json_map(spec, "firmware"), "secureBoot", true);
    } else if (vmc_json_at(domain, "firmware.bootloader.bios")) {
        cJSON_AddStringToObject(vmc_json_map(spec, "firmware"), "type", "bios");
    }
    if (tpm && vmc_json_boolean(tpm, "enabled", true))
        cJSON_AddBoolToObject(vmc_json_map(spec, "firmware"), "tpm", true);
    const cJSON *security = vmc_json_key(domain, "launchSecurity");
    if (security && security->child && security->child->string)
        cJSON_AddStringToObject(spec, "confidential",
                                strcmp(security->child->string, "snp") == 0 ? "sev-snp" : security->child->string);
}

typedef struct ordered {
    int64_t order;
    const char *name;
} ordered;

static int by_order(const void *a, const void *b) {
    const ordered *left = a;
    const ordered *right = b;
    return left->order < right->order ? -1 : left->order > right->order;
}

static void put_order(cJSON *spec, const cJSON *devices) {
    ordered found[64];
    size_t count = 0;
    static const char *const lists[] = {"disks", "interfaces"};
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        const cJSON *device;
        cJSON_ArrayForEach(device, vmc_json_key(devices, lists[l])) {
            int64_t order = vmc_json_integer(device, "bootOrder", 0);
            const char *name = vmc_json_key_string(device, "name");
            if (order > 0 && name && count < sizeof found / sizeof found[0])
                found[count++] = (ordered){order, name};
        }
    }
    qsort(found, count, sizeof found[0], by_order);
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(vmc_json_list(vmc_json_map(spec, "boot"), "order"), cJSON_CreateString(found[i].name));
}

static void put_parts(cJSON *spec, const cJSON *devices) {
    const cJSON *graphics = vmc_json_key(devices, "autoattachGraphicsDevice");
    if (cJSON_IsFalse(graphics))
        cJSON_AddStringToObject(vmc_json_map(spec, "display"), "type", "none");
    else if (cJSON_IsTrue(graphics))
        cJSON_AddStringToObject(vmc_json_map(spec, "display"), "type", "vnc");
    if (vmc_json_at(devices, "video.type"))
        vmc_json_text(vmc_json_map(spec, "display"), "video", vmc_json_string(devices, "video.type", NULL));
    if (vmc_json_key(devices, "rng"))
        cJSON_AddBoolToObject(spec, "rng", true);
    const char *action = vmc_json_string(devices, "watchdog.i6300esb.action", NULL);
    if (vmc_str_eq(action, "reset") || vmc_str_eq(action, "poweroff"))
        cJSON_AddStringToObject(spec, "watchdog", action);
}

static void put_placement(cJSON *spec, const cJSON *vm) {
    const cJSON *label;
    vmc_json_text(vmc_json_map(spec, "placement"), "namespace", vmc_json_string(vm, "metadata.namespace", NULL));
    cJSON_ArrayForEach(label, vmc_json_at(vm, "spec.template.spec.nodeSelector")) {
        if (!cJSON_IsString(label))
            continue;
        if (strcmp(label->string, "kubernetes.io/hostname") == 0)
            cJSON_AddStringToObject(vmc_json_map(spec, "placement"), "host", label->valuestring);
        else
            cJSON_AddStringToObject(vmc_json_map(spec, "placement.nodeSelector"), label->string, label->valuestring);
    }
}

static void put_labels(cJSON *spec, const cJSON *vm) {
    const cJSON *annotations = vmc_json_at(vm, "metadata.annotations");
    const char *text = vmc_json_key_string(annotations, KUBEVIRT_LABELS);
    VMC_AUTO_JSON *others = text ? cJSON_Parse(text) : NULL;
    const cJSON *label;
    cJSON_ArrayForEach(label, vmc_json_at(vm, "metadata.labels")) {
        if (cJSON_IsString(label) && kubevirt_is_own_label(label->string))
            vmc_json_put(vmc_json_map(spec, "labels"), label->string, cJSON_CreateString(label->valuestring));
    }
    cJSON_ArrayForEach(label, others) {
        if (cJSON_IsString(label))
            vmc_json_put(vmc_json_map(spec, "labels"), label->string, cJSON_CreateString(label->valuestring));
    }
}

static void put_matcher(cJSON *spec, const cJSON *vm, const char *key) {
    const cJSON *matcher = vmc_json_key(vmc_json_key(vm, "spec"), key);
    const char *name = vmc_json_string(matcher, "name", NULL);
    const char *kind = vmc_json_string(matcher, "kind", NULL);
    bool of_cluster = !kind || strstr(kind, "Cluster") || strstr(kind, "cluster");
    VMC_AUTO_FREE char *text = vmc_printf("%s%s%s", of_cluster ? "" : kind, of_cluster ? "" : "/", name ? name : "");
    if (name)
        cJSON_AddStringToObject(vmc_json_map(spec, "kubevirt"), key, text);
}

/* Whether the VM goes on by itself after its node was lost. */
static bool is_autostart(const cJSON *vm) {
    const char *strategy = vmc_json_string(vm, "spec.runStrategy", NULL);
    const char *planned = vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), KUBEVIRT_STRATEGY);
    if (!strategy)
        return vmc_json_boolean(vm, "spec.running", false);
    return strcmp(strategy, "Always") == 0 || strcmp(strategy, "RerunOnFailure") == 0 || planned;
}

static void put_marker(cJSON *spec, const cJSON *vm) {
    const cJSON *annotations = vmc_json_at(vm, "metadata.annotations");
    vmc_json_text(spec, "description", vmc_json_key_string(annotations, KUBEVIRT_DESCRIPTION));
    int64_t created = kubevirt_time_of(vmc_json_key_string(annotations, KUBEVIRT_CREATED));
    int64_t expires = kubevirt_time_of(vmc_json_key_string(annotations, KUBEVIRT_EXPIRES));
    VMC_AUTO_FREE char *lifetime = vmc_format_duration((expires - created) * 1000);
    if (created && expires > created)
        cJSON_AddStringToObject(spec, "lifetime", lifetime);
    if (is_autostart(vm))
        cJSON_AddBoolToObject(spec, "autostart", true);
}

cJSON *kubevirt_read_vm(const cJSON *vm, bool with_kept) {
    cJSON *spec = cJSON_CreateObject();
    const cJSON *pod = vmc_json_at(vm, "spec.template.spec");
    const cJSON *domain = vmc_json_key(pod, "domain");
    const cJSON *devices = vmc_json_key(domain, "devices");
    vmc_json_text(spec, "name", vmc_json_string(vm, "metadata.name", NULL));
    cJSON_AddStringToObject(spec, "backend", "kubevirt");
    put_labels(spec, vm);
    put_marker(spec, vm);
    put_cpus(spec, vmc_json_key(domain, "cpu"));
    put_memory(spec, domain);
    put_machine(spec, pod);
    put_order(spec, devices);
    cJSON *disks = cJSON_AddArrayToObject(spec, "disks");
    cJSON *networks = cJSON_AddArrayToObject(spec, "networks");
    const cJSON *device;
    cJSON_ArrayForEach(device, vmc_json_key(devices, "disks")) {
        cJSON *disk = kubevirt_read_disk(vm, device);
        if (disk)
            cJSON_AddItemToArray(disks, disk);
    }
    cJSON_ArrayForEach(device, vmc_json_key(devices, "interfaces")) {
        cJSON *nic = kubevirt_read_nic(vm, device);
        if (nic)
            cJSON_AddItemToArray(networks, nic);
    }
    put_gpus(spec, devices);
    put_parts(spec, devices);
    put_placement(spec, vm);
    put_matcher(spec, vm, "instancetype");
    put_matcher(spec, vm, "preference");
    const char *kept = vmc_json_key_string(vmc_json_at(vm, "metadata.annotations"), KUBEVIRT_KEPT);
    VMC_AUTO_JSON *keys = with_kept && kept ? cJSON_Parse(kept) : NULL;
    vmc_kept_restore(keys, spec);
    return spec;
}
