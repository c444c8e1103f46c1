"""Conditions of a status, as KubeVirt writes them."""

import time


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def condition(conditions, kind):
    return next((c for c in conditions if c["type"] == kind), None)


def set_condition(conditions, kind, value, reason="", message="", drop=False):
    """Keeps the times of one that does not change."""
    have = condition(conditions, kind)
    if have and (have["status"], have.get("reason", ""), have.get("message", "")) == (value, reason, message):
        return conditions
    rest = [c for c in conditions if c["type"] != kind]
    if drop:
        return rest
    return [*rest, {"type": kind, "status": value, "lastProbeTime": now(), "lastTransitionTime": now(), **({"reason": reason} if reason else {}),
                    **({"message": message} if message else {})}]
