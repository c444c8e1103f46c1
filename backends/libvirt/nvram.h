/* backends/libvirt/nvram.h - the UEFI variable store of a VM that gets another name. Where the domain's XML leaves its path to
 * libvirt (<os firmware='efi'> without <nvram>), the path follows from the name at each start, and a renamed VM would begin with an
 * empty store. */
#ifndef VMC_LIBVIRT_NVRAM_H
#define VMC_LIBVIRT_NVRAM_H

#include "conn.h"
#include <libxml/tree.h>

typedef struct libvirt_nvram {
    char *folder; /* NULL: nothing to do */
    char *old_name;
} libvirt_nvram;

/* Before the rename. ALREADY_EXISTS: a file that would be taken for its variables has the new name. Where this process cannot move the file (another host, another user's), its present path is written into the XML. */
int libvirt_nvram_prepare(libvirt_conn *conn, const libvirt_vm *vm, const char *new_name, const vmc_deadline *deadline,
                          libvirt_nvram *nvram, vmctl_error **err);
/* After it: the file gets the name that libvirt will look for. */
void libvirt_nvram_follow(const libvirt_nvram *nvram, const char *new_name, const vmc_deadline *deadline);
void libvirt_nvram_free(libvirt_nvram *nvram);

/* Where a clone's variables come from and go to; both NULL: there are none yet, or they cannot be copied from here (told). ALREADY_EXISTS: a file is in
 * the way. */
int libvirt_nvram_of_clone(const libvirt_conn *conn, const xmlNode *domain, const char *name, const char *clone,
                           char **from, char **to, const vmc_deadline *deadline, vmctl_error **err);

#endif
