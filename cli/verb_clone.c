/* vmctl clone. */
#include "verbs.h"

static int clone_vm(cli *c) {
    vmctl_clone_options options = VMCTL_CLONE_OPTIONS_INIT;
    vmctl_error *err = NULL;
    vmctl_vm *made = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    options.call = &call;
    options.linked = cli_flag(&c->args, "linked");
    options.snapshot = cli_text(&c->args, "snapshot", NULL);
    int rc = vmctl_vm_clone(vm, c->args.operands[1], &options, &made, &err);
    cJSON *result = rc == 0 ? cli_outcome(made, "created", NULL) : NULL;
    vmctl_vm_free(made);
    return cli_vm_end(c, vm, rc, err, result);
}

static const cli_option clone_options[] = {
    {"linked", 0, CLI_FLAG, NULL, "disks that stand on the original's, instead of copies"},
    {"snapshot", 0, CLI_TEXT, "NAME", "from this snapshot, instead of the present state"},
    {NULL}};

const cli_verb cli_verb_clone = {
    .name = "clone",
    .group = "life",
    .operands = "VM NEW",
    .summary = "a copy of a VM with its own MACs and identity",
    .options = clone_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = clone_vm,
};
