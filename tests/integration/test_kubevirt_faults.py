#!/usr/bin/env python3
"""What a bad network, a tired API server and a virt-api that is away do to vmctl on KubeVirt: one table, fault x operation. The exit status
is CLI.md's; nothing is done twice, and what failed left nothing behind. What is sent again: what the server asks to send again, reads whose
connection broke, and writes of which the object shows that they were not done. test_kubevirt_fault_matrix has every verb's lost answers."""

import base64
import json
import os
import pathlib
import subprocess
import sys
import unittest

import harness
from harness import vmctl

from faulty import RUNNING, SUB, VMS, Faulty, fault
from fault_http2 import Http2Proxy
from fault_proxy import Rule
from proxy import ConnectProxy

CREATE, START, STOP, PAUSE, DELETE = (("POST", f"{VMS}\\?"), ("PUT", "/start$"), ("PUT", "/stop$"), ("PUT", "/pause$"), ("DELETE", f"{VMS}/"))
LIST, GET, WATCH = ("GET", f"{VMS}\\?limit"), ("GET", f"{VMS}/"), ("GET", "watch=true")

DONE = {"start": "running", "stop": "stopped", "pause": "paused", "restart": "running"}  # the state after the verb was done

# (what happens, to which requests, how often, the command, its status, words of its error, how many such requests in all, the VM's state then)
# A VM that is not there has state None.
TABLE = [
    ("429 with Retry-After", fault.BUSY, LIST, 1, "list", 0, "", 2, "stopped"),
    ("429 with Retry-After", fault.BUSY, CREATE, 1, "create", 0, "", 2, "stopped"),
    ("429 with Retry-After", fault.BUSY, START, 1, "start", 0, "", 2, "running"),
    ("429 with Retry-After", fault.BUSY, WATCH, 1, "start", 0, "", None, "running"),
    ("429 without", fault.BUSY_FOR_GOOD, LIST, None, "list", 6, "busy", 1, "stopped"),
    ("429 without", fault.BUSY_FOR_GOOD, CREATE, None, "create", 6, "busy", 1, None),
    ("429 without", fault.BUSY_FOR_GOOD, START, None, "start", 6, "busy", 1, "stopped"),
    ("500 of a webhook", fault.WEBHOOK, CREATE, None, "create", 9, "virt-api", 1, None),
    ("401, the token is over", fault.EXPIRED, LIST, None, "list", 7, "unauthenticated", None, "stopped"),
    ("401, the token is over", fault.EXPIRED, CREATE, None, "create", 7, "unauthenticated", None, None),
    ("503, virt-api is away", fault.DOWN, START, None, "start", 9, "unavailable", 1, "stopped"),
    ("503, virt-api is away", fault.DOWN, PAUSE, None, "pause", 9, "unavailable", 1, "running"),
    ("cut before the answer", fault.cut, LIST, 1, "list", 0, "", 2, "stopped"),
    ("cut before the answer", fault.cut, GET, 1, "get", 0, "", None, "stopped"),
    ("cut for good", fault.cut, LIST, None, "list", 9, "unavailable", None, "stopped"),
    ("cut before the answer", fault.cut, CREATE, None, "create", 9, "", None, None),
    ("answer lost", fault.lose_answer, DELETE, 1, "delete", 0, "", 1, None),
    ("half a JSON", fault.half, LIST, 1, "list", 0, "", 2, "stopped"),
    ("half a JSON", fault.half, GET, 1, "get", 0, "", None, "stopped"),
    ("no JSON", fault.rubbish, LIST, None, "list", 9, "ended in its middle", None, "stopped"),
    ("no JSON", fault.rubbish, GET, None, "get", 9, "is this an API server", None, "stopped"),
    ("bytes that trickle", fault.slow(1), LIST, 1, "list", 0, "", 1, "stopped"),
    ("bytes that trickle", fault.slow(1), CREATE, 1, "create", 0, "", 1, "stopped"),
    ("no answer at all", fault.hang, LIST, None, "list --timeout 2s", 8, "timeout", 1, "stopped"),
    ("no answer at all", fault.hang, CREATE, None, "create --timeout 2s", 8, "timeout", None, None),
    ("the watch cut at once", fault.watch_cut(0), WATCH, 2, "start", 0, "", None, "running"),
    ("the watch cut after an event", fault.watch_cut(1), WATCH, 2, "start", 0, "", None, "running"),
    ("the watch cut within an event", fault.watch_cut(0, in_line=True), WATCH, 2, "start", 0, "", None, "running"),
    ("the watch cut within an event", fault.watch_cut(1, in_line=True), WATCH, 2, "stop", 0, "", None, "stopped"),
    ("410 in the watch", fault.watch_expired, WATCH, 2, "start", 0, "", None, "running"),
    ("410 in the watch", fault.watch_expired, WATCH, 2, "delete", 0, "", None, None),
    ("410 in the watch", fault.watch_expired, WATCH, 2, "stop", 0, "", None, "stopped"),
    ("410 instead of the watch", fault.GONE, WATCH, 1, "start", 0, "", None, "running"),
    ("the watch ends at once", fault.watch_ends(0), WATCH, 3, "start", 0, "", None, "running"),
    ("the watch ends after an event", fault.watch_ends(1), WATCH, 3, "stop", 0, "", None, "stopped"),
    ("the watch cut within a chunk", fault.cut_in_chunk, WATCH, 2, "start", 0, "", None, "running"),
    ("the watch forbidden", fault.FORBIDDEN, WATCH, None, "start", 7, "cannot watch", 1, "running"),
    ("cut within a chunk", fault.cut_in_chunk, LIST, 1, "list", 0, "", 2, "stopped"),
    ("cut within a chunk", fault.cut_in_chunk, GET, 1, "get", 0, "", None, "stopped"),
    ("cut within a chunk", fault.cut_in_chunk, CREATE, 1, "create", 0, "", 1, "stopped"),
    ("half a JSON", fault.half, CREATE, 1, "create", 0, "", 1, "stopped"),
    ("half a JSON", fault.half, DELETE, 1, "delete", 0, "", 1, None),
    ("no JSON", fault.rubbish, CREATE, 1, "create", 0, "", 1, "stopped"),
    ("answer lost", fault.lose_answer, CREATE, 1, "create", 0, "", 1, "stopped"),
    ("bytes that trickle", fault.slow(0.5), GET, 1, "get", 0, "", 1, "stopped"),
    ("503 with Retry-After", fault.OVERLOADED, LIST, 1, "list", 0, "", 2, "stopped"),
    ("503 with Retry-After", fault.OVERLOADED, START, 1, "start", 9, "unavailable", 1, "stopped"),
    ("503 with Retry-After", fault.OVERLOADED, CREATE, 1, "create", 9, "unavailable", 1, None),
    ("504", fault.TOO_LATE, LIST, 1, "list", 8, "timeout", 1, "stopped"),
    ("504", fault.TOO_LATE, CREATE, None, "create", 8, "whether it was done is not known", 1, None),
    ("no answer at all", fault.hang, START, None, "start --timeout 2s", 8, "whether it was done is not known", 1, "stopped"),
    ("no answer at all", fault.hang, DELETE, None, "delete --timeout 2s", 8, "whether it was done is not known", 1, "stopped"),
    ("led to a login page", fault.LOGIN, LIST, None, "list", 9, "login.example", 1, "stopped"),
    ("led to a login page", fault.LOGIN, CREATE, None, "create", 9, "login.example", 1, None),
    ("a page instead of JSON", fault.PAGE, LIST, None, "list", 9, "is this an API server", None, "stopped"),
    ("a page instead of JSON", fault.PAGE, GET, None, "get", 9, "is this an API server", None, "stopped"),
    ("401, the token is over", fault.EXPIRED, START, None, "start", 7, "unauthenticated", None, "stopped"),
    ("401, the token is over", fault.EXPIRED, DELETE, None, "delete", 7, "unauthenticated", None, "stopped"),
]

