/* A second VM from one that exists, by clonevm: flat copies of the disks, or (linked) differencing images on those of a snapshot. What clonevm
 * leaves pointing at the original (its serial port's file, its seed, its port forwards) is the clone's own afterwards.
 * Source: VirtualBox's manual, "VBoxManage clonevm"; SDK reference, IMachine::cloneTo. */
#include "clone.h"

#include "base/random.h"
#include "drivers/seed_iso/seed_iso.h"
#include "facts.h"
#include "plan.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct cloning {
    virtualbox_scene scene; /* of the original */
    const char *name;
    const vmctl_clone_options *options;
    const vmctl_marker *marker;
    vmc_journal *journal;
    char *snapshot; /* its id; NULL: of the present state */
    virtualbox_vm *made;
    char *folder;
    vboxmanage_machine *machine; /* the clone */
    cJSON *kept;                 /* its marker */
    char *forwards;              /* the network whose forwards were dropped; NULL */
} cloning;

static void cloning_free(cloning *c) {
    virtualbox_scene_free(&c->scene);
    free(c->snapshot);
    free(c->folder);
    vboxmanage_machine_free(c->machine);
    cJSON_Delete(c->kept);
    free(c->forwards);
}

static int say(const cloning *c, const char *doing, const vmc_strv *argv, const char *stage, vmctl_error **err) {
    return virtualbox_run(c->scene.conn, c->made->id, argv, doing, stage, c->name, c->scene.deadline, NULL, err);
}

/* --- looking ----------------------------------------------------------------------------------------------------- */

int virtualbox_clone_check(const virtualbox_scene *scene, const vboxmanage_snapshot *snapshot, vmctl_error **err) {
    int code = virtualbox_check_idle(scene, err);
    const char *name = scene->vm->name;
    if (code < 0)
        return code;
    for (size_t i = 0; code == 0 && snapshot && i < snapshot->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(scene->machine, snapshot->attachments[i].medium);
        if (!medium || !vmc_str_eq(snapshot->attachments[i].kind, "HardDisk") ||
            vboxmanage_file_readable(scene->conn->manage, medium->location, scene->deadline, err) == 0)
            continue;
        vmc_error_prefix(err, "snapshot %s needs %s", snapshot->name, medium->location);
        code = vmc_error_next(err, "put the file back where it was");
    }
    if (snapshot || scene->state == VMCTL_STATE_STOPPED)
        return code;
    if (scene->state == VMCTL_STATE_SAVED) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s is saved: its disks are in the middle of what its memory was doing",
                  name);
        return vmc_error_next(err, "vmctl start %s and vmctl stop %s first", name, name);
    }
    vmc_error(err, VMCTL_E_INVALID_STATE, "%s runs, and its disks change while they would be copied", name);
    return vmc_error_next(err, "vmctl stop %s, or clone a snapshot of it", name);
}

/* A VDI that holds no block yet: cBlocksAllocated at 0x184 (VDICore.h, VDIHEADER1). */
static bool is_empty_image(const vboxmanage *manage, const char *path) {
    static const unsigned char signature[] = {0x7f, 0x10, 0xda, 0xbe};
    unsigned char head[0x188];
    size_t got = 0;
    if (vboxmanage_file_part(manage, path, 0, head, sizeof head, &got, NULL, NULL) < 0 || got != sizeof head)
        return false;
    return memcmp(head + 0x40, signature, sizeof signature) == 0 && !head[0x184] && !head[0x185] && !head[0x186] &&
           !head[0x187];
}

/* Whether the present state is the current snapshot's, settings and disks: then a linked clone can stand on that. */
static bool is_as_in_snapshot(const vboxmanage_machine *machine) {
    if (!*machine->snapshot || machine->modified)
        return false;
    for (size_t i = 0; i < machine->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(machine, machine->attachments[i].medium);
        if (vmc_str_eq(machine->attachments[i].kind, "HardDisk") &&
            (!medium || (!virtualbox_snapshot_leaves(machine, &machine->attachments[i]) &&
                         (!*medium->parent || !is_empty_image(machine->manage, medium->location)))))
            return false;
    }
    const vboxmanage_snapshot *current = vboxmanage_snapshot_of(machine, machine->snapshot);
    return current && !current->state_file;
}

