/* vmctl caps: what each platform can do, what vmctl does with it, and what is possible here. */
#include "caps.h"
#include "grid.h"
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <stdlib.h>
#include <string.h>

/* --- what is asked about --------------------------------------------------------------------------------------- */

/* Not cli_connect: an endpoint that does not answer is an answer here. */
static int open_endpoint(cli *c, const char *context, const char *uri, const char *backend, vmctl_connection **out,
                         cli_subject *subject) {
    vmctl_connect_options options = VMCTL_CONNECT_OPTIONS_INIT;
    vmctl_error *err = NULL;

    options.call = &subject->call;
    options.uri = uri;
    options.backend = backend;
    options.config_file = cli_text(&c->args, "config", NULL);
    int rc = uri || backend ? vmctl_connect(&options, out, &err) : cli_open(c, context, NULL, out, &err);
    if (rc == 0)
        return 0;
    bool unanswered = rc == VMCTL_E_UNAVAILABLE || rc == VMCTL_E_TIMEOUT || rc == VMCTL_E_UNAUTHENTICATED ||
                      rc == VMCTL_E_PERMISSION_DENIED;
    if (!unanswered && !(backend && rc == VMCTL_E_NOT_FOUND)) /* the backend's own endpoint, where there is none */
        return cli_report(c, err, context);
    subject->unreachable = cli_strdup(vmctl_error_message(err));
    subject->options.unreachable = subject->unreachable;
    CLI_AUTO_FREE char *text = cli_printf("what is possible here is unknown: %s", subject->unreachable);
    cli_note(c, VMCTL_NOTE_WARNING, text);
    vmctl_error_free(err);
    return 0;
}

int cli_subject_open(cli *c, const char *context, const char *uri, const char *vm, cli_subject *out) {
    const char *name = vm;
    CLI_AUTO_FREE char *named = vm ? cli_split_target(c, vm, &name) : NULL;
    vmctl_connection *connection = NULL;

    *out = (cli_subject){.options = VMCTL_CAPS_OPTIONS_INIT, .call = cli_call(c)};
    out->options.call = &out->call;
    int status = open_endpoint(c, named ? named : context, uri, NULL, &connection, out);
    if (status || !connection)
        return status;
    out->options.connection = connection;
    if (!vm)
        return 0;
    vmctl_lookup_options lookup = VMCTL_LOOKUP_OPTIONS_INIT;
    vmctl_error *err = NULL;
    lookup.call = &out->call;
    lookup.namespace_name = c->namespace_name;
    lookup.folder = c->folder;
    if (vmctl_vm_lookup(connection, name, &lookup, &out->vm, &err) < 0)
        return cli_report(c, err, vmctl_connection_context(connection));
    out->options.vm = out->vm;
    return 0;
}

void cli_subject_close(cli_subject *subject) {
    vmctl_vm_free(subject->vm);
    vmctl_connection_free(subject->options.connection);
    free(subject->unreachable);
    *subject = (cli_subject){0};
}

/* --- the entries ----------------------------------------------------------------------------------------------------- */

bool cli_caps_selected(const char *words, const char *feature) {
    for (const char *p = words; p && *p; p += strspn(p, ",")) {
        size_t length = strcspn(p, ",");
        if (!strncmp(feature, p, length) && (!feature[length] || feature[length] == '.'))
            return true;
        p += length;
    }
    return !words;
}

/* An id, or what stands before its first dot. NULL: none is near. free. */
static char *nearest_feature(const char *word) {
    CLI_AUTO_STRINGS names = {0};
    vmctl_feature feature = {.size = sizeof feature};

    for (size_t i = 0; vmctl_feature_at(i, &feature); i++) {
        cli_strings_add(&names, feature.id);
        cli_strings_take(&names, cli_strndup(feature.id, strcspn(feature.id, ".")));
    }
    return cli_strdup(vmctl_nearest(word, (const char *const *)names.items));
}

/* 0, or the exit status for a word that selects nothing. */
static int check_selection(cli *c, const char *words) {
    for (const char *p = words; p && *p; p += strspn(p, ",")) {
        size_t length = strcspn(p, ",");
        CLI_AUTO_FREE char *word = cli_strndup(p, length);
        vmctl_feature feature = {.size = sizeof feature};
        bool found = false;
        for (size_t i = 0; !found && vmctl_feature_at(i, &feature); i++)
            found = cli_caps_selected(word, feature.id);
        if (!found) {
            CLI_AUTO_FREE char *near = nearest_feature(word);
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, near, "--feature: there is no feature \"%s\"", word);
        }
        p += length;
    }
    return 0;
}

