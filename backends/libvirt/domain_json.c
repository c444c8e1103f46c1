/* backends/libvirt/domain_json.c - the spec as a plain JSON tree, and the keys that the marker keeps. */
#include "domain_model.h"
#include <string.h>

void libvirt_json_free(cJSON **json) {
    cJSON_Delete(*json);
    *json = NULL;
}

const cJSON *libvirt_json_get(const cJSON *json, const char *key) {
    return json ? cJSON_GetObjectItemCaseSensitive(json, key) : NULL;
}

const char *libvirt_json_string(const cJSON *json, const char *key, const char *fallback) {
    const cJSON *value = libvirt_json_get(json, key);
    return cJSON_IsString(value) ? value->valuestring : fallback;
}

int64_t libvirt_json_integer(const cJSON *json, const char *key, int64_t fallback) {
    const cJSON *value = libvirt_json_get(json, key);
    return cJSON_IsNumber(value) ? (int64_t)value->valuedouble : fallback;
}

bool libvirt_json_boolean(const cJSON *json, const char *key, bool fallback) {
    const cJSON *value = libvirt_json_get(json, key);
    return cJSON_IsBool(value) ? cJSON_IsTrue(value) : fallback;
}

cJSON *libvirt_json_item(const cJSON *list, const char *name) {
    cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (vmc_str_eq(libvirt_json_string(item, "name", NULL), name))
            return item;
    }
    return NULL;
}

void libvirt_json_put(cJSON *json, const char *key, cJSON *value) {
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    if (value)
        cJSON_AddItemToObject(json, key, value);
}

cJSON *libvirt_json_of_node(const vmctl_node *node, bool with_defaults) {
    bool is_name =
        vmc_str_eq(vmctl_node_key(node), "name"); /* of an item: told apart by it even where it was filled in */
    if (!node || (!with_defaults && !is_name && vmctl_node_is_default(node)))
        return NULL;
    switch (vmctl_node_kind(node)) {
    case VMCTL_KIND_BOOLEAN:
        return cJSON_CreateBool(vmctl_node_boolean(node, NULL, false));
    case VMCTL_KIND_INTEGER:
        return cJSON_CreateNumber((double)vmctl_node_integer(node, NULL, 0));
    case VMCTL_KIND_STRING:
        return cJSON_CreateString(vmctl_node_string(node, NULL, ""));
    case VMCTL_KIND_LIST: {
        cJSON *list = cJSON_CreateArray();
        for (size_t i = 0; i < vmctl_node_count(node); i++) {
            cJSON *item = libvirt_json_of_node(vmctl_node_at(node, i), with_defaults);
            if (item)
                cJSON_AddItemToArray(list, item);
        }
        return list;
    }
    case VMCTL_KIND_MAP: {
        cJSON *map = cJSON_CreateObject();
        for (size_t i = 0; i < vmctl_node_count(node); i++) {
            const vmctl_node *child = vmctl_node_at(node, i);
            cJSON *value = libvirt_json_of_node(child, with_defaults);
            if (value)
                cJSON_AddItemToObject(map, vmctl_node_key(child), value);
        }
        return map;
    }
    default:
        return cJSON_CreateNull();
    }
}

/* Numbers of bytes and milliseconds as vm.yaml wants them: with their unit. */
static void write_unit(cJSON *map, const char *key, char *(*format)(long long)) {
    const cJSON *value = libvirt_json_get(map, key);
    if (!cJSON_IsNumber(value))
        return;
    VMC_AUTO_FREE char *text = format((long long)value->valuedouble);
    cJSON_ReplaceItemInObjectCaseSensitive(map, key, cJSON_CreateString(text));
}

static int load(const cJSON *json, vmctl_spec **out, vmctl_error **err) {
    VMC_AUTO_FREE char *text = cJSON_Print(json);
    if (!text)
        return vmc_error_no_memory(err);
    vmctl_spec_load_options options = VMCTL_SPEC_LOAD_OPTIONS_INIT;
    options.file_name = "(the VM)";
    options.base_dir = "/";
    options.incomplete = true;
    vmctl_spec **specs = NULL;
    size_t count = 0;
    int code = vmctl_spec_load(text, strlen(text), &options, &specs, &count, err);
    if (code < 0)
        return code;
    *out = count > 0 ? vmctl_spec_copy(specs[0]) : vmctl_spec_new();
    vmctl_spec_list_free(specs);
    return 0;
}

