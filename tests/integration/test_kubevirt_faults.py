#!/usr/bin/env python3
"""What a bad network, a tired API server and a virt-api that is away do to vmctl on KubeVirt: one table, fault x operation. The exit status
is CLI.md's; nothing is done twice, and what failed left nothing behind. What is sent again follows client-go: only what the server asks to
send again, and reads whose connection broke."""

import json
import os
import pathlib
import sys
import unittest

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import fault_proxy as fault  # noqa: E402
import kube  # noqa: E402
from fault_proxy import FaultProxy, Rule  # noqa: E402

VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
SUB = "/apis/subresources.kubevirt.io/v1/namespaces/default"
YAML = """name: {name}
backend: kubevirt
memory: 512MiB
disks: [{{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}}]
networks: [{{name: default, type: pod}}]
"""
CREATE, START, STOP, PAUSE, DELETE = (("POST", f"{VMS}\\?"), ("PUT", "/start$"), ("PUT", "/stop$"), ("PUT", "/pause$"), ("DELETE", f"{VMS}/"))
LIST, GET, WATCH = ("GET", f"{VMS}\\?limit"), ("GET", f"{VMS}/"), ("GET", "watch=true")

# (what happens, to which requests, how often, the command, its status, words of its error, how many such requests in all, the VM's state then)
# A VM that is not there has state None.
TABLE = [
    ("429 with Retry-After", fault.BUSY, LIST, 1, "list", 0, "", 2, "stopped"),
    ("429 with Retry-After", fault.BUSY, CREATE, 1, "create", 0, "", 2, "stopped"),
    ("429 with Retry-After", fault.BUSY, START, 1, "start", 0, "", 2, "running"),
    ("429 with Retry-After", fault.BUSY, WATCH, 1, "start", 0, "", None, "running"),
    ("429 without", fault.BUSY_FOR_GOOD, LIST, None, "list", 6, "busy", 1, "stopped"),
    ("429 without", fault.BUSY_FOR_GOOD, CREATE, None, "create", 6, "busy", 1, None),
    ("429 without", fault.BUSY_FOR_GOOD, START, None, "start", 6, "busy", 1, "stopped"),
    ("500 of a webhook", fault.WEBHOOK, CREATE, None, "create", 9, "virt-api", 1, None),
    ("401, the token is over", fault.EXPIRED, LIST, None, "list", 7, "unauthenticated", None, "stopped"),
    ("401, the token is over", fault.EXPIRED, CREATE, None, "create", 7, "unauthenticated", None, None),
    ("503, virt-api is away", fault.DOWN, START, None, "start", 9, "unavailable", 1, "stopped"),
    ("503, virt-api is away", fault.DOWN, PAUSE, None, "pause", 9, "unavailable", 1, "running"),
    ("cut before the answer", fault.cut, LIST, 1, "list", 0, "", 2, "stopped"),
    ("cut before the answer", fault.cut, GET, 1, "get", 0, "", None, "stopped"),
    ("cut for good", fault.cut, LIST, None, "list", 9, "unavailable", None, "stopped"),
    ("cut before the answer", fault.cut, CREATE, None, "create", 9, "", None, None),
    ("answer lost", fault.lose_answer, START, 1, "start", 9, "whether it was done is not known", 1, "running"),
    ("answer lost", fault.lose_answer, DELETE, 1, "delete", 9, "whether it was done is not known", 1, None),
    ("half a JSON", fault.half, LIST, 1, "list", 0, "", 2, "stopped"),
    ("half a JSON", fault.half, GET, 1, "get", 0, "", None, "stopped"),
    ("no JSON", fault.rubbish, LIST, None, "list", 9, "ended in its middle", None, "stopped"),
    ("no JSON", fault.rubbish, GET, None, "get", 70, "internal", None, "stopped"),
    ("bytes that trickle", fault.slow(1), LIST, 1, "list", 0, "", 1, "stopped"),
    ("bytes that trickle", fault.slow(1), CREATE, 1, "create", 0, "", 1, "stopped"),
    ("no answer at all", fault.hang, LIST, None, "list --timeout 2s", 8, "timeout", 1, "stopped"),
    ("no answer at all", fault.hang, CREATE, None, "create --timeout 2s", 8, "timeout", None, None),
    ("the watch cut at once", fault.watch_cut(0), WATCH, 2, "start", 0, "", None, "running"),
    ("the watch cut after an event", fault.watch_cut(1), WATCH, 2, "start", 0, "", None, "running"),
    ("the watch cut within an event", fault.watch_cut(0, in_line=True), WATCH, 2, "start", 0, "", None, "running"),
    ("the watch cut within an event", fault.watch_cut(1, in_line=True), WATCH, 2, "stop", 0, "", None, "stopped"),
    ("410 in the watch", fault.watch_expired, WATCH, 2, "start", 0, "", None, "running"),
    ("410 in the watch", fault.watch_expired, WATCH, 2, "delete", 0, "", None, None),
]


