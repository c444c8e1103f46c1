/* backends/libvirt/change.h - the steps of one change of a VM: what each does to the definition and to the running domain. */
#ifndef VMC_LIBVIRT_CHANGE_H
#define VMC_LIBVIRT_CHANGE_H

#include "plan.h"

typedef enum libvirt_step_kind {
    LIBVIRT_STEP_DEFINITION, /* the definition alone */
    LIBVIRT_STEP_AUTOSTART,
    LIBVIRT_STEP_TEXTS, /* description, labels, lifetime: metadata, the same while it runs */
    LIBVIRT_STEP_LINK,
    LIBVIRT_STEP_MEDIUM,
    LIBVIRT_STEP_MEMORY,
    LIBVIRT_STEP_CPUS,
    LIBVIRT_STEP_SIZE, /* of a disk: no matter of the definition at all */
    LIBVIRT_STEP_ADD,
    LIBVIRT_STEP_REMOVE
} libvirt_step_kind;

typedef struct libvirt_step {
    const vmctl_change *change;
    libvirt_step_kind kind;
    char *list; /* "disks"; the whole path where it has one part */
    char *name; /* of the device; NULL */
    char *key;  /* the last part of the path; NULL */
    vmctl_effect effect;
    bool done;      /* the running domain has it */
    char *undo_xml; /* LINK, MEDIUM, REMOVE: the device as it was; ADD: as it was attached */
    uint64_t old;   /* MEMORY (KiB), CPUS */
} libvirt_step;

typedef struct libvirt_changing {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const vmc_deadline *deadline;
    const vmctl_diff *diff;
    libvirt_step *steps;
    size_t count;
    bool active;
    int autostart;
    char *live_xml; /* NULL while it does not run */
    char *old_xml;  /* the definition before */
    char *new_xml;  /* and after, as libvirt keeps it */
    libvirt_domain_facts *live, *config;
    libvirt_store store;
    libvirt_file *files; /* in the diff's order, for each change that brings one */
    size_t file_count;
    libvirt_file kernel, initrd;
    char *serial_log;
    libvirt_host_features host;
    libvirt_capabilities *foreign;
} libvirt_changing;

/* change_live.c: what a step means for the running domain, decided before anything is done. */
vmctl_effect libvirt_step_effect(const libvirt_changing *ch, const libvirt_step *step);
/* Does it there. A device that the running domain cannot take or give becomes AT_RESTART, with a note, unless must. */
int libvirt_step_do(libvirt_changing *ch, libvirt_step *step, bool must, vmctl_error **err);
/* Takes it back. A disk that has grown stays grown: DATA_LOSS_PREVENTED. */
int libvirt_step_undo(libvirt_changing *ch, libvirt_step *step, const vmc_deadline *deadline, vmctl_error **err);

/* change_disk.c: grows a disk, running or not. */
int libvirt_grow_disk(libvirt_changing *ch, libvirt_step *step, vmctl_error **err);

#endif
