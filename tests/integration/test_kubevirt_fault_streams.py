#!/usr/bin/env python3
"""Faults of what goes on for long: consoles, forwarded ports and displays over WebSockets, and uploads through CDI. The far end is the tests'
cluster behind tests/kubevirt/fault_proxy.py."""

import json
import os
import signal
import socket
import subprocess
import threading

import harness
from harness import vmctl

from faulty import YAML, Faulty, fault, kube
from fault_proxy import Rule

# (what happens, the act, how often, the status, words of the error, how many were asked for); the console is to come to a line that it never comes to
# where it ends before.
CONSOLES = [
    ("none", None, 0, 0, "", 1),
    ("small pieces", fault.trickle(3, 40), 1, 0, "", 1),
    ("cut in its middle", fault.after(16, fault.bytes_then(b"")), 1, 9, "unavailable", 1),
    ("an end of TCP's without a farewell", fault.after(16, fault.bytes_then(b"", cut_off=False)), 1, 9, "unavailable", 1),
    ("half a frame, then cut", fault.after(0, fault.bytes_then(fault.frame(b"vmctl gue", length=100))), 1, 9, "unavailable", 1),
    ("half a frame, then an end", fault.after(0, fault.bytes_then(fault.frame(b"vmctl gue", length=100), cut_off=False)), 1, 9, "unavailable", 1),
    ("half a frame's head", fault.after(0, fault.bytes_then(b"\x82\x7e\x01", cut_off=False)), 1, 9, "unavailable", 1),
    ("close 1000", fault.after(0, fault.closes(1000)), 1, 6, "", 1),
    ("close 1001, going away", fault.after(0, fault.closes(1001, "virt-handler is shutting down")), 1, 9, "virt-handler is shutting down", 1),
    ("close 1011, internal error", fault.after(0, fault.closes(1011, "no serial port")), 1, 9, "no serial port", 1),
    ("close 1008, policy", fault.after(0, fault.closes(1008, "too many")), 1, 9, "too many", 1),
    ("a frame that is masked", fault.after(0, fault.bytes_then(fault.frame(b"\0\0\0\0abc", mask=True, length=3))), 1, 9, "", 1),
    ("a frame of a kind that there is not", fault.after(0, fault.bytes_then(fault.frame(b"abc", opcode=5))), 1, 9, "", 1),
    ("a 101 for somebody else", fault.accepts_wrongly, 1, 9, "", 1),
    ("cut before an answer", fault.cut, None, 9, "unavailable", None),
    ("no upgrade but 200", fault.answer(200, {"kind": "Status"}), 1, 9, "", 1),
    ("led elsewhere", fault.answer(302, b"", {"Location": "https://login.example/"}), 1, 9, "login.example", 1),
    ("400 and text", fault.answer(400, "Bad Request\n", kind="text/plain"), 1, 2, "", 1),
    ("401, the token is over", fault.EXPIRED, None, 7, "unauthenticated", None),
    ("401 without a word", fault.answer(401, b""), None, 7, "permission-denied", 1),
    ("403", fault.status(403, 'virtualmachineinstances.subresources.kubevirt.io "x" is forbidden: User "u" cannot get resource '
                         '"virtualmachineinstances/console" in API group "subresources.kubevirt.io" in the namespace "default"', "Forbidden"), None, 7,
     ["permission-denied", "virtualmachineinstances/console"], 1),
    ("404 and text", fault.answer(404, "404: Page Not Found", kind="text/plain"), None, 3, "unsupported", 1),
    ("429 with Retry-After", fault.BUSY, 1, 0, "", 2),
    ("429 without", fault.BUSY_FOR_GOOD, None, 6, "busy", 1),
    ("500 and text", fault.answer(500, "dialing virt-handler: EOF\n", kind="text/plain"), None, 9, "dialing virt-handler: EOF", None),
    ("502 of a proxy, a page", fault.answer(502, "<html><body>Bad Gateway</body></html>", kind="text/html"), None, 9, "502", 1),
    ("503, virt-api is away", fault.DOWN, None, 9, "service unavailable", 1),
    ("504", fault.status(504, "the server was unable to return a response in the time allotted", "Timeout"), None, 8, "timeout", 1),
]
# (what happens, the act, what who dialled sees, how much of what the guest sends at most)
TUNNELS = [
    ("cut in its middle", fault.after(1000, fault.bytes_then(b"")), "reset", 1 << 17),
    ("an end between two frames, as virt-api's own (recording 157)", fault.after(1000, fault.bytes_then(b"", cut_off=False)), "end", 1 << 17),
    ("half a frame, then an end", fault.after(0, fault.bytes_then(fault.frame(bytes(range(9)), length=100), cut_off=False)), "reset", 9),
    ("close 1011", fault.after(0, fault.closes(1011, "no such port")), "reset", 0),
    ("cut before an answer", fault.cut, "reset", 0),
    ("403", fault.status(403, "no", "Forbidden"), "reset", 0),
    ("500 and text", fault.answer(500, "dial tcp: connection refused", kind="text/plain"), "reset", 0),
    ("503, virt-api is away", fault.DOWN, "reset", 0),
]

