#include "base/log.h"
#include "base/str.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <time.h>
#include <unistd.h>

static pthread_once_t opened = PTHREAD_ONCE_INIT;
static int log_fd = -1;

static void open_log(void) {
    const char *to = getenv("VMCTL_LOG");
    if (!to || !*to)
        return;
    if (strcmp(to, "debug") == 0 || strcmp(to, "info") == 0)
        log_fd = STDERR_FILENO;
    else if (!getauxval(AT_SECURE)) /* no file of the caller's choice for a set-user-ID program */
        log_fd = open(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

bool vmc_log_enabled(void) {
    pthread_once(&opened, open_log);
    return log_fd >= 0;
}

void vmc_log(const char *room, const char *format, ...) {
    if (!vmc_log_enabled())
        return;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    VMC_AUTO_STR line = {0};
    vmc_str_printf(&line, "%lld.%06ld [%d] %s: ", (long long)now.tv_sec, now.tv_nsec / 1000, (int)gettid(), room);
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *text = vmc_vprintf(format, args);
    va_end(args);
    vmc_str_add(&line, text);
    vmc_str_add_char(&line, '\n');
    ssize_t written = write(log_fd, line.text, line.length); /* one write: lines of threads do not mix */
    (void)written;
}
