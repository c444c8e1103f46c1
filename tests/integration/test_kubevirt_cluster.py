#!/usr/bin/env python3
"""The cluster that the KubeVirt tests stand on: a real API server with KubeVirt's CRDs, RBAC and webhooks, and stand-ins that do what
the real ones were recorded doing. No vmctl here: what is wrong with the cluster must not look like a fault of vmctl's."""

import json
import os
import pathlib
import subprocess
import sys
import unittest

import harness

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402

VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"


def machine(name, strategy="Halted", **spec):
    """The VM of most recordings (16-create-vm2)."""
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name, "labels": {"app": "t"}}, "spec": {
        "runStrategy": strategy, "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": {
            "domain": {"cpu": {"cores": 2}, "memory": {"guest": "512Mi"},
                       "devices": {"disks": [{"name": "d0", "disk": {"bus": "virtio"}}], "interfaces": [{"name": "default", "masquerade": {}}]}},
            "networks": [{"name": "default", "pod": {}}],
            "volumes": [{"name": "d0", "containerDisk": {"image": "quay.io/kubevirt/cirros-container-disk-demo"}}], **spec}}}}


class Cluster(harness.Case):
    def setUp(self):
        self.api = kube.of_world()

    def curl(self, method, path, body=None):
        """By curl with the kubeconfig's CA: the server's certificate is good."""
        ca = pathlib.Path(os.environ["WORLD"], "kubernetes/certs/ca.crt")
        done = subprocess.run(["curl", "-sS", "--cacert", ca, "-X", method, "-H", "Authorization: Bearer admin-token-of-the-tests", "-H",
                               "Content-Type: application/json", "-w", "\n%{http_code}", f"https://127.0.0.1:6443{path}", *(["-d", body] if body else [])],
                              capture_output=True, text=True, check=True)
        text, _, code = done.stdout.rpartition("\n")
        return int(code), json.loads(text)

    def refused(self, code, call, *arguments):
        with self.assertRaises(kube.Refused) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        return caught.exception.body

    def test_schema_is_the_real_one(self):
        code, made = self.curl("POST", f"{VMS}?fieldManager=vmctl&fieldValidation=Strict", json.dumps(machine("schema")))
        self.assertEqual(code, 201, made)
        # The webhook's defaults, as in recording 175.
        domain = made["spec"]["template"]["spec"]["domain"]
        self.assertEqual(domain["machine"], {"type": "q35"})
        self.assertEqual(sorted(domain["firmware"]), ["serial", "uuid"])
        self.assertEqual(made["spec"]["template"]["spec"]["architecture"], "amd64")
        wrong = machine("wrong")
        wrong["spec"]["nonsense"] = 1
        code, status = self.curl("POST", f"{VMS}?fieldValidation=Strict", json.dumps(wrong))
        self.assertEqual((code, status["reason"]), (400, "BadRequest"))
        self.assertIn('unknown field "spec.nonsense"', status["message"])
        wrong = machine("wrong")
        wrong["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = "two"
        code, status = self.curl("POST", VMS, json.dumps(wrong))
        self.assertEqual((code, status["reason"]), (422, "Invalid"))
        self.assertIsNone(self.api.find(f"{VMS}/wrong"))
        self.api.delete(f"{VMS}/schema")

    def test_vm_runs_and_goes(self):
        made = self.api.post(VMS, machine("runs", "Always"))
        seen = []
        for what, vm in self.api.watch(VMS, made["metadata"]["resourceVersion"], 60):
            status = (vm.get("status") or {}).get("printableStatus")
            if vm["metadata"]["name"] == "runs" and status and seen[-1:] != [status]:
                seen.append(status)
            if status == "Running":
                break
        # Recording 212; Stopped is what a VM is before its instance is there.
        self.assertEqual([s for s in seen if s != "Stopped"], ["Starting", "Running"])
        vmi = self.api.get("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/runs")
        self.assertEqual([t["phase"] for t in vmi["status"]["phaseTransitionTimestamps"]], ["Pending", "Scheduling", "Scheduled", "Running"])
        self.api.delete(f"{VMS}/runs")
        for what, vm in self.api.watch(VMS, made["metadata"]["resourceVersion"], 60):
            if what == "DELETED" and vm["metadata"]["name"] == "runs":
                break
        self.assertEqual(vm["status"]["printableStatus"], "Terminating")  # recording 148
        self.assertIsNone(self.api.find("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/runs"))

    def test_rights_are_the_roles(self):
        self.assertIn('User "viewer" cannot list resource', self.refused(403, kube.of_world("viewer").get, VMS)["message"])
        self.assertEqual(kube.of_world("editor").get(f"{VMS}?limit=1")["kind"], "VirtualMachineList")
        self.refused(403, kube.of_world("editor").get, "/api/v1/nodes")
        self.assertEqual(kube.of_world("viewer").get("/apis/kubevirt.io/v1/kubevirts")["items"][0]["status"]["observedKubeVirtVersion"], "v1.9.0")
        self.refused(401, kube.of_world("nobody").get, VMS)


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.need("curl")
    harness.main()
