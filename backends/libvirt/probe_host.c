/* backends/libvirt/probe_host.c - what the endpoint's host has. Sources: libvirt's formatcaps.html and formatdomaincaps.html. */
#include "host_check.h"
#include "networks.h"
#include "pool.h"
#include "probe.h"
#include "xpath.h"
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VERSION(major, minor) ((major)*1000000UL + (minor)*1000UL)

/* --- the CPU ------------------------------------------------------------------------------------------------------ */

static void ask_kvm(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    if (host->features.kvm) {
        out->level = VMCTL_LEVEL_YES;
        return;
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "KVM cannot be used: %s", host->accel_reason);
    if (host->accel_remedy)
        vmc_answer_remedy(out, "%s; or accel: tcg", host->accel_remedy);
    else
        vmc_answer_remedy(out, "accel: tcg emulates the CPU in software");
}

static void ask_tcg(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    if (!root)
        return;
    LIBVIRT_XML_EACH(guest, root, "guest") {
        LIBVIRT_XML_EACH(domain, libvirt_xml_child(guest, "arch"), "domain") {
            if (libvirt_xml_attr_is(domain, "type", "qemu"))
                out->level = VMCTL_LEVEL_YES;
        }
    }
    if (out->level != VMCTL_LEVEL_YES)
        vmc_answer_say(out, VMCTL_LEVEL_NO, "libvirt has no QEMU that emulates a CPU");
}

static void ask_archs(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    VMC_AUTO_STRV archs = {0};
    if (!root)
        return;
    LIBVIRT_XML_EACH(guest, root, "guest") {
        const char *name = libvirt_xml_attr_at(guest, "arch", "name");
        if (name && !vmc_strv_has(&archs, name))
            vmc_strv_add(&archs, name);
    }
    VMC_AUTO_FREE char *all = vmc_strv_join(&archs, ", ");
    if (archs.count > 0)
        vmc_answer_say(out, archs.count > 2 ? VMCTL_LEVEL_YES : VMCTL_LEVEL_LIMITED, "%s", all);
    else
        vmc_answer_say(out, VMCTL_LEVEL_NO, "libvirt has no QEMU");
    if (archs.count < 3)
        vmc_answer_remedy(out, "other architectures: install qemu-system-arm, qemu-system-misc, ...");
}

static void ask_machine(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    const libvirt_capabilities *host = root ? libvirt_asked_host(asked, out) : NULL;
    if (!host)
        return;
    size_t count = 0;
    LIBVIRT_XML_EACH(guest, root, "guest") {
        const xmlNode *arch = libvirt_xml_child(guest, "arch");
        if (libvirt_xml_attr_is(arch, "name", host->features.arch ? host->features.arch : "x86_64"))
            count += libvirt_xml_count(arch, "machine");
    }
    vmc_answer_say(out, VMCTL_LEVEL_YES, "%zu types; the default is %s", count,
                   host->machine ? host->machine : "libvirt's");
}

static void ask_cpu_count(libvirt_asked *asked, vmc_answer *out) {
    const char *offers = libvirt_asked_offers(asked, out);
    VMC_AUTO_FREE char *most = offers ? libvirt_xpath_text(offers, "/domainCapabilities/vcpu/@max") : NULL;
    if (most)
        vmc_answer_say(out, VMCTL_LEVEL_YES, "up to %s", most);
    else if (offers)
        out->level = VMCTL_LEVEL_YES;
}

static void ask_cpu_model(libvirt_asked *asked, vmc_answer *out) {
    const char *offers = libvirt_asked_offers(asked, out);
    VMC_AUTO_STRV models = {0};
    if (!offers)
        return;
    libvirt_xpath_texts(offers, "/domainCapabilities/cpu/mode[@name='custom']/model[@usable='yes']", &models);
    if (models.count > 0)
        vmc_answer_say(out, VMCTL_LEVEL_YES, "%zu models beside the host's", models.count);
    else
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "libvirt knows no named model that this host can be");
}

/* --- firmware and devices ------------------------------------------------------------------------------------------ */

