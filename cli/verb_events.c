/* vmctl events. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <string.h>

typedef struct listener {
    cli *c;
    const char *kinds;
    int64_t wanted; /* events to go; -1: any number */
} listener;

/* Events come one by one, so their columns have fixed widths. */
static void write_event(cli *c, FILE *to, const cJSON *event) {
    (void)c;
    CLI_AUTO_FREE char *name = cli_printable(cli_get(event, "name"));
    CLI_AUTO_FREE char *detail = cli_printable(cli_get(event, "detail"));
    const char *state = cli_get(event, "state");

    fprintf(to, "%s  %-24s %-8s %s%s%s\n", cli_get(event, "time"), name, cli_get(event, "kind"), state,
            *state && *detail ? ": " : "", detail);
}

static const cli_view view = {.text = write_event};

/* Those that the hypervisor remembers have no times, and come by name. */
static const cli_column columns[] = {{"NAME", "name", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"KIND", "kind", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {"STATE", "state", CLI_CELL_STATE, 0},
                                     {"DETAIL", "detail", CLI_CELL_TEXT, CLI_COLUMN_CUT},
                                     {"TIME", "time", CLI_CELL_TEXT, CLI_COLUMN_WIDE},
                                     {NULL}};
static const cli_view recorded_view = {.columns = columns, .sorted = true};

static int on_event(const vmctl_event *event, void *user) {
    listener *l = user;

    if (event->kind == VMCTL_EVENT_CONNECTED)
        cli_note(l->c, VMCTL_NOTE_INFO, "listening");
    if (!event->name || event->kind == VMCTL_EVENT_TICK || event->kind == VMCTL_EVENT_CONNECTED ||
        (l->kinds && !cli_has_word(l->kinds, vmctl_event_kind_name(event->kind))))
        return 0;
    cli_output_add(l->c, cli_tree_event(event));
    fflush(stdout);
    if (l->wanted > 0)
        l->wanted--;
    return l->wanted == 0 || ferror(stdout);
}

static int events(cli *c) {
    vmctl_event_options options = VMCTL_EVENT_OPTIONS_INIT;
    listener l = {c, cli_text(&c->args, "kind", NULL), cli_number(&c->args, "count", -1)};
    vmctl_error *err = NULL;
    int status = 0;

    const char *name = NULL;
    CLI_AUTO_FREE char *context = c->args.operand_count ? cli_split_target(c, c->args.operands[0], &name) : NULL;
    vmctl_connection *connection = cli_connect(c, context, NULL, &status);
    if (!connection)
        return status;
    vmctl_call call = cli_call(c);
    /* bars would stand in what is written meanwhile */
    call.progress = NULL;
    options.call = &call;
    options.vm = name;
    /* what is to be waited for is to come */
    options.recorded = !cli_flag(&c->args, "follow") && l.wanted < 0 && c->deadline_ms < 0;
    cli_output_begin(c, options.recorded ? &recorded_view : &view);
    int rc = vmctl_events(connection, &options, on_event, &l, &err);
    bool over = rc == 0 || rc == VMCTL_E_TIMEOUT || rc == VMCTL_E_CANCELLED;
    cli_output_end(c, !over);
    if (rc == VMCTL_E_TIMEOUT && l.wanted <= 0) {
        vmctl_error_free(err);
        return 0;
    }
    if (rc == VMCTL_E_CANCELLED) {
        vmctl_error_free(err);
        return vmctl_code_exit_status(rc);
    }
    if (rc < 0)
        return cli_report(c, err, vmctl_connection_context(connection));
    if (vmctl_cancel_triggered(c->cancel))
        return vmctl_code_exit_status(VMCTL_E_CANCELLED);
    if (l.wanted > 0 && !ferror(stdout))
        return cli_fail(c, VMCTL_E_TIMEOUT, NULL, "%lld events were still to come", (long long)l.wanted);
    return 0;
}

static const cli_option options[] = {
    {"count", 0, CLI_INTEGER, "N", "end after so many events (status 8 when --timeout comes first)"},
    {"follow", 'f', CLI_FLAG, NULL, "what happens from now on, until ^C or --timeout"},
    {"kind", 0, CLI_CHOICE, "KIND", "only this kind", "state defined deleted agent device job other"},
    {NULL}};

const cli_verb cli_verb_events = {
    .name = "events",
    .group = "look",
    .operands = "[VM]",
    .summary = "what happened to VMs; with --follow, what happens",
    .help = "Without --follow, --count or --timeout: what the hypervisor remembers, which may be no more than the "
            "state of\n"
            "each VM and how it came to it. With one of them each event is written at once, and none is lost when the\n"
            "hypervisor's daemon goes away and comes back; -o jsonl is the form for programs.\n"
            "\n"
            "  vmctl events --follow -o jsonl\n"
            "  vmctl events web-1 --kind state --count 1 --timeout 5m",
    .options = options,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = events,
};
