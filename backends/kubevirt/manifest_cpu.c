/* CPUs, memory, machine and firmware. */
#include "manifest.h"

#include "quantity.h"
#include <string.h>

/* --- CPUs and memory ------------------------------------------------------------------------------------------------- */

static const char *const topology[] = {"sockets", "cores", "threads"};

static bool has_topology(const vmctl_node *cpus) {
    for (size_t i = 0; i < sizeof topology / sizeof topology[0]; i++)
        if (vmctl_node_get(cpus, topology[i]))
            return true;
    return false;
}

int kubevirt_check_cpus(const vmctl_node *cpus, vmctl_error **err) {
    int64_t max = vmctl_node_integer(cpus, "max", 0);
    int64_t socket = vmctl_node_integer(cpus, "cores", 1) * vmctl_node_integer(cpus, "threads", 1);
    if (max && max % socket)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(cpus, "max"),
                          "KubeVirt adds whole sockets, and %lld CPUs are no number of sockets of %lld", (long long)max,
                          (long long)socket);
    int64_t count = vmctl_node_integer(cpus, "count", 1);
    if (count % socket)
        return vmc_refuse(err, VMCTL_E_INVALID_SPEC, vmctl_node_get(cpus, "count"),
                          "%lld CPUs are no number of sockets of %lld", (long long)count, (long long)socket);
    return 0;
}

/* Sockets are what KubeVirt can add to a running VM; where the person says nothing, each CPU is one, as KubeVirt's instance types have it.
 * Windows is licensed by the socket. */
void kubevirt_build_cpus(cJSON *domain, const vmctl_node *cpus, const char *guest) {
    cJSON *cpu = vmc_json_map(domain, "cpu");
    int64_t count = vmctl_node_integer(cpus, "count", 1);
    int64_t max = vmctl_node_integer(cpus, "max", 0);
    int64_t cores = vmctl_node_integer(cpus, "cores", 1);
    int64_t threads = vmctl_node_integer(cpus, "threads", 1);
    bool free = !has_topology(cpus); /* the person said nothing of it */
    bool one_socket = free && !max && vmc_str_eq(guest, "windows");
    if (one_socket)
        cores = count;
    int64_t sockets = vmctl_node_integer(cpus, "sockets", count / (cores * threads));
    const int64_t values[] = {sockets, cores, threads};
    for (size_t i = 0; i < sizeof topology / sizeof topology[0]; i++) {
        bool said = vmctl_node_get(cpus, topology[i]) || (i == 0 && free && !one_socket) || (i == 1 && one_socket);
        bool there = vmc_json_key(cpu, topology[i]) != NULL;
        if ((i == 0 && values[0] > 1) || said || there)
            vmc_json_put(cpu, topology[i], cJSON_CreateNumber((double)values[i]));
    }
    if (max) {
        int64_t most = max / (cores * threads);
        vmc_json_put(cpu, "maxSockets", cJSON_CreateNumber((double)most));
    }
    const char *model = vmctl_node_string(cpus, "model", NULL);
    if (model)
        vmc_json_put(cpu, "model", cJSON_CreateString(strcmp(model, "host") == 0 ? "host-passthrough" : model));
}

static void put_quantity(cJSON *map, const char *key, int64_t bytes) {
    VMC_AUTO_FREE char *text = kubevirt_quantity_format((uint64_t)bytes);
    if (bytes > 0)
        vmc_json_put(map, key, cJSON_CreateString(text));
}

void kubevirt_build_memory(cJSON *domain, const vmctl_node *memory) {
    cJSON *to = vmc_json_map(domain, "memory");
    put_quantity(to, "guest", vmctl_node_integer(memory, "size", 0));
    put_quantity(to, "maxGuest", vmctl_node_integer(memory, "max", 0));
    const vmctl_node *huge = vmctl_node_get(memory, "hugepages");
    if (vmctl_node_boolean(huge, NULL, false))
        vmc_json_put(vmc_json_map(to, "hugepages"), "pageSize", cJSON_CreateString("2Mi"));
    else if (huge)
        vmc_json_put(to, "hugepages", NULL);
}

