/* The error object: the closed codes, the text of the CLI contract, faults. */
#include "base/error.h"
#include "base/str.h"
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* The CLI contract's table "Errors and exit status". */
static const struct {
    const char *name;
    int code, status;
} contract[] = {
    {"ok", VMCTL_OK, 0},
    {"invalid-argument", VMCTL_E_INVALID_ARGUMENT, 2},
    {"invalid-spec", VMCTL_E_INVALID_SPEC, 2},
    {"unsupported", VMCTL_E_UNSUPPORTED, 3},
    {"not-found", VMCTL_E_NOT_FOUND, 4},
    {"already-exists", VMCTL_E_ALREADY_EXISTS, 5},
    {"ambiguous", VMCTL_E_AMBIGUOUS, 5},
    {"conflict", VMCTL_E_CONFLICT, 5},
    {"invalid-state", VMCTL_E_INVALID_STATE, 6},
    {"busy", VMCTL_E_BUSY, 6},
    {"unauthenticated", VMCTL_E_UNAUTHENTICATED, 7},
    {"permission-denied", VMCTL_E_PERMISSION_DENIED, 7},
    {"timeout", VMCTL_E_TIMEOUT, 8},
    {"unavailable", VMCTL_E_UNAVAILABLE, 9},
    {"resource-exhausted", VMCTL_E_RESOURCE_EXHAUSTED, 11},
    {"data-loss-prevented", VMCTL_E_DATA_LOSS_PREVENTED, 11},
    {"internal", VMCTL_E_INTERNAL, 70},
    {"cancelled", VMCTL_E_CANCELLED, 130},
};

static void names_and_statuses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof contract / sizeof contract[0]; i++) {
        assert_string_equal(vmctl_code_name(contract[i].code), contract[i].name);
        assert_int_equal(vmctl_code_exit_status(contract[i].code), contract[i].status);
    }
    assert_int_equal(sizeof contract / sizeof contract[0], 1 - VMCTL_E_INTERNAL);
}

static void a_number_that_is_no_code_is_internal(void **state) {
    (void)state;
    assert_string_equal(vmctl_code_name(1), "internal");
    assert_string_equal(vmctl_code_name(-1000), "internal");
    assert_int_equal(vmctl_code_exit_status(-1000), 70);
}

static void the_whole_text(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    assert_int_equal(vmc_error(&err, VMCTL_E_UNSUPPORTED, "disk %s is raw; a memory snapshot needs qcow2", "vda"),
                     VMCTL_E_UNSUPPORTED);
    vmc_error_hypervisor(&err, "VIR_ERR_OPERATION_UNSUPPORTED", "Operation not supported: internal snapshots");
    vmc_error_next(&err, "vmctl image convert ..., or stop web-1 first");
    vmc_error_where(&err, "cannot take snapshot \"base\" of web-1", "web-1", "libvirt", "qemu:///system");
    assert_string_equal(
        vmctl_error_text(err),
        "cannot take snapshot \"base\" of web-1 (libvirt, qemu:///system): unsupported: disk vda is raw; a "
        "memory snapshot needs qcow2\n"
        "  hypervisor said: Operation not supported: internal snapshots (VIR_ERR_OPERATION_UNSUPPORTED)\n"
        "  try: vmctl image convert ..., or stop web-1 first");
    assert_string_equal(vmctl_error_vm(err), "web-1");
    vmctl_error_free(err);
}

static void text_without_a_place(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmc_error(&err, VMCTL_E_NOT_FOUND, "there is no context \"lab\"");
    assert_string_equal(vmctl_error_text(err), "not-found: there is no context \"lab\"");
    vmc_error_where(&err, "cannot connect", NULL, NULL, NULL);
    assert_string_equal(vmctl_error_text(err), "cannot connect: not-found: there is no context \"lab\"");
    vmctl_error_free(err);
}

static void where_does_not_replace(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmc_error(&err, VMCTL_E_BUSY, "x");
    vmc_error_where(&err, "cannot start a", "a", NULL, NULL);
    vmc_error_where(&err, "cannot create a", "b", "libvirt", "test:///default");
    assert_string_equal(vmctl_error_action(err), "cannot start a");
    assert_string_equal(vmctl_error_vm(err), "a");
    assert_string_equal(vmctl_error_backend(err), "libvirt");
    vmctl_error_free(err);
}

static void one_fault_is_one_line(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    assert_int_equal(vmc_error_fault(&err, "web.yaml", 3, 9, "disks[0].size", "the unit is missing"),
                     VMCTL_E_INVALID_SPEC);
    assert_string_equal(vmctl_error_text(err), "invalid-spec: web.yaml:3:9: disks[0].size: the unit is missing");
    vmctl_error_free(err);
}

static void faults_come_in_the_order_of_lines(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmc_error_fault(&err, "web.yaml", 9, 1, "b", "second");
    vmc_error_fault(&err, "web.yaml", 2, 5, "a", "first");
    vmc_error_fault(&err, "web.yaml", 9, 4, NULL, "third");
    assert_int_equal(vmctl_error_fault_count(err), 3);
    assert_string_equal(vmctl_error_fault(err, 0)->message, "first");
    assert_string_equal(vmctl_error_fault(err, 2)->message, "third");
    assert_null(vmctl_error_fault(err, 3));
    assert_string_equal(vmctl_error_text(err), "invalid-spec: 3 faults in web.yaml\n"
                                               "  web.yaml:2:5: a: first\n"
                                               "  web.yaml:9:1: b: second\n"
                                               "  web.yaml:9:4: third");
    vmc_error_recode(&err, VMCTL_E_UNSUPPORTED);
    assert_int_equal(vmctl_error_code(err), VMCTL_E_UNSUPPORTED);
    vmctl_error_free(err);
}

