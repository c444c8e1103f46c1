"""A server that speaks HTTP/2 in front of the real one, and ends streams and connections as API servers and load balancers do when they go
away: GOAWAY (RFC 9113, 6.8) and RST_STREAM (8.7, 8.8)."""

import collections
import queue
import re
import select
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
    """One thread reads and writes it, as TLS wants; a watch has a thread of its own that hands over what the server says."""

    def __init__(self, proxy, link, number):
        self.proxy, self.link, self.number, self.leaving = proxy, link, number, False
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.asked = {}  # stream: (headers, body)
        self.lines = queue.SimpleQueue()  # of watches: (stream, act, line; None: its end)
        self.awake, self.waker = socket.socketpair()
        self.ended = set()  # streams that the client has no more use for

    def serve(self):
        self.h2.initiate_connection()
        self.flush()
        while True:
            pending = self.link.pending()
            ready = [self.link] if pending else select.select([self.link, self.awake], [], [])[0]
            if self.link in ready:
                if not (data := self.link.recv(1 << 16)):
                    return
                if not self.leaving:
                    self.take(data)
            if self.awake in ready:
                self.awake.recv(4096)
            while not self.lines.empty():
                if not self.tell(*self.lines.get()):
                    return

    def take(self, data):
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                self.asked[event.stream_id] = (dict(event.headers), bytearray())
            elif isinstance(event, h2.events.DataReceived):
                self.asked[event.stream_id][1].extend(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.ended.add(event.stream_id)
            if isinstance(event, h2.events.StreamEnded) and not self.leaving:
                self.answer(event.stream_id, *self.asked.pop(event.stream_id))
        if not self.leaving:
            self.flush()

    def flush(self):
        self.link.sendall(self.h2.data_to_send())

    def go_away(self, last):
        """The connection's end is the client's to make: what it has not read yet would be lost."""
        self.h2.close_connection(last_stream_id=last)
        self.flush()
        self.leaving = True

    def answer(self, stream, headers, body):
        method, target = headers[":method"], headers[":path"]
        act = self.proxy.act_for(method, target)
        with self.proxy.lock:
            self.proxy.seen.append(Seen(method, target, self.number, act not in ("refused", "goaway")))
        if act == "refused":
            return self.h2.reset_stream(stream, h2.errors.ErrorCodes.REFUSED_STREAM)
        if act == "goaway":
            return self.go_away(stream - 2 if stream > 1 else 0)
        if "watch=true" in target:
            return threading.Thread(target=self.watch, args=(stream, target, act), daemon=True).start()
        status, answered, data = self.proxy.api.raw(method, target, bytes(body) or None, {k.title(): v for k, v in headers.items() if k in ("accept", "content-type")})
        # An answer and the farewell after it come together: a client that has read the one knows of the other before it asks again.
        self.send(stream, status, answered, data[:len(data) // 2] if act == "broken" else data, length=len(data), end=act != "broken",
                  flush=act != "goaway after")
        if act == "broken":
            self.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)
        elif act == "goaway after":
            self.go_away(stream)
        return None

    def send(self, stream, status, answered, data, length=None, end=True, flush=True):
        headers = [(":status", str(status)), *((name.lower(), answered[name]) for name in ("Content-Type", "Date") if name in answered)]
        self.h2.send_headers(stream, [*headers, *([("content-length", str(length))] if length is not None else [])])
        self.pieces(stream, data, end, flush)

    def pieces(self, stream, data, end, flush=True):
        """What fits into the window that the client gives, which is larger than any answer of these tests."""
        size = self.h2.max_outbound_frame_size
        for at in range(0, len(data), size):
            self.h2.send_data(stream, data[at:at + size])
        if end:
            self.h2.end_stream(stream)
        if flush:
            self.flush()

    # --- watches ------------------------------------------------------------------------------------------------------

    def watch(self, stream, target, act):
        there = self.proxy.api.open()
        try:
            there.request("GET", target, headers=self.proxy.api.headers)
            answer = there.getresponse()
            self.hand_over(stream, act, answer)
            for line in answer:
                self.hand_over(stream, act, line)
            self.hand_over(stream, act, None)
        except OSError:
            pass  # the client went long ago
        finally:
            there.close()

    def hand_over(self, *what):
        self.lines.put(what)
        self.waker.send(b"1")

    def tell(self, stream, act, line):
        """False: the connection ends."""
        if stream in self.ended or self.leaving:
            return True
        if not isinstance(line, (bytes, type(None))):
            self.send(stream, line.status, line.headers, b"", end=False)
            return True
        self.pieces(stream, line or b"", line is None)
        if act == "goaway within":
            self.go_away(stream)
            return False
        return True
