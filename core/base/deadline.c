#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct vmctl_cancel {
    atomic_bool triggered;
    int fd;
};

vmctl_cancel *vmctl_cancel_new(void) {
    vmctl_cancel *cancel = calloc(1, sizeof *cancel);
    if (!cancel)
        return NULL;
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd < 0) {
        free(cancel);
        return NULL;
    }
    return cancel;
}

void vmctl_cancel_free(vmctl_cancel *cancel) {
    if (!cancel)
        return;
    close(cancel->fd);
    free(cancel);
}

void vmctl_cancel_trigger(vmctl_cancel *cancel) {
    if (!cancel)
        return;
    int kept = errno; /* for the code that a signal interrupted */
    atomic_store(&cancel->triggered, true);
    uint64_t one = 1;
    ssize_t written = write(cancel->fd, &one, sizeof one); /* fails only when it is readable already */
    (void)written;
    errno = kept;
}

bool vmctl_cancel_triggered(const vmctl_cancel *cancel) {
    return cancel && atomic_load(&cancel->triggered);
}

int vmctl_cancel_fd(const vmctl_cancel *cancel) {
    return cancel ? cancel->fd : -1;
}

int64_t vmc_now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int64_t from_now(int64_t ms) {
    int64_t at;
    return __builtin_add_overflow(vmc_now_ms(), ms, &at) ? INT64_MAX : at;
}

vmc_deadline vmc_deadline_start(const vmctl_call *call, int64_t default_ms) {
    int64_t timeout = call && call->timeout_ms != 0 ? call->timeout_ms : default_ms;
    return (vmc_deadline){
        .at_ms = timeout < 0 ? -1 : from_now(timeout),
        .cancel = call ? call->cancel : NULL,
        .call = call,
    };
}

vmc_deadline vmc_deadline_within(const vmc_deadline *deadline, int64_t ms) {
    vmc_deadline step = *deadline;
    int64_t at = from_now(ms);
    if (step.at_ms < 0 || at < step.at_ms)
        step.at_ms = at;
    return step;
}

vmctl_call vmc_deadline_call(const vmc_deadline *deadline) {
    vmctl_call call = VMCTL_CALL_INIT;
    if (deadline->call) {
        call.progress = deadline->call->progress;
        call.note = deadline->call->note;
        call.user = deadline->call->user;
    }
    call.cancel = deadline->cancel;
    call.timeout_ms = -1;
    if (deadline->at_ms >= 0) {
        int64_t left = deadline->at_ms - vmc_now_ms();
        call.timeout_ms = left > 0 ? left : 1; /* 0 would mean the nested call's own default */
    }
    return call;
}

int vmc_deadline_left(const vmc_deadline *deadline) {
    if (deadline->at_ms < 0)
        return -1;
    int64_t left = deadline->at_ms - vmc_now_ms();
    if (left <= 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}

int vmc_deadline_check(const vmc_deadline *deadline, const char *doing, vmctl_error **err) {
    if (vmctl_cancel_triggered(deadline->cancel))
        return vmc_error(err, VMCTL_E_CANCELLED, "cancelled %s", doing);
    if (vmc_deadline_left(deadline) == 0) {
        vmc_error(err, VMCTL_E_TIMEOUT, "timed out %s", doing);
        vmc_error_retryable(err);
        return VMCTL_E_TIMEOUT;
    }
    return 0;
}

int vmc_deadline_poll(const vmc_deadline *deadline, int fd, short events, int slice_ms, const char *doing,
                      vmctl_error **err) {
    int64_t slice_end = slice_ms >= 0 ? from_now(slice_ms) : -1;
    for (;;) {
        int wait = vmc_deadline_left(deadline);
        if (slice_end >= 0) {
            int64_t slice = slice_end - vmc_now_ms();
            if (slice < 0)
                slice = 0;
            if (wait < 0 || slice < wait)
                wait = (int)slice;
        }
        /* poll ignores negative descriptors. */
        struct pollfd fds[2] = {{.fd = fd, .events = events},
                                {.fd = vmctl_cancel_fd(deadline->cancel), .events = POLLIN}};
        int ready = poll(fds, 2, wait);
        if (ready < 0 && errno != EINTR)
            return vmc_error_errno(err, errno, "cannot wait while %s", doing);
        if (vmctl_cancel_triggered(deadline->cancel))
            return vmc_deadline_check(deadline, doing, err);
        if (ready > 0 && fds[0].revents)
            return 1;
        int rc = vmc_deadline_check(deadline, doing, err);
        if (rc < 0)
            return rc;
        if (slice_end >= 0 && vmc_now_ms() >= slice_end)
            return 0;
    }
}

int vmc_progress(const vmc_deadline *deadline, const char *vm, const char *stage, const char *device, vmctl_unit unit,
                 uint64_t done, uint64_t total, vmctl_error **err) {
    const vmctl_call *call = deadline->call;
    if (!call || !call->progress)
        return 0;
    vmctl_progress progress = {sizeof progress, vm, stage, device, unit, done, total, 0, 0, 0};
    if (call->progress(&progress, call->user) != 0)
        return vmc_error(err, VMCTL_E_CANCELLED, "cancelled %s", stage ? stage : "");
    return 0;
}

void vmc_note(const vmc_deadline *deadline, vmctl_note_level level, const char *format, ...) {
    const vmctl_call *call = deadline ? deadline->call : NULL;
    if (!call || !call->note)
        return;
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *text = vmc_vprintf(format, args);
    va_end(args);
    call->note(level, text, call->user);
}
