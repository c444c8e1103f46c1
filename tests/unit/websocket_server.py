#!/usr/bin/python3 -B
"""A WebSocket server that behaves as its path says, for test_websocket.c: plain, over TLS, behind proxies.

usage: websocket_server.py [CERTIFICATE KEY]
Prints one line, "PLAIN TLS HTTP-PROXY SOCKS-PROXY", the ports at 127.0.0.1; ends when its standard input does.
"""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import threading
import urllib.parse

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
# closes: by the target, as the end of a connection that an earlier test has let go of may come late
state = {"sent": 0, "proxied": [], "reader": threading.Event(), "closes": {}}


def pattern(length, seed=1):
    """What both sides can make for themselves: the 251 numbers below a prime, over and over."""
    line = bytes((i * 7 + seed) % 251 for i in range(251))
    return (line * (length // 251 + 1))[:length]


class Peer:
    def __init__(self, sock):
        self.sock, self.rest, self.masked, self.sizes, self.target = sock, b"", True, [], ""

    def exactly(self, count):
        while len(self.rest) < count:
            more = self.sock.recv(max(65536, count - len(self.rest)))
            if not more:
                raise EOFError
            self.rest += more
        taken, self.rest = self.rest[:count], self.rest[count:]
        return taken

    def frame(self, opcode, data=b"", fin=True):
        head = bytes([(0x80 if fin else 0) | opcode])
        n = len(data)
        head += bytes([n]) if n < 126 else b"\x7e" + struct.pack("!H", n) if n < 65536 else b"\x7f" + struct.pack("!Q", n)
        self.sock.sendall(head + data)

    def receive(self):
        """(opcode, data); every frame of a client is masked (RFC 6455, 5.1)."""
        first, second = self.exactly(2)
        n = second & 127
        if n == 126:
            n = struct.unpack("!H", self.exactly(2))[0]
        elif n == 127:
            n = struct.unpack("!Q", self.exactly(8))[0]
        self.masked = self.masked and bool(second & 128)
        if not second & 128:
            self.close(1002, "a client's frame without a mask")
            raise EOFError
        mask, data = self.exactly(4), self.exactly(n)
        key = int.from_bytes(mask * (n // 4 + 1), "big") >> (8 * (4 - n % 4)) if n else 0
        data = (int.from_bytes(data, "big") ^ key).to_bytes(n, "big") if n else b""
        self.sizes.append(n)
        return first & 15, data

    def message(self):
        """The next data frame's bytes; pings are answered, a Close is answered and raises EOFError."""
        while True:
            opcode, data = self.receive()
            if opcode == PING:
                state["pings"] = state.get("pings", 0) + 1
                self.frame(PONG, data)
            elif opcode == CLOSE:
                state["closes"][self.target] = data.hex()
                self.frame(CLOSE, data)
                raise EOFError
            elif opcode != PONG:
                return data

    def close(self, code=1000, reason=""):
        self.frame(CLOSE, struct.pack("!H", code) + reason.encode())

    def until_closed(self):
        try:
            while True:
                self.message()
        except (EOFError, OSError):
            pass


def head_of(sock):
    text = b""
    while b"\r\n\r\n" not in text:
        more = sock.recv(65536)
        if not more:
            raise EOFError
        text += more
    head, rest = text.split(b"\r\n\r\n", 1)
    lines = head.decode().split("\r\n")
    return lines[0].split(" "), {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:])}, rest


def upgrade(peer, path, query, headers):
    key = hashlib.sha1(headers["sec-websocket-key"].encode() + GUID).digest()
    accept = base64.b64encode(key if path != "/wrong-accept" else b"\0" * 20).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "upgrade: WebSocket", "Connection: keep-alive, Upgrade",
             "Sec-WebSocket-Accept: " + accept]
    protocol = query.get("answer", headers.get("sec-websocket-protocol", "").split(",")[0].strip())
    if protocol and protocol != "none":
        lines.append("Sec-WebSocket-Protocol: " + protocol)
    if path == "/extension":
        lines.append("Sec-WebSocket-Extensions: permessage-deflate")
    text = ("\r\n".join(lines) + "\r\n\r\n").encode()
    if path == "/hello":  # the first frame comes in the same segment as the answer
        text += bytes([0x80 | BINARY, 5]) + b"hello"
    peer.sock.sendall(text)


def refuse(sock, path, headers):
    status = json.dumps({"kind": "Status", "message": "nope", "code": 404}).encode()
    if path == "/refuse":
        sock.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                     % (len(status), status))
    elif path == "/refuse-chunked":
        sock.sendall(b"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n")
        for i in range(0, len(status), 7):
            sock.sendall(b"%x\r\n%s\r\n" % (len(status[i:i + 7]), status[i:i + 7]))
        sock.sendall(b"0\r\n\r\n")
    elif path == "/refuse-to-end":
        sock.sendall(b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\n\r\nservice unavailable")
    elif path == "/redirect":
        sock.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
    elif path == "/not-http":
        sock.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    elif path.endswith("/refuse-empty"):
        state["empty"] = state.get("empty", 0) + 1
        sock.sendall(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
    elif path == "/headers":  # the whole request, as it came
        state["headers"] = headers
        body = json.dumps(headers).encode()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    elif path == "/state":
        body = json.dumps({k: v for k, v in state.items() if k != "reader"}).encode()
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    elif path == "/hang-up":
        pass
    elif path == "/mute":
        sock.recv(1)
    else:
        return False
    return True


def echo(peer, query):
    while True:
        peer.frame(BINARY, peer.message())


def flood(peer, query):
    """BYTES in frames of SIZE, some of them fragmented, with pings between; how far it came is in state."""
    data, size = pattern(int(query["bytes"])), int(query.get("size", 10240))
    for i in range(0, len(data), size):
        part = data[i:i + size]
        if query.get("fragments"):
            third = len(part) // 3
            peer.frame(BINARY, part[:third], fin=False)
            peer.frame(PING, b"in between")
            peer.frame(CONTINUATION, part[third:2 * third], fin=False)
            peer.frame(CONTINUATION, part[2 * third:])
        else:
            peer.frame(BINARY, part)
        state["sent"] = i + len(part)
    peer.close()
    peer.until_closed()


def sink(peer, query):
    """Takes BYTES, then tells their SHA-256 and the largest message; with CLOSE it closes too."""
    wanted, got, digest = int(query["bytes"]), 0, hashlib.sha256()
    while got < wanted:
        data = peer.message()
        digest.update(data)
        got += len(data)
    peer.frame(TEXT, ("%s %d" % (digest.hexdigest(), max(peer.sizes))).encode())
    if query.get("close"):
        peer.close()
    peer.until_closed()


def duplex(peer, query):
    """Floods and takes at the same time: both buffers fill unless both are emptied."""
    writer = threading.Thread(target=lambda: [peer.frame(BINARY, pattern(10240)) for _ in range(int(query["frames"]))])
    writer.start()
    got = 0
    while got < int(query["bytes"]):
        got += len(peer.message())
    writer.join()
    peer.close(1000, str(got))
    peer.until_closed()


def pinger(peer, query):
    for i in range(int(query["count"])):
        peer.frame(PING, b"ping %d" % i)
    seen = []
    while len(seen) < int(query["count"]):
        opcode, data = peer.receive()
        if opcode == PONG:
            seen.append(data)
    peer.close(1000, "all" if seen == [b"ping %d" % i for i in range(len(seen))] else "others")
    peer.until_closed()


def close(peer, query):
    peer.frame(BINARY, b"last words")
    if query.get("code"):
        peer.close(int(query["code"]), query.get("reason", ""))
    else:
        peer.frame(CLOSE)
    peer.until_closed()


def drop(peer, query):
    peer.frame(BINARY, b"last words")
    if query.get("half"):
        peer.sock.sendall(b"\x82\x40and half of")


def reset(peer, query):
    peer.frame(BINARY, b"last words")
    peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def rubbish(peer, query):
    peer.sock.sendall({"rsv": b"\xf2\x01a", "control": b"\x89\x7e\x00\x80" + b"x" * 128, "opcode": b"\x83\x00",
                       "continuation": b"\x80\x01a"}[query["kind"]])
    peer.until_closed()


def deaf(peer, query):
    """Reads nothing, and answers no ping, until it is told to."""
    state["reader"].wait()
    peer.until_closed()


def release(peer, query):
    state["reader"].set()
    peer.close()
    peer.until_closed()


def after_eof(peer, query):
    """Answers late: the client's side has ended its input by then (it says so to /release)."""
    data = peer.message()
    state["reader"].wait()
    peer.frame(BINARY, b"late: " + data)
    peer.close()
    peer.until_closed()


def hello(peer, query):
    peer.until_closed()


WAYS = {"/" + f.__name__.replace("_", "-"): f
        for f in (echo, flood, sink, duplex, pinger, close, drop, reset, rubbish, deaf, release, after_eof, hello)}


def serve(sock):
    try:
        (method, target, _), headers, rest = head_of(sock)
        url = urllib.parse.urlsplit(target)
        query = dict(urllib.parse.parse_qsl(url.query))
        headers[":request"] = "%s %s" % (method, target)
        headers[":alpn"] = sock.selected_alpn_protocol() if isinstance(sock, ssl.SSLSocket) else None
        if not refuse(sock, url.path, headers):
            peer = Peer(sock)
            peer.rest, peer.target = rest, target
            upgrade(peer, url.path, query, headers)
            WAYS.get(url.path, echo)(peer, query)
    except (OSError, EOFError, ValueError):
        pass
    finally:
        sock.close()


def carry(a, b):
    try:
        while True:
            data = a.recv(65536)
            if not data:
                break
            b.sendall(data)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def both_ways(a, b):
    threading.Thread(target=carry, args=(a, b), daemon=True).start()
    carry(b, a)


def http_proxy(sock):
    (method, target, _), headers, rest = head_of(sock)
    state["proxied"].append("%s %s" % (method, target))
    if method != "CONNECT" or headers.get("proxy-authorization") != "Basic " + base64.b64encode(b"me:secret").decode():
        sock.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")
        sock.close()
        return
    host, port = target.rsplit(":", 1)
    other = socket.create_connection((host, int(port)))
    sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n" + rest)
    both_ways(sock, other)


def socks_proxy(sock):
    """SOCKS5 (RFC 1928) without authentication, a name or an address."""
    sock.recv(2 + 255)
    sock.sendall(b"\5\0")
    head = sock.recv(4)
    host = sock.recv(sock.recv(1)[0]).decode() if head[3] == 3 else socket.inet_ntoa(sock.recv(4))
    port = struct.unpack("!H", sock.recv(2))[0]
    state["proxied"].append("SOCKS %s:%d" % (host, port))
    other = socket.create_connection((host, port))
    sock.sendall(b"\5\0\0\1\0\0\0\0\0\0")
    both_ways(sock, other)


def guarded(handler, sock):
    try:
        handler(sock)
    except (OSError, EOFError, ValueError, IndexError):
        sock.close()


def listen(handler, wrap=None):
    server = socket.create_server(("127.0.0.1", 0), backlog=64)

    def one(sock):
        try:
            guarded(handler, wrap(sock) if wrap else sock)
        except OSError:
            sock.close()

    def loop():
        while True:
            sock = server.accept()[0]
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=one, args=(sock,), daemon=True).start()
    threading.Thread(target=loop, daemon=True).start()
    return server.getsockname()[1]


def main():
    ports = [listen(serve)]
    if len(sys.argv) > 2:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[1], sys.argv[2])
        context.set_alpn_protocols(["h2", "http/1.1"])  # as a Kubernetes API server offers
        ports.append(listen(serve, lambda sock: context.wrap_socket(sock, server_side=True)))
    else:
        ports.append(0)
    print(*ports, listen(http_proxy), listen(socks_proxy), flush=True)
    sys.stdin.read()
    os._exit(0)


main()
