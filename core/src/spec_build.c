/* From the text's tree to the spec's. */
#include "spec_build.h"
#include "spec_value.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

enum {
    KEY_LIMIT = 512,  /* bytes; YAML 1.2, 7.4: 1024 characters with quotes and escapes */
    LIST_LIMIT = 4096 /* of devices, names, ports, keys: no hypervisor has as many */
};

/* --- limits and paths -------------------------------------------------------------------------------------- */

static void fault_at(vmc_builder *b, const vmc_raw *raw, const char *format, ...) VMCTL_PRINTF(3, 4);

static void fault_at(vmc_builder *b, const vmc_raw *raw, const char *format, ...) {
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *message = vmc_vprintf(format, args);
    va_end(args);
    vmc_faults_add(b->faults, raw->line, raw->column, b->path.length ? b->path.text : NULL, "%s", message);
    b->stopped |= b->faults->more; /* nothing that is found from now on would be told */
}

static bool spend(vmc_builder *b, const vmc_raw *raw) {
    const vmc_raw *target = vmc_raw_follow(raw);
    b->nodes++;
    if (target->kind == VMC_RAW_SCALAR)
        b->bytes += target->length;
    if (b->stopped)
        return false;
    if (b->nodes <= VMC_SPEC_NODE_LIMIT && b->bytes <= VMC_SPEC_INPUT_LIMIT && b->depth <= VMC_SPEC_DEPTH_LIMIT)
        return true;
    b->stopped = true;
    if (b->depth > VMC_SPEC_DEPTH_LIMIT)
        fault_at(b, raw, "nested deeper than %d levels once aliases are followed", VMC_SPEC_DEPTH_LIMIT);
    else if (b->nodes > VMC_SPEC_NODE_LIMIT)
        fault_at(b, raw, "more than %d values once aliases are followed", VMC_SPEC_NODE_LIMIT);
    else
        fault_at(b, raw, "more than %d MiB once aliases are followed", VMC_SPEC_INPUT_LIMIT >> 20);
    return false;
}

static size_t push_key(vmc_builder *b, const char *key) {
    size_t before = b->path.length;
    if (before)
        vmc_str_add_char(&b->path, '.');
    vmc_str_add_n(&b->path, key, strnlen(key, 256));
    return before;
}

static size_t push_index(vmc_builder *b, size_t index) {
    size_t before = b->path.length;
    vmc_str_printf(&b->path, "[%zu]", index);
    return before;
}

static void pop(vmc_builder *b, size_t before) {
    b->path.length = before;
    if (b->path.text)
        b->path.text[before] = '\0';
}

static vmctl_node *placed(vmctl_node *node, const vmc_raw *raw) {
    if (node) {
        node->line = raw->line;
        node->column = raw->column;
    }
    return node;
}

/* --- the pairs of a map ------------------------------------------------------------------------------------ */

struct pair {
    const char *name;
    const vmc_raw *key, *value;
};

struct pairs {
    struct pair **items; /* in order */
    size_t count, capacity;
    void *by_name; /* tsearch(3) */
};

static int compare_names(const void *a, const void *b) {
    return strcmp(((const struct pair *)a)->name, ((const struct pair *)b)->name);
}

static void keep_pair(void *pair) {
    (void)pair;
}

static void pairs_free(struct pairs *pairs) {
    tdestroy(pairs->by_name, keep_pair);
    for (size_t i = 0; i < pairs->count; i++)
        free(pairs->items[i]);
    free(pairs->items);
}

