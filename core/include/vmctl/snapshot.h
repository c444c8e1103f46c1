/* vmctl/snapshot.h - snapshots of a VM: a tree, each with or without memory. */
#ifndef VMCTL_SNAPSHOT_H
#define VMCTL_SNAPSHOT_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

typedef enum vmctl_snapshot_memory {
    VMCTL_MEMORY_AUTO = 0, /* what this hypervisor can also revert; the result says what that was */
    VMCTL_MEMORY_WITH = 1,
    VMCTL_MEMORY_WITHOUT = 2
} vmctl_snapshot_memory;

/* Valid during the callback. */
typedef struct vmctl_snapshot {
    size_t size;
    const char *name;
    const char *id;          /* where the hypervisor has one besides the name; NULL */
    const char *parent;      /* NULL: a root */
    const char *description; /* NULL */
    int64_t created;         /* seconds since 1970 UTC; 0 not given */
    vmctl_state state;       /* of the VM when it was taken */
    bool memory;
    bool current;
    int quiesced;                /* 1, 0, -1 not known */
    bool external;               /* disks in overlay files */
    uint64_t bytes;              /* taken on disk; 0 not known */
    const char *const *excluded; /* disks that are not in it, NULL-terminated; NULL: none */
} vmctl_snapshot;

typedef int (*vmctl_snapshot_fn)(const vmctl_snapshot *snapshot, void *user);

typedef struct vmctl_snapshot_create_options {
    size_t size;
    const vmctl_call *call;
    vmctl_snapshot_memory memory;
    bool quiesce; /* file systems frozen through the agent; fails without one */
    const char *description;
    vmctl_snapshot_fn made; /* called once with what was made; NULL */
    void *user;
} vmctl_snapshot_create_options;

#define VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT                                                                             \
    { sizeof(vmctl_snapshot_create_options), NULL, VMCTL_MEMORY_AUTO, false, NULL, NULL, NULL }

VMCTL_API int vmctl_snapshot_create(vmctl_vm *vm, const char *name, const vmctl_snapshot_create_options *options,
                                    vmctl_error **err);
/* Parents before children. */
VMCTL_API int vmctl_snapshot_list(vmctl_vm *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                                  vmctl_error **err);
VMCTL_API int vmctl_snapshot_rename(vmctl_vm *vm, const char *name, const char *new_name, const vmctl_call *call,
                                    vmctl_error **err);

typedef struct vmctl_snapshot_revert_options {
    size_t size;
    const vmctl_call *call;
    bool start;        /* running afterwards, also from a snapshot without memory */
    bool only_stopped; /* a VM that runs is refused (INVALID_STATE), not ended */
    bool
        in_place; /* disks keep their names where a hypervisor would give them new ones (KubeVirt): what is on them now goes before
                      what was on them is there */
} vmctl_snapshot_revert_options;

#define VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT                                                                             \
    { sizeof(vmctl_snapshot_revert_options), NULL, false, false, false }

VMCTL_API int vmctl_snapshot_revert(vmctl_vm *vm, const char *name, const vmctl_snapshot_revert_options *options,
                                    vmctl_error **err);

typedef struct vmctl_snapshot_delete_options {
    size_t size;
    const vmctl_call *call;
    bool children;
} vmctl_snapshot_delete_options;

#define VMCTL_SNAPSHOT_DELETE_OPTIONS_INIT                                                                             \
    { sizeof(vmctl_snapshot_delete_options), NULL, false }

VMCTL_API int vmctl_snapshot_delete(vmctl_vm *vm, const char *name, const vmctl_snapshot_delete_options *options,
                                    vmctl_error **err);

VMCTL_END_DECLS

#endif
