/* backends/kubevirt/ops.h - the connection, the handle of a VM, and the operations of the table.
 *
 * A VM is a VirtualMachine of kubevirt.io; its VirtualMachineInstance (VMI) is there while it runs. Everything goes through the API server
 * (drivers/kube); what a request means is in manifest.h and state.h, which ask nobody.
 */
#ifndef VMC_KUBEVIRT_OPS_H
#define VMC_KUBEVIRT_OPS_H

#include "base/error.h"
#include "base/journal.h"
#include "drivers/kube/kube.h"
#include "manifest.h"
#include "state.h"
#include <pthread.h>
#include <vmctl/backend.h>
#include <vmctl/migrate.h>
#include <vmctl/snapshot.h>

/* Any number of threads may use it. */
typedef struct kubevirt_conn {
    kube_client *client;
    char *namespace_name;
    char *storage_class;             /* the vmctl context's default; NULL */
    pthread_mutex_t lock;            /* of what follows */
    cJSON *installation;             /* the KubeVirt object, once it was asked for; never freed before the connection */
    struct kubevirt_tunnel *tunnels; /* local ports that lead into VMs (socket.h) */
} kubevirt_conn;

typedef struct kubevirt_vm {
    char *namespace_name;
    char *name;
    char *uid;            /* "" as long as nobody has asked for it (lookup's `lazy`) */
    pthread_mutex_t lock; /* of what follows */
    cJSON *seen;          /* the object as lookup or create got it, until it is used; NULL */
    int64_t seen_ms;      /* vmc_now_ms() then */
    unsigned seen_writes; /* kube_client_writes() then */
} kubevirt_vm;

enum {
    KUBEVIRT_ASK_MS = 60000,
    KUBEVIRT_ACT_MS = 300000,
};

#define KUBEVIRT_GROUP        "kubevirt.io"
#define KUBEVIRT_SUBRESOURCES "subresources.kubevirt.io"
#define KUBEVIRT_CDI          "cdi.kubevirt.io"

/* --- objects (object.c) ------------------------------------------------------------------------------------------------ */

/* Takes `object`, which was just read or written. */
kubevirt_vm *kubevirt_vm_new(const kubevirt_conn *conn, cJSON *object);
void kubevirt_vm_free(kubevirt_vm *vm);
void kubevirt_vm_identity(const kubevirt_vm *vm, vmctl_identity *identity);
/* The uid of one that had none. */
void kubevirt_vm_met(kubevirt_vm *vm, const cJSON *object);
/* What lookup or create got a moment ago, once; cJSON_Delete. NULL: nothing, or too long ago. */
cJSON *kubevirt_vm_take_seen(const kubevirt_conn *conn, kubevirt_vm *vm);
/* NOT_FOUND in lookup's words, with the name that is near. */
int kubevirt_no_such_vm(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err);

/* ".../virtualmachines/NAME" of the VM, and of its instance. free. */
char *kubevirt_vm_path(const kubevirt_vm *vm);
char *kubevirt_vmi_path(const kubevirt_vm *vm);
/* The collection of that plural in the namespace (NULL: in all). free. */
char *kubevirt_collection(const char *plural, const char *namespace_name);

/* The VirtualMachine as it is now: what lookup saw a moment ago is used once without asking again. NOT_FOUND when it is gone, or another of
 * its name is there. *out: cJSON_Delete. */
int kubevirt_vm_get(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, cJSON **out, vmctl_error **err);
/* Its instance; *out NULL: there is none. */
int kubevirt_vmi_get(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, cJSON **out,
                     vmctl_error **err);
/* The state now, by at most two requests. *object (may be NULL): the VirtualMachine. */
int kubevirt_vm_state(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_state *state,
                      cJSON **object, vmctl_error **err);

/* PUT .../{virtualmachines|virtualmachineinstances}/NAME/SUB of KubeVirt's own API (act.c). */
typedef struct kubevirt_action {
    const char *plural, *sub;
    const cJSON *body;   /* NULL: {} */
    kube_status *status; /* NULL */
    /* Where the answer got lost: whether the VM (NULL: not asked for) and its instance (NULL: there is none) show that it was done. NULL: nothing
     * does. */
    bool (*shows)(const cJSON *vm, const cJSON *vmi, const void *user);
    const void *user;
    bool once; /* done twice it is not as done once: it is not sent again, and `shows` goes by the instance alone */
    const char *look; /* the next step where nobody can tell; NULL */
} kubevirt_action;
/* A lost answer is no failure where it was done, and where it was not it is asked for again unless `once`. */
int kubevirt_act(kubevirt_conn *conn, kubevirt_vm *vm, const kubevirt_action *action, const vmc_deadline *deadline,
                 vmctl_error **err);