static void ask_feature(libvirt_asked *asked, vmc_answer *out, size_t offset, const char *reason, const char *remedy) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    if (*(const bool *)((const char *)&host->features + offset)) {
        out->level = VMCTL_LEVEL_YES;
        return;
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "%s", reason);
    vmc_answer_remedy(out, "%s", remedy);
}

#define ASK_FEATURE(name, member, reason, remedy)                                                                      \
    static void ask_##name(libvirt_asked *asked, vmc_answer *out) {                                                    \
        ask_feature(asked, out, offsetof(libvirt_host_features, member), reason, remedy);                              \
    }

ASK_FEATURE(uefi, uefi, "libvirt finds no UEFI firmware on that host", "install ovmf there")
ASK_FEATURE(secure_boot, secure_boot, "libvirt finds no UEFI firmware with secure boot on that host",
            "install ovmf there; secure boot needs machine: q35")
ASK_FEATURE(tpm, tpm, "libvirt finds no TPM emulator on that host", "install swtpm and swtpm-tools there")
ASK_FEATURE(virtiofs, virtiofs, "that libvirt or QEMU has no virtiofs", "type: 9p shares the folder too")
ASK_FEATURE(vnc, vnc, "that QEMU is built without VNC", "display: spice, or the serial console")
ASK_FEATURE(spice, spice, "that QEMU is built without SPICE",
            "install qemu-system-modules-spice there, or display: vnc")

static void ask_bios(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    const char *arch = host->features.arch;
    if (!arch || strcmp(arch, "x86_64") == 0 || strcmp(arch, "i686") == 0)
        out->level = VMCTL_LEVEL_YES;
    else
        vmc_answer_say(out, VMCTL_LEVEL_NO, "guests of %s have no BIOS", arch);
}

/* Whether libvirt's domain capabilities list it: an enum's value, or a device that is supported. */
static void ask_offer(libvirt_asked *asked, vmc_answer *out, const char *xpath, const char *what) {
    const char *offers = libvirt_asked_offers(asked, out);
    VMC_AUTO_FREE char *found = offers ? libvirt_xpath_text(offers, xpath) : NULL;
    if (found)
        out->level = VMCTL_LEVEL_YES;
    else if (offers)
        vmc_answer_say(out, VMCTL_LEVEL_NO, "that QEMU has no %s", what);
}

#define ASK_OFFER(name, xpath, what)                                                                                   \
    static void ask_##name(libvirt_asked *asked, vmc_answer *out) {                                                    \
        ask_offer(asked, out, "/domainCapabilities/devices/" xpath, what);                                             \
    }

ASK_OFFER(virtio, "disk/enum[@name='bus']/value[.='virtio']", "virtio disks")
ASK_OFFER(scsi, "disk/enum[@name='bus']/value[.='scsi']", "SCSI disks")
ASK_OFFER(sata, "disk/enum[@name='bus']/value[.='sata']", "SATA disks")
ASK_OFFER(usb_disk, "disk/enum[@name='bus']/value[.='usb']", "USB disks")
ASK_OFFER(rng, "rng[@supported='yes']/@supported", "random number device")
ASK_OFFER(9p, "filesystem[@supported='yes']/enum[@name='driverType']/value[.='path']", "shares by 9p")

/* What libvirt says of the machine type q35 holds for the buses of every machine but this one. */
static void ask_ide(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    if (!root)
        return;
    LIBVIRT_XML_EACH(guest, root, "guest") {
        LIBVIRT_XML_EACH(machine, libvirt_xml_child(guest, "arch"), "machine") {
            VMC_AUTO_FREE char *name = libvirt_xml_content(machine);
            if (vmc_str_eq(name, "pc")) {
                vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "with machine: pc; q35 has none");
                return;
            }
        }
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "that QEMU has no machine with IDE");
    vmc_answer_remedy(out, "bus: sata, which such guests have a driver for as a rule");
}

static void ask_nvme(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    unsigned long version = host->features.libvirt_version;
    if (version >= VERSION(11, 5))
        out->level = VMCTL_LEVEL_YES;
    else
        vmc_answer_say(out, VMCTL_LEVEL_NO, "NVMe disks need libvirt 11.5, and this is %lu.%lu", version / 1000000,
                       version / 1000 % 1000);
}

