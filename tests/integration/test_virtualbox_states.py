#!/usr/bin/env python3
"""VirtualBox' states while they change: VBoxSVC writes a settings file some time after a VM has changed, by two renames between which there is none, and
`list runningvms` leaves out what starts, saves, stops or has crashed. Whoever looks meanwhile hears of no state that was never there."""

import json
import os
import pathlib
import re
import signal
import subprocess

import additions
import harness
from harness import run, vmctl

harness.need("strace")
harness.enter("--virtualbox", cached=False)
os.environ["VMCTL_BACKEND"] = "virtualbox"
WORLD = pathlib.Path(os.environ["WORLD"])
EXTRA = "virtualbox: {modifyvm: {vm-execution-engine: recompiler, paravirt-provider: none}}"


def spec(name, networks=""):
    return (f"name: {name}\nbackend: virtualbox\nmemory: 32MiB\nnetworks: [{networks}]\ndisplay: none\n"
            f"disks: [{{name: root, image: {harness.GUEST}}}]\nserial: {{log: serial.log}}\n{EXTRA}\n")


def manage(*arguments):
    return run("VBoxManage", *arguments)


def listed(name):
    """What `list` and `top` say of its state, each of which must know the VM."""
    vms = {vm["name"]: vm for vm in json.loads(vmctl("list", "-o", "json").out)}
    return vms[name]["state"] if name in vms else f"only {sorted(vms)}"


