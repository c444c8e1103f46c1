#!/usr/bin/env python3
"""KubeVirt: what `caps --vm` says no to is refused in the words of the probe, and nothing is touched (enforced.py)."""

import json
import os
import sys

import enforced
import harness
from harness import vmctl

harness.enter("--kubevirt", "--kvm", "none", cached=False)
sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402

os.environ["VMCTL_BACKEND"] = "kubevirt"
KINDS = ("running", "stopped", "paused", "bare", "crashed")
# Of the API's groups, all that an operation on a VM makes or changes.
COLLECTIONS = ("/apis/kubevirt.io/v1/namespaces/default/virtualmachines", "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances",
               "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations", "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes",
               "/apis/snapshot.kubevirt.io/v1beta1/namespaces/default/virtualmachinesnapshots", "/api/v1/namespaces/default/persistentvolumeclaims",
               "/apis/clone.kubevirt.io/v1beta1/namespaces/default/virtualmachineclones", "/api/v1/namespaces/default/secrets")
# Limited at most, on all of these VMs.
POSSIBLE = {"lifecycle.clone", "lifecycle.delete", "lifecycle.autostart", "change.apply", "device.detach", "device.cdrom.change", "device.disk.hotplug",
            "device.nic.hotplug", "device.usb", "storage.grow", "snapshot.disk"}
API = kube.of_world()


def world(_):
    """The version of every object: each change of one makes another."""
    return {"objects": {f"{item['metadata']['name']} of {path}": item["metadata"]["resourceVersion"] for path in COLLECTIONS
                        for item in API.get(path)["items"]}}


def create(name, *flags, more="", **annotations):
    notes = {f"vmctl.test/{key}": value for key, value in annotations.items()}
    patch = [{"op": "add", "path": "/spec/template/metadata/annotations", "value": notes}] if notes else []
    done = vmctl("create", "-", *flags, input=f"name: {name}\nmemory: 512MiB\n{more}\nkubevirt: {{patch: {json.dumps(patch)}}}\n"
                 'disks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n')
    assert done.status == 0, str(done)


class Enforced(harness.Case):
    @classmethod
    def setUpClass(cls):
        create("running", "--start")
        create("stopped")
        create("paused", "--start")
        create("bare", "--start", more="display: none\ncpus: {count: 1, max: 1}", agent="no")  # no room for a second CPU
        create("crashed", "--start")
        done = vmctl("pause", "paused")
        assert done.status == 0, str(done)
        API.patch(f"{COLLECTIONS[0]}/crashed", {"metadata": {"annotations": {"vmctl.test/guest": "crash"}}})
        done = vmctl("wait", "crashed", "--for", "stopped", "--timeout", "60s")
        assert done.status in (0, 6), str(done)

    def test_what_is_not_possible_is_refused(self):
        enforced.walk(self, KINDS, world, POSSIBLE, enforced.operations(
            "host:node02", memory_hotplug=["set", "VM", "memory.size=1GiB", "--live"], snapshot_external=None,
            device_nic_hotplug=["attach", "VM", "nic", "name=more", "type=multus", "source=one", "--live"]))


harness.main()
