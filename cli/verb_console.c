/* vmctl console. */
#include "terminal.h"
#include "verbs.h"

#include <errno.h>
#include <poll.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ESCAPE = 0x1d /* ^] */, WINDOW = 16384, CHUNK = 65536 };

typedef struct session {
    cli *c;
    vmctl_stream *stream;
    const char *pattern; /* --until; NULL */
    regex_t regex;
    bool terminal;
    bool input_open;
    char pending[CHUNK]; /* typed, not yet taken by the stream */
    size_t pending_length;
    char window[WINDOW + 1]; /* the last output, for the pattern */
    size_t window_length;
    bool matched, escaped;
} session;

static void watch_for(session *s, const char *bytes, size_t length) {
    if (!s->pattern)
        return;
    if (length > WINDOW) {
        bytes += length - WINDOW;
        length = WINDOW;
    }
    if (s->window_length + length > WINDOW) {
        size_t drop = s->window_length + length - WINDOW;
        memmove(s->window, s->window + drop, s->window_length - drop);
        s->window_length -= drop;
    }
    for (size_t i = 0; i < length; i++)
        s->window[s->window_length++] = bytes[i] ? bytes[i] : ' ';
    s->window[s->window_length] = '\0';
    s->matched = regexec(&s->regex, s->window, 0, NULL, 0) == 0;
}

static bool write_all(const char *bytes, size_t length) {
    while (length) {
        ssize_t n = write(STDOUT_FILENO, bytes, length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes += n;
        length -= (size_t)n;
    }
    return true;
}

/* 1: go on, 0: the other side ended, -1: standard output failed (errno). */
static int take_output(session *s) {
    char bytes[CHUNK];
    /* the window that is searched holds several of the small ones */
    ssize_t n = read(vmctl_stream_fd(s->stream), bytes, s->pattern ? WINDOW / 4 : sizeof bytes);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 1 : 0;
    if (n == 0)
        return 0;
    if (!write_all(bytes, (size_t)n))
        return -1;
    watch_for(s, bytes, (size_t)n);
    return 1;
}

static void take_input(session *s) {
    ssize_t n = read(STDIN_FILENO, s->pending, sizeof s->pending);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        s->input_open = false;
        return;
    }
    s->pending_length = (size_t)n;
    const char *escape = s->terminal ? memchr(s->pending, ESCAPE, (size_t)n) : NULL;
    if (escape) {
        s->escaped = true;
        s->pending_length = (size_t)(escape - s->pending);
    }
}

static bool give_input(session *s) {
    ssize_t n = write(vmctl_stream_fd(s->stream), s->pending, s->pending_length);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    memmove(s->pending, s->pending + n, s->pending_length - (size_t)n);
    s->pending_length -= (size_t)n;
    return true;
}

static int time_left(const cli *c) {
    if (c->deadline_ms < 0)
        return -1;
    int64_t left = c->deadline_ms - cli_now_ms();
    return left <= 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
}

/* The code that ended it: OK (seen, escaped, or the VM's end), TIMEOUT, CANCELLED, INVALID_STATE (ended before the
 * pattern was seen), UNAVAILABLE (standard output failed). */
static int pump(session *s) {
    while (!s->matched && !s->escaped) {
        int left = time_left(s->c);
        if (left == 0)
            return s->pattern ? VMCTL_E_TIMEOUT : VMCTL_OK;
        struct pollfd fds[3] = {{vmctl_stream_fd(s->stream), (short)(POLLIN | (s->pending_length ? POLLOUT : 0)), 0},
                                {vmctl_cancel_fd(s->c->cancel), POLLIN, 0},
                                {s->input_open && !s->pending_length ? STDIN_FILENO : -1, POLLIN, 0}};
        if (poll(fds, 3, left) < 0 && errno != EINTR)
            return VMCTL_E_INTERNAL;
        if (vmctl_cancel_triggered(s->c->cancel))
            return VMCTL_E_CANCELLED;
        if (fds[0].revents & POLLOUT && !give_input(s))
            return s->pattern ? VMCTL_E_INVALID_STATE : VMCTL_OK;
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR)) {
            int rc = take_output(s);
            if (rc < 0)
                return VMCTL_E_UNAVAILABLE;
            if (rc == 0)
                return s->pattern ? VMCTL_E_INVALID_STATE : VMCTL_OK;
        }
        if (fds[2].revents)
            take_input(s);
    }
    return VMCTL_OK;
}

