/* Programs in the guest. The agent gives a process's output only at its end, and at most 16 MiB of it; so a shell in the guest sends it to
 * files, which are read while they grow. What is small comes with the answer that it has ended, in two calls in all. */
#include "agent.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    FIRST_POLL_MS = 10,
    LAST_POLL_MS = 500,
    BUSY_POLL_MS = 20,      /* while output comes */
    STREAM_AFTER_POLLS = 2, /* a command that has not ended by then is streamed */
    STREAM_PIECE = 256 * 1024,
    INPUT_PIECE = 64 * 1024,
    END_MS = 30000 /* ending the process, when the call itself is out of time */
};

#define GUEST_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* $1: a folder to make, $2: 1 with standard input, then the command. Its own session, so that all of its processes can be
 * ended by one number. */
static const char outer[] =
    "if command -v setsid >/dev/null 2>&1; then exec setsid /bin/sh -c \"$0\" vmctl \"$@\"; fi\n"
    "exec /bin/sh -c \"$0\" vmctl \"$@\"";

/* Standard input arrives as files i0, i1, ..., each complete once its iN.k is there, and ends with `ie`. On standard output: "vmctl STATUS
 * OUT ERR" and, when they are short, both outputs. */
static const char inner[] =
    "exec 3>&2\n"
    "d=$1 i=$2; shift 2\n"
    "u=$(umask); umask 077\n"
    "mkdir \"$d\" || exit 1\n"
    "umask \"$u\"\n"
    "exec 2>/dev/null\n"
    "if ! command -v \"$1\" >/dev/null 2>&1; then\n"
    "  echo \"$1: not found\" >\"$d/e\"; : >\"$d/o\"; s=127\n"
    "elif [ \"$i\" = 1 ]; then\n"
    "  mkfifo \"$d/p\" || exit 1\n"
    "  ( exec 3>&-; n=0; while :; do\n"
    "    if [ -e \"$d/i$n.k\" ]; then cat \"$d/i$n\" || exit; rm -f \"$d/i$n\" \"$d/i$n.k\"; n=$((n+1))\n"
    "    elif [ -e \"$d/ie\" ]; then [ -e \"$d/i$n.k\" ] || exit\n"
    "    else sleep 0.05 || sleep 1; fi\n"
    "  done ) >\"$d/p\" &\n"
    "  (exec \"$@\") <\"$d/p\" >\"$d/o\" 2>\"$d/e\" 3>&-\n"
    "  s=$?; kill $!\n"
    "else\n"
    "  (exec \"$@\") </dev/null >\"$d/o\" 2>\"$d/e\" 3>&-\n"
    "  s=$?\n"
    "fi\n"
    "a=$(wc -c <\"$d/o\"); b=$(wc -c <\"$d/e\")\n"
    "echo \"vmctl $s $((a)) $((b))\"\n"
    "if [ $((a+b)) -le 131072 ]; then cat \"$d/o\" \"$d/e\"; rm -rf \"$d\"; fi\n";
enum { SHORT_OUTPUT = 131072 };

/* $1: the process, $2: the folder. */
static const char end_script[] =
    "kill -s TERM -- \"-$1\" 2>/dev/null || kill -s TERM \"$1\" 2>/dev/null\n"
    "n=0; while kill -0 \"$1\" 2>/dev/null && [ $n -lt 20 ]; do sleep 0.1 || sleep 1; n=$((n+1)); done\n"
    "kill -s KILL -- \"-$1\" 2>/dev/null || kill -s KILL \"$1\" 2>/dev/null\n"
    "rm -rf \"$2\"; ! kill -0 \"$1\" 2>/dev/null\n";

typedef struct exec_stream {
    const char *file;
    long long handle; /* -1: not open yet */
    unsigned long long told;
    vmctl_bytes_fn each;
} exec_stream;

typedef struct exec_run {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const vmctl_exec_options *options;
    vmc_deadline deadline;
    char folder[64];
    long long pid;
    exec_stream out, err;
    unsigned pieces;
    bool input_open;
    bool stopped; /* a callback wants no more */
} exec_run;

static void name_folder(char folder[64]) {
    unsigned char random[12];
    vmc_random_fill(random, sizeof random);
    int n = snprintf(folder, 64, "/tmp/vmctl-");
    for (size_t i = 0; i < sizeof random; i++)
        n += snprintf(folder + n, 64 - (size_t)n, "%02x", random[i]);
}

