/* The facts of one domain, from as few calls as libvirt has for those that are wanted. */
#include "facts.h"
#include "domain_xml.h"
#include "guest_info.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XML_FACTS (VMCTL_FACT_MARKER | VMCTL_FACT_DEVICES | VMCTL_FACT_GPUS | VMCTL_FACT_CONFIG)

void libvirt_summary_read(const virDomainStatsRecord *record, libvirt_summary *s) {
    memset(s, 0, sizeof *s);
    for (int i = 0; i < record->nparams; i++) {
        const virTypedParameter *p = &record->params[i];
        if (!strcmp(p->field, "state.state") && p->type == VIR_TYPED_PARAM_INT)
            s->state = p->value.i;
        else if (!strcmp(p->field, "state.reason") && p->type == VIR_TYPED_PARAM_INT)
            s->reason = p->value.i;
        else if (!strcmp(p->field, "vcpu.current") && p->type == VIR_TYPED_PARAM_UINT)
            s->cpus = p->value.ui;
        else if (!strcmp(p->field, "balloon.current") && p->type == VIR_TYPED_PARAM_ULLONG)
            s->memory_mib = p->value.ul / 1024;
    }
}

/* --- asking -------------------------------------------------------------------------------------------------- */

typedef struct address_set {
    virDomainInterfacePtr *items;
    int count; /* -1: not answered */
} address_set;

typedef struct gather_args {
    virDomainPtr domain;
    unsigned facts;
    bool running, saved, need_info;
    bool talks;           /* its CPUs run, so that its agent can answer */
    char *xml, *next_xml; /* as it is, and as it will be after a restart; next_xml NULL: the same */
    virDomainInfo info;
    address_set agent, lease, arp;
    int snapshots, autostart; /* -1: not answered */
    virDomainStatsRecordPtr *blocks;
    unsigned long long *allocated; /* of each disk in blocks; NULL: as blocks says */
    virTypedParameterPtr guest;    /* what the agent says of the system */
    int guest_count;
} gather_args;

static void addresses_free(address_set *set) {
    for (int i = 0; i < set->count; i++)
        virDomainInterfaceFree(set->items[i]);
    free(set->items);
}

static void gather_drop(void *opaque) {
    gather_args *args = opaque;
    addresses_free(&args->agent);
    addresses_free(&args->lease);
    addresses_free(&args->arp);
    if (args->blocks)
        virDomainStatsRecordListFree(args->blocks);
    free(args->allocated);
    virTypedParamsFree(args->guest, args->guest_count);
    free(args->xml);
    free(args->next_xml);
    virDomainFree(args->domain);
    free(args);
}

/* Whether libvirt saw the guest's agent open its channel: asking an absent one costs seconds. */
static int agent_state(const char *xml) {
    static const char channel[] = "name='org.qemu.guest_agent.0'";
    const char *found = xml ? strstr(xml, channel) : NULL;
    if (!found)
        return 0;
    size_t rest = strcspn(found, ">");
    const char *state = strstr(found, "state='connected'");
    return state && state < found + rest;
}

static void ask_addresses(gather_args *args, address_set *set, unsigned source) {
    set->count = virDomainInterfaceAddresses(args->domain, &set->items, source, 0);
}

/* While QEMU runs the statistics tell how far it wrote, not what the file takes. */
static void ask_allocated(gather_args *args) {
    const virDomainStatsRecord *record = args->blocks && args->blocks[0] ? args->blocks[0] : NULL;
    size_t disk = 0;
    if (record)
        args->allocated = vmc_alloc(((size_t)record->nparams + 1) * sizeof *args->allocated);
    for (int i = 0; record && i < record->nparams; i++) {
        const virTypedParameter *p = &record->params[i];
        const char *field = strrchr(p->field, '.');
        virDomainBlockInfo info;
        if (!field || strcmp(field, ".name") != 0 || p->type != VIR_TYPED_PARAM_STRING)
            continue;
        if (virDomainGetBlockInfo(args->domain, p->value.s, &info, 0) == 0)
            args->allocated[disk] = info.allocation;
        disk++;
    }
}