static void ask_vlan(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    unsigned long version = host->features.libvirt_version;
    if (version >= VERSION(11, 0))
        out->level = VMCTL_LEVEL_YES;
    else
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED,
                       "on Open vSwitch networks only: VLANs on Linux bridges need libvirt 11.0, and this is %lu.%lu",
                       version / 1000000, version / 1000 % 1000);
}

static void ask_confidential(libvirt_asked *asked, vmc_answer *out, size_t offset, const char *what) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    if (*(const bool *)((const char *)host + offset)) {
        out->level = VMCTL_LEVEL_YES;
        return;
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "libvirt finds no %s on that host", what);
    vmc_answer_remedy(out, "it needs such a CPU, enabled in the firmware, and a host kernel and a QEMU with support");
}

static void ask_sev(libvirt_asked *asked, vmc_answer *out) {
    ask_confidential(asked, out, offsetof(libvirt_capabilities, sev), "AMD SEV");
}

static void ask_sev_snp(libvirt_asked *asked, vmc_answer *out) {
    ask_confidential(asked, out, offsetof(libvirt_capabilities, sev_snp), "AMD SEV-SNP");
}

static void ask_tdx(libvirt_asked *asked, vmc_answer *out) {
    ask_confidential(asked, out, offsetof(libvirt_capabilities, tdx), "Intel TDX");
}

static void ask_hugepages(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    vmctl_error *why = NULL;
    if (!root)
        return;
    int code = libvirt_hugepages_check(root, &why);
    vmc_answer_check(out, code, why);
}

/* --- GPUs ------------------------------------------------------------------------------------------------------------ */

static void ask_iommu(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    if (!root)
        return;
    if (libvirt_xml_attr_is(libvirt_xml_find(root, "host/iommu"), "support", "yes")) {
        out->level = VMCTL_LEVEL_YES;
        return;
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "the host has no IOMMU, without which no PCI device can be passed through");
    vmc_answer_remedy(out, "enable VT-d or AMD-Vi in its firmware, and boot it with intel_iommu=on (or amd_iommu=on)");
}

static void ask_opengl(libvirt_asked *asked, vmc_answer *out) {
    vmctl_error *why = NULL;
    if (!asked->conn->local) {
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN,
                       "whether that host has a render node cannot be seen from here; ls /dev/dri there would answer");
        return;
    }
    int code = libvirt_render_check(asked->conn, &why);
    vmc_answer_check(out, code, why);
}

/* --- networks and storage ---------------------------------------------------------------------------------------------- */

static void ask_nat(libvirt_asked *asked, vmc_answer *out) {
    if (asked->conn->session) {
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "a session has no networks of its own: nat becomes user networking");
        return;
    }
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(asked->conn);
    vmctl_error *why = NULL;
    rpc->name = vmc_strdup("default");
    int code =
        libvirt_rpc_run(asked->conn, asked->deadline, "looking for the network", libvirt_network_look, rpc, &why);
    if (code < 0) {
        vmc_answer_check(out, code, why);
        return;
    }
    out->level = VMCTL_LEVEL_YES;
    if (!rpc->found || !rpc->number)
        vmc_answer_say(out, VMCTL_LEVEL_YES, "the network default is %s; the first VM on it brings it up",
                       rpc->found ? "not active" : "not there");
}

/* The domain capabilities list the backends of NICs from libvirt 9.3 or so on. */
static void ask_user_network(libvirt_asked *asked, vmc_answer *out) {
    const char *offers = libvirt_asked_offers(asked, out);
    VMC_AUTO_STRV backends = {0};
    if (!offers)
        return;
    libvirt_xpath_texts(offers, "/domainCapabilities/devices/interface/enum[@name='backendType']/value", &backends);
    if (backends.count > 0)
        out->level = VMCTL_LEVEL_YES;
    else
        vmc_answer_say(out, VMCTL_LEVEL_UNKNOWN,
                       "that libvirt does not tell whether its QEMU is built with user networking; "
                       "starting a VM on it would answer");
}

/* number: libvirt's networks, active or not */
static int work_networks(libvirt_rpc *rpc) {
    int active = virConnectNumOfNetworks(rpc->virt), others = virConnectNumOfDefinedNetworks(rpc->virt);
    if (active < 0 || others < 0)
        return -1;
    rpc->number = (unsigned long long)active + (unsigned long long)others;
    return 0;
}

