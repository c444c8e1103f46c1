#!/usr/bin/env python3
"""A real Debian 12: created from a vm.yaml, waited for stage by stage, logged into; one boot for all of the tests."""

import base64
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import urllib.request

import harness
from harness import virsh, vmctl

if "WORLD" not in os.environ:
    # Made outside of the private machine, which has no network; kept between runs.
    if os.geteuid() != 0:
        harness.skip("needs root")
    made = subprocess.run([str(harness.HERE.parent / "guests/debian"), str(harness.BUILD / "tests/debian.qcow2")])
    if made.returncode != 0:
        harness.skip("the Debian image could not be made") if made.returncode == 77 else exit(1)
harness.enter("--kvm", "666", "--daemons")
harness.need("ssh", "ssh-keygen")
IMAGE = str(harness.BUILD / "tests/debian.qcow2")


class Debian(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(os.environ["WORLD"]) / "debian"
        cls.folder.mkdir()
        (pathlib.Path(os.environ["HOME"]) / ".ssh").mkdir(mode=0o700, exist_ok=True)
        cls.key = cls.folder / "id"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(cls.key)], check=True)
        cls.yaml = cls.folder / "debian.yaml"
        cls.yaml.write_text(f"""
name: web-1
cpus: {{count: 2, max: 4}}
memory: {{size: 1GiB, max: 2GiB}}
machine: pc
disks:
  - {{name: root, image: {IMAGE}, size: 4GiB}}
networks:
  - {{name: lan, type: nat}}
cloudInit:
  hostname: web-1
  user: ci
  sshKeys: [{cls.key}.pub]
guestAgent: true
serial: {{log: web-1.log}}
rng: true
""")

    def test_1_create_and_wait_names_each_stage(self):
        self.ok(vmctl("create", str(self.yaml), "--start", timeout=120))
        waited = vmctl("wait", "web-1", "--for", "cloud-init", "--progress", "plain", "--timeout", "600s",
                       "--identity", str(self.key), timeout=620)
        if waited.status == 2 and "identity" in waited.err:
            waited = vmctl("wait", "web-1", "--for", "cloud-init", "--progress", "plain", "--timeout", "600s", timeout=620)
        self.ok(waited)
        for stage in ("address", "ssh", "cloud-init"):
            self.assertRegex(waited.err, stage, str(waited))
        self.assertNotIn("waiting", waited.out, "progress belongs to standard error")

    def test_2_the_address_is_known(self):
        address = self.ok(vmctl("address", "web-1"))
        self.assertRegex(address.out, r"192\.168\.\d+\.\d+")
        vm = self.one(vmctl("get", "web-1", "-o", "json"))
        self.assertTrue(any(a["source"] in ("agent", "lease") for a in vm["addresses"]), vm)
        harness.proves("guest.addresses")

    def test_3_ssh_runs_a_command_and_its_status_is_ours(self):
        options = ["-i", str(self.key)]
        result = vmctl("ssh", *options, "web-1", "--", "cat", "/etc/os-release")
        if result.status == 2:
            result = vmctl("ssh", "--identity", str(self.key), "web-1", "--", "cat", "/etc/os-release")
            options = ["--identity", str(self.key)]
        self.ok(result)
        self.assertIn("VERSION_CODENAME=bookworm", result.out)
        self.assertEqual(vmctl("ssh", *options, "web-1", "--", "exit", "7").status, 7)
        self.assertEqual(vmctl("ssh", *options, "web-1", "--", "hostname").out.strip(), "web-1")
        disk = vmctl("ssh", *options, "web-1", "--", "cat", "/sys/block/vda/size")
        self.assertEqual(int(disk.out) * 512, 4 << 30)

    def test_3b_ssh_where_there_is_no_agent(self):
        key = ["--identity", str(self.key)]
        words = ["printf", "%s|", "a b", "it's", "$HOME", ""]
        sent = self.folder / "sent.bin"
        sent.write_bytes(os.urandom(3 << 20))
        sent.chmod(0o640)
        self.ok(vmctl("ssh", *key, "web-1", "--", "sudo systemctl stop qemu-guest-agent"))
        try:
            self.wait_for("the agent is gone", lambda: vmctl("exec", "web-1", "--via", "agent", "--", "true").status == 125, 60)
            said = self.ok(vmctl("exec", *key, "web-1", "--", *words))
            self.assertEqual(said.out, "a b|it's|$HOME||", str(said))
            self.assertIn("by ssh then", said.err)
            self.assertEqual(vmctl("exec", *key, "web-1", "--", "sh", "-c", "exit 7").status, 7)
            self.assertEqual(self.ok(vmctl("exec", *key, "-i", "web-1", "--", "tr", "a-z", "A-Z", input="typed")).out, "TYPED")
            self.ok(vmctl("cp", *key, str(sent), "web-1:/tmp/sent.bin"))
            back = self.folder / "back.bin"
            self.ok(vmctl("cp", *key, "web-1:/tmp/sent.bin", str(back)))
            self.assertEqual(back.read_bytes(), sent.read_bytes())
            self.assertEqual(back.stat().st_mode & 0o777, 0o640)
            self.status(vmctl("cp", "--via", "agent", str(sent), "web-1:/tmp/x"), 6, "agent")
        finally:
            self.ok(vmctl("ssh", *key, "web-1", "--", "sudo systemctl start qemu-guest-agent"))
            self.ok(vmctl("wait", "web-1", "--for", "agent", "--timeout", "120s"))
        self.assertEqual(self.ok(vmctl("exec", *key, "--via", "ssh", "web-1", "--", "hostname")).out.strip(), "web-1")

    def test_3c_a_port_of_the_guests_own_loopback_by_ssh(self):
        self.ok(vmctl("ssh", "--identity", str(self.key), "web-1", "--", "busybox httpd -p 127.0.0.1:8099 -h /etc"))
        command = [harness.VMCTL, "port-forward", "--via", "ssh", "web-1", "0:8099"]
        process = subprocess.Popen([*command, "--identity", str(self.key)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = process.stdout.readline()
            found = re.fullmatch(r"127\.0\.0\.1:(\d+) -> 8099\n", line)
            self.assertTrue(found, line)
            for _ in range(2):  # as long as it is wanted
                with urllib.request.urlopen(f"http://127.0.0.1:{found[1]}/hostname", timeout=60) as answer:
                    self.assertEqual(answer.read().decode().strip(), "web-1")
        finally:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, out + err)
        self.assertIn("goes by ssh to", err)
        self.assertNotIn("debug", err)
        with self.assertRaises(OSError):  # and it has ended
            socket.create_connection(("127.0.0.1", int(found[1])), timeout=5).close()
        other = self.folder / "other"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
        refused = harness.run(*command, "--identity", str(other), "--timeout", "60s", env={"SSH_AUTH_SOCK": ""})
        self.status(refused, 7, "--identity")
        self.assertEqual(refused.out, "")

    def test_4_waiting_again_is_at_once(self):
        for stage in ("running", "agent", "address", "port:22"):
            self.assertLess(self.ok(vmctl("wait", "web-1", "--for", stage, "--timeout", "30s")).seconds, 10, stage)

    def agent(self, command, **arguments):
        request = json.dumps({"execute": command, **({"arguments": arguments} if arguments else {})})
        return json.loads(self.ok(virsh("qemu-agent-command", "web-1", request, "--timeout", "30")).out)["return"]

    def inside(self, *argv):
        """What a program in the guest prints."""
        pid = self.agent("guest-exec", path=argv[0], arg=list(argv[1:]), **{"capture-output": True})["pid"]
        done = self.wait_for(str(argv), lambda: (lambda s: s if s["exited"] else None)(self.agent("guest-exec-status", pid=pid)))
        return base64.b64decode(done.get("out-data", "")).decode()

    def memory_and_definition_agree(self):
        vm = self.one(vmctl("get", "web-1", "-o", "json"))
        self.assertEqual(vm["restartRequired"], False, vm)
        return vm

    def test_4b_a_disk_comes_and_goes(self):
        self.ok(vmctl("attach", "web-1", "disk", "name=data", "size=1GiB", "serial=hot-1", "--live"))
        shown = self.wait_for("the disk in lsblk", lambda: (lambda out: out if "hot-1" in out else None)(
            self.inside("/usr/bin/lsblk", "-bno", "NAME,SIZE,SERIAL")), 60)
        self.assertRegex(shown, r"vd\w +1073741824 hot-1")
        self.memory_and_definition_agree()
        gone = self.ok(vmctl("detach", "web-1", "data", "--live", "--timeout", "30s"))
        self.assertIn("web-1-data", gone.err, "it is told where the data is")
        self.assertNotIn("hot-1", self.inside("/usr/bin/lsblk", "-bno", "NAME,SIZE,SERIAL"))
        self.memory_and_definition_agree()
        self.ok(vmctl("attach", "web-1", "nic", "name=two", "type=user", "--live"))
        self.wait_for("the NIC", lambda: "eth1" in self.inside("/usr/bin/ls", "/sys/class/net"), 60)
        self.ok(vmctl("detach", "web-1", "two", "--live", "--timeout", "30s"))
        self.assertNotIn("eth1", self.inside("/usr/bin/ls", "/sys/class/net"))

    def test_4c_the_root_grows_and_the_guest_sees_it(self):
        self.ok(vmctl("set", "web-1", "disk.root.size=5GiB", "--live"))
        self.wait_for("5 GiB", lambda: int(self.inside("/usr/bin/cat", "/sys/block/vda/size")) * 512 == 5 << 30, 60)

    def write(self, path):
        handle = self.agent("guest-file-open", path=path, mode="w")
        self.agent("guest-file-write", handle=handle, **{"buf-b64": "Z28K"})
        self.agent("guest-file-flush", handle=handle)
        self.agent("guest-file-close", handle=handle)

    def test_5_a_quiesced_snapshot_is_frozen_and_the_guest_is_not(self):
        made = self.one(vmctl("snapshot", "create", "web-1", "quiet", "--quiesce", "-o", "json"))
        self.assertEqual((made["quiesced"], made["memory"]), (True, True))
        self.assertEqual(self.agent("guest-fsfreeze-status"), "thawed")
        self.write("/root/later")
        # virsh brings the memory back as it was taken: with its file systems frozen.
        self.ok(virsh("snapshot-revert", "web-1", "quiet"))
        self.assertEqual(self.agent("guest-fsfreeze-status"), "frozen")
        self.ok(vmctl("snapshot", "revert", "web-1", "quiet"))
        self.assertEqual(self.agent("guest-fsfreeze-status"), "thawed")
        self.write("/root/again")
        gone = self.virsh_fails("qemu-agent-command", "web-1", '{"execute": "guest-file-open", "arguments": {"path": "/root/later"}}')
        self.assertIn("No such file", gone.err)
        self.ok(vmctl("snapshot", "delete", "web-1", "quiet"))

    def test_6_what_a_killed_vmctl_froze_is_thawed(self):
        self.agent("guest-fsfreeze-freeze")
        self.assertEqual(self.agent("guest-fsfreeze-status"), "frozen")
        harness.leave_journal("freeze", virsh("domuuid", "web-1").out.strip())
        self.ok(vmctl("snapshot", "create", "web-1", "after"))
        self.assertEqual(self.agent("guest-fsfreeze-status"), "thawed")
        self.ok(vmctl("snapshot", "delete", "web-1", "after"))

    def virsh_fails(self, *arguments):
        result = virsh(*arguments)
        self.assertNotEqual(result.status, 0, str(result))
        return result

    # After the snapshots, whose QEMU starts anew with the memory of a guest that has two CPUs.

    def test_6b_cpus_come_online_and_those_of_the_start_stay(self):
        came = self.ok(vmctl("set", "web-1", "cpus=4", "--live"))
        self.assertEqual(self.memory_and_definition_agree()["cpus"], 4)
        self.assertNotIn("offline", came.err)
        self.assertEqual(self.inside("/usr/bin/nproc").strip(), "4", str(came))
        none = vmctl("set", "web-1", "cpus=1", "--live")
        self.assertEqual(none.status, 6, str(none))
        self.assertIn("the 2 CPUs that it was started with stay", none.err)
        fewer = vmctl("set", "web-1", "cpus=2", "--live", "--timeout", "60s")
        if "<domain type='kvm'" in virsh("dumpxml", "web-1").out:
            self.ok(fewer)
            self.assertEqual(self.inside("/usr/bin/nproc").strip(), "2")
        else:
            self.assertEqual(fewer.status, 6, str(fewer))
            self.assertIn("TCG", fewer.err)
            self.assertEqual(self.inside("/usr/bin/nproc").strip(), "4")
        self.memory_and_definition_agree()
        more = vmctl("set", "web-1", "cpus.count=5", "cpus.max=5", "--live")
        self.assertEqual(more.status, 6, str(more))
        self.assertIn("room for 4 CPUs", more.err)

    def total_mib(self):
        return int(re.search(r"MemTotal: +(\d+)", self.inside("/usr/bin/cat", "/proc/meminfo"))[1]) // 1024

    def test_6c_memory_comes_online_up_to_its_maximum_and_the_balloon_takes_some_back(self):
        whole = self.total_mib()
        self.ok(vmctl("set", "web-1", "memory=768MiB", "--live", "--timeout", "60s"))
        self.assertEqual(self.memory_and_definition_agree()["memoryMiB"], 768)
        self.assertAlmostEqual(self.total_mib(), whole - 256, delta=16)
        for size in (1536, 2048):
            came = self.ok(vmctl("set", "web-1", f"memory={size}MiB", "--live", "--timeout", "60s"))
            self.assertEqual(self.memory_and_definition_agree()["memoryMiB"], size)
            self.assertNotIn("offline", came.err)
            self.assertAlmostEqual(self.total_mib(), whole + size - 1024, delta=16)
        more = vmctl("set", "web-1", "memory.size=3GiB", "memory.max=3GiB", "--live")
        self.assertEqual(more.status, 6, str(more))
        self.assertIn("room for 2GiB", more.err)

    def test_7_a_guest_that_listens_stops_by_itself(self):
        stopped = self.ok(vmctl("stop", "web-1", "--grace", "60s", timeout=120))
        self.assertLess(stopped.seconds, 45)
        self.assertNotIn("powered off", stopped.err)
        log = self.ok(vmctl("logs", "web-1")).out
        self.assertIsNotNone(re.search(r"reboot: Power down", log) or re.search(r"Reached target.*[Pp]ower", log), log[-2000:])

    def test_8_gone_without_a_trace(self):
        self.ok(vmctl("delete", "web-1"))
        left = [f for f in harness.files("/var/lib/libvirt", "/etc/libvirt/qemu") if "web-1" in f]
        self.assertEqual(left, [])


harness.main()
