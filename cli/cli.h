/* cli/cli.h - one run of the command: what was asked for, where it goes, and the ways to tell the result. */
#ifndef VMCTL_CLI_CLI_H
#define VMCTL_CLI_CLI_H

#include <cjson/cJSON.h>
#include <pthread.h>
#include <stdio.h>
#include <vmctl/vmctl.h>

#include "options.h"

typedef struct cli_verb cli_verb;

typedef enum cli_format {
    CLI_TABLE,
    CLI_WIDE,
    CLI_JSON,
    CLI_JSONL,
    CLI_YAML,
    CLI_NAME,
    CLI_SPEC,     /* `get` only */
    CLI_NATIVE,   /* `get` only */
    CLI_MARKDOWN, /* of what is knowledge, also CLI_CSV */
    CLI_CSV
} cli_format;

typedef enum cli_progress_mode {
    CLI_PROGRESS_NONE,
    CLI_PROGRESS_BAR,
    CLI_PROGRESS_PLAIN,
    CLI_PROGRESS_JSON
} cli_progress_mode;

typedef struct cli {
    const cli_verb *verb;   /* NULL until one was found */
    const cli_verb *parent; /* the group of a verb such as `image list`; NULL */
    cli_args args;
    cli_format format;
    cli_progress_mode progress;
    bool color; /* of stdout */
    bool quiet;
    int verbose;
    bool no_wait;
    bool single;         /* the result is one thing, not a list of one: an object in JSON and YAML */
    bool own_status;     /* of a verb that runs a command: the exit status is the command's */
    int64_t deadline_ms; /* cli_now_ms() time; -1: none given */
    const char *namespace_name;
    const char *folder;
    vmctl_cancel *cancel;
    vmctl_config *config;   /* cli_config; NULL until it was asked for */
    struct cli_link *links; /* cli_connect: the connections of this run */
    size_t link_count;
    pthread_t leaver; /* cli_leave */
    bool leaving;
} cli;

/* --- telling what went wrong (report.c); safe in several threads ------------------------------------------ */

/* Prints the error (text, or the JSON object of the CLI contract with -o json and jsonl), frees it, and gives the
 * exit status for its code. context: the context it went through, NULL. */
int cli_report(cli *c, vmctl_error *err, const char *context);
/* The same for what the command itself finds. next: the step to try, NULL. */
int cli_fail(cli *c, int code, const char *next, const char *format, ...) VMCTL_PRINTF(4, 5);
/* "vmctl: note: ..." and "vmctl: warning: ..." on stderr; the same text once in a run. */
void cli_note(cli *c, vmctl_note_level level, const char *text);
/* The JSON object of an error, {"code", "message", ...}. */
cJSON *cli_error_tree(const vmctl_error *err, const char *context);
/* What several outcomes make together: all alike, that status; mixed, 10 (cancelled: 130). */
int cli_status_of_many(const int *statuses, size_t count);

/* --- progress (progress.c) --------------------------------------------------------------------------------- */

/* A call that carries the run's deadline, cancel token, progress and notes. It refers to the run. */
vmctl_call cli_call(cli *c);
/* Takes the bars off the terminal while something else is written to stderr, and puts them back. In pairs. */
void cli_stderr_lock(void);
void cli_stderr_unlock(void);
/* This VM is done: its bar goes. */
void cli_progress_done(const char *vm);
/* No more bars. For the main thread. */
void cli_progress_end(void);

/* --- where it goes (target.c) ------------------------------------------------------------------------------ */

/* The configuration file, read once. NULL: the fault was reported, *status has its exit status. */
vmctl_config *cli_config(cli *c, int *status);
/* The connection to a context (NULL: what the options and the environment say); opened once and kept until the end of the run. NULL: reported. */
vmctl_connection *cli_connect(cli *c, const char *context, const vmctl_spec *spec, int *status);
/* Opens one that is not kept; for threads. context NULL: as above. */
int cli_open(cli *c, const char *context, const vmctl_spec *spec, vmctl_connection **out, vmctl_error **err);
/* Splits "context/vm" where a context of that name exists; *vm points into target. The context is NULL or the caller's (free). */
char *cli_split_target(cli *c, const char *target, const char **vm);
/* Connects and finds one VM. NULL: reported. vmctl_vm_free. */
vmctl_vm *cli_vm(cli *c, const char *target, int *status);

/* What a verb did to a VM: its identity, the outcome ("renamed") and the detail in parentheses (NULL: none). Keys of the
 * verb's own may be added. */
cJSON *cli_outcome(const vmctl_vm *vm, const char *outcome, const char *detail);
/* The end of a verb on one VM: rc < 0 reports err, else the result is shown (NULL: the verb has
 * shown it). Frees vm, err and the result; the exit status. */
int cli_vm_end(cli *c, vmctl_vm *vm, int rc, vmctl_error *err, cJSON *result);
/* A whole verb "VM FILE": `make` writes the file, `outcome` says what that was ("exported"). */
int cli_vm_into_file(cli *c, int (*make)(vmctl_vm *vm, const char *path, const vmctl_call *call, vmctl_error **err),
                     const char *outcome);

/* A verb that takes several VMs has a row for each, also for one that failed: {"name", "outcome": "failed", "error"} in JSON and YAML, where
 * programs match rows with what they asked for. NULL in the other forms: stderr tells it. */
cJSON *cli_failure(const cli *c, const char *name, const vmctl_error *err, const char *context);
/* Adds that row to the list that is being written, and reports the error; the exit status. */
int cli_fail_one(cli *c, const char *name, vmctl_error *err, const char *context);

/* One VM of several. */
typedef struct cli_task {
    const char *target; /* as given */
    vmctl_connection *connection;
    vmctl_vm *vm;
    void *user;
    cJSON *result; /* what the task tells, shown in the order of the targets; NULL: nothing */
    int status;
    vmctl_error *err; /* set by the task with its code; reported by cli_each */
} cli_task;

/* The task's work: 0, or a negative code with task->err. */
typedef int (*cli_task_fn)(cli *c, cli_task *task);

/* Does the work for every VM, side by side where the endpoint allows, and shows the results. The exit status. A target that is not found
 * is a failure unless ignore_missing. view: see output.h; NULL: results are not shown. */
struct cli_view;
int cli_each(cli *c, char *const *targets, cli_task_fn work, void *user, bool ignore_missing,
             const struct cli_view *view);
/* The same for the verb's operands. */
int cli_each_operand(cli *c, cli_task_fn work, void *user, const struct cli_view *view);

/* Says good-bye to every endpoint while this thread writes a long result: no connection is used any more. cli_close waits for it. */
void cli_leave(cli *c);
void cli_close(cli *c);

#endif
