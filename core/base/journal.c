/* The file, one line an entry, each synced before its thing is made:
 *
 *   vmctl-journal 1
 *   endpoint qemu:///system
 *   operation create web-1
 *   add 0 volume default/web-1-root.qcow2
 *   drop 0
 *
 * Values are percent-encoded where they hold control characters or '%'. A last line without its newline was torn by a crash:
 * vmc_journal_add had not returned, so nothing was made for it. Living processes hold flock(2); a kill releases it.
 */
#include "base/journal.h"
#include "base/deadline.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/str.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LARGEST = 16 << 20 };

typedef struct entry {
    size_t mark;
    char *kind;
    char *detail;
    bool gone;  /* dropped or undone */
    bool tried; /* an undo failed and was told */
} entry;

struct vmc_journal {
    char *endpoint;
    char *operation;
    char *path; /* NULL until the first entry */
    int fd;
    entry *entries;
    size_t count;
    bool keep; /* an undo failed: the file stays for the next time */
    bool unsynced;
};

static void encode(vmc_str *s, const char *text) {
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f || *text == '%')
            vmc_str_printf(s, "%%%02x", (unsigned char)*text);
        else
            vmc_str_add_char(s, *text);
}

static char *decode(const char *text) {
    VMC_AUTO_STR s = {0};
    for (; *text; text++) {
        unsigned value;
        if (*text == '%' && sscanf(text + 1, "%2x", &value) == 1 && value) {
            vmc_str_add_char(&s, (char)value);
            text += 2;
        } else {
            vmc_str_add_char(&s, *text);
        }
    }
    return vmc_str_take(&s);
}

/* Files of one endpoint share a prefix, so that others' are not opened. FNV-1a, 64 bits. */
static char *file_prefix(const char *endpoint) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const char *p = endpoint; *p; p++)
        hash = (hash ^ (unsigned char)*p) * 0x100000001b3u;
    return vmc_printf("%016llx-", (unsigned long long)hash);
}

int vmc_journal_open(const char *endpoint, const char *operation, vmc_journal **out, vmctl_error **err) {
    if (!endpoint || !*endpoint)
        return vmc_error(err, VMCTL_E_INTERNAL, "a journal needs an endpoint");
    vmc_journal *journal = vmc_alloc(sizeof *journal);
    journal->endpoint = vmc_strdup(endpoint);
    journal->operation = vmc_strdup(operation ? operation : "");
    journal->fd = -1;
    *out = journal;
    return 0;
}

static int append(vmc_journal *journal, const vmc_str *lines, vmctl_error **err) {
    size_t done = 0;
    while (done < lines->length) {
        ssize_t n = write(journal->fd, lines->text + done, lines->length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot write the journal %s", journal->path);
        done += (size_t)n;
    }
    if (!journal->unsynced && fdatasync(journal->fd) < 0)
        return vmc_error_errno(err, errno, "cannot write the journal %s", journal->path);
    return 0;
}

void vmc_journal_unsynced(vmc_journal *journal, bool unsynced) {
    journal->unsynced = unsynced;
}

/* A new locked file that no recoverer has in its hands. */
static int make_file(vmc_journal *journal, vmctl_error **err) {
    static atomic_uint serial;
    VMC_AUTO_FREE char *folder = vmc_xdg_state("journal");
    VMC_AUTO_FREE char *prefix = file_prefix(journal->endpoint);
    int rc = vmc_mkdirs(folder, 0700, err);
    if (rc < 0) {
        vmc_error_prefix(err, "the journal of what is being made cannot be kept");
        vmc_error_next(err, "set XDG_STATE_HOME to a folder that can be written");
        return rc;
    }
    for (;;) {
        VMC_AUTO_FREE char *path =
            vmc_printf("%s/%s%d-%u", folder, prefix, (int)getpid(), atomic_fetch_add(&serial, 1));
        int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST)
            continue;
        if (fd < 0)
            return vmc_error_errno(err, errno, "cannot make the journal %s", path);
        struct stat st;
        /* Between open and lock a recoverer may have taken the empty file for a dead process' and removed it. */
        if (flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0 || st.st_nlink == 0) {
            close(fd);
            continue;
        }
        VMC_AUTO_CLOSE int folder_fd = journal->unsynced ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (folder_fd >= 0)
            fsync(folder_fd);
        journal->fd = fd;
        journal->path = vmc_strdup(path);
        return 0;
    }
}

