/* What a VM prints on its serial port, from the file that VirtualBox writes. It empties that file at each start (also when a saved
 * memory is restored), so what was in it is moved to a second one before: a log tells all boots. */
#include "facts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LOG_MS = 60000, KEEP_LIMIT = 16 * 1024 * 1024, BUFFER = 32 * 1024, LOOK_MS = 1000, LOG_LIMIT = 256 << 20 };

char *virtualbox_serial_earlier(const char *path) {
    return vmc_printf("%s.earlier", path);
}

/* A console has made the port a socket for the while (console.c); where its process died, it still is one. */
static const char console_ending[] = ".console";

char *virtualbox_serial_console_path(const char *log_path) {
    return vmc_printf("%s%s", log_path, console_ending);
}

char *virtualbox_serial_log_path(const vboxmanage_machine *machine) {
    const char *path = machine->serial_path;
    if (path && vmc_str_eq(machine->serial_mode, "HostPipe") && vmc_ends_with(path, console_ending))
        return vmc_strndup(path, strlen(path) - strlen(console_ending));
    return path && vmc_str_eq(machine->serial_mode, "RawFile") ? vmc_strdup(path) : NULL;
}

int virtualbox_serial_heal(virtualbox_conn *conn, const virtualbox_vm *vm, const vboxmanage_machine *machine,
                           const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *path = virtualbox_serial_log_path(machine);
    if (!path || !vmc_str_eq(machine->serial_mode, "HostPipe") || machine->state_file)
        return 0;
    return virtualbox_say(conn, vm, "giving the serial port back to its log", deadline, NULL, err, "modifyvm", vm->id,
                          "--uartmode1", "file", path, NULL);
}

static int copy_on(int from, int to) {
    char buffer[BUFFER];
    ssize_t got;
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(to, buffer + done, (size_t)(got - done));
            if (put < 0 && errno != EINTR)
                return -1;
            done += put > 0 ? put : 0;
        }
    return got < 0 ? -1 : 0;
}

/* *kept of a host's file: one go there. */
static int keep_there(const vboxmanage_machine *machine, int64_t *kept, const vmc_deadline *deadline,
                      vmctl_error **err) {
    static const char script[] = "[ -f \"$1\" ] && [ -s \"$1\" ] || { echo 0; exit 0; }\n"
                                 "umask 077; n=$(wc -c < \"$1\")\n"
                                 "if [ -f \"$2\" ] && [ \"$(wc -c < \"$2\")\" -gt \"$3\" ]; then : > \"$2\"; fi\n"
                                 "head -c \"$n\" < \"$1\" >> \"$2\" && echo $n";
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(machine->serial_path);
    VMC_AUTO_FREE char *limit = vmc_printf("%d", KEEP_LIMIT);
    VMC_AUTO_FREE char *text = NULL;
    int code = vboxmanage_files_script(machine->manage, script,
                                       (const char *const[]){machine->serial_path, earlier, limit, NULL},
                                       "keeping the serial log", deadline, &text, err);
    *kept = code == 0 && text ? strtoll(text, NULL, 10) : 0;
    return code;
}

static void unkeep_there(const vboxmanage_machine *machine, int64_t kept) {
    static const char script[] = "[ -f \"$1\" ] && [ \"$(wc -c < \"$1\")\" -ge \"$3\" ] || exit 0\n"
                                 "n=$(($(wc -c < \"$2\") - $3)); [ \"$n\" -ge 0 ] && umask 077 &&\n"
                                 "head -c \"$n\" < \"$2\" > \"$2.new\" && mv -f -- \"$2.new\" \"$2\"";
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(machine->serial_path);
    VMC_AUTO_FREE char *bytes = vmc_printf("%lld", (long long)kept);
    vboxmanage_files_script(machine->manage, script, (const char *const[]){machine->serial_path, earlier, bytes, NULL},
                            "keeping the serial log", NULL, NULL, NULL);
}

