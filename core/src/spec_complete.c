/* What the person left out, filled in. */
#include "spec_internal.h"
#include "spec_value.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *list, *prefix;
} kinds[] = {{"disks", "disk"}, {"networks", "net"}, {"gpus", "gpu"}, {"shares", "share"}, {"usb", "usb"}};

static void drop_default_name(vmctl_node *item) {
    for (size_t i = 0; i < vmctl_node_count(item); i++) {
        vmctl_node *child = item->value.children.items[i];
        if (strcmp(child->key, "name") == 0 && child->is_default) {
            vmc_node_remove(item, i);
            return;
        }
    }
}

static bool is_taken(const vmctl_node *const *named, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(vmc_item_name(named[i]), name) == 0)
            return true;
    }
    return false;
}

static void name_item(vmctl_node *item, const vmc_key *list, const char *prefix, unsigned *number,
                      const vmctl_node *const *named, size_t count) {
    VMC_AUTO_FREE char *name = NULL;
    do {
        free(name);
        name = vmc_printf("%s%u", prefix, (*number)++);
    } while (is_taken(named, count, name));
    vmctl_node *node = vmc_node_new_string(vmc_schema_child(list, "name"), name);
    node->is_default = true;
    vmc_node_put(item, NULL, node);
}

static void name_items(vmctl_node *list, const char *prefix) {
    unsigned disks = 0, drives = 0;
    size_t count = 0;
    VMC_AUTO_FREE const vmctl_node **named = vmc_realloc(NULL, vmctl_node_count(list) + 1, sizeof(vmctl_node *));
    for (size_t i = 0; i < vmctl_node_count(list); i++) {
        drop_default_name(list->value.children.items[i]);
        if (vmc_item_name(vmctl_node_at(list, i)))
            named[count++] = vmctl_node_at(list, i);
    }
    for (size_t i = 0; i < vmctl_node_count(list); i++) {
        vmctl_node *item = list->value.children.items[i];
        bool is_drive = vmc_node_child(item, "cdrom") != NULL;
        if (item->kind == VMCTL_KIND_MAP && !vmc_item_name(item))
            name_item(item, list->schema, is_drive ? "cdrom" : prefix, is_drive ? &drives : &disks, named, count);
    }
}

void vmc_spec_name_items(vmctl_spec *spec) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        name_items(vmc_node_child(spec->root, kinds[i].list), kinds[i].prefix);
}

/* The map that stands for the key, made as default where it is absent. */
static vmctl_node *map_for(vmctl_node *parent, const vmc_key *key) {
    vmctl_node *map = vmc_node_child(parent, vmc_schema_name(key));
    if (!map) {
        map = vmc_node_new(VMCTL_KIND_MAP, key);
        map->is_default = true;
        vmc_node_add_new(parent, NULL, map);
    }
    return map;
}

static bool has_fallback(const vmc_key *key) {
    if (key->fallback)
        return true;
    if (key->type != VMC_TYPE_MAP)
        return false;
    for (const vmc_key *child = vmc_schema_next(key, NULL); child; child = vmc_schema_next(key, child)) {
        if (has_fallback(child))
            return true;
    }
    return false;
}

static void fill(vmctl_node *map, const vmc_key *level) {
    for (const vmc_key *key = vmc_schema_next(level, NULL); key; key = vmc_schema_next(level, key)) {
        if (!has_fallback(key))
            continue;
        if (key->type == VMC_TYPE_MAP) {
            fill(map_for(map, key), key);
        } else if (!vmc_node_child(map, vmc_schema_name(key))) {
            vmctl_node *node = vmc_value_parse(key, key->fallback, NULL, NULL);
            node->is_default = true;
            vmc_node_add_new(map, NULL, node);
        }
    }
}

/* {sockets: 2, cores: 4} alone means eight CPUs. */
static void count_from_topology(vmctl_spec *spec) {
    vmctl_node *cpus = vmc_node_child(spec->root, "cpus");
    int64_t product = 1;
    bool given = false;
    static const char *const parts[] = {"sockets", "cores", "threads"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        given |= vmctl_node_get(cpus, parts[i]) != NULL;
        product *= vmctl_node_integer(cpus, parts[i], 1);
    }
    if (!given || vmctl_node_get(cpus, "count") || vmctl_node_get(cpus, "max"))
        return;
    vmctl_node *count = vmc_node_new(VMCTL_KIND_INTEGER, vmc_schema_find("cpus.count"));
    count->value.integer = product;
    count->is_default = true;
    vmc_node_add_new(cpus, NULL, count);
}

static void add_default_nic(vmctl_spec *spec, const char *type) {
    const vmc_key *networks = vmc_schema_find("networks");
    vmctl_node *list = vmc_node_new(VMCTL_KIND_LIST, networks);
    vmctl_node *nic = vmc_node_new(VMCTL_KIND_MAP, networks);
    vmctl_node *nic_type = vmc_node_new_string(vmc_schema_child(networks, "type"), type);
    list->is_default = nic->is_default = nic_type->is_default = true;
    vmc_node_append(list, nic);
    vmc_node_add_new(nic, NULL, nic_type);
    vmc_node_add_new(spec->root, NULL, list);
}

static void fill_nic_types(vmctl_spec *spec, const char *type) {
    vmctl_node *list = vmc_node_child(spec->root, "networks");
    for (size_t i = 0; i < vmctl_node_count(list); i++) {
        vmctl_node *nic = list->value.children.items[i];
        if (vmc_node_child(nic, "type"))
            continue;
        vmctl_node *node = vmc_node_new_string(vmc_schema_child(list->schema, "type"), type);
        node->is_default = true;
        vmc_node_add_new(nic, NULL, node);
    }
}

int vmc_spec_complete(vmctl_spec *spec, const char *default_network) {
    if (spec->native)
        return 0;
    count_from_topology(spec);
    fill(spec->root, NULL);
    if (default_network) {
        if (!vmc_node_child(spec->root, "networks"))
            add_default_nic(spec, default_network);
        fill_nic_types(spec, default_network);
    }
    vmc_spec_name_items(spec);
    return 0;
}
