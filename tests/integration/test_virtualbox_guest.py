#!/usr/bin/env python3
"""exec, cp, addresses and passwords through Guest Additions, against a stand-in for VBoxManage: it answers as VBoxManage's manual says and runs
what it is told on this machine. What it is called with is looked at: no password is ever in an argument."""

import json
import os
import pathlib
import shutil
import sys
import tempfile

import additions
import harness
from harness import vmctl

if not os.access(harness.VMCTL, os.X_OK):
    harness.skip(f"{harness.VMCTL} is not built")

ROOT = pathlib.Path(tempfile.mkdtemp(prefix="vmctl-guest."))
LOG = ROOT / "calls"
VM = "22222222-2222-4333-8444-555555555501"
SECRET = "geheim: 'quoted' $x"

SETTINGS = f"""<?xml version="1.0"?>
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.20-linux">
  <Machine uuid="{{{VM}}}" name="inside" OSType="Debian_64">
    <Hardware>
      <Memory RAMSize="512"/>
      <Network><Adapter slot="0" enabled="true" MACAddress="080027E5945A" type="virtio"><NAT/></Adapter></Network>
    </Hardware>
  </Machine>
</VirtualBox>
"""
REGISTRY = f"""<?xml version="1.0"?>
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.14-linux"><Global>
  <MachineRegistry><MachineEntry uuid="{{{VM}}}" src="{ROOT}/vm/inside.vbox"/></MachineRegistry>
</Global></VirtualBox>
"""


def calls():
    return [json.loads(line) for line in LOG.read_text().splitlines()] if LOG.exists() else []


