/* vmctl apply, vmctl diff. */
#include "output.h"
#include "specs.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>

static cJSON *spec_result(vmctl_connection *connection, const vmctl_spec *spec) {
    cJSON *result = cJSON_CreateObject();

    cli_put(result, "name", vmctl_spec_name(spec));
    cli_put(result, "backend", vmctl_connection_backend(connection));
    cli_put(result, "context", vmctl_connection_context(connection));
    return result;
}

static vmctl_apply_options apply_options_of(cli *c, const vmctl_call *call, cJSON *changes) {
    vmctl_apply_options options = VMCTL_APPLY_OPTIONS_INIT;

    options.call = call;
    options.prune = cli_flag(&c->args, "prune");
    options.take_over = cli_flag(&c->args, "force-conflicts");
    options.changed = cli_collect_change;
    options.user = changes;
    return options;
}

static int apply_one(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    (void)user;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    bool created = false;
    cJSON *changes = cJSON_CreateArray();
    vmctl_apply_options options = apply_options_of(c, &call, changes);

    options.dry_run = cli_flag(&c->args, "dry-run");
    options.live = cli_flag(&c->args, "live");
    int rc = vmctl_apply(connection, spec, &options, &created, &err);
    cli_progress_end();
    if (rc < 0) {
        cJSON_Delete(changes);
        return cli_fail_one(c, vmctl_spec_name(spec), err, vmctl_connection_context(connection));
    }
    cJSON *result = spec_result(connection, spec);
    bool changed = changes->child != NULL;
    const char *outcome = created ? "created" : changed ? "changed" : "unchanged";
    if (options.dry_run && (created || changed))
        outcome = created ? "would be created" : "would be changed";
    cli_put(result, "outcome", outcome);
    cJSON_AddItemToObject(result, "changes", changes);
    cli_output_add(c, result);
    return 0;
}

static int apply(cli *c) {
    cli_specs specs = {0};
    int status = cli_specs_load(c, c->args.operands, &specs);

    if (status)
        return status;
    cli_output_begin(c, &cli_view_outcome);
    status = cli_specs_each(c, &specs, apply_one, NULL);
    cli_output_end(c, status != 0);
    cli_specs_free(&specs);
    return status;
}

static const cli_option apply_options[] = {
    {"dry-run", 0, CLI_FLAG, NULL, "tell what would change, change nothing"},
    {"force-conflicts", 0, CLI_FLAG, NULL, "take over fields of a native document that others have set otherwise"},
    {"live", 0, CLI_FLAG, NULL, "every change must be in force now; else nothing is changed (status 6)"},
    {"name", 0, CLI_TEXT, "NAME", "another name than the file says"},
    {"prune", 0, CLI_FLAG, NULL, "remove devices that are not in a list of the file, instead of refusing"},
    {"set", 0, CLI_TEXT, "KEY=VALUE", "lay one key of the spec over what is written"},
    {NULL}};

const cli_verb cli_verb_apply = {
    .name = "apply",
    .group = "life",
    .operands = "FILE...",
    .summary = "make VMs be as their vm.yaml files say",
    .help =
        "A VM that is not there is created, not started. A key that is absent is left alone; a list that is given is\n"
        "complete, matched by name. What needs a restart is said; what would lose data is refused (status 11).\n"
        "A KubeVirt manifest (apiVersion: kubevirt.io/...) is applied by the server: what an earlier one of vmctl's "
        "said\n"
        "and this one does not say goes; what others have set otherwise since is refused and named (status 5).\n"
        "\n"
        "  vmctl get web-1 -o spec | vmctl apply -",
    .options = apply_options,
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = apply,
};

/* --- diff ----------------------------------------------------------------------------------------------------- */

