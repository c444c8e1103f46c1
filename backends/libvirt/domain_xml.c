/* backends/libvirt/domain_xml.c - the whole document from a spec (formatdomain.html). */
#include "domain_model.h"
#include "refuse.h"
#include <string.h>

/* --- what is known while a document is worked on --------------------------------------------------------------- */

int libvirt_refuse_key(const libvirt_build *build, const char *path, int code, vmctl_error **err, const char *format,
                       ...) {
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *message = vmc_vprintf(format, args);
    va_end(args);
    const vmctl_node *node = NULL;
    VMC_AUTO_FREE char *at = vmc_strdup(path);
    /* A key that was filled in is reported where the nearest one above it was written. */
    while (build->root && !(node = vmctl_node_get(build->root, at)) && strrchr(at, '.'))
        *strrchr(at, '.') = '\0';
    if (node)
        return libvirt_refuse(err, code, node, "%s", message);
    return code == VMCTL_E_INVALID_SPEC ? vmc_error_fault(err, NULL, 0, 0, path, "%s", message)
                                        : vmc_error(err, code, "%s (%s)", message, path);
}

void libvirt_warn(const libvirt_build *build, const char *format, ...) {
    if (!build->plan || !build->plan->warnings)
        return;
    va_list args;
    va_start(args, format);
    vmc_strv_take(build->plan->warnings, vmc_vprintf(format, args));
    va_end(args);
}

static void look_at_machine(libvirt_build *build) {
    build->x86 = vmc_str_eq(build->arch, "x86_64") || vmc_str_eq(build->arch, "i686");
    build->q35 = build->x86 && build->machine && strstr(build->machine, "q35");
}

static const char *guest_of(const xmlNode *domain) {
    static const char *const kinds[] = {"windows", "other"};
    LIBVIRT_XML_EACH(kept, libvirt_marker_find(domain), "key") {
        VMC_AUTO_FREE char *text = libvirt_xml_content(kept);
        for (size_t i = 0; i < 2 && libvirt_xml_attr_is(kept, "path", "guest"); i++) {
            if (strstr(text, kinds[i]))
                return kinds[i];
        }
    }
    const char *os = libvirt_xml_attr_at(domain, "metadata/libosinfo/os", "id");
    bool windows = (os && strstr(os, "microsoft.com/win")) || libvirt_xml_find(domain, "features/hyperv");
    return windows ? "windows" : "linux";
}

void libvirt_build_read(libvirt_build *build, xmlDoc *doc, const libvirt_domain_plan *plan) {
    *build = (libvirt_build){.doc = doc, .domain = xmlDocGetRootElement(doc), .plan = plan};
    build->devices = libvirt_xml_ensure(build->domain, "devices");
    build->host = plan ? plan->host : NULL;
    build->arch = libvirt_xml_attr_at(build->domain, "os/type", "arch");
    build->machine = libvirt_xml_attr_at(build->domain, "os/type", "machine");
    if (!build->arch)
        build->arch = build->host && build->host->arch ? build->host->arch : "x86_64";
    build->guest = guest_of(build->domain);
    build->kvm = libvirt_xml_attr_is(build->domain, "type", "kvm");
    build->test = libvirt_xml_attr_is(build->domain, "type", "test");
    look_at_machine(build);
}

/* --- the skeleton ---------------------------------------------------------------------------------------------- */

static const char *default_machine(const char *arch) {
    if (strcmp(arch, "x86_64") == 0 || strcmp(arch, "i686") == 0)
        return "q35";
    if (strcmp(arch, "aarch64") == 0 || strcmp(arch, "armv7l") == 0 || vmc_starts_with(arch, "riscv"))
        return "virt";
    return NULL; /* QEMU's own choice */
}

/* Hyper-V's interfaces, which Windows runs better on; QEMU has them with KVM only. */
static void write_enlightenments(xmlNode *features) {
    static const char *const names[] = {"relaxed", "vapic", "vpindex", "runtime", "synic", "stimer", "frequencies"};
    xmlNode *hyperv = libvirt_xml_add(features, "hyperv", "mode", "custom", NULL);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        libvirt_xml_add(hyperv, names[i], "state", "on", NULL);
    libvirt_xml_add(hyperv, "spinlocks", "state", "on", "retries", "8191", NULL);
}

