/* backends/libvirt/migrate_target.c - what the target lacks for a VM, or has too much. Reading only.
 * Source: virConnectGetCapabilities (formatcaps.html), virConnectGetDomainCapabilities, virConnectCompareHypervisorCPU. */
#include "migrate.h"

#include "domain_model.h"
#include "rpc.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_STATS = 16 };

typedef struct checking {
    libvirt_conn *source, *target;
    const char *name, *uuid;
    const libvirt_migrate_vm *vm;
    const libvirt_migrate_how *how;
    const vmc_deadline *deadline;
    libvirt_obstacles *out;
    xmlNode *domain, *devices;
} checking;

/* --- the two hosts ------------------------------------------------------------------------------------------- */

typedef struct host_args {
    virConnectPtr virt;
    char *name, *uuid; /* of the VM */
    char *arch, *machine, *type, *emulator, *cpu;
    bool target;
    /* answers */
    char *capabilities;
    unsigned long libvirt, qemu;
    bool name_taken, uuid_taken;
    char *domain_capabilities, *refused; /* one of the two */
    int cpu_answer;                      /* virCPUCompareResult */
    char *cpu_words;
    unsigned long long total_kib, available_kib; /* 0: not told */
    char *nics; /* names of the host's network devices, each between spaces; NULL: not told */
} host_args;

static void host_drop(void *opaque) {
    host_args *a = opaque;
    char **texts[] = {&a->name,    &a->uuid,         &a->arch,
                      &a->machine, &a->type,         &a->emulator,
                      &a->cpu,     &a->capabilities, &a->domain_capabilities,
                      &a->refused, &a->cpu_words,    &a->nics};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        free(*texts[i]);
    free(a);
}

static void ask_memory(host_args *a) {
    virNodeMemoryStats stats[MAX_STATS];
    int count = MAX_STATS;
    if (virNodeGetMemoryStats(a->virt, VIR_NODE_MEMORY_STATS_ALL_CELLS, stats, &count, 0) < 0) {
        virResetLastError();
        return;
    }
    for (int i = 0; i < count; i++) {
        if (strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_TOTAL) == 0)
            a->total_kib = stats[i].value;
        else if (strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_FREE) == 0 ||
                 strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_BUFFERS) == 0 ||
                 strcmp(stats[i].field, VIR_NODE_MEMORY_STATS_CACHED) == 0)
            a->available_kib += stats[i].value;
    }
}

/* Node devices are named net_NAME_MAC. */
static void ask_nics(host_args *a) {
    virNodeDevicePtr *devices = NULL;
    int count = virConnectListAllNodeDevices(a->virt, &devices, VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET);
    VMC_AUTO_STR names = {0};
    for (int i = 0; i < count; i++) {
        const char *name = virNodeDeviceGetName(devices[i]);
        const char *end = name ? strchr(name + strlen("net_"), '_') : NULL;
        if (name && vmc_starts_with(name, "net_") && end)
            vmc_str_printf(&names, " %.*s ", (int)(end - name) - 4, name + 4);
        virNodeDeviceFree(devices[i]);
    }
    free(devices);
    if (count <= 0)
        virResetLastError();
    else
        a->nics = vmc_str_take(&names);
}

static char *last_words(void) {
    char *words = vmc_strdup(virGetLastErrorMessage());
    virResetLastError();
    return words;
}

static void ask_taken(host_args *a) {
    virDomainPtr domain = virDomainLookupByUUIDString(a->virt, a->uuid);
    a->uuid_taken = domain != NULL;
    if (!domain)
        domain = virDomainLookupByName(a->virt, a->name);
    a->name_taken = domain != NULL;
    if (domain)
        virDomainFree(domain);
    else
        virResetLastError();
}

static int host_work(void *opaque) {
    host_args *a = opaque;
    a->capabilities = virConnectGetCapabilities(a->virt);
    if (!a->capabilities || virConnectGetLibVersion(a->virt, &a->libvirt) < 0)
        return -1;
    if (virConnectGetVersion(a->virt, &a->qemu) < 0)
        virResetLastError();
    if (!a->target)
        return 0;
    ask_taken(a);
    a->domain_capabilities = virConnectGetDomainCapabilities(a->virt, a->emulator, a->arch, a->machine, a->type, 0);
    if (!a->domain_capabilities)
        a->refused = last_words();
    if (a->cpu && a->domain_capabilities) {
        a->cpu_answer = virConnectCompareHypervisorCPU(a->virt, a->emulator, a->arch, a->machine, a->type, a->cpu, 0);
        if (a->cpu_answer < 0)
            a->cpu_words = last_words();
    }
    ask_memory(a);
    return 0;
}

