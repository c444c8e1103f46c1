/* drivers/websocket/engine.c - frames by libwslay between two buffers, and one turn of the whole. Source: wslay(3), RFC 6455. */
#include "drivers/websocket/engine.h"

#include "base/module.h"
#include "base/random.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { PONGS_WAITING = 64, SILENT_PINGS = 3 };

size_t websocket_buffer_room(websocket_buffer *b) {
    if (b->from == b->to) {
        b->from = b->to = 0;
    } else if (b->capacity - b->to < WEBSOCKET_CHUNK) {
        memmove(b->bytes, b->bytes + b->from, b->to - b->from);
        b->to -= b->from;
        b->from = 0;
    }
    return b->capacity - b->to;
}

static void end(websocket *ws, int code, const char *reason) {
    if (ws->end)
        return;
    ws->end = code;
    if (reason && !*ws->reason) {
        size_t length = strlen(reason);
        memcpy(ws->reason, reason, length < WEBSOCKET_REASON ? length : WEBSOCKET_REASON);
    }
}

/* Half of the buffer at most is filled, so that what is moved to its front is never more than what was taken since the last time. A
 * peer that sends pings and reads none of the answers gets no more of them. */
static bool can_read(const websocket *ws) {
    return !ws->end && websocket_buffer_length(&ws->payload) + WEBSOCKET_CHUNK <= ws->payload.capacity / 2 &&
           ws->wslay->get_queued_msg_count(ws->frames) < PONGS_WAITING;
}

/* --- libwslay's callbacks ---------------------------------------------------------------------------------------- */

