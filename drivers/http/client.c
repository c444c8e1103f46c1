/* drivers/http/client.c - how an endpoint is spoken to: trust, certificates, proxy. */
#include "drivers/http/client.h"
#include <ctype.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>

enum { CONNECT_MS = 30000, THUMBPRINT = 32 };

struct http_client {
    char *ca_file, *ca_pem, *cert_file, *key_file, *cert_pem, *key_pem, *pin, *server_name, *proxy;
    bool insecure, has_thumbprint;
    unsigned char thumbprint[THUMBPRINT];
    char *trust_name; /* of the thumbprint, so that libcurl keeps its connections apart */
    int connect_timeout_ms;
    int slots;
};

static int read_thumbprint(const char *text, http_client *c, vmctl_error **err) {
    size_t digits = 0;
    for (const char *p = text; *p; p++) {
        if (*p == ':')
            continue;
        if (!isxdigit((unsigned char)*p) || digits >= THUMBPRINT * 2)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the thumbprint is no SHA-256 in hexadecimal");
        int value = isdigit((unsigned char)*p) ? *p - '0' : tolower((unsigned char)*p) - 'a' + 10;
        c->thumbprint[digits / 2] = (unsigned char)(c->thumbprint[digits / 2] << 4 | value);
        digits++;
    }
    if (digits != THUMBPRINT * 2)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the thumbprint has %zu of %d digits", digits, THUMBPRINT * 2);
    VMC_AUTO_STR name = {0};
    vmc_str_add(&name, "/dev/null/");
    for (size_t i = 0; i < THUMBPRINT; i++)
        vmc_str_printf(&name, "%02x", c->thumbprint[i]);
    c->trust_name = vmc_str_take(&name);
    c->has_thumbprint = true;
    return 0;
}

int http_client_new(const http_client_options *o, http_client **out, vmctl_error **err) {
    http_client *c = vmc_alloc(sizeof *c);
    c->ca_file = vmc_strdup(o->ca_file);
    c->ca_pem = vmc_strdup(o->ca_pem);
    c->cert_file = vmc_strdup(o->cert_file);
    c->key_file = vmc_strdup(o->key_file);
    c->cert_pem = vmc_strdup(o->cert_pem);
    c->key_pem = vmc_strdup(o->key_pem);
    c->pin = vmc_strdup(o->pin);
    c->server_name = vmc_strdup(o->server_name);
    c->proxy = vmc_strdup(o->proxy);
    c->insecure = o->insecure;
    c->connect_timeout_ms = o->connect_timeout_ms;
    c->slots = -1;
    int rc = o->thumbprint ? read_thumbprint(o->thumbprint, c, err) : 0;
    if (rc == 0 && o->max_requests > 0) {
        c->slots = eventfd(o->max_requests, EFD_CLOEXEC | EFD_NONBLOCK | EFD_SEMAPHORE);
        if (c->slots < 0)
            rc = vmc_error_errno(err, errno, "cannot make an HTTP client");
    }
    if (rc < 0) {
        http_client_free(c);
        return rc;
    }
    *out = c;
    return 0;
}

void http_client_free(http_client *c) {
    if (!c)
        return;
    free(c->ca_file);
    free(c->ca_pem);
    free(c->cert_file);
    free(c->key_file);
    free(c->cert_pem);
    vmc_wipe_free(c->key_pem);
    free(c->pin);
    free(c->server_name);
    vmc_wipe_free(c->proxy);
    free(c->trust_name);
    vmc_close_ptr(&c->slots);
    free(c);
}

int http_client_slots(const http_client *client) {
    return client ? client->slots : -1;
}

/* Instead of the chain's verification: the server's certificate itself is the known one. */
static int verify_thumbprint(X509_STORE_CTX *context, void *client) {
    const http_client *c = client;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    X509 *certificate = X509_STORE_CTX_get0_cert(context);
    if (certificate && X509_digest(certificate, EVP_sha256(), digest, &length) == 1 && length == THUMBPRINT &&
        CRYPTO_memcmp(digest, c->thumbprint, THUMBPRINT) == 0)
        return 1;
    X509_STORE_CTX_set_error(context, X509_V_ERR_CERT_REJECTED);
    return 0;
}

static CURLcode trust_thumbprint(CURL *easy, void *tls, void *client) {
    (void)easy;
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(tls, verify_thumbprint, client);
    return CURLE_OK;
}

static void set_text(CURL *easy, CURLoption option, const char *text) {
    if (text)
        curl_easy_setopt(easy, option, text);
}

static void set_blob(CURL *easy, CURLoption option, char *text) {
    if (!text)
        return;
    struct curl_blob blob = {text, strlen(text), CURL_BLOB_COPY};
    curl_easy_setopt(easy, option, &blob);
}

