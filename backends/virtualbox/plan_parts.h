/* backends/virtualbox/plan_parts.h - what the plan_*.c files share: a plan being made. */
#ifndef VMC_VIRTUALBOX_PLAN_PARTS_H
#define VMC_VIRTUALBOX_PLAN_PARTS_H

#include "plan.h"

/* How many buses there are (plan_disks.c). */
enum { VIRTUALBOX_BUSES = 6 };

typedef struct virtualbox_planning {
    virtualbox_conn *conn;
    const vmctl_spec *spec;
    const vmctl_node *root;
    const vmc_deadline *deadline;
    const vboxmanage_registry *registry;
    virtualbox_plan *plan;
    vmc_strv modify;    /* modifyvm */
    vmc_strv *attaches; /* storageattach, one per disk */
    size_t attach_count;
    unsigned used[VIRTUALBOX_BUSES];
    char *machines; /* the folder of VMs */
} virtualbox_planning;

/* a, and b unless it is NULL. */
void virtualbox_add(vmc_strv *to, const char *a, const char *b);
/* An option that has the slot's number (from 1) at its end: "--nic1", value. */
void virtualbox_say_numbered(vmc_strv *argv, const char *option, unsigned slot, const char *value);
/* One more call of VBoxManage, empty; valid until the next. */
vmc_strv *virtualbox_plan_command(virtualbox_plan *plan);
/* One more file; owns path. It is the VM's by its marker. */
virtualbox_file *virtualbox_plan_file(virtualbox_plan *plan, virtualbox_file_kind kind, const char *device, char *path);

/* plan_disks.c */
int virtualbox_plan_disks(virtualbox_planning *p, vmctl_error **err);
void virtualbox_plan_controllers(virtualbox_planning *p); /* and what is attached to them */
void virtualbox_plan_growth(virtualbox_plan *plan);
/* plan_nics.c */
int virtualbox_plan_networks(virtualbox_planning *p, vmctl_error **err);
/* plan_machine.c */
int virtualbox_plan_machine(virtualbox_planning *p, vmctl_error **err);
void virtualbox_plan_own_section(virtualbox_planning *p);
void virtualbox_plan_secure_boot(virtualbox_planning *p);
void virtualbox_plan_shares(virtualbox_planning *p);

#endif