static void a_flood_of_faults_is_cut(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    for (unsigned i = 1; i <= 5000; i++)
        vmc_error_fault(&err, "f", i, 1, NULL, "x");
    assert_int_equal(vmctl_error_fault_count(err), 5000);
    assert_true(strlen(vmctl_error_text(err)) < 10000);
    assert_non_null(strstr(vmctl_error_text(err), "and 4900 more"));
    vmctl_error_free(err);
}

static void builders_accept_no_place_for_the_error(void **state) {
    (void)state;
    assert_int_equal(vmc_error(NULL, VMCTL_E_BUSY, "x"), VMCTL_E_BUSY);
    assert_int_equal(vmc_error_errno(NULL, ENOENT, "x"), VMCTL_E_NOT_FOUND);
    /* "return vmc_error_next(err, ...)" is how a function fails, whether somebody wants the object or not. */
    assert_int_equal(vmc_error_next(NULL, "x"), VMCTL_E_NOT_FOUND);
    vmc_error(NULL, VMCTL_E_TIMEOUT, "x");
    assert_int_equal(vmc_error_append(NULL, "x"), VMCTL_E_TIMEOUT);
    assert_int_equal(vmc_error_prefix(NULL, "x"), VMCTL_E_TIMEOUT);
    assert_int_equal(vmc_error_hypervisor(NULL, "x", "y"), VMCTL_E_TIMEOUT);
    assert_int_equal(vmc_error_retryable(NULL), VMCTL_E_TIMEOUT);
    assert_int_equal(vmc_error_recode(NULL, VMCTL_E_BUSY), VMCTL_E_BUSY);
    assert_int_equal(vmc_error_next(NULL, "x"), VMCTL_E_BUSY);
    assert_int_equal(vmc_error_fault(NULL, NULL, 1, 1, NULL, "x"), VMCTL_E_INVALID_SPEC);
    vmctl_error *none = NULL;
    vmc_error_next(&none, "x");
    vmc_error_where(&none, "a", "b", "c", "d");
    assert_null(none);
    vmctl_error_free(NULL);
}

static void errno_becomes_a_code(void **state) {
    (void)state;
    static const struct {
        int number, code;
    } table[] = {{ENOENT, VMCTL_E_NOT_FOUND},         {EEXIST, VMCTL_E_ALREADY_EXISTS},
                 {EACCES, VMCTL_E_PERMISSION_DENIED}, {ENOSPC, VMCTL_E_RESOURCE_EXHAUSTED},
                 {ECONNREFUSED, VMCTL_E_UNAVAILABLE}, {EBUSY, VMCTL_E_BUSY},
                 {ENOTRECOVERABLE, VMCTL_E_INTERNAL}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        vmctl_error *err = NULL;
        assert_int_equal(vmc_error_errno(&err, table[i].number, "cannot open x"), table[i].code);
        vmctl_error_free(err);
    }
    vmctl_error *err = NULL;
    vmc_error_errno(&err, ENOENT, "cannot open %s", "x");
    assert_string_equal(vmctl_error_message(err), "cannot open x: No such file or directory");
    vmctl_error_free(err);
}

static void copies_and_moves(void **state) {
    (void)state;
    vmctl_error *err = NULL, *other = NULL;
    vmc_error(&err, VMCTL_E_UNAVAILABLE, "gone");
    vmc_error_retryable(&err);
    vmc_error_prefix(&err, "while %s", "listing");
    vmc_error_append(&err, "; twice");
    vmctl_error *copy = vmc_error_copy(err);
    vmc_error(&other, VMCTL_E_BUSY, "old");
    vmc_error_move(&other, &err);
    assert_null(err);
    assert_string_equal(vmctl_error_message(other), "while listing: gone; twice");
    assert_string_equal(vmctl_error_message(copy), vmctl_error_message(other));
    assert_true(vmctl_error_retryable(copy));
    vmc_error_move(NULL, &other);
    assert_null(other);
    vmctl_error_free(copy);
}

static void *read_text(void *err) {
    return (void *)vmctl_error_text(err);
}

static void threads_read_one_text(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmc_error(&err, VMCTL_E_BUSY, "x");
    pthread_t threads[8];
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_text, err), 0);
    for (size_t i = 0; i < 8; i++) {
        void *text;
        pthread_join(threads[i], &text);
        assert_ptr_equal(text, vmctl_error_text(err));
    }
    vmctl_error_free(err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_statuses),
        cmocka_unit_test(a_number_that_is_no_code_is_internal),
        cmocka_unit_test(the_whole_text),
        cmocka_unit_test(text_without_a_place),
        cmocka_unit_test(where_does_not_replace),
        cmocka_unit_test(one_fault_is_one_line),
        cmocka_unit_test(faults_come_in_the_order_of_lines),
        cmocka_unit_test(a_flood_of_faults_is_cut),
        cmocka_unit_test(builders_accept_no_place_for_the_error),
        cmocka_unit_test(errno_becomes_a_code),
        cmocka_unit_test(copies_and_moves),
        cmocka_unit_test(threads_read_one_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
