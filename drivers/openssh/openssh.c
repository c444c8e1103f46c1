/* drivers/openssh/openssh.c - runs the client, and tells its own failures from those of the remote command. */
#include "drivers/openssh/openssh.h"
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { SSH_FAILED = 255, KEPT_WORDS = 8192, GREETING_LIMIT = 4096 };

/* The client's words on its own failures (OpenSSH ssh.c, sshconnect.c, sshconnect2.c, packet.c, clientloop.c). */
static const struct {
    const char *words;
    int code;
    bool retryable;
} meanings[] = {
    {"REMOTE HOST IDENTIFICATION HAS CHANGED", VMCTL_E_PERMISSION_DENIED, false},
    {"Host key verification failed", VMCTL_E_PERMISSION_DENIED, false},
    {"Permission denied (", VMCTL_E_UNAUTHENTICATED, false},
    {"Too many authentication failures", VMCTL_E_UNAUTHENTICATED, false},
    {"no such identity", VMCTL_E_UNAUTHENTICATED, false},
    {"Could not resolve hostname", VMCTL_E_UNAVAILABLE, false},
    {"Connection refused", VMCTL_E_UNAVAILABLE, true},
    {"Connection timed out", VMCTL_E_UNAVAILABLE, true},
    {"Operation timed out", VMCTL_E_UNAVAILABLE, true},
    {"No route to host", VMCTL_E_UNAVAILABLE, true},
    {"Network is unreachable", VMCTL_E_UNAVAILABLE, true},
    {"Connection closed", VMCTL_E_UNAVAILABLE, true},
    {"Connection reset", VMCTL_E_UNAVAILABLE, true},
    {"closed by remote host", VMCTL_E_UNAVAILABLE, true},
    {"lost connection", VMCTL_E_UNAVAILABLE, true},
    {"Broken pipe", VMCTL_E_UNAVAILABLE, true},
    {"not responding", VMCTL_E_UNAVAILABLE, true},
    {"banner exchange", VMCTL_E_UNAVAILABLE, true},
    {"kex_exchange_identification", VMCTL_E_UNAVAILABLE, true},
    {"Unable to negotiate", VMCTL_E_UNSUPPORTED, false},
    {"Bad configuration option", VMCTL_E_INVALID_ARGUMENT, false},
    {"Bad owner or permissions", VMCTL_E_INVALID_ARGUMENT, false},
};

/* What the last line with something in it says. */
static char *last_line(const char *text) {
    size_t end = strlen(text);
    while (end > 0 && strchr(" \t\r\n.", text[end - 1]))
        end--;
    size_t start = end;
    while (start > 0 && !strchr("\r\n", text[start - 1]))
        start--;
    return vmc_strndup(text + start, end - start);
}

/* 0: these are no words of the client's. */
static int own_failure(const openssh_target *target, const char *words, vmctl_error **err) {
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (!strstr(words, meanings[i].words))
            continue;
        VMC_AUTO_FREE char *line = last_line(words);
        int code = meanings[i].code;
        vmc_error(err, code, "ssh to %s failed: %s", target->host, line);
        if (meanings[i].retryable)
            vmc_error_retryable(err);
        if (code == VMCTL_E_PERMISSION_DENIED && target->known_hosts)
            vmc_error_next(err, "if the VM was made anew, remove %s", target->known_hosts);
        else if (code == VMCTL_E_UNAUTHENTICATED)
            vmc_error_next(err, "give the user's key (an identity file), or add yours to the VM's authorized keys");
        return code;
    }
    return 0;
}

/* Stands between the client's streams and the caller's callbacks, and keeps the end of stderr. */
typedef struct tap {
    process_bytes_fn output, error;
    void *user;
    bool lines;
    vmc_str words;
} tap;

static int tap_output(const char *bytes, size_t length, void *user) {
    const tap *t = user;
    return t->output(bytes, length, t->user);
}

static int tap_error(const char *bytes, size_t length, void *user) {
    tap *t = user;
    if (t->words.length + length > KEPT_WORDS)
        t->words.length = 0;
    vmc_str_add_n(&t->words, bytes, length);
    if (t->lines)
        vmc_str_add_char(&t->words, '\n');
    return t->error(bytes, length, t->user);
}

