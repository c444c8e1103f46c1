/* guest_copying.c - files into a guest and out of it, through its agent. */
#include "guest.h"

#include <fcntl.h>
#include <sys/stat.h>

enum { LARGE = 24 << 20 };

static const char *large_file(void) {
    char *bytes = malloc(LARGE);
    assert_non_null(bytes);
    unsigned state = 1;
    for (size_t i = 0; i < LARGE; i++)
        bytes[i] = (char)((state = state * 1103515245u + 12345u) >> 16);
    const char *path = scratch_file("large", bytes, LARGE);
    free(bytes);
    assert_int_equal(chmod(path, 0750), 0);
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    return path;
}

/* No port is left behind, and no unfinished file. */
static void nothing_is_left(void) {
    heard got;
    char *native = NULL;
    MUST(vmctl_vm_native(guest_vm, NULL, &native, &err));
    assert_null(strstr(native, "org.vmctl.copy"));
    vmctl_string_free(native);
    assert_int_equal(sh(&got, "ls -d /root/*.vmctl-* /sys/class/virtio-ports/*/name 2>/dev/null | xargs cat"), 0);
    assert_string_equal(got.out, "org.qemu.guest_agent.0\n");
}

static void a_large_file_goes_in_and_out_whole(void **state) {
    (void)state;
    const char *path = large_file();
    MUST(vmctl_guest_copy_in(guest_vm, path, "/root/copied", NULL, &err));
    heard got;
    assert_int_equal(sh(&got, "stat -c '%s %a %Y' /root/copied"), 0);
    assert_string_equal(got.out, "25165824 750 1000000000\n");
    const char *back = scratch_file("back", "old", 3);
    MUST(vmctl_guest_copy_out(guest_vm, "/root/copied", back, NULL, &err));
    assert_int_equal(run_program((const char *const[]){"cmp", path, back, NULL}), 0);
    struct stat info;
    assert_int_equal(stat(back, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0750);
    assert_int_equal(info.st_mtim.tv_sec, 1000000000);
    assert_int_equal(sh(&got, "rm /root/copied"), 0);
    nothing_is_left();
}

static void small_files_folders_and_links(void **state) {
    (void)state;
    heard got;
    const char *path = scratch_file("small file", "a few words\n", 12), *empty = scratch_file("empty", "", 0);
    assert_int_equal(sh(&got, "mkdir /root/d; echo old > /root/d/real; chown ci /root/d/real; ln -s real /root/d/link"),
                     0);
    MUST(vmctl_guest_copy_in(guest_vm, path, "/root/d/", NULL, &err));
    MUST(vmctl_guest_copy_in(guest_vm, empty, "/root/d", NULL, &err));
    MUST(vmctl_guest_copy_in(guest_vm, path, "/root/d/link", NULL, &err));
    assert_int_equal(sh(&got, "cd /root/d; cat 'small file' real; stat -c '%s' empty; stat -c %U real; readlink link"),
                     0);
    assert_string_equal(got.out, "a few words\na few words\n0\nci\nreal\n");
    const char *back = scratch_file("small-back", "", 0);
    MUST(vmctl_guest_copy_out(guest_vm, "/root/d/link", back, NULL, &err));
    assert_int_equal(run_program((const char *const[]){"cmp", path, back, NULL}), 0);
    MUST(vmctl_guest_copy_out(guest_vm, "/proc/version", back, NULL, &err)); /* its size is told as 0 */
    assert_int_equal(run_program((const char *const[]){"grep", "-q", "Linux version", back, NULL}), 0);
    assert_int_equal(sh(&got, "rm -r /root/d"), 0);
    nothing_is_left();
}

static void a_copy_that_fails_leaves_all_as_it_was(void **state) {
    (void)state;
    heard got;
    const char *path = large_file(), *back = scratch_file("kept", "kept", 4);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_guest_copy_in(guest_vm, path, "/no/such/folder/x", NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_guest_copy_out(guest_vm, "/no/such/file", back, NULL, &err));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_guest_copy_out(guest_vm, "/etc", back, NULL, &err));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_guest_copy_in(guest_vm, path, "relative", NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_guest_copy_in(guest_vm, "/no/such/file", "/root/x", NULL, &err));
    assert_int_equal(sh(&got, "mkdir /root/small; mount -t tmpfs -o size=4m none /root/small; echo old >/root/small/x"),
                     0);
    FAILS(VMCTL_E_RESOURCE_EXHAUSTED, vmctl_guest_copy_in(guest_vm, path, "/root/small/x", NULL, &err));
    assert_int_equal(sh(&got, "cat /root/small/*; umount /root/small; rmdir /root/small"), 0);
    assert_string_equal(got.out, "old\n");
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    assert_int_equal(sh(&got, "echo old >/root/x"), 0);
    assert_int_equal(truncate(path, 512 << 20), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, call.cancel), 0);
    FAILS(VMCTL_E_CANCELLED, vmctl_guest_copy_in(guest_vm, path, "/root/x", &call, &err));
    pthread_join(thread, NULL);
    vmctl_cancel_free(call.cancel);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(sh(&got, "cat /root/x; rm /root/x"), 0);
    assert_string_equal(got.out, "old\n");
    assert_int_equal(run_program((const char *const[]){"grep", "-qx", "kept", back, NULL}), 0);
    nothing_is_left();
}

