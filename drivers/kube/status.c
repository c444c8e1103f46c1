/* drivers/kube/status.c - a refusal: read, given one code of the closed set, told with what to do next. */
#include "drivers/http/http.h"
#include "drivers/kube/kube.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SHOWN_WORDS = 600, SHOWN_CAUSES = 5 };

static char *text_of(const cJSON *object, const char *key) {
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) && *item->valuestring ? vmc_strdup(item->valuestring) : NULL;
}

static void read_causes(kube_status *s, const cJSON *causes) {
    const cJSON *cause;
    cJSON_ArrayForEach(cause, causes) {
        s->causes = vmc_realloc(s->causes, s->cause_count + 1, sizeof *s->causes);
        s->causes[s->cause_count++] =
            (kube_cause){text_of(cause, "reason"), text_of(cause, "message"), text_of(cause, "field")};
    }
}

static bool read_object(kube_status *s, const cJSON *object) {
    const cJSON *kind = cJSON_GetObjectItemCaseSensitive(object, "kind");
    if (!cJSON_IsString(kind) || strcmp(kind->valuestring, "Status") != 0)
        return false;
    const cJSON *details = cJSON_GetObjectItemCaseSensitive(object, "details");
    s->reason = text_of(object, "reason");
    s->message = text_of(object, "message");
    s->name = text_of(details, "name");
    s->group = text_of(details, "group");
    s->kind = text_of(details, "kind");
    s->continue_token = text_of(cJSON_GetObjectItemCaseSensitive(object, "metadata"), "continue");
    read_causes(s, cJSON_GetObjectItemCaseSensitive(details, "causes"));
    const cJSON *after = cJSON_GetObjectItemCaseSensitive(details, "retryAfterSeconds");
    if (s->retry_after < 0 && cJSON_IsNumber(after) && after->valueint > 0)
        s->retry_after = after->valueint;
    return true;
}

/* The first line of what is no Status, without control characters; a page of a proxy is not shown. */
static char *plain_words(const char *bytes, size_t length) {
    size_t at = 0, n = 0;
    while (at < length && strchr(" \t\r\n", bytes[at]))
        at++;
    while (at + n < length && n < SHOWN_WORDS && (unsigned char)bytes[at + n] >= ' ')
        n++;
    if (n == 0 || bytes[at] == '<')
        return vmc_strdup("");
    return vmc_strndup(bytes + at, n);
}

void kube_status_read(kube_status *s, int http, const char *content_type, const char *retry_after, const void *body,
                      size_t length) {
    s->http = http;
    int64_t pause = http_retry_after_ms(retry_after);
    s->retry_after = pause < 0 ? -1 : (int)((pause + 999) / 1000);
    /* virt-api sends some as text, "Bad Request" before it. A page of a proxy may have braces too, and is none. */
    bool json = content_type && strncasecmp(content_type, "application/json", 16) == 0;
    const char *bytes = body, *brace = bytes && length > 0 ? memchr(bytes, '{', length) : NULL;
    bool plain = content_type && strncasecmp(content_type, "text/plain", 10) == 0;
    cJSON *object = brace && (json || plain) ? cJSON_ParseWithLength(brace, length - (size_t)(brace - bytes)) : NULL;
    s->text = !read_object(s, object);
    cJSON_Delete(object);
    if (!s->message)
        s->message = plain_words(body ? body : "", body ? length : 0);
}

void kube_status_clear(kube_status *s) {
    free(s->reason);
    free(s->message);
    free(s->name);
    free(s->group);
    free(s->kind);
    free(s->continue_token);
    for (size_t i = 0; i < s->cause_count; i++) {
        free(s->causes[i].reason);
        free(s->causes[i].message);
        free(s->causes[i].field);
    }
    free(s->causes);
    *s = (kube_status){0};
}

/* The parts of "/apis/GROUP/VERSION/[namespaces/NS/]PLURAL/NAME/SUB" from PLURAL on: how many there are. The group, when wanted, is
 * copied. */
