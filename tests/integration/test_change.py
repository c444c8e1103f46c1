#!/usr/bin/env python3
"""Changes that are cut off: the answer that never comes, and what is told of the devices that wait."""

import json
import re

import harness
from harness import vmctl, virsh
from proxy import Proxy

harness.enter("--kvm", "666", "--daemons")

YAML = """
name: {name}
memory: 32MiB
networks: []
display: none
disks: [{{name: root, image: {image}}}]
"""
SOCKET = "/run/libvirt/libvirt-sock"


class Change(harness.Case):
    def make(self, name, *start):
        self.ok(vmctl("create", "-", *start, input=YAML.format(name=name, image=harness.GUEST)))
        self.addCleanup(vmctl, "delete", name, "--force", "--ignore-not-found")

    def memory(self, name):
        return int(re.search(r"<memory unit='KiB'>(\d+)<", virsh("dumpxml", name, "--inactive").out)[1])

    def test_a_definition_whose_answer_never_comes_is_put_back(self):
        self.make("cut")
        proxy = Proxy(SOCKET, swallow=b"65536</memory>")
        failed = vmctl("--connect", proxy.uri(), "set", "cut", "memory=64MiB", "--timeout", "3s", timeout=60)
        self.status(failed, 8, "put back")
        self.assertIsNone(proxy.swallow, "the new definition went through")
        self.assertEqual(self.memory("cut"), 32768)
        # And what the same call would have done is possible afterwards.
        self.ok(vmctl("set", "cut", "memory=64MiB"))
        self.assertEqual(self.memory("cut"), 65536)

    def test_an_attach_whose_answer_never_comes_leaves_no_file(self):
        self.make("torn")
        before = harness.world_state()
        proxy = Proxy(SOCKET, swallow=b"ua-data")
        failed = vmctl("--connect", proxy.uri(), "attach", "torn", "disk", "name=data", "size=4MiB", "--timeout", "3s", timeout=60)
        self.status(failed, 8, "put back")
        self.assertEqual(harness.world_state(), before)
        self.assertNotIn("ua-data", virsh("dumpxml", "torn", "--inactive").out)

    def test_what_waits_is_listed(self):
        self.make("waits", "--start")
        told = self.ok(vmctl("attach", "waits", "disk", "size=4MiB", "bus=sata"))
        self.assertIn("disk0", told.out)
        self.assertIn("restart", told.out)
        self.assertIn("sata", told.err)
        devices = {d["name"]: d for d in json.loads(self.ok(vmctl("device", "list", "waits", "-o", "json")).out)}
        self.assertEqual(devices["disk0"]["pending"], True)
        table = self.ok(vmctl("device", "list", "waits")).out
        self.assertRegex(table, r"PENDING")
        self.assertRegex(table, r"disk0 .*yes")
        near = vmctl("detach", "waits", "disk1")
        self.status(near, 4, "disk0")
        self.ok(vmctl("detach", "waits", "disk0", "--live"))  # it never came
        self.assertIn("disk", vmctl("__complete", "--", "attach", "waits", "").out)
        self.assertIn("root", vmctl("__complete", "--", "detach", "waits", "").out)


harness.main()
