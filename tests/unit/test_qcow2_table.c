/* The snapshots of a qcow2 file are read as qemu-img wrote them, and a damaged or hostile file is an error and nothing worse. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "drivers/process/process.h"
#include "drivers/qemu_img/qemu_img.h"

static char folder[64], path[128];

static void run(const char *const *argv) {
    process_options options = {.argv = argv};
    PROCESS_AUTO_RESULT result = {0};
    vmctl_error *err = NULL;
    vmc_deadline deadline = {.at_ms = -1};
    assert_int_equal(process_run_ok(&options, &deadline, &result, &err), 0);
}
#define QEMU_IMG(...) run((const char *const[]){"qemu-img", __VA_ARGS__, NULL})

static int set_up(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/qcow2-table.XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/disk.qcow2", folder);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char base[128];
    snprintf(base, sizeof base, "%s/base.qcow2", folder);
    unlink(base);
    unlink(path);
    return rmdir(folder);
}

static void names_numbers_and_sizes(void **state) {
    (void)state;
    QEMU_IMG_AUTO_TABLE table = {0};
    vmctl_error *err = NULL;
    QEMU_IMG("create", "-q", "-f", "qcow2", path, "4M");
    assert_int_equal(qemu_img_snapshots(path, &table, &err), 0);
    assert_int_equal(table.count, 0);
    assert_int_equal(table.virtual_bytes, 4 << 20);
    assert_null(table.backing);
    QEMU_IMG("snapshot", "-c", "first one", path);
    QEMU_IMG("snapshot", "-c", "7", path);
    QEMU_IMG("resize", "-q", path, "8M");
    QEMU_IMG("snapshot", "-c", "a-third-with-a-longer-name", path);
    QEMU_IMG("snapshot", "-d", "first one", path);
    assert_int_equal(qemu_img_snapshots(path, &table, &err), 0);
    assert_int_equal(table.count, 2);
    assert_int_equal(table.virtual_bytes, 8 << 20);
    assert_string_equal(table.items[0].id, "2");
    assert_string_equal(table.items[0].name, "7");
    assert_int_equal(table.items[0].virtual_bytes, 4 << 20);
    assert_string_equal(qemu_img_table_find(&table, "a-third-with-a-longer-name")->id, "3");
    assert_int_equal(table.items[1].virtual_bytes, 8 << 20);
    assert_null(qemu_img_table_find(&table, "first one"));
}

static void the_backing_file_as_it_is_named(void **state) {
    (void)state;
    QEMU_IMG_AUTO_TABLE table = {0};
    vmctl_error *err = NULL;
    char base[128];
    snprintf(base, sizeof base, "%s/base.qcow2", folder);
    QEMU_IMG("create", "-q", "-f", "qcow2", base, "4M");
    QEMU_IMG("create", "-q", "-f", "qcow2", "-b", "base.qcow2", "-F", "qcow2", path);
    assert_int_equal(qemu_img_snapshots(path, &table, &err), 0);
    assert_string_equal(table.backing, "base.qcow2");
}

static void patch(off_t at, const void *bytes, size_t length) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, length, at), (ssize_t)length);
    close(fd);
}

static void damage_is_an_error(void **state) {
    (void)state;
    static const struct {
        off_t at;
        const char *bytes;
        size_t length;
        int code;
    } rows[] = {
        {0, "QFI\0", 4, VMCTL_E_INVALID_ARGUMENT},                             /* the magic */
        {4, "\0\0\0\1", 4, VMCTL_E_INVALID_ARGUMENT},                          /* version 1 has no snapshots */
        {60, "\xff\xff\xff\xff", 4, VMCTL_E_CONFLICT},                         /* their number */
        {60, "\0\0\1\0", 4, VMCTL_E_CONFLICT},                                 /* more than there are */
        {64, "\x7f\xff\xff\xff\xff\xff\xff\xff", 8, VMCTL_E_CONFLICT},         /* where they are: past the end */
        {64, "\xff\xff\xff\xff\xff\xff\xff\xff", 8, VMCTL_E_CONFLICT},         /* and past all numbers */
        {8, "\0\0\0\0\0\1\0\0\0\0\4\0", 12, VMCTL_E_CONFLICT},                 /* a backing name of 1024 */
        {8, "\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\4", 12, VMCTL_E_CONFLICT}, /* and one past the end */
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        QEMU_IMG_AUTO_TABLE table = {0};
        vmctl_error *err = NULL;
        unlink(path);
        QEMU_IMG("create", "-q", "-f", "qcow2", path, "4M");
        QEMU_IMG("snapshot", "-c", "one", path);
        patch(rows[i].at, rows[i].bytes, rows[i].length);
        assert_int_equal(qemu_img_snapshots(path, &table, &err), rows[i].code);
        assert_int_equal(table.count, 0);
        vmctl_error_free(err);
    }
    QEMU_IMG_AUTO_TABLE table = {0};
    vmctl_error *err = NULL;
    assert_int_equal(truncate(path, 60), 0);
    assert_int_equal(qemu_img_snapshots(path, &table, &err), VMCTL_E_INVALID_ARGUMENT);
    unlink(path);
    assert_int_equal(qemu_img_snapshots(path, &table, &err), VMCTL_E_NOT_FOUND);
    vmctl_error_free(err);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    if (access("/usr/bin/qemu-img", X_OK) < 0) {
        print_message("qemu-img is missing (package qemu-utils)\n");
        return 77;
    }
    const struct CMUnitTest tests[] = {
        TEST(names_numbers_and_sizes),
        TEST(the_backing_file_as_it_is_named),
        TEST(damage_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