typedef struct collector {
    cJSON *entries;
    const char *words;
} collector;

static int collect(const vmctl_cap *cap, void *user) {
    collector *k = user;

    if (cli_caps_selected(k->words, cap->feature))
        cJSON_AddItemToArray(k->entries, cli_tree_cap(cap));
    return 0;
}

const char *cli_platform_level(const cJSON *entry, char text[16]) {
    const cJSON *platform = cJSON_GetObjectItem(entry, "platform");
    const cJSON *correction = cJSON_GetObjectItem(platform, "correction");

    snprintf(text, 16, "%s%s", cli_get(correction ? correction : platform, "level"), correction ? "*" : "");
    return text;
}

/* --- tables ---------------------------------------------------------------------------------------------------------- */

enum { MOST_BACKENDS = 8 };

/* All backends, a column each: "can/does". Written as the answers come: there are hundreds. */
typedef struct matrix {
    const char *words; /* --feature */
    cli_grid grid;
    bool wide;
    size_t backends;
    char cells[MOST_BACKENDS][32];
    size_t filled;
} matrix;

static int fill_matrix(const vmctl_cap *cap, void *user) {
    matrix *m = user;

    if (!cli_caps_selected(m->words, cap->feature) || m->filled >= m->backends)
        return 0;
    snprintf(m->cells[m->filled++], sizeof m->cells[0], "%s%s/%s", vmctl_level_name(vmctl_cap_platform(cap)),
             cap->platform_correction ? "*" : "", vmctl_level_name(cap->vmctl));
    if (m->filled < m->backends)
        return 0;
    const char *row[MOST_BACKENDS + 2] = {cap->feature};
    for (size_t i = 0; i < m->backends; i++)
        row[i + 1] = m->cells[i];
    row[m->backends + 1] = cap->title;
    cli_grid_add(&m->grid, row);
    m->filled = 0;
    return 0;
}

static void add_backend(matrix *m, cli_strings *titles, cli_grid_kind *kinds, const char *backend) {
    CLI_AUTO_FREE char *name = cli_strdup(backend);

    if (m->backends == MOST_BACKENDS)
        return;
    for (char *p = name; *p; p++)
        *p = (char)(*p >= 'a' && *p <= 'z' ? *p - 32 : *p);
    cli_strings_take(titles, cli_printf("%s\ncan/does", name));
    kinds[++m->backends] = CLI_GRID_LEVEL;
}

static int write_backends(cli *c, const vmctl_caps_options *options) {
    matrix m = {.words = cli_text(&c->args, "feature", NULL), .wide = c->format == CLI_WIDE};
    CLI_AUTO_STRINGS titles = {0};
    cli_grid_kind kinds[MOST_BACKENDS + 2] = {CLI_GRID_WORD};
    vmctl_error *err = NULL;

    cli_strings_add(&titles, "FEATURE");
    for (size_t i = 0; vmctl_platform_backend(i); i++)
        add_backend(&m, &titles, kinds, vmctl_platform_backend(i));
    cli_strings_add(&titles, "WHAT IT IS");
    kinds[m.backends + 1] = CLI_GRID_NOTE;
    cli_grid_begin(&m.grid, (const char *const *)titles.items, kinds, m.backends + (m.wide ? 2 : 1));
    if (vmctl_caps(options, fill_matrix, &m, &err) < 0)
        return cli_report(c, err, NULL);
    cli_grid_write(c, stdout, &m.grid);
    return 0;
}

static bool any_probed(const cJSON *entries) {
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, entries) if (cJSON_HasObjectItem(entry, "here")) return true;
    return false;
}

/* The reason that matters most: of what is not possible here, else of what vmctl leaves out. Why something is not known is for who required
 * it, and for --explain and JSON. */
static char *why(const cJSON *entry, bool required) {
    const cJSON *here = cJSON_GetObjectItem(entry, "here"), *ours = cJSON_GetObjectItem(entry, "vmctl");
    const char *reason = cli_get(here, "reason"), *remedy = cli_get(here, "remedy"), *level = cli_get(here, "level");

    bool tells = !strcmp(level, "no") || !strcmp(level, "limited") || (required && !strcmp(level, "unknown"));
    if (tells && strcmp(cli_get(ours, "level"), "no") != 0)
        return cli_printf("%s%s%s", reason, *remedy ? "; try: " : "", remedy);
    return cli_strdup(cli_get(ours, "reason"));
}

