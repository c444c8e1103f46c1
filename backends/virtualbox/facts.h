/* backends/virtualbox/facts.h - the facts of the common model from a VM's settings. */
#ifndef VMC_VIRTUALBOX_FACTS_H
#define VMC_VIRTUALBOX_FACTS_H

#include "marker.h"
#include "ops.h"

/* What only a VM that runs tells. */
typedef struct virtualbox_told {
    int additions;              /* Guest Additions: 1 they run, 0 they do not, -1 not known */
    vmc_strv addresses;         /* pairs: IP address, MAC ("" where none is told) */
    vboxmanage_usb_devices usb; /* that it has */
    char *properties;           /* what guestproperty enumerate prints; NULL: not asked. free */
} virtualbox_told;

/* told NULL: nobody was asked. Calls `each` with the wanted groups, unless a filter of the list says no (options NULL: none). Non-zero of `each` is returned as 1. */
int virtualbox_facts_deliver(const vboxmanage_machine *machine, vmctl_state state, const char *reason,
                             const virtualbox_told *told, unsigned facts, const vmctl_list_options *options,
                             vmctl_vm_info_fn each, void *user);

/* "SATA-0-0": the key of an attachment in the marker and in showvminfo --machinereadable. free. */
char *virtualbox_place(const vboxmanage_attachment *attachment);
/* The bus of vm.yaml that a controller's type is; NULL: another ("Floppy"). */
const char *virtualbox_bus(const vboxmanage_machine *machine, const char *controller);
/* The size that the guest sees of a disk image, from its header; 0: not known. */
uint64_t virtualbox_image_bytes(const vboxmanage *manage, const char *path);
/* "vdi", "vmdk", "vhd" for VirtualBox's format names; others in lower case. free. */
char *virtualbox_format(const char *format);
/* Where the name of a network card is not given: "net0" for the first slot. free. */
char *virtualbox_nic_place(unsigned slot);

/* The spec that the settings show, and with what the marker keeps. cJSON_Delete. */
cJSON *virtualbox_machine_json(const vboxmanage_machine *machine, const cJSON *marker, bool with_kept);

/* vm.yaml's word for a network's mode ("nat"), NULL: none; and the mode of a word. */
const char *virtualbox_nic_type(const vboxmanage_nic *nic, const cJSON *marker);
/* vm.yaml's word for a card ("virtio", "e1000"), else VirtualBox's own. */
const char *virtualbox_nic_model(const char *type);

#endif
