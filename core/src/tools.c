#include "tools.h"
#include "base/module.h"
#include "internal.h"
#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const vmc_tools *tools;
static const vmc_tools *replaced;

void vmc_tools_replace(const vmc_tools *table) {
    pthread_mutex_lock(&lock);
    replaced = table;
    pthread_mutex_unlock(&lock);
}

static int load(vmctl_error **err) {
    vmc_tools_entry_fn entry = vmc_registry_tools;
    if (!entry) {
        void *address;
        int rc =
            vmc_module_symbol("vmctl-tools", "vmctl_tools_entry", "vmctl (the package of libvmctl)", &address, err);
        if (rc < 0)
            return rc;
        memcpy(&entry, &address, sizeof entry);
    }
    const vmc_tools *table = entry();
    if (!table || table->abi != VMC_TOOLS_ABI || table->size < sizeof *table) {
        vmc_error(err, VMCTL_E_UNAVAILABLE, "vmctl-tools.so is made for another version of libvmctl");
        vmc_error_next(err, "install libvmctl and its modules in the same version");
        return VMCTL_E_UNAVAILABLE;
    }
    tools = table;
    return 0;
}

int vmc_tools_get(const vmc_tools **out, vmctl_error **err) {
    pthread_mutex_lock(&lock);
    int rc = replaced || tools ? 0 : load(err);
    if (rc == 0)
        *out = replaced ? replaced : tools;
    pthread_mutex_unlock(&lock);
    return rc;
}
