#!/usr/bin/env python3
"""VMs of VirtualBox that move: a teleport that another command stops, and a stopped VM that goes with its disks, also to another host."""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import harness
from harness import run, vmctl

harness.need("ssh", "ssh-keygen", "qemu-img")
harness.enter("--virtualbox", cached=False, beside=(str(harness.HERE.parent / "virtualbox/ssh-host"), "--"))
WORLD, FAR, SHARED = (pathlib.Path(os.environ[name]) for name in ("WORLD", "FAR", "SHARED"))
HERE, OTHER, THERE = "virtualbox:///", f"virtualbox:///?home={WORLD}/second&ipc=second", os.environ["FAR_URI"]
EXTRA = "virtualbox: {modifyvm: {vm-execution-engine: recompiler, paravirt-provider: none}}"


def at(uri, verb, *arguments, **options):
    return vmctl(verb, "--connect", uri, *arguments, **options)


def spec(name, root, more=""):
    return f"name: {name}\nmemory: 32MiB\nnetworks: []\ndisplay: none\ndisks: [{root}]\nserial: {{log: serial.log}}\n{EXTRA}\n{more}"


def listed(uri):
    return json.loads(at(uri, "list", "-o", "json").out)


def listens(pid):
    try:
        links = {os.readlink(fd) for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False
    lines = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return any(line[3] == "0A" and f"socket:[{line[9]}]" in links for line in lines)


def children(pid):
    try:
        return set(pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    except OSError:
        return set()


def go_on(pid):
    try:
        os.kill(pid, signal.SIGCONT)
    except OSError:
        pass


def end(process):
    process.kill()
    process.communicate()


class Moves(harness.Case):
    def killed_at_unregistervm(self, name, before, more=""):
        """A VM that teleports and a vmctl that dies when the source is cleared up: `before` is what the source's unregistervm does first, in shell words
        (MANAGE: the real VBoxManage)."""
        disk, tools, there = SHARED / f"{name}.vdi", WORLD / f"tools-{name}", WORLD / f"unregisters-{name}"
        self.assertEqual(run("qemu-img", "convert", "-f", "raw", "-O", "vdi", "-o", "static=on", harness.GUEST, str(disk)).status, 0)
        self.ok(at(HERE, "create", "-", "--start", input=spec(name, f"{{name: root, volume: {disk}, shared: true}}", more)))
        self.counts(name, 2, env={"VMCTL_CONNECT": HERE})
        tools.mkdir()
        manage = shutil.which("VBoxManage")
        stop = before.replace("MANAGE", manage) + f"touch {there}; exec sleep 600"
        (tools / "VBoxManage").write_text(f'#!/bin/sh\ncase "$*" in *unregistervm*) {stop} ;; esac\nexec {manage} "$@"\n')
        (tools / "VBoxManage").chmod(0o755)
        moving = subprocess.Popen([harness.VMCTL, "migrate", name, "--to", OTHER, "--connect", HERE], stderr=subprocess.PIPE, text=True,
                                  env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"})
        self.addCleanup(end, moving)
        self.wait_for("the source is cleared up", there.exists)
        self.assertIsNone(moving.poll())
        moving.kill()
        moving.wait()

    def settle(self, uri):
        """A change settles what was left."""
        self.ok(at(uri, "create", "-", input=spec("bystander", f"{{name: root, image: {harness.GUEST}}}")))
        self.ok(at(uri, "delete", "bystander"))

    @classmethod
    def setUpClass(cls):
        second = {"VBOX_USER_HOME": f"{WORLD}/second", "VBOX_IPC_SOCKETID": "second"}
        (WORLD / "second").mkdir(exist_ok=True)
        assert run("VBoxManage", "setproperty", "machinefolder", f"{WORLD}/machines-second", env=second).status == 0

    def tearDown(self):
        for pid in harness.processes("VBoxHeadless"):
            go_on(pid)
        for uri in (HERE, OTHER, THERE):
            for vm in listed(uri):
                at(uri, "delete", vm["id"], "--force")

    def test_1_another_command_stops_a_teleport(self):
        """The target is held up when it listens, so that there is time."""
        disk = SHARED / "moves.vdi"
        self.assertEqual(run("qemu-img", "convert", "-f", "raw", "-O", "vdi", "-o", "static=on", harness.GUEST, str(disk)).status, 0)
        self.ok(at(HERE, "create", "-", "--start", input=spec("moves", f"{{name: root, volume: {disk}, shared: true}}")))
        self.counts("moves", 2, env={"VMCTL_CONNECT": HERE})
        self.status(at(HERE, "migrate", "moves", "--abort"), 6, "not being migrated")
        source = harness.processes("VBoxHeadless")
        moving = subprocess.Popen([harness.VMCTL, "migrate", "moves", "--to", OTHER, "--connect", HERE], stderr=subprocess.PIPE, text=True)
        self.addCleanup(end, moving)
        while moving.poll() is None:
            target = [p for p in harness.processes("VBoxHeadless") if p not in source]
            if target and listens(target[0]):
                os.kill(target[0], signal.SIGSTOP)
                break
            time.sleep(0.001)
        self.addCleanup(go_on, target[0])
        self.wait_for("VirtualBox says so", lambda: listed(HERE)[0]["state"] == "migrating")
        busy = at(HERE, "migrate", "moves", "--to", OTHER)
        self.assertNotEqual(busy.status, 0, busy)
        stopping = subprocess.Popen([harness.VMCTL, "migrate", "moves", "--abort", "--connect", HERE], stderr=subprocess.PIPE, text=True)
        self.addCleanup(end, stopping)
        # It has asked for the state, told the one that teleports, and asks again; that one looks whether it was told from time to time. So many programs
        # later it has.
        seen = set()
        while stopping.poll() is None and len(seen) < 20:
            seen |= children(stopping.pid)
            time.sleep(0.001)
        go_on(target[0])
        _, words = stopping.communicate(timeout=200)
        self.assertEqual(stopping.returncode, 0, words)
        _, words = moving.communicate(timeout=200)
        self.assertNotEqual(moving.returncode, 0)
        self.assertIn("another command", words)
        self.assertEqual([vm["state"] for vm in listed(HERE)], ["running"])
        self.assertEqual(listed(OTHER), [])
        self.assertEqual(harness.files(f"{WORLD}/machines-second"), [])
        self.counts("moves", 3, env={"VMCTL_CONNECT": HERE})
        self.assertEqual(at(HERE, "logs", "moves").out.count("it boots"), 1)
        harness.proves("migrate.abort", backend="virtualbox")

    def test_1_killed_after_the_teleport(self):
        """When vmctl dies while it clears up at the source the VM is at the target, and the password of the teleport is in neither place."""
        self.killed_at_unregistervm("killed", "")
        for uri in (HERE, OTHER):
            self.settle(uri)
        self.assertEqual(([vm["name"] for vm in listed(HERE)], [vm["state"] for vm in listed(OTHER)]), ([], ["running"]))
        self.assertEqual([f for place in ("machines", "machines-second") for f in harness.files(WORLD / place) if "password" in f], [])
        self.ok(at(OTHER, "delete", "killed", "--force"))
        shutil.rmtree(WORLD / "machines/killed")  # the log stays where it was written, as migrate says
        self.assertEqual(harness.files(f"{WORLD}/machines-second"), [])

    def test_1_killed_while_the_source_is_cleared_up(self):
        """VirtualBox has forgotten the VM, and vmctl dies before it has removed what VirtualBox leaves: of that the next change leaves nothing."""
        self.killed_at_unregistervm("cleared", 'MANAGE "$@" && ', "cloudInit: {hostname: cleared}")
        self.assertTrue((WORLD / "machines/cleared/vmctl-seed.iso").exists())
        self.settle(HERE)
        self.assertEqual([(vm["name"], vm["state"]) for vm in listed(OTHER)], [("cleared", "running")])
        left = [os.path.relpath(path, WORLD / "machines") for path in harness.files(WORLD / "machines")]
        self.assertEqual([path for path in left if not path.startswith("cleared/serial.log")], [])  # what it logged stays
        self.assertNotIn("machines/cleared", run("VBoxManage", "list", "dvds").out)
        shutil.rmtree(WORLD / "machines/cleared")
        self.ok(at(OTHER, "delete", "cleared", "--force"))

    def test_2_a_stopped_one_moves_with_its_disks(self):
        """From here to there by ssh and back: every byte, its id, its seed and what vmctl knows of it."""
        root = f"{{name: root, image: {harness.GUEST}, size: 4MiB}}, {{name: data, size: 4MiB}}"
        self.ok(at(HERE, "create", "-", input=spec("goes", root, "labels: {team: infra}\ncloudInit: {hostname: goes}")))
        before = self.one(at(HERE, "get", "goes", "-o", "json"))
        sums = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (WORLD / "machines/goes").glob("*.[vi][ds][io]")}
        self.assertEqual(set(sums), {"root.vdi", "data.vdi", "vmctl-seed.iso"})
        for source, target, folder in ((HERE, THERE, FAR / "machines"), (THERE, HERE, WORLD / "machines")):
            self.ok(at(source, "migrate", "goes", "--to", target, "--offline"))
            self.assertEqual(listed(source), [])
            there = {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in (folder / "goes").glob("*.[vi][ds][io]")}
            self.assertEqual(there, sums)
            after = self.one(at(target, "get", "goes", "-o", "json"))
            self.assertEqual((after["id"], after["state"], after["labels"]), (before["id"], "stopped", {"team": "infra"}))
        self.assertEqual(harness.files(FAR / "machines"), [])
        self.ok(at(HERE, "start", "goes"))
        self.counts("goes", 2, env={"VMCTL_CONNECT": HERE})
        self.status(at(HERE, "migrate", "goes", "--to", THERE, "--offline"), 6, "only a stopped VM")
        self.ok(at(HERE, "delete", "goes", "--force"))
        self.assertEqual(harness.files(WORLD / "machines"), [])
        harness.proves("migrate.offline", backend="virtualbox")

    def test_3_a_move_that_fails_leaves_it_here(self):
        """The target's disk is full: the VM is as it was, and nothing is there."""
        small = WORLD / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(small)], check=True)
        second = {"VBOX_USER_HOME": f"{WORLD}/second", "VBOX_IPC_SOCKETID": "second"}
        try:
            image = WORLD / "big.img"
            image.write_bytes(os.urandom(8 << 20))
            self.ok(at(HERE, "create", "-", input=spec("stays", f"{{name: root, image: {image}}}")))
            before = harness.files(WORLD / "machines")
            # A VBoxSVC that is about to end, as nobody used it, may give no answer.
            self.wait_for("its machines lie there", lambda: run("VBoxManage", "setproperty", "machinefolder", str(small), env=second).status == 0)
            self.status(at(HERE, "migrate", "stays", "--to", OTHER), 11, "space")
            self.assertEqual(harness.files(WORLD / "machines"), before)
            self.assertEqual(harness.files(small), [])
            self.assertEqual(listed(OTHER), [])
            self.ok(at(HERE, "start", "stays"))
        finally:
            run("VBoxManage", "setproperty", "machinefolder", f"{WORLD}/machines-second", env=second)
            subprocess.run(["umount", "-l", str(small)], check=True)


harness.main()
