/* The changes that lead from one spec to another, by the rules of `apply`. */
#include "base/error.h"
#include "base/redact.h"
#include "internal.h"
#include "spec_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct vmctl_diff {
    vmctl_spec *have, *want;
    vmctl_change *changes;
    size_t count;
};

struct diffing {
    vmctl_diff *diff;
    bool prune, all;
    vmc_faults faults;
    bool loses_data;
};

/* --- what came out ------------------------------------------------------------------------------------------ */

static void add_change(struct diffing *d, vmctl_change_action action, const vmctl_node *have, const vmctl_node *want) {
    vmctl_diff *diff = d->diff;
    diff->changes = vmc_realloc(diff->changes, diff->count + 1, sizeof *diff->changes);
    diff->changes[diff->count++] = (vmctl_change){
        .size = sizeof(vmctl_change),
        .action = action,
        .path = vmctl_node_path(want ? want : have),
        .have = have,
        .want = want,
        .have_text = vmc_node_line(have),
        .want_text = vmc_node_line(want),
    };
}

static void refuse(struct diffing *d, bool loses_data, const vmctl_node *at, char *message) {
    VMC_AUTO_FREE char *path = vmctl_node_path(at);
    vmc_faults_add(&d->faults, at->line, at->column, path, "%s", message);
    d->loses_data |= loses_data;
    free(message);
}

static int end_refusals(struct diffing *d, vmctl_error **err) {
    size_t count = d->faults.count;
    if (!count)
        return 0;
    int code = d->loses_data ? VMCTL_E_DATA_LOSS_PREVENTED : VMCTL_E_CONFLICT;
    vmctl_error *told = NULL;
    if (count == 1)
        vmc_error(&told, code, "%s: %s", d->faults.items[0].path, d->faults.items[0].message);
    else
        vmc_error(&told, code, "%zu changes are refused", count);
    for (size_t i = 0; i < count; i++) {
        const vmc_fault *fault = &d->faults.items[i];
        vmc_error_fault(&told, fault->line ? d->faults.file : NULL, fault->line, fault->column, fault->path, "%s",
                        fault->message);
    }
    vmc_faults_end(&d->faults, NULL);
    vmc_error_move(err, &told);
    return code;
}

/* --- values ------------------------------------------------------------------------------------------------- */

/* What the VM has; a default of ours says nothing about it. */
static const vmctl_node *known(const vmctl_node *node) {
    return node && !node->is_default ? node : NULL;
}

static bool is_word(const vmctl_node *node, const char *word) {
    return node->kind == VMCTL_KIND_STRING && strcmp(node->value.string, word) == 0;
}

/* Whether the wanted value is what a VM is without it. */
static bool means_absent(const vmctl_node *want) {
    const vmc_key *key = want->schema;
    if (want->kind == VMCTL_KIND_BOOLEAN)
        return !want->value.boolean;
    if (want->kind == VMCTL_KIND_MAP || want->kind == VMCTL_KIND_LIST)
        return !vmctl_node_count(want);
    if (want->kind != VMCTL_KIND_STRING) {
        VMC_AUTO_FREE char *text = vmc_node_line(want);
        return key && key->fallback && strcmp(text, key->fallback) == 0;
    }
    if (!*want->value.string || (key && key->fallback && is_word(want, key->fallback)))
        return true;
    if (!key || key->type != VMC_TYPE_ENUM)
        return false;
    return is_word(want, "none") ? strcmp(key->path, "disks[].cache") != 0
                                 : is_word(want, "auto") || is_word(want, "bios") || is_word(want, "up");
}

/* "q35" is the family of "pc-q35-7.2": a VM that has the one is not changed to the other. */
static bool is_machine_of(const char *have, const char *family) {
    size_t length = strlen(family);
    for (const char *p = have; *p; p += strcspn(p, "-"), p += *p == '-') {
        if (strncmp(p, family, length) == 0 && (!p[length] || p[length] == '-'))
            return true;
    }
    return false;
}

