/* What stands in the way of teleporting a VM. */
#include "migrate.h"

#include "facts.h"
#include "migrate_reach.h"
#include "plan.h"
#include <stdarg.h>
#include <string.h>

typedef struct looking {
    const virtualbox_scene *scene;
    virtualbox_conn *target;
    const vmctl_migrate_options *options;
    int code; /* of the first fatal one */
    bool stopped;
    bool stopped_move; /* it is no teleport */
    vmctl_error **err;
} looking;

/* fatal: the code that it ends with; 0: worth knowing. */
static void tell(looking *l, int fatal, const char *what, const char *remedy, const char *format, ...)
    VMCTL_PRINTF(5, 6);
static void tell(looking *l, int fatal, const char *what, const char *remedy, const char *format, ...) {
    va_list list;
    va_start(list, format);
    VMC_AUTO_FREE char *reason = vmc_vprintf(format, list);
    va_end(list);
    const vmctl_obstacle told = {
        .size = sizeof told, .fatal = fatal != 0, .what = what, .reason = reason, .remedy = remedy};
    if (fatal && l->code == 0) {
        l->code = vmc_error(l->err, fatal, "%s", reason);
        vmc_error_next(l->err, "%s", remedy);
    }
    if (l->options->obstacle && !l->stopped && l->options->obstacle(&told, l->options->user) != 0)
        l->stopped = true;
}

/* --- the VM -------------------------------------------------------------------------------------------------------- */

bool virtualbox_moves_stopped(const virtualbox_scene *scene, const vmctl_migrate_options *options) {
    return options->mode == VMCTL_MIGRATE_OFFLINE ||
           (options->mode == VMCTL_MIGRATE_AUTO && scene->state == VMCTL_STATE_STOPPED);
}

static void look_state(looking *l) {
    const virtualbox_scene *scene = l->scene;
    const char *name = scene->vm->name;
    if (l->stopped_move) {
        VMC_AUTO_FREE char *end = vmc_printf(scene->state == VMCTL_STATE_SAVED
                                                 ? "vmctl start %s, then migrate or stop it"
                                                 : "vmctl stop %s; or leave --offline out, and it is teleported",
                                             name);
        if (scene->state != VMCTL_STATE_STOPPED)
            tell(l, VMCTL_E_INVALID_STATE, scene->state == VMCTL_STATE_SAVED ? "saved" : "running", end,
                 "%s is %s, and only a stopped VM is moved offline", name, vmctl_state_name(scene->state));
        return;
    }
    if (scene->state == VMCTL_STATE_RUNNING || scene->state == VMCTL_STATE_PAUSED)
        return;
    VMC_AUTO_FREE char *remedy =
        scene->state == VMCTL_STATE_CRASHED ? vmc_printf("vmctl stop --force %s, and start it", name)
        : scene->state == VMCTL_STATE_STOPPED
            ? vmc_printf("vmctl start %s; or move it as it is: --offline in place of --live", name)
            : vmc_printf("vmctl start %s", name);
    tell(l, VMCTL_E_INVALID_STATE, scene->state == VMCTL_STATE_SAVED ? "saved" : "stopped", remedy,
         "%s is %s, and VirtualBox teleports what runs only", name, vmctl_state_name(scene->state));
}

static void look_snapshots(looking *l) {
    const vboxmanage_machine *m = l->scene->machine;
    VMC_AUTO_FREE char *remedy = vmc_printf("delete them first: vmctl snapshot list %s", m->name);
    if (m->snapshot_count)
        tell(l, VMCTL_E_DATA_LOSS_PREVENTED, "snapshots", remedy,
             "%s has %zu snapshot%s, which moving it would leave behind", m->name, m->snapshot_count,
             m->snapshot_count == 1 ? "" : "s");
}

