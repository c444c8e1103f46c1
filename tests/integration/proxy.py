"""A network in between: bytes from a TCP port of the loopback, or a Unix socket, to a Unix socket, until told to stall."""

import selectors
import socket
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
            select = selectors.DefaultSelector()
            select.register(near, selectors.EVENT_READ, far)
            select.register(far, selectors.EVENT_READ, near)
            mute = False
            while True:
                for key, _ in select.select():
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
