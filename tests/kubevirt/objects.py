"""What stands in the cluster of the tests besides the CRDs: KubeVirt's and CDI's roles, services and webhooks, their configuration, two
nodes, storage. Sources: KubeVirt 1.9's documentation of its roles and the recorded rules of a user with `edit` (recording 382), of the
KubeVirt CR (08), of the nodes (371), of what the webhooks of virt-api refuse (20, 24, 137, 185, 192, 194, 224, 265)."""

VIRT_API_PORT, UPLOAD_PROXY_PORT, KUBELET_PORT = 18443, 18444, 10250
SUBRESOURCES = "subresources.kubevirt.io"
NODES = ("node01", "node02")


def rule(groups, resources, verbs):
    return {"apiGroups": groups.split(","), "resources": resources.split(), "verbs": verbs.split()}


ALL = "get delete create update patch list watch"
READ = "get list watch"
READ_SUB = rule(SUBRESOURCES, "virtualmachineinstances/guestosinfo virtualmachineinstances/filesystemlist virtualmachineinstances/userlist", "get")
EDIT = [
    rule(SUBRESOURCES, "virtualmachineinstances/console virtualmachineinstances/vnc virtualmachineinstances/portforward "
         "virtualmachineinstances/guestosinfo virtualmachineinstances/filesystemlist virtualmachineinstances/userlist "
         "virtualmachineinstances/usbredir virtualmachines/objectgraph virtualmachineinstances/objectgraph", "get"),
    rule(SUBRESOURCES, "virtualmachineinstances/pause virtualmachineinstances/unpause virtualmachineinstances/addvolume "
         "virtualmachineinstances/removevolume virtualmachineinstances/freeze virtualmachineinstances/unfreeze "
         "virtualmachineinstances/softreboot virtualmachineinstances/reset virtualmachineinstances/evacuate/cancel", "update"),
    rule(SUBRESOURCES, "virtualmachines/expand-spec virtualmachines/portforward", "get"),
    rule(SUBRESOURCES, "virtualmachines/start virtualmachines/stop virtualmachines/restart virtualmachines/addvolume "
         "virtualmachines/removevolume virtualmachines/memorydump virtualmachines/removememorydump virtualmachines/evacuate/cancel", "update"),
    rule(SUBRESOURCES, "expand-vm-spec", "update"),
    rule("kubevirt.io", "virtualmachines virtualmachineinstances virtualmachineinstancepresets virtualmachineinstancereplicasets", ALL),
    rule("kubevirt.io", "virtualmachineinstancemigrations", READ),
    rule("snapshot.kubevirt.io", "virtualmachinesnapshots virtualmachinesnapshotcontents virtualmachinerestores", ALL),
    rule("export.kubevirt.io", "virtualmachineexports", ALL),
    rule("clone.kubevirt.io", "virtualmachineclones", ALL),
    rule("instancetype.kubevirt.io", "virtualmachineinstancetypes virtualmachineclusterinstancetypes virtualmachinepreferences "
         "virtualmachineclusterpreferences", ALL),
    rule("kubevirt.io", "kubevirts", "get list"),
    rule("migrations.kubevirt.io", "migrationpolicies", READ),
]
ROLES = {
    "kubevirt.io:default": [rule("kubevirt.io", "kubevirts", "get list"), rule(SUBRESOURCES, "version guestfs", "get list"),
                            rule("instancetype.kubevirt.io", "virtualmachineclusterinstancetypes virtualmachineclusterpreferences", READ)],
    "kubevirt.io:admin": [*EDIT, rule(SUBRESOURCES, "virtualmachineinstances/vnc/screenshot virtualmachineinstances/vsock", "get"),
                          rule("kubevirt.io", "virtualmachines virtualmachineinstances", "deletecollection")],
    "kubevirt.io:edit": EDIT,
    "kubevirt.io:view": [READ_SUB, rule("kubevirt.io", "virtualmachines virtualmachineinstances virtualmachineinstancepresets "
                                        "virtualmachineinstancereplicasets virtualmachineinstancemigrations", READ),
                         rule("snapshot.kubevirt.io", "virtualmachinesnapshots virtualmachinesnapshotcontents virtualmachinerestores", READ),
                         rule("clone.kubevirt.io", "virtualmachineclones", READ)],
    "kubevirt.io:migrate": [rule(SUBRESOURCES, "virtualmachines/migrate", "update"),
                            rule("kubevirt.io", "virtualmachineinstancemigrations", ALL)],
    "cdi.kubevirt.io:edit": [rule("cdi.kubevirt.io", "datavolumes datasources", ALL), rule("upload.cdi.kubevirt.io", "uploadtokenrequests", ALL)],
    "cdi.kubevirt.io:config-reader": [rule("cdi.kubevirt.io", "cdiconfigs", READ)],
}
# Which user of the tests has what, and where. Aggregation of roles is done by a controller that these clusters lack: each is bound by itself.
BINDINGS = [("kubevirt.io:default", None, "Group", "system:authenticated"), ("cdi.kubevirt.io:config-reader", None, "Group", "system:authenticated"),
            *((role, "default", "User", "editor") for role in ("edit", "kubevirt.io:edit", "cdi.kubevirt.io:edit")),
            *((role, "default", "User", "watcher") for role in ("view", "kubevirt.io:view"))]


