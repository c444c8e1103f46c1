/* drivers/http/http.h - HTTP by libcurl: many requests side by side over one I/O thread of the process.
 *
 * The thread starts with the first request, owns the one multi handle (connection reuse, HTTP/2), and is joined at exit. A caller hands
 * its request over and waits with its deadline and cancel token; all callbacks run in the caller's own thread. Between the two
 * is a bounded buffer: a slow reader stops the sender (back-pressure).
 *
 * Secrets: what `authorization` and `secret_headers` hold goes to the origin (scheme, host, port) of the request's own URL only,
 * never along a redirect to another, and is in no log and no error; nor are userinfo and secret query values of URLs.
 */
#ifndef VMC_HTTP_H
#define VMC_HTTP_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <stdint.h>
#include <sys/types.h>

/* How one endpoint is spoken to. Copied; may be shared by threads. NULL in place of one: the defaults. */
typedef struct http_client http_client;

typedef struct http_client_options {
    const char *ca_file;   /* PEM, instead of the system's; NULL */
    const char *ca_pem;    /* the same from memory; NULL */
    const char *cert_file; /* client certificate, PEM; NULL */
    const char *key_file;  /* its key, PEM */
    const char *cert_pem;  /* the same from memory; NULL */
    const char *key_pem;
    const char *pin; /* public key, "sha256//BASE64" as CURLOPT_PINNEDPUBLICKEY; in addition to verification; NULL */
    const char *
        thumbprint; /* SHA-256 of the server's certificate, hexadecimal, colons allowed: instead of verification; NULL */
    const char *server_name; /* the name that the certificate must have, when it is not the URL's host; NULL */
    const char *proxy;       /* NULL: from the environment (https_proxy, no_proxy ...) */
    bool insecure;           /* certificates are not verified */
    int connect_timeout_ms;  /* 0: 30000 */
    unsigned max_requests;   /* side by side through this client; 0: no limit */
} http_client_options;

int http_client_new(const http_client_options *options, http_client **out, vmctl_error **err);
void http_client_free(http_client *client); /* NULL is allowed; after the last request that uses it */
static inline void http_client_free_ptr(http_client **client) {
    http_client_free(*client);
}
#define HTTP_AUTO_CLIENT vmc_cleanup(http_client_free_ptr) http_client

typedef struct http_response http_response;

/* Why no whole answer came. */
typedef enum http_failure {
    HTTP_FAILURE_NONE,
    HTTP_FAILURE_RESOLVE, /* the host's or proxy's name is not known */
    HTTP_FAILURE_CONNECT, /* nobody there, or the proxy refused */
    HTTP_FAILURE_TLS,     /* not trusted, or no TLS */
    HTTP_FAILURE_CUT,     /* the connection ended before the answer's end */
    HTTP_FAILURE_SILENT,  /* idle_ms passed */
    HTTP_FAILURE_OTHER
} http_failure;

/* Part of the body. Non-zero ends the request: negative is returned as the request's code, positive ends it with success (a
 * watch that has seen enough). */
typedef int (*http_write_fn)(const void *bytes, size_t length, void *user);
/* The answer's status and headers, before its body, once per request (not for answers that are retried or redirects that are followed).
 * Return as above. */
typedef int (*http_head_fn)(const http_response *response, void *user);
/* The next part of an upload, at most `size` bytes: their number, 0 at the end, negative to end the request with that code. */
typedef ssize_t (*http_read_fn)(void *bytes, size_t size, void *user);

