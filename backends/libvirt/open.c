/* Which libvirt a connection goes to, and opening it. The choice is the CLI contract's ("Where a command goes"). */
#include "daemons.h"
#include "ops.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPEN_MS = 60000, ATTEMPTS = 3 };

static const char system_uri[] = "qemu:///system";
static const char session_uri[] = "qemu:///session";

/* libvirt's drivers for hypervisors that vmctl speaks to itself. */
static int refuse_others(const char *uri, vmctl_error **err) {
    static const struct {
        const char *scheme, *ours;
    } others[] = {
        {"vbox", "virtualbox:///"},
        {"esx", "vsphere://user@host/"},
        {"vpx", "vsphere://user@host/DATACENTER"},
        {"gsx", "vsphere://user@host/"},
    };
    size_t length = strcspn(uri, "+:");
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strlen(others[i].scheme) != length || strncmp(uri, others[i].scheme, length) != 0)
            continue;
        vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "vmctl does not use libvirt's driver for %s://", others[i].scheme);
        return vmc_error_next(err, "connect to %s", others[i].ours);
    }
    return 0;
}

/* Nothing answers on the system's socket, and this is root. */
static int wake_system(const vmc_deadline *deadline, vmctl_error **err) {
    if (!libvirt_daemons_managed())
        return libvirt_daemons_start(deadline, err);
    vmc_error(err, VMCTL_E_UNAVAILABLE, "libvirtd does not answer on this machine");
    vmc_error_retryable(err);
    return vmc_error_next(err, "systemctl start libvirtd (package libvirt-daemon-system)");
}

/* The system's daemon, started where that is vmctl's business. One that ends, idle, between the look and the connection is started
 * again. answers: it was just looked at, and does. */
static int open_system(const vmctl_endpoint *endpoint, bool answers, const vmc_deadline *deadline, libvirt_conn **out,
                       vmctl_error **err) {
    int code = 0;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        vmctl_error *why = NULL;
        bool knows = answers && attempt == 0; /* each look is a client that the daemon has to let in */
        if (geteuid() == 0 && !knows && !libvirt_daemons_answer(NULL)) {
            code = wake_system(deadline, err);
            if (code < 0)
                return code;
        }
        code = libvirt_conn_open(system_uri, endpoint, false, deadline, out, &why);
        bool again = code == VMCTL_E_UNAVAILABLE && geteuid() == 0 && attempt + 1 < ATTEMPTS;
        if (!again) {
            vmc_error_move(code < 0 ? err : NULL, &why);
            break;
        }
        vmctl_error_free(why);
    }
    return code;
}

static int open_found(const vmctl_endpoint *endpoint, const vmc_deadline *deadline, libvirt_conn **out,
                      const char **reason, vmctl_error **err) {
    const char *uri = getenv("LIBVIRT_DEFAULT_URI");
    if (uri && *uri) {
        *reason = "LIBVIRT_DEFAULT_URI";
        int code = refuse_others(uri, err);
        if (!code && vmc_str_eq(uri, system_uri))
            return open_system(endpoint, false, deadline, out, err);
        return code < 0 ? code : libvirt_conn_open(uri, endpoint, false, deadline, out, err);
    }
    static const char *const silences[] = {
        [LIBVIRT_NOBODY] = "default: qemu:///session, for qemu:///system does not answer",
        [LIBVIRT_NOT_LET_IN] = "default: qemu:///session, for qemu:///system lets only the group libvirt in",
        [LIBVIRT_OUT_OF_SIGHT] = "default: qemu:///session, for this user may not look into /run/libvirt",
    };
    libvirt_silence why_not = LIBVIRT_NOBODY;
    bool answers = libvirt_daemons_answer(&why_not);
    if (geteuid() == 0) {
        *reason = answers ? "default: qemu:///system answers" : "default: qemu:///system, its daemon started on demand";
        return open_system(endpoint, answers, deadline, out, err);
    }
    *reason = silences[why_not];
    if (answers) {
        vmctl_error *why = NULL;
        int code = libvirt_conn_open(system_uri, endpoint, false, deadline, out, &why);
        if (code >= 0 || vmc_deadline_check(deadline, "connecting", NULL) < 0) {
            *reason = "default: qemu:///system answers";
            vmc_error_move(code < 0 ? err : NULL, &why);
            return code;
        }
        vmctl_error_free(why);
        *reason = "default: qemu:///session, for qemu:///system does not let this user in";
    }
    return libvirt_conn_open(session_uri, endpoint, false, deadline, out, err);
}

/* What a person can do about an endpoint that cannot be opened. */
static void advise(const char *uri, int code, vmctl_error **err) {
    if (!err || !*err || vmctl_error_next(*err))
        return;
    bool system = !uri || vmc_str_eq(uri, system_uri);
    if (code == VMCTL_E_PERMISSION_DENIED && system)
        vmc_error_next(err, "add yourself to the group libvirt (adduser USER libvirt, then log in again), or use "
                            "--connect qemu:///session");
    else if (code == VMCTL_E_UNAUTHENTICATED && uri)
        vmc_error_next(err, "give its context credentials: passwordFile or passwordCommand");
    else if (system && geteuid() != 0 && libvirt_daemons_answer(NULL))
        vmc_error_next(err, "use --connect qemu:///session, or be let into qemu:///system by its administrator");
    else if (code == VMCTL_E_UNAVAILABLE && system)
        vmc_error_next(err, "apt install libvirt-daemon-system qemu-system-x86, or systemctl start libvirtd");
    else if (code == VMCTL_E_UNAVAILABLE)
        vmc_error_next(err, "see that virsh -c '%s' version works", uri);
}

int libvirt_open(const vmctl_endpoint *endpoint, void **conn, vmctl_opened *opened, vmctl_error **err) {
    vmc_deadline deadline = vmc_deadline_start(endpoint->call, OPEN_MS);
    libvirt_conn *made = NULL;
    const char *uri = endpoint->uri, *reason = NULL;
    int code = uri ? refuse_others(uri, err) : 0;
    if (code < 0)
        return code;
    if (!uri)
        code = open_found(endpoint, &deadline, &made, &reason, err);
    else if (vmc_str_eq(uri, system_uri))
        code = open_system(endpoint, false, &deadline, &made, err);
    else
        code = libvirt_conn_open(uri, endpoint, false, &deadline, &made, err);
    if (code < 0) {
        advise(uri, code, err);
        return code;
    }
    opened->uri = vmc_strdup(made->uri);
    opened->reason = vmc_strdup(reason);
    opened->threads = 0;
    *conn = made;
    return 0;
}
