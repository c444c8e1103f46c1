/* backends/virtualbox/usb.h - USB devices of the host in a VM: usb: of vm.yaml.
 *
 * Each is a filter of the VM, named as vm.yaml names it: VirtualBox gives the VM what matches when it starts, and what is plugged in while it runs. What is
 * plugged in already and shall come to a VM that runs is attached besides. A filter knows no BUS:DEVICE: address: becomes what the device
 * that is there is (vendor, product, serial number, port), and the marker keeps the address. What came otherwise ("attached", below) is the VM's until it
 * stops; it can be detached, and no spec tells it. Source: the user manual, "USB Support".
 */
#ifndef VMC_VIRTUALBOX_USB_H
#define VMC_VIRTUALBOX_USB_H

#include "change_orders.h"

/* --- what is there --------------------------------------------------------------------------------------------- */

/* The name that a filter goes by: its own, unless it cannot be one or an earlier one has it. free. */
char *virtualbox_usb_name(const vboxmanage_machine *machine, size_t filter);
/* Which filter has the name; filter_count: none. */
size_t virtualbox_usb_named(const vboxmanage_machine *machine, const char *name);
/* "0781:5583" of what a filter lets in, and of a device; NULL: it says something else. free. */
char *virtualbox_usb_ids(const vboxmanage_usb_filter *filter);
char *virtualbox_usb_device_ids(const vboxmanage_usb_device *device);
/* The name of a device that the VM has without a filter of its own: "usb-0781-5583"; NULL: a filter lets it in. free. */
char *virtualbox_usb_stray_name(const vboxmanage_machine *machine, const vboxmanage_usb_device *device);
/* An item of usb:; NULL: vm.yaml cannot say that. cJSON_Delete. */
cJSON *virtualbox_usb_json(const vboxmanage_machine *machine, const cJSON *marker, size_t filter);

/* --- what can be ------------------------------------------------------------------------------------------------ */

/* Whether devices can come to the VM as it is: INVALID_STATE (it is saved, or was started without a USB controller), and as
 * vboxmanage_usb_service. devices NULL: they are not wanted. Only looks; `vmctl caps --vm` says the same. */
int virtualbox_usb_check(const virtualbox_scene *scene, vboxmanage_usb_devices *devices, vmctl_error **err);

/* --- plans ------------------------------------------------------------------------------------------------------- */

/* Filters of a VM that is made. */
int virtualbox_plan_usb(virtualbox_planning *p, vmctl_error **err);
/* Decides the step's effect, for a VM that runs. */
int virtualbox_usb_settle(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);
int virtualbox_usb_add(virtualbox_changing *ch, const virtualbox_step *step, vmctl_error **err);
/* false: it has none of that name. */
bool virtualbox_usb_remove(virtualbox_changing *ch, const virtualbox_step *step);
/* Another device under the name. */
int virtualbox_usb_change(virtualbox_changing *ch, virtualbox_step *step, vmctl_error **err);

#endif
