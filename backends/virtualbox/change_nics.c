/* Network cards of a VM that is stopped, and of one that runs. */
#include "change_orders.h"

#include <stdlib.h>
#include <string.h>

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
    virtualbox_words(&order->argv, "controlvm", ch->scene.vm->id, option, a);
    if (b)
        vmc_strv_add(&order->argv, b);
    virtualbox_words(&order->back, "controlvm", ch->scene.vm->id, option, back_a);
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

int virtualbox_change_nic(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
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

int virtualbox_change_nic_add(virtualbox_changing *ch, const vmctl_node *want, vmctl_error **err) {
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

void virtualbox_change_nic_remove(virtualbox_changing *ch, const vboxmanage_nic *nic) {
    VMC_AUTO_FREE char *place = virtualbox_nic_place(nic->slot);
    delete_rules(&ch->p.modify, nic);
    virtualbox_say_numbered(&ch->p.modify, "--nic", nic->slot, "none");
    restore_nic(&ch->modify_back, nic);
    virtualbox_marker_device(ch->files.marker, place, NULL, NULL);
}
