/* backends/virtualbox/change.h - the steps of one change of a VM, the calls of VBoxManage that make them and those that take them back. */
#ifndef VMC_VIRTUALBOX_CHANGE_H
#define VMC_VIRTUALBOX_CHANGE_H

#include "pending.h"
#include "plan_parts.h"
#include "snapshot.h"

typedef enum virtualbox_step_kind {
    VIRTUALBOX_STEP_SETTING, /* one that only a stopped VM takes */
    VIRTUALBOX_STEP_MARKER,  /* labels, lifetime: in the marker alone */
    VIRTUALBOX_STEP_DESCRIPTION,
    VIRTUALBOX_STEP_AUTOSTART,
    VIRTUALBOX_STEP_NIC, /* one key of a NIC */
    VIRTUALBOX_STEP_MEDIUM,
    VIRTUALBOX_STEP_CPUS,
    VIRTUALBOX_STEP_MEMORY, /* its size: of a VM that runs by the balloon */
    VIRTUALBOX_STEP_SIZE,   /* of a disk: never taken back */
    VIRTUALBOX_STEP_ADD,
    VIRTUALBOX_STEP_REMOVE
} virtualbox_step_kind;

typedef struct virtualbox_step {
    const vmctl_change *change;
    virtualbox_step_kind kind;
    char *list; /* "disks"; the whole path where it has one part */
    char *name; /* of the device; NULL */
    char *key;  /* the last part of the path; NULL */
    vmctl_effect effect;
    char *why;          /* AT_RESTART: why not now */
    bool made;          /* its calls are planned: with an earlier step of the same device */
    const char *volume; /* ADD of a disk: the file that is made for it, in `files`; NULL */
} virtualbox_step;

/* One call, and the one that takes it back. */
typedef struct virtualbox_order {
    vmc_strv argv, back; /* back empty: there is none */
    char *place;         /* "SATA-1-0": what it attaches there; NULL */
    bool last;           /* after all others: the growth of a disk */
    bool done;
    bool of_file; /* nothing is to be taken back: it was done to a new file, which goes */
} virtualbox_order;

typedef struct virtualbox_changing {
    virtualbox_scene scene; /* as it was; its marker stays so */
    bool live;              /* every step must be in force now */
    bool force;             /* MEDIUM: whatever the guest says */
    bool fixed;             /* its settings cannot be changed now: it runs or is saved */
    const vmctl_diff *diff;
    virtualbox_step *steps;
    size_t count;
    cJSON *shown;       /* the spec before, without what waits */
    vmctl_spec *wanted; /* and after */
    virtualbox_order *orders;
    size_t order_count;
    vmc_strv modify_back;  /* modifyvm as it was */
    bool unknown_back;     /* something of it cannot be told: an option of virtualbox.modifyvm */
    virtualbox_plan files; /* what is made, and the marker after the change */
    virtualbox_planning p; /* p.modify: modifyvm, one call for all settings, whole or not at all */
    vboxmanage_registry registry;
    vboxmanage_usb_devices usb_host; /* the host's devices, where they were asked for */
    vmc_strv usb_filters;            /* names, as they stand after what is planned so far (usb.c) */
    bool usb_begun;                  /* usb_filters is filled */
    bool noted;                      /* the marker was written */
    bool settles;                    /* makes what waited: nothing waits after it */
} virtualbox_changing;

/* Looks at the VM. The deadline and the handle must outlive it; close in every case. */
int virtualbox_changing_open(virtualbox_changing *ch, virtualbox_conn *conn, virtualbox_vm *vm,
                             const vmc_deadline *deadline, vmctl_error **err);
/* The same, and a stopped VM takes what waited for its start first. */
int virtualbox_changing_ready(virtualbox_changing *ch, virtualbox_conn *conn, virtualbox_vm *vm,
                              const vmc_deadline *deadline, vmctl_error **err);
/* Makes the changes, all or none; each step then has its effect. The diff must live until close. journal NULL: no files are made. */
int virtualbox_changing_run(virtualbox_changing *ch, const vmctl_diff *diff, bool dry_run, vmc_journal *journal,
                            vmctl_error **err);
void virtualbox_changing_close(virtualbox_changing *ch);

/* --- change_check.c: these only look, and say why not and what to do about it; `vmctl caps --vm` says the same ------------------ */

/* BUSY, INVALID_STATE: VirtualBox cannot read its settings, or it is in between two states. */
int virtualbox_change_check(const virtualbox_scene *scene, vmctl_error **err);
#define VIRTUALBOX_SAVED_OBSTACLE "the VM is saved, and its next start goes on with what it had then"
#define VIRTUALBOX_FIXED_OBSTACLE "VirtualBox changes this of a stopped VM only"
/* Why a disk or drive on this controller (NULL: there is none) cannot come to (attachment NULL) or leave a VM that runs. free; NULL: it can. */
char *virtualbox_disk_obstacle(const vboxmanage_machine *machine, const char *bus,
                               const vboxmanage_attachment *attachment);
/* Why it cannot have so many CPUs now. free; NULL: it can. */
char *virtualbox_cpus_obstacle(const vboxmanage_machine *machine, uint64_t wanted);
/* Why the guest cannot have so much memory now. free; NULL: it can, by the balloon. */
char *virtualbox_memory_obstacle(const virtualbox_scene *scene, uint64_t wanted_mib);
/* Whether the disk can grow at all: INVALID_STATE (saved, snapshots stand on it), UNSUPPORTED (its format). */
int virtualbox_grow_check(const virtualbox_scene *scene, const char *name, const vboxmanage_medium *medium,
                          vmctl_error **err);
/* What to do about a change that waits for a restart: free. */
char *virtualbox_change_later(const char *name);
/* The optical drive of that name, NULL: the only one. NOT_FOUND, AMBIGUOUS. */
int virtualbox_drive_find(const virtualbox_scene *scene, const char *name, const vboxmanage_attachment **out,
                          vmctl_error **err);
/* The attachment, the NIC, the share that a device's name means; NULL. */
const vboxmanage_attachment *virtualbox_attachment_named(const virtualbox_scene *scene, const char *name);
const vboxmanage_nic *virtualbox_nic_named(const virtualbox_scene *scene, const char *name);
const vboxmanage_share *virtualbox_share_named(const virtualbox_scene *scene, const char *name);

/* --- change_orders.c: what each step is to VBoxManage ------------------------------------------------------------------------------ */

/* Decides the step's effect, and why not now. Only looks. */
int virtualbox_step_settle(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);
/* Appends its calls. Only looks. */
int virtualbox_step_plan(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);
virtualbox_order *virtualbox_order_add(virtualbox_changing *ch);

#endif
