/* The serial console: bytes between VirtualBox's socket and one end of a socket pair, moved by a thread.
 *
 * A port that writes a log becomes a socket for the while (controlvm changeuartmode), and what goes through the console is written to the
 * log all the same (serial.c: the file of earlier output, which stands before the present one). VirtualBox serves one client of a port. */
#include "drivers/vboxmanage/host.h"
#include "screen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { OPEN_MS = 30000, CLOSE_MS = 15000, BUFFER = 16384, TAKE_OVER_MS = 5000, RETRY_MS = 20, SAVE_BYTES = 64 << 10 };

typedef struct console {
    virtualbox_conn *conn;
    virtualbox_vm *vm;
    pthread_t thread;
    int person;       /* our end of the pair */
    int port;         /* VirtualBox's socket */
    int log;          /* what is read is kept there, too; -1 */
    char *log_there;  /* the same on another host, by its name; NULL */
    vmc_str unsaved;  /* what was not written to that one yet */
    int lock;         /* of the VM's folder, as long as it is ours; -1 */
    char *log_path;   /* the port goes back to this file; NULL */
    bool taken;       /* the port is a console's socket already */
    bool guest_ended; /* by the thread, read after its end: VirtualBox closed the socket */
} console;

int virtualbox_console_check(const virtualbox_vm *vm, const vboxmanage_machine *machine, vmctl_state state,
                             const char *device, vmctl_error **err) {
    if (state != VMCTL_STATE_RUNNING && state != VMCTL_STATE_PAUSED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run", vm->name);
        return vmc_error_next(err, "vmctl start %s", vm->name);
    }
    if (!machine->serial_mode || (device && strcmp(device, "serial") != 0)) {
        vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no such serial port", vm->name);
        return machine->serial_mode ? vmc_error_next(err, "its only one is called serial") : VMCTL_E_NOT_FOUND;
    }
    bool file = vmc_str_eq(machine->serial_mode, "RawFile");
    bool server = machine->serial_server &&
                  (vmc_str_eq(machine->serial_mode, "HostPipe") || vmc_str_eq(machine->serial_mode, "TCP"));
    if (file || server)
        return 0;
    vmc_error(err, VMCTL_E_UNSUPPORTED, "the serial port of %s is bound to %s, which is not vmctl's to take over",
              vm->name, machine->serial_path ? machine->serial_path : "a device of the host");
    return vmc_error_next(err, "VBoxManage controlvm %s changeuartmode1 server /PATH makes it a socket", vm->name);
}

/* --- the bytes ----------------------------------------------------------------------------------------------------- */

/* Whole, also to a socket that is slow; false: the other side is gone. */
static bool put(int fd, const char *bytes, ssize_t length) {
    for (ssize_t done = 0; done < length;) {
        ssize_t sent = send(fd, bytes + done, (size_t)(length - done), MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd room = {fd, POLLOUT, 0};
            poll(&room, 1, -1);
        } else if (sent < 0 && errno != EINTR) {
            return false;
        }
        done += sent > 0 ? sent : 0;
    }
    return true;
}

/* Every so often, and at the end: a connection for each piece would be slower than the console. */
static void save(console *c) {
    if (c->log_there && c->unsaved.length)
        vboxmanage_file_append(c->conn->manage, c->log_there, c->unsaved.text, c->unsaved.length, NULL, NULL);
    vmc_str_free(&c->unsaved);
}

static void keep(console *c, const char *bytes, ssize_t length) {
    if (c->log_there && length > 0) {
        vmc_str_add_n(&c->unsaved, bytes, (size_t)length);
        if (c->unsaved.length >= SAVE_BYTES)
            save(c);
        return;
    }
    for (ssize_t done = 0; c->log >= 0 && done < length;) {
        ssize_t wrote = write(c->log, bytes + done, (size_t)(length - done));
        if (wrote < 0 && errno != EINTR)
            return; /* a full disk ends no console */
        done += wrote > 0 ? wrote : 0;
    }
}

static void *pump(void *opaque) {
    console *c = opaque;
    char bytes[BUFFER];
    for (;;) {
        struct pollfd both[2] = {{c->port, POLLIN, 0}, {c->person, POLLIN, 0}};
        if (poll(both, 2, -1) < 0 && errno != EINTR)
            break;
        if (both[0].revents) {
            ssize_t got = recv(c->port, bytes, sizeof bytes, MSG_DONTWAIT);
            c->guest_ended = got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR);
            if (c->guest_ended)
                break;
            keep(c, bytes, got);
            if (got > 0 && !put(c->person, bytes, got))
                break;
        }
        if (both[1].revents) {
            ssize_t got = recv(c->person, bytes, sizeof bytes, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
                break;
            c->guest_ended = got > 0 && !put(c->port, bytes, got);
            if (c->guest_ended)
                break;
        }
    }
    close(c->port);
    c->port = -1;
    save(c);
    shutdown(c->person, SHUT_RDWR);
    if (c->guest_ended && c->lock >= 0) { /* also when another console took it over, and waits for this */
        close(c->lock);
        c->lock = -1;
    }
    return NULL;
}

