/* backends/libvirt/migrate.c - moving a VM to another libvirt: looked at, prepared, moved, verified. Source: libvirt's migration.html. */
#include "migrate.h"

#include "ops.h"
#include "rpc.h"
#include <stdlib.h>
#include <string.h>

enum { ABORT_MS = 60000, AFTER_MS = 30000 };

#define MIB (1024ULL * 1024)

/* --- the VM at the source ------------------------------------------------------------------------------------- */

typedef struct read_args {
    virDomainPtr domain;
    libvirt_migrate_vm vm;
} read_args;

void libvirt_migrate_vm_free(libvirt_migrate_vm *vm) {
    free(vm->xml);
    free(vm->config);
    xmlFreeDoc(vm->doc);
    *vm = (libvirt_migrate_vm){0};
}

static void read_drop(void *opaque) {
    read_args *args = opaque;
    libvirt_migrate_vm_free(&args->vm);
    virDomainFree(args->domain);
    free(args);
}

/* What the test driver and older ones do not know counts as none. */
static int number_of(int answer) {
    if (answer < 0)
        virResetLastError();
    return answer < 0 ? 0 : answer;
}

static int read_work(void *opaque) {
    read_args *args = opaque;
    libvirt_migrate_vm *vm = &args->vm;
    virDomainPtr domain = args->domain;
    int autostart = 0;
    int active = virDomainIsActive(domain);
    int persistent = virDomainIsPersistent(domain);
    if (active < 0 || persistent < 0 || virDomainGetState(domain, &vm->state, &vm->reason, 0) < 0 ||
        virConnectGetLibVersion(virDomainGetConnect(domain), &vm->libvirt_version) < 0)
        return -1;
    vm->active = active == 1;
    vm->persistent = persistent == 1;
    if (vm->persistent) {
        vm->config = virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_INACTIVE | VIR_DOMAIN_XML_SECURE);
        if (!vm->config || virDomainGetAutostart(domain, &autostart) < 0)
            return -1;
        vm->autostart = autostart == 1;
        vm->saved = !vm->active && number_of(virDomainHasManagedSaveImage(domain, 0)) == 1;
    }
    vm->xml = vm->active ? virDomainGetXMLDesc(domain, VIR_DOMAIN_XML_SECURE | VIR_DOMAIN_XML_MIGRATABLE)
                         : strdup(vm->config ? vm->config : "");
    if (!vm->xml)
        return -1;
    vm->snapshots = number_of(virDomainSnapshotNum(domain, 0));
    vm->checkpoints = number_of(virDomainListAllCheckpoints(domain, NULL, 0));
    if (vm->active && libvirt_job_read(domain, &vm->job) < 0)
        virResetLastError();
    return 0;
}

