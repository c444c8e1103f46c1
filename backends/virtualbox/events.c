/* What happens to VMs. VBoxManage has no notification, so one thread a connection looks while somebody listens: often after
 * something happened, ever less often while nothing does. What this connection does itself is told at once. */
#include "facts.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { LOOK_FIRST_MS = 100, LOOK_LAST_MS = 1000, ASK_MS = 30000 };

typedef struct known {
    char id[37];
    char *name;
    vmctl_state state;
    bool seen;
} known;

struct virtualbox_listener {
    int fd; /* an eventfd: something is in the list */
    virtualbox_event *first, **last;
    virtualbox_listener *after;
};

struct virtualbox_poller {
    virtualbox_conn *conn;
    pthread_t thread;
    vmctl_cancel *end;    /* nobody listens any more: a look under way is given up, too */
    int wake;             /* an eventfd: look now */
    pthread_mutex_t lock; /* of all that follows */
    unsigned long told;   /* how often something of ours was told: a look that began before is stale */
    known *table;
    size_t count;
    virtualbox_listener *listeners;
};

static int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void virtualbox_event_free(virtualbox_event *event) {
    if (!event)
        return;
    free(event->name);
    free(event);
}

static void ring(int fd) {
    uint64_t one = 1;
    if (write(fd, &one, sizeof one) < 0)
        return; /* it is full: whoever waits is woken anyway */
}

/* With the lock. */
static void publish(virtualbox_poller *p, vmctl_event_kind kind, const char *id, const char *name, vmctl_state state,
                    const char *detail) {
    for (virtualbox_listener *l = p->listeners; l; l = l->after) {
        virtualbox_event *event = vmc_alloc(sizeof *event);
        event->kind = kind;
        event->time_ms = wall_ms();
        memcpy(event->id, id, sizeof event->id);
        event->name = vmc_strdup(name);
        event->state = state;
        event->detail = detail;
        *l->last = event;
        l->last = &event->next;
        ring(l->fd);
    }
}

static known *find(virtualbox_poller *p, const char *id) {
    for (size_t i = 0; i < p->count; i++)
        if (strcmp(p->table[i].id, id) == 0)
            return &p->table[i];
    return NULL;
}

static known *remember(virtualbox_poller *p, const char *id, const char *name) {
    known *k = find(p, id);
    if (!k) {
        p->table = vmc_realloc(p->table, p->count + 1, sizeof *p->table);
        k = &p->table[p->count++];
        *k = (known){.state = VMCTL_STATE_UNKNOWN};
        memcpy(k->id, id, sizeof k->id);
    }
    if (!vmc_str_eq(k->name, name)) {
        free(k->name);
        k->name = vmc_strdup(name);
    }
    return k;
}

static void forget(virtualbox_poller *p, const char *id) {
    known *k = find(p, id);
    if (!k)
        return;
    free(k->name);
    *k = p->table[--p->count];
}

void virtualbox_tell(virtualbox_conn *conn, vmctl_event_kind kind, const virtualbox_vm *vm, vmctl_state state,
                     const char *detail) {
    pthread_mutex_lock(&conn->lock);
    virtualbox_poller *p = conn->poller;
    if (p) {
        pthread_mutex_lock(&p->lock);
        p->told++;
        publish(p, kind, vm->id, vm->name, state, detail);
        if (kind == VMCTL_EVENT_DELETED)
            forget(p, vm->id);
        else
            remember(p, vm->id, vm->name)->state = state;
        pthread_mutex_unlock(&p->lock);
        ring(p->wake);
    }
    pthread_mutex_unlock(&conn->lock);
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

typedef struct survey {
    virtualbox_poller *poller;
    bool silent;
    bool changed;
} survey;

static int survey_one(const vmctl_vm_info *info, void *user) {
    survey *s = user;
    virtualbox_poller *p = s->poller;
    const known *before = find(p, info->id);
    bool is_new = !before;
    bool changed = before && before->state != info->state;
    known *k = remember(p, info->id, info->name);
    k->state = info->state;
    k->seen = true;
    if (s->silent || (!is_new && !changed))
        return 0;
    s->changed = true;
    if (is_new)
        publish(p, VMCTL_EVENT_DEFINED, info->id, info->name, info->state, "added");
    if (changed || info->state != VMCTL_STATE_STOPPED)
        publish(p, VMCTL_EVENT_STATE, info->id, info->name, info->state, info->state_reason);
    return 0;
}

typedef struct heap_info {
    char *name, id[37];
    vmctl_state state;
    const char *reason;
} heap_info;

typedef struct gathered {
    heap_info *items;
    size_t count;
} gathered;

static int gather(const vmctl_vm_info *info, void *user) {
    gathered *to = user;
    to->items = vmc_realloc(to->items, to->count + 1, sizeof *to->items);
    heap_info *item = &to->items[to->count++];
    item->name = vmc_strdup(info->name);
    memcpy(item->id, info->id, sizeof item->id);
    item->state = info->state;
    item->reason = virtualbox_constant_reason(info->state_reason);
    return 0;
}

/* One look: 1 something changed, 0 nothing, negative: it failed. Asked without the lock, compared with it. */
static int look(virtualbox_poller *p, bool silent, const vmc_deadline *deadline, vmctl_error **err) {
    pthread_mutex_lock(&p->lock);
    unsigned long told = p->told;
    pthread_mutex_unlock(&p->lock);
    vmc_deadline within = vmc_deadline_within(deadline, ASK_MS);
    vmctl_call call = vmc_deadline_call(&within);
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.call = &call;
    options.facts = VMCTL_FACT_STATE;
    gathered all = {0};
    int code = virtualbox_list(p->conn, &options, gather, &all, err);
    survey s = {p, silent, false};
    pthread_mutex_lock(&p->lock);
    bool stale = p->told != told;
    for (size_t i = 0; i < p->count; i++)
        p->table[i].seen = false;
    for (size_t i = 0; code == 0 && !stale && i < all.count; i++) {
        const vmctl_vm_info info = {.size = sizeof info,
                                    .name = all.items[i].name,
                                    .id = all.items[i].id,
                                    .state = all.items[i].state,
                                    .state_reason = all.items[i].reason};
        survey_one(&info, &s);
    }
    for (size_t i = p->count; code == 0 && !stale && i-- > 0;) {
        if (p->table[i].seen)
            continue;
        publish(p, VMCTL_EVENT_DELETED, p->table[i].id, p->table[i].name, VMCTL_STATE_UNKNOWN, NULL);
        free(p->table[i].name);
        p->table[i] = p->table[--p->count];
        s.changed = true;
    }
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < all.count; i++)
        free(all.items[i].name);
    free(all.items);
    return code < 0 ? code : s.changed || stale;
}

