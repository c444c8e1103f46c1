/* A connection's worker threads: how calls without a deadline get one. Opening a URI, the event loop. */
#include "conn.h"
#include "capabilities.h"
#include "daemons.h"
#include "ops.h"
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

enum { CANCEL_GRACE_MS = 1000, CLOSE_MS = 5000, KEEPALIVE_S = 5, KEEPALIVE_COUNT = 5 };

/* Something that an abandoned call may still use: freed with the worker. */
typedef struct parked {
    struct parked *next;
    int (*release)(void *object);
    void *object;
} parked;

/* One thread and the call that it is making. It is owned by the worker's idle list, by the caller that waits for it, or, when
 * abandoned, by itself. */
typedef struct call_thread {
    struct call_thread *next;
    struct libvirt_worker *worker;
    pthread_t thread;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    int done; /* eventfd */
    int (*work)(void *args);
    void *args;
    void (*drop)(void *args);
    int result;
    virErrorPtr error;
    bool finished, abandoned, unattended, quit;
} call_thread;

/* What belongs to one virConnectPtr. References: the connection, and each abandoned call. */
typedef struct libvirt_worker {
    pthread_mutex_t mutex;
    int references;
    bool retired;
    libvirt_conn *conn; /* a reference */
    virConnectPtr virt;
    call_thread *idle;
    parked *parked;
    int unattended; /* threads that free what a call brought */
    pthread_cond_t attended;
} libvirt_worker;