static int apply_thumbprint(http_client *c, CURL *easy, vmctl_error **err) {
    const char *library = curl_version_info(CURLVERSION_NOW)->ssl_version;
    if (!library || !strstr(library, "OpenSSL"))
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "a thumbprint needs a libcurl that uses OpenSSL");
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, trust_thumbprint);
    curl_easy_setopt(easy, CURLOPT_SSL_CTX_DATA, c);
    /* libcurl reuses a connection when its TLS settings are the same, and the callback above is none of those. A
     * folder of authorities that does not exist, named after the thumbprint, is one. A resumed session would skip
     * the certificate. */
    curl_easy_setopt(easy, CURLOPT_CAPATH, c->trust_name);
    curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    return 0;
}

/* The certificate is checked for another name than the one that is connected to. */
static void apply_server_name(const http_client *c, const http_url *url, CURL *easy, struct curl_slist **headers,
                              struct curl_slist **connect_to) {
    CURLU *parser = curl_url();
    char *text = NULL;
    if (parser && curl_url_set(parser, CURLUPART_URL, url->text, 0) == CURLUE_OK &&
        curl_url_set(parser, CURLUPART_HOST, c->server_name, 0) == CURLUE_OK &&
        curl_url_get(parser, CURLUPART_URL, &text, 0) == CURLUE_OK) {
        VMC_AUTO_FREE char *route = vmc_printf("%s:%s:%s:%s", c->server_name, url->port, url->host, url->port);
        VMC_AUTO_FREE char *host = vmc_printf("Host: %s:%s", url->host, url->port);
        *connect_to = curl_slist_append(*connect_to, route);
        *headers = curl_slist_append(*headers, host);
        curl_easy_setopt(easy, CURLOPT_CONNECT_TO, *connect_to);
        curl_easy_setopt(easy, CURLOPT_URL, text);
    }
    curl_free(text);
    curl_url_cleanup(parser);
}

/* A proxy that speaks TLS itself is trusted by the same authorities, as Go's clients do, and by the system's: all that it learns is who is
 * spoken to, since what goes through it is verified again. It may ask for the client's certificate, too. */
static void apply_to_tls_proxy(http_client *c, CURL *easy) {
    set_text(easy, CURLOPT_PROXY_CAINFO, c->ca_file);
    set_blob(easy, CURLOPT_PROXY_CAINFO_BLOB, c->ca_pem);
    set_text(easy, CURLOPT_PROXY_SSLCERT, c->cert_file);
    set_text(easy, CURLOPT_PROXY_SSLKEY, c->key_file);
    set_blob(easy, CURLOPT_PROXY_SSLCERT_BLOB, c->cert_pem);
    set_blob(easy, CURLOPT_PROXY_SSLKEY_BLOB, c->key_pem);
    if (c->insecure) {
        curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_PROXY_SSL_VERIFYHOST, 0L);
    }
}

bool http_ended_at_proxy(const http_client *client, CURL *easy, CURLcode result) {
    const char *proxy = client && client->proxy ? client->proxy : "";
    long verified = 0, connected = 0;
    curl_easy_getinfo(easy, CURLINFO_PROXY_SSL_VERIFYRESULT, &verified);
    curl_easy_getinfo(easy, CURLINFO_HTTP_CONNECTCODE, &connected);
    bool tls = result == CURLE_PEER_FAILED_VERIFICATION || result == CURLE_SSL_CONNECT_ERROR;
    return (verified != 0 && tls) || (connected == 0 && tls && strncasecmp(proxy, "https://", 8) == 0) ||
           (result == CURLE_COULDNT_CONNECT && *proxy);
}

int http_client_apply(http_client *c, const http_url *url, CURL *easy, struct curl_slist **headers,
                      struct curl_slist **connect_to, vmctl_error **err) {
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(c && c->connect_timeout_ms > 0 ? c->connect_timeout_ms : CONNECT_MS));
    if (!c)
        return 0;
    set_text(easy, CURLOPT_CAINFO, c->ca_file);
    set_blob(easy, CURLOPT_CAINFO_BLOB, c->ca_pem);
    if (c->ca_file || c->ca_pem)
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL); /* these alone are trusted */
    set_text(easy, CURLOPT_SSLCERT, c->cert_file);
    set_text(easy, CURLOPT_SSLKEY, c->key_file);
    set_blob(easy, CURLOPT_SSLCERT_BLOB, c->cert_pem);
    set_blob(easy, CURLOPT_SSLKEY_BLOB, c->key_pem);
    set_text(easy, CURLOPT_PINNEDPUBLICKEY, c->pin);
    set_text(easy, CURLOPT_PROXY, c->proxy);
    apply_to_tls_proxy(c, easy);
    if (c->proxy)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, ""); /* the environment's exceptions are for the environment's proxy */
    if (c->server_name)
        apply_server_name(c, url, easy, headers, connect_to);
    if (c->insecure && !c->has_thumbprint) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return c->has_thumbprint ? apply_thumbprint(c, easy, err) : 0;
}
