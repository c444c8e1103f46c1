"""virt-api's part: the aggregated API subresources.kubevirt.io and its refusals in the words that were recorded. A stop is a change of
the VM's run strategy, a pause one of the instance's conditions, as there; what follows is the controller's."""

import json
import socket
import struct
import threading
import time
import zlib

import gates
import kube
import web
import webhooks
from controller import DV, FINAL, PVC, VM, VMI, agent, annotation, condition, run_strategy, set_condition
from guest import guests
from kube import path
from live_update import KUBEVIRT, claim_of, hotpluggable, plugged
from web import Answer, text

GROUPS = {"subresources.kubevirt.io": ("v1", "v1alpha3"), "upload.cdi.kubevirt.io": ("v1beta1",)}
SUBPROTOCOL = "plain.kubevirt.io"
KINDS = {"virtualmachines": "virtualmachine", "virtualmachineinstances": "virtualmachineinstance"}
VERBS = {  # what is served under each kind, by which method
    "virtualmachines": {**dict.fromkeys(("start", "stop", "restart", "migrate", "addvolume", "removevolume", "memorydump", "removememorydump",
                                         "evacuate/cancel"), "PUT"), **dict.fromkeys(("expand-spec", "portforward", "objectgraph"), "GET")},
    "virtualmachineinstances": {**dict.fromkeys(("pause", "unpause", "freeze", "unfreeze", "softreboot", "reset", "addvolume", "removevolume",
                                                 "evacuate/cancel"), "PUT"),
                                **dict.fromkeys(("console", "vnc", "vnc/screenshot", "portforward", "usbredir", "vsock", "guestosinfo", "userlist",
                                                 "filesystemlist", "objectgraph"), "GET")}}
GUEST_OS = {"id": "debian", "kernelRelease": "6.1.0", "machine": "x86_64", "name": "Debian GNU/Linux",
            "prettyName": "Debian GNU/Linux 12 (bookworm)", "version": "12", "versionId": "12"}
DISKS = [{"diskName": "vda1", "fileSystemType": "ext4", "mountPoint": "/", "totalBytes": 1 << 30, "usedBytes": 1 << 28}]
USERS = [{"loginTime": 1763874000.5, "userName": "debian"}]


def status(code, message, reason=None, name=None, kind=None, causes=None):
    details = {**({"name": name, "group": "kubevirt.io", "kind": kind} if name else {}), **({"causes": causes} if causes else {})}
    return Answer(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                         **({"reason": reason} if reason else {}), **({"details": details} if details else {}), "code": code})


def not_found(kind, name):
    return status(404, f'{kind}.kubevirt.io "{name}" not found', "NotFound", name, kind)


def conflict(kind, name, why):
    return status(409, f'Operation cannot be fulfilled on {kind}.kubevirt.io "{name}": {why}', "Conflict", name, kind)


def bad(message):
    return status(400, message, "BadRequest")


def internal(message):
    return status(500, f"Internal error occurred: {message}", "InternalError", causes=[{"message": message}])


