/* tests/unit/test_http.c - requests against a server that redirects, fails, stalls and sends too much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/http/http.h"
#include "drivers/process/process.h"
#include "http_server.h"
#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

static server one, two; /* two origins */
static atomic_size_t big_sent;
static vmc_deadline far;

static char *url_of(const server *s, const char *path) {
    static _Thread_local char urls[8][1024];
    static _Thread_local int next;
    char *url = urls[next++ % 8];
    snprintf(url, sizeof urls[0], "http://127.0.0.1:%d%s", s->port, path);
    return url;
}

static void send_lines(const server *s, int fd, int pause_ms, int lines) {
    const char *head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    server_send(fd, head, strlen(head));
    for (int i = 0; i < lines && !s->stop; i++) {
        server_send(fd, "5\r\nline\n\r\n", 10);
        usleep((useconds_t)pause_ms * 1000);
    }
    server_send(fd, "0\r\n\r\n", 5);
}

static bool answer(server *s, int fd, const server_request *r, int count) {
    VMC_AUTO_FREE char *headers = NULL;
    int status = 0, times = 0;
    char to[256];
    if (sscanf(r->path, "/status/%d", &status) == 1) {
        server_answer(fd, status, "", "the server's words\nmore");
    } else if (sscanf(r->path, "/flaky/%d", &times) == 1) {
        server_answer(fd, count < times ? 503 : 200, "Retry-After: 0\r\n", count < times ? "busy" : "fine");
    } else if (sscanf(r->path, "/later/%d", &times) == 1) {
        headers = vmc_printf("Retry-After: %d\r\n", times);
        server_answer(fd, count < 1 ? 429 : 200, headers, count < 1 ? "busy" : "fine");
    } else if (sscanf(r->path, "/redirect/%d?%255s", &status, to) == 2) {
        headers = vmc_printf("Location: %s\r\n", to);
        server_answer(fd, status, headers, "elsewhere");
    } else if (strcmp(r->path, "/echo") == 0) {
        headers = vmc_printf("X-Method: %s\r\nX-Length: %zu\r\n", r->method, r->length);
        server_answer(fd, 200, headers, r->length < 100 ? r->body : "long");
    } else if (strcmp(r->path, "/gzip") == 0) {
        static const char gz[] =
            "\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57\x48\xaf\xca\x2c\xe0\x02"
            "\x00\x39\x7c\x63\x56\x0b\x00\x00\x00";
        const char *head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 31\r\n\r\n";
        server_send(fd, head, strlen(head));
        server_send(fd, gz, 31);
    } else if (strcmp(r->path, "/hang") == 0) {
        while (!s->stop && recv(fd, to, 1, MSG_PEEK) != 0)
            usleep(10000);
        return false;
    } else if (strcmp(r->path, "/stall") == 0) {
        const char *head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome";
        server_send(fd, head, strlen(head));
        while (!s->stop && recv(fd, to, 1, MSG_PEEK) != 0)
            usleep(10000);
        return false;
    } else if (strcmp(r->path, "/drop") == 0) {
        if (count < 2)
            return false; /* no answer at all */
        server_answer(fd, 200, "", "third time");
    } else if (strcmp(r->path, "/drop-always") == 0) {
        return false;
    } else if (strcmp(r->path, "/half") == 0) {
        const char *head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome";
        server_send(fd, head, strlen(head));
        return false;
    } else if (strcmp(r->path, "/watch") == 0) {
        send_lines(s, fd, 20, 1000);
    } else if (strcmp(r->path, "/big") == 0) {
        size_t size = 64 << 20;
        char *zeros = calloc(1, 1 << 16);
        headers = vmc_printf("HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n", size);
        server_send(fd, headers, strlen(headers));
        for (big_sent = 0; big_sent < size; big_sent += 1 << 16)
            server_send(fd, zeros, 1 << 16);
        free(zeros);
    } else {
        server_answer(fd, 200, "X-Thing: first\r\nX-Thing: second\r\n", "hello");
    }
    return true;
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 30000);
    server_start(&one, answer);
    server_start(&two, answer);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    server_stop(&one);
    server_stop(&two);
    return 0;
}

