/* backends/kubevirt/fields.h - what differs between two states of one object, field by field. Pure. */
#ifndef VMC_KUBEVIRT_FIELDS_H
#define VMC_KUBEVIRT_FIELDS_H

#include "backends/shared/json.h"

typedef struct kubevirt_fields {
    vmctl_change *items; /* with texts and without nodes */
    size_t count;
} kubevirt_fields;

/* Of what a person sets: status and the server's own metadata (versions, times, managedFields) do not count. Items of lists are told apart by
 * their name: "spec.template.spec.volumes.root". Of cloud-init's data only the length is told. out: kubevirt_fields_free. */
void kubevirt_fields_compare(const cJSON *have, const cJSON *want, kubevirt_fields *out);
void kubevirt_fields_free(kubevirt_fields *fields);
#define KUBEVIRT_AUTO_FIELDS vmc_cleanup(kubevirt_fields_free) kubevirt_fields

/* Takes away what only the server writes: status, versions, times, ids. */
void kubevirt_drop_server_fields(cJSON *object);

/* The managedFields entry of that operation ("Apply", "Update") of vmctl's own, on the object itself; NULL. */
const cJSON *kubevirt_managed_by_us(const cJSON *object, const char *operation);

#endif
