"""virt-controller's, CDI's and the nodes' part: what becomes of a VM, an instance, a migration, a snapshot, a restore, a clone, a
disk. One queue, one worker; each object is looked at again when it or what belongs to it changes, or when its time has come.

What goes wrong in a cluster goes wrong here for the same reasons, so that tests ask for it as a person would get it:
  an image whose name has "/missing" cannot be pulled; one with "/crashes" boots a guest that dies at once
  more memory or CPUs than a node has, a node selector that no node matches: Unschedulable
  a claim that is not there; a source URL whose host ends with ".invalid" (the import fails) or has "/slow" (it stays at 42 %)
  the boot sector of the tests, uploaded, is a guest without an agent that no power button stops: it takes its whole grace period
  a GPU that the KubeVirt CR does not permit; an instance type that is not there
An annotation of the instance, vmctl.test/guest, is what the guest does of itself: "shutdown" or "crash"; vmctl.test/grace on a VM: no power
button stops it either.
"""

import calendar
import copy
import heapq
import itertools
import json
import queue
import random
import string
import threading
import time
import uuid

import kube
from conditions import condition, now, set_condition
from guest import Guest, Picture, guests
from kube import path, quantity
from live_update import LiveUpdate, claim_of, hotpluggable
from objects import NODES
from snapshots import PREPOPULATED, Snapshots

VM, VMI, VMIM = "kubevirt.io/v1/virtualmachines", "kubevirt.io/v1/virtualmachineinstances", "kubevirt.io/v1/virtualmachineinstancemigrations"
SNAPSHOT, CONTENT, RESTORE = (f"snapshot.kubevirt.io/v1beta1/virtualmachine{x}" for x in ("snapshots", "snapshotcontents", "restores"))
CLONE, DV, PVC, KUBEVIRT = ("clone.kubevirt.io/v1beta1/virtualmachineclones", "cdi.kubevirt.io/v1beta1/datavolumes", "v1/persistentvolumeclaims",
                            "kubevirt.io/v1/kubevirts")
EXPORT = "export.kubevirt.io/v1/virtualmachineexports"
WATCHED = (VM, VMI, VMIM, SNAPSHOT, RESTORE, CLONE, DV, PVC, KUBEVIRT, EXPORT)
FINALIZER, VMI_FINALIZER = "kubevirt.io/virtualMachineControllerFinalize", "kubevirt.io/foregroundDeleteVirtualMachine"
FINAL = ("Succeeded", "Failed")
OWNED = (DV, VMI, "v1/secrets", PVC, SNAPSHOT, RESTORE, "v1/configmaps")  # of what may belong to a VM
STEP = 0.02  # between the phases of what takes time in a cluster


def tail(length=5):
    return "".join(random.choices("bcdfghjklmnpqrstvwxz2456789", k=length))


def annotation(thing, name):
    return (thing["metadata"].get("annotations") or {}).get(name)


def version(thing):
    return int(thing["metadata"]["resourceVersion"]) if thing else 0


def owner(thing, kind, group):
    return {"apiVersion": group, "blockOwnerDeletion": True, "controller": True, "kind": kind, "name": thing["metadata"]["name"],
            "uid": thing["metadata"]["uid"]}


def run_strategy(vm):
    spec = vm["spec"]
    return spec.get("runStrategy") or ("Always" if spec.get("running") else "Halted")


