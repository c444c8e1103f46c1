/* drivers/websocket/pump.c - a WebSocket and descriptors, bytes both ways; in the caller's thread, or in one of its own. */
#include "drivers/websocket/engine.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_MS = 60000, CLOSE_MS = 2000 };

typedef struct pump {
    websocket *ws;
    const vmc_deadline *deadline;
    int in, out;
    bool in_socket, out_socket;
    bool in_ended, out_gone, closing;
    int64_t linger_at; /* -1: not yet; else when a silent peer is given up */
    int64_t close_at;  /* -1: not yet; else when its Close is no longer waited for */
    char *message;     /* read, not yet queued */
    size_t length;
    uint64_t moved;
} pump;

static bool is_socket(int fd) {
    int type = 0;
    socklen_t size = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/* From `in`, as long as the WebSocket takes it. `ready`: poll said that it can be read. */
static void take_in(pump *p, bool ready) {
    while (!p->in_ended && !p->closing) {
        if (p->length == 0) {
            if (!ready)
                return;
            ssize_t n = p->in_socket ? recv(p->in, p->message, p->ws->message_bytes, MSG_DONTWAIT)
                                     : read(p->in, p->message, p->ws->message_bytes);
            if (n < 0 && errno == EINTR)
                continue;
            if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
                return;
            if (n <= 0) {
                p->in_ended = true;
                return;
            }
            p->length = (size_t)n;
            ready = p->in_socket; /* another read of a pipe could wait */
        }
        if (!websocket_queue(p->ws, p->message, p->length))
            return;
        p->length = 0;
        websocket_turn(p->ws);
    }
}

/* To `out`, as much as it takes. `ready`: poll said that it can be written. */
static void give_out(pump *p, bool ready) {
    websocket_buffer *b = &p->ws->payload;
    while (websocket_buffer_length(b) > 0) {
        size_t length = websocket_buffer_length(b);
        if (p->out_gone || p->closing) {
            b->from = b->to; /* nobody wants it */
            return;
        }
        if (!p->out_socket && (!ready || length > PIPE_BUF))
            length = ready ? PIPE_BUF : 0;
        if (length == 0)
            return;
        ssize_t n = p->out_socket ? send(p->out, b->bytes + b->from, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                  : write(p->out, b->bytes + b->from, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return;
        if (n < 0) {
            p->out_gone = true;
            continue;
        }
        b->from += (size_t)n;
        p->moved += (uint64_t)n;
        if (p->linger_at >= 0)
            p->linger_at = vmc_now_ms() + LINGER_MS;
        ready = p->out_socket;
    }
}

/* Whether, and until when, the WebSocket is being closed from here. */
static void settle(pump *p) {
    int64_t now = vmc_now_ms();
    if (p->closing)
        return;
    if (p->in_ended && p->linger_at < 0)
        p->linger_at = now + LINGER_MS;
    bool given_up = p->in_ended && now >= p->linger_at;
    /* A socket that was closed may still hold what was written to it before. */
    bool gone = p->out_gone && (p->in_ended || p->in != p->out);
    if (gone || given_up) {
        p->closing = true;
        p->close_at = now + CLOSE_MS;
        websocket_queue_close(p->ws, WEBSOCKET_NORMAL, NULL);
        websocket_turn(p->ws);
    }
}

static void sooner(int *wait, int64_t ms) {
    int left = ms < 0 ? 0 : ms > INT_MAX ? INT_MAX : (int)ms;
    if (*wait < 0 || left < *wait)
        *wait = left;
}

static int wait_time(const pump *p) {
    int64_t now = vmc_now_ms();
    int wait = vmc_deadline_left(p->deadline), slice = websocket_slice(p->ws);
    if (slice >= 0)
        sooner(&wait, slice);
    if (p->closing)
        sooner(&wait, p->close_at - now);
    else if (p->linger_at >= 0)
        sooner(&wait, p->linger_at - now);
    if (websocket_has_work(p->ws))
        wait = 0;
    return wait;
}

static bool finished(const pump *p) {
    bool taken = p->out_gone || websocket_buffer_length(&p->ws->payload) == 0;
    if (p->ws->end || p->ws->deaf)
        return taken || p->closing;
    return p->closing && vmc_now_ms() >= p->close_at;
}

static int turn(pump *p, vmctl_error **err) {
    bool wants_in = !p->in_ended && !p->closing && p->length == 0;
    bool wants_out = !p->out_gone && !p->closing && websocket_buffer_length(&p->ws->payload) > 0;
    bool one = p->in == p->out;
    short in = wants_in ? POLLIN : 0, out = wants_out ? POLLOUT : 0;
    /* `out` is in even when nothing is to be written: that its reader went is told without being asked for. Once it did, it would
     * be told for ever. */
    struct pollfd fds[4] = {{.fd = p->ws->end ? -1 : p->ws->fd, .events = websocket_events(p->ws)},
                            {.fd = vmctl_cancel_fd(p->deadline->cancel), .events = POLLIN},
                            {.fd = !p->out_gone || (one && wants_in) ? p->out : -1, .events = out},
                            {.fd = !one && wants_in ? p->in : -1, .events = in}};
    if (one)
        fds[2].events = (short)(in | out);
    if (poll(fds, 4, wait_time(p)) < 0 && errno != EINTR)
        return vmc_error_errno(err, errno, "cannot wait for a WebSocket");
    int rc = vmc_deadline_check(p->deadline, "moving bytes", err);
    if (rc < 0)
        return rc;
    if (fds[2].revents & (POLLERR | POLLHUP))
        p->out_gone = true;
    websocket_turn(p->ws);
    give_out(p, fds[2].revents & POLLOUT);
    take_in(p, fds[one ? 2 : 3].revents & (POLLIN | POLLHUP | POLLERR));
    settle(p);
    return 0;
}

int websocket_pump(websocket *ws, int in, int out, const vmc_deadline *deadline, uint64_t *moved, vmctl_error **err) {
    pump p = {.ws = ws,
              .deadline = deadline,
              .in = in,
              .out = out,
              .in_socket = is_socket(in),
              .out_socket = is_socket(out),
              .linger_at = -1,
              .close_at = -1,
              .message = vmc_alloc(ws->message_bytes)};
    int rc = 0;
    websocket_turn(ws);
    while (rc == 0 && !finished(&p))
        rc = turn(&p, err);
    if (moved)
        *moved = p.moved;
    free(p.message);
    return rc;
}

/* --- in a thread ----------------------------------------------------------------------------------------------------- */

struct websocket_bridge {
    websocket *ws;
    int fd;
    int ended; /* eventfd */
    vmctl_cancel *stop;
    pthread_t thread;
};

static void *run(void *user) {
    websocket_bridge *b = user;
    vmc_deadline deadline = {.at_ms = -1, .cancel = b->stop};
    (void)websocket_pump(b->ws, b->fd, b->fd, &deadline, NULL, NULL); /* how it ended, the WebSocket knows */
    eventfd_write(b->ended, 1); /* before whoever reads sees the end, and asks how it came */
    shutdown(b->fd, SHUT_RDWR);
    return NULL;
}

static void drop(websocket_bridge *b) {
    websocket_free(b->ws);
    close(b->fd);
    vmc_close_ptr(&b->ended);
    vmctl_cancel_free(b->stop);
    free(b);
}

int websocket_bridge_start(websocket *ws, int fd, websocket_bridge **out, vmctl_error **err) {
    websocket_bridge *b = vmc_alloc(sizeof *b);
    b->ws = ws;
    b->fd = fd;
    b->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    b->stop = vmctl_cancel_new();
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = b->ended < 0 || !b->stop ? EMFILE : pthread_create(&b->thread, NULL, run, b);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure) {
        drop(b);
        return vmc_error_errno(err, failure, "cannot start a thread for a WebSocket");
    }
    *out = b;
    return 0;
}

int websocket_bridge_fd(const websocket_bridge *bridge) {
    return bridge->ended;
}

int websocket_bridge_end(websocket_bridge *b, int wait_ms, const char *what, bool eof_is_end, vmctl_error **err) {
    struct pollfd ended = {b->ended, POLLIN, 0};
    bool by_itself = poll(&ended, 1, 0) > 0;
    while (!by_itself && poll(&ended, 1, wait_ms) < 0 && errno == EINTR)
        ;
    vmctl_cancel_trigger(b->stop);
    pthread_join(b->thread, NULL);
    int rc = by_itself ? websocket_end_error(b->ws, what, eof_is_end, err) : 0;
    drop(b);
    return rc;
}
