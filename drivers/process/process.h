/* drivers/process/process.h - runs a program by argument vector: never a shell, never a zombie, always a deadline.
 *
 * The program gets a process group of its own, the descriptors 0 to 2 and no others, default signals, and dies with the
 * thread that waits for it. Safe in programs with many threads: no SIGCHLD handler, waits for its own child only.
 */
#ifndef VMC_PROCESS_H
#define VMC_PROCESS_H

#include "base/deadline.h"
#include "base/error.h"
#include "base/str.h"
#include <sys/types.h>

/* Bytes of stdout or stderr, in the caller's thread; with `lines` one whole line without its end (NUL-terminated in any case; a
 * carriage return ends a line too). Non-zero stops the program: the call returns that value when it is negative
 * (*err is the callback's to fill through `user`), and success when it is positive. */
typedef int (*process_bytes_fn)(const char *bytes, size_t length, void *user);

/* Who the program runs as; supplementary groups are those of the user's name. Needs root. */
typedef struct process_identity {
    uid_t uid;
    gid_t gid;
} process_identity;

typedef struct process_options {
    const char *const *argv;        /* NULL-terminated; argv[0] a path, or looked for by process_find */
    const char *package;            /* Debian package that has it, for the error when it is missing; NULL */
    const char *const *environment; /* "KEY=VALUE" set, "KEY" removed; NULL: as it is */
    const char *directory;          /* to run in; NULL: as it is */
    const void *input;              /* for its stdin; NULL: /dev/null */
    size_t input_length;            /* bytes */
    process_bytes_fn output;        /* its stdout; NULL: captured */
    process_bytes_fn error;         /* its stderr; NULL: captured */
    void *user;                     /* handed to both */
    bool lines;                     /* callbacks get whole lines */
    bool merge;                     /* stderr goes where stdout goes */
    const char *input_path;         /* a file for its stdin instead; NULL */
    bool hold_input;                /* stdin is a pipe that stays open, and empty, until it ends or this process does */
    bool inherit_input;             /* stdin is the caller's own, for prompts; its process group too */
    size_t limit;                   /* of each captured stream, in bytes; 0: 1 MiB. What is beyond is dropped */
    int end_signal;                 /* what asks it to end, also when this process dies; 0: SIGTERM */
    int64_t grace_ms;               /* between that and SIGKILL; 0: 2000 */
    const process_identity *identity; /* NULL: as the caller */
    const char *doing;                /* for timeout errors: "converting disk root"; NULL: "running NAME" */
} process_options;

typedef struct process_result {
    int status;           /* exit code; 128 + signal when a signal ended it */
    int signal;           /* 0 when it exited */
    char *output, *error; /* captured, NUL-terminated, never NULL after success; empty when there was a callback */
    size_t output_length;
    size_t error_length;
    bool truncated; /* a captured stream was longer than the limit */
} process_result;

/* Runs it to its end. 0 whatever its exit code was. UNAVAILABLE when the program is missing (the message names the package),
 * PERMISSION_DENIED when it cannot be executed, TIMEOUT and CANCELLED after its group was ended (end_signal, grace, SIGKILL).
 * On failure *result is empty but for `error`, when something was captured. A daemon that forks and lets the started
 * process exit is left running; its inherited stdout is not waited for. */
int process_run(const process_options *options, const vmc_deadline *deadline, process_result *result,
                vmctl_error **err);

/* The same; an exit code other than 0 is an error, with the last line of stderr as its words. result may be NULL. */
int process_run_ok(const process_options *options, const vmc_deadline *deadline, process_result *result,
                   vmctl_error **err);

/* Makes *err from a result that is no success: "NAME failed (exit status 1): last line of stderr". ENOSPC's words make it
 * RESOURCE_EXHAUSTED, EACCES' PERMISSION_DENIED, else INTERNAL. Returns the code. */
int process_failed(const process_options *options, const process_result *result, vmctl_error **err);

void process_result_free(process_result *result);
#define PROCESS_AUTO_RESULT vmc_cleanup(process_result_free) process_result

/* The executable's path: from PATH, then /usr/local/sbin, /usr/sbin, /sbin (daemons, for ordinary users). NULL: not
 * there. free. */
char *process_find(const char *name);

#endif
