/* Which MigrationPolicy a migration of a VM goes by. Source: KubeVirt's user guide, "Migration Policies": one fits when all labels that it asks for are
 * there, on the VM's instance and on its namespace; of several the one that asks for most is taken, then the first by name. */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

#define GROUP "migrations.kubevirt.io"

typedef struct choosing {
    const cJSON *vmi_labels;
    const cJSON *namespace_labels;
    bool partly; /* of the namespace's labels only its name is known */
    cJSON *best;
    int best_count;
    bool unsure; /* one may fit by labels of the namespace, which this user may not see */
} choosing;

/* How many labels the selector asks for; -1: it does not fit. */
static int fit(const cJSON *selector, const cJSON *labels) {
    const cJSON *wanted;
    int count = 0;
    cJSON_ArrayForEach(wanted, selector) {
        if (!cJSON_IsString(wanted) || !vmc_str_eq(vmc_json_key_string(labels, wanted->string), wanted->valuestring))
            return -1;
        count++;
    }
    return count;
}

/* Every namespace has its name as a label. */
#define NAME_LABEL "kubernetes.io/metadata.name"

static bool is_of_name(const cJSON *selector) {
    const cJSON *wanted;
    cJSON_ArrayForEach(wanted, selector) {
        if (strcmp(wanted->string, NAME_LABEL) != 0)
            return false;
    }
    return true;
}

static cJSON *name_labels(const char *namespace_name) {
    cJSON *labels = cJSON_CreateObject();
    cJSON_AddStringToObject(labels, NAME_LABEL, namespace_name);
    return labels;
}

static int choose(cJSON **item, void *user) {
    choosing *c = user;
    const cJSON *of_namespace = vmc_json_at(*item, "spec.selectors.namespaceSelector");
    int by_vm = fit(vmc_json_at(*item, "spec.selectors.virtualMachineInstanceSelector"), c->vmi_labels);
    int by_namespace = fit(of_namespace, c->namespace_labels);
    if (by_vm >= 0 && by_namespace < 0 && c->partly && !is_of_name(of_namespace))
        c->unsure = true;
    if (by_vm < 0 || by_namespace < 0 || by_vm + by_namespace == 0)
        return 0;
    int order = c->best
                    ? strcmp(vmc_json_string(*item, "metadata.name", ""), vmc_json_string(c->best, "metadata.name", ""))
                    : 0;
    if (c->best && (by_vm + by_namespace < c->best_count || (by_vm + by_namespace == c->best_count && order > 0)))
        return 0;
    cJSON_Delete(c->best);
    c->best = *item;
    c->best_count = by_vm + by_namespace;
    *item = NULL;
    return 0;
}

/* "post-copy allowed, at most 64Mi a second"; free. NULL: it says nothing. */
static char *settings_of(const cJSON *from) {
    static const struct {
        const char *key, *on, *off;
    } switches[] = {{"allowPostCopy", "post-copy allowed", "no post-copy"},
                    {"allowAutoConverge", "auto-converge allowed", "no auto-converge"}};
    VMC_AUTO_STRV said = {0};
    const char *bandwidth = vmc_json_key_string(from, "bandwidthPerMigration");
    for (size_t i = 0; i < sizeof switches / sizeof switches[0]; i++) {
        const cJSON *value = vmc_json_key(from, switches[i].key);
        if (cJSON_IsBool(value))
            vmc_strv_add(&said, cJSON_IsTrue(value) ? switches[i].on : switches[i].off);
    }
    if (bandwidth)
        vmc_strv_printf(&said, "at most %s a second", bandwidth);
    return said.count ? vmc_strv_join(&said, ", ") : NULL;
}

/* *version NULL: this KubeVirt has none. */
static int find_version(kubevirt_conn *conn, const vmc_deadline *deadline, const char **version, vmctl_error **err) {
    static const char *const wanted[] = {"v1", "v1beta1", "v1alpha1", NULL};
    const kube_discovery *discovery = NULL;
    int code = kube_discover(conn->client, false, deadline, &discovery, err);
    *version = code == 0 ? kube_discovery_version(discovery, GROUP, wanted) : NULL;
    return code;
}