int libvirt_migrate_vm_read(libvirt_conn *conn, const libvirt_vm *vm, const vmc_deadline *deadline,
                            libvirt_migrate_vm *out, vmctl_error **err) {
    read_args *args = vmc_alloc(sizeof *args);
    virDomainRef(vm->domain);
    args->domain = vm->domain;
    int code = libvirt_call(conn, deadline, "reading the domain", read_work, args, read_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (code == 0)
        code = libvirt_xml_parse(args->vm.xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &args->vm.doc, NULL, err);
    if (code == 0) {
        *out = args->vm;
        args->vm = (libvirt_migrate_vm){0};
    }
    read_drop(args);
    return code;
}

/* --- the way there -------------------------------------------------------------------------------------------- */

typedef struct moving {
    libvirt_conn *source, *target; /* target: with keep-alive */
    libvirt_vm *vm;
    const vmctl_migrate_options *options;
    const vmc_deadline *deadline;
    libvirt_migrate_vm facts;
    libvirt_migrate_how how;
    libvirt_move_files files;
    libvirt_obstacles obstacles;
    bool peer; /* peer to peer */
} moving;

static bool is_here(const char *uri) {
    return strstr(uri, ":///") != NULL;
}

/* Whether the source's daemon can connect to the target as well as this process does. *why says what decided. */
static bool can_reach(const libvirt_conn *source, const libvirt_conn *target, const char **why) {
    static const char *const own[] = {"+ssh:", "+libssh:", "+libssh2:", "+ext:", NULL};
    for (size_t i = 0; own[i]; i++)
        if (strstr(target->uri, own[i])) {
            *why = "the target is reached with this user's own SSH";
            return false;
        }
    *why = "the target was opened with a password";
    if (target->password)
        return false;
    *why = "the target's URI means something else to the source's daemon";
    return !is_here(target->uri) || (source->local && !source->session && !target->session);
}

static void choose_way(moving *m) {
    const char *why = NULL;
    m->peer = m->how.live && (m->options->tunnelled || can_reach(m->source, m->target, &why));
    if (m->options->tunnelled)
        vmc_note(m->deadline, VMCTL_NOTE_INFO, "the guest's memory goes through the daemons' own connection");
    else if (m->peer)
        vmc_note(m->deadline, VMCTL_NOTE_INFO, "peer to peer: the source's daemon does it");
    else if (m->how.live)
        vmc_note(m->deadline, VMCTL_NOTE_INFO, "direct: this process leads both daemons, as %s", why);
}

/* --- looking -------------------------------------------------------------------------------------------------- */

int libvirt_migrate_check_mode(const char *name, const libvirt_migrate_vm *facts, const vmctl_migrate_options *o,
                               vmctl_error **err) {
    if (libvirt_job_is(&facts->job, VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT)) {
        vmc_error(err, VMCTL_E_BUSY, "%s is being migrated already", name);
        vmc_error_retryable(err);
        return vmc_error_next(err, "wait for its end, or stop it with vmctl migrate --abort %s", name);
    }
    if (o->mode == VMCTL_MIGRATE_LIVE && !facts->active) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s does not run", name);
        return vmc_error_next(err, "vmctl start %s, or leave --live out", name);
    }
    if (o->mode == VMCTL_MIGRATE_OFFLINE && facts->active) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is running", name);
        return vmc_error_next(err, "stop it first (vmctl stop %s), or leave --offline out", name);
    }
    if (!facts->active && (o->postcopy || o->auto_converge || o->tunnelled))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "%s is for a VM that runs, and %s is stopped",
                         o->postcopy        ? "post-copy"
                         : o->auto_converge ? "auto-converge"
                                            : "tunnelling",
                         name);
    return 0;
}

/* Tells each; the fatal ones become the error. */
static int deliver(const moving *m, vmctl_error **err) {
    VMC_AUTO_STRV fatal = {0};
    const libvirt_obstacle *first = NULL;
    for (size_t i = 0; i < m->obstacles.count; i++) {
        const libvirt_obstacle *o = &m->obstacles.items[i];
        vmctl_obstacle told = {sizeof told, o->fatal, o->what, o->reason, o->remedy};
        if (m->options->obstacle && m->options->obstacle(&told, m->options->user) != 0)
            return vmc_error(err, VMCTL_E_CANCELLED, "cancelled looking for obstacles");
        if (!o->fatal)
            continue;
        vmc_strv_add(&fatal, o->reason);
        if (!first)
            first = o;
    }
    if (!first)
        return 0;
    VMC_AUTO_FREE char *all = vmc_strv_join(&fatal, "; ");
    vmc_error(err, first->code, "%s; nothing was touched", all);
    return first->remedy ? vmc_error_next(err, "%s", first->remedy) : first->code;
}

static int look(moving *m, vmctl_error **err) {
    int code = libvirt_migrate_vm_read(m->source, m->vm, m->deadline, &m->facts, err);
    if (code == 0)
        code = libvirt_migrate_check_mode(m->vm->name, &m->facts, m->options, err);
    if (code < 0)
        return code;
    m->how = (libvirt_migrate_how){.live = m->facts.active,
                                   .storage = m->options->storage,
                                   .tunnelled = m->options->tunnelled,
                                   .postcopy = m->options->postcopy,
                                   .unsafe = m->options->unsafe};
    libvirt_migrate_check_vm(m->vm->name, &m->facts, &m->how, &m->obstacles);
    code = libvirt_migrate_check_target(m->source, m->target, m->vm->name, m->vm->uuid, &m->facts, &m->how, m->deadline,
                                        &m->obstacles, err);
    bool same_host =
        m->obstacles.count > 0 && strcmp(m->obstacles.items[m->obstacles.count - 1].what, "same-host") == 0;
    if (code == 0 && !same_host)
        code = libvirt_move_files_plan(m->source, m->target, m->vm, &m->facts, &m->how, m->deadline, &m->files,
                                       &m->obstacles, err);
    return code < 0 ? code : deliver(m, err);
}

/* --- moving --------------------------------------------------------------------------------------------------- */

