/* The cluster: what KubeVirt is here, its nodes, storage classes and networks. */
#include "ops.h"

#include "quantity.h"
#include <string.h>

/* --- the cluster itself ------------------------------------------------------------------------------------------------ */

int kubevirt_host_info(void *opaque, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    const cJSON *installation = NULL;
    VMC_AUTO_JSON *version = NULL;
    int code = kubevirt_installation(conn, &deadline, &installation, err);
    if (code == 0)
        code = kube_get(conn->client, "/version", &deadline, &version, err);
    if (code < 0)
        return code;
    const char *kubevirt = vmc_json_string(installation, "status.observedKubeVirtVersion", NULL);
    const char *kubernetes = vmc_json_string(version, "gitVersion", NULL);
    const char *arch = vmc_json_string(installation, "status.defaultArchitecture", NULL);
    const vmctl_host host = {
        .size = sizeof host,
        .name = kube_client_server(conn->client),
        .hypervisor = "KubeVirt",
        .hypervisor_version = kubevirt && *kubevirt == 'v' ? kubevirt + 1 : kubevirt,
        .api_version = kubernetes && *kubernetes == 'v' ? kubernetes + 1 : kubernetes,
        .arch = vmc_str_eq(arch, "amd64")   ? "x86_64"
                : vmc_str_eq(arch, "arm64") ? "aarch64"
                                            : arch,
        .status = vmc_json_string(installation, "status.phase", NULL),
        .vm_count = -1,
    };
    each(&host, user);
    return 0;
}

/* --- nodes ------------------------------------------------------------------------------------------------------------- */

typedef struct telling {
    vmctl_host_fn host;
    vmctl_pool_fn pool;
    vmctl_network_fn network;
    void *user;
    const char *storage_class; /* of the context */
    cJSON *running;            /* instances per node; NULL: not known */
} telling;

static const char *status_of(const cJSON *node) {
    bool ready = kubevirt_condition(node, "Ready", "True") != NULL;
    bool cordoned = vmc_json_boolean(node, "spec.unschedulable", false);
    bool schedulable =
        vmc_str_eq(vmc_json_key_string(vmc_json_at(node, "metadata.labels"), "kubevirt.io/schedulable"), "true");
    return !ready ? "not ready" : cordoned ? "maintenance" : schedulable ? "ready" : "no VMs";
}

/* The label that begins so, without its beginning: "cpu-model.node..." has many, "host-model-cpu..." one. */
static const char *label_after(const cJSON *node, const char *prefix) {
    const cJSON *label;
    cJSON_ArrayForEach(label, vmc_json_at(node, "metadata.labels")) {
        if (vmc_starts_with(label->string, prefix))
            return label->string + strlen(prefix);
    }
    return NULL;
}

/* virt-controller labels an instance with the node that it was given to. */
#define NODE_LABEL "kubevirt.io/nodeName"

static int64_t count_of(const cJSON *running, const char *node) {
    const cJSON *count = vmc_json_key(running, node); /* a node's name may have dots */
    return count ? (int64_t)count->valuedouble : 0;
}

static int count_instance(cJSON **item, void *user) {
    cJSON *running = user;
    const char *node = vmc_json_key_string(vmc_json_at(*item, "metadata.labels"), NODE_LABEL);
    if (node)
        vmc_json_put(running, node, cJSON_CreateNumber((double)count_of(running, node) + 1));
    return 0;
}

static int tell_node(cJSON **item, void *user) {
    const telling *t = user;
    const cJSON *node = *item;
    const cJSON *capacity = vmc_json_at(node, "status.capacity");
    const char *arch = vmc_json_string(node, "status.nodeInfo.architecture", NULL);
    const vmctl_host host = {
        .size = sizeof host,
        .name = vmc_json_string(node, "metadata.name", NULL),
        .hypervisor = "KubeVirt",
        .api_version = vmc_json_string(node, "status.nodeInfo.kubeletVersion", NULL),
        .arch = vmc_str_eq(arch, "amd64")   ? "x86_64"
                : vmc_str_eq(arch, "arm64") ? "aarch64"
                                            : arch,
        .cpu_model = label_after(node, "host-model-cpu.node.kubevirt.io/"),
        .cpus = (unsigned)kubevirt_quantity_of(vmc_json_key(capacity, "cpu")),
        .memory_mib = kubevirt_quantity_of(vmc_json_key(capacity, "memory")) >> 20,
        .status = status_of(node),
        .vm_count = t->running ? count_of(t->running, vmc_json_string(node, "metadata.name", "")) : -1,
    };
    return t->host(&host, t->user) != 0;
}

