/* tests/unit/test_tools.c - the table that core reaches the drivers through: each slot does its work and says its errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/file.h"
#include "base/str.h"
#include "drivers/process/process.h"
#include "drivers/qemu_img/qemu_img.h"
#include "tools.h"
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const vmc_tools *vmctl_tools_entry(void);

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static char folder[64];
static const vmc_tools *tools;

static int set_up(void **state) {
    (void)state;
    tools = vmctl_tools_entry();
    strcpy(folder, "/tmp/vmctl-test-tools-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    vmc_deadline d = vmc_deadline_start(NULL, 10000);
    return process_run_ok(&(process_options){.argv = ARGV("rm", "-rf", folder)}, &d, NULL, NULL);
}

static char *in_folder(const char *name) {
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void the_table_is_whole(void **state) {
    (void)state;
    assert_int_equal(tools->size, sizeof *tools);
    assert_int_equal(tools->abi, VMC_TOOLS_ABI);
    assert_non_null(tools->image_inspect);
    assert_non_null(tools->image_convert);
    assert_non_null(tools->image_fetch);
    assert_non_null(tools->ssh_run);
    assert_non_null(tools->run);
}

static int look(const vmctl_image *image, void *user) {
    assert_int_equal(image->size, sizeof *image);
    assert_string_equal(image->name, "a.qcow2");
    assert_string_equal(image->format, "qcow2");
    assert_int_equal(image->virtual_bytes, 8 << 20);
    assert_true(image->modified > 0);
    assert_null(image->backing);
    assert_null(image->snapshots);
    *(int *)user += 1;
    return 0;
}

static void images_are_converted_and_inspected(void **state) {
    (void)state;
    char *program = process_find("qemu-img");
    if (!program) {
        print_message("skip: qemu-img (package qemu-utils) is not installed\n");
        skip();
    }
    free(program);
    vmc_deadline d = vmc_deadline_start(NULL, 20000);
    char *raw = in_folder("a.raw"), *qcow2 = in_folder("a.qcow2");
    assert_int_equal(qemu_img_create(&(qemu_img_create_args){.path = raw, .format = "raw", .bytes = 8 << 20}, &d, NULL),
                     0);
    vmctl_image_convert_options options = VMCTL_IMAGE_CONVERT_OPTIONS_INIT;
    assert_int_equal(tools->image_convert(raw, qcow2, &options, NULL), 0);
    assert_int_equal(tools->image_convert(raw, qcow2, &options, NULL), VMCTL_E_ALREADY_EXISTS);
    assert_int_equal(tools->image_convert(raw, in_folder("a"), &options, NULL), VMCTL_E_INVALID_ARGUMENT);
    int seen = 0;
    assert_int_equal(tools->image_inspect(qcow2, NULL, look, &seen, NULL), 0);
    assert_int_equal(seen, 1);
    vmctl_error *err = NULL;
    assert_int_equal(vmc_file_write(in_folder("b.qcow2"), "\x1f\x8b\x08", 3, 0644, NULL), 0);
    assert_int_equal(tools->image_inspect(in_folder("b.qcow2"), NULL, look, &seen, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_string_equal(vmctl_error_message(err), "b.qcow2 is a gzip archive, not a qcow2 image");
    vmctl_error_free(err);
    assert_int_equal(tools->image_inspect(in_folder("absent"), NULL, look, &seen, NULL), VMCTL_E_NOT_FOUND);
    assert_int_equal(seen, 1);
}

static void files_are_fetched(void **state) {
    (void)state;
    assert_int_equal(vmc_file_write(in_folder("source"), "abc", 3, 0644, NULL), 0);
    VMC_AUTO_FREE char *url = vmc_printf("file://%s", in_folder("source"));
    VMC_AUTO_FREE char *path = NULL;
    vmctl_image_pull_options options = VMCTL_IMAGE_PULL_OPTIONS_INIT;
    options.name = "copy";
    options.checksum = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; /* FIPS 180-2, B.1 */
    assert_int_equal(tools->image_fetch(url, in_folder("cache"), &options, &path, NULL), 0);
    assert_string_equal(path, in_folder("cache/copy"));
}

static void programs_run_and_ssh_is_refused_where_nobody_listens(void **state) {
    (void)state;
    int status = -1;
    VMC_AUTO_FREE char *output = NULL, *none = NULL;
    assert_int_equal(tools->run(ARGV("sh", "-c", "printf secret; exit 3"), NULL, &status, &output, NULL), 0);
    assert_int_equal(status, 3);
    assert_string_equal(output, "secret");
    assert_int_equal(tools->run(ARGV("no-such-program-here"), NULL, &status, &none, NULL), VMCTL_E_UNAVAILABLE);
    assert_int_equal(tools->ssh_run("-oX", 0, NULL, NULL, NULL, ARGV("true"), NULL, &status, &none, NULL),
                     VMCTL_E_INVALID_ARGUMENT);
    assert_null(none);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(the_table_is_whole),
        TEST(images_are_converted_and_inspected),
        TEST(files_are_fetched),
        TEST(programs_run_and_ssh_is_refused_where_nobody_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
