/* The one list of backends; core declares it (core/src/registry.h). */
#include "../core/src/registry.h"

extern const vmctl_backend_descriptor vmc_libvirt_descriptor, vmc_virtualbox_descriptor, vmc_kubevirt_descriptor;

#ifdef VMCTL_STATIC_BACKENDS
const vmctl_backend_ops *vmctl_backend_libvirt(void);
const vmctl_backend_ops *vmctl_backend_virtualbox(void);
const vmctl_backend_ops *vmctl_backend_kubevirt(void);
const vmc_tools *vmctl_tools_entry(void);
#define COMPILED_IN(symbol) symbol
#else
#define COMPILED_IN(symbol) NULL
#endif

const vmc_registry_entry vmc_registry[] = {
    {&vmc_libvirt_descriptor, COMPILED_IN(vmctl_backend_libvirt)},
    {&vmc_virtualbox_descriptor, COMPILED_IN(vmctl_backend_virtualbox)},
    {&vmc_kubevirt_descriptor, COMPILED_IN(vmctl_backend_kubevirt)},
    {NULL, NULL},
};

const vmc_tools_entry_fn vmc_registry_tools = COMPILED_IN(vmctl_tools_entry);
