/* backends/libvirt/domain_boot.c - firmware and what the VM boots from (formatdomain.html, "Operating system booting"). */
#include "domain_model.h"
#include <string.h>

/* --- firmware -------------------------------------------------------------------------------------------------- */

static void write_feature(xmlNode *firmware, const char *name, bool on) {
    libvirt_xml_add(firmware, "feature", "enabled", on ? "yes" : "no", "name", name, NULL);
}

static void write_smm(libvirt_build *build, bool on) {
    xmlNode *features = libvirt_xml_ensure(build->domain, "features");
    if (on)
        libvirt_xml_set(libvirt_xml_ensure(features, "smm"), "state", "on");
    else
        libvirt_xml_drop_children(features, "smm");
}

static int write_type(libvirt_build *build, bool uefi, bool secure, vmctl_error **err) {
    xmlNode *os = libvirt_xml_ensure(build->domain, "os");
    if (uefi && !build->test && build->host && !build->host->uefi) {
        libvirt_refuse_key(build, "firmware.type", VMCTL_E_UNSUPPORTED, err, "the host has no UEFI firmware for %s",
                           build->arch);
        return vmc_error_next(err, "install the package ovmf (qemu-efi-aarch64 for ARM) on the hypervisor's host");
    }
    if (secure && !uefi)
        return libvirt_refuse_key(build, "firmware.secureBoot", VMCTL_E_INVALID_SPEC, err,
                                  "secure boot is a part of UEFI; write firmware.type: uefi");
    if (secure && !build->test && build->x86 && !build->q35)
        return libvirt_refuse_key(build, "firmware.secureBoot", VMCTL_E_UNSUPPORTED, err,
                                  "secure boot needs machine: q35, which has system management mode");
    if (secure && !build->test && build->host && !build->host->secure_boot) {
        libvirt_refuse_key(build, "firmware.secureBoot", VMCTL_E_UNSUPPORTED, err,
                           "the host has no UEFI firmware with secure boot for %s", build->arch);
        return vmc_error_next(err, "install the package ovmf on the hypervisor's host");
    }
    libvirt_xml_drop_children(os, "firmware");
    libvirt_xml_drop_children(os, "loader");
    libvirt_xml_drop_children(os, "nvram");
    libvirt_xml_set(os, "firmware", uefi ? "efi" : NULL);
    if (uefi && !build->test) {
        xmlNode *firmware = libvirt_xml_add(os, "firmware", NULL);
        write_feature(firmware, "enrolled-keys", secure);
        write_feature(firmware, "secure-boot", secure);
        if (secure)
            libvirt_xml_add(os, "loader", "secure", "yes", NULL);
    }
    if (build->x86 && !build->test)
        write_smm(build, secure);
    return 0;
}

static int write_tpm(libvirt_build *build, bool on, vmctl_error **err) {
    if (on && libvirt_xml_child(build->devices, "tpm"))
        return 0;
    if (on && !build->test && build->host && !build->host->tpm) {
        libvirt_refuse_key(build, "firmware.tpm", VMCTL_E_UNSUPPORTED, err, "the host cannot emulate a TPM");
        return vmc_error_next(err, "install the packages swtpm and swtpm-tools on the hypervisor's host");
    }
    libvirt_xml_drop_children(build->devices, "tpm");
    if (on) {
        xmlNode *tpm = libvirt_xml_add(build->devices, "tpm", "model", build->x86 ? "tpm-crb" : "tpm-tis", NULL);
        libvirt_xml_add(tpm, "backend", "type", "emulator", "version", "2.0", NULL);
    }
    return 0;
}

static bool is_uefi(const xmlNode *domain) {
    const xmlNode *os = libvirt_xml_child(domain, "os");
    return libvirt_xml_attr_is(os, "firmware", "efi") ||
           vmc_str_eq(libvirt_xml_attr_at(os, "loader", "type"), "pflash");
}

static bool is_secure(const xmlNode *domain) {
    const xmlNode *os = libvirt_xml_child(domain, "os");
    LIBVIRT_XML_EACH(feature, libvirt_xml_child(os, "firmware"), "feature") {
        if (libvirt_xml_attr_is(feature, "name", "secure-boot"))
            return libvirt_xml_attr_is(feature, "enabled", "yes");
    }
    return libvirt_xml_attr_is(libvirt_xml_child(os, "loader"), "secure", "yes");
}

int libvirt_firmware_write(libvirt_build *build, const cJSON *firmware, vmctl_error **err) {
    bool was_uefi = is_uefi(build->domain), was_secure = is_secure(build->domain);
    const char *type = vmc_json_string(firmware, "type", NULL);
    bool secure = vmc_json_boolean(firmware, "secureBoot", was_secure);
    bool uefi = type ? strcmp(type, "uefi") == 0 : was_uefi;
    int code = 0;
    if (uefi != was_uefi || secure != was_secure)
        code = write_type(build, uefi, secure, err);
    const cJSON *tpm = vmc_json_key(firmware, "tpm");
    if (code == 0 && tpm)
        code = write_tpm(build, cJSON_IsTrue(tpm), err);
    return code;
}

void libvirt_firmware_read(const xmlNode *domain, cJSON *spec) {
    cJSON *firmware = cJSON_AddObjectToObject(spec, "firmware");
    cJSON_AddStringToObject(firmware, "type", is_uefi(domain) ? "uefi" : "bios");
    if (is_uefi(domain))
        cJSON_AddBoolToObject(firmware, "secureBoot", is_secure(domain));
    cJSON_AddBoolToObject(firmware, "tpm", libvirt_xml_find(domain, "devices/tpm/backend") != NULL);
}

