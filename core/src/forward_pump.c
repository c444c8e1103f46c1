#include "forward_pump.h"
#include "base/error.h"
#include "base/listen.h"
#include "base/str.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 65536 };

/* One direction of a connection. */
typedef struct flow {
    char *bytes;
    size_t from, to; /* what is in the buffer and not yet sent */
    bool ended;      /* the source has no more */
    bool shut;       /* and the target was told */
} flow;

typedef struct pair {
    int fd[2]; /* who dialled, the guest */
    bool connecting;
    flow flow[2]; /* from fd[i] to the other */
} pair;

typedef struct listener {
    int fd;
    struct sockaddr_storage target;
    socklen_t target_length;
} listener;

struct vmc_pump {
    listener *listeners;
    size_t listener_count;
    pair *pairs;
    size_t pair_count;
    int stop; /* eventfd */
    pthread_t thread;
    bool running;
};

vmc_pump *vmc_pump_new(void) {
    vmc_pump *pump = vmc_alloc(sizeof *pump);
    pump->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return pump;
}

static int resolve(const char *host, int port, struct addrinfo **found, vmctl_error **err) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
    VMC_AUTO_FREE char *service = vmc_printf("%d", port);
    if (getaddrinfo(host, service, &hints, found) != 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no address", host);
    return 0;
}

int vmc_pump_add(vmc_pump *pump, const char *address, int *port, const char *host, int host_port, vmctl_error **err) {
    struct addrinfo *target = NULL;
    int rc = resolve(host, host_port, &target, err);
    int fd = rc == 0 ? vmc_listen(address, port, err) : -1;
    if (rc == 0 && fd < 0)
        rc = fd == VMCTL_E_BUSY ? vmc_error_next(err, "0 takes a free port: 0:%d", host_port) : fd;
    if (rc == 0) {
        pump->listeners = vmc_realloc(pump->listeners, pump->listener_count + 1, sizeof *pump->listeners);
        listener *l = &pump->listeners[pump->listener_count++];
        *l = (listener){.fd = fd, .target_length = target->ai_addrlen};
        memcpy(&l->target, target->ai_addr, target->ai_addrlen);
    }
    if (target)
        freeaddrinfo(target);
    return rc;
}

static void close_pair(pair *p) {
    for (int i = 0; i < 2; i++) {
        close(p->fd[i]);
        free(p->flow[i].bytes);
    }
}

static void accept_one(vmc_pump *pump, const listener *l) {
    int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    int guest = socket(l->target.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (guest < 0 ||
        (connect(guest, (const struct sockaddr *)&l->target, l->target_length) < 0 && errno != EINPROGRESS)) {
        close(fd);
        if (guest >= 0)
            close(guest);
        return;
    }
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(guest, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pump->pairs = vmc_realloc(pump->pairs, pump->pair_count + 1, sizeof *pump->pairs);
    pair *p = &pump->pairs[pump->pair_count++];
    *p = (pair){.fd = {fd, guest}, .connecting = true};
    p->flow[0].bytes = vmc_alloc(BUFFER);
    p->flow[1].bytes = vmc_alloc(BUFFER);
}

/* Reads and writes what goes now. false: the connection is broken. */
static bool move(pair *p, int i) {
    flow *f = &p->flow[i];
    if (f->from == f->to && !f->ended) {
        ssize_t n = recv(p->fd[i], f->bytes, BUFFER, 0);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        f->ended = n == 0;
        f->from = 0;
        f->to = n > 0 ? (size_t)n : 0;
    }
    if (f->from < f->to) {
        ssize_t n = send(p->fd[!i], f->bytes + f->from, f->to - f->from, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return false;
        f->from += n > 0 ? (size_t)n : 0;
    }
    if (f->ended && f->from == f->to && !f->shut) {
        shutdown(p->fd[!i], SHUT_WR);
        f->shut = true;
    }
    return true;
}

static short wanted(const pair *p, int side) {
    const flow *out = &p->flow[side], *in = &p->flow[!side];
    if (p->connecting)
        return side == 1 ? POLLOUT : 0;
    return (short)((!out->ended && out->from == out->to ? POLLIN : 0) | (in->from < in->to ? POLLOUT : 0));
}

/* false: it is done, or broken. */
static bool serve(pair *p, short here, short there) {
    if (p->connecting && there) {
        int failure = 0;
        socklen_t size = sizeof failure;
        getsockopt(p->fd[1], SOL_SOCKET, SO_ERROR, &failure, &size);
        if (failure)
            return false;
        p->connecting = false;
    }
    if (p->connecting)
        return !(here & (POLLERR | POLLHUP));
    if ((here | there) && !(move(p, 0) && move(p, 1)))
        return false;
    return !(p->flow[0].shut && p->flow[1].shut);
}

static void *pump_thread(void *opaque) {
    vmc_pump *pump = opaque;
    struct pollfd *fds = NULL;
    for (;;) {
        size_t listeners = pump->listener_count, pairs = pump->pair_count, count = 1 + listeners + 2 * pairs;
        fds = vmc_realloc(fds, count, sizeof *fds);
        fds[0] = (struct pollfd){pump->stop, POLLIN, 0};
        for (size_t i = 0; i < listeners; i++)
            fds[1 + i] = (struct pollfd){pump->listeners[i].fd, POLLIN, 0};
        for (size_t i = 0; i < pairs; i++)
            for (int side = 0; side < 2; side++) {
                short events = wanted(&pump->pairs[i], side);
                /* one whose both ways are at rest would only wake for a hang-up, over and over */
                fds[1 + listeners + 2 * i + (size_t)side] =
                    (struct pollfd){events ? pump->pairs[i].fd[side] : -1, events, 0};
            }
        if (poll(fds, count, -1) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            break;
        size_t kept = 0;
        for (size_t i = 0; i < pairs; i++) {
            const struct pollfd *of = &fds[1 + listeners + 2 * i];
            if (serve(&pump->pairs[i], of[0].revents, of[1].revents))
                pump->pairs[kept++] = pump->pairs[i];
            else
                close_pair(&pump->pairs[i]);
        }
        pump->pair_count = kept;
        for (size_t i = 0; i < listeners; i++)
            if (fds[1 + i].revents)
                accept_one(pump, &pump->listeners[i]);
    }
    free(fds);
    return NULL;
}

int vmc_pump_start(vmc_pump *pump, vmctl_error **err) {
    int failure = pthread_create(&pump->thread, NULL, pump_thread, pump);
    pump->running = failure == 0;
    return failure ? vmc_error_errno(err, failure, "cannot start a thread") : 0;
}

void vmc_pump_free(vmc_pump *pump) {
    if (!pump)
        return;
    if (pump->running) {
        eventfd_write(pump->stop, 1);
        pthread_join(pump->thread, NULL);
    }
    for (size_t i = 0; i < pump->pair_count; i++)
        close_pair(&pump->pairs[i]);
    for (size_t i = 0; i < pump->listener_count; i++)
        close(pump->listeners[i].fd);
    free(pump->pairs);
    free(pump->listeners);
    close(pump->stop);
    free(pump);
}
