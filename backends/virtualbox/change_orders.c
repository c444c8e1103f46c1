/* What each step of a change is to VBoxManage, for a VM that is stopped and for one that runs. Only looks. */
#include "change_orders.h"

#include "usb.h"

#include <stdlib.h>
#include <string.h>

/* --- orders ---------------------------------------------------------------------------------------------------- */

virtualbox_order *virtualbox_order_add(virtualbox_changing *ch) {
    ch->orders = vmc_realloc(ch->orders, ch->order_count + 1, sizeof *ch->orders);
    virtualbox_order *order = &ch->orders[ch->order_count++];
    *order = (virtualbox_order){0};
    return order;
}

void virtualbox_words(vmc_strv *argv, const char *a, const char *b, const char *c, const char *d) {
    const char *const all[] = {a, b, c, d};
    for (size_t i = 0; i < 4 && all[i]; i++)
        vmc_strv_add(argv, all[i]);
}

/* --- shares --------------------------------------------------------------------------------------------------------------------- */

static void say_share(const virtualbox_changing *ch, vmc_strv *argv, const char *name, const char *path,
                      bool readonly) {
    virtualbox_words(argv, "sharedfolder", "add", ch->scene.vm->id, "--name");
    virtualbox_words(argv, name, "--hostpath", path, readonly ? "--readonly" : NULL);
}

static void remove_share(virtualbox_changing *ch, const vboxmanage_share *share) {
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "sharedfolder", "remove", ch->scene.vm->id, "--name");
    vmc_strv_add(&order->argv, share->name);
    say_share(ch, &order->back, share->name, share->path, !share->writable);
}

static void add_share(virtualbox_changing *ch, const vmctl_node *share) {
    const char *name = vmctl_node_string(share, "name", "share");
    virtualbox_order *order = virtualbox_order_add(ch);
    say_share(ch, &order->argv, name, vmctl_node_string(share, "path", ""),
              vmctl_node_boolean(share, "readonly", false));
    virtualbox_words(&order->back, "sharedfolder", "remove", ch->scene.vm->id, "--name");
    vmc_strv_add(&order->back, name);
}

/* --- CPUs of a VM that runs -------------------------------------------------------------------------------------------------------- */

static void plug(virtualbox_changing *ch, unsigned id, bool in) {
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "controlvm", ch->scene.vm->id, in ? "plugcpu" : "unplugcpu", NULL);
    vmc_strv_printf(&order->argv, "%u", id);
    virtualbox_words(&order->back, "controlvm", ch->scene.vm->id, in ? "unplugcpu" : "plugcpu", NULL);
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

/* --- memory of a VM that runs -------------------------------------------------------------------------------------------------------- */

static uint64_t mib_of(const virtualbox_step *step) {
    return (uint64_t)vmctl_node_integer(step->change->want, NULL, 0) >> 20;
}

static int plan_balloon(virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err) {
    if (vmctl_node_integer(step->change->want, NULL, 0) % (1 << 20))
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, step->change->want, "VirtualBox gives memory in whole MiB");
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "controlvm", ch->scene.vm->id, "guestmemoryballoon", NULL);
    vmc_strv_printf(&order->argv, "%llu", (unsigned long long)(ch->scene.machine->memory_mib - mib_of(step)));
    virtualbox_words(&order->back, "controlvm", ch->scene.vm->id, "guestmemoryballoon", NULL);
    vmc_strv_printf(&order->back, "%llu", (unsigned long long)ch->scene.balloon_mib);
    return 0;
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
    case VIRTUALBOX_STEP_MEMORY:
        return virtualbox_memory_obstacle(&ch->scene, mib_of(step));
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
    if (strcmp(step->list, "usb") == 0 && !ch->scene.machine->state_file)
        return virtualbox_usb_settle(ch, step, err);
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
    virtualbox_words(&order->argv, verb, ch->scene.vm->id, option, on ? "on" : "off");
    virtualbox_words(&order->back, verb, ch->scene.vm->id, option, was ? "on" : "off");
    return 0;
}