static void tell(exec_run *run, exec_stream *stream, const char *bytes, size_t length) {
    stream->told += length;
    if (length && stream->each && !run->stopped && stream->each(bytes, length, run->options->user) != 0)
        run->stopped = true;
}

/* --- standard output and error -------------------------------------------------------------------------------- */

/* Reads what is new. `must`: the file has to be there. *more: something came. */
static int read_new(exec_run *run, exec_stream *stream, bool must, bool *more, vmctl_error **err) {
    if (stream->handle < 0) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s", run->folder, stream->file);
        int code = libvirt_agent_file_open(run->conn, run->vm, path, "r", &run->deadline, &stream->handle, err);
        if (code < 0 && !must && code == VMCTL_E_NOT_FOUND) /* the shell has not come to it */
            return 0;
        if (code < 0)
            return code;
    }
    for (bool eof = false; !eof && !run->stopped;) {
        VMC_AUTO_STR piece = {0};
        int code = libvirt_agent_file_read(run->conn, run->vm, stream->handle, STREAM_PIECE, &run->deadline, &piece,
                                           &eof, err);
        if (code < 0)
            return code;
        *more |= piece.length > 0;
        tell(run, stream, piece.text, piece.length);
        if (piece.length < STREAM_PIECE)
            break;
    }
    return 0;
}

static int read_rest(exec_run *run, exec_stream *stream, unsigned long long size, vmctl_error **err) {
    while (stream->told < size && !run->stopped) {
        bool more = false;
        int code = read_new(run, stream, true, &more, err);
        if (code == 0 && !more)
            code = vmc_error(err, VMCTL_E_INTERNAL, "the output in the guest became shorter while it was read");
        if (code < 0)
            return code;
    }
    return 0;
}

static void close_stream(exec_run *run, exec_stream *stream) {
    if (stream->handle >= 0)
        libvirt_agent_file_close(run->conn, run->vm, stream->handle, &run->deadline, NULL);
    stream->handle = -1;
}

/* --- standard input --------------------------------------------------------------------------------------------- */

static int put_file(exec_run *run, const char *path, const void *bytes, size_t length, vmctl_error **err) {
    long long handle = -1;
    int code = libvirt_agent_file_open(run->conn, run->vm, path, "w", &run->deadline, &handle, err);
    if (code == 0 && length)
        code = libvirt_agent_file_write(run->conn, run->vm, handle, bytes, length, &run->deadline, err);
    if (handle >= 0) {
        int closed = libvirt_agent_file_close(run->conn, run->vm, handle, &run->deadline, code < 0 ? NULL : err);
        code = code < 0 ? code : closed;
    }
    return code;
}

/* The next piece as iN, its iN.k once it is whole; length 0: the end. */
static int put_piece(exec_run *run, const void *bytes, size_t length, vmctl_error **err) {
    VMC_AUTO_FREE char *path =
        length ? vmc_printf("%s/i%u", run->folder, run->pieces) : vmc_printf("%s/ie", run->folder);
    int code = put_file(run, path, bytes, length, err);
    if (code == 0 && length) {
        VMC_AUTO_FREE char *mark = vmc_printf("%s.k", path);
        code = put_file(run, mark, NULL, 0, err);
        run->pieces++;
    }
    return code;
}

static bool has_input(const exec_run *run) {
    return run->options->input_fd >= 0 || run->options->input_length > 0;
}

