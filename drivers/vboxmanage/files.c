/* Files beside VBoxManage. */
#include "files.h"

#include "base/error.h"
#include "base/file.h"
#include "host.h"
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MS = 60000, NOT_THERE = 44, OUTPUT_LIMIT = 256 << 20 };

#define NEED "[ -e \"$1\" ] || [ -L \"$1\" ] || exit 44\n"

/* --- scripts ---------------------------------------------------------------------------------------------------------------- */

static int script_failed(const process_result *result, const char *doing, const char *path, vmctl_error **err) {
    const char *words = result->error ? result->error : "";
    int code = result->status == NOT_THERE                ? VMCTL_E_NOT_FOUND
               : strstr(words, "No space left on device") ? VMCTL_E_RESOURCE_EXHAUSTED
               : strstr(words, "Disk quota exceeded")     ? VMCTL_E_RESOURCE_EXHAUSTED
               : strstr(words, "Permission denied")       ? VMCTL_E_PERMISSION_DENIED
               : strstr(words, "Operation not permitted") ? VMCTL_E_PERMISSION_DENIED
                                                          : VMCTL_E_INTERNAL;
    if (code == VMCTL_E_NOT_FOUND)
        return vmc_error(err, code, "%s is not there", path ? path : "the file");
    vmc_error(err, code, "%s failed there (exit status %d)", doing, result->status);
    vmc_error_hypervisor(err, NULL, words);
    return code;
}

static int run_script(const vboxmanage *manage, const char *script, const char *const *words, process_options *io,
                      const vmc_deadline *deadline, process_result *result, vmctl_error **err) {
    vmc_deadline own = {.at_ms = vmc_now_ms() + FILE_MS};
    int code = vboxmanage_host_script(manage->host, script, words, io, deadline ? deadline : &own, result, err);
    return code == 0 && result->status != 0 ? script_failed(result, io->doing, words ? words[0] : NULL, err) : code;
}

int vboxmanage_files_script(const vboxmanage *manage, const char *script, const char *const *words, const char *doing,
                            const vmc_deadline *deadline, char **output, vmctl_error **err) {
    return vboxmanage_files_script_fed(manage, script, words, NULL, doing, deadline, output, err);
}

int vboxmanage_files_script_fed(const vboxmanage *manage, const char *script, const char *const *words,
                                const vmc_str *input, const char *doing, const vmc_deadline *deadline, char **output,
                                vmctl_error **err) {
    process_options io = {.doing = doing, .limit = OUTPUT_LIMIT};
    PROCESS_AUTO_RESULT result = {0};
    if (input) {
        io.input = input->text ? input->text : "";
        io.input_length = input->length;
    }
    int code = run_script(manage, script, words, &io, deadline, &result, err);
    if (code == 0 && output) {
        *output = result.output;
        result.output = NULL;
    }
    return code;
}

/* --- reading ---------------------------------------------------------------------------------------------------------------- */

int vboxmanage_file_read(const vboxmanage *manage, const char *path, size_t limit, const vmc_deadline *deadline,
                         char **out, size_t *length, vmctl_error **err) {
    if (!manage || !manage->host)
        return vmc_file_read(path, limit, out, length, err);
    process_options io = {.doing = "reading a file of the host", .limit = limit};
    PROCESS_AUTO_RESULT result = {0};
    int code =
        run_script(manage, NEED "exec cat -- \"$1\"", (const char *const[]){path, NULL}, &io, deadline, &result, err);
    if (code == 0 && result.truncated)
        code = vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "%s has more than %zu bytes", path, limit);
    if (code < 0)
        return code;
    if (length)
        *length = result.output_length;
    *out = result.output;
    result.output = NULL;
    return 0;
}

int vboxmanage_file_part(const vboxmanage *manage, const char *path, int64_t offset, void *bytes, size_t length,
                         size_t *got, const vmc_deadline *deadline, vmctl_error **err) {
    *got = 0;
    if (!manage || !manage->host) {
        VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        off_t at = fd < 0 ? -1 : offset < 0 ? lseek(fd, offset, SEEK_END) : (off_t)offset;
        ssize_t n = at < 0 ? -1 : pread(fd, bytes, length, at);
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot read %s", path);
        *got = (size_t)n;
        return 0;
    }
    VMC_AUTO_FREE char *from =
        offset < 0 ? vmc_printf("%lld", (long long)-offset) : vmc_printf("+%lld", (long long)offset + 1);
    VMC_AUTO_FREE char *count = vmc_printf("%zu", length);
    process_options io = {.doing = "reading a file of the host", .limit = length + 1};
    PROCESS_AUTO_RESULT result = {0};
    int code = run_script(manage, NEED "tail -c \"$2\" -- \"$1\" | head -c \"$3\"",
                          (const char *const[]){path, from, count, NULL}, &io, deadline, &result, err);
    if (code == 0) {
        *got = result.output_length < length ? result.output_length : length;
        memcpy(bytes, result.output, *got);
    }
    return code;
}

