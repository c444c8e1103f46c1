/* Live migration between the cluster's nodes: VirtualMachineInstanceMigration, watched; deleting it calls it off. */
#include "ops.h"

#include "base/random.h"

#include <stdlib.h>
#include <string.h>

enum { MIGRATE_MS = 1800000 };

#define NO_STORAGE                                                                                                     \
    "a VM's disks stay where they are; vmctl set VM disk.NAME.pool=CLASS moves one to another storage class"

static bool is_final(const cJSON *migration) {
    const char *phase = vmc_json_string(migration, "status.phase", "");
    return strcmp(phase, "Succeeded") == 0 || strcmp(phase, "Failed") == 0;
}

/* --- preflight --------------------------------------------------------------------------------------------------------- */

typedef struct preflight {
    const vmctl_migrate_options *options;
    vmctl_error **err;
    int code; /* of the first fatal obstacle */
} preflight;

static int obstacle(preflight *p, int code, const char *what, const char *reason, const char *remedy) {
    const vmctl_obstacle found = {
        .size = sizeof found, .fatal = true, .what = what, .reason = reason, .remedy = remedy};
    if (p->options->obstacle && p->options->obstacle(&found, p->options->user))
        return vmc_error(p->err, VMCTL_E_CANCELLED, "cancelled by the caller");
    if (p->code == 0) {
        vmc_error(p->err, code, "%s", reason);
        p->code = code;
        if (remedy)
            vmc_error_next(p->err, "%s", remedy);
    }
    return 0;
}

int kubevirt_migrate_check_options(bool to_other, const vmctl_migrate_options *options, vmctl_error **err) {
    if (to_other)
        return vmc_error(
            err, VMCTL_E_UNSUPPORTED,
            "to another cluster needs KubeVirt's gate DecentralizedLiveMigration, and arrives with its own "
            "release");
    if (options->mode == VMCTL_MIGRATE_OFFLINE)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "a VM that is stopped is on no node; its next start finds one");
    if (options->storage)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, NO_STORAGE);
    if (options->tunnelled || options->migrate_uri)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "KubeVirt chooses the way of a migration itself");
    if (options->postcopy || options->auto_converge || options->bandwidth_bytes) {
        vmc_error(err, VMCTL_E_UNSUPPORTED,
                  "post-copy, auto-converge and bandwidth of a migration are the cluster's, by a MigrationPolicy");
        return vmc_error_next(
            err, "an administrator makes one with allowPostCopy, allowAutoConverge or "
                 "bandwidthPerMigration whose selectors fit the labels of its template; migrate --dry-run tells "
                 "which one it goes by now");
    }
    return 0;
}

static int look_at_vm(preflight *p, const kubevirt_vm *vm, const cJSON *vmi, const char *host) {
    const char *phase = vmc_json_string(vmi, "status.phase", "");
    VMC_AUTO_FREE char *start = vmc_printf("vmctl start %s", vm->name);
    if (strcmp(phase, "Running") != 0) {
        VMC_AUTO_FREE char *text = vmc_printf("%s does not run, and only a running VM is on a node", vm->name);
        return obstacle(p, VMCTL_E_INVALID_STATE, "stopped", text, start);
    }
    const cJSON *not = kubevirt_condition(vmi, "LiveMigratable", "False");
    int code = 0;
    if (not ) {
        VMC_AUTO_FREE char *text = vmc_printf("KubeVirt cannot migrate it: %s",
                                              vmc_json_string(not, "message", vmc_json_string(not, "reason", "")));
        const char *reason = vmc_json_string(not, "reason", "");
        code = obstacle(p, VMCTL_E_UNSUPPORTED, strstr(reason, "Disk") ? "disk" : "host-device", text,
                        strstr(reason, "Disk") ? "its disks have to be on ReadWriteMany claims" : NULL);
    }
    const char *now = vmc_json_string(vmi, "status.nodeName", NULL);
    if (code == 0 && host && vmc_str_eq(now, host)) {
        VMC_AUTO_FREE char *text = vmc_printf("%s is on %s already", vm->name, host);
        code = obstacle(p, VMCTL_E_INVALID_STATE, "same-host", text, "name another node: vmctl host list");
    }
    const cJSON *state = vmc_json_at(vmi, "status.migrationState");
    if (code == 0 && vmc_json_string(state, "migrationUid", NULL) && !vmc_json_boolean(state, "completed", false) &&
        !vmc_json_string(state, "endTimestamp", NULL))
        code = obstacle(p, VMCTL_E_BUSY, "migrating", "it is being migrated already", "vmctl migrate --abort");
    return code;
}

