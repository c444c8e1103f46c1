/* What is possible here: what the cluster serves and permits, what this user may do, what the VM shows. Changes nothing. Where an operation has
 * a check of its own, it is that one: `caps` and the refusal say the same words. */
#include "change.h"
#include "gates.h"
#include "guest.h"
#include "quantity.h"
#include "socket.h"

#include "backends/shared/answer.h"
#include "backends/shared/removal.h"
#include <string.h>

typedef struct probing {
    kubevirt_conn *conn;
    const vmc_deadline *deadline;
    const cJSON *installation; /* NULL: it cannot be read */
    const kube_discovery *discovery;
    kubevirt_vm *vm;     /* NULL: of the endpoint */
    cJSON *object, *vmi; /* of the VM */
    vmctl_state state;
} probing;

/* --- what this user may do --------------------------------------------------------------------------------------------- */

static const char *namespace_of(const probing *p) {
    return p->vm ? p->vm->namespace_name : p->conn->namespace_name;
}

/* 1: allowed, 0: not, negative: it could not be asked. */
static int is_allowed(probing *p, const char *verb, const char *group, const char *resource, const char *sub) {
    VMC_AUTO_JSON *review = cJSON_CreateObject();
    cJSON_AddStringToObject(review, "apiVersion", "authorization.k8s.io/v1");
    cJSON_AddStringToObject(review, "kind", "SelfSubjectAccessReview");
    cJSON *what = vmc_json_map(review, "spec.resourceAttributes");
    cJSON_AddStringToObject(what, "namespace", namespace_of(p));
    cJSON_AddStringToObject(what, "verb", verb);
    cJSON_AddStringToObject(what, "group", group);
    cJSON_AddStringToObject(what, "resource", resource);
    vmc_json_text(what, "subresource", sub);
    VMC_AUTO_JSON *answer = NULL;
    vmctl_error *ignored = NULL;
    const kube_request request = {.method = "POST",
                                  .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                  .body = review,
                                  .repeatable = true};
    int code = kube_call(p->conn->client, &request, p->deadline, &answer, &ignored);
    vmctl_error_free(ignored);
    return code < 0 ? code : vmc_json_boolean(answer, "status.allowed", false);
}

/* --- what the cluster has ---------------------------------------------------------------------------------------------- */

static void no_api(const probing *p, const char *group, const char *what, const char *remedy, vmc_answer *out) {
    out->level = VMCTL_LEVEL_YES;
    if (kube_discovery_stale(p->discovery, group)) {
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "whoever serves %s does not answer now", group);
    } else if (!kube_discovery_version(p->discovery, group, NULL)) {
        vmc_answer_say(out, VMCTL_LEVEL_NO, "this cluster has no %s", what);
        vmc_answer_remedy(out, "%s", remedy);
    }
}

static void ask_clone(const probing *p, vmc_answer *out) {
    no_api(p, "clone.kubevirt.io", "API clone.kubevirt.io", "install a KubeVirt that has it", out);
}

static void ask_disks(const probing *p, vmc_answer *out) {
    no_api(p, KUBEVIRT_CDI, "CDI, which makes disks", "install the Containerized Data Importer", out);
}

static void ask_exports(const probing *p, vmc_answer *out) {
    no_api(p, "export.kubevirt.io", "API export.kubevirt.io", "install a KubeVirt that has it", out);
    if (out->level != VMCTL_LEVEL_YES || kubevirt_gate(p->installation, "VMExport") != 0)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO, "the gate VMExport is off");
    vmc_answer_remedy(out, "an administrator adds it to the KubeVirt object's featureGates");
}

static bool is_readable(const probing *p, vmc_answer *out) {
    out->level = VMCTL_LEVEL_YES;
    if (!p->installation)
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "the KubeVirt object, which says what is on, may not be read");
    return p->installation;
}

static void ask_list(const probing *p, const char *list, const char *what, vmc_answer *out) {
    if (!is_readable(p, out) || cJSON_GetArraySize(vmc_json_key(kubevirt_permitted_of(p->installation), list)) > 0)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO, "this cluster permits no %s to VMs", what);
    vmc_answer_remedy(out,
                      "an administrator adds them to the KubeVirt object: spec.configuration.permittedHostDevices");
}