int vmc_journal_add(vmc_journal *journal, const char *kind, const char *detail, size_t *mark, vmctl_error **err) {
    VMC_AUTO_STR lines = {0};
    if (journal->fd < 0) {
        int rc = make_file(journal, err);
        if (rc < 0)
            return rc;
        vmc_str_add(&lines, "vmctl-journal 1\nendpoint ");
        encode(&lines, journal->endpoint);
        vmc_str_add(&lines, "\noperation ");
        encode(&lines, journal->operation);
        vmc_str_add_char(&lines, '\n');
    }
    size_t number = journal->count;
    vmc_str_printf(&lines, "add %zu %s ", number, kind);
    encode(&lines, detail);
    vmc_str_add_char(&lines, '\n');
    int rc = append(journal, &lines, err);
    if (rc < 0)
        return rc;
    journal->entries = vmc_realloc(journal->entries, journal->count + 1, sizeof *journal->entries);
    journal->entries[journal->count++] = (entry){number, vmc_strdup(kind), vmc_strdup(detail), false, false};
    if (mark)
        *mark = number;
    return 0;
}

static int write_drop(vmc_journal *journal, size_t mark, vmctl_error **err) {
    VMC_AUTO_STR line = {0};
    vmc_str_printf(&line, "drop %zu\n", mark);
    return append(journal, &line, err);
}

int vmc_journal_drop(vmc_journal *journal, size_t mark, vmctl_error **err) {
    for (size_t i = 0; i < journal->count; i++)
        if (journal->entries[i].mark == mark && !journal->entries[i].gone) {
            journal->entries[i].gone = true;
            return write_drop(journal, mark, err);
        }
    return 0;
}

size_t vmc_journal_undo(vmc_journal *journal, vmc_undo_fn undo, void *user, vmctl_error **err) {
    size_t left = 0;
    for (size_t i = journal->count; i-- > 0;) {
        entry *e = &journal->entries[i];
        if (e->gone)
            continue;
        vmctl_error *why = NULL;
        if (undo(user, e->kind, e->detail, &why) < 0) {
            left++;
            if (!e->tried)
                vmc_error_append(err, "; the %s %s could not be removed again: %s", e->kind, e->detail,
                                 why ? vmctl_error_message(why) : "no reason was given");
            e->tried = true;
        } else {
            e->gone = true;
            vmctl_error *ignored = NULL; /* undoing twice is harmless: what is not there is success */
            write_drop(journal, e->mark, &ignored);
            vmctl_error_free(ignored);
        }
        vmctl_error_free(why);
    }
    journal->keep = left > 0;
    return left;
}

static void journal_free(vmc_journal *journal) {
    for (size_t i = 0; i < journal->count; i++) {
        free(journal->entries[i].kind);
        free(journal->entries[i].detail);
    }
    free(journal->entries);
    free(journal->endpoint);
    free(journal->operation);
    free(journal->path);
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal);
}

void vmc_journal_close(vmc_journal *journal) {
    if (!journal)
        return;
    if (journal->path && !journal->keep)
        unlink(journal->path);
    journal_free(journal);
}

/* --- recovery --------------------------------------------------------------------------------------------- */

static int parse_line(vmc_journal *journal, size_t number, char *line) {
    if (number == 0)
        return strcmp(line, "vmctl-journal 1") == 0 ? 0 : -1;
    if (number == 1 || number == 2) {
        const char *key = number == 1 ? "endpoint " : "operation ";
        if (!vmc_starts_with(line, key))
            return -1;
        *(number == 1 ? &journal->endpoint : &journal->operation) = decode(line + strlen(key));
        return 0;
    }
    char *rest = NULL;
    if (vmc_starts_with(line, "drop ")) {
        size_t mark = strtoul(line + 5, &rest, 10);
        for (size_t i = 0; i < journal->count; i++)
            if (journal->entries[i].mark == mark)
                journal->entries[i].gone = true;
        return *rest ? -1 : 0;
    }
    if (!vmc_starts_with(line, "add "))
        return -1;
    size_t mark = strtoul(line + 4, &rest, 10);
    if (*rest != ' ')
        return -1;
    char *kind = rest + 1, *detail = strchr(kind, ' ');
    if (!detail)
        return -1;
    *detail++ = '\0';
    journal->entries = vmc_realloc(journal->entries, journal->count + 1, sizeof *journal->entries);
    journal->entries[journal->count++] = (entry){mark, vmc_strdup(kind), decode(detail), false, false};
    return 0;
}

