#!/usr/bin/env python3
"""/dev/kvm that QEMU's user cannot open: defining and starting a VM takes seconds, not a minute, and it is said."""

import harness
from harness import vmctl

harness.enter("--kvm", "600", cached=False)


class UnusableKvm(harness.Case):
    def test_daemons_that_vmctl_starts_do_not_see_it(self):
        first = self.ok(vmctl("create", "a", "--image", harness.GUEST, "--memory", "32MiB", "--start"))
        second = self.ok(vmctl("create", "b", "--image", harness.GUEST, "--memory", "32MiB", "--start"))
        self.assertLess(first.seconds, 30, str(first))
        self.assertLess(second.seconds, 10, str(second))
        self.counts("a", line="")
        self.counts("b", line="")
        self.assertEqual(self.one(vmctl("get", "a", "-o", "json"))["state"], "running")
        self.ok(vmctl("delete", "a", "b", "--force"))

    def test_host_info_says_why_it_is_not_used(self):
        info = self.ok(vmctl("host", "info", "-o", "json"))
        self.assertIn("tcg", info.out)
        self.assertIn("/dev/kvm", info.out)


harness.main()
