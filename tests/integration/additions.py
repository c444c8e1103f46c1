"""A VBoxManage whose guests have Guest Additions, which no guest of the tests can run: it plays guestcontrol and guestproperty as VirtualBox's manual has
them, by programs and files of this machine."""

import sys

TEXT = r'''
import json, os, pathlib, shutil, subprocess, sys, tempfile
root = pathlib.Path(ROOT)
argv = sys.argv[1:]
with open(root / "calls", "a") as log:
    log.write(json.dumps(argv) + "\n")
def fail(*lines):
    for line in lines:
        print("VBoxManage: error: " + line, file=sys.stderr)
    sys.exit(1)
options = {a[2:].split("=", 1)[0]: a.split("=", 1)[1] for a in argv if a.startswith("--") and "=" in a}
if REAL and argv[0] not in ("guestcontrol", "guestproperty", "showvminfo"):
    os.execv(REAL, [REAL, *argv])
if argv == ["--version"]:
    print("7.2.22r175245")
elif argv[0] == "showvminfo" and REAL:
    done = subprocess.run([REAL, *argv], stdout=subprocess.PIPE)
    sys.stdout.buffer.write(done.stdout.replace(b"GuestAdditionsRunLevel=0", b"GuestAdditionsRunLevel=2"))
    sys.exit(done.returncode)
elif argv[0] == "showvminfo":
    print((root / "info").read_text(), end="")
elif argv == ["list", "systemproperties"]:
    print("Default machine folder:          " + str(root))
elif argv == ["list", "usbhost"]:
    print("Host USB Devices:\n\n" + (root / "usbhost").read_text(), end="")
    if (root / "usbwarning").exists():
        print((root / "usbwarning").read_text(), end="", file=sys.stderr)
elif argv[0] in ("list", "controlvm"):
    if argv[2:3] == ["usbattach"] and (root / "usbgone").exists():
        print((root / "usbgone").read_text(), end="", file=sys.stderr)
    print("")
elif argv[:2] == ["help", "guestcontrol"]:
    print("Oracle VirtualBox Command Line Management Interface Version 7.2.22\n\nVBoxManage guestcontrol\n\nUsage\n=====\n" + (root / "help").read_text())
    sys.exit(1)  # as the real one does
elif argv[0] == "guestproperty":
    print((root / "properties").read_text(), end="")
elif argv[0] == "guestcontrol":
    verb = argv[2]
    if pathlib.Path(options["passwordfile"]).read_text() != SECRET or options["username"] != "ci":
        fail("Waiting for guest process failed: The specified user was not able to logon on guest",
             "Details: code VBOX_E_IPRT_ERROR (0x80bb0005), component GuestSessionWrap, interface IGuestSession, callee nsISupports")
    words = [a for a in argv[3:argv.index("--")] if not a.startswith("--")] if "--" in argv else [a for a in argv[3:] if not a.startswith("--")]
    if verb == "run":
        rest = argv[argv.index("--") + 1:]
        names_itself = bool(REAL) or "--arg0" in (root / "help").read_text()
        program = [options["exe"]] + (rest if names_itself else rest[1:])
        if not names_itself and rest[:1] != [options["exe"]]:
            fail("argument 0 is missing")
        env = dict(os.environ, **dict(a[len("--putenv="):].split("=", 1) for a in argv if a.startswith("--putenv=")))
        if "/usr/sbin/chpasswd" in program:  # this machine's passwords stay as they are
            (root / "play-chpasswd").write_text("#!/bin/sh\ncat >'%s/chpasswd'\n" % root)
            (root / "play-chpasswd").chmod(0o755)
            program = [str(root / "play-chpasswd") if word == "/usr/sbin/chpasswd" else word for word in program]
        try:
            if "/" not in program[0]:
                raise FileNotFoundError  # VBoxService searches no PATH
            code = subprocess.run(program, env=env, stdin=subprocess.DEVNULL).returncode  # the real one gives it no input either
        except FileNotFoundError:
            fail("Waiting for guest process (flags 0x1) failed: No such file or directory \"%s\" on guest" % program[0],
                 "Details: code VBOX_E_IPRT_ERROR (0x80bb0005), component GuestProcessWrap, interface IGuestProcess, callee nsISupports")
        sys.exit(0 if code == 0 else 18 if code < 0 else code + 32 if code <= 93 else 126)
    if verb == "mktemp":
        folder = tempfile.mkdtemp(dir=options["tmpdir"], prefix=words[0].replace("X", ""))
        print("Directory name: " + folder)
    elif verb == "rmdir":
        shutil.rmtree(words[0])
    elif verb == "copyto":
        if words[0].endswith("cannot-be-copied"):
            fail("File copy failed: VERR_DISK_FULL")
        shutil.copy(words[0], words[1])
    elif verb == "copyfrom":
        if not os.path.exists(words[0]):
            fail("File \"%s\" could not be found: VERR_FILE_NOT_FOUND" % words[0])
        shutil.copy(words[0], words[1])
    elif verb == "mv":
        os.rename(words[0], words[1])
    elif verb == "rm":
        os.unlink(words[0])
'''


def install(program, root, secret, real=None):
    """Writes it to the path `program`. root: the folder of "calls" (what it was called with), "properties" and, unless `real`, "info" and "help".
    real: the VBoxManage that does everything else."""
    program.write_text(f"#!{sys.executable}\nROOT, SECRET, REAL = {str(root)!r}, {secret!r}, {real!r}\n{TEXT}")
    program.chmod(0o755)