/* The KubeVirt object of the cluster: asked once a connection. *out borrowed; NULL: it cannot be read (403), or there is none. */
int kubevirt_installation(kubevirt_conn *conn, const vmc_deadline *deadline, const cJSON **out, vmctl_error **err);
/* What it permits; NULL: nothing. */
const cJSON *kubevirt_permitted_of(const cJSON *installation);

/* claims.c: the resource claims that its GPUs and devices name, their requests and device classes are there. NOT_FOUND, UNSUPPORTED (the gate
 * is off). What this user may not look at is left to KubeVirt. installation may be NULL. */
int kubevirt_claims_check(kubevirt_conn *conn, const cJSON *vm, const cJSON *installation, const vmc_deadline *deadline,
                          vmctl_error **err);

/* The version of a group that the cluster serves, best first of `wanted` (NULL-terminated), for a write. UNSUPPORTED: none, naming what has
 * to be installed. *out: constant as long as the connection. */
int kubevirt_version_of(kubevirt_conn *conn, const char *group, const char *const *wanted, const char *missing,
                        const vmc_deadline *deadline, const char **out, vmctl_error **err);

/* Appends to the error's words of the hypervisor the last warnings that the cluster noted about the VM, its instance and its pods. */
void kubevirt_add_warnings(kubevirt_conn *conn, const kubevirt_vm *vm, const vmc_deadline *deadline, const char *said,
                           vmctl_error **err);

/* --- waiting (wait.c) -------------------------------------------------------------------------------------------------- */

typedef struct kubevirt_waiting {
    const char *plural; /* "virtualmachines" */
    const char *name;
    const char
        *resource_version; /* what happened after it; NULL: what is there now counts as well, for one request more */
    const char *doing;     /* "waiting for web-1 to run" */
    /* 1: reached; 0: not yet; negative: it never will, and *err says why. object NULL: it is gone. */
    int (*settled)(const cJSON *object, void *user, vmctl_error **err);
    void *user;
    bool
        at_once; /* of what is known to be there, without resource_version: its state comes with the watch itself, in one request */
    cJSON **last;      /* the object that settled it (cJSON_Delete); NULL */
    bool awaited;      /* it need not be there yet */
    bool fail_fast;    /* of VMs: a fault (state.h) ends the wait */
    const char *stale; /* a fault that was there before: it ends the wait only when it stays; NULL */
} kubevirt_waiting;

/* Watches one object until it is settled. TIMEOUT tells where it stood. */
int kubevirt_wait(kubevirt_conn *conn, const kubevirt_vm *vm, const kubevirt_waiting *waiting,
                  const vmc_deadline *deadline, vmctl_error **err);
/* A `settled` that waits until it is gone. */
int kubevirt_is_gone(const cJSON *object, void *user, vmctl_error **err);
/* The same for an object of another API: path of the collection. */
int kubevirt_wait_in(kubevirt_conn *conn, const kubevirt_vm *vm, const char *collection,
                     const kubevirt_waiting *waiting, const vmc_deadline *deadline, vmctl_error **err);

/* --- facts (facts.c) --------------------------------------------------------------------------------------------------- */

/* Calls `each` with what the objects tell, unless a filter says no (options NULL: none). vmi may be NULL. snapshots -1: not asked for.
 * guest: what kubevirt_guest_info gave; policy: what kubevirt_migrate_policy_of did; NULL. Non-zero of `each` is returned as 1. */
int kubevirt_facts_deliver(const cJSON *vm, const cJSON *vmi, const cJSON *guest, const char *policy, int snapshots,
                           unsigned facts, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user);

/* --- life, for others of this room -------------------------------------------------------------------------------------- */

/* start.c: starts it and waits until it runs; one that does is no failure. */
int kubevirt_start_vm(kubevirt_conn *conn, kubevirt_vm *vm, bool paused, const vmc_deadline *deadline,
                      vmctl_error **err);
