/* vmctl/migrate.h - moving a VM to another host of its platform, live or not. */
#ifndef VMCTL_MIGRATE_H
#define VMCTL_MIGRATE_H

#include <vmctl/vm.h>

VMCTL_BEGIN_DECLS

typedef enum vmctl_migrate_mode {
    VMCTL_MIGRATE_AUTO = 0, /* live when it runs, offline when it does not */
    VMCTL_MIGRATE_LIVE = 1,
    VMCTL_MIGRATE_OFFLINE = 2
} vmctl_migrate_mode;

/* One thing that stands in the way of, or is worth knowing before, a migration. Valid during the callback. */
typedef struct vmctl_obstacle {
    size_t size;
    bool fatal;
    /* "cpu-model", "machine", "kvm", "emulator", "firmware", "version", "same-host", "name", "uuid", "memory", "network", "pool", "disk",
     * "cdrom", "kernel", "initrd", "nvram", "tpm", "share", "host-device", "shared-memory", "serial-log", "saved", "snapshots", "checkpoints",
     * "tunnelled", "policy" (by what the platform would migrate it), ... */
    const char *what;
    const char *reason;
    const char *remedy; /* NULL */
} vmctl_obstacle;

typedef struct vmctl_migrate_options {
    size_t size;
    const vmctl_call *call;
    vmctl_migrate_mode mode;
    bool storage;   /* copy the disks too; those at the source stay there as copies */
    bool tunnelled; /* through the connection of the two daemons; not with storage */
    bool
        postcopy; /* go on at the target after the first round, and fetch the rest of the memory then; cannot be stopped from there on */
    bool auto_converge;       /* slow a guest down that dirties memory faster than it can be sent */
    bool unsafe;              /* both hosts have the disks, though it cannot be seen */
    uint64_t bandwidth_bytes; /* per second; 0: the hypervisor's default */
    const char *
        migrate_uri; /* where the target's hypervisor listens: "tcp://10.0.0.2", "unix:///dir/sock"; NULL: its own choice */
    bool dry_run; /* preflight only */
    int (*obstacle)(const vmctl_obstacle *obstacle,
                    void *user); /* each finding of the preflight; NULL. Non-zero cancels */
    void *user;
} vmctl_migrate_options;

#define VMCTL_MIGRATE_OPTIONS_INIT                                                                                     \
    {                                                                                                                  \
        sizeof(vmctl_migrate_options), NULL, VMCTL_MIGRATE_AUTO, false, false, false, false, false, 0, NULL, false,    \
            NULL, NULL                                                                                                 \
    }

/* To another connection of the same backend, or (target NULL) to `host` of this one (KubeVirt: a node; "": whichever the platform chooses). First all obstacles are looked for; a fatal one fails with
 * its own code (dry_run too) and nothing is touched. The source is untouched until the target has the VM: a failure, a cancel or the deadline leaves it
 * as it was, running when it ran. Afterwards the definition is the target's alone, with marker and autostart as they were, and `vm` names nothing
 * any more: look it up on the target. A VM that runs keeps running; one that is stopped moves with its definition.
 * BUSY: it is being migrated already. A VM that is moved while the call is killed is settled by the next change on either of the two. */
VMCTL_API int vmctl_vm_migrate(vmctl_vm *vm, vmctl_connection *target, const char *host,
                               const vmctl_migrate_options *options, vmctl_error **err);

/* Stops a migration that another caller began, and waits until it has stopped; the VM goes on at the source. INVALID_STATE: there is none, or it is
 * in post-copy. */
VMCTL_API int vmctl_vm_migrate_abort(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);

VMCTL_END_DECLS

#endif
