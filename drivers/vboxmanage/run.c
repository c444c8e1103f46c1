/* Finding VBoxManage and running it. */
#include "vboxmanage.h"

#include "base/error.h"
#include "base/file.h"
#include "drivers/process/process.h"
#include "host.h"
#include "parse.h"
#include "usb.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    OUTPUT_LIMIT = 64 * 1024 * 1024,
    RETRY_FIRST_MS = 50,
    RETRY_LAST_MS = 500,
    KILL_AFTER_MS = 2000,
    STUCK_MS = 2500,
    SERVER_MS = 10000
};

/* Where VirtualBox is installed on Linux (Oracle's and Debian's packages) and macOS. */
static const char *const folders[] = {"/usr/lib/virtualbox", "/opt/VirtualBox",
                                      "/Applications/VirtualBox.app/Contents/MacOS"};

static bool is_script(const char *path) {
    char begin[2] = "";
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && read(fd, begin, sizeof begin) == (ssize_t)sizeof begin && memcmp(begin, "#!", 2) == 0;
}

static char *find_installed(void) {
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/VBoxManage", folders[i]);
        if (access(path, X_OK) == 0)
            return vmc_strdup(path);
    }
    return NULL;
}

static char *find(vmctl_error **err) {
    char *program = process_find("VBoxManage");
    /* /usr/bin/VBoxManage is a script of the package that starts the installed one. */
    if (!program || (vmc_starts_with(program, "/usr/bin/") && is_script(program))) {
        char *installed = find_installed();
        if (installed) {
            free(program);
            program = installed;
        }
    }
    if (!program) {
        VMC_AUTO_STR places = {0};
        for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++)
            vmc_str_printf(&places, "%s%s", i ? ", " : "", folders[i]);
        vmc_error(err, VMCTL_E_UNAVAILABLE, "VBoxManage is neither on PATH nor in %s", places.text);
        vmc_error_next(err, "install VirtualBox (virtualbox.org/wiki/Downloads), or put its folder on PATH");
    }
    return program;
}

int vboxmanage_open(const char *home, const char *ipc, vboxmanage **out, vmctl_error **err) {
    char *program = find(err);
    if (!program)
        return VMCTL_E_UNAVAILABLE;
    vboxmanage *manage = vmc_alloc(sizeof *manage);
    manage->program = program;
    manage->home = vmc_strdup(home);
    manage->ipc = vmc_strdup(ipc);
    *out = manage;
    return 0;
}

int vboxmanage_version(const vboxmanage *manage, const vmc_deadline *deadline, char **version, vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    const char *const argv[] = {"--version", NULL};
    const vboxmanage_call call = {.argv = argv, .doing = "asking VBoxManage for its version"};
    int code = vboxmanage_run(manage, &call, deadline, &text, err);
    unsigned major = 0;
    unsigned minor = 0;
    if (code == 0 && vboxmanage_parse_version(text, version, &major, &minor) < 0) {
        code = vmc_error(err, VMCTL_E_UNAVAILABLE, "%s does not tell VirtualBox's version", manage->program);
        vmc_error_hypervisor(err, NULL, text);
    }
    return code;
}

void vboxmanage_close(vboxmanage *manage) {
    if (!manage)
        return;
    vboxmanage_host_free(manage->host);
    free(manage->program);
    free(manage->home);
    free(manage->ipc);
    free(manage);
}

typedef struct listening {
    const vboxmanage_call *call;
    const vmc_deadline *deadline;
    vmc_deadline step; /* the deadline, or an earlier one until it says something */
    vmc_str output, error;
    int percent;
    vmctl_error *why;
} listening;

static int hear_output(const char *bytes, size_t length, void *user) {
    listening *to = user;
    to->step.at_ms = to->deadline->at_ms;
    if (to->output.length + length <= OUTPUT_LIMIT)
        vmc_str_add_n(&to->output, bytes, length);
    return 0;
}

/* Progress is on stderr, "0%...10%..." in one line that grows, and errors follow it there. */
static int hear_error(const char *bytes, size_t length, void *user) {
    listening *to = user;
    to->step.at_ms = to->deadline->at_ms;
    if (to->error.length + length > OUTPUT_LIMIT)
        return 0;
    vmc_str_add_n(&to->error, bytes, length);
    int percent = to->call->stage ? vboxmanage_parse_progress(to->error.text) : -1;
    if (percent < 0 || percent == to->percent)
        return 0;
    to->percent = percent;
    return vmc_progress(to->deadline, to->call->vm, to->call->stage, to->call->device, VMCTL_UNIT_PERCENT,
                        (uint64_t)percent, 100, &to->why);
}