static ssize_t on_want_bytes(wslay_event_context_ptr frames, uint8_t *bytes, size_t size, int flags, void *user) {
    (void)flags;
    websocket *ws = user;
    websocket_buffer *raw = &ws->raw;
    if (!can_read(ws) || websocket_buffer_room(&ws->payload) < WEBSOCKET_CHUNK) {
        ws->wslay->set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (websocket_buffer_length(raw) == 0) {
        ssize_t n = websocket_raw_receive(ws, raw->bytes, raw->capacity);
        ws->drained = n == 0;
        if (n <= 0) {
            if (n < 0)
                end(ws, WEBSOCKET_DROPPED, ws->curl_error);
            ws->orderly &= !ws->in_frame;
            ws->wslay->set_error(frames, n == 0 ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
            return -1;
        }
        ws->heard_ms = vmc_now_ms();
        ws->unanswered = 0;
        raw->from = 0;
        raw->to = (size_t)n;
    }
    size_t n = websocket_buffer_length(raw);
    if (n > size)
        n = size;
    memcpy(bytes, raw->bytes + raw->from, n);
    raw->from += n;
    return (ssize_t)n;
}

static bool flush_out(websocket *ws) {
    websocket_buffer *out = &ws->out;
    while (websocket_buffer_length(out) > 0) {
        ssize_t n = websocket_raw_send(ws, out->bytes + out->from, websocket_buffer_length(out));
        if (n < 0)
            ws->deaf = true;
        if (n <= 0)
            return n == 0;
        out->from += (size_t)n;
    }
    return true;
}

static ssize_t on_frame_bytes(wslay_event_context_ptr frames, const uint8_t *bytes, size_t length, int flags,
                              void *user) {
    (void)flags;
    websocket *ws = user;
    size_t room = websocket_buffer_room(&ws->out);
    if (room < length && flush_out(ws))
        room = websocket_buffer_room(&ws->out);
    if (room == 0 || ws->deaf) {
        ws->wslay->set_error(frames, ws->deaf ? WSLAY_ERR_CALLBACK_FAILURE : WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    if (length > room)
        length = room;
    memcpy(ws->out.bytes + ws->out.to, bytes, length);
    ws->out.to += length;
    return (ssize_t)length;
}

static int on_want_mask(wslay_event_context_ptr frames, uint8_t *bytes, size_t length, void *user) {
    (void)frames;
    websocket *ws = user;
    if (ws->masks_left < length) {
        vmc_random_fill(ws->masks, sizeof ws->masks);
        ws->masks_left = sizeof ws->masks;
    }
    ws->masks_left -= length;
    memcpy(bytes, ws->masks + ws->masks_left, length);
    return 0;
}

static void on_frame(wslay_event_context_ptr frames, const struct wslay_event_on_frame_recv_start_arg *frame,
                     void *user) {
    (void)frames;
    websocket *ws = user;
    ws->in_control = wslay_is_ctrl_frame(frame->opcode);
    ws->in_frame = true;
}

static void on_frame_end(wslay_event_context_ptr frames, void *user) {
    (void)frames;
    websocket *ws = user;
    ws->in_frame = false;
}

static void on_chunk(wslay_event_context_ptr frames, const struct wslay_event_on_frame_recv_chunk_arg *chunk,
                     void *user) {
    (void)frames;
    websocket *ws = user;
    if (ws->in_control)
        return;
    memcpy(ws->payload.bytes + ws->payload.to, chunk->data, chunk->data_length); /* on_want_bytes saw to the room */
    ws->payload.to += chunk->data_length;
}

static void on_message(wslay_event_context_ptr frames, const struct wslay_event_on_msg_recv_arg *message, void *user) {
    (void)frames;
    websocket *ws = user;
    if (message->opcode != WSLAY_CONNECTION_CLOSE)
        return;
    VMC_AUTO_FREE char *words =
        message->msg_length > 2 ? vmc_strndup((const char *)message->msg + 2, message->msg_length - 2) : NULL;
    end(ws, message->status_code ? message->status_code : WEBSOCKET_NO_STATUS, words);
}

int websocket_library(websocket *ws, vmctl_error **err) {
#ifdef VMCTL_STATIC_BACKENDS
    (void)err;
    ws->wslay = vmctl_websocket_wslay();
#else
    void *address = NULL;
    int code = vmc_module_symbol("vmctl-websocket", "vmctl_websocket_wslay", "vmctl (with libwslay1)", &address, err);
    if (code < 0)
        return code;
    vmctl_websocket_wslay_fn entry;
    memcpy(&entry, &address, sizeof entry); /* ISO C has no cast from an object's to a function's pointer */
    ws->wslay = entry();
#endif
    return 0;
}

int websocket_frames_init(websocket *ws) {
    static const struct wslay_event_callbacks callbacks = {.recv_callback = on_want_bytes,
                                                           .send_callback = on_frame_bytes,
                                                           .genmask_callback = on_want_mask,
                                                           .on_frame_recv_start_callback = on_frame,
                                                           .on_frame_recv_chunk_callback = on_chunk,
                                                           .on_frame_recv_end_callback = on_frame_end,
                                                           .on_msg_recv_callback = on_message};
    if (ws->wslay->client_init(&ws->frames, &callbacks, ws) != 0)
        return -1;
    ws->wslay->config_set_no_buffering(ws->frames, 1);
    ws->wslay->config_set_max_recv_msg_length(ws->frames, INT64_MAX); /* no message is ever whole in memory */
    return 0;
}

/* --- one turn -------------------------------------------------------------------------------------------------------- */

static void read_frames(websocket *ws) {
    if (!can_read(ws)) {
        ws->heard_ms = vmc_now_ms(); /* nobody listens */
        return;
    }
    ws->drained = false;
    bool failed = ws->wslay->recv(ws->frames) != 0 || /* the connection's end is noted already */
                  (!ws->wslay->get_read_enabled(ws->frames) && !ws->wslay->get_close_received(ws->frames));
    if (failed)
        end(ws, WEBSOCKET_PROTOCOL, "the server sent what is no WebSocket frame");
}

static void keep_alive(websocket *ws) {
    int64_t now = vmc_now_ms();
    if (ws->ping_at < 0 || now < ws->ping_at || ws->end || ws->deaf)
        return;
    /* A caller that stayed away for long has sent no pings that could have been answered. */
    if (now - ws->heard_ms >= SILENT_PINGS * ws->ping_ms && ws->unanswered >= SILENT_PINGS - 1 &&
        websocket_flushed(ws)) {
        VMC_AUTO_FREE char *words = vmc_printf("no answer for %lld s", (long long)((now - ws->heard_ms) / 1000));
        end(ws, WEBSOCKET_DROPPED, words);
        return;
    }
    ws->ping_at = now + ws->ping_ms;
    static const struct wslay_event_msg ping = {.opcode = WSLAY_PING};
    if (websocket_flushed(ws) && ws->wslay->queue_msg(ws->frames, &ping) == 0) /* else it is busy enough */
        ws->unanswered++;
}

void websocket_turn(websocket *ws) {
    read_frames(ws);
    keep_alive(ws);
    if (!ws->deaf && ws->wslay->want_write(ws->frames) && ws->wslay->send(ws->frames) != 0)
        ws->deaf = true;
    if (!ws->deaf)
        flush_out(ws);
}

bool websocket_has_work(const websocket *ws) {
    return can_read(ws) && !ws->drained;
}

bool websocket_flushed(const websocket *ws) {
    return ws->deaf || (websocket_buffer_length(&ws->out) == 0 && !ws->wslay->want_write(ws->frames));
}

short websocket_events(const websocket *ws) {
    return (short)((can_read(ws) ? POLLIN : 0) | (websocket_flushed(ws) ? 0 : POLLOUT));
}

int websocket_slice(const websocket *ws) {
    if (ws->ping_at < 0 || ws->end)
        return -1;
    int64_t left = ws->ping_at - vmc_now_ms();
    return left > 0 ? (int)left : 0;
}

bool websocket_queue(websocket *ws, const void *bytes, size_t length) {
    if (ws->deaf || ws->wslay->get_queued_msg_count(ws->frames) > 0)
        return false;
    const struct wslay_event_msg message = {.opcode = WSLAY_BINARY_FRAME, .msg = bytes, .msg_length = length};
    return ws->wslay->queue_msg(ws->frames, &message) == 0;
}

void websocket_queue_close(websocket *ws, int code, const char *reason) {
    size_t length = reason ? strlen(reason) : 0;
    (void)ws->wslay->queue_close(ws->frames, (uint16_t)code, (const uint8_t *)reason,
                                 length < WEBSOCKET_REASON ? length : WEBSOCKET_REASON - 1);
}
