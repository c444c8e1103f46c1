"""virt-controller's and the workload updater's part in changes of a VM that runs: what of the template its instance gets at once, what waits for a
restart, and the migrations that bring it. From KubeVirt's user guide ("VM Rollout Strategies", "CPU Hotplug", "Memory Hotplug", "Hotplug Volumes",
"Hotplug Network Interfaces", "Link State Management", "Update volume strategy and volume migration") and recordings 353-362.

An annotation of the KubeVirt object or the VM is not needed for any of it; vmctl.test/migration on a VM's template ("fails") and
vmctl.test/migration-seconds are what a migration does, as in controller.py.
"""

import copy
import json

import gates
from conditions import set_condition
from kube import path, quantity

VMI, VMIM, KUBEVIRT = "kubevirt.io/v1/virtualmachineinstances", "kubevirt.io/v1/virtualmachineinstancemigrations", "kubevirt.io/v1/kubevirts"
UPDATE = "kubevirt.io/volume-update-in-progress"
STILL = "a non-live-updatable field was changed in the template spec"


def hotpluggable(volume):
    return any((volume.get(k) or {}).get("hotpluggable") for k in ("persistentVolumeClaim", "dataVolume"))


def claim_of(volume):
    return (volume.get("persistentVolumeClaim") or {}).get("claimName") or (volume.get("dataVolume") or {}).get("name")


def named(items):
    return {item["name"]: item for item in items or []}


def still(domain):
    """What of a domain is not live-updatable, comparable between a template and its instance; its disks and cards are looked at one by one."""
    domain = json.loads(json.dumps(domain))
    for name in ("cpu", "memory"):
        part = domain.get(name) or {}
        for live in ("sockets", "maxSockets", "guest", "maxGuest"):
            part.pop(live, None)
        if part.get("model") == "host-model":
            part.pop("model")
        domain[name] = part
    for name in ("features", "resources", "firmware"):
        domain.pop(name, None)
    devices = domain.get("devices") or {}
    for name in ("disks", "interfaces"):
        devices.pop(name, None)
    domain["devices"] = devices
    return domain


def growth(was, want, patch):
    """Sockets and memory: words for why they wait, else the patch of the instance's domain."""
    sockets, memory = (want.get("cpu") or {}).get("sockets"), (want.get("memory") or {}).get("guest")
    cpu, had = was.get("cpu") or {}, was.get("memory") or {}
    if sockets and sockets != cpu.get("sockets"):
        if sockets > cpu.get("maxSockets", 0):
            return "CPU sockets updated in template spec to a value higher than what's available"
        if sockets < cpu.get("sockets", 1):
            return "Reduction of CPU socket count requires a restart"
        patch["cpu"] = {"sockets": sockets}
    if memory and quantity(memory) != quantity(had.get("guest", memory)):
        if not had.get("maxGuest") or quantity(memory) > quantity(had["maxGuest"]):
            return "memory updated in template spec to a value higher than what's available"
        if quantity(memory) < quantity(had["guest"]):
            return "memory hot-unplug is not supported"
        patch["memory"] = {"guest": memory}
    return None


def plugged(spec, requests):
    """A template or an instance's spec after requests of addvolume and removevolume: what of it changes."""
    volumes, drives = list(spec.get("volumes") or []), list(spec["domain"]["devices"].get("disks") or [])
    for request in requests:
        add, remove = request.get("addVolumeOptions"), request.get("removeVolumeOptions")
        if add and add["name"] not in named(volumes):
            volumes.append({"name": add["name"], **add["volumeSource"]})
            drives.append(add["disk"])
        if remove:
            volumes = [v for v in volumes if v["name"] != remove["name"]]
            drives = [d for d in drives if d["name"] != remove["name"]]
    return {"volumes": volumes, "domain": {"devices": {"disks": drives}}}


def disks(was, want, migrates, plugs):
    """Volumes with their disks: (words or None, the patch of the instance's spec, the volumes that shall be copied). plugs: what comes and goes in the
    template does so in the instance."""
    had, new = named(was.get("volumes")), named(want.get("volumes"))
    drives, wanted = named(was["domain"]["devices"].get("disks")), named(want["domain"]["devices"].get("disks"))
    moved = {n for n in had.keys() & new.keys() if not hotpluggable(had[n]) and not hotpluggable(new[n]) and claim_of(had[n]) != claim_of(new[n])}
    if moved and not migrates:
        return STILL, {}, []
    for name in had.keys() ^ new.keys():
        volume, disk = new.get(name) or had.get(name), wanted.get(name) or drives.get(name) or {}
        cdrom = "cdrom" in disk and name in drives and name in wanted
        if not plugs or not hotpluggable(volume) or ("cdrom" in disk and not cdrom):
            return STILL, {}, []
    for name in drives.keys() & wanted.keys():
        if drives[name] != wanted[name]:
            return STILL, {}, []
    for name in drives.keys() ^ wanted.keys():  # a drive without a medium, or a disk whose volume is no plugged one
        if not hotpluggable(new.get(name) or had.get(name) or {}):
            return STILL, {}, []
    changed = {n for n in had.keys() & new.keys() if hotpluggable(new[n]) and had[n] != new[n]}
    if had.keys() == new.keys() and not changed and not moved:
        return None, {}, []
    if changed and not plugs:
        return STILL, {}, []
    volumes = [new[n] for n in had if n in new] + [v for n, v in new.items() if n not in had]
    return None, {"volumes": volumes, "domain": {"devices": {"disks": list(wanted.values())}}}, sorted(moved)


