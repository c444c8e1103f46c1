/* tests/unit/test_kube_fixtures.c - every exchange that was recorded with the real servers: its request is sent to a server that gives the
 * recorded answer, and what comes of it is what tests/fixtures/kubevirt/codes.tsv says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base64.h"
#include "drivers/websocket/websocket.h"
#include "kube_lab.h"
#include <openssl/evp.h>

#define FOLDER TEST_SOURCE_DIR "/fixtures/kubevirt/"

static vmc_deadline far;
static kube_client *client;
static server lab;
static char *folder;

/* One file. */
typedef struct exchange {
    char *text;
    size_t length;
    char method[16], target[1024], accept[256], type[128];
    const char *body; /* of the request */
    size_t body_length;
    int status;
    const char *head, *answer; /* of the answer: its header lines, and its body */
    size_t head_length, answer_length;
} exchange;

static exchange now; /* what the server answers with */

static const char *find(const char *in, size_t length, const char *what) {
    return memmem(in, length, what, strlen(what));
}

static void header(const exchange *x, const char *end, const char *name, char *out, size_t size) {
    const char *at = find(x->text, (size_t)(end - x->text), name);
    *out = '\0';
    if (at)
        snprintf(out, size, "%.*s", (int)strcspn(at + strlen(name), "\r\n"), at + strlen(name));
}

static void load(const char *name, exchange *x) {
    VMC_AUTO_FREE char *path = vmc_printf(FOLDER "%s", name);
    *x = (exchange){0};
    assert_int_equal(vmc_file_read(path, 1 << 20, &x->text, &x->length, NULL), 0);
    size_t kept = 0; /* upgrades were recorded with their carriage returns */
    for (size_t i = 0; i < x->length; i++)
        if (x->text[i] != '\r')
            x->text[kept++] = x->text[i];
    x->text[x->length = kept] = '\0';
    const char *line = find(x->text, x->length, "-----RESPONSE-----\n"), *end = x->text + x->length;
    assert_non_null(line);
    assert_int_equal(sscanf(x->text, "%15s %1023s", x->method, x->target), 2);
    header(x, line, "\nAccept: ", x->accept, sizeof x->accept);
    header(x, line, "\nContent-Type: ", x->type, sizeof x->type);
    const char *blank = find(x->text, (size_t)(line - x->text), "\n\n");
    x->body = blank ? blank + 2 : line;
    for (x->body_length = (size_t)(line - x->body); x->body_length > 0 && x->body[x->body_length - 1] == '\n';)
        x->body_length--;
    line = strchr(line, '\n') + 1;
    assert_true(sscanf(line, "HTTP/1.1 %d", &x->status) == 1 || sscanf(line, "HTTP %d", &x->status) == 1);
    x->head = strchr(line, '\n') + 1;
    const char *gap = *x->head == '\n' ? x->head - 1 : find(x->head, (size_t)(end - x->head), "\n\n");
    if (!gap)
        gap = end - 1; /* headers, and nothing after them */
    x->head_length = (size_t)(gap + 1 - x->head);
    x->answer = gap + 2 < end ? gap + 2 : end;
    x->answer_length = (size_t)(end - x->answer);
    while (x->answer_length > 0 && x->answer[x->answer_length - 1] == '\n')
        x->answer_length--;
    const char *closed = find(x->answer, x->answer_length, "<EOF>");
    if (closed) /* the recorder's word */
        x->answer_length = (size_t)(closed - x->answer);
}

/* RFC 6455, 4.2.2: the recorded one is for the recorder's key. */
static char *accept_of(const server_request *request) {
    VMC_AUTO_FREE char *key = server_header(request, "Sec-WebSocket-Key");
    assert_non_null(key);
    VMC_AUTO_FREE char *text = vmc_printf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    EVP_Digest(text, strlen(text), digest, &length, EVP_sha1(), NULL);
    vmc_str out = {0};
    vmc_base64_add(&out, digest, length, 0);
    return vmc_str_take(&out);
}

