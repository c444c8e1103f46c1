/* drivers/http/exchange.c - one hop: libcurl's options and callbacks on one side, the caller's on the other. */
#include "drivers/http/exchange.h"
#include "base/log.h"
#include "drivers/http/client.h"
#include <ctype.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { DEFAULT_LIMIT = 16 << 20, DEFAULT_IDLE_MS = 60000, UPLOAD_CHUNK = 1 << 18, ERROR_BODY_LIMIT = 1 << 20 };

bool http_status_retryable(int status) {
    return status == 429 || status == 502 || status == 503 || status == 504;
}

bool http_status_redirects(int status) {
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

/* In the I/O thread. */
static size_t on_body(char *bytes, size_t one, size_t length, void *user) {
    (void)one;
    http_transfer *t = user;
    pthread_mutex_lock(&t->lock);
    size_t taken = length;
    if (t->in.length > 0 && t->in.length + length > HTTP_BUFFER) {
        t->in_paused = true;
        taken = CURL_WRITEFUNC_PAUSE;
    } else {
        vmc_str_add_n(&t->in, bytes, length);
        http_transfer_notify(t);
    }
    pthread_mutex_unlock(&t->lock);
    return taken;
}

/* In the I/O thread. Interim answers (1xx) are dropped, trailers too. */
static size_t on_header(char *line, size_t one, size_t length, void *user) {
    (void)one;
    http_transfer *t = user;
    pthread_mutex_lock(&t->lock);
    if (length > 5 && memcmp(line, "HTTP/", 5) == 0) {
        vmc_strv_free(&t->names);
        vmc_strv_free(&t->values);
        const char *number = memchr(line, ' ', length);
        t->status = number && (size_t)(number - line) + 4 <= length ? (int)strtol(number, NULL, 10) : 0;
        t->version = line[5] == '2' ? 20 : line[5] == '1' && length > 7 && line[7] == '0' ? 10 : 11;
        t->head_complete = false;
    } else if (length <= 2) {
        t->head_complete = t->status >= 200;
        http_transfer_notify(t);
    } else if (!t->head_complete) {
        http_header_add(&t->names, &t->values, line, length);
    }
    pthread_mutex_unlock(&t->lock);
    return length;
}

/* In the I/O thread: notes when bytes last went either way. */
static int on_progress(void *user, curl_off_t in_total, curl_off_t in, curl_off_t out_total, curl_off_t out) {
    (void)in_total;
    (void)out_total;
    http_transfer *t = user;
    pthread_mutex_lock(&t->lock);
    if (in + out != t->moved) {
        t->moved = in + out;
        t->moved_ms = vmc_now_ms();
    }
    pthread_mutex_unlock(&t->lock);
    return 0;
}

/* In the I/O thread. */
static size_t on_upload(char *bytes, size_t one, size_t size, void *user) {
    size *= one;
    http_transfer *t = user;
    pthread_mutex_lock(&t->lock);
    size_t left = t->out.length - t->out_at, given = left < size ? left : size;
    if (given > 0) {
        memcpy(bytes, t->out.text + t->out_at, given);
        t->out_at += given;
    } else if (!t->out_end) {
        t->out_paused = true;
        given = CURL_READFUNC_PAUSE;
        http_transfer_notify(t);
    }
    pthread_mutex_unlock(&t->lock);
    return given;
}

/* In the I/O thread. libcurl sends a request once more when the kept connection that it used turns out to be closed. */
static int on_send(void *user, char *to, char *from, int to_port, int from_port) {
    (void)to;
    (void)from;
    (void)to_port;
    (void)from_port;
    http_transfer *t = user;
    return ++t->sends > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static bool names_header(const char *line, const char *name) {
    size_t n = strlen(name);
    return strncasecmp(line, name, n) == 0 && line[n] == ':';
}

static bool is_credential(const char *line) {
    return names_header(line, "Authorization") || names_header(line, "Cookie") ||
           names_header(line, "Proxy-Authorization");
}

static void append(http_transfer *t, const char *line) {
    t->headers = curl_slist_append(t->headers, line);
}

static void add_headers(const http_hop *hop, http_transfer *t) {
    const http_request *r = hop->request;
    bool typed = false, authorized = false;
    for (size_t i = 0; r->headers && r->headers[i]; i++) {
        if (is_credential(r->headers[i]) && !hop->with_secrets)
            continue;
        typed = typed || names_header(r->headers[i], "Content-Type");
        authorized = authorized || names_header(r->headers[i], "Authorization");
        append(t, r->headers[i]);
    }
    if (hop->with_secrets) {
        for (size_t i = 0; r->secret_headers && r->secret_headers[i]; i++)
            append(t, r->secret_headers[i]);
        const char *authorization = r->authorization ? r->authorization : authorized ? NULL : hop->basic;
        if (authorization) {
            char *line = vmc_printf("Authorization: %s", authorization);
            append(t, line);
            vmc_wipe_free(line);
        }
    }
    if (hop->with_body && !typed)
        append(t, "Content-Type:"); /* not libcurl's guess */
    append(t, "Expect:");           /* no pause of a second before a body */
}

static void set_body(const http_hop *hop, http_transfer *t) {
    const http_request *r = hop->request;
    if (hop->with_body && r->read) {
        curl_easy_setopt(t->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(t->easy, CURLOPT_READFUNCTION, on_upload);
        curl_easy_setopt(t->easy, CURLOPT_READDATA, t);
        curl_easy_setopt(t->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)(r->read_length >= 0 ? r->read_length : -1));
    } else if (hop->with_body) {
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_length);
        curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, r->body);
    }
    if (strcmp(hop->method, "HEAD") == 0)
        curl_easy_setopt(t->easy, CURLOPT_NOBODY, 1L);
    curl_easy_setopt(t->easy, CURLOPT_CUSTOMREQUEST, hop->method);
}

