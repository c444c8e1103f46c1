/* cli/specs.h - the vm.yaml files that verbs take. */
#ifndef VMCTL_CLI_SPECS_H
#define VMCTL_CLI_SPECS_H

#include "cli.h"

/* The specs of all files ("-": standard input), with --set and --name of the run laid over them. */
typedef struct cli_specs {
    vmctl_spec **items;
    size_t count;
} cli_specs;

/* 0, or the exit status; faults of all files are reported. -n says where VMs go whose documents do not. */
int cli_specs_load(cli *c, const char *const *files, cli_specs *out);
void cli_specs_free(cli_specs *specs);
/* The same for one spec that was not loaded: its placement is -n's. A document that says otherwise is refused. */
int cli_spec_place(cli *c, vmctl_spec *spec);

/* Does `work` for every spec, one after the other; a failure does not stop the rest. The exit status of all. */
typedef int (*cli_spec_fn)(cli *c, vmctl_connection *connection, const vmctl_spec *spec, void *user);
int cli_specs_each(cli *c, const cli_specs *specs, cli_spec_fn work, void *user);

/* Collects the changes of a diff with their effects into the array `user` (a cJSON), as change and apply call it. */
void cli_collect_change(const vmctl_change *change, vmctl_effect effect, void *user);

#endif
