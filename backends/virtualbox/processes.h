/* backends/virtualbox/processes.h - the processes that run VMs: VBoxHeadless, VirtualBoxVM, ... --startvm UUID. */
#ifndef VMC_VIRTUALBOX_PROCESSES_H
#define VMC_VIRTUALBOX_PROCESSES_H

#include "ops.h"

typedef struct virtualbox_process {
    char id[37]; /* of its VM, in lower case */
    long pid;
    uint64_t cpu_ns;       /* UINT64_MAX: not told */
    uint64_t resident_mib; /* the same */
} virtualbox_process;

/* {0} is an empty list. */
struct virtualbox_processes {
    virtualbox_process *items;
    size_t count;
};

/* Those of the connection's machine, whichever VirtualBox of it they belong to; counters: with what they use (proc(5)). A machine that does not tell
 * has none; only ssh can fail. */
int virtualbox_processes_read(const virtualbox_conn *conn, bool counters, const vmc_deadline *deadline,
                              virtualbox_processes *out, vmctl_error **err);
void virtualbox_processes_free(virtualbox_processes *processes);
#define VIRTUALBOX_AUTO_PROCESSES vmc_cleanup(virtualbox_processes_free) virtualbox_processes
/* NULL: the VM has none. */
const virtualbox_process *virtualbox_process_of(const virtualbox_processes *processes, const char *id);

#endif