class Handler(web.Handler):
    api = controller = tokens = None  # set by stand_in

    def answer(self):
        if self.parts[0] == "apis":
            if len(self.parts) < 4:
                self.discovery()
            elif self.parts[1] == "upload.cdi.kubevirt.io":
                self.upload_token()
            else:
                self.subresource()
        if self.parts[0] in ("healthz", "readyz", "livez"):
            raise text(200, "ok")
        if self.command == "POST" and self.parts[0] in webhooks.HOOKS:
            review = json.loads(self.body())
            response = {"uid": review["request"]["uid"], "allowed": True}
            response |= webhooks.HOOKS[self.parts[0]](review["request"], self.controller, self.api) or {}
            raise Answer(200, {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
        raise text(404, "404: Page Not Found")

    def discovery(self):
        def group(name):
            versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in GROUPS[name]]
            return {"name": name, "versions": versions, "preferredVersion": versions[0]}

        if len(self.parts) == 1:
            raise Answer(200, {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in GROUPS]})
        name = self.parts[1]
        if name not in GROUPS or (len(self.parts) > 2 and self.parts[2] not in GROUPS[name]):
            raise text(404, "404: Page Not Found")
        if len(self.parts) == 2:
            raise Answer(200, {"kind": "APIGroup", "apiVersion": "v1", **group(name)})
        if name.startswith("upload"):
            resources = [{"name": "uploadtokenrequests", "singularName": "", "namespaced": True, "kind": "UploadTokenRequest", "verbs": ["create"]}]
        else:
            resources = [{"name": f"{kind}/{sub}", "singularName": "", "namespaced": True, "kind": "", "verbs": []} for kind, subs in VERBS.items()
                         for sub in subs]
            resources += [{"name": n, "singularName": "", "namespaced": n == "expand-vm-spec", "kind": "", "verbs": []}
                          for n in ("version", "healthz", "guestfs", "expand-vm-spec")]
        raise Answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{name}/{self.parts[2]}", "resources": resources})

    # --- subresources ------------------------------------------------------------------------------------------------

    def subresource(self):
        rest = self.parts[3:]
        if rest == ["version"]:
            raise Answer(200, {"gitVersion": "v1.9.0", "gitCommit": "79d34c1762", "gitTreeState": "clean", "buildDate": "2026-07-27T00:00:00Z",
                               "goVersion": "go1.26", "compiler": "gc", "platform": "linux/amd64"})
        if rest == ["healthz"]:
            raise Answer(200, {"apiserver": {"connectivity": "ok"}})
        if len(rest) == 3 and rest[0] == "namespaces" and rest[2] == "expand-vm-spec":
            self.allowed(rest[1], "expand-vm-spec", None, None)
            raise Answer(200, self.expanded(self.object(), rest[1]))
        if len(rest) < 5 or rest[0] != "namespaces" or rest[2] not in VERBS:
            raise text(404, "404: Page Not Found")
        self.namespace, self.kind, self.name, sub = rest[1], rest[2], rest[3], rest[4:]
        known, arguments = VERBS[self.kind], []
        name = "/".join(sub)
        if sub[0] == "portforward" and len(sub) in (2, 3):
            name, arguments = "portforward", sub[1:]
        if name not in known:
            raise text(404, "404: Page Not Found")
        if self.command != known[name]:
            raise text(405, "405: Method Not Allowed", {"Allow": known[name]})
        if "*/*" not in self.headers.get("Accept", "*/*") and (self.command == "PUT" or name in ("console", "vnc")):
            raise text(406, "406: Not Acceptable\n\nAvailable representations: ")
        self.allowed(self.namespace, self.kind, name, self.name)
        self.key = self.namespace, self.name
        method = ("vm_" if self.kind == "virtualmachines" else "vmi_") + name.replace("/", "_").replace("-", "_")
        getattr(self, method)(*arguments)

    def allowed(self, namespace, kind, sub, name):
        """As virt-api asks for itself who may do what; its refusal has no body (recording 379)."""
        if not self.connection.getpeercert():
            raise Answer(401)
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": self.headers.get("X-Remote-User", ""), "groups": self.headers.get_all("X-Remote-Group") or [],
            "resourceAttributes": {"namespace": namespace, "verb": "get" if self.command == "GET" else "update", "group": "subresources.kubevirt.io",
                                   "version": self.parts[2], "resource": kind, **({"subresource": sub} if sub else {}), **({"name": name} if name else {})}}}
        if not self.api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)["status"].get("allowed"):
            raise Answer(401)

    def object(self):
        body = self.body()
        try:
            return json.loads(body) if body else {}
        except ValueError as fault:
            raise bad(f"Can not unmarshal Request body to struct, error: json: {fault}")

    def vm(self):
        vm = self.api.find(path(VM, *self.key))
        if not vm:
            raise not_found("virtualmachine", self.name)
        return vm

    def vmi(self, running=True):
        vmi = self.api.find(path(VMI, *self.key))
        if not vmi:
            raise not_found("virtualmachineinstance", self.name)
        if running and (vmi.get("status") or {}).get("phase") != "Running":
            raise conflict("virtualmachineinstance", self.name, "VMI is not running")
        return vmi

    def guest(self, vmi):
        guests.start(vmi["metadata"]["uid"], self.paused(vmi))  # lost with a stand-in that was killed: it begins again
        return guests.of(vmi["metadata"]["uid"])

    def paused(self, vmi):
        return (condition(vmi["status"].get("conditions") or [], "Paused") or {}).get("status") == "True"

    def done(self, options, act, code=202):
        if "All" not in (options.get("dryRun") or []):
            try:
                act()
            except kube.Refused as refused:
                raise Answer(refused.code, refused.body if isinstance(refused.body, dict) else str(refused.body))
        raise Answer(code)

    def to_strategy(self, vm, strategy):
        self.api.patch(path(VM, *self.key), {"spec": {"runStrategy": strategy, **({"running": None} if "running" in vm["spec"] else {})}})

    def want(self, *wanted):
        self.api.patch(path(VM, *self.key, "status"), {"status": {"stateChangeRequests": list(wanted)}})

    def vm_start(self):
        options, vm = self.object(), self.vm()
        vmi, strategy = self.api.find(path(VMI, *self.key)), run_strategy(vm)
        phase = (vmi or {}).get("status", {}).get("phase")
        if vmi and phase not in FINAL:
            raise conflict("virtualmachine", self.name, "VM is already running")
        if strategy in ("Always", "Once"):
            raise conflict("virtualmachine", self.name, f"{strategy} does not support manual start requests")
        start = {"action": "Start", **({"data": {"paused": "true"}} if options.get("paused") else {})}

        def act():
            if vmi and strategy in ("Manual", "RerunOnFailure"):
                self.want({"action": "Stop", "uid": vmi["metadata"]["uid"]}, start)
            elif strategy in ("Manual", "RerunOnFailure") or options.get("paused"):
                self.want(start)
            if strategy == "Halted":
                self.to_strategy(vm, "Always")

        self.done(options, act)

    def vm_stop(self):
        options, vm = self.object(), self.vm()
        vmi, strategy, grace = self.api.find(path(VMI, *self.key)), run_strategy(vm), options.get("gracePeriod")
        alive = vmi and (vmi.get("status") or {}).get("phase") not in FINAL
        if not alive and strategy in ("Halted", "Manual", "RerunOnFailure"):
            raise conflict("virtualmachine", self.name, "VM is not running")
        had = (vmi or {"spec": {}})["spec"].get("terminationGracePeriodSeconds", 30)
        if strategy == "Halted" and (grace is None or grace >= had):
            raise conflict("virtualmachine", self.name, "Halted only supports manual stop requests with a shorter graceperiod")

        def act():
            if vmi and grace is not None:
                self.api.patch(path(VMI, *self.key), {"spec": {"terminationGracePeriodSeconds": grace}})
                self.controller.shorten(self.key, vmi["metadata"]["uid"], grace)
            if strategy in ("Always", "Once"):
                self.to_strategy(vm, "Halted")
            elif strategy != "Halted":
                self.want({"action": "Stop", "uid": vmi["metadata"]["uid"]})

        self.done(options, act)

    def vm_restart(self):
        options, vm = self.object(), self.vm()
        grace, strategy = options.get("gracePeriodSeconds"), run_strategy(vm)
        if grace:
            raise bad("For force restart, only gracePeriod=0 is supported for now")
        if strategy in ("Halted", "Once"):
            raise conflict("virtualmachine", self.name, f"RunStategy {strategy} does not support manual restart requests")
        vmi = self.api.find(path(VMI, *self.key))
        if not vmi:
            raise conflict("virtualmachine", self.name, "VM is not running")
        if (vm.get("status") or {}).get("stateChangeRequests"):
            raise internal("unable to complete request: stop/start already underway")

        def act():
            self.want({"action": "Stop", "uid": vmi["metadata"]["uid"]}, {"action": "Start"})
            if grace == 0:
                self.controller.shorten(self.key, vmi["metadata"]["uid"], 0)

        self.done(options, act)

    def vm_migrate(self):
        options = self.object()
        self.vm()
        vmi = self.api.find(path(VMI, *self.key))
        if not vmi:
            raise not_found("virtualmachineinstance", self.name)
        if (vmi.get("status") or {}).get("phase") != "Running":
            raise conflict("virtualmachine", self.name, "VM is not running")
        selector = options.get("addedNodeSelector")
        self.done(options, lambda: self.api.post(path("kubevirt.io/v1/virtualmachineinstancemigrations", self.namespace), {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"generateName": "kubevirt-migrate-vm-"},
            "spec": {"vmiName": self.name, **({"addedNodeSelector": selector} if selector else {})}}))

    def gate(self, name):
        return gates.is_on(next(iter(self.api.get(path(KUBEVIRT))["items"]), None), name)

    def plugging(self):
        """Whether it is by a request that the controller takes up (HotplugVolumes); else the template is changed."""
        requests = self.gate("HotplugVolumes")
        if not requests and not self.gate("DeclarativeHotplugVolumes"):
            raise bad("Enable DeclarativeHotplugVolumes or HotplugVolumes feature gate to use this API.")
        return requests

    def plug(self, vm, options, kind):
        """kind: addVolumeOptions or removeVolumeOptions."""
        if self.plugging():
            waiting = (vm.get("status") or {}).get("volumeRequests") or []
            if kind == "addVolumeOptions" and any((r.get(kind) or {}).get("name") == options["name"] for r in waiting):
                raise conflict("virtualmachine", self.name, f"add volume request for volume [{options['name']}] already exists")
            # One that is not done yet is taken back by its opposite.
            left = [r for r in waiting if (r.get("addVolumeOptions") or {}).get("name") != options["name"]]
            return self.done(options, lambda: self.api.patch(path(VM, *self.key, "status"), {"status": {"volumeRequests": [*left, {kind: options}]}}))
        changed = plugged(vm["spec"]["template"]["spec"], [{kind: options}])
        return self.done(options, lambda: self.api.patch(path(VM, *self.key), {"spec": {"template": {"spec": changed}}}))

    def vm_addvolume(self):
        self.plugging()
        options, vm = self.object(), self.vm()
        name, source = options.get("name"), options.get("volumeSource")
        if not name:
            raise bad("AddVolumeOptions requires name to be set")
        if not options.get("disk"):
            raise bad("AddVolumeOptions requires disk to not be nil")
        if not source:
            raise bad("AddVolumeOptions requires VolumeSource to not be nil")
        options = {**options, "disk": {**options["disk"], "name": name}, "volumeSource": {kind: {**of, "hotpluggable": True} for kind, of in source.items()}}
        for volume in vm["spec"]["template"]["spec"].get("volumes") or []:
            if volume["name"] == name:
                raise conflict("virtualmachine", self.name, f"Unable to add volume [{name}] because volume with that name already exists")
            if claim_of(volume) and claim_of(volume) == claim_of(source):
                raise conflict("virtualmachine", self.name, f"Unable to add volume source [{claim_of(source)}] because it already exists")
        self.plug(vm, options, "addVolumeOptions")

    def vm_removevolume(self):
        self.plugging()
        options, vm = self.object(), self.vm()
        name = options.get("name")
        if not name:
            raise bad("RemoveVolumeOptions requires name to be set")
        waiting = [r["addVolumeOptions"]["name"] for r in (vm.get("status") or {}).get("volumeRequests") or [] if "addVolumeOptions" in r]
        volume = next((v for v in vm["spec"]["template"]["spec"].get("volumes") or [] if v["name"] == name), None)
        if not volume and name not in waiting:
            raise conflict("virtualmachine", self.name, f"Unable to remove volume [{name}] because it does not exist")
        if volume and not hotpluggable(volume):
            raise conflict("virtualmachine", self.name, f"Unable to remove volume [{name}] because it is not hotpluggable")
        self.plug(vm, options, "removeVolumeOptions")

    def vm_memorydump(self):
        options, vm = self.object(), self.vm()
        claim = options.get("claimName") or ((vm.get("status") or {}).get("memoryDumpRequest") or {}).get("claimName")
        if not claim:
            raise bad("Memory dump requires claim name on first call")
        self.plugging()
        if not self.api.find(path(PVC, self.namespace, claim)):
            raise not_found("persistentvolumeclaim", claim)
        self.vmi()
        if (vm.get("status") or {}).get("memoryDumpRequest", {}).get("phase") not in (None, "Completed", "Failed"):
            raise conflict("virtualmachine", self.name, "memory dump request for pvc already in progress")
        self.done(options, lambda: self.api.patch(path(VM, *self.key, "status"), {"status": {"memoryDumpRequest": {"claimName": claim, "phase": "Associating"}}}))

    def vm_removememorydump(self):
        options, vm = self.object(), self.vm()
        if not (vm.get("status") or {}).get("memoryDumpRequest"):
            raise conflict("virtualmachine", self.name, "memory dump is not associated")
        self.done(options, lambda: self.api.patch(path(VM, *self.key, "status"), {"status": {"memoryDumpRequest": {"phase": "Dissociating", "remove": True}}}))

    def vm_evacuate_cancel(self):
        self.vmi(False)
        raise Answer(200)

    vmi_evacuate_cancel = vm_evacuate_cancel

    def vm_objectgraph(self):
        raise bad("ObjectGraph feature gate not enabled: Unable to return object graph.")

    vmi_objectgraph = vm_objectgraph

    def vm_expand_spec(self):
        raise Answer(200, self.expanded(self.vm(), self.namespace))

    def expanded(self, vm, namespace):
        wanted = vm["spec"].get("instancetype") or {}
        if wanted.get("name"):
            of = webhooks.instancetype(wanted, namespace, self.api)
            if not of:
                raise bad(f'instancetype "{wanted["name"]}" not found')
            vm["spec"].pop("instancetype")
            vm["spec"]["template"]["spec"]["domain"] |= {"cpu": {"sockets": of["spec"]["cpu"]["guest"], "cores": 1, "threads": 1},
                                                         "memory": {"guest": of["spec"]["memory"]["guest"]}}
        return vm

    # --- of an instance ----------------------------------------------------------------------------------------------

    def change_conditions(self, vmi, *arguments, **options):
        conditions = set_condition(vmi["status"].get("conditions") or [], *arguments, **options)
        self.api.patch(path(VMI, *self.key), {"status": {"conditions": conditions}})

    def vmi_pause(self):
        options, vmi = self.object(), self.vmi()
        if self.paused(vmi):
            raise conflict("virtualmachineinstance", self.name, "VMI is already paused")

        def act():
            guests.pause(vmi["metadata"]["uid"], True)
            self.change_conditions(vmi, "Paused", "True", "PausedByUser", "VMI was paused by user")

        self.done(options, act, 200)

    def vmi_unpause(self):
        options, vmi = self.object(), self.vmi()
        if not self.paused(vmi):
            raise conflict("virtualmachineinstance", self.name, "VMI is not paused")

        def act():
            guests.pause(vmi["metadata"]["uid"], False)
            conditions = [c for c in vmi["status"]["conditions"] if c["type"] != "Paused"]
            self.api.patch(path(VMI, *self.key), {"status": {"conditions": set_condition(conditions, "Ready", "True")}})

        self.done(options, act, 200)

    def vmi_freeze(self):
        options, vmi = self.object(), self.vmi()
        if not agent(vmi):
            raise internal("QEMU guest agent is not connected")
        self.done(options, lambda: self.api.patch(path(VMI, *self.key), {"status": {"fsFreezeStatus": "frozen"}}), 200)

    def vmi_unfreeze(self):
        self.done(self.object(), lambda vmi=self.vmi(): self.api.patch(path(VMI, *self.key), {"status": {"fsFreezeStatus": None}}), 200)

    def vmi_softreboot(self):
        options, vmi = self.object(), self.vmi()
        if self.paused(vmi):
            raise conflict("virtualmachineinstance", self.name, "VMI is paused")
        self.done(options, lambda: self.guest(vmi).boot(), 200)

    def vmi_reset(self):
        options, vmi = self.object(), self.vmi()
        self.done(options, lambda: self.guest(vmi).boot(), 200)

    def vmi_addvolume(self):
        raise bad(f"VMI {self.namespace}/{self.name} is owned by a VM")

    vmi_removevolume = vmi_addvolume

    def from_agent(self):
        """Faults of these come as plain text and 500, whatever they are (recording 62)."""
        vmi = self.api.find(path(VMI, *self.key))
        if not vmi:
            raise text(500, f'virtualmachineinstance.kubevirt.io "{self.name}" not found')
        if (vmi.get("status") or {}).get("phase") != "Running":
            raise text(500, f'Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "{self.name}": VMI is not running')
        if not agent(vmi):
            raise text(500, f'Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "{self.name}": VMI does not have guest agent connected')

    def filesystems(self):
        """More than one where a test says so (vmctl.test/filesystems)."""
        count = int(annotation(self.api.find(path(VMI, *self.key)), "vmctl.test/filesystems") or 1)
        return [*DISKS, *({**DISKS[0], "diskName": f"vdb{n}", "mountPoint": f"/srv/{n}"} for n in range(1, count))]

    def vmi_guestosinfo(self):
        """Of each list at most ten (virt-launcher, GetGuestInfo)."""
        self.from_agent()
        raise Answer(200, {"fsInfo": {"disks": self.filesystems()[:10]}, "guestAgentVersion": "7.2.0", "hostname": self.name, "os": GUEST_OS,
                           "supportedCommands": [{"enabled": True, "name": "guest-ping"}], "timezone": "UTC, 0", "userList": USERS})

    def vmi_userlist(self):
        self.from_agent()
        raise Answer(200, {"items": USERS, "metadata": {}})

    def vmi_filesystemlist(self):
        self.from_agent()
        raise Answer(200, {"items": self.filesystems(), "metadata": {}})

    def with_display(self):
        """The instance, unless it has no display (virt-api's vmiHasDisplay)."""
        vmi = self.vmi()
        if vmi["spec"]["domain"]["devices"].get("autoattachGraphicsDevice") is False:
            raise bad("No graphics devices are present.")
        return vmi

    def vmi_vnc_screenshot(self):
        vmi = self.with_display()
        raise Answer(200, picture(self.guest(vmi).colours()), "image/png")

    # --- streams -----------------------------------------------------------------------------------------------------

    def socket(self):
        if "upgrade" not in self.headers.get("Connection", "").lower():
            words = "websocket: the client is not using the websocket protocol: 'upgrade' token not found in 'Connection' header"
            body = json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": words, "reason": "BadRequest",
                               "code": 400}, indent=1)
            raise text(400, "Bad Request\n" + body, {"Sec-Websocket-Version": "13"})  # recording 57: both of them
        return web.WebSocket(self, SUBPROTOCOL)

    def vmi_console(self):
        vmi = self.vmi()
        flood = annotation(vmi, "vmctl.test/flood")
        guest, link = self.guest(vmi), self.socket()
        if flood:
            return self.flood(link, int(flood))
        mine = guest.reader = object()  # a newer console takes it from an older
        at = len(guest.text())

        def show():
            try:
                for piece in guest.follow(at, lambda: guest.reader is mine):
                    link.send(piece)
                link.close(1000)
            except OSError:
                pass

        threading.Thread(target=show, daemon=True).start()
        for data in link.messages():
            guest.typed(data)
        if guest.reader is mine:
            guest.reader = None

    def flood(self, link, size):
        """So many bytes, each the low byte of its place divided by 251: a lost one shows."""
        pattern = bytes(i % 251 for i in range(251 * 261))
        sent = 0
        while sent < size:
            piece = pattern[:min(len(pattern), size - sent)]
            link.send(piece)
            sent += len(piece)
        link.close(1000)
        for _ in link.messages():
            pass

    def vmi_vnc(self):
        vmi = self.with_display()
        port = annotation(vmi, "vmctl.test/vnc")
        if port:
            return self.tunnel(self.dial(int(port)))
        link = self.socket()
        link.send(b"RFB 003.008\n")
        for data in link.messages():
            link.send(data)

    def dial(self, port):
        try:
            return socket.create_connection(("127.0.0.1", port), 5)
        except OSError:
            raise internal(f"dialing VM: dial tcp 127.0.0.1:{port}: connect: connection refused")

    def vmi_portforward(self, port, protocol="tcp"):
        vmi = self.vmi()
        if self.paused(vmi):
            raise conflict("virtualmachineinstance", self.name, "VMI is paused")
        if protocol != "tcp":
            raise bad(f"unsupported protocol {protocol}")
        ports = json.loads(annotation(vmi, "vmctl.test/ports") or "{}")
        self.tunnel(self.dial(int(ports.get(port, port))), ping=True)

    vm_portforward = vmi_portforward

    def tunnel(self, far, ping=False):
        """Bytes both ways. A forwarded port is pinged every second, and dropped after a minute without an answer."""
        far.settimeout(None)
        link, lock = self.socket(), threading.Lock()
        over = threading.Event()

        def send(*arguments):
            with lock:
                link.send(*arguments)

        def from_far():
            try:
                while data := far.recv(32768):
                    send(data)
                send(struct.pack("!H", 1000), link.CLOSE)
            except OSError:
                pass
            over.set()

        def pinging():
            while not over.wait(1):
                try:
                    send(b"", link.PING)
                except OSError:
                    return

        threading.Thread(target=from_far, daemon=True).start()
        if ping:
            threading.Thread(target=pinging, daemon=True).start()
        try:
            for data in link.messages():
                far.sendall(data)
            far.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        over.wait(5)
        far.close()

    def vmi_usbredir(self):
        raise bad("Not configured with USB Redirection")

    def vmi_vsock(self):
        raise bad("VSOCK feature gate is not enabled")

    # --- CDI ---------------------------------------------------------------------------------------------------------

    def upload_token(self):
        request = self.object()
        claim, namespace = (request.get("spec") or {}).get("pvcName"), self.parts[4]
        disk = self.api.find(path(DV, namespace, claim)) if claim else None
        if not self.api.find(path(PVC, namespace, claim or "none")):
            raise status(503, f"PersistentVolumeClaim {namespace}/{claim} does not exist", "ServiceUnavailable")
        seconds = float((disk and annotation(disk, "vmctl.test/token-seconds")) or 300)
        token = self.tokens.make(namespace, claim, seconds)
        raise Answer(201, {"kind": "UploadTokenRequest", "apiVersion": "upload.cdi.kubevirt.io/v1beta1",
                           "metadata": {"name": (request.get("metadata") or {}).get("name"), "namespace": namespace, "creationTimestamp": None},
                           "spec": {"pvcName": claim}, "status": {"token": token}})


