#!/usr/bin/env python3
"""Every verb of KubeVirt's that changes something x what may happen to its request. What must come out was decided first:

  lost      the server has done it and nobody hears of it: the VM tells, the command goes on and ends well; it was asked for once, or twice where
            that is the same (see AGAIN).
  cut       the server has not seen it: the VM tells, it is sent once more and done once.
  gateway   a balancer gives up (502) behind which it was done: as lost, but nobody is asked twice.
  refused, goaway   HTTP/2's words for "not looked at", which libcurl does not hand on: as cut.
  late      504, and no answer within the deadline, and nothing was done: status 8, "not known", what to look at, the VM as it was.

What nothing tells of, and is twice when done twice (a reset, a reboot), is "not known" and never sent again; a restart that has not begun too.
Without VMCTL_FAULTS=all, as tests/long/faults has it, only the first two."""

import concurrent.futures
import json
import os


import harness
from harness import vmctl

from faulty import SUB, VMS, Faulty, fault
from fault_http2 import Http2Proxy
from fault_proxy import FaultProxy, Rule

UNKNOWN = "whether it was done is not known"
VMIM, SNAPSHOTS, RESTORES, CLONES = "/virtualmachineinstancemigrations", "/virtualmachinesnapshots", "/virtualmachinerestores", "/virtualmachineclones"
DVS, PVCS = "/datavolumes", "/persistentvolumeclaims"

APPLY = f"^(?!.*dryRun).*{VMS}/"

# (the verb's own request, the command, the VM's state after it); one after the other on one VM that runs at first. {image}: a file, {native}: a
# manifest of the VM with another label.
STEPS = [
    (("PUT", "/pause$"), "pause {0}", "paused"), (("PUT", "/unpause$"), "resume {0}", "running"), (("PUT", "/reset$"), "reset {0}", "running"),
    (("PUT", "/softreboot$"), "restart {0} --soft", "running"), (("PUT", "/freeze$"), "freeze {0}", "running"), (("PUT", "/unfreeze$"), "thaw {0}", "running"),
    (("POST", VMIM), "migrate {0} --to host:{node}", "running"), (("PUT", "/restart$"), "restart {0}", "running"), (("PUT", "/restart$"), "restart {0} --force", "running"),
    (("PATCH", f"{VMS}/"), "set {0} description=hot", "running"), (("PATCH", f"{VMS}/"), "attach {0} disk size=1GiB name=extra", "running"),
    (("PATCH", f"{VMS}/"), "detach {0} extra", "running"),
    (("POST", f"{PVCS}\\?"), "dump {0} {core}", "running"), (("PUT", "/memorydump$"), "dump {0} {core}", "running"),
    (("PUT", "/removememorydump$"), "dump {0} {core}", "running"), (("DELETE", f"{PVCS}/vmctl-dump"), "dump {0} {core}", "running"),
    (("PUT", "/stop$"), "stop {0}", "stopped"), (("PATCH", f"{VMS}/"), "set {0} cpus=2", "stopped"), (("PATCH", APPLY), "apply {native}", "stopped"),
    (("POST", SNAPSHOTS), "snapshot create {0} {0}-s1", "stopped"), (("POST", RESTORES), "snapshot revert {0} {0}-s1", "stopped"),
    (("DELETE", f"{SNAPSHOTS}/"), "snapshot delete {0} {0}-s1", "stopped"), (("POST", CLONES), "clone {0} {0}-copy", "stopped"),
    (("DELETE", f"{VMS}/{{0}}-copy"), "delete {0}-copy", "stopped"),
    (("POST", f"{DVS}\\?"), "image upload {image} --name {0}-image", "stopped"), (("DELETE", f"{DVS}/"), "image delete {0}-image", "stopped"),
    (("PUT", "/start$"), "start {0} --paused", "paused"), (("PUT", "/stop$"), "stop {0} --force", "stopped"), (("PUT", "/start$"), "start {0}", "running"),
    (("PUT", "/stop$"), "delete {0} --force", None),
]
BLIND = ("/reset$", "/softreboot$")   # nothing tells, and twice is not as once
ONCE = (*BLIND, "/restart$")          # never sent twice
AGAIN = ("/freeze$", "/unfreeze$", APPLY)  # nothing tells in time, and twice is as once
LAST = ("/removememorydump$", f"{PVCS}/vmctl-dump")  # of what has been done otherwise, or that undoing asks for as well


