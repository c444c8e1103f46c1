/* drivers/kube/write.c - create, update, apply, patch, delete. */
#include "drivers/kube/lost.h"
#include <stdlib.h>
#include <string.h>

#define FIELD_MANAGER "vmctl"

enum { MOST_PAIRS = 5 };

/* The query of a write. */
typedef struct pairs {
    const char *list[2 * MOST_PAIRS + 1];
    size_t count;
} pairs;

static void add(pairs *p, const char *name, const char *value) {
    p->list[p->count++] = name;
    p->list[p->count++] = value;
}

static pairs query_of(const kube_write_options *o) {
    static const char *const validations[] = {"Strict", "Warn", "Ignore"};
    pairs p = {0};
    add(&p, "fieldManager", FIELD_MANAGER);
    add(&p, "fieldValidation", validations[o->validation]);
    if (o->dry_run)
        add(&p, "dryRun", "All");
    return p;
}

static kube_write_options defaults(const kube_write_options *options) {
    return options ? *options : (kube_write_options){0};
}

static const char *name_of(const cJSON *object) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "name");
    return cJSON_IsString(name) ? name->valuestring : NULL;
}

int kube_create(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    pairs query = query_of(&o);
    const char *name = name_of(object);
    VMC_AUTO_FREE char *own = name ? vmc_printf("%s/%s", path, name) : NULL;
    kube_request request = {.method = "POST", .path = path, .query = query.list, .body = object, .status = o.status};
    kube_writing w = {.client = client, .kind = KUBE_WRITE_CREATE, .request = &request, .object = own};
    return kube_write(&w, deadline, out, err);
}

int kube_update(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    pairs query = query_of(&o);
    kube_request request = {.method = "PUT", .path = path, .query = query.list, .body = object, .status = o.status};
    kube_writing w = {.client = client, .kind = KUBE_WRITE_APPLY, .request = &request, .object = path};
    return kube_write(&w, deadline, out, err);
}

int kube_apply(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
               const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    pairs query = query_of(&o);
    if (o.force)
        add(&query, "force", "true");
    /* YAML has JSON in it. */
    kube_request request = {.method = "PATCH",
                            .path = path,
                            .query = query.list,
                            .body = object,
                            .content_type = "application/apply-patch+yaml",
                            .status = o.status};
    kube_writing w = {.client = client, .kind = KUBE_WRITE_APPLY, .request = &request, .object = path};
    return kube_write(&w, deadline, out, err);
}

int kube_patch(kube_client *client, const char *path, const cJSON *patch, const kube_write_options *options,
               const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    pairs query = query_of(&o);
    kube_request request = {.method = "PATCH",
                            .path = path,
                            .query = query.list,
                            .body = patch,
                            .content_type =
                                cJSON_IsArray(patch) ? "application/json-patch+json" : "application/merge-patch+json",
                            .status = o.status};
    kube_writing w = {
        .client = client, .kind = KUBE_WRITE_PATCH, .request = &request, .object = cJSON_IsArray(patch) ? NULL : path};
    return kube_write(&w, deadline, out, err);
}

int kube_delete(kube_client *client, const char *path, const kube_write_options *options, const vmc_deadline *deadline,
                cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    cJSON *body = cJSON_CreateObject();
    cJSON_AddStringToObject(body, "apiVersion", "v1");
    cJSON_AddStringToObject(body, "kind", "DeleteOptions");
    if (o.propagation)
        cJSON_AddStringToObject(body, "propagationPolicy", o.propagation);
    if (o.has_grace)
        cJSON_AddNumberToObject(body, "gracePeriodSeconds", (double)o.grace_seconds);
    if (o.dry_run)
        cJSON_AddItemToArray(cJSON_AddArrayToObject(body, "dryRun"), cJSON_CreateString("All"));
    if (o.uid || o.resource_version) {
        cJSON *preconditions = cJSON_AddObjectToObject(body, "preconditions");
        if (o.uid)
            cJSON_AddStringToObject(preconditions, "uid", o.uid);
        if (o.resource_version)
            cJSON_AddStringToObject(preconditions, "resourceVersion", o.resource_version);
    }
    kube_request request = {.method = "DELETE", .path = path, .body = body, .status = o.status};
    kube_writing w = {.client = client,
                      .kind = KUBE_WRITE_DELETE,
                      .request = &request,
                      .object = path,
                      .body = body,
                      .unique = o.unique};
    int rc = kube_write(&w, deadline, out, err);
    cJSON_Delete(body);
    return rc;
}
