/* drivers/kube/request.c - one request: credentials, repetitions by the server's word, refusals, warnings. */
#include "drivers/kube/client.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_TRIES = 10, CUT_TRIES = 3, CUT_PAUSE_MS = 100, LONGEST_PAUSE_MS = 60000, ANSWER_LIMIT = 64 << 20 };

static const char *method_of(const kube_request *request) {
    return request->method ? request->method : "GET";
}

static bool is_read(const char *method) {
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static bool is_dry(const kube_request *request) {
    for (size_t i = 0; request->query && request->query[i]; i += 2)
        if (strcmp(request->query[i], "dryRun") == 0)
            return true;
    return false;
}

/* It may reach the server twice. */
static bool is_harmless(const kube_request *request) {
    return is_read(method_of(request)) || request->repeatable || is_dry(request);
}

/* ---- Warnings ---- */

/* The text of `299 - "..."`; free; NULL: another form. Source: RFC 7234, section 5.5. */
static char *warning_text(const char *value) {
    const char *p = strchr(value, '"');
    if (!p)
        return NULL;
    vmc_str s = {0};
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        vmc_str_add_char(&s, *p);
    }
    return vmc_str_take(&s);
}

static void tell_warnings(kube_client *client, const http_response *response, const vmc_deadline *deadline) {
    for (size_t i = 0; i < response->names.count; i++) {
        if (strcmp(response->names.items[i], "warning") != 0)
            continue;
        VMC_AUTO_FREE char *text = warning_text(response->values.items[i]);
        if (!text || !*text)
            continue;
        pthread_mutex_lock(&client->lock);
        bool old = vmc_strv_has(&client->warned, text);
        if (!old)
            vmc_strv_add(&client->warned, text);
        pthread_mutex_unlock(&client->lock);
        if (!old)
            vmc_note(deadline, VMCTL_NOTE_WARNING, "the cluster warns: %s", text);
    }
}

/* ---- One try ---- */

typedef struct attempt {
    kube_client *client;
    const kube_exchange *exchange;
    const vmc_deadline *deadline;
    char *url;
    char *body; /* printed from the cJSON; NULL */
    const char *bytes;
    size_t length;
    int tries, cuts;
    bool told; /* of the body */
    /* Of the last one: */
    http_failure failure;
    kube_loss loss;
} attempt;

static int on_bytes(const void *bytes, size_t length, void *user) {
    attempt *a = user;
    a->told = true;
    return a->exchange->write(bytes, length, a->exchange->user);
}

static bool is_cut(http_failure failure) {
    return failure == HTTP_FAILURE_CUT || failure == HTTP_FAILURE_SILENT;
}

static int try_once(const kube_grant *grant, void *user, http_response **response, vmctl_error **err) {
    attempt *a = user;
    const kube_request *r = a->exchange->request;
    const char *method = method_of(r);
    bool sent = false;
    VMC_AUTO_STRV headers = {0};
    vmc_strv_printf(&headers, "Accept: %s", r->accept ? r->accept : "application/json, */*");
    if (a->bytes)
        vmc_strv_printf(&headers, "Content-Type: %s", r->content_type ? r->content_type : "application/json");
    if (a->exchange->etag)
        vmc_strv_printf(&headers, "If-None-Match: %s", a->exchange->etag);
    kube_add_impersonation(a->client->config, &headers);
    http_request request = {.method = method,
                            .url = a->url,
                            .headers = (const char *const *)headers.items,
                            .authorization = grant->authorization,
                            .body = a->bytes,
                            .body_length = a->length,
                            .write = a->exchange->write ? on_bytes : NULL,
                            .user = a,
                            .limit = r->limit ? r->limit : ANSWER_LIMIT,
                            .max_redirects = -1,
                            .max_retries = -1,
                            .once = !is_read(method),
                            .identity = a->client->config->no_compression,
                            .idle_ms = a->exchange->idle_ms,
                            .failure = &a->failure,
                            .sent = &sent};
    int code = http_perform(grant->link->http, &request, a->deadline, response, err);
    bool cut = is_cut(a->failure);
    a->loss = code == 0 || !sent || is_harmless(r) ? KUBE_LOSS_NONE : cut ? KUBE_LOSS_CUT : KUBE_LOSS_LATE;
    if (!is_read(method))
        a->client->writes++;
    return code;
}

bool kube_is_empty_refusal(const http_response *response) {
    return response->length == 0 && !http_response_header(response, "content-type");
}

