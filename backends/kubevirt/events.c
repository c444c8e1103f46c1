/* What happens to VMs, by a watch; and what the cluster remembers, which are its Events. */
#include "ops.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* What is known of a VM, to tell what changed. */
typedef struct known {
    char *uid, *name;
    vmctl_state state;
    int64_t generation;
    bool agent;
    struct known *next;
} known;

enum { BUCKETS = 1024, QUEUE_LIMIT = 4096 };

/* What the watching thread hands over. */
typedef struct heard {
    kube_event event;
    cJSON *object;
    struct heard *next;
} heard;

/* The watch blocks until something happens; ticks and the caller's own thread for callbacks ask for a thread beside it. */
typedef struct ear {
    kubevirt_conn *conn;
    const char *path;
    const kube_watch_options *options;
    vmc_deadline deadline; /* with a cancel token of its own */
    int fd;                /* an eventfd: something is in the queue, or the watch ended */
    pthread_mutex_t lock;  /* of what follows */
    pthread_cond_t room;
    heard *first, **end;
    size_t count;
    bool over, closing;
    int code;
    vmctl_error *why;
} ear;

typedef struct listening {
    kubevirt_conn *conn;
    const vmctl_event_options *options;
    const vmc_deadline *deadline;
    vmctl_event_fn each;
    void *user;
    known *buckets[BUCKETS];
    char *only; /* the uid of options->vm, once it is known */
    bool synced;
    bool enough;
} listening;

static int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static unsigned bucket_of(const char *uid) {
    unsigned hash = 5381;
    for (; *uid; uid++)
        hash = hash * 33 + (unsigned char)*uid;
    return hash % BUCKETS;
}

static known **find(listening *l, const char *uid) {
    known **at = &l->buckets[bucket_of(uid)];
    while (*at && strcmp((*at)->uid, uid) != 0)
        at = &(*at)->next;
    return at;
}

static void forget(known **at) {
    known *gone = *at;
    *at = gone->next;
    free(gone->uid);
    free(gone->name);
    free(gone);
}

static void tell(listening *l, vmctl_event_kind kind, const char *name, const char *uid, vmctl_state state,
                 const char *detail) {
    if (l->enough)
        return;
    const vmctl_event event = {.size = sizeof event,
                               .kind = kind,
                               .time_ms = wall_ms(),
                               .name = name,
                               .id = uid,
                               .state = state,
                               .detail = detail};
    l->enough = l->each(&event, l->user) != 0;
}

/* A change of the state, the definition or the agent; the first sight of what was there is no event. */
static void compare(listening *l, const cJSON *object, known *k, bool new) {
    VMC_AUTO_JSON *vmi = NULL;
    VMC_AUTO_FREE char *reason = NULL;
    if (kubevirt_needs_instance(object)) {
        const kubevirt_vm vm = {.namespace_name = (char *)vmc_json_string(object, "metadata.namespace", ""),
                                .name = k->name};
        vmc_deadline within = vmc_deadline_within(l->deadline, KUBEVIRT_ASK_MS);
        vmctl_error *ignored = NULL; /* then it is told as stopped */
        kubevirt_vmi_get(l->conn, &vm, &within, &vmi, &ignored);
        vmctl_error_free(ignored);
    }
    vmctl_state state = kubevirt_state(object, vmi, &reason);
    int64_t generation = vmc_json_integer(object, "metadata.generation", 0);
    bool agent = kubevirt_condition(object, "AgentConnected", "True") != NULL && state == VMCTL_STATE_RUNNING;
    if (l->synced && generation != k->generation)
        tell(l, VMCTL_EVENT_DEFINED, k->name, k->uid, state, NULL);
    if (l->synced && (new || state != k->state))
        tell(l, VMCTL_EVENT_STATE, k->name, k->uid, state, reason);
    if (l->synced && agent != k->agent)
        tell(l, VMCTL_EVENT_AGENT, k->name, k->uid, state, agent ? "connected" : "disconnected");
    k->state = state;
    k->generation = generation;
    k->agent = agent;
}

static bool is_meant(listening *l, const char *name, const char *uid) {
    if (!l->options->vm)
        return true;
    if (l->only)
        return strcmp(l->only, uid) == 0 || strcmp(l->options->vm, name) == 0;
    if (strcmp(l->options->vm, name) != 0 && strcmp(l->options->vm, uid) != 0)
        return false;
    l->only = vmc_strdup(uid);
    return true;
}