/* A guest that stands still in the middle of it: the call that does not return is given up, and what it held is let go of when it returns. */
typedef struct stalled_copy {
    vmctl_cancel *cancel;
    int64_t told_ms; /* the last report of progress; 0: none yet */
} stalled_copy;

static int pause_at_first(const vmctl_progress *progress, void *user) {
    stalled_copy *stalled = user;
    if (progress->done && !__atomic_load_n(&stalled->told_ms, __ATOMIC_ACQUIRE))
        MUST(vmctl_vm_pause(guest_vm, NULL, &err));
    if (progress->done)
        __atomic_store_n(&stalled->told_ms, now_ms(), __ATOMIC_RELEASE);
    return 0;
}

static void *cancel_when_still(void *user) {
    stalled_copy *stalled = user;
    for (int64_t until = now_ms() + PATIENCE_MS, told = 0; now_ms() < until; sleep_ms(100)) {
        told = __atomic_load_n(&stalled->told_ms, __ATOMIC_ACQUIRE);
        if (told && now_ms() - told > 2000)
            break;
    }
    vmctl_cancel_trigger(stalled->cancel);
    return NULL;
}

static void a_copy_that_stalls_can_be_given_up(void **state) {
    (void)state;
    heard got;
    const char *path = large_file();
    assert_int_equal(truncate(path, 512 << 20), 0);
    stalled_copy stalled = {.cancel = vmctl_cancel_new()};
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = stalled.cancel;
    call.progress = pause_at_first;
    call.user = &stalled;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_when_still, &stalled), 0);
    FAILS(VMCTL_E_CANCELLED, vmctl_guest_copy_in(guest_vm, path, "/root/x", &call, &err));
    pthread_join(thread, NULL);
    vmctl_cancel_free(call.cancel);
    MUST(vmctl_vm_resume(guest_vm, NULL, &err));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(sh(&got, "test -e /root/x"), 1);
    nothing_is_left();
}

static const contract_test tests[] = {
    TEST("guest.copy guest.copy.out", "guest_copy_in guest_copy_out", a_large_file_goes_in_and_out_whole),
    TEST("guest.copy guest.copy.out", "guest_copy_in guest_copy_out", small_files_folders_and_links),
    TEST("guest.copy guest.copy.out", "guest_copy_in guest_copy_out", a_copy_that_fails_leaves_all_as_it_was),
    TEST("guest.copy", "guest_copy_in", a_copy_that_stalls_can_be_given_up),
};
const contract_group guest_copying = {.tests = tests, .count = sizeof tests / sizeof tests[0], .more = &guest_inside};