/* The recorded head, with the length that the body has here. */
static bool answer_recorded(server *s, int fd, const server_request *request, int count) {
    (void)s;
    (void)count;
    VMC_AUTO_STR out = {0};
    vmc_str_printf(&out, "HTTP/1.1 %d Words\r\n", now.status);
    for (const char *line = now.head; line < now.head + now.head_length;) {
        size_t n = strcspn(line, "\n");
        if (strncasecmp(line, "Retry-After:", 12) == 0)
            vmc_str_add(&out, "Retry-After: 0\r\n"); /* the recorded second is not waited for */
        else if (strncasecmp(line, "Sec-WebSocket-Accept:", 21) == 0) {
            VMC_AUTO_FREE char *accept = accept_of(request);
            vmc_str_printf(&out, "Sec-WebSocket-Accept: %s\r\n", accept);
        } else if (n > 0 && strncasecmp(line, "Transfer-Encoding", 17) != 0 &&
                   strncasecmp(line, "Content-Length", 14) != 0)
            vmc_str_printf(&out, "%.*s\r\n", (int)n, line);
        line += n + 1;
    }
    if (now.status == 101) { /* what follows is for tests of drivers/websocket */
        vmc_str_add(&out, "\r\n");
        server_send(fd, out.text, out.length);
        return false;
    }
    vmc_str_printf(&out, "Content-Length: %zu\r\n\r\n", now.answer_length);
    vmc_str_add_n(&out, now.answer, now.answer_length);
    server_send(fd, out.text, out.length);
    return true;
}

static int unescape(const char *from, char *to) {
    for (; *from; from++, to++) {
        unsigned value;
        if (*from == '%' && sscanf(from + 1, "%2x", &value) == 1) {
            *to = (char)value;
            from += 2;
        } else {
            *to = *from;
        }
    }
    *to = '\0';
    return 0;
}

/* The recorded target as path and query. */
typedef struct target {
    char text[1024];
    char values[32][1024];
    const char *query[33];
} target;

static void take_apart(const char *given, target *t) {
    *t = (target){0};
    snprintf(t->text, sizeof t->text, "%s", given);
    char *mark = strchr(t->text, '?');
    if (!mark)
        return;
    *mark = '\0';
    size_t n = 0;
    for (char *pair = strtok(mark + 1, "&"); pair && n < 32; pair = strtok(NULL, "&")) {
        char *equals = strchr(pair, '=');
        assert_non_null(equals);
        *equals = '\0';
        unescape(pair, t->values[n]);
        t->query[n] = t->values[n];
        n++;
        unescape(equals + 1, t->values[n]);
        t->query[n] = t->values[n];
        n++;
    }
}

static int ask(const target *t, kube_status *status, vmctl_error **err) {
    kube_request request = {.method = now.method,
                            .path = t->text,
                            .query = t->query,
                            .bytes = now.body_length > 0 ? now.body : NULL,
                            .length = now.body_length,
                            .content_type = *now.type ? now.type : NULL,
                            .accept = *now.accept ? now.accept : NULL,
                            .status = status};
    VMC_AUTO_FREE char *bytes = NULL, *type = NULL;
    size_t length = 0;
    int rc = kube_raw(client, &request, &far, &bytes, &length, &type, err);
    if (rc == 0) {
        assert_int_equal(length, now.answer_length);
        assert_memory_equal(bytes, now.answer, length);
    }
    return rc;
}

/* An upgrade; accepted with the subprotocol that was recorded. */
static int upgrade(const target *t, kube_status *status, vmctl_error **err) {
    char recorded[64];
    exchange answer = {.text = (char *)now.head};
    header(&answer, now.head + now.head_length, "\nSec-WebSocket-Protocol: ", recorded, sizeof recorded);
    kube_request request = {.path = t->text, .query = t->query, .status = status};
    WEBSOCKET_AUTO *ws = NULL;
    int rc = kube_open_websocket(client, &request, "plain.kubevirt.io", &far, &ws, err);
    if (rc == 0)
        assert_string_equal(websocket_subprotocol(ws) ? websocket_subprotocol(ws) : "", recorded);
    return rc;
}

/* ---- Lists and watches are read as such too ---- */

static int count_item(cJSON **item, void *user) {
    assert_null(cJSON_GetObjectItem(cJSON_GetObjectItem(*item, "metadata"), "managedFields"));
    ++*(int *)user;
    return 0;
}

/* The items of a recorded list, one by one, are those of the whole document. */
static void check_list(const target *t) {
    cJSON *whole = cJSON_ParseWithLength(now.answer, now.answer_length);
    const cJSON *items = cJSON_GetObjectItem(whole, "items"), *metadata = cJSON_GetObjectItem(whole, "metadata");
    const cJSON *token = cJSON_GetObjectItem(metadata, "continue");
    bool only_page = !cJSON_IsString(token) || !*token->valuestring;
    bool is_list =
        strcmp(now.method, "GET") == 0 && cJSON_IsArray(items) && only_page && !strstr(t->text, "/apis/subresources");
    if (is_list && strcmp(t->text, "/apis") != 0) {
        int count = 0;
        char *version = NULL;
        assert_int_equal(kube_list(client, t->text, &(kube_list_options){.resource_version = &version}, &far,
                                   count_item, &count, NULL),
                         0);
        assert_int_equal(count, cJSON_GetArraySize(items));
        assert_string_equal(version, cJSON_GetObjectItem(metadata, "resourceVersion")->valuestring);
        free(version);
    }
    cJSON_Delete(whole);
}

