/* vmctl recommend: which platform fits, and why; how a VM gets from one to another. */
#include "grid.h"
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

/* --- which platform ----------------------------------------------------------------------------------------------- */

static cJSON *ground_tree(const vmctl_ground *ground) {
    cJSON *tree = cJSON_CreateObject();

    cJSON_AddBoolToObject(tree, "for", ground->speaks_for);
    cli_put(tree, "kind", vmctl_ground_kind_name(ground->kind));
    cli_put(tree, "what", ground->what);
    if (ground->level != VMCTL_LEVEL_UNKNOWN)
        cli_put(tree, "level", vmctl_level_name(ground->level));
    cli_put(tree, "row", ground->row);
    cli_put(tree, "text", ground->text);
    cli_put(tree, "correction", ground->correction);
    cJSON_AddBoolToObject(tree, "disqualifies", ground->disqualifies);
    cJSON_AddBoolToObject(tree, "ours", ground->ours);
    return tree;
}

static int keep(const vmctl_recommendation *told, void *user) {
    cJSON *tree = cJSON_CreateObject();

    cli_put_number(tree, "rank", told->rank);
    cli_put(tree, "platform", told->platform);
    cli_put(tree, "backend", told->backend);
    cJSON_AddBoolToObject(tree, "disqualified", told->disqualified);
    cJSON_AddBoolToObject(tree, "ours", told->ours);
    cJSON *grounds = cJSON_AddArrayToObject(tree, "grounds");
    for (size_t i = 0; i < told->ground_count; i++)
        cJSON_AddItemToArray(grounds, ground_tree(&told->grounds[i]));
    cJSON_AddItemToArray(user, tree);
    return 0;
}

/* "+ gpu.mig: yes; MIG-backed vGPU (MIG Support)" */
static void write_ground(const cJSON *ground) {
    const char *kind = cli_get(ground, "kind"), *what = cli_get(ground, "what"), *row = cli_get(ground, "row");
    const char *level = cli_get(ground, "level"), *text = cli_get(ground, "text"),
               *more = cli_get(ground, "correction");
    const char *ours = cJSON_IsTrue(cJSON_GetObjectItem(ground, "ours")) ? "  [ours]" : "";
    const char *sign = cJSON_IsTrue(cJSON_GetObjectItem(ground, "disqualifies")) ? "   x "
                       : cJSON_IsTrue(cJSON_GetObjectItem(ground, "for"))        ? "   + "
                                                                                 : "   - ";
    CLI_AUTO_FREE char *line = NULL;

    if (!strcmp(kind, "workload"))
        line = cli_printf("%s: %s%s%s", what, row, *text ? "; " : "", text);
    else if (!strcmp(kind, "general") || !strcmp(kind, "reach"))
        line = cli_printf("%s: %s%s%s%s", what, text, *more ? "; *" : "", more, ours);
    else
        line = cli_printf("%s: %s%s%s%s%s%s%s%s%s", what, level, *text ? "; " : "", text, *row ? " (" : "", row,
                          *row ? ")" : "", *more ? "; *" : "", more, ours);
    cli_wrap(stdout, sign, line);
}

/* Whether a person needs to see it: what was asked for, and what speaks against the first. */
static bool is_decisive(const cJSON *ground, bool winner) {
    if (!strcmp(cli_get(ground, "kind"), "general"))
        return winner;
    return !cJSON_IsTrue(cJSON_GetObjectItem(ground, "implied"));
}

static void write_for_people(cli *c, const cJSON *list) {
    bool all = cli_flag(&c->args, "explain");
    const cJSON *item = NULL, *ground = NULL;

    cJSON_ArrayForEach(item, list) {
        bool out = cJSON_IsTrue(cJSON_GetObjectItem(item, "disqualified"));
        bool ours = cJSON_IsTrue(cJSON_GetObjectItem(item, "ours"));
        int rank = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(item, "rank"));
        if (out)
            fprintf(stdout, "-  %s (%s): disqualified\n", cli_get(item, "platform"), cli_get(item, "backend"));
        else
            fprintf(stdout, "%d  %s (%s)%s\n", rank, cli_get(item, "platform"), cli_get(item, "backend"),
                    ours ? "  [our judgement]" : "");
        cJSON_ArrayForEach(ground,
                           cJSON_GetObjectItem(item, "grounds")) if (all || is_decisive(ground, rank == 1 && !out))
            write_ground(ground);
    }
}

