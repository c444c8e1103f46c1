/* vmctl list. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"STATE", "state", CLI_CELL_STATE, 0},
                                     {"CPUS", "cpus", CLI_CELL_TEXT, CLI_COLUMN_RIGHT},
                                     {"MEMORY", "memoryMiB", CLI_CELL_MIB, CLI_COLUMN_RIGHT},
                                     {"CONTEXT", "context", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"NAMESPACE", "namespace", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"HOST", "host", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"ID", "id", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"REASON", "stateReason", CLI_CELL_TEXT, CLI_COLUMN_WIDE | CLI_COLUMN_CUT},
                                     {NULL}};

/* What a person who asked for more facts, or for all contexts, sees besides. */
static const cli_column addresses_column = {"ADDRESSES", "addresses", CLI_CELL_IPS, CLI_COLUMN_CUT};
static const cli_column snapshots_column = {"SNAPSHOTS", "snapshotCount", CLI_CELL_TEXT, CLI_COLUMN_RIGHT};
static const cli_column owner_column = {"OWNER", "owner", CLI_CELL_TEXT, CLI_COLUMN_CUT};
static const cli_column expires_column = {"EXPIRES", "expires", CLI_CELL_TEXT, 0};
static const cli_column labels_column = {"LABELS", "labels", CLI_CELL_LABELS, CLI_COLUMN_CUT};
static const cli_column gpus_column = {"GPUS", "gpus", CLI_CELL_NAMES, 0};
static const cli_column context_column = {"CONTEXT", "context", CLI_CELL_TEXT, 0};
static const cli_column namespace_column = {"NAMESPACE", "namespace", CLI_CELL_TEXT, 0};
static const cli_column backend_column = {"BACKEND", "backend", CLI_CELL_TEXT, 0};

typedef struct lister {
    cli *c;
    vmctl_list_options options;
    vmctl_label *labels;
    cli_strings texts; /* of the labels */
    cli_column columns[24];
    cli_view view;
} lister;

static void add_column(lister *l, const cli_column *column) {
    size_t n = 0;
    while (l->columns[n].title)
        n++;
    l->columns[n] = *column;
}

