/* drivers/kube/discovery.c - what the server serves: asked for at most once a command, looked up without it. */
#include "drivers/kube/discovery.h"
#include <stdlib.h>
#include <string.h>

#define AGGREGATED                                                                                                     \
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"                                            \
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

enum { GOOD_FOR_SECONDS = 6 * 3600 };

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static const cJSON *list_of(const cJSON *object, const char *key) {
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

kube_discovery *kube_discovery_new(cJSON *list, const char *etag) {
    if (strcmp(text_of(list, "kind"), "APIGroupDiscoveryList") != 0 || !cJSON_IsArray(list_of(list, "items"))) {
        cJSON_Delete(list);
        return NULL;
    }
    kube_discovery *d = vmc_alloc(sizeof *d);
    *d = (kube_discovery){.list = list, .etag = vmc_strdup(etag)};
    return d;
}

void kube_discovery_free(kube_discovery *d) {
    while (d) {
        kube_discovery *older = d->older;
        cJSON_Delete(d->list);
        free(d->etag);
        free(d);
        d = older;
    }
}

/* ---- Looking up ---- */

static const cJSON *group_of(const kube_discovery *d, const char *group) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list_of(d->list, "items")) {
        if (strcmp(text_of(list_of(item, "metadata"), "name"), group) == 0)
            return item;
    }
    return NULL;
}

static const cJSON *version_of(const kube_discovery *d, const char *group, const char *version) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list_of(group_of(d, group), "versions")) {
        if (!version || strcmp(text_of(item, "version"), version) == 0)
            return item;
    }
    return NULL;
}

const char *kube_discovery_version(const kube_discovery *d, const char *group, const char *const *wanted) {
    if (!*group)
        return "v1";
    if (!wanted)
        return version_of(d, group, NULL) ? text_of(version_of(d, group, NULL), "version") : NULL;
    for (size_t i = 0; wanted[i]; i++)
        if (version_of(d, group, wanted[i]))
            return text_of(version_of(d, group, wanted[i]), "version");
    return NULL;
}

static const cJSON *resource_of(const cJSON *version, const char *name, size_t length) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list_of(version, "resources")) {
        const char *text = text_of(item, "resource");
        if (strlen(text) == length && memcmp(text, name, length) == 0)
            return item;
    }
    return NULL;
}

bool kube_discovery_has(const kube_discovery *d, const char *group, const char *version, const char *resource) {
    size_t n = strcspn(resource, "/");
    const cJSON *found = resource_of(version_of(d, group, version), resource, n), *sub;
    if (!found || !resource[n])
        return found != NULL;
    cJSON_ArrayForEach(sub, list_of(found, "subresources")) {
        if (strcmp(text_of(sub, "subresource"), resource + n + 1) == 0)
            return true;
    }
    return false;
}

bool kube_discovery_stale(const kube_discovery *d, const char *group) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list_of(group_of(d, group), "versions")) {
        if (strcmp(text_of(item, "freshness"), "Stale") == 0)
            return true;
    }
    return false;
}

const char *kube_discovery_plural(const kube_discovery *d, const char *group, const char *version, const char *kind,
                                  bool *namespaced) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list_of(version_of(d, group, version), "resources")) {
        if (strcmp(text_of(list_of(item, "responseKind"), "kind"), kind) != 0)
            continue;
        if (namespaced)
            *namespaced = strcmp(text_of(item, "scope"), "Namespaced") == 0;
        return text_of(item, "resource");
    }
    return NULL;
}

/* ---- Asking ---- */

/* What the server has, or `old` again when that is what it has. */
static int ask(kube_client *client, const char *etag, const vmc_deadline *deadline, kube_discovery **out,
               bool *unchanged, vmctl_error **err) {
    kube_request request = {.path = "/apis", .accept = AGGREGATED};
    HTTP_AUTO_RESPONSE *response = NULL;
    int rc = kube_exchange_run(client, &(kube_exchange){.request = &request, .etag = etag}, deadline, &response, err);
    if (rc < 0)
        return rc;
    *unchanged = response->status == 304;
    if (*unchanged)
        return 0;
    cJSON *list = cJSON_ParseWithLength(response->body, response->length);
    if (strcmp(text_of(list, "kind"), "APIGroupList") == 0) {
        cJSON *groups = list;
        list = NULL;
        rc = kube_discover_by_groups(client, groups, deadline, &list, err);
        cJSON_Delete(groups);
        if (rc < 0)
            return rc;
    }
    *out = kube_discovery_new(list, http_response_header(response, "etag"));
    if (!*out) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "GET /apis of %s gives no list of API groups", client->config->shown);
        (void)vmc_error_next(err, "is this a Kubernetes API server?");
        return VMCTL_E_UNAVAILABLE;
    }
    return 0;
}

static const kube_discovery *keep(kube_client *client, kube_discovery *d) {
    pthread_mutex_lock(&client->lock);
    d->older = client->discovery;
    client->discovery = d;
    pthread_mutex_unlock(&client->lock);
    return d;
}

int kube_discover(kube_client *client, bool fresh, const vmc_deadline *deadline, const kube_discovery **out,
                  vmctl_error **err) {
    pthread_mutex_lock(&client->lock);
    kube_discovery *had = client->discovery;
    pthread_mutex_unlock(&client->lock);
    if (had && (!fresh || !had->from_disk)) {
        *out = had;
        return 0;
    }
    int64_t age_s = 0;
    kube_discovery *disk = kube_cache_read(client->config, &age_s);
    if (disk && !fresh && age_s >= 0 && age_s < GOOD_FOR_SECONDS) {
        *out = keep(client, disk);
        return 0;
    }
    bool unchanged = false;
    kube_discovery *came = NULL;
    int rc = ask(client, disk ? disk->etag : NULL, deadline, &came, &unchanged, err);
    if (rc == 0 && unchanged && disk) {
        disk->from_disk = false;
        came = disk;
        disk = NULL;
    }
    kube_discovery_free(disk);
    if (rc < 0 || !came)
        return rc < 0 ? rc : VMCTL_E_INTERNAL;
    kube_cache_write(client->config, came);
    *out = keep(client, came);
    return 0;
}
