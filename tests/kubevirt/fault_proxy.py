"""What a network and a tired API server do to a client: a server of its own in front of the real one, which passes requests on until a
rule says otherwise. Every request is noted, with its body, before anything is done to it."""

import collections
import ctypes
import json
import os
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
FORBIDDEN = status(403, 'virtualmachines.kubevirt.io is forbidden: User "u" cannot watch resource "virtualmachines" in API group "kubevirt.io" in the namespace "default"',
                   "Forbidden")
OVERLOADED = status(503, "the server is currently unable to handle the request", "ServiceUnavailable", {"Retry-After": "1"}, retryAfterSeconds=1)
TOO_LATE = status(504, "Timeout: request did not complete within requested timeout - context deadline exceeded", "Timeout")
LOGIN = answer(302, b"", {"Location": "https://login.example/?token=hunter2"})
PAGE = answer(200, "<html><body>Welcome to the hotel</body></html>", kind="text/html")
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


def cut_upload(size):
    """The connection breaks while the body comes, after so many bytes of it."""
    def act(handler, _):
        handler.rfile.read(size)
        handler.reset()
    act.early = True  # before the body is read
    return act


def hang_upload(size):
    """So many bytes are taken, and then no more."""
    def act(handler, _):
        handler.rfile.read(size)
        handler.server.taken.set()
        handler.server.until_released.wait()
        handler.reset()
    act.early = True
    return act


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


def watch_ends(events):
    """A watch whose time is over after so many events: an end as the server makes it."""
    def act(handler, ask):
        there = ask()
        handler.stream(there)
        for _, line in zip(range(events), there):
            handler.chunk(line)
        handler.chunk(b"")
        return there.status
    return act


