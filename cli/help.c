/* Help and the man page, made from the table of verbs. */
#include "verbs.h"

#include <string.h>

static bool in_group(const cli_verb *verb, const char *group) {
    return !verb->hidden && verb->group && !strcmp(verb->group, group);
}

void cli_help_overview(FILE *to) {
    fputs("vmctl: virtual machines on QEMU/KVM, VirtualBox, vSphere and KubeVirt with one set of verbs\n\n"
          "usage: vmctl VERB [OPTION]... [ARGUMENT]...\n",
          to);
    for (size_t g = 0; cli_verb_groups[g][0]; g++) {
        bool titled = false;
        for (const cli_verb *const *v = cli_verbs; *v; v++) {
            if (!in_group(*v, cli_verb_groups[g][0]))
                continue;
            if (!titled)
                fprintf(to, "\n%s\n", cli_verb_groups[g][1]);
            titled = true;
            fprintf(to, "  %-13s %s\n", (*v)->name, (*v)->summary);
        }
    }
    fputs("\nvmctl help VERB tells more; vmctl help options lists the options that every verb takes.\n", to);
}

void cli_usage_line(FILE *to, const cli_verb *parent, const cli_verb *verb) {
    fprintf(to, "vmctl %s%s%s%s%s%s", parent ? parent->name : "", parent ? " " : "", verb->name,
            verb->verbs ? " VERB" : "", verb->options && verb->options->name ? " [OPTION]..." : "",
            verb->operands ? " " : "");
    fprintf(to, "%s\n", verb->operands ? verb->operands : "");
}

