/* Finding and looking at VMs. */
#include "ops.h"

#include "guest_info.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* --- list -------------------------------------------------------------------------------------------------------------- */

/* An instance as far as a list needs it, by namespace and name. */
typedef struct instance {
    char *key;
    cJSON *object;
    struct instance *next;
} instance;

enum { BUCKETS = 4096, FEW = 4 };

typedef struct lister {
    kubevirt_conn *conn;
    const vmctl_list_options *options;
    const vmc_deadline *deadline;
    unsigned facts;
    vmctl_vm_info_fn each;
    void *user;
    cJSON *snapshots;     /* how many, by uid; NULL: not asked for */
    instance **instances; /* BUCKETS of them; NULL: not asked for */
    cJSON **waiting;      /* VMs of which only the instance tells whether the guest crashed */
    size_t waiting_count;
    bool stopped;
} lister;

static unsigned bucket_of(const char *key) {
    unsigned hash = 5381;
    for (; *key; key++)
        hash = hash * 33 + (unsigned char)*key;
    return hash % BUCKETS;
}

static char *key_of(const cJSON *object) {
    return vmc_printf("%s/%s", vmc_json_string(object, "metadata.namespace", ""),
                      vmc_json_string(object, "metadata.name", ""));
}

/* A list of 10,000 keeps no more of an instance than is told. */
static void shrink(cJSON *object) {
    static const char *const dropped[] = {"spec", "apiVersion", "kind"};
    for (size_t i = 0; i < sizeof dropped / sizeof dropped[0]; i++)
        cJSON_DeleteItemFromObjectCaseSensitive(object, dropped[i]);
    cJSON *status = cJSON_GetObjectItemCaseSensitive(object, "status");
    static const char *const not_told[] = {"volumeStatus", "guestOSInfo", "activePods", "migrationTransport"};
    for (size_t i = 0; status && i < sizeof not_told / sizeof not_told[0]; i++)
        cJSON_DeleteItemFromObjectCaseSensitive(status, not_told[i]);
}

static int keep_instance(cJSON **item, void *user) {
    lister *l = user;
    instance *kept = vmc_alloc(sizeof *kept);
    kept->key = key_of(*item);
    kept->object = *item;
    *item = NULL;
    if (!(l->facts & VMCTL_FACT_DEVICES))
        shrink(kept->object);
    instance **bucket = &l->instances[bucket_of(kept->key)];
    kept->next = *bucket;
    *bucket = kept;
    return 0;
}

static const cJSON *instance_of(const lister *l, const cJSON *vm) {
    VMC_AUTO_FREE char *key = key_of(vm);
    const instance *found = l->instances ? l->instances[bucket_of(key)] : NULL;
    while (found && strcmp(found->key, key) != 0)
        found = found->next;
    return found ? found->object : NULL;
}

static void free_instances(lister *l) {
    for (size_t i = 0; l->instances && i < BUCKETS; i++) {
        while (l->instances[i]) {
            instance *gone = l->instances[i];
            l->instances[i] = gone->next;
            cJSON_Delete(gone->object);
            free(gone->key);
            free(gone);
        }
    }
    free(l->instances);
    l->instances = NULL;
}

static int fetch_instances(lister *l, vmctl_error **err) {
    const char *namespace_name = l->options->namespace_name ? l->options->namespace_name : l->conn->namespace_name;
    VMC_AUTO_FREE char *path =
        kubevirt_collection("virtualmachineinstances", strcmp(namespace_name, "*") == 0 ? NULL : namespace_name);
    l->instances = vmc_alloc(BUCKETS * sizeof(void *));
    return kube_list(l->conn->client, path, NULL, l->deadline, keep_instance, l, err);
}

static int deliver(lister *l, const cJSON *vm, const cJSON *vmi) {
    if (kubevirt_facts_deliver(vm, vmi, NULL, NULL, kubevirt_snapshots_of(l->snapshots, vm), l->facts, l->options,
                               l->each, l->user))
        l->stopped = true;
    return l->stopped ? 1 : 0;
}

