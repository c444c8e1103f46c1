/* backends/libvirt/domain_resources.c - CPUs and memory (formatdomain.html, "CPU Allocation", "CPU model and topology",
 * "Memory Allocation", "Memory Backing"). */
#include "domain_model.h"
#include <string.h>

enum { MEMORY_SLOTS = 16 };
#define KIB 1024ull

/* --- CPUs ------------------------------------------------------------------------------------------------------ */

static void write_model(libvirt_build *build, const char *model) {
    if (build->test)
        return;
    xmlNode *cpu = libvirt_xml_ensure(build->domain, "cpu");
    bool host = !model || strcmp(model, "host") == 0;
    if (model && host && !build->kvm)
        libvirt_warn(build,
                     "cpus.model: without KVM there is no host CPU to pass on; the guest gets all that QEMU emulates");
    bool passed = !build->host || !build->host->no_host_cpu;
    const char *mode = host && build->kvm                  ? (passed ? "host-passthrough" : "host-model")
                       : host || strcmp(model, "max") == 0 ? "maximum"
                       : strcmp(model, "host-model") == 0  ? "host-model"
                                                           : "custom";
    static const char *const stale[] = {"match", "check", "migratable"};
    if (model && host && build->kvm && !passed)
        libvirt_warn(
            build, "cpus.model: this host's CPU cannot be passed on as it is; the guest gets the model nearest to it");
    for (size_t i = 0; i < sizeof stale / sizeof stale[0]; i++)
        libvirt_xml_set(cpu, stale[i], NULL);
    libvirt_xml_drop_children(cpu, "model");
    libvirt_xml_drop_children(cpu, "feature");
    libvirt_xml_drop_children(cpu, "vendor");
    libvirt_xml_set(cpu, "mode", mode);
    if (strcmp(mode, "custom") == 0) {
        libvirt_xml_set(cpu, "match", "exact");
        libvirt_xml_set(libvirt_xml_add_text(cpu, "model", model), "fallback", "forbid");
    }
}

static const char *shown_model(const xmlNode *cpu, char **owned) {
    const char *mode = libvirt_xml_attr(cpu, "mode");
    if (vmc_str_eq(mode, "host-passthrough"))
        return "host";
    if (vmc_str_eq(mode, "maximum"))
        return "max";
    if (vmc_str_eq(mode, "host-model"))
        return "host-model";
    *owned = libvirt_xml_content(libvirt_xml_child(cpu, "model"));
    return *owned;
}

/* The topology must give as many CPUs as the VM can grow to; what is not said is worked out. */
static int write_topology(libvirt_build *build, const cJSON *cpus, int64_t most, vmctl_error **err) {
    int64_t given[3] = {vmc_json_integer(cpus, "sockets", 0), vmc_json_integer(cpus, "cores", 0),
                        vmc_json_integer(cpus, "threads", 0)};
    if (!given[0] && !given[1] && !given[2]) {
        if (strcmp(build->guest, "windows") != 0 || !build->fresh || build->test)
            return 0;
        given[0] = 1; /* client editions use two sockets at most, however many CPUs there are */
        given[2] = 1;
    }
    int64_t product = 1;
    for (size_t i = 0; i < 3; i++)
        product *= given[i] ? given[i] : 1;
    size_t unknown = !given[0] ? 0 : !given[1] ? 1 : !given[2] ? 2 : 3;
    if (unknown < 3 && product > 0 && most % product == 0) {
        for (size_t i = unknown + 1; i < 3; i++)
            given[i] = given[i] ? given[i] : 1;
        given[unknown] = most / product;
        product = most;
    }
    if (product != most) {
        libvirt_refuse_key(build, "cpus", VMCTL_E_INVALID_SPEC, err,
                           "%lld sockets of %lld cores of %lld threads are not %lld CPUs",
                           (long long)(given[0] ? given[0] : 1), (long long)(given[1] ? given[1] : 1),
                           (long long)(given[2] ? given[2] : 1), (long long)most);
        return vmc_error_next(err, "say cpus.sockets, cpus.cores and cpus.threads so that their product is %lld",
                              (long long)most);
    }
    xmlNode *topology = libvirt_xml_ensure(libvirt_xml_ensure(build->domain, "cpu"), "topology");
    static const char *const names[] = {"sockets", "cores", "threads"};
    for (size_t i = 0; i < 3; i++)
        libvirt_xml_set_number(topology, names[i], (unsigned long long)given[i]);
    libvirt_xml_set(topology, "dies", NULL);
    libvirt_xml_set(topology, "clusters", NULL);
    return 0;
}

