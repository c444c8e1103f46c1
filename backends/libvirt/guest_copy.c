/* Files into the guest and out of it, through its agent: small ones in the agent's own messages, large ones through a serial port that
 * is plugged for the copy (guest_channel.h), and where none can be plugged in pieces of the agent's file commands. A shell in
 * the guest writes beside the target and renames; it takes its unfinished file away itself when the data ends too early. */
#include "agent.h"
#include "base/file.h"
#include "base/random.h"
#include "guest_channel.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_IN = 96 * 1024, SMALL_OUT = 128 * 1024, CHUNK = 256 * 1024, LOOK_MS = 1000, AFTER_MS = 60000 };

/* $1: "-" for standard input, "port:NAME", or a file; sets fd 4. */
#define SOURCE                                                                                                         \
    "export LC_ALL=C\n"                                                                                                \
    "find_port() { p=/dev/virtio-ports/$1; n=0\n"                                                                      \
    "  until [ -c \"$p\" ]; do\n"                                                                                      \
    "    for s in /sys/class/virtio-ports/*; do\n"                                                                     \
    "      if [ \"$(cat \"$s/name\")\" = \"$1\" ] && [ -c \"/dev/${s##*/}\" ]; then p=/dev/${s##*/}; fi\n"             \
    "    done 2>/dev/null\n"                                                                                           \
    "    n=$((n+1)); if [ $n -gt 200 ]; then echo 'the serial port does not appear in the guest' >&2; exit 1; fi\n"    \
    "    [ -c \"$p\" ] || sleep 0.05 || sleep 1\n"                                                                     \
    "  done; }\n"

/* What still comes after a failure is taken by a process that nobody waits for, so that neither side waits for the other.
 * $2 target, $3 the source's own name, $4 size, $5 mode, $6 time, $7 what makes the unfinished file's name unique */
static const char in_script[] = SOURCE
    "t=$2\n"
    "if [ -d \"$t\" ]; then t=${t%/}/$3; fi\n"
    "if [ -d \"$t\" ]; then echo \"$t: Is a directory\" >&2; exit 1; fi\n"
    "if [ -L \"$t\" ]; then r=$(readlink -f \"$t\") && t=$r; fi\n"
    "d=${t%/*}; d=${d:-/}\n"
    "if [ ! -d \"$d\" ]; then echo \"$d: No such file or directory\" >&2; exit 1; fi\n"
    "w=$t.vmctl-$7; whole=1\n"
    "if [ -e \"$t\" ] && [ ! -f \"$t\" ]; then w=$t; whole=; fi\n"
    "case $1 in -) exec 4<&0 ;; port:*) find_port \"${1#port:}\"; exec 4<\"$p\" ;; *) exec 4<\"$1\" ;; esac\n"
    "give_up() { if [ \"$whole\" ]; then rm -f \"$w\"; fi; cat <&4 >/dev/null 2>&1 & exit 1; }\n"
    "umask 077\n"
    "head -c \"$4\" <&4 >\"$w\" || give_up\n"
    "if [ \"$whole\" ]; then\n"
    "  n=$(wc -c <\"$w\")\n"
    "  if [ $((n)) -ne \"$4\" ]; then echo \"$((n)) of $4 bytes came\" >&2; give_up; fi\n"
    "  if [ -e \"$t\" ]; then chown --reference=\"$t\" \"$w\" 2>/dev/null; fi\n"
    "  if [ \"$5\" != - ]; then chmod \"$5\" \"$w\"; touch -d \"@$6\" \"$w\" 2>/dev/null; else chmod 644 \"$w\"; fi\n"
    "  mv -f \"$w\" \"$t\" || give_up\n"
    "fi\n";

