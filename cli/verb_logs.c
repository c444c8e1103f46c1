/* vmctl logs. */
#include "verbs.h"

#include <stdio.h>

static int write_bytes(const void *bytes, size_t length, void *user) {
    (void)user;
    fwrite(bytes, 1, length, stdout);
    fflush(stdout);
    return ferror(stdout);
}

static int logs(cli *c) {
    vmctl_log_options options = VMCTL_LOG_OPTIONS_INIT;
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    /* bars would stand in what is written meanwhile */
    call.progress = NULL;
    options.call = &call;
    options.follow = cli_flag(&c->args, "follow");
    options.tail_bytes = cli_number(&c->args, "tail", -1);
    int rc = vmctl_serial_log(vm, &options, write_bytes, NULL, &err);
    cli_progress_end();
    if (rc < 0 && !(options.follow && rc == VMCTL_E_CANCELLED))
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    else
        vmctl_error_free(err);
    vmctl_vm_free(vm);
    return !status && vmctl_cancel_triggered(c->cancel) ? vmctl_code_exit_status(VMCTL_E_CANCELLED) : status;
}

static const cli_option options[] = {{"follow", 'f', CLI_FLAG, NULL, "go on with what is added, until ^C or --timeout"},
                                     {"tail", 0, CLI_SIZE, "SIZE", "only the last of it, such as 4KiB"},
                                     {NULL}};

const cli_verb cli_verb_logs = {
    .name = "logs",
    .group = "look",
    .operands = "VM",
    .summary = "the serial log (the spec's serial.log)",
    .options = options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = logs,
};
