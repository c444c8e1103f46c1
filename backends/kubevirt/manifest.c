/* A spec as what create sends. */
#include "manifest.h"

#include "fields.h"

#include "backends/shared/json_patch.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

void kubevirt_manifest_free(kubevirt_manifest *manifest) {
    cJSON_Delete(manifest->vm);
    cJSON_Delete(manifest->secrets);
    for (size_t i = 0; i < manifest->upload_count; i++) {
        free(manifest->uploads[i].disk);
        free(manifest->uploads[i].claim);
        free(manifest->uploads[i].path);
    }
    free(manifest->uploads);
    vmc_strv_free(&manifest->notes);
    *manifest = (kubevirt_manifest){0};
}

/* --- the marker ------------------------------------------------------------------------------------------------------ */

void kubevirt_put_time(cJSON *annotations, const char *key, int64_t seconds) {
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[32] = "";
    if (seconds && gmtime_r(&when, &parts)) {
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
        vmc_json_put(annotations, key, cJSON_CreateString(text));
    } else {
        vmc_json_put(annotations, key, NULL);
    }
}

int64_t kubevirt_time_of(const char *text) {
    struct tm parts = {0};
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &parts) : NULL;
    return end && (*end == 'Z' || *end == '.') ? (int64_t)timegm(&parts) : 0;
}

static void put_text(cJSON *map, const char *key, const char *value) {
    vmc_json_put(map, key, value && *value ? cJSON_CreateString(value) : NULL);
}

void kubevirt_put_marker(cJSON *vm, const vmctl_marker *marker) {
    cJSON *labels = vmc_json_map(vm, "metadata.labels");
    cJSON *annotations = vmc_json_map(vm, "metadata.annotations");
    VMC_AUTO_FREE char *owner = marker->owner ? kubevirt_label_value(marker->owner) : NULL;
    VMC_AUTO_FREE char *run = marker->run ? kubevirt_label_value(marker->run) : NULL;
    put_text(labels, KUBEVIRT_LABEL_MANAGED, "vmctl");
    put_text(labels, KUBEVIRT_LABEL_OWNER, owner);
    put_text(labels, KUBEVIRT_LABEL_RUN, run);
    put_text(annotations, KUBEVIRT_VERSION, marker->version ? marker->version : VMCTL_VERSION);
    put_text(annotations, KUBEVIRT_OWNER, marker->owner);
    put_text(annotations, KUBEVIRT_RUN, marker->run);
    kubevirt_put_time(annotations, KUBEVIRT_CREATED, marker->created);
    kubevirt_put_time(annotations, KUBEVIRT_EXPIRES, marker->expires);
}

void kubevirt_put_label(cJSON *vm, const char *key, const char *value) {
    cJSON *labels = vmc_json_map(vm, "metadata.labels");
    cJSON *of_template = vmc_json_map(vm, "spec.template.metadata.labels");
    cJSON *annotations = vmc_json_map(vm, "metadata.annotations");
    const char *text = vmc_json_key_string(annotations, KUBEVIRT_LABELS);
    VMC_AUTO_JSON *others = text ? cJSON_Parse(text) : NULL;
    if (!cJSON_IsObject(others)) {
        cJSON_Delete(others);
        others = cJSON_CreateObject();
    }
    bool fits = kubevirt_is_label_key(key) && kubevirt_is_own_label(key) && kubevirt_is_label_value(value);
    /* The template's are those of the instance and its pod, which Services, NetworkPolicies and MigrationPolicies select by. One that somebody else
     * gave it stays. */
    const char *there = vmc_json_key_string(of_template, key);
    if (!there || vmc_str_eq(there, vmc_json_key_string(labels, key)))
        vmc_json_put(of_template, key, value && fits ? cJSON_CreateString(value) : NULL);
    vmc_json_put(labels, key, value && fits ? cJSON_CreateString(value) : NULL);
    vmc_json_put(others, key, value && !fits ? cJSON_CreateString(value) : NULL);
    VMC_AUTO_FREE char *written = others && others->child ? cJSON_PrintUnformatted(others) : NULL;
    put_text(annotations, KUBEVIRT_LABELS, written);
}

