#!/usr/bin/env python3
"""The console on a real VM: on a terminal (raw mode, ^] leaves it, the terminal is as before in every case), and without one."""

import os
import pty
import select
import signal
import subprocess
import termios
import time

import harness
from harness import VMCTL, vmctl

harness.enter("--daemons")


class Terminal:
    """vmctl console on a pseudo-terminal."""

    def __init__(self, *arguments):
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.child = subprocess.Popen([VMCTL, "console", *arguments], stdin=self.slave, stdout=self.slave,
                                      stderr=subprocess.PIPE, start_new_session=True)
        self.shown = b""

    def read_until(self, wanted, seconds=120):
        until = time.monotonic() + seconds
        while wanted not in self.shown and time.monotonic() < until:
            if select.select([self.master], [], [], 0.2)[0]:
                self.shown += os.read(self.master, 4096)
        return wanted in self.shown

    def end(self, seconds=120):
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self.after = termios.tcgetattr(self.slave)
        err = self.child.stderr.read().decode()
        self.child.stderr.close()
        os.close(self.master)
        os.close(self.slave)
        return err


class Console(harness.Case):
    @classmethod
    def setUpClass(cls):
        made = vmctl("create", "c1", "--image", harness.GUEST, "--memory", "32MiB", "--start")
        assert made.status == 0, str(made)

    @classmethod
    def tearDownClass(cls):
        vmctl("delete", "c1", "--force")

    def test_escape_leaves_it_and_restores_the_terminal(self):
        terminal = Terminal("c1")
        self.assertTrue(terminal.read_until(b"vmctl guest: line"), terminal.shown)
        self.assertFalse(termios.tcgetattr(terminal.slave)[3] & termios.ECHO)
        os.write(terminal.master, b"\x1d")
        err = terminal.end()
        self.assertEqual(terminal.child.returncode, 0, err)
        self.assertIn("^]", err)
        self.assertEqual(terminal.after, terminal.before)

    def test_signals_restore_the_terminal(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            terminal = Terminal("c1")
            self.assertTrue(terminal.read_until(b"vmctl guest: line"), terminal.shown)
            terminal.child.send_signal(number)
            err = terminal.end()
            self.assertEqual(terminal.child.returncode, 130, err)
            self.assertEqual(terminal.after, terminal.before)

    def test_the_terminal_is_restored_when_the_vm_ends(self):
        self.ok(vmctl("create", "c2", "--image", harness.GUEST, "--memory", "32MiB", "--start"))
        terminal = Terminal("c2")
        self.assertTrue(terminal.read_until(b"vmctl guest: line"), terminal.shown)
        self.ok(vmctl("delete", "c2", "--force"))
        terminal.end()
        self.assertIsNotNone(terminal.child.returncode)
        self.assertEqual(terminal.after, terminal.before)

    def test_without_a_terminal_until_ends_it(self):
        done = self.ok(vmctl("console", "c1", "--until", "line [0-9]+", "--timeout", "30s"))
        self.assertIn("vmctl guest: line", done.out)
        self.assertNotIn("^]", done.err)

    def test_what_does_not_appear_is_a_timeout(self):
        done = vmctl("console", "c1", "--until", "no such words", "--timeout", "2s", "-o", "json")
        self.status(done, 8, '"timeout"')
        self.assertLess(done.seconds, 15)

    def test_a_timeout_without_until_is_no_error(self):
        self.ok(vmctl("console", "c1", "--timeout", "2s"))

    def test_a_stopped_vm_has_none(self):
        self.ok(vmctl("create", "c3", "--image", harness.GUEST, "--memory", "32MiB"))
        self.status(vmctl("console", "c3"), 6, "c3")
        self.ok(vmctl("delete", "c3"))

    def test_output_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([VMCTL, "console", "c1", "--timeout", "20s"], stdin=subprocess.DEVNULL, stdout=full,
                                  stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 11, done.stderr)


harness.main()
