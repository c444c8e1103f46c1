/* backends/libvirt/migrate_offline.c - a stopped VM moves: its definition is made at the target, then removed at the source.
 *
 * Not by libvirt's own offline migration (VIR_MIGRATE_OFFLINE), which has a moment that nothing mends: where the one who leads it dies between its
 * Prepare and its Finish, the target's daemon keeps a domain that is neither active nor persistent, holds its migration job for ever, and lets
 * nobody remove it until the daemon is started anew (9.0). These two steps are whole or not there, each by itself. */
#include "migrate.h"

#include "rpc.h"

int libvirt_migrate_work_undefine(libvirt_rpc *rpc) {
    const unsigned least = VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
    if (virDomainUndefineFlags(rpc->domain, least | VIR_DOMAIN_UNDEFINE_KEEP_NVRAM) == 0)
        return 0;
    if (virGetLastErrorCode() != VIR_ERR_INVALID_ARG) /* a driver that has no variable stores refuses to be asked */
        return -1;
    return virDomainUndefineFlags(rpc->domain, least);
}

/* text (XML), number (1: autostart) -> domain */
static int work_define(libvirt_rpc *rpc) {
    rpc->domain = virDomainDefineXML(rpc->virt, rpc->text);
    if (!rpc->domain)
        return -1;
    return rpc->number ? virDomainSetAutostart(rpc->domain, 1) : 0;
}

/* domain -> found: it was started meanwhile, and stays */
static int work_leave(libvirt_rpc *rpc) {
    rpc->found = virDomainIsActive(rpc->domain) == 1;
    return rpc->found ? 0 : libvirt_migrate_work_undefine(rpc);
}

int libvirt_migrate_offline(libvirt_conn *source, libvirt_conn *target, const libvirt_vm *vm, const char *xml,
                            bool autostart, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *there = libvirt_rpc_new(target);
    there->text = vmc_strdup(xml);
    there->number = autostart;
    int code = libvirt_rpc_run(target, deadline, "defining the VM on the target", work_define, there, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *here = libvirt_rpc_new(source);
    virDomainRef(vm->domain);
    here->domain = vm->domain;
    code = libvirt_rpc_run(source, deadline, "removing the definition at the source", work_leave, here, err);
    if (code == 0 && here->found) {
        vmc_error(err, VMCTL_E_CONFLICT, "%s was started while it was being moved", vm->name);
        return vmc_error_next(err, "vmctl migrate %s --live moves it running", vm->name);
    }
    return code;
}
