/* drivers/kube/websocket.c - WebSockets of subresources, with the client's trust, proxy and credentials. */
#include "drivers/websocket/websocket.h"
#include "drivers/kube/client.h"
#include <stdlib.h>

enum { MOST_TRIES = 10, LONGEST_PAUSE_MS = 60000 };

static int try_once(kube_client *client, const kube_grant *grant, const char *url, const char *subprotocol,
                    http_failure *failure, const vmc_deadline *deadline, websocket **out, http_response **refused,
                    vmctl_error **err) {
    VMC_AUTO_STRV headers = {0};
    kube_add_impersonation(client->config, &headers);
    const websocket_options options = {.client = grant->link->http,
                                       .url = url,
                                       .headers = (const char *const *)headers.items,
                                       .authorization = grant->authorization,
                                       .subprotocol = subprotocol,
                                       .failure = failure};
    return websocket_open(&options, deadline, out, refused, err);
}

/* How long until it is asked for once more: at once with other credentials, else as the server said; negative: it is not. */
static int64_t pause_of(kube_client *client, const kube_grant *grant, const http_response *refused, bool *refreshed) {
    if (!refused)
        return -1;
    if (refused->status == 401 && !*refreshed && !kube_is_empty_refusal(refused)) {
        *refreshed = true;
        return kube_grant_refused(client, grant) ? 0 : -1;
    }
    return refused->status >= 429 ? http_retry_after_ms(http_response_header(refused, "retry-after")) : -1;
}

static int wait_pause(const vmc_deadline *deadline, int64_t pause, vmctl_error **err) {
    if (pause > LONGEST_PAUSE_MS)
        pause = LONGEST_PAUSE_MS;
    return vmc_deadline_poll(deadline, -1, 0, (int)pause, "waiting as the API server asked to", err);
}

int kube_open_websocket(kube_client *client, const kube_request *request, const char *subprotocol,
                        const vmc_deadline *deadline, websocket **out, vmctl_error **err) {
    VMC_AUTO_FREE char *url = kube_url(client, request->path, request->query);
    KUBE_AUTO_STATUS unwanted = {0};
    kube_status *status = request->status ? request->status : &unwanted;
    bool refreshed = false;
    for (int tries = 1;; tries++) {
        kube_grant grant;
        int rc = kube_grant_get(client, deadline, &grant, err);
        if (rc < 0)
            return rc;
        http_failure failure = HTTP_FAILURE_NONE;
        HTTP_AUTO_RESPONSE *refused = NULL;
        vmctl_error *why = NULL;
        rc = try_once(client, &grant, url, subprotocol, &failure, deadline, out, &refused, &why);
        int64_t pause = rc < 0 ? pause_of(client, &grant, refused, &refreshed) : -1;
        kube_grant_release(client, &grant);
        int left = vmc_deadline_left(deadline);
        if (rc < 0 && pause >= 0 && tries < MOST_TRIES && (left < 0 || pause < left)) {
            vmctl_error_free(why);
            rc = pause > 0 ? wait_pause(deadline, pause, err) : 0;
            if (rc < 0)
                return rc;
            continue;
        }
        kube_status_clear(status);
        if (refused && refused->status >= 300) {
            vmctl_error_free(why);
            return kube_refuse(client, request, refused, status, err);
        }
        if (rc < 0) {
            vmc_error_move(err, &why);
            kube_explain_transport(client, failure, err);
        }
        return rc;
    }
}
