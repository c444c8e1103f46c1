/* drivers/http/url.h - URLs taken apart: where credentials may go, what a log may show. */
#ifndef VMC_HTTP_URL_H
#define VMC_HTTP_URL_H

#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>

typedef struct http_url {
    char *text;   /* without userinfo */
    char *origin; /* "https://host:443", lower case: equal strings are one origin */
    char *scheme;
    char *host;
    char *port;
    char *basic; /* "Basic ..." from the userinfo; NULL: none. Secret */
} http_url;

/* INVALID_ARGUMENT: not a URL, or neither http nor https. `base` (NULL: none) resolves a relative one, as Location may be. */
int http_url_parse(const char *text, const http_url *base, http_url *out, vmctl_error **err);
void http_url_free(http_url *url);

#endif
