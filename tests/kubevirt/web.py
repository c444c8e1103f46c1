"""HTTPS and WebSockets as the stand-ins serve them: one handler per request, a thread per connection."""

import base64
import hashlib
import http.server
import json
import socket
import ssl
import struct
import traceback
import urllib.parse


class Answer(Exception):
    """Ends a request: raised from anywhere in a handler."""

    def __init__(self, code, body=b"", kind="application/json", headers=()):
        super().__init__(code)
        self.code, self.kind, self.headers = code, kind, dict(headers)
        self.body = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body, indent=1).encode()


def text(code, words, headers=()):
    return Answer(code, words, "text/plain; charset=utf-8", headers)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    data = b""  # of a handler that read the body itself

    def setup(self):
        # Here, in the connection's own thread: a slow peer must not keep the others waiting.
        self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # the peer is gone

    def log_message(self, *_):
        pass

    def body(self):
        if self.unread:
            self.unread = False
            self.data = self.read_body()
        return self.data

    def read_body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline().split(b";")[0], 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def serve(self):
        self.unread = True
        split = urllib.parse.urlsplit(self.path)
        self.parts = [urllib.parse.unquote(part) for part in split.path.strip("/").split("/")]
        self.query = {name: values[-1] for name, values in urllib.parse.parse_qs(split.query, keep_blank_values=True).items()}
        try:
            self.answer()
            return  # it has answered itself: a WebSocket
        except Answer as answer:
            pass_on = answer
        except (OSError, ValueError):
            raise
        except Exception:
            traceback.print_exc()  # a fault of the stand-in's: its log tells it
            pass_on = text(500, "the stand-in failed")
        # What a handler did not look at must not be taken for the next request.
        if not self.close_connection:
            self.body()
        self.send_response(pass_on.code)
        if pass_on.body:
            self.send_header("Content-Type", pass_on.kind)
        self.send_header("Content-Length", str(len(pass_on.body)))
        for name, value in pass_on.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(pass_on.body)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = serve

    def answer(self):
        raise NotImplementedError


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port, handler, certificate, key, client_ca=None, host="127.0.0.1"):
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.tls.load_cert_chain(certificate, key)
        self.tls.set_alpn_protocols(["http/1.1"])
        if client_ca:
            self.tls.load_verify_locations(client_ca)
            self.tls.verify_mode = ssl.CERT_OPTIONAL
        super().__init__((host, port), handler)

    def handle_error(self, request, client_address):
        pass  # a handshake that failed, a peer that went


class WebSocket:
    """The server's end of one, RFC 6455; made from a handler whose request asks for it."""

    TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10

    def __init__(self, handler, subprotocol):
        key = handler.headers["Sec-WebSocket-Key"]
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
        offered = [name.strip() for name in handler.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        handler.send_response(101)
        handler.send_header("Upgrade", "websocket")
        handler.send_header("Connection", "Upgrade")
        handler.send_header("Sec-WebSocket-Accept", accept)
        if subprotocol in offered:
            handler.send_header("Sec-WebSocket-Protocol", subprotocol)
        handler.end_headers()
        handler.wfile.flush()
        handler.close_connection = True
        self.read_from, self.link = handler.rfile, handler.connection
        self.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data, opcode=BINARY):
        length = len(data)
        head = bytes([0x80 | opcode])
        head += bytes([length]) if length < 126 else b"\x7e" + struct.pack("!H", length) if length < 65536 else b"\x7f" + struct.pack("!Q", length)
        self.link.sendall(head + data)

    def close(self, code=1000, reason=""):
        self.send(struct.pack("!H", code) + reason.encode(), self.CLOSE)

    def frame(self):
        """(opcode, payload), or None at the end of the connection."""
        head = self.read_from.read(2)
        if len(head) < 2:
            return None
        length = head[1] & 127
        if not head[1] & 128:
            self.close(1002, "a client masks its frames")
            return None
        if length == 126:
            length = struct.unpack("!H", self.read_from.read(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.read_from.read(8))[0]
        mask = self.read_from.read(4)
        data = self.read_from.read(length)
        if len(data) < length:
            return None
        if length:
            pad = (mask * (length // 4 + 1))[:length]
            data = (int.from_bytes(data, "little") ^ int.from_bytes(pad, "little")).to_bytes(length, "little")
        return head[0] & 15, data

    def messages(self):
        """The data of each message until the peer closes; pings are answered."""
        while frame := self.frame():
            opcode, data = frame
            if opcode == self.CLOSE:
                self.send(data[:2], self.CLOSE)
                return
            if opcode == self.PING:
                self.send(data, self.PONG)
            elif opcode in (0, self.TEXT, self.BINARY):
                yield data
