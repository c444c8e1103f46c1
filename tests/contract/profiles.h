/* profiles.h - what the suite has to know of each backend. */
#ifndef CONTRACT_PROFILES_H
#define CONTRACT_PROFILES_H

#include "contract.h"

/* libvirt: domain XML as virDomainGetXMLDesc writes it; formatdomain.html names the elements. */
static const contract_mark libvirt_marks[] = {
    {"bus virtio", "bus='virtio'"},
    {"bus scsi", "bus='scsi'"},
    {"bus sata", "bus='sata'"},
    {"bus ide", "bus='ide'"},
    {"bus usb", "bus='usb'"},
    {"cdrom", "device='cdrom'"},
    {"cache none", "cache='none'"},
    {"discard unmap", "discard='unmap'"},
    {"serial number", "<serial>disk-4711</serial>"},
    {"shareable", "<shareable/>"},
    {"nat", "<source network='default'"},
    {"user", "<interface type='user'>"},
    {"bridge", "<source bridge='ct0'"},
    {"mac", "<mac address='52:54:00:12:34:56'/>"},
    {"nic e1000", "<model type='e1000'/>"},
    {"link down", "<link state='down'/>"},
    {"secure boot", "secure='yes'"},
    {"tpm", "<backend type='emulator' version='2.0'"},
    {"kernel", "<kernel>"},
    {"initrd", "<initrd>"},
    {"agent channel", "name='org.qemu.guest_agent.0'"},
    {"vnc", "<graphics type='vnc'"},
    {"spice", "<graphics type='spice'"},
    {"virtiofs", "<driver type='virtiofs'"},
    {"9p", "<filesystem type='mount'"},
    {"rng", "<rng model='virtio'>"},
    {"watchdog", "<watchdog model="},
    {"watchdog reset", "action='reset'"},
    {"topology", "sockets='1'"},
    {"cores", "cores='2'"},
    {"usb device", "<vendor id='0xffff'/>"},
    {"maximum cpus", "<vcpu placement='static' current='1'>4</vcpu>"},
    {"tcg", "<domain type='qemu'"},
    {"managed", "urn:vmctl:1"},
    {"pc", "machine='pc"},
    {"q35", "machine='pc-q35"},
    {NULL, NULL},
};

static const char *const libvirt_variants[] = {
    "",
    "cpus: {count: 2, sockets: 1, cores: 2, threads: 1}\nfirmware: {type: uefi, tpm: true}\nmachine: q35\nmemory: "
    "128MiB",
    "networks: [{name: a, type: nat}, {name: b, type: user, forward: [\"20222:22\"], model: e1000}]\nrng: "
    "true\nwatchdog: reset\nguestAgent: true",
    "display: {type: vnc, listen: 127.0.0.1}\nautostart: true\nlabels: {a: b}\ndescription: words with <angles> & "
    "\\\"quotes\\\"",
    "cloudInit: {hostname: h, user: ci}",
    NULL,
};

static const contract_mark libvirt_refused[] = {
    {"storage.bus.nvme", "disks: [{name: root, size: 1MiB, bus: nvme}]"},
    {"migrate.node", NULL}, /* this suite's names of what is asked in other ways than by vm.yaml (refusals.c) */
    {"storage.pool.move", NULL, VMCTL_E_UNSUPPORTED},
    {NULL, NULL},
};

/* VirtualBox: the .vbox settings file (1.20). NULL: what is the default is not in it. */
static const contract_mark virtualbox_marks[] = {
    {"bus virtio", "type=\"VirtioSCSI\""},
    {"bus scsi", "type=\"LsiLogic\""},
    {"bus sata", "type=\"AHCI\""},
    {"bus ide", "type=\"PIIX4\""},
    {"bus nvme", "type=\"NVMe\""},
    {"bus usb", "type=\"USB\""},
    {"cdrom", "type=\"DVD\""},
    {"discard unmap", "discard=\"true\""},
    {"nat", "<NAT"},
    {"user", "<NAT"},
    {"bridge", "<BridgedInterface name=\"ct0\""},
    {"mac", "MACAddress=\"525400123456\""},
    {"nic e1000", "type=\"82540EM\""},
    {"link down", "cable=\"false\""},
    {"secure boot", NULL}, /* in the variable store */
    {"tpm", "<TrustedPlatformModule type=\"v2_0\""},
    {"vnc", "VRDEExtPack=\"VNC\""},
    {"managed", "vmctl.marker"},
    {"usb device", "vendorId=\"ffff\" productId=\"fffe\""},
    {"maximum cpus", "<CPU count=\"4\" hotplug=\"true\">"},
    {"pc", NULL},
    {"q35", "<Chipset type=\"ICH9\""},
    {NULL, NULL},
};

/* Without VirtualBox's kernel driver, which the machines of the tests have not, VMs run in its recompiler. */
static const char *const virtualbox_settings[][2] = {
    {"virtualbox.modifyvm", "{vm-execution-engine: recompiler, paravirt-provider: none}"},
    {NULL, NULL},
};

