"""For tests of what a bad network and tired servers do to vmctl on KubeVirt: the fault proxy in front of the world's cluster, VMs to be hit,
and what may not be left behind."""

import json
import os
import pathlib
import sys

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import fault_proxy as fault  # noqa: E402
import kube  # noqa: E402

VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
SUB = "/apis/subresources.kubevirt.io/v1/namespaces/default"
YAML = """name: {name}
backend: kubevirt
memory: 512MiB
disks: [{{name: root, image: "docker://quay.io/kubevirt/cirros-container-disk-demo"}}]
networks: [{{name: default, type: pod}}]
"""
RUNNING = ("stop", "pause", "restart")  # verbs of a VM that runs


class Faulty(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.world = pathlib.Path(os.environ["WORLD"])
        cls.api = kube.of_world()
        cls.proxy = fault.FaultProxy(cls.api, cls.world / "kubernetes/certs")
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
        self.ok(vmctl("create", str(path), *(["--start"] if verb in RUNNING else [])))
        self.wait_for("the VM's first status", lambda: (self.api.get(f"{VMS}/{name}").get("status") or {}).get("printableStatus"))
        return name

    def left(self):
        """The journal has nothing open, and no VM but the fixed ones is there."""
        journal = pathlib.Path(os.environ["HOME"]) / ".local/state/vmctl/journal"
        return [str(p) for p in journal.glob("*")] if journal.exists() else []
