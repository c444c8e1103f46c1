/* drivers/qemu_img/qemu_img.h - looks at, makes, converts, resizes, compares, checks and copies disk images.
 *
 * Format detection: QEMU's own is by content, so a guest that writes a qcow2 header into its raw disk could make the host
 * open any file as "backing". Hence qemu-img is never run without -f: the caller says what a disk is, or qemu_img_probe
 * does for images that come from outside, and what refers to other files is reported, not followed.
 * Source: qemu-img(1), qemu/docs/interop/qcow2.txt.
 *
 * All functions: UNAVAILABLE names the package qemu-utils when qemu-img is missing; a full disk is RESOURCE_EXHAUSTED with
 * what is free and what is needed; what a failed, cancelled or timed-out call began to write is removed.
 */
#ifndef VMC_QEMU_IMG_H
#define VMC_QEMU_IMG_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <stdint.h>
#include <sys/types.h>

/* Labels for progress; NULL fields and a NULL pointer are allowed. */
typedef struct qemu_img_label {
    const char *vm;     /* "web-1" */
    const char *stage;  /* "copying disk root" */
    const char *device; /* "root" */
} qemu_img_label;

/* What the first (and for VHD the last) bytes of a file say it is. */
typedef struct qemu_img_kind {
    const char *
        name; /* "qcow2", "vmdk", "vdi", "vpc", "vhdx", "qed", "luks", "iso", "gzip", "xz", "bzip2", "zstd", "zip", "tar",
                                "html", "empty", "raw" */
    const char *description; /* "a qcow2 image", "a gzip archive", "an ISO 9660 image", "a web page", "an empty file" */
    const char *format;      /* for qemu-img -f; NULL: no disk image at all (archives, web pages, empty files) */
} qemu_img_kind;

/* Reads magic bytes only. NOT_FOUND, PERMISSION_DENIED; INVALID_ARGUMENT for what is neither file nor block device. */
int qemu_img_probe(const char *path, qemu_img_kind *kind, vmctl_error **err);
/* The format that a name's ending promises ("qcow2", "vmdk", "vdi", "vpc", "vhdx", "iso", "raw"); NULL: none known. */
const char *qemu_img_format_of_name(const char *path);
/* Probes, and refuses what is no disk image or not what its name says: "disk.qcow2 is a gzip archive, not a qcow2
 * image" (INVALID_ARGUMENT, with how to unpack it as the next step). format may be NULL (then only said by the content) or
 * what the spec claims. *kind may be NULL. */
int qemu_img_expect(const char *path, const char *format, qemu_img_kind *kind, vmctl_error **err);

typedef struct qemu_img_info {
    char *format; /* "qcow2", "raw" ("iso" images are raw to QEMU), ... */
    uint64_t virtual_bytes;
    uint64_t allocated_bytes;
    char *backing;        /* as the image names it; NULL: none. Untrusted in images from outside */
    char *backing_path;   /* as QEMU would resolve it; NULL */
    char *backing_format; /* NULL: not named */
    char *data_file; /* qcow2's external data file, or a VMDK's extent outside its folder; NULL. Untrusted too: QEMU is
                             then not run on the image at all, and only format and virtual_bytes are told */
    vmc_strv snapshots; /* names of internal snapshots */
    bool encrypted;
    bool dirty; /* not closed cleanly */
} qemu_img_info;

/* qemu-img info --output=json -U: also of an image in use; the backing chain is not opened. format NULL: qemu_img_probe's answer. */
int qemu_img_inspect(const char *path, const char *format, const vmc_deadline *deadline, qemu_img_info *out,
                     vmctl_error **err);
/* What a qcow2 file stands on, by its header alone (no program is run): *backing (free) is absolute where it is a file's name, else as the header has it
 * ("json:..."); NULL: nothing, or no qcow2 file. false: the file cannot be read. */
bool qemu_img_backing(const char *path, char **backing);
void qemu_img_info_free(qemu_img_info *info);
#define QEMU_IMG_AUTO_INFO vmc_cleanup(qemu_img_info_free) qemu_img_info

/* One internal snapshot in a qcow2 file. QEMU looks a snapshot up by its number first, then by its name. */
typedef struct qemu_img_snapshot {
    char *id; /* a number, as text */
    char *name;
    uint64_t virtual_bytes; /* what the guest saw of the disk then; 0: not noted (before QEMU 1.1) */
} qemu_img_snapshot;

