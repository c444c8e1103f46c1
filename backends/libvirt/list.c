/* All domains in two round trips: virConnectGetAllDomainStats has state, CPUs and memory of every one, and a list of those
 * with a managed save image tells stopped from saved. */
#include "facts.h"
#include <stdlib.h>
#include <string.h>

enum { LIST_MS = 60000 };

typedef struct list_args {
    virConnectPtr virt;
    char *name; /* NULL: all */
    virDomainStatsRecordPtr *records;
    int count;
    unsigned char (*saved)[VIR_UUID_BUFLEN]; /* sorted */
    int saved_count;
} list_args;

static void list_drop(void *opaque) {
    list_args *args = opaque;
    if (args->records)
        virDomainStatsRecordListFree(args->records);
    free(args->saved);
    free(args->name);
    free(args);
}

static int by_uuid(const void *a, const void *b) {
    return memcmp(a, b, VIR_UUID_BUFLEN);
}

static int ask_saved(list_args *args) {
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(args->virt, &domains, VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE);
    if (count < 0)
        return -1;
    args->saved = vmc_alloc((size_t)count * sizeof *args->saved + 1);
    for (int i = 0; i < count; i++) {
        if (virDomainGetUUID(domains[i], args->saved[args->saved_count]) == 0)
            args->saved_count++;
        virDomainFree(domains[i]);
    }
    free(domains);
    qsort(args->saved, (size_t)args->saved_count, sizeof *args->saved, by_uuid);
    return 0;
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
    return args->count < 0 ? -1 : ask_saved(args);
}

static int tell(libvirt_conn *conn, list_args *args, const vmctl_list_options *options, const vmc_deadline *deadline,
                vmctl_vm_info_fn each, void *user, vmctl_error **err) {
    unsigned facts = options->facts ? options->facts : VMCTL_FACTS_LIST;
    for (int i = 0; i < args->count; i++) {
        virDomainStatsRecordPtr record = args->records[i];
        libvirt_summary summary;
        libvirt_summary_read(record, &summary);
        unsigned char uuid[VIR_UUID_BUFLEN];
        summary.saved = args->saved_count && virDomainGetUUID(record->dom, uuid) == 0 &&
                        bsearch(uuid, args->saved, (size_t)args->saved_count, sizeof *args->saved, by_uuid);
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
    list_drop(args);
    return code;
}
