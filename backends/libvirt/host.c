/* The host behind the connection, and its networks. Source: libvirt-host.h, libvirt-network.h, formatnetwork.html. */
#include "capabilities.h"
#include "ops.h"
#include "xml_tree.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_MS = 60000 };

/* --- the host --------------------------------------------------------------------------------------------------- */

typedef struct host_args {
    virConnectPtr virt;
    char *name, *cpu_model;
    const char *type; /* libvirt's constant */
    virNodeInfo info;
    unsigned long long free_bytes;
    int running;
} host_args;

static void host_drop(void *opaque) {
    host_args *args = opaque;
    free(args->name);
    free(args->cpu_model);
    free(args);
}

/* /capabilities/host/cpu/model. */
static char *cpu_model_in(const char *xml) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!xml || libvirt_xml_parse(xml, "the capabilities", "capabilities", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return NULL;
    return libvirt_xml_content(libvirt_xml_find(xmlDocGetRootElement(doc), "host/cpu/model"));
}

static int host_work(void *opaque) {
    host_args *args = opaque;
    args->name = virConnectGetHostname(args->virt);
    args->type = virConnectGetType(args->virt);
    if (virNodeGetInfo(args->virt, &args->info) < 0)
        return -1;
    args->free_bytes = virNodeGetFreeMemory(args->virt);
    args->running = virConnectNumOfDomains(args->virt);
    char *xml = virConnectGetCapabilities(args->virt);
    args->cpu_model = cpu_model_in(xml);
    free(xml);
    virResetLastError();
    return 0;
}

/* 7002011 is "7.2.11". */
static char *version_text(unsigned long version) {
    return vmc_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

int libvirt_host_info(void *opaque, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, HOST_MS);
    const libvirt_capabilities *c = NULL;
    int code = libvirt_capabilities_get(conn, &deadline, &c, err);
    if (code < 0)
        return code;
    host_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    code = libvirt_call(conn, &deadline, "asking about the host", host_work, args, host_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (!code) {
        VMC_AUTO_FREE char *qemu = version_text(c->features.qemu_version);
        VMC_AUTO_FREE char *api = version_text(c->features.libvirt_version);
        const vmctl_host host = {
            .size = sizeof host,
            .name = args->name,
            .hypervisor = args->type,
            .hypervisor_version = c->features.qemu_version ? qemu : NULL,
            .api_version = c->features.libvirt_version ? api : NULL,
            .arch = c->features.arch ? c->features.arch : args->info.model,
            .cpu_model = args->cpu_model,
            .cpus = args->info.cpus,
            .memory_mib = args->info.memory / 1024,
            .memory_free_mib = args->free_bytes >> 20,
            .accel = conn->test_driver ? NULL : (c->features.kvm ? "kvm" : "tcg"),
            .accel_reason = c->accel_reason,
            .accel_remedy = c->accel_remedy,
            .status = "ready",
            .vm_count = args->running,
        };
        each(&host, user);
    }
    host_drop(args);
    return code;
}

/* libvirt manages one host. */
int libvirt_host_list(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err) {
    return libvirt_host_info(conn, call, each, user, err);
}

/* --- networks ---------------------------------------------------------------------------------------------------- */

typedef struct network_row {
    char *name, *xml;
    bool active;
    int autostart;
} network_row;

typedef struct network_args {
    virConnectPtr virt;
    network_row *rows;
    size_t count;
} network_args;

static void network_drop(void *opaque) {
    network_args *args = opaque;
    for (size_t i = 0; i < args->count; i++) {
        free(args->rows[i].name);
        free(args->rows[i].xml);
    }
    free(args->rows);
    free(args);
}

static int network_work(void *opaque) {
    network_args *args = opaque;
    virNetworkPtr *networks = NULL;
    int count = virConnectListAllNetworks(args->virt, &networks, 0);
    if (count < 0)
        return -1;
    args->rows = vmc_alloc((size_t)count * sizeof *args->rows + 1);
    for (int i = 0; i < count; i++) {
        network_row *row = &args->rows[args->count++];
        row->name = vmc_strdup(virNetworkGetName(networks[i]));
        row->xml = virNetworkGetXMLDesc(networks[i], 0);
        row->active = virNetworkIsActive(networks[i]) == 1;
        if (virNetworkGetAutostart(networks[i], &row->autostart) < 0)
            row->autostart = -1;
        virNetworkFree(networks[i]);
    }
    free(networks);
    virResetLastError();
    return 0;
}

/* "192.168.122.1" with a netmask or a prefix length as "192.168.122.0/24"; NULL: none. free. */
static char *subnet_of(const xmlNode *ip) {
    const char *address = libvirt_xml_attr(ip, "address");
    const char *netmask = libvirt_xml_attr(ip, "netmask");
    unsigned long long prefix = 0;
    bool has_prefix = libvirt_xml_number(libvirt_xml_attr(ip, "prefix"), &prefix) && prefix <= 32;
    struct in_addr base, mask;
    if (!address || inet_pton(AF_INET, address, &base) != 1)
        return NULL;
    if (netmask && inet_pton(AF_INET, netmask, &mask) == 1)
        prefix = (unsigned long long)__builtin_popcount(mask.s_addr);
    else if (has_prefix)
        mask.s_addr = htonl(prefix ? UINT32_MAX << (32 - prefix) : 0);
    else
        return NULL;
    base.s_addr &= mask.s_addr;
    char text[INET_ADDRSTRLEN];
    return inet_ntop(AF_INET, &base, text, sizeof text) ? vmc_printf("%s/%llu", text, prefix) : NULL;
}

static int tell(const libvirt_conn *conn, const network_row *row, vmctl_network_fn each, void *user) {
    vmctl_network network = {.size = sizeof network,
                             .name = row->name,
                             .active = row->active,
                             .autostart = row->autostart,
                             .type = "isolated"};
    network.is_default = !conn->session && vmc_str_eq(row->name, "default");
    LIBVIRT_AUTO_XML *doc = NULL;
    VMC_AUTO_FREE char *subnet = NULL;
    if (row->xml && libvirt_xml_parse(row->xml, "the network", "network", VMCTL_E_INTERNAL, &doc, NULL, NULL) == 0) {
        const xmlNode *root = xmlDocGetRootElement(doc);
        const xmlNode *forward = libvirt_xml_child(root, "forward");
        const char *mode = libvirt_xml_attr(forward, "mode");
        if (forward)
            network.type = mode ? mode : "nat"; /* formatnetwork.html: nat is forward's default */
        network.bridge = libvirt_xml_attr_at(root, "bridge", "name");
        subnet = subnet_of(libvirt_xml_child(root, "ip"));
        network.subnet = subnet;
    }
    return each(&network, user);
}

int libvirt_network_list(void *opaque, const vmctl_call *call, vmctl_network_fn each, void *user, vmctl_error **err) {
    libvirt_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, HOST_MS);
    network_args *args = vmc_alloc(sizeof *args);
    args->virt = conn->virt;
    int code = libvirt_call(conn, &deadline, "listing the networks", network_work, args, network_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    for (size_t i = 0; !code && i < args->count; i++)
        if (tell(conn, &args->rows[i], each, user))
            break;
    network_drop(args);
    return code;
}
