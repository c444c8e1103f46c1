#!/usr/bin/env python3
"""Plays virt-api, virt-controller, CDI and the nodes beside a real Kubernetes API server: stand_in.py SERVER CERTS FOLDER.

What they say and do is from the recorded exchanges with the real ones (tests/fixtures/kubevirt) and KubeVirt's documentation. FOLDER
gets stand-in.ready once everything answers and the controller has seen all objects once.
"""

import pathlib
import sys
import threading

import exports
import kube
import virt_api
from controller import Controller
import web
from objects import KUBELET_PORT, UPLOAD_PROXY_PORT, VIRT_API_PORT


def main():
    server, certs, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
    api = kube.Api(server, str(certs / "ca.crt"), cert=(str(certs / "controller.crt"), str(certs / "controller.key")), agent="virt-controller")
    controller, tokens = Controller(api, folder), virt_api.Tokens()
    virt_api.Handler.api, virt_api.Handler.controller, virt_api.Handler.tokens = api, controller, tokens
    virt_api.UploadProxy.api, virt_api.UploadProxy.tokens, virt_api.UploadProxy.folder = api, tokens, folder
    virt_api.Kubelet.controller = controller
    exports.Proxy.api, exports.Proxy.folder, exports.Proxy.certificate = api, folder, (certs / "ca.crt").read_text()
    files = str(certs / "stand-in.crt"), str(certs / "stand-in.key")
    for port, handler, client_ca in ((VIRT_API_PORT, virt_api.Handler, str(certs / "front-ca.crt")), (UPLOAD_PROXY_PORT, virt_api.UploadProxy, None),
                                     (KUBELET_PORT, virt_api.Kubelet, None), (exports.PROXY_PORT, exports.Proxy, None)):
        threading.Thread(target=web.Server(port, handler, *files, client_ca).serve_forever, daemon=True).start()
    # What a pod's address leads to: the API server proxies to none of this machine's own.
    threading.Thread(target=web.Server(exports.SERVER_PORT, exports.Proxy, *files, host=exports.SERVER).serve_forever, daemon=True).start()
    controller.run()
    controller.ready.wait()
    (folder / "stand-in.ready").write_text("")
    threading.Event().wait()


main()