/* Whole lines only: the torn last one counts as not written. */
static int parse(vmc_journal *journal, char *text) {
    size_t number = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        if (parse_line(journal, number++, line) < 0)
            return -1;
    }
    return 0;
}

typedef struct recovery {
    const vmc_deadline *deadline;
    const char *operation;
    vmc_undo_fn undo;
    void *user;
} recovery;

static int undo_and_tell(void *user, const char *kind, const char *detail, vmctl_error **err) {
    recovery *r = user;
    vmctl_error *why = NULL;
    int rc = r->undo(r->user, kind, detail, &why);
    if (rc < 0)
        vmc_note(r->deadline, VMCTL_NOTE_WARNING,
                 "what an interrupted %s left could not be cleared (the next change tries again): %s %s: %s",
                 r->operation, kind, detail, why ? vmctl_error_message(why) : "no reason was given");
    else
        vmc_note(r->deadline, VMCTL_NOTE_INFO, "cleared what an interrupted %s left: %s %s", r->operation, kind,
                 detail);
    vmc_error_move(err, &why);
    return rc;
}

static void recover_file(const char *path, const char *endpoint, recovery *r) {
    VMC_AUTO_CLOSE int fd = open(path, O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return; /* gone meanwhile, or its process lives, or another one recovers it */
    if (fstat(fd, &st) < 0 || st.st_nlink == 0 || st.st_size > LARGEST)
        return;
    VMC_AUTO_FREE char *text = vmc_alloc((size_t)st.st_size + 1);
    if (pread(fd, text, (size_t)st.st_size, 0) != (ssize_t)st.st_size)
        return;
    vmc_journal *journal = vmc_alloc(sizeof *journal);
    journal->fd = fd;
    journal->path = vmc_strdup(path);
    const char *last = strrchr(text, '\n');
    off_t whole = last ? last + 1 - text : 0;
    if (parse(journal, text) < 0) {
        vmc_note(r->deadline, VMCTL_NOTE_WARNING, "the journal %s cannot be read; look at it and remove it", path);
        journal->keep = true;
    } else if (!journal->endpoint) {
        journal->keep = false; /* died before the first entry was whole */
    } else if (!vmc_str_eq(journal->endpoint, endpoint)) {
        journal->keep = true;
    } else {
        int cut = whole < st.st_size ? ftruncate(fd, whole) : 0; /* the torn line, so that those to come are whole */
        (void)cut;
        r->operation = journal->operation && *journal->operation ? journal->operation : "operation";
        vmc_log("journal", "recovering %s (%s)", path, r->operation);
        vmc_journal_undo(journal, undo_and_tell, r, NULL);
    }
    if (!journal->keep)
        unlink(path);
    journal->fd = -1; /* closed, and so unlocked, by this scope */
    journal->keep = true;
    vmc_journal_close(journal);
}

int vmc_journal_recover(const char *endpoint, const vmctl_call *call, vmc_undo_fn undo, void *user, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_xdg_state("journal");
    DIR *dir = opendir(folder);
    if (!dir) /* no folder, no journals; one that cannot be read was not written by this person either */
        return 0;
    VMC_AUTO_FREE char *prefix = file_prefix(endpoint);
    VMC_AUTO_STRV files = {0};
    for (struct dirent *e; (e = readdir(dir));)
        if (vmc_starts_with(e->d_name, prefix))
            vmc_strv_printf(&files, "%s/%s", folder, e->d_name);
    closedir(dir);
    vmc_deadline deadline = vmc_deadline_start(call, -1);
    for (size_t i = 0; i < files.count; i++) {
        int rc = vmc_deadline_check(&deadline, "cleaning up after an interrupted operation", err);
        if (rc < 0)
            return rc;
        recovery r = {&deadline, NULL, undo, user};
        recover_file(files.items[i], endpoint, &r);
    }
    return 0;
}
