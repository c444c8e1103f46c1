#!/usr/bin/env python3
"""A machine where no daemon runs: vmctl starts what it needs, once, whoever comes first."""

import concurrent.futures
import os
import pathlib
import time

import harness
from harness import processes, run, vmctl

harness.enter("--kvm", "666")


class OnDemand(harness.Case):
    def test_1_twenty_at_once_on_a_cold_machine(self):
        self.assertEqual(processes("libvirtd"), [])
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            results = list(pool.map(lambda _: vmctl("list", "-o", "json"), range(20)))
        for result in results:
            self.ok(result)
            self.assertEqual(result.out.strip(), "[]")
        self.assertEqual(len(processes("libvirtd")), 1)
        self.assertEqual(len(processes("virtlogd")), 1)
        started = [r for r in results if "libvirtd" in r.err or "daemon" in r.err]
        self.assertGreaterEqual(len(started), 1, "the start is said in one line by whoever did it")

    def test_2_a_vm_lives_on_the_default_endpoint(self):
        self.ok(vmctl("create", "cold", "--image", harness.GUEST, "--memory", "32MiB", "--start"))
        console = self.ok(vmctl("console", "cold", "--until", "line [0-9]+", "--timeout", "30s"))
        self.assertIn("vmctl guest: line", console.out)
        info = self.one(vmctl("host", "info", "-o", "json"))
        self.assertIn("qemu:///system", str(info))
        self.ok(vmctl("delete", "cold", "--force"))

    def test_3_the_daemon_is_started_again_after_it_left(self):
        for pid in processes("libvirtd"):
            os.kill(pid, 15)
        self.wait_for("libvirtd has left", lambda: not processes("libvirtd"))
        self.ok(vmctl("list"))
        self.assertEqual(len(processes("libvirtd")), 1)

    def test_4_a_stale_socket_and_pid_file_do_no_harm(self):
        for pid in processes("libvirtd"):
            os.kill(pid, 9)
        self.wait_for("libvirtd is dead", lambda: not processes("libvirtd"))
        self.ok(vmctl("list"))
        self.assertEqual(len(processes("libvirtd")), 1)

    def test_5_daemons_are_not_the_callers_children(self):
        """The caller's standard streams are closed to them: a pipe behind vmctl ends with vmctl."""
        for pid in processes("libvirtd") + processes("virtlogd"):
            os.kill(pid, 15)
        self.wait_for("both have left", lambda: not processes("libvirtd") and not processes("virtlogd"))
        began = time.monotonic()
        result = run("sh", "-c", f"{harness.VMCTL} list -o name | cat", timeout=120)
        self.ok(result)
        self.assertLess(time.monotonic() - began, 15)
        for pid in processes("libvirtd"):
            self.assertEqual(pathlib.Path(f"/proc/{pid}/fd/0").resolve(), pathlib.Path("/dev/null"))


harness.main()