static void on_object(listening *l, kube_event event, const cJSON *object) {
    const char *uid = vmc_json_string(object, "metadata.uid", "");
    const char *name = vmc_json_string(object, "metadata.name", "");
    if (!is_meant(l, name, uid))
        return;
    known **at = find(l, uid);
    if (event == KUBE_DELETED) {
        tell(l, VMCTL_EVENT_DELETED, name, uid, VMCTL_STATE_UNKNOWN, NULL);
        if (*at)
            forget(at);
        return;
    }
    bool new = !*at;
    if (new) {
        *at = vmc_alloc(sizeof **at);
        (*at)->uid = vmc_strdup(uid);
        (*at)->name = vmc_strdup(name);
    }
    compare(l, object, *at, new);
}

static void on_heard(listening *l, const heard *h) {
    if (h->event != KUBE_SYNCED) {
        on_object(l, h->event, h->object);
        return;
    }
    const known *only = l->only ? *find(l, l->only) : NULL;
    l->synced = true;
    tell(l, VMCTL_EVENT_CONNECTED, only ? only->name : NULL, only ? only->uid : NULL,
         only ? only->state : VMCTL_STATE_UNKNOWN, NULL);
}

/* --- the ear ----------------------------------------------------------------------------------------------------------- */

static void wake(const ear *e) {
    uint64_t one = 1;
    ssize_t written = write(e->fd, &one, sizeof one);
    (void)written; /* it is full: then it is readable */
}

/* In the watching thread. A listener that is slow holds the watch up, not the memory. */
static int hear(kube_event event, cJSON **object, void *user) {
    ear *e = user;
    heard *h = vmc_alloc(sizeof *h);
    h->event = event;
    h->object = *object;
    *object = NULL;
    pthread_mutex_lock(&e->lock);
    while (e->count >= QUEUE_LIMIT && !e->closing)
        pthread_cond_wait(&e->room, &e->lock);
    *e->end = h;
    e->end = &h->next;
    e->count++;
    bool closing = e->closing;
    pthread_mutex_unlock(&e->lock);
    wake(e);
    return closing ? 1 : 0;
}

static void *watch_all(void *user) {
    ear *e = user;
    vmctl_error *why = NULL;
    int code = kube_watch(e->conn->client, e->path, e->options, &e->deadline, hear, e, &why);
    pthread_mutex_lock(&e->lock);
    e->over = true;
    e->code = code;
    e->why = why;
    pthread_mutex_unlock(&e->lock);
    wake(e);
    return NULL;
}

static heard *next_heard(ear *e, bool *over) {
    pthread_mutex_lock(&e->lock);
    heard *h = e->first;
    if (h) {
        e->first = h->next;
        if (!e->first)
            e->end = &e->first;
        e->count--;
        pthread_cond_signal(&e->room);
    }
    *over = !h && e->over;
    pthread_mutex_unlock(&e->lock);
    return h;
}

static void free_heard(heard *h) {
    cJSON_Delete(h->object);
    free(h);
}

/* Everything that waits. true: the watch is over. */
static bool drain(listening *l, ear *e) {
    bool over = false;
    heard *h;
    uint64_t count;
    ssize_t got = read(e->fd, &count, sizeof count);
    (void)got; /* nothing there: the queue says so too */
    while (!l->enough && (h = next_heard(e, &over))) {
        on_heard(l, h);
        free_heard(h);
    }
    return over;
}

static int attend(listening *l, ear *e, vmctl_error **err) {
    const unsigned tick = l->options->tick_ms;
    int64_t last = vmc_now_ms();
    int code = 0;
    while (code >= 0 && !l->enough) {
        int64_t quiet = vmc_now_ms() - last;
        int slice = tick ? (quiet >= tick ? 0 : (int)(tick - quiet)) : -1;
        code = vmc_deadline_poll(l->deadline, e->fd, POLLIN, slice, "listening for events", err);
        if (code > 0) {
            last = vmc_now_ms();
            if (drain(l, e))
                break;
        } else if (code == 0 && tick && vmc_now_ms() - last >= tick) {
            last = vmc_now_ms();
            tell(l, VMCTL_EVENT_TICK, NULL, NULL, VMCTL_STATE_UNKNOWN, NULL);
        }
    }
    return code < 0 ? code : 0;
}

static void close_ear(ear *e, vmctl_cancel *cancel, pthread_t thread) {
    pthread_mutex_lock(&e->lock);
    e->closing = true;
    pthread_cond_signal(&e->room);
    pthread_mutex_unlock(&e->lock);
    vmctl_cancel_trigger(cancel);
    pthread_join(thread, NULL);
    for (heard *h = e->first; h;) {
        heard *next = h->next;
        free_heard(h);
        h = next;
    }
}