static int tell(session *s, int code, int why) {
    const char *name = s->c->args.operands[0];

    switch (code) {
    case VMCTL_E_TIMEOUT:
        return cli_fail(s->c, code, NULL, "\"%s\" did not appear on the console of %s in time", s->pattern, name);
    case VMCTL_E_INVALID_STATE:
        return cli_fail(s->c, code, "vmctl describe VM", "the console of %s ended before \"%s\" appeared", name,
                        s->pattern);
    case VMCTL_E_UNAVAILABLE:
        return why == EPIPE ? vmctl_code_exit_status(code)
                            : cli_fail(s->c, why == ENOSPC ? VMCTL_E_RESOURCE_EXHAUSTED : code, NULL,
                                       "cannot write to standard output: %s", strerror(why));
    default:
        return vmctl_code_exit_status(code);
    }
}

static int talk(session *s, vmctl_vm *vm) {
    vmctl_console_options options = VMCTL_CONSOLE_OPTIONS_INIT;
    vmctl_call call = cli_call(s->c);
    vmctl_error *err = NULL;

    options.call = &call;
    options.device = cli_text(&s->c->args, "device", NULL);
    options.force = cli_flag(&s->c->args, "force");
    if (vmctl_console_open(vm, &options, &s->stream, &err) < 0)
        return cli_report(s->c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    cli_progress_end();
    s->input_open = true;
    if (isatty(STDIN_FILENO))
        cli_note(s->c, VMCTL_NOTE_INFO, "the console is open; ^] leaves it");
    s->terminal = cli_terminal_raw();
    int code = pump(s);
    int why = errno;
    cli_terminal_restore();
    int rc = vmctl_stream_close(s->stream, &err);
    if (s->terminal && s->escaped)
        fputc('\n', stderr);
    if (rc < 0 && code != VMCTL_E_CANCELLED && !s->matched && !s->escaped)
        return cli_report(s->c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    vmctl_error_free(err);
    return tell(s, code, why);
}

static int console(cli *c) {
    CLI_AUTO_FREE session *s = cli_alloc(sizeof *s);
    int status = 0;

    s->c = c;
    s->pattern = cli_text(&c->args, "until", NULL);
    if (s->pattern) {
        int rc = regcomp(&s->regex, s->pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE);
        if (rc) {
            char why[128];
            regerror(rc, &s->regex, why, sizeof why);
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--until: \"%s\": %s", s->pattern, why);
        }
    }
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (vm)
        status = talk(s, vm);
    vmctl_vm_free(vm);
    if (s->pattern)
        regfree(&s->regex);
    return status;
}

static const cli_option options[] = {
    {"device", 0, CLI_TEXT, "NAME", "another serial device than the first"},
    {"force", 0, CLI_FLAG, NULL, "take the console over from whoever has it"},
    {"until", 0, CLI_TEXT, "REGEX", "end with status 0 once this extended regular expression was seen"},
    {NULL}};

const cli_verb cli_verb_console = {
    .name = "console",
    .group = "look",
    .operands = "VM",
    .summary = "the serial console; ^] leaves it",
    .help = "Without a terminal, standard input is sent and the console's output is written to standard output until\n"
            "the VM ends it, --until matches (a line's text; else status 6, or 8 after --timeout), or --timeout ends.\n"
            "\n"
            "  vmctl console web-1\n"
            "  vmctl console web-1 --until 'login:' --timeout 2m < /dev/null",
    .options = options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = console,
};
