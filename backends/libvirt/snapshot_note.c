/* backends/libvirt/snapshot_note.c - the document of one snapshot, and what vmctl writes into it.
 *
 *   <snapshot xmlns='urn:vmctl:snapshot:1' id created name quiesced/>   in <domain><metadata>
 *
 * libvirt replaces the document of a snapshot as a whole (VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE, what virsh snapshot-edit does); disks and memory are
 * not touched by that, and the current mark stays.
 */
#include "domain_model.h"
#include "rpc.h"
#include "snapshot.h"
#include <stdlib.h>
#include <string.h>

#define NOTE_NS "urn:vmctl:snapshot:1"

static xmlNode *find_note(const xmlNode *domain) {
    LIBVIRT_XML_EACH(node, libvirt_xml_child(domain, "metadata"), "snapshot") {
        if (node->ns && strcmp((const char *)node->ns->href, NOTE_NS) == 0)
            return node;
    }
    return NULL;
}

bool libvirt_snapshot_note_read(const xmlNode *snapshot, const char **name, bool *quiesced) {
    const xmlNode *note = find_note(libvirt_xml_child(snapshot, "domain"));
    VMC_AUTO_FREE char *id = libvirt_xml_content(libvirt_xml_child(snapshot, "name"));
    VMC_AUTO_FREE char *created = libvirt_xml_content(libvirt_xml_child(snapshot, "creationTime"));
    if (!note || !id || !libvirt_xml_attr_is(note, "id", id) || !libvirt_xml_attr_is(note, "created", created))
        return false;
    *name = libvirt_xml_attr(note, "name");
    *quiesced = libvirt_xml_attr_is(note, "quiesced", "yes");
    return true;
}

void libvirt_snapshot_note_write(xmlDoc *snapshot, const char *name, bool quiesced) {
    xmlNode *root = xmlDocGetRootElement(snapshot);
    xmlNode *domain = libvirt_xml_child(root, "domain");
    VMC_AUTO_FREE char *id = libvirt_xml_content(libvirt_xml_child(root, "name"));
    VMC_AUTO_FREE char *created = libvirt_xml_content(libvirt_xml_child(root, "creationTime"));
    if (!domain)
        return;
    libvirt_xml_drop(find_note(domain));
    if (!name && !quiesced)
        return;
    xmlNode *note = libvirt_xml_add(libvirt_xml_ensure(domain, "metadata"), "snapshot", NULL);
    xmlSetNs(note, xmlNewNs(note, (const xmlChar *)NOTE_NS, (const xmlChar *)"vmctl-snapshot"));
    libvirt_xml_set(note, "id", id);
    libvirt_xml_set(note, "created", created);
    libvirt_xml_set(note, "name", name);
    libvirt_xml_set(note, "quiesced", quiesced ? "yes" : NULL);
}

/* --- the marker ---------------------------------------------------------------------------------------------- */

static xmlNode *file_of_path(const xmlNode *marker, const char *path) {
    LIBVIRT_XML_EACH(file, marker, "file") {
        if (libvirt_xml_attr_is(file, "path", path))
            return file;
    }
    return NULL;
}

static bool keep_attributes(xmlNode *marker, const xmlNode *present) {
    static const char *const names[] = {"version", "owner", "run", "created", "expires"};
    bool changed = false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *value = libvirt_xml_attr(present, names[i]);
        if (vmc_str_eq(libvirt_xml_attr(marker, names[i]), value))
            continue;
        libvirt_xml_set(marker, names[i], value);
        changed = true;
    }
    return changed;
}

static bool same_labels(const xmlNode *a, const xmlNode *b) {
    const xmlNode *left = libvirt_xml_child(a, "label"), *right = libvirt_xml_child(b, "label");
    for (; left && right; left = libvirt_xml_next(left, "label"), right = libvirt_xml_next(right, "label")) {
        VMC_AUTO_FREE char *one = libvirt_xml_content(left);
        VMC_AUTO_FREE char *other = libvirt_xml_content(right);
        if (!vmc_str_eq(libvirt_xml_attr(left, "key"), libvirt_xml_attr(right, "key")) || !vmc_str_eq(one, other))
            return false;
    }
    return !left && !right;
}

static xmlNode *add_copy(xmlNode *marker, const char *name) {
    xmlNode *node = libvirt_xml_add(marker, name, NULL);
    xmlSetNs(node, marker->ns);
    return node;
}

