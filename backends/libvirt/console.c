/* The serial console: bytes between libvirt's stream and one end of a socket pair, moved in the event loop's thread.
 * Source: libvirt-stream.h; virDomainOpenConsole. */
#include "listener.h"
#include "xml_tree.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OPEN_MS = 30000, CLOSE_MS = 5000, BUFFER = 65536 };

/* References: the vmctl_stream's, the stream callback's, the handle's. */
typedef struct console {
    pthread_mutex_t mutex;
    int references;
    libvirt_conn *conn; /* its own, with the event loop */
    virDomainPtr domain;
    virStreamPtr stream;
    int fd;                  /* our end */
    int handle;              /* of libvirt's event loop; -1: none */
    int watching, streaming; /* the events asked for now */
    bool has_callback;
    bool ended;                   /* no byte moves any more */
    virErrorPtr error;            /* why, if it was a failure */
    char in[BUFFER], out[BUFFER]; /* from and to the guest */
    size_t in_length, out_length;
} console;

static void console_unref(void *opaque) {
    console *c = opaque;
    if (__atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (c->fd >= 0)
        close(c->fd);
    virFreeError(c->error);
    pthread_mutex_destroy(&c->mutex);
    free(c);
}

/* --- moving, with the mutex held ------------------------------------------------------------------------------- */

/* The person's side sees the end of the file after the last byte. */
static void end(console *c) {
    if (c->ended)
        return;
    c->ended = true;
    if (c->handle >= 0)
        virEventUpdateHandle(c->handle, 0);
    virStreamEventUpdateCallback(c->stream, 0);
    shutdown(c->fd, SHUT_RDWR);
}

static void fail(console *c) {
    if (!c->ended && !c->error)
        c->error = virSaveLastError();
    end(c);
}

static bool from_guest(console *c) {
    while (c->in_length < sizeof c->in) {
        int got = virStreamRecv(c->stream, c->in + c->in_length, sizeof c->in - c->in_length);
        if (got == -2)
            return true;
        if (got < 0) {
            fail(c);
            return false;
        }
        if (got == 0)
            return false;
        c->in_length += (size_t)got;
    }
    return true;
}

static void to_guest(console *c) {
    while (c->out_length) {
        int sent = virStreamSend(c->stream, c->out, c->out_length);
        if (sent == -2)
            return;
        if (sent < 0) {
            fail(c);
            return;
        }
        c->out_length -= (size_t)sent;
        memmove(c->out, c->out + sent, c->out_length);
    }
}

static void to_person(console *c) {
    while (c->in_length) {
        ssize_t sent = send(c->fd, c->in, c->in_length, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0) {
            if (errno != EAGAIN && errno != EWOULDBLOCK)
                end(c);
            return;
        }
        c->in_length -= (size_t)sent;
        memmove(c->in, c->in + sent, c->in_length);
    }
}

static void from_person(console *c) {
    while (c->out_length < sizeof c->out) {
        ssize_t got = recv(c->fd, c->out + c->out_length, sizeof c->out - c->out_length, MSG_DONTWAIT);
        if (got < 0 && errno == EINTR)
            continue;
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK))
            end(c);
        if (got <= 0)
            return;
        c->out_length += (size_t)got;
    }
}

/* Asks for those events that can be served. */
static void update(console *c) {
    if (c->ended)
        return;
    int watching = (c->out_length < sizeof c->out ? VIR_EVENT_HANDLE_READABLE : 0) |
                   (c->in_length ? VIR_EVENT_HANDLE_WRITABLE : 0);
    int streaming =
        (c->in_length < sizeof c->in ? VIR_STREAM_EVENT_READABLE : 0) | (c->out_length ? VIR_STREAM_EVENT_WRITABLE : 0);
    if (watching != c->watching)
        virEventUpdateHandle(c->handle, watching);
    if (streaming != c->streaming)
        virStreamEventUpdateCallback(c->stream, streaming);
    c->watching = watching;
    c->streaming = streaming;
}

