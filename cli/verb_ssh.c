/* vmctl ssh: the person's own OpenSSH client, at the VM's address or at a port that is forwarded to it. */
#include "ssh_way.h"
#include "verbs.h"

#include <stdlib.h>

static int run_ssh(cli *c, cli_way *w, vmctl_vm *vm) {
    cli_strings argv = {0};

    cli_strings_add(&argv, "ssh");
    cli_way_options(c, w, false, &argv);
    const char *user = cli_way_user(c, w);
    if (user) {
        cli_strings_add(&argv, "-l");
        cli_strings_add(&argv, user);
    }
    cli_strings_add(&argv, "--");
    cli_strings_add(&argv, w->host);
    for (const char *const *word = c->args.command; word && *word; word++)
        cli_strings_add(&argv, *word);
    if (c->verbose) {
        CLI_AUTO_FREE char *text = cli_printf("ssh to %s, port %s", w->host, w->port ? w->port : "22");
        cli_note(c, VMCTL_NOTE_INFO, text);
    }
    int status = cli_way_run(c, w, vm, (const char *const *)argv.items);
    cli_strings_free(&argv);
    return status;
}

static int ssh(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    cli_way w = {0};
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    if (cli_way_find(c, vm, &w, &err) < 0)
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    else if (!w.host)
        status = cli_way_missing(c, vm);
    if (!status) {
        status = run_ssh(c, &w, vm);
        vm = NULL;
    }
    cli_way_free(&w);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option options[] = {CLI_WAY_OPTIONS, CLI_WAY_USER, {NULL}};

const cli_verb cli_verb_ssh = {
    .name = "ssh",
    .group = "guest",
    .operands = "VM [-- CMD...]",
    .summary = "log in to a VM, or run a command there, through OpenSSH",
    .help =
        "Goes to a port that is forwarded to the guest's port 22, else to its address. Host keys are kept per VM. The\n"
        "exit status is the command's own; 125 when vmctl failed before it, 255 when ssh did.\n"
        "\n"
        "  vmctl ssh web-1 -- uname -r",
    .options = options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .command = true,
    .run = ssh,
};