/* Notes of the driver are for the caller's thread alone: the watch is silent. */
static int listen_with(listening *l, const char *path, const kube_watch_options *options, vmctl_error **err) {
    vmctl_cancel *cancel = vmctl_cancel_new();
    ear e = {.conn = l->conn,
             .path = path,
             .options = options,
             .deadline = {.at_ms = l->deadline->at_ms, .cancel = cancel},
             .fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
             .end = &e.first};
    pthread_t thread;
    pthread_mutex_init(&e.lock, NULL);
    pthread_cond_init(&e.room, NULL);
    int code = !cancel || e.fd < 0 ? vmc_error_errno(err, errno, "cannot listen") : 0;
    int failed = code == 0 ? pthread_create(&thread, NULL, watch_all, &e) : 0;
    if (failed)
        code = vmc_error_errno(err, failed, "cannot listen");
    if (code == 0) {
        code = attend(l, &e, err);
        close_ear(&e, cancel, thread);
        if (code == 0 && !l->enough && e.code < 0) {
            code = e.code;
            vmc_error_move(err, &e.why);
        }
    }
    vmctl_error_free(e.why);
    vmctl_cancel_free(cancel);
    if (e.fd >= 0)
        close(e.fd);
    pthread_cond_destroy(&e.room);
    pthread_mutex_destroy(&e.lock);
    return code;
}

static int listen_to_all(listening *l, vmctl_error **err) {
    const char *vm = l->options->vm;
    VMC_AUTO_FREE char *path = kubevirt_collection("virtualmachines", l->conn->namespace_name);
    bool by_name = vm && kubevirt_is_vm_name(vm) && strlen(vm) != 36; /* a uid is no field to select by */
    VMC_AUTO_FREE char *selector = by_name ? vmc_printf("metadata.name=%s", vm) : NULL;
    const char *const query[] = {"fieldSelector", selector, NULL};
    const kube_watch_options options = {.query = selector ? query : NULL, .list_first = true};
    vmctl_error *why = NULL;
    int code = listen_with(l, path, &options, &why);
    if (code == VMCTL_E_TIMEOUT || code >= 0) { /* the end of the deadline is the end of the listening */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(err, &why);
    return code;
}

/* --- what is remembered ------------------------------------------------------------------------------------------------ */

static int tell_remembered(cJSON **item, void *user) {
    listening *l = user;
    const char *kind = vmc_json_string(*item, "involvedObject.kind", "");
    const char *name = vmc_json_string(*item, "involvedObject.name", NULL);
    if (!vmc_starts_with(kind, "VirtualMachine") || !name || (l->options->vm && strcmp(l->options->vm, name) != 0))
        return 0;
    const char *when = vmc_json_string(*item, "lastTimestamp", vmc_json_string(*item, "eventTime", NULL));
    VMC_AUTO_FREE char *detail =
        vmc_printf("%s: %s", vmc_json_string(*item, "reason", ""), vmc_json_string(*item, "message", ""));
    const vmctl_event event = {.size = sizeof event,
                               .kind = VMCTL_EVENT_OTHER,
                               .time_ms = kubevirt_time_of(when) * 1000,
                               .name = name,
                               .id = vmc_json_string(*item, "involvedObject.uid", NULL),
                               .state = VMCTL_STATE_UNKNOWN,
                               .detail = detail};
    return l->each(&event, l->user) != 0;
}

static int tell_all_remembered(listening *l, vmctl_error **err) {
    VMC_AUTO_FREE char *path = kube_path("", "v1", l->conn->namespace_name, "events", NULL, NULL);
    VMC_AUTO_FREE char *selector = l->options->vm ? vmc_printf("involvedObject.name=%s", l->options->vm) : NULL;
    const char *const query[] = {"fieldSelector", selector, NULL};
    const kube_list_options options = {.query = selector ? query : NULL};
    int code = kube_list(l->conn->client, path, &options, l->deadline, tell_remembered, l, err);
    return code < 0 ? code : 0;
}

int kubevirt_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user,
                    vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, options->recorded ? KUBEVIRT_ASK_MS : -1);
    listening l = {.conn = conn, .options = options, .deadline = &deadline, .each = each, .user = user};
    int code = options->recorded ? tell_all_remembered(&l, err) : listen_to_all(&l, err);
    for (size_t i = 0; i < BUCKETS; i++)
        while (l.buckets[i])
            forget(&l.buckets[i]);
    free(l.only);
    return code;
}
