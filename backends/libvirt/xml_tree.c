/* backends/libvirt/xml_tree.c - see xml_tree.h. */
#include "xml_tree.h"
#include <ctype.h>
#include <errno.h>
#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define X(text) ((const xmlChar *)(text))

void libvirt_xml_free(xmlDoc **doc) {
    if (doc && *doc) {
        xmlFreeDoc(*doc);
        *doc = NULL;
    }
}

int libvirt_xml_parse(const char *text, const char *what, const char *root, int code, xmlDoc **out, unsigned *line,
                      vmctl_error **err) {
    *out = NULL;
    if (line)
        *line = 0;
    size_t length = strlen(text);
    if (length > INT_MAX)
        return vmc_error(err, code, "%s is too large", what);
    xmlParserCtxt *parser = xmlNewParserCtxt();
    if (!parser)
        return vmc_error_no_memory(err);
    /* libxml2 prints to stderr otherwise; NOENT is not given, so entities are never replaced. */
    xmlDoc *doc = xmlCtxtReadMemory(parser, text, (int)length, NULL, "UTF-8",
                                    XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (!doc || !parser->wellFormed) {
        const xmlError *last = xmlCtxtGetLastError(parser);
        unsigned where = last && last->line > 0 ? (unsigned)last->line : 0;
        VMC_AUTO_FREE char *words = vmc_strdup(last && last->message ? last->message : "not well-formed");
        size_t end = strlen(words);
        while (end > 0 && isspace((unsigned char)words[end - 1]))
            words[--end] = '\0';
        if (line)
            *line = where;
        vmc_error(err, code, "line %u of %s: %s", where, what, words);
    } else if (doc->intSubset) {
        vmc_error(err, code, "%s has a document type declaration, which domain XML has no use for", what);
    } else if (root && !libvirt_xml_is(xmlDocGetRootElement(doc), root)) {
        if (line)
            *line = 1;
        vmc_error(err, code, "%s is a <%s>, not a <%s>", what, (const char *)xmlDocGetRootElement(doc)->name, root);
    } else {
        *out = doc;
        doc = NULL;
    }
    if (doc)
        xmlFreeDoc(doc);
    xmlFreeParserCtxt(parser);
    return *out ? 0 : code;
}

static char *dump(xmlDoc *doc, xmlNode *node) {
    xmlBuffer *buffer = xmlBufferCreate();
    if (!buffer)
        abort();
    xmlNodeDump(buffer, doc, node, 0, 1);
    char *text = vmc_printf("%s\n", (const char *)xmlBufferContent(buffer));
    xmlBufferFree(buffer);
    return text;
}

char *libvirt_xml_text(xmlDoc *doc) {
    libvirt_xml_indent(doc);
    return dump(doc, xmlDocGetRootElement(doc));
}

char *libvirt_xml_node_text(xmlDoc *doc, xmlNode *node) {
    return dump(doc, node);
}

bool libvirt_xml_is(const xmlNode *node, const char *name) {
    return node && node->type == XML_ELEMENT_NODE && (!name || strcmp((const char *)node->name, name) == 0);
}

xmlNode *libvirt_xml_child(const xmlNode *parent, const char *name) {
    xmlNode *child = parent ? parent->children : NULL;
    while (child && !libvirt_xml_is(child, name))
        child = child->next;
    return child;
}

xmlNode *libvirt_xml_next(const xmlNode *node, const char *name) {
    xmlNode *next = node ? node->next : NULL;
    while (next && !libvirt_xml_is(next, name))
        next = next->next;
    return next;
}

xmlNode *libvirt_xml_find(const xmlNode *parent, const char *path) {
    xmlNode *node = NULL;
    const xmlNode *at = parent;
    for (const char *step = path; *step;) {
        size_t length = strcspn(step, "/");
        VMC_AUTO_FREE char *name = vmc_strndup(step, length);
        node = libvirt_xml_child(at, name);
        if (!node)
            return NULL;
        at = node;
        step += length + (step[length] == '/');
    }
    return node;
}

size_t libvirt_xml_count(const xmlNode *parent, const char *name) {
    size_t count = 0;
    LIBVIRT_XML_EACH(node, parent, name)
    count++;
    return count;
}

/* An attribute without entities has one text child, which can be lent. */
const char *libvirt_xml_attr(const xmlNode *node, const char *name) {
    if (!node || node->type != XML_ELEMENT_NODE)
        return NULL;
    for (const xmlAttr *attr = node->properties; attr; attr = attr->next) {
        if (strcmp((const char *)attr->name, name) != 0)
            continue;
        if (!attr->children)
            return "";
        return attr->children->content ? (const char *)attr->children->content : "";
    }
    return NULL;
}

const char *libvirt_xml_attr_at(const xmlNode *parent, const char *path, const char *name) {
    return libvirt_xml_attr(libvirt_xml_find(parent, path), name);
}

bool libvirt_xml_attr_is(const xmlNode *node, const char *name, const char *value) {
    return vmc_str_eq(libvirt_xml_attr(node, name), value);
}

char *libvirt_xml_content(const xmlNode *node) {
    if (!node)
        return NULL;
    xmlChar *raw = xmlNodeGetContent(node);
    const char *text = raw ? (const char *)raw : "";
    while (isspace((unsigned char)*text))
        text++;
    size_t length = strlen(text);
    while (length > 0 && isspace((unsigned char)text[length - 1]))
        length--;
    char *copy = vmc_strndup(text, length);
    xmlFree(raw);
    return copy;
}

bool libvirt_xml_number(const char *text, unsigned long long *out) {
    if (!text || !isdigit((unsigned char)*text))
        return false;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end)
        return false;
    *out = value;
    return true;
}

