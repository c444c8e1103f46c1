#!/usr/bin/env python3
"""KubeVirt's own manifests: created, applied and compared as they are, by the API server's server-side apply."""

import copy
import json
import os
import pathlib
import sys

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import fault_proxy  # noqa: E402
import kube  # noqa: E402

WHERE = "/apis/kubevirt.io/v1/namespaces/{}/virtualmachines"
TEMPLATE = "spec.template.spec."


def machine(name, **metadata):
    """With fields that no vm.yaml has."""
    return {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name, "labels": {"app": "t"}, **metadata}, "spec": {
        "runStrategy": "Manual", "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": {
            "domain": {"cpu": {"cores": 2}, "memory": {"guest": "512Mi"}, "ioThreadsPolicy": "auto",
                       "devices": {"disks": [{"name": "d0", "disk": {"bus": "virtio"}}, {"name": "d1", "disk": {"bus": "sata"}}],
                                   "interfaces": [{"name": "default", "masquerade": {}}]}},
            "networks": [{"name": "default", "pod": {}}], "terminationGracePeriodSeconds": 7,
            "volumes": [{"name": "d0", "containerDisk": {"image": "quay.io/kubevirt/cirros-container-disk-demo"}},
                        {"name": "d1", "emptyDisk": {"capacity": "1Gi"}}]}}}}


class DryRun(harness.Case):
    """create --dry-run tells the server's verdict, its schema's, webhooks', quotas' (test_kubevirt_snapshot) and roles', and leaves nothing."""

    def setUp(self):
        self.api, world = kube.of_world(), pathlib.Path(os.environ["WORLD"])
        self.proxy = fault_proxy.FaultProxy(self.api, world / "kubernetes/certs")
        self.env = {"KUBECONFIG": self.proxy.kubeconfig(world / "kubernetes/kubeconfig", world / "dry-run"), "VMCTL_BACKEND": "kubevirt"}
        self.file = world / "dry.yaml"

    def create(self, *patch, more="", env=None):
        self.file.write_text("name: dry\nmemory: 512MiB\ndisks: [{name: root, size: 1GiB}]\n" + more +
                             (f"kubevirt: {{patch: {json.dumps(patch)}}}\n" if patch else ""))
        self.proxy.set()
        result = vmctl("create", str(self.file), "--dry-run", env=env or self.env)
        self.assertIsNone(self.api.find(f"{WHERE.format('default')}/dry"))
        return result

    def test_what_would_be_made(self):
        result = self.ok(self.create())
        self.assertIn("would be created", result.out)
        self.assertEqual([(s.method, s.target, s.status) for s in self.proxy.requests(pattern="/virtualmachines")],
                         [("POST", f"{WHERE.format('default')}?fieldManager=vmctl&fieldValidation=Strict&dryRun=All", 201)])
        large = "#cloud-config\n" + "# it does not fit into the VM\n" * 200
        self.ok(self.create(more=f"cloudInit: {{userData: {{inline: {json.dumps(large)}}}}}\n"))
        posts = self.proxy.requests("POST")
        self.assertEqual([(s.target.rpartition("/")[2].partition("?")[0], s.status) for s in posts], [("virtualmachines", 201), ("secrets", 201)])
        self.assertTrue(all("dryRun=All" in s.target for s in posts))
        self.assertEqual([s["metadata"]["name"] for s in self.api.get("/api/v1/namespaces/default/secrets")["items"] if "dry" in s["metadata"]["name"]], [])

    def test_what_the_server_refuses(self):
        domain = "/spec/template/spec/domain"
        self.status(self.create({"op": "add", "path": f"{domain}/nonsense", "value": 1}), 2, 'unknown field "spec.template.spec.domain.nonsense"')
        self.status(self.create({"op": "add", "path": f"{domain}/cpu", "value": {"cores": "two"}}), 2, "spec.template.spec.domain.cpu.cores")
        self.status(self.create({"op": "replace", "path": "/spec/template/spec/volumes", "value": []}), 2,
                    "admission webhook", "disks[0].Name 'root' not found")  # recording 24
        config = pathlib.Path(os.environ["KUBECONFIG"]).read_text().replace("current-context: admin", "current-context: watcher")
        watcher = pathlib.Path(os.environ["WORLD"], "watcher")
        watcher.write_text(config)
        self.status(self.create(env={**self.env, "KUBECONFIG": str(watcher)}), 7, "permission-denied", "create", "virtualmachines")
        self.proxy.set(fault_proxy.Rule("POST", "dryRun=All", fault_proxy.WEBHOOK))
        self.status(vmctl("create", str(self.file), "--dry-run", env=self.env), 9, "virt-api")

    def test_a_name_that_is_taken(self):
        self.ok(vmctl("create", "dry-2", "--memory", "512MiB", "--disk", "1GiB", env=self.env))
        self.addCleanup(vmctl, "delete", "dry-2", env=self.env)
        self.status(vmctl("create", "dry-2", "--memory", "512MiB", "--disk", "1GiB", "--dry-run", env=self.env), 5, "already-exists", "vmctl apply")