/* Moves what is there, one piece. *moved: something was. */
static int feed(exec_run *run, bool *moved, vmctl_error **err) {
    struct pollfd waiting = {run->options->input_fd, POLLIN, 0};
    if (!run->input_open || poll(&waiting, 1, 0) <= 0)
        return 0;
    VMC_AUTO_FREE char *piece = vmc_alloc(INPUT_PIECE);
    size_t length = 0;
    while (length < INPUT_PIECE && poll(&waiting, 1, 0) > 0) {
        ssize_t n = read(waiting.fd, piece + length, INPUT_PIECE - length);
        if (n < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (n < 0)
            return vmc_error_errno(err, errno, "cannot read what the command is to get");
        if (n == 0) {
            run->input_open = false;
            break;
        }
        length += (size_t)n;
    }
    int code = length ? put_piece(run, piece, length, err) : 0;
    if (code == 0 && !run->input_open)
        code = put_piece(run, NULL, 0, err);
    *moved = true;
    return code;
}

/* The shell makes the folder first; where it has not yet, this round is not the one. */
static int begin_input(exec_run *run, vmctl_error **err) {
    const char *bytes = run->options->input;
    size_t length = run->options->input_length;
    int code = 0;
    for (size_t at = 0; code == 0 && at < length;) {
        size_t piece = length - at < 16 * (size_t)INPUT_PIECE ? length - at : 16 * (size_t)INPUT_PIECE;
        code = put_piece(run, bytes + at, piece, err);
        at += piece;
    }
    run->input_open = run->options->input_fd >= 0;
    if (code == 0 && !run->input_open)
        code = put_piece(run, NULL, 0, err);
    return code;
}

static int wait_for_folder(exec_run *run, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("%s/p", run->folder);
    static const char script[] =
        "n=0; until [ -p \"$1\" ]; do n=$((n+1)); [ $n -lt 200 ] || exit 1; sleep 0.05 || sleep 1; done";
    LIBVIRT_AUTO_PROCESS process = {0};
    return libvirt_agent_shell(run->conn, run->vm, script, (const char *const[]){path, NULL}, NULL, 0, &run->deadline,
                               &process, err);
}

/* --- the run ------------------------------------------------------------------------------------------------------- */

static int start(exec_run *run, const char *const *argv, vmctl_error **err) {
    VMC_AUTO_STRV words = {0}, environment = {0};
    vmc_strv_add(&words, "/bin/sh");
    vmc_strv_add(&words, "-c");
    vmc_strv_add(&words, outer);
    vmc_strv_add(&words, inner);
    vmc_strv_add(&words, run->folder);
    vmc_strv_add(&words, has_input(run) ? "1" : "0");
    for (; *argv; argv++)
        vmc_strv_add(&words, *argv);
    const char *const *given = run->options->environment;
    bool path = false;
    for (; given && *given; given++) {
        path |= vmc_starts_with(*given, "PATH=");
        vmc_strv_add(&environment, *given);
    }
    if (environment.count && !path)
        vmc_strv_add(&environment, GUEST_PATH);
    int code = libvirt_agent_start(run->conn, run->vm, (const char *const *)words.items,
                                   (const char *const *)environment.items, NULL, 0, &run->deadline, &run->pid, err);
    if (code == VMCTL_E_NOT_FOUND)
        vmc_error(err, code = VMCTL_E_UNSUPPORTED, "the guest has no /bin/sh, through which vmctl runs programs in it");
    return code;
}

/* "vmctl STATUS OUT ERR\n" and perhaps both outputs: the command's status. */
static int finish(exec_run *run, const libvirt_agent_process *shell, int *status, vmctl_error **err) {
    unsigned long long out = 0, error = 0;
    const char *text = shell->output.text ? shell->output.text : "";
    const char *body = strchr(text, '\n');
    if (!body || sscanf(text, "vmctl %d %llu %llu", status, &out, &error) != 3) {
        VMC_AUTO_FREE char *words = vmc_strndup(shell->error.text ? shell->error.text : "",
                                                shell->error.text ? strcspn(shell->error.text, "\n") : 0);
        return vmc_error(err, libvirt_guest_words_code(words, VMCTL_E_INTERNAL), "the guest's shell failed%s%s",
                         *words ? ": " : "", words);
    }
    body++;
    if (out + error > SHORT_OUTPUT) {
        int code = read_rest(run, &run->out, out, err);
        return code < 0 ? code : read_rest(run, &run->err, error, err);
    }
    if (shell->output.length - (size_t)(body - text) < out + error)
        return vmc_error(err, VMCTL_E_INTERNAL, "the guest's agent left out a part of the output");
    if (run->out.told < out)
        tell(run, &run->out, body + run->out.told, (size_t)(out - run->out.told));
    if (run->err.told < error)
        tell(run, &run->err, body + out + run->err.told, (size_t)(error - run->err.told));
    return 0;
}

static int follow(exec_run *run, int *status, vmctl_error **err) {
    int code = has_input(run) ? wait_for_folder(run, err) : 0;
    if (code == 0 && has_input(run))
        code = begin_input(run, err);
    for (int pause = FIRST_POLL_MS, round = 0; code == 0 && !run->stopped; round++) {
        LIBVIRT_AUTO_PROCESS shell = {0};
        bool moved = false;
        code = libvirt_agent_look(run->conn, run->vm, run->pid, &run->deadline, &shell, err);
        if (code < 0 || shell.exited)
            return code < 0 ? code : finish(run, &shell, status, err);
        if (round >= STREAM_AFTER_POLLS) {
            code = read_new(run, &run->out, false, &moved, err);
            if (code == 0 && run->out.handle >= 0)
                code = read_new(run, &run->err, false, &moved, err);
        }
        if (code == 0)
            code = feed(run, &moved, err);
        pause = moved ? BUSY_POLL_MS : pause * 3 / 2 > LAST_POLL_MS ? LAST_POLL_MS : pause * 3 / 2;
        if (code == 0)
            code = vmc_deadline_poll(&run->deadline, run->input_open ? run->options->input_fd : -1, POLLIN, pause,
                                     "waiting for the command in the guest", err);
        code = code < 0 ? code : 0;
    }
    return code;
}

/* Ends it in the guest, with a deadline of its own. A call that was given up may have cost the connection. */
static int end(const exec_run *run) {
    vmctl_call plain = VMCTL_CALL_INIT;
    vmc_deadline deadline = vmc_deadline_start(&plain, END_MS);
    libvirt_vm *fresh = NULL;
    if (libvirt_agent_again(run->conn, run->vm, &deadline, &fresh, NULL) < 0)
        return -1;
    char number[32];
    (void)snprintf(number, sizeof number, "%lld", run->pid);
    LIBVIRT_AUTO_PROCESS process = {0}, shell = {0};
    int code = libvirt_agent_shell(run->conn, fresh, end_script, (const char *const[]){number, run->folder, NULL}, NULL,
                                   0, &deadline, &process, NULL);
    if (code == 0)
        libvirt_agent_look(run->conn, fresh, run->pid, &deadline, &shell,
                           NULL); /* or the agent keeps its answer for ever */
    libvirt_release(run->conn, fresh);
    return code < 0 || !process.exited || process.status != 0 ? -1 : 0;
}

static void remove_folder(exec_run *run) {
    LIBVIRT_AUTO_PROCESS process = {0};
    close_stream(run, &run->out);
    close_stream(run, &run->err);
    libvirt_agent_shell(run->conn, run->vm, "rm -rf \"$1\"", (const char *const[]){run->folder, NULL}, NULL, 0,
                        &run->deadline, &process, NULL);
}

int libvirt_guest_exec(void *conn, void *vm, const char *const *argv, const vmctl_exec_options *options, int *status,
                       vmctl_error **err) {
    exec_run run = {.conn = conn,
                    .vm = vm,
                    .options = options,
                    .deadline = vmc_deadline_start(options->call, -1),
                    .pid = -1,
                    .out = {"o", -1, 0, options->output},
                    .err = {"e", -1, 0, options->error}};
    name_folder(run.folder);
    int code = libvirt_agent_ready(conn, vm, &run.deadline, err);
    if (code == 0)
        code = start(&run, argv, err);
    if (code < 0)
        return code;
    vmctl_error *why = NULL;
    code = follow(&run, status, &why);
    bool streamed = run.out.handle >= 0 || run.err.handle >= 0;
    if (code == 0 && !run.stopped) {
        if (streamed)
            remove_folder(&run);
    } else if ((code == VMCTL_E_TIMEOUT && vmc_deadline_left(&run.deadline) != 0) || end(&run) < 0) {
        /* an agent that does not answer is not asked again */
        if (code == 0)
            code = vmc_error(&why, VMCTL_E_TIMEOUT, "the command could not be ended");
        vmc_error_append(&why, "; it may go on in the guest as process %lld", run.pid);
    } else if (code < 0) {
        vmc_error_append(&why, "; the process in the guest was ended");
    } else {
        *status = 128 + 13; /* as a pipe's reader that leaves: SIGPIPE */
    }
    vmc_error_move(err, &why);
    return code;
}
