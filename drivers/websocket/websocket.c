/* drivers/websocket/websocket.c - the calls that wait, one WebSocket at a time. */
#include "drivers/websocket/websocket.h"
#include "drivers/websocket/engine.h"
#include <stdlib.h>
#include <string.h>

enum { PING_MS = 20000, MESSAGE = 10240 };

static void make_buffer(websocket_buffer *b, size_t capacity) {
    b->bytes = vmc_alloc(capacity);
    b->capacity = capacity;
}

int websocket_open(const websocket_options *options, const vmc_deadline *deadline, websocket **out,
                   http_response **refused, vmctl_error **err) {
    websocket *ws = vmc_alloc(sizeof *ws);
    ws->fd = -1;
    ws->message_bytes = options->message_bytes ? options->message_bytes : MESSAGE;
    ws->ping_ms = options->ping_ms ? options->ping_ms : PING_MS;
    make_buffer(&ws->raw, WEBSOCKET_RAW);
    make_buffer(&ws->payload, WEBSOCKET_PAYLOAD);
    make_buffer(&ws->out, WEBSOCKET_OUT);
    int rc = websocket_library(ws, err);
    if (rc == 0)
        rc = websocket_connect(ws, options, deadline, refused, err);
    if (rc == 0 && websocket_frames_init(ws) < 0)
        rc = vmc_error_no_memory(err);
    if (rc < 0) {
        websocket_free(ws);
        return rc;
    }
    ws->heard_ms = vmc_now_ms();
    ws->ping_at = ws->ping_ms > 0 ? ws->heard_ms + ws->ping_ms : -1;
    *out = ws;
    return 0;
}

void websocket_free(websocket *ws) {
    if (!ws)
        return;
    if (ws->frames)
        ws->wslay->free(ws->frames);
    if (ws->multi && ws->easy)
        curl_multi_remove_handle(ws->multi, ws->easy);
    curl_easy_cleanup(ws->easy);
    curl_multi_cleanup(ws->multi);
    curl_slist_free_all(ws->headers);
    curl_slist_free_all(ws->connect_to);
    free(ws->raw.bytes);
    free(ws->payload.bytes);
    free(ws->out.bytes);
    free(ws->url);
    free(ws->subprotocol);
    free(ws);
}

const char *websocket_subprotocol(const websocket *ws) {
    return ws->subprotocol;
}

/* One turn, after a wait if there was nothing to do at once. `sending`: room to send is waited for too. */
static int wait_turn(websocket *ws, const vmc_deadline *deadline, const char *what, vmctl_error **err) {
    VMC_AUTO_FREE char *doing = vmc_printf("%s %s", what, ws->url);
    int slice = websocket_has_work(ws) ? 0 : websocket_slice(ws);
    int rc = vmc_deadline_poll(deadline, ws->fd, websocket_events(ws), slice, doing, err);
    if (rc >= 0)
        websocket_turn(ws);
    return rc < 0 ? rc : 0;
}

static int ended_error(const websocket *ws, vmctl_error **err) {
    VMC_AUTO_FREE char *what = vmc_printf("the connection to %s", ws->url);
    int rc = websocket_end_error(ws, what, false, err);
    return rc < 0 ? rc : vmc_error(err, VMCTL_E_UNAVAILABLE, "%s is closed", what);
}

int websocket_send(websocket *ws, const void *bytes, size_t length, const vmc_deadline *deadline, vmctl_error **err) {
    const char *at = bytes;
    for (;;) {
        size_t part = length < ws->message_bytes ? length : ws->message_bytes;
        while (part > 0 && websocket_queue(ws, at, part)) {
            at += part;
            length -= part;
            part = length < ws->message_bytes ? length : ws->message_bytes;
            websocket_turn(ws);
        }
        if (ws->end || ws->deaf)
            return ended_error(ws, err);
        if (length == 0 && websocket_flushed(ws))
            return 0;
        int rc = wait_turn(ws, deadline, "sending to", err);
        if (rc < 0)
            return rc;
    }
}

ssize_t websocket_receive(websocket *ws, void *bytes, size_t size, const vmc_deadline *deadline, vmctl_error **err) {
    websocket_turn(ws);
    while (websocket_buffer_length(&ws->payload) == 0) {
        if (ws->end)
            return 0;
        int rc = wait_turn(ws, deadline, "waiting for", err);
        if (rc < 0)
            return rc;
    }
    size_t n = websocket_buffer_length(&ws->payload);
    if (n > size)
        n = size;
    memcpy(bytes, ws->payload.bytes + ws->payload.from, n);
    ws->payload.from += n;
    return (ssize_t)n;
}

int websocket_close(websocket *ws, int code, const char *reason, const vmc_deadline *deadline, vmctl_error **err) {
    websocket_queue_close(ws, code, reason);
    websocket_turn(ws);
    while (!ws->end && !ws->deaf) {
        ws->payload.from = ws->payload.to;
        int rc = wait_turn(ws, deadline, "closing", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int websocket_end(const websocket *ws, const char **reason) {
    if (reason)
        *reason = ws->reason;
    return ws->end;
}

int websocket_end_error(const websocket *ws, const char *what, bool eof_is_end, vmctl_error **err) {
    int code = ws->end ? ws->end : ws->deaf ? WEBSOCKET_DROPPED : 0;
    if (code == 0 || code == WEBSOCKET_NORMAL || code == WEBSOCKET_NO_STATUS ||
        (code == WEBSOCKET_DROPPED && ws->orderly && eof_is_end))
        return 0;
    const char *words = code == WEBSOCKET_DROPPED      ? "was cut off"
                        : code == WEBSOCKET_GOING_AWAY ? "ended: the server is going away"
                        : code == WEBSOCKET_PROTOCOL   ? "broke"
                                                       : "was closed by the server";
    VMC_AUTO_FREE char *number = vmc_printf(" (%d)", code);
    bool known = code == WEBSOCKET_DROPPED || code == WEBSOCKET_GOING_AWAY;
    vmc_error(err, VMCTL_E_UNAVAILABLE, "%s %s%s%s%s", what, words, known ? "" : number, *ws->reason ? ": " : "",
              ws->reason);
    vmc_error_retryable(err);
    return VMCTL_E_UNAVAILABLE;
}
