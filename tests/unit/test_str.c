/* Strings, lists, nearest words, sizes and durations. */
#include "base/str.h"
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void a_builder_grows(void **state) {
    (void)state;
    VMC_AUTO_STR s = {0};
    char expected[3001] = "";
    for (unsigned i = 0; i < 1000; i++) {
        vmc_str_printf(&s, "%03u", i);
        expected[i * 3] = (char)('0' + i / 100);
        expected[i * 3 + 1] = (char)('0' + i / 10 % 10);
        expected[i * 3 + 2] = (char)('0' + i % 10);
    }
    assert_int_equal(s.length, 3000);
    assert_string_equal(s.text, expected);
    vmc_str_add(&s, NULL);
    vmc_str_add_char(&s, '!');
    assert_int_equal(s.length, 3001);
}

static void an_empty_builder_gives_an_empty_text(void **state) {
    (void)state;
    vmc_str s = {0};
    char *text = vmc_str_take(&s);
    assert_string_equal(text, "");
    free(text);
}

static void a_list_is_terminated_at_every_length(void **state) {
    (void)state;
    VMC_AUTO_STRV v = {0};
    for (size_t i = 0; i < 100; i++) {
        vmc_strv_printf(&v, "%zu", i);
        assert_int_equal(v.count, i + 1);
        assert_null(v.items[v.count]);
    }
    assert_true(vmc_strv_has(&v, "99"));
    assert_false(vmc_strv_has(&v, "100"));
}

static void joining(void **state) {
    (void)state;
    VMC_AUTO_STRV v = {0};
    VMC_AUTO_FREE char *nothing = vmc_strv_join(&v, ", ");
    assert_string_equal(nothing, "");
    vmc_strv_add(&v, "a");
    vmc_strv_add(&v, "b");
    VMC_AUTO_FREE char *both = vmc_strv_join(&v, ", ");
    assert_string_equal(both, "a, b");
}

static void comparing(void **state) {
    (void)state;
    assert_true(vmc_str_eq(NULL, NULL));
    assert_false(vmc_str_eq(NULL, ""));
    assert_true(vmc_starts_with("qemu:///system", "qemu:"));
    assert_false(vmc_starts_with("q", "qemu"));
    assert_false(vmc_starts_with(NULL, "a"));
    assert_true(vmc_ends_with("disk.qcow2", ".qcow2"));
    assert_false(vmc_ends_with("2", ".qcow2"));
}

static void the_nearest_word(void **state) {
    (void)state;
    static const char *const keys[] = {"name", "memory", "disks", "networks", "cpus", "cloudInit", "boot", NULL};
    assert_string_equal(vmc_nearest("memroy", keys), "memory");
    assert_string_equal(vmc_nearest("disk", keys), "disks");
    assert_string_equal(vmc_nearest("network", keys), "networks");
    assert_string_equal(vmc_nearest("cloudinit", keys), "cloudInit");
    assert_string_equal(vmc_nearest("cpu", keys), "cpus");
    assert_null(vmc_nearest("watchdog", keys));
    static const char *const back[] = {"web-2", "web-1", "web-3", NULL}; /* equally close: as sorted, not as it comes */
    assert_string_equal(vmc_nearest("web-9", back), "web-1");
    assert_null(vmc_nearest("", keys));
    assert_null(vmc_nearest("x", keys));
    assert_null(vmc_nearest(NULL, keys));
    assert_null(vmc_nearest("name", NULL));
}

static void sizes(void **state) {
    (void)state;
    static const struct {
        const char *text;
        long long bytes;
    } table[] = {{"512B", 512},
                 {"1KiB", 1024},
                 {"2GiB", 2147483648},
                 {"1TB", 1000000000000},
                 {"1.5GiB", 1610612736},
                 {"0.25KB", 250},
                 {"20 GiB", 21474836480},
                 {"7EiB", 8070450532247928832},
                 {"0", 0}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        long long bytes = -1;
        const char *why = NULL;
        assert_int_equal(vmc_parse_size(table[i].text, false, &bytes, &why), 0);
        assert_true(bytes == table[i].bytes);
    }
    static const char *const refused[] = {
        "",      "512",   "GiB",     "-1GiB", "1.5B", "8EiB", "1gib",  "1 Gib",
        "1GiBx", "1..5G", "0x10GiB", "1e3MB", "1M",   "2G",   " 2GiB", "99999999999999999999GiB",
        "1.GiB", ".5GiB", "1,5GiB"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        long long bytes = -1;
        const char *why = NULL;
        assert_int_equal(vmc_parse_size(refused[i], false, &bytes, &why), -1);
        assert_non_null(why);
        assert_true(bytes == -1);
    }
    long long bytes;
    assert_int_equal(vmc_parse_size("512", true, &bytes, NULL), 0);
    assert_true(bytes == 512);
}

static void durations(void **state) {
    (void)state;
    static const struct {
        const char *text;
        long long ms;
    } table[] = {{"90s", 90000}, {"5m", 300000},     {"2h", 7200000}, {"1d", 86400000},
                 {"250ms", 250}, {"1h30m", 5400000}, {"1.5s", 1500},  {"0", 0}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        long long ms = -1;
        assert_int_equal(vmc_parse_duration(table[i].text, &ms, NULL), 0);
        assert_true(ms == table[i].ms);
    }
    static const char *const refused[] = {"", "90", "s", "-5m", "5 m", "1m1m", "30m1h", "1w", "9999999999999d", "1h "};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        long long ms = -1;
        const char *why = NULL;
        assert_int_equal(vmc_parse_duration(refused[i], &ms, &why), -1);
        assert_non_null(why);
    }
}

static void formatting_is_exact_and_short(void **state) {
    (void)state;
    static const struct {
        long long bytes;
        const char *text;
    } table[] = {{2147483648, "2GiB"}, {1500, "1500B"}, {0, "0B"}, {1000000000000, "1TB"}, {1610612736, "1536MiB"}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        VMC_AUTO_FREE char *text = vmc_format_size(table[i].bytes);
        assert_string_equal(text, table[i].text);
    }
    for (long long bytes = 1; bytes > 0 && bytes < LLONG_MAX / 3; bytes = bytes * 3 + 7) {
        VMC_AUTO_FREE char *text = vmc_format_size(bytes);
        long long back = 0;
        assert_int_equal(vmc_parse_size(text, false, &back, NULL), 0);
        assert_true(back == bytes);
        VMC_AUTO_FREE char *duration = vmc_format_duration(bytes);
        assert_int_equal(vmc_parse_duration(duration, &back, NULL), 0);
        assert_true(back == bytes);
    }
    VMC_AUTO_FREE char *ninety = vmc_format_duration(90000);
    assert_string_equal(ninety, "90s");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_builder_grows),
        cmocka_unit_test(an_empty_builder_gives_an_empty_text),
        cmocka_unit_test(a_list_is_terminated_at_every_length),
        cmocka_unit_test(joining),
        cmocka_unit_test(comparing),
        cmocka_unit_test(the_nearest_word),
        cmocka_unit_test(sizes),
        cmocka_unit_test(durations),
        cmocka_unit_test(formatting_is_exact_and_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
