#!/usr/bin/env python3
"""GPUs by claims of dynamic resource allocation: what is missing is told before a VM is made that would wait for it for ever."""

import os
import pathlib
import sys

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402

RESOURCE = "/apis/resource.k8s.io/v1"
VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
CR = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"


class Claims(harness.Case):
    def setUp(self):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        self.api = kube.of_world()
        self.file = pathlib.Path(os.environ["WORLD"], "claims.yaml")

    def write(self, any_):
        self.file.write_text(f"name: claims\nmemory: 512MiB\ndisks: [{{name: d, size: 1GiB}}]\ngpus: [{{name: gpu0, any: {any_}}}]\n")
        return str(self.file)

    def refused(self, any_, status, *words):
        for more in ((), ("--dry-run",)):
            self.status(vmctl("create", self.write(any_), *more), status, "gpu0", *words)
        self.assertIsNone(self.api.find(f"{VMS}/claims"))

    def test_the_way_to_a_claim(self):
        by_template = "{claimTemplate: one-gpu, request: gpu}"
        self.refused(by_template, 4, "no ResourceClaimTemplate one-gpu in namespace default")
        self.refused("{claim: shared, request: gpu}", 4, "no ResourceClaim shared in namespace default")
        devices = {"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}]}}
        self.api.post(f"{RESOURCE}/namespaces/default/resourceclaimtemplates",
                      {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaimTemplate", "metadata": {"name": "one-gpu"}, "spec": {"spec": devices}})
        self.api.post(f"{RESOURCE}/namespaces/default/resourceclaims",
                      {"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": {"name": "shared"}, "spec": devices})
        self.refused("{claimTemplate: one-gpu, request: other}", 4, "has no request other; it has: gpu")
        self.refused(by_template, 4, "class gpu.example.com")
        self.api.post(f"{RESOURCE}/deviceclasses", {"apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "gpu.example.com"},
                                                    "spec": {"selectors": [{"cel": {"expression": 'device.driver == "gpu.example.com"'}}]}})
        for any_ in (by_template, "{claim: shared, request: gpu}"):
            self.ok(vmctl("create", self.write(any_)))
            made = self.api.get(f"{VMS}/claims")["spec"]["template"]["spec"]
            self.assertEqual(made["domain"]["devices"]["gpus"], [{"name": "gpu0", "claimName": "gpu0", "requestName": "gpu"}])
            self.ok(vmctl("delete", "claims"))
        # The gate is on since 1.9 unless it is said to be off.
        self.api.patch(CR, {"spec": {"configuration": {"developerConfiguration": {"disabledFeatureGates": ["GPUsWithDRA"]}}}})
        self.refused(by_template, 3, "gate GPUsWithDRA off", "featureGates")


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