int vboxmanage_file_rest(const vboxmanage *manage, const char *path, int64_t offset, size_t limit,
                         const vmc_deadline *deadline, char **out, size_t *length, vmctl_error **err) {
    VMC_AUTO_FREE char *from = vmc_printf("+%lld", (long long)offset + 1);
    process_options io = {.doing = "reading a file of the host", .limit = limit};
    PROCESS_AUTO_RESULT result = {0};
    int code = run_script(manage, NEED "exec tail -c \"$2\" -- \"$1\"", (const char *const[]){path, from, NULL}, &io,
                          deadline, &result, err);
    if (code < 0)
        return code;
    *length = result.output_length;
    *out = result.output;
    result.output = NULL;
    return 0;
}

int vboxmanage_file_follow(const vboxmanage *manage, const char *path, int64_t offset,
                           int (*each)(const char *bytes, size_t length, void *user), void *user,
                           const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *from = vmc_printf("+%lld", (long long)offset + 1);
    process_options io = {.doing = "following the serial log", .output = each, .user = user};
    PROCESS_AUTO_RESULT result = {0};
    /* -F, POSIX or not: every Unix has it, and begins anew with a file that was emptied. */
    return run_script(manage, "exec tail -c \"$2\" -F -- \"$1\" 2>/dev/null", (const char *const[]){path, from, NULL},
                      &io, deadline, &result, err);
}

/* --- writing ---------------------------------------------------------------------------------------------------------------- */

/* What comes of a connection that breaks is not taken for the whole. */
static const char put_script[] = "umask 077; t=$1.vmctl-$$; trap 'rm -f -- \"$t\"' EXIT\n"
                                 "cat > \"$t\" || exit 1\n"
                                 "[ \"$(wc -c < \"$t\")\" -eq \"$2\" ] || { echo 'it was cut off' >&2; exit 1; }\n"
                                 "mv -f -- \"$t\" \"$1\"";

int vboxmanage_file_write(const vboxmanage *manage, const char *path, const void *bytes, size_t length,
                          const vmc_deadline *deadline, vmctl_error **err) {
    if (!manage || !manage->host)
        return vmc_file_write(path, bytes, length, 0600, err);
    VMC_AUTO_FREE char *count = vmc_printf("%zu", length);
    process_options io = {.doing = "writing a file of the host", .input = bytes, .input_length = length};
    PROCESS_AUTO_RESULT result = {0};
    return run_script(manage, put_script, (const char *const[]){path, count, NULL}, &io, deadline, &result, err);
}

int vboxmanage_file_append(const vboxmanage *manage, const char *path, const void *bytes, size_t length,
                           const vmc_deadline *deadline, vmctl_error **err) {
    if (!manage || !manage->host) {
        VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        return fd >= 0 && write(fd, bytes, length) == (ssize_t)length
                   ? 0
                   : vmc_error_errno(err, errno, "cannot write %s", path);
    }
    process_options io = {.doing = "writing a file of the host", .input = bytes, .input_length = length};
    PROCESS_AUTO_RESULT result = {0};
    return run_script(manage, "umask 077; exec cat >> \"$1\"", (const char *const[]){path, NULL}, &io, deadline,
                      &result, err);
}

int vboxmanage_file_send(const vboxmanage *manage, const char *local, const char *path, const vmc_deadline *deadline,
                         vmctl_error **err) {
    struct stat st;
    if (!manage->host)
        return vmc_error(err, VMCTL_E_INTERNAL, "%s is on this machine already", path);
    if (stat(local, &st) < 0)
        return vmc_error_errno(err, errno, "cannot read %s", local);
    VMC_AUTO_FREE char *count = vmc_printf("%lld", (long long)st.st_size);
    process_options io = {.doing = "sending a file to the host", .input_path = local};
    PROCESS_AUTO_RESULT result = {0};
    return run_script(manage, put_script, (const char *const[]){path, count, NULL}, &io, deadline, &result, err);
}