static void ask_passthrough(const probing *p, vmc_answer *out) {
    ask_list(p, "pciHostDevices", "PCI devices", out);
}

static void ask_vgpu(const probing *p, vmc_answer *out) {
    ask_list(p, "mediatedDevices", "mediated devices", out);
}

static void ask_snapshots(const probing *p, vmc_answer *out) {
    no_api(p, "snapshot.kubevirt.io", "API snapshot.kubevirt.io", "install a KubeVirt that has it", out);
    if (out->level != VMCTL_LEVEL_YES || kubevirt_gate(p->installation, "Snapshot") != 0)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO, "the gate Snapshot is off");
    vmc_answer_remedy(out, "an administrator adds it to the KubeVirt object's featureGates");
}

/* Where there is nothing to be asked but the right. */
static void ask_nothing(const probing *p, vmc_answer *out) {
    (void)p;
    out->level = VMCTL_LEVEL_YES;
}

/* --- one VM ------------------------------------------------------------------------------------------------------------ */

#define ASK_LIFE(slot)                                                                                                 \
    static void ask_##slot(const probing *p, vmc_answer *out) {                                                        \
        vmctl_error *why = NULL;                                                                                       \
        int code = p->vm ? kubevirt_life_check(p->vm, VMCTL_SLOT_##slot, p->state, &why) : 0;                          \
        vmc_answer_check(out, code, why);                                                                              \
    }

ASK_LIFE(start)
ASK_LIFE(stop)
ASK_LIFE(restart)
ASK_LIFE(reboot)
ASK_LIFE(reset)
ASK_LIFE(pause)
ASK_LIFE(resume)

/* A running one goes with --force only. */
static void ask_delete(const probing *p, vmc_answer *out) {
    bool off = !p->vm || p->state == VMCTL_STATE_STOPPED || p->state == VMCTL_STATE_CRASHED;
    vmctl_error *why = NULL;
    int code = off ? 0 : vmc_removal_check(p->vm->name, vmctl_state_name(p->state), false, &why);
    vmc_answer_check(out, code, why);
    if (code < 0)
        out->level = VMCTL_LEVEL_LIMITED;
}

static void ask_disk_snapshot(const probing *p, vmc_answer *out) {
    const cJSON *statuses = vmc_json_at(p->object, "status.volumeSnapshotStatuses");
    const cJSON *status;
    const char *why = NULL;
    ask_snapshots(p, out);
    cJSON_ArrayForEach(status, statuses) {
        if (vmc_json_boolean(status, "enabled", false))
            return;
        why = vmc_json_string(status, "reason", why);
    }
    if (out->level != VMCTL_LEVEL_YES || cJSON_GetArraySize(statuses) == 0)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_LIMITED,
                   "none of its disks can be in a snapshot, which holds its definition then: %s",
                   why ? why : "no reason is given");
    vmc_answer_remedy(out, "put its disks on a storage class that has a VolumeSnapshotClass");
}

static void ask_quiesce(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    ask_snapshots(p, out);
    if (!p->vm || out->level != VMCTL_LEVEL_YES)
        return;
    int code = kubevirt_snapshot_check(p->vm, p->object, false, true, &why);
    vmc_answer_check(out, code, why);
}

static void ask_agent(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_agent_check(p->vm, p->vmi, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_addresses(const probing *p, vmc_answer *out) {
    out->level = VMCTL_LEVEL_YES;
    if (p->vm && !p->vmi)
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "%s does not run; its addresses once it does would answer",
                       p->vm->name);
    else if (p->vm && !kubevirt_condition(p->vmi, "AgentConnected", "True"))
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "the guest's agent is not connected: the pod's address only");
}