static bool keep_labels(xmlNode *marker, const xmlNode *present) {
    if (same_labels(marker, present))
        return false;
    libvirt_xml_drop_children(marker, "label");
    LIBVIRT_XML_EACH(label, present, "label") {
        VMC_AUTO_FREE char *value = libvirt_xml_content(label);
        xmlNode *copy = add_copy(marker, "label");
        libvirt_xml_set(copy, "key", libvirt_xml_attr(label, "key"));
        libvirt_xml_set_text(copy, value ? value : "");
    }
    return true;
}

/* Files of devices that the snapshot does not know: of no device then, but still the VM's. */
static bool keep_files(xmlNode *marker, const xmlNode *present) {
    bool changed = false;
    LIBVIRT_XML_EACH(file, present, "file") {
        const char *path = libvirt_xml_attr(file, "path");
        if (!path || file_of_path(marker, path))
            continue;
        xmlNode *copy = add_copy(marker, "file");
        libvirt_xml_set(copy, "path", path);
        libvirt_xml_set(copy, "origin", libvirt_xml_attr(file, "origin"));
        changed = true;
    }
    return changed;
}

static bool keep_in(xmlNode *domain, const xmlNode *present) {
    if (!domain)
        return false;
    libvirt_build build = {.doc = domain->doc, .domain = domain};
    bool changed = !libvirt_marker_find(domain);
    xmlNode *marker = libvirt_marker_ensure(&build);
    changed |= keep_attributes(marker, present);
    changed |= keep_labels(marker, present);
    changed |= keep_files(marker, present);
    return changed;
}

bool libvirt_snapshot_marker_keep(xmlDoc *snapshot, const char *definition) {
    LIBVIRT_AUTO_XML *doc = NULL;
    if (!definition ||
        libvirt_xml_parse(definition, "the domain's XML", "domain", VMCTL_E_INTERNAL, &doc, NULL, NULL) < 0)
        return false;
    const xmlNode *present = libvirt_marker_find(xmlDocGetRootElement(doc));
    if (!present)
        return false;
    xmlNode *root = xmlDocGetRootElement(snapshot);
    bool changed = keep_in(libvirt_xml_child(root, "domain"), present);
    return keep_in(libvirt_xml_child(root, "inactiveDomain"), present) || changed;
}

/* --- reading and storing --------------------------------------------------------------------------------------- */

/* domain and name -> out */
static int work_document(libvirt_rpc *rpc) {
    virDomainSnapshotPtr snapshot = virDomainSnapshotLookupByName(rpc->domain, rpc->name, 0);
    if (!snapshot)
        return -1;
    rpc->out = virDomainSnapshotGetXMLDesc(snapshot, VIR_DOMAIN_SNAPSHOT_XML_SECURE);
    if (!rpc->out)
        rpc->failure = virSaveLastError();
    virDomainSnapshotFree(snapshot);
    return rpc->out ? 0 : -1;
}

/* domain and text */
static int work_redefine(libvirt_rpc *rpc) {
    virDomainSnapshotPtr snapshot =
        virDomainSnapshotCreateXML(rpc->domain, rpc->text, VIR_DOMAIN_SNAPSHOT_CREATE_REDEFINE);
    if (!snapshot)
        return -1;
    virDomainSnapshotFree(snapshot);
    return 0;
}

int libvirt_snapshot_document(libvirt_conn *conn, const libvirt_vm *vm, const char *id, const vmc_deadline *deadline,
                              xmlDoc **out, vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(vm->domain);
    rpc->domain = vm->domain;
    rpc->name = vmc_strdup(id);
    int code = libvirt_rpc_run(conn, deadline, "reading the snapshot", work_document, rpc, err);
    if (code < 0)
        return code;
    return libvirt_xml_parse(rpc->out, "the snapshot's XML", "domainsnapshot", VMCTL_E_INTERNAL, out, NULL, err);
}

int libvirt_snapshot_redefine(libvirt_conn *conn, const libvirt_vm *vm, xmlDoc *document, const vmc_deadline *deadline,
                              vmctl_error **err) {
    LIBVIRT_AUTO_RPC *rpc = libvirt_rpc_new(conn);
    virDomainRef(vm->domain);
    rpc->domain = vm->domain;
    rpc->text = libvirt_xml_text(document);
    return libvirt_rpc_run(conn, deadline, "changing what libvirt knows of the snapshot", work_redefine, rpc, err);
}
