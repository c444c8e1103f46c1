/* drivers/kube/client.h - what the parts of this driver share of a client. */
#ifndef KUBE_CLIENT_H
#define KUBE_CLIENT_H

#include "drivers/http/http.h"
#include "drivers/kube/config.h"
#include <pthread.h>

/* How the server is spoken to with one client certificate; more than one lives only while a plugin's certificate changes. */
typedef struct kube_link {
    http_client *http;
    unsigned refs;
} kube_link;

struct kube_client {
    kube_config *config;
    pthread_mutex_t lock; /* of all below */
    kube_link *link;      /* NULL: to be made */
    char *authorization;  /* NULL: none; of a plugin or a token file: until good_until_ms */
    char *cert_pem, *key_pem;
    int64_t good_until_ms; /* CLOCK_MONOTONIC; -1: for ever; 0: to be got */
    unsigned generation;   /* of the three; counts from 1 */
    int turn;              /* eventfd, a semaphore: whose turn it is to get credentials */
    vmc_strv warned;
    kube_discovery *discovery; /* the latest, with its predecessors behind it */
    _Atomic unsigned writes;   /* without the lock */
};

/* What one request goes out with. */
typedef struct kube_grant {
    kube_link *link;
    char *authorization; /* wiped by kube_grant_release; NULL */
    unsigned generation;
} kube_grant;

/* Gets credentials where they are missing or old, running the plugin or reading the token file. */
int kube_grant_get(kube_client *client, const vmc_deadline *deadline, kube_grant *grant, vmctl_error **err);
void kube_grant_release(kube_client *client, kube_grant *grant);
/* The server did not take it. True: others can be got, ask again. */
bool kube_grant_refused(kube_client *client, const kube_grant *grant);

/* exec.c: runs the plugin. Texts: free, wiped; expires_ms as good_until_ms. */
typedef struct kube_exec_result {
    char *token, *cert_pem, *key_pem;
    int64_t expires_ms;
} kube_exec_result;
int kube_exec_run(const kube_config *config, const vmc_deadline *deadline, kube_exec_result *result, vmctl_error **err);
void kube_exec_result_free(kube_exec_result *result);

/* request.c: one request with its repetitions. A 2xx body goes to `write` (NULL: it is collected in *response), which may be told twice
 * of nothing: with `write` a connection that was cut in the body is not taken up here. */
typedef struct kube_exchange {
    const kube_request *request;
    http_write_fn write;
    void *user;
    int64_t idle_ms;       /* as in http_request */
    const char *etag;      /* If-None-Match: 304 is an answer then; NULL */
    http_failure *failure; /* why no answer came; NULL */
    kube_loss *loss;       /* of what is not read: what is not known; NULL */
} kube_exchange;
int kube_exchange_run(kube_client *client, const kube_exchange *exchange, const vmc_deadline *deadline,
                      http_response **response, vmctl_error **err);

/* "Is this an API server ...": the next step after what none would answer. Returns the code. */
int kube_explain_rubbish(vmctl_error **err);
/* What a failed exchange's error says besides: which file to look into. */
void kube_explain_transport(const kube_client *client, http_failure failure, vmctl_error **err);
/* The error for an answer of 300 and more; *status is filled. Returns the code. */
int kube_refuse(const kube_client *client, const kube_request *request, const http_response *response,
                kube_status *status, vmctl_error **err);
/* A 401 that virt-api gives when a role does not allow it: other credentials of the same user change nothing. */
bool kube_is_empty_refusal(const http_response *response);

/* The URL of a request: server, path, query escaped. free. */
char *kube_url(const kube_client *client, const char *path, const char *const *query);
/* Impersonation headers, appended. */
void kube_add_impersonation(const kube_config *config, vmc_strv *headers);

/* query, then the pairs of more (both NULL-terminated, either may be NULL), as one borrowed list. free the list alone. */
const char **kube_query_join(const char *const *query, const char *const *more);

void kube_discovery_free(kube_discovery *discovery);

#endif
