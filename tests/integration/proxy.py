"""Networks in between: bytes from a TCP port of the loopback, or a Unix socket, to a Unix socket, until told to stall; and HTTP proxies, as
companies have them."""

import base64
import select
import selectors
import socket
import ssl
import threading


class Proxy:
    """libvirt over TCP at qemu+tcp://127.0.0.1:PORT/system, as the daemon itself offers it where it listens."""

    def __init__(self, path, swallow=None, at=None):
        """at: a Unix socket to listen on, instead of a port. swallow: what the daemon answers to a message with these bytes is kept back, once, and all after it on that connection."""
        self.path = path
        self.swallow = swallow
        if at:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(at)
            self.listener.listen()
        else:
            self.listener = socket.create_server(("127.0.0.1", 0))
            self.port = self.listener.getsockname()[1]
        self.flows = threading.Event()
        self.flows.set()
        threading.Thread(target=self.accept, daemon=True).start()

    def uri(self):
        return f"qemu+tcp://127.0.0.1:{self.port}/system"

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.carry, args=(near,), daemon=True).start()

    def carry(self, near):
        far = socket.socket(socket.AF_UNIX)
        try:
            far.connect(self.path)
            ready = selectors.DefaultSelector()
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            mute = False
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 16)
                    self.flows.wait()
                    if not data:
                        return
                    if key.fileobj is near and self.swallow and self.swallow in data:
                        self.swallow, mute = None, True
                    if not (mute and key.fileobj is far):
                        key.data.sendall(data)
        except OSError:
            pass
        finally:
            near.close()
            far.close()

    def stall(self):
        """Nothing gets through any more, and no connection is closed."""
        self.flows.clear()

    def flow(self):
        self.flows.set()


class ConnectProxy:
    """An HTTP proxy that makes tunnels (RFC 9110, 9.3.6) at 127.0.0.1:port, all of them to `to` whatever was asked for. tls: (certificate,
    key), where it speaks TLS itself. pair: "user:password" that it wants. What was asked for stands in `asked`, with what the proxy said."""

    def __init__(self, to, tls=None, pair=None):
        self.to, self.asked = to, []
        self.wanted = pair and "Basic " + base64.b64encode(pair.encode()).decode()
        self.context = None
        if tls:
            self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.context.load_cert_chain(*map(str, tls))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(near,), daemon=True).start()

    def serve(self, near):
        try:
            with self.context.wrap_socket(near, server_side=True) if self.context else near as link:
                self.tunnel(link)
        except (OSError, ValueError, IndexError):
            pass  # a handshake that failed, a peer that went

    def tunnel(self, near):
        head = b""
        while b"\r\n\r\n" not in head and (piece := near.recv(4096)):
            head += piece
            if head[0] < 32:  # TLS, where none is spoken
                return near.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, target, _ = first.split()
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        code = 405 if method != "CONNECT" else 407 if self.wanted and headers.get("proxy-authorization") != self.wanted else 200
        self.asked.append((target, code))
        if code != 200:
            near.sendall(f"HTTP/1.1 {code} No\r\nProxy-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
            return
        with socket.create_connection(self.to) as far:
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            links = {near: far, far: near}
            while True:
                # One thread for both ways, which TLS needs; what it has taken from the socket already, select() does not see.
                pending = isinstance(near, ssl.SSLSocket) and near.pending()
                for link in [near] if pending else select.select(list(links), [], [])[0]:
                    if not (data := link.recv(1 << 16)):
                        return
                    links[link].sendall(data)
