/* drivers/picture/png_module.h - what the module vmctl-png.so exports. */
#ifndef VMC_PICTURE_PNG_H
#define VMC_PICTURE_PNG_H

#include "picture.h"

VMCTL_API int vmctl_png_encode(const picture *from, char **bytes, size_t *length, vmctl_error **err);
typedef int (*vmctl_png_encode_fn)(const picture *from, char **bytes, size_t *length, vmctl_error **err);

#endif
