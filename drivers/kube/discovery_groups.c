/* drivers/kube/discovery_groups.c - discovery of servers before 1.26: APIGroupList, then an APIResourceList per version, put into the
 * form of the aggregated one. */
#include "drivers/kube/discovery.h"
#include <string.h>

static const char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? item->valuestring : "";
}

static cJSON *find_resource(cJSON *resources, const char *name, size_t length) {
    cJSON *item;
    cJSON_ArrayForEach(item, resources) {
        const char *text = text_of(item, "resource");
        if (strlen(text) == length && memcmp(text, name, length) == 0)
            return item;
    }
    item = cJSON_CreateObject();
    VMC_AUTO_FREE char *copy = vmc_strndup(name, length);
    cJSON_AddStringToObject(item, "resource", copy);
    cJSON_AddItemToArray(resources, item);
    return item;
}

static void add_resource(cJSON *resources, const cJSON *given) {
    const char *name = text_of(given, "name");
    size_t n = strcspn(name, "/");
    cJSON *resource = find_resource(resources, name, n);
    if (name[n]) {
        cJSON *subs = cJSON_GetObjectItemCaseSensitive(resource, "subresources");
        if (!subs)
            subs = cJSON_AddArrayToObject(resource, "subresources");
        cJSON *sub = cJSON_CreateObject();
        cJSON_AddStringToObject(sub, "subresource", name + n + 1);
        cJSON_AddItemToArray(subs, sub);
        return;
    }
    cJSON_AddStringToObject(resource, "scope",
                            cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(given, "namespaced")) ? "Namespaced"
                                                                                                : "Cluster");
    cJSON *kind = cJSON_AddObjectToObject(resource, "responseKind");
    cJSON_AddStringToObject(kind, "kind", text_of(given, "kind"));
}

/* A group that does not answer is stale, as the aggregated list has it; that is no failure of the others. */
static int add_version(kube_client *client, const char *group_version, const char *version,
                       const vmc_deadline *deadline, cJSON *versions, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("/apis/%s", group_version);
    KUBE_AUTO_STATUS status = {0};
    cJSON *list = NULL;
    vmctl_error *why = NULL;
    int rc = kube_call(client, &(kube_request){.path = path, .status = &status}, deadline, &list, &why);
    if (rc < 0 && status.http == 0) {
        vmc_error_move(err, &why);
        return rc;
    }
    vmctl_error_free(why);
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddStringToObject(entry, "version", version);
    cJSON_AddStringToObject(entry, "freshness", rc < 0 ? "Stale" : "Current");
    cJSON *resources = cJSON_AddArrayToObject(entry, "resources");
    const cJSON *given;
    cJSON_ArrayForEach(given, cJSON_GetObjectItemCaseSensitive(list, "resources")) {
        add_resource(resources, given);
    }
    cJSON_AddItemToArray(versions, entry);
    cJSON_Delete(list);
    return 0;
}

int kube_discover_by_groups(kube_client *client, const cJSON *groups, const vmc_deadline *deadline, cJSON **list,
                            vmctl_error **err) {
    cJSON *made = cJSON_CreateObject();
    cJSON_AddStringToObject(made, "kind", "APIGroupDiscoveryList");
    cJSON *items = cJSON_AddArrayToObject(made, "items");
    const cJSON *group, *version;
    int rc = 0;
    cJSON_ArrayForEach(group, cJSON_GetObjectItemCaseSensitive(groups, "groups")) {
        cJSON *item = cJSON_CreateObject();
        cJSON_AddItemToArray(items, item);
        cJSON_AddStringToObject(cJSON_AddObjectToObject(item, "metadata"), "name", text_of(group, "name"));
        cJSON *versions = cJSON_AddArrayToObject(item, "versions");
        cJSON_ArrayForEach(version, cJSON_GetObjectItemCaseSensitive(group, "versions")) {
            if (rc == 0)
                rc = add_version(client, text_of(version, "groupVersion"), text_of(version, "version"), deadline,
                                 versions, err);
        }
    }
    if (rc < 0)
        cJSON_Delete(made);
    else
        *list = made;
    return rc;
}
