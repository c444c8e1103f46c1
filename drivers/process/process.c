/* drivers/process/process.c - waits for a program: its output, its end, the deadline. */
#include "drivers/process/process.h"
#include "base/file.h"
#include "base/log.h"
#include "drivers/process/spawn.h"
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DEFAULT_LIMIT = 1 << 20, DEFAULT_GRACE_MS = 2000, LONGEST_LINE = 1 << 16, NO_PIDFD_SLICE_MS = 20 };

/* One of the program's two streams on its way to the caller. */
typedef struct stream {
    int fd; /* -1: at its end */
    process_bytes_fn fn;
    void *user;
    bool lines;
    size_t limit;
    vmc_str text;      /* captured; with `lines` the line that is not complete */
    bool after_return; /* the last line ended with a carriage return */
    bool truncated;
} stream;

static void end_stream(stream *s) {
    vmc_close_ptr(&s->fd);
    s->fd = -1;
}

static int give_line(stream *s) {
    char empty[] = "";
    int rc = s->fn(s->text.text ? s->text.text : empty, s->text.length, s->user);
    s->text.length = 0;
    if (s->text.text)
        s->text.text[0] = '\0';
    return rc;
}

static int take_lines(stream *s, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        char c = bytes[i];
        bool ends = c == '\n' || c == '\r';
        bool second_half = c == '\n' && s->after_return;
        s->after_return = c == '\r';
        if (second_half)
            continue;
        if (!ends)
            vmc_str_add_char(&s->text, c);
        if (ends || s->text.length >= LONGEST_LINE) {
            int rc = give_line(s);
            if (rc != 0)
                return rc;
        }
    }
    return 0;
}

static int take(stream *s, char *bytes, size_t length) {
    if (s->fn && s->lines)
        return take_lines(s, bytes, length);
    if (s->fn) {
        bytes[length] = '\0';
        return s->fn(bytes, length, s->user);
    }
    size_t room = s->limit - s->text.length;
    if (length > room)
        s->truncated = true;
    vmc_str_add_n(&s->text, bytes, length < room ? length : room);
    return 0;
}

/* Reads what is there. 0, or what the callback returned. */
static int drain(stream *s) {
    char bytes[16385];
    while (s->fd >= 0) {
        ssize_t n = read(s->fd, bytes, sizeof bytes - 1);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n <= 0) {
            end_stream(s);
            return 0;
        }
        int rc = take(s, bytes, (size_t)n);
        if (rc != 0)
            return rc;
    }
    return 0;
}

/* A last line without an end. */
static int finish_stream(stream *s) {
    return s->fn && s->lines && s->text.length > 0 ? give_line(s) : 0;
}

/* 1: it ended and is reaped. */
static int reap(const process_child *child, int flags, siginfo_t *info) {
    memset(info, 0, sizeof *info);
    for (;;) {
        if (waitid(P_PID, (id_t)child->pid, info, WEXITED | flags) == 0)
            return info->si_pid != 0;
        if (errno != EINTR)
            return -1;
    }
}

static void kill_child(const process_child *child, bool group, int number) {
    if (!group || kill(-child->pid, number) != 0)
        (void)kill(child->pid, number);
}

/* The signal, the grace, SIGKILL; never returns before it is reaped. */
static void end_child(const process_child *child, bool group, int number, int64_t grace_ms) {
    siginfo_t info;
    kill_child(child, group, number);
    int64_t until = vmc_now_ms() + grace_ms;
    for (;;) {
        if (reap(child, WNOHANG, &info) != 0)
            return;
        int64_t left = until - vmc_now_ms();
        if (left <= 0)
            break;
        struct pollfd wait = {child->pidfd, POLLIN, 0};
        int slice = child->pidfd < 0 && left > NO_PIDFD_SLICE_MS ? NO_PIDFD_SLICE_MS : (int)left;
        (void)poll(&wait, 1, slice);
    }
    kill_child(child, group, SIGKILL);
    (void)reap(child, 0, &info);
}

static void close_child(process_child *child) {
    vmc_close_ptr(&child->pidfd);
    vmc_close_ptr(&child->held);
}

typedef struct run {
    const process_options *options;
    const vmc_deadline *deadline;
    const char *doing;
    process_child child;
    stream output, error;
    siginfo_t info;
} run;

