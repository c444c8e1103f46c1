/* Command lines, read by tables. */
#include "options.h"

#include <stdlib.h>
#include <string.h>
#include <vmctl/call.h>

typedef struct cli_reader {
    cli_args *args;
    const cli_option **tables;
    char *const *argv;
    size_t at;
    char **why;
    char **next;
} cli_reader;

static int fault(cli_reader *r, char *why) {
    free(*r->why);
    *r->why = why;
    return -1;
}

static const cli_option *by_name(const cli_reader *r, const char *name, size_t length) {
    for (const cli_option **table = r->tables; *table; table++)
        for (const cli_option *o = *table; o->name; o++)
            if (strlen(o->name) == length && !memcmp(o->name, name, length))
                return o;
    return NULL;
}

static const cli_option *by_letter(const cli_reader *r, char letter) {
    for (const cli_option **table = r->tables; *table; table++)
        for (const cli_option *o = *table; o->name; o++)
            if (letter && o->letter == letter)
                return o;
    return NULL;
}

static int read_number(cli_reader *r, cli_value *v) {
    CLI_AUTO_ERROR *err = NULL;
    char *end = NULL;

    switch (v->option->kind) {
    case CLI_DURATION:
        if (vmctl_parse_duration(v->text, &v->number, &err) < 0)
            return fault(r, cli_printf("--%s: %s", v->option->name, vmctl_error_message(err)));
        return 0;
    case CLI_SIZE:
        if (vmctl_parse_size(v->text, &v->number, &err) < 0)
            return fault(r, cli_printf("--%s: %s", v->option->name, vmctl_error_message(err)));
        return 0;
    case CLI_INTEGER:
        v->number = strtoll(v->text, &end, 10);
        if (!*v->text || *end || v->number < 0)
            return fault(r, cli_printf("--%s: \"%s\" is no whole number of 0 or more", v->option->name, v->text));
        return 0;
    case CLI_CHOICE:
        if (!cli_has_word(v->option->values, v->text))
            return fault(r, cli_printf("--%s: \"%s\" is none of: %s", v->option->name, v->text, v->option->values));
        return 0;
    case CLI_FLAG:
    case CLI_TEXT:
        return 0;
    }
    return 0;
}

static int add(cli_reader *r, const cli_option *option, const char *text) {
    cli_args *args = r->args;
    cli_value v = {option, text, 0};

    if (text && read_number(r, &v) < 0)
        return -1;
    args->values = cli_grow(args->values, args->value_count + 1, sizeof *args->values);
    args->values[args->value_count++] = v;
    return 0;
}

static int unknown_long(cli_reader *r, const char *name, size_t length) {
    CLI_AUTO_STRINGS names = {0};
    CLI_AUTO_FREE char *word = cli_strndup(name, length);

    for (const cli_option **table = r->tables; *table; table++)
        for (const cli_option *o = *table; o->name; o++)
            if (!o->hidden)
                cli_strings_add(&names, o->name);
    const char *nearest = word ? vmctl_nearest(word, (const char *const *)names.items) : NULL;
    if (nearest)
        *r->next = cli_printf("--%s", nearest);
    return fault(r, cli_printf("there is no option --%s here", word ? word : ""));
}

static int read_long(cli_reader *r, const char *arg) {
    size_t length = strcspn(arg, "=");
    const cli_option *o = by_name(r, arg, length);

    if (!o)
        return unknown_long(r, arg, length);
    if (o->kind == CLI_FLAG)
        return arg[length] ? fault(r, cli_printf("--%s takes no value", o->name)) : add(r, o, NULL);
    if (arg[length])
        return add(r, o, arg + length + 1);
    if (!r->argv[r->at + 1])
        return fault(r, cli_printf("--%s needs a value: %s", o->name, o->argument));
    return add(r, o, r->argv[++r->at]);
}

static int read_letters(cli_reader *r, const char *letters) {
    for (; *letters; letters++) {
        const cli_option *o = by_letter(r, *letters);
        if (!o)
            return fault(r, cli_printf("there is no option -%c here", *letters));
        if (o->kind == CLI_FLAG) {
            if (add(r, o, NULL) < 0)
                return -1;
            continue;
        }
        if (letters[1])
            return add(r, o, letters + 1 + (letters[1] == '='));
        if (!r->argv[r->at + 1])
            return fault(r, cli_printf("-%c needs a value: %s", *letters, o->argument));
        return add(r, o, r->argv[++r->at]);
    }
    return 0;
}

static void add_operand(cli_args *args, const char *text) {
    args->operands = cli_grow(args->operands, args->operand_count + 2, sizeof *args->operands);
    args->operands[args->operand_count++] = text;
    args->operands[args->operand_count] = NULL;
}

int cli_parse(cli_args *args, const cli_option *tables[], char *const *argv, cli_operand_fn operand, void *user,
              const bool *takes_command, char **why, char **next) {
    cli_reader r = {args, tables, argv, 0, why, next};

    for (; argv[r.at]; r.at++) {
        const char *arg = argv[r.at];
        int rc = 0;
        if (!strcmp(arg, "--")) {
            if (*takes_command) {
                args->command = (const char *const *)argv + r.at + 1;
                return 0;
            }
            for (r.at++; argv[r.at]; r.at++)
                add_operand(args, argv[r.at]);
            return 0;
        }
        if (arg[0] == '-' && arg[1] == '-')
            rc = read_long(&r, arg + 2);
        else if (arg[0] == '-' && arg[1])
            rc = read_letters(&r, arg + 1);
        else
            rc = operand(arg, user, why, next);
        if (rc < 0)
            return -1;
        if (rc == 0 && !(arg[0] == '-' && arg[1]))
            add_operand(args, arg);
    }
    return 0;
}

void cli_args_free(cli_args *args) {
    free(args->values);
    free(args->operands);
    *args = (cli_args){0};
}

static const cli_value *last(const cli_args *args, const char *name) {
    for (size_t i = args->value_count; i > 0; i--)
        if (!strcmp(args->values[i - 1].option->name, name))
            return &args->values[i - 1];
    return NULL;
}

bool cli_flag(const cli_args *args, const char *name) {
    return last(args, name) != NULL;
}

const char *cli_text(const cli_args *args, const char *name, const char *fallback) {
    const cli_value *v = last(args, name);
    return v ? v->text : fallback;
}

int64_t cli_number(const cli_args *args, const char *name, int64_t fallback) {
    const cli_value *v = last(args, name);
    return v ? v->number : fallback;
}

void cli_texts(const cli_args *args, const char *name, cli_strings *out) {
    for (size_t i = 0; i < args->value_count; i++)
        if (!strcmp(args->values[i].option->name, name))
            cli_strings_add(out, args->values[i].text);
}