bool libvirt_xml_bytes(const xmlNode *node, unsigned long long unit, unsigned long long *out) {
    static const struct {
        const char *name;
        unsigned long long bytes;
    } units[] = {
        {"b", 1},          {"bytes", 1},        {"byte", 1},
        {"k", 1ull << 10}, {"KiB", 1ull << 10}, {"KB", 1000},
        {"M", 1ull << 20}, {"MiB", 1ull << 20}, {"MB", 1000000},
        {"G", 1ull << 30}, {"GiB", 1ull << 30}, {"GB", 1000000000},
        {"T", 1ull << 40}, {"TiB", 1ull << 40}, {"TB", 1000000000000},
    };
    VMC_AUTO_FREE char *text = libvirt_xml_content(node);
    unsigned long long value;
    if (!libvirt_xml_number(text, &value))
        return false;
    const char *given = libvirt_xml_attr(node, "unit");
    for (size_t i = 0; given && i < sizeof units / sizeof units[0]; i++) {
        if (strcasecmp(units[i].name, given) == 0)
            unit = units[i].bytes;
    }
    return !__builtin_mul_overflow(value, unit, out);
}

static bool blank(const xmlNode *node) {
    return node && node->type == XML_TEXT_NODE && xmlIsBlankNode(node);
}

static void drop_blank(xmlNode *node) {
    if (blank(node)) {
        xmlUnlinkNode(node);
        xmlFreeNode(node);
    }
}

static xmlNode *append(xmlNode *parent, const char *name) {
    drop_blank(parent->last); /* the white space before the closing tag, which libvirt_xml_indent puts back */
    xmlNode *node = xmlNewNode(NULL, X(name));
    if (!node || !xmlAddChild(parent, node))
        abort();
    return node;
}

xmlNode *libvirt_xml_add(xmlNode *parent, const char *name, ...) {
    xmlNode *node = append(parent, name);
    va_list args;
    va_start(args, name);
    for (const char *attr; (attr = va_arg(args, const char *)) != NULL;) {
        const char *value = va_arg(args, const char *);
        if (value)
            libvirt_xml_set(node, attr, value);
    }
    va_end(args);
    return node;
}

xmlNode *libvirt_xml_add_text(xmlNode *parent, const char *name, const char *text) {
    xmlNode *node = append(parent, name);
    libvirt_xml_set_text(node, text);
    return node;
}

xmlNode *libvirt_xml_ensure(xmlNode *parent, const char *name) {
    xmlNode *node = libvirt_xml_child(parent, name);
    return node ? node : append(parent, name);
}

void libvirt_xml_set(xmlNode *node, const char *name, const char *value) {
    if (value) {
        if (!xmlSetProp(node, X(name), X(value)))
            abort();
    } else {
        xmlUnsetProp(node, X(name));
    }
}

void libvirt_xml_set_number(xmlNode *node, const char *name, unsigned long long value) {
    VMC_AUTO_FREE char *text = vmc_printf("%llu", value);
    libvirt_xml_set(node, name, text);
}

void libvirt_xml_set_text(xmlNode *node, const char *text) {
    xmlNodeSetContent(node, NULL);
    if (*text)
        xmlNodeAddContent(node, X(text)); /* escapes, which xmlNodeSetContent does not */
}

void libvirt_xml_drop(xmlNode *node) {
    if (!node)
        return;
    xmlNode *parent = node->parent;
    drop_blank(node->prev);
    xmlUnlinkNode(node);
    xmlFreeNode(node);
    if (parent && parent->children == parent->last)
        drop_blank(parent->last);
}

void libvirt_xml_drop_children(xmlNode *parent, const char *name) {
    for (xmlNode *child = libvirt_xml_child(parent, name); child;) {
        xmlNode *next = libvirt_xml_next(child, name);
        libvirt_xml_drop(child);
        child = next;
    }
}

xmlNode *libvirt_xml_add_ns(xmlNode *parent, const char *prefix, const char *uri, const char *name) {
    xmlNs *ns = xmlSearchNsByHref(parent->doc, parent, X(uri));
    if (!ns)
        ns = xmlNewNs(xmlDocGetRootElement(parent->doc), X(uri), X(prefix));
    xmlNode *node = append(parent, name);
    xmlSetNs(node, ns);
    return node;
}

static void indent(xmlNode *parent, int depth) {
    bool mixed = false; /* text between elements is somebody's content */
    for (const xmlNode *child = parent->children; child; child = child->next) {
        if (child->type != XML_ELEMENT_NODE && child->type != XML_COMMENT_NODE && !blank(child))
            mixed = true;
    }
    if (mixed || !libvirt_xml_child(parent, NULL))
        return;
    VMC_AUTO_FREE char *inner = vmc_printf("\n%*s", 2 * (depth + 1), "");
    VMC_AUTO_FREE char *outer = vmc_printf("\n%*s", 2 * depth, "");
    for (xmlNode *child = parent->children; child; child = child->next) {
        if (child->type == XML_TEXT_NODE)
            continue;
        if (!blank(child->prev))
            xmlAddPrevSibling(child, xmlNewText(X(inner)));
        if (child->type == XML_ELEMENT_NODE)
            indent(child, depth + 1);
    }
    if (!blank(parent->last))
        xmlAddChild(parent, xmlNewText(X(outer)));
}

void libvirt_xml_indent(xmlDoc *doc) {
    indent(xmlDocGetRootElement(doc), 0);
}
