"""The guests that run in the cluster of the tests: what tests/guests/counter.S prints, without a CPU. A guest is known by the uid of
its VMI; it goes on counting through pauses of its watchers and through migrations, and begins again when it is reset."""

import threading
import time

BANNER = b"vmctl guest: it boots\r\n"
LINES_A_SECOND = 9.1  # every second tick of the BIOS's clock


class Guest:
    def __init__(self, paused=False, now=time.monotonic):
        self.now = now
        self.change = threading.Condition()
        self.log = bytearray()
        self.line, self.began, self.paused_at, self.over = 0, now(), None, False
        self.reader = None  # of the console: a newer one takes it from the older
        self.boot()
        if paused:  # before its first instruction
            self.log.clear()
            self.paused_at = self.began

    def boot(self):
        with self.change:
            self.log += BANNER
            self.line, self.began = 0, self.now()
            if self.paused_at is not None:
                self.paused_at = self.began
            self.change.notify_all()

    def advance(self):
        """Prints what it has come to; with the lock held."""
        until = self.paused_at if self.paused_at is not None else self.now()
        if not self.log and self.paused_at is None:
            self.log += BANNER
        due = 0 if not self.log else int((until - self.began) * LINES_A_SECOND) + 1
        while self.line < due and not self.over:
            self.line += 1
            self.log += b"vmctl guest: line %d\r\n" % self.line

    def pause(self, on):
        with self.change:
            if on and self.paused_at is None:
                self.paused_at = self.now()
                self.advance()
            elif not on and self.paused_at is not None:
                self.began += self.now() - self.paused_at
                self.paused_at = None
            self.change.notify_all()

    def end(self):
        with self.change:
            self.advance()
            self.over = True
            self.change.notify_all()

    def typed(self, data):
        with self.change:
            if self.paused_at is None and not self.over:
                self.advance()
                self.log += b"".join(b"<%c>\r\n" % byte for byte in data)
                self.change.notify_all()

    def colours(self):
        """Of the four quarters of its screen: one for each line that the guest has come to."""
        with self.change:
            self.advance()
            return [bytes(((self.line * 37) & 255, (self.line * 91) & 255, (self.line * 151) & 255))] * 4

    def text(self):
        with self.change:
            self.advance()
            return bytes(self.log)

    def follow(self, at, wanted):
        """Yields what is printed from that place on, until the guest is over or wanted() says no more."""
        while wanted():
            with self.change:
                self.advance()
                piece = bytes(self.log[at:])
                at += len(piece)
                if not piece:
                    if self.over:
                        return
                    self.change.wait(1 / LINES_A_SECOND if self.paused_at is None else 1)
            if piece:
                yield piece


class Picture(Guest):
    """What tests/guests/picture.S does without a keyboard: four quarters of the VGA's standard palette, and one line when they are drawn."""

    def boot(self):
        with self.change:
            self.log += b"picture: drawn\r\n"
            self.change.notify_all()

    def advance(self):
        if not self.log and self.paused_at is None:
            self.boot()

    def colours(self):
        return [bytes.fromhex(c) for c in ("aa0000", "00aa00", "0000aa", "ffffff")]


class Guests:
    def __init__(self):
        self.lock, self.by_uid = threading.Lock(), {}

    def of(self, uid):
        with self.lock:
            return self.by_uid.get(uid)

    def start(self, uid, paused=False, kind=Guest):
        with self.lock:
            if uid not in self.by_uid:
                self.by_uid[uid] = kind(paused)

    def pause(self, uid, on):
        guest = self.of(uid)
        if guest:
            guest.pause(on)

    def end(self, uid):
        guest = self.of(uid)
        if guest:
            guest.end()


guests = Guests()