static http_response *get(const http_request *request) {
    http_response *response = NULL;
    vmctl_error *err = NULL;
    if (http_perform(NULL, request, &far, &response, &err) < 0)
        fail_msg("%s", vmctl_error_text(err));
    return response;
}

static void gets_body_and_headers(void **state) {
    (void)state;
    HTTP_AUTO_RESPONSE *r = get(&(http_request){.url = url_of(&one, "/hello")});
    assert_int_equal(r->status, 200);
    assert_int_equal(r->version, 11);
    assert_string_equal(r->body, "hello");
    assert_int_equal(r->length, 5);
    assert_string_equal(http_response_header(r, "x-THING"), "second");
    assert_null(http_response_header(r, "absent"));
    assert_int_equal(r->attempts, 1);
    VMC_AUTO_FREE char *agent = server_last_header(&one, "/hello", "User-Agent");
    assert_string_equal(agent, "vmctl/" VMCTL_VERSION);
}

static void connections_are_used_again(void **state) {
    (void)state;
    for (int i = 0; i < 10; i++)
        http_response_free(get(&(http_request){.url = url_of(&one, "/hello")}));
    assert_int_equal(server_count(&one, "/hello"), 10);
    assert_int_equal(one.connections, 1);
}

static void sends_bodies(void **state) {
    (void)state;
    HTTP_AUTO_RESPONSE *post = get(&(http_request){.url = url_of(&one, "/echo"), .body = "{}", .body_length = 2});
    assert_string_equal(http_response_header(post, "x-method"), "POST");
    assert_string_equal(post->body, "{}");
    VMC_AUTO_FREE char *type = server_last_header(&one, "/echo", "Content-Type");
    assert_null(type);
    static const char *const headers[] = {"Content-Type: application/merge-patch+json", NULL};
    HTTP_AUTO_RESPONSE *patch = get(&(http_request){
        .url = url_of(&one, "/echo"), .method = "PATCH", .headers = headers, .body = "x", .body_length = 1});
    assert_string_equal(http_response_header(patch, "x-method"), "PATCH");
    VMC_AUTO_FREE char *patch_type = server_last_header(&one, "/echo", "Content-Type");
    assert_string_equal(patch_type, "application/merge-patch+json");
    HTTP_AUTO_RESPONSE *removed = get(&(http_request){.url = url_of(&one, "/echo"), .method = "DELETE"});
    assert_string_equal(http_response_header(removed, "x-method"), "DELETE");
}

typedef struct upload {
    size_t left;
    int calls;
} upload;

static ssize_t give(void *bytes, size_t size, void *user) {
    upload *u = user;
    size_t n = u->left < size ? u->left : size;
    memset(bytes, 'u', n);
    u->left -= n;
    u->calls++;
    return (ssize_t)n;
}

static void streams_uploads(void **state) {
    (void)state;
    for (int known = 0; known < 2; known++) {
        upload u = {.left = 5 << 20};
        http_request request = {.url = url_of(&one, "/echo"),
                                .method = "PUT",
                                .read = give,
                                .user = &u,
                                .read_length = known ? 5 << 20 : -1};
        HTTP_AUTO_RESPONSE *r = get(&request);
        assert_string_equal(http_response_header(r, "x-length"), "5242880");
        assert_true(u.calls > 5);
    }
    /* A stream that is shorter than it said. */
    upload u = {.left = 10};
    http_request request = {.url = url_of(&one, "/echo"), .method = "PUT", .read = give, .user = &u, .read_length = 20};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
}

static void unpacks_gzip_unless_told_not_to(void **state) {
    (void)state;
    HTTP_AUTO_RESPONSE *r = get(&(http_request){.url = url_of(&one, "/gzip")});
    assert_string_equal(r->body, "hello gzip\n");
    HTTP_AUTO_RESPONSE *raw = get(&(http_request){.url = url_of(&one, "/gzip"), .identity = true});
    assert_int_equal(raw->length, 31);
    VMC_AUTO_FREE char *accepted = server_last_header(&one, "/gzip", "Accept-Encoding");
    assert_null(accepted);
}

