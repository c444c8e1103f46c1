/* tests/unit/test_http_tls.c - which servers are trusted: self-signed, by CA, by pin, by thumbprint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/http/http.h"
#include "drivers/process/process.h"
#include <cmocka.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static vmc_deadline far;

/* openssl s_server with a certificate of its own; its thumbprint and public key's pin, as openssl tells them. */
typedef struct tls {
    char folder[64], certificate[96], key[96], url[64];
    char thumbprint[128], pin[320];
    pid_t pid;
} tls;

static void capture(const char *command, char *out, size_t size) {
    PROCESS_AUTO_RESULT r = {0};
    const char *argv[] = {"sh", "-c", command, NULL};
    assert_int_equal(process_run_ok(&(process_options){.argv = argv}, &far, &r, NULL), 0);
    snprintf(out, size, "%.*s", (int)strcspn(r.output, "\n"), r.output);
}

static void tls_start(tls *t, int port) {
    strcpy(t->folder, "/tmp/vmctl-test-tls-XXXXXX");
    assert_non_null(mkdtemp(t->folder));
    snprintf(t->certificate, sizeof t->certificate, "%s/cert.pem", t->folder);
    snprintf(t->key, sizeof t->key, "%s/key.pem", t->folder);
    snprintf(t->url, sizeof t->url, "https://localhost:%d/", port);
    char command[1024], text[256];
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -addext "
             "subjectAltName=DNS:localhost -keyout %s -out %s 2>/dev/null",
             t->key, t->certificate);
    capture(command, text, sizeof text);
    snprintf(command, sizeof command, "openssl x509 -in %s -noout -fingerprint -sha256", t->certificate);
    capture(command, text, sizeof text);
    snprintf(t->thumbprint, sizeof t->thumbprint, "%s", strchr(text, '=') + 1);
    snprintf(
        command, sizeof command,
        "openssl x509 -in %s -noout -pubkey | openssl pkey -pubin -outform der | openssl dgst -sha256 -binary | base64",
        t->certificate);
    capture(command, text, sizeof text);
    snprintf(t->pin, sizeof t->pin, "sha256//%s", text);
    t->pid = fork();
    if (t->pid == 0) {
        char number[16];
        snprintf(number, sizeof number, "%d", port);
        execlp("openssl", "openssl", "s_server", "-quiet", "-www", "-accept", number, "-cert", t->certificate, "-key",
               t->key, (char *)NULL);
        _exit(127);
    }
}

static void tls_stop(tls *t) {
    kill(t->pid, SIGKILL);
    waitpid(t->pid, NULL, 0);
    unlink(t->certificate);
    unlink(t->key);
    rmdir(t->folder);
}

static int ask_tls(const tls *t, const http_client_options *options, const char *url, vmctl_error **err) {
    HTTP_AUTO_CLIENT *client = NULL;
    int rc = options ? http_client_new(options, &client, err) : 0;
    http_request request = {.url = url ? url : t->url, .max_retries = -1};
    return rc < 0 ? rc : http_perform_ok(client, &request, &far, NULL, err);
}

static void trust_is_asked_for_and_kept_apart(void **state) {
    (void)state;
    char *openssl = process_find("openssl");
    if (!openssl) {
        print_message("skip: openssl is not installed\n");
        skip();
    }
    free(openssl);
    far = vmc_deadline_start(NULL, 30000);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    bind(fd, (struct sockaddr *)&a, sizeof a);
    getsockname(fd, (struct sockaddr *)&a, &size);
    close(fd);
    tls t;
    tls_start(&t, ntohs(a.sin_port));
    http_client_options insecure = {.insecure = true};
    int rc = -1;
    for (int i = 0; i < 100 && rc < 0; i++) { /* until it listens */
        rc = ask_tls(&t, &insecure, NULL, NULL);
        usleep(20000);
    }
    assert_int_equal(rc, 0);
    vmctl_error *err = NULL;
    assert_int_equal(ask_tls(&t, NULL, NULL, &err), VMCTL_E_UNAVAILABLE); /* self-signed, by default */
    assert_non_null(vmctl_error_next(err));
    assert_false(vmctl_error_retryable(err));
    vmctl_error_free(err);
    assert_int_equal(ask_tls(&t, &(http_client_options){.ca_file = t.certificate}, NULL, NULL), 0);
    PROCESS_AUTO_RESULT cat = {0};
    const char *argv[] = {"cat", t.certificate, NULL};
    assert_int_equal(process_run_ok(&(process_options){.argv = argv}, &far, &cat, NULL), 0);
    assert_int_equal(ask_tls(&t, &(http_client_options){.ca_pem = cat.output}, NULL, NULL), 0);
    assert_int_equal(ask_tls(&t, &(http_client_options){.ca_pem = cat.output, .pin = t.pin}, NULL, NULL), 0);
    assert_int_equal(ask_tls(&t,
                             &(http_client_options){.ca_pem = cat.output,
                                                    .pin = "sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="},
                             NULL, NULL),
                     VMCTL_E_UNAVAILABLE);
    assert_int_equal(ask_tls(&t, &(http_client_options){.thumbprint = t.thumbprint}, NULL, NULL), 0);
    /* A connection that someone made without checks must not serve for one with a thumbprint. */
    char wrong[128];
    snprintf(wrong, sizeof wrong, "%s", t.thumbprint);
    wrong[0] = wrong[0] == '0' ? '1' : '0';
    assert_int_equal(ask_tls(&t, &insecure, NULL, NULL), 0);
    assert_int_equal(ask_tls(&t, &(http_client_options){.thumbprint = wrong}, NULL, NULL), VMCTL_E_UNAVAILABLE);
    assert_int_equal(ask_tls(&t, &(http_client_options){.thumbprint = "12:34"}, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
    /* The certificate is for localhost; an address needs server_name. */
    char by_address[64];
    snprintf(by_address, sizeof by_address, "https://127.0.0.1:%d/", ntohs(a.sin_port));
    assert_int_equal(ask_tls(&t, &(http_client_options){.ca_file = t.certificate}, by_address, NULL),
                     VMCTL_E_UNAVAILABLE);
    assert_int_equal(
        ask_tls(&t, &(http_client_options){.ca_file = t.certificate, .server_name = "localhost"}, by_address, NULL), 0);
    tls_stop(&t);
}

int main(void) {
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("HTTPS_PROXY");
    unsetenv("ALL_PROXY");
    unsetenv("all_proxy");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trust_is_asked_for_and_kept_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
