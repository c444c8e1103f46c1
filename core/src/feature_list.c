/* A feature with a slot and a key needs both. The order is that of `vmctl caps`. */
#include "feature_list.h"

#define SLOT(id, title, slot)                                                                                          \
    { id, title, VMCTL_SLOT_##slot, NULL, NULL }
#define KEY(id, title, key)                                                                                            \
    { id, title, VMCTL_SLOT_create, key, NULL }
#define VALUE(id, title, key, value)                                                                                   \
    { id, title, VMCTL_SLOT_create, key, value }
#define BOTH(id, title, slot, key)                                                                                     \
    { id, title, VMCTL_SLOT_##slot, key, NULL }

/* clang-format off */
const vmc_feature vmc_features[] = {
    SLOT("lifecycle.create", "create a VM", create),
    SLOT("lifecycle.delete", "delete a VM with its disks", remove),
    SLOT("lifecycle.start", "start", start),
    SLOT("lifecycle.stop", "stop: ask the guest, then power off", stop),
    SLOT("lifecycle.restart", "restart", restart),
    SLOT("lifecycle.reset", "reset button", reset),
    SLOT("lifecycle.pause", "pause", pause),
    SLOT("lifecycle.resume", "resume", resume),
    SLOT("lifecycle.save", "save memory to disk and stop", save),
    SLOT("lifecycle.rename", "rename", rename),
    SLOT("lifecycle.clone", "clone", clone),
    SLOT("lifecycle.clone.linked", "linked clone", clone),
    KEY("lifecycle.autostart", "start with the host", "autostart"),
    KEY("lifecycle.lease", "lifetime, after which reap removes it", "lifetime"),

    SLOT("look.list", "list VMs", list),
    SLOT("look.get", "facts of a VM", get),
    SLOT("look.spec", "a VM as vm.yaml", spec),
    SLOT("look.native", "a VM as the hypervisor's own document", native),
    SLOT("look.render", "show what would be sent", render),
    SLOT("look.events", "events", events),
    SLOT("look.wait", "wait for a stage", events),
    SLOT("look.metrics", "metrics of all VMs", metrics_list),

    SLOT("change.apply", "apply a changed vm.yaml", change),

    KEY("cpu.count", "number of CPUs", "cpus.count"),
    KEY("cpu.topology", "sockets, cores, threads", "cpus.sockets"),
    KEY("cpu.model", "CPU model", "cpus.model"),
    KEY("cpu.max", "CPUs to grow to", "cpus.max"),
    KEY("memory.size", "memory", "memory.size"),
    KEY("memory.max", "memory to grow to", "memory.max"),
    KEY("memory.hugepages", "huge pages", "memory.hugepages"),
    KEY("machine.arch", "guest architecture", "arch"),
    KEY("machine.type", "machine type", "machine"),
    VALUE("guest.windows", "Windows guests", "guest", "windows"),
    VALUE("accel.kvm", "hardware acceleration by choice", "accel", "kvm"),
    VALUE("accel.tcg", "software CPU", "accel", "tcg"),
    VALUE("firmware.bios", "BIOS", "firmware.type", "bios"),
    VALUE("firmware.uefi", "UEFI", "firmware.type", "uefi"),
    KEY("firmware.secureboot", "secure boot", "firmware.secureBoot"),
    KEY("firmware.tpm", "TPM 2.0", "firmware.tpm"),
    VALUE("confidential.sev", "AMD SEV", "confidential", "sev"),
    VALUE("confidential.sev-snp", "AMD SEV-SNP", "confidential", "sev-snp"),
    VALUE("confidential.tdx", "Intel TDX", "confidential", "tdx"),
    KEY("boot.order", "boot order", "boot.order"),
    KEY("boot.kernel", "direct kernel boot", "boot.kernel"),

    KEY("storage.image", "disk from an image", "disks[].image"),
    KEY("storage.backing", "disk as an overlay", "disks[].backing"),
    KEY("storage.volume", "existing disk", "disks[].volume"),
    KEY("storage.blank", "blank disk", "disks[].size"),
    KEY("storage.cdrom", "optical drive", "disks[].cdrom"),
    KEY("storage.format", "disk formats", "disks[].format"),
    VALUE("storage.bus.virtio", "virtio disks", "disks[].bus", "virtio"),
    VALUE("storage.bus.scsi", "SCSI disks", "disks[].bus", "scsi"),
    VALUE("storage.bus.sata", "SATA disks", "disks[].bus", "sata"),
    VALUE("storage.bus.nvme", "NVMe disks", "disks[].bus", "nvme"),
    VALUE("storage.bus.ide", "IDE disks", "disks[].bus", "ide"),
    VALUE("storage.bus.usb", "USB disks", "disks[].bus", "usb"),
    KEY("storage.pool", "choice of pool or datastore", "disks[].pool"),
    KEY("storage.cache", "disk caching", "disks[].cache"),
    KEY("storage.shared", "disk shared by VMs", "disks[].shared"),

    VALUE("network.nat", "NAT", "networks[].type", "nat"),
    VALUE("network.user", "user networking", "networks[].type", "user"),
    VALUE("network.bridge", "bridge", "networks[].type", "bridge"),
    VALUE("network.network", "the hypervisor's own networks", "networks[].type", "network"),
    VALUE("network.portgroup", "port group", "networks[].type", "portgroup"),
    VALUE("network.pod", "pod network", "networks[].type", "pod"),
    VALUE("network.multus", "Multus networks", "networks[].type", "multus"),
    KEY("network.forward", "port forwards", "networks[].forward"),
    KEY("network.vlan", "VLAN", "networks[].vlan"),
    KEY("network.mtu", "MTU", "networks[].mtu"),
    KEY("network.link", "pulling the cable", "networks[].link"),

    SLOT("device.disk.hotplug", "attach disks while it runs", device_attach),
    SLOT("device.nic.hotplug", "attach NICs while it runs", device_attach),
    SLOT("device.detach", "detach devices while it runs", device_detach),
    SLOT("device.cdrom.change", "change media", cdrom_change),
    VALUE("share.virtiofs", "folders by virtiofs", "shares[].type", "virtiofs"),
    VALUE("share.9p", "folders by 9p", "shares[].type", "9p"),
    KEY("device.rng", "random number device", "rng"),
    KEY("device.watchdog", "watchdog", "watchdog"),

    KEY("gpu.passthrough", "GPU passthrough", "gpus[].pci"),
    KEY("gpu.vgpu", "vGPU", "gpus[].profile"),
    KEY("gpu.mig", "MIG", "gpus[].profile"),
    KEY("gpu.multi", "several GPUs", "gpus"),
    BOTH("gpu.hotplug", "attach GPUs while it runs", device_attach, "gpus"),
    SLOT("gpu.list", "list GPUs", gpu_list),
    SLOT("gpu.prepare", "prepare a GPU for passthrough", gpu_prepare),

    SLOT("snapshot.disk", "snapshot of the disks", snapshot_create),
    SLOT("snapshot.memory", "snapshot with memory", snapshot_create),
    SLOT("snapshot.quiesce", "frozen file systems", snapshot_create),
    SLOT("snapshot.list", "the tree of snapshots", snapshot_list),
    SLOT("snapshot.rename", "rename a snapshot", snapshot_rename),
    SLOT("snapshot.revert", "revert", snapshot_revert),
    SLOT("snapshot.delete", "delete a snapshot", snapshot_delete),

    SLOT("migrate.live", "live migration", migrate),
    SLOT("migrate.offline", "offline migration", migrate),
    SLOT("migrate.storage", "migration with its disks", migrate),
    SLOT("migrate.abort", "stop a migration", migrate_abort),

    KEY("display.virtual", "virtual display", "display"),
    VALUE("display.vnc", "VNC", "display.type", "vnc"),
    VALUE("display.spice", "SPICE", "display.type", "spice"),
    KEY("display.opengl", "3D by the host's GPU", "display.gl"),
    SLOT("display.address", "address of the display", display_list),
    SLOT("display.screenshot", "screenshot", screenshot),
    SLOT("display.keys", "send keys", send_keys),
    SLOT("console.serial", "serial console", console_open),
    BOTH("console.log", "serial log", serial_log, "serial.log"),

    KEY("cloudinit.seed", "cloud-init", "cloudInit"),
    KEY("unattend.windows", "unattended Windows set-up", "unattend"),
    KEY("guest.channel", "channel for the guest agent", "guestAgent"),
    SLOT("guest.exec", "run programs in the guest", guest_exec),
    SLOT("guest.copy", "copy into the guest", guest_copy_in),
    SLOT("guest.copy.out", "copy out of the guest", guest_copy_out),
    SLOT("guest.freeze", "freeze file systems", guest_freeze),
    SLOT("guest.thaw", "thaw file systems", guest_thaw),
    SLOT("guest.password", "set a password", guest_set_password),

    SLOT("host.info", "the hypervisor and its version", host_info),
    SLOT("host.list", "hosts or nodes", host_list),
    SLOT("host.pools", "storage pools", pool_list),
    SLOT("host.networks", "networks", network_list),
    SLOT("image.list", "images of the endpoint", image_list),
    SLOT("image.upload", "upload an image", image_upload),
    SLOT("image.delete", "delete an image", image_delete),
    SLOT("image.export", "export as OVA", export_ova),
    SLOT("image.import", "import an OVA", import_ova),
};
/* clang-format on */

const size_t vmc_feature_count = sizeof vmc_features / sizeof vmc_features[0];
