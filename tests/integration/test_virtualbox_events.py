#!/usr/bin/env python3
"""Who listens is not kept by a look that is under way: VBoxManage may wait ten seconds for a VBoxSVC that is ending. By a stand-in for
VBoxManage whose looks never come to an end by themselves while the test waits."""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

import harness
from harness import vmctl

if not os.access(harness.VMCTL, os.X_OK):
    harness.skip(f"{harness.VMCTL} is not built")

ROOT = pathlib.Path(tempfile.mkdtemp(prefix="vmctl-events."))
STAND_IN = f"""#!/bin/sh
case "$1" in
--version) echo 7.2.22r175245 ;;
list)
    # The first look is quick; every one after it takes long, and says so at its end.
    if mkdir {ROOT}/first 2>/dev/null; then exit 0; fi
    touch {ROOT}/looking
    trap 'exit 1' INT
    for i in $(seq 240); do sleep 0.5; done
    touch {ROOT}/waited ;;
esac
"""
REGISTRY = """<?xml version="1.0"?>
<VirtualBox xmlns="http://www.virtualbox.org/" version="1.14-linux"><Global><MachineRegistry/></Global></VirtualBox>
"""


class Events(harness.Case):
    @classmethod
    def setUpClass(cls):
        (ROOT / "bin").mkdir()
        program = ROOT / "bin/VBoxManage"
        program.write_text(STAND_IN)
        program.chmod(0o755)
        home = ROOT / "home"
        home.mkdir()
        (home / "VirtualBox.xml").write_text(REGISTRY)
        cls.env = {"PATH": f"{ROOT / 'bin'}:{os.environ['PATH']}", "VBOX_USER_HOME": str(home), "VMCTL_BACKEND": "virtualbox"}

    @classmethod
    def tearDownClass(cls):
        shutil.rmtree(ROOT)

    def test_the_end_does_not_wait_for_a_look(self):
        with subprocess.Popen([harness.VMCTL, "events", "--follow"], env={**os.environ, **self.env}, stdout=subprocess.DEVNULL) as child:
            try:
                self.wait_for("a look is under way", (ROOT / "looking").exists)
            finally:
                child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(100), 130)
        self.assertFalse((ROOT / "waited").exists(), "the look was waited for")


if __name__ == "__main__":
    harness.main()
