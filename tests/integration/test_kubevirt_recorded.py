#!/usr/bin/env python3
"""The requests of vmctl against the recorded exchanges: each recording either is what vmctl sends too (method, path and query, names and
versions aside; the keys of a body of KubeVirt's own verbs), or stands in a list of what it never sends, with the reason."""

import json
import os
import pathlib
import re
import sys
import unittest
import urllib.parse

import harness
from harness import run, vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import fault_proxy as fault  # noqa: E402
import kube  # noqa: E402
import recordings  # noqa: E402
from fault_proxy import FaultProxy, Rule  # noqa: E402

VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
SUB = "/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines"

# What a query says of place and time, not of what is asked.
PASSING = {"resourceVersion", "timeoutSeconds", "continue", "limit", "fieldManager", "fieldValidation", "allowWatchBookmarks", "preserveSession",
           "moveCursor", "force"}


def shape(method, target, body):
    """What a request asks, without names: ("PUT", ".../virtualmachines/*/stop", {"watch"}, keys of the body of a verb of KubeVirt's)."""
    split = urllib.parse.urlsplit(target)
    path = re.sub(r"/namespaces/[^/]+", "/namespaces/*", split.path)
    path = re.sub(r"(/namespaces/\*/[a-z]+)/[^/]+", r"\1/*", path)
    path = re.sub(r"(/portforward)/.*", r"\1", path)
    query = frozenset(name for name, _ in urllib.parse.parse_qsl(split.query, keep_blank_values=True) if name not in PASSING)
    keys = frozenset()
    if "/subresources." in path and method == "PUT" and body:
        try:
            keys = frozenset(json.loads(body)) - {"dryRun"}
        except ValueError:
            keys = frozenset({"no JSON"})
    return method, path, query, keys


class Recorded(harness.Case):
    def test_every_recording(self):
        world = pathlib.Path(os.environ["WORLD"])
        proxy = FaultProxy(kube.of_world(), world / "kubernetes/certs")
        env = {"KUBECONFIG": proxy.kubeconfig(world / "kubernetes/kubeconfig", world / "through-proxy")}
        (world / "vm.yaml").write_text('name: vm1\nbackend: kubevirt\nmemory: 512MiB\nnetworks: [{name: default, type: pod}]\n'
                                       'disks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n')
        ran = []
        for command in COMMANDS:
            result = vmctl("--backend", "kubevirt", *command.format(yaml=world / "vm.yaml").split(), env=env, timeout=60)
            self.assertNotIn("AddressSanitizer", result.err)
            ran.append((command, result.status))
        sent = {shape(s.method, s.target, s.body) for s in proxy.seen}
        every = recordings.every()
        # The proxy carries no WebSocket: that one is only asked for.
        self.assertEqual([c for c, status in ran if status not in (0, 3, 4) and not c.startswith("console")], [])
        matched = [r for r in every if shape(r.method, r.target, r.body) in sent]
        rest = {r.number: r for r in every if r not in matched}
        if os.environ.get("VMCTL_TELL"):
            print(json.dumps(ran, indent=0))
            for r in rest.values():
                print(r.file.name, shape(r.method, r.target, r.body))
            for s in sorted(map(str, sent)):
                print("sent", s)
        print(f"{len(matched)} of {len(every)} recorded requests are sent by vmctl as well")
        never, elsewhere = ({number for numbers, _ in table for number in numbers.split()} for table in (NEVER, ELSEWHERE))
        self.assertEqual({n: rest[n].file.name for n in rest if n not in never | elsewhere}, {})
        self.assertEqual(sorted(never - set(rest)), [], "what vmctl does send")
        self.assertEqual(sorted((never | elsewhere) - {r.number for r in every}), [], "no recording")
        self.assertGreaterEqual(len(matched), 120)

    def test_no_program_and_one_connection(self):
        """Under strace: a whole command is one process and one connection to the API server, the wait of a start included."""
        world = pathlib.Path(os.environ["WORLD"])
        path = world / "traced.yaml"
        path.write_text('name: traced\nbackend: kubevirt\nmemory: 512MiB\nnetworks: [{name: default, type: pod}]\n'
                        'disks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n')
        for command in (f"create {path}", "list", "start traced", "get traced", "stop traced --force", "delete traced"):
            with self.subTest(command=command):
                trace = world / "trace"
                self.ok(run("strace", "-f", "-e", "trace=connect,execve", "-o", str(trace), harness.VMCTL, "--backend", "kubevirt", *command.split(),
                            env={"ASAN_OPTIONS": "detect_leaks=0"}))
                lines = trace.read_text().splitlines()
                self.assertEqual(len([line for line in lines if "execve(" in line]), 1, lines)
                self.assertEqual(len([line for line in lines if "connect(" in line and "sin_port=htons(6443)" in line]), 1, lines)
                self.assertEqual([line for line in lines if "connect(" in line and "AF_INET" in line and "htons(6443)" not in line], [])


