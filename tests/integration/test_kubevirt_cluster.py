#!/usr/bin/env python3
"""The cluster that the KubeVirt tests stand on: a real API server with KubeVirt's CRDs, RBAC and webhooks, and stand-ins that do what
the real ones were recorded doing. No vmctl here: what is wrong with the cluster must not look like a fault of vmctl's."""

import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

import harness

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402
import recordings  # noqa: E402

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


class StandIn(harness.Case):
    """The stand-ins' refusals are those of the recorded virt-api, word for word: each request is asked again, in a state like that of the recording."""

    @classmethod
    def setUpClass(cls):
        cls.api, cls.users = kube.of_world(), {name: kube.of_world(name) for name in ("editor", "viewer")}
        cls.api.post("/api/v1/namespaces/default/persistentvolumeclaims", {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "pvc1"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        cls.api.post(VMS, machine("vm1", "Always"))
        cls.api.post(VMS, machine("vm2"))
        cls.until("vm1", "Running")
        cls.until("vm2", "Stopped")

    @classmethod
    def tearDownClass(cls):
        for name in ("vm1", "vm2"):
            cls.api.delete(f"{VMS}/{name}")

    @classmethod
    def until(cls, name, state):
        listed = cls.api.get(VMS)
        for vm in listed["items"]:
            if vm["metadata"]["name"] == name and (vm.get("status") or {}).get("printableStatus") == state:
                return vm
        for _, vm in cls.api.watch(VMS, listed["metadata"]["resourceVersion"], 60):
            if vm["metadata"]["name"] == name and (vm.get("status") or {}).get("printableStatus") == state:
                return vm

    def again(self, number, user=None, whole=True):
        """Asks what was asked; the answer must be the recorded one."""
        was = recordings.of(number)
        headers = {k: v for k, v in was.headers.items() if k in ("Accept", "Content-Type", "Upgrade", "Connection", "Sec-WebSocket-Version",
                                                                 "Sec-WebSocket-Key", "Sec-WebSocket-Protocol")}
        api = self.users[user] if user else self.api
        status, answered, data = api.raw(was.method, was.target, was.body or None, headers)
        self.assertEqual(status, was.status, f"{was.file.name}: {data!r}")
        if not whole:
            return
        self.assertEqual(answered.get("Content-Type"), was.answer_headers.get("Content-Type"), was.file.name)
        if "json" in was.answer_headers.get("Content-Type", ""):
            self.assertEqual(json.loads(data), was.json(), was.file.name)
        else:
            self.assertEqual(data.strip(), was.answer.strip(), was.file.name)

    def test_words_of_subresources(self):
        for number in ("51", "52", "53", "54", "55", "56", "57", "62", "64", "65", "72", "73", "74", "75", "76", "77", "78", "80", "81", "82",
                       "84", "86", "154", "159", "accept"):
            with self.subTest(recording=number):
                if number == "84":
                    self.again("83")
                self.again(number)
        with self.subTest(recording="79"):
            self.again("79", whole=False)  # Go's own words for what is no JSON
        for number in ("66", "68", "69", "70", "71", "72"):
            with self.subTest(recording=number):
                self.again(number)
        self.again("87")

    def test_words_of_rights(self):
        for number, user in (("14", "viewer"), ("155", "viewer"), ("13", "viewer"), ("378", "editor"), ("377", "editor"), ("379", "editor")):
            with self.subTest(recording=number):
                was = recordings.of(number).answer.decode()
                if "User" in was and f'User \\"{user}\\"' not in was:  # the recorded user had another name
                    self.again(number, user, whole=False)
                else:
                    self.again(number, user)

    def test_words_of_webhooks(self):
        self.api.post("/apis/instancetype.kubevirt.io/v1beta1/namespaces/default/virtualmachineinstancetypes", json.loads(recordings.of("181").body))
        for number in ("18", "185", "192", "137", "23"):
            with self.subTest(recording=number):
                if number == "23":  # virt-api was down when this was recorded: only that it is refused is known
                    status, _, data = self.api.raw("POST", f"{VMS}?dryRun=All", recordings.of("23").body)
                    self.assertEqual((status, json.loads(data)["reason"]), (422, "Invalid"))
                elif number == "137":
                    self.api.put("/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/vm2/start", {})
                    self.until("vm2", "Running")
                    self.again(number)
                    self.api.put("/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/vm2/stop", {})
                    self.until("vm2", "Stopped")
                else:
                    self.again(number)
        for number, field in (("20", "spec.running"), ("24", "spec.template.spec.domain.devices.disks[0].name")):
            status, _, data = self.api.raw("POST", f"{VMS}?dryRun=All", recordings.of(number).body)
            self.assertEqual((status, json.loads(data)["details"]["causes"][0]["field"]), (422, field))

    def test_virt_api_down(self):
        """503 as text, webhooks fail, what is read still works (recordings 281 to 285)."""
        cluster = str(harness.HERE.parent / "kubevirt/cluster")
        subprocess.run([cluster, "stop"], check=True)
        try:
            self.again("281", whole=False)  # the aggregator's words change once it knows: "error trying to reach", then "service unavailable"
            status, _, data = self.api.raw("POST", f"{VMS}?dryRun=All", recordings.of("283").body)
            self.assertEqual((status, recordings.of("283").status), (500, 500))
            self.assertIn("failed calling webhook", json.loads(data)["message"])
            self.assertEqual(self.api.get(f"{VMS}?limit=1")["kind"], "VirtualMachineList")
        finally:
            subprocess.run([cluster, "resume"], check=True)
        self.assertEqual(self.api.get("/apis/subresources.kubevirt.io/v1/version")["gitVersion"], "v1.9.0")

    def test_migration_as_recorded(self):
        where = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstancemigrations"
        made = self.api.post(where, json.loads(recordings.of("259").body))
        status, _, data = self.api.raw("POST", where, recordings.of("224").body)
        was = recordings.of("224").json()
        old = re.search(r"\((.*)\)", was["message"]).group(1)
        self.assertEqual((status, json.loads(data)), (400, {**was, "message": was["message"].replace(old, made["metadata"]["uid"])}))
        for _, job in self.api.watch(where, made["metadata"]["resourceVersion"], 60):
            if job["metadata"]["name"] == made["metadata"]["name"] and (job.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
                break
        recorded = recordings.of("258").events()[-1]["object"]["status"]["phaseTransitionTimestamps"]
        self.assertEqual([t["phase"] for t in job["status"]["phaseTransitionTimestamps"]], [t["phase"] for t in recorded])

    def test_life_as_recorded(self):
        """What a watcher sees of a start and a restart, of strategies after a guest's end."""
        def states(events):
            seen = []
            for event in events:
                status = event.get("status") or {}
                if status.get("printableStatus") and seen[-1:] != [status["printableStatus"]]:
                    seen.append(status["printableStatus"])
            return seen

        vm = self.until("vm1", "Running")
        self.again("96")
        events = []
        for _, now in self.api.watch(VMS, vm["metadata"]["resourceVersion"], 60):
            if now["metadata"]["name"] == "vm1":
                events.append(now)
                if "stateChangeRequests" not in now["status"] and now["status"]["printableStatus"] == "Running":
                    break
        recorded = [e["object"] for e in recordings.of("215").events()]
        self.assertEqual(states(events), states(recorded))
        for strategy, end, vm_state, phase in (("Once", "crash", "Stopped", "Failed"), ("Manual", "crash", "Stopped", "Failed"),
                                               ("RerunOnFailure", "shutdown", "Stopped", None)):  # 313 to 321
            with self.subTest(strategy=strategy, end=end):
                made = self.api.post(VMS, machine("ends", strategy))
                if strategy == "Manual":
                    self.until("ends", "Stopped")
                    self.api.put("/apis/subresources.kubevirt.io/v1/namespaces/default/virtualmachines/ends/start", {})
                self.until("ends", "Running")
                self.api.patch(f"{VMS}/ends", {"metadata": {"annotations": {"vmctl.test/guest": end}}})
                self.until("ends", vm_state)
                def left():
                    vmi = self.api.find("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/ends")
                    return vmi and vmi["status"]["phase"]

                self.wait_for(f"an instance in phase {phase}", lambda: left() == phase)
                self.api.delete(f"{VMS}/ends")
                for what, now in self.api.watch(VMS, made["metadata"]["resourceVersion"], 60):
                    if what == "DELETED" and now["metadata"]["name"] == "ends":
                        break

    def test_guest_is_logged(self):
        """The API server asks the node for what the guest printed."""
        vmi = self.api.get("/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances/vm1")
        pods = "/api/v1/namespaces/default/pods"
        pod = self.api.get(f"{pods}?labelSelector=kubevirt.io/created-by%3D{vmi['metadata']['uid']}")["items"][0]["metadata"]["name"]
        self.wait_for("the guest's second line", lambda: b"line 2\r\n" in self.api.raw("GET", f"{pods}/{pod}/log?container=guest-console-log")[2])
        self.assertIn(b"vmctl guest: it boots\r\nvmctl guest: line 1\r\n", self.api.raw("GET", f"{pods}/{pod}/log?container=guest-console-log")[2])


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.need("curl")
    harness.main()
