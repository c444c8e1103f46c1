/* The devices that the cluster permits to VMs, and what its nodes have of them. */
#include "ops.h"

#include "gpus.h"
#include <string.h>

typedef struct telling {
    const char *resource, *ids, *model;
    vmctl_gpu_fn each;
    void *user;
    unsigned nodes; /* that have one */
    bool stopped;
} telling;

static int tell_node(cJSON **item, void *user) {
    telling *t = user;
    uint64_t have = kubevirt_allocatable(*item, t->resource);
    if (!have)
        return 0;
    t->nodes++;
    const vmctl_gpu gpu = {.size = sizeof gpu,
                           .host = vmc_json_string(*item, "metadata.name", NULL),
                           .ids = t->ids,
                           .model = t->model,
                           .resource = t->resource,
                           .iommu_group = -1,
                           .free_count = (unsigned)have,
                           .total_count = (unsigned)have};
    t->stopped = t->each(&gpu, t->user) != 0;
    return t->stopped;
}

static int tell_without_nodes(telling *t, const char *obstacle, const char *remedy) {
    const vmctl_gpu gpu = {.size = sizeof gpu,
                           .ids = t->ids,
                           .model = t->model,
                           .resource = t->resource,
                           .iommu_group = -1,
                           .obstacle = obstacle,
                           .remedy = remedy};
    return t->each(&gpu, t->user) != 0;
}

static int tell_resource(kubevirt_conn *conn, telling *t, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", NULL, "nodes", NULL, NULL);
    vmctl_error *why = NULL;
    int code = kube_list(conn->client, path, NULL, deadline, tell_node, t, &why);
    if (code == VMCTL_E_PERMISSION_DENIED) {
        vmctl_error_free(why);
        t->stopped = tell_without_nodes(t, NULL, NULL); /* how many there are is not for this user to know */
        return 0;
    }
    if (code >= 0 && !t->nodes)
        t->stopped = tell_without_nodes(t, "it is permitted, and no node has one",
                                        "a device plugin (of KubeVirt or of the vendor) must announce it");
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code < 0 ? code : 0;
}

int kubevirt_gpu_list(void *opaque, const vmctl_call *call, vmctl_gpu_fn each, void *user, vmctl_error **err) {
    static const struct {
        const char *list, *selector;
        bool ids;
    } kinds[] = {{"pciHostDevices", "pciVendorSelector", true}, {"mediatedDevices", "mdevNameSelector", false}};
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    const cJSON *installation = NULL;
    int code = kubevirt_installation(conn, &deadline, &installation, err);
    bool stopped = false;
    for (size_t i = 0; code == 0 && !stopped && i < sizeof kinds / sizeof kinds[0]; i++) {
        const cJSON *device;
        cJSON_ArrayForEach(device, vmc_json_key(kubevirt_permitted_of(installation), kinds[i].list)) {
            const char *selector = vmc_json_key_string(device, kinds[i].selector);
            telling t = {.resource = vmc_json_key_string(device, "resourceName"),
                         .ids = kinds[i].ids ? selector : NULL,
                         .model = kinds[i].ids ? NULL : selector,
                         .each = each,
                         .user = user};
            if (!t.resource || code < 0 || stopped)
                continue;
            code = tell_resource(conn, &t, &deadline, err);
            stopped = t.stopped;
        }
    }
    return code;
}
