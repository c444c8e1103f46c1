/* drivers/vboxmanage/settings_move.h - the settings of a VM as another VirtualBox takes them: a new file, never one that VBoxSVC has. */
#ifndef VMC_VBOXMANAGE_SETTINGS_MOVE_H
#define VMC_VBOXMANAGE_SETTINGS_MOVE_H

#include "settings.h"

typedef struct vboxmanage_move {
    const char *from;                  /* the .vbox file, of source */
    const char *to;                    /* the new one, of target */
    const vboxmanage *source, *target; /* NULL: this machine */
    const vmc_deadline *deadline;
    const char *serial_path; /* of the first serial port; NULL: as it is */
    /* Extra data that is set: pairs of key and value, ended by NULL. */
    const char *const *extra;
    /* Where the medium at `location` (absolute) is for the new one: free. NULL: there. */
    char *(*place)(const char *location, void *user);
    void *user;
} vboxmanage_move;

/* Writes the new file: media by absolute paths, no saved state, without `to` being there before (ALREADY_EXISTS). The VM keeps its id and all
 * else that stands in it. UNSUPPORTED: a version that is not known, or snapshots, whose files would have to move too. */
int vboxmanage_settings_move(const vboxmanage_move *move, vmctl_error **err);

#endif
