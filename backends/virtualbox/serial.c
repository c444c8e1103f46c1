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

enum { LOG_MS = 60000, KEEP_LIMIT = 16 * 1024 * 1024, BUFFER = 32 * 1024, LOOK_MS = 1000 };

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

int virtualbox_serial_keep(const vboxmanage_machine *machine, int64_t *kept, vmctl_error **err) {
    struct stat st;
    *kept = 0;
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
    const vmctl_log_options *options;
    const vmc_deadline *deadline;
    vmctl_bytes_fn each;
    void *user;
    const char *path;
    off_t at; /* in the present file */
    bool stopped;
} reader;

/* Tells a file from `from` on; *end: where it ended. A missing one is empty. */
static int tell(reader *r, const char *path, off_t from, off_t *end, vmctl_error **err) {
    char buffer[BUFFER];
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    *end = from;
    if (fd < 0)
        return errno == ENOENT ? 0 : vmc_error_errno(err, errno, "cannot read the serial log %s", path);
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size < from) /* emptied by a start */
        *end = 0;
    ssize_t got;
    while (!r->stopped && (got = pread(fd, buffer, sizeof buffer, *end)) > 0) {
        *end += got;
        r->stopped = r->each(buffer, (size_t)got, r->user) != 0;
    }
    return 0;
}

static off_t size_of(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? st.st_size : 0;
}

static int read_all(reader *r, vmctl_error **err) {
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(r->path);
    off_t first = size_of(earlier);
    off_t second = size_of(r->path);
    off_t skip = r->options->tail_bytes < 0 || first + second <= r->options->tail_bytes
                     ? 0
                     : first + second - (off_t)r->options->tail_bytes;
    off_t end = 0;
    int code = skip < first ? tell(r, earlier, skip, &end, err) : 0;
    return code < 0 ? code : tell(r, r->path, skip > first ? skip - first : 0, &r->at, err);
}

static int follow(reader *r, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(r->path);
    VMC_AUTO_CLOSE int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (watch < 0 || inotify_add_watch(watch, folder, IN_MODIFY | IN_CREATE) < 0)
        return vmc_error_errno(err, errno, "cannot watch %s", folder);
    int code = 0;
    while (code >= 0 && !r->stopped) {
        char events[BUFFER];
        code = tell(r, r->path, r->at, &r->at, err);
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
        reader r = {.options = options, .deadline = &deadline, .each = each, .user = user, .path = path};
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
