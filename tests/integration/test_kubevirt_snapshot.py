#!/usr/bin/env python3
"""Snapshots, reverts and clones on KubeVirt beyond the contract: a person's claims, what is given up half-way, what a role may not, quotas."""

import json
import os
import pathlib
import sys

import harness
from harness import vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import fault_proxy as fault  # noqa: E402
import kube  # noqa: E402
from fault_proxy import FaultProxy, Rule  # noqa: E402

CORE, SNAPSHOTS, CDI = "/api/v1/namespaces/default", "/apis/snapshot.kubevirt.io/v1beta1/namespaces/default", "/apis/cdi.kubevirt.io/v1beta1/namespaces/default"
VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"


class Snapshots(harness.Case):
    @classmethod
    def setUpClass(cls):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        cls.world, cls.api = pathlib.Path(os.environ["WORLD"]), kube.of_world()

    def make(self, name, disks="{name: root, size: 1GiB}", more=""):
        path = self.world / f"{name}.yaml"
        path.write_text(f"name: {name}\nmemory: 512MiB\ndisks: [{disks}]\n{more}\n")
        self.ok(vmctl("create", str(path)))
        self.addCleanup(vmctl, "delete", name, "--force", "--ignore-not-found")
        return name

    def names(self, path):
        return {item["metadata"]["name"] for item in self.api.get(path)["items"] if not item["metadata"].get("deletionTimestamp")}

    def claim(self, name):
        self.api.post(f"{CDI}/datavolumes", {"apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "DataVolume", "metadata": {"name": name}, "spec": {
            "source": {"blank": {}}, "storage": {"resources": {"requests": {"storage": "1Gi"}}}}})
        self.addCleanup(lambda: self.api.find(f"{CDI}/datavolumes/{name}") and self.api.delete(f"{CDI}/datavolumes/{name}"))
        self.wait_for(f"the volume {name}", lambda: (self.api.get(f"{CDI}/datavolumes/{name}").get("status") or {}).get("phase") == "Succeeded")

    def annotate(self, name, **annotations):
        self.api.patch(f"{VMS}/{name}", {"metadata": {"annotations": {f"vmctl.test/{k}": v for k, v in annotations.items()}}})

    def test_a_persons_claim_outlives_the_vm(self):
        """A revert makes a claim of another name, which is the VM's in Kubernetes' eyes: the disk with volume: stays all the same."""
        self.claim("db")
        self.make("owns", "{name: root, size: 1GiB}, {name: db, volume: db}")
        self.ok(vmctl("snapshot", "create", "owns", "one"))
        done = self.ok(vmctl("snapshot", "revert", "owns", "one"))
        self.assertIn("disk db is on the claim restore-", done.err)
        self.assertIn("db stays as it is", done.err)
        volumes = self.api.get(f"{VMS}/owns")["spec"]["template"]["spec"]["volumes"]
        new = next(v["persistentVolumeClaim"]["claimName"] for v in volumes if v["name"] == "db")
        self.assertEqual(self.api.get(f"{CORE}/persistentvolumeclaims/{new}")["metadata"].get("ownerReferences"), None)
        self.ok(vmctl("delete", "owns"))
        self.assertLessEqual({"db", new}, self.names(f"{CORE}/persistentvolumeclaims"))
        self.api.delete(f"{CORE}/persistentvolumeclaims/{new}")

    def test_only_the_disks_stay(self):
        """What else the VM owns goes with it as it always does, whoever made it."""
        self.make("let-go", "{name: root, size: 1GiB}, {name: data, size: 1GiB}")
        self.ok(vmctl("snapshot", "create", "let-go", "one"))
        vm = self.api.get(f"{VMS}/let-go")
        owner = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": "let-go", "uid": vm["metadata"]["uid"]}
        for kind, plural in (("ConfigMap", "configmaps"), ("Secret", "secrets")):
            self.api.post(f"{CORE}/{plural}", {"apiVersion": "v1", "kind": kind, "metadata": {"name": "of-let-go", "ownerReferences": [owner]}})
        self.assertIn("the disk default/let-go-root stays", self.ok(vmctl("delete", "let-go", "--keep-disks")).err)
        self.wait_for("what the VM owned to go", lambda: not {"of-let-go"} & (self.names(f"{CORE}/configmaps") | self.names(f"{CORE}/secrets")) and
                      not [n for n in self.names(f"{SNAPSHOTS}/virtualmachinesnapshots") if n.startswith("let-go")])
        for name in ("let-go-root", "let-go-data"):
            volume, claim = self.api.get(f"{CDI}/datavolumes/{name}"), self.api.get(f"{CORE}/persistentvolumeclaims/{name}")
            self.assertEqual(volume["metadata"].get("ownerReferences"), None)
            self.assertEqual([o["kind"] for o in claim["metadata"]["ownerReferences"]], ["DataVolume"])
            self.api.delete(f"{CDI}/datavolumes/{name}")

    def test_in_place_keeps_the_name(self):
        self.claim("db-2")
        self.make("stays", "{name: root, size: 1GiB}, {name: db, volume: db-2}")
        before = self.ok(vmctl("get", "stays", "-o", "spec")).out
        self.ok(vmctl("snapshot", "create", "stays", "one"))
        self.ok(vmctl("snapshot", "revert", "stays", "one", "--in-place"))
        self.assertEqual(self.ok(vmctl("get", "stays", "-o", "spec")).out, before)
        self.assertIn("db-2", self.names(f"{CORE}/persistentvolumeclaims"))

    def test_a_revert_that_is_given_up_leaves_the_vm_as_it_was(self):
        self.make("given-up")
        self.ok(vmctl("snapshot", "create", "given-up", "one"))
        self.ok(vmctl("attach", "given-up", "disk", "name=later", "size=1GiB"))
        spec = self.ok(vmctl("get", "given-up", "-o", "spec")).out
        claims = self.names(f"{CORE}/persistentvolumeclaims")
        self.annotate("given-up", restore="hangs")
        self.status(vmctl("snapshot", "revert", "given-up", "one", "--timeout", "3s"), 8, "timeout")
        self.assertEqual(self.names(f"{SNAPSHOTS}/virtualmachinerestores"), set())
        self.assertEqual(self.names(f"{CORE}/persistentvolumeclaims"), claims)
        self.assertEqual(self.ok(vmctl("get", "given-up", "-o", "spec")).out, spec)
        self.assertEqual(self.api.get(f"{VMS}/given-up")["spec"]["runStrategy"], "Manual")
        self.annotate("given-up", restore=None)
        self.ok(vmctl("snapshot", "revert", "given-up", "one"))
        self.ok(vmctl("start", "given-up"))

    def test_a_snapshot_and_a_clone_that_are_given_up(self):
        self.make("slow")
        self.annotate("slow", snapshot="slow")
        self.status(vmctl("snapshot", "create", "slow", "one", "--timeout", "3s"), 8, "timeout")
        self.assertEqual(self.names(f"{SNAPSHOTS}/virtualmachinesnapshots"), set())
        self.annotate("slow", snapshot=None, clone="hangs")
        self.status(vmctl("clone", "slow", "slow-2", "--timeout", "3s"), 8, "timeout")
        self.wait_for("all of the clone to be gone", lambda: not self.names(f"{SNAPSHOTS}/virtualmachinesnapshots") and not self.names(
            "/apis/clone.kubevirt.io/v1beta1/namespaces/default/virtualmachineclones") and not self.api.find(f"{VMS}/slow-2"))

    def test_snapshots_go_with_the_vm(self):
        self.make("whole")
        self.ok(vmctl("snapshot", "create", "whole", "one"))
        self.ok(vmctl("delete", "whole"))
        self.wait_for("the snapshot to be gone", lambda: "one" not in self.names(f"{SNAPSHOTS}/virtualmachinesnapshots"))

    def test_a_clone_has_its_own_secret(self):
        """The original's goes with the original."""
        self.make("secret", more="cloudInit: {userData: {inline: \"#cloud-config\\npassword: geheim\\n\"}}")
        self.assertIn("secret-cloudinit", self.names(f"{CORE}/secrets"))
        self.ok(vmctl("clone", "secret", "secret-2"))
        self.addCleanup(vmctl, "delete", "secret-2", "--force")
        self.ok(vmctl("delete", "secret"))
        self.wait_for("the original's Secret to be gone", lambda: "secret-cloudinit" not in self.names(f"{CORE}/secrets"))
        clone = self.api.get(f"{VMS}/secret-2")
        seed = next(v for v in clone["spec"]["template"]["spec"]["volumes"] if v["name"] == "cloudinit")
        self.assertEqual(seed["cloudInitNoCloud"]["secretRef"]["name"], "secret-2-cloudinit")
        self.assertIn("secret-2-cloudinit", self.names(f"{CORE}/secrets"))
        self.assertEqual((clone["spec"]["runStrategy"], clone["spec"]["template"]["metadata"]["labels"]["kubevirt.io/vm"]), ("Manual", "secret-2"))

    def test_a_disk_without_snapshots_is_not_shared_with_a_clone(self):
        self.make("mixed", "{name: root, size: 1GiB}, {name: data, size: 1GiB, pool: no-snapshots}")
        self.wait_for("KubeVirt to look at the disks", lambda: any("no-snapshots" in s.get("reason", "") for s in (
            self.api.get(f"{VMS}/mixed").get("status") or {}).get("volumeSnapshotStatuses", [])))
        self.status(vmctl("clone", "mixed", "mixed-2"), 3, "disk data cannot be cloned", "VolumeSnapshotClass")
        self.assertIsNone(self.api.find(f"{VMS}/mixed-2"))

    def test_what_is_refused(self):
        """Code, cause and next step; nothing is made."""
        self.make("refused")
        config = self.world / "kubernetes/kubeconfig"
        watcher = self.world / "as-watcher"
        watcher.write_text(config.read_text().replace("current-context: admin", "current-context: watcher"))
        self.status(vmctl("snapshot", "create", "refused", "one", env={"KUBECONFIG": str(watcher)}), 7, "permission-denied", "create", "virtualmachinesnapshots")
        self.assertEqual(self.names(f"{SNAPSHOTS}/virtualmachinesnapshots"), set())
        self.status(vmctl("clone", "refused", "No_Name"), 2, "no name for Kubernetes", "lower case")
        self.status(vmctl("snapshot", "create", "refused", "one", "--memory"), 3, "no memory", "leave --memory out")
        for verb in (("save", "not-there"), ("rename", "not-there", "other")):  # unsupported, whether it is there or not
            self.status(vmctl(*verb), 3, "unsupported")

    def test_a_cluster_without_snapshots(self):
        """An older KubeVirt, or one whose gate is off: the group is not served."""
        self.make("older")
        wanted = {"Accept": "application/json;v=v2;g=apidiscovery.k8s.io;as=APIGroupDiscoveryList,application/json"}
        _, answered, data = self.api.raw("GET", "/apis", headers=wanted)
        served = json.loads(data)
        served["items"] = [g for g in served["items"] if g["metadata"]["name"] not in ("snapshot.kubevirt.io", "clone.kubevirt.io")]
        proxy = FaultProxy(self.api, self.world / "kubernetes/certs")
        proxy.set(Rule("GET", "^/apis$", fault.answer(200, served, kind=answered["Content-Type"]), None))
        env = {"KUBECONFIG": proxy.kubeconfig(self.world / "kubernetes/kubeconfig", self.world / "older"), "XDG_CACHE_HOME": str(self.world / "no-cache")}
        self.status(vmctl("snapshot", "create", "older", "one", env=env), 3, "snapshot.kubevirt.io", "Snapshot")
        self.status(vmctl("clone", "older", "older-2", env=env), 3, "clone.kubevirt.io")
        self.assertEqual([s.target for s in proxy.requests("POST")], [])

    def test_a_quota(self):
        """The API server's own admission: the words of recording 247."""
        quotas, what = "/api/v1/namespaces/team/resourcequotas", "count/virtualmachines.kubevirt.io"
        self.api.post(quotas, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {what: "0"}}})
        self.addCleanup(self.api.delete, f"{quotas}/q")
        # Its controller, which these clusters lack, would say so.
        self.api.patch(f"{quotas}/q/status", {"status": {"hard": {what: "0"}, "used": {what: "0"}}})
        path = self.world / "quota.yaml"
        path.write_text("name: too-many\nmemory: 512MiB\ndisks: [{name: root, size: 1GiB}]\n")
        for more in ((), ("--dry-run",)):
            self.status(vmctl("create", "-n", "team", str(path), *more), 11, "resource-exhausted", "exceeded quota")
        self.assertIsNone(self.api.find("/apis/kubevirt.io/v1/namespaces/team/virtualmachines/too-many"))


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
