#include <vmctl/vmctl.h>

const char *vmctl_version(void) {
    return VMCTL_VERSION;
}