/* Takes away what a fault is about ("disks[1].bus"; an item goes with its name). false: it was not found. */
static bool leave_out(cJSON *json, const char *path) {
    cJSON *parent = NULL, *node = json;
    for (const char *step = path ? path : ""; *step && node; step += *step == '.') {
        size_t length = strcspn(step, ".[");
        VMC_AUTO_FREE char *key = vmc_strndup(step, length);
        step += length;
        if (strcmp(key, "name") == 0 && cJSON_IsArray(parent))
            break;
        parent = node;
        node = cJSON_GetObjectItemCaseSensitive(node, key);
        unsigned long long index;
        while (node && *step == '[') {
            VMC_AUTO_FREE char *number = vmc_strndup(step + 1, strcspn(step + 1, "]"));
            parent = node;
            node = libvirt_xml_number(number, &index) && index < 1u << 20 ? cJSON_GetArrayItem(node, (int)index) : NULL;
            step += strcspn(step, "]") + 1;
        }
    }
    if (!node || !parent)
        return false;
    cJSON_Delete(cJSON_DetachItemViaPointer(parent, node));
    return true;
}

/* vm.yaml has rules that libvirt has not (a share's tag may be "/mnt"): what breaks them it cannot say, and that stays out. */
int libvirt_json_to_spec(const cJSON *json, vmctl_spec **out, vmctl_error **err) {
    LIBVIRT_AUTO_JSON *copy = cJSON_Duplicate(json, true);
    cJSON *memory = cJSON_GetObjectItemCaseSensitive(copy, "memory");
    write_unit(memory, "size", vmc_format_size);
    write_unit(memory, "max", vmc_format_size);
    write_unit(copy, "lifetime", vmc_format_duration);
    cJSON *disk;
    cJSON_ArrayForEach(disk, libvirt_json_get(copy, "disks")) {
        write_unit(disk, "size", vmc_format_size);
    }
    while (true) {
        vmctl_error *why = NULL;
        int code = load(copy, out, &why);
        if (code == 0)
            return 0;
        bool less = vmctl_error_fault_count(why) > 0 && leave_out(copy, vmctl_error_fault(why, 0)->path);
        if (!less) {
            vmc_error_move(err, &why);
            return vmc_error_recode(err, VMCTL_E_INTERNAL);
        }
        vmctl_error_free(why);
    }
}

/* --- keys that the marker keeps -------------------------------------------------------------------------------- */

static bool is_items(const char *key) {
    return strcmp(key, "disks") == 0 || strcmp(key, "networks") == 0 || strcmp(key, "shares") == 0 ||
           strcmp(key, "usb") == 0;
}

/* What the XML has its own place for, what is not the VM's, and what may hold a secret. */
static bool is_left_out(const char *path) {
    static const char *const paths[] = {"name",
                                        "backend",
                                        "context",
                                        "labels",
                                        "count",
                                        "autostart",
                                        "lifetime",
                                        "description",
                                        "gpus",
                                        "cloudInit/userData/inline",
                                        "cloudInit/networkData/inline"};
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(paths[i], path) == 0)
            return true;
    }
    return false;
}

static bool holds_secret(const cJSON *value) {
    return cJSON_IsString(value) && strstr(value->valuestring, "passwd");
}

/* libvirt writes the newest version of a machine type for its short name when the domain is defined. */
static bool is_machine(const cJSON *shown, const char *text) {
    LIBVIRT_AUTO_JSON *then = text ? cJSON_Parse(text) : NULL;
    if (!then || !cJSON_IsString(shown) || !cJSON_IsString(then))
        return false;
    const char *now = shown->valuestring, *was = then->valuestring;
    if (strcmp(now, was) == 0)
        return true;
    VMC_AUTO_FREE char *versions = strcmp(was, "pc") == 0
                                       ? vmc_strdup("pc-i440fx-")
                                       : vmc_printf("%s%s-", strcmp(was, "q35") == 0 ? "pc-" : "", was);
    return vmc_starts_with(now, versions);
}