int libvirt_cpus_write(libvirt_build *build, const cJSON *cpus, vmctl_error **err) {
    int64_t count = vmc_json_integer(cpus, "count", 1), most = vmc_json_integer(cpus, "max", count);
    if (most < count)
        return libvirt_refuse_key(build, "cpus.max", VMCTL_E_INVALID_SPEC, err,
                                  "the VM cannot grow to %lld CPUs when it starts with %lld", (long long)most,
                                  (long long)count);
    const char *model = vmc_json_string(cpus, "model", NULL);
    const xmlNode *cpu = libvirt_xml_child(build->domain, "cpu");
    VMC_AUTO_FREE char *owned = NULL;
    if (build->fresh || (model && !vmc_str_eq(model, shown_model(cpu, &owned))))
        write_model(build, model);
    int code = write_topology(build, cpus, most, err);
    if (code < 0)
        return code;
    xmlNode *vcpu = libvirt_xml_ensure(build->domain, "vcpu");
    VMC_AUTO_FREE char *text = vmc_printf("%lld", (long long)most);
    libvirt_xml_set_text(vcpu, text);
    if (most > count)
        libvirt_xml_set_number(vcpu, "current", (unsigned long long)count);
    else
        libvirt_xml_set(vcpu, "current", NULL);
    libvirt_xml_drop_children(build->domain, "vcpus"); /* per-CPU states, which libvirt writes again */
    xmlNode *numa = libvirt_xml_find(build->domain, "cpu/numa");
    if (libvirt_xml_count(numa, "cell") == 1) {
        VMC_AUTO_FREE char *all = most > 1 ? vmc_printf("0-%lld", (long long)most - 1) : vmc_strdup("0");
        libvirt_xml_set(libvirt_xml_child(numa, "cell"), "cpus", all);
    } else if (numa) {
        return libvirt_refuse_key(build, "cpus", VMCTL_E_UNSUPPORTED, err,
                                  "the VM has several NUMA cells, which only its XML can say; use virsh edit");
    }
    return 0;
}

void libvirt_cpus_read(const xmlNode *domain, cJSON *spec) {
    VMC_AUTO_FREE char *text = libvirt_xml_content(libvirt_xml_child(domain, "vcpu"));
    unsigned long long most = 1, count;
    if (!libvirt_xml_number(text, &most))
        most = 1;
    if (!libvirt_xml_number(libvirt_xml_attr_at(domain, "vcpu", "current"), &count))
        count = most;
    cJSON *cpus = cJSON_AddObjectToObject(spec, "cpus");
    cJSON_AddNumberToObject(cpus, "count", (double)count);
    static const char *const names[] = {"sockets", "cores", "threads"};
    const xmlNode *cpu = libvirt_xml_child(domain, "cpu");
    const xmlNode *topology = libvirt_xml_child(cpu, "topology");
    unsigned long long dies, clusters, number;
    bool flat = !(libvirt_xml_number(libvirt_xml_attr(topology, "dies"), &dies) && dies > 1) &&
                !(libvirt_xml_number(libvirt_xml_attr(topology, "clusters"), &clusters) && clusters > 1);
    for (size_t i = 0; i < 3 && flat; i++) {
        if (libvirt_xml_number(libvirt_xml_attr(topology, names[i]), &number))
            cJSON_AddNumberToObject(cpus, names[i], (double)number);
    }
    VMC_AUTO_FREE char *owned = NULL;
    const char *model = shown_model(cpu, &owned);
    if (model && *model)
        cJSON_AddStringToObject(cpus, "model", model);
    if (most > count)
        cJSON_AddNumberToObject(cpus, "max", (double)most);
}

/* --- memory ---------------------------------------------------------------------------------------------------- */

static void set_kib(xmlNode *domain, const char *name, unsigned long long bytes) {
    VMC_AUTO_FREE char *text = vmc_printf("%llu", (bytes + KIB - 1) / KIB);
    xmlNode *node = libvirt_xml_ensure(domain, name);
    libvirt_xml_set(node, "unit", "KiB");
    libvirt_xml_set_text(node, text);
}

/* Hot-plugged memory needs a NUMA cell to go to. */
static void ensure_cell(libvirt_build *build) {
    xmlNode *numa = libvirt_xml_ensure(libvirt_xml_ensure(build->domain, "cpu"), "numa");
    if (libvirt_xml_child(numa, "cell"))
        return;
    unsigned long long most = 1;
    VMC_AUTO_FREE char *text = libvirt_xml_content(libvirt_xml_child(build->domain, "vcpu"));
    if (!libvirt_xml_number(text, &most))
        most = 1;
    VMC_AUTO_FREE char *all = most > 1 ? vmc_printf("0-%llu", most - 1) : vmc_strdup("0");
    libvirt_xml_add(numa, "cell", "id", "0", "cpus", all, NULL);
}