static void write_grid(cli *c, const cJSON *list) {
    static const char *const titles[] = {"rank", "platform", "for", "what", "level", "row", "text", "correction"};
    static const cli_grid_kind kinds[8] = {CLI_GRID_TEXT};
    const cJSON *item = NULL, *ground = NULL;
    cli_grid grid;

    cli_grid_begin(&grid, titles, kinds, 8);
    cJSON_ArrayForEach(item, list) cJSON_ArrayForEach(ground, cJSON_GetObjectItem(item, "grounds")) {
        CLI_AUTO_FREE char *rank = cJSON_IsTrue(cJSON_GetObjectItem(item, "disqualified"))
                                       ? cli_strdup("disqualified")
                                       : cli_cell_text(item, "rank", CLI_CELL_TEXT);
        CLI_AUTO_FREE char *speaks = cli_cell_text(ground, "for", CLI_CELL_TEXT);
        const char *cells[] = {rank,
                               cli_get(item, "platform"),
                               speaks,
                               cli_get(ground, "what"),
                               cli_get(ground, "level"),
                               cli_get(ground, "row"),
                               cli_get(ground, "text"),
                               cli_get(ground, "correction")};
        cli_grid_add(&grid, cells);
    }
    cli_grid_write(c, stdout, &grid);
}

static void write_list(cli *c, const cli_view *view, cJSON *list) {
    cJSON *item = NULL;

    cli_output_begin(c, view);
    while ((item = cJSON_DetachItemFromArray(list, 0)))
        cli_output_add(c, item);
    cli_output_end(c, false);
}

/* --- what is reachable here --------------------------------------------------------------------------------------- */

static bool answers(cli *c, const char *backend, const char *uri, cli_strings *reached) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_connection *connection = NULL;
    vmctl_call call = cli_call(c);

    if (call.timeout_ms <= 0)
        call.timeout_ms = 5000;
    call.note = NULL;
    options.call = &call;
    options.backend = backend;
    options.uri = uri;
    if (vmctl_connect(&options, &connection, NULL) < 0)
        return false;
    const char *name = vmctl_connection_backend(connection);
    bool known = false;
    for (size_t i = 0; i < reached->count; i++)
        known |= !strcmp(reached->items[i], name);
    if (!known)
        cli_strings_add(reached, name);
    vmctl_connection_free(connection);
    return true;
}

/* Each backend's own endpoint, and every context. */
static int find_reachable(cli *c, cli_strings *reached) {
    int status = 0;
    vmctl_config *config = cli_config(c, &status);

    for (size_t i = 0; !status && vmctl_backend_name(i); i++)
        answers(c, vmctl_backend_name(i), NULL, reached);
    for (size_t i = 0; config && i < vmctl_config_context_count(config); i++)
        answers(c, NULL, vmctl_config_context_at(config, i)->connect, reached);
    cli_progress_end();
    return status;
}

static int rank(cli *c) {
    static const cli_view view = {.name_key = "backend"};
    vmctl_recommend_options options = VMCTL_RECOMMEND_OPTIONS_INIT;
    CLI_AUTO_STRINGS given = {0};
    CLI_AUTO_STRINGS needs = {0};
    CLI_AUTO_STRINGS reached = {0};
    vmctl_error *err = NULL;
    int status = 0;

    cli_texts(&c->args, "need", &given);
    for (size_t i = 0; i < given.count; i++) {
        char *rest = NULL;
        for (char *word = strtok_r(given.items[i], ",", &rest); word; word = strtok_r(NULL, ",", &rest))
            cli_strings_add(&needs, word);
    }
    options.workload = cli_text(&c->args, "workload", NULL);
    options.needs = (const char *const *)needs.items;
    if (cli_flag(&c->args, "reachable")) {
        status = find_reachable(c, &reached);
        static const char *const none[] = {NULL};
        options.reachable = reached.count ? (const char *const *)reached.items : none;
    }
    cJSON *list = cJSON_CreateArray();
    if (!status && vmctl_recommend(&options, keep, list, &err) < 0)
        status = cli_report(c, err, NULL);
    if (!status && (c->format == CLI_TABLE || c->format == CLI_WIDE))
        write_for_people(c, list);
    else if (!status && (c->format == CLI_MARKDOWN || c->format == CLI_CSV))
        write_grid(c, list);
    else if (!status)
        write_list(c, &view, list);
    cJSON_Delete(list);
    return status;
}

