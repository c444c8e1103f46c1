/* Source: libvirt-domain.h, virConnectDomainEventRegisterAny and the callbacks of virDomainEventID. */
#include "listener.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { CALLBACKS = 16, CLOSE_MS = 5000 };

struct libvirt_listener {
    pthread_mutex_t mutex;
    int references; /* the owner's, one for each registered callback, one for a call under way */
    libvirt_conn *conn;
    int fd;
    libvirt_event *first, **last;
    int callbacks[CALLBACKS]; /* libvirt's numbers */
    int callback_count;
    bool close_callback;
};

static void listener_unref(void *opaque) {
    libvirt_listener *l = opaque;
    if (__atomic_sub_fetch(&l->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    while (l->first) {
        libvirt_event *event = l->first;
        l->first = event->next;
        libvirt_event_free(event);
    }
    close(l->fd);
    pthread_mutex_destroy(&l->mutex);
    free(l);
}

void libvirt_event_free(libvirt_event *event) {
    if (!event)
        return;
    free(event->name);
    free(event->detail);
    free(event->alias);
    free(event);
}

static int64_t wall_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What is to be told; takes detail over. */
static libvirt_event *new_event(virDomainPtr domain, vmctl_event_kind kind, char *detail) {
    libvirt_event *event = vmc_alloc(sizeof *event);
    event->kind = kind;
    event->time_ms = wall_ms();
    event->detail = detail;
    if (domain) {
        event->name = vmc_strdup(virDomainGetName(domain));
        virDomainGetUUIDString(domain, event->uuid);
    }
    return event;
}

static void push_event(libvirt_listener *l, libvirt_event *event) {
    pthread_mutex_lock(&l->mutex);
    *l->last = event;
    l->last = &event->next;
    eventfd_write(l->fd, 1);
    pthread_mutex_unlock(&l->mutex);
}

static void push(libvirt_listener *l, virDomainPtr domain, vmctl_event_kind kind, vmctl_state state, char *detail) {
    libvirt_event *event = new_event(domain, kind, detail);
    event->state = state;
    push_event(l, event);
}

libvirt_event *libvirt_listener_next(libvirt_listener *l) {
    pthread_mutex_lock(&l->mutex);
    libvirt_event *event = l->first;
    if (event) {
        l->first = event->next;
        event->next = NULL;
    }
    if (!l->first) {
        l->last = &l->first;
        eventfd_t count;
        eventfd_read(l->fd, &count);
    }
    pthread_mutex_unlock(&l->mutex);
    return event;
}

int libvirt_listener_fd(const libvirt_listener *l) {
    return l->fd;
}

libvirt_conn *libvirt_listener_conn(libvirt_listener *l) {
    return l->conn;
}

/* --- what libvirt calls ------------------------------------------------------------------------------------------ */

static const char *stopped_text(int detail) {
    static const char *const texts[] = {
        [VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN] = "shut off by the guest",
        [VIR_DOMAIN_EVENT_STOPPED_DESTROYED] = "powered off",
        [VIR_DOMAIN_EVENT_STOPPED_CRASHED] = "crashed",
        [VIR_DOMAIN_EVENT_STOPPED_MIGRATED] = "migrated to another host",
        [VIR_DOMAIN_EVENT_STOPPED_SAVED] = "saved",
        [VIR_DOMAIN_EVENT_STOPPED_FAILED] = "failed",
        [VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT] = "from a snapshot",
    };
    return detail >= 0 && (size_t)detail < sizeof texts / sizeof texts[0] ? texts[detail] : NULL;
}

static const char *suspended_text(int detail) {
    static const char *const texts[] = {
        [VIR_DOMAIN_EVENT_SUSPENDED_PAUSED] = "on request",
        [VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED] = "for migration",
        [VIR_DOMAIN_EVENT_SUSPENDED_IOERROR] = "disk I/O error",
        [VIR_DOMAIN_EVENT_SUSPENDED_WATCHDOG] = "watchdog",
        [VIR_DOMAIN_EVENT_SUSPENDED_RESTORED] = "restored from its saved memory",
        [VIR_DOMAIN_EVENT_SUSPENDED_FROM_SNAPSHOT] = "from a snapshot",
        [VIR_DOMAIN_EVENT_SUSPENDED_API_ERROR] = "after an error of libvirt",
        [VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY] = "in post-copy migration",
        [VIR_DOMAIN_EVENT_SUSPENDED_POSTCOPY_FAILED] = "post-copy migration failed",
    };
    return detail >= 0 && (size_t)detail < sizeof texts / sizeof texts[0] ? texts[detail] : NULL;
}

static const char *started_text(int detail) {
    static const char *const texts[] = {
        [VIR_DOMAIN_EVENT_STARTED_BOOTED] = "booted",
        [VIR_DOMAIN_EVENT_STARTED_MIGRATED] = "migrated",
        [VIR_DOMAIN_EVENT_STARTED_RESTORED] = "restored from its saved memory",
        [VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT] = "from a snapshot",
        [VIR_DOMAIN_EVENT_STARTED_WAKEUP] = "woken up",
    };
    return detail >= 0 && (size_t)detail < sizeof texts / sizeof texts[0] ? texts[detail] : NULL;
}

static vmctl_state stopped_state(int detail) {
    if (detail == VIR_DOMAIN_EVENT_STOPPED_SAVED)
        return VMCTL_STATE_SAVED;
    return detail == VIR_DOMAIN_EVENT_STOPPED_CRASHED ? VMCTL_STATE_CRASHED : VMCTL_STATE_STOPPED;
}

static int on_lifecycle(virConnectPtr virt, virDomainPtr domain, int event, int detail, void *opaque) {
    (void)virt;
    vmctl_event_kind kind = VMCTL_EVENT_STATE;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    const char *text = NULL;
    switch (event) {
    case VIR_DOMAIN_EVENT_DEFINED:
        kind = VMCTL_EVENT_DEFINED;
        text = detail == VIR_DOMAIN_EVENT_DEFINED_ADDED     ? "added"
               : detail == VIR_DOMAIN_EVENT_DEFINED_RENAMED ? "renamed"
                                                            : "changed";
        break;
    case VIR_DOMAIN_EVENT_UNDEFINED:
        if (detail == VIR_DOMAIN_EVENT_UNDEFINED_RENAMED)
            return 0; /* it is still there: "defined, renamed" follows */
        kind = VMCTL_EVENT_DELETED;
        text = "removed";
        break;
    case VIR_DOMAIN_EVENT_STARTED:
        state = VMCTL_STATE_RUNNING;
        text = started_text(detail);
        break;
    case VIR_DOMAIN_EVENT_RESUMED:
        state = VMCTL_STATE_RUNNING;
        text = "resumed";
        break;
    case VIR_DOMAIN_EVENT_SUSPENDED:
        state = VMCTL_STATE_PAUSED;
        text = suspended_text(detail);
        break;
    case VIR_DOMAIN_EVENT_PMSUSPENDED:
        state = VMCTL_STATE_PAUSED;
        text = "put to sleep by the guest";
        break;
    case VIR_DOMAIN_EVENT_SHUTDOWN:
        state = VMCTL_STATE_STOPPING;
        text = detail == VIR_DOMAIN_EVENT_SHUTDOWN_GUEST ? "by the guest" : NULL;
        break;
    case VIR_DOMAIN_EVENT_STOPPED:
        state = stopped_state(detail);
        text = stopped_text(detail);
        break;
    case VIR_DOMAIN_EVENT_CRASHED:
        state = VMCTL_STATE_CRASHED;
        text = "the guest panicked";
        break;
    default:
        kind = VMCTL_EVENT_OTHER;
        text = "an event that this version does not know";
    }
    push(opaque, domain, kind, state, vmc_strdup(text));
    return 0;
}

static void on_reboot(virConnectPtr virt, virDomainPtr domain, void *opaque) {
    (void)virt;
    push(opaque, domain, VMCTL_EVENT_OTHER, VMCTL_STATE_UNKNOWN, vmc_strdup("the guest rebooted"));
}

static void on_watchdog(virConnectPtr virt, virDomainPtr domain, int action, void *opaque) {
    (void)virt, (void)action;
    push(opaque, domain, VMCTL_EVENT_OTHER, VMCTL_STATE_UNKNOWN, vmc_strdup("the watchdog fired"));
}

static void on_io_error(virConnectPtr virt, virDomainPtr domain, const char *path, const char *alias, int action,
                        const char *reason, void *opaque) {
    (void)virt, (void)action;
    push(opaque, domain, VMCTL_EVENT_OTHER, VMCTL_STATE_UNKNOWN,
         vmc_printf("disk I/O error: %s%s%s", path && *path ? path : alias, reason && *reason ? ": " : "",
                    reason ? reason : ""));
}

/* vmctl's own devices are called ua-NAME. */
static const char *device_name(const char *alias) {
    return vmc_starts_with(alias, "ua-") ? alias + 3 : alias;
}

static void on_device_added(virConnectPtr virt, virDomainPtr domain, const char *alias, void *opaque) {
    (void)virt;
    libvirt_event *event = new_event(domain, VMCTL_EVENT_DEVICE, vmc_printf("%s added", device_name(alias)));
    event->alias = vmc_strdup(alias);
    push_event(opaque, event);
}

static void on_device_removed(virConnectPtr virt, virDomainPtr domain, const char *alias, void *opaque) {
    (void)virt;
    libvirt_event *event = new_event(domain, VMCTL_EVENT_DEVICE, vmc_printf("%s removed", device_name(alias)));
    event->alias = vmc_strdup(alias);
    event->removed = true;
    push_event(opaque, event);
}

static void on_removal_failed(virConnectPtr virt, virDomainPtr domain, const char *alias, void *opaque) {
    (void)virt;
    libvirt_event *event =
        new_event(domain, VMCTL_EVENT_DEVICE, vmc_printf("%s stays: the guest refused", device_name(alias)));
    event->alias = vmc_strdup(alias);
    event->refused = true;
    push_event(opaque, event);
}

static void on_tray(virConnectPtr virt, virDomainPtr domain, const char *alias, int reason, void *opaque) {
    (void)virt;
    bool opened = reason == VIR_DOMAIN_EVENT_TRAY_CHANGE_OPEN;
    libvirt_event *event = new_event(domain, VMCTL_EVENT_DEVICE,
                                     vmc_printf("%s tray %s", device_name(alias), opened ? "opened" : "closed"));
    event->alias = vmc_strdup(alias);
    push_event(opaque, event);
}

/* Title, description, or an application's own, such as vmctl's labels. */
static void on_metadata(virConnectPtr virt, virDomainPtr domain, int type, const char *uri, void *opaque) {
    (void)virt, (void)type, (void)uri;
    push(opaque, domain, VMCTL_EVENT_DEFINED, VMCTL_STATE_UNKNOWN, vmc_strdup("changed"));
}

static void on_balloon(virConnectPtr virt, virDomainPtr domain, unsigned long long actual, void *opaque) {
    (void)virt;
    libvirt_event *event = new_event(domain, VMCTL_EVENT_OTHER, vmc_printf("the guest has %llu MiB", actual / 1024));
    event->number = actual;
    push_event(opaque, event);
}

static void on_agent(virConnectPtr virt, virDomainPtr domain, int state, int reason, void *opaque) {
    (void)virt, (void)reason;
    bool up = state == VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_CONNECTED;
    push(opaque, domain, VMCTL_EVENT_AGENT, VMCTL_STATE_UNKNOWN, vmc_strdup(up ? "connected" : "disconnected"));
}

static const char *job_text(int operation) {
    static const char *const texts[] = {
        [VIR_DOMAIN_JOB_OPERATION_START] = "start",
        [VIR_DOMAIN_JOB_OPERATION_SAVE] = "save",
        [VIR_DOMAIN_JOB_OPERATION_RESTORE] = "restore",
        [VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN] = "migration from another host",
        [VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT] = "migration to another host",
        [VIR_DOMAIN_JOB_OPERATION_SNAPSHOT] = "snapshot",
        [VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_REVERT] = "revert to a snapshot",
        [VIR_DOMAIN_JOB_OPERATION_DUMP] = "memory dump",
        [VIR_DOMAIN_JOB_OPERATION_BACKUP] = "backup",
        [VIR_DOMAIN_JOB_OPERATION_SNAPSHOT_DELETE] = "deletion of a snapshot",
    };
    const char *text = operation >= 0 && (size_t)operation < sizeof texts / sizeof texts[0] ? texts[operation] : NULL;
    return text ? text : "job";
}

static void on_job(virConnectPtr virt, virDomainPtr domain, virTypedParameterPtr params, int count, void *opaque) {
    (void)virt;
    int operation = -1, success = 1;
    const char *why = NULL;
    virTypedParamsGetInt(params, count, VIR_DOMAIN_JOB_OPERATION, &operation);
    virTypedParamsGetBoolean(params, count, VIR_DOMAIN_JOB_SUCCESS, &success);
    virTypedParamsGetString(params, count, VIR_DOMAIN_JOB_ERRMSG, &why);
    push(opaque, domain, VMCTL_EVENT_JOB, VMCTL_STATE_UNKNOWN,
         vmc_printf("%s: %s%s%s", job_text(operation), success ? "completed" : "failed", why ? ": " : "",
                    why ? why : ""));
}

static void on_block_job(virConnectPtr virt, virDomainPtr domain, const char *disk, int type, int status,
                         void *opaque) {
    (void)virt, (void)type;
    static const char *const texts[] = {
        [VIR_DOMAIN_BLOCK_JOB_COMPLETED] = "completed",
        [VIR_DOMAIN_BLOCK_JOB_FAILED] = "failed",
        [VIR_DOMAIN_BLOCK_JOB_CANCELED] = "cancelled",
        [VIR_DOMAIN_BLOCK_JOB_READY] = "ready",
    };
    bool known = status >= 0 && (size_t)status < sizeof texts / sizeof texts[0];
    push(opaque, domain, VMCTL_EVENT_JOB, VMCTL_STATE_UNKNOWN,
         vmc_printf("%s: %s", disk, known ? texts[status] : "in another state"));
}

static void on_close(virConnectPtr virt, int reason, void *opaque) {
    (void)virt;
    if (reason != VIR_CONNECT_CLOSE_REASON_CLIENT)
        push(opaque, NULL, VMCTL_EVENT_TICK, VMCTL_STATE_UNKNOWN, NULL);
}

/* --- registering --------------------------------------------------------------------------------------------------- */

typedef struct register_args {
    libvirt_listener *listener;
    libvirt_listen what;
} register_args;

static void register_drop(void *opaque) {
    register_args *args = opaque;
    listener_unref(args->listener);
    free(args);
}

static int subscribe(libvirt_listener *l, int id, virConnectDomainEventGenericCallback callback) {
    __atomic_add_fetch(&l->references, 1, __ATOMIC_ACQ_REL);
    int number = virConnectDomainEventRegisterAny(l->conn->virt, NULL, id, callback, l, listener_unref);
    if (number < 0)
        listener_unref(l);
    else if (l->callback_count < CALLBACKS)
        l->callbacks[l->callback_count++] = number;
    return number;
}

static int register_work(void *opaque) {
    static const struct {
        virConnectDomainEventGenericCallback callback;
        int id;
        bool all, guest; /* of LIBVIRT_LISTEN_ALL, of LIBVIRT_LISTEN_GUEST */
    } others[] = {
        {VIR_DOMAIN_EVENT_CALLBACK(on_reboot), VIR_DOMAIN_EVENT_ID_REBOOT, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_watchdog), VIR_DOMAIN_EVENT_ID_WATCHDOG, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_io_error), VIR_DOMAIN_EVENT_ID_IO_ERROR_REASON, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_device_added), VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_device_removed), VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, true, true},
        {VIR_DOMAIN_EVENT_CALLBACK(on_removal_failed), VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, true, true},
        {VIR_DOMAIN_EVENT_CALLBACK(on_tray), VIR_DOMAIN_EVENT_ID_TRAY_CHANGE, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_metadata), VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_balloon), VIR_DOMAIN_EVENT_ID_BALLOON_CHANGE, false, true},
        {VIR_DOMAIN_EVENT_CALLBACK(on_agent), VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_job), VIR_DOMAIN_EVENT_ID_JOB_COMPLETED, true, false},
        {VIR_DOMAIN_EVENT_CALLBACK(on_block_job), VIR_DOMAIN_EVENT_ID_BLOCK_JOB_2, true, false},
    };
    register_args *args = opaque;
    libvirt_listener *l = args->listener;
    if (subscribe(l, VIR_DOMAIN_EVENT_ID_LIFECYCLE, VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle)) < 0)
        return -1;
    /* Without a function that frees: drivers that know no such callback say yes and forget it. None runs after it is unregistered. */
    l->close_callback = virConnectRegisterCloseCallback(l->conn->virt, on_close, l, NULL) == 0;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if ((args->what == LIBVIRT_LISTEN_ALL && others[i].all) ||
            (args->what == LIBVIRT_LISTEN_GUEST && others[i].guest))
            subscribe(l, others[i].id, others[i].callback); /* a driver without one of them has only the rest */
    virResetLastError();
    return 0;
}

