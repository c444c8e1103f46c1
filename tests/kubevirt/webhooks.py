"""virt-api's admission webhooks: the defaults that it adds and what it refuses, in the recorded words."""

import copy
import fnmatch
import json
import re
import uuid

import kube
from controller import SNAPSHOT, VMI, condition
from kube import path
from live_update import hotpluggable


def refuse(message, causes=None, code=422):
    """What virt-api's own errors look like (recordings 20, 185); without causes as 224 and 265, where no reason is given."""
    status = {"code": code, "message": message}
    if causes:
        status |= {"reason": "Invalid", "details": {"causes": causes}}
    return {"allowed": False, "status": status}


def cause(message, field, reason="FieldValueInvalid"):
    return {"reason": reason, "message": message, "field": field}


def all_of(causes):
    return refuse(", ".join(c["message"] for c in causes), causes) if causes else None


def instancetype(wanted, namespace, api):
    namespaced = wanted.get("kind", "").lower() == "virtualmachineinstancetype"
    kind = f"instancetype.kubevirt.io/v1beta1/virtualmachine{'' if namespaced else 'cluster'}instancetypes"
    return api.find(path(kind, namespace if namespaced else None, wanted["name"]))


def vm_defaults(request, controller, api):
    """What virtualmachines-mutator adds (recordings 175, 178, 353)."""
    template = (request["object"].get("spec") or {}).get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict) or request["object"]["metadata"].get("deletionTimestamp"):
        return None
    changed = copy.deepcopy(template)
    spec = changed["spec"]
    spec.setdefault("architecture", "amd64")
    domain = spec.setdefault("domain", {})
    domain.setdefault("resources", {})
    domain.setdefault("devices", {})
    domain["machine"] = {"type": "q35", **(domain.get("machine") or {})}
    domain["firmware"] = {"uuid": str(uuid.uuid4()), "serial": str(uuid.uuid4()), **(domain.get("firmware") or {})}
    changed["metadata"] = changed.get("metadata") or {}
    changed["metadata"].setdefault("annotations", {}).setdefault("kubevirt.io/pci-topology-version", "v3")
    if changed == template:
        return None
    patch = [{"op": "replace", "path": "/spec/template", "value": changed}]
    return {"patchType": "JSONPatch", "patch": kube.b64(json.dumps(patch).encode())}


def locked(request, vm):
    """Why a VM that is being snapshotted or restored is not changed, or None; the restore's own change is no exception."""
    if request["operation"] != "UPDATE":
        return None
    old, new, status = request["oldObject"]["spec"], vm["spec"], vm.get("status") or {}
    snapshot, restore = status.get("snapshotInProgress"), status.get("restoreInProgress")
    if snapshot and old["template"]["spec"].get("volumes") != new["template"]["spec"].get("volumes"):
        return f'Cannot update vm disks or volumes until snapshot "{snapshot}" completes'
    if snapshot and (old.get("runStrategy"), old.get("running")) != (new.get("runStrategy"), new.get("running")):
        return f'Cannot update vm running state until snapshot "{snapshot}" completes'
    if restore and old != new and new.get("runStrategy") != "Halted":
        return f'Cannot start VM until restore "{restore}" completes'
    return None


