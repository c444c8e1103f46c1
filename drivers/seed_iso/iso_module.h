/* drivers/seed_iso/iso_module.h - what the module vmctl-iso.so exports. */
#ifndef VMC_SEED_ISO_MODULE_H
#define VMC_SEED_ISO_MODULE_H

#include "drivers/seed_iso/seed_iso.h"

/* seed_iso_build and seed_iso_read themselves. */
typedef struct vmctl_iso_functions {
    int (*build)(const char *volume_id, const seed_iso_file *files, size_t count, char **bytes, size_t *length,
                 vmctl_error **err);
    int (*read)(const char *path, const char *name, char **text, vmctl_error **err);
} vmctl_iso_functions;

VMCTL_API const vmctl_iso_functions *vmctl_iso(void);
typedef const vmctl_iso_functions *(*vmctl_iso_fn)(void);

#endif
