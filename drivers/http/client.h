/* drivers/http/client.h - one place for trust, certificates, proxies and the words of failures: shared by the files of this room and by
 * drivers/websocket, whose connections leave HTTP. */
#ifndef VMC_HTTP_CLIENT_H
#define VMC_HTTP_CLIENT_H

#include "drivers/http/http.h"
#include "drivers/http/url.h"
#include <curl/curl.h>

/* What a client adds to a handle; NULL client: the defaults. What is put into *headers and *connect_to (curl_slist_free_all) must outlive the
 * handle, and so must the client. INVALID_ARGUMENT: a thumbprint or key that is none. */
int http_client_apply(http_client *client, const http_url *url, CURL *easy, struct curl_slist **headers,
                      struct curl_slist **connect_to, vmctl_error **err);
/* The descriptor of a semaphore (eventfd) that bounds requests side by side; -1: no bound. */
int http_client_slots(const http_client *client);

/* Whether an exchange that failed got no further than to the proxy. Where the environment names the proxy, only its certificate tells. */
bool http_ended_at_proxy(const http_client *client, CURL *easy, CURLcode result);
/* "GET https://host/: libcurl's words" for a result that is none of success; url redacted; words may be NULL or "". *failure and *passes
 * (both may be NULL): what kind it is, and whether a repetition may cure it. Returns the code. */
int http_transport_error(const char *method, const char *url, CURLcode result, bool at_proxy, const char *words,
                         http_failure *failure, bool *passes, vmctl_error **err);

/* "Name: value" of `length` bytes, line end included, as a lower-case name and its value; a line without colon adds nothing. */
void http_header_add(vmc_strv *names, vmc_strv *values, const char *line, size_t length);

#endif