static void say_command(const vboxmanage *manage, const char *const *words, vmc_strv *argv, vmc_strv *environment) {
    vmc_strv_add(argv, manage->program);
    for (; *words; words++)
        vmc_strv_add(argv, *words);
    vmc_strv_add(environment, "LC_ALL=C.UTF-8");
    if (manage->home)
        vmc_strv_printf(environment, "VBOX_USER_HOME=%s", manage->home);
    if (manage->ipc)
        vmc_strv_printf(environment, "VBOX_IPC_SOCKETID=%s", manage->ipc);
    vmc_strv_add(environment, "VMCTL_GUEST_PASSWORD"); /* without a value: it is taken out */
}

/* Here or on its host. io says everything but the command; what asks it to end is SIGINT, VBoxManage's word for "cancel": it asks VBoxSVC to
 * stop the work, and waits for that. */
static int start(const vboxmanage *manage, const char *const *words, process_options *io, const vmc_deadline *deadline,
                 process_result *result, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    VMC_AUTO_STRV environment = {0};
    say_command(manage, words, &argv, &environment);
    if (manage->host)
        return vboxmanage_host_run(manage->host, &argv, &environment, io, deadline, result, err);
    io->argv = (const char *const *)argv.items;
    io->environment = (const char *const *)environment.items;
    io->package = "virtualbox";
    io->end_signal = SIGINT;
    io->grace_ms = KILL_AFTER_MS;
    return process_run(io, deadline, result, err);
}

/* It says so by a warning only when it could not (usb.h). */
static bool attaches_usb(const char *const *argv) {
    return strcmp(argv[0], "controlvm") == 0 && argv[1] && vmc_str_eq(argv[2], "usbattach");
}

/* silent_ms: how long it may say nothing; -1: as long as there is time. */
static int run_once(const vboxmanage *manage, const vboxmanage_call *call, const vmc_deadline *deadline,
                    int64_t silent_ms, char **output, vmctl_error **err) {
    vmc_deadline step = silent_ms < 0 ? *deadline : vmc_deadline_within(deadline, silent_ms);
    listening heard = {.call = call, .deadline = deadline, .step = step, .percent = -1};
    process_options options = {.output = hear_output, .error = hear_error, .user = &heard, .doing = call->doing};
    PROCESS_AUTO_RESULT result = {0};
    int code = start(manage, call->argv, &options, &heard.step, &result, err);
    if (heard.why)
        vmc_error_move(err, &heard.why);
    const char *said = heard.error.text ? heard.error.text : "";
    if (code == 0 && (vboxmanage_has_error(said) ||
                      (result.status != 0 && !vboxmanage_parse_is_answer(heard.output.text ? heard.output.text : ""))))
        code = vboxmanage_failed(call->doing, result.status, said, err);
    if (code == 0 && attaches_usb(call->argv))
        code = vboxmanage_usb_service(said, err);
    if (code == 0 && output)
        *output = vmc_str_take(&heard.output);
    if (code == 0 && call->warnings)
        *call->warnings = vmc_strdup(said);
    vmc_str_free(&heard.output);
    vmc_str_free(&heard.error);
    return code < 0 ? code : 0;
}

/* VBoxSVC ends when nobody has used it for some seconds, and a client that comes in that moment finds it neither running nor gone.
 * Nothing has been asked of it yet: the call can be made again, whatever it is. */
static bool has_no_server(const vmctl_error *why) {
    return why && strstr(vmctl_error_message(why), "Failed to create the VirtualBox object");
}

/* VBoxSVC trips over a medium that another client looks at in the moment when it writes the machine's settings; the VM is as it was. */
static bool tripped(const vmctl_error *why) {
    return why && strstr(vmctl_error_message(why), "Assertion failed") &&
           strstr(vmctl_error_message(why), "E_ACCESSDENIED");
}

/* Changes nothing, whoever asks and however often. */
static bool only_asks(const char *const *argv) {
    return strcmp(argv[0], "list") == 0 || strcmp(argv[0], "showvminfo") == 0;
}

