/* The journal: what a killed process had noted is undone by the next one, once, in the right order. */
#include "base/deadline.h"
#include "base/error.h"
#include "base/file.h"
#include "base/journal.h"
#include "base/str.h"
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static char state_home[] = "/tmp/vmctl-test-journal.XXXXXX";
static const char endpoint[] = "test:///default";

/* What an undo function saw: "kind:detail" with spaces between. */
typedef struct seen {
    vmc_str text;
    const char *failing; /* this detail cannot be undone */
} seen;

static int note_it(void *user, const char *kind, const char *detail, vmctl_error **err) {
    (void)err;
    seen *s = user;
    if (s->failing && strcmp(s->failing, detail) == 0)
        return VMCTL_E_BUSY;
    vmc_str_printf(&s->text, "%s%s:%s", s->text.length ? " " : "", kind, detail);
    return 0;
}

static char *folder(void) {
    return vmc_printf("%s/vmctl/journal", state_home);
}

static int files(void) {
    VMC_AUTO_FREE char *path = folder();
    DIR *dir = opendir(path);
    int count = 0;
    for (struct dirent *e; dir && (e = readdir(dir));)
        count += e->d_name[0] != '.';
    if (dir)
        closedir(dir);
    return count;
}

/* The only file's path. */
static char *the_file(void) {
    VMC_AUTO_FREE char *path = folder();
    DIR *dir = opendir(path);
    char *found = NULL;
    for (struct dirent *e; (e = readdir(dir));)
        if (e->d_name[0] != '.')
            found = vmc_printf("%s/%s", path, e->d_name);
    closedir(dir);
    return found;
}

/* A child that notes three things and is killed while it holds the journal. */
static void killed_with_three_things(void) {
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    if (child == 0) {
        vmc_journal *journal;
        size_t mark;
        if (vmc_journal_open(endpoint, "create of web", &journal, NULL) < 0 ||
            vmc_journal_add(journal, "volume", "default/root", NULL, NULL) < 0 ||
            vmc_journal_add(journal, "file", "odd name\n100%", &mark, NULL) < 0 ||
            vmc_journal_add(journal, "domain", "web", NULL, NULL) < 0)
            _exit(1);
        if (write(ready[1], "x", 1) != 1)
            _exit(1);
        for (;;)
            pause();
    }
    close(ready[1]);
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    close(ready[0]);
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
}

static int recover(seen *s) {
    return vmc_journal_recover(endpoint, NULL, note_it, s, NULL);
}

static void a_killed_process_is_undone_last_first(void **state) {
    (void)state;
    killed_with_three_things();
    assert_int_equal(files(), 1);
    seen s = {0};
    assert_int_equal(recover(&s), 0);
    assert_string_equal(s.text.text, "domain:web file:odd name\n100% volume:default/root");
    assert_int_equal(files(), 0);
    vmc_str_free(&s.text);
    assert_int_equal(recover(&s), 0);
    assert_null(s.text.text);
}

static void another_endpoint_is_left_alone(void **state) {
    (void)state;
    killed_with_three_things();
    seen s = {0};
    assert_int_equal(vmc_journal_recover("qemu:///system", NULL, note_it, &s, NULL), 0);
    assert_null(s.text.text);
    assert_int_equal(files(), 1);
    assert_int_equal(recover(&s), 0);
    vmc_str_free(&s.text);
}

static void a_living_process_is_left_alone(void **state) {
    (void)state;
    vmc_journal *journal;
    assert_int_equal(vmc_journal_open(endpoint, "create of web", &journal, NULL), 0);
    assert_int_equal(vmc_journal_add(journal, "volume", "a", NULL, NULL), 0);
    pid_t child = fork();
    if (child == 0) {
        seen s = {0};
        int rc = recover(&s);
        _exit(rc == 0 && s.text.text == NULL ? 0 : 1);
    }
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    seen s = {0}; /* not by its own process either */
    assert_int_equal(recover(&s), 0);
    assert_null(s.text.text);
    assert_int_equal(files(), 1);
    vmc_journal_close(journal);
    assert_int_equal(files(), 0);
}

static void what_fails_stays_for_the_next_time(void **state) {
    (void)state;
    killed_with_three_things();
    seen s = {.failing = "odd name\n100%"};
    assert_int_equal(recover(&s), 0);
    assert_string_equal(s.text.text, "domain:web volume:default/root");
    assert_int_equal(files(), 1);
    vmc_str_free(&s.text);
    s.failing = NULL;
    assert_int_equal(recover(&s), 0);
    assert_string_equal(s.text.text, "file:odd name\n100%"); /* the others are not undone twice */
    assert_int_equal(files(), 0);
    vmc_str_free(&s.text);
}

static void a_torn_last_line_counts_as_not_written(void **state) {
    (void)state;
    killed_with_three_things();
    VMC_AUTO_FREE char *path = the_file();
    VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_APPEND);
    assert_int_equal(write(fd, "add 3 volume defa", 17), 17);
    seen s = {.failing = "web"};
    assert_int_equal(recover(&s), 0);
    assert_string_equal(s.text.text, "file:odd name\n100% volume:default/root");
    vmc_str_free(&s.text);
    s.failing = NULL; /* what the first recovery wrote behind the torn line is read too */
    assert_int_equal(recover(&s), 0);
    assert_string_equal(s.text.text, "domain:web");
    assert_int_equal(files(), 0);
    vmc_str_free(&s.text);
}

