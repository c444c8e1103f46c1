#!/usr/bin/env python3
"""`vmctl get NAME -o spec | vmctl apply -` changes nothing: the domain XML before and after, whoever made the VM."""

import os
import pathlib

import harness
from harness import run, virsh, vmctl

harness.enter("--kvm", "666", "--daemons")
harness.need("virt-install", "virsh")

# What virt-manager 4.1 writes for a new UEFI machine with TPM on Debian 12.
VIRT_MANAGER = """
<domain type="qemu">
  <name>manager</name>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/12"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory>2097152</memory>
  <currentMemory>2097152</currentMemory>
  <vcpu current="2">4</vcpu>
  <os firmware="efi"><type arch="x86_64" machine="q35">hvm</type><boot dev="hd"/></os>
  <features><acpi/><apic/><vmport state="off"/></features>
  <cpu mode="maximum" check="none" migratable="on"/>
  <clock offset="utc"><timer name="rtc" tickpolicy="catchup"/><timer name="pit" tickpolicy="delay"/><timer name="hpet" present="no"/></clock>
  <pm><suspend-to-mem enabled="no"/><suspend-to-disk enabled="no"/></pm>
  <devices>
    <disk type="file" device="disk"><driver name="qemu" type="qcow2" discard="unmap"/><source file="/var/lib/libvirt/images/manager.qcow2"/><target dev="vda" bus="virtio"/></disk>
    <disk type="file" device="cdrom"><target dev="sda" bus="sata"/><readonly/></disk>
    <controller type="usb" model="qemu-xhci" ports="15"/>
    <controller type="virtio-serial"/>
    <interface type="network"><source network="default"/><mac address="52:54:00:aa:bb:cc"/><model type="virtio"/></interface>
    <console type="pty"/>
    <channel type="unix"><source mode="bind"/><target type="virtio" name="org.qemu.guest_agent.0"/></channel>
    <channel type="spicevmc"><target type="virtio" name="com.redhat.spice.0"/></channel>
    <input type="tablet" bus="usb"/>
    <tpm model="tpm-crb"><backend type="emulator" version="2.0"/></tpm>
    <graphics type="spice" autoport="yes"><image compression="off"/></graphics>
    <sound model="ich9"/>
    <video><model type="virtio"/></video>
    <redirdev bus="usb" type="spicevmc"/><redirdev bus="usb" type="spicevmc"/>
    <memballoon model="virtio"/>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
  </devices>
</domain>
"""


class RoundTrip(harness.Case):
    def unchanged(self, name):
        before = self.ok(virsh("dumpxml", "--inactive", "--security-info", name)).out
        spec = self.ok(vmctl("get", name, "-o", "spec"))
        self.assertIn(f"name: {name}", spec.out)
        applied = self.ok(vmctl("apply", "-", input=spec.out))
        after = self.ok(virsh("dumpxml", "--inactive", "--security-info", name)).out
        self.assertEqual(before, after, f"{spec.out}\n{applied}")
        self.assertEqual(vmctl("diff", "-", input=spec.out).status, 0)
        return spec.out

    def test_virt_install(self):
        for number, more in enumerate((["--osinfo", "detect=on,require=off"],
                                       ["--machine", "q35", "--boot", "uefi", "--osinfo", "debian11", "--tpm", "emulator,model=tpm-crb,version=2.0"],
                                       ["--osinfo", "win10", "--graphics", "vnc", "--disk", "size=1,bus=sata,format=raw"])):
            name = f"installed-{number}"
            xml = self.ok(run("virt-install", "--connect", "qemu:///system", "--name", name, "--memory", "256", "--vcpus", "2", "--virt-type", "qemu",
                              "--import", "--disk", "size=1,format=qcow2", "--network", "network=default", "--noautoconsole", "--noreboot",
                              "--print-xml", *more))
            path = pathlib.Path(os.environ["WORLD"]) / f"{name}.xml"
            path.write_text(xml.out)
            self.ok(virsh("define", str(path)))
            self.unchanged(name)
            self.ok(virsh("undefine", name, "--nvram"))

    def test_virt_manager(self):
        path = pathlib.Path(os.environ["WORLD"]) / "manager.xml"
        path.write_text(VIRT_MANAGER)
        self.ok(virsh("define", str(path)))
        spec = self.unchanged("manager")
        for line in ("uefi", "tpm: true", "q35", "spice"):
            self.assertIn(line, spec)
        # A change through vmctl touches that one thing and nothing that it cannot say.
        before = self.ok(virsh("dumpxml", "--inactive", "manager")).out
        self.ok(vmctl("set", "manager", "memory=1GiB"))
        after = self.ok(virsh("dumpxml", "--inactive", "manager")).out
        changed = [(a, b) for a, b in zip(before.splitlines(), after.splitlines()) if a != b]
        self.assertTrue(changed)
        self.assertTrue(all("emory" in a for a, _ in changed), changed)
        self.ok(virsh("undefine", "manager", "--nvram"))

    def test_vmctl(self):
        path = pathlib.Path(os.environ["WORLD"]) / "ours.yaml"
        path.write_text(f"""
name: ours
cpus: {{count: 2, sockets: 1, cores: 2, threads: 1}}
memory: 128MiB
machine: q35
firmware: {{type: uefi, tpm: true}}
disks:
  - {{name: root, image: {harness.GUEST}, size: 8MiB}}
  - {{name: data, size: 4MiB, bus: scsi, format: raw}}
  - {{name: tray, cdrom: ""}}
networks:
  - {{name: lan, type: nat, mac: "52:54:00:12:34:56"}}
  - {{name: out, type: user, forward: ["20522:22"]}}
display: {{type: vnc, listen: 127.0.0.1}}
serial: {{log: ours.log}}
cloudInit: {{hostname: ours, user: ci}}
guestAgent: true
rng: true
watchdog: reset
autostart: true
labels: {{team: infra}}
description: words & <brackets>
""")
        self.ok(vmctl("create", str(path)))
        self.unchanged("ours")
        self.assertEqual(vmctl("diff", str(path)).status, 0)
        self.ok(vmctl("start", "ours"))
        self.unchanged("ours")
        self.ok(vmctl("delete", "ours", "--force"))

    def test_a_native_document(self):
        """A <domain> is taken as it is by create and gives itself back."""
        path = pathlib.Path(os.environ["WORLD"]) / "native.xml"
        disk = pathlib.Path("/var/lib/libvirt/images/native.img")
        disk.write_bytes(pathlib.Path(harness.GUEST).read_bytes())
        path.write_text(f"<domain type='qemu'><name>native</name><memory unit='MiB'>32</memory><os><type arch='x86_64'>hvm</type></os>"
                        f"<devices><disk type='file'><driver name='qemu' type='raw'/><source file='{disk}'/><target dev='vda' bus='virtio'/></disk>"
                        "<serial type='pty'/></devices></domain>")
        self.ok(vmctl("create", str(path), "--start"))
        console = self.ok(vmctl("console", "native", "--until", "line [0-9]+", "--timeout", "30s"))
        self.assertIn("vmctl guest", console.out)
        self.unchanged("native")
        self.ok(vmctl("delete", "native", "--force"))
        self.assertTrue(disk.exists(), "vmctl did not make this disk")
        disk.unlink()


harness.main()
