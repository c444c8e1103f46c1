/* backends/libvirt/guest_info.h - what the guest's agent says of the system inside. Source: virDomainGetGuestInfo. */
#ifndef VMC_LIBVIRT_GUEST_INFO_H
#define VMC_LIBVIRT_GUEST_INFO_H

#include <libvirt/libvirt.h>
#include <vmctl/vm.h>

typedef struct libvirt_guest_info {
    vmctl_guest guest; /* its strings are the parameters' */
    vmctl_guest_filesystem *filesystems;
    vmctl_guest_user *users;
} libvirt_guest_info;

/* Only reads; out is good as long as the parameters. False: they say nothing of it. */
bool libvirt_guest_info_read(const virTypedParameter *params, int count, libvirt_guest_info *out);
void libvirt_guest_info_free(libvirt_guest_info *info);

#endif