DATA, LOOK = ("POST", "/upload"), ("HEAD", "/upload")
# (what happens, the rule, the status, words, how often bytes were sent)
UPLOADS = [
    ("cut once", lambda: Rule(*DATA, fault.cut_upload(1 << 20), 1), 0, "was cut off and begins again", 2),
    ("cut before a byte", lambda: Rule(*DATA, fault.cut_upload(0), 1), 0, "was cut off and begins again", 2),
    ("cut for good", lambda: Rule(*DATA, fault.cut_upload(1 << 20), None), 9, "unavailable", 3),
    ("answer lost, all is there", lambda: Rule(*DATA, fault.lose_answer, 1), 0, "", 1),
    ("401, the token is over", lambda: Rule(*DATA, fault.answer(401, b""), 1), 0, "begins again", 2),
    ("401 at the first look", lambda: Rule(*LOOK, fault.answer(401, b""), 1), 0, "", 1),
    ("503, not ready yet", lambda: Rule(*LOOK, fault.DOWN, 1), 0, "", 1),
    ("500 once", lambda: Rule(*DATA, fault.answer(500, "no space left on device\n", kind="text/plain"), 1), 0, "begins again", 2),
    ("500 for good", lambda: Rule(*DATA, fault.answer(500, "no space left on device\n", kind="text/plain"), None), 9, "unavailable", 3),
    ("400", lambda: Rule(*DATA, fault.answer(400, "unexpected EOF\n", kind="text/plain"), None), 2, "", 1),
    ("429 with Retry-After", lambda: Rule(*DATA, fault.BUSY, 1), 0, "", 2),
]


