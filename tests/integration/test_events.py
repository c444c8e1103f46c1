#!/usr/bin/env python3
"""Events without a gap: the daemon is killed and started again while VMs change, and what happened is told all the same."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

import harness
from harness import GUEST, VMCTL, daemons, processes, virsh, vmctl


def pid_of(vm):
    """QEMU's process of a VM."""
    with open(f"/run/libvirt/qemu/{vm}.pid") as file:
        return int(file.read())


def kill_daemon():
    for pid in processes("libvirtd"):
        os.kill(pid, signal.SIGKILL)
    while processes("libvirtd"):
        time.sleep(0.02)


class Following:
    """vmctl events --follow in the background; what it wrote so far."""

    def __init__(self, *arguments):
        self.out = tempfile.NamedTemporaryFile("w+")
        self.err = tempfile.NamedTemporaryFile("w+")
        self.process = subprocess.Popen([VMCTL, "events", "--follow", "-o", "jsonl", *arguments], stdout=self.out,
                                        stderr=self.err, stdin=subprocess.DEVNULL)

    def listening(self):
        with open(self.err.name) as file:
            return file.read().count("listening")

    def events(self):
        with open(self.out.name) as file:
            return [json.loads(line) for line in file if line.endswith("\n")]

    def about(self, name, kind=None):
        return [e for e in self.events() if e["name"] == name and kind in (None, e["kind"])]

    def end(self):
        """^C: its status. Where that is not the one of ^C, what it said is told, as a sanitizer's report would be there."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=120)
        if status != 130:
            with open(self.err.name) as file:
                said = file.read()
            print(said, file=sys.stderr)
            if leaked(said) == LOST_CALL:
                return 130
        return status


# What libvirt's client (9.0) loses when its daemon is killed while one of its own messages (keep-alive) waits to be sent: the call, the
# message and its buffer of 64 KiB. No stack names it, as libvirt keeps no frame pointers.
LOST_CALL = {80, 104, 65540}


def leaked(report):
    """The sizes of the objects in a report of leaks; empty: it is none."""
    leaks = re.findall(r"leak of (\d+) byte\(s\) in (\d+) object", report)
    return {int(size) // int(count) for size, count in leaks}


class Gaps(harness.Case):
    @classmethod
    def setUpClass(cls):
        daemons()

    def make(self, name, start=False):
        self.ok(vmctl("create", name, "--image", GUEST, "--memory", "32MiB", "--network", "none", "--set",
                      "display.type=none", *(["--start"] if start else [])))

    def attach(self, name):
        """A disk of its own, hot."""
        disk = os.environ["TMPDIR"] + f"/{name}.img"
        subprocess.run(["truncate", "-s", "1M", disk], check=True)
        self.ok(virsh("attach-disk", name, disk, "vdb", "--live"))

    def follow(self, *arguments):
        following = Following(*arguments)
        self.addCleanup(following.process.kill)
        self.wait_for("it listens", following.listening)
        return following

    def tearDown(self):
        daemons()
        for name in virsh("list", "--all", "--name").out.split():
            self.ok(vmctl("delete", name, "--force"))

    def test_what_happened_meanwhile(self):
        for name in ("dies", "again", "plugged", "same", "ejected"):
            self.make(name, start=True)
        for name in ("old-name", "changed", "gone", "still"):
            self.make(name)
        self.attach("ejected")
        following = self.follow()

        # While it is stopped it cannot hear: what the daemon tells meanwhile goes nowhere, as with a daemon that is away.
        following.process.send_signal(signal.SIGSTOP)
        kill_daemon()
        os.kill(pid_of("dies"), signal.SIGKILL)
        daemons()
        # libvirt takes its QEMUs up again one by one: what comes in between ("destroy") fails although it is done.
        self.wait_for("the daemon is back",
                      lambda: virsh("qemu-monitor-command", "again", "--hmp", "info status").status == 0)
        self.ok(virsh("destroy", "again"))
        self.ok(virsh("start", "again"))
        self.attach("plugged")
        self.ok(virsh("domrename", "old-name", "new-name"))
        self.ok(virsh("setvcpus", "changed", "1", "--config", "--maximum"))
        self.ok(virsh("desc", "changed", "--config", "other words"))
        self.ok(virsh("undefine", "gone"))
        self.make("added")
        before = len(following.events())
        following.process.send_signal(signal.SIGCONT)
        self.wait_for("it listens again", lambda: following.listening() >= 1 and following.about("added"))
        self.wait_for("all of it is told", lambda: following.about("gone"))
        self.assertEqual(before, 0, following.events())

        def told(name):
            return [(e["kind"], e.get("state"), e.get("detail")) for e in following.about(name)]

        self.assertEqual([t[:2] for t in told("dies")], [("state", "crashed")])
        self.assertEqual([t[:2] for t in told("again")], [("state", "stopped"), ("state", "running")])
        self.assertEqual(told("plugged"), [("device", None, "vdb added")])
        self.assertEqual(told("new-name"), [("defined", None, "renamed from old-name")])
        self.assertEqual(told("changed"), [("defined", None, "changed")])
        self.assertEqual(told("gone"), [("deleted", None, "removed")])
        self.assertEqual([t[:2] for t in told("added")], [("defined", None), ("state", "stopped")])
        for name in ("same", "still", "ejected", "old-name"):
            self.assertEqual(told(name), [])

        # And it goes on, by the daemon's own word, with the names that vmctl has for devices.
        self.ok(virsh("suspend", "same"))
        self.wait_for("the pause is told", lambda: ("state", "paused", "on request") in told("same"))
        self.attach("same")
        self.wait_for("the disk is told", lambda: ("device", None, "vdb added") in told("same"))
        self.ok(virsh("resume", "same"))
        self.ok(vmctl("save", "same"))
        self.wait_for("the job is told", lambda: ("job", None, "save: completed") in told("same"))
        self.wait_for("the end is told", lambda: ("state", "saved", "saved") in told("same"))
        self.assertEqual(following.end(), 130)

    def test_the_last_event_is_the_state(self):
        names = ("v1", "v2", "v3")
        for name in names:
            self.make(name)
        following = self.follow()
        chance = random.Random(7)
        for _ in range(3):
            for _ in range(6):
                virsh(chance.choice(("start", "destroy", "suspend", "resume")), chance.choice(names))
            kill_daemon()
            for name in names:
                if chance.random() < 0.4 and os.path.exists(f"/run/libvirt/qemu/{name}.pid"):
                    try:
                        os.kill(pid_of(name), signal.SIGKILL)
                    except ProcessLookupError:
                        pass
            daemons()
        heard = following.listening()
        self.wait_for("the daemon is back", lambda: virsh("list").status == 0)
        words = {"running": "running", "paused": "paused", "shut off": "stopped", "crashed": "crashed"}

        def last(name):
            states = following.about(name, "state")
            return states[-1]["state"] if states else "stopped"

        def state(name):
            found = words[virsh("domstate", name).out.strip()]
            reason = virsh("domstate", name, "--reason").out
            return "crashed" if found == "stopped" and "crashed" in reason else found

        self.assertTrue(heard)
        for name in names:
            self.wait_for(f"{name}: {following.about(name)}, {state(name)}", lambda: last(name) == state(name))
        self.assertEqual(following.end(), 130)

    def test_a_renamed_vm_is_still_followed(self):
        self.make("first")
        following = self.follow("first")
        self.make("other")
        self.ok(vmctl("rename", "first", "second"))
        self.ok(vmctl("start", "second"))
        self.wait_for("the start is told", lambda: following.about("second", "state"))
        self.assertEqual([e["detail"] for e in following.about("second", "defined")][:1], ["renamed from first"])
        self.assertFalse(following.about("other"))
        self.assertFalse([e for e in following.events() if e["kind"] == "deleted"])
        self.assertEqual(following.end(), 130)

    def test_what_is_remembered(self):
        self.make("r1", start=True)
        self.make("r2", start=True)
        self.ok(vmctl("stop", "r2", "--force"))
        events = self.json(vmctl("events", "-o", "json"))
        self.assertEqual({e["name"]: (e["kind"], e["state"], e.get("detail"), "time" in e) for e in events},
                         {"r1": ("state", "running", "booted", False),
                          "r2": ("state", "stopped", "powered off", False)})
        self.assertEqual(self.ok(vmctl("events", "r2")).out.split(), ["NAME", "STATE", "DETAIL", "r2", "stopped",
                                                                      "powered", "off"])


if __name__ == "__main__":
    harness.need("libvirtd", "virtlogd", "virsh", "qemu-system-x86_64")
    harness.enter()
    harness.main()
