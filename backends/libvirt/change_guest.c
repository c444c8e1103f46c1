/* backends/libvirt/change_guest.c - what a running guest must agree to: giving up a device, giving up memory.
 *
 * QEMU asks the guest and says so when it has answered (virConnectDomainEventDeviceRemovedCallback, ...BalloonChangeCallback); a guest
 * without an OS, or one that still boots, never does.
 */
#include "change.h"

#include "rpc.h"
#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { CONSENT_MS = 10000, LAST_LOOK_MS = 10000 };

/* domain and name (alias); a driver without this call gets the device itself in text */
static int work_unplug(libvirt_rpc *rpc) {
    return virDomainDetachDeviceAlias(rpc->domain, rpc->name, VIR_DOMAIN_AFFECT_LIVE);
}

/* domain and number (KiB) */
static int work_balloon(libvirt_rpc *rpc) {
    return virDomainSetMemoryFlags(rpc->domain, (unsigned long)rpc->number, VIR_DOMAIN_AFFECT_LIVE);
}

/* domain -> out (the running one's XML) */
static int work_live_xml(libvirt_rpc *rpc) {
    rpc->out = virDomainGetXMLDesc(rpc->domain, 0);
    return rpc->out ? 0 : -1;
}

static int listen_to_guest(libvirt_changing *ch, const vmc_deadline *deadline, vmctl_error **err) {
    return ch->listener ? 0 : libvirt_listener_open(ch->conn, LIBVIRT_LISTEN_GUEST, deadline, &ch->listener, err);
}

typedef struct consent {
    const char *alias; /* of the device that shall go; NULL */
    uint64_t kib;      /* that the guest shall have */
    bool given, refused;
} consent;

static int hear(libvirt_changing *ch, consent *to, vmctl_error **err) {
    int code = 0;
    for (libvirt_event *event; (event = libvirt_listener_next(ch->listener)); libvirt_event_free(event)) {
        if (event->kind == VMCTL_EVENT_TICK)
            code = vmc_error(err, VMCTL_E_UNAVAILABLE, "the connection was lost while the guest was waited for");
        if (strcmp(event->uuid, ch->vm->uuid) != 0)
            continue;
        /* A domain that is off has nothing to give up any more. */
        bool off = event->kind == VMCTL_EVENT_STATE &&
                   (event->state == VMCTL_STATE_STOPPED || event->state == VMCTL_STATE_CRASHED);
        bool device = to->alias && event->alias && strcmp(event->alias, to->alias) == 0;
        to->given |= off || (device && event->removed) || (!to->alias && event->number && event->number == to->kib);
        to->refused |= device && event->refused;
    }
    return code;
}

/* 1: the guest agreed. 0: its time is up. */
static int wait_consent(libvirt_changing *ch, consent *to, const char *doing, const vmc_deadline *deadline,
                        vmctl_error **err) {
    vmc_deadline guest = vmc_deadline_within(deadline, CONSENT_MS);
    while (!to->given && !to->refused) {
        vmctl_error *why = NULL;
        int code = vmc_deadline_poll(&guest, libvirt_listener_fd(ch->listener), POLLIN, -1, doing, &why);
        bool up = code == VMCTL_E_TIMEOUT;
        vmc_error_move(code < 0 && !up ? err : NULL, &why);
        if (up)
            return 0;
        if (code > 0)
            code = hear(ch, to, err);
        if (code < 0)
            return code;
    }
    return to->given;
}

/* The last word is the document's: an event may have been missed. */
static bool is_gone(const libvirt_changing *ch, const char *alias) {
    vmc_deadline soon = {.at_ms = vmc_now_ms() + LAST_LOOK_MS};
    VMC_AUTO_FREE char *text = vmc_printf("<alias name='%s'/>", alias);
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    return libvirt_rpc_run(ch->conn, &soon, "looking for the device", work_live_xml, rpc, NULL) == 0 &&
           !strstr(rpc->out, text);
}

int libvirt_unplug(libvirt_changing *ch, const char *alias, const char *what, const vmc_deadline *deadline,
                   vmctl_error **err) {
    static const char doing[] = "waiting for the guest to let the device go";
    if (!alias)
        return vmc_error(err, VMCTL_E_INTERNAL, "libvirt has no name for %s", what);
    int code = listen_to_guest(ch, deadline, err);
    if (code == 0)
        code = vmc_progress(deadline, ch->vm->name, doing, what, VMCTL_UNIT_NONE, 0, 0, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->name = vmc_strdup(alias);
    code = libvirt_rpc_run(ch->conn, deadline, "unplugging the device", work_unplug, rpc, err);
    if (code < 0)
        return code;
    consent gone = {.alias = alias};
    int64_t began = vmc_now_ms();
    code = wait_consent(ch, &gone, doing, deadline, err);
    if (code < 0 || code == 1 || is_gone(ch, alias))
        return code < 0 ? code : 0;
    if (gone.refused) {
        vmc_error(err, VMCTL_E_BUSY, "the guest refused to let %s go", what);
        return vmc_error_next(err, "see in the guest what uses it (its kernel's log), and detach it again");
    }
    VMC_AUTO_FREE char *time = vmc_format_duration((vmc_now_ms() - began + 999) / 1000 * 1000);
    vmc_error(
        err, VMCTL_E_TIMEOUT,
        "the guest has not let %s go within %s, so it stays; the request stands, and a guest that comes to it later "
        "still lets it go",
        what, time);
    return vmc_error_next(err,
                          "a guest that boots or has no OS answers no such request: detach it again later, or without "
                          "--live for the next start");
}

int libvirt_balloon(libvirt_changing *ch, uint64_t kib, const vmc_deadline *deadline, vmctl_error **err) {
    static const char doing[] = "waiting for the guest's balloon driver";
    int code = listen_to_guest(ch, deadline, err);
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->number = kib;
    if (code == 0)
        code = libvirt_rpc_run(ch->conn, deadline, "changing the memory", work_balloon, rpc, err);
    if (code < 0)
        return code;
    consent had = {.kib = kib};
    code = wait_consent(ch, &had, doing, deadline, err);
    if (code != 0)
        return code < 0 ? code : 0;
    VMC_AUTO_FREE char *wants = vmc_format_size((long long)kib * 1024);
    vmc_error(err, VMCTL_E_TIMEOUT, "the guest's balloon driver has not come to %s", wants);
    return vmc_error_next(err, "a guest that boots, or has no driver for the balloon, gives no memory back");
}
