/* guest.c - inside a real Debian, through its agent. One VM, booted once for all of the tests: each leaves it as it was. */
#include "contract.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

static vmctl_vm *debian;

static void boot(void) {
    const char *image = getenv("VMCTL_CONTRACT_DEBIAN");
    if (!image || access(image, R_OK) != 0) {
        const char *ci = getenv("CI");
        fprintf(stderr,
                "contract: VMCTL_CONTRACT_DEBIAN does not name the Debian image (tests/guests/debian makes it)\n");
        exit(ci && strcmp(ci, "true") == 0 ? 1 : 77);
    }
    debian = make_started("guest-debian",
                          "cpus: 2\nmemory: 1GiB\nmachine: pc\nguestAgent: true\nrng: true\n"
                          "disks: [{name: root, image: %s, size: 4GiB}]\n"
                          "networks: [{name: lan, type: nat}, {name: far, type: user}]\n"
                          "cloudInit: {hostname: guest-debian, user: ci}",
                          image);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 600000;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_vm_wait(debian, "cloud-init", &options, &err));
}

static void leave(void) {
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_delete(debian, &options, &err));
    vmctl_vm_free(debian);
}

/* --- running something there ------------------------------------------------------------------------------------ */

typedef struct heard {
    char out[4096], err[4096];
    size_t out_length, err_length; /* all that came, more than is kept */
    int64_t first_ms;
    unsigned zeros; /* bytes that are 'x' */
} heard;

static int take_out(const void *bytes, size_t length, void *user) {
    heard *to = user;
    if (!to->first_ms)
        to->first_ms = now_ms();
    for (size_t i = 0; i < length; i++)
        to->zeros += ((const char *)bytes)[i] == 'x';
    size_t room = to->out_length < sizeof to->out - 1 ? sizeof to->out - 1 - to->out_length : 0;
    memcpy(to->out + (to->out_length < sizeof to->out ? to->out_length : 0), bytes, length < room ? length : room);
    to->out_length += length;
    return 0;
}

static int take_err(const void *bytes, size_t length, void *user) {
    heard *to = user;
    size_t room = to->err_length < sizeof to->err - 1 ? sizeof to->err - 1 - to->err_length : 0;
    memcpy(to->err + (to->err_length < sizeof to->err ? to->err_length : 0), bytes, length < room ? length : room);
    to->err_length += length;
    return 0;
}

static vmctl_exec_options listen_to(heard *to) {
    vmctl_exec_options options = VMCTL_EXEC_OPTIONS_INIT;
    memset(to, 0, sizeof *to);
    options.output = take_out;
    options.error = take_err;
    options.user = to;
    return options;
}

/* Runs a shell's line there; its status. */
static int sh(heard *to, const char *line) {
    vmctl_exec_options options = listen_to(to);
    int status = -1;
    MUST(vmctl_guest_exec(debian, (const char *const[]){"sh", "-c", line, NULL}, &options, &status, &err));
    return status;
}

static void leaves_no_file(void) {
    heard got;
    /* Its own folder is the only one. */
    assert_int_equal(sh(&got, "ls -d /tmp/vmctl-* | wc -l"), 0);
    assert_string_equal(got.out, "1\n");
}

/* --- exec ------------------------------------------------------------------------------------------------------------ */

static void exec_tells_output_and_status(void **state) {
    (void)state;
    heard got;
    assert_int_equal(sh(&got, "echo to stdout; echo to stderr >&2; exit 7"), 7);
    assert_string_equal(got.out, "to stdout\n");
    assert_string_equal(got.err, "to stderr\n");
    assert_int_equal(sh(&got, "kill -9 $$"), 128 + SIGKILL);
    vmctl_exec_options options = listen_to(&got);
    int status = -1;
    MUST(vmctl_guest_exec(debian, (const char *const[]){"no-such-program", NULL}, &options, &status, &err));
    assert_int_equal(status, 127);
    MUST(vmctl_guest_exec(debian, (const char *const[]){"printf", "<%s>", "a b", "", "$(id)'\"", NULL}, &options,
                          &status, &err));
    assert_string_equal(got.out, "<a b><><$(id)'\">");
    leaves_no_file();
}

