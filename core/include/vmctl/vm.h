/* vmctl/vm.h - virtual machines: finding them, their facts, and their life.
 *
 * A VM handle is found once (vmctl_vm_lookup, vmctl_create) and then operated on. It keeps its connection alive and
 * may be used by as many threads as the connection allows. All options may be NULL (defaults). Every function
 * may return, besides what it names: INVALID_ARGUMENT, UNSUPPORTED, UNAVAILABLE, PERMISSION_DENIED, TIMEOUT, CANCELLED, INTERNAL.
 */
#ifndef VMCTL_VM_H
#define VMCTL_VM_H

#include <vmctl/connection.h>
#include <vmctl/spec.h>

VMCTL_BEGIN_DECLS

typedef struct vmctl_vm vmctl_vm;

typedef enum vmctl_state {
    VMCTL_STATE_UNKNOWN = 0,
    VMCTL_STATE_STOPPED = 1,
    VMCTL_STATE_STARTING = 2,
    VMCTL_STATE_RUNNING = 3,
    VMCTL_STATE_PAUSED = 4,
    VMCTL_STATE_STOPPING = 5,
    VMCTL_STATE_SAVED = 6, /* stopped, with its memory kept on disk */
    VMCTL_STATE_MIGRATING = 7,
    VMCTL_STATE_CRASHED = 8
} vmctl_state;

VMCTL_API const char *vmctl_state_name(vmctl_state state); /* "running"; "unknown" for a number that is no state */
VMCTL_API int vmctl_state_from_name(const char *name, vmctl_state *out); /* VMCTL_E_INVALID_ARGUMENT */

/* Groups of facts. A backend answers the wanted groups in as few calls as its hypervisor has. */
enum {
    VMCTL_FACT_STATE = 1u << 0,     /* state, state_reason, host */
    VMCTL_FACT_RESOURCES = 1u << 1, /* cpus, memory_mib */
    VMCTL_FACT_ADDRESSES = 1u << 2, /* addresses: may cost a call per VM */
    VMCTL_FACT_SNAPSHOTS = 1u << 3, /* snapshot_count: may cost a call per VM */
    VMCTL_FACT_GPUS = 1u << 4,      /* gpus: may cost a call per VM */
    VMCTL_FACT_MARKER = 1u << 5, /* owner, run, created, expires, origin, labels, description: may cost a call per VM */
    VMCTL_FACT_DEVICES = 1u << 6, /* devices: may cost several calls per VM */
    VMCTL_FACT_CONFIG = 1u << 7,  /* arch, machine, firmware, accel, autostart, uptime, agent */
    VMCTL_FACT_GUEST = 1u << 8,   /* guest: what its agent says, at a call or more; a list never has it */
    VMCTL_FACT_POLICY = 1u << 9   /* migration_policy, at a call; only who asks for it by name has it */
};
#define VMCTL_FACTS_LIST (VMCTL_FACT_STATE | VMCTL_FACT_RESOURCES)
#define VMCTL_FACTS_ALL  0x1ffu /* but POLICY */

typedef struct vmctl_address {
    size_t size;
    const char *ip;     /* without prefix length */
    const char *mac;    /* lower case, colons; NULL when not given */
    const char *source; /* "agent", "lease", "arp", "tools" */
    const char *device; /* the NIC's name in the spec; NULL when not known */
    bool inside; /* of a cluster's own network, which this machine is not taken to reach: by vmctl_guest_forward */
} vmctl_address;

typedef struct vmctl_guest_filesystem {
    size_t size;
    const char *mount;    /* "/", "C:\\" */
    const char *type;     /* "ext4" */
    const char *device;   /* the guest's name for it, "vda1"; NULL when not known */
    uint64_t total_bytes; /* 0: not told */
    uint64_t used_bytes;
} vmctl_guest_filesystem;

typedef struct vmctl_guest_user {
    size_t size;
    const char *name;
    const char *domain; /* of Windows; NULL */
    int64_t since;      /* the login, seconds since 1970 UTC; 0: not told */
} vmctl_guest_user;