typedef struct lines {
    int count, wanted;
    kube_event event;
} lines;

static int count_event(kube_event event, cJSON **object, void *user) {
    lines *l = user;
    if (event == KUBE_SYNCED) /* a bookmark's */
        return 0;
    assert_non_null(*object);
    l->event = event;
    return ++l->count == l->wanted;
}

/* Every line but bookmarks is told. */
static void check_watch(const target *t) {
    lines l = {0};
    for (const char *p = now.answer; (p = find(p, (size_t)(now.answer + now.answer_length - p), "{\"type\":\"")); p++)
        l.wanted += strncmp(p + 9, "BOOKMARK", 8) != 0;
    kube_watch_options o = {.resource_version = "1"};
    assert_int_equal(kube_watch(client, t->text, &o, &far, count_event, &l, NULL), 0);
    assert_int_equal(l.count, l.wanted);
}

/* A stream that begins with 410: the next request is a list, from which nothing came here. */
static void check_relist(const target *t) {
    int before = lab.seen_count;
    vmctl_error *err = NULL;
    lines l = {.wanted = 1};
    int rc = kube_watch(client, t->text, &(kube_watch_options){.resource_version = "1"}, &far, count_event, &l, &err);
    assert_true(rc < 0); /* the same answer is no list */
    vmctl_error_free(err);
    assert_int_equal(l.count, 0);
    assert_non_null(strstr(lab.seen[before].path, "watch=true"));
    assert_null(strstr(lab.seen[before + 1].path, "watch=true"));
    assert_non_null(strstr(lab.seen[before + 1].path, "limit=500"));
}

/* The server keeps at most 256 requests. */
static void forget_seen(void) {
    pthread_mutex_lock(&lab.lock);
    for (int i = 0; i < lab.seen_count; i++)
        free(lab.seen[i].body);
    lab.seen_count = 0;
    pthread_mutex_unlock(&lab.lock);
}

static int bad;

static void check_one(const char *name, const char *wanted) {
    load(name, &now);
    target t;
    take_apart(now.target, &t);
    forget_seen();
    const char *got = NULL;
    vmctl_error *err = NULL;
    if (strcmp(wanted, "relist") == 0) {
        check_relist(&t);
        got = wanted;
    } else {
        KUBE_AUTO_STATUS status = {0};
        int rc = vmc_ends_with(name, ".ws") ? upgrade(&t, &status, &err) : ask(&t, &status, &err);
        got = vmctl_code_name(rc);
        assert_int_equal(status.http, rc < 0 ? now.status : 0);
        /* A read that the server wants again is asked ten times; nothing else of all this is sent twice. */
        bool again = find(now.head, now.head_length, "Retry-After:") && strcmp(now.method, "GET") == 0;
        assert_int_equal(lab.seen_count, again ? 10 : 1);
        assert_string_equal(lab.seen[0].path, now.target);
        assert_true(rc == 0 || strlen(vmctl_error_message(err)) > 10);
    }
    if (strcmp(got, wanted) != 0) {
        print_error("%s: %s, not %s: %s\n", name, got, wanted, vmctl_error_text(err));
        bad++;
    } else if (strcmp(wanted, "ok") == 0 && vmc_ends_with(name, ".watch")) {
        check_watch(&t);
    } else if (strcmp(wanted, "ok") == 0 && now.status == 200) {
        check_list(&t);
    }
    vmctl_error_free(err);
    free(now.text);
}

static void test_every_answer_has_its_code(void **state) {
    (void)state;
    VMC_AUTO_FREE char *table = NULL;
    assert_int_equal(vmc_file_read(FOLDER "codes.tsv", 1 << 20, &table, NULL, NULL), 0);
    int count = 0;
    char *rest = NULL;
    for (char *line = strtok_r(table, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), count++) {
        char *tab = strchr(line, '\t');
        *tab = '\0';
        check_one(line, tab + 1);
    }
    assert_int_equal(bad, 0);
    assert_int_equal(count, 241);
}

static int set_up(void **state) {
    (void)state;
    far = vmc_deadline_start(NULL, 100000);
    server_start(&lab, answer_recorded);
    folder = lab_folder();
    client = lab_client_of(folder, &lab, "{}");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    kube_client_free(client);
    http_shutdown();
    server_stop(&lab);
    lab_remove(folder);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_answer_has_its_code)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