/* One backend: the answers side by side, with the reason. */
static void write_one(cli *c, const cJSON *entries) {
    bool here = any_probed(entries), wide = c->format == CLI_WIDE;
    const char *titles[8] = {"FEATURE", "PLATFORM", "VMCTL"};
    cli_grid_kind kinds[8] = {CLI_GRID_WORD, CLI_GRID_LEVEL, CLI_GRID_LEVEL};
    size_t columns = 3;
    cli_grid grid;

    if (here) {
        titles[columns] = "HERE";
        kinds[columns++] = CLI_GRID_LEVEL;
    }
    titles[columns] = "PROVEN BY";
    kinds[columns++] = wide ? CLI_GRID_TEXT : CLI_GRID_WORD;
    titles[columns] = "WHY";
    kinds[columns++] = wide ? CLI_GRID_TEXT : CLI_GRID_NOTE;
    if (wide) {
        titles[columns] = "THE PLATFORM";
        kinds[columns++] = CLI_GRID_NOTE;
    }
    cli_grid_begin(&grid, titles, kinds, columns);
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, entries) {
        const cJSON *ours = cJSON_GetObjectItem(entry, "vmctl"), *platform = cJSON_GetObjectItem(entry, "platform");
        const char *correction = cli_get(cJSON_GetObjectItem(platform, "correction"), "text");
        const char *against = cli_get(ours, "provenAgainst");
        CLI_AUTO_FREE char *reason = why(entry, false);
        CLI_AUTO_FREE char *proof = cli_printf("%s%s%s%s", cli_get(ours, "provenBy"), wide && *against ? " (" : "",
                                               wide ? against : "", wide && *against ? ")" : "");
        CLI_AUTO_FREE char *text =
            cli_printf("%s%s%s", cli_get(platform, "text"), *correction ? "; *" : "", correction);
        char level[16];
        const char *cells[8] = {cli_get(entry, "feature"), cli_platform_level(entry, level), cli_get(ours, "level")};
        size_t n = 3;
        if (here)
            cells[n++] = cli_get(cJSON_GetObjectItem(entry, "here"), "level");
        cells[n++] = proof;
        cells[n++] = reason;
        cells[n] = text;
        cli_grid_add(&grid, cells);
    }
    cli_grid_write(c, stdout, &grid);
}

static void write_entries(cli *c, cJSON *entries) {
    static const cli_view view = {.name_key = "feature"};
    cJSON *entry = NULL;
    CLI_AUTO_FREE char *before = cli_strdup("");

    cli_output_begin(c, &view);
    while ((entry = cJSON_DetachItemFromArray(entries, 0))) {
        bool again = c->format == CLI_NAME && !strcmp(before, cli_get(entry, "feature"));
        free(before);
        before = cli_strdup(cli_get(entry, "feature"));
        if (again)
            cJSON_Delete(entry); /* each feature once */
        else
            cli_output_add(c, entry);
    }
    cli_output_end(c, false);
}

static int show(cli *c, const cli_subject *subject) {
    collector k = {cJSON_CreateArray(), cli_text(&c->args, "feature", NULL)};
    vmctl_error *err = NULL;
    int status = 0;

    if (cli_grid_wanted(c) && !subject->options.backend && !subject->options.connection) {
        cJSON_Delete(k.entries);
        return write_backends(c, &subject->options);
    }
    if (vmctl_caps(&subject->options, collect, &k, &err) < 0)
        status = cli_report(c, err, NULL);
    cli_progress_end();
    if (!status && !cli_grid_wanted(c))
        write_entries(c, k.entries);
    else if (!status)
        write_one(c, k.entries);
    cJSON_Delete(k.entries);
    return status;
}

/* --- require ------------------------------------------------------------------------------------------------------ */

static int keep_missing(const vmctl_cap *cap, void *user) {
    cJSON_AddItemToArray(user, cli_tree_cap(cap));
    return 0;
}

