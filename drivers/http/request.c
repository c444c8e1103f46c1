/* drivers/http/request.c - a request to its end: redirects, repetitions, the bound on requests side by side. */
#include "drivers/http/client.h"
#include "drivers/http/exchange.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { DEFAULT_REDIRECTS = 10, DEFAULT_RETRIES = 4, FIRST_PAUSE_MS = 200, LONGEST_PAUSE_MS = 10000 };

static bool is_idempotent(const http_request *request, const char *method) {
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++)
        if (strcmp(method, methods[i]) == 0)
            return true;
    return request->idempotent;
}

/* The state of a request between its hops. */
typedef struct journey {
    http_client *client;
    const http_request *request;
    const vmc_deadline *deadline;
    http_url first, here;
    const char *method;
    bool with_body;
    int redirects, attempts;
} journey;

static int follow(journey *j, const http_response *response, const char *location, vmctl_error **err) {
    int most = j->request->max_redirects ? j->request->max_redirects : DEFAULT_REDIRECTS;
    VMC_AUTO_FREE char *from = http_redact_url(j->here.text);
    if (++j->redirects > most)
        return vmc_error(err, VMCTL_E_UNAVAILABLE, "%s redirects more than %d times", from, most);
    http_url next;
    int rc = http_url_parse(location, &j->here, &next, err);
    if (rc < 0) {
        vmc_error_prefix(err, "%s redirects", from);
        return rc;
    }
    if (strcasecmp(j->here.scheme, "https") == 0 && strcasecmp(next.scheme, "http") == 0)
        rc = vmc_error(err, VMCTL_E_UNAVAILABLE, "%s redirects from https to http", from);
    int status = response->status;
    bool is_get = strcmp(j->method, "GET") == 0 || strcmp(j->method, "HEAD") == 0;
    if (!is_get && (status == 303 || ((status == 301 || status == 302) && strcmp(j->method, "POST") == 0))) {
        j->method = "GET";
        j->with_body = false;
    }
    if (rc == 0 && j->with_body && (j->request->read || strcmp(next.origin, j->first.origin) != 0))
        rc = vmc_error(err, VMCTL_E_UNAVAILABLE, "%s redirects an upload to %s", from, next.origin);
    if (rc < 0) {
        http_url_free(&next);
        return rc;
    }
    http_url_free(&j->here);
    j->here = next;
    return 0;
}

/* One attempt: the hops until an answer that is no redirect. */
static int attempt(journey *j, http_hop_result *result, vmctl_error **err) {
    for (;;) {
        http_hop hop = {.client = j->client,
                        .request = j->request,
                        .url = &j->here,
                        .method = j->method,
                        .with_body = j->with_body,
                        .with_secrets = strcmp(j->here.origin, j->first.origin) == 0,
                        .fresh = !j->request->once && !is_idempotent(j->request, j->method),
                        .once = j->request->once,
                        .basic = j->first.basic,
                        .deadline = j->deadline};
        int rc = http_hop_run(&hop, result, err);
        if (rc < 0 || j->request->max_redirects < 0 || !http_status_redirects(result->response->status))
            return rc;
        const char *location = http_response_header(result->response, "location");
        if (!location)
            return 0;
        rc = follow(j, result->response, location, err);
        http_response_free(result->response);
        result->response = NULL;
        if (rc < 0)
            return rc;
    }
}

static int64_t pause_before(int attempts, const http_response *response) {
    int64_t asked = response ? http_retry_after_ms(http_response_header(response, "retry-after")) : -1;
    if (asked >= 0)
        return asked;
    int64_t pause = (int64_t)FIRST_PAUSE_MS << (attempts < 8 ? attempts - 1 : 7);
    if (pause > LONGEST_PAUSE_MS)
        pause = LONGEST_PAUSE_MS;
    return pause / 2 + (int64_t)(vmc_now_ms() * 2654435761u % (uint64_t)(pause / 2 + 1)); /* not all at once */
}

static bool leaves_time(const vmc_deadline *deadline, int64_t pause) {
    int left = vmc_deadline_left(deadline);
    return left < 0 || pause < left;
}

