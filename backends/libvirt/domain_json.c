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

/* libvirt writes the newest version of a machine type for its short name when the domain is defined. */
static bool is_machine(const cJSON *shown, const cJSON *then) {
    if (!cJSON_IsString(shown) || !cJSON_IsString(then))
        return false;
    const char *now = shown->valuestring, *was = then->valuestring;
    if (strcmp(now, was) == 0)
        return true;
    VMC_AUTO_FREE char *versions = strcmp(was, "pc") == 0
                                       ? vmc_strdup("pc-i440fx-")
                                       : vmc_printf("%s%s-", strcmp(was, "q35") == 0 ? "pc-" : "", was);
    return vmc_starts_with(now, versions);
}

void libvirt_keys_write(libvirt_build *build, const cJSON *want) {
    xmlNode *marker = libvirt_marker_find(build->domain);
    if (!marker)
        return;
    libvirt_xml_drop_children(marker, "key");
    VMC_AUTO_JSON *shown = libvirt_domain_json(build->domain, false);
    VMC_AUTO_JSON *kept = vmc_kept_of(shown, want);
    const cJSON *machine = vmc_json_key(want, "machine");
    if (machine && !vmc_json_key(kept, "machine")) { /* shown as it was said, until libvirt has it */
        cJSON *entry = cJSON_AddObjectToObject(kept, "machine");
        cJSON_AddItemToObject(entry, "value", cJSON_Duplicate(machine, true));
        cJSON_AddItemToObject(entry, "was", cJSON_Duplicate(vmc_json_key(shown, "machine"), true));
    }
    const cJSON *entry;
    cJSON_ArrayForEach(entry, kept) {
        const cJSON *was = vmc_json_key(entry, "was");
        VMC_AUTO_FREE char *value = cJSON_PrintUnformatted(vmc_json_key(entry, "value"));
        VMC_AUTO_FREE char *before = was ? cJSON_PrintUnformatted(was) : NULL;
        xmlNode *key = libvirt_xml_add_ns(marker, "vmctl", LIBVIRT_VMCTL_NS, "key");
        libvirt_xml_set(key, "path", entry->string);
        libvirt_xml_set(key, "was", before);
        libvirt_xml_set_text(key, value);
    }
}

/* Somebody else may have let it grow beyond the room that was noted. */
static void check_room(cJSON *map, const char *key) {
    if (vmc_json_integer(map, "max", INT64_MAX) < vmc_json_integer(map, key, 0))
        vmc_json_put(map, "max", NULL);
}

void libvirt_keys_read(const xmlNode *domain, cJSON *json) {
    VMC_AUTO_JSON *kept = cJSON_CreateObject();
    LIBVIRT_XML_EACH(key, libvirt_marker_find(domain), "key") {
        const char *path = libvirt_xml_attr(key, "path");
        const char *before = libvirt_xml_attr(key, "was");
        VMC_AUTO_FREE char *text = libvirt_xml_content(key);
        cJSON *entry = path && *path ? cJSON_AddObjectToObject(kept, path) : NULL;
        VMC_AUTO_JSON *was = entry && before ? cJSON_Parse(before) : NULL;
        const cJSON *shown = vmc_json_key(json, "machine");
        if (was && strcmp(path, "machine") == 0 && is_machine(shown, was))
            cJSON_AddItemToObject(entry, "was", cJSON_Duplicate(shown, true));
        else if (was)
            cJSON_AddItemToObject(entry, "was", cJSON_Duplicate(was, true));
        if (entry)
            cJSON_AddItemToObject(entry, "value", cJSON_Parse(text));
    }
    vmc_kept_restore(kept, json);
    check_room(cJSON_GetObjectItemCaseSensitive(json, "cpus"), "count");
    check_room(cJSON_GetObjectItemCaseSensitive(json, "memory"), "size");
}
