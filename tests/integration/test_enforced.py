#!/usr/bin/env python3
"""What `caps --vm` says no to is refused: each operation on VMs of many kinds, in the words of the probe, and nothing is touched."""

import hashlib
import json
import os
import pathlib
import re
import subprocess
import xml.etree.ElementTree as ElementTree

import harness
from harness import virsh, vmctl

harness.enter("--daemons")
IMAGES = pathlib.Path("/var/lib/libvirt/images")
HERE = "qemu:///system"

# The operation of each feature that a VM may have something against: its arguments, where VM is the name.
OPERATIONS = {
    "lifecycle.start": ["start", "VM"],
    "lifecycle.stop": ["stop", "VM", "--grace", "1s"],
    "lifecycle.restart": ["restart", "VM", "--grace", "1s"],
    "lifecycle.reset": ["reset", "VM"],
    "lifecycle.pause": ["pause", "VM"],
    "lifecycle.resume": ["resume", "VM"],
    "lifecycle.save": ["save", "VM"],
    "lifecycle.rename": ["rename", "VM", "other"],
    "lifecycle.clone": ["clone", "VM", "other"],
    "lifecycle.clone.linked": ["clone", "VM", "other", "--linked"],
    "change.apply": ["set", "VM", "watchdog=reset"],
    "cpu.hotplug": ["set", "VM", "cpus.count=2", "--live"],
    "memory.hotplug": ["set", "VM", "memory.size=512MiB", "--live"],
    "memory.balloon": ["set", "VM", "memory.size=24MiB", "--live"],
    "storage.grow": ["set", "VM", "disk.root.size=64MiB"],
    "device.disk.hotplug": ["attach", "VM", "disk", "name=more", "size=1MiB", "--live"],
    "device.nic.hotplug": ["attach", "VM", "nic", "name=more", "type=user", "--live"],
    "device.detach": ["detach", "VM", "root", "--live"],
    "device.cdrom.change": ["cdrom", "eject", "VM"],
    "share.virtiofs": ["attach", "VM", "share", "name=src", "path=/usr/share", "type=virtiofs", "--live"],
    "snapshot.disk": ["snapshot", "create", "VM", "one", "--no-memory"],
    "snapshot.memory": ["snapshot", "create", "VM", "one", "--memory"],
    "snapshot.quiesce": ["snapshot", "create", "VM", "one", "--quiesce"],
    "migrate.live": ["migrate", "VM", "--to", HERE, "--live"],
    "migrate.offline": ["migrate", "VM", "--to", HERE, "--offline"],
    "migrate.storage": ["migrate", "VM", "--to", HERE, "--storage"],
    "migrate.tunnelled": ["migrate", "VM", "--to", HERE, "--live", "--tunnelled"],
    "migrate.postcopy": ["migrate", "VM", "--to", HERE, "--live", "--postcopy"],
    "display.screenshot": ["screenshot", "VM", "/tmp/picture.png"],
    "display.keys": ["send-key", "VM", "enter"],
    "console.serial": ["console", "VM", "--until", "never"],
    "guest.exec": ["exec", "VM", "--via", "agent", "--", "true"],
    "guest.copy": ["cp", "--via", "agent", "/etc/hostname", "VM:/tmp/x"],
    "guest.copy.out": ["cp", "--via", "agent", "VM:/etc/hostname", "/tmp/x"],
    "guest.freeze": ["freeze", "VM"],
    "guest.thaw": ["thaw", "VM"],
    "migrate.abort": ["migrate", "--abort", "VM"],
    "display.address": ["display", "VM"],
    "guest.forward": ["port-forward", "VM", "0:22"],
    "lifecycle.autostart": ["set", "VM", "autostart=on"],
    "lifecycle.delete": ["delete", "VM"],
    "image.export": ["export", "VM", "/tmp/exported.ova"],
    "snapshot.external": ["snapshot", "create", "VM", "one", "--no-memory"],
    "device.usb": ["attach", "VM", "usb", "device=1d6b:0001", "--live"],
    "guest.password": ["set-password", "VM", "root"],
}


