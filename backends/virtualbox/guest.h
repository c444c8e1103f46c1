/* backends/virtualbox/guest.h - inside the guest, through Guest Additions. Source: VBoxManage's manual, guestcontrol and guestproperty; the exit
 * codes of `guestcontrol run` are those of its 5.0 and later.
 *
 * The user of the guest is named by VMCTL_GUEST_USER, the password by VMCTL_GUEST_PASSWORD_FILE (a file) or VMCTL_GUEST_PASSWORD; VBoxManage gets
 * it by a file, never by an argument.
 */
#ifndef VMC_VIRTUALBOX_GUEST_H
#define VMC_VIRTUALBOX_GUEST_H

#include "ops.h"

/* What showvminfo --machinereadable tells of Guest Additions; 0: they do not run, 1 their system part, 2 the user's, 3 a desktop. */
unsigned virtualbox_additions(const vboxmanage_properties *info);
/* INVALID_STATE: it does not run, or Guest Additions do not run in it. Only looks. */
int virtualbox_guest_check(const virtualbox_vm *vm, vmctl_state state, unsigned additions, vmctl_error **err);

/* The same of a VM as it is now. */
int virtualbox_guest_ready(virtualbox_conn *conn, const virtualbox_vm *vm, const vmc_deadline *deadline,
                           vmctl_error **err);

/* The status of a program from that of `guestcontrol run`: *status, or -1 where VBoxManage tells only that it was 94 or more; an error where it
 * was not the program's. Source: VBoxManageGuestCtrl.cpp, the mapping that is documented there as frozen. */
int virtualbox_guest_status(int exit_code, int *status, vmctl_error **err);

/* The addresses in the guest's properties (/VirtualBox/GuestInfo/Net/N/...): pairs, IP address and MAC ("" where none is told). */
void virtualbox_guest_addresses(const char *properties, vmc_strv *pairs);

/* What Guest Additions tell of the system in the guest's properties (/VirtualBox/GuestInfo/OS/...). Its texts go into `texts`. False: nothing. */
typedef struct virtualbox_guest {
    vmctl_guest guest;
    vmctl_guest_user *users; /* free */
} virtualbox_guest;
bool virtualbox_guest_read(const char *properties, vmc_strv *texts, virtualbox_guest *out);

#endif