/* $1 path: "vmctl SIZE MODE TIME" and, when it is short or no regular file, its bytes */
static const char look_script[] = "export LC_ALL=C\n"
                                  "if [ ! -e \"$1\" ]; then echo \"$1: No such file or directory\" >&2; exit 1; fi\n"
                                  "if [ -d \"$1\" ]; then echo \"$1: Is a directory\" >&2; exit 1; fi\n"
                                  "l=$(stat -L -c '%s %a %Y' \"$1\") || exit 1\n"
                                  "echo \"vmctl $l\"\n"
                                  "if [ \"${l%% *}\" -le 131072 ]; then exec head -c 131073 \"$1\"; fi\n";

/* $1 port, $2 path, $3 size */
static const char out_script[] = SOURCE "find_port \"$1\"; exec head -c \"$3\" \"$2\" >\"$p\"\n";

typedef struct copy {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    vmc_journal *journal;
    const char *guest;
    vmc_deadline deadline;
    uint64_t size;
    unsigned mode;
    int64_t time;
    bool ended; /* the guest's side, before all was sent: its answer was taken */
} copy;

static int failed(const libvirt_agent_process *process, vmctl_error **err) {
    const char *text = process->error.text ? process->error.text : "";
    VMC_AUTO_FREE char *line = vmc_strndup(text, strcspn(text, "\n"));
    int code = libvirt_guest_words_code(text, VMCTL_E_INTERNAL);
    vmc_error(err, code, "in the guest: %s", *line ? line : "the copy failed without a word");
    if (code == VMCTL_E_INVALID_ARGUMENT && strstr(text, "Is a directory"))
        vmc_error_next(err, "folders go as an archive: vmctl exec VM -- tar c -C DIR . > FILE.tar");
    return code;
}

static int check_guest_path(const char *guest, vmctl_error **err) {
    if (*guest == '/')
        return 0;
    vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no absolute path: the agent has no home folder to begin from",
              guest);
    return vmc_error_next(err, "write the whole path");
}

static int advance(const copy *c, const char *stage, uint64_t done, vmctl_error **err) {
    int code = vmc_progress(&c->deadline, c->vm->name, stage, NULL, VMCTL_UNIT_BYTES, done, c->size, err);
    return code < 0 ? code : vmc_deadline_check(&c->deadline, stage, err);
}

/* --- into the guest ------------------------------------------------------------------------------------------------ */

static int start_in(copy *c, const char *source, const char *name, const void *input, size_t length, long long *pid,
                    vmctl_error **err) {
    char size[32], mode[16], when[32];
    VMC_AUTO_FREE char *unique = vmc_printf("%08x", (unsigned)vmc_random());
    (void)snprintf(size, sizeof size, "%" PRIu64, c->size);
    (void)snprintf(mode, sizeof mode, c->mode ? "%o" : "-", c->mode);
    (void)snprintf(when, sizeof when, "%" PRId64, c->time);
    const char *const argv[] = {"/bin/sh", "-c", in_script, "vmctl", source, c->guest,
                                name,      size, mode,      when,    unique, NULL};
    return libvirt_agent_start(c->conn, c->vm, argv, NULL, input, length, &c->deadline, pid, err);
}

static int end_in(copy *c, long long pid, vmctl_error **err) {
    LIBVIRT_AUTO_PROCESS process = {0};
    int code = libvirt_agent_wait(c->conn, c->vm, pid, &c->deadline, &process, err);
    return code < 0 ? code : process.status == 0 ? 0 : failed(&process, err);
}

