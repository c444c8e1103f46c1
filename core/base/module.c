#include "module.h"
#include "error.h"
#include "file.h"
#include "log.h"
#include "str.h"
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/auxv.h>

static int try_open(const char *path, void **handle, vmc_strv *failures) {
    /* Lazy: now would bind every symbol of the libraries that the module brings, sixty of them for libvirt. */
    *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
    if (*handle) {
        vmc_log("module", "opened %s", path);
        return 0;
    }
    const char *why = dlerror();
    vmc_strv_add(failures, why ? why : path);
    return -1;
}

void vmc_module_libraries(const char *const *names) {
    for (; names && *names; names++)
        if (!dlopen(*names, RTLD_LAZY | RTLD_LOCAL))
            vmc_log("module", "%s", dlerror());
}

int vmc_module_symbol(const char *module, const char *symbol, const char *package, void **address, vmctl_error **err) {
    VMC_AUTO_STRV failures = {0};
    void *handle = NULL;
    /* The environment of a set-user-ID program is its caller's: no code from there. */
    const char *given = getauxval(AT_SECURE) ? NULL : getenv("VMCTL_BACKEND_DIR");
    if (given && *given) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/%s.so", given, module);
        try_open(path, &handle, &failures);
    }
    VMC_AUTO_FREE char *folder = vmc_library_dir();
    if (!handle && folder) {
        VMC_AUTO_FREE char *path = vmc_printf("%s/vmctl/%s.so", folder, module);
        try_open(path, &handle, &failures);
    }
    if (!handle) {
        VMC_AUTO_FREE char *why = vmc_strv_join(&failures, "; ");
        vmc_error(err, VMCTL_E_UNAVAILABLE, "%s.so cannot be opened: %s", module, why);
        vmc_error_next(err, "install %s", package);
        return VMCTL_E_UNAVAILABLE;
    }
    *address = dlsym(handle, symbol);
    if (!*address) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "%s.so has no %s: it is no module of vmctl", module, symbol);
        vmc_error_next(err, "install %s again", package);
        return VMCTL_E_UNAVAILABLE;
    }
    return 0; /* never closed: libvirt and curl leave threads and exit handlers behind */
}
