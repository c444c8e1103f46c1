/* vmctl delete. */
#include "output.h"
#include "specs.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>

typedef struct deleter {
    vmctl_delete_disks disks;
    bool force;
} deleter;

static void on_removed(const char *what, const char *name, void *user) {
    cJSON *item = cJSON_CreateObject();

    cli_put(item, "kind", what);
    cli_put(item, "name", name);
    cJSON_AddItemToArray(user, item);
}

static int do_delete(cli *c, cli_task *task) {
    const deleter *d = task->user;
    vmctl_delete_options options = VMCTL_DELETE_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    cJSON *result = cli_tree_identity(task->vm);
    cJSON *removed = cJSON_CreateArray();

    options.call = &call;
    options.force = d->force;
    options.disks = d->disks;
    options.removed = on_removed;
    options.user = removed;
    int rc = vmctl_vm_delete(task->vm, &options, &task->err);
    cli_put(result, "outcome", "deleted");
    cJSON_AddItemToObject(result, "removed", removed);
    if (rc == 0)
        task->result = result;
    else
        cJSON_Delete(result);
    return rc;
}

/* The VMs of files go one after the other, each at the endpoint its document names. */
static int delete_spec(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    cli_task task = {.target = vmctl_spec_name(spec), .connection = connection, .user = user};
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.namespace_name = c->namespace_name;
    options.folder = c->folder;
    if (!task.target)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl delete NAME", "the document does not name its VM");
    int rc = vmctl_vm_lookup(connection, task.target, &options, &task.vm, &task.err);
    if (rc == VMCTL_E_NOT_FOUND && cli_flag(&c->args, "ignore-not-found")) {
        vmctl_error_free(task.err);
        return 0;
    }
    if (rc == 0)
        rc = do_delete(c, &task);
    vmctl_vm_free(task.vm);
    cli_progress_end();
    if (rc < 0)
        return cli_fail_one(c, task.target, task.err, vmctl_connection_context(connection));
    cli_output_add(c, task.result);
    return 0;
}

static int delete_files(cli *c, deleter *d) {
    CLI_AUTO_STRINGS files = {0};
    cli_specs specs = {0};

    cli_texts(&c->args, "file", &files);
    if (c->args.operand_count)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "the VMs of --file, or VMs by name: not both");
    int status = cli_specs_load(c, (const char *const *)files.items, &specs);
    if (status)
        return status;
    cli_output_begin(c, &cli_view_outcome);
    status = cli_specs_each(c, &specs, delete_spec, d);
    cli_output_end(c, status != 0);
    cli_specs_free(&specs);
    return status;
}

static int delete_vms(cli *c) {
    const cli_args *args = &c->args;
    deleter d = {VMCTL_DELETE_OWN_DISKS, cli_flag(args, "force")};

    if (cli_flag(args, "disks") && cli_flag(args, "keep-disks"))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--disks and --keep-disks exclude each other");
    if (cli_flag(args, "disks"))
        d.disks = VMCTL_DELETE_ALL_DISKS;
    if (cli_flag(args, "keep-disks"))
        d.disks = VMCTL_DELETE_KEEP_DISKS;
    if (cli_text(args, "file", NULL))
        return delete_files(c, &d);
    if (!args->operand_count)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl help delete",
                        "something is missing: vmctl delete VM..., or vmctl delete -f FILE");
    return cli_each(c, (char *const *)args->operands, do_delete, &d, cli_flag(args, "ignore-not-found"),
                    &cli_view_outcome);
}

static const cli_option options[] = {
    {"disks", 0, CLI_FLAG, NULL, "all disks that no other VM uses, also those that vmctl did not make"},
    {"file", 'f', CLI_TEXT, "FILE", "the VMs that this vm.yaml describes", NULL, CLI_HINT_FILE},
    {"force", 0, CLI_FLAG, NULL, "also a running VM: it is powered off first"},
    {"ignore-not-found", 0, CLI_FLAG, NULL, "a VM that is not there is no error"},
    {"keep-disks", 0, CLI_FLAG, NULL, "keep all disks"},
    {NULL}};

const cli_verb cli_verb_delete = {
    .name = "delete",
    .group = "life",
    .operands = "VM... | -f FILE",
    .summary = "remove VMs, with the disks that vmctl made for them",
    .help =
        "The disks that vmctl made for a VM go with it, and each is named. `volume:` disks and the disks of VMs that\n"
        "vmctl did not make stay, unless --disks. A running VM is status 6 unless --force.\n"
        "\n"
        "  vmctl delete web-1 --force\n"
        "  vmctl delete -f web.yaml --ignore-not-found",
    .options = options,
    .max = -1,
    .hint = CLI_HINT_VM,
    .hint_rest = CLI_HINT_VM,
    .run = delete_vms,
};
