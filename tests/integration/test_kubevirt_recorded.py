#!/usr/bin/env python3
"""The requests of vmctl against the recorded exchanges: each recording either is what vmctl sends too (method, path and query, names and
versions aside; the keys of a body of KubeVirt's own verbs), or stands in a list of what it never sends, with the reason."""

import copy
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
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

# How a recorded request and one of vmctl's may differ and be the same: each names a part of a request that says nothing of what is asked, and
# takes it away, or its value, on both sides. Names in paths are always aside. A rule stands at a recording only where it is needed.
def without(request, *names):
    for name in names:
        request["query"].pop(name, None)


def some(request, *names):
    for name in names:
        if name in request["query"]:
            request["query"][name] = "..."


def limit(request):
    """How many of a list at once is the client's to say: vmctl takes 500."""
    without(request, "limit")


def version(request):
    """A version and a continue token are what the server gave: another run, another value."""
    some(request, "resourceVersion", "continue")


def seconds(request):
    """How long one stream of a watch goes on is the client's to say."""
    some(request, "timeoutSeconds")


def bookmarks(request):
    """vmctl's long watches ask for bookmarks; that changes no event."""
    without(request, "allowWatchBookmarks")


def writer(request):
    """Recorded by a client that did not say who writes: vmctl always does, and asks for strict validation."""
    without(request, "fieldManager", "fieldValidation")


def dry(request):
    """Recorded with dryRun to leave nothing behind: the same request, but for that it is not kept."""
    without(request, "dryRun")
    if isinstance(request["body"], dict):
        request["body"].pop("dryRun", None)


def mark(request):
    """vmctl's mark on what it makes: its annotations and labels, and an owner's."""
    metadata = request["body"].get("metadata", {})
    for key in ("annotations", "labels"):
        kept = {k: v for k, v in metadata.get(key, {}).items() if not k.startswith("vmctl.dev/")}
        metadata.pop(key, None)
        if kept:
            metadata[key] = kept


def templated(request):
    """A person's labels are on the VM's template, too, where Services and policies select by them."""
    if request["body"].get("spec") == {"template": {"metadata": {"labels": request["body"]["metadata"]["labels"]}}}:
        del request["body"]["spec"]


def owned(request):
    """A snapshot belongs to its VM, so that it goes with it."""
    request["body"].get("metadata", {}).pop("ownerReferences", None)


def named(request):
    """The name that the object gets, and of what it is about."""
    body = request["body"]
    for key in ("name", "generateName", "namespace"):
        body.get("metadata", {}).pop(key, None)
    text = json.dumps(body)
    request["body"] = json.loads(re.sub(r'"(name|vmiName|virtualMachineSnapshotName)": "[^"]*"', r'"\1": "..."', text))


def empty(request):
    """No body, and one with nothing in it: KubeVirt takes both (recordings 66 and 68)."""
    request["body"] = request["body"] or {}


def about(request):
    """Which object a selector is about."""
    for name in ("fieldSelector", "labelSelector"):
        if name in request["query"]:
            request["query"][name] = re.sub("=.*", "=...", request["query"][name])


def guarded(request):
    """A change names the version that it was made from, so that two writers do not overwrite each other."""
    request["body"].get("metadata", {}).pop("resourceVersion", None)
    if request["body"].get("metadata") == {}:
        del request["body"]["metadata"]


def unforced(request):
    """What is not said is not forced."""
    if request["query"].get("force") == "false":
        del request["query"]["force"]


def node(request):
    """Where a VM is to migrate: recorded without a choice."""
    request["body"]["spec"].pop("addedNodeSelector", None)


def uid(request):
    """Of the very object: each has its own."""
    preconditions = request["body"].get("preconditions", {})
    if "uid" in preconditions:
        preconditions["uid"] = "..."


