"""VirtualMachineExports: the controller's part, and virt-exportproxy, which shows a claim's bytes outside of the cluster. From KubeVirt's
user guide (storage/export_api.md) and its reasons of the condition Ready (recording 200): a claim that a pod has is not exported, the
token's secret is made where none is named, and belongs to the export.

What a test asks for by an annotation of the claim: vmctl.test/export "files" (no disk is in it), "inside" (nothing leads to it from
outside; "inside-cut": and ...), "cut" (the first answer breaks off in its middle), "changed" (so does it, and the bytes are others then), "slow" (it never ends)."""

import email.utils
import re
import threading

import kube
import web
from controller import EXPORT, PVC, VMI, annotation, claims, owner, set_condition, tail
from kube import path
from web import Answer, text

PROXY_PORT = 18445
SERVER, SERVER_PORT = "192.0.2.1", 18446  # of the pods virt-export-NAME
TOKENS = {}  # (namespace, export): token
DUMPS = {}  # (namespace, claim): the name and bytes of the memory dump in it


def step(controller, key, export):
    """What becomes of one that was made."""
    if export["metadata"].get("deletionTimestamp") or (export.get("status") or {}).get("phase") == "Ready":
        return
    api, source = controller.api, export["spec"]["source"]
    status = {**(export.get("status") or {}), "phase": "Pending", "serviceName": f"virt-export-{key[1]}"}
    claim = controller.find(PVC, (key[0], source["name"]))
    used = any(source["name"] in claims(vmi["spec"]) for vmi in controller.all(VMI, key[0]))
    if not claim or used:
        reason, words = ("InUse", f"pvc {key[0]}/{source['name']} is in use") if used else ("Unknown", f"pvc {source['name']} not found")
        status["conditions"] = set_condition(status.get("conditions") or [], "Ready", "False", reason, words)
    else:
        secret = f"export-token-{key[1]}"
        TOKENS[key] = tail(20)
        made = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret, "ownerReferences": [owner(export, "VirtualMachineExport", "export.kubevirt.io/v1")]},
                "stringData": {"token": TOKENS[key]}}
        try:
            api.post(path("v1/secrets", key[0]), made)
        except kube.Refused as refused:
            if refused.code != 409:
                raise
        serve(api, key, export)

        def links(base):
            files = annotation(claim, "vmctl.test/export") == "files" or (key[0], source["name"]) in DUMPS
            formats = [{"format": f, "url": f"{base}/volumes/{source['name']}/{name}"}
                       for f, name in ((("dir", "dir"), ("tar.gz", "disk.tar.gz")) if files else (("raw", "disk.img"), ("gzip", "disk.img.gz")))]
            return {"cert": Proxy.certificate, "volumes": [{"name": source["name"], "formats": formats}]}

        outside = f"https://localhost:{PROXY_PORT}/api/export.kubevirt.io/v1/namespaces/{key[0]}/virtualmachineexports/{key[1]}"
        status |= {"phase": "Ready", "tokenSecretRef": secret, "conditions": set_condition(status.get("conditions") or [], "Ready", "True", "PodReady"),
                   "links": {"internal": links(f"https://virt-export-{key[1]}.{key[0]}.svc")}}
        if not (annotation(claim, "vmctl.test/export") or "").startswith("inside"):
            status["links"]["external"] = links(outside)
    controller.write_status(EXPORT, key, export, status)


def serve(api, key, export):
    """Its pod, and the service before it, to which the API server's proxy leads: it looks for both."""
    name = f"virt-export-{key[1]}"
    metadata = {"name": name, "ownerReferences": [owner(export, "VirtualMachineExport", "export.kubevirt.io/v1")]}
    port = {"name": "export", "port": 443, "protocol": "TCP"}
    for kind, plural, more in (("Pod", "pods", {"spec": {"containers": [{"name": "exporter", "image": "virt-exportserver"}]}}),
                               ("Service", "services", {"spec": {"ports": [{**port, "targetPort": 8443}]}}),
                               ("Endpoints", "endpoints", {"subsets": [{
                                   "ports": [{**port, "port": SERVER_PORT}],
                                   "addresses": [{"ip": SERVER, "targetRef": {"kind": "Pod", "namespace": key[0], "name": name}}]}]})):
        try:
            api.post(path(f"v1/{plural}", key[0]), {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more})
        except kube.Refused as refused:
            if refused.code != 409:
                raise
    api.patch(path("v1/pods", key[0], name, "status"), {"status": {"phase": "Running", "podIP": SERVER, "podIPs": [{"ip": SERVER}]}})


class Proxy(web.Handler):
    """virt-exportproxy, and at the pods' address virt-exportserver. Go's http.ServeContent is behind it: ranges, and the time of the last change."""

    api = folder = certificate = None  # set by stand_in
    lock, answered = threading.Lock(), {}

    def answer(self):
        outside = r"(?:/api/export\.kubevirt\.io/v1/namespaces/([^/]+)/virtualmachineexports/([^/]+))?"
        match = re.fullmatch(outside + r"/volumes/([^/]+)/(disk\.img|dir/[^/]+)", self.path)
        token = self.headers.get("x-kubevirt-export-token")
        if not match or bool(match[1]) != (self.server.server_address[0] != SERVER):
            raise text(404, "404 page not found")
        key = match.groups()[:2] if match[1] else next((k for k, t in TOKENS.items() if t == token), None)
        claim = match[3]
        if key not in TOKENS or token != TOKENS[key]:
            raise text(401, "Unauthorized")
        how = (annotation(self.api.get(path(PVC, key[0], claim)), "vmctl.test/export") or "").removeprefix("inside-")
        with self.lock:
            count = self.answered[key] = self.answered.get(key, 0) + 1
        name, data = DUMPS.get((key[0], claim), (None, None))
        if match[4] != ("disk.img" if name is None else f"dir/{name}"):
            raise text(404, "404 page not found")
        data = data or (self.folder / "uploads" / key[0] / claim).read_bytes()
        time = 1_700_000_000 + (count if how == "changed" else 0)
        data = data[::-1] if how == "changed" and count > 1 else data
        modified = email.utils.formatdate(time, usegmt=True)
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and self.headers.get("If-Range") in (None, modified):
            start = int(asked[1])
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Last-Modified", modified)
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        if how in ("cut", "changed") and count == 1:
            self.wfile.write(data[:len(data) // 2])
            self.close_connection = True
            return
        if how == "slow":
            self.wfile.write(data[:len(data) // 2])
            self.wfile.flush()
            threading.Event().wait(300)
        self.wfile.write(data[start:])
