/* drivers/http/url.c - URLs by libcurl's parser; redaction; Retry-After. */
#include "drivers/http/url.h"
#include "base/redact.h"
#include "drivers/http/http.h"
#include <ctype.h>
#include <curl/curl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static char *part_of(CURLU *parser, CURLUPart part, unsigned flags) {
    char *text = NULL;
    if (curl_url_get(parser, part, &text, flags) != CURLUE_OK)
        return NULL;
    char *copy = vmc_strdup(text);
    curl_free(text);
    return copy;
}

static char *basic_of(const char *user, const char *password) {
    char *pair = vmc_printf("%s:%s", user ? user : "", password ? password : "");
    size_t length = strlen(pair);
    VMC_AUTO_FREE char *encoded = vmc_alloc(length / 3 * 4 + 8);
    EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)pair, (int)length);
    vmc_wipe_free(pair);
    return vmc_printf("Basic %s", encoded);
}

static void read_parts(CURLU *parser, http_url *out) {
    out->scheme = part_of(parser, CURLUPART_SCHEME, 0);
    out->host = part_of(parser, CURLUPART_HOST, 0);
    out->port = part_of(parser, CURLUPART_PORT, CURLU_DEFAULT_PORT);
    char *user = part_of(parser, CURLUPART_USER, CURLU_URLDECODE);
    char *password = part_of(parser, CURLUPART_PASSWORD, CURLU_URLDECODE);
    if (user || password)
        out->basic = basic_of(user, password);
    vmc_wipe_free(user);
    vmc_wipe_free(password);
    curl_url_set(parser, CURLUPART_USER, NULL, 0);
    curl_url_set(parser, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(parser, CURLUPART_FRAGMENT, NULL, 0);
    out->text = part_of(parser, CURLUPART_URL, 0);
    out->origin = vmc_printf("%s://%s:%s", out->scheme ? out->scheme : "", out->host ? out->host : "",
                             out->port ? out->port : "");
    for (char *c = out->origin; *c; c++)
        *c = (char)tolower((unsigned char)*c);
}

int http_url_parse(const char *text, const http_url *base, http_url *out, vmctl_error **err) {
    *out = (http_url){0};
    CURLU *parser = curl_url();
    CURLUcode rc = parser ? CURLUE_OK : CURLUE_OUT_OF_MEMORY;
    if (rc == CURLUE_OK && base)
        rc = curl_url_set(parser, CURLUPART_URL, base->text, 0);
    if (rc == CURLUE_OK)
        rc = curl_url_set(parser, CURLUPART_URL, text, 0);
    if (rc == CURLUE_OK)
        read_parts(parser, out);
    curl_url_cleanup(parser);
    bool known = rc == CURLUE_OK && out->scheme && out->host && *out->host &&
                 (strcasecmp(out->scheme, "http") == 0 || strcasecmp(out->scheme, "https") == 0);
    if (known)
        return 0;
    http_url_free(out);
    VMC_AUTO_FREE char *shown = http_redact_url(text);
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no http or https URL", shown);
}

void http_url_free(http_url *url) {
    free(url->text);
    free(url->origin);
    free(url->scheme);
    free(url->host);
    free(url->port);
    vmc_wipe_free(url->basic);
    *url = (http_url){0};
}

char *http_redact_url(const char *url) {
    return vmc_redact_url(url);
}

int64_t http_retry_after_ms(const char *value) {
    if (!value)
        return -1;
    while (*value == ' ')
        value++;
    if (isdigit((unsigned char)*value)) {
        char *end = NULL;
        long long seconds = strtoll(value, &end, 10);
        return end && *end == '\0' && seconds < INT64_MAX / 1000 ? seconds * 1000 : -1;
    }
    time_t at = curl_getdate(value, NULL);
    if (at < 0)
        return -1;
    time_t now = time(NULL);
    return at > now ? (int64_t)(at - now) * 1000 : 0;
}