def plain(method, target, body):
    """A request as it is: method, path with names aside, query, body (an object where it is JSON)."""
    split = urllib.parse.urlsplit(target)
    path = re.sub(r"/namespaces/[^/]+", "/namespaces/*", split.path)
    path = re.sub(r"(/namespaces/\*/[a-z]+)/[^/]+", r"\1/*", path)
    path = re.sub(r"(/portforward)/[0-9]+", r"\1/*", path)
    text = body.decode(errors="replace") if isinstance(body, bytes) else body
    try:
        body = json.loads(text) if text else None
    except ValueError:
        body = text
    return {"method": method, "path": path, "query": dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True)), "body": body}


def changed(request, rules):
    request = copy.deepcopy(request)
    for rule in rules:
        rule(request)
    return request


class Recorded(harness.Case):
    def gather(self):
        """What vmctl sends: in COMMANDS, with recorded manifests, of lists of several pages, of streams."""
        world = pathlib.Path(os.environ["WORLD"])
        api = kube.of_world()
        proxy = FaultProxy(api, world / "kubernetes/certs")
        env = {"KUBECONFIG": proxy.kubeconfig(world / "kubernetes/kubeconfig", world / "through-proxy")}
        (world / "vm.yaml").write_text('name: vm1\nbackend: kubevirt\nmemory: 512MiB\nnetworks: [{name: default, type: pod}]\n'
                                       'disks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n')
        (world / "raw.img").write_bytes(bytes(1 << 20))
        ran = []

        def do(command):
            result = vmctl("--backend", "kubevirt", *command.format(yaml=world / "vm.yaml", raw=world / "raw.img", shot=world / "shot.png").split(), env=env, timeout=60)
            self.assertNotIn("AddressSanitizer", result.err)
            ran.append((command, result.status, result.err))
            return result

        for command in COMMANDS:
            do(command)
            if command == "describe vm1":  # its display, as a viewer dials it
                child = subprocess.Popen([harness.VMCTL, "--backend", "kubevirt", "display", "vm1", "-o", "jsonl"], env={**os.environ, **env},
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                with socket.create_connection(("127.0.0.1", json.loads(child.stdout.readline())["port"]), 20) as viewer:
                    self.assertEqual(viewer.recv(12), b"RFB 003.008\n")
                child.send_signal(signal.SIGINT)
                child.communicate(timeout=60)
        for name in ("one", "two"):
            api.post(VMS, {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": {
                "runStrategy": "Halted", "template": {"spec": {"domain": {"memory": {"guest": "64Mi"}, "devices": {}}}}}})
        proxy.page = 1  # the server gives so many at once, so that there are pages
        do("list")
        proxy.page = None
        for name in ("one", "two"):
            api.delete(f"{VMS}/{name}")
        for number in MANIFESTS.split():
            was = recordings.of(number)
            path = world / f"manifest-{number}.json"
            path.write_bytes(was.body)
            for verb in ("create", "apply") if was.method == "POST" else ("apply", "apply"):
                do(f"{verb} {path}")
                name = json.loads(was.body)["metadata"].get("name")
                if was.method == "POST" and name and api.find(f"{VMS}/{name}"):
                    api.delete(f"{VMS}/{name}")
                    self.wait_for(f"{name} to be gone", lambda: not api.find(f"{VMS}/{name}"), 60)
        return proxy.seen, ran

    def test_every_recording(self):
        """Each recording is what vmctl sends too: method, path, query and body whole, but for what the rules beside it take away; or it is one of
        those that vmctl never sends, with the reason."""
        seen, ran = self.gather()
        sent = [plain(s.method, s.target, s.body) for s in seen]
        every = {r.number: r for r in recordings.every()}
        rules = {number: of for numbers, of in SENT for number in numbers.split()}
        never, headers, elsewhere = ({number for numbers, _ in table for number in numbers.split()} for table in (NEVER, HEADERS, ELSEWHERE))

        def is_sent(number, of):
            was = changed(plain(every[number].method, every[number].target, every[number].body), of)
            return any(was["method"] == s["method"] and was["path"] == s["path"] and was == reduced(s, of) for s in sent)

        def reduced(request, of):
            try:
                return changed(request, of)
            except (KeyError, AttributeError, TypeError):
                return None  # a rule for bodies of another form

        if os.environ.get("VMCTL_TELL"):
            pathlib.Path(os.environ["VMCTL_TELL"]).write_text(json.dumps({"ran": ran, "sent": sent}))
        self.assertEqual([c for c, status, _ in ran if status not in (0, 2, 3, 4, 5, 6, 8)], [], "a command failed in another way")
        self.assertEqual(sorted(set(every) - set(rules) - never - headers - elsewhere), [], "in no table")
        self.assertEqual(sorted(number for tables in (SENT, NEVER, HEADERS, ELSEWHERE) for numbers, _ in tables for number in numbers.split()),
                         sorted(every), "in two tables")
        self.assertEqual([n for n, of in rules.items() if not is_sent(n, of)], [], "is not sent")
        self.assertEqual([(n, rule.__name__) for n, of in rules.items() for rule in of if is_sent(n, [r for r in of if r is not rule])], [],
                         "a rule that is not needed")
        self.assertEqual([n for n in never if is_sent(n, [])], [], "what vmctl does send")
        print(f"{len(rules)} of {len(every)} recorded requests are sent by vmctl as well, whole")
        self.assertGreaterEqual(len(rules), 120)

    def test_no_program_and_one_connection(self):
        """Under strace: a whole command is one process and one connection to the API server, the waits of a start and of a migration included; a
        WebSocket has one of its own."""
        world = pathlib.Path(os.environ["WORLD"])
        path = world / "traced.yaml"
        path.write_text('name: traced\nbackend: kubevirt\nmemory: 512MiB\nnetworks: [{name: default, type: pod}]\n'
                        'disks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n')
        for command, sockets in ((f"create {path}", 0), ("list", 0), ("start traced", 0), ("get traced", 0), ("describe traced", 0), ("pause traced", 0),
                                 ("resume traced", 0), ("freeze traced", 0), ("thaw traced", 0), ("restart traced", 0), ("migrate traced --to host:node02", 0),
                                 (f"screenshot traced {world}/traced.png", 0), ("logs traced", 0), ("caps --vm traced", 0),
                                 ("console traced --until line --timeout 30s", 1), ("snapshot create traced s1", 0), ("stop traced --force", 0),
                                 ("snapshot revert traced s1", 0), ("snapshot delete traced s1", 0), ("set traced cpus=2", 0), ("image list", 0),
                                 ("delete traced", 0)):
            with self.subTest(command=command):
                trace = world / "trace"
                self.ok(run("strace", "-f", "-e", "trace=connect,execve", "-o", str(trace), harness.VMCTL, "--backend", "kubevirt", *command.split(),
                            env={"ASAN_OPTIONS": "detect_leaks=0"}))
                lines = trace.read_text().splitlines()
                self.assertEqual(len([line for line in lines if "execve(" in line]), 1, lines)
                self.assertEqual(len([line for line in lines if "connect(" in line and "sin_port=htons(6443)" in line]), 1 + sockets, lines)
                self.assertEqual([line for line in lines if "connect(" in line and "AF_INET" in line and "htons(6443)" not in line], [])


    def test_libraries(self):
        """A command loads what it uses: libwslay where a WebSocket is opened, and of the others' libraries nothing."""
        path = pathlib.Path(os.environ["WORLD"], "loads.yaml")
        path.write_text('name: loads\nbackend: kubevirt\nmemory: 512MiB\ndisks: [{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}]\n')
        self.addCleanup(vmctl, "--backend", "kubevirt", "delete", "loads", "--force")
        for command, websocket in ((f"create {path} --start", False), ("list", False), ("get loads", False), ("describe loads", False), ("caps --vm loads", False),
                                   ("logs loads", False), ("pause loads", False), ("resume loads", False), ("events --timeout 1s", False),
                                   ("console loads --until line --timeout 60s", True)):
            with self.subTest(command=command):
                done = vmctl("--backend", "kubevirt", *command.split(), env={"LD_DEBUG": "files", "ASAN_OPTIONS": "detect_leaks=0"})
                self.assertIn(done.status, (0, 8), done.err[-2000:])  # events end by their time
                loaded = set(re.findall(r"file=(?:\S*/)?(vmctl-[a-z]+|libwslay|libvirt|libisofs|libpng|libarchive|libxml2)\b", done.err))
                self.assertEqual(loaded - {"vmctl-tools"}, {"vmctl-kubevirt", *(("vmctl-websocket", "libwslay") if websocket else ())})


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

    def from_the_start(self, handler, ask):
        """The watch begins before the VM runs, however late it was asked for: what would come as the first is told as the second."""
        there = ask()
        handler.stream(there)
        for number, line in enumerate(there):
            event = json.loads(line)
            status = event["object"].get("status", {})
            if number == 0 and status.get("printableStatus") == "Running":
                handler.chunk(json.dumps({**event, "object": {**event["object"], "status": {**status, "printableStatus": "Starting"}}}).encode() + b"\n")
                event["type"] = "MODIFIED"
            handler.chunk(json.dumps(event).encode() + b"\n")
        handler.chunk(b"")
        return there.status

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
                self.proxy.set(Rule("GET", "watch=true", self.from_the_start))
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