/* Whether, and after which pause, it is sent once more. */
static bool again(const journey *j, int most, const http_hop_result *result, int rc, int64_t *pause) {
    bool curable = rc < 0 ? result->transport : http_status_retryable(result->response->status);
    if (!curable || result->told || j->attempts > most)
        return false;
    *pause = pause_before(j->attempts, rc < 0 ? NULL : result->response);
    return leaves_time(j->deadline, *pause);
}

/* The head of an answer that could have been cured was held back. */
static int tell_held_back(const http_request *request, http_response *response) {
    if (!request->head || !http_status_retryable(response->status))
        return 0;
    int rc = request->head(response, request->user);
    return rc < 0 ? rc : 0;
}

static int start_over(journey *j, const char *method, bool with_body, vmctl_error **err) {
    http_url_free(&j->here);
    j->method = method;
    j->with_body = with_body;
    j->redirects = 0;
    return http_url_parse(j->request->url, NULL, &j->here, err);
}

static int run_attempts(journey *j, http_response **out, vmctl_error **err) {
    const http_request *request = j->request;
    int most = 0;
    if (request->max_retries >= 0 && !request->read && is_idempotent(request, j->method))
        most = request->max_retries ? request->max_retries : DEFAULT_RETRIES;
    const char *method = j->method;
    bool with_body = j->with_body;
    for (;;) {
        http_hop_result result = {0};
        vmctl_error *own = NULL;
        int64_t pause = 0;
        j->attempts++;
        int rc = attempt(j, &result, &own);
        if (request->failure)
            *request->failure = rc < 0 ? result.failure : HTTP_FAILURE_NONE;
        if (request->sent)
            *request->sent = result.sent;
        if (!again(j, most, &result, rc, &pause)) {
            if (rc == 0)
                rc = tell_held_back(request, result.response);
            if (rc < 0)
                http_response_free(result.response);
            else
                *out = result.response;
            if (own)
                vmc_error_move(err, &own);
            return rc;
        }
        vmctl_error_free(own);
        http_response_free(result.response);
        rc = vmc_deadline_poll(j->deadline, -1, 0, (int)pause, "waiting before the next try", err);
        if (rc == 0)
            rc = start_over(j, method, with_body, err);
        if (rc < 0)
            return rc;
    }
}

/* One of the client's slots, when it has a bound. */
static int take_slot(int slots, const vmc_deadline *deadline, vmctl_error **err) {
    uint64_t one;
    while (slots >= 0 && read(slots, &one, sizeof one) != (ssize_t)sizeof one) {
        int rc = vmc_deadline_poll(deadline, slots, POLLIN, -1, "waiting for other requests to end", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void give_slot_back(int slots) {
    uint64_t one = 1;
    ssize_t unused = slots >= 0 ? write(slots, &one, sizeof one) : 0;
    (void)unused;
}

int http_perform(http_client *client, const http_request *request, const vmc_deadline *deadline, http_response **out,
                 vmctl_error **err) {
    bool with_body = request->body || request->read;
    journey j = {.client = client,
                 .request = request,
                 .deadline = deadline,
                 .method = request->method ? request->method
                           : with_body     ? "POST"
                                           : "GET",
                 .with_body = with_body};
    int rc = http_url_parse(request->url, NULL, &j.first, err);
    if (rc == 0)
        rc = http_url_parse(request->url, NULL, &j.here, err);
    int slots = http_client_slots(client);
    if (rc == 0)
        rc = take_slot(slots, deadline, err);
    http_response *response = NULL;
    if (rc == 0) {
        rc = run_attempts(&j, &response, err);
        give_slot_back(slots);
    }
    http_url_free(&j.first);
    http_url_free(&j.here);
    if (!response)
        return rc;
    response->attempts = j.attempts;
    if (out)
        *out = response;
    else
        http_response_free(response);
    return 0;
}

int http_perform_ok(http_client *client, const http_request *request, const vmc_deadline *deadline, http_response **out,
                    vmctl_error **err) {
    http_response *response = NULL;
    int rc = http_perform(client, request, deadline, &response, err);
    if (rc < 0)
        return rc;
    rc = http_status_error(request, response, err);
    if (rc == 0 && out)
        *out = response;
    else
        http_response_free(response);
    return rc;
}
