"""What the scenarios share: the private machine, the real vmctl binary, virsh beside it, and a runner that names skips."""

import json
import os
import pathlib

import shutil
import signal
import subprocess
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = pathlib.Path(os.environ.get("VMCTL_SOURCE", HERE.parents[1]))
BUILD = pathlib.Path(os.environ.get("VMCTL_BUILD", SOURCE / "build-asan"))
VMCTL = str(BUILD / "bin/vmctl")
GUEST = str(os.environ.get("VMCTL_CONTRACT_GUEST", BUILD / "tests/counter.img"))
WORLD = str(HERE / "world")
HOST2 = str(HERE / "host2")
TARGET = os.environ.get("VMCTL_CONTRACT_TARGET")
CACHE = str(BUILD / "tests/libvirt-cache")


def skip(reason):
    """Ends the whole program as skipped: its requirement is missing."""
    print(reason)
    sys.exit(77)


def enter(*flags, cached=True, second_host=False, beside=()):
    """Runs this program again in a machine of its own, unless it is in one. flags: those of `world`. second_host: with another one beside it
    (host2), whose URI is TARGET then. beside: another program that is put before this one there."""
    if not os.access(VMCTL, os.X_OK):
        skip(f"{VMCTL} is not built")
    if not os.path.exists(GUEST):
        subprocess.run([str(HERE.parent / "guests/make-counter"), GUEST], check=True)
    if "WORLD" not in os.environ:
        cache = ("--cache", CACHE) if cached else ()
        beside = (HOST2, "--") if second_host else beside
        os.execv(WORLD, [WORLD, *flags, *cache, "--", *beside, sys.executable, "-B", *sys.argv])


def need(*programs):
    missing = [p for p in programs if not shutil.which(p)]
    if missing:
        skip("missing: " + ", ".join(missing))


class Result:
    def __init__(self, argv, status, out, err, seconds):
        self.argv, self.status, self.out, self.err, self.seconds = argv, status, out, err, seconds

    def __str__(self):
        return f"$ {' '.join(self.argv)}\nstatus {self.status} after {self.seconds:.1f} s\n{self.out}{self.err}"


def run(*argv, env=None, input=None, timeout=300, cwd=None, preexec=None):
    began = time.monotonic()
    done = subprocess.run(argv, env={**os.environ, **(env or {})}, input=input, text=True, capture_output=True,
                          timeout=timeout, cwd=cwd, stdin=None if input is not None else subprocess.DEVNULL,
                          preexec_fn=preexec)
    return Result(argv, done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def vmctl(*arguments, **options):
    return run(VMCTL, *arguments, **options)


def virsh(*arguments, uri="qemu:///system", **options):
    return run("virsh", "-q", "-c", uri, *arguments, **options)


def daemons(timeout=120):
    """virtlogd and libvirtd by hand, those that do not run; each ready when it returns."""
    for argv in (["virtlogd", "-d"], ["libvirtd", "-d", "--timeout", str(timeout)]):
        # One that was killed a moment ago may still hold its pid file.
        for last in [False] * 50 + [True]:
            if processes(argv[0]) or subprocess.run(argv, check=last, stderr=None if last else subprocess.DEVNULL).returncode == 0:
                break
            time.sleep(0.1)


def proves(*features, backend="libvirt"):
    """Tells tests/proofs that the test which calls this last has shown these features on the real hypervisor."""
    for feature in features:
        print(f"\nPROVES: {backend} {feature}", flush=True)  # a line of its own, after what unittest has begun


def commands():
    """The command lines of this machine's processes."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            pass
    return found


def processes(name):
    """The ids of this machine's processes of that program."""
    found = []
    for entry in pathlib.Path("/proc").iterdir():
        try:
            argv = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if argv and os.path.basename(argv[0].decode(errors="replace")) == name:
            found.append(int(entry.name))
    return found


def fill_in_mid_copy(folder, *argv, input=None):
    """Runs a command that writes into the folder, a small file system of its own, and takes the rest of the room away as soon as it has
    begun. None: it was over before that."""
    def used():
        room = os.statvfs(folder)
        return (room.f_blocks - room.f_bfree) * room.f_frsize

    before, filler = used(), pathlib.Path(folder, "filler")
    began = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as child:
        child.stdin.write(input or "")
        child.stdin.close()
        child.stdin = None
        while used() < before + (1 << 20) and child.poll() is None and time.monotonic() < began + 60:
            pass
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGSTOP)
            try:
                with open(filler, "wb", buffering=0) as out:
                    while out.write(bytes(1 << 20)):
                        pass
            except OSError:
                pass  # full
            os.killpg(child.pid, signal.SIGCONT)
        out, err = child.communicate(timeout=120)
    in_time = filler.exists()
    filler.unlink(missing_ok=True)
    return Result(argv, child.returncode, out, err, time.monotonic() - began) if in_time and child.returncode else None


