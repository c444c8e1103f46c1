/* A port forward of VirtualBox's NAT, added to a running VM and taken away again. Source: VBoxManage controlvm natpfN. Of a VM on another host the rule
 * is for a port of that host's loopback, to which ssh leads (ssh(1), -L). */
#include "forward.h"

#include "base/random.h"
#include "drivers/vboxmanage/files.h"
#include "drivers/vboxmanage/hold.h"
#include "drivers/vboxmanage/host.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FORWARD_MS = 60000 };

int virtualbox_forward_check(const virtualbox_vm *vm, const vboxmanage_machine *machine, vmctl_state state,
                             unsigned *slot, vmctl_error **err) {
    if (state != VMCTL_STATE_RUNNING && state != VMCTL_STATE_PAUSED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is %s", vm->name, vmctl_state_name(state));
        return vmc_error_next(err, "vmctl start %s", vm->name);
    }
    for (size_t i = 0; i < machine->nic_count; i++) {
        if (!vmc_str_eq(machine->nics[i].mode, "nat"))
            continue;
        *slot = machine->nics[i].slot;
        return 0;
    }
    vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no NIC of type nat, which VirtualBox could forward from", vm->name);
    return vmc_error_next(err, "vmctl wait %s --for address, or ssh -L through a machine that reaches it", vm->name);
}

/* A socket that holds the port for a moment; -1: it is taken, or the address is none of this machine's. *port 0 becomes the one it got. */
static int try_port(const char *address, int *port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons((uint16_t)*port)};
    socklen_t length = sizeof name;
    int one = 1;
    int fd = inet_pton(AF_INET, address, &name.sin_addr) == 1 ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    bool got = bind(fd, (struct sockaddr *)&name, length) == 0 && listen(fd, 1) == 0 &&
               getsockname(fd, (struct sockaddr *)&name, &length) == 0;
    close(fd);
    *port = got ? ntohs(name.sin_port) : *port;
    return got ? 0 : -1;
}

/* --- through ssh ------------------------------------------------------------------------------------------------------- */

struct virtualbox_tunnel {
    char *detail;          /* of the journal's entry */
    char *way;             /* "LISTEN:TO" as ssh has it */
    vboxmanage_held *held; /* keeps the connection from ending meanwhile */
    virtualbox_tunnel *after;
};

static void close_tunnel(const virtualbox_conn *conn, virtualbox_tunnel *tunnel) {
    vmc_deadline within = {.at_ms = vmc_now_ms() + FORWARD_MS};
    if (tunnel->held)
        vboxmanage_host_forward(conn->manage->host, false, false, tunnel->way, &within, NULL);
    vboxmanage_release(tunnel->held);
    free(tunnel->detail);
    free(tunnel->way);
    free(tunnel);
}

void virtualbox_tunnels_end(virtualbox_conn *conn, const char *detail) {
    pthread_mutex_lock(&conn->lock);
    virtualbox_tunnel *ended = NULL;
    for (virtualbox_tunnel **at = &conn->tunnels; *at;) {
        virtualbox_tunnel *tunnel = *at;
        if (detail && strcmp(tunnel->detail, detail) != 0) {
            at = &tunnel->after;
            continue;
        }
        *at = tunnel->after;
        tunnel->after = ended;
        ended = tunnel;
    }
    pthread_mutex_unlock(&conn->lock);
    while (ended) {
        virtualbox_tunnel *next = ended->after;
        close_tunnel(conn, ended);
        ended = next;
    }
}

/* Its end here is open before the VM gets a rule, and closed when the entry of the journal is undone or the connection ends. */
static int open_tunnel(virtualbox_conn *conn, const vmctl_forward *forward, int there, const char *detail,
                       const vmc_deadline *deadline, vmctl_error **err) {
    virtualbox_tunnel *tunnel = vmc_alloc(sizeof *tunnel);
    tunnel->detail = vmc_strdup(detail);
    tunnel->way = vmc_printf("%s:%d:127.0.0.1:%d", forward->address, forward->local, there);
    int code = vboxmanage_hold(conn->manage, (const char *const[]){NULL}, deadline, &tunnel->held, err);
    if (code == 0)
        code = vboxmanage_host_forward(conn->manage->host, true, false, tunnel->way, deadline, err);
    if (code < 0) {
        vboxmanage_release(tunnel->held);
        tunnel->held = NULL;
        close_tunnel(conn, tunnel);
        return code;
    }
    pthread_mutex_lock(&conn->lock);
    tunnel->after = conn->tunnels;
    conn->tunnels = tunnel;
    pthread_mutex_unlock(&conn->lock);
    return 0;
}

