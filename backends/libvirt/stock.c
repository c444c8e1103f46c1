/* Two tables of domains: what was known, and what was asked last. */
#include "stock.h"
#include "domain_model.h"
#include "facts.h"
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 1024, BATCH = 64 };

typedef struct entry {
    struct entry *next;
    char uuid[VIR_UUID_STRING_BUFLEN];
    char *name;
    vmctl_state state;
    const char *reason; /* constant */
    int run;            /* libvirt's number of this run; -1: it does not run, or nobody asked */
    bool stale;         /* an event was about it */
    bool described;     /* the rest is known */
    uint64_t config;    /* a sum of the XML that the next start uses */
    vmc_strv aliases;   /* of the devices, as libvirt's events call them; and the names that vmctl has for them */
    vmc_strv names;
    vmc_strv jobs; /* disks that are being copied or committed */
    bool agent;    /* connected */
} entry;

typedef struct table {
    entry *buckets[BUCKETS];
} table;

struct libvirt_stock {
    char *only;
    char only_uuid[VIR_UUID_STRING_BUFLEN];
    table now, before;
};

/* --- tables ----------------------------------------------------------------------------------------------------- */

static uint64_t sum_of(const char *text) {
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 1099511628211u;
    return hash;
}

static entry **place(table *t, const char *uuid) {
    entry **at = &t->buckets[sum_of(uuid) % BUCKETS];
    while (*at && strcmp((*at)->uuid, uuid) != 0)
        at = &(*at)->next;
    return at;
}

static const entry *find(const table *t, const char *uuid) {
    return *place((table *)t, uuid);
}

static void forget_description(entry *e) {
    vmc_strv_free(&e->aliases);
    vmc_strv_free(&e->names);
    vmc_strv_free(&e->jobs);
    e->described = e->agent = false;
}

static void drop(entry **at) {
    entry *e = *at;
    if (!e)
        return;
    *at = e->next;
    forget_description(e);
    free(e->name);
    free(e);
}

static void clear(table *t) {
    for (size_t i = 0; i < BUCKETS; i++)
        while (t->buckets[i])
            drop(&t->buckets[i]);
}

static entry *ensure(table *t, const char *uuid, const char *name) {
    entry **at = place(t, uuid);
    if (!*at) {
        *at = vmc_alloc(sizeof **at);
        memcpy((*at)->uuid, uuid, VIR_UUID_STRING_BUFLEN);
        (*at)->run = -1;
    }
    if (!vmc_str_eq((*at)->name, name)) {
        free((*at)->name);
        (*at)->name = vmc_strdup(name);
    }
    return *at;
}

libvirt_stock *libvirt_stock_new(const char *only) {
    libvirt_stock *stock = vmc_alloc(sizeof *stock);
    stock->only = vmc_strdup(only);
    return stock;
}

void libvirt_stock_free(libvirt_stock *stock) {
    if (!stock)
        return;
    clear(&stock->now);
    clear(&stock->before);
    free(stock->only);
    free(stock);
}

bool libvirt_stock_wants(const libvirt_stock *stock, const char *name, const char *uuid) {
    return !stock->only || vmc_str_eq(stock->only, name) || vmc_str_eq(stock->only, uuid) ||
           vmc_str_eq(stock->only_uuid, uuid);
}

const char *libvirt_stock_only_uuid(const libvirt_stock *stock) {
    return *stock->only_uuid ? stock->only_uuid : NULL;
}

/* --- one domain's documents --------------------------------------------------------------------------------------- */

