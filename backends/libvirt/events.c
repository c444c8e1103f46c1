/* What happens to the domains, without a gap: when the daemon goes away and comes back, what changed meanwhile is told as events. */
#include "facts.h"
#include "listener.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECONNECT_MS = 500, ASK_MS = 30000 };

/* What was last known of a domain. */
typedef struct known {
    char uuid[VIR_UUID_STRING_BUFLEN];
    char *name;
    vmctl_state state;
    bool seen;
} known;

typedef struct watch {
    libvirt_conn *conn;
    const vmctl_event_options *options;
    const vmc_deadline *deadline;
    vmctl_event_fn each;
    void *user;
    known *table;
    size_t count;
} watch;

static known *find(watch *w, const char *uuid) {
    for (size_t i = 0; i < w->count; i++)
        if (!strcmp(w->table[i].uuid, uuid))
            return &w->table[i];
    return NULL;
}

static known *remember(watch *w, const char *uuid, const char *name, vmctl_state state) {
    known *k = find(w, uuid);
    if (!k) {
        w->table = vmc_realloc(w->table, w->count + 1, sizeof *w->table);
        k = &w->table[w->count++];
        memset(k, 0, sizeof *k);
        memcpy(k->uuid, uuid, VIR_UUID_STRING_BUFLEN);
    }
    if (!vmc_str_eq(k->name, name)) {
        free(k->name);
        k->name = vmc_strdup(name);
    }
    if (state != VMCTL_STATE_UNKNOWN)
        k->state = state;
    return k;
}

static void forget(watch *w, const char *uuid) {
    known *k = find(w, uuid);
    if (!k)
        return;
    free(k->name);
    *k = w->table[--w->count];
}

static int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Non-zero: the listener has had enough. */
static int tell(watch *w, vmctl_event_kind kind, int64_t time_ms, const char *name, const char *id, vmctl_state state,
                const char *detail) {
    const char *only = w->options->vm;
    if (only && name && !vmc_str_eq(only, name) && !vmc_str_eq(only, id))
        return 0;
    const vmctl_event event = {.size = sizeof event,
                               .kind = kind,
                               .time_ms = time_ms,
                               .name = name,
                               .id = id,
                               .state = state,
                               .detail = detail};
    return w->each(&event, w->user);
}

/* --- what is there now --------------------------------------------------------------------------------------------- */

typedef struct survey {
    watch *watch;
    bool silent; /* the first one: nothing was missed yet */
} survey;

static int survey_one(const vmctl_vm_info *info, void *opaque) {
    survey *s = opaque;
    watch *w = s->watch;
    const known *before = find(w, info->id);
    bool is_new = !before, changed = before && before->state != info->state;
    remember(w, info->id, info->name, info->state)->seen = true;
    if (s->silent || (!is_new && !changed))
        return 0;
    if (is_new && tell(w, VMCTL_EVENT_DEFINED, wall_ms(), info->name, info->id, info->state, "added"))
        return 1;
    return tell(w, VMCTL_EVENT_STATE, wall_ms(), info->name, info->id, info->state, info->state_reason) ? 1 : 0;
}

/* Positive: the listener has had enough. */
static int take_stock(watch *w, libvirt_conn *conn, bool silent, vmctl_error **err) {
    survey s = {w, silent};
    for (size_t i = 0; i < w->count; i++)
        w->table[i].seen = false;
    vmc_deadline within = vmc_deadline_within(w->deadline, ASK_MS);
    vmctl_call call = vmc_deadline_call(&within);
    vmctl_list_options options = VMCTL_LIST_OPTIONS_INIT;
    options.call = &call;
    options.facts = VMCTL_FACT_STATE;
    int code = libvirt_list(conn, &options, survey_one, &s, err);
    for (size_t i = w->count; !code && i-- > 0;) {
        if (w->table[i].seen)
            continue;
        known gone = w->table[i];
        w->table[i] = w->table[--w->count];
        if (!silent)
            code =
                tell(w, VMCTL_EVENT_DELETED, wall_ms(), gone.name, gone.uuid, VMCTL_STATE_UNKNOWN, "removed") ? 1 : 0;
        free(gone.name);
    }
    return code;
}