static const char *const secret_headers[] = {"X-Session: s3cret", NULL};

/* The credentials of a request whose answer leads to `path` of a server: what came there. */
static void follow(const server *s, int status, const char *path, char **authorization, char **session) {
    char from[600];
    snprintf(from, sizeof from, "/redirect/%d?%s", status, url_of(s, path));
    http_request request = {
        .url = url_of(&one, from), .authorization = "Bearer s3cret", .secret_headers = secret_headers};
    HTTP_AUTO_RESPONSE *r = get(&request);
    assert_int_equal(r->status, 200);
    *authorization = server_last_header((server *)s, path, "Authorization");
    *session = server_last_header((server *)s, path, "X-Session");
}

static void credentials_do_not_leave_their_origin(void **state) {
    (void)state;
    VMC_AUTO_FREE char *same_auth = NULL, *same_session = NULL, *other_auth = NULL, *other_session = NULL;
    follow(&one, 302, "/hello", &same_auth, &same_session);
    assert_string_equal(same_auth, "Bearer s3cret");
    assert_string_equal(same_session, "s3cret");
    follow(&two, 302, "/hello", &other_auth, &other_session);
    assert_int_equal(server_count(&two, "/hello"), 1);
    assert_null(other_auth);
    assert_null(other_session);
}

static void credentials_in_plain_headers_and_urls_stay_too(void **state) {
    (void)state;
    char from[600], with_user[1024];
    snprintf(from, sizeof from, "/redirect/307?%s", url_of(&two, "/hello"));
    static const char *const headers[] = {"Authorization: Basic eA==", "cookie: a=b", "X-Plain: yes", NULL};
    http_response_free(get(&(http_request){.url = url_of(&one, from), .headers = headers}));
    VMC_AUTO_FREE char *authorization = server_last_header(&two, "/hello", "Authorization");
    VMC_AUTO_FREE char *cookie = server_last_header(&two, "/hello", "Cookie");
    VMC_AUTO_FREE char *plain = server_last_header(&two, "/hello", "X-Plain");
    assert_null(authorization);
    assert_null(cookie);
    assert_string_equal(plain, "yes");
    /* "us%65r:p%40ss" is user:p@ss; RFC 7617: base64 of "user:p@ss". */
    snprintf(with_user, sizeof with_user, "http://us%%65r:p%%40ss@127.0.0.1:%d%s", one.port, from);
    HTTP_AUTO_RESPONSE *r = get(&(http_request){.url = with_user});
    VMC_AUTO_FREE char *basic = server_last_header(&one, from, "Authorization");
    VMC_AUTO_FREE char *there = server_last_header(&two, "/hello", "Authorization");
    assert_string_equal(basic, "Basic dXNlcjpwQHNz");
    assert_null(there);
    assert_null(strstr(r->url, "p%40ss"));
}

static void redirects_are_bounded_and_change_methods(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    http_request request = {.url = url_of(&two, "/redirect/301?/echo"), .body = "data", .body_length = 4};
    HTTP_AUTO_RESPONSE *moved = get(&request);
    assert_string_equal(http_response_header(moved, "x-method"), "GET");
    assert_string_equal(http_response_header(moved, "x-length"), "0");
    request.url = url_of(&two, "/redirect/308?/echo");
    HTTP_AUTO_RESPONSE *kept = get(&request);
    assert_string_equal(http_response_header(kept, "x-method"), "POST");
    assert_string_equal(kept->body, "data");
    /* A body goes to no other origin. */
    char across[600];
    snprintf(across, sizeof across, "/redirect/307?%s", url_of(&two, "/echo"));
    request.url = url_of(&one, across);
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    vmctl_error_free(err);
    err = NULL;
    request = (http_request){.url = url_of(&one, "/redirect/302?http://127.0.0.1:1/"), .max_redirects = -1};
    HTTP_AUTO_RESPONSE *as_it_is = get(&request);
    assert_int_equal(as_it_is->status, 302);
    assert_string_equal(http_response_header(as_it_is, "location"), "http://127.0.0.1:1/");
    request = (http_request){.url = url_of(&one, "/redirect/302?file:///etc/passwd")};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, NULL), VMCTL_E_INVALID_ARGUMENT);
}

