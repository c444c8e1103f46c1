/* vmctl/spec.h - the description of one VM: vm.yaml, the same as JSON, the same from C.
 *
 * A spec is a tree of nodes, checked against one schema. Every key of vm.yaml has one path ("cpus.count",
 * "disks[0].size", "disks.root.size": a list item of that `name`), and YAML, JSON and vmctl_spec_set lead to the same tree.
 * Scalars that stand for a map are normalised (`memory: 2GiB` is memory.size, `cpus: 2` is cpus.count, `firmware:
 * uefi` is firmware.type); sizes are bytes, durations milliseconds, whatever unit was written.
 *
 * Threads: a spec is not changed by reading; several threads may read one. Changing needs it alone.
 */
#ifndef VMCTL_SPEC_H
#define VMCTL_SPEC_H

#include <vmctl/call.h>
#include <vmctl/error.h>

VMCTL_BEGIN_DECLS

typedef struct vmctl_spec vmctl_spec;
typedef struct vmctl_node vmctl_node; /* part of a spec, owned by it; invalid after the spec is changed or freed */

typedef enum vmctl_kind {
    VMCTL_KIND_NULL = 0,
    VMCTL_KIND_BOOLEAN = 1,
    VMCTL_KIND_INTEGER = 2, /* also sizes (bytes) and durations (milliseconds) */
    VMCTL_KIND_STRING = 3,
    VMCTL_KIND_LIST = 4,
    VMCTL_KIND_MAP = 5,
    VMCTL_KIND_NUMBER = 6 /* a fraction; only inside the backends' own sections */
} vmctl_kind;

/* --- making ----------------------------------------------------------------------------------------------- */

typedef struct vmctl_spec_load_options {
    size_t size;
    const char *file_name; /* for messages; NULL: "(input)" */
    const char
        *base_dir; /* what relative paths are relative to; NULL: the folder of file_name, else the working folder */
    /* "KEY=VALUE" texts that are laid over every document, NULL-terminated; NULL: none. As vmctl_spec_set: their relative paths are from the
     * working folder. */
    const char *const *set;
    const char *name; /* overrides `name` (only with one document); NULL: as written */
    bool incomplete;  /* accept a spec without the required keys: for `set` and partial `apply` */
} vmctl_spec_load_options;

#define VMCTL_SPEC_LOAD_OPTIONS_INIT                                                                                   \
    { sizeof(vmctl_spec_load_options), NULL, NULL, NULL, NULL, false }

/* Reads a text of one or several YAML (or JSON) documents. All faults of all documents are in the one error
 * (VMCTL_E_INVALID_SPEC, vmctl_error_fault). *out is a NULL-terminated array of *count specs; free it with
 * vmctl_spec_list_free. `count: N` becomes N specs; a loaded spec has no `count` any more. A native document (a libvirt <domain>, apiVersion:
 * kubevirt.io/...) becomes a spec whose vmctl_spec_native is set. Limits: 16 MiB of input, 1 MiB a scalar, 64
 * levels, 100,000 nodes after aliases are followed, 4096 devices: VMCTL_E_INVALID_SPEC beyond. */
VMCTL_API int vmctl_spec_load(const char *text, size_t length, const vmctl_spec_load_options *options,
                              vmctl_spec ***out, size_t *count, vmctl_error **err);
/* Reads a file; "-" is standard input. */
VMCTL_API int vmctl_spec_load_file(const char *path, const vmctl_spec_load_options *options, vmctl_spec ***out,
                                   size_t *count, vmctl_error **err);
VMCTL_API void vmctl_spec_list_free(vmctl_spec **list);

/* An empty spec; NULL only when memory is exhausted. */
VMCTL_API vmctl_spec *vmctl_spec_new(void);
VMCTL_API vmctl_spec *vmctl_spec_copy(const vmctl_spec *spec);
VMCTL_API void vmctl_spec_free(vmctl_spec *spec);

/* Sets one key from its text, as `--set KEY=VALUE` does: vmctl_spec_set(s, "disks.root.size", "20GiB"). The value is read by
 * the key's type; for a list or map it is YAML ("{name: data, size: 1GiB}"). A list item that does not exist
 * is appended ("disks.root..." names it; "disks[0]" only the next index). value NULL removes the key. "disk.", "nic.",
 * "gpu." and "share." are accepted for "disks.", "networks.", "gpus." and "shares.". A relative path is from the working folder. Of a native
 * document only placement.namespace can be set, where it names none. A failed call changes nothing: VMCTL_E_INVALID_ARGUMENT. */
VMCTL_API int vmctl_spec_set(vmctl_spec *spec, const char *path, const char *value, vmctl_error **err);

/* Checks the whole spec (required keys, references between keys such as boot.order) and reports every fault. */
VMCTL_API int vmctl_spec_validate(const vmctl_spec *spec, vmctl_error **err);

/* --- reading ---------------------------------------------------------------------------------------------- */

VMCTL_API const char *vmctl_spec_name(const vmctl_spec *spec); /* NULL when not set yet */
VMCTL_API const vmctl_node *vmctl_spec_root(const vmctl_spec *spec);

