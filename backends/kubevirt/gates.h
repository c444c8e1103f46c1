/* backends/kubevirt/gates.h - feature gates of an installation, with the defaults of its version. Pure.
 * Source: KubeVirt, pkg/virt-config/featuregate (IsEnabled), and the release notes for when a gate came to Beta or GA. */
#ifndef VMC_KUBEVIRT_GATES_H
#define VMC_KUBEVIRT_GATES_H

#include "backends/shared/json.h"

/* "v1.9.0" -> 109; 0: not known. */
unsigned kubevirt_version_number(const char *text);
/* 1: on, 0: off, -1: cannot be told (the KubeVirt object cannot be read, or the gate is none that vmctl knows). */
int kubevirt_gate(const cJSON *installation, const char *gate);

#endif