static unsigned flags_of(const moving *m) {
    const vmctl_migrate_options *o = m->options;
    unsigned flags = VIR_MIGRATE_LIVE | VIR_MIGRATE_ABORT_ON_ERROR;
    flags |= m->facts.persistent ? VIR_MIGRATE_PERSIST_DEST | VIR_MIGRATE_UNDEFINE_SOURCE : 0u;
    flags |= o->auto_converge ? VIR_MIGRATE_AUTO_CONVERGE : 0u;
    flags |= o->postcopy ? VIR_MIGRATE_POSTCOPY : 0u;
    flags |= o->tunnelled ? VIR_MIGRATE_TUNNELLED : 0u;
    flags |= o->unsafe ? VIR_MIGRATE_UNSAFE : 0u;
    return flags;
}

/* The source's daemon could not connect: it has touched nothing. */
static bool peer_failed(const vmctl_error *why) {
    const char *words = vmctl_error_hypervisor_message(why);
    return words && (strstr(words, "ailed to connect to remote libvirt") || strstr(words, "to the same host"));
}

static int run_job(moving *m, vmctl_error **err) {
    VMC_AUTO_FREE char *dest = m->files.moved ? libvirt_move_files_xml(&m->files, m->facts.xml) : NULL;
    VMC_AUTO_FREE char *persist =
        m->files.moved && m->facts.persistent ? libvirt_move_files_xml(&m->files, m->facts.config) : NULL;
    if (!m->how.live)
        return libvirt_migrate_offline(m->source, m->target, m->vm, persist ? persist : m->facts.config,
                                       m->facts.autostart, m->deadline, err);
    const char *uri = m->options->migrate_uri;
    libvirt_migrate_job job = {
        .source = m->source,
        .target = m->peer ? NULL : m->target,
        .uri = m->target->uri,
        .domain = m->vm->domain,
        .name = m->vm->name,
        .flags = flags_of(m) | (m->peer ? VIR_MIGRATE_PEER2PEER : 0u),
        .dest_xml = dest,
        .persist_xml = persist,
        .migrate_uri = uri,
        .bandwidth_mib = (m->options->bandwidth_bytes + MIB - 1) / MIB,
        .postcopy = m->options->postcopy,
    };
    unsigned long long memory = 0;
    libvirt_xml_bytes(libvirt_xml_find(xmlDocGetRootElement(m->facts.doc), "memory"), 1024, &memory);
    job.memory_bytes = memory;
    for (size_t i = 0; i < m->files.count; i++)
        if (m->files.items[i].written)
            vmc_strv_add(&job.disks, m->files.items[i].target);
    VMC_AUTO_FREE char *disks_uri = NULL;
    if (job.disks.count > 0) {
        job.flags |= VIR_MIGRATE_NON_SHARED_DISK;
        /* One socket each: QEMU's disks go over a connection of their own. */
        disks_uri = uri && vmc_starts_with(uri, "unix:") ? vmc_printf("%s-disks", uri) : NULL;
        job.disks_uri = disks_uri;
    }
    vmctl_error *why = NULL;
    int code = libvirt_migrate_job_run(&job, m->deadline, &why);
    if (code < 0 && m->peer && !m->options->tunnelled && peer_failed(why)) {
        vmc_note(m->deadline, VMCTL_NOTE_INFO,
                 "direct: this process leads both daemons, as the source's cannot connect to the target");
        vmctl_error_free(why);
        why = NULL;
        job.flags &= ~(unsigned)VIR_MIGRATE_PEER2PEER;
        job.target = m->target;
        code = libvirt_migrate_job_run(&job, m->deadline, &why);
    }
    vmc_error_move(code < 0 ? err : NULL, &why);
    vmc_strv_free(&job.disks);
    return code;
}

/* After a failure: the VM goes on at the source, or the error says how it stands. */
static void come_back(moving *m, const char *note, vmc_journal *journal, size_t mark, vmctl_error **err) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + AFTER_MS};
    vmctl_error *why = NULL;
    int state = 0;
    /* What fails here stays noted: the dispatcher tries it once more, and tells it. */
    if (libvirt_conn_renew(m->source, &patient, &why) == 0 &&
        libvirt_migrate_settle(m->source, false, note, &patient, &why) == 0 &&
        vmc_journal_drop(journal, mark, &why) == 0 &&
        libvirt_vm_state(m->source, m->vm, &patient, &state, NULL, NULL) == 0)
        vmc_error_append(err, "; %s %s at the source", m->vm->name,
                         state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_BLOCKED ? "goes on"
                         : state == VIR_DOMAIN_PAUSED                               ? "is paused"
                         : m->how.live                                              ? "does not run"
                                                                                    : "stays");
    vmctl_error_free(why);
}

