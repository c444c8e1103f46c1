/* The machine of a plan: CPUs, memory, firmware, display, boot order, and what the virtualbox section says. */
#include "plan_parts.h"

#include <string.h>

int virtualbox_plan_display(virtualbox_planning *p, vmctl_error **err) {
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

void virtualbox_say_option(vmc_strv *argv, const vmctl_node *option) {
    vmc_strv_printf(argv, "--%s", vmctl_node_key(option));
    if (vmctl_node_kind(option) == VMCTL_KIND_BOOLEAN)
        vmc_strv_add(argv, vmctl_node_boolean(option, NULL, false) ? "on" : "off");
    else if (vmctl_node_kind(option) == VMCTL_KIND_INTEGER)
        vmc_strv_printf(argv, "%lld", (long long)vmctl_node_integer(option, NULL, 0));
    else
        vmc_strv_add(argv, vmctl_node_string(option, NULL, ""));
}

/* One line of modifyvm takes what a person wrote last: virtualbox.modifyvm wins over what vm.yaml's own keys became. */
void virtualbox_plan_own_section(virtualbox_planning *p) {
    const vmctl_node *options = vmctl_node_get(p->root, "virtualbox.modifyvm");
    for (size_t i = 0; i < vmctl_node_count(options); i++) {
        const vmctl_node *option = vmctl_node_at(options, i);
        virtualbox_say_option(&p->modify, option);
    }
    const vmctl_node *extra = vmctl_node_get(p->root, "virtualbox.extraData");
    for (size_t i = 0; i < vmctl_node_count(extra); i++) {
        const vmctl_node *item = vmctl_node_at(extra, i);
        vmc_strv *argv = virtualbox_plan_command(p->plan);
        virtualbox_add(argv, "setextradata", p->plan->id);
        virtualbox_add(argv, vmctl_node_key(item), vmctl_node_string(item, NULL, ""));
    }
}

void virtualbox_plan_boot(virtualbox_planning *p) {
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

int virtualbox_plan_memory(virtualbox_planning *p, vmctl_error **err) {
    int64_t memory = vmctl_node_integer(p->root, "memory.size", 0);
    if (memory % (1 << 20))
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(p->root, "memory.size"),
                          "VirtualBox gives memory in whole MiB");
    vmc_strv_add(&p->modify, "--memory");
    vmc_strv_printf(&p->modify, "%lld", (long long)(memory >> 20));
    return 0;
}

/* With CPUs to grow to, --cpus is the maximum, and all of them are plugged at first. */
void virtualbox_plan_cpus(virtualbox_planning *p, bool again) {
    int64_t count = vmctl_node_integer(p->root, "cpus.count", 1);
    int64_t most = vmctl_node_integer(p->root, "cpus.max", count);
    bool grows = vmctl_node_get(p->root, "cpus.max") && most > 1;
    if (again) /* where it is on, too: it plugs all of them again */
        virtualbox_add(&p->modify, "--cpu-hotplug", "off");
    vmc_strv_add(&p->modify, "--cpus");
    vmc_strv_printf(&p->modify, "%lld", (long long)(grows ? most : count));
    if (grows)
        virtualbox_add(&p->modify, "--cpu-hotplug", "on");
    for (int64_t i = most; grows && i-- > count;) {
        vmc_strv_add(&p->modify, "--unplug-cpu");
        vmc_strv_printf(&p->modify, "%lld", (long long)i);
    }
}

/* Into a log, else a socket. */
void virtualbox_plan_serial(virtualbox_planning *p) {
    const char *log = vmctl_node_string(p->root, "serial.log", NULL);
    vmc_strv_add(&p->modify, "--uartmode1");
    VMC_AUTO_FREE char *path = vmc_printf("%s/%s", p->plan->folder, log ? vmc_path_basename(log) : "serial.sock");
    virtualbox_add(&p->modify, log ? "file" : "server", path);
}

int virtualbox_check_autostart(const vboxmanage_registry *registry, const vmctl_node *node, vmctl_error **err) {
    if (registry->autostart_folder)
        return 0;
    vmc_refuse(err, VMCTL_E_UNSUPPORTED, node, "VirtualBox has no autostart database here");
    return vmc_error_next(err, "VBoxManage setproperty autostartdbpath FOLDER, and its service for autostart");
}

int virtualbox_plan_machine(virtualbox_planning *p, vmctl_error **err) {
    const vmctl_node *root = p->root;
    int code = virtualbox_plan_memory(p, err);
    if (code < 0)
        return code;
    virtualbox_plan_cpus(p, false);
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
    virtualbox_plan_boot(p);
    virtualbox_add(&p->modify, "--uart1", "0x3F8");
    vmc_strv_add(&p->modify, "4");
    virtualbox_plan_serial(p);
    if (p->used[5] || vmctl_node_count(vmctl_node_get(root, "usb")) > 0)
        virtualbox_add(&p->modify, "--usbxhci", "on");
    if (vmctl_node_boolean(root, "autostart", false)) {
        code = virtualbox_check_autostart(p->registry, vmctl_node_get(root, "autostart"), err);
        if (code < 0)
            return code;
        virtualbox_add(&p->modify, "--autostart-enabled", "on");
    }
    return virtualbox_plan_display(p, err);
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
