/* vmctl exec: a command in the guest, through its agent or, where there is none, by ssh. */
#include "guest_via.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>
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

/* For a shell that reads it again: ssh joins its words with spaces and hands them to one. */
static char *quoted(const char *word) {
    size_t quotes = 0;
    for (const char *at = word; *at; at++)
        quotes += *at == '\'';
    char *text = cli_grow(NULL, strlen(word) + 3 * quotes + 3, 1), *to = text;
    *to++ = '\'';
    for (; *word; word++) {
        if (*word == '\'')
            to = stpcpy(to, "'\\'");
        *to++ = *word;
    }
    *to++ = '\'';
    *to = '\0';
    return text;
}

static int by_ssh(cli *c, cli_way *w, vmctl_vm *vm, const cli_strings *environment) {
    cli_strings argv = {0};

    cli_strings_add(&argv, "ssh");
    cli_way_options(c, w, false, &argv);
    if (!cli_flag(&c->args, "stdin"))
        cli_strings_add(&argv, "-n");
    const char *user = cli_way_user(c, w);
    if (user) {
        cli_strings_add(&argv, "-l");
        cli_strings_add(&argv, user);
    }
    cli_strings_add(&argv, "--");
    cli_strings_add(&argv, w->host);
    if (environment->count) {
        cli_strings_add(&argv, "env");
        cli_strings_add(&argv, "-i");
        cli_strings_add(&argv, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    }
    for (size_t i = 0; i < environment->count; i++)
        cli_strings_take(&argv, quoted(environment->items[i]));
    for (const char *const *word = c->args.command; *word; word++)
        cli_strings_take(&argv, quoted(*word));
    int status = cli_way_run(c, w, vm, (const char *const *)argv.items);
    cli_strings_free(&argv);
    return status;
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
    cli_way way = {0};
    int rc = cli_guest_ssh(c, NULL) ? 0 : vmctl_guest_exec(vm, c->args.command, &options, &code, &err);
    if (cli_guest_ssh(c, err)) {
        status = cli_guest_way(c, vm, &way, &err);
        if (status == 0 && way.host) {
            status = by_ssh(c, &way, vm, &environment);
            cli_way_free(&way);
            return status;
        }
        rc = err ? -1 : 0;
    }
    if (rc < 0) {
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    } else if (!status) {
        status = code;
        c->own_status = true;
    }
    cli_way_free(&way);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option exec_options[] = {
    {"env", 0, CLI_TEXT, "KEY=VALUE", "an environment variable (again: several)"},
    {"stdin", 'i', CLI_FLAG, NULL, "give standard input to the command"},
    {"identity", 0, CLI_TEXT, "FILE", "the private key, for ssh", NULL, CLI_HINT_FILE},
    CLI_WAY_USER,
    CLI_GUEST_VIA,
    {NULL}};

const cli_verb cli_verb_exec = {
    .name = "exec",
    .group = "guest",
    .operands = "VM -- CMD...",
    .summary = "run a command in the guest, through its agent or by ssh",
    .help =
        "The exit status is the command's own, 128 + N when signal N ended it, 127 when the guest has no such program; "
        "125\n"
        "when vmctl failed. Output comes while the command runs, and with --stdin its input goes there as it is typed "
        "or\n"
        "piped. On QEMU the guest keeps output in a file of /tmp until the command has ended. ^C or --timeout end the\n"
        "command in the guest too. With --env it gets only these variables and a PATH. Where there is no agent, ssh "
        "does "
        "it.\n"
        "On VirtualBox the agent is Guest Additions: VMCTL_GUEST_USER and VMCTL_GUEST_PASSWORD_FILE name the guest's "
        "user.\n"
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
