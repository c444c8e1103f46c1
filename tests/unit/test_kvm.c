/* tests/unit/test_kvm.c - what the KVM probe says with a /dev/kvm of every kind: missing, closed, without a driver, the real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "drivers/kvm/kvm.h"
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static char runtime[64];
static vmc_deadline d;

static int set_up(void **state) {
    (void)state;
    strcpy(runtime, "/tmp/vmctl-test-kvm-XXXXXX");
    if (!mkdtemp(runtime))
        return -1;
    setenv("XDG_RUNTIME_DIR", runtime, 1);
    d = vmc_deadline_start(NULL, 20000);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/vmctl/kvm-%u-%u", runtime, (unsigned)getuid(), (unsigned)getgid());
    unlink(path);
    snprintf(path, sizeof path, "%s/vmctl/kvm-54321-54321", runtime);
    unlink(path);
    snprintf(path, sizeof path, "%s/vmctl/kvm-65534-65534", runtime);
    unlink(path);
    snprintf(path, sizeof path, "%s/vmctl", runtime);
    rmdir(path);
    return rmdir(runtime);
}

/* Runs a part in a mount namespace with another /dev/kvm; the part returns 0 or the number of what was wrong. */
static void with_device(int (*part)(void), mode_t type, mode_t mode, dev_t device) {
    if (geteuid() != 0) {
        print_message("skip: needs root\n");
        skip();
    }
    pid_t pid = fork();
    if (pid == 0) {
        char node[96];
        snprintf(node, sizeof node, "%s/node", runtime);
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            access("/dev/kvm", F_OK) != 0 || mknod(node, type | mode, device) != 0 || chmod(node, mode) != 0 ||
            mount(node, "/dev/kvm", NULL, MS_BIND, NULL) != 0)
            _exit(77);
        unlink(node);
        _exit(part());
    }
    int status = 0;
    waitpid(pid, &status, 0);
    char node[96];
    snprintf(node, sizeof node, "%s/node", runtime);
    unlink(node);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77) {
        print_message("skip: there is no /dev/kvm, or it cannot be replaced here\n");
        skip();
    }
    assert_int_equal(status, 0);
}

static int closed_to_others(void) {
    kvm_result r;
    if (kvm_probe(54321, 54321, &d, &r, NULL) != 0)
        return 1;
    if (!r.present || r.openable || r.usable || r.host_cpu || r.cached)
        return 2;
    if (strcmp(r.reason, "/dev/kvm cannot be opened by uid 54321 (mode 0600, root:root)") != 0)
        return 3;
    if (!strstr(r.remedy, "chmod 0666 /dev/kvm"))
        return 4;
    /* The same from the cache. */
    kvm_result again;
    if (kvm_probe(54321, 54321, &d, &again, NULL) != 0 || !again.cached || again.usable ||
        strcmp(again.reason, r.reason) != 0 || strcmp(again.remedy, r.remedy) != 0)
        return 5;
    /* The remedy was taken: the old answer does not count. */
    if (chmod("/dev/kvm", 0666) != 0 || kvm_probe(54321, 54321, &d, &again, NULL) != 0 || again.cached)
        return 6;
    if (strstr(again.reason, "cannot be opened"))
        return 7;
    return 0;
}

static void a_closed_device_is_named_with_its_mode(void **state) {
    (void)state;
    with_device(closed_to_others, S_IFCHR, 0600, makedev(10, 232));
}

