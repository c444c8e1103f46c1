/* JSON Patch (RFC 6902). */
#include "json_patch.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One step of a pointer: "~1" is '/', "~0" is '~' (RFC 6901, 4). free. */
static char *unescaped(const char *text, size_t length) {
    vmc_str out = {0};
    for (size_t i = 0; i < length; i++) {
        bool escape = text[i] == '~' && i + 1 < length && (text[i + 1] == '0' || text[i + 1] == '1');
        vmc_str_add_char(&out, !escape ? text[i] : text[i + 1] == '1' ? '/' : '~');
        i += escape;
    }
    return vmc_str_take(&out);
}

/* The index that a step names in a list; -1: none. */
static int index_of(const char *step) {
    size_t digits = strspn(step, "0123456789");
    if (!digits || step[digits] || digits > 6 || (step[0] == '0' && digits > 1))
        return -1;
    return atoi(step);
}

static cJSON *child_of(cJSON *parent, const char *step) {
    if (cJSON_IsArray(parent)) {
        int index = index_of(step);
        return index < 0 ? NULL : cJSON_GetArrayItem(parent, index);
    }
    return cJSON_IsObject(parent) ? cJSON_GetObjectItemCaseSensitive(parent, step) : NULL;
}

/* Where a pointer leads: the value's parent and the last step (free). false: the way there ends before. */
static bool follow(cJSON *root, const char *pointer, cJSON **parent, char **last) {
    *parent = NULL;
    *last = NULL;
    if (*pointer != '/')
        return *pointer == '\0';
    cJSON *at = root;
    while (true) {
        pointer++;
        size_t length = strcspn(pointer, "/");
        char *step = unescaped(pointer, length);
        pointer += length;
        if (!*pointer) {
            *parent = at;
            *last = step;
            return cJSON_IsObject(at) || cJSON_IsArray(at);
        }
        at = child_of(at, step);
        free(step);
        if (!at)
            return false;
    }
}

/* The value at a pointer; NULL. */
static cJSON *value_at(cJSON *root, const char *pointer) {
    cJSON *parent;
    VMC_AUTO_FREE char *last = NULL;
    if (!follow(root, pointer, &parent, &last))
        return NULL;
    return parent ? child_of(parent, last) : root;
}

/* Debian 12's cJSON (1.7.15 with the fix of CVE-2023-50471) inserts at the ends of a list only. */
static void insert(cJSON *list, int index, cJSON *value) {
    VMC_AUTO_JSON *behind = cJSON_CreateArray();
    while (cJSON_GetArraySize(list) > index)
        cJSON_AddItemToArray(behind, cJSON_DetachItemFromArray(list, index));
    cJSON_AddItemToArray(list, value);
    while (behind->child)
        cJSON_AddItemToArray(list, cJSON_DetachItemFromArray(behind, 0));
}

/* Takes `value`. */
static bool add_at(cJSON **root, const char *pointer, cJSON *value) {
    cJSON *parent;
    VMC_AUTO_FREE char *last = NULL;
    bool there = follow(*root, pointer, &parent, &last);
    if (there && !parent) {
        cJSON_Delete(*root);
        *root = value;
        return true;
    }
    if (there && cJSON_IsObject(parent)) {
        vmc_json_put(parent, last, value);
        return true;
    }
    int index = there && strcmp(last, "-") == 0 ? cJSON_GetArraySize(parent) : there ? index_of(last) : -1;
    if (index < 0 || index > cJSON_GetArraySize(parent)) {
        cJSON_Delete(value);
        return false;
    }
    insert(parent, index, value);
    return true;
}

static cJSON *detach_at(cJSON *root, const char *pointer) {
    cJSON *parent;
    VMC_AUTO_FREE char *last = NULL;
    cJSON *value = follow(root, pointer, &parent, &last) && parent ? child_of(parent, last) : NULL;
    return value ? cJSON_DetachItemViaPointer(parent, value) : NULL;
}

/* NULL: done; else what is wrong. */
static const char *apply_one(cJSON **root, const cJSON *operation) {
    const char *op = vmc_json_key_string(operation, "op");
    const char *path = vmc_json_key_string(operation, "path");
    const char *from = vmc_json_key_string(operation, "from");
    const cJSON *value = vmc_json_key(operation, "value");
    if (!op || !path)
        return "an operation needs op and path";
    bool with_value = strcmp(op, "add") == 0 || strcmp(op, "replace") == 0 || strcmp(op, "test") == 0;
    bool with_from = strcmp(op, "move") == 0 || strcmp(op, "copy") == 0;
    if (!with_value && !with_from && strcmp(op, "remove") != 0)
        return "op is add, remove, replace, move, copy or test";
    if (with_value && !value)
        return "a value is missing";
    if (with_from && (!from || !value_at(*root, from)))
        return "there is nothing at its from";
    if (strcmp(op, "move") == 0 && vmc_starts_with(path, from) && path[strlen(from)] == '/')
        return "nothing moves into itself";
    cJSON *at = value_at(*root, path);
    if (strcmp(op, "test") == 0)
        return at && cJSON_Compare(at, value, true) ? NULL : "the value there is another";
    if (!at && (strcmp(op, "remove") == 0 || strcmp(op, "replace") == 0))
        return "there is nothing at its path";
    if (strcmp(op, "replace") == 0 || strcmp(op, "remove") == 0) {
        if (!*path && strcmp(op, "remove") == 0)
            return "the whole document cannot be removed";
        cJSON_Delete(*path ? detach_at(*root, path) : NULL);
        if (strcmp(op, "remove") == 0)
            return NULL;
    }
    cJSON *brought = with_value                ? cJSON_Duplicate(value, true)
                     : strcmp(op, "copy") == 0 ? cJSON_Duplicate(value_at(*root, from), true)
                                               : detach_at(*root, from);
    return brought && add_at(root, path, brought) ? NULL : "the way to its path does not exist";
}

int vmc_json_patch(cJSON **json, const cJSON *patch, vmctl_error **err) {
    if (!cJSON_IsArray(patch))
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "a JSON patch is a list of operations");
    cJSON *copy = cJSON_Duplicate(*json, true);
    int number = 0;
    const cJSON *operation;
    cJSON_ArrayForEach(operation, patch) {
        number++;
        const char *why = apply_one(&copy, operation);
        if (!why)
            continue;
        cJSON_Delete(copy);
        const char *path = vmc_json_key_string(operation, "path");
        return vmc_error(err, VMCTL_E_INVALID_ARGUMENT, "operation %d (%s): %s", number, path ? path : "no path", why);
    }
    cJSON_Delete(*json);
    *json = copy;
    return 0;
}
