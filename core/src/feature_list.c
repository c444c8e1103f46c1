/* features.def as a table. */
#include "feature_list.h"
#include <string.h>

/* slot, key, value */
#define SLOT(slot)        VMCTL_SLOT_##slot, NULL, NULL
#define KEY(key)          VMCTL_SLOT_create, key, NULL
#define VALUE(key, value) VMCTL_SLOT_create, key, value
#define BOTH(slot, key)   VMCTL_SLOT_##slot, key, NULL
#define FACT              -1, NULL, NULL
#define GROUP(title)

#define FEATURE(name, id, title, what, row, sentence) {#name, id, title, what, row, sentence},
const vmc_feature vmc_features[] = {
#include "features.def"
};
#undef FEATURE
#undef GROUP

const size_t vmc_feature_count = sizeof vmc_features / sizeof vmc_features[0];

/* A feature's group is the last title above its line of features.def. */
static const int feature_lines[] = {
#define GROUP(title)
#define FEATURE(name, id, title, what, row, sentence) __LINE__,
#include "features.def"
#undef FEATURE
#undef GROUP
};

static const struct {
    const char *title;
    int line;
} groups[] = {
#define GROUP(title) {title, __LINE__},
#define FEATURE(name, id, title, what, row, sentence)
#include "features.def"
#undef FEATURE
#undef GROUP
};

const char *vmc_feature_group(vmc_feature_number number) {
    const char *title = NULL;
    for (size_t i = 0; i < sizeof groups / sizeof groups[0] && groups[i].line < feature_lines[number]; i++)
        title = groups[i].title;
    return title;
}

const vmc_feature *vmc_feature_find(const char *id) {
    for (size_t i = 0; id && i < vmc_feature_count; i++)
        if (strcmp(vmc_features[i].id, id) == 0)
            return &vmc_features[i];
    return NULL;
}