static const char *const virtualbox_variants[] = {
    "",
    "cpus: 2\nfirmware: {type: uefi, tpm: true}\nmachine: q35\nmemory: 128MiB",
    "networks: [{name: a, type: nat}, {name: b, type: user, forward: [\"20222:22\", \"udp:127.0.0.1:20053:53\"], "
    "model: e1000, link: down}]",
    "display: {type: vnc, listen: 127.0.0.1}\nautostart: true\nlabels: {a: b}\ndescription: words with <angles> & "
    "\\\"quotes\\\"",
    "cloudInit: {hostname: h, user: ci}",
    NULL,
};

static const contract_mark virtualbox_refused[] = {
    {"storage.raw", "disks: [{name: root, size: 1MiB, format: raw}]"}, /* this suite's name for it */
    {"storage.backing", "disks: [{name: root, backing: /etc/hostname}]"},
    {"storage.cache", "disks: [{name: root, size: 1MiB, cache: none}]"},
    {"storage.readonly", "disks: [{name: root, size: 1MiB, readonly: true}]"},
    {"boot.kernel", "boot: {kernel: /etc/hostname}"},
    {"cpu.topology", "cpus: {count: 4, sockets: 1, cores: 2, threads: 2}"},

    {"accel.tcg", "accel: tcg"},
    {"accel.kvm", "accel: kvm"},
    {"display.spice", "display: {type: spice}"},
    {"share.virtiofs", "shares: [{name: src, path: /tmp, type: virtiofs}]"},
    {"share.9p", "shares: [{name: src, path: /tmp, type: 9p}]"},
    {"guest.channel", "guestAgent: true"},
    {"device.rng", "rng: true"},
    {"device.watchdog", "watchdog: reset"},
    {"migrate.node", NULL}, /* as above */
    {"storage.pool.move", NULL},
    {"device.virtio.hotplug", NULL},
    {NULL, NULL},
};

/* KubeVirt: the VirtualMachine as JSON. NULL: what is the default is not in it. */
static const contract_mark kubevirt_marks[] = {
    {"bus virtio", "\"virtio\""},
    {"bus scsi", "\"scsi\""},
    {"bus sata", "\"sata\""},
    {"bus usb", "\"usb\""},
    {"cdrom", "\"cdrom\""},
    {"cache none", "\"none\""},
    {"serial number", "disk-4711"},
    {"shareable", "\"shareable\""},
    {"nat", "\"masquerade\""},
    {"mac", "52:54:00:12:34:56"},
    {"nic e1000", "\"e1000\""},
    {"link down", "\"down\""},
    {"secure boot", "\"secureBoot\""},
    {"tpm", "\"tpm\""},
    {"agent channel", NULL},
    {"vnc", "\"autoattachGraphicsDevice\""},
    {"rng", "\"rng\""},
    {"watchdog", "\"watchdog\""},
    {"watchdog reset", "\"reset\""},
    {"topology", "\"sockets\""},
    {"cores", "\"cores\""},
    {"maximum cpus", "\"maxSockets\""},
    {"managed", "vmctl"},
    {"q35", "\"q35\""},
    {NULL, NULL},
};

static const char *const kubevirt_variants[] = {
    "",
    "cpus: {count: 2, sockets: 1, cores: 2, threads: 1}\nmemory: 128MiB\nmachine: q35",
    "networks: [{name: a, type: pod, mac: \"52:54:00:12:34:56\"}]\nrng: true\nwatchdog: reset",
    "display: {type: vnc}\nlabels: {a: b}\ndescription: words with <angles> & \\\"quotes\\\"",
    NULL,
};

static const contract_mark kubevirt_refused[] = {
    {"boot.kernel", "boot: {kernel: /etc/hostname}"},
    {"storage.backing", "disks: [{name: root, backing: /etc/hostname}]"},
    {"storage.format", "disks: [{name: root, size: 64MiB, format: raw}]"},
    {"storage.raw", "disks: [{name: root, size: 64MiB, format: raw}]"}, /* this suite's names for both */
    {"storage.discard", "disks: [{name: root, size: 64MiB, discard: unmap}]"},
    {"storage.bus.ide", "disks: [{name: root, size: 64MiB, bus: ide}]"},
    {"storage.bus.nvme", "disks: [{name: root, size: 64MiB, bus: nvme}]"},
    {"network.user", "networks: [{name: a, type: user}]"},
    {"network.bridge", "networks: [{name: lan, type: bridge, source: ct0}]"},
    {"network.forward", "networks: [{name: a, type: nat, forward: [\"20222:22\"]}]"},
    {"network.network", "networks: [{name: a, type: network, source: default}]"},
    {"accel.tcg", "accel: tcg"},
    {"accel.kvm", "accel: kvm"},
    {"machine.pc", "machine: pc", VMCTL_E_INVALID_ARGUMENT}, /* this suite's name */
    {"migrate.elsewhere", NULL},
    {"memory.shrink", NULL}, /* as above */
    {"display.address", "display: {type: vnc, listen: 127.0.0.1}"},
    {"display.spice", "display: {type: spice}"},
    {"share.virtiofs", "shares: [{name: src, path: /tmp, type: virtiofs}]"},
    {"share.9p", "shares: [{name: src, path: /tmp, type: 9p}]"},
    {NULL, NULL},
};

