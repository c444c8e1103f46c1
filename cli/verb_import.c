/* vmctl import. */
#include "verbs.h"

static int import_vm(cli *c) {
    vmctl_error *err = NULL;
    vmctl_vm *vm = NULL;
    int status = 0;
    vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);

    if (!connection)
        return status;
    vmctl_call call = cli_call(c);
    if (vmctl_import(connection, c->args.operands[0], cli_text(&c->args, "name", NULL), &call, &vm, &err) < 0)
        return cli_report(c, err, vmctl_connection_context(connection));
    return cli_vm_end(c, vm, 0, NULL, cli_outcome(vm, "created", NULL));
}

static const cli_option import_options[] = {{"name", 0, CLI_TEXT, "NAME", "another name than the file says"}, {NULL}};

const cli_verb cli_verb_import = {
    .name = "import",
    .group = "storage",
    .operands = "FILE.ova",
    .summary = "make a VM from an OVA file",
    .help = "Of any maker's OVA with one VM: its sums are checked first, disks become qcow2, NICs are on nat. What the "
            "OVA says and this\n"
            "hypervisor cannot do is told. The VM is not started.",
    .options = import_options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_FILE,
    .run = import_vm,
};
