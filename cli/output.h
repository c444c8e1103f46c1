/* cli/output.h - the one place where results are written. A result is a tree (cJSON) with the keys of the CLI contract; a view
 * says how a person sees it. */
#ifndef VMCTL_CLI_OUTPUT_H
#define VMCTL_CLI_OUTPUT_H

#include "cli.h"

typedef enum cli_cell {
    CLI_CELL_TEXT,
    CLI_CELL_STATE, /* text, coloured by its meaning */
    CLI_CELL_MIB,   /* a number of MiB */
    CLI_CELL_BYTES,
    CLI_CELL_TENTHS,  /* a number with one decimal */
    CLI_CELL_SECONDS, /* a duration: "3d 4h" */
    CLI_CELL_YES,     /* a boolean: "yes", or nothing */
    CLI_CELL_IPS,     /* the `ip` of each item of a list */
    CLI_CELL_NAMES,   /* the `name` of each item of a list, or the strings of a list */
    CLI_CELL_LABELS,  /* a map: "a=b,c=d" */
    CLI_CELL_LEVEL    /* "yes limited manual no unknown", coloured */
} cli_cell;

enum { CLI_COLUMN_RIGHT = 1, CLI_COLUMN_WIDE = 2, CLI_COLUMN_CUT = 4, CLI_COLUMN_TREE = 8 };

typedef struct cli_column {
    const char *title;
    const char *key; /* of the tree; "a.b" reaches into a map */
    cli_cell cell;
    unsigned flags;
} cli_column;

typedef struct cli_view {
    const cli_column *columns;                           /* ended by a NULL title; NULL: `text` is used */
    void (*text)(cli *c, FILE *to, const cJSON *result); /* for -o table and wide */
    const char *name_key;                                /* for -o name; NULL: "name" */
    const char *parent_key;                              /* of a tree: the key that names another result; NULL */
    bool sorted;                                         /* a table's rows by context and name; else as they came */
} cli_view;

/* A list of results: begin, add each (json, jsonl, yaml and name are written at once, tables at the end), end. The
 * tree becomes the output's. For one thread. */
void cli_output_begin(cli *c, const cli_view *view);
void cli_output_add(cli *c, cJSON *result);
/* What was added is complete (also after a failure: then nothing at all is written when nothing was added). */
void cli_output_end(cli *c, bool failed);
/* begin, add one, end. Unless it is an outcome, the result is one thing: an object, not an array of one. */
void cli_output_one(cli *c, const cli_view *view, cJSON *result);
/* Flushes stdout; a write that failed is reported. status, or the one of the failure when it was 0. */
int cli_output_finish(cli *c, int status);

/* One line per result: "web-1 started". Keys: name, outcome, and detail in parentheses. */
extern const cli_view cli_view_outcome;

/* The same tree as texts: two blanks a level; the first line is not indented, and JSON ends without a newline. */
void cli_json_write(FILE *to, const cJSON *tree, int indent);
void cli_yaml_write(FILE *to, const cJSON *tree, int indent);
void cli_table_write(cli *c, FILE *to, const cli_view *view, const cJSON *rows, bool headings);
/* The text of one cell, "" for an absent one; the caller frees. */
char *cli_cell_text(const cJSON *row, const char *key, cli_cell cell);

#endif
