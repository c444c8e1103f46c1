/* tests/unit/test_seed_iso.c - seed images: what an ISO 9660 reader finds in them, and that equal input gives equal bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/str.h"
#include "drivers/process/process.h"
#include "drivers/seed_iso/seed_iso.h"
#include <cmocka.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const seed_iso_file seed[] = {
    {"meta-data", "instance-id: web-1\n", 19}, {"user-data", "#cloud-config\n", 14}, {"network-config", "", 0}};

/* ECMA-119: volume descriptors of 2,048 bytes from sector 16, type in byte 0, "CD001" from 1, the volume id from 40. */
static const char *descriptor(const char *image, size_t length, int type) {
    for (size_t at = 16 * 2048; at + 2048 <= length; at += 2048) {
        if (memcmp(image + at + 1, "CD001", 5) != 0 || (unsigned char)image[at] == 255)
            return NULL;
        if ((unsigned char)image[at] == type)
            return image + at;
    }
    return NULL;
}

static uint32_t le32(const char *p) {
    const unsigned char *u = (const unsigned char *)p;
    return u[0] | (uint32_t)u[1] << 8 | (uint32_t)u[2] << 16 | (uint32_t)u[3] << 24;
}

/* The contents of a file of the root folder by its Rock Ridge name (SUSP field "NM": length, version 1, flags, name). */
static char *content(const char *image, size_t length, const char *name) {
    const char *root = descriptor(image, length, 1) + 156;
    const char *at = image + (size_t)le32(root + 2) * 2048, *end = at + le32(root + 10);
    while (at < end && at[0]) {
        size_t record = (unsigned char)at[0], id = (unsigned char)at[32];
        const char *field = at + 33 + id + (id % 2 == 0), *stop = at + record;
        for (; field + 4 <= stop && field[2] > 0; field += (unsigned char)field[2])
            if (memcmp(field, "NM", 2) == 0 && (size_t)(unsigned char)field[2] == strlen(name) + 5 &&
                memcmp(field + 5, name, strlen(name)) == 0)
                return vmc_strndup(image + (size_t)le32(at + 2) * 2048, le32(at + 10));
        at += record;
    }
    return NULL;
}

static void cloud_init_finds_its_files(void **state) {
    (void)state;
    char *image = NULL;
    size_t length = 0;
    assert_int_equal(seed_iso_build("cidata", seed, 3, &image, &length, NULL), 0);
    assert_int_equal(length % 2048, 0);
    const char *primary = descriptor(image, length, 1);
    assert_non_null(primary);
    assert_memory_equal(primary + 40, "cidata                          ", 32);
    /* Joliet: a supplementary descriptor with a UCS-2 escape sequence ("%/E", level 3) and the id in UCS-2 big-endian. */
    const char *joliet = descriptor(image, length, 2);
    assert_non_null(joliet);
    assert_memory_equal(joliet + 88, "%/", 2);
    assert_memory_equal(joliet + 40, "\0c\0i\0d\0a\0t\0a", 12);
    char *meta = content(image, length, "meta-data"), *user = content(image, length, "user-data"),
         *network = content(image, length, "network-config");
    assert_string_equal(meta, "instance-id: web-1\n");
    assert_string_equal(user, "#cloud-config\n");
    assert_string_equal(network, "");
    assert_null(content(image, length, "vendor-data"));
    free(meta);
    free(user);
    free(network);
    free(image);
}

static void equal_seeds_are_equal_bytes(void **state) {
    (void)state;
    char *a = NULL, *b = NULL;
    size_t a_length = 0, b_length = 0;
    assert_int_equal(seed_iso_build("cidata", seed, 3, &a, &a_length, NULL), 0);
    sleep(2);
    setenv("TZ", "Asia/Tokyo", 1);
    assert_int_equal(seed_iso_build("cidata", seed, 3, &b, &b_length, NULL), 0);
    unsetenv("TZ");
    assert_int_equal(a_length, b_length);
    assert_memory_equal(a, b, a_length);
    free(a);
    free(b);
}

static void large_files_and_folders(void **state) {
    (void)state;
    size_t size = 3 << 20;
    char *big = malloc(size);
    for (size_t i = 0; i < size; i++)
        big[i] = (char)(i * 7);
    seed_iso_file files[] = {
        {"big", big, size}, {"$WinPEDriver$/net/driver.inf", "x", 1}, {"$WinPEDriver$/readme", "y", 1}};
    char *image = NULL;
    size_t length = 0;
    assert_int_equal(seed_iso_build("OEMDRV", files, 3, &image, &length, NULL), 0);
    assert_true(length > size);
    /* The file lies in one extent of the image, whole. */
    assert_non_null(memmem(image, length, big, size));
    free(big);
    free(image);
}

