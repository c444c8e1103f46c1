/* What a server sends as a list or a stream, in pieces: the same objects whatever the pieces are, and never more than cJSON would take. The
 * first byte is the pieces' length, the second one's lowest bits choose the kind and whether managedFields are kept. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "drivers/kube/split.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int keep(cJSON **object, void *user) {
    cJSON_AddItemToArray(user, *object);
    *object = NULL;
    return 0;
}

/* The objects; NULL when it was refused or ended in the middle. */
static cJSON *split(kube_split_kind kind, bool managed, const char *text, size_t size, size_t piece, cJSON **rest) {
    cJSON *all = cJSON_CreateArray();
    kube_split *s = kube_split_new(kind, managed, keep, all);
    vmctl_error *err = NULL;
    int rc = 0;
    for (size_t at = 0; rc == 0 && at < size; at += piece)
        rc = kube_split_feed(s, text + at, size - at < piece ? size - at : piece, &err);
    if ((rc < 0) != (err != NULL))
        abort();
    *rest = NULL;
    if (rc == 0 && kube_split_complete(s)) {
        *rest = kube_split_rest(s);
    } else {
        cJSON_Delete(all);
        all = NULL;
    }
    vmctl_error_free(err);
    kube_split_free(s);
    return all;
}

/* A list that is JSON has the items that cJSON finds in it. Its last "items" counts here, its first one there: only one is compared. */
static void compare(const char *text, size_t size, const cJSON *all, const cJSON *rest) {
    cJSON *whole = cJSON_ParseWithLength(text, size);
    if (!cJSON_IsObject(whole) || !all || !rest)
        goto out;
    const cJSON *items = cJSON_GetObjectItemCaseSensitive(whole, "items"), *item;
    int keys = 0, objects = 0;
    cJSON_ArrayForEach(item, whole) {
        keys += strcmp(item->string, "items") == 0 || strcmp(item->string, "rows") == 0;
    }
    cJSON_ArrayForEach(item, items) {
        objects += cJSON_IsObject(item);
    }
    if (keys == 1 && cJSON_IsArray(items) && cJSON_GetArraySize(all) != objects && !memchr(text, '\\', size))
        abort();
out:
    cJSON_Delete(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2)
        return 0;
    size_t piece = data[0] + 1u;
    kube_split_kind kind = data[1] & 1 ? KUBE_SPLIT_LIST : KUBE_SPLIT_STREAM;
    bool managed = data[1] & 2;
    const char *text = (const char *)data + 2;
    size -= 2;
    cJSON *rest, *other_rest;
    cJSON *all = split(kind, managed, text, size, piece, &rest),
          *other = split(kind, managed, text, size, size + 1, &other_rest);
    if (!all != !other || !rest != !other_rest || (all && cJSON_GetArraySize(all) != cJSON_GetArraySize(other)))
        abort();
    if (kind == KUBE_SPLIT_LIST && managed)
        compare(text, size, all, rest);
    cJSON_Delete(all);
    cJSON_Delete(other);
    cJSON_Delete(rest);
    cJSON_Delete(other_rest);
    return 0;
}