class Faults(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.world = pathlib.Path(os.environ["WORLD"])
        cls.api = kube.of_world()
        cls.proxy = FaultProxy(cls.api, cls.world / "kubernetes/certs")
        cls.env = {"KUBECONFIG": cls.proxy.kubeconfig(cls.world / "kubernetes/kubeconfig", cls.world / "through-proxy")}

    def state(self, name):
        vm = self.api.find(f"{VMS}/{name}")
        return vm and (vm.get("status") or {}).get("printableStatus", "nothing yet").lower()

    def prepare(self, name, verb):
        """What the command needs, made without a fault in the way."""
        path = self.world / f"{name}.yaml"
        path.write_text(YAML.format(name=name))
        if verb == "create":
            return str(path)
        self.ok(vmctl("create", str(path), *(["--start"] if verb in ("stop", "pause") else [])))
        self.wait_for("the VM's first status", lambda: (self.api.get(f"{VMS}/{name}").get("status") or {}).get("printableStatus"))
        return name

    def left(self):
        """The journal has nothing open, and no VM but the fixed ones is there."""
        journal = pathlib.Path(os.environ["HOME"]) / ".local/state/vmctl/journal"
        return [str(p) for p in journal.glob("*")] if journal.exists() else []

    def test_table(self):
        for number, (what, act, (method, pattern), times, command, status, words, count, state) in enumerate(TABLE):
            verb, *options = command.split()
            with self.subTest(fault=what, operation=command):
                name = f"fault-{number}"
                self.proxy.set()
                argument = self.prepare(name, verb)
                self.proxy.set(Rule(method, pattern, act, times))
                result = vmctl("--backend", "kubevirt", verb, *([] if verb == "list" else [argument]), *options, env=self.env, timeout=60)
                self.assertEqual(result.status, status, str(result))
                self.assertNotIn("AddressSanitizer", result.err)
                self.assertIn(words, result.err)
                hits = self.proxy.requests(method, pattern)
                if count is not None:
                    self.assertEqual(len(hits), count, [(s.method, s.target, s.status) for s in self.proxy.seen])
                if verb in ("start", "stop", "pause"):  # asked for once, whatever the watch went through
                    self.assertEqual(len([s for s in self.proxy.requests("PUT") if s.status and s.status < 300]), int(status == 0 or act is fault.lose_answer))
                if state is None:
                    self.wait_for("the VM to be gone", lambda: self.state(name) is None)
                else:
                    self.wait_for(f"state {state}", lambda: self.state(name) == state)
                self.proxy.set()
                if self.state(name):
                    vmctl("--backend", "kubevirt", "delete", name, "--force")
        self.assertEqual(self.left(), [])

    def test_nothing_is_made_twice(self):
        """An answer to create that is lost: the VM is there and vmctl says so, or it is not and vmctl says that."""
        path = self.prepare("lost", "create")
        self.proxy.set(Rule("POST", CREATE[1], fault.lose_answer, 1))
        result = vmctl("--backend", "kubevirt", "create", path, env=self.env, timeout=60)
        there = self.api.find(f"{VMS}/lost") is not None
        self.assertEqual(result.status == 0, there, str(result))
        self.assertLessEqual(len([s for s in self.proxy.requests("POST", CREATE[1]) if s.status == 201]), 1)
        self.proxy.set()
        if there:
            self.ok(vmctl("--backend", "kubevirt", "delete", "lost"))

    def test_two_writers(self):
        """A name that somebody else took meanwhile: already-exists, and theirs stays."""
        path = self.prepare("taken", "create")
        theirs = self.api.post(VMS, {**json.loads((harness.HERE.parent / "fixtures/kubevirt/353-liveupdate-create.http").read_text().split("\n\n")[1]
                                                  .split("\n-----")[0]), "metadata": {"name": "taken", "labels": {"theirs": "yes"}}})
        result = vmctl("--backend", "kubevirt", "create", path, env=self.env)
        self.status(result, 5, "already-exists")
        self.assertEqual(self.api.get(f"{VMS}/taken")["metadata"]["uid"], theirs["metadata"]["uid"])
        self.api.delete(f"{VMS}/taken")

    def test_servers_that_are_none(self):
        """Wrong CA, no server, a bad token, no rights, no KubeVirt there: the status and the next step."""
        config = self.world / "kubernetes/kubeconfig"

        def of(context, status, *words):
            result = vmctl("--backend", "kubevirt", "list", env={"KUBECONFIG": str(self.with_context(config, context))})
            self.status(result, status, *words)

        of("wrong-ca", 9, "certificate")
        of("bad-token", 7, "unauthenticated")
        of("anonymous", 7)
        of("viewer", 7, "permission-denied", "list", "virtualmachines")
        of("expired", 7)
        nobody = self.world / "nobody-listens"
        nobody.write_text(config.read_text().replace("127.0.0.1:6443", "127.0.0.1:9"))
        self.status(vmctl("--backend", "kubevirt", "list", env={"KUBECONFIG": str(nobody)}), 9, "127.0.0.1:9")
        self.proxy.set(Rule("GET", "/apis/kubevirt.io/", fault.answer(404, "404 page not found\n", kind="text/plain"), None),
                       Rule("GET", "^/apis(/kubevirt.io)?$", fault.answer(404, "404 page not found\n", kind="text/plain"), None))
        self.status(vmctl("--backend", "kubevirt", "list", env=self.env), 3, "kubevirt.io")

    def with_context(self, config, name):
        to = self.world / f"context-{name}"
        to.write_text(config.read_text().replace("current-context: admin", f"current-context: {name}"))
        return to


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