class Start(harness.Case):
    """What a start asks: for the start, and for one watch, which also tells what the VM was. Whatever else it says must be as true as if it had
    looked before."""

    @classmethod
    def setUpClass(cls):
        cls.world, cls.api = pathlib.Path(os.environ["WORLD"]), kube.of_world()
        cls.proxy = FaultProxy(cls.api, cls.world / "kubernetes/certs")
        cls.env = {"KUBECONFIG": cls.proxy.kubeconfig(cls.world / "kubernetes/kubeconfig", cls.world / "through-proxy")}

    def setUp(self):
        self.proxy.set()

    def machine(self, name, strategy, **annotations):
        self.addCleanup(lambda: (self.proxy.set(), vmctl("--backend", "kubevirt", "delete", name, "--force")))
        self.api.post(VMS, {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name, "annotations": annotations}, "spec": {
            "runStrategy": strategy, "template": {"spec": {"domain": {"memory": {"guest": "512Mi"}, "devices": {}}}}}})
        if strategy != "Always":
            self.until(name, "Stopped")

    def until(self, name, status):
        self.wait_for(f"{name} to be {status}", lambda: (self.api.get(f"{VMS}/{name}").get("status") or {}).get("printableStatus") == status)

    def start(self, *arguments):
        """Its outcome, and what was asked: "PUT start", "GET watch", "PATCH NAME"."""
        self.proxy.set(*self.proxy.rules)
        result = vmctl("--backend", "kubevirt", "start", *arguments, env=self.env, timeout=60)
        asked = [f"{s.method} {'watch' if 'watch=true' in s.target else s.target.rpartition('/')[2]}" for s in self.proxy.requests(pattern="/virtualmachine")]
        return result, asked

    def test_two_requests(self):
        """Of a VM with each strategy; the note tells what KubeVirt made of the user's strategy, and the row has the VM's id."""
        for strategy, after, said in (("Manual", "Manual", False), ("RerunOnFailure", "RerunOnFailure", False), ("Halted", "Always", True)):
            with self.subTest(strategy=strategy):
                name = f"start-{strategy.lower()}"
                self.machine(name, "Manual")
                self.api.patch(f"{VMS}/{name}", {"spec": {"runStrategy": strategy}})
                if strategy == "RerunOnFailure":  # that starts it; a guest that shuts down is left so
                    self.until(name, "Running")
                    self.api.patch(f"{VMS}/{name}", {"metadata": {"annotations": {"vmctl.test/guest": "shutdown"}}})
                    self.until(name, "Stopped")
                    self.api.patch(f"{VMS}/{name}", {"metadata": {"annotations": {"vmctl.test/guest": None}}})
                result, asked = self.start(name, "-o", "json")
                self.ok(result)
                self.assertEqual(asked, ["PUT start", "GET watch"], str(result))
                vm = self.api.get(f"{VMS}/{name}")
                self.assertEqual((vm["status"]["printableStatus"], vm["spec"]["runStrategy"]), ("Running", after))
                self.assertEqual("had run strategy Halted" in result.err, said, result.err)
                self.assertEqual(json.loads(result.out)[0]["id"], vm["metadata"]["uid"])

    def test_autostart(self):
        """Its run strategy is set as well, which is a request more."""
        self.machine("start-planned", "Manual", **{"vmctl.dev/run-strategy": "RerunOnFailure"})
        result, asked = self.start("start-planned")
        self.ok(result)
        self.assertEqual(asked[:3], ["PUT start", "GET watch", "PATCH start-planned?fieldManager=vmctl&fieldValidation=Strict"], str(result))
        vm = self.api.get(f"{VMS}/start-planned")
        self.assertEqual((vm["status"]["printableStatus"], vm["spec"]["runStrategy"]), ("Running", "RerunOnFailure"))

    def test_not_stopped(self):
        """It runs, is paused, is being stopped, is being started, is not there."""
        self.machine("start-anew", "Always")
        self.until("start-anew", "Running")
        result, asked = self.start("start-anew")
        self.ok(result)
        self.assertIn("start-anew is already running", result.err)
        self.assertEqual(asked, ["PUT start", "GET start-anew"])
        self.ok(vmctl("--backend", "kubevirt", "pause", "start-anew"))
        self.until("start-anew", "Paused")
        self.status(self.start("start-anew")[0], 6, "is paused", "vmctl resume start-anew")
        self.assertIn("already paused", self.ok(self.start("start-anew", "--paused")[0]).err)
        self.ok(vmctl("--backend", "kubevirt", "resume", "start-anew"))
        self.until("start-anew", "Running")
        self.api.put(f"{SUB}/start-anew/stop", {"gracePeriod": 1})
        result, _ = self.start("start-anew")
        self.ok(result)
        self.until("start-anew", "Running")
        self.status(self.start("start-anev")[0], 4, "there is no VM named start-anev", "did you mean start-anew?")
        self.ok(self.start(self.api.get(f"{VMS}/start-anew")["metadata"]["uid"])[0])

    def test_a_state_of_before(self):
        """The first that the watch tells says "Running" of the instance that ended just now: the VM is waited for all the same."""
        def stale(handler, ask):
            there = ask()
            handler.stream(there)
            for number, line in enumerate(there):
                event = json.loads(line)
                if number == 0:
                    event["object"]["status"]["printableStatus"] = "Running"
                handler.chunk(json.dumps(event).encode() + b"\n")
            handler.chunk(b"")
            return there.status

        self.machine("start-stale", "Manual")
        over = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "start-stale"}, "status": {"phase": "Succeeded"}}
        self.proxy.set(Rule("GET", "watch=true", stale, 1), Rule("GET", f"{VMIS}/", fault.answer(200, over), 1))
        result, asked = self.start("start-stale")
        self.ok(result)
        self.assertEqual(asked, ["PUT start", "GET watch", "GET start-stale", "GET watch"])
        self.assertEqual(self.api.get(f"{VMS}/start-stale")["status"]["printableStatus"], "Running")

    def test_it_went_meanwhile(self):
        """Between the start and the watch it was deleted: nothing will ever be told of it, and it is not waited for to the end."""
        def gone(handler, ask):
            self.api.delete(f"{VMS}/start-gone")
            self.wait_for("it to be gone", lambda: not self.api.find(f"{VMS}/start-gone"))
            return handler.pass_on(ask)

        self.machine("start-gone", "Manual")
        self.proxy.set(Rule("GET", "watch=true", gone, 1))
        result, _ = self.start("start-gone")
        self.status(result, 4, "deleted meanwhile")


