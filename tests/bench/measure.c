/* measure N PROGRAM ARG...: runs a program N times and prints "MIN_MICROSECONDS MEDIAN_MICROSECONDS PEAK_KIB STATUS".
 * Small on purpose: a child's peak memory includes that of the process that started it. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int by_size(const void *a, const void *b) {
    return *(const long *)a < *(const long *)b ? -1 : 1;
}

int main(int argc, char **argv) {
    int runs = argc > 2 ? atoi(argv[1]) : 0, status = 0;
    long *times = calloc((size_t)(runs > 0 ? runs : 1), sizeof *times), peak = 0;
    if (runs < 1 || !times)
        return 2;
    for (int i = 0; i < runs; i++) {
        struct timespec began, ended;
        struct rusage usage;
        clock_gettime(CLOCK_MONOTONIC, &began);
        pid_t child = vfork();
        if (child == 0) {
            int null = open("/dev/null", O_RDWR | O_CLOEXEC);
            dup2(null, 0);
            dup2(null, 1);
            dup2(null, 2);
            execvp(argv[2], argv + 2);
            _exit(127);
        }
        wait4(child, &status, 0, &usage);
        clock_gettime(CLOCK_MONOTONIC, &ended);
        times[i] = (ended.tv_sec - began.tv_sec) * 1000000 + (ended.tv_nsec - began.tv_nsec) / 1000;
        if (usage.ru_maxrss > peak)
            peak = usage.ru_maxrss;
    }
    qsort(times, (size_t)runs, sizeof *times, by_size);
    printf("%ld %ld %ld %d\n", times[0], times[runs / 2], peak, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
    return 0;
}
