/* kill_at [-a] [-v] N PROGRAM ARG...: runs a program and kills it, with all that it started, when it is about to make its Nth system call.
 *
 * The calls of all threads and processes are counted together, in the order in which they come: a worker's call in the middle of its caller's
 * wait has a number of its own (strace --inject=all:when=N counts each thread for itself, so that the first thread there hides the others'
 * calls). -v counts only calls after which something is different outside of the process, or which wait for somebody else: two kills with none
 * of those between them leave the same behind. -a: alone, what the program starts is neither counted nor killed.
 * Ends with 137 where it killed, else with the program's own status and "N calls" in the file that KILL_AT_COUNT names. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef PTRACE_EVENT_STOP
#define PTRACE_EVENT_STOP 128
#endif

/* Reading, memory, the process' own signals and descriptors: of no trace. What a dying process does anyway (close, unlock) is among them. */
static const int unseen[] = {
    SYS_read,
    SYS_pread64,
    SYS_readv,
    SYS_preadv,
    SYS_recvfrom,
    SYS_recvmsg,
    SYS_close,
    SYS_close_range,
    SYS_stat,
    SYS_fstat,
    SYS_lstat,
    SYS_newfstatat,
    SYS_statx,
    SYS_statfs,
    SYS_fstatfs,
    SYS_access,
    SYS_faccessat,
    SYS_faccessat2,
    SYS_readlink,
    SYS_readlinkat,
    SYS_getdents64,
    SYS_getcwd,
    SYS_lseek,
    SYS_mmap,
    SYS_munmap,
    SYS_mremap,
    SYS_mprotect,
    SYS_madvise,
    SYS_brk,
    SYS_mlock,
    SYS_futex,
    SYS_set_robust_list,
    SYS_rseq,
    SYS_set_tid_address,
    SYS_arch_prctl,
    SYS_prctl,
    SYS_prlimit64,
    SYS_getrlimit,
    SYS_getrusage,
    SYS_rt_sigaction,
    SYS_rt_sigprocmask,
    SYS_rt_sigreturn,
    SYS_sigaltstack,
    SYS_getpid,
    SYS_gettid,
    SYS_getppid,
    SYS_getuid,
    SYS_geteuid,
    SYS_getgid,
    SYS_getegid,
    SYS_getgroups,
    SYS_getpgrp,
    SYS_getpgid,
    SYS_getsid,
    SYS_capget,
    SYS_uname,
    SYS_sysinfo,
    SYS_getrandom,
    SYS_clock_gettime,
    SYS_clock_getres,
    SYS_gettimeofday,
    SYS_time,
    SYS_times,
    SYS_sched_yield,
    SYS_sched_getaffinity,
    SYS_sched_getparam,
    SYS_sched_getscheduler,
    SYS_get_mempolicy,
    SYS_set_mempolicy,
    SYS_eventfd2,
    SYS_pipe2,
    SYS_pipe,
    SYS_dup,
    SYS_dup2,
    SYS_dup3,
    SYS_socketpair,
    SYS_epoll_create1,
    SYS_epoll_ctl,
    SYS_timerfd_create,
    SYS_timerfd_settime,
    SYS_signalfd4,
    SYS_inotify_init1,
    SYS_inotify_add_watch,
    SYS_getsockname,
    SYS_getpeername,
    SYS_getsockopt,
    SYS_io_uring_setup,
    SYS_io_uring_register,
    SYS_fadvise64,
    SYS_exit,
};

static bool is_eventfd(pid_t pid, unsigned long long fd) {
    char path[64], target[64] = "";
    (void)snprintf(path, sizeof path, "/proc/%d/fd/%llu", (int)pid, fd);
    return readlink(path, target, sizeof target - 1) > 0 && strcmp(target, "anon_inode:[eventfd]") == 0;
}

static bool is_seen(pid_t pid, const struct __ptrace_syscall_info *info) {
    const uint64_t *args = info->entry.args;
    for (size_t i = 0; i < sizeof unseen / sizeof unseen[0]; i++)
        if (info->entry.nr == (uint64_t)unseen[i])
            return false;
    if (info->entry.nr == SYS_openat || info->entry.nr == SYS_open)
        return args[info->entry.nr == SYS_openat ? 2 : 1] & (O_CREAT | O_TRUNC);
    if (info->entry.nr == SYS_write)
        return args[2] != 8 || !is_eventfd(pid, args[0]);
    if (info->entry.nr == SYS_fcntl)
        return args[1] == F_SETLK || args[1] == F_SETLKW || args[1] == F_OFD_SETLK || args[1] == F_OFD_SETLKW;
    return true;
}

static pid_t start(char **argv) {
    pid_t child = fork();
    if (child == 0) {
        raise(SIGSTOP);
        execvp(argv[0], argv);
        _exit(127);
    }
    if (child > 0)
        waitpid(child, NULL, WUNTRACED);
    return child;
}

static void tell(unsigned long calls) {
    const char *path = getenv("KILL_AT_COUNT");
    FILE *file = path ? fopen(path, "we") : NULL;
    if (file) {
        (void)fprintf(file, "%lu\n", calls);
        (void)fclose(file);
    }
}

int main(int argc, char **argv) {
    bool seen_only = false, alone = false;
    for (int option; (option = getopt(argc, argv, "+av")) != -1;) {
        seen_only |= option == 'v';
        alone |= option == 'a';
    }
    if (argc - optind < 2) {
        (void)fprintf(stderr, "usage: kill_at [-a] [-v] N PROGRAM ARG...\n");
        return 2;
    }
    unsigned long at = strtoul(argv[optind], NULL, 10), calls = 0;
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACECLONE;
    if (!alone)
        options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;
    pid_t first = start(argv + optind + 1);
    if (first < 0 || ptrace(PTRACE_SEIZE, first, 0, options) < 0) {
        perror("kill_at");
        return 2;
    }
    kill(first, SIGCONT);
    int result = 2, status = 0;
    bool running = false; /* past its execve */
    for (pid_t pid; (pid = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFEXITED(status) || WIFSIGNALED(status)) {
            if (pid == first)
                result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
            continue;
        }
        int signal = WSTOPSIG(status), event = status >> 16;
        if (event == PTRACE_EVENT_STOP &&
            (signal == SIGSTOP || signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)) {
            ptrace(PTRACE_LISTEN, pid, 0, 0);
            continue;
        }
        if (signal == (SIGTRAP | 0x80)) {
            struct __ptrace_syscall_info info;
            signal = 0;
            if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0 && info.op == PTRACE_SYSCALL_INFO_ENTRY) {
                running |= info.entry.nr == SYS_execve;
                if (running && (!seen_only || is_seen(pid, &info)) && ++calls == at) {
                    kill(first, SIGKILL);
                    /* Its threads are to be waited for before itself is told to be dead; what it started is killed by PTRACE_O_EXITKILL. */
                    for (pid = 0; pid != first || WIFSTOPPED(status);)
                        if ((pid = waitpid(-1, &status, __WALL)) < 0)
                            break;
                    return 137;
                }
            }
        } else if (event) {
            signal = 0;
        }
        ptrace(PTRACE_SYSCALL, pid, 0, signal);
    }
    tell(calls);
    return result;
}
