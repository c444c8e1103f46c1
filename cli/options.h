/* cli/options.h - command lines, read by tables (GNU style: --name=VALUE, --name VALUE, -xVALUE, clusters, options and operands
 * in any order, "--" ends the options). Abbreviations are refused: a script must not break when an option is added. */
#ifndef VMCTL_CLI_OPTIONS_H
#define VMCTL_CLI_OPTIONS_H

#include "util.h"

typedef enum cli_kind {
    CLI_FLAG,
    CLI_TEXT,
    CLI_CHOICE,   /* one of `values` */
    CLI_DURATION, /* number: milliseconds */
    CLI_SIZE,     /* number: bytes */
    CLI_INTEGER   /* number: 0 or more */
} cli_kind;

/* What completion offers for an operand or an option's argument. */
typedef enum cli_hint {
    CLI_HINT_NONE = 0,
    CLI_HINT_VM,
    CLI_HINT_CONTEXT,
    CLI_HINT_FILE,
    CLI_HINT_BACKEND,
    CLI_HINT_STAGE,
    CLI_HINT_STATE,
    CLI_HINT_KEY,
    CLI_HINT_VERB,
    CLI_HINT_SHELL,
    CLI_HINT_DEVICE, /* of the VM that is the first operand */
    CLI_HINT_KIND    /* of a device */
} cli_hint;

typedef struct cli_option {
    const char *name; /* without "--" */
    char letter;      /* 0: none */
    cli_kind kind;
    const char *argument; /* "DUR"; NULL for flags */
    const char *help;     /* one line, no final full stop */
    const char *values;   /* CHOICE: separated by spaces */
    cli_hint hint;
    bool hidden; /* not in help */
} cli_option;

typedef struct cli_value {
    const cli_option *option;
    const char *text; /* NULL for flags */
    int64_t number;
} cli_value;

/* What a command line said. All strings belong to argv. */
typedef struct cli_args {
    cli_value *values; /* in the order they were given */
    size_t value_count;
    const char **operands; /* NULL-terminated */
    size_t operand_count;
    const char *const *command; /* what stands after "--" where the verb takes a command; NULL: there was no "--" */
} cli_args;

/* Called for each operand before "--"; may point `tables[0]` to another verb's options. 1: it was a verb's name, no operand. Negative: a fault,
 * with *why set. */
typedef int (*cli_operand_fn)(const char *operand, void *user, char **why, char **next);

/* tables: arrays of options, each ended by a NULL name; ended by NULL. 0, or -1 with *why (and *next, which may
 * stay NULL) to be freed. What was read before the fault is in args. */
int cli_parse(cli_args *args, const cli_option *tables[], char *const *argv, cli_operand_fn operand, void *user,
              const bool *takes_command, char **why, char **next);
void cli_args_free(cli_args *args);

bool cli_flag(const cli_args *args, const char *name);
/* The last one given; the fallback when there is none. */
const char *cli_text(const cli_args *args, const char *name, const char *fallback);
int64_t cli_number(const cli_args *args, const char *name, int64_t fallback);
/* Every one given. The list is the caller's (cli_strings_free). */
void cli_texts(const cli_args *args, const char *name, cli_strings *out);

#endif
