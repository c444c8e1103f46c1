/* base/base64.h against RFC 4648, section 10. */
#include "base/base64.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *const vectors[][2] = {{"", ""},
                                         {"f", "Zg=="},
                                         {"fo", "Zm8="},
                                         {"foo", "Zm9v"},
                                         {"foob", "Zm9vYg=="},
                                         {"fooba", "Zm9vYmE="},
                                         {"foobar", "Zm9vYmFy"}};

static void test_vectors(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        VMC_AUTO_STR text = {0}, bytes = {0};
        vmc_base64_add(&text, vectors[i][0], strlen(vectors[i][0]), 0);
        assert_string_equal(text.text ? text.text : "", vectors[i][1]);
        assert_true(vmc_base64_decode(&bytes, vectors[i][1]));
        assert_string_equal(bytes.text ? bytes.text : "", vectors[i][0]);
    }
}

static void test_every_byte_comes_back(void **state) {
    (void)state;
    unsigned char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (unsigned char)i;
    VMC_AUTO_STR text = {0}, bytes = {0};
    vmc_base64_add(&text, all, sizeof all, 76);
    assert_non_null(strchr(text.text, '\n'));
    assert_true(vmc_base64_decode(&bytes, text.text));
    assert_int_equal(bytes.length, sizeof all);
    assert_memory_equal(bytes.text, all, sizeof all);
}

static void test_what_is_none_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {"Z", "Zg", "Zg=", "Zg===", "Z===", "Zm9v=", "Zm=v", "Zm9*", "=", "Zg==Zg=="};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        VMC_AUTO_STR bytes = {0};
        vmc_str_add(&bytes, "kept");
        if (vmc_base64_decode(&bytes, bad[i]))
            fail_msg("\"%s\" was taken", bad[i]);
        assert_string_equal(bytes.text, "kept");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_every_byte_comes_back),
        cmocka_unit_test(test_what_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
