#!/usr/bin/env python3
"""Installed: a C program outside the tree, built with pkg-config, creates, starts, stops and deletes a VM; shared and static."""

import os
import pathlib
import re

import harness
from harness import run

# A build without sanitizers: tests/run has one beside the sanitized one.
BUILDS = [harness.SOURCE / "build-clang", harness.SOURCE / "build", harness.BUILD]
RELEASE = next((b for b in BUILDS if (b / "lib/libvmctl.a").exists() and "VMCTL_SANITIZE:BOOL=ON" not in (b / "CMakeCache.txt").read_text()), None)
if RELEASE is None:
    harness.skip("no build without sanitizers: cmake -S . -B build-clang, with VMCTL_STATIC")
harness.need("pkg-config", "gcc", "cmake")
harness.enter("--kvm", "666", "--daemons")

PROGRAM = r"""
#include <stdio.h>
#include <string.h>
#include <vmctl/vmctl.h>

static int show(const vmctl_vm_info *info, void *user) { return (void)user, printf("%s %s\n", info->name, vmctl_state_name(info->state)), 0; }

#define DO(call) do { if ((call) < 0) { fprintf(stderr, "%s\n%s\n", #call, err ? vmctl_error_text(err) : "?"); return 1; } } while (0)

int main(int argc, char **argv) {
    vmctl_error *err = NULL;
    vmctl_connection *connection = NULL;
    vmctl_vm *vm = NULL;
    vmctl_spec *spec = vmctl_spec_new();
    vmctl_stop_options stop = VMCTL_STOP_OPTIONS_INIT;
    if (argc < 2 || strcmp(vmctl_version(), "0.1.0") < 0) return 2;
    stop.force = true;
    DO(vmctl_connect(NULL, &connection, &err));
    DO(vmctl_spec_set(spec, "name", "outside", &err));
    DO(vmctl_spec_set(spec, "memory", "32MiB", &err));
    DO(vmctl_spec_set(spec, "networks", "[]", &err));
    DO(vmctl_spec_set(spec, "disks.root.image", argv[1], &err));
    DO(vmctl_create(connection, spec, NULL, &vm, &err));
    DO(vmctl_vm_get(vm, NULL, show, NULL, &err));
    DO(vmctl_vm_start(vm, NULL, &err));
    DO(vmctl_vm_get(vm, NULL, show, NULL, &err));
    DO(vmctl_vm_stop(vm, &stop, &err));
    DO(vmctl_vm_get(vm, NULL, show, NULL, &err));
    DO(vmctl_vm_delete(vm, NULL, &err));
    vmctl_vm_free(vm);
    vmctl_spec_free(spec);
    vmctl_connection_free(connection);
    return 0;
}
"""