static void add_pair(vmc_builder *b, struct pairs *pairs, const vmc_raw *key, const vmc_raw *value, bool merged) {
    struct pair *pair = vmc_alloc(sizeof *pair);
    *pair = (struct pair){vmc_raw_follow(key)->text, key, value};
    struct pair **found = tsearch(pair, &pairs->by_name, compare_names);
    if (*found != pair) {
        if (!merged) {
            size_t before = push_key(b, pair->name);
            fault_at(b, key, "the key \"%.60s\" is given twice; it was given in line %u before", pair->name,
                     (*found)->key->line);
            pop(b, before);
        }
        free(pair);
        return;
    }
    if (pairs->count == pairs->capacity) {
        pairs->capacity = pairs->capacity ? 2 * pairs->capacity : 8;
        pairs->items = vmc_realloc(pairs->items, pairs->capacity, sizeof(struct pair *));
    }
    pairs->items[pairs->count++] = pair;
}

static bool is_merge(const vmc_raw *key) {
    return key->kind == VMC_RAW_SCALAR && key->plain && strcmp(key->text, "<<") == 0;
}

static void collect(vmc_builder *b, struct pairs *pairs, const vmc_raw *map, bool merged);

/* "<<: *base" or "<<: [*a, *b]": keys that the map itself does not have (YAML's merge key, yaml.org/type/merge). */
static void merge(vmc_builder *b, struct pairs *pairs, const vmc_raw *value) {
    const vmc_raw *source = vmc_raw_follow(value);
    if (!spend(b, value))
        return;
    if (source->kind == VMC_RAW_MAP) {
        b->depth++;
        collect(b, pairs, source, true);
        b->depth--;
        return;
    }
    bool all_maps = source->kind == VMC_RAW_LIST;
    for (size_t i = 0; all_maps && i < source->count; i++)
        all_maps = vmc_raw_follow(source->items[i])->kind == VMC_RAW_MAP;
    if (!all_maps) {
        fault_at(b, value, "\"<<\" takes a map or a list of maps, such as *NAME of an &NAME");
        return;
    }
    for (size_t i = 0; i < source->count && !b->stopped; i++)
        merge(b, pairs, source->items[i]);
}

static void collect(vmc_builder *b, struct pairs *pairs, const vmc_raw *map, bool merged) {
    for (size_t i = 0; i + 1 < map->count && !b->stopped; i += 2) {
        const vmc_raw *key = vmc_raw_follow(map->items[i]);
        if (merged && !spend(b, map->items[i + 1]))
            return;
        if (key->kind != VMC_RAW_SCALAR)
            fault_at(b, map->items[i], "a key must be a string");
        else if (key->length > KEY_LIMIT)
            fault_at(b, map->items[i], "a key has at most %d bytes", KEY_LIMIT);
        else if (!is_merge(key))
            add_pair(b, pairs, map->items[i], map->items[i + 1], merged);
    }
    for (size_t i = 0; i + 1 < map->count && !b->stopped; i += 2) {
        if (is_merge(vmc_raw_follow(map->items[i])))
            merge(b, pairs, map->items[i + 1]);
    }
}

/* --- without a schema -------------------------------------------------------------------------------------- */

static vmctl_node *build_free(vmc_builder *b, const vmc_raw *raw, const vmc_key *key);

static vmctl_node *build_free_map(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    struct pairs pairs = {0};
    vmctl_node *map = vmc_node_new(VMCTL_KIND_MAP, key);
    collect(b, &pairs, vmc_raw_follow(raw), false);
    for (size_t i = 0; i < pairs.count && !b->stopped; i++) {
        const struct pair *pair = pairs.items[i];
        size_t before = push_key(b, pair->name);
        vmctl_node *child = placed(build_free(b, pair->value, NULL), pair->key);
        if (child)
            vmc_node_add_new(map, pair->name, child);
        pop(b, before);
    }
    pairs_free(&pairs);
    return map;
}

static vmctl_node *build_free(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    const vmc_raw *target = vmc_raw_follow(raw);
    if (!spend(b, raw))
        return NULL;
    vmctl_node *node = NULL;
    b->depth++;
    if (target->kind == VMC_RAW_MAP) {
        node = build_free_map(b, raw, key);
    } else if (target->kind == VMC_RAW_LIST) {
        node = vmc_node_new(VMCTL_KIND_LIST, key);
        for (size_t i = 0; i < target->count && !b->stopped; i++) {
            size_t before = push_index(b, i);
            vmctl_node *child = placed(build_free(b, target->items[i], NULL), target->items[i]);
            if (child)
                vmc_node_append(node, child);
            pop(b, before);
        }
    } else {
        node = target->plain ? vmc_value_plain(target->text) : vmc_node_new_string(NULL, target->text);
        node->schema = key;
    }
    b->depth--;
    return placed(node, raw);
}

