/* drivers/websocket/websocket.h - WebSockets (RFC 6455): libwslay's frames over a connection that libcurl made and HTTP upgraded.
 *
 * One WebSocket has one connection and is used by one thread at a time. Every call that waits has a deadline and can be cancelled.
 * Memory is bounded each way: a reader that does not take its bytes stops the sender, and the other way round. Pings of the peer are
 * answered, and pings of our own sent, within the calls that wait. Messages that come are a stream of bytes: where one ends and whether it was
 * text or binary is not told; what is sent goes as binary messages.
 *
 * A WebSocket has no half-close: after a Close frame nothing is sent in either direction but the other Close.
 *
 * libwslay is in a module of its own (vmctl-websocket.so), opened by the first WebSocket.
 *
 * Secrets: as in drivers/http.
 */
#ifndef WEBSOCKET_H
#define WEBSOCKET_H

#include "base/deadline.h"
#include "drivers/http/http.h"

typedef struct websocket websocket;

/* Status codes of Close frames (RFC 6455, 7.4.1). */
enum {
    WEBSOCKET_NORMAL = 1000,
    WEBSOCKET_GOING_AWAY = 1001,
    WEBSOCKET_PROTOCOL = 1002,
    WEBSOCKET_NO_STATUS = 1005, /* a Close frame without a code */
    WEBSOCKET_DROPPED = 1006    /* the connection ended without a Close frame */
};

typedef struct websocket_options {
    http_client *client;               /* trust, certificates, proxy; NULL: the defaults. Only used while it opens */
    const char *url;                   /* http or https */
    const char *const *headers;        /* "Name: value", NULL-terminated; NULL */
    const char *const *secret_headers; /* the same, never logged */
    const char *authorization;         /* value of the Authorization header; NULL */
    const char *subprotocol;           /* "plain.kubevirt.io", or several with ", " between; NULL: none is asked for */
    int64_t ping_ms; /* between our own pings; 0: 20000; -1: none. Silence of three of them is the connection's end */
    size_t message_bytes;  /* at most so much in one message; 0: 10240, what KubeVirt's server reads at once */
    http_failure *failure; /* told what kind of failure UNAVAILABLE is; NULL */
} websocket_options;

/* Connects (HTTP/1.1, through proxies by CONNECT or SOCKS) and upgrades. A server that answers with something else than 101 has refused: *refused
 * (may be NULL; http_response_free) is its answer, body included (at most 64 KiB), and the error is http_status_error's; redirects are
 * refusals too. Errors besides: UNAVAILABLE (name, connection, TLS; an upgrade that breaks RFC 6455, 4.1), TIMEOUT, CANCELLED. A
 * server may leave the subprotocol out; one that was not asked for is an error. *out: websocket_free. */
int websocket_open(const websocket_options *options, const vmc_deadline *deadline, websocket **out,
                   http_response **refused, vmctl_error **err);
/* Without a word to the peer, unless websocket_close came before. NULL is allowed. */
void websocket_free(websocket *ws);
static inline void websocket_free_ptr(websocket **ws) {
    websocket_free(*ws);
}
#define WEBSOCKET_AUTO vmc_cleanup(websocket_free_ptr) websocket

/* What the server chose; NULL: none. */
const char *websocket_subprotocol(const websocket *ws);

/* Sends all of it; returns when it is with the system. UNAVAILABLE: the WebSocket ended. */
int websocket_send(websocket *ws, const void *bytes, size_t length, const vmc_deadline *deadline, vmctl_error **err);
/* Waits for bytes: their number, at most `size` (not 0); 0: the WebSocket ended, however (websocket_end). TIMEOUT, CANCELLED. */
ssize_t websocket_receive(websocket *ws, void *bytes, size_t size, const vmc_deadline *deadline, vmctl_error **err);
/* Sends a Close frame behind what was not sent yet, and waits for the peer's or the connection's end; bytes that still come are thrown
 * away. reason: at most 123 bytes; NULL. */
int websocket_close(websocket *ws, int code, const char *reason, const vmc_deadline *deadline, vmctl_error **err);

/* How it ended: the code of the peer's Close frame, WEBSOCKET_NO_STATUS, WEBSOCKET_DROPPED, WEBSOCKET_PROTOCOL (the peer's fault);
 * 0: it has not. *reason (may be NULL): the peer's or libcurl's words, "" for none; valid until websocket_free. */
int websocket_end(const websocket *ws, const char **reason);
/* The error (UNAVAILABLE, may be tried again) for an end that is neither normal nor without status; 0 for those, and where `eof_is_end` for
 * a connection that the server ended in order (with a FIN) between two frames: some servers end so. `what` names it: "the console of
 * web-1". */
int websocket_end_error(const websocket *ws, const char *what, bool eof_is_end, vmctl_error **err);

/* Bytes both ways between the WebSocket and descriptors (`in` is read, `out` is written; they may be one socket) until either side
 * ends. Sockets may be blocking or not; a pipe or terminal of `out` is written in small pieces when it has room. The descriptors stay open.
 *   `in` ends and `out`'s reader is gone: the WebSocket is closed (1000).
 *   only `in` ends: bytes of the peer still go to `out`, until it is silent for a minute; then as above.
 *   the peer ends: what it sent goes to `out`, then 0 (websocket_end tells how it ended).
 * 0 for all of these; TIMEOUT and CANCELLED (without a Close frame). *moved (may be NULL): bytes from the peer. */
int websocket_pump(websocket *ws, int in, int out, const vmc_deadline *deadline, uint64_t *moved, vmctl_error **err);

/* The same in a thread of its own, which owns both: the socket is shut down when the WebSocket ends. */
typedef struct websocket_bridge websocket_bridge;
/* On failure both are closed. */
int websocket_bridge_start(websocket *ws, int fd, websocket_bridge **out, vmctl_error **err);
/* An eventfd that is readable once the bridge has ended by itself. */
int websocket_bridge_fd(const websocket_bridge *bridge);
/* After the other end of the socket was closed: what was written to it gets up to wait_ms to go out; then the thread ends and all is
 * freed. The error is that of websocket_end_error, when the WebSocket ended by itself; err, `what` and `eof_is_end` as there. */
int websocket_bridge_end(websocket_bridge *bridge, int wait_ms, const char *what, bool eof_is_end, vmctl_error **err);

#endif
