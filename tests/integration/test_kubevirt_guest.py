#!/usr/bin/env python3
"""What the agent in a guest of KubeVirt's tells, and what is asked of the guest through it."""

import json
import os
import pathlib
import sys

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402


def machine(name, **annotations):
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": {
        "runStrategy": "Manual", "template": {"metadata": {"annotations": {f"vmctl.test/{k}": v for k, v in annotations.items()}}, "spec": {
            "domain": {"memory": {"guest": "512Mi"}, "devices": {"disks": [{"name": "d0", "disk": {"bus": "virtio"}}]}},
            "volumes": [{"name": "d0", "containerDisk": {"image": "quay.io/kubevirt/cirros-container-disk-demo"}}]}}}}


class Guest(harness.Case):
    @classmethod
    def setUpClass(cls):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        cls.api = kube.of_world()

    def start(self, **annotations):
        name = self._testMethodName.removeprefix("test_").replace("_", "-")
        path = pathlib.Path(os.environ["WORLD"], f"{name}.yaml")
        path.write_text(json.dumps(machine(name, **annotations)))
        self.ok(vmctl("create", str(path), "--start"))
        self.addCleanup(vmctl, "delete", name, "--force")
        return name

    def requests(self):
        """What was asked of the API server, by its own log."""
        log = pathlib.Path(os.environ["WORLD"], "kubernetes/audit.log").read_text().split("\n")[:-1]  # the last may be half written
        return [json.loads(line)["requestURI"] for line in log if "vmctl/" in json.loads(line).get("userAgent", "")]

    def test_what_is_inside(self):
        name = self.start()
        before = len(self.requests())
        inside = self.one(vmctl("get", name, "-o", "json"))["guest"]
        # Recording 58.
        self.assertEqual(inside["os"], {"id": "debian", "name": "Debian GNU/Linux", "version": "12", "prettyName": "Debian GNU/Linux 12 (bookworm)"})
        self.assertEqual((inside["hostname"], inside["kernel"], inside["arch"], inside["timezone"], inside["agentVersion"]),
                         (name, "6.1.0", "x86_64", "UTC", "7.2.0"))
        self.assertEqual(inside["filesystems"], [{"mount": "/", "type": "ext4", "device": "vda1", "totalBytes": 1 << 30, "usedBytes": 1 << 28}])
        self.assertEqual(inside["users"], [{"name": "debian", "since": "2025-11-23T05:00:00Z"}])
        shown = self.ok(vmctl("describe", name)).out
        for word in ("Debian GNU/Linux 12 (bookworm)", "MOUNT", "ext4", "debian"):
            self.assertIn(word, shown)
        # One request more than without, and none where a table has no place for it.
        asked = [r for r in self.requests()[before:] if "subresources" in r]
        self.assertEqual([r.rpartition("/")[2] for r in asked], ["guestosinfo"] * 2)
        self.ok(vmctl("get", name))
        self.assertEqual(len([r for r in self.requests()[before:] if "subresources" in r]), 2)
        harness.proves("guest.info", backend="kubevirt")

    def test_long_lists_are_whole(self):
        name = self.start(filesystems="13")
        mounts = [fs["mount"] for fs in self.one(vmctl("get", name, "-o", "json"))["guest"]["filesystems"]]
        self.assertEqual(mounts, ["/", *(f"/srv/{n}" for n in range(1, 13))])

    def test_a_reboot_by_the_guest(self):
        name = self.start()
        vmi = self.api.get(f"/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/{name}")
        self.counts(name)
        self.ok(vmctl("restart", name, "--soft"))
        self.wait_for("the second boot", lambda: vmctl("logs", name).out.count("it boots") == 2, seconds=120)
        # It is the same instance: what waits for a restart goes on waiting.
        after = self.api.get(f"/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/{name}")
        self.assertEqual(after["metadata"]["uid"], vmi["metadata"]["uid"])
        self.ok(vmctl("pause", name))
        self.status(vmctl("restart", name, "--soft"), 6, f"{name} is paused", f"vmctl resume {name}")
        self.ok(vmctl("stop", name, "--force"))
        self.status(vmctl("restart", name, "--soft"), 6, f"{name} is stopped", f"vmctl start {name}")
        self.status(vmctl("restart", name, "--soft", "--force"), 2, "--soft")
        harness.proves("lifecycle.reboot", backend="kubevirt")

    def test_nobody_tells(self):
        name = self.start(agent="no")
        self.assertNotIn("guest", self.one(vmctl("get", name, "-o", "json")))
        self.ok(vmctl("stop", name, "--force"))
        self.assertNotIn("guest", self.one(vmctl("get", name, "-o", "json")))


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
