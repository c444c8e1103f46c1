/* tests/unit/test_process.c - programs by argument vector: output, input, deadline, cancel, identity, nothing left behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/process/process.h"
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGV(...) ((const char *const[]){__VA_ARGS__, NULL})

static vmc_deadline in_ms(int64_t ms) {
    vmc_deadline d = vmc_deadline_start(NULL, ms);
    return d;
}

/* No child of this process is left, zombie or alive. */
static void assert_no_children(void) {
    siginfo_t info;
    assert_int_equal(waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT), -1);
    assert_int_equal(errno, ECHILD);
}

static void captures_both_streams_and_the_status(void **state) {
    (void)state;
    PROCESS_AUTO_RESULT r = {0};
    vmctl_error *err = NULL;
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c", "printf out; printf err >&2; exit 7")};
    assert_int_equal(process_run(&o, &d, &r, &err), 0);
    assert_int_equal(r.status, 7);
    assert_int_equal(r.signal, 0);
    assert_string_equal(r.output, "out");
    assert_int_equal(r.output_length, 3);
    assert_string_equal(r.error, "err");
    assert_no_children();
}

static void arguments_are_not_seen_by_a_shell(void **state) {
    (void)state;
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("printf", "%s|", "a b", "$HOME", "`id`", "*", "")};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_string_equal(r.output, "a b|$HOME|`id`|*||");
}

static void input_reaches_it_whole(void **state) {
    (void)state;
    size_t length = 3u << 20;
    char *bytes = malloc(length);
    memset(bytes, 'x', length);
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(20000);
    process_options o = {.argv = ARGV("wc", "-c"), .input = bytes, .input_length = length};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_int_equal(atol(r.output), (long)length);
    process_result_free(&r);
    /* A program that does not read it must not end this one by a broken pipe. */
    o.argv = ARGV("true");
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_int_equal(r.status, 0);
    free(bytes);
}

static void what_is_beyond_the_limit_is_dropped(void **state) {
    (void)state;
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(20000);
    process_options o = {.argv = ARGV("head", "-c", "500000", "/dev/zero"), .limit = 1000};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.output_length, 1000);
    assert_true(r.truncated);
}

typedef struct heard {
    char lines[64][64];
    size_t count;
    int answer;
} heard;

static int hear(const char *bytes, size_t length, void *user) {
    heard *h = user;
    assert_int_equal(strlen(bytes), length);
    if (h->count < 64)
        snprintf(h->lines[h->count++], sizeof h->lines[0], "%s", bytes);
    return h->answer;
}

static void lines_come_one_by_one(void **state) {
    (void)state;
    heard h = {0};
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {
        .argv = ARGV("printf", "one\\ntwo\\r(1/2)\\r\\n\\nlast"), .output = hear, .user = &h, .lines = true};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_int_equal(h.count, 5);
    assert_string_equal(h.lines[0], "one");
    assert_string_equal(h.lines[1], "two");
    assert_string_equal(h.lines[2], "(1/2)");
    assert_string_equal(h.lines[3], "");
    assert_string_equal(h.lines[4], "last");
}

static void a_callback_can_stop_it(void **state) {
    (void)state;
    heard h = {.answer = -5};
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("yes"), .output = hear, .user = &h, .lines = true};
    assert_int_equal(process_run(&o, &d, &r, NULL), -5);
    assert_int_equal(h.count, 1);
    process_result_free(&r);
    h = (heard){.answer = 1};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_int_equal(h.count, 1);
    assert_no_children();
}

static void a_missing_program_names_its_package(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    process_result r;
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("no-such-program-here"), .package = "qemu-utils"};
    assert_int_equal(process_run(&o, &d, &r, &err), VMCTL_E_UNAVAILABLE);
    assert_non_null(strstr(vmctl_error_message(err), "no-such-program-here"));
    assert_non_null(strstr(vmctl_error_message(err), "qemu-utils"));
    assert_non_null(vmctl_error_next(err));
    vmctl_error_free(err);
    err = NULL;
    o.argv = ARGV("/etc/passwd");
    assert_int_equal(process_run(&o, &d, &r, &err), VMCTL_E_PERMISSION_DENIED);
    vmctl_error_free(err);
    assert_no_children();
}