/* The CPU as the guest sees it, where it has a model at all. free; NULL: nothing to compare. */
static char *cpu_of(const checking *c) {
    xmlNode *cpu = libvirt_xml_child(c->domain, "cpu");
    if (!cpu || !libvirt_xml_child(cpu, "model") || libvirt_xml_attr_is(cpu, "mode", "host-passthrough"))
        return NULL;
    return libvirt_xml_node_text(c->vm->doc, cpu);
}

static bool has_bridge(const checking *c) {
    LIBVIRT_XML_EACH(nic, c->devices, "interface") {
        if (libvirt_xml_attr_is(nic, "type", "bridge") || libvirt_xml_attr_is(nic, "type", "direct"))
            return true;
    }
    return false;
}

static int host_nics_work(void *opaque) {
    int code = host_work(opaque);
    if (code == 0)
        ask_nics(opaque);
    return code;
}

static int ask_host(checking *c, bool target, host_args **out, vmctl_error **err) {
    host_args *a = vmc_alloc(sizeof *a);
    const xmlNode *type = libvirt_xml_find(c->domain, "os/type");
    libvirt_conn *conn = target ? c->target : c->source;
    a->virt = conn->virt;
    a->target = target;
    a->name = vmc_strdup(c->name);
    a->uuid = vmc_strdup(c->uuid);
    a->arch = vmc_strdup(libvirt_xml_attr(type, "arch"));
    a->machine = vmc_strdup(libvirt_xml_attr(type, "machine"));
    a->type = vmc_strdup(libvirt_xml_attr(c->domain, "type"));
    a->emulator = libvirt_xml_content(libvirt_xml_child(c->devices, "emulator"));
    a->cpu = target ? cpu_of(c) : NULL;
    int code = libvirt_call(conn, c->deadline, target ? "asking what the target offers" : "asking what this host is",
                            target && has_bridge(c) ? host_nics_work : host_work, a, host_drop, err);
    if (code == VMCTL_E_TIMEOUT || code == VMCTL_E_CANCELLED)
        return code;
    if (code < 0)
        host_drop(a);
    else
        *out = a;
    return code;
}

static void check_identity(const checking *c, const host_args *here, const host_args *there) {
    VMC_AUTO_FREE char *own = libvirt_xpath_text(here->capabilities, "/capabilities/host/uuid");
    VMC_AUTO_FREE char *other = libvirt_xpath_text(there->capabilities, "/capabilities/host/uuid");
    if (own && vmc_str_eq(own, other)) {
        libvirt_obstacle_add(c->out, true, VMCTL_E_INVALID_ARGUMENT, "same-host",
                             "name another host; two hosts with one UUID get one each in libvirtd.conf (host_uuid)",
                             "the target is the host that %s is on (host UUID %s)", c->name, own);
        return; /* everything else would only say it again */
    }
    if (there->uuid_taken)
        libvirt_obstacle_add(c->out, true, VMCTL_E_ALREADY_EXISTS, "uuid",
                             "delete it there, or is it this very VM, moved before?",
                             "the target has a VM with the UUID %s already", c->uuid);
    else if (there->name_taken)
        libvirt_obstacle_add(c->out, true, VMCTL_E_ALREADY_EXISTS, "name", "rename one of the two first (vmctl rename)",
                             "the target has a VM named %s already", c->name);
}

/* "9.0.0" of 9000000. */
static char *version_text(unsigned long version) {
    return vmc_printf("%lu.%lu.%lu", version / 1000000, version / 1000 % 1000, version % 1000);
}

static void check_versions(const checking *c, const host_args *here, const host_args *there) {
    VMC_AUTO_FREE char *libvirt_here = version_text(here->libvirt), *libvirt_there = version_text(there->libvirt);
    VMC_AUTO_FREE char *qemu_here = version_text(here->qemu), *qemu_there = version_text(there->qemu);
    if (there->qemu && there->qemu < here->qemu)
        libvirt_obstacle_add(c->out, false, VMCTL_E_UNSUPPORTED, "version", "bring the target up to date first",
                             "QEMU is older on the target (%s, here %s): moving there is not what it is tested for",
                             qemu_there, qemu_here);
    if (there->libvirt < here->libvirt)
        libvirt_obstacle_add(c->out, false, VMCTL_E_UNSUPPORTED, "version", "bring the target up to date first",
                             "libvirt is older on the target (%s, here %s) and may not know all of the definition",
                             libvirt_there, libvirt_here);
}

