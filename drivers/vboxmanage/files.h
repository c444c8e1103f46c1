/* drivers/vboxmanage/files.h - the files of the machine on which VBoxManage runs: here by system calls, there by ssh (host.h).
 *
 * Paths are absolute, of that machine. deadline NULL: a minute, and it cannot be cancelled; it counts there only. Errors: NOT_FOUND, PERMISSION_DENIED,
 * RESOURCE_EXHAUSTED, those of ssh, else INTERNAL. */
#ifndef VMC_VBOXMANAGE_FILES_H
#define VMC_VBOXMANAGE_FILES_H

#include "vboxmanage.h"

#include <sys/types.h>

/* The whole file, NUL-terminated (free). */
int vboxmanage_file_read(const vboxmanage *manage, const char *path, size_t limit, const vmc_deadline *deadline,
                         char **out, size_t *length, vmctl_error **err);
/* At most `length` bytes from `offset` on; below 0: from the end. *got: how many. */
int vboxmanage_file_part(const vboxmanage *manage, const char *path, int64_t offset, void *bytes, size_t length,
                         size_t *got, const vmc_deadline *deadline, vmctl_error **err);
/* All from `offset` on, NUL-terminated (free). Of a host only. */
int vboxmanage_file_rest(const vboxmanage *manage, const char *path, int64_t offset, size_t limit,
                         const vmc_deadline *deadline, char **out, size_t *length, vmctl_error **err);
/* Tells the file from `offset` on, then what is added to it, until the deadline (VMCTL_E_TIMEOUT) or each is not 0; *end counts on. Of a host only. */
int vboxmanage_file_follow(const vboxmanage *manage, const char *path, int64_t offset,
                           int (*each)(const char *bytes, size_t length, void *user), void *user,
                           const vmc_deadline *deadline, vmctl_error **err);
/* Whole or not at all, over what is there. */
int vboxmanage_file_write(const vboxmanage *manage, const char *path, const void *bytes, size_t length,
                          const vmc_deadline *deadline, vmctl_error **err);
/* Adds to its end. */
int vboxmanage_file_append(const vboxmanage *manage, const char *path, const void *bytes, size_t length,
                           const vmc_deadline *deadline, vmctl_error **err);
/* A file of this machine, whole or not at all, mode 0600. On this machine itself nothing is to be sent: INTERNAL. */
int vboxmanage_file_send(const vboxmanage *manage, const char *local, const char *path, const vmc_deadline *deadline,
                         vmctl_error **err);

/* The other way round. Of a host only. */
int vboxmanage_file_fetch(const vboxmanage *manage, const char *path, const char *local, const vmc_deadline *deadline,
                          vmctl_error **err);

typedef struct vboxmanage_file {
    uint64_t bytes;
    uint64_t allocated_bytes;
    bool regular, link;
} vboxmanage_file;
/* follow: what a symbolic link leads to. */
int vboxmanage_file_look(const vboxmanage *manage, const char *path, bool follow, const vmc_deadline *deadline,
                         vboxmanage_file *out, vmctl_error **err);
/* What a symbolic link says (free); NULL: it is none. */
char *vboxmanage_file_link(const vboxmanage *manage, const char *path, const vmc_deadline *deadline);
bool vboxmanage_file_exists(const vboxmanage *manage, const char *path, const vmc_deadline *deadline);
/* Whether it can be read; *err says why not. */
int vboxmanage_file_readable(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                             vmctl_error **err);

/* 1: it was not there. */
int vboxmanage_file_remove(const vboxmanage *manage, const char *path, const vmc_deadline *deadline, vmctl_error **err);
int vboxmanage_symlink(const vboxmanage *manage, const char *to, const char *path, const vmc_deadline *deadline,
                       vmctl_error **err);
/* With its missing parents, mode 0700. */
int vboxmanage_folder_make(const vboxmanage *manage, const char *path, const vmc_deadline *deadline, vmctl_error **err);
/* An empty one; others stay, without a word. */
void vboxmanage_folder_drop(const vboxmanage *manage, const char *path, const vmc_deadline *deadline);
/* With all that is in it; success where there is none. */
int vboxmanage_tree_remove(const vboxmanage *manage, const char *path, const vmc_deadline *deadline, vmctl_error **err);

/* Any other script for what has no function here: its words are $1 and on. *output (free; NULL: not wanted) is its stdout. Of a host only. An exit
 * code other than 0 is an error in the words of its stderr, 44 NOT_FOUND. */
int vboxmanage_files_script(const vboxmanage *manage, const char *script, const char *const *words, const char *doing,
                            const vmc_deadline *deadline, char **output, vmctl_error **err);
/* The same with a standard input. */
int vboxmanage_files_script_fed(const vboxmanage *manage, const char *script, const char *const *words,
                                const vmc_str *input, const char *doing, const vmc_deadline *deadline, char **output,
                                vmctl_error **err);

#endif
