#!/usr/bin/env python3
"""Disks that other VMs stand on: whoever made those, and wherever that is written, nobody's data goes with somebody else's VM."""

import os
import pathlib
import subprocess

import harness
from harness import GUEST, Case, virsh, vmctl

harness.enter("--daemons")
harness.need("virsh", "qemu-img")
IMAGES = pathlib.Path("/var/lib/libvirt/images")
WORLD = pathlib.Path(os.environ["WORLD"])


def overlay(path, base):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(base), "-F", "qcow2", str(path)], check=True)


def define(name, disk):
    """A VM of somebody else's: no marker, and no word in its XML of what the disk stands on."""
    xml = WORLD / f"{name}.xml"
    xml.write_text(f"""<domain type='qemu'><name>{name}</name><memory unit='MiB'>32</memory><os><type>hvm</type></os>
      <devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>
      <target dev='vda' bus='virtio'/></disk></devices></domain>""")
    return virsh("define", str(xml))


class Chains(Case):
    def make(self, name):
        self.ok(vmctl("create", name, "--memory", "32MiB", "--image", GUEST, "--set", "disk.root.format=qcow2", "--set", "networks=[]"))
        return IMAGES / f"{name}-root.qcow2"

    def test_a_foreign_overlay_keeps_its_base(self):
        base = self.make("base-a")
        overlay(IMAGES / "foreign-a.qcow2", base)
        self.ok(define("foreign-a", IMAGES / "foreign-a.qcow2"))
        deleted = self.ok(vmctl("delete", "base-a"))
        self.assertIn("foreign-a uses it too", deleted.err)
        self.assertTrue(base.exists())

    def test_also_two_steps_down_and_by_a_relative_name(self):
        base = self.make("base-b")
        overlay(IMAGES / "middle-b.qcow2", base)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", "middle-b.qcow2", "-F", "qcow2", "foreign-b.qcow2"],
                       check=True, cwd=IMAGES)
        self.ok(define("foreign-b", IMAGES / "foreign-b.qcow2"))
        self.ok(vmctl("delete", "base-b"))
        self.assertTrue(base.exists())

    def test_an_overlay_that_no_vm_has_keeps_nothing(self):
        base = self.make("base-c")
        overlay(IMAGES / "nobody-c.qcow2", base)
        self.ok(vmctl("delete", "base-c"))
        self.assertFalse(base.exists())


harness.main()
