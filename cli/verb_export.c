/* vmctl export. */
#include "verbs.h"

static int export_vm(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    int rc = vmctl_export(vm, c->args.operands[1], &call, &err);
    return cli_vm_end(c, vm, rc, err, cli_outcome(vm, "exported", c->args.operands[1]));
}

const cli_verb cli_verb_export = {
    .name = "export",
    .group = "storage",
    .operands = "VM FILE.ova",
    .summary = "write a whole VM into an OVA file",
    .help = "The VM must be stopped. The OVA holds an OVF descriptor, each disk flattened into a compressed VMDK, and "
            "their SHA-256\n"
            "sums; VirtualBox and VMware read it. What OVF cannot say is told. FILE.ova must not exist; cancelled or "
            "failed,\n"
            "export leaves no file.",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_FILE,
    .run = export_vm,
};
