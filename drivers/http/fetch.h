/* drivers/http/fetch.h - files by URL into a cache folder: resumed, verified, fetched once. http, https and file URLs only.
 *
 * In the folder: NAME (the file), NAME.part (what came so far), NAME.meta (URL, ETag, Last-Modified, checksum of the file; JSON), NAME.lock
 * (flock: of several processes one fetches, the others wait for it).
 */
#ifndef VMC_HTTP_FETCH_H
#define VMC_HTTP_FETCH_H

#include "drivers/http/http.h"

typedef struct http_fetch_options {
    const char *checksum; /* "sha256:HEX" or "sha512:HEX"; NULL: not checked */
    const char *name;     /* in the folder; NULL: the URL's last part, before it a few digits of the URL's hash */
    bool refresh;         /* ask the server whether it changed, though it is there */
    http_client *client;  /* NULL: defaults */
    const char *vm;       /* for progress; NULL */
    const char *device;
} http_fetch_options;

/* *path: the file in the folder (free). Without `refresh` a file that is there, came from this URL and has the checksum is taken without
 * any request. Errors: NOT_FOUND (404), INVALID_ARGUMENT (scheme, checksum's form, a name with '/'), CONFLICT (the checksum differs: the
 * bytes are removed), RESOURCE_EXHAUSTED (disk full: .part is removed), TIMEOUT, CANCELLED and UNAVAILABLE (.part stays, and the next
 * call goes on where it ended, if the server still has the same file). A file that was complete stays as it was. */
int http_fetch(const char *url, const char *folder, const http_fetch_options *options, const vmc_deadline *deadline,
               char **path, vmctl_error **err);

/* The sum of a file: "sha256" or "sha512" -> lower-case hexadecimal (free). */
int http_file_checksum(const char *path, const char *algorithm, const vmc_deadline *deadline, char **hex,
                       vmctl_error **err);

#endif
