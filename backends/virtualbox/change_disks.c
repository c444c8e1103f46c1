/* Disks and drives that come, move, grow and go. */
#include "change_orders.h"

#include <stdlib.h>
#include <string.h>

static void say_attach(const virtualbox_changing *ch, vmc_strv *argv, const vboxmanage_attachment *at,
                       const char *medium) {
    virtualbox_words(argv, "storageattach", ch->scene.vm->id, "--storagectl", at->controller);
    vmc_strv_printf(argv, "--port=%u", at->port);
    vmc_strv_printf(argv, "--device=%u", at->device);
    if (strcmp(medium, "none") != 0)
        virtualbox_words(argv, "--type", vmc_str_eq(at->kind, "DVD") ? "dvddrive" : "hdd", NULL, NULL);
    virtualbox_words(argv, "--medium", medium, NULL, NULL);
}

/* What is in it now, as storageattach takes it. */
static const char *medium_now(const virtualbox_changing *ch, const vboxmanage_attachment *at) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(ch->scene.machine, at->medium);
    return medium ? medium->location : "emptydrive";
}

static void attach_again(const virtualbox_changing *ch, vmc_strv *argv, const vboxmanage_attachment *at) {
    say_attach(ch, argv, at, medium_now(ch, at));
    if (at->discard)
        virtualbox_words(argv, "--discard", "on", NULL, NULL);
    if (at->nonrotational)
        virtualbox_words(argv, "--nonrotational", "on", NULL, NULL);
    if (at->hotpluggable && !ch->fixed)
        virtualbox_words(argv, "--hotpluggable", "on", NULL, NULL);
}

static const vboxmanage_controller *controller_of(const vboxmanage_machine *m, const char *bus) {
    for (size_t i = 0; i < m->controller_count; i++)
        if (vmc_str_eq(virtualbox_bus(m, m->controllers[i].name), bus))
            return &m->controllers[i];
    return NULL;
}

static bool is_taken(const virtualbox_changing *ch, const char *controller, unsigned port, unsigned device) {
    for (size_t i = 0; i < ch->scene.machine->attachment_count; i++) {
        const vboxmanage_attachment *at = &ch->scene.machine->attachments[i];
        if (vmc_str_eq(at->controller, controller) && at->port == port && at->device == device)
            return true;
    }
    VMC_AUTO_FREE char *place = vmc_printf("%s-%u-%u", controller, port, device);
    for (size_t i = 0; i < ch->order_count; i++) { /* by this change */
        const virtualbox_order *order = &ch->orders[i];
        if (order->place && strcmp(order->place, place) == 0)
            return true;
    }
    return false;
}

static int add_controller(virtualbox_changing *ch, const virtualbox_bus_kind *kind, const vmctl_node *disk,
                          vmctl_error **err) {
    for (size_t i = 0; i < ch->scene.machine->controller_count; i++)
        if (vmc_str_eq(ch->scene.machine->controllers[i].name, kind->name))
            return vmc_refuse(err, VMCTL_E_UNSUPPORTED, disk, "the VM has a controller %s of another kind", kind->name);
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "storagectl", ch->scene.vm->id, "--name", kind->name);
    virtualbox_words(&order->argv, "--add", kind->add, "--controller", kind->controller);
    if (kind->ports)
        virtualbox_words(&order->argv, "--portcount", "1", NULL, NULL);
    virtualbox_words(&order->back, "storagectl", ch->scene.vm->id, "--name", kind->name);
    vmc_strv_add(&order->back, "--remove");
    if (strcmp(kind->bus, "usb") == 0)
        virtualbox_words(&ch->p.modify, "--usbxhci", "on", NULL, NULL);
    return 0;
}

/* The lowest free place of the bus; a controller that is missing, or has too few ports, is made first. */
static int find_spot(virtualbox_changing *ch, const char *bus, const vmctl_node *disk, virtualbox_spot *spot,
                     vmctl_error **err) {
    const virtualbox_bus_kind *kind = virtualbox_bus_kind_of(bus);
    if (!kind)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, disk, "VirtualBox has no bus %s", bus);
    const vboxmanage_controller *controller = controller_of(ch->scene.machine, bus);
    unsigned ports = controller ? controller->ports : 1;
    bool ide = strcmp(bus, "ide") == 0;
    *spot = (virtualbox_spot){.controller = controller ? controller->name : kind->name};
    unsigned place = 0;
    do {
        if (place >= kind->places)
            return vmc_refuse(err, VMCTL_E_RESOURCE_EXHAUSTED, disk,
                              "VirtualBox takes %u disks and drives on one %s controller", kind->places, bus);
        spot->port = ide ? place / 2 : place;
        spot->device = ide ? place % 2 : 0;
        place++;
    } while (is_taken(ch, spot->controller, spot->port, spot->device));
    bool first = !controller;
    for (size_t i = 0; i < ch->order_count; i++) /* by this change */
        if (ch->orders[i].place && vmc_starts_with(ch->orders[i].place, spot->controller))
            first = false;
    int code = first ? add_controller(ch, kind, disk, err) : 0;
    if (code == 0 && kind->ports && spot->port >= ports && !ch->fixed) {
        virtualbox_order *order = virtualbox_order_add(ch);
        virtualbox_words(&order->argv, "storagectl", ch->scene.vm->id, "--name", spot->controller);
        vmc_strv_printf(&order->argv, "--portcount=%u", spot->port + 1);
        if (controller) {
            virtualbox_words(&order->back, "storagectl", ch->scene.vm->id, "--name", spot->controller);
            vmc_strv_printf(&order->back, "--portcount=%u", ports);
        }
    }
    return code;
}