static void check_qemu(const checking *c, const host_args *there) {
    if (there->refused) {
        bool machine = strstr(there->refused, "achine") != NULL;
        bool emulator = strstr(there->refused, "No such file") || strstr(there->refused, "not find") ||
                        strstr(there->refused, "unable to");
        bool kvm = vmc_str_eq(there->type, "kvm") && strstr(there->refused, "virttype");
        const char *what = machine ? "machine" : kvm ? "kvm" : emulator ? "emulator" : "qemu";
        libvirt_obstacle_add(c->out, true, VMCTL_E_UNSUPPORTED, what,
                             machine    ? "bring QEMU up to date on the target"
                             : kvm      ? "load the kvm module on the target, or see that /dev/kvm can be used there"
                             : emulator ? "install that QEMU on the target"
                                        : NULL,
                             "the target cannot run it (%s, machine %s, %s): %s",
                             there->emulator ? there->emulator : "QEMU", there->machine ? there->machine : "default",
                             there->type, there->refused);
        return;
    }
    VMC_AUTO_STRV loaders = {0};
    VMC_AUTO_FREE char *loader = libvirt_xml_content(libvirt_xml_find(c->domain, "os/loader"));
    libvirt_xpath_texts(there->domain_capabilities, "/domainCapabilities/os/loader/value", &loaders);
    if (loader && *loader && loaders.count > 0 && !vmc_strv_has(&loaders, loader))
        libvirt_obstacle_add(c->out, true, VMCTL_E_NOT_FOUND, "firmware",
                             "install the same firmware on the target (package ovmf)", "the target has no firmware %s",
                             loader);
}

static void check_cpu(const checking *c, const host_args *here, const host_args *there) {
    const xmlNode *cpu = libvirt_xml_child(c->domain, "cpu");
    if (there->cpu_words)
        libvirt_obstacle_add(c->out, false, VMCTL_E_UNSUPPORTED, "cpu-model", NULL,
                             "the target could not compare the CPU model: %s", there->cpu_words);
    else if (there->cpu && there->domain_capabilities && there->cpu_answer == VIR_CPU_COMPARE_INCOMPATIBLE) {
        VMC_AUTO_FREE char *model = libvirt_xml_content(libvirt_xml_child(cpu, "model"));
        libvirt_obstacle_add(c->out, true, VMCTL_E_UNSUPPORTED, "cpu-model",
                             "give it a CPU model that both hosts have (vmctl set VM cpus.model=...; virsh "
                             "hypervisor-cpu-baseline finds one) and restart it",
                             "the target's CPU lacks features of the model that the guest sees (%s)",
                             model ? model : "custom");
    }
    if (!libvirt_xml_attr_is(cpu, "mode", "host-passthrough") || vmc_str_eq(there->type, "qemu"))
        return;
    VMC_AUTO_FREE char *own = libvirt_xpath_text(here->capabilities, "/capabilities/host/cpu/model");
    VMC_AUTO_FREE char *other = libvirt_xpath_text(there->capabilities, "/capabilities/host/cpu/model");
    if (!vmc_str_eq(own, other))
        libvirt_obstacle_add(c->out, c->how->live, VMCTL_E_UNSUPPORTED, "cpu-model",
                             "give it a named CPU model (vmctl set VM cpus.model=...) and restart it",
                             "the guest sees this host's own CPU (%s), and the target has another one (%s)",
                             own ? own : "unknown", other ? other : "unknown");
}

static void check_memory(const checking *c, const host_args *there) {
    unsigned long long bytes = 0;
    if (!libvirt_xml_bytes(libvirt_xml_child(c->domain, "memory"), 1024, &bytes) || there->total_kib == 0)
        return;
    unsigned long long kib = bytes / 1024;
    bool never = kib > there->total_kib;
    if (!never && (!c->how->live || kib <= there->available_kib))
        return;
    libvirt_obstacle_add(c->out, never, VMCTL_E_RESOURCE_EXHAUSTED, "memory",
                         never ? "give it less memory, or take a larger host" : "make room there first",
                         "it has %llu MiB of memory; the target has %llu MiB, of which %llu MiB are free", kib / 1024,
                         there->total_kib / 1024, there->available_kib / 1024);
}