static void *poll_on(void *user) {
    virtualbox_poller *p = user;
    int pause = LOOK_FIRST_MS;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = p->end;
    while (true) {
        struct pollfd ready[] = {{p->wake, POLLIN, 0}, {vmctl_cancel_fd(p->end), POLLIN, 0}};
        uint64_t count;
        if (poll(ready, 2, pause) > 0 && read(p->wake, &count, sizeof count) > 0)
            pause = LOOK_FIRST_MS;
        if (vmctl_cancel_triggered(p->end))
            return NULL;
        vmc_deadline patient = vmc_deadline_start(&call, ASK_MS);
        int changed = look(p, false, &patient, NULL); /* VBoxSVC may come back */
        pause = changed > 0 ? LOOK_FIRST_MS : pause * 3 / 2 < LOOK_LAST_MS ? pause * 3 / 2 : LOOK_LAST_MS;
    }
}

static void poller_free(virtualbox_poller *p) {
    for (size_t i = 0; i < p->count; i++)
        free(p->table[i].name);
    free(p->table);
    vmctl_cancel_free(p->end);
    close(p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* --- who listens ------------------------------------------------------------------------------------------------- */

static void poller_stop(virtualbox_poller *p) {
    vmctl_cancel_trigger(p->end);
    pthread_join(p->thread, NULL);
    poller_free(p);
}

void virtualbox_poller_end(virtualbox_conn *conn) {
    if (conn->poller)
        poller_stop(conn->poller);
    conn->poller = NULL;
}

static int begin(virtualbox_conn *conn, const vmc_deadline *deadline, vmctl_error **err) {
    virtualbox_poller *p = vmc_alloc(sizeof *p);
    p->conn = conn;
    p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&p->lock, NULL);
    p->end = vmctl_cancel_new();
    int code = p->end ? look(p, true, deadline, err)
                      : vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "no descriptors are left to look at the VMs");
    pthread_mutex_lock(&conn->lock);
    if (code >= 0 && !conn->poller) {
        if (pthread_create(&p->thread, NULL, poll_on, p) == 0) {
            conn->poller = p;
            p = NULL;
            code = 0;
        } else {
            code = vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "no thread can be started to look at the VMs");
        }
    }
    pthread_mutex_unlock(&conn->lock);
    if (p) /* another one was faster, or it failed */
        poller_free(p);
    return code < 0 ? code : 0;
}

int virtualbox_listener_open(virtualbox_conn *conn, const vmc_deadline *deadline, virtualbox_listener **out,
                             vmctl_error **err) {
    virtualbox_listener *listener = vmc_alloc(sizeof *listener);
    listener->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    listener->last = &listener->first;
    int code = 0;
    while (code == 0) {
        pthread_mutex_lock(&conn->lock);
        virtualbox_poller *p = conn->poller;
        if (p) {
            pthread_mutex_lock(&p->lock);
            listener->after = p->listeners;
            p->listeners = listener;
            pthread_mutex_unlock(&p->lock);
            ring(p->wake);
        }
        pthread_mutex_unlock(&conn->lock);
        if (p) {
            *out = listener;
            return 0;
        }
        code = begin(conn, deadline, err);
    }
    close(listener->fd);
    free(listener);
    return code;
}

