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

static int apply_one(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    (void)user;
    vmctl_apply_options options = VMCTL_APPLY_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    bool created = false;
    cJSON *changes = cJSON_CreateArray();

    options.call = &call;
    options.prune = cli_flag(&c->args, "prune");
    options.dry_run = cli_flag(&c->args, "dry-run");
    options.live = cli_flag(&c->args, "live");
    options.changed = cli_collect_change;
    options.user = changes;
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

/* have stays NULL when there is no VM of that name. */
static int find_spec(cli *c, vmctl_connection *connection, const char *name, vmctl_spec **have, vmctl_error **err) {
    vmctl_lookup_options options = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_vm *vm = NULL;

    options.call = &call;
    options.namespace_name = c->namespace_name;
    options.folder = c->folder;
    int rc = vmctl_vm_lookup(connection, name, &options, &vm, err);
    if (rc == VMCTL_E_NOT_FOUND) {
        vmctl_error_free(*err);
        *err = NULL;
        return 0;
    }
    if (rc == 0)
        rc = vmctl_vm_spec(vm, &call, have, err);
    vmctl_vm_free(vm);
    return rc;
}

static int diff_one(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user) {
    bool *different = user;
    vmctl_diff_options options = VMCTL_DIFF_OPTIONS_INIT;
    vmctl_spec *have = NULL;
    vmctl_diff *diff = NULL;
    vmctl_error *err = NULL;

    options.prune = cli_flag(&c->args, "prune");
    int rc = find_spec(c, connection, vmctl_spec_name(spec), &have, &err);
    if (rc == 0 && have)
        rc = vmctl_spec_diff(have, spec, &options, &diff, &err);
    vmctl_spec_free(have);
    cli_progress_end();
    if (rc < 0)
        return cli_fail_one(c, vmctl_spec_name(spec), err, vmctl_connection_context(connection));
    cJSON *result = spec_result(connection, spec);
    cJSON *changes = cJSON_CreateArray();
    size_t count = diff ? vmctl_diff_count(diff) : 0;
    for (size_t i = 0; i < count; i++)
        cJSON_AddItemToArray(changes, cli_tree_change(vmctl_diff_at(diff, i)));
    cli_put(result, "outcome", !diff ? "does not exist" : count ? "differs" : "is the same");
    cJSON_AddItemToObject(result, "changes", changes);
    *different = *different || !diff || count;
    vmctl_diff_free(diff);
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