static void write_missing(cli *c, cJSON *missing) {
    bool here = any_probed(missing);
    const char *titles[6] = {"MISSING", "BACKEND", "PLATFORM", "VMCTL"};
    cli_grid_kind kinds[6] = {CLI_GRID_WORD, CLI_GRID_WORD, CLI_GRID_LEVEL, CLI_GRID_LEVEL};
    size_t columns = 4;
    cli_grid grid;

    if (!cli_grid_wanted(c)) {
        write_entries(c, missing);
        return;
    }
    if (here) {
        titles[columns] = "HERE";
        kinds[columns++] = CLI_GRID_LEVEL;
    }
    titles[columns] = "WHY";
    kinds[columns++] = CLI_GRID_NOTE;
    cli_grid_begin(&grid, titles, kinds, columns);
    const cJSON *entry = NULL;
    cJSON_ArrayForEach(entry, missing) {
        CLI_AUTO_FREE char *reason = why(entry, true);
        char level[16];
        const char *cells[6] = {cli_get(entry, "feature"), cli_get(entry, "backend"), cli_platform_level(entry, level),
                                cli_get(cJSON_GetObjectItem(entry, "vmctl"), "level")};
        size_t n = 4;
        if (here)
            cells[n++] = cli_get(cJSON_GetObjectItem(entry, "here"), "level");
        cells[n] = reason;
        cli_grid_add(&grid, cells);
    }
    cli_grid_write(c, stdout, &grid);
}

/* Nothing is printed when all is there; what is missing goes to stdout, and the status tells. */
static int require(cli *c, const cli_subject *subject) {
    CLI_AUTO_FREE char *copy = cli_strdup(cli_text(&c->args, "require", ""));
    CLI_AUTO_STRINGS wanted = {0};
    CLI_AUTO_ERROR *err = NULL;
    char *rest = NULL;

    for (char *word = strtok_r(copy, ",", &rest); word; word = strtok_r(NULL, ",", &rest))
        cli_strings_add(&wanted, word);
    cJSON *missing = cJSON_CreateArray();
    int rc =
        vmctl_caps_require(&subject->options, (const char *const *)wanted.items, NULL, keep_missing, missing, &err);
    cli_progress_end();
    if (missing->child)
        write_missing(c, missing);
    cJSON_Delete(missing);
    if (rc == 0 || rc == VMCTL_E_UNSUPPORTED || rc == VMCTL_E_UNAVAILABLE)
        return vmctl_code_exit_status(rc);
    vmctl_error *reported = err;
    err = NULL;
    return cli_report(c, reported, NULL);
}

/* --- explain ------------------------------------------------------------------------------------------------------ */

typedef struct explaining {
    const char *words, *before;
} explaining;

static int explain(const vmctl_cap *cap, void *user) {
    explaining *e = user;
    vmctl_feature feature = {.size = sizeof feature};

    if (!cli_caps_selected(e->words, cap->feature))
        return 0;
    char *text = vmctl_cap_explain(cap), *rest = NULL;
    if (vmctl_feature_find(cap->feature, &feature, NULL) == 0 && (!e->before || strcmp(e->before, cap->feature) != 0)) {
        fputs(e->before ? "\n" : "", stdout);
        cli_wrap(stdout, "", feature.sentence);
    }
    e->before = cap->feature;
    fputc('\n', stdout);
    bool first = true;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        size_t blanks = strspn(line, " ");
        CLI_AUTO_FREE char *indent = cli_printf("%*s", first ? 0 : (int)blanks + 2, "");
        cli_wrap(stdout, indent, line + blanks);
        first = false;
    }
    vmctl_string_free(text);
    return 0;
}

/* --- the verb ----------------------------------------------------------------------------------------------------- */

/* The endpoint or VM that the options name; --here with a BACKEND is that one's own endpoint. */
static int open_named(cli *c, const char *vm, const char *backend, cli_subject *out) {
    bool named = vm || cli_text(&c->args, "connect", NULL) || cli_text(&c->args, "context", NULL) ||
                 cli_text(&c->args, "backend", NULL);
    const char *resolved = backend ? vmctl_backend_resolve(backend) : NULL;
    int status = 0;

    if (named || !resolved) {
        status = cli_subject_open(c, NULL, NULL, vm, out);
    } else {
        *out = (cli_subject){.options = VMCTL_CAPS_OPTIONS_INIT, .call = cli_call(c)};
        out->options.call = &out->call;
        status = open_endpoint(c, NULL, NULL, resolved, &out->options.connection, out);
    }
    if (!status && resolved && out->options.connection &&
        strcmp(resolved, vmctl_connection_backend(out->options.connection)) != 0)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "leave out one of the two", "%s is on %s, and %s was asked about",
                        vm ? vm : vmctl_connection_uri(out->options.connection),
                        vmctl_connection_backend(out->options.connection), resolved);
    return status;
}