static ssize_t read_full(int fd, char *bytes, size_t length) {
    size_t got = 0;
    while (got < length) {
        ssize_t n = read(fd, bytes + got, length - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        got += (size_t)n;
    }
    return (ssize_t)got;
}

/* All bytes of the file to `send`, with progress. */
typedef int (*send_fn)(void *to, const void *bytes, size_t length, const vmc_deadline *deadline, vmctl_error **err);

static int pump(copy *c, int fd, send_fn send, void *to, long long pid, vmctl_error **err) {
    VMC_AUTO_FREE char *bytes = vmc_alloc(CHUNK);
    int64_t looked = vmc_now_ms();
    int code = 0;
    for (uint64_t done = 0; code == 0 && done < c->size;) {
        size_t want = c->size - done < CHUNK ? (size_t)(c->size - done) : CHUNK;
        ssize_t n = read_full(fd, bytes, want);
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot read the file");
        if ((size_t)n < want)
            return vmc_error(err, VMCTL_E_CONFLICT, "the file became shorter while it was read");
        code = send(to, bytes, want, &c->deadline, err);
        done += want;
        if (code == 0)
            code = advance(c, "copying into the guest", done, err);
        if (code == 0 && pid >= 0 && vmc_now_ms() - looked > LOOK_MS) { /* the disk in the guest may be full by now */
            LIBVIRT_AUTO_PROCESS process = {0};
            code = libvirt_agent_look(c->conn, c->vm, pid, &c->deadline, &process, err);
            c->ended = process.exited;
            if (code == 0 && process.exited)
                return process.status ? failed(&process, err)
                                      : vmc_error(err, VMCTL_E_CONFLICT, "the guest took only a part of the file");
            looked = vmc_now_ms();
        }
    }
    return code;
}

static int send_channel(void *to, const void *bytes, size_t length, const vmc_deadline *deadline, vmctl_error **err) {
    return libvirt_guest_channel_send(to, bytes, length, deadline, err);
}

/* *usable false: no port can be plugged, and nothing was done. */
static int in_by_channel(copy *c, int fd, const char *name, bool *usable, vmctl_error **err) {
    libvirt_guest_channel *channel = NULL;
    int code = libvirt_guest_channel_open(c->conn, c->vm, c->journal, &c->deadline, &channel, err);
    *usable = code == 0 || code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED;
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *source = vmc_printf("port:%s", libvirt_guest_channel_name(channel));
    long long pid = -1;
    vmctl_error *why = NULL;
    code = start_in(c, source, name, NULL, 0, &pid, &why);
    if (code == 0)
        code = pump(c, fd, send_channel, channel, pid, &why);
    if (code == 0) {
        code = end_in(c, pid, &why);
    } else if (pid >= 0 && !c->ended) {
        /* The guest sees the end of the data and takes its unfinished file away. Its words may be nearer to the cause than ours. */
        libvirt_guest_channel_hang_up(channel);
        vmctl_call plain = VMCTL_CALL_INIT;
        vmc_deadline after = vmc_deadline_start(&plain, AFTER_MS);
        libvirt_vm *fresh = NULL;
        LIBVIRT_AUTO_PROCESS process = {0};
        if (libvirt_agent_again(c->conn, c->vm, &after, &fresh, NULL) == 0)
            libvirt_agent_wait(c->conn, fresh, pid, &after, &process, NULL);
        if (fresh)
            libvirt_release(c->conn, fresh);
        if (process.exited && process.status && code != VMCTL_E_CANCELLED &&
            !strstr(process.error.text ? process.error.text : "", "bytes came"))
            code = failed(&process, &why);
        else if (!process.exited)
            vmc_error_append(&why, "; an unfinished file beside %s may be left in the guest", c->guest);
    }
    int closed = libvirt_guest_channel_close(channel, code < 0 ? NULL : &why);
    vmc_error_move(err, &why);
    return code < 0 ? code : closed;
}

typedef struct piecewise {
    const copy *c;
    long long handle;
} piecewise;

static int send_pieces(void *to, const void *bytes, size_t length, const vmc_deadline *deadline, vmctl_error **err) {
    const piecewise *p = to;
    return libvirt_agent_file_write(p->c->conn, p->c->vm, p->handle, bytes, length, deadline, err);
}

static int in_by_pieces(copy *c, int fd, const char *name, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("/tmp/vmctl-%016llx", (unsigned long long)vmc_random());
    piecewise p = {c, -1};
    int code = libvirt_agent_file_open(c->conn, c->vm, path, "w", &c->deadline, &p.handle, err);
    if (code < 0)
        return code;
    code = pump(c, fd, send_pieces, &p, -1, err);
    int closed = libvirt_agent_file_close(c->conn, c->vm, p.handle, &c->deadline, code < 0 ? NULL : err);
    code = code < 0 ? code : closed;
    long long pid = -1;
    if (code == 0)
        code = start_in(c, path, name, NULL, 0, &pid, err);
    if (code == 0)
        code = end_in(c, pid, err);
    LIBVIRT_AUTO_PROCESS process = {0};
    libvirt_agent_shell(c->conn, c->vm, "rm -f \"$1\"", (const char *const[]){path, NULL}, NULL, 0, &c->deadline,
                        &process, NULL);
    return code;
}

/* Standard input, of unknown length, as a file without a name. */
static int spool(int *fd, vmctl_error **err) {
    const char *folder = getenv("TMPDIR");
    VMC_AUTO_FREE char *path = vmc_printf("%s/vmctl-XXXXXX", folder && *folder ? folder : "/tmp");
    *fd = mkostemp(path, O_CLOEXEC);
    if (*fd < 0)
        return vmc_error_errno(err, errno, "cannot make %s", path);
    unlink(path);
    VMC_AUTO_FREE char *bytes = vmc_alloc(CHUNK);
    for (ssize_t n; (n = read_full(STDIN_FILENO, bytes, CHUNK)) != 0;)
        if (n < 0 || write(*fd, bytes, (size_t)n) != n)
            return vmc_error_errno(err, errno, "cannot keep standard input for the copy");
    return lseek(*fd, 0, SEEK_SET) < 0 ? vmc_error_errno(err, errno, "cannot keep standard input for the copy") : 0;
}

static int open_source(copy *c, const char *local, int *fd, vmctl_error **err) {
    bool standard = strcmp(local, "-") == 0;
    int code = 0;
    if (standard)
        code = spool(fd, err);
    else if ((*fd = open(local, O_RDONLY | O_CLOEXEC)) < 0)
        code = vmc_error_errno(err, errno, "cannot open %s", local);
    struct stat st = {0};
    if (code == 0 && fstat(*fd, &st) < 0)
        code = vmc_error_errno(err, errno, "cannot look at %s", local);
    if (code == 0 && S_ISDIR(st.st_mode)) {
        code = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is a folder, and the agent takes files", local);
        vmc_error_next(err, "tar c -C %s . | vmctl exec VM --stdin -- tar x -C DIR", local);
    } else if (code == 0 && !S_ISREG(st.st_mode)) {
        code = vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is no regular file", local);
        vmc_error_next(err, "vmctl cp - VM:FILE < %s", local);
    }
    c->size = (uint64_t)st.st_size;
    c->mode = standard ? 0 : st.st_mode & 07777;
    c->time = (int64_t)st.st_mtim.tv_sec;
    return code;
}

int libvirt_guest_copy_in(void *conn, void *vm, const char *local, const char *guest, vmc_journal *journal,
                          const vmctl_call *call, vmctl_error **err) {
    copy c = {.conn = conn, .vm = vm, .journal = journal, .guest = guest, .deadline = vmc_deadline_start(call, -1)};
    VMC_AUTO_CLOSE int fd = -1;
    int code = check_guest_path(guest, err);
    if (code == 0)
        code = open_source(&c, local, &fd, err);
    if (code == 0)
        code = libvirt_agent_ready(conn, vm, &c.deadline, err);
    if (code < 0)
        return code;
    const char *name = strcmp(local, "-") == 0 ? "stdin" : vmc_path_basename(local);
    if (c.size <= SMALL_IN) {
        VMC_AUTO_FREE char *bytes = vmc_alloc(SMALL_IN);
        long long pid = -1;
        if (read_full(fd, bytes, (size_t)c.size) != (ssize_t)c.size)
            return vmc_error(err, VMCTL_E_CONFLICT, "the file became shorter while it was read");
        code = start_in(&c, "-", name, bytes, (size_t)c.size, &pid, err);
        return code < 0 ? code : end_in(&c, pid, err);
    }
    bool usable = true;
    vmctl_error *why = NULL;
    code = in_by_channel(&c, fd, name, &usable, &why);
    if (usable) {
        vmc_error_move(err, &why);
        return code;
    }
    vmc_note(&c.deadline, VMCTL_NOTE_INFO, "no serial port can be plugged (%s): the agent's file commands are slower",
             vmctl_error_message(why));
    vmctl_error_free(why);
    return in_by_pieces(&c, fd, name, err);
}

/* --- out of the guest -------------------------------------------------------------------------------------------------- */

/* The local side: written beside the target, renamed when it is whole. */
typedef struct local_file {
    char *path, *unfinished; /* unfinished NULL: straight to fd */
    int fd;
} local_file;

static int open_target(local_file *to, const char *local, const char *guest, vmctl_error **err) {
    struct stat st;
    if (strcmp(local, "-") == 0) {
        to->fd = dup(STDOUT_FILENO);
        return to->fd < 0 ? vmc_error_errno(err, errno, "cannot write to standard output") : 0;
    }
    bool there = stat(local, &st) == 0;
    if (there && S_ISDIR(st.st_mode))
        to->path = vmc_printf("%s/%s", local, vmc_path_basename(guest));
    else
        to->path = vmc_strdup(local);
    if (there && !S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode)) {
        to->fd = open(local, O_WRONLY | O_CLOEXEC);
    } else {
        char *resolved = realpath(to->path, NULL); /* a link's target is written, not the link */
        if (resolved) {
            free(to->path);
            to->path = resolved;
        }
        to->unfinished = vmc_printf("%s.vmctl-XXXXXX", to->path);
        to->fd = mkostemp(to->unfinished, O_CLOEXEC);
        if (to->fd < 0) {
            free(to->unfinished);
            to->unfinished = NULL;
        }
    }
    return to->fd < 0 ? vmc_error_errno(err, errno, "cannot write %s", to->path) : 0;
}

