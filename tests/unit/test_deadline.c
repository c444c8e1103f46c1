/* Deadlines and cancel tokens. */
#include "base/deadline.h"
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static vmc_deadline of(int64_t timeout_ms, vmctl_cancel *cancel) {
    static vmctl_call call;
    call = (vmctl_call)VMCTL_CALL_INIT;
    call.timeout_ms = timeout_ms;
    call.cancel = cancel;
    return vmc_deadline_start(&call, -1);
}

static void zero_means_the_default(void **state) {
    (void)state;
    vmc_deadline none = of(0, NULL);
    assert_int_equal(vmc_deadline_left(&none), -1);
    vmctl_call call = VMCTL_CALL_INIT;
    vmc_deadline own = vmc_deadline_start(&call, 5000);
    assert_in_range(vmc_deadline_left(&own), 4000, 5000);
    vmc_deadline without = vmc_deadline_start(NULL, 5000);
    assert_in_range(vmc_deadline_left(&without), 4000, 5000);
    call.timeout_ms = -1;
    own = vmc_deadline_start(&call, 5000);
    assert_int_equal(vmc_deadline_left(&own), -1);
}

static void far_deadlines_do_not_overflow(void **state) {
    (void)state;
    vmc_deadline far = of(INT64_MAX, NULL);
    assert_int_equal(vmc_deadline_left(&far), INT_MAX);
    vmctl_error *err = NULL;
    assert_int_equal(vmc_deadline_check(&far, "waiting", &err), 0);
}

static void a_step_ends_no_later_than_the_whole(void **state) {
    (void)state;
    vmc_deadline whole = of(1000, NULL);
    vmc_deadline step = vmc_deadline_within(&whole, 60000);
    assert_in_range(vmc_deadline_left(&step), 500, 1000);
    step = vmc_deadline_within(&whole, 100);
    assert_in_range(vmc_deadline_left(&step), 0, 100);
    vmc_deadline none = of(-1, NULL);
    step = vmc_deadline_within(&none, 100);
    assert_in_range(vmc_deadline_left(&step), 0, 100);
}

static void polling_times_out(void **state) {
    (void)state;
    vmc_deadline soon = of(50, NULL);
    int64_t begin = vmc_now_ms();
    vmctl_error *err = NULL;
    assert_int_equal(vmc_deadline_poll(&soon, -1, 0, -1, "waiting for an address", &err), VMCTL_E_TIMEOUT);
    assert_in_range(vmc_now_ms() - begin, 49, 2000);
    assert_string_equal(vmctl_error_message(err), "timed out waiting for an address");
    assert_true(vmctl_error_retryable(err));
    vmctl_error_free(err);
}

static void a_slice_is_no_timeout(void **state) {
    (void)state;
    vmc_deadline later = of(60000, NULL);
    int64_t begin = vmc_now_ms();
    assert_int_equal(vmc_deadline_poll(&later, -1, 0, 30, "x", NULL), 0);
    assert_in_range(vmc_now_ms() - begin, 29, 2000);
}

static void a_ready_descriptor_ends_the_poll(void **state) {
    (void)state;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    vmc_deadline later = of(60000, NULL);
    assert_int_equal(vmc_deadline_poll(&later, pipes[0], POLLIN, -1, "x", NULL), 1);
    close(pipes[0]);
    close(pipes[1]);
}

static void *trigger_soon(void *cancel) {
    usleep(50000);
    vmctl_cancel_trigger(cancel);
    return NULL;
}

static void cancelling_wakes_a_poll(void **state) {
    (void)state;
    vmctl_cancel *cancel = vmctl_cancel_new();
    vmc_deadline later = of(60000, cancel);
    pthread_t thread;
    pthread_create(&thread, NULL, trigger_soon, cancel);
    int64_t begin = vmc_now_ms();
    vmctl_error *err = NULL;
    assert_int_equal(vmc_deadline_poll(&later, -1, 0, -1, "copying", &err), VMCTL_E_CANCELLED);
    assert_true(vmc_now_ms() - begin < 5000);
    assert_string_equal(vmctl_error_message(err), "cancelled copying");
    pthread_join(thread, NULL);
    struct pollfd fd = {.fd = vmctl_cancel_fd(cancel), .events = POLLIN};
    assert_int_equal(poll(&fd, 1, 0), 1);
    vmctl_error_free(err);
    vmctl_cancel_free(cancel);
}

