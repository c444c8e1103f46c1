/* JSON trees, and the spec as one. */
#include "json.h"

#include <stdlib.h>
#include <string.h>

void vmc_json_free(cJSON **json) {
    cJSON_Delete(*json);
    *json = NULL;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

const cJSON *vmc_json_key(const cJSON *json, const char *key) {
    return json ? cJSON_GetObjectItemCaseSensitive(json, key) : NULL;
}

const cJSON *vmc_json_at(const cJSON *json, const char *path) {
    char key[128];
    while (json && *path) {
        size_t length = strcspn(path, ".");
        if (length >= sizeof key)
            return NULL;
        memcpy(key, path, length);
        key[length] = '\0';
        json = cJSON_GetObjectItemCaseSensitive(json, key);
        path += length + (path[length] == '.');
    }
    return json;
}

const char *vmc_json_string(const cJSON *json, const char *path, const char *fallback) {
    const cJSON *value = vmc_json_at(json, path);
    return cJSON_IsString(value) ? value->valuestring : fallback;
}

const char *vmc_json_key_string(const cJSON *json, const char *key) {
    return cJSON_GetStringValue(vmc_json_key(json, key));
}

int64_t vmc_json_integer(const cJSON *json, const char *path, int64_t fallback) {
    const cJSON *value = vmc_json_at(json, path);
    return cJSON_IsNumber(value) ? (int64_t)value->valuedouble : fallback;
}

bool vmc_json_boolean(const cJSON *json, const char *path, bool fallback) {
    const cJSON *value = vmc_json_at(json, path);
    return cJSON_IsBool(value) ? cJSON_IsTrue(value) : fallback;
}

cJSON *vmc_json_item(const cJSON *list, const char *name) {
    cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (vmc_str_eq(vmc_json_key_string(item, "name"), name))
            return item;
    }
    return NULL;
}

/* --- building ----------------------------------------------------------------------------------------------------- */

cJSON *vmc_json_map(cJSON *json, const char *path) {
    while (*path) {
        size_t length = strcspn(path, ".");
        VMC_AUTO_FREE char *key = vmc_strndup(path, length);
        cJSON *child = cJSON_GetObjectItemCaseSensitive(json, key);
        json = child ? child : cJSON_AddObjectToObject(json, key);
        path += length + (path[length] == '.');
    }
    return json;
}

cJSON *vmc_json_list(cJSON *map, const char *key) {
    cJSON *list = cJSON_GetObjectItemCaseSensitive(map, key);
    return list ? list : cJSON_AddArrayToObject(map, key);
}

void vmc_json_put(cJSON *map, const char *key, cJSON *value) {
    cJSON_DeleteItemFromObjectCaseSensitive(map, key);
    if (value)
        cJSON_AddItemToObject(map, key, value);
}

void vmc_json_text(cJSON *map, const char *key, const char *value) {
    if (value)
        cJSON_AddStringToObject(map, key, value);
}

/* --- the spec as JSON --------------------------------------------------------------------------------------------- */

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

static cJSON *of_children(const vmctl_node *node, cJSON *(*of)(const vmctl_node *)) {
    bool map = vmctl_node_kind(node) == VMCTL_KIND_MAP;
    cJSON *json = map ? cJSON_CreateObject() : cJSON_CreateArray();
    for (size_t i = 0; i < vmctl_node_count(node); i++) {
        const vmctl_node *child = vmctl_node_at(node, i);
        cJSON *value = of(child);
        if (value && map)
            cJSON_AddItemToObject(json, vmctl_node_key(child), value);
        else if (value)
            cJSON_AddItemToArray(json, value);
    }
    return json;
}

static cJSON *number_json(const char *text) {
    cJSON *number = cJSON_Parse(text);
    if (cJSON_IsNumber(number))
        return number;
    cJSON_Delete(number);
    return cJSON_CreateString(text);
}

cJSON *vmc_json_of_value(const vmctl_node *node) {
    switch (vmctl_node_kind(node)) {
    case VMCTL_KIND_BOOLEAN:
        return cJSON_CreateBool(vmctl_node_boolean(node, NULL, false));
    case VMCTL_KIND_INTEGER:
        return cJSON_CreateNumber((double)vmctl_node_integer(node, NULL, 0));
    case VMCTL_KIND_NUMBER:
        return number_json(vmctl_node_string(node, NULL, "0"));
    case VMCTL_KIND_STRING:
        return cJSON_CreateString(vmctl_node_string(node, NULL, ""));
    case VMCTL_KIND_LIST:
    case VMCTL_KIND_MAP:
        return of_children(node, vmc_json_of_value);
    default:
        return cJSON_CreateNull();
    }
}

cJSON *vmc_json_of_node(const vmctl_node *node) {
    if (!node || (vmctl_node_is_default(node) && !vmc_str_eq(vmctl_node_key(node), "name")))
        return NULL;
    switch (vmctl_node_kind(node)) {
    case VMCTL_KIND_INTEGER:
        return integer_json(node);
    case VMCTL_KIND_LIST:
    case VMCTL_KIND_MAP:
        return of_children(node, vmc_json_of_node);
    default:
        return vmc_json_of_value(node);
    }
}

/* Takes away what a fault is about ("disks[1].bus"; an item goes with its name). false: it was not found. */
static bool leave_out(cJSON *json, const char *path) {
    cJSON *parent = NULL;
    cJSON *node = json;
    while (node && path && *path) {
        size_t length = strcspn(path, ".[");
        if (length) {
            VMC_AUTO_FREE char *key = vmc_strndup(path, length);
            if (strcmp(key, "name") == 0 && cJSON_IsArray(parent))
                break;
            parent = node;
            node = cJSON_GetObjectItemCaseSensitive(node, key);
            path += length;
        } else if (*path == '[') {
            parent = node;
            node = cJSON_GetArrayItem(node, (int)strtol(path + 1, NULL, 10));
            path += strcspn(path, "]") + (strchr(path, ']') != NULL);
        } else {
            path++;
        }
    }
    if (!node || !parent)
        return false;
    cJSON_Delete(cJSON_DetachItemViaPointer(parent, node));
    return true;
}

static int load(const cJSON *json, vmctl_spec **out, vmctl_error **err) {
    VMC_AUTO_FREE char *text = cJSON_Print(json);
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "(the VM)";
    options.base_dir = "/";
    options.incomplete = true;
    vmctl_spec **specs = NULL;
    size_t count = 0;
    int code = text ? vmctl_spec_load(text, strlen(text), &options, &specs, &count, err) : vmc_error_no_memory(err);
    if (code < 0)
        return code;
    *out = count > 0 ? vmctl_spec_copy(specs[0]) : vmctl_spec_new();
    vmctl_spec_list_free(specs);
    return 0;
}

int vmc_json_to_spec(const cJSON *json, vmctl_spec **out, vmctl_error **err) {
    VMC_AUTO_JSON *copy = cJSON_Duplicate(json, true);
    while (true) {
        vmctl_error *why = NULL;
        if (load(copy, out, &why) == 0)
            return 0;
        bool less = vmctl_error_fault_count(why) > 0 && leave_out(copy, vmctl_error_fault(why, 0)->path);
        if (!less) {
            vmc_error_move(err, &why);
            return vmc_error_recode(err, VMCTL_E_INTERNAL);
        }
        vmctl_error_free(why);
    }
}
