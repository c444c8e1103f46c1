/* vmctl dump. */
#include "verbs.h"

static int dump(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    int rc = vmctl_vm_dump(vm, c->args.operands[1], &call, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, "memory dumped", c->args.operands[1]));
}

const cli_verb cli_verb_dump = {
    .name = "dump",
    .group = "look",
    .operands = "VM FILE",
    .summary = "write the memory of a running VM into a file",
    .help =
        "FILE is an ELF core file for crash, gdb or Volatility; only its owner can read it: a guest's memory has its "
        "secrets\n"
        "in it. The guest stands still for it where the hypervisor needs that, and goes on. FILE must not exist; "
        "cancelled or\n"
        "failed, dump leaves no file.",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_FILE,
    .run = dump,
};
