/* What a spec says and a hypervisor has no place for: kept beside the VM, and put back while nothing has changed there since. */
#include "json.h"

#include "base/redact.h"
#include <stdlib.h>

#include <string.h>

static bool is_items(const char *key) {
    static const char *const lists[] = {"disks", "networks", "shares", "gpus", "usb"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcmp(lists[i], key) == 0)
            return true;
    return false;
}

/* What has its own place, is not the VM's, or may hold a secret. */
static bool is_left_out(const char *path) {
    static const char *const paths[] = {"name",
                                        "backend",
                                        "context",
                                        "labels",
                                        "count",
                                        "autostart",
                                        "lifetime",
                                        "description",
                                        "cloudInit/userData/inline",
                                        "cloudInit/networkData/inline"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
        if (strcmp(paths[i], path) == 0)
            return true;
    return vmc_ends_with(path, "/name");
}

static bool names_secret(const char *text) {
    static const char *const words[] = {"passw", "secret", "token", "credential", "apikey"};
    for (size_t i = 0; text && i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(text, words[i]))
            return true;
    return false;
}

static bool text_holds_secret(const char *text) {
    VMC_AUTO_FREE char *shown = strstr(text, "://") ? vmc_redact_url(text) : NULL;
    return strcasestr(text, "passw") || (shown && strcmp(shown, text) != 0);
}

bool vmc_kept_holds_secret(const char *path, const cJSON *value) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (cJSON_IsString(value) && *value->valuestring)
        return names_secret(slash ? slash + 1 : path) || text_holds_secret(value->valuestring);
    const cJSON *child;
    cJSON_ArrayForEach(child, value) {
        if (vmc_kept_holds_secret(child->string ? child->string : path, child))
            return true;
    }
    return false;
}

static void keep_value(cJSON *kept, const char *path, const cJSON *shown, const cJSON *want) {
    if (is_left_out(path) || vmc_kept_holds_secret(path, want) || vmc_kept_holds_secret(path, shown) ||
        cJSON_Compare(shown, want, true))
        return;
    cJSON *entry = cJSON_CreateObject();
    cJSON_AddItemToObject(entry, "value", cJSON_Duplicate(want, true));
    if (shown)
        cJSON_AddItemToObject(entry, "was", cJSON_Duplicate(shown, true));
    vmc_json_put(kept, path, entry);
}

static void keep_map(cJSON *kept, const char *path, const cJSON *shown, const cJSON *want) {
    const cJSON *value;
    cJSON_ArrayForEach(value, want) {
        VMC_AUTO_FREE char *below = vmc_printf("%s%s%s", path, *path ? "/" : "", value->string);
        const cJSON *same = vmc_json_key(shown, value->string);
        if (!*path && is_items(value->string)) {
            const cJSON *item;
            cJSON_ArrayForEach(item, value) {
                const char *name = vmc_json_key_string(item, "name");
                const cJSON *twin = vmc_json_item(same, name);
                VMC_AUTO_FREE char *inside = vmc_printf("%s/%s", below, name ? name : "");
                if (twin)
                    keep_map(kept, inside, twin, item);
            }
        } else if (cJSON_IsObject(value) && !strchr(value->string, '/') && !is_left_out(below)) {
            keep_map(kept, below, cJSON_IsObject(same) ? same : NULL, value);
        } else {
            keep_value(kept, below, same, value);
        }
    }
}

cJSON *vmc_kept_of(const cJSON *shown, const cJSON *want) {
    cJSON *kept = cJSON_CreateObject();
    keep_map(kept, "", shown, want);
    return kept;
}

static void put_back(cJSON *json, const char *path, const cJSON *entry) {
    cJSON *map = json;
    const char *step = path;
    const char *slash;
    while ((slash = strchr(step, '/'))) {
        VMC_AUTO_FREE char *key = vmc_strndup(step, (size_t)(slash - step));
        cJSON *child = cJSON_IsArray(map) ? vmc_json_item(map, key) : cJSON_GetObjectItemCaseSensitive(map, key);
        if (!child && cJSON_IsObject(map) && !(map == json && is_items(key)))
            child = cJSON_AddObjectToObject(map, key);
        if (!child)
            return; /* the device is gone */
        map = child;
        step = slash + 1;
    }
    if (!cJSON_IsObject(map))
        return;
    const cJSON *shown = vmc_json_key(map, step);
    const cJSON *was = vmc_json_key(entry, "was");
    if (was ? !cJSON_Compare(shown, was, true) : shown != NULL)
        return; /* changed since: what the hypervisor shows is right */
    const cJSON *value = vmc_json_key(entry, "value");
    if (value)
        vmc_json_put(map, step, cJSON_Duplicate(value, true));
}

void vmc_kept_restore(const cJSON *kept, cJSON *shown) {
    const cJSON *entry;
    cJSON_ArrayForEach(entry, kept) {
        if (entry->string && cJSON_IsObject(entry))
            put_back(shown, entry->string, entry);
    }
}
