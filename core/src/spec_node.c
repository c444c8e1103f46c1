/* The tree of a spec: making, finding, reading. */
#include "base/redact.h"
#include "spec_internal.h"

#include <stdlib.h>
#include <string.h>

/* --- making ----------------------------------------------------------------------------------------------- */

vmctl_node *vmc_node_new(vmctl_kind kind, const vmc_key *schema) {
    vmctl_node *node = vmc_alloc(sizeof *node);
    node->kind = kind;
    node->schema = schema;
    return node;
}

vmctl_node *vmc_node_new_string(const vmc_key *schema, const char *text) {
    vmctl_node *node = vmc_node_new(VMCTL_KIND_STRING, schema);
    node->value.string = vmc_strdup(text);
    return node;
}

static bool has_children(const vmctl_node *node) {
    return node && (node->kind == VMCTL_KIND_LIST || node->kind == VMCTL_KIND_MAP);
}

static bool has_string(const vmctl_node *node) {
    return node && (node->kind == VMCTL_KIND_STRING || node->kind == VMCTL_KIND_NUMBER);
}

void vmc_node_free(vmctl_node *node) {
    if (!node)
        return;
    if (has_children(node)) {
        for (size_t i = 0; i < node->value.children.count; i++)
            vmc_node_free(node->value.children.items[i]);
        free(node->value.children.items);
    } else if (has_string(node)) {
        free(node->value.string);
    }
    if (!node->schema)
        free((char *)node->key);
    free(node);
}

static void add_child(vmctl_node *parent, vmctl_node *child) {
    if (parent->value.children.count == parent->value.children.capacity) {
        size_t capacity = parent->value.children.capacity ? 2 * parent->value.children.capacity : 4;
        parent->value.children.items = vmc_realloc(parent->value.children.items, capacity, sizeof(vmctl_node *));
        parent->value.children.capacity = capacity;
    }
    parent->value.children.items[parent->value.children.count++] = child;
    child->parent = parent;
}

void vmc_node_append(vmctl_node *parent, vmctl_node *child) {
    add_child(parent, child);
}

static void set_key(vmctl_node *node, const char *key) {
    node->key = node->schema ? vmc_schema_name(node->schema) : vmc_strdup(key);
}

void vmc_node_put(vmctl_node *map, const char *key, vmctl_node *child) {
    set_key(child, key);
    for (size_t i = 0; i < map->value.children.count; i++) {
        if (strcmp(map->value.children.items[i]->key, child->key) == 0) {
            vmc_node_free(map->value.children.items[i]);
            map->value.children.items[i] = child;
            child->parent = map;
            return;
        }
    }
    add_child(map, child);
}

void vmc_node_add_new(vmctl_node *map, const char *key, vmctl_node *child) {
    set_key(child, key);
    add_child(map, child);
}

void vmc_node_remove(vmctl_node *parent, size_t index) {
    vmctl_node **items = parent->value.children.items;
    vmc_node_free(items[index]);
    parent->value.children.count--;
    memmove(items + index, items + index + 1, (parent->value.children.count - index) * sizeof(vmctl_node *));
}

vmctl_node *vmc_node_copy(const vmctl_node *node) {
    vmctl_node *copy = vmc_node_new(node->kind, node->schema);
    copy->is_default = node->is_default;
    copy->line = node->line;
    copy->column = node->column;
    if (node->key)
        set_key(copy, node->key);
    if (has_children(node)) {
        for (size_t i = 0; i < node->value.children.count; i++)
            add_child(copy, vmc_node_copy(node->value.children.items[i]));
    } else if (has_string(node)) {
        copy->value.string = vmc_strdup(node->value.string);
    } else {
        copy->value = node->value;
    }
    return copy;
}

vmctl_spec *vmctl_spec_new(void) {
    vmctl_spec *spec = vmc_alloc(sizeof *spec);
    spec->root = vmc_node_new(VMCTL_KIND_MAP, NULL);
    spec->root->spec = spec;
    return spec;
}

vmctl_spec *vmctl_spec_copy(const vmctl_spec *spec) {
    if (!spec)
        return NULL;
    vmctl_spec *copy = vmc_alloc(sizeof *copy);
    copy->root = vmc_node_copy(spec->root);
    copy->root->spec = copy;
    copy->file = vmc_strdup(spec->file);
    copy->native = vmc_strdup(spec->native);
    copy->native_backend = spec->native_backend;
    copy->native_name = vmc_strdup(spec->native_name);
    copy->native_namespace = vmc_strdup(spec->native_namespace);
    copy->line = spec->line;
    for (size_t i = 0; i < spec->origin_count; i++)
        vmc_spec_set_origin(copy, spec->origins[i].path, spec->origins[i].url);
    return copy;
}