/* How long until it is sent again; negative: it is not. */
static int64_t pause_of(attempt *a, const http_response *response) {
    bool harmless = is_harmless(a->exchange->request);
    if (!response) {
        return is_cut(a->failure) && harmless && !a->told && ++a->cuts < CUT_TRIES ? CUT_PAUSE_MS : -1;
    }
    if (response->status < 429 || a->told || ++a->tries >= MOST_TRIES)
        return -1;
    if (response->status != 429 && (response->status < 500 || !harmless))
        return -1;
    return http_retry_after_ms(http_response_header(response, "retry-after"));
}

static int wait_pause(const attempt *a, int64_t pause, vmctl_error **err) {
    if (pause > LONGEST_PAUSE_MS)
        pause = LONGEST_PAUSE_MS;
    return vmc_deadline_poll(a->deadline, -1, 0, (int)pause, "waiting as the API server asked to", err);
}

static bool leaves_time(const vmc_deadline *deadline, int64_t pause) {
    int left = vmc_deadline_left(deadline);
    return left < 0 || pause < left;
}

/* With the credentials of now. *again (at most once: *refreshed): the server did not take them, and others can be got. */
static int try_granted(kube_client *client, const vmc_deadline *deadline,
                       int (*try_with)(const kube_grant *, void *, http_response **, vmctl_error **), void *user,
                       bool *refreshed, bool *again, http_response **came, vmctl_error **err) {
    kube_grant grant;
    *again = false;
    int rc = kube_grant_get(client, deadline, &grant, err);
    if (rc < 0)
        return rc;
    rc = try_with(&grant, user, came, err);
    if (rc == 0 && (*came)->status == 401 && !kube_is_empty_refusal(*came) && !*refreshed) {
        *refreshed = true;
        *again = kube_grant_refused(client, &grant);
    }
    kube_grant_release(client, &grant);
    return rc;
}

static int run_tries(attempt *a, http_response **response, vmctl_error **err) {
    bool refreshed = false;
    for (;;) {
        http_response *came = NULL;
        vmctl_error *why = NULL;
        bool again = false;
        a->failure = HTTP_FAILURE_NONE;
        a->loss = KUBE_LOSS_NONE;
        int rc = try_granted(a->client, a->deadline, try_once, a, &refreshed, &again, &came, &why);
        int64_t pause = again ? 0 : pause_of(a, came);
        if (pause < 0 || !leaves_time(a->deadline, pause)) {
            *response = came;
            if (why)
                vmc_error_move(err, &why);
            return rc;
        }
        vmctl_error_free(why);
        http_response_free(came);
        rc = pause > 0 ? wait_pause(a, pause, err) : 0;
        if (rc < 0)
            return rc;
    }
}

/* ---- Refusals ---- */

void kube_explain_transport(const kube_client *client, http_failure failure, vmctl_error **err) {
    const kube_config *c = client->config;
    const char *file = c->file ? c->file : "the pod's service account";
    if (failure == HTTP_FAILURE_TLS)
        vmc_error_next(err, "compare the server and certificate-authority of cluster \"%s\" in %s",
                       c->cluster ? c->cluster : "", file);
    else if (failure == HTTP_FAILURE_RESOLVE || (failure == HTTP_FAILURE_CONNECT && err && *err &&
                                                 !vmctl_error_next(*err))) /* a proxy's refusal has its own */
        vmc_error_next(err, "check that %s is right and can be reached from here (%s)", c->shown, file);
}

int kube_explain_rubbish(vmctl_error **err) {
    return vmc_error_next(err, "is this an API server, and no proxy before it changes its answers?");
}

static int redirected(const kube_client *client, const kube_request *request, const http_response *response,
                      vmctl_error **err) {
    const char *location = http_response_header(response, "location");
    VMC_AUTO_FREE char *shown = http_redact_url(location ? location : "");
    vmc_error(err, VMCTL_E_UNAVAILABLE, "%s %s: %d, %s leads to %s instead of answering", method_of(request),
              request->path, response->status, client->config->shown, shown);
    return vmc_error_next(err, "is this the API server, and not a login page or a proxy before it?");
}

