#include "base/error.h"
#include "wait.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void vmc_dials_add(vmc_dials *dials, const char *host, int port, bool forwarded) {
    dials->items = vmc_realloc(dials->items, dials->count + 1, sizeof *dials->items);
    dials->items[dials->count++] = (vmc_dial){.host = vmc_strdup(host), .port = port, .forwarded = forwarded};
}

void vmc_dials_free(vmc_dials *dials) {
    for (size_t i = 0; i < dials->count; i++)
        free(dials->items[i].host);
    free(dials->items);
    *dials = (vmc_dials){0};
}

/* "[tcp:|udp:][ADDRESS:]LOCAL:GUEST"; an IPv6 address stands in brackets. */
static void add_forward(vmc_dials *dials, const char *text, int guest_port) {
    if (vmc_starts_with(text, "udp:"))
        return;
    if (vmc_starts_with(text, "tcp:"))
        text += 4;
    const char *guest = strrchr(text, ':');
    if (!guest || atoi(guest + 1) != guest_port)
        return;
    VMC_AUTO_FREE char *local = vmc_strndup(text, (size_t)(guest - text));
    char *port = strrchr(local, ':');
    const char *host = "127.0.0.1";
    if (port) {
        *port++ = '\0';
        host = local;
        if (local[0] == '[') {
            host = local + 1;
            local[strcspn(local, "]")] = '\0';
        }
        if (vmc_str_eq(host, "0.0.0.0") || !*host)
            host = "127.0.0.1";
        else if (vmc_str_eq(host, "::"))
            host = "::1";
    }
    vmc_dials_add(dials, host, atoi(port ? port : local), true);
}

void vmc_dials_add_forwards(vmc_dials *dials, const vmctl_spec *spec, int guest_port) {
    const vmctl_node *networks = spec ? vmctl_node_get(vmctl_spec_root(spec), "networks") : NULL;
    for (size_t i = 0; i < vmctl_node_count(networks); i++) {
        const vmctl_node *forwards = vmctl_node_get(vmctl_node_at(networks, i), "forward");
        for (size_t f = 0; f < vmctl_node_count(forwards); f++) {
            const char *text = vmctl_node_string(vmctl_node_at(forwards, f), NULL, NULL);
            if (text)
                add_forward(dials, text, guest_port);
        }
    }
}

bool vmc_address_is_usable(const char *ip) {
    struct in_addr v4;
    struct in6_addr v6;
    if (!ip)
        return false;
    if (inet_pton(AF_INET, ip, &v4) == 1) {
        uint32_t a = ntohl(v4.s_addr);
        return a >> 24 != 127 && a >> 16 != 0xa9fe && a != 0;
    }
    if (inet_pton(AF_INET6, ip, &v6) == 1)
        return !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6) && !IN6_IS_ADDR_UNSPECIFIED(&v6);
    return false;
}

/* A connected socket in *fd: 1; 0 when nobody answers. */
static int dial(const vmc_dial *to, int slice_ms, const vmc_deadline *deadline, int *fd, vmctl_error **err) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found = NULL;
    VMC_AUTO_FREE char *service = vmc_printf("%d", to->port);
    if (getaddrinfo(to->host, service, &hints, &found) != 0)
        return 0;
    *fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = *fd < 0 ? -1 : connect(*fd, found->ai_addr, found->ai_addrlen);
    int failure = errno;
    freeaddrinfo(found);
    if (rc == 0)
        return 1;
    if (failure != EINPROGRESS)
        return 0;
    rc = vmc_deadline_poll(deadline, *fd, POLLOUT, slice_ms, "connecting to the guest", err);
    if (rc <= 0)
        return rc;
    int pending = 0;
    socklen_t size = sizeof pending;
    return getsockopt(*fd, SOL_SOCKET, SO_ERROR, &pending, &size) == 0 && pending == 0;
}

enum { DATA = 1, CLOSED = 2 };

/* What comes within the slice: DATA (in buffer, terminated), CLOSED, 0 for nothing, negative. */
static int listen_for(int fd, char *buffer, size_t size, int slice_ms, const vmc_deadline *deadline,
                      vmctl_error **err) {
    int rc = vmc_deadline_poll(deadline, fd, POLLIN, slice_ms, "waiting for the guest's answer", err);
    if (rc <= 0)
        return rc;
    ssize_t n = recv(fd, buffer, size - 1, 0);
    if (n <= 0)
        return CLOSED;
    buffer[n] = '\0';
    return DATA;
}

int vmc_dial_try(const vmc_dial *to, const char *greeting, bool guest_is_up, int slice_ms, const vmc_deadline *deadline,
                 vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = -1;
    int rc = dial(to, slice_ms, deadline, &fd, err);
    if (rc <= 0)
        return rc;
    if (!greeting && !to->forwarded)
        return 1;
    char buffer[256];
    rc = listen_for(fd, buffer, sizeof buffer, greeting || to->far ? slice_ms : 500, deadline, err);
    if (rc == DATA)
        return !greeting || vmc_starts_with(buffer, greeting);
    if (rc != 0 || greeting)
        return rc < 0 ? rc : 0;
    /* QEMU's user networking accepts at once, and holds the connection while the guest's network is not up; a guest
     * without a listener has refused by now. A server that has it answers the end of our side with the end of its own. */
    if (guest_is_up)
        return 1;
    shutdown(fd, SHUT_WR);
    rc = listen_for(fd, buffer, sizeof buffer, slice_ms, deadline, err);
    return rc < 0 ? rc : rc > 0;
}
