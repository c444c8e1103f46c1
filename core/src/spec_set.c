/* One key set from C: the path language, values from text. */
#include "base/error.h"
#include "spec_build.h"
#include "spec_value.h"

#include <stdlib.h>
#include <string.h>

/* A path taken apart: what is there of it already, and what is still to be made below that. */
enum { STEP_LIMIT = 8 };

typedef enum step_kind { STEP_KEY, STEP_ITEM, STEP_FREE } step_kind;

struct step {
    step_kind kind;
    const vmc_key *schema; /* KEY: of the value; ITEM: of the list */
    char *name;            /* ITEM: NULL for an index; FREE: the key */
    size_t index;          /* ITEM */
};

struct path {
    struct step steps[STEP_LIMIT];
    size_t count;
    const char *text; /* as it was given */
};

static void path_free(struct path *path) {
    for (size_t i = 0; i < path->count; i++)
        free(path->steps[i].name);
}

static int fail(char **why, char *message) {
    *why = message;
    return -1;
}

/* --- the path ----------------------------------------------------------------------------------------------- */

static const vmctl_node *below(const vmctl_node *node, const struct step *step) {
    if (!node)
        return NULL;
    if (step->kind == STEP_KEY)
        return vmc_node_child(node, vmc_schema_name(step->schema));
    if (step->kind == STEP_FREE)
        return vmc_node_child(node, step->name);
    if (!step->name)
        return vmctl_node_at(node, step->index);
    for (size_t i = 0; i < vmctl_node_count(node); i++) {
        if (vmc_str_eq(vmc_item_name(vmctl_node_at(node, i)), step->name))
            return vmctl_node_at(node, i);
    }
    return NULL;
}

static bool is_list(const vmc_key *key) {
    return key && (key->type == VMC_TYPE_ITEMS || key->type == VMC_TYPE_STRINGS || key->type == VMC_TYPE_PORTS ||
                   key->type == VMC_TYPE_KEYS);
}

static int parse_index(struct path *path, const char **text, const vmc_key *list, const vmctl_node *node, char **why) {
    char *end;
    unsigned long index = strtoul(*text + 1, &end, 10);
    if ((*text)[1] < '0' || (*text)[1] > '9' || *end != ']')
        return fail(why, vmc_printf("\"%.60s\" is not an index such as [0]", *text));
    if (!is_list(list))
        return fail(why, vmc_strdup("only lists have an index"));
    if (index > vmctl_node_count(node))
        return fail(why, vmc_printf("there is no item %lu: the next one is [%zu]", index, vmctl_node_count(node)));
    path->steps[path->count++] = (struct step){STEP_ITEM, list, NULL, index};
    *text = end + 1;
    return 0;
}

/* An item by its name: the longest name there is that fits, else (a new one) up to the next dot. */
static int parse_item(struct path *path, const char **text, const vmc_key *list, const vmctl_node *node, char **why) {
    const char *rest = *text;
    const vmctl_node *item = vmctl_node_count(node) ? vmc_node_step(node, &rest) : NULL;
    size_t length = item ? strlen(vmc_item_name(item)) : strcspn(*text, ".[");
    VMC_AUTO_FREE char *name = vmc_strndup(*text, length);
    vmctl_node *good = vmc_value_parse(vmc_schema_child(list, "name"), name, NULL, why);
    if (!good)
        return -1;
    vmc_node_free(good);
    path->steps[path->count++] = (struct step){STEP_ITEM, list, vmc_strdup(name), 0};
    *text += length;
    return 0;
}

static int parse_key(struct path *path, const char **text, const vmc_key *level, char **why) {
    size_t length = strcspn(*text, ".[");
    VMC_AUTO_FREE char *word = vmc_strndup(*text, length);
    static const char *const aliases[][2] = {
        {"disk", "disks"}, {"nic", "networks"}, {"gpu", "gpus"}, {"share", "shares"}};
    const char *name = word;
    for (size_t i = 0; !level && (*text)[length] && i < sizeof aliases / sizeof *aliases; i++) {
        if (strcmp(word, aliases[i][0]) == 0)
            name = aliases[i][1];
    }
    const vmc_key *key = vmc_schema_child(level, name);
    if (!key) {
        const char *near = vmc_schema_nearest(level, name);
        VMC_AUTO_FREE char *before = vmc_strndup(path->text, (size_t)(*text - path->text));
        return fail(why, near ? vmc_printf("unknown key \"%.60s\"; did you mean \"%s%s\"?", name, before, near)
                              : vmc_printf("unknown key \"%.60s\"", name));
    }
    path->steps[path->count++] = (struct step){STEP_KEY, key, NULL, 0};
    *text += length;
    return 0;
}