static int on_vm(cJSON **item, void *user) {
    lister *l = user;
    if (!l->instances && kubevirt_needs_instance(*item)) {
        l->waiting = vmc_realloc(l->waiting, l->waiting_count + 1, sizeof(cJSON *));
        l->waiting[l->waiting_count++] = *item;
        *item = NULL;
        return 0;
    }
    return deliver(l, *item, instance_of(l, *item));
}

/* Those that stopped with an instance left: mostly none or a few. */
static int deliver_waiting(lister *l, vmctl_error **err) {
    int code = 0;
    if (l->waiting_count > FEW)
        code = fetch_instances(l, err);
    for (size_t i = 0; code == 0 && !l->stopped && i < l->waiting_count; i++) {
        if (l->instances) {
            deliver(l, l->waiting[i], instance_of(l, l->waiting[i]));
            continue;
        }
        const kubevirt_vm vm = {.namespace_name = (char *)vmc_json_string(l->waiting[i], "metadata.namespace", ""),
                                .name = (char *)vmc_json_string(l->waiting[i], "metadata.name", "")};
        VMC_AUTO_JSON *vmi = NULL;
        code = kubevirt_vmi_get(l->conn, &vm, l->deadline, &vmi, err);
        if (code == 0)
            deliver(l, l->waiting[i], vmi);
    }
    return code;
}

/* What the server can select by; the rest is done here. */
static char *label_selector(const vmctl_list_options *options) {
    VMC_AUTO_STRV parts = {0};
    if (options->owner) {
        VMC_AUTO_FREE char *owner = kubevirt_label_value(options->owner);
        vmc_strv_printf(&parts, "%s=%s", KUBEVIRT_LABEL_OWNER, owner);
    }
    for (size_t i = 0; i < options->label_count; i++) {
        const vmctl_label *label = &options->labels[i];
        if (kubevirt_is_label_key(label->key) && kubevirt_is_label_value(label->value))
            vmc_strv_printf(&parts, "%s=%s", label->key, label->value);
    }
    return parts.count ? vmc_strv_join(&parts, ",") : NULL;
}

int kubevirt_list(void *opaque, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user,
                  vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    lister l = {.conn = conn,
                .options = options,
                .deadline = &deadline,
                .facts = options->facts ? options->facts : VMCTL_FACTS_LIST,
                .each = each,
                .user = user};
    const char *namespace_name = options->namespace_name ? options->namespace_name : conn->namespace_name;
    VMC_AUTO_FREE char *path =
        kubevirt_collection("virtualmachines", strcmp(namespace_name, "*") == 0 ? NULL : namespace_name);
    VMC_AUTO_FREE char *labels = label_selector(options);
    VMC_AUTO_FREE char *field = options->name ? vmc_printf("metadata.name=%s", options->name) : NULL;
    const char *query[5] = {0};
    size_t count = 0;
    if (labels) {
        query[count++] = "labelSelector";
        query[count++] = labels;
    }
    if (field) {
        query[count++] = "fieldSelector";
        query[count] = field;
    }
    const kube_list_options page = {.query = labels || field ? query : NULL};
    int code = l.facts & (VMCTL_FACT_ADDRESSES | VMCTL_FACT_DEVICES) ? fetch_instances(&l, err) : 0;
    if (code == 0 && l.facts & VMCTL_FACT_SNAPSHOTS)
        code = kubevirt_snapshots_count(conn, strcmp(namespace_name, "*") == 0 ? NULL : namespace_name, &deadline,
                                        &l.snapshots, err);
    if (code == 0)
        code = kube_list(conn->client, path, &page, &deadline, on_vm, &l, err);
    if (code >= 0 && !l.stopped && l.waiting_count)
        code = deliver_waiting(&l, err);
    for (size_t i = 0; i < l.waiting_count; i++)
        cJSON_Delete(l.waiting[i]);
    free(l.waiting);
    cJSON_Delete(l.snapshots);
    free_instances(&l);
    return code < 0 ? code : 0;
}

