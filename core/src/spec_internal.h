/* src/spec_internal.h - the tree behind vmctl_spec, for core and, where marked, for the backends' modules.
 *
 * A node's schema is its key's row of the table: a list and its items share the list's row (told apart by their kind); what
 * stands below a STRING_MAP or an ANY has none.
 */
#ifndef VMC_SRC_SPEC_INTERNAL_H
#define VMC_SRC_SPEC_INTERNAL_H

#include "base/str.h"
#include "schema.h"
#include <vmctl/spec.h>

enum {
    VMC_SPEC_INPUT_LIMIT = 16 << 20, /* bytes of text, and of all scalars after aliases are followed */
    VMC_SPEC_SCALAR_LIMIT = 1 << 20, /* bytes */
    VMC_SPEC_DEPTH_LIMIT = 64,
    VMC_SPEC_NODE_LIMIT = 100000,
    VMC_SPEC_FAULT_LIMIT = 100 /* faults told of one text */
};

struct vmctl_node {
    vmctl_kind kind;
    bool is_default;
    unsigned line, column; /* 0: not from a text */
    const vmc_key *schema;
    const char *key; /* NULL for list items and the root; owned only where there is no schema */
    vmctl_node *parent;
    vmctl_spec *spec; /* of the root only */
    union {
        bool boolean;
        int64_t integer;
        char *string; /* STRING, and a NUMBER as it was written */
        struct {
            vmctl_node **items;
            size_t count, capacity;
        } children; /* LIST, MAP */
    } value;
};

struct vmctl_spec {
    vmctl_node *root; /* always a MAP */
    char *file;       /* as the caller named it; NULL */
    char *native;
    const char *native_backend; /* static */
    char *native_name;          /* read from the native text; NULL */
    char *native_namespace;     /* the same */
    unsigned line;              /* of the document's first value */
    struct vmc_origin {
        char *path, *url;
    } * origins;
    size_t origin_count;
};

/* --- for the dispatcher and the backends ------------------------------------------------------------------ */

/* Fills in what the person left out, each node marked as default: the schema's fallbacks, cpus.count from the topology, names of list items
 * ("disk0", "cdrom0", "net0", "gpu0", "share0"), and without `networks` the one NIC {name: net0, type: default_network}
 * (NULL: none). Does nothing to a native document, and nothing the second time. */
VMCTL_API int vmc_spec_complete(vmctl_spec *spec, const char *default_network);

/* Remembers what the value at a path was before core replaced it: `image: https://...` that is a fetched file now. The path is as
 * vmctl_node_path writes it or with indexes. NULL url forgets. Backends write it on the VM, so the URL's secrets are left out
 * (vmc_redact_url). */
VMCTL_API void vmc_spec_set_origin(vmctl_spec *spec, const char *path, const char *url);
/* NULL when nothing was remembered. */
VMCTL_API const char *vmc_spec_origin(const vmctl_spec *spec, const char *path);

/* As vmctl_spec_set, without the way through text; bytes and milliseconds. A value of another type than the key's is INVALID_ARGUMENT. */
VMCTL_API int vmc_spec_set_integer(vmctl_spec *spec, const char *path, int64_t value, vmctl_error **err);
VMCTL_API int vmc_spec_set_boolean(vmctl_spec *spec, const char *path, bool value, vmctl_error **err);

/* Same kind, same values, maps in any order. Locations and is_default do not count; with `written` default nodes count as absent. */
VMCTL_API bool vmc_node_equal(const vmctl_node *a, const vmctl_node *b, bool written);

/* --- inside the spec's own files --------------------------------------------------------------------------- */

vmctl_node *vmc_node_new(vmctl_kind kind, const vmc_key *schema);
vmctl_node *vmc_node_new_string(const vmc_key *schema, const char *text);
void vmc_node_free(vmctl_node *node);
vmctl_node *vmc_node_copy(const vmctl_node *node); /* without parent and spec */
/* To a list. Owns the child from now on. */
void vmc_node_append(vmctl_node *parent, vmctl_node *child);
/* Into a map, in the place of an earlier child of that key. key is copied; NULL: the name that the child's schema gives. */
void vmc_node_put(vmctl_node *map, const char *key, vmctl_node *child);
/* The same for a key that the map does not have yet. */
void vmc_node_add_new(vmctl_node *map, const char *key, vmctl_node *child);
void vmc_node_remove(vmctl_node *parent, size_t index);
vmctl_node *vmc_node_child(const vmctl_node *map, const char *key);
/* The child that the text at *path begins with ("[0]", "key", an item's name; the longest that fits), *path moved behind it and its dot. */
vmctl_node *vmc_node_step(const vmctl_node *node, const char **path);
/* For a person, in one line: "20GiB", "{name: data, size: 1GiB}"; cut where it is long. NULL for NULL. */
char *vmc_node_line(const vmctl_node *node);
/* The whole of it as JSON. free */
char *vmc_node_json(const vmctl_node *node);
/* Becomes a path with indexes: "disks[0].size". */
char *vmc_node_index_path(const vmctl_node *node);
/* The item's own `name`; NULL. */
const char *vmc_item_name(const vmctl_node *item);
/* Gives items without a name theirs, as default; names given so before are chosen anew. */
void vmc_spec_name_items(vmctl_spec *spec);

/* As vmctl_spec_set; -1 with *why, which does not name the path. */
int vmc_spec_set_text(vmctl_spec *spec, const char *path, const char *text, char **why);

/* What is wrong in a text; the error sorts it by line. */
typedef struct vmc_fault {
    unsigned line, column;
    char *path;
    char *message;
} vmc_fault;

typedef struct vmc_faults {
    vmc_fault *items;
    size_t count;
    const char *file;
    bool more; /* beyond VMC_SPEC_FAULT_LIMIT */
} vmc_faults;

void vmc_faults_add(vmc_faults *faults, unsigned line, unsigned column, const char *path, const char *format, ...)
    VMCTL_PRINTF(5, 6);
/* At a node: its line and its path. */
void vmc_faults_add_node(vmc_faults *faults, const vmctl_node *node, const char *format, ...) VMCTL_PRINTF(3, 4);
/* 0 without faults; else INVALID_SPEC with all of them, by line. Frees the collection. */
int vmc_faults_end(vmc_faults *faults, vmctl_error **err);

/* One item against the rules of its list, as vmctl_spec_validate: nothing that it needs may be missing. */
int vmc_node_check_rules(const char *list, const vmctl_node *item, vmctl_error **err);
/* The cross-checks; `incomplete`: without the required keys. */
void vmc_spec_rules(const vmctl_spec *spec, bool incomplete, vmc_faults *faults);

#endif