void kubevirt_keep(cJSON *vm, const vmctl_node *root) {
    VMC_AUTO_JSON *shown = kubevirt_read_vm(vm, false);
    VMC_AUTO_JSON *want = vmc_json_of_node(root);
    VMC_AUTO_JSON *kept = vmc_kept_of(shown, want);
    cJSON_DeleteItemFromObjectCaseSensitive(kept, "kubevirt/patch"); /* the manifest has what it did */
    VMC_AUTO_FREE char *text = kept->child ? cJSON_PrintUnformatted(kept) : NULL;
    put_text(vmc_json_map(vm, "metadata.annotations"), KUBEVIRT_KEPT, text);
}

/* --- names ----------------------------------------------------------------------------------------------------------- */

static int check_name(const vmctl_node *node, const char *name, vmctl_error **err) {
    if (kubevirt_is_vm_name(name))
        return 0;
    return vmc_refuse(err, VMCTL_E_INVALID_SPEC, node,
                      "\"%.80s\" is no name for Kubernetes: at most 63 characters, lower case letters, digits, '-' and "
                      "'.', with a letter or digit at both ends",
                      name);
}

static int check_namespace(const vmctl_node *node, const char *name, vmctl_error **err) {
    if (kubevirt_is_label_name(name))
        return 0;
    return vmc_refuse(err, VMCTL_E_INVALID_SPEC, node,
                      "\"%.80s\" is no namespace: lower case letters, digits and '-', at most 63 characters", name);
}

/* Names of disks, cards and GPUs become names of volumes, networks and data volumes. */
static int check_device_names(const kubevirt_build *build) {
    static const char *const lists[] = {"disks", "networks", "gpus", "usb"};
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        const vmctl_node *list = vmctl_node_get(build->root, lists[l]);
        for (size_t i = 0; i < vmctl_node_count(list); i++) {
            const vmctl_node *item = vmctl_node_at(list, i);
            const char *name = vmctl_node_string(item, "name", "");
            if (!kubevirt_is_label_name(name))
                return vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, vmctl_node_get(item, "name"),
                                  "\"%.80s\" is no name for Kubernetes: lower case letters, digits and '-', at most 63 "
                                  "characters",
                                  name);
        }
    }
    return 0;
}

/* --- the parts ------------------------------------------------------------------------------------------------------- */

static void put_order(kubevirt_build *build) {
    const vmctl_node *order = vmctl_node_get(build->root, "boot.order");
    for (size_t i = 0; i < vmctl_node_count(order); i++) {
        const char *name = vmctl_node_string(vmctl_node_at(order, i), NULL, "");
        cJSON *device = vmc_json_item(vmc_json_key(build->devices, "disks"), name);
        if (!device)
            device = vmc_json_item(vmc_json_key(build->devices, "interfaces"), name);
        if (device)
            vmc_json_put(device, "bootOrder", cJSON_CreateNumber((double)i + 1));
    }
}

static void put_screen(kubevirt_build *build) {
    const char *type = vmctl_node_string(build->root, "display.type", NULL);
    const char *video = vmctl_node_string(build->root, "display.video", NULL);
    if (vmc_str_eq(type, "none"))
        cJSON_AddBoolToObject(build->devices, "autoattachGraphicsDevice", false);
    else if (type)
        cJSON_AddBoolToObject(build->devices, "autoattachGraphicsDevice", true);
    if (video)
        vmc_json_text(vmc_json_map(build->devices, "video"), "type", video);
    if (vmctl_node_get(build->root, "serial.log"))
        cJSON_AddBoolToObject(build->devices, "logSerialConsole", true);
}

