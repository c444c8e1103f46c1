/* backends/virtualbox/screen.h - what stands in the way of looking at a VM and typing into it. These only look; the operations call them first,
 * and `vmctl caps --vm` says the same words. */
#ifndef VMC_VIRTUALBOX_SCREEN_H
#define VMC_VIRTUALBOX_SCREEN_H

#include "ops.h"

/* INVALID_STATE (it does not run), UNSUPPORTED (no display), NOT_FOUND (no such screen). */
int virtualbox_screenshot_check(const virtualbox_vm *vm, const vboxmanage_machine *machine, vmctl_state state,
                                unsigned screen, vmctl_error **err);
/* INVALID_STATE: its CPUs do not run. */
int virtualbox_keys_check(const virtualbox_vm *vm, vmctl_state state, vmctl_error **err);
/* INVALID_STATE, NOT_FOUND (no such serial port), UNSUPPORTED (it is bound to something that vmctl cannot take over). */
int virtualbox_console_check(const virtualbox_vm *vm, const vboxmanage_machine *machine, vmctl_state state,
                             const char *device, vmctl_error **err);

/* The scan codes (set 1) that pressing or releasing a key of Linux's input-event-codes.h sends, as hexadecimal words. false: a PC's
 * keyboard has no such key. Source: IBM PC AT Technical Reference, "Keyboard Scan Codes"; Linux' drivers/input/keyboard/atkbd.c. */
bool virtualbox_scan_codes(unsigned code, bool release, vmc_strv *to);

#endif
