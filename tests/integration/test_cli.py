#!/usr/bin/env python3
"""The command as a whole, against libvirt's test driver (test:///default: one running VM, "test"), which needs neither root nor
a daemon: help of every verb, every -o, errors and exit statuses, completion, the man page, standard files that fail, signals."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BUILD = pathlib.Path(os.environ.get("VMCTL_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build"))
VMCTL = str(BUILD / "bin/vmctl")
TEST = ["--connect", "test:///default"]
HOME = tempfile.mkdtemp(prefix="vmctl-cli.")
ENV = {k: v for k, v in os.environ.items() if not k.startswith(("VMCTL_", "XDG_", "LIBVIRT_", "GOVC_", "LC_"))}
ENV.update(HOME=HOME, LANG="C.UTF-8", TERM="xterm", VMCTL_CONNECT="test:///default")
failures = []
checks = 0

# The verbs of the CLI contract that this version has; what completion says is held against this.
VERBS = """create apply diff delete start stop restart reset pause resume save rename set edit list get describe render
events wait console logs display address ssh image pool network caps recommend context host completion version help""".split()
GROUPS = {"image": "list inspect pull convert upload delete", "pool": "list", "network": "list",
          "context": "list add use remove test", "host": "info list",
          "snapshot": "create list get rename revert delete"}


def vmctl(*args, stdin=None, env=None, timeout=60, input=None):
    source = {"input": input} if input is not None else {"stdin": stdin or subprocess.DEVNULL}
    return subprocess.run([VMCTL, *args], capture_output=True, text=True, env={**ENV, **(env or {})}, timeout=timeout, **source)


def check(what, holds, done=None):
    global checks
    checks += 1
    if not holds:
        failures.append(what)
        print(f"FAILED: {what}")
        if done is not None:
            print(f"  status {done.returncode}\n  stdout: {done.stdout[:600]!r}\n  stderr: {done.stderr[:600]!r}")


def expect(status, *args, **kwargs):
    done = vmctl(*args, **kwargs)
    check(f"{' '.join(args)}: status {status}", done.returncode == status, done)
    return done


def candidates(*words):
    return [line.split("\t")[0] for line in vmctl("__complete", "--", *words).stdout.splitlines()]


def error_of(done, what):
    try:
        return json.loads(done.stderr.splitlines()[-1])["error"]
    except (IndexError, KeyError, ValueError):
        check(f"{what}: the last line of stderr is the error object", False, done)
        return {}


def results(done, what):
    try:
        return json.loads(done.stdout)
    except ValueError:
        check(f"{what}: stdout is JSON", False, done)
        return [{}]


def test_help():
    overview = expect(0, "help").stdout
    check("help and --help are the same", expect(0, "--help").stdout == overview)
    verbs = candidates("")
    for verb in VERBS:
        check(f"completion offers {verb}", verb in verbs)
    paths = [[v] for v in verbs] + [[g, s] for g, subs in GROUPS.items() for s in subs.split()]
    for path in paths:
        done = expect(0, *path, "--help")
        check(f"help {path}: the same", expect(0, "help", *path).stdout == done.stdout, done)
        check(f"{path} --help: usage", f"usage: vmctl {' '.join(path)}" in done.stdout, done)
        check(f"{path} --help: nothing on stderr", not done.stderr, done)
        for option in candidates(*path, "--"):
            check(f"{path} --help has {option}", re.search(rf"^ +(-\w, )?{option}( |$)", done.stdout, re.M), done)
        if len(path) == 1:
            check(f"the overview has {path[0]}", re.search(rf"^  {path[0]} ", overview, re.M))
    man = expect(0, "help", "--man").stdout
    for path in paths:
        check(f"the man page has {path}", re.search(rf"^\.SS vmctl {' '.join(path)}\b", man, re.M))
    done = vmctl()
    check("no verb: status 2 and the overview on stderr", done.returncode == 2 and not done.stdout and "usage:" in done.stderr, done)
    check("--version", re.fullmatch(r"vmctl \d+\.\d+\.\d+\n", expect(0, "--version").stdout))


def test_man_page():
    page = pathlib.Path(HOME, "vmctl.1")
    page.write_text(expect(0, "help", "--man").stdout)
    check("the man page was built", (BUILD / "share/vmctl.1").is_file())
    for tool in (["mandoc", "-Tlint", "-Wwarning"], ["groff", "-man", "-Tutf8", "-ww", "-z"]):
        if shutil.which(tool[0]):
            done = subprocess.run([*tool, page], capture_output=True, text=True)
            check(f"{tool[0]} has nothing to say", not (done.stderr + done.stdout).strip(), done)


def test_completion():
    for shell in ("bash", "zsh", "fish"):
        script = expect(0, "completion", shell).stdout
        if shutil.which(shell):
            done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True)
            check(f"{shell} can read its script", done.returncode == 0 and not done.stderr, done)
    expect(2, "completion", "tcsh")
    check("a VM's name", candidates(*TEST, "stop", "") == ["test"])
    check("an option", candidates("stop", "--gr") == ["--grace"])
    check("an option's values", candidates("list", "-o", "js") == ["json", "jsonl"])
    check("a verb below a verb", candidates("image", "in") == ["inspect"])
    check("files", candidates("apply", "x") == [":files"])
    check("stages", "cloud-init" in candidates("wait", "vm", "--for", ""))
    # through bash itself
    script = f'''source <({VMCTL} completion bash); PATH={BUILD}/bin:$PATH
        COMP_WORDS=(vmctl --connect test:///default sto); COMP_CWORD=3; _vmctl; echo "${{COMPREPLY[@]}}"
        COMP_WORDS=(vmctl --connect test:///default stop te); COMP_CWORD=4; _vmctl; echo "${{COMPREPLY[@]}}"'''
    done = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, env=ENV)
    check("completion in bash", done.stdout.split() == ["stop", "test"], done)


def test_usage_errors():
    for args, hint in ((["strat"], "vmctl start"), (["start", "--paussed", "a"], "--paused"), (["image", "lst"], "vmctl image list"),
                       (["help", "strat"], "vmctl help start")):
        done = expect(2, *args)
        check(f"{args}: the nearest is named", f"try: {hint}\n" in done.stderr, done)
        check(f"{args}: nothing on stdout", not done.stdout, done)
    for args in (["start"], ["rename", "a"], ["rename", "a", "b", "c"], ["image"], ["list", "-o", "xml"], ["list", "-o", "spec"],
                 ["list", "--timeout", "5"], ["list", "--state", "tired"], ["list", "--facts", "all,weather"], ["list", "-l", "x"],
                 ["stop", "a", "--force", "--grace", "5s"], ["restart", "a", "--no-wait"], ["wait", "a"], ["delete"],
                 ["delete", "a", "--disks", "--keep-disks"], ["list", "-A", "--connect", "test:///default"], ["set", "test", "cpus"],
                 ["console", "test", "--until", "("], ["list", "--progress", "loud"], ["caps", "nobackend"],
                 ["create", "x", "y", "--memory", "1GiB"],
                 ["create", "x", "--image", "i", "--label", "a"], ["create", "x", "--image", "i", "--set", "a"], ["list", "--connect", "esx://host"]):
        done = expect(2, *args)
        check(f"{args}: told", done.stderr.startswith("vmctl: ") and not done.stdout, done)
        if "-o" not in args:
            error = error_of(vmctl(*args, "-o", "json"), args)
            check(f"{args} -o json: the code", error.get("code") in ("invalid-argument", "invalid-spec"))
    check("an unknown verb with -o json", error_of(vmctl("-ojson", "nope"), "nope").get("code") == "invalid-argument")


def test_formats():
    for args in (["list"], ["get", "test"], ["describe", "test"], ["host", "info"], ["host", "list"], ["pool", "list"],
                 ["network", "list"], ["version"], ["caps"], ["context", "list"], ["image", "list", "--cache"], ["device", "list", "test"],
                 ["list", "--facts", "all"], ["address", "test"], ["start", "test"]):
        text = expect(0, *TEST, *args, "-o", "json").stdout
        try:
            tree = json.loads(text)
        except ValueError:
            check(f"{args} -o json is JSON", False)
            continue
        one = args[0] in ("get", "describe", "version") or args == ["host", "info"]
        check(f"{args} -o json is {'an object' if one else 'an array, also of one'}", isinstance(tree, dict if one else list))
        tree = [tree] if one else tree
        lines = [json.loads(line) for line in expect(0, *TEST, *args, "-o", "jsonl").stdout.splitlines()]
        check(f"{args} -o jsonl has the same keys", [sorted(x) for x in lines] == [sorted(x) for x in tree])
        done = expect(0, *TEST, *args, "-o", "yaml")
        check(f"{args} -o yaml", done.stdout == "[]\n" if not tree else done.stdout.startswith("- ") != one, done)
        done = expect(0, *TEST, *args)
        check(f"{args}: no escape without a terminal", "\033" not in done.stdout + done.stderr, done)
        expect(0, *TEST, *args, "-o", "wide")
    vm = json.loads(expect(0, *TEST, "list", "-o", "json").stdout)[0]
    check("a listed VM's keys", {"name", "id", "backend", "state", "cpus", "memoryMiB"} <= set(vm) and vm["backend"] == "libvirt")
    check("what was not asked for is absent", "addresses" not in vm and "labels" not in vm and "snapshotCount" not in vm)
    check("the test driver's VM", (vm["name"], vm["state"], vm["cpus"], vm["memoryMiB"]) == ("test", "running", 2, 2048))
    check("-o name", expect(0, *TEST, "list", "-o", "name").stdout == "test\n")
    check("--state leaves others out", json.loads(expect(0, *TEST, "list", "--state", "stopped,crashed", "-o", "json").stdout) == [])
    check("an empty table has its heading", expect(0, *TEST, "list", "--state", "stopped").stdout.split() == ["NAME", "STATE", "CPUS", "MEMORY"])
    check("several VMs are an array", isinstance(json.loads(expect(0, *TEST, "get", "test", vm["id"], "-o", "json").stdout), list))
    check("-o native", "<domain" in expect(0, *TEST, "get", "test", "-o", "native").stdout)
    check("-o spec", expect(0, *TEST, "get", "test", "-o", "spec").stdout.startswith("name: test\n"))
    info = json.loads(expect(0, *TEST, "host", "info", "-o", "json").stdout)
    check("host info says where and why", info["endpoint"].startswith("test:///") and info["endpointReason"])
    check("--color always", "\033[" in expect(0, *TEST, "list", "--color", "always").stdout)


def test_statuses():
    done = expect(4, *TEST, "get", "nope")
    check("an error's text", done.stderr.startswith("vmctl: ") and ": not-found: " in done.stderr and "test:///default" in done.stderr, done)
    error = error_of(vmctl(*TEST, "get", "nope", "-o", "json"), "get nope")
    check("an error's keys", error.get("code") == "not-found" and error.get("vm") == "nope" and error.get("retryable") is False
          and isinstance(error.get("message"), str))
    check("nothing on stdout when nothing came", not vmctl(*TEST, "get", "nope", "-o", "json").stdout)
    done = expect(10, *TEST, "start", "test", "nope", "-o", "json")
    outcomes = {x["name"]: x for x in results(done, "specs")}
    check("each outcome", outcomes["test"]["outcome"] == "running" and outcomes["nope"]["error"]["code"] == "not-found", done)
    expect(4, *TEST, "start", "nope", "neither")
    two = "\n---\n".join(f"name: {name}\nmemory: 32MiB\nnetworks: []\ndisks: [{{name: root, image: /nowhere.img}}]" for name in ("m1", "m2"))
    for verb in (["create", "-"], ["apply", "-"]):
        done = expect(4, *TEST, *verb, "-o", "json", input=two)
        check(f"{verb[0]}: a row for each that failed", [(r["name"], r["outcome"], r["error"]["code"]) for r in results(done, verb[0])]
              == [("m1", "failed", "not-found"), ("m2", "failed", "not-found")], done)
    done = expect(4, *TEST, "delete", "-f", "-", "-o", "json", input=two)
    check("delete -f: too", [(r["name"], r["error"]["code"]) for r in results(done, "delete")] == [("m1", "not-found"), ("m2", "not-found")], done)
    done = expect(2, "list", "--backend", "esxi")
    check("a backend that is not built in", "vsphere backend is not in this build" in done.stderr and "did you mean" not in done.stderr, done)
    done = expect(2, "list", "--backend", "libvrit")
    check("a backend that is mistyped", 'did you mean "libvirt"?' in done.stderr, done)
    forms = ["table", "wide", "json", "jsonl", "yaml", "name"]
    check("completion offers the forms of a verb", candidates("list", "-o", "") == forms and candidates("get", "--output", "") == [*forms, "spec", "native"])
    done = expect(0, *TEST, "start", "test")
    check("a note where it is so already", "vmctl: note: " in done.stderr and done.stdout == "test running\n", done)
    check("-q: neither", (lambda d: not d.stdout and not d.stderr)(expect(0, *TEST, "start", "test", "-q")))
    expect(6, *TEST, "delete", "test")
    expect(0, *TEST, "delete", "nope", "--ignore-not-found")
    expect(0, *TEST, "wait", "nope", "--for", "deleted")
    expect(0, *TEST, "wait", "test", "--for", "running")
    expect(9, "--connect", "qemu+unix:///system?socket=/nonexistent", "list")
    expect(8, *TEST, "events", "--count", "1", "--timeout", "300ms")
    expect(0, *TEST, "events", "--timeout", "300ms")
    expect(125, *TEST, "ssh", "nope")
    expect(125, "ssh")
    expect(125, "ssh", "--bogus", "a")
    expect(125, *TEST, "exec", "nope", "--", "true")
    lacking = [c["feature"] for c in json.loads(vmctl("caps", "libvirt", "-o", "json").stdout) if c["vmctl"]["level"] == "no"]
    if lacking:
        done = expect(3, "caps", "libvirt", "--require", lacking[0])
        check("what is missing is printed", lacking[0] in done.stdout, done)
    check("a requirement that is met says nothing", expect(0, "caps", "--require", "lifecycle.create").stdout == "")
    expect(2, "caps", "--require", "lifecycle.craete")


def test_specs():
    bad = pathlib.Path(HOME, "bad.yaml")
    bad.write_text("name: a\nmemroy: 1GiB\nmemory: 1\ndisks: []\n")
    done = expect(2, *TEST, "create", str(bad))
    check("each fault with its place", f"{bad}:2:1: " in done.stderr and f"{bad}:3:9: " in done.stderr, done)
    error = error_of(vmctl(*TEST, "create", str(bad), "-o", "json"), "create bad.yaml")
    faults = error.get("faults", [])
    check("faults in JSON", error.get("code") == "invalid-spec" and
          [(f.get("line"), f.get("column")) for f in faults][:2] == [(2, 1), (3, 9)] and
          all(f["file"] == str(bad) and f["message"] for f in faults))
    expect(4, *TEST, "create", str(pathlib.Path(HOME, "nothere.yaml")))
    done = expect(4, *TEST, "create", "web-1")
    check("a name where a file is expected", "--image" in done.stderr, done)
    done = expect(0, *TEST, "create", "x", "--image", str(bad), "--memory", "1GiB", "--dry-run", "-o", "json")
    check("a dry run says so", results(done, "dry run")[0].get("outcome") == "would be created", done)
    same = vmctl(*TEST, "get", "test", "-o", "spec").stdout
    spec = pathlib.Path(HOME, "test.yaml")
    spec.write_text(same)
    done = expect(0, *TEST, "diff", str(spec), "-o", "json")
    check("no difference", results(done, "specs")[0].get("changes") == [], done)
    done = expect(1, *TEST, "diff", str(spec), "--set", "memory=16GiB", "-o", "json")
    check("a difference", [(x["path"], x["have"], x["want"]) for x in results(done, "specs")[0].get("changes", [])] == [("memory.size", "8GiB", "16GiB")]
          or "16GiB" in done.stdout, done)
    expect(1, *TEST, "diff", str(spec), "--name", "other")
    done = expect(0, *TEST, "apply", str(spec), "-o", "json")
    check("apply of what is there changes nothing", results(done, "specs")[0].get("outcome") == "unchanged", done)
    with open(spec) as stdin:
        expect(0, *TEST, "apply", "-", stdin=stdin)
    for key in ("disk.typo.size=1GiB", "nic.typo.link=down", "share.typo.path=/"):
        done = expect(4, *TEST, "set", "test", key)
        check("a device that is not there is not made by set", "has no device" in done.stderr and "attach" in done.stderr, done)
    blank = pathlib.Path(HOME, "blank.yaml")
    blank.write_text("name: blank\nmemory: 1GiB\ndisks: [{name: root, size: 1GiB}]\n")
    done = expect(0, *TEST, "render", str(blank))
    check("render is the hypervisor's document", "<domain" in done.stdout and "<name>blank</name>" in done.stdout, done)
    check("and nothing was made", expect(0, *TEST, "list", "-o", "name").stdout == "test\n")
    editor = pathlib.Path(HOME, "editor")
    editor.write_text("#!/bin/sh\nexec true\n")
    editor.chmod(0o755)
    done = expect(0, *TEST, "edit", "test", env={"EDITOR": str(editor), "TMPDIR": HOME})
    check("an edit without a change", "nothing was changed" in done.stderr and not list(pathlib.Path(HOME).glob("vmctl-edit-*")), done)
    editor.write_text("#!/bin/sh\nkill -INT $PPID; kill -INT $PPID; kill -QUIT $PPID\nexec true\n")
    done = expect(0, *TEST, "edit", "test", env={"EDITOR": str(editor), "TMPDIR": HOME})
    check("Ctrl-C in the editor is the editor's", "nothing was changed" in done.stderr, done)
    editor.write_text("#!/bin/sh\nsed -i 's/^memory:/memroy:/' \"$1\"; echo x >> " + HOME + "/edits\n")
    done = expect(2, *TEST, "edit", "test", env={"EDITOR": str(editor), "TMPDIR": HOME})
    check("faults are shown to the editor again", pathlib.Path(HOME, "edits").read_text() == "x\nx\n", done)
    kept = list(pathlib.Path(HOME).glob("vmctl-edit-*"))
    check("what was written is kept, with the fault above it", len(kept) == 1 and kept[0].read_text().startswith("# ! "), done)


def test_contexts():
    del ENV["VMCTL_CONNECT"]
    expect(0, "context", "add", "t", "test:///default", "--use")
    expect(5, "context", "add", "t", "test:///default")
    expect(0, "context", "add", "gone", "qemu+unix:///system?socket=/nonexistent")
    expect(2, "context", "add", "bad", "esx://host")
    config = pathlib.Path(HOME, ".config/vmctl/config.yaml")
    check("the file is the person's own", config.stat().st_mode & 0o777 == 0o600)
    check("the current context is where commands go", expect(0, "list", "-o", "name").stdout == "test\n")
    check("context/vm", json.loads(expect(0, "get", "t/test", "-o", "json").stdout).get("context") == "t")
    expect(4, "get", "nocontext/test")
    done = expect(2, "get", "gone/test", "--context", "t")
    check("flags that disagree", "--context t" in done.stderr and "gone" in done.stderr, done)
    check("the same twice is no disagreement", expect(0, "get", "t/test", "--context", "t", "-o", "name").stdout == "test\n")
    done = expect(10, "list", "-A", "-o", "json")
    check("all contexts: those that answer", [(v["context"], v["name"]) for v in results(done, "specs")] == [("t", "test")], done)
    check("all contexts: those that do not", error_of(done, "list -A").get("context") == "gone", done)
    expect(10, "context", "test")
    expect(0, "context", "test", "t")
    check("completion knows contexts", candidates("context", "use", "") == ["t", "gone"] or sorted(candidates("context", "use", "")) == ["gone", "t"])
    expect(0, "context", "remove", "gone")
    expect(4, "context", "remove", "gone")
    expect(0, "context", "use", "--none")
    expect(0, "context", "remove", "t")
    several = [subprocess.Popen([VMCTL, "context", "add", f"t{i}", "test:///default", "--config", str(config)], env=ENV, stdout=subprocess.DEVNULL) for i in range(12)]
    check("contexts that are added at once", [child.wait(timeout=120) for child in several] == [0] * 12)
    done = expect(0, "context", "list", "-o", "name")
    check("none of them is lost", sorted(done.stdout.split()) == sorted(f"t{i}" for i in range(12)), done)
    for i in range(12):
        expect(0, "context", "remove", f"t{i}")
    ENV["VMCTL_CONNECT"] = "test:///default"
    check("nothing is left", expect(0, "context", "list", "-o", "json").stdout == "[]\n")


def test_standard_files():
    with open("/dev/full", "w") as full:
        for args in (["--version"], ["help"], [*TEST, "list"], [*TEST, "list", "-o", "json"], [*TEST, "get", "test", "-o", "native"]):
            done = subprocess.run([VMCTL, *args], stdout=full, stderr=subprocess.PIPE, text=True, env=ENV)
            done.stdout = ""
            check(f"{args} to a full disk: status 11 and a message", done.returncode == 11 and "No space left" in done.stderr, done)
        done = subprocess.run([VMCTL, *TEST, "list"], stdout=subprocess.PIPE, stderr=full, env=ENV)
        check("stderr that fails does no harm", done.returncode == 0)
    for closing in (">&-", "<&-", "2>&-", "<&- 2>&-"):
        done = subprocess.run(["bash", "-c", f'"$0" {" ".join(TEST)} list {closing}', VMCTL], capture_output=True, text=True, env=ENV)
        check(f"list {closing}", (done.returncode == 9) if closing == ">&-" else (done.returncode == 0 and "test" in done.stdout), done)
    done = subprocess.run(["bash", "-c", '"$0" help --man | head -1; echo ${PIPESTATUS[0]}', VMCTL], capture_output=True, text=True, env=ENV)
    check("a reader that leaves early: no message", not done.stderr, done)


def hears(child, number):
    """The command has come to where it handles the signal (SigCgt of proc(5)), or has ended."""
    until = time.monotonic() + 60
    while child.poll() is None and time.monotonic() < until:
        caught = re.search(r"^SigCgt:\s*([0-9a-f]+)", pathlib.Path(f"/proc/{child.pid}/status").read_text(), re.M)
        if caught and int(caught[1], 16) >> (number - 1) & 1:
            return
        time.sleep(0.01)


def test_signals():
    for number in (signal.SIGINT, signal.SIGTERM):
        for args in ([*TEST, "events", "--follow"], [*TEST, "list", "-w", "-o", "json"], [*TEST, "wait", "test", "--for", "stopped"]):
            child = subprocess.Popen([VMCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
            hears(child, number)
            begun = child.stdout.read(1) if "json" in args else ""
            child.send_signal(number)
            try:
                out, err = child.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                child.kill()
                out, err = child.communicate()
            check(f"{args}: {number.name} ends it with 130", child.returncode == 130)
            if "json" in args:
                check(f"{args}: what was written is whole", isinstance(json.loads(begun + out), list))
        child = subprocess.Popen([VMCTL, *TEST, "create", "-", "-o", "json"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
        hears(child, number)
        child.send_signal(number)
        try:
            child.wait(timeout=120)
        except subprocess.TimeoutExpired:
            child.kill()
        err = child.communicate()[1]
        check(f"a writer that never ends: {number.name} ends create -", child.returncode == 130 and '"cancelled"' in err)
    child = subprocess.Popen([VMCTL, *TEST, "create", "-", "--timeout", "300ms"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        child.wait(timeout=120)
    except subprocess.TimeoutExpired:
        child.kill()
    check("a writer that never ends: --timeout ends create -", child.returncode == 8)
    child.communicate()


def test_specs_from_pipes():
    text = "name: piped\nmemory: 1GiB\ndisks: [{name: root, size: 1GiB}]\n"
    for command in (f"printf '{text}' | \"$0\" render - -o name", f"\"$0\" render <(printf '{text}') -o name"):
        done = subprocess.run(["bash", "-c", command, VMCTL], capture_output=True, text=True, env=ENV, timeout=60)
        check("a spec from a pipe", done.returncode == 0 and done.stdout == "piped\n", done)
    there = pathlib.Path(HOME, "there.raw")
    there.write_bytes(bytes(1 << 20))
    spec = "name: piped\nmemory: 1GiB\ndisks: [{name: root, image: ./there.raw}]\n"
    done = subprocess.run(["bash", "-c", f"\"$0\" render <(printf '{spec}') -o name", VMCTL], capture_output=True, text=True, env=ENV, cwd=HOME, timeout=60)
    check("a pipe is in no folder: relative paths are from the working folder", done.returncode == 0, done)
    done = subprocess.run(["bash", "-c", "head -c 20000000 /dev/zero | tr '\\0' '#' | \"$0\" render -", VMCTL], capture_output=True, text=True, env=ENV, timeout=60)
    check("a pipe without end is refused", done.returncode == 2 and "16 MiB" in done.stderr, done)
    check("standard input that is closed", subprocess.run(["bash", "-c", '"$0" render - <&-', VMCTL], capture_output=True, env=ENV, timeout=60).returncode == 2)

def test_libraries():
    """What is opened before the libvirt module, for speed, is what libvirt brings anyway."""
    module = pathlib.Path(VMCTL).parent.parent / "lib/vmctl/vmctl-libvirt.so"
    brought = subprocess.run(["ldd", module], capture_output=True, text=True, env={**ENV, "LD_LIBRARY_PATH": str(module.parent.parent)}, timeout=60)
    names = set(re.findall(r"^\s*(\S+) =>", brought.stdout, re.M))
    done = expect(0, "--connect", "test:///default", "list", env={"LD_DEBUG": "files"})
    loaded = set(re.findall(r"file=(lib[^ ]*\.so[^ ]*) ", done.stderr))
    check("libvirt is loaded", any(name.startswith("libvirt.so") for name in loaded & names), done)
    own = subprocess.run(["ldd", VMCTL], capture_output=True, text=True, env=ENV, timeout=60).stdout
    check("no library but libvirt's own", loaded <= names | set(re.findall(r"^\s*(\S+) =>", own, re.M)) and len(names) > 10, done)
    text = done.stderr
    check("OpenSSL's library has the fewest to search", text.find("file=libcrypto") < text.find("file=libvirt.so") and "file=libcrypto" in text, done)


def main():
    if not os.access(VMCTL, os.X_OK):
        print(f"test_cli: {VMCTL} is missing")
        return 77
    try:
        for name, test in list(globals().items()):
            if name.startswith("test_"):
                test()
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
    print(f"{checks} checks, {len(failures)} failed")
    return 1 if failures else 0


sys.exit(main())
