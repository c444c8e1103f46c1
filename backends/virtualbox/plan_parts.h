/* backends/virtualbox/plan_parts.h - what the plan_*.c files share: a plan being made. */
#ifndef VMC_VIRTUALBOX_PLAN_PARTS_H
#define VMC_VIRTUALBOX_PLAN_PARTS_H

#include "plan.h"

/* How many buses there are (plan_disks.c). */
enum { VIRTUALBOX_BUSES = 6 };

/* A bus of vm.yaml as VirtualBox has it: what --add and --controller are called, the name that vmctl gives the controller, and how many disks and
 * drives it takes. IDE has two devices a port. */
typedef struct virtualbox_bus_kind {
    const char *bus, *name, *add, *controller;
    unsigned places;
    bool ports; /* --portcount is needed: only so many are scanned by the firmware */
} virtualbox_bus_kind;
/* NULL: VirtualBox has no such bus. */
const virtualbox_bus_kind *virtualbox_bus_kind_of(const char *bus);

typedef struct virtualbox_spot {
    const char *controller;
    unsigned port, device;
} virtualbox_spot;

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
    char *machines;              /* the folder of VMs */
    const virtualbox_spot *spot; /* where the next disk goes; NULL: the next place of its bus */
} virtualbox_planning;

/* a, and b unless it is NULL. */
void virtualbox_add(vmc_strv *to, const char *a, const char *b);
/* An option that has the slot's number (from 1) at its end: "--nic1", value. */
void virtualbox_say_numbered(vmc_strv *argv, const char *option, unsigned slot, const char *value);
/* One more call of VBoxManage, empty; valid until the next. */
vmc_strv *virtualbox_plan_command(virtualbox_plan *plan);
/* One more file; owns path. It is the VM's by its marker. */
virtualbox_file *virtualbox_plan_file(virtualbox_plan *plan, virtualbox_file_kind kind, const char *device, char *path);

/* Takes the last files back, until `count` are left. */
void virtualbox_plan_drop_files(virtualbox_plan *plan, size_t count);
/* VirtualBox's type of a guest of vm.yaml. Constant. */
const char *virtualbox_os_type(const char *guest);

/* plan_disks.c */
int virtualbox_plan_disks(virtualbox_planning *p, vmctl_error **err);
int virtualbox_plan_disk(virtualbox_planning *p, const vmctl_node *disk, vmctl_error **err);
/* What VirtualBox shall mount for an image: itself, or a link to it that is planned. NOT_FOUND, INVALID_SPEC (no disc). node: for its place. free */
int virtualbox_plan_medium(virtualbox_planning *p, const char *device, const char *image, const vmctl_node *node,
                           char **out, vmctl_error **err);
void virtualbox_plan_controllers(virtualbox_planning *p); /* and what is attached to them */
void virtualbox_plan_growth(virtualbox_plan *plan);
/* plan_nics.c */
int virtualbox_plan_networks(virtualbox_planning *p, vmctl_error **err);
/* The rule of natpf for an entry of forward:. free. */
char *virtualbox_forward_rule(const char *text);
/* A NAT network that a NIC names must be there: NOT_FOUND. */
int virtualbox_check_nat_network(virtualbox_conn *conn, const vmctl_node *nic, const vmc_deadline *deadline,
                                 vmctl_error **err);
/* plan_machine.c */
int virtualbox_plan_machine(virtualbox_planning *p, vmctl_error **err);
void virtualbox_plan_own_section(virtualbox_planning *p);
int virtualbox_plan_display(virtualbox_planning *p, vmctl_error **err);
void virtualbox_plan_boot(virtualbox_planning *p);
int virtualbox_plan_memory(virtualbox_planning *p, vmctl_error **err);
void virtualbox_plan_cpus(virtualbox_planning *p, bool again); /* again: the VM has some already */
void virtualbox_plan_serial(virtualbox_planning *p);
/* UNSUPPORTED: VirtualBox has nowhere to note what starts with the host. node: for its place; NULL */
int virtualbox_check_autostart(const vboxmanage_registry *registry, const vmctl_node *node, vmctl_error **err);
void virtualbox_say_option(vmc_strv *argv, const vmctl_node *option); /* of virtualbox.modifyvm */
void virtualbox_plan_secure_boot(virtualbox_planning *p);
void virtualbox_plan_shares(virtualbox_planning *p);

#endif
