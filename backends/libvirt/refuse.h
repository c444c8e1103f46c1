/* backends/libvirt/refuse.h - an error about one key of the spec, which names the place where it was written. */
#ifndef VMC_LIBVIRT_REFUSE_H
#define VMC_LIBVIRT_REFUSE_H

#include "base/error.h"
#include <vmctl/spec.h>

/* VMCTL_E_INVALID_SPEC becomes a fault at the node's place; any other code keeps the sentence and ends with
 * "(vm.yaml:7:12, disks.root.image)". node NULL: it is about an argument, which has no place
 * (VMCTL_E_INVALID_SPEC becomes INVALID_ARGUMENT). Returns the code. */
int libvirt_refuse(vmctl_error **err, int code, const vmctl_node *node, const char *format, ...) VMCTL_PRINTF(4, 5);

#endif