/* --- networks ------------------------------------------------------------------------------------------------- */

/* name -> found, number (1: active) */
static int work_network(libvirt_rpc *rpc) {
    rpc->network = virNetworkLookupByName(rpc->virt, rpc->name);
    rpc->found = rpc->network != NULL;
    if (!rpc->network)
        return libvirt_rpc_absent(rpc, VIR_ERR_NO_NETWORK);
    int active = virNetworkIsActive(rpc->network);
    rpc->number = active == 1;
    return active < 0 ? -1 : 0;
}

static int check_network(const checking *c, const char *network, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(c->target);
    rpc->name = vmc_strdup(network);
    int code = libvirt_rpc_run(c->target, c->deadline, "looking for the network", work_network, rpc, err);
    if (code < 0)
        return code;
    VMC_AUTO_FREE char *remedy =
        rpc->found ? vmc_printf("virsh -c '%s' net-start %s", c->target->uri, network)
                   : vmc_printf("define one of that name there (virsh net-dumpxml %s, then net-define and net-start)",
                                network);
    if (!rpc->found)
        libvirt_obstacle_add(c->out, true, VMCTL_E_NOT_FOUND, "network", remedy, "the target has no network %s",
                             network);
    else if (rpc->number == 0)
        libvirt_obstacle_add(c->out, c->how->live, VMCTL_E_INVALID_STATE, "network", remedy,
                             "the network %s is not active on the target", network);
    return 0;
}

static int check_networks(const checking *c, const host_args *there, vmctl_error **err) {
    VMC_AUTO_STRV seen = {0};
    int code = 0;
    LIBVIRT_XML_EACH(nic, c->devices, "interface") {
        const char *network = libvirt_xml_attr_at(nic, "source", "network");
        const char *device = libvirt_xml_attr_at(nic, "source", "bridge");
        if (!device)
            device = libvirt_xml_attr_at(nic, "source", "dev");
        if (libvirt_xml_attr_is(nic, "type", "network") && network && !vmc_strv_has(&seen, network)) {
            vmc_strv_add(&seen, network);
            code = check_network(c, network, err);
        } else if (!libvirt_xml_attr_is(nic, "type", "network") && device && there->nics) {
            VMC_AUTO_FREE char *word = vmc_printf(" %s ", device);
            if (!strstr(there->nics, word))
                libvirt_obstacle_add(c->out, true, VMCTL_E_NOT_FOUND, "network", "make one of that name there",
                                     "the target has no network device %s", device);
        }
        if (code < 0)
            break;
    }
    return code;
}

/* --- files ---------------------------------------------------------------------------------------------------- */

/* Whether the target has the file. 1: it has; 0: it has not; -1: cannot be seen from here. */
static int has_file(const checking *c, const char *path) {
    if (c->target->local)
        return access(path, F_OK) == 0;
    VMC_AUTO_FREE char *xml = NULL;
    vmctl_error *why = NULL;
    int code = *path == '/' ? libvirt_volume_find(c->target, path, c->deadline, NULL, &xml, &why) : 0;
    vmctl_error_free(why);
    if (code < 0)
        return -1;
    if (xml)
        return 1;
    /* A folder that a pool is of is known whole; elsewhere nothing is known. */
    const char *slash = strrchr(path, '/');
    VMC_AUTO_FREE char *folder = slash ? vmc_strndup(path, (size_t)(slash - path)) : vmc_strdup(path);
    VMC_AUTO_FREE char *pool = libvirt_move_pool_at(c->target, folder, c->deadline);
    return pool ? 0 : -1;
}

