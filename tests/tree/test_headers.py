#!/usr/bin/env python3
"""Every installed header compiles alone: as C11, C17 and C++17, with gcc and clang, with warnings as errors."""

import concurrent.futures
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPILERS = [("gcc", "c11"), ("gcc", "c17"), ("g++", "c++17"), ("clang", "c11"), ("clang", "c17"), ("clang++", "c++17")]


def check(job):
    header, (compiler, standard) = job
    language = "c++" if "++" in standard else "c"
    flags = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"] + (["-Wstrict-prototypes"] if language == "c" else [])
    source = f"#include <vmctl/{header}>\nint main(void) {{ return 0; }}\n"
    done = subprocess.run(
        [compiler, f"-std={standard}", f"-x{language}", *flags, f"-I{ROOT}/core/include", "-fsyntax-only", "-"],
        input=source, text=True, capture_output=True)
    return "" if done.returncode == 0 else f"{header} with {compiler} as {standard}:\n{done.stderr}"


def main():
    missing = sorted({c for c, _ in COMPILERS if not shutil.which(c)})
    if missing:
        print("missing: " + ", ".join(missing))
        return 77
    headers = sorted(p.name for p in (ROOT / "core/include/vmctl").glob("*.h"))
    jobs = [(h, c) for h in headers for c in COMPILERS]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        faults = [fault for fault in pool.map(check, jobs) if fault]
    print("\n".join(faults) or f"{len(headers)} headers, {len(jobs)} compilations")
    return 1 if faults or not headers else 0


sys.exit(main())