/* What the agent in the guest says of the system that it runs in: the guest's own words. NULL for each that it does not say. */
typedef struct vmctl_guest {
    size_t size;
    const char *os_id;      /* "debian" */
    const char *os_name;    /* "Debian GNU/Linux" */
    const char *os_version; /* "12" */
    const char *os_title;   /* "Debian GNU/Linux 12 (bookworm)" */
    const char *kernel;     /* "6.1.0-28-amd64" */
    const char *arch;       /* "x86_64" */
    const char *hostname;
    const char *timezone; /* "UTC" */
    const char *agent_version;
    const vmctl_guest_filesystem *filesystems;
    size_t filesystem_count;
    const vmctl_guest_user *users; /* who is logged in */
    size_t user_count;
} vmctl_guest;

typedef struct vmctl_label {
    const char *key;
    const char *value;
} vmctl_label;

typedef struct vmctl_device vmctl_device; /* device.h */

typedef struct vmctl_gpu_ref {
    size_t size;
    const char *name;    /* as in the spec's gpus: */
    const char *address; /* "0000:65:00.0"; NULL where the hypervisor names a resource instead */
    const char *model;   /* vendor:device ids, profile or resource name */
} vmctl_gpu_ref;

/* The facts of one VM. Made by the library, valid during the callback that gets it (or until vmctl_vm_info_free). A
 * string that is NULL, a number whose group is not in `present`, were not asked for or not given by the hypervisor. */
typedef struct vmctl_vm_info {
    size_t size;
    unsigned present; /* VMCTL_FACT_* that were answered */
    const char *name;
    const char *id; /* libvirt and VirtualBox UUID, vSphere instanceUuid, Kubernetes uid */
    const char *backend;
    const char *context;
    const char *namespace_name;
    const char *folder;
    /* STATE */
    vmctl_state state;
    const char *state_reason; /* "shut off by the guest", "ErrorUnschedulable: ..." */
    const char *host;
    /* RESOURCES */
    unsigned cpus;
    uint64_t memory_mib;
    /* ADDRESSES */
    const vmctl_address *addresses;
    size_t address_count;
    /* SNAPSHOTS */
    unsigned snapshot_count;
    /* GPUS */
    const vmctl_gpu_ref *gpus;
    size_t gpu_count;
    /* MARKER; times are seconds since 1970 UTC, 0 when absent */
    bool managed; /* made by vmctl */
    const char *owner;
    const char *run;
    int64_t created;
    int64_t expires;
    const char *description;
    const vmctl_label *labels;
    size_t label_count;
    /* DEVICES */
    const vmctl_device *devices;
    size_t device_count;
    /* CONFIG */
    const char *arch;
    const char *machine;
    const char *firmware;   /* "bios", "uefi" */
    const char *accel;      /* "kvm", "tcg"; NULL where the platform has no choice */
    int autostart;          /* 1, 0, -1 not known */
    int agent_connected;    /* 1, 0, -1 not known */
    int64_t uptime_seconds; /* -1 not known */
    int restart_required;   /* 1: changes wait for a restart, 0: none, -1: not known */
    /* GUEST */
    const vmctl_guest *guest; /* NULL: no agent says anything */
    /* POLICY */
    const char *
        migration_policy; /* of the platform's rules for migrations the one that it would go by, and what that says; NULL: none */
} vmctl_vm_info;

/* Non-zero stops the listing; the listing then returns 0. */
typedef int (*vmctl_vm_info_fn)(const vmctl_vm_info *info, void *user);

typedef struct vmctl_list_options {
    size_t size;
    const vmctl_call *call;
    unsigned facts;             /* VMCTL_FACT_*; 0: VMCTL_FACTS_LIST */
    const char *namespace_name; /* NULL: the endpoint's default; "*": all */
    const char *folder;         /* NULL: all */
    const char *name;           /* only this name; NULL: all */
    const char *owner;          /* only VMs whose marker says so; NULL: all */
    const vmctl_label *labels;  /* all of them must match; implies the marker */
    size_t label_count;
    unsigned states; /* bit 1 << vmctl_state for each wanted; 0: all */
} vmctl_list_options;