/* life.c: "web-1 is paused", with the next step; the note that it is in that state already. */
int kubevirt_in_state(const kubevirt_vm *vm, vmctl_state state, vmctl_error **err);
/* Whether a verb of a VM's life is refused in that state. Only looks. */
int kubevirt_life_check(const kubevirt_vm *vm, vmctl_slot slot, vmctl_state state, vmctl_error **err);
void kubevirt_tell_already(const kubevirt_vm *vm, vmctl_state state, const vmc_deadline *deadline);
/* before: the object before it was asked to; NULL: what is there now counts. */
int kubevirt_wait_stopped(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *before, const vmc_deadline *deadline,
                          vmctl_error **err);
/* Powers off at once and waits. 0 too where it does not run. */
int kubevirt_power_off(kubevirt_conn *conn, kubevirt_vm *vm, const vmc_deadline *deadline, vmctl_error **err);
/* Waits until it runs. before: the object before it was asked to, which did not run; NULL: what is there now counts. */
int kubevirt_wait_running(kubevirt_conn *conn, const kubevirt_vm *vm, bool paused, const cJSON *before,
                          const vmc_deadline *deadline, vmctl_error **err);

/* references.c: whether the claims, storage classes and sources that the spec names are there; one request each. NOT_FOUND with the line. */
int kubevirt_references_check(kubevirt_conn *conn, const vmctl_spec *spec, const vmc_deadline *deadline,
                              vmctl_error **err);
/* The same of one item of disks:. */
int kubevirt_references_check_disk(kubevirt_conn *conn, const char *namespace_name, const vmctl_node *disk,
                                   const vmc_deadline *deadline, vmctl_error **err);

/* snapshot.c: whether one can be taken; only looks. */
int kubevirt_snapshot_check(const kubevirt_vm *vm, const cJSON *object, bool memory, bool quiesce, vmctl_error **err);
/* How many each VM of the namespace (NULL: of all) has, in one list: *counts by uid (cJSON_Delete), NULL where nobody says. */
int kubevirt_snapshots_count(kubevirt_conn *conn, const char *namespace_name, const vmc_deadline *deadline,
                             cJSON **counts, vmctl_error **err);
/* Of that VM; -1: counts is NULL. */
int kubevirt_snapshots_of(const cJSON *counts, const cJSON *vm);
#define KUBEVIRT_SNAPSHOT_REMEDY "put its disks on a storage class that has a VolumeSnapshotClass"
/* Warns of each disk that is not in the snapshot. what: "is not in the snapshot". */
void kubevirt_snapshot_warn(const cJSON *vm, const cJSON *snapshot, const char *what, const vmc_deadline *deadline);
int kubevirt_snapshot_remove(kubevirt_conn *conn, const kubevirt_vm *vm, const char *name, const vmc_deadline *deadline,
                             vmctl_error **err);
/* migrate.c: what the VM has against a migration to another node (host NULL: to any), by the instance (NULL: it does not run); whether there is
 * one to stop. Only look. */
int kubevirt_migrate_check(const kubevirt_vm *vm, const cJSON *vmi, const vmctl_migrate_options *options,
                           vmctl_error **err);
int kubevirt_migrate_check_abort(const kubevirt_vm *vm, bool migrating, vmctl_error **err);
/* migrate.c: what the options ask for and KubeVirt has no place for. Only looks. */
int kubevirt_migrate_check_options(bool to_other, const vmctl_migrate_options *options, vmctl_error **err);
/* migrate_policy.c: "NAME: what it says" of the MigrationPolicy that a running VM would migrate by, in one request; free. NULL: none that fits, none that this
 * user may see. */
char *kubevirt_migrate_policy_of(kubevirt_conn *conn, const cJSON *vmi, const vmc_deadline *deadline);
/* By which MigrationPolicy it would migrate now, for a person. *words (free) NULL: this KubeVirt has none. */
int kubevirt_migrate_policy(kubevirt_conn *conn, const kubevirt_vm *vm, const cJSON *vmi, const vmc_deadline *deadline,
                            char **words, vmctl_error **err);
/* Of the journal. */
int kubevirt_snapshot_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
int kubevirt_revert_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
int kubevirt_clone_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);

/* claim_users.c: who uses a claim. */
typedef struct kubevirt_claim_user {
    const char *except; /* a VM that does not count; NULL */
    const char *claim;
    char *name;   /* of the VM that uses it; NULL: none. free */
    bool running; /* it runs */
    bool shared;  /* it has said that others use the disk, too */
} kubevirt_claim_user;
int kubevirt_find_claim_user(kubevirt_conn *conn, const char *namespace_name, kubevirt_claim_user *user,
                             const vmc_deadline *deadline, vmctl_error **err);