/* name (UUID), number (1: autostart) -> found (it is kept), flags (1: it runs) */
static int work_verify(libvirt_rpc *rpc) {
    rpc->domain = virDomainLookupByUUIDString(rpc->virt, rpc->name);
    if (!rpc->domain)
        return -1;
    rpc->flags = virDomainIsActive(rpc->domain) == 1;
    rpc->found = virDomainIsPersistent(rpc->domain) == 1;
    return rpc->number && rpc->found ? virDomainSetAutostart(rpc->domain, 1) : 0;
}

static void tell_result(const moving *m, bool persistent) {
    if (m->facts.persistent && !persistent)
        vmc_note(m->deadline, VMCTL_NOTE_WARNING, "%s runs on the target without a definition that outlives it",
                 m->vm->name);
    else if (m->facts.persistent)
        vmc_note(m->deadline, VMCTL_NOTE_INFO,
                 "its definition and marker are on the target, autostart %s as it was; the source has neither any more",
                 m->facts.autostart ? "on" : "off");
    for (size_t i = 0; i < m->files.count; i++)
        vmc_note(m->deadline, VMCTL_NOTE_INFO,
                 "%s stays at the source as a copy that nothing uses: delete it when it is not needed",
                 m->files.items[i].path);
}

/* The VM has been moved: nothing from here on makes that a failure. */
static void verify(moving *m) {
    vmc_deadline patient = {.at_ms = vmc_now_ms() + AFTER_MS};
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(m->target);
    vmctl_error *why = NULL;
    rpc->name = vmc_strdup(m->vm->uuid);
    rpc->number = m->facts.autostart;
    if (libvirt_rpc_run(m->target, &patient, "looking for the VM on the target", work_verify, rpc, &why) < 0)
        vmc_note(m->deadline, VMCTL_NOTE_WARNING, "%s has been moved, but on the target: %s", m->vm->name,
                 vmctl_error_message(why));
    else
        tell_result(m, rpc->found);
    vmctl_error_free(why);
}

static int move(moving *m, vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err) {
    VMC_AUTO_FREE char *note = libvirt_migrate_note(m->vm->uuid, &m->facts, m->target->uri);
    VMC_AUTO_FREE char *arriving = libvirt_migrate_note(m->vm->uuid, &m->facts, m->source->uri);
    int code = libvirt_move_files_make(m->source, &m->files, m->how.live, arrivals, err);
    size_t mark = 0;
    if (code == 0)
        code = vmc_journal_add(arrivals, LIBVIRT_NOTE_ARRIVING, arriving, NULL, err);
    if (code == 0)
        code = vmc_journal_add(journal, LIBVIRT_NOTE_MOVING, note, &mark, err);
    if (code < 0)
        return code;
    choose_way(m);
    code = run_job(m, err);
    if (code < 0) {
        come_back(m, note, journal, mark, err);
        return code;
    }
    verify(m);
    return 0;
}

int libvirt_migrate(void *conn, void *vm, void *target, const char *host, const vmctl_migrate_options *options,
                    vmc_journal *journal, vmc_journal *arrivals, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    moving m = {.source = conn, .vm = vm, .options = options, .deadline = &deadline};
    if (!target) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "libvirt knows no cluster: a connection is one host");
        return vmc_error_next(err, "name the other host by its own URI: --to qemu+ssh://root@%s/system",
                              host && *host ? host : "HOST");
    }
    if (m.source->test_driver || ((libvirt_conn *)target)->test_driver)
        return vmc_error(err, VMCTL_E_UNSUPPORTED, "libvirt's test driver has no VM that could be moved");
    /* With keep-alive, so that a target that falls silent ends what waits for it. */
    int code = libvirt_conn_sibling(target, true, &deadline, &m.target, err);
    if (code < 0)
        return code;
    code = look(&m, err);
    if (code == 0 && !options->dry_run)
        code = move(&m, journal, arrivals, err);
    libvirt_move_files_free(&m.files);
    libvirt_obstacles_free(&m.obstacles);
    libvirt_migrate_vm_free(&m.facts);
    libvirt_conn_free(m.target);
    return code;
}

int libvirt_migrate_abort(void *conn, void *vm, const vmctl_call *call, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, ABORT_MS);
    return libvirt_migrate_job_abort(conn, vm, &deadline, err);
}