static bool redirect_to_itself(server *s, int fd, const server_request *r, int count) {
    (void)s;
    (void)count;
    VMC_AUTO_FREE char *headers = vmc_printf("Location: %s\r\n", r->path);
    server_answer(fd, 302, headers, "");
    return true;
}

static void a_circle_of_redirects_ends(void **state) {
    (void)state;
    server circle;
    server_start(&circle, redirect_to_itself);
    vmctl_error *err = NULL;
    http_request request = {.url = url_of(&circle, "/x"), .max_redirects = 3};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_message(err), "more than 3"));
    assert_int_equal(server_count(&circle, "/x"), 4);
    vmctl_error_free(err);
    server_stop(&circle);
}

static void busy_servers_are_asked_again(void **state) {
    (void)state;
    HTTP_AUTO_RESPONSE *r = get(&(http_request){.url = url_of(&one, "/flaky/3")});
    assert_int_equal(r->status, 200);
    assert_string_equal(r->body, "fine");
    assert_int_equal(r->attempts, 4);
    HTTP_AUTO_RESPONSE *dropped = get(&(http_request){.url = url_of(&one, "/drop")});
    assert_string_equal(dropped->body, "third time");
    /* Retry-After is kept to: a second, not the 200 ms of the first pause. */
    int64_t start = vmc_now_ms();
    HTTP_AUTO_RESPONSE *later = get(&(http_request){.url = url_of(&one, "/later/1")});
    assert_int_equal(later->status, 200);
    assert_in_range(vmc_now_ms() - start, 990, 20000);
}

static void what_is_not_idempotent_is_sent_once(void **state) {
    (void)state;
    http_request request = {.url = url_of(&one, "/flaky/3"), .body = "x", .body_length = 1};
    HTTP_AUTO_RESPONSE *r = get(&request);
    assert_int_equal(r->status, 503);
    assert_string_equal(r->body, "busy");
    assert_int_equal(server_count(&one, "/flaky/3"), 1);
    request.url = url_of(&one, "/drop-always");
    vmctl_error *err = NULL;
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
    assert_int_equal(server_count(&one, "/drop-always"), 1);
    request.url = url_of(&one, "/flaky/1");
    request.idempotent = true;
    HTTP_AUTO_RESPONSE *again = get(&request);
    assert_int_equal(again->status, 200);
}

static void the_deadline_bounds_retries(void **state) {
    (void)state;
    /* An hour is not there: the answer is given as it is, at once. */
    vmc_deadline d = vmc_deadline_start(NULL, 2000);
    int64_t start = vmc_now_ms();
    http_response *r = NULL;
    assert_int_equal(http_perform(NULL, &(http_request){.url = url_of(&one, "/later/3600")}, &d, &r, NULL), 0);
    assert_in_range(vmc_now_ms() - start, 0, 1900);
    assert_int_equal(r->status, 429);
    http_response_free(r);
    vmctl_error *err = NULL;
    assert_int_equal(http_perform_ok(NULL, &(http_request){.url = url_of(&one, "/later/3601")}, &d, NULL, &err),
                     VMCTL_E_RESOURCE_EXHAUSTED);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
}

