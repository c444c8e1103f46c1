/* vmctl/backend.h - for authors of backends: the descriptor, the table of operations, the module's entry.
 *
 * A backend is constant data that is always linked in (the descriptor) and a table of operations in a module that is opened on
 * first use (vmctl-NAME.so: VMCTL_BACKEND_DIR unless AT_SECURE, then vmctl/ beside libvmctl.so). A slot
 * that is NULL is unsupported; the dispatcher says so with the descriptor's reason before anything is touched. There
 * are no stubs. A test holds the descriptor and the table against each other in both directions.
 *
 * What a backend may rely on: arguments are checked (names not empty, options not NULL, spec validated, complete with
 * defaults, and only with keys that the descriptor lists); `options->call` is never NULL. What it must do: honour
 * call->timeout_ms and call->cancel; fill err with code, message and the hypervisor's words (action, VM and endpoint are
 * added by the dispatcher); call back in the caller's thread only; hold no lock during a callback.
 */
#ifndef VMCTL_BACKEND_H
#define VMCTL_BACKEND_H

#include <vmctl/vmctl.h>

VMCTL_BEGIN_DECLS

#define VMCTL_BACKEND_ABI 1u

/* Every slot of the table, by name. From this list come the slot numbers, the check of descriptor against table, and `caps`. */
/* clang-format off */
#define VMCTL_SLOTS(X) \
    X(open) X(close) X(undo) \
    X(list) X(lookup) X(release) X(get) X(spec) X(native) X(render) \
    X(create) X(remove) X(change) X(change_native) \
    X(start) X(stop) X(restart) X(reboot) X(reset) X(pause) X(resume) X(save) X(rename) X(clone) \
    X(snapshot_create) X(snapshot_list) X(snapshot_rename) X(snapshot_revert) X(snapshot_delete) \
    X(device_attach) X(device_detach) X(cdrom_change) X(gpu_list) X(gpu_prepare) \
    X(migrate) X(migrate_abort) \
    X(events) X(console_open) X(serial_log) X(display_list) X(screenshot) X(send_keys) \
    X(guest_exec) X(guest_copy_in) X(guest_copy_out) X(guest_freeze) X(guest_thaw) X(guest_set_password) X(guest_forward) X(dump) \
    X(host_info) X(host_list) X(pool_list) X(network_list) X(metrics_list) \
    X(image_list) X(image_upload) X(image_download) X(image_delete) X(export_ova) X(import_ova) X(probe)
/* clang-format on */

typedef enum vmctl_slot {
#define VMCTL_SLOT_ENUM(name) VMCTL_SLOT_##name,
    VMCTL_SLOTS(VMCTL_SLOT_ENUM)
#undef VMCTL_SLOT_ENUM
        VMCTL_SLOT_COUNT
} vmctl_slot;

/* --- the descriptor: data only -------------------------------------------------------------------------- */

/* What the backend does with one slot, or with one feature within a slot ("snapshot.memory"; NULL: the slot as a
 * whole). */
typedef struct vmctl_slot_claim {
    vmctl_slot slot;
    const char *feature;
    vmctl_level level;  /* NO: why not; a slot that is not listed at all is NO without a reason */
    vmctl_proof proof;  /* not NONE where the level is above NO */
    const char *reason; /* for every level but YES */
} vmctl_slot_claim;

/* What the backend does with one key of vm.yaml: "disks[].bus". A key that is not listed is refused. */
typedef struct vmctl_key_claim {
    const char *key;
    vmctl_level level;         /* NO: listed only for its reason */
    const char *const *values; /* those that it takes, NULL-terminated; NULL: all that the schema allows */
    const char *reason;        /* for every level but YES, and for values that are left out */
} vmctl_key_claim;

enum {
    VMCTL_SOURCE_FILE = 1u << 0,     /* image: a file of this machine */
    VMCTL_SOURCE_URL = 1u << 1,      /* fetched by the hypervisor itself; without it core fetches first */
    VMCTL_SOURCE_LIBRARY = 1u << 2,  /* an item of the endpoint's image library */
    VMCTL_SOURCE_CONTAINER = 1u << 3 /* a container disk */
};