static bool same_string(const vmc_key *key, const char *have, const char *want) {
    if (strcmp(have, want) == 0)
        return true;
    const char *path = key ? key->path : "";
    if (strcmp(path, "accel") == 0)
        return strcmp(want, "auto") == 0;
    if (strcmp(path, "machine") == 0)
        return is_machine_of(have, want);
    return strcmp(path, "gpus[].pci") == 0 || strcmp(path, "gpus[].device") == 0 ? strcasecmp(have, want) == 0 : false;
}

static bool has_element(const vmctl_node *list, const vmctl_node *element) {
    for (size_t i = 0; i < vmctl_node_count(list); i++) {
        if (vmc_node_equal(vmctl_node_at(list, i), element, false))
            return true;
    }
    return false;
}

/* Order says something only where things are tried or read in order. */
static bool same_list(const vmctl_node *have, const vmctl_node *want) {
    const vmc_key *key = want->schema;
    if (!key || (key->type != VMC_TYPE_PORTS && key->type != VMC_TYPE_KEYS))
        return vmc_node_equal(have, want, false);
    bool same = vmctl_node_count(have) == vmctl_node_count(want);
    for (size_t i = 0; same && i < vmctl_node_count(want); i++)
        same = has_element(have, vmctl_node_at(want, i));
    return same;
}

static bool is_same(const vmctl_node *have, const vmctl_node *want) {
    if (!have)
        return means_absent(want);
    if (have->kind == VMCTL_KIND_STRING && want->kind == VMCTL_KIND_STRING)
        return same_string(want->schema, have->value.string, want->value.string);
    if (have->kind == VMCTL_KIND_LIST && want->kind == VMCTL_KIND_LIST)
        return same_list(have, want);
    return vmc_node_equal(have, want, false);
}

/* --- disks -------------------------------------------------------------------------------------------------- */

/* What the disk was made from, as the person named it; of a URL what a VM remembers of it. free. */
static char *source_text(const vmctl_spec *spec, const vmctl_node *node) {
    VMC_AUTO_FREE char *path = vmc_node_index_path(node);
    const char *origin = vmc_spec_origin(spec, path);
    const char *source = origin ? origin : vmctl_node_string(node, NULL, "");
    return vmc_source_is_web(source) ? vmc_redact_url(source) : vmc_strdup(source);
}

/* Refuses another source than the one that the disk was made from. */
static void check_source(struct diffing *d, const vmctl_node *have, const vmctl_node *want, const char *disk) {
    VMC_AUTO_FREE char *from = source_text(d->diff->have, have);
    VMC_AUTO_FREE char *wanted = source_text(d->diff->want, want);
    if (strcmp(from, wanted) != 0)
        refuse(d, true, want, vmc_printf("disk %s comes from %s; what is on it would be lost", disk, from));
}

/* Whether the key is one that cannot be changed without losing what is on the disk; it is refused then, or taken care of. */
static bool check_disk_key(struct diffing *d, const vmctl_node *have_disk, const vmctl_node *want) {
    static const char *const sources[] = {"image", "backing", "volume"};
    const char *name = vmctl_node_string(want->parent, "name", "");
    const vmctl_node *have = known(vmc_node_child(have_disk, want->key));
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++) {
        if (strcmp(want->key, sources[i]) != 0)
            continue;
        if (vmc_node_child(have_disk, "cdrom"))
            refuse(d, false, want, vmc_printf("%s is an optical drive; give the disk another name", name));
        else if (!have)
            refuse(
                d, true, want,
                vmc_printf("disk %s is there already, and not known to come from this %s; what is on it would be lost",
                           name, want->key));
        else
            check_source(d, have, want, name);
        return true;
    }
    if (strcmp(want->key, "cdrom") == 0 && !have) {
        refuse(d, true, want, vmc_printf("%s is a disk, not an optical drive; what is on it would be lost", name));
        return true;
    }
    if (strcmp(want->key, "size") == 0 && have && have->value.integer > want->value.integer) {
        VMC_AUTO_FREE char *has = vmc_node_line(have), *wants = vmc_node_line(want);
        refuse(d, true, want, vmc_printf("disk %s has %s; at %s its end would be lost", name, has, wants));
        return true;
    }
    return false;
}

