/* backends/libvirt/change_live.c - the steps of a change on the running domain, and taking them back. */
#include "change.h"

#include "rpc.h"
#include "xml_tree.h"
#include <stdlib.h>
#include <string.h>

/* --- devices in the documents ----------------------------------------------------------------------------- */

/* The lists of the spec, and the element that each is in the document. */
typedef struct device_list {
    const char *list, *element;
    vmctl_device_kind kind, other; /* as the facts call them */
} device_list;

static const device_list lists[] = {
    {"disks", "disk", VMCTL_DEVICE_DISK, VMCTL_DEVICE_CDROM},
    {"networks", "interface", VMCTL_DEVICE_NIC, VMCTL_DEVICE_NIC},
    {"shares", "filesystem", VMCTL_DEVICE_SHARE, VMCTL_DEVICE_SHARE},
    {"usb", "hostdev", VMCTL_DEVICE_USB, VMCTL_DEVICE_USB},
};

static const device_list *find_list(const char *name) {
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        if (vmc_str_eq(lists[i].list, name))
            return &lists[i];
    return NULL;
}

const vmctl_device *libvirt_step_device(const libvirt_domain_facts *facts, const char *list, const char *name) {
    const device_list *of = find_list(list);
    for (size_t i = 0; of && facts && i < facts->info.device_count; i++) {
        const vmctl_device *device = &facts->info.devices[i];
        if ((device->kind == of->kind || device->kind == of->other) && vmc_str_eq(device->name, name))
            return device;
    }
    return NULL;
}

/* The element of a NIC (by its MAC), of a disk (by its target), of a share (by its tag) or of another device (by its alias). */
static xmlNode *find_element(xmlDoc *doc, const char *list, const vmctl_device *device) {
    const device_list *of = find_list(list);
    xmlNode *devices = libvirt_xml_child(xmlDocGetRootElement(doc), "devices");
    VMC_AUTO_FREE char *alias = of && device->kind == VMCTL_DEVICE_USB ? libvirt_alias(device->name) : NULL;
    LIBVIRT_XML_EACH(node, devices, of ? of->element : "none") {
        const char *id = device->kind == VMCTL_DEVICE_NIC     ? libvirt_xml_attr_at(node, "mac", "address")
                         : device->kind == VMCTL_DEVICE_SHARE ? libvirt_xml_attr_at(node, "target", "dir")
                         : alias                              ? libvirt_xml_attr_at(node, "alias", "name")
                                                              : libvirt_xml_attr_at(node, "target", "dev");
        const char *wanted = device->kind == VMCTL_DEVICE_NIC ? device->mac : alias ? alias : device->target;
        if (id && wanted && strcasecmp(id, wanted) == 0)
            return node;
    }
    return NULL;
}

/* One device of a document as text; NULL: it is not there. *alias (may be NULL): libvirt's name of it, free. */
static char *device_text(const char *xml, const char *list, const vmctl_device *device, char **alias) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!device || libvirt_xml_parse(xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return NULL;
    xmlNode *node = find_element(doc, list, device);
    if (node && alias)
        *alias = vmc_strdup(libvirt_xml_attr_at(node, "alias", "name"));
    return node ? libvirt_xml_node_text(doc, node) : NULL;
}

/* --- on the worker ---------------------------------------------------------------------------------------- */

enum device_call { ATTACH, UPDATE };

/* domain, text (a device), number (which call) and flags */
static int work_device(libvirt_rpc *rpc) {
    if (rpc->number == ATTACH)
        return virDomainAttachDeviceFlags(rpc->domain, rpc->text, rpc->flags);
    return virDomainUpdateDeviceFlags(rpc->domain, rpc->text, rpc->flags);
}

/* domain, text (description; NULL: none), out (the marker; NULL: none) */
static int work_texts(libvirt_rpc *rpc) {
    if (virDomainSetMetadata(rpc->domain, VIR_DOMAIN_METADATA_DESCRIPTION, rpc->text, NULL, NULL,
                             VIR_DOMAIN_AFFECT_LIVE) < 0)
        return -1;
    return virDomainSetMetadata(rpc->domain, VIR_DOMAIN_METADATA_ELEMENT, rpc->out, rpc->out ? "vmctl" : NULL,
                                LIBVIRT_VMCTL_NS, VIR_DOMAIN_AFFECT_LIVE);
}

