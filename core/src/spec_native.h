/* src/spec_native.h - documents in a hypervisor's own language: told from a vm.yaml, named, and otherwise left as they are. */
#ifndef VMC_SRC_SPEC_NATIVE_H
#define VMC_SRC_SPEC_NATIVE_H

#include "spec_raw.h"

/* Whether the text is XML rather than YAML: its first character that is no white space is '<'. */
bool vmc_native_is_xml(const char *text, size_t length);
/* A libvirt <domain> as a spec; NULL and a fault when it is other XML. */
vmctl_spec *vmc_native_domain(const char *text, size_t length, vmc_faults *faults);

/* Whether a document is a Kubernetes object rather than a vm.yaml: it has an apiVersion. */
bool vmc_native_is_kubernetes(const vmc_raw *root);
/* A KubeVirt VirtualMachine as a spec, its text kept; NULL and a fault when it is another object. */
vmctl_spec *vmc_native_kubernetes(const vmc_raw_document *document, const char *text, vmc_faults *faults);

#endif
