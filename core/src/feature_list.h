/* src/feature_list.h - the features that `caps` speaks of: dotted, stable ids over the slots of the table and the keys of vm.yaml. The list
 * itself is features.def. */
#ifndef VMC_SRC_FEATURE_LIST_H
#define VMC_SRC_FEATURE_LIST_H

#include <stddef.h>
#include <vmctl/backend.h>

typedef enum vmc_feature_number {
#define GROUP(title)
#define FEATURE(name, id, title, what, row, sentence) VMC_FEATURE_##name,
#include "features.def"
#undef FEATURE
#undef GROUP
    VMC_FEATURE_COUNT
} vmc_feature_number;

typedef struct vmc_feature {
    const char *name; /* of the enum: "snapshot_memory" */
    const char *id;   /* "snapshot.memory" */
    const char *title;
    int slot;          /* vmctl_slot; -1: no slot of its own */
    const char *key;   /* "disks[].bus"; NULL: no key */
    const char *value; /* of that key: "nvme"; NULL: any */
    const char *row;   /* of the comparison: "Snapshots"; NULL */
    const char *sentence;
} vmc_feature;

/* By vmc_feature_number, which is the order of `caps`. A feature with a slot and a key needs both; one with neither is a fact about the
 * platforms that vmctl has no operation for. */
extern const vmc_feature vmc_features[];
extern const size_t vmc_feature_count;

/* The title of the group that a feature is in: "Snapshots". */
const char *vmc_feature_group(vmc_feature_number number);

/* NULL: there is no such feature. */
const vmc_feature *vmc_feature_find(const char *id);

#endif