static int gather_work(void *opaque) {
    gather_args *args = opaque;
    if (args->facts & (XML_FACTS | VMCTL_FACT_ADDRESSES | VMCTL_FACT_GUEST)) {
        args->xml = virDomainGetXMLDesc(args->domain, 0);
        if (!args->xml)
            return -1;
    }
    if ((args->facts & (VMCTL_FACT_DEVICES | VMCTL_FACT_CONFIG)) && args->running)
        args->next_xml = virDomainGetXMLDesc(args->domain, VIR_DOMAIN_XML_INACTIVE);
    /* A saved one goes on with what it had then. */
    if ((args->facts & XML_FACTS) && args->saved) {
        char *then = virDomainManagedSaveGetXMLDesc(args->domain, 0);
        if (then) {
            args->next_xml = args->xml;
            args->xml = then;
        }
    }
    if (args->need_info && virDomainGetInfo(args->domain, &args->info) < 0)
        return -1;
    /* What follows may fail for one domain and is then absent. An agent that did not answer once is not asked again. */
    bool talks = args->talks && agent_state(args->xml);
    if ((args->facts & VMCTL_FACT_ADDRESSES) && args->running) {
        if (talks)
            ask_addresses(args, &args->agent, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT);
        talks = talks && args->agent.count >= 0;
        if (args->agent.count <= 0) {
            ask_addresses(args, &args->lease, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE);
            ask_addresses(args, &args->arp, VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP);
        }
    }
    if ((args->facts & VMCTL_FACT_GUEST) && talks &&
        virDomainGetGuestInfo(args->domain, 0, &args->guest, &args->guest_count, 0) < 0)
        args->guest_count = 0;
    if (args->facts & VMCTL_FACT_SNAPSHOTS)
        args->snapshots = virDomainSnapshotNum(args->domain, 0);
    if ((args->facts & VMCTL_FACT_CONFIG) && virDomainGetAutostart(args->domain, &args->autostart) < 0)
        args->autostart = -1;
    if (args->facts & VMCTL_FACT_DEVICES) {
        virDomainPtr one[] = {args->domain, NULL};
        if (virDomainListGetStats(one, VIR_DOMAIN_STATS_BLOCK, &args->blocks,
                                  VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT) < 0)
            args->blocks = NULL;
        if (args->running)
            ask_allocated(args);
    }
    virResetLastError();
    return 0;
}

/* --- addresses ---------------------------------------------------------------------------------------------- */

typedef struct address_list {
    vmctl_address *items; /* ip and mac are owned */
    size_t count;
} address_list;

static void address_list_free(address_list *list) {
    for (size_t i = 0; i < list->count; i++) {
        free((char *)list->items[i].ip);
        free((char *)list->items[i].mac);
    }
    free(list->items);
}

/* Addresses that reach the guest from outside: not its loopback, not link-local ones. */
static bool is_useful(const char *ip) {
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, ip, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 != 127;
    return inet_pton(AF_INET6, ip, &v6) == 1 && !IN6_IS_ADDR_LOOPBACK(&v6) && !IN6_IS_ADDR_LINKLOCAL(&v6);
}

/* The agent names every interface of the guest: also those that it made for containers and VMs of its own, which nothing outside reaches. A
 * bridge over a NIC has that NIC's MAC and counts; the MAC of a NIC that was passed through is in no XML, so the name decides too. */
static bool is_inner(const virDomainInterface *nic, const char *xml) {
    static const char *const names[] = {"docker", "br-",    "virbr", "veth",  "vnet", "tap",    "cni",    "flannel",
                                        "cali",   "podman", "lxc",   "lxdbr", "kube", "cilium", "nerdctl"};
    bool inner = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && nic->name; i++)
        inner |= vmc_starts_with(nic->name, names[i]);
    if (!inner || !nic->hwaddr || !xml)
        return inner;
    VMC_AUTO_FREE char *mac = vmc_printf("<mac address='%s'", nic->hwaddr);
    return !strcasestr(xml, mac);
}

