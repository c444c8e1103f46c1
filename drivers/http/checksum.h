/* drivers/http/checksum.h - SHA-256 and SHA-512 while bytes go by; libcrypto's, which libcurl has loaded already. */
#ifndef VMC_HTTP_CHECKSUM_H
#define VMC_HTTP_CHECKSUM_H

#include "base/deadline.h"
#include "base/error.h"

typedef struct http_checksum http_checksum;

/* "sha256:HEX" or "sha512:HEX" taken apart; *hex in lower case (free). INVALID_ARGUMENT. */
int http_checksum_parse(const char *text, const char **algorithm, char **hex, vmctl_error **err);
/* NULL for another algorithm than those two. */
http_checksum *http_checksum_new(const char *algorithm);
void http_checksum_add(http_checksum *sum, const void *bytes, size_t length);
/* The first `length` bytes of a file (negative: all). */
int http_checksum_add_file(http_checksum *sum, int fd, const char *path, int64_t length, const vmc_deadline *deadline,
                           vmctl_error **err);
/* Ends and frees it; lower-case hexadecimal (free). */
char *http_checksum_end(http_checksum *sum);
void http_checksum_drop(http_checksum *sum); /* NULL is allowed */

#endif
