/* backends/libvirt/snapshot_make.c - taking a snapshot, and giving one another name. */
#include "ops.h"
#include "rpc.h"
#include "snapshot.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RENAME_MS = 60000, THAW_MS = 30000 };

typedef struct making {
    libvirt_snapshot_scene scene;
    const vmctl_snapshot_create_options *options;
    libvirt_snapshot_kind kind;
    const char *name;
    char *id;
    vmc_journal *journal;
} making;

static libvirt_rpc *rpc_of(const making *m) {
    libvirt_rpc *rpc = libvirt_rpc_new(m->scene.conn);
    virDomainRef(m->scene.vm->domain);
    rpc->domain = m->scene.vm->domain;
    return rpc;
}

/* domain */
static int work_freeze(libvirt_rpc *rpc) {
    return virDomainFSFreeze(rpc->domain, NULL, 0, 0) < 0 ? -1 : 0;
}

/* domain */
static int work_thaw(libvirt_rpc *rpc) {
    return virDomainFSThaw(rpc->domain, NULL, 0, 0) < 0 ? -1 : 0;
}

/* domain, text and flags -> out (the document that became of it) */
static int work_take(libvirt_rpc *rpc) {
    virDomainSnapshotPtr snapshot = virDomainSnapshotCreateXML(rpc->domain, rpc->text, rpc->flags);
    if (!snapshot)
        return -1;
    rpc->out = virDomainSnapshotGetXMLDesc(snapshot, 0);
    virDomainSnapshotFree(snapshot);
    return rpc->out ? 0 : -1;
}

/* QEMU takes a number for its own numbering of snapshots first, and names that were given away by a rename are still libvirt's. */
static char *free_id(const libvirt_snapshots *snapshots, const char *name) {
    bool number = strspn(name, "0123456789") == strlen(name);
    char *id = number ? vmc_printf("snapshot-%s", name) : vmc_strdup(name);
    for (int i = 2;; i++) {
        bool taken = false;
        for (size_t k = 0; !taken && k < snapshots->count; k++)
            taken = vmc_str_eq(snapshots->items[k].id, id);
        if (!taken)
            return id;
        free(id);
        id = vmc_printf("%s.%d", name, i);
    }
}

static char *request(const making *m) {
    xmlDoc *doc = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *root = xmlNewNode(NULL, (const xmlChar *)"domainsnapshot");
    xmlDocSetRootElement(doc, root);
    libvirt_xml_add_text(root, "name", m->id);
    if (m->options->description && *m->options->description)
        libvirt_xml_add_text(root, "description", m->options->description);
    char *text = libvirt_xml_text(doc);
    xmlFreeDoc(doc);
    return text;
}

static int thaw(const making *m, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = rpc_of(m);
    return libvirt_rpc_run(m->scene.conn, deadline, "thawing the guest's file systems", work_thaw, rpc, err);
}

static const char *const stages[] = {
    [LIBVIRT_SNAPSHOT_MEMORY] = "taking the disks and the memory",
    [LIBVIRT_SNAPSHOT_DISKS] = "taking the disks",
    [LIBVIRT_SNAPSHOT_OVERLAYS] = "beginning overlays on the disks",
};

static int take(const making *m, char **document, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = rpc_of(m);
    rpc->text = request(m);
    if (m->kind == LIBVIRT_SNAPSHOT_OVERLAYS)
        rpc->flags = VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY | VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC |
                     (m->options->quiesce ? VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE : 0u);
    size_t mark = 0;
    VMC_AUTO_FREE char *noted = vmc_printf("%s %lld %s", m->scene.vm->uuid, (long long)time(NULL), m->id);
    int code = vmc_journal_add(m->journal, "snapshot", noted, &mark, err);
    if (code == 0)
        code = vmc_progress(m->scene.deadline, m->scene.vm->name, stages[m->kind], NULL, VMCTL_UNIT_NONE, 0, 0, err);
    if (code == 0)
        code = libvirt_rpc_run(m->scene.conn, m->scene.deadline, stages[m->kind], work_take, rpc, err);
    if (code < 0 && !vmc_outcome_unknown(
                        code)) /* libvirt took back what it began; a snapshot of that name would be somebody else's */
        vmc_journal_drop(m->journal, mark, NULL);
    if (code < 0 && vmc_str_eq(vmctl_error_hypervisor_code(err ? *err : NULL), "VIR_ERR_BLOCK_COPY_ACTIVE"))
        code = vmc_error_recode(err, VMCTL_E_BUSY);
    if (code == 0) {
        *document = rpc->out;
        rpc->out = NULL;
    }
    return code;
}

