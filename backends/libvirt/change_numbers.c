/* backends/libvirt/change_numbers.c - CPUs and memory of a running domain.
 *
 * CPUs come up to the number that the domain was started with room for. One that came goes when the guest lets it go; those that it was
 * started with stay (formatdomain.html, "vcpus": hotpluggable='no'). Memory up to
 * what it was started with is the balloon's; beyond it, up to memory.max, it comes as a DIMM (formatdomain.html, "Memory devices"). The
 * definition has all of it as plain memory, so that the next start has its slots free again.
 */
#include "change.h"

#include "rpc.h"
#include "xml_tree.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>

/* Linux on x86 takes memory in sections of this size, and none in part (memory_hotplug.rst, "memory block size"). */
#define SECTION_KIB (128ull * 1024)

static uint64_t number_of(const char *xml, const char *xpath) {
    VMC_AUTO_FREE char *text = xml ? libvirt_xpath_text(xml, xpath) : NULL;
    return text ? strtoull(text, NULL, 10) : 0;
}

static uint64_t count_of(const char *xml, const char *xpath) {
    VMC_AUTO_STRV all = {0};
    libvirt_xpath_texts(xml, xpath, &all);
    return all.count;
}

static uint64_t current_cpus(const char *xml) {
    uint64_t current = number_of(xml, "/domain/vcpu/@current");
    return current ? current : number_of(xml, "/domain/vcpu");
}

static uint64_t wanted_number(const libvirt_step *step) {
    uint64_t value = (uint64_t)vmctl_node_integer(step->change->want, NULL, 0);
    return step->kind == LIBVIRT_STEP_MEMORY ? value / 1024 : value;
}

static void later(libvirt_step *step, char *why) {
    step->effect = VMCTL_EFFECT_AT_RESTART;
    free(step->why);
    step->why = why;
}

/* --- what can be done ---------------------------------------------------------------------------------------- */

char *libvirt_cpus_obstacle(const char *live_xml, uint64_t wanted) {
    uint64_t most = number_of(live_xml, "/domain/vcpu"), has = current_cpus(live_xml), stay = has;
    if (wanted > most)
        return vmc_printf("it was started with room for %llu CPUs (cpus.max)", (unsigned long long)most);
    if (wanted >= has)
        return NULL;
    /* Without a list of them no CPU has come since the start. */
    if (count_of(live_xml, "/domain/vcpus/vcpu") > 0)
        stay = count_of(live_xml, "/domain/vcpus/vcpu[@enabled='yes' and @hotpluggable='no']");
    if (wanted < stay)
        return vmc_printf("the %llu CPUs that it was started with stay while it runs", (unsigned long long)stay);
    /* Measured with QEMU 7.2: the guest ejects the CPU, but DEVICE_DELETED never names it, so that libvirt counts it for ever; and QEMU
     * ends with a corrupted heap when memory is added afterwards. */
    VMC_AUTO_FREE char *type = libvirt_xpath_text(live_xml, "/domain/@type");
    return type && strcmp(type, "qemu") == 0 ? vmc_strdup("QEMU's software emulation (TCG) gives up no CPU safely")
                                             : NULL;
}

char *libvirt_memory_obstacle(const char *live_xml, uint64_t wanted) {
    uint64_t has = number_of(live_xml, "/domain/memory"), most = number_of(live_xml, "/domain/maxMemory");
    VMC_AUTO_FREE char *balloon = libvirt_xpath_text(live_xml, "/domain/devices/memballoon/@model");
    VMC_AUTO_FREE char *has_text = vmc_format_size((long long)has * 1024);
    VMC_AUTO_FREE char *most_text = vmc_format_size((long long)most * 1024);
    if (wanted <= has)
        return balloon && strcmp(balloon, "none") != 0
                   ? NULL
                   : vmc_strdup("it has no balloon, through which memory would be given back");
    if (most == 0)
        return vmc_printf("it was started with %s and without room for more (memory.max)", has_text);
    if (wanted > most)
        return vmc_printf("it was started with room for %s (memory.max)", most_text);
    if ((wanted - has) % SECTION_KIB != 0) {
        VMC_AUTO_FREE char *less =
            vmc_format_size((long long)(has + (wanted - has) / SECTION_KIB * SECTION_KIB) * 1024);
        return vmc_printf("while it runs memory is added in pieces of 128MiB: %s would be possible",
                          (wanted - has) / SECTION_KIB ? less : "more");
    }
    if (count_of(live_xml, "/domain/devices/memory") >= number_of(live_xml, "/domain/maxMemory/@slots"))
        return vmc_strdup("all its slots for memory are taken");
    return NULL;
}

void libvirt_number_settle(const libvirt_changing *ch, libvirt_step *step) {
    uint64_t wanted = wanted_number(step);
    char *why = step->kind == LIBVIRT_STEP_MEMORY ? libvirt_memory_obstacle(ch->live_xml, wanted)
                                                  : libvirt_cpus_obstacle(ch->live_xml, wanted);
    if (why)
        later(step, why);
}