static void write_clock(const libvirt_build *build) {
    bool windows = strcmp(build->guest, "windows") == 0;
    xmlNode *clock = libvirt_xml_add(build->domain, "clock", "offset", windows ? "localtime" : "utc", NULL);
    if (!build->x86 || build->test)
        return;
    libvirt_xml_add(clock, "timer", "name", "rtc", "tickpolicy", "catchup", NULL);
    libvirt_xml_add(clock, "timer", "name", "pit", "tickpolicy", "delay", NULL);
    libvirt_xml_add(clock, "timer", "name", "hpet", "present", "no", NULL);
    if (windows && build->kvm)
        libvirt_xml_add(clock, "timer", "name", "hypervclock", "present", "yes", NULL);
}

/* Everything that no key changes. */
static void write_skeleton(libvirt_build *build) {
    libvirt_xml_set(build->domain, "type", build->test ? "test" : build->kvm ? "kvm" : "qemu");
    xmlNode *os = libvirt_xml_add(build->domain, "os", NULL);
    xmlNode *type = libvirt_xml_add_text(os, "type", "hvm");
    if (!build->test) {
        libvirt_xml_set(type, "arch", build->arch);
        libvirt_xml_set(type, "machine", build->machine);
    }
    xmlNode *features = libvirt_xml_add(build->domain, "features", NULL);
    libvirt_xml_add(features, "acpi", NULL);
    if (build->x86) {
        libvirt_xml_add(features, "apic", NULL);
        if (strcmp(build->guest, "windows") == 0 && build->kvm)
            write_enlightenments(features);
        if (!build->test)
            libvirt_xml_add(features, "vmport", "state", "off", NULL);
    }
    write_clock(build);
    libvirt_xml_add_text(build->domain, "on_poweroff", "destroy");
    libvirt_xml_add_text(build->domain, "on_reboot", "restart");
    libvirt_xml_add_text(build->domain, "on_crash", "destroy");
    if (build->x86 && !build->test) {
        xmlNode *pm = libvirt_xml_add(build->domain, "pm", NULL);
        libvirt_xml_add(pm, "suspend-to-mem", "enabled", "no", NULL);
        libvirt_xml_add(pm, "suspend-to-disk", "enabled", "no", NULL);
    }
}

/* PCI Express takes a device only on a port that was there at the start, and libvirt adds ports for what it knows then: without
 * more of them nothing can be attached to a running VM. As many as virt-install makes. */
static void write_ports(libvirt_build *build) {
    enum { PORTS = 14 };
    bool express = build->q35 || (build->machine && strncmp(build->machine, "virt", 4) == 0);
    if (!express || build->test)
        return;
    libvirt_xml_add(build->devices, "controller", "type", "pci", "index", "0", "model", "pcie-root", NULL);
    for (unsigned i = 1; i <= PORTS; i++) {
        xmlNode *port = libvirt_xml_add(build->devices, "controller", "type", "pci", "model", "pcie-root-port", NULL);
        libvirt_xml_set_number(port, "index", i);
    }
}

/* --- from the spec --------------------------------------------------------------------------------------------- */

static int check_whole(const libvirt_build *build, const cJSON *spec, vmctl_error **err) {
    const char *confidential = vmc_json_string(spec, "confidential", "none");
    if (strcmp(confidential, "none") != 0)
        return libvirt_refuse_key(build, "confidential", VMCTL_E_UNSUPPORTED, err,
                                  "guests with encrypted memory are not made by this backend");
    if (cJSON_GetArraySize(vmc_json_key(spec, "gpus")) > 0)
        return libvirt_refuse_key(build, "gpus", VMCTL_E_UNSUPPORTED, err,
                                  "GPUs are not passed through by this backend; libvirt.xmlPatch takes a <hostdev>");
    return 0;
}

