/* vmctl caps: what each backend can do. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_BACKENDS = 8 };

/* The entries as they came, and with them a row per feature for people. */
typedef struct collector {
    cJSON *entries;
    cJSON *rows;
} collector;

static int collect(const vmctl_cap *cap, void *user) {
    collector *k = user;
    cJSON *row = NULL;

    cJSON_AddItemToArray(k->entries, cli_tree_cap(cap));
    cJSON *last = k->rows->child ? k->rows->child->prev : NULL;
    if (last && !strcmp(cli_get(last, "feature"), cap->feature))
        row = last;
    if (!row) {
        row = cJSON_CreateObject();
        cli_put(row, "feature", cap->feature);
        cli_put(row, "title", cap->title);
        cJSON_AddItemToArray(k->rows, row);
    }
    cJSON *cell = cJSON_AddObjectToObject(row, cap->backend);
    cli_put(cell, "level", vmctl_level_name(cap->vmctl));
    cli_put(cell, "proof", vmctl_proof_name(cap->proof));
    cli_put(cell, "reason", cap->vmctl_reason);
    if (cap->probed) {
        cli_put(cell, "here", vmctl_level_name(cap->here));
        cli_put(cell, "hereReason", cap->here_reason);
        cli_put(cell, "remedy", cap->here_remedy);
    }
    return 0;
}

static bool any_probed(const cJSON *entries) {
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, entries) if (cJSON_HasObjectItem(entry, "here")) return true;
    return false;
}

/* All backends: a column each. One backend: its level, the proof, and the reasons. */
static void write_table(cli *c, const collector *k, const char *backend) {
    static const char *const parts[][2] = {{"level", "VMCTL"}, {"here", "HERE"}, {"proof", "PROVEN BY"}};
    CLI_AUTO_STRINGS keys = {0};
    cli_column columns[MOST_BACKENDS * 5 + 3] = {{"FEATURE", "feature", CLI_CELL_TEXT, 0}};
    size_t n = 1;
    bool here = any_probed(k->entries);

    if (!backend) {
        for (size_t i = 0; vmctl_backend_name(i) && i < MOST_BACKENDS; i++) {
            cli_strings_take(&keys, cli_printf("%s.level", vmctl_backend_name(i)));
            columns[n++] = (cli_column){vmctl_backend_name(i), keys.items[keys.count - 1], CLI_CELL_LEVEL, 0};
        }
    } else {
        for (size_t i = 0; i < 3; i++) {
            if (i == 1 && !here)
                continue;
            cli_strings_take(&keys, cli_printf("%s.%s", backend, parts[i][0]));
            columns[n++] = (cli_column){parts[i][1], keys.items[keys.count - 1], CLI_CELL_LEVEL, 0};
        }
        cli_strings_take(&keys, cli_printf("%s.%s", backend, here ? "hereReason" : "reason"));
        columns[n++] = (cli_column){"REASON", keys.items[keys.count - 1], CLI_CELL_TEXT, CLI_COLUMN_CUT};
        if (here) {
            cli_strings_take(&keys, cli_printf("%s.remedy", backend));
            columns[n++] = (cli_column){"REMEDY", keys.items[keys.count - 1], CLI_CELL_TEXT, CLI_COLUMN_WIDE};
        }
    }
    columns[n++] = (cli_column){"WHAT IT IS", "title", CLI_CELL_TEXT, CLI_COLUMN_WIDE};
    columns[n] = (cli_column){NULL};
    const cli_view view = {.columns = columns};
    cli_table_write(c, stdout, &view, k->rows, true);
}

/* --- require ------------------------------------------------------------------------------------------------------ */

/* Whether the entry's backend does it (and here, where that was asked). */
static bool is_met(const cJSON *entry) {
    const char *ours = cli_get(cJSON_GetObjectItem(entry, "vmctl"), "level");
    const char *here = cli_get(cJSON_GetObjectItem(entry, "here"), "level");
    bool done = !strcmp(ours, "yes") || !strcmp(ours, "limited");
    return done && strcmp(here, "no") != 0;
}

static const cJSON *entry_of(const cJSON *entries, const char *feature, const char *backend) {
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, entries) if (!strcmp(cli_get(entry, "feature"), feature) &&
                                           (!backend || !strcmp(cli_get(entry, "backend"), backend))) return entry;
    return NULL;
}

static const char *nearest_feature(const cJSON *rows, const char *feature) {
    const char *names[512];
    size_t n = 0;
    const cJSON *row = NULL;

    cJSON_ArrayForEach(row, rows) if (n + 1 < sizeof names / sizeof *names) names[n++] = cli_get(row, "feature");
    names[n] = NULL;
    return vmctl_nearest(feature, names);
}

/* The features that `backend` lacks, into `missing`. */
static void find_missing(const collector *k, const cli_strings *wanted, const char *backend, cJSON *missing) {
    for (size_t i = 0; i < wanted->count; i++) {
        const cJSON *entry = entry_of(k->entries, wanted->items[i], backend);
        if (entry && !is_met(entry))
            cJSON_AddItemToArray(missing, cJSON_Duplicate(entry, true));
    }
}

