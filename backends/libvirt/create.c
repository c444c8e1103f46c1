/* backends/libvirt/create.c - making a VM: planned and checked first, then made, each thing noted in the journal before it is.
 * Starting it is the dispatcher's. */
#include "ops.h"

#include "networks.h"
#include "plan.h"
#include "rpc.h"
#include <stdlib.h>
#include <string.h>

/* text (XML), name, out (UUID), flags, number (1: started with the host) -> domain; found: a VM of that name was faster */
static int work_define(libvirt_rpc *rpc) {
    rpc->domain = virDomainDefineXMLFlags(rpc->virt, rpc->text, rpc->flags);
    if (!rpc->domain) {
        rpc->failure = virSaveLastError();
        virDomainPtr other = virDomainLookupByName(rpc->virt, rpc->name);
        rpc->found = other != NULL;
        if (other)
            virDomainFree(other);
        return -1;
    }
    return rpc->number ? virDomainSetAutostart(rpc->domain, 1) : 0;
}

int libvirt_define_new(libvirt_conn *conn, const char *xml, const char *name, const char *uuid, unsigned flags,
                       bool autostart, const vmc_deadline *deadline, vmc_journal *journal, void **vm,
                       vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->text = vmc_strdup(xml);
    rpc->name = vmc_strdup(name);
    rpc->number = autostart;
    rpc->flags = flags;
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", uuid, name);
    size_t mark = 0;
    int code = vmc_journal_add(journal, "domain", detail, &mark, err);
    if (code < 0)
        return code;
    code = libvirt_rpc_run(conn, deadline, "defining the domain", work_define, rpc, err);
    if (code == 0) {
        *vm = libvirt_vm_new(rpc->domain);
        rpc->domain = NULL;
        return 0;
    }
    if (vmc_outcome_unknown(code) || rpc->domain)
        return code;
    vmc_journal_drop(journal, mark, NULL); /* refused: whatever has this UUID is not ours */
    return rpc->found ? vmc_error_recode(err, VMCTL_E_ALREADY_EXISTS) : code;
}

/* text (XML) -> out (as libvirt keeps it; flags 0: not asked), domain */
static int work_redefine(libvirt_rpc *rpc) {
    rpc->domain = virDomainDefineXMLFlags(rpc->virt, rpc->text, 0);
    if (!rpc->domain || !rpc->flags)
        return rpc->domain ? 0 : -1;
    rpc->out = virDomainGetXMLDesc(rpc->domain, rpc->flags);
    return rpc->out ? 0 : -1;
}

int libvirt_redefine(libvirt_conn *conn, const char *xml, const char *doing, const vmc_deadline *deadline, char **kept,
                     vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->text = vmc_strdup(xml);
    rpc->flags = kept ? VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE : 0;
    int code = libvirt_rpc_run(conn, deadline, doing, work_redefine, rpc, err);
    if (code == 0 && kept) {
        *kept = rpc->out;
        rpc->out = NULL;
    }
    return code;
}

static int define(libvirt_conn *conn, const vmctl_spec *spec, libvirt_plan *plan, vmc_journal *journal, void **vm,
                  vmctl_error **err) {
    const vmctl_node *root = vmctl_spec_root(spec);
    VMC_AUTO_FREE char *xml = NULL;
    int code = libvirt_plan_xml(spec, plan, &xml, err);
    if (code < 0)
        return code;
    /* libvirt ignores elements that it does not know; in a patch of the person's that is a mistake to be told. */
    unsigned flags = vmctl_node_get(root, "libvirt.xmlPatch") ? VIR_DOMAIN_DEFINE_VALIDATE : 0;
    return libvirt_define_new(conn, xml, vmctl_spec_name(spec), plan->uuid, flags,
                              vmctl_node_boolean(root, "autostart", false), plan->store.deadline, journal, vm, err);
}

/* A stage begins: the caller may cancel here. */
static int stage(const libvirt_plan *plan, const char *text, const char *device, vmctl_error **err) {
    return vmc_progress(plan->store.deadline, plan->store.vm, text, device, VMCTL_UNIT_NONE, 0, 0, err);
}

static int make_file(libvirt_plan *plan, libvirt_file *file, vmc_journal *journal, vmctl_error **err) {
    if (file->kind == LIBVIRT_FILE_NONE || file->kind == LIBVIRT_FILE_IN_PLACE)
        return 0;
    VMC_AUTO_FREE char *text = vmc_printf("making %s", file->name);
    int code = stage(plan, text, file->device, err);
    return code < 0 ? code : libvirt_make_file(&plan->store, file, journal, err);
}

static int make_files(libvirt_plan *plan, vmc_journal *journal, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < plan->disk_count; i++)
        code = make_file(plan, &plan->disks[i], journal, err);
    libvirt_file *others[] = {&plan->kernel, &plan->initrd, &plan->seed};
    for (size_t i = 0; code == 0 && i < sizeof others / sizeof others[0]; i++)
        code = make_file(plan, others[i], journal, err);
    return code;
}

static int make(libvirt_conn *conn, const vmctl_spec *spec, libvirt_plan *plan, vmc_journal *journal, void **vm,
                vmctl_error **err) {
    const vmctl_node *networks = vmctl_node_get(vmctl_spec_root(spec), "networks");
    int code = stage(plan, "preparing the host", NULL, err);
    if (code == 0)
        code = libvirt_make_pools(&plan->store, err);
    if (code == 0)
        code = libvirt_networks_ready(conn, networks, true, plan->store.deadline, err);
    if (code == 0)
        code = make_files(plan, journal, err);
    /* Written by the host from the first start on, which may be part of this very create. */
    if (code == 0 && plan->serial_log)
        code = vmc_journal_add(journal, "log", plan->serial_log, NULL, err);
    if (code == 0)
        code = stage(plan, "defining the VM", NULL, err);
    if (code == 0)
        code = define(conn, spec, plan, journal, vm, err);
    libvirt_store_sync(&plan->store);
    return code;
}

int libvirt_create(void *conn_, const vmctl_spec *spec, const vmctl_create_options *options, const vmctl_marker *marker,
                   vmc_journal *journal, void **vm, vmctl_identity *identity, vmctl_error **err) {
    libvirt_conn *conn = conn_;
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    libvirt_plan plan;
    int code = libvirt_plan_vm(conn, spec, marker, false, &deadline, &plan, err);
    if (code == 0 && !options->dry_run)
        code = make(conn, spec, &plan, journal, vm, err);
    if (code == 0 && !options->dry_run)
        libvirt_vm_identity(*vm, identity);
    libvirt_plan_free(&plan);
    return code;
}
