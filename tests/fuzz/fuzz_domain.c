/* Any text as a libvirt domain document: its facts and its spec, or an error. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "backends/libvirt/domain_xml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = 0;
    vmctl_error *err = NULL;
    vmctl_spec *spec = NULL;
    libvirt_domain_facts *facts = NULL;
    if (libvirt_domain_facts_read(text, &facts, NULL) == 0)
        libvirt_domain_facts_free(facts);
    int rc = libvirt_domain_spec(text, &spec, &err);
    if ((rc < 0) != (err != NULL))
        abort();
    if (rc == 0)
        vmctl_spec_free(spec);
    vmctl_error_free(err);
    free(text);
    return 0;
}