static int put(local_file *to, const void *bytes, size_t length, vmctl_error **err) {
    for (size_t done = 0; done < length;) {
        ssize_t n = write(to->fd, (const char *)bytes + done, length - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot write %s", to->path ? to->path : "standard output");
        done += (size_t)n;
    }
    return 0;
}

/* Whole: named as it shall be; else gone. */
static int close_target(local_file *to, const copy *c, int code, vmctl_error **err) {
    if (code == 0 && to->unfinished) {
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = (time_t)c->time}};
        (void)!fchmod(to->fd, c->mode);
        futimens(to->fd, times);
        if (close(to->fd) < 0 || rename(to->unfinished, to->path) < 0)
            code = vmc_error_errno(err, errno, "cannot write %s", to->path);
        to->fd = -1;
    }
    if (to->fd >= 0)
        close(to->fd);
    if (code < 0 && to->unfinished)
        unlink(to->unfinished);
    free(to->unfinished);
    free(to->path);
    return code;
}

static int receive(copy *c, libvirt_guest_channel *channel, local_file *to, vmctl_error **err) {
    int code = 0;
    for (uint64_t done = 0; code == 0 && done < c->size;) {
        const char *bytes = NULL;
        size_t length = 0;
        code = libvirt_guest_channel_receive(channel, &c->deadline, &bytes, &length, err);
        if (code == 0 && (length == 0 || length > c->size - done))
            return vmc_error(err, VMCTL_E_CONFLICT, "%" PRIu64 " of %" PRIu64 " bytes came from the guest", done,
                             c->size);
        if (code == 0)
            code = put(to, bytes, length, err);
        done += length;
        if (code == 0)
            code = advance(c, "copying out of the guest", done, err);
    }
    return code;
}

