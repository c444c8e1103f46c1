/* vmctl export. */
#include "verbs.h"

static int export_vm(cli *c) {
    return cli_vm_into_file(c, vmctl_export, "exported");
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