def cards(was, want):
    """Cards: (words or None, the patch of the instance's spec)."""
    had, new = named(was["domain"]["devices"].get("interfaces")), named(want["domain"]["devices"].get("interfaces"))
    networks = named(want.get("networks"))
    bare = lambda card: {k: v for k, v in card.items() if k != "state"}  # noqa: E731
    pluggable = lambda name, card: "multus" in networks.get(name, {}) and "bridge" in card and card.get("model", "virtio") == "virtio"  # noqa: E731
    if any(had[name].get("state") != "absent" for name in had.keys() - new.keys()):
        return STILL, {}
    for name in had.keys() & new.keys():
        if bare(had[name]) != bare(new[name]) or (new[name].get("state") == "absent" and not pluggable(name, new[name])):
            return STILL, {}
    for name in new.keys() - had.keys():
        if new[name].get("state") != "absent" and not pluggable(name, new[name]):
            return STILL, {}
    live = [new[n] for n in had if n in new] + [c for n, c in new.items() if n not in had and c.get("state") != "absent"]
    if live == list(had.values()):
        return None, {}
    names = {c["name"] for c in live}
    return None, {"networks": [n for n in want.get("networks") or [] if n["name"] in names], "domain": {"devices": {"interfaces": live}}}


class LiveUpdate:
    """Of the Controller."""

    def restart_required(self, vm, vmi):
        """Words for what of the template differs from the instance and cannot change live (vm.go, syncRestartRequired); what can is
        given to the instance."""
        if vm["spec"].get("instancetype") or vmi["metadata"].get("deletionTimestamp") or (vmi.get("status") or {}).get("phase") != "Running":
            return None
        was, want, domain = vmi["spec"], vm["spec"]["template"]["spec"], {}
        why = growth(was["domain"], want["domain"], domain)
        plugs = gates.is_on(next(iter(self.all(KUBEVIRT)), None), "DeclarativeHotplugVolumes")
        no_disks, volumes, moved = disks(was, want, vm["spec"].get("updateVolumesStrategy") == "Migration", plugs)
        no_cards, networks = cards(was, want)
        why = why or no_disks or no_cards
        if still(was["domain"]) != still(want["domain"]) or was.get("terminationGracePeriodSeconds") != want.get("terminationGracePeriodSeconds"):
            why = why or STILL
        if why:
            print(f"{vm['metadata']['name']} needs a restart: {why}: disks {no_disks}, cards {no_cards}, "
                  f"grace {was.get('terminationGracePeriodSeconds')} {want.get('terminationGracePeriodSeconds')}", flush=True)
            return why
        devices = {**volumes.get("domain", {}).get("devices", {}), **networks.get("domain", {}).get("devices", {})}
        if devices:
            domain["devices"] = devices
        spec = {**({k: v["volumes"] for k, v in (("volumes", volumes),) if v}), **({"networks": networks["networks"]} if networks else {}),
                **({"domain": domain} if domain else {})}
        if moved:
            self.move_volumes(vmi, moved, want)
        if spec:
            key = vmi["metadata"]["namespace"], vmi["metadata"]["name"]
            self.store(VMI, key, self.api.patch(path(VMI, *key), {"spec": spec}))
        return None

    def volume_requests(self, key, vm, vmi):
        """What addvolume and removevolume asked for under the gate HotplugVolumes is done to the instance and to the template."""
        requests, kind = (vm.get("status") or {}).get("volumeRequests"), "kubevirt.io/v1/virtualmachines"
        if not requests:
            return vm
        if vmi and (vmi.get("status") or {}).get("phase") == "Running":
            self.store(VMI, key, self.api.patch(path(VMI, *key), {"spec": plugged(vmi["spec"], requests)}))
        self.store(kind, key, self.api.patch(path(kind, *key), {"spec": {"template": {"spec": plugged(vm["spec"]["template"]["spec"], requests)}}}))
        return self.store(kind, key, self.api.patch(path(kind, *key, "status"), {"status": {"volumeRequests": None}}))

    def move_volumes(self, vmi, names, want):
        """The volumes that were there before are what a copy goes from; set back, they call it off."""
        key = vmi["metadata"]["namespace"], vmi["metadata"]["name"]
        had, new = named(vmi["spec"].get("volumes")), named(want.get("volumes"))
        under_way = {m["volumeName"]: m for m in (vmi["status"].get("migratedVolumes") or [])}
        moving = []
        for name in names:
            if name in under_way and under_way[name]["sourcePVCInfo"]["claimName"] == claim_of(new[name]):
                continue
            moving.append({"volumeName": name, "sourcePVCInfo": {"claimName": claim_of(had[name])}, "destinationPVCInfo": {"claimName": claim_of(new[name])}})
        if not moving:
            for job in self.all(VMIM, key[0]):
                if (job["metadata"].get("labels") or {}).get(UPDATE) == key[1] and (job.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
                    self.api.delete(path(VMIM, key[0], job["metadata"]["name"]))
        self.store(VMI, key, self.api.patch(path(VMI, *key), {"status": {"migratedVolumes": moving or None}}))

    def updates(self, vmi, state, conditions):
        """The conditions that tell of what a migration will bring; the workload updater begins that migration."""
        spec, topology = vmi["spec"]["domain"], state.get("currentCPUTopology") or {}
        guest = (spec.get("memory") or {}).get("guest")
        wants = {"HotVCPUChange": (spec.get("cpu") or {}).get("sockets", 1) != topology.get("sockets", 1),
                 "HotMemoryChange": bool(guest) and quantity(guest) > quantity(state["memory"]["guestCurrent"]),
                 "VolumesChange": bool(state.get("migratedVolumes"))}
        for kind, wanted in wants.items():
            conditions = set_condition(conditions, kind, "True") if wanted else [c for c in conditions if c["type"] != kind]
        if any(wants.values()):
            self.update_workload(vmi, state, wants["VolumesChange"])
        return conditions

    def migrates_by_itself(self):
        cr = next(iter(self.all(KUBEVIRT)), {"spec": {}})
        return "LiveMigrate" in ((cr["spec"].get("workloadUpdateStrategy") or {}).get("workloadUpdateMethods") or [])

    def update_workload(self, vmi, state, volumes):
        namespace, name = vmi["metadata"]["namespace"], vmi["metadata"]["name"]
        jobs = [j for j in self.all(VMIM, namespace) if j["spec"].get("vmiName") == name]
        movable = not any(c["type"] == ("StorageLiveMigratable" if volumes else "LiveMigratable") and c["status"] == "False" for c in state.get("conditions") or [])
        if not self.migrates_by_itself() or not movable or any((j.get("status") or {}).get("phase") not in ("Succeeded", "Failed") for j in jobs):
            return
        failed = [j for j in jobs if (j.get("status") or {}).get("phase") == "Failed"]
        if len(failed) > 3 or vmi["metadata"]["uid"] in self.updating:
            return
        self.updating.add(vmi["metadata"]["uid"])
        try:
            self.api.post(path(VMIM, namespace), {
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "spec": {"vmiName": name},
                "metadata": {"generateName": "kubevirt-workload-update-", "annotations": {"kubevirt.io/workloadUpdateMigration": ""},
                             "labels": {UPDATE: name} if volumes else {}}})
        finally:
            self.again(VMI, (namespace, name), 1)

    updating = set()  # uids of instances whose migration was asked for and not seen yet

    def clear_cards(self, key, vm, vmi):
        """Cards that were taken away, and that the instance has no more, leave the template (and the instance)."""
        want = vm["spec"]["template"]["spec"]
        absent = {c["name"] for c in want["domain"]["devices"].get("interfaces") or [] if c.get("state") == "absent"}
        absent -= {i["name"] for i in ((vmi or {}).get("status") or {}).get("interfaces") or []}
        if not absent:
            return vm
        kind = "kubevirt.io/v1/virtualmachines"

        def without(spec):
            return {"domain": {"devices": {"interfaces": [c for c in spec["domain"]["devices"].get("interfaces") or [] if c["name"] not in absent]}},
                    "networks": [n for n in spec.get("networks") or [] if n["name"] not in absent]}

        if vmi:
            self.store(VMI, key, self.api.patch(path(VMI, *key), {"spec": without(vmi["spec"])}))
        return self.store(kind, key, self.api.patch(path(kind, *key), {"spec": {"template": {"spec": without(want)}}}))

    def claim_info(self, namespace, volume):
        """What an instance says of the claim of a volume."""
        claim = self.find("v1/persistentvolumeclaims", (namespace, claim_of(volume))) if claim_of(volume) else None
        if not claim:
            return {}
        return {"persistentVolumeClaimInfo": {
            "claimName": claim["metadata"]["name"], "accessModes": claim["spec"].get("accessModes") or [], "volumeMode": claim["spec"].get("volumeMode") or "Filesystem",
            "capacity": copy.deepcopy((claim.get("status") or {}).get("capacity") or {}), "requests": copy.deepcopy(claim["spec"]["resources"].get("requests") or {})}}
