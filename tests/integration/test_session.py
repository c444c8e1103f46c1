#!/usr/bin/env python3
"""An ordinary user, who has no system daemon: the session daemon is that user's own and is started by libvirt.

As root a user is made who exists in this test's own machine alone, and every command goes through a login of that user (runuser -l),
without and with the XDG_RUNTIME_DIR that a login manager makes. Without root it is whoever runs this, with a home of its own."""

import os
import pathlib
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time

import harness
from harness import run

ROOT = os.geteuid() == 0
NAME, ID = "vmctl-user", 54321
if ROOT:
    harness.need("runuser")
    harness.enter("--kvm", "666")


def add_user(home):
    """In private copies of the users' database. Not by useradd: it replaces the files, which a mount forbids."""
    if b"world" not in pathlib.Path("/proc/1/cmdline").read_bytes():
        harness.skip("WORLD is set, but this is not a machine of its own")
    lines = {"passwd": f"{NAME}:x:{ID}:{ID}::{home}:/bin/bash", "group": f"{NAME}:x:{ID}:", "shadow": f"{NAME}:*:19000::::::"}
    for name, line in lines.items():
        copy = pathlib.Path(os.environ["WORLD"]) / name
        shutil.copy2(f"/etc/{name}", copy)
        with open(copy, "a") as file:
            file.write(line + "\n")
        subprocess.run(["mount", "--bind", str(copy), f"/etc/{name}"], check=True)


