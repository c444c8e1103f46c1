"""What the kill sweeps share: vmctl ended with SIGKILL at its Nth system call, for N = 1, 1 + STEP, ... until it gets through.

kill_at does the killing: the calls of all threads, and of the programs that vmctl runs, are counted together. By default those count that leave
something outside of the process or wait for somebody: between two others there is nothing to be found. STEP "all" or "all/7" counts every call.
"3@140" begins at the 140th.
A script is called as tests/long/kill-VERB [STEP] [BUILD_DIR]; the default build is a Release one, which is ten times as fast. Needs root and a
compiler; runs in a machine of its own (tests/integration/world).
"""

import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/integration"))
if len(sys.argv) > 2:
    os.environ["VMCTL_BUILD"] = str(pathlib.Path(sys.argv[2]).resolve())
else:
    os.environ.setdefault("VMCTL_BUILD", str(next((b for b in (ROOT / "build", ROOT / "build-clang", ROOT / "build-asan")
                                                  if (b / "bin/vmctl").exists()), ROOT / "build")))
import harness  # noqa: E402

GIVE_UP_AFTER = 20
failed = False


def step(default=1):
    text = sys.argv[1].split("@")[0] if len(sys.argv) > 1 else str(default)
    return int(text.removeprefix("all").removeprefix("/") or 1)


def first():
    return int(sys.argv[1].split("@")[1]) if len(sys.argv) > 1 and "@" in sys.argv[1] else 1


def counts_all():
    return len(sys.argv) > 1 and sys.argv[1].startswith("all")


def killer():
    """The program that kills, made for this run."""
    made = pathlib.Path(os.environ["WORLD"]) / "kill_at"
    if not made.exists():
        harness.need("gcc")
        subprocess.run(["gcc", "-O2", str(ROOT / "tests/long/kill_at.c"), "-o", str(made)], check=True)
    return str(made)


def enter(second_host=False):
    harness.enter("--kvm", "666", "--daemons", second_host=second_host)
    return pathlib.Path(os.environ["WORLD"])


def enter_virtualbox():
    """With a VirtualBox of its own, and a second one beside it (tests/virtualbox/host2)."""
    harness.enter("--virtualbox", cached=False)
    if "HOST2" not in os.environ:
        os.execv(str(ROOT / "tests/virtualbox/host2"), ["host2", "--", sys.executable, "-B", *sys.argv])
    os.environ["VMCTL_BACKEND"] = "virtualbox"
    return pathlib.Path(os.environ["WORLD"])


def difference(before, after):
    """What world_state gained and lost, as text; empty: nothing."""
    return "".join(f"  {kind}: left {sorted(set(after[kind]) - set(before[kind]))}, lost {sorted(set(before[kind]) - set(after[kind]))}\n"
                   for kind in before if before[kind] != after[kind])


def sweep(name, argv, settle, prepare=None, every=1, at_least=5, alone=False):
    """alone: the programs that vmctl runs are neither counted nor killed with it. Runs `vmctl ARGV` killed at each Nth system call, prepare() before
    and settle(killed) after each; what settle returns is the trouble it found, as text (empty: none). At least so many kills are to be made."""
    kill_at = [killer(), *(() if counts_all() else ("-v",)), *(("-a",) if alone else ())]
    at, rounds, failures, began = first(), 0, 0, time.monotonic()
    while failures <= GIVE_UP_AFTER:
        if prepare:
            prepare()
        killed = harness.run(*kill_at, str(at), harness.VMCTL, *argv)
        trouble = settle(killed)
        rounds += 1
        if trouble:
            print(f"at system call {at}: {trouble}", flush=True)
            failures += 1
        if killed.status == 0:
            break
        at += every
    print(f"{name}: {rounds} kills from system call {first()} to {at}{' of all' if counts_all() else ''}, {failures} failures, {time.monotonic() - began:.0f} s", flush=True)
    global failed
    failed |= failures > 0 or rounds < at_least


def end():
    """Ends the program: 0 when no sweep found trouble."""
    sys.exit(1 if failed else 0)
