/* What base/str.h offers to programs too: durations, sizes and the nearest word, with the error object that a program wants. */
#include <vmctl/call.h>

#include "base/error.h"
#include "base/str.h"

int vmctl_parse_duration(const char *text, int64_t *ms, vmctl_error **err) {
    long long value = 0;
    const char *why = NULL;
    if (!text || vmc_parse_duration(text, &value, &why) < 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no duration: %s", text ? text : "",
                         why ? why : "write 90s, 5m or 2h");
    *ms = value;
    return 0;
}

int vmctl_parse_size(const char *text, int64_t *bytes, vmctl_error **err) {
    long long value = 0;
    const char *why = NULL;
    if (!text || vmc_parse_size(text, false, &value, &why) < 0)
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "\"%s\" is no size: %s", text ? text : "",
                         why ? why : "write 512MiB or 20GiB");
    *bytes = value;
    return 0;
}

const char *vmctl_nearest(const char *word, const char *const *candidates) {
    return vmc_nearest(word, candidates);
}
