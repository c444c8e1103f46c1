#!/usr/bin/env python3
"""caps and recommend where nothing is asked: the whole comparison word for word, tables at 80 and 160 columns, exit statuses, errors
that name the nearest, no library of a hypervisor loaded."""

import csv
import hashlib
import io
import json
import os
import pathlib
import re
import subprocess
import sys

import harness
import layout
from harness import SOURCE, VMCTL, run

if not os.access(VMCTL, os.X_OK):
    harness.skip(f"{VMCTL} is not built")

DATA, FIXTURES = SOURCE / "core/data", SOURCE / "tests/fixtures/caps"
PLATFORMS = ["QEMU/KVM", "VirtualBox", "VMware ESXi", "KubeVirt"]

# The comparison as the project got it: a cell that is changed changes these.
SOURCE_TEXTS = {
    "comparison.tsv": "2ad17acb22bb1739068bb17ae14566b43f34b9d6f726f2559c9093af7d21a3f5",
    "levels.tsv": "d968c4bb6213106c3a9d6bb2a48dfc6abe7f6dd03ddc207ae01fcb0d33508fd5",
    "workloads.tsv": "f99deaec5dbc1a72c9c903a98de5230d7aa0b7ecab8a9b3239b11a3b57cde4d0",
    "decision-guide.tsv": "ce89b3f84ef24642c594f3e4d1d79003e151729b242ed3e79c64af09c2e183bb",
    "notes.tsv": "3cf43b4455223f09abd666bf092807ffd07042a153429eec908dff6a50bc7c25",
    "migration-paths.tsv": "72ab0faa440e07825601bd1e8a204bd5db5cc83823930067d0c06bf3bc6e8e3e",
}


def vmctl(*arguments, width=None, **options):
    env = {"COLUMNS": str(width) if width else "", "VMCTL_CONNECT": "", "VMCTL_BACKEND": "", "VMCTL_CONTEXT": "", **options.pop("env", {})}
    return run(VMCTL, *arguments, env=env, **options)