static int device_call(const libvirt_changing *ch, enum device_call which, const char *xml, unsigned flags,
                       const vmc_deadline *deadline, vmctl_error **err) {
    static const char *const doing[] = {"attaching the device", "changing the device"};
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
    rpc->text = vmc_strdup(xml);
    rpc->number = which;
    rpc->flags = flags | VIR_DOMAIN_AFFECT_LIVE;
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

int libvirt_live_texts(const libvirt_changing *ch, const char *xml, const vmc_deadline *deadline, vmctl_error **err) {
    LIBVIRT_AUTO_XML *doc = NULL;
    int code = libvirt_xml_parse(xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    LIBVIRT_AUTO_RPC *rpc = libvirt_changing_rpc(ch);
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

/* --- what libvirt says -------------------------------------------------------------------------------------- */

int libvirt_step_explain(const libvirt_changing *ch, const libvirt_step *step, vmctl_error **err) {
    const char *words = err ? vmctl_error_hypervisor_message(*err) : NULL;
    int code = err && *err ? vmctl_error_code(*err) : VMCTL_E_INTERNAL;
    if (!words)
        return code;
    static const struct {
        const char *words;
        int code;
        const char *next;
    } known[] = {
        {"No more available PCI slots", VMCTL_E_RESOURCE_EXHAUSTED,
         "detach a device that is not needed, or take bus: scsi or bus: usb, whose disks need no slot of their own"},
        {"Did not find USB device", VMCTL_E_NOT_FOUND, "lsusb shows the devices of the hypervisor's host"},
        {"/sys/bus/usb/devices", VMCTL_E_NOT_FOUND, "the hypervisor's host has no USB"},
        {"Multiple USB devices", VMCTL_E_AMBIGUOUS, "say which by address: BUS:DEVICE, as lsusb shows it"},
        {"is in use by driver", VMCTL_E_BUSY, "detach it from that VM first"},
        {"Failed to get \"write\" lock", VMCTL_E_BUSY, "stop the VM that uses the disk, or detach it there first"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (!strstr(words, known[i].words))
            continue;
        vmc_error_next(err, "%s", known[i].next);
        return vmc_error_recode(err, known[i].code);
    }
    if (step->kind == LIBVIRT_STEP_MEDIUM && !ch->force && (strstr(words, "tray") || strstr(words, "locked"))) {
        vmc_error_next(err, "eject it inside the guest, or take it away from the guest with --force");
        return vmc_error_recode(err, VMCTL_E_BUSY);
    }
    return code;
}

/* --- devices ---------------------------------------------------------------------------------------------- */

static int lacking(const libvirt_step *step, vmctl_error **err) {
    return vmc_error(err, VMCTL_E_CONFLICT, "%s.%s is not there any more", step->list, step->name);
}

static int set_link(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *device = libvirt_step_device(ch->now, step->list, step->name);
    LIBVIRT_AUTO_XML *doc = NULL;
    step->undo_xml = device_text(ch->live_xml, step->list, device, NULL);
    if (!step->undo_xml)
        return lacking(step, err);
    int code = libvirt_xml_parse(step->undo_xml, "the NIC's XML", NULL, VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code < 0)
        return code;
    xmlNode *nic = xmlDocGetRootElement(doc);
    libvirt_xml_set(libvirt_xml_ensure(nic, "link"), "state", vmctl_node_string(step->change->want, NULL, "up"));
    VMC_AUTO_FREE char *xml = libvirt_xml_node_text(doc, nic);
    return device_call(ch, UPDATE, xml, 0, ch->deadline, err);
}

/* The medium as the definition has it now, in the drive that runs. */
static int set_medium(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *device = libvirt_step_device(ch->now, step->list, step->name);
    step->undo_xml = device_text(ch->live_xml, step->list, device, NULL);
    VMC_AUTO_FREE char *xml = device_text(ch->new_xml, step->list, device, NULL);
    if (!step->undo_xml || !xml)
        return lacking(step, err);
    return device_call(ch, UPDATE, xml, ch->force ? VIR_DOMAIN_DEVICE_MODIFY_FORCE : 0, ch->deadline, err);
}

static bool has_controller(const xmlNode *devices, const char *type, const char *index) {
    LIBVIRT_XML_EACH(controller, devices, "controller") {
        if (libvirt_xml_attr_is(controller, "type", type) && libvirt_xml_attr_is(controller, "index", index))
            return true;
    }
    return false;
}

static bool same_place(const xmlNode *a, const xmlNode *b) {
    static const char *const parts[] = {"type",     "domain", "controller", "bus", "slot",
                                        "function", "target", "unit",       "port"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (!vmc_str_eq(libvirt_xml_attr(a, parts[i]), libvirt_xml_attr(b, parts[i])))
            return false;
    return true;
}

/* The place that the definition gives a device is the running domain's too, where it has it free: then a restart moves nothing. */
static bool is_free(const xmlNode *devices, const xmlNode *address) {
    const char *type = libvirt_xml_attr(address, "type"), *bus = libvirt_xml_attr(address, "bus");
    if (vmc_str_eq(type, "pci")) {
        VMC_AUTO_FREE char *index = bus ? vmc_printf("%ld", strtol(bus, NULL, 16)) : NULL;
        if (!index || !has_controller(devices, "pci", index))
            return false;
    }
    LIBVIRT_XML_EACH(device, devices, NULL) {
        LIBVIRT_XML_EACH(taken, device, "address") {
            if (same_place(taken, address))
                return false;
        }
    }
    return type != NULL;
}

static int attach_node(libvirt_changing *ch, xmlDoc *doc, xmlNode *node, const xmlNode *live_devices,
                       vmctl_error **err) {
    const xmlNode *address = libvirt_xml_child(node, "address");
    if (address && !is_free(live_devices, address))
        libvirt_xml_drop_children(node, "address");
    VMC_AUTO_FREE char *xml = libvirt_xml_node_text(doc, node);
    return device_call(ch, ATTACH, xml, 0, ch->deadline, err);
}

/* SCSI controllers that came with the disk; libvirt alone would choose a model that guests may have no driver for. They stay, also when
 * the disk goes. */
static int attach_controllers(libvirt_changing *ch, xmlDoc *doc, const xmlNode *live_devices, vmctl_error **err) {
    int code = 0;
    LIBVIRT_XML_EACH(controller, libvirt_xml_child(xmlDocGetRootElement(doc), "devices"), "controller") {
        const char *index = libvirt_xml_attr(controller, "index");
        if (code == 0 && libvirt_xml_attr_is(controller, "type", "scsi") && index &&
            !has_controller(live_devices, "scsi", index))
            code = attach_node(ch, doc, controller, live_devices, err);
    }
    return code;
}

static int attach(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    libvirt_domain_facts *facts = NULL;
    LIBVIRT_AUTO_XML *doc = NULL;
    LIBVIRT_AUTO_XML *live = NULL;
    int code = libvirt_domain_facts_read(ch->new_xml, &facts, err);
    if (code == 0)
        code = libvirt_xml_parse(ch->new_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, err);
    if (code == 0)
        code = libvirt_xml_parse(ch->live_xml, "the domain XML", "domain", VMCTL_E_INTERNAL, &live, NULL, err);
    const vmctl_device *device = code == 0 ? libvirt_step_device(facts, step->list, step->name) : NULL;
    xmlNode *node = device ? find_element(doc, step->list, device) : NULL;
    const xmlNode *live_devices = live ? libvirt_xml_child(xmlDocGetRootElement(live), "devices") : NULL;
    if (code == 0 && !node)
        code = lacking(step, err);
    if (code == 0 && vmc_str_eq(device->bus, "scsi"))
        code = attach_controllers(ch, doc, live_devices, err);
    if (code == 0) {
        step->alias = vmc_strdup(libvirt_xml_attr_at(node, "alias", "name"));
        code = attach_node(ch, doc, node, live_devices, err);
    }
    libvirt_domain_facts_free(facts);
    return code;
}

static int detach(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    const vmctl_device *device = libvirt_step_device(ch->now, step->list, step->name);
    VMC_AUTO_FREE char *alias = NULL;
    step->undo_xml = device_text(ch->live_xml, step->list, device, &alias);
    if (!step->undo_xml) /* it waited for the next start, and never came */
        return 0;
    return libvirt_unplug(ch, alias, step->name, ch->deadline, err);
}

/* --- the steps -------------------------------------------------------------------------------------------- */

static void later(libvirt_step *step, char *why) {
    step->effect = VMCTL_EFFECT_AT_RESTART;
    free(step->why);
    step->why = why;
}

static void settle_device(const libvirt_changing *ch, libvirt_step *step, const vmctl_device *device) {
    const bool adding = step->kind == LIBVIRT_STEP_ADD;
    char *why = libvirt_device_obstacle(ch->conn, ch->host.libvirt_version, ch->live_xml, device, adding);
    if (why)
        later(step, why);
}

static void settle_add(const libvirt_changing *ch, libvirt_step *step, const libvirt_domain_facts *planned) {
    const vmctl_device *device = libvirt_step_device(planned, step->list, step->name);
    if (!device)
        later(step, NULL);
    else if (vmctl_node_count(vmctl_node_get(step->change->want, "forward")))
        later(step, vmc_strdup("port forwards are set when QEMU starts"));
    else
        settle_device(ch, step, device);
}

static void settle_remove(const libvirt_changing *ch, libvirt_step *step) {
    const vmctl_device *device = libvirt_step_device(ch->now, step->list, step->name);
    if (device)
        settle_device(ch, step, device);
}

void libvirt_step_settle(const libvirt_changing *ch, libvirt_step *step, const libvirt_domain_facts *planned) {
    step->effect = VMCTL_EFFECT_NOW;
    if (ch->saved && step->kind != LIBVIRT_STEP_AUTOSTART)
        later(step, vmc_strdup(LIBVIRT_SAVED_OBSTACLE));
    if (!ch->active)
        return;
    switch (step->kind) {
    case LIBVIRT_STEP_AUTOSTART:
    case LIBVIRT_STEP_TEXTS:
    case LIBVIRT_STEP_SIZE:
        break;
    case LIBVIRT_STEP_LINK:
    case LIBVIRT_STEP_MEDIUM:
        if (!libvirt_step_device(ch->now, step->list, step->name))
            later(step, vmc_strdup("the device itself waits for it"));
        break;
    case LIBVIRT_STEP_MEMORY:
    case LIBVIRT_STEP_CPUS:
        libvirt_number_settle(ch, step);
        break;
    case LIBVIRT_STEP_ADD:
        settle_add(ch, step, planned);
        break;
    case LIBVIRT_STEP_REMOVE:
        settle_remove(ch, step);
        break;
    default:
        later(step, NULL);
    }
}

static int run_step(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    switch (step->kind) {
    case LIBVIRT_STEP_TEXTS:
        return libvirt_live_texts(ch, ch->new_xml, ch->deadline, err);
    case LIBVIRT_STEP_LINK:
        return set_link(ch, step, err);
    case LIBVIRT_STEP_MEDIUM:
        return set_medium(ch, step, err);
    case LIBVIRT_STEP_MEMORY:
    case LIBVIRT_STEP_CPUS:
        return libvirt_number_do(ch, step, err);
    case LIBVIRT_STEP_ADD:
        return attach(ch, step, err);
    case LIBVIRT_STEP_REMOVE:
        return detach(ch, step, err);
    default:
        return 0;
    }
}

/* A restart mends it: nobody has to do anything but to wait for it. */
static bool waits(const libvirt_step *step, int code) {
    switch (step->kind) {
    case LIBVIRT_STEP_ADD:
        return code == VMCTL_E_UNSUPPORTED || code == VMCTL_E_RESOURCE_EXHAUSTED || code == VMCTL_E_INVALID_STATE;
    case LIBVIRT_STEP_REMOVE:
    case LIBVIRT_STEP_MEMORY:
    case LIBVIRT_STEP_CPUS:
        return true;
    default:
        return false;
    }
}

int libvirt_step_do(libvirt_changing *ch, libvirt_step *step, vmctl_error **err) {
    vmctl_error *why = NULL;
    int code = run_step(ch, step, &why);
    step->done = code == 0;
    if (code < 0)
        code = libvirt_step_explain(ch, step, &why);
    bool lost = code == VMCTL_E_CANCELLED || code == VMCTL_E_UNAVAILABLE ||
                vmc_deadline_check(ch->deadline, "changing the VM", NULL) < 0;
    if (code == 0 || ch->live || lost || !waits(step, code)) {
        vmc_error_move(err, &why);
        return code;
    }
    const char *words = vmctl_error_hypervisor_message(why);
    later(step, vmc_strdup(words ? words : vmctl_error_message(why)));
    vmc_note(ch->deadline, VMCTL_NOTE_WARNING, "%s waits for a restart: %s", step->change->path, step->why);
    vmctl_error_free(why);
    return 0;
}

int libvirt_step_undo(libvirt_changing *ch, libvirt_step *step, const vmc_deadline *deadline, vmctl_error **err) {
    if (step->kind == LIBVIRT_STEP_MEMORY || step->kind == LIBVIRT_STEP_CPUS)
        return libvirt_number_undo(ch, step, deadline, err);
    if (!step->done)
        return 0;
    switch (step->kind) {
    case LIBVIRT_STEP_TEXTS:
        return libvirt_live_texts(ch, ch->live_xml, deadline, err);
    case LIBVIRT_STEP_LINK:
    case LIBVIRT_STEP_MEDIUM:
        return device_call(ch, UPDATE, step->undo_xml, 0, deadline, err);
    case LIBVIRT_STEP_ADD:
        return libvirt_unplug(ch, step->alias, step->name, deadline, err);
    case LIBVIRT_STEP_REMOVE:
        return step->undo_xml ? device_call(ch, ATTACH, step->undo_xml, 0, deadline, err) : 0;
    case LIBVIRT_STEP_SIZE:
        return vmc_error(err, VMCTL_E_DATA_LOSS_PREVENTED, "disk %s stays grown", step->name);
    default:
        return 0;
    }
}