static void on_stream(virStreamPtr stream, int events, void *opaque) {
    (void)stream;
    console *c = opaque;
    pthread_mutex_lock(&c->mutex);
    if (!c->ended) {
        bool open = true;
        if (events & (VIR_STREAM_EVENT_READABLE | VIR_STREAM_EVENT_HANGUP))
            open = from_guest(c);
        to_person(c);
        if (events & VIR_STREAM_EVENT_WRITABLE)
            to_guest(c);
        if (events & VIR_STREAM_EVENT_ERROR)
            fail(c);
        if (!open || (events & VIR_STREAM_EVENT_HANGUP))
            end(c);
        update(c);
    }
    pthread_mutex_unlock(&c->mutex);
}

static void on_person(int handle, int fd, int events, void *opaque) {
    (void)handle, (void)fd;
    console *c = opaque;
    pthread_mutex_lock(&c->mutex);
    if (!c->ended) {
        if (events & VIR_EVENT_HANDLE_READABLE)
            from_person(c);
        if (events & VIR_EVENT_HANDLE_WRITABLE)
            to_person(c);
        if (!c->ended)
            to_guest(c);
        if (events & (VIR_EVENT_HANDLE_ERROR | VIR_EVENT_HANDLE_HANGUP))
            end(c);
        update(c);
    }
    pthread_mutex_unlock(&c->mutex);
}

/* --- opening and closing ------------------------------------------------------------------------------------------- */

typedef struct console_args {
    console *console;
    char uuid[VIR_UUID_STRING_BUFLEN];
    char *device;
    unsigned flags;
} console_args;

static void args_drop(void *opaque) {
    console_args *args = opaque;
    console_unref(args->console);
    free(args->device);
    free(args);
}

static int open_work(void *opaque) {
    console_args *args = opaque;
    console *c = args->console;
    c->domain = virDomainLookupByUUIDString(c->conn->virt, args->uuid);
    if (!c->domain)
        return -1;
    c->stream = virStreamNew(c->conn->virt, VIR_STREAM_NONBLOCK);
    if (!c->stream || virDomainOpenConsole(c->domain, args->device, c->stream, args->flags) < 0)
        return -1;
    pthread_mutex_lock(&c->mutex);
    int code = 0;
    c->watching = VIR_EVENT_HANDLE_READABLE;
    c->streaming = VIR_STREAM_EVENT_READABLE;
    c->handle = virEventAddHandle(c->fd, c->watching, on_person, c, console_unref);
    /* libvirt's remote driver forgets to call a function that frees. */
    c->has_callback = virStreamEventAddCallback(c->stream, c->streaming, on_stream, c, NULL) == 0;
    __atomic_add_fetch(&c->references, (c->handle >= 0) + c->has_callback, __ATOMIC_ACQ_REL);
    if (c->handle < 0 || !c->has_callback)
        code = -1;
    pthread_mutex_unlock(&c->mutex);
    return code;
}

/* After whatever the loop was doing when the callback was removed. */
static void on_last_turn(int timer, void *opaque) {
    (void)opaque;
    virEventRemoveTimeout(timer);
}

static int close_work(void *opaque) {
    console_args *args = opaque;
    console *c = args->console;
    pthread_mutex_lock(&c->mutex);
    bool failed = c->error != NULL;
    c->ended = true;
    pthread_mutex_unlock(&c->mutex);
    if (c->handle >= 0)
        virEventRemoveHandle(c->handle);
    if (c->stream) {
        if (c->has_callback) {
            virStreamEventRemoveCallback(c->stream);
            virEventAddTimeout(0, on_last_turn, c, console_unref);
        }
        if (failed || virStreamFinish(c->stream) < 0)
            virStreamAbort(c->stream);
        virStreamFree(c->stream);
    }
    if (c->domain)
        virDomainFree(c->domain);
    virResetLastError();
    return 0;
}

static int call(console *c, const vmc_deadline *deadline, const char *doing, int (*work)(void *), const char *uuid,
                const char *device, unsigned flags, vmctl_error **err) {
    console_args *args = vmc_alloc(sizeof *args);
    __atomic_add_fetch(&c->references, 1, __ATOMIC_ACQ_REL);
    args->console = c;
    args->device = vmc_strdup(device);
    args->flags = flags;
    if (uuid)
        memcpy(args->uuid, uuid, sizeof args->uuid);
    int code = libvirt_call(c->conn, deadline, doing, work, args, args_drop, err);
    if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        args_drop(args);
    return code;
}