static const cli_column missing_columns[] = {{"MISSING", "feature", CLI_CELL_TEXT, 0},
                                             {"BACKEND", "backend", CLI_CELL_TEXT, 0},
                                             {"VMCTL", "vmctl.level", CLI_CELL_LEVEL, 0},
                                             {"REASON", "vmctl.reason", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                             {"HERE", "here.reason", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                             {NULL}};
static const cli_view missing_view = {.columns = missing_columns, .name_key = "feature"};

/* With no backend named, one that has all of them is enough. */
static int require(cli *c, const collector *k, const char *backend) {
    CLI_AUTO_FREE char *copy = cli_strdup(cli_text(&c->args, "require", ""));
    CLI_AUTO_STRINGS wanted = {0};
    char *rest = NULL;

    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (!entry_of(k->entries, word, NULL)) {
            const char *nearest = nearest_feature(k->rows, word);
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, nearest, "--require: there is no feature \"%s\"", word);
        }
        cli_strings_add(&wanted, word);
    }
    cJSON *missing = cJSON_CreateArray();
    bool met = false;
    for (size_t i = 0; vmctl_backend_name(i) && !met; i++) {
        if (backend && strcmp(vmctl_backend_name(i), backend) != 0)
            continue;
        cJSON *lacks = cJSON_CreateArray();
        find_missing(k, &wanted, vmctl_backend_name(i), lacks);
        met = !lacks->child;
        cJSON *item = NULL;
        while ((item = cJSON_DetachItemFromArray(lacks, 0)))
            cJSON_AddItemToArray(missing, item);
        cJSON_Delete(lacks);
    }
    if (!met) {
        cJSON *item = NULL;
        cli_output_begin(c, &missing_view);
        while ((item = cJSON_DetachItemFromArray(missing, 0)))
            cli_output_add(c, item);
        cli_output_end(c, false);
    }
    cJSON_Delete(missing);
    return met ? 0 : vmctl_code_exit_status(VMCTL_E_UNSUPPORTED);
}

static void write_entries(cli *c, collector *k) {
    static const cli_view view = {.columns = missing_columns, .name_key = "feature"};
    cJSON *entry = NULL;

    cli_output_begin(c, &view);
    if (c->format == CLI_NAME) {
        /* each feature once */
        while ((entry = cJSON_DetachItemFromArray(k->rows, 0)))
            cli_output_add(c, entry);
    } else {
        while ((entry = cJSON_DetachItemFromArray(k->entries, 0)))
            cli_output_add(c, entry);
    }
    cli_output_end(c, false);
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* The endpoint or VM to probe, when one was named. */
static int find_probe(cli *c, vmctl_caps_options *options, vmctl_vm **vm) {
    const char *target = cli_text(&c->args, "vm", NULL);
    int status = 0;

    if (target) {
        *vm = cli_vm(c, target, &status);
        options->vm = *vm;
        options->connection = *vm ? vmctl_vm_connection(*vm) : NULL;
    } else if (cli_text(&c->args, "connect", NULL) || cli_text(&c->args, "context", NULL) ||
               cli_flag(&c->args, "here")) {
        options->connection = cli_connect(c, NULL, NULL, &status);
    }
    return status;
}

static int caps(cli *c) {
    vmctl_caps_options options = VMCTL_CAPS_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    vmctl_vm *vm = NULL;

    options.call = &call;
    options.feature = cli_text(&c->args, "feature", NULL);
    options.backend = c->args.operand_count ? c->args.operands[0] : cli_text(&c->args, "backend", NULL);
    int status = find_probe(c, &options, &vm);
    if (status)
        return status;
    if (options.connection && !options.backend)
        options.backend = vmctl_connection_backend(options.connection);
    collector k = {cJSON_CreateArray(), cJSON_CreateArray()};
    if (vmctl_caps(&options, collect, &k, &err) < 0) {
        status = cli_report(c, err, NULL);
    } else {
        /* an alias was named: the entries have the backend's name */
        const char *backend = options.backend && k.entries->child ? cli_get(k.entries->child, "backend") : NULL;
        cli_progress_end();
        if (cli_text(&c->args, "require", NULL))
            status = require(c, &k, backend);
        else if (c->format == CLI_TABLE || c->format == CLI_WIDE)
            write_table(c, &k, backend);
        else
            write_entries(c, &k);
    }
    cJSON_Delete(k.entries);
    cJSON_Delete(k.rows);
    vmctl_vm_free(vm);
    return status;
}

static const cli_option options[] = {
    {"feature", 0, CLI_TEXT, "FEATURE", "only this one, such as snapshot.memory"},
    {"here", 0, CLI_FLAG, NULL, "probe the endpoint that commands go to (as --connect, --context and --vm do)"},
    {"require", 0, CLI_TEXT, "FEATURE,...", "nothing when all of them are there; else what is missing, and status 3"},
    {"vm", 0, CLI_TEXT, "VM", "probe this VM too", NULL, CLI_HINT_VM},
    {NULL}};

const cli_verb cli_verb_caps = {
    .name = "caps",
    .group = "knowledge",
    .operands = "[BACKEND]",
    .summary = "what vmctl can do on each hypervisor, before anything is tried",
    .help = "Needs no hypervisor and no network. With an endpoint or a VM, what a probe of it found is added.\n"
            "\n"
            "  vmctl caps libvirt\n"
            "  vmctl caps --require lifecycle.create,snapshot.memory kvm",
    .options = options,
    .max = 1,
    .hint = CLI_HINT_BACKEND,
    .run = caps,
};
