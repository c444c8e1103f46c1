/* backends/virtualbox/change_orders.h - what the files share that say what a step of a change is to VBoxManage. They only look: what they append to
 * the change is run later, and taken back in the other order. */
#ifndef VMC_VIRTUALBOX_CHANGE_ORDERS_H
#define VMC_VIRTUALBOX_CHANGE_ORDERS_H

#include "change.h"
#include "facts.h"

/* Adds up to four words, as far as the first NULL. */
void virtualbox_words(vmc_strv *argv, const char *a, const char *b, const char *c, const char *d);

/* change_settings.c: extra data, and the group of settings that the step is of (once for all steps of a group). */
int virtualbox_change_extra(virtualbox_changing *ch, const virtualbox_step *step);
int virtualbox_change_setting(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);

/* change_nics.c */
int virtualbox_change_nic(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);
int virtualbox_change_nic_add(virtualbox_changing *ch, const vmctl_node *want, vmctl_error **err);
void virtualbox_change_nic_remove(virtualbox_changing *ch, const vboxmanage_nic *nic);

/* change_disks.c */
int virtualbox_change_disk_add(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);
void virtualbox_change_disk_remove(virtualbox_changing *ch, const vboxmanage_attachment *at);
int virtualbox_change_disk(virtualbox_changing *ch, virtualbox_step *step, const vboxmanage_attachment *at,
                           vmctl_error **err);
int virtualbox_change_medium(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_attachment *at,
                             vmctl_error **err);
int virtualbox_change_growth(virtualbox_changing *ch, const virtualbox_step *step, const vboxmanage_attachment *at,
                             vmctl_error **err);

#endif
