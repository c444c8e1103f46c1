"""virt-controller's snapshots, restores and clones. Sources: recordings 189 to 198, their CRDs, KubeVirt's user guide (snapshot_restore_api.md, clone_api.md), and what its
controllers and webhooks do: a restore makes claims of new names (or the same, InPlace) and data volumes of them, gives the VM the definition of
then with the run strategy of now, and deletes every data volume of the VM's templates that is not in it. What was uploaded to a disk goes along."""

import copy
import json
import shutil

import kube
from kube import path

VM, VMI = "kubevirt.io/v1/virtualmachines", "kubevirt.io/v1/virtualmachineinstances"
SNAPSHOT, CONTENT, RESTORE = (f"snapshot.kubevirt.io/v1beta1/virtualmachine{x}" for x in ("snapshots", "snapshotcontents", "restores"))
CLONE, DV, PVC = "clone.kubevirt.io/v1beta1/virtualmachineclones", "cdi.kubevirt.io/v1beta1/datavolumes", "v1/persistentvolumeclaims"
SNAPSHOT_GUARD, RESTORE_GUARD = "snapshot.kubevirt.io/vmsnapshot-protection", "snapshot.kubevirt.io/vmrestore-protection"
LAST_RESTORE, PREPOPULATED = "restore.kubevirt.io/lastRestoreUID", "cdi.kubevirt.io/storage.prePopulated"
GRACE = 300  # seconds, of the policy WaitGracePeriod


def annotation(thing, name):
    return (thing["metadata"].get("annotations") or {}).get(name)


def claim_of(volume):
    return (volume.get("persistentVolumeClaim") or {}).get("claimName") or (volume.get("dataVolume") or {}).get("name")


def volumes_of(vm):
    return vm["spec"]["template"]["spec"].get("volumes") or []


def patched(thing, patches):
    """JSON patches as a restore has them: a list of texts."""
    thing = copy.deepcopy(thing)
    for text in patches or []:
        step = json.loads(text)
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in step["path"].strip("/").split("/")]
        at = thing
        for part in parents:
            at = at[int(part)] if isinstance(at, list) else at.setdefault(part, {})
        key = int(last) if isinstance(at, list) else last
        if step["op"] == "remove":
            at.pop(key, None) if isinstance(at, dict) else at.pop(key)
        else:
            at[key] = step["value"]
    return thing