static void add_addresses(address_list *list, const address_set *set, const char *source, const char *xml,
                          const libvirt_domain_facts *facts) {
    for (int i = 0; i < set->count; i++) {
        const virDomainInterface *nic = set->items[i];
        if (!strcmp(source, "agent") && is_inner(nic, xml))
            continue;
        for (unsigned a = 0; a < nic->naddrs; a++) {
            const char *ip = nic->addrs[a].addr;
            bool known = !ip || !is_useful(ip);
            for (size_t k = 0; !known && k < list->count; k++)
                known = vmc_str_eq(list->items[k].ip, ip);
            if (known)
                continue;
            list->items = vmc_realloc(list->items, list->count + 1, sizeof *list->items);
            char *mac = vmc_strdup(nic->hwaddr);
            for (char *c = mac; c && *c; c++)
                *c = *c >= 'A' && *c <= 'F' ? (char)(*c + 32) : *c;
            vmctl_address *made = &list->items[list->count++];
            *made = (vmctl_address){.size = sizeof *made, .ip = vmc_strdup(ip), .mac = mac, .source = source};
            for (size_t d = 0; facts && mac && d < facts->info.device_count; d++) {
                const vmctl_device *device = &facts->info.devices[d];
                if (device->kind == VMCTL_DEVICE_NIC && vmc_str_eq(device->mac, mac))
                    made->device = device->name;
            }
        }
    }
}

/* --- sizes, uptime --------------------------------------------------------------------------------------------- */

/* block.N.name, .capacity, .allocation of virDomainListGetStats to the disks of the same target. */
static void fill_sizes(vmctl_vm_info *info, virDomainStatsRecordPtr *blocks, const unsigned long long *allocated) {
    if (!blocks || !blocks[0])
        return;
    const virDomainStatsRecord *record = blocks[0];
    vmctl_device *current = NULL;
    size_t disk = 0;
    for (int i = 0; i < record->nparams; i++) {
        const virTypedParameter *p = &record->params[i];
        const char *field = strrchr(p->field, '.');
        if (!field)
            continue;
        if (!strcmp(field, ".name") && p->type == VIR_TYPED_PARAM_STRING) {
            current = NULL;
            for (size_t d = 0; d < info->device_count; d++)
                if (vmc_str_eq(info->devices[d].target, p->value.s))
                    current = (vmctl_device *)&info->devices[d];
            if (current && allocated)
                current->allocated_bytes = allocated[disk];
            disk++;
        } else if (current && p->type == VIR_TYPED_PARAM_ULLONG) {
            if (!strcmp(field, ".capacity"))
                current->capacity_bytes = p->value.ul;
            else if (!strcmp(field, ".allocation") && !allocated)
                current->allocated_bytes = p->value.ul;
        }
    }
}

/* libvirt does not say since when QEMU runs; the file with its process id was written then. */
static int64_t uptime_of(const libvirt_conn *conn, const char *name) {
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    if (!conn->local || conn->test_driver || (conn->session && !runtime))
        return -1;
    VMC_AUTO_FREE char *path = conn->session ? vmc_printf("%s/libvirt/qemu/run/%s.pid", runtime, name)
                                             : vmc_printf("/run/libvirt/qemu/%s.pid", name);
    struct stat st;
    if (stat(path, &st) < 0)
        return -1;
    int64_t since = (int64_t)time(NULL) - (int64_t)st.st_mtim.tv_sec;
    return since >= 0 ? since : -1;
}

/* --- what waits for a restart ------------------------------------------------------------------------------------- */

static const vmctl_device *find_device(const vmctl_vm_info *info, const vmctl_device *like) {
    for (size_t i = 0; i < info->device_count; i++)
        if (info->devices[i].kind == like->kind && vmc_str_eq(info->devices[i].name, like->name))
            return &info->devices[i];
    return NULL;
}

/* Displays are named after what the start chose for them. */
static bool comes_and_goes(const vmctl_device *device) {
    return device->kind != VMCTL_DEVICE_DISPLAY;
}

