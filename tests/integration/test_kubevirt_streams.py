#!/usr/bin/env python3
"""KubeVirt's streams through the API server: console, display, ports, ssh and cp over them; pictures, freezing, images through CDI.
The far end is the tests' cluster (tests/kubevirt), whose guest prints what tests/guests/counter.S does."""

import hashlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import threading

import harness
from harness import VMCTL, vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402

harness.need("ssh", "sshd", "ssh-keygen", "qemu-img")
VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
FLOOD = 32 << 20


class Streams(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.home = pathlib.Path(os.environ["HOME"])
        cls.api = kube.of_world()
        os.environ["VMCTL_BACKEND"] = "kubevirt"

    def make(self, name, *flags, **annotations):
        """A VM; annotations are the stand-in's (vmctl.test/NAME), on its instance."""
        path = self.home / f"{name}.yaml"
        notes = {f"vmctl.test/{key}": value if isinstance(value, str) else json.dumps(value) for key, value in annotations.items()}
        patch = [{"op": "add", "path": "/spec/template/metadata/annotations", "value": notes}] if notes else []
        path.write_text(f"name: {name}\nmemory: 512MiB\ncloudInit: {{user: root}}\n"
                        'disks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n'
                        f"kubevirt: {{patch: {json.dumps(patch)}}}\n")
        self.ok(vmctl("create", str(path), *flags))
        self.addCleanup(vmctl, "delete", name, "--force", "--ignore-not-found")
        return name

    def start(self, *arguments, **options):
        """vmctl beside the test; ended with it."""
        # Unbuffered: a line in a buffer is one that select() does not see.
        child = subprocess.Popen([VMCTL, *arguments], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        return self.beside(child)

    def line(self, child):
        """The next line that it prints."""
        ready, _, _ = select.select([child.stdout], [], [], 60)
        self.assertTrue(ready, "no line came")
        return child.stdout.readline().decode()

    def interrupt(self, child):
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=60)
        return harness.Result(child.args, child.returncode, out.decode(), err.decode(), 0)

    # --- the console -------------------------------------------------------------------------------------------------

    def test_console(self):
        name = self.make("talks", "--start")
        self.counts(name)
        result = self.ok(vmctl("console", name, "--until", "<x>", "--timeout", "60s", input="x"))
        self.assertIn("<x>", result.out)
        self.status(vmctl("console", name, "--device", "serial1"), 4, "serial0")

    def test_console_of_a_vm_that_only_starts(self):
        name = self.make("starts")
        self.status(vmctl("console", name), 6, f"vmctl start {name}")
        self.ok(vmctl("start", name, "--no-wait"))
        self.ok(vmctl("console", name, "--until", "vmctl guest: line", "--timeout", "60s"))

    def test_console_ends_with_the_vm(self):
        name = self.make("ends", "--start")
        child = self.start("console", name)
        self.line(child)
        self.ok(vmctl("stop", name, "--force"))
        _, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, err)

    def test_console_loses_nothing(self):
        name = self.make("floods", "--start", flood=str(FLOOD))
        child = self.start("console", name)
        sums, length = hashlib.sha256(), 0
        while piece := child.stdout.read(1 << 20):
            sums.update(piece)
            length += len(piece)
        self.assertEqual(child.wait(60), 0)
        period = bytes(i % 251 for i in range(251))
        self.assertEqual(length, FLOOD)
        self.assertEqual(sums.hexdigest(), hashlib.sha256((period * (FLOOD // 251 + 1))[:FLOOD]).hexdigest())

    # --- the display -------------------------------------------------------------------------------------------------

    def test_display(self):
        name = self.make("shows", "--start")
        child = self.start("display", name, "-o", "jsonl")
        row = json.loads(self.line(child))
        self.assertEqual((row["type"], row["address"], row["served"]), ("vnc", "127.0.0.1", True))
        for _ in range(2):  # one viewer after the other
            with socket.create_connection((row["address"], row["port"]), 20) as viewer:
                self.assertEqual(viewer.recv(12), b"RFB 003.008\n")
        self.ok(self.interrupt(child))
        with self.assertRaises(OSError):
            socket.create_connection((row["address"], row["port"]), 20)

    def test_viewer(self):
        name, tools = self.make("viewed", "--start"), self.home / "tools"
        tools.mkdir(exist_ok=True)
        viewer = tools / "remote-viewer"
        viewer.write_text("#!/usr/bin/env python3\nimport socket, sys\nhost, port = sys.argv[1].removeprefix('vnc://').split(':')\n"
                          "print(socket.create_connection((host, int(port)), 20).recv(12))\nsys.exit(3)\n")
        viewer.chmod(0o755)
        result = vmctl("display", name, "--viewer", env={"PATH": f"{tools}:{os.environ['PATH']}"})
        self.assertEqual((result.status, result.out), (3, "b'RFB 003.008\\n'\n"), str(result))

    def test_screenshot(self):
        name, picture = self.make("pictured", "--start"), self.home / "screen.png"
        self.ok(vmctl("screenshot", name, str(picture)))
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        self.status(vmctl("screenshot", name, "x.png", "--screen", "1"), 4)
        config = self.home / "editor"
        config.write_text(pathlib.Path(os.environ["KUBECONFIG"]).read_text().replace("current-context: admin", "current-context: editor"))
        self.status(vmctl("screenshot", name, "x.png", env={"KUBECONFIG": str(config)}), 7, "admin")
        self.ok(vmctl("stop", name, "--force"))
        self.status(vmctl("screenshot", name, "x.png"), 6, f"vmctl start {name}")
        self.status(vmctl("display", name), 6, f"vmctl start {name}")
        self.assertFalse(os.path.exists("x.png"))

    # --- ports -------------------------------------------------------------------------------------------------------

    def test_port_forward(self):
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)

        def echo(peer):
            with peer:
                while data := peer.recv(65536):
                    peer.sendall(data)

        def serve():
            try:
                while True:
                    threading.Thread(target=echo, args=(server.accept()[0],), daemon=True).start()
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        name = self.make("serves", "--start", ports={"80": server.getsockname()[1]})
        child = self.start("port-forward", name, "0:80", "0:9")
        ports = [int(self.line(child).split(" ")[0].split(":")[1]) for _ in range(2)]
        data = os.urandom(3 << 20)
        links = [socket.create_connection(("127.0.0.1", ports[0]), 20) for _ in range(3)]  # at once
        for link in links:
            threading.Thread(target=lambda to=link: (to.sendall(data), to.shutdown(socket.SHUT_WR)), daemon=True).start()
        for link in links:
            link.settimeout(60)
            back = b""
            while len(back) < len(data) and (piece := link.recv(1 << 20)):
                back += piece
            self.assertTrue(back == data)
            link.close()
        with socket.create_connection(("127.0.0.1", ports[1]), 20) as link:  # nobody has the guest's port 9
            with self.assertRaises(ConnectionResetError):
                link.recv(1)
        self.ok(self.interrupt(child))
        self.ok(vmctl("wait", name, "--for", "port:80", "--timeout", "60s"))
        self.status(vmctl("wait", name, "--for", "port:9", "--timeout", "2s"), 8, "port 9 of the guest")

    def test_port_forward_ends_with_the_vm(self):
        name = self.make("leaves", "--start")
        child = self.start("port-forward", name, "0:80")
        self.line(child)
        self.ok(vmctl("stop", name, "--force"))
        _, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 6, err)

    # --- ssh ---------------------------------------------------------------------------------------------------------

    def sshd(self):
        """A guest's sshd, at a port of this machine; the port and the key to it."""
        folder = self.home / "sshd"
        folder.mkdir(exist_ok=True)
        for key in ("host", "user"):
            if not (folder / key).exists():
                subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        (folder / "config").write_text(f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\n"
                                       f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nSubsystem sftp internal-sftp\n")
        child = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (child.kill(), child.wait()))

        def answers():
            try:
                return socket.create_connection(("127.0.0.1", port), 1).close() or True
            except OSError:
                return False

        self.wait_for("sshd", answers)
        return port, str(folder / "user")

    def test_ssh(self):
        port, key = self.sshd()
        name = self.make("logs-in", "--start", ports={"22": port})
        self.assertEqual(self.ok(vmctl("ssh", name, "-i", key, "--", "echo", "hello")).out, "hello\n")
        self.assertEqual(vmctl("ssh", name, "-i", key, "--", "exit 7").status, 7)
        result = self.ok(vmctl("exec", name, "--identity", key, "--", "printf", "%s|", "a b", "$HOME"))
        self.assertEqual(result.out, "a b|$HOME|")
        there, here, back = (self.home / part for part in ("there", "here", "back"))
        here.write_bytes(os.urandom(1 << 20))
        self.ok(vmctl("cp", str(here), f"{name}:{there}", "-i", key))
        self.assertTrue(there.read_bytes() == here.read_bytes())
        self.ok(vmctl("cp", f"{name}:{there}", str(back), "-i", key))
        self.assertTrue(back.read_bytes() == here.read_bytes())
        self.ok(vmctl("wait", name, "--for", "ssh", "--identity", key, "--timeout", "60s"))

    # --- the agent ---------------------------------------------------------------------------------------------------

    def test_freeze(self):
        name = self.make("freezes", "--start")
        self.ok(vmctl("freeze", name))
        self.ok(vmctl("thaw", name))
        self.status(vmctl("freeze", self.make("no-agent", "--start", agent="no")), 6, "qemu-guest-agent")
        self.status(vmctl("freeze", self.make("off")), 6, "vmctl start off")

    # --- images ------------------------------------------------------------------------------------------------------

    def images(self):
        return {row["name"]: row for row in self.json(vmctl("image", "list", "-o", "json"))}

    def test_images(self):
        disk, raw = self.home / "Small_Disk.qcow2", self.home / "raw.img"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "64M"], check=True)
        raw.write_bytes(os.urandom(5 << 20))
        self.ok(vmctl("image", "upload", str(disk)))
        self.ok(vmctl("image", "upload", str(raw), "--name", "bytes", "--size", "1GiB", "--pool", "no-snapshots"))
        uploads = pathlib.Path(os.environ["WORLD"]) / "kubernetes/uploads/default"
        self.assertTrue((uploads / "small-disk").read_bytes() == disk.read_bytes())
        self.assertTrue((uploads / "bytes").read_bytes() == raw.read_bytes())
        images = self.images()
        self.assertEqual(images["small-disk"]["virtualBytes"], 64 << 20)
        self.assertEqual((images["bytes"]["virtualBytes"], images["bytes"]["pool"]), (1 << 30, "no-snapshots"))
        self.status(vmctl("image", "upload", str(raw), "--name", "bytes"), 5, "already-exists")
        self.assertIn("bytes", self.images(), "what is there already is not the refused upload's to remove")
        self.ok(vmctl("image", "upload", "pvc:bytes", "--name", "copy"))
        self.ok(vmctl("image", "upload", "docker://quay.io/containerdisks/debian:12", "--name", "debian", "--size", "3GiB"))
        self.assertEqual(self.images()["copy"]["virtualBytes"], 1 << 30)
        self.ok(vmctl("image", "delete", "bytes", "copy", "debian", "small-disk"))
        self.assertEqual(self.images(), {})
        self.status(vmctl("image", "delete", "never-was"), 4, "vmctl image list")

    def test_images_that_cannot_be(self):
        backed = self.home / "backed.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", "/dev/null", str(backed)], check=True)
        self.status(vmctl("image", "upload", str(backed)), 2, "vmctl image convert")
        self.status(vmctl("image", "upload", "docker://quay.io/x"), 2, "--size")
        self.status(vmctl("image", "upload", str(self.home / "not-there.img")), 4)
        self.status(vmctl("image", "upload", "pvc:not-there", "--name", "copy"), 4)
        result = vmctl("image", "upload", "https://nowhere.invalid/x.qcow2", "--size", "1GiB")
        self.status(result, 9, "no such host")
        self.assertEqual(self.images(), {})

    def test_image_in_use(self):
        name = self.make("uses")
        raw = self.home / "used.img"
        raw.write_bytes(bytes(1 << 20))
        self.ok(vmctl("image", "upload", str(raw)))
        self.addCleanup(vmctl, "image", "delete", "used")
        path = f"/apis/kubevirt.io/v1/namespaces/default/virtualmachines/{name}"
        spec = self.api.get(path)["spec"]["template"]["spec"]
        spec["volumes"].append({"name": "more", "persistentVolumeClaim": {"claimName": "used"}})
        spec["domain"]["devices"]["disks"].append({"name": "more", "disk": {"bus": "virtio"}})
        self.api.patch(path, {"spec": {"template": {"spec": {"volumes": spec["volumes"], "domain": {"devices": {"disks": spec["domain"]["devices"]["disks"]}}}}}})
        self.status(vmctl("image", "delete", "used"), 6, name)
        self.assertIn("used", self.images())
        self.ok(vmctl("delete", name))


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
