/* backends/libvirt/storage.h - the files that a VM is made of: planned first, with everything checked that can be, then
 * made, each noted in the journal before.
 *
 * Where this process may write in the pool's folder itself, a file is made beside its place under a name nobody else has, and moved there
 * only if nobody else has taken the place. Elsewhere a volume is made by the daemon and filled through a stream.
 * Journal: "file" PATH (the unfinished file), "inode" or "added" DEVICE:NUMBER PATH (the finished one, and no other that
 * has its name), "volume" or "added-volume" POOL/NAME. See undo.c.
 */
#ifndef VMC_LIBVIRT_STORAGE_H
#define VMC_LIBVIRT_STORAGE_H

#include "base/journal.h"
#include "conn.h"
#include "domain_xml.h"
#include "pool.h"

/* What one operation knows about the storage. */
typedef struct libvirt_store {
    libvirt_conn *conn;
    const vmc_deadline *deadline;
    const char *vm;        /* for the files' names and for progress; NULL: for no VM */
    const char *qemu_user; /* NULL: the person's own */
    bool predict;          /* for render: a name that is taken is a note and no error */
    bool exclusive;        /* a disk of another VM is refused, and not only told */
    const char *uuid;      /* of the VM, where it exists: its own disks are no other's; NULL */
    bool keep_used;        /* what a VM uses by then is not undone: for changes of a VM that stays */
    libvirt_pool *pools;
    vmc_strv planned; /* paths that this operation will make */
} libvirt_store;

void libvirt_store_open(libvirt_store *store, libvirt_conn *conn, const vmc_deadline *deadline, const char *vm,
                        const char *qemu_user);
void libvirt_store_close(libvirt_store *store);

typedef enum libvirt_file_kind {
    LIBVIRT_FILE_NONE,     /* a drive without a medium */
    LIBVIRT_FILE_IN_PLACE, /* it is there already */
    LIBVIRT_FILE_BLANK,
    LIBVIRT_FILE_COPY,    /* of a file of this machine, converted when the formats differ */
    LIBVIRT_FILE_OVERLAY, /* on a file of the host */
    LIBVIRT_FILE_FLAT,    /* a copy of a disk of the host, with all that it stands on */
    LIBVIRT_FILE_BYTES    /* of this process's memory */
} libvirt_file_kind;

typedef struct libvirt_file {
    libvirt_file_kind kind;
    char *device;   /* the spec's name of it, for progress: "root"; NULL */
    char *name;     /* in its pool: "web-1-root.qcow2" */
    char *path;     /* on the host; NULL: a drive without a medium */
    char *format;   /* "qcow2", "raw" */
    char *source;   /* COPY, OVERLAY and FLAT */
    char *snapshot; /* FLAT: the qcow2 snapshot that is copied; NULL: the present state */
    char *source_format;
    uint64_t source_bytes; /* what a guest would see of it */
    uint64_t bytes;        /* what the guest shall see; 0: as the source */
    char *content;         /* BYTES */
    size_t length;
    bool block;
    libvirt_pool *pool;               /* of the store; NULL: IN_PLACE */
    char *origin;                     /* the image, as the spec names it; NULL */
    struct libvirt_volume_note *note; /* of a volume made through the daemon; NULL */
} libvirt_file;

void libvirt_file_free(libvirt_file *file);
/* As the domain's XML wants to know it; borrows from file. */
libvirt_disk_plan libvirt_file_plan(const libvirt_file *file);

/* An item of disks:. Nothing is made. The errors name the key and its line: NOT_FOUND, ALREADY_EXISTS, INVALID_SPEC, PERMISSION_DENIED. */
int libvirt_plan_disk(libvirt_store *store, const vmctl_node *item, libvirt_file *out, vmctl_error **err);
/* Another medium ("cdrom"; node NULL: none) or another volume ("volume") for a device that is there. */
int libvirt_plan_source(libvirt_store *store, const char *device, const char *key, const vmctl_node *node,
                        libvirt_file *out, vmctl_error **err);
/* A file that QEMU opens as it is (kernel, initrd, optical medium): used in place where QEMU can reach it, else copied into the
 * default pool as VM-`name`. */
int libvirt_plan_medium(libvirt_store *store, const vmctl_node *node, const char *source, const char *name,
                        const char *pool, libvirt_file *out, vmctl_error **err);
#define LIBVIRT_SEED_NAME "cidata.iso" /* cloud-init's seed is VM-cidata.iso */
/* A new file for a disk of the host that exists, as VM-`device` in the pool of its folder (else the default one): FLAT (its format stays) or
 * OVERLAY. snapshot: an internal one of a qcow2 file; NULL. */
