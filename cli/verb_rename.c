/* vmctl rename. */
#include "verbs.h"

static int rename_vm(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    CLI_AUTO_FREE char *detail = cli_printf("was %s", vmctl_vm_name(vm));
    int rc = vmctl_vm_rename(vm, c->args.operands[1], &call, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, "renamed", detail));
}

const cli_verb cli_verb_rename = {
    .name = "rename",
    .group = "life",
    .operands = "VM NEW",
    .summary = "give a VM another name",
    .lazy = true,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = rename_vm,
};