/* VirtualBox links to snapshots only. This one is called as VirtualBox's own window calls it. */
static int take_base(cloning *c, vmctl_error **err) {
    const virtualbox_scene *scene = &c->scene;
    VMC_AUTO_FREE char *name = vmc_printf("Linked Base for %s and %s", scene->vm->name, c->name);
    VMC_AUTO_FREE char *detail = vmc_printf("%s %lld %s", scene->vm->id, (long long)time(NULL), name);
    VMC_AUTO_FREE char *printed = NULL;
    size_t noted = 0;
    int code = vmc_journal_add(c->journal, "snapshot", detail, &noted, err);
    if (code < 0)
        return code;
    code = virtualbox_say(scene->conn, scene->vm, "taking a snapshot to stand on", scene->deadline, &printed, err,
                          "snapshot", scene->vm->id, "take", name, NULL);
    if (code == VMCTL_E_BUSY) /* never begun */
        vmc_journal_drop(c->journal, noted, NULL);
    if (code < 0)
        return code;
    c->snapshot = vboxmanage_parse_labelled(printed, "Snapshot taken. UUID:");
    if (!c->snapshot)
        return vmc_error(err, VMCTL_E_INTERNAL, "VirtualBox took a snapshot and does not say which");
    vmc_note(scene->deadline, VMCTL_NOTE_INFO, "%s has the snapshot \"%s\" now, which %s stands on", scene->vm->name,
             name, c->name);
    return 0;
}

static int choose_snapshot(cloning *c, vmctl_error **err) {
    const vboxmanage_snapshot *snapshot = NULL;
    if (c->options->snapshot) {
        snapshot = virtualbox_snapshot_find(c->scene.machine, c->options->snapshot, err);
        if (!snapshot)
            return err && *err ? vmctl_error_code(*err) : VMCTL_E_NOT_FOUND;
    }
    int code = virtualbox_clone_check(&c->scene, snapshot, err);
    if (code == 0 && snapshot)
        c->snapshot = vmc_strdup(snapshot->id);
    else if (code == 0 && c->options->linked && is_as_in_snapshot(c->scene.machine))
        c->snapshot = vmc_strdup(c->scene.machine->snapshot);
    return code;
}

static int choose_place(cloning *c, vmctl_error **err) {
    vboxmanage_registry registry = {0};
    VMC_AUTO_FREE char *machines = NULL;
    int code = virtualbox_registry(c->scene.conn, c->scene.deadline, &registry, err);
    if (code == 0)
        code = virtualbox_machine_folder(c->scene.conn, &registry, c->scene.deadline, &machines, err);
    if (code == 0) {
        c->folder = virtualbox_folder_of(machines, c->name);
        code = virtualbox_check_new(c->scene.conn, &registry, c->name, c->folder, c->scene.deadline, err);
    }
    vboxmanage_registry_free(&registry);
    return code;
}

/* --- making -------------------------------------------------------------------------------------------------------- */

static int copy(cloning *c, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmc_strv_add(&argv, "clonevm");
    vmc_strv_add(&argv, c->scene.vm->id);
    vmc_strv_printf(&argv, "--name=%s", c->name);
    vmc_strv_printf(&argv, "--uuid=%s", c->made->id);
    vmc_strv_add(&argv, "--mode=machine");
    vmc_strv_add(&argv, c->options->linked ? "--options=Link" : "--options=KeepDiskNames");
    if (c->snapshot)
        vmc_strv_printf(&argv, "--snapshot=%s", c->snapshot);
    vmc_strv_add(&argv, "--register");
    /* The original is what VirtualBox locks. */
    int code = virtualbox_run(c->scene.conn, c->scene.vm->id, &argv, "cloning the VM", "copying the disks", c->name,
                              c->scene.deadline, NULL, err);
    if (code == 0)
        code = virtualbox_load(c->scene.conn, c->made, c->scene.deadline, &c->machine, err);
    if (code == 0 && !vmc_str_eq(c->machine->folder, c->folder))
        code = vmc_error(err, VMCTL_E_INTERNAL, "VirtualBox made the VM in %s instead of %s", c->machine->folder,
                         c->folder);
    return code;
}

static void add_forwards(cloning *c, const vboxmanage_nic *nic, vmc_strv *argv) {
    VMC_AUTO_FREE char *place = virtualbox_nic_place(nic->slot);
    VMC_AUTO_FREE char *fallback = vmc_printf("net%u", nic->slot);
    for (size_t i = 0; i < nic->forward_count; i++) {
        vmc_strv_printf(argv, "--natpf%u", nic->slot + 1);
        vmc_strv_add(argv, "delete");
        vmc_strv_add(argv, nic->forwards[i].name);
    }
    if (nic->forward_count && !c->forwards)
        c->forwards = vmc_strdup(virtualbox_marker_name(c->kept, place, fallback));
}