static int write_devices(libvirt_build *build, const cJSON *spec, vmctl_error **err) {
    const libvirt_domain_plan *plan = build->plan;
    const cJSON *item;
    size_t index = 0;
    int code = 0;
    if (build->host && build->host->emulator && !build->test)
        libvirt_xml_add_text(build->devices, "emulator", build->host->emulator);
    write_ports(build);
    cJSON_ArrayForEach(item, vmc_json_key(spec, "disks")) {
        code = libvirt_disk_add(build, item, plan->disks ? &plan->disks[index] : NULL, NULL, err);
        if (code < 0)
            return code;
        index++;
    }
    if (plan->seed_iso)
        libvirt_seed_add(build, plan->seed_iso);
    cJSON_ArrayForEach(item, vmc_json_key(spec, "networks")) {
        code = libvirt_nic_add(build, item, NULL, err);
        if (code < 0)
            return code;
    }
    cJSON_ArrayForEach(item, vmc_json_key(spec, "shares")) {
        code = libvirt_share_add(build, item, NULL, err);
        if (code < 0)
            return code;
    }
    cJSON_ArrayForEach(item, vmc_json_key(spec, "usb")) {
        code = libvirt_usb_add(build, item, err);
        if (code < 0)
            return code;
    }
    return 0;
}

static int write_display(libvirt_build *build, const cJSON *spec, vmctl_error **err) {
    const cJSON *display = vmc_json_key(spec, "display");
    VMC_AUTO_JSON *chosen = display ? cJSON_Duplicate(display, true) : cJSON_CreateObject();
    bool vnc = build->test || !build->host || build->host->vnc;
    if (!vmc_json_key(chosen, "type"))
        cJSON_AddStringToObject(chosen, "type", vnc ? "vnc" : "none");
    return libvirt_display_write(build, chosen, err);
}

static void write_parts(libvirt_build *build, const cJSON *spec) {
    libvirt_console_add(build);
    if (build->plan->serial_log)
        libvirt_serial_write(build, build->plan->serial_log);
    if (vmc_json_boolean(spec, "guestAgent", false))
        libvirt_agent_write(build, true);
    if (vmc_json_boolean(spec, "rng", false))
        libvirt_rng_write(build, true);
    libvirt_watchdog_write(build, vmc_json_string(spec, "watchdog", NULL));
    /* libvirt adds a balloon by itself, but none that asks the guest how much of its memory is in use. */
    libvirt_xml_add(libvirt_xml_add(build->devices, "memballoon", "model", "virtio", NULL), "stats", "period", "5",
                    NULL);
}

static int write_spec(libvirt_build *build, const cJSON *spec, vmctl_error **err) {
    int code = check_whole(build, spec, err);
    if (code == 0)
        code = libvirt_memory_write(build, vmc_json_key(spec, "memory"), err);
    if (code < 0)
        return code;
    write_skeleton(build);
    code = libvirt_cpus_write(build, vmc_json_key(spec, "cpus"), err);
    if (code == 0 && vmc_json_integer(vmc_json_key(spec, "memory"), "max", 0))
        code = libvirt_memory_write(build, vmc_json_key(spec, "memory"), err); /* its cell has all CPUs */
    build->devices = libvirt_xml_add(build->domain, "devices", NULL);
    const cJSON *firmware = vmc_json_key(spec, "firmware");
    VMC_AUTO_JSON *uefi = NULL;
    if (!vmc_json_key(firmware, "type") && strcmp(build->arch, "aarch64") == 0) {
        uefi = firmware ? cJSON_Duplicate(firmware, true) : cJSON_CreateObject();
        cJSON_AddStringToObject(uefi, "type", "uefi"); /* there is no other firmware for it */
        firmware = uefi;
    }
    if (code == 0)
        code = libvirt_firmware_write(build, firmware, err);
    if (code == 0)
        code = write_devices(build, spec, err);
    if (code == 0)
        code = libvirt_boot_write(build, vmc_json_key(spec, "boot"), err);
    if (code < 0)
        return code;
    if (!vmc_json_key(vmc_json_key(spec, "boot"), "order"))
        libvirt_boot_default(build);
    write_parts(build, spec);
    code = write_display(build, spec, err);
    if (code < 0)
        return code;
    const cJSON *own = vmc_json_key(spec, "libvirt");
    const char *patch = vmc_json_string(own, "xmlPatch", NULL);
    if (cJSON_GetArraySize(vmc_json_key(own, "qemuArgs")) > 0)
        libvirt_qemu_args_write(build, vmc_json_key(own, "qemuArgs"));
    return patch ? libvirt_patch(build, patch, err) : 0;
}

