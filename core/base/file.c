#include "base/file.h"
#include "base/error.h"
#include "base/random.h"
#include "base/str.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int vmc_file_read(const char *path, size_t limit, char **out, size_t *length, vmctl_error **err) {
    bool input = strcmp(path, "-") == 0;
    const char *shown = input ? "standard input" : path;
    VMC_AUTO_CLOSE int opened = input ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    int fd = input ? STDIN_FILENO : opened;
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot open %s", shown);
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is a folder, not a file", shown);
    VMC_AUTO_STR text = {0};
    char buffer[16384];
    for (;;) {
        ssize_t n = read(fd, buffer, sizeof buffer);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot read %s", shown);
        if (n == 0)
            break;
        if (text.length + (size_t)n > limit) {
            VMC_AUTO_FREE char *most = vmc_format_size((long long)limit);
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is larger than the %s that are read of such a file",
                             shown, most);
        }
        vmc_str_add_n(&text, buffer, (size_t)n);
    }
    explicit_bzero(buffer, sizeof buffer); /* it may have been a password's file */
    if (length)
        *length = text.length;
    *out = vmc_str_take(&text);
    return 0;
}

static int write_all(int fd, const char *bytes, size_t length) {
    while (length) {
        ssize_t n = write(fd, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        bytes += n;
        length -= (size_t)n;
    }
    return 0;
}

static void sync_folder(const char *path) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    VMC_AUTO_CLOSE int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0)
        fsync(fd); /* some file systems cannot: the rename itself is done */
}

int vmc_file_write(const char *path, const void *bytes, size_t length, mode_t mode, vmctl_error **err) {
    VMC_AUTO_FREE char *beside = vmc_printf("%s.XXXXXX", path);
    VMC_AUTO_CLOSE int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot write %s", path);
    if (fchmod(fd, mode) < 0 || write_all(fd, bytes, length) < 0 || fsync(fd) < 0 || rename(beside, path) < 0) {
        int failure = errno;
        unlink(beside);
        return vmc_error_errno(err, failure, "cannot write %s", path);
    }
    sync_folder(path);
    return 0;
}

/* mkostemp knows no umask. */
static int open_beside(const char *path, mode_t mode, char **beside) {
    for (int i = 0; i < 100; i++) {
        *beside = vmc_printf("%s.%d-%d", path, (int)getpid(), i);
        int fd = open(*beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
        if (fd >= 0 || errno != EEXIST)
            return fd;
        free(*beside);
        *beside = NULL;
    }
    return -1;
}

int vmc_file_save(const char *path, const void *bytes, size_t length, vmctl_error **err) {
    struct stat st;
    bool old = stat(path, &st) == 0;
    if (old && !S_ISREG(st.st_mode)) {
        VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write_all(fd, bytes, length) < 0)
            return vmc_error_errno(err, errno, "cannot write %s", path);
        return 0;
    }
    VMC_AUTO_FREE char *target = old ? realpath(path, NULL) : vmc_strdup(path);
    VMC_AUTO_FREE char *beside = NULL;
    VMC_AUTO_CLOSE int fd = target ? open_beside(target, old ? 0600 : 0666, &beside) : -1;
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot write %s", path);
    if ((old && fchmod(fd, st.st_mode & 07777) < 0) || write_all(fd, bytes, length) < 0 || rename(beside, target) < 0) {
        int failure = errno;
        unlink(beside);
        return vmc_error_errno(err, failure, "cannot write %s", path);
    }
    return 0;
}

int vmc_mkdirs(const char *path, mode_t mode, vmctl_error **err) {
    VMC_AUTO_FREE char *part = vmc_strdup(path);
    for (char *p = part; *p;) {
        p += strspn(p, "/");
        p += strcspn(p, "/");
        char kept = *p;
        *p = '\0';
        struct stat st;
        if (mkdir(part, mode) < 0 && errno != EEXIST) {
            /* Something above that exists may not even be writable: EROFS or EACCES come before EEXIST there. */
            int failure = errno;
            if (stat(part, &st) < 0 || !S_ISDIR(st.st_mode))
                return vmc_error_errno(err, failure, "cannot make the folder %s", part);
        }
        *p = kept;
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return vmc_error_errno(err, errno, "cannot make the folder %s", path);
    if (!S_ISDIR(st.st_mode))
        return vmc_error(err, VMCTL_E_ALREADY_EXISTS, "%s is there, but is not a folder", path);
    return 0;
}

int64_t vmc_file_bytes(int fd) {
    off_t end = lseek(fd, 0, SEEK_END);
    return end < 0 || lseek(fd, 0, SEEK_SET) < 0 ? -1 : (int64_t)end;
}

bool vmc_file_exists(const char *path) {
    return access(path, F_OK) == 0;
}

/* $HOME, else what the user database says. */
static char *home_dir(void) {
    const char *home = getenv("HOME");
    if (home && *home == '/')
        return vmc_strdup(home);
    struct passwd entry, *found = NULL;
    char buffer[4096];
    if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found && *found->pw_dir == '/')
        return vmc_strdup(found->pw_dir);
    return vmc_strdup("/");
}