class Guest(harness.Case):
    def setUp(self):
        for folder in ("bin", "vm", "home", "guest"):
            shutil.rmtree(ROOT / folder, ignore_errors=True)
            (ROOT / folder).mkdir()
        LOG.unlink(missing_ok=True)
        additions.install(ROOT / "bin/VBoxManage", ROOT, SECRET)
        (ROOT / "vm/inside.vbox").write_text(SETTINGS)
        (ROOT / "home/VirtualBox.xml").write_text(REGISTRY)
        (ROOT / "info").write_text('VMState="running"\nGuestAdditionsRunLevel=2\n')
        (ROOT / "help").write_text("run [--arg0=argument 0]")
        (ROOT / "properties").write_text("/VirtualBox/GuestInfo/Net/0/MAC = '080027E5945A' @ 2026-11-23T04:58:36.021Z\n"
                                         "/VirtualBox/GuestInfo/Net/0/V4/IP = '10.0.2.15' @ 2026-11-23T04:58:36.021Z\n")
        (ROOT / "password").write_text(SECRET + "\n")
        self.env = {"PATH": f"{ROOT}/bin:{os.environ['PATH']}", "VBOX_USER_HOME": str(ROOT / "home"), "VMCTL_BACKEND": "virtualbox",
                    "VMCTL_GUEST_USER": "ci", "VMCTL_GUEST_PASSWORD_FILE": str(ROOT / "password"), "HOME": str(ROOT)}

    def run_vmctl(self, *arguments, **options):
        result = vmctl(*arguments, env={**self.env, **options.pop("env", {})}, **options)
        self.assertNotIn("geheim", json.dumps(calls()) + result.err)
        self.assertEqual([p.name for p in (ROOT / "vm").iterdir()], ["inside.vbox"], result)  # no password is left
        return result

    def test_a_reboot_is_the_additions_doing(self):
        self.assertEqual(self.run_vmctl("restart", "inside", "--soft").status, 0)
        self.assertIn(["controlvm", VM, "reboot"], [c for c in calls() if c[0] == "controlvm"])
        (ROOT / "info").write_text('VMState="running"\nGuestAdditionsRunLevel=0\n')
        LOG.unlink()
        self.status(self.run_vmctl("restart", "inside", "--soft"), 6, "no Guest Additions run")
        self.assertEqual([c for c in calls() if c[0] == "controlvm"], [])

    def test_a_program_runs_there(self):
        done = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/sh", "-c", "echo \"out $1\"; echo err >&2; exit 7", "sh", "a b")
        self.assertEqual((done.status, done.out), (7, "out a b\n"), done)
        self.assertIn("err", done.err)
        fed = self.run_vmctl("exec", "--via", "agent", "--stdin", "inside", "--", "/bin/cat", input="fed\n")
        self.assertEqual((fed.status, fed.out), (0, "fed\n"), fed)
        high = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/sh", "-c", "exit 200")
        self.assertNotEqual(high.status, 0)
        self.assertIn("94 or more", high.err)

    def test_a_program_is_looked_for_in_the_path(self):
        self.assertEqual(self.ok(self.run_vmctl("exec", "--via", "agent", "inside", "--", "printf", "%s.", "a b", "c")).out, "a b.c.")
        fed = self.ok(self.run_vmctl("exec", "--via", "agent", "--stdin", "inside", "--", "cat", input="fed\n"))
        self.assertEqual(fed.out, "fed\n")
        mine = self.run_vmctl("exec", "--via", "agent", "inside", "--", "sh", "-c", "exit 93")
        self.assertEqual(mine.status, 93, mine)
        nowhere = self.run_vmctl("exec", "--via", "agent", "inside", "--", "no-such-program")
        self.assertEqual((nowhere.status, nowhere.out), (127, ""), nowhere)
        self.assertIn("no-such-program: not found", nowhere.err)

    def test_a_program_that_is_not_there(self):
        done = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/no-such-program")
        self.assertEqual((done.status, done.err), (127, "/bin/no-such-program: not found\n"), done)

    def test_who_may_not_log_in(self):
        (ROOT / "wrong").write_text("wrong\n")
        env = {"VMCTL_GUEST_PASSWORD_FILE": str(ROOT / "wrong")}
        self.status(self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/true", env=env), 125, "was not able to logon", "VMCTL_GUEST_PASSWORD_FILE")
        self.status(self.run_vmctl("cp", "--via", "agent", str(ROOT / "wrong"), "inside:/nowhere", env=env), 7, "VMCTL_GUEST_PASSWORD_FILE")

    def test_a_version_before_7(self):
        """The program's name had to be given as its first argument."""
        (ROOT / "help").write_text("run [--exe=filename]")
        done = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/echo", "x")
        self.assertEqual((done.status, done.out), (0, "x\n"), done)

    def test_files_go_whole_or_not_at_all(self):
        source, target = ROOT / "guest/source", ROOT / "guest/target"
        source.write_bytes(os.urandom(100000))
        self.ok(self.run_vmctl("cp", "--via", "agent", str(source), f"inside:{target}"))
        self.assertEqual(target.read_bytes(), source.read_bytes())
        back = ROOT / "guest/back"
        self.ok(self.run_vmctl("cp", "--via", "agent", f"inside:{target}", str(back)))
        self.assertEqual(back.read_bytes(), source.read_bytes())
        bad = ROOT / "guest/cannot-be-copied"
        bad.write_text("x")
        failed = self.run_vmctl("cp", "--via", "agent", str(bad), f"inside:{target}")
        self.assertEqual(failed.status, 11, failed)
        self.assertEqual(target.read_bytes(), source.read_bytes())
        gone = self.run_vmctl("cp", "--via", "agent", f"inside:{ROOT}/guest/nothing", str(back))
        self.assertEqual(gone.status, 4, gone)
        self.assertEqual(back.read_bytes(), source.read_bytes())
        self.assertEqual(sorted(p.name for p in (ROOT / "guest").iterdir()), ["back", "cannot-be-copied", "source", "target"])

    def test_a_password_is_set(self):
        self.ok(self.run_vmctl("set-password", "inside", "root", input=SECRET + "\n"))
        self.assertEqual((ROOT / "chpasswd").read_text(), f"root:{SECRET}\n")

    def test_memory_goes_and_comes_by_the_balloon(self):
        """At once, in one call, and the next start gives the VM that size; never more than it began with."""
        (ROOT / "info").write_text('VMState="running"\nGuestAdditionsRunLevel=2\nGuestMemoryBalloon=64\n')
        self.assertRegex(self.ok(self.run_vmctl("caps", "--vm", "inside", "--feature", "memory.balloon", "-o", "json")).out, r'"level": ?"yes"')
        self.ok(self.run_vmctl("set", "inside", "memory=384MiB", "--live"))
        self.assertIn(["controlvm", VM, "guestmemoryballoon", "128"], calls())
        marker = [c[3] for c in calls() if c[:3] == ["setextradata", VM, "vmctl.marker"]]
        self.assertEqual([(p["path"], p["value"]) for p in json.loads(marker[-1])["pending"]], [("memory.size", "384MiB")])
        LOG.unlink()
        more = self.status(self.run_vmctl("set", "inside", "memory=1GiB", "--live"), 6, "it began with 512 MiB")
        self.assertEqual([c for c in calls() if c[0] == "controlvm"], [], more)
        (ROOT / "info").write_text('VMState="running"\nGuestAdditionsRunLevel=0\n')
        none = self.status(self.run_vmctl("set", "inside", "memory=256MiB", "--live"), 6, "by the balloon of Guest Additions, and none run in it")
        self.assertEqual([c for c in calls() if c[0] in ("controlvm", "setextradata")], [], none)

    # --- USB devices of the host: VBoxManage's manual, "list usbhost", "usbfilter", "controlvm usbattach" ---------------------

    USBHOST = """UUID:               11111111-aaaa-4333-8444-000000000001
VendorId:           0x0781 (0781)
ProductId:          0x5583 (5583)
Revision:           1.0 (0100)
Port:               4
USB version/speed:  3/Super
Manufacturer:       SanDisk
Product:            Ultra Fit
SerialNumber:       4C53
Address:            sysfs:/sys/devices/pci0000:00/0000:00:14.0/usb1/1-4//device:/dev/vboxusb/001/004
Current State:      Busy

UUID:               11111111-aaaa-4333-8444-000000000002
VendorId:           0x1d6b (1D6B)
ProductId:          0x0002 (0002)
Port:               1
Address:            sysfs:/sys/devices/pci0000:00/0000:00:14.0/usb1/1-5//device:/dev/vboxusb/001/005
Current State:      Captured

UUID:               11111111-aaaa-4333-8444-000000000003
VendorId:           0x046d (046D)
ProductId:          0xc31c (C31C)
Port:               2
Address:            /dev/bus/usb/002/003
Current State:      Busy

UUID:               11111111-aaaa-4333-8444-000000000004
VendorId:           0x046d (046D)
ProductId:          0xc31c (C31C)
Port:               3
Address:            /dev/bus/usb/002/011
Current State:      Available

"""

    def plugged(self, filters="", controller=True):
        """A VM with a USB controller, and a host with four devices."""
        LOG.unlink(missing_ok=True)
        for name in ("usbwarning", "usbgone"):
            (ROOT / name).unlink(missing_ok=True)
        (ROOT / "usbhost").write_text(self.USBHOST)
        (ROOT / "info").write_text('VMState="running"\n')
        usb = '<Controllers><Controller name="xHCI" type="XHCI"/></Controllers>' if controller else ""
        (ROOT / "vm/inside.vbox").write_text(SETTINGS.replace("</Hardware>", f"<USB>{usb}<DeviceFilters>{filters}</DeviceFilters></USB></Hardware>"))

    def changes(self):
        return [c for c in calls() if c[0] in ("usbfilter", "modifyvm") or c[0] == "controlvm"]

    def test_usb_devices_come_to_a_vm_that_runs(self):
        first = "11111111-aaaa-4333-8444-000000000001"
        self.plugged()
        self.assertRegex(self.ok(self.run_vmctl("caps", "--vm", "inside", "--feature", "device.usb", "-o", "json")).out, r'"here": \{\s*"level": "yes"')
        self.ok(self.run_vmctl("attach", "inside", "usb", "name=stick", "device=0781:5583", "--live"))
        self.assertEqual(self.changes(), [
            ["usbfilter", "add", "0", "--target", VM, "--name", "stick", "--vendorid", "0781", "--productid", "5583"],
            ["controlvm", VM, "usbattach", first]])
        self.plugged()
        self.ok(self.run_vmctl("attach", "inside", "usb", "name=stick", "address=1:4", "--live"))
        self.assertEqual(self.changes(), [
            ["usbfilter", "add", "0", "--target", VM, "--name", "stick", "--vendorid", "0781", "--productid", "5583", "--serialnumber", "4C53", "--port", "4"],
            ["controlvm", VM, "usbattach", first]])
        self.plugged()
        self.ok(self.run_vmctl("attach", "inside", "usb", "name=keys", "address=2:11", "--live"))
        self.assertEqual(self.changes()[-1], ["controlvm", VM, "usbattach", "11111111-aaaa-4333-8444-000000000004"])

    def test_usb_devices_that_cannot_come(self):
        for device, status, words in (("ffff:fffe", 4, "no USB device ffff:fffe"), ("046d:c31c", 5, "say which by address"),
                                      ("1d6b:0002", 6, "another VM has the USB device 1d6b:0002")):
            self.plugged()
            self.status(self.run_vmctl("attach", "inside", "usb", "name=stick", f"device={device}"), status, words)
            self.assertEqual(self.changes(), [])
        self.plugged(controller=False)
        self.status(self.run_vmctl("attach", "inside", "usb", "name=stick", "device=0781:5583", "--live"), 6, "started without a USB controller")
        self.assertEqual(self.changes(), [])
        for said, status, words in (
                ("VirtualBox is not currently allowed to access USB devices.  You can change this by adding your user to the 'vboxusers' group.  "
                 "Please see the user manual for a more detailed explanation", 7, "usermod -a -G vboxusers"),
                ("Could not load the Host USB Proxy Service (VERR_FILE_NOT_FOUND). The service might not be installed on the host computer", 3, "modprobe vboxdrv")):
            self.plugged()
            (ROOT / "usbhost").write_text("<none>\n\n")
            (ROOT / "usbwarning").write_text(f"VBoxManage: warning: {said}\n")
            self.status(self.run_vmctl("attach", "inside", "usb", "name=stick", "device=0781:5583", "--live"), status, words)
            self.assertEqual(self.changes(), [])
            self.assertIn(words, self.run_vmctl("caps", "--vm", "inside", "--feature", "device.usb", "-o", "json").out)

    def test_an_attach_that_only_warned_is_taken_back(self):
        """controlvm usbattach exits with 0 where the service went away meanwhile: measured on 7.2."""
        self.plugged()
        (ROOT / "usbgone").write_text("VBoxManage: warning: Could not load the Host USB Proxy service: VERR_NOT_FOUND\n")
        self.status(self.run_vmctl("attach", "inside", "usb", "name=stick", "device=0781:5583", "--live"), 3, "does not run on its host")
        self.assertEqual([c[:3] for c in self.changes()], [["usbfilter", "add", "0"], ["controlvm", VM, "usbattach"], ["usbfilter", "remove", "0"]])

    def test_usb_devices_leave_a_vm_that_runs(self):
        self.plugged('<DeviceFilter name="other" active="true" manufacturer="Foo"/>'
                     '<DeviceFilter name="stick" active="true" vendorId="0781" productId="5583" serialNumber="4C53"/>')
        (ROOT / "info").write_text('VMState="running"\nUSBAttachedUUID1="11111111-aaaa-4333-8444-000000000001"\nUSBAttachedVendorId1="0x0781"\n'
                                   'USBAttachedProductId1="0x5583"\nUSBAttachedSerialNumber1="4C53"\nUSBAttachedUUID2="11111111-aaaa-4333-8444-000000000003"\n'
                                   'USBAttachedVendorId2="0x046d"\nUSBAttachedProductId2="0xc31c"\n')
        shown = [(d["name"], d.get("source")) for d in self.json(self.run_vmctl("device", "list", "inside", "-o", "json")) if d["kind"] == "usb"]
        self.assertEqual(shown, [("other", None), ("stick", "0781:5583"), ("usb-046d-c31c", "046d:c31c")])
        spec = self.ok(self.run_vmctl("get", "inside", "-o", "spec")).out
        self.assertEqual(spec.count("device:"), 1, spec)
        self.ok(self.run_vmctl("detach", "inside", "stick", "--live"))
        self.assertEqual(self.changes(), [["controlvm", VM, "usbdetach", "11111111-aaaa-4333-8444-000000000001"], ["usbfilter", "remove", "1", "--target", VM]])
        LOG.unlink()
        self.ok(self.run_vmctl("detach", "inside", "usb-046d-c31c", "--live"))
        self.assertEqual(self.changes(), [["controlvm", VM, "usbdetach", "11111111-aaaa-4333-8444-000000000003"]])

    def test_addresses(self):
        self.assertIn("10.0.2.15", self.ok(self.run_vmctl("address", "inside")).out)

    def test_refused_with_the_reason(self):
        nobody = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/true", env={"VMCTL_GUEST_USER": ""})
        self.assertIn("VMCTL_GUEST_USER", nobody.err, nobody)
        (ROOT / "info").write_text('VMState="running"\nGuestAdditionsRunLevel=0\n')
        none = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/true")
        self.assertIn("no Guest Additions run in the guest of inside", none.err, none)
        caps = self.ok(self.run_vmctl("caps", "--vm", "inside", "--feature", "guest.exec"))
        self.assertIn("no Guest Additions run in the guest of inside", caps.out, caps)
        (ROOT / "info").write_text('VMState="poweroff"\nGuestAdditionsRunLevel=0\n')
        off = self.run_vmctl("exec", "--via", "agent", "inside", "--", "/bin/true")
        self.assertIn("vmctl start inside", off.err, off)


try:
    harness.main()
finally:
    shutil.rmtree(ROOT, ignore_errors=True)