static void cancelling_beats_data_and_time(void **state) {
    (void)state;
    vmctl_cancel *cancel = vmctl_cancel_new();
    vmctl_cancel_trigger(cancel);
    vmctl_cancel_trigger(cancel);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    assert_int_equal(write(pipes[1], "x", 1), 1);
    vmc_deadline later = of(60000, cancel);
    assert_int_equal(vmc_deadline_poll(&later, pipes[0], POLLIN, -1, "x", NULL), VMCTL_E_CANCELLED);
    assert_int_equal(vmc_deadline_check(&later, "x", NULL), VMCTL_E_CANCELLED);
    close(pipes[0]);
    close(pipes[1]);
    vmctl_cancel_free(cancel);
}

static vmctl_cancel *by_signal;
static void on_signal(int number) {
    (void)number;
    vmctl_cancel_trigger(by_signal);
}

static void a_signal_handler_may_cancel(void **state) {
    (void)state;
    by_signal = vmctl_cancel_new();
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigaction(SIGALRM, &action, &old);
    ualarm(50000, 0);
    vmc_deadline later = of(60000, by_signal);
    assert_int_equal(vmc_deadline_poll(&later, -1, 0, -1, "x", NULL), VMCTL_E_CANCELLED);
    sigaction(SIGALRM, &old, NULL);
    vmctl_cancel_free(by_signal);
}

static void a_nested_call_gets_what_remains(void **state) {
    (void)state;
    vmctl_cancel *cancel = vmctl_cancel_new();
    vmc_deadline later = of(10000, cancel);
    vmctl_call nested = vmc_deadline_call(&later);
    assert_in_range(nested.timeout_ms, 9000, 10000);
    assert_ptr_equal(nested.cancel, cancel);
    vmc_deadline none = of(-1, NULL);
    assert_int_equal(vmc_deadline_call(&none).timeout_ms, -1);
    vmc_deadline over = of(1, NULL);
    usleep(5000);
    assert_int_equal(vmc_deadline_call(&over).timeout_ms, 1); /* not 0: that would be the nested call's default */
    vmctl_cancel_free(cancel);
}

static int refuse(const vmctl_progress *progress, void *user) {
    assert_string_equal(progress->stage, "copying disk root");
    assert_int_equal(progress->size, sizeof *progress);
    ++*(int *)user;
    return 1;
}

static char noted[64];
static void remember(vmctl_note_level level, const char *text, void *user) {
    (void)user;
    assert_int_equal(level, VMCTL_NOTE_WARNING);
    snprintf(noted, sizeof noted, "%s", text);
}

static void progress_can_cancel_and_notes_arrive(void **state) {
    (void)state;
    int told = 0;
    vmctl_call call = VMCTL_CALL_INIT;
    call.progress = refuse;
    call.note = remember;
    call.user = &told;
    vmc_deadline d = vmc_deadline_start(&call, -1);
    assert_int_equal(vmc_progress(&d, "web", "copying disk root", "root", VMCTL_UNIT_BYTES, 1, 2, NULL),
                     VMCTL_E_CANCELLED);
    assert_int_equal(told, 1);
    vmc_note(&d, VMCTL_NOTE_WARNING, "%d left out", 3);
    assert_string_equal(noted, "3 left out");
    vmc_deadline silent = vmc_deadline_start(NULL, -1);
    assert_int_equal(vmc_progress(&silent, NULL, "x", NULL, VMCTL_UNIT_NONE, 0, 0, NULL), 0);
    vmc_note(&silent, VMCTL_NOTE_INFO, "x");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zero_means_the_default),
        cmocka_unit_test(far_deadlines_do_not_overflow),
        cmocka_unit_test(a_step_ends_no_later_than_the_whole),
        cmocka_unit_test(polling_times_out),
        cmocka_unit_test(a_slice_is_no_timeout),
        cmocka_unit_test(a_ready_descriptor_ends_the_poll),
        cmocka_unit_test(cancelling_wakes_a_poll),
        cmocka_unit_test(cancelling_beats_data_and_time),
        cmocka_unit_test(a_signal_handler_may_cancel),
        cmocka_unit_test(a_nested_call_gets_what_remains),
        cmocka_unit_test(progress_can_cancel_and_notes_arrive),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
