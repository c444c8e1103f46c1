#!/usr/bin/env python3
"""VirtualBox on another host: virtualbox+ssh:// through a real sshd to a second VirtualBox, whose files this side sees under another path
only by the test's own eyes (tests/virtualbox/ssh-host)."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import additions
import harness
from harness import run, vmctl

harness.need("ssh", "ssh-keygen", "qemu-img")
SSH_HOST = str(harness.HERE.parent / "virtualbox/ssh-host")
harness.enter("--virtualbox", cached=False, beside=(SSH_HOST, "--"))
WORLD, FAR, SHARED = (pathlib.Path(os.environ[name]) for name in ("WORLD", "FAR", "SHARED"))
URI, HERE_URI = os.environ["FAR_URI"], "virtualbox:///"
EXTRA = "virtualbox: {modifyvm: {vm-execution-engine: recompiler, paravirt-provider: none}}"


def spec(name, more="", root=None):
    root = root or f"{{name: root, image: {harness.GUEST}}}"
    return (f"name: {json.dumps(name)}\nbackend: virtualbox\nmemory: 32MiB\nnetworks: []\n"
            f"disks: [{root}]\nserial: {{log: serial.log}}\n{EXTRA}\n{more}")


def far(verb, *arguments, uri=URI, **options):
    return vmctl(verb, "--connect", uri, *arguments, **options)


def manage_there(*arguments):
    return run("VBoxManage", *arguments, env={"VBOX_USER_HOME": str(FAR / "registry"), "VBOX_IPC_SOCKETID": "far"})


class Ssh(harness.Case):
    def tearDown(self):
        for uri in (URI, HERE_URI):
            for vm in json.loads(far("list", "-o", "json", uri=uri).out or "[]"):
                far("delete", vm["id"], "--force", uri=uri)

    def test_1_a_life_there(self):
        text = spec("it's \"far\" für -x", "cloudInit: {hostname: far-1}\ndisplay: {type: none}")
        self.assertEqual(self.one(far("host", "info", "-o", "json"))["name"], "far-away")
        self.ok(far("create", "-", "--start", input=text))
        self.assertEqual(harness.files(WORLD / "machines"), [], "nothing of it is on this side")
        vm = self.one(far("list", "-o", "json"))
        self.assertEqual((vm["name"], vm["state"]), ("it's \"far\" für -x", "running"))
        name = vm["id"]
        self.assertIn("VMState=\"running\"", manage_there("showvminfo", name, "--machinereadable").out)
        done = self.ok(far("console", name, "--until", "line [0-9]+", "--timeout", "3m"))
        self.assertIn("vmctl guest: line", done.out)
        self.assertIn("vmctl guest: it boots", self.ok(far("logs", name)).out)
        self.ok(far("snapshot", "create", name, "one"))
        self.ok(far("attach", name, "disk", "name=more", "size=1MiB"))
        self.ok(far("stop", name, "--force"))
        self.ok(far("snapshot", "revert", name, "one"))
        self.ok(far("stop", name, "--force"))
        self.ok(far("set", name, "cpus=2", "description=two\nlines"))
        shown = self.ok(far("get", name, "-o", "spec"))
        self.assertIn("is the same", self.ok(far("diff", "-", input=shown.out)).out)
        self.ok(far("start", name))
        self.ok(far("save", name))
        self.ok(far("start", name))
        self.assertGreaterEqual(self.ok(far("logs", name)).out.count("vmctl guest: it boots"), 1)
        self.ok(far("stop", name, "--force"))
        self.ok(far("snapshot", "delete", name, "one"))
        self.ok(far("clone", name, "copy"))
        self.ok(far("delete", "copy"))
        self.ok(far("rename", name, "plain"))
        self.ok(far("delete", "plain"))
        self.assertEqual(harness.files(FAR / "machines"), [])
        self.assertEqual(manage_there("list", "vms").out.strip(), "")

    def test_2_a_picture_and_keys(self):
        self.ok(far("create", "-", "--start", input=spec("shows", "display: {type: vnc}")))
        self.ok(far("screenshot", "shows", str(WORLD / "far.png")))
        self.assertEqual((WORLD / "far.png").read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        self.ok(far("send-key", "shows", "a"))
        self.assertEqual([p for p in (FAR / "machines/shows").iterdir() if p.name.startswith(".vmctl")], [])

    def test_3_what_is_there_and_what_is_not(self):
        iso = SHARED / "disc.iso"
        blank = bytearray(2048 * 20)
        blank[2048 * 16:2048 * 16 + 6] = b"\x01CD001"
        iso.write_bytes(blank)
        self.ok(far("create", "-", input=spec("drives", root=f"{{name: dvd, cdrom: {iso}}}")))
        (WORLD / "home/own.iso").write_bytes(blank)
        result = far("cdrom", "insert", "drives", str(WORLD / "home/own.iso"))
        self.assertEqual(result.status, 4, result)
        self.assertIn("no file of 127.0.0.1", result.err)

    def test_4_a_host_that_is_not_reached(self):
        refused = far("list", uri="virtualbox+ssh://root@127.0.0.1:1/")
        self.assertEqual(refused.status, 9, refused)
        self.assertIn("ssh to 127.0.0.1 failed", refused.err)
        other = WORLD / "home/other"
        self.assertEqual(run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)).status, 0)
        # Another name of the same host: the connection that is open belongs to the first one.
        stranger = far("list", uri=f"virtualbox+ssh://root@127.0.0.2:{os.environ['FAR_PORT']}/?keyfile={other}&no_verify=1")
        self.assertNotEqual(stranger.status, 0, stranger)
        unknown = far("list", uri=f"virtualbox+ssh://root@127.0.0.1:{os.environ['FAR_PORT']}/?keyfile={os.environ['FAR_KEY']}")
        self.assertEqual(unknown.status, 7, unknown)
        self.assertIn("host key", unknown.err.lower())
        for uri, word in (("virtualbox+ssh:///", "host"), ("virtualbox+ssh://-oProxyCommand=x/", "host"), ("virtualbox+ssh://a:0/", "port"),
                          ("virtualbox+ssh://a/path", "path"), ("virtualbox+ssh://a/?nothing=1", "parameter")):
            result = far("list", uri=uri)
            self.assertEqual(result.status, 2, result)
            self.assertIn(word, result.err, result)

    def test_5_no_secret_and_no_program_stays(self):
        """What runs there ends with its caller, whatever ends that; a connection is one for all calls."""
        self.ok(far("create", "-", "--start", input=spec("follows")))
        with subprocess.Popen([harness.VMCTL, "logs", "follows", "--follow", "--connect", URI], stdout=subprocess.PIPE, text=True) as child:
            self.assertTrue(child.stdout.readline())
            self.wait_for("tail runs there", lambda: [c for c in harness.commands() if c.startswith("tail -c")])
            child.send_signal(signal.SIGKILL)
        self.wait_for("it is ended", lambda: not [c for c in harness.commands() if c.startswith("tail -c")])
        log = (FAR / "sshd.log").read_text()
        for _ in range(3):
            self.ok(far("list"))
        self.assertEqual((FAR / "sshd.log").read_text().count("Accepted publickey"), log.count("Accepted publickey"))

    def test_6_teleport_there_and_back(self):
        """The guest's count goes on, at a disk that both hosts have."""
        done = run("qemu-img", "convert", "-f", "raw", "-O", "vdi", "-o", "static=on", harness.GUEST, str(SHARED / "root.vdi"))
        self.assertEqual(done.status, 0, done)
        text = spec("moves", root=f"{{name: root, volume: {SHARED}/root.vdi, shared: true}}")
        self.ok(far("create", "-", "--start", input=text, uri=HERE_URI))
        self.counts_at(HERE_URI, 2)
        self.ok(far("migrate", "moves", "--to", URI, uri=HERE_URI))
        self.assertEqual(json.loads(far("list", "-o", "json", uri=HERE_URI).out), [])
        self.assertEqual(self.one(far("list", "-o", "json"))["state"], "running")
        shutil.rmtree(WORLD / "machines/moves")  # what it logged here
        there = self.ok(far("logs", "moves")).out
        self.assertNotIn("it boots", there)
        self.ok(far("migrate", "moves", "--to", HERE_URI))
        self.assertEqual(json.loads(far("list", "-o", "json").out), [])
        self.counts_at(HERE_URI, 4)
        self.assertNotIn("it boots", self.ok(far("logs", "moves", uri=HERE_URI)).out)
        leftover = [p for p in harness.files(FAR / "machines") if "password" in str(p)]
        self.assertEqual(leftover, [])

    def test_7_what_a_vm_there_uses(self):
        """Its process is that host's: counted there, where its system tells."""
        self.ok(far("create", "-", "--start", input=spec("busy")))
        pids = [c for c in harness.commands() if "--startvm" in c]
        self.assertEqual(len(pids), 1)
        self.counts_at(URI, 3, name="busy")
        last = self.one(far("top", "--count", "1", "--interval", "1s", "-o", "json"))
        self.assertEqual((last["name"], last["state"]), ("busy", "running"), last)
        self.assertGreater(last["cpuPercent"], 1, last)  # of a guest in VirtualBox' recompiler
        self.assertGreater(last["residentMiB"], 8, last)

    def test_8_in_the_guest(self):
        """Programs run, files go both ways, addresses are told; of the password nothing stays there, not even when vmctl is killed."""
        secret = "geheim: 'quoted' $x"
        additions.install(FAR / "bin/VBoxManage", FAR, secret, real=run("sh", "-c", "command -v VBoxManage").out.strip())
        self.addCleanup((FAR / "bin/VBoxManage").unlink)
        (WORLD / "home/password").write_text(secret + "\n")
        (FAR / "properties").write_text("/VirtualBox/GuestInfo/Net/0/MAC = '080027E5945A' @ 2026-11-23T04:58:36.021Z\n"
                                        "/VirtualBox/GuestInfo/Net/0/V4/IP = '10.0.2.15' @ 2026-11-23T04:58:36.021Z\n")
        guest = WORLD / "inside"
        guest.mkdir()
        env = {"VMCTL_GUEST_USER": "ci", "VMCTL_GUEST_PASSWORD_FILE": str(WORLD / "home/password")}
        self.ok(far("create", "-", "--start", input=spec("inside")))
        before = self.kept_there()
        done = far("exec", "--via", "agent", "inside", "--", "/bin/sh", "-c", "echo \"out $1\"; echo err >&2; exit 7", "sh", "a b", env=env)
        self.assertEqual((done.status, done.out), (7, "out a b\n"), done)
        self.assertIn("err", done.err)
        fed = far("exec", "--via", "agent", "--stdin", "inside", "--", "/bin/cat", input="fed\n", env=env)
        self.assertEqual((fed.status, fed.out), (0, "fed\n"), fed)
        source = WORLD / "home/source"
        source.write_bytes(os.urandom(3_000_000))
        self.ok(far("cp", "--via", "agent", str(source), f"inside:{guest}/copy", env=env))
        self.assertEqual((guest / "copy").read_bytes(), source.read_bytes())
        self.ok(far("cp", "--via", "agent", f"inside:{guest}/copy", str(WORLD / "home/back"), env=env))
        self.assertEqual((WORLD / "home/back").read_bytes(), source.read_bytes())
        missing = far("cp", "--via", "agent", f"inside:{guest}/nothing", str(WORLD / "home/back"), env=env)
        self.assertEqual(missing.status, 4, missing)
        self.assertIn("10.0.2.15", self.ok(far("address", "inside")).out)
        self.ok(far("set-password", "inside", "root", input="new\n", env=env))
        self.assertEqual((FAR / "chpasswd").read_text(), "root:new\n")
        self.assertEqual(self.kept_there(), before)
        child = self.beside(subprocess.Popen(
            [harness.VMCTL, "exec", "--via", "agent", "--connect", URI, "inside", "--", "/bin/sh", "-c", "echo begun; exec sleep 600"],
            stdout=subprocess.PIPE, text=True, env={**os.environ, **env}))
        self.assertEqual(child.stdout.readline(), "begun\n")
        self.assertNotEqual(self.kept_there(), before)
        child.send_signal(signal.SIGKILL)
        self.wait_for("the password goes", lambda: self.kept_there() == before)
        self.assertNotIn("geheim", (FAR / "calls").read_text())
        self.wait_for("the program there ends", lambda: not [c for c in harness.commands() if c.startswith("sleep 600")])

    @staticmethod
    def kept_there():
        return sorted(str(p) for folder in (FAR / "machines", pathlib.Path("/dev/shm")) for p in folder.rglob(".vmctl-*"))

    def test_9_a_port_of_it_here(self):
        """Through ssh and VirtualBox' NAT to what the guest would listen at; both ends go with the command."""
        self.ok(far("create", "-", "--start", input=spec("serves").replace("networks: []", "networks: [{name: out, type: nat}]")))
        argv = [harness.VMCTL, "port-forward", "serves", "0:80", "--connect", URI]
        child = self.beside(subprocess.Popen(argv, stdout=subprocess.PIPE, text=True))
        said = child.stdout.readline()
        self.assertRegex(said, r"^127\.0\.0\.1:\d+ -> 80\n$")
        port = int(said.split(" ")[0].split(":")[1])
        rules = self.rules()
        self.assertEqual(len(rules), 1, rules)
        self.assertRegex(rules[0], r"vmctl-\d+-80,tcp,127\.0\.0\.1,\d+,,80")
        there = int(rules[0].split(",")[3])
        self.assertTrue(self.listens(port) and self.listens(there), (port, there))
        self.assertNotEqual(port, there)
        child.send_signal(signal.SIGINT)
        child.wait(120)
        self.wait_for("nobody listens", lambda: not self.listens(port) and not self.listens(there))
        self.assertEqual(self.rules(), [])

    @staticmethod
    def rules():
        return [line.split('"')[1] for line in manage_there("showvminfo", "serves", "--machinereadable").out.splitlines() if line.startswith("Forwarding(")]

    @staticmethod
    def listens(port):
        return any(line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A"
                   for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:])

    def test_a_vm_as_a_file(self):
        """Its disks come through ssh, also what stands on a snapshot; and go there again."""
        self.ok(far("create", "-", input=spec("exported")))
        self.ok(far("snapshot", "create", "exported", "one"))
        self.ok(far("start", "exported"))
        self.counts_at(URI, 2, name="exported")
        self.ok(far("stop", "exported", "--force"))
        before = sorted(line for line in manage_there("list", "hdds").out.splitlines() if line.startswith("Location"))
        target = WORLD / "home/exported.ova"
        self.ok(far("export", "exported", str(target)))
        self.assertEqual(sorted(line for line in manage_there("list", "hdds").out.splitlines() if line.startswith("Location")), before)
        self.assertEqual(self.kept_there(), [])
        self.ok(far("import", str(target), "--name", "imported"))
        self.ok(manage_there("modifyvm", "imported", "--vm-execution-engine", "recompiler", "--paravirt-provider", "none"))
        self.ok(far("start", "imported"))
        self.assertEqual([vm["state"] for vm in json.loads(far("list", "-o", "json").out) if vm["name"] == "imported"], ["running"])

    def test_a_memory_as_a_file(self):
        self.ok(far("create", "-", "--start", input=spec("dumped")))
        target = WORLD / "home/dumped.core"
        self.ok(far("dump", "dumped", str(target)))
        self.assertEqual(target.read_bytes()[:4], b"\x7fELF")
        self.assertGreater(target.stat().st_size, 32 << 20)
        self.assertEqual(self.kept_there(), [])
        self.assertEqual([p.name for p in target.parent.iterdir() if "dumped" in p.name], ["dumped.core"])

    def counts_at(self, uri, line, name="moves"):
        self.ok(far("console", name, "--until", f"line {line}|line [0-9]+", "--timeout", "3m", uri=uri))


harness.main()