COMMANDS = ["create {yaml} --dry-run", "create {yaml}", "list", "list -n *", "list -l app=t", "list --facts addresses", "get vm1", "get vm1 -o native", "image upload {raw} --name fx", "image list", "image delete fx",
            "start vm1", "get vm1", "pause vm1", "resume vm1", "reset vm1", "restart vm1 --soft", "describe vm1", "wait vm1 --for port:80 --timeout 1s", "restart vm1", "restart vm1 --force", "screenshot vm1 {shot}",
            "console vm1 --until line --timeout 3s", "logs vm1", "freeze vm1", "thaw vm1", "events vm1", "events --timeout 1s", "migrate vm1 --to host:node02",
            "snapshot create vm1 s1", "snapshot list vm1", "stop vm1 --force", "snapshot revert vm1 s1", "snapshot delete vm1 s1",
            "start vm1 --paused", "stop vm1 --force", "clone vm1 vm2", "set vm1 cpus=2", "set vm1 labels.x=3", "set vm1 memory=2GiB", "host list", "host info", "image list",
            "caps --here", "caps --vm vm1", "apply {yaml}", "delete vm2", "delete vm1"]
MANIFESTS = "16 17 18 19 20 21 22 23 24 25 26 27 30 31 32 138 140 175 178 182 185 186 247 283 301 310 353"
# What vmctl sends as well, and what is taken away on both sides before they are compared.
SENT = [
    ("01 02 113 116 119 120 133 135 136 15 150 154 155 157 159 176 179 187 198 213 216 219 220 225 226 228 260 261 263 285 302 306 309 311 313 314 317 "
     "318 320 321 323 324 334 337 34 340 35 354 356 357 359 360 362 376 49 51 52 54 55 58 61 62 68 70 71 72 73 85 89 91 92 93 94 95 96 97", []),
    ("08 09 11 12 13 191 284 37 371 375 378 38 380 381 383 39 42 43 47 50", [limit]),
    ("180", [limit, about]),
    ("343 351 40", [limit, version]),
    ("212 215 218", [version, seconds]),
    ("123 148 257 352", [version, seconds, bookmarks]),
    ("16", [mark]),
    ("17 178 18 182 185 186 247 301 31 310 353", [writer, mark]),
    ("19 20 21 22 24 26 27 283 32", [writer, dry, mark]),
    ("138", [dry, mark, guarded, unforced]),
    ("139", [writer, dry, mark, guarded]),
    ("140", [writer, mark, guarded]),
    ("129", [writer, guarded, templated]),
    ("355 358", [writer, guarded]),
    ("143", [uid]),
    ("189", [writer, named, mark, owned]),
    ("193 194 196", [writer, named]),
    ("224", [writer, named, node]),
    ("259", [named, writer, node]),  # a name of its own tells, after a lost answer, whether there is a migration
    ("65", [dry]),
    ("66 69 74 75 76 77", [empty]),
]
NEVER = [
    ("03 04 05", "one request for the aggregated list of all APIs (02) tells as much"),
    ("06 07 282", "which KubeVirt it is stands in the KubeVirt object (08), which can be read while virt-api is away"),
    ("10", "nodes are asked for without a selector (371): those that take no VM are told as well"),
    ("101 14 53 99 281", "a stop always says its grace period"),
    ("78 79 81 36", "no request of a client that knows the API"),
    ("41 44 48 122 124 125", "versions and tokens are those that the server gave; fields that it does not select by are not asked for"),
    ("121", "a watch without a version tells what there is, on older servers too"),
    ("127 128", "objects are patched, never replaced: fields that vmctl does not know stay"),
    ("131 132 134", "changes are merge patches (129) and applied manifests (138), which name the version that they were made from"),
    ("361", "CPUs are added as sockets (355), which a VM that runs takes"),
    ("137", "an instance is not changed, KubeVirt refuses it"),
    ("141", "fields of others are not taken over"),
    ("144", "what a delete would do is known without asking for it"),
    ("145 146 149", "a delete names the very object (143), after the VM was stopped"),
    ("151", "a viewer that is there already is not thrown out: preserveSession is true"),
    ("156", "v1 is there since KubeVirt 0.x; v1alpha3 is on its way out"),
    ("158", "a port is reached through the instance, which is looked at beforehand"),
    ("181", "instance types are made by whoever runs the cluster"),
    ("63 183 184", "a VM is told as it was written; the instance has what became of it"),
    ("56 223 377", "the verb migrate tells no name to wait for: the migration is made as an object (259)"),
    ("222 258", "the one migration is watched, not all"),
    ("64", "behind a gate that is off"),
    ("190 195 197", "progress is watched, not asked for"),
    ("192", "snapshots are of VMs"),
    ("23 25 175 28 29 30 33", "refused before anything is sent: the name, a GPU that is not permitted, what is no manifest of a VM; YAML is sent as JSON"),
    ("59 60", "guestosinfo (58) has users and file systems too"),
    ("80", "KubeVirt's restart takes no grace but none at all"),
    ("265", "no pods are evicted"),
    ("379", "whether the cursor moves is always said (61)"),
    ("382", "rights are asked about one by one (15), where they matter"),
    ("82 83 84 86 87", "disks come and go by the VM's own spec (declarative, on since 1.9)"),
    ("88", "no memory dumps are made"),
]
# They differ from what vmctl sends in a header alone.
HEADERS = [
    ("57", "a console is asked for with an upgrade"),
    ("152 153", "and with the subprotocol plain.kubevirt.io"),
    ("accept", "Accept allows anything beside JSON, which virt-api insists on"),
    ("45 46", "no tables are asked for: facts are read from the objects"),
    ("130", "a merge patch, not a strategic one"),
    ("142", "an applied manifest says its field manager"),
]
# Sent in situations that are not made here.
ELSEWHERE = [
    ("188", "where a VM names an instance type of the cluster's"),
    ("372 373", "where a VM claims a device"),
    ("221 227 262 253", "migrate --abort, and a migration that is given up"),
    ("303 307 333 336 339", "after an upload that was cut, and when what a dead vmctl left is removed (test_kubevirt_fault_streams)"),
    ("199 200", "image download exports a claim, and watches the export until it serves"),
]

if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.need("strace")
    harness.main()
