/* How this machine reaches a VM's sshd. */
#include "ssh_way.h"
#include "forward.h"
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* "[tcp:][ADDRESS:]LOCAL:GUEST" with GUEST 22: LOCAL and ADDRESS. */
static bool forwards_ssh(const char *text, cli_way *w) {
    if (!strncmp(text, "udp:", 4))
        return false;
    if (!strncmp(text, "tcp:", 4))
        text += 4;
    const char *guest = strrchr(text, ':');
    if (!guest || strcmp(guest + 1, "22") != 0)
        return false;
    const char *local = guest;
    while (local > text && local[-1] != ':')
        local--;
    w->port = cli_strndup(local, (size_t)(guest - local));
    size_t host = local > text ? (size_t)(local - 1 - text) : 0;
    bool any = !host || (host == 7 && !strncmp(text, "0.0.0.0", 7)) || (host == 2 && !strncmp(text, "::", 2)) ||
               (host == 1 && *text == '*');
    w->host = any ? strdup("127.0.0.1") : cli_strndup(text, host);
    return true;
}

static const vmctl_node *nic_named(const vmctl_spec *spec, const char *name) {
    const vmctl_node *nics = vmctl_node_get(vmctl_spec_root(spec), "networks");

    for (size_t i = 0; name && i < vmctl_node_count(nics); i++)
        if (!strcmp(vmctl_node_string(vmctl_node_at(nics, i), "name", ""), name))
            return vmctl_node_at(nics, i);
    return NULL;
}

static void from_forwards(const vmctl_spec *spec, cli_way *w) {
    const vmctl_node *nics = vmctl_node_get(vmctl_spec_root(spec), "networks");

    for (size_t i = 0; i < vmctl_node_count(nics); i++) {
        const vmctl_node *list = vmctl_node_get(vmctl_node_at(nics, i), "forward");
        for (size_t j = 0; j < vmctl_node_count(list); j++)
            if (forwards_ssh(vmctl_node_string(vmctl_node_at(list, j), NULL, ""), w))
                return;
    }
}

/* The guest's address as this machine would dial it, best first: what a lease or ARP says was seen from outside; IPv4 before IPv6; never
 * loopback or link-local, nor behind a NIC of type user, which nothing outside can reach. */
typedef struct chooser {
    const vmctl_spec *spec;
    char *host;
    int rank;
    bool inside; /* there are some in a cluster's own network */
} chooser;

static int rank_of(const chooser *ch, const vmctl_address *a) {
    const vmctl_node *nic = nic_named(ch->spec, a->device);
    const char *type = vmctl_node_string(nic, "type", "");

    if (!a->ip || !strncmp(a->ip, "127.", 4) || !strncmp(a->ip, "169.254.", 8) || !strcmp(a->ip, "::1") ||
        !strncasecmp(a->ip, "fe80:", 5) || !strcmp(type, "user") || vmctl_node_get(nic, "forward"))
        return 0;
    bool outside = a->source && (!strcmp(a->source, "lease") || !strcmp(a->source, "arp"));
    return 1 + (strchr(a->ip, ':') ? 0 : 2) + (outside ? 1 : 0);
}

static int choose_address(const vmctl_vm_info *info, void *user) {
    chooser *ch = user;

    for (size_t i = 0; i < info->address_count; i++) {
        if (info->addresses[i].inside) {
            ch->inside = true;
            continue;
        }
        int rank = rank_of(ch, &info->addresses[i]);
        if (rank <= ch->rank)
            continue;
        ch->rank = rank;
        free(ch->host);
        ch->host = cli_strdup(info->addresses[i].ip);
    }
    return 0;
}

/* One file of host keys per VM: a new VM at an old address is no attack. NULL: no folder for it, or one whose name
 * ssh_config(5) would read as several words or expand. */