int libvirt_plan_clone(libvirt_store *store, libvirt_file_kind kind, const char *source, const char *format,
                       const char *snapshot, const char *device, libvirt_file *out, vmctl_error **err);
/* A file of the default pool named VM-`name` with this content, which becomes the plan's. */
int libvirt_plan_bytes(libvirt_store *store, const char *name, char *content, size_t length, libvirt_file *out,
                       vmctl_error **err);
/* A whole local image as a volume of this name, not of a VM. pool NULL: the default one. */
int libvirt_plan_upload(libvirt_store *store, const char *path, const char *name, const char *pool, libvirt_file *out,
                        vmctl_error **err);
/* A path in the default pool for a file that the host will write, VM-`name` (or `name` where it begins with the VM's): checked to be
 * free, not made. *path: free. */
int libvirt_plan_path(libvirt_store *store, const vmctl_node *node, const char *name, char **path, vmctl_error **err);
/* Gives a file its pool (NULL: the default one), name and path there; node (may be NULL) is what errors point at. ALREADY_EXISTS. */
int libvirt_place_file(libvirt_store *store, const vmctl_node *node, const char *pool_name, const char *name,
                       libvirt_file *file, vmctl_error **err);
/* Whether the planned files fit: RESOURCE_EXHAUSTED with what is free and what is needed. */
int libvirt_plan_fits(libvirt_store *store, vmctl_error **err);

/* Starts (or makes) the pools that the plan uses. What it makes is everybody's and stays. */
int libvirt_make_pools(libvirt_store *store, vmctl_error **err);
/* Makes one planned file. ALREADY_EXISTS when someone was faster. */
int libvirt_make_file(libvirt_store *store, libvirt_file *file, vmc_journal *journal, vmctl_error **err);
/* Lets the daemon see the files. */
void libvirt_store_sync(libvirt_store *store);

/* A volume in the journal is TOKEN:SECONDS POOL/NAME: libvirt gives it no identity, so the entry says which process made it and when that was last known
 * to be at it. *seconds 0: not noted. The volume is within `detail`. */
const char *libvirt_volume_note_read(const char *detail, bool *own, int64_t *seconds);
/* While a volume's bytes are sent: notes from time to time that this process is still at it. */
int libvirt_volume_note_renew(const libvirt_file *file, vmctl_error **err);

/* transfer.c: fills a new volume of the pool from a local file (sparse when raw) or from memory; the volume exists already. */
int libvirt_upload(libvirt_conn *conn, virStorageVolPtr volume, const libvirt_file *file, const char *source,
                   const char *vm, const vmc_deadline *deadline, vmctl_error **err);

/* download.c: the volume's bytes into a new local file, which is on disk when this returns; its holes stay holes. A file that was begun
 * when it fails is the caller's to remove. */
int libvirt_download(libvirt_conn *conn, virStorageVolPtr volume, const char *path, const char *vm, const char *stage,
                     const vmc_deadline *deadline, vmctl_error **err);

/* volume.c: a path's file is removed through its pool where it belongs to one, else directly when the host is this machine. Absent: 0, *gone
 * false. */
int libvirt_remove_path(libvirt_conn *conn, const char *path, const vmc_deadline *deadline, bool *gone,
                        vmctl_error **err);
/* The file that a serial port is logged to, and what virtlogd moved aside when it grew (PATH.0, PATH.1, ...). *gone (may be NULL): it was
 * there. */
int libvirt_remove_log(libvirt_conn *conn, const char *path, const vmc_deadline *deadline, bool *gone,
                       vmctl_error **err);
/* disk_users.c: name, UUID and document of every domain, three strings each: asked once, looked at for several paths. */
int libvirt_documents(libvirt_conn *conn, const vmc_deadline *deadline, vmc_strv *documents, vmctl_error **err);
/* The names of those, other than the one of this UUID (may be NULL), that use the path: as a disk, as what a disk is an overlay of,
 * or to boot from. */
void libvirt_documents_users(libvirt_conn *conn, const vmc_strv *documents, const char *path, const char *except_uuid,
                             const vmc_deadline *deadline, vmc_strv *names);
/* Both at once, for one path. *running (may be NULL): one of them runs. */
int libvirt_path_users(libvirt_conn *conn, const char *path, const char *except_uuid, const vmc_deadline *deadline,
                       vmc_strv *names, bool *running, vmctl_error **err);
/* A volume's document by POOL/NAME, by its path, or by its name in the default pool. *xml NULL: there is none. */
int libvirt_volume_find(libvirt_conn *conn, const char *name, const vmc_deadline *deadline, virStorageVolPtr *volume,
                        char **xml, vmctl_error **err);

/* undo.c, on the worker: undefines with all that libvirt keeps for the domain besides its disks. As virDomainUndefineFlags. */
int libvirt_undefine(virDomainPtr domain);

#endif
