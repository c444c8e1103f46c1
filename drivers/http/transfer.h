/* drivers/http/transfer.h - one exchange on its way: what the caller's thread and the I/O thread share. */
#ifndef VMC_HTTP_TRANSFER_H
#define VMC_HTTP_TRANSFER_H

#include "drivers/http/http.h"
#include "drivers/http/url.h"
#include <curl/curl.h>
#include <pthread.h>

enum { HTTP_BUFFER = 1 << 20 }; /* bytes between the two threads, each way */

typedef struct http_transfer {
    CURL *easy;
    struct curl_slist *headers, *connect_to;

    /* The loop's. */
    struct http_transfer *next, *previous;
    bool attached;
    int sends; /* how often libcurl began to send it; the caller's once it is done */

    /* Under the lock, but for `error`. */
    bool head_complete;
    bool in_paused;           /* `in` is full */
    bool out_end, out_paused; /* all was given; `out` is empty */
    bool done;
    bool stopped; /* by http_shutdown */
    CURLcode result;
    int status, version;
    int wake; /* eventfd: something is new for the caller */
    pthread_mutex_t lock;
    vmc_strv names, values;
    vmc_str in;  /* came, not taken yet */
    vmc_str out; /* to go; out_at of it went */
    size_t out_at;
    int64_t out_total; /* bytes given by the caller so far */
    int64_t moved;     /* bytes both ways */
    int64_t moved_ms;  /* when last */

    char error[CURL_ERROR_SIZE];
} http_transfer;

http_transfer *http_transfer_new(void); /* NULL: no memory or descriptors */
/* Not attached any more. NULL is allowed. */
void http_transfer_free(http_transfer *transfer);
/* To the caller. With the lock held. */
void http_transfer_notify(http_transfer *transfer);

/* The I/O thread. */
int http_loop_add(http_transfer *transfer, vmctl_error **err);
/* After this no thread but the caller's touches it. */
void http_loop_remove(http_transfer *transfer);
/* It may go on: the caller took bytes, or gave some. */
void http_loop_resume(http_transfer *transfer);

#endif
