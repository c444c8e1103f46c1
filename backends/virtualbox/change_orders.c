/* What each step of a change is to VBoxManage, for a VM that is stopped and for one that runs. Only looks. */
#include "change.h"

#include "facts.h"
#include <stdlib.h>
#include <string.h>

/* --- orders -------------------------------------------------------------------------------------------------------------- */

virtualbox_order *virtualbox_order_add(virtualbox_changing *ch) {
    ch->orders = vmc_realloc(ch->orders, ch->order_count + 1, sizeof *ch->orders);
    virtualbox_order *order = &ch->orders[ch->order_count++];
    *order = (virtualbox_order){0};
    return order;
}

static void words(vmc_strv *argv, const char *a, const char *b, const char *c, const char *d) {
    const char *const all[] = {a, b, c, d};
    for (size_t i = 0; i < 4 && all[i]; i++)
        vmc_strv_add(argv, all[i]);
}

static void say_attach(const virtualbox_changing *ch, vmc_strv *argv, const vboxmanage_attachment *at,
                       const char *medium) {
    words(argv, "storageattach", ch->scene.vm->id, "--storagectl", at->controller);
    vmc_strv_printf(argv, "--port=%u", at->port);
    vmc_strv_printf(argv, "--device=%u", at->device);
    if (strcmp(medium, "none") != 0)
        words(argv, "--type", vmc_str_eq(at->kind, "DVD") ? "dvddrive" : "hdd", NULL, NULL);
    words(argv, "--medium", medium, NULL, NULL);
}

/* What is in it now, as storageattach takes it. */
static const char *medium_now(const virtualbox_changing *ch, const vboxmanage_attachment *at) {
    const vboxmanage_medium *medium = vboxmanage_medium_of(ch->scene.machine, at->medium);
    return medium ? medium->location : "emptydrive";
}

static void attach_again(const virtualbox_changing *ch, vmc_strv *argv, const vboxmanage_attachment *at) {
    say_attach(ch, argv, at, medium_now(ch, at));
    if (at->discard)
        words(argv, "--discard", "on", NULL, NULL);
    if (at->nonrotational)
        words(argv, "--nonrotational", "on", NULL, NULL);
    if (at->hotpluggable && !ch->fixed)
        words(argv, "--hotpluggable", "on", NULL, NULL);
}

/* --- settings of a stopped VM: how they shall be, and how they were ---------------------------------------------------------- */

static int set_memory(virtualbox_changing *ch, vmctl_error **err) {
    vmc_strv_add(&ch->modify_back, "--memory");
    vmc_strv_printf(&ch->modify_back, "%llu", (unsigned long long)ch->scene.machine->memory_mib);
    return virtualbox_plan_memory(&ch->p, err);
}

static int set_cpus(virtualbox_changing *ch, vmctl_error **err) {
    const vboxmanage_machine *m = ch->scene.machine;
    (void)err;
    words(&ch->modify_back, "--cpu-hotplug", "off", "--cpus", NULL);
    vmc_strv_printf(&ch->modify_back, "%u", m->cpus_max ? m->cpus_max : m->cpus);
    if (m->cpus_max)
        words(&ch->modify_back, "--cpu-hotplug", "on", NULL, NULL);
    for (unsigned i = m->cpus_max; i-- > 0;) {
        if (m->cpu_ids >> i & 1)
            continue;
        vmc_strv_add(&ch->modify_back, "--unplug-cpu");
        vmc_strv_printf(&ch->modify_back, "%u", i);
    }
    virtualbox_plan_cpus(&ch->p, true);
    return 0;
}

static int set_guest(virtualbox_changing *ch, vmctl_error **err) {
    (void)err;
    const char *guest = vmctl_node_string(ch->p.root, "guest", "linux");
    words(&ch->p.modify, "--ostype", virtualbox_os_type(guest), "--rtcuseutc",
          strcmp(guest, "windows") == 0 ? "off" : "on");
    if (ch->scene.machine->os_type)
        words(&ch->modify_back, "--ostype", ch->scene.machine->os_type, NULL, NULL);
    return 0;
}

static int set_machine(virtualbox_changing *ch, vmctl_error **err) {
    (void)err;
    words(&ch->p.modify, "--chipset",
          vmc_str_eq(vmctl_node_string(ch->p.root, "machine", "pc"), "q35") ? "ich9" : "piix3", NULL, NULL);
    words(&ch->modify_back, "--chipset", ch->scene.machine->chipset, NULL, NULL);
    return 0;
}

