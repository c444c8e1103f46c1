/* The tar by libarchive (archive_read(3), archive_write(3)), the sums by libcrypto (EVP_DigestInit(3)); the module vmctl-ova.so. */
#include "ova_module.h"
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 1 << 20, TAR_BLOCK = 512, MOST_MEMBERS = 1000 };

static int bad(vmctl_error **err, const char *path, struct archive *a) {
    const char *words = archive_error_string(a);
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s cannot be read as an OVA, which is a tar archive: %s", path,
                     words ? words : "it is damaged");
}

/* An OVA is flat: "./name" is "name", everything else with a folder in it leads elsewhere. NULL: not to be trusted. */
static const char *plain_name(const char *name) {
    while (name && name[0] == '.' && name[1] == '/')
        name += 2;
    if (!name || strchr(name, '/') || strchr(name, '\\') || strcmp(name, "..") == 0 || strcmp(name, ".") == 0)
        return NULL;
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            return NULL;
    return name;
}

static int check_entry(const char *path, struct archive *a, struct archive_entry *entry, uint64_t file_bytes,
                       const char **name, vmctl_error **err) {
    const char *full = archive_entry_pathname(entry);
    *name = plain_name(full);
    if (archive_entry_filetype(entry) == AE_IFDIR && (vmc_str_eq(full, "./") || vmc_str_eq(full, ".")))
        return 1;
    if (!*name || !**name)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT,
                         "%s holds the path \"%s\"; the files of an OVA have plain names, and a path could lead "
                         "anywhere",
                         path, full ? full : "");
    if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) || archive_entry_symlink(entry))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds %s, which is a link or no plain file", path, *name);
    int64_t at = archive_read_header_position(a), bytes = archive_entry_size(entry);
    if (bytes < 0 || at < 0 || (uint64_t)bytes > file_bytes ||
        (uint64_t)at + TAR_BLOCK + (uint64_t)bytes > file_bytes) {
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is cut off: %s should have %lld bytes", path, *name,
                  (long long)bytes);
        return vmc_error_next(err, "fetch the file again");
    }
    return 0;
}

typedef struct reading {
    const char *path;
    struct archive *archive;
} reading;

static int read_members(reading *r, uint64_t file_bytes,
                        int (*each)(void *user, const char *name, uint64_t bytes, void *file, vmctl_error **err),
                        void *user, vmctl_error **err) {
    struct archive_entry *entry;
    for (int seen = 0;; seen++) {
        int rc = archive_read_next_header(r->archive, &entry);
        if (rc == ARCHIVE_EOF)
            return seen ? 0 : vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is empty", r->path);
        if (rc != ARCHIVE_OK && rc != ARCHIVE_WARN)
            return bad(err, r->path, r->archive);
        if (seen >= MOST_MEMBERS)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s holds more than %d files", r->path, (int)MOST_MEMBERS);
        const char *name = NULL;
        rc = check_entry(r->path, r->archive, entry, file_bytes, &name, err);
        if (rc == 0)
            rc = each(user, name, (uint64_t)archive_entry_size(entry), r, err);
        if (rc < 0)
            return rc;
    }
}

static int read_all(const char *path,
                    int (*each)(void *user, const char *name, uint64_t bytes, void *file, vmctl_error **err),
                    void *user, vmctl_error **err) {
    struct stat st;
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return vmc_error_errno(err, errno, "cannot read %s", path);
    if (!S_ISREG(st.st_mode))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no plain file", path);
    reading r = {path, archive_read_new()};
    if (!r.archive)
        return vmc_error_no_memory(err);
    archive_read_support_filter_none(r.archive);
    archive_read_support_format_tar(r.archive);
    int code = archive_read_open_fd(r.archive, fd, BLOCK) == ARCHIVE_OK
                   ? read_members(&r, (uint64_t)st.st_size, each, user, err)
                   : bad(err, path, r.archive);
    archive_read_free(r.archive);
    return code;
}

static long read_next(void *file, void *bytes, size_t length, vmctl_error **err) {
    reading *r = file;
    la_ssize_t n = archive_read_data(r->archive, bytes, length);
    return n < 0 ? bad(err, r->path, r->archive) : (long)n;
}

/* --- writing ----------------------------------------------------------------------------------------------- */

typedef struct writing {
    char *path;
    struct archive *archive;
    int fd;
} writing;

static int write_failed(const writing *w, vmctl_error **err) {
    int number = archive_errno(w->archive);
    if (number > 0)
        return vmc_error_errno(err, number, "cannot write %s", w->path);
    const char *words = archive_error_string(w->archive);
    return vmc_error(err, VMCTL_E_INTERNAL, "cannot write %s: %s", w->path, words ? words : "libarchive failed");
}

static int write_create(const char *path, void **writer, vmctl_error **err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", path);
    writing *w = vmc_alloc(sizeof *w);
    *w = (writing){vmc_strdup(path), archive_write_new(), fd};
    /* USTAR, as the standard asks; more only for what USTAR cannot say: files of 8 GiB and above. */
    archive_write_set_format_pax_restricted(w->archive);
    archive_write_set_bytes_per_block(w->archive, BLOCK);
    archive_write_set_bytes_in_last_block(w->archive, TAR_BLOCK);
    *writer = w;
    return archive_write_open_fd(w->archive, fd) == ARCHIVE_OK ? 0 : write_failed(w, err);
}

static int write_begin(void *writer, const char *name, uint64_t bytes, vmctl_error **err) {
    writing *w = writer;
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_mtime(entry, time(NULL), 0);
    archive_entry_set_size(entry, (int64_t)bytes);
    int rc = archive_write_header(w->archive, entry);
    archive_entry_free(entry);
    return rc == ARCHIVE_OK || rc == ARCHIVE_WARN ? 0 : write_failed(w, err);
}

static int write_put(void *writer, const void *bytes, size_t length, vmctl_error **err) {
    writing *w = writer;
    return archive_write_data(w->archive, bytes, length) == (la_ssize_t)length ? 0 : write_failed(w, err);
}

static int write_close(void *writer, bool keep, vmctl_error **err) {
    writing *w = writer;
    int code = 0;
    if (keep && archive_write_close(w->archive) != ARCHIVE_OK)
        code = write_failed(w, err);
    if (keep && code == 0 && fsync(w->fd) < 0)
        code = vmc_error_errno(err, errno, "cannot write %s", w->path);
    archive_write_free(w->archive);
    close(w->fd);
    free(w->path);
    free(w);
    return code;
}

/* --- sums -------------------------------------------------------------------------------------------------- */

static void *sum_new(const char *algorithm) {
    const EVP_MD *kind = EVP_get_digestbyname(algorithm);
    EVP_MD_CTX *sum = kind ? EVP_MD_CTX_new() : NULL;
    if (sum && EVP_DigestInit_ex(sum, kind, NULL) != 1) {
        EVP_MD_CTX_free(sum);
        return NULL;
    }
    return sum;
}

static void sum_add(void *sum, const void *bytes, size_t length) {
    EVP_DigestUpdate(sum, bytes, length);
}

static char *sum_end(void *sum) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    vmc_str hex = {0};
    EVP_DigestFinal_ex(sum, digest, &length);
    EVP_MD_CTX_free(sum);
    for (unsigned i = 0; i < length; i++)
        vmc_str_printf(&hex, "%02x", digest[i]);
    return vmc_str_take(&hex);
}

const ova_module *vmctl_ova_module(void) {
    static const ova_module table = {read_all,    read_next, write_create, write_begin, write_put,
                                     write_close, sum_new,   sum_add,      sum_end};
    return &table;
}