/* --- from one platform to another ------------------------------------------------------------------------------------ */

static int keep_step(const vmctl_path_step *step, void *user) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "from", step->from);
    cli_put(tree, "to", step->to);
    cli_put_number(tree, "step", step->step);
    cli_put(tree, "action", step->action);
    cli_put(tree, "command", step->command);
    cli_put(tree, "vmctl", step->vmctl_command);
    cJSON_AddBoolToObject(tree, "byHand", !step->vmctl_command);
    cli_put(tree, "reason", step->reason);
    cJSON_AddItemToArray(user, tree);
    return 0;
}

static void write_path(cli *c, const cJSON *steps) {
    static const char *const titles[] = {"STEP", "ACTION", "VMCTL"};
    static const cli_grid_kind kinds[] = {CLI_GRID_WORD, CLI_GRID_TEXT, CLI_GRID_TEXT};
    const cJSON *step = NULL;
    cli_grid grid;

    cli_grid_begin(&grid, titles, kinds, 3);
    cJSON_ArrayForEach(step, steps) {
        const char *reason = cli_get(step, "reason"), *command = cli_get(step, "vmctl");
        CLI_AUTO_FREE char *number = cli_cell_text(step, "step", CLI_CELL_TEXT);
        CLI_AUTO_FREE char *how = *command
                                      ? cli_strdup(command)
                                      : cli_printf("by hand%s%s%s", *reason ? " (" : "", reason, *reason ? ")" : "");
        const char *cells[] = {number, cli_get(step, "action"), how};
        cli_grid_add(&grid, cells);
    }
    cli_grid_write(c, stdout, &grid);
}

static int path(cli *c, const char *from, const char *to) {
    static const cli_view view = {.name_key = "action"};
    cJSON *steps = cJSON_CreateArray();
    vmctl_error *err = NULL;
    int status = 0;

    if (vmctl_migration_path(from, to, keep_step, steps, &err) < 0)
        status = cli_report(c, err, NULL);
    else if (cli_grid_wanted(c))
        write_path(c, steps);
    else
        write_list(c, &view, steps);
    cJSON_Delete(steps);
    return status;
}

/* --- the verb ---------------------------------------------------------------------------------------------------------- */

static int recommend(cli *c) {
    const char *from = cli_text(&c->args, "from", NULL), *to = cli_text(&c->args, "to", NULL);
    bool ranked =
        cli_text(&c->args, "workload", NULL) || cli_text(&c->args, "need", NULL) || cli_flag(&c->args, "reachable");

    if (!from && !to)
        return rank(c);
    if (!from || !to)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl recommend --from VMware --to KubeVirt",
                        "--from and --to go together");
    if (ranked)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--from and --to are no ranking: leave out the needs");
    return path(c, from, to);
}

static const cli_option options[] = {
    {"explain", 0, CLI_FLAG, NULL, "every row that was looked at, not only those that decided"},
    {"from", 0, CLI_TEXT, "PLATFORM", "with --to: the steps of a migration, and the vmctl command that does each"},
    {"need", 0, CLI_TEXT, "NEED,...", "features (vmctl caps) and criteria (vmctl caps --section decision-guide)"},
    {"reachable", 0, CLI_FLAG, NULL, "only what answers from here: each hypervisor's own endpoint, and every context"},
    {"to", 0, CLI_TEXT, "PLATFORM", "where to"},
    {"workload", 0, CLI_TEXT, "WORKLOAD", "one of the seven of vmctl caps --section workloads"},
    {NULL}};

const cli_verb cli_verb_recommend = {
    .name = "recommend",
    .group = "knowledge",
    .summary = "which platform fits a workload and needs, and what decided",
    .help = "The comparison decides: its workloads order the first two places, its decision guide and its rows the "
            "rest. What\n"
            "is vmctl's own judgement is marked [ours]. A need that a platform cannot meet (x) disqualifies it.\n"
            "Needs no hypervisor and no network, but for --reachable.\n"
            "\n"
            "  vmctl recommend --workload 'CI/CD Environments' --need gpu.mig,open-source\n"
            "  vmctl recommend --need best-vgpu --explain\n"
            "  vmctl recommend --from VMware --to KubeVirt",
    .options = options,
    .formats = "markdown csv",
    .run = recommend,
};