static int read_facts(lister *l) {
    static const struct {
        const char *name;
        unsigned fact;
    } facts[] = {{"addresses", VMCTL_FACT_ADDRESSES},
                 {"snapshots", VMCTL_FACT_SNAPSHOTS},
                 {"marker", VMCTL_FACT_MARKER},
                 {"gpus", VMCTL_FACT_GPUS},
                 {"devices", VMCTL_FACT_DEVICES},
                 {"config", VMCTL_FACT_CONFIG},
                 {"all", VMCTL_FACTS_ALL}};
    CLI_AUTO_FREE char *wanted = cli_strdup(cli_text(&l->c->args, "facts", ""));
    char *rest = NULL;

    for (char *name = strtok_r(wanted, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        size_t i = 0;
        while (i < sizeof facts / sizeof *facts && strcmp(facts[i].name, name) != 0)
            i++;
        if (i == sizeof facts / sizeof *facts)
            return cli_fail(l->c, VMCTL_E_INVALID_ARGUMENT, NULL,
                            "--facts: \"%s\" is none of: addresses snapshots marker gpus devices config all", name);
        l->options.facts |= facts[i].fact;
    }
    return 0;
}

static int read_states(lister *l) {
    CLI_AUTO_FREE char *wanted = cli_strdup(cli_text(&l->c->args, "state", ""));
    char *rest = NULL;

    for (char *name = strtok_r(wanted, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
        vmctl_state state = VMCTL_STATE_UNKNOWN;
        if (vmctl_state_from_name(name, &state) < 0)
            return cli_fail(l->c, VMCTL_E_INVALID_ARGUMENT, NULL,
                            "--state: \"%s\" is none of: stopped starting running paused stopping saved migrating "
                            "crashed unknown",
                            name);
        l->options.states |= 1u << state;
    }
    return 0;
}

static int read_labels(lister *l) {
    cli_texts(&l->c->args, "label", &l->texts);
    l->labels = cli_alloc((l->texts.count + 1) * sizeof *l->labels);
    for (size_t i = 0; i < l->texts.count; i++) {
        char *equals = strchr(l->texts.items[i], '=');
        if (!equals || equals == l->texts.items[i])
            return cli_fail(l->c, VMCTL_E_INVALID_ARGUMENT, "-l team=infra", "--label: \"%s\" is not KEY=VALUE",
                            l->texts.items[i]);
        *equals = '\0';
        l->labels[i] = (vmctl_label){l->texts.items[i], equals + 1};
    }
    l->options.labels = l->labels;
    l->options.label_count = l->texts.count;
    return 0;
}

static int read_options(lister *l, bool all_contexts) {
    int status = read_facts(l);
    if (!status)
        status = read_states(l);
    if (!status)
        status = read_labels(l);
    if (status)
        return status;
    l->options.owner = cli_text(&l->c->args, "owner", NULL);
    l->options.namespace_name = l->c->namespace_name;
    l->options.folder = l->c->folder;
    if (l->options.owner || l->options.label_count)
        l->options.facts |= VMCTL_FACT_MARKER;
    unsigned facts = l->options.facts;
    if (facts)
        l->options.facts |= VMCTL_FACTS_LIST;
    if (all_contexts) {
        add_column(l, &context_column);
        add_column(l, &backend_column);
    }
    bool all_namespaces = l->options.namespace_name && !strcmp(l->options.namespace_name, "*");
    if (all_namespaces)
        add_column(l, &namespace_column);
    for (const cli_column *column = columns; column->title; column++)
        if ((!all_contexts || strcmp(column->key, "context") != 0) &&
            (!all_namespaces || strcmp(column->key, "namespace") != 0))
            add_column(l, column);
    if (facts & VMCTL_FACT_ADDRESSES)
        add_column(l, &addresses_column);
    if (facts & VMCTL_FACT_SNAPSHOTS)
        add_column(l, &snapshots_column);
    if (facts & VMCTL_FACT_MARKER) {
        add_column(l, &owner_column);
        add_column(l, &expires_column);
        add_column(l, &labels_column);
    }
    if (facts & VMCTL_FACT_GPUS)
        add_column(l, &gpus_column);
    l->view = (cli_view){.columns = l->columns, .sorted = true};
    return 0;
}

static int show(const vmctl_vm_info *info, void *user) {
    lister *l = user;
    cli_output_add(l->c, cli_tree_vm(info));
    return 0;
}

static int list_one(lister *l, vmctl_connection *connection, bool last) {
    vmctl_call call = cli_call(l->c);
    vmctl_error *err = NULL;

    l->options.call = &call;
    cli_output_begin(l->c, &l->view);
    int rc = vmctl_list(connection, &l->options, show, l, &err);
    l->options.call = NULL;
    cli_progress_end();
    if (last && rc == 0)
        cli_leave(l->c);
    cli_output_end(l->c, rc < 0);
    return rc < 0 ? cli_report(l->c, err, vmctl_connection_context(connection)) : 0;
}

/* --- all contexts at once ------------------------------------------------------------------------------------ */

typedef struct endpoint {
    lister *l;
    const char *context;
    vmctl_connection *connection;
    cJSON *rows;
    vmctl_error *err;
    pthread_t thread;
    bool threaded;
    int status;
} endpoint;

static int collect(const vmctl_vm_info *info, void *user) {
    endpoint *e = user;
    cJSON *row = cli_tree_vm(info);

    if (!cJSON_HasObjectItem(row, "context"))
        cli_put(row, "context", e->context);
    cJSON_AddItemToArray(e->rows, row);
    return 0;
}

static void *list_endpoint(void *user) {
    endpoint *e = user;
    vmctl_list_options options = e->l->options;
    vmctl_call call = cli_call(e->l->c);

    options.call = &call;
    int rc = cli_open(e->l->c, e->context, NULL, &e->connection, &e->err);
    if (rc == 0)
        rc = vmctl_list(e->connection, &options, collect, e, &e->err);
    if (rc < 0) {
        e->status = cli_report(e->l->c, e->err, e->context);
        e->err = NULL;
    }
    return NULL;
}

/* An endpoint that does not answer must not hold up the others for long. */
enum { ENDPOINT_MS = 20000 };

static int list_all(lister *l) {
    int status = 0;
    vmctl_config *config = cli_config(l->c, &status);
    if (!config)
        return status;
    size_t count = vmctl_config_context_count(config);
    if (!count) {
        cli_note(l->c, VMCTL_NOTE_INFO, "there are no contexts; this is the default endpoint alone");
        vmctl_connection *connection = cli_connect(l->c, NULL, NULL, &status);
        return connection ? list_one(l, connection, true) : status;
    }
    if (l->c->deadline_ms < 0)
        l->c->deadline_ms = cli_now_ms() + ENDPOINT_MS;
    CLI_AUTO_FREE endpoint *endpoints = cli_alloc(count * sizeof *endpoints);
    CLI_AUTO_FREE int *statuses = cli_alloc(count * sizeof *statuses);
    for (size_t i = 0; i < count; i++) {
        endpoints[i] =
            (endpoint){.l = l, .context = vmctl_config_context_at(config, i)->name, .rows = cJSON_CreateArray()};
        endpoints[i].threaded = pthread_create(&endpoints[i].thread, NULL, list_endpoint, &endpoints[i]) == 0;
        if (!endpoints[i].threaded)
            list_endpoint(&endpoints[i]);
    }
    for (size_t i = 0; i < count; i++)
        if (endpoints[i].threaded)
            pthread_join(endpoints[i].thread, NULL);
    cli_progress_end();
    cli_output_begin(l->c, &l->view);
    bool any = false;
    for (size_t i = 0; i < count; i++) {
        statuses[i] = endpoints[i].status;
        any = any || !statuses[i];
        cJSON *row = NULL;
        while ((row = cJSON_DetachItemFromArray(endpoints[i].rows, 0)))
            cli_output_add(l->c, row);
        cJSON_Delete(endpoints[i].rows);
        vmctl_connection_free(endpoints[i].connection);
    }
    cli_output_end(l->c, !any);
    return cli_status_of_many(statuses, count);
}

/* --- watching -------------------------------------------------------------------------------------------------- */

typedef struct watcher {
    lister *l;
    vmctl_connection *connection;
    int status;
    bool redraw; /* the whole table again, on a terminal */
    cJSON *row;  /* of show_changed */
} watcher;

static int keep_row(const vmctl_vm_info *info, void *user) {
    watcher *w = user;
    cJSON_Delete(w->row);
    w->row = cli_tree_vm(info);
    return 0;
}

static void write_row(watcher *w, cJSON *row) {
    cli *c = w->l->c;

    if (c->format == CLI_TABLE || c->format == CLI_WIDE) {
        cJSON *rows = cJSON_CreateArray();
        cJSON_AddItemToArray(rows, row);
        cli_table_write(c, stdout, &w->l->view, rows, false);
        cJSON_Delete(rows);
    } else {
        cli_output_add(c, row);
    }
    fflush(stdout);
}

/* The VM as it is after the event; a VM that is gone: its name, and deleted. */
static void write_changed(watcher *w, const vmctl_event *event) {
    vmctl_list_options options = w->l->options;
    vmctl_call call = cli_call(w->l->c);
    CLI_AUTO_ERROR *err = NULL;

    options.call = &call;
    options.name = event->name;
    w->row = NULL;
    if (event->kind != VMCTL_EVENT_DELETED && vmctl_list(w->connection, &options, keep_row, w, &err) == 0 && w->row) {
        write_row(w, w->row);
        return;
    }
    if (event->kind != VMCTL_EVENT_DELETED)
        return;
    cJSON *row = cJSON_CreateObject();
    cli_put(row, "name", event->name);
    cli_put(row, "id", event->id);
    cJSON_AddTrueToObject(row, "deleted");
    if (w->l->c->format == CLI_TABLE || w->l->c->format == CLI_WIDE)
        cli_put(row, "state", "deleted");
    write_row(w, row);
}

static int on_event(const vmctl_event *event, void *user) {
    watcher *w = user;

    if (w->redraw && event->kind != VMCTL_EVENT_TICK) {
        fputs("\033[H\033[2J", stdout);
        w->status = list_one(w->l, w->connection, false);
        fflush(stdout);
        return w->status != 0 || ferror(stdout);
    }
    if (event->name &&
        (event->kind == VMCTL_EVENT_STATE || event->kind == VMCTL_EVENT_DEFINED || event->kind == VMCTL_EVENT_DELETED))
        write_changed(w, event);
    return ferror(stdout);
}

static int watch(lister *l, vmctl_connection *connection) {
    cli *c = l->c;
    watcher w = {l, connection, 0, false, NULL};
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_error *err = NULL;
    bool table = c->format == CLI_TABLE || c->format == CLI_WIDE;

    w.redraw = table && isatty(STDOUT_FILENO);
    /* bars would stand in what is written meanwhile */
    call.progress = NULL;
    options.call = &call;
    if (!w.redraw) {
        vmctl_call once = cli_call(c);
        l->options.call = &once;
        cli_output_begin(c, &l->view);
        int rc = vmctl_list(connection, &l->options, show, l, &err);
        l->options.call = NULL;
        if (table || rc < 0)
            cli_output_end(c, rc < 0);
        if (rc < 0)
            return cli_report(c, err, vmctl_connection_context(connection));
        fflush(stdout);
    }
    int rc = vmctl_events(connection, &options, on_event, &w, &err);
    if (!w.redraw && !table)
        cli_output_end(c, false);
    if (rc == VMCTL_E_TIMEOUT || rc == VMCTL_E_CANCELLED) {
        vmctl_error_free(err);
        return rc == VMCTL_E_CANCELLED ? vmctl_code_exit_status(rc) : 0;
    }
    return rc < 0 ? cli_report(c, err, vmctl_connection_context(connection)) : w.status;
}

static int list(cli *c) {
    lister l = {.c = c, .options = VMCTL_LIST_OPTIONS_INIT};
    bool all = cli_flag(&c->args, "all-contexts"), watching = cli_flag(&c->args, "watch");
    int status = read_options(&l, all);

    if (!status && all && watching)
        status = cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL, "--watch listens to one endpoint, not to all contexts");
    if (!status && all &&
        (cli_text(&c->args, "connect", NULL) || cli_text(&c->args, "context", NULL) ||
         cli_text(&c->args, "backend", NULL)))
        status = cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL,
                          "--all-contexts goes everywhere; --connect, --context and --backend name one endpoint");
    if (!status && all) {
        status = list_all(&l);
    } else if (!status) {
        vmctl_connection *connection = cli_connect(c, NULL, NULL, &status);
        if (connection)
            status = watching ? watch(&l, connection) : list_one(&l, connection, true);
    }
    free(l.labels);
    cli_strings_free(&l.texts);
    return status;
}