static void exec_gives_the_environment(void **state) {
    (void)state;
    heard got;
    vmctl_exec_options options = listen_to(&got);
    options.environment = (const char *const[]){"VMCTL_TEST=one two", NULL};
    int status = -1;
    MUST(vmctl_guest_exec(debian, (const char *const[]){"sh", "-c", "echo \"$VMCTL_TEST\"; command -v ls", NULL},
                          &options, &status, &err));
    assert_int_equal(status, 0);
    assert_string_equal(got.out, "one two\n/usr/bin/ls\n");
}

static void exec_feeds_standard_input(void **state) {
    (void)state;
    heard got;
    vmctl_exec_options options = listen_to(&got);
    options.input = "first\nlast";
    options.input_length = 10;
    int status = -1;
    MUST(vmctl_guest_exec(debian, (const char *const[]){"cat", NULL}, &options, &status, &err));
    assert_string_equal(got.out, "first\nlast");
    options = listen_to(&got);
    MUST(vmctl_guest_exec(debian, (const char *const[]){"wc", "-c", NULL}, &options, &status, &err));
    assert_string_equal(got.out, "0\n");
    leaves_no_file();
}

/* What is written to a pipe while the command runs comes back before its end is written. */
typedef struct talk {
    int to;
    heard got;
} talk;

static int answer(const void *bytes, size_t length, void *user) {
    talk *t = user;
    take_out(bytes, length, &t->got);
    if (strstr(t->got.out, "ping") && t->to >= 0) {
        close(t->to);
        t->to = -1;
    }
    return 0;
}

static void exec_streams_both_ways(void **state) {
    (void)state;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    talk t = {.to = ends[1]};
    assert_int_equal(write(ends[1], "ping\n", 5), 5);
    vmctl_exec_options options = VMCTL_EXEC_OPTIONS_INIT;
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 60000;
    options.call = &call;
    options.input_fd = ends[0];
    options.output = answer;
    options.user = &t;
    int status = -1;
    MUST(vmctl_guest_exec(debian, (const char *const[]){"cat", NULL}, &options, &status, &err));
    close(ends[0]);
    assert_int_equal(status, 0);
    assert_string_equal(t.got.out, "ping\n");

    heard got;
    assert_int_equal(sh(&got, "echo now; sleep 4; echo later"), 0);
    assert_true(now_ms() - got.first_ms >= 200);
    assert_string_equal(got.out, "now\nlater\n");
    leaves_no_file();
}

static void exec_gives_large_output_whole(void **state) {
    (void)state;
    heard got;
    assert_int_equal(sh(&got, "head -c 3000001 /dev/zero | tr '\\0' x; head -c 200000 /dev/zero >&2"), 0);
    assert_int_equal(got.out_length, 3000001);
    assert_int_equal(got.zeros, 3000001);
    assert_int_equal(got.err_length, 200000);
    leaves_no_file();
}

static void *cancel_soon(void *token) {
    sleep_ms(1500);
    vmctl_cancel_trigger(token);
    return NULL;
}

static void exec_that_is_given_up_is_ended_in_the_guest(void **state) {
    (void)state;
    heard got;
    vmctl_exec_options options = listen_to(&got);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 5000; /* enough for it to begin */
    options.call = &call;
    const char *const line[] = {"sh", "-c", "sleep 4711 & sleep 4711", NULL};
    FAILS(VMCTL_E_TIMEOUT, vmctl_guest_exec(debian, line, &options, NULL, &err));
    assert_non_null(strstr(failure, "was ended"));
    call.timeout_ms = 0;
    call.cancel = vmctl_cancel_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, call.cancel), 0);
    FAILS(VMCTL_E_CANCELLED, vmctl_guest_exec(debian, line, &options, NULL, &err));
    pthread_join(thread, NULL);
    vmctl_cancel_free(call.cancel);
    assert_int_equal(sh(&got, "pgrep -x sleep"), 1);
    leaves_no_file();
}

