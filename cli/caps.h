/* cli/caps.h - what the files of `vmctl caps` share. */
#ifndef VMCTL_CLI_CAPS_H
#define VMCTL_CLI_CAPS_H

#include "cli.h"

/* What is asked about: a backend, an endpoint or a VM. */
typedef struct cli_subject {
    vmctl_caps_options options;
    char *unreachable; /* options.unreachable */
    vmctl_vm *vm;
    vmctl_call call;
} cli_subject;

/* Connects, where an endpoint or a VM was named; an endpoint that does not answer leaves the static answers, with the reason. 0, or the
 * exit status of what was reported. context: NULL, what the options say. vm: NULL. */
int cli_subject_open(cli *c, const char *context, const char *uri, const char *vm, cli_subject *out);
void cli_subject_close(cli_subject *subject);

/* caps_compare.c, caps_diff.c: exit statuses. */
int cli_caps_compare(cli *c, const char *section);
int cli_caps_diff(cli *c, const char *a, const char *b);
/* Whether --feature selects it: words is an id, or the part before a dot for all of them, separated by commas; NULL: all. */
bool cli_caps_selected(const char *words, const char *feature);
/* "limited*": the platform's level, marked where it is a correction. */
const char *cli_platform_level(const cJSON *entry, char text[16]);

#endif