static void check_disk(const checking *c, const xmlNode *disk) {
    VMC_AUTO_FREE char *name = libvirt_name_read(c->domain, disk);
    const char *path = libvirt_disk_path(disk);
    bool medium = !libvirt_xml_attr_is(disk, "device", "disk") && !libvirt_xml_attr_is(disk, "device", "lun");
    bool readonly = medium || libvirt_xml_child(disk, "readonly");
    if (!path)
        return;
    bool block = libvirt_xml_attr_is(disk, "type", "block");
    if (!readonly && !c->how->storage && !c->how->unsafe && !block && c->source->local && access(path, F_OK) == 0 &&
        !libvirt_on_shared_storage(path)) {
        libvirt_obstacle_add(c->out, true, VMCTL_E_UNSUPPORTED, "disk",
                             "copy the disks too (--storage); where both hosts do have it, --unsafe says so",
                             "disk %s (%s) is on this host's own storage", name, path);
        return;
    }
    int there = has_file(c, path);
    if (there == 1)
        return;
    VMC_AUTO_FREE char *remedy = medium ? vmc_printf("eject it (vmctl cdrom eject VM %s), or put the file there", name)
                                        : vmc_strdup("copy the disks too (--storage)");
    libvirt_obstacle_add(c->out, there == 0, VMCTL_E_NOT_FOUND, medium ? "cdrom" : "disk", remedy,
                         there == 0 ? "the target has no %s, which is the %s %s"
                                    : "whether the target has %s, the %s %s, cannot be seen from here",
                         path, medium ? "medium of" : "disk", name);
}

static void check_file(const checking *c, const char *what, const xmlNode *node) {
    VMC_AUTO_FREE char *path = libvirt_xml_content(node);
    if (!path || !*path || libvirt_move_takes_file(c->domain, path, c->how))
        return;
    int there = has_file(c, path);
    if (there != 1)
        libvirt_obstacle_add(c->out, there == 0, VMCTL_E_NOT_FOUND, what, "put the file there",
                             there == 0 ? "the target has no %s (its %s)"
                                        : "whether the target has %s (its %s) cannot be seen from here",
                             path, what);
}

static void check_log(const checking *c) {
    const char *path = libvirt_serial_log_path(c->domain);
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash)
        return;
    VMC_AUTO_FREE char *folder = vmc_strndup(path, (size_t)(slash - path));
    VMC_AUTO_FREE char *pool = c->target->local ? NULL : libvirt_move_pool_at(c->target, folder, c->deadline);
    /* libvirt brings its usual folder along, and where the disks move to another one the log goes there too. */
    bool known = c->target->local ? access(folder, F_OK) == 0
                                  : pool || c->how->storage || strcmp(folder, "/var/lib/libvirt/images") == 0;
    if (known)
        return;
    libvirt_obstacle_add(c->out, c->target->local && c->how->live, VMCTL_E_NOT_FOUND, "serial-log",
                         "make that folder there", "the serial log %s goes to a folder that %s", path,
                         c->target->local ? "the target does not have" : "cannot be seen on the target from here");
}

static int check_all(checking *c, const host_args *here, const host_args *there, vmctl_error **err) {
    size_t before = c->out->count;
    check_identity(c, here, there);
    for (size_t i = before; i < c->out->count; i++)
        if (strcmp(c->out->items[i].what, "same-host") == 0)
            return 0;
    check_versions(c, here, there);
    check_qemu(c, there);
    check_cpu(c, here, there);
    check_memory(c, there);
    int code = check_networks(c, there, err);
    if (code < 0)
        return code;
    LIBVIRT_XML_EACH(disk, c->devices, "disk") {
        if (!libvirt_move_takes(c->domain, disk, c->how))
            check_disk(c, disk);
    }
    check_file(c, "kernel", libvirt_xml_find(c->domain, "os/kernel"));
    check_file(c, "initrd", libvirt_xml_find(c->domain, "os/initrd"));
    check_log(c);
    return 0;
}

int libvirt_migrate_check_target(libvirt_conn *source, libvirt_conn *target, const char *name, const char *uuid,
                                 const libvirt_migrate_vm *vm, const libvirt_migrate_how *how,
                                 const vmc_deadline *deadline, libvirt_obstacles *out, vmctl_error **err) {
    xmlNode *domain = xmlDocGetRootElement(vm->doc);
    checking c = {source, target, name, uuid, vm, how, deadline, out, domain, libvirt_xml_child(domain, "devices")};
    host_args *here = NULL, *there = NULL;
    int code = ask_host(&c, false, &here, err);
    if (code == 0)
        code = ask_host(&c, true, &there, err);
    if (code == 0)
        code = check_all(&c, here, there, err);
    if (here)
        host_drop(here);
    if (there)
        host_drop(there);
    return code;
}
