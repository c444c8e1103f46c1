/* backends/virtualbox/media.h - who has which disks.
 *
 * VirtualBox registers a tree of media whole in one place: a linked clone's differencing images stand in the settings of the VM that it was
 * cloned from, and its own say only which medium is attached. So what stands on a medium is known of all VMs together.
 */
#ifndef VMC_VIRTUALBOX_MEDIA_H
#define VMC_VIRTUALBOX_MEDIA_H

#include "marker.h"
#include "ops.h"

/* The settings of all VMs, read once; those that cannot be read are left out. */
typedef struct virtualbox_world {
    vboxmanage_registry registry;
    vboxmanage_machine **machines;
    size_t count;
} virtualbox_world;

int virtualbox_world_read(virtualbox_conn *conn, const vmc_deadline *deadline, virtualbox_world *out,
                          vmctl_error **err);
void virtualbox_world_free(virtualbox_world *world);
#define VIRTUALBOX_AUTO_WORLD vmc_cleanup(virtualbox_world_free) virtualbox_world

/* A VM other than `vm_id` that has this medium (*itself: attached as it is) or one that stands on it, now or in a snapshot. NULL: there is none. */
const vboxmanage_machine *virtualbox_world_user(const virtualbox_world *world, const char *vm_id, const char *medium_id,
                                                bool *itself);
/* How many media stand directly on this one, whosever they are. */
size_t virtualbox_world_children(const virtualbox_world *world, const char *medium_id);

/* Adds to the machine's media those that it has attached and that are registered elsewhere. What cannot be found stays unknown. */
void virtualbox_media_complete(const virtualbox_conn *conn, const vboxmanage_registry *registry,
                               vboxmanage_machine *machine, const vmc_deadline *deadline);

/* Whether the disk was made for this VM: itself, or (a linked clone's) what it has beyond the original. */
bool virtualbox_medium_own(const cJSON *marker, const vboxmanage_machine *machine, const vboxmanage_medium *medium);
/* Whether it stands on a disk of another VM. */
bool virtualbox_medium_linked(const cJSON *marker, const vboxmanage_machine *machine, const vboxmanage_medium *medium);

/* Of the chain below this medium, the lowest in the VM's own folder; the medium itself where none is. */
const vboxmanage_medium *virtualbox_lowest_inside(const vboxmanage_machine *machine, const vboxmanage_medium *medium);

#endif