static void another_reader_agrees(void **state) {
    (void)state;
    char *program = process_find("xorriso");
    if (!program) {
        print_message("skip: xorriso is not installed\n");
        skip();
    }
    free(program);
    char path[] = "/tmp/vmctl-test-seed-XXXXXX";
    close(mkstemp(path));
    assert_int_equal(seed_iso_write(path, 0600, "cidata", seed, 3, NULL), VMCTL_E_ALREADY_EXISTS);
    unlink(path);
    assert_int_equal(seed_iso_write(path, 0640, "cidata", seed, 3, NULL), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0640);
    vmc_deadline d = vmc_deadline_start(NULL, 20000);
    /* By Rock Ridge's names, then by Joliet's. */
    static const char *const trees[] = {"nojoliet", "norock"};
    for (int i = 0; i < 2; i++) {
        char out[64];
        snprintf(out, sizeof out, "%s.out", path);
        const char *argv[] = {"xorriso", "-read_fs", trees[i],     "-osirrox", "on", "-indev",
                              path,      "-extract", "/user-data", out,        NULL};
        PROCESS_AUTO_RESULT r = {0};
        process_options o = {.argv = argv};
        assert_int_equal(process_run_ok(&o, &d, &r, NULL), 0);
        assert_non_null(strstr(r.error, "'cidata'")); /* the volume id */
        VMC_AUTO_FREE char *text = NULL;
        assert_int_equal(vmc_file_read(out, 100, &text, NULL, NULL), 0);
        assert_string_equal(text, "#cloud-config\n");
        unlink(out);
    }
    unlink(path);
}

static void bad_names_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"", "/user-data", "a/", "a//b", "../a", "a/./b", NULL};
    char *image = NULL;
    size_t length = 0;
    for (size_t i = 0; i < 7; i++) {
        seed_iso_file file = {names[i], "x", 1};
        assert_int_equal(seed_iso_build("cidata", &file, 1, &image, &length, NULL), VMCTL_E_INVALID_ARGUMENT);
    }
    seed_iso_file twice[] = {{"a", "x", 1}, {"a", "y", 1}};
    assert_int_equal(seed_iso_build("cidata", twice, 2, &image, &length, NULL), VMCTL_E_INVALID_ARGUMENT);
    seed_iso_file both[] = {{"a", "x", 1}, {"a/b", "y", 1}};
    assert_int_equal(seed_iso_build("cidata", both, 2, &image, &length, NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(seed_iso_build("", seed, 3, &image, &length, NULL), VMCTL_E_INVALID_ARGUMENT);
    assert_int_equal(seed_iso_build("a volume id of more than thirty-two", seed, 3, &image, &length, NULL),
                     VMCTL_E_INVALID_ARGUMENT);
    assert_null(image);
    assert_int_equal(seed_iso_write("/nonexistent/seed.iso", 0600, "cidata", seed, 3, NULL), VMCTL_E_NOT_FOUND);
}

static void *build_many(void *unused) {
    (void)unused;
    for (int i = 0; i < 5; i++) {
        char *image = NULL;
        size_t length = 0;
        if (seed_iso_build("cidata", seed, 3, &image, &length, NULL) != 0)
            return "failed";
        free(image);
    }
    return NULL;
}

static void several_threads_at_once(void **state) {
    (void)state;
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, build_many, NULL);
    for (int i = 0; i < 4; i++) {
        void *answer = NULL;
        pthread_join(threads[i], &answer);
        assert_null(answer);
    }
}

static void what_was_written_is_read_again(void **state) {
    (void)state;
    char path[] = "/tmp/vmctl-test-seed.XXXXXX", *text = NULL;
    vmctl_error *err = NULL;
    close(mkstemp(path));
    unlink(path);
    assert_int_equal(seed_iso_write(path, 0600, "cidata", seed, 3, NULL), 0);
    assert_int_equal(seed_iso_read(path, "user-data", &text, NULL), 0);
    assert_string_equal(text, "#cloud-config\n");
    free(text);
    assert_int_equal(seed_iso_read(path, "network-config", &text, NULL), 0);
    assert_string_equal(text, "");
    free(text);
    assert_int_equal(seed_iso_read(path, "vendor-data", &text, NULL), 0);
    assert_null(text);
    assert_int_equal(truncate(path, 4096), 0);
    assert_int_equal(seed_iso_read(path, "user-data", &text, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), path));
    vmctl_error_free(err);
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cloud_init_finds_its_files),     cmocka_unit_test(equal_seeds_are_equal_bytes),
        cmocka_unit_test(large_files_and_folders),        cmocka_unit_test(another_reader_agrees),
        cmocka_unit_test(bad_names_are_refused),          cmocka_unit_test(several_threads_at_once),
        cmocka_unit_test(what_was_written_is_read_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
