/* All VMs of an endpoint. VBoxManage tells which of them run, and takes its time; meanwhile the settings of a batch of VMs are read by as many
 * threads as there are CPUs, up to a few. */
#include "facts.h"
#include "media.h"
#include "processes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIST_MS = 60000, BATCH = 512, MOST_THREADS = 4, WORTH_A_THREAD = 16 };

static int deliver_inaccessible(const vboxmanage_entry *entry, const char *why, const vmctl_list_options *options,
                                vmctl_vm_info_fn each, void *user) {
    if ((options->name && strcmp(options->name, VBOXMANAGE_INACCESSIBLE) != 0) || options->owner ||
        options->label_count || (options->states && !(options->states & (1u << VMCTL_STATE_UNKNOWN))))
        return 0;
    const vmctl_vm_info info = {.size = sizeof info,
                                .present = VMCTL_FACT_STATE,
                                .name = VBOXMANAGE_INACCESSIBLE,
                                .id = entry->id,
                                .backend = "virtualbox",
                                .state_reason = why,
                                .autostart = -1,
                                .agent_connected = -1,
                                .uptime_seconds = -1,
                                .restart_required = -1};
    return each(&info, user) != 0;
}

/* --- reading ahead ----------------------------------------------------------------------------------------------------- */

typedef struct slot {
    vboxmanage_machine *machine;
    vmctl_error *why; /* instead */
    struct timespec written;
    ino_t inode;
} slot;

typedef struct batch {
    const virtualbox_conn *conn;
    const vboxmanage_entry *entries;
    slot *slots;
    size_t count;
    atomic_size_t next;
} batch;

static void read_slot(const virtualbox_conn *conn, const vboxmanage_entry *entry, const vmc_deadline *deadline,
                      slot *to) {
    struct stat st = {0};
    if (conn->manage->host) {
        vboxmanage_machine_read(conn->manage, entry->settings, deadline, &to->machine, &to->why);
        return;
    }
    (void)stat(entry->settings, &st);
    to->written = st.st_mtim;
    to->inode = st.st_ino;
    vboxmanage_machine_read(conn->manage, entry->settings, deadline, &to->machine, &to->why);
}

static void *read_some(void *user) {
    batch *b = user;
    size_t i = 0;
    while ((i = atomic_fetch_add(&b->next, 1)) < b->count)
        read_slot(b->conn, &b->entries[i], NULL, &b->slots[i]);
    return NULL;
}

static void clear_slot(slot *s) {
    vboxmanage_machine_free(s->machine);
    vmctl_error_free(s->why);
    *s = (slot){0};
}

/* Of another host: all in one go. */
static int fetch_batch(batch *b, const vmc_deadline *deadline, vmctl_error **err) {
    const char *paths[BATCH];
    char *texts[BATCH] = {NULL};
    size_t lengths[BATCH] = {0};
    for (size_t i = 0; i < b->count; i++)
        paths[i] = b->entries[i].settings;
    int code = vboxmanage_settings_texts(b->conn->manage, paths, b->count, deadline, texts, lengths, err);
    for (size_t i = 0; i < b->count; i++) {
        slot *to = &b->slots[i];
        if (texts[i])
            vboxmanage_machine_parse(b->conn->manage, paths[i], texts[i], lengths[i], &to->machine, &to->why);
        else
            vmc_error(&to->why, VMCTL_E_NOT_FOUND, "%s cannot be read", paths[i]);
        free(texts[i]);
    }
    return code;
}

static void read_batch(batch *b) {
    pthread_t helpers[MOST_THREADS];
    size_t count = 0;
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    while (count + 1 < MOST_THREADS && (long)count + 1 < cpus && b->count > (count + 1) * WORTH_A_THREAD &&
           pthread_create(&helpers[count], NULL, read_some, b) == 0)
        count++;
    read_some(b);
    for (size_t i = 0; i < count; i++)
        pthread_join(helpers[i], NULL);
}

/* --- the states ---------------------------------------------------------------------------------------------------------- */

typedef struct asking {
    virtualbox_conn *conn;
    const vboxmanage_registry *registry;
    vmc_deadline deadline; /* silent: callbacks are the caller's thread's */
    vboxmanage_properties states;
    vmctl_error *why;
    int code;
    pthread_t thread;
    bool started;
} asking;

