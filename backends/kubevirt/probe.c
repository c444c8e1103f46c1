/* What is possible here: what the cluster serves and permits, what this user may do, what the VM shows. Changes nothing. */
#include "change.h"

#include "backends/shared/answer.h"
#include "gates.h"
#include <string.h>

typedef struct probing {
    kubevirt_conn *conn;
    const vmc_deadline *deadline;
    vmctl_here_fn each;
    void *user;
    const cJSON *installation; /* NULL: it cannot be read */
    const kube_discovery *discovery;
    const kubevirt_vm *vm; /* NULL: of the endpoint */
    cJSON *object, *vmi;   /* of the VM */
    bool stopped;
} probing;

/* What stands in the way; NULL reason: nothing. reason: free. */
typedef struct finding {
    vmctl_level level;
    char *reason;
    const char *remedy;
} finding;

/* --- what this user may do --------------------------------------------------------------------------------------------- */

/* 1: allowed, 0: not, negative: it could not be asked. */
static int is_allowed(probing *p, const char *verb, const char *group, const char *resource, const char *sub) {
    VMC_AUTO_JSON *review = cJSON_CreateObject();
    cJSON_AddStringToObject(review, "apiVersion", "authorization.k8s.io/v1");
    cJSON_AddStringToObject(review, "kind", "SelfSubjectAccessReview");
    cJSON *what = vmc_json_map(review, "spec.resourceAttributes");
    cJSON_AddStringToObject(what, "namespace", p->vm ? p->vm->namespace_name : p->conn->namespace_name);
    cJSON_AddStringToObject(what, "verb", verb);
    cJSON_AddStringToObject(what, "group", group);
    cJSON_AddStringToObject(what, "resource", resource);
    vmc_json_text(what, "subresource", sub);
    VMC_AUTO_JSON *answer = NULL;
    vmctl_error *ignored = NULL;
    const kube_request request = {
        .method = "POST", .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", .body = review};
    int code = kube_call(p->conn->client, &request, p->deadline, &answer, &ignored);
    vmctl_error_free(ignored);
    return code < 0 ? code : vmc_json_boolean(answer, "status.allowed", false);
}

/* --- what stands in the way -------------------------------------------------------------------------------------------- */

static finding no_api(const probing *p, const char *group, const char *what, const char *remedy) {
    if (kube_discovery_stale(p->discovery, group))
        return (finding){VMCTL_LEVEL_UNKNOWN, vmc_printf("whoever serves %s does not answer now", group), NULL};
    if (kube_discovery_version(p->discovery, group, NULL))
        return (finding){VMCTL_LEVEL_YES, NULL, NULL};
    return (finding){VMCTL_LEVEL_NO, vmc_printf("this cluster has no %s", what), remedy};
}

static finding look_at_snapshots(const probing *p) {
    finding f = no_api(p, "snapshot.kubevirt.io", "API snapshot.kubevirt.io", "install a KubeVirt that has it");
    if (f.reason)
        return f;
    if (kubevirt_gate(p->installation, "Snapshot") == 0)
        return (finding){VMCTL_LEVEL_NO, vmc_strdup("the gate Snapshot is off"),
                         "an administrator adds it to the KubeVirt object's featureGates"};
    const cJSON *statuses = vmc_json_at(p->object, "status.volumeSnapshotStatuses");
    const cJSON *status;
    const char *why = NULL;
    cJSON_ArrayForEach(status, statuses) {
        if (vmc_json_boolean(status, "enabled", false))
            return f;
        why = vmc_json_string(status, "reason", why);
    }
    if (cJSON_GetArraySize(statuses) == 0)
        return f;
    return (finding){VMCTL_LEVEL_NO,
                     vmc_printf("none of its disks can be in a snapshot: %s", why ? why : "no reason is given"),
                     "put its disks on a storage class that has a VolumeSnapshotClass"};
}

static finding look_at_clone(const probing *p) {
    return no_api(p, "clone.kubevirt.io", "API clone.kubevirt.io", "install a KubeVirt that has it");
}

static finding look_at_disks(const probing *p) {
    return no_api(p, KUBEVIRT_CDI, "CDI, which makes disks", "install the Containerized Data Importer");
}

static finding look_at_hotplug(const probing *p) {
    char *why = p->installation ? kubevirt_device_obstacle(p->installation, "disks", NULL, true) : NULL;
    return (finding){why               ? VMCTL_LEVEL_NO
                     : p->installation ? VMCTL_LEVEL_YES
                                       : VMCTL_LEVEL_UNKNOWN,
                     why               ? why
                     : p->installation ? NULL
                                       : vmc_strdup("the KubeVirt object, which says its gates, may not be read"),
                     why ? "an administrator adds DeclarativeHotplugVolumes to the KubeVirt object's featureGates"
                         : NULL};
}

static finding look_at_list(const probing *p, const char *list, const char *what) {
    if (!p->installation)
        return (finding){VMCTL_LEVEL_UNKNOWN,
                         vmc_strdup("the KubeVirt object, which says what is permitted, may not be read"), NULL};
    if (cJSON_GetArraySize(vmc_json_key(kubevirt_permitted_of(p->installation), list)) > 0)
        return (finding){VMCTL_LEVEL_YES, NULL, NULL};
    return (finding){VMCTL_LEVEL_NO, vmc_printf("this cluster permits no %s to VMs", what),
                     "an administrator adds them to the KubeVirt object: spec.configuration.permittedHostDevices"};
}

static finding look_at_passthrough(const probing *p) {
    return look_at_list(p, "pciHostDevices", "PCI devices");
}

static finding look_at_vgpu(const probing *p) {
    return look_at_list(p, "mediatedDevices", "mediated devices");
}

static finding look_at_migration(const probing *p) {
    if (!p->vm)
        return (finding){VMCTL_LEVEL_YES, NULL, NULL};
    if (!p->vmi)
        return (finding){VMCTL_LEVEL_NO, vmc_printf("%s does not run, and only a running VM is on a node", p->vm->name),
                         "start it first"};
    const cJSON *not = kubevirt_condition(p->vmi, "LiveMigratable", "False");
    if (!not )
        return (finding){VMCTL_LEVEL_YES, NULL, NULL};
    return (finding){VMCTL_LEVEL_NO,
                     vmc_printf("KubeVirt cannot migrate it: %s",
                                vmc_json_string(not, "message", vmc_json_string(not, "reason", ""))),
                     NULL};
}

static finding look_at_agent(const probing *p) {
    if (!p->vm)
        return (finding){VMCTL_LEVEL_YES, NULL, NULL};
    if (p->vmi && kubevirt_condition(p->vmi, "AgentConnected", "True"))
        return (finding){VMCTL_LEVEL_YES, NULL, NULL};
    return (finding){VMCTL_LEVEL_NO, vmc_printf("no agent answers in %s", p->vm->name),
                     "install qemu-guest-agent in the guest, and start it"};
}

static finding look_at_nothing(const probing *p) {
    (void)p;
    return (finding){VMCTL_LEVEL_YES, NULL, NULL};
}

#define SNAPSHOTS "snapshot.kubevirt.io"

/* The feature, what it takes of the cluster or VM, and the right that it needs. */
static const struct {
    const char *feature;
    finding (*look)(const probing *p);
    const char *verb, *group, *resource, *sub;
} probes[] = {
    {"lifecycle.create", look_at_nothing, "create", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"lifecycle.delete", look_at_nothing, "delete", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"lifecycle.start", look_at_nothing, "update", KUBEVIRT_SUBRESOURCES, "virtualmachines", "start"},
    {"lifecycle.stop", look_at_nothing, "update", KUBEVIRT_SUBRESOURCES, "virtualmachines", "stop"},
    {"lifecycle.restart", look_at_nothing, "update", KUBEVIRT_SUBRESOURCES, "virtualmachines", "restart"},
    {"lifecycle.pause", look_at_nothing, "update", KUBEVIRT_SUBRESOURCES, "virtualmachineinstances", "pause"},
    {"lifecycle.clone", look_at_clone, "create", "clone.kubevirt.io", "virtualmachineclones", NULL},
    {"change.apply", look_at_nothing, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"storage.blank", look_at_disks, NULL, NULL, NULL, NULL},
    {"image.upload", look_at_disks, "create", KUBEVIRT_CDI, "datavolumes", NULL},
    {"device.disk.hotplug", look_at_hotplug, NULL, NULL, NULL, NULL},
    {"gpu.passthrough", look_at_passthrough, NULL, NULL, NULL, NULL},
    {"gpu.vgpu", look_at_vgpu, NULL, NULL, NULL, NULL},
    {"snapshot.disk", look_at_snapshots, "create", SNAPSHOTS, "virtualmachinesnapshots", NULL},
    {"snapshot.revert", look_at_snapshots, "create", SNAPSHOTS, "virtualmachinerestores", NULL},
    {"snapshot.quiesce", look_at_agent, NULL, NULL, NULL, NULL},
    {"guest.freeze", look_at_agent, "update", KUBEVIRT_SUBRESOURCES, "virtualmachineinstances", "freeze"},
    {"migrate.live", look_at_migration, "create", KUBEVIRT_GROUP, "virtualmachineinstancemigrations", NULL},
    {"console.serial", look_at_nothing, "get", KUBEVIRT_SUBRESOURCES, "virtualmachineinstances", "console"},
    {"display.screenshot", look_at_nothing, "get", KUBEVIRT_SUBRESOURCES, "virtualmachineinstances", "vnc/screenshot"},
    {"host.list", look_at_nothing, "list", "", "nodes", NULL},
};

static void probe_one(probing *p, size_t i) {
    finding f = probes[i].look(p);
    int allowed = !f.reason && probes[i].verb
                      ? is_allowed(p, probes[i].verb, probes[i].group, probes[i].resource, probes[i].sub)
                      : 1;
    if (allowed < 0) {
        f = (finding){VMCTL_LEVEL_UNKNOWN, vmc_strdup("the API server does not say what this user may do"), NULL};
    } else if (!allowed) {
        f = (finding){VMCTL_LEVEL_NO,
                      vmc_printf("this user may not %s %s%s%s%s%s", probes[i].verb, probes[i].resource,
                                 probes[i].sub ? "/" : "", probes[i].sub ? probes[i].sub : "",
                                 *probes[i].group ? "." : "", probes[i].group),
                      "an administrator binds a role that has it (migrating is not in KubeVirt's role edit)"};
    }
    VMC_AUTO_FREE char *reason = f.reason;
    const vmctl_here here = {
        .size = sizeof here, .feature = probes[i].feature, .level = f.level, .reason = reason, .remedy = f.remedy};
    p->stopped = p->each(&here, p->user) != 0;
}

int kubevirt_probe(void *opaque, void *handle, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                   void *user, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    probing p = {.conn = conn, .deadline = &deadline, .each = each, .user = user, .vm = vm};
    int code = kubevirt_installation(conn, &deadline, &p.installation, err);
    if (code == 0)
        code = kube_discover(conn->client, false, &deadline, &p.discovery, err);
    if (code == 0 && vm)
        code = kubevirt_vm_get(conn, vm, &deadline, &p.object, err);
    if (code == 0 && vm && vmc_json_boolean(p.object, "status.created", false))
        code = kubevirt_vmi_get(conn, vm, &deadline, &p.vmi, err);
    for (size_t i = 0; code == 0 && !p.stopped && i < sizeof probes / sizeof probes[0]; i++)
        if (vmc_answer_is_wanted(features, probes[i].feature))
            probe_one(&p, i);
    cJSON_Delete(p.object);
    cJSON_Delete(p.vmi);
    return code;
}