static int set_firmware(virtualbox_changing *ch, vmctl_error **err) {
    (void)err;
    const vmctl_node *root = ch->p.root;
    bool uefi = vmc_str_eq(vmctl_node_string(root, "firmware.type", "bios"), "uefi");
    words(&ch->p.modify, "--firmware", uefi ? "efi" : "bios", "--tpm-type",
          vmctl_node_boolean(root, "firmware.tpm", false) ? "2.0" : "none");
    words(&ch->modify_back, "--firmware", ch->scene.machine->firmware, "--tpm-type",
          ch->scene.machine->tpm ? "2.0" : "none");
    return 0;
}

static int set_boot(virtualbox_changing *ch, vmctl_error **err) {
    static const char *const kinds[][2] = {
        {"HardDisk", "disk"}, {"DVD", "dvd"}, {"Network", "net"}, {"Floppy", "floppy"}};
    (void)err;
    virtualbox_plan_boot(&ch->p);
    for (unsigned i = 0; i < 4; i++) {
        const char *was = "none";
        for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
            if (vmc_str_eq(ch->scene.machine->boot[i], kinds[k][0]))
                was = kinds[k][1];
        virtualbox_say_numbered(&ch->modify_back, "--boot", i, was);
    }
    return 0;
}

static int set_display(virtualbox_changing *ch, vmctl_error **err) {
    const vboxmanage_machine *m = ch->scene.machine;
    words(&ch->p.modify, "--vrde", "off", "--accelerate3d", "off"); /* what follows may turn them on */
    words(&ch->modify_back, "--graphicscontroller", m->graphics, "--accelerate3d", m->accelerate_3d ? "on" : "off");
    words(&ch->modify_back, "--vrde", m->vrde ? "on" : "off", NULL, NULL);
    if (m->vrde_address)
        words(&ch->modify_back, "--vrdeaddress", m->vrde_address, NULL, NULL);
    return virtualbox_plan_display(&ch->p, err);
}

static int set_serial(virtualbox_changing *ch, vmctl_error **err) {
    const vboxmanage_machine *m = ch->scene.machine;
    (void)err;
    virtualbox_plan_serial(&ch->p);
    if (m->serial_path)
        words(&ch->modify_back, "--uartmode1", vmc_str_eq(m->serial_mode, "RawFile") ? "file" : "server",
              m->serial_path, NULL);
    return 0;
}

/* Keys that are read by the first boot, or that only say where a VM goes, change nothing of it. */
static int set_nothing(virtualbox_changing *ch, vmctl_error **err) {
    (void)ch;
    (void)err;
    return 0;
}

static const struct {
    const char *list;
    int (*set)(virtualbox_changing *ch, vmctl_error **err);
} settings[] = {
    {"memory", set_memory},     {"cpus", set_cpus},       {"guest", set_guest},          {"machine", set_machine},
    {"firmware", set_firmware}, {"boot", set_boot},       {"display", set_display},      {"serial", set_serial},
    {"arch", set_nothing},      {"accel", set_nothing},   {"confidential", set_nothing}, {"cloudInit", set_nothing},
    {"backend", set_nothing},   {"context", set_nothing}, {"count", set_nothing},
};

/* virtualbox.modifyvm.KEY */
static int plan_option(virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err) {
    if (!step->change->want) {
        vmc_error(err, VMCTL_E_UNSUPPORTED, "VirtualBox does not tell what %s is without being set",
                  step->change->path);
        return vmc_error_next(err, "set the value that it shall have");
    }
    virtualbox_say_option(&ch->p.modify, step->change->want);
    ch->unknown_back = true;
    return 0;
}

/* virtualbox.extraData.KEY: also of a VM that runs. */
static int plan_extra(virtualbox_changing *ch, const virtualbox_step *step) {
    static const char prefix[] = "virtualbox.extraData.";
    const char *key = step->change->path + strlen(prefix);
    const char *was = vboxmanage_extra(ch->scene.machine, key);
    virtualbox_order *order = virtualbox_order_add(ch);
    words(&order->argv, "setextradata", ch->scene.vm->id, key, vmctl_node_string(step->change->want, NULL, ""));
    words(&order->back, "setextradata", ch->scene.vm->id, key, was ? was : "");
    return 0;
}

