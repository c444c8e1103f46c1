/* drivers/seed_iso/iso_module.h - what the module vmctl-iso.so exports. */
#ifndef VMC_SEED_ISO_MODULE_H
#define VMC_SEED_ISO_MODULE_H

#include "drivers/seed_iso/seed_iso.h"

/* seed_iso_build itself. */
VMCTL_API int vmctl_iso_build(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes,
                              size_t *length, vmctl_error **err);
typedef int (*vmctl_iso_build_fn)(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes,
                                  size_t *length, vmctl_error **err);

#endif