static void a_server_that_hangs_meets_the_deadline(void **state) {
    (void)state;
    static const char *const paths[] = {"/hang", "/stall"};
    for (int i = 0; i < 2; i++) {
        vmc_deadline d = vmc_deadline_start(NULL, 300);
        vmctl_error *err = NULL;
        int64_t start = vmc_now_ms();
        http_request request = {.url = url_of(&one, paths[i])};
        assert_int_equal(http_perform(NULL, &request, &d, NULL, &err), VMCTL_E_TIMEOUT);
        assert_in_range(vmc_now_ms() - start, 290, 10000);
        assert_non_null(strstr(vmctl_error_message(err), paths[i]));
        vmctl_error_free(err);
    }
    /* And its silence is an error of its own. */
    http_request request = {.url = url_of(&one, "/stall"), .idle_ms = 1000, .max_retries = -1};
    vmctl_error *err = NULL;
    int64_t start = vmc_now_ms();
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_in_range(vmc_now_ms() - start, 900, 20000);
    vmctl_error_free(err);
}

typedef struct stream {
    int lines, enough;
    size_t bytes;
    int answer;
    int head_status;
    pthread_t thread;
    vmctl_cancel *cancel;
} stream;

static int take_head(const http_response *response, void *user) {
    stream *s = user;
    assert_int_equal(s->bytes, 0);
    s->head_status = response->status;
    return 0;
}

static int take(const void *bytes, size_t length, void *user) {
    stream *s = user;
    assert_true(pthread_equal(pthread_self(), s->thread)); /* the caller's own */
    s->bytes += length;
    for (size_t i = 0; i < length; i++)
        s->lines += ((const char *)bytes)[i] == '\n';
    if (s->cancel && s->lines >= 3)
        vmctl_cancel_trigger(s->cancel);
    return s->enough && s->lines >= s->enough ? s->answer : 0;
}

static void watches_stream_and_end_when_enough_was_seen(void **state) {
    (void)state;
    stream s = {.enough = 5, .answer = 1, .thread = pthread_self()};
    http_request request = {.url = url_of(&one, "/watch"), .head = take_head, .write = take, .user = &s, .idle_ms = -1};
    int64_t start = vmc_now_ms();
    HTTP_AUTO_RESPONSE *r = get(&request);
    assert_in_range(vmc_now_ms() - start, 60, 10000);
    assert_int_equal(r->status, 200);
    assert_int_equal(s.head_status, 200);
    assert_in_range(s.lines, 5, 20);
    s = (stream){.enough = 2, .answer = -9, .thread = pthread_self()};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, NULL), -9);
}

static void cancel_ends_a_body(void **state) {
    (void)state;
    vmctl_cancel *cancel = vmctl_cancel_new();
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = cancel;
    vmc_deadline d = vmc_deadline_start(&call, -1);
    stream s = {.thread = pthread_self(), .cancel = cancel};
    http_request request = {.url = url_of(&one, "/watch"), .write = take, .user = &s};
    int64_t start = vmc_now_ms();
    assert_int_equal(http_perform(NULL, &request, &d, NULL, NULL), VMCTL_E_CANCELLED);
    assert_in_range(vmc_now_ms() - start, 0, 10000);
    assert_in_range(s.lines, 3, 50);
    vmctl_cancel_free(cancel);
}

typedef struct sleeper {
    size_t bytes, sent_while_asleep;
} sleeper;

static int sleep_first(const void *bytes, size_t length, void *user) {
    sleeper *s = user;
    (void)bytes;
    if (s->bytes == 0) {
        usleep(700 * 1000);
        s->sent_while_asleep = big_sent;
    }
    s->bytes += length;
    return 0;
}

static void a_slow_reader_stops_the_sender(void **state) {
    (void)state;
    sleeper s = {0};
    http_request request = {.url = url_of(&one, "/big"), .write = sleep_first, .user = &s, .identity = true};
    http_response_free(get(&request));
    assert_int_equal(s.bytes, 64 << 20);
    /* Our buffer and the kernel's: far from all of the 64 MiB. */
    assert_in_range(s.sent_while_asleep, 1, 24 << 20);
    /* And a body to be collected has a limit. */
    request = (http_request){.url = url_of(&one, "/big"), .limit = 1000};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, NULL), VMCTL_E_RESOURCE_EXHAUSTED);
}

