/* backends/libvirt/remove.c - deleting a VM, with what was made for it. */
#include "ops.h"

#include "domain_xml.h"
#include "rpc.h"
#include "snapshot.h"
#include "storage.h"

#include "backends/shared/removal.h"
#include <string.h>

enum { REMOVE_MS = 300000 };

typedef struct removal {
    libvirt_conn *conn;
    const libvirt_vm *vm;
    const vmctl_delete_options *options;
    const vmc_deadline *deadline;
    libvirt_domain_facts *facts;
    vmc_strv documents; /* of all domains, asked when the first disk is about to go */
    vmc_strv overlays;  /* what external snapshots, whoever took them, made on top of its own disks */
} removal;

/* domain -> out (XML for the next start), number (1: active), found (persistent) */
static int work_look(libvirt_rpc *rpc) {
    int active = virDomainIsActive(rpc->domain);
    int persistent = virDomainIsPersistent(rpc->domain);
    if (active < 0 || persistent < 0)
        return -1;
    rpc->number = (unsigned long long)active;
    rpc->found = persistent == 1;
    rpc->out = virDomainGetXMLDesc(rpc->domain, rpc->found ? VIR_DOMAIN_XML_INACTIVE : 0);
    return rpc->out ? 0 : -1;
}

/* domain; it may have stopped by itself meanwhile */
static int work_destroy(libvirt_rpc *rpc) {
    if (virDomainDestroy(rpc->domain) == 0 || virDomainIsActive(rpc->domain) == 0)
        return 0;
    return -1;
}

static int work_undefine(libvirt_rpc *rpc) {
    return libvirt_undefine(rpc->domain);
}

static void tell(const removal *r, const char *what, const char *name) {
    if (r->options->removed)
        r->options->removed(what, name, r->options->user);
}

/* Media, seeds and kernels that vmctl made are nobody's data, unlike disks, also those that are not attached any more. */
static bool is_disk(const removal *r, const char *path) {
    return !vmc_strv_has(&r->facts->no_disks, path);
}

/* Another VM has it, too, or stands on it: then it stays. One question for all disks. */
static int is_shared(removal *r, const char *path, bool *shared, vmctl_error **err) {
    VMC_AUTO_STRV users = {0};
    int code = r->documents.count ? 0 : libvirt_documents(r->conn, r->deadline, &r->documents, err);
    if (code < 0)
        return code;
    libvirt_documents_users(r->conn, &r->documents, path, r->vm->uuid, r->deadline, &users);
    *shared = users.count > 0;
    if (*shared)
        vmc_note(r->deadline, VMCTL_NOTE_WARNING, "%s %s stays: %s uses it too", is_disk(r, path) ? "disk" : "file",
                 path, users.items[0]);
    return 0;
}

static int remove_file(const removal *r, const char *what, const char *path, vmctl_error **err) {
    bool gone = false;
    int code = libvirt_remove_path(r->conn, path, r->deadline, &gone, err);
    if (code < 0) {
        vmc_error_prefix(err, "the %s %s could not be removed, and the VM is kept", what, path);
        return vmc_error_next(err, "remove the cause and delete %s again, or keep its disks (--keep-disks)",
                              r->vm->name);
    }
    if (gone)
        tell(r, what, path);
    return 0;
}

static int find_overlays(removal *r, vmctl_error **err) {
    vmc_cleanup(libvirt_snapshots_free) libvirt_snapshots snapshots = {0};
    if (!r->facts->own_files.count)
        return 0;
    int code = libvirt_snapshots_read(r->conn, r->vm, r->deadline, &snapshots, err);
    libvirt_snapshots_files(&snapshots, &r->facts->own_files, &r->overlays);
    return code;
}

static int remove_overlays(removal *r, vmctl_error **err) {
    int code = 0;
    for (size_t i = r->overlays.count; code == 0 && r->options->disks != VMCTL_DELETE_KEEP_DISKS && i-- > 0;) {
        bool shared = false;
        code = is_shared(r, r->overlays.items[i], &shared, err);
        if (code == 0 && !shared)
            code = remove_file(r, "disk", r->overlays.items[i], err);
    }
    return code;
}

