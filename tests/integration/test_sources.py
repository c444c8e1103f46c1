#!/usr/bin/env python3
"""What core/data says of platforms can be looked up: the functions, elements and options that it names exist in the libvirt and the
VirtualBox that are here. (The other works are looked up by people: sources.tsv says where.)"""

import csv
import os
import pathlib
import re
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import harness
from harness import SOURCE

# Where VirtualBox is installed for tests, its own machine; without it the rest is looked up.
INSTALLED = pathlib.Path(os.environ.get("VMCTL_VIRTUALBOX") or pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "vmctl-tests/virtualbox")
if (INSTALLED / "complete").exists():
    harness.enter("--virtualbox", cached=False)

SCHEMAS = pathlib.Path("/usr/share/libvirt/schemas")


def table(name):
    with open(SOURCE / "core/data" / name, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def cited():
    """(where, work, place) of every source."""
    for name, column, key in (("answers.tsv", "source", "feature"), ("corrections.tsv", "evidence", "what")):
        for row in table(name):
            for source in row[column].split("; "):
                work, _, place = source.partition(": ")
                yield f"{name}, {row[key]} on {row['platform']}", work, place


class Sources(harness.Case):
    def test_libvirts_functions(self):
        folder = subprocess.run(["pkg-config", "--variable=includedir", "libvirt"], capture_output=True, text=True, check=True).stdout.strip()
        declared = set(re.findall(r"\w+", "".join(p.read_text() for p in pathlib.Path(folder, "libvirt").glob("*.h"))))
        names = [(where, place) for where, work, place in cited() if work == "libvirt API"]
        self.assertGreater(len(names), 50)
        for where, name in names:
            self.assertIn(name, declared, where)
        for row in table("answers.tsv"):
            for name in re.findall(r"\b(?:vir[A-Z]|VIR_)\w+", row["text"]):
                self.assertIn(name, declared, row)

    def test_libvirts_elements(self):
        """<element attribute='value'> of the texts, as libvirt's own schemas have them. What is newer than they are says so in words."""
        if not SCHEMAS.is_dir():
            self.skipTest(f"{SCHEMAS} is missing")
        rng = "{http://relaxng.org/ns/structure/1.0}"
        trees = [ElementTree.parse(path) for path in SCHEMAS.glob("*.rng")]
        elements, attributes = ({e.get("name") for tree in trees for e in tree.iter(rng + kind)} for kind in ("element", "attribute"))
        values = {e.text for tree in trees for e in tree.iter(rng + "value")}
        seen = 0
        for row in table("answers.tsv"):
            if row["platform"] != "QEMU/KVM":
                continue
            for element, rest in re.findall(r"<(\w+)([^>]*)>", row["text"]):
                self.assertIn(element, elements, row)
                seen += 1
                for attribute, _, value in re.findall(r"(\w+)=('([^']*)')?", rest):
                    self.assertIn(attribute, attributes, row)
                    self.assertTrue(not value or value in values, row)
        self.assertGreater(seen, 50)

    def test_virtualboxs_commands(self):
        """Each command and option of a source is in what the real VBoxManage says of that command."""
        if not shutil.which("VBoxManage"):
            self.skipTest("VirtualBox is not installed for tests (tests/virtualbox/install does it)")
        known = {}

        def manual(command):
            if command not in known:
                done = subprocess.run(["VBoxManage", "help", command], capture_output=True, text=True)
                self.assertIn(f"VBoxManage {command}", done.stdout, f"there is no VBoxManage {command}")
                known[command] = " ".join(done.stdout.split())
            return known[command]
        for where, work, place in cited():
            if work == "VBoxManage 7.2":
                command, *words = place.split()
                for word in words:
                    self.assertRegex(manual(command), rf"(?<![\w-]){re.escape(word)}(?![\w-])", f"{where}: {place}")
                self.assertTrue(manual(command))
        self.assertGreater(len(known), 20)


harness.main()
