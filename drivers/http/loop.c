/* drivers/http/loop.c - the one I/O thread of the process: owns the multi handle, and every transfer while it is attached. */
#include "drivers/http/transfer.h"
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { IDLE_POLL_MS = 60000 };

typedef enum order_kind { ORDER_ADD, ORDER_REMOVE, ORDER_RESUME } order_kind;

typedef struct order {
    order_kind kind;
    http_transfer *transfer;
    bool done;
    struct order *next;
} order;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t obeyed; /* an order was carried out */
    pthread_t thread;
    pid_t pid; /* whose thread it is; 0: none runs */
    CURLM *multi;
    order *first, *last;
    bool stop;
} loop = {.lock = PTHREAD_MUTEX_INITIALIZER, .obeyed = PTHREAD_COND_INITIALIZER};

static http_transfer *attached; /* the I/O thread's own list */

http_transfer *http_transfer_new(void) {
    http_transfer *t = vmc_alloc(sizeof *t);
    t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    t->easy = curl_easy_init();
    pthread_mutex_init(&t->lock, NULL);
    if (t->wake >= 0 && t->easy)
        return t;
    http_transfer_free(t);
    return NULL;
}

void http_transfer_free(http_transfer *t) {
    if (!t)
        return;
    curl_easy_cleanup(t->easy);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->connect_to);
    vmc_close_ptr(&t->wake);
    pthread_mutex_destroy(&t->lock);
    vmc_strv_free(&t->names);
    vmc_strv_free(&t->values);
    vmc_str_free(&t->in);
    vmc_str_free(&t->out);
    free(t);
}

void http_transfer_notify(http_transfer *t) {
    uint64_t one = 1;
    ssize_t unused = write(t->wake, &one, sizeof one);
    (void)unused;
}

static void detach(http_transfer *t) {
    if (!t->attached)
        return;
    curl_multi_remove_handle(loop.multi, t->easy);
    t->attached = false;
    if (t->previous)
        t->previous->next = t->next;
    else
        attached = t->next;
    if (t->next)
        t->next->previous = t->previous;
    t->next = t->previous = NULL;
}

static void finish(http_transfer *t, CURLcode result, bool stopped) {
    detach(t);
    pthread_mutex_lock(&t->lock);
    t->done = true;
    t->result = result;
    t->stopped = stopped;
    http_transfer_notify(t);
    pthread_mutex_unlock(&t->lock);
}

static void attach(http_transfer *t) {
    if (curl_multi_add_handle(loop.multi, t->easy) != CURLM_OK) {
        finish(t, CURLE_OUT_OF_MEMORY, false);
        return;
    }
    t->attached = true;
    t->next = attached;
    if (attached)
        attached->previous = t;
    attached = t;
}

static void obey(const order *o) {
    if (o->kind == ORDER_ADD)
        attach(o->transfer);
    else if (o->kind == ORDER_REMOVE)
        detach(o->transfer);
    else if (o->transfer->attached)
        (void)curl_easy_pause(o->transfer->easy, CURLPAUSE_CONT);
}

/* false: the thread shall end. Orders given before that are carried out first. */
static bool obey_all(void) {
    pthread_mutex_lock(&loop.lock);
    while (loop.first) {
        order *o = loop.first;
        loop.first = o->next;
        if (!loop.first)
            loop.last = NULL;
        pthread_mutex_unlock(&loop.lock);
        obey(o);
        pthread_mutex_lock(&loop.lock);
        o->done = true;
        pthread_cond_broadcast(&loop.obeyed);
    }
    bool goes_on = !loop.stop;
    pthread_mutex_unlock(&loop.lock);
    return goes_on;
}

static void *run(void *unused) {
    (void)unused;
    while (obey_all()) {
        int running = 0;
        (void)curl_multi_perform(loop.multi, &running);
        int left = 0;
        for (CURLMsg *message; (message = curl_multi_info_read(loop.multi, &left));) {
            http_transfer *t = NULL;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
            if (message->msg == CURLMSG_DONE && t)
                finish(t, message->data.result, false);
        }
        (void)curl_multi_poll(loop.multi, NULL, 0, IDLE_POLL_MS, NULL);
    }
    while (attached)
        finish(attached, CURLE_ABORTED_BY_CALLBACK, true);
    return NULL;
}

static void start_library(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    /* After the TLS library registered its own clean-up, so that the thread ends before it. */
    (void)atexit(http_shutdown);
}

/* With the loop's lock held. */
static int ensure_started(vmctl_error **err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_library);
    if (loop.pid == getpid())
        return 0;
    /* In a child after fork the parent's thread and handles are not ours to touch. */
    loop.multi = curl_multi_init();
    loop.first = loop.last = NULL;
    loop.stop = false;
    attached = NULL;
    if (!loop.multi)
        return vmc_error_no_memory(err);
    (void)curl_multi_setopt(loop.multi, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = pthread_create(&loop.thread, NULL, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc != 0) {
        curl_multi_cleanup(loop.multi);
        loop.multi = NULL;
        return vmc_error_errno(err, rc, "cannot start the HTTP thread");
    }
    loop.pid = getpid();
    return 0;
}

/* With the loop's lock held; waits until it was carried out. */
static void give_order(order_kind kind, http_transfer *t) {
    order o = {.kind = kind, .transfer = t};
    if (loop.last)
        loop.last->next = &o;
    else
        loop.first = &o;
    loop.last = &o;
    (void)curl_multi_wakeup(loop.multi);
    while (!o.done)
        pthread_cond_wait(&loop.obeyed, &loop.lock);
}

int http_loop_add(http_transfer *t, vmctl_error **err) {
    pthread_mutex_lock(&loop.lock);
    int rc = loop.stop ? vmc_error(err, VMCTL_E_CANCELLED, "the program ends") : ensure_started(err);
    if (rc == 0)
        give_order(ORDER_ADD, t);
    pthread_mutex_unlock(&loop.lock);
    return rc;
}

static void order_if_running(order_kind kind, http_transfer *t) {
    pthread_mutex_lock(&loop.lock);
    /* A stopped thread has let go of everything. */
    if (loop.pid == getpid() && !loop.stop)
        give_order(kind, t);
    while (loop.stop)
        pthread_cond_wait(&loop.obeyed, &loop.lock);
    pthread_mutex_unlock(&loop.lock);
}

void http_loop_remove(http_transfer *t) {
    order_if_running(ORDER_REMOVE, t);
}

void http_loop_resume(http_transfer *t) {
    order_if_running(ORDER_RESUME, t);
}

void http_shutdown(void) {
    pthread_mutex_lock(&loop.lock);
    if (loop.pid != getpid() || loop.stop) {
        pthread_mutex_unlock(&loop.lock);
        return;
    }
    loop.stop = true;
    (void)curl_multi_wakeup(loop.multi);
    pthread_mutex_unlock(&loop.lock);
    pthread_join(loop.thread, NULL);
    pthread_mutex_lock(&loop.lock);
    curl_multi_cleanup(loop.multi);
    loop.multi = NULL;
    loop.pid = 0;
    loop.stop = false;
    pthread_cond_broadcast(&loop.obeyed);
    pthread_mutex_unlock(&loop.lock);
}
