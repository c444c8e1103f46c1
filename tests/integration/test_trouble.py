#!/usr/bin/env python3
"""What goes wrong in the middle: a full disk, Ctrl-C, kill -9, a daemon that dies, hostile input. Nothing stays behind."""

import json
import os
import pathlib
import signal
import subprocess
import time

import harness
from harness import processes, run, virsh, vmctl, world_state

harness.enter("--kvm", "666", "--daemons")
WORLD = pathlib.Path(os.environ["WORLD"])
SANITIZED = "asan" in str(harness.BUILD)


class Trouble(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.big = WORLD / "big.img"
        with open(cls.big, "wb") as out:
            out.write(pathlib.Path(harness.GUEST).read_bytes()[:512])
            for _ in range(96):
                out.write(os.urandom(1 << 20))
        cls.yaml = WORLD / "big.yaml"
        cls.yaml.write_text(f"""
name: big
memory: 32MiB
networks: []
disks: [{{name: root, image: {cls.big}}}, {{name: data, size: 4MiB}}]
cloudInit: {{hostname: big}}
guestAgent: true
serial: {{log: big.log}}
""")
        # What stays: the default pool.
        assert vmctl("create", "warm", "--image", harness.GUEST, "--memory", "32MiB").status == 0
        assert vmctl("delete", "warm").status == 0
        cls.before = world_state()

    def nothing_left(self, what):
        self.assertEqual(world_state(), self.before, what)

    def test_a_full_disk(self):
        small = WORLD / "small"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", str(small)], check=True)
        self.ok(virsh("pool-create-as", "small", "dir", "--target", str(small)))
        try:
            text = self.yaml.read_text().replace("big.img}", "big.img, pool: small}")
            full = vmctl("create", "-", input=text)
            self.status(full, 11)
            self.assertRegex(full.err, "(?i)space|full|room")
            self.assertEqual(os.listdir(small), [])
            self.assertEqual(virsh("list", "--all", "--name").out.strip(), "")
        finally:
            virsh("pool-destroy", "small")
            subprocess.run(["umount", str(small)])
        self.nothing_left("a full disk")

    def test_a_disk_that_fills_up_in_mid_copy(self):
        small = WORLD / "filling"
        small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "filling", str(small)], check=True)
        self.ok(virsh("pool-create-as", "filling", "dir", "--target", str(small)))
        try:
            text = self.yaml.read_text().replace("big.img}", "big.img, pool: filling}")
            for _ in range(5):
                full = harness.fill_in_mid_copy(small, harness.VMCTL, "create", "-", input=text)
                if full:
                    break
                vmctl("delete", "big")
            self.assertTrue(full, "the copy was always over before the disk was full")
            self.status(full, 11)
            self.assertRegex(full.err, "(?i)space|full|room")
            self.assertEqual(os.listdir(small), [])
            self.assertEqual(virsh("list", "--all", "--name").out.strip(), "")
        finally:
            virsh("pool-destroy", "filling")
            subprocess.run(["umount", str(small)])
        self.nothing_left("a disk that filled up")

    def test_a_copied_definition_owns_nothing(self):
        self.ok(vmctl("create", "-", input="""
name: first
memory: 32MiB
accel: tcg
networks: []
disks: [{name: root, size: 4MiB}]
cloudInit: {hostname: first}
serial: {log: first.log}
"""))
        self.ok(vmctl("start", "first"))
        files = sorted(os.listdir("/var/lib/libvirt/images"))
        self.assertTrue({"first-root.qcow2", "first-cidata.iso", "first.log"} <= set(files), files)
        xml = virsh("dumpxml", "first", "--inactive").out
        uuid = virsh("domuuid", "first").out.strip()
        copy = WORLD / "second.xml"
        copy.write_text(xml.replace(f"<uuid>{uuid}</uuid>", "").replace("<name>first</name>", "<name>second</name>"))
        self.ok(virsh("define", str(copy)))
        self.ok(vmctl("delete", "second"))
        self.assertEqual(sorted(os.listdir("/var/lib/libvirt/images")), files)
        self.ok(vmctl("delete", "first", "--force"))
        self.nothing_left("a copied definition")

    def test_restart_of_a_transient_vm(self):
        xml = WORLD / "transient.xml"
        xml.write_text("<domain type='qemu'><name>transient</name><memory unit='MiB'>32</memory>"
                       "<os><type arch='x86_64'>hvm</type></os></domain>")
        self.ok(virsh("create", str(xml)))
        restart = vmctl("restart", "transient", "--force")
        self.assertEqual(virsh("domstate", "transient").out.strip(), "running")
        self.status(restart, 6)
        self.ok(vmctl("stop", "transient", "--force"))

    def interrupted(self, number, delay):
        child = subprocess.Popen([harness.VMCTL, "create", str(self.yaml), "--start"], stdin=subprocess.DEVNULL,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        time.sleep(delay)
        child.send_signal(number)
        began = time.monotonic()
        out, err = child.communicate(timeout=120)
        return child.returncode, out, err, time.monotonic() - began

    def moments(self, *parts):
        """Those parts of the time that a whole create takes on this machine, which may be fast or busy."""
        began = time.monotonic()
        self.ok(vmctl("create", str(self.yaml), "--start"))
        whole = time.monotonic() - began
        self.ok(vmctl("delete", "big", "--force"))
        return [whole * part for part in parts]

    def test_ctrl_c_at_any_moment(self):
        cancelled = 0
        for delay in self.moments(0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0):
            status, out, err, seconds = self.interrupted(signal.SIGINT, delay)
            self.assertIn(status, (0, 130, -signal.SIGINT), f"after {delay} s: {status}\n{out}{err}")
            self.assertLess(seconds, 60)
            if status == 0:
                self.ok(vmctl("delete", "big", "--force"))
            else:
                cancelled += 1
            self.nothing_left(f"Ctrl-C after {delay} s: status {status}\n{out}{err}")
        self.assertGreaterEqual(cancelled, 3)

    def test_kill_9_is_undone_by_the_next_create(self):
        for delay in self.moments(0.1, 0.3, 0.6, 0.9):
            self.interrupted(signal.SIGKILL, delay)
            again = vmctl("create", str(self.yaml))
            if again.status == 5:  # it was complete already
                pass
            else:
                self.ok(again)
            self.ok(vmctl("delete", "big", "--force"))
            self.nothing_left(f"kill -9 after {delay} s")

    def test_the_daemon_dies_in_the_middle(self):
        for delay in self.moments(0.15, 0.5):
            child = subprocess.Popen([harness.VMCTL, "create", str(self.yaml), "--start", "--connect", "qemu:///system"],
                                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(delay)
            for pid in processes("libvirtd"):
                os.kill(pid, signal.SIGKILL)
            out, err = child.communicate(timeout=90)
            self.assertIn(child.returncode, (0, 9), f"{child.returncode}: {out}{err}")
            harness.daemons()
            if child.returncode == 9:
                self.assertIn("qemu:///system", err)
            result = vmctl("create", str(self.yaml))
            self.assertIn(result.status, (0, 5), str(result))
            self.ok(vmctl("delete", "big", "--force"))
            self.nothing_left(f"the daemon died after {delay} s")

    def test_a_rename_onto_somebodys_variables(self):
        self.ok(vmctl("create", "fw", "--memory", "64MiB", "--image", harness.GUEST, "--set", "networks=[]", "--set", "firmware=uefi", "--start"))
        self.ok(vmctl("stop", "fw", "--force"))
        taken = pathlib.Path("/var/lib/libvirt/qemu/nvram/fw-2_VARS.fd")
        taken.write_bytes(b"somebody's")
        self.status(vmctl("rename", "fw", "fw-2"), 5, str(taken))
        self.assertEqual(taken.read_bytes(), b"somebody's")
        taken.unlink()
        self.ok(vmctl("rename", "fw", "fw-2"))
        self.assertTrue(taken.exists())
        self.ok(vmctl("delete", "fw-2"))
        self.assertFalse(taken.exists())

    def test_a_save_that_is_given_up_says_what_became_of_it(self):
        self.ok(vmctl("create", "slow", "--memory", "1GiB", "--image", harness.GUEST, "--set", "networks=[]", "--start"))
        self.addCleanup(vmctl, "delete", "slow", "--force")
        for timeout in ("20ms", "60ms", "120ms"):
            given_up = vmctl("save", "slow", "--timeout", timeout)
            state = self.one(vmctl("get", "slow", "-o", "json"))["state"]
            if given_up.status == 0 or "is saved" in given_up.err:
                self.assertEqual(state, "saved", str(given_up))
            else:
                self.status(given_up, 8)
                self.assertEqual(state, "running", str(given_up))
                if "cannot save" in given_up.err and "had not answered" in given_up.err:
                    self.assertIn("runs on", given_up.err)
            self.ok(vmctl("start", "slow"))
            self.counts("slow")
        self.ok(vmctl("delete", "slow", "--force"))

    def test_hostile_documents(self):
        laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
        for what, text in {
            "billion laughs": laughs,
            "a 10 MiB scalar": "name: " + "x" * (10 << 20) + "\n",
            "deep nesting": "name: x\nlabels: " + "[" * 100000 + "\n",
            "deep nesting in flow maps": "a: " + "{a: " * 20000 + "\n",
            "invalid UTF-8": "name: \udcff\udcfe\n",
            "a NUL": "name: a\0b\n",
            "nothing": "",
            "only an anchor": "&a *a\n",
        }.items():
            path = WORLD / "hostile.yaml"
            path.write_bytes(text.encode("utf-8", "surrogateescape"))
            result = run("/usr/bin/env", "python3", "-c", """
import json, resource, subprocess, sys, time
began = time.monotonic()
done = subprocess.run([sys.argv[1], "create", "--dry-run", sys.argv[2]], stdin=subprocess.DEVNULL, capture_output=True)
print(json.dumps([done.returncode, time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss,
                  done.stderr.decode(errors="replace")[-2000:]]))
""", harness.VMCTL, str(path))
            status, seconds, kib, err = json.loads(result.out)
            self.assertEqual(status, 2, f"{what}: {status} {err}")
            self.assertIn("hostile.yaml", err, what)
            self.assertLess(seconds, 5 if SANITIZED else 1, what)
            if not SANITIZED:
                self.assertLess(kib, 64 << 10, what)

    def test_all_faults_of_a_document_at_once(self):
        text = "name: x\nmemroy: 2GiB\nmemory: 2\ncpus: many\ndisks: [{name: a, size: 1GiB}, {name: a, size: 1GiB}]\n"
        result = self.status(vmctl("create", "-", input=text), 2)
        for word in ("memroy", "memory", "cpus", ":2:", ":3:", ":4:", "disks"):
            self.assertIn(word, result.err, str(result))


harness.main()