class Kubelet(web.Handler):
    """A node's, for what the API server asks it for: the log of a guest."""

    controller = None

    def answer(self):
        if self.parts[0] != "containerLogs" or len(self.parts) != 4:
            raise text(404, "404 page not found")
        namespace, pod, container = self.parts[1:]
        uid = next((uid for uid, name in self.controller.pods.items() if name == pod), None)
        guest = guests.of(uid)
        if not guest or container != "guest-console-log":
            raise text(200, "")
        if self.query.get("follow") != "true":
            log = guest.text()
            if "tailLines" in self.query:
                log = b"".join(log.splitlines(True)[-int(self.query["tailLines"]):] if self.query["tailLines"] != "0" else [])
            raise Answer(200, log, "text/plain")
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        at = 0
        if "tailLines" in self.query:
            log = guest.text()
            at = len(log) - len(b"".join(log.splitlines(True)[-int(self.query["tailLines"]):] if self.query["tailLines"] != "0" else []))
        for piece in guest.follow(at, lambda: True):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")


def picture(colours, width=320, height=200):
    """A PNG of four quarters."""
    upper, lower = (b"\0" + left * (width // 2) + right * (width // 2) for left, right in (colours[:2], colours[2:]))
    rows = upper * (height // 2) + lower * (height // 2)

    def chunk(kind, data):
        return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack("!2I5B", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class Tokens:
    """Of CDI's uploads: to which claim each leads, and until when."""

    def __init__(self):
        self.known, self.lock = {}, threading.Lock()

    def make(self, namespace, claim, seconds):
        head, body = (kube.b64(json.dumps(part).encode()).rstrip("=") for part in (
            {"alg": "PS256"}, {"pvcName": claim, "namespace": namespace, "exp": int(time.time() + seconds), "iss": "cdi-apiserver", "n": time.time_ns()}))
        token = f"{head}.{body}.c2lnbmF0dXJl"
        with self.lock:
            self.known[token] = (namespace, claim, time.time() + seconds)
        return token

    def claim(self, token):
        with self.lock:
            namespace, claim, until = self.known.get(token, (None, None, 0))
        return (namespace, claim) if time.time() < until else None


class UploadProxy(web.Handler):
    """cdi-uploadproxy: what is sent lies in FOLDER/uploads/NAMESPACE/CLAIM afterwards."""

    api = tokens = folder = None

    def answer(self):
        if self.parts[0] == "healthz":
            raise text(200, "OK")
        if self.parts not in (["v1beta1", "upload"], ["v1beta1", "upload-async"]) or self.command not in ("HEAD", "POST"):
            raise text(404, "404 page not found")
        to = self.tokens.claim(self.headers.get("Authorization", "").removeprefix("Bearer "))
        if not to:
            self.close_connection = True
            raise Answer(401)
        disk = self.api.find(path(DV, *to))
        if not disk or (disk.get("status") or {}).get("phase") != "UploadReady":
            self.close_connection = True
            raise text(503, "persistentvolumeclaims is not ready for upload" if disk else f"PVC {to[1]} is not found")
        if self.command == "HEAD":
            raise Answer(200)
        place = self.folder / "uploads" / to[0]
        place.mkdir(parents=True, exist_ok=True)
        part = place / f"{to[1]}.part"
        with open(part, "wb") as out:
            self.unread = False
            for piece in self.pieces():
                out.write(piece)
        if (wanted := self.headers.get("Content-Length")) and part.stat().st_size != int(wanted):
            raise text(400, "unexpected EOF")
        part.rename(place / to[1])
        self.api.patch(path(DV, *to, "status"), {"status": {**disk["status"], "phase": "Succeeded", "progress": "100.0%"}})
        raise Answer(200)

    def pieces(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline().split(b";")[0], 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers.get("Content-Length") or 0)
        while left and (piece := self.rfile.read(min(left, 1 << 20))):
            left -= len(piece)
            yield piece
