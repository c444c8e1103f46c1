/* backends/libvirt/change_live.c - the steps of a change on the running domain, and taking them back. */
#include "change.h"

#include "rpc.h"
#include "xml_tree.h"
#include "xpath.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DETACH_MS = 5000, DETACH_PAUSE_MS = 100 };

/* --- devices in the documents ----------------------------------------------------------------------------- */

static const vmctl_device *find_device(const libvirt_domain_facts *facts, const char *list, const char *name) {
    bool nic = strcmp(list, "networks") == 0;
    for (size_t i = 0; facts && i < facts->info.device_count; i++) {
        const vmctl_device *device = &facts->info.devices[i];
        bool kind = nic ? device->kind == VMCTL_DEVICE_NIC
                        : device->kind == VMCTL_DEVICE_DISK || device->kind == VMCTL_DEVICE_CDROM;
        if (kind && vmc_str_eq(device->name, name))
            return device;
    }
    return NULL;
}

/* The element of a NIC (by its MAC) or of a disk (by its target). */
static xmlNode *find_element(xmlDoc *doc, const char *list, const vmctl_device *device) {
    bool nic = strcmp(list, "networks") == 0;
    xmlNode *devices = libvirt_xml_child(xmlDocGetRootElement(doc), "devices");
    LIBVIRT_XML_EACH(node, devices, nic ? "interface" : "disk") {
        const char *id = nic ? libvirt_xml_attr_at(node, "mac", "address") : libvirt_xml_attr_at(node, "target", "dev");
        const char *wanted = nic ? device->mac : device->target;
        if (id && wanted && strcasecmp(id, wanted) == 0)
            return node;
    }
    return NULL;
}

/* One device of a document as text; NULL: it is not there. without_place: libvirt chooses a free address. */
static char *device_text(const char *xml, const char *list, const vmctl_device *device, bool without_place) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!device || libvirt_xml_parse(xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return NULL;
    xmlNode *node = find_element(doc, list, device);
    if (node && without_place)
        libvirt_xml_drop_children(node, "address");
    return node ? libvirt_xml_node_text(doc, node) : NULL;
}

/* --- on the worker ---------------------------------------------------------------------------------------- */

enum device_call { ATTACH, DETACH, UPDATE };

/* domain, text (a device) and number (which call) */
static int work_device(libvirt_rpc *rpc) {
    switch ((enum device_call)rpc->number) {
    case ATTACH:
        return virDomainAttachDeviceFlags(rpc->domain, rpc->text, VIR_DOMAIN_AFFECT_LIVE);
    case DETACH:
        return virDomainDetachDeviceFlags(rpc->domain, rpc->text, VIR_DOMAIN_AFFECT_LIVE);
    default:
        return virDomainUpdateDeviceFlags(rpc->domain, rpc->text, VIR_DOMAIN_AFFECT_LIVE);
    }
}

/* domain -> out (the running one's XML) */
static int work_live_xml(libvirt_rpc *rpc) {
    rpc->out = virDomainGetXMLDesc(rpc->domain, 0);
    return rpc->out ? 0 : -1;
}

/* domain, text (description; NULL: none), out (the marker; NULL: none) */
static int work_texts(libvirt_rpc *rpc) {
    if (virDomainSetMetadata(rpc->domain, VIR_DOMAIN_METADATA_DESCRIPTION, rpc->text, NULL, NULL,
                             VIR_DOMAIN_AFFECT_LIVE) < 0)
        return -1;
    return virDomainSetMetadata(rpc->domain, VIR_DOMAIN_METADATA_ELEMENT, rpc->out, rpc->out ? "vmctl" : NULL,
                                LIBVIRT_VMCTL_NS, VIR_DOMAIN_AFFECT_LIVE);
}

/* domain and number (KiB) */
static int work_memory(libvirt_rpc *rpc) {
    return virDomainSetMemoryFlags(rpc->domain, (unsigned long)rpc->number, VIR_DOMAIN_AFFECT_LIVE);
}

/* domain and number */
static int work_cpus(libvirt_rpc *rpc) {
    return virDomainSetVcpusFlags(rpc->domain, (unsigned)rpc->number, VIR_DOMAIN_AFFECT_LIVE);
}

