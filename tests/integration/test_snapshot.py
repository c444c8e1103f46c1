#!/usr/bin/env python3
"""Snapshots beside virsh: those that others took, a job under way, Ctrl-C, a revert that fails, and what the command says."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import time

import harness
from harness import VMCTL, run, virsh, vmctl, world_state

harness.enter("--daemons")
harness.need("virsh", "qemu-img", "ip")
WORLD = pathlib.Path(os.environ["WORLD"])
IMAGES = pathlib.Path("/var/lib/libvirt/images")


def sums():
    """What every disk holds, by its bytes."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in IMAGES.iterdir() if p.suffix != ".log"}


class Snapshots(harness.Case):
    @classmethod
    def setUpClass(cls):
        vmctl("create", "warm", "--image", harness.GUEST, "--memory", "32MiB")  # the pool is made with the first VM
        vmctl("delete", "warm")

    def setUp(self):
        self.before = world_state()

    def tearDown(self):
        names = vmctl("list", "-o", "name").out.split()
        if names:
            self.ok(vmctl("delete", *names, "--force"))
        self.assertEqual(world_state(), self.before)

    def make(self, *more, name="s1", networks="[]"):
        yaml = WORLD / f"{name}.yaml"
        yaml.write_text(f"name: {name}\nmemory: 32MiB\nnetworks: {networks}\ndisplay: none\nserial: {{log: {name}.log}}\n"
                        f"disks: [{{name: root, image: {harness.GUEST}, format: qcow2}}, {{name: data, size: 4MiB, format: qcow2}}]\n")
        self.ok(vmctl("create", str(yaml), *more))
        return yaml

    def tree(self, name="s1"):
        return {s["name"]: s for s in self.json(vmctl("snapshot", "list", name, "-o", "json"))}

    def state(self, name="s1"):
        return self.one(vmctl("get", name, "-o", "json"))["state"]

    def test_what_was_made_is_said(self):
        self.make("--start")
        made = self.ok(vmctl("snapshot", "create", "s1", "warm", "--description", "first"))
        self.assertRegex(made.out, r"(?m)^warm +yes +running +yes ")
        refused = self.status(vmctl("snapshot", "create", "s1", "cold", "--no-memory"), 3, "9.9", "--memory", "stop s1")
        self.assertEqual(refused.out, "")
        self.status(vmctl("snapshot", "create", "s1", "x", "--memory", "--no-memory"), 2)
        self.status(vmctl("snapshot", "get", "s1", "wram"), 4, "did you mean warm?")
        self.ok(vmctl("stop", "s1", "--force"))
        made = self.one(vmctl("snapshot", "create", "s1", "cold", "-o", "json"))
        self.assertEqual((made["name"], made["memory"], made["state"], made["parent"]), ("cold", False, "stopped", "warm"))
        self.assertEqual(self.one(vmctl("get", "s1", "-o", "json"))["snapshotCount"], 2)

    def test_renamed_for_vmctl_and_usable_for_virsh(self):
        self.make()
        self.ok(vmctl("snapshot", "create", "s1", "base"))
        self.ok(vmctl("snapshot", "create", "s1", "next"))
        renamed = self.ok(vmctl("snapshot", "rename", "s1", "base", "gold & <silver>"))
        self.assertIn("calling it base", renamed.err)
        self.assertEqual(virsh("snapshot-list", "s1", "--name").out.split(), ["base", "next"])
        self.assertEqual(virsh("snapshot-current", "s1", "--name").out.strip(), "next")
        self.ok(virsh("snapshot-revert", "s1", "base"))
        self.assertEqual(list(self.tree()), ["gold & <silver>", "next"])
        self.assertTrue(self.tree()["gold & <silver>"]["current"])
        # The domain carries the note on now; a snapshot that virsh takes under the old name's place is not meant by it.
        self.ok(virsh("snapshot-delete", "s1", "base"))
        time.sleep(1.1)  # libvirt's creation times are whole seconds
        self.ok(virsh("snapshot-create-as", "s1", "base"))
        self.assertEqual(set(self.tree()), {"base", "next"})
        # A VM's own new name changes nothing.
        spec = vmctl("get", "s1", "-o", "spec").out
        self.ok(vmctl("rename", "s1", "s2"))
        self.ok(vmctl("snapshot", "revert", "s2", "next"))
        self.assertEqual(set(self.tree("s2")), {"base", "next"})
        self.assertEqual(vmctl("get", "s2", "-o", "spec").out, spec.replace("name: s1", "name: s2"))

    def test_external_ones_of_others(self):
        self.make("--start")
        self.ok(vmctl("snapshot", "create", "s1", "below"))
        self.ok(virsh("snapshot-create-as", "s1", "ext", "--disk-only"))
        self.ok(vmctl("snapshot", "create", "s1", "above"))
        self.ok(vmctl("stop", "s1", "--force"))
        kept = sums()
        tree = self.tree()
        self.assertTrue(tree["ext"]["external"])
        self.assertFalse(tree["ext"]["memory"])
        self.status(vmctl("snapshot", "revert", "s1", "ext"), 3, "9.9", "backing: ")
        self.status(vmctl("snapshot", "revert", "s1", "below"), 11, "s1-root.ext", "virsh blockcommit s1 vda")
        self.status(vmctl("snapshot", "delete", "s1", "ext"), 11, "above", "--children")
        self.assertEqual(sums(), kept, "refused, and yet something was written")
        self.assertEqual(self.tree(), tree)
        self.ok(vmctl("start", "s1"))
        self.ok(vmctl("snapshot", "delete", "s1", "above"))
        # libvirt merges no overlay down into a file with an internal snapshot in it; QEMU does, and that is the way that is named.
        self.status(vmctl("snapshot", "delete", "s1", "below"), 3, "s1-root.ext", "virsh blockcommit s1 vda")
        refused = self.status(vmctl("snapshot", "delete", "s1", "ext"), 3, "below", "virsh blockcommit s1 vda")
        for command in refused.err.split("try: ")[1].strip().split("; "):
            self.ok(run(*command.split(), timeout=60))
        self.assertEqual(list(self.tree()), ["below"])
        self.ok(vmctl("snapshot", "revert", "s1", "below"))
        self.counts("s1")
        self.ok(vmctl("snapshot", "delete", "s1", "below"))

    def test_external_ones_are_merged(self):
        self.make("--start")
        self.ok(virsh("snapshot-create-as", "s1", "e1", "--disk-only"))
        self.ok(virsh("snapshot-create-as", "s1", "e2", "--disk-only"))
        self.ok(vmctl("snapshot", "delete", "s1", "e1"))
        self.assertEqual(list(self.tree()), ["e2"])
        self.ok(vmctl("stop", "s1", "--force"))
        self.ok(vmctl("snapshot", "delete", "s1", "e2"))
        self.assertEqual(self.tree(), {})
        self.assertEqual(sorted(p.name for p in IMAGES.glob("s1-*")), ["s1-data.qcow2", "s1-root.qcow2"])
        self.ok(vmctl("start", "s1"))
        self.counts("s1")

    def test_a_backing_file_that_is_gone(self):
        base, aside = IMAGES / "s1-base.qcow2", IMAGES / "s1-base.aside"
        self.ok(run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", harness.GUEST, str(base)))
        yaml = WORLD / "s1.yaml"
        yaml.write_text(f"name: s1\nmemory: 32MiB\nnetworks: []\ndisplay: none\ndisks: [{{name: root, backing: {base}}}]\n")
        self.ok(vmctl("create", str(yaml), "--start"))
        self.ok(vmctl("snapshot", "create", "s1", "one"))
        base.rename(aside)
        self.status(vmctl("snapshot", "revert", "s1", "one"), 4, "disk root stands on", str(base))
        self.assertEqual(self.state(), "running")
        aside.rename(base)
        self.ok(vmctl("snapshot", "revert", "s1", "one"))
        self.ok(vmctl("delete", "s1", "--force"))
        base.unlink()
        self.ok(virsh("pool-refresh", "default"))

    def test_a_number_that_qemu_would_take_for_another(self):
        """qemu-img and QEMU look a snapshot up by its number first: "2" would be the second one, whatever its name."""
        self.make()
        for name in ("2", "other"):
            self.ok(virsh("snapshot-create-as", "s1", name))
        kept = sums()
        self.status(vmctl("snapshot", "revert", "s1", "2"), 5, "other, which it would take instead", "snapshot delete s1 other")
        self.assertEqual(sums(), kept)
        self.ok(vmctl("snapshot", "revert", "s1", "other"))
        self.ok(vmctl("snapshot", "create", "s1", "3"))
        self.assertEqual(self.tree()["3"]["id"], "snapshot-3")

    def test_external_ones_go_with_the_vm(self):
        self.make("--start")
        self.ok(virsh("snapshot-create-as", "s1", "e1", "--disk-only"))
        self.ok(virsh("snapshot-create-as", "s1", "e2", "--disk-only"))
        gone = self.ok(vmctl("delete", "s1", "--force"))
        for name in ("s1-root.e1", "s1-data.e2", "s1-root.qcow2"):
            self.assertIn(name, gone.out)
        # tearDown holds the folders against what was there before.

    def test_busy_while_a_job_has_it(self):
        self.make("--start")
        self.ok(vmctl("snapshot", "create", "s1", "base"))
        backup = WORLD / "backup.xml"
        backup.write_text(f"<domainbackup mode='pull'><server transport='unix' socket='{WORLD}/nbd'/>"
                          f"<disks><disk name='vda' backup='yes' type='file'><scratch file='{WORLD}/scratch'/></disk>"
                          "<disk name='vdb' backup='no'/></disks></domainbackup>")
        os.chmod(WORLD, 0o777)
        self.ok(virsh("backup-begin", "s1", str(backup)))
        for verb in (("create", "s1", "late"), ("revert", "s1", "base"), ("rename", "s1", "base", "other"), ("delete", "s1", "base")):
            began = time.monotonic()
            self.status(vmctl("snapshot", *verb), 6, "busy", "backup")
            self.assertLess(time.monotonic() - began, 5, "libvirt's own wait for the job was waited for")
        self.assertEqual(list(self.tree()), ["base"])
        self.ok(virsh("domjobabort", "s1"))
        self.wait_for("the backup's end", lambda: "None" in virsh("domjobinfo", "s1").out)
        self.ok(vmctl("snapshot", "create", "s1", "late"))

    def test_a_failed_revert_says_how_the_vm_differs(self):
        self.ok(run("ip", "link", "add", "snapbr0", "type", "bridge"))
        self.ok(run("ip", "link", "set", "snapbr0", "up"))
        yaml = self.make("--start", networks="[{name: lan, type: bridge, source: snapbr0}]")
        self.ok(vmctl("snapshot", "create", "s1", "base"))
        self.ok(vmctl("stop", "s1", "--force"))
        yaml.write_text(yaml.read_text().replace("[{name: lan, type: bridge, source: snapbr0}]", "[]"))
        self.ok(vmctl("apply", str(yaml), "--prune"))
        self.ok(vmctl("start", "s1"))
        self.ok(run("ip", "link", "del", "snapbr0"))
        failed = vmctl("snapshot", "revert", "s1", "base")
        self.assertNotEqual(failed.status, 0, str(failed))
        self.assertIn("s1 was running and is stopped now, with the definition that it had", failed.err)
        self.assertEqual(self.state(), "stopped")
        self.assertNotIn("snapbr0", virsh("dumpxml", "s1").out)
        self.ok(vmctl("start", "s1"))
        self.counts("s1")

    def test_networks_are_looked_at_before(self):
        virsh("net-start", "default")
        self.make("--start", networks="[{name: lan, type: nat}]")
        self.ok(vmctl("snapshot", "create", "s1", "base"))
        self.ok(virsh("net-destroy", "default"))
        self.assertIn("started the network default", self.ok(vmctl("snapshot", "revert", "s1", "base")).err)
        self.assertEqual(self.state(), "running")
        self.ok(virsh("net-dumpxml", "default", "--inactive"))
        definition = WORLD / "default.xml"
        definition.write_text(virsh("net-dumpxml", "default", "--inactive").out)
        self.ok(virsh("net-destroy", "default"))
        self.ok(virsh("net-undefine", "default"))
        self.status(vmctl("snapshot", "revert", "s1", "base"), 4, "network default, which is gone", "net-define")
        self.assertEqual(self.state(), "running")
        self.ok(virsh("net-define", str(definition)))

    def test_interrupted_at_any_time(self):
        self.make("--start")
        whole = self.ok(vmctl("snapshot", "create", "s1", "late")).seconds
        self.ok(vmctl("snapshot", "delete", "s1", "late"))
        for part in (0.05, 0.3, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95):
            child = subprocess.Popen([VMCTL, "snapshot", "create", "s1", "late"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            time.sleep(whole * part)
            child.send_signal(signal.SIGINT)
            _, err = child.communicate(timeout=60)
            left = self.tree()
            if child.returncode == 0:
                self.assertEqual(list(left), ["late"])
                self.ok(vmctl("snapshot", "delete", "s1", "late"))
            else:
                self.assertIn(child.returncode, (130, -signal.SIGINT), err)
                self.assertEqual(left, {}, err)
            self.assertEqual(self.state(), "running")
        self.counts("s1")

    def test_a_saved_vm(self):
        self.make("--start")
        self.ok(vmctl("snapshot", "create", "s1", "warm"))
        self.ok(vmctl("save", "s1"))
        self.assertIn("saved memory", self.ok(vmctl("snapshot", "create", "s1", "cold")).err)
        self.status(vmctl("snapshot", "create", "s1", "memory", "--memory"), 6, "vmctl start s1")
        self.assertEqual(self.state(), "saved")
        self.assertIn("saved memory", self.ok(vmctl("snapshot", "revert", "s1", "warm")).err)
        self.assertEqual(self.state(), "running")
        self.assertIn("Managed save:   no", virsh("dominfo", "s1").out)

    def test_what_a_dead_vmctl_left_frozen_or_half_taken_is_taken_back(self):
        """The journal as a killed process leaves it: the next change undoes it, and nothing that is somebody else's."""
        self.make("--start")
        self.ok(vmctl("snapshot", "create", "s1", "mine"))
        uuid = virsh("domuuid", "s1").out.strip()
        created = self.one(vmctl("snapshot", "get", "s1", "mine", "-o", "json"))["created"]
        at = int(subprocess.run(["date", "-d", created, "+%s"], capture_output=True, text=True, check=True).stdout)
        for moment, stays in ((at - 3600, True), (at, False)):
            journal = harness.leave_journal("snapshot", f"{uuid} {moment} mine")
            self.ok(vmctl("pause", "s1"))
            self.ok(vmctl("resume", "s1"))
            self.assertEqual("mine" in self.tree(), stays)
            self.assertEqual(list(journal.iterdir()), [])


if __name__ == "__main__":
    harness.main()