/* What is behind a 401: often a certificate that has expired. */
static void explain_credentials(const kube_client *client, vmctl_error **err) {
    const kube_config *c = client->config;
    bool future = false;
    VMC_AUTO_FREE char *moment = c->cert_pem ? kube_certificate_expired(c->cert_pem, &future) : NULL;
    if (moment) {
        vmc_error_append(err, "; the client certificate of %s %s %s", c->user_place,
                         future ? "is not good before" : "has expired on", moment);
        vmc_error_next(err, "get a new kubeconfig from the cluster's administrator");
    } else if (c->user_place) {
        vmc_error_append(err, " (%s)", c->user_place);
        vmc_error_next(err, "log in to the cluster again, or get a new kubeconfig");
    } else {
        vmc_error_next(err, "the context \"%s\" names no user", c->context);
    }
}

int kube_refuse(const kube_client *client, const kube_request *request, const http_response *response,
                kube_status *status, vmctl_error **err) {
    if (response->status >= 300 && response->status < 400)
        return redirected(client, request, response, err);
    kube_status_read(status, response->status, http_response_header(response, "content-type"),
                     http_response_header(response, "retry-after"), response->body, response->length);
    int code = kube_status_error(status, method_of(request), request->path, err);
    if (code == VMCTL_E_UNAUTHENTICATED && response->status == 401)
        explain_credentials(client, err);
    return code;
}

/* A server, or a balancer before it, that was not told of the end in time: the request may go on behind it. etcd's own time-outs come as 500. */
static bool gave_up(const kube_status *status) {
    return status->http == 502 || status->http == 504 ||
           (status->http == 500 && status->message && strstr(status->message, "etcdserver: "));
}

int kube_exchange_run(kube_client *client, const kube_exchange *exchange, const vmc_deadline *deadline,
                      http_response **response, vmctl_error **err) {
    const kube_request *r = exchange->request;
    attempt a = {.client = client, .exchange = exchange, .deadline = deadline};
    if (r->status)
        kube_status_clear(r->status);
    a.url = kube_url(client, r->path, r->query);
    a.body = r->body ? cJSON_PrintUnformatted(r->body) : NULL;
    a.bytes = a.body ? a.body : r->bytes;
    a.length = a.body ? strlen(a.body) : r->length;
    http_response *came = NULL;
    int rc = run_tries(&a, &came, err);
    if (exchange->failure)
        *exchange->failure = a.failure;
    if (exchange->loss)
        *exchange->loss = rc < 0 ? a.loss : KUBE_LOSS_NONE;
    vmc_wipe_free(a.body); /* secrets are created too */
    free(a.url);
    if (rc < 0) {
        kube_explain_transport(client, a.failure, err);
        return rc;
    }
    if (!came) {
        (void)vmc_error(err, VMCTL_E_INTERNAL, "%s %s: no answer", method_of(r), r->path);
        return VMCTL_E_INTERNAL;
    }
    tell_warnings(client, came, deadline);
    if (came->status >= 300 && !(came->status == 304 && exchange->etag)) {
        KUBE_AUTO_STATUS unwanted = {0};
        kube_status *status = r->status ? r->status : &unwanted;
        rc = kube_refuse(client, r, came, status, err);
        if (exchange->loss && !is_harmless(r) && gave_up(status))
            *exchange->loss = KUBE_LOSS_TOLD;
        http_response_free(came);
        return rc < 0 ? rc : VMCTL_E_INTERNAL;
    }
    *response = came;
    return 0;
}

/* ---- Whole answers ---- */

static int no_json(const kube_request *request, const http_response *response, vmctl_error **err) {
    const char *type = http_response_header(response, "content-type");
    vmc_error(err, VMCTL_E_UNAVAILABLE, "%s %s: the answer is no JSON (%s, %zu bytes)", method_of(request),
              request->path, type ? type : "no type", response->length);
    return kube_explain_rubbish(err);
}

/* The answer's object. KubeVirt's actions answer with nothing, or with text. */
static int read_answer(const kube_request *request, const http_response *response, bool wanted, kube_loss *loss,
                       cJSON **out, vmctl_error **err) {
    *out = response->length > 0 ? cJSON_ParseWithLength(response->body, response->length) : NULL;
    const char *type = http_response_header(response, "content-type");
    bool says_json = type && strncasecmp(type, "application/json", 16) == 0;
    if (*out || !wanted || response->length == 0 || !(says_json || is_read(method_of(request))))
        return 0;
    *loss = is_harmless(request) ? KUBE_LOSS_NONE : KUBE_LOSS_CUT;
    return no_json(request, response, err);
}