int libvirt_memory_write(libvirt_build *build, const cJSON *memory, vmctl_error **err) {
    unsigned long long size = (unsigned long long)vmc_json_integer(memory, "size", 0);
    unsigned long long most = (unsigned long long)vmc_json_integer(memory, "max", 0);
    unsigned long long present;
    bool resized = !libvirt_xml_bytes(libvirt_xml_child(build->domain, "memory"), KIB, &present) || present != size;
    if (most && most < size)
        return libvirt_refuse_key(build, "memory.max", VMCTL_E_INVALID_SPEC, err,
                                  "the VM cannot grow to less memory than it starts with");
    if (libvirt_xml_count(libvirt_xml_find(build->domain, "cpu/numa"), "cell") > 1 && resized)
        return libvirt_refuse_key(build, "memory.size", VMCTL_E_UNSUPPORTED, err,
                                  "the VM has several NUMA cells, which only its XML can say; use virsh edit");
    if (libvirt_xml_child(build->devices, "memory") && resized)
        return libvirt_refuse_key(build, "memory.size", VMCTL_E_UNSUPPORTED, err,
                                  "part of the VM's memory is in memory devices, which only its XML can say; use virsh "
                                  "edit");
    if (most > size && !build->test) {
        set_kib(build->domain, "maxMemory", most);
        xmlNode *limit = libvirt_xml_child(build->domain, "maxMemory");
        if (!libvirt_xml_attr(limit, "slots"))
            libvirt_xml_set_number(limit, "slots", MEMORY_SLOTS);
        ensure_cell(build);
    } else if (most) {
        libvirt_xml_drop_children(build->domain, "maxMemory");
    }
    if (resized) {
        set_kib(build->domain, "memory", size);
        set_kib(build->domain, "currentMemory", size);
    }
    xmlNode *cell = libvirt_xml_find(build->domain, "cpu/numa/cell");
    if (cell && (resized || !libvirt_xml_attr(cell, "memory"))) {
        libvirt_xml_set_number(cell, "memory", (size + KIB - 1) / KIB);
        libvirt_xml_set(cell, "unit", "KiB");
    }
    const cJSON *huge = vmc_json_key(memory, "hugepages");
    xmlNode *backing = libvirt_xml_child(build->domain, "memoryBacking");
    if (cJSON_IsTrue(huge) && !libvirt_xml_child(backing, "hugepages") && !build->test) {
        libvirt_xml_add(libvirt_xml_ensure(build->domain, "memoryBacking"), "hugepages", NULL);
    } else if (cJSON_IsFalse(huge) && backing) {
        libvirt_xml_drop_children(backing, "hugepages");
        if (!libvirt_xml_child(backing, NULL))
            libvirt_xml_drop(backing);
    }
    return 0;
}

void libvirt_memory_share(libvirt_build *build) {
    xmlNode *backing = libvirt_xml_ensure(build->domain, "memoryBacking");
    if (!libvirt_xml_child(backing, "source") && !libvirt_xml_child(backing, "hugepages"))
        libvirt_xml_add(backing, "source", "type", "memfd", NULL);
    xmlNode *access = libvirt_xml_ensure(backing, "access");
    libvirt_xml_set(access, "mode", "shared");
}

bool libvirt_memory_is_shared(const char *domain_xml) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!domain_xml ||
        libvirt_xml_parse(domain_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return false;
    return vmc_str_eq(libvirt_xml_attr_at(xmlDocGetRootElement(doc), "memoryBacking/access", "mode"), "shared");
}

void libvirt_memory_read(const xmlNode *domain, cJSON *spec) {
    unsigned long long bytes;
    cJSON *memory = cJSON_AddObjectToObject(spec, "memory");
    if (libvirt_xml_bytes(libvirt_xml_child(domain, "memory"), KIB, &bytes))
        cJSON_AddNumberToObject(memory, "size", (double)bytes);
    if (libvirt_xml_bytes(libvirt_xml_child(domain, "maxMemory"), KIB, &bytes))
        cJSON_AddNumberToObject(memory, "max", (double)bytes);
    if (libvirt_xml_find(domain, "memoryBacking/hugepages"))
        cJSON_AddTrueToObject(memory, "hugepages");
}