static void plan_description(virtualbox_changing *ch, const virtualbox_step *step) {
    const char *text = vmctl_node_string(step->change->want, NULL, "");
    const char *was = ch->scene.machine->description ? ch->scene.machine->description : "";
    if (ch->fixed && !ch->scene.machine->state_file)
        return; /* kept in the marker, and shown from there, until VirtualBox takes it */
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "modifyvm", ch->scene.vm->id, NULL, NULL);
    vmc_strv_printf(&order->argv, "--description=%s", text);
    virtualbox_words(&order->back, "modifyvm", ch->scene.vm->id, NULL, NULL);
    vmc_strv_printf(&order->back, "--description=%s", was);
}

static int plan_add(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    if (strcmp(step->list, "disks") == 0)
        return virtualbox_change_disk_add(ch, step, err);
    if (strcmp(step->list, "networks") == 0) {
        VMC_AUTO_STRV ignored = {0};
        if (step->effect == VMCTL_EFFECT_NOW)
            return virtualbox_change_nic_add(ch, step->change->want, err);
        VMC_AUTO_JSON *nobody = cJSON_CreateObject();
        int code = virtualbox_check_nat_network(ch->scene.conn, step->change->want, ch->scene.deadline, err);
        return code < 0 ? code : virtualbox_plan_nic(step->change->want, 0, &ignored, nobody, err);
    }
    if (strcmp(step->list, "shares") == 0) {
        if (step->effect == VMCTL_EFFECT_NOW)
            add_share(ch, step->change->want);
        return 0;
    }
    if (strcmp(step->list, "usb") == 0)
        return virtualbox_usb_add(ch, step, err);
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
    if (strcmp(step->list, "usb") == 0 && virtualbox_usb_remove(ch, step))
        return 0;
    if (!at && !nic && !share)
        return virtualbox_pending_find(ch->scene.marker, path) ? 0 : no_device(ch, step, err);
    if (step->effect != VMCTL_EFFECT_NOW)
        return 0;
    if (at)
        virtualbox_change_disk_remove(ch, at);
    if (nic)
        virtualbox_change_nic_remove(ch, nic);
    if (share)
        remove_share(ch, share);
    return 0;
}

/* One key of a device that is no matter of its own kind. */
static int plan_item(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    if (strcmp(step->list, "usb") == 0)
        return virtualbox_usb_change(ch, step, err);
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
    return at ? virtualbox_change_disk(ch, step, at, err) : no_device(ch, step, err);
}

int virtualbox_step_plan(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
    bool now = step->effect == VMCTL_EFFECT_NOW;
    const vboxmanage_attachment *at = NULL;
    switch (step->kind) {
    case VIRTUALBOX_STEP_MARKER:
        return vmc_starts_with(step->change->path, "virtualbox.extraData.") ? virtualbox_change_extra(ch, step) : 0;
    case VIRTUALBOX_STEP_DESCRIPTION:
        plan_description(ch, step);
        return 0;
    case VIRTUALBOX_STEP_AUTOSTART:
        return plan_autostart(ch, step, err);
    case VIRTUALBOX_STEP_NIC:
        if (!virtualbox_nic_named(&ch->scene, step->name))
            return no_device(ch, step, err);
        return now ? virtualbox_change_nic(ch, step, err) : 0;
    case VIRTUALBOX_STEP_CPUS:
        if (ch->fixed && now)
            plug_cpus(ch, step);
        return ch->fixed ? 0 : virtualbox_change_setting(ch, step, err);
    case VIRTUALBOX_STEP_MEMORY:
        if (ch->fixed)
            return now ? plan_balloon(ch, step, err) : 0;
        return virtualbox_change_setting(ch, step, err);
    case VIRTUALBOX_STEP_MEDIUM:
    case VIRTUALBOX_STEP_SIZE:
        at = virtualbox_attachment_named(&ch->scene, step->name);
        if (!at)
            return no_device(ch, step, err);
        if (step->kind == VIRTUALBOX_STEP_SIZE)
            return virtualbox_change_growth(ch, step, at, err);
        return now ? virtualbox_change_medium(ch, step, at, err) : 0;
    case VIRTUALBOX_STEP_ADD:
        return plan_add(ch, step, err);
    case VIRTUALBOX_STEP_REMOVE:
        return plan_remove(ch, step, err);
    case VIRTUALBOX_STEP_SETTING:
        break;
    }
    if (!now)
        return 0;
    return step->name && strcmp(step->list, "virtualbox") != 0 ? plan_item(ch, step, err)
                                                               : virtualbox_change_setting(ch, step, err);
}
