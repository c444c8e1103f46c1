/* drivers/http/exchange.h - one hop of a request: set up, waited for, told to the caller. */
#ifndef VMC_HTTP_EXCHANGE_H
#define VMC_HTTP_EXCHANGE_H

#include "drivers/http/transfer.h"

typedef struct http_hop {
    http_client *client;
    const http_request *request;
    const http_url *url;
    const char *method;
    bool with_body;    /* of the request: false after a redirect that became a GET */
    bool with_secrets; /* the URL has the request's origin */
    bool fresh;        /* a connection of its own */
    bool once;         /* must not reach the server twice */
    const char *basic; /* from the request's URL; NULL */
    const vmc_deadline *deadline;
} http_hop;

typedef struct http_hop_result {
    http_response *response; /* NULL: none came */
    bool told;               /* bytes or the head went to the caller */
    bool stopped;            /* a callback has seen enough */
    bool transport;          /* *err is a failure on the way that may pass */
    http_failure failure;    /* what kind */
    bool sent;               /* of a `once`: it, or some of it, went out */
} http_hop_result;

/* 0 with a response, or negative. The head of an answer whose status is retryable is not told: the caller of this decides. */
int http_hop_run(const http_hop *hop, http_hop_result *result, vmctl_error **err);

/* Statuses that a repetition may cure, and those that lead elsewhere. */
bool http_status_retryable(int status);
bool http_status_redirects(int status);

#endif
