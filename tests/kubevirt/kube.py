"""A small client of a Kubernetes API server for the tests' own programs; it shares nothing with what they test."""

import base64
import http.client
import json
import os
import pathlib
import re
import ssl
import threading
import time
import urllib.parse


class Refused(Exception):
    def __init__(self, code, body):
        super().__init__(f"{code} {body if isinstance(body, str) else body.get('message', body)}")
        self.code, self.body = code, body


class Api:
    """One server, one identity; a connection per thread. objects are dicts as in JSON."""

    def __init__(self, server, ca=None, token=None, cert=None, agent="kubevirt-stand-in"):
        self.url = urllib.parse.urlsplit(server)
        self.tls = ssl.create_default_context(cafile=ca) if self.url.scheme == "https" else None
        if cert:
            self.tls.load_cert_chain(*cert)
        self.headers = {"User-Agent": agent, "Accept": "application/json, */*"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"
        self.local = threading.local()

    def open(self, timeout=60):
        if self.tls:
            return http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=timeout, context=self.tls)
        return http.client.HTTPConnection(self.url.hostname, self.url.port, timeout=timeout)

    def raw(self, method, path, body=None, headers=()):
        """(status, headers, bytes)."""
        if body is not None and not isinstance(body, (bytes, str)):
            body = json.dumps(body)
        headers = {**self.headers, **({"Content-Type": "application/json"} if body is not None else {}), **dict(headers)}
        for last in (False, True):
            link = getattr(self.local, "link", None) or self.open()
            self.local.link = link
            try:
                link.request(method, path, body, headers)
                answer = link.getresponse()
                data = answer.read()
                if answer.will_close:
                    self.close()
                return answer.status, answer.headers, data
            except (OSError, http.client.HTTPException):
                # A kept connection that the server has closed meanwhile is no failure of the request.
                self.close()
                if last:
                    raise
        raise AssertionError

    def close(self):
        link = getattr(self.local, "link", None)
        if link:
            link.close()
        self.local.link = None

    def call(self, method, path, body=None, headers=()):
        status, _, data = self.raw(method, path, body, headers)
        try:
            answer = json.loads(data) if data else None
        except ValueError:
            answer = data.decode(errors="replace")
        if status >= 400:
            raise Refused(status, answer if answer is not None else "")
        return answer

    def get(self, path):
        return self.call("GET", path)

    def find(self, path):
        """None where there is no such object."""
        try:
            return self.call("GET", path)
        except Refused as refused:
            if refused.code == 404:
                return None
            raise

    def post(self, path, body):
        return self.call("POST", path, body)

    def put(self, path, body):
        return self.call("PUT", path, body)

    def patch(self, path, body, kind="merge-patch+json"):
        return self.call("PATCH", path, body, {"Content-Type": f"application/{kind}"})

    def delete(self, path, body=None):
        return self.call("DELETE", path, body)

    def watch(self, path, since, limit=None):
        """Each change after that resourceVersion: (type, object), for ever or until limit (seconds; then TimeoutError). Ends where the
        server has forgotten so much (410)."""
        until = time.monotonic() + limit if limit else None
        while True:
            seconds = 3600 if until is None else max(1, int(until - time.monotonic()))
            link = self.open(timeout=seconds + 30)
            try:
                link.request("GET", f"{path}?watch=true&allowWatchBookmarks=true&resourceVersion={since}&timeoutSeconds={seconds}", headers=self.headers)
                answer = link.getresponse()
                if answer.status != 200:
                    raise OSError(f"watch of {path}: {answer.status} {answer.read()[:500]!r}")
                for line in answer:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        return
                    since = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        yield event["type"], event["object"]
            finally:
                link.close()
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"{path}: what was waited for did not come in {limit} s")


def of_world(user="admin", agent="vmctl-tests"):
    """The API of this world's cluster, as one of the users of `cluster`."""
    certs = pathlib.Path(os.environ["WORLD"]) / "kubernetes/certs"
    return Api("https://127.0.0.1:6443", str(certs / "ca.crt"), f"{user}-token-of-the-tests", agent=agent)


def path(kind, namespace=None, name=None, sub=None):
    """kind: "kubevirt.io/v1/virtualmachines" or "v1/pods"."""
    group, _, plural = kind.rpartition("/")
    parts = ["/apis" if "/" in group else "/api", group, *(["namespaces", namespace] if namespace else []), plural,
             *([name] if name else []), *([sub] if sub else [])]
    return "/".join(parts)


def quantity(text):
    """Bytes (or units) of a Kubernetes quantity: "512Mi", "2G", "100m"."""
    number, suffix = re.fullmatch(r"([0-9.]+)([EPTGMKkimunu]*)", str(text)).groups()
    scale = {"": 1, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}
    return float(number) * scale[suffix]


def b64(data):
    return base64.b64encode(data).decode()
