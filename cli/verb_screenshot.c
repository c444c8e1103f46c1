/* vmctl screenshot. */
#include "verbs.h"

static int screenshot(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    int rc = vmctl_screenshot(vm, c->args.operands[1], &call, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, "screenshot taken", c->args.operands[1]));
}

const cli_verb cli_verb_screenshot = {
    .name = "screenshot",
    .group = "look",
    .operands = "VM FILE.png",
    .summary = "what the display shows, as a PNG",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_FILE,
    .run = screenshot,
};
