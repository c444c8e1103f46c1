/* src/spec_build.h - from the text's tree to the spec's, by the schema: aliases followed, maps merged, values read. */
#ifndef VMC_SRC_SPEC_BUILD_H
#define VMC_SRC_SPEC_BUILD_H

#include "spec_raw.h"

/* Begins with {.faults, .base}; one serves all documents of a text, so that the limits hold for all together. */
typedef struct vmc_builder {
    vmc_faults *faults;
    const char *base;    /* what relative paths are relative to; NULL: the working folder */
    size_t nodes, bytes; /* made so far */
    unsigned depth;
    bool stopped; /* a limit was hit */
    vmc_str path; /* of what is being read; freed by the owner */
} vmc_builder;

/* The value of a key (NULL: the whole spec). Faults are gathered; what has none is built. NULL when nothing could be. */
vmctl_node *vmc_build(vmc_builder *builder, const vmc_raw *raw, const vmc_key *key);

#endif
