/* backends/libvirt/cloud_init.h - cloud-init's seed (vmctl/backend.h), under the names that this room calls it by. */
#ifndef VMC_LIBVIRT_CLOUD_INIT_H
#define VMC_LIBVIRT_CLOUD_INIT_H

#include "base/error.h"
#include <vmctl/backend.h>

typedef vmc_seed libvirt_seed;
#define libvirt_seed_texts     vmc_seed_texts
#define libvirt_seed_for_clone vmc_seed_for_clone
#define libvirt_seed_free      vmc_seed_free

#endif
