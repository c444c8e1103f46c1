/* Merge patches (RFC 7396). */
#include "change.h"

cJSON *kubevirt_merge_patch(const cJSON *from, const cJSON *to) {
    cJSON *patch = cJSON_CreateObject();
    const cJSON *child;
    cJSON_ArrayForEach(child, to) {
        const cJSON *before = vmc_json_key(from, child->string);
        if (cJSON_Compare(before, child, true))
            continue;
        cJSON *below = cJSON_IsObject(before) && cJSON_IsObject(child) ? kubevirt_merge_patch(before, child) : NULL;
        cJSON_AddItemToObject(patch, child->string, below ? below : cJSON_Duplicate(child, true));
    }
    cJSON_ArrayForEach(child, from) {
        if (!vmc_json_key(to, child->string))
            cJSON_AddNullToObject(patch, child->string);
    }
    if (patch->child)
        return patch;
    cJSON_Delete(patch);
    return NULL;
}
