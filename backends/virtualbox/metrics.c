/* The counters of VMs that run: of their processes, which are the caller's own. VirtualBox's own metrics are percents and rates over a period
 * that somebody must have set up, and those of disks and networks are no counters at all; so those are left out rather than made up. */
#include "facts.h"
#include "processes.h"

#include <stdlib.h>
#include <time.h>

enum { METRICS_MS = 60000 };

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static bool is_up(const char *native) {
    return native && virtualbox_is_up(virtualbox_state(native, NULL));
}

static int tell(const vboxmanage_machine *machine, const char *native, const virtualbox_process *process,
                int64_t time_ns, vmctl_metrics_fn each, void *user) {
    const vmctl_metrics m = {.size = sizeof m,
                             .name = machine->name,
                             .id = machine->id,
                             .state = native ? virtualbox_state(native, NULL) : virtualbox_state_at_rest(machine, NULL),
                             .time_ns = time_ns,
                             .cpus = machine->cpus,
                             .cpu_ns = process ? process->cpu_ns : UINT64_MAX,
                             .memory_mib = machine->memory_mib,
                             .memory_used_mib = UINT64_MAX,
                             .resident_mib = process ? process->resident_mib : UINT64_MAX,
                             .disk_read_bytes = UINT64_MAX,
                             .disk_write_bytes = UINT64_MAX,
                             .net_rx_bytes = UINT64_MAX,
                             .net_tx_bytes = UINT64_MAX};
    return each(&m, user);
}

/* Those that run, and others where they are wanted. entries is the caller's to free. */
static void choose(const vboxmanage_registry *registry, const vboxmanage_properties *states, bool inactive,
                   vboxmanage_registry *out) {
    out->entries = vmc_alloc((registry->count + 1) * sizeof *out->entries);
    for (size_t i = 0; i < registry->count; i++)
        if (inactive || is_up(vboxmanage_property_get(states, registry->entries[i].id)))
            out->entries[out->count++] = registry->entries[i];
}

int virtualbox_metrics_list(void *opaque, const vmctl_metrics_options *options, vmctl_metrics_fn each, void *user,
                            vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, METRICS_MS);
    VBOXMANAGE_AUTO_PROPERTIES states = {0};
    VIRTUALBOX_AUTO_PROCESSES processes = {0};
    vboxmanage_registry registry = {0};
    vboxmanage_registry wanted = {0};
    int code = virtualbox_registry(conn, &deadline, &registry, err);
    if (code == 0)
        code = virtualbox_states(conn, &registry, NULL, &deadline, &states, err);
    choose(&registry, &states, options->inactive, &wanted);
    VMC_AUTO_FREE vboxmanage_machine **machines = vmc_alloc((wanted.count + 1) * sizeof(vboxmanage_machine *));
    if (code == 0)
        code = vboxmanage_machines_read(conn->manage, &wanted, &deadline, machines, err);
    if (code == 0) /* last: what is divided by the time between two looks is read at the time that is told */
        code = virtualbox_processes_read(conn, true, &deadline, &processes, err);
    int64_t time_ns = now_ns();
    int stop = 0;
    for (size_t i = 0; i < wanted.count; i++) {
        const char *native = vboxmanage_property_get(&states, wanted.entries[i].id);
        if (code == 0 && !stop && machines[i])
            stop = tell(machines[i], native, is_up(native) ? virtualbox_process_of(&processes, machines[i]->id) : NULL,
                        time_ns, each, user);
        vboxmanage_machine_free(machines[i]);
    }
    free(wanted.entries);
    vboxmanage_registry_free(&registry);
    return code;
}
