/* PNG by libpng; the module vmctl-png.so. Source: libpng-manual.txt, "Writing". */
#include "png_module.h"
#include "base/str.h"
#include <png.h>
#include <setjmp.h>
#include <stdlib.h>

enum { LEVEL = 3 }; /* screens are flat: more takes longer and saves little */

static void take(png_structp png, png_bytep bytes, size_t length) {
    vmc_str_add_n(png_get_io_ptr(png), (const char *)bytes, length);
}

static void flush(png_structp png) {
    (void)png;
}

/* libpng's own message goes to stderr, where it has no business. */
static void failed(png_structp png, png_const_charp why) {
    vmctl_error **err = png_get_error_ptr(png);
    vmc_error(err, VMCTL_E_INTERNAL, "libpng: %s", why);
    png_longjmp(png, 1);
}

static void warned(png_structp png, png_const_charp why) {
    (void)png, (void)why;
}

int vmctl_png_encode(const picture *from, char **bytes, size_t *length, vmctl_error **err) {
    vmc_str out = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, err, failed, warned);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (!info) {
        png_destroy_write_struct(&png, NULL);
        return vmc_error_no_memory(err);
    }
    if (setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        vmc_str_free(&out);
        return VMCTL_E_INTERNAL;
    }
    png_set_write_fn(png, &out, take, flush);
    png_set_compression_level(png, LEVEL);
    png_set_IHDR(png, info, from->width, from->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (unsigned y = 0; y < from->height; y++)
        png_write_row(png, from->rgb + (size_t)y * from->width * 3);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    *length = out.length;
    *bytes = vmc_str_take(&out);
    return 0;
}