static char *known_hosts(const vmctl_vm *vm) {
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    CLI_AUTO_FREE char *folder = state && *state == '/' ? cli_printf("%s/vmctl/known_hosts", state)
                                 : home && *home        ? cli_printf("%s/.local/state/vmctl/known_hosts", home)
                                                        : NULL;
    if (!folder || strpbrk(folder, " \t\"\\%$"))
        return NULL;
    for (char *at = strchr(folder + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = '\0';
        mkdir(folder, 0700);
        *at = '/';
    }
    if (mkdir(folder, 0700) < 0 && errno != EEXIST)
        return NULL;
    char *file = cli_printf("%s/%s", folder, vmctl_vm_id(vm) ? vmctl_vm_id(vm) : vmctl_vm_name(vm));
    for (char *at = file + strlen(folder) + 1; *at; at++)
        if (!strchr("-._", *at) && !(*at >= '0' && *at <= '9') && !(*at >= 'a' && *at <= 'z') &&
            !(*at >= 'A' && *at <= 'Z'))
            *at = '_';
    return file;
}

static int open_forward(cli *c, vmctl_vm *vm, cli_way *w, vmctl_error **err) {
    int port = 0;
    int rc = cli_forward_open(c, vm, 22, &w->forward, &port, err);

    if (rc < 0)
        return rc;
    w->host = cli_strdup("127.0.0.1");
    w->port = cli_printf("%d", port);
    return 0;
}

int cli_way_find(cli *c, vmctl_vm *vm, cli_way *w, vmctl_error **err) {
    vmctl_get_options options = VMCTL_GET_OPTIONS_INIT;
    vmctl_call call = cli_call(c);
    vmctl_spec *spec = NULL;

    *w = (cli_way){.known = known_hosts(vm)};
    w->alias = cli_strdup(vmctl_vm_id(vm) ? vmctl_vm_id(vm) : vmctl_vm_name(vm));
    int rc = vmctl_vm_spec(vm, &call, &spec, err);
    if (rc == 0) {
        w->user = cli_strdup(vmctl_node_string(vmctl_spec_root(spec), "cloudInit.user", NULL));
        from_forwards(spec, w);
    }
    if (rc == 0 && !w->host) {
        chooser ch = {spec, NULL, 0, false};
        options.call = &call;
        options.facts = VMCTL_FACT_STATE | VMCTL_FACT_ADDRESSES;
        rc = vmctl_vm_get(vm, &options, choose_address, &ch, err);
        w->host = ch.host;
        if (rc == 0 && !w->host && ch.inside)
            rc = open_forward(c, vm, w, err);
    }
    vmctl_spec_free(spec);
    return rc;
}

void cli_way_free(cli_way *w) {
    cli_forward_close(w->forward);
    w->forward = NULL;
    free(w->host);
    free(w->port);
    free(w->user);
    free(w->known);
    free(w->alias);
}

int cli_way_run(cli *c, cli_way *w, vmctl_vm *vm, const char *const *argv) {
    static const char package[] = "openssh-client";

    if (!w->forward) {
        vmctl_vm_free(vm);
        return cli_become(c, argv, package);
    }
    int status = cli_run_beside(c, argv, package);
    cli_forward_close(w->forward);
    w->forward = NULL;
    vmctl_vm_free(vm);
    return status;
}

int cli_way_missing(cli *c, const vmctl_vm *vm) {
    CLI_AUTO_FREE char *next =
        cli_printf("vmctl wait %s --for address, or a NIC with forward: [\"2222:22\"]", vmctl_vm_name(vm));
    return cli_fail(c, VMCTL_E_NOT_FOUND, next, "%s has no address that this machine can reach", vmctl_vm_name(vm));
}

const char *cli_way_user(const cli *c, const cli_way *w) {
    return cli_text(&c->args, "user", w->user);
}

void cli_way_options(const cli *c, const cli_way *w, bool scp, cli_strings *argv) {
    if (w->known) {
        cli_strings_add(argv, "-o");
        cli_strings_take(argv, cli_printf("UserKnownHostsFile=%s", w->known));
        cli_strings_add(argv, "-o");
        cli_strings_add(argv, "StrictHostKeyChecking=accept-new");
        cli_strings_add(argv, "-o");
        cli_strings_take(argv, cli_printf("HostKeyAlias=%s", w->alias));
        cli_strings_add(argv, "-o");
        cli_strings_add(argv, "LogLevel=ERROR");
    }
    if (cli_text(&c->args, "identity", NULL)) {
        cli_strings_add(argv, "-i");
        cli_strings_add(argv, cli_text(&c->args, "identity", NULL));
    }
    if (w->port) {
        cli_strings_add(argv, scp ? "-P" : "-p");
        cli_strings_add(argv, w->port);
    }
}
