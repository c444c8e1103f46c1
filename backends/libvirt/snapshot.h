/* backends/libvirt/snapshot.h - snapshots of a domain: read as a tree, and what can be done with each, known beforehand.
 *
 * An internal snapshot lives in the qcow2 files themselves, an external one leaves them behind and goes on in overlays. libvirt has one name for
 * a snapshot, which QEMU keeps in the qcow2 files too and which nobody can change there. So a renamed one keeps it (`id` here), and vmctl's name stands in
 * the metadata of the domain that the snapshot's document carries (urn:vmctl:snapshot:1). Source: libvirt's formatsnapshot.html. */
#ifndef VMC_LIBVIRT_SNAPSHOT_H
#define VMC_LIBVIRT_SNAPSHOT_H

#include "base/journal.h"
#include "conn.h"
#include "xml_tree.h"
#include <vmctl/backend.h>

typedef enum libvirt_snapshot_part {
    LIBVIRT_PART_NONE, /* not in the snapshot */
    LIBVIRT_PART_INTERNAL,
    LIBVIRT_PART_EXTERNAL
} libvirt_snapshot_part;

typedef struct libvirt_snapshot_disk {
    libvirt_snapshot_part part;
    char *target;  /* "vda" */
    char *name;    /* the spec's; the target where there is none */
    char *source;  /* the file or device that it was when the snapshot was taken; NULL: none, or not known */
    char *format;  /* of it; NULL */
    char *overlay; /* EXTERNAL: the file that was begun then; NULL */
    uint64_t bytes_then, bytes_now; /* the disk's size, when check_files could see it; else equal */
    bool writable;                  /* a disk with data of its own: no optical drive, not read-only */
} libvirt_snapshot_disk;

typedef struct libvirt_snapshot {
    char *id;     /* libvirt's and QEMU's name for it */
    char *name;   /* vmctl's: the id until it is renamed */
    char *parent; /* its id; NULL: a root */
    char *description;
    int64_t created;
    vmctl_state state; /* of the VM when it was taken */
    bool memory, internal, external, current;
    bool has_domain;             /* its document tells what the VM was */
    bool cpus_came;              /* ... with CPUs that were plugged while it ran */
    int quiesced;                /* 1, -1 not known */
    char *memory_file;           /* external memory; NULL */
    vmc_strv networks;           /* libvirt's, that its NICs are on */
    char *document;              /* libvirt's, without secrets */
    virDomainSnapshotPtr handle; /* where libvirt_snapshot_ask asked; else NULL */
    libvirt_snapshot_disk *disks;
    size_t disk_count;
} libvirt_snapshot;

/* Parents before children. {0} is empty. */
typedef struct libvirt_snapshots {
    libvirt_snapshot *items;
    size_t count;
} libvirt_snapshots;

int libvirt_snapshots_read(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                           libvirt_snapshots *out, vmctl_error **err);
/* From the documents alone; current: libvirt's name of the current one, NULL: none. */
int libvirt_snapshots_parse(const vmc_strv *documents, const char *current, libvirt_snapshots *out, vmctl_error **err);
void libvirt_snapshots_free(libvirt_snapshots *snapshots);
/* By vmctl's name, else by libvirt's. NULL, and NOT_FOUND with the nearest name. */
const libvirt_snapshot *libvirt_snapshots_find(const libvirt_snapshots *snapshots, const char *vm, const char *name,
                                               vmctl_error **err);
/* The same without an error. */
const libvirt_snapshot *libvirt_snapshots_named(const libvirt_snapshots *snapshots, const char *name);
const libvirt_snapshot *libvirt_snapshots_parent(const libvirt_snapshots *snapshots, const libvirt_snapshot *snapshot);
bool libvirt_snapshots_descends(const libvirt_snapshots *snapshots, const libvirt_snapshot *from,
                                const libvirt_snapshot *ancestor);
/* One as the caller is told it; returns what `each` returned. */
int libvirt_snapshot_tell(const libvirt_snapshots *snapshots, const libvirt_snapshot *from, vmctl_snapshot_fn each,
                          void *user);
/* The files that external snapshots began on top of `own` ones, and their memory: they are worth nothing without those. */
void libvirt_snapshots_files(const libvirt_snapshots *snapshots, const vmc_strv *own, vmc_strv *files);

/* --- what there is (snapshot.c) ------------------------------------------------------------------------------- */

/* All that a verb wants to know before it touches anything, asked in one go. */
typedef struct libvirt_snapshot_scene {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const vmc_deadline *deadline;
    bool active, saved; /* saved: a managed save image is there */
    int vir_state, vir_reason;
    int job;                       /* virDomainJobOperation of a job under way; -1: there is none */
    char *xml;                     /* the running domain's, or its definition */
    char *definition;              /* with its secrets; NULL: a transient domain */
    unsigned long libvirt_version; /* the daemon's, 9000000 is 9.0.0; 0: nothing was seen that depends on it */
    libvirt_snapshots snapshots;
} libvirt_snapshot_scene;