static int plan_setting(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    if (vmc_starts_with(step->change->path, "virtualbox.modifyvm."))
        return plan_option(ch, step, err);
    for (size_t i = 0; i < ch->count && &ch->steps[i] != step; i++)
        if (ch->steps[i].made && strcmp(ch->steps[i].list, step->list) == 0)
            return 0; /* with that one */
    step->made = true;
    bool secure = strcmp(step->change->path, "firmware.secureBoot") == 0;
    if (secure && vmctl_node_boolean(step->change->want, NULL, false)) {
        static const char *const steps[] = {"inituefivarstore", "enrollmssignatures", "enrollorclpk"};
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
            words(&virtualbox_order_add(ch)->argv, "modifynvram", ch->scene.vm->id, steps[i], NULL);
    }
    if (secure)
        words(&virtualbox_order_add(ch)->argv, "modifynvram", ch->scene.vm->id, "secureboot",
              vmctl_node_boolean(step->change->want, NULL, false) ? "--enable" : "--disable");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (strcmp(settings[i].list, step->list) == 0)
            return settings[i].set(ch, err);
    vmc_refuse(err, VMCTL_E_UNSUPPORTED, step->change->want, "%s of a VM that is there is not changed by vmctl",
               step->change->path);
    return vmc_error_next(err, "VBoxManage modifyvm %s changes it", ch->scene.vm->name);
}

/* --- NICs ------------------------------------------------------------------------------------------------------------------- */

static const char *source_option(const char *mode) {
    return vmc_str_eq(mode, "bridged")      ? "--bridgeadapter"
           : vmc_str_eq(mode, "intnet")     ? "--intnet"
           : vmc_str_eq(mode, "hostonly")   ? "--hostonlyadapter"
           : vmc_str_eq(mode, "natnetwork") ? "--nat-network"
                                            : NULL;
}

/* VBoxManage's word for a mode of the settings file. */
static const char *mode_word(const vboxmanage_nic *nic) {
    return vmc_str_eq(nic->mode, "internal") ? "intnet" : nic->mode;
}

static char *rule_of(const vboxmanage_forward *f) {
    return vmc_printf("%s,%s,%s,%u,%s,%u", f->name, f->udp ? "udp" : "tcp", f->host_ip ? f->host_ip : "", f->host_port,
                      f->guest_ip ? f->guest_ip : "", f->guest_port);
}

static void restore_nic(vmc_strv *argv, const vboxmanage_nic *nic) {
    const char *option = source_option(mode_word(nic));
    virtualbox_say_numbered(argv, "--nic", nic->slot, mode_word(nic));
    if (option && nic->source)
        virtualbox_say_numbered(argv, option, nic->slot, nic->source);
    virtualbox_say_numbered(argv, "--nictype", nic->slot, nic->type);
    virtualbox_say_numbered(argv, "--cableconnected", nic->slot, nic->cable ? "on" : "off");
    VMC_AUTO_STR plain = {0};
    for (const char *c = nic->mac; *c; c++)
        if (*c != ':')
            vmc_str_add_char(&plain, *c);
    virtualbox_say_numbered(argv, "--macaddress", nic->slot, plain.text ? plain.text : "auto");
    for (size_t i = 0; i < nic->forward_count; i++) {
        VMC_AUTO_FREE char *rule = rule_of(&nic->forwards[i]);
        virtualbox_say_numbered(argv, "--natpf", nic->slot, rule);
    }
}

static void delete_rule(vmc_strv *argv, unsigned slot, const char *name) {
    virtualbox_say_numbered(argv, "--natpf", slot, "delete");
    vmc_strv_add(argv, name);
}

static void delete_rules(vmc_strv *argv, const vboxmanage_nic *nic) {
    for (size_t i = 0; i < nic->forward_count; i++)
        delete_rule(argv, nic->slot, nic->forwards[i].name);
}

/* The rules that the spec wants, by their names. */
static void delete_wanted_rules(vmc_strv *argv, unsigned slot, const vmctl_node *nic) {
    const vmctl_node *forwards = vmctl_node_get(nic, "forward");
    for (size_t i = 0; i < vmctl_node_count(forwards); i++) {
        VMC_AUTO_FREE char *rule = virtualbox_forward_rule(vmctl_node_string(vmctl_node_at(forwards, i), NULL, ""));
        VMC_AUTO_FREE char *name = vmc_strndup(rule, strcspn(rule, ","));
        delete_rule(argv, slot, name);
    }
}