static void read_devices(const xmlNode *domain, entry *e) {
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    for (const xmlNode *device = devices ? devices->children : NULL; device; device = device->next) {
        const char *alias = device->type == XML_ELEMENT_NODE ? libvirt_xml_attr_at(device, "alias", "name") : NULL;
        if (alias) {
            VMC_AUTO_FREE char *name = libvirt_name_read(domain, device);
            vmc_strv_add(&e->aliases, alias);
            vmc_strv_add(&e->names, name ? name : alias);
        }
        if (libvirt_xml_is(device, "disk") && libvirt_xml_child(device, "mirror"))
            vmc_strv_add(&e->jobs, libvirt_xml_attr_at(device, "target", "dev"));
        const xmlNode *target = libvirt_xml_is(device, "channel") ? libvirt_xml_child(device, "target") : NULL;
        if (libvirt_xml_attr_is(target, "name", "org.qemu.guest_agent.0"))
            e->agent = libvirt_xml_attr_is(target, "state", "connected");
    }
}

static void describe(entry *e, const char *config, const char *live) {
    forget_description(e);
    if (!config)
        return;
    e->config = sum_of(config);
    e->described = true;
    LIBVIRT_AUTO_XML *doc = NULL;
    if (live && libvirt_xml_parse(live, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) == 0)
        read_devices(xmlDocGetRootElement(doc), e);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

typedef struct document_args {
    virDomainPtr domains[BATCH];
    char *config[BATCH], *live[BATCH];
    bool running[BATCH];
    int count;
} document_args;

static void document_drop(void *opaque) {
    document_args *args = opaque;
    for (int i = 0; i < args->count; i++) {
        virDomainFree(args->domains[i]);
        free(args->config[i]);
        free(args->live[i]);
    }
    free(args);
}

static int document_work(void *opaque) {
    document_args *args = opaque;
    for (int i = 0; i < args->count; i++) {
        args->config[i] = virDomainGetXMLDesc(args->domains[i], VIR_DOMAIN_XML_INACTIVE);
        if (args->running[i])
            args->live[i] = virDomainGetXMLDesc(args->domains[i], 0);
    }
    virResetLastError(); /* one that vanished meanwhile stays without */
    return 0;
}

typedef struct stock_args {
    virConnectPtr virt;
    virDomainStatsRecordPtr *records;
    int count;
    libvirt_saved saved;
    char uuid[VIR_UUID_STRING_BUFLEN]; /* of the one that is asked for; "": all */
    bool absent, saved_one;
} stock_args;

static void stock_drop(void *opaque) {
    stock_args *args = opaque;
    if (args->records)
        virDomainStatsRecordListFree(args->records);
    libvirt_saved_free(&args->saved);
    free(args);
}

static int ask_one(stock_args *args, unsigned flags) {
    virDomainPtr one[] = {virDomainLookupByUUIDString(args->virt, args->uuid), NULL};
    args->absent = !one[0] && virGetLastErrorCode() == VIR_ERR_NO_DOMAIN;
    if (!one[0])
        return args->absent ? 0 : -1;
    args->count = virDomainListGetStats(one, VIR_DOMAIN_STATS_STATE, &args->records, flags);
    args->saved_one =
        args->count == 1 && virDomainIsActive(one[0]) == 0 && virDomainHasManagedSaveImage(one[0], 0) == 1;
    virDomainFree(one[0]);
    return args->count < 0 ? -1 : 0;
}

static int stock_work(void *opaque) {
    stock_args *args = opaque;
    const unsigned flags = VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    if (*args->uuid)
        return ask_one(args, flags);
    args->count = virConnectGetAllDomainStats(args->virt, VIR_DOMAIN_STATS_STATE, &args->records, flags);
    return args->count < 0 ? -1 : libvirt_saved_ask(args->virt, &args->saved);
}

static entry *read_record(table *t, const virDomainStatsRecord *record, bool saved) {
    char uuid[VIR_UUID_STRING_BUFLEN];
    libvirt_summary summary;
    libvirt_summary_read(record, &summary);
    libvirt_uuid_text(record->dom, uuid);
    entry *e = ensure(t, uuid, virDomainGetName(record->dom));
    e->state = libvirt_state(summary.state, summary.reason, saved, &e->reason);
    const unsigned run = virDomainGetID(record->dom);
    e->run = run == (unsigned)-1 ? -1 : (int)run;
    return e;
}

static int describe_batch(table *t, document_args *args, libvirt_conn *conn, const vmc_deadline *deadline,
                          vmctl_error **err) {
    int code = libvirt_call(conn, deadline, "reading the domains' XML", document_work, args, document_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    for (int i = 0; code == 0 && i < args->count; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        libvirt_uuid_text(args->domains[i], uuid);
        entry *e = *place(t, uuid);
        if (e)
            describe(e, args->config[i], args->live[i]);
    }
    document_drop(args);
    return code;
}

/* The records that are wanted, some at a time: their documents need memory. */
static int describe_all(libvirt_stock *stock, const stock_args *all, libvirt_conn *conn, const vmc_deadline *deadline,
                        vmctl_error **err) {
    int code = 0;
    for (int i = 0; code == 0 && i < all->count;) {
        document_args *args = vmc_alloc(sizeof *args);
        for (; i < all->count && args->count < BATCH; i++) {
            virDomainPtr domain = all->records[i]->dom;
            char uuid[VIR_UUID_STRING_BUFLEN];
            libvirt_uuid_text(domain, uuid);
            const entry *e = find(&stock->now, uuid);
            if (!e || !libvirt_stock_wants(stock, e->name, uuid))
                continue;
            virDomainRef(domain);
            args->running[args->count] = e->run >= 0;
            args->domains[args->count++] = domain;
        }
        code = describe_batch(&stock->now, args, conn, deadline, err);
    }
    return code;
}

int libvirt_stock_take(libvirt_stock *stock, libvirt_conn *conn, bool briefly, const vmc_deadline *deadline,
                       vmctl_error **err) {
    stock_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    int code = libvirt_call(conn, deadline, "listing the domains", stock_work, args, stock_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (code == 0) {
        clear(&stock->before);
        stock->before = stock->now;
        stock->now = (table){{NULL}};
        for (int i = 0; i < args->count; i++) {
            const entry *e =
                read_record(&stock->now, args->records[i], libvirt_saved_has(&args->saved, args->records[i]->dom));
            if (vmc_str_eq(stock->only, e->name))
                memcpy(stock->only_uuid, e->uuid, sizeof e->uuid);
        }
        if (!briefly)
            code = describe_all(stock, args, conn, deadline, err);
    }
    stock_drop(args);
    return code;
}

typedef struct settled_args {
    virConnectPtr virt;
    vmc_strv running; /* UUIDs */
    bool settled;
} settled_args;

static void settled_drop(void *opaque) {
    settled_args *args = opaque;
    vmc_strv_free(&args->running);
    free(args);
}

/* A domain that is being taken up has a job. One that is said to run and does not has changed since. */
static int settled_work(void *opaque) {
    settled_args *args = opaque;
    for (size_t i = 0; args->settled && i < args->running.count; i++) {
        virDomainControlInfo info = {0};
        virDomainPtr domain = virDomainLookupByUUIDString(args->virt, args->running.items[i]);
        args->settled = domain && virDomainGetControlInfo(domain, &info, 0) == 0 && info.state == VIR_DOMAIN_CONTROL_OK;
        if (!args->settled && (virGetLastErrorCode() == VIR_ERR_NO_SUPPORT || info.state == VIR_DOMAIN_CONTROL_ERROR))
            args->settled = true; /* a driver that takes nothing up; a monitor that stays broken */
        if (domain)
            virDomainFree(domain);
    }
    virResetLastError();
    return 0;
}

int libvirt_stock_settled(const libvirt_stock *stock, libvirt_conn *conn, bool *settled, const vmc_deadline *deadline,
                          vmctl_error **err) {
    settled_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    args->settled = true;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const entry *e = stock->now.buckets[i]; e; e = e->next)
            if (e->run >= 0 && libvirt_stock_wants(stock, e->name, e->uuid))
                vmc_strv_add(&args->running, e->uuid);
    int code =
        libvirt_call(conn, deadline, "asking what the daemon has taken up", settled_work, args, settled_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    *settled = args->settled;
    settled_drop(args);
    return code;
}

/* --- telling -------------------------------------------------------------------------------------------------------- */

static int tell_list(const entry *e, const vmc_strv *keys, const vmc_strv *words, const vmc_strv *others,
                     vmctl_event_kind kind, const char *what, libvirt_stock_tell tell, void *user) {
    for (size_t i = 0; i < keys->count; i++) {
        if (vmc_strv_has(others, keys->items[i]))
            continue;
        VMC_AUTO_FREE char *detail = vmc_printf("%s%s", words->items[i], what);
        if (tell(kind, e->name, e->uuid, VMCTL_STATE_UNKNOWN, detail, user))
            return 1;
    }
    return 0;
}

static int tell_description(const entry *was, const entry *is, libvirt_stock_tell tell, void *user) {
    if (!was->described || !is->described)
        return 0;
    if (was->config != is->config && vmc_str_eq(was->name, is->name) &&
        tell(VMCTL_EVENT_DEFINED, is->name, is->uuid, VMCTL_STATE_UNKNOWN, "changed", user))
        return 1;
    if (was->run < 0 || was->run != is->run)
        return 0; /* another run has other devices, and none came or went */
    if (tell_list(is, &is->aliases, &is->names, &was->aliases, VMCTL_EVENT_DEVICE, " added", tell, user) ||
        tell_list(is, &was->aliases, &was->names, &is->aliases, VMCTL_EVENT_DEVICE, " removed", tell, user) ||
        tell_list(is, &was->jobs, &was->jobs, &is->jobs, VMCTL_EVENT_JOB, ": ended", tell, user))
        return 1;
    return was->agent != is->agent && tell(VMCTL_EVENT_AGENT, is->name, is->uuid, VMCTL_STATE_UNKNOWN,
                                           is->agent ? "connected" : "disconnected", user);
}

static int tell_difference(const entry *was, const entry *is, libvirt_stock_tell tell, void *user) {
    if (!was && tell(VMCTL_EVENT_DEFINED, is->name, is->uuid, is->state, "added", user))
        return 1;
    if (was && !vmc_str_eq(was->name, is->name)) {
        VMC_AUTO_FREE char *detail = vmc_printf("renamed from %s", was->name);
        if (tell(VMCTL_EVENT_DEFINED, is->name, is->uuid, VMCTL_STATE_UNKNOWN, detail, user))
            return 1;
    }
    /* Stopped and started again: the state alone does not show it. */
    bool again = was && was->run >= 0 && is->run >= 0 && was->run != is->run;
    if (again && tell(VMCTL_EVENT_STATE, is->name, is->uuid, VMCTL_STATE_STOPPED, NULL, user))
        return 1;
    if ((!was || again || was->state != is->state) &&
        tell(VMCTL_EVENT_STATE, is->name, is->uuid, is->state, is->reason, user))
        return 1;
    return was ? tell_description(was, is, tell, user) : 0;
}

int libvirt_stock_differences(const libvirt_stock *stock, libvirt_stock_tell tell, void *user) {
    for (size_t i = 0; i < BUCKETS; i++)
        for (const entry *is = stock->now.buckets[i]; is; is = is->next)
            if (tell_difference(find(&stock->before, is->uuid), is, tell, user))
                return 1;
    for (size_t i = 0; i < BUCKETS; i++)
        for (const entry *was = stock->before.buckets[i]; was; was = was->next)
            if (!find(&stock->now, was->uuid) &&
                tell(VMCTL_EVENT_DELETED, was->name, was->uuid, VMCTL_STATE_UNKNOWN, "removed", user))
                return 1;
    return 0;
}

int libvirt_stock_states(const libvirt_stock *stock, libvirt_stock_tell tell, void *user) {
    for (size_t i = 0; i < BUCKETS; i++)
        for (const entry *is = stock->now.buckets[i]; is; is = is->next)
            if (tell(VMCTL_EVENT_STATE, is->name, is->uuid, is->state, is->reason, user))
                return 1;
    return 0;
}

/* --- events ----------------------------------------------------------------------------------------------------------- */

static int refresh_one(libvirt_stock *stock, const char *uuid, libvirt_conn *conn, const vmc_deadline *deadline,
                       vmctl_error **err) {
    stock_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    memcpy(args->uuid, uuid, sizeof args->uuid);
    int code = libvirt_call(conn, deadline, "looking at a domain", stock_work, args, stock_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    /* What was not told yet stays to be told: an event that is on its way may never come. So one that is gone is kept, too. */
    const entry *known = find(&stock->now, uuid);
    const entry told = known ? *known : (entry){.state = VMCTL_STATE_UNKNOWN, .run = -1};
    if (code == 0 && args->count == 1) {
        entry *e = read_record(&stock->now, args->records[0], args->saved_one);
        if (told.state != VMCTL_STATE_UNKNOWN) {
            e->state = told.state;
            e->reason = told.reason;
            e->run = e->run < 0 ? told.run : e->run;
        }
        code = describe_all(stock, args, conn, deadline, err);
    }
    stock_drop(args);
    return code;
}

/* "data added", with the name that vmctl has for the device; NULL: none that differs from libvirt's. */
static char *name_device(const entry *e, const libvirt_event *event) {
    const char *words = strchr(event->detail, ' ');
    for (size_t i = 0; words && i < e->aliases.count; i++)
        if (vmc_str_eq(e->aliases.items[i], event->alias))
            return vmc_printf("%s%s", e->names.items[i], words);
    return NULL;
}

char *libvirt_stock_note(libvirt_stock *stock, const libvirt_event *event, libvirt_conn *conn,
                         const vmc_deadline *deadline) {
    entry **at = place(&stock->now, event->uuid);
    char *better = NULL;
    if (event->kind == VMCTL_EVENT_DELETED) {
        if (*at)
            drop(at);
        return NULL;
    }
    if (*at && event->kind == VMCTL_EVENT_DEFINED && !vmc_str_eq((*at)->name, event->name))
        better = vmc_printf("renamed from %s", (*at)->name);
    entry *e = ensure(&stock->now, event->uuid, event->name);
    e->stale = true;
    if (event->state != VMCTL_STATE_UNKNOWN)
        e->state = event->state;
    if (event->state == VMCTL_STATE_STOPPED || event->state == VMCTL_STATE_SAVED || event->state == VMCTL_STATE_CRASHED)
        e->run = -1;
    if (!event->alias || !event->detail || !libvirt_stock_wants(stock, event->name, event->uuid))
        return better;
    better = name_device(e, event);
    /* One that came is in the document by now. */
    if (!better && refresh_one(stock, event->uuid, conn, deadline, NULL) == 0 && *place(&stock->now, event->uuid))
        better = name_device(*place(&stock->now, event->uuid), event);
    return better;
}

int libvirt_stock_refresh(libvirt_stock *stock, libvirt_conn *conn, const vmc_deadline *deadline, vmctl_error **err) {
    for (size_t i = 0; i < BUCKETS; i++) {
        for (entry *e = stock->now.buckets[i], *next; e; e = next) {
            next = e->next;
            if (!e->stale)
                continue;
            e->stale = false;
            if (!libvirt_stock_wants(stock, e->name, e->uuid))
                continue;
            char uuid[VIR_UUID_STRING_BUFLEN];
            memcpy(uuid, e->uuid, sizeof uuid);
            int code = refresh_one(stock, uuid, conn, deadline, err);
            if (code < 0)
                return code;
        }
    }
    return 0;
}