/* Each word is a question more: state and snapshots are always asked for. */
enum { LIBVIRT_LOOK_XML = 1u << 0, LIBVIRT_LOOK_DEFINITION = 1u << 1, LIBVIRT_LOOK_VERSION = 1u << 2 };

int libvirt_snapshot_ask(libvirt_conn *conn, const libvirt_vm *vm, unsigned wanted, const vmc_deadline *deadline,
                         libvirt_snapshot_scene *out, vmctl_error **err);
/* All of them. */
int libvirt_snapshot_look(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                          libvirt_snapshot_scene *out, vmctl_error **err);
void libvirt_snapshot_scene_free(libvirt_snapshot_scene *scene);

/* --- what can be done (snapshot_check.c): these only look, and say why not and what to do about it ------------------ */

/* Whether the running domain has CPUs that were plugged. */
bool libvirt_cpus_came(const xmlNode *domain);

typedef enum libvirt_snapshot_kind {
    LIBVIRT_SNAPSHOT_MEMORY,  /* internal, of the whole running VM */
    LIBVIRT_SNAPSHOT_DISKS,   /* internal, of a VM that does not run */
    LIBVIRT_SNAPSHOT_OVERLAYS /* external, of the disks alone */
} libvirt_snapshot_kind;

/* BUSY while a migration or another job has the domain. */
int libvirt_snapshot_check_idle(const libvirt_snapshot_scene *scene, vmctl_error **err);
/* Which kind `snapshot create` makes: one that this libvirt and these disks can also revert. UNSUPPORTED, INVALID_STATE. */
int libvirt_snapshot_check_create(const libvirt_snapshot_scene *scene, vmctl_snapshot_memory memory, bool quiesce,
                                  libvirt_snapshot_kind *kind, vmctl_error **err);
/* Whether the snapshot can be gone back to without harm to another one: UNSUPPORTED, DATA_LOSS_PREVENTED. */
int libvirt_snapshot_check_revert(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                  vmctl_error **err);
/* The files that it needs, where this process can see them: there, and with the snapshot in them. NOT_FOUND, CONFLICT. */
int libvirt_snapshot_check_files(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                 vmctl_error **err);
/* The same, and the sizes of its disks are noted in it. */
int libvirt_snapshot_note_files(const libvirt_snapshot_scene *scene, libvirt_snapshot *snapshot, vmctl_error **err);
/* gone[i]: snapshots.items[i] is deleted with it. */
int libvirt_snapshot_check_delete(const libvirt_snapshot_scene *scene, const libvirt_snapshot *snapshot,
                                  const bool *gone, vmctl_error **err);
int libvirt_snapshot_check_name(const libvirt_snapshot_scene *scene, const char *name, vmctl_error **err);
/* Whether a domain's <disk> holds data that a snapshot is for. */
bool libvirt_snapshot_writable(const xmlNode *disk);
/* What a snapshot of this domain leaves out, in words ("its UEFI variables"); NULL: nothing. free. */
char *libvirt_snapshot_left_out(const char *domain_xml);

/* --- the snapshot's document (snapshot_note.c) --------------------------------------------------------------------- */

/* vmctl's own words in a snapshot's document: applied when id and creation time are its own, as a revert and a later snapshot carry them on. name
 * NULL: none. */
void libvirt_snapshot_note_write(xmlDoc *snapshot, const char *name, bool quiesced);
/* Borrowed from the document. false: there is none for this snapshot. */
bool libvirt_snapshot_note_read(const xmlNode *snapshot, const char **name, bool *quiesced);
/* Gives the domain inside the marker as the VM has it now (owner, lease, labels, files that vmctl made since), so that a revert keeps them. false: it
 * is so already. */
bool libvirt_snapshot_marker_keep(xmlDoc *snapshot, const char *definition);
/* Reads the document of one snapshot with its secrets, and stores the changed one. */
int libvirt_snapshot_document(libvirt_conn *conn, const libvirt_vm *vm, const char *id, const vmc_deadline *deadline,
                              xmlDoc **out, vmctl_error **err);
int libvirt_snapshot_redefine(libvirt_conn *conn, const libvirt_vm *vm, xmlDoc *document, const vmc_deadline *deadline,
                              vmctl_error **err);

/* --- undoing (snapshot_undo.c) ---------------------------------------------------------------------------------------
 * Journal: "snapshot" UUID SECONDS ID (taken at about that time and no other), "freeze" UUID (file systems that must be thawed), "stale-save" UUID (a
 * saved memory that a domain which runs again must not be started from). */
int libvirt_snapshot_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
int libvirt_thaw_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);
int libvirt_stale_save_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline, vmctl_error **err);

#endif
