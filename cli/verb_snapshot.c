/* vmctl snapshot create|list|get|rename|revert|delete. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_TREE},
                                     {"CURRENT", "current", CLI_CELL_YES, 0},
                                     {"STATE", "state", CLI_CELL_STATE, 0},
                                     {"MEMORY", "memory", CLI_CELL_YES, 0},
                                     {"CREATED", "created", CLI_CELL_TEXT, 0},
                                     {"SIZE", "sizeBytes", CLI_CELL_BYTES, CLI_COLUMN_RIGHT},
                                     {"DESCRIPTION", "description", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"ID", "id", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"EXTERNAL", "external", CLI_CELL_YES, CLI_COLUMN_WIDE},
                                     {"EXCLUDED", "excluded", CLI_CELL_NAMES, CLI_COLUMN_WIDE},
                                     {NULL}};
static const cli_view tree_view = {.columns = columns, .parent_key = "parent"};

/* One VM and the names after it: the frame of every verb here. */
typedef int (*vm_fn)(cli *c, vmctl_vm *vm, vmctl_error **err);

static int with_vm(cli *c, vm_fn work) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    int rc = work(c, vm, &err);
    return cli_vm_end(c, vm, rc, err, NULL);
}

static void show_outcome(cli *c, const vmctl_vm *vm, const char *snapshot, const char *outcome) {
    cJSON *result = cli_outcome(vm, outcome, snapshot);

    cli_put(result, "snapshot", snapshot);
    cli_progress_end();
    cli_output_one(c, &cli_view_outcome, result);
}

static int add_snapshot(const vmctl_snapshot *snapshot, void *user) {
    cJSON_AddItemToArray(user, cli_tree_snapshot(snapshot));
    return 0;
}

static int do_create(cli *c, vmctl_vm *vm, vmctl_error **err) {
    vmctl_snapshot_create_options options = VMCTL_SNAPSHOT_CREATE_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    cJSON *made = cJSON_CreateArray();
    cJSON *item = NULL;

    options.call = &call;
    if (cli_flag(&c->args, "memory"))
        options.memory = VMCTL_MEMORY_WITH;
    if (cli_flag(&c->args, "no-memory"))
        options.memory = VMCTL_MEMORY_WITHOUT;
    options.quiesce = cli_flag(&c->args, "quiesce");
    options.description = cli_text(&c->args, "description", NULL);
    options.made = add_snapshot;
    options.user = made;
    int rc = vmctl_snapshot_create(vm, c->args.operands[1], &options, err);
    cli_progress_end();
    if (rc == 0) {
        cli_output_begin(c, &tree_view);
        while ((item = cJSON_DetachItemFromArray(made, 0)))
            cli_output_add(c, item);
        cli_output_end(c, false);
    }
    cJSON_Delete(made);
    return rc;
}

static int do_list(cli *c, vmctl_vm *vm, vmctl_error **err) {
    vmctl_call call = cli_call(c);
    cJSON *list = cJSON_CreateArray();
    cJSON *item = NULL;

    int rc = vmctl_snapshot_list(vm, &call, add_snapshot, list, err);
    cli_progress_end();
    if (rc == 0) {
        cli_output_begin(c, &tree_view);
        while ((item = cJSON_DetachItemFromArray(list, 0)))
            cli_output_add(c, item);
        cli_output_end(c, false);
    }
    cJSON_Delete(list);
    return rc;
}

static int do_rename(cli *c, vmctl_vm *vm, vmctl_error **err) {
    vmctl_call call = cli_call(c);
    int rc = vmctl_snapshot_rename(vm, c->args.operands[1], c->args.operands[2], &call, err);
    if (rc == 0)
        show_outcome(c, vm, c->args.operands[2], "snapshot renamed");
    return rc;
}

static int do_revert(cli *c, vmctl_vm *vm, vmctl_error **err) {
    vmctl_snapshot_revert_options options = VMCTL_SNAPSHOT_REVERT_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.start = cli_flag(&c->args, "start");
    options.only_stopped = cli_flag(&c->args, "only-stopped");
    options.in_place = cli_flag(&c->args, "in-place");
    int rc = vmctl_snapshot_revert(vm, c->args.operands[1], &options, err);
    if (rc == 0)
        show_outcome(c, vm, c->args.operands[1], "reverted");
    return rc;
}

static int do_delete(cli *c, vmctl_vm *vm, vmctl_error **err) {
    vmctl_snapshot_delete_options options = VMCTL_SNAPSHOT_DELETE_OPTIONS_INIT;
    vmctl_call call = cli_call(c);

    options.call = &call;
    options.children = cli_flag(&c->args, "children");
    int rc = vmctl_snapshot_delete(vm, c->args.operands[1], &options, err);
    if (rc == 0)
        show_outcome(c, vm, c->args.operands[1], "snapshot deleted");
    return rc;
}