void vmctl_spec_free(vmctl_spec *spec) {
    if (!spec)
        return;
    vmc_node_free(spec->root);
    free(spec->file);
    free(spec->native);
    free(spec->native_name);
    free(spec->native_namespace);
    for (size_t i = 0; i < spec->origin_count; i++) {
        free(spec->origins[i].path);
        free(spec->origins[i].url);
    }
    free(spec->origins);
    free(spec);
}

void vmctl_spec_list_free(vmctl_spec **list) {
    for (size_t i = 0; list && list[i]; i++)
        vmctl_spec_free(list[i]);
    free(list);
}

void vmctl_string_free(char *string) {
    free(string);
}

/* --- finding ---------------------------------------------------------------------------------------------- */

vmctl_node *vmc_node_child(const vmctl_node *map, const char *key) {
    if (!map || map->kind != VMCTL_KIND_MAP)
        return NULL;
    for (size_t i = 0; i < map->value.children.count; i++) {
        if (strcmp(map->value.children.items[i]->key, key) == 0)
            return map->value.children.items[i];
    }
    return NULL;
}

const char *vmc_item_name(const vmctl_node *item) {
    const vmctl_node *name = vmc_node_child(item, "name");
    return name && name->kind == VMCTL_KIND_STRING ? name->value.string : NULL;
}

/* The length of `word` when the path begins with it as a whole part, else 0. */
static size_t part_length(const char *path, const char *word) {
    size_t length = word ? strlen(word) : 0;
    if (!length || strncmp(path, word, length) != 0)
        return 0;
    return path[length] == '\0' || path[length] == '.' || path[length] == '[' ? length : 0;
}

static vmctl_node *step_by_index(const vmctl_node *node, const char **path) {
    char *end;
    if (node->kind != VMCTL_KIND_LIST || (*path)[1] < '0' || (*path)[1] > '9')
        return NULL;
    unsigned long index = strtoul(*path + 1, &end, 10);
    if (*end != ']' || index >= node->value.children.count)
        return NULL;
    *path = end + 1;
    return node->value.children.items[index];
}

vmctl_node *vmc_node_step(const vmctl_node *node, const char **path) {
    if (!has_children(node))
        return NULL;
    vmctl_node *found = NULL;
    if (**path == '[') {
        found = step_by_index(node, path);
    } else {
        size_t longest = 0;
        for (size_t i = 0; i < node->value.children.count; i++) {
            vmctl_node *child = node->value.children.items[i];
            size_t length = part_length(*path, node->kind == VMCTL_KIND_MAP ? child->key : vmc_item_name(child));
            if (length > longest) {
                longest = length;
                found = child;
            }
        }
        *path += longest;
    }
    if (found && **path == '.')
        (*path)++;
    return found;
}

const vmctl_node *vmctl_node_get(const vmctl_node *node, const char *path) {
    while (node && path && *path)
        node = vmc_node_step(node, &path);
    return node;
}

/* --- reading ---------------------------------------------------------------------------------------------- */

const vmctl_node *vmctl_spec_root(const vmctl_spec *spec) {
    return spec ? spec->root : NULL;
}

const char *vmctl_spec_name(const vmctl_spec *spec) {
    if (!spec)
        return NULL;
    return spec->native ? spec->native_name : vmctl_node_string(spec->root, "name", NULL);
}

const char *vmctl_spec_namespace(const vmctl_spec *spec) {
    if (!spec)
        return NULL;
    return spec->native ? spec->native_namespace : vmctl_node_string(spec->root, "placement.namespace", NULL);
}

const char *vmctl_spec_native(const vmctl_spec *spec, const char **backend) {
    if (backend)
        *backend = spec && spec->native ? spec->native_backend : NULL;
    return spec ? spec->native : NULL;
}

vmctl_kind vmctl_node_kind(const vmctl_node *node) {
    return node ? node->kind : VMCTL_KIND_NULL;
}

size_t vmctl_node_count(const vmctl_node *node) {
    return has_children(node) ? node->value.children.count : 0;
}

const vmctl_node *vmctl_node_at(const vmctl_node *node, size_t index) {
    return index < vmctl_node_count(node) ? node->value.children.items[index] : NULL;
}

const char *vmctl_node_key(const vmctl_node *node) {
    return node ? node->key : NULL;
}

const char *vmctl_node_string(const vmctl_node *node, const char *path, const char *fallback) {
    node = vmctl_node_get(node, path);
    return has_string(node) ? node->value.string : fallback;
}

int64_t vmctl_node_integer(const vmctl_node *node, const char *path, int64_t fallback) {
    node = vmctl_node_get(node, path);
    return node && node->kind == VMCTL_KIND_INTEGER ? node->value.integer : fallback;
}

