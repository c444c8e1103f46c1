/* backends/libvirt/xpath.c - small pieces of libvirt's pool and volume documents. */
#include "xpath.h"

#include <libxml/parser.h>
#include <libxml/xpath.h>
#include <string.h>

void libvirt_xpath_texts(const char *xml, const char *xpath, vmc_strv *out) {
    xmlDocPtr doc = xmlReadMemory(xml, (int)strlen(xml), "libvirt.xml", NULL,
                                  XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    xmlXPathContextPtr context = doc ? xmlXPathNewContext(doc) : NULL;
    xmlXPathObjectPtr found = context ? xmlXPathEvalExpression((const xmlChar *)xpath, context) : NULL;
    int count = found && found->nodesetval ? found->nodesetval->nodeNr : 0;
    for (int i = 0; i < count; i++) {
        xmlChar *text = xmlNodeGetContent(found->nodesetval->nodeTab[i]);
        if (text)
            vmc_strv_add(out, (const char *)text);
        xmlFree(text);
    }
    xmlXPathFreeObject(found);
    xmlXPathFreeContext(context);
    xmlFreeDoc(doc);
}

char *libvirt_xpath_text(const char *xml, const char *xpath) {
    VMC_AUTO_STRV all = {0};
    libvirt_xpath_texts(xml, xpath, &all);
    return all.count ? vmc_strdup(all.items[0]) : NULL;
}

void libvirt_xml_escape(vmc_str *s, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '<':
            vmc_str_add(s, "&lt;");
            break;
        case '>':
            vmc_str_add(s, "&gt;");
            break;
        case '&':
            vmc_str_add(s, "&amp;");
            break;
        case '\'':
            vmc_str_add(s, "&apos;");
            break;
        case '"':
            vmc_str_add(s, "&quot;");
            break;
        default:
            vmc_str_add_char(s, *text);
        }
    }
}
