/* drivers/ova/ova_module.h - what the module vmctl-ova.so exports: reading and writing the tar, and sums. */
#ifndef VMC_OVA_MODULE_H
#define VMC_OVA_MODULE_H

#include "ova.h"

typedef struct ova_module {
    /* Calls `each` for every regular file, in order; it reads as much of it as it wants. Negative ends the reading. */
    int (*read)(const char *path,
                int (*each)(void *user, const char *name, uint64_t bytes, void *file, vmctl_error **err), void *user,
                vmctl_error **err);
    /* The next bytes of the file; 0 at its end, negative: a failure. */
    long (*next)(void *file, void *bytes, size_t length, vmctl_error **err);
    int (*create)(const char *path, void **writer, vmctl_error **err);
    int (*begin)(void *writer, const char *name, uint64_t bytes, vmctl_error **err);
    int (*put)(void *writer, const void *bytes, size_t length, vmctl_error **err);
    int (*close)(void *writer, bool keep, vmctl_error **err); /* on disk when it returns 0 with keep */
    /* "sha1", "sha256", "sha512"; NULL: not known. */
    void *(*sum_new)(const char *algorithm);
    void (*sum_add)(void *sum, const void *bytes, size_t length);
    char *(*sum_end)(void *sum); /* lower-case hexadecimal (free); frees the sum */
} ova_module;

VMCTL_API const ova_module *vmctl_ova_module(void);
typedef const ova_module *(*vmctl_ova_module_fn)(void);

#endif
