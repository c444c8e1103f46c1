/* The counters of VMs that run: of their processes, which are the caller's own. VirtualBox's own metrics are percents and rates over a period
 * that somebody must have set up, and those of disks and networks are no counters at all; so those are left out rather than made up. */
#include "facts.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { METRICS_MS = 60000, COMMAND_LINE = 4096 };

/* A process that runs a VM: VBoxHeadless or VirtualBoxVM --comment NAME --startvm UUID. */
typedef struct vm_process {
    char id[37];
    long pid;
} vm_process;

typedef struct vm_processes {
    vm_process *items;
    size_t count;
} vm_processes;

static ssize_t read_proc(long pid, const char *name, char *to, size_t room) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    VMC_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, to, room - 1);
    if (got >= 0)
        to[got] = 0;
    return got;
}

/* The argument behind --startvm; false: no process of a VM. */
static bool read_id(long pid, char id[37]) {
    char line[COMMAND_LINE];
    ssize_t length = read_proc(pid, "cmdline", line, sizeof line);
    bool headed = length > 0 && (strstr(line, "VBoxHeadless") || strstr(line, "VirtualBox"));
    for (ssize_t at = 0; headed && at < length; at += (ssize_t)strlen(line + at) + 1) {
        const char *next = line + at + strlen(line + at) + 1;
        if (strcmp(line + at, "--startvm") != 0 || next >= line + length || !vboxmanage_is_uuid(next, false))
            continue;
        for (size_t i = 0; i <= 36; i++)
            id[i] = (char)tolower((unsigned char)next[i]);
        return true;
    }
    return false;
}

static void find_processes(vm_processes *out) {
    DIR *dir = opendir("/proc");
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        char id[37];
        long pid = strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !read_id(pid, id))
            continue;
        out->items = vmc_realloc(out->items, out->count + 1, sizeof *out->items);
        out->items[out->count].pid = pid;
        memcpy(out->items[out->count++].id, id, sizeof id);
    }
    if (dir)
        closedir(dir);
}

/* The process's CPU clock, which counts nanoseconds where proc(5)'s utime counts ticks of 10 ms: of an idle guest two looks would be equal. */
static void read_counters(const vm_process *process, vmctl_metrics *m) {
    char text[256];
    clockid_t clock;
    struct timespec used;
    unsigned long long resident = 0;
    if (clock_getcpuclockid((pid_t)process->pid, &clock) == 0 && clock_gettime(clock, &used) == 0)
        m->cpu_ns = (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
    if (read_proc(process->pid, "statm", text, sizeof text) > 0 && sscanf(text, "%*u %llu", &resident) == 1)
        m->resident_mib = resident * (unsigned long long)sysconf(_SC_PAGESIZE) >> 20;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int tell(const virtualbox_conn *conn, const vboxmanage_entry *entry, const char *native,
                const vm_processes *processes, vmctl_metrics_fn each, void *user) {
    vboxmanage_machine *machine = NULL;
    if (vboxmanage_machine_read(conn->manage, entry->settings, NULL, &machine, NULL) < 0)
        return 0;
    vmctl_metrics m = {.size = sizeof m,
                       .name = machine->name,
                       .id = machine->id,
                       .time_ns = now_ns(),
                       .cpus = machine->cpus,
                       .cpu_ns = UINT64_MAX,
                       .memory_mib = machine->memory_mib,
                       .memory_used_mib = UINT64_MAX,
                       .resident_mib = UINT64_MAX,
                       .disk_read_bytes = UINT64_MAX,
                       .disk_write_bytes = UINT64_MAX,
                       .net_rx_bytes = UINT64_MAX,
                       .net_tx_bytes = UINT64_MAX};
    m.state = native ? virtualbox_state(native, NULL) : virtualbox_state_at_rest(machine, NULL);
    for (size_t i = 0; native && i < processes->count; i++)
        if (strcasecmp(processes->items[i].id, machine->id) == 0)
            read_counters(&processes->items[i], &m);
    int stop = each(&m, user);
    vboxmanage_machine_free(machine);
    return stop;
}

int virtualbox_metrics_list(void *opaque, const vmctl_metrics_options *options, vmctl_metrics_fn each, void *user,
                            vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, METRICS_MS);
    VBOXMANAGE_AUTO_PROPERTIES running = {0};
    vboxmanage_registry registry = {0};
    vm_processes processes = {0};
    int code = virtualbox_check_here(conn, "the counters of VMs", err);
    if (code == 0)
        code = virtualbox_running(conn, &deadline, &running, err);
    if (code == 0)
        code = virtualbox_registry(conn, &deadline, &registry, err);
    if (code == 0 && running.count)
        find_processes(&processes);
    int stop = 0;
    for (size_t i = 0; code == 0 && !stop && i < registry.count; i++) {
        const char *native = vboxmanage_property_get(&running, registry.entries[i].id);
        if (native || options->inactive)
            stop = tell(conn, &registry.entries[i], native, &processes, each, user);
    }
    free(processes.items);
    vboxmanage_registry_free(&registry);
    return code;
}
