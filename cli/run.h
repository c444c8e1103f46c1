/* cli/run.h - other programs in vmctl's place. */
#ifndef VMCTL_CLI_RUN_H
#define VMCTL_CLI_RUN_H

#include "cli.h"

/* Becomes the program (NULL-terminated argument vector, found in PATH, no shell); every connection is closed before. Returns only when it cannot be
 * run: the exit status, reported. package: what to install, for the message. */
int cli_become(cli *c, const char *const *argv, const char *package);

/* Runs the program with this one's own input, output and terminal, and waits for it. Its exit status, 128 + N when signal N ended it, which
 * is the verb's own (cli.own_status); when it cannot be run, that is reported. */
int cli_run_beside(cli *c, const char *const *argv, const char *package);

#endif