def roles():
    for name, rules in ROLES.items():
        yield "rbac.authorization.k8s.io/v1/clusterroles", {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
                                                            "metadata": {"name": name}, "rules": rules}
    for number, (role, namespace, kind, name) in enumerate(BINDINGS):
        metadata = {"name": f"{name}-{number}".replace(":", "-"), **({"namespace": namespace} if namespace else {})}
        yield (f"rbac.authorization.k8s.io/v1/{'rolebindings' if namespace else 'clusterrolebindings'}",
               {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding" if namespace else "ClusterRoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}]})


def services(ca):
    """An ExternalName leads the API server's aggregator to the stand-ins on this machine."""
    for namespace, name in (("kubevirt", "virt-api"), ("cdi", "cdi-api")):
        yield "v1/services", {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
                              "spec": {"type": "ExternalName", "externalName": "localhost"}}
    for group, version, namespace, name, priority in (("subresources.kubevirt.io", "v1", "kubevirt", "virt-api", 15),
                                                      ("subresources.kubevirt.io", "v1alpha3", "kubevirt", "virt-api", 10),
                                                      ("upload.cdi.kubevirt.io", "v1beta1", "cdi", "cdi-api", 15)):
        yield "apiregistration.k8s.io/v1/apiservices", {
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": f"{version}.{group}"},
            "spec": {"group": group, "version": version, "caBundle": ca, "groupPriorityMinimum": 1000, "versionPriority": priority,
                     "service": {"namespace": namespace, "name": name, "port": VIRT_API_PORT}}}


def hook(ca, name, path, group, resources, operations="CREATE UPDATE"):
    return {"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail", "timeoutSeconds": 10,
            "clientConfig": {"caBundle": ca, "service": {"namespace": "kubevirt", "name": "virt-api", "port": VIRT_API_PORT, "path": path}},
            "rules": [{"apiGroups": [group], "apiVersions": ["*"], "resources": resources.split(), "operations": operations.split(), "scope": "*"}]}


def webhooks(ca):
    mutators = [hook(ca, "migrations-mutator.kubevirt.io", "/migrations-mutate", "kubevirt.io", "virtualmachineinstancemigrations", "CREATE"),
                hook(ca, "virtualmachines-mutator.kubevirt.io", "/virtualmachines-mutate", "kubevirt.io", "virtualmachines"),
                hook(ca, "virtualmachineinstances-mutator.kubevirt.io", "/virtualmachineinstances-mutate", "kubevirt.io", "virtualmachineinstances", "CREATE")]
    validators = [hook(ca, "virtualmachine-validator.kubevirt.io", "/virtualmachines-validate", "kubevirt.io", "virtualmachines"),
                  hook(ca, "virtualmachineinstances-update-validator.kubevirt.io", "/virtualmachineinstances-validate-update", "kubevirt.io",
                       "virtualmachineinstances", "UPDATE"),
                  hook(ca, "migration-create-validator.kubevirt.io", "/migration-validate-create", "kubevirt.io", "virtualmachineinstancemigrations", "CREATE"),
                  hook(ca, "virtualmachinesnapshot-validator.snapshot.kubevirt.io", "/virtualmachinesnapshots-validate", "snapshot.kubevirt.io",
                       "virtualmachinesnapshots", "CREATE"),
                  hook(ca, "virtualmachinerestore-validator.snapshot.kubevirt.io", "/virtualmachinerestores-validate", "snapshot.kubevirt.io",
                       "virtualmachinerestores", "CREATE"),
                  hook(ca, "virt-launcher-eviction-interceptor.kubevirt.io", "/launcher-eviction-interceptor", "", "pods/eviction", "CREATE")]
    for kind, name, hooks in (("Mutating", "virt-api-mutator", mutators), ("Validating", "virt-api-validator", validators)):
        yield (f"admissionregistration.k8s.io/v1/{kind.lower()}webhookconfigurations",
               {"apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration", "metadata": {"name": name}, "webhooks": hooks})


