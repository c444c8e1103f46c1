#include "base/listen.h"
#include "base/error.h"
#include "base/str.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 64 };

static int bind_to(const struct addrinfo *at, int *port) {
    int fd = socket(at->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {.v6 = {0}};
    socklen_t length = sizeof name;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (at->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, at->ai_addr, at->ai_addrlen) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, &name.any, &length) < 0) {
        int failure = errno;
        close(fd);
        errno = failure;
        return -1;
    }
    *port = ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
    return fd;
}

int vmc_listen(const char *address, int *port, vmctl_error **err) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *at = NULL;
    VMC_AUTO_FREE char *service = vmc_printf("%d", *port);
    if (getaddrinfo(address, service, &hints, &at) != 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no address", address);
    int fd = bind_to(at, port);
    int failure = errno;
    freeaddrinfo(at);
    if (fd >= 0)
        return fd;
    if (failure != EADDRINUSE)
        return vmc_error_errno(err, failure, "cannot listen at port %d of %s", *port, address);
    vmc_error(err, VMCTL_E_BUSY, "port %d of %s is taken", *port, address);
    return vmc_error_next(err, "port 0 takes a free one");
}