static void a_torn_first_line_is_nothing(void **state) {
    (void)state;
    killed_with_three_things();
    VMC_AUTO_FREE char *path = the_file();
    assert_int_equal(truncate(path, 20), 0);
    seen s = {0};
    assert_int_equal(recover(&s), 0);
    assert_null(s.text.text);
    assert_int_equal(files(), 0);
}

static int warnings;
static void count_warning(vmctl_note_level level, const char *text, void *user) {
    (void)text, (void)user;
    warnings += level == VMCTL_NOTE_WARNING;
}

static void a_damaged_journal_is_told_and_kept(void **state) {
    (void)state;
    killed_with_three_things();
    VMC_AUTO_FREE char *path = the_file();
    VMC_AUTO_FREE char *text = NULL;
    size_t length;
    assert_int_equal(vmc_file_read(path, 10000, &text, &length, NULL), 0);
    text[0] = 'X';
    assert_int_equal(vmc_file_write(path, text, length, 0600, NULL), 0);
    vmctl_call call = VMCTL_CALL_INIT;
    call.note = count_warning;
    warnings = 0;
    seen s = {0};
    assert_int_equal(vmc_journal_recover(endpoint, &call, note_it, &s, NULL), 0);
    assert_null(s.text.text);
    assert_int_equal(warnings, 1);
    assert_int_equal(files(), 1);
    unlink(path);
}

/* Each undone entry as a byte of a file that all processes append to; slow, so that they overlap. */
static int slowly(void *user, const char *kind, const char *detail, vmctl_error **err) {
    (void)kind, (void)detail, (void)err;
    usleep(20000);
    return write(*(int *)user, "u", 1) == 1 ? 0 : -1;
}

static void several_recoverers_undo_once(void **state) {
    (void)state;
    killed_with_three_things();
    killed_with_three_things();
    VMC_AUTO_FREE char *path = vmc_printf("%s/undone", state_home);
    VMC_AUTO_CLOSE int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    pid_t children[8];
    for (size_t i = 0; i < 8; i++) {
        children[i] = fork();
        if (children[i] == 0)
            _exit(vmc_journal_recover(endpoint, NULL, slowly, &fd, NULL) == 0 ? 0 : 1);
    }
    for (size_t i = 0; i < 8; i++) {
        int status;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, 6);
    assert_int_equal(files(), 0);
    unlink(path);
}

static void a_dropped_entry_stays(void **state) {
    (void)state;
    vmc_journal *journal;
    size_t first, second;
    assert_int_equal(vmc_journal_open(endpoint, "x", &journal, NULL), 0);
    assert_int_equal(vmc_journal_add(journal, "volume", "a", &first, NULL), 0);
    assert_int_equal(vmc_journal_add(journal, "volume", "b", &second, NULL), 0);
    assert_int_equal(vmc_journal_drop(journal, first, NULL), 0);
    seen s = {0};
    assert_int_equal(vmc_journal_undo(journal, note_it, &s, NULL), 0);
    assert_string_equal(s.text.text, "volume:b");
    vmc_journal_close(journal);
    assert_int_equal(files(), 0);
    vmc_str_free(&s.text);
}

static void a_failed_undo_is_named_once_and_kept(void **state) {
    (void)state;
    vmc_journal *journal;
    assert_int_equal(vmc_journal_open(endpoint, "x", &journal, NULL), 0);
    assert_int_equal(vmc_journal_add(journal, "volume", "a", NULL, NULL), 0);
    assert_int_equal(vmc_journal_add(journal, "volume", "b", NULL, NULL), 0);
    vmctl_error *err = NULL;
    vmc_error(&err, VMCTL_E_RESOURCE_EXHAUSTED, "the disk is full");
    seen s = {.failing = "a"};
    assert_int_equal(vmc_journal_undo(journal, note_it, &s, &err), 1);
    assert_int_equal(vmc_journal_undo(journal, note_it, &s, &err), 1);
    assert_string_equal(vmctl_error_message(err),
                        "the disk is full; the volume a could not be removed again: no reason "
                        "was given");
    assert_string_equal(s.text.text, "volume:b");
    vmc_journal_close(journal);
    assert_int_equal(files(), 1);
    vmc_str_free(&s.text);
    s.failing = NULL;
    assert_int_equal(recover(&s), 0);
    assert_string_equal(s.text.text, "volume:a");
    vmc_str_free(&s.text);
    vmctl_error_free(err);
}

static void nothing_noted_makes_no_file(void **state) {
    (void)state;
    vmc_journal *journal;
    assert_int_equal(vmc_journal_open(endpoint, "x", &journal, NULL), 0);
    assert_int_equal(files(), 0);
    vmc_journal_close(journal);
    vmc_journal_close(NULL);
}

static int make(void **state) {
    (void)state;
    if (!mkdtemp(state_home))
        return -1;
    return setenv("XDG_STATE_HOME", state_home, 1);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int clean(void **state) {
    (void)state;
    return nftw(state_home, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_process_is_undone_last_first),
        cmocka_unit_test(another_endpoint_is_left_alone),
        cmocka_unit_test(a_living_process_is_left_alone),
        cmocka_unit_test(what_fails_stays_for_the_next_time),
        cmocka_unit_test(a_torn_last_line_counts_as_not_written),
        cmocka_unit_test(a_torn_first_line_is_nothing),
        cmocka_unit_test(a_damaged_journal_is_told_and_kept),
        cmocka_unit_test(several_recoverers_undo_once),
        cmocka_unit_test(a_dropped_entry_stays),
        cmocka_unit_test(a_failed_undo_is_named_once_and_kept),
        cmocka_unit_test(nothing_noted_makes_no_file),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
