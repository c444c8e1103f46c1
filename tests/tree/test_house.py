#!/usr/bin/env python3
"""The tree's own rules: the licence, no leftovers, shell scripts that parse, every test named in tests/CMakeLists.txt."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def tracked():
    done = subprocess.run(["git", "-C", ROOT, "ls-files", "-z"], capture_output=True)
    if done.returncode != 0:
        return [p for p in ROOT.rglob("*") if p.is_file() and "build" not in p.parts[len(ROOT.parts)]]
    return [ROOT / name for name in done.stdout.decode().split("\0") if name]


def main():
    faults = []
    licence = (ROOT / "LICENSE").read_text()
    if "Apache License" not in licence or "END OF TERMS AND CONDITIONS" not in licence:
        faults.append("LICENSE is not the whole Apache License 2.0")
    unfinished = re.compile(r"\b(" + "|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")) + r")\b")
    for path in tracked():
        if not path.is_file() or path.suffix in (".img", ".iso", ".png", ".qcow2"):
            continue
        data = path.read_bytes()
        try:
            text = data.decode()
        except UnicodeDecodeError:
            if path.parts[-2] not in ("fixtures", "corpus") and "fixtures" not in path.parts and "fuzz" not in path.parts:
                faults.append(f"{path.relative_to(ROOT)}: not UTF-8")
            continue
        name = path.relative_to(ROOT)
        if path.suffix in (".c", ".h") and unfinished.search(text):
            faults.append(f"{name}: unfinished work")
        if path.suffix in (".c", ".h", ".py") and text and not text.endswith("\n"):
            faults.append(f"{name}: no newline at its end")
        if text.startswith("#!/bin/bash"):
            done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
            if done.returncode != 0:
                faults.append(f"{name}: {done.stderr.strip()}")
            if not path.stat().st_mode & 0o111:
                faults.append(f"{name}: a script that cannot be run")
    for line in (ROOT / "tools/packages").read_text().splitlines():
        if line and not line.startswith("#") and not re.fullmatch(r"(build|run|test) [a-z0-9.+-]+", line):
            faults.append(f"tools/packages: {line}")
    print("\n".join(faults) or f"{len(tracked())} files keep the rules")
    return 1 if faults else 0


sys.exit(main())