static libvirt_rpc *new_rpc(const libvirt_changing *ch) {
    libvirt_rpc *rpc = libvirt_rpc_new(ch->conn);
    virDomainRef(ch->vm->domain);
    rpc->domain = ch->vm->domain;
    return rpc;
}

static int device_call(const libvirt_changing *ch, enum device_call which, const char *xml,
                       const vmc_deadline *deadline, vmctl_error **err) {
    static const char *const doing[] = {"attaching the device", "detaching the device", "changing the device"};
    LIBVIRT_AUTO_RPC *rpc = new_rpc(ch);
    rpc->text = vmc_strdup(xml);
    rpc->number = which;
    return libvirt_rpc_run(ch->conn, deadline, doing[which], work_device, rpc, err);
}

/* --- metadata --------------------------------------------------------------------------------------------- */

/* virDomainSetMetadata puts the root into the namespace itself, and takes no element that has declared it. */
static void without_namespace(xmlNode *node) {
    xmlSetNs(node, NULL);
    if (node->nsDef)
        xmlFreeNsList(node->nsDef);
    node->nsDef = NULL;
    for (xmlNode *child = node->children; child; child = child->next)
        if (child->type == XML_ELEMENT_NODE)
            without_namespace(child);
}

static int set_texts(const libvirt_changing *ch, const char *xml, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_xml_parse(xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = new_rpc(ch);
    xmlNode *domain = xmlDocGetRootElement(doc);
    rpc->text = libvirt_xml_content(libvirt_xml_child(domain, "description"));
    LIBVIRT_XML_EACH(marker, libvirt_xml_child(domain, "metadata"), "vm") {
        if (!marker->ns || strcmp((const char *)marker->ns->href, LIBVIRT_VMCTL_NS) != 0)
            continue;
        without_namespace(marker);
        rpc->out = libvirt_xml_node_text(doc, marker);
        break;
    }
    return libvirt_rpc_run(ch->conn, deadline, "changing the description and labels", work_texts, rpc, err);
}

/* --- devices ---------------------------------------------------------------------------------------------- */

static int lacking(const libvirt_step *step, vmctl_error **err) {
    return vmc_error(err, VMCTL_E_CONFLICT, "%s.%s is not there any more", step->list, step->name);
}

static int set_link(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *device = find_device(ch->live, step->list, step->name);
    LIBVIRT_AUTO_XML *doc = NULL;
    step->undo_xml = device_text(ch->live_xml, step->list, device, false);
    if (!step->undo_xml)
        return lacking(step, err);
    int code = libvirt_xml_parse(step->undo_xml, "the NIC's XML", NULL, VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    xmlNode *nic = xmlDocGetRootElement(doc);
    libvirt_xml_set(libvirt_xml_ensure(nic, "link"), "state", vmctl_node_string(step->change->want, NULL, "up"));
    VMC_AUTO_FREE char *xml = libvirt_xml_node_text(doc, nic);
    return device_call(ch, UPDATE, xml, ch->deadline, err);
}

/* The medium as the definition has it now, in the drive that runs. */
static int set_medium(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *device = find_device(ch->live, step->list, step->name);
    step->undo_xml = device_text(ch->live_xml, step->list, device, false);
    VMC_AUTO_FREE char *xml = device_text(ch->new_xml, step->list, device, false);
    if (!step->undo_xml || !xml)
        return lacking(step, err);
    return device_call(ch, UPDATE, xml, ch->deadline, err);
}

static int attach(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    libvirt_domain_facts *facts = NULL;
    int code = libvirt_domain_facts_read(ch->new_xml, &facts, err);
    if (code < 0)
        return code;
    step->undo_xml = device_text(ch->new_xml, step->list, find_device(facts, step->list, step->name), true);
    libvirt_domain_facts_free(facts);
    return step->undo_xml ? device_call(ch, ATTACH, step->undo_xml, ch->deadline, err) : lacking(step, err);
}

/* Detaching is a request to the guest, which may take its time or never answer. */
static int detach(const libvirt_changing *ch, const char *list, const vmctl_device *device, const char *xml,
                  const vmc_deadline *deadline, vmctl_error **err) {
    int code = device_call(ch, DETACH, xml, deadline, err);
    LIBVIRT_AUTO_RPC *rpc = new_rpc(ch);
    int64_t until = vmc_now_ms() + DETACH_MS;
    while (code == 0) {
        free(rpc->out);
        rpc->out = NULL;
        code =
            libvirt_rpc_run(ch->conn, deadline, "waiting for the guest to let the device go", work_live_xml, rpc, err);
        if (code < 0)
            break;
        VMC_AUTO_FREE char *still = device_text(rpc->out, list, device, false);
        if (!still)
            return 0;
        if (vmc_now_ms() > until)
            return vmc_error(err, VMCTL_E_TIMEOUT, "the guest has not let the device go");
        code = vmc_deadline_poll(deadline, -1, 0, DETACH_PAUSE_MS, "waiting for the guest to let the device go", err);
    }
    return code;
}

static int detach_step(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *device = find_device(ch->live, step->list, step->name);
    step->undo_xml = device_text(ch->live_xml, step->list, device, false);
    if (!step->undo_xml) /* it waited for the next start, and never came */
        return 0;
    return detach(ch, step->list, device, step->undo_xml, ch->deadline, err);
}

/* --- numbers ---------------------------------------------------------------------------------------------- */

static uint64_t number_of(const char *xml, const char *xpath) {
    VMC_AUTO_FREE char *text = xml ? libvirt_xpath_text(xml, xpath) : NULL;
    return text ? strtoull(text, NULL, 10) : 0;
}

static uint64_t current_memory(const char *xml) {
    return number_of(xml, "/domain/currentMemory");
}

static uint64_t current_cpus(const char *xml) {
    uint64_t current = number_of(xml, "/domain/vcpu/@current");
    return current ? current : number_of(xml, "/domain/vcpu");
}

static int set_number(const libvirt_changing *ch, const libvirt_step *step, uint64_t number,
                      const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = new_rpc(ch);
    rpc->number = number;
    if (step->kind == LIBVIRT_STEP_MEMORY)
        return libvirt_rpc_run(ch->conn, deadline, "changing the memory", work_memory, rpc, err);
    return libvirt_rpc_run(ch->conn, deadline, "changing the CPUs", work_cpus, rpc, err);
}

static uint64_t wanted_number(const libvirt_step *step) {
    uint64_t value = (uint64_t)vmctl_node_integer(step->change->want, NULL, 0);
    return step->kind == LIBVIRT_STEP_MEMORY ? value / 1024 : value;
}

/* Giving the guest more, up to what it started with, is in force at once; taking away needs the guest's consent. */
static vmctl_effect number_effect(const libvirt_changing *ch, const libvirt_step *step) {
    bool memory = step->kind == LIBVIRT_STEP_MEMORY;
    uint64_t now = memory ? current_memory(ch->live_xml) : current_cpus(ch->live_xml);
    uint64_t most = number_of(ch->live_xml, memory ? "/domain/memory" : "/domain/vcpu");
    uint64_t wanted = wanted_number(step);
    return wanted >= now && wanted <= most ? VMCTL_EFFECT_NOW : VMCTL_EFFECT_AT_RESTART;
}

/* --- the steps -------------------------------------------------------------------------------------------- */

static vmctl_effect add_effect(const libvirt_step *step) {
    const vmctl_node *item = step->change->want;
    if (strcmp(step->list, "networks") == 0) /* forwards are arguments of QEMU's command line */
        return vmctl_node_count(vmctl_node_get(item, "forward")) ? VMCTL_EFFECT_AT_RESTART : VMCTL_EFFECT_NOW;
    const char *bus = vmctl_node_string(item, "bus", "virtio");
    bool hot = strcmp(bus, "virtio") == 0 || strcmp(bus, "scsi") == 0 || strcmp(bus, "usb") == 0;
    bool disk = strcmp(step->list, "disks") == 0 && !vmctl_node_get(item, "cdrom");
    return disk && hot ? VMCTL_EFFECT_NOW : VMCTL_EFFECT_AT_RESTART;
}

static vmctl_effect remove_effect(const libvirt_changing *ch, const libvirt_step *step) {
    bool ours = strcmp(step->list, "networks") == 0 || strcmp(step->list, "disks") == 0;
    const vmctl_device *device = ours ? find_device(ch->live, step->list, step->name) : NULL;
    if (!ours || (device && device->kind == VMCTL_DEVICE_CDROM))
        return VMCTL_EFFECT_AT_RESTART;
    bool fixed = device && device->bus && (strcmp(device->bus, "ide") == 0 || strcmp(device->bus, "sata") == 0);
    return fixed ? VMCTL_EFFECT_AT_RESTART : VMCTL_EFFECT_NOW;
}

vmctl_effect libvirt_step_effect(const libvirt_changing *ch, const libvirt_step *step) {
    if (!ch->active)
        return VMCTL_EFFECT_NOW;
    switch (step->kind) {
    case LIBVIRT_STEP_AUTOSTART:
    case LIBVIRT_STEP_TEXTS:
    case LIBVIRT_STEP_SIZE:
        return VMCTL_EFFECT_NOW;
    case LIBVIRT_STEP_LINK:
    case LIBVIRT_STEP_MEDIUM:
        return find_device(ch->live, step->list, step->name) ? VMCTL_EFFECT_NOW : VMCTL_EFFECT_AT_RESTART;
    case LIBVIRT_STEP_MEMORY:
    case LIBVIRT_STEP_CPUS:
        return number_effect(ch, step);
    case LIBVIRT_STEP_ADD:
        return add_effect(step);
    case LIBVIRT_STEP_REMOVE:
        return remove_effect(ch, step);
    default:
        return VMCTL_EFFECT_AT_RESTART;
    }
}

static int run_step(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    switch (step->kind) {
    case LIBVIRT_STEP_TEXTS:
        return set_texts(ch, ch->new_xml, ch->deadline, err);
    case LIBVIRT_STEP_LINK:
        return set_link(ch, step, err);
    case LIBVIRT_STEP_MEDIUM:
        return set_medium(ch, step, err);
    case LIBVIRT_STEP_MEMORY:
        step->old = current_memory(ch->live_xml);
        return set_number(ch, step, wanted_number(step), ch->deadline, err);
    case LIBVIRT_STEP_CPUS:
        step->old = current_cpus(ch->live_xml);
        return set_number(ch, step, wanted_number(step), ch->deadline, err);
    case LIBVIRT_STEP_ADD:
        return attach(ch, step, err);
    case LIBVIRT_STEP_REMOVE:
        return detach_step(ch, step, err);
    default:
        return 0;
    }
}

int libvirt_step_do(libvirt_changing *ch, libvirt_step *step, bool must, vmctl_error **err) {
    vmctl_error *why = NULL;
    int code = run_step(ch, step, &why);
    step->done = code == 0;
    bool device = step->kind == LIBVIRT_STEP_ADD || step->kind == LIBVIRT_STEP_REMOVE;
    bool lost = code == VMCTL_E_CANCELLED || code == VMCTL_E_UNAVAILABLE ||
                vmc_deadline_check(ch->deadline, "changing the VM", NULL) < 0;
    if (code == 0 || must || !device || lost) {
        vmc_error_move(err, &why);
        return code;
    }
    step->effect = VMCTL_EFFECT_AT_RESTART;
    const char *words = vmctl_error_hypervisor_message(why);
    vmc_note(ch->deadline, VMCTL_NOTE_WARNING, "%s.%s waits for a restart: %s", step->list, step->name,
             words ? words : vmctl_error_message(why));
    vmctl_error_free(why);
    return 0;
}

int libvirt_step_undo(libvirt_changing *ch, libvirt_step *step, const vmc_deadline *deadline, vmctl_error **err) {
    if (!step->done)
        return 0;
    switch (step->kind) {
    case LIBVIRT_STEP_TEXTS:
        return set_texts(ch, ch->live_xml, deadline, err);
    case LIBVIRT_STEP_LINK:
    case LIBVIRT_STEP_MEDIUM:
        return device_call(ch, UPDATE, step->undo_xml, deadline, err);
    case LIBVIRT_STEP_MEMORY:
    case LIBVIRT_STEP_CPUS:
        return set_number(ch, step, step->old, deadline, err);
    case LIBVIRT_STEP_ADD:
        return device_call(ch, DETACH, step->undo_xml, deadline, err);
    case LIBVIRT_STEP_REMOVE:
        return step->undo_xml ? device_call(ch, ATTACH, step->undo_xml, deadline, err) : 0;
    case LIBVIRT_STEP_SIZE:
        return vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "disk %s stays grown", step->name);
    default:
        return 0;
    }
}
