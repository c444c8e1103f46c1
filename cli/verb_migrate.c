/* vmctl migrate. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

static int on_obstacle(const vmctl_obstacle *obstacle, void *user) {
    cJSON *item = cJSON_CreateObject();

    cli_put(item, "what", obstacle->what);
    cJSON_AddBoolToObject(item, "fatal", obstacle->fatal);
    cli_put(item, "reason", obstacle->reason);
    cli_put(item, "remedy", obstacle->remedy);
    cJSON_AddItemToArray(user, item);
    return 0;
}

/* The connection that --to names: a context of that name, or a URI; NULL with status 0 for "host:NAME". */
static int open_target(cli *c, const char *to, vmctl_connection **target) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;

    if (!strncmp(to, "host:", 5))
        return 0;
    options.call = &call;
    options.config_file = cli_text(&c->args, "config", NULL);
    if (strstr(to, "://"))
        options.uri = to;
    else
        options.context = to;
    return vmctl_connect(&options, target, &err) < 0 ? cli_report(c, err, NULL) : 0;
}

/* People read the obstacles on stderr; programs find them in the result. */
static void tell(cli *c, const cJSON *obstacles) {
    const cJSON *item = NULL;

    if (c->format != CLI_TABLE && c->format != CLI_WIDE)
        return;
    cJSON_ArrayForEach(item, obstacles) {
        const char *remedy = cli_get(item, "remedy");
        CLI_AUTO_FREE char *text =
            cli_printf("%s%s: %s%s%s", cJSON_IsTrue(cJSON_GetObjectItem(item, "fatal")) ? "in the way: " : "",
                       cli_get(item, "what"), cli_get(item, "reason"), *remedy ? "; " : "", remedy);
        cli_note(c, VMCTL_NOTE_WARNING, text);
    }
}

static void show(cli *c, vmctl_vm *vm, cJSON *obstacles, const char *outcome, const char *to) {
    cJSON *result = cli_tree_identity(vm);

    cli_put(result, "outcome", outcome);
    cli_put(result, "detail", to);
    cli_progress_end();
    tell(c, obstacles);
    cJSON_AddItemToObject(result, "obstacles", obstacles);
    cli_output_one(c, &cli_view_outcome, result);
}

static int move(cli *c, vmctl_vm *vm, vmctl_connection *target, const char *to) {
    vmctl_migrate_options options = VMCTL_MIGRATE_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    cJSON *obstacles = cJSON_CreateArray();

    options.call = &call;
    options.mode = cli_flag(&c->args, "live")      ? VMCTL_MIGRATE_LIVE
                   : cli_flag(&c->args, "offline") ? VMCTL_MIGRATE_OFFLINE
                                                   : VMCTL_MIGRATE_AUTO;
    options.storage = cli_flag(&c->args, "storage");
    options.tunnelled = cli_flag(&c->args, "tunnelled");
    options.postcopy = cli_flag(&c->args, "postcopy");
    options.auto_converge = cli_flag(&c->args, "auto-converge");
    options.unsafe = cli_flag(&c->args, "unsafe");
    options.bandwidth_bytes = (uint64_t)cli_number(&c->args, "bandwidth", 0);
    options.migrate_uri = cli_text(&c->args, "migrate-uri", NULL);
    options.dry_run = cli_flag(&c->args, "dry-run");
    options.obstacle = on_obstacle;
    options.user = obstacles;
    if (vmctl_vm_migrate(vm, target, target ? NULL : to + 5, &options, &err) == 0) {
        show(c, vm, obstacles, options.dry_run ? "can be moved" : "moved", to);
        return 0;
    }
    if (options.dry_run && cJSON_GetArraySize(obstacles) > 0) {
        show(c, vm, obstacles, "cannot be moved", to);
    } else {
        tell(c, obstacles);
        cJSON_Delete(obstacles);
    }
    return cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
}

static int migrate(cli *c) {
    const char *to = cli_text(&c->args, "to", NULL);
    bool abort_it = cli_flag(&c->args, "abort");
    vmctl_connection *target = NULL;
    vmctl_error *err = NULL;
    int status = 0;

    if (to && abort_it)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl migrate --abort VM", "--to and --abort exclude each other");
    if (!to)
        to = "host:";
    if (cli_flag(&c->args, "live") && cli_flag(&c->args, "offline"))
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--live and --offline exclude each other");
    vmctl_vm *vm = cli_vm(c, c->args.operands[0], &status);
    if (!vm)
        return status;
    if (abort_it) {
        vmctl_call call = cli_call(c);
        if (vmctl_vm_migrate_abort(vm, &call, &err) < 0)
            status = cli_report(c, err, vmctl_connection_context(vmctl_vm_connection(vm)));
        else
            show(c, vm, cJSON_CreateArray(), "stays", NULL);
    } else {
        status = open_target(c, to, &target);
        if (!status)
            status = move(c, vm, target, to);
    }
    vmctl_connection_free(target);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option options[] = {
    {"abort", 0, CLI_FLAG, NULL, "stop a migration that is under way; the VM goes on where it was"},
    {"auto-converge", 0, CLI_FLAG, NULL, "slow the guest down if its memory changes faster than it can be sent"},
    {"bandwidth", 0, CLI_SIZE, "SIZE", "at most so much a second, such as 100MiB"},
    {"dry-run", 0, CLI_FLAG, NULL, "look for obstacles, move nothing"},
    {"live", 0, CLI_FLAG, NULL, "running all the time"},
    {"migrate-uri", 0, CLI_TEXT, "URI", "where the target's hypervisor listens: tcp://10.0.0.2, unix:///dir/socket"},
    {"offline", 0, CLI_FLAG, NULL, "stopped"},
    {"postcopy", 0, CLI_FLAG, NULL, "go on there after the first round and fetch the rest of the memory then"},
    {"storage", 0, CLI_FLAG, NULL, "copy the disks too; those at the source stay as copies"},
    {"to", 0, CLI_TEXT, "WHERE",
     "a context, a URI, or host:NAME of this endpoint; without it the platform chooses one of its hosts", NULL,
     CLI_HINT_CONTEXT},
    {"tunnelled", 0, CLI_FLAG, NULL, "the memory goes through the connection of the two daemons"},
    {"unsafe", 0, CLI_FLAG, NULL, "both hosts have the disks, though it cannot be seen"},
    {NULL}};

const cli_verb cli_verb_migrate = {
    .name = "migrate",
    .group = "migrate",
    .operands = "VM [--to WHERE]",
    .summary = "move a VM to another host; it stays where it is until the other has it",
    .options = options,
    .min = 1,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = migrate,
};