static void exec_needs_a_running_vm_with_an_agent(void **state) {
    (void)state;
    vmctl_vm *vm = make("guest-none", "%s", "");
    const char *const argv[] = {"true", NULL};
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_exec(vm, argv, NULL, NULL, &err));
    assert_non_null(strstr(failure, "vmctl start guest-none"));
    start(vm);
    FAILS(VMCTL_E_UNSUPPORTED, vmctl_guest_exec(vm, argv, NULL, NULL, &err));
    assert_non_null(strstr(failure, "guestAgent=true"));
    vmctl_vm_free(vm);
}

/* An agent that hangs: the answer is a timeout within seconds, and all is well when it goes on. */
static void a_hanging_agent_is_a_timeout(void **state) {
    (void)state;
    heard got;
    const char *const go[] = {"touch", "/root/go", NULL};
    assert_int_equal(sh(&got,
                        "p=$(pgrep -x qemu-ga) || exit 1; (until [ -e /root/go ]; do sleep 0.1; done; kill -STOP $p; "
                        "sleep 45; kill -CONT $p; rm /root/go) >/dev/null 2>&1 &"),
                     0);
    /* The one that gives the sign, or one after it, finds the agent stopped. */
    int rc = vmctl_guest_exec(debian, go, NULL, NULL, NULL);
    for (int64_t until = now_ms() + PATIENCE_MS; rc == 0 && now_ms() < until; sleep_ms(100))
        rc = vmctl_guest_exec(debian, go, NULL, NULL, NULL);
    assert_int_equal(rc, VMCTL_E_TIMEOUT);
    int64_t began = now_ms();
    FAILS(VMCTL_E_TIMEOUT, vmctl_guest_exec(debian, go, NULL, NULL, &err));
    assert_true(now_ms() - began < 40000); /* libvirt waits 5 s for a sign of life before it sends a command */
    assert_non_null(strstr(failure, "does not answer"));
    assert_non_null(strstr(failure, "restart qemu-guest-agent"));
    FAILS(VMCTL_E_TIMEOUT, vmctl_guest_freeze(debian, NULL, NULL, &err));
    assert_int_equal(state_of(debian), VMCTL_STATE_RUNNING);
    rc = -1;
    for (int64_t until = now_ms() + 60000; rc < 0 && now_ms() < until; sleep_ms(500))
        rc = vmctl_guest_exec(debian, (const char *const[]){"true", NULL}, NULL, NULL, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(sh(&got, "echo well"), 0);
    assert_string_equal(got.out, "well\n");
    /* What was given up may have left its folder; this command's own output is in one, too. */
    assert_int_equal(sh(&got, "rm -rf /tmp/vmctl-* /root/go"), 0);
}

/* --- copying ------------------------------------------------------------------------------------------------------- */

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
    MUST(vmctl_vm_native(debian, NULL, &native, &err));
    assert_null(strstr(native, "org.vmctl.copy"));
    vmctl_string_free(native);
    assert_int_equal(sh(&got, "ls -d /root/*.vmctl-* /sys/class/virtio-ports/*/name 2>/dev/null | xargs cat"), 0);
    assert_string_equal(got.out, "org.qemu.guest_agent.0\n");
}