static int out_by_channel(copy *c, local_file *to, bool *usable, vmctl_error **err) {
    libvirt_guest_channel *channel = NULL;
    int code = libvirt_guest_channel_open(c->conn, c->vm, c->journal, &c->deadline, &channel, err);
    *usable = code == 0 || code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED;
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *size = vmc_printf("%" PRIu64, c->size);
    const char *const argv[] = {"/bin/sh", "-c", out_script, "vmctl", libvirt_guest_channel_name(channel),
                                c->guest,  size, NULL};
    long long pid = -1;
    vmctl_error *why = NULL;
    code = libvirt_agent_start(c->conn, c->vm, argv, NULL, NULL, 0, &c->deadline, &pid, &why);
    if (code == 0)
        code = receive(c, channel, to, &why);
    LIBVIRT_AUTO_PROCESS process = {0};
    if (code == 0)
        code = libvirt_agent_wait(c->conn, c->vm, pid, &c->deadline, &process, &why);
    if (code == 0 && process.status)
        code = failed(&process, &why);
    int closed = libvirt_guest_channel_close(channel, code < 0 ? NULL : &why);
    vmc_error_move(err, &why);
    return code < 0 ? code : closed;
}

static int out_by_pieces(copy *c, local_file *to, vmctl_error **err) {
    long long handle = -1;
    int code = libvirt_agent_file_open(c->conn, c->vm, c->guest, "r", &c->deadline, &handle, err);
    if (code < 0)
        return code;
    uint64_t done = 0;
    for (bool eof = false; code == 0 && !eof;) {
        VMC_AUTO_STR piece = {0};
        code = libvirt_agent_file_read(c->conn, c->vm, handle, LIBVIRT_AGENT_READ, &c->deadline, &piece, &eof, err);
        if (code == 0 && piece.length)
            code = put(to, piece.text, piece.length, err);
        done += piece.length;
        if (code == 0)
            code = advance(c, "copying out of the guest", done, err);
    }
    if (code == 0 && done < c->size)
        code = vmc_error(err, VMCTL_E_CONFLICT, "%" PRIu64 " of %" PRIu64 " bytes came from the guest", done, c->size);
    libvirt_agent_file_close(c->conn, c->vm, handle, &c->deadline, NULL);
    return code;
}

