/* vmctl: reads the command line by the table of verbs and runs one. */
#include "output.h"
#include "terminal.h"
#include "verbs.h"

#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static vmctl_cancel *token;
static atomic_int interrupts;

/* The first signal asks every call to end; the second leaves at once. */
static void on_signal(int number) {
    (void)number;
    if (atomic_fetch_add(&interrupts, 1) > 0 || !token) {
        cli_terminal_restore();
        _exit(130);
    }
    vmctl_cancel_trigger(token);
}

static void catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    /* a reader that leaves is seen as a failed write */
    signal(SIGPIPE, SIG_IGN);
}

/* A descriptor 0 to 2 that is closed must not become a file or socket of the library; what is written to a closed stdout must fail. */
static void keep_standard_files(void) {
    for (int fd = 0; fd <= 2; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(70);
}

/* Whether a fault of the command line itself is to be told as JSON. */
static cli_format guess_format(char *const *argv) {
    for (size_t i = 0; argv[i] && strcmp(argv[i], "--") != 0; i++) {
        const char *value = NULL;
        if (!strcmp(argv[i], "-o") || !strcmp(argv[i], "--output"))
            value = argv[i + 1];
        else if (!strncmp(argv[i], "-o", 2))
            value = argv[i] + 2;
        else if (!strncmp(argv[i], "--output=", 9))
            value = argv[i] + 9;
        if (value && (!strcmp(value, "json") || !strcmp(value, "jsonl")))
            return CLI_JSON;
    }
    return CLI_TABLE;
}

typedef struct reading {
    cli *c;
    const cli_option **tables;
    bool command;
} reading;

static const cli_option no_options[] = {{NULL}};

/* An operand is the verb's name as long as there is no verb, or only a group. */
static int on_operand(const char *operand, void *user, char **why, char **next) {
    reading *r = user;
    const cli_verb *const *verbs = r->c->verb ? r->c->verb->verbs : cli_verbs;

    if (!verbs)
        return 0;
    const cli_verb *verb = cli_verb_find(verbs, operand);
    if (!verb) {
        const char *nearest = cli_verb_nearest(verbs, operand);
        const char *group = r->c->verb ? r->c->verb->name : NULL;
        *why = cli_printf("there is no verb \"%s%s%s\"", group ? group : "", group ? " " : "", operand);
        *next = nearest ? cli_printf("vmctl %s%s%s", group ? group : "", group ? " " : "", nearest)
                        : cli_strdup("vmctl help");
        return -1;
    }
    r->c->parent = r->c->verb;
    r->c->verb = verb;
    r->tables[0] = verb->options ? verb->options : no_options;
    r->command = verb->command;
    return 1;
}

static int choose_format(cli *c) {
    static const char *const names[] = {"table", "wide",   "json",     "jsonl", "yaml", "name",
                                        "spec",  "native", "markdown", "csv",   NULL};
    const char *wanted = cli_text(&c->args, "output", "table");
    const char *more = c->verb ? c->verb->formats : NULL;

    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], wanted) && (i < CLI_SPEC || (more && cli_has_word(more, wanted)))) {
            c->format = (cli_format)i;
            return 0;
        }
    return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, NULL,
                    "--output: \"%s\" is none of: table wide json jsonl yaml name%s%s", wanted, more ? " " : "",
                    more ? more : "");
}

static cli_progress_mode choose_progress(const cli *c) {
    const char *mode = cli_text(&c->args, "progress", "auto");

    if (!strcmp(mode, "plain"))
        return CLI_PROGRESS_PLAIN;
    if (!strcmp(mode, "json"))
        return CLI_PROGRESS_JSON;
    if (!strcmp(mode, "bar"))
        return CLI_PROGRESS_BAR;
    const char *term = getenv("TERM");
    if (!strcmp(mode, "auto") && !c->quiet && isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0)
        return CLI_PROGRESS_BAR;
    return CLI_PROGRESS_NONE;
}

static bool choose_color(const cli *c) {
    const char *when = cli_text(&c->args, "color", "auto");
    const char *no_color = getenv("NO_COLOR");

    if (strcmp(when, "auto") != 0)
        return !strcmp(when, "always");
    return isatty(STDOUT_FILENO) && !(no_color && *no_color);
}

