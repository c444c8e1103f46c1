/* backends/virtualbox/pending.h - changes that wait for a VM's next start.
 *
 * VirtualBox has one set of settings, and most of them cannot be changed while the VM runs or is saved. What a person wants of them all the same
 * is kept in the marker, shown as pending (a device that comes) or leaving, and made by vmctl's next start of the stopped VM, or by the next
 * change of it. VirtualBox's own programs know nothing of it.
 *
 *   "pending": [{"action": "set"|"add"|"remove", "path": "disks.data", "value": JSON}]    an added disk has its file already: volume: PATH
 */
#ifndef VMC_VIRTUALBOX_PENDING_H
#define VMC_VIRTUALBOX_PENDING_H

#include "marker.h"
#include "ops.h"

/* How many wait; the description is none: it is shown at once. */
size_t virtualbox_pending_count(const cJSON *marker);
/* Whether anything waits at all, also a description. */
bool virtualbox_pending_any(const vboxmanage_machine *machine);
/* One more; an earlier one of the same path is replaced, and one that an added device is taken back by takes that away. Takes value. */
void virtualbox_pending_put(cJSON *marker, vmctl_change_action action, const char *path, cJSON *value);
void virtualbox_pending_clear(cJSON *marker);
/* The entry of this path; NULL. */
const cJSON *virtualbox_pending_find(const cJSON *marker, const char *path);

/* Lays one change over a spec as JSON: value NULL removes a key. Takes value. */
void virtualbox_json_lay(cJSON *spec, vmctl_change_action action, const char *path, cJSON *value);
/* Lays all that wait over what the settings show. shown: as get -o spec tells it; else disks of the VM's own are volumes, as they are made. */
void virtualbox_pending_lay(const cJSON *marker, const vboxmanage_machine *machine, bool shown, cJSON *spec);

/* Makes what waits for the start of a VM that is stopped (change.c); nothing where nothing waits. */
int virtualbox_pending_make(virtualbox_conn *conn, virtualbox_vm *vm, const vboxmanage_machine *machine,
                            const vmc_deadline *deadline, vmctl_error **err);

#endif
