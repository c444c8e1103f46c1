/* All domains in two round trips: virConnectGetAllDomainStats has state, CPUs and memory of every one, and a list of those
 * with a managed save image tells stopped from saved. */
#include "facts.h"
#include <stdlib.h>
#include <string.h>

enum { LIST_MS = 60000 };

static int by_uuid(const void *a, const void *b) {
    return memcmp(a, b, VIR_UUID_BUFLEN);
}

int libvirt_saved_ask(virConnectPtr virt, libvirt_saved *out) {
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(virt, &domains, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE);
    if (count < 0)
        return -1;
    out->uuids = vmc_alloc((size_t)count * sizeof *out->uuids + 1);
    for (int i = 0; i < count; i++) {
        if (virDomainGetUUID(domains[i], out->uuids[out->count]) == 0)
            out->count++;
        virDomainFree(domains[i]);
    }
    free(domains);
    qsort(out->uuids, out->count, sizeof *out->uuids, by_uuid);
    return 0;
}

bool libvirt_saved_has(const libvirt_saved *saved, virDomainPtr domain) {
    unsigned char uuid[VIR_UUID_BUFLEN];
    return saved->count && virDomainGetUUID(domain, uuid) == 0 &&
           bsearch(uuid, saved->uuids, saved->count, sizeof *saved->uuids, by_uuid);
}

void libvirt_saved_free(libvirt_saved *saved) {
    free(saved->uuids);
    *saved = (libvirt_saved){0};
}

typedef struct list_args {
    virConnectPtr virt;
    char *name; /* NULL: all */
    virDomainStatsRecordPtr *records;
    int count;
    libvirt_saved saved;
} list_args;

static void list_drop(void *opaque) {
    list_args *args = opaque;
    if (args->records)
        virDomainStatsRecordListFree(args->records);
    libvirt_saved_free(&args->saved);
    free(args->name);
    free(args);
}

static int list_work(void *opaque) {
    list_args *args = opaque;
    const unsigned flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT; /* a domain in a long job tells what it can */
    if (args->name) {
        virDomainPtr one[] = {virDomainLookupByName(args->virt, args->name), NULL};
        if (!one[0])
            return virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? 0 : -1;
        args->count = virDomainListGetStats(one, LIBVIRT_SUMMARY_STATS, &args->records, flags);
        virDomainFree(one[0]);
    } else {
        args->count = virConnectGetAllDomainStats(args->virt, LIBVIRT_SUMMARY_STATS, &args->records, flags);
    }
    return args->count < 0 ? -1 : libvirt_saved_ask(args->virt, &args->saved);
}

static int tell(libvirt_conn *conn, list_args *args, const vmctl_list_options *options, const vmc_deadline *deadline,
                vmctl_vm_info_fn each, void *user, vmctl_error **err) {
    unsigned facts = options->facts ? options->facts : VMCTL_FACTS_LIST;
    for (int i = 0; i < args->count; i++) {
        virDomainStatsRecordPtr record = args->records[i];
        libvirt_summary summary;
        libvirt_summary_read(record, &summary);
        summary.saved = libvirt_saved_has(&args->saved, record->dom);
        vmctl_state state = libvirt_state(summary.state, summary.reason, summary.saved, NULL);
        if (options->states && !(options->states & 1u << state))
            continue;
        int code = libvirt_facts_deliver(conn, record->dom, &summary, facts, options, deadline, each, user, err);
        if (code)
            return code < 0 ? code : 0;
    }
    return 0;
}

int libvirt_list(void *opaque, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user,
                 vmctl_error **err) {
    libvirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, LIST_MS);
    list_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->name = vmc_strdup(options->name);
    int code = libvirt_call(conn, &deadline, "listing the domains", list_work, args, list_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code)
        code = tell(conn, args, options, &deadline, each, user, err);
    libvirt_drop_beside(conn, list_drop, args);
    return code;
}