static void a_body_that_ends_early_is_an_error(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    http_request request = {.url = url_of(&one, "/half"), .max_retries = 1};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
    assert_int_equal(server_count(&one, "/half"), 2);
    /* Bytes that were handed over are not asked for again. */
    stream s = {.thread = pthread_self()};
    request = (http_request){.url = url_of(&two, "/half"), .write = take, .user = &s};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, NULL), VMCTL_E_UNAVAILABLE);
    assert_int_equal(s.bytes, 4);
    assert_int_equal(server_count(&two, "/half"), 1);
}

static void statuses_become_codes(void **state) {
    (void)state;
    static const struct {
        int status, code;
    } cases[] = {{200, 0},
                 {204, 0},
                 {400, VMCTL_E_INVALID_ARGUMENT},
                 {401, VMCTL_E_UNAUTHENTICATED},
                 {403, VMCTL_E_PERMISSION_DENIED},
                 {404, VMCTL_E_NOT_FOUND},
                 {409, VMCTL_E_CONFLICT},
                 {422, VMCTL_E_INVALID_ARGUMENT},
                 {500, VMCTL_E_UNAVAILABLE},
                 {507, VMCTL_E_RESOURCE_EXHAUSTED}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[32];
        snprintf(path, sizeof path, "/status/%d", cases[i].status);
        vmctl_error *err = NULL;
        http_request request = {.url = url_of(&one, path)};
        assert_int_equal(http_perform_ok(NULL, &request, &far, NULL, &err), cases[i].code);
        if (cases[i].code) {
            assert_non_null(strstr(vmctl_error_message(err), "the server's words"));
            assert_null(strstr(vmctl_error_message(err), "more"));
            assert_non_null(strstr(vmctl_error_message(err), path));
        }
        vmctl_error_free(err);
    }
}