static const cli_option options[] = {
    {"all-contexts", 'A', CLI_FLAG, NULL, "every context at once, each with its own deadline (20s unless --timeout)"},
    {"facts", 0, CLI_TEXT, "LIST",
     "what may cost a call per VM: addresses, snapshots, marker, gpus, devices, config, all"},
    {"label", 'l', CLI_TEXT, "KEY=VALUE", "only VMs with this label (again: all of them)"},
    {"owner", 0, CLI_TEXT, "OWNER", "only VMs of this owner, such as ann@lab"},
    {"state", 0, CLI_TEXT, "STATE", "only VMs in this state (several: running,paused)", NULL, CLI_HINT_STATE},
    {"watch", 'w', CLI_FLAG, NULL, "go on, with a row for every VM that changes"},
    {NULL}};

const cli_verb cli_verb_list = {
    .name = "list",
    .group = "look",
    .summary = "the VMs of an endpoint",
    .help = "The state, CPUs and memory come in bulk from every hypervisor. --facts adds what does not: addresses,\n"
            "snapshots and the marker (owner, labels, expiry; also asked for by --owner and -l) cost a call per VM on\n"
            "libvirt and VirtualBox, and come in bulk from vSphere and KubeVirt. JSON is an array, also of one.\n"
            "\n"
            "  vmctl list --state running,paused\n"
            "  vmctl list -l team=infra -o name\n"
            "  vmctl list -A --facts addresses",
    .options = options,
    .run = list,
};
