/* drivers/seed_iso/seed_iso.h - small ISO 9660 images (Rock Ridge and Joliet) of files in memory, by libisofs.
 *
 * For cloud-init's NoCloud: volume id "cidata" and the files meta-data, user-data, network-config (cloud-init's manual,
 * "NoCloud"); for Windows set-up: autounattend.xml under any volume id. The same input gives the same bytes: all times in
 * the image are one fixed time. libisofs is in a module of its own (vmctl-iso.so), opened by the first image. Thread-safe.
 */
#ifndef VMC_SEED_ISO_H
#define VMC_SEED_ISO_H

#include "base/error.h"
#include <stddef.h>
#include <sys/types.h>

typedef struct seed_iso_file {
    const char *name;  /* "user-data"; "folder/name" makes the folder */
    const void *bytes; /* may be NULL when length is 0 */
    size_t length;
} seed_iso_file;

/* The whole image in memory: *bytes (free), *length a multiple of 2048. INVALID_ARGUMENT: a name that is empty, twice there
 * or not relative, a volume id longer than 32. */
int seed_iso_build(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes, size_t *length,
                   vmctl_error **err);
/* The same into a new file (ALREADY_EXISTS when there is one) of this mode; removed again on failure. Seeds may hold
 * passwords: 0600 unless a hypervisor's user must read it. */
int seed_iso_write(const char *path, mode_t mode, const char *volume_id, const seed_iso_file *files, size_t count,
                   vmctl_error **err);

/* A file of such an image as text: *text (free) is NULL when the image has none of that name. At most 1 MiB. INVALID_ARGUMENT: the file is no
 * ISO 9660 image. */
int seed_iso_read(const char *path, const char *name, char **text, vmctl_error **err);

#endif