static void ask_networks(libvirt_asked *asked, vmc_answer *out) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(asked->conn);
    vmctl_error *why = NULL;
    int code = libvirt_rpc_run(asked->conn, asked->deadline, "counting the networks", work_networks, rpc, &why);
    vmc_answer_check(out, code, why);
    if (code < 0 || rpc->number > 0)
        return;
    vmc_answer_say(out, VMCTL_LEVEL_LIMITED, "that libvirt has no networks; the first VM with nat brings default");
}

/* QEMU's own program that puts an ordinary user's NIC on a bridge: -netdev bridge's helper=. */
static bool has_bridge_helper(void) {
    static const char *const places[] = {"/usr/lib/qemu/qemu-bridge-helper", "/usr/libexec/qemu-bridge-helper"};
    struct stat info;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++)
        if (stat(places[i], &info) == 0 && (info.st_mode & S_ISUID))
            return true;
    return false;
}

static bool has_bridge(void) {
    DIR *dir = opendir("/sys/class/net");
    bool found = false;
    for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
        VMC_AUTO_FREE char *path = vmc_printf("/sys/class/net/%s/bridge", entry->d_name);
        found = *entry->d_name != '.' && access(path, F_OK) == 0;
    }
    if (dir)
        closedir(dir);
    return found;
}

static void ask_bridge(libvirt_asked *asked, vmc_answer *out) {
    if (!asked->conn->local) {
        vmc_answer_say(
            out, VMCTL_LEVEL_UNKNOWN,
            "which bridges that host has cannot be seen from here; ip link show type bridge there would answer");
    } else if (asked->conn->session && !has_bridge_helper()) {
        vmc_answer_say(out, VMCTL_LEVEL_NO,
                       "qemu-bridge-helper is not set-user-ID root, so a session cannot use bridges");
        vmc_answer_remedy(out,
                          "chmod u+s /usr/lib/qemu/qemu-bridge-helper, and allow the bridge in /etc/qemu/bridge.conf");
    } else if (!has_bridge()) {
        vmc_answer_say(out, VMCTL_LEVEL_NO, "the host has no bridge");
        vmc_answer_remedy(out, "make one (ip link add br0 type bridge), or type: nat");
    } else {
        out->level = VMCTL_LEVEL_YES;
    }
}

static void ask_pool(libvirt_asked *asked, vmc_answer *out) {
    libvirt_pool *pool = NULL;
    vmctl_error *why = NULL;
    int code = libvirt_pool_find(asked->conn, NULL, asked->deadline, &pool, &why);
    vmc_answer_check(out, code, why);
    if (code < 0)
        return;
    if (!pool->virt || !pool->active)
        vmc_answer_say(out, VMCTL_LEVEL_YES, "the pool %s is %s; the first disk brings it", pool->name,
                       pool->virt ? "not active" : "not there yet");
    libvirt_pool_free(pool);
}

/* --- migration ------------------------------------------------------------------------------------------------------------ */

static void ask_migration(libvirt_asked *asked, vmc_answer *out) {
    const xmlNode *root = libvirt_asked_capabilities(asked, out);
    if (!root)
        return;
    const xmlNode *features = libvirt_xml_find(root, "host/migration_features");
    if (libvirt_xml_child(features, "live")) {
        out->level = VMCTL_LEVEL_YES;
        return;
    }
    vmc_answer_say(out, VMCTL_LEVEL_NO, "that libvirt migrates no running VMs");
}

static void ask_snapshot_disk(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    unsigned long version = host->features.libvirt_version;
    if (version >= VERSION(9, 9))
        out->level = VMCTL_LEVEL_YES;
    else
        vmc_answer_say(out, VMCTL_LEVEL_LIMITED,
                       "of a running VM with its memory only: libvirt %lu.%lu reverts no snapshot of the disks alone",
                       version / 1000000, version / 1000 % 1000);
}

