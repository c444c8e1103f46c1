"""What `caps --vm` says no to is refused: each operation on VMs of many kinds, in the words of the probe, and nothing is touched. The walk that
the tests of all hypervisors take."""

import json
import re

from harness import vmctl

# The operation of each feature that a VM may have something against: its arguments, where VM is the name and HOST where it goes.
OPERATIONS = {
    "lifecycle.start": ["start", "VM"],
    "lifecycle.stop": ["stop", "VM", "--grace", "1s"],
    "lifecycle.restart": ["restart", "VM", "--grace", "1s"],
    "lifecycle.reboot": ["restart", "VM", "--soft"],
    "lifecycle.reset": ["reset", "VM"],
    "lifecycle.pause": ["pause", "VM"],
    "lifecycle.resume": ["resume", "VM"],
    "lifecycle.save": ["save", "VM"],
    "lifecycle.rename": ["rename", "VM", "other"],
    "lifecycle.clone": ["clone", "VM", "other"],
    "lifecycle.clone.linked": ["clone", "VM", "other", "--linked"],
    "change.apply": ["set", "VM", "watchdog=reset"],
    "cpu.hotplug": ["set", "VM", "cpus.count=2", "--live"],
    "memory.hotplug": ["set", "VM", "memory.size=512MiB", "--live"],
    "memory.balloon": ["set", "VM", "memory.size=24MiB", "--live"],
    "storage.grow": ["set", "VM", "disk.root.size=64MiB"],
    "device.disk.hotplug": ["attach", "VM", "disk", "name=more", "size=1MiB", "--live"],
    "device.nic.hotplug": ["attach", "VM", "nic", "name=more", "type=user", "--live"],
    "device.detach": ["detach", "VM", "root", "--live"],
    "device.cdrom.change": ["cdrom", "eject", "VM"],
    "share.virtiofs": ["attach", "VM", "share", "name=src", "path=/usr/share", "type=virtiofs", "--live"],
    "snapshot.disk": ["snapshot", "create", "VM", "two", "--no-memory"],
    "snapshot.memory": ["snapshot", "create", "VM", "two", "--memory"],
    "snapshot.quiesce": ["snapshot", "create", "VM", "two", "--quiesce"],
    "migrate.live": ["migrate", "VM", "--to", "HOST", "--live"],
    "migrate.offline": ["migrate", "VM", "--to", "HOST", "--offline"],
    "migrate.storage": ["migrate", "VM", "--to", "HOST", "--storage"],
    "migrate.tunnelled": ["migrate", "VM", "--to", "HOST", "--live", "--tunnelled"],
    "migrate.postcopy": ["migrate", "VM", "--to", "HOST", "--live", "--postcopy"],
    "display.screenshot": ["screenshot", "VM", "/tmp/picture.png"],
    "display.keys": ["send-key", "VM", "enter"],
    "console.serial": ["console", "VM", "--until", "never"],
    "guest.exec": ["exec", "VM", "--via", "agent", "--", "true"],
    "guest.copy": ["cp", "--via", "agent", "/etc/hostname", "VM:/tmp/x"],
    "guest.copy.out": ["cp", "--via", "agent", "VM:/etc/hostname", "/tmp/x"],
    "guest.freeze": ["freeze", "VM"],
    "guest.thaw": ["thaw", "VM"],
    "migrate.abort": ["migrate", "--abort", "VM"],
    "display.address": ["display", "VM"],
    "guest.forward": ["port-forward", "VM", "0:22"],
    "guest.memory-dump": ["dump", "VM", "/tmp/memory.core"],
    "lifecycle.autostart": ["set", "VM", "autostart=on"],
    "lifecycle.delete": ["delete", "VM"],
    "image.export": ["export", "VM", "/tmp/exported.ova"],
    "snapshot.external": ["snapshot", "create", "VM", "two", "--no-memory"],
    "device.usb": ["attach", "VM", "usb", "device=1d6b:0001", "--live"],
    "guest.password": ["set-password", "VM", "root"],
}




def operations(host, **others):
    """host: where a migration goes. others: the operations that are another one on this hypervisor, or (None) no operation of its own; an underscore
    for each dot."""
    those = OPERATIONS | {feature.replace("_", "."): words for feature, words in others.items()}
    return {feature: [host if word == "HOST" else word for word in words] for feature, words in those.items() if words}


ANY = ""  # in whatever words
CODES = ("unsupported", "invalid-state", "not-found", "permission-denied", "data-loss-prevented", "unavailable")


def attempt(name, feature, here, operation):
    """What is wrong with how the operation is refused; None: nothing."""
    words = [word.replace("VM", name) if word == "VM" or word.startswith("VM:") else word for word in operation]
    at = words.index("--") if "--" in words else len(words)
    done = vmctl(*words[:at], "-o", "json", "--timeout", "20s", *words[at:], input="secret\n")
    said = f"{feature} of {name}: the probe says: {here['reason']} | {here.get('remedy')}\n"
    try:
        error = json.loads(done.err.splitlines()[-1])["error"]
    except (json.JSONDecodeError, IndexError, KeyError):
        return f"{said}and the operation: {done}"
    # A refusal for several reasons at once holds the one that the probe knows.
    if here["reason"] in error["message"] and here.get("remedy") in (error.get("next"), ANY) and error["code"] in CODES:
        return None
    return f"{said}the refusal: {error['code']}: {error['message']} | {error.get('next')}"


def differences(before, after):
    return [f"{what} {key}: {a.get(key)} -> {b.get(key)}" for what in before for a, b in [(before[what], after[what])] for key in sorted({*a, *b})
            if a.get(key) != b.get(key)]


def walk(case, kinds, world, possible, operations):
    """Each operation that the probe of one of these VMs says no to; and of the first of them, which runs, each that this backend has not got.
    world(name): all that an operation on the VM could have touched, {what: {key: value}}. possible: the features that nothing stands in the way of on
    all of these VMs. The same refusal of another VM is not tried again: it is the same code."""
    known, wrong = {}, []
    for name in kinds:
        entries = {e["feature"]: e for e in case.json(vmctl("caps", "--vm", name, "-o", "json"))}
        before = world(name)
        for feature, operation in operations.items():
            here = entries[feature].get("here", {"level": "yes"})
            if entries[feature]["vmctl"]["level"] == "no":
                here = {"level": "no", "reason": ANY, "remedy": ANY}
            refusal = (feature, re.sub(rf"\b{name}\b", "VM", str(here.get("reason"))))
            if here["level"] != "no" or refusal in known:
                continue
            known[refusal] = name
            wrong.append(attempt(name, feature, here, operation))
            after = world(name)
            wrong += [f"{feature} of {name} touched {text}" for text in differences(before, after)]
            before = after
    wrong = [text for text in wrong if text]
    case.assertFalse(wrong, "\n\n" + "\n".join(wrong))
    # Each operation that can be refused was, on one VM or another; nothing may stand in the way of these.
    case.assertLessEqual(set(operations) - {feature for feature, _ in known}, possible, "nothing says no to these any more: a VM that they are refused for is missing")
