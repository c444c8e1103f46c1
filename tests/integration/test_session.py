#!/usr/bin/env python3
"""An ordinary user, who has no system daemon: the session daemon is that user's own and is started by libvirt."""

import os
import pathlib
import pwd
import shutil
import subprocess

import harness
from harness import run

harness.need("setpriv")
if os.geteuid() == 0:
    harness.enter("--kvm", "666")
USER = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.getuid()).pw_name


class Session(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.root = os.geteuid() == 0
        base = pathlib.Path(os.environ.get("WORLD") or os.environ.get("TMPDIR", "/tmp")) / f"user-{os.getpid()}"
        base.mkdir()
        cls.base = base
        cls.env = {"HOME": str(base / "home"), "XDG_RUNTIME_DIR": str(base / "run"), "TMPDIR": str(base)}
        for name in ("home", "run"):
            (base / name).mkdir(mode=0o700)
        cls.guest = base / "guest.img"
        shutil.copy(harness.GUEST, cls.guest)
        if cls.root:
            # The build tree may be in a folder that only root enters.
            tree = base / "build"
            for part in ("bin", "lib"):
                shutil.copytree(harness.BUILD / part, tree / part, symlinks=True)
            subprocess.run(["chown", "-R", "nobody", str(base)], check=True)
            cls.vmctl_path = str(tree / "bin/vmctl")
        else:
            cls.vmctl_path = harness.VMCTL

    def user(self, *arguments, **options):
        prefix = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if self.root else []
        return run(*prefix, self.vmctl_path, *arguments, env=self.env, cwd=str(self.base), **options)

    def test_1_the_default_endpoint_is_the_users_own(self):
        info = self.ok(self.user("host", "info", "-o", "json"))
        self.assertIn("qemu:///session", info.out)

    def test_2_a_vm_without_root(self):
        self.ok(self.user("create", "mine", "--image", str(self.guest), "--memory", "32MiB", "--start"))
        console = self.ok(self.user("console", "mine", "--until", "line [0-9]+", "--timeout", "60s"))
        self.assertIn("vmctl guest: line", console.out)
        listed = self.json(self.user("list", "-o", "json"))
        self.assertEqual([(vm["name"], vm["state"]) for vm in listed], [("mine", "running")])

    def test_3_its_disk_is_in_the_users_home(self):
        native = self.ok(self.user("get", "mine", "-o", "native"))
        self.assertIn(str(self.base / "home"), native.out)

    def test_4_life_and_removal(self):
        self.ok(self.user("pause", "mine"))
        self.ok(self.user("resume", "mine"))
        self.ok(self.user("stop", "mine", "--force"))
        self.ok(self.user("start", "mine"))
        self.ok(self.user("delete", "mine", "--force"))
        self.assertEqual(self.ok(self.user("list", "-o", "name")).out, "")
        images = [p for p in (self.base / "home").rglob("*") if p.suffix in (".qcow2", ".img", ".iso")]
        self.assertEqual(images, [])

    def test_5_a_forwarded_port(self):
        self.ok(self.user("create", "--dry-run", "-", input=f"""
name: fwd
memory: 32MiB
disks: [{{name: root, image: {self.guest}}}]
networks: [{{name: out, type: nat, forward: ["20322:22"]}}]
"""))


harness.main()
