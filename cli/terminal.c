/* The person's terminal in raw mode. */
#include "terminal.h"

#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

static struct termios before;
static volatile bool changed;

bool cli_terminal_raw(void) {
    struct termios raw;

    if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &before) < 0)
        return false;
    raw = before;
    cfmakeraw(&raw);
    changed = true;
    atexit(cli_terminal_restore);
    return tcsetattr(STDIN_FILENO, TCSADRAIN, &raw) == 0;
}

void cli_terminal_restore(void) {
    if (!changed)
        return;
    tcsetattr(STDIN_FILENO, TCSADRAIN, &before);
    changed = false;
}
