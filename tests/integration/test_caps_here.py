#!/usr/bin/env python3
"""caps with a real VM: what the probe says is what the operation is refused with, and nothing is touched by either."""

import hashlib
import json
import pathlib

import harness
import layout
from harness import SOURCE, virsh, vmctl

harness.enter("--daemons")
FIXTURES = SOURCE / "tests/fixtures/caps"
DISK = pathlib.Path("/var/lib/libvirt/images/web-1-root.raw")


def caps(*arguments, width=None):
    return vmctl("caps", *arguments, env={"COLUMNS": str(width) if width else ""})


class CapsHere(harness.Case):
    @classmethod
    def setUpClass(cls):
        for name, more in (("web-1", ("--set", "disks.root.format=raw", "--start")), ("web-2", ("--set", "disks.root.format=qcow2"))):
            done = vmctl("create", name, "--image", harness.GUEST, "--memory", "32MiB", *more)
            assert done.status == 0, str(done)

    def test_the_table(self):
        for width in (80, 160):
            done = self.ok(caps("--vm", "web-1", "--feature", "lifecycle.pause,lifecycle.rename,accel.tcg,snapshot.memory", width=width))
            self.assertEqual(done.out, (FIXTURES / f"vm.{width}").read_text())
            for line in self.ok(caps("--vm", "web-1", width=width)).out.splitlines() + self.ok(caps("--here", "-o", "wide", width=width)).out.splitlines():
                self.assertLessEqual(len(line), width, line)

    def test_a_raw_disk_has_no_memory_snapshot(self):
        before, xml = hashlib.sha256(DISK.read_bytes()).hexdigest(), virsh("dumpxml", "web-1").out
        here = self.json(caps("--vm", "web-1", "--feature", "snapshot.memory", "-o", "json"))[0]["here"]
        self.assertEqual(here["level"], "no")
        self.assertIn("raw", here["reason"])
        done = vmctl("snapshot", "create", "web-1", "one", "--memory", "-o", "json")
        error = json.loads(done.err.splitlines()[-1])["error"]
        self.assertEqual((done.status, error["code"], error["message"], error["next"]), (3, "unsupported", here["reason"], here["remedy"]))
        self.assertEqual(hashlib.sha256(DISK.read_bytes()).hexdigest(), before)
        self.assertEqual(virsh("dumpxml", "web-1").out, xml)

    def test_required(self):
        self.assertEqual(self.ok(caps("--vm", "web-1", "--require", "lifecycle.pause,lifecycle.stop")).out, "")
        missing = self.status(caps("--vm", "web-1", "--require", "lifecycle.pause,snapshot.memory", "-o", "json"), 3)
        self.assertEqual([e["feature"] for e in json.loads(missing.out)], ["snapshot.memory"])
        self.status(caps("--vm", "web-3", "--require", "lifecycle.pause"), 4, "web-3")
        self.ok(caps("--here", "--require", "accel.tcg,look.list"))

    def test_two_vms(self):
        both = "lifecycle.rename,lifecycle.stop"
        for width in (80, 160):
            self.assertEqual(self.ok(caps("--diff", "web-1", "web-2", "--feature", both, width=width)).out, (FIXTURES / f"vms.{width}").read_text())
        rows = self.json(caps("--diff", "web-1", "web-2", "-o", "json"))
        self.assertEqual([r for r in rows if r["a"]["here"]["level"] == r["b"]["here"]["level"]], [])
        self.assertIn("lifecycle.pause", [r["feature"] for r in rows])
        self.assertEqual(self.json(caps("--diff", "qemu:///system", "qemu:///system", "-o", "json")), [])

    def test_two_endpoints(self):
        nowhere = "qemu+unix:///system?socket=/nowhere"
        rows = self.json(caps("--diff", "qemu:///system", nowhere, "-o", "json"))
        self.assertIn("accel.tcg", [r["feature"] for r in rows])
        for r in rows:
            self.assertNotEqual(r["a"]["here"]["level"], "unknown")
            self.assertEqual(r["b"]["here"]["level"], "unknown")
            self.assertIn("/nowhere", r["b"]["here"]["reason"])
            for answer in ("platform", "vmctl"):
                self.assertEqual(r["a"][answer], r["b"][answer], "the static answers stay")
        # A VM and its backend: only the one has a third answer, which is no difference.
        self.assertEqual(self.json(caps("--diff", "web-1", "libvirt", "-o", "json")), [])
        # Two platforms differ in what they can, whatever answers here.
        self.assertIn("lifecycle.save", [r["feature"] for r in self.json(caps("--diff", "web-1", "KubeVirt", "-o", "json"))])
        self.status(caps("--diff", "libvrt", "web-1"), 2, "libvirt")
        self.status(caps("--diff", "web-1", "web-9"), 4, "web-1")
        self.status(caps("--diff", "web-1", "other-endpoint"), 4, "other-endpoint")
        self.status(caps("--diff", "web-1"), 2)

    def test_an_endpoint_that_does_not_answer(self):
        nowhere = ("--connect", "qemu+unix:///system?socket=/nowhere")
        for arguments in ([], ["--vm", "web-1"], ["--here"]):
            entries = self.json(caps(*nowhere, *arguments, "-o", "json"))
            for e in entries:
                self.assertEqual(e["here"]["level"], "unknown", e["feature"])
                self.assertIn("/nowhere", e["here"]["reason"])
            self.assertEqual([e["vmctl"] for e in entries], [e["vmctl"] for e in self.json(caps("libvirt", "-o", "json"))])
            missing = self.status(caps(*nowhere, *arguments, "--require", "lifecycle.pause"), 9)
            self.assertIn("/nowhere", missing.out)
        # What vmctl does not do at all needs no answer.
        self.status(caps(*nowhere, "--require", "limits.vms"), 3)

    def test_the_backend_and_the_endpoint_agree(self):
        self.status(caps("kubevirt", "--vm", "web-1"), 2, "web-1 is on libvirt")
        self.status(caps("virtualbox", "--connect", "qemu:///system"), 2, "qemu:///system is on libvirt")
        self.assertEqual(self.json(caps("QEMU/KVM", "--here", "--feature", "accel.tcg", "-o", "json"))[0]["here"]["level"], "yes")
        done = caps("kubevirt", "--here", "--feature", "lifecycle.pause", "-o", "json")  # its own endpoint, which is not there
        self.assertEqual(self.json(done)[0]["here"]["level"], "unknown")

    def test_the_host(self):
        answers = {e["feature"]: e["here"] for e in self.json(caps("--here", "-o", "json")) if "here" in e}
        self.assertEqual(answers["accel.tcg"]["level"], "yes")
        self.assertEqual(answers["gpu.passthrough"]["level"], "no", "these machines have no IOMMU")
        self.assertIn("intel_iommu=on", answers["gpu.passthrough"]["remedy"])
        self.assertEqual(answers["firmware.uefi"]["level"], "yes")
        for feature, here in answers.items():
            self.assertTrue(here["level"] == "yes" or here["reason"], feature)

    def test_every_feature_is_asked_for(self):
        """libvirt has a probe of all that vmctl does with it; what one cannot tell says what would answer."""
        for arguments in (["--vm", "web-1"], ["--vm", "web-2"], ["--here"]):
            for e in self.json(caps(*arguments, "-o", "json")):
                if e["vmctl"]["level"] == "no" and "here" not in e:
                    continue
                here = e["here"]
                self.assertNotIn("nothing asks for it beforehand", here.get("reason", ""), e["feature"])
                if here["level"] == "unknown":
                    self.assertIn("would answer", here["reason"], e["feature"])

    def test_the_table_wraps_as_the_others(self):
        for width in (60, 80, 120, 160, 200):
            rows = []
            for e in self.json(caps("--vm", "web-1", "-o", "json")):
                here, ours, correction = e.get("here", {}), e["vmctl"], e["platform"].get("correction")
                why = ours.get("reason", "")
                if here.get("level") in ("no", "limited") and ours["level"] != "no":
                    why = here["reason"] + (f"; try: {here['remedy']}" if "remedy" in here else "")
                rows.append([e["feature"], correction["level"] + "*" if correction else e["platform"]["level"], ours["level"], here.get("level", ""),
                             ours.get("provenBy", ""), why])
            expected = layout.table(["FEATURE", "PLATFORM", "VMCTL", "HERE", "PROVEN BY", "WHY"], "wlllwr", rows, width)
            self.assertEqual(self.ok(caps("--vm", "web-1", width=width)).out.splitlines(), expected)

    def test_recommend_what_is_reachable(self):
        ranked = self.json(vmctl("recommend", "--reachable", "-o", "json"))
        self.assertEqual([r["backend"] for r in ranked if not r["disqualified"]], ["libvirt"])
        # The workload orders, and what does not answer is out, with the reason, also the workload's first choice.
        ranked = self.json(vmctl("recommend", "--workload", "VDI (enterprise)", "--reachable", "-o", "json"))
        self.assertEqual(ranked[0]["backend"], "libvirt")
        self.assertEqual(sorted(r["backend"] for r in ranked if r["disqualified"]), ["kubevirt", "virtualbox", "vsphere"])
        for r in ranked[1:]:
            self.assertTrue([g for g in r["grounds"] if not g["for"] and g["what"] == r["backend"]], r)
        # A need that the one reachable platform cannot meet: nothing is left, and each says why.
        ranked = self.json(vmctl("recommend", "--need", "containers,best-vgpu", "--reachable", "-o", "json"))
        self.assertEqual([r["disqualified"] for r in ranked].count(False), 1)
        self.status(vmctl("recommend", "--reachable", "--need", "gpu.mgi"), 2, "gpu.mig")


harness.main()
