/* What vmctl keeps about a VM in its extra data. */
#include "marker.h"

#include "base/file.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

void virtualbox_json_free(cJSON **json) {
    cJSON_Delete(*json);
    *json = NULL;
}

const cJSON *virtualbox_json_get(const cJSON *json, const char *key) {
    return json ? cJSON_GetObjectItemCaseSensitive(json, key) : NULL;
}

const char *virtualbox_json_string(const cJSON *json, const char *key, const char *fallback) {
    const cJSON *value = virtualbox_json_get(json, key);
    return cJSON_IsString(value) ? value->valuestring : fallback;
}

void virtualbox_json_put(cJSON *json, const char *key, cJSON *value) {
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    if (value)
        cJSON_AddItemToObject(json, key, value);
}

static cJSON *ensure(cJSON *json, const char *key) {
    cJSON *map = cJSON_GetObjectItemCaseSensitive(json, key);
    return map ? map : cJSON_AddObjectToObject(json, key);
}

/* --- the spec as JSON ------------------------------------------------------------------------------------------ */

static cJSON *text_json(char *text) {
    cJSON *json = cJSON_CreateString(text);
    free(text);
    return json;
}

/* Sizes come in bytes and durations in milliseconds; vm.yaml wants their unit. */
static cJSON *integer_json(const vmctl_node *node) {
    VMC_AUTO_FREE char *path = vmctl_node_path(node);
    int64_t value = vmctl_node_integer(node, NULL, 0);
    if (vmc_ends_with(path, ".size") || vmc_ends_with(path, "memory.max"))
        return text_json(vmc_format_size(value));
    if (vmc_str_eq(path, "lifetime"))
        return text_json(vmc_format_duration(value));
    return cJSON_CreateNumber((double)value);
}

cJSON *virtualbox_json_of_node(const vmctl_node *node) {
    /* A device is told apart by its name even where that was filled in. */
    if (!node || (vmctl_node_is_default(node) && !vmc_str_eq(vmctl_node_key(node), "name")))
        return NULL;
    cJSON *json = NULL;
    switch (vmctl_node_kind(node)) {
    case VMCTL_KIND_BOOLEAN:
        return cJSON_CreateBool(vmctl_node_boolean(node, NULL, false));
    case VMCTL_KIND_INTEGER:
        return integer_json(node);
    case VMCTL_KIND_LIST:
        json = cJSON_CreateArray();
        for (size_t i = 0; i < vmctl_node_count(node); i++) {
            cJSON *item = virtualbox_json_of_node(vmctl_node_at(node, i));
            if (item)
                cJSON_AddItemToArray(json, item);
        }
        return json;
    case VMCTL_KIND_MAP:
        json = cJSON_CreateObject();
        for (size_t i = 0; i < vmctl_node_count(node); i++) {
            const vmctl_node *child = vmctl_node_at(node, i);
            cJSON *value = virtualbox_json_of_node(child);
            if (value)
                cJSON_AddItemToObject(json, vmctl_node_key(child), value);
        }
        return json;
    case VMCTL_KIND_NULL:
        return cJSON_CreateNull();
    default:
        return cJSON_CreateString(vmctl_node_string(node, NULL, ""));
    }
}

/* --- the marker ------------------------------------------------------------------------------------------------ */

static cJSON *time_json(int64_t seconds) {
    time_t when = (time_t)seconds;
    struct tm parts;
    char text[32] = "";
    if (gmtime_r(&when, &parts))
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    return cJSON_CreateString(text);
}

int64_t virtualbox_marker_time(const cJSON *marker, const char *key) {
    struct tm parts = {0};
    const char *text = virtualbox_json_string(marker, key, NULL);
    const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &parts) : NULL;
    return end && !*end ? (int64_t)timegm(&parts) : 0;
}

void virtualbox_marker_lifetime(cJSON *marker, int64_t seconds) {
    int64_t from = virtualbox_marker_time(marker, "created");
    if (!from && seconds)
        from = (int64_t)time(NULL);
    virtualbox_json_put(marker, "expires", seconds ? time_json(from + seconds) : NULL);
}

cJSON *virtualbox_marker_read(const vboxmanage_machine *machine) {
    const char *text = vboxmanage_extra(machine, VIRTUALBOX_MARKER);
    cJSON *marker = text ? cJSON_Parse(text) : NULL;
    if (marker && !cJSON_IsObject(marker)) {
        cJSON_Delete(marker);
        marker = NULL;
    }
    return marker ? marker : cJSON_CreateObject();
}

bool virtualbox_marker_is_made(const cJSON *marker) {
    return virtualbox_json_get(marker, "created") != NULL;
}

cJSON *virtualbox_marker_new(const vmctl_marker *marker) {
    cJSON *json = cJSON_CreateObject();
    cJSON_AddStringToObject(json, "version", marker->version ? marker->version : VMCTL_VERSION);
    if (marker->owner)
        cJSON_AddStringToObject(json, "owner", marker->owner);
    if (marker->run)
        cJSON_AddStringToObject(json, "run", marker->run);
    cJSON_AddItemToObject(json, "created", time_json(marker->created));
    if (marker->expires)
        cJSON_AddItemToObject(json, "expires", time_json(marker->expires));
    return json;
}

static const cJSON *device_of(const cJSON *marker, const char *place) {
    return virtualbox_json_get(virtualbox_json_get(marker, "devices"), place);
}

