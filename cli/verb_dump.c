/* vmctl dump. */
#include "verbs.h"

static int dump(cli *c) {
    return cli_vm_into_file(c, vmctl_vm_dump, "memory dumped");
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
