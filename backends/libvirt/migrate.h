/* backends/libvirt/migrate.h - moving a VM to another libvirt: what is looked at before, what is done, and how what was begun is settled.
 * Source: libvirt's migration.html and virDomainMigrate3, virDomainMigrateToURI3. */
#ifndef VMC_LIBVIRT_MIGRATE_H
#define VMC_LIBVIRT_MIGRATE_H

#include "job.h"
#include "storage.h"
#include "xml_tree.h"

/* --- what stands in the way (migrate_check.c, migrate_target.c) --------------------------------------------- */

typedef struct libvirt_obstacle {
    bool fatal;
    int code;         /* what the operation fails with when it is fatal */
    const char *what; /* vmctl_obstacle.what */
    char *reason;
    char *remedy; /* NULL */
} libvirt_obstacle;

/* {0} is an empty one. */
typedef struct libvirt_obstacles {
    libvirt_obstacle *items;
    size_t count;
} libvirt_obstacles;

void libvirt_obstacles_free(libvirt_obstacles *list);
#define LIBVIRT_AUTO_OBSTACLES vmc_cleanup(libvirt_obstacles_free) libvirt_obstacles

/* How a VM shall be moved, as far as the checks ask. */
typedef struct libvirt_migrate_how {
    bool live;    /* it runs and goes on */
    bool storage; /* the disks are copied */
    bool tunnelled, postcopy;
    bool unsafe; /* the person says that both hosts have the disks */
} libvirt_migrate_how;

/* The VM at the source, read in one go (migrate.c). */
typedef struct libvirt_migrate_vm {
    int state, reason; /* virDomainState and its reason */
    bool active, persistent, autostart, saved;
    int snapshots, checkpoints;
    unsigned long libvirt_version; /* of the source's daemon: major * 1,000,000 + minor * 1,000 + release */
    libvirt_job job;
    char *xml;    /* the definition that it runs with, migratable; the persistent one when it does not run */
    char *config; /* the persistent one; NULL: transient */
    xmlDoc *doc;  /* xml, read */
} libvirt_migrate_vm;

int libvirt_migrate_vm_read(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                            libvirt_migrate_vm *out, vmctl_error **err);
void libvirt_migrate_vm_free(libvirt_migrate_vm *vm);

/* Whether the VM's state fits the way that it shall be moved (mode, postcopy, tunnelled of the options): BUSY, INVALID_STATE, INVALID_ARGUMENT
 * (migrate.c). */
int libvirt_migrate_check_mode(const char *name, const libvirt_migrate_vm *facts, const vmctl_migrate_options *options,
                               vmctl_error **err);
/* Whether there is a migration to be stopped: INVALID_STATE (migrate_job.c). */
int libvirt_migrate_check_abort(const char *name, bool migrating, vmctl_error **err);
/* What the VM itself has against it, whatever the target: a saved or snapshotted one, devices of the host, folders shared live. Looks at
 * nothing but its arguments. */
void libvirt_migrate_check_vm(const char *name, const libvirt_migrate_vm *vm, const libvirt_migrate_how *how,
                              libvirt_obstacles *out);
/* What the target lacks for it, or has too much: the same host, name or UUID taken, QEMU, machine, CPU model, memory, networks, pools and
 * files. Reading only. Fails only where the target cannot be asked at all. */
int libvirt_migrate_check_target(libvirt_conn *source, libvirt_conn *target, const char *name, const char *uuid,
                                 const libvirt_migrate_vm *vm, const libvirt_migrate_how *how,
                                 const vmc_deadline *deadline, libvirt_obstacles *out, vmctl_error **err);
/* Whether the disk's file is on storage that other hosts may have too, by the kind of its file system. Only for a file of this machine. */
bool libvirt_on_shared_storage(const char *path);

void libvirt_obstacle_add(libvirt_obstacles *list, bool fatal, int code, const char *what, const char *remedy,
                          const char *format, ...) VMCTL_PRINTF(6, 7);

/* --- the disks (migrate_disks.c) ---------------------------------------------------------------------------- */

/* One disk or file of the VM and its place on the target. */
typedef struct libvirt_move_file {
    char *target;      /* "vda"; NULL: of no disk */
    char *path;        /* at the source */
    bool written;      /* the guest writes to it */
    libvirt_file file; /* at the target */
} libvirt_move_file;

typedef struct libvirt_move_files {
    libvirt_store store; /* of the target */
    libvirt_move_file *items;
    size_t count;
    bool moved; /* a path is another one on the target */
} libvirt_move_files;

/* Whether the file goes along when the storage is copied: what the guest writes to and no other VM, and what vmctl made for it. */
bool libvirt_move_takes(const xmlNode *domain, const xmlNode *disk, const libvirt_migrate_how *how);
bool libvirt_move_takes_file(const xmlNode *domain, const char *path, const libvirt_migrate_how *how);
/* The name of the pool that the folder is; free. NULL: none, or not known. */
char *libvirt_move_pool_at(libvirt_conn *conn, const char *folder, const vmc_deadline *deadline);