static void the_deadline_ends_the_whole_group(void **state) {
    (void)state;
    char mark[64];
    snprintf(mark, sizeof mark, "/tmp/vmctl-test-process-%d", (int)getpid());
    unlink(mark);
    char script[256];
    /* A grandchild that would leave a mark later, were it not ended too. */
    snprintf(script, sizeof script, "(sleep 2; touch %s) & wait", mark);
    vmctl_error *err = NULL;
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(300);
    process_options o = {.argv = ARGV("sh", "-c", script), .doing = "converting disk root"};
    int64_t start = vmc_now_ms();
    assert_int_equal(process_run(&o, &d, &r, &err), VMCTL_E_TIMEOUT);
    assert_in_range(vmc_now_ms() - start, 290, 8000);
    assert_non_null(strstr(vmctl_error_message(err), "converting disk root"));
    vmctl_error_free(err);
    assert_no_children();
    sleep(3);
    assert_int_equal(access(mark, F_OK), -1);
}

static void one_that_ignores_sigterm_is_killed_after_the_grace(void **state) {
    (void)state;
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(200);
    process_options o = {.argv = ARGV("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"), .grace_ms = 300};
    int64_t start = vmc_now_ms();
    assert_int_equal(process_run(&o, &d, &r, NULL), VMCTL_E_TIMEOUT);
    assert_in_range(vmc_now_ms() - start, 450, 15000);
    assert_no_children();
}

static void *trigger_soon(void *cancel) {
    usleep(200 * 1000);
    vmctl_cancel_trigger(cancel);
    return NULL;
}

static void cancel_ends_it(void **state) {
    (void)state;
    vmctl_cancel *cancel = vmctl_cancel_new();
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = cancel;
    vmc_deadline d = vmc_deadline_start(&call, -1);
    pthread_t thread;
    pthread_create(&thread, NULL, trigger_soon, cancel);
    PROCESS_AUTO_RESULT r = {0};
    process_options o = {.argv = ARGV("sleep", "60")};
    int64_t start = vmc_now_ms();
    assert_int_equal(process_run(&o, &d, &r, NULL), VMCTL_E_CANCELLED);
    assert_in_range(vmc_now_ms() - start, 150, 15000);
    pthread_join(thread, NULL);
    vmctl_cancel_free(cancel);
    assert_no_children();
}

static void no_descriptor_leaks_into_it(void **state) {
    (void)state;
    int low = open("/dev/null", O_RDONLY);
    assert_int_equal(fcntl(low, F_DUPFD, 77), 77); /* not close-on-exec */
    close(low);
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c", "test -e /proc/$$/fd/2 && test ! -e /proc/$$/fd/77")};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    close(77);
    assert_int_equal(r.status, 0);
}

static void environment_is_added_and_removed(void **state) {
    (void)state;
    setenv("VMCTL_TEST_GONE", "here", 1);
    setenv("VMCTL_TEST_CHANGED", "old", 1);
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c",
                                      "printf '%s %s %s %s' \"$VMCTL_TEST_NEW\" \"$VMCTL_TEST_CHANGED\" "
                                      "\"${VMCTL_TEST_GONE-gone}\" \"$PWD\""),
                         .environment = ARGV("VMCTL_TEST_NEW=a b", "VMCTL_TEST_CHANGED=new", "VMCTL_TEST_GONE"),
                         .directory = "/usr"};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_string_equal(r.output, "a b new gone /usr");
}

static void a_signal_is_128_and_its_number(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c", "kill -KILL $$")};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_int_equal(r.signal, SIGKILL);
    assert_int_equal(r.status, 128 + SIGKILL);
    assert_true(process_failed(&o, &r, &err) < 0);
    assert_non_null(strstr(vmctl_error_message(err), "signal 9"));
    vmctl_error_free(err);
}

