#!/usr/bin/env python3
"""What a cluster's own settings decide: disks that come to a running VM by requests of their own under the older gate HotplugVolumes, what a role does not
allow, by which MigrationPolicy a VM would migrate, memory dumps."""

import json
import os
import pathlib
import sys

import harness
from harness import BUILD, GUEST, run, vmctl

sys.path.insert(0, str(harness.HERE.parent / "kubevirt"))
import kube  # noqa: E402

VMS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
VMIS = "/apis/kubevirt.io/v1/namespaces/default/virtualmachineinstances"
DISKS = "/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
POLICIES = "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies"
CR = "/apis/kubevirt.io/v1/namespaces/kubevirt/kubevirts/kubevirt"


class Gates(harness.Case):
    @classmethod
    def setUpClass(cls):
        os.environ["VMCTL_BACKEND"] = "kubevirt"
        cls.api = kube.of_world()

    def setUp(self):
        self.gates(["Snapshot", "HostDevices", "HotplugVolumes"], ["DeclarativeHotplugVolumes"])

    def gates(self, on, off, version="v1.9.0"):
        self.api.patch(CR, {"spec": {"configuration": {"developerConfiguration": {"featureGates": on, "disabledFeatureGates": off}}}})
        self.api.patch(f"{CR}/status", {"status": {"observedKubeVirtVersion": version}})

    def start(self, name, *more):
        path = pathlib.Path(os.environ["WORLD"], f"{name}.yaml")
        path.write_text(f"name: {name}\nmemory: 64MiB\nnetworks: []\ndisks: [{{name: root, image: {GUEST}}}]\n" + "".join(more))
        self.ok(vmctl("create", str(path), "--start"))
        self.addCleanup(vmctl, "delete", name, "--force")

    def asked(self, since=0):
        """What vmctl changed of VMs, by the API server's own log: the subresource, or the VM's name. What somebody else's change came before is aside."""
        log = pathlib.Path(os.environ["WORLD"], "kubernetes/audit.log").read_text().split("\n")[:-1]  # the last may be half written
        told = [json.loads(line) for line in log if "/virtualmachines/" in line]
        return [t["requestURI"].partition("?")[0].rpartition("/")[2] for t in told if t.get("userAgent", "").startswith("vmctl/") and
                t["verb"] in ("update", "patch") and t["responseStatus"]["code"] < 400][since:]

    def template(self, name):
        spec = self.api.get(f"{VMS}/{name}")["spec"]
        return {v["name"]: v for v in spec["template"]["spec"]["volumes"]}, [t["metadata"]["name"] for t in spec.get("dataVolumeTemplates") or []]

    def test_a_disk_by_request(self):
        self.start("old-gate")
        before = len(self.asked())
        self.ok(vmctl("attach", "old-gate", "disk", "name=data", "size=64MiB", "bus=scsi", "--live"))
        # Recording 83; the template of the disk comes after it, as KubeVirt takes it beside its volume only.
        self.assertEqual(self.asked(before), ["addvolume", "old-gate"])
        volumes, templates = self.template("old-gate")
        self.assertEqual(volumes["data"], {"name": "data", "dataVolume": {"name": "old-gate-data", "hotpluggable": True}})
        self.assertIn("old-gate-data", templates)
        vmi = self.api.get(f"{VMIS}/old-gate")
        self.assertEqual(next(v["phase"] for v in vmi["status"]["volumeStatus"] if v["name"] == "data"), "Ready")
        self.assertNotIn("RestartRequired", [c["type"] for c in self.api.get(f"{VMS}/old-gate")["status"]["conditions"]])
        self.assertEqual(self.api.get(f"{DISKS}/old-gate-data")["metadata"]["ownerReferences"][0]["name"], "old-gate")
        spec = self.ok(vmctl("get", "old-gate", "-o", "spec")).out
        self.assertIn("unchanged", self.ok(vmctl("apply", "-", input=spec)).out)
        self.status(vmctl("attach", "old-gate", "disk", "name=data", "size=64MiB", "bus=scsi", "--live"), 5)
        before = len(self.asked())
        self.ok(vmctl("detach", "old-gate", "data", "--live"))
        self.assertEqual(self.asked(before), ["old-gate", "removevolume"])
        volumes, templates = self.template("old-gate")
        self.assertEqual((list(volumes), "old-gate-data" in templates), (["root"], False))
        self.assertNotIn("data", [v["name"] for v in self.api.get(f"{VMIS}/old-gate")["status"]["volumeStatus"]])
        self.api.get(f"{DISKS}/old-gate-data")  # its data stays
        # What the VM started with waits, as everywhere.
        self.status(vmctl("detach", "old-gate", "root", "--live"), 6, "the VM started with it")

    def test_the_contract(self):
        """The suite's own tests of disks that come and go hold here, too."""
        env = {"VMCTL_CONTRACT_CONNECT": "kubevirt:///default", "VMCTL_CONTRACT_KIND": "simulator", "VMCTL_CONTRACT_GUEST": GUEST,
               "VMCTL_CONTRACT_ONLY": "*disk_comes*"}
        self.ok(run(str(BUILD / "tests/contract"), "hotplug", env=env))

    def test_nothing_is_left_of_what_was_refused(self):
        """By a user who may change VMs and make disks, and not plug them in."""
        self.start("refused")
        roles = "/apis/rbac.authorization.k8s.io/v1"
        self.api.post(f"{roles}/clusterroles", {
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "changes-vms"},
            "rules": [{"apiGroups": ["kubevirt.io"], "resources": ["virtualmachines", "virtualmachineinstances"], "verbs": ["get", "list", "watch", "patch"]},
                      {"apiGroups": [""], "resources": ["persistentvolumeclaims"], "verbs": ["get"]}]})
        for role in ("changes-vms", "cdi.kubevirt.io:edit"):
            self.api.post(f"{roles}/namespaces/default/rolebindings", {
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": f"viewer-{role.replace(':', '-')}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "viewer"}]})
        config = pathlib.Path(os.environ["WORLD"], "as-viewer")
        config.write_text(pathlib.Path(os.environ["KUBECONFIG"]).read_text().replace("current-context: admin", "current-context: viewer"))
        was, disks = self.template("refused"), [d["metadata"]["name"] for d in self.api.get(DISKS)["items"]]
        annotations = self.api.get(f"{VMS}/refused")["metadata"].get("annotations")
        self.status(vmctl("attach", "refused", "disk", "name=data", "size=64MiB", "bus=scsi", "--live", env={"KUBECONFIG": str(config)}), 7,
                    "disk data", "addvolume")
        self.assertEqual(self.template("refused"), was)
        self.assertEqual(self.api.get(f"{VMS}/refused")["metadata"].get("annotations"), annotations)
        self.wait_for("the new volume's end", lambda: [d["metadata"]["name"] for d in self.api.get(DISKS)["items"]] == disks)

    def test_labels_of_the_template(self):
        """What Services and policies select VMs by: the instance's and the pod's labels, which are the template's (user guide, "Service Objects"). They
        are given at the start of an instance; KubeVirt asks for no restart for them."""
        self.start("labelled", "labels: {app: web, tier: gold, 'not/for/kubernetes': x}\n")
        mine = lambda labels: {k: v for k, v in labels.items() if "kubevirt.io" not in k and "vmctl" not in k}  # noqa: E731
        vm = self.api.get(f"{VMS}/labelled")
        self.assertEqual(vm["spec"]["template"]["metadata"]["labels"], {"kubevirt.io/vm": "labelled", "app": "web", "tier": "gold"})
        self.assertEqual(mine(vm["metadata"]["labels"]), {"app": "web", "tier": "gold"})
        self.assertEqual(mine(self.api.get(f"{VMIS}/labelled")["metadata"]["labels"]), {"app": "web", "tier": "gold"})
        spec = self.ok(vmctl("get", "labelled", "-o", "spec")).out
        self.assertIn("unchanged", self.ok(vmctl("apply", "-", input=spec)).out)
        self.assertIn("after its next start", self.ok(vmctl("set", "labelled", "labels.app=shop")).err)
        vm = self.api.get(f"{VMS}/labelled")
        self.assertEqual(vm["spec"]["template"]["metadata"]["labels"], {"kubevirt.io/vm": "labelled", "app": "shop", "tier": "gold"})
        self.assertEqual(mine(vm["metadata"]["labels"]), {"app": "shop", "tier": "gold"})
        self.assertNotIn("RestartRequired", [c["type"] for c in vm["status"]["conditions"]])
        self.assertEqual(mine(self.api.get(f"{VMIS}/labelled")["metadata"]["labels"]), {"app": "web", "tier": "gold"})
        self.ok(vmctl("restart", "labelled", "--force"))
        self.assertEqual(mine(self.api.get(f"{VMIS}/labelled")["metadata"]["labels"]), {"app": "shop", "tier": "gold"})
        self.ok(vmctl("clone", "labelled", "labelled-2"))
        self.addCleanup(vmctl, "delete", "labelled-2", "--force")
        self.assertEqual(self.api.get(f"{VMS}/labelled-2")["spec"]["template"]["metadata"]["labels"], {"kubevirt.io/vm": "labelled-2", "app": "shop", "tier": "gold"})
        # What somebody else gave the template is not written over: a Service may select by it.
        self.api.patch(f"{VMS}/labelled", {"spec": {"template": {"metadata": {"labels": {"app": "theirs"}}}}})
        self.ok(vmctl("set", "labelled", "labels.app=mine"))
        self.assertEqual(self.api.get(f"{VMS}/labelled")["spec"]["template"]["metadata"]["labels"]["app"], "theirs")

    def policy(self, name, vm=None, namespace=None, **settings):
        self.api.post(POLICIES, {"apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "metadata": {"name": name}, "spec": {
            "selectors": {"virtualMachineInstanceSelector": vm or {}, "namespaceSelector": namespace or {}}, **settings}})
        self.addCleanup(self.api.delete, f"{POLICIES}/{name}")

    def test_which_policy_applies(self):
        """KubeVirt's user guide, "Migration Policies": all labels must be there, the most specific one wins, then the first by name."""
        self.start("policed", "kubevirt: {patch: [{op: add, path: /spec/template/metadata/labels, value: {tier: gold, team: infra}}]}\n")

        def told():
            tree = self.json(vmctl("migrate", "policed", "--to", "host:", "--dry-run", "-o", "json"))
            return next(o["reason"] for o in (tree[0] if isinstance(tree, list) else tree)["obstacles"] if o["what"] == "policy")

        def described():
            return self.json(vmctl("describe", "policed", "-o", "json")).get("migrationPolicy")

        self.assertEqual(told(), "no MigrationPolicy fits it: it goes by the cluster's own settings")
        self.assertIsNone(described())
        self.policy("silver", {"tier": "silver"}, bandwidthPerMigration="1Mi")
        self.policy("b-gold", {"tier": "gold"}, bandwidthPerMigration="64Mi", allowPostCopy=True)
        self.assertEqual(told(), "it goes by the MigrationPolicy b-gold: post-copy allowed, at most 64Mi a second")
        self.assertEqual(described(), "b-gold: post-copy allowed, at most 64Mi a second")
        self.assertIn("migrates by   b-gold: post-copy", self.ok(vmctl("describe", "policed")).out)
        self.assertNotIn("migrationPolicy", self.json(vmctl("get", "policed", "-o", "json")))
        self.policy("a-gold", {"tier": "gold"}, allowAutoConverge=False)
        self.assertEqual(told(), "it goes by the MigrationPolicy a-gold: no auto-converge")
        self.policy("z-both", {"tier": "gold", "team": "infra"})
        self.assertEqual(told(), "it goes by the MigrationPolicy z-both")
        self.policy("elsewhere", {"tier": "gold", "team": "infra"}, {"kubernetes.io/metadata.name": "team"})
        self.assertEqual(told(), "it goes by the MigrationPolicy z-both")
        self.assertEqual(described(), "z-both")
        self.policy("here", {"tier": "gold", "team": "infra"}, {"kubernetes.io/metadata.name": "default"})
        self.assertEqual(told(), "it goes by the MigrationPolicy here")
        self.assertEqual(described(), "here")
        self.policy("by-tenant", {"tier": "gold", "team": "infra"}, {"tenant": "a"})
        self.assertEqual(described(), "by the labels of its namespace (vmctl migrate --dry-run tells)")
        self.status(vmctl("migrate", "policed", "--to", "host:", "--bandwidth", "1MiB"), 3, "by a MigrationPolicy", "bandwidthPerMigration")

    def test_a_dump_that_fails(self):
        """Nothing is left of it: no claim, no request on the VM."""
        self.start("dumped")
        file = pathlib.Path(os.environ["WORLD"], "dumped.core")
        self.api.patch(f"{VMS}/dumped", {"metadata": {"annotations": {"vmctl.test/dump": "fails"}}})
        self.status(vmctl("dump", "dumped", str(file)), 9, "no space left on device")
        self.assertFalse(file.exists())
        self.wait_for("the claim's end", lambda: not [c for c in self.api.get(CLAIMS)["items"] if c["metadata"]["name"].startswith("vmctl-dump-")])
        self.assertNotIn("memoryDumpRequest", self.api.get(f"{VMS}/dumped")["status"])
        # Somebody else's dump is not touched.
        self.api.post(CLAIMS, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "theirs"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        self.addCleanup(self.api.delete, f"{CLAIMS}/theirs")
        self.api.patch(f"{VMS}/dumped", {"metadata": {"annotations": {"vmctl.test/dump": None}}})
        self.api.put(f"{VMS.replace('kubevirt.io/v1/', 'subresources.kubevirt.io/v1/')}/dumped/memorydump", {"claimName": "theirs", "phase": ""})
        here = next(f for f in self.json(vmctl("caps", "--vm", "dumped", "-o", "json")) if f["feature"] == "guest.memory-dump")["here"]
        self.assertEqual(here["level"], "no")
        self.status(vmctl("dump", "dumped", str(file)), 6, here["reason"], here["remedy"])
        self.assertEqual(self.api.get(f"{VMS}/dumped")["status"]["memoryDumpRequest"]["claimName"], "theirs")

    def test_waiting_ends_with_the_cause(self):
        """What will not come by itself ends a start at once, in the object's own words, with what to try; nothing is waited out."""
        def volume(name, **source):
            return {"name": name, **source}

        for name, status, volumes, more, words in (
                ("no-image", 4, [volume("d0", containerDisk={"image": "quay.io/missing/nothing:1"})], {}, ("quay.io/missing/nothing:1", "not found")),
                ("no-claim", 4, [volume("d0", persistentVolumeClaim={"claimName": "nowhere"})], {}, ("default/nowhere does not exist",)),
                ("no-node", 11, [volume("d0", containerDisk={"image": "quay.io/x:1"})], {"nodeSelector": {"rack": "none"}}, ("nodes are available",)),
                ("crashing", 6, [volume("d0", containerDisk={"image": "quay.io/crashes:1"})], {}, ())):
            spec = {"domain": {"memory": {"guest": "512Mi"}, "devices": {"disks": [{"name": "d0", "disk": {"bus": "virtio"}}]}}, "volumes": volumes, **more}
            self.api.post(VMS, {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name}, "spec": {
                "runStrategy": "RerunOnFailure" if name == "crashing" else "Manual", "template": {"spec": spec}}})
            self.addCleanup(vmctl, "delete", name, "--force")
            if name == "crashing":
                self.wait_for("the crash", lambda: (self.api.get(f"{VMS}/{name}").get("status") or {}).get("printableStatus") == "CrashLoopBackOff")
                result = vmctl("wait", name, "--for", "running", "--timeout", "280s")
            else:
                result = vmctl("start", name, "--timeout", "280s")
            with self.subTest(name):
                self.assertNotIn(result.status, (0, 8), str(result))
                self.assertEqual(result.status, status, str(result))
                for word in words:
                    self.assertIn(word, result.err, str(result))
                self.assertIn("try:", result.err, str(result))

    def test_a_gpu(self):
        """Refused before anything is made, with what there is; a permitted one is what recordings 178 and 180 have."""
        def spec(device):
            path = pathlib.Path(os.environ["WORLD"], "gpu.yaml")
            path.write_text(f"name: gpu\nmemory: 512MiB\nnetworks: []\ndisks: [{{name: d0, image: 'docker://quay.io/x:1'}}]\n"
                            f"gpus: [{{name: g1, resource: {device}}}]\n")
            return str(path)

        self.status(vmctl("create", spec("nvidia.com/NOTHERE"), "--start"), 4, "nvidia.com/NOTHERE", "nvidia.com/TU104GL_Tesla_T4", "nvidia.com/GRID_T4-1Q")
        self.assertIsNone(self.api.find(f"{VMS}/gpu"))
        self.ok(vmctl("create", spec("nvidia.com/TU104GL_Tesla_T4"), "--start"))
        self.addCleanup(vmctl, "delete", "gpu", "--force")
        want = [{"name": "g1", "deviceName": "nvidia.com/TU104GL_Tesla_T4"}]
        self.assertEqual(self.api.get(f"{VMS}/gpu")["spec"]["template"]["spec"]["domain"]["devices"]["gpus"], want)
        self.assertEqual(self.api.get(f"{VMIS}/gpu")["status"]["nodeName"], "node01")  # which has it

    def test_a_nic_that_waits_for_a_migration(self):
        """Where the cluster does not migrate VMs by itself, that is said, and a migration brings it."""
        self.start("carded")
        self.api.patch(CR, {"spec": {"workloadUpdateStrategy": {"workloadUpdateMethods": ["Evict"]}}})
        self.addCleanup(self.api.patch, CR, {"spec": {"workloadUpdateStrategy": {"workloadUpdateMethods": ["LiveMigrate"]}}})
        nic = ("nic", "name=hot", "type=multus", "source=one")
        self.status(vmctl("attach", "carded", *nic, "--live"), 6, "by migrating the VM", "vmctl migrate carded --to host: does")
        self.assertNotIn("one", json.dumps(self.template_spec("carded")))
        self.assertIn("by migrating the VM", self.ok(vmctl("attach", "carded", *nic)).err)
        self.assertEqual(self.api.get(f"{VMIS}/carded")["status"].get("interfaces") or [], [])
        self.ok(vmctl("migrate", "carded", "--to", "host:"))
        self.wait_for("the card", lambda: [i["name"] for i in self.api.get(f"{VMIS}/carded")["status"].get("interfaces") or []] == ["hot"])
        self.assertNotIn("RestartRequired", [c["type"] for c in self.api.get(f"{VMS}/carded")["status"]["conditions"]])

    def template_spec(self, name):
        return self.api.get(f"{VMS}/{name}")["spec"]["template"]["spec"]

    def test_who_may(self):
        """What a role does not allow has one text, beforehand and when it is done."""
        self.start("rights")
        config = pathlib.Path(os.environ["WORLD"], "as-editor")
        config.write_text(pathlib.Path(os.environ["KUBECONFIG"]).read_text().replace("current-context: admin", "current-context: editor"))
        env = {"KUBECONFIG": str(config)}
        here = {f["feature"]: f.get("here") for f in self.json(vmctl("caps", "--vm", "rights", "-o", "json", env=env))}
        self.assertEqual(here["migrate.live"]["level"], "no")
        words = 'this user may not create virtualmachineinstancemigrations.kubevirt.io in the namespace "default"'
        self.assertEqual(here["migrate.live"]["reason"], words)
        self.status(vmctl("migrate", "rights", "--to", "host:", env=env), 7, words, here["migrate.live"]["remedy"], "cannot create resource")

    def test_what_is_told_beforehand(self):
        self.start("told")
        # Both off: neither way, and caps says the same.
        self.gates(["Snapshot"], ["DeclarativeHotplugVolumes"])
        here = next(f for f in self.json(vmctl("caps", "--vm", "told", "-o", "json")) if f["feature"] == "device.disk.hotplug")["here"]
        self.assertEqual(here["level"], "no")
        self.status(vmctl("attach", "told", "disk", "name=data", "size=64MiB", "bus=scsi", "--live"), 6, here["reason"])
        # Before 1.6 on scsi only.
        self.gates(["HotplugVolumes"], [], "v1.4.0")
        self.status(vmctl("attach", "told", "disk", "name=data", "size=64MiB", "bus=virtio", "--live"), 6, "scsi only")
        self.ok(vmctl("attach", "told", "disk", "name=data", "size=64MiB", "bus=scsi", "--live"))


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
