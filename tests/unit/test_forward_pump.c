/* src/forward_pump.h over real sockets of this machine's loopback. */
#include "forward_pump.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int listen_here(int *port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof name;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, length), 0);
    assert_int_equal(listen(fd, 16), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&name, &length), 0);
    *port = ntohs(name.sin_port);
    return fd;
}

static int dial(int port) {
    struct sockaddr_in name = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *)&name, sizeof name) == 0)
        return fd;
    close(fd);
    return -1;
}

/* Sends back what comes until its end, `count` connections one after the other. */
typedef struct echo {
    int fd, count;
} echo;

static void *echo_one(void *opaque) {
    int fd = (int)(intptr_t)opaque;
    char bytes[4096];
    for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        for (ssize_t sent = 0; sent < n;)
            sent += send(fd, bytes + sent, (size_t)(n - sent), MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static void *serve(void *opaque) {
    const echo *e = opaque;
    pthread_t threads[8];
    for (int i = 0; i < e->count; i++)
        pthread_create(&threads[i], NULL, echo_one, (void *)(intptr_t)accept(e->fd, NULL, NULL));
    for (int i = 0; i < e->count; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

static void *send_all(void *opaque) {
    int fd = *(int *)opaque;
    char bytes[10000];
    for (int i = 0; i < 300; i++) {
        memset(bytes, i, sizeof bytes);
        for (size_t sent = 0; sent < sizeof bytes;)
            sent += (size_t)send(fd, bytes + sent, sizeof bytes - sent, MSG_NOSIGNAL);
    }
    shutdown(fd, SHUT_WR);
    return NULL;
}

static void connections_at_once_are_whole(void **state) {
    (void)state;
    echo e = {.count = 5};
    int port = 0, local = 0, fds[5];
    e.fd = listen_here(&port);
    pthread_t server, senders[5];
    pthread_create(&server, NULL, serve, &e);
    vmc_pump *pump = vmc_pump_new();
    assert_int_equal(vmc_pump_add(pump, "127.0.0.1", &local, "127.0.0.1", port, NULL), 0);
    assert_true(local > 0);
    assert_int_equal(vmc_pump_start(pump, NULL), 0);
    for (int i = 0; i < 5; i++) {
        fds[i] = dial(local);
        assert_true(fds[i] >= 0);
        pthread_create(&senders[i], NULL, send_all, &fds[i]);
    }
    for (int i = 0; i < 5; i++) {
        char bytes[4096];
        size_t total = 0;
        for (ssize_t n; (n = recv(fds[i], bytes, sizeof bytes, 0)) > 0;)
            for (ssize_t k = 0; k < n; k++, total++)
                if ((unsigned char)bytes[k] != (total / 10000) % 256)
                    fail_msg("byte %zu of connection %d is another", total, i);
        assert_int_equal(total, 3000000);
        pthread_join(senders[i], NULL);
        close(fds[i]);
    }
    pthread_join(server, NULL);
    vmc_pump_free(pump);
    close(e.fd);
    assert_int_equal(dial(local), -1);
}

static void a_target_that_refuses_ends_the_connection(void **state) {
    (void)state;
    int port = 0, local = 0;
    close(listen_here(&port)); /* nobody is there by now */
    vmc_pump *pump = vmc_pump_new();
    assert_int_equal(vmc_pump_add(pump, "127.0.0.1", &local, "127.0.0.1", port, NULL), 0);
    assert_int_equal(vmc_pump_start(pump, NULL), 0);
    int fd = dial(local);
    char byte;
    assert_true(fd >= 0);
    assert_true(recv(fd, &byte, 1, 0) <= 0);
    close(fd);
    vmc_pump_free(pump);
}

static void a_taken_port_is_busy(void **state) {
    (void)state;
    int port = 0;
    int fd = listen_here(&port);
    vmc_pump *pump = vmc_pump_new();
    vmctl_error *err = NULL;
    assert_int_equal(vmc_pump_add(pump, "127.0.0.1", &port, "127.0.0.1", 9, &err), VMCTL_E_BUSY);
    assert_non_null(strstr(vmctl_error_next(err), "0:9"));
    vmctl_error_free(err);
    vmc_pump_free(pump);
    close(fd);
}

static void ending_cuts_open_connections(void **state) {
    (void)state;
    int port = 0, local = 0;
    int fd = listen_here(&port);
    vmc_pump *pump = vmc_pump_new();
    assert_int_equal(vmc_pump_add(pump, "127.0.0.1", &local, "127.0.0.1", port, NULL), 0);
    assert_int_equal(vmc_pump_start(pump, NULL), 0);
    int client = dial(local);
    int server = accept(fd, NULL, NULL);
    vmc_pump_free(pump);
    char byte;
    assert_true(recv(client, &byte, 1, 0) <= 0);
    assert_true(recv(server, &byte, 1, 0) <= 0);
    close(client);
    close(server);
    close(fd);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connections_at_once_are_whole),
        cmocka_unit_test(a_target_that_refuses_ends_the_connection),
        cmocka_unit_test(a_taken_port_is_busy),
        cmocka_unit_test(ending_cuts_open_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
