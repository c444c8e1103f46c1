/* Other programs: in vmctl's place, or beside it. */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int cannot_run(cli *c, const char *program, const char *package, int why) {
    CLI_AUTO_FREE char *next = cli_printf("install %s", package);

    return cli_fail(c, VMCTL_E_UNAVAILABLE, why == ENOENT ? next : NULL, "%s cannot be run: %s", program,
                    strerror(why));
}

int cli_become(cli *c, const char *const *argv, const char *package) {
    cli_progress_end();
    fflush(stdout);
    cli_close(c);
    /* an ignored signal stays ignored across exec */
    signal(SIGPIPE, SIG_DFL);
    execvp(argv[0], (char *const *)argv);
    int why = errno;
    signal(SIGPIPE, SIG_IGN);
    return cannot_run(c, argv[0], package, why);
}

int cli_run_beside(cli *c, const char *const *argv, const char *package) {
    int told[2], why = 0, status = 0;

    cli_progress_end();
    fflush(stdout);
    if (pipe2(told, O_CLOEXEC) < 0)
        return cannot_run(c, argv[0], package, errno);
    pid_t pid = fork();
    if (pid == 0) {
        signal(SIGPIPE, SIG_DFL);
        execvp(argv[0], (char *const *)argv);
        why = errno;
        ssize_t unused = write(told[1], &why, sizeof why);
        (void)unused;
        _exit(127);
    }
    if (pid < 0)
        why = errno;
    close(told[1]);
    ssize_t n = 0;
    while (pid > 0 && (n = read(told[0], &why, sizeof why)) < 0 && errno == EINTR)
        ;
    close(told[0]);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        if (vmctl_cancel_triggered(c->cancel))
            kill(pid, SIGTERM); /* a terminal's ^C it has got itself */
    if (pid < 0 || n == (ssize_t)sizeof why)
        return cannot_run(c, argv[0], package, why);
    c->own_status = true;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