class Snapshots:
    """Of the controller, which has api, folder, find, all, again, store, write_status, event."""

    drivers = None  # storage class -> whether volumes of it can be snapshotted

    def conditions(self, progressing, ready, words, ready_words=None, failure=None):
        def one(kind, status, reason):
            return {"type": kind, "status": status, "reason": reason, "lastProbeTime": None, "lastTransitionTime": self.now()}

        return [one("Progressing", progressing, words), one("Ready", ready, ready_words or words),
                *([one("Failure", "True", failure)] if failure else [])]

    def now(self):
        raise NotImplementedError

    def is_snapshottable(self, storage_class):
        if self.drivers is None:
            able = {c["driver"] for c in self.api.get(path("snapshot.storage.k8s.io/v1/volumesnapshotclasses"))["items"]}
            self.drivers = {c["metadata"]["name"]: c["provisioner"] in able for c in self.api.get(path("storage.k8s.io/v1/storageclasses"))["items"]}
        return self.drivers.get(storage_class, False)

    def snapshot_status(self, namespace, volume):
        """One of the VM's volumeSnapshotStatuses, in virt-controller's words."""
        name = volume["name"]
        if not claim_of(volume):
            return {"name": name, "enabled": False, "reason": f"Snapshot is not supported for this volumeSource type [{name}]"}
        claim, disk = self.find(PVC, (namespace, claim_of(volume))), self.find(DV, (namespace, claim_of(volume)))
        if not claim and not disk:
            return {"name": name, "enabled": False, "reason": "PVC not found"}
        of = claim["spec"] if claim else disk["spec"].get("storage") or disk["spec"].get("pvc") or {}
        storage_class = of.get("storageClassName") or "local"
        if not self.is_snapshottable(storage_class):
            return {"name": name, "enabled": False,
                    "reason": f"No VolumeSnapshotClass: Volume snapshots are not configured for this StorageClass [{storage_class}] [{name}]"}
        return {"name": name, "enabled": True}

    def set_progress(self, vm_key, field, name):
        """status.snapshotInProgress or restoreInProgress; None: removed."""
        vm = self.find(VM, vm_key)
        if vm and (vm.get("status") or {}).get(field) != name:
            status = {**(vm.get("status") or {}), field: name}
            self.write_status(VM, vm_key, vm, {k: v for k, v in status.items() if v is not None})

    # --- snapshots -------------------------------------------------------------------------------------------------------

    def snapshot(self, key, snap):
        vm_key, name = (key[0], snap["spec"]["source"]["name"]), key[1]
        state = snap.get("status") or {}
        if snap["metadata"].get("deletionTimestamp"):
            if SNAPSHOT_GUARD in snap["metadata"].get("finalizers", []):
                content = state.get("virtualMachineSnapshotContentName")
                if content and snap["spec"].get("deletionPolicy", "Delete") == "Delete" and self.api.find(path(CONTENT, key[0], content)):
                    self.api.delete(path(CONTENT, key[0], content))
                    shutil.rmtree(self.folder / "snapshots" / content, ignore_errors=True)
                vm = self.find(VM, vm_key)
                if vm and (vm.get("status") or {}).get("snapshotInProgress") == name:
                    self.set_progress(vm_key, "snapshotInProgress", None)
                self.api.patch(path(SNAPSHOT, *key), {"metadata": {"finalizers": None}})
            return
        if state.get("phase") in ("Succeeded", "Failed"):  # the VM is let go of after that
            if ((self.find(VM, vm_key) or {}).get("status") or {}).get("snapshotInProgress") == name:
                self.set_progress(vm_key, "snapshotInProgress", None)
            return
        if SNAPSHOT_GUARD not in snap["metadata"].get("finalizers", []):
            snap = self.store(SNAPSHOT, key, self.api.patch(path(SNAPSHOT, *key), {"metadata": {"finalizers": [SNAPSHOT_GUARD]}}))
        vm, vmi = self.find(VM, vm_key), self.find(VMI, vm_key)

        def waits(words, progressing="False"):
            status = {"phase": "InProgress", "readyToUse": False, "conditions": self.conditions(progressing, "False", words, "Not ready")}
            if vm:
                status["sourceUID"] = vm["metadata"]["uid"]
            if [c["reason"] for c in state.get("conditions") or []] != [c["reason"] for c in status["conditions"]]:
                self.write_status(SNAPSHOT, key, snap, status)
            self.again(SNAPSHOT, key, 2 * self.STEP if progressing == "True" else 0.1)

        if not vm:
            return waits("Source does not exist")
        if annotation(vm, "vmctl.test/snapshot") == "fails":
            words = "VolumeSnapshot local failed: no space left in the pool"
            return self.write_status(SNAPSHOT, key, snap, {
                "phase": "Failed", "readyToUse": False, "sourceUID": vm["metadata"]["uid"], "error": {"message": words, "time": self.now()},
                "conditions": self.conditions("False", "False", "Operation failed", failure=words)})
        if annotation(vm, "vmctl.test/snapshot") == "slow":
            return waits("Source locked and operation in progress", "True")
        for volume in volumes_of(vm):
            claim = claim_of(volume)
            disk, there = (self.find(DV, (key[0], claim)), self.find(PVC, (key[0], claim))) if claim else (None, None)
            if claim and (not there or (disk and (disk.get("status") or {}).get("phase") != "Succeeded")):
                fault = "volume not populated" if there else "volume doesnt exist"
                return waits(f"Source not locked source {key[0]}/{vm_key[1]} {fault}: {claim}")
        busy = (vm.get("status") or {}).get("snapshotInProgress")
        if busy not in (None, name):
            return waits(f'Source not locked snapshot "{busy}" in progress')
        if not busy:
            self.set_progress(vm_key, "snapshotInProgress", name)
            return waits("Source locked and operation in progress", "True")
        self.take(key, snap, vm, vmi)
        self.again(SNAPSHOT, key, 0)

    def take(self, key, snap, vm, vmi):
        namespace, uid = key[0], snap["metadata"]["uid"]
        included = [v for v in volumes_of(vm) if self.snapshot_status(namespace, v)["enabled"]]
        excluded = [v["name"] for v in volumes_of(vm) if v not in included]
        content = f"vmsnapshot-content-{uid}"
        if not self.api.find(path(CONTENT, namespace, content)):
            backups = []
            for volume in included:
                claim = self.find(PVC, (namespace, claim_of(volume)))
                backups.append({"volumeName": volume["name"], "volumeSnapshotName": f"vmsnapshot-{uid}-volume-{volume['name']}",
                                "persistentVolumeClaim": {"metadata": {"name": claim["metadata"]["name"], "labels": claim["metadata"].get("labels") or {}},
                                                          "spec": {k: v for k, v in claim["spec"].items() if k not in ("volumeName", "dataSource", "dataSourceRef")}}})
                bytes_of = self.folder / "uploads" / namespace / claim_of(volume)
                if bytes_of.exists():
                    (self.folder / "snapshots" / content).mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(bytes_of, self.folder / "snapshots" / content / volume["name"])
            keep = {"metadata": {k: v for k, v in vm["metadata"].items() if k in ("name", "namespace", "uid", "labels", "annotations")}, "spec": vm["spec"]}
            self.api.post(path(CONTENT, namespace), {
                "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": "VirtualMachineSnapshotContent", "metadata": {"name": content, "namespace": namespace},
                "spec": {"source": {"virtualMachine": keep}, "virtualMachineSnapshotName": key[1], "volumeBackups": backups}})
        indications = []
        if vmi and (vmi.get("status") or {}).get("phase") == "Running":
            is_paused = any(c["type"] == "Paused" and c["status"] == "True" for c in vmi["status"].get("conditions") or [])
            has_agent = any(c["type"] == "AgentConnected" and c["status"] == "True" for c in vmi["status"].get("conditions") or [])
            indications = ["Online", "GuestAgent" if has_agent else "NoGuestAgent", *(["Paused"] if is_paused else [])]
        self.write_status(SNAPSHOT, key, snap, {
            "conditions": self.conditions("False", "True", "Operation complete", "Ready"), "creationTime": self.now(), "phase": "Succeeded", "readyToUse": True,
            **({"indications": indications} if indications else {}),
            "snapshotVolumes": {**({"includedVolumes": [v["name"] for v in included]} if included else {}), **({"excludedVolumes": excluded} if excluded else {})},
            "sourceUID": vm["metadata"]["uid"], "virtualMachineSnapshotContentName": content})

    # --- restores --------------------------------------------------------------------------------------------------------

    def restore(self, key, restore):
        metadata, spec, state = restore["metadata"], restore["spec"], copy.deepcopy(restore.get("status") or {})
        vm_key = key[0], spec["target"]["name"]
        vm, vmi = self.find(VM, vm_key), self.find(VMI, vm_key)
        mark = f"{metadata['name']}-{metadata['uid']}"

        def to(conditions, wait=self.STEP, **more):
            was = [(c["reason"], c["status"]) for c in state.get("conditions") or []]
            if was != [(c["reason"], c["status"]) for c in conditions] or more:
                self.write_status(RESTORE, key, restore, {"complete": False, **state, "conditions": conditions, **more})
            self.again(RESTORE, key, wait)

        if metadata.get("deletionTimestamp"):
            if RESTORE_GUARD in metadata.get("finalizers", []):
                if vm and (vm.get("status") or {}).get("restoreInProgress") == key[1]:
                    self.set_progress(vm_key, "restoreInProgress", None)
                self.api.patch(path(RESTORE, *key), {"metadata": {"finalizers": None}})
            return None
        if state.get("complete") or any(c["type"] == "Failure" for c in state.get("conditions") or []):
            return None
        if not state:
            return to(self.conditions("True", "False", "Initializing VirtualMachineRestore"), 0)
        if RESTORE_GUARD not in metadata.get("finalizers", []):
            owners = {} if metadata.get("ownerReferences") or not vm else {"ownerReferences": [self.owner(vm, "VirtualMachine", "kubevirt.io/v1")]}
            self.store(RESTORE, key, self.api.patch(path(RESTORE, *key), {"metadata": {"finalizers": [RESTORE_GUARD], **owners}}))
            return self.again(RESTORE, key, 0)
        if vmi:
            return self.not_ready(key, restore, vm_key, vmi, to)
        try:
            return self.reconcile(key, restore, state, vm_key, vm, mark, to)
        except kube.Refused as refused:  # it is tried again for ever
            if refused.code == 409:
                raise
            words = refused.body.get("message", "") if isinstance(refused.body, dict) else str(refused.body)
            return to(self.conditions("False", "False", words), 0.3)
        except LookupError as missing:
            return to(self.conditions("False", "False", missing.args[0]), 0.3)

    def not_ready(self, key, restore, vm_key, vmi, to):
        policy = restore["spec"].get("targetReadinessPolicy", "WaitGracePeriod")
        if policy == "FailImmediate":
            return to(self.conditions("False", "False", "Operation failed", failure="Restore target not ready"))
        if policy == "WaitGracePeriod" and self.age(restore) > GRACE:
            return to(self.conditions("False", "False", "Operation failed", failure="Restore target failed to be ready within 5m0s"))
        if policy == "StopTarget" and not vmi["metadata"].get("deletionTimestamp"):
            self.api.put(f"/apis/subresources.kubevirt.io/v1/namespaces/{key[0]}/virtualmachines/{vm_key[1]}/stop", {})
        return to(self.conditions("False", "False", "Waiting for target to be ready"), 0.1)

    def reconcile(self, key, restore, state, vm_key, vm, mark, to):
        namespace, uid, spec = key[0], restore["metadata"]["uid"], restore["spec"]
        name, in_place = spec["virtualMachineSnapshotName"], spec.get("volumeRestorePolicy") == "InPlace"
        snap = self.find(SNAPSHOT, (namespace, name))
        if not snap:
            raise LookupError(f"VMSnapshot {namespace}/{name} does not exist")
        content = self.api.find(path(CONTENT, namespace, snap["status"]["virtualMachineSnapshotContentName"]))
        if not content:
            raise LookupError(f"VMSnapshotContent {namespace}/{snap['status']['virtualMachineSnapshotContentName']} does not exist")
        done = vm and annotation(vm, LAST_RESTORE) == mark
        if vm and not done and snap["status"].get("sourceUID") != vm["metadata"]["uid"]:
            raise LookupError("restore source and restore target are different but restore target already exists")
        if vm and not done:
            busy = (vm.get("status") or {}).get("restoreInProgress")
            if busy not in (None, key[1]):
                raise LookupError(f"vm restore {busy} in progress")
            self.set_progress(vm_key, "restoreInProgress", key[1])
        if annotation(restore, "vmctl.test/restore") == "hangs" or (vm and annotation(vm, "vmctl.test/restore") == "hangs"):
            return to(self.conditions("True", "False", "Creating new PVCs", "Waiting for new PVCs"), 0.3)
        then = content["spec"]["source"]["virtualMachine"]
        templates = {t["metadata"]["name"]: t for t in then["spec"].get("dataVolumeTemplates") or []}
        plan = {}
        for backup in content["spec"].get("volumeBackups") or []:
            volume = next(v for v in volumes_of(then) if v["name"] == backup["volumeName"])
            claim = claim_of(volume) if in_place else f"restore-{uid}-{volume['name']}"
            plan[volume["name"]] = {"volumeName": volume["name"], "persistentVolumeClaim": claim, "volumeSnapshotName": backup["volumeSnapshotName"],
                                    **({"dataVolumeName": claim} if (volume.get("dataVolume") or {}).get("name") in templates else {})}
        if state.get("restores") != list(plan.values()) and plan:
            return to(self.conditions("True", "False", "Creating new PVCs", "Waiting for new PVCs"), restores=list(plan.values()))
        for backup in content["spec"].get("volumeBackups") or []:
            if not self.restore_claim(namespace, restore, vm, backup, plan[backup["volumeName"]], content, mark, in_place):
                return to(self.conditions("True", "False", "Creating new PVCs", "Waiting for new PVCs"))
        if not done:
            new = self.restored(then, templates, plan)
            for template in new["dataVolumeTemplates"]:
                disk = self.find(DV, (namespace, template["metadata"]["name"]))
                if not disk:
                    self.api.post(path(DV, namespace), {
                        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "spec": template["spec"],
                        "metadata": {"name": template["metadata"]["name"], "namespace": namespace, "labels": template["metadata"].get("labels") or {},
                                     "annotations": {**(template["metadata"].get("annotations") or {}), "restore.kubevirt.io/name": key[1], PREPOPULATED: "true"}}})
                if not disk or (disk.get("status") or {}).get("phase") != "Succeeded":
                    return to(self.conditions("True", "False", "Creating new PVCs", "Waiting for new PVCs"))
            kept = {t["metadata"]["name"] for t in new["dataVolumeTemplates"]}
            gone = [t["metadata"]["name"] for t in (vm or {"spec": {}})["spec"].get("dataVolumeTemplates") or [] if t["metadata"]["name"] not in kept]
            if state.get("deletedDataVolumes", []) != gone:
                return to(self.conditions("True", "False", "Creating new PVCs", "Waiting for new PVCs"), deletedDataVolumes=gone)
            if not new["dataVolumeTemplates"]:
                new.pop("dataVolumeTemplates")
            self.write_target(namespace, vm_key, vm, then, new, mark, spec.get("patches"))
            return to(self.conditions("True", "False", "Updating target spec", "Waiting for target update"))
        for disk in state.get("deletedDataVolumes") or []:
            if self.find(DV, (namespace, disk)):
                self.api.delete(path(DV, namespace, disk))
        self.set_progress(vm_key, "restoreInProgress", None)
        self.write_status(RESTORE, key, restore, {**state, "complete": True, "restoreTime": self.now(), "conditions": self.conditions("False", "True", "Operation complete")})
        return None

    def restore_claim(self, namespace, restore, vm, backup, planned, content, mark, in_place):
        """Whether the claim is there, made of the snapshot."""
        name, was = planned["persistentVolumeClaim"], backup["persistentVolumeClaim"]
        claim = self.api.find(path(PVC, namespace, name))
        if claim and in_place and annotation(claim, LAST_RESTORE) != mark:
            owner = next((o for o in claim["metadata"].get("ownerReferences") or [] if o["kind"] == "DataVolume"), None)
            if owner:  # CDI must not fill it anew
                self.api.patch(path(DV, namespace, owner["name"]), {"metadata": {"annotations": {PREPOPULATED: "true", "restore.kubevirt.io/name": restore["metadata"]["name"]}}})
            if not claim["metadata"].get("deletionTimestamp"):
                self.api.delete(path(PVC, namespace, name))
            return False
        if not claim:
            disk = planned.get("dataVolumeName")
            source = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": backup["volumeSnapshotName"]}
            self.api.post(path(PVC, namespace), {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": {**was["spec"], "dataSource": source, "dataSourceRef": source},
                "metadata": {"name": name, "namespace": namespace, "labels": {**(was["metadata"].get("labels") or {}), "restore.kubevirt.io/source-vm-name": restore["spec"]["target"]["name"]},
                             "annotations": {LAST_RESTORE: mark, "restore.kubevirt.io/name": restore["metadata"]["name"],
                                             **({"cdi.kubevirt.io/storage.populatedFor": disk} if disk else {})},
                             **({"ownerReferences": [self.owner(vm, "VirtualMachine", "kubevirt.io/v1")]} if vm and not disk else {})}})
            self.api.patch(path(PVC, namespace, name, "status"), {"status": {"phase": "Bound", "capacity": was["spec"]["resources"]["requests"], "accessModes": was["spec"]["accessModes"]}})
            kept = self.folder / "snapshots" / content["metadata"]["name"] / backup["volumeName"]
            if kept.exists():
                (self.folder / "uploads" / namespace).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(kept, self.folder / "uploads" / namespace / name)
            return False
        return True

    @staticmethod
    def restored(then, templates, plan):
        """The definition of then, on the restored claims."""
        spec = copy.deepcopy(then["spec"])
        renamed = {}
        for volume in spec["template"]["spec"].get("volumes") or []:
            planned = plan.get(volume["name"])
            if not planned:
                continue
            if "persistentVolumeClaim" in volume:
                volume["persistentVolumeClaim"]["claimName"] = planned["persistentVolumeClaim"]
            elif planned.get("dataVolumeName"):
                renamed[volume["dataVolume"]["name"]] = planned["dataVolumeName"]
                volume["dataVolume"]["name"] = planned["dataVolumeName"]
            else:  # of a data volume that is not the VM's
                del volume["dataVolume"]
                volume["persistentVolumeClaim"] = {"claimName": planned["persistentVolumeClaim"]}
        spec["dataVolumeTemplates"] = copy.deepcopy(list(templates.values()))
        for template in spec["dataVolumeTemplates"]:
            template["metadata"]["name"] = renamed.get(template["metadata"]["name"], template["metadata"]["name"])
        return spec

    def write_target(self, namespace, vm_key, vm, then, new, mark, patches):
        if not vm:
            metadata = then["metadata"]
            thing = patched({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "spec": {**new, "runStrategy": "Halted"}, "metadata": {
                "name": vm_key[1], "namespace": namespace, "labels": metadata.get("labels") or {},
                "annotations": {**(metadata.get("annotations") or {}), LAST_RESTORE: mark}}}, patches)
            thing["spec"].pop("running", None)
            self.api.post(path(VM, namespace), thing)
            return
        new.pop("running", None)
        strategy = vm["spec"].get("runStrategy") or "Halted"
        self.store(VM, vm_key, self.api.patch(path(VM, *vm_key), [
            {"op": "test", "path": "/metadata/resourceVersion", "value": vm["metadata"]["resourceVersion"]},
            {"op": "add", "path": "/metadata/annotations", "value": {**(vm["metadata"].get("annotations") or {}), LAST_RESTORE: mark}},
            {"op": "replace", "path": "/spec", "value": {**new, "runStrategy": strategy}}], "json-patch+json"))

    # --- clones ----------------------------------------------------------------------------------------------------------

    def clone(self, key, clone):
        state, spec, uid = copy.deepcopy(clone.get("status") or {}), clone["spec"], clone["metadata"]["uid"]
        if clone["metadata"].get("deletionTimestamp") or state.get("phase") in ("Succeeded", "Failed"):
            return
        namespace, source = key[0], spec["source"]
        name = (spec.get("target") or {}).get("name") or state.get("targetName") or f"{source['name']}-clone-{uid[:5]}"
        of_vm = source["kind"] == "VirtualMachine"
        snapshot, restore = f"tmp-snapshot-{uid}" if of_vm else source["name"], f"tmp-restore-{uid}"
        belongs = [self.owner(clone, "VirtualMachineClone", "clone.kubevirt.io/v1beta1")]

        def to(phase, words="Still processing", wait=self.STEP, **more):
            new = {**state, "phase": phase, "conditions": self.conditions("True", "False", words), **more}
            if state.get("phase") != phase or more:
                self.write_status(CLONE, key, clone, new)
            self.again(CLONE, key, wait)

        vm = self.find(VM, (namespace, source["name"])) if of_vm else None
        if of_vm and not vm:
            return to("SnapshotInProgress", "Source doesnt exist", 0.3)
        unable = [v["name"] for v in volumes_of(vm) if claim_of(v) and not self.snapshot_status(namespace, v)["enabled"]] if vm else []
        if unable:
            words = f"Virtual Machine volume {unable[0]} is not supported for snapshots"
            self.write_status(CLONE, key, clone, {**state, "phase": "Failed", "conditions": self.conditions("False", "False", words)})
            return None
        taken = self.find(SNAPSHOT, (namespace, snapshot))
        if not taken and of_vm and state.get("phase") in (None, "SnapshotInProgress"):
            self.api.post(path(SNAPSHOT, namespace), {
                "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": "VirtualMachineSnapshot", "metadata": {"name": snapshot, "namespace": namespace, "ownerReferences": belongs},
                "spec": {"source": source}})
            return to("SnapshotInProgress", snapshotName=snapshot)
        if not taken or not (taken.get("status") or {}).get("readyToUse"):
            return to("SnapshotInProgress")
        if annotation(clone, "vmctl.test/clone") == "hangs" or (vm and annotation(vm, "vmctl.test/clone") == "hangs"):
            return to("RestoreInProgress", wait=0.3)
        running = self.find(RESTORE, (namespace, restore))
        if not running:
            then = self.api.get(path(CONTENT, namespace, taken["status"]["virtualMachineSnapshotContentName"]))["spec"]["source"]["virtualMachine"]
            macs = spec.get("newMacAddresses") or {}
            where = "/spec/template/spec/domain"
            patches = [json.dumps({"op": "replace", "path": f"{where}/devices/interfaces/{i}/macAddress", "value": macs.get(card["name"], "")})
                       for i, card in enumerate(then["spec"]["template"]["spec"]["domain"]["devices"].get("interfaces") or [])]
            patches += [json.dumps({"op": "replace", "path": f"{where}/firmware/{part}", "value": ""}) for part in ("serial", "uuid")]
            self.api.post(path(RESTORE, namespace), {
                "apiVersion": "snapshot.kubevirt.io/v1beta1", "kind": "VirtualMachineRestore", "metadata": {"name": restore, "namespace": namespace, "ownerReferences": belongs},
                "spec": {"target": {"apiGroup": "kubevirt.io", "kind": "VirtualMachine", "name": name}, "virtualMachineSnapshotName": snapshot, "patches": patches}})
            return to("RestoreInProgress", restoreName=restore)
        if not (running.get("status") or {}).get("complete"):
            return to("RestoreInProgress")
        if not self.find(VM, (namespace, name)):
            return to("CreatingTargetVM")
        self.api.delete(path(RESTORE, namespace, restore))
        if of_vm:
            self.api.delete(path(SNAPSHOT, namespace, snapshot))
        self.write_status(CLONE, key, clone, {"phase": "Succeeded", "targetName": name, "creationTime": self.now(),
                                              "conditions": self.conditions("False", "True", "Ready")})
        return None