static void a_large_file_goes_in_and_out_whole(void **state) {
    (void)state;
    const char *path = large_file();
    MUST(vmctl_guest_copy_in(debian, path, "/root/copied", NULL, &err));
    heard got;
    assert_int_equal(sh(&got, "stat -c '%s %a %Y' /root/copied"), 0);
    assert_string_equal(got.out, "25165824 750 1000000000\n");
    const char *back = scratch_file("back", "old", 3);
    MUST(vmctl_guest_copy_out(debian, "/root/copied", back, NULL, &err));
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
    MUST(vmctl_guest_copy_in(debian, path, "/root/d/", NULL, &err));
    MUST(vmctl_guest_copy_in(debian, empty, "/root/d", NULL, &err));
    MUST(vmctl_guest_copy_in(debian, path, "/root/d/link", NULL, &err));
    assert_int_equal(sh(&got, "cd /root/d; cat 'small file' real; stat -c '%s' empty; stat -c %U real; readlink link"),
                     0);
    assert_string_equal(got.out, "a few words\na few words\n0\nci\nreal\n");
    const char *back = scratch_file("small-back", "", 0);
    MUST(vmctl_guest_copy_out(debian, "/root/d/link", back, NULL, &err));
    assert_int_equal(run_program((const char *const[]){"cmp", path, back, NULL}), 0);
    MUST(vmctl_guest_copy_out(debian, "/proc/version", back, NULL, &err)); /* its size is told as 0 */
    assert_int_equal(run_program((const char *const[]){"grep", "-q", "Linux version", back, NULL}), 0);
    assert_int_equal(sh(&got, "rm -r /root/d"), 0);
    nothing_is_left();
}

static void a_copy_that_fails_leaves_all_as_it_was(void **state) {
    (void)state;
    heard got;
    const char *path = large_file(), *back = scratch_file("kept", "kept", 4);
    FAILS(VMCTL_E_NOT_FOUND, vmctl_guest_copy_in(debian, path, "/no/such/folder/x", NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_guest_copy_out(debian, "/no/such/file", back, NULL, &err));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_guest_copy_out(debian, "/etc", back, NULL, &err));
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_guest_copy_in(debian, path, "relative", NULL, &err));
    FAILS(VMCTL_E_NOT_FOUND, vmctl_guest_copy_in(debian, "/no/such/file", "/root/x", NULL, &err));
    assert_int_equal(sh(&got, "mkdir /root/small; mount -t tmpfs -o size=4m none /root/small; echo old >/root/small/x"),
                     0);
    FAILS(VMCTL_E_RESOURCE_EXHAUSTED, vmctl_guest_copy_in(debian, path, "/root/small/x", NULL, &err));
    assert_int_equal(sh(&got, "cat /root/small/*; umount /root/small; rmdir /root/small"), 0);
    assert_string_equal(got.out, "old\n");
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = vmctl_cancel_new();
    assert_int_equal(sh(&got, "echo old >/root/x"), 0);
    assert_int_equal(truncate(path, 512 << 20), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, call.cancel), 0);
    FAILS(VMCTL_E_CANCELLED, vmctl_guest_copy_in(debian, path, "/root/x", &call, &err));
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
        MUST(vmctl_vm_pause(debian, NULL, &err));
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
    FAILS(VMCTL_E_CANCELLED, vmctl_guest_copy_in(debian, path, "/root/x", &call, &err));
    pthread_join(thread, NULL);
    vmctl_cancel_free(call.cancel);
    MUST(vmctl_vm_resume(debian, NULL, &err));
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(sh(&got, "test -e /root/x"), 1);
    nothing_is_left();
}

/* --- file systems, passwords ----------------------------------------------------------------------------------------- */

static void freeze_holds_the_file_systems_and_thaw_lets_go(void **state) {
    (void)state;
    notes heard_notes = {0};
    vmctl_call call = call_noting(&heard_notes);
    int count = -1;
    MUST(vmctl_guest_freeze(debian, &count, &call, &err));
    assert_int_equal(count, 1); /* the root is its only one on a disk */
    assert_int_equal(heard_notes.count, 0);
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_exec(debian, (const char *const[]){"true", NULL}, NULL, NULL, &err));
    assert_non_null(strstr(failure, "frozen"));
    assert_non_null(strstr(failure, "vmctl thaw guest-debian"));
    MUST(vmctl_guest_freeze(debian, &count, &call, &err));
    assert_int_equal(heard_notes.count, 1);
    assert_int_equal(count, -1);
    MUST(vmctl_guest_thaw(debian, &count, &call, &err));
    assert_int_equal(count, 1);
    MUST(vmctl_guest_thaw(debian, &count, &call, &err));
    assert_int_equal(count, 0);
    assert_int_equal(heard_notes.count, 2);
    heard got;
    assert_int_equal(sh(&got, "echo x > /root/after-thaw && sync && rm /root/after-thaw"), 0);
}

