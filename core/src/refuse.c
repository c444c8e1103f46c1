/* An error about one key of the spec. */
#include "internal.h"

#include "base/str.h"

int vmc_refuse(vmctl_error **err, int code, const vmctl_node *node, const char *format, ...) {
    if (!err)
        return code == VMCTL_E_INVALID_SPEC && !node ? VMCTL_E_INVALID_ARGUMENT : code;
    va_list args;
    va_start(args, format);
    VMC_AUTO_FREE char *message = vmc_vprintf(format, args);
    va_end(args);
    const char *file = NULL;
    unsigned line = 0;
    unsigned column = 0;
    if (!node)
        return vmc_error(err, code == VMCTL_E_INVALID_SPEC ? VMCTL_E_INVALID_ARGUMENT : code, "%s", message);
    vmctl_node_location(node, &file, &line, &column);
    VMC_AUTO_FREE char *path = vmctl_node_path(node);
    if (code == VMCTL_E_INVALID_SPEC) {
        vmctl_error_free(*err);
        *err = NULL;
        return vmc_error_fault(err, file, line, column, path, "%s", message);
    }
    if (line == 0)
        return vmc_error(err, code, "%s (%s)", message, path);
    return vmc_error(err, code, "%s (%s:%u:%u, %s)", message, file ? file : "(input)", line, column, path);
}