/* vmctl_stream_close. */
static int finish(void *state, vmctl_error **err) {
    console *c = state;
    vmctl_call plain = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&plain, CLOSE_MS);
    call(c, &deadline, "closing the console", close_work, NULL, NULL, 0, NULL);
    int code = c->error ? libvirt_error(err, c->error, "the console was cut off") : 0;
    libvirt_conn_free(c->conn);
    console_unref(c);
    return code;
}

/* The words that libvirt_console_check says beforehand and explain() afterwards: of INVALID_STATE, NOT_FOUND and UNSUPPORTED. */
static int refuse(int code, const char *name, vmctl_error **err) {
    if (code == VMCTL_E_INVALID_STATE) {
        vmc_error(err, code, "%s does not run", name);
        return vmc_error_next(err, "vmctl start %s", name);
    }
    if (code == VMCTL_E_NOT_FOUND)
        return vmc_error(err, code, "%s has no such serial port", name);
    return vmc_error(err, code, "the serial port of %s is not a terminal that libvirt hands out", name);
}

int libvirt_console_check(const xmlNode *domain, const char *name, vmctl_error **err) {
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    const xmlNode *port = libvirt_xml_child(devices, "serial");
    if (!port)
        port = libvirt_xml_child(devices, "console");
    if (!libvirt_xml_attr(domain, "id"))
        return refuse(VMCTL_E_INVALID_STATE, name, err);
    if (!port)
        return refuse(VMCTL_E_NOT_FOUND, name, err);
    return libvirt_xml_attr_is(port, "type", "pty") ? 0 : refuse(VMCTL_E_UNSUPPORTED, name, err);
}

/* The errors that a person meets, in words that name the VM. */
static int explain(int code, const libvirt_vm *vm, vmctl_error **why, vmctl_error **err) {
    VMC_AUTO_FREE char *words = vmc_strdup(vmctl_error_hypervisor_message(*why));
    VMC_AUTO_FREE char *name = vmc_strdup(vmctl_error_hypervisor_code(*why));
    if (code == VMCTL_E_BUSY)
        vmc_error(why, code, "someone else has the console of %s", vm->name);
    else if (code == VMCTL_E_INVALID_STATE || code == VMCTL_E_UNSUPPORTED ||
             (code == VMCTL_E_NOT_FOUND && !vmc_str_eq(name, "VIR_ERR_NO_DOMAIN")))
        refuse(code, vm->name, why);
    vmc_error_hypervisor(why, name, words);
    if (code == VMCTL_E_BUSY)
        vmc_error_next(why, "take it over with --force");
    vmc_error_move(err, why);
    return code;
}

static int open_console(console *c, libvirt_vm *vm, const vmctl_console_options *options, const vmc_deadline *deadline,
                        vmctl_error **err) {
    unsigned flags = options->force ? VIR_DOMAIN_CONSOLE_FORCE : 0u;
    vmctl_error *why = NULL;
    int code = call(c, deadline, "opening the console", open_work, vm->uuid, options->device, flags, &why);
    return code < 0 ? explain(code, vm, &why, err) : 0;
}

int libvirt_console_open(void *conn, void *vm, const vmctl_console_options *options, vmctl_stream **out,
                         vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, OPEN_MS);
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return vmc_error_errno(err, errno, "cannot make a socket pair");
    libvirt_conn *own = NULL;
    int code = libvirt_conn_sibling(conn, true, &deadline, &own, err);
    if (code < 0) {
        close(pair[0]);
        close(pair[1]);
        return code;
    }
    console *c = vmc_alloc(sizeof *c);
    pthread_mutex_init(&c->mutex, NULL);
    c->references = 1;
    c->conn = own;
    c->fd = pair[0];
    c->handle = -1;
    code = open_console(c, vm, options, &deadline, err);
    if (code < 0) {
        finish(c, NULL);
        close(pair[1]);
        return code;
    }
    *out = vmctl_stream_new(pair[1], finish, c);
    return 0;
}
