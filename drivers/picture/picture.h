/* drivers/picture/picture.h - pixels: reading netpbm's PPM (its manual, ppm(5)), writing PNG by libpng.
 *
 * libpng is in a module of its own (vmctl-png.so), opened by the first picture_png. Thread-safe.
 */
#ifndef VMC_PICTURE_H
#define VMC_PICTURE_H

#include "base/error.h"
#include <stdbool.h>
#include <stddef.h>

typedef struct picture {
    unsigned width, height;
    const unsigned char *rgb; /* rows from the top, 3 bytes a pixel, nothing between them */
} picture;

/* A binary PPM (P6) of 8 bits a sample; out->rgb points into bytes. INTERNAL when it is none, or not all of it is there. */
int picture_read_ppm(const char *bytes, size_t length, picture *out, vmctl_error **err);
/* A whole PNG file: the signature at the beginning, the IEND chunk at the end. */
bool picture_is_png(const char *bytes, size_t length);
/* *bytes: free. UNAVAILABLE without the module. */
int picture_png(const picture *from, char **bytes, size_t *length, vmctl_error **err);

#endif
