#!/usr/bin/env python3
"""The house's arrows, from the include lines: cli -> core -> tables of functions -> backends -> drivers -> core/base."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)
DRIVER_API = {"vmctl/error.h", "vmctl/call.h", "vmctl/export.h"}


def room(path):
    """The room of a file below the root: core/base, core/src, core/include, drivers/NAME, backends/NAME, cli."""
    parts = path.relative_to(ROOT).parts
    if parts[0] in ("core", "drivers", "backends") and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0]


def target(path, name):
    """Where an include leads: a path below the root, or None for what is not ours."""
    places = [path.parent, ROOT, ROOT / "core", ROOT / "core/src", ROOT / "core/include"]
    for place in places:
        found = (place / name).resolve()
        if found.is_file() and found.is_relative_to(ROOT):
            return found
    return None


def complaint(path, name, found):
    here, there = room(path), room(found)
    public = there == "core/include"
    if here == "core/include":
        return None if public else "an installed header includes a private one"
    if here == "core/base":
        if there == "core/base" or name in DRIVER_API:
            return None
        return "core/base stands on error.h and call.h only"
    if here == "core/src":
        return None if there.startswith("core/") else "core knows neither backends nor drivers"
    if here.startswith("drivers"):
        # drivers/tools.c fills core's table of programs, and core/src/tools.h declares it.
        if path.name == "tools.c" and path.parent == ROOT / "drivers":
            return None if there.startswith(("core/", "drivers")) else "a driver includes no backend"
        if there.startswith("drivers") or there == "core/base" or name in DRIVER_API:
            return None
        return "a driver includes nothing of core but base/, error.h and call.h"
    if here.startswith("backends"):
        if path == ROOT / "backends/registry.c":
            return None
        if there in (here, "backends/shared") or there.startswith("drivers") or there == "core/base" or public:
            return None
        return "a backend includes its own room, backends/shared, drivers, core/base and installed headers"
    if here == "cli":
        return None if there == "cli" or public else "cli includes installed headers only"
    return None


def main():
    wrong, edges = [], 0
    for top in ("core", "drivers", "backends", "cli"):
        for path in sorted((ROOT / top).rglob("*.[ch]")):
            for _, name in INCLUDE.findall(path.read_text()):
                found = target(path, name)
                if found is None:
                    continue
                edges += 1
                reason = complaint(path, name, found)
                if reason:
                    wrong.append(f"{path.relative_to(ROOT)} includes {name}: {reason}")
    # The check itself must be able to fail.
    assert complaint(ROOT / "core/src/x.c", "y.h", ROOT / "drivers/http/http.h")
    assert complaint(ROOT / "cli/x.c", "base/str.h", ROOT / "core/base/str.h")
    assert complaint(ROOT / "backends/libvirt/x.c", "y.h", ROOT / "backends/vsphere/y.h")
    assert complaint(ROOT / "backends/shared/x.c", "y.h", ROOT / "backends/libvirt/y.h")
    assert complaint(ROOT / "drivers/http/x.c", "vmctl/vm.h", ROOT / "core/include/vmctl/vm.h")
    print("\n".join(wrong) or f"{edges} includes follow the arrows")
    return 1 if wrong or edges < 50 else 0


sys.exit(main())
