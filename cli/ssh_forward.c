/* Port forwards by the person's own ssh, which says on stderr when it listens (ssh(1), -v). */
#include "ssh_forward.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { END_MS = 2000, LINE = 1024 };

typedef struct forwarding {
    cli *c;
    const cli_way *way;
    vmctl_forward *forwards;
    size_t count;
    bool *named, *told; /* which ssh is about to listen for; which it listens for */
    void (*ready)(const vmctl_forward *forward, const char *way, void *user);
    void *user;
    pid_t child;
    int words; /* its stderr */
    char line[LINE];
    size_t length;
    char last[LINE]; /* the last of its own words that are no debugging */
} forwarding;

/* Free a moment ago: ssh takes no 0. 0: the address is none of this machine's. */
static int free_port(const char *address) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list = NULL;
    char text[NI_MAXSERV] = "0";
    struct sockaddr_storage name;
    socklen_t length = sizeof name;

    if (getaddrinfo(address, "0", &hints, &list) != 0)
        return 0;
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 ||
        getsockname(fd, (struct sockaddr *)&name, &length) < 0 ||
        getnameinfo((struct sockaddr *)&name, length, NULL, 0, text, sizeof text, NI_NUMERICSERV) != 0)
        strcpy(text, "0");
    if (fd >= 0)
        close(fd);
    freeaddrinfo(list);
    return atoi(text);
}

static void add_option(cli_strings *argv, const char *value) {
    cli_strings_add(argv, "-o");
    cli_strings_add(argv, value);
}

static void vector(const forwarding *f, cli_strings *argv) {
    const char *user = cli_way_user(f->c, f->way);

    cli_strings_add(argv, "ssh");
    cli_strings_add(argv, "-v");
    cli_strings_add(argv, "-N");
    add_option(argv, "ExitOnForwardFailure=yes");
    add_option(argv, "ControlPath=none"); /* a shared connection would do it, and outlive us */
    add_option(argv, "ServerAliveInterval=10");
    cli_way_options(f->c, f->way, false, argv);
    for (size_t i = 0; i < f->count; i++) {
        const vmctl_forward *forward = &f->forwards[i];
        bool six = strchr(forward->address, ':') != NULL;
        cli_strings_add(argv, "-L");
        cli_strings_take(argv, cli_printf("%s%s%s:%d:127.0.0.1:%d", six ? "[" : "", forward->address, six ? "]" : "",
                                          forward->local, forward->guest));
    }
    if (user) {
        cli_strings_add(argv, "-l");
        cli_strings_add(argv, user);
    }
    cli_strings_add(argv, "--");
    cli_strings_add(argv, f->way->host);
}

static int start(forwarding *f) {
    CLI_AUTO_STRINGS argv = {0};
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) < 0)
        return cli_fail(f->c, VMCTL_E_RESOURCE_EXHAUSTED, NULL, "no pipe can be had: %s", strerror(errno));
    vector(f, &argv);
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 2);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    int why = posix_spawnp(&f->child, "ssh", &actions, &attributes, argv.items, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    f->words = ends[0];
    if (why == 0)
        return 0;
    close(f->words);
    return cli_fail(f->c, VMCTL_E_UNAVAILABLE, why == ENOENT ? "install openssh-client" : NULL, "ssh cannot be run: %s",
                    strerror(why));
}

static void tell(forwarding *f, size_t i) {
    CLI_AUTO_FREE char *how =
        cli_printf("by ssh to %s, then its 127.0.0.1 port %d", f->way->host, f->forwards[i].guest);

    f->told[i] = true;
    f->named[i] = false;
    f->ready(&f->forwards[i], how, f->user);
}

/* "debug1: Local forwarding listening on 127.0.0.1 port 8080." comes before the socket is bound, "debug1: channel 0: new port-listener [port
 * listener] ..." when it listens, and "Entering interactive session" after all of them (channels.c, clientloop.c of OpenSSH). All other
 * debugging is nobody's. */
static void take_line(forwarding *f) {
    int port = 0;

    f->line[f->length] = '\0';
    f->line[strcspn(f->line, "\r")] = '\0';
    f->length = 0;
    const char *at = strstr(f->line, "Local forwarding listening on ");
    bool listening = strstr(f->line, "[port listener]") || strstr(f->line, "Entering interactive session");
    if (at && sscanf(at, "Local forwarding listening on %*s port %d", &port) == 1) {
        for (size_t i = 0; i < f->count; i++)
            f->named[i] |= f->forwards[i].local == port && !f->told[i];
    } else if (listening) {
        for (size_t i = 0; i < f->count; i++)
            if (f->named[i])
                tell(f, i);
    } else if (*f->line && strncmp(f->line, "debug", 5) != 0 && strncmp(f->line, "OpenSSH_", 8) != 0 &&
               strncmp(f->line, "Authenticated to ", 17) != 0) {
        snprintf(f->last, sizeof f->last, "%s", f->line);
    }
}

