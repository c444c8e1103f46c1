/* Devices of the nodes that VMs may have. */
#include "gpus.h"

#include "quantity.h"
#include <string.h>
#include <strings.h>

static const char *resource_where(const cJSON *list, const char *key, const char *value) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        const char *has = vmc_json_key_string(item, key);
        if (has && strcasecmp(has, value) == 0)
            return vmc_json_key_string(item, "resourceName");
    }
    return NULL;
}

const char *kubevirt_permitted_pci(const cJSON *permitted, const char *ids) {
    return resource_where(vmc_json_key(permitted, "pciHostDevices"), "pciVendorSelector", ids);
}

const char *kubevirt_permitted_mdev(const cJSON *permitted, const char *type) {
    return resource_where(vmc_json_key(permitted, "mediatedDevices"), "mdevNameSelector", type);
}

const char *kubevirt_permitted_usb(const cJSON *permitted, const char *ids) {
    const cJSON *device;
    const cJSON *selector;
    cJSON_ArrayForEach(device, vmc_json_key(permitted, "usb")) {
        cJSON_ArrayForEach(selector, vmc_json_key(device, "selectors")) {
            VMC_AUTO_FREE char *has =
                vmc_printf("%s:%s", vmc_json_string(selector, "vendor", ""), vmc_json_string(selector, "product", ""));
            if (strcasecmp(has, ids) == 0)
                return vmc_json_key_string(device, "resourceName");
        }
    }
    return NULL;
}

static const struct {
    const char *list, *selector;
} kinds[] = {{"pciHostDevices", "pciVendorSelector"}, {"mediatedDevices", "mdevNameSelector"}, {"usb", NULL}};

bool kubevirt_is_permitted(const cJSON *permitted, const char *resource) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, vmc_json_key(permitted, kinds[i].list)) {
            if (vmc_str_eq(vmc_json_key_string(item, "resourceName"), resource))
                return true;
        }
    }
    return false;
}

char *kubevirt_permitted_text(const cJSON *permitted) {
    vmc_str text = {0};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const cJSON *item;
        cJSON_ArrayForEach(item, vmc_json_key(permitted, kinds[i].list)) {
            const char *selector = kinds[i].selector ? vmc_json_key_string(item, kinds[i].selector) : NULL;
            vmc_str_printf(&text, "%s%s", text.length ? ", " : "", vmc_json_string(item, "resourceName", "?"));
            if (selector)
                vmc_str_printf(&text, " (%s)", selector);
        }
    }
    if (!text.length)
        vmc_str_add(&text, "none");
    return vmc_str_take(&text);
}

static int not_permitted(const char *what, const cJSON *permitted, const vmctl_node *node, vmctl_error **err) {
    VMC_AUTO_FREE char *there = kubevirt_permitted_text(permitted);
    vmc_refuse(err, VMCTL_E_NOT_FOUND, node, "%s is not permitted to VMs on this cluster; permitted: %s", what, there);
    vmc_error_next(err, "an administrator adds it to the KubeVirt object: spec.configuration.permittedHostDevices");
    return VMCTL_E_NOT_FOUND;
}

static const char *const lists[] = {"gpus", "hostDevices"};

static const cJSON *devices_of(const cJSON *vm) {
    return vmc_json_at(vm, "spec.template.spec.domain.devices");
}

bool kubevirt_has_host_devices(const cJSON *vm) {
    const cJSON *devices = devices_of(vm);
    return cJSON_GetArraySize(vmc_json_key(devices, "gpus")) +
               cJSON_GetArraySize(vmc_json_key(devices, "hostDevices")) >
           0;
}

int kubevirt_gpus_check(const cJSON *vm, const cJSON *permitted, vmctl_error **err) {
    for (size_t l = 0; l < sizeof lists / sizeof lists[0]; l++) {
        const cJSON *device;
        cJSON_ArrayForEach(device, vmc_json_key(devices_of(vm), lists[l])) {
            const char *resource = vmc_json_key_string(device, "deviceName");
            if (!resource || kubevirt_is_permitted(permitted, resource))
                continue; /* a claim of dynamic resource allocation has none */
            VMC_AUTO_FREE char *what =
                vmc_printf("%s %s (%s)", l == 0 ? "GPU" : "device", vmc_json_string(device, "name", ""), resource);
            return not_permitted(what, permitted, NULL, err);
        }
    }
    return 0;
}