static void keep(libvirt_build *build, const char *path, const cJSON *shown, const cJSON *want) {
    bool same = cJSON_Compare(shown, want, true) && strcmp(path, "machine") != 0;
    if (is_left_out(path) || holds_secret(want) || same)
        return;
    VMC_AUTO_FREE char *value = cJSON_PrintUnformatted(want);
    VMC_AUTO_FREE char *was = shown ? cJSON_PrintUnformatted(shown) : NULL;
    xmlNode *kept = libvirt_xml_add_ns(libvirt_marker_find(build->domain), "vmctl", LIBVIRT_VMCTL_NS, "key");
    libvirt_xml_set(kept, "path", path);
    libvirt_xml_set(kept, "was", was);
    libvirt_xml_set_text(kept, value);
}

static void keep_map(libvirt_build *build, const char *path, const cJSON *shown, const cJSON *want) {
    const cJSON *value;
    cJSON_ArrayForEach(value, want) {
        VMC_AUTO_FREE char *below = vmc_printf("%s%s%s", path, *path ? "/" : "", value->string);
        const cJSON *same = libvirt_json_get(shown, value->string);
        if (!*path && is_items(value->string) && cJSON_IsArray(same)) {
            const cJSON *item;
            cJSON_ArrayForEach(item, value) {
                const char *name = libvirt_json_string(item, "name", "");
                const cJSON *twin = libvirt_json_item(same, name);
                VMC_AUTO_FREE char *inside = vmc_printf("%s/%s", below, name);
                if (twin)
                    keep_map(build, inside, twin, item);
            }
        } else if (cJSON_IsObject(value) && !strchr(value->string, '/') && !is_left_out(below)) {
            keep_map(build, below, cJSON_IsObject(same) ? same : NULL, value);
        } else {
            keep(build, below, same, value);
        }
    }
}

void libvirt_keys_write(libvirt_build *build, const cJSON *want) {
    xmlNode *marker = libvirt_marker_find(build->domain);
    if (!marker)
        return;
    libvirt_xml_drop_children(marker, "key");
    LIBVIRT_AUTO_JSON *shown = libvirt_domain_json(build->domain, false);
    keep_map(build, "", shown, want);
}

static void take_back(cJSON *json, const char *path, const char *was, const char *text) {
    cJSON *map = json;
    const char *step = path;
    bool list = false;
    while (true) {
        size_t length = strcspn(step, "/");
        VMC_AUTO_FREE char *key = vmc_strndup(step, length);
        if (list) {
            map = libvirt_json_item(map, key);
            if (!map || !step[length])
                return;
            list = false;
        } else if (!step[length]) {
            const cJSON *shown = libvirt_json_get(map, key);
            LIBVIRT_AUTO_JSON *then = was ? cJSON_Parse(was) : NULL;
            bool holds = was ? cJSON_Compare(shown, then, true) : !shown;
            if (!holds && !(strcmp(path, "machine") == 0 && is_machine(shown, was)))
                return; /* changed since: the XML is right */
            cJSON *value = cJSON_Parse(text);
            if (value)
                libvirt_json_put(map, key, value);
            return;
        } else {
            cJSON *child = cJSON_GetObjectItemCaseSensitive(map, key);
            list = map == json && is_items(key);
            if (!child && !list)
                child = cJSON_AddObjectToObject(map, key);
            map = child;
            if (list ? !cJSON_IsArray(map) : !cJSON_IsObject(map))
                return;
        }
        step += length + 1;
    }
}

/* Somebody else may have let it grow beyond the room that was noted. */
static void check_room(cJSON *map, const char *key) {
    if (libvirt_json_integer(map, "max", INT64_MAX) < libvirt_json_integer(map, key, 0))
        libvirt_json_put(map, "max", NULL);
}

void libvirt_keys_read(const xmlNode *domain, cJSON *json) {
    LIBVIRT_XML_EACH(kept, libvirt_marker_find(domain), "key") {
        const char *path = libvirt_xml_attr(kept, "path");
        VMC_AUTO_FREE char *text = libvirt_xml_content(kept);
        if (path && *path)
            take_back(json, path, libvirt_xml_attr(kept, "was"), text);
    }
    check_room(cJSON_GetObjectItemCaseSensitive(json, "cpus"), "count");
    check_room(cJSON_GetObjectItemCaseSensitive(json, "memory"), "size");
}
