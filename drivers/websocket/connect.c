/* drivers/websocket/connect.c - the connection by libcurl, and the upgrade. Source: libcurl's CURLOPT_CONNECT_ONLY; RFC 6455, 4.1. */
#include "base/base64.h"
#include "base/log.h"
#include "base/random.h"
#include "drivers/http/client.h"
#include "drivers/http/url.h"
#include "drivers/websocket/engine.h"
#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { KEY_BYTES = 16, MOST_HEAD = 1 << 16, MOST_BODY = 1 << 16, BODY_MS = 10000 };

/* --- the connection ------------------------------------------------------------------------------------------------- */

static void start_library(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

static int set_up(websocket *ws, const websocket_options *options, const http_url *url, vmctl_error **err) {
    CURL *easy = ws->easy;
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, ws->curl_error);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_URL, url->text);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "vmctl/" VMCTL_VERSION);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1); /* also what ALPN asks for */
    curl_easy_setopt(easy, CURLOPT_HTTPPROXYTUNNEL, 1L); /* a proxy that read along would not know what follows */
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    return http_client_apply(options->client, url, easy, &ws->headers, &ws->connect_to, err);
}

/* 1: connected (or not: *result), 0: not yet. */
static int connect_step(websocket *ws, CURLcode *result) {
    int running = 0, left = 0;
    (void)curl_multi_perform(ws->multi, &running);
    for (CURLMsg *message; (message = curl_multi_info_read(ws->multi, &left));)
        if (message->msg == CURLMSG_DONE) {
            *result = message->data.result;
            return 1;
        }
    return 0;
}

static int dial(websocket *ws, const websocket_options *options, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("connecting to %s", ws->url);
    CURLcode result = CURLE_OK;
    while (!connect_step(ws, &result)) {
        int rc = vmc_deadline_check(deadline, doing, err);
        if (rc < 0)
            return rc;
        int left = vmc_deadline_left(deadline);
        struct curl_waitfd cancel = {.fd = vmctl_cancel_fd(deadline->cancel), .events = CURL_WAIT_POLLIN};
        (void)curl_multi_poll(ws->multi, &cancel, cancel.fd >= 0, left < 0 ? 60000 : left, NULL);
    }
    curl_socket_t fd = CURL_SOCKET_BAD;
    if (result == CURLE_OK)
        result = curl_easy_getinfo(ws->easy, CURLINFO_ACTIVESOCKET, &fd);
    if (result != CURLE_OK || fd == CURL_SOCKET_BAD)
        return http_transport_error("GET", ws->url, result, http_ended_at_proxy(options->client, ws->easy, result),
                                    ws->curl_error, options->failure, NULL, err);
    ws->fd = fd;
    ws->curl_error[0] = '\0';
    return 0;
}

ssize_t websocket_raw_receive(websocket *ws, void *bytes, size_t size) {
    size_t n = 0;
    CURLcode rc = curl_easy_recv(ws->easy, bytes, size, &n);
    if (rc == CURLE_AGAIN)
        return 0;
    ws->orderly = rc == CURLE_OK && n == 0;
    return rc == CURLE_OK && n > 0 ? (ssize_t)n : -1;
}

ssize_t websocket_raw_send(websocket *ws, const void *bytes, size_t size) {
    size_t n = 0;
    CURLcode rc = curl_easy_send(ws->easy, bytes, size, &n);
    return rc == CURLE_OK ? (ssize_t)n : rc == CURLE_AGAIN ? 0 : -1;
}

/* --- the request ----------------------------------------------------------------------------------------------------- */

static const char *path_of(const http_url *url) {
    const char *at = strstr(url->text, "://");
    at = at ? strchr(at + 3, '/') : NULL;
    return at ? at : "/";
}

static void add_lines(vmc_str *out, const char *const *headers) {
    for (size_t i = 0; headers && headers[i]; i++)
        vmc_str_printf(out, "%s\r\n", headers[i]);
}