uint64_t kubevirt_allocatable(const cJSON *node, const char *resource) {
    return kubevirt_quantity_of(vmc_json_key(vmc_json_at(node, "status.allocatable"), resource));
}

/* --- into the manifest ----------------------------------------------------------------------------------------------- */

bool kubevirt_needs_permitted(const vmctl_spec *spec) {
    const vmctl_node *root = vmctl_spec_root(spec);
    return vmctl_node_count(vmctl_node_get(root, "gpus")) || vmctl_node_count(vmctl_node_get(root, "usb"));
}

static cJSON *add_device(kubevirt_build *build, const char *list, const vmctl_node *node) {
    cJSON *device = cJSON_CreateObject();
    cJSON_AddStringToObject(device, "name", vmctl_node_string(node, "name", ""));
    cJSON_AddItemToArray(vmc_json_list(build->devices, list), device);
    return device;
}

/* {claimTemplate: NAME, request: R} or {claim: NAME, request: R}: dynamic resource allocation; {hostDevice: RESOURCE}: a device that is no
 * display. */
static int build_any(kubevirt_build *build, const vmctl_node *gpu, const vmctl_node *any) {
    const char *template = vmctl_node_string(any, "claimTemplate", NULL);
    const char *claim = vmctl_node_string(any, "claim", NULL);
    const char *request = vmctl_node_string(any, "request", NULL);
    const char *host_device = vmctl_node_string(any, "hostDevice", NULL);
    const char *name = vmctl_node_string(gpu, "name", "");
    if (host_device) {
        cJSON_AddStringToObject(add_device(build, "hostDevices", gpu), "deviceName", host_device);
        return 0;
    }
    if (!request || !(claim || template) || (claim && template)) {
        vmc_refuse(build->err, VMCTL_E_INVALID_SPEC, any,
                   "KubeVirt takes {hostDevice: RESOURCE}, {claimTemplate: NAME, request: NAME} or {claim: NAME, "
                   "request: NAME}");
        return VMCTL_E_INVALID_SPEC;
    }
    cJSON *device = add_device(build, "gpus", gpu);
    cJSON_AddStringToObject(device, "claimName", name);
    cJSON_AddStringToObject(device, "requestName", request);
    cJSON *source = cJSON_CreateObject();
    cJSON_AddStringToObject(source, "name", name);
    vmc_json_text(source, "resourceClaimTemplateName", template);
    vmc_json_text(source, "resourceClaimName", claim);
    cJSON_AddItemToArray(vmc_json_list(build->pod, "resourceClaims"), source);
    return 0;
}

int kubevirt_build_gpu(kubevirt_build *build, const vmctl_node *gpu) {
    const cJSON *permitted = build->making->permitted;
    const vmctl_node *any = vmctl_node_get(gpu, "any");
    const vmctl_node *device = vmctl_node_get(gpu, "device");
    const vmctl_node *profile = vmctl_node_get(gpu, "profile");
    const char *resource = vmctl_node_string(gpu, "resource", NULL);
    if (any)
        return build_any(build, gpu, any);
    if (!resource) {
        const vmctl_node *by = device ? device : profile;
        const char *text = vmctl_node_string(by, NULL, "");
        resource = device ? kubevirt_permitted_pci(permitted, text) : kubevirt_permitted_mdev(permitted, text);
        VMC_AUTO_FREE char *what = vmc_printf("%s %s", device ? "a device" : "a profile", text);
        if (!resource)
            return not_permitted(what, permitted, by, build->err);
    }
    cJSON_AddStringToObject(add_device(build, "gpus", gpu), "deviceName", resource);
    return 0;
}

int kubevirt_build_usb(kubevirt_build *build, const vmctl_node *usb) {
    const vmctl_node *device = vmctl_node_get(usb, "device");
    const char *text = vmctl_node_string(device, NULL, "");
    const char *resource = kubevirt_permitted_usb(build->making->permitted, text);
    VMC_AUTO_FREE char *what = vmc_printf("a USB device %s", text);
    if (!resource)
        return not_permitted(what, build->making->permitted, device, build->err);
    cJSON_AddStringToObject(add_device(build, "hostDevices", usb), "deviceName", resource);
    return 0;
}
