#!/usr/bin/env python3
"""Migrations that go wrong: whatever dies or falls silent, the VM goes on where it was, and the next command clears the rest."""

import json
import os
import pathlib
import signal
import subprocess
import time

import harness
from harness import TARGET, VMCTL, virsh, vmctl
from proxy import Proxy

harness.enter("--kvm", "666", "--daemons", second_host=True)

HOST2 = pathlib.Path(os.environ["HOST2"])
HERE, THERE = pathlib.Path("/var/lib/libvirt/images"), HOST2 / "var/lib/libvirt/images"
SLOW = pathlib.Path(os.environ["WORLD"]) / "slow.raw"


def target_daemon():
    return int((HOST2 / "run/libvirtd.pid").read_text())


def incoming_qemu():
    for pid in harness.processes("qemu-system-x86_64"):
        if b"-incoming" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    return None


class Migrate(harness.Case):
    @classmethod
    def setUpClass(cls):
        boot = pathlib.Path(harness.GUEST).read_bytes()[:512]
        SLOW.write_bytes(boot + os.urandom((64 << 20) - 512))
        for uri in ("qemu:///system", TARGET):
            made = vmctl("create", "bystander", "--image", harness.GUEST, "--memory", "16MiB", "--connect", uri)
            assert made.status == 0, str(made)

    def setUp(self):
        self.assertEqual(self.trace(), [])

    def make(self, name, image=SLOW, **keys):
        yaml = pathlib.Path(os.environ["WORLD"]) / f"{name}.yaml"
        yaml.write_text(json.dumps({"name": name, "memory": "32MiB", "networks": [], "display": "none", "serial": {"log": f"{name}.log"},
                                    "disks": [{"name": "root", "image": str(image)}], **keys}))
        self.ok(vmctl("create", str(yaml), "--start"))
        self.addCleanup(self.remove, name)
        self.wait_for("the guest prints", lambda: "line 2" in (HERE / f"{name}.log").read_text())

    def remove(self, name):
        for uri in ("qemu:///system", TARGET):
            vmctl("delete", name, "--force", "--ignore-not-found", "--connect", uri)
        for folder in (HERE, THERE):
            for file in folder.glob(f"{name}*"):
                file.unlink()

    def begin(self, name, *arguments):
        """A migration that takes some 15 s, on its way."""
        process = subprocess.Popen([VMCTL, "migrate", name, "--to", TARGET, "--storage", "--bandwidth", "4MiB", *arguments],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        self.wait_for("the job", lambda: "disk_total" in virsh("domjobinfo", name, "--rawstats").out)
        time.sleep(1)
        return process

    def end(self, process, status, *words, seconds=60):
        out, err = process.communicate(timeout=seconds)
        result = harness.Result(["migrate"], process.returncode, out, err, 0)
        return self.status(result, status, *words)

    def trace(self):
        """What the target has besides the bystander."""
        domains = [d for d in virsh("list", "--all", "--name", uri=TARGET).out.split() if d != "bystander"]
        return domains + sorted(f.name for f in THERE.iterdir() if not f.name.startswith("bystander") and not f.name.endswith(".log"))

    def journals(self):
        folder = pathlib.Path(os.environ["HOME"]) / ".local/state/vmctl/journal"
        return [f.read_text() for f in folder.iterdir()] if folder.exists() else []

    def goes_on_here(self, name):
        log = HERE / f"{name}.log"
        self.assertEqual(virsh("domstate", name).out.strip(), "running")
        before = log.read_text().count("\n")
        self.wait_for("the guest goes on", lambda: log.read_text().count("\n") > before + 2)
        self.assertEqual(log.read_text().count("it boots"), 1)

    def next_command_clears(self):
        for uri in (TARGET, "qemu:///system"):
            done = self.ok(vmctl("set", "bystander", f"labels.at=t{time.monotonic_ns()}", "--connect", uri))
            self.assertNotIn("could not", done.err)
        self.assertEqual(self.trace(), [])
        self.assertEqual(self.journals(), [])

    def test_ctrl_c(self):
        self.make("m-a")
        process = self.begin("m-a")
        process.send_signal(signal.SIGINT)
        self.end(process, 130, "cancelled", "m-a goes on at the source")
        self.goes_on_here("m-a")
        self.assertEqual((self.trace(), self.journals()), ([], []))

    def test_abort_by_another_command(self):
        self.make("m-b")
        self.status(vmctl("migrate", "--abort", "m-b"), 6, "not being migrated")
        process = self.begin("m-b")
        self.status(vmctl("migrate", "m-b", "--to", TARGET, "--storage"), 6, "being migrated already", "--abort m-b")
        self.ok(vmctl("migrate", "--abort", "m-b"))
        self.end(process, 130, "another command")
        self.goes_on_here("m-b")
        self.assertEqual((self.trace(), self.journals()), ([], []))

    def test_vmctl_is_killed(self):
        self.make("m-c")
        process = self.begin("m-c")
        process.kill()
        process.wait()
        self.next_command_clears()
        self.goes_on_here("m-c")

    def test_the_targets_qemu_is_killed(self):
        self.make("m-d")
        process = self.begin("m-d")
        os.kill(incoming_qemu(), signal.SIGKILL)
        result = self.end(process, 9, "m-d goes on at the source", "try: ")
        self.assertNotIn("internal:", result.err)
        self.goes_on_here("m-d")
        self.assertEqual((self.trace(), self.journals()), ([], []))

    def test_the_targets_daemon_is_killed(self):
        self.make("m-e")
        process = self.begin("m-e")
        os.kill(target_daemon(), signal.SIGKILL)
        try:
            self.end(process, 9, "m-e goes on at the source", "try: ")
            self.goes_on_here("m-e")
        finally:
            subprocess.run(["nsenter", "-t", os.environ["HOST2_PID"], "-m", "-u", "libvirtd", "-d", "--timeout", "600"], check=True)
        self.wait_for("the target's daemon", lambda: virsh("list", uri=TARGET).status == 0)
        self.wait_for("the half that arrived is gone", lambda: "m-e" not in virsh("list", "--all", "--name", uri=TARGET).out)
        self.next_command_clears()

    def test_the_targets_daemon_falls_silent(self):
        self.make("m-f")
        process = self.begin("m-f")
        daemon = target_daemon()
        os.kill(daemon, signal.SIGSTOP)
        try:
            self.end(process, 9, "m-f goes on at the source", "try: ", seconds=150)
            self.goes_on_here("m-f")
        finally:
            os.kill(daemon, signal.SIGCONT)
        self.next_command_clears()

    def test_led_by_vmctl_from_a_source_elsewhere(self):
        """The source is reached over the network: its daemon cannot use the target's URI, and its files come through its daemon."""
        self.make("m-g", image=harness.GUEST, cloudInit={"hostname": "m-g"})
        source = Proxy("/run/libvirt/libvirt-sock").uri()
        result = self.ok(vmctl("migrate", "m-g", "--connect", source, "--to", TARGET, "--storage"))
        self.assertIn("direct", result.err)
        self.assertEqual(virsh("domstate", "m-g", uri=TARGET).out.strip(), "running")
        self.assertEqual(virsh("list", "--all", "--name").out.split(), ["bystander"])
        self.assertEqual((THERE / "m-g-cidata.iso").read_bytes(), (HERE / "m-g-cidata.iso").read_bytes())
        # Stopped, and back: its disks are read through the daemon there.
        disk = (THERE / "m-g-root.raw").read_bytes()
        for file in HERE.glob("m-g*"):
            file.unlink()
        self.ok(vmctl("stop", "--force", "m-g", "--connect", TARGET))
        self.ok(vmctl("migrate", "m-g", "--connect", TARGET, "--to", "qemu:///system", "--storage"))
        self.assertEqual((HERE / "m-g-root.raw").read_bytes(), disk)
        self.ok(vmctl("start", "m-g"))
        self.assertEqual(self.journals(), [])

    def test_a_question_that_is_not_answered(self):
        """The source's daemon answers one question meanwhile not at all: ^C still ends the migration, which itself is not lost."""
        self.make("m-j")
        source = Proxy("/run/libvirt/libvirt-sock")
        process = self.begin("m-j", "--connect", source.uri())
        # A call's header: the program, its version, the procedure (298: virDomainGetJobStats).
        source.swallow = b"\x20\x00\x80\x86" + (1).to_bytes(4, "big") + (298).to_bytes(4, "big")
        self.wait_for("the question", lambda: source.swallow is None)
        process.send_signal(signal.SIGINT)
        result = self.end(process, 130, "cancelled", "m-j goes on at the source")
        self.assertNotIn("did not confirm", result.err)
        self.goes_on_here("m-j")
        self.assertEqual((self.trace(), self.journals()), ([], []))

    def test_killed_between_the_two_steps_of_a_stopped_one(self):
        """Defined there, not yet removed here: it is one VM again, with all that it had, and no daemon is left with half of it."""
        self.make("m-l", image=harness.GUEST, autostart=True)
        self.ok(vmctl("stop", "m-l", "--force"))
        target = Proxy(str(HOST2 / "run/libvirt/libvirt-sock"))
        # A call's header, as above (11: virDomainDefineXML); it is carried out, and its answer does not come.
        target.swallow = b"\x20\x00\x80\x86" + (1).to_bytes(4, "big") + (11).to_bytes(4, "big")
        process = subprocess.Popen([VMCTL, "migrate", "m-l", "--to", target.uri(), "--storage"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.beside(process)
        self.wait_for("both have it", lambda: all("m-l" in virsh("list", "--all", "--name", uri=u).out.split() for u in ("qemu:///system", TARGET)))
        process.kill()
        process.wait()
        for uri in (target.uri(), "qemu:///system"):
            done = self.ok(vmctl("set", "bystander", f"labels.at=t{time.monotonic_ns()}", "--connect", uri))
            self.assertNotIn("could not", done.err)
        self.assertEqual(virsh("list", "--all", "--name").out.split(), ["bystander"])
        facts = virsh("dominfo", "m-l", uri=TARGET).out
        for line in ("shut off", "Persistent:     yes", "Autostart:      enable"):
            self.assertIn(line, facts)
        self.ok(vmctl("start", "m-l", "--connect", TARGET))
        self.assertEqual(self.journals(), [])

    def test_over_a_unix_socket(self):
        """facts: two daemons on one machine; the disks need a socket of their own."""
        self.make("m-h", image=harness.GUEST)
        folder = pathlib.Path(os.environ["SHARED"]) / "sockets"
        folder.mkdir()
        folder.chmod(0o777)
        self.ok(vmctl("migrate", "m-h", "--to", TARGET, "--storage", "--migrate-uri", f"unix://{folder}/m-h"))
        self.assertEqual(virsh("domstate", "m-h", uri=TARGET).out.strip(), "running")

    def test_uefi_variables_and_tpm(self):
        """QEMU's stream has both (the flash is a block of memory there), so a running VM takes them along; a stopped one is warned of."""
        harness.need("swtpm")
        yaml = pathlib.Path(os.environ["WORLD"]) / "m-k.yaml"
        yaml.write_text(json.dumps({"name": "m-k", "memory": "64MiB", "networks": [], "display": "none", "firmware": {"type": "uefi", "tpm": True},
                                    "disks": [{"name": "root", "image": harness.GUEST}]}))
        self.ok(vmctl("create", str(yaml), "--start"))
        self.addCleanup(self.remove, "m-k")
        uuid = virsh("domuuid", "m-k").out.strip()

        def of(host):
            return host / "var/lib/libvirt/qemu/nvram/m-k_VARS.fd", host / f"var/lib/libvirt/swtpm/{uuid}/tpm2/tpm2-00.permall"

        # A mark in the last bytes of the store, which the firmware leaves alone.
        self.ok(vmctl("stop", "m-k", "--force"))
        variables, tpm = of(pathlib.Path("/"))
        variables.write_bytes(variables.read_bytes()[:-16] + b"vmctl moved this")
        self.ok(vmctl("start", "m-k"))
        # Its seeds: what looks like chance. Counters beside them change with each start of the firmware.
        state = tpm.read_bytes()
        seeds = [state[at:at + 32] for at in range(0, len(state) - 32, 4) if len(set(state[at:at + 32])) > 27]
        self.assertGreater(len(seeds), 10)
        self.ok(vmctl("migrate", "m-k", "--to", TARGET, "--storage"))
        self.ok(vmctl("stop", "m-k", "--force", "--connect", TARGET))
        variables, tpm = of(HOST2)
        self.assertEqual(variables.read_bytes()[-16:], b"vmctl moved this")
        state = tpm.read_bytes()
        self.assertGreater(sum(seed in state for seed in seeds), len(seeds) / 2)
        result = self.ok(vmctl("migrate", "m-k", "--connect", TARGET, "--to", "qemu:///system", "--dry-run"))
        self.assertIn("its UEFI variables are not moved while it is stopped", result.err)
        self.assertIn("what its TPM holds is not moved while it is stopped", result.err)

    def test_what_is_refused(self):
        self.make("m-i", image=harness.GUEST)
        self.status(vmctl("migrate", "m-i", "--to", "host:other"), 3, "cluster", "qemu+ssh://root@other/system")
        self.status(vmctl("migrate", "m-i"), 3, "cluster", "qemu+ssh://root@HOST/system")
        self.status(vmctl("migrate", "m-i", "--to", TARGET, "--abort"), 2, "exclude")
        self.status(vmctl("migrate", "m-i", "--to", TARGET, "--live", "--offline"), 2, "exclude")
        self.status(vmctl("migrate", "m-i", "--to", TARGET, "--offline", "--storage"), 6, "is running")
        self.status(vmctl("migrate", "m-i", "--to", "qemu+unix:///system?socket=/nowhere/sock", "--storage"), 9)
        self.ok(virsh("snapshot-create-as", "m-i", "s", "--disk-only", "--diskspec", "vda,snapshot=external,file=/var/lib/libvirt/images/m-i-s.qcow2"))
        result = self.status(vmctl("migrate", "m-i", "--to", TARGET, "--storage", "--dry-run", "-o", "json"), 3, "snapshot")
        answer = json.loads(result.out)[0]
        self.assertEqual(answer["outcome"], "cannot be moved")
        self.assertEqual([o["what"] for o in answer["obstacles"] if o["fatal"]], ["snapshots"])
        virsh("snapshot-delete", "m-i", "s", "--metadata")


harness.main()
