/* tests/unit/test_kube_tls.c - whom a kubeconfig trusts and who it is: authorities, names, expired and client certificates, proxies; what
 * is said of a server that speaks no TLS or is not there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/process/process.h"
#include "kube_lab.h"
#include <signal.h>
#include <sys/wait.h>

static vmc_deadline far;
static char *folder;

static void run(const char *command) {
    const char *argv[] = {"sh", "-c", command, NULL};
    vmctl_error *err = NULL;
    if (process_run_ok(&(process_options){.argv = argv, .directory = folder}, &far, NULL, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
}

typedef struct peer {
    pid_t pid;
    int port;
} peer;

static peer start(const char *certificate, const char *key, const char *client_ca) {
    int pipe_fds[2];
    assert_int_equal(pipe(pipe_fds), 0);
    peer p = {.pid = fork()};
    if (p.pid == 0) {
        dup2(pipe_fds[1], STDOUT_FILENO);
        close(pipe_fds[0]);
        if (chdir(folder) == 0)
            execlp("python3", "python3", TEST_SOURCE_DIR "/unit/kube_tls_server.py", certificate, key, client_ca,
                   (char *)NULL);
        _exit(127);
    }
    close(pipe_fds[1]);
    FILE *words = fdopen(pipe_fds[0], "r");
    assert_int_equal(fscanf(words, "%d", &p.port), 1);
    fclose(words);
    return p;
}

static void stop(const peer *p) {
    kill(p->pid, SIGKILL);
    waitpid(p->pid, NULL, 0);
}

static int ask(kube_client *client, cJSON **out, vmctl_error **err) {
    return kube_call(client, &(kube_request){.path = "/version"}, &far, out, err);
}

static kube_client *client_of(const char *host, int port, const char *cluster, const char *user) {
    VMC_AUTO_FREE char *all = vmc_printf("{server: \"https://%s:%d\"%s%s}", host, port, *cluster ? ", " : "", cluster);
    return lab_client(folder, all, user);
}

/* What the server says of who asked. */
static void answers(const char *host, int port, const char *cluster, const char *user, const char *key,
                    const char *wanted) {
    KUBE_AUTO_CLIENT *client = client_of(host, port, cluster, user);
    cJSON *object = NULL;
    vmctl_error *err = NULL;
    if (ask(client, &object, &err) < 0)
        fail_msg("%s %s: %s", cluster, user, vmctl_error_text(err));
    assert_string_equal(cJSON_GetObjectItem(object, key)->valuestring, wanted);
    cJSON_Delete(object);
}

static void refuses(const char *host, int port, const char *cluster, const char *user, int code, const char *words) {
    KUBE_AUTO_CLIENT *client = client_of(host, port, cluster, user);
    vmctl_error *err = NULL;
    int rc = ask(client, NULL, &err);
    const char *text = err ? vmctl_error_text(err) : "success";
    if (rc != code || !strstr(text, words))
        fail_msg("%s %s: %d %s, not %s", cluster, user, rc, text, words);
    vmctl_error_free(err);
}

#define CA "certificate-authority: ca.pem"

static void test_whom_it_trusts(void **state) {
    (void)state;
    peer good = start("server.pem", "server-key.pem", NULL), old = start("expired.pem", "server-key.pem", NULL);
    int no = VMCTL_E_UNAVAILABLE;
    VMC_AUTO_FREE char *host = vmc_printf("localhost:%d", good.port);
    answers("localhost", good.port, CA, "{}", "host", host);
    refuses("localhost", good.port, "certificate-authority: other-ca.pem", "{}", no, "certificate");
    refuses("localhost", good.port, "certificate-authority: other-ca.pem", "{}", no, "cluster \"one\" in ");
    refuses("localhost", good.port, "", "{}", no, "certificate"); /* the system's authorities do not know it */
    refuses("127.0.0.1", good.port, CA, "{}", no, "127.0.0.1");   /* the name is localhost */
    VMC_AUTO_FREE char *address = vmc_printf("127.0.0.1:%d", good.port);
    answers("127.0.0.1", good.port, CA ", tls-server-name: localhost", "{}", "host", address);
    refuses("localhost", good.port, CA ", tls-server-name: elsewhere", "{}", no, "elsewhere");
    answers("127.0.0.1", good.port, "insecure-skip-tls-verify: true", "{}", "host", address);
    refuses("localhost", old.port, CA, "{}", no, "certificate has expired");
    answers("localhost", old.port, "insecure-skip-tls-verify: true", "{}", "client", "");
    stop(&good);
    stop(&old);
}

