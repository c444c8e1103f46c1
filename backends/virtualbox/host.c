/* The host: what VirtualBox is here, where its VMs lie, which networks they can be on; and the displays of a VM. */
#include "facts.h"
#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { ASK_MS = 60000 };

static int ask(virtualbox_conn *conn, const char *what, const vmc_deadline *deadline, vboxmanage_properties *out,
               vmctl_error **err) {
    VMC_AUTO_FREE char *text = NULL;
    VMC_AUTO_FREE char *doing = vmc_printf("asking for %s", what);
    int code = virtualbox_say(conn, NULL, doing, deadline, &text, err, "list", what, NULL);
    if (code == 0)
        vboxmanage_parse_records(text, out);
    return code;
}

static unsigned long long number_of(const vboxmanage_properties *properties, const char *key) {
    const char *text = vboxmanage_property_get(properties, key);
    return text ? strtoull(text, NULL, 10) : 0;
}

int virtualbox_host_info(void *opaque, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, ASK_MS);
    VBOXMANAGE_AUTO_PROPERTIES facts = {0};
    VBOXMANAGE_AUTO_PROPERTIES states = {0};
    vboxmanage_registry registry = {0};
    int code = ask(conn, "hostinfo", &deadline, &facts, err);
    VMC_AUTO_FREE char *version = NULL;
    if (code == 0)
        code = virtualbox_registry(conn, &deadline, &registry, err);
    if (code == 0)
        code = virtualbox_states(conn, &registry, NULL, &deadline, &states, err);
    vboxmanage_registry_free(&registry);
    size_t running = 0;
    for (size_t i = 0; i < states.count; i++)
        running += virtualbox_is_up(virtualbox_state(states.items[i].value, NULL));
    if (code == 0)
        code = vboxmanage_version(conn->manage, &deadline, &version, err);
    if (code < 0)
        return code;
    char name[256] = "";
    char machine[65] = "";
    struct utsname system;
    if (conn->manage->host) {
        VMC_AUTO_FREE char *text = NULL;
        code = vboxmanage_files_script(conn->manage, "uname -n; uname -m", NULL, "asking the host for its name",
                                       &deadline, &text, err);
        if (code < 0)
            return code;
        if (text)
            sscanf(text, "%255s %64s", name, machine);
    } else {
        gethostname(name, sizeof name - 1);
        if (uname(&system) == 0)
            snprintf(machine, sizeof machine, "%s", system.machine);
    }
    const vmctl_host host = {
        .size = sizeof host,
        .name = name,
        .hypervisor = "VirtualBox",
        .hypervisor_version = version,
        .api_version = version,
        .arch = *machine ? machine : NULL,
        .cpu_model = vboxmanage_property_get(&facts, "Processor#0 description"),
        .cpus = (unsigned)number_of(&facts, "Processor online count"),
        .memory_mib = number_of(&facts, "Memory size"),
        .memory_free_mib = number_of(&facts, "Memory available"),
        .status = "ready",
        .vm_count = (int64_t)running,
    };
    each(&host, user);
    return 0;
}

int virtualbox_host_list(void *conn, const vmctl_call *call, vmctl_host_fn each, void *user, vmctl_error **err) {
    return virtualbox_host_info(conn, call, each, user, err);
}

/* df(1), -P as POSIX has it, in units of 1024 bytes. */
static void room_there(const virtualbox_conn *conn, const char *folder, const vmc_deadline *deadline,
                       vmctl_pool *pool) {
    VMC_AUTO_FREE char *text = NULL;
    unsigned long long size = 0;
    unsigned long long available = 0;
    if (vboxmanage_files_script(
            conn->manage, "d=$1; [ -d \"$d\" ] || d=$(dirname -- \"$d\"); df -Pk -- \"$d\" | tail -n 1",
            (const char *const[]){folder, NULL}, "asking for the room of the host", deadline, &text, NULL) == 0 &&
        text && sscanf(text, "%*s %llu %*u %llu", &size, &available) == 2) {
        pool->capacity_bytes = size * 1024;
        pool->available_bytes = available * 1024;
    }
}