/* What the next step may be depends on the key before it: *key, NULL at the top; `in_item`: that key's item, not the list. */
static int parse_step(struct path *path, const char **text, const vmc_key *key, bool in_item, const vmctl_node *node,
                      char **why) {
    bool is_item_list = key && key->type == VMC_TYPE_ITEMS;
    if (**text == '[')
        return in_item ? fail(why, vmc_strdup("an item is no list")) : parse_index(path, text, key, node, why);
    if (path->count && *(*text)++ != '.')
        return fail(why, vmc_strdup("a \".\" is expected behind \"]\""));
    if (!**text)
        return fail(why, vmc_strdup("a key is missing at the end"));
    if (is_item_list && !in_item)
        return parse_item(path, text, key, node, why);
    if (key && vmc_schema_is_free(key)) {
        if (node && node->kind != VMCTL_KIND_MAP)
            return fail(why, vmc_printf("\"%s\" is no map here", vmc_schema_name(key)));
        path->steps[path->count++] = (struct step){STEP_FREE, key, vmc_strdup(*text), 0};
        *text += strlen(*text);
        return 0;
    }
    if (key && !is_item_list && key->type != VMC_TYPE_MAP)
        return fail(why, vmc_printf("\"%s\" has no keys below it", vmc_schema_name(key)));
    return parse_key(path, text, key, why);
}

static int parse_path(const vmctl_spec *spec, const char *text, struct path *path, char **why) {
    const vmctl_node *node = spec->root;
    const vmc_key *key = NULL;
    *path = (struct path){.text = text};
    if (!*text)
        return fail(why, vmc_strdup("a key is missing"));
    while (*text) {
        const struct step *last = path->count ? &path->steps[path->count - 1] : NULL;
        if (path->count == STEP_LIMIT)
            return fail(why, vmc_strdup("no key is that deep"));
        if (parse_step(path, &text, key, last && last->kind == STEP_ITEM, node, why) < 0)
            return -1;
        last = &path->steps[path->count - 1];
        key = last->schema;
        node = below(node, last);
    }
    return 0;
}

/* --- the value ---------------------------------------------------------------------------------------------- */

static vmctl_node *parse_yaml(const vmc_key *key, const char *text, bool as_item, char **why) {
    vmc_faults faults = {0};
    vmc_builder builder = {.faults = &faults};
    vmctl_node *node = NULL;
    vmc_raw_document document = {0};
    vmc_raw_reader *reader = NULL;
    if (vmc_raw_check(text, strlen(text), &faults)) {
        reader = vmc_raw_open(text, strlen(text), &faults);
        if (vmc_raw_next(reader, &document) == 1 && document.root) {
            if (as_item) { /* read as a list of that one item, so that all of its keys are checked alike */
                vmc_raw *items[] = {document.root};
                vmc_raw list = {.kind = VMC_RAW_LIST, .items = items, .count = 1};
                vmctl_node *parsed = vmc_build(&builder, &list, key);
                if (vmctl_node_count(parsed)) {
                    node = vmc_node_copy(vmctl_node_at(parsed, 0));
                }
                vmc_node_free(parsed);
            } else {
                node = vmc_build(&builder, document.root, key);
            }
        }
    }
    vmc_raw_document_free(&document);
    vmc_raw_close(reader);
    vmc_str_free(&builder.path);
    if (faults.count || !node) {
        const vmc_fault *first = faults.count ? &faults.items[0] : NULL;
        const char *path = first && first->path ? first->path : NULL;
        *why = !first ? vmc_printf("%s is expected", vmc_value_expected(key))
               : path ? vmc_printf("%s: %s", path, first->message)
                      : vmc_strdup(first->message);
        vmc_node_free(node);
        node = NULL;
    }
    vmc_faults_end(&faults, NULL);
    return node;
}