static int write_on(const char *bytes, size_t length, void *user) {
    const int *fd = user;
    for (size_t done = 0; done < length;) {
        ssize_t n = write(*fd, bytes + done, length - done);
        if (n < 0 && errno != EINTR)
            return 1;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int vboxmanage_file_fetch(const vboxmanage *manage, const char *path, const char *local, const vmc_deadline *deadline,
                          vmctl_error **err) {
    vboxmanage_file file = {0};
    struct stat st;
    int code = vboxmanage_file_look(manage, path, true, deadline, &file, err);
    if (code < 0)
        return code;
    VMC_AUTO_CLOSE int fd = open(local, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", local);
    process_options io = {.doing = "fetching a file of the host", .output = write_on, .user = &fd};
    PROCESS_AUTO_RESULT result = {0};
    code = run_script(manage, "exec cat -- \"$1\"", (const char *const[]){path, NULL}, &io, deadline, &result, err);
    if (code == 0 && (fsync(fd) < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != file.bytes))
        code = vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "%s could not be written whole", local);
    if (code < 0)
        unlink(local);
    return code;
}

/* --- looking ---------------------------------------------------------------------------------------------------------------- */

int vboxmanage_file_look(const vboxmanage *manage, const char *path, bool follow, const vmc_deadline *deadline,
                         vboxmanage_file *out, vmctl_error **err) {
    unsigned mode = 0;
    unsigned long long bytes = 0;
    unsigned long long blocks = 0;
    if (!manage || !manage->host) {
        struct stat st;
        if ((follow ? stat(path, &st) : lstat(path, &st)) < 0)
            return vmc_error_errno(err, errno, "cannot look at %s", path);
        mode = st.st_mode;
        bytes = (unsigned long long)st.st_size;
        blocks = (unsigned long long)st.st_blocks;
    } else {
        VMC_AUTO_FREE char *text = NULL;
        int code = vboxmanage_files_script(
            manage, NEED "stat $2 -c '%f %s %b' -- \"$1\" 2>/dev/null || stat $2 -f '%Xp %z %b' \"$1\"",
            (const char *const[]){path, follow ? "-L" : "", NULL}, "looking at a file of the host", deadline, &text,
            err);
        if (code < 0)
            return code;
        if (!text || sscanf(text, "%x %llu %llu", &mode, &bytes, &blocks) != 3)
            return vmc_error(err, VMCTL_E_INTERNAL, "the host does not tell what %s is", path);
    }
    *out = (vboxmanage_file){bytes, blocks * 512, S_ISREG(mode), S_ISLNK(mode)};
    return 0;
}

char *vboxmanage_file_link(const vboxmanage *manage, const char *path, const vmc_deadline *deadline) {
    if (!manage || !manage->host) {
        char target[4096];
        ssize_t length = readlink(path, target, sizeof target);
        return length > 0 && length < (ssize_t)sizeof target ? vmc_strndup(target, (size_t)length) : NULL;
    }
    char *text = NULL;
    if (vboxmanage_files_script(manage, "[ -L \"$1\" ] || exit 44; exec readlink -- \"$1\"",
                                (const char *const[]){path, NULL}, "looking at a file of the host", deadline, &text,
                                NULL) < 0 ||
        !text)
        return NULL;
    text[strcspn(text, "\n")] = 0;
    return text;
}

bool vboxmanage_file_exists(const vboxmanage *manage, const char *path, const vmc_deadline *deadline) {
    vboxmanage_file file;
    return vboxmanage_file_look(manage, path, false, deadline, &file, NULL) == 0;
}

int vboxmanage_file_readable(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                             vmctl_error **err) {
    if (!manage || !manage->host)
        return access(path, R_OK) == 0 ? 0 : vmc_error_errno(err, errno, "%s cannot be read", path);
    int code = vboxmanage_files_script(
        manage, "[ -e \"$1\" ] || exit 44; [ -r \"$1\" ] || { echo 'Permission denied' >&2; exit 1; }",
        (const char *const[]){path, NULL}, "looking at a file of the host", deadline, NULL, err);
    return code;
}

/* --- removing and making ---------------------------------------------------------------------------------------------------- */

int vboxmanage_file_remove(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                           vmctl_error **err) {
    if (!manage || !manage->host) {
        if (unlink(path) == 0)
            return 0;
        return errno == ENOENT || errno == ENOTDIR ? 1 : vmc_error_errno(err, errno, "cannot remove %s", path);
    }
    vmctl_error *why = NULL;
    int code = vboxmanage_files_script(manage, NEED "exec rm -f -- \"$1\"", (const char *const[]){path, NULL},
                                       "removing a file of the host", deadline, NULL, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 1;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int vboxmanage_symlink(const vboxmanage *manage, const char *to, const char *path, const vmc_deadline *deadline,
                       vmctl_error **err) {
    if (!manage || !manage->host)
        return symlink(to, path) == 0 ? 0 : vmc_error_errno(err, errno, "cannot make %s, a link to the medium", path);
    return vboxmanage_files_script(manage, "exec ln -s -- \"$2\" \"$1\"", (const char *const[]){path, to, NULL},
                                   "making a link on the host", deadline, NULL, err);
}

int vboxmanage_folder_make(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                           vmctl_error **err) {
    if (!manage || !manage->host)
        return vmc_mkdirs(path, 0700, err);
    return vboxmanage_files_script(manage, "umask 077; exec mkdir -p -- \"$1\"", (const char *const[]){path, NULL},
                                   "making a folder on the host", deadline, NULL, err);
}

void vboxmanage_folder_drop(const vboxmanage *manage, const char *path, const vmc_deadline *deadline) {
    if (!manage || !manage->host)
        rmdir(path);
    else
        vboxmanage_files_script(manage, "rmdir -- \"$1\" 2>/dev/null; :", (const char *const[]){path, NULL},
                                "removing a folder of the host", deadline, NULL, NULL);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk) {
    (void)st;
    (void)type;
    (void)walk;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

int vboxmanage_tree_remove(const vboxmanage *manage, const char *path, const vmc_deadline *deadline,
                           vmctl_error **err) {
    if (!manage || !manage->host)
        return nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 || errno == ENOENT
                   ? 0
                   : vmc_error_errno(err, errno, "cannot remove the folder %s", path);
    return vboxmanage_files_script(manage, "exec rm -rf -- \"$1\"", (const char *const[]){path, NULL},
                                   "removing a folder of the host", deadline, NULL, err);
}