static void look_disk(looking *l, const vboxmanage_attachment *from) {
    const virtualbox_scene *scene = l->scene;
    const vboxmanage_medium *medium = vboxmanage_medium_of(scene->machine, from->medium);
    VMC_AUTO_FREE char *place = virtualbox_place(from);
    const char *name = virtualbox_marker_name(scene->marker, place, place);
    bool disk = vmc_str_eq(from->kind, "HardDisk");
    if (!medium) {
        if (from->passthrough)
            tell(l, VMCTL_E_UNSUPPORTED, "host-device", "detach it first", "drive %s is the host's own", name);
        return;
    }
    if (disk && !l->stopped_move && !vmc_str_eq(medium->type, "Shareable") && !vmc_str_eq(medium->type, "Readonly")) {
        VMC_AUTO_FREE char *remedy =
            vmc_printf("make %s with disks: [{name: %s, shared: true, ...}], on storage that both hosts have",
                       scene->vm->name, name);
        tell(l, VMCTL_E_UNSUPPORTED, "disk", remedy,
             "disk %s is not shared, and VirtualBox teleports between two VMs that have the same disk open", name);
    }
    /* A drive's medium in the VM's own folder comes along. */
    VMC_AUTO_FREE char *inside = vmc_path_dirname(medium->location);
    bool comes = (!disk || l->stopped_move) && vmc_str_eq(inside, scene->machine->folder);
    for (int there = 0; !l->options->unsafe && there <= (l->target && !comes); there++) {
        const vboxmanage *manage = (there ? l->target : scene->conn)->manage;
        vmctl_error *why = NULL;
        bool again = there && virtualbox_same_machine(manage, scene->conn->manage);
        if (again || vboxmanage_file_readable(manage, medium->location, scene->deadline, &why) == 0)
            continue;
        tell(l, VMCTL_E_NOT_FOUND, disk ? "disk" : "cdrom", "put it where both hosts have it, or eject it",
             "%s %s (%s) cannot be read%s: %s", disk ? "disk" : "the medium of", name, medium->location,
             there ? " at the target" : "", vmctl_error_message(why));
        vmctl_error_free(why);
    }
}

static void look_parts(looking *l) {
    const vboxmanage_machine *m = l->scene->machine;
    for (size_t i = 0; i < m->attachment_count; i++)
        look_disk(l, &m->attachments[i]);
    for (size_t i = 0; i < m->share_count; i++)
        if (!vboxmanage_file_exists((l->target ? l->target : l->scene->conn)->manage, m->shares[i].path,
                                    l->scene->deadline))
            tell(l, VMCTL_E_NOT_FOUND, "share", "remove the share first", "the folder %s of share %s is not there",
                 m->shares[i].path, m->shares[i].name);
    for (size_t i = 0; i < m->nic_count; i++)
        if (m->nics[i].forward_count)
            tell(l, 0, "network", NULL, "the target takes the forwarded ports once the source has let go of them");
    if (vmc_str_eq(m->serial_mode, "RawFile"))
        tell(l, 0, "serial-log", NULL, "what was logged so far stays at the source: %s", m->serial_path);
}

/* --- the target ------------------------------------------------------------------------------------------------------ */

/* Bridges and networks are the target's own; each list is asked for once, and only where a NIC needs it. */
static void look_network(looking *l, const char *mode, const char *list, const char *key) {
    const vboxmanage_machine *m = l->scene->machine;
    VBOXMANAGE_AUTO_PROPERTIES there = {0};
    bool asked = false;
    for (size_t i = 0; i < m->nic_count; i++) {
        bool found = false;
        if (!vmc_str_eq(m->nics[i].mode, mode) || !m->nics[i].source)
            continue;
        VMC_AUTO_FREE char *text = NULL;
        if (!asked && virtualbox_say(l->target, NULL, "asking for the target's networks", l->scene->deadline, &text,
                                     NULL, "list", list, NULL) == 0)
            vboxmanage_parse_records(text, &there);
        asked = true;
        for (size_t p = 0; p < there.count; p++)
            found =
                found || (strcmp(there.items[p].key, key) == 0 && strcmp(there.items[p].value, m->nics[i].source) == 0);
        if (!found)
            tell(l, VMCTL_E_NOT_FOUND, "network", "make it there, or give the NIC another network",
                 "the target has no %s network %s", mode, m->nics[i].source);
    }
}