typedef struct qemu_img_table {
    uint64_t virtual_bytes;
    char *backing; /* as the image names it; NULL: none */
    qemu_img_snapshot *items;
    size_t count;
} qemu_img_table;

/* Read from the file itself, also of an image in use: no program is started. INVALID_ARGUMENT: it is no qcow2 image; CONFLICT: it is a damaged
 * one; NOT_FOUND, PERMISSION_DENIED. */
int qemu_img_snapshots(const char *path, qemu_img_table *out, vmctl_error **err);
const qemu_img_snapshot *qemu_img_table_find(const qemu_img_table *table, const char *name); /* NULL: none */
void qemu_img_table_free(qemu_img_table *table);
#define QEMU_IMG_AUTO_TABLE vmc_cleanup(qemu_img_table_free) qemu_img_table

typedef struct qemu_img_convert_args {
    const char *source;
    const char *source_format; /* NULL: qemu_img_probe's answer */
    const char *target;
    const char *target_format;         /* "qcow2", "raw", "vmdk", "vdi", "vpc", "vhdx" */
    const char *snapshot;              /* an internal snapshot of the source; NULL: its present state */
    const char *const *target_options; /* "subformat=streamOptimized", NULL-terminated; NULL */
    bool compress;
    bool overwrite;      /* an existing target is replaced, atomically; else ALREADY_EXISTS */
    bool follow_backing; /* a source with a backing or data file is read through; else INVALID_ARGUMENT */
    const qemu_img_label *label;
} qemu_img_convert_args;

/* The result stands alone (flat) and is on disk when this returns. Without `overwrite` it is written at its own name, made
 * with O_EXCL, so that a journal entry for that name covers it. */
int qemu_img_convert(const qemu_img_convert_args *args, const vmc_deadline *deadline, vmctl_error **err);

typedef struct qemu_img_create_args {
    const char *path;
    const char *format;         /* "qcow2", "raw", ... */
    uint64_t bytes;             /* 0: as large as the backing file */
    const char *backing;        /* NULL: none. Written as given: absolute, or relative to the new image's folder */
    const char *backing_format; /* needed with backing */
    const char *const *options; /* "preallocation=metadata", NULL-terminated; NULL */
} qemu_img_create_args;

/* ALREADY_EXISTS when the path is taken. */
int qemu_img_create(const qemu_img_create_args *args, const vmc_deadline *deadline, vmctl_error **err);

/* Grows; a smaller size is DATA_LOSS_PREVENTED unless shrink. The image must not be in use (BUSY). */
int qemu_img_resize(const char *path, const char *format, uint64_t bytes, bool shrink, const vmc_deadline *deadline,
                    vmctl_error **err);
/* In place: all that comes from backing files is copied in, then it has none. */
int qemu_img_flatten(const char *path, const char *format, const qemu_img_label *label, const vmc_deadline *deadline,
                     vmctl_error **err);
/* *same: guest-visible contents are equal (a longer one may end in zeros). Formats NULL: probed. */
int qemu_img_compare(const char *a, const char *a_format, const char *b, const char *b_format,
                     const vmc_deadline *deadline, bool *same, vmctl_error **err);

/* *untouched: an overlay that nothing was written to; all of it comes from what it stands on. */
int qemu_img_is_untouched(const char *path, const char *format, const vmc_deadline *deadline, bool *untouched,
                          vmctl_error **err);

typedef struct qemu_img_check_result {
    bool supported; /* false: this format (raw) has nothing to check */
    uint64_t errors;
    uint64_t leaks; /* clusters; harmless but lost space */
} qemu_img_check_result;

int qemu_img_check(const char *path, const char *format, const vmc_deadline *deadline, qemu_img_check_result *out,
                   vmctl_error **err);

/* A copy byte for byte: shares blocks where the filesystem can (FICLONE), else copies data and keeps holes. The target is
 * made with O_EXCL and `mode`, and is on disk when this returns. Free space is looked at before. */
int qemu_img_copy(const char *source, const char *target, mode_t mode, const qemu_img_label *label,
                  const vmc_deadline *deadline, vmctl_error **err);

#endif
