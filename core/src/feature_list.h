/* src/feature_list.h - the features that `caps` speaks of: dotted, stable ids over the slots of the table and the keys of vm.yaml. */
#ifndef VMC_SRC_FEATURE_LIST_H
#define VMC_SRC_FEATURE_LIST_H

#include <stddef.h>
#include <vmctl/backend.h>

typedef struct vmc_feature {
    const char *id; /* "snapshot.memory" */
    const char *title;
    int slot;          /* vmctl_slot; -1: no slot of its own */
    const char *key;   /* "disks[].bus"; NULL: no key */
    const char *value; /* of that key: "nvme"; NULL: any */
} vmc_feature;

extern const vmc_feature vmc_features[];
extern const size_t vmc_feature_count;

#endif