typedef struct vmctl_backend_descriptor {
    size_t size;
    const char *name;           /* "libvirt" */
    const char *title;          /* "QEMU/KVM (libvirt)" */
    const char *platform;       /* its column of the comparison: "QEMU/KVM" */
    const char *const *aliases; /* NULL-terminated */
    const char *const *schemes; /* "qemu": also matches "qemu+ssh" */
    const char *default_uri;    /* for messages: "qemu:///system" */
    const char *package;        /* what to install when the module or its library is missing */
    /* NULL-terminated; NULL: none. Large libraries that the module's libraries bring anyway, opened before it: each symbol is then
     * looked up among few libraries and not among all (ld.so(8)). */
    const char *const *first;
    const char *default_network;   /* the type of the one NIC of a spec without networks: "nat", "pod" */
    unsigned image_sources;        /* VMCTL_SOURCE_* */
    const vmctl_slot_claim *slots; /* ended by slot_count */
    size_t slot_count;
    const vmctl_key_claim *keys;
    size_t key_count;
} vmctl_backend_descriptor;

/* --- the operations --------------------------------------------------------------------------------------- */

typedef struct vmc_journal vmc_journal; /* base/journal.h */

typedef struct vmctl_endpoint {
    size_t size;
    const vmctl_call *call;
    const char *uri;              /* NULL: find one as the hypervisor's users are used to */
    const vmctl_context *context; /* NULL */
    /* The password as the context or environment gives it; the receiver wipes and frees it. */
    int (*password)(void *user, char **out, vmctl_error **err);
    void *password_user;
} vmctl_endpoint;

/* What open tells; the strings are malloc'ed and become the dispatcher's. */
typedef struct vmctl_opened {
    size_t size;
    char *uri;        /* canonical, without secrets: identifies the endpoint, also in the journal */
    char *reason;     /* why this one, when uri was NULL; else NULL */
    unsigned threads; /* 0: any number at once */
} vmctl_opened;

/* What lookup, create and rename tell; malloc'ed, become the dispatcher's. */
typedef struct vmctl_identity {
    size_t size;
    char *name;
    char *id;
    char *namespace_name; /* NULL */
    char *folder;         /* NULL */
} vmctl_identity;

/* Written on every VM that vmctl makes. */
typedef struct vmctl_marker {
    size_t size;
    const char *version; /* vmctl's */
    const char *owner;
    const char *run; /* NULL */
    int64_t created; /* seconds since 1970 UTC */
    int64_t expires; /* 0: never */
} vmctl_marker;

/* Where a value of the spec came from, when core replaced it: the URL of an image that is a fetched file by now. `path` as "disks[0].image".
 * NULL: it stands as it was written. */
VMCTL_API const char *vmc_spec_origin(const vmctl_spec *spec, const char *path);
VMCTL_API void vmc_spec_set_origin(vmctl_spec *spec, const char *path, const char *url);

/* A spec that a backend made itself (of an OVA), as create wants it: validated, held against what that backend claims, with the defaults
 * filled in. *out: vmctl_spec_free. */
VMCTL_API int vmc_spec_ready(const char *backend, const vmctl_spec *spec, const vmctl_call *call, vmctl_spec **out,
                             vmctl_error **err);

/* A native document that is YAML or JSON (vmctl_spec_native) as JSON: aliases followed, maps merged, all fields kept. *out: free. INVALID_SPEC. */
VMCTL_API int vmc_spec_native_json(const vmctl_spec *spec, char **out, vmctl_error **err);

/* What a probe found about one feature. Strings are valid during the callback. */
typedef struct vmctl_here {
    size_t size;
    const char *feature;
    vmctl_level level;
    const char *reason; /* for every level but YES; the words of the refusal, where an operation would be refused */
    const char *remedy; /* NULL */
} vmctl_here;