/* *vm stays NULL when there is none of that name. */
static int find_vm(cli *c, vmctl_connection *connection, const vmctl_spec *spec, vmctl_vm **vm, vmctl_error **err) {
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    const char *said = vmctl_spec_namespace(spec);

    options.call = &call;
    options.namespace_name = said ? said : c->namespace_name;
    options.folder = c->folder;
    int rc = vmctl_vm_lookup(connection, vmctl_spec_name(spec), &options, vm, err);
    if (rc != VMCTL_E_NOT_FOUND)
        return rc;
    vmctl_error_free(*err);
    *err = NULL;
    return 0;
}

static int compare(cli *c, vmctl_vm *vm, const vmctl_spec *spec, cJSON *changes, vmctl_error **err) {
    vmctl_diff_options options = VMCTL_DIFF_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_spec *have = NULL;
    vmctl_diff *diff = NULL;

    options.prune = cli_flag(&c->args, "prune");
    int rc = vmctl_vm_spec(vm, &call, &have, err);
    if (rc == 0)
        rc = vmctl_spec_diff(have, spec, &options, &diff, err);
    vmctl_spec_free(have);
    for (size_t i = 0; rc == 0 && i < vmctl_diff_count(diff); i++)
        cJSON_AddItemToArray(changes, cli_tree_change(vmctl_diff_at(diff, i)));
    vmctl_diff_free(diff);
    return rc;
}

/* A native document is compared by its hypervisor. */
static int compare_native(cli *c, vmctl_connection *connection, const vmctl_spec *spec, cJSON *changes,
                          vmctl_error **err) {
    vmctl_call call = cli_call(c);
    vmctl_apply_options options = apply_options_of(c, &call, changes);

    options.dry_run = true;
    return vmctl_apply(connection, spec, &options, NULL, err);
}

static int diff_one(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    bool *different = user;
    vmctl_vm *vm = NULL;
    vmctl_error *err = NULL;
    cJSON *changes = cJSON_CreateArray();

    int rc = find_vm(c, connection, spec, &vm, &err);
    if (rc == 0 && vm)
        rc = vmctl_spec_native(spec, NULL) ? compare_native(c, connection, spec, changes, &err)
                                           : compare(c, vm, spec, changes, &err);
    bool there = vm != NULL;
    vmctl_vm_free(vm);
    cli_progress_end();
    if (rc < 0) {
        cJSON_Delete(changes);
        return cli_fail_one(c, vmctl_spec_name(spec), err, vmctl_connection_context(connection));
    }
    cJSON *result = spec_result(connection, spec);
    cli_put(result, "outcome", !there ? "does not exist" : changes->child ? "differs" : "is the same");
    *different = *different || !there || changes->child;
    cJSON_AddItemToObject(result, "changes", changes);
    cli_output_add(c, result);
    return 0;
}

static int diff(cli *c) {
    cli_specs specs = {0};
    bool different = false;
    int status = cli_specs_load(c, c->args.operands, &specs);

    if (status)
        return status;
    cli_output_begin(c, &cli_view_outcome);
    status = cli_specs_each(c, &specs, diff_one, &different);
    cli_output_end(c, status != 0);
    cli_specs_free(&specs);
    return status ? status : different ? 1 : 0;
}

static const cli_option diff_options[] = {
    {"force-conflicts", 0, CLI_FLAG, NULL,
     "show fields of a native document that others have set otherwise as changed"},
    {"name", 0, CLI_TEXT, "NAME", "another name than the file says"},
    {"prune", 0, CLI_FLAG, NULL, "show devices that are not in a list of the file as removed, instead of refusing"},
    {"set", 0, CLI_TEXT, "KEY=VALUE", "lay one key of the spec over what is written"},
    {NULL}};

const cli_verb cli_verb_diff = {
    .name = "diff",
    .group = "life",
    .operands = "FILE...",
    .summary = "what apply would change; status 1 when there is something",
    .options = diff_options,
    .min = 1,
    .max = -1,
    .hint = CLI_HINT_FILE,
    .hint_rest = CLI_HINT_FILE,
    .run = diff,
};
