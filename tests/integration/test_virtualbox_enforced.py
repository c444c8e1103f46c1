#!/usr/bin/env python3
"""VirtualBox: what `caps --vm` says no to is refused in the words of the probe, and nothing is touched (enforced.py)."""

import hashlib
import json
import os
import pathlib
import signal

import enforced
import harness
from harness import run, vmctl

harness.enter("--virtualbox", cached=False)
os.environ["VMCTL_BACKEND"] = "virtualbox"
WORLD = pathlib.Path(os.environ["WORLD"])
MACHINES = WORLD / "machines"
KINDS = ("running", "stopped", "saved", "paused", "bare", "shared", "aborted")
# Limited at most, on all of these VMs.
POSSIBLE = {"change.apply", "display.address", "lifecycle.autostart", "lifecycle.delete"}


def world(_):
    """All that an operation could have touched: settings, disks and memory of all VMs but what grows by itself, and the registry."""
    kept = [p for p in [*MACHINES.rglob("*"), WORLD / "virtualbox/VirtualBox.xml"] if p.is_file() and "Logs" not in p.parts and p.suffix != ".log"]
    return {"files": {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in kept}}


def states():
    return {vm["name"]: vm["state"] for vm in json.loads(vmctl("list", "-o", "json").out)}


def create(name, *more, display="none", serial="serial: {log: serial.log}", disk=""):
    done = vmctl("create", "-", *more, input=f"name: {name}\nbackend: virtualbox\nmemory: 32MiB\nnetworks: []\ndisplay: {display}\n"
                 f"disks: [{{name: root, image: {harness.GUEST}{disk}}}]\n{serial}\n"
                 "virtualbox: {modifyvm: {vm-execution-engine: recompiler, paravirt-provider: none}}\n")
    assert done.status == 0, str(done)


class Enforced(harness.Case):
    @classmethod
    def setUpClass(cls):
        create("running", "--start")
        create("stopped")
        create("saved", "--start")
        create("paused", "--start")
        create("bare", "--start", serial="", disk=", bus: ide")
        create("shared", "--start", disk=", shared: true")
        create("aborted", "--start")
        for words in (["save", "saved"], ["pause", "paused"], ["snapshot", "create", "stopped", "one"]):
            done = vmctl(*words)
            assert done.status == 0, str(done)
        identity = json.loads(vmctl("get", "aborted", "-o", "json").out)["id"]
        for pid in harness.processes("VBoxHeadless"):
            if identity in pathlib.Path(f"/proc/{pid}/cmdline").read_text():
                os.kill(pid, signal.SIGKILL)
        done = vmctl("wait", "aborted", "--for", "stopped", "--timeout", "60s")
        assert done.status in (0, 6), str(done)

    @classmethod
    def tearDownClass(cls):
        for vm in json.loads(vmctl("list", "-o", "json").out):
            vmctl("delete", vm["id"], "--force")

    def test_what_is_not_possible_is_refused(self):
        elsewhere = WORLD / "elsewhere"
        before = states()
        # A snapshot has the disks and, of a VM that runs, its memory.
        enforced.walk(self, KINDS, world, POSSIBLE, enforced.operations(f"virtualbox:///?home={elsewhere}&ipc=elsewhere",
                                                                        snapshot_disk=["snapshot", "create", "VM", "two"], snapshot_external=["snapshot", "create", "VM", "two"]))
        self.assertEqual(states(), before)


harness.main()