static vmctl_node *build_string_map(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    struct pairs pairs = {0};
    vmctl_node *map = vmc_node_new(VMCTL_KIND_MAP, key);
    collect(b, &pairs, vmc_raw_follow(raw), false);
    for (size_t i = 0; i < pairs.count && spend(b, pairs.items[i]->value); i++) {
        const struct pair *pair = pairs.items[i];
        const vmc_raw *value = vmc_raw_follow(pair->value);
        size_t before = push_key(b, pair->name);
        char *why = NULL;
        if (value->kind != VMC_RAW_SCALAR) {
            fault_at(b, pair->value, "a string is expected");
        } else {
            const char *text = vmc_raw_is_null(value) ? "" : value->text;
            vmctl_node *child = placed(vmc_value_parse_element(key, text, NULL, &why), pair->key);
            if (child) {
                child->schema = NULL;
                vmc_node_add_new(map, pair->name, child);
            } else {
                fault_at(b, pair->value, "%s", why);
            }
        }
        free(why);
        pop(b, before);
    }
    pairs_free(&pairs);
    return map;
}

/* --- by the schema ----------------------------------------------------------------------------------------- */

static vmctl_node *wrong_kind(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    static const char *const found[] = {"a value", "a list", "a map"};
    fault_at(b, raw, "%s is expected, not %s", key ? vmc_value_expected(key) : "a map of keys and values",
             found[vmc_raw_follow(raw)->kind]);
    return NULL;
}

static vmctl_node *build_scalar(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    const vmc_raw *target = vmc_raw_follow(raw);
    if (target->kind != VMC_RAW_SCALAR)
        return wrong_kind(b, raw, key);
    VMC_AUTO_FREE char *why = NULL;
    vmctl_node *node = vmc_value_parse(key, target->text, b->base, &why);
    if (!node)
        fault_at(b, raw, "%s", why);
    return placed(node, raw);
}

static bool is_too_long(vmc_builder *b, const vmc_raw *raw) {
    if (vmc_raw_follow(raw)->count <= LIST_LIMIT)
        return false;
    fault_at(b, raw, "a list of %zu; %d is the most", vmc_raw_follow(raw)->count, LIST_LIMIT);
    return true;
}

static vmctl_node *build_strings(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    const vmc_raw *target = vmc_raw_follow(raw);
    if (target->kind == VMC_RAW_MAP)
        return wrong_kind(b, raw, key);
    if (target->kind == VMC_RAW_SCALAR)
        return build_scalar(b, raw, key);
    if (is_too_long(b, raw))
        return NULL;
    vmctl_node *list = vmc_node_new(VMCTL_KIND_LIST, key);
    for (size_t i = 0; i < target->count && spend(b, target->items[i]); i++) {
        const vmc_raw *element = vmc_raw_follow(target->items[i]);
        VMC_AUTO_FREE char *why = NULL;
        size_t before = push_index(b, i);
        vmctl_node *node = element->kind == VMC_RAW_SCALAR && !vmc_raw_is_null(element)
                               ? vmc_value_parse_element(key, element->text, b->base, &why)
                               : NULL;
        if (node)
            vmc_node_append(list, placed(node, target->items[i]));
        else
            fault_at(b, target->items[i], "%s", why ? why : "a string is expected");
        pop(b, before);
    }
    return list;
}

static vmctl_node *build_map(vmc_builder *b, const vmc_raw *raw, const vmc_key *key);