/* --- the tree ----------------------------------------------------------------------------------------------- */

static const vmctl_node *at_top(const vmctl_node *node) {
    while (node->parent && node->parent->parent)
        node = node->parent;
    return node;
}

/* Where the VM goes, what only its first boot reads, and sections of hypervisors that it is not on: a VM need not tell them, so they are
 * compared only where it does. */
static bool is_untold(const struct diffing *d, const vmctl_node *want) {
    static const char *const of_making[] = {"lifetime", "placement", "cloudInit", "unattend"};
    static const char *const of_backends[] = {"libvirt", "virtualbox", "vsphere", "kubevirt"};
    const char *key = at_top(want)->key, *backend = vmctl_node_string(d->diff->have->root, "backend", "");
    for (size_t i = 0; i < sizeof of_making / sizeof *of_making; i++) {
        if (strcmp(key, of_making[i]) == 0)
            return true;
    }
    for (size_t i = 0; i < sizeof of_backends / sizeof *of_backends; i++) {
        if (strcmp(key, of_backends[i]) == 0)
            return strcmp(backend, key) != 0;
    }
    return false;
}

static void diff_map(struct diffing *d, const vmctl_node *have, const vmctl_node *want);

static const vmctl_node *item_named(const vmctl_node *list, const char *name) {
    for (size_t i = 0; i < vmctl_node_count(list); i++) {
        if (vmc_str_eq(vmc_item_name(vmctl_node_at(list, i)), name))
            return vmctl_node_at(list, i);
    }
    return NULL;
}

static void diff_items(struct diffing *d, const vmctl_node *have, const vmctl_node *want) {
    for (size_t i = 0; i < vmctl_node_count(want); i++) {
        const vmctl_node *item = vmctl_node_at(want, i);
        const vmctl_node *there = item_named(have, vmc_item_name(item));
        if (there)
            diff_map(d, there, item);
        else
            add_change(d, VMCTL_CHANGE_ADD, NULL, item);
    }
    for (size_t i = 0; i < vmctl_node_count(have); i++) {
        const vmctl_node *item = vmctl_node_at(have, i);
        if (item_named(want, vmc_item_name(item)))
            continue;
        if (d->prune)
            add_change(d, VMCTL_CHANGE_REMOVE, item, NULL);
        else
            refuse(
                d, false, want,
                vmc_printf("the VM has \"%s\" besides, which is not in the list: add it there, or --prune to remove it",
                           vmc_item_name(item)));
    }
}

static void diff_node(struct diffing *d, const vmctl_node *have, const vmctl_node *want) {
    const vmc_key *key = want->schema;
    if (want->kind == VMCTL_KIND_LIST && key && key->type == VMC_TYPE_ITEMS)
        diff_items(d, have, want);
    else if (want->kind == VMCTL_KIND_MAP && key && key->type != VMC_TYPE_ANY)
        diff_map(d, have, want);
    else if (!is_same(have, want) && (have || d->all || !is_untold(d, want)))
        add_change(d, VMCTL_CHANGE_SET, have, want);
}

static bool is_disk(const vmctl_node *node) {
    return node->schema && strcmp(node->schema->path, "disks") == 0;
}

/* The name is settled before, and where a command goes is not a change of the VM. */
static bool is_compared(const struct diffing *d, const vmctl_node *want) {
    static const char *const elsewhere[] = {"backend", "context", "count"};
    if (want->is_default || strcmp(want->key, "name") == 0)
        return want->parent->schema && vmc_schema_is_free(want->parent->schema);
    for (size_t i = 0; !want->parent->parent && !d->all && i < sizeof elsewhere / sizeof *elsewhere; i++) {
        if (strcmp(want->key, elsewhere[i]) == 0)
            return false;
    }
    return true;
}

static void diff_map(struct diffing *d, const vmctl_node *have, const vmctl_node *want) {
    for (size_t i = 0; i < vmctl_node_count(want); i++) {
        const vmctl_node *child = vmctl_node_at(want, i);
        if (is_compared(d, child) && !(is_disk(want) && check_disk_key(d, have, child)))
            diff_node(d, known(vmc_node_child(have, child->key)), child);
    }
}

