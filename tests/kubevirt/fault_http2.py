"""A server that speaks HTTP/2 in front of the real one, and ends streams and connections as API servers and load balancers do when they go
away: GOAWAY (RFC 9113, 6.8) and RST_STREAM (8.7, 8.8)."""

import collections
import re
import socket
import ssl
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events

Seen = collections.namedtuple("Seen", "method target connection done")


class Http2Proxy:
    """https://127.0.0.1:PORT in front of `api` (its identity is that of all requests). act: what is done to the next `times` requests of that
    method whose target the pattern finds:
      "refused"        the stream is reset before anything was done (REFUSED_STREAM)
      "broken"         half of the answer, then the stream is reset (INTERNAL_ERROR)
      "goaway"         the server goes away and says that it has not looked at this request
      "goaway after"   it answers this one, and takes no more on this connection
      "goaway within"  of a watch: it goes away after the first event, and the connection ends"""

    def __init__(self, api, certs):
        self.api, self.seen, self.rule, self.links, self.lock = api, [], None, 0, threading.Lock()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certs / "server.crt", certs / "server.key")
        self.tls.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def set(self, method=None, pattern="", act=None, times=1):
        with self.lock:
            self.rule, self.seen = [method, re.compile(pattern), act, times], []

    def requests(self, method, pattern=""):
        with self.lock:
            return [s for s in self.seen if s.method == method and re.search(pattern, s.target)]

    def accept(self):
        while True:
            link = self.listener.accept()[0]
            self.links += 1
            threading.Thread(target=self.guarded, args=(link, self.links), daemon=True).start()

    def guarded(self, link, number):
        try:
            with self.tls.wrap_socket(link, server_side=True) as safe:
                Connection(self, safe, number).serve()
        except OSError:
            pass  # the peer is gone

    def act_for(self, method, target):
        with self.lock:
            wanted, pattern, act, times = self.rule or (None, None, None, 0)
            if times and method == wanted and pattern.search(target):
                self.rule[3] -= 1
                return act
        return None


class Connection:
    def __init__(self, proxy, link, number):
        self.proxy, self.link, self.number, self.open = proxy, link, number, True
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.asked = {}  # stream: (headers, body)

    def serve(self):
        self.h2.initiate_connection()
        self.flush()
        while self.open and (data := self.link.recv(1 << 16)):
            for event in self.h2.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.asked[event.stream_id] = (dict(event.headers), bytearray())
                elif isinstance(event, h2.events.DataReceived):
                    self.asked[event.stream_id][1].extend(event.data)
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, h2.events.StreamEnded):
                    self.answer(event.stream_id, *self.asked.pop(event.stream_id))
            self.flush()

    def flush(self):
        self.link.sendall(self.h2.data_to_send())

    def note(self, method, target, done):
        with self.proxy.lock:
            self.proxy.seen.append(Seen(method, target, self.number, done))

    def go_away(self, last):
        self.h2.close_connection(last_stream_id=last)
        self.flush()
        self.open = False

    def answer(self, stream, headers, body):
        method, target = headers[":method"], headers[":path"]
        act = self.proxy.act_for(method, target)
        self.note(method, target, act not in ("refused", "goaway"))
        if act == "refused":
            return self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        if act == "goaway":
            return self.go_away(stream - 2 if stream > 1 else 0)
        if "watch=true" in target:
            return self.watch(stream, target, act)
        status, answered, data = self.proxy.api.raw(method, target, bytes(body) or None, {k: v for k, v in headers.items() if k in ("accept", "content-type")})
        self.send(stream, status, answered, data[:len(data) // 2] if act == "broken" else data, length=len(data), end=act != "broken")
        if act == "broken":
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif act == "goaway after":
            self.go_away(stream)

    def send(self, stream, status, answered, data, length=None, end=True):
        headers = [(":status", str(status)), *((name.lower(), answered[name]) for name in ("Content-Type", "Date") if name in answered)]
        self.h2.send_headers(stream, [*headers, *([("content-length", str(length))] if length is not None else [])])
        self.pieces(stream, data, end)

    def pieces(self, stream, data, end):
        """What fits into the window that the client gives, which is larger than any answer of these tests."""
        size = self.h2.max_outbound_frame_size
        for at in range(0, len(data), size):
            self.h2.send_data(stream, data[at:at + size])
        if end:
            self.h2.end_stream(stream)
        self.flush()

    def watch(self, stream, target, act):
        """One stream at a time, which is all that a command has: until it ends, nothing else is looked at."""
        there = self.proxy.api.open()
        there.request("GET", target, headers=self.proxy.api.headers)
        answer = there.getresponse()
        self.send(stream, answer.status, answer.headers, b"", end=False)
        for line in answer:
            self.pieces(stream, line, False)
            if act == "goaway within":
                there.close()
                return self.go_away(stream)
            if self.ended(stream):
                break
        there.close()
        return None

    def ended(self, stream):
        """Whether the client has ended the stream or the connection since."""
        self.link.settimeout(0.05)
        try:
            data = self.link.recv(1 << 16)
            events = self.h2.receive_data(data) if data else [None]
            return any(event is None or isinstance(event, (h2.events.StreamReset, h2.events.ConnectionTerminated)) for event in events)
        except (TimeoutError, ssl.SSLWantReadError):
            return False
        finally:
            self.link.settimeout(None)
