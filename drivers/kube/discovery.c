/* drivers/kube/discovery.c - what the server serves. */
#include "drivers/kube/client.h"
#include <stdlib.h>

struct kube_discovery {
    kube_discovery *older;
};

void kube_discovery_free(kube_discovery *d) {
    while (d) {
        kube_discovery *older = d->older;
        free(d);
        d = older;
    }
}
