/* vmctl freeze, thaw, set-password: through the guest agent. */
#include "output.h"
#include "terminal.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* --- freeze, thaw -------------------------------------------------------------------------------------------------- */

static int do_freeze(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    int count = -1;
    int rc = vmctl_guest_freeze(task->vm, &count, &call, &task->err);
    if (rc == 0) {
        task->result = cli_tree_identity(task->vm);
        cli_put(task->result, "outcome", "frozen");
        if (count >= 0)
            cli_put_number(task->result, "fileSystems", count);
    }
    return rc;
}

static int do_thaw(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    int count = -1;
    int rc = vmctl_guest_thaw(task->vm, &count, &call, &task->err);
    if (rc == 0) {
        task->result = cli_tree_identity(task->vm);
        cli_put(task->result, "outcome", "thawed");
        if (count >= 0)
            cli_put_number(task->result, "fileSystems", count);
    }
    return rc;
}

static int freeze(cli *c) {
    return cli_each_operand(c, do_freeze, NULL, &cli_view_outcome);
}
static int thaw(cli *c) {
    return cli_each_operand(c, do_thaw, NULL, &cli_view_outcome);
}

#define ON_VMS .operands = "VM...", .min = 1, .max = -1, .hint = CLI_HINT_VM, .hint_rest = CLI_HINT_VM, .group = "guest"

const cli_verb cli_verb_freeze = {
    .name = "freeze",
    .summary = "hold the guest's file systems still through its agent",
    .run = freeze,
    ON_VMS,
};
const cli_verb cli_verb_thaw = {
    .name = "thaw",
    .summary = "let the guest's file systems go on",
    .run = thaw,
    ON_VMS,
};

/* --- set-password -------------------------------------------------------------------------------------------------- */

/* The first line of standard input, without echo on a terminal. NULL: none was given. */
static char *read_password(void) {
    struct termios before, silent;
    char *line = NULL;
    size_t capacity = 0;
    bool terminal = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &before) == 0;

    if (terminal) {
        fputs("password: ", stderr);
        silent = before;
        silent.c_lflag &= ~(tcflag_t)ECHO;
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent);
    }
    ssize_t n = getline(&line, &capacity, stdin);
    if (terminal) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
        fputc('\n', stderr);
    }
    if (n > 0)
        line[strcspn(line, "\r\n")] = '\0';
    if (n <= 0 || !*line) {
        free(line);
        return NULL;
    }
    return line;
}

static int set_password(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    char *password = read_password();

    if (!password)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl set-password VM USER < FILE",
                        "the password is the first line of standard input, and there is none");
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (vm) {
        vmctl_call call = cli_call(c);
        if (vmctl_guest_set_password(vm, c->args.operands[1], password, &call, &err) < 0) {
            status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
        } else {
            cJSON *result = cli_tree_identity(vm);
            cli_put(result, "outcome", "password set");
            cli_put(result, "detail", c->args.operands[1]);
            cli_output_one(c, &cli_view_outcome, result);
        }
    }
    explicit_bzero(password, strlen(password));
    free(password);
    vmctl_vm_free(vm);
    return status;
}

const cli_verb cli_verb_set_password = {
    .name = "set-password",
    .group = "guest",
    .operands = "VM USER",
    .summary = "set a user's password in the guest; it is read from standard input",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = set_password,
};