static int set_up(const http_hop *hop, http_transfer *t, vmctl_error **err) {
    CURL *easy = t->easy;
    const http_request *r = hop->request;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, t);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* a name that does not resolve keeps no one waiting */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_URL, hop->url->text);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "vmctl/" VMCTL_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(easy, CURLOPT_PIPEWAIT, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, 30L); /* before most middle boxes forget a quiet connection */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, 15L);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, t);
    if (!r->identity)
        curl_easy_setopt(easy, CURLOPT_ACCEPT_ENCODING, "");
    curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(easy, CURLOPT_XFERINFODATA, t);
    if (hop->fresh)
        curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    if (hop->once) {
        curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_send);
        curl_easy_setopt(easy, CURLOPT_PREREQDATA, t);
    }
    set_body(hop, t);
    int rc = http_client_apply(hop->client, hop->url, t->easy, &t->headers, &t->connect_to, err);
    if (rc < 0)
        return rc;
    add_headers(hop, t);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, t->headers);
    return 0;
}

static int transport_error(const http_hop *hop, const http_transfer *t, http_hop_result *result, vmctl_error **err) {
    VMC_AUTO_FREE char *url = http_redact_url(hop->url->text);
    const char *words =
        t->result == CURLE_ABORTED_BY_CALLBACK ? "the connection ended before the answer came" : t->error;
    bool at_proxy = http_ended_at_proxy(hop->client, t->easy, t->result);
    return http_transport_error(hop->method, url, t->result, at_proxy, words, &result->failure, &result->transport,
                                err);
}

/* What the waiting caller keeps. */
typedef struct reader {
    const http_hop *hop;
    http_transfer *t;
    http_hop_result *result;
    vmc_str body; /* collected */
    bool dropped; /* the body is nobody's: of a redirect */
    char *chunk;  /* of an upload */
} reader;

static void take_head(reader *r) {
    http_response *response = vmc_alloc(sizeof *response);
    response->status = r->t->status;
    response->version = r->t->version;
    response->names = r->t->names;
    response->values = r->t->values;
    r->t->names = r->t->values = (vmc_strv){0};
    response->url = http_redact_url(r->hop->url->text);
    response->body = vmc_strdup("");
    r->result->response = response;
}

/* The caller hears of this answer: 0 or a callback's code. */
static int tell_head(reader *r) {
    const http_request *request = r->hop->request;
    int status = r->result->response->status;
    bool followed = http_status_redirects(status) && request->max_redirects >= 0 &&
                    http_response_header(r->result->response, "location");
    r->dropped = followed;
    if (followed || http_status_retryable(status) || !request->head)
        return 0;
    r->result->told = true;
    return request->head(r->result->response, request->user);
}

static int tell_body(reader *r, vmc_str *bytes, vmctl_error **err) {
    const http_request *request = r->hop->request;
    if (bytes->length == 0 || r->dropped)
        return 0;
    bool error_answer = r->result->response && r->result->response->status >= 400;
    if (request->write && !error_answer) {
        r->result->told = true;
        return request->write(bytes->text, bytes->length, request->user);
    }
    size_t limit = request->limit ? request->limit : DEFAULT_LIMIT;
    if (error_answer && limit < ERROR_BODY_LIMIT)
        limit = ERROR_BODY_LIMIT;
    if (r->body.length + bytes->length > limit) {
        if (error_answer)
            return 0;
        VMC_AUTO_FREE char *url = http_redact_url(r->hop->url->text);
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "the answer of %s is longer than %zu bytes", url, limit);
    }
    vmc_str_add_n(&r->body, bytes->text, bytes->length);
    return 0;
}

/* More of the upload. The caller's function runs without the lock. */
static int feed(reader *r, vmctl_error **err) {
    const http_request *request = r->hop->request;
    if (!r->chunk)
        r->chunk = vmc_alloc(UPLOAD_CHUNK);
    ssize_t n = request->read(r->chunk, UPLOAD_CHUNK, request->user);
    if (n < 0)
        return (int)n;
    http_transfer *t = r->t;
    pthread_mutex_lock(&t->lock);
    if (t->out_at == t->out.length)
        t->out.length = t->out_at = 0;
    vmc_str_add_n(&t->out, r->chunk, (size_t)n);
    t->out_total += n;
    t->out_end = n == 0 || (request->read_length >= 0 && t->out_total >= request->read_length);
    t->out_paused = false;
    bool short_of = n == 0 && request->read_length >= 0 && t->out_total < request->read_length;
    pthread_mutex_unlock(&t->lock);
    if (short_of)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the upload ended before its %lld bytes",
                         (long long)request->read_length);
    http_loop_resume(t);
    return 0;
}

