/* backends/libvirt/cloud_init.h - the texts of cloud-init's NoCloud seed, from the spec's cloudInit:.
 * Source: cloud-init's NoCloud datasource and its user-data formats. */
#ifndef VMC_LIBVIRT_CLOUD_INIT_H
#define VMC_LIBVIRT_CLOUD_INIT_H

#include "base/error.h"
#include <vmctl/spec.h>

typedef struct libvirt_seed {
    char *meta_data;
    char *user_data;
    char *network_config; /* NULL: cloud-init asks DHCP on the first card by itself */
} libvirt_seed;

/* `uuid` is the VM's: the instance id comes from it, so that a new VM is a first boot and a restarted one is not.
 * The person's own userData and networkData are passed on byte for byte; where a user or keys are given besides, both go into one
 * multi-part message. Reads the files that the spec names (at most 1 MiB each): NOT_FOUND, INVALID_SPEC (a private key). */
int libvirt_seed_texts(const vmctl_spec *spec, const char *uuid, libvirt_seed *out, vmctl_error **err);
/* The same seed for a copy of the VM: a new instance id and host name, and the cards' addresses (pairs: before, after; count of pairs) in what vmctl
 * wrote of the network. *told: one sentence when a host name in the person's own user-data stays; NULL. free */
void libvirt_seed_for_clone(libvirt_seed *seed, const char *uuid, const char *hostname, const char *const *macs,
                            size_t mac_count, char **told);
void libvirt_seed_free(libvirt_seed *seed);

#endif
