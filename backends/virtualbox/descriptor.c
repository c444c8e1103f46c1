/* backends/virtualbox/descriptor.c - what the VirtualBox backend does, as constant data: always linked in, pulls in nothing. */
#include <vmctl/backend.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define YES(slot)                                                                                                      \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_YES, VMCTL_PROOF_REAL, NULL }
#define LIMITED(slot, reason)                                                                                          \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_LIMITED, VMCTL_PROOF_REAL, reason }
#define NO(slot, reason)                                                                                               \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, reason }
/* What no guest of the tests has: shown by VBoxManage's manual and a stand-in for it only. */
#define UNSEEN(slot, reason)                                                                                           \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, reason }
/* A key of vm.yaml as a feature of create that no contract test has tried on the real hypervisor yet. */
#define UNTRIED(feature, level, reason)                                                                                \
    { VMCTL_SLOT_create, feature, VMCTL_LEVEL_##level, VMCTL_PROOF_SPECIFICATION, reason }
/* One feature of a slot that does less than the slot as a whole. */
#define PARTLY(slot, feature, reason)                                                                                  \
    { VMCTL_SLOT_##slot, feature, VMCTL_LEVEL_LIMITED, VMCTL_PROOF_REAL, reason }
#define KEY(key)                                                                                                       \
    { key, VMCTL_LEVEL_YES, NULL, NULL }
#define SOME(key, reason)                                                                                              \
    { key, VMCTL_LEVEL_LIMITED, NULL, reason }
#define NEVER(key, reason)                                                                                             \
    { key, VMCTL_LEVEL_NO, NULL, reason }
#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const aliases[] = {"vbox", NULL};
static const char *const schemes[] = {"virtualbox", "virtualbox+ssh", NULL};

#define NO_GPU "VirtualBox gives no GPU of the host to a VM: modifyvm --pci-attach is \"currently not available\""
#define GUEST  "where Guest Additions run in the guest; VMCTL_GUEST_USER and VMCTL_GUEST_PASSWORD_FILE name the user"
#define NO_IMAGES                                                                                                      \
    "VirtualBox keeps no images: disks lie with their VM; vmctl image convert makes one that a VM can use in place"
#define NO_PLACEMENT "the virtualbox URI names the host, and a host has no such place"
#define NO_UNATTEND  "unattended set-up arrives with its own release; VBoxManage unattended does it until then"
#define NO_KERNEL    "VirtualBox boots from disks, drives and the network only"

/* clang-format off */
static const vmctl_slot_claim slots[] = {
    YES(open), YES(close), YES(undo),
    YES(list), YES(lookup), YES(release), YES(get), YES(spec), YES(native), YES(render),
    YES(create), YES(remove),
    YES(change), NO(change_native, "VirtualBox has no document that describes a VM: a .vbox file is its own"),
    PARTLY(change, "storage.grow", "vdi and vhd disks of a stopped VM; one of a VM that runs grows at its next start"),
    PARTLY(change, "cpu.hotplug", "up to cpus.max; an added CPU leaves when the guest has taken it offline"),
    {VMCTL_SLOT_change, "memory.hotplug", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "VirtualBox adds no memory to a running VM"},
    {VMCTL_SLOT_change, "memory.balloon", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, "below what the VM began with, where Guest Additions run in the guest; its next start gives it that size"},
    {VMCTL_SLOT_get, "guest.info", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, "the system and who is logged in, where Guest Additions run in the guest; no file systems"},
    {VMCTL_SLOT_get, "guest.addresses", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, "where Guest Additions run in the guest"},
    {VMCTL_SLOT_create, "cpu.model", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "the guest sees the host's CPU; virtualbox.modifyvm takes a cpu-profile"},
    {VMCTL_SLOT_create, "machine.arch", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "guests of other architectures need a host of theirs"},
    UNTRIED("firmware.secureboot", YES, NULL),
    UNTRIED("guest.windows", YES, NULL), UNTRIED("storage.shared", LIMITED, "images of a fixed size"),
    PARTLY(create, "storage.bus.nvme", "VirtualBox boots from NVMe with firmware: uefi only"),
    PARTLY(create, "storage.bus.usb", "VirtualBox does not boot from USB disks"),
    PARTLY(create, "storage.bus.virtio", "as virtio-scsi"),
    PARTLY(create, "boot.order", "kinds of devices: which of two disks comes first is the order of their ports"),
    PARTLY(create, "lifecycle.autostart", "where the host's autostart service is set up"),
    PARTLY(create, "display.vnc", "by VirtualBox's VNC extension pack"),
    UNTRIED("display.opengl", LIMITED, "OpenGL 3.0 in part, by the Guest Additions' driver"),
    UNTRIED("network.bridge", LIMITED, "needs VirtualBox's kernel driver"),
    UNTRIED("network.network", LIMITED, "a NAT network of VirtualBox; needs its kernel driver"),
    UNTRIED("network.link", YES, NULL),
    LIMITED(start, "not paused: VBoxManage cannot"), YES(stop), YES(restart), {VMCTL_SLOT_reboot, NULL, VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, "where Guest Additions run in the guest"}, YES(reset), YES(pause), YES(resume), YES(save), YES(rename),
    YES(clone),
    PARTLY(clone, "lifecycle.clone.linked", "it stands on a snapshot of the original, which cannot be deleted while the clone is there"),
    YES(snapshot_create), YES(snapshot_list), YES(snapshot_rename),
    {VMCTL_SLOT_snapshot_create, "snapshot.external", VMCTL_LEVEL_YES, VMCTL_PROOF_SPECIFICATION, NULL},
    {VMCTL_SLOT_snapshot_create, "snapshot.quiesce", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "VirtualBox does not ask the guest to freeze its file systems"},
    LIMITED(snapshot_revert, "one that was taken paused comes back saved: VBoxManage starts no VM paused"),
    LIMITED(snapshot_delete, "not one that several others stand on: VirtualBox merges it into one only"),
    LIMITED(device_attach, "to a VM that runs only USB devices and disks, on bus usb or where bus sata has a free port; others come at its next start"),
    {VMCTL_SLOT_device_attach, "device.nic.hotplug", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "VirtualBox adds and takes NICs of a stopped VM only"},
    {VMCTL_SLOT_device_attach, "device.usb", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, "where VirtualBox's service for USB devices runs on the host; a VM that runs gets one only if it was started with a USB controller"},
    LIMITED(device_detach, "from a VM that runs only USB devices and disks that came while it ran; others leave at its next start"),
    YES(cdrom_change),
    NO(gpu_list, NO_GPU), NO(gpu_prepare, NO_GPU),
    LIMITED(migrate, "what runs, by teleporting to another VirtualBox on disks that both have; what is stopped, with its disks"),
    {VMCTL_SLOT_migrate, "migrate.offline", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_REAL, "a VM without snapshots; the disks in its folder go with it, others must be the target's too"},
    {VMCTL_SLOT_migrate, "migrate.storage", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "VirtualBox teleports between VMs on the same disks"},
    {VMCTL_SLOT_migrate, "migrate.tunnelled", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "the teleporter has a connection of its own"},
    {VMCTL_SLOT_migrate, "migrate.platform", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "moves between hypervisors arrive with their own release"},
    {VMCTL_SLOT_migrate, "migrate.postcopy", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "VirtualBox sends all memory before the VM goes on"},
    LIMITED(migrate_abort, "of a teleport that a VBoxManage on the VM's host does, as vmctl's is"),
    YES(events),
    YES(console_open), YES(serial_log), YES(display_list), YES(screenshot), YES(send_keys),
    LIMITED(guest_forward, "through a NIC of type nat; another guest is reached at its own address"),
    UNSEEN(guest_exec, GUEST), UNSEEN(guest_copy_in, GUEST), UNSEEN(guest_copy_out, GUEST),
    NO(guest_freeze, "Guest Additions have no such command"), NO(guest_thaw, "Guest Additions have no such command"),
    UNSEEN(guest_set_password, "of a Linux guest, by its chpasswd, where Guest Additions run and VMCTL_GUEST_USER is root"),
    YES(host_info), YES(host_list), YES(pool_list), YES(network_list),
    LIMITED(metrics_list, "CPU time and memory of the VM's process: VirtualBox counts no bytes of disks and networks"),
    NO(image_list, NO_IMAGES), NO(image_upload, NO_IMAGES), NO(image_download, NO_IMAGES), NO(image_delete, NO_IMAGES),
    YES(export_ova), YES(import_ova), YES(dump),
    YES(probe),
};

static const vmctl_key_claim keys[] = {
    KEY("name"), KEY("backend"), KEY("context"), KEY("labels"), KEY("description"),
    {"arch", VMCTL_LEVEL_LIMITED, VALUES("x86_64"), "guests of other architectures need a host of theirs"},
    KEY("cpus"), KEY("cpus.count"),
    NEVER("cpus.sockets", "VirtualBox shows the guest one socket with all CPUs as cores"),
    NEVER("cpus.cores", "VirtualBox shows the guest one socket with all CPUs as cores"),
    NEVER("cpus.threads", "VirtualBox shows the guest one socket with all CPUs as cores"),
    {"cpus.model", VMCTL_LEVEL_LIMITED, VALUES("host"), "the guest sees the host's CPU; virtualbox.modifyvm takes a cpu-profile"},
    KEY("cpus.max"),
    KEY("memory"), KEY("memory.size"), NEVER("memory.max", "VirtualBox adds no memory to a running VM"),
    NEVER("memory.hugepages", "VirtualBox decides that itself (virtualbox.modifyvm: {largepages: on})"),
    KEY("guest"), {"machine", VMCTL_LEVEL_LIMITED, VALUES("pc", "q35"), "VirtualBox has PIIX3 (pc) and ICH9 (q35)"},
    KEY("firmware"), KEY("firmware.type"), KEY("firmware.secureBoot"), KEY("firmware.tpm"),
    {"confidential", VMCTL_LEVEL_LIMITED, VALUES("none"), "VirtualBox has no encrypted guests"},
    {"accel", VMCTL_LEVEL_LIMITED, VALUES("auto"), "VirtualBox chooses itself (virtualbox.modifyvm: {vm-execution-engine: ...})"},
    KEY("boot"), KEY("boot.order"), NEVER("boot.kernel", NO_KERNEL), NEVER("boot.initrd", NO_KERNEL), NEVER("boot.cmdline", NO_KERNEL),
    KEY("disks"), KEY("disks[].name"), KEY("disks[].image"),
    NEVER("disks[].backing", "VirtualBox makes overlays of whole VMs only, as linked clones"),
    SOME("disks[].volume", "a vdi, vmdk or vhd file"), KEY("disks[].cdrom"), KEY("disks[].size"),
    {"disks[].format", VMCTL_LEVEL_LIMITED, VALUES("vdi", "vmdk", "vhd"), "VirtualBox runs VMs on vdi, vmdk and vhd; images of other formats are converted"},
    {"disks[].bus", VMCTL_LEVEL_LIMITED, VALUES("virtio", "scsi", "sata", "nvme", "ide", "usb"),
     "VirtualBox boots from nvme with firmware: uefi only, and from usb never"},
    SOME("disks[].pool", "there is one: default, the folder of VMs"),
    NEVER("disks[].cache", "a setting of VirtualBox's controllers, not of a disk"),
    NEVER("disks[].io", "VirtualBox decides that itself"), SOME("disks[].discard", "vdi disks only"),
    NEVER("disks[].readonly", "VirtualBox has no read-only hard disks"),
    NEVER("disks[].serial", "a disk's serial number is set by virtualbox.extraData (VBoxInternal/Devices/...)"),
    KEY("disks[].shared"),
    KEY("networks"), KEY("networks[].name"),
    {"networks[].type", VMCTL_LEVEL_LIMITED, VALUES("nat", "user", "bridge", "network", "hostonly", "internal", "natnetwork"),
     "VirtualBox has nat (also called user), bridge, hostonly, internal and natnetwork (also called network)"},
    KEY("networks[].source"), KEY("networks[].model"), KEY("networks[].mac"),
    NEVER("networks[].vlan", "VirtualBox has no VLANs"), NEVER("networks[].mtu", "VirtualBox has no setting of it"),
    SOME("networks[].forward", "on nat and user networks only"), KEY("networks[].link"),
    NEVER("gpus", NO_GPU), NEVER("gpus[].name", NO_GPU), NEVER("gpus[].pci", NO_GPU), NEVER("gpus[].device", NO_GPU),
    NEVER("gpus[].resource", NO_GPU), NEVER("gpus[].profile", NO_GPU), NEVER("gpus[].any", NO_GPU),
    SOME("shares", "mounted by Guest Additions"), KEY("shares[].name"), KEY("shares[].path"),
    NEVER("shares[].type", "VirtualBox's shared folders are of its own type: leave type out"), KEY("shares[].readonly"),
    KEY("usb"), KEY("usb[].name"), KEY("usb[].device"), SOME("usb[].address", "becomes the device that is there: its ids, serial number and port"),
    KEY("display"), {"display.type", VMCTL_LEVEL_LIMITED, VALUES("vnc", "none"), "VNC where its extension pack is installed; VirtualBox has no SPICE"},
    {"display.video", VMCTL_LEVEL_LIMITED, VALUES("vmsvga", "vboxsvga", "vboxvga", "none"), "VirtualBox has vmsvga, vboxsvga and vboxvga"},
    KEY("display.gl"), KEY("display.listen"),
    KEY("serial"), KEY("serial.log"),
    KEY("cloudInit"), KEY("cloudInit.hostname"), KEY("cloudInit.user"), KEY("cloudInit.sshKeys"),
    KEY("cloudInit.userData"), KEY("cloudInit.userData.file"), KEY("cloudInit.userData.inline"),
    KEY("cloudInit.networkData"), KEY("cloudInit.networkData.file"), KEY("cloudInit.networkData.inline"),
    NEVER("unattend", NO_UNATTEND), NEVER("unattend.file", NO_UNATTEND), NEVER("unattend.drivers", NO_UNATTEND),
    NEVER("guestAgent", "Guest Additions need no channel: VirtualBox's device for them is always there"),
    NEVER("rng", "VirtualBox has no such device"), NEVER("watchdog", "VirtualBox has no such device"),
    KEY("autostart"), KEY("lifetime"), KEY("count"),
    NEVER("placement", NO_PLACEMENT), NEVER("placement.host", NO_PLACEMENT), NEVER("placement.cluster", NO_PLACEMENT),
    NEVER("placement.datastore", NO_PLACEMENT), NEVER("placement.folder", "VirtualBox's groups arrive with their own release"),
    NEVER("placement.resourcePool", NO_PLACEMENT), NEVER("placement.namespace", NO_PLACEMENT),
    NEVER("placement.storageClass", NO_PLACEMENT), NEVER("placement.nodeSelector", NO_PLACEMENT),
    KEY("virtualbox"), KEY("virtualbox.modifyvm"), KEY("virtualbox.extraData"),
};
/* clang-format on */

extern const vmctl_backend_descriptor vmc_virtualbox_descriptor;

const vmctl_backend_descriptor vmc_virtualbox_descriptor = {
    .size = sizeof(vmctl_backend_descriptor),
    .name = "virtualbox",
    .title = "VirtualBox",
    .platform = "VirtualBox",
    .aliases = aliases,
    .schemes = schemes,
    .default_uri = "virtualbox:///",
    .package = "vmctl-virtualbox (virtualbox)",
    .default_network = "nat",
    .image_sources = VMCTL_SOURCE_FILE,
    .slots = slots,
    .slot_count = COUNT(slots),
    .keys = keys,
    .key_count = COUNT(keys),
};