def configuration():
    yield "kubevirt.io/v1/kubevirts", {
        "apiVersion": "kubevirt.io/v1", "kind": "KubeVirt", "metadata": {"name": "kubevirt", "namespace": "kubevirt"},
        "spec": {"workloadUpdateStrategy": {"workloadUpdateMethods": ["LiveMigrate"]}, "configuration": {
            "developerConfiguration": {"featureGates": ["Snapshot", "HostDevices"], "useEmulation": True}, "evictionStrategy": "LiveMigrate",
            "permittedHostDevices": {"mediatedDevices": [{"mdevNameSelector": "GRID T4-1Q", "resourceName": "nvidia.com/GRID_T4-1Q"}],
                                     "pciHostDevices": [{"pciVendorSelector": "10DE:1EB8", "resourceName": "nvidia.com/TU104GL_Tesla_T4"}]}}},
        "status": {"defaultArchitecture": "amd64", "observedKubeVirtVersion": "v1.9.0", "operatorVersion": "v1.9.0",
                   "outdatedVirtualMachineInstanceWorkloads": 0, "phase": "Deployed", "targetKubeVirtVersion": "v1.9.0"}}
    yield "cdi.kubevirt.io/v1beta1/cdiconfigs", {
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDIConfig", "metadata": {"name": "config"}, "spec": {},
        "status": {"uploadProxyURL": f"https://localhost:{UPLOAD_PROXY_PORT}", "scratchSpaceStorageClass": "local"}}
    yield "cdi.kubevirt.io/v1beta1/cdis", {
        "apiVersion": "cdi.kubevirt.io/v1beta1", "kind": "CDI", "metadata": {"name": "cdi"}, "spec": {},
        "status": {"observedVersion": "v1.66.0", "operatorVersion": "v1.66.0", "targetVersion": "v1.66.0", "phase": "Deployed"}}
    for name, annotations in (("local", {"storageclass.kubernetes.io/is-default-class": "true"}), ("no-snapshots", {})):
        yield "storage.k8s.io/v1/storageclasses", {
            "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name, "annotations": annotations},
            "provisioner": f"{name}.csi.example", "volumeBindingMode": "Immediate", "allowVolumeExpansion": True}
    yield "snapshot.storage.k8s.io/v1/volumesnapshotclasses", {
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotClass", "metadata": {"name": "local"}, "driver": "local.csi.example",
        "deletionPolicy": "Delete"}


def nodes():
    room = {"cpu": "16", "devices.kubevirt.io/kvm": "1k", "devices.kubevirt.io/tun": "1k", "devices.kubevirt.io/vhost-net": "1k", "memory": "64Gi",
            "pods": "110"}
    gpus = {"nvidia.com/GRID_T4-1Q": "16", "nvidia.com/TU104GL_Tesla_T4": "2"}
    for number, name in enumerate(NODES):
        has = {**room, **(gpus if number == 0 else {})}
        yield "v1/nodes", {
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": name, "labels": {
                "cpu-feature.node.kubevirt.io/vmx": "true", "cpu-model.node.kubevirt.io/Haswell-noTSX": "true",
                "cpu-vendor.node.kubevirt.io/Intel": "true", "host-model-cpu.node.kubevirt.io/Haswell-noTSX": "true",
                "hyperv.node.kubevirt.io/base": "true", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name, "kubernetes.io/os": "linux",
                "kubevirt.io/schedulable": "true", "machine-type.node.kubevirt.io/q35": "true",
                **({"nvidia.com/gpu.present": "true"} if number == 0 else {})}},
            "status": {"capacity": has, "allocatable": has,
                       "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": "2026-11-23T05:00:00Z",
                                       "lastTransitionTime": "2026-11-23T05:00:00Z"}],
                       "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
                       "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}}}}


def everything(ca):
    """(kind's path, object) in the order in which they are made; ca: base64 of the certificate that the stand-ins' is signed by."""
    for namespace in ("kubevirt", "cdi", "team"):
        yield "v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
    yield from roles()
    yield from nodes()
    yield from configuration()
    yield from services(ca)
    yield from webhooks(ca)
