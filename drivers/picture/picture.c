#include "picture.h"
#include "base/module.h"
#include "base/str.h"
#include "png_module.h"
#include <ctype.h>
#include <string.h>

enum { SIDE_MOST = 1 << 15 };

/* White space and comments, then a decimal number. */
static const char *number(const char *at, const char *end, unsigned *out) {
    while (at < end && (isspace((unsigned char)*at) || *at == '#'))
        if (*at == '#')
            while (at < end && *at != '\n')
                at++;
        else
            at++;
    const char *first = at;
    for (*out = 0; at < end && isdigit((unsigned char)*at) && *out <= SIDE_MOST; at++)
        *out = *out * 10 + (unsigned)(*at - '0');
    return at > first ? at : NULL;
}

int picture_read_ppm(const char *bytes, size_t length, picture *out, vmctl_error **err) {
    const char *end = bytes + length, *at = length > 2 && !memcmp(bytes, "P6", 2) ? bytes + 2 : NULL;
    unsigned most = 0;
    if (at)
        at = number(at, end, &out->width);
    if (at)
        at = number(at, end, &out->height);
    if (at)
        at = number(at, end, &most);
    if (!at || at >= end || !isspace((unsigned char)*at) || !out->width || !out->height || out->width > SIDE_MOST ||
        out->height > SIDE_MOST || most != 255)
        return vmc_error(err, VMCTL_E_INTERNAL, "the picture is no binary PPM of 8 bits a sample");
    at++;
    size_t wanted = (size_t)out->width * out->height * 3;
    if ((size_t)(end - at) < wanted)
        return vmc_error(err, VMCTL_E_INTERNAL, "the picture of %u x %u ends early: %zu bytes of %zu", out->width,
                         out->height, (size_t)(end - at), wanted);
    out->rgb = (const unsigned char *)at;
    return 0;
}

bool picture_is_png(const char *bytes, size_t length) {
    static const char signature[] = "\x89PNG\r\n\x1a\n", last[] = "\0\0\0\0IEND\xae\x42\x60\x82";
    return length > sizeof signature + sizeof last && !memcmp(bytes, signature, sizeof signature - 1) &&
           !memcmp(bytes + length - (sizeof last - 1), last, sizeof last - 1);
}

int picture_png(const picture *from, char **bytes, size_t *length, vmctl_error **err) {
#ifdef VMCTL_STATIC_BACKENDS
    return vmctl_png_encode(from, bytes, length, err);
#else
    void *address;
    int rc = vmc_module_symbol("vmctl-png", "vmctl_png_encode", "vmctl (the package of libvmctl) and libpng16-16",
                               &address, err);
    if (rc < 0)
        return rc;
    vmctl_png_encode_fn encode;
    memcpy(&encode, &address, sizeof encode);
    return encode(from, bytes, length, err);
#endif
}