/* --- lookup ------------------------------------------------------------------------------------------------------------ */

typedef struct search {
    const char *wanted; /* a name or uid */
    vmc_strv names;
    char *found; /* the name of the one with that uid */
} search;

static int compare_one(cJSON **item, void *user) {
    search *s = user;
    const char *name = vmc_json_string(*item, "metadata.name", "");
    vmc_strv_add(&s->names, name);
    if (strcmp(vmc_json_string(*item, "metadata.uid", ""), s->wanted) != 0)
        return 0;
    s->found = vmc_strdup(name);
    return 1;
}

/* Only after no VM has that name. */
static int search_all(kubevirt_conn *conn, const char *namespace_name, search *s, const vmc_deadline *deadline,
                      vmctl_error **err) {
    VMC_AUTO_FREE char *path = kubevirt_collection("virtualmachines", namespace_name);
    const kube_list_options options = {.accept = KUBE_METADATA_ONLY};
    int code = kube_list(conn->client, path, &options, deadline, compare_one, s, err);
    return code < 0 ? code : 0;
}

static int not_found(const search *s, const char *namespace_name, vmctl_error **err) {
    const char *near = s->names.count ? vmc_nearest(s->wanted, (const char *const *)s->names.items) : NULL;
    vmc_error(err, VMCTL_E_NOT_FOUND, "there is no VM named %s in namespace %s", s->wanted, namespace_name);
    return near ? vmc_error_next(err, "did you mean %s?", near)
                : vmc_error_next(err, "vmctl list -n '*' shows the VMs of all namespaces");
}

static int get_named(kubevirt_conn *conn, const char *namespace_name, const char *name, const vmc_deadline *deadline,
                     cJSON **out, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path(KUBEVIRT_GROUP, "v1", namespace_name, "virtualmachines", name, NULL);
    return kube_get(conn->client, path, deadline, out, err);
}

/* A VM that has not been asked for: its uid is not known. */
static kubevirt_vm *unseen(const kubevirt_conn *conn, const char *namespace_name, const char *name) {
    cJSON *metadata = cJSON_CreateObject();
    cJSON_AddStringToObject(metadata, "namespace", namespace_name);
    cJSON_AddStringToObject(metadata, "name", name);
    VMC_AUTO_JSON *object = cJSON_CreateObject();
    cJSON_AddItemToObject(object, "metadata", metadata);
    kubevirt_vm *vm = kubevirt_vm_new(conn, object);
    vm->seen = NULL;
    return vm;
}

static bool looks_like_uid(const char *text) {
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    size_t i = 0;
    while (form[i] && (form[i] == '-' ? text[i] == '-' : isxdigit((unsigned char)text[i])))
        i++;
    return !form[i] && !text[i];
}

int kubevirt_no_such_vm(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err) {
    search s = {.wanted = vm->name};
    int code = search_all(conn, vm->namespace_name, &s, deadline, err);
    if (code == 0)
        code = not_found(&s, vm->namespace_name, err);
    vmc_strv_free(&s.names);
    free(s.found);
    return code;
}

int kubevirt_lookup(void *opaque, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                    vmctl_identity *identity, vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    const char *namespace_name = options->namespace_name ? options->namespace_name : conn->namespace_name;
    cJSON *object = NULL;
    vmctl_error *why = NULL;
    if (options->lazy && kubevirt_is_vm_name(name_or_id) && !looks_like_uid(name_or_id)) {
        kubevirt_vm *made = unseen(conn, namespace_name, name_or_id);
        kubevirt_vm_identity(made, identity);
        *vm = made;
        return 0;
    }
    /* What cannot be a name is none of a VM, and need not be asked for. */
    int code = kubevirt_is_vm_name(name_or_id) ? get_named(conn, namespace_name, name_or_id, &deadline, &object, &why)
                                               : VMCTL_E_NOT_FOUND;
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        why = NULL;
        search s = {.wanted = name_or_id};
        code = search_all(conn, namespace_name, &s, &deadline, &why);
        if (code == 0 && s.found)
            code = get_named(conn, namespace_name, s.found, &deadline, &object, &why);
        else if (code == 0)
            code = not_found(&s, namespace_name, &why);
        vmc_strv_free(&s.names);
        free(s.found);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    if (code < 0)
        return code;
    kubevirt_vm *made = kubevirt_vm_new(conn, object);
    kubevirt_vm_identity(made, identity);
    *vm = made;
    return 0;
}