def cut_in_chunk(handler, ask):
    """The connection breaks within a chunk: its head says more than comes, and it ends in the middle of a character string."""
    there = ask()
    handler.stream(there)
    data = there.readline() if "watch=" in handler.path else there.read()
    handler.wfile.write(b"%x\r\n%s" % (len(data), data[:len(data) // 2]))
    handler.reset()
    return there.status


def watch_expired(handler, ask):
    """410 inside of a watch (recording 123): what it asks for is forgotten."""
    there = ask()
    handler.stream(there)
    handler.chunk(json.dumps({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                                                          "message": "too old resource version: 1 (2045)", "reason": "Expired", "code": 410}}).encode() + b"\n")
    handler.chunk(b"")
    return there.status


# --- of WebSockets: act(handler, far), far being the upgraded connection to the server --------------------------------------

def frame(data, opcode=web.WebSocket.BINARY, length=None, fin=True, mask=False):
    """One from the server; length: what its head says, where that is not true."""
    length = len(data) if length is None else length
    head = bytes([(0x80 if fin else 0) | opcode])
    head += bytes([length | (0x80 if mask else 0)]) if length < 126 else b"\x7e" + struct.pack("!H", length)
    return head + data


def after(size, then):
    """So many bytes come from the server (whole frames of it), and are followed by what `then(handler)` does."""
    def act(handler, ask):
        far = ask()
        if far.status != 101:
            return far.relay(handler)
        handler.accept(far)
        handler.to_server(far)
        sent = 0
        while sent < size and (piece := far.frame()):
            handler.wfile.write(piece)
            sent += len(piece)
        handler.wfile.flush()
        then(handler)
        return 101
    return act


def bytes_then(data, cut_off=True):
    """Those bytes, and the end of the connection: as a cable that is pulled, or (cut_off False) in an orderly way of TCP's."""
    def then(handler):
        handler.wfile.write(data)
        handler.wfile.flush()
        if cut_off:
            handler.reset()
        handler.connection.shutdown(socket.SHUT_RDWR)
    return then


def closes(code, reason=""):
    """The server says farewell with that code, and waits for the client's."""
    def then(handler):
        handler.wfile.write(frame(struct.pack("!H", code) + reason.encode(), web.WebSocket.CLOSE))
        handler.wfile.flush()
        handler.until_client_ends()
    return then


def trickle(bytes_at_once, pieces):
    """The first of what the server sends comes in small pieces, each of a packet of its own; frames are torn anywhere."""
    def act(handler, ask):
        far = ask()
        handler.accept(far)
        handler.to_server(far)
        for _ in range(pieces):
            if piece := far.read(bytes_at_once):
                handler.wfile.write(piece)
                handler.wfile.flush()
        handler.from_server(far)
        handler.farewell()
        return 101
    return act


def accepts_wrongly(handler, ask):
    """A 101 whose key answers another's question."""
    ask().close()
    handler.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                        b"Sec-WebSocket-Accept: c29tZWJvZHkgZWxzZSdzIGtleSE=\r\n\r\n")
    handler.wfile.flush()
    handler.close_connection = True
    return 101


class Far:
    """The server's side of a WebSocket."""

    def __init__(self, api, handler):
        link = socket.create_connection((api.url.hostname, api.url.port), 60)
        self.link = api.tls.wrap_socket(link, server_hostname=api.url.hostname)
        self.link.settimeout(None)
        self.file = self.link.makefile("rb")
        head = f"GET {handler.path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in handler.headers.items()) + "\r\n"
        self.link.sendall(head.encode("latin-1"))
        self.head = b""
        while not self.head.endswith(b"\r\n\r\n") and (line := self.file.readline()):
            self.head += line
        self.status = int(self.head.split()[1])

    def read(self, size=65536):
        return self.file.read1(size)

    def frame(self):
        """The bytes of the next one; b"" at the end."""
        head = self.file.read(2)
        if len(head) < 2:
            return b""
        length, more = head[1] & 127, b""
        if length >= 126:
            more = self.file.read(2 if length == 126 else 8)
            length = int.from_bytes(more, "big")
        return head + more + self.file.read(length)

    def relay(self, handler):
        """An answer that is no upgrade, as it is."""
        length = re.search(rb"(?i)content-length: *(\d+)", self.head)
        handler.wfile.write(self.head + (self.file.read(int(length.group(1))) if length else b""))
        handler.wfile.flush()
        return self.status

    def close(self):
        try:
            self.link.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.link.close()


def pass_headers(there):
    return [(k, v) for k, v in there.headers.items() if k.lower() not in ("content-length", "transfer-encoding", "connection", "date")]


class Handler(web.Handler):
    def answer(self):
        proxy, link = self.server.proxy, None

        def ask():
            nonlocal link
            link = proxy.api.open()
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "accept-encoding", "content-length")}
            path = re.sub(r"\blimit=500\b", f"limit={proxy.page}", self.path) if proxy.page else self.path
            link.request(self.command, path, body if body or self.command in ("PUT", "POST", "PATCH") else None, headers)
            return link.getresponse()

        if "upgrade" in self.headers.get("Connection", "").lower():
            return self.answer_upgrade()
        rule = proxy.rule_for(self.command, self.path)
        body = b"" if rule and hasattr(rule.act, "early") else self.body()
        number = proxy.note(self.command, self.path, body, self.headers.get("User-Agent", ""), self.connection_number())
        code = self.code = None
        try:
            code = rule.act(self, ask) if rule else self.pass_on(ask)
        finally:
            proxy.finish(number, code or self.code)
            if link:
                link.close()

    # --- WebSockets ---------------------------------------------------------------------------------------------------

    def answer_upgrade(self):
        proxy, far = self.server.proxy, None

        def ask():
            nonlocal far
            far = Far(proxy.api, self)
            return far

        rule = proxy.rule_for(self.command, self.path)
        number = proxy.note(self.command, self.path, b"", self.headers.get("User-Agent", ""), self.connection_number())
        code = None
        try:
            code = rule.act(self, ask) if rule else self.carry(ask())
        finally:
            self.close_connection = True
            proxy.finish(number, code)
            if far:
                far.close()
            if code == 101:
                self.end()

    def carry(self, far):
        if far.status != 101:
            return far.relay(self)
        self.accept(far)
        self.to_server(far)
        self.from_server(far)
        self.farewell()
        return 101

    def end(self):
        """Of TCP's; a close alone would wait for the thread that reads."""
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except (OSError, ValueError):
            pass

    def farewell(self):
        """TLS's, as Go's servers say it; then TCP's."""
        try:
            self.connection.unwrap()
        except (OSError, ValueError):
            pass

    def accept(self, far):
        self.wfile.write(far.head)
        self.wfile.flush()

    def from_server(self, far):
        try:
            while piece := far.read():
                self.wfile.write(piece)
                self.wfile.flush()
        except OSError:
            pass

    def to_server(self, far):
        """What the client sends, from a thread of its own."""
        def run():
            try:
                while piece := self.rfile.read1(65536):
                    far.link.sendall(piece)
            except (OSError, ValueError):
                pass
            self.client_ended.set()
            far.close()

        self.client_ended = threading.Event()
        threading.Thread(target=run, daemon=True).start()

    def until_client_ends(self):
        self.client_ended.wait(60)

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
        if self.command != "HEAD":
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
        # connect(2) to AF_UNSPEC: at once, also where another thread waits for this socket, which a close would wait for.
        ctypes.CDLL(None).connect(plain, bytes(16), 16)
        os.close(plain)
        raise ConnectionResetError


class FaultProxy:
    """https://127.0.0.1:PORT in front of `api` (kube.Api of any identity: the client's own credentials are passed on)."""

    def __init__(self, api, certs, port=0):
        self.api, self.rules, self.seen, self.lock, self.links = api, [], [], threading.Lock(), 0
        self.page = None  # so many of a list at once, whatever was asked for
        self.server = web.Server(port, Handler, str(certs / "server.crt"), str(certs / "server.key"))
        self.server.proxy, self.server.until_released, self.server.taken = self, threading.Event(), threading.Event()
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def set(self, *rules):
        """These from now on; what was seen is forgotten."""
        with self.lock:
            self.rules, self.seen = list(rules), []
        self.server.until_released.set()
        self.server.until_released, self.server.taken = threading.Event(), threading.Event()

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