static void ask_versions(libvirt_asked *asked, vmc_answer *out) {
    const libvirt_capabilities *host = libvirt_asked_host(asked, out);
    if (!host)
        return;
    unsigned long libvirt = host->features.libvirt_version, qemu = host->features.qemu_version;
    vmc_answer_say(out, VMCTL_LEVEL_YES, "libvirt %lu.%lu.%lu, QEMU %lu.%lu.%lu", libvirt / 1000000,
                   libvirt / 1000 % 1000, libvirt % 1000, qemu / 1000000, qemu / 1000 % 1000, qemu % 1000);
}

/* The endpoint answered: these calls of libvirt and these parts of a domain have no further condition. */
static void ask_nothing(libvirt_asked *asked, vmc_answer *out) {
    (void)asked;
    out->level = VMCTL_LEVEL_YES;
}

const libvirt_probe_entry libvirt_host_probes[] = {
    {"lifecycle.create", ask_pool},
    {"lifecycle.lease", ask_nothing},
    {"look.list", ask_nothing},
    {"look.get", ask_nothing},
    {"look.spec", ask_nothing},
    {"look.native", ask_nothing},
    {"look.render", ask_nothing},
    {"look.events", ask_nothing},
    {"look.wait", ask_nothing},
    {"look.metrics", ask_nothing},
    {"cpu.count", ask_cpu_count},
    {"cpu.topology", ask_nothing},
    {"cpu.model", ask_cpu_model},
    {"cpu.max", ask_cpu_count},
    {"memory.size", ask_nothing},
    {"memory.max", ask_nothing},
    {"memory.hugepages", ask_hugepages},
    {"machine.arch", ask_archs},
    {"machine.type", ask_machine},
    {"guest.windows", ask_nothing},
    {"accel.kvm", ask_kvm},
    {"accel.tcg", ask_tcg},
    {"firmware.bios", ask_bios},
    {"firmware.uefi", ask_uefi},
    {"firmware.secureboot", ask_secure_boot},
    {"firmware.tpm", ask_tpm},
    {"confidential.sev", ask_sev},
    {"confidential.sev-snp", ask_sev_snp},
    {"confidential.tdx", ask_tdx},
    {"boot.order", ask_nothing},
    {"boot.kernel", ask_nothing},
    {"storage.image", ask_pool},
    {"storage.backing", ask_pool},
    {"storage.volume", ask_nothing},
    {"storage.blank", ask_pool},
    {"storage.cdrom", ask_nothing},
    {"storage.format", ask_nothing},
    {"storage.bus.virtio", ask_virtio},
    {"storage.bus.scsi", ask_scsi},
    {"storage.bus.sata", ask_sata},
    {"storage.bus.nvme", ask_nvme},
    {"storage.bus.ide", ask_ide},
    {"storage.bus.usb", ask_usb_disk},
    {"storage.pool", ask_pool},
    {"storage.cache", ask_nothing},
    {"storage.shared", ask_nothing},
    {"network.nat", ask_nat},
    {"network.user", ask_user_network},
    {"network.bridge", ask_bridge},
    {"network.network", ask_networks},
    {"network.forward", ask_user_network},
    {"network.vlan", ask_vlan},
    {"network.mtu", ask_nothing},
    {"network.link", ask_nothing},
    {"share.virtiofs", ask_virtiofs},
    {"share.9p", ask_9p},
    {"device.rng", ask_rng},
    {"device.watchdog", ask_nothing},
    {"gpu.passthrough", ask_iommu},
    {"gpu.vgpu", ask_iommu},
    {"gpu.multi", ask_iommu},
    {"gpu.hotplug", ask_iommu},
    {"gpu.prepare", ask_iommu},
    {"snapshot.disk", ask_snapshot_disk},
    {"migrate.live", ask_migration},
    {"migrate.preflight", ask_nothing},
    {"display.virtual", ask_nothing},
    {"display.vnc", ask_vnc},
    {"display.spice", ask_spice},
    {"display.opengl", ask_opengl},
    {"console.log", ask_nothing},
    {"cloudinit.seed", ask_pool},
    {"host.info", ask_versions},
    {"host.list", ask_nothing},
    {"host.pools", ask_nothing},
    {"host.networks", ask_nothing},
    {"image.list", ask_nothing},
    {"image.upload", ask_pool},
    {"image.download", ask_nothing},
    {"image.delete", ask_nothing},
    {"image.import", ask_pool},
    {NULL, NULL},
};
