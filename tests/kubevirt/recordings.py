"""The recorded exchanges with a real cluster (tests/fixtures/kubevirt), read."""

import json
import pathlib
import re
import urllib.parse

FOLDER = pathlib.Path(__file__).resolve().parents[1] / "fixtures/kubevirt"


class Recording:
    """number ("51"), title, method, path (with no query), query (pairs, sorted), headers, body (object or text) of the request;
    status, answer_headers, answer (bytes) of the response."""

    def __init__(self, file):
        self.file = file
        self.number, _, self.title = file.stem.partition("-")
        data = file.read_bytes()
        asked, _, answered = data.partition(b"-----RESPONSE-----\n")
        head, _, body = asked.partition(b"\n\n" if b"\r\n\r\n" not in asked else b"\r\n\r\n")
        lines = head.decode().splitlines()
        self.method, self.target = lines[0].split()[:2]
        split = urllib.parse.urlsplit(self.target)
        self.path, self.query = split.path, sorted(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        self.headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        self.body = body.strip()
        head, _, self.answer = answered.partition(b"\r\n\r\n" if b"\r\n\r\n" in answered[:4000] else b"\n\n")
        lines = head.decode(errors="replace").splitlines()
        self.status = int(re.match(r"HTTP(?:/1\.1)? (\d+)", lines[0]).group(1))
        self.answer_headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if file.suffix == ".ws":
            self.answer = re.split(rb"(?:<EOF>)?<close sent>", self.answer)[0]
        if file.suffix == ".watch":
            self.answer = self.answer.strip() + b"\n"

    def json(self):
        return json.loads(self.answer)

    def events(self):
        """Of a watch: its lines as objects."""
        return [json.loads(line) for line in self.answer.splitlines() if line.strip()]


def every():
    return [Recording(file) for file in sorted(FOLDER.iterdir()) if file.suffix in (".http", ".watch", ".ws")]


def of(number):
    return Recording(next(FOLDER.glob(f"{number}-*")))