def gateway(handler, ask):
    """A balancer that gave up while the server did it."""
    ask().read()
    handler.reply(502, [("Content-Type", "text/html")], b"<html><body>Bad Gateway</body></html>")
    return 502


class Matrix(Faulty):
    def one_pass(self, name, proxy, env, faults):
        """All steps on a VM of its own. -> what went wrong, a line each."""
        wrong, done, state = [], 0, "running"
        image, core, native = (self.world / f"{name}.{ending}" for ending in ("img", "core", "native.json"))
        image.write_bytes(os.urandom(4096))

        def run(command, timeout=90):
            return vmctl("--backend", "kubevirt", *command.format(name, image=image, core=core, native=native, node=self.other_node(name)).split(), env=env, timeout=timeout)

        def is_state(wanted, what):
            try:
                self.wait_for(f"{what}: state {wanted}", lambda: self.state(name) == wanted, 60)
            except AssertionError as late:
                wrong.append(f"{late}; it is {self.state(name)}")

        self.prepare(name, "restart")
        for (method, pattern), command, after in STEPS:
            if "{native}" in command:
                native.write_text(self.manifest(name))
            for kind, put, expects in faults:
                what = f"{kind}: {command.format(name, image='IMAGE', core='CORE', native='NATIVE', node='NODE')}"
                if kind in ("hang", "504") and pattern in LAST:
                    continue
                status, words, counts, happens = expects(pattern)
                put(method, pattern.format(name))
                result = run(command + (" --timeout 1s" if kind == "hang" else ""))
                hits = proxy.requests(method, pattern.format(name))
                put(None, None)
                done += 1
                if result.status != status or any(word not in result.err for word in words) or "AddressSanitizer" in result.err:
                    wrong.append(f"{what}: status {result.status} instead of {status}: {result.err.strip()}")
                if len(hits) not in counts:
                    wrong.append(f"{what}: {len(hits)} requests instead of {counts}: {[(s.method, s.target) for s in hits]}")
                if core.exists():
                    core.unlink()
                if happens:
                    state = after
                is_state(state, what)
            if not happens or status:
                clean = run(command)
                if "reset" not in command and "--soft" not in command and clean.status:
                    wrong.append(f"{command}, without a fault: {clean.err.strip()}")
                state = after
                if core.exists():
                    core.unlink()
        return wrong + self.leftovers(name), done

    def leftovers(self, name):
        """Of the namespace, what bears the VM's name and is not gone a while after it: nothing leaked, nothing doubled."""
        space = VMS.removesuffix("/virtualmachines")
        kinds = [f"{space}{kind}" for kind in (VMIM, DVS, SNAPSHOTS, RESTORES, CLONES)]
        kinds = [kind.replace("kubevirt.io/v1", group) if group else kind for kind, group in zip(kinds, (
            None, "cdi.kubevirt.io/v1beta1", "snapshot.kubevirt.io/v1beta1", "snapshot.kubevirt.io/v1beta1", "clone.kubevirt.io/v1beta1"))]
        kinds += [f"/api/v1/namespaces/default{kind}" for kind in (PVCS, "/secrets", "/pods")]

        def there():
            found = []
            for kind in kinds:
                for item in self.api.get(kind)["items"]:
                    owners = [owner.get("name", "") for owner in item["metadata"].get("ownerReferences", [])]
                    about = [item["metadata"]["name"], (item.get("spec") or {}).get("vmiName", ""), *owners]
                    over = (item.get("status") or {}).get("phase") in ("Succeeded", "Failed")
                    if any(name == text or text.startswith(f"{name}-") for text in about) and not over:
                        found.append(f"{kind.rsplit('/', 1)[1]}/{item['metadata']['name']}")
            return found
        try:
            self.wait_for("nothing to be left", lambda: not there(), 60)
        except AssertionError:
            return [f"left: {there()}"]
        return []

    def other_node(self, name):
        vmi = self.api.find(f"{VMS.removesuffix('s')}instances/{name}")
        return "node01" if vmi and (vmi.get("status") or {}).get("nodeName") == "node02" else "node02"

    def manifest(self, name):
        vm = self.api.get(f"{VMS}/{name}")
        kept = {key: vm["metadata"][key] for key in ("name", "namespace", "labels", "annotations") if key in vm["metadata"]}
        kept["labels"] = {**kept.get("labels", {}), "applied": "yes"}
        return json.dumps({"apiVersion": vm["apiVersion"], "kind": vm["kind"], "metadata": kept, "spec": vm["spec"]})

    # --- the passes ---------------------------------------------------------------------------------------------------

    def by_proxy(self, name, faults):
        proxy = FaultProxy(self.api, self.world / "kubernetes/certs")
        env = {"KUBECONFIG": proxy.kubeconfig(self.world / "kubernetes/kubeconfig", self.world / f"{name}.kubeconfig")}

        def put(act):
            return lambda method, pattern: proxy.set(*([Rule(method, pattern, act, 1)] if method else []))
        return self.one_pass(name, proxy, env, [(kind, put(act), expects) for kind, act, expects in faults])

    def by_http2(self, name, act):
        proxy = Http2Proxy(self.api, self.world / "kubernetes/certs")
        config = self.world / f"{name}.kubeconfig"
        config.write_text((self.world / "kubernetes/kubeconfig").read_text().replace("127.0.0.1:6443", f"127.0.0.1:{proxy.port}"))
        config.chmod(0o600)
        return self.one_pass(name, proxy, {"KUBECONFIG": str(config)},
                             [(act, lambda method, pattern: proxy.set(method, pattern or "", act), self.cut)])

    @staticmethod
    def lost(pattern):
        if pattern in BLIND:
            return 9, (UNKNOWN, "vmctl console"), (1,), True
        return 0, (), (2, 3) if pattern in AGAIN else (1,), True  # an apply is planned anew once the first one shows

    @staticmethod
    def cut(pattern):
        return (9, (UNKNOWN,), (1,), False) if pattern in ONCE else (0, (), (2,), True)

    @staticmethod
    def gateway(pattern):
        return (9, (UNKNOWN,), (1,), True) if pattern in (*BLIND, *AGAIN) else (0, (), (1,), True)

    @staticmethod
    def late(_):
        return 8, ("timeout", UNKNOWN), (1,), False

    def test_matrix(self):
        passes = {"m-lost": lambda n: self.by_proxy(n, [("lost", fault.lose_answer, self.lost)]),
                  "m-cut": lambda n: self.by_proxy(n, [("cut", fault.cut, self.cut)])}
        if os.environ.get("VMCTL_FAULTS") == "all":
            passes |= {"m-refused": lambda n: self.by_http2(n, "refused"),
                       "m-gateway": lambda n: self.by_proxy(n, [("gateway", gateway, self.gateway)]),
                       "m-goaway": lambda n: self.by_http2(n, "goaway"),
                       "m-late": lambda n: self.by_proxy(n, [("504", fault.TOO_LATE, self.late), ("hang", fault.hang, self.late)])}
        only = os.environ.get("VMCTL_FAULT_PASS")
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            running = {name: pool.submit(run, name) for name, run in passes.items() if only in (None, name)}
            for name, future in running.items():
                with self.subTest(name):
                    wrong, done = future.result()
                    self.assertEqual(wrong, [], f"of {done} cases")
                    self.assertGreaterEqual(done, len(STEPS))
        self.assertEqual(self.left(), [])


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
