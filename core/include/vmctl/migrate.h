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
    const char *what; /* "cpu-model", "cdrom", "host-device", "network", "pool", "same-host", ... */
    const char *reason;
    const char *remedy; /* NULL */
} vmctl_obstacle;

typedef struct vmctl_migrate_options {
    size_t size;
    const vmctl_call *call;
    vmctl_migrate_mode mode;
    bool storage; /* copy the disks too */
    bool tunnelled;
    bool postcopy;
    bool auto_converge;
    uint64_t bandwidth_bytes;                                    /* per second; 0: the hypervisor's default */
    bool dry_run;                                                /* preflight only */
    int (*obstacle)(const vmctl_obstacle *obstacle, void *user); /* each finding of the preflight; NULL */
    void *user;
} vmctl_migrate_options;

#define VMCTL_MIGRATE_OPTIONS_INIT                                                                                     \
    { sizeof(vmctl_migrate_options), NULL, VMCTL_MIGRATE_AUTO, false, false, false, false, 0, false, NULL, NULL }

/* To another connection of the same backend, or (target NULL) to `host` of this one. The source is untouched until the target has it: a failure or cancel
 * leaves it as it was. */
VMCTL_API int vmctl_vm_migrate(vmctl_vm *vm, vmctl_connection *target, const char *host,
                               const vmctl_migrate_options *options, vmctl_error **err);

/* Stops a migration that another caller began; the VM goes on at the source. */
VMCTL_API int vmctl_vm_migrate_abort(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);

VMCTL_END_DECLS

#endif