static int snapshot_create(cli *c) {
    if (cli_flag(&c->args, "memory") && cli_flag(&c->args, "no-memory"))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--memory and --no-memory exclude each other");
    return with_vm(c, do_create);
}

static int snapshot_list(cli *c) {
    return with_vm(c, do_list);
}
static int snapshot_rename(cli *c) {
    return with_vm(c, do_rename);
}
static int snapshot_revert(cli *c) {
    return with_vm(c, do_revert);
}
static int snapshot_delete(cli *c) {
    return with_vm(c, do_delete);
}

static int no_snapshot(cli *c, const vmctl_vm *vm, const cJSON *list) {
    const char *wanted = c->args.operands[1];
    const char **names = calloc((size_t)cJSON_GetArraySize(list) + 1, sizeof *names);
    const cJSON *item = NULL;
    size_t count = 0;

    if (names)
        cJSON_ArrayForEach(item, list) names[count++] = cli_get(item, "name");
    const char *near = names ? vmctl_nearest(wanted, names) : NULL;
    CLI_AUTO_FREE char *next = near
                                   ? cli_printf("did you mean %s?", near)
                                   : cli_printf("vmctl snapshot list %s shows those that are there", vmctl_vm_name(vm));
    free(names);
    return cli_fail(c, VMCTL_E_NOT_FOUND, next, "%s has no snapshot %s", vmctl_vm_name(vm), wanted);
}

/* One of the list. */
static int snapshot_get(cli *c) {
    vmctl_error *err = NULL;
    int status = 0;
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);

    if (!vm)
        return status;
    vmctl_call call = cli_call(c);
    cJSON *list = cJSON_CreateArray();
    const cJSON *item = NULL;
    bool found = false;
    int rc = vmctl_snapshot_list(vm, &call, add_snapshot, list, &err);
    cli_progress_end();
    if (rc == 0)
        cJSON_ArrayForEach(item, list) if (!found && !strcmp(cli_get(item, "name"), c->args.operands[1])) {
            cli_output_one(c, &tree_view, cJSON_Duplicate(item, true));
            found = true;
        }
    if (rc < 0)
        status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
    else if (!found)
        status = no_snapshot(c, vm, list);
    cJSON_Delete(list);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option create_options[] = {
    {"description", 0, CLI_TEXT, "TEXT", "one line for people"},
    {"memory", 0, CLI_FLAG, NULL, "with the memory of the running VM"},
    {"no-memory", 0, CLI_FLAG, NULL, "the disks only"},
    {"quiesce", 0, CLI_FLAG, NULL, "freeze the file systems through the guest agent; fails without one"},
    {NULL}};
static const cli_option revert_options[] = {
    {"start", 0, CLI_FLAG, NULL, "running afterwards, also from a snapshot without memory"},
    {"only-stopped", 0, CLI_FLAG, NULL, "refuse where the VM runs, which would be ended for it"},
    {"in-place", 0, CLI_FLAG, NULL, "disks keep their names (KubeVirt, which else makes new claims)"},
    {NULL}};
static const cli_option delete_options[] = {{"children", 0, CLI_FLAG, NULL, "those that came from it too"}, {NULL}};

static const cli_verb verb_create = {
    .name = "create",
    .operands = "VM NAME",
    .summary = "take a snapshot; without a memory option, what this hypervisor can also revert",
    .options = create_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = snapshot_create,
};
static const cli_verb verb_list = {
    .name = "list",
    .operands = "VM",
    .summary = "the snapshots of a VM, as a tree",
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = snapshot_list,
};
static const cli_verb verb_get = {
    .name = "get",
    .operands = "VM NAME",
    .summary = "one snapshot",
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = snapshot_get,
};
static const cli_verb verb_rename = {
    .name = "rename",
    .operands = "VM NAME NEW",
    .summary = "give a snapshot another name",
    .min = 3,
    .max = 3,
    .hint = CLI_HINT_VM,
    .run = snapshot_rename,
};
static const cli_verb verb_revert = {
    .name = "revert",
    .operands = "VM NAME",
    .summary = "make the VM as it was; what came after is lost, other snapshots stay",
    .options = revert_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = snapshot_revert,
};
static const cli_verb verb_delete = {
    .name = "delete",
    .operands = "VM NAME",
    .summary = "remove a snapshot; the VM stays as it is",
    .options = delete_options,
    .min = 2,
    .max = 2,
    .hint = CLI_HINT_VM,
    .run = snapshot_delete,
};

static const cli_verb *const verbs[] = {&verb_create, &verb_list,   &verb_get, &verb_rename,
                                        &verb_revert, &verb_delete, NULL};

const cli_verb cli_verb_snapshot = {
    .name = "snapshot",
    .group = "snapshot",
    .summary = "take, show, revert and remove snapshots",
    .verbs = verbs,
};