unsigned kubevirt_read_cpus(const cJSON *cpu) {
    if (!cpu)
        return 0;
    int64_t count = 1;
    bool given = false;
    for (size_t i = 0; i < sizeof topology / sizeof topology[0]; i++) {
        given |= vmc_json_key(cpu, topology[i]) != NULL;
        count *= vmc_json_integer(cpu, topology[i], 1);
    }
    return given && count > 0 && count < 65536 ? (unsigned)count : 0;
}

/* --- machine and firmware -------------------------------------------------------------------------------------------- */

/* What Windows runs well with. Source: KubeVirt's user guide, "Guest Operating System Information" and "Hyper-V optimizations". */
static void put_enlightenments(cJSON *domain) {
    cJSON *features = vmc_json_map(domain, "features");
    static const char *const plain[] = {"relaxed", "vapic", "vpindex", "runtime", "synic", "frequencies", "reset"};
    vmc_json_map(features, "acpi");
    vmc_json_map(features, "apic");
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++)
        vmc_json_map(vmc_json_map(features, "hyperv"), plain[i]);
    cJSON_AddNumberToObject(vmc_json_map(features, "hyperv.spinlocks"), "spinlocks", 8191);
    vmc_json_map(features, "hyperv.synictimer.direct");
    cJSON *clock = vmc_json_map(domain, "clock");
    vmc_json_map(clock, "utc");
    cJSON_AddBoolToObject(vmc_json_map(clock, "timer.hpet"), "present", false);
    vmc_json_text(vmc_json_map(clock, "timer.pit"), "tickPolicy", "delay");
    vmc_json_text(vmc_json_map(clock, "timer.rtc"), "tickPolicy", "catchup");
    vmc_json_map(clock, "timer.hyperv");
}

static const char *const arches[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"s390x", "s390x"}};

static void put_firmware(kubevirt_build *build) {
    const vmctl_node *firmware = vmctl_node_get(build->root, "firmware");
    const char *type = vmctl_node_string(firmware, "type", NULL);
    bool secure = vmctl_node_boolean(firmware, "secureBoot", false);
    if (vmc_str_eq(type, "uefi")) {
        /* KubeVirt turns secure boot on where nothing is said, and that needs SMM. */
        cJSON_AddBoolToObject(vmc_json_map(build->domain, "firmware.bootloader.efi"), "secureBoot", secure);
        if (secure)
            cJSON_AddBoolToObject(vmc_json_map(build->domain, "features.smm"), "enabled", true);
    } else if (type) {
        vmc_json_map(build->domain, "firmware.bootloader.bios");
    }
    if (vmctl_node_boolean(firmware, "tpm", false))
        vmc_json_map(build->devices, "tpm");
}

void kubevirt_build_machine(kubevirt_build *build) {
    const char *arch = vmctl_node_string(build->root, "arch", NULL);
    const char *machine = vmctl_node_string(build->root, "machine", NULL);
    const char *confidential = vmctl_node_string(build->root, "confidential", "none");
    for (size_t i = 0; arch && i < sizeof arches / sizeof arches[0]; i++)
        if (strcmp(arch, arches[i][0]) == 0)
            vmc_json_text(build->pod, "architecture", arches[i][1]);
    if (machine)
        vmc_json_text(vmc_json_map(build->domain, "machine"), "type", machine);
    if (strcmp(build->guest, "windows") == 0)
        put_enlightenments(build->domain);
    put_firmware(build);
    if (strcmp(confidential, "none") != 0)
        vmc_json_map(vmc_json_map(build->domain, "launchSecurity"),
                     strcmp(confidential, "sev-snp") == 0 ? "snp" : confidential);
}