const char *virtualbox_marker_name(const cJSON *marker, const char *place, const char *fallback) {
    return virtualbox_json_string(device_of(marker, place), "name", fallback);
}

const char *virtualbox_marker_type(const cJSON *marker, const char *place) {
    return virtualbox_json_string(device_of(marker, place), "type", NULL);
}

void virtualbox_marker_device(cJSON *marker, const char *place, const char *name, const char *type) {
    cJSON *devices = ensure(marker, "devices");
    cJSON *device = name ? cJSON_CreateObject() : NULL;
    if (!device) {
        virtualbox_json_put(devices, place, NULL);
        return;
    }
    cJSON_AddStringToObject(device, "name", name);
    if (type)
        cJSON_AddStringToObject(device, "type", type);
    virtualbox_json_put(devices, place, device);
}

void virtualbox_marker_file(cJSON *marker, const char *name) {
    cJSON *files = cJSON_GetObjectItemCaseSensitive(marker, "files");
    if (!files)
        files = cJSON_AddArrayToObject(marker, "files");
    cJSON_AddItemToArray(files, cJSON_CreateString(name));
}

bool virtualbox_marker_owns(const cJSON *marker, const vboxmanage_machine *machine, const char *path) {
    const cJSON *file;
    cJSON_ArrayForEach(file, virtualbox_json_get(marker, "files")) {
        if (!cJSON_IsString(file))
            continue;
        VMC_AUTO_FREE char *whole = vmc_path_absolute(machine->folder, file->valuestring);
        if (vmc_str_eq(whole, path) || vmc_str_eq(file->valuestring, path))
            return true;
    }
    return false;
}

/* --- keys that VirtualBox does not show ------------------------------------------------------------------------ */

static bool is_items(const char *key) {
    return strcmp(key, "disks") == 0 || strcmp(key, "networks") == 0 || strcmp(key, "shares") == 0;
}

static cJSON *item_of(const cJSON *list, const char *name) {
    cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (vmc_str_eq(virtualbox_json_string(item, "name", NULL), name))
            return item;
    }
    return NULL;
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

static void keep_value(cJSON *keys, const char *path, const cJSON *shown, const cJSON *want) {
    if (is_left_out(path) || cJSON_Compare(shown, want, true))
        return;
    cJSON *kept = cJSON_CreateObject();
    cJSON_AddItemToObject(kept, "value", cJSON_Duplicate(want, true));
    if (shown)
        cJSON_AddItemToObject(kept, "was", cJSON_Duplicate(shown, true));
    virtualbox_json_put(keys, path, kept);
}

static void keep_map(cJSON *keys, const char *path, const cJSON *shown, const cJSON *want) {
    const cJSON *value;
    cJSON_ArrayForEach(value, want) {
        VMC_AUTO_FREE char *below = vmc_printf("%s%s%s", path, *path ? "/" : "", value->string);
        const cJSON *same = virtualbox_json_get(shown, value->string);
        if (!*path && is_items(value->string)) {
            const cJSON *item;
            cJSON_ArrayForEach(item, value) {
                const char *name = virtualbox_json_string(item, "name", "");
                const cJSON *twin = item_of(same, name);
                VMC_AUTO_FREE char *inside = vmc_printf("%s/%s", below, name);
                if (twin)
                    keep_map(keys, inside, twin, item);
            }
        } else if (cJSON_IsObject(value) && !is_left_out(below)) {
            keep_map(keys, below, cJSON_IsObject(same) ? same : NULL, value);
        } else {
            keep_value(keys, below, same, value);
        }
    }
}

void virtualbox_marker_keep(cJSON *marker, const cJSON *shown, const cJSON *want) {
    cJSON *keys = cJSON_CreateObject();
    keep_map(keys, "", shown, want);
    virtualbox_json_put(marker, "keys", keys);
}

static void put_back(cJSON *json, const char *path, const cJSON *kept) {
    cJSON *map = json;
    const char *step = path;
    const char *slash;
    while ((slash = strchr(step, '/'))) {
        VMC_AUTO_FREE char *key = vmc_strndup(step, (size_t)(slash - step));
        cJSON *child = cJSON_IsArray(map) ? item_of(map, key) : cJSON_GetObjectItemCaseSensitive(map, key);
        if (!child && cJSON_IsObject(map) && !(map == json && is_items(key)))
            child = cJSON_AddObjectToObject(map, key);
        if (!child)
            return; /* the device is gone */
        map = child;
        step = slash + 1;
    }
    if (!cJSON_IsObject(map))
        return;
    const cJSON *shown = virtualbox_json_get(map, step);
    const cJSON *was = virtualbox_json_get(kept, "was");
    if (was ? !cJSON_Compare(shown, was, true) : shown != NULL)
        return; /* changed since: what VirtualBox shows is right */
    const cJSON *value = virtualbox_json_get(kept, "value");
    if (value)
        virtualbox_json_put(map, step, cJSON_Duplicate(value, true));
}

void virtualbox_marker_restore(const cJSON *marker, cJSON *shown) {
    const cJSON *kept;
    cJSON_ArrayForEach(kept, virtualbox_json_get(marker, "keys")) {
        if (kept->string && cJSON_IsObject(kept))
            put_back(shown, kept->string, kept);
    }
}