static void put_small_devices(kubevirt_build *build) {
    const char *watchdog = vmctl_node_string(build->root, "watchdog", NULL);
    if (vmctl_node_boolean(build->root, "rng", false))
        vmc_json_map(build->devices, "rng");
    if (watchdog && strcmp(watchdog, "none") != 0) {
        cJSON *dog = vmc_json_map(build->devices, "watchdog");
        vmc_json_text(dog, "name", "watchdog");
        vmc_json_text(vmc_json_map(dog, "i6300esb"), "action", watchdog);
    }
}

static void put_placement(kubevirt_build *build) {
    const vmctl_node *placement = vmctl_node_get(build->root, "placement");
    const char *host = vmctl_node_string(placement, "host", NULL);
    const vmctl_node *labels = vmctl_node_get(placement, "nodeSelector");
    for (size_t i = 0; i < vmctl_node_count(labels); i++) {
        const vmctl_node *label = vmctl_node_at(labels, i);
        vmc_json_put(vmc_json_map(build->pod, "nodeSelector"), vmctl_node_key(label),
                     cJSON_CreateString(vmctl_node_string(label, NULL, "")));
    }
    if (host)
        vmc_json_put(vmc_json_map(build->pod, "nodeSelector"), "kubernetes.io/hostname", cJSON_CreateString(host));
}

/* "u1.medium" is the cluster's; "VirtualMachineInstancetype/small" names the kind. */
static void put_matcher(kubevirt_build *build, const char *key) {
    VMC_AUTO_FREE char *path = vmc_printf("kubevirt.%s", key);
    const char *text = vmctl_node_string(build->root, path, NULL);
    if (!text)
        return;
    vmc_json_put(vmc_json_map(build->vm, "spec"), key, NULL);
    cJSON *matcher = vmc_json_map(vmc_json_map(build->vm, "spec"), key);
    const char *slash = strrchr(text, '/');
    if (slash) {
        VMC_AUTO_FREE char *kind = vmc_strndup(text, (size_t)(slash - text));
        vmc_json_text(matcher, "kind", kind);
    }
    vmc_json_text(matcher, "name", slash ? slash + 1 : text);
}

static int put_devices(kubevirt_build *build, const vmctl_spec *spec) {
    static const struct {
        const char *list;
        int (*build)(kubevirt_build *, const vmctl_node *);
    } kinds[] = {{"disks", kubevirt_build_disk},
                 {"networks", kubevirt_build_nic},
                 {"gpus", kubevirt_build_gpu},
                 {"usb", kubevirt_build_usb}};
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        const vmctl_node *list = vmctl_node_get(build->root, kinds[k].list);
        for (size_t i = 0; i < vmctl_node_count(list); i++) {
            int code = kinds[k].build(build, vmctl_node_at(list, i));
            if (code < 0)
                return code;
        }
        if (k == 0) {
            int code = kubevirt_build_seed(build, spec);
            if (code < 0)
                return code;
        }
    }
    /* Without an interface KubeVirt would attach one to the pod's network. */
    if (!vmc_json_key(build->devices, "interfaces"))
        cJSON_AddBoolToObject(build->devices, "autoattachPodInterface", false);
    return 0;
}

static void drop_order(cJSON *devices) {
    static const char *const lists[] = {"disks", "interfaces"};
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        cJSON *device;
        cJSON_ArrayForEach(device, vmc_json_key(devices, lists[l])) {
            cJSON_DeleteItemFromObjectCaseSensitive(device, "bootOrder");
        }
    }
}