static char *working_dir(void) {
    char *folder = getcwd(NULL, 0);
    return folder ? folder : vmc_strdup("/");
}

/* Without "." and "..", doubled and final slashes. `path` is absolute. */
static char *textually_resolved(const char *path) {
    VMC_AUTO_STR out = {0};
    while (*path) {
        path += strspn(path, "/");
        size_t n = strcspn(path, "/");
        if (n == 0)
            break;
        if (n == 2 && path[0] == '.' && path[1] == '.') {
            while (out.length && out.text[--out.length] != '/')
                ;
            if (out.text)
                out.text[out.length] = '\0';
        } else if (n != 1 || path[0] != '.') {
            vmc_str_add_char(&out, '/');
            vmc_str_add_n(&out, path, n);
        }
        path += n;
    }
    if (out.length == 0)
        vmc_str_add_char(&out, '/');
    return vmc_str_take(&out);
}

char *vmc_path_absolute(const char *base, const char *name) {
    VMC_AUTO_FREE char *joined = NULL;
    if (name[0] == '~' && (name[1] == '/' || name[1] == '\0')) {
        VMC_AUTO_FREE char *home = home_dir();
        joined = vmc_printf("%s/%s", home, name + 1);
    } else if (name[0] == '/') {
        joined = vmc_strdup(name);
    } else if (base && base[0] == '/') {
        joined = vmc_printf("%s/%s", base, name);
    } else {
        VMC_AUTO_FREE char *here = working_dir();
        joined = vmc_printf("%s/%s/%s", here, base ? base : "", name);
    }
    return textually_resolved(joined);
}

char *vmc_unfinished_name(const char *folder, const char *name) {
    return vmc_printf("%s/.%s.%012llx", folder, name, (unsigned long long)(vmc_random() & 0xffffffffffffULL));
}

char *vmc_path_dirname(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    while (n > 0 && path[n - 1] != '/')
        n--;
    if (n == 0)
        return vmc_strdup(".");
    while (n > 1 && path[n - 1] == '/')
        n--;
    return vmc_strndup(path, n);
}

const char *vmc_path_basename(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The XDG Base Directory Specification: a relative path in the variable is ignored. */
static char *xdg(const char *variable, const char *fallback, const char *name) {
    VMC_AUTO_FREE char *folder = NULL;
    const char *given = getenv(variable);
    if (given && *given == '/') {
        folder = vmc_printf("%s/vmctl", given);
    } else {
        VMC_AUTO_FREE char *home = home_dir();
        folder = vmc_printf("%s/%s/vmctl", strcmp(home, "/") == 0 ? "" : home, fallback);
    }
    return name ? vmc_printf("%s/%s", folder, name) : vmc_strdup(folder);
}

char *vmc_xdg_config(const char *name) {
    return xdg("XDG_CONFIG_HOME", ".config", name);
}

char *vmc_xdg_state(const char *name) {
    return xdg("XDG_STATE_HOME", ".local/state", name);
}

char *vmc_xdg_cache(const char *name) {
    return xdg("XDG_CACHE_HOME", ".cache", name);
}

char *vmc_xdg_data(const char *name) {
    return xdg("XDG_DATA_HOME", ".local/share", name);
}

/* A folder below /tmp is only ours when nobody else could have put it there. */
static bool is_private_folder(const char *path) {
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return false;
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0;
}

char *vmc_runtime_dir(const char *name) {
    VMC_AUTO_FREE char *folder = NULL;
    const char *given = getenv("XDG_RUNTIME_DIR");
    if (given && *given == '/') {
        folder = vmc_printf("%s/vmctl", given);
    } else if (geteuid() == 0) {
        folder = vmc_strdup("/run/vmctl");
    } else {
        folder = vmc_printf("/tmp/vmctl-%u", (unsigned)geteuid());
        if (!is_private_folder(folder)) {
            free(folder);
            folder = vmc_xdg_state("run");
        }
    }
    return name ? vmc_printf("%s/%s", folder, name) : vmc_strdup(folder);
}

char *vmc_library_dir(void) {
    Dl_info info;
    struct link_map *map = NULL;
    if (!dladdr1((void *)vmc_library_dir, &info, (void **)&map, RTLD_DL_LINKMAP) || !map)
        return NULL;
    /* The program itself has an empty name in the link map: what argv[0] says is nothing to rely on. */
    VMC_AUTO_FREE char *path = realpath(*map->l_name ? map->l_name : "/proc/self/exe", NULL);
    return path ? vmc_path_dirname(path) : NULL;
}

/* Filesystems without RENAME_NOREPLACE have hard links. */
int vmc_file_place(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    return link(from, to) < 0 ? -1 : unlink(from);
}
