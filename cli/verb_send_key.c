/* vmctl send-key. */
#include "verbs.h"

static int send_key(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    int rc = vmctl_send_keys(vm, c->args.operands + 1, c->args.operand_count - 1, &call, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, "keys sent", NULL));
}

const cli_verb cli_verb_send_key = {
    .name = "send-key",
    .group = "look",
    .operands = "VM KEY...",
    .summary = "press keys together: leftctrl leftalt delete",
    .help = "The names are those of Linux' input-event-codes.h, in lower case and without KEY_.",
    .min = 2,
    .max = -1,
    .hint = CLI_HINT_VM,
    .run = send_key,
};
