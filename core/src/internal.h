/* src/internal.h - what the files of the dispatcher share: the handles, and the frame around every public call.
 *
 * The frame: vmc_op_begin checks the handle and the slot, copies the call, and before a changing verb undoes what a dead process left;
 * vmc_op_end names the action, VM and endpoint in the error and hands it to the caller. Between the two `op.why` is
 * an error pointer that is never NULL, so that faults can be gathered and undo failures appended.
 */
#ifndef VMC_SRC_INTERNAL_H
#define VMC_SRC_INTERNAL_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/journal.h"
#include "base/str.h"
#include "registry.h"
#include <stdatomic.h>
#include <vmctl/backend.h>

/* --- backends (module.c, registry lookups) ----------------------------------------------------------------- */

/* The backend of a name or alias, of a URI's scheme ("qemu+ssh://..." is "qemu"); NULL when there is none. */
const vmc_registry_entry *vmc_backend_by_name(const char *name);
const vmc_registry_entry *vmc_backend_by_uri(const char *uri);
/* The index-th backend, NULL beyond the last. */
const vmc_registry_entry *vmc_backend_at(size_t index);
/* For tests: this list instead of the built-in one (ended by a NULL descriptor); NULL puts the built-in one back. */
void vmc_backends_replace(const vmc_registry_entry *list);

/* The table of operations, padded with NULL slots to this version's size; loads the module on first use. UNAVAILABLE when
 * module or library is missing (naming the package), UNSUPPORTED when its ABI is another one. */
int vmc_backend_ops(const vmc_registry_entry *entry, const vmctl_backend_ops **out, vmctl_error **err);

bool vmc_slot_present(const vmctl_backend_ops *ops, vmctl_slot slot);
const char *vmc_slot_name(vmctl_slot slot);
/* What the descriptor says of a slot (feature NULL) or of a feature; NULL when nothing. */
const vmctl_slot_claim *vmc_slot_claim(const vmctl_backend_descriptor *descriptor, vmctl_slot slot,
                                       const char *feature);
const vmctl_key_claim *vmc_key_claim(const vmctl_backend_descriptor *descriptor, const char *key);

/* --- choosing an endpoint (choose.c) ------------------------------------------------------------------------- */

typedef struct vmc_choice {
    const vmc_registry_entry *entry; /* NULL: the first backend that finds an endpoint */
    char *uri;                       /* NULL: the backend's own choice */
    char *reason;                    /* NULL together with a NULL entry */
    vmctl_config *config;            /* NULL while none was needed */
    const vmctl_context *context;    /* of that configuration; NULL */
} vmc_choice;

int vmc_choose(const vmctl_connect_options *options, vmc_choice *out, vmctl_error **err);
void vmc_choice_free(vmc_choice *choice);

/* INVALID_ARGUMENT for a URI that no backend here takes, saying which one is meant, and for one with a password in it. */
int vmc_check_uri(const char *uri, const vmc_registry_entry **entry, vmctl_error **err);

/* --- handles --------------------------------------------------------------------------------------------------- */

struct vmctl_connection {
    atomic_uint references; /* the caller's and one of each VM handle */
    const vmc_registry_entry *entry;
    const vmctl_backend_ops *ops;
    void *conn;
    char *uri;
    char *reason;
    char *context; /* NULL */
    unsigned threads;
};

struct vmctl_vm {
    vmctl_connection *connection;
    void *handle;
    vmctl_identity identity;
};

vmctl_connection *vmc_connection_ref(vmctl_connection *connection);
/* Owns handle and the strings of identity from now on, also when it fails (it does not). */
vmctl_vm *vmc_vm_new(vmctl_connection *connection, void *handle, vmctl_identity *identity);
void vmc_identity_free(vmctl_identity *identity);

/* --- the frame --------------------------------------------------------------------------------------------------- */

/* Copies the caller's sized struct over `full`, which holds the initialiser. NULL: nothing. A shorter struct leaves the rest at its
 * default; a longer one is accepted when all that this version does not know is zero. */
int vmc_options_copy(void *full, const void *given, vmctl_error **err);

typedef struct vmc_op {
    vmctl_connection *connection; /* NULL only after a failed begin */
    const vmctl_backend_ops *ops;
    void *conn;
    void *handle;     /* of the VM */
    const char *name; /* the VM's, for messages; never NULL */
    vmctl_vm *vm;
    vmctl_call call;
    vmctl_error *why;
    vmctl_error **err;
} vmc_op;