/* --- the port -------------------------------------------------------------------------------------------------------- */

static int set_port(const console *c, const char *mode, const char *to, const vmc_deadline *deadline,
                    vmctl_error **err) {
    return virtualbox_say(c->conn, c->vm, "switching the serial port", deadline, NULL, err, "controlvm", c->vm->id,
                          "changeuartmode1", mode, to, NULL);
}

/* By the folder's descriptor: the name of a socket has 107 bytes at most, a path has more. */
static int dial_socket(const char *path, vmctl_error **err) {
    VMC_AUTO_FREE char *folder = vmc_path_dirname(path);
    VMC_AUTO_CLOSE int at = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int length = snprintf(name.sun_path, sizeof name.sun_path, "/proc/self/fd/%d/%s", at, vmc_path_basename(path));
    if (at < 0 || length >= (int)sizeof name.sun_path)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "cannot reach the serial port's socket %s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    vmc_error_errno(err, errno, "cannot reach the serial port's socket %s", path);
    if (fd >= 0)
        close(fd);
    return vmc_error_recode(err, VMCTL_E_UNAVAILABLE);
}

static int dial_tcp(const char *port, vmctl_error **err) {
    struct sockaddr_in name = {.sin_family = AF_INET,
                               .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
                               .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    vmc_error_errno(err, errno, "cannot reach the serial port at TCP port %s", port);
    if (fd >= 0)
        close(fd);
    return vmc_error_recode(err, VMCTL_E_UNAVAILABLE);
}

static int busy(const console *c, vmctl_error **err) {
    vmc_error(err, VMCTL_E_BUSY, "someone else has the console of %s", c->vm->name);
    return vmc_error_next(err, "take it over with --force");
}

/* One console at a time: VirtualBox would let a second client wait without a word. */
static int take_lock(console *c, const char *folder, bool wait, const vmc_deadline *deadline, vmctl_error **err) {
    int64_t until = vmc_now_ms() + (wait ? TAKE_OVER_MS : 0);
    if (c->conn->manage->host) /* no lock reaches there: a port that a console has made a socket is somebody's */
        return !wait && c->taken ? busy(c, err) : 0;
    c->lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->lock < 0)
        return vmc_error_errno(err, errno, "cannot open the VM's folder %s", folder);
    while (flock(c->lock, LOCK_EX | LOCK_NB) < 0) {
        if (!wait)
            return busy(c, err);
        if (vmc_now_ms() >= until)
            return 0; /* one that hangs: its socket is closed, which is what counts */
        int code = vmc_deadline_poll(deadline, -1, 0, RETRY_MS, "taking the console over", err);
        if (code < 0)
            return code;
    }
    return 0;
}