/* One modifyvm for all that would be the original's. */
static int set_apart(cloning *c, vmctl_error **err) {
    const vboxmanage_machine *m = c->machine;
    VMC_AUTO_STRV argv = {0};
    vmc_strv_add(&argv, "modifyvm");
    vmc_strv_add(&argv, c->made->id);
    VMC_AUTO_FREE char *folder = m->serial_path ? vmc_path_dirname(m->serial_path) : NULL;
    if (vmc_str_eq(folder, c->scene.machine->folder)) {
        vmc_strv_add(&argv, "--uartmode1");
        vmc_strv_add(&argv, vmc_str_eq(m->serial_mode, "RawFile") ? "file" : "server");
        vmc_strv_printf(&argv, "%s/%s", m->folder, vmc_path_basename(m->serial_path));
    }
    for (size_t i = 0; i < m->nic_count; i++)
        add_forwards(c, &m->nics[i], &argv);
    if (m->autostart) {
        vmc_strv_add(&argv, "--autostart-enabled");
        vmc_strv_add(&argv, "off");
    }
    int code = argv.count > 2 ? say(c, "setting the clone apart", &argv, NULL, err) : 0;
    if (code == 0 && m->state_file) { /* the snapshot had memory, which is the original's */
        VMC_AUTO_STRV discard = {0};
        vmc_strv_add(&discard, "discardstate");
        vmc_strv_add(&discard, c->made->id);
        code = say(c, "throwing the original's memory away", &discard, NULL, err);
    }
    return code;
}

/* --- drives -------------------------------------------------------------------------------------------------------- */

static int insert(const cloning *c, const vboxmanage_attachment *drive, const char *medium, vmctl_error **err) {
    VMC_AUTO_STRV argv = {0};
    vmc_strv_add(&argv, "storageattach");
    vmc_strv_add(&argv, c->made->id);
    vmc_strv_printf(&argv, "--storagectl=%s", drive->controller);
    vmc_strv_printf(&argv, "--port=%u", drive->port);
    vmc_strv_printf(&argv, "--device=%u", drive->device);
    vmc_strv_add(&argv, "--type=dvddrive");
    vmc_strv_printf(&argv, "--medium=%s", medium);
    return say(c, "giving the clone its own medium", &argv, NULL, err);
}

static const char *mac_before(const cloning *c, unsigned slot) {
    for (size_t i = 0; i < c->scene.machine->nic_count; i++)
        if (c->scene.machine->nics[i].slot == slot)
            return c->scene.machine->nics[i].mac;
    return NULL;
}

/* The user's data and network are the original's; who it is is new. */
static int write_seed(const cloning *c, const char *source, const char *path, vmctl_error **err) {
    const vboxmanage_machine *m = c->machine;
    vmc_seed seed = {0};
    VMC_AUTO_FREE char *told = NULL;
    int code = seed_iso_read(source, "user-data", &seed.user_data, err);
    if (code == 0)
        code = seed_iso_read(source, "network-config", &seed.network_config, err);
    if (code == 0) {
        const char **pairs = vmc_alloc((2 * m->nic_count + 1) * sizeof *pairs);
        size_t count = 0;
        for (size_t i = 0; i < m->nic_count; i++) {
            const char *before = mac_before(c, m->nics[i].slot);
            if (!before)
                continue;
            pairs[2 * count] = before;
            pairs[2 * count++ + 1] = m->nics[i].mac;
        }
        vmc_seed_for_clone(&seed, c->made->id, c->name, pairs, count, &told);
        free(pairs);
        const char *texts[] = {seed.meta_data, seed.user_data ? seed.user_data : "", seed.network_config};
        static const char *const names[] = {"meta-data", "user-data", "network-config"};
        seed_iso_file files[3];
        size_t file_count = 0;
        for (size_t i = 0; i < 3; i++)
            if (texts[i])
                files[file_count++] = (seed_iso_file){names[i], texts[i], strlen(texts[i])};
        code = virtualbox_write_seed(c->scene.conn, path, files, file_count, c->scene.deadline, err);
    }
    if (code == 0 && told)
        vmc_note(c->scene.deadline, VMCTL_NOTE_WARNING, "%s", told);
    vmc_seed_free(&seed);
    return code;
}

/* What lies in the original's folder goes with the original. */
static int own_medium(const cloning *c, const vboxmanage_attachment *drive, vmctl_error **err) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(c->machine, drive->medium);
    VMC_AUTO_FREE char *folder = medium ? vmc_path_dirname(medium->location) : NULL;
    if (!medium || !vmc_str_eq(folder, c->scene.machine->folder))
        return 0;
    VMC_AUTO_FREE char *place = virtualbox_place(drive);
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", c->folder, vmc_path_basename(medium->location));
    const vboxmanage *manage = c->scene.conn->manage;
    VMC_AUTO_FREE char *target = vboxmanage_file_link(manage, medium->location, c->scene.deadline);
    int code = 0;
    if (vmc_str_eq(virtualbox_marker_type(c->kept, place), "seed")) {
        code = write_seed(c, medium->location, path, err);
    } else if (target) {
        code = vboxmanage_symlink(manage, target, path, c->scene.deadline, err);
    } else {
        return 0;
    }
    return code == 0 ? insert(c, drive, path, err) : code;
}