/* The text of a native document and the backend it belongs to; NULL for a vm.yaml. */
VMCTL_API const char *vmctl_spec_native(const vmctl_spec *spec, const char **backend);

/* The namespace where it says that the VM is: placement.namespace, or a native document's own; NULL. */
VMCTL_API const char *vmctl_spec_namespace(const vmctl_spec *spec);

/* The node at a path below `node` ("cpus.count", "disks.root.size", "disks[0]"), NULL when absent. */
VMCTL_API const vmctl_node *vmctl_node_get(const vmctl_node *node, const char *path);
VMCTL_API vmctl_kind vmctl_node_kind(const vmctl_node *node); /* NULL node: VMCTL_KIND_NULL */
/* Children of a list or map, in the order of the document; 0 for anything else and for NULL. */
VMCTL_API size_t vmctl_node_count(const vmctl_node *node);
VMCTL_API const vmctl_node *vmctl_node_at(const vmctl_node *node, size_t index);
VMCTL_API const char *vmctl_node_key(const vmctl_node *node); /* the key in its map; NULL for list items and the root */

/* The value at a path (path NULL: of the node itself); the fallback when absent or of another kind. Sizes in
 * bytes, durations in milliseconds. Strings belong to the spec. Paths of files are absolute. A NUMBER is read as a
 * string, as it was written. */
VMCTL_API const char *vmctl_node_string(const vmctl_node *node, const char *path, const char *fallback);
VMCTL_API int64_t vmctl_node_integer(const vmctl_node *node, const char *path, int64_t fallback);
VMCTL_API bool vmctl_node_boolean(const vmctl_node *node, const char *path, bool fallback);

/* Whether the value was filled in by vmctl rather than written by the person. */
VMCTL_API bool vmctl_node_is_default(const vmctl_node *node);

/* Where it was written: line and column from 1, 0 when it came from C or a default. file may be NULL. */
VMCTL_API void vmctl_node_location(const vmctl_node *node, const char **file, unsigned *line, unsigned *column);

/* The path of the node from the root, "disks.root.size"; the caller frees it with vmctl_string_free. */
VMCTL_API char *vmctl_node_path(const vmctl_node *node);

/* --- writing ---------------------------------------------------------------------------------------------- */

typedef enum vmctl_format { VMCTL_FORMAT_YAML = 0, VMCTL_FORMAT_JSON = 1 } vmctl_format;

/* What the person wrote (with defaults: also what vmctl filled in), in canonical form; read back it gives the
 * same spec. *out is freed with vmctl_string_free. */
VMCTL_API int vmctl_spec_text(const vmctl_spec *spec, vmctl_format format, bool with_defaults, char **out,
                              vmctl_error **err);

/* Frees a string that libvmctl returned as char *. NULL is allowed. */
VMCTL_API void vmctl_string_free(char *string);

/* --- comparing -------------------------------------------------------------------------------------------- */

typedef enum vmctl_change_action {
    VMCTL_CHANGE_ADD = 0,    /* a list item (device) that is not there yet; `want` is the item */
    VMCTL_CHANGE_REMOVE = 1, /* a list item that is not in the wanted list (only with prune); `have` is the item */
    VMCTL_CHANGE_SET = 2     /* one value differs, or is there on one side only */
} vmctl_change_action;

typedef struct vmctl_change {
    size_t size;
    vmctl_change_action action;
    const char *path;       /* "disks.root.size" */
    const vmctl_node *have; /* NULL when absent there; both NULL where native documents were compared */
    const vmctl_node *want;
    const char *have_text; /* for a person, one line: "20GiB"; NULL when absent */
    const char *want_text;
} vmctl_change;

/* The changes that lead from one spec to another. Holds copies of both specs. */
typedef struct vmctl_diff vmctl_diff;

typedef struct vmctl_diff_options {
    size_t size;
    bool prune; /* devices that are not in a given list are removed instead of refused */
    bool all;   /* also what a VM need not tell and apply therefore leaves alone: for keys that were set one by one */
} vmctl_diff_options;

#define VMCTL_DIFF_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_diff_options), false, false }

/* `apply`'s rules: a key that `want` does not have is not managed; a list that it has is complete, matched by
 * `name`; where a VM goes, what only its first boot reads and the sections of hypervisors that it is not on are compared only where
 * `have` has them. What would lose data (a smaller disk, another image) is VMCTL_E_DATA_LOSS_PREVENTED; a device too many without
 * prune is VMCTL_E_CONFLICT. All such refusals are in one error as faults. */
VMCTL_API int vmctl_spec_diff(const vmctl_spec *have, const vmctl_spec *want, const vmctl_diff_options *options,
                              vmctl_diff **out, vmctl_error **err);
VMCTL_API size_t vmctl_diff_count(const vmctl_diff *diff);
VMCTL_API const vmctl_change *vmctl_diff_at(const vmctl_diff *diff, size_t index); /* owned by the diff */
VMCTL_API void vmctl_diff_free(vmctl_diff *diff);

VMCTL_END_DECLS

#endif