static void forget_places(vmctl_node *node) {
    node->line = node->column = 0;
    for (size_t i = 0; i < vmctl_node_count(node); i++)
        forget_places(node->value.children.items[i]);
}

static bool begins_with(const char *text, const char *characters) {
    text += strspn(text, " \t\r\n");
    return *text && strchr(characters, *text);
}

/* The value of the path's last step. */
static vmctl_node *parse_value(const struct step *last, const char *text, char **why) {
    const vmc_key *key = last->schema;
    vmctl_node *node = NULL;
    bool is_element = last->kind == STEP_ITEM && key->type != VMC_TYPE_ITEMS;
    bool is_label = last->kind == STEP_FREE && key->type == VMC_TYPE_STRING_MAP;
    bool is_yaml = last->kind == STEP_ITEM || key->type == VMC_TYPE_MAP || key->type == VMC_TYPE_ITEMS ||
                   vmc_schema_is_free(key) || (is_list(key) && begins_with(text, "[-"));
    if (is_element || is_label)
        node = vmc_value_parse_element(key, text, NULL, why);
    else if (is_yaml)
        node = parse_yaml(key, text, last->kind == STEP_ITEM, why);
    else
        node = vmc_value_parse(key, text, NULL, why);
    if (node && last->kind == STEP_FREE)
        node->schema = NULL;
    if (node)
        forget_places(node);
    return node;
}

/* --- putting it there ---------------------------------------------------------------------------------------- */

static vmctl_kind kind_of_parent(const struct step *next) {
    return next->kind == STEP_ITEM ? VMCTL_KIND_LIST : VMCTL_KIND_MAP;
}

static vmctl_node *name_node(const vmc_key *list, const char *name) {
    return vmc_node_new_string(vmc_schema_child(list, "name"), name);
}

static void put(vmctl_node *parent, const struct step *step, vmctl_node *node) {
    if (step->kind != STEP_ITEM) {
        vmc_node_put(parent, step->kind == STEP_FREE ? step->name : NULL, node);
        return;
    }
    const vmctl_node *old = below(parent, step);
    if (!old) {
        vmc_node_append(parent, node);
        return;
    }
    size_t index = 0;
    while (parent->value.children.items[index] != old)
        index++;
    vmc_node_free(parent->value.children.items[index]);
    parent->value.children.items[index] = node;
    node->parent = parent;
}

/* An item that is addressed by name has that name. */
static int name_item(const struct step *step, vmctl_node *item, char **why) {
    if (!step->name || item->kind != VMCTL_KIND_MAP)
        return 0;
    const char *name = vmc_item_name(item);
    if (name && strcmp(name, step->name) != 0)
        return fail(why, vmc_printf("the item is named \"%s\" in the value and \"%s\" in the key", name, step->name));
    if (!name)
        vmc_node_put(item, NULL, name_node(step->schema, step->name));
    return 0;
}

static void apply(vmctl_spec *spec, const struct path *path, vmctl_node *value) {
    vmctl_node *node = spec->root;
    for (size_t i = 0; i + 1 < path->count; i++) {
        const struct step *step = &path->steps[i];
        vmctl_node *child = (vmctl_node *)below(node, step);
        if (!child) {
            child = vmc_node_new(kind_of_parent(&path->steps[i + 1]), step->kind == STEP_FREE ? NULL : step->schema);
            if (step->kind == STEP_ITEM && step->name)
                vmc_node_put(child, NULL, name_node(step->schema, step->name));
            put(node, step, child);
        }
        child->is_default = false;
        node = child;
    }
    put(node, &path->steps[path->count - 1], value);
    if (path->steps[0].schema->type == VMC_TYPE_ITEMS)
        vmc_spec_name_items(spec);
}

static void remove_at(vmctl_spec *spec, const struct path *path) {
    vmctl_node *node = (vmctl_node *)vmctl_spec_root(spec);
    for (size_t i = 0; node && i < path->count; i++)
        node = (vmctl_node *)below(node, &path->steps[i]);
    while (node && node->parent) {
        vmctl_node *parent = node->parent;
        size_t index = 0;
        while (parent->value.children.items[index] != node)
            index++;
        vmc_node_remove(parent, index);
        /* a map that was there for this key only goes too; a list stays, for [] says something */
        bool goes = parent->kind == VMCTL_KIND_MAP && !vmctl_node_count(parent) && parent->key;
        node = goes ? parent : NULL;
    }
    if (path->steps[0].schema->type == VMC_TYPE_ITEMS)
        vmc_spec_name_items(spec);
}

