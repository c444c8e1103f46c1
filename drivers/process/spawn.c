/* drivers/process/spawn.c - one fork and one exec, safe in programs with many threads: between the two only system calls. */
#include "drivers/process/spawn.h"
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* All that the child needs, made ready before the fork. */
typedef struct plan {
    const char *path;
    char *const *argv;
    char *const *envp;
    const char *directory;
    int in, out, error; /* become 0, 1, 2; in -1: stays */
    int report;         /* close-on-exec: what failed */
    pid_t parent;
    int end_signal;
    bool own_group;
    bool change_user;
    uid_t uid;
    gid_t gid;
    gid_t groups[64];
    int group_count;
} plan;

typedef enum step { STEP_USER = 1, STEP_DIRECTORY, STEP_DESCRIPTORS, STEP_EXEC } step;

typedef struct report {
    int step;
    int error;
} report;

/* What getenv("PATH") names first, then where daemons live. */
char *process_find(const char *name) {
    if (!name || !*name)
        return NULL;
    if (strchr(name, '/'))
        return access(name, X_OK) == 0 ? vmc_strdup(name) : NULL;
    const char *path = getenv("PATH");
    VMC_AUTO_FREE char *all =
        vmc_printf("%s:/usr/local/sbin:/usr/sbin:/sbin", path && *path ? path : "/usr/local/bin:/usr/bin:/bin");
    for (char *rest = NULL, *folder = strtok_r(all, ":", &rest); folder; folder = strtok_r(NULL, ":", &rest)) {
        if (*folder != '/') /* the working folder is no place to run programs from */
            continue;
        VMC_AUTO_FREE char *file = vmc_printf("%s/%s", folder, name);
        if (access(file, X_OK) == 0)
            return vmc_strdup(file);
    }
    return NULL;
}

/* Whether a "KEY=VALUE" is replaced or removed by one of the additions. */
static bool overridden(const char *variable, const char *const *additions) {
    size_t key = strcspn(variable, "=");
    for (size_t i = 0; additions && additions[i]; i++)
        if (strcspn(additions[i], "=") == key && strncmp(additions[i], variable, key) == 0)
            return true;
    return false;
}

static void build_environment(const char *const *additions, vmc_strv *out) {
    for (char **variable = environ; variable && *variable; variable++)
        if (!overridden(*variable, additions))
            vmc_strv_add(out, *variable);
    for (size_t i = 0; additions && additions[i]; i++)
        if (strchr(additions[i], '='))
            vmc_strv_add(out, additions[i]);
}

/* Raw system calls: the C library's would try to tell the parent's other threads. */
static bool become_user(const plan *p) {
    return syscall(SYS_setgroups, (long)p->group_count, p->groups) == 0 &&
           syscall(SYS_setresgid, p->gid, p->gid, p->gid) == 0 && syscall(SYS_setresuid, p->uid, p->uid, p->uid) == 0;
}

/* from becomes to, inheritable; from is above 2. */
static bool place(int from, int to) {
    return from < 0 || dup2(from, to) == to;
}

_Noreturn static void child(const plan *p) {
    report failed = {0, 0};
    if (p->own_group)
        (void)setpgid(0, 0);
    struct sigaction fresh = {.sa_handler = SIG_DFL};
    for (int number = 1; number < NSIG; number++)
        (void)sigaction(number, &fresh, NULL);
    if (p->change_user && !become_user(p))
        failed = (report){STEP_USER, errno};
    if (!failed.step && p->directory && chdir(p->directory) != 0)
        failed = (report){STEP_DIRECTORY, errno};
    if (!failed.step && (!place(p->in, 0) || !place(p->out, 1) || !place(p->error, 2)))
        failed = (report){STEP_DESCRIPTORS, errno};
    if (!failed.step) {
        /* What other rooms or the program forgot to mark close-on-exec stays out of the child. */
        (void)syscall(SYS_close_range, 3U, ~0U, 1U << 2 /* CLOSE_RANGE_CLOEXEC */);
        /* After the change of user, which clears it. The parent may be gone already. */
        (void)prctl(PR_SET_PDEATHSIG, p->end_signal);
        if (getppid() != p->parent)
            _exit(127);
        sigset_t none;
        sigemptyset(&none);
        (void)sigprocmask(SIG_SETMASK, &none, NULL);
        execve(p->path, p->argv, p->envp);
        failed = (report){STEP_EXEC, errno};
    }
    ssize_t unused = write(p->report, &failed, sizeof failed);
    (void)unused;
    _exit(127);
}

static int prepare_user(const process_identity *identity, plan *p, vmctl_error **err) {
    p->change_user = true;
    p->uid = identity->uid;
    p->gid = identity->gid;
    p->groups[0] = identity->gid;
    p->group_count = 1;
    char buffer[16384];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(identity->uid, &entry, buffer, sizeof buffer, &found) != 0 || !found)
        return 0; /* a uid without a name has no other groups */
    p->group_count = (int)(sizeof p->groups / sizeof p->groups[0]);
    if (getgrouplist(found->pw_name, identity->gid, p->groups, &p->group_count) < 0)
        return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "user %s is in more than %zu groups", found->pw_name,
                         sizeof p->groups / sizeof p->groups[0]);
    return 0;
}