int kubevirt_rebuild_parts(kubevirt_build *build, const char *top) {
    static const char *const screen[] = {"autoattachGraphicsDevice", "video", "logSerialConsole"};
    static const char *const small[] = {"rng", "watchdog"};
    if (strcmp(top, "boot") == 0) {
        drop_order(build->devices);
        put_order(build);
    } else if (strcmp(top, "display") == 0 || strcmp(top, "serial") == 0) {
        for (size_t i = 0; i < sizeof screen / sizeof screen[0]; i++)
            vmc_json_put(build->devices, screen[i], NULL);
        put_screen(build);
    } else if (strcmp(top, "rng") == 0 || strcmp(top, "watchdog") == 0) {
        for (size_t i = 0; i < sizeof small / sizeof small[0]; i++)
            vmc_json_put(build->devices, small[i], NULL);
        put_small_devices(build);
    } else if (strcmp(top, "placement") == 0) {
        vmc_json_put(build->pod, "nodeSelector", NULL);
        put_placement(build);
    } else {
        if (vmctl_node_get(build->root, "kubevirt.patch"))
            return vmc_refuse(build->err, VMCTL_E_UNSUPPORTED, vmctl_node_get(build->root, "kubevirt.patch"),
                              "a patch is laid over a VM when it is made");
        put_matcher(build, "instancetype");
        put_matcher(build, "preference");
    }
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------------------------------- */

static int check(const kubevirt_build *build, const char *namespace_name) {
    const vmctl_node *root = build->root;
    int code = check_name(vmctl_node_get(root, "name"), build->name, build->err);
    if (code == 0)
        code = check_namespace(vmctl_node_get(root, "placement.namespace"), namespace_name, build->err);
    if (code == 0)
        code = check_device_names(build);
    if (code == 0)
        code = kubevirt_check_cpus(vmctl_node_get(root, "cpus"), build->err);
    const vmctl_node *instancetype = vmctl_node_get(root, "kubevirt.instancetype");
    if (code == 0 && instancetype) {
        /* KubeVirt refuses both (422); here the line is known. */
        static const char *const given[] = {"memory", "cpus"};
        for (size_t i = 0; i < sizeof given / sizeof given[0]; i++) {
            const vmctl_node *node = vmctl_node_get(root, given[i]);
            if (node && !vmctl_node_is_default(node))
                return vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, node,
                                  "the instance type says this: leave %s out, or the instance type", given[i]);
        }
    }
    return code;
}

static int apply_patch(kubevirt_build *build) {
    const vmctl_node *node = vmctl_node_get(build->root, "kubevirt.patch");
    if (!vmctl_node_count(node))
        return 0;
    VMC_AUTO_JSON *patch = vmc_json_of_value(node);
    vmctl_error *why = NULL;
    if (vmc_json_patch(&build->vm, patch, &why) == 0) {
        build->out->vm = build->vm;
        return 0;
    }
    int code = vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, node, "%s", vmctl_error_message(why));
    vmctl_error_free(why);
    return code;
}

static void put_texts(kubevirt_build *build) {
    const vmctl_node *labels = vmctl_node_get(build->root, "labels");
    for (size_t i = 0; i < vmctl_node_count(labels); i++) {
        const vmctl_node *label = vmctl_node_at(labels, i);
        kubevirt_put_label(build->vm, vmctl_node_key(label), vmctl_node_string(label, NULL, ""));
    }
    cJSON *annotations = vmc_json_map(build->vm, "metadata.annotations");
    put_text(annotations, KUBEVIRT_DESCRIPTION, vmctl_node_string(build->root, "description", NULL));
    if (vmctl_node_boolean(build->root, "autostart", false))
        put_text(annotations, KUBEVIRT_STRATEGY, "RerunOnFailure");
}

static void drop_if_empty(cJSON *map, const char *key) {
    const cJSON *child = vmc_json_key(map, key);
    if (child && !child->child)
        vmc_json_put(map, key, NULL);
}

