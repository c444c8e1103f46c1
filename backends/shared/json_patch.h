/* backends/shared/json_patch.h - JSON Patch on a tree. Source: RFC 6902, with the pointers of RFC 6901. */
#ifndef VMC_SHARED_JSON_PATCH_H
#define VMC_SHARED_JSON_PATCH_H

#include "json.h"

/* Applies all operations of `patch` (a list) to *json, all or none. INVALID_ARGUMENT: it is no patch, a path leads nowhere, or a test does
 * not hold; the message begins with the operation's number and path. */
int vmc_json_patch(cJSON **json, const cJSON *patch, vmctl_error **err);

#endif
