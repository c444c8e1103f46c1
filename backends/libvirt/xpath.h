/* backends/libvirt/xpath.h - small pieces of libvirt's pool and volume documents. */
#ifndef VMC_LIBVIRT_XPATH_H
#define VMC_LIBVIRT_XPATH_H

#include "base/str.h"

/* The text of the first node that an XPath expression finds; NULL: none, or no XML. free. */
char *libvirt_xpath_text(const char *xml, const char *xpath);
/* All of them, in the document's order. */
void libvirt_xpath_texts(const char *xml, const char *xpath, vmc_strv *out);
/* Adds a text as an element's content or a quoted attribute's value. */
void libvirt_xml_escape(vmc_str *s, const char *text);

#endif
