/* What a CI harness does with a hypervisor: picks one that can do what the job needs, asks whether it is possible here and with this VM, makes
 * the VM, waits for what its serial port is to say, and leaves nothing behind, whatever happens.
 *
 *   cc ci-harness.c $(pkg-config --cflags --libs vmctl) -o ci-harness
 *   ./ci-harness debian.qcow2 "login:" snapshot.memory console.serial
 *
 * Exit status: 0, 1 (the text did not come), or that of vmctl (3: what is needed is missing; the reasons are on stderr).
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <vmctl/vmctl.h>

enum { BOOT_SECONDS = 120 };

static vmctl_cancel *interrupted;

static void on_signal(int number) {
    (void)number;
    vmctl_cancel_trigger(interrupted);
}

static int show_missing(const vmctl_cap *cap, void *user) {
    (void)user;
    const char *why = cap->probed && cap->here == VMCTL_LEVEL_NO ? cap->here_reason : cap->vmctl_reason;
    fprintf(stderr, "%s: %s lacks it%s%s\n", cap->feature, cap->backend, why ? ": " : "", why ? why : "");
    if (cap->probed && cap->here_remedy)
        fprintf(stderr, "  try: %s\n", cap->here_remedy);
    return 0;
}

/* Reads the serial port until the text has come. 0, 1: it did not within the time. */
static int read_until(vmctl_stream *console, const char *text) {
    char seen[65536] = "";
    size_t length = 0;
    time_t end = time(NULL) + BOOT_SECONDS;

    while (time(NULL) < end && length < sizeof seen - 1 && !vmctl_cancel_triggered(interrupted)) {
        struct pollfd wait[] = {{.fd = vmctl_stream_fd(console), .events = POLLIN},
                                {.fd = vmctl_cancel_fd(interrupted), .events = POLLIN}};
        if (poll(wait, 2, 1000) <= 0 || !wait[0].revents)
            continue;
        ssize_t got = read(wait[0].fd, seen + length, sizeof seen - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
        seen[length] = 0;
        if (strstr(seen, text))
            return 0;
    }
    if (vmctl_cancel_triggered(interrupted))
        return 1;
    fprintf(stderr, "ci-harness: \"%s\" did not come; the last that did: %s\n", text,
            length > 200 ? seen + length - 200 : seen);
    return 1;
}

/* The job itself, on the VM that runs. */
static int job(vmctl_vm *vm, const vmctl_call *call, const char *text, int *failed, vmctl_error **err) {
    vmctl_console_options options = VMCTL_CONSOLE_OPTIONS_INIT;
    vmctl_stream *console = NULL;

    options.call = call;
    int code = vmctl_console_open(vm, &options, &console, err);
    if (code == 0)
        *failed = read_until(console, text);
    vmctl_stream_close(console, NULL);
    return code == 0 && vmctl_cancel_triggered(interrupted) ? VMCTL_E_CANCELLED : code;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: ci-harness IMAGE TEXT [FEATURE...]\n");
        return 2;
    }
    static const char *const least[] = {"lifecycle.create", "console.serial", NULL};
    const char *const *features = argc > 3 ? (const char *const *)argv + 3 : least;
    vmctl_error *err = NULL;
    vmctl_connection *connection = NULL;
    vmctl_spec *spec = vmctl_spec_new();
    vmctl_vm *vm = NULL;
    const char *backend = NULL;
    int failed = 0;
    char name[32];

    interrupted = vmctl_cancel_new();
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    vmctl_call call = VMCTL_CALL_INIT;
    call.cancel = interrupted;
    snprintf(name, sizeof name, "ci-%ld", (long)getpid());

    /* Which hypervisor can: asks nobody. Then: is it possible on its endpoint? */
    vmctl_caps_options caps = VMCTL_CAPS_OPTIONS_INIT;
    vmctl_connect_options connect = VMCTL_CONNECT_OPTIONS_INIT;
    int code = vmctl_caps_require(&caps, features, &backend, show_missing, NULL, &err);
    connect.call = caps.call = &call;
    connect.backend = backend;
    if (code == 0)
        code = vmctl_connect(&connect, &connection, &err);
    caps.connection = connection;
    if (code == 0)
        code = vmctl_caps_require(&caps, features, NULL, show_missing, NULL, &err);

    /* The VM: should this process be killed, `vmctl reap` removes it after its lifetime. */
    vmctl_create_options create = VMCTL_CREATE_OPTIONS_INIT;
    create.call = &call;
    create.start = true;
    if (code == 0)
        code = vmctl_spec_set(spec, "name", name, &err);
    if (code == 0)
        code = vmctl_spec_set(spec, "memory", "256MiB", &err);
    if (code == 0)
        code = vmctl_spec_set(spec, "lifetime", "1h", &err);
    if (code == 0)
        code = vmctl_spec_set(spec, "disks.root.image", argv[1], &err);
    if (code == 0)
        code = vmctl_spec_set(spec, "disks.root.format", "qcow2", &err); /* which snapshots need */
    if (code == 0)
        code = vmctl_create(connection, spec, &create, &vm, &err);

    /* And with this VM, as it is now? */
    caps.vm = vm;
    if (code == 0)
        code = vmctl_caps_require(&caps, features, NULL, show_missing, NULL, &err);
    if (code == 0)
        code = job(vm, &call, argv[2], &failed, &err);

    /* Clean up, also after a failure or a signal: with a call of its own, which nothing has cancelled. */
    vmctl_delete_options remove = VMCTL_DELETE_OPTIONS_INIT;
    vmctl_error *left = NULL;
    remove.force = true;
    if (vm && vmctl_vm_delete(vm, &remove, &left) < 0)
        fprintf(stderr, "ci-harness: %s stays: %s\n", name, vmctl_error_text(left));
    if (code == 0 && !failed)
        printf("%s: \"%s\" came\n", backend, argv[2]);
    else if (code < 0)
        fprintf(stderr, "ci-harness: %s\n", err ? vmctl_error_text(err) : "interrupted");
    vmctl_error_free(left);
    vmctl_error_free(err);
    vmctl_vm_free(vm);
    vmctl_spec_free(spec);
    vmctl_connection_free(connection);
    vmctl_cancel_free(interrupted);
    return code == 0 ? failed : vmctl_code_exit_status(code);
}