int kubevirt_manifest_of_spec(const vmctl_spec *spec, const kubevirt_making *making, kubevirt_manifest *out,
                              vmctl_error **err) {
    *out = (kubevirt_manifest){.vm = cJSON_CreateObject(), .secrets = cJSON_CreateArray()};
    const vmctl_node *root = vmctl_spec_root(spec);
    const char *namespace_name = vmctl_node_string(root, "placement.namespace", making->namespace_name);
    kubevirt_build build = {.root = root,
                            .making = making,
                            .out = out,
                            .name = vmctl_spec_name(spec),
                            .vm = out->vm,
                            .guest = vmctl_node_string(root, "guest", "linux"),
                            .err = err};
    int code = check(&build, namespace_name);
    if (code < 0)
        return code;
    vmc_json_text(out->vm, "apiVersion", KUBEVIRT_API);
    vmc_json_text(out->vm, "kind", "VirtualMachine");
    cJSON *metadata = vmc_json_map(out->vm, "metadata");
    vmc_json_text(metadata, "name", build.name);
    vmc_json_text(metadata, "namespace", namespace_name);
    vmc_json_map(metadata, "labels");
    put_texts(&build);
    /* Manual: start and stop change no field of the spec, and a guest that shuts down stays down. */
    vmc_json_text(vmc_json_map(out->vm, "spec"), "runStrategy", "Manual");
    put_matcher(&build, "instancetype");
    put_matcher(&build, "preference");
    vmc_json_put(vmc_json_map(out->vm, "spec.template.metadata.labels"), "kubevirt.io/vm",
                 cJSON_CreateString(build.name));
    build.pod = vmc_json_map(out->vm, "spec.template.spec");
    build.domain = vmc_json_map(build.pod, "domain");
    if (!vmctl_node_get(root, "kubevirt.instancetype")) {
        kubevirt_build_cpus(build.domain, vmctl_node_get(root, "cpus"), build.guest);
        kubevirt_build_memory(build.domain, vmctl_node_get(root, "memory"));
    }
    build.devices = vmc_json_map(build.domain, "devices");
    kubevirt_build_machine(&build);
    code = put_devices(&build, spec);
    if (code == 0) {
        put_order(&build);
        put_screen(&build);
        put_small_devices(&build);
        put_placement(&build);
        code = apply_patch(&build);
    }
    if (code < 0)
        return code;
    kubevirt_keep(out->vm, root);
    if (making->marker)
        kubevirt_put_marker(out->vm, making->marker);
    drop_if_empty(vmc_json_map(out->vm, "metadata"), "labels");
    drop_if_empty(vmc_json_map(out->vm, "metadata"), "annotations");
    return 0;
}

int kubevirt_manifest_of_native(const vmctl_spec *spec, const kubevirt_making *making, kubevirt_manifest *out,
                                vmctl_error **err) {
    *out = (kubevirt_manifest){.secrets = cJSON_CreateArray()};
    VMC_AUTO_FREE char *text = NULL;
    int code = vmc_spec_native_json(spec, &text, err);
    if (code < 0)
        return code;
    out->vm = cJSON_Parse(text);
    if (!cJSON_IsObject(out->vm))
        return vmc_error(err, VMCTL_E_INTERNAL, "the manifest did not become JSON");
    const char *name = vmctl_spec_name(spec);
    code = name ? check_name(NULL, name, err) : 0;
    if (code < 0)
        return code;
    kubevirt_drop_server_fields(out->vm); /* of a VM that was read */
    cJSON *metadata = vmc_json_map(out->vm, "metadata");
    /* --name may have given it another one. */
    if (name)
        vmc_json_put(metadata, "name", cJSON_CreateString(name));
    else if (!vmc_json_key_string(metadata, "generateName"))
        return vmc_error(err, VMCTL_E_INVALID_SPEC, "the manifest has neither metadata.name nor generateName");
    if (!vmc_json_key_string(metadata, "namespace"))
        vmc_json_put(
            metadata, "namespace",
            cJSON_CreateString(vmctl_spec_namespace(spec) ? vmctl_spec_namespace(spec) : making->namespace_name));
    if (making->marker)
        kubevirt_put_marker(out->vm, making->marker);
    return 0;
}
