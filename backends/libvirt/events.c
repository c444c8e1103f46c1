/* What happens to the domains, without a gap: when the daemon goes away and comes back, what changed meanwhile is told as events. */
#include "ops.h"
#include "stock.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECONNECT_MS = 500, ASK_MS = 60000 };
enum {
    SETTLE_MS = 250,
    SETTLE_LIMIT_MS = 60000
}; /* how often it is asked what a daemon that came back has taken up, and for how long */

typedef struct watch {
    libvirt_conn *conn;
    const vmctl_event_options *options;
    const vmc_deadline *deadline;
    vmctl_event_fn each;
    void *user;
    libvirt_stock *stock;
    int64_t settle_until; /* what was there when the daemon came back is not sure yet; 0: it is */
} watch;

static int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Non-zero: the listener has had enough. */
static int tell(watch *w, vmctl_event_kind kind, int64_t time_ms, const char *name, const char *id, vmctl_state state,
                const char *detail) {
    if (name && !libvirt_stock_wants(w->stock, name, id))
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

static int tell_now(vmctl_event_kind kind, const char *name, const char *uuid, vmctl_state state, const char *detail,
                    void *user) {
    return tell(user, kind, wall_ms(), name, uuid, state, detail) ? 1 : 0;
}

/* libvirt keeps no record of events; what came last to each domain is in its state, without a time. */
static int tell_undated(vmctl_event_kind kind, const char *name, const char *uuid, vmctl_state state,
                        const char *detail, void *user) {
    return tell(user, kind, 0, name, uuid, state, detail) ? 1 : 0;
}

/* --- listening ------------------------------------------------------------------------------------------------------- */

/* Listening first, then asking what is there: what happens in between comes twice rather than never. Positive: enough. */
static int connect_anew(watch *w, bool first, libvirt_listener **out, vmctl_error **err) {
    libvirt_listener *listener = NULL;
    int code = libvirt_listener_open(w->conn, LIBVIRT_LISTEN_ALL, w->deadline, &listener, err);
    if (code < 0)
        return code;
    vmc_deadline within = vmc_deadline_within(w->deadline, ASK_MS);
    code = libvirt_stock_take(w->stock, libvirt_listener_conn(listener), false, &within, err);
    const char *uuid = libvirt_stock_only_uuid(w->stock);
    if (!code &&
        tell(w, VMCTL_EVENT_CONNECTED, wall_ms(), uuid ? w->options->vm : NULL, uuid, VMCTL_STATE_UNKNOWN, NULL))
        code = 1;
    if (!code && !first) {
        code = libvirt_stock_differences(w->stock, tell_now, w);
        w->settle_until = vmc_now_ms() + SETTLE_LIMIT_MS;
    }
    if (code) {
        libvirt_listener_close(listener);
        return code;
    }
    *out = listener;
    return 0;
}

/* Everything that waits. 1: enough; 2: the connection was lost. */
static int drain(watch *w, libvirt_listener *listener) {
    libvirt_conn *conn = libvirt_listener_conn(listener);
    vmc_deadline within = vmc_deadline_within(w->deadline, ASK_MS);
    int code = 0;
    for (libvirt_event *event; !code && (event = libvirt_listener_next(listener));) {
        if (event->kind == VMCTL_EVENT_TICK) {
            code = 2;
        } else {
            VMC_AUTO_FREE char *better = libvirt_stock_note(w->stock, event, conn, &within);
            code = tell(w, event->kind, event->time_ms, event->name, event->uuid, event->state,
                        better ? better : event->detail)
                       ? 1
                       : 0;
        }
        libvirt_event_free(event);
    }
    /* What the events changed is what the next loss of the daemon is measured against. */
    return !code && libvirt_stock_refresh(w->stock, conn, &within, NULL) == VMCTL_E_CANCELLED ? VMCTL_E_CANCELLED
                                                                                              : code;
}

/* libvirt takes its QEMUs up one by one, and tells nothing of one that turns out to be dead. 1: enough. */
static int settle(watch *w, libvirt_listener *listener) {
    libvirt_conn *conn = libvirt_listener_conn(listener);
    vmc_deadline within = vmc_deadline_within(w->deadline, ASK_MS);
    bool settled = false;
    int code = libvirt_stock_settled(w->stock, conn, &settled, &within, NULL);
    if (code == 0)
        code = libvirt_stock_take(w->stock, conn, false, &within, NULL);
    if (code == 0)
        code = libvirt_stock_differences(w->stock, tell_now, w);
    if (settled || vmc_now_ms() > w->settle_until)
        w->settle_until = 0;
    return code == VMCTL_E_CANCELLED || code > 0 ? code : 0; /* a lost connection is told by the listener */
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
        if (w->settle_until && (slice < 0 || slice > SETTLE_MS))
            slice = SETTLE_MS;
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
        } else if (w->settle_until) {
            code = settle(w, listener);
        }
    }
    libvirt_listener_close(listener);
    return ended(code, &why, err);
}

int libvirt_events(void *conn, const vmctl_event_options *options, vmctl_event_fn each, void *user, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, options->recorded ? ASK_MS : -1);
    watch w = {.conn = conn, .options = options, .deadline = &deadline, .each = each, .user = user};
    int code;
    w.stock = libvirt_stock_new(options->vm);
    if (options->recorded) {
        code = libvirt_stock_take(w.stock, conn, true, &deadline, err);
        if (!code)
            (void)libvirt_stock_states(w.stock, tell_undated, &w);
    } else {
        code = listen_until_enough(&w, err);
    }
    libvirt_stock_free(w.stock);
    return code;
}