def files(*folders):
    """Every file below the folders, for comparing before and after."""
    return sorted(str(p) for folder in folders for p in pathlib.Path(folder).rglob("*") if p.is_file() or p.is_symlink())


KEPT = ("/etc/libvirt/qemu", "/etc/libvirt/storage", "/var/lib/libvirt/images", "/var/lib/libvirt/qemu/nvram",
        "/var/lib/libvirt/qemu/save", "/var/lib/libvirt/swtpm", "/var/lib/libvirt/vmctl")


def world_state(uri="qemu:///system"):
    """Domains, volumes and files: what a create may not leave behind."""
    pools = virsh("pool-list", "--all", "--name", uri=uri).out.split()
    volumes = [f"{pool}/{line.split()[0]}" for pool in pools
               for line in virsh("vol-list", pool, uri=uri).out.splitlines() if line.strip()]
    journal = pathlib.Path(os.environ.get("HOME", "/root")) / ".local/state/vmctl"
    return {"domains": sorted(virsh("list", "--all", "--name", uri=uri).out.split()), "volumes": sorted(volumes),
            "files": files(*KEPT, journal)}


def leave_journal(kind, detail, endpoint="qemu:///system"):
    """The journal of a process that died after it had noted this one thing (core/base/journal.h). Returns its folder."""
    folder = pathlib.Path(os.environ["HOME"]) / ".local/state/vmctl/journal"
    folder.mkdir(parents=True, exist_ok=True)
    prefix = 0xcbf29ce484222325  # FNV-1a
    for byte in endpoint.encode():
        prefix = (prefix ^ byte) * 0x100000001b3 % (1 << 64)
    (folder / f"{prefix:016x}-1-0").write_text(f"vmctl-journal 1\nendpoint {endpoint}\noperation test\nadd 0 {kind} {detail}\n")
    return folder


class Case(unittest.TestCase):
    maxDiff = None

    def ok(self, result):
        self.assertEqual(result.status, 0, str(result))
        self.assertNotIn("ERROR: AddressSanitizer", result.err)
        return result

    def status(self, result, status, *words):
        self.assertEqual(result.status, status, str(result))
        for word in words:
            self.assertIn(word, result.err, str(result))
        return result

    def json(self, result):
        self.ok(result)
        return json.loads(result.out)

    def one(self, result):
        """The one VM (or host) of a JSON answer."""
        tree = self.json(result)
        return tree[0] if isinstance(tree, list) else tree

    def wait_for(self, what, probe, seconds=120):
        """What comes in moments where nothing is wrong; the limit is for a machine that is very busy."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            found = probe()
            if found:
                return found
            time.sleep(0.1)
        self.fail(f"{what}: not within {seconds} s")

    def beside(self, child):
        """A process beside the test, ended with it."""
        def end():
            if child.poll() is None:
                child.kill()
            child.communicate()

        self.addCleanup(end)
        return child

    def counts(self, name, line=2, env=None):
        """The guest prints: its console comes to that line."""
        result = self.ok(vmctl("console", name, "--until", f"vmctl guest: line {line}[0-9]*", "--timeout", "120s", env=env))
        self.assertIn("vmctl guest: line", result.out)


class NamingResult(unittest.TextTestResult):
    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        print(f"SKIP: {test.id().split('.', 1)[-1]}: {reason}", flush=True)


def main():
    if os.environ.get("VMCTL_ONLY"):
        sys.argv += ["-k", os.environ["VMCTL_ONLY"]]
    runner = unittest.TextTestRunner(verbosity=2, resultclass=NamingResult, stream=sys.stdout)
    unittest.main(module="__main__", verbosity=2, testRunner=runner)