class Session:
    runtime = None

    @classmethod
    def setUpClass(cls):
        cls.base = pathlib.Path(tempfile.mkdtemp(prefix="session-", dir=os.environ.get("WORLD")))
        cls.base.chmod(0o755)
        cls.home = cls.base / "home"
        cls.home.mkdir(mode=0o700)
        cls.guest = cls.base / "guest.img"
        shutil.copy(harness.GUEST, cls.guest)
        cls.env = {}
        cls.vmctl_path = harness.VMCTL
        if ROOT:
            # The source and build trees may be in a folder that only root enters.
            for part in ("bin", "lib"):
                shutil.copytree(harness.BUILD / part, cls.base / "build" / part, symlinks=True)
            cls.vmctl_path = str(cls.base / "build/bin/vmctl")
            shutil.copy(harness.SOURCE / "tests/lsan.supp", cls.base)
            cls.env["LSAN_OPTIONS"] = f"suppressions={cls.base}/lsan.supp:print_suppressions=0"
            passwd = pathlib.Path("/etc/passwd")
            known = passwd.read_text()
            if f"\n{NAME}:" not in known:
                add_user(cls.home)
            else:
                passwd.write_text("".join(f"{NAME}:x:{ID}:{ID}::{cls.home}:/bin/bash\n" if line.startswith(NAME + ":") else line
                                          for line in known.splitlines(keepends=True)))
            os.chown(cls.home, ID, ID)
        else:
            cls.env.update(HOME=str(cls.home), TMPDIR=str(cls.base))
        if cls.runtime or not ROOT:
            folder = cls.base / "run"
            folder.mkdir(mode=0o700)
            cls.env["XDG_RUNTIME_DIR"] = str(folder)
            if ROOT:
                os.chown(folder, ID, ID)

    @classmethod
    def tearDownClass(cls):
        """The user's daemons would stay for their idle time, and their sockets with them."""
        for pidfile in cls.base.rglob("*.pid"):
            if pidfile.name in ("libvirtd.pid", "virtlogd.pid"):
                try:
                    os.kill(int(pidfile.read_text()), signal.SIGTERM)
                except (OSError, ValueError):
                    pass
        until = time.monotonic() + 10
        while time.monotonic() < until and list(cls.base.rglob("libvirt-sock")):
            time.sleep(0.1)
        shutil.rmtree(cls.base, ignore_errors=True)

    def user(self, *arguments, **options):
        if not ROOT:
            return run(self.vmctl_path, *arguments, env=self.env, cwd=str(self.home), **options)
        variables = [f"{key}={value}" for key, value in self.env.items()]
        line = shlex.join(["env", *variables, self.vmctl_path, *arguments])
        return run("runuser", "-w", "ASAN_OPTIONS,UBSAN_OPTIONS", "-l", NAME, "-c", line, **options)

    def mode(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_1_the_default_endpoint_is_the_users_own_and_why_is_said(self):
        info = self.ok(self.user("host", "info", "-o", "json"))
        self.assertIn("qemu:///session", info.out)
        self.assertIn("qemu:///system", info.out)
        # Where libvirt's session is: virGetUserRuntimeDirectory.
        folder = self.env.get("XDG_RUNTIME_DIR", str(self.home / ".cache"))
        self.assertTrue(stat.S_ISSOCK(os.stat(f"{folder}/libvirt/libvirt-sock").st_mode))

    def test_2_a_vm_without_root(self):
        self.ok(self.user("create", "mine", "--image", str(self.guest), "--memory", "32MiB", "--start"))
        console = self.ok(self.user("console", "mine", "--until", "line [0-9]+", "--timeout", "60s"))
        self.assertIn("vmctl guest: line", console.out)
        listed = self.json(self.user("list", "-o", "json"))
        self.assertEqual([(vm["name"], vm["state"]) for vm in listed], [("mine", "running")])

    def test_3_what_it_writes_is_in_the_users_folders(self):
        native = self.ok(self.user("get", "mine", "-o", "native"))
        self.assertIn(str(self.home), native.out)
        self.ok(self.user("context", "add", "own", "--connect", "qemu:///session"))
        self.assertEqual(self.mode(self.home / ".config/vmctl"), 0o700)
        self.assertEqual(self.mode(self.home / ".config/vmctl/config.yaml"), 0o600)
        self.assertEqual(self.mode(self.home / ".local/state/vmctl/journal"), 0o700)
        self.assertEqual(list((self.home / ".local/state/vmctl/journal").iterdir()), [])
        self.ok(self.user("context", "remove", "own"))

    def test_4_life_and_removal(self):
        self.ok(self.user("pause", "mine"))
        self.ok(self.user("resume", "mine"))
        spec = self.ok(self.user("get", "mine", "-o", "spec")).out
        self.assertIn("unchanged", self.ok(self.user("apply", "-", input=spec)).out)
        self.ok(self.user("stop", "mine", "--force"))
        self.ok(self.user("set", "mine", "memory=48MiB"))
        self.ok(self.user("start", "mine"))
        self.assertEqual(self.one(self.user("get", "mine", "-o", "json"))["memoryMiB"], 48)
        self.ok(self.user("delete", "mine", "--force"))
        self.assertEqual(self.ok(self.user("list", "-o", "name")).out, "")
        self.nothing_left()

    def nothing_left(self):
        images = [p for p in self.home.rglob("*") if p.suffix in (".qcow2", ".raw", ".img", ".iso", ".fd")]
        self.assertEqual(images, [])
        self.assertEqual(list((self.home / ".local/share/libvirt/images").iterdir()), [])

    def test_5_uefi_a_forwarded_port_a_seed_and_a_serial_log(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.ok(self.user("create", "-", "--start", input=f"""
name: rich
memory: 64MiB
firmware: uefi
disks: [{{name: root, image: {self.guest}}}]
networks: [{{name: out, type: nat, forward: ["{port}:22"]}}]
serial: {{log: rich.log}}
cloudInit: {{hostname: rich, user: ci}}
"""))
        # The person's side of a forward is open as soon as QEMU runs, whatever the guest does.
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
        self.ok(self.user("logs", "rich"))
        self.ok(self.user("delete", "rich", "--force"))
        self.nothing_left()

    def test_6_a_kvm_that_is_closed_to_the_user(self):
        if not ROOT:
            self.skipTest("needs root for another /dev/kvm")
        node = pathlib.Path(os.environ["WORLD"]) / "dev/kvm"  # this machine's own, which `world` made
        if not node.exists():
            self.skipTest("there is no /dev/kvm")
        node.chmod(0o600)
        self.addCleanup(node.chmod, 0o666)
        info = self.ok(self.user("host", "info"))
        self.assertIn(f"/dev/kvm cannot be opened by {NAME}", info.out)
        made = self.ok(self.user("create", "slow", "--image", str(self.guest), "--memory", "32MiB", "--start"))
        self.assertLess(made.seconds, 30, str(made))
        self.assertIn("TCG", made.err)
        console = self.ok(self.user("console", "slow", "--until", "line [0-9]+", "--timeout", "60s"))
        self.assertIn("vmctl guest: line", console.out)
        self.ok(self.user("delete", "slow", "--force"))


class Login(Session, harness.Case):
    """A login without a login manager: libvirt's session is below the cache folder."""


if ROOT:
    class LoginWithRuntimeFolder(Session, harness.Case):
        """A login manager's: XDG_RUNTIME_DIR is the user's."""
        runtime = True


harness.main()
