/* The verbs that change the state of VMs: one row each in a table of calls. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

/* What an operand's VM is after the call. */
static int done(cli_task *task, const char *outcome, int rc) {
    if (rc == 0) {
        task->result = cli_tree_identity(task->vm);
        cli_put(task->result, "outcome", outcome);
    }
    return rc;
}

static int do_start(cli *c, cli_task *task) {
    vmctl_start_options options = VMCTL_START_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.paused = cli_flag(&c->args, "paused");
    options.discard = cli_flag(&c->args, "discard-memory");
    return done(task, options.paused ? "paused" : "running", vmctl_vm_start(task->vm, &options, &task->err));
}

static void stop_options(cli *c, vmctl_stop_options *options) {
    options->force = cli_flag(&c->args, "force");
    options->no_wait = c->no_wait;
    if (cli_flag(&c->args, "no-force"))
        options->grace_ms = -1;
    else
        options->grace_ms = cli_number(&c->args, "grace", 0);
}

static int do_stop(cli *c, cli_task *task) {
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    stop_options(c, &options);
    return done(task, options.no_wait && !options.force ? "stopping" : "stopped",
                vmctl_vm_stop(task->vm, &options, &task->err));
}

static int do_restart(cli *c, cli_task *task) {
    vmctl_stop_options options = VMCTL_STOP_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    stop_options(c, &options);
    return done(task, "restarted", vmctl_vm_restart(task->vm, &options, &task->err));
}

static int do_reboot(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    return done(task, "rebooting", vmctl_vm_reboot(task->vm, &call, &task->err));
}

static int do_reset(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    return done(task, "reset", vmctl_vm_reset(task->vm, &call, &task->err));
}

static int do_pause(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    return done(task, "paused", vmctl_vm_pause(task->vm, &call, &task->err));
}

static int do_resume(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    return done(task, "running", vmctl_vm_resume(task->vm, &call, &task->err));
}

static int do_save(cli *c, cli_task *task) {
    vmctl_call call = cli_call(c);
    return done(task, "saved", vmctl_vm_save(task->vm, &call, &task->err));
}

static int start(cli *c) {
    return cli_each_operand(c, do_start, NULL, &cli_view_outcome);
}
static int reset(cli *c) {
    return cli_each_operand(c, do_reset, NULL, &cli_view_outcome);
}
static int pause_vm(cli *c) {
    return cli_each_operand(c, do_pause, NULL, &cli_view_outcome);
}
static int resume(cli *c) {
    return cli_each_operand(c, do_resume, NULL, &cli_view_outcome);
}
static int save(cli *c) {
    return cli_each_operand(c, do_save, NULL, &cli_view_outcome);
}

static int check_stop(cli *c) {
    const cli_args *args = &c->args;

    if (cli_flag(args, "no-force") && (cli_flag(args, "force") || cli_text(args, "grace", NULL)))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--no-force excludes --force and --grace");
    if (cli_flag(args, "force") && cli_text(args, "grace", NULL))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL,
                        "--force powers off at once; --grace has no meaning with it");
    return 0;
}

static int stop(cli *c) {
    int status = check_stop(c);
    return status ? status : cli_each_operand(c, do_stop, NULL, &cli_view_outcome);
}

static int restart(cli *c) {
    int status = check_stop(c);
    bool soft = cli_flag(&c->args, "soft");
    if (!status && soft &&
        (cli_flag(&c->args, "force") || cli_flag(&c->args, "no-force") || cli_text(&c->args, "grace", NULL)))
        status = cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL,
                          "--soft asks the guest and powers nothing off: it takes no --force, --no-force, --grace");
    if (!status && soft)
        return cli_each_operand(c, do_reboot, NULL, &cli_view_outcome);
    if (!status && c->no_wait)
        status = cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl stop --no-wait, or vmctl reset",
                          "a restart cannot begin before the stop has ended: it takes no --no-wait");
    return status ? status : cli_each_operand(c, do_restart, NULL, &cli_view_outcome);
}

static const cli_option start_options[] = {
    {"discard-memory", 0, CLI_FLAG, NULL, "of a saved VM: throw its memory away and boot"},
    {"paused", 0, CLI_FLAG, NULL, "create the hypervisor's process, but do not run the CPUs yet"},
    {NULL}};

/* clang-format off */
#define STOP_OPTIONS \
    {"force", 0, CLI_FLAG, NULL, "power off at once, like pulling the plug"}, \
    {"grace", 0, CLI_DURATION, "DUR", "how long the guest may take before it is powered off (60s)"}, \
    {"no-force", 0, CLI_FLAG, NULL, "never power off: status 8 when the guest does not stop in time"}
/* clang-format on */

static const cli_option stop_option_list[] = {STOP_OPTIONS, {NULL}};

static const cli_option restart_option_list[] = {
    STOP_OPTIONS,
    {"soft", 0, CLI_FLAG, NULL, "ask the guest to reboot in the VM as it is; what waits for a restart goes on waiting"},
    {NULL}};

/* What all verbs on VMs have alike. */
#define ON_VMS .operands = "VM...", .min = 1, .max = -1, .hint = CLI_HINT_VM, .hint_rest = CLI_HINT_VM, .group = "life"

const cli_verb cli_verb_start = {
    .name = "start",
    .summary = "start VMs; a saved one goes on from its memory",
    .help = "Returns when the hypervisor runs the VM; `vmctl wait` waits for the guest. Starting a running VM is no\n"
            "error.\n"
            "\n"
            "  vmctl start web-1 web-2\n"
            "  vmctl start web-1 && vmctl wait web-1 --for ssh",
    .options = start_options,
    .lazy = true,
    .run = start,
    ON_VMS,
};

const cli_verb cli_verb_stop = {
    .name = "stop",
    .summary = "shut VMs down, by force after the grace",
    .help =
        "Asks the guest through its agent, then by ACPI, and powers it off when it has not stopped within the grace.\n"
        "With --no-wait the guest is asked and nothing more. Stopping a stopped VM is no error.\n"
        "\n"
        "  vmctl stop web-1 --grace 2m\n"
        "  vmctl stop $(vmctl list -l run=42 -o name) --force",
    .options = stop_option_list,
    .run = stop,
    ON_VMS,
};

const cli_verb cli_verb_restart = {
    .name = "restart",
    .summary = "stop VMs and start them again, with changes that wait for that",
    .help =
        "Stops as `vmctl stop` does. The hypervisor's process is a new one, so what `vmctl set` said to be in force\n"
        "after a restart is in force. With --soft the guest is asked to reboot (its agent, then ACPI) and the process "
        "stays:\n"
        "it is faster, and nothing that waits for a restart comes into force. `vmctl reset` does not ask the guest.",
    .options = restart_option_list,
    .run = restart,
    ON_VMS,
};

const cli_verb cli_verb_reset = {
    .name = "reset",
    .summary = "press the reset button: the guest is not asked",
    .run = reset,
    ON_VMS,
};

const cli_verb cli_verb_pause = {
    .name = "pause",
    .summary = "stop the CPUs of VMs; memory stays",
    .run = pause_vm,
    ON_VMS,
};

const cli_verb cli_verb_resume = {
    .name = "resume",
    .summary = "let paused VMs go on",
    .run = resume,
    ON_VMS,
};

const cli_verb cli_verb_save = {
    .name = "save",
    .summary = "write the memory of VMs to disk and stop them; start goes on from there",
    .lazy = true, /* where nothing is saved, nobody has to be there to be told so */
    .run = save,
    ON_VMS,
};
