/* Feature gates. */
#include "gates.h"

#include <stdio.h>
#include <string.h>

/* From which version on a gate is on by itself, and from which it is always on; 0: never so far. */
static const struct {
    const char *gate;
    unsigned beta, ga;
} gates[] = {
    {"Snapshot", 109, 0},
    {"DeclarativeHotplugVolumes", 109, 0},
    {"HotplugVolumes", 0, 0},
    {"GPUsWithDRA", 109, 0},
    {"HostDevicesWithDRA", 109, 0},
    {"VGPULiveMigration", 0, 0},
    {"DecentralizedLiveMigration", 110, 0},
    {"LiveMigration", 0, 100},
    {"VMExport", 109, 0},
    {"ExpandDisks", 109, 0},
    {"HotplugNICs", 0, 103},
    {"VMLiveUpdateFeatures", 0, 103},
    {"VolumesUpdateStrategy", 0, 105},
    {"VolumeMigration", 0, 105},
    {"InstancetypeReferencePolicy", 0, 0},
};

unsigned kubevirt_version_number(const char *text) {
    unsigned major = 0;
    unsigned minor = 0;
    if (!text || sscanf(text + (*text == 'v'), "%3u.%3u", &major, &minor) != 2)
        return 0;
    return major * 100 + minor;
}

static bool is_listed(const cJSON *list, const char *gate) {
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        if (cJSON_IsString(item) && strcmp(item->valuestring, gate) == 0)
            return true;
    }
    return false;
}

int kubevirt_gate(const cJSON *installation, const char *gate) {
    const cJSON *developer = vmc_json_at(installation, "spec.configuration.developerConfiguration");
    unsigned version = kubevirt_version_number(vmc_json_string(installation, "status.observedKubeVirtVersion", NULL));
    if (!installation)
        return -1;
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        if (strcmp(gates[i].gate, gate) != 0)
            continue;
        if (gates[i].ga && version >= gates[i].ga)
            return 1;
        if (is_listed(vmc_json_key(developer, "featureGates"), gate))
            return 1;
        if (is_listed(vmc_json_key(developer, "disabledFeatureGates"), gate))
            return 0;
        if (!version)
            return -1;
        return gates[i].beta && version >= gates[i].beta;
    }
    return is_listed(vmc_json_key(developer, "featureGates"), gate) ? 1 : -1;
}