/* --- listening ------------------------------------------------------------------------------------------------------- */

/* Listening first, then asking what is there: what happens in between comes twice rather than never. Positive: enough. */
static int connect_anew(watch *w, bool first, libvirt_listener **out, vmctl_error **err) {
    libvirt_listener *listener = NULL;
    int code = libvirt_listener_open(w->conn, false, w->deadline, &listener, err);
    if (code < 0)
        return code;
    if (tell(w, VMCTL_EVENT_CONNECTED, wall_ms(), NULL, NULL, VMCTL_STATE_UNKNOWN, NULL))
        code = 1;
    if (!code)
        code = take_stock(w, libvirt_listener_conn(listener), first, err);
    if (code) {
        libvirt_listener_close(listener);
        return code;
    }
    *out = listener;
    return 0;
}

/* Everything that waits. 1: enough; 2: the connection was lost. */
static int drain(watch *w, libvirt_listener *listener) {
    int code = 0;
    for (libvirt_event *event; !code && (event = libvirt_listener_next(listener));) {
        if (event->kind == VMCTL_EVENT_TICK) {
            code = 2;
        } else {
            if (event->kind == VMCTL_EVENT_DELETED)
                forget(w, event->uuid);
            else
                remember(w, event->uuid, event->name, event->state);
            code = tell(w, event->kind, event->time_ms, event->name, event->uuid, event->state, event->detail) ? 1 : 0;
        }
        libvirt_event_free(event);
    }
    return code;
}

/* The end of the deadline is the end of the listening, no error. */
static int ended(int code, vmctl_error **why, vmctl_error **err) {
    if (code == VMCTL_E_TIMEOUT || code >= 0) {
        vmctl_error_free(*why);
        return 0;
    }
    vmc_error_move(err, why);
    return code;
}

static int listen_until_enough(watch *w, vmctl_error **err) {
    libvirt_listener *listener = NULL;
    vmctl_error *why = NULL;
    int code = connect_anew(w, true, &listener, &why);
    int64_t last = vmc_now_ms();
    while (!code) {
        const unsigned tick = w->options->tick_ms;
        int64_t quiet = vmc_now_ms() - last;
        int slice = tick ? (quiet >= tick ? 0 : (int)(tick - quiet)) : -1;
        if (!listener && (slice < 0 || slice > RECONNECT_MS))
            slice = RECONNECT_MS;
        code = vmc_deadline_poll(w->deadline, listener ? libvirt_listener_fd(listener) : -1, POLLIN, slice,
                                 "listening for events", &why);
        if (code < 0)
            break;
        if (tick && !code && vmc_now_ms() - last >= tick) {
            last = vmc_now_ms();
            if (tell(w, VMCTL_EVENT_TICK, wall_ms(), NULL, NULL, VMCTL_STATE_UNKNOWN, NULL)) {
                code = 1;
                break;
            }
        }
        if (listener && code) {
            last = vmc_now_ms();
            code = drain(w, listener);
            if (code == 2) {
                libvirt_listener_close(listener);
                listener = NULL;
                code = 0;
            }
        } else if (!listener) {
            vmctl_error_free(why);
            why = NULL;
            code = connect_anew(w, false, &listener, &why);
            if (code == VMCTL_E_UNAVAILABLE)
                code = 0; /* not back yet */
        }
    }
    libvirt_listener_close(listener);
    return ended(code, &why, err);
}

int libvirt_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    watch w = {.conn = conn, .options = options, .deadline = &deadline, .each = each, .user = user};
    int code = listen_until_enough(&w, err);
    for (size_t i = 0; i < w.count; i++)
        free(w.table[i].name);
    free(w.table);
    return code;
}