/* The one place for disks without another: each VM's folder is made in it. */
int virtualbox_pool_list(void *opaque, const vmctl_call *call, vmctl_pool_fn each, void *user, vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    vmc_deadline deadline = vmc_deadline_start(call, ASK_MS);
    vboxmanage_registry registry = {0};
    VMC_AUTO_FREE char *folder = NULL;
    int code = virtualbox_registry(conn, &deadline, &registry, err);
    if (code == 0)
        code = virtualbox_machine_folder(conn, &registry, &deadline, &folder, err);
    vboxmanage_registry_free(&registry);
    if (code < 0 || !folder)
        return code;
    vmctl_pool pool = {.size = sizeof pool,
                       .name = "default",
                       .type = "dir",
                       .path = folder,
                       .active = true,
                       .autostart = -1,
                       .is_default = true};
    if (conn->manage->host) {
        room_there(conn, folder, &deadline, &pool);
        each(&pool, user);
        return 0;
    }
    struct statvfs space;
    VMC_AUTO_FREE char *parent = vmc_path_dirname(folder); /* the folder comes with the first VM */
    if (statvfs(folder, &space) == 0 || statvfs(parent, &space) == 0) {
        pool.capacity_bytes = (uint64_t)space.f_blocks * space.f_frsize;
        pool.available_bytes = (uint64_t)space.f_bavail * space.f_frsize;
    }
    each(&pool, user);
    return 0;
}

/* One record of a list: the key "Name" begins it. */
static int tell_networks(const vboxmanage_properties *records, const char *type, const char *subnet_key,
                         vmctl_network_fn each, void *user) {
    int stop = 0;
    for (size_t i = 0; i < records->count && !stop; i++) {
        if (strcmp(records->items[i].key, "Name") != 0)
            continue;
        vmctl_network network = {
            .size = sizeof network, .name = records->items[i].value, .type = type, .active = true, .autostart = -1};
        for (size_t k = i + 1; k < records->count && *records->items[k].key; k++)
            if (strcmp(records->items[k].key, subnet_key) == 0)
                network.subnet = records->items[k].value;
        stop = each(&network, user);
    }
    return stop;
}

int virtualbox_network_list(void *opaque, const vmctl_call *call, vmctl_network_fn each, void *user,
                            vmctl_error **err) {
    static const struct {
        const char *what, *type, *subnet;
    } lists[] = {{"natnets", "natnetwork", "Network"},
                 {"bridgedifs", "bridge", ""},
                 {"hostonlyifs", "hostonly", ""},
                 {"intnets", "internal", ""}};
    vmc_deadline deadline = vmc_deadline_start(call, ASK_MS);
    const vmctl_network nat = {
        .size = sizeof nat, .name = "NAT", .type = "nat", .active = true, .autostart = -1, .is_default = true};
    int stop = each(&nat, user);
    int code = 0;
    for (size_t i = 0; code == 0 && !stop && i < sizeof lists / sizeof lists[0]; i++) {
        VBOXMANAGE_AUTO_PROPERTIES records = {0};
        code = ask(opaque, lists[i].what, &deadline, &records, err);
        if (code == 0)
            stop = tell_networks(&records, lists[i].type, lists[i].subnet, each, user);
    }
    return code;
}

/* --- displays ----------------------------------------------------------------------------------------------------- */

int virtualbox_display_list(void *opaque, void *handle, const vmctl_call *call, vmctl_display_fn each, void *user,
                            vmctl_error **err) {
    virtualbox_conn *conn = opaque;
    const virtualbox_vm *vm = handle;
    vmc_deadline deadline = vmc_deadline_start(call, ASK_MS);
    VMC_AUTO_FREE char *text = NULL;
    int code = virtualbox_say(conn, vm, "asking for the VM's display", &deadline, &text, err, "showvminfo", vm->id,
                              "--machinereadable", NULL);
    if (code < 0)
        return code;
    VBOXMANAGE_AUTO_PROPERTIES facts = {0};
    vboxmanage_parse_properties(text, &facts);
    /* The port that it has now; -1 while nothing listens. */
    const char *port = vboxmanage_property_get(&facts, "vrdeport");
    const char *address = vboxmanage_property_get(&facts, "vrdeaddress");
    long number = port ? strtol(port, NULL, 10) : -1;
    if (!vmc_str_eq(vboxmanage_property_get(&facts, "vrde"), "on") || number <= 0)
        return 0;
    if (!address || !*address || strcmp(address, "0.0.0.0") == 0)
        address = "127.0.0.1";
    vboxmanage_machine *machine = NULL;
    code = virtualbox_load(conn, vm, &deadline, &machine, err);
    if (code < 0)
        return code;
    const char *type = vmc_str_eq(machine->vrde_pack, "VNC") ? "vnc" : "rdp";
    VMC_AUTO_FREE char *uri = vmc_printf("%s://%s:%ld", type, address, number);
    const vmctl_display display = {
        .size = sizeof display, .type = type, .address = address, .port = (int)number, .uri = uri};
    each(&display, user);
    vboxmanage_machine_free(machine);
    return 0;
}