/* A descriptor above 2, so that placing one does not close another. */
static int above_standard(int fd) {
    if (fd < 0 || fd > 2)
        return fd;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    int saved = errno;
    close(fd);
    errno = saved;
    return moved;
}

static int make_pipe(int *reader, int *writer) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    *reader = above_standard(ends[0]);
    *writer = above_standard(ends[1]);
    return *reader < 0 || *writer < 0 ? -1 : 0;
}

/* The whole input as an unnamed file: nothing to feed while the program runs, no broken pipe when it does not read. */
static int open_input(const process_options *options, int *held) {
    int in = -1;
    if (options->hold_input)
        return make_pipe(&in, held) == 0 ? in : -1;
    if (options->input_path)
        return above_standard(open(options->input_path, O_RDONLY | O_CLOEXEC));
    if (!options->input)
        return above_standard(open("/dev/null", O_RDONLY | O_CLOEXEC));
    int fd = above_standard(memfd_create("input", MFD_CLOEXEC));
    if (fd < 0)
        return -1;
    const char *bytes = options->input;
    for (size_t done = 0; done < options->input_length;) {
        ssize_t n = write(fd, bytes + done, options->input_length - done);
        if (n < 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    (void)lseek(fd, 0, SEEK_SET);
    return fd;
}

static int start_failed(const process_options *options, const report *what, vmctl_error **err) {
    const char *name = options->argv[0];
    switch (what->step) {
    case STEP_USER:
        return vmc_error_errno(err, what->error, "cannot run %s as uid %u", name,
                               options->identity ? (unsigned)options->identity->uid : 0);
    case STEP_DIRECTORY:
        return vmc_error_errno(err, what->error, "cannot run %s in %s", name, options->directory);
    default:
        return vmc_error_errno(err, what->error, "cannot run %s", name);
    }
}

static int missing(const process_options *options, vmctl_error **err) {
    const char *name = options->argv[0];
    if (strchr(name, '/') && vmc_file_exists(name))
        return vmc_error(err, VMCTL_E_PERMISSION_DENIED, "%s is not executable", name);
    vmc_error(err, VMCTL_E_UNAVAILABLE, "the program %s is not installed%s%s%s", name,
              options->package ? " (package " : "", options->package ? options->package : "",
              options->package ? ")" : "");
    if (options->package)
        vmc_error_next(err, "apt install %s", options->package);
    return VMCTL_E_UNAVAILABLE;
}

static int fork_child(plan *p, pid_t *pid) {
    /* No handler of the program may run in the child. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    p->parent = getpid();
    *pid = fork();
    if (*pid == 0)
        child(p);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    if (*pid < 0)
        return -1;
    if (p->own_group)
        (void)setpgid(*pid, *pid); /* whoever comes first */
    return 0;
}

int process_spawn(const process_options *options, process_child *out, vmctl_error **err) {
    *out = (process_child){-1, -1, -1, -1, -1};
    VMC_AUTO_FREE char *path = process_find(options->argv[0]);
    if (!path)
        return missing(options, err);
    VMC_AUTO_STRV environment = {0};
    build_environment(options->environment, &environment);
    char *no_variables[] = {NULL};
    plan p = {.path = path,
              .argv = (char *const *)options->argv,
              .envp = environment.items ? environment.items : no_variables,
              .directory = options->directory,
              .end_signal = options->end_signal ? options->end_signal : SIGTERM,
              .own_group = !options->inherit_input};
    int rc = options->identity ? prepare_user(options->identity, &p, err) : 0;
    if (rc < 0)
        return rc;

    VMC_AUTO_CLOSE int in = -1, held = -1, output = -1, output_end = -1, error = -1, error_end = -1, report_in = -1,
                       report_end = -1;
    if (!options->inherit_input && (in = open_input(options, &held)) < 0)
        return vmc_error_errno(err, errno, "cannot prepare the input of %s", options->argv[0]);
    if (make_pipe(&output, &output_end) < 0 || (!options->merge && make_pipe(&error, &error_end) < 0) ||
        make_pipe(&report_in, &report_end) < 0)
        return vmc_error_errno(err, errno, "cannot make pipes to %s", options->argv[0]);
    p.in = in;
    p.out = output_end;
    p.error = options->merge ? output_end : error_end;
    p.report = report_end;

    pid_t pid = -1;
    if (fork_child(&p, &pid) < 0)
        return vmc_error_errno(err, errno, "cannot start %s", options->argv[0]);
    vmc_close_ptr(&report_end);
    report_end = -1;
    report what = {0, 0};
    ssize_t n;
    do
        n = read(report_in, &what, sizeof what);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)sizeof what) {
        siginfo_t gone;
        while (waitid(P_PID, (id_t)pid, &gone, WEXITED) < 0 && errno == EINTR)
            ;
        return start_failed(options, &what, err);
    }
    (void)fcntl(output, F_SETFL, O_NONBLOCK);
    if (error >= 0)
        (void)fcntl(error, F_SETFL, O_NONBLOCK);
    *out = (process_child){pid, (int)syscall(SYS_pidfd_open, pid, 0U), output, error, held};
    output = error = held = -1;
    return 0;
}
