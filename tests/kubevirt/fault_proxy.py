"""What a network and a tired API server do to a client: a server of its own in front of the real one, which passes requests on until a
rule says otherwise. Every request is noted, with its body, before anything is done to it."""

import collections
import json
import re
import socket
import struct
import threading
import time

import web

Seen = collections.namedtuple("Seen", "method target body agent status connection")


class Rule:
    """For requests of that method whose target the pattern finds: `times` of them (None: all), after the first `after`."""

    def __init__(self, method, pattern, act, times=1, after=0):
        self.method, self.pattern, self.act, self.times, self.after = method, re.compile(pattern), act, times, after
        self.hits = 0


def answer(code, body, headers=(), kind="application/json"):
    """Instead of the server's."""
    def act(handler, _):
        data = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        handler.reply(code, [("Content-Type", kind), *dict(headers).items()], data)
        return code
    return act


def status(code, message, reason=None, headers=(), **details):
    return answer(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                         **({"reason": reason} if reason else {}), **({"details": details} if details else {}), "code": code}, headers)


TOO_MANY = "the server has received too many requests and has asked us to try again later"
BUSY = status(429, TOO_MANY, "TooManyRequests", {"Retry-After": "1"}, retryAfterSeconds=1)
BUSY_FOR_GOOD = status(429, TOO_MANY, "TooManyRequests")
WEBHOOK = status(500, 'Internal error occurred: failed calling webhook "virtualmachines-mutator.kubevirt.io": failed to call webhook: Post '
                 '"https://virt-api.kubevirt.svc:18443/virtualmachines-mutate?timeout=10s": dial tcp 127.0.0.1:18443: connect: connection refused',
                 "InternalError")
EXPIRED = status(401, "Unauthorized", "Unauthorized")
GONE = status(410, "The provided continue parameter is too old to display a consistent list result.", "Expired")
DOWN = answer(503, "service unavailable\n", kind="text/plain; charset=utf-8")


def cut(handler, _):
    """The connection ends before anything is answered, and the server never saw the request."""
    handler.reset()
    return None


def lose_answer(handler, ask):
    """The server did what was asked; nobody hears of it."""
    handler.code = ask().status
    handler.reset()


def half(handler, ask):
    """The answer ends in the middle of its JSON, and the connection with it."""
    there = ask()
    data = there.read()
    handler.reply(there.status, pass_headers(there), data[:len(data) // 2], length=len(data))
    handler.reset()
    return there.status


def rubbish(handler, ask):
    """A whole answer that is no JSON, as of a proxy that got it wrong."""
    there = ask()
    there.read()
    handler.reply(there.status, [("Content-Type", "application/json")], b'{"kind":"VirtualMachine","metadata":{"name":')
    return there.status


def slow(seconds):
    """Bytes that trickle: the whole takes so long."""
    def act(handler, ask):
        there = ask()
        data = there.read()
        handler.reply(there.status, pass_headers(there), b"", length=len(data))
        pieces = 20
        for i in range(pieces):
            time.sleep(seconds / pieces)
            handler.wfile.write(data[len(data) * i // pieces:len(data) * (i + 1) // pieces])
            handler.wfile.flush()
        return there.status
    return act


def hang(handler, _):
    """No answer, no end."""
    handler.server.until_released.wait()
    handler.reset()
    return None


def watch_cut(events, in_line=False):
    """A watch that breaks after so many events; in_line: in the middle of the next."""
    def act(handler, ask):
        there = ask()
        handler.stream(there)
        for number, line in enumerate(there):
            if number >= events:
                if in_line:
                    handler.chunk(line[:len(line) // 2])
                break
            handler.chunk(line)
        handler.reset()
        return there.status
    return act


def watch_expired(handler, ask):
    """410 inside of a watch (recording 123): what it asks for is forgotten."""
    there = ask()
    handler.stream(there)
    handler.chunk(json.dumps({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                                          "message": "too old resource version: 1 (2045)", "reason": "Expired", "code": 410}}).encode() + b"\n")
    handler.chunk(b"")
    return there.status


def pass_headers(there):
    return [(k, v) for k, v in there.headers.items() if k.lower() not in ("content-length", "transfer-encoding", "connection", "date")]


class Handler(web.Handler):
    def answer(self):
        body, proxy = self.body(), self.server.proxy
        link = None

        def ask():
            nonlocal link
            link = proxy.api.open()
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "accept-encoding", "content-length")}
            link.request(self.command, self.path, body if body or self.command in ("PUT", "POST", "PATCH") else None, headers)
            return link.getresponse()

        rule = proxy.rule_for(self.command, self.path)
        number = proxy.note(self.command, self.path, body, self.headers.get("User-Agent", ""), self.connection_number())
        code = self.code = None
        try:
            code = rule.act(self, ask) if rule else self.pass_on(ask)
        finally:
            proxy.finish(number, code or self.code)
            if link:
                link.close()

    def connection_number(self):
        if not hasattr(self, "number"):
            self.number = self.server.proxy.connected()
        return self.number

    def pass_on(self, ask):
        there = ask()
        if "watch=" in self.path or there.getheader("Transfer-Encoding") == "chunked":
            self.stream(there)
            while piece := there.read1(65536):
                self.chunk(piece)
            self.chunk(b"")
        else:
            self.reply(there.status, pass_headers(there), there.read())
        return there.status

    def reply(self, code, headers, data, length=None):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def stream(self, there):
        self.send_response(there.status)
        for name, value in pass_headers(there):
            self.send_header(name, value)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def reset(self):
        """As a cable that is pulled: RST, no farewell of TLS."""
        self.wfile.flush()
        self.close_connection = True
        plain = self.connection.detach()
        with socket.socket(fileno=plain) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionResetError


class FaultProxy:
    """https://127.0.0.1:PORT in front of `api` (kube.Api of any identity: the client's own credentials are passed on)."""

    def __init__(self, api, certs, port=0):
        self.api, self.rules, self.seen, self.lock, self.links = api, [], [], threading.Lock(), 0
        self.server = web.Server(port, Handler, str(certs / "server.crt"), str(certs / "server.key"))
        self.server.proxy, self.server.until_released = self, threading.Event()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set(self, *rules):
        """These from now on; what was seen is forgotten."""
        with self.lock:
            self.rules, self.seen = list(rules), []
        self.server.until_released.set()
        self.server.until_released = threading.Event()

    def rule_for(self, method, target):
        with self.lock:
            for rule in self.rules:
                if rule.method in ("*", method) and rule.pattern.search(target):
                    rule.hits += 1
                    if rule.hits > rule.after and (rule.times is None or rule.hits <= rule.after + rule.times):
                        return rule
        return None

    def note(self, *what):
        with self.lock:
            method, target, body, agent, connection = what
            self.seen.append(Seen(method, target, body, agent, None, connection))
            return len(self.seen) - 1

    def finish(self, number, code):
        with self.lock:
            if number < len(self.seen):
                self.seen[number] = self.seen[number]._replace(status=code)

    def connected(self):
        with self.lock:
            self.links += 1
            return self.links

    def requests(self, method=None, pattern=""):
        with self.lock:
            return [s for s in self.seen if method in (None, s.method) and re.search(pattern, s.target)]

    def kubeconfig(self, original, to):
        """The kubeconfig, led through here."""
        to.write_text(original.read_text().replace("https://127.0.0.1:6443", f"https://127.0.0.1:{self.port}"))
        to.chmod(0o600)
        return str(to)