/* An ordinary user that asks about another. */
static int closed_seen_by_a_third(void) {
    kvm_result r;
    if (chmod(runtime, 0777) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 1;
    if (kvm_probe(54321, 54321, &d, &r, NULL) != 0 || !r.present || r.openable || r.usable)
        return 2;
    return strstr(r.reason, "mode 0600") ? 0 : 3;
}

static int open_seen_by_a_third(void) {
    kvm_result own, other;
    if (chmod(runtime, 0777) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
        return 1;
    if (kvm_probe(65534, 65534, &d, &own, NULL) != 0 || kvm_probe(54321, 54321, &d, &other, NULL) != 0)
        return 2;
    return other.usable == own.usable && other.openable && strcmp(own.reason, other.reason) == 0 ? 0 : 3;
}

static void an_ordinary_user_learns_about_another(void **state) {
    (void)state;
    with_device(closed_seen_by_a_third, S_IFCHR, 0600, makedev(10, 232));
    with_device(open_seen_by_a_third, S_IFCHR, 0666, makedev(10, 232));
}

static int no_kvm_at_all(void) {
    kvm_result r;
    if (kvm_probe(getuid(), getgid(), &d, &r, NULL) != 0 || r.usable || r.host_cpu || !*r.reason)
        return 1;
    return 0;
}

/* /dev/zero opens and knows no KVM call: an answer, no error, no hang. */
static void another_device_in_its_place_is_not_usable(void **state) {
    (void)state;
    with_device(no_kvm_at_all, S_IFCHR, 0666, makedev(1, 5));
}

static void the_answer_is_consistent_and_cached(void **state) {
    (void)state;
    kvm_result r, again;
    int64_t start = vmc_now_ms();
    assert_int_equal(kvm_probe(getuid(), getgid(), &d, &r, NULL), 0);
    assert_in_range(vmc_now_ms() - start, 0, 4000);
    assert_false(r.cached);
    assert_true(r.usable ? r.openable && !*r.reason && !*r.remedy : *r.reason != '\0');
    assert_true(!r.host_cpu || r.usable);
    assert_true(!r.usable || r.present);
    print_message("usable %d, -cpu host %d, %lld ms: %s\n", r.usable, r.host_cpu, (long long)(vmc_now_ms() - start),
                  r.reason);
    assert_int_equal(kvm_probe(getuid(), getgid(), &d, &again, NULL), 0);
    assert_int_equal(again.usable, r.usable);
    assert_int_equal(again.host_cpu, r.host_cpu);
    assert_string_equal(again.reason, r.reason);
    assert_int_equal(again.cached, r.present);
}

/* Where an interpreting KVM is known to be loaded, the answer must be no. */
static void an_interpreting_kvm_is_found_out(void **state) {
    (void)state;
    if (access("/sys/module/kvm_pvm", F_OK) != 0 || access("/dev/kvm", R_OK | W_OK) != 0) {
        print_message("skip: the host's KVM is not kvm_pvm\n");
        skip();
    }
    kvm_result r;
    assert_int_equal(kvm_probe(getuid(), getgid(), &d, &r, NULL), 0);
    assert_true(r.openable);
    assert_false(r.usable);
    assert_non_null(strstr(r.reason, "does not run 64-bit code"));
}

static void a_cache_that_others_could_write_is_not_believed(void **state) {
    (void)state;
    kvm_result r;
    assert_int_equal(kvm_probe(getuid(), getgid(), &d, &r, NULL), 0);
    if (!r.present) {
        print_message("skip: there is no /dev/kvm\n");
        skip();
    }
    char folder[96];
    snprintf(folder, sizeof folder, "%s/vmctl", runtime);
    assert_int_equal(chmod(folder, 0777), 0);
    assert_int_equal(kvm_probe(getuid(), getgid(), &d, &r, NULL), 0);
    assert_false(r.cached);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_int_equal(kvm_probe(getuid(), getgid(), &d, &r, NULL), 0);
    assert_true(r.cached);
}

static void an_unknown_user_is_not_found(void **state) {
    (void)state;
    kvm_result r;
    vmctl_error *err = NULL;
    assert_int_equal(kvm_probe_user("no-such-user-here", &d, &r, &err), VMCTL_E_NOT_FOUND);
    assert_non_null(strstr(vmctl_error_message(err), "no-such-user-here"));
    vmctl_error_free(err);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_closed_device_is_named_with_its_mode),
        TEST(an_ordinary_user_learns_about_another),
        TEST(another_device_in_its_place_is_not_usable),
        TEST(the_answer_is_consistent_and_cached),
        TEST(an_interpreting_kvm_is_found_out),
        TEST(a_cache_that_others_could_write_is_not_believed),
        TEST(an_unknown_user_is_not_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