/* Words wrapped at 96 columns, every line indented. */
static void wrap(FILE *to, const char *text, size_t indent, size_t column) {
    while (*text) {
        size_t length = strcspn(text, " ");
        if (column > indent && column + 1 + length > 96) {
            fprintf(to, "\n%*s", (int)indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", (int)length, text);
        column += length;
        text += length + strspn(text + length, " ");
    }
    fputc('\n', to);
}

static void option_head(const cli_option *o, char *head, size_t size) {
    snprintf(head, size, "%c%c%c --%s%s%s", o->letter ? '-' : ' ', o->letter ? o->letter : ' ', o->letter ? ',' : ' ',
             o->name, o->argument ? " " : "", o->argument ? o->argument : "");
}

static void list_options(FILE *to, const cli_option *options) {
    for (const cli_option *o = options; o->name; o++) {
        char head[80];
        if (o->hidden)
            continue;
        option_head(o, head, sizeof head);
        fprintf(to, "  %-26s ", head);
        if (strlen(head) > 26)
            fprintf(to, "\n%29s", "");
        wrap(to, o->help, 29, 29);
    }
}

void cli_help_options(FILE *to) {
    fputs("options of every verb, before or after its name\n", to);
    list_options(to, cli_global_options);
}

void cli_help_verb(FILE *to, const cli_verb *parent, const cli_verb *verb) {
    fprintf(to, "vmctl %s%s%s: %s\n\nusage: ", parent ? parent->name : "", parent ? " " : "", verb->name,
            verb->summary);
    cli_usage_line(to, parent, verb);
    if (verb->help)
        fprintf(to, "\n%s\n", verb->help);
    if (verb->verbs) {
        fputs("\nverbs\n", to);
        for (const cli_verb *const *v = verb->verbs; *v; v++)
            fprintf(to, "  %-13s %s\n", (*v)->name, (*v)->summary);
    }
    if (verb->options && verb->options->name) {
        fputs("\noptions\n", to);
        list_options(to, verb->options);
    }
    fputc('\n', to);
    cli_help_options(to);
}

/* --- the man page ------------------------------------------------------------------------------------------- */

/* A text in roff: backslashes and hyphens as they are, no line that begins with a control character. */
static void roff(FILE *to, const char *text, bool line_start) {
    for (; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", to);
        line_start = *text == '\n';
        if (*text == '\\')
            fputs("\\e", to);
        else if (*text == '-')
            fputs("\\-", to);
        else
            fputc(*text, to);
    }
}

/* Paragraphs; lines that begin with a blank are examples. */
static void roff_help(FILE *to, const char *text) {
    bool example = false;

    for (;;) {
        size_t length = strcspn(text, "\n");
        char line[512];
        snprintf(line, sizeof line, "%.*s", (int)length, text);
        bool indented = line[0] == ' ';
        if (indented != example)
            fputs(indented ? ".PP\n.nf\n.RS 4\n" : ".RE\n.fi\n.PP\n", to);
        else if (!line[0] && !example && text[length])
            fputs(".PP\n", to);
        example = indented;
        if (line[0]) {
            roff(to, indented ? line + strspn(line, " ") : line, true);
            fputc('\n', to);
        }
        if (!text[length])
            break;
        text += length + 1;
    }
    if (example)
        fputs(".RE\n.fi\n", to);
}

static void roff_options(FILE *to, const cli_option *options) {
    for (const cli_option *o = options; o->name; o++) {
        if (o->hidden)
            continue;
        fputs(".TP\n", to);
        if (o->letter)
            fprintf(to, "\\fB\\-%c\\fR, ", o->letter);
        fputs("\\fB\\-\\-", to);
        roff(to, o->name, false);
        fputs("\\fR", to);
        if (o->argument) {
            fputs(" \\fI", to);
            roff(to, o->argument, false);
            fputs("\\fR", to);
        }
        fputc('\n', to);
        roff(to, o->help, true);
        fputs("\n", to);
    }
}

static void man_verb(FILE *to, const cli_verb *parent, const cli_verb *verb) {
    fprintf(to, ".SS vmctl %s%s%s", parent ? parent->name : "", parent ? " " : "", verb->name);
    if (verb->operands) {
        fputc(' ', to);
        roff(to, verb->operands, false);
    }
    fputc('\n', to);
    roff(to, verb->summary, true);
    fputs(".\n", to);
    if (verb->help) {
        fputs(".PP\n", to);
        roff_help(to, verb->help);
    }
    if (verb->options)
        roff_options(to, verb->options);
    for (const cli_verb *const *v = verb->verbs; v && *v; v++)
        man_verb(to, verb, *v);
}

static const struct {
    const char *status, *meaning;
} statuses[] = {{"0", "done"},
                {"1", "diff found differences; nothing else uses it"},
                {"2", "invalid-argument, invalid-spec"},
                {"3", "unsupported, and an unmet caps --require"},
                {"4", "not-found"},
                {"5", "already-exists, ambiguous, conflict"},
                {"6", "invalid-state, busy"},
                {"7", "unauthenticated, permission-denied"},
                {"8", "timeout"},
                {"9", "unavailable"},
                {"10", "some of several failed"},
                {"11", "resource-exhausted, data-loss-prevented"},
                {"70", "internal"},
                {"125", "exec and ssh: vmctl itself failed; else they exit with the command's own status"},
                {"130", "cancelled"}};

void cli_help_man(FILE *to) {
    fprintf(to,
            ".TH VMCTL 1 \"\" \"vmctl %s\" \"User Commands\"\n.SH NAME\nvmctl \\- virtual machines on QEMU/KVM, "
            "VirtualBox, vSphere and KubeVirt\n.SH SYNOPSIS\n.B vmctl\n\\fIVERB\\fR [\\fIOPTION\\fR]... "
            "[\\fIARGUMENT\\fR]...\n.SH DESCRIPTION\nOne set of verbs for the virtual machines of four hypervisors. "
            "Standard output is the result and nothing else; progress, notes and errors go to standard error.\n"
            ".PP\nA VM is named by its name or its id, and by \\fICONTEXT/VM\\fR where a context of that name exists.\n"
            ".SH OPTIONS\nEvery verb takes these, before or after its name.\n",
            VMCTL_VERSION);
    roff_options(to, cli_global_options);
    for (size_t g = 0; cli_verb_groups[g][0]; g++) {
        bool titled = false;
        for (const cli_verb *const *v = cli_verbs; *v; v++) {
            if (!in_group(*v, cli_verb_groups[g][0]))
                continue;
            if (!titled)
                fprintf(to, ".SH \"%s\"\n", cli_verb_groups[g][1]);
            titled = true;
            man_verb(to, NULL, *v);
        }
    }
    fputs(".SH EXIT STATUS\n", to);
    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++) {
        fprintf(to, ".TP\n.B %s\n", statuses[i].status);
        roff(to, statuses[i].meaning, true);
        fputc('\n', to);
    }
    fputs(".SH ENVIRONMENT\n.TP\n.B VMCTL_CONNECT\\fR, \\fBVMCTL_CONTEXT\\fR, \\fBVMCTL_BACKEND\nwhere commands go "
          "when no option says so\n.TP\n.B VMCTL_OWNER\nthe owner that is written on new VMs, instead of user@host\n"
          ".TP\n.B NO_COLOR\nno colour in tables\n.SH FILES\n.TP\n.I $XDG_CONFIG_HOME/vmctl/config.yaml\ncontexts\n",
          to);
}