/* Another VM's disk: BUSY while that runs, else CONFLICT. */
static int check_user(virtualbox_changing *ch, const vmctl_node *disk, vmctl_error **err) {
    const char *path = vmctl_node_string(disk, "volume", NULL);
    if (!path || vmctl_node_boolean(disk, "shared", false))
        return 0;
    VIRTUALBOX_AUTO_WORLD world = {0};
    VBOXMANAGE_AUTO_PROPERTIES states = {0};
    int code = virtualbox_world_read(ch->scene.conn, ch->scene.deadline, &world, err);
    for (size_t i = 0; code == 0 && i < world.count; i++) {
        const vboxmanage_machine *other = world.machines[i];
        for (size_t a = 0; a < other->attachment_count; a++) {
            const vboxmanage_medium *medium = vboxmanage_medium_of(other, other->attachments[a].medium);
            if (!medium || strcmp(medium->location, path) != 0 || strcmp(other->id, ch->scene.vm->id) == 0 ||
                !vmc_str_eq(other->attachments[a].kind, "HardDisk"))
                continue;
            virtualbox_states(ch->scene.conn, &world.registry, NULL, ch->scene.deadline, &states, NULL);
            bool runs = virtualbox_is_up(virtualbox_state(vboxmanage_property_get(&states, other->id), NULL));
            vmc_refuse(err, runs ? VMCTL_E_BUSY : VMCTL_E_CONFLICT, vmctl_node_get(disk, "volume"),
                       "%s is a disk of %s%s", path, other->name, runs ? ", which runs" : "");
            return vmc_error_next(err,
                                  "detach it there first (vmctl detach %s ...), or share it: shared: true, of a "
                                  "disk that is fixed in size",
                                  other->name);
        }
    }
    return code;
}

/* The planned storageattach becomes an order. */
static void take_attach(virtualbox_changing *ch, const virtualbox_spot *spot) {
    virtualbox_order *order = virtualbox_order_add(ch);
    const vboxmanage_attachment at = {
        .controller = (char *)spot->controller, .port = spot->port, .device = spot->device};
    order->argv = ch->p.attaches[ch->p.attach_count - 1];
    ch->p.attaches[ch->p.attach_count - 1] = (vmc_strv){0};
    say_attach(ch, &order->back, &at, "none");
    order->place = vmc_printf("%s-%u-%u", spot->controller, spot->port, spot->device);
}

/* A copy that shall be larger than its image grows before it is the VM's: what a running VM has is locked. VBoxSVC forgets it again in between. */
static void grow_copy(virtualbox_changing *ch, const virtualbox_file *file) {
    if (file->kind != VIRTUALBOX_FILE_COPY || !file->bytes)
        return;
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "modifymedium", "disk", file->path, "--resizebyte");
    vmc_strv_printf(&order->argv, "%llu", (unsigned long long)file->bytes);
    order->of_file = true;
    order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "closemedium", "disk", file->path, NULL);
    order->of_file = true;
}

int virtualbox_change_disk_add(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    const vmctl_node *want = step->change->want;
    virtualbox_spot spot = {.controller = "waits"};
    int code = check_user(ch, want, err);
    bool now = step->effect == VMCTL_EFFECT_NOW;
    size_t files = ch->files.file_count;
    if (code == 0 && now)
        code = find_spot(ch, vmctl_node_string(want, "bus", "sata"), want, &spot, err);
    if (code == 0 && !now && vmctl_node_get(want, "cdrom")) { /* its link is made when it comes */
        VMC_AUTO_FREE char *ignored = NULL;
        const char *image = vmctl_node_string(want, "cdrom", "");
        ch->p.spot = &spot;
        code = *image ? virtualbox_plan_medium(&ch->p, step->name, image, want, &ignored, err) : 0;
        ch->p.spot = NULL;
        virtualbox_plan_drop_files(&ch->files, files);
        return code;
    }
    ch->p.spot = &spot;
    if (code == 0)
        code = virtualbox_plan_disk(&ch->p, want, err);
    ch->p.spot = NULL;
    if (code < 0)
        return code;
    if (ch->files.file_count > files) {
        step->volume = ch->files.files[files].path;
        grow_copy(ch, &ch->files.files[files]);
    }
    if (now)
        take_attach(ch, &spot);
    else
        virtualbox_marker_device(ch->files.marker, "waits-0-0", NULL, NULL);
    return 0;
}