static const contract_profile profiles[] = {
    {
        .backend = "libvirt",
        .buses = (const char *const[]){"virtio", "scsi", "sata", "ide", "usb", NULL},
        .folders = (const char *const[]){"/etc/libvirt/qemu", "/etc/libvirt/storage", "/var/lib/libvirt/images",
                                         "/var/lib/libvirt/qemu/nvram", "/var/lib/libvirt/qemu/save",
                                         "/var/lib/libvirt/swtpm", "/var/lib/libvirt/vmctl", NULL},
        .marks = libvirt_marks,
        .bad_start = "libvirt: {qemuArgs: [\"-no-such-option\"]}",
        .bad_change = {"cpus.count", "4000"}, /* more than it gives */
        .bad_key = "gpus: [{name: gpu0, pci: \"0000:65:00.0\"}]",
        .bad_uri = "qemu+unix:///system?socket=/nowhere/sock",
        .bad_uri_code = VMCTL_E_UNAVAILABLE,
        .formats = (const char *const[]){"qcow2", "raw", NULL},
        .agent = "guestAgent: true",
        .variants = libvirt_variants,
        .starts_paused = true,
        .counts_traffic = true,
        .grows_running = true,
        .own_target = true,
        .plugs_nics = true,
        .any_usb = true,
        .hot_nic = "{name: hot, type: nat, mac: \"52:54:00:12:34:58\"}",
        .hot_buses = (const char *const[]){"virtio", "scsi", "usb", NULL},
        .hot_drives = (const char *const[]){"usb", "scsi", NULL},
        .hot_bus = "scsi",
        .cold_bus = "sata",
        .rounds = 20,
        .refused = libvirt_refused,
        .has_bridges = true,
    },
    {
        .backend = "virtualbox",
        .buses = (const char *const[]){"virtio", "scsi", "sata", "ide", NULL},
        .folders = (const char *const[]){"$WORLD/machines", NULL},
        .marks = virtualbox_marks,
        .bad_start = "networks: [{name: lan, type: internal}]", /* without the kernel driver */
        .bad_change = {"cpus.count", "4000"},                   /* more than it gives */
        .bad_key = "gpus: [{name: gpu0, pci: \"0000:65:00.0\"}]",
        .bad_uri = "virtualbox://elsewhere/",
        .bad_uri_code = VMCTL_E_INVALID_ARGUMENT,
        .settings = virtualbox_settings,
        .hot_buses = (const char *const[]){NULL}, /* one port of sata is free, which the first that comes has */
        .hot_drives = (const char *const[]){NULL},
        .hot_bus = "sata",
        .cold_bus = "scsi",
        .formats = (const char *const[]){"vdi", "vmdk", "vhd", NULL},
        .agent = "",
        .variants = virtualbox_variants,
        .rounds = 3,
        .usb_filters = true,
        .any_usb = true,
        .differencing = true,
        .untried = (const char *const[]){"network.bridge", "network.network", "firmware.secureboot", NULL},
        .refused = virtualbox_refused,
    },
    {
        .backend = "kubevirt",
        .buses = (const char *const[]){"virtio", "scsi", "sata", "usb", NULL},
        .folders = (const char *const[]){"$WORLD/home/.local", "$WORLD/home/.config", NULL},
        .marks = kubevirt_marks,
        .bad_start = "placement: {nodeSelector: {no-node: has-it}}",
        .bad_change = {"memory", "{size: 64MiB, max: 128MiB}"}, /* room for more has who has a GiB */
        .bad_key = "boot: {kernel: /etc/hostname}",
        .bad_uri = "kubevirt:///default?kubeconfig=/nowhere/config",
        .bad_uri_code = VMCTL_E_NOT_FOUND,
        .formats = (const char *const[]){"raw", NULL},
        .agent = "guestAgent: true",
        .variants = kubevirt_variants,
        .starts_paused = true,
        .grows_running = true,
        .hot_buses = (const char *const[]){"virtio", "scsi", NULL},
        .hot_drives = (const char *const[]){NULL},
        .hot_bus = "scsi",
        .cold_bus = "sata",
        .hot_nic = "{name: hot, type: multus, source: one, mac: \"52:54:00:12:34:58\"}",
        .media_stay = true,
        .rounds = 5,
        .refused = kubevirt_refused,
        .nics = "networks: [{name: a, type: pod, mac: \"52:54:00:12:34:56\"}, {name: b, type: multus, source: one, "
                "model: e1000}, {name: c, type: multus, source: two, link: down}]",
        .agent_image = "docker://quay.io/containerdisks/debian:12",
        .only_q35 = true,
        .image_name = "existing",
        .bare_snapshots = true,
        .clones_running = true,
        .seed_in_native = true,
        .collects_later = true,
        .cluster = true,
        .console_is_taken = true,
        .log_goes = true,
        .stop_stays = true,
        .state_lags = true,
    },
};
#define PROFILES (sizeof profiles / sizeof profiles[0])

#endif