vmctl_diff *vmc_diff_of(vmctl_change_action action, const char *path, const vmctl_node *node) {
    vmctl_diff *diff = vmc_alloc(sizeof *diff);
    bool gone = action == VMCTL_CHANGE_REMOVE;
    diff->changes = vmc_alloc(sizeof *diff->changes);
    diff->changes[diff->count++] = (vmctl_change){
        .size = sizeof(vmctl_change),
        .action = action,
        .path = vmc_strdup(path),
        .have = gone ? node : NULL,
        .want = gone ? NULL : node,
        .have_text = gone ? vmc_node_line(node) : NULL,
        .want_text = gone ? NULL : vmc_node_line(node),
    };
    return diff;
}

/* The lists of the spec whose items have names. */
static bool has_named_items(const char *list) {
    static const char *const lists[] = {"disks", "networks", "shares", "gpus", "usb"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (strcmp(lists[i], list) == 0)
            return true;
    return false;
}

void vmc_change_place(const vmctl_change *change, char **list, char **name, char **key) {
    const char *first = strchr(change->path, '.'), *last = strrchr(change->path, '.');

    *list = first ? vmc_strndup(change->path, (size_t)(first - change->path)) : vmc_strdup(change->path);
    *name = *key = NULL;
    if (!has_named_items(*list)) { /* a label's key may have dots in it */
        *key = first ? vmc_strdup(first + 1) : NULL;
    } else if (change->action != VMCTL_CHANGE_SET) {
        const vmctl_node *item = change->want ? change->want : change->have;
        *name = vmc_strdup(vmctl_node_string(item, "name", first ? first + 1 : ""));
    } else if (last) {
        *key = vmc_strdup(last + 1);
        *name = last > first ? vmc_strndup(first + 1, (size_t)(last - first - 1)) : NULL;
    }
}

int vmctl_spec_diff(const vmctl_spec *have, const vmctl_spec *want, const vmctl_diff_options *options, vmctl_diff **out,
                    vmctl_error **err) {
    if (!have || !want || !out)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "vmctl_spec_diff needs two specs and a place for the changes");
    if (have->native || want->native)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "a native document cannot be compared with a VM key by key");
    const char *has = vmctl_spec_name(have), *wants = vmctl_spec_name(want);
    if (has && wants && strcmp(has, wants) != 0) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the VM is named \"%s\" and the spec \"%s\"", has, wants);
        vmc_error_next(err, "rename it first: vmctl rename %s %s", has, wants);
        return VMCTL_E_INVALID_ARGUMENT;
    }
    vmctl_diff *diff = vmc_alloc(sizeof *diff);
    diff->have = vmctl_spec_copy(have);
    diff->want = vmctl_spec_copy(want);
    vmc_spec_name_items(diff->have);
    vmc_spec_name_items(diff->want);
    vmctl_diff_options rules = VMCTL_DIFF_OPTIONS_INIT;
    if (options)
        memcpy(&rules, options, options->size < sizeof rules ? options->size : sizeof rules);
    struct diffing d = {.diff = diff, .prune = rules.prune, .all = rules.all, .faults = {.file = diff->want->file}};
    diff_map(&d, diff->have->root, diff->want->root);
    int rc = end_refusals(&d, err);
    if (rc < 0)
        vmctl_diff_free(diff);
    else
        *out = diff;
    return rc;
}

size_t vmctl_diff_count(const vmctl_diff *diff) {
    return diff ? diff->count : 0;
}

const vmctl_change *vmctl_diff_at(const vmctl_diff *diff, size_t index) {
    return diff && index < diff->count ? &diff->changes[index] : NULL;
}

void vmctl_diff_free(vmctl_diff *diff) {
    if (!diff)
        return;
    for (size_t i = 0; i < diff->count; i++) {
        free((char *)diff->changes[i].path);
        free((char *)diff->changes[i].have_text);
        free((char *)diff->changes[i].want_text);
    }
    free(diff->changes);
    vmctl_spec_free(diff->have);
    vmctl_spec_free(diff->want);
    free(diff);
}