#define VMCTL_LIST_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_list_options), NULL, 0, NULL, NULL, NULL, NULL, NULL, 0, 0 }

/* Calls `each` once per VM, in the order the hypervisor gives them, while they arrive. */
VMCTL_API int vmctl_list(vmctl_connection *connection, const vmctl_list_options *options, vmctl_vm_info_fn each,
                         void *user, vmctl_error **err);

typedef struct vmctl_lookup_options {
    size_t size;
    const vmctl_call *call;
    const char *namespace_name;
    const char *folder;
    bool
        lazy; /* it is going to be started: where a name is enough to address it, start finds out whether it is there (NOT_FOUND). The
                  id may be NULL until then, and the handle is one thread's until then */
} vmctl_lookup_options;

#define VMCTL_LOOKUP_OPTIONS_INIT                                                                                      \
    { sizeof(vmctl_lookup_options), NULL, NULL, NULL, false }

/* By name or by id. VMCTL_E_NOT_FOUND (names what is close), VMCTL_E_AMBIGUOUS (lists the candidates). */
VMCTL_API int vmctl_vm_lookup(vmctl_connection *connection, const char *name_or_id, const vmctl_lookup_options *options,
                              vmctl_vm **out, vmctl_error **err);
VMCTL_API void vmctl_vm_free(vmctl_vm *vm);
VMCTL_API const char *vmctl_vm_name(const vmctl_vm *vm);
VMCTL_API const char *vmctl_vm_id(const vmctl_vm *vm);               /* NULL: not known yet (lookup's `lazy`) */
VMCTL_API vmctl_connection *vmctl_vm_connection(const vmctl_vm *vm); /* borrowed */

typedef struct vmctl_get_options {
    size_t size;
    const vmctl_call *call;
    unsigned facts; /* 0: VMCTL_FACTS_ALL */
} vmctl_get_options;

#define VMCTL_GET_OPTIONS_INIT                                                                                         \
    { sizeof(vmctl_get_options), NULL, 0 }

/* Calls `each` once. */
VMCTL_API int vmctl_vm_get(vmctl_vm *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                           vmctl_error **err);

/* The VM as a spec (a vm.yaml that `apply` would find nothing to change in). *out: vmctl_spec_free. */
VMCTL_API int vmctl_vm_spec(vmctl_vm *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err);

/* The hypervisor's own document: domain XML, .vbox settings, JSON of the managed object, the manifest. vmctl_string_free. */
VMCTL_API int vmctl_vm_native(vmctl_vm *vm, const vmctl_call *call, char **out, vmctl_error **err);

/* What create would send, as the hypervisor's own document or as the command lines that would run. Nothing is sent.
 * vmctl_string_free. */
VMCTL_API int vmctl_render(vmctl_connection *connection, const vmctl_spec *spec, const vmctl_call *call, char **out,
                           vmctl_error **err);

/* --- making and removing ---------------------------------------------------------------------------------- */

typedef struct vmctl_create_options {
    size_t size;
    const vmctl_call *call;     /* default deadline: none (images are large); cancel undoes */
    bool start;                 /* start it once it is made; a failed start undoes the create */
    bool dry_run;               /* check all that can be checked, make nothing; *out stays NULL */
    bool strict;                /* refuse what would be ignored with a warning */
    const char *owner;          /* NULL: VMCTL_OWNER, else user@host */
    const char *run;            /* the run that it belongs to; NULL: VMCTL_RUN, else none */
    const char *image_checksum; /* "sha256:..." of the one image by URL; NULL: not checked */
} vmctl_create_options;

#define VMCTL_CREATE_OPTIONS_INIT                                                                                      \
    { sizeof(vmctl_create_options), NULL, false, false, false, NULL, NULL, NULL }

/* All or nothing: what a failed or cancelled create made is removed again, or named in the error if that fails. A process that is killed leaves a
 * journal, and the next changing call on that endpoint undoes it. out may be NULL. VMCTL_E_ALREADY_EXISTS, INVALID_SPEC,
 * RESOURCE_EXHAUSTED, NOT_FOUND (an image or network). */
