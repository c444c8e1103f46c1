/* base/random.h - what nobody else can have chosen, nor guess: the kernel's random bytes. Thread-safe. Source: getrandom(2). */
#ifndef VMC_BASE_RANDOM_H
#define VMC_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>
#include <vmctl/error.h>

VMCTL_API void vmc_random_fill(void *bytes, size_t length);
VMCTL_API uint64_t vmc_random(void);

enum { VMC_UUID_BYTES = 37 };
/* A random UUID (RFC 4122, version 4) in small letters, NUL-terminated. */
VMCTL_API void vmc_uuid_new(char out[VMC_UUID_BYTES]);

#endif