def table(name):
    with open(DATA / name, newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def built():
    """The backends of this build, in their order: a fact of a platform is something that each of them lacks."""
    return [e["backend"] for e in json.loads(vmctl("caps", "--feature", "limits.vms", "-o", "json").out) if e["vmctl"]["reason"] != "this build has no such backend"]


def level(entry):
    """As a table shows the platform's: marked where it is a correction."""
    correction = entry["platform"].get("correction")
    return correction["level"] + "*" if correction else entry["platform"]["level"]


def comparison(rows, width):
    """`caps --compare` as a table, from its JSON."""
    cells, below, section = [], [], None
    titles = {row["section"]: row["title"] for row in table("sections.tsv")}
    for row in rows:
        if row["section"] != section:
            section = row["section"]
            cells.append(titles[section])
        line = [row["feature"]]
        for p in row["platforms"]:
            line.append(p["text"])
            if "correction" in p:
                c = p["correction"]
                mark = f"[{sum(note.startswith('[') for note in below) + 1}] "
                line[-1] += " " + mark.strip()
                below += layout.note(mark, f"{row['feature']}, {p['platform']}: {c['level']}; {c['text']} ({c['evidence']})", width)
        cells.append(line)
    return layout.table(["FEATURE", *PLATFORMS], "ttttt", cells, width) + ([""] + below if below else [])


def plain(items, keys, width):
    """A list of flat objects as a table, their keys as titles."""
    return layout.table([key.upper() for key in keys], "t" * len(keys), [[str(i.get(key, "")) for key in keys] for i in items], width)


class Caps(harness.Case):
    def test_the_cells_are_the_sources(self):
        for name, digest in SOURCE_TEXTS.items():
            self.assertEqual(hashlib.sha256((DATA / name).read_bytes()).hexdigest(), digest, f"{name} is not to be changed")
        rows = self.json(vmctl("caps", "--compare", "-o", "json"))
        source = table("comparison.tsv")
        levels = {row["feature"]: row for row in table("levels.tsv")}
        self.assertEqual(len(rows), 28)
        for row, cells in zip(rows, source, strict=True):
            self.assertEqual((row["section"], row["feature"]), (cells["section"], cells["feature"]))
            self.assertEqual([p["platform"] for p in row["platforms"]], PLATFORMS)
            for p in row["platforms"]:
                self.assertEqual(p["text"], cells[p["platform"]])
                self.assertEqual(p.get("level"), levels.get(row["feature"], {}).get(p["platform"]))

    def test_corrections_stand_beside_the_cells(self):
        rows = {row["feature"]: {p["platform"]: p for p in row["platforms"]} for row in self.json(vmctl("caps", "--compare", "-o", "json"))}
        for feature, platform, level in (("Live Migration", "VirtualBox", "limited"), ("GPU Hotplug", "VMware ESXi", "no"), ("GPU Hotplug", "KubeVirt", "no"),
                                         ("MIG Support", "KubeVirt", "limited"), ("Snapshots", "KubeVirt", "limited"), ("Memory Overcommit", "VirtualBox", "limited"),
                                         ("OpenGL Support", "KubeVirt", "manual")):
            correction = rows[feature][platform].pop("correction")
            self.assertEqual(correction["level"], level)
            self.assertTrue(correction["text"] and correction["evidence"])
        self.assertFalse([p for row in rows.values() for p in row.values() if "correction" in p], "no others")

    def test_every_format_of_the_comparison(self):
        source = table("comparison.tsv")
        rows = list(csv.DictReader(io.StringIO(self.ok(vmctl("caps", "--compare", "-o", "csv")).out)))
        self.assertEqual([[r[c] for c in ("section", "feature", *PLATFORMS)] for r in rows],
                         [[r[c] for c in ("section", "feature", *PLATFORMS)] for r in source])
        lines = self.ok(vmctl("caps", "--compare", "-o", "markdown")).out.splitlines()
        self.assertEqual(len([line for line in lines if line.startswith("| ") and not line.startswith("| Section")]), 28)
        self.assertIn("| overview | Live Migration | Supported | Not supported [1] | Supported (vMotion) | Supported |", lines)
        self.assertIn("text: Supported (vMotion)", self.ok(vmctl("caps", "--compare", "-o", "yaml")).out)

    def test_every_section(self):
        notes = table("notes.tsv")
        seen = 0
        for section in (row["section"] for row in table("sections.tsv")):
            items = self.json(vmctl("caps", "--section", section, "-o", "json"))
            self.assertTrue(items, section)
            for note in (i for i in items if "topic" in i):
                self.assertIn((note["topic"], note.get("platform", "all"), note["note"]), [(n["section"], n["platform"], n["text"]) for n in notes])
            self.ok(vmctl("caps", "--section", section, width=80))
        every = [self.json(vmctl("caps", "--section", s["section"], "-o", "json")) for s in table("sections.tsv")]
        seen = {(i["topic"], i["note"]) for items in every for i in items if "topic" in i}
        self.assertEqual(len(seen), len({(n["section"], n["text"]) for n in notes}), "every note belongs to a section")

    def test_tables_at_80_and_160_columns(self):
        calls = {"facts": ["caps", "--feature", "limits,platform"], "memory": ["caps", "--compare", "--section", "memory"],
                 "libvirt": ["caps", "libvirt", "--feature", "lifecycle.pause,limits,storage.bus.nvme,network.multus"],
                 "diff": ["caps", "--diff", "virtualbox", "kubevirt", "--feature", "limits,platform"],
                 "require": ["caps", "libvirt", "--require", "network.multus,limits.vms"], "path": ["recommend", "--from", "VirtualBox", "--to", "QEMU/KVM"]}
        for name, arguments in calls.items():
            for width in (80, 160):
                self.assertEqual(vmctl(*arguments, width=width).out, (FIXTURES / f"{name}.{width}").read_text(), f"{name} at {width}")
        self.assertEqual(vmctl("caps", "libvirt", "--feature", "network.multus", "-o", "json").out, (FIXTURES / "multus.json").read_text())

    def test_tables_at_any_width(self):
        """The program wraps as the written rule says: the answers of its JSON laid out by layout.py are its tables."""
        def tables(*arguments, expect):
            answer = json.loads(vmctl(*arguments, "-o", "json").out)
            for width in (40, 60, 80, 97, 132, 200):
                shown = vmctl(*arguments, width=width).out.splitlines()
                self.assertEqual(shown, expect(answer, width), f"{arguments} at {width} columns")

        def backends(entries, width):
            rows = [[fours[0]["feature"], *(f"{level(e)}/{e['vmctl']['level']}" for e in fours)] for fours in zip(*[iter(entries)] * 4)]
            return layout.table(["FEATURE", *(f"{e['backend'].upper()}\ncan/does" for e in entries[:4])], "wllll", rows, width)

        def one(entries, width):
            rows = [[e["feature"], level(e), e["vmctl"]["level"], e["vmctl"].get("provenBy", ""), e["vmctl"].get("reason", "")] for e in entries]
            return layout.table(["FEATURE", "PLATFORM", "VMCTL", "PROVEN BY", "WHY"], "wllwr", rows, width)

        def differences(rows, width):
            titles = ["FEATURE", "virtualbox\ncan/does", "vsphere\ncan/does", "WHAT IT IS"]
            return layout.table(titles, "wllt", [[r["feature"], *(f"{level(r[x])}/{r[x]['vmctl']['level']}" for x in "ab"), r["title"]] for r in rows], width)

        def missing(entries, width):
            rows = [[e["feature"], e["backend"], level(e), e["vmctl"]["level"], e["vmctl"]["reason"]] for e in entries]
            return layout.table(["MISSING", "BACKEND", "PLATFORM", "VMCTL", "WHY"], "wwllr", rows, width)

        def path(steps, width):
            rows = [[str(s["step"]), s["action"], s.get("vmctl") or "by hand" + (f" ({s['reason']})" if s.get("reason") else "")] for s in steps]
            return layout.table(["STEP", "ACTION", "VMCTL"], "wtt", rows, width)

        def section(items, width):
            parts = []
            rows, notes = [i for i in items if "platforms" in i], [i for i in items if "topic" in i]
            others = [i for i in items if "platforms" not in i and "topic" not in i]
            for part in (comparison(rows, width) if rows else [], plain(notes, ["topic", "platform", "note"], width) if notes else []):
                parts += ([""] if parts and part else []) + part
            if others:
                keys = next(k for k in (["workload", "first", "second", "note"], ["platform", "need", "criterion"], ["from", "to", "step", "action", "command"])
                            if k[0] in others[0] and k[1] in others[0])
                parts += ([""] if parts else []) + plain(others, keys, width)
            return parts

        tables("caps", expect=backends)
        tables("caps", "libvirt", expect=one)
        tables("caps", "kubevirt", expect=one)
        tables("caps", "--diff", "virtualbox", "vsphere", expect=differences)
        tables("caps", "libvirt", "--require", "network.multus,limits.vms,storage.bus.nvme,lifecycle.start", expect=missing)
        tables("caps", "--compare", expect=comparison)
        for name in (row["section"] for row in table("sections.tsv")):
            tables("caps", "--section", name, expect=section)
        tables("recommend", "--from", "VMware", "--to", "KubeVirt", expect=path)
        tables("recommend", "--from", "VirtualBox", "--to", "QEMU/KVM", expect=path)

    def test_no_line_is_wider(self):
        calls = [["caps"], ["caps", "libvirt"], ["caps", "kubevirt"], ["caps", "--compare"], ["caps", "--diff", "libvirt", "vsphere"], ["caps", "-o", "wide"],
                 ["caps", "libvirt", "-o", "wide"], ["caps", "--explain", "vsphere"], ["recommend", "--workload", "Dev/Test", "--explain"],
                 ["recommend", "--from", "VMware", "--to", "KubeVirt"], *(["caps", "--section", s["section"]] for s in table("sections.tsv"))]
        for arguments in calls:
            for width in (80, 160):
                for line in self.ok(vmctl(*arguments, width=width)).out.splitlines():
                    self.assertLessEqual(len(line), width, f"{arguments}: {line}")
                    self.assertEqual(line, line.rstrip(), f"{arguments}: blanks at the end")

    def test_three_answers_apart(self):
        entries = self.json(vmctl("caps", "-o", "json"))
        features = re.findall(r'^FEATURE\(\w+, "([^"]+)"', (SOURCE / "core/src/features.def").read_text(), re.M)
        self.assertEqual([e["feature"] for e in entries[::4]], features)
        for e in entries:
            self.assertEqual(sorted(e), ["backend", "feature", "platform", "title", "vmctl"], "nothing was probed")
            self.assertIn(e["platform"]["level"], ("yes", "limited", "manual", "no", "unknown"))
            if e["platform"]["level"] == "unknown":
                self.assertTrue(e["platform"]["text"])
            if e["vmctl"]["level"] == "no":
                self.assertNotIn("provenBy", e["vmctl"])
            else:
                self.assertIn("provenBy", e["vmctl"], e["feature"])
        by = {(e["feature"], e["backend"]): e for e in entries}
        teleport = by["migrate.live", "virtualbox"]
        self.assertEqual((teleport["platform"]["level"], teleport["platform"]["text"], teleport["platform"]["correction"]["level"]), ("no", "Not supported", "limited"))
        self.assertEqual((teleport["vmctl"]["level"], teleport["vmctl"]["provenBy"]), ("limited", "real"))
        self.assertEqual(by["migrate.live", "vsphere"]["vmctl"], {"level": "no", "reason": "this build has no such backend"})
        self.assertEqual(by["lifecycle.start", "libvirt"]["vmctl"]["provenBy"], "real")
        self.assertRegex(by["lifecycle.start", "libvirt"]["vmctl"]["provenAgainst"], r"^libvirt \d+\.\d+, QEMU \d+\.\d+$")
        self.assertEqual(by["accel.kvm", "libvirt"]["vmctl"]["provenBy"], "specification", "a weaker proof is shown as what it is")
        self.assertEqual(len(self.json(vmctl("caps", "VMware ESXi", "-o", "json"))), len(features))

    def test_required(self):
        self.assertEqual(self.ok(vmctl("caps", "--require", "lifecycle.create,lifecycle.start")).out, "")
        done = self.status(vmctl("caps", "--require", "lifecycle.create,limits.vms", "-o", "json"), 3)
        self.assertEqual([(e["feature"], e["backend"]) for e in json.loads(done.out)], [("limits.vms", backend) for backend in built()])
        self.status(vmctl("caps", "vsphere", "--require", "lifecycle.create"), 3)
        nowhere = ("--connect", "qemu+unix:///system?socket=/nowhere")
        done = self.status(vmctl("caps", *nowhere, "--require", "lifecycle.create", "-o", "json"), 9)
        self.assertEqual(json.loads(done.out)[0]["here"]["level"], "unknown")
        self.status(vmctl("caps", *nowhere, "--require", "lifecycle.create,limits.vms"), 3)
        done = self.ok(vmctl("caps", *nowhere, "--feature", "lifecycle.create", "-o", "json"))
        here = json.loads(done.out)[0]["here"]
        self.assertEqual(here["level"], "unknown")
        self.assertIn("/nowhere", here["reason"])
        self.assertIn("unknown", done.err)

    def test_errors_name_the_nearest(self):
        for arguments, near in ((["caps", "--require", "snapshot.memroy"], "snapshot.memory"), (["caps", "--feature", "snapshto"], "snapshot"),
                                (["caps", "libvrt"], "libvirt"), (["caps", "--section", "gpus"], "gpu"), (["recommend", "--workload", "Dev/Tets"], "Dev/Test"),
                                (["recommend", "--need", "open-sauce"], "open-source"), (["recommend", "--need", "gpu.mgi"], "gpu.mig"),
                                (["recommend", "--from", "VMvare", "--to", "KubeVirt"], "VMware")):
            self.status(vmctl(*arguments), 2, near)
        for arguments in (["recommend"], ["recommend", "--from", "VMware"], ["caps", "--diff", "libvirt"], ["caps", "a", "b"],
                          ["recommend", "--from", "VMware", "--to", "KubeVirt", "--need", "gpu.mig"]):
            self.status(vmctl(*arguments), 2)
        error = vmctl("recommend", "--workload", "gaming").err
        for workload in table("workloads.tsv"):
            self.assertIn(workload["workload"], error)
        self.status(vmctl("recommend", "--from", "KubeVirt", "--to", "VMware"), 4, "--from VMware --to KubeVirt")

    def test_recommend_is_the_workload_table(self):
        names = {"VMware": "VMware ESXi"}
        for row in table("workloads.tsv"):
            ranked = self.json(vmctl("recommend", "--workload", row["workload"], "-o", "json"))
            self.assertEqual([r["platform"] for r in ranked[:2]], [names.get(row[place], row[place]) for place in ("first", "second")])
            self.assertEqual([r["ours"] for r in ranked], [False, False, True, True])
            self.assertTrue([g for g in ranked[0]["grounds"] if not g["for"]], "what speaks against the winner")
        for row in table("decision-guide.tsv"):
            ranked = self.json(vmctl("recommend", "--need", row["need"], "-o", "json"))
            self.assertEqual(ranked[0]["platform"], row["platform"], row["need"])
            self.assertEqual(len(ranked), 4)

    def test_the_four_questions(self):
        levels = {e["backend"]: e["platform"]["level"] for e in self.json(vmctl("caps", "--feature", "gpu.passthrough", "-o", "json"))}
        self.assertEqual([b for b, level in levels.items() if level == "no"], ["virtualbox"])
        self.assertEqual(self.json(vmctl("recommend", "--need", "best-vgpu", "-o", "json"))[0]["platform"], "VMware ESXi")
        self.assertEqual(self.json(vmctl("recommend", "--need", "containers", "-o", "json"))[0]["platform"], "KubeVirt")
        steps = self.json(vmctl("recommend", "--from", "VMware", "--to", "KubeVirt", "-o", "json"))
        conversion = [s for s in steps if "qcow2" in s.get("command", "")]
        self.assertEqual([(s["step"], s["command"]) for s in conversion], [(2, "qemu-img convert -f vmdk -O qcow2 vm-disk.vmdk vm-disk.qcow2")])
        self.assertTrue(conversion[0]["vmctl"].startswith("vmctl image convert "))
        self.assertTrue(all(s["byHand"] != ("vmctl" in s) for s in steps))

    def test_nothing_is_loaded(self):
        for arguments in (["caps"], ["caps", "--compare"], ["recommend", "--workload", "Dev/Test"]):
            done = vmctl(*arguments, env={"LD_DEBUG": "files"})
            self.assertIn("libvmctl.so", done.err)
            self.assertEqual(re.findall(r"file=((?:libvirt|libcurl|vmctl-)[^ ]*)", done.err), [])

    def test_a_table_that_does_not_fit_its_header_fails_the_build(self):
        broken = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"vmctl-broken-{os.getpid()}.tsv"
        broken.write_text("a\tb\n1\n")
        done = subprocess.run(["awk", "-f", DATA / "tables.awk", broken], capture_output=True, text=True)
        broken.unlink()
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(":2: 1 cells, and the header has 2", done.stderr)

    def test_the_example(self):
        program = pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / f"vmctl-require-{os.getpid()}"
        library = harness.BUILD / "lib"
        if "VMCTL_SANITIZE:BOOL=ON" in (harness.BUILD / "CMakeCache.txt").read_text():
            flags = ["-fsanitize=address,undefined"]
        else:
            flags = []
        self.ok(run("gcc", "-Wall", "-Wextra", "-Werror", *flags, str(SOURCE / "examples/choose-hypervisor.c"), f"-I{SOURCE}/core/include",
                    f"-L{library}", "-lvmctl", f"-Wl,-rpath,{library}", "-o", str(program)))
        try:
            done = self.ok(run(str(program), "lifecycle.create", "snapshot.memory"))
            self.assertEqual(done.out, "libvirt\n")
            done = self.status(run(str(program), "lifecycle.create", "limits.vms"), 3, "limits.vms")
            self.assertEqual(done.out, "")
            self.status(run(str(program), "lifecycle.craete"), 2, "lifecycle.create")
        finally:
            program.unlink()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    harness.main()
