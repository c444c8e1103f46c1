/* drivers/http/response.c - an answer: its headers, and its status as an error. */
#include "drivers/http/client.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SHOWN_WORDS = 300 };

void http_header_add(vmc_strv *names, vmc_strv *values, const char *line, size_t length) {
    const char *colon = memchr(line, ':', length);
    if (!colon)
        return;
    char *name = vmc_strndup(line, (size_t)(colon - line));
    for (char *c = name; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    const char *value = colon + 1, *end = line + length;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && strchr(" \t\r\n", end[-1]))
        end--;
    vmc_strv_take(names, name);
    vmc_strv_take(values, vmc_strndup(value, (size_t)(end - value)));
}

const char *http_response_header(const http_response *response, const char *name) {
    for (size_t i = response->names.count; i > 0; i--)
        if (strcasecmp(response->names.items[i - 1], name) == 0)
            return response->values.items[i - 1];
    return NULL;
}

void http_response_free(http_response *response) {
    if (!response)
        return;
    free(response->url);
    free(response->body);
    vmc_strv_free(&response->names);
    vmc_strv_free(&response->values);
    free(response);
}

static const struct {
    int status;
    int code;
    const char *phrase;
} statuses[] = {{400, VMCTL_E_INVALID_ARGUMENT, "Bad Request"},
                {401, VMCTL_E_UNAUTHENTICATED, "Unauthorized"},
                {402, VMCTL_E_PERMISSION_DENIED, "Payment Required"},
                {403, VMCTL_E_PERMISSION_DENIED, "Forbidden"},
                {404, VMCTL_E_NOT_FOUND, "Not Found"},
                {405, VMCTL_E_UNSUPPORTED, "Method Not Allowed"},
                {407, VMCTL_E_UNAUTHENTICATED, "Proxy Authentication Required"},
                {408, VMCTL_E_TIMEOUT, "Request Timeout"},
                {409, VMCTL_E_CONFLICT, "Conflict"},
                {410, VMCTL_E_NOT_FOUND, "Gone"},
                {412, VMCTL_E_CONFLICT, "Precondition Failed"},
                {413, VMCTL_E_RESOURCE_EXHAUSTED, "Content Too Large"},
                {416, VMCTL_E_INVALID_ARGUMENT, "Range Not Satisfiable"},
                {422, VMCTL_E_INVALID_ARGUMENT, "Unprocessable Content"},
                {429, VMCTL_E_RESOURCE_EXHAUSTED, "Too Many Requests"},
                {500, VMCTL_E_UNAVAILABLE, "Internal Server Error"},
                {501, VMCTL_E_UNSUPPORTED, "Not Implemented"},
                {502, VMCTL_E_UNAVAILABLE, "Bad Gateway"},
                {503, VMCTL_E_UNAVAILABLE, "Service Unavailable"},
                {504, VMCTL_E_TIMEOUT, "Gateway Timeout"},
                {507, VMCTL_E_RESOURCE_EXHAUSTED, "Insufficient Storage"}};

int http_status_code(int status) {
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].code;
    return status < 400 ? 0 : status < 500 ? VMCTL_E_INVALID_ARGUMENT : VMCTL_E_UNAVAILABLE;
}

static const char *phrase_of(int status) {
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
        if (statuses[i].status == status)
            return statuses[i].phrase;
    return "";
}

/* The first line of a body that is text for people; "" for pages and structures. */
static char *server_words(const http_response *response) {
    const char *body = response->body ? response->body : "";
    body += strspn(body, " \t\r\n");
    if (*body == '<' || *body == '{' || *body == '[')
        return vmc_strdup("");
    size_t n = strcspn(body, "\r\n");
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)body[i] < ' ')
            return vmc_strdup("");
    return vmc_strndup(body, n < SHOWN_WORDS ? n : SHOWN_WORDS);
}

int http_status_error(const http_request *request, const http_response *response, vmctl_error **err) {
    int code = http_status_code(response->status);
    if (code == 0)
        return 0;
    VMC_AUTO_FREE char *words = server_words(response);
    const char *phrase = phrase_of(response->status);
    const char *method = request->method ? request->method : request->body || request->read ? "POST" : "GET";
    vmc_error(err, code, "%s %s: %d%s%s%s%s", method, response->url, response->status, *phrase ? " " : "", phrase,
              *words ? ": " : "", words);
    if (response->status == 429 || response->status == 502 || response->status == 503 || response->status == 504)
        vmc_error_retryable(err);
    return code;
}