static void test_who_it_is(void **state) {
    (void)state;
    peer p = start("server.pem", "server-key.pem", "ca.pem");
    answers("localhost", p.port, CA, "{client-certificate: client.pem, client-key: client-key.pem}", "client", "me");
    refuses("localhost", p.port, CA, "{}", VMCTL_E_UNAVAILABLE, "/version");
    refuses("localhost", p.port, CA, "{client-certificate: stranger.pem, client-key: client-key.pem}",
            VMCTL_E_UNAVAILABLE, "/version");
    /* A plugin's certificate, and another one after it. */
    run("printf '#!/bin/sh\\ncat %s/credential\\n' \"$PWD\" >plugin; chmod 700 plugin;"
        "q() { python3 -c 'import json,sys; print(json.dumps({\"kind\":\"ExecCredential\",\"apiVersion\":"
        "\"client.authentication.k8s.io/v1\",\"status\":{\"clientCertificateData\":open(sys.argv[1]).read(),"
        "\"clientKeyData\":open(\"client-key.pem\").read(),\"expirationTimestamp\":\"2020-01-01T00:00:00Z\"}}))' $1; };"
        "q client.pem >credential; q second.pem >credential2");
    KUBE_AUTO_CLIENT *client =
        client_of("localhost", p.port, CA, "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin}}");
    cJSON *first = NULL, *second = NULL;
    assert_int_equal(ask(client, &first, NULL), 0);
    run("mv credential2 credential");
    assert_int_equal(ask(client, &second, NULL), 0);
    assert_string_equal(cJSON_GetObjectItem(first, "client")->valuestring, "me");
    assert_string_equal(cJSON_GetObjectItem(second, "client")->valuestring, "me-too");
    cJSON_Delete(first);
    cJSON_Delete(second);
    stop(&p);
}

static bool answer_plain(server *s, int fd, const server_request *request, int count) {
    (void)s;
    (void)count;
    if (strcmp(request->method, "CONNECT") == 0)
        server_answer(fd, 403, "", "");
    else
        server_answer(fd, 401, "Content-Type: application/json\r\n",
                      "{\"kind\":\"Status\",\"message\":\"Unauthorized\",\"reason\":\"Unauthorized\",\"code\":401}");
    return true;
}

/* As net/http: a first line that is no request is refused at once. */
static void *serve_rude(void *user) {
    int fd = accept(*(int *)user, NULL, NULL);
    char byte;
    if (recv(fd, &byte, 1, 0) == 1)
        server_answer(fd, 400, "Connection: close\r\n", "400 Bad Request");
    shutdown(fd, SHUT_WR);
    while (recv(fd, &byte, 1, 0) > 0) /* a reset would take the answer with it */
        ;
    close(fd);
    return NULL;
}

