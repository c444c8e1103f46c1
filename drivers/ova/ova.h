/* drivers/ova/ova.h - OVA files: a tar of an OVF descriptor, disk images and a manifest of their sums (DSP0243, "OVF package").
 *
 * The tar is read and written by libarchive, the sums are libcrypto's; both are in a module of their own (vmctl-ova.so), opened by the first
 * call. What comes from outside is not believed: an OVA holds plain files with plain names, each once, all there.
 */
#ifndef VMC_OVA_H
#define VMC_OVA_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"

typedef struct ova_member {
    char *name;
    uint64_t bytes;
    char *algorithm; /* of its sum in the manifest: "sha1", "sha256", "sha512"; NULL: it has none */
    char *sum;       /* lower-case hexadecimal; NULL */
} ova_member;

/* What an OVA holds. */
typedef struct ova {
    char *path;
    char *descriptor; /* the text of the .ovf, checked against the manifest */
    size_t descriptor_length;
    bool has_manifest;
    ova_member *members; /* all but descriptor, manifest and certificate */
    size_t count;
} ova;

/* Reads the table and the descriptor, no disk. INVALID_ARGUMENT: no OVA, or one that is not to be trusted: a name that is a path, a link, a name
 * twice, a descriptor too large, a file cut off, a sum that does not fit. NOT_FOUND, PERMISSION_DENIED. ova_free also after a failure. */
int ova_open(const char *path, const vmc_deadline *deadline, ova *out, vmctl_error **err);
void ova_free(ova *package);
/* NULL: there is none of this name. */
const ova_member *ova_find(const ova *package, const char *name);

typedef struct ova_target {
    const char *name; /* of the member */
    const char *path; /* of the new file */
} ova_target;

/* Writes members into new files (0600), in one pass, each checked against its sum. Files that were begun when it fails are the caller's to
 * remove. vm: for progress. RESOURCE_EXHAUSTED before anything is written when they do not fit. */
int ova_extract(const ova *package, const ova_target *targets, size_t count, const char *vm,
                const vmc_deadline *deadline, vmctl_error **err);

typedef struct ova_part {
    const char *name;
    const char *path;  /* a file of this machine; NULL: */
    const char *bytes; /* its content */
    size_t length;
} ova_part;

/* A new file of the parts in this order, the descriptor first, and their manifest (SHA-256), named after it. What it began is the
 * caller's to remove when it fails. ALREADY_EXISTS. */
int ova_write(const char *path, const ova_part *parts, size_t count, const char *vm, const vmc_deadline *deadline,
              vmctl_error **err);

#endif
