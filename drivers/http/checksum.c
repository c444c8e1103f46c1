/* drivers/http/checksum.c - SHA-256 and SHA-512. */
#include "drivers/http/checksum.h"
#include "base/str.h"
#include "drivers/http/fetch.h"
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CHUNK = 1 << 20 };

struct http_checksum {
    EVP_MD_CTX *context;
};

static const struct {
    const char *name;
    size_t digits;
    const EVP_MD *(*algorithm)(void);
} algorithms[] = {{"sha256", 64, EVP_sha256}, {"sha512", 128, EVP_sha512}};

int http_checksum_parse(const char *text, const char **algorithm, char **hex, vmctl_error **err) {
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        size_t n = strlen(algorithms[i].name);
        if (strncmp(text, algorithms[i].name, n) != 0 || text[n] != ':')
            continue;
        const char *digits = text + n + 1;
        if (strlen(digits) != algorithms[i].digits || strspn(digits, "0123456789abcdefABCDEF") != algorithms[i].digits)
            return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the checksum \"%s\" has not %zu hexadecimal digits", text,
                             algorithms[i].digits);
        *algorithm = algorithms[i].name;
        *hex = vmc_strdup(digits);
        for (char *c = *hex; *c; c++)
            *c = (char)tolower((unsigned char)*c);
        return 0;
    }
    return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "the checksum \"%s\" is neither sha256:... nor sha512:...", text);
}

http_checksum *http_checksum_new(const char *algorithm) {
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++) {
        if (!vmc_str_eq(algorithms[i].name, algorithm))
            continue;
        http_checksum *sum = vmc_alloc(sizeof *sum);
        sum->context = EVP_MD_CTX_new();
        if (sum->context && EVP_DigestInit_ex(sum->context, algorithms[i].algorithm(), NULL) == 1)
            return sum;
        http_checksum_drop(sum);
    }
    return NULL;
}

void http_checksum_add(http_checksum *sum, const void *bytes, size_t length) {
    (void)EVP_DigestUpdate(sum->context, bytes, length);
}

int http_checksum_add_file(http_checksum *sum, int fd, const char *path, int64_t length, const vmc_deadline *deadline,
                           vmctl_error **err) {
    VMC_AUTO_FREE char *chunk = vmc_alloc(CHUNK);
    int64_t at = 0;
    while (length < 0 || at < length) {
        int rc = vmc_deadline_check(deadline, "computing a checksum", err);
        if (rc < 0)
            return rc;
        size_t wanted = length >= 0 && length - at < CHUNK ? (size_t)(length - at) : CHUNK;
        ssize_t n = pread(fd, chunk, wanted, at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot read %s", path);
        if (n == 0)
            break;
        http_checksum_add(sum, chunk, (size_t)n);
        at += n;
    }
    return 0;
}

char *http_checksum_end(http_checksum *sum) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    (void)EVP_DigestFinal_ex(sum->context, digest, &length);
    VMC_AUTO_STR hex = {0};
    for (unsigned i = 0; i < length; i++)
        vmc_str_printf(&hex, "%02x", digest[i]);
    http_checksum_drop(sum);
    return vmc_str_take(&hex);
}

void http_checksum_drop(http_checksum *sum) {
    if (!sum)
        return;
    EVP_MD_CTX_free(sum->context);
    free(sum);
}

int http_file_checksum(const char *path, const char *algorithm, const vmc_deadline *deadline, char **hex,
                       vmctl_error **err) {
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return vmc_error_errno(err, errno, "cannot open %s", path);
    http_checksum *sum = http_checksum_new(algorithm);
    if (!sum)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is neither sha256 nor sha512", algorithm);
    int rc = http_checksum_add_file(sum, fd, path, -1, deadline, err);
    char *text = http_checksum_end(sum);
    if (rc < 0)
        free(text);
    else
        *hex = text;
    return rc;
}