/* The object goes with the VM of that name and uid: Kubernetes collects it. The entry in its ownerReferences. */
cJSON *kubevirt_add_owner(cJSON *object, const char *name, const char *uid);
/* The claim of a volume, by whichever name; NULL. */
const char *kubevirt_claim_of(const cJSON *volume);
/* Whether there is a claim of that name, or a data volume that will make one. */
int kubevirt_claim_exists(kubevirt_conn *conn, const char *namespace_name, const char *claim,
                          const vmc_deadline *deadline, bool *there, vmctl_error **err);
/* An annotation of data volumes: which call made it, as the journal's entry "datavolume" says. */
#define KUBEVIRT_MARK "vmctl.dev/upload"

/* marked.c: the journal's entry KIND "NAMESPACE/NAME MARK" of what one call has made. INTERNAL: it cannot be read. */
typedef struct kubevirt_marked {
    char *namespace_name, *name, *mark;
} kubevirt_marked;
int kubevirt_marked_read(const char *kind, const char *detail, kubevirt_marked *out, vmctl_error **err);
void kubevirt_marked_free(kubevirt_marked *marked);
#define KUBEVIRT_AUTO_MARKED vmc_cleanup(kubevirt_marked_free) kubevirt_marked
/* Deletes the object at `path` where its annotation has that mark: of the same name, it may be somebody else's by now. What is not there is no
 * failure. */
int kubevirt_marked_drop(kubevirt_conn *conn, const char *path, const char *annotation, const kubevirt_marked *marked,
                         const vmc_deadline *deadline, vmctl_error **err);

/* --- the table --------------------------------------------------------------------------------------------------------- */

int kubevirt_open(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err);
void kubevirt_close(void *conn);
int kubevirt_undo(void *conn, const char *kind, const char *detail, const vmctl_call *call, vmctl_error **err);

int kubevirt_list(void *conn, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user, vmctl_error **err);
int kubevirt_lookup(void *conn, const char *name_or_id, const vmctl_lookup_options *options, void **vm,
                    vmctl_identity *identity, vmctl_error **err);
void kubevirt_release(void *conn, void *vm);
int kubevirt_get(void *conn, void *vm, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                 vmctl_error **err);
int kubevirt_spec(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err);
int kubevirt_native(void *conn, void *vm, const vmctl_call *call, char **out, vmctl_error **err);
int kubevirt_render(void *conn, const vmctl_spec *spec, const vmctl_call *call, char **out, vmctl_error **err);

int kubevirt_create(void *conn, const vmctl_spec *spec, const vmctl_create_options *options, const vmctl_marker *marker,
                    vmc_journal *journal, void **vm, vmctl_identity *identity, vmctl_error **err);
int kubevirt_remove(void *conn, void *vm, const vmctl_delete_options *options, vmctl_error **err);

int kubevirt_change(void *conn, void *vm, const vmctl_diff *diff, const vmctl_change_options *options,
                    vmc_journal *journal, vmctl_error **err);

/* native.c */
int kubevirt_change_native(void *conn, void *vm, const vmctl_spec *spec, const vmctl_apply_options *options,
                           vmctl_error **err);
/* Of what create made of a native document: its fields become vmctl's by apply. *object is the VirtualMachine, before and after. */
int kubevirt_own_fields(kubevirt_conn *conn, cJSON **object, const vmc_deadline *deadline, vmctl_error **err);