/* --- doing it ------------------------------------------------------------------------------------------------ */

/* domain and number */
static int work_cpus(libvirt_rpc *rpc) {
    return virDomainSetVcpusFlags(rpc->domain, (unsigned)rpc->number, VIR_DOMAIN_AFFECT_LIVE);
}

/* domain and text (a DIMM) */
static int work_dimm(libvirt_rpc *rpc) {
    return virDomainAttachDeviceFlags(rpc->domain, rpc->text, VIR_DOMAIN_AFFECT_LIVE);
}

static int set_cpus(const libvirt_changing *ch, uint64_t count, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->number = count;
    return libvirt_rpc_run(ch->conn, deadline, "changing the CPUs", work_cpus, rpc, err);
}

static int add_dimm(libvirt_changing *ch, libvirt_step *step, uint64_t kib, vmctl_error **err) {
    VMC_AUTO_FREE char *alias = NULL;
    for (unsigned i = 0;; i++) {
        free(alias);
        alias = vmc_printf("ua-vmctl-dimm%u", i);
        VMC_AUTO_FREE char *text = vmc_printf("<alias name='%s'/>", alias);
        if (!strstr(ch->live_xml, text))
            break;
    }
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->text = vmc_printf("<memory model='dimm'><target><size unit='KiB'>%llu</size><node>0</node></target>"
                           "<alias name='%s'/></memory>",
                           (unsigned long long)kib, alias);
    int code = libvirt_rpc_run(ch->conn, ch->deadline, "adding memory", work_dimm, rpc, err);
    if (code == 0) {
        step->alias = alias;
        alias = NULL;
    }
    return code;
}

static int change_memory(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    uint64_t wanted = wanted_number(step), has = number_of(ch->live_xml, "/domain/memory");
    int code = 0;
    step->old = number_of(ch->live_xml, "/domain/currentMemory");
    if (wanted > has) {
        libvirt_online *online = libvirt_online_begin(ch, LIBVIRT_ONLINE_MEMORY);
        code = add_dimm(ch, step, wanted - has, err);
        libvirt_online_end(ch, online, code == 0 ? (wanted - has) / SECTION_KIB : 0);
    }
    /* A balloon that is blown up is let down as far as the guest shall have. */
    bool balloon = code == 0 && (wanted > has ? step->old < has : step->old != wanted);
    if (!balloon)
        return code;
    code = libvirt_balloon(ch, wanted, ch->deadline, err);
    if (code == VMCTL_E_TIMEOUT && !ch->live) { /* it becomes a matter of the restart: the guest keeps what it has */
        vmc_deadline patient = vmc_deadline_start(NULL, 10000);
        libvirt_number_undo(ch, step, &patient, NULL);
    }
    return code;
}

int libvirt_number_do(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    if (step->kind == LIBVIRT_STEP_MEMORY)
        return change_memory(ch, step, err);
    step->old = current_cpus(ch->live_xml);
    uint64_t wanted = wanted_number(step);
    if (step->old == wanted)
        return 0;
    libvirt_online *online = wanted > step->old ? libvirt_online_begin(ch, LIBVIRT_ONLINE_CPUS) : NULL;
    int code = set_cpus(ch, wanted, ch->deadline, err);
    libvirt_online_end(ch, online, code == 0 ? wanted - step->old : 0);
    bool kept = code < 0 && wanted < step->old && code != VMCTL_E_CANCELLED && code != VMCTL_E_UNAVAILABLE;
    if (kept && vmc_deadline_left(ch->deadline) != 0)
        vmc_error_recode(err, VMCTL_E_BUSY);
    if (kept)
        vmc_error_next(err,
                       "a guest that boots or has no OS gives no CPU back; the request stands, and a guest that comes "
                       "to it later still does (vmctl get %s)",
                       ch->vm->name);
    return kept && err && *err ? vmctl_error_code(*err) : code;
}

/* domain and number (KiB) */
static int work_memory(libvirt_rpc *rpc) {
    return virDomainSetMemoryFlags(rpc->domain, (unsigned long)rpc->number, VIR_DOMAIN_AFFECT_LIVE);
}

int libvirt_number_undo(libvirt_changing *ch, libvirt_step *step, const vmc_deadline *deadline, vmctl_error **err) {
    if (!step->old || step->effect != VMCTL_EFFECT_NOW)
        return 0;
    if (step->kind == LIBVIRT_STEP_CPUS)
        return step->old == wanted_number(step) ? 0 : set_cpus(ch, step->old, deadline, err);
    int code = step->alias ? libvirt_unplug(ch, step->alias, "the memory", deadline, err) : 0;
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->number = step->old;
    return code < 0 ? code : libvirt_rpc_run(ch->conn, deadline, "changing the memory", work_memory, rpc, err);
}