/* Ports and terminals are chosen at the start, so only what a disk or card is made of counts. */
static bool same_device(const vmctl_device *a, const vmctl_device *b) {
    if (a->kind != VMCTL_DEVICE_DISK && a->kind != VMCTL_DEVICE_CDROM && a->kind != VMCTL_DEVICE_NIC)
        return true;
    return vmc_str_eq(a->bus, b->bus) && vmc_str_eq(a->source, b->source) && vmc_str_eq(a->mac, b->mac) &&
           a->readonly == b->readonly;
}

/* Whether a restart would change something; `devices` (may be NULL; it has those of now) gets those that come with it, and all that come
 * or go are marked. */
static bool compare(const vmctl_vm_info *now, const vmctl_vm_info *next, vmctl_device **devices, size_t *count) {
    bool differs = now->cpus != next->cpus || now->memory_mib != next->memory_mib ||
                   !vmc_str_eq(now->machine, next->machine) || !vmc_str_eq(now->firmware, next->firmware);
    for (size_t i = 0; i < now->device_count; i++) {
        if (!comes_and_goes(&now->devices[i]) || find_device(next, &now->devices[i]))
            continue;
        differs = true;
        if (devices)
            (*devices)[i].leaving = true;
    }
    for (size_t i = 0; i < next->device_count; i++) {
        const vmctl_device *device = &next->devices[i], *same = find_device(now, device);
        differs |= !same || !same_device(same, device);
        if (same || !devices)
            continue;
        *devices = vmc_realloc(*devices, *count + 1, sizeof **devices);
        (*devices)[*count] = *device;
        (*devices)[(*count)++].pending = true;
    }
    return differs;
}

/* --- delivering -------------------------------------------------------------------------------------------------- */

static bool passes(const vmctl_vm_info *info, const vmctl_list_options *filter) {
    if (!filter)
        return true;
    if (filter->owner && !vmc_str_eq(filter->owner, info->owner))
        return false;
    for (size_t i = 0; i < filter->label_count; i++) {
        bool found = false;
        for (size_t k = 0; !found && k < info->label_count; k++)
            found = vmc_str_eq(filter->labels[i].key, info->labels[k].key) &&
                    vmc_str_eq(filter->labels[i].value, info->labels[k].value);
        if (!found)
            return false;
    }
    return true;
}

