"""virt-api's part: the aggregated API subresources.kubevirt.io, the admission webhooks, and CDI's upload tokens."""

import copy
import json
import uuid

import kube
import web
from web import Answer, text

VERSIONS = ("v1", "v1alpha3")


def status(code, message, reason=None, name=None, kind=None, causes=None):
    details = {**({"name": name, "group": "kubevirt.io", "kind": kind} if name else {}), **({"causes": causes} if causes else {})}
    return Answer(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                         **({"reason": reason} if reason else {}), **({"details": details} if details else {}), "code": code})


class Handler(web.Handler):
    api = None  # kube.Api of the controller

    def answer(self):
        head = self.parts[0]
        if head == "apis":
            self.discovery() if len(self.parts) < 4 else self.subresource()
        if head in ("healthz", "readyz", "livez"):
            raise text(200, "ok")
        if self.command == "POST":
            self.webhook()
        raise text(404, "404: Page Not Found")

    # --- discovery ---------------------------------------------------------------------------------------------------

    def discovery(self):
        groups = {"subresources.kubevirt.io": VERSIONS, "upload.cdi.kubevirt.io": ("v1beta1",)}

        def group(name):
            versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in groups[name]]
            return {"name": name, "versions": versions, "preferredVersion": versions[0]}

        if len(self.parts) == 1:
            raise Answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in groups]})
        name = self.parts[1]
        if name not in groups:
            raise text(404, "404: Page Not Found")
        if len(self.parts) == 2:
            raise Answer(200, {"kind": "APIGroup", "apiVersion": "v1", **group(name)})
        if self.parts[2] not in groups[name]:
            raise text(404, "404: Page Not Found")
        names = ["uploadtokenrequests"] if name.startswith("upload") else RESOURCES
        raise Answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{name}/{self.parts[2]}", "resources": [
            {"name": r, "singularName": "", "namespaced": r not in ("version", "guestfs", "healthz"),
             "kind": "UploadTokenRequest" if name.startswith("upload") else "", "verbs": ["create"] if name.startswith("upload") else []} for r in names]})

    def subresource(self):
        rest = self.parts[3:]
        if rest == ["version"]:
            raise Answer(200, {"gitVersion": "v1.9.0", "gitCommit": "79d34c1762", "gitTreeState": "clean", "buildDate": "2026-07-27T00:00:00Z",
                               "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64"})
        if rest == ["healthz"]:
            raise Answer(200, {"apiserver": {"connectivity": "ok"}})
        raise text(404, "404: Page Not Found")

    # --- webhooks ----------------------------------------------------------------------------------------------------

    def webhook(self):
        review = json.loads(self.body())
        request = review["request"]
        response = {"uid": request["uid"], "allowed": True}
        if self.parts[0] == "virtualmachines-mutate":
            patch = virtualmachine_defaults(request["object"])
            if patch:
                response |= {"patchType": "JSONPatch", "patch": kube.b64(json.dumps(patch).encode())}
        raise Answer(200, {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})


RESOURCES = ["virtualmachines/start", "virtualmachines/stop", "virtualmachines/restart", "virtualmachines/migrate", "virtualmachines/addvolume",
             "virtualmachines/removevolume", "virtualmachines/memorydump", "virtualmachines/removememorydump", "virtualmachines/expand-spec",
             "virtualmachines/portforward", "virtualmachines/objectgraph", "virtualmachines/evacuate/cancel", "virtualmachineinstances/pause",
             "virtualmachineinstances/unpause", "virtualmachineinstances/freeze", "virtualmachineinstances/unfreeze",
             "virtualmachineinstances/softreboot", "virtualmachineinstances/reset", "virtualmachineinstances/console", "virtualmachineinstances/vnc",
             "virtualmachineinstances/vnc/screenshot", "virtualmachineinstances/portforward", "virtualmachineinstances/usbredir",
             "virtualmachineinstances/vsock", "virtualmachineinstances/guestosinfo", "virtualmachineinstances/userlist",
             "virtualmachineinstances/filesystemlist", "virtualmachineinstances/addvolume", "virtualmachineinstances/removevolume",
             "virtualmachineinstances/evacuate/cancel", "version", "healthz", "guestfs", "expand-vm-spec"]


def virtualmachine_defaults(vm):
    """What virtualmachines-mutator adds (recordings 175, 178, 353): a JSON patch."""
    template = vm.get("spec", {}).get("template")
    if not isinstance(template, dict) or not isinstance(template.get("spec"), dict):
        return []
    changed = copy.deepcopy(template)
    spec = changed["spec"]
    spec.setdefault("architecture", "amd64")
    domain = spec.setdefault("domain", {})
    domain.setdefault("resources", {})
    domain.setdefault("devices", {})
    if not (domain.setdefault("machine", {}) or {}).get("type"):
        domain["machine"] = {**(domain["machine"] or {}), "type": "q35"}
    domain["firmware"] = {"uuid": str(uuid.uuid4()), "serial": str(uuid.uuid4()), **(domain.get("firmware") or {})}
    metadata = changed.setdefault("metadata", {}) or {}
    changed["metadata"] = metadata
    metadata.setdefault("annotations", {}).setdefault("kubevirt.io/pci-topology-version", "v3")
    return [{"op": "replace", "path": "/spec/template", "value": changed}] if changed != template else []
