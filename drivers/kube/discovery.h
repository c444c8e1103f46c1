/* drivers/kube/discovery.h - the parts of discovery: the document, its way from the server, its copy on disk. */
#ifndef KUBE_DISCOVERY_H
#define KUBE_DISCOVERY_H

#include "drivers/kube/client.h"

/* The document is an APIGroupDiscoveryList (apidiscovery.k8s.io/v2), whoever it came from. */
struct kube_discovery {
    cJSON *list;
    char *etag; /* NULL */
    bool from_disk;
    kube_discovery *older;
};

/* NULL: this is no APIGroupDiscoveryList. Takes list in any case. */
kube_discovery *kube_discovery_new(cJSON *list, const char *etag);

/* The copy on disk: $XDG_CACHE_HOME/vmctl/kube/SERVER-HASH/discovery.json. NULL: none, or not this cluster's. *age_s: since the server gave or
 * confirmed it. A copy that cannot be written is no failure. */
kube_discovery *kube_cache_read(const kube_config *config, int64_t *age_s);
void kube_cache_write(const kube_config *config, const kube_discovery *discovery);

/* From a server without aggregated discovery: groups, then the resources of each version. */
int kube_discover_by_groups(kube_client *client, const cJSON *groups, const vmc_deadline *deadline, cJSON **list,
                            vmctl_error **err);

#endif