static int parts_of(const char *path, char *group, size_t size) {
    bool core = vmc_starts_with(path, "/api/");
    if (group)
        snprintf(group, size, "%s", "");
    if (!core && !vmc_starts_with(path, "/apis/"))
        return 0;
    const char *p = path + (core ? 5 : 6);
    if (!core) {
        size_t n = strcspn(p, "/");
        if (group)
            snprintf(group, size, "%.*s", (int)n, p);
        p += n + (p[n] == '/');
    }
    p += strcspn(p, "/"); /* the version */
    if (vmc_starts_with(p, "/namespaces/")) {
        const char *rest = strchr(p + strlen("/namespaces/"), '/');
        if (rest)
            p = rest;
    }
    int count = 0;
    for (; *p == '/' && p[1]; p += 1 + strcspn(p + 1, "/"))
        count++;
    return count;
}

/* An action on an object ("start", "eviction"), not the object or its status. */
static bool is_action(const char *path) {
    return parts_of(path, NULL, 0) >= 3 && !vmc_ends_with(path, "/status") && !vmc_ends_with(path, "/scale");
}

static bool says(const kube_status *s, const char *words) {
    return s->message && strstr(s->message, words);
}

static int server_side_code(const kube_status *s) {
    if (s->http == 504)
        return VMCTL_E_TIMEOUT;
    if (says(s, "already underway"))
        return VMCTL_E_INVALID_STATE;
    /* Server-side apply has no better status for a field that the schema does not know. */
    if (s->http == 500 && says(s, "failed to create typed patch object"))
        return VMCTL_E_INVALID_ARGUMENT;
    /* virt-api's guestosinfo and its like say everything so. */
    if (s->http == 500 && s->text && vmc_ends_with(s->message, "not found"))
        return VMCTL_E_NOT_FOUND;
    return VMCTL_E_UNAVAILABLE;
}

int kube_status_code(const kube_status *s, const char *method, const char *path) {
    bool empty = s->text && (!s->message || !*s->message);
    (void)method;
    switch (s->http) {
    case 401: /* virt-api's own look at the roles ends so: the API server's 401 is a Status */
        return empty && is_action(path) ? VMCTL_E_PERMISSION_DENIED : VMCTL_E_UNAUTHENTICATED;
    case 403:
        return says(s, "exceeded quota")         ? VMCTL_E_RESOURCE_EXHAUSTED
               : says(s, "\"system:anonymous\"") ? VMCTL_E_UNAUTHENTICATED
                                                 : VMCTL_E_PERMISSION_DENIED;
    case 404:
        return s->text ? VMCTL_E_UNSUPPORTED : VMCTL_E_NOT_FOUND;
    case 405:
    case 406:
    case 415:
        return VMCTL_E_INTERNAL;
    case 409:
        return vmc_str_eq(s->reason, "AlreadyExists") ? VMCTL_E_ALREADY_EXISTS
               : is_action(path)                      ? VMCTL_E_INVALID_STATE
                                                      : VMCTL_E_CONFLICT;
    case 410:
        return VMCTL_E_CONFLICT;
    case 413:
        return VMCTL_E_RESOURCE_EXHAUSTED;
    case 429:
        return VMCTL_E_BUSY;
    default:
        return s->http < 400 ? 0 : s->http < 500 ? VMCTL_E_INVALID_ARGUMENT : server_side_code(s);
    }
}

int kube_denied(const char *verb, const char *group, const char *resource, const char *namespace_name,
                vmctl_error **err) {
    VMC_AUTO_FREE char *where =
        namespace_name ? vmc_printf(" in the namespace \"%s\"", namespace_name) : vmc_strdup(" at the cluster scope");
    vmc_error(err, VMCTL_E_PERMISSION_DENIED, "this user may not %s %s%s%s%s", verb, resource, *group ? "." : "", group,
              where);
    return vmc_error_next(err, "ask for a role that allows %s on %s%s", verb, resource, where);
}

