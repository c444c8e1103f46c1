/* The machine of a plan: CPUs, memory, firmware, display, boot order, and what the virtualbox section says. */
#include "plan_parts.h"

#include <string.h>

static int plan_display(virtualbox_planning *p, vmctl_error **err) {
    const char *type = vmctl_node_string(p->root, "display.type", NULL);
    const char *video = vmctl_node_string(p->root, "display.video", NULL);
    bool none = vmc_str_eq(type, "none");
    virtualbox_add(&p->modify, "--graphicscontroller", none ? "none" : video ? video : "vmsvga");
    if (!none)
        virtualbox_add(&p->modify, "--vram", "16"); /* MiB */
    if (vmctl_node_boolean(p->root, "display.gl", false))
        virtualbox_add(&p->modify, "--accelerate3d", "on");
    if (!vmc_str_eq(type, "vnc"))
        return 0;
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(p->conn, NULL, "asking for the extension packs", p->deadline, &text, err, "list",
                              "extpacks", NULL);
    if (code < 0)
        return code;
    if (!strstr(text, "VBoxVNC"))
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, vmctl_node_get(p->root, "display"),
                          "this VirtualBox has no VNC extension pack");
    virtualbox_add(&p->modify, "--vrde", "on");
    virtualbox_add(&p->modify, "--vrdeextpack", "VNC");
    virtualbox_add(&p->modify, "--vrdeport", "5900-5999");
    virtualbox_add(&p->modify, "--vrdeaddress", vmctl_node_string(p->root, "display.listen", "127.0.0.1"));
    return 0;
}

/* One line of modifyvm takes what a person wrote last: virtualbox.modifyvm wins over what vm.yaml's own keys became. */
void virtualbox_plan_own_section(virtualbox_planning *p) {
    const vmctl_node *options = vmctl_node_get(p->root, "virtualbox.modifyvm");
    for (size_t i = 0; i < vmctl_node_count(options); i++) {
        const vmctl_node *option = vmctl_node_at(options, i);
        vmc_strv_printf(&p->modify, "--%s", vmctl_node_key(option));
        if (vmctl_node_kind(option) == VMCTL_KIND_BOOLEAN)
            vmc_strv_add(&p->modify, vmctl_node_boolean(option, NULL, false) ? "on" : "off");
        else if (vmctl_node_kind(option) == VMCTL_KIND_INTEGER)
            vmc_strv_printf(&p->modify, "%lld", (long long)vmctl_node_integer(option, NULL, 0));
        else
            vmc_strv_add(&p->modify, vmctl_node_string(option, NULL, ""));
    }
    const vmctl_node *extra = vmctl_node_get(p->root, "virtualbox.extraData");
    for (size_t i = 0; i < vmctl_node_count(extra); i++) {
        const vmctl_node *item = vmctl_node_at(extra, i);
        vmc_strv *argv = virtualbox_plan_command(p->plan);
        virtualbox_add(argv, "setextradata", p->plan->id);
        virtualbox_add(argv, vmctl_node_key(item), vmctl_node_string(item, NULL, ""));
    }
}

static void plan_boot(virtualbox_planning *p) {
    const vmctl_node *order = vmctl_node_get(p->root, "boot.order");
    const vmctl_node *disks = vmctl_node_get(p->root, "disks");
    const char *kinds[4] = {"disk", "dvd", "none", "none"};
    size_t count = 0;
    for (size_t i = 0; i < vmctl_node_count(order) && count < 3; i++) {
        const char *kind = "net";
        for (size_t d = 0; d < vmctl_node_count(disks); d++) {
            const vmctl_node *disk = vmctl_node_at(disks, d);
            if (vmc_str_eq(vmctl_node_string(disk, "name", NULL),
                           vmctl_node_string(vmctl_node_at(order, i), NULL, NULL)))
                kind = vmctl_node_get(disk, "cdrom") ? "dvd" : "disk";
        }
        bool known = false;
        for (size_t k = 0; k < count; k++)
            known = known || kinds[k] == kind || strcmp(kinds[k], kind) == 0;
        if (!known)
            kinds[count++] = kind;
    }
    for (size_t k = count; count && k < 4; k++)
        kinds[k] = "none";
    for (unsigned k = 0; k < 4; k++)
        virtualbox_say_numbered(&p->modify, "--boot", k, kinds[k]);
}