/* The file has no writer any more: all of it goes to the file of earlier output, and the next one begins empty. */
static int keep_log(console *c, const vboxmanage_machine *machine, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *earlier = virtualbox_serial_earlier(c->log_path);
    int64_t kept = 0;
    int code = vmc_str_eq(machine->serial_mode, "RawFile") ? virtualbox_serial_keep(machine, &kept, deadline, err) : 0;
    if (c->conn->manage->host) {
        if (code == 0 && kept)
            code = vboxmanage_files_script(c->conn->manage, ": > \"$1\"", (const char *const[]){c->log_path, NULL},
                                           "beginning a new serial log", deadline, NULL, err);
        c->log_there = code == 0 ? vmc_strdup(earlier) : NULL;
        return code;
    }
    if (code == 0 && kept && truncate(c->log_path, 0) < 0)
        code = vmc_error_errno(err, errno, "cannot begin a new serial log %s", c->log_path);
    if (code == 0)
        c->log = open(earlier, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    return code == 0 && c->log < 0 ? vmc_error_errno(err, errno, "cannot keep the serial log %s", earlier) : code;
}

static int open_port(console *c, const vboxmanage_machine *machine, bool force, const vmc_deadline *deadline,
                     vmctl_error **err) {
    bool tcp = vmc_str_eq(machine->serial_mode, "TCP");
    c->log_path = virtualbox_serial_log_path(machine);
    VMC_AUTO_FREE char *path =
        c->log_path ? virtualbox_serial_console_path(c->log_path) : vmc_strdup(machine->serial_path);
    if (!path)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the serial port of %s leads nowhere", c->vm->name);
    bool file = vmc_str_eq(machine->serial_mode, "RawFile");
    if (file && strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s is too long for the name of a socket", path);
        return vmc_error_next(err, "vmctl logs --follow %s shows what it prints", c->vm->name);
    }
    int code = 0;
    if (!file && force)
        code = set_port(c, "disconnected", NULL, deadline, err);
    if (code == 0 && !file && force)
        code = take_lock(c, machine->folder, true, deadline, err);
    if (code == 0 && (file || force))
        code = set_port(c, tcp ? "tcpserver" : "server", path, deadline, err);
    if (code == 0 && c->log_path)
        code = keep_log(c, machine, deadline, err);
    if (code == 0 && c->conn->manage->host)
        return vboxmanage_host_dial(c->conn->manage->host, path, deadline, &c->port, err);
    if (code == 0)
        c->port = tcp ? dial_tcp(path, err) : dial_socket(path, err);
    return c->port < 0 && code == 0 ? c->port : code;
}

/* The VM's settings and state, as they are now. */
static int look(console *c, const vmc_deadline *deadline, vboxmanage_machine **machine, vmctl_state *state,
                vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(c->conn, c->vm, "asking for the serial port", deadline, &text, err, "showvminfo",
                              c->vm->id, "--machinereadable", NULL);
    if (code == 0)
        code = virtualbox_load(c->conn, c->vm, deadline, machine, err);
    if (code < 0 || !*machine)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES now = {0};
    vboxmanage_parse_properties(text, &now);
    *state = virtualbox_state(vboxmanage_property_get(&now, "VMState"), NULL);
    vboxmanage_read_serial(*machine, &now);
    return 0;
}

/* --- opening and closing ------------------------------------------------------------------------------------------------ */

/* A port that logs goes back to its file; after the VM's end its settings do. Not when another console has taken it over. */
static void give_port_back(console *c) {
    vmc_deadline deadline = {.at_ms = vmc_now_ms() + CLOSE_MS};
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    if (!c->log_path)
        return;
    if (!c->guest_ended)
        set_port(c, "file", c->log_path, &deadline, NULL);
    else if (virtualbox_ask_state(c->conn, c->vm, &deadline, &state, NULL, NULL) == 0 && state == VMCTL_STATE_STOPPED)
        virtualbox_say(c->conn, c->vm, "switching the serial port", &deadline, NULL, NULL, "modifyvm", c->vm->id,
                       "--uartmode1", "file", c->log_path, NULL);
}

static void end(console *c) {
    if (c->port >= 0)
        close(c->port);
    if (c->log >= 0)
        close(c->log);
    if (c->lock >= 0)
        close(c->lock);
    if (c->person >= 0)
        close(c->person);
    virtualbox_release(c->conn, c->vm);
    vmc_str_free(&c->unsaved);
    free(c->log_path);
    free(c->log_there);
    free(c);
}

/* vmctl_stream_close, which closed the person's end: the thread sees that. */
static int finish(void *state, vmctl_error **err) {
    (void)err;
    console *c = state;
    pthread_join(c->thread, NULL);
    give_port_back(c);
    end(c);
    return 0;
}

int virtualbox_console_open(void *opaque, void *handle, const vmctl_console_options *options, vmctl_stream **out,
                            vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, OPEN_MS);
    vboxmanage_machine *machine = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    console *c = vmc_alloc(sizeof *c);
    *c = (console){
        .conn = conn, .vm = virtualbox_vm_new(vm->id, vm->name), .person = -1, .port = -1, .log = -1, .lock = -1};
    int pair[2] = {-1, -1};
    int code = look(c, &deadline, &machine, &state, err);
    if (code == 0 && machine)
        code = virtualbox_console_check(vm, machine, state, options->device, err);
    bool taken = false;
    if (code == 0 && machine) {
        VMC_AUTO_FREE char *log = virtualbox_serial_log_path(machine);
        c->taken = log && !vmc_str_eq(machine->serial_mode, "RawFile");
        bool take_over = options->force && !vmc_str_eq(machine->serial_mode, "RawFile");
        code = take_over ? 0 : take_lock(c, machine->folder, false, &deadline, err);
    }
    if (code == 0 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        code = vmc_error_errno(err, errno, "cannot make a socket pair");
    c->person = pair[0];
    if (code == 0 && machine) {
        code = open_port(c, machine, options->force, &deadline, err);
        taken = code < 0 && c->log_path && vmc_str_eq(machine->serial_mode, "RawFile");
    }
    if (code == 0 && pthread_create(&c->thread, NULL, pump, c) != 0)
        code = vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "cannot start a thread for the console");
    vboxmanage_machine_free(machine);
    if (code == 0) {
        *out = vmctl_stream_new(pair[1], finish, c);
        return 0;
    }
    if (taken)
        give_port_back(c);
    if (pair[1] >= 0)
        close(pair[1]);
    end(c);
    return code;
}