int kubevirt_start(void *conn, void *vm, const vmctl_start_options *options, vmctl_error **err);
int kubevirt_stop(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
int kubevirt_restart(void *conn, void *vm, const vmctl_stop_options *options, vmctl_error **err);
int kubevirt_reboot(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int kubevirt_reset(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int kubevirt_pause(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);
int kubevirt_resume(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);

int kubevirt_serial_log(void *conn, void *vm, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                        vmctl_error **err);
int kubevirt_clone(void *conn, void *vm, const char *name, const vmctl_clone_options *options,
                   const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                   vmctl_error **err);

int kubevirt_snapshot_create(void *conn, void *vm, const char *name, const vmctl_snapshot_create_options *options,
                             vmc_journal *journal, vmctl_error **err);
int kubevirt_snapshot_list(void *conn, void *vm, const vmctl_call *call, vmctl_snapshot_fn each, void *user,
                           vmctl_error **err);
int kubevirt_snapshot_revert(void *conn, void *vm, const char *name, const vmctl_snapshot_revert_options *options,
                             vmc_journal *journal, vmctl_error **err);
int kubevirt_snapshot_delete(void *conn, void *vm, const char *name, const vmctl_snapshot_delete_options *options,
                             vmctl_error **err);

int kubevirt_device_attach(void *conn, void *vm, const char *list, const vmctl_node *item,
                           const vmctl_attach_options *options, vmc_journal *journal, vmctl_effect *effect,
                           vmctl_error **err);
int kubevirt_device_detach(void *conn, void *vm, const char *name, const vmctl_attach_options *options,
                           vmctl_effect *effect, vmctl_error **err);
int kubevirt_cdrom_change(void *conn, void *vm, const char *name, const char *image, const vmctl_cdrom_options *options,
                          vmc_journal *journal, vmctl_effect *effect, vmctl_error **err);
int kubevirt_probe(void *conn, void *vm, const char *const *features, const vmctl_call *call, vmctl_here_fn each,
                   void *user, vmctl_error **err);
int kubevirt_gpu_list(void *conn, const vmctl_call *call, vmctl_gpu_fn each, void *user, vmctl_error **err);
int kubevirt_migrate(void *conn, void *vm, void *target, const char *host, const vmctl_migrate_options *options,
                     vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err);
int kubevirt_migrate_abort(void *conn, void *vm, const vmctl_call *call, vmctl_error **err);

int kubevirt_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user, vmctl_error **err);

/* console.c, display.c, forward.c, guest.c */
int kubevirt_console_open(void *conn, void *vm, const vmctl_console_options *options, vmctl_stream **out,
                          vmctl_error **err);
int kubevirt_display_list(void *conn, void *vm, const vmctl_call *call, vmctl_display_fn each, void *user,
                          vmctl_error **err);
int kubevirt_screenshot(void *conn, void *vm, const vmctl_screenshot_options *options, vmctl_bytes_fn each, void *user,
                        vmctl_error **err);
int kubevirt_guest_freeze(void *conn, void *vm, int *count, const vmctl_call *call, vmctl_error **err);
int kubevirt_guest_thaw(void *conn, void *vm, int *count, const vmctl_call *call, vmctl_error **err);
int kubevirt_guest_forward(void *conn, void *vm, vmctl_forward *forward, vmc_journal *journal, const vmctl_call *call,
                           char **way, vmctl_error **err);
/* images.c; detail: of a "datavolume" entry. */
int kubevirt_image_list(void *conn, const char *pool, const vmctl_call *call, vmctl_image_fn each, void *user,
                        vmctl_error **err);
int kubevirt_image_upload(void *conn, const char *path, const vmctl_image_upload_options *options, vmc_journal *journal,
                          vmctl_error **err);
/* "NAMESPACE/NAME" or NAME: the name, and *namespace_name (free). */
const char *kubevirt_image_name(const kubevirt_conn *conn, const char *given, char **namespace_name);
/* download.c; detail: of an "export" entry. */
int kubevirt_image_download(void *conn, const char *name, const char *path, const vmctl_call *call,
                            vmc_journal *journal, vmctl_error **err);
/* A claim's bytes into a new file: its disk, or (file not NULL) this file in it. Noted in the journal. */
int kubevirt_fetch_claim(kubevirt_conn *conn, const char *namespace_name, const char *claim, const char *file,
                         const char *path, vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err);
int kubevirt_export_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
/* dump.c; detail: of a "dump" entry. installation, object and vmi may be NULL. */
int kubevirt_dump(void *conn, void *vm, const char *path, vmc_journal *journal, const vmctl_call *call,
                  vmctl_error **err);
int kubevirt_dump_check(const cJSON *installation, const kubevirt_vm *vm, const cJSON *object, const cJSON *vmi,
                        vmctl_error **err);
int kubevirt_dump_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
int kubevirt_image_delete(void *conn, const char *name, const vmctl_call *call, vmctl_error **err);
int kubevirt_image_undo(kubevirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
/* detail: of a "port" entry; one that is not there is gone. */
int kubevirt_forward_undo(kubevirt_conn *conn, const char *detail);

int kubevirt_host_info(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
int kubevirt_host_list(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err);
int kubevirt_pool_list(void *conn, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err);
int kubevirt_network_list(void *conn, const vmctl_call *call, vmctl_network_fn each, void *user, vmctl_error **err);

#endif