VMCTL_API int vmctl_create(vmctl_connection *connection, const vmctl_spec *spec, const vmctl_create_options *options,
                           vmctl_vm **out, vmctl_error **err);

typedef enum vmctl_delete_disks {
    VMCTL_DELETE_OWN_DISKS = 0, /* the disks that vmctl made for this VM */
    VMCTL_DELETE_ALL_DISKS = 1, /* also others, except those that another VM uses */
    VMCTL_DELETE_KEEP_DISKS = 2
} vmctl_delete_disks;

typedef struct vmctl_delete_options {
    size_t size;
    const vmctl_call *call;
    bool force; /* also when it runs: it is powered off first */
    vmctl_delete_disks disks;
    void (*removed)(const char *what, const char *name,
                    void *user); /* "disk", its path: called for each thing removed; NULL */
    void *user;
} vmctl_delete_options;

#define VMCTL_DELETE_OPTIONS_INIT                                                                                      \
    { sizeof(vmctl_delete_options), NULL, false, VMCTL_DELETE_OWN_DISKS, NULL, NULL }

/* VMCTL_E_INVALID_STATE when it runs and force is not set. The handle stays valid for its name only. */
VMCTL_API int vmctl_vm_delete(vmctl_vm *vm, const vmctl_delete_options *options, vmctl_error **err);

/* --- life ------------------------------------------------------------------------------------------------- */

typedef struct vmctl_start_options {
    size_t size;
    const vmctl_call *call;
    bool paused;  /* created, not yet running */
    bool discard; /* throw a saved memory away and boot */
} vmctl_start_options;

#define VMCTL_START_OPTIONS_INIT                                                                                       \
    { sizeof(vmctl_start_options), NULL, false, false }

/* A saved VM is resumed from its memory. A running one: 0, with a note. */
VMCTL_API int vmctl_vm_start(vmctl_vm *vm, const vmctl_start_options *options, vmctl_error **err);

typedef struct vmctl_stop_options {
    size_t size;
    const vmctl_call *call; /* its deadline bounds the whole stop */
    bool force;             /* power off at once */
    int64_t grace_ms;       /* how long the guest may take before it is powered off; 0: 60 s; -1: never powered off */
    bool no_wait;           /* ask the guest and return; it is not powered off later. Not for restart */
} vmctl_stop_options;

#define VMCTL_STOP_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_stop_options), NULL, false, 0, false }

/* Asks the guest (agent, then ACPI), waits for it by the hypervisor's notification, and powers off after the grace, saying so in a note. A
 * stopped one: 0, with a note. With grace -1: VMCTL_E_TIMEOUT when the guest does not stop. */
VMCTL_API int vmctl_vm_stop(vmctl_vm *vm, const vmctl_stop_options *options, vmctl_error **err);

/* Stop with the same rules, then start: a new hypervisor process that takes up pending changes. */
VMCTL_API int vmctl_vm_restart(vmctl_vm *vm, const vmctl_stop_options *options, vmctl_error **err);

/* Asks the guest (agent, then ACPI) to reboot, and returns when it was asked. The hypervisor's process stays: what waits for a restart goes on
 * waiting. VMCTL_E_INVALID_STATE when it does not run. */
VMCTL_API int vmctl_vm_reboot(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);

/* The reset button. */
VMCTL_API int vmctl_vm_reset(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);
VMCTL_API int vmctl_vm_pause(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);
VMCTL_API int vmctl_vm_resume(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);
/* Memory to disk, then stopped: state saved. */
VMCTL_API int vmctl_vm_save(vmctl_vm *vm, const vmctl_call *call, vmctl_error **err);
/* The memory of a VM that runs or is paused into a file of this machine, for crash, gdb or Volatility: an ELF core file that only its owner can read. It
 * appears whole or not at all; ALREADY_EXISTS. INVALID_STATE: it does not run. The guest stands still meanwhile where the hypervisor needs that, and goes
 * on as it was. Default deadline: none. */