/* A port of that host's loopback at which nobody listens, as far as its system tells (proc(5), net/tcp: 0A is LISTEN). */
static int choose_port(const virtualbox_conn *conn, const vmc_deadline *deadline, int *port, vmctl_error **err) {
    enum { FIRST = 20000, LAST = 32767, TRIES = 20 };
    static const char script[] =
        "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk '$4 == \"0A\" { sub(/.*:/, \"\", $2); print $2 }'";
    VMC_AUTO_FREE char *taken = NULL;
    int code = vboxmanage_files_script(conn->manage, script, NULL, "looking for a free port", deadline, &taken, err);
    for (int tries = 0; code == 0 && tries < TRIES; tries++) {
        *port = FIRST + (int)(vmc_random() % (LAST - FIRST + 1));
        VMC_AUTO_FREE char *line = vmc_printf("%04X\n", (unsigned)*port);
        if (!strstr(taken, line))
            return 0;
    }
    return code < 0 ? code
                    : vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "no port of %s is free", conn->manage->host->name);
}

/* --- the rule ------------------------------------------------------------------------------------------------------------ */

static int add(virtualbox_conn *conn, const virtualbox_vm *vm, unsigned slot, const vmctl_forward *forward,
               vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err) {
    int port = forward->local;
    const char *address = forward->address;
    int code = 0;
    if (conn->manage->host) {
        address = "127.0.0.1";
        code = choose_port(conn, deadline, &port, err);
    }
    VMC_AUTO_FREE char *name = vmc_printf(VIRTUALBOX_FORWARD_NAME "%d-%d", port, forward->guest);
    VMC_AUTO_FREE char *option = vmc_printf("natpf%u", slot + 1);
    VMC_AUTO_FREE char *rule = vmc_printf("%s,tcp,%s,%d,,%d", name, address, port, forward->guest);
    VMC_AUTO_FREE char *detail = vmc_printf("%s %u %s", vm->id, slot, name);
    size_t mark = 0;
    if (code == 0)
        code = vmc_journal_add(journal, "natpf", detail, &mark, err);
    if (code == 0 && conn->manage->host)
        code = open_tunnel(conn, forward, port, detail, deadline, err);
    if (code < 0)
        return code;
    code = virtualbox_say(conn, vm, "adding the forward", deadline, NULL, err, "controlvm", vm->id, option, rule, NULL);
    if (code == VMCTL_E_ALREADY_EXISTS) { /* somebody else's must not be taken back */
        vmc_journal_drop(journal, mark, NULL);
        virtualbox_tunnels_end(conn, detail);
    }
    return code;
}

/* VirtualBox takes a rule for a port that is taken, and only writes that to its log: so it is tried before. */
int virtualbox_guest_forward(void *opaque, void *handle, vmctl_forward *forward, vmc_journal *journal,
                             const vmctl_call *call, char **way, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, FORWARD_MS);
    vboxmanage_machine *machine = NULL;
    vmctl_state state = VMCTL_STATE_UNKNOWN;
    unsigned slot = 0;
    int code = virtualbox_load(conn, vm, &deadline, &machine, err);
    if (code == 0)
        code = virtualbox_ask_state(conn, vm, &deadline, &state, NULL, err);
    if (code == 0)
        code = virtualbox_forward_check(vm, machine, state, &slot, err);
    vboxmanage_machine_free(machine);
    if (code == 0 && try_port(forward->address, &forward->local) < 0) {
        vmc_error(err, VMCTL_E_BUSY, "nobody can listen at port %d of %s: it is taken", forward->local,
                  forward->address);
        code = vmc_error_next(err, "0 takes a free port: 0:%d", forward->guest);
    }
    if (code == 0)
        code = add(conn, vm, slot, forward, journal, &deadline, err);
    if (code == 0)
        *way = vmc_printf("by %sVirtualBox's NAT to port %d", conn->manage->host ? "ssh and " : "", forward->guest);
    return code;
}

int virtualbox_forward_undo(virtualbox_conn *conn, const char *detail, const vmc_deadline *deadline,
                            vmctl_error **err) {
    virtualbox_vm vm = {.name = "the VM"};
    char *rest = NULL;
    virtualbox_tunnels_end(conn, detail);
    unsigned long slot = vboxmanage_is_uuid(detail, true) && detail[36] == ' ' ? strtoul(detail + 37, &rest, 10) : 8;
    if (slot > 7 || !rest || *rest != ' ')
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"natpf %s\" cannot be read", detail);
    memcpy(vm.id, detail, 36);
    VMC_AUTO_FREE char *option = vmc_printf("natpf%lu", slot + 1);
    VMC_AUTO_FREE char *cold = vmc_printf("--natpf%lu", slot + 1);
    vmctl_error *why = NULL;
    int code = virtualbox_say(conn, &vm, "removing the forward", deadline, NULL, &why, "controlvm", vm.id, option,
                              "delete", rest + 1, NULL);
    if (code == VMCTL_E_INVALID_STATE) { /* it has stopped, and its settings keep the rule */
        vmctl_error_free(why);
        why = NULL;
        code = virtualbox_say(conn, &vm, "removing the forward", deadline, NULL, &why, "modifyvm", vm.id, cold,
                              "delete", rest + 1, NULL);
    }
    if (code == VMCTL_E_NOT_FOUND || code == VMCTL_E_INVALID_ARGUMENT) { /* the VM, the rule is gone */
        vmctl_error_free(why);
        return 0;
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    return code;
}