/* Frozen only for as long as it takes; whatever happens, it is thawed. */
static int take_frozen(const making *m, char **document, vmctl_error **err) {
    const char *vm = m->scene.vm->name;
    size_t mark = 0;
    int code = vmc_journal_add(m->journal, "freeze", m->scene.vm->uuid, &mark, err);
    if (code == 0)
        code =
            vmc_progress(m->scene.deadline, vm, "freezing the guest's file systems", NULL, VMCTL_UNIT_NONE, 0, 0, err);
    if (code == 0) {
        LIBVIRT_AUTO_RPC *rpc = rpc_of(m);
        code = libvirt_rpc_run(m->scene.conn, m->scene.deadline, "freezing the guest's file systems", work_freeze, rpc,
                               err);
    }
    if (code == 0)
        code = take(m, document, err);
    if (vmc_outcome_unknown(code))
        return code; /* the journal thaws it, through another connection */
    vmctl_error *why = NULL;
    vmc_deadline patient = {.at_ms = vmc_now_ms() + THAW_MS};
    if (thaw(m, &patient, &why) == 0) {
        vmc_journal_drop(m->journal, mark, NULL);
    } else if (code == 0) {
        code = vmctl_error_code(why);
        vmc_error_move(err, &why);
        vmc_error_prefix(err, "the guest's file systems stay frozen");
        vmc_error_next(err, "vmctl thaw %s", vm);
    }
    vmctl_error_free(why);
    return code;
}

static int write_note(const making *m, char **document, vmctl_error **err) {
    const libvirt_snapshot_scene *scene = &m->scene;
    bool frozen = m->options->quiesce;
    bool renamed = strcmp(m->id, m->name) != 0;
    if (!frozen && !renamed)
        return 0;
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_snapshot_document(scene->conn, scene->vm, m->id, scene->deadline, &doc, err);
    if (code < 0)
        return code;
    libvirt_snapshot_note_write(doc, renamed ? m->name : NULL, frozen);
    code = libvirt_snapshot_redefine(scene->conn, scene->vm, doc, scene->deadline, err);
    if (code == 0) {
        free(*document);
        *document = libvirt_xml_text(doc);
    }
    return code;
}

/* The present one is the new one's parent, so that the tree is known without asking again. */
static int tell(const making *m, const char *document, vmctl_error **err) {
    VMC_AUTO_STRV documents = {0};
    vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots made = {0};
    if (!m->options->made)
        return 0;
    vmc_strv_add(&documents, document);
    int code = libvirt_snapshots_parse(&documents, m->id, &made, err);
    if (code < 0)
        return code;
    const libvirt_snapshot *parent = NULL;
    for (size_t i = 0; made.items[0].parent && i < m->scene.snapshots.count; i++)
        if (strcmp(m->scene.snapshots.items[i].id, made.items[0].parent) == 0)
            parent = &m->scene.snapshots.items[i];
    libvirt_snapshot both[] = {made.items[0], parent ? *parent : made.items[0]};
    libvirt_snapshots known = {both, parent ? 2 : 1};
    libvirt_snapshot_tell(&known, &both[0], m->options->made, m->options->user);
    return 0;
}

static void warn(const making *m) {
    const libvirt_snapshot_scene *scene = &m->scene;
    VMC_AUTO_FREE char *left_out = m->kind == LIBVIRT_SNAPSHOT_MEMORY ? NULL : libvirt_snapshot_left_out(scene->xml);
    if (left_out)
        vmc_note(scene->deadline, VMCTL_NOTE_WARNING, "%s of %s stay as they are: a snapshot has the disks only",
                 left_out, scene->vm->name);
    if (scene->saved)
        vmc_note(scene->deadline, VMCTL_NOTE_WARNING,
                 "the saved memory of %s is not in it: a snapshot has the disks only", scene->vm->name);
}

/* number: the daemon's version */
static int work_version(libvirt_rpc *rpc) {
    unsigned long version = 0;
    int code = virConnectGetLibVersion(rpc->virt, &version);
    rpc->number = version;
    return code;
}