typedef int (*vmctl_here_fn)(const vmctl_here *here, void *user);

/* A diff of one change, as a backend's `change` takes it: node is the item that is added or removed, or what the key is set to; it must outlive
 * the diff. path: "disks.data", "disks.cd.cdrom". Never NULL; vmctl_diff_free. */
VMCTL_API vmctl_diff *vmc_diff_of(vmctl_change_action action, const char *path, const vmctl_node *node);
/* Where a change is: "disks.root.size" is list "disks", name "root", key "size"; "memory.size" list "memory", key "size"; "labels.a.b" list "labels",
 * key "a.b"; an item that is added or removed has a name and no key. Each NULL where there is none, but list; free. */
VMCTL_API void vmc_change_place(const vmctl_change *change, char **list, char **name, char **key);

/* An error about one key of the spec. VMCTL_E_INVALID_SPEC becomes a fault at the node's place; any other code keeps the sentence and
 * ends with "(vm.yaml:7:12, disks.root.image)". node NULL: it is about an argument, which has no place (VMCTL_E_INVALID_SPEC becomes
 * INVALID_ARGUMENT). Returns the code. */
VMCTL_API int vmc_refuse(vmctl_error **err, int code, const vmctl_node *node, const char *format, ...)
    VMCTL_PRINTF(4, 5);

/* The texts of cloud-init's NoCloud seed, from the spec's cloudInit:. Source: cloud-init's manual, "NoCloud" and its user-data formats. */
typedef struct vmc_seed {
    char *meta_data;
    char *user_data;
    char *network_config; /* NULL: cloud-init asks DHCP on the first card by itself */
} vmc_seed;

/* `id` is the VM's: the instance id comes from it, so that a new VM is a first boot and a restarted one is not. The person's own userData
 * and networkData are passed on byte for byte; where a user or keys are given besides, both go into one multi-part message. Reads the
 * files that the spec names (at most 1 MiB each): NOT_FOUND, INVALID_SPEC (a private key). */
VMCTL_API int vmc_seed_texts(const vmctl_spec *spec, const char *id, vmc_seed *out, vmctl_error **err);
/* The same seed for a copy of the VM: a new instance id and host name, and the cards' addresses (pairs: before, after; count of pairs) in
 * what vmctl wrote of the network. *told: one sentence when a host name in the person's own user-data stays; NULL. free */
VMCTL_API void vmc_seed_for_clone(vmc_seed *seed, const char *id, const char *hostname, const char *const *macs,
                                  size_t mac_count, char **told);
VMCTL_API void vmc_seed_free(vmc_seed *seed);