/* RBAC's words: 'User "ci" cannot list resource "pods" in API group "" in the namespace "lab"'. false: others. */
static bool denied_by_rbac(const kube_status *s, vmctl_error **err) {
    const char *cannot = s->message ? strstr(s->message, " cannot ") : NULL;
    const char *group = cannot ? strstr(cannot, " in API group \"") : NULL;
    const char *where = cannot ? strstr(cannot, " in the namespace \"") : NULL;
    char verb[64], resource[128], of_group[128] = "", name[254] = "";
    if (!cannot || sscanf(cannot, " cannot %63s resource \"%127[^\"]\"", verb, resource) != 2)
        return false;
    if (group)
        (void)sscanf(group, " in API group \"%127[^\"]\"", of_group);
    if (where)
        (void)sscanf(where, " in the namespace \"%253[^\"]\"", name);
    kube_denied(verb, of_group, resource, *name ? name : NULL, err);
    vmc_error_hypervisor(err, s->reason ? s->reason : "HTTP 403", s->message);
    return true;
}

static void add_next(const kube_status *s, int code, const char *path, vmctl_error **err) {
    char group[128];
    (void)parts_of(path, group, sizeof group);
    if (code == VMCTL_E_PERMISSION_DENIED && s->http == 401)
        vmc_error_next(err, "ask for a role that allows it: KubeVirt gives it to \"admin\" only");
    else if (code == VMCTL_E_UNAUTHENTICATED && s->http == 403)
        vmc_error_next(err, "the context's user has no credentials: give it a token, a certificate or an exec plugin");
    else if (code == VMCTL_E_UNSUPPORTED && *group)
        vmc_error_next(err, "see whether the cluster serves %s: kubectl api-versions", group);
    else if (code == VMCTL_E_UNAVAILABLE && says(s, "failed calling webhook"))
        vmc_error_next(err, "the cluster's own webhook does not answer; try again when its pods are ready");
    else if (code == VMCTL_E_CONFLICT && s->http == 409)
        vmc_error_next(err, "it was changed meanwhile: look at it and try again");
}

static bool can_pass(const kube_status *s, int code) {
    return code == VMCTL_E_UNAVAILABLE || code == VMCTL_E_BUSY || s->http == 504 || s->http == 410 ||
           (code == VMCTL_E_CONFLICT && !vmc_str_eq(s->reason, "Conflict"));
}

/* Causes that the message does not already have. */
static void add_causes(const kube_status *s, vmctl_error **err) {
    size_t shown = 0;
    for (size_t i = 0; i < s->cause_count; i++) {
        const kube_cause *c = &s->causes[i];
        if (!c->message || says(s, c->message))
            continue;
        if (++shown > SHOWN_CAUSES) {
            vmc_error_append(err, "; and %zu more", s->cause_count - i);
            return;
        }
        vmc_error_append(err, "; %s%s%s", c->field ? c->field : "", c->field ? ": " : "", c->message);
    }
}

int kube_status_error(const kube_status *s, const char *method, const char *path, vmctl_error **err) {
    int code = kube_status_code(s, method, path);
    if (code == 0)
        return 0;
    if (code == VMCTL_E_PERMISSION_DENIED && denied_by_rbac(s, err))
        return code;
    const char *words = s->message ? s->message : "";
    if (s->text || !*words)
        vmc_error(err, code, "%s %s: %d%s%s", method, path, s->http, *words ? ": " : "", words);
    else
        vmc_error(err, code, "%s", words);
    add_causes(s, err);
    VMC_AUTO_FREE char *number = s->reason ? vmc_strdup(s->reason) : vmc_printf("HTTP %d", s->http);
    vmc_error_hypervisor(err, number, s->text && *words ? words : NULL);
    add_next(s, code, path, err);
    if (can_pass(s, code))
        vmc_error_retryable(err);
    return code;
}