static int remove_own(removal *r, vmctl_error **err) {
    int code = remove_overlays(r, err);
    for (size_t i = 0; code == 0 && i < r->facts->own_files.count; i++) {
        const char *path = r->facts->own_files.items[i];
        bool disk = is_disk(r, path);
        bool shared = false;
        if (vmc_str_eq(path, r->facts->serial_log)) /* with what was moved aside of it: below */
            continue;
        if (disk && r->options->disks == VMCTL_DELETE_KEEP_DISKS)
            continue;
        /* Another VM may have it as volume: or stand on it as backing:; and a copied definition (virt-clone, virsh define) names
         * the files of the VM that it was copied from, its seed and kernel too. */
        code = is_shared(r, path, &shared, err);
        if (code == 0 && !shared)
            code = remove_file(r, disk ? "disk" : "file", path, err);
    }
    return code;
}

/* Disks that vmctl did not make for it: only what no other VM has. Media of optical drives are nobody's disks. */
static int remove_others(removal *r, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < r->facts->info.device_count; i++) {
        const vmctl_device *device = &r->facts->info.devices[i];
        if (device->kind != VMCTL_DEVICE_DISK || !device->source || *device->source != '/' ||
            vmc_strv_has(&r->facts->own_files, device->source) || vmc_strv_has(&r->overlays, device->source))
            continue;
        bool shared = false;
        code = is_shared(r, device->source, &shared, err);
        if (code == 0 && !shared)
            code = remove_file(r, "disk", device->source, err);
    }
    return code;
}

static int power_off(const removal *r, libvirt_rpc *rpc, vmctl_error **err) {
    int code = vmc_removal_check(r->vm->name, "running", r->options->force, err);
    if (code < 0)
        return code;
    return libvirt_rpc_run(r->conn, r->deadline, "powering the domain off", work_destroy, rpc, err);
}

/* The files go before the definition: whoever is interrupted in between still finds the VM, and deletes it again. */
int libvirt_remove(void *conn, void *vm_, const vmctl_delete_options *options, vmctl_error **err) {
    libvirt_vm *vm = vm_;
    vmc_deadline deadline = vmc_deadline_start(options->call, REMOVE_MS);
    removal r = {.conn = conn, .vm = vm, .options = options, .deadline = &deadline};
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(r.conn);
    virDomainRef(vm->domain);
    rpc->domain = vm->domain;
    int code = libvirt_rpc_run(r.conn, &deadline, "reading the domain", work_look, rpc, err);
    if (code < 0)
        return code;
    bool persistent = rpc->found;
    if (rpc->number == 1)
        code = power_off(&r, rpc, err);
    if (code == 0)
        code = libvirt_domain_facts_read(rpc->out, &r.facts, err);
    if (code < 0 || !r.facts)
        return code;
    code = persistent ? find_overlays(&r, err) : 0;
    if (code == 0)
        code = remove_own(&r, err);
    if (code == 0 && options->disks == VMCTL_DELETE_ALL_DISKS)
        code = remove_others(&r, err);
    if (code == 0 && r.facts->serial_log && r.facts->info.managed) {
        bool gone = false;
        bool shared = false;
        code = is_shared(&r, r.facts->serial_log, &shared, err);
        if (code == 0 && !shared)
            code = libvirt_remove_log(r.conn, r.facts->serial_log, &deadline, &gone, err);
        if (gone)
            tell(&r, "log", r.facts->serial_log);
    }
    if (code == 0 && persistent)
        code = libvirt_rpc_run(r.conn, &deadline, "removing the domain", work_undefine, rpc, err);
    libvirt_domain_facts_free(r.facts);
    vmc_strv_free(&r.documents);
    vmc_strv_free(&r.overlays);
    return code;
}