static void be_patient(reader *r) {
    pthread_mutex_lock(&r->t->lock);
    r->t->moved_ms = vmc_now_ms();
    pthread_mutex_unlock(&r->t->lock);
}

/* One look at what the I/O thread left. 1: all is told. */
static int step(reader *r, vmctl_error **err) {
    http_transfer *t = r->t;
    uint64_t unused;
    while (read(t->wake, &unused, sizeof unused) > 0)
        ;
    pthread_mutex_lock(&t->lock);
    bool head = t->head_complete && !r->result->response;
    if (head)
        take_head(r);
    vmc_str bytes = t->in;
    t->in = (vmc_str){0};
    bool resume = t->in_paused, hungry = t->out_paused && !t->out_end, done = t->done;
    t->in_paused = false;
    pthread_mutex_unlock(&t->lock);
    int rc = head ? tell_head(r) : 0;
    if (rc == 0)
        rc = tell_body(r, &bytes, err);
    if (bytes.length > 0 || hungry)
        be_patient(r); /* the time that the callbacks took is no silence */
    vmc_str_free(&bytes);
    if (rc == 0 && resume)
        http_loop_resume(t);
    if (rc == 0 && hungry && !done)
        rc = feed(r, err);
    if (rc > 0)
        r->result->stopped = true;
    return rc < 0 ? rc : rc > 0 || (done && !resume);
}

/* How long it may still be silent; negative: for ever. */
static int silence_left(reader *r, int64_t idle_ms) {
    if (idle_ms < 0)
        return -1;
    pthread_mutex_lock(&r->t->lock);
    int64_t left = r->t->moved_ms + idle_ms - vmc_now_ms();
    pthread_mutex_unlock(&r->t->lock);
    return left > 0 ? (int)left : 0;
}

static int wait_all(reader *r, vmctl_error **err) {
    VMC_AUTO_FREE char *url = http_redact_url(r->hop->url->text);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s", url);
    int64_t idle_ms = r->hop->request->idle_ms ? r->hop->request->idle_ms : DEFAULT_IDLE_MS;
    for (;;) {
        int rc = vmc_deadline_poll(r->hop->deadline, r->t->wake, POLLIN, silence_left(r, idle_ms), doing, err);
        if (rc < 0)
            return rc;
        if (rc == 0 && silence_left(r, idle_ms) == 0) {
            r->result->transport = true;
            r->result->failure = HTTP_FAILURE_SILENT;
            vmc_error(err, VMCTL_E_UNAVAILABLE, "%s %s: silent for %lld ms", r->hop->method, url, (long long)idle_ms);
            vmc_error_retryable(err);
            return VMCTL_E_UNAVAILABLE;
        }
        if (rc == 0)
            continue;
        rc = step(r, err);
        if (rc != 0)
            return rc < 0 ? rc : 0;
    }
}

static int conclude(reader *r, vmctl_error **err) {
    http_transfer *t = r->t;
    http_hop_result *result = r->result;
    if (!result->stopped && t->stopped)
        return vmc_error(err, VMCTL_E_CANCELLED, "HTTP ends with the program");
    if (!result->stopped && t->result != CURLE_OK)
        return transport_error(r->hop, t, result, err);
    if (!result->response)
        take_head(r); /* HTTP/0.9, or nothing at all */
    free(result->response->body);
    result->response->length = r->body.length;
    result->response->body = vmc_str_take(&r->body);
    return 0;
}

int http_hop_run(const http_hop *hop, http_hop_result *result, vmctl_error **err) {
    *result = (http_hop_result){0};
    http_transfer *t = http_transfer_new();
    if (!t)
        return vmc_error_no_memory(err);
    t->moved_ms = vmc_now_ms();
    reader r = {.hop = hop, .t = t, .result = result};
    VMC_AUTO_FREE char *shown = http_redact_url(hop->url->text);
    VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s", shown);
    int rc = vmc_deadline_check(hop->deadline, doing, err); /* then it does not go out at all */
    if (rc == 0)
        rc = set_up(hop, t, err);
    if (rc == 0)
        rc = http_loop_add(t, err);
    if (rc == 0) {
        rc = wait_all(&r, err);
        http_loop_remove(t);
        result->sent = t->sends > 0;
        if (rc == 0)
            rc = conclude(&r, err);
    }
    if (vmc_log_enabled())
        vmc_log("http", "%s %s: %d", hop->method, shown, rc < 0 ? rc : result->response->status);
    if (rc < 0) {
        http_response_free(result->response);
        result->response = NULL;
    }
    vmc_str_free(&r.body);
    free(r.chunk);
    http_transfer_free(t);
    return rc;
}