int virtualbox_serial_keep(const vboxmanage_machine *machine, int64_t *kept, const vmc_deadline *deadline,
                           vmctl_error **err) {
    struct stat st;
    *kept = 0;
    if (machine->manage && machine->manage->host)
        return vmc_str_eq(machine->serial_mode, "RawFile") && machine->serial_path
                   ? keep_there(machine, kept, deadline, err)
                   : 0;
    if (!vmc_str_eq(machine->serial_mode, "RawFile") || !machine->serial_path || stat(machine->serial_path, &st) < 0 ||
        st.st_size == 0 || !S_ISREG(st.st_mode))
        return 0;
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(machine->serial_path);
    VMC_AUTO_CLOSE int from = open(machine->serial_path, O_RDONLY | O_CLOEXEC);
    VMC_AUTO_CLOSE int to = open(earlier, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (from < 0 || to < 0)
        return vmc_error_errno(err, errno, "cannot keep the serial log %s", earlier);
    struct stat old;
    if (fstat(to, &old) == 0 && old.st_size > KEEP_LIMIT && ftruncate(to, 0) < 0)
        return vmc_error_errno(err, errno, "cannot cut the serial log %s", earlier);
    if (copy_on(from, to) < 0)
        return vmc_error_errno(err, errno, "cannot keep the serial log %s", earlier);
    *kept = st.st_size;
    return 0;
}

void virtualbox_serial_unkeep(const vboxmanage_machine *machine, int64_t kept) {
    struct stat st;
    if (kept && machine->manage && machine->manage->host) {
        unkeep_there(machine, kept);
        return;
    }
    if (!kept || stat(machine->serial_path, &st) < 0 || st.st_size < kept)
        return; /* emptied: what was kept is all that there is */
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(machine->serial_path);
    if (stat(earlier, &st) < 0 || st.st_size < kept)
        return;
    if ((st.st_size == kept ? unlink(earlier) : truncate(earlier, st.st_size - kept)) < 0)
        return; /* twice in the log is better than an error for a start that worked */
}

/* --- reading ----------------------------------------------------------------------------------------------------- */

typedef struct reader {
    const vboxmanage *manage;
    const vmctl_log_options *options;
    const vmc_deadline *deadline;
    vmctl_bytes_fn each;
    void *user;
    const char *path;
    off_t at; /* in the present file */
    bool stopped;
} reader;

static int tell_there(reader *r, const char *path, off_t from, off_t until, off_t *end, vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    vmctl_error *why = NULL;
    int code = vboxmanage_file_rest(r->manage, path, from, until < 0 ? LOG_LIMIT : (size_t)(until - from), r->deadline,
                                    &text, &length, &why);
    if (code == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    *end += code == 0 ? (off_t)length : 0;
    if (code == 0 && length)
        r->stopped = r->each(text, length, r->user) != 0;
    return code;
}

static int hear(const char *bytes, size_t length, void *user) {
    reader *r = user;
    r->stopped = r->each(bytes, length, r->user) != 0;
    return r->stopped;
}

/* Tells a file from `from` on, up to `until` (-1: to its end); *end: where that was. A missing one is empty. */
static int tell(reader *r, const char *path, off_t from, off_t until, off_t *end, vmctl_error **err) {
    char buffer[BUFFER];
    *end = from;
    if (r->manage->host)
        return tell_there(r, path, from, until, end, err);
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : vmc_error_errno(err, errno, "cannot read the serial log %s", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size < from) /* emptied by a start */
        *end = 0;
    ssize_t got;
    while (!r->stopped && (until < 0 || *end < until) &&
           (got = pread(fd, buffer, until < 0 || until - *end > BUFFER ? BUFFER : (size_t)(until - *end), *end)) > 0) {
        *end += got;
        r->stopped = r->each(buffer, (size_t)got, r->user) != 0;
    }
    return 0;
}

static off_t size_of(const reader *r, const char *path) {
    vboxmanage_file file;
    return vboxmanage_file_look(r->manage, path, true, r->deadline, &file, NULL) == 0 ? (off_t)file.bytes : 0;
}

static int read_all(reader *r, vmctl_error **err) {
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(r->path);
    off_t first = size_of(r, earlier);
    off_t second = size_of(r, r->path);
    off_t skip = r->options->tail_bytes < 0 || first + second <= r->options->tail_bytes
                     ? 0
                     : first + second - (off_t)r->options->tail_bytes;
    off_t end = 0;
    /* What comes meanwhile is no part of a tail. */
    off_t until = r->options->tail_bytes < 0 ? -1 : second;
    int code = skip < first ? tell(r, earlier, skip, -1, &end, err) : 0;
    return code < 0 ? code : tell(r, r->path, skip > first ? skip - first : 0, until, &r->at, err);
}

static int follow(reader *r, vmctl_error **err) {
    if (r->manage->host)
        return vboxmanage_file_follow(r->manage, r->path, r->at, hear, r, r->deadline, err);
    VMC_AUTO_FREE char *folder = vmc_path_dirname(r->path);
    VMC_AUTO_CLOSE int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, folder, IN_MODIFY | IN_CREATE) < 0)
        return vmc_error_errno(err, errno, "cannot watch %s", folder);
    int code = 0;
    while (code >= 0 && !r->stopped) {
        char events[BUFFER];
        code = tell(r, r->path, r->at, -1, &r->at, err);
        if (code == 0 && !r->stopped)
            code = vmc_deadline_poll(r->deadline, watch, POLLIN, LOOK_MS, "following the serial log", err);
        while (read(watch, events, sizeof events) > 0)
            continue;
    }
    return code < 0 ? code : 0;
}

int virtualbox_serial_log(void *opaque, void *handle, const vmctl_log_options *options, vmctl_bytes_fn each, void *user,
                          vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, options->follow ? -1 : LOG_MS);
    const virtualbox_vm *vm = handle;
    vboxmanage_machine *machine = NULL;
    int code = virtualbox_load(opaque, vm, &deadline, &machine, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *path = virtualbox_serial_log_path(machine);
    if (!path) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "%s keeps no serial log", vm->name);
        code = vmc_error_next(err, "give its spec serial: {log: NAME.log}");
    } else {
        reader r = {.manage = ((virtualbox_conn *)opaque)->manage,
                    .options = options,
                    .deadline = &deadline,
                    .each = each,
                    .user = user,
                    .path = path};
        vmctl_error *why = NULL;
        code = read_all(&r, &why);
        if (code == 0 && options->follow && !r.stopped)
            code = follow(&r, &why);
        if (code == VMCTL_E_TIMEOUT && options->follow)
            code = 0;
        vmc_error_move(code < 0 ? err : NULL, &why);
    }
    vboxmanage_machine_free(machine);
    return code;
}
