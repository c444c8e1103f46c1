#!/usr/bin/env python3
"""Images out of a cluster of KubeVirt's, by a VirtualMachineExport that is gone afterwards."""

import os
import pathlib
import signal
import subprocess
import sys

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402

EXPORTS = "/apis/export.kubevirt.io/v1/namespaces/default/virtualmachineexports"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"


class Download(harness.Case):
    @classmethod
    def setUpClass(cls):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        cls.api = kube.of_world()
        cls.folder = pathlib.Path(os.environ["WORLD"], "images")
        cls.folder.mkdir()
        # With a hole, and an end that is one.
        cls.bytes = os.urandom(300_000) + bytes(1 << 20) + os.urandom(200_000) + bytes(400_000)
        (cls.folder / "disk.raw").write_bytes(cls.bytes)

    def upload(self, how=None):
        name = self._testMethodName.removeprefix("test_").replace("_", "-")
        self.ok(vmctl("image", "upload", str(self.folder / "disk.raw"), "--name", name))
        self.addCleanup(vmctl, "image", "delete", name)
        if how:
            self.api.patch(f"{CLAIMS}/{name}", {"metadata": {"annotations": {"vmctl.test/export": how}}})
        return name, self.folder / f"{name}.img"

    def tearDown(self):
        """Whatever happened: no export, no secret, nothing half written."""
        self.wait_for("the export to be gone", lambda: not self.api.get(EXPORTS)["items"])
        self.wait_for("its secret to be gone", lambda: not [s for s in self.api.get("/api/v1/namespaces/default/secrets")["items"]
                                                            if s["metadata"]["name"].startswith("export-token-")])
        self.assertEqual([f for f in harness.files(self.folder) if "/." in f], [])
        journal = pathlib.Path(os.environ["HOME"], ".local/state/vmctl/journal")
        self.assertEqual(harness.files(journal) if journal.exists() else [], [])

    def test_what_comes_is_what_went(self):
        name, file = self.upload()
        self.ok(vmctl("image", "download", name, str(file)))
        self.assertEqual(file.read_bytes(), self.bytes)
        self.assertLess(file.stat().st_blocks * 512, 1_000_000)  # the holes are holes
        self.status(vmctl("image", "download", f"default/{name}", str(file)), 5, "exists already")
        self.status(vmctl("image", "download", "none", str(self.folder / "none")), 4, "no image none")
        self.status(vmctl("image", "download", name, "/nowhere/x"), 4)
        harness.proves("image.download", backend="kubevirt")

    def test_a_cut_connection_goes_on(self):
        name, file = self.upload("cut")
        done = self.ok(vmctl("image", "download", name, str(file)))
        self.assertIn("was cut off and goes on", done.err)
        self.assertEqual(file.read_bytes(), self.bytes)

    def test_other_bytes_after_a_cut_are_taken_whole(self):
        name, file = self.upload("changed")
        self.ok(vmctl("image", "download", name, str(file)))
        self.assertEqual(file.read_bytes(), self.bytes[::-1])

    def test_what_cannot_be_had(self):
        name, file = self.upload("files")
        self.status(vmctl("image", "download", name, str(file)), 3, "holds files")
        self.assertFalse(file.exists())

    def test_through_the_api_server(self):
        """Where nothing leads to an export from outside of the cluster: by the proxy to its service, cut off and taken up as elsewhere."""
        name, file = self.upload("inside-cut")
        done = self.ok(vmctl("image", "download", name, str(file)))
        self.assertIn("comes through the API server", done.err)
        self.assertIn("was cut off and goes on", done.err)
        self.assertEqual(file.read_bytes(), self.bytes)
        config = self.folder / "as-editor"
        config.write_text(pathlib.Path(os.environ["KUBECONFIG"]).read_text().replace("current-context: admin", "current-context: editor"))
        for who, words in (("editor", "this user may not"),):
            self.status(vmctl("image", "download", name, str(self.folder / who), env={"KUBECONFIG": str(config)}), 7, words)
        config.unlink()

    def test_a_disk_that_is_in_use(self):
        name, file = self.upload()
        spec = self.folder / "user.yaml"
        spec.write_text(f"name: user\nmemory: 512MiB\ndisks: [{{name: root, volume: {name}}}]\n")
        self.ok(vmctl("create", str(spec), "--start"))
        self.addCleanup(vmctl, "delete", "user", "--force")
        self.status(vmctl("image", "download", name, str(file)), 6, "is in use", f"pvc:{name}")
        self.assertFalse(file.exists())

    def begin_slowly(self):
        name, file = self.upload("slow")
        child = subprocess.Popen([harness.VMCTL, "image", "download", name, str(file)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(child.wait)
        self.addCleanup(child.stderr.close)
        self.addCleanup(child.kill)
        def half():
            parts = [p for p in self.folder.glob(".*") if p.stat().st_blocks]
            return bool(parts)

        self.wait_for("the first bytes", half, seconds=120)
        return child, file

    def test_an_interrupt(self):
        child, file = self.begin_slowly()
        child.send_signal(signal.SIGINT)
        self.assertEqual(child.wait(120), 130)
        self.assertFalse(file.exists())

    def test_a_kill_is_cleaned_up_by_the_next(self):
        child, file = self.begin_slowly()
        child.kill()
        child.wait()
        self.assertTrue(self.api.get(EXPORTS)["items"])
        self.ok(vmctl("image", "upload", str(self.folder / "disk.raw"), "--name", "next"))
        self.ok(vmctl("image", "delete", "next"))
        self.assertFalse(file.exists())


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
