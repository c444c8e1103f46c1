/* src/keys.h - the names of keys, and the keys of a text. */
#ifndef VMC_SRC_KEYS_H
#define VMC_SRC_KEYS_H

#include <stddef.h>
#include <vmctl/error.h>

/* The Linux key code of a name ("leftctrl", "KEY_A", "ctrl"); 0: there is no such key. */
unsigned vmc_key_code(const char *name);

/* The codes of names, each of which may be several joined by '+', together at most VMCTL_KEYS_MAX (display.h): codes[0 .. *out).
 * INVALID_ARGUMENT naming the first that is none, and the nearest one. */
int vmc_key_codes(const char *const *names, size_t count, unsigned *codes, size_t *out, vmctl_error **err);

/* The key of a character on a US keyboard, and whether shift is held; 0: none. */
unsigned vmc_key_of_char(char c, bool *shift);

#endif
