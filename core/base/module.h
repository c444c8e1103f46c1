/* base/module.h - opening the modules of this library: vmctl-NAME.so in VMCTL_BACKEND_DIR (not when AT_SECURE), else in vmctl/
 * beside libvmctl.so. What only some commands need is a module, so that the others do not load its libraries. */
#ifndef VMC_BASE_MODULE_H
#define VMC_BASE_MODULE_H

#include <vmctl/error.h>

/* Opens shared libraries (NULL-terminated; NULL: none) for the module that brings them; one that is not here is the module's to miss. */
void vmc_module_libraries(const char *const *names);

/* Opens module.so and finds its symbol; *address is never NULL on success. The module stays open for ever. UNAVAILABLE: it
 * or a library of its is missing, naming the package to install. Thread-safe. Source: dlopen(3). */
VMCTL_API int vmc_module_symbol(const char *module, const char *symbol, const char *package, void **address,
                                vmctl_error **err);

#endif