static void *ask(void *user) {
    asking *a = user;
    a->code = virtualbox_states(a->conn, a->registry, NULL, &a->deadline, &a->states, &a->why);
    return NULL;
}

static void begin_asking(asking *a) {
    a->started = pthread_create(&a->thread, NULL, ask, a) == 0;
    if (!a->started)
        ask(a);
}

static int end_asking(asking *a, vmctl_error **err) {
    if (a->started)
        pthread_join(a->thread, NULL);
    a->started = false;
    vmc_error_move(a->code < 0 ? err : NULL, &a->why);
    return a->code;
}

/* --- list ------------------------------------------------------------------------------------------------------------------ */

static int deliver(virtualbox_conn *conn, const vmc_deadline *deadline, const vboxmanage_registry *registry,
                   const vboxmanage_entry *entry, slot *s, const vboxmanage_properties *states,
                   const vmctl_list_options *options, vmctl_vm_info_fn each, void *user) {
    unsigned facts = options->facts ? options->facts : VMCTL_FACTS_LIST;
    const char *native = vboxmanage_property_get(states, entry->id);
    const char *reason = NULL;
    struct stat st;
    /* Read before the states were told: what was written since (a VM that was saved meanwhile) is read again. */
    if (!native && !conn->manage->host && stat(entry->settings, &st) == 0 &&
        (st.st_ino != s->inode || st.st_mtim.tv_sec != s->written.tv_sec || st.st_mtim.tv_nsec != s->written.tv_nsec)) {
        clear_slot(s);
        read_slot(conn, entry, deadline, s);
    }
    if (!s->machine && s->why && vmctl_error_code(s->why) == VMCTL_E_UNSUPPORTED)
        virtualbox_describe(conn, entry->id, deadline, &s->machine, NULL);
    if (!s->machine)
        return deliver_inaccessible(entry, s->why ? vmctl_error_message(s->why) : NULL, options, each, user);
    if (facts & VMCTL_FACT_DEVICES)
        virtualbox_media_complete(conn, registry, s->machine, deadline);
    vmctl_state state = native ? virtualbox_state(native, &reason) : virtualbox_state_at_rest(s->machine, &reason);
    return virtualbox_facts_deliver(s->machine, state, reason, NULL, facts, options, each, user);
}

static int list_all(virtualbox_conn *conn, const vboxmanage_registry *registry, asking *states,
                    const vmctl_list_options *options, const vmc_deadline *deadline, vmctl_vm_info_fn each, void *user,
                    vmctl_error **err) {
    VMC_AUTO_FREE slot *slots = vmc_alloc(BATCH * sizeof *slots);
    int code = 0;
    bool stop = false;
    for (size_t first = 0; code == 0 && !stop && first < registry->count; first += BATCH) {
        batch b = {
            .conn = conn, .entries = registry->entries + first, .slots = slots, .count = registry->count - first};
        if (b.count > BATCH)
            b.count = BATCH;
        /* What is read there is read after the states were told. */
        if (!conn->manage->host)
            read_batch(&b);
        code = end_asking(states, err);
        if (code == 0 && conn->manage->host)
            code = fetch_batch(&b, deadline, err);
        for (size_t i = 0; code == 0 && !stop && i < b.count; i++) {
            stop =
                deliver(conn, deadline, registry, &b.entries[i], &slots[i], &states->states, options, each, user) != 0;
            if (!stop)
                code = vmc_deadline_check(deadline, "listing the VMs", err);
        }
        for (size_t i = 0; i < b.count; i++)
            clear_slot(&slots[i]);
        states->code = 0;
    }
    return code;
}

int virtualbox_list(void *opaque, const vmctl_list_options *options, vmctl_vm_info_fn each, void *user,
                    vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(options->call, LIST_MS);
    vboxmanage_registry registry = {0};
    asking states = {
        .conn = conn, .registry = &registry, .deadline = {.at_ms = deadline.at_ms, .cancel = deadline.cancel}};
    int code = virtualbox_registry(conn, &deadline, &registry, err);
    if (code < 0)
        return code;
    begin_asking(&states);
    code = list_all(conn, &registry, &states, options, &deadline, each, user, err);
    int asked = end_asking(&states, code == 0 ? err : NULL);
    vboxmanage_properties_free(&states.states);
    vboxmanage_registry_free(&registry);
    return code < 0 ? code : asked;
}