static const vmctl_node *wanted_nic(const virtualbox_changing *ch, const char *name) {
    VMC_AUTO_FREE char *path = vmc_printf("networks.%s", name);
    return vmctl_node_get(ch->p.root, path);
}

static void control(virtualbox_changing *ch, const char *verb, unsigned slot, const char *a, const char *b,
                    const char *back_a, const char *back_b) {
    virtualbox_order *order = virtualbox_order_add(ch);
    VMC_AUTO_FREE char *option = vmc_printf("%s%u", verb, slot + 1);
    words(&order->argv, "controlvm", ch->scene.vm->id, option, a);
    if (b)
        vmc_strv_add(&order->argv, b);
    words(&order->back, "controlvm", ch->scene.vm->id, option, back_a);
    if (back_b)
        vmc_strv_add(&order->back, back_b);
}

/* Of a VM that runs: the cable, the network that it leads to, the forwards. */
static int plan_running_nic(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_nic *nic,
                            const vmctl_node *want, vmctl_error **err) {
    VMC_AUTO_STRV options = {0};
    int code = virtualbox_plan_nic(want, nic->slot, &options, ch->files.marker, err);
    if (code < 0)
        return code;
    if (vmc_str_eq(step->key, "link")) {
        bool up = !vmc_str_eq(vmctl_node_string(want, "link", "up"), "down");
        control(ch, "setlinkstate", nic->slot, up ? "on" : "off", NULL, nic->cable ? "on" : "off", NULL);
    } else if (vmc_str_eq(step->key, "forward")) {
        for (size_t i = 0; i < nic->forward_count; i++) {
            VMC_AUTO_FREE char *rule = rule_of(&nic->forwards[i]);
            if (!vmc_starts_with(nic->forwards[i].name, VIRTUALBOX_FORWARD_NAME))
                control(ch, "natpf", nic->slot, "delete", nic->forwards[i].name, rule, NULL);
        }
        const vmctl_node *forwards = vmctl_node_get(want, "forward");
        for (size_t i = 0; i < vmctl_node_count(forwards); i++) {
            VMC_AUTO_FREE char *rule = virtualbox_forward_rule(vmctl_node_string(vmctl_node_at(forwards, i), NULL, ""));
            VMC_AUTO_FREE char *name = vmc_strndup(rule, strcspn(rule, ","));
            control(ch, "natpf", nic->slot, rule, NULL, "delete", name);
        }
    } else { /* type, source: --nicN MODE is the first option, the network's name the second where it has one */
        bool named = options.count > 3 && source_option(options.items[1]);
        control(ch, "nic", nic->slot, options.items[1], named ? options.items[3] : NULL, mode_word(nic), nic->source);
    }
    return 0;
}

static int plan_nic(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    const vboxmanage_nic *nic = virtualbox_nic_named(&ch->scene, step->name);
    const vmctl_node *want = wanted_nic(ch, step->name);
    if (!nic || !want)
        return vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no NIC %s", ch->scene.vm->name, step->name);
    if (ch->fixed)
        return plan_running_nic(ch, step, nic, want, err);
    for (size_t i = 0; i < ch->count && &ch->steps[i] != step; i++)
        if (ch->steps[i].kind == VIRTUALBOX_STEP_NIC && ch->steps[i].made && vmc_str_eq(ch->steps[i].name, step->name))
            return 0;
    step->made = true;
    delete_rules(&ch->p.modify, nic);
    delete_wanted_rules(&ch->modify_back, nic->slot, want);
    restore_nic(&ch->modify_back, nic);
    int code = virtualbox_check_nat_network(ch->scene.conn, want, ch->scene.deadline, err);
    return code < 0 ? code : virtualbox_plan_nic(want, nic->slot, &ch->p.modify, ch->files.marker, err);
}

