/* Files, folders and paths. */
#include "base/file.h"
#include "base/str.h"
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[] = "/tmp/vmctl-test-file.XXXXXX";

static char *in_folder(const char *name) {
    return vmc_printf("%s/%s", folder, name);
}

static void written_and_read(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = in_folder("a");
    static const char bytes[] = "one\0two";
    assert_int_equal(vmc_file_write(path, bytes, sizeof bytes, 0600, NULL), 0);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    assert_int_equal(vmc_file_read(path, 100, &text, &length, NULL), 0);
    assert_int_equal(length, sizeof bytes);
    assert_memory_equal(text, bytes, sizeof bytes);
    assert_int_equal(text[length], '\0');
}

static mode_t mode_of(const char *path) {
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    return st.st_mode & 07777;
}

static void saved_as_a_person_expects(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = in_folder("saved"), *link = in_folder("link");
    mode_t mask = umask(027);
    assert_int_equal(vmc_file_save(path, "one", 3, NULL), 0);
    umask(mask);
    assert_int_equal(mode_of(path), 0640);
    assert_int_equal(chmod(path, 0604), 0);
    assert_int_equal(symlink("saved", link), 0);
    assert_int_equal(vmc_file_save(link, "two", 3, NULL), 0);
    struct stat st;
    assert_int_equal(lstat(link, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    assert_int_equal(mode_of(path), 0604);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    assert_int_equal(vmc_file_read(path, 100, &text, &length, NULL), 0);
    assert_string_equal(text, "two");

    /* a device is written to, not replaced */
    assert_int_equal(vmc_file_save("/dev/null", "x", 1, NULL), 0);
    assert_int_equal(stat("/dev/null", &st), 0);
    assert_true(S_ISCHR(st.st_mode));

    VMC_AUTO_FREE char *below = in_folder("no/such/folder");
    assert_int_equal(vmc_file_save(below, "x", 1, NULL), VMCTL_E_NOT_FOUND);
    assert_true(vmc_file_save(folder, "x", 1, NULL) < 0);
}

static void a_limit_holds(void **state) {
    (void)state;
    VMC_AUTO_FREE char *path = in_folder("large");
    char bytes[100] = {0};
    assert_int_equal(vmc_file_write(path, bytes, sizeof bytes, 0644, NULL), 0);
    VMC_AUTO_FREE char *text = NULL;
    size_t length = 0;
    vmctl_error *err = NULL;
    assert_int_equal(vmc_file_read(path, 99, &text, &length, &err), VMCTL_E_INVALID_ARGUMENT);
    assert_non_null(strstr(vmctl_error_message(err), path));
    vmctl_error_free(err);
    assert_int_equal(vmc_file_read(path, 100, &text, &length, NULL), 0);
}

static void failures_have_codes(void **state) {
    (void)state;
    VMC_AUTO_FREE char *absent = in_folder("absent");
    char *text = NULL;
    size_t length;
    assert_int_equal(vmc_file_read(absent, 10, &text, &length, NULL), VMCTL_E_NOT_FOUND);
    assert_int_equal(vmc_file_read(folder, 10, &text, &length, NULL), VMCTL_E_INVALID_ARGUMENT);
    VMC_AUTO_FREE char *below = in_folder("no/such/folder");
    assert_int_equal(vmc_file_write(below, "x", 1, 0600, NULL), VMCTL_E_NOT_FOUND);
    assert_null(text);
}

static void a_failed_write_leaves_nothing(void **state) {
    (void)state;
    /* The target is a folder that is not empty: rename fails, and what was written beside it is gone. */
    VMC_AUTO_FREE char *target = in_folder("target");
    VMC_AUTO_FREE char *inside = in_folder("target/inside");
    VMC_AUTO_FREE char *pattern = in_folder("target.");
    assert_int_equal(vmc_mkdirs(inside, 0700, NULL), 0);
    assert_true(vmc_file_write(target, "x", 1, 0600, NULL) < 0);
    VMC_AUTO_FREE char *command = vmc_printf("ls %s* 2>/dev/null | wc -l", pattern);
    FILE *p = popen(command, "r");
    int count = -1;
    assert_int_equal(fscanf(p, "%d", &count), 1);
    pclose(p);
    assert_int_equal(count, 0);
}

static void folders_are_made(void **state) {
    (void)state;
    VMC_AUTO_FREE char *deep = in_folder("x/y//z/");
    assert_int_equal(vmc_mkdirs(deep, 0700, NULL), 0);
    assert_int_equal(vmc_mkdirs(deep, 0700, NULL), 0);
    assert_true(vmc_file_exists(deep));
    VMC_AUTO_FREE char *file = in_folder("file");
    assert_int_equal(vmc_file_write(file, "", 0, 0600, NULL), 0);
    assert_int_equal(vmc_mkdirs(file, 0700, NULL), VMCTL_E_ALREADY_EXISTS);
    VMC_AUTO_FREE char *under = in_folder("file/under");
    assert_true(vmc_mkdirs(under, 0700, NULL) < 0);
}

static void check_absolute(const char *base, const char *name, const char *expected) {
    VMC_AUTO_FREE char *path = vmc_path_absolute(base, name);
    assert_string_equal(path, expected);
}

static void paths(void **state) {
    (void)state;
    check_absolute("/a/b", "c", "/a/b/c");
    check_absolute("/a/b", "./c", "/a/b/c");
    check_absolute("/a/b", "../c", "/a/c");
    check_absolute("/a/b", "../../../c", "/c");
    check_absolute("/a", "/x//y/./z/", "/x/y/z");
    check_absolute("/a", "/..", "/");
    setenv("HOME", "/home/someone", 1);
    check_absolute("/a", "~/key", "/home/someone/key");
    check_absolute("/a", "~", "/home/someone");
    check_absolute("/a", "~other/key", "/a/~other/key");
    VMC_AUTO_FREE char *here = getcwd(NULL, 0);
    VMC_AUTO_FREE char *expected = vmc_printf("%s/f", here);
    check_absolute(NULL, "f", expected);
    check_absolute(".", "f", expected);
}

static void parts_of_paths(void **state) {
    (void)state;
    static const struct {
        const char *path, *dir, *base;
    } table[] = {{"/a/b", "/a", "b"}, {"/a", "/", "a"}, {"a", ".", "a"}, {"a/b", "a", "b"}, {"/", "/", ""}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        VMC_AUTO_FREE char *dir = vmc_path_dirname(table[i].path);
        assert_string_equal(dir, table[i].dir);
        assert_string_equal(vmc_path_basename(table[i].path), table[i].base);
    }
}

static void xdg_folders(void **state) {
    (void)state;
    setenv("HOME", "/home/someone", 1);
    setenv("XDG_STATE_HOME", "/somewhere", 1);
    VMC_AUTO_FREE char *given = vmc_xdg_state("journal");
    assert_string_equal(given, "/somewhere/vmctl/journal");
    setenv("XDG_STATE_HOME", "relative", 1); /* the specification: to be ignored */
    VMC_AUTO_FREE char *fallback = vmc_xdg_state(NULL);
    assert_string_equal(fallback, "/home/someone/.local/state/vmctl");
    unsetenv("XDG_CONFIG_HOME");
    VMC_AUTO_FREE char *config = vmc_xdg_config("config.yaml");
    assert_string_equal(config, "/home/someone/.config/vmctl/config.yaml");
    setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
    VMC_AUTO_FREE char *runtime = vmc_runtime_dir("kvm");
    assert_string_equal(runtime, "/run/user/7/vmctl/kvm");
}

static void the_program_knows_its_folder(void **state) {
    (void)state;
    VMC_AUTO_FREE char *dir = vmc_library_dir();
    VMC_AUTO_FREE char *exe = realpath("/proc/self/exe", NULL);
    VMC_AUTO_FREE char *expected = vmc_path_dirname(exe);
    assert_string_equal(dir, expected);
}

static int make(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int clean(void **state) {
    (void)state;
    return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(saved_as_a_person_expects),
        cmocka_unit_test(a_limit_holds),
        cmocka_unit_test(failures_have_codes),
        cmocka_unit_test(a_failed_write_leaves_nothing),
        cmocka_unit_test(folders_are_made),
        cmocka_unit_test(paths),
        cmocka_unit_test(parts_of_paths),
        cmocka_unit_test(xdg_folders),
        cmocka_unit_test(the_program_knows_its_folder),
    };
    return cmocka_run_group_tests(tests, make, clean);
}
