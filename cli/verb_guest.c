/* vmctl exec, cp, freeze, thaw, set-password: through the guest agent. */
#include "output.h"
#include "terminal.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

static int to_stdout(const void *bytes, size_t length, void *user) {
    (void)user;
    fwrite(bytes, 1, length, stdout);
    return fflush(stdout) != 0;
}

static int to_stderr(const void *bytes, size_t length, void *user) {
    (void)user;
    fwrite(bytes, 1, length, stderr);
    return 0;
}

static int exec(cli *c) {
    vmctl_exec_options options = VMCTL_EXEC_OPTIONS_INIT;
    CLI_AUTO_STRINGS environment = {0};
    vmctl_error *err = NULL;
    int status = 0, code = 0;

    if (!c->args.command || !c->args.command[0])
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl exec VM -- uname -r", "the command after -- is missing");
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (!vm)
        return status;
    if (cli_flag(&c->args, "stdin"))
        options.input_fd = STDIN_FILENO;
    cli_texts(&c->args, "env", &environment);
    vmctl_call call = cli_call(c);
    /* bars would stand in what is written meanwhile */
    call.progress = NULL;
    options.call = &call;
    options.environment = environment.count ? (const char *const *)environment.items : NULL;
    options.output = to_stdout;
    options.error = to_stderr;
    if (vmctl_guest_exec(vm, c->args.command, &options, &code, &err) < 0) {
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    } else {
        status = code;
        c->own_status = true;
    }
    vmctl_vm_free(vm);
    return status;
}

static const cli_option exec_options[] = {{"env", 0, CLI_TEXT, "KEY=VALUE", "an environment variable (again: several)"},
                                          {"stdin", 'i', CLI_FLAG, NULL, "give standard input to the command"},
                                          {NULL}};

const cli_verb cli_verb_exec = {
    .name = "exec",
    .group = "guest",
    .operands = "VM -- CMD...",
    .summary = "run a command in the guest through its agent",
    .help =
        "The exit status is the command's own, 128 + N when signal N ended it, 127 when the guest has no such program; "
        "125\n"
        "when vmctl failed. Output comes while the command runs, and with --stdin its input goes there as it is typed "
        "or\n"
        "piped. On QEMU the guest keeps output in a file of /tmp until the command has ended. ^C or --timeout end the\n"
        "command in the guest too. With --env it gets only these variables and a PATH.\n"
        "\n"
        "  vmctl exec web-1 -- uname -r\n"
        "  vmctl exec web-1 --stdin -- sh -c 'cat >/etc/motd' < motd",
    .options = exec_options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .command = true,
    .run = exec,
};

/* --- cp ---------------------------------------------------------------------------------------------------------- */

/* "VM:PATH" (not "./a:b", not "/a:b"): the colon, else NULL. */
static const char *guest_side(const char *text) {
    const char *colon = strchr(text, ':');
    return colon && colon != text && text[0] != '.' && text[0] != '/' ? colon : NULL;
}

static int cp(cli *c) {
    const char *from = c->args.operands[0], *to = c->args.operands[1];
    const char *from_guest = guest_side(from), *to_guest = guest_side(to);
    vmctl_error *err = NULL;
    int status = 0;

    if (!from_guest == !to_guest)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl cp file.txt web-1:/tmp/file.txt",
                        "one side is VM:PATH, the other a file of this machine");
    const char *colon = from_guest ? from_guest : to_guest;
    const char *side = from_guest ? from : to;
    CLI_AUTO_FREE char *target = cli_strndup(side, (size_t)(colon - side));
    vmctl_vm *vm = cli_vm(c, target ? target : "", &status);
    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    int rc = from_guest ? vmctl_guest_copy_out(vm, colon + 1, to, &call, &err)
                        : vmctl_guest_copy_in(vm, from, colon + 1, &call, &err);
    if (rc < 0)
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    vmctl_vm_free(vm);
    return status;
}

const cli_verb cli_verb_cp = {
    .name = "cp",
    .group = "guest",
    .operands = "FILE VM:PATH | VM:PATH FILE",
    .summary = "copy a file into or out of the guest through its agent",
    .help = "One file, with its mode and time; - is standard input or output. A target that is a folder gets the "
            "file's name in it.\n"
            "The target appears whole or not at all, and its size is checked. Files over 128 KiB go through a serial "
            "port that is\n"
            "plugged for the copy; where none can be plugged, through the agent's file commands, which are much "
            "slower. Folders\n"
            "go as an archive, and without an agent vmctl ssh does it:\n"
            "\n"
            "  vmctl cp app.tar web-1:/tmp/\n"
            "  tar c -C site . | vmctl exec web-1 --stdin -- tar x -C /var/www",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = cp,
};

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