typedef struct http_request {
    const char *method;                /* NULL: GET, or POST with a body */
    const char *url;                   /* http or https. Userinfo in it becomes Basic authorization */
    const char *const *headers;        /* "Name: value", NULL-terminated; NULL */
    const char *const *secret_headers; /* the same, bound to the origin and never logged */
    const char *authorization;         /* value of the Authorization header: "Bearer ..."; NULL */
    const void *body;                  /* borrowed until the call returns; NULL: none */
    size_t body_length;
    http_read_fn read;   /* body as a stream instead; such a request is never repeated */
    int64_t read_length; /* of the stream; -1 unknown (chunked) */
    http_head_fn head;   /* NULL */
    http_write_fn
        write; /* NULL: the body is collected in the response. Not called with the body of an error status (4xx, 5xx): that
                             is collected, for the error's words */
    void *user;        /* handed to the three */
    size_t limit;      /* of a collected body, bytes; 0: 16 MiB; beyond it RESOURCE_EXHAUSTED */
    int max_redirects; /* 0: 10; -1: redirects are handed back as they are */
    int max_retries;   /* 0: 4; -1: none. Only for idempotent requests, before the first body byte went to `write` */
    bool idempotent;   /* GET, HEAD, PUT, DELETE, OPTIONS are anyway */
    bool once; /* whatever its method: never sent twice, not even when the kept connection turns out to be closed (which
                          is HTTP_FAILURE_CUT then; other requests that are not idempotent get a new connection each).
                          libcurl does not tell what an HTTP/2 server has refused unread (RFC 9113, 8.7): that is CUT, too */
    bool identity;         /* no compression: for ranges and checksums */
    bool *sent;            /* of a `once`: told whether it, or some of it, went out; NULL */
    int64_t idle_ms;       /* no byte for so long is a connection error; 0: 60000; -1: none (watches) */
    http_failure *failure; /* told what kind of failure UNAVAILABLE is; NULL */
} http_request;

/* 0 for every HTTP status (see http_status_error). UNAVAILABLE for name, connection and TLS failures (also when retries are used
 * up), TIMEOUT, CANCELLED. *out (may be NULL): http_response_free. On 429, 502, 503, 504 and connection errors an
 * idempotent request is repeated after Retry-After, else after a growing pause, within the deadline; when the deadline does not
 * leave the time, the last answer is given as it is. */
int http_perform(http_client *client, const http_request *request, const vmc_deadline *deadline, http_response **out,
                 vmctl_error **err);
/* http_perform, and http_status_error for a status of 400 and more. */
int http_perform_ok(http_client *client, const http_request *request, const vmc_deadline *deadline, http_response **out,
                    vmctl_error **err);

struct http_response {
    int status;     /* 200 */
    int version;    /* 10, 11, 20 */
    char *url;      /* the last one, after redirects; redacted */
    vmc_strv names; /* header names in lower case, and their values, in order */
    vmc_strv values;
    char *body; /* collected; NUL-terminated; never NULL */
    size_t length;
    int attempts; /* 1: at once */
};

/* The last header of that name (any case), NULL when absent. */
const char *http_response_header(const http_response *response, const char *name);
void http_response_free(http_response *response);
static inline void http_response_free_ptr(http_response **response) {
    http_response_free(*response);
}
#define HTTP_AUTO_RESPONSE vmc_cleanup(http_response_free_ptr) http_response

/* The code that a status stands for: 0 below 400; 401 unauthenticated, 403 permission-denied, 404 and 410 not-found, 409 conflict, 408, 504
 * timeout, 413, 429, 507 resource-exhausted, 400, 422 invalid-argument, 405, 501 unsupported, 5xx unavailable. */
int http_status_code(int status);
/* "GET https://host/path: 404 Not Found: the server's words", retryable where it is. Returns the code. */
int http_status_error(const http_request *request, const http_response *response, vmctl_error **err);

/* The URL without userinfo and with "***" for query values whose names mean a secret (token, key, secret, password, signature,
 * credential, ...). free. */
char *http_redact_url(const char *url);
/* Retry-After's value (seconds or a date) in milliseconds from now; -1: none of both. */
int64_t http_retry_after_ms(const char *value);

/* Ends all requests (CANCELLED) and joins the I/O thread; a later request starts it again. Done at exit by itself. */
void http_shutdown(void);

#endif
