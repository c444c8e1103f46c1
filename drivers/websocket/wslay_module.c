/* libwslay; the module vmctl-websocket.so. */
#include "wslay_module.h"

const websocket_wslay *vmctl_websocket_wslay(void) {
    static const websocket_wslay functions = {
        .client_init = wslay_event_context_client_init,
        .free = wslay_event_context_free,
        .config_set_no_buffering = wslay_event_config_set_no_buffering,
        .config_set_max_recv_msg_length = wslay_event_config_set_max_recv_msg_length,
        .set_error = wslay_event_set_error,
        .recv = wslay_event_recv,
        .send = wslay_event_send,
        .want_write = wslay_event_want_write,
        .get_read_enabled = wslay_event_get_read_enabled,
        .get_close_received = wslay_event_get_close_received,
        .get_queued_msg_count = wslay_event_get_queued_msg_count,
        .queue_msg = wslay_event_queue_msg,
        .queue_close = wslay_event_queue_close,
    };
    return &functions;
}
