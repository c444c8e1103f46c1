/* cli/terminal.h - the person's terminal in raw mode, and back in every case. */
#ifndef VMCTL_CLI_TERMINAL_H
#define VMCTL_CLI_TERMINAL_H

#include <stdbool.h>

/* Puts the terminal of standard input into raw mode; false when it is none. */
bool cli_terminal_raw(void);
/* As it was before; async-signal-safe; nothing happens when it was not changed. */
void cli_terminal_restore(void);

#endif