static void set_password_changes_shadow(void **state) {
    (void)state;
    heard before, after;
    assert_int_equal(sh(&before, "grep ^ci: /etc/shadow"), 0);
    MUST(vmctl_guest_set_password(debian, "ci", "correct horse", NULL, &err));
    assert_int_equal(sh(&after, "grep ^ci: /etc/shadow"), 0);
    assert_string_not_equal(before.out, after.out);
    assert_null(strstr(after.out, "correct horse"));
    FAILS(VMCTL_E_INVALID_ARGUMENT,
          vmctl_guest_set_password(debian, "nobody-of-that-name", "correct horse", NULL, &err));
    assert_null(strstr(failure, "correct horse"));
}

/* --- port forwards ---------------------------------------------------------------------------------------------------- */

typedef struct forwarded {
    vmctl_cancel *cancel;
    pthread_t thread;
    int port, rc;
    char way[128], failure[512];
} forwarded;

static void on_ready(const vmctl_forward *forward, const char *way, void *user) {
    forwarded *f = user;
    snprintf(f->way, sizeof f->way, "%s", way);
    __atomic_store_n(&f->port, forward->local, __ATOMIC_RELEASE);
}

static void *forward_ssh(void *opaque) {
    forwarded *f = opaque;
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = f->cancel;
    vmctl_forward_options options = VMCTL_FORWARD_OPTIONS_INIT;
    options.call = &call;
    options.ready = on_ready;
    options.user = f;
    vmctl_forward forward = VMCTL_FORWARD_INIT;
    forward.guest = 22;
    vmctl_error *why = NULL;
    f->rc = vmctl_guest_forward(debian, &forward, 1, &options, &why);
    snprintf(f->failure, sizeof f->failure, "%s", why ? vmctl_error_text(why) : "");
    vmctl_error_free(why);
    return NULL;
}

static void begin_forward(forwarded *f) {
    *f = (forwarded){.cancel = vmctl_cancel_new()};
    assert_int_equal(pthread_create(&f->thread, NULL, forward_ssh, f), 0);
    for (int64_t until = now_ms() + PATIENCE_MS; !__atomic_load_n(&f->port, __ATOMIC_ACQUIRE) && now_ms() < until;)
        sleep_ms(20);
    if (!f->port) {
        vmctl_cancel_trigger(f->cancel);
        pthread_join(f->thread, NULL);
        print_error("%s\n", f->failure);
        fail();
    }
}

static int dial(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {20, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0)
        return fd;
    close(fd);
    return -1;
}

static void end_forward(forwarded *f) {
    vmctl_cancel_trigger(f->cancel);
    pthread_join(f->thread, NULL);
    vmctl_cancel_free(f->cancel);
    if (f->rc)
        print_error("%s\n", f->failure);
    assert_int_equal(f->rc, 0);
    assert_int_equal(dial(f->port), -1); /* nobody listens there any more */
}

