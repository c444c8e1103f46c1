/* vmctl wait. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <string.h>

static int do_wait(cli *c, cli_task *task) {
    vmctl_wait_options options = VMCTL_WAIT_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    const char *stage = cli_text(&c->args, "for", "running");
    cJSON *result = cli_tree_identity(task->vm);

    options.call = &call;
    options.user = cli_text(&c->args, "user", NULL);
    options.identity = cli_text(&c->args, "identity", NULL);
    int rc = vmctl_vm_wait(task->vm, stage, &options, &task->err);
    cli_put(result, "outcome", "reached");
    cli_put(result, "detail", stage);
    if (rc == 0)
        task->result = result;
    else
        cJSON_Delete(result);
    return rc;
}

static int wait_for(cli *c) {
    const char *stage = cli_text(&c->args, "for", NULL);

    if (!stage)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl wait VM --for ssh",
                        "--for is missing: running, stopped, deleted, agent, address, port:N, ssh or cloud-init");
    if (c->no_wait)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl get VM", "waiting without waiting is not possible");
    /* a VM that is gone already has reached that stage */
    return cli_each(c, (char *const *)c->args.operands, do_wait, NULL, !strcmp(stage, "deleted"), &cli_view_outcome);
}

static const cli_option options[] = {
    {"for", 0, CLI_TEXT, "STAGE", "running, stopped, deleted, agent, address, port:N, ssh or cloud-init", NULL,
     CLI_HINT_STAGE},
    {"identity", 'i', CLI_TEXT, "FILE", "the ssh key, for ssh and cloud-init", NULL, CLI_HINT_FILE},
    {"user", 0, CLI_TEXT, "NAME", "the user in the guest, for ssh and cloud-init (the spec's cloudInit.user)"},
    {NULL}};

const cli_verb cli_verb_wait = {
    .name = "wait",
    .group = "look",
    .operands = "VM... --for STAGE",
    .summary = "wait until VMs have reached a stage",
    .help = "Waits by the hypervisor's own notifications, 10 minutes unless --timeout says otherwise (then status 8). "
            "Ends\n"
            "at once, with status 6, when the stage cannot come any more.\n"
            "\n"
            "  vmctl wait web-1 web-2 --for ssh --timeout 5m --progress plain",
    .options = options,
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_VM,
    .run = wait_for,
};