class Native(harness.Case):
    @classmethod
    def setUpClass(cls):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        cls.api = kube.of_world()

    def setUp(self):
        self.name = self._testMethodName.removeprefix("test_").replace("_", "-")
        self.file = pathlib.Path(os.environ["WORLD"], f"{self.name}.yaml")
        self.vm = machine(self.name)

    def write(self, *documents):
        """JSON is YAML."""
        self.file.write_text("---\n".join(json.dumps(d, indent=1) + "\n" for d in documents or [self.vm]))
        return str(self.file)

    def make(self):
        self.ok(vmctl("create", self.write()))
        self.addCleanup(vmctl, "delete", self.name, "--force")
        self.settle()

    def settle(self):
        """The controller has noted in it what it notes in every new VM."""
        self.wait_for("a status", lambda: self.stored()["metadata"].get("finalizers") and
                      self.stored().get("status", {}).get("printableStatus") == "Stopped")

    def stored(self, namespace="default"):
        return self.api.get(f"{WHERE.format(namespace)}/{self.name}")

    def content(self):
        """Without what the server and the controllers count and note."""
        stored = self.stored()
        for key in ("managedFields", "resourceVersion", "generation"):
            stored["metadata"].pop(key, None)
        stored.pop("status", None)
        return stored

    def changes(self, verb, *more, status=None):
        done = vmctl(verb, self.write(), "-o", "json", *more)
        self.assertEqual(done.status, 0 if status is None else status, str(done))
        return {c["path"]: c for c in json.loads(done.out)[0]["changes"]}

    def edit(self, patch):
        """As somebody else does it."""
        self.api.patch(f"{WHERE.format('default')}/{self.name}?fieldManager=kubectl-edit", patch)

    def test_the_same_twice(self):
        self.make()
        made = self.content()
        self.assertEqual(made["spec"]["template"]["spec"]["domain"]["ioThreadsPolicy"], "auto")
        self.assertEqual(made["metadata"]["labels"]["vmctl.dev/managed-by"], "vmctl")
        for _ in range(2):
            self.assertEqual(self.changes("diff"), {})
            version = self.stored()["metadata"]["resourceVersion"]
            self.assertEqual(self.changes("apply"), {})
            self.assertEqual(self.stored()["metadata"]["resourceVersion"], version)
        self.assertEqual(self.content(), made)
        # What was read leads back to the same, too.
        text = self.ok(vmctl("get", self.name, "-o", "native")).out
        self.assertIn("unchanged", self.ok(vmctl("apply", "-", input=text)).out)
        self.assertEqual(self.content(), made)
        spec = self.ok(vmctl("get", self.name, "-o", "spec")).out
        self.assertIn("unchanged", self.ok(vmctl("apply", "-", input=spec)).out)
        self.assertEqual(self.content(), made)

    def test_a_changed_manifest(self):
        self.make()
        before = self.content()
        spec = self.vm["spec"]["template"]["spec"]
        spec["domain"]["cpu"]["cores"] = 4
        spec["hostname"] = "there"
        del spec["terminationGracePeriodSeconds"]  # of the first manifest: it goes with the second
        del self.vm["metadata"]["labels"]["app"]
        want = {f"{TEMPLATE}domain.cpu.cores": ("2", "4"), f"{TEMPLATE}hostname": (None, "there"),
                f"{TEMPLATE}terminationGracePeriodSeconds": ("7", None), "metadata.labels.app": ("t", None)}
        for verb, more, status in (("diff", (), 1), ("apply", ("--dry-run",), 0)):
            told = self.changes(verb, *more, status=status)
            self.assertEqual({k: (c.get("have"), c.get("want")) for k, c in told.items()}, want)
            self.assertEqual(self.content(), before)
        self.assertEqual(set(self.changes("apply")), set(want))
        after = self.content()
        expected = copy.deepcopy(before)
        there = expected["spec"]["template"]["spec"]
        there["domain"]["cpu"]["cores"] = 4
        there["hostname"] = "there"
        del there["terminationGracePeriodSeconds"]
        del expected["metadata"]["labels"]["app"]
        self.assertEqual(after, expected)  # the marker and what the webhooks filled in included
        self.assertEqual(self.changes("diff"), {})
        harness.proves("change.native", backend="kubevirt")

    def test_what_others_have_set(self):
        self.make()
        self.edit({"spec": {"template": {"spec": {"domain": {"cpu": {"cores": 3}}, "hostname": "theirs"}}}})
        before = self.content()
        for verb in ("apply", "diff"):
            refused = vmctl(verb, self.write())
            self.status(refused, 5, f"{TEMPLATE}domain.cpu.cores (set by kubectl-edit)", "--force-conflicts")
        self.assertEqual(self.content(), before)
        self.assertEqual(set(self.changes("diff", "--force-conflicts", status=1)), {f"{TEMPLATE}domain.cpu.cores"})
        self.assertEqual(set(self.changes("apply", "--force-conflicts")), {f"{TEMPLATE}domain.cpu.cores"})
        after = self.content()["spec"]["template"]["spec"]
        self.assertEqual((after["domain"]["cpu"]["cores"], after["hostname"]), (2, "theirs"))
        # The same value is no conflict, and what vmctl itself has set is none either.
        self.edit({"spec": {"template": {"spec": {"domain": {"cpu": {"cores": 2}}}}}})
        self.assertEqual(self.changes("apply"), {})
        self.ok(vmctl("set", self.name, "memory=768MiB"))
        self.assertEqual(set(self.changes("apply")), {f"{TEMPLATE}domain.memory.guest"})

    def test_a_device_that_is_left_out(self):
        self.make()
        before = self.content()
        spec = self.vm["spec"]["template"]["spec"]
        spec["domain"]["devices"]["disks"].pop()
        spec["volumes"].pop()
        self.status(vmctl("apply", self.write()), 5, f"{TEMPLATE}volumes.d1", "--prune")
        self.assertEqual(self.content(), before)
        self.assertEqual(set(self.changes("apply", "--prune")), {f"{TEMPLATE}domain.devices.disks.d1", f"{TEMPLATE}volumes.d1"})
        self.assertEqual([v["name"] for v in self.content()["spec"]["template"]["spec"]["volumes"]], ["d0"])

    def test_a_running_vm(self):
        self.vm["spec"]["template"]["spec"]["domain"]["cpu"] = {"sockets": 1}
        self.make()
        self.ok(vmctl("start", self.name))
        self.vm["spec"]["template"]["spec"]["domain"]["ioThreadsPolicy"] = "shared"
        self.status(vmctl("apply", self.write(), "--live"), 6, "ioThreadsPolicy")
        self.vm["metadata"]["labels"]["app"] = "u"
        self.vm["spec"]["template"]["spec"]["nodeSelector"] = {"kubernetes.io/os": "linux"}
        told = self.changes("apply")
        self.assertEqual({k: c["effect"] for k, c in told.items()},
                         {f"{TEMPLATE}domain.ioThreadsPolicy": "at-restart", "metadata.labels.app": "now",
                          f"{TEMPLATE}nodeSelector.kubernetes.io/os": "now"})

    def test_places(self):
        self.vm["metadata"]["namespace"] = "team"
        self.ok(vmctl("create", self.write()))
        self.addCleanup(vmctl, "delete", "-n", "team", self.name, "--force")
        self.assertEqual(self.changes("diff"), {})
        self.vm["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 1
        self.assertEqual(len(self.changes("apply")), 1)
        self.status(vmctl("apply", "-n", "default", self.write()), 2, "metadata.namespace is team")
        # It names none: -n says where, as everywhere.
        del self.vm["metadata"]["namespace"]
        self.assertEqual(self.changes("diff", "-n", "team"), {})
        self.assertEqual(self.changes("apply", "-n", "team"), {})
        self.assertEqual(json.loads(vmctl("diff", self.write(), "-o", "json").out)[0]["outcome"], "does not exist")
        self.assertIsNone(self.api.find(f"{WHERE.format('default')}/{self.name}"))

    def test_several_documents(self):
        other = machine(f"{self.name}-2")
        self.write(self.vm, other)
        self.ok(vmctl("apply", str(self.file)))
        for name in (self.name, other["metadata"]["name"]):
            self.addCleanup(vmctl, "delete", name, "--force")
        other["spec"]["template"]["spec"]["domain"]["cpu"]["cores"] = 1
        self.write(self.vm, other)
        told = self.json(vmctl("apply", str(self.file), "-o", "json"))
        self.assertEqual([t["outcome"] for t in told], ["unchanged", "changed"])
        # One that is no VM: its line, and nothing is touched.
        self.file.write_text(f"apiVersion: kubevirt.io/v1\nkind: VirtualMachine\nmetadata: {{name: {self.name}}}\nspec: {{}}\n---\n"
                             "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n")
        self.status(vmctl("apply", str(self.file)), 2, f"{self.file}:6:", "Service")

    def test_bad_fields_are_the_servers(self):
        self.make()
        before = self.content()
        self.vm["spec"]["template"]["spec"]["domain"]["cpu"]["coers"] = 2
        for verb in ("apply", "diff"):
            self.status(vmctl(verb, self.write()), 2, "coers")
        self.vm["spec"]["template"]["spec"]["domain"]["cpu"] = {"cores": "many"}
        self.status(vmctl("apply", self.write()), 2, "cores")
        self.vm["spec"]["template"]["spec"]["domain"]["cpu"] = {"cores": 2}
        self.vm["spec"]["template"]["spec"]["domain"]["devices"]["gpus"] = [{"name": "g", "deviceName": "nvidia.com/NONE"}]
        self.status(vmctl("apply", self.write()), 4, "nvidia.com/NONE")
        self.assertEqual(self.content(), before)

    def test_of_a_vm_that_a_spec_made(self):
        self.file.write_text(f"name: {self.name}\nmemory: 512MiB\ndisks: [{{name: root, size: 1GiB}}]\n")
        self.ok(vmctl("create", str(self.file)))
        self.addCleanup(vmctl, "delete", self.name, "--force")
        self.settle()
        made = self.content()
        self.vm = json.loads(self.ok(vmctl("get", self.name, "-o", "native")).out)
        self.assertEqual(self.changes("apply"), {})
        self.assertEqual(self.content(), made)
        self.vm["spec"]["template"]["spec"]["domain"]["ioThreadsPolicy"] = "auto"
        self.assertEqual(set(self.changes("apply")), {f"{TEMPLATE}domain.ioThreadsPolicy"})


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
