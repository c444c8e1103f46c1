/* tests/unit/http_server.h - a small HTTP/1.1 server in threads of the test, on 127.0.0.1, for tests that need a server which misbehaves.
 *
 * A handler writes the answer's raw bytes; requests are kept, so that a test can look at what was sent.
 */
#ifndef TEST_HTTP_SERVER_H
#define TEST_HTTP_SERVER_H

#include "base/str.h"
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct server_request {
    char method[16];
    char path[512];
    char head[4096]; /* all lines */
    char *body;
    size_t length;
} server_request;

typedef struct server server;

/* Answers on fd. Returns false to close the connection. `count`: how many requests for this path came before. */
typedef bool (*server_handler)(server *s, int fd, const server_request *request, int count);

struct server {
    int fd, port;
    server_handler handler;
    pthread_t thread;
    pthread_mutex_t lock;
    server_request seen[256];
    int seen_count;
    int connections;
    int clients[64];
    pthread_t client_threads[64];
    atomic_bool stop;
};

typedef struct server_client {
    server *s;
    int fd;
} server_client;

static inline void server_send(int fd, const void *bytes, size_t length) {
    const char *p = bytes;
    while (length > 0) {
        ssize_t n = send(fd, p, length, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        p += n;
        length -= (size_t)n;
    }
}

static inline void server_answer(int fd, int status, const char *headers, const char *body) {
    VMC_AUTO_FREE char *text =
        vmc_printf("HTTP/1.1 %d Words\r\n%sContent-Length: %zu\r\n\r\n%s", status, headers, strlen(body), body);
    server_send(fd, text, strlen(text));
}

/* The value of a request's header; free; NULL: absent. */
static inline char *server_header(const server_request *request, const char *name) {
    size_t n = strlen(name);
    for (const char *line = request->head; *line;) {
        size_t length = strcspn(line, "\r\n");
        if (strncasecmp(line, name, n) == 0 && line[n] == ':')
            return vmc_strndup(line + n + 1 + strspn(line + n + 1, " "), length - n - 1 - strspn(line + n + 1, " "));
        line += length;
        line += strspn(line, "\r\n");
    }
    return NULL;
}

static inline int server_remember(server *s, server_request *request) {
    pthread_mutex_lock(&s->lock);
    int count = 0;
    for (int i = 0; i < s->seen_count; i++)
        count += strcmp(s->seen[i].path, request->path) == 0;
    if (s->seen_count < 256)
        s->seen[s->seen_count++] = *request;
    pthread_mutex_unlock(&s->lock);
    return count;
}

static inline bool server_read_chunked(int fd, vmc_str *in, size_t at, server_request *request) {
    VMC_AUTO_STR body = {0};
    char buffer[65536];
    for (;;) {
        char *line_end;
        while (!(in->text && at <= in->length && (line_end = strstr(in->text + at, "\r\n")))) {
            ssize_t n = recv(fd, buffer, sizeof buffer, 0);
            if (n <= 0)
                return false;
            vmc_str_add_n(in, buffer, (size_t)n);
        }
        size_t size = strtoul(in->text + at, NULL, 16), start = (size_t)(line_end - in->text) + 2;
        while (in->length < start + size + 2) {
            ssize_t n = recv(fd, buffer, sizeof buffer, 0);
            if (n <= 0)
                return false;
            vmc_str_add_n(in, buffer, (size_t)n);
        }
        vmc_str_add_n(&body, in->text + start, size);
        at = start + size + 2;
        if (size == 0)
            break;
    }
    request->length = body.length;
    request->body = vmc_str_take(&body);
    return true;
}

static inline bool server_read(int fd, server_request *request) {
    VMC_AUTO_STR in = {0};
    char buffer[65536];
    char *end = NULL;
    while (!end) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0)
            return false;
        vmc_str_add_n(&in, buffer, (size_t)n);
        end = strstr(in.text, "\r\n\r\n");
    }
    size_t head = (size_t)(end - in.text) + 4;
    memset(request, 0, sizeof *request);
    snprintf(request->head, sizeof request->head, "%.*s", (int)head, in.text);
    if (sscanf(in.text, "%15s %511s", request->method, request->path) != 2)
        return false;
    VMC_AUTO_FREE char *chunked = server_header(request, "Transfer-Encoding");
    if (chunked)
        return server_read_chunked(fd, &in, head, request);
    VMC_AUTO_FREE char *length = server_header(request, "Content-Length");
    request->length = length ? strtoul(length, NULL, 10) : 0;
    while (in.length < head + request->length) {
        ssize_t n = recv(fd, buffer, sizeof buffer, 0);
        if (n <= 0)
            return false;
        vmc_str_add_n(&in, buffer, (size_t)n);
    }
    request->body = vmc_strndup(in.text + head, request->length);
    return true;
}

static inline void *server_serve(void *user) {
    server_client *client = user;
    server_request request;
    while (!client->s->stop && server_read(client->fd, &request)) {
        int count = server_remember(client->s, &request);
        if (!client->s->handler(client->s, client->fd, &request, count))
            break;
    }
    shutdown(client->fd, SHUT_RDWR);
    free(client);
    return NULL;
}

static inline void *server_accept(void *user) {
    server *s = user;
    for (;;) {
        int fd = accept(s->fd, NULL, NULL);
        if (fd < 0 || s->stop) {
            if (fd >= 0)
                close(fd);
            return NULL;
        }
        server_client *client = malloc(sizeof *client);
        *client = (server_client){s, fd};
        pthread_mutex_lock(&s->lock);
        int i = s->connections++;
        s->clients[i % 64] = fd;
        pthread_mutex_unlock(&s->lock);
        pthread_create(&s->client_threads[i % 64], NULL, server_serve, client);
    }
}

static inline void server_start(server *s, server_handler handler) {
    memset(s, 0, sizeof *s);
    s->handler = handler;
    pthread_mutex_init(&s->lock, NULL);
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    if (bind(s->fd, (struct sockaddr *)&a, sizeof a) != 0 || listen(s->fd, 64) != 0)
        abort();
    getsockname(s->fd, (struct sockaddr *)&a, &size);
    s->port = ntohs(a.sin_port);
    pthread_create(&s->thread, NULL, server_accept, s);
}

/* How many requests came for a path, in all. */
static inline int server_count(server *s, const char *path) {
    pthread_mutex_lock(&s->lock);
    int count = 0;
    for (int i = 0; i < s->seen_count; i++)
        count += strcmp(s->seen[i].path, path) == 0;
    pthread_mutex_unlock(&s->lock);
    return count;
}

/* The header of the last request for a path; free; NULL: absent. */
static inline char *server_last_header(server *s, const char *path, const char *name) {
    char *value = NULL;
    pthread_mutex_lock(&s->lock);
    for (int i = s->seen_count - 1; i >= 0; i--)
        if (strcmp(s->seen[i].path, path) == 0) {
            value = server_header(&s->seen[i], name);
            break;
        }
    pthread_mutex_unlock(&s->lock);
    return value;
}

static inline void server_stop(server *s) {
    s->stop = true;
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
    for (int i = 0; i < s->connections && i < 64; i++) {
        shutdown(s->clients[i], SHUT_RDWR);
        pthread_join(s->client_threads[i], NULL);
        close(s->clients[i]);
    }
    for (int i = 0; i < s->seen_count; i++)
        free(s->seen[i].body);
    pthread_mutex_destroy(&s->lock);
}

#endif