bool vmctl_node_boolean(const vmctl_node *node, const char *path, bool fallback) {
    node = vmctl_node_get(node, path);
    return node && node->kind == VMCTL_KIND_BOOLEAN ? node->value.boolean : fallback;
}

bool vmctl_node_is_default(const vmctl_node *node) {
    return node && node->is_default;
}

void vmctl_node_location(const vmctl_node *node, const char **file, unsigned *line, unsigned *column) {
    const vmctl_node *root = node;
    while (root && root->parent)
        root = root->parent;
    if (file)
        *file = node && node->line && root->spec ? root->spec->file : NULL;
    if (line)
        *line = node ? node->line : 0;
    if (column)
        *column = node ? node->column : 0;
}

static void add_path(const vmctl_node *node, bool by_name, vmc_str *path) {
    if (!node->parent)
        return;
    add_path(node->parent, by_name, path);
    const char *name = node->key ? node->key : by_name ? vmc_item_name(node) : NULL;
    if (name) {
        if (path->length)
            vmc_str_add_char(path, '.');
        vmc_str_add(path, name);
        return;
    }
    size_t index = 0;
    while (node->parent->value.children.items[index] != node)
        index++;
    vmc_str_printf(path, "[%zu]", index);
}

char *vmctl_node_path(const vmctl_node *node) {
    VMC_AUTO_STR path = {0};
    if (node)
        add_path(node, true, &path);
    return vmc_str_take(&path);
}

char *vmc_node_index_path(const vmctl_node *node) {
    VMC_AUTO_STR path = {0};
    if (node)
        add_path(node, false, &path);
    return vmc_str_take(&path);
}

/* --- comparing -------------------------------------------------------------------------------------------- */

static bool counts(const vmctl_node *node, bool written) {
    return !written || !node->is_default;
}

static bool children_equal(const vmctl_node *a, const vmctl_node *b, bool written) {
    size_t in_a = 0, in_b = 0;
    for (size_t i = 0; i < b->value.children.count; i++)
        in_b += counts(b->value.children.items[i], written);
    for (size_t i = 0; i < a->value.children.count; i++) {
        const vmctl_node *child = a->value.children.items[i];
        if (!counts(child, written))
            continue;
        in_a++;
        const vmctl_node *other = a->kind == VMCTL_KIND_MAP ? vmc_node_child(b, child->key) : vmctl_node_at(b, i);
        if (!other || !counts(other, written) || !vmc_node_equal(child, other, written))
            return false;
    }
    return in_a == in_b;
}

bool vmc_node_equal(const vmctl_node *a, const vmctl_node *b, bool written) {
    if (!a || !b || a->kind != b->kind)
        return !a && !b;
    switch (a->kind) {
    case VMCTL_KIND_LIST:
    case VMCTL_KIND_MAP:
        return children_equal(a, b, written);
    case VMCTL_KIND_STRING:
    case VMCTL_KIND_NUMBER:
        return strcmp(a->value.string, b->value.string) == 0;
    case VMCTL_KIND_BOOLEAN:
        return a->value.boolean == b->value.boolean;
    case VMCTL_KIND_INTEGER:
        return a->value.integer == b->value.integer;
    default:
        return true;
    }
}

/* --- origins ---------------------------------------------------------------------------------------------- */

static struct vmc_origin *find_origin(const vmctl_spec *spec, const char *path) {
    for (size_t i = 0; i < spec->origin_count; i++) {
        if (strcmp(spec->origins[i].path, path) == 0)
            return &spec->origins[i];
    }
    return NULL;
}

static char *origin_path(const vmctl_spec *spec, const char *path) {
    const vmctl_node *node = vmctl_node_get(spec->root, path);
    return node ? vmc_node_index_path(node) : vmc_strdup(path);
}

void vmc_spec_set_origin(vmctl_spec *spec, const char *path, const char *url) {
    char *where = origin_path(spec, path);
    struct vmc_origin *origin = find_origin(spec, where);
    if (!origin && url) {
        spec->origins = vmc_realloc(spec->origins, spec->origin_count + 1, sizeof *spec->origins);
        origin = &spec->origins[spec->origin_count++];
        *origin = (struct vmc_origin){where, NULL};
        where = NULL;
    }
    if (origin) {
        free(origin->url);
        origin->url = url ? vmc_redact_url(url) : NULL;
    }
    free(where);
}

const char *vmc_spec_origin(const vmctl_spec *spec, const char *path) {
    VMC_AUTO_FREE char *where = origin_path(spec, path);
    const struct vmc_origin *origin = find_origin(spec, where);
    return origin ? origin->url : NULL;
}
