#!/usr/bin/env python3
"""Verbs that need a real VM to show themselves: events and list --watch as things happen, several VMs side by side, set, edit and
apply, delete with and without its disks."""

import json
import os
import pathlib
import subprocess
import time

import harness
from harness import VMCTL, vmctl

harness.enter("--daemons")


def make(name, *more):
    return vmctl("create", name, "--image", harness.GUEST, "--memory", "32MiB", *more)


class Following:
    """A vmctl that goes on, and the lines that it has written."""

    def __init__(self, *arguments):
        self.out = open(pathlib.Path(os.environ["WORLD"], "follow"), "w+")
        self.child = subprocess.Popen([VMCTL, *arguments], stdin=subprocess.DEVNULL, stdout=self.out,
                                      stderr=subprocess.PIPE, text=True)

    def lines(self):
        return [json.loads(line) for line in pathlib.Path(self.out.name).read_text().splitlines()]

    def end(self, seconds=120):
        _, err = self.child.communicate(timeout=seconds)
        self.out.close()
        return err


class Verbs(harness.Case):
    def tearDown(self):
        names = vmctl("list", "-o", "name").out.split()
        if names:
            self.ok(vmctl("delete", *names, "--force"))

    def test_events_as_they_happen(self):
        self.ok(make("v1", "--start"))
        follow = Following("events", "v1", "--kind", "state", "--count", "2", "--timeout", "60s", "-o", "jsonl")
        self.assertIn("listening", follow.child.stderr.readline())
        self.ok(vmctl("pause", "v1"))
        self.wait_for("the pause", lambda: [e for e in follow.lines() if e["state"] == "paused"])
        self.ok(vmctl("resume", "v1"))
        err = follow.end()
        self.assertEqual(follow.child.returncode, 0, err)

    def test_watch_has_a_row_for_each_change(self):
        self.ok(make("v1"))
        follow = Following("list", "--watch", "-o", "jsonl", "--timeout", "60s")
        self.wait_for("the list", lambda: [v for v in follow.lines() if v["name"] == "v1" and v["state"] == "stopped"])
        time.sleep(1)
        self.ok(vmctl("start", "v1"))
        self.wait_for("the start", lambda: [v for v in follow.lines() if v.get("state") == "running"])
        self.ok(vmctl("delete", "v1", "--force"))
        self.wait_for("the end", lambda: [v for v in follow.lines() if v.get("deleted")])
        follow.child.terminate()
        follow.end()
        self.assertEqual(follow.child.returncode, 130)

    def test_a_vm_without_a_display_is_an_answer(self):
        self.ok(make("v1", "--set", "display=none", "--start"))
        self.status(vmctl("display", "v1"), 4, "v1 has no display", "vmctl screenshot v1")
        self.ok(make("v2", "--start"))
        self.assertRegex(self.ok(vmctl("display", "v2")).out, r"v2 +vnc +127\.0\.0\.1")

    def test_several_are_stopped_side_by_side(self):
        names = [f"v{i}" for i in range(1, 5)]
        for name in names:
            self.ok(make(name, "--start"))
        done = self.ok(vmctl("stop", *names, "--grace", "5s", "-o", "json"))
        self.assertLess(done.seconds, 15, str(done))
        self.assertEqual([(v["name"], v["outcome"]) for v in json.loads(done.out)], [(n, "stopped") for n in names])

    def test_set_says_what_waits_for_a_restart(self):
        self.ok(make("v1", "--start"))
        done = self.ok(vmctl("set", "v1", "memory=64MiB", "labels.tier=front", "-o", "json"))
        effects = {c["path"]: c["effect"] for c in json.loads(done.out)[0]["changes"]}
        self.assertEqual(effects["labels.tier"], "now")
        self.assertEqual(effects["memory.size"], "at-restart")
        self.status(vmctl("set", "v1", "cpus=2", "--live"), 6)
        self.assertEqual(self.json(vmctl("set", "v1", "memory=64MiB", "-o", "json"))[0]["outcome"], "unchanged")
        self.assertEqual(vmctl("list", "-l", "tier=front", "-o", "name").out, "v1\n")
        self.assertEqual(vmctl("list", "-l", "tier=back", "-o", "name").out, "")

    def test_edit_changes_what_was_edited(self):
        self.ok(make("v1"))
        editor = pathlib.Path(os.environ["HOME"], "editor")
        editor.write_text("#!/bin/sh\nsed -i 's/^memory: .*/memory: 48MiB/' \"$1\"\n")
        editor.chmod(0o755)
        done = self.ok(vmctl("edit", "v1", env={"EDITOR": str(editor)}))
        self.assertIn("memory.size: 32MiB -> 48MiB", done.out)
        self.assertEqual(self.json(vmctl("get", "v1", "-o", "json"))["memoryMiB"], 48)

    def test_apply_of_what_is_there_changes_nothing(self):
        self.ok(make("v1", "--disk", "name=data,size=8MiB,bus=scsi", "--label", "a=b"))
        before = vmctl("get", "v1", "-o", "native").out
        spec = self.ok(vmctl("get", "v1", "-o", "spec")).out
        done = self.ok(vmctl("apply", "-", "-o", "json", input=spec))
        self.assertEqual(json.loads(done.out)[0]["outcome"], "unchanged", str(done))
        self.assertEqual(vmctl("get", "v1", "-o", "native").out, before)
        self.status(vmctl("diff", "-", "--set", "memory=64MiB", input=spec), 1)

    def test_delete_takes_its_disks_and_says_which(self):
        self.ok(make("v1", "--disk", "name=data,size=8MiB"))
        done = self.ok(vmctl("delete", "v1", "-o", "json"))
        disks = [r["name"] for r in json.loads(done.out)[0]["removed"] if r["kind"] == "disk"]
        self.assertEqual(len(disks), 2, str(done))
        self.assertFalse([d for d in disks if os.path.exists(d)])
        self.ok(make("kept"))
        done = self.ok(vmctl("delete", "kept", "--keep-disks", "-o", "json"))
        self.assertFalse([r for r in json.loads(done.out)[0]["removed"] if r["kind"] == "disk"], str(done))
        self.assertIn("kept-root", vmctl("image", "list", "-o", "name").out)
        self.ok(vmctl("image", "delete", "kept-root.raw"))
        self.assertEqual(vmctl("image", "list", "-o", "name").out, "")


harness.main()
