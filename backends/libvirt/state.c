/* libvirt's states in the common nine. Source: libvirt-domain.h, virDomainState and the reasons below it. */
#include "ops.h"

static const char *const running_text[] = {
    [VIR_DOMAIN_RUNNING_BOOTED] = "booted",
    [VIR_DOMAIN_RUNNING_MIGRATED] = "migrated",
    [VIR_DOMAIN_RUNNING_RESTORED] = "restored from its saved memory",
    [VIR_DOMAIN_RUNNING_FROM_SNAPSHOT] = "from a snapshot",
    [VIR_DOMAIN_RUNNING_UNPAUSED] = "resumed",
    [VIR_DOMAIN_RUNNING_MIGRATION_CANCELED] = "its migration was cancelled",
    [VIR_DOMAIN_RUNNING_SAVE_CANCELED] = "its saving was cancelled",
    [VIR_DOMAIN_RUNNING_WAKEUP] = "woken up",
    [VIR_DOMAIN_RUNNING_CRASHED] = "restarted after a crash",
    [VIR_DOMAIN_RUNNING_POSTCOPY] = "in post-copy migration",
    [VIR_DOMAIN_RUNNING_POSTCOPY_FAILED] = "post-copy migration failed",
};

static const char *const paused_text[] = {
    [VIR_DOMAIN_PAUSED_USER] = "on request",
    [VIR_DOMAIN_PAUSED_MIGRATION] = "for migration",
    [VIR_DOMAIN_PAUSED_SAVE] = "its memory is being saved",
    [VIR_DOMAIN_PAUSED_DUMP] = "its memory is being dumped",
    [VIR_DOMAIN_PAUSED_IOERROR] = "disk I/O error",
    [VIR_DOMAIN_PAUSED_WATCHDOG] = "watchdog",
    [VIR_DOMAIN_PAUSED_FROM_SNAPSHOT] = "from a snapshot",
    [VIR_DOMAIN_PAUSED_SHUTTING_DOWN] = "shutting down",
    [VIR_DOMAIN_PAUSED_SNAPSHOT] = "a snapshot is being taken",
    [VIR_DOMAIN_PAUSED_CRASHED] = "the guest crashed",
    [VIR_DOMAIN_PAUSED_STARTING_UP] = "starting up",
    [VIR_DOMAIN_PAUSED_POSTCOPY] = "in post-copy migration",
    [VIR_DOMAIN_PAUSED_POSTCOPY_FAILED] = "post-copy migration failed",
};

static const char *const shutoff_text[] = {
    [VIR_DOMAIN_SHUTOFF_SHUTDOWN] = "shut off by the guest",
    [VIR_DOMAIN_SHUTOFF_DESTROYED] = "powered off",
    [VIR_DOMAIN_SHUTOFF_CRASHED] = "crashed",
    [VIR_DOMAIN_SHUTOFF_MIGRATED] = "migrated to another host",
    [VIR_DOMAIN_SHUTOFF_SAVED] = "saved",
    [VIR_DOMAIN_SHUTOFF_FAILED] = "failed to start",
    [VIR_DOMAIN_SHUTOFF_FROM_SNAPSHOT] = "from a snapshot",
    [VIR_DOMAIN_SHUTOFF_DAEMON] = "the daemon ended it",
};

#define TEXT(table, reason)                                                                                            \
    ((reason) >= 0 && (size_t)(reason) < sizeof(table) / sizeof(table)[0] ? (table)[reason] : NULL)

static vmctl_state paused_state(int reason) {
    switch (reason) {
    case VIR_DOMAIN_PAUSED_MIGRATION:
    case VIR_DOMAIN_PAUSED_POSTCOPY:
        return VMCTL_STATE_MIGRATING;
    case VIR_DOMAIN_PAUSED_SHUTTING_DOWN:
        return VMCTL_STATE_STOPPING;
    case VIR_DOMAIN_PAUSED_CRASHED:
        return VMCTL_STATE_CRASHED;
    case VIR_DOMAIN_PAUSED_STARTING_UP:
        return VMCTL_STATE_STARTING;
    default:
        return VMCTL_STATE_PAUSED;
    }
}

vmctl_state libvirt_state(int state, int reason, bool saved, const char **text) {
    const char *unused;
    if (!text)
        text = &unused;
    *text = NULL;
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        *text = TEXT(running_text, reason);
        return VMCTL_STATE_RUNNING;
    case VIR_DOMAIN_PAUSED:
        *text = TEXT(paused_text, reason);
        return paused_state(reason);
    case VIR_DOMAIN_PMSUSPENDED:
        *text = "put to sleep by the guest";
        return VMCTL_STATE_PAUSED;
    case VIR_DOMAIN_SHUTDOWN:
        return VMCTL_STATE_STOPPING;
    case VIR_DOMAIN_CRASHED:
        *text = reason == VIR_DOMAIN_CRASHED_PANICKED ? "the guest panicked" : NULL;
        return VMCTL_STATE_CRASHED;
    case VIR_DOMAIN_SHUTOFF:
        *text = saved ? shutoff_text[VIR_DOMAIN_SHUTOFF_SAVED] : TEXT(shutoff_text, reason);
        if (saved)
            return VMCTL_STATE_SAVED;
        return reason == VIR_DOMAIN_SHUTOFF_CRASHED ? VMCTL_STATE_CRASHED : VMCTL_STATE_STOPPED;
    default:
        return VMCTL_STATE_UNKNOWN;
    }
}