static void ask_migration(const probing *p, vmc_answer *out) {
    const vmctl_migrate_options options = {.size = sizeof options, .mode = VMCTL_MIGRATE_LIVE};
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_migrate_check(p->vm, p->vmi, &options, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_abort(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_migrate_check_abort(p->vm, p->state == VMCTL_STATE_MIGRATING, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_stream(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_stream_check(p->vm, p->state, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_forward(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_forward_check(p->vm, p->state, p->vmi, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_dump(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_dump_check(p->installation, p->vm, p->object, p->vmi, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_screenshot(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    int code = p->vm ? kubevirt_screenshot_check(p->vm, p->vmi, &why) : 0;
    vmc_answer_check(out, code, why);
}

static void ask_display(const probing *p, vmc_answer *out) {
    vmctl_error *why = NULL;
    bool has = true;
    int code = p->vm ? kubevirt_display_check(p->vm, p->vmi, &has, &why) : 0;
    vmc_answer_check(out, code, why);
    if (code == 0 && !has)
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "%s has no display: there is nothing to tell", p->vm->name);
}

/* --- changes of a VM that runs ------------------------------------------------------------------------------------------ */

/* The operation itself decides, up to where it would send something: a dry run. false: the VM does not run, and *out says so. */
static bool runs(const probing *p, vmc_answer *out) {
    out->level = VMCTL_LEVEL_YES;
    if (!p->vm || p->vmi)
        return p->vm;
    vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "%s is %s: a change of it needs no plugging", p->vm->name,
                   vmctl_state_name(p->state));
    return false;
}

static void try_change(const probing *p, const char *path, const char *value, vmc_answer *out) {
    vmctl_change_options options = VMCTL_CHANGE_OPTIONS_INIT;
    vmctl_call call = {.size = sizeof call}; /* what it would note is nobody's to hear */
    vmc_deadline deadline = vmc_deadline_start(&call, KUBEVIRT_ASK_MS);
    vmctl_spec *spec = NULL;
    vmctl_error *why = NULL;
    options.live = options.dry_run = true;
    int code = kubevirt_spec(p->conn, p->vm, &call, &spec, &why);
    if (code == 0)
        code = vmctl_spec_set(spec, path, value, &why);
    if (code == 0) {
        vmctl_diff *diff = vmc_diff_of(VMCTL_CHANGE_SET, path, vmctl_node_get(vmctl_spec_root(spec), path));
        code = kubevirt_changing_run(p->conn, p->vm, diff, &options, NULL, &deadline, &why);
        vmctl_diff_free(diff);
    }
    vmctl_spec_free(spec);
    vmc_answer_check(out, code, why);
}

static void ask_cpus(const probing *p, vmc_answer *out) {
    const cJSON *cpu = vmc_json_at(p->vmi, "spec.domain.cpu");
    if (!runs(p, out))
        return;
    long long of_socket = vmc_json_integer(cpu, "cores", 1) * vmc_json_integer(cpu, "threads", 1);
    long long more = of_socket * (vmc_json_integer(cpu, "sockets", 1) + 1);
    VMC_AUTO_FREE char *next = vmc_printf("%lld", more);
    try_change(p, "cpus.count", next, out);
}

static void ask_memory(const probing *p, vmc_answer *out) {
    if (!runs(p, out))
        return;
    uint64_t bytes = kubevirt_quantity_of(vmc_json_at(p->vmi, "spec.domain.memory.guest"));
    VMC_AUTO_FREE char *next = vmc_printf("%lluMiB", (unsigned long long)(bytes >> 20) + 128);
    try_change(p, "memory.size", next, out);
}

/* The VM in vm.yaml's words; NULL, and *out says why. */
static vmctl_spec *spec_of(const probing *p, vmc_answer *out) {
    VMC_AUTO_JSON *json = kubevirt_read_vm(p->object, true);
    vmctl_spec *spec = NULL;
    vmctl_error *why = NULL;
    int code = vmc_json_to_spec(json, &spec, &why);
    if (code < 0)
        vmc_answer_check(out, code, why);
    return spec;
}

/* The first disk that is on a claim, else the first; NULL: there is none. *claim: NULL where it has none. */
static const char *first_disk(const probing *p, const char **claim) {
    const char *first = NULL;
    const cJSON *disk;
    cJSON_ArrayForEach(disk, vmc_json_at(p->object, "spec.template.spec.domain.devices.disks")) {
        const char *name = vmc_json_key_string(disk, "name");
        if (!name || vmc_json_key(disk, "cdrom"))
            continue;
        *claim = kubevirt_claim_of(kubevirt_volume_of(p->object, name));
        if (*claim)
            return name;
        first = first ? first : name;
    }
    return first;
}

/* What the API server says of a claim that shall be larger: it asks the storage class. */
static void ask_grow(const probing *p, vmc_answer *out) {
    out->level = VMCTL_LEVEL_YES;
    if (!p->vm)
        return;
    const char *claim = NULL;
    const char *name = first_disk(p, &claim);
    vmctl_error *why = NULL;
    if (!name) {
        vmc_answer_say(out, VMCTL_LEVEL_NO, "%s has no disk", p->vm->name);
        vmc_answer_remedy(out, "vmctl attach %s disk name=NAME size=SIZE gives it one", p->vm->name);
        return;
    }
    int code = kubevirt_grow_check(p->vm, name, claim, &why);
    if (code < 0) {
        vmc_answer_check(out, code, why);
        return;
    }
    VMC_AUTO_FREE char *path = kube_path("", "v1", p->vm->namespace_name, "persistentvolumeclaims", claim, NULL);
    VMC_AUTO_JSON *now = NULL;
    code = kube_get(p->conn->client, path, p->deadline, &now, &why);
    if (code < 0) {
        vmc_answer_check(out, code, why);
        return;
    }
    uint64_t bytes = kubevirt_quantity_of(vmc_json_at(now, "spec.resources.requests.storage"));
    VMC_AUTO_FREE char *key = vmc_printf("disks.%s.size", name);
    VMC_AUTO_FREE char *next = vmc_printf("%lluMiB", (unsigned long long)(bytes >> 20) + 1);
    try_change(p, key, next, out);
}

/* --- devices of a VM that runs ------------------------------------------------------------------------------------------ */

static kubevirt_changing changing_of(const probing *p) {
    return (kubevirt_changing){.conn = p->conn,
                               .vm = p->vm,
                               .installation = p->installation,
                               .now = p->object,
                               .then = p->object,
                               .vmi = p->vmi};
}

static void ask_changing(const kubevirt_changing *ch, vmctl_change_action action, const char *path,
                         const vmctl_node *item, vmctl_level level, vmc_answer *out) {
    vmctl_diff *diff = vmc_diff_of(action, path, item);
    VMC_AUTO_FREE char *why = kubevirt_change_obstacle(ch, vmctl_diff_at(diff, 0));
    if (why) {
        vmc_answer_say(out, level, "%s", why);
        vmc_answer_remedy(out, KUBEVIRT_LIVE_REMEDY, ch->vm->name);
    }
    vmctl_diff_free(diff);
}

/* The first device that stays until the VM stops. */
static void ask_detach(const probing *p, vmc_answer *out) {
    static const char *const lists[] = {"disks", "networks", "gpus", "usb"};
    vmctl_spec *spec = runs(p, out) ? spec_of(p, out) : NULL;
    kubevirt_changing ch = changing_of(p);
    for (size_t l = 0; spec && !out->reason && l < sizeof lists / sizeof lists[0]; l++) {
        const vmctl_node *list = vmctl_node_get(vmctl_spec_root(spec), lists[l]);
        for (size_t i = 0; !out->reason && i < vmctl_node_count(list); i++) {
            const vmctl_node *item = vmctl_node_at(list, i);
            VMC_AUTO_FREE char *path = vmc_printf("%s.%s", lists[l], vmctl_node_string(item, "name", ""));
            ask_changing(&ch, VMCTL_CHANGE_REMOVE, path, item, VMCTL_LEVEL_LIMITED, out);
        }
    }
    vmctl_spec_free(spec);
}

/* A medium out of the VM's drive, or one into it. */
static void ask_medium(const probing *p, vmc_answer *out) {
    out->level = VMCTL_LEVEL_YES;
    vmctl_spec *spec = p->vm ? spec_of(p, out) : NULL;
    VMC_AUTO_FREE char *drive = NULL;
    vmctl_error *why = NULL;
    int code = spec ? kubevirt_drive_find(p->vm, spec, NULL, &drive, &why) : 0;
    if (code == VMCTL_E_AMBIGUOUS) /* the command says which */
        vmctl_error_free(why);
    else if (code < 0)
        vmc_answer_check(out, code, why);
    if (drive && p->vmi) {
        kubevirt_changing ch = changing_of(p);
        ch.then = cJSON_Duplicate(p->object, true);
        cJSON *volumes = vmc_json_list(vmc_json_map(ch.then, "spec.template.spec"), "volumes");
        cJSON *volume = vmc_json_item(volumes, drive);
        cJSON_Delete(volume ? cJSON_DetachItemViaPointer(volumes, volume) : NULL);
        if (!volume) {
            cJSON_AddItemToArray(volumes, volume = cJSON_CreateObject());
            cJSON_AddStringToObject(volume, "name", drive);
            cJSON_AddStringToObject(vmc_json_map(volume, "dataVolume"), "name", "any");
        }
        VMC_AUTO_FREE char *path = vmc_printf("disks.%s.cdrom", drive);
        ask_changing(&ch, VMCTL_CHANGE_SET, path, vmctl_node_get(vmctl_spec_root(spec), path), VMCTL_LEVEL_LIMITED,
                     out);
        cJSON_Delete(ch.then);
    }
    vmctl_spec_free(spec);
}

/* One of the kind that comes to a VM that runs: on a multus network. */
static void ask_nic(const probing *p, vmc_answer *out) {
    static const char name[] = "vmctl-probe";
    if (!is_readable(p, out))
        return;
    if (!p->vm && !kubevirt_migrates_by_itself(p->installation)) {
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED,
                       "a NIC comes with a migration, and this cluster begins none by itself");
        vmc_answer_remedy(out, "vmctl migrate VM --to host: after it");
    }
    if (!p->vm || !runs(p, out))
        return;
    kubevirt_changing ch = changing_of(p);
    ch.then = cJSON_Duplicate(p->object, true);
    cJSON *pod = vmc_json_map(ch.then, "spec.template.spec");
    cJSON *interface = cJSON_CreateObject();
    cJSON *network = cJSON_CreateObject();
    cJSON_AddStringToObject(interface, "name", name);
    cJSON_AddStringToObject(network, "name", name);
    vmc_json_map(interface, "bridge");
    vmc_json_map(network, "multus");
    cJSON_AddItemToArray(vmc_json_list(vmc_json_map(pod, "domain.devices"), "interfaces"), interface);
    cJSON_AddItemToArray(vmc_json_list(pod, "networks"), network);
    VMC_AUTO_FREE char *path = vmc_printf("networks.%s", name);
    ask_changing(&ch, VMCTL_CHANGE_ADD, path, NULL, VMCTL_LEVEL_NO, out);
    cJSON_Delete(ch.then);
}

static void ask_hotplug(const probing *p, vmc_answer *out) {
    if (!is_readable(p, out) || (p->vm && !runs(p, out)))
        return;
    VMC_AUTO_FREE char *why = kubevirt_device_obstacle(p->installation, "disks", NULL, true);
    if (!why)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_NO, "%s", why);
    vmc_answer_remedy(out, "an administrator adds DeclarativeHotplugVolumes to the KubeVirt object's featureGates");
}

/* --- the table ---------------------------------------------------------------------------------------------------------- */

#define SNAPSHOTS "snapshot.kubevirt.io"
#define VM        KUBEVIRT_SUBRESOURCES, "virtualmachines"
#define INSTANCE  KUBEVIRT_SUBRESOURCES, "virtualmachineinstances"

/* The feature, what it takes of the cluster or VM, and the right that it needs. */
static const struct {
    const char *feature;
    void (*ask)(const probing *p, vmc_answer *out);
    const char *verb, *group, *resource, *sub;
} probes[] = {
    {"lifecycle.create", ask_nothing, "create", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"lifecycle.delete", ask_delete, "delete", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"lifecycle.start", ask_start, "update", VM, "start"},
    {"lifecycle.stop", ask_stop, "update", VM, "stop"},
    {"lifecycle.restart", ask_restart, "update", VM, "restart"},
    {"lifecycle.reboot", ask_reboot, "update", INSTANCE, "softreboot"},
    {"lifecycle.reset", ask_reset, "update", INSTANCE, "reset"},
    {"lifecycle.pause", ask_pause, "update", INSTANCE, "pause"},
    {"lifecycle.resume", ask_resume, "update", INSTANCE, "unpause"},
    {"lifecycle.clone", ask_clone, "create", "clone.kubevirt.io", "virtualmachineclones", NULL},
    {"change.apply", ask_nothing, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"cpu.hotplug", ask_cpus, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"memory.hotplug", ask_memory, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"storage.blank", ask_disks, NULL, NULL, NULL, NULL},
    {"image.upload", ask_disks, "create", KUBEVIRT_CDI, "datavolumes", NULL},
    {"image.download", ask_exports, "create", "export.kubevirt.io", "virtualmachineexports", NULL},
    {"storage.grow", ask_grow, "patch", "", "persistentvolumeclaims", NULL},
    {"device.disk.hotplug", ask_hotplug, NULL, NULL, NULL, NULL},
    {"device.nic.hotplug", ask_nic, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"device.detach", ask_detach, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"device.cdrom.change", ask_medium, "patch", KUBEVIRT_GROUP, "virtualmachines", NULL},
    {"gpu.passthrough", ask_passthrough, NULL, NULL, NULL, NULL},
    {"gpu.vgpu", ask_vgpu, NULL, NULL, NULL, NULL},
    {"snapshot.disk", ask_disk_snapshot, "create", SNAPSHOTS, "virtualmachinesnapshots", NULL},
    {"snapshot.revert", ask_snapshots, "create", SNAPSHOTS, "virtualmachinerestores", NULL},
    {"snapshot.quiesce", ask_quiesce, NULL, NULL, NULL, NULL},
    {"guest.addresses", ask_addresses, NULL, NULL, NULL, NULL},
    {"guest.info", ask_agent, "get", INSTANCE, "guestosinfo"},
    {"guest.freeze", ask_agent, "update", INSTANCE, "freeze"},
    {"guest.thaw", ask_agent, "update", INSTANCE, "unfreeze"},
    {"guest.forward", ask_forward, "get", INSTANCE, "portforward"},
    {"guest.memory-dump", ask_dump, "update", VM, "memorydump"},
    {"migrate.live", ask_migration, "create", KUBEVIRT_GROUP, "virtualmachineinstancemigrations", NULL},
    {"migrate.abort", ask_abort, "delete", KUBEVIRT_GROUP, "virtualmachineinstancemigrations", NULL},
    {"console.serial", ask_stream, "get", INSTANCE, "console"},
    {"display.address", ask_display, "get", INSTANCE, "vnc"},
    {"display.screenshot", ask_screenshot, "get", INSTANCE, "vnc/screenshot"},
    {"host.list", ask_nothing, "list", "", "nodes", NULL},
};

/* What stands in the way is said before who may do it. */
static void ask_right(probing *p, size_t i, vmc_answer *out) {
    int allowed = is_allowed(p, probes[i].verb, probes[i].group, probes[i].resource, probes[i].sub);
    if (allowed < 0) {
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN, "the API server does not say what this user may do");
    } else if (!allowed) {
        VMC_AUTO_FREE char *resource =
            vmc_printf("%s%s%s", probes[i].resource, probes[i].sub ? "/" : "", probes[i].sub ? probes[i].sub : "");
        bool of_cluster = strcmp(probes[i].resource, "nodes") == 0;
        vmctl_error *why = NULL;
        int code = kube_denied(probes[i].verb, probes[i].group, resource, of_cluster ? NULL : namespace_of(p), &why);
        vmc_answer_check(out, code, why);
    }
}

int kubevirt_probe(void *opaque, void *handle, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                   void *user, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    probing p = {.conn = conn, .deadline = &deadline, .vm = vm};
    bool enough = false;
    int code = kubevirt_installation(conn, &deadline, &p.installation, err);
    if (code == 0)
        code = kube_discover(conn->client, false, &deadline, &p.discovery, err);
    if (code == 0 && vm)
        code = kubevirt_vm_get(conn, vm, &deadline, &p.object, err);
    if (code == 0 && vm && vmc_json_boolean(p.object, "status.created", false))
        code = kubevirt_vmi_get(conn, vm, &deadline, &p.vmi, err);
    if (p.object)
        p.state = kubevirt_state(p.object, p.vmi, NULL);
    for (size_t i = 0; code == 0 && !enough && i < sizeof probes / sizeof probes[0]; i++) {
        vmc_answer said = {VMCTL_LEVEL_UNKNOWN, NULL, NULL};
        if (!vmc_answer_is_wanted(features, probes[i].feature))
            continue;
        probes[i].ask(&p, &said);
        if (!said.reason && probes[i].verb)
            ask_right(&p, i, &said);
        enough = vmc_answer_tell(&said, probes[i].feature, each, user);
    }
    cJSON_Delete(p.object);
    cJSON_Delete(p.vmi);
    return code;
}