static int list_all(kubevirt_conn *conn, const char *path, kube_item_fn item, telling *t, const vmctl_call *call,
                    vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    int code = kube_list(conn->client, path, NULL, &deadline, item, t, err);
    return code < 0 ? code : 0;
}

/* Who may see the nodes may yet not see every namespace: how many VMs they have is not known then. */
int kubevirt_host_list(void *opaque, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *running = cJSON_CreateObject();
    VMC_AUTO_FREE char *instances = kube_path(KUBEVIRT_GROUP, "v1", NULL, "virtualmachineinstances", NULL, NULL);
    const char *const query[] = {"labelSelector", NODE_LABEL, NULL};
    const kube_list_options options = {.query = query, .accept = KUBE_METADATA_ONLY};
    vmctl_error *why = NULL;
    int code = kube_list(conn->client, instances, &options, &deadline, count_instance, running, &why);
    bool counted = code >= 0;
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED) {
        vmc_error_move(err, &why);
        return code;
    }
    vmctl_error_free(why);
    telling t = {.host = each, .user = user, .running = counted ? running : NULL};
    VMC_AUTO_FREE char *path = kube_path("", "v1", NULL, "nodes", NULL, NULL);
    code = kube_list(conn->client, path, NULL, &deadline, tell_node, &t, err);
    return code < 0 ? code : 0;
}

/* --- storage classes --------------------------------------------------------------------------------------------------- */

/* KubeVirt's own default comes before Kubernetes'. */
static bool is_default_class(const telling *t, const cJSON *class) {
    const cJSON *annotations = vmc_json_at(class, "metadata.annotations");
    if (t->storage_class)
        return vmc_str_eq(vmc_json_string(class, "metadata.name", NULL), t->storage_class);
    return vmc_str_eq(vmc_json_key_string(annotations, "storageclass.kubevirt.io/is-default-virt-class"), "true") ||
           vmc_str_eq(vmc_json_key_string(annotations, "storageclass.kubernetes.io/is-default-class"), "true");
}

static int tell_class(cJSON **item, void *user) {
    const telling *t = user;
    const vmctl_pool pool = {
        .size = sizeof pool,
        .name = vmc_json_string(*item, "metadata.name", NULL),
        .type = vmc_json_string(*item, "provisioner", NULL),
        .active = true,
        .autostart = -1,
        .is_default = is_default_class(t, *item),
    };
    return t->pool(&pool, t->user) != 0;
}

int kubevirt_pool_list(void *opaque, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    telling t = {.pool = each, .user = user, .storage_class = conn->storage_class};
    VMC_AUTO_FREE char *path = kube_path("storage.k8s.io", "v1", NULL, "storageclasses", NULL, NULL);
    return list_all(conn, path, tell_class, &t, call, err);
}

/* --- networks ---------------------------------------------------------------------------------------------------------- */

static int tell_attachment(cJSON **item, void *user) {
    const telling *t = user;
    const char *config = vmc_json_string(*item, "spec.config", NULL);
    VMC_AUTO_JSON *cni = config ? cJSON_Parse(config) : NULL;
    const vmctl_network network = {
        .size = sizeof network,
        .name = vmc_json_string(*item, "metadata.name", NULL),
        .type = "multus",
        .bridge = vmc_json_string(cni, "bridge", NULL),
        .active = true,
        .autostart = -1,
    };
    return t->network(&network, t->user) != 0;
}

/* The pod's own network, and the NetworkAttachmentDefinitions of the namespace where Multus is installed. */
int kubevirt_network_list(void *opaque, const vmctl_call *call, vmctl_network_fn each, void *user, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    const vmctl_network pod = {
        .size = sizeof pod, .name = "pod", .type = "pod", .active = true, .autostart = -1, .is_default = true};
    if (each(&pod, user))
        return 0;
    telling t = {.network = each, .user = user};
    VMC_AUTO_FREE char *path =
        kube_path("k8s.cni.cncf.io", "v1", conn->namespace_name, "network-attachment-definitions", NULL, NULL);
    vmctl_error *why = NULL;
    int code = list_all(conn, path, tell_attachment, &t, call, &why);
    if (code == VMCTL_E_UNSUPPORTED || code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}
