#!/usr/bin/env python3
"""A remote host: a second libvirtd behind sshd on loopback, with folders that this side cannot see."""

import os
import pathlib
import subprocess
import time

import harness
from harness import vmctl

harness.enter("--kvm", "666")
harness.need("sshd", "ssh-keygen")

REMOTE = r"""
set -e
hostname far-away
for dir in /etc/libvirt /var/lib/libvirt /var/log/libvirt; do
    cp -a "$dir" "$FAR$(echo $dir | tr / _)"
    mount --bind "$FAR$(echo $dir | tr / _)" "$dir"
done
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/sshd /run/lock /run/user
virtlogd -d
libvirtd -d --timeout 300
/usr/sbin/sshd -f "$FAR/sshd_config" -E "$FAR/sshd.log"
touch "$FAR/ready"
exec sleep 1000
"""


class Remote(harness.Case):
    @classmethod
    def setUpClass(cls):
        far = pathlib.Path(os.environ["WORLD"]) / "far"
        far.mkdir()
        cls.far = far
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(far / name)], check=True)
        (far / "authorized").write_text((far / "user.pub").read_text())
        (far / "sshd_config").write_text(f"""
Port 22
ListenAddress 127.0.0.1
HostKey {far}/host
AuthorizedKeysFile {far}/authorized
StrictModes no
UsePAM no
PermitRootLogin yes
PidFile {far}/sshd.pid
""")
        cls.small = far / "small"
        cls.small.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "small", str(cls.small)], check=True)
        cls.daemon = subprocess.Popen(["unshare", "--mount", "--uts", "--propagation", "private", "bash", "-c", REMOTE],
                                      env={**os.environ, "FAR": str(far) + "/"})
        for _ in range(200):
            if (far / "ready").exists():
                break
            time.sleep(0.05)
        cls.uri = f"qemu+ssh://root@127.0.0.1/system?no_verify=1&no_tty=1&keyfile={far}/user"

    @classmethod
    def tearDownClass(cls):
        cls.daemon.kill()
        cls.daemon.wait()

    def far_vmctl(self, verb, *arguments, **options):
        return vmctl(verb, "--connect", self.uri, *arguments, **options)

    def test_1_it_is_another_host(self):
        info = self.one(self.far_vmctl("host", "info", "-o", "json"))
        self.assertEqual(info.get("name"), "far-away", info)

    def test_2_an_image_is_uploaded_with_progress(self):
        big = pathlib.Path(os.environ["WORLD"]) / "big.img"
        big.write_bytes(os.urandom(8 << 20))
        done = self.ok(self.far_vmctl("image", "upload", str(big), "--progress", "plain"))
        self.assertIn("%", done.err)
        self.assertIn("big.img", self.ok(self.far_vmctl("image", "list")).out)
        there = self.far / "_var_lib_libvirt/images/big.img"
        self.assertEqual(there.read_bytes(), big.read_bytes())
        self.assertFalse(pathlib.Path("/var/lib/libvirt/images/big.img").exists())
        self.ok(self.far_vmctl("image", "delete", "big.img"))
        self.assertFalse(there.exists())

    def test_3_a_vm_from_an_image_of_this_side(self):
        yaml = pathlib.Path(os.environ["WORLD"]) / "far.yaml"
        yaml.write_text(f"""
name: far-1
accel: tcg
memory: 32MiB
networks: []
disks: [{{name: root, image: {harness.GUEST}, size: 4MiB}}]
cloudInit: {{hostname: far-1}}
serial: {{log: far-1.log}}
""")
        self.ok(self.far_vmctl("create", str(yaml), "--start", timeout=120))
        console = self.ok(self.far_vmctl("console", "far-1", "--until", "line [0-9]+", "--timeout", "30s"))
        self.assertIn("vmctl guest: line", console.out)
        self.assertEqual(harness.files("/var/lib/libvirt/images"), [])
        self.assertGreaterEqual(len(harness.files(self.far / "_var_lib_libvirt/images")), 1)
        self.ok(self.far_vmctl("delete", "far-1", "--force"))
        self.assertEqual(harness.files(self.far / "_var_lib_libvirt/images"), [])

    def test_4_what_needs_this_machines_folders_is_refused_or_said(self):
        yaml = pathlib.Path(os.environ["WORLD"]) / "backing.yaml"
        yaml.write_text("name: far-2\nmemory: 32MiB\nnetworks: []\ndisks: [{name: root, backing: /nowhere/base.qcow2}]\n")
        result = self.far_vmctl("create", str(yaml))
        self.assertIn(result.status, (2, 3, 4), str(result))
        self.assertEqual(self.ok(self.far_vmctl("list", "-o", "name")).out, "")

    def test_5_a_block_device_of_this_side_goes_over_whole(self):
        image = pathlib.Path(os.environ["WORLD"]) / "device.img"
        image.write_bytes(os.urandom(2 << 20) + bytes(2 << 20))
        made = harness.run("losetup", "--find", "--show", "--read-only", str(image))
        if made.status != 0:
            self.skipTest("no loop devices here")
        device = made.out.strip()
        self.addCleanup(subprocess.run, ["losetup", "--detach", device], check=True)
        self.ok(self.far_vmctl("create", "far-5", "--memory", "32MiB", "--image", device, "--set", "networks=[]"))
        there = self.far / "_var_lib_libvirt/images/far-5-root.raw"
        self.assertEqual(there.read_bytes(), image.read_bytes())
        self.ok(self.far_vmctl("delete", "far-5"))

    def test_6_its_disk_fills_up_in_mid_upload(self):
        self.ok(harness.virsh("pool-create-as", "small", "dir", "--target", str(self.small), uri=self.uri))
        big = pathlib.Path(os.environ["WORLD"]) / "big.img"
        big.write_bytes(os.urandom(1 << 20) * 96)
        yaml = pathlib.Path(os.environ["WORLD"]) / "filling.yaml"
        yaml.write_text("name: far-3\naccel: tcg\nmemory: 32MiB\nnetworks: []\n"
                        f"disks: [{{name: root, image: {big}, pool: small}}]\n")
        for _ in range(5):
            full = harness.fill_in_mid_copy(self.small, harness.VMCTL, "create", "--connect", self.uri, str(yaml))
            if full:
                break
            self.far_vmctl("delete", "far-3")
        self.assertTrue(full, "the upload was always over before the disk was full")
        self.status(full, 11)
        self.assertRegex(full.err, "(?i)space|full|room")
        self.assertEqual(os.listdir(self.small), [])
        self.assertEqual(self.ok(self.far_vmctl("list", "-o", "name")).out, "")

    def test_7_a_vm_of_there_becomes_a_file_of_here_and_a_vm_again(self):
        folder = pathlib.Path(os.environ["WORLD"]) / "taken"
        folder.mkdir()
        self.ok(self.far_vmctl("create", "far-7", "--memory", "32MiB", "--image", harness.GUEST, "--set", "networks=[]",
                               "--set", "accel=tcg", "--set", "display=none", "--set", "serial.log=far-7.log"))
        self.ok(self.far_vmctl("export", "far-7", str(folder / "far-7.ova"), timeout=120))
        members = self.ok(harness.run("tar", "tf", str(folder / "far-7.ova"))).out.split()
        self.assertTrue(members[0].endswith(".ovf") and any(m.endswith(".vmdk") for m in members), members)
        self.assertEqual(os.listdir(folder), ["far-7.ova"], "what the disks went through on the way is removed")
        self.ok(self.far_vmctl("delete", "far-7"))
        self.ok(self.far_vmctl("import", str(folder / "far-7.ova"), "--name", "far-8", timeout=120))
        self.ok(self.far_vmctl("set", "far-8", "accel=tcg"))
        self.ok(self.far_vmctl("start", "far-8"))
        console = self.ok(self.far_vmctl("console", "far-8", "--until", "line [0-9]+", "--timeout", "30s"))
        self.assertIn("vmctl guest: line", console.out)
        self.ok(self.far_vmctl("delete", "far-8", "--force"))
        self.assertEqual(harness.files(self.far / "_var_lib_libvirt/images"), [])

    def test_8_what_a_dead_command_left_is_removed_and_nothing_else(self):
        images = self.far / "_var_lib_libvirt/images"
        now = int(time.time())
        # made by it; made (or written to) by somebody long after it had died; and used by a VM by now
        for name in ("left", "later", "used"):
            self.ok(harness.virsh("vol-create-as", "default", f"{name}.img", "1M", uri=self.uri))
        self.ok(self.far_vmctl("create", "far-9", "--memory", "32MiB", "--set", "networks=[]", "--set", "disks=[{name: root, volume: default/used.img}]"))
        # each beside the other names what the journal of one process says
        for name, seconds in (("left", now), ("later", now - 3600), ("used", now)):
            harness.leave_journal("volume", f"00000000000000ab:{seconds} default/{name}.img", self.uri)
            done = self.ok(self.far_vmctl("create", f"beside-{name}", "--memory", "32MiB", "--image", harness.GUEST, "--set", "networks=[]"))
            self.ok(self.far_vmctl("delete", f"beside-{name}"))
            self.assertEqual("later.img stays" in done.err, name == "later", done.err)
        self.assertEqual([f.name for f in sorted(images.iterdir())], ["later.img", "used.img"])
        self.assertEqual(harness.files(pathlib.Path(os.environ["HOME"]) / ".local/state/vmctl"), [])
        self.ok(self.far_vmctl("delete", "far-9"))
        for name in ("later", "used"):
            self.ok(harness.virsh("vol-delete", f"{name}.img", "default", uri=self.uri))

    def test_5_a_host_that_is_not_there(self):
        result = vmctl("list", "--connect", "qemu+ssh://root@127.0.0.1:9/system?no_verify=1&no_tty=1", "-o", "json", timeout=90)
        self.status(result, 9, "unavailable")


harness.main()
