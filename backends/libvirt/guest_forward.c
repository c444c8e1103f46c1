/* A port forward of QEMU's user networking, added to a running VM and taken away again by QEMU's monitor. Source: hostfwd_add and
 * hostfwd_remove (QEMU's HMP reference), virDomainQemuMonitorCommand. */
#include "guest_forward.h"

#include "rpc.h"
#include "xml_tree.h"
#include <arpa/inet.h>
#include <libvirt/libvirt-qemu.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FORWARD_MS = 60000 };

int libvirt_guest_forward_check(const libvirt_conn *conn, const xmlNode *domain, const char *name, const char **alias,
                                vmctl_error **err) {
    *alias = NULL;
    if (!libvirt_xml_attr(domain, "id")) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run", name);
        return vmc_error_next(err, "vmctl start %s", name);
    }
    LIBVIRT_XML_EACH(nic, libvirt_xml_child(domain, "devices"), "interface") {
        /* passt, the other backend of user networking, cannot be told later */
        if (libvirt_xml_attr_is(nic, "type", "user") && !libvirt_xml_child(nic, "backend"))
            *alias = libvirt_xml_attr(libvirt_xml_child(nic, "alias"), "name");
        if (*alias)
            break;
    }
    if (!*alias) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "%s has no NIC of type user, which QEMU could forward from", name);
        return vmc_error_next(err, "vmctl wait %s --for address, or ssh -L through a machine that reaches it", name);
    }
    if (!conn->local) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "QEMU forwards at the hypervisor's host, which is not this machine");
        return vmc_error_next(err, "ssh -L LOCAL:ADDRESS:PORT through %s", conn->host ? conn->host : "that host");
    }
    return 0;
}

/* domain, text (HMP) -> out (what the monitor printed) */
static int work_monitor(libvirt_rpc *rpc) {
    return virDomainQemuMonitorCommand(rpc->domain, rpc->text, &rpc->out, VIR_DOMAIN_QEMU_MONITOR_COMMAND_HMP);
}

/* name (UUID), text (HMP) -> out; a domain that is gone or off has no forwards */
static int work_take_back(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    if (!rpc->domain)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_DOMAIN);
    return virDomainIsActive(rpc->domain) == 1 ? work_monitor(rpc) : 0;
}

/* Free a moment ago: QEMU itself cannot say which port it took. */
static int free_port(const char *address) {
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t length = sizeof name;
    if (inet_pton(AF_INET, address, &name.sin_addr) != 1)
        return 0;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int port = 0;
    if (fd >= 0 && bind(fd, (struct sockaddr *)&name, length) == 0 &&
        getsockname(fd, (struct sockaddr *)&name, &length) == 0)
        port = ntohs(name.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

static int add(libvirt_conn *conn, const libvirt_vm *vm, const char *alias, const vmctl_forward *forward,
               vmc_journal *journal, const vmc_deadline *deadline, vmctl_error **err) {
    VMC_AUTO_FREE char *rule = vmc_printf("host%s tcp:%s:%d", alias, forward->address, forward->local);
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", vm->uuid, rule);
    size_t mark = 0;
    int code = vmc_journal_add(journal, "hostfwd", detail, &mark, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->domain = vm->domain;
    virDomainRef(vm->domain);
    rpc->text = vmc_printf("hostfwd_add %s-:%d", rule, forward->guest);
    code = libvirt_rpc_run(conn, deadline, "adding the forward", work_monitor, rpc, err);
    if (code < 0 || !rpc->out || !*rpc->out)
        return code;
    /* Somebody else's forward must not be taken back. */
    vmc_journal_drop(journal, mark, NULL);
    VMC_AUTO_FREE char *words = vmc_strndup(rpc->out, strcspn(rpc->out, "\r\n"));
    vmc_error(err, VMCTL_E_BUSY, "QEMU cannot listen at port %d of %s", forward->local, forward->address);
    vmc_error_hypervisor(err, NULL, words);
    return vmc_error_next(err, "0 takes a free port: 0:%d", forward->guest);
}

int libvirt_guest_forward(void *opaque, void *handle, vmctl_forward *forward, vmc_journal *journal,
                          const vmctl_call *call, char **way, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, FORWARD_MS);
    VMC_AUTO_FREE char *xml = NULL;
    LIBVIRT_AUTO_XML *doc = NULL;
    const char *alias = NULL;
    int code = libvirt_vm_xml(conn, vm, 0, &deadline, &xml, err);
    if (code == 0)
        code = libvirt_xml_parse(xml, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code == 0)
        code = libvirt_guest_forward_check(conn, xmlDocGetRootElement(doc), vm->name, &alias, err);
    if (code == 0 && forward->local == 0)
        forward->local = free_port(forward->address);
    if (code == 0)
        code = add(conn, vm, alias, forward, journal, &deadline, err);
    if (code == 0)
        *way = vmc_printf("by QEMU's user networking to port %d", forward->guest);
    return code;
}

int libvirt_guest_forward_undo(libvirt_conn *conn, const char *detail, const vmc_deadline *deadline,
                               vmctl_error **err) {
    const char *space = strchr(detail, ' ');
    if (!space)
        return vmc_error(err, VMCTL_E_INTERNAL, "the journal's entry \"hostfwd %s\" cannot be read", detail);
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strndup(detail, (size_t)(space - detail));
    rpc->text = vmc_printf("hostfwd_remove %s", space + 1);
    return libvirt_rpc_run(conn, deadline, "removing the forward", work_take_back, rpc, err);
}
