/* backends/libvirt/networks.c - the host's networks that a VM's NICs need. */
#include "networks.h"

#include "base/file.h"
#include "refuse.h"
#include <string.h>

enum { NETWORK_MS = 60000 };

#define DEFAULT_NETWORK "default"

/* As libvirt ships it (/usr/share/libvirt/networks/default.xml). */
static const char default_network[] = "<network><name>" DEFAULT_NETWORK "</name><bridge name='virbr0'/><forward/>"
                                      "<ip address='192.168.122.1' netmask='255.255.255.0'><dhcp>"
                                      "<range start='192.168.122.2' end='192.168.122.254'/></dhcp></ip></network>";

int libvirt_network_look(libvirt_rpc *rpc) {
    rpc->network = virNetworkLookupByName(rpc->virt, rpc->name);
    rpc->found = rpc->network != NULL;
    if (!rpc->network)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_NETWORK);
    int active = virNetworkIsActive(rpc->network);
    rpc->number = active == 1;
    return active < 0 ? -1 : 0;
}

/* network, or text (XML) for a new one. Somebody else may do the same at the same time. */
static int work_start(libvirt_rpc *rpc) {
    bool made = false;
    if (!rpc->network) {
        rpc->network = virNetworkDefineXML(rpc->virt, rpc->text);
        made = rpc->network != NULL;
        if (!made) {
            rpc->failure = virSaveLastError();
            rpc->network = virNetworkLookupByName(rpc->virt, rpc->name);
        }
        if (!rpc->network)
            return -1;
        virFreeError(rpc->failure);
        rpc->failure = NULL;
    }
    if (virNetworkCreate(rpc->network) < 0) {
        rpc->failure = virSaveLastError();
        if (virNetworkIsActive(rpc->network) != 1)
            return -1;
    }
    if (made && virNetworkSetAutostart(rpc->network, 1) < 0)
        virResetLastError();
    return 0;
}

static int start_default(libvirt_conn *conn, const vmctl_node *item, libvirt_rpc *rpc, const vmc_deadline *deadline,
                         vmctl_error **err) {
    vmc_deadline step = vmc_deadline_within(deadline, NETWORK_MS);
    rpc->text = vmc_strdup(default_network);
    int code = libvirt_rpc_run(conn, &step, "starting the network", work_start, rpc, err);
    if (code == 0)
        return 0;
    vmc_error_prefix(err, "network \"" DEFAULT_NETWORK "\" (NIC %s)", vmctl_node_string(item, "name", "?"));
    return vmc_error_next(err, "virsh net-start " DEFAULT_NETWORK " shows the same; type: user needs no network of the "
                               "host");
}

static int check_bridge(const vmctl_node *item, const char *bridge, vmctl_error **err) {
    VMC_AUTO_FREE char *path = vmc_printf("/sys/class/net/%s", bridge);
    if (vmc_file_exists(path))
        return 0;
    const vmctl_node *node = vmctl_node_get(item, "source");
    libvirt_refuse(err, VMCTL_E_NOT_FOUND, node ? node : item, "there is no bridge %s on this host", bridge);
    return vmc_error_next(err, "make it (ip link add %s type bridge), or use type: nat", bridge);
}

int libvirt_network_ready(libvirt_conn *conn, const vmctl_node *item, bool make, const vmc_deadline *deadline,
                          vmctl_error **err) {
    const char *type = vmctl_node_string(item, "type", "nat");
    const char *source = vmctl_node_string(item, "source", NULL);
    bool nat = strcmp(type, "nat") == 0;
    if (strcmp(type, "bridge") == 0 && source && conn->local && !conn->test_driver)
        return check_bridge(item, source, err);
    if (!nat && strcmp(type, "network") != 0)
        return 0;
    /* There both become QEMU's user networking. */
    if (nat && (conn->session || vmctl_node_count(vmctl_node_get(item, "forward")) > 0))
        return 0;
    const char *name = source ? source : DEFAULT_NETWORK;
    bool standard = strcmp(name, DEFAULT_NETWORK) == 0;
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    rpc->name = vmc_strdup(name);
    int code = libvirt_rpc_run(conn, deadline, "looking for the network", libvirt_network_look, rpc, err);
    if (code < 0 || (rpc->found && rpc->number == 1))
        return code;
    if (standard && !conn->session)
        return make ? start_default(conn, item, rpc, deadline, err) : 0;
    const vmctl_node *node = source ? vmctl_node_get(item, "source") : item;
    if (!rpc->found) {
        libvirt_refuse(err, VMCTL_E_NOT_FOUND, node, "there is no network \"%s\"", name);
        return vmc_error_next(err, "vmctl network list shows those there are");
    }
    libvirt_refuse(err, VMCTL_E_INVALID_STATE, node, "network \"%s\" is not active", name);
    return vmc_error_next(err, "virsh net-start %s", name);
}

int libvirt_networks_ready(libvirt_conn *conn, const vmctl_node *networks, bool make, const vmc_deadline *deadline,
                           vmctl_error **err) {
    int code = 0;
    for (size_t i = 0; code == 0 && i < vmctl_node_count(networks); i++)
        code = libvirt_network_ready(conn, vmctl_node_at(networks, i), make, deadline, err);
    return code;
}