/* Default deadlines in milliseconds, for calls whose timeout_ms is 0. */
enum {
    VMC_ASK_MS = 60 * 1000,      /* reading */
    VMC_ACT_MS = 5 * 60 * 1000,  /* changing a state; a first start probes the hypervisor's binary */
    VMC_UNDO_MS = 2 * 60 * 1000, /* undoing, whatever became of the call itself */
    VMC_NO_LIMIT = -1            /* copying data */
};

/* vm may be NULL when connection is given. `recover`: this verb changes something. */
int vmc_op_begin(vmc_op *op, vmctl_connection *connection, vmctl_vm *vm, vmctl_slot slot, const vmctl_call *call,
                 int64_t default_ms, bool recover, vmctl_error **err);
/* The same where a VM must be given. */
int vmc_op_begin_vm(vmc_op *op, vmctl_vm *vm, vmctl_slot slot, const vmctl_call *call, int64_t default_ms, bool recover,
                    vmctl_error **err);
/* UNSUPPORTED, with the descriptor's reason, unless the slot is there (and the feature, when one is given, not refused). */
int vmc_op_need(vmc_op *op, vmctl_slot slot, const char *feature);
/* Begins again with the rest of an outer call: fails as vmc_op_need does. */
int vmc_op_recover(vmc_op *op);
/* Returns rc; a failure gets "cannot FORMAT", the VM and the endpoint. */
int vmc_op_end(vmc_op *op, int rc, const char *format, ...) VMCTL_PRINTF(3, 4);
/* INVALID_ARGUMENT unless text is there, not empty and without control characters. what: "the new name". */
int vmc_check_text(const char *text, const char *what, vmctl_error **err);

/* An undo function over an open connection: user is the vmc_undo. */
typedef struct vmc_undo {
    vmctl_connection *connection;
    const vmctl_call *call;
} vmc_undo;
int vmc_undo_entry(void *user, const char *kind, const char *detail, vmctl_error **err);
/* Undoes what an operation of this process noted, with a deadline of its own; the outcome is added to op->why. */
void vmc_op_undo(vmc_op *op, vmc_journal *journal);

/* --- parts of verbs that others use ---------------------------------------------------------------------------- */

/* The marker for a VM that is made now; the strings are `marker_text`'s. */
typedef struct vmc_marker {
    vmctl_marker marker;
    char *owner;
    char *run;
} vmc_marker;
int vmc_marker_make(const char *owner, const char *run, int64_t lifetime_ms, vmc_marker *out, vmctl_error **err);
void vmc_marker_free(vmc_marker *marker);

/* Every key that was written against the descriptor's claims, images against its sources and the file system: all refusals in one
 * error (UNSUPPORTED, or NOT_FOUND when only files are missing). Sections of other backends: a note, or refused when strict. */
int vmc_spec_check_backend(const vmctl_spec *spec, const vmctl_backend_descriptor *descriptor, bool strict,
                           const vmctl_call *call, vmctl_error **err);

/* Whether a disk's image or medium is to be fetched by core. */
bool vmc_source_is_web(const char *source);
/* Only the notes about other backends' sections. */
void vmc_spec_tell_sections(const vmctl_spec *spec, const vmctl_backend_descriptor *descriptor, const vmctl_call *call);
/* The same for one node, an item of a list for example. */
int vmc_node_check_backend(const vmctl_node *node, const vmctl_backend_descriptor *descriptor, const vmctl_call *call,
                           vmctl_error **err);

/* The same, and an image or medium by URL is refused where the backend does not fetch by itself: what a change of a VM brings in. */
int vmc_node_check_brought(const vmctl_node *node, const vmctl_backend_descriptor *descriptor, const vmctl_call *call,
                           vmctl_error **err);

/* The spec as a backend gets it: validated, held against the backend's claims, a copy with the defaults filled in. */
int vmc_spec_prepare(vmctl_connection *connection, const vmctl_spec *spec, bool strict, const vmctl_call *call,
                     vmctl_spec **out, vmctl_error **err);

/* vmctl_create inside the frame of another verb. *out stays NULL after a dry run. */
int vmc_create(vmc_op *op, const vmctl_spec *spec, vmctl_create_options *options, vmctl_vm **out);

#endif