int kubevirt_migrate_check(const kubevirt_vm *vm, const cJSON *vmi, const vmctl_migrate_options *options,
                           vmctl_error **err) {
    preflight p = {.options = options, .err = err};
    int code = look_at_vm(&p, vm, vmi, NULL);
    return code < 0 ? code : p.code;
}

/* Who may not see nodes is not held up: the scheduler tells. */
static int look_at_node(preflight *p, kubevirt_conn *conn, const char *host, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", NULL, "nodes", host, NULL);
    VMC_AUTO_JSON *node = NULL;
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, &node, &why);
    VMC_AUTO_FREE char *text = NULL;
    if (code == VMCTL_E_NOT_FOUND) {
        text = vmc_printf("there is no node %s", host);
        code = obstacle(p, VMCTL_E_NOT_FOUND, "node", text, "vmctl host list shows the nodes");
    } else if (code == 0 &&
               (vmc_json_boolean(node, "spec.unschedulable", false) ||
                !vmc_str_eq(vmc_json_key_string(vmc_json_at(node, "metadata.labels"), "kubevirt.io/schedulable"),
                            "true"))) {
        text = vmc_printf("node %s takes no VMs now", host);
        code = obstacle(p, VMCTL_E_UNAVAILABLE, "node", text, "vmctl host list shows those that do");
    } else if (code == VMCTL_E_PERMISSION_DENIED) {
        code = 0;
    } else if (code < 0) {
        vmc_error_move(p->err, &why);
    }
    vmctl_error_free(why);
    return code;
}

/* --- moving ------------------------------------------------------------------------------------------------------------ */

static int is_moved(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    const char *phase = vmc_json_string(object, "status.phase", "");
    if (!object)
        return vmc_error(err, VMCTL_E_CANCELLED, "the migration was called off by somebody else");
    if (strcmp(phase, "Failed") == 0)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "the migration failed: %s",
                         vmc_json_string(object, "status.migrationState.failureReason", "KubeVirt gives no reason"));
    return strcmp(phase, "Succeeded") == 0;
}

static int call_off(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const char *version,
                    const vmc_deadline *deadline, vmctl_error **err);

static cJSON *new_migration(const kubevirt_vm *vm, const char *host) {
    cJSON *object = cJSON_CreateObject();
    cJSON_AddStringToObject(object, "apiVersion", KUBEVIRT_API);
    cJSON_AddStringToObject(object, "kind", "VirtualMachineInstanceMigration");
    char random[VMC_UUID_BYTES];
    vmc_uuid_new(random);
    /* A name of its own: where the answer is lost, it tells whether there is a migration. */
    VMC_AUTO_FREE char *name = vmc_printf("vmctl-migrate-%.8s", random);
    cJSON_AddStringToObject(vmc_json_map(object, "metadata"), "name", name);
    cJSON_AddStringToObject(vmc_json_map(object, "spec"), "vmiName", vm->name);
    if (host)
        cJSON_AddStringToObject(vmc_json_map(object, "spec.addedNodeSelector"), "kubernetes.io/hostname", host);
    return object;
}

static int move(kubevirt_conn *conn, const kubevirt_vm *vm, const char *host, const vmc_deadline *deadline,
                vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_collection("virtualmachineinstancemigrations", vm->namespace_name);
    VMC_AUTO_JSON *object = new_migration(vm, host);
    VMC_AUTO_JSON *made = NULL;
    KUBE_AUTO_STATUS status = {0};
    const kube_write_options options = {.status = &status};
    int code = kube_create(conn->client, path, object, &options, deadline, &made, err);
    if (code < 0 && status.message && strstr(status.message, "in-flight migration"))
        return vmc_error(err, VMCTL_E_BUSY, "%s is being migrated already", vm->name);
    if (code < 0)
        return code;
    const char *name = vmc_json_string(made, "metadata.name", "");
    const kubevirt_waiting waiting = {.name = name,
                                      .resource_version = vmc_json_string(made, "metadata.resourceVersion", NULL),
                                      .doing = "migrating",
                                      .settled = is_moved};
    code = kubevirt_wait_in(conn, vm, path, &waiting, deadline, err);
    if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        return code;
    /* The VM goes on where it is. */
    vmc_deadline within = {.at_ms = vmc_now_ms() + KUBEVIRT_ASK_MS};
    vmctl_error *why = NULL;
    if (call_off(conn, vm, name, NULL, &within, &why) < 0)
        vmc_error_append(err, "; it could not be called off: %s", vmctl_error_message(why));
    vmctl_error_free(why);
    return code;
}

