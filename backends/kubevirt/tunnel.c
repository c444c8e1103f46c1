/* Local ports that lead to subresources of a VM's instance: a thread that accepts, and one for each connection. */
#include "socket.h"

#include "base/listen.h"
#include "base/log.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OPEN_MS = 30000, STACK = 256 * 1024 };

typedef struct carrier {
    kubevirt_tunnel *tunnel;
    int fd;
    pthread_t thread;
    bool done; /* under the tunnel's lock */
    struct carrier *next;
} carrier;

struct kubevirt_tunnel {
    kubevirt_conn *conn;
    kubevirt_vm *vm; /* its own */
    char *sub;
    const char *const *query;
    char *address;
    int port;
    int fd;
    vmctl_cancel *stop;
    pthread_t thread;
    pthread_mutex_t lock;
    carrier *carriers;
    kubevirt_tunnel *next;
};

/* --- one connection ---------------------------------------------------------------------------------------------------- */

/* Who dialled sees a connection that was refused or broke, as at the guest's own port: no end that looks as if all had come. */
static void refuse(int fd) {
    struct linger at_once = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

static void *carry(void *user) {
    carrier *c = user;
    kubevirt_tunnel *t = c->tunnel;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = t->stop;
    vmc_deadline opening = vmc_deadline_start(&call, OPEN_MS), open = vmc_deadline_start(&call, -1);
    websocket *ws = NULL;
    vmctl_error *err = NULL;
    if (kubevirt_socket_open(t->conn, t->vm, t->sub, t->query, &opening, &ws, &err) == 0) {
        /* virt-api ends a forwarded port without a Close frame. */
        int code = websocket_pump(ws, c->fd, c->fd, &open, NULL, NULL);
        if (code == 0 && websocket_end_error(ws, t->sub, true, &err) < 0) {
            vmc_log("kubevirt", "%s of %s: %s", t->sub, t->vm->name, vmctl_error_message(err));
            refuse(c->fd);
        }
        websocket_free(ws);
    } else {
        vmc_log("kubevirt", "%s of %s: %s", t->sub, t->vm->name, vmctl_error_message(err));
        refuse(c->fd);
    }
    vmctl_error_free(err);
    close(c->fd);
    pthread_mutex_lock(&t->lock);
    c->done = true;
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

/* Those that have ended; all: every one, which is waited for. */
static void join(kubevirt_tunnel *t, bool all) {
    carrier *ended = NULL;
    pthread_mutex_lock(&t->lock);
    for (carrier **at = &t->carriers; *at;) {
        carrier *c = *at;
        if (!all && !c->done) {
            at = &c->next;
            continue;
        }
        *at = c->next;
        c->next = ended;
        ended = c;
    }
    pthread_mutex_unlock(&t->lock);
    while (ended) {
        carrier *next = ended->next;
        pthread_join(ended->thread, NULL);
        free(ended);
        ended = next;
    }
}

static int start_thread(pthread_t *thread, void *(*run)(void *), void *user) {
    pthread_attr_t attributes;
    sigset_t all, before;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(thread, &attributes, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return failure;
}

/* --- the port ---------------------------------------------------------------------------------------------------------- */

static void accept_one(kubevirt_tunnel *t) {
    int fd = accept4(t->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), on = 1;
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    carrier *c = vmc_alloc(sizeof *c);
    c->tunnel = t;
    c->fd = fd;
    pthread_mutex_lock(&t->lock);
    if (start_thread(&c->thread, carry, c) == 0) {
        c->next = t->carriers;
        t->carriers = c;
        c = NULL;
    }
    pthread_mutex_unlock(&t->lock);
    if (c) {
        refuse(fd);
        close(fd);
        free(c);
    }
}

static void *serve(void *user) {
    kubevirt_tunnel *t = user;
    struct pollfd fds[2] = {{t->fd, POLLIN, 0}, {vmctl_cancel_fd(t->stop), POLLIN, 0}};
    while (!fds[1].revents) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            break;
        join(t, false);
        if (fds[0].revents && !fds[1].revents)
            accept_one(t);
    }
    return NULL;
}

/* --- the connection's list ------------------------------------------------------------------------------------------------ */

static kubevirt_vm *copy_of(const kubevirt_vm *vm) {
    kubevirt_vm *copy = vmc_alloc(sizeof *copy);
    copy->namespace_name = vmc_strdup(vm->namespace_name);
    copy->name = vmc_strdup(vm->name);
    copy->uid = vmc_strdup(vm->uid);
    pthread_mutex_init(&copy->lock, NULL);
    return copy;
}

static void drop(kubevirt_tunnel *t) {
    vmc_close_ptr(&t->fd);
    vmctl_cancel_free(t->stop);
    kubevirt_vm_free(t->vm);
    pthread_mutex_destroy(&t->lock);
    free(t->sub);
    free(t->address);
    free(t);
}

static void end(kubevirt_tunnel *t) {
    vmctl_cancel_trigger(t->stop);
    pthread_join(t->thread, NULL);
    join(t, true);
    drop(t);
}

int kubevirt_tunnel_open(kubevirt_conn *conn, const kubevirt_vm *vm, const char *sub, const char *const *query,
                         const char *address, int *port, vmctl_error **err) {
    int fd = vmc_listen(address, port, err);
    if (fd < 0)
        return fd;
    kubevirt_tunnel *t = vmc_alloc(sizeof *t);
    t->conn = conn;
    t->vm = copy_of(vm);
    t->sub = vmc_strdup(sub);
    t->query = query;
    t->address = vmc_strdup(address);
    t->port = *port;
    t->fd = fd;
    t->stop = vmctl_cancel_new();
    pthread_mutex_init(&t->lock, NULL);
    int failure = t->stop ? start_thread(&t->thread, serve, t) : EMFILE;
    if (failure) {
        drop(t);
        return vmc_error_errno(err, failure, "cannot start a thread for a port");
    }
    pthread_mutex_lock(&conn->lock);
    t->next = conn->tunnels;
    conn->tunnels = t;
    pthread_mutex_unlock(&conn->lock);
    return 0;
}

void kubevirt_tunnel_close(kubevirt_conn *conn, const char *address, int port) {
    kubevirt_tunnel *found = NULL;
    pthread_mutex_lock(&conn->lock);
    for (kubevirt_tunnel **at = &conn->tunnels; *at && !found; at = &(*at)->next)
        if ((*at)->port == port && strcmp((*at)->address, address) == 0) {
            found = *at;
            *at = found->next;
            break;
        }
    pthread_mutex_unlock(&conn->lock);
    if (found)
        end(found);
}

int kubevirt_tunnel_find(kubevirt_conn *conn, const kubevirt_vm *vm, const char *sub) {
    int port = 0;
    pthread_mutex_lock(&conn->lock);
    for (const kubevirt_tunnel *t = conn->tunnels; t && !port; t = t->next)
        if (strcmp(t->sub, sub) == 0 && strcmp(t->vm->name, vm->name) == 0 &&
            strcmp(t->vm->namespace_name, vm->namespace_name) == 0)
            port = t->port;
    pthread_mutex_unlock(&conn->lock);
    return port;
}

void kubevirt_tunnels_close(kubevirt_conn *conn) {
    while (conn->tunnels) {
        kubevirt_tunnel *first = conn->tunnels;
        conn->tunnels = first->next;
        end(first);
    }
}