void kubevirt_release(void *conn, void *vm) {
    (void)conn;
    kubevirt_vm_free(vm);
}

/* --- one VM ------------------------------------------------------------------------------------------------------------ */

static int tell_identity(const kubevirt_vm *vm, vmctl_vm_info_fn each, void *user) {
    const vmctl_vm_info info = {.size = sizeof info,
                                .name = vm->name,
                                .id = vm->uid,
                                .backend = "kubevirt",
                                .namespace_name = vm->namespace_name};
    each(&info, user);
    return 0;
}

int kubevirt_get(void *opaque, void *handle, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                 vmctl_error **err) {
    kubevirt_conn *conn = opaque;
    if (!options->facts && *((const kubevirt_vm *)handle)->uid)
        return tell_identity(handle, each, user);
    vmc_deadline deadline = vmc_deadline_start(options->call, KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *vm = NULL;
    VMC_AUTO_JSON *vmi = NULL;
    VMC_AUTO_JSON *snapshots = NULL;
    /* Who asks for everything is not made to wait for one request more. */
    unsigned usual = options->facts & ~(unsigned)VMCTL_FACT_POLICY;
    bool everything = (usual | VMCTL_FACT_GUEST) == VMCTL_FACTS_ALL;
    bool counted = !everything && options->facts & VMCTL_FACT_SNAPSHOTS;
    int code = kubevirt_vm_get(conn, handle, &deadline, &vm, err);
    if (code == 0 && vmc_json_boolean(vm, "status.created", false))
        code = kubevirt_vmi_get(conn, handle, &deadline, &vmi, err);
    unsigned facts = options->facts ? options->facts : VMCTL_FACTS_ALL;
    VMC_AUTO_JSON *guest =
        code == 0 && facts & VMCTL_FACT_GUEST ? kubevirt_guest_info(conn, handle, vmi, &deadline) : NULL;
    VMC_AUTO_FREE char *policy =
        code == 0 && vmi && facts & VMCTL_FACT_POLICY ? kubevirt_migrate_policy_of(conn, vmi, &deadline) : NULL;
    if (code == 0 && counted)
        code =
            kubevirt_snapshots_count(conn, vmc_json_string(vm, "metadata.namespace", ""), &deadline, &snapshots, err);
    if (code == 0)
        kubevirt_facts_deliver(vm, vmi, guest, policy, kubevirt_snapshots_of(snapshots, vm), facts, NULL, each, user);
    return code;
}

int kubevirt_spec(void *conn, void *handle, const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *vm = NULL;
    int code = kubevirt_vm_get(conn, handle, &deadline, &vm, err);
    if (code < 0)
        return code;
    VMC_AUTO_JSON *json = kubevirt_read_vm(vm, true);
    return vmc_json_to_spec(json, out, err);
}

/* The object as it is, but for the account of who set which field. */
int kubevirt_native(void *conn, void *handle, const vmctl_call *call, char **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, KUBEVIRT_ASK_MS);
    VMC_AUTO_JSON *vm = NULL;
    int code = kubevirt_vm_get(conn, handle, &deadline, &vm, err);
    if (code < 0)
        return code;
    cJSON_DeleteItemFromObjectCaseSensitive(vmc_json_map(vm, "metadata"), "managedFields");
    *out = cJSON_Print(vm);
    return *out ? 0 : vmc_error_no_memory(err);
}