int openssh_run(const openssh_target *target, const char *const *words, const process_options *io,
                const vmc_deadline *deadline, process_result *result, vmctl_error **err) {
    *result = (process_result){0};
    VMC_AUTO_STRV argv = {0};
    int rc = openssh_argv(target, words, false, &argv, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *doing = vmc_printf("running a command on %s", target->host);
    process_options options = io ? *io : (process_options){0};
    tap t = {options.output, options.error, options.user, options.lines, {0}};
    options.argv = (const char *const *)argv.items;
    options.package = "openssh-client";
    options.output = t.output ? tap_output : NULL;
    options.error = t.error ? tap_error : NULL;
    options.user = &t;
    if (!options.doing)
        options.doing = doing;
    rc = process_run(&options, deadline, result, err);
    if (rc == 0 && result->status == SSH_FAILED) {
        rc = own_failure(target, t.error ? (t.words.text ? t.words.text : "") : result->error, err);
        if (rc < 0)
            process_result_free(result);
    }
    vmc_str_free(&t.words);
    return rc;
}

int openssh_copy(const openssh_target *target, bool to_guest, const char *local, const char *guest, bool recursive,
                 const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    int rc = openssh_copy_argv(target, to_guest, local, guest, recursive, &argv, err);
    if (rc < 0)
        return rc;
    VMC_AUTO_FREE char *doing = vmc_printf("copying %s", to_guest ? local : guest);
    process_options options = {.argv = (const char *const *)argv.items, .package = "openssh-client", .doing = doing};
    PROCESS_AUTO_RESULT result = {0};
    rc = process_run(&options, deadline, &result, err);
    if (rc < 0 || result.status == 0)
        return rc;
    rc = own_failure(target, result.error, err);
    if (rc < 0)
        return rc;
    int code =
        strstr(result.error, "No such file or directory") ? VMCTL_E_NOT_FOUND : process_failed(&options, &result, NULL);
    VMC_AUTO_FREE char *line = last_line(result.error);
    return vmc_error(err, code, "cannot copy %s: %s", to_guest ? local : guest, line);
}

/* 1: connected. */
static int connect_within(int fd, const struct addrinfo *address, int slice_ms, const vmc_deadline *deadline,
                          vmctl_error **err) {
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return 1;
    if (errno != EINPROGRESS)
        return 0;
    int rc = vmc_deadline_poll(deadline, fd, POLLOUT, slice_ms, "waiting for SSH", err);
    if (rc <= 0)
        return rc;
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0;
}

/* A server may send other lines before its own (RFC 4253, 4.2). */
static int read_greeting(int fd, int64_t until, const vmc_deadline *deadline, vmctl_error **err) {
    char text[GREETING_LIMIT + 1] = {'\n'};
    size_t length = 1;
    while (length < GREETING_LIMIT) {
        int64_t left = until - vmc_now_ms();
        int rc = vmc_deadline_poll(deadline, fd, POLLIN, left > 0 ? (int)left : 0, "waiting for SSH", err);
        if (rc <= 0)
            return rc;
        ssize_t n = read(fd, text + length, GREETING_LIMIT - length);
        if (n <= 0)
            return 0;
        length += (size_t)n;
        text[length] = '\0';
        if (strstr(text, "\nSSH-"))
            return 1;
    }
    return 0;
}

int openssh_greets(const char *host, int port, int slice_ms, const vmc_deadline *deadline, vmctl_error **err) {
    char service[16];
    (void)snprintf(service, sizeof service, "%d", port > 0 ? port : 22);
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV}, *list = NULL;
    if (getaddrinfo(host, service, &hints, &list) != 0) {
        hints.ai_flags = AI_NUMERICSERV;
        if (getaddrinfo(host, service, &hints, &list) != 0)
            return vmc_deadline_check(deadline, "waiting for SSH", err);
    }
    int64_t until = vmc_now_ms() + slice_ms;
    int rc = 0;
    for (const struct addrinfo *a = list; a && rc == 0; a = a->ai_next) {
        VMC_AUTO_CLOSE int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int64_t left = until - vmc_now_ms();
        if (fd < 0 || left < 0)
            continue;
        rc = connect_within(fd, a, (int)left, deadline, err);
        if (rc > 0)
            rc = read_greeting(fd, until, deadline, err);
    }
    freeaddrinfo(list);
    return rc;
}
