/* drivers/vboxmanage/hold.h - what is kept on another host for as long as this process wants it.
 *
 * One ssh session stays there for it: when that ends, by vboxmanage_release or because this process or the connection is gone, what it holds is
 * removed there. It also keeps the master connection, and the forwards that go through it, from ending when nothing else is asked.
 */
#ifndef VMC_VBOXMANAGE_HOLD_H
#define VMC_VBOXMANAGE_HOLD_H

#include "vboxmanage.h"

typedef struct vboxmanage_held vboxmanage_held;

/* A folder of mode 0700, below the first of these (NULL-terminated; none: the session alone) that can be written to. Of a host only. */
int vboxmanage_hold(const vboxmanage *manage, const char *const *parents, const vmc_deadline *deadline,
                    vboxmanage_held **out, vmctl_error **err);
/* Its path; NULL: the session alone. */
const char *vboxmanage_held_folder(const vboxmanage_held *held);
/* Removes it with all that is in it, before this returns. NULL: nothing. */
void vboxmanage_release(vboxmanage_held *held);

#endif
