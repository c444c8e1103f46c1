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
        ranked = self.json(vmctl("recommend", "--workload", "VDI (enterprise)", "--reachable", "-o", "json"))
        self.assertEqual(ranked[0]["backend"], "libvirt")


harness.main()