int kube_call(kube_client *client, const kube_request *request, const vmc_deadline *deadline, cJSON **out,
              vmctl_error **err) {
    HTTP_AUTO_RESPONSE *response = NULL;
    kube_loss loss = KUBE_LOSS_NONE;
    cJSON *object = NULL;
    kube_exchange exchange = {.request = request, .loss = &loss};
    int rc = kube_exchange_run(client, &exchange, deadline, &response, err);
    if (rc == 0)
        rc = read_answer(request, response, out != NULL, &loss, &object, err);
    if (request->loss)
        *request->loss = loss;
    else if (loss != KUBE_LOSS_NONE)
        kube_say_unknown(request->path, err);
    if (rc == 0 && out)
        *out = object;
    else
        cJSON_Delete(object);
    return rc;
}

int kube_raw(kube_client *client, const kube_request *request, const vmc_deadline *deadline, char **bytes,
             size_t *length, char **type, vmctl_error **err) {
    HTTP_AUTO_RESPONSE *response = NULL;
    kube_exchange exchange = {.request = request};
    int rc = kube_exchange_run(client, &exchange, deadline, &response, err);
    if (rc < 0)
        return rc;
    *bytes = response->body;
    *length = response->length;
    response->body = NULL;
    const char *given = http_response_header(response, "content-type");
    if (type)
        *type = vmc_strdup(given ? given : "");
    return 0;
}

typedef struct pieces {
    int (*write)(const void *bytes, size_t length, void *user);
    void *user;
    bool enough;
} pieces;

static int on_piece(const void *bytes, size_t length, void *user) {
    pieces *p = user;
    p->enough = p->write(bytes, length, p->user) != 0;
    return p->enough ? -1 : 0;
}

int kube_stream(kube_client *client, const kube_request *request, const vmc_deadline *deadline,
                int (*write)(const void *bytes, size_t length, void *user), void *user, vmctl_error **err) {
    HTTP_AUTO_RESPONSE *response = NULL;
    pieces p = {.write = write, .user = user};
    const kube_exchange exchange = {.request = request, .write = on_piece, .user = &p, .idle_ms = -1};
    vmctl_error *why = NULL;
    int rc = kube_exchange_run(client, &exchange, deadline, &response, &why);
    if (p.enough) {
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(rc < 0 ? err : NULL, &why);
    return rc;
}

typedef struct fetching {
    const http_request *get; /* the caller's */
    const vmc_deadline *deadline;
    const char *url;
    vmc_strv headers;
    http_failure failure;
} fetching;

static int fetch_once(const kube_grant *grant, void *user, http_response **response, vmctl_error **err) {
    fetching *f = user;
    http_request own = *f->get;
    own.url = f->url;
    own.headers = (const char *const *)f->headers.items;
    own.authorization = grant->authorization;
    own.max_redirects = -1;
    own.max_retries = -1;
    own.failure = &f->failure;
    return http_perform(grant->link->http, &own, f->deadline, response, err);
}

int kube_fetch(kube_client *client, const char *path, const http_request *get, const vmc_deadline *deadline,
               vmctl_error **err) {
    const kube_request request = {.path = path, .accept = "*/*"};
    VMC_AUTO_FREE char *url = kube_url(client, path, NULL);
    fetching f = {.get = get, .deadline = deadline, .url = url};
    vmc_strv_add(&f.headers, "Accept: */*");
    for (size_t i = 0; get->headers && get->headers[i]; i++)
        vmc_strv_add(&f.headers, get->headers[i]);
    kube_add_impersonation(client->config, &f.headers);
    bool refreshed = false, again = true;
    HTTP_AUTO_RESPONSE *response = NULL;
    int rc = 0;
    while (again) {
        http_response_free(response);
        response = NULL;
        f.failure = HTTP_FAILURE_NONE;
        rc = try_granted(client, deadline, fetch_once, &f, &refreshed, &again, &response, err);
    }
    vmc_strv_free(&f.headers);
    if (get->failure)
        *get->failure = f.failure;
    if (rc < 0)
        kube_explain_transport(client, f.failure, err);
    KUBE_AUTO_STATUS status = {0};
    return rc == 0 && response->status >= 300 ? kube_refuse(client, &request, response, &status, err) : rc;
}

int kube_get(kube_client *client, const char *path, const vmc_deadline *deadline, cJSON **out, vmctl_error **err) {
    return kube_call(client, &(kube_request){.path = path}, deadline, out, err);
}
