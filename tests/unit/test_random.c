/* What nobody else has: random bytes and UUIDs (RFC 4122, 4.4). */
#include "base/random.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void uuids_are_of_version_4(void **state) {
    (void)state;
    char before[VMC_UUID_BYTES] = "";
    for (int i = 0; i < 64; i++) {
        char uuid[VMC_UUID_BYTES];
        vmc_uuid_new(uuid);
        assert_int_equal(strlen(uuid), 36);
        assert_int_equal(strspn(uuid, "0123456789abcdef-"), 36);
        for (int at = 8; at <= 23; at += 5)
            assert_int_equal(uuid[at], '-');
        assert_int_equal(uuid[14], '4');
        assert_non_null(strchr("89ab", uuid[19]));
        assert_string_not_equal(uuid, before);
        memcpy(before, uuid, sizeof before);
    }
}

/* More than the kernel gives at once without being asked again (256 bytes are never cut short). */
static void all_bytes_are_filled(void **state) {
    (void)state;
    static unsigned char bytes[1 << 20];
    unsigned counts[256] = {0};
    vmc_random_fill(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        counts[bytes[i]]++;
    for (size_t i = 0; i < 256; i++) /* 4096 each are expected, with a deviation of 64: ten of them never come */
        assert_in_range(counts[i], 4096 - 640, 4096 + 640);
    assert_true(vmc_random() != vmc_random());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uuids_are_of_version_4),
        cmocka_unit_test(all_bytes_are_filled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
