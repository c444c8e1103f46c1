/* The counters of all domains in one round trip. Source: virConnectGetAllDomainStats and its parameters. */
#include "facts.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { METRICS_MS = 60000 };

#define METRICS                                                                                                        \
    (LIBVIRT_SUMMARY_STATS | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_INTERFACE | VIR_DOMAIN_STATS_BLOCK)

typedef struct metrics_args {
    virConnectPtr virt;
    bool inactive;
    virDomainStatsRecordPtr *records;
    int count;
    libvirt_saved saved;
    int64_t time_ns;
} metrics_args;

static void metrics_drop(void *opaque) {
    metrics_args *args = opaque;
    if (args->records)
        virDomainStatsRecordListFree(args->records);
    libvirt_saved_free(&args->saved);
    free(args);
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int metrics_work(void *opaque) {
    metrics_args *args = opaque;
    /* A domain in a long job tells what it can. */
    unsigned flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    if (!args->inactive)
        flags |= VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE;
    args->count = virConnectGetAllDomainStats(args->virt, METRICS, &args->records, flags);
    args->time_ns = now_ns();
    if (args->count < 0)
        return -1;
    return args->inactive ? libvirt_saved_ask(args->virt, &args->saved) : 0;
}

static void add(uint64_t *to, uint64_t value) {
    *to = *to == UINT64_MAX ? value : *to + value;
}

/* What QEMU's balloon says of the guest's memory, in KiB. */
typedef struct balloon {
    uint64_t available, usable, unused;
} balloon;

static void read_balloon(const char *field, uint64_t kib, vmctl_metrics *m, balloon *b) {
    if (!strcmp(field, "current"))
        m->memory_mib = kib / 1024;
    else if (!strcmp(field, "rss"))
        m->resident_mib = kib / 1024;
    else if (!strcmp(field, "available"))
        b->available = kib;
    else if (!strcmp(field, "usable"))
        b->usable = kib;
    else if (!strcmp(field, "unused"))
        b->unused = kib;
}

/* "net.0.rx.bytes", "block.1.wr.bytes": of all NICs or disks together. */
static void read_traffic(const char *field, uint64_t bytes, uint64_t *in, uint64_t *out, const char *in_name,
                         const char *out_name) {
    const char *after = strchr(field, '.');
    if (after && !strcmp(after + 1, in_name))
        add(in, bytes);
    else if (after && !strcmp(after + 1, out_name))
        add(out, bytes);
}

/* A domain that does not run has no counters; libvirt may give some all the same, of no process. */
static void read_record(const virDomainStatsRecord *record, vmctl_metrics *m) {
    balloon b = {UINT64_MAX, UINT64_MAX, UINT64_MAX};
    for (int i = 0; i < record->nparams; i++) {
        const virTypedParameter *p = &record->params[i];
        if (p->type != VIR_TYPED_PARAM_ULLONG)
            continue;
        uint64_t value = p->value.ul;
        if (vmc_starts_with(p->field, "net."))
            read_traffic(p->field + 4, value, &m->net_rx_bytes, &m->net_tx_bytes, "rx.bytes", "tx.bytes");
        else if (vmc_starts_with(p->field, "block."))
            read_traffic(p->field + 6, value, &m->disk_read_bytes, &m->disk_write_bytes, "rd.bytes", "wr.bytes");
        else if (vmc_starts_with(p->field, "balloon."))
            read_balloon(p->field + 8, value, m, &b);
        else if (!strcmp(p->field, "cpu.time"))
            m->cpu_ns = value;
    }
    /* What the guest could give away at once is not in use; an older balloon driver only tells what is free. */
    uint64_t idle = b.usable != UINT64_MAX ? b.usable : b.unused;
    if (b.available != UINT64_MAX && idle <= b.available)
        m->memory_used_mib = (b.available - idle) / 1024;
}

static int tell(const metrics_args *args, vmctl_metrics_fn each, void *user) {
    for (int i = 0; i < args->count; i++) {
        const virDomainStatsRecord *record = args->records[i];
        libvirt_summary summary;
        libvirt_summary_read(record, &summary);
        char id[VIR_UUID_STRING_BUFLEN];
        libvirt_uuid_text(record->dom, id);
        vmctl_metrics m = {.size = sizeof m,
                           .name = virDomainGetName(record->dom),
                           .id = id,
                           .time_ns = args->time_ns,
                           .cpus = summary.cpus,
                           .cpu_ns = UINT64_MAX,
                           .memory_mib = UINT64_MAX,
                           .memory_used_mib = UINT64_MAX,
                           .resident_mib = UINT64_MAX,
                           .disk_read_bytes = UINT64_MAX,
                           .disk_write_bytes = UINT64_MAX,
                           .net_rx_bytes = UINT64_MAX,
                           .net_tx_bytes = UINT64_MAX};
        m.state = libvirt_state(summary.state, summary.reason, libvirt_saved_has(&args->saved, record->dom), NULL);
        if (summary.state != VIR_DOMAIN_SHUTOFF && summary.state != VIR_DOMAIN_CRASHED)
            read_record(record, &m);
        if (m.memory_mib == UINT64_MAX && summary.memory_mib)
            m.memory_mib = summary.memory_mib;
        if (each(&m, user))
            break;
    }
    return 0;
}

int libvirt_metrics_list(void *opaque, const vmctl_metrics_options *options, vmctl_metrics_fn each, void *user,
                         vmctl_error **err) {
    libvirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, METRICS_MS);
    metrics_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->inactive = options->inactive;
    int code = libvirt_call(conn, &deadline, "reading the domains' counters", metrics_work, args, metrics_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code)
        code = tell(args, each, user);
    metrics_drop(args);
    return code;
}
