/* base/file.h - files and folders: whole reads with a limit, atomic writes, the XDG folders. */
#ifndef VMC_BASE_FILE_H
#define VMC_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <vmctl/error.h>

/* Reads a whole file of at most `limit` bytes ("-": standard input); *out is NUL-terminated (free). */
VMCTL_API int vmc_file_read(const char *path, size_t limit, char **out, size_t *length, vmctl_error **err);
/* Writes beside the file, syncs, renames over it. */
VMCTL_API int vmc_file_write(const char *path, const void *bytes, size_t length, mode_t mode, vmctl_error **err);
/* What a person asked to have in a file: whole or not at all, in a new file with the mode that the umask leaves, in an old
 * one with the mode that it has; through symbolic links. A device or pipe is written to as it is. */
VMCTL_API int vmc_file_save(const char *path, const void *bytes, size_t length, vmctl_error **err);
/* All missing parents too. An existing folder is success. */
VMCTL_API int vmc_mkdirs(const char *path, mode_t mode, vmctl_error **err);
/* How many bytes can be read of an open file or block device (whose st_size is 0); -1: errno says why. The position is moved. */
VMCTL_API int64_t vmc_file_bytes(int fd);
VMCTL_API bool vmc_file_exists(const char *path);
/* Moves a finished file to its place unless that is taken (EEXIST). 0, or -1 with errno. */
VMCTL_API int vmc_file_place(const char *from, const char *to);
/* "folder/.name.RANDOM": where a file is written before it is whole and gets its name. free. */
VMCTL_API char *vmc_unfinished_name(const char *folder, const char *name);
/* base/name, or name itself when it is absolute; "." and ".." resolved textually. base NULL: the working folder. "~/" is the home folder. */
VMCTL_API char *vmc_path_absolute(const char *base, const char *name);
VMCTL_API char *vmc_path_dirname(const char *path);
VMCTL_API const char *vmc_path_basename(const char *path);

/* $XDG_x_HOME/vmctl[/name] or its default below the home folder; NULL name: the folder itself. Nothing is made. free. */
VMCTL_API char *vmc_xdg_config(const char *name);
VMCTL_API char *vmc_xdg_state(const char *name);
VMCTL_API char *vmc_xdg_cache(const char *name);
VMCTL_API char *vmc_xdg_data(const char *name);
/* $XDG_RUNTIME_DIR/vmctl, /run/vmctl for root, a 0700 folder below /tmp of this user otherwise. */
VMCTL_API char *vmc_runtime_dir(const char *name);
/* The folder of the running libvmctl or executable: for modules. free; NULL when not known. */
VMCTL_API char *vmc_library_dir(void);

#endif