/* Several at once, and the guest's sshd greets each. */
static void greets(int port) {
    int fds[5];
    for (int i = 0; i < 5; i++)
        fds[i] = dial(port);
    for (int i = 0; i < 5; i++) {
        char text[8] = "";
        assert_true(fds[i] >= 0);
        assert_int_equal(recv(fds[i], text, 4, MSG_WAITALL), 4);
        assert_string_equal(text, "SSH-");
    }
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

static void forwards_to_the_address(void **state) {
    (void)state;
    forwarded f;
    begin_forward(&f);
    assert_non_null(strstr(f.way, "directly"));
    greets(f.port);
    end_forward(&f);
}

/* The guest gives its reachable address up, so that only the NIC of user networking is left. */
static void forwards_by_user_networking(void **state) {
    (void)state;
    heard got;
    assert_int_equal(sh(&got,
                        "set -e; ip link set eth0 down; ip link set eth1 up; ip address replace 10.0.2.15/24 dev eth1; "
                        "ip route replace default via 10.0.2.2"),
                     0);
    forwarded f;
    begin_forward(&f);
    assert_non_null(strstr(f.way, "user networking"));
    greets(f.port);
    end_forward(&f);
    assert_int_equal(sh(&got, "ip route del default via 10.0.2.2; ip link set eth1 down; ip link set eth0 up"), 0);
}

static void forwards_of_a_stopped_vm_are_refused(void **state) {
    (void)state;
    vmctl_vm *vm = make("guest-off", "%s", "");
    vmctl_forward forward = VMCTL_FORWARD_INIT;
    forward.guest = 22;
    FAILS(VMCTL_E_INVALID_STATE, vmctl_guest_forward(vm, &forward, 1, NULL, &err));
    forward.guest = 0;
    FAILS(VMCTL_E_INVALID_ARGUMENT, vmctl_guest_forward(vm, &forward, 1, NULL, &err));
    vmctl_vm_free(vm);
}

/* --- addresses ---------------------------------------------------------------------------------------------------------- */

static int take_addresses(const vmctl_vm_info *info, void *user) {
    char *text = user;
    for (size_t i = 0; i < info->address_count; i++)
        snprintf(text + strlen(text), 1024 - strlen(text), "%s %s\n", info->addresses[i].ip, info->addresses[i].source);
    return 0;
}

static int take_inside(const vmctl_vm_info *info, void *user) {
    char *text = user;
    const vmctl_guest *guest = info->present & VMCTL_FACT_GUEST ? info->guest : NULL;
    if (!guest)
        return 0;
    snprintf(text, 1024, "%s|%s|%s|%s\n", guest->os_id ? guest->os_id : "", guest->hostname ? guest->hostname : "",
             guest->kernel ? guest->kernel : "", guest->arch ? guest->arch : "");
    for (size_t i = 0; i < guest->filesystem_count; i++)
        snprintf(text + strlen(text), 1024 - strlen(text), "%s %s %s\n", guest->filesystems[i].mount,
                 guest->filesystems[i].type,
                 guest->filesystems[i].used_bytes &&
                         guest->filesystems[i].used_bytes < guest->filesystems[i].total_bytes
                     ? "used in part"
                     : "?");
    return 0;
}

static void the_agent_tells_what_is_inside(void **state) {
    (void)state;
    heard got;
    char text[1024] = "", wanted[256];
    assert_int_equal(sh(&got, "uname -r"), 0);
    snprintf(wanted, sizeof wanted, "debian|guest-debian|%.*s|x86_64\n", (int)strcspn(got.out, "\n"), got.out);
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    MUST(vmctl_vm_get(debian, &options, take_inside, text, &err));
    print_message("%s", text);
    assert_memory_equal(text, wanted, strlen(wanted));
    assert_non_null(strstr(text, "\n/ ext4 used in part\n"));
    /* Not asked for: not there, and one whose CPUs stand still is not asked either. */
    *text = '\0';
    options.facts = VMCTL_FACT_STATE;
    MUST(vmctl_vm_get(debian, &options, take_inside, text, &err));
    assert_string_equal(text, "");
    MUST(vmctl_vm_pause(debian, NULL, &err));
    options.facts = VMCTL_FACTS_ALL;
    MUST(vmctl_vm_get(debian, &options, take_inside, text, &err));
    assert_string_equal(text, "");
    MUST(vmctl_vm_resume(debian, NULL, &err));
}

static void addresses_leave_container_bridges_out(void **state) {
    (void)state;
    heard got;
    char text[1024] = "";
    assert_int_equal(sh(&got, "set -e; ip link add docker0 type dummy; ip address add 172.17.0.1/16 dev docker0; "
                              "ip link set docker0 up"),
                     0);
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    options.facts = VMCTL_FACT_ADDRESSES;
    MUST(vmctl_vm_get(debian, &options, take_addresses, text, &err));
    assert_int_equal(sh(&got, "ip link del docker0"), 0);
    print_message("%s", text);
    assert_non_null(strstr(text, "192.168."));
    assert_non_null(strstr(text, " agent\n"));
    assert_null(strstr(text, "172.17.0.1"));
}

/* --- its memory --------------------------------------------------------------------------------------------------------- */

/* What the guest's kernel has: the balloon driver takes pages out of MemTotal (Linux, virtio_balloon.c, adjust_managed_page_count). */
static long guest_mib(void) {
    heard got;
    assert_int_equal(sh(&got, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo"), 0);
    long kib = strtol(got.out, NULL, 10);
    assert_in_range(kib, 1, 1 << 30);
    return kib / 1024;
}

static void memory_goes_into_the_balloon_and_comes_back(void **state) {
    (void)state;
    static const struct {
        const char *size;
        unsigned mib, taken;
    } steps[] = {{"768MiB", 768, 256}, {"896MiB", 896, 128}, {"1GiB", 1024, 0}};
    long whole = guest_mib();
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        effects told = {0};
        MUST(change(debian, "memory", steps[i].size, true, false, &told));
        assert_int_equal(told.now, 1);
        assert_int_equal(told.at_restart, 0);
        static seen facts;
        look(debian, &facts);
        assert_int_equal(facts.memory_mib, steps[i].mib);
        assert_in_range(whole - guest_mib() - (long)steps[i].taken + 16, 0, 32);
    }
}

static const contract_test tests[] = {
    TEST("memory.balloon", "change", memory_goes_into_the_balloon_and_comes_back),
    TEST("guest.exec", "guest_exec", exec_tells_output_and_status),
    TEST("guest.exec", "guest_exec", exec_gives_the_environment),
    TEST("guest.exec", "guest_exec", exec_feeds_standard_input),
    TEST("guest.exec", "guest_exec", exec_streams_both_ways),
    TEST("guest.exec", "guest_exec", exec_gives_large_output_whole),
    TEST("guest.exec", "guest_exec", exec_that_is_given_up_is_ended_in_the_guest),
    TEST("guest.exec", "guest_exec", exec_needs_a_running_vm_with_an_agent),
    TEST("guest.copy guest.copy.out", "guest_copy_in guest_copy_out", a_large_file_goes_in_and_out_whole),
    TEST("guest.copy guest.copy.out", "guest_copy_in guest_copy_out", small_files_folders_and_links),
    TEST("guest.copy guest.copy.out", "guest_copy_in guest_copy_out", a_copy_that_fails_leaves_all_as_it_was),
    TEST("guest.copy", "guest_copy_in", a_copy_that_stalls_can_be_given_up),
    TEST("guest.freeze guest.thaw", "guest_freeze guest_thaw", freeze_holds_the_file_systems_and_thaw_lets_go),
    TEST("guest.password", "guest_set_password", set_password_changes_shadow),
    TEST("guest.info", "get pause", the_agent_tells_what_is_inside),
    TEST("guest.addresses", "get", addresses_leave_container_bridges_out),
    TEST("guest.forward", "guest_forward", forwards_to_the_address),
    TEST("guest.forward", "guest_forward undo", forwards_by_user_networking),
    TEST("guest.forward", "guest_forward", forwards_of_a_stopped_vm_are_refused),
    TEST("guest.exec", "guest_exec guest_freeze", a_hanging_agent_is_a_timeout),
};

const contract_group group_guest = {"guest", tests, sizeof tests / sizeof tests[0], boot, leave};