VMCTL_API int vmctl_vm_dump(vmctl_vm *vm, const char *path, const vmctl_call *call, vmctl_error **err);
/* The handle has the new name afterwards. VMCTL_E_ALREADY_EXISTS. */
VMCTL_API int vmctl_vm_rename(vmctl_vm *vm, const char *new_name, const vmctl_call *call, vmctl_error **err);

typedef struct vmctl_clone_options {
    size_t size;
    const vmctl_call *call;
    bool linked;
    const char *snapshot; /* from this snapshot; NULL: the present state */
} vmctl_clone_options;

#define VMCTL_CLONE_OPTIONS_INIT                                                                                       \
    { sizeof(vmctl_clone_options), NULL, false, NULL }

/* New MACs, UUID, variable store and cloud-init instance id. out may be NULL. */
VMCTL_API int vmctl_vm_clone(vmctl_vm *vm, const char *name, const vmctl_clone_options *options, vmctl_vm **out,
                             vmctl_error **err);

/* --- changing --------------------------------------------------------------------------------------------- */

typedef enum vmctl_effect {
    VMCTL_EFFECT_NOW = 0,       /* in force (and kept for the next start) */
    VMCTL_EFFECT_AT_RESTART = 1 /* kept; in force after a restart */
} vmctl_effect;

typedef struct vmctl_change_options {
    size_t size;
    const vmctl_call *call;
    bool live;    /* every change must be in force now, else VMCTL_E_INVALID_STATE before anything is changed */
    bool dry_run; /* report the effects, change nothing */
    void (*changed)(const vmctl_change *change, vmctl_effect effect, void *user); /* each change, once; NULL */
    void *user;
} vmctl_change_options;

#define VMCTL_CHANGE_OPTIONS_INIT                                                                                      \
    { sizeof(vmctl_change_options), NULL, false, false, NULL, NULL }

/* Makes the changes of a diff (vmctl_spec_diff of vmctl_vm_spec and the wanted spec), all or none. */
VMCTL_API int vmctl_vm_change(vmctl_vm *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                              vmctl_error **err);

typedef struct vmctl_apply_options {
    size_t size;
    const vmctl_call *call;
    bool prune;
    bool dry_run;
    bool live;
    void (*changed)(const vmctl_change *change, vmctl_effect effect, void *user);
    void *user;
    bool
        take_over; /* of a native document: fields that others have set otherwise are set all the same, else CONFLICT */
} vmctl_apply_options;

#define VMCTL_APPLY_OPTIONS_INIT                                                                                       \
    { sizeof(vmctl_apply_options), NULL, false, false, false, NULL, NULL, false }

/* Creates the VM (not started) when there is none of that name, else changes what differs. *created may be NULL. */
VMCTL_API int vmctl_apply(vmctl_connection *connection, const vmctl_spec *spec, const vmctl_apply_options *options,
                          bool *created, vmctl_error **err);

/* --- waiting ---------------------------------------------------------------------------------------------- */

typedef struct vmctl_wait_options {
    size_t size;
    const vmctl_call *call; /* default deadline: 10 minutes; progress names the stage it is in */
    const char *user;     /* for "ssh" and "cloud-init" over ssh; NULL: the spec's cloudInit.user, else the person's */
    const char *identity; /* ssh key file; NULL: ssh's own choice */
} vmctl_wait_options;

#define VMCTL_WAIT_OPTIONS_INIT                                                                                        \
    { sizeof(vmctl_wait_options), NULL, NULL, NULL }

/* Waits for a stage: "running", "stopped", "deleted", "agent", "address", "port:N", "ssh", "cloud-init". Driven by the hypervisor's
 * notifications. Fails at once with VMCTL_E_INVALID_STATE when the stage cannot come any more (the VM stopped or crashed
 * while its address is waited for) and with VMCTL_E_TIMEOUT naming the stage that was reached. */
VMCTL_API int vmctl_vm_wait(vmctl_vm *vm, const char *stage, const vmctl_wait_options *options, vmctl_error **err);

VMCTL_END_DECLS

#endif
