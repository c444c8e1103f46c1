/* backends/libvirt/change.h - the steps of one change of a VM: what each does to the definition and to the running domain. */
#ifndef VMC_LIBVIRT_CHANGE_H
#define VMC_LIBVIRT_CHANGE_H

#include "listener.h"
#include "plan.h"
#include "rpc.h"

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
    char *why;      /* AT_RESTART: why not now, "bus sata takes no disk while the VM runs" */
    bool done;      /* the running domain has it */
    char *undo_xml; /* LINK, MEDIUM, REMOVE: the device as it was */
    char *alias;    /* ADD, MEMORY by a DIMM: what was attached */
    uint64_t old;   /* MEMORY (KiB), CPUS */
} libvirt_step;

typedef struct libvirt_changing {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const vmc_deadline *deadline;
    bool live;           /* every step must be in force now */
    bool force;          /* MEDIUM: whatever the guest says */
    virDomainPtr domain; /* a reference: the handle's, or after an abandoned call one of the new connection */
    const vmctl_diff *diff;
    libvirt_step *steps;
    size_t count;
    bool active;
    bool saved; /* its memory is kept, with the devices that it had then */
    int autostart;
    char *live_xml;                     /* NULL while it does not run */
    char *old_xml;                      /* the definition before */
    char *new_xml;                      /* and after, as libvirt keeps it; NULL until then */
    bool defining;                      /* it was sent */
    bool noted;                         /* the running domain has the new marker */
    libvirt_domain_facts *now, *config; /* now: of live_xml, NULL */
    libvirt_store store;
    libvirt_file *files; /* in the diff's order, for each change that brings one */
    size_t file_count;
    libvirt_file kernel, initrd;
    char *serial_log;
    libvirt_host_features host;
    libvirt_capabilities *foreign;
    libvirt_listener *listener; /* NULL until something waits for the guest */
} libvirt_changing;

/* Reads the domain. INVALID_STATE for a transient one. The deadline and the handle must outlive it; close in every case. */
int libvirt_changing_open(libvirt_changing *ch, libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                          vmctl_error **err);
/* Makes the changes, all or none; each step then has its effect. The diff must live until close. */
int libvirt_changing_run(libvirt_changing *ch, const vmctl_diff *diff, bool dry_run, vmc_journal *journal,
                         vmctl_error **err);
void libvirt_changing_close(libvirt_changing *ch);

/* change_check.c: these only look, and say why not and what to do about it; `vmctl caps --vm` says the same. */
#define LIBVIRT_SAVED_OBSTACLE "the VM is saved, and its next start goes on with what it had then"
/* kept: the domain has a definition. INVALID_STATE. */
int libvirt_change_check_kept(const char *name, bool kept, vmctl_error **err);
/* Whether a disk can grow, for a VM whose memory is saved or not. INVALID_STATE. */
int libvirt_change_check_grow(const char *name, bool saved, const char *disk, vmctl_error **err);
/* What to do about a change that waits for a restart: free. */
char *libvirt_change_later(const char *name);
/* Why such a device cannot come to (adding) or leave a running domain: free; NULL: it can, as far as is known beforehand. */
char *libvirt_device_obstacle(const libvirt_conn *conn, unsigned long libvirt_version, const char *live_xml,
                              const vmctl_device *device, bool adding);
/* The optical drive of that name, NULL: the only one. NOT_FOUND, AMBIGUOUS. */
int libvirt_drive_find(const char *vm, const libvirt_domain_facts *facts, const char *name, const vmctl_device **out,
                       vmctl_error **err);

/* change_live.c: what a step means for the running domain, decided before anything is done: its effect, and why not now. planned: what the
 * definition becomes. Only looks. */
void libvirt_step_settle(const libvirt_changing *ch, libvirt_step *step, const libvirt_domain_facts *planned);
/* Does it there. What the running domain cannot take or give becomes AT_RESTART, with a note, unless ch->live. */
int libvirt_step_do(libvirt_changing *ch, libvirt_step *step, vmctl_error **err);
/* Takes it back. A disk that has grown stays grown: DATA_LOSS_PREVENTED. */
int libvirt_step_undo(libvirt_changing *ch, libvirt_step *step, const vmc_deadline *deadline, vmctl_error **err);
/* An error of libvirt that a person can do something about gets its code and the next step. Returns the code. */
int libvirt_step_explain(const libvirt_changing *ch, const libvirt_step *step, vmctl_error **err);
/* Gives the running domain the description and the marker of this document. */
int libvirt_live_texts(const libvirt_changing *ch, const char *xml, const vmc_deadline *deadline, vmctl_error **err);
/* The running domain's device of a list by its name; NULL. */
const vmctl_device *libvirt_step_device(const libvirt_domain_facts *facts, const char *list, const char *name);
/* A call's arguments with the domain. */
libvirt_rpc *libvirt_changing_rpc(const libvirt_changing *ch);

/* change_numbers.c: CPUs and memory. */
/* Why a domain that runs with this XML cannot have so many CPUs, so much memory (KiB), before its next start: free; NULL: it can. */
char *libvirt_cpus_obstacle(const char *live_xml, uint64_t wanted);
char *libvirt_memory_obstacle(const char *live_xml, uint64_t wanted_kib);
void libvirt_number_settle(const libvirt_changing *ch, libvirt_step *step);
int libvirt_number_do(libvirt_changing *ch, libvirt_step *step, vmctl_error **err);
int libvirt_number_undo(libvirt_changing *ch, libvirt_step *step, const vmc_deadline *deadline, vmctl_error **err);

/* change_guest.c: what needs the guest's consent, waited for by libvirt's events. */
/* Asks the guest to let the device go. TIMEOUT: it has not within the time that guests get; the request stands. BUSY: it refused. */
int libvirt_unplug(libvirt_changing *ch, const char *alias, const char *what, const vmc_deadline *deadline,
                   vmctl_error **err);
/* Asks the guest's balloon driver for this much memory. TIMEOUT: the guest has another amount still. */
int libvirt_balloon(libvirt_changing *ch, uint64_t kib, const vmc_deadline *deadline, vmctl_error **err);

/* change_online.c: added CPUs and memory that the guest's kernel leaves offline, as Debian's does, are brought online by its agent, where
 * that is connected; what does not get so far is a note. begin before they are added. */
typedef enum libvirt_online_kind { LIBVIRT_ONLINE_CPUS, LIBVIRT_ONLINE_MEMORY } libvirt_online_kind;
typedef struct libvirt_online libvirt_online;
libvirt_online *libvirt_online_begin(libvirt_changing *ch, libvirt_online_kind kind);
/* added: how many came, CPUs or sections of memory; 0: none did, and nothing is done. Frees it; NULL is allowed. */
void libvirt_online_end(libvirt_changing *ch, libvirt_online *online, uint64_t added);

/* change_disk.c: grows a disk, running or not. */
int libvirt_grow_disk(libvirt_changing *ch, libvirt_step *step, vmctl_error **err);

#endif
