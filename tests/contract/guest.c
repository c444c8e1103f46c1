/* guest.c - programs in a guest, through its agent. */
#include "guest.h"

#include <fcntl.h>
#include <signal.h>

vmctl_vm *guest_vm;

/* The endpoint's own image; its agent is there, and nothing runs in it. */
static void boot_image(void) {
    guest_vm = make_started("guest-debian",
                            "memory: 1GiB\nguestAgent: true\nnetworks: [{name: lan, type: nat}]\n"
                            "disks: [{name: root, image: %s}]\n"
                            "kubevirt: {patch: [{op: add, path: /spec/template/metadata/annotations, value: "
                            "{vmctl.test/ports: '{\"22\": %d}'}}]}",
                            profile->agent_image, begin_greeting());
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = PATIENCE_MS;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_vm_wait(guest_vm, "agent", &options, &err));
}

static void boot(void) {
    if (profile->agent_image) {
        boot_image();
        return;
    }
    const char *image = getenv("VMCTL_CONTRACT_DEBIAN");
    if (!image || access(image, R_OK) != 0) {
        const char *ci = getenv("CI");
        fprintf(stderr,
                "contract: VMCTL_CONTRACT_DEBIAN does not name the Debian image (tests/guests/debian makes it)\n");
        exit(ci && strcmp(ci, "true") == 0 ? 1 : 77);
    }
    guest_vm = make_started("guest-debian",
                            "cpus: 2\nmemory: 1GiB\nmachine: pc\nguestAgent: true\nrng: true\n"
                            "disks: [{name: root, image: %s, size: 4GiB}]\n"
                            "networks: [{name: lan, type: nat}, {name: far, type: user}]\n"
                            "cloudInit: {hostname: guest-debian, user: ci}",
                            image);
    vmctl_call call = VMCTL_CALL_INIT;
    call.timeout_ms = 600000;
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    options.call = &call;
    MUST(vmctl_vm_wait(guest_vm, "cloud-init", &options, &err));
}

static void leave(void) {
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    options.force = true;
    MUST(vmctl_vm_delete(guest_vm, &options, &err));
    vmctl_vm_free(guest_vm);
    if (profile->agent_image)
        end_greeting();
}

/* --- running something there ------------------------------------------------------------------------------------ */

int take_out(const void *bytes, size_t length, void *user) {
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

vmctl_exec_options listen_to(heard *to) {
    vmctl_exec_options options = VMCTL_EXEC_OPTIONS_INIT;
    memset(to, 0, sizeof *to);
    options.output = take_out;
    options.error = take_err;
    options.user = to;
    return options;
}

int sh(heard *to, const char *line) {
    vmctl_exec_options options = listen_to(to);
    int status = -1;
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"sh", "-c", line, NULL}, &options, &status, &err));
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
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"no-such-program", NULL}, &options, &status, &err));
    assert_int_equal(status, 127);
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"printf", "<%s>", "a b", "", "$(id)'\"", NULL}, &options,
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
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"sh", "-c", "echo \"$VMCTL_TEST\"; command -v ls", NULL},
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
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"cat", NULL}, &options, &status, &err));
    assert_string_equal(got.out, "first\nlast");
    options = listen_to(&got);
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"wc", "-c", NULL}, &options, &status, &err));
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
    MUST(vmctl_guest_exec(guest_vm, (const char *const[]){"cat", NULL}, &options, &status, &err));
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

void *cancel_soon(void *token) {
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
    FAILS(VMCTL_E_TIMEOUT, vmctl_guest_exec(guest_vm, line, &options, NULL, &err));
    assert_non_null(strstr(failure, "was ended"));
    call.timeout_ms = 0;
    call.cancel = vmctl_cancel_new();
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, call.cancel), 0);
    FAILS(VMCTL_E_CANCELLED, vmctl_guest_exec(guest_vm, line, &options, NULL, &err));
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
    int rc = vmctl_guest_exec(guest_vm, go, NULL, NULL, NULL);
    for (int64_t until = now_ms() + PATIENCE_MS; rc == 0 && now_ms() < until; sleep_ms(100))
        rc = vmctl_guest_exec(guest_vm, go, NULL, NULL, NULL);
    assert_int_equal(rc, VMCTL_E_TIMEOUT);
    int64_t began = now_ms();
    FAILS(VMCTL_E_TIMEOUT, vmctl_guest_exec(guest_vm, go, NULL, NULL, &err));
    assert_true(now_ms() - began < 40000); /* libvirt waits 5 s for a sign of life before it sends a command */
    assert_non_null(strstr(failure, "does not answer"));
    assert_non_null(strstr(failure, "restart qemu-guest-agent"));
    FAILS(VMCTL_E_TIMEOUT, vmctl_guest_freeze(guest_vm, NULL, NULL, &err));
    assert_int_equal(state_of(guest_vm), VMCTL_STATE_RUNNING);
    rc = -1;
    for (int64_t until = now_ms() + 60000; rc < 0 && now_ms() < until; sleep_ms(500))
        rc = vmctl_guest_exec(guest_vm, (const char *const[]){"true", NULL}, NULL, NULL, NULL);
    assert_int_equal(rc, 0);
    assert_int_equal(sh(&got, "echo well"), 0);
    assert_string_equal(got.out, "well\n");
    /* What was given up may have left its folder; this command's own output is in one, too. */
    assert_int_equal(sh(&got, "rm -rf /tmp/vmctl-* /root/go"), 0);
}

static const contract_test tests[] = {
    TEST("guest.exec", "guest_exec", exec_tells_output_and_status),
    TEST("guest.exec", "guest_exec", exec_gives_the_environment),
    TEST("guest.exec", "guest_exec", exec_feeds_standard_input),
    TEST("guest.exec", "guest_exec", exec_streams_both_ways),
    TEST("guest.exec", "guest_exec", exec_gives_large_output_whole),
    TEST("guest.exec", "guest_exec", exec_that_is_given_up_is_ended_in_the_guest),
    TEST("guest.exec", "guest_exec", exec_needs_a_running_vm_with_an_agent),
    TEST("guest.exec", "guest_exec guest_freeze", a_hanging_agent_is_a_timeout),
};
const contract_group group_guest = {"guest", tests, sizeof tests / sizeof tests[0], boot, leave, &guest_copying};