/* 1: ended, 0: goes on, negative: deadline, cancel or a callback's code; 2: a callback has seen enough. */
static int wait_step(run *r, vmctl_error **err) {
    int rc = vmc_deadline_check(r->deadline, r->doing, err);
    if (rc < 0)
        return rc;
    int left = vmc_deadline_left(r->deadline);
    struct pollfd fds[4] = {
        {r->child.pidfd, POLLIN, 0},
        {r->output.fd, POLLIN, 0},
        {r->error.fd, POLLIN, 0},
        {r->deadline && r->deadline->cancel ? vmctl_cancel_fd(r->deadline->cancel) : -1, POLLIN, 0}};
    if (r->child.pidfd < 0 && (left < 0 || left > NO_PIDFD_SLICE_MS))
        left = NO_PIDFD_SLICE_MS;
    if (poll(fds, 4, left) < 0 && errno != EINTR)
        return vmc_error_errno(err, errno, "cannot wait for %s", r->options->argv[0]);
    /* Ended before it is read: what it wrote is then complete in the pipe. */
    int ended = reap(&r->child, WNOHANG, &r->info);
    if (ended < 0)
        return vmc_error(err, VMCTL_E_INTERNAL, "the end of %s was taken by another part of the program",
                         r->options->argv[0]);
    rc = drain(&r->output);
    if (rc == 0)
        rc = drain(&r->error);
    if (rc == 0 && ended)
        rc = finish_stream(&r->output);
    if (rc == 0 && ended)
        rc = finish_stream(&r->error);
    if (rc != 0 && ended)
        r->child.pid = -1;
    return rc < 0 ? rc : rc > 0 ? 2 : ended;
}

static void take_result(run *r, process_result *result) {
    result->output_length = r->output.fn ? 0 : r->output.text.length;
    result->error_length = r->error.fn ? 0 : r->error.text.length;
    result->output = r->output.fn ? vmc_strdup("") : vmc_str_take(&r->output.text);
    result->error = r->error.fn ? vmc_strdup("") : vmc_str_take(&r->error.text);
    result->truncated = r->output.truncated || r->error.truncated;
    bool exited = r->info.si_code == CLD_EXITED;
    result->signal = exited || r->info.si_pid == 0 ? 0 : r->info.si_status;
    result->status = result->signal ? 128 + result->signal : r->info.si_status;
}

int process_run(const process_options *options, const vmc_deadline *deadline, process_result *result,
                vmctl_error **err) {
    *result = (process_result){0};
    VMC_AUTO_FREE char *doing =
        options->doing ? vmc_strdup(options->doing) : vmc_printf("running %s", vmc_path_basename(options->argv[0]));
    int rc = vmc_deadline_check(deadline, doing, err);
    if (rc < 0)
        return rc;
    run r = {.options = options, .deadline = deadline, .doing = doing};
    rc = process_spawn(options, &r.child, err);
    if (rc < 0)
        return rc;
    vmc_log("process", "%s: pid %ld", options->argv[0], (long)r.child.pid);
    size_t limit = options->limit ? options->limit : DEFAULT_LIMIT;
    process_bytes_fn error_fn = options->error;
    r.output = (stream){
        .fd = r.child.output, .fn = options->output, .user = options->user, .lines = options->lines, .limit = limit};
    r.error =
        (stream){.fd = r.child.error, .fn = error_fn, .user = options->user, .lines = options->lines, .limit = limit};
    do
        rc = wait_step(&r, err);
    while (rc == 0);
    end_stream(&r.output);
    end_stream(&r.error);
    bool stopped = rc != 1;
    if (stopped && r.child.pid > 0)
        end_child(&r.child, !options->inherit_input, options->end_signal ? options->end_signal : SIGTERM,
                  options->grace_ms ? options->grace_ms : DEFAULT_GRACE_MS);
    close_child(&r.child);
    take_result(&r, result);
    vmc_str_free(&r.output.text);
    vmc_str_free(&r.error.text);
    if (rc < 0) {
        free(result->output);
        *result = (process_result){.error = result->error, .error_length = result->error_length};
        return rc;
    }
    return 0;
}

/* The last line with something in it; free. */
static char *last_line(const char *text) {
    if (!text)
        return vmc_strdup("");
    size_t end = strlen(text);
    while (end > 0 && strchr(" \t\r\n.", text[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && text[start - 1] != '\n' && text[start - 1] != '\r')
        start--;
    return vmc_strndup(text + start, end - start);
}

int process_failed(const process_options *options, const process_result *result, vmctl_error **err) {
    const char *name = vmc_path_basename(options->argv[0]);
    VMC_AUTO_FREE char *words = last_line(options->merge ? result->output : result->error);
    int code = strstr(words, "No space left on device") || strstr(words, "Disk quota exceeded")
                   ? VMCTL_E_RESOURCE_EXHAUSTED
               : strstr(words, "Permission denied") ? VMCTL_E_PERMISSION_DENIED
                                                    : VMCTL_E_INTERNAL;
    const char *between = *words ? ": " : "";
    if (result->signal)
        return vmc_error(err, code, "%s was ended by signal %d (%s)%s%s", name, result->signal,
                         strsignal(result->signal), between, words);
    return vmc_error(err, code, "%s failed (exit status %d)%s%s", name, result->status, between, words);
}

int process_run_ok(const process_options *options, const vmc_deadline *deadline, process_result *result,
                   vmctl_error **err) {
    PROCESS_AUTO_RESULT own = {0};
    process_result *out = result ? result : &own;
    int rc = process_run(options, deadline, out, err);
    if (rc < 0)
        return rc;
    return out->status == 0 ? 0 : process_failed(options, out, err);
}

void process_result_free(process_result *result) {
    if (!result)
        return;
    free(result->output);
    free(result->error);
    *result = (process_result){0};
}