class Controller(LiveUpdate, Snapshots):
    STEP = STEP
    now, owner = staticmethod(now), staticmethod(owner)

    def __init__(self, api, folder):
        self.api, self.folder = api, folder
        self.objects = {kind: {} for kind in WATCHED}
        self.queue, self.later, self.numbers = queue.Queue(), [], itertools.count()
        self.synced, self.ready = set(), threading.Event()
        self.lock = threading.RLock()  # of objects; virt_api reads them too

    # --- what there is ---------------------------------------------------------------------------------------------

    def run(self):
        for kind in WATCHED:
            threading.Thread(target=self.follow, args=(kind,), daemon=True).start()
        threading.Thread(target=self.work, daemon=True).start()

    def follow(self, kind):
        """Lists and watches for ever; a connection that ends, as when the API server goes, is made anew."""
        while True:
            try:
                listed = self.api.get(path(kind))
                fresh = {(o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in listed.get("items") or []}
                with self.lock:
                    gone = {k: o for k, o in self.objects[kind].items() if k not in fresh}
                    self.objects[kind] = fresh
                for key, thing in gone.items():
                    self.changed(kind, key, thing, True)
                for key, thing in fresh.items():
                    self.changed(kind, key, thing, False)
                self.synced.add(kind)
                if len(self.synced) == len(WATCHED):
                    self.ready.set()
                for what, thing in self.api.watch(path(kind), since=listed["metadata"]["resourceVersion"]):
                    key = thing["metadata"].get("namespace"), thing["metadata"]["name"]
                    with self.lock:
                        if what == "DELETED":
                            self.objects[kind].pop(key, None)
                        elif version(thing) >= version(self.objects[kind].get(key)):
                            self.objects[kind][key] = thing
                    self.changed(kind, key, thing, what == "DELETED")
            except (OSError, kube.Refused, ValueError, kube.http.client.HTTPException) as trouble:
                print(f"watch of {kind}: {trouble}", flush=True)
                time.sleep(0.2)

    def changed(self, kind, key, thing, deleted):
        self.queue.put((kind, key))
        if deleted:
            self.queue.put(("gone", kind, key, thing))
        # What looks at it: the VM of an instance and of a disk, the instance of a migration.
        namespace, name = key
        if kind == VMIM:
            self.queue.put((VMI, (namespace, thing["spec"].get("vmiName"))))
            vmi = self.objects[VMI].get((namespace, thing["spec"].get("vmiName")))
            self.updating.discard(vmi and vmi["metadata"]["uid"])
        if kind == VMI or kind == VMIM:
            self.queue.put((VM, (namespace, thing["spec"].get("vmiName") if kind == VMIM else name)))
        if kind == VM:
            self.queue.put((VMI, key))
        if kind in (DV, PVC):
            for vm_key, vm in list(self.objects[VM].items()):
                if vm_key[0] == namespace and name in claims(vm["spec"]["template"]["spec"]):
                    self.queue.put((VM, vm_key))
                    self.queue.put((VMI, vm_key))
            if kind == PVC:
                self.queue.put((DV, key))

    def find(self, kind, key):
        with self.lock:
            return copy.deepcopy(self.objects[kind].get(key))

    def all(self, kind, namespace=None):
        with self.lock:
            return [copy.deepcopy(o) for (n, _), o in self.objects[kind].items() if namespace in (None, n)]

    # --- the worker --------------------------------------------------------------------------------------------------

    @staticmethod
    def age(thing):
        return time.time() - calendar.timegm(time.strptime(thing["metadata"]["creationTimestamp"], "%Y-%m-%dT%H:%M:%SZ"))

    def again(self, kind, key, seconds):
        heapq.heappush(self.later, (time.monotonic() + seconds, next(self.numbers), (kind, key)))

    def work(self):
        looks = {VM: self.vm, VMI: self.vmi, VMIM: self.migration, SNAPSHOT: self.snapshot, RESTORE: self.restore, CLONE: self.clone, DV: self.disk, PVC: self.claim, EXPORT: self.export}
        while True:
            wait = max(0, self.later[0][0] - time.monotonic()) if self.later else None
            items = []
            try:
                items.append(self.queue.get(timeout=wait) if wait is None or wait > 0 else self.queue.get_nowait())
                while True:
                    items.append(self.queue.get_nowait())
            except queue.Empty:
                pass
            while self.later and self.later[0][0] <= time.monotonic():
                items.append(heapq.heappop(self.later)[2])
            for item in dict.fromkeys(i if i[0] != "gone" else i[:3] for i in items):
                try:
                    if item[0] == "gone":
                        thing = next(i[3] for i in items if i[0] == "gone" and i[:3] == item)
                        self.collect(item[1], thing)
                    elif item[0] in looks:
                        thing = self.find(*item)
                        if thing:
                            looks[item[0]](item[1], thing)
                except kube.Refused as refused:
                    # Somebody else wrote first: the watch brings the newer one.
                    if refused.code not in (404, 409):
                        print(f"{item}: {refused}", flush=True)
                    if item[0] in looks:
                        self.again(*item, 0.05)
                except (OSError, kube.http.client.HTTPException) as trouble:
                    print(f"{item}: {trouble}", flush=True)
                    self.again(item[0], item[1], 0.2) if item[0] in looks else None
                except Exception as trouble:  # one object's fault is not all objects' end; the log tells it
                    import traceback
                    print(f"{item}: {trouble!r}\n{traceback.format_exc()}", flush=True)

    def store(self, kind, key, thing):
        """The answer to a write; what the watch brought meanwhile may be newer."""
        with self.lock:
            if thing and key in self.objects[kind] and version(thing) > version(self.objects[kind][key]):
                self.objects[kind][key] = thing
        return thing

    def write_status(self, kind, key, thing, status):
        """Only what changes; a status subresource where the kind has one (an instance has none)."""
        if thing.get("status") == status:
            return thing
        old = thing.get("status") or {}
        patch = {**{k: None for k in old if k not in status}, **{k: v for k, v in status.items() if old.get(k) != v}}
        for name, value in patch.items():
            if isinstance(value, dict) and isinstance(old.get(name), dict):
                patch[name] = {**{k: None for k in old[name] if k not in value}, **value}
        sub = None if kind == VMI else "status"
        # As virt-controller's Update: a request that came meanwhile (stateChangeRequests) would be written over by what was looked at before.
        seen = {"metadata": {"resourceVersion": thing["metadata"]["resourceVersion"]}} if kind == VM else {}
        # virt-controller tells the node in a label too (FX/225, FX/354).
        if kind == VMI and "nodeName" in patch:
            seen = {"metadata": {"labels": {"kubevirt.io/nodeName": patch["nodeName"]}}}
        return self.store(kind, key, self.api.patch(path(kind, *key, sub), {**seen, "status": patch}))

    def event(self, thing, kind, reason, message, warning=False):
        metadata = thing["metadata"]
        self.api.post(path("v1/events", metadata["namespace"]), {
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": f"{metadata['name']}.", "namespace": metadata["namespace"]},
            "involvedObject": {"kind": kind, "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata.get("uid"),
                               "apiVersion": "v1" if kind == "Pod" else "kubevirt.io/v1"},
            "reason": reason, "message": message, "type": "Warning" if warning else "Normal", "count": 1, "firstTimestamp": now(), "lastTimestamp": now(),
            "source": {"component": "kubelet" if kind == "Pod" else "virtualmachine-controller"}})

    # --- VMs -----------------------------------------------------------------------------------------------------------

    def vm(self, key, vm):
        metadata, status = vm["metadata"], vm.get("status") or {}
        vmi = self.find(VMI, key)
        if vmi and not any(o["uid"] == metadata["uid"] for o in vmi["metadata"].get("ownerReferences", [])):
            vmi = None
        if metadata.get("deletionTimestamp"):
            return self.vm_deleted(key, vm, vmi)
        if FINALIZER not in metadata.get("finalizers", []):
            vm = self.store(VM, key, self.api.patch(path(VM, *key), {"metadata": {
                "finalizers": [*metadata.get("finalizers", []), FINALIZER],
                "annotations": {"kubevirt.io/latest-observed-api-version": "v1", "kubevirt.io/storage-observed-api-version": "v1"}}}))
            status = vm.get("status") or {}
        vm = self.volume_requests(key, self.clear_cards(key, vm, vmi), vmi and self.find(VMI, key))
        vmi = vmi and self.find(VMI, key)
        disks_ready = self.templates(key, vm)
        trouble = self.trouble_of(vm)
        requests = list(status.get("stateChangeRequests") or [])
        stopped_now = not vmi and bool(requests) and requests[0]["action"] == "Stop"
        if stopped_now:
            requests.pop(0)
        # One that is done, or that meant an instance of before, goes.
        while requests and vmi and (requests[0]["action"] == "Start" or requests[0].get("uid", vmi["metadata"]["uid"]) != vmi["metadata"]["uid"]) and \
                (vmi.get("status") or {}).get("phase") not in FINAL:
            requests.pop(0)
        want, paused = self.wants_instance(vm, vmi, requests)
        if vmi and not vmi["metadata"].get("deletionTimestamp") and not want:
            self.stop_instance(key, vm, vmi)
            vmi = self.find(VMI, key)
        elif stopped_now and want:
            self.again(VM, key, STEP)  # a watcher sees it stopped before it starts again (recording 215)
        elif not vmi and want and disks_ready and not trouble:
            wait = self.backoff(vm)
            if wait > 0:
                self.again(VM, key, wait)
            else:
                requests = [r for r in requests if r["action"] != "Start"]
                self.ended.discard(metadata["uid"])
                vmi = self.create_instance(key, vm, paused)
        self.vm_status(key, vm, vmi, requests, trouble, disks_ready, want)

    def wants_instance(self, vm, vmi, requests):
        """Whether there shall be an instance, and whether that starts paused."""
        strategy, phase = run_strategy(vm), (vmi or {}).get("status", {}).get("phase")
        start = next((r for r in requests if r["action"] == "Start"), None)
        paused = bool(start and (start.get("data") or {}).get("paused") == "true")
        if requests and requests[0]["action"] == "Stop" and vmi and requests[0].get("uid") in (None, vmi["metadata"]["uid"]):
            if strategy == "RerunOnFailure" and not start:
                self.ended.add(vm["metadata"]["uid"])
            return False, paused
        if strategy == "Always":
            return phase not in FINAL, paused
        if strategy == "RerunOnFailure":
            if phase == "Succeeded":
                self.ended.add(vm["metadata"]["uid"])
                return False, paused
            return phase != "Failed" and (bool(start) or vm["metadata"]["uid"] not in self.ended), paused
        if strategy == "Manual":
            return bool(start) or bool(vmi), paused
        if strategy == "Once":
            return bool(vmi) or not (vm.get("status") or {}).get("created"), paused
        return bool(start) and not requests[0]["action"] == "Stop", paused

    ended = set()  # uids of VMs that ended by themselves, under a strategy that takes that as the end

    def backoff(self, vm):
        return self.retry.get(vm["metadata"]["uid"], 0) - time.time() if (vm.get("status") or {}).get("startFailure") else 0

    retry = {}  # uid: when a crashed VM is tried again

    def templates(self, key, vm):
        """Makes the disks that the VM brings with it; whether all that it names have content."""
        ready = True
        for template in vm["spec"].get("dataVolumeTemplates") or []:
            name = template["metadata"]["name"]
            if not self.find(DV, (key[0], name)):
                try:
                    self.api.post(path(DV, key[0]), {
                        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "spec": template["spec"],
                        "metadata": {"name": name, "namespace": key[0], "labels": {**(template["metadata"].get("labels") or {}),
                                                                                  "kubevirt.io/created-by": vm["metadata"]["uid"]},
                                     "annotations": {**(template["metadata"].get("annotations") or {}), "cdi.kubevirt.io/allowClaimAdoption": "true"},
                                     "ownerReferences": [owner(vm, "VirtualMachine", "kubevirt.io/v1")]}})
                except kube.Refused as refused:
                    if refused.code != 409:
                        raise
                ready = False
            elif not (disk := self.find(DV, (key[0], name)))["metadata"].get("ownerReferences") and not disk["metadata"].get("deletionTimestamp"):
                self.store(DV, (key[0], name), self.api.patch(path(DV, key[0], name), {"metadata": {
                    "ownerReferences": [owner(vm, "VirtualMachine", "kubevirt.io/v1")], "labels": {"kubevirt.io/created-by": vm["metadata"]["uid"]}}}))
        for volume in vm["spec"]["template"]["spec"].get("volumes") or []:
            name = (volume.get("dataVolume") or {}).get("name")
            disk = self.find(DV, (key[0], name)) if name else None
            if name and (disk or {}).get("status", {}).get("phase") != "Succeeded" and not (not disk and self.find(PVC, (key[0], name))):
                ready = False
        return ready

    def trouble_of(self, vm):
        """A reason and words for which no instance can be made."""
        gpus = [*(vm["spec"]["template"]["spec"].get("domain", {}).get("devices", {}).get("gpus") or []),
                *(vm["spec"]["template"]["spec"].get("domain", {}).get("devices", {}).get("hostDevices") or [])]
        cr = next(iter(self.all(KUBEVIRT)), {"spec": {}})
        permitted = cr["spec"].get("configuration", {}).get("permittedHostDevices", {})
        names = {d["resourceName"] for d in [*(permitted.get("pciHostDevices") or []), *(permitted.get("mediatedDevices") or []),
                                             *(permitted.get("usb") or [])]}
        for gpu in gpus:
            if gpu.get("deviceName") and gpu["deviceName"] not in names:
                return ("Synchronized", "FailedCreate", f"failed to create virtual machine pod: GPU {gpu['deviceName']} is not permitted in permittedHostDevices configuration")
        wanted = vm["spec"].get("instancetype") or {}
        if wanted.get("name"):
            plural = "virtualmachineinstancetypes" if wanted.get("kind", "").lower() == "virtualmachineinstancetype" else "virtualmachineclusterinstancetypes"
            where = path(f"instancetype.kubevirt.io/v1beta1/{plural}", vm["metadata"]["namespace"] if plural == "virtualmachineinstancetypes" else None)
            if not self.api.find(f"{where}/{wanted['name']}"):
                return ("Failure", "FailedFindInstancetype", f'{plural}.instancetype.kubevirt.io "{wanted["name"]}" not found')
        return None

    def create_instance(self, key, vm, paused):
        template, metadata = copy.deepcopy(vm["spec"]["template"]), vm["metadata"]
        spec = template["spec"]
        domain = spec.setdefault("domain", {})
        cpu, memory = domain.setdefault("cpu", {}), domain.setdefault("memory", {})
        wanted = vm["spec"].get("instancetype") or {}
        if wanted.get("name"):
            namespaced = wanted.get("kind", "").lower() == "virtualmachineinstancetype"
            kind = f"instancetype.kubevirt.io/v1beta1/virtualmachine{'' if namespaced else 'cluster'}instancetypes"
            of = self.api.get(path(kind, key[0] if namespaced else None, wanted["name"]))["spec"]
            cpu |= {"sockets": of["cpu"]["guest"], "cores": 1, "threads": 1}
            memory["guest"] = of["memory"]["guest"]
        cpu.setdefault("model", "host-model")
        if "sockets" in cpu:
            cpu.setdefault("maxSockets", 4 * cpu["sockets"])
        if memory.get("guest") and "maxGuest" not in memory and quantity(memory["guest"]) >= 1 << 30 and "hugepages" not in memory:
            memory["maxGuest"] = f"{4 * int(quantity(memory['guest'])) >> 20}Mi" if quantity(memory["guest"]) % (1 << 30) else \
                f"{4 * int(quantity(memory['guest'])) >> 30}Gi"
        domain.setdefault("features", {}).setdefault("acpi", {}).setdefault("enabled", True)
        spec.setdefault("evictionStrategy", "LiveMigrate")
        if paused:
            spec["startStrategy"] = "Paused"
        made = self.api.post(path(VMI, key[0]), {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "spec": spec,
            "metadata": {"name": metadata["name"], "namespace": key[0], "labels": (template.get("metadata") or {}).get("labels") or {},
                         "annotations": {**((template.get("metadata") or {}).get("annotations") or {}),
                                         **({"vmctl.test/grace": "", "vmctl.test/agent": "no"} if self.deaf(key, spec) else {}),
                                         "kubevirt.io/vm-generation": str(metadata["generation"]), "kubevirt.io/latest-observed-api-version": "v1",
                                         "kubevirt.io/storage-observed-api-version": "v1"},
                         "finalizers": [FINALIZER, VMI_FINALIZER], "ownerReferences": [owner(vm, "VirtualMachine", "kubevirt.io/v1")]}})
        with self.lock:
            if version(made) > version(self.objects[VMI].get(key)):
                self.objects[VMI][key] = made
        self.event(vm, "VirtualMachine", "SuccessfulCreate",
                   f"Started the virtual machine by creating the new virtual machine instance {metadata['name']}")
        return made

    def stop_instance(self, key, vm, vmi):
        self.api.delete(path(VMI, *key), {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": vmi["metadata"]["uid"]}})
        self.event(vm, "VirtualMachine", "SuccessfulDelete",
                   f"Stopped the virtual machine by deleting the virtual machine instance {vmi['metadata']['uid']}")

    def orphan(self, key, vm):
        """kube-controller-manager's garbage collector, for a deletion with propagationPolicy Orphan: what the VM owns is let go of first."""
        uid = vm["metadata"]["uid"]
        for kind in OWNED:
            for item in self.api.get(path(kind, key[0]))["items"]:
                owners = item["metadata"].get("ownerReferences", [])
                if any(o["uid"] == uid for o in owners):
                    self.api.patch(path(kind, key[0], item["metadata"]["name"]),
                                   {"metadata": {"ownerReferences": [o for o in owners if o["uid"] != uid] or None}})
        return self.store(VM, key, self.api.patch(path(VM, *key), {"metadata": {"finalizers": [f for f in vm["metadata"]["finalizers"] if f != "orphan"]}}))

    def vm_deleted(self, key, vm, vmi):
        if "orphan" in vm["metadata"].get("finalizers", []):
            vm = self.orphan(key, vm)
        if vmi:
            if not vmi["metadata"].get("deletionTimestamp"):
                self.stop_instance(key, vm, vmi)
            self.write_status(VM, key, vm, {**(vm.get("status") or {}), "printableStatus": "Terminating"})
            return
        dependents = []
        if "foregroundDeletion" in vm["metadata"].get("finalizers", []):
            # As the garbage collector, which asks for each object anew before it deletes it: one may have lost its owner a moment ago.
            dependents = [d for d in self.api.get(path(DV, key[0]))["items"]
                          if any(o["uid"] == vm["metadata"]["uid"] for o in d["metadata"].get("ownerReferences", []))]
            for disk in dependents:
                self.api.delete(path(DV, key[0], disk["metadata"]["name"]))
        if dependents:
            self.again(VM, key, STEP)
            return
        left = [f for f in vm["metadata"].get("finalizers", []) if f not in (FINALIZER, "foregroundDeletion")]
        if left != vm["metadata"].get("finalizers", []):
            self.api.patch(path(VM, *key), {"metadata": {"finalizers": left}})

    def vm_status(self, key, vm, vmi, requests, trouble, disks_ready, want):
        status = copy.deepcopy(vm.get("status") or {})
        conditions = status.get("conditions") or []
        state = (vmi or {}).get("status") or {}
        copied = [c for c in state.get("conditions") or [] if c["type"] not in ("Ready", "Provisioning")]
        kept = [c for c in conditions if c["type"] in ("RestartRequired",) and vmi]
        ready = condition(state.get("conditions") or [], "Ready")
        if not vmi:
            ready = ("False", "VMINotExists", "VMI does not exist")
        elif not ready:
            ready = ("False", "VMIConditionMissing", "VMI is missing the Ready condition")
        else:
            ready = (ready["status"], ready.get("reason", ""), ready.get("message", ""))
        fresh = set_condition([c for c in conditions if c["type"] == "Ready"], "Ready", *ready)
        for c in copied:
            old = condition(conditions, c["type"])
            same = old and all(old.get(k, "") == c.get(k, "") for k in ("status", "reason", "message"))
            fresh.append(old if same else {k: v for k, v in c.items() if v != ""})
        fresh += kept
        if trouble:
            fresh = [c for c in fresh if c["type"] != trouble[0]]
            old = condition(conditions, trouble[0])
            value = "False" if trouble[0] == "Synchronized" else "True"
            fresh = fresh + ([old] if old and old.get("message") == trouble[2] else set_condition([], trouble[0], value, trouble[1], trouble[2]))
        if vmi and not condition(fresh, "RestartRequired"):
            why = self.restart_required(vm, vmi)
            if why:
                fresh = set_condition(fresh, "RestartRequired", "True", "", why)
        status["conditions"] = fresh
        for name, value in (("created", bool(vmi)), ("ready", ready[0] == "True")):
            if value:
                status[name] = True
            elif name != "created" or run_strategy(vm) != "Once":
                status.pop(name, None)
        status["runStrategy"] = run_strategy(vm)
        status["desiredGeneration"] = vm["metadata"]["generation"]
        status["observedGeneration"] = vm["metadata"]["generation"]
        if requests:
            status["stateChangeRequests"] = requests
        else:
            status.pop("stateChangeRequests", None)
        self.failures(key, vm, vmi, status)
        self.memory_dump(key, vm, status)
        status["printableStatus"] = self.printable(key, vm, vmi, status, trouble, disks_ready, want)
        volumes = [self.snapshot_status(key[0], v) for v in vm["spec"]["template"]["spec"].get("volumes") or []]
        if volumes:
            status["volumeSnapshotStatuses"] = volumes
        else:
            status.pop("volumeSnapshotStatuses", None)
        self.write_status(VM, key, vm, status)

    def memory_dump(self, key, vm, status):
        """From KubeVirt's user guide ("Memory Dump"); vmctl.test/dump "fails" on the VM: it does. In the file is what the guest's disk begins with, as the
        boot sector of the tests is all that its memory has."""
        import exports
        dump = status.get("memoryDumpRequest")
        if dump and dump["phase"] == "Associating":
            status["memoryDumpRequest"] = {**dump, "phase": "InProgress", "startTimestamp": now()}
            self.again(VM, key, 2 * STEP)
        elif dump and dump["phase"] == "InProgress" and annotation(vm, "vmctl.test/dump") == "fails":
            status["memoryDumpRequest"] = {**dump, "phase": "Failed", "message": "Memory dump failed: no space left on device"}
        elif dump and dump["phase"] == "InProgress":
            name = f"{key[1]}-{dump['claimName']}-{now().replace(':', '')}.memory.dump"
            disks = (self.folder / "uploads" / key[0] / claim for claim in claims(vm["spec"]["template"]["spec"]))
            memory = b"".join(disk.read_bytes()[:512] for disk in disks if disk.exists())
            exports.DUMPS[key[0], dump["claimName"]] = name, b"\x7fELF\2\1\1" + bytes(9) + b"\4\0" + bytes(4078) + memory
            status["memoryDumpRequest"] = {**dump, "phase": "Completed", "endTimestamp": now(), "fileName": name}
        elif dump and dump["phase"] == "Dissociating":
            del status["memoryDumpRequest"]

    def failures(self, key, vm, vmi, status):
        """Of an instance that failed under a strategy which tries again."""
        uid = vm["metadata"]["uid"]
        state = (vmi or {}).get("status") or {}
        if vmi and state.get("phase") == "Failed" and run_strategy(vm) in ("Always", "RerunOnFailure"):
            last = status.get("startFailure") or {"consecutiveFailCount": 0}
            if last.get("lastFailedVMIUID") != vmi["metadata"]["uid"]:
                count = last["consecutiveFailCount"] + 1
                wait = min(10 * count * count, 300)
                self.retry[uid] = time.time() + wait
                status["startFailure"] = {"consecutiveFailCount": count, "lastFailedVMIUID": vmi["metadata"]["uid"],
                                          "retryAfterTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.retry[uid]))}
                # The first time the guest had run: that is no crash loop yet.
                if "Running" in [t["phase"] for t in state.get("phaseTransitionTimestamps", [])] and not crashes(vm) and count == 1:
                    self.retry[uid] = 0
                    status.pop("startFailure")
        elif vmi and state.get("phase") == "Running" and not crashes(vm):
            status.pop("startFailure", None)

    def printable(self, key, vm, vmi, status, trouble, disks_ready, want):
        """The first that matches (KubeVirt, vm.go, setPrintableStatus)."""
        conditions, state = status["conditions"], (vmi or {}).get("status") or {}
        phase, strategy = state.get("phase"), run_strategy(vm)
        synchronized = condition(conditions, "Synchronized") or {}
        paused = condition(conditions, "Paused")
        moving = state.get("migrationState") or {}
        disks = [self.find(DV, (key[0], (v.get("dataVolume") or {}).get("name"))) for v in vm["spec"]["template"]["spec"].get("volumes") or []]
        phases = [(d.get("status") or {}).get("phase") for d in disks if d]
        scheduled = condition(conditions, "PodScheduled") or {}
        if vm["metadata"].get("deletionTimestamp"):
            return "Terminating"
        if vmi and phase not in FINAL and (vmi["metadata"].get("deletionTimestamp") or not want):
            return "Stopping"
        if vmi and moving.get("startTimestamp") and not moving.get("endTimestamp"):
            return "Migrating"
        if vmi and phase == "Running" and paused and paused["status"] == "True":
            return "Paused"
        if vmi and phase == "Running":
            return "Running"
        if synchronized.get("reason") == "FailedPvcNotFound":
            return "ErrorPvcNotFound"
        if "Failed" in phases:
            return "DataVolumeError"
        if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
            return "ErrorUnschedulable"
        if not disks_ready and not trouble and (want or vm["spec"].get("dataVolumeTemplates")):
            if any(p in ("WaitForFirstConsumer", "PendingPopulation") for p in phases):
                return "WaitingForVolumeBinding"
            return "Provisioning"
        if synchronized.get("reason") in ("ErrImagePull", "ImagePullBackOff"):
            return synchronized["reason"]
        if vmi and phase not in FINAL:
            return "Starting"
        if trouble and trouble[0] == "Synchronized" and strategy != "Halted":
            return "Starting"
        if status.get("startFailure") and not (vmi and phase not in FINAL) and strategy in ("Always", "RerunOnFailure"):
            return "CrashLoopBackOff"
        if strategy == "WaitAsReceiver":
            return "WaitingForReceiver"
        return "Stopped"

    # --- instances -----------------------------------------------------------------------------------------------------

    def vmi(self, key, vmi):
        metadata, state = vmi["metadata"], copy.deepcopy(vmi.get("status") or {})
        phase, uid = state.get("phase"), metadata["uid"]
        if metadata.get("deletionTimestamp"):
            return self.vmi_deleted(key, vmi)
        if phase in FINAL:
            vm = self.find(VM, key)
            if vm and run_strategy(vm) in ("Always", "RerunOnFailure") and metadata.get("ownerReferences"):
                self.api.delete(path(VMI, *key), {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}})
            return
        since = self.since.get((uid, phase))
        if since is None:
            since = self.since[(uid, phase)] = time.monotonic()
        if phase != "Running" and time.monotonic() < since + STEP:
            self.again(VMI, key, STEP)
            return
        conditions = state.get("conditions") or []
        if phase is None:
            self.to_phase(state, "Pending")
        elif phase == "Pending":
            missing = next((c for c in claims(vmi["spec"]) if not self.api.find(path(PVC, key[0], c))), None)
            if missing:
                words = f"PVC {key[0]}/{missing} does not exist, waiting for it to appear"
                conditions = set_condition(conditions, "Ready", "False", "PodNotExists", "virt-launcher pod has not yet been scheduled")
                conditions = set_condition(conditions, "PodScheduled", "False", "Unschedulable", words)
                conditions = set_condition(conditions, "Synchronized", "False", "FailedPvcNotFound", words)
                self.again(VMI, key, 0.1)
            else:
                conditions = [c for c in conditions if c["type"] not in ("PodScheduled", "Synchronized")]
                self.pod(key, vmi, state)
                self.to_phase(state, "Scheduling")
                conditions = set_condition(conditions, "Ready", "False", "GuestNotRunning", "Guest VM is not reported as running")
        elif phase == "Scheduling":
            node, why = self.place(vmi)
            image = next((v["containerDisk"]["image"] for v in vmi["spec"].get("volumes") or [] if "/missing" in (v.get("containerDisk") or {}).get("image", "")), None)
            if not node:
                conditions = set_condition(conditions, "PodScheduled", "False", "Unschedulable", why)
                self.pod_event(key, vmi, state, "FailedScheduling", why)
                self.again(VMI, key, 0.2)
            elif image:
                last = condition(conditions, "Synchronized")
                reason = "ImagePullBackOff" if last else "ErrImagePull"
                words = f'Back-off pulling image "{image}"' if last else f'failed to pull and unpack image "{image}": {image}: not found'
                if not last or last["reason"] == "ErrImagePull":
                    conditions = set_condition(conditions, "Synchronized", "False", reason, words)
                    self.pod_event(key, vmi, state, "Failed", f'Failed to pull image "{image}": {image}: not found')
                    self.again(VMI, key, 0.3)
            else:
                conditions = [c for c in conditions if c["type"] not in ("PodScheduled", "Synchronized")]
                state["nodeName"] = node
                state["activePods"] = {str(uuid.uuid4()): node}
                self.bind(key, vmi, node)
                self.to_phase(state, "Scheduled")
        elif phase == "Scheduled":
            self.boot(vmi, state)
            conditions = self.running_conditions(vmi, conditions)
            self.to_phase(state, "Running")
            guests.start(uid, vmi["spec"].get("startStrategy") == "Paused", Picture if self.has_on_disk(key, vmi["spec"], b"picture: drawn") else Guest)
            if vmi["spec"].get("startStrategy") == "Paused":
                conditions = set_condition(conditions, "Paused", "True", "PausedByUser", "VMI was paused by user")
                conditions = set_condition(conditions, "Ready", "False", "GuestNotRunning", "Guest VM is not reported as running")
        elif phase == "Running":
            ends = annotation(vmi, "vmctl.test/guest") or ("crash" if crashes({"spec": {"template": vmi}}) else None)
            vm = self.find(VM, key)
            ends = ends or (vm and annotation(vm, "vmctl.test/guest"))
            if ends in ("shutdown", "crash"):
                self.to_phase(state, "Succeeded" if ends == "shutdown" else "Failed")
                conditions = set_condition(conditions, "Ready", "False", "GuestNotRunning", "Guest VM is not reported as running")
                guests.end(uid)
            else:
                self.plugged(key, vmi, state)
                conditions = self.updates(vmi, state, conditions)
        state["conditions"] = conditions
        self.write_status(VMI, key, vmi, state)

    since = {}

    def to_phase(self, state, phase):
        state["phase"] = phase
        state["phaseTransitionTimestamps"] = [*(state.get("phaseTransitionTimestamps") or []), {"phase": phase, "phaseTransitionTimestamp": now()}]

    def boot(self, vmi, state):
        spec = vmi["spec"]
        memory = (spec["domain"].get("memory") or {}).get("guest") or (spec["domain"].get("resources", {}).get("requests") or {}).get("memory", "0")
        state |= {"currentCPUTopology": {k: v for k, v in (spec["domain"].get("cpu") or {}).items() if k in ("cores", "sockets", "threads")},
                  "memory": {"guestAtBoot": memory, "guestCurrent": memory, "guestRequested": memory, "memoryOverhead": "296Mi"},
                  "launcherContainerImageVersion": "none", "migrationTransport": "Unix", "qosClass": "Burstable", "runtimeUser": 107, "selinuxContext": "none",
                  "virtualMachineRevisionName": f"revision-start-vm-{vmi['metadata']['uid']}-1"}
        state["interfaces"] = [{"infoSource": "domain, guest-agent", "interfaceName": f"eth{n}", "podInterfaceName": f"eth{n}", "name": card["name"],
                                "ipAddress": "127.0.0.1", "ipAddresses": ["127.0.0.1"], "linkState": card.get("state") or "up", "mac": card.get("macAddress") or f"52:54:00:12:34:{0x56 + n:02x}"}
                               for n, card in enumerate(spec["domain"]["devices"].get("interfaces") or [])]
        state["volumeStatus"] = [{"name": v["name"], "target": targets(spec)[v["name"]], **self.claim_info(vmi["metadata"]["namespace"], v)}
                                 for v in spec.get("volumes") or [] if not hotpluggable(v)]
        if agent(vmi):
            state["guestOSInfo"] = {"id": "debian", "kernelRelease": "6.1.0", "name": "Debian GNU/Linux",
                                    "prettyName": "Debian GNU/Linux 12 (bookworm)", "version": "12"}

    def running_conditions(self, vmi, conditions):
        for kind in ("Ready", *(("AgentConnected",) if agent(vmi) else ())):
            conditions = set_condition(conditions, kind, "True")
        devices = vmi["spec"]["domain"]["devices"]
        if devices.get("gpus") or devices.get("hostDevices"):
            conditions = set_condition(conditions, "LiveMigratable", "False", "HostDeviceNotLiveMigratable",
                                       "VMI uses a PCI host devices")
        elif any("bridge" in i and any(n["name"] == i["name"] and "pod" in n for n in vmi["spec"].get("networks") or []) for i in devices.get("interfaces") or []):
            conditions = set_condition(conditions, "LiveMigratable", "False", "InterfaceNotLiveMigratable",
                                       "cannot migrate VMI which does not use masquerade, bridge with kubevirt.io/allow-pod-bridge-network-live-migration VM "
                                       "annotation or a migratable plugin to connect to the pod network")
        else:
            conditions = set_condition(conditions, "LiveMigratable", "True")
        return set_condition(conditions, "StorageLiveMigratable", "True")

    def place(self, vmi):
        """A node, or None and the scheduler's words."""
        spec = vmi["spec"]
        cpu = spec["domain"].get("cpu") or {}
        cpus = cpu.get("sockets", 1) * cpu.get("cores", 1) * cpu.get("threads", 1)
        memory = quantity((spec["domain"].get("memory") or {}).get("guest") or "0")
        reasons = {}
        devices = [d["deviceName"] for d in [*(spec["domain"]["devices"].get("gpus") or []), *(spec["domain"]["devices"].get("hostDevices") or [])]
                   if d.get("deviceName")]
        for name in NODES:
            node = self.api.get(path("v1/nodes", None, name))
            room, labels = node["status"]["allocatable"], node["metadata"]["labels"]
            if any(labels.get(k) != v for k, v in (spec.get("nodeSelector") or {}).items()):
                why = "node(s) didn't match Pod's node affinity/selector"
            elif labels.get("kubevirt.io/schedulable") != "true" or node["spec"].get("unschedulable"):
                why = "node(s) were unschedulable"
            elif memory > quantity(room["memory"]):
                why = "Insufficient memory"
            elif cpus / 10 > quantity(room["cpu"]):  # KubeVirt asks for a tenth of a CPU each (cpuAllocationRatio)
                why = "Insufficient cpu"
            elif missing := next((d for d in devices if quantity(room.get(d, "0")) < devices.count(d)), None):
                why = f"Insufficient {missing}"
            else:
                return name, None
            reasons[why] = reasons.get(why, 0) + 1
        return None, f"0/{len(NODES)} nodes are available: " + ", ".join(f"{count} {why}" for why, count in sorted(reasons.items())) + "."

    def pod(self, key, vmi, state):
        metadata = vmi["metadata"]
        if annotation(vmi, "vmctl.test/no-pod") is not None:
            return
        name = f"virt-launcher-{metadata['name']}-{tail()}"
        containers = [{"name": "compute", "image": "none"}]
        self.api.post(path("v1/pods", key[0]), {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": key[0], "ownerReferences": [owner(vmi, "VirtualMachineInstance", "kubevirt.io/v1")],
                         "labels": {"kubevirt.io": "virt-launcher", "kubevirt.io/created-by": metadata["uid"], "vm.kubevirt.io/name": metadata["name"],
                                    "vmi.kubevirt.io/id": metadata["name"], **(metadata.get("labels") or {})},
                         "annotations": {"kubevirt.io/domain": metadata["name"]}},
            "spec": {"containers": containers, "initContainers": [{"name": "guest-console-log", "image": "none", "restartPolicy": "Always"}],
                     "terminationGracePeriodSeconds": 0, "automountServiceAccountToken": False, "enableServiceLinks": False}})
        self.pods[metadata["uid"]] = name
        self.event(vmi, "VirtualMachineInstance", "SuccessfulCreate", f"Created virtual machine pod {name}")

    pods = {}

    def pod_of(self, key, vmi):
        uid = vmi["metadata"]["uid"]
        if uid not in self.pods:
            found = self.api.get(path("v1/pods", key[0]) + f"?labelSelector=kubevirt.io/created-by%3D{uid}")["items"]
            self.pods[uid] = found[0]["metadata"]["name"] if found else None
        return self.pods[uid]

    def pod_event(self, key, vmi, state, reason, words):
        name = self.pod_of(key, vmi)
        if name and (name, reason) not in self.told:
            self.told.add((name, reason))
            pod = self.api.get(path("v1/pods", key[0], name))
            self.event(pod, "Pod", reason, words, True)

    told = set()

    def bind(self, key, vmi, node):
        name = self.pod_of(key, vmi)
        if name:
            self.api.post(path("v1/pods", key[0], name, "binding"), {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name},
                                                                     "target": {"apiVersion": "v1", "kind": "Node", "name": node}})
            self.api.patch(path("v1/pods", key[0], name, "status"), {"status": {
                "phase": "Running", "podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}],
                "containerStatuses": [{"name": "compute", "ready": True, "started": True, "restartCount": 0, "image": "none", "imageID": "none",
                                       "state": {"running": {"startedAt": now()}}}]}}, "strategic-merge-patch+json")

    def plugged(self, key, vmi, state):
        """What was plugged into or taken from a running instance."""
        have = {v["name"]: v for v in state.get("volumeStatus") or []}
        free = iter(t for t in ("sd" + c for c in string.ascii_lowercase) if t not in {v.get("target") for v in have.values()})
        volumes = []
        for volume in vmi["spec"].get("volumes") or []:
            name, info = volume["name"], self.claim_info(key[0], volume)
            status = have.get(name)
            if hotpluggable(volume) and (not status or status.get("phase") != "Ready" or
                                         (status.get("persistentVolumeClaimInfo") or {}).get("claimName") != claim_of(volume)):
                # The node attaches it once there is something on it.
                disk = self.find(DV, (key[0], claim_of(volume)))
                ready = bool(info) and (not disk or (disk.get("status") or {}).get("phase") == "Succeeded")
                status = {"name": name, "target": next(free), "phase": "Ready", "reason": "VolumeReady",
                          "message": f"Successfully attach hotplugged volume {name} to VM",
                          "hotplugVolume": {"attachPodName": f"hp-volume-{tail()}", "attachPodUID": str(uuid.uuid4())}} if ready else \
                    {"name": name, "target": "", "phase": "Pending", "reason": "PVCNotReady", "message": "PVC is in phase Pending", "hotplugVolume": {}}
            volumes.append({**(status or {"name": name, "target": ""}), **info})
        if annotation(vmi, "vmctl.test/keeps-disks") is not None:  # its guest lets nothing go (v1.HotplugVolumeDetaching)
            volumes += [{**v, "phase": "Detaching"} for name, v in have.items() if "hotplugVolume" in v and name not in {v["name"] for v in volumes}]
        state["volumeStatus"] = volumes
        shown = {i["name"]: i for i in state.get("interfaces") or []}
        # Cards come with a migration, which the workload updater begins; here it has no time of its own.
        there = {**shown, **self.arrived.get(vmi["metadata"]["uid"], {})}
        cards = [c for c in vmi["spec"]["domain"]["devices"].get("interfaces") or [] if c.get("state") != "absent" and
                 (c["name"] in there or self.migrates_by_itself())]
        state["interfaces"] = [{**(shown.get(c["name"]) or {"name": c["name"], "mac": c.get("macAddress") or f"52:54:00:77:{random.randrange(256):02x}:01",
                                                            "infoSource": "domain", "interfaceName": f"eth{n}", "podInterfaceName": f"pod{n}"}),
                                "linkState": c.get("state") or "up"} for n, c in enumerate(cards)]
        wanted = (vmi["spec"]["domain"].get("memory") or {}).get("guest")
        if wanted and quantity(wanted) > quantity(state["memory"]["guestCurrent"]):
            state["memory"] = {**state["memory"], "guestRequested": wanted}

    def vmi_deleted(self, key, vmi):
        metadata, state = vmi["metadata"], vmi.get("status") or {}
        uid = metadata["uid"]
        if uid not in self.ending:
            vm = self.find(VM, key) or {"metadata": {}}
            grace = vmi["metadata"].get("deletionGracePeriodSeconds")
            grace = vmi["spec"].get("terminationGracePeriodSeconds", 30) if grace in (None, 0) and annotation(vmi, "vmctl.test/force") is None else grace
            forced = (vm.get("metadata", {}).get("annotations") or {}).get("vmctl.test/stop-at-once")
            deaf = annotation(vmi, "vmctl.test/grace") is not None or (vm["metadata"].get("annotations") or {}).get("vmctl.test/grace") is not None
            self.ending[uid] = time.monotonic() + (grace if deaf and not forced and state.get("phase") == "Running" else 2 * STEP)
        short = self.shorter.get(uid)
        if short is not None:
            self.ending[uid] = min(self.ending[uid], short)
        left = self.ending[uid] - time.monotonic()
        if left > 0:
            self.again(VMI, key, min(left, 0.1))
            return
        guests.end(uid)
        name = self.pod_of(key, vmi)
        if name:
            try:
                self.api.delete(path("v1/pods", key[0], name), {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
            except kube.Refused as refused:
                if refused.code != 404:
                    raise
            self.pods.pop(uid, None)
        if state.get("phase") not in FINAL:
            status = copy.deepcopy(state)
            self.to_phase(status, "Succeeded")
            status["conditions"] = set_condition(status.get("conditions") or [], "Ready", "False", "PodNotExists",
                                                 "virt-launcher pod has not yet been scheduled")
            vmi = self.write_status(VMI, key, vmi, status)
        self.api.patch(path(VMI, *key), {"metadata": {"finalizers": None}})

    ending, shorter = {}, {}

    def has_on_disk(self, key, spec, words):
        """Whether a boot sector of the tests that says this was uploaded to a disk."""
        disks = (self.folder / "uploads" / key[0] / claim for claim in claims(spec))
        return any(disk.exists() and words in disk.read_bytes()[:512] for disk in disks)

    def deaf(self, key, spec):
        """The boot sector of the tests (guest.py), by what was uploaded or by its image's name: no agent, and no power button."""
        return self.has_on_disk(key, spec, b"vmctl guest: ") or self.has_on_disk(key, spec, b"picture: drawn") or any("/counter" in (v.get("containerDisk") or {}).get("image", "") for v in spec.get("volumes") or [])

    def shorten(self, key, uid, seconds):
        """Of an instance that ends, or will: no longer than so many seconds from now."""
        self.shorter[uid] = time.monotonic() + seconds
        self.queue.put((VMI, key))

    # --- migrations ------------------------------------------------------------------------------------------------------

    def migration(self, key, job):
        state, metadata = copy.deepcopy(job.get("status") or {}), job["metadata"]
        phase = state.get("phase")
        vmi_key = key[0], job["spec"].get("vmiName")
        vmi = self.find(VMI, vmi_key)
        finalizer = "kubevirt.io/migrationJobFinalize"
        if metadata.get("deletionTimestamp"):
            if phase not in FINAL and vmi and (vmi.get("status") or {}).get("migrationState", {}).get("migrationUid") == metadata["uid"]:
                moving = {**vmi["status"]["migrationState"], "abortRequested": True, "abortStatus": "Succeeded", "completed": True, "failed": True,
                          "endTimestamp": now()}
                self.write_status(VMI, vmi_key, vmi, {**vmi["status"], "migrationState": moving})
            if finalizer in metadata.get("finalizers", []):
                self.api.patch(path(VMIM, *key), {"metadata": {"finalizers": None}})
            return
        if phase in FINAL:
            return
        if finalizer not in metadata.get("finalizers", []):
            self.store(VMIM, key, self.api.patch(path(VMIM, *key), {"metadata": {"finalizers": [finalizer]}}))
            return self.again(VMIM, key, 0)
        since = self.since.setdefault((metadata["uid"], phase), time.monotonic())
        wait = STEP if phase != "Running" else float(annotation(job, "vmctl.test/seconds") or (vmi and annotation(vmi, "vmctl.test/migration-seconds")) or 0.2)
        if time.monotonic() < since + wait:
            return self.again(VMIM, key, wait)

        def to(name):
            self.to_phase(state, name)
            self.write_status(VMIM, key, job, state)
            self.again(VMIM, key, STEP)

        if not vmi or (vmi.get("status") or {}).get("phase") != "Running":
            state["migrationState"] = {**(state.get("migrationState") or {}), "failed": True, "completed": True, "endTimestamp": now(),
                                       "failureReason": "VMI is not running"}
            return to("Failed")
        moving = (vmi["status"].get("migrationState") or {}) if (vmi["status"].get("migrationState") or {}).get("migrationUid") == metadata["uid"] else {}
        source = vmi["status"]["nodeName"]
        if phase is None:
            state["migrationState"] = {"sourcePod": self.pod_of(vmi_key, vmi) or "virt-launcher-none"}
            return to("Pending")
        if phase == "Pending":
            return to("Scheduling")
        if phase == "Scheduling":
            others = [n for n in NODES if n != source]
            selector = job["spec"].get("addedNodeSelector") or {}
            usable = []
            for name in others:
                labels = self.api.get(path("v1/nodes", None, name))["metadata"]["labels"]
                if all(labels.get(k) == v for k, v in {**(vmi["spec"].get("nodeSelector") or {}), **selector}.items()) and \
                        labels.get("kubevirt.io/schedulable") == "true":
                    usable.append(name)
            if not usable:
                # As in a cluster: the target's pod stays Pending, and the migration with it.
                return self.again(VMIM, key, 0.3)
            self.targets[metadata["uid"]] = usable[0]
            return to("Scheduled")
        if phase == "Scheduled":
            return to("PreparingTarget")
        target = self.targets.get(metadata["uid"]) or next(n for n in NODES if n != source)
        if phase == "PreparingTarget":
            return to("TargetReady")
        if phase == "TargetReady":
            moving = {"migrationUid": metadata["uid"], "mode": "PreCopy", "sourceNode": source, "sourcePod": state["migrationState"]["sourcePod"],
                      "startTimestamp": now(), "targetNode": target, "targetNodeAddress": "127.0.0.1", "targetNodeDomainDetected": True,
                      "targetPod": f"virt-launcher-{vmi['metadata']['name']}-{tail()}"}
            self.write_status(VMI, vmi_key, vmi, {**vmi["status"], "migrationState": moving})
            return to("Running")
        if annotation(vmi, "vmctl.test/migration") == "fails":
            moving = {**moving, "completed": True, "failed": True, "endTimestamp": now(), "failureReason": "Live migration failed error encountered during MigrateToURI3 libvirt api call: internal error"}
            self.write_status(VMI, vmi_key, vmi, {**vmi["status"], "migrationState": moving})
            state["migrationState"] = moving
            return to("Failed")
        moving = {**moving, "completed": True, "endTimestamp": now()}
        status = {**vmi["status"], "migrationState": moving, "nodeName": target, "migratedVolumes": []}
        cpu, memory = vmi["spec"]["domain"].get("cpu") or {}, (vmi["spec"]["domain"].get("memory") or {}).get("guest")
        # What was plugged in is there after a migration only.
        self.arrived[vmi["metadata"]["uid"]] = {c["name"]: {} for c in vmi["spec"]["domain"]["devices"].get("interfaces") or []}
        status["currentCPUTopology"] = {k: v for k, v in cpu.items() if k in ("cores", "sockets", "threads")}
        if memory:
            status["memory"] = {**status["memory"], "guestCurrent": memory, "guestRequested": memory}
        self.write_status(VMI, vmi_key, vmi, status)
        state["migrationState"] = moving
        to("Succeeded")

    targets, arrived = {}, {}

    # --- disks -----------------------------------------------------------------------------------------------------------

    def disk(self, key, disk):
        if disk["metadata"].get("deletionTimestamp"):
            return
        state, spec = disk.get("status") or {}, disk["spec"]
        phase = state.get("phase")
        if annotation(disk, PREPOPULATED):  # a restore makes its claim, perhaps once more
            claim = self.find(PVC, key)
            if claim and (claim.get("status") or {}).get("phase") == "Bound" and not claim["metadata"].get("deletionTimestamp"):
                if not claim["metadata"].get("ownerReferences"):
                    self.api.patch(path(PVC, *key), {"metadata": {"ownerReferences": [owner(disk, "DataVolume", "cdi.kubevirt.io/v1beta1")]}})
                self.write_status(DV, key, disk, {"claimName": key[1], "phase": "Succeeded", "progress": "100.0%"})
            return
        if phase in ("Succeeded", "Failed", "UploadReady"):
            return
        source = spec.get("source") or {}
        url = next((s.get("url", "") for s in (source.get(k) or {} for k in ("http", "s3", "gcs", "registry")) if s), "")
        claim = self.find(PVC, key)

        def to(name, progress="N/A", words="", reason="Completed", running="False"):
            self.write_status(DV, key, disk, {
                "claimName": key[1], "phase": name, "progress": progress,
                "conditions": [{"type": "Bound", "status": "True", "reason": "Bound", "message": f"PVC {key[1]} Bound", "lastHeartbeatTime": now(), "lastTransitionTime": now()},
                               {"type": "Running", "status": running, "reason": reason, "message": words, "lastHeartbeatTime": now(), "lastTransitionTime": now()}]})
            self.again(DV, key, STEP)

        if not claim:
            storage = spec.get("storage") or spec.get("pvc") or {}
            room = (storage.get("resources") or {}).get("requests") or {"storage": "1Gi"}
            self.api.post(path(PVC, key[0]), {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": key[1], "namespace": key[0], "ownerReferences": [owner(disk, "DataVolume", "cdi.kubevirt.io/v1beta1")],
                             "labels": {"app": "containerized-data-importer"}},
                "spec": {"accessModes": storage.get("accessModes") or ["ReadWriteMany"], "volumeMode": storage.get("volumeMode") or "Block",
                         "storageClassName": storage.get("storageClassName") or "local", "resources": {"requests": room}}})
            return
        if claim["metadata"].get("deletionTimestamp"):
            return
        if (claim.get("status") or {}).get("phase") != "Bound":
            self.api.patch(path(PVC, *key, "status"), {"status": {"phase": "Bound", "capacity": claim["spec"]["resources"]["requests"],
                                                                 "accessModes": claim["spec"]["accessModes"]}})
        if phase is None:
            return to("Pending")
        if "upload" in source:
            return to("UploadReady", "N/A", "", "Pod is running", "True")
        if ".invalid" in url and phase == "ImportInProgress":
            return to("Failed", "N/A", f"Unable to connect to http data source: Get \"{url}\": dial tcp: lookup host: no such host", "Error")
        if url and phase == "ImportInProgress" and "/slow" in url:
            return None
        if url and phase != "ImportInProgress":
            return to("ImportInProgress", "42.00%", "", "Pod is running", "True")
        return to("Succeeded", "100.0%")

    def claim(self, key, claim):
        """The storage's driver makes a bound claim as large as it is asked to; kube-controller-manager keeps one that is in use, the others
        may go."""
        state = claim.get("status") or {}
        wanted = claim["spec"]["resources"].get("requests") or {}
        if state.get("phase") == "Bound" and quantity(wanted["storage"]) > quantity((state.get("capacity") or {}).get("storage", "0")):
            self.api.patch(path(PVC, *key, "status"), {"status": {"capacity": wanted}})
        guard = "kubernetes.io/pvc-protection"
        if claim["metadata"].get("deletionTimestamp") and guard in claim["metadata"].get("finalizers", []) and \
                not any(key[1] in claims(vmi["spec"]) for vmi in self.all(VMI, key[0])):
            self.api.patch(path(PVC, *key), {"metadata": {"finalizers": [f for f in claim["metadata"]["finalizers"] if f != guard] or None}})

    def export(self, key, export):
        import exports  # which is made of this one's parts
        exports.step(self, key, export)

    # --- what the cluster collects ---------------------------------------------------------------------------------------

    def collect(self, kind, thing):
        """kube-controller-manager's garbage collector: what belonged to what is gone goes too."""
        uid, namespace = thing["metadata"]["uid"], thing["metadata"].get("namespace")
        kinds = {VM: OWNED, DV: (PVC,), CLONE: (SNAPSHOT, RESTORE),
                 EXPORT: ("v1/secrets", "v1/services", "v1/endpoints", "v1/pods")}.get(kind, ())
        for other in kinds:
            for item in self.api.get(path(other, namespace))["items"]:
                while item and any(o["uid"] == uid for o in item["metadata"].get("ownerReferences", [])):
                    item = self.release(path(other, namespace, item["metadata"]["name"]), item, uid)
        if kind == VMI:
            for name in claims(thing["spec"]):
                self.queue.put((PVC, (namespace, name)))
            for known in (self.pods, self.ending, self.shorter):
                known.pop(uid, None)


    def release(self, where, item, uid):
        """One whose owner of that uid has gone: it goes, too, unless another owner is there. The item as it is then, or None."""
        metadata = item["metadata"]
        left = [o for o in metadata["ownerReferences"] if o["uid"] != uid and self.lives(metadata["namespace"], o)]
        try:
            if not left:
                return self.api.delete(where) and None
            return self.api.patch(where, {"metadata": {"ownerReferences": left, "resourceVersion": metadata["resourceVersion"]}})
        except kube.Refused as refused:
            if refused.code not in (404, 409):
                raise
            return self.api.find(where)

    def lives(self, namespace, owner):
        kinds = {"Namespace": "v1/namespaces", "VirtualMachine": VM, "DataVolume": DV}
        kind = kinds.get(owner["kind"])
        there = self.api.find(path(kind, None if owner["kind"] == "Namespace" else namespace, owner["name"])) if kind else None
        return bool(there) and there["metadata"]["uid"] == owner["uid"]


def targets(spec):
    """The names that QEMU has for the disks of a guest (user guide, hotplug_volumes.md, VolumeStatus)."""
    letters = {kind: map(kind.__add__, string.ascii_lowercase) for kind in ("vd", "sd")}
    buses = {d["name"]: (d.get("disk") or d.get("cdrom") or d.get("lun") or {}).get("bus") for d in spec["domain"]["devices"].get("disks") or []}
    return {v["name"]: next(letters["vd" if buses.get(v["name"]) in (None, "virtio") else "sd"]) for v in spec.get("volumes") or []}


def claims(spec):
    return [c for c in map(claim_of, spec.get("volumes") or []) if c]


def crashes(vm):
    return any("/crashes" in (v.get("containerDisk") or {}).get("image", "") for v in vm["spec"]["template"]["spec"].get("volumes") or [])


def agent(vmi):
    """Whether the guest has QEMU's agent: all have but those that a test says."""
    return annotation(vmi, "vmctl.test/agent") != "no"