static int look_target(looking *l, const char *folder, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    int code = virtualbox_registry(l->target, l->scene->deadline, &registry, err);
    VMC_AUTO_STRV names = {0};
    if (code == 0)
        code = vboxmanage_names_read(l->target->manage, &registry, l->scene->deadline, &names, err);
    for (size_t i = 0; code == 0 && i < names.count; i++) {
        const char *name = names.items[i];
        bool same_id = strcasecmp(registry.entries[i].id, l->scene->vm->id) == 0;
        if (same_id)
            tell(l, VMCTL_E_ALREADY_EXISTS, "uuid", "delete that one first",
                 "the target has a VM with the id %s already: %s", l->scene->vm->id, name);
        else if (vmc_str_eq(name, l->scene->machine->name))
            tell(l, VMCTL_E_ALREADY_EXISTS, "name", "rename one of the two",
                 "the target has a VM of the name %s already", name);
    }
    vboxmanage_registry_free(&registry);
    if (code == 0 && l->code == 0 && vboxmanage_file_exists(l->target->manage, folder, l->scene->deadline))
        tell(l, VMCTL_E_ALREADY_EXISTS, "name", "look what is in it and move it away",
             "the target's folder %s is in the way", folder);
    look_network(l, "bridged", "bridgedifs", "Name");
    look_network(l, "hostonly", "hostonlyifs", "Name");
    look_network(l, "natnetwork", "natnets", "Name");
    return code;
}

static bool same_place(const virtualbox_conn *a, const virtualbox_conn *b) {
    if (!virtualbox_same_machine(a->manage, b->manage))
        return false;
    VMC_AUTO_FREE char *one = vboxmanage_home(a->manage);
    VMC_AUTO_FREE char *two = vboxmanage_home(b->manage);
    return vmc_str_eq(one, two);
}

static void look_options(looking *l) {
    if (l->target && l->scene->conn->manage->host && l->target->manage->host && !l->options->migrate_uri &&
        !virtualbox_same_machine(l->scene->conn->manage, l->target->manage))
        tell(l, VMCTL_E_INVALID_ARGUMENT, "address", "name the target's address there: --migrate-uri tcp://ADDRESS",
             "both VirtualBoxes are on other hosts, and vmctl's ssh leads from neither to the other");
    if (l->options->bandwidth_bytes)
        tell(l, VMCTL_E_UNSUPPORTED, "bandwidth", "leave --bandwidth out", "VirtualBox limits no teleporting");
    if (l->options->auto_converge)
        tell(l, VMCTL_E_UNSUPPORTED, "auto-converge", "leave it out",
             "VirtualBox slows no guest down that changes its memory faster than it can be sent");
}

int virtualbox_migrate_check(const virtualbox_scene *scene, virtualbox_conn *target, const char *folder,
                             const vmctl_migrate_options *options, vmctl_error **err) {
    looking l = {.scene = scene, .target = target, .options = options, .err = err};
    int code = virtualbox_check_idle(scene, err);
    if (code < 0)
        return code;
    if (target && same_place(scene->conn, target)) {
        tell(&l, VMCTL_E_INVALID_ARGUMENT, "same-host", "name another one: virtualbox:///?home=DIR&ipc=ID",
             "the target is the VirtualBox that has it already");
        return l.code;
    }
    l.stopped_move = virtualbox_moves_stopped(scene, options);
    look_options(&l);
    look_state(&l);
    look_snapshots(&l);
    look_parts(&l);
    if (target)
        code = look_target(&l, folder, err);
    if (code == 0 && l.stopped)
        return vmc_error(err, VMCTL_E_CANCELLED, "the preflight was stopped");
    return l.code ? l.code : code;
}
