/* backends/kubevirt/descriptor.c - what the KubeVirt backend does, as constant data: always linked in, pulls in nothing. */
#include <vmctl/backend.h>

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
/* What nothing has shown yet but the API's description. */
#define YES(slot)                                                                                                      \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_YES, VMCTL_PROOF_SPECIFICATION, NULL }
#define LIMITED(slot, reason)                                                                                          \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_LIMITED, VMCTL_PROOF_SPECIFICATION, reason }
#define NO(slot, reason)                                                                                               \
    { VMCTL_SLOT_##slot, NULL, VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, reason }
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

static const char *const aliases[] = {"k8s", "kubernetes", NULL};
static const char *const schemes[] = {"kubevirt", NULL};

#define NO_SAVE   "KubeVirt keeps no memory of a VM that stopped; vmctl pause keeps it running in place"
#define NO_RENAME "a Kubernetes object keeps its name; vmctl clone VM NEW, then vmctl delete VM"
#define NO_KERNEL                                                                                                      \
    "KubeVirt takes a kernel from a container image only: kubevirt.patch with "                                        \
    "/spec/template/spec/domain/firmware/kernelBoot"
#define NO_HOST_FILES                                                                                                  \
    "nodes are interchangeable, and a VM sees no folder of one; shares of claims go through kubevirt.patch"
#define NO_KEYS "KubeVirt has no API for it; vmctl display VM --viewer takes the keyboard"
#define NO_AGENT_EXEC                                                                                                  \
    "KubeVirt gives no command to the guest's agent; vmctl ssh and cp go by ssh, through the API server"

/* clang-format off */
static const vmctl_slot_claim slots[] = {
    YES(open), YES(close), YES(undo),
    YES(list), YES(lookup), YES(release), YES(get), YES(spec), YES(native), YES(render),
    YES(create), YES(remove), YES(change), YES(change_native),
    PART(get, "guest.info", LIMITED, SPECIFICATION, "needs qemu-guest-agent in the guest"),
    PART(get, "guest.addresses", LIMITED, SPECIFICATION, "the pod's address without an agent in the guest"),
    {VMCTL_SLOT_create, "accel.kvm", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "the cluster decides: KubeVirt's useEmulation"},
    {VMCTL_SLOT_create, "accel.tcg", VMCTL_LEVEL_NO, VMCTL_PROOF_NONE, "the cluster decides: KubeVirt's useEmulation"},
    PART(create, "confidential.sev", LIMITED, SPECIFICATION, "by the gate WorkloadEncryptionSEV, on nodes that can; such a VM does not migrate"),
    PART(create, "confidential.sev-snp", LIMITED, SPECIFICATION, "by the gate WorkloadEncryptionSEV, on nodes that can"),
    PART(create, "confidential.tdx", LIMITED, SPECIFICATION, "experimental in KubeVirt, on nodes that can"),
    YES(start), LIMITED(stop, "KubeVirt always powers off after the grace"), YES(restart), YES(reboot), YES(reset), YES(pause), YES(resume),
    NO(save, NO_SAVE), NO(rename, NO_RENAME),
    YES(clone),
    PART(clone, "lifecycle.clone.linked", NO, NONE, "volumes of a cluster have no overlays that a linked clone could stand on"),
    YES(snapshot_create), YES(snapshot_list), NO(snapshot_rename, "a Kubernetes object keeps its name"),
    LIMITED(snapshot_revert, "the VM is stopped for it"), YES(snapshot_delete),
    PART(snapshot_create, "snapshot.disk", LIMITED, SPECIFICATION, "disks whose storage class has a VolumeSnapshotClass; others are left out and named"),
    PART(snapshot_create, "snapshot.memory", NO, NONE, "a snapshot of KubeVirt holds disks and no memory"),
    PART(snapshot_create, "snapshot.quiesce", LIMITED, SPECIFICATION, "needs qemu-guest-agent in the guest"),
    PART(snapshot_create, "snapshot.external", NO, NONE, "the storage class decides how it snapshots"),
    PART(snapshot_create, "snapshot.tree", LIMITED, SPECIFICATION, "several side by side; KubeVirt remembers no order of reverts"),
    LIMITED(device_attach, "disks on virtio or scsi and virtio NICs on multus networks while the VM runs; others from the next start"),
    LIMITED(device_detach, "what came while the VM ran; others from the next start"), LIMITED(cdrom_change, "of drives that were empty when the VM started; else from the next start"),
    PART(device_attach, "gpu.hotplug", NO, NONE, "KubeVirt takes and gives no device of a node while the VM runs"),
    PART(change, "cpu.hotplug", LIMITED, SPECIFICATION, "whole sockets, up to the room that the VM started with; no fewer"),
    PART(change, "memory.hotplug", LIMITED, SPECIFICATION, "up to the room that the VM started with; no less"),
    PART(change, "memory.balloon", NO, NONE, "KubeVirt takes no memory from a running VM"),
    PART(change, "storage.grow", LIMITED, SPECIFICATION, "where the storage class expands volumes"),
    PART(create, "gpu.passthrough", LIMITED, SPECIFICATION, "by resource or ids, of those that the cluster permits"),
    PART(create, "gpu.mig", LIMITED, SPECIFICATION, "as profiles of a vGPU that is backed by MIG"),
    YES(gpu_list), NO(gpu_prepare, "KubeVirt binds devices on the nodes itself, or NVIDIA's GPU operator does"),
    LIMITED(migrate, "of a running VM between nodes of the cluster, whose disks are on ReadWriteMany claims"), YES(migrate_abort),
    PART(migrate, "migrate.offline", NO, NONE, "a VM that is stopped is on no node; its next start finds one"),
    PART(migrate, "migrate.storage", NO, NONE, "a VM's disks stay where they are; vmctl set VM disk.NAME.pool=CLASS moves one to another storage class"),
    PART(migrate, "migrate.tunnelled", NO, NONE, "KubeVirt chooses the way of a migration itself"),
    PART(migrate, "migrate.postcopy", NO, NONE, "post-copy, auto-converge and bandwidth of a migration are the cluster's, by a MigrationPolicy"),
    PART(migrate, "migrate.platform", NO, NONE, "moving to another hypervisor arrives with its own release; virt-v2v does it until then"),
    YES(events), LIMITED(console_open, "whoever had it is cut off, and KubeVirt does not say that there was somebody"), LIMITED(serial_log, "kept by the pod, as long as it runs"), LIMITED(display_list, "VNC, at a port of this machine while vmctl runs"),
    LIMITED(screenshot, "for who has the role admin"), NO(send_keys, NO_KEYS),
    NO(guest_exec, NO_AGENT_EXEC), NO(guest_copy_in, NO_AGENT_EXEC), NO(guest_copy_out, NO_AGENT_EXEC),
    YES(guest_freeze), YES(guest_thaw), NO(guest_set_password, "KubeVirt sets passwords by accessCredentials at boot only"),
    YES(guest_forward), LIMITED(dump, "through a claim that is made for it, read by an export and removed again"),
    YES(host_info), YES(host_list), YES(pool_list), YES(network_list),
    NO(metrics_list, "KubeVirt gives its metrics to Prometheus, not to its API"),
    YES(image_list), LIMITED(image_upload, "with CDI in the cluster, and its upload proxy for files of this machine; an upload that is cut off begins again"),
    LIMITED(image_download, "of a claim that no VM runs on; the raw disk; through the API server where the cluster shows its exports to nobody outside"), YES(image_delete),
    NO(export_ova, "a VM's disks leave the cluster by VirtualMachineExport; OVA is no format of KubeVirt's"),
    NO(import_ova, "an OVA comes in through another backend and vmctl image upload"),
    YES(probe),
};

static const vmctl_key_claim keys[] = {
    KEY("name"), KEY("backend"), KEY("context"), KEY("labels"), KEY("description"),
    {"arch", VMCTL_LEVEL_LIMITED, VALUES("x86_64", "aarch64", "s390x"), "KubeVirt knows amd64, arm64 and s390x"},
    KEY("cpus"), KEY("cpus.count"), KEY("cpus.sockets"), KEY("cpus.cores"), KEY("cpus.threads"),
    SOME("cpus.model", "host, host-model or a model that a node has; max is none of them"),
    SOME("cpus.max", "whole sockets"),
    KEY("memory"), KEY("memory.size"), KEY("memory.max"), SOME("memory.hugepages", "of 2MiB, which a node must have reserved"),
    KEY("guest"), SOME("machine", "q35 and its versions, unless the cluster allows others"),
    KEY("firmware"), KEY("firmware.type"), KEY("firmware.secureBoot"), KEY("firmware.tpm"),
    {"confidential", VMCTL_LEVEL_LIMITED, VALUES("none", "sev", "sev-snp", "tdx"), "on nodes that have it"},
    {"accel", VMCTL_LEVEL_LIMITED, VALUES("auto"), "the cluster decides: KubeVirt's useEmulation"},
    KEY("boot"), KEY("boot.order"), NEVER("boot.kernel", NO_KERNEL), NEVER("boot.initrd", NO_KERNEL), NEVER("boot.cmdline", NO_KERNEL),
    KEY("disks"), KEY("disks[].name"), KEY("disks[].image"),
    NEVER("disks[].backing", "disks are volumes of the cluster, which have no overlays; image: pvc:NAME clones one"),
    SOME("disks[].volume", "a PersistentVolumeClaim of the VM's namespace"), KEY("disks[].cdrom"), KEY("disks[].size"),
    NEVER("disks[].format", "the storage class decides: volumes are block devices or raw files"),
    {"disks[].bus", VMCTL_LEVEL_LIMITED, VALUES("virtio", "scsi", "sata", "usb"), "KubeVirt has virtio, scsi, sata and usb"},
    SOME("disks[].pool", "a storage class"),
    {"disks[].cache", VMCTL_LEVEL_LIMITED, VALUES("none", "writeback", "writethrough"), "KubeVirt has these three"},
    {"disks[].io", VMCTL_LEVEL_LIMITED, VALUES("threads", "native"), "KubeVirt has threads and native"},
    NEVER("disks[].discard", "KubeVirt always passes trim on"), KEY("disks[].readonly"), KEY("disks[].serial"),
    SOME("disks[].shared", "on a storage class with ReadWriteMany"),
    KEY("networks"), KEY("networks[].name"),
    {"networks[].type", VMCTL_LEVEL_LIMITED, VALUES("pod", "nat", "bridge", "multus"),
     "KubeVirt has pod (also called nat), bridge on the pod's network, and multus"},
    SOME("networks[].source", "of multus a NetworkAttachmentDefinition, of bridge \"pod\""), KEY("networks[].model"), KEY("networks[].mac"),
    NEVER("networks[].vlan", "the NetworkAttachmentDefinition says it"), NEVER("networks[].mtu", "the NetworkAttachmentDefinition says it"),
    NEVER("networks[].forward", "nodes are interchangeable, so none has a port to forward; vmctl port-forward VM LOCAL:GUEST, or a Service"),
    KEY("networks[].link"),
    KEY("gpus"), KEY("gpus[].name"), NEVER("gpus[].pci", "nodes are interchangeable: name a resource, device or profile that the cluster permits"),
    SOME("gpus[].device", "of those that the cluster permits"), SOME("gpus[].resource", "of those that the cluster permits"),
    SOME("gpus[].profile", "a mediated device that the cluster permits"),
    SOME("gpus[].any", "{hostDevice: RESOURCE}, or a claim: {claimTemplate: NAME, request: NAME}"),
    NEVER("shares", NO_HOST_FILES), NEVER("shares[].name", NO_HOST_FILES), NEVER("shares[].path", NO_HOST_FILES),
    NEVER("shares[].type", NO_HOST_FILES), NEVER("shares[].readonly", NO_HOST_FILES),
    SOME("usb", "devices of nodes, of those that the cluster permits"), KEY("usb[].name"), SOME("usb[].device", "of those that the cluster permits"),
    NEVER("usb[].address", "nodes are interchangeable: name a device that the cluster permits"),
    KEY("display"), {"display.type", VMCTL_LEVEL_LIMITED, VALUES("vnc", "none"), "KubeVirt has VNC, through the API server"},
    {"display.video", VMCTL_LEVEL_LIMITED, VALUES("virtio", "vga", "bochs", "cirrus", "ramfb"), "KubeVirt has these cards"},
    NEVER("display.gl", "KubeVirt has no rendering on the node's GPU"), NEVER("display.listen", "VNC goes through the API server: vmctl display VM --viewer"),
    KEY("serial"), SOME("serial.log", "kept by the pod, as long as it runs"),
    KEY("cloudInit"), KEY("cloudInit.hostname"), KEY("cloudInit.user"), KEY("cloudInit.sshKeys"),
    KEY("cloudInit.userData"), KEY("cloudInit.userData.file"), KEY("cloudInit.userData.inline"),
    KEY("cloudInit.networkData"), KEY("cloudInit.networkData.file"), KEY("cloudInit.networkData.inline"),
    KEY("unattend"), KEY("unattend.file"), NEVER("unattend.drivers", "KubeVirt has an image for that: a disk with cdrom: docker://quay.io/kubevirt/virtio-container-disk"),
    KEY("guestAgent"), KEY("rng"),
    {"watchdog", VMCTL_LEVEL_LIMITED, VALUES("reset", "poweroff", "none"), "KubeVirt's watchdog resets or powers off"},
    SOME("autostart", "started again when its node is lost"), KEY("lifetime"), KEY("count"),
    KEY("placement"), SOME("placement.host", "a node, by its kubernetes.io/hostname"), NEVER("placement.cluster", "the context names it"),
    NEVER("placement.datastore", "name a storage class: placement.storageClass"), NEVER("placement.folder", "Kubernetes has namespaces: placement.namespace"),
    NEVER("placement.resourcePool", "Kubernetes has quotas of namespaces"), KEY("placement.namespace"), KEY("placement.storageClass"), KEY("placement.nodeSelector"),
    KEY("kubevirt"), KEY("kubevirt.patch"), KEY("kubevirt.instancetype"), KEY("kubevirt.preference"),
};
/* clang-format on */

extern const vmctl_backend_descriptor vmc_kubevirt_descriptor;

const vmctl_backend_descriptor vmc_kubevirt_descriptor = {
    .size = sizeof(vmctl_backend_descriptor),
    .name = "kubevirt",
    .title = "KubeVirt",
    .platform = "KubeVirt",
    .aliases = aliases,
    .schemes = schemes,
    .default_uri = "kubevirt:///",
    .package = "vmctl-kubevirt",
    .default_network = "pod",
    .image_sources = VMCTL_SOURCE_FILE | VMCTL_SOURCE_URL | VMCTL_SOURCE_LIBRARY | VMCTL_SOURCE_CONTAINER,
    .slots = slots,
    .slot_count = COUNT(slots),
    .keys = keys,
    .key_count = COUNT(keys),
};