static int caps(cli *c) {
    const char *vm = cli_text(&c->args, "vm", NULL), *words = cli_text(&c->args, "feature", NULL);
    bool endpoint =
        vm || cli_text(&c->args, "connect", NULL) || cli_text(&c->args, "context", NULL) || cli_flag(&c->args, "here");
    bool compare = cli_flag(&c->args, "compare") || cli_text(&c->args, "section", NULL);
    cli_subject subject = {.options = VMCTL_CAPS_OPTIONS_INIT};

    int status = check_selection(c, words);
    if (status)
        return status;
    if (cli_flag(&c->args, "diff")) {
        if (c->args.operand_count != 2)
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl caps --diff libvirt kubevirt",
                            "--diff: two backends, endpoints or VMs are needed");
        return cli_caps_diff(c, c->args.operands[0], c->args.operands[1]);
    }
    if (c->args.operand_count > 1)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, "vmctl caps --diff A B", "one backend at a time");
    if (compare)
        return cli_caps_compare(c, cli_text(&c->args, "section", NULL));
    if (endpoint)
        status = open_named(c, vm, c->args.operand_count ? c->args.operands[0] : NULL, &subject);
    subject.options.backend = c->args.operand_count ? c->args.operands[0] : cli_text(&c->args, "backend", NULL);
    if (!status && endpoint && !subject.options.connection && !subject.options.backend)
        subject.options.backend = vmctl_backend_name(0); /* the endpoint's, as far as it is known */
    if (!status && cli_text(&c->args, "require", NULL)) {
        status = require(c, &subject);
    } else if (!status && cli_flag(&c->args, "explain")) {
        explaining e = {words, NULL};
        vmctl_error *err = NULL;
        if (vmctl_caps(&subject.options, explain, &e, &err) < 0)
            status = cli_report(c, err, NULL);
    } else if (!status) {
        status = show(c, &subject);
    }
    cli_subject_close(&subject);
    return status;
}

static const cli_option options[] = {
    {"compare", 0, CLI_FLAG, NULL,
     "the comparison of the four platforms: every row as its source has it, and corrections"},
    {"diff", 0, CLI_FLAG, NULL, "only what differs between two backends, endpoints (URI or context) or VMs"},
    {"explain", 0, CLI_FLAG, NULL, "the answers as sentences, with sources and evidence"},
    {"feature", 0, CLI_TEXT, "FEATURE,...", "only these, such as snapshot.memory, or snapshot for all of them"},
    {"here", 0, CLI_FLAG, NULL, "probe the endpoint that commands go to (as --connect, --context and --vm do)"},
    {"require", 0, CLI_TEXT, "FEATURE,...", "nothing when all of them are there; else what is missing, and status 3"},
    {"section", 0, CLI_TEXT, "SECTION",
     "one part of the comparison with its notes: overview, gpu, cpu, io, memory, ..."},
    {"vm", 0, CLI_TEXT, "VM", "probe this VM too", NULL, CLI_HINT_VM},
    {NULL}};

const cli_verb cli_verb_caps = {
    .name = "caps",
    .group = "knowledge",
    .operands = "[BACKEND | A B]",
    .summary = "what each platform can do, what vmctl does with it, and what is possible here",
    .help =
        "Three answers, kept apart: what the platform is documented to do (can), what vmctl does with it (does), and,\n"
        "with an endpoint or a VM, what a probe of it found (here). A level with * is a correction of the comparison.\n"
        "Needs no hypervisor and no network unless an endpoint or a VM is named.\n"
        "\n"
        "  vmctl caps libvirt --feature snapshot\n"
        "  vmctl caps --vm web-1 --require snapshot.memory,migrate.live\n"
        "  vmctl caps --compare --section gpu -o markdown\n"
        "  vmctl caps --diff libvirt kubevirt",
    .options = options,
    .max = 2,
    .hint = CLI_HINT_BACKEND,
    .formats = "markdown csv",
    .run = caps,
};
