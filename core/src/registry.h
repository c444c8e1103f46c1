/* src/registry.h - the one list of backends (defined in backends/registry.c; core only declares it). */
#ifndef VMC_SRC_REGISTRY_H
#define VMC_SRC_REGISTRY_H

#include "tools.h"
#include <vmctl/backend.h>

typedef struct vmc_registry_entry {
    const vmctl_backend_descriptor *descriptor;
    vmctl_backend_entry_fn entry; /* compiled in (static library); NULL: a module, vmctl-NAME.so */
} vmc_registry_entry;

extern const vmc_registry_entry vmc_registry[];     /* ended by a NULL descriptor; in the order of preference */
extern const vmc_tools_entry_fn vmc_registry_tools; /* compiled in; NULL: the module vmctl-tools.so */

#endif