static int read_globals(cli *c) {
    cli_strings verbose = {0};

    int status = choose_format(c);
    if (status)
        return status;
    c->quiet = cli_flag(&c->args, "quiet");
    c->progress = choose_progress(c);
    c->color = choose_color(c);
    c->no_wait = cli_flag(&c->args, "no-wait");
    c->namespace_name = cli_text(&c->args, "namespace", NULL);
    c->folder = cli_text(&c->args, "folder", NULL);
    int64_t timeout = cli_number(&c->args, "timeout", -1);
    c->deadline_ms = timeout >= 0 ? cli_now_ms() + timeout : -1;
    cli_texts(&c->args, "verbose", &verbose);
    c->verbose = (int)verbose.count;
    cli_strings_free(&verbose);
    if (c->verbose)
        setenv("VMCTL_LOG", c->verbose > 1 ? "debug" : "info", 0);
    return 0;
}

static int check_operands(cli *c) {
    const cli_verb *verb = c->verb;
    size_t count = c->args.operand_count;
    const char *group = c->parent ? c->parent->name : NULL;

    if (!verb->run) {
        CLI_AUTO_FREE char *next = cli_printf("vmctl help %s", verb->name);
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, next, "vmctl %s needs a verb after it", verb->name);
    }
    if (count >= (size_t)verb->min && (verb->max < 0 || count <= (size_t)verb->max))
        return 0;
    CLI_AUTO_FREE char *next = cli_printf("vmctl help %s%s%s", group ? group : "", group ? " " : "", verb->name);
    if (count < (size_t)verb->min)
        return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, next, "something is missing: vmctl %s%s%s %s", group ? group : "",
                        group ? " " : "", verb->name, verb->operands ? verb->operands : "");
    return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, next, "\"%s\" is one argument too many: vmctl %s%s%s %s",
                    c->args.operands[verb->max], group ? group : "", group ? " " : "", verb->name,
                    verb->operands ? verb->operands : "");
}

static int read_command_line(cli *c, char *const *argv) {
    const cli_option *tables[] = {no_options, cli_global_options, NULL};
    reading r = {c, tables, false};
    CLI_AUTO_FREE char *why = NULL;
    CLI_AUTO_FREE char *next = NULL;

    if (cli_parse(&c->args, tables, argv, on_operand, &r, &r.command, &why, &next) == 0)
        return 0;
    if (!next && c->verb)
        next = cli_printf("vmctl help %s%s%s", c->parent ? c->parent->name : "", c->parent ? " " : "", c->verb->name);
    return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, next, "%s", why ? why : "");
}

static int run(cli *c, char *const *argv) {
    c->format = guess_format(argv);
    int status = read_command_line(c, argv);
    if (status)
        return status;
    if (cli_flag(&c->args, "version") && !c->verb) {
        printf("vmctl %s\n", vmctl_version());
        return 0;
    }
    if (!c->verb && !cli_flag(&c->args, "help")) {
        cli_help_overview(stderr);
        return vmctl_code_exit_status(VMCTL_E_INVALID_ARGUMENT);
    }
    if (cli_flag(&c->args, "help")) {
        if (c->verb)
            cli_help_verb(stdout, c->parent, c->verb);
        else
            cli_help_overview(stdout);
        return 0;
    }
    status = read_globals(c);
    if (status == 0)
        status = check_operands(c);
    return status ? status : c->verb->run(c);
}

int main(int argc, char **argv) {
    cli c = {.deadline_ms = -1};

    (void)argc;
    keep_standard_files();
    mallopt(M_ARENA_MAX, 1); /* an arena of its own for each thread grows page by page: 3 % of a long list */
    token = c.cancel = vmctl_cancel_new();
    catch_signals();
    int status = run(&c, argv[0] ? argv + 1 : argv);
    /* a verb that runs a command leaves 1 to 124 to that */
    if (status && status != 130 && c.verb && c.verb->command && !c.own_status)
        status = 125;
    cli_progress_end();
    status = cli_output_finish(&c, status);
    cli_close(&c);
    cli_args_free(&c.args);
    return status;
}