int libvirt_guest_copy_out(void *conn, void *vm, const char *guest, const char *local, vmc_journal *journal,
                           const vmctl_call *call, vmctl_error **err) {
    copy c = {.conn = conn, .vm = vm, .journal = journal, .guest = guest, .deadline = vmc_deadline_start(call, -1)};
    LIBVIRT_AUTO_PROCESS process = {0};
    int code = check_guest_path(guest, err);
    if (code == 0)
        code = libvirt_agent_ready(conn, vm, &c.deadline, err);
    if (code == 0)
        code = libvirt_agent_shell(conn, vm, look_script, (const char *const[]){guest, NULL}, NULL, 0, &c.deadline,
                                   &process, err);
    if (code == 0 && process.status)
        code = failed(&process, err);
    if (code < 0)
        return code;
    const char *body = process.output.text ? strchr(process.output.text, '\n') : NULL;
    if (!body || sscanf(process.output.text, "vmctl %" SCNu64 " %o %" SCNd64, &c.size, &c.mode, &c.time) != 3)
        return vmc_error(err, VMCTL_E_INTERNAL, "the guest's shell answered something else");
    size_t there = process.output.length - (size_t)(++body - process.output.text);
    local_file to = {.fd = -1};
    code = open_target(&to, local, guest, err);
    bool usable = true;
    if (code == 0 && c.size <= SMALL_OUT && there <= SMALL_OUT) { /* a file of /proc has more than its size says */
        code = put(&to, body, there, err);
    } else if (code == 0) {
        vmctl_error *why = NULL;
        code = out_by_channel(&c, &to, &usable, &why);
        if (!usable) {
            vmc_note(&c.deadline, VMCTL_NOTE_INFO,
                     "no serial port can be plugged (%s): the agent's file commands are slower",
                     vmctl_error_message(why));
            vmctl_error_free(why);
            why = NULL;
            code = out_by_pieces(&c, &to, &why);
        }
        vmc_error_move(err, &why);
    }
    return close_target(&to, &c, code, err);
}