static void secrets_are_not_shown(void **state) {
    (void)state;
    static const struct {
        const char *url, *shown;
    } cases[] = {
        {"https://u:p@host/path", "https://host/path"},
        {"https://user%40dom:pa:ss@host:1/x?a=1&access_token=abc&b=2", "https://host:1/x?a=1&access_token=***&b=2"},
        {"http://h/?X-Amz-Signature=ff&X-Amz-Credential=aa&sig=x&Expires=9",
         "http://h/?X-Amz-Signature=***&X-Amz-Credential=***&sig=***&Expires=9"},
        {"https://host/a@b?q=c@d", "https://host/a@b?q=c@d"},
        {"https://a@b@host/", "https://host/"},
        {"plain words", "plain words"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        VMC_AUTO_FREE char *shown = http_redact_url(cases[i].url);
        assert_string_equal(shown, cases[i].shown);
    }
    vmctl_error *err = NULL;
    char url[128];
    snprintf(url, sizeof url, "http://someone:p4ss@127.0.0.1:%d/status/404?token=t0k", one.port);
    http_request request = {.url = url, .authorization = "Bearer b34rer"};
    assert_int_equal(http_perform_ok(NULL, &request, &far, NULL, &err), VMCTL_E_NOT_FOUND);
    assert_null(strstr(vmctl_error_text(err), "p4ss"));
    assert_null(strstr(vmctl_error_text(err), "t0k"));
    assert_null(strstr(vmctl_error_text(err), "b34rer"));
    vmctl_error_free(err);
    err = NULL;
    request.url = "ftp://someone:p4ss@host/";
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_null(strstr(vmctl_error_text(err), "p4ss"));
    vmctl_error_free(err);
}

static void retry_after_is_seconds_or_a_date(void **state) {
    (void)state;
    assert_int_equal(http_retry_after_ms("120"), 120000);
    assert_int_equal(http_retry_after_ms("0"), 0);
    assert_int_equal(http_retry_after_ms("Wed, 21 Oct 2015 07:28:00 GMT"), 0);
    assert_int_equal(http_retry_after_ms(NULL), -1);
    assert_int_equal(http_retry_after_ms("soon"), -1);
    assert_int_equal(http_retry_after_ms("12x"), -1);
    assert_true(http_retry_after_ms("Fri, 31 Dec 2100 23:59:59 GMT") > 1000000);
}

static void nobody_there_is_unavailable(void **state) {
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    bind(fd, (struct sockaddr *)&a, sizeof a);
    getsockname(fd, (struct sockaddr *)&a, &size);
    close(fd);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/", ntohs(a.sin_port));
    vmctl_error *err = NULL;
    http_request request = {.url = url, .max_retries = 1};
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
    err = NULL;
    request.url = "http://no-such-host.invalid/";
    assert_int_equal(http_perform(NULL, &request, &far, NULL, &err), VMCTL_E_UNAVAILABLE);
    vmctl_error_free(err);
}

static void *ask_many(void *client) {
    for (int i = 0; i < 20; i++) {
        http_response *r = NULL;
        vmc_deadline d = vmc_deadline_start(NULL, 30000);
        if (http_perform(client, &(http_request){.url = url_of(&one, "/hello")}, &d, &r, NULL) < 0 ||
            strcmp(r->body, "hello") != 0)
            return "failed";
        http_response_free(r);
    }
    return NULL;
}

static void many_threads_side_by_side(void **state) {
    (void)state;
    HTTP_AUTO_CLIENT *bounded = NULL;
    assert_int_equal(http_client_new(&(http_client_options){.max_requests = 2}, &bounded, NULL), 0);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, ask_many, bounded);
    for (int i = 0; i < 8; i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    assert_int_equal(server_count(&one, "/hello"), 160);
    assert_true(one.connections <= 3); /* the bound; one may have been replaced */
}

static void *wait_for_ever(void *result) {
    vmc_deadline d = vmc_deadline_start(NULL, 20000);
    *(int *)result = http_perform(NULL, &(http_request){.url = url_of(&one, "/hang")}, &d, NULL, NULL);
    return NULL;
}

static void shutdown_ends_requests_and_can_be_followed_by_more(void **state) {
    (void)state;
    int result = 0;
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_ever, &result);
    while (server_count(&one, "/hang") == 0)
        usleep(5000);
    int64_t start = vmc_now_ms();
    http_shutdown();
    pthread_join(thread, NULL);
    assert_in_range(vmc_now_ms() - start, 0, 10000);
    assert_int_equal(result, VMCTL_E_CANCELLED);
    http_shutdown();
    HTTP_AUTO_RESPONSE *r = get(&(http_request){.url = url_of(&one, "/hello")});
    assert_int_equal(r->status, 200);
}

int main(void) {
    unsetenv("http_proxy");
    unsetenv("https_proxy");
    unsetenv("HTTPS_PROXY");
    unsetenv("ALL_PROXY");
    unsetenv("all_proxy");
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(gets_body_and_headers),
        TEST(connections_are_used_again),
        TEST(sends_bodies),
        TEST(streams_uploads),
        TEST(unpacks_gzip_unless_told_not_to),
        TEST(credentials_do_not_leave_their_origin),
        TEST(credentials_in_plain_headers_and_urls_stay_too),
        TEST(redirects_are_bounded_and_change_methods),
        TEST(a_circle_of_redirects_ends),
        TEST(busy_servers_are_asked_again),
        TEST(what_is_not_idempotent_is_sent_once),
        TEST(the_deadline_bounds_retries),
        TEST(a_server_that_hangs_meets_the_deadline),
        TEST(watches_stream_and_end_when_enough_was_seen),
        TEST(cancel_ends_a_body),
        TEST(a_slow_reader_stops_the_sender),
        TEST(a_body_that_ends_early_is_an_error),
        TEST(statuses_become_codes),
        TEST(secrets_are_not_shown),
        TEST(retry_after_is_seconds_or_a_date),
        TEST(nobody_there_is_unavailable),
        TEST(many_threads_side_by_side),
        TEST(shutdown_ends_requests_and_can_be_followed_by_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
