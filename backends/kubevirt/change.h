/* backends/kubevirt/change.h - one change of a VM: what it makes of the object, and which of it a running VM has at once. */
#ifndef VMC_KUBEVIRT_CHANGE_H
#define VMC_KUBEVIRT_CHANGE_H

#include "ops.h"

/* Data volumes that were made for a change, and are whole; they outlive a second try. */
typedef struct kubevirt_sent {
    vmc_strv claims;
    size_t *entries; /* of the journal, as many */
} kubevirt_sent;

typedef struct kubevirt_changing {
    kubevirt_conn *conn;
    kubevirt_vm *vm;
    const vmc_deadline *deadline;
    vmc_journal *journal;
    cJSON *now;         /* the object */
    cJSON *vmi;         /* its instance; NULL: it does not run */
    cJSON *then;        /* what the object becomes */
    cJSON *before_plug; /* what of it is sent, where disks come or go by requests of their own; NULL: all of it */
    cJSON *after;       /* what the server made of it; NULL: nothing was changed, or not yet */
    vmctl_spec *spec;   /* what the VM becomes in vm.yaml's words */
    const cJSON *installation;
    kubevirt_manifest out; /* what has to be sent for it */
    vmc_strv fresh;        /* claims of disks that it brings, as they are called at first */
    kubevirt_sent *sent;
    bool raced;    /* somebody else changed it in between: nothing was sent */
    char *restart; /* why KubeVirt wants a restart for it, in its words; NULL: it does not */
} kubevirt_changing;

/* "disks.data.size" -> list "disks", name "data", key "size"; each NULL where there is none, but list. */
typedef struct kubevirt_place {
    char *list, *name, *key;
} kubevirt_place;

void kubevirt_place_free(kubevirt_place *place);
#define KUBEVIRT_AUTO_PLACE vmc_cleanup(kubevirt_place_free) kubevirt_place
kubevirt_place kubevirt_place_of(const vmctl_change *change);

/* change_live.c: why a running VM does not have this change before its next start; NULL: it has it at once. free. Only looks. */
char *kubevirt_change_obstacle(const kubevirt_changing *ch, const vmctl_change *change);
/* The same for devices as such, of one kind. list: "disks". device: its volume or network; NULL. adding: it comes, else it goes. */
char *kubevirt_device_obstacle(const cJSON *installation, const char *list, const cJSON *device, bool adding);
/* Whether the disk can come and go while the VM runs: by its bus and volume. NULL: it can; else why not, free. */
char *kubevirt_disk_obstacle(const cJSON *installation, const cJSON *disk, const cJSON *volume);
/* The same of a card that comes or goes; network NULL: none of that name. */
char *kubevirt_nic_obstacle(const cJSON *interface, const cJSON *network);

/* What helps where --live asks for a change that waits for a restart; the VM's name. */
#define KUBEVIRT_LIVE_REMEDY "leave --live out, and restart %s when it suits"

/* hotplug.c: the only optical drive of the VM, or the one of that name (NULL: any); *out: free. NOT_FOUND, AMBIGUOUS. */
int kubevirt_drive_find(const kubevirt_vm *vm, const vmctl_spec *spec, const char *name, char **out, vmctl_error **err);

/* Whether the cluster migrates VMs by itself for what a migration brings them. */
bool kubevirt_migrates_by_itself(const cJSON *installation);

/* change_items.c: an item of disks:, networks:, gpus: or usb: in ch->then (build is of that). */
int kubevirt_change_item(kubevirt_changing *ch, kubevirt_build *build, const vmctl_change *change,
                         const kubevirt_place *where);

/* change_disks.c. Before: what new data volumes are called, whose the claims are (CONFLICT, BUSY), whether those that grow can. Changes
 * ch->then only. */
int kubevirt_change_disks_check(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err);
/* Makes the data volume of ch->then's template of that name, empty or filled by CDI; noted in the journal. 0 too where it was made already. */
int kubevirt_change_disks_make(kubevirt_changing *ch, const char *claim, vmctl_error **err);
/* The dataVolumeTemplate of that name; NULL. */
const cJSON *kubevirt_template_named(const cJSON *vm, const char *name);
/* Sends the files that disks are made of; they are the VM's, and nothing refers to them yet. */
int kubevirt_change_disks_send(kubevirt_changing *ch, vmctl_error **err);
/* The VM has them now: a failure takes them away no more. */
void kubevirt_change_disks_taken(kubevirt_changing *ch);
/* UNSUPPORTED where the disk (claim NULL) is none of the cluster's storage. Only looks. */
int kubevirt_grow_check(const kubevirt_vm *vm, const char *disk, const char *claim, vmctl_error **err);
/* The claims of disks that shall be larger. */
int kubevirt_change_disks_grow(kubevirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmctl_error **err);

/* change_plug.c. Whether disks come to a running VM by addvolume: the gate HotplugVolumes without the declarative one. */
bool kubevirt_plugs_by_request(const cJSON *installation);
/* Makes ch->before_plug where the diff has such disks. */
void kubevirt_change_plug_split(kubevirt_changing *ch, const vmctl_diff *diff);
/* Their new volumes, before anything refers to them. */
int kubevirt_change_plug_make(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err);
/* After ch->before_plug was sent: asks for them and waits until the object is ch->then. A failure takes all of it back. */
int kubevirt_change_plug(kubevirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmctl_error **err);

/* change_settle.c: waits until KubeVirt has looked at it (ch->restart), and until the running VM has what it is to have at once. */
int kubevirt_change_settle(kubevirt_changing *ch, const vmctl_diff *diff, vmctl_error **err);

/* change_move.c: of a disk that goes to another storage class. */
bool kubevirt_is_move(const vmctl_change *change);
/* Why the disk cannot be moved, for good or now; the object that is there already is ch->then's. Only looks. */
int kubevirt_move_check(const kubevirt_changing *ch, const vmctl_change *change, vmctl_error **err);
/* Makes ch->then: an empty volume of the other class takes the place of its own. */
void kubevirt_move_disk(kubevirt_changing *ch, kubevirt_build *build, const kubevirt_place *where,
                        const vmctl_node *item);
/* code: how the copy ended. What was copied from goes; after a failure the disks are what they were, and the code is returned. */
int kubevirt_change_moved(kubevirt_changing *ch, const vmctl_diff *diff, int code, vmctl_error **err);

/* Makes all of the diff, or nothing; waits until it is in force as far as it can be now. */
int kubevirt_changing_run(kubevirt_conn *conn, kubevirt_vm *vm, const vmctl_diff *diff,
                          const vmctl_change_options *options, vmc_journal *journal, const vmc_deadline *deadline,
                          vmctl_error **err);

/* patch.c: a JSON merge patch (RFC 7396) that turns one object into the other; NULL: they are the same. */
cJSON *kubevirt_merge_patch(const cJSON *from, const cJSON *to);

#endif
