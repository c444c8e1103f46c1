/* Which processes run VMs: of this machine from /proc, of another one by a script there. */
#include "processes.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { COMMAND_LINE = 4096 };

void virtualbox_processes_free(virtualbox_processes *processes) {
    free(processes->items);
    *processes = (virtualbox_processes){0};
}

const virtualbox_process *virtualbox_process_of(const virtualbox_processes *processes, const char *id) {
    for (size_t i = 0; i < processes->count; i++)
        if (strcasecmp(processes->items[i].id, id) == 0)
            return &processes->items[i];
    return NULL;
}

static virtualbox_process *add(virtualbox_processes *to, const char *id, long pid) {
    to->items = vmc_realloc(to->items, to->count + 1, sizeof *to->items);
    virtualbox_process *process = &to->items[to->count++];
    *process = (virtualbox_process){.pid = pid, .cpu_ns = UINT64_MAX, .resident_mib = UINT64_MAX};
    for (size_t i = 0; i < sizeof process->id - 1; i++)
        process->id[i] = (char)tolower((unsigned char)id[i]);
    return process;
}

/* --- of this machine ------------------------------------------------------------------------------------------------ */

static ssize_t read_proc(long pid, const char *name, char *to, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, to, room - 1);
    if (got >= 0)
        to[got] = 0;
    return got;
}

/* The argument behind --startvm; NULL: no process of a VM. */
static const char *find_id(const char *line, ssize_t length) {
    bool headed = length > 0 && (strstr(line, "VBox") || strstr(line, "VirtualBox"));
    for (ssize_t at = 0; headed && at < length; at += (ssize_t)strlen(line + at) + 1) {
        const char *next = line + at + strlen(line + at) + 1;
        if (strcmp(line + at, "--startvm") == 0 && next < line + length && vboxmanage_is_uuid(next, false))
            return next;
    }
    return NULL;
}

/* The process's CPU clock, which counts nanoseconds where proc(5)'s utime counts ticks of 10 ms: of an idle guest two looks would be equal. */
static void read_counters(virtualbox_process *process) {
    char text[256];
    clockid_t clock;
    struct timespec used;
    unsigned long long resident = 0;
    if (clock_getcpuclockid((pid_t)process->pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
        process->cpu_ns = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    if (read_proc(process->pid, "statm", text, sizeof text) > 0 && sscanf(text, "%*u %llu", &resident) == 1)
        process->resident_mib = resident * (unsigned long long)sysconf(_SC_PAGESIZE) >> 20;
}

static void read_here(bool counters, virtualbox_processes *out) {
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char line[COMMAND_LINE];
        long pid = strtol(entry->d_name, NULL, 10);
        const char *id = pid > 0 ? find_id(line, read_proc(pid, "cmdline", line, sizeof line)) : NULL;
        virtualbox_process *process = id ? add(out, id, pid) : NULL;
        if (process && counters)
            read_counters(process);
    }
    if (dir)
        closedir(dir);
}

/* --- of another one -------------------------------------------------------------------------------------------------- */

/* ps(1) as POSIX has it; what is used by /proc/PID/stat, where there is one. */
static const char script[] =
    "set -f; hz=$(getconf CLK_TCK) page=$(getconf PAGESIZE)\n"
    "ps -A -o pid= -o args= | while read -r pid args; do\n"
    " case $args in *' --startvm '*) ;; *) continue ;; esac\n"
    " set -- ${args##* --startvm }\n"
    " stat=; [ \"$counters\" = 0 ] || { read -r stat < \"/proc/$pid/stat\"; } 2>/dev/null\n"
    " printf '%s %s %s %s %s\\n' \"$1\" \"$pid\" \"${hz:-100}\" \"${page:-4096}\" \"${stat##*)}\"\n"
    "done\n"
    ":";

/* proc(5): what follows the name begins with field 3; utime is 14, stime 15, rss 24. */
static void take_line(const char *line, virtualbox_processes *out) {
    char id[64];
    long pid = 0;
    unsigned long hz = 0;
    unsigned long long page = 0;
    unsigned long long user = 0;
    unsigned long long system = 0;
    unsigned long long resident = 0;
    int got = sscanf(line,
                     "%63s %ld %lu %llu %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu %llu %*s %*s %*s %*s %*s %*s "
                     "%*s %*s %llu",
                     id, &pid, &hz, &page, &user, &system, &resident);
    if (got < 2 || !vboxmanage_is_uuid(id, false))
        return;
    virtualbox_process *process = add(out, id, pid);
    if (got == 7 && hz) {
        process->cpu_ns = (user + system) * (1000000000u / hz);
        process->resident_mib = resident * page >> 20;
    }
}

int virtualbox_processes_read(const virtualbox_conn *conn, bool counters, const vmc_deadline *deadline,
                              virtualbox_processes *out, vmctl_error **err) {
    if (!conn->manage->host) {
        read_here(counters, out);
        return 0;
    }
    VMC_AUTO_FREE char *whole = vmc_printf("counters=%d\n%s", counters, script);
    VMC_AUTO_FREE char *text = NULL;
    int code =
        vboxmanage_files_script(conn->manage, whole, NULL, "looking at the host's processes", deadline, &text, err);
    for (const char *line = code == 0 ? text : NULL; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        take_line(line, out);
    }
    return code;
}
