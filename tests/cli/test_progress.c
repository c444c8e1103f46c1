/* Progress on standard error: lines for people, lines for programs, and what is said only once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"

/* Standard error goes to a file between capture and captured. */
static int kept = -1;
static char path[] = "/tmp/vmctl-progress-XXXXXX";

static void capture(void) {
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    fflush(stderr);
    kept = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
    close(fd);
}

static char *captured(void) {
    static char text[65536];
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    FILE *from = fopen(path, "r");
    assert_non_null(from);
    size_t n = fread(text, 1, sizeof text - 1, from);
    text[n] = '\0';
    fclose(from);
    unlink(path);
    return text;
}

static size_t lines_of(const char *text) {
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

static void tell(cli *c, const char *vm, const char *stage, vmctl_unit unit, uint64_t done, uint64_t total) {
    vmctl_call call = cli_call(c);
    vmctl_progress p = {sizeof p, vm, stage, NULL, unit, done, total};
    assert_non_null(call.progress);
    assert_int_equal(call.progress(&p, call.user), 0);
}

static void plain_has_a_line_per_stage(void **state) {
    (void)state;
    cli c = {.progress = CLI_PROGRESS_PLAIN, .deadline_ms = -1};
    capture();
    tell(&c, "a", "waiting for an address", VMCTL_UNIT_NONE, 0, 0);
    for (int i = 0; i < 1000; i++)
        tell(&c, "a", "waiting for an address", VMCTL_UNIT_NONE, 0, 0);
    tell(&c, "a", "waiting for ssh", VMCTL_UNIT_NONE, 0, 0);
    tell(&c, "b", "waiting for ssh", VMCTL_UNIT_NONE, 0, 0);
    tell(&c, NULL, "fetching", VMCTL_UNIT_BYTES, 512, 1024);
    cli_progress_end();
    assert_string_equal(captured(), "vmctl: a: waiting for an address\nvmctl: a: waiting for ssh\n"
                                    "vmctl: b: waiting for ssh\nvmctl: fetching 50%, 512 B of 1 KiB\n");
}

/* A copy that reports a million times must not write a million lines; its end is told. */
static void plain_is_not_a_flood(void **state) {
    (void)state;
    cli c = {.progress = CLI_PROGRESS_PLAIN, .deadline_ms = -1};
    capture();
    for (uint64_t i = 0; i <= 100000; i++)
        tell(&c, "a", "copying", VMCTL_UNIT_BYTES, i, 100000);
    cli_progress_end();
    const char *text = captured();
    assert_in_range(lines_of(text), 2, 11);
    assert_non_null(strstr(text, "copying 100%"));
}

static void json_is_json(void **state) {
    (void)state;
    cli c = {.progress = CLI_PROGRESS_JSON, .deadline_ms = -1};
    capture();
    tell(&c, "a\"b\n", "copying", VMCTL_UNIT_BYTES, 1, 3);
    for (uint64_t i = 0; i < 100000; i++)
        tell(&c, "a\"b\n", "copying", VMCTL_UNIT_BYTES, 2, 3);
    tell(&c, "a\"b\n", "copying", VMCTL_UNIT_BYTES, 3, 3);
    cli_progress_end();
    char *text = captured(), *rest = NULL;
    assert_true(lines_of(text) >= 2);
    cJSON *last = NULL;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        cJSON_Delete(last);
        last = cJSON_Parse(line);
        assert_non_null(last);
    }
    const cJSON *p = cJSON_GetObjectItem(last, "progress");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(p, "vm")), "a\"b\n");
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(p, "unit")), "bytes");
    assert_int_equal(cJSON_GetObjectItem(p, "done")->valuedouble, 3);
    assert_int_equal(cJSON_GetObjectItem(p, "total")->valuedouble, 3);
    cJSON_Delete(last);
}

/* Bars are taken away before anything else is written, and at the end: every line that went up came down. */
static void bars_leave_nothing_behind(void **state) {
    (void)state;
    cli c = {.progress = CLI_PROGRESS_BAR, .deadline_ms = -1};
    capture();
    tell(&c, "a", "copying", VMCTL_UNIT_BYTES, 1, 2);
    tell(&c, "b", "copying", VMCTL_UNIT_BYTES, 1, 2);
    cli_note(&c, VMCTL_NOTE_INFO, "something between the bars");
    cli_progress_done("a");
    cli_progress_end();
    const char *text = captured();
    size_t up = 0;
    for (const char *at = strstr(text, "\033[1A\033[2K"); at; at = strstr(at + 1, "\033[1A\033[2K"))
        up++;
    assert_non_null(strstr(text, "vmctl: note: something between the bars\n"));
    assert_int_equal(up, lines_of(text) - 1);
}

static void a_note_is_said_once(void **state) {
    (void)state;
    cli c = {.deadline_ms = -1}, quiet = {.deadline_ms = -1, .quiet = true};
    capture();
    cli_note(&c, VMCTL_NOTE_INFO, "the same words");
    cli_note(&c, VMCTL_NOTE_INFO, "the same words");
    cli_note(&quiet, VMCTL_NOTE_INFO, "not told");
    cli_note(&quiet, VMCTL_NOTE_WARNING, "told all the same");
    assert_string_equal(captured(), "vmctl: note: the same words\nvmctl: warning: told all the same\n");
}

static void none_is_silent(void **state) {
    (void)state;
    cli c = {.progress = CLI_PROGRESS_NONE, .deadline_ms = -1};
    assert_null(cli_call(&c).progress);
    assert_int_equal(cli_call(&c).timeout_ms, 0);
    c.deadline_ms = cli_now_ms() + 5000;
    assert_in_range(cli_call(&c).timeout_ms, 1, 5000);
    c.deadline_ms = cli_now_ms() - 1;
    assert_int_equal(cli_call(&c).timeout_ms, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(plain_has_a_line_per_stage),
                                       cmocka_unit_test(plain_is_not_a_flood),
                                       cmocka_unit_test(json_is_json),
                                       cmocka_unit_test(bars_leave_nothing_behind),
                                       cmocka_unit_test(a_note_is_said_once),
                                       cmocka_unit_test(none_is_silent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
