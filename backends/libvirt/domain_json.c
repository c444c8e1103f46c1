/* backends/libvirt/domain_json.c - the spec as a plain JSON tree, and the keys that the marker keeps. */
#include "domain_model.h"
#include <string.h>

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
    const cJSON *value = vmc_json_key(map, key);
    if (!cJSON_IsNumber(value))
        return;
    VMC_AUTO_FREE char *text = format((long long)value->valuedouble);
    cJSON_ReplaceItemInObjectCaseSensitive(map, key, cJSON_CreateString(text));
}

/* vm.yaml has rules that libvirt has not (a share's tag may be "/mnt"): what breaks them it cannot say, and that stays out. */
int libvirt_json_to_spec(const cJSON *json, vmctl_spec **out, vmctl_error **err) {
    VMC_AUTO_JSON *copy = cJSON_Duplicate(json, true);
    cJSON *memory = cJSON_GetObjectItemCaseSensitive(copy, "memory");
    write_unit(memory, "size", vmc_format_size);
    write_unit(memory, "max", vmc_format_size);
    write_unit(copy, "lifetime", vmc_format_duration);
    cJSON *disk;
    cJSON_ArrayForEach(disk, vmc_json_key(copy, "disks")) {
        write_unit(disk, "size", vmc_format_size);
    }
    return vmc_json_to_spec(copy, out, err);
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

/* libvirt writes the newest version of a machine type for its short name when the domain is defined. */
static bool is_machine(const cJSON *shown, const char *text) {
    VMC_AUTO_JSON *then = text ? cJSON_Parse(text) : NULL;
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
    if (is_left_out(path) || vmc_kept_holds_secret(path, want) || same)
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
        const cJSON *same = vmc_json_key(shown, value->string);
        if (!*path && is_items(value->string) && cJSON_IsArray(same)) {
            const cJSON *item;
            cJSON_ArrayForEach(item, value) {
                const char *name = vmc_json_string(item, "name", "");
                const cJSON *twin = vmc_json_item(same, name);
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
    VMC_AUTO_JSON *shown = libvirt_domain_json(build->domain, false);
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
            map = vmc_json_item(map, key);
            if (!map || !step[length])
                return;
            list = false;
        } else if (!step[length]) {
            const cJSON *shown = vmc_json_key(map, key);
            VMC_AUTO_JSON *then = was ? cJSON_Parse(was) : NULL;
            bool holds = was ? cJSON_Compare(shown, then, true) : !shown;
            if (!holds && !(strcmp(path, "machine") == 0 && is_machine(shown, was)))
                return; /* changed since: the XML is right */
            cJSON *value = cJSON_Parse(text);
            if (value)
                vmc_json_put(map, key, value);
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
    if (vmc_json_integer(map, "max", INT64_MAX) < vmc_json_integer(map, key, 0))
        vmc_json_put(map, "max", NULL);
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
