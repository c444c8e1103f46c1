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

static int on_event(const vmctl_event *event, void *user) {
    listener *l = user;

    if (event->kind == VMCTL_EVENT_CONNECTED)
        cli_note(l->c, VMCTL_NOTE_INFO, "listening");
    if (!event->name || event->kind == VMCTL_EVENT_TICK ||
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
    cli_output_begin(c, &view);
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
    {"follow", 0, CLI_FLAG, NULL, "go on until ^C or --timeout; this is what it does anyway"},
    {"kind", 0, CLI_CHOICE, "KIND", "only this kind", "state defined deleted agent device job other"},
    {NULL}};

const cli_verb cli_verb_events = {
    .name = "events",
    .group = "look",
    .operands = "[VM]",
    .summary = "what happens to VMs, as it happens",
    .help = "Each event is written at once; -o jsonl is the form for programs.\n"
            "\n"
            "  vmctl events web-1 --kind state --count 1 --timeout 5m",
    .options = options,
    .max = 1,
    .hint = CLI_HINT_VM,
    .run = events,
};
