#!/usr/bin/env python3
"""What `caps --vm` says no to is refused: each operation on VMs of many kinds, in the words of the probe, and nothing is touched."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import enforced
import harness
from harness import virsh, vmctl

harness.enter("--daemons")
IMAGES = pathlib.Path("/var/lib/libvirt/images")


def world(name):
    """All that an operation on the VM could have touched: its documents, its state, what its disks hold, what else there is. (The guest
    writes to no disk: it only prints.)"""
    asked = virsh(f"dumpxml {name}; echo; dumpxml --inactive {name}; echo; domstate --reason {name}; list --all --name; snapshot-list {name}").out
    paths = sorted(set(re.findall(r"<source file='([^']*)'", asked)))
    return {"libvirt": {"says": asked}, "disks": {p: hashlib.sha256(pathlib.Path(p).read_bytes()).hexdigest() for p in paths}, "files": dict.fromkeys(os.listdir(IMAGES), "there")}


def create(name, *more, memory="32MiB"):
    done = vmctl("create", name, "--image", harness.GUEST, "--memory", memory, *more)
    assert done.status == 0, str(done)


KINDS = ("raw", "plain", "stopped", "uefi", "saved", "paused", "agent", "bare", "transient")
# Limited at most, on all of these VMs.
POSSIBLE = {"lifecycle.delete", "memory.balloon", "device.detach", "share.virtiofs", "guest.forward"}


class Enforced(harness.Case):
    @classmethod
    def setUpClass(cls):
        raw, qcow2 = ("--set", "disks.root.format=raw"), ("--set", "disks.root.format=qcow2")
        create("raw", *raw, "--start")
        create("plain", *qcow2, "--start")
        create("stopped", *qcow2)
        create("uefi", *qcow2, "--set", "firmware=uefi", "--set", "machine=q35", "--start", memory="64MiB")
        create("saved", *qcow2, "--start")
        create("paused", *qcow2, "--start")
        create("agent", *qcow2, "--set", "guestAgent=true", "--start")  # a channel, and nothing at its other end
        create("bare", *qcow2, "--set", "display.type=none", "--start")
        for verb, name in (("save", "saved"), ("pause", "paused")):
            done = vmctl(verb, name)
            assert done.status == 0, str(done)
        # One that libvirt forgets when it ends, and one that stands on what vmctl did not make.
        tree = ElementTree.fromstring(virsh("dumpxml", "--inactive", "stopped").out)
        subprocess.run(["cp", IMAGES / "stopped-root.qcow2", IMAGES / "transient.qcow2"], check=True)
        tree.find("name").text = "transient"
        tree.remove(tree.find("uuid"))
        for source in tree.iter("source"):
            if source.get("file"):
                source.set("file", str(IMAGES / "transient.qcow2"))
        for nic in tree.iter("interface"):
            nic.remove(nic.find("mac"))
        path = pathlib.Path("/tmp/transient.xml")
        path.write_text(ElementTree.tostring(tree, encoding="unicode"))
        done = virsh("create", str(path))
        assert done.status == 0, str(done)

    def test_what_the_host_lacks_is_refused(self):
        """A VM that the host has something missing for is not made: in the words of caps --here."""
        here = {e["feature"]: e["here"] for e in self.json(vmctl("caps", "--here", "-o", "json")) if "here" in e}
        keys = {"accel.kvm": "accel=kvm", "memory.hugepages": "memory.hugepages=true", "display.opengl": "display.gl=true"}
        lacking = {feature: key for feature, key in keys.items() if here[feature]["level"] == "no"}
        before = virsh("list", "--all", "--name").out, sorted(os.listdir(IMAGES))
        for feature, key in lacking.items():
            for more in ([], ["--start"], ["--dry-run"]):
                done = self.status(vmctl("create", "other", "--image", harness.GUEST, "--memory", "32MiB", "--set", key, *more, "-o", "json"), 3)
                error = json.loads(done.err.splitlines()[-1])["error"]
                self.assertEqual((error["message"], error["next"]), (here[feature]["reason"], here[feature]["remedy"]), feature)
                self.assertEqual((virsh("list", "--all", "--name").out, sorted(os.listdir(IMAGES))), before)
        # What would be sent can be looked at all the same.
        spec = pathlib.Path(os.environ["WORLD"], "other.yaml")
        spec.write_text(f"name: other\nmemory: {{size: 32MiB, hugepages: true}}\ndisks: [{{name: root, image: {harness.GUEST}}}]\n")
        self.assertIn("<hugepages/>", self.ok(vmctl("render", str(spec))).out)

    def test_what_is_not_possible_is_refused(self):
        enforced.walk(self, KINDS, world, POSSIBLE, enforced.operations("qemu:///system"))


harness.main()
