/* drivers/kube/split.h - cuts a list's page, or a watch's stream, into its objects as the bytes come: nothing but the current object is
 * in memory. */
#ifndef KUBE_SPLIT_H
#define KUBE_SPLIT_H

#include "drivers/kube/kube.h"

typedef enum kube_split_kind {
    KUBE_SPLIT_LIST,  /* one object whose "items" (of a Table: "rows") are wanted one by one */
    KUBE_SPLIT_STREAM /* objects one after the other, white space between */
} kube_split_kind;

typedef struct kube_split kube_split;

/* managed_fields false: metadata.managedFields (also of "object" in an event or a row) is left out, unparsed. */
kube_split *kube_split_new(kube_split_kind kind, bool managed_fields, kube_item_fn object, void *user);
void kube_split_free(kube_split *split); /* NULL is allowed */

/* 0; a value of the callback that is not 0, after which nothing more is taken; INTERNAL: this is no JSON, or an object is larger
 * than 64 MiB. */
int kube_split_feed(kube_split *split, const void *bytes, size_t length, vmctl_error **err);
/* Whether it ended between two objects, or after the list. */
bool kube_split_complete(const kube_split *split);
/* The list without its items ("metadata" with "continue" and "resourceVersion"; cJSON_Delete). Once, when it is complete. NULL: it
 * is no object. */
cJSON *kube_split_rest(kube_split *split);

#endif
