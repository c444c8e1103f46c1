/* backends/libvirt/host_path.h - whether QEMU's user can reach a file of this machine. */
#ifndef VMC_LIBVIRT_HOST_PATH_H
#define VMC_LIBVIRT_HOST_PATH_H

#include <stdbool.h>

/* libvirt hands QEMU's user the file itself (dynamic ownership), not the folders above it. user: QEMU's user; NULL: the person's own, who
 * passes. true: it can get there, or that is not known. false: *folder (free) is the first one that it cannot search. */
bool libvirt_path_reachable(const char *user, const char *path, char **folder);

#endif