static int deliver(libvirt_conn *conn, const gather_args *args, const char *uuid, const libvirt_summary *summary,
                   unsigned facts, const vmctl_list_options *filter, vmctl_vm_info_fn each, void *user,
                   vmctl_error **err) {
    vmc_cleanup(address_list_free) address_list addresses = {0};
    libvirt_domain_facts *read = NULL, *next = NULL;
    if (args->xml) {
        int code = libvirt_domain_facts_read(args->xml, &read, err);
        if (code < 0)
            return code;
    }
    if (args->next_xml)
        libvirt_domain_facts_read(args->next_xml, &next, NULL);
    vmctl_vm_info info = {
        .size = sizeof info, .autostart = -1, .agent_connected = -1, .uptime_seconds = -1, .restart_required = -1};
    if (read)
        info = read->info;
    info.size = sizeof info;
    info.present = (facts & (VMCTL_FACT_STATE | VMCTL_FACT_RESOURCES)) | (read ? facts & XML_FACTS : 0);
    info.name = virDomainGetName(args->domain);
    info.id = uuid;
    info.backend = "libvirt";
    info.state = libvirt_state(summary->state, summary->reason, summary->saved, &info.state_reason);
    info.host = conn->host;
    if (!args->saved || !read || !next) { /* of a saved one libvirt tells the definition's only */
        info.cpus = args->need_info ? args->info.nrVirtCpu : summary->cpus;
        info.memory_mib = args->need_info ? args->info.memory / 1024 : summary->memory_mib;
    }
    if (facts & VMCTL_FACT_ADDRESSES) {
        add_addresses(&addresses, &args->agent, "agent", args->xml, read);
        add_addresses(&addresses, &args->lease, "lease", args->xml, read);
        add_addresses(&addresses, &args->arp, "arp", args->xml, read);
        info.addresses = addresses.items;
        info.address_count = addresses.count;
        info.present |= VMCTL_FACT_ADDRESSES;
    }
    if ((facts & VMCTL_FACT_SNAPSHOTS) && args->snapshots >= 0) {
        info.snapshot_count = (unsigned)args->snapshots;
        info.present |= VMCTL_FACT_SNAPSHOTS;
    }
    if (facts & VMCTL_FACT_CONFIG) {
        info.autostart = args->autostart;
        info.agent_connected = args->running ? agent_state(args->xml) : 0;
        info.uptime_seconds = args->running ? uptime_of(conn, info.name) : -1;
        info.restart_required = args->running || (args->saved && next) ? -1 : 0;
    }
    if (facts & VMCTL_FACT_DEVICES)
        fill_sizes(&info, args->blocks, args->allocated);
    vmc_cleanup(libvirt_guest_info_free) libvirt_guest_info guest = {0};
    if (libvirt_guest_info_read(args->guest, args->guest_count, &guest)) {
        info.guest = &guest.guest;
        info.present |= VMCTL_FACT_GUEST;
    }
    VMC_AUTO_FREE vmctl_device *devices = NULL;
    if (read && next) {
        size_t count = info.device_count;
        devices = vmc_alloc(count * sizeof *devices + 1);
        if (count)
            memcpy(devices, info.devices, count * sizeof *devices);
        bool differs = compare(&read->info, &next->info, &devices, &count);
        info.restart_required = facts & VMCTL_FACT_CONFIG ? differs : -1;
        info.devices = devices;
        info.device_count = count;
    }
    int code = passes(&info, filter) ? each(&info, user) : 0;
    libvirt_domain_facts_free(read);
    libvirt_domain_facts_free(next);
    return code < 0 ? 1 : code;
}

int libvirt_facts_deliver(libvirt_conn *conn, virDomainPtr domain, const libvirt_summary *summary, unsigned facts,
                          const vmctl_list_options *filter, const vmc_deadline *deadline, vmctl_vm_info_fn each,
                          void *user, vmctl_error **err) {
    char uuid[VIR_UUID_STRING_BUFLEN];
    libvirt_uuid_text(domain, uuid);
    if (filter && (filter->owner || filter->label_count))
        facts |= VMCTL_FACT_MARKER;
    bool need_info = (facts & VMCTL_FACT_RESOURCES) && (summary->cpus == 0 || summary->memory_mib == 0);
    if (!need_info && !(facts & ~(unsigned)(VMCTL_FACT_STATE | VMCTL_FACT_RESOURCES))) {
        const gather_args plain = {.domain = domain, .snapshots = -1, .autostart = -1};
        return deliver(conn, &plain, uuid, summary, facts, filter, each, user, err);
    }
    gather_args *args = vmc_alloc(sizeof *args);
    args->domain = domain;
    virDomainRef(domain);
    args->facts = facts;
    args->running = summary->state != VIR_DOMAIN_SHUTOFF && summary->state != VIR_DOMAIN_CRASHED;
    args->talks = summary->state == VIR_DOMAIN_RUNNING;
    args->need_info = need_info;
    args->saved = summary->saved;
    args->agent.count = args->lease.count = args->arp.count = args->snapshots = args->autostart = -1;
    VMC_AUTO_FREE char *doing = vmc_printf("asking for the facts of %s", virDomainGetName(domain));
    vmctl_error *why = NULL;
    int code = libvirt_call(conn, deadline, doing, gather_work, args, gather_drop, &why);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED) {
        vmc_error_move(err, &why);
        return code;
    }
    bool vanished = code == VMCTL_E_NOT_FOUND && filter; /* of a list: it was deleted since the list was made */
    if (!code)
        code = deliver(conn, args, uuid, summary, facts, filter, each, user, &why);
    gather_drop(args);
    if (vanished || code >= 0) {
        vmctl_error_free(why);
        return vanished ? 0 : code;
    }
    vmc_error_move(err, &why);
    return code;
}