/* false: it has ended. */
static bool take_words(forwarding *f) {
    char bytes[4096];
    ssize_t n = read(f->words, bytes, sizeof bytes);

    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    for (ssize_t i = 0; i < n; i++)
        if (bytes[i] == '\n' || f->length + 1 == sizeof f->line)
            take_line(f);
        else
            f->line[f->length++] = bytes[i];
    return n > 0;
}

/* true: ^C or the deadline; false: ssh ended by itself. */
static bool wait_for_the_end(forwarding *f) {
    struct pollfd fds[] = {{.fd = f->words, .events = POLLIN}, {.fd = vmctl_cancel_fd(f->c->cancel), .events = POLLIN}};

    while (!vmctl_cancel_triggered(f->c->cancel)) {
        int64_t left = f->c->deadline_ms < 0 ? -1 : f->c->deadline_ms - cli_now_ms();
        if (f->c->deadline_ms >= 0 && left <= 0)
            return true;
        fds[0].revents = 0;
        if (poll(fds, 2, left > INT32_MAX ? INT32_MAX : (int)left) > 0 && fds[0].revents && !take_words(f))
            return false;
    }
    return true;
}

static void end(forwarding *f, bool wanted) {
    int status = 0;

    if (wanted)
        kill(f->child, SIGTERM);
    for (int64_t until = cli_now_ms() + END_MS; wanted && cli_now_ms() < until;) {
        struct pollfd fd = {.fd = f->words, .events = POLLIN};
        if (poll(&fd, 1, END_MS) > 0 && !take_words(f))
            break;
    }
    if (wanted && waitpid(f->child, &status, WNOHANG) == 0)
        kill(f->child, SIGKILL);
    while (waitpid(f->child, &status, 0) < 0 && errno == EINTR)
        ;
    close(f->words);
}

static int keep_state(const vmctl_vm_info *info, void *user) {
    *(vmctl_state *)user = info->state;
    return 0;
}

/* It ended by itself: the VM did, or ssh says why. */
static int why_it_ended(const forwarding *f, vmctl_vm *vm) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_call call = cli_call(f->c);
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    CLI_AUTO_ERROR *ignored = NULL;

    options.call = &call;
    options.facts = VMCTL_FACT_STATE;
    if (vmctl_vm_get(vm, &options, keep_state, &state, &ignored) == 0 &&
        (state == VMCTL_STATE_STOPPED || state == VMCTL_STATE_SAVED || state == VMCTL_STATE_CRASHED))
        return cli_fail(f->c, VMCTL_E_INVALID_STATE, NULL, "%s is by now %s", vmctl_vm_name(vm),
                        vmctl_state_name(state));
    bool keys = strstr(f->last, "Permission denied (") != NULL;
    return cli_fail(f->c, keys ? VMCTL_E_UNAUTHENTICATED : VMCTL_E_UNAVAILABLE,
                    keys ? "give the user's key (--identity), or add yours to the VM's authorized keys"
                         : "see that vmctl ssh gets in",
                    "ssh to %s failed: %s", f->way->host, *f->last ? f->last : "it ended without a word");
}

int cli_ssh_forward(cli *c, vmctl_vm *vm, const cli_way *way, vmctl_forward *forwards, size_t count,
                    void (*ready)(const vmctl_forward *forward, const char *way, void *user), void *user) {
    forwarding f = {.c = c, .way = way, .forwards = forwards, .count = count, .ready = ready, .user = user};

    for (size_t i = 0; i < count; i++) {
        if (!forwards[i].address)
            forwards[i].address = "127.0.0.1";
        if (!forwards[i].local)
            forwards[i].local = free_port(forwards[i].address);
        if (!forwards[i].local)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "%s is no address of this machine", forwards[i].address);
    }
    int status = start(&f);
    if (status)
        return status;
    f.named = cli_alloc((count + 1) * sizeof *f.named);
    f.told = cli_alloc((count + 1) * sizeof *f.told);
    bool wanted = wait_for_the_end(&f);
    end(&f, wanted);
    free(f.named);
    free(f.told);
    return wanted ? 0 : why_it_ended(&f, vm);
}