COMMANDS = ["create {yaml} --dry-run", "create {yaml}", "list", "list -n *", "list -l a=b", "list --facts addresses", "get vm1", "get vm1 -o native",
            "start vm1", "get vm1", "pause vm1", "resume vm1", "reset vm1", "restart vm1", "restart vm1 --force", "screenshot vm1 shot.png",
            "console vm1 --until line --timeout 3s", "logs vm1", "freeze vm1", "thaw vm1", "events vm1", "events --timeout 1s", "migrate vm1 --to host:node02",
            "snapshot create vm1 s1", "snapshot list vm1", "stop vm1 --force", "snapshot revert vm1 s1", "snapshot delete vm1 s1",
            "start vm1 --paused", "stop vm1 --force", "clone vm1 vm2", "set vm1 cpus=2", "host list", "host info", "image list",
            "caps --here", "caps --vm vm1", "apply {yaml}", "delete vm2", "delete vm1"]
NEVER = [
    ("03 04 05", "one request for the aggregated list of all APIs (02) tells as much"),
    ("06 07 282", "which KubeVirt it is stands in the KubeVirt object (08), which can be read while virt-api is away"),
    ("10", "nodes are asked for without a selector (371): those that take no VM are told as well"),
    ("101 14 53 99 281", "a stop always says its grace period"),
    ("78 79 81", "no request of a client that knows the API"),
    ("36", "versions are those that the cluster says it has"),
    ("121", "a watch without a version tells what there is, on older servers too"),
    ("127 128", "objects are patched, never replaced: fields that vmctl does not know stay"),
    ("137", "an instance is not changed, KubeVirt refuses it"),
    ("144", "what a delete would do is known without asking for it"),
    ("156", "v1 is there since KubeVirt 0.x; v1alpha3 is on its way out"),
    ("158", "a port is reached through the instance, which is looked at beforehand"),
    ("181", "instance types are made by whoever runs the cluster"),
    ("63 183 184", "a VM is told as it was written; the instance has what became of it"),
    ("56 223 377", "the verb migrate tells no name to wait for: the migration is made as an object (259)"),
    ("64", "behind a gate that is off"),
    ("190 195 197", "progress is watched, not asked for"),
    ("265", "no pods are evicted"),
    ("382", "rights are asked about one by one, where they matter"),
    ("82 83 84 86 87", "disks come and go by the VM's own spec (declarative, on since 1.9)"),
]
# What other commands send, or these once they do more: for each the reason why it is not seen here. Seen or not, both is right.
ELSEWHERE = [
    ("15", "caps asks about rights"),
    ("151 157 159 70", "sent when a viewer or a client connects"),
    ("180", "asked for where the instance is there and has a pod"),
    ("188 372 373", "asked for where a VM names an instance type or claims a device"),
    ("19 20 21 22 23 24 25 26 27 283 32 33", "create --dry-run asks nothing that writes; recorded with dryRun to leave nothing behind"),
    ("221 222 224 227 253 258 259 262", "migrations: of a VM that can go elsewhere, cancelled, looked at"),
    ("303 307 333 336 339", "data volumes are watched, and looked at by image verbs"),
    ("42 46 50", "lists by label, with addresses, of one VM's events: as the options say"),
    ("58 59 60 62", "what the agent tells, where one is connected"),
    ("69 75", "a reboot through the guest"),
    ("88", "memory dumps"),
    ("199 200", "image download exports a claim, and watches the export until it serves"),
]

if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.need("strace")
    harness.main()