typedef struct vmctl_backend_ops {
    size_t size;
    uint32_t abi; /* VMCTL_BACKEND_ABI */

    /* Opens an endpoint; *conn is the backend's own. */
    int (*open)(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err);
    void (*close)(void *conn);
    /* Removes one thing that a dead process had noted in its journal before it made it; a thing that is not there is success. */
    int (*undo)(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err);

    int (*list)(void *conn, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user, vmctl_error **err);
    /* Finds a VM by name or id; *vm is the backend's own handle. options->lazy allows a handle that nobody has asked for yet, with an
     * identity without id; `get` of it without a fact tells the id once `start` has succeeded. */
    int (*lookup)(void *conn, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                  vmctl_identity *identity, vmctl_error **err);
    void (*release)(void *conn, void *vm);
    int (*get)(void *conn, void *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
               vmctl_error **err);
    int (*spec)(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err);
    int (*native)(void *conn, void *vm, const vmctl_call *call, char **out, vmctl_error **err);
    int (*render)(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err);

    /* Makes the VM. Each thing is noted in the journal before it is made; on failure the backend undoes by that list. With options->dry_run all is
     * checked that can be, by the hypervisor too where it offers that, and nothing is made: journal, vm and identity are NULL then. */
    int (*create)(void *conn, const vmctl_spec *spec, const vmctl_create_options *options, const vmctl_marker *marker,
                  vmc_journal *journal, void **vm, vmctl_identity *identity, vmctl_error **err);
    int (*remove)(void *conn, void *vm, const vmctl_delete_options *options, vmctl_error **err);
    int (*change)(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                  vmc_journal *journal, vmctl_error **err);
    /* Makes the VM be as a native document of this backend says. options->changed is told each field that is other than before, also with
     * dry_run; its change has texts and no nodes. A device that the document no longer has is CONFLICT without prune; with live, what would
     * wait for a restart is INVALID_STATE. */
    int (*change_native)(void *conn, void *vm, const vmctl_spec *spec, const vmctl_apply_options *options,
                         vmctl_error **err);

    int (*start)(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err);
    int (*stop)(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
    int (*restart)(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
    int (*reboot)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
    int (*reset)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
    int (*pause)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
    int (*resume)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
    int (*save)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
    int (*rename)(void *conn, void *vm, const char *new_name, const vmctl_call *call, vmctl_error **err);
    int (*clone)(void *conn, void *vm, const char *name, const vmctl_clone_options *options, const vmctl_marker *marker,
                 vmc_journal *journal, void **out, vmctl_identity *identity, vmctl_error **err);

    int (*snapshot_create)(void *conn, void *vm, const char *name, const vmctl_snapshot_create_options *options,
                           vmc_journal *journal, vmctl_error **err);
    int (*snapshot_list)(void *conn, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                         vmctl_error **err);
    int (*snapshot_rename)(void *conn, void *vm, const char *name, const char *new_name, const vmctl_call *call,
                           vmctl_error **err);
    int (*snapshot_revert)(void *conn, void *vm, const char *name, const vmctl_snapshot_revert_options *options,
                           vmc_journal *journal, vmctl_error **err);
    int (*snapshot_delete)(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                           vmctl_error **err);

    int (*device_attach)(void *conn, void *vm, const char *list, const vmctl_node *item,
                         const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                         vmctl_error **err);
    int (*device_detach)(void *conn, void *vm, const char *name, const vmctl_attach_options *options,
                         vmctl_effect *effect, vmctl_error **err);
    int (*cdrom_change)(void *conn, void *vm, const char *name, const char *image, const vmctl_cdrom_options *options,
                        vmc_journal *journal, vmctl_effect *effect, vmctl_error **err);
    int (*gpu_list)(void *conn, const vmctl_call *call, vmctl_gpu_fn each, void *user, vmctl_error **err);
    int (*gpu_prepare)(void *conn, const char *address, const vmctl_gpu_prepare_options *options, vmctl_error **err);

    /* target is another connection of this backend, or NULL: to `host` of this one. What is made on the target is noted in its journal
     * (`arrivals`, NULL with target); on failure both are undone by the dispatcher. */
    int (*migrate)(void *conn, void *vm, void *target, const char *host, const vmctl_migrate_options *options,
                   vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err);
    int (*migrate_abort)(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);

    int (*events)(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user, vmctl_error **err);
    /* The backend moves bytes between the hypervisor and one end of a socket pair; see vmctl_stream_new. */
    int (*console_open)(void *conn, void *vm, const vmctl_console_options *options, vmctl_stream **out,
                        vmctl_error **err);
    int (*serial_log)(void *conn, void *vm, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                      vmctl_error **err);
    int (*display_list)(void *conn, void *vm, const vmctl_call *call, vmctl_display_fn each, void *user,
                        vmctl_error **err);
    /* The bytes of a PNG file. */
    int (*screenshot)(void *conn, void *vm, const vmctl_screenshot_options *options, vmctl_bytes_fn each, void *user,
                      vmctl_error **err);
    /* codes: Linux' key codes (KEY_* of input-event-codes.h), 1 to VMCTL_KEYS_MAX of them; options->hold_ms is not 0. */
    int (*send_keys)(void *conn, void *vm, const unsigned *codes, size_t count, const vmctl_keys_options *options,
                     vmctl_error **err);

    int (*guest_exec)(void *conn, void *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                      vmctl_error **err);
    /* local "-": standard input or output. */
    int (*guest_copy_in)(void *conn, void *vm, const char *local, const char *guest, vmc_journal *journal,
                         const vmctl_call *call, vmctl_error **err);
    int (*guest_copy_out)(void *conn, void *vm, const char *guest, const char *local, vmc_journal *journal,
                          const vmctl_call *call, vmctl_error **err);
    /* *count is -1 before: the number of file systems. */
    int (*guest_freeze)(void *conn, void *vm, int *count, const vmctl_call *call, vmctl_error **err);
    int (*guest_thaw)(void *conn, void *vm, int *count, const vmctl_call *call, vmctl_error **err);
    int (*guest_set_password)(void *conn, void *vm, const char *user, const char *password, const vmctl_call *call,
                              vmctl_error **err);

    /* Adds a forward to the running VM, for ports that core cannot reach by an address; noted in the journal, by which core takes it back.
     * forward->address is set; forward->local 0 becomes a free port. *way (malloc'ed): how it goes. */
    int (*guest_forward)(void *conn, void *vm, vmctl_forward *forward, vmc_journal *journal, const vmctl_call *call,
                         char **way, vmctl_error **err);

    /* The memory of a VM that runs or is paused, as an ELF core file at path, which is not there yet and appears whole; mode 0600. */
    int (*dump)(void *conn, void *vm, const char *path, vmc_journal *journal, const vmctl_call *call,
                vmctl_error **err);

    int (*host_info)(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
    int (*host_list)(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
    int (*pool_list)(void *conn, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err);
    int (*network_list)(void *conn, const vmctl_call *call, vmctl_network_fn each, void *user, vmctl_error **err);
    int (*metrics_list)(void *conn, const vmctl_metrics_options *options, vmctl_metrics_fn each, void *user,
                        vmctl_error **err);

    int (*image_list)(void *conn, const char *pool, const vmctl_call *call, vmctl_image_fn each, void *user,
                      vmctl_error **err);
    int (*image_upload)(void *conn, const char *path, const vmctl_image_upload_options *options, vmc_journal *journal,
                        vmctl_error **err);
    /* path is free when it is called, and the file is whole when it appears there. */
    int (*image_download)(void *conn, const char *name, const char *path, const vmctl_call *call, vmc_journal *journal,
                          vmctl_error **err);
    int (*image_delete)(void *conn, const char *name, const vmctl_call *call, vmctl_error **err);
    int (*export_ova)(void *conn, void *vm, const char *path, const vmctl_call *call, vmc_journal *journal,
                      vmctl_error **err);
    int (*import_ova)(void *conn, const char *path, const char *name, const vmctl_call *call,
                      const vmctl_marker *marker, vmc_journal *journal, void **vm, vmctl_identity *identity,
                      vmctl_error **err);

    /* What is possible here; changes nothing. `each` is called once for each feature that the backend can say something about, among
     * `features` (NULL-terminated; NULL: all). vm NULL: of the endpoint. What cannot be found out is UNKNOWN with the reason, not a failure
     * of the whole. */
    int (*probe)(void *conn, void *vm, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                 void *user, vmctl_error **err);
} vmctl_backend_ops;

/* A stream around one end of a socket pair. `finish` is called by vmctl_stream_close, ends the pumping and tells why the other side ended. */
VMCTL_API vmctl_stream *vmctl_stream_new(int fd, int (*finish)(void *state, vmctl_error **err), void *state);

/* What a module exports, once, with C linkage: VMCTL_BACKEND_MODULE(libvirt, libvirt_ops). */
typedef const vmctl_backend_ops *(*vmctl_backend_entry_fn)(void);
#define VMCTL_BACKEND_MODULE(name, table)                                                                              \
    VMCTL_API const vmctl_backend_ops *vmctl_backend_##name(void);                                                     \
    const vmctl_backend_ops *vmctl_backend_##name(void) {                                                              \
        return &(table);                                                                                               \
    }

VMCTL_END_DECLS

#endif