/* The last one takes the poller with it: nobody is looked for. */
void virtualbox_listener_close(virtualbox_conn *conn, virtualbox_listener *listener) {
    if (!listener)
        return;
    pthread_mutex_lock(&conn->lock);
    virtualbox_poller *p = conn->poller;
    pthread_mutex_lock(&p->lock);
    virtualbox_listener **at = &p->listeners;
    while (*at != listener)
        at = &(*at)->after;
    *at = listener->after;
    bool last = !p->listeners;
    pthread_mutex_unlock(&p->lock);
    if (last)
        conn->poller = NULL;
    pthread_mutex_unlock(&conn->lock);
    if (last)
        poller_stop(p);
    while (listener->first) {
        virtualbox_event *gone = listener->first;
        listener->first = gone->next;
        virtualbox_event_free(gone);
    }
    close(listener->fd);
    free(listener);
}

int virtualbox_listener_next(virtualbox_conn *conn, virtualbox_listener *listener, const vmc_deadline *deadline,
                             int slice_ms, virtualbox_event **event, vmctl_error **err) {
    for (int tries = 0; tries < 2; tries++) {
        uint64_t count;
        pthread_mutex_lock(&conn->poller->lock);
        virtualbox_event *first = listener->first;
        if (first) {
            listener->first = first->next;
            if (!listener->first)
                listener->last = &listener->first;
            first->next = NULL;
        }
        pthread_mutex_unlock(&conn->poller->lock);
        *event = first;
        if (first)
            return 1;
        if (tries)
            break;
        int code = vmc_deadline_poll(deadline, listener->fd, POLLIN, slice_ms, "waiting for something to happen", err);
        if (code < 0)
            return code;
        if (code > 0 && read(listener->fd, &count, sizeof count) < 0)
            return 0;
    }
    return 0;
}

/* --- the slot ---------------------------------------------------------------------------------------------------- */

static bool is_wanted(const vmctl_event_options *options, const char *name, const char *id) {
    return !options->vm || vmc_str_eq(options->vm, name) || strcasecmp(options->vm, id) == 0;
}

typedef struct remembering {
    const vmctl_event_options *options;
    vmctl_event_fn each;
    void *user;
} remembering;

/* VirtualBox keeps no record of what happened: the state of each VM is what it remembers. */
static int tell_state(const vmctl_vm_info *info, void *user) {
    const remembering *r = user;
    if (!is_wanted(r->options, info->name, info->id))
        return 0;
    const vmctl_event event = {.size = sizeof event,
                               .kind = VMCTL_EVENT_STATE,
                               .name = info->name,
                               .id = info->id,
                               .state = info->state,
                               .detail = info->state_reason};
    return r->each(&event, r->user);
}

static int tell_remembered(virtualbox_conn *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user,
                           vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, ASK_MS);
    vmctl_call call = vmc_deadline_call(&deadline);
    vmctl_list_options list = VMCTL_LIST_OPTIONS_INIT;
    list.call = &call;
    list.facts = VMCTL_FACT_STATE;
    remembering r = {options, each, user};
    return virtualbox_list(conn, &list, tell_state, &r, err);
}

int virtualbox_events(void *opaque, const vmctl_event_options *options, vmctl_event_fn each, void *user,
                      vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    if (options->recorded)
        return tell_remembered(conn, options, each, user, err);
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    virtualbox_listener *listener = NULL;
    vmctl_error *why = NULL;
    int code = virtualbox_listener_open(conn, &deadline, &listener, &why);
    if (code < 0) {
        vmc_error_move(err, &why);
        return code;
    }
    const vmctl_event connected = {.size = sizeof connected, .kind = VMCTL_EVENT_CONNECTED, .time_ms = wall_ms()};
    const vmctl_event tick = {.size = sizeof tick, .kind = VMCTL_EVENT_TICK};
    int stop = each(&connected, user);
    int64_t last = vmc_now_ms();
    while (code >= 0 && !stop) {
        virtualbox_event *event = NULL;
        int64_t left = options->tick_ms ? last + options->tick_ms - vmc_now_ms() : -1;
        code = virtualbox_listener_next(conn, listener, &deadline, options->tick_ms ? (left > 0 ? (int)left : 0) : -1,
                                        &event, &why);
        if (code == 1 && is_wanted(options, event->name, event->id)) {
            const vmctl_event told = {.size = sizeof told,
                                      .kind = event->kind,
                                      .time_ms = event->time_ms,
                                      .name = event->name,
                                      .id = event->id,
                                      .state = event->state,
                                      .detail = event->detail};
            last = vmc_now_ms();
            stop = each(&told, user);
        } else if (code == 0 && options->tick_ms && vmc_now_ms() - last >= options->tick_ms) {
            vmctl_event now = tick;
            now.time_ms = wall_ms();
            last = vmc_now_ms();
            stop = each(&now, user);
        }
        virtualbox_event_free(event);
    }
    virtualbox_listener_close(conn, listener);
    if (code == VMCTL_E_TIMEOUT)
        code = 0;
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code < 0 ? code : 0;
}
