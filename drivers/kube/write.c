/* drivers/kube/write.c - create, update, apply, patch, delete. */
#include "drivers/kube/client.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELD_MANAGER "vmctl"

enum { MOST_PAIRS = 5, SKEW_SECONDS = 2 };

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

/* ---- Create, when its answer was lost ---- */

/* Whether `there` has everything of `asked`; a server only adds. */
static bool contains(const cJSON *there, const cJSON *asked) {
    const cJSON *item;
    if (cJSON_IsObject(asked)) {
        cJSON_ArrayForEach(item, asked) {
            const cJSON *found = cJSON_GetObjectItemCaseSensitive(there, item->string);
            if (!cJSON_IsNull(item) && (!found || !contains(found, item)))
                return false;
        }
        return cJSON_IsObject(there);
    }
    if (cJSON_IsArray(asked)) {
        const cJSON *found = cJSON_IsArray(there) ? there->child : NULL;
        cJSON_ArrayForEach(item, asked) {
            if (!found || !contains(found, item))
                return false;
            found = found->next;
        }
        return cJSON_IsArray(there) && !found;
    }
    return cJSON_Compare(there, asked, true);
}

/* Whether it was made since a request of `elapsed_ms` ago, by the server's own clock. */
static bool is_recent(const cJSON *object, const http_response *response, int64_t elapsed_ms) {
    const cJSON *made =
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "creationTimestamp");
    const char *date = http_response_header(response, "date");
    struct tm then = {0}, now = {0};
    if (!cJSON_IsString(made) || !date || !strptime(made->valuestring, "%Y-%m-%dT%H:%M:%SZ", &then) ||
        !strptime(date, "%a, %d %b %Y %H:%M:%S GMT", &now))
        return false;
    return timegm(&then) >= timegm(&now) - elapsed_ms / 1000 - SKEW_SECONDS;
}

typedef struct creation {
    kube_client *client;
    const kube_request *request;
    const char *name;
    int64_t began_ms;
} creation;

/* 1: it is there as asked, in *out. 0: it is not there. Negative: it is another one, or that cannot be told. */
static int look(const creation *c, const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", c->request->path, c->name);
    KUBE_AUTO_STATUS status = {0};
    kube_request get = {.path = path, .status = &status};
    HTTP_AUTO_RESPONSE *response = NULL;
    int rc = kube_exchange_run(c->client, &(kube_exchange){.request = &get}, deadline, &response, err);
    if (rc == VMCTL_E_NOT_FOUND) {
        if (err) {
            vmctl_error_free(*err);
            *err = NULL;
        }
        return 0;
    }
    if (rc < 0)
        return rc;
    cJSON *object = cJSON_ParseWithLength(response->body, response->length);
    if (object && contains(object, c->request->body) && is_recent(object, response, vmc_now_ms() - c->began_ms)) {
        *out = object;
        return 1;
    }
    cJSON_Delete(object);
    return vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there, and is not what was to be created", path);
}

static int create_again(const creation *c, const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    int rc = look(c, deadline, out, err);
    if (rc != 0)
        return rc > 0 ? 0 : rc;
    rc = kube_call(c->client, c->request, deadline, out, err);
    if (rc != VMCTL_E_ALREADY_EXISTS)
        return rc;
    /* The first one arrived late. */
    vmctl_error *unused = NULL;
    bool ours = look(c, deadline, out, &unused) > 0;
    vmctl_error_free(unused);
    if (!ours)
        return rc;
    if (err) {
        vmctl_error_free(*err);
        *err = NULL;
    }
    return 0;
}

static const char *name_of(const cJSON *object) {
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "name");
    return cJSON_IsString(name) ? name->valuestring : NULL;
}

int kube_create(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    pairs query = query_of(&o);
    kube_request request = {.method = "POST", .path = path, .query = query.list, .body = object, .status = o.status};
    creation c = {client, &request, name_of(object), vmc_now_ms()};
    http_failure failure = HTTP_FAILURE_NONE;
    HTTP_AUTO_RESPONSE *response = NULL;
    cJSON *made = NULL;
    vmctl_error *why = NULL;
    int rc = kube_exchange_run(client, &(kube_exchange){.request = &request, .failure = &failure}, deadline, &response,
                               &why);
    if (rc == VMCTL_E_UNAVAILABLE && failure == HTTP_FAILURE_CUT && c.name && !o.dry_run) {
        vmctl_error_free(why);
        why = NULL;
        rc = create_again(&c, deadline, &made, &why);
    } else if (rc < 0 && (failure == HTTP_FAILURE_CUT || failure == HTTP_FAILURE_SILENT || rc == VMCTL_E_TIMEOUT) &&
               !o.dry_run) {
        vmc_error_append(&why, "; whether it was created is not known");
    } else if (rc == 0) {
        made = cJSON_ParseWithLength(response->body, response->length);
        if (!made)
            rc = vmc_error(&why, VMCTL_E_UNAVAILABLE, "POST %s: the answer is no JSON, but it was created", path);
    }
    if (why)
        vmc_error_move(err, &why);
    if (rc == 0 && out)
        *out = made;
    else
        cJSON_Delete(made);
    return rc;
}

/* ---- The others ---- */

int kube_update(kube_client *client, const char *path, const cJSON *object, const kube_write_options *options,
                const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    kube_write_options o = defaults(options);
    pairs query = query_of(&o);
    kube_request request = {.method = "PUT", .path = path, .query = query.list, .body = object, .status = o.status};
    return kube_call(client, &request, deadline, out, err);
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
    return kube_call(client, &request, deadline, out, err);
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
    return kube_call(client, &request, deadline, out, err);
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
    int rc = kube_call(client, &request, deadline, out, err);
    cJSON_Delete(body);
    return rc;
}
