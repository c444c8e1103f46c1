/* drivers/http/failure.c - why no answer came: libcurl's codes as errors of ours. */
#include "drivers/http/client.h"
#include <string.h>

/* What each of libcurl's codes that an exchange can end with means here. */
static const struct {
    CURLcode result;
    http_failure failure;
    int code;    /* 0: UNAVAILABLE */
    bool passes; /* a repetition may cure it */
    const char *next;
} failures[] = {
    {CURLE_URL_MALFORMAT, HTTP_FAILURE_OTHER, VMCTL_E_INVALID_ARGUMENT, false, NULL},
    {CURLE_UNSUPPORTED_PROTOCOL, HTTP_FAILURE_OTHER, VMCTL_E_INVALID_ARGUMENT, false, NULL},
    {CURLE_SSL_CERTPROBLEM, HTTP_FAILURE_OTHER, VMCTL_E_INVALID_ARGUMENT, false, NULL},
    {CURLE_SSL_CACERT_BADFILE, HTTP_FAILURE_OTHER, VMCTL_E_INVALID_ARGUMENT, false, NULL},
    {CURLE_OUT_OF_MEMORY, HTTP_FAILURE_OTHER, VMCTL_E_RESOURCE_EXHAUSTED, false, NULL},
    {CURLE_PEER_FAILED_VERIFICATION, HTTP_FAILURE_TLS, 0, false,
     "if you know this server, give its authority's certificate or its own thumbprint"},
    {CURLE_SSL_PINNEDPUBKEYNOTMATCH, HTTP_FAILURE_TLS, 0, false,
     "if you know this server, give its authority's certificate or its own thumbprint"},
    {CURLE_SSL_CONNECT_ERROR, HTTP_FAILURE_TLS, 0, true, NULL},
    {CURLE_COULDNT_RESOLVE_HOST, HTTP_FAILURE_RESOLVE, 0, false, "check the host's name"},
    {CURLE_COULDNT_RESOLVE_PROXY, HTTP_FAILURE_RESOLVE, 0, false, "check the proxy's name"},
    {CURLE_COULDNT_CONNECT, HTTP_FAILURE_CONNECT, 0, true, NULL},
    {CURLE_OPERATION_TIMEDOUT, HTTP_FAILURE_CONNECT, 0, true, NULL},
    {CURLE_PROXY, HTTP_FAILURE_CONNECT, 0, true, NULL},
    {CURLE_ABORTED_BY_CALLBACK, HTTP_FAILURE_CUT, 0, true, NULL}, /* on_send */
    {CURLE_GOT_NOTHING, HTTP_FAILURE_CUT, 0, true, NULL},
    {CURLE_SEND_ERROR, HTTP_FAILURE_CUT, 0, true, NULL},
    {CURLE_RECV_ERROR, HTTP_FAILURE_CUT, 0, true, NULL},
    {CURLE_PARTIAL_FILE, HTTP_FAILURE_CUT, 0, true, NULL},
    {CURLE_HTTP2, HTTP_FAILURE_CUT, 0, true, NULL},
    {CURLE_HTTP2_STREAM, HTTP_FAILURE_CUT, 0, true, NULL},
};

int http_transport_error(const char *method, const char *url, CURLcode result, bool at_proxy, const char *given,
                         http_failure *failure, bool *passing, vmctl_error **err) {
    const char *words = given && *given ? given : curl_easy_strerror(result);
    http_failure kind = HTTP_FAILURE_OTHER;
    int code = VMCTL_E_UNAVAILABLE;
    bool passes = true;
    const char *next = NULL;
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++)
        if (failures[i].result == result) {
            kind = failures[i].failure;
            code = failures[i].code ? failures[i].code : code;
            passes = failures[i].passes;
            next = failures[i].next;
        }
    const char *plainly = "";
    if (result == CURLE_SSL_CONNECT_ERROR && strstr(words, "wrong version number")) {
        passes = false; /* OpenSSL's words for a first byte that is no TLS */
        plainly = at_proxy ? "the proxy speaks no TLS: " : "the server there speaks no TLS: ";
        next = at_proxy ? "is http:// meant for the proxy?" : "is http:// meant?";
    } else if (at_proxy) {
        plainly = "the proxy: ";
        next = result == CURLE_COULDNT_CONNECT
                   ? "check that the proxy is right and can be reached from here"
                   : "the proxy needs a certificate of its own name, by an authority that is "
                     "trusted here";
    }
    if (at_proxy)
        kind = HTTP_FAILURE_CONNECT;
    if (result == CURLE_UNSUPPORTED_PROTOCOL && strstr(words, "HTTP/0.9")) {
        code = VMCTL_E_UNAVAILABLE; /* libcurl's words for a first line that is none of HTTP's */
        kind = HTTP_FAILURE_CUT;
        plainly = "what answers there speaks no HTTP: ";
    }
    if (result == CURLE_RECV_ERROR && strncmp(words, "CONNECT tunnel failed", 21) == 0) {
        kind = HTTP_FAILURE_CONNECT; /* libcurl's words for a proxy's answer that is not 2xx */
        passes = strstr(words, "response 5") != NULL;
        plainly = "the proxy refuses: ";
        next = "ask whether the proxy lets this host and port through";
        if (strstr(words, "response 407")) {
            code = VMCTL_E_UNAUTHENTICATED;
            next = "the proxy wants a user and a password, which stand in its URL before the host: USER:PASSWORD@";
        }
    }
    vmc_error(err, code, "%s %s: %s%s", method, url, plainly, words);
    if (next)
        vmc_error_next(err, "%s", next);
    if (passes)
        vmc_error_retryable(err);
    if (failure)
        *failure = kind;
    if (passing)
        *passing = passes;
    return code;
}