/* Holds secrets: wiped by the caller. */
static char *request_of(const websocket_options *options, const http_url *url, const char *key) {
    vmc_str out = {0};
    bool usual = vmc_str_eq(url->port, strcasecmp(url->scheme, "https") == 0 ? "443" : "80");
    vmc_str_printf(&out, "GET %s HTTP/1.1\r\nHost: %s%s%s\r\n", path_of(url), url->host, usual ? "" : ":",
                   usual ? "" : url->port);
    vmc_str_add(&out, "User-Agent: vmctl/" VMCTL_VERSION "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    vmc_str_printf(&out, "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %s\r\n", key);
    if (options->subprotocol)
        vmc_str_printf(&out, "Sec-WebSocket-Protocol: %s\r\n", options->subprotocol);
    add_lines(&out, options->headers);
    add_lines(&out, options->secret_headers);
    if (options->authorization || url->basic)
        vmc_str_printf(&out, "Authorization: %s\r\n", options->authorization ? options->authorization : url->basic);
    vmc_str_add(&out, "\r\n");
    return vmc_str_take(&out);
}

static int send_request(websocket *ws, const char *text, const vmc_deadline *deadline, vmctl_error **err) {
    size_t length = strlen(text), sent = 0;
    while (sent < length) {
        ssize_t n = websocket_raw_send(ws, text + sent, length - sent);
        if (n < 0)
            return http_transport_error("GET", ws->url, CURLE_SEND_ERROR, false, ws->curl_error, NULL, NULL, err);
        sent += (size_t)n;
        int rc = n > 0 ? 1 : vmc_deadline_poll(deadline, ws->fd, POLLOUT, -1, "asking for a WebSocket", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* --- the answer -------------------------------------------------------------------------------------------------------- */

/* More bytes of the answer: their number, 0 at the connection's end. */
static ssize_t more(websocket *ws, vmc_str *in, const vmc_deadline *deadline, vmctl_error **err) {
    char bytes[16384];
    for (;;) {
        ssize_t n = websocket_raw_receive(ws, bytes, sizeof bytes);
        if (n != 0) {
            vmc_str_add_n(in, bytes, n > 0 ? (size_t)n : 0);
            return n > 0 ? n : 0;
        }
        VMC_AUTO_FREE char *doing = vmc_printf("waiting for %s", ws->url);
        int rc = vmc_deadline_poll(deadline, ws->fd, POLLIN, -1, doing, err);
        if (rc < 0)
            return rc;
    }
}

/* *in begins with a whole head, of *head_length bytes. Interim answers (RFC 9110, 15.2) but 101 are skipped. */
static int receive_head(websocket *ws, vmc_str *in, size_t *head_length, const vmc_deadline *deadline,
                        vmctl_error **err) {
    for (;;) {
        const char *end = in->text ? memmem(in->text, in->length, "\r\n\r\n", 4) : NULL;
        if (end) {
            *head_length = (size_t)(end - in->text) + 4;
            if (!vmc_starts_with(in->text, "HTTP/1.1 10") || vmc_starts_with(in->text, "HTTP/1.1 101"))
                return 0;
            memmove(in->text, in->text + *head_length, in->length - *head_length);
            in->length -= *head_length;
            in->text[in->length] = '\0';
            continue;
        }
        ssize_t n = in->length < MOST_HEAD ? more(ws, in, deadline, err) : 0;
        if (n < 0)
            return (int)n;
        if (n == 0) {
            vmc_error(err, VMCTL_E_UNAVAILABLE, "%s gave no answer of HTTP/1.1 to the wish for a WebSocket%s%s",
                      ws->url, *ws->curl_error ? ": " : "", ws->curl_error);
            vmc_error_retryable(err);
            return VMCTL_E_UNAVAILABLE;
        }
    }
}

static http_response *parse_head(const websocket *ws, const char *text, size_t length) {
    http_response *response = vmc_alloc(sizeof *response);
    response->url = vmc_strdup(ws->url);
    response->version = 11;
    response->attempts = 1;
    response->body = vmc_strdup("");
    const char *space = memchr(text, ' ', length);
    response->status = vmc_starts_with(text, "HTTP/1.") && space ? (int)strtol(space, NULL, 10) : 0;
    for (const char *line = text, *end = text + length; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t n = stop ? (size_t)(stop - line) : (size_t)(end - line);
        if (line != text)
            http_header_add(&response->names, &response->values, line, n);
        line += n + 1;
    }
    return response;
}

/* The chunked coding (RFC 9112, 7.1) taken apart. false: not all of it is there. */
static bool take_chunks(const char *in, size_t length, vmc_str *body) {
    const char *at = in, *end = in + length;
    for (;;) {
        const char *stop = memmem(at, (size_t)(end - at), "\r\n", 2);
        size_t size = stop ? strtoul(at, NULL, 16) : 0;
        if (!stop || size > MOST_BODY || (size_t)(end - stop) < size + 4)
            return false;
        if (size == 0)
            return true;
        vmc_str_add_n(body, stop + 2, size);
        at = stop + 2 + size + 2;
    }
}

/* What the refusing answer says, as far as it comes. */
static void receive_body(websocket *ws, http_response *response, vmc_str *in, size_t head,
                         const vmc_deadline *deadline) {
    vmc_deadline soon = vmc_deadline_within(deadline, BODY_MS);
    const char *length = http_response_header(response, "content-length");
    const char *coding = http_response_header(response, "transfer-encoding");
    VMC_AUTO_STR body = {0};
    bool chunked = coding && strcasestr(coding, "chunked");
    size_t wanted = length && !chunked ? strtoul(length, NULL, 10) : MOST_BODY;
    if (wanted > MOST_BODY)
        wanted = MOST_BODY;
    for (;;) {
        body.length = 0;
        if (chunked ? take_chunks(in->text + head, in->length - head, &body) : in->length - head >= wanted)
            break;
        if (in->length - head > 2 * MOST_BODY || more(ws, in, &soon, NULL) <= 0)
            break;
    }
    if (!chunked)
        vmc_str_add_n(&body, in->text + head, in->length - head < wanted ? in->length - head : wanted);
    free(response->body);
    response->length = body.length;
    response->body = vmc_str_take(&body);
}

static char *base64_of(const void *bytes, size_t length) {
    vmc_str out = {0};
    vmc_base64_add(&out, bytes, length, 0);
    return vmc_str_take(&out);
}

/* The key, hashed as RFC 6455, 1.3 says. free */
static char *accepted_key(const char *key) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    VMC_AUTO_FREE char *text = vmc_printf("%s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key);
    if (EVP_Digest(text, strlen(text), digest, &length, EVP_sha1(), NULL) != 1)
        length = 0;
    return base64_of(digest, length);
}

static bool has_token(const char *list, const char *token) {
    size_t length = strlen(token);
    while (list && *list) {
        list += strspn(list, ", \t");
        size_t n = strcspn(list, ", \t");
        if (n == length && strncasecmp(list, token, n) == 0)
            return true;
        list += n;
    }
    return false;
}

static int check_upgrade(websocket *ws, const websocket_options *options, const char *key,
                         const http_response *response, vmctl_error **err) {
    VMC_AUTO_FREE char *expected = accepted_key(key);
    const char *protocol = http_response_header(response, "sec-websocket-protocol");
    const char *why = NULL;
    if (!has_token(http_response_header(response, "upgrade"), "websocket") ||
        !has_token(http_response_header(response, "connection"), "upgrade"))
        why = "it switched to another protocol";
    else if (!vmc_str_eq(http_response_header(response, "sec-websocket-accept"), expected))
        why = "its answer is to another request: a proxy between cannot WebSockets";
    else if (http_response_header(response, "sec-websocket-extensions"))
        why = "it chose an extension that was not asked for";
    else if (protocol && !has_token(options->subprotocol, protocol))
        why = "it chose a subprotocol that was not asked for";
    if (why)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "%s does not upgrade to a WebSocket: %s", ws->url, why);
    ws->subprotocol = vmc_strdup(protocol);
    return 0;
}

static int take_answer(websocket *ws, const websocket_options *options, const char *key, const vmc_deadline *deadline,
                       http_response **refused, vmctl_error **err) {
    VMC_AUTO_STR in = {0};
    size_t head = 0;
    int rc = receive_head(ws, &in, &head, deadline, err);
    if (rc < 0)
        return rc;
    http_response *response = parse_head(ws, in.text, head);
    if (vmc_log_enabled())
        vmc_log("websocket", "GET %s: %d", ws->url, response->status);
    if (response->status == 101) {
        rc = check_upgrade(ws, options, key, response, err);
        ws->raw.to = in.length - head; /* at most one read of `more` */
        memcpy(ws->raw.bytes, in.text + head, ws->raw.to);
        http_response_free(response);
        return rc;
    }
    receive_body(ws, response, &in, head, deadline);
    rc = http_status_error(&(http_request){.method = "GET"}, response, err);
    if (rc == 0)
        rc = vmc_error(err, VMCTL_E_UNAVAILABLE, "%s answered %d instead of a WebSocket", ws->url, response->status);
    if (refused)
        *refused = response;
    else
        http_response_free(response);
    return rc;
}

int websocket_connect(websocket *ws, const websocket_options *options, const vmc_deadline *deadline,
                      http_response **refused, vmctl_error **err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start_library);
    http_url url;
    int rc = http_url_parse(options->url, NULL, &url, err);
    if (rc < 0)
        return rc;
    ws->url = http_redact_url(url.text);
    ws->multi = curl_multi_init();
    ws->easy = curl_easy_init();
    unsigned char random[KEY_BYTES];
    vmc_random_fill(random, sizeof random);
    if (!ws->multi || !ws->easy)
        rc = vmc_error_no_memory(err);
    if (rc == 0)
        rc = set_up(ws, options, &url, err);
    if (rc == 0 && curl_multi_add_handle(ws->multi, ws->easy) != CURLM_OK)
        rc = vmc_error_no_memory(err);
    if (rc == 0)
        rc = dial(ws, options, deadline, err);
    VMC_AUTO_FREE char *key = base64_of(random, sizeof random);
    if (rc == 0) {
        char *request = request_of(options, &url, key);
        rc = send_request(ws, request, deadline, err);
        vmc_wipe_free(request);
    }
    http_url_free(&url);
    return rc < 0 ? rc : take_answer(ws, options, key, deadline, refused, err);
}
