/* backends/kubevirt/gpus.h - devices of the nodes that VMs may have: what the KubeVirt CR permits, and what nodes have of it. Pure.
 * Source: KubeVirt's user guide, "Host Devices Assignment" and "Virtual GPUs". */
#ifndef VMC_KUBEVIRT_GPUS_H
#define VMC_KUBEVIRT_GPUS_H

#include "manifest.h"

/* The resource of a PCI device's ids ("10de:1eb8"), of a mediated device's type ("GRID T4-1Q"), of a USB device's ids; NULL: none is
 * permitted. permitted may be NULL. */
const char *kubevirt_permitted_pci(const cJSON *permitted, const char *ids);
const char *kubevirt_permitted_mdev(const cJSON *permitted, const char *type);
const char *kubevirt_permitted_usb(const cJSON *permitted, const char *ids);
/* Whether the resource is permitted at all. */
bool kubevirt_is_permitted(const cJSON *permitted, const char *resource);
/* "nvidia.com/TU104GL_Tesla_T4 (10DE:1EB8), nvidia.com/GRID_T4-1Q (GRID T4-1Q)"; "none". free. */
char *kubevirt_permitted_text(const cJSON *permitted);

/* A VirtualMachine's gpus and hostDevices against what is permitted, before it is made: KubeVirt itself takes it and then never starts it.
 * NOT_FOUND with the list of what there is. */
int kubevirt_gpus_check(const cJSON *vm, const cJSON *permitted, vmctl_error **err);
/* How many of a resource a node offers to pods. */
uint64_t kubevirt_allocatable(const cJSON *node, const char *resource);
/* Whether the VirtualMachine asks for devices at all. */
bool kubevirt_has_host_devices(const cJSON *vm);

#endif
