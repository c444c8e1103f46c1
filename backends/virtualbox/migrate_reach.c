/* Reaching the port at which a VM waits to be teleported. */
#include "migrate_reach.h"

#include "base/random.h"
#include "drivers/vboxmanage/host.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_PORT = 49152, LAST_PORT = 65535, TRIES = 20, TABLE_LIMIT = 16 << 20 };

bool virtualbox_same_machine(const vboxmanage *a, const vboxmanage *b) {
    if (!a->host || !b->host)
        return !a->host && !b->host;
    return strcmp(a->host->name, b->host->name) == 0 && a->host->target.port == b->host->target.port;
}

/* proc(5), /proc/net/tcp: local address, state 0A. */
int virtualbox_is_heard(const virtualbox_conn *target, unsigned port, const vmc_deadline *deadline) {
    VMC_AUTO_FREE char *text = NULL;
    unsigned local = 0;
    unsigned state = 0;
    if (vboxmanage_file_read(target->manage, "/proc/net/tcp", TABLE_LIMIT, deadline, &text, NULL, NULL) < 0)
        return -1;
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (sscanf(line, " %*u: %*8[0-9A-Fa-f]:%4x %*8[0-9A-Fa-f]:%*4x %2x", &local, &state) == 2 && local == port &&
            state == 0x0a)
            return 1;
    }
    return 0;
}

int virtualbox_random_port(const virtualbox_conn *target, const vmc_deadline *deadline, unsigned *port,
                           vmctl_error **err) {
    for (int i = 0; i < TRIES; i++) {
        *port = FIRST_PORT + (unsigned)(vmc_random() % (LAST_PORT - FIRST_PORT + 1));
        if (virtualbox_is_heard(target, *port, deadline) != 1)
            return 0;
    }
    return vmc_error(err, VMCTL_E_RESOURCE_EXHAUSTED, "no free port was found at the target");
}

int virtualbox_tunnel_open(const virtualbox_conn *source, const virtualbox_conn *target, unsigned port,
                           virtualbox_tunnel *out, const vmc_deadline *deadline, vmctl_error **err) {
    if (virtualbox_same_machine(source->manage, target->manage))
        return 0;
    out->back = source->manage->host != NULL;
    out->through = out->back ? source->manage : target->manage;
    int code = virtualbox_random_port(source, deadline, &out->port, err);
    if (code < 0)
        return code;
    out->forward = vmc_printf("127.0.0.1:%u:127.0.0.1:%u", out->port, port);
    return vboxmanage_host_forward(out->through->host, true, out->back, out->forward, deadline, err);
}

void virtualbox_tunnel_close(virtualbox_tunnel *tunnel, const vmc_deadline *deadline) {
    if (tunnel->forward)
        vboxmanage_host_forward(tunnel->through->host, false, tunnel->back, tunnel->forward, deadline, NULL);
    free(tunnel->forward);
    *tunnel = (virtualbox_tunnel){0};
}