int libvirt_listener_open(const libvirt_conn *conn, libvirt_listen what, const vmc_deadline *deadline,
                          libvirt_listener **out, vmctl_error **err) {
    libvirt_conn *own = NULL;
    int code = libvirt_conn_sibling(conn, true, deadline, &own, err);
    if (code < 0)
        return code;
    libvirt_listener *l = vmc_alloc(sizeof *l);
    pthread_mutex_init(&l->mutex, NULL);
    l->references = 1;
    l->conn = own;
    l->last = &l->first;
    l->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    register_args *args = vmc_alloc(sizeof *args);
    args->listener = l;
    args->what = what;
    __atomic_add_fetch(&l->references, 1, __ATOMIC_ACQ_REL);
    code = libvirt_call(own, deadline, "registering for events", register_work, args, register_drop, err);
    if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        register_drop(args);
    if (code < 0) {
        libvirt_listener_close(l);
        return code;
    }
    *out = l;
    return 0;
}

/* Each callback holds a reference to the connection, which would stay open for ever. */
static int unregister_work(void *opaque) {
    register_args *args = opaque;
    libvirt_listener *l = args->listener;
    for (int i = 0; i < l->callback_count; i++)
        virConnectDomainEventDeregisterAny(l->conn->virt, l->callbacks[i]);
    if (l->close_callback)
        virConnectUnregisterCloseCallback(l->conn->virt, on_close);
    return 0;
}

static int unregister_later(void *opaque) {
    unregister_work(opaque);
    register_drop(opaque);
    return 0;
}

void libvirt_listener_close(libvirt_listener *l) {
    if (!l)
        return;
    vmctl_call call = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&call, CLOSE_MS);
    register_args *args = vmc_alloc(sizeof *args);
    args->listener = l;
    __atomic_add_fetch(&l->references, 1, __ATOMIC_ACQ_REL);
    int code = libvirt_call(l->conn, &deadline, "ending the events", unregister_work, args, register_drop, NULL);
    if (code == VMCTL_E_UNAVAILABLE) /* an earlier call was given up: once that has returned */
        libvirt_conn_release(l->conn, unregister_later, args);
    else if (code != VMCTL_E_TIMEOUT && code != VMCTL_E_CANCELLED)
        register_drop(args);
    libvirt_conn_free(l->conn);
    listener_unref(l);
}
