/* backends/virtualbox/marker.h - what vmctl keeps about a VM, in its extra data under vmctl.marker: one JSON text, so that one call sets it.
 *
 *   {"version", "owner", "run", "created", "expires",      only where vmctl made the VM
 *    "labels": {KEY: VALUE},
 *    "devices": {PLACE: {"name", "type"}},   PLACE: "SATA-0-0" (controller, port, device), "nic-0" (slot), "share-NAME"
 *    "files": [PATH],                        made for it: relative to its folder, which moves when it is renamed
 *    "linked": true,                         its disks stand on those of the VM that it was cloned from
 *    "pending": [...],                       changes that wait for its next start (pending.h)
 *    "keys": {PATH: {"value", "was"}}}       what VirtualBox does not show of the spec; PATH: "disks/root/image"; was: what it showed then
 */
#ifndef VMC_VIRTUALBOX_MARKER_H
#define VMC_VIRTUALBOX_MARKER_H

#include "backends/shared/json.h"
#include "drivers/vboxmanage/settings.h"
#include <vmctl/backend.h>

#define VIRTUALBOX_MARKER "vmctl.marker"

/* The VM's marker; an empty object where it has none. Never NULL; cJSON_Delete. */
cJSON *virtualbox_marker_read(const vboxmanage_machine *machine);
/* Whether vmctl made it. */
bool virtualbox_marker_is_made(const cJSON *marker);
cJSON *virtualbox_marker_new(const vmctl_marker *marker);
/* When it expires: so long after it was made, or from now on where vmctl did not make it. 0: never. */
void virtualbox_marker_lifetime(cJSON *marker, int64_t seconds);
int64_t virtualbox_marker_time(const cJSON *marker, const char *key); /* 0: none */

/* The name that the spec gave the device at this place, else `fallback`. */
const char *virtualbox_marker_name(const cJSON *marker, const char *place, const char *fallback);
const char *virtualbox_marker_type(const cJSON *marker, const char *place);
/* name NULL: there is none any more. */
void virtualbox_marker_device(cJSON *marker, const char *place, const char *name, const char *type);
void virtualbox_marker_file(cJSON *marker, const char *name);
/* Whether it was made for this VM: path is absolute or relative to the folder. */
bool virtualbox_marker_owns(const cJSON *marker, const vboxmanage_machine *machine, const char *path);

/* Keeps what `want` says beyond `shown`, and puts what was kept back into `shown` where VirtualBox still shows what it did then. */
void virtualbox_marker_keep(cJSON *marker, const cJSON *shown, const cJSON *want);
void virtualbox_marker_restore(const cJSON *marker, cJSON *shown);

#endif