static vmctl_node *build_items(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    const vmc_raw *target = vmc_raw_follow(raw);
    if (target->kind != VMC_RAW_LIST)
        return wrong_kind(b, raw, key);
    if (is_too_long(b, raw))
        return NULL;
    vmctl_node *list = vmc_node_new(VMCTL_KIND_LIST, key);
    for (size_t i = 0; i < target->count && spend(b, target->items[i]); i++) {
        const vmc_raw *item = target->items[i];
        size_t before = push_index(b, i);
        if (vmc_raw_follow(item)->kind == VMC_RAW_MAP)
            vmc_node_append(list, placed(build_map(b, item, key), item));
        else
            fault_at(b, item, "a map is expected, such as {name: NAME}");
        pop(b, before);
    }
    return list;
}

static void unknown_key(vmc_builder *b, const struct pair *pair, const vmc_key *level) {
    const char *near = vmc_schema_nearest(level, pair->name);
    if (near)
        fault_at(b, pair->key, "unknown key \"%.60s\"; did you mean \"%s\"?", pair->name, near);
    else
        fault_at(b, pair->key, "unknown key \"%.60s\"", pair->name);
}

/* An empty value leaves the key out, except where emptiness says something: a drive without a medium. */
static vmctl_node *build_pair(vmc_builder *b, const struct pair *pair, const vmc_key *key) {
    if (!vmc_raw_is_null(vmc_raw_follow(pair->value)))
        return vmc_build(b, pair->value, key);
    return strcmp(key->path, "disks[].cdrom") == 0 ? vmc_node_new_string(key, "") : NULL;
}

static vmctl_node *build_map(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    struct pairs pairs = {0};
    vmctl_node *map = vmc_node_new(VMCTL_KIND_MAP, key);
    collect(b, &pairs, vmc_raw_follow(raw), false);
    for (size_t i = 0; i < pairs.count && !b->stopped; i++) {
        size_t before = push_key(b, pairs.items[i]->name);
        const vmc_key *below = vmc_schema_child(key, pairs.items[i]->name);
        vmctl_node *child = below ? placed(build_pair(b, pairs.items[i], below), pairs.items[i]->key) : NULL;
        if (child)
            vmc_node_add_new(map, NULL, child);
        else if (!below)
            unknown_key(b, pairs.items[i], key);
        pop(b, before);
    }
    pairs_free(&pairs);
    return placed(map, raw);
}

/* `memory: 2GiB` is memory.size. */
static vmctl_node *build_from_scalar(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    size_t before = push_key(b, key->scalar);
    vmctl_node *child = build_scalar(b, raw, vmc_schema_child(key, key->scalar));
    pop(b, before);
    if (!child)
        return NULL;
    vmctl_node *map = placed(vmc_node_new(VMCTL_KIND_MAP, key), raw);
    vmc_node_add_new(map, NULL, child);
    return map;
}

vmctl_node *vmc_build(vmc_builder *b, const vmc_raw *raw, const vmc_key *key) {
    if (!spend(b, raw))
        return NULL;
    const vmc_raw *target = vmc_raw_follow(raw);
    switch (key ? key->type : VMC_TYPE_MAP) {
    case VMC_TYPE_MAP:
        if (target->kind == VMC_RAW_MAP)
            return build_map(b, raw, key);
        if (target->kind == VMC_RAW_SCALAR && key && key->scalar)
            return build_from_scalar(b, raw, key);
        return wrong_kind(b, raw, key);
    case VMC_TYPE_ITEMS:
        return build_items(b, raw, key);
    case VMC_TYPE_STRINGS:
    case VMC_TYPE_PORTS:
    case VMC_TYPE_KEYS:
        return build_strings(b, raw, key);
    case VMC_TYPE_STRING_MAP:
        return target->kind == VMC_RAW_MAP ? placed(build_string_map(b, raw, key), raw) : wrong_kind(b, raw, key);
    case VMC_TYPE_ANY:
        return build_free(b, raw, key);
    default:
        return build_scalar(b, raw, key);
    }
}