def vm_check(request, controller, api):
    vm = request["object"]
    if vm["metadata"].get("deletionTimestamp"):
        return None
    spec, causes = vm["spec"], []
    if spec.get("running") is not None and spec.get("runStrategy"):
        return all_of([cause("Running and RunStrategy are mutually exclusive", "spec.running")])
    if spec.get("running") is None and not spec.get("runStrategy"):
        return all_of([cause("One of Running or RunStrategy must be specified", "spec.running")])
    strategies = ("Halted", "Manual", "Always", "RerunOnFailure", "Once", "WaitAsReceiver")
    if spec.get("runStrategy") and spec["runStrategy"] not in strategies:
        return all_of([cause(f"Invalid RunStrategy ({spec['runStrategy']})", "spec.runStrategy")])
    if busy := locked(request, vm):
        return all_of([cause(busy, "spec", "FieldValueNotSupported")])
    template = spec["template"]["spec"]
    domain, volumes = template["domain"], template.get("volumes") or []
    named = {v["name"] for v in volumes}
    where = "spec.template.spec.domain.devices"
    for i, disk in enumerate(domain["devices"].get("disks") or []):
        if disk["name"] not in named and "cdrom" not in disk:  # the gate DeclarativeHotplugVolumes, on since 1.9: a drive may be empty
            causes.append(cause(f"{where}.disks[{i}].Name '{disk['name']}' not found.", f"{where}.disks[{i}].name"))
    disks = {d["name"] for d in [*(domain["devices"].get("disks") or []), *(domain["devices"].get("filesystems") or [])]}
    for i, volume in enumerate(volumes):
        if volume["name"] not in disks and not any(k in volume for k in ("serviceAccount", "memoryDump")):
            causes.append(cause(f"spec.template.spec.domain.volumes[{i}].name '{volume['name']}' not found.", f"spec.template.spec.domain.volumes[{i}].name"))
    buses = {d["name"]: (("cdrom" if "cdrom" in d else "lun" if "lun" in d else "disk"), (d.get("cdrom") or d.get("lun") or d.get("disk") or {}).get("bus"))
             for d in domain["devices"].get("disks") or []}
    for volume in volumes:
        kind, bus = buses.get(volume["name"], ("disk", None))
        if hotpluggable(volume) and bus and bus not in {"cdrom": ("sata",), "disk": ("virtio", "scsi"), "lun": ("scsi",)}[kind]:
            causes.append(cause(f"hotplugged {kind} {volume['name']} does not use a supported bus: {bus}", f"{where}.disks"))
    networks = {n["name"] for n in template.get("networks") or []}
    for i, card in enumerate(domain["devices"].get("interfaces") or []):
        if card["name"] not in networks:
            causes.append(cause(f"{where}.interfaces[{i}].name '{card['name']}' not found.", f"{where}.interfaces[{i}].name"))
    for i, one in enumerate(spec.get("dataVolumeTemplates") or []):
        if not one["metadata"].get("name"):
            causes.append(cause("'name' field must not be empty for DataVolumeTemplate entry spec.dataVolumeTemplate"
                                f"[{i}].", f"spec.dataVolumeTemplate[{i}].name"))
        elif one["metadata"]["name"] not in [(v.get("dataVolume") or {}).get("name") for v in volumes]:
            causes.append(cause(f"DataVolumeTemplate entry spec.dataVolumeTemplate[{i}] must be referenced in the VMI template's 'volumes' list",
                                f"spec.dataVolumeTemplate[{i}]"))
    wanted = spec.get("instancetype") or {}
    if wanted.get("name") and instancetype(wanted, request["namespace"], api):
        for field, there in (("cpu.cores", (domain.get("cpu") or {}).get("cores")), ("cpu.sockets", (domain.get("cpu") or {}).get("sockets")),
                             ("cpu.threads", (domain.get("cpu") or {}).get("threads")), ("memory.guest", (domain.get("memory") or {}).get("guest"))):
            if there:
                field = f"spec.template.spec.domain.{field}"
                causes.append(cause(f"VM field(s) {field} conflicts with selected instance type", field))
    machine, allowed = (domain.get("machine") or {}).get("type", "q35"), ("q35*", "pc-q35*")  # of amd64 (validateEmulatedMachine)
    if not any(fnmatch.fnmatchcase(machine, pattern) for pattern in allowed):
        causes.append(cause(f"spec.template.spec.domain.machine.type is not supported: {machine} (allowed values: [{' '.join(allowed)}])",
                            "spec.template.spec.domain.machine.type"))
    memory = (domain.get("memory") or {}).get("guest")
    if memory and kube.quantity(memory) < 1 << 20:
        causes.append(cause(f"spec.template.spec.domain.memory.guest '{memory}': must be greater than or equal to 1M.", "spec.template.spec.domain.memory.guest"))
    most = (domain.get("memory") or {}).get("maxGuest")
    if most and kube.quantity(memory or "0") < 1 << 30:
        causes.append(cause("Memory hotplug is only available for VMs with at least 1Gi of guest memory", "spec.template.spec.domain.memory.guest"))
    if (domain.get("firmware") or {}).get("bootloader", {}).get("efi", {}).get("secureBoot", True) and \
            (domain.get("firmware") or {}).get("bootloader", {}).get("efi") is not None and not (domain.get("features") or {}).get("smm", {}).get("enabled", "smm" in (domain.get("features") or {})):
        causes.append(cause("spec.template.spec.domain.firmware.bootloader.efi has EFI SecureBoot enabled. SecureBoot requires SMM, which is currently disabled.",
                            "spec.template.spec.domain.firmware.bootloader.efi"))
    return all_of(causes)


