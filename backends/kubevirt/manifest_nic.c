/* Network cards. */
#include "manifest.h"

#include <string.h>

static bool is_on_pod(const vmctl_node *nic) {
    const char *type = vmctl_node_string(nic, "type", "pod");
    return strcmp(type, "multus") != 0;
}

/* A pod has one network of its own. */
static int check_second(const kubevirt_build *build, const vmctl_node *nic) {
    const cJSON *network;
    if (!is_on_pod(nic))
        return 0;
    cJSON_ArrayForEach(network, vmc_json_key(build->pod, "networks")) {
        if (vmc_json_key(network, "pod")) {
            vmc_refuse(build->err, VMCTL_E_UNSUPPORTED, nic,
                       "a pod has one network of its own, and %s is on it already",
                       vmc_json_string(network, "name", "another card"));
            return vmc_error_next(build->err,
                                  "further cards go to a NetworkAttachmentDefinition: type: multus, source: "
                                  "NAME");
        }
    }
    return 0;
}

int kubevirt_build_nic(kubevirt_build *build, const vmctl_node *nic) {
    const char *name = vmctl_node_string(nic, "name", "");
    const char *type = vmctl_node_string(nic, "type", "pod");
    const char *source = vmctl_node_string(nic, "source", NULL);
    const char *model = vmctl_node_string(nic, "model", strcmp(build->guest, "windows") == 0 ? "e1000e" : NULL);
    int code = check_second(build, nic);
    if (code < 0)
        return code;
    if (strcmp(type, "bridge") == 0 && !vmc_str_eq(source, "pod")) {
        vmc_refuse(build->err, VMCTL_E_UNSUPPORTED, vmctl_node_get(nic, "source"),
                   "a VM in a pod sees no bridge of the node; \"pod\" is the pod's own network");
        return vmc_error_next(build->err, "type: multus with the NetworkAttachmentDefinition of that bridge as source");
    }
    cJSON *network = cJSON_CreateObject();
    cJSON_AddStringToObject(network, "name", name);
    cJSON *interface = cJSON_CreateObject();
    cJSON_AddStringToObject(interface, "name", name);
    if (!is_on_pod(nic)) {
        cJSON_AddStringToObject(vmc_json_map(network, "multus"), "networkName", source ? source : "");
        vmc_json_map(interface, "bridge");
    } else {
        vmc_json_map(network, "pod");
        vmc_json_map(interface, strcmp(type, "bridge") == 0 ? "bridge" : "masquerade");
    }
    vmc_json_text(interface, "model", model);
    vmc_json_text(interface, "macAddress", vmctl_node_string(nic, "mac", NULL));
    if (vmc_str_eq(vmctl_node_string(nic, "link", NULL), "down"))
        cJSON_AddStringToObject(interface, "state", "down");
    cJSON_AddItemToArray(vmc_json_list(build->pod, "networks"), network);
    cJSON_AddItemToArray(vmc_json_list(build->devices, "interfaces"), interface);
    return 0;
}