/* VBoxManage 7.2 misses an answer of VBoxSVC now and then, once in some hundred calls, and stands still until its thread looks by itself, after ten
 * seconds (seen in both: nothing is on its way between them, and another client is served meanwhile). A question is put again before that. */
static int run_unless_stuck(const vboxmanage *manage, const vboxmanage_call *call, const vmc_deadline *deadline,
                            char **output, vmctl_error **err) {
    if (manage->host || !only_asks(call->argv))
        return run_once(manage, call, deadline, -1, output, err);
    vmctl_error *why = NULL;
    int code = run_once(manage, call, deadline, STUCK_MS, output, &why);
    if (code == VMCTL_E_TIMEOUT && vmc_deadline_left(deadline) != 0) {
        vmctl_error_free(why);
        return run_once(manage, call, deadline, -1, output, err);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}

int vboxmanage_run(const vboxmanage *manage, const vboxmanage_call *call, const vmc_deadline *deadline, char **output,
                   vmctl_error **err) {
    int64_t began = vmc_now_ms();
    int pause = RETRY_FIRST_MS;
    for (;;) {
        vmctl_error *why = NULL;
        int code = run_unless_stuck(manage, call, deadline, output, &why);
        /* The lock of a session that ends is gone within moments; one that works keeps it. */
        bool busy = code == VMCTL_E_BUSY && vmctl_error_retryable(why);
        int64_t patience = busy ? call->busy_ms : code < 0 && (has_no_server(why) || tripped(why)) ? SERVER_MS : 0;
        bool again = vmc_now_ms() + pause < began + patience;
        if (!again) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
        code = vmc_deadline_poll(deadline, -1, 0, pause, call->doing, err);
        if (code < 0)
            return code;
        pause = pause * 2 < RETRY_LAST_MS ? pause * 2 : RETRY_LAST_MS;
    }
}

/* --- output that is somebody else's -------------------------------------------------------------------------------- */

typedef struct relay {
    const vboxmanage_stream *stream;
    vmc_str line, own; /* the line that is not whole yet; what VBoxManage said itself */
} relay;

static int relay_output(const char *bytes, size_t length, void *user) {
    const relay *r = user;
    return r->stream->output ? r->stream->output(bytes, length, r->stream->user) != 0 : 0;
}

static int relay_line(relay *r) {
    bool own = vmc_starts_with(r->line.text, "VBoxManage: ");
    int stop = 0;
    if (own)
        vmc_str_add_n(&r->own, r->line.text, r->line.length);
    else if (r->stream->error)
        stop = r->stream->error(r->line.text, r->line.length, r->stream->user) != 0;
    vmc_str_free(&r->line);
    return stop;
}

/* Line by line, but for the beginning of one that cannot be VBoxManage's own. */
static int relay_error(const char *bytes, size_t length, void *user) {
    static const char prefix[] = "VBoxManage: ";
    relay *r = user;
    int stop = 0;
    for (size_t i = 0; i < length && !stop; i++) {
        vmc_str_add_char(&r->line, bytes[i]);
        bool other =
            strncmp(r->line.text, prefix, r->line.length < strlen(prefix) ? r->line.length : strlen(prefix)) != 0;
        bool last = i + 1 == length;
        if (bytes[i] == '\n' || (other && last))
            stop = relay_line(r);
    }
    return stop;
}

int vboxmanage_stream_run(const vboxmanage *manage, const vboxmanage_stream *stream, const vmc_deadline *deadline,
                          int *status, vmctl_error **err) {
    relay r = {.stream = stream};
    process_options options = {
        .input = stream->input,
        .input_length = stream->input_length,
        .inherit_input = stream->inherit_input,
        .output = relay_output,
        .error = relay_error,
        .user = &r,
        .doing = stream->doing,
    };
    PROCESS_AUTO_RESULT result = {0};
    int code = start(manage, stream->argv, &options, deadline, &result, err);
    if (r.line.length)
        relay_line(&r);
    const char *said = r.own.text ? r.own.text : "";
    if (code == 0 && vboxmanage_has_error(said))
        code = vboxmanage_failed(stream->doing, result.status, said, err);
    *status = result.status;
    vmc_str_free(&r.own);
    return code < 0 ? code : 0;
}
