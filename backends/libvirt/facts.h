/* backends/libvirt/facts.h - the facts of a domain: those that come in bulk, and those that cost a call. */
#ifndef VMC_LIBVIRT_FACTS_H
#define VMC_LIBVIRT_FACTS_H

#include "ops.h"

/* What virConnectGetAllDomainStats tells. */
typedef struct libvirt_summary {
    int state, reason; /* virDomainState and its reason */
    bool saved;        /* a managed save image is there */
    unsigned cpus;
    uint64_t memory_mib;
} libvirt_summary;

/* The groups of libvirt's statistics that a summary needs. */
#define LIBVIRT_SUMMARY_STATS (VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_VCPU | VIR_DOMAIN_STATS_BALLOON)

/* Which domains have a managed save image: it tells saved from stopped. {0}: none is known. */
typedef struct libvirt_saved {
    unsigned char (*uuids)[VIR_UUID_BUFLEN]; /* sorted */
    size_t count;
} libvirt_saved;

/* list.c: asks, in one round trip; for work functions: 0, or -1 with libvirt's error. libvirt_saved_free. */
int libvirt_saved_ask(virConnectPtr virt, libvirt_saved *out);
bool libvirt_saved_has(const libvirt_saved *saved, virDomainPtr domain);
void libvirt_saved_free(libvirt_saved *saved);

void libvirt_summary_read(const virDomainStatsRecord *record, libvirt_summary *summary);

/* Makes the whole vmctl_vm_info of one domain from its summary and what else is wanted, and calls `each` unless `filter`'s owner and labels
 * say no. Returns what `each` returned (at least 0), or a negative code. A domain that vanished meanwhile is passed over. */
int libvirt_facts_deliver(libvirt_conn *conn, virDomainPtr domain, const libvirt_summary *summary, unsigned facts,
                          const vmctl_list_options *filter, const vmc_deadline *deadline, vmctl_vm_info_fn each,
                          void *user, vmctl_error **err);

#endif