static int add_nic(virtualbox_changing *ch, const vmctl_node *want, vmctl_error **err) {
    enum { NICS = 8 };
    bool taken[NICS] = {false};
    for (size_t i = 0; i < ch->scene.machine->nic_count; i++)
        if (ch->scene.machine->nics[i].slot < NICS)
            taken[ch->scene.machine->nics[i].slot] = true;
    for (size_t i = 0; i < ch->p.modify.count; i++) /* those that this change has added */
        if (vmc_starts_with(ch->p.modify.items[i], "--nictype"))
            taken[(ch->p.modify.items[i][9] - '1') % NICS] = true;
    unsigned slot = 0;
    while (slot < NICS && taken[slot])
        slot++;
    if (slot == NICS)
        return vmc_refuse(err, VMCTL_E_RESOURCE_EXHAUSTED, want, "VirtualBox takes %d NICs", NICS);
    int code = virtualbox_check_nat_network(ch->scene.conn, want, ch->scene.deadline, err);
    virtualbox_say_numbered(&ch->modify_back, "--nic", slot, "none");
    return code < 0 ? code : virtualbox_plan_nic(want, slot, &ch->p.modify, ch->files.marker, err);
}

static void remove_nic(virtualbox_changing *ch, const vboxmanage_nic *nic) {
    VMC_AUTO_FREE char *place = virtualbox_nic_place(nic->slot);
    delete_rules(&ch->p.modify, nic);
    virtualbox_say_numbered(&ch->p.modify, "--nic", nic->slot, "none");
    restore_nic(&ch->modify_back, nic);
    virtualbox_marker_device(ch->files.marker, place, NULL, NULL);
}

