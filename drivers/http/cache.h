/* drivers/http/cache.h - one entry of the fetch folder: its four files, and what is known of them. */
#ifndef VMC_HTTP_CACHE_H
#define VMC_HTTP_CACHE_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <stdbool.h>
#include <stdint.h>

/* What a server said of a version of a file; NULL: nothing. */
typedef struct http_version_mark {
    char *etag, *modified;
} http_version_mark;

typedef struct http_cache_entry {
    char *file, *part, *meta, *lock; /* paths */
    char *name;
    int lock_fd;
    char *url_hash;            /* SHA-256 of the URL, secrets and all */
    bool complete;             /* the file is there, of this URL and as it was left */
    http_version_mark whole;   /* of the file */
    http_version_mark partial; /* of the .part; only when it is of this URL */
    char *checksum;            /* "sha256:HEX" that the file was found to have; NULL */
} http_cache_entry;

/* Names the files, makes the folder, takes the lock (waits, up to the deadline) and reads what is known. */
int http_cache_open(const char *url, const char *folder, const char *name, const vmc_deadline *deadline,
                    http_cache_entry *entry, vmctl_error **err);
/* Writes what is known. */
int http_cache_save(const http_cache_entry *entry, const char *url, vmctl_error **err);
void http_cache_close(http_cache_entry *entry);
void http_version_mark_set(http_version_mark *mark, const char *etag, const char *modified);

#endif
