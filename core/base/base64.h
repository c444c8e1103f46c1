/* base/base64.h - RFC 4648, section 4: for documents and protocols that carry bytes as text. */
#ifndef VMC_BASE_BASE64_H
#define VMC_BASE_BASE64_H

#include "base/str.h"

/* Appends the bytes as base64 with its padding; line > 0: a newline after so many characters (a multiple of 4). */
VMCTL_API void vmc_base64_add(vmc_str *to, const void *bytes, size_t length, size_t line);
/* Appends what the text stands for; white space in it is passed over. False, with nothing added, when it is no base64. */
VMCTL_API bool vmc_base64_decode(vmc_str *to, const char *text);

#endif