# (the verb's own request, the command, the VM's state after it); one after the other on one VM that runs at first.
BUSY = [
    (PAUSE, "pause {}", "paused"), (("PUT", "/unpause$"), "resume {}", "running"), (("PUT", "/reset$"), "reset {}", "running"),
    (("PUT", "/restart$"), "restart {}", "running"), (("PUT", "/freeze$"), "freeze {}", "running"), (("PUT", "/unfreeze$"), "thaw {}", "running"),
    (("POST", "/virtualmachineinstancemigrations"), "migrate {} --to host:node02", "running"), (STOP, "stop {}", "stopped"),
    (("PATCH", f"{VMS}/"), "set {} cpus=2", "stopped"), (("POST", "/virtualmachinesnapshots"), "snapshot create {} s1", "stopped"),
    (("POST", "/virtualmachinerestores"), "snapshot revert {} s1", "stopped"), (("DELETE", "/virtualmachinesnapshots/"), "snapshot delete {} s1", "stopped"),
    (("POST", "/virtualmachineclones"), "clone {0} {0}-copy", "stopped"), (START, "start {}", "running"),
    (DELETE, "delete {0}-copy", "running"), (DELETE, "delete {} --force", None),
]


class Faults(Faulty):
    def test_table(self):
        for number, (what, act, (method, pattern), times, command, status, words, count, state) in enumerate(TABLE):
            verb, *options = command.split()
            with self.subTest(fault=what, operation=command):
                name = f"fault-{number}"
                self.proxy.set()
                argument = self.prepare(name, verb)
                self.proxy.set(Rule(method, pattern, act, times))
                result = vmctl("--backend", "kubevirt", verb, *([] if verb == "list" else [argument]), *options, env=self.env, timeout=60)
                self.assertEqual(result.status, status, str(result))
                self.assertNotIn("AddressSanitizer", result.err)
                self.assertNotIn("hunter2", result.err)
                self.assertIn(words, result.err)
                hits = self.proxy.requests(method, pattern)
                if count is not None:
                    self.assertEqual(len(hits), count, [(s.method, s.target, s.status) for s in self.proxy.seen])
                if verb in DONE:  # asked for once, whatever the watch went through
                    self.assertEqual(len([s for s in self.proxy.requests("PUT") if s.status and s.status < 300]), int(state == DONE[verb]))
                if state is None:
                    self.wait_for("the VM to be gone", lambda: self.state(name) is None)
                else:
                    self.wait_for(f"state {state}", lambda: self.state(name) == state)
                self.proxy.set()
                if self.state(name):
                    vmctl("--backend", "kubevirt", "delete", name, "--force")
        self.assertEqual(self.left(), [])

    def test_busy(self):
        """429 at each verb's own request: without Retry-After it is told and nothing was done, with it the request is sent once more."""
        name = self.prepare("busy", "restart")
        self.addCleanup(lambda: (self.proxy.set(), vmctl("--backend", "kubevirt", "delete", name, "--force")))
        for (method, pattern), command, state in BUSY:
            with self.subTest(operation=command):
                argv = ["--backend", "kubevirt", *command.format(name).split()]
                before = self.state(name)
                self.proxy.set(Rule(method, pattern, fault.BUSY_FOR_GOOD))
                self.status(vmctl(*argv, env=self.env, timeout=60), 6, "busy")
                self.assertEqual(len(self.proxy.requests(method, pattern)), 1, [(s.method, s.target, s.status) for s in self.proxy.seen])
                if "--force" not in command:  # that stops it first
                    self.assertEqual(self.state(name), before)
                self.proxy.set(Rule(method, pattern, fault.BUSY))
                self.ok(vmctl(*argv, env=self.env, timeout=60))
                self.assertEqual(len(self.proxy.requests(method, pattern)), 2, [(s.method, s.target, s.status) for s in self.proxy.seen])
                self.wait_for(f"state {state}", lambda: self.state(name) == state)
        self.assertEqual(self.left(), [])

    # --- HTTP/2 -----------------------------------------------------------------------------------------------------------

    def test_http2(self):
        """A server that goes away while a command is at work. What it says that it has not looked at is sent again, once the VM shows that it was not
        done: libcurl does not hand on what the server says."""
        proxy = Http2Proxy(self.api, self.world / "kubernetes/certs")
        config = self.world / "by-http2"
        config.write_text((self.world / "kubernetes/kubeconfig").read_text().replace("127.0.0.1:6443", f"127.0.0.1:{proxy.port}"))
        config.chmod(0o600)
        # (what is done, to which requests, the command, its status, words, how many such requests, of them done, the VM's state then)
        for number, (act, (method, pattern), verb, status, words, count, done, state) in enumerate((
                ("refused", LIST, "list", 0, "", 2, 1, "stopped"), ("refused", CREATE, "create", 0, "", 2, 1, "stopped"),
                ("refused", START, "start", 0, "", 2, 1, "running"),
                ("goaway", LIST, "list", 0, "", 2, 1, "stopped"), ("goaway", GET, "get", 0, "", 2, 1, "stopped"),
                ("goaway", CREATE, "create", 0, "", 2, 1, "stopped"), ("goaway", START, "start", 0, "", 2, 1, "running"),
                ("goaway", WATCH, "start", 0, "", 2, 1, "running"),
                ("goaway after", START, "start", 0, "", 1, 1, "running"), ("goaway after", GET, "delete", 0, "", None, None, None),
                ("goaway within", WATCH, "start", 0, "", None, None, "running"),
                ("broken", LIST, "list", 0, "", 2, 2, "stopped"), ("broken", CREATE, "create", 0, "", 1, 1, "stopped"))):
            with self.subTest(fault=act, operation=verb, of=pattern):
                name = f"http2-{number}"
                argument = self.prepare(name, verb)
                self.addCleanup(vmctl, "--backend", "kubevirt", "delete", name, "--force", "--ignore-not-found")
                proxy.set(method, pattern, act)
                result = vmctl("--backend", "kubevirt", verb, *([] if verb == "list" else [argument]), env={"KUBECONFIG": str(config)}, timeout=60)
                self.assertEqual(result.status, status, str(result))
                self.assertIn(words, result.err)
                self.assertNotIn("AddressSanitizer", result.err)
                hits = proxy.requests(method, pattern)
                self.assertEqual(proxy.rule[3], 0, "the fault did not happen")
                if count is not None:
                    self.assertEqual((len(hits), len([s for s in hits if s.done])), (count, done), proxy.seen)
                self.wait_for(f"state {state}", lambda: self.state(name) == state)
                if state:
                    self.ok(vmctl("--backend", "kubevirt", "delete", name, "--force"))
        self.assertEqual(self.left(), [])

    # --- lists of several pages -----------------------------------------------------------------------------------------

    def test_pages(self):
        """A list whose second page breaks, is asked for too late or too soon: every VM is told once, or the list fails."""
        names = [f"page-{number}" for number in range(5)]
        for name in names:
            self.prepare(name, "get")
        self.addCleanup(lambda: (self.proxy.set(), vmctl("--backend", "kubevirt", "delete", *names)))
        self.proxy.page = 2
        self.addCleanup(setattr, self.proxy, "page", None)
        second = ("GET", "continue=")

        def expired(handler, ask):
            """410 with a token that goes on where the old one was, as recording 351."""
            fresh = self.proxy.api.get(f"{VMS}?limit=2")["metadata"]["continue"]
            return fault.answer(410, {"kind": "Status", "apiVersion": "v1", "metadata": {"continue": fresh}, "status": "Failure", "reason": "Expired", "code": 410,
                                      "message": "The provided continue parameter is too old to display a consistent list result."})(handler, ask)

        for what, act, times, status, words, pages in (
                ("half a JSON", fault.half, 1, 0, "", 4), ("half a JSON, always", fault.half, None, 9, "unavailable", None),
                ("cut", fault.cut, 1, 0, "", 4), ("410 with a token", expired, 1, 0, "", 4), ("410 without", fault.GONE, 1, 0, "", 5),
                ("410, always", fault.GONE, None, 5, "conflict", None), ("429 with Retry-After", fault.BUSY, 1, 0, "", 4),
                ("429 without", fault.BUSY_FOR_GOOD, 1, 6, "busy", 2), ("no JSON", fault.rubbish, None, 9, "ended in its middle", None),
                ("401, the token is over", fault.EXPIRED, 1, 7, "unauthenticated", 2), ("trickle", fault.slow(0.5), 1, 0, "", 3)):
            with self.subTest(fault=what):
                self.proxy.set(Rule(*second, act, times))
                result = vmctl("--backend", "kubevirt", "list", "-o", "name", env=self.env, timeout=60)
                self.assertEqual(result.status, status, str(result))
                self.assertIn(words, result.err)
                self.assertNotIn("AddressSanitizer", result.err)
                told = result.out.split()
                self.assertEqual(len(told), len(set(told)), "told twice")
                if status == 0:
                    self.assertEqual(sorted(n for n in told if n.startswith("page-")), names)
                if pages:
                    self.assertEqual(len(self.proxy.requests(*LIST)), pages, [(s.target, s.status) for s in self.proxy.seen])

    # --- a token that expires -------------------------------------------------------------------------------------------

    def plugin(self, name):
        """A kubeconfig whose user's token comes from a program, and the file that has a line for each of its runs."""
        runs, program, config = (self.world / f"{name}{ending}" for ending in (".runs", ".plugin", ".kubeconfig"))
        program.write_text(f"#!/bin/sh\necho run >> {runs}\n"
                           'echo \'{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "admin-token-of-the-tests"}}\'\n')
        program.chmod(0o755)
        text = (self.world / "through-proxy").read_text()
        config.write_text(text.replace("    token: admin-token-of-the-tests", f"    exec: {{apiVersion: client.authentication.k8s.io/v1, command: {program}, "
                                                                              "interactiveMode: Never}"))
        config.chmod(0o600)
        return {"KUBECONFIG": str(config)}, runs

    def test_token_expires_in_a_watch(self):
        """The watch breaks, and who goes on from there is unknown: with a plugin a new token is got and the start ends well; with a token in the file
        there is no other, which is told, and the VM starts all the same."""
        for how, env, status, words in (("plugin", None, 0, ""), ("file", self.env, 7, "unauthenticated")):
            with self.subTest(credentials=how):
                name = self.prepare(f"token-{how}", "start")
                runs = None
                if not env:
                    env, runs = self.plugin(name)
                # The first watch ends before anything was told, the next one is refused.
                self.proxy.set(Rule(*WATCH, fault.watch_cut(0), 1), Rule(*WATCH, fault.EXPIRED, 1))
                result = vmctl("--backend", "kubevirt", "start", name, env=env, timeout=60)
                self.assertEqual(result.status, status, str(result))
                self.assertIn(words, result.err)
                self.assertNotIn("token-of-the-tests", result.err)
                self.assertEqual(len(self.proxy.requests(*START)), 1)
                if runs:
                    self.assertEqual(runs.read_text().split(), ["run", "run"])
                self.wait_for("the VM to run", lambda: self.state(name) == "running")
                self.proxy.set()
                self.ok(vmctl("--backend", "kubevirt", "delete", name, "--force"))

    # --- what is never done twice ---------------------------------------------------------------------------------------

    def test_nothing_is_made_twice(self):
        """An answer to create that is lost: the VM is there and vmctl says so, or it is not and vmctl says that."""
        path = self.prepare("lost", "create")
        self.proxy.set(Rule("POST", CREATE[1], fault.lose_answer, 1))
        result = vmctl("--backend", "kubevirt", "create", path, env=self.env, timeout=60)
        there = self.api.find(f"{VMS}/lost") is not None
        self.assertEqual(result.status == 0, there, str(result))
        self.assertLessEqual(len([s for s in self.proxy.requests("POST", CREATE[1]) if s.status == 201]), 1)
        self.proxy.set()
        if there:
            self.ok(vmctl("--backend", "kubevirt", "delete", "lost"))

    def test_two_writers(self):
        """A name that somebody else took meanwhile: already-exists, and theirs stays."""
        path = self.prepare("taken", "create")
        theirs = self.api.post(VMS, {**json.loads((harness.HERE.parent / "fixtures/kubevirt/353-liveupdate-create.http").read_text().split("\n\n")[1]
                                                  .split("\n-----")[0]), "metadata": {"name": "taken", "labels": {"theirs": "yes"}}})
        result = vmctl("--backend", "kubevirt", "create", path, env=self.env)
        self.status(result, 5, "already-exists")
        self.assertEqual(self.api.get(f"{VMS}/taken")["metadata"]["uid"], theirs["metadata"]["uid"])
        self.api.delete(f"{VMS}/taken")

    def test_servers_that_are_none(self):
        """Wrong CA, no server, a bad token, no rights, no KubeVirt there: the status and the next step."""
        config = self.world / "kubernetes/kubeconfig"

        def of(context, status, *words):
            result = vmctl("--backend", "kubevirt", "list", env={"KUBECONFIG": str(self.with_context(config, context))})
            self.status(result, status, *words)

        of("wrong-ca", 9, "certificate")
        of("bad-token", 7, "unauthenticated")
        of("anonymous", 7)
        of("viewer", 7, "permission-denied", "list", "virtualmachines")
        of("expired", 7)
        nobody = self.world / "nobody-listens"
        nobody.write_text(config.read_text().replace("127.0.0.1:6443", "127.0.0.1:9"))
        self.status(vmctl("--backend", "kubevirt", "list", env={"KUBECONFIG": str(nobody)}), 9, "127.0.0.1:9")
        self.proxy.set(Rule("GET", "/apis/kubevirt.io/", fault.answer(404, "404 page not found\n", kind="text/plain"), None),
                       Rule("GET", "^/apis(/kubevirt.io)?$", fault.answer(404, "404 page not found\n", kind="text/plain"), None))
        self.status(vmctl("--backend", "kubevirt", "list", env=self.env), 3, "kubevirt.io")

    # --- proxies ----------------------------------------------------------------------------------------------------------

    def through(self, name, proxy_url=None, server="https://127.0.0.1:6443", **environment):
        """The environment of a command that goes by that proxy."""
        to = self.world / f"proxied-{name}"
        text = (self.world / "kubernetes/kubeconfig").read_text().replace("server: https://127.0.0.1:6443", f"server: {server}")
        to.write_text(text.replace(f"    server: {server}", f"    server: {server}\n    proxy-url: {proxy_url}") if proxy_url else text)
        to.chmod(0o600)
        return {"KUBECONFIG": str(to), "VMCTL_LOG": "debug", "VMCTL_BACKEND": "kubevirt", **environment}

    def secret(self, result, *words):
        for word in words:
            self.assertNotIn(word, result.out + result.err)
        return result

    def test_proxies(self):
        """An HTTP proxy, and one that speaks TLS itself, by the kubeconfig: requests and WebSockets go through it, its credentials are told to nobody
        else. What is wrong with the proxy is not taken for the cluster's."""
        certs, server = self.world / "kubernetes/certs", ("127.0.0.1", 6443)
        own, others = ((certs / f"{name}.crt", certs / f"{name}.key") for name in ("stand-in", "stranger"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj", "/CN=stranger",
                        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", others[1], "-out", others[0]], check=True, capture_output=True)
        self.prepare("proxied", "stop")
        self.addCleanup(vmctl, "--backend", "kubevirt", "delete", "proxied", "--force")
        secrets = ("hunter2", base64.b64encode(b"me:hunter2").decode())
        for scheme, tls in (("http", None), ("https", own)):
            with self.subTest(scheme=scheme):
                proxy = ConnectProxy(server, tls, "me:hunter2")
                env = self.through(scheme, f"{scheme}://me:hunter2@127.0.0.1:{proxy.port}")
                self.secret(self.ok(vmctl("list", env=env)), *secrets)
                self.assertEqual(proxy.asked, [("127.0.0.1:6443", 200)])
                self.secret(self.ok(vmctl("console", "proxied", "--until", "line", "--timeout", "60s", env=env)), *secrets)
                self.assertEqual(proxy.asked[1:], [("127.0.0.1:6443", 200)] * 2)  # one for requests, one for the WebSocket
                wrong = self.through("wrong", f"{scheme}://me:hunter3@127.0.0.1:{proxy.port}")
                self.secret(self.status(vmctl("list", env=wrong), 7, "the proxy refuses", "unauthenticated", "USER:PASSWORD@"), "hunter3", *secrets)
                none = self.through("none", f"{scheme}://127.0.0.1:{proxy.port}")
                self.status(vmctl("list", env=none), 7, "the proxy refuses")
        strange = ConnectProxy(server, others)
        result = vmctl("list", env=self.through("strange", f"https://me:hunter2@127.0.0.1:{strange.port}"))
        self.secret(self.status(result, 9, "the proxy: ", "certificate"), "certificate-authority", *secrets)
        self.assertEqual(strange.asked, [], "the password went to a stranger")
        elsewhere = ConnectProxy(server, own)  # its certificate has another name
        self.status(vmctl("list", env=self.through("elsewhere", f"https://127.0.0.2:{elsewhere.port}")), 9, "the proxy: ")
        plain = ConnectProxy(server)
        self.status(vmctl("list", env=self.through("plain", f"https://127.0.0.1:{plain.port}")), 9, "the proxy speaks no TLS")
        self.secret(self.status(vmctl("list", env=self.through("nobody", "https://me:hunter2@127.0.0.1:9")), 9, "the proxy: "), *secrets)
        gone = ConnectProxy(("127.0.0.1", 9), own)  # the proxy does not reach the server
        self.status(vmctl("list", env=self.through("gone", f"https://127.0.0.1:{gone.port}")), 9)

    def test_proxy_of_the_environment(self):
        """HTTPS_PROXY and NO_PROXY, as every client has them; never for this machine itself, and the kubeconfig's proxy goes before it."""
        certs = self.world / "kubernetes/certs"
        for scheme, tls in (("http", None), ("https", (certs / "stand-in.crt", certs / "stand-in.key"))):
            with self.subTest(scheme=scheme):
                proxy, own = (ConnectProxy(("127.0.0.1", 6443), tls, "me:hunter2") for _ in range(2))
                url, elsewhere = f"{scheme}://me:hunter2@127.0.0.1:{proxy.port}", "https://192.0.2.1:6443"
                self.secret(self.ok(vmctl("list", env=self.through("environment", server=elsewhere, HTTPS_PROXY=url))), "hunter2")
                self.assertEqual(proxy.asked, [("192.0.2.1:6443", 200)])
                excepted = self.through("excepted", server=elsewhere, HTTPS_PROXY=url, NO_PROXY="example.com,192.0.2.0/24")
                self.status(vmctl("list", env=excepted), 9, "192.0.2.1:6443")  # nobody listens there
                self.ok(vmctl("list", env=self.through("loopback", HTTPS_PROXY=url)))
                self.assertEqual(len(proxy.asked), 1)
                both = self.through("both", f"{scheme}://me:hunter2@127.0.0.1:{own.port}", HTTPS_PROXY=url, NO_PROXY="*")
                self.ok(vmctl("list", env=both))
                self.assertEqual((len(proxy.asked), own.asked), (1, [("127.0.0.1:6443", 200)]))

    def with_context(self, config, name):
        to = self.world / f"context-{name}"
        to.write_text(config.read_text().replace("current-context: admin", f"current-context: {name}"))
        return to


if __name__ == "__main__":
    harness.enter("--kubevirt", "--kvm", "none")
    harness.main()
