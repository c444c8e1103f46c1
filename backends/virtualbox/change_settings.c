/* Settings of a stopped VM: how they shall be, and how they were. */
#include "change_orders.h"

#include <stdlib.h>
#include <string.h>

static int set_memory(virtualbox_changing *ch, vmctl_error **err) {
    vmc_strv_add(&ch->modify_back, "--memory");
    vmc_strv_printf(&ch->modify_back, "%llu", (unsigned long long)ch->scene.machine->memory_mib);
    if (ch->settles &&
        ch->scene
            .balloon_mib) { /* VirtualBox keeps it: what the guest had less is left out of its memory from now on */
        vmc_strv_add(&ch->modify_back, "--guestmemoryballoon");
        vmc_strv_printf(&ch->modify_back, "%llu", (unsigned long long)ch->scene.balloon_mib);
        virtualbox_words(&ch->p.modify, "--guestmemoryballoon", "0", NULL, NULL);
    }
    return virtualbox_plan_memory(&ch->p, err);
}

static int set_cpus(virtualbox_changing *ch, vmctl_error **err) {
    const vboxmanage_machine *m = ch->scene.machine;
    (void)err;
    virtualbox_words(&ch->modify_back, "--cpu-hotplug", "off", "--cpus", NULL);
    vmc_strv_printf(&ch->modify_back, "%u", m->cpus_max ? m->cpus_max : m->cpus);
    if (m->cpus_max)
        virtualbox_words(&ch->modify_back, "--cpu-hotplug", "on", NULL, NULL);
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
    virtualbox_words(&ch->p.modify, "--ostype", virtualbox_os_type(guest), "--rtcuseutc",
                     strcmp(guest, "windows") == 0 ? "off" : "on");
    if (ch->scene.machine->os_type)
        virtualbox_words(&ch->modify_back, "--ostype", ch->scene.machine->os_type, NULL, NULL);
    return 0;
}

static int set_machine(virtualbox_changing *ch, vmctl_error **err) {
    (void)err;
    virtualbox_words(&ch->p.modify, "--chipset",
                     vmc_str_eq(vmctl_node_string(ch->p.root, "machine", "pc"), "q35") ? "ich9" : "piix3", NULL, NULL);
    virtualbox_words(&ch->modify_back, "--chipset", ch->scene.machine->chipset, NULL, NULL);
    return 0;
}

static int set_firmware(virtualbox_changing *ch, vmctl_error **err) {
    (void)err;
    const vmctl_node *root = ch->p.root;
    bool uefi = vmc_str_eq(vmctl_node_string(root, "firmware.type", "bios"), "uefi");
    virtualbox_words(&ch->p.modify, "--firmware", uefi ? "efi" : "bios", "--tpm-type",
                     vmctl_node_boolean(root, "firmware.tpm", false) ? "2.0" : "none");
    virtualbox_words(&ch->modify_back, "--firmware", ch->scene.machine->firmware, "--tpm-type",
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
    virtualbox_words(&ch->p.modify, "--vrde", "off", "--accelerate3d", "off"); /* what follows may turn them on */
    virtualbox_words(&ch->modify_back, "--graphicscontroller", m->graphics, "--accelerate3d",
                     m->accelerate_3d ? "on" : "off");
    virtualbox_words(&ch->modify_back, "--vrde", m->vrde ? "on" : "off", NULL, NULL);
    if (m->vrde_address)
        virtualbox_words(&ch->modify_back, "--vrdeaddress", m->vrde_address, NULL, NULL);
    return virtualbox_plan_display(&ch->p, err);
}

static int set_serial(virtualbox_changing *ch, vmctl_error **err) {
    const vboxmanage_machine *m = ch->scene.machine;
    (void)err;
    virtualbox_plan_serial(&ch->p);
    if (m->serial_path)
        virtualbox_words(&ch->modify_back, "--uartmode1", vmc_str_eq(m->serial_mode, "RawFile") ? "file" : "server",
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
int virtualbox_change_extra(virtualbox_changing *ch, const virtualbox_step *step) {
    static const char prefix[] = "virtualbox.extraData.";
    const char *key = step->change->path + strlen(prefix);
    const char *was = vboxmanage_extra(ch->scene.machine, key);
    virtualbox_order *order = virtualbox_order_add(ch);
    virtualbox_words(&order->argv, "setextradata", ch->scene.vm->id, key,
                     vmctl_node_string(step->change->want, NULL, ""));
    virtualbox_words(&order->back, "setextradata", ch->scene.vm->id, key, was ? was : "");
    return 0;
}

int virtualbox_change_setting(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err) {
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
            virtualbox_words(&virtualbox_order_add(ch)->argv, "modifynvram", ch->scene.vm->id, steps[i], NULL);
    }
    if (secure)
        virtualbox_words(&virtualbox_order_add(ch)->argv, "modifynvram", ch->scene.vm->id, "secureboot",
                         vmctl_node_boolean(step->change->want, NULL, false) ? "--enable" : "--disable");
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        if (strcmp(settings[i].list, step->list) == 0)
            return settings[i].set(ch, err);
    vmc_refuse(err, VMCTL_E_UNSUPPORTED, step->change->want, "%s of a VM that is there is not changed by vmctl",
               step->change->path);
    return vmc_error_next(err, "VBoxManage modifyvm %s changes it", ch->scene.vm->name);
}