void virtualbox_change_disk_remove(virtualbox_changing *ch, const vboxmanage_attachment *at) {
    VMC_AUTO_FREE char *place = virtualbox_place(at);
    virtualbox_order *order = virtualbox_order_add(ch);
    say_attach(ch, &order->argv, at, "none");
    attach_again(ch, &order->back, at);
    virtualbox_marker_device(ch->files.marker, place, NULL, NULL);
}

/* bus and discard: off, and on again as it shall be. */
int virtualbox_change_disk(virtualbox_changing *ch, virtualbox_step *step, const vboxmanage_attachment *at,
                           vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("disks.%s", step->name);
    const vmctl_node *want = vmctl_node_get(ch->p.root, path);
    if (strcmp(step->key, "bus") != 0 && strcmp(step->key, "discard") != 0) {
        vmc_refuse(err, VMCTL_E_UNSUPPORTED, step->change->want, "%s of a disk that is there is not changed by vmctl",
                   step->key);
        return vmc_error_next(err, "detach it and attach one that has it");
    }
    for (size_t i = 0; i < ch->count && &ch->steps[i] != step; i++)
        if (ch->steps[i].made && ch->steps[i].kind == VIRTUALBOX_STEP_SETTING &&
            vmc_str_eq(ch->steps[i].name, step->name) && strcmp(ch->steps[i].list, "disks") == 0)
            return 0;
    step->made = true;
    virtualbox_spot spot = {0};
    virtualbox_change_disk_remove(ch, at);
    int code = find_spot(ch, vmctl_node_string(want, "bus", "sata"), want, &spot, err);
    if (code < 0)
        return code;
    const vboxmanage_attachment to = {
        .controller = (char *)spot.controller, .kind = at->kind, .port = spot.port, .device = spot.device};
    virtualbox_order *order = virtualbox_order_add(ch);
    say_attach(ch, &order->argv, &to, medium_now(ch, at));
    if (vmc_str_eq(vmctl_node_string(want, "discard", NULL), "unmap"))
        virtualbox_words(&order->argv, "--discard", "on", "--nonrotational", "on");
    say_attach(ch, &order->back, &to, "none");
    order->place = vmc_printf("%s-%u-%u", spot.controller, spot.port, spot.device);
    virtualbox_marker_device(ch->files.marker, order->place, step->name, NULL);
    return 0;
}

int virtualbox_change_medium(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_attachment *at,
                             vmctl_error **err) {
    const char *image = vmctl_node_string(step->change->want, NULL, "");
    VMC_AUTO_FREE char *medium = *image ? NULL : vmc_strdup("emptydrive");
    virtualbox_spot here = {at->controller, at->port, at->device};
    ch->p.spot = &here;
    int code = *image ? virtualbox_plan_medium(&ch->p, step->name, image, step->change->want, &medium, err) : 0;
    ch->p.spot = NULL;
    if (code < 0)
        return code;
    virtualbox_order *order = virtualbox_order_add(ch);
    say_attach(ch, &order->argv, at, medium);
    say_attach(ch, &order->back, at, medium_now(ch, at));
    if (ch->force)
        vmc_strv_add(&order->argv, "--forceunmount");
    return 0;
}

int virtualbox_change_growth(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_attachment *at,
                             vmctl_error **err) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(ch->scene.machine, at->medium);
    int64_t bytes = vmctl_node_integer(step->change->want, NULL, 0);
    if (!medium)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "the image of disk %s is not known", step->name);
    if (bytes % 512)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, step->change->want, "a disk's size is a multiple of 512 bytes");
    if (step->effect != VMCTL_EFFECT_NOW)
        return 0;
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "modifymedium", "disk", medium->location, "--resizebyte");
    vmc_strv_printf(&order->argv, "%lld", (long long)bytes);
    order->last = true;
    virtualbox_order *look = virtualbox_order_add(ch); /* as in virtualbox_plan_growth */
    virtualbox_words(&look->argv, "showmediuminfo", "disk", medium->location, NULL);
    virtualbox_words(&look->back, "showmediuminfo", "disk", medium->location, NULL);
    look->last = true;
    return 0;
}
