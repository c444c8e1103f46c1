/* The network cards of a plan. */
#include "plan_parts.h"

#include <string.h>

enum { MOST_NICS = 8 };

static const struct {
    const char *type, *mode, *option; /* option names the network */
    const char *fallback;             /* where no source is given; NULL: it must be */
} nic_types[] = {
    {"nat", "nat", NULL, ""},
    {"user", "nat", NULL, ""},
    {"bridge", "bridged", "--bridgeadapter", NULL},
    {"internal", "intnet", "--intnet", "intnet"},
    {"hostonly", "hostonly", "--hostonlyadapter", NULL},
    {"natnetwork", "natnetwork", "--nat-network", NULL},
    {"network", "natnetwork", "--nat-network", NULL},
};

static const struct { const char *model, *type; } nic_models[] = {{"virtio", "virtio"}, {"e1000", "82540EM"}};

/* [tcp:|udp:][ADDRESS:]LOCAL:GUEST -> NAME,PROTO,ADDRESS,LOCAL,,GUEST */
char *virtualbox_forward_rule(const char *text) {
    bool udp = vmc_starts_with(text, "udp:");
    const char *rest = udp || vmc_starts_with(text, "tcp:") ? text + 4 : text;
    const char *guest = strrchr(rest, ':');
    const char *local = guest;
    while (local > rest && local[-1] != ':')
        local--;
    size_t address = local > rest ? (size_t)(local - rest - 1) : 0;
    const char *from = rest;
    if (address >= 2 && *from == '[') { /* an IPv6 address */
        from++;
        address -= 2;
    }
    VMC_AUTO_FREE char *port = vmc_strndup(local, (size_t)(guest - local));
    VMC_AUTO_FREE char *where = vmc_strndup(from, address);
    return vmc_printf("%s%s,%s,%s,%s,,%s", udp ? "udp" : "tcp", port, udp ? "udp" : "tcp", where, port, guest + 1);
}

int virtualbox_plan_nic(const vmctl_node *nic, unsigned slot, vmc_strv *argv, cJSON *marker, vmctl_error **err) {
    const char *type = vmctl_node_string(nic, "type", "nat");
    const char *source = vmctl_node_string(nic, "source", NULL);
    size_t i = 0;
    while (i < sizeof nic_types / sizeof nic_types[0] && strcmp(nic_types[i].type, type) != 0)
        i++;
    if (i == sizeof nic_types / sizeof nic_types[0])
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, nic, "VirtualBox has no network of type %s", type);
    if (!source)
        source = nic_types[i].fallback;
    if (!source)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, nic, "a NIC of type %s needs a source", type);
    virtualbox_say_numbered(argv, "--nic", slot, nic_types[i].mode);
    if (nic_types[i].option)
        virtualbox_say_numbered(argv, nic_types[i].option, slot, source);
    const char *model = vmctl_node_string(nic, "model", "virtio");
    for (size_t m = 0; m < sizeof nic_models / sizeof nic_models[0]; m++)
        if (strcmp(nic_models[m].model, model) == 0)
            model = nic_models[m].type;
    virtualbox_say_numbered(argv, "--nictype", slot, model);
    virtualbox_say_numbered(argv, "--cableconnected", slot,
                            vmc_str_eq(vmctl_node_string(nic, "link", "up"), "down") ? "off" : "on");
    const char *mac = vmctl_node_string(nic, "mac", NULL);
    if (mac) {
        VMC_AUTO_STR plain = {0};
        for (const char *c = mac; *c; c++)
            if (*c != ':' && *c != '-')
                vmc_str_add_char(&plain, *c);
        virtualbox_say_numbered(argv, "--macaddress", slot, plain.text);
    }
    const vmctl_node *forwards = vmctl_node_get(nic, "forward");
    if (vmctl_node_count(forwards) && strcmp(nic_types[i].mode, "nat") != 0)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, forwards,
                          "VirtualBox forwards ports of nat and user networks only");
    for (size_t f = 0; f < vmctl_node_count(forwards); f++) {
        VMC_AUTO_FREE char *rule = virtualbox_forward_rule(vmctl_node_string(vmctl_node_at(forwards, f), NULL, ""));
        virtualbox_say_numbered(argv, "--natpf", slot, rule);
    }
    VMC_AUTO_FREE char *place = vmc_printf("nic-%u", slot);
    virtualbox_marker_device(marker, place, vmctl_node_string(nic, "name", "net"), type);
    return 0;
}

/* A NAT network must be there; VirtualBox itself would notice at the start. */
int virtualbox_check_nat_network(virtualbox_conn *conn, const vmctl_node *nic, const vmc_deadline *deadline,
                                 vmctl_error **err) {
    const char *type = vmctl_node_string(nic, "type", "nat");
    const char *source = vmctl_node_string(nic, "source", NULL);
    if ((strcmp(type, "network") != 0 && strcmp(type, "natnetwork") != 0) || !source)
        return 0;
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(conn, NULL, "asking for the NAT networks", deadline, &text, err, "list", "natnets", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES nets = {0};
    vboxmanage_parse_records(text, &nets);
    for (size_t i = 0; i < nets.count; i++)
        if (strcmp(nets.items[i].key, "Name") == 0 && strcmp(nets.items[i].value, source) == 0)
            return 0;
    vmc_refuse(err, VMCTL_E_NOT_FOUND, nic, "there is no NAT network %s", source);
    return vmc_error_next(err, "VBoxManage natnetwork add --netname %s --network 10.0.5.0/24 --enable", source);
}

int virtualbox_plan_networks(virtualbox_planning *p, vmctl_error **err) {
    const vmctl_node *networks = vmctl_node_get(p->root, "networks");
    if (vmctl_node_count(networks) > MOST_NICS)
        return vmc_refuse(err, VMCTL_E_UNSUPPORTED, networks, "VirtualBox takes %d NICs", MOST_NICS);
    int code = 0;
    if (vmctl_node_count(networks) == 0)
        virtualbox_add(&p->modify, "--nic1", "none"); /* most kinds of guests are given one */
    for (size_t i = 0; code == 0 && i < vmctl_node_count(networks); i++) {
        code = virtualbox_check_nat_network(p->conn, vmctl_node_at(networks, i), p->deadline, err);
        if (code == 0)
            code = virtualbox_plan_nic(vmctl_node_at(networks, i), (unsigned)i, &p->modify, p->plan->marker, err);
    }
    return code;
}
