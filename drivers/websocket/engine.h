/* drivers/websocket/engine.h - what the files of this room share: the connection, the frames, and one turn of both. */
#ifndef WEBSOCKET_ENGINE_H
#define WEBSOCKET_ENGINE_H

#include "drivers/websocket/websocket.h"
#include "drivers/websocket/wslay_module.h"
#include <curl/curl.h>

enum {
    WEBSOCKET_CHUNK = 4096,      /* at most so much payload does libwslay hand over at once: its own buffer */
    WEBSOCKET_RAW = 1 << 16,     /* bytes of the connection, not yet parsed */
    WEBSOCKET_PAYLOAD = 1 << 18, /* bytes of messages, not yet taken */
    WEBSOCKET_OUT = 1 << 17,     /* frames, not yet sent */
    WEBSOCKET_REASON = 123
};

/* What is in a buffer: from..to of its capacity. */
typedef struct websocket_buffer {
    unsigned char *bytes;
    size_t from, to, capacity;
} websocket_buffer;

struct websocket {
    CURLM *multi; /* libcurl keeps the connection only as long as the handle stays in it */
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    char curl_error[CURL_ERROR_SIZE];
    int fd;
    char *url; /* redacted */
    char *subprotocol;
    size_t message_bytes;

    const websocket_wslay *wslay;
    wslay_event_context_ptr frames;
    websocket_buffer raw, payload, out;
    unsigned char masks[256];
    size_t masks_left;

    bool drained;    /* the connection had no more bytes when last asked */
    bool in_control; /* the frame that comes is a ping, pong or close */
    bool in_frame;   /* a frame's head came, and not all of the rest */
    bool orderly;    /* it ended by the peer's end of the connection, between two frames */
    bool deaf;       /* nothing can be sent any more */
    int end;         /* see websocket_end; 0: bytes may come */
    char reason[WEBSOCKET_REASON + 1];
    int64_t ping_ms, ping_at; /* -1: none */
    int64_t heard_ms;         /* when bytes last came */
    int unanswered;           /* pings sent since */
};

static inline size_t websocket_buffer_length(const websocket_buffer *b) {
    return b->to - b->from;
}
/* Moves what is there to the front; the room behind it. */
size_t websocket_buffer_room(websocket_buffer *b);

/* connect.c: the connection and the upgrade. ws is empty but for its buffers. */
int websocket_connect(websocket *ws, const websocket_options *options, const vmc_deadline *deadline,
                      http_response **refused, vmctl_error **err);
/* Bytes from and to the connection, as much as goes now: their number; 0: not now; -1: it ended (ws->curl_error has libcurl's words). */
ssize_t websocket_raw_receive(websocket *ws, void *bytes, size_t size);
ssize_t websocket_raw_send(websocket *ws, const void *bytes, size_t size);

/* Opens libwslay's module. UNAVAILABLE: it is not installed. */
int websocket_library(websocket *ws, vmctl_error **err);
/* Ready for frames. -1: no memory. */
int websocket_frames_init(websocket *ws);

/* Everything that goes without waiting: what came and finds room in `payload` is parsed, pings are sent when they are due, what is queued
 * is sent. */
void websocket_turn(websocket *ws);
/* There is more for websocket_turn to do at once. */
bool websocket_has_work(const websocket *ws);
/* The events of poll(2) that websocket_turn waits for now. */
short websocket_events(const websocket *ws);
/* How long a wait may be until websocket_turn is due again; -1: for ever. */
int websocket_slice(const websocket *ws);
/* Queues one message of at most message_bytes. false: there is no room now. */
bool websocket_queue(websocket *ws, const void *bytes, size_t length);
/* All that was queued is with the system. */
bool websocket_flushed(const websocket *ws);
/* Queues a Close frame; nothing can be queued after it. */
void websocket_queue_close(websocket *ws, int code, const char *reason);

#endif