static void conn_unref(libvirt_conn *conn) {
    if (__atomic_sub_fetch(&conn->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    libvirt_capabilities_free(conn->capabilities);
    vmc_wipe_free(conn->password);
    free(conn->user);
    free(conn->host);
    free(conn->uri);
    free(conn);
}

static libvirt_worker *worker_new(libvirt_conn *conn) {
    libvirt_worker *worker = vmc_alloc(sizeof *worker);
    pthread_mutex_init(&worker->mutex, NULL);
    pthread_cond_init(&worker->attended, NULL);
    worker->references = 1;
    worker->conn = conn;
    __atomic_add_fetch(&conn->references, 1, __ATOMIC_ACQ_REL);
    return worker;
}

/* virConnectClose. libvirt's client (9.0: virNetClientCloseInternal) looks without its lock whether the socket is still there, notes an error
 * and forgets it where the event loop has seen the daemon hang up in this moment: 80 bytes, once in some thousand times, which are no leak of
 * ours. tests/lsan.supp cannot name them: the sanitizer sees no further than glib's g_malloc0. */
static void close_connection(virConnectPtr virt) {
#ifdef __SANITIZE_ADDRESS__
    __lsan_disable();
#endif
    virConnectClose(virt);
#ifdef __SANITIZE_ADDRESS__
    __lsan_enable();
#endif
}

/* The last reference says good-bye to the daemon, which is a call that can hang: only on a call_thread. */
static void worker_unref(libvirt_worker *worker) {
    if (__atomic_sub_fetch(&worker->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    while (worker->parked) {
        parked *p = worker->parked;
        worker->parked = p->next;
        p->release(p->object);
        free(p);
    }
    if (worker->virt)
        close_connection(worker->virt);
    conn_unref(worker->conn);
    pthread_mutex_destroy(&worker->mutex);
    pthread_cond_destroy(&worker->attended);
    free(worker);
}

static void thread_free(call_thread *thread) {
    close(thread->done);
    pthread_mutex_destroy(&thread->mutex);
    pthread_cond_destroy(&thread->wake);
    virFreeError(thread->error);
    free(thread);
}

/* An unattended thread is done: free for the next call. */
static void thread_return(call_thread *thread) {
    libvirt_worker *worker = thread->worker;
    pthread_mutex_lock(&worker->mutex);
    thread->unattended = false;
    thread->next = worker->idle;
    worker->idle = thread;
    if (--worker->unattended == 0)
        pthread_cond_signal(&worker->attended);
    pthread_mutex_unlock(&worker->mutex);
}

static void *thread_main(void *argument) {
    call_thread *thread = argument;
    for (;;) {
        pthread_mutex_lock(&thread->mutex);
        while (!thread->work && !thread->quit)
            pthread_cond_wait(&thread->wake, &thread->mutex);
        bool quit = thread->quit;
        pthread_mutex_unlock(&thread->mutex);
        if (quit)
            return NULL;

        int result = thread->work(thread->args);
        virErrorPtr error = result < 0 ? virSaveLastError() : NULL;

        pthread_mutex_lock(&thread->mutex);
        thread->work = NULL;
        thread->result = result;
        thread->error = error;
        thread->finished = true;
        bool abandoned = thread->abandoned, unattended = thread->unattended;
        if (!abandoned && !unattended)
            eventfd_write(thread->done, 1);
        pthread_mutex_unlock(&thread->mutex);
        if (unattended)
            thread_return(thread);
        if (abandoned)
            break;
    }
    thread->drop(thread->args);
    libvirt_worker *worker = thread->worker;
    thread_free(thread);
    if (worker)
        worker_unref(worker);
    return NULL;
}

static call_thread *thread_new(vmctl_error **err) {
    call_thread *thread = vmc_alloc(sizeof *thread);
    pthread_mutex_init(&thread->mutex, NULL);
    pthread_cond_init(&thread->wake, NULL);
    thread->done = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failure = thread->done < 0 ? errno : 0;
    if (!failure) {
        /* The program's signals are for the program's threads. */
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        failure = pthread_create(&thread->thread, NULL, thread_main, thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    if (!failure)
        return thread;
    vmc_error_errno(err, failure, "cannot start a thread for a call to libvirt");
    if (thread->done >= 0)
        close(thread->done);
    free(thread);
    return NULL;
}

static call_thread *thread_take(libvirt_worker *worker, vmctl_error **err) {
    pthread_mutex_lock(&worker->mutex);
    call_thread *thread = worker->idle;
    if (thread)
        worker->idle = thread->next;
    pthread_mutex_unlock(&worker->mutex);
    return thread ? thread : thread_new(err);
}

static void thread_give_back(libvirt_worker *worker, call_thread *thread) {
    pthread_mutex_lock(&worker->mutex);
    thread->next = worker->idle;
    worker->idle = thread;
    pthread_mutex_unlock(&worker->mutex);
}

static void threads_end(call_thread *threads) {
    while (threads) {
        call_thread *thread = threads;
        threads = thread->next;
        pthread_mutex_lock(&thread->mutex);
        thread->quit = true;
        pthread_cond_signal(&thread->wake);
        pthread_mutex_unlock(&thread->mutex);
        pthread_join(thread->thread, NULL);
        thread_free(thread);
    }
}

static void thread_begin(call_thread *thread, int (*work)(void *args), void *args, void (*drop)(void *args)) {
    pthread_mutex_lock(&thread->mutex);
    thread->work = work;
    thread->args = args;
    thread->drop = drop;
    thread->finished = thread->abandoned = false;
    pthread_cond_signal(&thread->wake);
    pthread_mutex_unlock(&thread->mutex);
}

/* By its first word (conn.h). */
static bool changes(const char *doing) {
    static const char *const looks[] = {"looking ", "reading ", "listing ", "asking "};
    for (size_t i = 0; i < sizeof looks / sizeof looks[0]; i++)
        if (vmc_starts_with(doing, looks[i]))
            return false;
    return true;
}

/* Waits for the call. 0: it returned. Negative: it was abandoned, and the thread belongs to itself. */
static int thread_wait(libvirt_worker *worker, call_thread *thread, const vmc_deadline *deadline, const char *doing,
                       vmctl_error **err) {
    vmctl_error *why = NULL;
    int code = vmc_deadline_poll(deadline, thread->done, POLLIN, -1, doing, &why);
    if (code == VMCTL_E_CANCELLED) {
        struct pollfd fd = {.fd = thread->done, .events = POLLIN};
        while (poll(&fd, 1, CANCEL_GRACE_MS) < 0 && errno == EINTR)
            ;
    }
    pthread_mutex_lock(&thread->mutex);
    bool finished = thread->finished;
    if (!finished) {
        thread->abandoned = true;
        thread->worker = worker;
        if (worker) {
            __atomic_add_fetch(&worker->references, 1, __ATOMIC_ACQ_REL);
            __atomic_store_n(&worker->retired, true, __ATOMIC_RELEASE);
        }
        pthread_detach(thread->thread);
    }
    pthread_mutex_unlock(&thread->mutex);
    if (finished) {
        eventfd_t count;
        eventfd_read(thread->done, &count);
        vmctl_error_free(why);
        return 0;
    }
    if (worker && worker->virt)
        vmc_error_append(&why, "; the hypervisor had not answered%s",
                         changes(doing) ? ", and it may still complete there" : "");
    vmc_error_move(err, &why);
    return code;
}

/* The contract of args: TIMEOUT and CANCELLED mean that the caller has lost it. */
static int settle(int code, void *args, void (*drop)(void *args)) {
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        (drop ? drop : free)(args);
    return code;
}

/* libvirt_call without the checks before it. */
static int call_on(libvirt_worker *worker, const vmc_deadline *deadline, const char *doing, int (*work)(void *args),
                   void *args, void (*drop)(void *args), vmctl_error **err) {
    call_thread *thread = thread_take(worker, err);
    if (!thread)
        return VMCTL_E_RESOURCE_EXHAUSTED;
    thread_begin(thread, work, args, drop ? drop : free);
    int code = thread_wait(worker, thread, deadline, doing, err);
    if (code < 0)
        return code;
    int result = thread->result;
    virErrorPtr error = thread->error;
    thread->error = NULL;
    thread_give_back(worker, thread);
    if (result < 0) {
        result = libvirt_error(err, error, "%s failed", doing);
        virFreeError(error);
        if (result == VMCTL_E_UNAVAILABLE && worker->virt)
            vmc_error_prefix(err, "the connection to libvirt broke");
    }
    return settle(result, args, drop);
}

int libvirt_call(libvirt_conn *conn, const vmc_deadline *deadline, const char *doing, int (*work)(void *args),
                 void *args, void (*drop)(void *args), vmctl_error **err) {
    int code = vmc_deadline_check(deadline, doing, err);
    if (code)
        return settle(code, args, drop);
    if (__atomic_load_n(&conn->worker->retired, __ATOMIC_ACQUIRE)) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "this connection was given up when an earlier call did not return");
        return vmc_error_next(err, "open the connection anew");
    }
    return call_on(conn->worker, deadline, doing, work, args, drop, err);
}

typedef struct dropped {
    void (*drop)(void *args);
    void *args;
} dropped;

static int drop_work(void *opaque) {
    dropped *d = opaque;
    d->drop(d->args);
    free(d);
    return 0;
}

void libvirt_drop_beside(libvirt_conn *conn, void (*drop)(void *args), void *args) {
    libvirt_worker *worker = conn->worker;
    pthread_mutex_lock(&worker->mutex);
    call_thread *thread = worker->idle;
    if (thread) {
        worker->idle = thread->next;
        worker->unattended++;
    }
    pthread_mutex_unlock(&worker->mutex);
    if (!thread) {
        drop(args);
        return;
    }
    dropped *d = vmc_alloc(sizeof *d);
    *d = (dropped){drop, args};
    thread->unattended = true; /* thread_begin's lock tells it */
    thread->worker = worker;
    thread_begin(thread, drop_work, d, NULL);
}

void libvirt_conn_release(libvirt_conn *conn, int (*release)(void *object), void *object) {
    libvirt_worker *worker = conn->worker;
    if (!__atomic_load_n(&worker->retired, __ATOMIC_ACQUIRE)) {
        release(object);
        return;
    }
    parked *p = vmc_alloc(sizeof *p);
    p->release = release;
    p->object = object;
    pthread_mutex_lock(&worker->mutex);
    p->next = worker->parked;
    worker->parked = p;
    pthread_mutex_unlock(&worker->mutex);
}

/* --- opening and closing -------------------------------------------------------------------------------------- */

typedef struct open_args {
    char *uri, *user, *password;
    bool events, asked;
    virConnectPtr virt;
    char *canonical;
} open_args;

static void open_drop(void *opaque) {
    open_args *args = opaque;
    if (args->virt)
        close_connection(args->virt);
    vmc_wipe_free(args->password);
    free(args->user);
    free(args->canonical);
    free(args->uri);
    free(args);
}

static char *own_name(void) {
    struct passwd entry, *found = NULL;
    char buffer[4096];
    if (getpwuid_r(geteuid(), &entry, buffer, sizeof buffer, &found) || !found)
        return NULL;
    return vmc_strdup(found->pw_name);
}

/* Runs on the worker, so it only answers from what is known, and notes when a password was missing. */
static int answer(virConnectCredentialPtr credentials, unsigned count, void *opaque) {
    open_args *args = opaque;
    for (unsigned i = 0; i < count; i++) {
        virConnectCredentialPtr c = &credentials[i];
        const char *text = c->defresult;
        if (c->type == VIR_CRED_PASSPHRASE || c->type == VIR_CRED_NOECHOPROMPT) {
            args->asked = true;
            text = args->password;
        } else if (c->type == VIR_CRED_AUTHNAME || c->type == VIR_CRED_USERNAME) {
            if (!args->user)
                args->user = own_name();
            text = args->user ? args->user : c->defresult;
        }
        if (!text)
            return -1;
        c->result = strdup(text);
        c->resultlen = (unsigned)strlen(text);
        if (!c->result)
            return -1;
    }
    return 0;
}

static void quiet(void *user, virErrorPtr error) {
    (void)user, (void)error;
}

static int open_work(void *opaque) {
    static int types[] = {VIR_CRED_AUTHNAME, VIR_CRED_PASSPHRASE, VIR_CRED_NOECHOPROMPT, VIR_CRED_USERNAME};
    open_args *args = opaque;
    virConnectAuth auth = {types, sizeof types / sizeof types[0], answer, args};
    args->virt = virConnectOpenAuth(args->uri, &auth, 0);
    if (!args->virt)
        return -1;
    args->canonical = virConnectGetURI(args->virt);
    if (args->events)
        virConnectSetKeepAlive(args->virt, KEEPALIVE_S, KEEPALIVE_COUNT); /* a driver without a wire needs none */
    return 0;
}

/* The user in "qemu+tcp://anna@host/system"; NULL: none. */
static char *user_of(const char *uri) {
    const char *authority = strstr(uri, "://");
    if (!authority)
        return NULL;
    authority += 3;
    size_t length = strcspn(authority, "/?");
    const char *at = memchr(authority, '@', length);
    return at ? vmc_strndup(authority, (size_t)(at - authority)) : NULL;
}

/* Whatever libvirt's own words are: an endpoint that cannot be opened for no better reason is unavailable. */
static int open_failed(int code, vmctl_error **why) {
    if (code != VMCTL_E_NOT_FOUND && code != VMCTL_E_INTERNAL && code != VMCTL_E_INVALID_STATE)
        return code;
    vmctl_error *better = NULL;
    vmc_error(&better, VMCTL_E_UNAVAILABLE, "%s", vmctl_error_message(*why));
    vmc_error_hypervisor(&better, vmctl_error_hypervisor_code(*why), vmctl_error_hypervisor_message(*why));
    vmc_error_retryable(&better);
    vmc_error_move(why, &better);
    return VMCTL_E_UNAVAILABLE;
}

/* A worker with an open connection; *password (may be set before) is what the daemon asked for. */
static int worker_open(libvirt_conn *conn, const char *uri, const vmctl_endpoint *endpoint, bool events,
                       const vmc_deadline *deadline, char **canonical, vmctl_error **err) {
    libvirt_worker *worker = worker_new(conn);
    int code = 0;
    for (int attempt = 0; attempt < 2; attempt++) {
        open_args *args = vmc_alloc(sizeof *args);
        args->uri = vmc_strdup(uri);
        args->user = vmc_strdup(conn->user);
        args->password = vmc_strdup(conn->password);
        args->events = events;
        vmctl_error *why = NULL;
        VMC_AUTO_FREE char *doing = vmc_printf("connecting to %s", uri);
        code = call_on(worker, deadline, doing, open_work, args, open_drop, &why);
        bool lost = code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED;
        bool ask = code < 0 && !lost && args->asked && !conn->password && endpoint && endpoint->password;
        if (code >= 0) {
            worker->virt = args->virt;
            args->virt = NULL;
            *canonical = args->canonical;
            args->canonical = NULL;
        }
        if (!lost)
            open_drop(args);
        if (!ask) {
            if (code < 0)
                code = open_failed(code, &why);
            vmc_error_move(code < 0 ? err : NULL, &why);
            break;
        }
        vmctl_error_free(why);
        code = endpoint->password(endpoint->password_user, &conn->password, err);
        if (code < 0)
            break;
    }
    if (code >= 0) {
        conn->worker = worker;
        conn->virt = worker->virt;
        return 0;
    }
    call_thread *idle = worker->idle;
    worker->idle = NULL;
    worker_unref(worker);
    threads_end(idle);
    return code;
}

static char *own_host(void) {
    char name[256] = "";
    if (gethostname(name, sizeof name - 1) < 0 || !name[0])
        return NULL;
    return vmc_strdup(name);
}

/* The host of "root@lab:22" or "[::1]:16514". free; NULL: none. */
static char *host_in(const char *authority, size_t length) {
    const char *at = memchr(authority, '@', length);
    if (at) {
        length -= (size_t)(at + 1 - authority);
        authority = at + 1;
    }
    if (length && *authority == '[') {
        const char *end = memchr(authority, ']', length);
        return end ? vmc_strndup(authority + 1, (size_t)(end - authority - 1)) : NULL;
    }
    const char *colon = memchr(authority, ':', length);
    return length ? vmc_strndup(authority, colon ? (size_t)(colon - authority) : length) : NULL;
}

/* A socket at another place than libvirt's own may be forwarded from another machine or belong to a container: that daemon's files are
 * not known to be this machine's. */
static bool own_socket(const char *query) {
    const char *socket = strstr(query, "socket=");
    if (!socket)
        return true;
    socket += strlen("socket=");
    return vmc_starts_with(socket, "/run/libvirt/") || vmc_starts_with(socket, "/var/run/libvirt/");
}

/* What the URI says: "qemu+ssh://root@lab/system". */
static void read_uri(libvirt_conn *conn) {
    const char *after = strstr(conn->uri, "://");
    size_t scheme = strcspn(conn->uri, "+:");
    const char *host = after ? after + 3 : "";
    const char *path = host + strcspn(host, "/?");
    conn->local = path == host && own_socket(path);
    conn->session = path == host && vmc_starts_with(path, "/session");
    conn->test_driver = scheme == 4 && strncmp(conn->uri, "test", 4) == 0;
    conn->host = conn->local ? own_host() : host_in(host, (size_t)(path - host));
}

int libvirt_conn_open(const char *uri, const vmctl_endpoint *endpoint, bool events, const vmc_deadline *deadline,
                      libvirt_conn **out, vmctl_error **err) {
    if (virInitialize() < 0)
        return vmc_error(err, VMCTL_E_INTERNAL, "libvirt cannot be initialised");
    virSetErrorFunc(NULL, quiet); /* it would print to stderr */
    int code = events ? libvirt_loop_start(err) : 0;
    if (code < 0)
        return code;
    libvirt_conn *conn = vmc_alloc(sizeof *conn);
    conn->references = 1;
    conn->user = user_of(uri);
    code = worker_open(conn, uri, endpoint, events, deadline, &conn->uri, err);
    if (code < 0) {
        conn_unref(conn);
        return code;
    }
    if (!conn->uri)
        conn->uri = vmc_strdup(uri);
    read_uri(conn);
    *out = conn;
    return 0;
}

static int known_password(void *user, char **out, vmctl_error **err) {
    (void)err;
    *out = vmc_strdup(user);
    return 0;
}

int libvirt_conn_sibling(const libvirt_conn *conn, bool events, const vmc_deadline *deadline, libvirt_conn **out,
                         vmctl_error **err) {
    vmctl_endpoint endpoint = {.size = sizeof endpoint, .password = known_password, .password_user = conn->password};
    return libvirt_conn_open(conn->uri, conn->password ? &endpoint : NULL, events, deadline, out, err);
}

static int close_work(void *opaque) {
    worker_unref(opaque);
    return 0;
}

static void close_drop(void *opaque) {
    (void)opaque;
}

/* Drops the connection's reference to a worker. The farewell to the daemon runs on a thread, for it can hang too. */
static void worker_end(libvirt_worker *worker) {
    pthread_mutex_lock(&worker->mutex);
    while (worker->unattended) /* it only frees memory */
        pthread_cond_wait(&worker->attended, &worker->mutex);
    call_thread *idle = worker->idle;
    worker->idle = NULL;
    pthread_mutex_unlock(&worker->mutex);
    call_thread *thread = idle;
    if (thread)
        idle = thread->next;
    else
        thread = thread_new(NULL);
    if (!thread) {
        worker_unref(worker);
        return;
    }
    thread_begin(thread, close_work, worker, close_drop);
    vmctl_call call = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&call, CLOSE_MS);
    if (thread_wait(NULL, thread, &deadline, "closing", NULL) == 0) {
        thread->next = idle;
        idle = thread;
    }
    threads_end(idle);
}

int libvirt_conn_renew(libvirt_conn *conn, const vmc_deadline *deadline, vmctl_error **err) {
    bool retired = __atomic_load_n(&conn->worker->retired, __ATOMIC_ACQUIRE);
    if (!retired && virConnectIsAlive(conn->virt) == 1)
        return 0;
    libvirt_worker *before = conn->worker;
    vmctl_endpoint endpoint = {.size = sizeof endpoint, .password = known_password, .password_user = conn->password};
    VMC_AUTO_FREE char *canonical = NULL;
    int code = 0;
    if (vmc_str_eq(conn->uri, "qemu:///system") && geteuid() == 0 && !libvirt_daemons_managed() &&
        !libvirt_daemons_answer(NULL))
        code = libvirt_daemons_start(deadline, err);
    if (code < 0)
        return code;
    code = worker_open(conn, conn->uri, conn->password ? &endpoint : NULL, false, deadline, &canonical, err);
    if (code < 0)
        return code;
    worker_end(before);
    return 0;
}

void libvirt_conn_free(libvirt_conn *conn) {
    if (!conn)
        return;
    worker_end(conn->worker);
    conn_unref(conn);
}

void libvirt_close(void *conn) {
    libvirt_conn_free(conn);
}