static void a_failure_has_the_last_words_of_stderr(void **state) {
    (void)state;
    vmctl_error *err = NULL;
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c", "echo noise >&2; echo 'x: No space left on device' >&2; exit 1")};
    assert_int_equal(process_run_ok(&o, &d, NULL, &err), VMCTL_E_RESOURCE_EXHAUSTED);
    assert_string_equal(vmctl_error_message(err), "sh failed (exit status 1): x: No space left on device");
    vmctl_error_free(err);
    /* Without an error object the code is the same. */
    assert_int_equal(process_run_ok(&o, &d, NULL, NULL), VMCTL_E_RESOURCE_EXHAUSTED);
}

/* As `libvirtd -d` does: the started process leaves, another goes on. */
static void a_daemon_is_not_waited_for(void **state) {
    (void)state;
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c", "setsid sleep 30 & echo $!")};
    int64_t start = vmc_now_ms();
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_in_range(vmc_now_ms() - start, 0, 15000);
    pid_t daemon_pid = (pid_t)atol(r.output);
    assert_true(daemon_pid > 1);
    assert_int_equal(kill(daemon_pid, 0), 0);
    kill(daemon_pid, SIGKILL);
}

static void runs_as_another_user(void **state) {
    (void)state;
    if (geteuid() != 0) {
        print_message("skip: needs root\n");
        skip();
    }
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("sh", "-c", "id -u; id -g; id -G"),
                         .identity = &(process_identity){12345, 23456}};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    assert_string_equal(r.output, "12345\n23456\n23456\n");
}

static void ignored_signals_are_not_inherited(void **state) {
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    PROCESS_AUTO_RESULT r = {0};
    vmc_deadline d = in_ms(10000);
    process_options o = {.argv = ARGV("grep", "SigIgn", "/proc/self/status")};
    assert_int_equal(process_run(&o, &d, &r, NULL), 0);
    signal(SIGPIPE, SIG_DFL);
    assert_string_equal(r.output, "SigIgn:\t0000000000000000\n");
}

static void *run_many(void *unused) {
    (void)unused;
    for (int i = 0; i < 10; i++) {
        process_result r;
        vmc_deadline d = in_ms(30000);
        process_options o = {.argv = ARGV("sh", "-c", "echo hello; exit 3")};
        if (process_run(&o, &d, &r, NULL) != 0 || r.status != 3 || strcmp(r.output, "hello\n") != 0)
            return "failed";
        process_result_free(&r);
    }
    return NULL;
}

static void many_threads_at_once(void **state) {
    (void)state;
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        pthread_create(&threads[i], NULL, run_many, NULL);
    for (int i = 0; i < 8; i++) {
        void *answer = NULL;
        pthread_join(threads[i], &answer);
        assert_null(answer);
    }
    assert_no_children();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(captures_both_streams_and_the_status),
        cmocka_unit_test(arguments_are_not_seen_by_a_shell),
        cmocka_unit_test(input_reaches_it_whole),
        cmocka_unit_test(what_is_beyond_the_limit_is_dropped),
        cmocka_unit_test(lines_come_one_by_one),
        cmocka_unit_test(a_callback_can_stop_it),
        cmocka_unit_test(a_missing_program_names_its_package),
        cmocka_unit_test(the_deadline_ends_the_whole_group),
        cmocka_unit_test(one_that_ignores_sigterm_is_killed_after_the_grace),
        cmocka_unit_test(cancel_ends_it),
        cmocka_unit_test(no_descriptor_leaks_into_it),
        cmocka_unit_test(environment_is_added_and_removed),
        cmocka_unit_test(a_signal_is_128_and_its_number),
        cmocka_unit_test(a_failure_has_the_last_words_of_stderr),
        cmocka_unit_test(a_daemon_is_not_waited_for),
        cmocka_unit_test(runs_as_another_user),
        cmocka_unit_test(ignored_signals_are_not_inherited),
        cmocka_unit_test(many_threads_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