class States(harness.Case):
    def tearDown(self):
        for line in manage("list", "vms").out.split("{")[1:]:
            vmctl("delete", line.split("}")[0], "--force")

    def make(self, *arguments, **options):
        self.ok(vmctl("create", "-", *arguments, input=spec("web", **options)))

    def slow(self, how):
        """VBoxSVC takes its time with each rename: strace's --inject, which ends with the test."""
        server = harness.processes("VBoxSVC")
        self.assertEqual(len(server), 1)
        log = WORLD / "strace.log"
        tracer = subprocess.Popen(["strace", "-f", "-qq", "-e", "trace=rename", f"--inject=rename:{how}", "-p", str(server[0]), "-o", str(log)],
                                  stderr=subprocess.DEVNULL)

        def end():
            tracer.send_signal(signal.SIGINT)
            tracer.wait(60)

        self.addCleanup(end)
        self.wait_for("strace is there", lambda: int(pathlib.Path(f"/proc/{server[0]}/status").read_text().split("TracerPid:")[1].split()[0]) != 0)

    def while_it_changes(self, words, look):
        """What look() says, again and again, from before VBoxManage does it until it has been done."""
        seen = [look()]
        with subprocess.Popen(["VBoxManage", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as changing:
            while changing.poll() is None:
                seen.append(look())
            self.assertEqual(changing.returncode, 0, changing.stderr.read())
        seen.append(look())
        return [state for n, state in enumerate(seen) if n == 0 or state != seen[n - 1]]

    def test_no_file_between_two_renames(self):
        """Every look finds the VM, by its name and in the list."""
        self.make()
        self.slow("delay_exit=300000")
        seen = self.while_it_changes(["setextradata", "web", "note", "words"],
                                     lambda: (listed("web"), self.json(vmctl("get", "web", "-o", "json"))["state"]))
        self.assertEqual(seen, [("stopped", "stopped")])

    def test_states_that_are_not_written_yet(self):
        """From one state to the next without a state that was never there."""
        self.make("--start")
        self.counts("web", 2)
        self.slow("delay_enter=100000")
        for words, before, after, between in (
                (["controlvm", "web", "savestate"], "running", "saved", {"paused", "stopping", "unknown"}),
                (["startvm", "web", "--type", "headless"], "saved", "running", {"starting", "paused"}),
                (["controlvm", "web", "poweroff"], "running", "stopped", {"stopping"}),
                (["startvm", "web", "--type", "headless"], "stopped", "running", {"starting"}),
                (["controlvm", "web", "pause"], "running", "paused", set())):
            self.wait_for(f"it is {before}", lambda want=before: listed("web") == want)
            seen = self.while_it_changes(words, lambda: listed("web"))
            self.assertEqual([state for state in seen if state not in between - {"unknown"}], [before, after], (words, seen))

    def test_a_crashed_one_is_listed_as_crashed(self):
        image = WORLD / "faults.img"
        code = bytes.fromhex("31c08ed80f011e107ccc").ljust(510, b"\0") + b"\x55\xaa"
        image.write_bytes(code.ljust(1 << 20, b"\0"))
        self.ok(vmctl("create", "-", "--start", input=spec("web").replace(harness.GUEST, str(image))))
        self.wait_for("VirtualBox gives it up", lambda: self.json(vmctl("get", "web", "-o", "json"))["state"] == "crashed")
        self.assertEqual(listed("web"), "crashed")
        self.assertEqual(self.json(vmctl("host", "info", "-o", "json"))["vmCount"], 1)

    def test_a_start_that_takes_its_time(self):
        """VBoxSVC lets nobody near the VM: it is starting, at once."""
        self.make()
        with subprocess.Popen(["VBoxManage", "startvm", "web", "--type", "headless"], stdout=subprocess.DEVNULL) as starting:
            victims = []
            while not victims and starting.poll() is None:
                victims = harness.processes("VBoxHeadless")
            os.kill(victims[0], signal.SIGSTOP)
            try:
                self.assertEqual((listed("web"), self.json(vmctl("get", "web", "-o", "json"))["state"]), ("starting", "starting"))
            finally:
                os.kill(victims[0], signal.SIGCONT)
            self.assertEqual(starting.wait(200), 0)

    # --- the balloon ------------------------------------------------------------------------------------------------------

    def test_the_balloon_of_a_real_vm(self):
        """What VirtualBox itself takes of a VM (whose Guest Additions are played): its balloon grows and shrinks, and the next start has that size."""
        self.make("--start")
        self.status(vmctl("set", "web", "memory=24MiB", "--live"), 6, "Guest Additions")
        real = run("sh", "-c", "command -v VBoxManage").out.strip()
        played = WORLD / "played"
        played.mkdir()
        additions.install(played / "VBoxManage", played, "", real=real)
        env = {"PATH": f"{played}:{os.environ['PATH']}"}

        def balloon():
            return manage("showvminfo", "web", "--machinereadable").out.split("GuestMemoryBalloon=")[1].split()[0]

        self.ok(vmctl("set", "web", "memory=24MiB", "--live", env=env))
        self.assertEqual(balloon(), "8")
        self.assertIn("memory: 24MiB", self.ok(vmctl("get", "web", "-o", "spec", env=env)).out)
        self.ok(vmctl("set", "web", "memory=28MiB", "--live", env=env))
        self.assertEqual(balloon(), "4")
        self.ok(vmctl("set", "web", "memory=32MiB", "--live", env=env))
        self.assertEqual(balloon(), "0")
        self.ok(vmctl("set", "web", "memory=24MiB", "--live", env=env))
        self.ok(vmctl("stop", "web", "--force"))
        self.ok(vmctl("start", "web"))
        self.assertIn("memory=24\n", manage("showvminfo", "web", "--machinereadable").out)
        self.assertEqual(balloon(), "0")

    # --- USB devices of the host -------------------------------------------------------------------------------------------

    def test_usb_filters_and_a_host_without_usb(self):
        """Filters of a real VM; and its host, which lets VirtualBox have no devices: refused beforehand, in the words of caps."""
        def filters():
            return re.findall(r'^USBFilter(?:Name|VendorId|ProductId)\d="(.*)"$', manage("showvminfo", "web", "--machinereadable").out, re.M)

        usb = 'usb: [{name: stick, device: "0781:5583"}, {name: token, device: "1050:0407"}]\n'
        rendered = self.ok(vmctl("render", "-", input=spec("web") + usb)).out
        self.assertRegex(rendered, r"--usbxhci on")
        self.assertRegex(rendered, r"VBoxManage usbfilter add 1 --target \S+ --name token --vendorid 1050 --productid 0407\n")
        made = self.ok(vmctl("create", "-", input=spec("web") + usb))
        self.assertIn("gets no USB devices for now", made.err)
        self.assertEqual(filters(), ["stick", "0781", "5583", "token", "1050", "0407"])
        shown = self.ok(vmctl("get", "web", "-o", "spec")).out
        self.assertIn("is the same", self.ok(vmctl("diff", "-", input=shown)).out)
        self.ok(manage("usbfilter", "add", "1", "--target", "web", "--name", "a/b", "--manufacturer", "Foo", "--port", "3", "--remote", "no"))
        self.ok(vmctl("set", "web", "usb.token.device=1050:0408"))
        self.ok(vmctl("detach", "web", "stick"))
        self.assertEqual(filters(), ["a/b", "", "", "token", "1050", "0408"])
        self.ok(vmctl("apply", "-", "--prune", input=shown.replace("- name: token", "- name: other")))
        self.assertEqual(filters(), ["a/b", "", "", "stick", "0781", "5583", "other", "1050", "0407"])
        self.status(vmctl("attach", "web", "usb", "name=other", "device=0781:5583"), 5, "already")
        self.ok(vmctl("start", "web"))
        before = filters()
        here = self.json(vmctl("caps", "--vm", "web", "--feature", "device.usb", "-o", "json"))[0]["here"]
        refused = self.status(vmctl("attach", "web", "usb", "name=live", "device=0781:5584", "--live"), 3, here["reason"], here["remedy"])
        self.assertIn("Could not load the Host USB Proxy service", refused.err)
        self.status(vmctl("attach", "web", "usb", "name=live", "address=1:4"), 3, here["reason"])
        self.assertEqual(filters(), before)
        self.assertIn(here["reason"], self.ok(vmctl("attach", "web", "usb", "name=later", "device=0781:5584")).err)
        self.ok(vmctl("detach", "web", "other", "--live"))
        self.assertEqual(filters(), ["a/b", "", "", "stick", "0781", "5583"])
        self.ok(vmctl("stop", "web", "--force"))
        self.ok(vmctl("start", "web"))
        self.assertEqual(filters(), ["a/b", "", "", "stick", "0781", "5583", "later", "0781", "5584"])

    # --- a memory that is thrown away --------------------------------------------------------------------------------

    def test_a_save_that_succeeded_and_is_lost(self):
        """VBoxManage says that it has saved; the process dies, and VirtualBox throws the memory away. Nobody is told that it is saved."""
        self.make("--start")
        self.counts("web", 2)
        real = run("sh", "-c", "command -v VBoxManage").out.strip()
        spy = WORLD / "spy"
        spy.mkdir()
        (spy / "VBoxManage").write_text(f'#!/bin/sh\n{real} "$@"\ncode=$?\ncase "$*" in *savestate*) {real} discardstate web ;; esac\nexit $code\n')
        (spy / "VBoxManage").chmod(0o755)
        lost = vmctl("save", "web", env={"PATH": f"{spy}:{os.environ['PATH']}"})
        self.assertEqual(lost.status, 70, lost)
        self.assertIn("web", lost.err)
        self.assertEqual(listed("web"), "stopped")

    def test_a_process_that_dies_of_saving(self):
        """VirtualBox 7.2's NAT does that the third time that a memory was restored: a failure that says what is lost, and never success."""
        self.make("--start", networks="{name: out, type: nat}")
        for _ in range(8):
            self.counts("web", 1)
            saved = vmctl("save", "web")
            if saved.status:
                break
            self.assertEqual(listed("web"), "saved")
            self.ok(vmctl("start", "web"))
        if saved.status:  # another VirtualBox may do better
            self.assertEqual(saved.status, 70, saved)
            self.assertIn("threw the memory away", saved.err)
            self.assertEqual(listed("web"), "stopped")
            self.assertIn("aborted", json.dumps(self.one(vmctl("get", "web", "-o", "json"))))
            self.ok(vmctl("start", "web"))
        self.ok(vmctl("stop", "web", "--force"))
        self.assertEqual(listed("web"), "stopped")


if __name__ == "__main__":
    harness.main()
