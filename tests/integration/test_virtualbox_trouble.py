#!/usr/bin/env python3
"""VirtualBox in trouble: each case ends in its code, with the reason, and with the VMs as they were."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

import harness
from harness import run, vmctl

harness.enter("--virtualbox", cached=False)
os.environ["VMCTL_BACKEND"] = "virtualbox"
WORLD = pathlib.Path(os.environ["WORLD"])
MACHINES = WORLD / "machines"
EXTRA = "virtualbox: {modifyvm: {vm-execution-engine: recompiler, paravirt-provider: none}}"


def spec(name, more=""):
    """The text of a VM that starts here."""
    return (f"name: {json.dumps(name)}\nbackend: virtualbox\nmemory: 32MiB\nnetworks: []\ndisplay: none\n"
            f"disks: [{{name: root, image: {harness.GUEST}}}]\nserial: {{log: serial.log}}\n{EXTRA}\n{more}")


def manage(*arguments):
    return run("VBoxManage", *arguments)


def registered():
    return sorted(line for line in manage("list", "vms").out.splitlines() if line)


def state_of(name):
    return json.loads(vmctl("get", name, "-o", "json").out)["state"]


class Trouble(harness.Case):
    def make(self, name, more="", *flags):
        self.ok(vmctl("create", "-", *flags, input=spec(name, more)))

    def refused(self, result, status, *words):
        self.assertEqual(result.status, status, result)
        for word in words:
            self.assertIn(word, result.err, result)

    def tearDown(self):
        for line in manage("list", "vms").out.split("{")[1:]:
            vmctl("delete", line.split("}")[0], "--force")

    def test_one_that_was_never_used(self):
        """VBoxSVC writes no registry before it has something to keep: that is a VirtualBox without VMs."""
        new = f"virtualbox:///?home={WORLD}/new&ipc=new"
        self.assertEqual(self.json(vmctl("list", "--connect", new, "-o", "json", env={"VMCTL_BACKEND": ""})), [])
        self.status(vmctl("get", "web", "--connect", new, env={"VMCTL_BACKEND": ""}), 4, "web")
        run("VBoxManage", "setproperty", "machinefolder", f"{WORLD}/machines-new", env={"VBOX_USER_HOME": f"{WORLD}/new", "VBOX_IPC_SOCKETID": "new"})
        self.ok(vmctl("create", "-", "--connect", new, env={"VMCTL_BACKEND": ""}, input=spec("web")))
        self.ok(vmctl("delete", "web", "--connect", new, env={"VMCTL_BACKEND": ""}))

    # --- names ---------------------------------------------------------------------------------------------------

    def end_server(self):
        for pid in harness.processes("VBoxSVC"):
            os.kill(pid, signal.SIGTERM)
        self.wait_for("VBoxSVC ends", lambda: not harness.processes("VBoxSVC"))

    def test_a_server_of_another_locale(self):
        """VBoxSVC that somebody started in the locale C cannot start a VM of such a name; vmctl starts one in UTF-8, whatever its own locale is."""
        plain = {"LC_ALL": "C", "LANG": "C"}
        made = self.ok(vmctl("create", "-", "-o", "json", input=spec("für größe ✓"), env=plain))
        name = self.json(made)[0]["id"] if isinstance(self.json(made), list) else self.json(made)["id"]
        for _ in range(5):  # VBoxSVC ends by itself when nobody asked it anything for some seconds, and vmctl's own comes in its place
            self.end_server()
            self.ok(run("VBoxManage", "list", "vms", env=plain))
            server = harness.processes("VBoxSVC")
            started = vmctl("start", name, env=plain)
            if harness.processes("VBoxSVC") == server:
                break
            self.ok(vmctl("stop", name, "--force"))
        self.refused(started, 9, "locale", "when VBoxSVC has ended")
        self.assertEqual(state_of(name), "stopped")
        self.end_server()
        self.ok(vmctl("start", name, env=plain))
        self.assertEqual(state_of(name), "running")

    def test_odd_names(self):
        """A name is an argument and never a shell's word, an option or a line."""
        self.end_server()
        for name in ("-rf", "--help", "it's \"quoted\"", "für größe ✓", "a b; touch /tmp/x", "$(id)"):
            made = vmctl("create", "-", input=spec(name))
            if made.status == 2 or made.status == 3:  # vm.yaml itself allows it not: said before anything is made
                self.assertNotIn(name, manage("list", "vms").out, made)
                continue
            self.ok(made)
            identity = json.loads(self.ok(vmctl("list", "-o", "json")).out)
            mine = [vm for vm in identity if vm["name"] == name]
            self.assertEqual(len(mine), 1, identity)
            self.ok(vmctl("set", mine[0]["id"], "cpus=2", "description=words"))
            self.ok(vmctl("start", mine[0]["id"]))
            self.ok(vmctl("delete", mine[0]["id"], "--force"))
        self.assertEqual(registered(), [])
        self.assertEqual([p for p in MACHINES.rglob("*") if p.is_file()], [])

    def test_a_name_with_a_newline_of_others(self):
        """VirtualBox allows what vm.yaml does not: such a VM is listed, got by its id, started and deleted."""
        name = "first\nsecond \"line\""
        self.ok(manage("createvm", "--register", f"--name={name}", "--ostype", "Linux_64"))
        vms = json.loads(self.ok(vmctl("list", "-o", "json")).out)
        self.assertEqual([vm["name"] for vm in vms], [name])
        self.assertEqual(state_of(vms[0]["id"]), "stopped")
        self.ok(vmctl("set", vms[0]["id"], "memory=64MiB"))
        self.ok(vmctl("delete", vms[0]["id"]))
        self.assertEqual(registered(), [])

    # --- settings ----------------------------------------------------------------------------------------------------

    def test_settings_of_an_unknown_version(self):
        """A newer VirtualBox: what its settings say is asked of VBoxManage instead, and is the same."""
        self.make("newer", "cpus: 2\ndescription: words\nlabels: {a: b}")
        known = self.ok(vmctl("get", "newer", "-o", "json")).out
        spec_known = self.ok(vmctl("get", "newer", "-o", "spec")).out
        listed = self.ok(vmctl("list", "-o", "json")).out
        self.end_server()
        manage("list", "vms")  # VBoxSVC has read the true ones
        kept = {}
        for path in (WORLD / "virtualbox/VirtualBox.xml", MACHINES / "newer/newer.vbox"):
            kept[path] = path.read_bytes()
            path.write_bytes(kept[path].replace(b'version="1.', b'version="1.9', 1))
        try:
            self.assertEqual(json.loads(self.ok(vmctl("list", "-o", "json")).out), json.loads(listed))
            self.assertEqual(json.loads(self.ok(vmctl("get", "newer", "-o", "json")).out), json.loads(known))
            self.assertEqual(self.ok(vmctl("get", "newer", "-o", "spec")).out, spec_known)
            self.ok(vmctl("start", "newer"))
            self.assertEqual(state_of("newer"), "running")
            self.ok(vmctl("stop", "newer", "--force"))
        finally:
            for path, text in kept.items():
                if b'version="1.9' in path.read_bytes():
                    path.write_bytes(text)

    # --- states -----------------------------------------------------------------------------------------------------

    def test_an_inaccessible_vm(self):
        self.make("broken")
        self.make("whole")
        vms = {vm["name"]: vm["id"] for vm in json.loads(vmctl("list", "-o", "json").out)}
        settings = MACHINES / "broken/broken.vbox"
        kept = settings.read_bytes()
        manage("list", "vms")  # VBoxSVC is there, and knows the VM still; a new one reads the file
        self.end_server()
        settings.write_bytes(kept[:200])
        listed = {vm["id"]: vm for vm in json.loads(self.ok(vmctl("list", "-o", "json")).out)}
        self.assertEqual(listed[vms["broken"]]["state"], "unknown")
        self.assertEqual(listed[vms["whole"]]["state"], "stopped")
        for verb in ("start", "get", "set"):
            more = ("cpus=2",) if verb == "set" else ()
            result = vmctl(verb, vms["broken"], *more)
            self.assertNotEqual(result.status, 0, result)
            self.assertIn(str(settings), result.err + result.out, result)
        self.ok(vmctl("start", "whole"))
        settings.write_bytes(kept)
        self.ok(vmctl("stop", "whole", "--force"))

    def test_an_aborted_vm(self):
        """Its process dies: it is stopped with the reason, and starts again."""
        self.make("dies", "", "--start")
        victims = harness.processes("VBoxHeadless")
        self.assertEqual(len(victims), 1)
        os.kill(victims[0], signal.SIGKILL)
        self.ok(vmctl("wait", "dies", "--for", "stopped", "--timeout", "3m"))
        facts = json.loads(self.ok(vmctl("get", "dies", "-o", "json")).out)
        self.assertEqual(facts["state"], "stopped")
        self.assertIn("aborted", json.dumps(facts))
        self.ok(vmctl("start", "dies"))
        self.assertEqual(state_of("dies"), "running")

    def test_an_aborted_restore(self):
        """The process dies while the saved memory is read back: that memory is still there, it is said, and the next start goes on from it."""
        self.make("sleeper", "", "--start")
        self.counts("sleeper", 3)
        self.ok(vmctl("save", "sleeper"))
        self.assertEqual(state_of("sleeper"), "saved")
        self.assertEqual(self.status(vmctl("pause", "sleeper"), 6).out, "")
        began = time.monotonic()
        self.ok(vmctl("start", "sleeper"))
        whole = time.monotonic() - began
        self.ok(vmctl("save", "sleeper"))
        for part in list(range(1, 13)) * 2:
            with subprocess.Popen([harness.VMCTL, "start", "sleeper"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as starting:
                while starting.poll() is None and not harness.processes("VBoxHeadless"):
                    time.sleep(0.002)
                time.sleep(whole * part / 48)
                for pid in harness.processes("VBoxHeadless"):
                    os.kill(pid, signal.SIGKILL)
                starting.wait(200)
            self.wait_for("VirtualBox sees it", lambda: state_of("sleeper") in ("saved", "stopped"))
            facts = self.ok(vmctl("get", "sleeper", "-o", "json")).out
            if "aborted while it was restored" in facts:
                break
            if state_of("sleeper") == "stopped":  # it was restored already, and its memory is gone
                self.ok(vmctl("start", "sleeper"))
                self.counts("sleeper", 3)
                self.ok(vmctl("save", "sleeper"))
        else:
            self.fail("no kill came while the memory was read back")
        self.assertEqual(json.loads(facts)["state"], "saved")
        before = vmctl("logs", "sleeper").out.count("it boots")
        self.ok(vmctl("start", "sleeper"))
        self.counts("sleeper", 2)
        self.assertEqual(vmctl("logs", "sleeper").out.count("it boots"), before, "it went on from its memory")

    def test_guru_meditation(self):
        """A guest that faults three times over: crashed, with the words; it can be stopped, not paused or started, and works again."""
        #        xor ax,ax; mov ds,ax; lidt [7c10h]; int3         at 10h: a table of no entries
        image = WORLD / "faults.img"
        code = bytes.fromhex("31c08ed80f011e107ccc").ljust(510, b"\0") + b"\x55\xaa"
        image.write_bytes(code.ljust(1 << 20, b"\0"))
        self.ok(vmctl("create", "-", "--start", input=spec("faults").replace(harness.GUEST, str(image))))
        self.wait_for("VirtualBox gives it up", lambda: state_of("faults") == "crashed")
        facts = self.one(vmctl("get", "faults", "-o", "json"))
        self.assertIn("guru meditation", json.dumps(facts))
        for verb in ("pause", "save", "reset", "start"):
            self.assertEqual(vmctl(verb, "faults").status, 6, verb)
        self.assertEqual(state_of("faults"), "crashed")
        self.ok(vmctl("stop", "faults"))
        self.assertEqual(state_of("faults"), "stopped")
        self.ok(vmctl("start", "faults"))
        self.ok(vmctl("delete", "faults", "--force"))

    def test_locked_while_another_starts_it(self):
        """Another session has the VM's lock and keeps it: it is waited for, then named; nothing has changed."""
        self.make("slow")
        settings = (MACHINES / "slow/slow.vbox").read_bytes()
        with subprocess.Popen(["VBoxManage", "startvm", "slow", "--type", "headless"], stdout=subprocess.DEVNULL) as other:
            victims = []
            while not victims and other.poll() is None:  # as soon as it is there: before it answers anybody
                victims = harness.processes("VBoxHeadless")
            os.kill(victims[0], signal.SIGSTOP)
            try:
                for words in (("set", "slow", "memory=64MiB"), ("rename", "slow", "quick")):
                    done = vmctl(*words)
                    self.assertEqual(done.status, 6, done)
                    self.assertRegex(done.err, "slow is starting|session|lock", done)
            finally:
                os.kill(victims[0], signal.SIGCONT)
            self.assertEqual(other.wait(200), 0)
        self.wait_for("it runs", lambda: state_of("slow") == "running")
        self.assertNotIn(b'RAMSize="64"', (MACHINES / "slow/slow.vbox").read_bytes())
        self.assertIn(b'RAMSize="32"', settings)

    def test_locked_by_another_session(self):
        """What VirtualBox's own window would hold: settings cannot be changed, and it is said."""
        self.make("held", "", "--start")
        before = (MACHINES / "held/held.vbox").read_bytes()
        self.refused(vmctl("set", "held", "memory=64MiB", "--live"), 6, "held", "restart")
        self.refused(vmctl("rename", "held", "other"), 6, "stop held first")
        self.assertEqual((MACHINES / "held/held.vbox").read_bytes(), before)

    def test_a_medium_that_is_in_use_elsewhere(self):
        self.make("owner", "", "--start")
        disk = MACHINES / "owner/root.vdi"
        self.make("other")
        before = registered()
        result = vmctl("attach", "other", "disk", "name=mine", f"volume={disk}")
        self.refused(result, 6, "owner", str(disk))
        self.assertEqual(registered(), before)
        self.assertNotIn(str(disk), (MACHINES / "other/other.vbox").read_text())

    def test_a_disk_that_has_grown_takes_its_snapshot_back(self):
        """VBoxSVC goes on with the size that a disk had, unless it is asked, and merges nothing into a smaller one."""
        grown = f"{{name: root, image: {harness.GUEST}, size: 4MiB}}"
        self.ok(vmctl("create", "-", "--start", input=spec("grown").replace(f"{{name: root, image: {harness.GUEST}}}", grown)))
        self.ok(vmctl("snapshot", "create", "grown", "one"))
        self.ok(vmctl("snapshot", "delete", "grown", "one"))
        self.ok(vmctl("stop", "grown", "--force"))
        self.ok(vmctl("set", "grown", "disks.root.size=6MiB"))
        self.ok(vmctl("start", "grown"))
        self.ok(vmctl("snapshot", "create", "grown", "two"))
        self.ok(vmctl("snapshot", "delete", "grown", "two"))
        self.assertEqual(state_of("grown"), "running")

    # --- the machine ----------------------------------------------------------------------------------------------------

    def test_a_full_disk_while_converting(self):
        small = WORLD / "small"
        small.mkdir()
        source = WORLD / "big.img"
        with open(source, "wb") as out:
            for _ in range(48):
                out.write(os.urandom(1 << 20))
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "small", str(small)], check=True)
        try:
            self.ok(manage("setproperty", "machinefolder", str(small)))
            text = spec("full").replace(harness.GUEST, str(source))
            result = harness.fill_in_mid_copy(small, harness.VMCTL, "create", "-", input=text)
            if result:  # the copy was in the middle when the room went
                self.assertEqual(result.status, 11, result)
                self.assertEqual([p for p in small.rglob("*") if p.is_file()], [])
                self.assertEqual(registered(), [])
        finally:
            manage("setproperty", "machinefolder", str(MACHINES))
            subprocess.run(["umount", "-l", str(small)], check=True)

    def test_vboxsvc_killed_in_the_middle(self):
        """The call that was under way fails or is made again; nothing is left of a VM that was not made."""
        with subprocess.Popen([harness.VMCTL, "create", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True) as child:
            child.stdin.write(spec("cut"))
            child.stdin.close()
            child.stdin = None
            settings = MACHINES / "cut/cut.vbox"
            deadline = time.monotonic() + 60
            while not settings.exists() and child.poll() is None and time.monotonic() < deadline:
                pass
            for pid in harness.processes("VBoxSVC"):
                os.kill(pid, signal.SIGKILL)
            out, err = child.communicate(timeout=200)
        result = harness.Result(["create"], child.returncode, out, err, 0)
        if child.returncode == 0:
            self.ok(vmctl("start", "cut"))
            self.ok(vmctl("delete", "cut", "--force"))
        else:
            self.assertNotEqual(err.strip(), "", result)
            self.ok(vmctl("list"))
        self.make("cut")  # what was left was taken away by the next changing verb
        self.ok(vmctl("delete", "cut"))
        self.assertEqual(registered(), [])
        self.assertEqual([p for p in MACHINES.rglob("*") if p.is_file()], [])

    # --- the program ------------------------------------------------------------------------------------------------------

    def test_no_vboxmanage(self):
        bare = WORLD / "bare"
        bare.mkdir(exist_ok=True)
        result = vmctl("list", env={"PATH": str(bare)})
        self.refused(result, 9, "VBoxManage", "PATH", "/usr/lib/virtualbox", "install")

    def test_the_wrapper_of_debian(self):
        """It prints its warning on stdout: the real program beside it is called, or the warning is read over."""
        wrapped = WORLD / "wrapped"
        wrapped.mkdir(exist_ok=True)
        real = shutil.which("VBoxManage")
        script = wrapped / "VBoxManage"
        script.write_text("#!/bin/sh\necho 'WARNING: The character device /dev/vboxdrv does not exist.'\n"
                          "echo '         Please install the virtualbox-dkms package and the appropriate'\n"
                          f"exec {real} \"$@\"\n")
        script.chmod(0o755)
        self.make("wrapped")
        env = {"PATH": f"{wrapped}:{os.environ['PATH']}"}
        vms = json.loads(self.ok(vmctl("list", "-o", "json", env=env)).out)
        self.assertEqual([vm["name"] for vm in vms], ["wrapped"])
        self.ok(vmctl("host", "info", env=env))
        self.assertEqual(json.loads(self.ok(vmctl("get", "wrapped", "-o", "json", env=env)).out)["state"], "stopped")


harness.main()
