/* drivers/websocket/wslay_module.h - what the module vmctl-websocket.so exports: libwslay's functions, for those commands only that open a
 * WebSocket. Source: wslay(3); each entry is the function of the same name. */
#ifndef WEBSOCKET_WSLAY_MODULE_H
#define WEBSOCKET_WSLAY_MODULE_H

#include <vmctl/error.h>
#include <wslay/wslay.h>

typedef struct websocket_wslay {
    int (*client_init)(wslay_event_context_ptr *frames, const struct wslay_event_callbacks *callbacks, void *user);
    void (*free)(wslay_event_context_ptr frames);
    void (*config_set_no_buffering)(wslay_event_context_ptr frames, int on);
    void (*config_set_max_recv_msg_length)(wslay_event_context_ptr frames, uint64_t bytes);
    void (*set_error)(wslay_event_context_ptr frames, int error);
    int (*recv)(wslay_event_context_ptr frames);
    int (*send)(wslay_event_context_ptr frames);
    int (*want_write)(wslay_event_context_ptr frames);
    int (*get_read_enabled)(wslay_event_context_ptr frames);
    int (*get_close_received)(wslay_event_context_ptr frames);
    size_t (*get_queued_msg_count)(wslay_event_context_ptr frames);
    int (*queue_msg)(wslay_event_context_ptr frames, const struct wslay_event_msg *message);
    int (*queue_close)(wslay_event_context_ptr frames, uint16_t code, const uint8_t *reason, size_t length);
} websocket_wslay;

VMCTL_API const websocket_wslay *vmctl_websocket_wslay(void);
typedef const websocket_wslay *(*vmctl_websocket_wslay_fn)(void);

#endif
