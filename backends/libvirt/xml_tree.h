/* backends/libvirt/xml_tree.h - reading, building and changing XML trees with libxml2, in few words.
 *
 * Documents of people and of hypervisors are read without network access, entities from outside or huge-file options. Names are compared
 * without their prefix: domain XML has no namespace, and the two that it carries (qemu, vmctl) have distinct names.
 */
#ifndef VMC_LIBVIRT_XML_TREE_H
#define VMC_LIBVIRT_XML_TREE_H

#include "base/error.h"
#include "base/str.h"
#include <libxml/tree.h>

#define LIBVIRT_QEMU_NS  "http://libvirt.org/schemas/domain/qemu/1.0"
#define LIBVIRT_VMCTL_NS "urn:vmctl:1"

void libvirt_xml_free(xmlDoc **doc);
#define LIBVIRT_AUTO_XML vmc_cleanup(libvirt_xml_free) xmlDoc

/* `what` names the document in the error ("the domain XML"). root NULL: any root element. VMCTL_E_INTERNAL would blame the
 * wrong one, so the caller says with `code` whose document it is. *line (may be NULL) is where the text is wrong. */
int libvirt_xml_parse(const char *text, const char *what, const char *root, int code, xmlDoc **out, unsigned *line,
                      vmctl_error **err);
/* Pretty printed, without the XML declaration, newline at the end; free. */
char *libvirt_xml_text(xmlDoc *doc);
char *libvirt_xml_node_text(xmlDoc *doc, xmlNode *node);

/* The first child element of that name (NULL: of any), and the next sibling element of that name. NULL in, NULL out. */
xmlNode *libvirt_xml_child(const xmlNode *parent, const char *name);
xmlNode *libvirt_xml_next(const xmlNode *node, const char *name);
/* "os/loader": the first of each. */
xmlNode *libvirt_xml_find(const xmlNode *parent, const char *path);
bool libvirt_xml_is(const xmlNode *node, const char *name);
size_t libvirt_xml_count(const xmlNode *parent, const char *name);
/* NOLINTBEGIN(bugprone-macro-parentheses): a declared name cannot be in parentheses */
#define LIBVIRT_XML_EACH(node, parent, name)                                                                           \
    for (xmlNode *node = libvirt_xml_child(parent, name); node; node = libvirt_xml_next(node, name))
/* NOLINTEND(bugprone-macro-parentheses) */

/* Borrowed; valid until the tree changes. NULL when absent. */
const char *libvirt_xml_attr(const xmlNode *node, const char *name);
const char *libvirt_xml_attr_at(const xmlNode *parent, const char *path, const char *name);
bool libvirt_xml_attr_is(const xmlNode *node, const char *name, const char *value);
char *libvirt_xml_content(const xmlNode *node); /* text without white space around it; free; NULL for NULL */
bool libvirt_xml_number(const char *text, unsigned long long *out);
/* <memory unit='KiB'>: bytes, as formatdomain's scaled integers; `unit` is the default unit of the element. */
bool libvirt_xml_bytes(const xmlNode *node, unsigned long long unit, unsigned long long *out);

/* Adds <name attr='value' ...>; a NULL value leaves its attribute out. Ended by a NULL attribute name. */
xmlNode *libvirt_xml_add(xmlNode *parent, const char *name, ...) __attribute__((sentinel));
xmlNode *libvirt_xml_add_text(xmlNode *parent, const char *name, const char *text);
/* The child, added at the end when there is none. */
xmlNode *libvirt_xml_ensure(xmlNode *parent, const char *name);
void libvirt_xml_set(xmlNode *node, const char *name, const char *value); /* NULL removes it */
void libvirt_xml_set_number(xmlNode *node, const char *name, unsigned long long value);
void libvirt_xml_set_text(xmlNode *node, const char *text);
void libvirt_xml_drop(xmlNode *node); /* with the white space before it; NULL is allowed */
void libvirt_xml_drop_children(xmlNode *parent, const char *name);
/* An element of the namespace, declared on the root with that prefix when it is not yet. */
xmlNode *libvirt_xml_add_ns(xmlNode *parent, const char *prefix, const char *uri, const char *name);
/* Gives what was added to a pretty printed tree the white space of its place; only around nodes that have none. */
void libvirt_xml_indent(xmlDoc *doc);

#endif
