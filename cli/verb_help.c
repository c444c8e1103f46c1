/* vmctl help, vmctl version. */
#include "output.h"
#include "tree.h"
#include "verbs.h"

#include <string.h>

static int help(cli *c) {
    const cli_verb *const *verbs = cli_verbs;
    const cli_verb *parent = NULL, *verb = NULL;

    if (cli_flag(&c->args, "man")) {
        cli_help_man(stdout);
        return 0;
    }
    for (size_t i = 0; i < c->args.operand_count; i++) {
        const char *name = c->args.operands[i];
        if (i == 0 && !strcmp(name, "options")) {
            cli_help_options(stdout);
            return 0;
        }
        parent = verb;
        verb = verbs ? cli_verb_find(verbs, name) : NULL;
        if (!verb) {
            const char *nearest = verbs ? cli_verb_nearest(verbs, name) : NULL;
            CLI_AUTO_FREE char *next =
                nearest ? cli_printf("vmctl help %s%s%s", parent ? parent->name : "", parent ? " " : "", nearest)
                        : NULL;
            return cli_fail(c, VMCTL_E_INVALID_ARGUMENT, next ? next : "vmctl help", "there is no verb \"%s\"", name);
        }
        verbs = verb->verbs;
    }
    if (verb)
        cli_help_verb(stdout, parent, verb);
    else
        cli_help_overview(stdout);
    return 0;
}

static const cli_option help_options[] = {{"man", 0, CLI_FLAG, NULL, "the man page, as roff", .hidden = true}, {NULL}};

const cli_verb cli_verb_help = {
    .name = "help",
    .group = "setup",
    .operands = "[VERB]",
    .summary = "what there is, and what a verb does",
    .options = help_options,
    .max = 2,
    .hint = CLI_HINT_VERB,
    .run = help,
};

static void write_version(cli *c, FILE *to, const cJSON *result) {
    (void)c;
    fprintf(to, "vmctl %s\n", cli_get(result, "version"));
}

static const cli_view version_view = {NULL, write_version, "version", NULL};

static int version(cli *c) {
    cJSON *tree = cJSON_CreateObject();

    cli_put(tree, "version", vmctl_version());
    cJSON *backends = cJSON_AddArrayToObject(tree, "backends");
    for (size_t i = 0; vmctl_backend_name(i); i++)
        cJSON_AddItemToArray(backends, cJSON_CreateString(vmctl_backend_name(i)));
    cli_output_one(c, &version_view, tree);
    return 0;
}

const cli_verb cli_verb_version = {
    .name = "version",
    .group = "setup",
    .summary = "the version of vmctl and the backends it was built with",
    .run = version,
};