/* What it would go by; only where somebody asks for what there is to be known. */
static int tell_policy(preflight *p, kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *vmi,
                       const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *words = NULL;
    if (!p->options->dry_run || !p->options->obstacle)
        return 0;
    int code = kubevirt_migrate_policy(conn, vm, vmi, deadline, &words, p->err);
    const vmctl_obstacle found = {.size = sizeof found, .what = "policy", .reason = words};
    if (code == 0 && words && p->options->obstacle(&found, p->options->user))
        return vmc_error(p->err, VMCTL_E_CANCELLED, "cancelled by the caller");
    return code;
}

int kubevirt_migrate(void *opaque, void *handle, void *target, const char *host, const vmctl_migrate_options *options,
                     vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err) {
    (void)journal; /* KubeVirt ends by itself what it began, and the VM is in one place all the time */
    (void)arrivals;
    kubevirt_conn *conn = opaque;
    kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, MIGRATE_MS);
    if (host && !*host)
        host = NULL; /* the scheduler chooses */
    int code = kubevirt_migrate_check_options(target != NULL, options, err);
    VMC_AUTO_JSON *vmi = NULL;
    preflight p = {.options = options, .err = err};
    if (code == 0)
        code = kubevirt_vmi_get(conn, vm, &deadline, &vmi, err);
    if (code == 0)
        code = look_at_vm(&p, vm, vmi, host);
    if (code == 0 && host)
        code = look_at_node(&p, conn, host, &deadline);
    if (code == 0 && p.code == 0)
        code = tell_policy(&p, conn, vm, vmi, &deadline);
    if (code < 0 || p.code < 0)
        return code < 0 ? code : p.code;
    return options->dry_run ? 0 : move(conn, vm, host, &deadline, err);
}

/* --- abort ------------------------------------------------------------------------------------------------------------- */

static int is_off(const cJSON *object, void *user, vmctl_error **err) {
    (void)user;
    (void)err;
    return !object || is_final(object);
}

static int call_off(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const char *version,
                    const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path =
        kube_path(KUBEVIRT_GROUP, "v1", vm->namespace_name, "virtualmachineinstancemigrations", name, NULL);
    VMC_AUTO_FREE char *all = kubevirt_collection("virtualmachineinstancemigrations", vm->namespace_name);
    VMC_AUTO_JSON *leaving = NULL;
    vmctl_error *why = NULL;
    int code = kube_delete(conn->client, path, &(kube_write_options){.unique = true}, deadline, &leaving, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code < 0 || cJSON_GetArraySize(vmc_json_at(leaving, "metadata.finalizers")) == 0)
        return code;
    const kubevirt_waiting waiting = {
        .name = name,
        .resource_version = version ? version : vmc_json_string(leaving, "metadata.resourceVersion", NULL),
        .doing = "waiting for the migration to stop",
        .settled = is_off};
    return kubevirt_wait_in(conn, vm, all, &waiting, deadline, err);
}

static int take_running(cJSON **item, void *user) {
    cJSON **out = user;
    if (is_final(*item))
        return 0;
    *out = *item;
    *item = NULL;
    return 1;
}

int kubevirt_migrate_check_abort(const kubevirt_vm *vm, bool migrating, vmctl_error **err) {
    return migrating ? 0 : vmc_error(err, VMCTL_E_INVALID_STATE, "%s is not being migrated", vm->name);
}

int kubevirt_migrate_abort(void *opaque, void *handle, const vmctl_call *call, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    const kubevirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ACT_MS);
    VMC_AUTO_FREE char *path = kubevirt_collection("virtualmachineinstancemigrations", vm->namespace_name);
    VMC_AUTO_FREE char *selector = vmc_printf("kubevirt.io/vmi-name=%s", vm->name);
    const char *const query[] = {"labelSelector", selector, NULL};
    const kube_list_options options = {.query = query};
    VMC_AUTO_JSON *running = NULL;
    int code = kube_list(conn->client, path, &options, &deadline, take_running, &running, err);
    if (code < 0)
        return code;
    code = kubevirt_migrate_check_abort(vm, running != NULL, err);
    if (code < 0)
        return code;
    return call_off(conn, vm, vmc_json_string(running, "metadata.name", ""), NULL, &deadline, err);
}