def instance_update(request, controller, api):
    if request["userInfo"].get("username") == "virt-controller":
        return None
    return refuse("update of VMI object is restricted", [{"reason": "FieldValueNotSupported", "message": "update of VMI object is restricted"}])


def migration_defaults(request, controller, api):
    """The label by which migrations of a VM are found, and the finalizer (recording 259)."""
    metadata = request["object"]["metadata"]
    labels = {**(metadata.get("labels") or {}), "kubevirt.io/vmi-name": request["object"]["spec"].get("vmiName", "")}
    patch = [{"op": "add", "path": "/metadata/labels", "value": labels},
             {"op": "add", "path": "/metadata/finalizers", "value": [*(metadata.get("finalizers") or []), "kubevirt.io/migrationJobFinalize"]}]
    return {"patchType": "JSONPatch", "patch": kube.b64(json.dumps(patch).encode())}


def migration(request, controller, api):
    name, namespace = request["object"]["spec"].get("vmiName"), request["namespace"]
    vmi = api.find(path(VMI, namespace, name))
    if not vmi:
        return refuse(f'the VMI "{namespace}/{name}" does not exist', code=400)
    can = condition((vmi.get("status") or {}).get("conditions") or [], "LiveMigratable")
    if can and can["status"] == "False":
        return refuse(f"Cannot migrate VMI, Reason: {can.get('reason')}, Message: {can.get('message')}", code=400)
    for job in api.get(path("kubevirt.io/v1/virtualmachineinstancemigrations", namespace))["items"]:
        if job["spec"].get("vmiName") == name and (job.get("status") or {}).get("phase") not in ("Succeeded", "Failed") and \
                not job["metadata"].get("deletionTimestamp"):
            return refuse(f"in-flight migration detected. Active migration job ({job['metadata']['uid']}) is currently already in progress for VMI {name}.",
                          code=400)
    return None


def snapshot(request, controller, api):
    source = request["object"]["spec"]["source"]
    if source.get("apiGroup") != "kubevirt.io":
        return all_of([cause("invalid apiGroup", "spec.source.apiGroup")])
    return None if source.get("kind") == "VirtualMachine" else all_of([cause("invalid kind", "spec.source.kind")])


def restore(request, controller, api):
    spec, namespace = request["object"]["spec"], request["namespace"]
    for other in api.get(path("snapshot.kubevirt.io/v1beta1/virtualmachinerestores", namespace))["items"]:
        if other["spec"]["target"] == spec["target"] and not (other.get("status") or {}).get("complete") and \
                not condition((other.get("status") or {}).get("conditions") or [], "Failure"):
            return all_of([cause(f'VirtualMachineRestore "{other["metadata"]["name"]}" in progress', "spec.target")])
    snap = api.find(path(SNAPSHOT, namespace, spec["virtualMachineSnapshotName"]))
    if not snap:
        return all_of([cause(f'VirtualMachineSnapshot "{spec["virtualMachineSnapshotName"]}" does not exist', "spec.virtualMachineSnapshotName")])
    state = snap.get("status") or {}
    if state.get("phase") == "Failed":
        return all_of([cause(f'VirtualMachineSnapshot "{snap["metadata"]["name"]}" has failed and is invalid to use', "spec.virtualMachineSnapshotName")])
    if not state.get("readyToUse"):
        return all_of([cause(f'VirtualMachineSnapshot "{snap["metadata"]["name"]}" is not ready to use', "spec.virtualMachineSnapshotName")])
    return None


def eviction(request, controller, api):
    """The eviction of a running VM's pod migrates it, and is refused (recording 265)."""
    name, namespace = request["object"]["metadata"]["name"], request["namespace"]
    if not re.match("virt-launcher-", name) or name not in controller.pods.values():
        return None
    return refuse("Eviction request for target Pod", code=429)


HOOKS = {"virtualmachines-mutate": vm_defaults, "migrations-mutate": migration_defaults, "virtualmachineinstances-mutate": lambda *_: None, "virtualmachines-validate": vm_check,
         "virtualmachineinstances-validate-update": instance_update, "migration-validate-create": migration, "virtualmachinesnapshots-validate": snapshot,
         "virtualmachinerestores-validate": restore, "launcher-eviction-interceptor": eviction}