def world(name):
    """All that an operation on the VM could have touched: its documents, its state, what its disks hold, what else there is. (The guest
    writes to no disk: it only prints.)"""
    asked = virsh(f"dumpxml {name}; echo; dumpxml --inactive {name}; echo; domstate --reason {name}; list --all --name; snapshot-list {name}").out
    paths = sorted(set(re.findall(r"<source file='([^']*)'", asked)))
    return {"libvirt": asked, "disks": {p: hashlib.sha256(pathlib.Path(p).read_bytes()).hexdigest() for p in paths}, "files": sorted(os.listdir(IMAGES))}


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

    def attempt(self, name, feature, here):
        """What is wrong with how the operation is refused; NULL: nothing."""
        words = [word.replace("VM", name) if word == "VM" or word.startswith("VM:") else word for word in OPERATIONS[feature]]
        at = words.index("--") if "--" in words else len(words)
        done = vmctl(*words[:at], "-o", "json", "--timeout", "20s", *words[at:], input="secret\n")
        said = f"{feature} of {name}: the probe says: {here['reason']} | {here.get('remedy')}\n"
        try:
            error = json.loads(done.err.splitlines()[-1])["error"]
        except (json.JSONDecodeError, IndexError, KeyError):
            return f"{said}and the operation: {done}"
        # A refusal for several reasons at once holds the one that the probe knows.
        if here["reason"] in error["message"] and error.get("next") == here.get("remedy") and error["code"] in ("unsupported", "invalid-state", "not-found"):
            return None
        return f"{said}the refusal: {error['code']}: {error['message']} | {error.get('next')}"

    def test_what_the_host_lacks_is_refused(self):
        """A VM that the host has something missing for is not made: in the words of caps --here."""
        here = {e["feature"]: e["here"] for e in self.json(vmctl("caps", "--here", "-o", "json")) if "here" in e}
        keys = {"accel.kvm": "accel=kvm", "memory.hugepages": "memory.hugepages=true", "display.opengl": "display.gl=true"}
        lacking = {feature: key for feature, key in keys.items() if here[feature]["level"] == "no"}
        before = virsh("list", "--all", "--name").out, sorted(os.listdir(IMAGES))
        for feature, key in lacking.items():
            for more in ([], ["--start"]):
                done = self.status(vmctl("create", "other", "--image", harness.GUEST, "--memory", "32MiB", "--set", key, *more, "-o", "json"), 3)
                error = json.loads(done.err.splitlines()[-1])["error"]
                self.assertEqual((error["message"], error["next"]), (here[feature]["reason"], here[feature]["remedy"]), feature)
                self.assertEqual((virsh("list", "--all", "--name").out, sorted(os.listdir(IMAGES))), before)
        # What would be sent can be looked at all the same.
        self.ok(vmctl("create", "other", "--image", harness.GUEST, "--memory", "32MiB", "--set", "memory.hugepages=true", "--dry-run"))

    def test_what_is_not_possible_is_refused(self):
        """The same refusal of another VM is not tried again: it is the same code."""
        known, wrong = {}, []
        for name in KINDS:
            answers = {e["feature"]: e["here"] for e in self.json(vmctl("caps", "--vm", name, "-o", "json")) if "here" in e}
            before = world(name)
            for feature in OPERATIONS:
                here = answers.get(feature, {"level": "yes"})
                refusal = (feature, re.sub(rf"\b{name}\b", "VM", str(here.get("reason"))))
                if here["level"] != "no" or refusal in known:
                    continue
                known[refusal] = name
                wrong.append(self.attempt(name, feature, here))
                after = world(name)
                if after != before:
                    wrong.append(f"{feature} of {name} touched: " + ", ".join(k for k in after if after[k] != before[k]))
                before = after
        wrong = [text for text in wrong if text]
        self.assertFalse(wrong, "\n\n" + "\n".join(wrong))
        # Each operation that can be refused was, on one VM or another; these stand in nobody's way here.
        never = set(OPERATIONS) - {feature for feature, _ in known}
        self.assertLessEqual(never, POSSIBLE, "nothing says no to these any more: a VM that they are refused for is missing")


harness.main()
