/* backends/libvirt/descriptor.c - what the libvirt backend does, as constant data: always linked in, pulls in nothing. */
#include <vmctl/backend.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define YES(slot)                                                                                                      \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_YES, VMCTL_PROOF_REAL, NULL }
/* A feature of a slot, with what limits it. */
#define SOME_OF(slot, feature, reason)                                                                                 \
    { VMCTL_SLOT_##slot, feature, VMCTL_LEVEL_LIMITED, VMCTL_PROOF_REAL, reason }
#define NO(slot, reason)                                                                                               \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, reason }
/* A key of vm.yaml as a feature of create that no contract test has tried on the real hypervisor yet. */
#define UNTRIED(feature, level, reason)                                                                                \
    { VMCTL_SLOT_create, feature, VMCTL_LEVEL_##level, VMCTL_PROOF_SPECIFICATION, reason }
/* One feature of a slot that does more, or less, than the slot as a whole. */
#define PART(slot, feature, level, proof, reason)                                                                      \
    { VMCTL_SLOT_##slot, feature, VMCTL_LEVEL_##level, VMCTL_PROOF_##proof, reason }
#define KEY(key)                                                                                                       \
    { key, VMCTL_LEVEL_YES, NULL, NULL }
#define SOME(key, reason)                                                                                              \
    { key, VMCTL_LEVEL_LIMITED, NULL, reason }
#define NEVER(key, reason)                                                                                             \
    { key, VMCTL_LEVEL_NO, NULL, reason }
#define VALUES(...) ((const char *const[]){__VA_ARGS__, NULL})

static const char *const aliases[] = {"kvm", "qemu", NULL};
static const char *const schemes[] = {"qemu", "test", NULL};
#ifndef VMCTL_LIBVIRT_FIRST /* libraries.cmake */
#define VMCTL_LIBVIRT_FIRST
#endif
static const char *const first[] = {VMCTL_LIBVIRT_FIRST NULL};

#define NO_GPU       "GPU passthrough arrives with its own release; libvirt.xmlPatch takes a <hostdev> until then"
#define AGENT        "needs qemu-guest-agent in the guest"
#define NO_PLACEMENT "the libvirt URI names the host, and a host has no such place"

/* clang-format off */
static const vmctl_slot_claim slots[] = {
    YES(open), YES(close), YES(undo),
    YES(list), YES(lookup), YES(release), YES(get), YES(spec), YES(native), YES(render),
    YES(create), YES(remove), YES(change),
    NO(change_native, "a <domain> makes a VM; one that is there is changed by a vm.yaml, with libvirt.xmlPatch for the rest"),
    PART(get, "guest.addresses", YES, REAL, NULL), PART(get, "guest.info", LIMITED, REAL, AGENT),
    PART(change, "cpu.hotplug", LIMITED, REAL, "up to cpus.max; under KVM what was added goes again when the guest lets it, those that it was started with stay"),
    PART(change, "memory.balloon", LIMITED, REAL, "up to the memory that the VM started with, by the guest's balloon driver"),
    PART(change, "memory.hotplug", LIMITED, REAL, "up to memory.max, in DIMMs of 128MiB and its multiples; less is the balloon's matter"),
    UNTRIED("accel.kvm", YES, NULL), UNTRIED("guest.windows", YES, NULL), UNTRIED("machine.arch", YES, NULL),
    UNTRIED("cpu.model", YES, NULL), UNTRIED("storage.shared", YES, NULL),
    UNTRIED("memory.max", YES, NULL),
    UNTRIED("memory.hugepages", LIMITED, "the host must have huge pages reserved"),
    UNTRIED("network.vlan", LIMITED, "on Open vSwitch networks, and from libvirt 11.0 on Linux bridges"),
    PART(create, "storage.bus.ide", LIMITED, REAL, "with machine: pc; q35 has none"),
    UNTRIED("network.mtu", LIMITED, "not on user networking"),
    UNTRIED("display.opengl", LIMITED, "rendered on the host's GPU, which needs a render node"),
    YES(start), YES(stop), YES(restart), PART(reboot, NULL, YES, SPECIFICATION, NULL), YES(reset), YES(pause), YES(resume), YES(save), YES(rename),
    YES(clone),
    YES(snapshot_create), YES(snapshot_list), YES(snapshot_rename), YES(snapshot_revert), YES(snapshot_delete),
    SOME_OF(snapshot_create, "snapshot.disk", "of a running VM only from libvirt 9.9 on; before, its snapshots are with memory"),
    SOME_OF(snapshot_create, "snapshot.memory", "on qcow2 disks; of a VM on UEFI firmware from libvirt 10.10 on"),
    SOME_OF(snapshot_create, "snapshot.quiesce", "needs qemu-guest-agent in the guest"),
    {VMCTL_SLOT_snapshot_create, "snapshot.external", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION,
     "from libvirt 9.9 on, which can revert them; those of others are shown, and deleted from 9.0 on"},
    SOME_OF(snapshot_rename, "snapshot.rename", "the new name is vmctl's; virsh and QEMU go on using the first one"),
    SOME_OF(snapshot_revert, "snapshot.revert", "external snapshots from libvirt 9.9 on"),
    YES(device_attach), YES(device_detach), YES(cdrom_change),
    PART(device_attach, "device.usb", YES, SPECIFICATION, NULL),
    SOME_OF(device_detach, "device.detach", "PCI devices go when the guest lets them; buses ide and sata give nothing while the VM runs"),
    NO(gpu_list, NO_GPU), NO(gpu_prepare, NO_GPU),
    YES(migrate), YES(migrate_abort),
    {VMCTL_SLOT_migrate, "migrate.tunnelled", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_REAL,
     "the memory of a running VM; QEMU copies disks over a connection of its own"},
    {VMCTL_SLOT_migrate, "migrate.postcopy", VMCTL_LEVEL_LIMITED, VMCTL_PROOF_REAL,
     "where both hosts let QEMU use userfaultfd; not tunnelled"},
    {VMCTL_SLOT_migrate, "migrate.platform", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE,
     "moving to another hypervisor arrives with its own release; virt-v2v does it until then"},
    YES(events), YES(console_open), YES(serial_log), YES(display_list), YES(screenshot), YES(send_keys),
    SOME_OF(guest_exec, NULL, AGENT " and a POSIX shell there"), SOME_OF(guest_copy_in, NULL, AGENT " and a POSIX shell there"),
    SOME_OF(guest_copy_out, NULL, AGENT " and a POSIX shell there"),
    SOME_OF(guest_freeze, NULL, AGENT), SOME_OF(guest_thaw, NULL, AGENT), SOME_OF(guest_set_password, NULL, AGENT),
    SOME_OF(guest_forward, NULL, "where the guest's address is not reachable: by a NIC of type user, on this machine"),
    YES(host_info), YES(host_list), YES(pool_list), YES(network_list), YES(metrics_list),
    YES(image_list), YES(image_upload), YES(image_download), YES(image_delete),
    YES(export_ova), YES(import_ova),
    SOME_OF(dump, NULL, "on libvirt's own host, by its root or on qemu:///session"),
    YES(probe),
};

static const vmctl_key_claim keys[] = {
    KEY("name"), KEY("backend"), KEY("context"), KEY("labels"), KEY("description"), KEY("arch"),
    KEY("cpus"), KEY("cpus.count"), KEY("cpus.sockets"), KEY("cpus.cores"), KEY("cpus.threads"), KEY("cpus.model"),
    KEY("cpus.max"),
    KEY("memory"), KEY("memory.size"),
    KEY("memory.max"),
    SOME("memory.hugepages", "the host must have huge pages reserved"),
    KEY("guest"), KEY("machine"), KEY("firmware"), KEY("firmware.type"), KEY("firmware.secureBoot"),
    KEY("firmware.tpm"),
    {"confidential", VMCTL_LEVEL_LIMITED, VALUES("none"), "encrypted guests arrive with their own release"},
    KEY("accel"),
    KEY("boot"), KEY("boot.order"), KEY("boot.kernel"), KEY("boot.initrd"), KEY("boot.cmdline"),
    KEY("disks"), KEY("disks[].name"), KEY("disks[].image"), KEY("disks[].backing"), KEY("disks[].volume"),
    KEY("disks[].cdrom"), KEY("disks[].size"),
    {"disks[].format", VMCTL_LEVEL_LIMITED, VALUES("qcow2", "raw"),
     "QEMU runs guests well on qcow2 and raw only; vmctl image convert turns others into these"},
    {"disks[].bus", VMCTL_LEVEL_LIMITED, VALUES("virtio", "scsi", "sata", "ide", "usb"),
     "NVMe disks need libvirt 11.5 or newer"},
    KEY("disks[].pool"), KEY("disks[].cache"), KEY("disks[].io"), KEY("disks[].discard"), KEY("disks[].readonly"),
    KEY("disks[].serial"), KEY("disks[].shared"),
    KEY("networks"), KEY("networks[].name"),
    {"networks[].type", VMCTL_LEVEL_LIMITED, VALUES("nat", "user", "bridge", "network"),
     "libvirt has nat, user, bridge and network; the others belong to other hypervisors"},
    KEY("networks[].source"), KEY("networks[].model"), KEY("networks[].mac"),
    SOME("networks[].vlan", "on Open vSwitch networks, and from libvirt 11.0 on Linux bridges"),
    SOME("networks[].mtu", "not on user networking"),
    SOME("networks[].forward", "on nat and user networks only, which then use QEMU's user networking"),
    KEY("networks[].link"),
    NEVER("gpus", NO_GPU), NEVER("gpus[].name", NO_GPU), NEVER("gpus[].pci", NO_GPU), NEVER("gpus[].device", NO_GPU),
    NEVER("gpus[].resource", NO_GPU), NEVER("gpus[].profile", NO_GPU), NEVER("gpus[].any", NO_GPU),
    SOME("shares", "folders of the hypervisor's own host"), KEY("shares[].name"), KEY("shares[].path"),
    KEY("shares[].type"), SOME("shares[].readonly", "with virtiofs from libvirt 11.0 on; with 9p always"),
    KEY("usb"), KEY("usb[].name"), KEY("usb[].device"), KEY("usb[].address"),
    KEY("display"), KEY("display.type"), KEY("display.video"),
    SOME("display.gl", "rendered on the host's GPU, which needs a render node"), KEY("display.listen"),
    KEY("serial"), KEY("serial.log"),
    KEY("cloudInit"), KEY("cloudInit.hostname"), KEY("cloudInit.user"), KEY("cloudInit.sshKeys"),
    KEY("cloudInit.userData"), KEY("cloudInit.userData.file"), KEY("cloudInit.userData.inline"),
    KEY("cloudInit.networkData"), KEY("cloudInit.networkData.file"), KEY("cloudInit.networkData.inline"),
    NEVER("unattend", "unattended Windows set-up arrives with its own release"),
    NEVER("unattend.file", "unattended Windows set-up arrives with its own release"),
    NEVER("unattend.drivers", "unattended Windows set-up arrives with its own release"),
    KEY("guestAgent"), KEY("rng"), KEY("watchdog"), KEY("autostart"), KEY("lifetime"), KEY("count"),
    NEVER("placement", NO_PLACEMENT), NEVER("placement.host", NO_PLACEMENT), NEVER("placement.cluster", NO_PLACEMENT),
    NEVER("placement.datastore", "name the pool in disks[].pool"), NEVER("placement.folder", NO_PLACEMENT),
    NEVER("placement.resourcePool", NO_PLACEMENT), NEVER("placement.namespace", NO_PLACEMENT),
    NEVER("placement.storageClass", "name the pool in disks[].pool"), NEVER("placement.nodeSelector", NO_PLACEMENT),
    KEY("libvirt"), KEY("libvirt.xmlPatch"), KEY("libvirt.qemuArgs"),
};
/* clang-format on */

extern const vmctl_backend_descriptor vmc_libvirt_descriptor;

const vmctl_backend_descriptor vmc_libvirt_descriptor = {
    .size = sizeof(vmctl_backend_descriptor),
    .name = "libvirt",
    .title = "QEMU/KVM (libvirt)",
    .platform = "QEMU/KVM",
    .aliases = aliases,
    .schemes = schemes,
    .default_uri = "qemu:///system",
    .first = first,
    .package = "vmctl-libvirt (libvirt-daemon-system, qemu-system-x86)",
    .default_network = "nat",
    .image_sources = VMCTL_SOURCE_FILE,
    .slots = slots,
    .slot_count = COUNT(slots),
    .keys = keys,
    .key_count = COUNT(keys),
};
