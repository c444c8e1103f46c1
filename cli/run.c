/* Other programs in vmctl's place. */
#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

int cli_become(cli *c, const char *const *argv, const char *package) {
    cli_progress_end();
    fflush(stdout);
    cli_close(c);
    /* an ignored signal stays ignored across exec */
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], (char *const *)argv);
    int why = errno;
    signal(SIGPIPE, SIG_IGN);
    CLI_AUTO_FREE char *next = cli_printf("install %s", package);
    return cli_fail(c, VMCTL_E_UNAVAILABLE, why == ENOENT ? next : NULL, "%s cannot be run: %s", argv[0],
                    strerror(why));
}