/* A socket that listens on *port of 127.0.0.1. */
static int listen_somewhere(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    assert_true(bind(fd, (struct sockaddr *)&a, size) == 0 && listen(fd, 8) == 0);
    getsockname(fd, (struct sockaddr *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

static void test_a_server_that_speaks_http(void **state) {
    (void)state;
    int port, fd = listen_somewhere(&port);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_rude, &fd), 0);
    refuses("127.0.0.1", port, "", "{}", VMCTL_E_UNAVAILABLE, "the server there speaks no TLS");
    pthread_join(thread, NULL);
    close(fd);
}

static void test_servers_that_are_none(void **state) {
    (void)state;
    server plain;
    server_start(&plain, answer_plain);
    int no = VMCTL_E_UNAVAILABLE;
    VMC_AUTO_FREE char *proxy = vmc_printf("proxy-url: \"http://me:hidden@127.0.0.1:%d\"", plain.port);
    KUBE_AUTO_CLIENT *through = client_of("api.example.com", 6443, proxy, "{}");
    vmctl_error *err = NULL;
    assert_int_equal(ask(through, NULL, &err), no); /* the proxy was asked, and refuses */
    assert_non_null(strstr(vmctl_error_text(err), "the proxy refuses: CONNECT tunnel failed, response 403"));
    assert_null(strstr(vmctl_error_text(err), "hidden"));
    assert_int_equal(server_count(&plain, "api.example.com:6443"), 1);
    vmctl_error_free(err);
    err = NULL;
    /* A client certificate that has expired is what is behind most 401. */
    VMC_AUTO_FREE char *cluster = vmc_printf("{server: \"http://127.0.0.1:%d\"}", plain.port);
    KUBE_AUTO_CLIENT *late =
        lab_client(folder, cluster, "{client-certificate: expired-client.pem, client-key: client-key.pem}");
    assert_int_equal(ask(late, NULL, &err), VMCTL_E_UNAUTHENTICATED);
    assert_non_null(strstr(vmctl_error_text(err), "the client certificate of user \"me\""));
    assert_non_null(strstr(vmctl_error_text(err), "has expired on 20"));
    vmctl_error_free(err);
    http_shutdown();
    server_stop(&plain);
    refuses("127.0.0.1", plain.port, "", "{}", no, "check that https://127.0.0.1:"); /* nobody is there now */
}

/* ---- SOCKS5 (RFC 1928), which leads to one port whatever is asked for ---- */

typedef struct socks {
    int fd, port, target;
    char asked[256];
    pthread_t thread;
} socks;

static bool read_all(int fd, void *bytes, size_t length) {
    return recv(fd, bytes, length, MSG_WAITALL) == (ssize_t)length;
}

static void relay(int a, int b) {
    struct pollfd fds[2] = {{a, POLLIN, 0}, {b, POLLIN, 0}};
    char buffer[16384];
    while (poll(fds, 2, -1) > 0)
        for (int i = 0; i < 2; i++) {
            ssize_t n = fds[i].revents ? recv(fds[i].fd, buffer, sizeof buffer, 0) : -2;
            if (n == 0 || n == -1)
                return;
            if (n > 0)
                server_send(fds[1 - i].fd, buffer, (size_t)n);
        }
}

static void *serve_socks(void *user) {
    socks *s = user;
    int fd = accept(s->fd, NULL, NULL);
    unsigned char head[2], methods[256], request[4], length, port[2];
    bool ok = fd >= 0 && read_all(fd, head, 2) && read_all(fd, methods, head[1]);
    server_send(fd, "\x05\x00", 2);
    ok = ok && read_all(fd, request, 4) && request[3] == 3 && read_all(fd, &length, 1) &&
         read_all(fd, s->asked, length) && read_all(fd, port, 2);
    int to = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)s->target), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (ok && connect(to, (struct sockaddr *)&a, sizeof a) == 0) {
        server_send(fd, "\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00", 10);
        relay(fd, to);
    }
    close(to);
    close(fd);
    return NULL;
}

static void test_a_socks_proxy_resolves_the_name(void **state) {
    (void)state;
    peer p = start("server.pem", "server-key.pem", NULL);
    socks s = {.target = p.port};
    s.fd = listen_somewhere(&s.port);
    assert_int_equal(pthread_create(&s.thread, NULL, serve_socks, &s), 0);
    VMC_AUTO_FREE char *cluster =
        vmc_printf(CA ", tls-server-name: localhost, proxy-url: \"socks5://127.0.0.1:%d\"", s.port);
    setenv("NO_PROXY", "*", 1); /* is for the proxies of the environment */
    answers("api.no-such-name.example", 6443, cluster, "{}", "client", "");
    unsetenv("NO_PROXY");
    http_shutdown();
    pthread_join(s.thread, NULL);
    assert_string_equal(s.asked, "api.no-such-name.example");
    close(s.fd);
    stop(&p);
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 100000);
    folder = lab_folder();
    run("q() { openssl \"$@\" 2>>log; }; EC='-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes'\n"
        "ca() { q req -x509 $EC -subj /CN=$1 -keyout $1-key.pem -out $1.pem; }\n"
        "ca ca; ca other-ca; ca stranger-ca\n"
        "q req $EC -subj /CN=localhost -keyout server-key.pem -out server.csr\n"
        "q req $EC -subj /CN=me -keyout client-key.pem -out client.csr\n"
        "q req -new -key client-key.pem -subj /CN=me-too -out second.csr\n"
        "echo subjectAltName=DNS:localhost >san\n"
        "sign() { q x509 -req -in $1.csr -CA $2.pem -CAkey $2-key.pem -CAcreateserial -days $3 -out $4.pem $5 $6; }\n"
        "sign server ca 30 server -extfile san; sign server ca -1 expired -extfile san\n"
        "sign client ca 30 client; sign client ca -1 expired-client; sign second ca 30 second; sign client stranger-ca "
        "30 stranger");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    http_shutdown();
    lab_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whom_it_trusts),
        cmocka_unit_test(test_who_it_is),
        cmocka_unit_test(test_a_server_that_speaks_http),
        cmocka_unit_test(test_servers_that_are_none),
        cmocka_unit_test(test_a_socks_proxy_resolves_the_name),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