static int native_xml(const vmctl_spec *spec, const char *native, const libvirt_domain_plan *plan, char **xml,
                      vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    libvirt_build build;
    int code = libvirt_xml_parse(native, "the domain XML", "domain", VMCTL_E_INVALID_SPEC, &doc, NULL, err);
    if (code < 0)
        return code;
    libvirt_build_read(&build, doc, plan);
    if (vmctl_spec_name(spec))
        libvirt_xml_set_text(libvirt_xml_ensure(build.domain, "name"), vmctl_spec_name(spec));
    if (plan->uuid)
        libvirt_xml_set_text(libvirt_xml_ensure(build.domain, "uuid"), plan->uuid);
    if (plan->marker)
        libvirt_marker_write(&build, plan->marker);
    *xml = libvirt_xml_text(doc);
    return 0;
}

/* What the person wrote is the URL, where core has put the fetched file. "": an unpacked file that will not be there. */
static void name_origins(const vmctl_spec *spec, cJSON *disks) {
    static const char *const keys[] = {"image", "cdrom"};
    cJSON *disk;
    size_t i = 0;
    cJSON_ArrayForEach(disk, disks) {
        for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
            VMC_AUTO_FREE char *path = vmc_printf("disks[%zu].%s", i, keys[k]);
            const char *url = vmc_spec_origin(spec, path);
            if (url)
                vmc_json_put(disk, keys[k], *url ? cJSON_CreateString(url) : NULL);
        }
        i++;
    }
}

int libvirt_domain_xml(const vmctl_spec *spec, const libvirt_domain_plan *plan, char **xml, vmctl_error **err) {
    *xml = NULL;
    const char *native = vmctl_spec_native(spec, NULL);
    if (native)
        return native_xml(spec, native, plan, xml, err);
    LIBVIRT_AUTO_XML *doc = xmlNewDoc((const xmlChar *)"1.0");
    libvirt_build build = {.doc = doc, .plan = plan, .host = plan->host, .fresh = true, .root = vmctl_spec_root(spec)};
    build.domain = xmlNewDocNode(doc, NULL, (const xmlChar *)"domain", NULL);
    xmlDocSetRootElement(doc, build.domain);
    VMC_AUTO_JSON *want = libvirt_json_of_node(build.root, true);
    VMC_AUTO_JSON *written = libvirt_json_of_node(build.root, false);
    build.test = plan->test_driver;
    build.arch = vmc_json_string(want, "arch", build.host && build.host->arch ? build.host->arch : "x86_64");
    build.machine = vmc_json_string(want, "machine", default_machine(build.arch));
    build.guest = vmc_json_string(want, "guest", "linux");
    build.kvm = build.host && build.host->kvm;
    look_at_machine(&build);

    libvirt_xml_add_text(build.domain, "name", vmctl_spec_name(spec) ? vmctl_spec_name(spec) : "");
    if (plan->uuid)
        libvirt_xml_add_text(build.domain, "uuid", plan->uuid);
    const char *description = vmc_json_string(want, "description", NULL);
    if (description)
        libvirt_xml_add_text(build.domain, "description", description);
    if (plan->marker) {
        libvirt_marker_write(&build, plan->marker);
        libvirt_marker_labels(&build, vmc_json_key(want, "labels"));
        if (plan->serial_log)
            libvirt_marker_no_disk(&build, NULL, plan->serial_log, NULL);
        for (size_t i = 0; plan->own_files && i < plan->own_files->count; i++)
            libvirt_marker_no_disk(&build, NULL, plan->own_files->items[i], NULL);
    }
    int code = write_spec(&build, want, err);
    if (code < 0)
        return code;
    if (plan->marker) {
        if (!vmc_json_key(written, "accel"))
            cJSON_AddStringToObject(written, "accel", "auto"); /* the same spec may find KVM elsewhere */
        name_origins(spec, cJSON_GetObjectItemCaseSensitive(written, "disks"));
        libvirt_keys_write(&build, written);
    }
    *xml = libvirt_xml_text(doc);
    return 0;
}