class Install(harness.Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(os.environ["WORLD"]) / "outside"
        cls.prefix = cls.folder / "prefix"
        cls.folder.mkdir()
        done = run("cmake", "--install", str(RELEASE), "--prefix", str(cls.prefix))
        assert done.status == 0, str(done)
        (cls.folder / "program.c").write_text(PROGRAM)
        pc = next(cls.prefix.rglob("vmctl.pc"))
        cls.libdir = pc.parent.parent
        cls.env = {"PKG_CONFIG_PATH": str(pc.parent)}

    def flags(self, *arguments):
        return self.ok(run("pkg-config", f"--define-variable=prefix={self.prefix}", *arguments, "vmctl", env=self.env)).out.split()

    def lives(self, program, **env):
        done = self.ok(run(str(program), harness.GUEST, env=env))
        self.assertEqual(done.out.split("\n")[:3], ["outside stopped", "outside running", "outside stopped"])

    def test_shared(self):
        program = self.folder / "shared"
        self.ok(run("gcc", "-std=c11", "-Wall", "-Wextra", "-Werror", str(self.folder / "program.c"), "-o", str(program), *self.flags("--cflags", "--libs")))
        self.lives(program, LD_LIBRARY_PATH=str(self.libdir))
        needed = run("readelf", "-d", str(program)).out
        self.assertIn("libvmctl.so.0", needed)
        self.assertNotIn("libvirt", needed)

    def test_static(self):
        program = self.folder / "static"
        flags = [f if f != "-lvmctl" else "-l:libvmctl.a" for f in self.flags("--static", "--cflags", "--libs")]
        self.ok(run("gcc", "-std=c11", str(self.folder / "program.c"), "-o", str(program), *flags))
        self.assertNotIn("libvmctl", run("readelf", "-d", str(program)).out)
        self.lives(program)

    def test_the_example(self):
        program = self.folder / "first-vm"
        self.ok(run("gcc", "-Wall", "-Wextra", "-Werror", str(harness.SOURCE / "examples/first-vm.c"), "-o", str(program), *self.flags("--cflags", "--libs")))
        done = self.ok(run(str(program), harness.GUEST, env={"LD_LIBRARY_PATH": str(self.libdir)}))
        self.assertIn("first-vm: running, 2 CPUs, 512 MiB", done.out)

    def example(self, name):
        program = self.folder / name
        self.ok(run("gcc", "-Wall", "-Wextra", "-Werror", str(harness.SOURCE / f"examples/{name}.c"), "-o", str(program), *self.flags("--cflags", "--libs")))
        return lambda *arguments: run(str(program), *arguments, env={"LD_LIBRARY_PATH": str(self.libdir)})

    def test_the_example_that_chooses(self):
        choose = self.example("choose-hypervisor")
        self.assertEqual(self.ok(choose("lifecycle.create", "snapshot.memory")).out, "libvirt\n")
        self.assertEqual(self.ok(choose("--here", "accel.tcg")).out, "libvirt\n")
        self.status(choose("limits.vms"), 3, "limits.vms")
        self.status(choose("lifecycle.craete"), 2, "lifecycle.create")

    def test_the_example_that_is_a_harness(self):
        """Picks the hypervisor, asks it, runs the job on a VM, and leaves nothing, also where something fails."""
        harness_of_ci = self.example("ci-harness")
        before = sorted(os.listdir("/var/lib/libvirt/images")) if os.path.isdir("/var/lib/libvirt/images") else []
        done = self.ok(harness_of_ci(harness.GUEST, "vmctl guest: line 3", "snapshot.memory", "console.serial", "look.wait"))
        self.assertEqual(done.out, 'libvirt: "vmctl guest: line 3" came\n')
        # Not on any hypervisor; not here; not with this VM: each before or after the VM was made, and it goes.
        self.status(harness_of_ci(harness.GUEST, "x", "limits.vms"), 3, "limits.vms: libvirt lacks it")
        self.status(harness_of_ci(harness.GUEST, "x", "memory.hugepages"), 3, "no huge pages reserved")
        done = self.status(harness_of_ci(harness.GUEST, "x", "guest.exec"), 3, "no channel for a guest agent")
        self.assertIn("try: vmctl set ci-", done.err)
        self.status(harness_of_ci("/nowhere.img", "x"), 4, "/nowhere.img")
        self.assertEqual(self.ok(run("virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name")).out.strip(), "")
        self.assertEqual(sorted(os.listdir("/var/lib/libvirt/images")), before)

    def test_the_installed_command(self):
        done = self.ok(run(str(self.prefix / "bin/vmctl"), "list", "-o", "json", env={"LD_LIBRARY_PATH": ""}))
        self.assertEqual(done.out.strip(), "[]")

    def test_libraries_are_looked_for_in_no_folder_that_one_happens_to_be_in(self):
        for program in (RELEASE / "bin/vmctl", self.prefix / "bin/vmctl"):
            paths = re.findall(r"(?:RUNPATH|RPATH)\)\s+Library \w+: \[(.*)\]", self.ok(run("readelf", "-d", str(program))).out)
            self.assertEqual(len(paths), 1, str(program))
            for path in paths[0].split(":"):  # ld.so(8): an empty element is the current folder
                self.assertTrue(path.startswith(("/", "$ORIGIN/")), f"{program}: {paths[0]}")

    def test_only_our_names_are_exported(self):
        library = next(self.libdir.glob("libvmctl.so.0"))
        names = [line.split()[-1].split("@")[0] for line in run("nm", "-D", "--defined-only", str(library)).out.splitlines()]
        foreign = [n for n in names if not n.startswith(("vmctl_", "vmc_", "VMCTL_"))]
        self.assertEqual(foreign, [])


harness.main()