/* Asks for libvirt's version only where an older one could not do it. */
static int choose_kind(making *m, vmctl_error **err) {
    libvirt_snapshot_scene *scene = &m->scene;
    const vmctl_snapshot_create_options *o = m->options;
    int code = libvirt_snapshot_check_create(scene, o->memory, o->quiesce, &m->kind, err);
    if (code != VMCTL_E_UNSUPPORTED || scene->libvirt_version)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(scene->conn);
    code = libvirt_rpc_run(scene->conn, scene->deadline, "asking for libvirt's version", work_version, rpc, err);
    if (code < 0)
        return code;
    scene->libvirt_version = (unsigned long)rpc->number;
    code = libvirt_snapshot_check_create(scene, o->memory, o->quiesce, &m->kind, err);
    if (code == 0 && err) {
        vmctl_error_free(*err);
        *err = NULL;
    }
    return code;
}

int libvirt_snapshot_create(void *conn, void *vm, const char *name, const vmctl_snapshot_create_options *options,
                            vmc_journal *journal, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    making m = {.options = options, .name = name, .journal = journal};
    VMC_AUTO_FREE char *document = NULL;
    int code = libvirt_snapshot_ask(conn, vm, LIBVIRT_LOOK_XML, &deadline, &m.scene, err);
    if (code == 0)
        code = libvirt_snapshot_check_name(&m.scene, name, err);
    if (code == 0)
        code = libvirt_snapshot_check_idle(&m.scene, err);
    if (code == 0)
        code = choose_kind(&m, err);
    if (code == 0) {
        vmc_journal_unsynced(journal, true); /* a crash of the host ends QEMU, and what it was doing with it */
        warn(&m);
        m.id = free_id(&m.scene.snapshots, name);
        bool freeze = options->quiesce && m.kind == LIBVIRT_SNAPSHOT_MEMORY;
        code = freeze ? take_frozen(&m, &document, err) : take(&m, &document, err);
    }
    if (code == 0)
        code = write_note(&m, &document, err);
    if (code == 0)
        code = tell(&m, document, err);
    libvirt_snapshot_scene_free(&m.scene);
    free(m.id);
    return code;
}

/* --- renaming ---------------------------------------------------------------------------------------------------- */

static int rename_to(const libvirt_snapshot_scene *scene, const char *name, const char *new_name, vmctl_error **err) {
    const libvirt_snapshot *snapshot = libvirt_snapshots_find(&scene->snapshots, scene->vm->name, name, err);
    if (!snapshot)
        return VMCTL_E_NOT_FOUND;
    if (strcmp(snapshot->name, new_name) == 0) {
        vmc_note(scene->deadline, VMCTL_NOTE_INFO, "the snapshot is named %s already", new_name);
        return 0;
    }
    int code = libvirt_snapshot_check_name(scene, new_name, err);
    if (code == 0)
        code = libvirt_snapshot_check_idle(scene, err);
    if (code < 0)
        return code;
    if (!snapshot->has_domain)
        return vmc_error(err, VMCTL_E_UNSUPPORTED,
                         "libvirt has no description of the VM in that snapshot, where a name could be kept");
    LIBVIRT_AUTO_XML *doc = NULL;
    code = libvirt_snapshot_document(scene->conn, scene->vm, snapshot->id, scene->deadline, &doc, err);
    if (code < 0)
        return code;
    bool back = strcmp(snapshot->id, new_name) == 0;
    libvirt_snapshot_note_write(doc, back ? NULL : new_name, snapshot->quiesced == 1);
    code = libvirt_snapshot_redefine(scene->conn, scene->vm, doc, scene->deadline, err);
    if (code == 0 && !back)
        vmc_note(scene->deadline, VMCTL_NOTE_INFO,
                 "virsh and QEMU go on calling it %s: the disks have it under that name", snapshot->id);
    return code;
}

int libvirt_snapshot_rename(void *conn, void *vm, const char *name, const char *new_name, const vmctl_call *call,
                            vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(call, RENAME_MS);
    libvirt_snapshot_scene scene = {0};
    int code = libvirt_snapshot_ask(conn, vm, 0, &deadline, &scene, err);
    if (code == 0)
        code = rename_to(&scene, name, new_name, err);
    libvirt_snapshot_scene_free(&scene);
    return code;
}