static int own_media(const cloning *c, vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < c->machine->attachment_count; i++)
        if (vmc_str_eq(c->machine->attachments[i].kind, "DVD"))
            code = own_medium(c, &c->machine->attachments[i], err);
    return code;
}

/* --- the marker ----------------------------------------------------------------------------------------------------- */

/* The original's names and labels; the files are what lies in the clone's folder. */
static void begin_marker(cloning *c) {
    static const char *const taken_over[] = {"labels", "devices", "keys"};
    c->kept = virtualbox_marker_new(c->marker);
    for (size_t i = 0; i < sizeof taken_over / sizeof taken_over[0]; i++) {
        const cJSON *value = vmc_json_key(c->scene.marker, taken_over[i]);
        if (value)
            vmc_json_put(c->kept, taken_over[i], cJSON_Duplicate(value, true));
    }
}

static void note_files(cloning *c) {
    size_t length = strlen(c->folder);
    for (size_t i = 0; i < c->machine->attachment_count; i++) {
        const vboxmanage_medium *medium = vboxmanage_medium_of(c->machine, c->machine->attachments[i].medium);
        const vboxmanage_medium *base = vboxmanage_base_of(c->machine, medium);
        if (!base)
            continue;
        if (strncmp(base->location, c->folder, length) == 0 && base->location[length] == '/')
            virtualbox_marker_file(c->kept, base->location + length + 1);
        else if (base != medium)
            vmc_json_put(c->kept, "linked", cJSON_CreateTrue());
    }
}

static int mark(cloning *c, vmctl_error **err) {
    note_files(c);
    VMC_AUTO_FREE char *text = cJSON_PrintUnformatted(c->kept);
    int code = virtualbox_say(c->scene.conn, c->made, "marking the VM", c->scene.deadline, NULL, err, "setextradata",
                              c->made->id, VIRTUALBOX_MARKER, text, NULL);
    /* Notes about snapshots that the clone has not. */
    for (size_t i = 0; code == 0 && i < c->machine->extra_keys.count; i++)
        if (vmc_starts_with(c->machine->extra_keys.items[i], VIRTUALBOX_SNAPSHOT_STATE))
            code = virtualbox_say(c->scene.conn, c->made, "marking the VM", c->scene.deadline, NULL, err,
                                  "setextradata", c->made->id, c->machine->extra_keys.items[i], NULL);
    return code;
}

static int make(cloning *c, vmctl_error **err) {
    VMC_AUTO_FREE char *detail = vmc_printf("%s %s", c->made->id, c->folder);
    int code = c->options->linked && !c->snapshot ? take_base(c, err) : 0;
    if (code == 0)
        code = vmc_journal_add(c->journal, "vm", detail, NULL, err);
    if (code == 0)
        code = copy(c, err);
    if (code < 0)
        return code;
    begin_marker(c);
    code = set_apart(c, err);
    if (code == 0)
        code = own_media(c, err);
    vboxmanage_machine_free(c->machine);
    c->machine = NULL;
    if (code == 0)
        code = virtualbox_load(c->scene.conn, c->made, c->scene.deadline, &c->machine, err);
    if (code == 0)
        code = mark(c, err);
    if (code == 0 && c->forwards)
        vmc_note(c->scene.deadline, VMCTL_NOTE_WARNING,
                 "the port forwards of network %s are not taken over, as only one VM can have them: vmctl set %s "
                 "networks.%s.forward='[\"LOCAL:GUEST\"]'",
                 c->forwards, c->name, c->forwards);
    return code;
}

int virtualbox_clone(void *conn, void *vm, const char *name, const vmctl_clone_options *options,
                     const vmctl_marker *marker, vmc_journal *journal, void **out, vmctl_identity *identity,
                     vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(options->call, -1);
    cloning c = {.name = name, .options = options, .marker = marker, .journal = journal};
    char id[37];
    vmc_uuid_new(id);
    c.made = virtualbox_vm_new(id, name);
    int code = virtualbox_look(conn, vm, &deadline, &c.scene, err);
    if (code == 0)
        code = choose_place(&c, err);
    if (code == 0)
        code = choose_snapshot(&c, err);
    if (code == 0)
        code = make(&c, err);
    if (code == 0) {
        virtualbox_tell(conn, VMCTL_EVENT_DEFINED, c.made, VMCTL_STATE_STOPPED, "added");
        virtualbox_vm_identity(c.made, identity);
        *out = c.made;
    } else {
        virtualbox_release(conn, c.made);
    }
    cloning_free(&c);
    return code;
}