/* Works out which files go to which place on the target; nothing is made. A place that is taken, a pool that is full: obstacles. */
int libvirt_move_files_plan(libvirt_conn *source, libvirt_conn *target, const libvirt_vm *vm,
                            const libvirt_migrate_vm *facts, const libvirt_migrate_how *how,
                            const vmc_deadline *deadline, libvirt_move_files *out, libvirt_obstacles *obstacles,
                            vmctl_error **err);
/* Makes them at the target, each noted in its journal before. What the guest writes to is only made, in its size, when it runs; media, and all
 * when it does not run, are copied. */
int libvirt_move_files_make(libvirt_conn *source, libvirt_move_files *files, bool live, vmc_journal *journal,
                            vmctl_error **err);
/* The document with the paths of the target; free. */
char *libvirt_move_files_xml(const libvirt_move_files *files, const char *xml);
void libvirt_move_files_free(libvirt_move_files *files);

/* transfer.c: a volume's bytes into another one's, through this process. */
int libvirt_copy_volume(libvirt_conn *from, const char *path, libvirt_conn *to, virStorageVolPtr volume,
                        const libvirt_file *file, const char *vm, const vmc_deadline *deadline, vmctl_error **err);

/* --- the job (migrate_job.c) -------------------------------------------------------------------------------- */

typedef struct libvirt_migrate_job {
    libvirt_conn *source, *target; /* target NULL: the source's daemon connects itself, to uri */
    const char *uri;
    virDomainPtr domain; /* of source */
    const char *name;
    unsigned flags;
    const char *dest_xml, *persist_xml, *migrate_uri, *disks_uri; /* NULL: libvirt's own */
    vmc_strv disks;                                               /* targets ("vda") of those that are copied */
    uint64_t bandwidth_mib;                                       /* 0: libvirt's own */
    uint64_t memory_bytes;                                        /* of the VM: for the progress */
    bool postcopy;
} libvirt_migrate_job;

/* Runs it to its end, with progress. At the deadline and on cancel libvirt is asked to give it up and the end is awaited: 0 when it was too
 * late. */
int libvirt_migrate_job_run(const libvirt_migrate_job *job, const vmc_deadline *deadline, vmctl_error **err);
/* Asks libvirt to give up the outgoing migration of the domain and waits until there is none. INVALID_STATE: there is none. */
int libvirt_migrate_job_abort(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                              vmctl_error **err);

/* --- a stopped one (migrate_offline.c) ---------------------------------------------------------------------- */

/* Defines the stopped VM on the target by the document and removes the definition at the source. After a failure libvirt_migrate_settle tells what is
 * left of it. CONFLICT: it was started meanwhile. */
int libvirt_migrate_offline(libvirt_conn *source, libvirt_conn *target, const libvirt_vm *vm, const char *xml,
                            bool autostart, const vmc_deadline *deadline, vmctl_error **err);
struct libvirt_rpc;
/* Work function: domain is no longer defined. Its variable store stays: where the VM was not running, it is the only copy of what it holds. */
int libvirt_migrate_work_undefine(struct libvirt_rpc *rpc);

/* --- stopping (migrate_stop.c) ------------------------------------------------------------------------------ */

/* What the steps of one stop have done; {0} before the first. */
typedef struct libvirt_stopping {
    bool asked;           /* an abort was taken */
    bool suspended;       /* by the second cure */
    int64_t switching_ms; /* since when the guest stands still for the switch-over; 0: it does not */
} libvirt_stopping;

/* One step towards the end of the outgoing migration, to be made again every half a second or so until it has ended: an abort where that does
 * not cost the VM its life, else nothing, and the cure where an earlier one got stuck. */
int libvirt_migrate_stop(libvirt_conn *conn, virDomainPtr domain, libvirt_stopping *stopping,
                         const vmc_deadline *deadline, vmctl_error **err);
/* After a migration that failed, where the VM shall run on here: its disks are its own again, and it runs. */
int libvirt_migrate_take_back(libvirt_conn *conn, virDomainPtr domain, const vmc_deadline *deadline, vmctl_error **err);

/* --- settling (migrate_settle.c) ---------------------------------------------------------------------------- */

/* The journals' words: "moving" at the source, "arriving" at the target; the detail is UUID, "running", "paused" or "stopped" (with "+autostart"), and the other
 * one's URI. */
#define LIBVIRT_NOTE_MOVING   "moving"
#define LIBVIRT_NOTE_ARRIVING "arriving"
char *libvirt_migrate_note(const char *uuid, const libvirt_migrate_vm *vm, const char *other_uri);
/* undo.c calls it: afterwards the VM is on one of the two, and nothing of it on the other one. What cannot be told from here fails, and the note
 * stays. */
int libvirt_migrate_settle(libvirt_conn *conn, bool arriving, const char *detail, const vmc_deadline *deadline,
                           vmctl_error **err);

#endif