/* `memory` is memory.size where a scalar is given. */
static void follow_scalar(struct path *path, const char *text) {
    const struct step *last = &path->steps[path->count - 1];
    if (last->kind == STEP_KEY && last->schema->scalar && !(text && begins_with(text, "{")) &&
        path->count < STEP_LIMIT) {
        const vmc_key *key = vmc_schema_child(last->schema, last->schema->scalar);
        path->steps[path->count++] = (struct step){STEP_KEY, key, NULL, 0};
    }
}

int vmc_spec_set_text(vmctl_spec *spec, const char *key, const char *text, char **why) {
    struct path path;
    int rc = parse_path(spec, key, &path, why);
    if (rc == 0 && !text) {
        remove_at(spec, &path);
    } else if (rc == 0) {
        follow_scalar(&path, text);
        const struct step *last = &path.steps[path.count - 1];
        vmctl_node *value = parse_value(last, text, why);
        if (!value || (last->kind == STEP_ITEM && name_item(last, value, why) < 0)) {
            vmc_node_free(value);
            rc = -1;
        } else {
            apply(spec, &path, value);
        }
    }
    path_free(&path);
    return rc;
}

int vmctl_spec_set(vmctl_spec *spec, const char *path, const char *value, vmctl_error **err) {
    if (!spec || !path)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "vmctl_spec_set needs a spec and a key");
    bool place = spec->native && value && strcmp(path, "placement.namespace") == 0;
    if (place && strcmp(spec->native_backend, "kubevirt") == 0 && !spec->native_namespace) {
        spec->native_namespace = vmc_strdup(value);
        return 0;
    }
    if (spec->native)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s cannot be set: a native document is taken as it is", path);
    if (value && strlen(value) > VMC_SPEC_SCALAR_LIMIT)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: a value longer than %d MiB", path,
                         VMC_SPEC_SCALAR_LIMIT >> 20);
    VMC_AUTO_FREE char *why = NULL;
    if (vmc_spec_set_text(spec, path, value, &why) == 0)
        return 0;
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: %s", path, why);
}

static int set_node(vmctl_spec *spec, const char *text, vmctl_kind kind, int64_t number, vmctl_error **err) {
    struct path path;
    VMC_AUTO_FREE char *why = NULL;
    int rc = parse_path(spec, text, &path, &why);
    if (rc == 0) {
        follow_scalar(&path, NULL);
        const struct step *last = &path.steps[path.count - 1];
        vmc_type type = last->schema->type;
        bool fits = kind == VMCTL_KIND_BOOLEAN
                        ? type == VMC_TYPE_BOOLEAN
                        : type == VMC_TYPE_INTEGER || type == VMC_TYPE_SIZE || type == VMC_TYPE_DURATION;
        const vmc_key *key = last->schema;
        if (last->kind != STEP_KEY || !fits) {
            rc = fail(&why, vmc_printf("%s is expected", vmc_value_expected(key)));
        } else if (kind == VMCTL_KIND_INTEGER && (number < key->minimum || (key->maximum && number > key->maximum))) {
            rc = fail(&why, vmc_printf("%lld is out of range", (long long)number));
        } else {
            vmctl_node *node = vmc_node_new(kind, key);
            if (kind == VMCTL_KIND_BOOLEAN)
                node->value.boolean = number != 0;
            else
                node->value.integer = number;
            apply(spec, &path, node);
        }
    }
    path_free(&path);
    return rc < 0 ? vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s: %s", text, why) : 0;
}

int vmc_spec_set_integer(vmctl_spec *spec, const char *path, int64_t value, vmctl_error **err) {
    return set_node(spec, path, VMCTL_KIND_INTEGER, value, err);
}

int vmc_spec_set_boolean(vmctl_spec *spec, const char *path, bool value, vmctl_error **err) {
    return set_node(spec, path, VMCTL_KIND_BOOLEAN, value, err);
}