/* --- disks -------------------------------------------------------------------------------------------------------------------- */

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
    words(&order->argv, "storagectl", ch->scene.vm->id, "--name", kind->name);
    words(&order->argv, "--add", kind->add, "--controller", kind->controller);
    if (kind->ports)
        words(&order->argv, "--portcount", "1", NULL, NULL);
    words(&order->back, "storagectl", ch->scene.vm->id, "--name", kind->name);
    vmc_strv_add(&order->back, "--remove");
    if (strcmp(kind->bus, "usb") == 0)
        words(&ch->p.modify, "--usbxhci", "on", NULL, NULL);
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
        words(&order->argv, "storagectl", ch->scene.vm->id, "--name", spot->controller);
        vmc_strv_printf(&order->argv, "--portcount=%u", spot->port + 1);
        if (controller) {
            words(&order->back, "storagectl", ch->scene.vm->id, "--name", spot->controller);
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
    VBOXMANAGE_AUTO_PROPERTIES running = {0};
    int code = virtualbox_world_read(ch->scene.conn, ch->scene.deadline, &world, err);
    for (size_t i = 0; code == 0 && i < world.count; i++) {
        const vboxmanage_machine *other = world.machines[i];
        for (size_t a = 0; a < other->attachment_count; a++) {
            const vboxmanage_medium *medium = vboxmanage_medium_of(other, other->attachments[a].medium);
            if (!medium || strcmp(medium->location, path) != 0 || strcmp(other->id, ch->scene.vm->id) == 0 ||
                !vmc_str_eq(other->attachments[a].kind, "HardDisk"))
                continue;
            virtualbox_running(ch->scene.conn, ch->scene.deadline, &running, NULL);
            bool runs = vboxmanage_property_get(&running, other->id) != NULL;
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

static int add_disk(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
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
    if (ch->files.file_count > files)
        step->volume = ch->files.files[files].path;
    if (now)
        take_attach(ch, &spot);
    else
        virtualbox_marker_device(ch->files.marker, "waits-0-0", NULL, NULL);
    return 0;
}

static void remove_disk(virtualbox_changing *ch, const vboxmanage_attachment *at) {
    VMC_AUTO_FREE char *place = virtualbox_place(at);
    virtualbox_order *order = virtualbox_order_add(ch);
    say_attach(ch, &order->argv, at, "none");
    attach_again(ch, &order->back, at);
    virtualbox_marker_device(ch->files.marker, place, NULL, NULL);
}

/* bus and discard: off, and on again as it shall be. */
static int move_disk(virtualbox_changing *ch, virtualbox_step *step, const vboxmanage_attachment *at,
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
    remove_disk(ch, at);
    int code = find_spot(ch, vmctl_node_string(want, "bus", "sata"), want, &spot, err);
    if (code < 0)
        return code;
    const vboxmanage_attachment to = {
        .controller = (char *)spot.controller, .kind = at->kind, .port = spot.port, .device = spot.device};
    virtualbox_order *order = virtualbox_order_add(ch);
    say_attach(ch, &order->argv, &to, medium_now(ch, at));
    if (vmc_str_eq(vmctl_node_string(want, "discard", NULL), "unmap"))
        words(&order->argv, "--discard", "on", "--nonrotational", "on");
    say_attach(ch, &order->back, &to, "none");
    order->place = vmc_printf("%s-%u-%u", spot.controller, spot.port, spot.device);
    virtualbox_marker_device(ch->files.marker, order->place, step->name, NULL);
    return 0;
}

static int change_medium(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_attachment *at,
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

static int grow(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_attachment *at,
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
    words(&order->argv, "modifymedium", "disk", medium->location, "--resizebyte");
    vmc_strv_printf(&order->argv, "%lld", (long long)bytes);
    order->last = true;
    return 0;
}

/* --- shares --------------------------------------------------------------------------------------------------------------------- */

static void say_share(const virtualbox_changing *ch, vmc_strv *argv, const char *name, const char *path,
                      bool readonly) {
    words(argv, "sharedfolder", "add", ch->scene.vm->id, "--name");
    words(argv, name, "--hostpath", path, readonly ? "--readonly" : NULL);
}

static void remove_share(virtualbox_changing *ch, const vboxmanage_share *share) {
    virtualbox_order *order = virtualbox_order_add(ch);
    words(&order->argv, "sharedfolder", "remove", ch->scene.vm->id, "--name");
    vmc_strv_add(&order->argv, share->name);
    say_share(ch, &order->back, share->name, share->path, !share->writable);
}

static void add_share(virtualbox_changing *ch, const vmctl_node *share) {
    const char *name = vmctl_node_string(share, "name", "share");
    virtualbox_order *order = virtualbox_order_add(ch);
    say_share(ch, &order->argv, name, vmctl_node_string(share, "path", ""),
              vmctl_node_boolean(share, "readonly", false));
    words(&order->back, "sharedfolder", "remove", ch->scene.vm->id, "--name");
    vmc_strv_add(&order->back, name);
}

/* --- CPUs of a VM that runs -------------------------------------------------------------------------------------------------------- */

static void plug(virtualbox_changing *ch, unsigned id, bool in) {
    virtualbox_order *order = virtualbox_order_add(ch);
    words(&order->argv, "controlvm", ch->scene.vm->id, in ? "plugcpu" : "unplugcpu", NULL);
    vmc_strv_printf(&order->argv, "%u", id);
    words(&order->back, "controlvm", ch->scene.vm->id, in ? "unplugcpu" : "plugcpu", NULL);
    vmc_strv_printf(&order->back, "%u", id);
}

static void plug_cpus(virtualbox_changing *ch, const virtualbox_step *step) {
    const vboxmanage_machine *m = ch->scene.machine;
    int64_t wanted = vmctl_node_integer(step->change->want, NULL, m->cpus);
    int64_t now = m->cpus;
    for (unsigned id = 0; id < m->cpus_max && now < wanted; id++) {
        if (m->cpu_ids >> id & 1)
            continue;
        plug(ch, id, true);
        now++;
    }
    for (unsigned id = m->cpus_max; id-- > 1 && now > wanted;) {
        if (!(m->cpu_ids >> id & 1))
            continue;
        plug(ch, id, false);
        now--;
    }
}

/* --- steps -------------------------------------------------------------------------------------------------------------------------- */

static int no_device(const virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", step->list, step->name);
    if (virtualbox_pending_find(ch->scene.marker, path)) {
        vmc_error(err, VMCTL_E_INVALID_STATE, "%s comes to %s at its next start only", step->name, ch->scene.vm->name);
        return vmc_error_next(err, "restart it first (vmctl restart %s)", ch->scene.vm->name);
    }
    return vmc_error(err, VMCTL_E_NOT_FOUND, "%s has no device %s", ch->scene.vm->name, step->name);
}

/* Of a VM that runs; NULL: now. */
static char *why_later(const virtualbox_changing *ch, const virtualbox_step *step) {
    const vboxmanage_machine *m = ch->scene.machine;
    bool disks = strcmp(step->list, "disks") == 0;
    switch (step->kind) {
    case VIRTUALBOX_STEP_CPUS:
        return virtualbox_cpus_obstacle(m, (uint64_t)vmctl_node_integer(step->change->want, NULL, m->cpus));
    case VIRTUALBOX_STEP_NIC:
        return vmc_str_eq(step->key, "mac") || vmc_str_eq(step->key, "model") ? vmc_strdup(VIRTUALBOX_FIXED_OBSTACLE)
                                                                              : NULL;
    case VIRTUALBOX_STEP_ADD:
        if (disks && !vmctl_node_get(step->change->want, "cdrom"))
            return virtualbox_disk_obstacle(m, vmctl_node_string(step->change->want, "bus", "sata"), NULL);
        break;
    case VIRTUALBOX_STEP_REMOVE:
        if (disks && virtualbox_attachment_named(&ch->scene, step->name)) {
            const vboxmanage_attachment *at = virtualbox_attachment_named(&ch->scene, step->name);
            return virtualbox_disk_obstacle(m, virtualbox_bus(m, at->controller), at);
        }
        break;
    case VIRTUALBOX_STEP_SETTING:
    case VIRTUALBOX_STEP_SIZE:
        break;
    default:
        return NULL;
    }
    if (step->kind == VIRTUALBOX_STEP_SETTING || step->kind == VIRTUALBOX_STEP_SIZE)
        return vmc_strdup(VIRTUALBOX_FIXED_OBSTACLE);
    return vmc_printf("VirtualBox adds and takes %s of a stopped VM only", disks ? "optical drives"
                                                                           : strcmp(step->list, "networks") == 0
                                                                               ? "NICs"
                                                                               : "shared folders");
}

int virtualbox_step_settle(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    step->effect = VMCTL_EFFECT_NOW;
    if (step->kind == VIRTUALBOX_STEP_SIZE) {
        const vboxmanage_attachment *at = virtualbox_attachment_named(&ch->scene, step->name);
        const vboxmanage_medium *medium = at ? vboxmanage_medium_of(ch->scene.machine, at->medium) : NULL;
        int code = medium ? virtualbox_grow_check(&ch->scene, step->name, medium, err) : no_device(ch, step, err);
        if (code < 0)
            return code;
    }
    bool anytime = step->kind == VIRTUALBOX_STEP_MARKER || step->kind == VIRTUALBOX_STEP_DESCRIPTION ||
                   step->kind == VIRTUALBOX_STEP_AUTOSTART;
    VMC_AUTO_FREE char *path = step->name ? vmc_printf("%s.%s", step->list, step->name) : NULL;
    bool waits = path && step->kind == VIRTUALBOX_STEP_REMOVE && virtualbox_pending_find(ch->scene.marker, path);
    if (!ch->fixed || anytime || waits)
        return 0;
    step->why = ch->scene.machine->state_file ? vmc_strdup(VIRTUALBOX_SAVED_OBSTACLE) : why_later(ch, step);
    if (step->why)
        step->effect = VMCTL_EFFECT_AT_RESTART;
    return 0;
}

static int plan_autostart(virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err) {
    bool on = vmctl_node_boolean(step->change->want, NULL, false);
    bool was = ch->scene.machine->autostart;
    int code = on ? virtualbox_check_autostart(&ch->registry, step->change->want, err) : 0;
    if (code < 0)
        return code;
    virtualbox_order *order = virtualbox_order_add(ch);
    bool runs = ch->fixed && !ch->scene.machine->state_file;
    const char *verb = runs ? "controlvm" : "modifyvm";
    const char *option = runs ? "autostart-enabled" : "--autostart-enabled";
    words(&order->argv, verb, ch->scene.vm->id, option, on ? "on" : "off");
    words(&order->back, verb, ch->scene.vm->id, option, was ? "on" : "off");
    return 0;
}

static void plan_description(virtualbox_changing *ch, const virtualbox_step *step) {
    const char *text = vmctl_node_string(step->change->want, NULL, "");
    const char *was = ch->scene.machine->description ? ch->scene.machine->description : "";
    if (ch->fixed && !ch->scene.machine->state_file)
        return; /* kept in the marker, and shown from there, until VirtualBox takes it */
    virtualbox_order *order = virtualbox_order_add(ch);
    words(&order->argv, "modifyvm", ch->scene.vm->id, NULL, NULL);
    vmc_strv_printf(&order->argv, "--description=%s", text);
    words(&order->back, "modifyvm", ch->scene.vm->id, NULL, NULL);
    vmc_strv_printf(&order->back, "--description=%s", was);
}

static int plan_add(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    if (strcmp(step->list, "disks") == 0)
        return add_disk(ch, step, err);
    if (strcmp(step->list, "networks") == 0) {
        VMC_AUTO_STRV ignored = {0};
        if (step->effect == VMCTL_EFFECT_NOW)
            return add_nic(ch, step->change->want, err);
        VMC_AUTO_JSON *nobody = cJSON_CreateObject();
        int code = virtualbox_check_nat_network(ch->scene.conn, step->change->want, ch->scene.deadline, err);
        return code < 0 ? code : virtualbox_plan_nic(step->change->want, 0, &ignored, nobody, err);
    }
    if (strcmp(step->list, "shares") == 0) {
        if (step->effect == VMCTL_EFFECT_NOW)
            add_share(ch, step->change->want);
        return 0;
    }
    return vmc_refuse(err, VMCTL_E_UNSUPPORTED, step->change->want, "VirtualBox takes no %s of a VM that is there",
                      step->list);
}

static int plan_remove(virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err) {
    const vboxmanage_attachment *at =
        strcmp(step->list, "disks") == 0 ? virtualbox_attachment_named(&ch->scene, step->name) : NULL;
    const vboxmanage_nic *nic =
        strcmp(step->list, "networks") == 0 ? virtualbox_nic_named(&ch->scene, step->name) : NULL;
    const vboxmanage_share *share =
        strcmp(step->list, "shares") == 0 ? virtualbox_share_named(&ch->scene, step->name) : NULL;
    VMC_AUTO_FREE char *path = vmc_printf("%s.%s", step->list, step->name);
    if (!at && !nic && !share)
        return virtualbox_pending_find(ch->scene.marker, path) ? 0 : no_device(ch, step, err);
    if (step->effect != VMCTL_EFFECT_NOW)
        return 0;
    if (at)
        remove_disk(ch, at);
    if (nic)
        remove_nic(ch, nic);
    if (share)
        remove_share(ch, share);
    return 0;
}

/* One key of a device that is no matter of its own kind. */
static int plan_item(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    if (strcmp(step->list, "shares") == 0) {
        const vboxmanage_share *share = virtualbox_share_named(&ch->scene, step->name);
        VMC_AUTO_FREE char *path = vmc_printf("shares.%s", step->name);
        if (!share)
            return no_device(ch, step, err);
        remove_share(ch, share);
        add_share(ch, vmctl_node_get(ch->p.root, path));
        return 0;
    }
    const vboxmanage_attachment *at = virtualbox_attachment_named(&ch->scene, step->name);
    return at ? move_disk(ch, step, at, err) : no_device(ch, step, err);
}

int virtualbox_step_plan(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    bool now = step->effect == VMCTL_EFFECT_NOW;
    const vboxmanage_attachment *at = NULL;
    switch (step->kind) {
    case VIRTUALBOX_STEP_MARKER:
        return vmc_starts_with(step->change->path, "virtualbox.extraData.") ? plan_extra(ch, step) : 0;
    case VIRTUALBOX_STEP_DESCRIPTION:
        plan_description(ch, step);
        return 0;
    case VIRTUALBOX_STEP_AUTOSTART:
        return plan_autostart(ch, step, err);
    case VIRTUALBOX_STEP_NIC:
        if (!virtualbox_nic_named(&ch->scene, step->name))
            return no_device(ch, step, err);
        return now ? plan_nic(ch, step, err) : 0;
    case VIRTUALBOX_STEP_CPUS:
        if (ch->fixed && now)
            plug_cpus(ch, step);
        return ch->fixed ? 0 : plan_setting(ch, step, err);
    case VIRTUALBOX_STEP_MEDIUM:
    case VIRTUALBOX_STEP_SIZE:
        at = virtualbox_attachment_named(&ch->scene, step->name);
        if (!at)
            return no_device(ch, step, err);
        if (step->kind == VIRTUALBOX_STEP_SIZE)
            return grow(ch, step, at, err);
        return now ? change_medium(ch, step, at, err) : 0;
    case VIRTUALBOX_STEP_ADD:
        return plan_add(ch, step, err);
    case VIRTUALBOX_STEP_REMOVE:
        return plan_remove(ch, step, err);
    case VIRTUALBOX_STEP_SETTING:
        break;
    }
    if (!now)
        return 0;
    return step->name && strcmp(step->list, "virtualbox") != 0 ? plan_item(ch, step, err) : plan_setting(ch, step, err);
}
