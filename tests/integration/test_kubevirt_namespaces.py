#!/usr/bin/env python3
"""-n says where a VM goes and where it is looked for; -n '*' looks everywhere and shows the namespaces."""

import os
import pathlib

import harness
from harness import vmctl


class Namespaces(harness.Case):
    @classmethod
    def setUpClass(cls):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        cls.file = pathlib.Path(os.environ["HOME"], "vm.yaml")
        cls.file.write_text("name: web-1\nmemory: 512MiB\ndisks: [{name: root, size: 1GiB}]\n")

    def place(self, name, *where):
        return self.one(vmctl("get", name, *where, "-o", "json"))["namespace"]

    def test_a_file_goes_where_n_says(self):
        self.ok(vmctl("create", "-n", "team", str(self.file)))
        self.addCleanup(vmctl, "delete", "-n", "team", "web-1", "--force")
        self.assertEqual(self.place("web-1", "-n", "team"), "team")
        self.status(vmctl("get", "web-1"), 4)
        # The same name in another namespace is another VM.
        self.ok(vmctl("create", str(self.file)))
        self.addCleanup(vmctl, "delete", "web-1", "--force")
        self.assertEqual(self.place("web-1"), "default")
        everywhere = self.ok(vmctl("list", "-n", "*"))
        self.assertEqual(everywhere.out.splitlines()[0].split()[:2], ["NAMESPACE", "NAME"])
        self.assertEqual(sorted(tuple(line.split()[:2]) for line in everywhere.out.splitlines()[1:]),
                         [("default", "web-1"), ("team", "web-1")])
        self.ok(vmctl("apply", "-n", "team", str(self.file), "--set", "cpus=2"))
        self.assertEqual(self.one(vmctl("get", "web-1", "-n", "team", "-o", "json"))["cpus"], 2)
        self.assertEqual(self.one(vmctl("get", "web-1", "-o", "json"))["cpus"], 1)

    def test_options_make_one_there_too(self):
        self.ok(vmctl("create", "web-2", "-n", "team", "--memory", "512MiB", "--size", "1GiB"))
        self.addCleanup(vmctl, "delete", "-n", "team", "web-2", "--force")
        self.assertEqual(self.place("web-2", "-n", "team"), "team")

    def test_two_words_for_one_place_are_refused(self):
        refused = vmctl("create", "-n", "team", str(self.file), "--set", "placement.namespace=default")
        self.status(refused, 2, "team")
        self.assertIn("placement.namespace", refused.err)
        self.status(vmctl("create", "-n", "*", str(self.file)), 2)
        self.status(vmctl("get", "web-1", "-n", "team"), 4)


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
