/* One domain: its facts, its XML, its spec. */
#include "domain_xml.h"
#include "facts.h"
#include <stdlib.h>
#include <string.h>

enum { GET_MS = 60000 };

typedef struct xml_args {
    virDomainPtr domain;
    unsigned flags;
    bool want_autostart;
    char *xml;
    int autostart;
} xml_args;

static void xml_drop(void *opaque) {
    xml_args *args = opaque;
    free(args->xml);
    free(args);
}

static int xml_work(void *opaque) {
    xml_args *args = opaque;
    args->xml = virDomainGetXMLDesc(args->domain, args->flags);
    if (!args->xml)
        return -1;
    if (args->want_autostart && virDomainGetAutostart(args->domain, &args->autostart) < 0)
        args->autostart = -1; /* a transient domain has none */
    return 0;
}

/* *autostart NULL: not asked for. */
static int ask_xml(libvirt_conn *conn, const libvirt_vm *vm, unsigned flags, const vmc_deadline *deadline, char **xml,
                   int *autostart, vmctl_error **err) {
    xml_args *args = vmc_alloc(sizeof *args);
    args->domain = vm->domain;
    args->flags = flags;
    args->want_autostart = autostart;
    int code = libvirt_call(conn, deadline, "reading the domain's XML", xml_work, args, xml_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code) {
        *xml = args->xml;
        args->xml = NULL;
        if (autostart)
            *autostart = args->autostart;
    }
    xml_drop(args);
    return code;
}

int libvirt_vm_xml(libvirt_conn *conn, const libvirt_vm *vm, unsigned flags, const vmc_deadline *deadline, char **xml,
                   vmctl_error **err) {
    return ask_xml(conn, vm, flags, deadline, xml, NULL, err);
}

/* The document as vmctl_string_free takes it: what the next start uses. */
int libvirt_native(void *conn, void *vm, const vmctl_call *call, char **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, GET_MS);
    return libvirt_vm_xml(conn, vm, VIR_DOMAIN_XML_INACTIVE, &deadline, out, err);
}

int libvirt_spec(void *conn, void *vm, const vmctl_call *call, vmctl_spec **out, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, GET_MS);
    VMC_AUTO_FREE char *xml = NULL;
    int autostart = 0;
    int code = ask_xml(conn, vm, VIR_DOMAIN_XML_INACTIVE, &deadline, &xml, &autostart, err);
    vmctl_spec *spec = NULL;
    if (!code)
        code = libvirt_domain_spec(xml, &spec, err);
    if (!code && autostart == 1)
        code = vmctl_spec_set(spec, "autostart", "true", err);
    if (code < 0) {
        vmctl_spec_free(spec);
        return code;
    }
    *out = spec;
    return 0;
}

typedef struct summary_args {
    virDomainPtr domain;
    libvirt_summary summary;
} summary_args;

static int summary_work(void *opaque) {
    summary_args *args = opaque;
    virDomainPtr one[] = {args->domain, NULL};
    virDomainStatsRecordPtr *records = NULL;
    int count = virDomainListGetStats(one, LIBVIRT_SUMMARY_STATS, &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
    if (count < 0)
        return -1;
    if (count > 0)
        libvirt_summary_read(records[0], &args->summary);
    virDomainStatsRecordListFree(records);
    if (count == 0) /* it was deleted; this says so in libvirt's own words */
        return virDomainGetState(args->domain, &args->summary.state, &args->summary.reason, 0);
    if (args->summary.state == VIR_DOMAIN_SHUTOFF)
        args->summary.saved = virDomainHasManagedSaveImage(args->domain, 0) == 1;
    return 0;
}

int libvirt_get(void *opaque, void *handle, const vmctl_get_options *options, vmctl_vm_info_fn each, void *user,
                vmctl_error **err) {
    libvirt_conn *conn = opaque;
    libvirt_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(options->call, GET_MS);
    summary_args *args = vmc_alloc(sizeof *args);
    args->domain = vm->domain;
    int code = libvirt_call(conn, &deadline, "asking for the domain's state", summary_work, args, free, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    libvirt_summary summary = args->summary;
    free(args);
    if (code < 0)
        return code;
    code = libvirt_facts_deliver(conn, vm->domain, &summary, options->facts ? options->facts : VMCTL_FACTS_ALL, NULL,
                                 &deadline, each, user, err);
    return code < 0 ? code : 0;
}
