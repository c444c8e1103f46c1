/* Pixels: PPM as netpbm's manual describes it, and PNG files that libpng reads back. */
#include "drivers/picture/picture.h"
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static int read_text(const char *header, size_t pixels, picture *out, vmctl_error **err) {
    static char file[4096];
    size_t length = strlen(header);
    memcpy(file, header, length);
    memset(file + length, 'x', pixels);
    return picture_read_ppm(file, length + pixels, out, err);
}

static void ppm_headers(void **state) {
    (void)state;
    picture p;
    static const char *const right[] = {"P6\n3 2\n255\n", "P6 3 2 255 ", "P6\n# a comment\n3\t2 # another\n255\n"};
    for (size_t i = 0; i < sizeof right / sizeof *right; i++) {
        assert_int_equal(read_text(right[i], 18, &p, NULL), 0);
        assert_int_equal(p.width, 3);
        assert_int_equal(p.height, 2);
        assert_memory_equal(p.rgb, "xxxxxxxxxxxxxxxxxx", 18);
    }
    static const char *const wrong[] = {"",
                                        "P6",
                                        "P5\n3 2\n255\n",
                                        "P6\n3 2\n65535\n",
                                        "P6\n0 2\n255\n",
                                        "P6\n3 -2\n255\n",
                                        "P6\n3\n",
                                        "P6\n99999999999 2\n255\n",
                                        "P6\n3 2\n255",
                                        "P6\n# no end"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_true(read_text(wrong[i], i == 8 ? 0 : 18, &p, NULL) < 0);
    vmctl_error *err = NULL;
    assert_int_equal(read_text("P6\n3 2\n255\n", 17, &p, &err), VMCTL_E_INTERNAL);
    assert_non_null(strstr(vmctl_error_message(err), "17 bytes of 18"));
    vmctl_error_free(err);
}

static void png_holds_every_pixel(void **state) {
    (void)state;
    enum { WIDTH = 61, HEIGHT = 17 };
    unsigned char rgb[WIDTH * HEIGHT * 3], back[sizeof rgb];
    for (size_t i = 0; i < sizeof rgb; i++)
        rgb[i] = (unsigned char)(i * 37 ^ i >> 5);
    const picture from = {WIDTH, HEIGHT, rgb};
    char *bytes = NULL;
    size_t length = 0;
    assert_int_equal(picture_png(&from, &bytes, &length, NULL), 0);
    assert_true(picture_is_png(bytes, length));
    assert_false(picture_is_png(bytes, length - 1));
    assert_false(picture_is_png(bytes + 1, length - 1));
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, bytes, length));
    assert_int_equal(image.width, WIDTH);
    assert_int_equal(image.height, HEIGHT);
    image.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&image, NULL, back, 0, NULL));
    assert_memory_equal(back, rgb, sizeof rgb);
    free(bytes);
}

static void what_libpng_refuses_is_an_error(void **state) {
    (void)state;
    char *bytes = NULL;
    size_t length = 0;
    vmctl_error *err = NULL;
    assert_int_equal(picture_png(&(picture){0, 1, NULL}, &bytes, &length, &err), VMCTL_E_INTERNAL);
    assert_null(bytes);
    assert_non_null(strstr(vmctl_error_message(err), "libpng"));
    vmctl_error_free(err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ppm_headers),
        cmocka_unit_test(png_holds_every_pixel),
        cmocka_unit_test(what_libpng_refuses_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