class Streams(Faulty):
    # --- WebSockets --------------------------------------------------------------------------------------------------

    def streaming(self, name, **annotations):
        """A VM that runs, with those annotations of the stand-in's."""
        path = self.world / f"{name}.yaml"
        notes = {f"vmctl.test/{key}": value if isinstance(value, str) else json.dumps(value) for key, value in annotations.items()}
        patch = [{"op": "add", "path": "/spec/template/metadata/annotations", "value": notes}] if notes else []
        path.write_text(YAML.format(name=name) + f"kubevirt: {{patch: {json.dumps(patch)}}}\n")
        self.proxy.set()
        self.ok(vmctl("create", str(path), "--start"))
        self.addCleanup(lambda: (self.proxy.set(), vmctl("--backend", "kubevirt", "delete", name, "--force")))
        return name

    def test_console(self):
        """Every end that a console's WebSocket can come to, told as what it is; one that was refused is asked for once."""
        name = self.streaming("fault-console")
        for what, act, times, status, words, count in CONSOLES:
            with self.subTest(fault=what):
                self.proxy.set(Rule("GET", "/console$", act, times))
                result = vmctl("--backend", "kubevirt", "console", name, "--until", "no such words" if status else "line [0-9]*4", "--timeout", "30s", env=self.env, timeout=60)
                self.assertEqual(result.status, status, str(result))
                self.assertNotIn("AddressSanitizer", result.err)
                for word in [words] if isinstance(words, str) else words:
                    self.assertIn(word, result.err)
                if count is not None:
                    self.assertEqual(len(self.proxy.requests("GET", "/console$")), count, [(s.method, s.target, s.status) for s in self.proxy.seen])
        self.assertEqual(self.left(), [])

    def listener(self, name, verb, *arguments):
        """vmctl beside the test; its last operand comes first."""
        child = subprocess.Popen([harness.VMCTL, "--backend", "kubevirt", verb, *arguments, name], env={**os.environ, **self.env}, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True)
        return self.beside(child)

    def test_port_forward(self):
        """A connection of a forwarded port that fails takes nothing with it: who dialled sees it end, the next one works, and so does the end of all."""
        server = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(server.close)
        greeting = bytes(range(256)) * 512

        def serve():
            try:
                while True:
                    peer = server.accept()[0]
                    peer.sendall(greeting)
                    peer.close()
            except OSError:
                pass

        threading.Thread(target=serve, daemon=True).start()
        name = self.streaming("fault-ports", ports={"80": server.getsockname()[1]})
        child = self.listener("0:80", "port-forward", name)
        port = int(child.stdout.readline().split(" ")[0].split(":")[1])

        def dial():
            with socket.create_connection(("127.0.0.1", port), 20) as link:
                link.settimeout(30)
                got = b""
                try:
                    while piece := link.recv(65536):
                        got += piece
                except ConnectionResetError:
                    return got, "reset"
                return got, "end"

        for what, act, how, most in TUNNELS:
            with self.subTest(fault=what):
                self.proxy.set(Rule("GET", "/portforward/80", act, 1))
                got, end = dial()
                self.assertEqual(end, how)
                self.assertTrue(greeting.startswith(got))
                self.assertLessEqual(len(got), most)
                self.assertEqual(dial(), (greeting, "end"))  # the next one works
        self.proxy.set(Rule("GET", "/portforward/80", fault.trickle(7, 200), 1))
        self.assertEqual(dial(), (greeting, "end"))
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, err)
        self.assertNotIn("AddressSanitizer", err)
        self.assertEqual(self.left(), [])

    def test_display(self):
        """The same of a display: a viewer that was cut off may come again."""
        name = self.streaming("fault-shows")
        child = self.listener(name, "display", "-o", "jsonl")
        port = json.loads(child.stdout.readline())["port"]
        for act in (fault.after(0, fault.bytes_then(b"")), fault.after(0, fault.bytes_then(fault.frame(b"RFB 0", length=12))), fault.cut, fault.DOWN):
            self.proxy.set(Rule("GET", "/vnc", act, 1))
            with socket.create_connection(("127.0.0.1", port), 20) as viewer:
                viewer.settimeout(30)
                try:
                    self.assertIn(viewer.recv(12), (b"", b"RFB 0"))
                except ConnectionResetError:
                    pass
            with socket.create_connection(("127.0.0.1", port), 20) as viewer:
                viewer.settimeout(30)
                self.assertEqual(viewer.recv(12), b"RFB 003.008\n")
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, err)

    # --- uploads -----------------------------------------------------------------------------------------------------

    def uploading(self):
        """A fault proxy before CDI's upload proxy, which the cluster shows instead of it; an image of 4 MiB."""
        config = "/apis/cdi.kubevirt.io/v1beta1/cdiconfigs/config"
        before = self.api.get(config)["status"]["uploadProxyURL"]
        certs = self.world / "kubernetes/certs"
        proxy = fault.FaultProxy(kube.Api(before, str(certs / "ca.crt")), certs)
        show = lambda address: self.api.patch(config, {"status": {"uploadProxyURL": address}})  # noqa: E731
        show(f"https://127.0.0.1:{proxy.port}")
        self.addCleanup(show, before)
        image = self.world / "cut.img"
        image.write_bytes(os.urandom(4 << 20))
        return proxy, image

    def volumes(self):
        return [v["metadata"]["name"] for v in self.api.get("/apis/cdi.kubevirt.io/v1beta1/namespaces/default/datavolumes")["items"]]

    def test_upload(self):
        """Of an upload that breaks: it begins again (CDI takes no rest of one) and the image is whole, or what it made is removed again."""
        proxy, image = self.uploading()
        there = self.world / "kubernetes/uploads/default"
        for number, (what, rule, status, words, posts) in enumerate(UPLOADS):
            with self.subTest(fault=what):
                name = f"cut-{number}"
                proxy.set(rule())
                result = vmctl("--backend", "kubevirt", "image", "upload", str(image), "--name", name, timeout=120)
                self.assertEqual(result.status, status, str(result))
                self.assertIn(words, result.err)
                self.assertNotIn("AddressSanitizer", result.err)
                self.assertNotIn("Bearer", result.err)
                if posts is not None:
                    self.assertEqual(len(proxy.requests("POST")), posts, [(s.method, s.target, s.status) for s in proxy.seen])
                if status == 0:
                    self.assertTrue((there / name).read_bytes() == image.read_bytes())
                    self.ok(vmctl("--backend", "kubevirt", "image", "delete", name))
                self.wait_for("the data volume to be gone", lambda: self.volumes() == [])
        self.assertEqual(self.left(), [])

    def test_upload_that_is_ended(self):
        """^C in its middle removes what it made; a death does not, and the next change of that endpoint does."""
        proxy, image = self.uploading()
        for signal_number, status in ((signal.SIGINT, 130), (signal.SIGKILL, -9)):
            with self.subTest(signal=signal_number):
                proxy.set(Rule("POST", "/upload", fault.hang_upload(1 << 20), None))
                child = self.listener("ended", "image", "upload", str(image), "--name")
                self.assertTrue(proxy.server.taken.wait(60), "no upload came")
                child.send_signal(signal_number)
                _, err = child.communicate(timeout=60)
                self.assertEqual(child.returncode, status, err)
                proxy.set()
                if status < 0:
                    self.assertEqual(self.volumes(), ["ended"])
                    self.ok(vmctl("--backend", "kubevirt", "image", "upload", str(image), "--name", "next", env=self.env))
                    self.wait_for("the old one to be gone", lambda: self.volumes() == ["next"])
                    self.ok(vmctl("--backend", "kubevirt", "image", "delete", "next"))
                self.wait_for("the data volume to be gone", lambda: self.volumes() == [])
        self.assertEqual(self.left(), [])


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
