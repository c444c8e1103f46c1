#!/usr/bin/env python3
"""Two VirtualBox VMs of one name: every verb that takes a VM refuses the name with both ids, touches neither, and takes an id."""

import os
import pathlib
import re

import harness
from harness import run, vmctl

harness.enter("--virtualbox", cached=False)
os.environ["VMCTL_BACKEND"] = "virtualbox"
WORLD = pathlib.Path(os.environ["WORLD"])
TARGET = f"virtualbox:///?home={WORLD}/elsewhere&ipc=elsewhere"

# {} is the VM. The order is one in which each has something to do with the id.
CALLS = [
    ("get", "{}"), ("get", "{}", "-o", "spec"), ("get", "{}", "-o", "native"), ("describe", "{}"), ("address", "{}"),
    ("display", "{}"), ("logs", "{}"), ("caps", "--vm", "{}", "--feature", "lifecycle.start"),
    ("set", "{}", "labels.seen=yes"), ("attach", "{}", "disk", "name=more", "size=1MiB"), ("detach", "{}", "more"),
    ("cdrom", "insert", "{}", harness.GUEST), ("cdrom", "eject", "{}"), ("device", "list", "{}"),
    ("snapshot", "create", "{}", "one"), ("snapshot", "list", "{}"), ("snapshot", "get", "{}", "one"), ("snapshot", "rename", "{}", "one", "two"),
    ("snapshot", "revert", "{}", "two"), ("snapshot", "delete", "{}", "two"), ("clone", "{}", "copy"), ("export", "{}", str(WORLD / "twin.ova")),
    ("start", "{}"), ("wait", "{}", "--for", "running"), ("console", "{}", "--until", "line", "--timeout", "3m"),
    ("screenshot", "{}", str(WORLD / "twin.png")), ("dump", "{}", str(WORLD / "twin.core")), ("send-key", "{}", "a"), ("top", "{}", "--count", "1"),
    ("events", "{}", "--timeout", "1s", "--count", "1"), ("exec", "{}", "--", "true"), ("ssh", "{}", "--", "true"),
    ("cp", harness.GUEST, "{}:/tmp/x"), ("cp", "{}:/tmp/x", str(WORLD / "x")), ("port-forward", "{}", "0:22", "--timeout", "1s"),
    ("freeze", "{}"), ("thaw", "{}"), ("set-password", "{}", "root"), ("migrate", "{}", "--to", TARGET),
    ("pause", "{}"), ("resume", "{}"), ("reset", "{}"), ("save", "{}"), ("start", "{}"), ("restart", "{}", "--grace", "1s"),
    ("stop", "{}", "--force"), ("edit", "{}"), ("rename", "{}", "other"), ("delete", "{}", "--force"),
]
GUEST_STATUS = {"exec", "ssh"}  # vmctl's own failure is 125 there


def twins():
    return re.findall(r'^"twin" \{([^}]*)\}', run("VBoxManage", "list", "vms").out, re.M)


class Names(harness.Case):
    def setUp(self):
        yaml = WORLD / "twin.yaml"
        yaml.write_text(f"""
name: twin
backend: virtualbox
memory: 32MiB
networks: []
display: none
serial: {{log: twin.log}}
disks: [{{name: root, image: {harness.GUEST}}}, {{name: dvd, cdrom: ""}}]
virtualbox: {{modifyvm: {{vm-execution-engine: recompiler, paravirt-provider: none}}}}
""")
        self.ok(vmctl("create", str(yaml)))
        other = run("VBoxManage", "createvm", "--name", "twin", "--groups", "/elsewhere", "--ostype", "Linux_64", "--register")
        self.assertEqual(other.status, 0, other)
        self.ids = twins()
        self.assertEqual(len(self.ids), 2)
        self.ours = re.search(r'"id": "([^"]*)"', [vmctl("get", i, "-o", "json").out for i in self.ids if vmctl("get", i).out.count("root@")][0])[1]
        self.other = [i for i in self.ids if i != self.ours][0]

    def tearDown(self):
        vmctl("delete", "copy", "--force", "--ignore-not-found")
        run("VBoxManage", "unregistervm", self.other, "--delete")

    def test_every_verb(self):
        env = {"EDITOR": "true", "VISUAL": "true"}
        listed = set(re.findall(r"^  ([a-z-]+)  ", vmctl("help").out, re.M))
        usages = {verb: re.search(r"^usage: (.*)$", vmctl("help", verb).out, re.M)[1] for verb in listed}
        takes = {verb for verb, usage in usages.items() if re.search(r"\bVM\b", usage)} | {"snapshot", "device", "cdrom"}
        self.assertEqual({call[0] for call in CALLS} - {"caps"}, takes - {"create"}, "each verb that takes a VM is called here")
        for call in CALLS:
            with self.subTest(call=call, vm="name"):
                before = twins(), harness.files(WORLD / "machines")
                done = vmctl(*(word.replace("{}", "twin") for word in call), env=env, input="secret\n")
                self.assertEqual(done.status, 125 if call[0] in GUEST_STATUS else 5, done)
                for vm in self.ids:
                    self.assertIn(vm, done.err, done)
                self.assertIn("ambiguous", done.err)
                self.assertEqual((twins(), harness.files(WORLD / "machines")), before)
            with self.subTest(call=call, vm="id"):
                done = vmctl(*(word.replace("{}", self.ours) for word in call), env=env, input="secret\n")
                # What this VM or this backend cannot do is refused in its own words: never as unknown or ambiguous, never as a usage error.
                self.assertNotIn(done.status, (2, 5, 70), done)
                self.assertNotIn("ambiguous", done.err)
                self.assertNotIn("there is no VM", done.err)
            if call[0] == "rename":
                self.assertEqual(run("VBoxManage", "modifyvm", self.ours, "--name", "twin").status, 0)
        self.assertEqual(twins(), [self.other], "the last call has deleted the one that was named")


harness.main()