static int ask_namespace(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, cJSON **out,
                         vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", NULL, "namespaces", vm->namespace_name, NULL);
    vmctl_error *why = NULL;
    int code = kube_get(conn->client, path, deadline, out, &why);
    if (code == VMCTL_E_PERMISSION_DENIED) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

static char *in_words(const choosing *c, const cJSON *installation) {
    VMC_AUTO_FREE char *own = settings_of(vmc_json_key(c->best, "spec"));
    VMC_AUTO_FREE char *cluster = settings_of(vmc_json_at(installation, "spec.configuration.migrations"));
    VMC_AUTO_FREE char *rest = cluster ? vmc_printf(" (%s)", cluster) : NULL;
    if (c->unsure)
        return vmc_strdup(
            "which MigrationPolicy it goes by depends on its namespace's labels, which this user may not see");
    if (!c->best)
        return vmc_printf("no MigrationPolicy fits it: it goes by the cluster's own settings%s", rest ? rest : "");
    return vmc_printf("it goes by the MigrationPolicy %s%s%s%s", vmc_json_string(c->best, "metadata.name", ""),
                      own ? ": " : "", own ? own : "", rest && !own ? rest : "");
}

char *kubevirt_migrate_policy_of(kubevirt_conn *conn, const cJSON *vmi, const vmc_deadline *deadline) {
    const char *version = NULL;
    vmctl_error *ignored = NULL;
    VMC_AUTO_JSON *name = name_labels(vmc_json_string(vmi, "metadata.namespace", ""));
    choosing c = {.vmi_labels = vmc_json_at(vmi, "metadata.labels"), .namespace_labels = name, .partly = true};
    int code = find_version(conn, deadline, &version, &ignored);
    VMC_AUTO_FREE char *path = version ? kube_path(GROUP, version, NULL, "migrationpolicies", NULL, NULL) : NULL;
    if (code == 0 && version)
        code = kube_list(conn->client, path, NULL, deadline, choose, &c, &ignored);
    vmctl_error_free(ignored);
    VMC_AUTO_FREE char *says = settings_of(vmc_json_key(c.best, "spec"));
    char *words = NULL;
    if (code == 0 && c.unsure)
        words = vmc_strdup("by the labels of its namespace (vmctl migrate --dry-run tells)");
    else if (code == 0 && c.best)
        words = vmc_printf("%s%s%s", vmc_json_string(c.best, "metadata.name", ""), says ? ": " : "", says ? says : "");
    cJSON_Delete(c.best);
    return words;
}

int kubevirt_migrate_policy(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *vmi, const vmc_deadline *deadline,
                            char **words, vmctl_error **err) {
    const cJSON *installation = NULL;
    const char *version = NULL;
    VMC_AUTO_JSON *of_namespace = NULL;
    VMC_AUTO_JSON *name = name_labels(vm->namespace_name);
    *words = NULL;
    int code = find_version(conn, deadline, &version, err);
    if (code < 0 || !version)
        return code;
    code = kubevirt_installation(conn, deadline, &installation, err);
    if (code == 0)
        code = ask_namespace(conn, vm, deadline, &of_namespace, err);
    if (code < 0)
        return code;
    const cJSON *labels = vmc_json_at(of_namespace, "metadata.labels");
    choosing c = {.vmi_labels = vmc_json_at(vmi, "metadata.labels"),
                  .namespace_labels = labels ? labels : name,
                  .partly = !of_namespace};
    VMC_AUTO_FREE char *path = kube_path(GROUP, version, NULL, "migrationpolicies", NULL, NULL);
    vmctl_error *why = NULL;
    code = kube_list(conn->client, path, NULL, deadline, choose, &c, &why);
    if (code == 0)
        *words = in_words(&c, installation);
    else if (code == VMCTL_E_PERMISSION_DENIED)
        *words = vmc_printf("which MigrationPolicy it goes by is not known: %s", vmctl_error_message(why));
    cJSON_Delete(c.best);
    bool denied = code == VMCTL_E_PERMISSION_DENIED;
    vmc_error_move(code < 0 && !denied ? err : NULL, &why);
    return denied ? 0 : code;
}
