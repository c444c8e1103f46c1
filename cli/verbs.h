/* cli/verbs.h - the one table of verbs. From it come the dispatch, help, completion and the man page. */
#ifndef VMCTL_CLI_VERBS_H
#define VMCTL_CLI_VERBS_H

#include "cli.h"

struct cli_verb {
    const char *name;
    const char *group;    /* "life"; NULL for a verb below another */
    const char *operands; /* "VM..."; NULL: none */
    const char *summary;  /* one line */
    const char *help;     /* paragraphs; lines that begin with a blank are examples; NULL */
    const cli_option *options;
    int min, max;             /* operands; max -1: any number */
    cli_hint hint, hint_rest; /* the first operand and the others */
    bool command;             /* "-- CMD..." ends the options and is kept apart */
    bool hidden;
    bool lazy;           /* its VMs are not looked at before: vmctl_lookup_options */
    const char *formats; /* values of -o besides the usual ones */
    int (*run)(cli *c);  /* the exit status; NULL: a group */
    const cli_verb *const *verbs;
};

extern const cli_verb *const cli_verbs[]; /* NULL-terminated, in the order of help */
extern const cli_option cli_global_options[];

/* Groups in the order of help: name and title, NULL-terminated pairs. */
extern const char *const cli_verb_groups[][2];

const cli_verb *cli_verb_find(const cli_verb *const *verbs, const char *name);
/* The nearest name of a verb; NULL. */
const char *cli_verb_nearest(const cli_verb *const *verbs, const char *name);

/* help.c */
void cli_help_overview(FILE *to);
void cli_help_options(FILE *to); /* those of every verb */
void cli_help_verb(FILE *to, const cli_verb *parent, const cli_verb *verb);
void cli_usage_line(FILE *to, const cli_verb *parent, const cli_verb *verb);
void cli_help_man(FILE *to);

#endif