/* --- what it boots from ---------------------------------------------------------------------------------------- */

static const char *const bootable[] = {"disk", "interface", "hostdev", "redirdev"};

static void clear_order(libvirt_build *build) {
    libvirt_xml_drop_children(libvirt_xml_child(build->domain, "os"), "boot");
    for (size_t i = 0; i < sizeof bootable / sizeof bootable[0]; i++) {
        LIBVIRT_XML_EACH(device, build->devices, bootable[i])
        libvirt_xml_drop_children(device, "boot");
    }
}

static void set_order(xmlNode *device, unsigned order) {
    libvirt_xml_set_number(libvirt_xml_add(device, "boot", NULL), "order", order);
}

static int write_order(libvirt_build *build, const cJSON *order, vmctl_error **err) {
    unsigned place = 0;
    const cJSON *name;
    clear_order(build);
    cJSON_ArrayForEach(name, order) {
        const char *text = cJSON_IsString(name) ? name->valuestring : "";
        xmlNode *device = libvirt_name_find(build, "disk", text);
        if (!device)
            device = libvirt_name_find(build, "interface", text);
        if (!device)
            return libvirt_refuse_key(build, "boot.order", VMCTL_E_INVALID_SPEC, err,
                                      "there is no disk and no network of the name \"%s\"", text);
        if (!libvirt_xml_child(device, "boot"))
            set_order(device, ++place);
    }
    return 0;
}

/* A disk without a system falls through to the optical drive with the installer; after that it boots itself. */
void libvirt_boot_default(libvirt_build *build) {
    unsigned place = 0;
    clear_order(build);
    for (int drives = 0; drives < 2; drives++) {
        LIBVIRT_XML_EACH(disk, build->devices, "disk") {
            if (!libvirt_is_seed(disk) && libvirt_xml_attr_is(disk, "device", "cdrom") == (drives == 1))
                set_order(disk, ++place);
        }
    }
}

static void write_file(xmlNode *os, const char *name, const char *path) {
    if (!path)
        return;
    libvirt_xml_set_text(libvirt_xml_ensure(os, name), path);
}

int libvirt_boot_write(libvirt_build *build, const cJSON *boot, vmctl_error **err) {
    xmlNode *os = libvirt_xml_ensure(build->domain, "os");
    const cJSON *order = vmc_json_key(boot, "order");
    const char *kernel = vmc_json_string(boot, "kernel", NULL), *initrd = vmc_json_string(boot, "initrd", NULL);
    if (kernel)
        write_file(os, "kernel", build->plan && build->plan->kernel ? build->plan->kernel : kernel);
    if (initrd)
        write_file(os, "initrd", build->plan && build->plan->initrd ? build->plan->initrd : initrd);
    write_file(os, "cmdline", vmc_json_string(boot, "cmdline", NULL));
    if (libvirt_xml_child(os, "initrd") && !libvirt_xml_child(os, "kernel"))
        return libvirt_refuse_key(build, "boot.initrd", VMCTL_E_INVALID_SPEC, err, "an initrd needs boot.kernel too");
    if (libvirt_xml_child(os, "cmdline") && !libvirt_xml_child(os, "kernel"))
        return libvirt_refuse_key(build, "boot.cmdline", VMCTL_E_INVALID_SPEC, err,
                                  "a command line needs boot.kernel too");
    return order ? write_order(build, order, err) : 0;
}

void libvirt_boot_read(const xmlNode *domain, cJSON *spec) {
    static const char *const files[][2] = {{"kernel", "os/kernel"}, {"initrd", "os/initrd"}, {"cmdline", "os/cmdline"}};
    VMC_AUTO_JSON *boot = cJSON_CreateObject();
    cJSON *order = cJSON_CreateArray();
    const xmlNode *devices = libvirt_xml_child(domain, "devices");
    /* Orders are few and distinct; each round takes the next larger one. */
    for (unsigned long long last = 0;;) {
        unsigned long long next = 0, place;
        const xmlNode *device = NULL;
        for (size_t i = 0; i < 2; i++) {
            LIBVIRT_XML_EACH(node, devices, bootable[i]) {
                if (libvirt_xml_number(libvirt_xml_attr_at(node, "boot", "order"), &place) && place > last &&
                    (!device || place < next)) {
                    device = node;
                    next = place;
                }
            }
        }
        if (!device)
            break;
        last = next;
        VMC_AUTO_JSON *item =
            libvirt_xml_is(device, "disk") ? libvirt_disk_read(domain, device) : libvirt_nic_read(domain, device);
        const char *name = vmc_json_string(item, "name", NULL);
        if (name)
            cJSON_AddItemToArray(order, cJSON_CreateString(name));
    }
    if (cJSON_GetArraySize(order) > 0)
        cJSON_AddItemToObject(boot, "order", order);
    else
        cJSON_Delete(order);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        VMC_AUTO_FREE char *text = libvirt_xml_content(libvirt_xml_find(domain, files[i][1]));
        if (text && *text)
            cJSON_AddStringToObject(boot, files[i][0], text);
    }
    if (cJSON_GetArraySize(boot) > 0)
        cJSON_AddItemToObject(spec, "boot", cJSON_Duplicate(boot, true));
}