int virtualbox_plan_machine(virtualbox_planning *p, vmctl_error **err) {
    const vmctl_node *root = p->root;
    int64_t memory = vmctl_node_integer(root, "memory.size", 0);
    if (memory % (1 << 20))
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(root, "memory.size"),
                          "VirtualBox gives memory in whole MiB");
    vmc_strv_add(&p->modify, "--memory");
    vmc_strv_printf(&p->modify, "%lld", (long long)(memory >> 20));
    vmc_strv_add(&p->modify, "--cpus");
    vmc_strv_printf(&p->modify, "%lld", (long long)vmctl_node_integer(root, "cpus.count", 1));
    virtualbox_add(&p->modify, "--ioapic", "on");
    virtualbox_add(&p->modify, "--rtcuseutc",
                   vmc_str_eq(vmctl_node_string(root, "guest", "linux"), "windows") ? "off" : "on");
    virtualbox_add(&p->modify, "--chipset",
                   vmc_str_eq(vmctl_node_string(root, "machine", "pc"), "q35") ? "ich9" : "piix3");
    bool uefi = vmc_str_eq(vmctl_node_string(root, "firmware.type", "bios"), "uefi");
    virtualbox_add(&p->modify, "--firmware", uefi ? "efi" : "bios");
    virtualbox_add(&p->modify, "--bioslogofadein", "off"); /* a second and more of every boot */
    virtualbox_add(&p->modify, "--bioslogofadeout", "off");
    virtualbox_add(&p->modify, "--bioslogodisplaytime", "0");
    if (vmctl_node_boolean(root, "firmware.tpm", false))
        virtualbox_add(&p->modify, "--tpm-type", "2.0");
    const char *description = vmctl_node_string(root, "description", NULL);
    if (description)
        virtualbox_add(&p->modify, "--description", description);
    virtualbox_add(&p->modify, "--audio", "none");
    plan_boot(p);
    virtualbox_add(&p->modify, "--uart1", "0x3F8");
    vmc_strv_add(&p->modify, "4");
    const char *log = vmctl_node_string(root, "serial.log", NULL);
    vmc_strv_add(&p->modify, "--uartmode1");
    if (log) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s", p->plan->folder, vmc_path_basename(log));
        virtualbox_add(&p->modify, "file", path);
    } else {
        VMC_AUTO_FREE char *path = vmc_printf("%s/serial.sock", p->plan->folder);
        virtualbox_add(&p->modify, "server", path);
    }
    if (p->used[5])
        virtualbox_add(&p->modify, "--usbxhci", "on");
    if (vmctl_node_boolean(root, "autostart", false)) {
        if (!p->registry->autostart_folder) {
            vmc_refuse(err, VMCTL_E_UNSUPPORTED, vmctl_node_get(root, "autostart"),
                       "VirtualBox has no autostart database here");
            return vmc_error_next(err, "VBoxManage setproperty autostartdbpath FOLDER, and its service for autostart");
        }
        virtualbox_add(&p->modify, "--autostart-enabled", "on");
    }
    return plan_display(p, err);
}

void virtualbox_plan_secure_boot(virtualbox_planning *p) {
    static const char *const steps[] = {"inituefivarstore", "enrollmssignatures", "enrollorclpk", "secureboot"};
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        vmc_strv *argv = virtualbox_plan_command(p->plan);
        virtualbox_add(argv, "modifynvram", p->plan->id);
        virtualbox_add(argv, steps[i], i == 3 ? "--enable" : NULL);
    }
}

void virtualbox_plan_shares(virtualbox_planning *p) {
    const vmctl_node *shares = vmctl_node_get(p->root, "shares");
    for (size_t i = 0; i < vmctl_node_count(shares); i++) {
        const vmctl_node *share = vmctl_node_at(shares, i);
        vmc_strv *argv = virtualbox_plan_command(p->plan);
        virtualbox_add(argv, "sharedfolder", "add");
        vmc_strv_add(argv, p->plan->id);
        virtualbox_add(argv, "--name", vmctl_node_string(share, "name", "share"));
        virtualbox_add(argv, "--hostpath", vmctl_node_string(share, "path", ""));
        if (vmctl_node_boolean(share, "readonly", false))
            vmc_strv_add(argv, "--readonly");
    }
}
